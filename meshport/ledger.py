"""What became of every leaf of the input: computed from what reached the output and from what findings name, never asserted.

Counted are all leaves of mesh documents, and of other documents the mesh labels and annotations and every leaf that was read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from meshport import told
from meshport.dialects.output import SERVER_WRITTEN
from meshport.dialects.redundant import SHOWN
from meshport.documents import format_path
from meshport.documents.secrets import secret_leaves
from meshport.findings import Finding
from meshport.ir.base import ANYWHERE, NOWHERE, Ref, Src
from meshport.mapping.table import dialect_of_group, version_key

if TYPE_CHECKING:
    from meshport.dialects.output import Obj, Output
    from meshport.documents import Bundle, Document
    from meshport.mapping.bound import Bound
    from meshport.mapping.table import Kind

DISPOSITIONS = ("translated", "approximated", "installed", "manual", "dropped", "invalid", "irrelevant", "passed_through", "unaccounted")
DECIDING = ("authorization.action", "authorization.deny", "authorization.audit", "authorization.dry-run", "server.access-policy")
"""Features whose value decides by itself: with another one the same object would come to something, also where as it stands it comes to nothing."""
_WORD = re.compile(r"[A-Za-z0-9_-]+")
"""What may be a name in a longer text, as in the host of a Service."""
_LOSSES = ("invalid", "dropped", "manual", "approximated", "installed")


@dataclass(slots=True)
class Line:
    """One leaf. `outputs` are {file, path}; `codes` the findings that name it; `reason` why it decides nothing."""

    file: str | None
    document: int
    line: int | None
    path: str
    value: Any
    feature: str
    disposition: str
    codes: list[str]
    outputs: list[dict[str, str | None]]
    item: int | None = None
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The line as the ledger file has it."""
        out: dict[str, Any] = {"file": self.file, "document": self.document}
        if self.item is not None:
            out["item"] = self.item
        out.update(
            line=self.line,
            path=self.path,
            value=self.value,
            feature=self.feature,
            disposition=self.disposition,
            codes=self.codes,
            outputs=self.outputs,
        )
        if self.reason:
            out["reason"] = self.reason
        return out


@dataclass(slots=True)
class Account:
    """Per leaf id: its disposition and why."""

    dispositions: dict[int, str] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)

    def limit(self, owns: Callable[[int], bool]) -> None:
        """Keep the leaves of what is converted alone."""
        self.dispositions = {leaf: disposition for leaf, disposition in self.dispositions.items() if owns(leaf)}

    def settle(self, findings: Iterable[Finding]) -> None:
        """Let findings say what became of their leaves: of what was to be approximated or installed nothing may be written."""
        for finding in findings:
            nearly = finding.disposition in ("approximated", "installed") and finding.leaves
            if nearly and all(self.dispositions.get(leaf) == "dropped" for leaf in finding.leaves):
                finding.disposition = "dropped"

    @property
    def unaccounted(self) -> list[int]:
        return [leaf for leaf, disposition in self.dispositions.items() if disposition == "unaccounted"]


def account(bound: Bound, out: Output, findings: Iterable[Finding], read: set[int]) -> Account:
    """The disposition of every counted leaf."""
    reached = out.written()
    installed = {leaf for item in out.installs.values() for leaf in item.src} | {leaf for src in out.commands.values() for leaf in src}
    said: dict[int, set[str]] = {}
    for finding in findings:
        if finding.disposition in _LOSSES:
            for leaf in finding.leaves:
                said.setdefault(leaf, set()).add(finding.disposition)
    standing = set(_standing(bound, out))
    nearly = {leaf for leaf in reached if "approximated" in said.get(leaf, ())}
    shown = reached - _absent(bound, out, {leaf for leaf in reached if "dropped" in said.get(leaf, ())} | _framed(out, nearly))
    kept = set(_kept(bound, out))
    anew = {
        leaf
        for number, leaf in _said_versions(bound)
        if renewed(number, bound, out) and not _stands_but_for_its_version(number, bound, out)
    }
    kept -= anew
    standing -= anew
    shown -= anew | _versions(bound, out, shown)
    unshown = _unshown(bound, out, shown | installed) | _idle_parents(
        bound, out, shown, {leaf for leaf, fates in said.items() if "dropped" in fates}
    )
    shown -= unshown
    installed -= unshown
    passing = _one_of_several(bound, out, shown)
    installed -= passing
    result = Account()
    for number, document in enumerate(bound.bundle.documents):
        mesh = bound.mesh[number]
        counted = (
            mesh or dialect_of_group(document.group) is not None or document.kind == "IstioOperator"
        )  # also one that no part of the mesh reads
        for leaf in range(document.first, document.first + document.count):
            if not counted and leaf not in bound.meta_leaves and leaf not in read and leaf not in reached:
                continue
            disposition, reason = _judge(bound, out, leaf, mesh, shown, installed, standing, kept, said.get(leaf, set()))
            if leaf in passing and disposition in ("translated", "unaccounted"):
                disposition, reason = "passed_through", ""
            if leaf in unshown and disposition == "unaccounted":
                disposition, reason = "irrelevant", "what is written is the same under any name"
            result.dispositions[leaf] = disposition
            if reason:
                result.reasons[leaf] = reason
    _places(bound, result, findings, reached | installed)
    told.with_the_rest(bound, result.dispositions, result.reasons, findings, out.naming | unshown)
    told.by_findings(bound, result.dispositions, result.reasons, findings)
    return result


def _one_of_several(bound: Bound, out: Output, shown: set[int]) -> set[int]:
    """Marks of a mesh that is converted onto itself, in objects that stay as they are, because of which only such values are installed as others ask for too."""
    found: set[int] = set()
    alone: set[int] = set()
    for item in out.installs.values() if out.source == out.target else ():
        asking = {bound.bundle.number(leaf) for leaf in item.src}
        (found if len(asking) > 1 else alone).update(item.src)
    numbers = {leaf: bound.bundle.number(leaf) for leaf in found & bound.meta_leaves - alone - shown}
    staying = {number for number in set(numbers.values()) if not bound.mesh[number] and stands(number, bound, out)}
    return {leaf for leaf, number in numbers.items() if number in staying}


def _standing(bound: Bound, out: Output) -> Iterator[int]:
    """The leaves that stand in a changed copy of their object as they stood in the object."""
    for obj in out.objects.values():
        if obj.changed is None or obj.value == (document := bound.bundle.documents[obj.changed]).value:
            continue
        for leaf, path, value in bound.bundle.walk(document):
            found = obj.at(path)
            if found is not None and found == value and path not in obj.sources:
                yield leaf


def _absent(bound: Bound, out: Output, leaves: set[int]) -> set[int]:
    """Of leaves that a finding calls dropped, those whose value stands in nothing that was written because of them: what holds without them was written."""
    shown: dict[int, list[str]] = {leaf: [] for leaf in leaves}
    for obj in out.objects.values() if leaves else ():
        for path, src in obj.sources.items():
            if found := src & leaves:
                text = f"{obj.at(path)} {path[-1]}"
                for leaf in found:
                    shown[leaf].append(text)
    absent = set()
    for leaf, texts in shown.items():
        value = bound.bundle.value(leaf)
        words = [word for word in re.split(r"[^A-Za-z0-9_-]+", str(value)) if word]
        if not any(all(word in text for word in words) if words else text.startswith(f"{value} ") for text in texts):
            absent.add(leaf)
    return absent


def _unshown(bound: Bound, out: Output, reached: set[int]) -> set[int]:
    """The names of objects of a mesh that nothing which was written or set because of them shows, that nothing refers to, and that order nothing: of what they
    call there is one alone in its namespace."""
    names: dict[int, str] = {}
    alike: dict[tuple[str, str | None], set[str]] = {}
    for number, document in enumerate(bound.bundle.documents):
        metadata = document.leaves.get("metadata") if bound.mesh[number] and isinstance(document.leaves, dict) else None
        if isinstance(metadata, dict) and isinstance(leaf := metadata.get("name"), int):
            alike.setdefault((document.kind, document.namespace), set()).add(document.name)
            if leaf in reached and "." not in document.name:  # a ServiceProfile is called as its Service
                names[leaf] = document.name
    owners = {leaf: bound.bundle.owner(leaf) for leaf in names}
    names = {leaf: name for leaf, name in names.items() if len(alike[owners[leaf].kind, owners[leaf].namespace]) == 1}
    texts = ((f"{obj.at(path)} {path[-1]}", src) for obj in out.objects.values() for path, src in obj.sources.items())
    settings = ((f"{install.path} {install.value}", install.src) for install in out.installs.values())
    for text, src in chain(texts, settings, out.commands.items()) if names else ():
        for leaf in src & names.keys():
            if names[leaf][:SHOWN] in text:
                del names[leaf]
    for document in bound.bundle.documents if names else ():
        for leaf, path, value in bound.bundle.walk(document):
            if path != ("metadata", "name") and names and isinstance(value, str) and bound.bundle.owner(leaf).kind != "Secret":
                words = set(_WORD.findall(value))
                for named in [one for one, name in names.items() if name in words]:
                    del names[named]
    return set(names)


def _versions(bound: Bound, out: Output, reached: set[int]) -> set[int]:
    """The leaves among these that say a version which no output bears in its place: what was written because of them goes by the group alone."""
    said = {leaf for _, leaf in _said_versions(bound) if leaf in reached}
    for obj in out.objects.values() if said else ():
        said -= obj.sources.get(("apiVersion",), NOWHERE)
    return said


def _idle_parents(bound: Bound, out: Output, reached: set[int], dropped: set[int]) -> set[int]:
    """Where routes hang whose rules are all lost, if what was written because of that is written because of another route as well."""
    parents: set[int] = set()
    for number, document in enumerate(bound.bundle.documents):
        if not document.kind.endswith("Route") or not bound.mesh[number]:
            continue
        hung: list[int] = []
        rules: list[int] = []
        for leaf, path, _ in bound.bundle.walk(document):
            if path[:2] in (("spec", "parentRefs"), ("spec", "rules")):
                (hung if path[1] == "parentRefs" else rules).append(leaf)
        if not dropped.isdisjoint(rules) and reached.isdisjoint(rules):
            parents |= reached.intersection(hung)
    for obj in out.objects.values() if parents else ():
        for src in obj.sources.values():
            mine = src & parents
            if mine and len({bound.bundle.number(leaf) for leaf in src if bound.bundle.owner(leaf).kind.endswith("Route")}) == 1:
                parents -= mine
    return parents


def _framed(out: Output, leaves: set[int]) -> set[int]:
    """Of leaves that a finding calls approximated, those that reached no rule of a policy, but only whom it is for and what it is called."""
    inside: set[int] = set()
    for obj in out.objects.values() if leaves else ():
        frame = obj.kind in ("AuthorizationPolicy", "Gateway")
        for path, src in obj.sources.items():
            if not frame or (path[:2] == ("spec", "rules") and len(path) > 2):
                inside |= src & leaves
    return leaves - inside


def stands(number: int, bound: Bound, out: Output) -> bool:
    """Whether a document stays in the cluster as it is: neither deleted, nor written anew, nor changed. One of a mesh has to be one that a cluster takes."""
    document = bound.bundle.documents[number]
    if document.chart or document.commanded or number in out.removed or (bound.mesh[number] and number in bound.broken):
        return False
    obj = _in_its_place(document, out)
    return obj is None or (obj.changed == number and obj.value == document.value)


def _in_its_place(document: Document, out: Output) -> Obj | None:
    """What is written under the name of a document."""
    return out.objects.get((document.group, document.kind, Ref(document.namespace or "", document.name))) if document.name else None


def _stands_but_for_its_version(number: int, bound: Bound, out: Output) -> bool:
    """Whether a document would stay as it is in the newest version of its kind: it is written because of the version that it is in."""
    if stands(number, bound, out):
        return True
    obj = _in_its_place(bound.bundle.documents[number], out)
    return obj is not None and obj.changed == number and set(obj.sources) <= {("apiVersion",)}


def renewed(number: int, bound: Bound, out: Output) -> bool:
    """Whether a document of a mesh that is converted onto itself would be written alike from each version of its kind: in the newest one."""
    document = bound.bundle.documents[number]
    kind = bound.table.kind(document.group, document.kind)
    return (
        out.source == out.target
        and kind is not None
        and (kind.dialect == out.source or _moved_by_linkerd(kind, out))
        and kind.name != "Link"  # its controller writes it, in the version that it knows
        and len(kind.versions) > 1
        and bound.mesh[number]
        and number not in bound.broken
    )


def _moved_by_linkerd(kind: Kind, out: Output) -> bool:
    """Whether it is one of the routes of the Gateway API that Linkerd reads in their newest version (`modern_versions`)."""
    return out.source == "linkerd" and kind.name in ("HTTPRoute", "GRPCRoute") and version_key(out.target_version) >= (2, 18)


def _said_versions(bound: Bound) -> Iterator[tuple[int, int]]:
    """(number, leaf) of every document that says its version."""
    for number, document in enumerate(bound.bundle.documents):
        if isinstance(document.leaves, dict) and isinstance(leaf := document.leaves.get("apiVersion"), int):
            yield number, leaf


def _kept(bound: Bound, out: Output) -> Iterator[int]:
    """The leaves of documents of a mesh that stay in the cluster as they are, but for what the cluster itself writes into them."""
    for number, document in enumerate(bound.bundle.documents):
        if not bound.mesh[number] or not stands(number, bound, out):
            continue
        for leaf, path, _ in bound.bundle.walk(document):
            if path[0] != "status" and (path[0] != "metadata" or path[1] not in SERVER_WRITTEN):
                yield leaf


def _places(bound: Bound, result: Account, findings: Iterable[Finding], reached: set[int]) -> None:
    """What becomes of the namespaces that no output bears: each has decided where the rest of its object holds, and shares the fate of that."""
    losing: dict[int, Finding] = {}
    for finding in findings:
        if finding.disposition in ("dropped", "manual") or (finding.disposition == "invalid" and bound.invalid.isdisjoint(finding.leaves)):
            for leaf in finding.leaves:
                losing.setdefault(leaf, finding)
    for number, document in enumerate(bound.bundle.documents):
        metadata = document.leaves.get("metadata") if bound.mesh[number] and isinstance(document.leaves, dict) else None
        place = metadata.get("namespace") if isinstance(metadata, dict) else None
        if (
            not isinstance(place, int)
            or result.dispositions.get(place) != "irrelevant"
            or place in bound.repeated
            or result.reasons.get(place) == ANYWHERE
        ):
            continue
        own = range(document.first, document.first + document.count)
        if any(leaf in reached for leaf in own):
            result.dispositions[place], result.reasons[place] = "translated", "what the object decides, it decides in this namespace"
            continue
        lost = next(
            (losing[leaf] for leaf in own if leaf in losing and result.dispositions.get(leaf) in ("dropped", "manual", "invalid")), None
        )
        if lost is not None and lost.disposition is not None:
            lost.at = min(lost.leaves) if lost.at is None else lost.at
            lost.leaves = tuple(sorted((*lost.leaves, place)))
            result.dispositions[place] = lost.disposition
            result.reasons.pop(place, None)


def _judge(
    bound: Bound,
    out: Output,
    leaf: int,
    mesh: bool,
    reached: set[int],
    installed: set[int],
    standing: set[int],
    kept: set[int],
    said: set[str],
) -> tuple[str, str]:
    if leaf in bound.repeated and bound.bundle.parts(leaf) in (("metadata", "name"), ("metadata", "namespace")):
        return "translated", "by this it is the object that stands there again, word for word"
    if leaf in bound.repeated:
        return "irrelevant", "the same object stands there again, word for word"
    if leaf in bound.invalid or leaf in bound.mended:
        return "invalid", ""
    if leaf in reached:
        if said & {"dropped", "approximated", "manual", "installed"}:
            return "approximated", ""
        return "translated", ""
    for disposition in ("invalid", "dropped", "manual"):
        if disposition in said:
            return disposition, ""
    if leaf in installed:
        return "installed", ""
    if said:
        return "dropped", ""  # the target has something near it, and nothing of this value is in it
    if leaf in standing and (mesh or leaf in bound.meta_leaves):
        return "translated", "stands in the changed object as it stood"
    if leaf in kept:
        return "translated", "stays as it is"
    if leaf in out.deciding:
        return "translated", out.deciding[leaf]
    if leaf in out.irrelevant:
        feature, reason = bound.feature(leaf), out.irrelevant[leaf]
        return "translated" if feature in DECIDING else "irrelevant", reason
    if leaf in out.implied:
        return "translated", out.implied[leaf]
    binding = bound.bindings[leaf]
    if binding is not None and (reason := binding.reason_for(bound.bundle.value(leaf))):
        decides = not out.lacks(bound.feature(leaf))  # this value is what holds anyway, and another one could be written
        return "translated" if decides and not binding.irrelevant else "irrelevant", reason
    if (value := bound.bundle.value(leaf)) is None or value in ([], {}):
        return "irrelevant", f"{'null' if value is None else 'empty'} is as if the key were not there"
    if not mesh and (leaf not in bound.meta_leaves or leaf in out.passing):
        return "passed_through", ""
    return "unaccounted", ""


class Ledger:
    """The lines, in the order of the input, and their counts. Iterable."""

    def __init__(self, bound: Bound, result: Account, out: Output, findings: list[Finding], files: dict[int, str | None]) -> None:
        self._bound = bound
        self._account = result
        self._codes: dict[int, list[str]] = {}
        for finding in findings:
            for leaf in finding.leaves:
                codes = self._codes.setdefault(leaf, [])
                if finding.code not in codes:
                    codes.append(finding.code)
        self._out = out
        self._files = files
        self._outputs: dict[int, list[dict[str, str | None]]] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Leaves by disposition, and their sum as `leaves`."""
        found = dict.fromkeys(DISPOSITIONS, 0)
        for disposition in self._account.dispositions.values():
            found[disposition] += 1
        return {"leaves": sum(found.values()), **found}

    def __len__(self) -> int:
        return len(self._account.dispositions)

    def judged(self) -> Iterator[tuple[int, str, str]]:
        """(leaf, feature, disposition) of every counted leaf, without the cost of finding its path."""
        for leaf, disposition in self._account.dispositions.items():
            yield leaf, self._bound.feature(leaf), disposition

    def written(self) -> Iterator[tuple[dict[str, Any], tuple[str | int, ...], Src]]:
        """(object, path, leaves) of every value of the manifests: the leaves of the input that it was written because of."""
        for obj in self._out.in_order():
            if id(obj) in self._files:
                for path, src in obj.sources.items():
                    yield obj.value, path, src

    def settings(self) -> Iterator[tuple[str, str, Any, Src]]:
        """(chart, path, value, leaves) of every Helm value."""
        for install in self._out.installs.values():
            yield install.chart, install.path, install.value, install.src

    def __iter__(self) -> Iterator[Line]:
        outputs = self._reach()
        bundle: Bundle = self._bound.bundle
        hidden: dict[int, dict[int, str]] = {}
        for leaf in sorted(self._account.dispositions):
            document = bundle.owner(leaf)
            if id(document) not in hidden:
                hidden[id(document)] = secret_leaves(document)
            yield Line(
                document.file,
                document.index,
                bundle.line(leaf),
                bundle.path(leaf),
                None if document.kind == "Secret" or leaf in hidden[id(document)] else bundle.value(leaf),
                self._bound.feature(leaf),
                self._account.dispositions[leaf],
                sorted(self._codes.get(leaf, [])),
                outputs.get(leaf, []),
                document.item,
                self._account.reasons.get(leaf, ""),
            )

    def _reach(self) -> dict[int, list[dict[str, str | None]]]:
        if self._outputs is None:
            self._outputs = {}
            for obj in self._out.in_order():
                if id(obj) not in self._files:
                    continue  # outside the selection: it is not written
                for path, src in obj.sources.items():
                    entry = {"file": self._files.get(id(obj)), "path": format_path(path)}
                    for leaf in src:
                        self._outputs.setdefault(leaf, []).append(entry)
            for install in self._out.installs.values():
                entry = {"file": f"install/{install.chart}.yaml", "path": install.path}
                for leaf in install.src:
                    if self._account.dispositions.get(leaf) == "passed_through":
                        continue  # others ask for it as well
                    self._outputs.setdefault(leaf, []).append(entry)
        return self._outputs
