"""The output fitted to the target's release: what the release does not know is taken out again and said, from the tables alone.

A lowering writes what a mesh can say; whether this release knows the field, the value, the version of the kind or the annotation is data. What is taken
out of a policy takes its rule along: a rule that is left without one of its conditions would admit more.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshport.documents import format_path
from meshport.findings import Affected, Finding
from meshport.ir.base import Fact
from meshport.mapping.bound import MESH_NAMES
from meshport.mapping.paths import leaves_below
from meshport.mapping.releases import Gap, bound_leaves, gap, served, unknown_leaves
from meshport.mapping.table import Binding, Node, Table, dialect_of_group

if TYPE_CHECKING:
    from meshport.compare.diff import Change
    from meshport.dialects.base import Options
    from meshport.dialects.output import Obj, Output

Path = tuple[str | int, ...]

_POLICY = {"authorization", "l4-policy", "kafka", "mtls", "jwt", "external-authorization"}
_LOST = {"none", "external"}
_HOLDERS: tuple[Path, ...] = (("metadata",), ("spec", "template", "metadata"), ("spec", "jobTemplate", "spec", "template", "metadata"))


@dataclass(slots=True)
class Misfit:
    """A place of an output object that the release does not know. An empty path is the whole object."""

    obj: Obj
    path: Path
    binding: Binding
    gap: Gap


def misfits(out: Output, options: Options) -> list[Misfit]:
    """What the target's release does not know of the output, and of routes that stay because the target reads them too; kinds at a version that it does
    not serve are moved to one that it does."""
    found = []
    for number in sorted(out.staying):
        document = out.bundle.documents[number]
        if dialect_of_group(document.group) == "gateway-api" and number not in out.removed and options.source != options.target:
            out.change(number)  # written only if something of it has to go
    for obj in out.in_order():
        group, _, version = str(obj.value.get("apiVersion", "")).rpartition("/")
        name = dialect_of_group(group)
        release = release_of(out.table, name, options)
        kind = out.table.kind(group, obj.kind) if name else None
        every = obj.changed is not None and name == "gateway-api" and options.source != options.target
        if kind is not None and (obj.changed is None or every):
            known = served(kind, release)
            if not known:
                found.append(Misfit(obj, (), Binding("identity.name"), Gap("later", next((since for since, _ in kind.spans if since), ""))))
                continue
            if version in kind.versions and version not in known:
                obj.set(("apiVersion",), f"{group}/{known[0]}", _because(out, obj, ("apiVersion",)))
        if kind is not None:
            found += [Misfit(obj, *item) for item in unknown_leaves(out.table, obj.value, kind, release) if every or item[0] in obj.sources]
        found += [Misfit(obj, *item) for item in _keys(obj, out.table, options)]
    return found


def release_of(table: Table, dialect: str | None, options: Options) -> str | None:
    """The release of a dialect that the target's release goes with; None where it is not known."""
    if dialect == options.target:
        return options.target_version
    return table.gateway_release(options.target, options.target_version) if dialect == "gateway-api" else None


def _keys(obj: Obj, table: Table, options: Options) -> Iterator[tuple[Path, Binding, Gap]]:
    """Labels and annotations that were written for a release that reads them."""
    for path in obj.sources:
        for holder in _HOLDERS:
            if len(path) == len(holder) + 2 and path[: len(holder)] == holder and path[-2] in ("labels", "annotations"):
                value: Any = obj.value
                for step in path:
                    value = value.get(step) if isinstance(value, dict) else None
                binding = table.key_bindings(str(path[-2]), str(path[-1])).get(options.target)
                if value is not None and binding is not None and (found := gap(binding, value, options.target_version)) is not None:
                    yield path, binding, found


def fit(out: Output, options: Options, places: list[Misfit]) -> list[Finding]:
    """Take the places out of the output. What comes back is what has to be said; which differences it answers for is not in it yet."""
    said: list[Finding] = []
    for obj in {id(item.obj): item.obj for item in places}.values():
        mine = [item for item in places if item.obj is obj]
        if any(not item.path for item in mine):
            src = frozenset().union(*obj.sources.values()) if obj.sources else _because(out, obj, ("spec",))
            out.objects = {key: other for key, other in out.objects.items() if other is not obj}
            said.append(_say(out, options, obj, mine[0], src, obj.kind, obj.ref))
            continue
        gone: set[Path] = set()
        kinds: set[Path] = set()
        lots: dict[tuple[str, str], list[tuple[Misfit, frozenset[int], Any]]] = {}
        for item in mine:
            policy = (known := out.table.feature(item.binding.feature)) is not None and known.pattern in _POLICY
            index = next((at for at, step in enumerate(item.path) if isinstance(step, int)), None)
            place = item.path[: index + 1] if policy and index is not None and item.path[0] == "spec" else item.path
            if place[-1] == "type" and len(place) > 2 and place[-3] == "filters":
                kinds.add(place[:-1])  # a filter of a kind that the release does not know is none without it
            if any(place[: len(other)] == other for other in gone):
                continue
            gone.add(place)
            src = _because(out, obj, place)
            cell = out.table.support(item.binding.feature, options.target, options.target_version)
            lots.setdefault((cell.code, cell.message) if cell.support in _LOST else ("", item.gap.release), []).append(
                (item, src, _at(obj, item.path))
            )
        for lot in lots.values():
            src = frozenset().union(*(leaves for _, leaves, _ in lot))
            shown = ", ".join(format_path(item.path) for item, _, _ in lot)
            said.append(_say(out, options, obj, lot[0][0], src, shown, ", ".join(str(value) for _, _, value in lot)))
        obj.value = copy.deepcopy(obj.value)  # what was written may still belong to a fact
        for place in sorted(kinds | {place for place in gone if place[:-1] not in kinds}, key=_from_behind, reverse=True):
            _take_out(obj, place)
    return said


def _because(out: Output, obj: Obj, place: Path) -> frozenset[int]:
    """The leaves that a place was written because of; of what stood in the input already, its own."""
    src = frozenset().union(*(src for path, src in obj.sources.items() if path[: len(place)] == place))
    shadow: Any = out.bundle.documents[obj.changed].leaves if obj.changed is not None and not src else None
    for step in place:
        here = (isinstance(shadow, dict) and step in shadow) or (isinstance(shadow, list) and isinstance(step, int) and step < len(shadow))
        shadow = shadow[step] if here else None
    return src if shadow is None else frozenset(leaf for leaf, _ in leaves_below(shadow, ()))


def _from_behind(path: Path) -> tuple[tuple[int, int, str], ...]:
    return tuple((0, step, "") if isinstance(step, int) else (1, 0, step) for step in path)


def _take_out(obj: Obj, path: Path) -> None:
    """Remove a place, the mappings that it leaves empty, and what says why it was written."""
    holders: list[Any] = [obj.value]
    for step in path[:-1]:
        holders.append(holders[-1][step])
    end = len(path) - 1
    if isinstance(path[end], int) and len(holders[end]) == 1 and path[end - 1] in ("ingress", "egress"):
        holders[end][0] = {}  # a direction without rules would be open: this closes it
        src = frozenset().union(*(src for known, src in obj.sources.items() if known[: end + 1] == path))
        obj.sources = {known: src for known, src in obj.sources.items() if known[: end + 1] != path} | {path: src}
        return
    del holders[end][path[end]]
    while end > 1 and not holders[end] and isinstance(path[end - 1], str) and path[end - 1] != "rules":
        end -= 1
        del holders[end][path[end]]
    last = path[end]
    kept = {}
    for known, src in obj.sources.items():
        if known[: end + 1] == path[: end + 1]:
            continue
        place = known[end] if known[:end] == path[:end] and len(known) > end else None
        if isinstance(last, int) and isinstance(place, int) and place > last:  # what stood behind it in the list moves up
            known = (*known[:end], place - 1, *known[end + 1 :])
        kept[known] = src
    obj.sources = kept


def _at(obj: Obj, path: Path) -> Any:
    value: Any = obj.value
    for step in path:
        value = value[step]
    return value


def _say(out: Output, options: Options, obj: Obj, item: Misfit, src: frozenset[int], shown: str, value: Any) -> Finding:
    """The finding of the support row where it knows that the release cannot, else one about the field."""
    document = obj.origins[0] if obj.origins else None
    where = (Affected(obj.ref.namespace or None, obj.ref.name),)
    feature = item.binding.feature
    cell = out.table.support(feature, options.target, options.target_version)
    if cell.support in _LOST and cell.code:
        found = out.from_cell(cell, Fact(value, src, feature), document=document, affects=where, explains=frozenset())
        if found is not None:
            return found
    known = out.table.feature(feature)
    policy = known is not None and known.pattern in _POLICY
    return out.finding(
        "MP024",
        src,
        document=document,
        disposition="dropped",
        affects=where,
        severity="error" if policy or not item.path else None,
        effect="narrows" if policy else None,
        feature=feature,
        object=f"{obj.kind} {obj.ref}",
        place=shown,
        mesh=MESH_NAMES.get(options.target, options.target),
        version=options.target_version,
        release=item.gap.release,
    )


def answer(said: list[Finding], found: list[Change]) -> None:
    """Let the findings of `fit` answer for what it changed: the differences between the output as it was written and as it is now."""
    pairs = frozenset((change.subject, change.aspect) for change in found)
    for finding in said:
        finding.explains |= pairs


def name_channels(out: Output) -> None:
    """A finding for each field of the experimental channel, unless one says so already."""
    for obj, name, feature, src in experimental(out):
        if obj.changed is not None or any(finding.code in ("MP455", "MP024") and src & set(finding.leaves) for finding in out.findings):
            continue
        document = obj.origins[0] if obj.origins else None
        out.finding("MP023", src, document=document, feature=feature, object=f"{obj.kind} {obj.ref}", field=name)


def experimental(out: Output) -> Iterator[tuple[Obj, str, str, frozenset[int]]]:
    """Fields of the output that only the experimental channel of Gateway API has: (object, the field, its feature, the leaves it comes from)."""
    for obj in out.in_order():
        group = str(obj.value.get("apiVersion", "")).rpartition("/")[0]
        kind = out.table.kind(group, obj.kind) if dialect_of_group(group) == "gateway-api" else None
        if kind is None:
            continue
        found: dict[str, tuple[str, set[int]]] = {}
        for path, _, binding in bound_leaves(out.table, obj.value, kind):
            if binding.channel == "experimental" and path in obj.sources:
                found.setdefault(_field(kind.root, path), (binding.feature, set()))[1].update(obj.sources[path])
        for name, (feature, src) in found.items():
            yield obj, name, feature, frozenset(src)


def _field(root: Node, path: Path) -> str:
    """The uppermost field on a path of which all is experimental."""
    node: Node | None = root
    for step in path:
        node = None if node is None else node.item if isinstance(step, int) else node.child(str(step))
        if node is not None and isinstance(step, str) and all(row.channel == "experimental" for row in _rows(node)):
            return step
    return str(path[-1])


def _rows(node: Node) -> Iterator[Binding]:
    if node.binding is not None and node.binding.type:
        yield node.binding
    for below in (*node.children.values(), node.star, node.item):
        if below is not None:
            yield from _rows(below)
