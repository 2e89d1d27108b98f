"""What a lowering writes: objects whose every leaf is written because of facts, install settings, removals, and what could not be said.

The ledger is computed from here: a leaf of the input that reached an output leaf is translated, one that a finding names is what the finding says.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from meshport.dialects import naming
from meshport.findings import Affected, Finding
from meshport.ir.base import NOWHERE, Fact, Ref, Src, sources
from meshport.mapping.paths import leaves_below
from meshport.mapping.releases import gap
from meshport.mapping.table import Cell, Node, Table, split_path

if TYPE_CHECKING:
    from meshport.documents import Bundle
    from meshport.effective.pieces import Piece

Path = tuple[str | int, ...]

SERVER_WRITTEN = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")
"""Members of `metadata` that the API server writes."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""The annotation in which kubectl keeps what it applied."""


class Obj:
    """An object of the output. `origins` are the input documents that it comes from, the owner first."""

    __slots__ = ("changed", "file_of", "group", "notes", "origins", "rank", "sources", "text", "value")

    def __init__(self, value: dict[str, Any], group: str, rank: int, changed: int | None) -> None:
        self.value = value
        self.sources: dict[Path, Src] = {}
        self.origins: list[int] = []
        self.notes: list[str] = []
        self.group = group
        self.rank = rank
        self.changed = changed  # the input document that this is a changed copy of
        self.file_of = ("", "")  # kind and name of what is no object but a file
        self.text: str | None = None  # the document's own text with the change in it, where that was made by characters

    @property
    def ref(self) -> Ref:
        if self.file_of[0]:
            return Ref("", self.file_of[1])
        metadata = self.value.get("metadata")
        named = (metadata.get("namespace"), metadata.get("name")) if isinstance(metadata, dict) else ()
        return Ref(*(text if isinstance(text, str) else "" for text in named or ("", "")))

    @property
    def kind(self) -> str:
        return self.file_of[0] or str(self.value["kind"])

    def set(self, path: Path, value: Any, *because: Fact[Any] | Src | None) -> None:
        """Write a value (a scalar or plain containers) at a path, because of facts. List items are written in order. No reason, no leaf."""
        if not because:
            raise TypeError(f"{self.kind} {self.ref}: nothing says why {path} is written")
        src = sources(*because)
        value = _own(value)
        _put(self.value, path, value)
        for depth in range(1, len(path)):
            self.sources.pop(path[:depth], None)  # taken away, and written again from its own facts
        for leaf in _leaf_paths(value, path):
            self.sources[leaf] = sources(self.sources.get(leaf), src)

    def at(self, path: Path) -> Any:
        """What stands at a path; None where nothing does."""
        value: Any = self.value
        for step in path:
            if isinstance(value, list):
                value = value[step] if isinstance(step, int) and step < len(value) else None
            else:
                value = value.get(step) if isinstance(value, dict) else None
        return value

    def drop(self, path: Path, *because: Fact[Any] | Src | None) -> None:
        """Take a key out of a changed object, because of facts."""
        if not because:
            raise TypeError(f"{self.kind} {self.ref}: nothing says why {path} is removed")
        self.clear(path)
        self.sources[path] = sources(*because)

    def clear(self, path: Path) -> None:
        """Take a key out of a changed object that says nothing any more, with the labels or annotations that it was the last of."""
        holder: Any = self.value
        for step in path[:-1]:
            holder = holder[step]
        holder.pop(path[-1], None)
        if isinstance(holder, dict) and not holder and len(path) > 1 and path[-2] in ("labels", "annotations"):
            outer: Any = self.value
            for step in path[:-2]:
                outer = outer[step]
            outer.pop(path[-2], None)

    def add_origin(self, document: int | None) -> None:
        if document is not None and document not in self.origins:
            self.origins.append(document)

    def note(self, text: str) -> None:
        """A comment above the object, once."""
        if text not in self.notes:
            self.notes.append(text)


@dataclass(slots=True)
class Install:
    """A setting of the mesh's installation."""

    chart: str
    path: str
    value: Any
    src: Src


@dataclass(slots=True)
class Removal:
    api_version: str
    kind: str
    ref: Ref
    reason: str
    document: int | None = None


@dataclass(slots=True)
class Gathered:
    """A finding that is made once for one thing, with the values that its message names one after the other and those that it names once."""

    finding: Finding
    lists: dict[str, dict[Any, None]]
    values: dict[str, Any]

    def shown(self) -> dict[str, str]:
        return {name: _listed(name, sorted(found, key=_by_size)) for name, found in self.lists.items()}


def _listed(name: str, found: list[Any]) -> str:
    """The values one after the other; of rules, which a profile has by hundreds, the first: the finding's leaves are all of them."""
    most = MOST_RULES if name == "rules" else len(found)
    return ", ".join(map(str, found[:most])) + (f" and {len(found) - most} more" if len(found) > most else "")


MOST_RULES = 6
"""Rules that a message names."""


@dataclass(slots=True)
class Output:
    """Everything that a lowering says about one bundle."""

    bundle: Bundle
    table: Table
    target: str
    target_version: str
    source: str
    outside: frozenset[int] = frozenset()  # documents that were read and are not converted
    void: frozenset[int] = frozenset()  # documents that no cluster takes
    objects: dict[tuple[str, str, Ref], Obj] = field(default_factory=dict)
    installs: dict[tuple[str, str], Install] = field(default_factory=dict)
    commands: dict[str, Src] = field(default_factory=dict)
    marked: dict[str, str] = field(default_factory=dict)  # the namespace of each command that is about one
    removals: list[Removal] = field(default_factory=list)
    removed: set[int] = field(default_factory=set)  # the documents of the removals
    kept: set[int] = field(default_factory=set)  # documents that stay in force beside the target, as they are or changed
    asked_of_kept: set[int] = field(default_factory=set)  # ports that are named by what these alone go on saying
    carrying: set[int] = field(default_factory=set)  # those of them that let the proxies' own port through, which carries every other port
    staying: set[int] = field(default_factory=set)  # documents that the target reads as they are
    findings: list[Finding] = field(default_factory=list)
    gathered: dict[tuple[str, Hashable], Gathered] = field(default_factory=dict)  # findings that grow with each place where they hold
    implied: dict[int, str] = field(default_factory=dict)  # leaves whose meaning the target has with nothing written
    deciding: dict[int, str] = field(default_factory=dict)  # leaves that add nothing as they are, and would with another value
    passing: set[int] = field(default_factory=set)  # leaves of documents of no mesh that stay as they are
    irrelevant: dict[int, str] = field(default_factory=dict)  # leaves that decide nothing here, with the reason
    naming: set[int] = field(default_factory=set)  # leaves among these that name what the rest of their object is for, and share its fate
    redundant: dict[int, tuple[str, str]] = field(
        default_factory=dict
    )  # leaves that add nothing to what the rest says, with code and reason
    indifferent: set[tuple[str, str]] = field(default_factory=set)  # (subject, aspect) of differences that leaves like these make
    assumed: list[dict[str, Any]] = field(default_factory=list)  # what the commands bring about, for the read-back alone

    # -- objects

    def object(
        self, api: str, kind: str, ref: Ref, *, owner: int | None, group: str = "", rank: int = 50, because: Fact[Any] | Src | None = None
    ) -> Obj:
        """Get or create an object. `owner` is the input document whose subject it carries, `group` and `rank` place it among the others."""
        key = (api.rpartition("/")[0], kind, ref)
        found = self.objects.get(key)
        if found is None:
            metadata: dict[str, Any] = {"name": ref.name}
            if ref.namespace:
                metadata["namespace"] = ref.namespace
            found = self.objects[key] = Obj({"apiVersion": api, "kind": kind, "metadata": metadata}, group, rank, None)
        if because is not None:
            src = sources(because)
            for path in (("metadata", "name"), ("metadata", "namespace")):
                if path[1] in found.value["metadata"]:
                    found.sources[path] = sources(found.sources.get(path), src)
        found.add_origin(owner)
        return found

    def taken(self, api: str, kind: str, ref: Ref) -> bool:
        """Whether an object of this name is written already or stands in the input."""
        group = api.rpartition("/")[0]
        if (group, kind, ref) in self.objects:
            return True
        return self.bundle_object(group, kind, ref) is not None

    def free(self, api: str, kind: str, namespace: str, wanted: str) -> str:
        """The name wanted, or the first with a number behind it that no object has."""
        return naming.unique(wanted, lambda name: self.taken(api, kind, Ref(namespace, name)))

    def bundle_object(self, group: str, kind: str, ref: Ref) -> int | None:
        """The input document of this name; None where the bundle has none."""
        return self._index().get((group, kind, ref))

    def called(self, number: int, *keys: str) -> Src:
        """The leaves that an input document is called by: its name and its namespace, or one of them."""
        metadata = self.bundle.documents[number].leaves.get("metadata")
        found = (metadata.get(key) for key in keys or ("name", "namespace")) if isinstance(metadata, dict) else ()
        return frozenset(leaf for leaf in found if isinstance(leaf, int))

    _names: dict[tuple[str, str, Ref], int] | None = None

    def _index(self) -> dict[tuple[str, str, Ref], int]:
        if self._names is None:
            self._names = {}
            for number, document in enumerate(self.bundle.documents):
                self._names.setdefault((document.group, document.kind, Ref(document.namespace or "", document.name)), number)
        return self._names

    def change(self, number: int, *, group: str = "", rank: int = 50) -> Obj:
        """A changed copy of an input document: every change made to it is written because of facts, the rest stays."""
        document = self.bundle.documents[number]
        ref = Ref(document.namespace or "", document.name)
        key = (document.group, document.kind, ref)
        found = self.objects.get(key)
        if found is None:
            value = copy.deepcopy(document.value)
            value.pop("status", None)
            metadata = value.get("metadata")
            if isinstance(metadata, dict):
                for name in SERVER_WRITTEN:
                    metadata.pop(name, None)
                annotations = metadata.get("annotations")
                if isinstance(annotations, dict):
                    annotations.pop(LAST_APPLIED, None)
            found = self.objects[key] = Obj(value, group, rank, number)
            if document.form:
                found.file_of = (document.form, document.name)
            found.add_origin(number)
        return found

    # -- installation, removals

    def install(self, chart: str, path: str, value: Any, *because: Fact[Any] | Src | None) -> None:
        """A Helm value of `chart` at a dotted `path`."""
        if not because:
            raise TypeError(f"{chart} {path}: nothing says why it is set")
        before = self.installs.get((chart, path))
        self.installs[chart, path] = Install(chart, path, value, sources(*because, before.src if before else None))

    def command(self, text: str, *because: Fact[Any] | Src | None, namespace: str = "") -> None:
        """A command that a person has to run, once; `namespace` is the one that it is about."""
        if not because:
            raise TypeError(f"{text}: nothing says why")
        self.commands[text] = self.commands.get(text, NOWHERE) | sources(*because)
        if namespace:
            self.marked[text] = namespace

    def remove(self, number: int, reason: str) -> None:
        """A source object to delete after sign-off."""
        if number in self.removed:
            return
        self.removed.add(number)
        document = self.bundle.documents[number]
        self.removals.append(Removal(document.api_version, document.kind, Ref(document.namespace or "", document.name), reason, number))

    def written(self) -> set[int]:
        """The leaves that reached an object."""
        written = dict.fromkeys(src for obj in self.objects.values() for src in obj.sources.values())  # many leaves have the same reasons
        return {leaf for src in written for leaf in src}

    def reached(self) -> set[int]:
        """The leaves that reached an object, or that a finding says the fate of."""
        return self.written() | {leaf for finding in self.findings if finding.disposition is not None for leaf in finding.leaves}

    # -- what is not written

    def imply(self, reason: str, *facts: Fact[Any] | Src | None) -> None:
        """These facts hold in the target with nothing written."""
        for leaf in sources(*facts):
            self.implied.setdefault(leaf, reason)

    def decide(self, reason: str, *facts: Fact[Any] | Src | None) -> None:
        """Nothing is written because of these facts, as others say as much already; with another value they would say more. Goes before `ignore`."""
        for leaf in sources(*facts):
            self.deciding.setdefault(leaf, reason)

    def adds_nothing(self, reason: str, *facts: Fact[Any] | Src | None, code: str = "MP200") -> None:
        """Nothing is written because of these facts, as the rest says as much: what of it reaches nothing in the end is named in a finding."""
        for leaf in sources(*facts):
            self.redundant.setdefault(leaf, (code, reason))

    def ignore(self, reason: str, *facts: Fact[Any] | Src | None) -> None:
        """These facts decide nothing."""
        for leaf in sources(*facts):
            self.irrelevant.setdefault(leaf, reason)

    def names(self, reason: str, *facts: Fact[Any] | Src | None) -> None:
        """Nothing is written because of these facts, which say whom or what the rest of their object is for: lost with it, where that is lost."""
        self.ignore(reason, *facts)
        self.naming |= sources(*facts)

    def finding(
        self,
        code: str,
        *because: Fact[Any] | Src | None,
        document: int | None,
        disposition: str | None = None,
        affects: tuple[Affected, ...] = (),
        explains: Mapping[tuple[str, str], Any] | frozenset[tuple[str, str]] = frozenset(),
        severity: str | None = None,
        effect: str | None = None,
        feature: str = "",
        **values: Any,
    ) -> Finding:
        """A finding of the codes table; `values` fill its message and remedy."""
        row = self.table.codes()[code]
        first = next((fact.feature for fact in because if isinstance(fact, Fact) and fact.feature), "")
        name = feature or first
        known = self.table.feature(name) if name else None
        finding = Finding(
            code=code,
            severity=severity or row.severity,
            message=fill(row.message or row.title, values),
            remedy=fill(row.remedy, values),
            effect=effect or row.effect,
            disposition=disposition,
            pattern=known.pattern if known else "",
            feature=name,
            affects=affects,
            leaves=tuple(sorted(sources(*because))),
            document=document,
            explains=frozenset(explains),
        )
        self.findings.append(finding)
        return finding

    def gather(
        self,
        key: Hashable,
        code: str,
        *because: Fact[Any] | Src | None,
        listed: Mapping[str, Iterable[Any]],
        affects: tuple[Affected, ...] = (),
        explains: frozenset[tuple[str, str]] = frozenset(),
        lost: Piece | None = None,
        **rest: Any,
    ) -> Finding:
        """One finding for one thing, whatever ports and workloads it comes up at: raised again under the same key it takes up the leaves, the destinations
        and the values of `listed`, which its message names one after the other. `lost` are the requests that are left out."""
        known = self.gathered.get((code, key))
        if known is None:
            finding = self.finding(code, *because, affects=affects, explains=explains, **rest)
            finding.lost = {}
            known = self.gathered[code, key] = Gathered(finding, {name: {} for name in listed}, rest)
        for name, more in listed.items():
            known.lists[name].update(dict.fromkeys(more))
        finding, values = known.finding, {**known.values, **known.shown()}
        row = self.table.codes()[code]
        finding.message, finding.remedy = fill(row.message or row.title, values), fill(row.remedy, values)
        finding.leaves = tuple(sorted({*finding.leaves, *sources(*because)}))
        finding.affects = tuple(dict.fromkeys((*finding.affects, *affects)))
        finding.explains |= explains
        if lost is None:
            finding.lost = None
        elif finding.lost is not None:
            for subject in {subject for subject, _ in explains}:
                finding.lost.setdefault(subject, []).append(lost)
        return finding

    def lost(
        self,
        fact: Fact[Any],
        *,
        document: int | None,
        affects: tuple[Affected, ...] = (),
        explains: frozenset[tuple[str, str]] = frozenset(),
        **values: Any,
    ) -> Finding | None:
        """Say what becomes of a feature that the target lacks or has only nearly, from its support row."""
        cell = self.table.support(fact.feature, self.target, self.target_version)
        return self.from_cell(cell, fact, document=document, affects=affects, explains=explains, **values)

    def from_cell(
        self,
        cell: Cell,
        fact: Fact[Any],
        *,
        document: int | None,
        affects: tuple[Affected, ...],
        explains: frozenset[tuple[str, str]],
        **values: Any,
    ) -> Finding | None:
        if cell.support == "native":
            return None
        if cell.support == "irrelevant":
            self.ignore(cell.reason or "decides nothing in the target", fact)
            self.indifferent |= explains
            return None
        if cell.severity == "info" and fact.value in ({}, []):
            self.ignore("an empty block sets nothing", fact)
            self.indifferent |= explains
            return None
        known = self.table.feature(fact.feature)
        code = cell.code or "MP949"
        text = cell.message or f"{known.title if known else fact.feature or 'this setting'} has no equivalent in the target"
        filled = {"value": fact.value, "feature": fact.feature, **self._placed(fact), **values}
        disposition = {"approximate": "approximated", "install": "installed", "external": "manual"}.get(cell.support, "dropped")
        finding = Finding(
            code=code,
            severity=cell.severity if cell.code else "warning",
            message=fill(text, filled),
            remedy=fill(cell.remedy, filled),
            effect=cell.effect,
            disposition=disposition,
            pattern=known.pattern if known else "",
            feature=fact.feature,
            affects=affects,
            leaves=tuple(sorted(fact.src)),
            document=document,
            explains=explains,
        )
        self.findings.append(finding)
        return finding

    def _placed(self, fact: Fact[Any]) -> dict[str, str]:
        """Where a fact stands, for messages: `path`, of an annotation or a label its key alone, and `resource`."""
        if not fact.src:
            return {}
        first = min(fact.src)
        *holder, last = self.bundle.parts(first)
        marks = holder[-1:] in (["annotations"], ["labels"])
        document = self.bundle.owner(first)
        return {
            "path": str(last) if marks else self.bundle.path(first),
            "resource": f"{document.kind} {Ref(document.namespace or '', document.name)}",
        }

    def supports(self, feature: str) -> bool:
        """Whether the target says a feature exactly."""
        return self.table.support(feature, self.target, self.target_version).support == "native"

    def lacks(self, feature: str) -> bool:
        """Whether the target has nothing that a feature could be written as, with any value."""
        return self.table.support(feature, self.target, self.target_version).support in ("none", "irrelevant")

    def knows(self, group: str, kind: str, path: str) -> bool:
        """Whether the target's release has a field, written as in the binding rows: `spec.trafficPolicy.retryBudget.percent`."""
        rows = self.table.kind(group, kind)
        node: Node | None = rows.root if rows is not None else None
        for step in split_path(path):
            node = None if node is None else node.item if step == "[]" else node.child(step)
        return node is not None and node.binding is not None and gap(node.binding, None, self.target_version) is None

    # -- order

    def in_order(self) -> list[Obj]:
        """The objects in an order that follows from their names alone."""
        return sorted(self.objects.values(), key=_place)


def _place(item: Obj) -> tuple[object, ...]:
    ref = item.ref
    return (ref.namespace or ref.name, item.rank // 10, item.group, item.rank, item.kind, ref)


class _Known(dict[str, Any]):
    """Values of a message; what is missing is its own place."""

    def __missing__(self, key: str) -> str:
        return "{" + key + "}"


def _shown(value: Any) -> Any:
    """A value of a manifest as a message says it: in the words of YAML, and in one line."""
    if isinstance(value, str):
        lines = [line.strip() for line in value.strip().splitlines()]
        return value if len(lines) < 2 else f"{lines[0]} ... ({len(lines)} lines)"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, dict) and value and not any(isinstance(item, dict | list) for item in value.values()):
        return ", ".join(f"{key}={_shown(item)}" for key, item in value.items())
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


_SEVERAL_PORTS = re.compile(r"\b([Pp])ort (?=\d+[^,\s]*, \d)")


def fill(text: str, values: Mapping[str, Any]) -> str:
    """A message with its places filled; a place without a value stays as it is. Of ports there may be one, several, or all."""
    try:
        filled = text.format_map(_Known({key: _shown(value) for key, value in values.items()})).strip()
    except (ValueError, IndexError, AttributeError, KeyError):
        return text.strip()
    return _SEVERAL_PORTS.sub(r"\1orts ", filled).replace("port any ", "every port ")


def _own(value: Any) -> Any:
    """A copy of plain containers: what is given may be the input's, or be written elsewhere too, and a caller may change the manifests that it is handed."""
    if isinstance(value, dict):
        return {key: _own(item) for key, item in value.items()}
    return [_own(item) for item in value] if isinstance(value, list) else value


def _put(root: Any, path: Path, value: Any) -> None:
    holder = root
    for step, following in itertools.pairwise(path):
        empty: Any = [] if isinstance(following, int) else {}
        if isinstance(step, int):
            if step == len(holder):
                holder.append(empty)
            holder = holder[step]
        else:
            if not isinstance(holder.get(step), type(empty)):
                holder[step] = empty  # in a changed copy of the input something of another kind may stand there
            holder = holder[step]
    last = path[-1]
    if isinstance(last, int) and last == len(holder):
        holder.append(value)
    else:
        holder[last] = value


def _leaf_paths(value: Any, path: Path) -> Iterator[Path]:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaf_paths(below, (*path, key))
    elif isinstance(value, list) and value:
        for i, below in enumerate(value):
            yield from _leaf_paths(below, (*path, i))
    else:
        yield path


def _by_size(value: Any) -> tuple[bool, Any]:
    """Numbers by size, then words."""
    return (False, value) if isinstance(value, int) else (True, str(value))


__all__ = ["Install", "Obj", "Output", "Removal", "fill", "leaves_below"]
