"""The cluster between two steps, as a bundle: what has been applied stands over the source's documents, and the behavioural check compares it with them.

A mixed state is two halves: the workloads that have not moved, read as the source mesh reads them, and those that have, as the target does.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from meshport.compare.request import sentence
from meshport.dialects.base import dialect
from meshport.dialects.output import LAST_APPLIED, SERVER_WRITTEN
from meshport.documents import Bundle, load_objects
from meshport.documents.command import KUBECTL
from meshport.effective.subjects import of_other_ports
from meshport.errors import MeshportError
from meshport.mapping.homes import OF_THE_CLUSTER
from meshport.mapping.table import dialect_of_group
from meshport.report.planned import Half, StateCheck

if TYPE_CHECKING:
    from meshport.compare.replay import Difference
    from meshport.pipeline import Read, Result

Obj = dict[str, Any]
Key = tuple[str, str, str, str]
MOST_SHOWN = 5
MOST_HALVES = 100
MOST_DOCUMENTS = 25_000
"""Halves of states that are verified, and documents in all of them: the check of one costs about as much as a conversion."""


def key(obj: Mapping[str, Any], default: str) -> Key:
    """Group, kind, namespace and name; an object without namespace is of the default one, unless its kind has none."""
    metadata = said if isinstance(said := obj.get("metadata"), dict) else {}
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    kind = str(obj.get("kind", ""))
    namespace = "" if kind in OF_THE_CLUSTER else str(metadata.get("namespace") or default)
    return group, kind, namespace, str(metadata.get("name", ""))


def could_stand(obj: Mapping[str, Any]) -> bool:
    """Whether a cluster could have the object, as far as what every kind has in common goes."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(obj.get("spec"), dict | None):
        return False
    if not isinstance(metadata.get("name"), str) or not isinstance(metadata.get("namespace"), str | None):
        return False
    return all(isinstance(metadata.get(key), dict | None) for key in ("labels", "annotations"))


def home(mark: Key) -> str:
    """The namespace that an object belongs to; a Namespace to itself, what has none to none."""
    return mark[3] if mark[1] == "Namespace" else mark[2]


def bare(obj: Obj, default: str) -> Obj:
    """An object as it can be applied: without what the API server writes, and with its namespace."""
    found = copy.deepcopy({name: value for name, value in obj.items() if name != "status"})
    metadata = found["metadata"] = {name: value for name, value in found.get("metadata", {}).items() if name not in SERVER_WRITTEN}
    notes = metadata.get("annotations")
    if isinstance(notes, dict) and LAST_APPLIED in notes:
        metadata["annotations"] = {name: value for name, value in notes.items() if name != LAST_APPLIED}
    if namespace := key(found, default)[2]:
        metadata.setdefault("namespace", namespace)
    return found


@dataclass(slots=True)
class Cluster:
    """Objects by key, and what has none: values of installations, with the chart that they are of."""

    default: str
    objects: dict[Key, Obj] = field(default_factory=dict)
    others: list[tuple[Obj, str]] = field(default_factory=list)
    values: dict[str, Obj] = field(default_factory=dict)

    @classmethod
    def of(cls, bundle: Bundle, default: str, refused: Collection[int] = (), meant: Mapping[int, tuple[str, str]] | None = None) -> Cluster:
        """The cluster that a bundle describes. `refused` are the numbers of documents that no cluster takes: nobody has them; `meant` says of others which
        apiVersion and kind they have in a cluster, if they are there at all."""
        found = cls(default)
        for number, document in enumerate(bundle.documents):
            if number in refused or document.chart.startswith(KUBECTL) or document.commanded:
                continue
            if document.chart or not document.kind or not document.name or not could_stand(document.value):
                found.others.append((document.value, document.chart))
            else:
                value = document.value
                if meant and number in meant:
                    value = {**value, "apiVersion": meant[number][0], "kind": meant[number][1]}
                found.objects.setdefault(key(value, default), value)
        return found

    def bundle(self) -> Bundle:
        """The state as a bundle."""
        listed = [(value, "") for value in self.objects.values()] + self.others
        listed += [(value, chart) for chart, value in sorted(self.values.items())]
        return load_objects([value for value, _ in listed], {number: chart for number, (_, chart) in enumerate(listed) if chart})


@dataclass(slots=True)
class Known:
    """The halves that were computed, and the source as it was read for them."""

    halves: dict[Any, Half] = field(default_factory=dict)
    read: Read = field(default_factory=dict)


def judge(result: Result, cluster: Cluster, moved: set[str], staying: set[str], known: Known) -> StateCheck:
    """The state against the source. `moved` and `staying` are the workloads (namespace/name) of each half; `known` remembers what was computed."""
    mixed = bool(moved and staying) and mesh_differs(result)
    state: Bundle | None = None
    halves: list[Half] = []
    try:
        for mesh, own in ((result.options.source, staying), (result.options.target, moved)):
            if not own or any(half.mesh == mesh for half in halves):
                continue
            mark = (
                mesh,
                frozenset(own),
                hash(tuple((name, repr(value)) for name, value in cluster.objects.items() if _read(mesh, name[0]))),
                repr(cluster.values),
            )
            if mark not in known.halves:
                most = min(MOST_HALVES, MOST_DOCUMENTS // (len(cluster.objects) + 1) + 2)
                if len(known.halves) >= most:
                    return StateCheck(halves=[], says=f"Not computed: the plan has more states than the {most} that are, for their size.")
                state = state or cluster.bundle()
                known.halves[mark] = _half(result, state, mesh, own if mixed else None, len(own), known.read)
            halves.append(known.halves[mark])
    except MeshportError as error:
        return StateCheck(halves=[], says=f"Not computed: the state could not be read ({error}).")
    return StateCheck(halves=halves, says=_says(halves, mixed))


def _read(mesh: str, group: str) -> bool:
    """Whether objects of an API group have a say where a mesh is judged: those of another mesh do not, network policies do everywhere."""
    of = dialect_of_group(group)
    return of is None or of == "cilium" or of in dialect(mesh).reads


def mesh_differs(result: Result) -> bool:
    return result.options.source != result.options.target


def _says(halves: list[Half], mixed: bool) -> str:
    if not halves:
        return "Not computed: no workload of the input takes part in either mesh."
    words = []
    for half in halves:
        counted = f" with {half.count} difference{'s' if half.count != 1 else ''}" if half.count else ""
        counted += f", {len(half.undecided)} not comparable" if half.undecided else ""
        words.append(f"{half.workloads} workload{'s' if half.workloads != 1 else ''} as {half.mesh} reads them: {half.verdict}{counted}")
    where = "; requests between the two halves are plaintext without identity, and not part of it" if mixed else ""
    return f"{'; '.join(words)}{where}."


def _half(result: Result, state: Bundle, mesh: str, own: set[str] | None, workloads: int, read: Read) -> Half:
    from meshport import pipeline

    options = result.options
    rest = {
        name: getattr(options, name)
        for name in (
            "trust_domain",
            "trust_domain_aliases",
            "cluster_domain",
            "root_namespace",
            "control_plane_namespace",
            "cluster_networks",
            "default_namespace",
        )
    }
    proof = pipeline.verify(result.known, state, result.table, options.source, mesh, read=read, only=own, **rest)
    differences = [item for item in proof.differences if own is None or _into(item, own)]
    undecided = [text for text in proof.undecided if own is None or _names(text, own)]
    shown = [_sentence(item) for item in sorted(differences, key=lambda item: item.change != "allowed")]
    return Half(
        mesh=mesh,
        workloads=workloads,
        verdict=cast("Any", _verdict(differences, bool(undecided))),
        count=len(shown),
        differences=list(dict.fromkeys(shown))[:MOST_SHOWN],
        undecided=undecided[:MOST_SHOWN],
    )


def _into(item: Difference, own: set[str]) -> bool:
    """Whether a difference is about a workload of the half. Where requests to a Service go is its clients' business: it is judged where no half is left out."""
    destination = item.request.get("destination", {})
    return item.change != "routed" and f"{destination.get('namespace')}/{destination.get('workload')}" in own


def _names(text: str, own: Iterable[str]) -> bool:
    place = re.split(r"[:\s]", text, maxsplit=1)[0]
    return place in own


def _verdict(differences: list[Difference], undecided: bool) -> str:
    kinds = {item.change for item in differences}
    if "allowed" in kinds:
        return "changed" if "denied" in kinds else "widened"
    if undecided:
        return "inconclusive"
    return "narrowed" if "denied" in kinds else "changed" if kinds else "equivalent"


def _sentence(item: Difference) -> str:
    if item.change in ("allowed", "denied"):
        return f"newly {item.change}: {sentence(item.request, unnamed=of_other_ports(item.subject))}"
    if item.change == "transport":
        destination = item.request.get("destination", {})
        return f"{destination.get('namespace')}/{destination.get('workload')}: {item.before}, then {item.after}"
    return f"{item.change}: {sentence(item.request)}: {item.before}, then {item.after}"
