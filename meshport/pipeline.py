"""The sentence at the top of the architecture, as code: documents are read, lifted into what they do, lowered into the target's words, read back, and
compared with what was meant."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from meshport.compare import alarms
from meshport.compare.diff import Canonical, Change, changes, sides
from meshport.dialects.base import BUILT_IN, Dialect, Keeping, Options, dialect, governs
from meshport.dialects.gateway_api.staying import stays
from meshport.dialects.losses import leaving
from meshport.dialects.output import Obj, Output, fill
from meshport.documents import Bundle, Document, load_objects
from meshport.documents.scripts import KUBECTL, commanded
from meshport.errors import UsageError
from meshport.findings import Affected, Finding, in_one, ordered
from meshport.fitting import answer, fit, misfits, name_channels
from meshport.ir.base import Fact, Ref
from meshport.ir.model import IR, ByLabel
from meshport.layout import Layout
from meshport.ledger import Account, Ledger, account
from meshport.lints import lints, mistakes
from meshport.mapping.bound import Bound
from meshport.mapping.table import Table, dialect_of_group
from meshport.options import resolve
from meshport.reading import reading_findings
from meshport.selection import Selection

if TYPE_CHECKING:
    from meshport.compare.verify import Verification
    from meshport.report.model import Report


@dataclass(slots=True)
class Manifest:
    """One object made or changed. `origins` are {file, document, line} of the input documents that it comes from."""

    object: dict[str, Any]
    file: str
    origins: list[dict[str, Any]]
    notes: tuple[str, ...] = ()
    source: int | None = None  # the input document that it is a changed copy of


@dataclass(slots=True)
class Result:
    """What a conversion came to. `passed_through` are the objects of no mesh that stay as they are."""

    options: Options
    bundle: Bundle
    known: Bundle  # the bundle with what else was read for knowledge: what leaf ids of findings and ledger count in
    manifests: list[Manifest]
    passed_through: list[dict[str, Any]]
    removals: list[dict[str, Any]]
    install: dict[str, Any]
    findings: list[Finding]
    ledger: Ledger
    diff: list[Change]
    verification: Verification | None
    stopped: bool = False
    kept: list[Document] = field(default_factory=list)  # documents of the source's APIs that the target reads as they are

    def report(self) -> Report:
        """Everything as the JSON report's model."""
        from meshport.report.build import build

        return build(self)

    def write(self, folder: str, *, force: bool = False) -> list[str]:
        """Write the manifests into a folder, whole or not at all; the paths written. Raises UsageError where the folder cannot be used."""
        from meshport.writing import write_folder

        return write_folder(self, folder, force=force)

    def text(self) -> str:
        """The manifests as one YAML stream."""
        from meshport.writing import stream

        return stream(self.manifests, self.bundle)


def convert(
    bundle: Bundle, table: Table, options: Options, *, context: Bundle | None = None, verify: bool = True, layout: str = "mirror"
) -> Result:
    """Convert a bundle. Nothing is written; what could not be said is in the findings."""
    source, target = dialect(options.source), dialect(options.target)
    whole = merged(bundle, context)
    chosen = Selection(whole, len(bundle.documents), options)
    bound = Bound(whole, table, source.reads, {options.source: options.source_version})
    have = source.lift(bound, options)
    out = Output(whole, table, options.target, options.target_version, options.source)
    _losses(have, out, options.source == options.target)
    keeper = source if isinstance(source, Keeping) and options.keep_network_policy is not False and source is not target else None
    keeper = keeper if governs(target) else None
    target.lower(keeper.keep(bound, have, out, options) if keeper is not None else have, out, options)
    if keeper is None and source is not target and governs(target):
        leaving(have, out)
    for fact in have.idle:
        out.ignore(fact.value, fact)
    places = misfits(out, options)
    unfitted = target.lift(Bound(overlay(whole, out), table, target.reads), options) if places else None
    fitted = fit(out, options, places)
    _rest(bound, out, options)
    _removals(bound, out, options, target)
    name_channels(out)
    back_bundle = overlay(whole, out)
    back = target.lift(Bound(back_bundle, table, target.reads, {options.target: options.target_version}), options)
    if unfitted is not None:
        answer(fitted, changes(*sides(unfitted, back, options, options)))
    if not governs(target):
        _in_force(source.lift(Bound(back_bundle, table, source.reads, {options.source: options.source_version}), options), back)
    if keeper is not None and out.kept:
        beside = source.lift(Bound(back_bundle, table, source.reads, {options.source: options.source_version}), options)
        back.beside.append(keeper.in_force(beside, options))
    back.by_label = have.by_label
    before, after = sides(have, back, options, options)
    found = changes(before, after)
    findings = [*reading_findings(whole, bound), *bound.findings, *out.findings, *lints(have, bound, options)]
    alarms.settle(findings, before, after)
    as_target = {options.target: options.target_version}
    findings += _unexplained(
        found,
        findings,
        out,
        lambda: changes(*sides(target.lift(Bound(whole, table, target.reads, as_target), options), back, options, options)),
    )
    findings += chosen.left_out(out.in_order(), table)
    proof = _verify(have, back, options, (before, after), (whole, back_bundle)) if verify else None
    findings += _widened(proof, findings, table)
    result = account(bound, out, findings, have.world.read)
    result.settle(findings)
    findings += _unread(result, bound)
    findings += _unaccounted(result.unaccounted, bound)
    findings = _settled(ordered(findings), bound)
    found, findings = _chosen(found, findings, chosen)
    result.limit(chosen.owns)
    _by_command(out)
    place = Layout(whole, out, layout)
    stopped = options.on_loss == "stop" and any(_is_loss(finding) for finding in findings)
    changed, removed = {obj.changed for obj in out.objects.values()}, {item.document for item in out.removals}
    ledger = Ledger(bound, result, out, findings, {id(obj): place.file(obj) for obj in out.objects.values() if chosen.writes(obj)})
    return Result(
        options,
        bundle,
        whole,
        [] if stopped else [_manifest(obj, whole, place) for obj in out.in_order() if _written(obj, whole) and chosen.writes(obj)],
        [
            document.value
            for number, document in enumerate(whole.documents)
            if number in chosen.chosen and not bound.mesh[number] and number not in changed and not document.chart
        ],
        [
            {
                "apiVersion": item.api_version,
                "kind": item.kind,
                "namespace": item.ref.namespace or None,
                "name": item.ref.name,
                "reason": item.reason,
            }
            for item in sorted(out.removals, key=lambda entry: (entry.ref, entry.kind))
            if chosen.every or item.document in chosen.chosen
        ],
        _install(out),
        findings,
        ledger,
        found,
        proof,
        stopped,
        [
            document
            for number, document in enumerate(whole.documents)
            if number in chosen.chosen and bound.mesh[number] and number not in removed
        ],
    )


def also_in_force(bundle: Bundle, table: Table, options: Options) -> list[IR]:
    """The policies of another mesh that hold as well: a request has to pass both."""
    found = []
    for name in BUILT_IN if governs(dialect(options.source)) else ():
        other = dialect(name)
        if name != options.source and isinstance(other, Keeping) and any(dialect_of_group(item.group) == name for item in bundle.documents):
            there = replace(options, source=name, source_version=table.versions(name)[-1])
            found.append(other.in_force(lift(bundle, table, there)[0], there))
    return found


def _in_force(beside: IR, back: IR) -> None:
    """Give what was read back the policies that are left in the cluster, where the target has none of its own: the source mesh still acts on them."""
    for part in fields(IR):
        if part.name not in ("mesh", "routes", "gateways", "service_policies", "losses"):
            setattr(back, part.name, getattr(beside, part.name))


def merged(bundle: Bundle, context: Bundle | None) -> Bundle:
    """A bundle with what else is known of its cluster, after the commands of its scripts."""
    if context is None or not context.documents:
        return commanded(bundle)
    return commanded(bundle.joined(context))


# -- what the lowering left


def _losses(have: IR, out: Output, own: bool) -> None:
    """The losses as findings. Of a mesh converted onto itself (`own`) nothing is lost by that: what is left are the mistakes among them."""
    read = {item.document for item in have.policies} | {item.document for item in have.egress}
    for loss in have.losses:
        if own and loss.code in _ABROAD:
            continue
        row = out.table.codes()[loss.code]
        document = out.bundle.documents[loss.document]
        affects = (Affected(document.namespace),) if document.namespace else ()
        if loss.code in _STAYING and loss.document not in read:
            out.staying.add(loss.document)
            out.imply(
                "stays with the source mesh, which goes on reading it", frozenset(range(document.first, document.first + document.count))
            )
            out.finding(loss.code, *loss.facts, document=loss.document, disposition=None, affects=affects, object=named(document))
            continue
        disposition = _BECOMES.get(loss.code, "dropped")
        values: dict[str, Any] = {
            "object": named(document),
            "value": loss.facts[0].value if loss.facts else "",
            **loss.values,
        }
        if own and disposition != "invalid":
            out.finding(loss.code, *loss.facts, document=loss.document, effect="none", affects=affects, **values)
            continue
        out.finding(loss.code, *loss.facts, document=loss.document, disposition=disposition, affects=affects, **values)
        if disposition is None:
            out.ignore(row.meaning or row.title, *loss.facts)


def named(document: Document) -> str:
    """A document by its kind and name."""
    return f"{document.kind} {Ref(document.namespace or '', document.name)}"


_BECOMES: dict[str, str | None] = {
    "MP111": "approximated", "MP212": None, "MP014": "invalid", "MP015": "invalid", "MP225": "approximated", "MP239": None, "MP733": None, "MP336": None,
    "MP337": None, "MP736": None, "MP974": "approximated", "MP654": "invalid", "MP655": "invalid", "MP656": "invalid", "MP666": "invalid",
}  # fmt: skip
"""What becomes of the leaves of a loss, by its code, where they are not dropped."""

_STAYING = {"MP120", "MP296"}
"""Losses of documents that no mesh can take over, so that they are not to be deleted."""

_ABROAD = {"MP120", "MP121", "MP127", "MP212", "MP221", "MP225", "MP235", "MP296", "MP297", "MP705"}
"""Losses that the mesh itself does not suffer: it has what they are about."""


def _rest(bound: Bound, out: Output, options: Options) -> None:
    """Leaves that no lift understood: the table says what becomes of their feature, and where it says that the target has it, that is a defect.

    Of a mesh converted onto itself what nobody takes away stays as it is, unless the release that is wanted no longer has it."""
    reached = out.reached() | set(out.implied) | set(out.irrelevant) | bound.invalid | bound.repeated
    for install in out.installs.values():
        reached |= install.src
    for src in out.commands.values():
        reached |= src
    groups: dict[tuple[int, str], list[int]] = {}
    copied = {obj.changed for obj in out.objects.values()}
    for number, document in enumerate(bound.bundle.documents):
        if out.source == out.target and bound.mesh[number] and isinstance(leaf := document.leaves.get("apiVersion"), int):
            out.imply("is a version that the release serves", frozenset((leaf,)))  # an older one would be written anew
        for leaf in range(document.first, document.first + document.count):
            binding = bound.bindings[leaf]
            if leaf in reached or binding is None or (not bound.mesh[number] and leaf not in bound.meta_leaves):
                continue
            if (
                binding.irrelevant
                or bound.bundle.value(leaf) is None
                or (binding.irrelevant_values and binding.reason_for(bound.bundle.value(leaf)))
            ):
                continue
            if leaf in bound.meta_leaves and (where := _astray(bound, document, leaf)):
                out.ignore(where, frozenset((leaf,)))
                continue
            groups.setdefault((number, bound.feature(leaf)), []).append(leaf)
    if not governs(dialect(out.target)):
        _staying(groups, bound, out)
        return
    below: dict[int, set[int]] = {}
    things: dict[tuple[int, str, str], list[Finding]] = {}
    for (number, feature), leaves in groups.items():
        cell = out.table.support(feature, out.target, out.target_version)
        document = bound.bundle.documents[number]
        kept = out.source == out.target and number not in out.removed
        if kept and (cell.support != "none" or cell == out.table.support(feature, out.source, options.source_version)):
            if bound.mesh[number] or number in copied:
                out.imply("stays as it is", frozenset(leaves))
            else:
                out.passing.update(leaves)
            continue
        if bound.mesh[number] and dialect_of_group(document.group) == "gateway-api" and not _parented(document, out.source):
            out.imply("stays as it is: the target reads it too", frozenset(leaves))
            continue
        if cell.support in ("native", "approximate", "install") and (known := out.table.feature(feature)) is not None:
            if document.kind in _BELOW_HTTP and dialect_of_group(document.group) == "gateway-api":
                below.setdefault(number, set()).update(leaves)
                continue
            if document.kind in _LATER or not bound.mesh[number] or bound.meta_leaves.issuperset(leaves):
                out.finding("MP902", frozenset(leaves), document=number, disposition="dropped", object=named(document), what=known.title)
            continue
        value = bound.bundle.value(leaves[0])
        said = out.from_cell(cell, Fact(value, frozenset(leaves), feature), document=number, affects=(), explains=frozenset())
        if said is not None and said.code in _OF_ONE_THING:
            things.setdefault((number, said.code, said.severity), []).append(said)
    for parts in things.values():
        out.findings = [finding for finding in out.findings if all(finding is not one for one in parts[1:])]
        parts[0].message = in_one([one.message for one in parts])
        parts[0].leaves = tuple(sorted({leaf for one in parts for leaf in one.leaves}))
    for number, listed in below.items():
        document = bound.bundle.documents[number]
        out.finding(
            "MP768", frozenset(listed), document=number, disposition="manual", affects=(Affected(document.namespace),) if document.namespace else (),
            feature="routing.parent", object=f"{document.kind} {Ref(document.namespace or '', document.name)}",
            parents=_kinds(document, "parentRefs"), backends=_kinds(document, "backendRefs"),
        )  # fmt: skip


def _kinds(document: Document, member: str) -> str:
    """The kinds that a route refers to by `parentRefs`, or by the `backendRefs` of its rules."""
    spec = document.value.get("spec")
    holders = [spec] if member == "parentRefs" else spec.get("rules") if isinstance(spec, dict) else None
    default = "Gateway" if member == "parentRefs" else "Service"
    found = {
        str(item.get("kind") or default)
        for holder in (holders if isinstance(holders, list) else ())
        if isinstance(holder, dict) and isinstance(holder.get(member), list)
        for item in holder[member]
        if isinstance(item, dict)
    }
    return " and ".join(sorted(found)) or "nothing"


def _astray(bound: Bound, document: Document, leaf: int) -> str:
    """Why a label or annotation decides nothing where it stands: the mesh reads it on other objects; "" where it reads it there."""
    binding = bound.bindings[leaf]
    if binding is None or not binding.on or "any" in binding.on:
        return ""
    inside = not bound.bundle.path(leaf).startswith("metadata.") or document.kind == "Pod"
    holder = "pod" if inside else document.kind
    return "" if holder in binding.on else f"read on {', '.join(binding.on)} alone, and decides nothing here"


_OF_ONE_THING = {"MP261"}
"""Codes of features that are parts of one thing: a document's are one finding."""


def _staying(groups: dict[tuple[int, str], list[int]], bound: Bound, out: Output) -> None:
    """What is left of each document stays with its mesh: one finding for a document."""
    documents: dict[int, list[Fact[Any]]] = {}
    for (number, feature), leaves in groups.items():
        documents.setdefault(number, []).append(Fact(bound.bundle.value(leaves[0]), frozenset(leaves), feature))
    for number, facts in documents.items():
        src = frozenset().union(*(fact.src for fact in facts))
        if dialect_of_group(bound.bundle.documents[number].group) == "gateway-api":
            out.imply("stays as it is", src)
        else:
            stays(out, number, facts, src)


_BELOW_HTTP = ("TCPRoute", "TLSRoute", "UDPRoute")
_LATER = {
    "WorkloadGroup", "Telemetry", "ProxyConfig", "EnvoyFilter", "WasmPlugin", "TrafficExtension",
    "HTTPLocalRateLimitPolicy", "ExternalWorkload", "TCPRoute", "TLSRoute",
    "UDPRoute", "BackendTLSPolicy", "BackendLBPolicy", "XBackendTrafficPolicy", "XBackend", "XMesh",
}  # fmt: skip
"""Kinds that no lift reads yet: what the target has of them is named, not written."""


def _removals(bound: Bound, out: Output, options: Options, target: Dialect) -> None:
    """Source objects that the target does not read, to be deleted last; an object that the output writes anew under its name stays.

    A target that governs nobody's access takes nothing away but what its lowering has replaced.
    """
    if options.source == options.target or not governs(target):
        return
    for number, document in enumerate(bound.bundle.documents):
        if not bound.mesh[number] or number in out.staying:
            continue
        ref = Ref(document.namespace or "", document.name)
        if (document.group, document.kind, ref) in out.objects:
            continue
        if dialect_of_group(document.group) != "gateway-api":
            out.remove(number, f"{options.target} does not read it; delete it once the namespace is signed off")
        elif _parented(document, options.source) or _serves_mesh(document):
            out.remove(number, "its meaning is in the converted objects; delete it once the namespace is signed off")


def _serves_mesh(document: Document) -> bool:
    """Whether a Gateway is a proxy inside Istio's mesh and no way in: a waypoint."""
    spec = document.value.get("spec")
    return document.kind == "Gateway" and isinstance(spec, dict) and str(spec.get("gatewayClassName", "")).startswith("istio-waypoint")


def _parented(document: Document, source: str) -> bool:
    """Whether a Gateway API route hangs on something of the source mesh: a Service, or a Linkerd resource."""
    spec = document.value.get("spec")
    parents = spec.get("parentRefs") if isinstance(spec, dict) else None
    if not isinstance(parents, list) or not parents:
        return False
    if document.kind in ("TCPRoute", "TLSRoute") and source != "linkerd" and all(_of_a_service(item) for item in parents):
        return False  # every mesh reads it alike, so that it stays
    kinds = ("Service", *{"linkerd": ("Server", "EgressNetwork"), "istio": ("ServiceEntry",)}.get(source, ()))
    return all(isinstance(item, dict) and item.get("kind") in kinds for item in parents)


def _of_a_service(parent: Any) -> bool:
    return isinstance(parent, dict) and parent.get("kind") == "Service" and parent.get("group") == ""


def _written(obj: Obj, bundle: Bundle) -> bool:
    """Whether an object is a manifest of the output: made, or changed; one that is known from a command alone is changed by commands."""
    return obj.changed is None or (obj.value != bundle.documents[obj.changed].value and not bundle.documents[obj.changed].commanded)


def _by_command(out: Output) -> None:
    """What is to change of an object that is known from the commands of a script alone, as commands: the rest of it is unknown."""
    for obj in out.in_order():
        document = out.bundle.documents[obj.changed] if obj.changed is not None else None
        if document is None or not document.commanded:
            continue
        for what, verb in (("labels", "label"), ("annotations", "annotate")):
            before, after = document.value["metadata"].get(what) or {}, obj.value["metadata"].get(what) or {}
            marks = [f"{key}={after[key]}" for key in sorted(after) if after[key] != before.get(key)]
            marks += [f"{key}-" for key in sorted(before) if key not in after]
            if marks:
                src = frozenset().union(*(src for path, src in obj.sources.items() if path[:2] == ("metadata", what)))
                words = " ".join(shlex.quote(mark) for mark in marks)
                out.command(f"kubectl {verb} {obj.kind.lower()} {shlex.quote(document.name)} {words} --overwrite", src)


def overlay(bundle: Bundle, out: Output) -> Bundle:
    """The cluster after the conversion: the output over the input, less the removals."""
    gone = {item.document for item in out.removals}
    changed = {obj.changed for obj in out.objects.values() if obj.changed is not None}
    stays = [
        document
        for number, document in enumerate(bundle.documents)
        if number not in gone and number not in changed and not document.chart.startswith(KUBECTL)
    ]
    charts = {number: document.chart for number, document in enumerate(stays) if document.chart}
    return load_objects([*(document.value for document in stays), *(obj.value for obj in out.in_order()), *out.assumed], charts)


# -- findings


def _unexplained(found: list[Change], findings: list[Finding], out: Output, made: Callable[[], list[Change]]) -> list[Finding]:
    """A difference that nothing answers for is a defect of meshport, and said as one; but where the input already is what the target reads
    there, it is the input's. `made` are the differences that the output makes to the input in the target's eyes."""
    answered = {pair for finding in findings for pair in finding.explains} | out.indifferent
    groups: dict[str, list[Change]] = {}
    for change in found:
        if not _answers(answered, change):
            groups.setdefault(change.subject, []).append(change)
    row = out.table.codes()["MP900"]
    own, shared = _words_of_target(out) if groups else (False, False)
    written = {(change.subject, change.aspect) for change in made()} if own or shared else None
    extra = []
    for subject, listed in groups.items():
        there = own or (shared and subject.startswith(("routes of ", "ingress of ")))
        if written is not None and there and not any((change.subject, change.aspect) in written for change in listed):
            code = "MP903" if out.source != out.target else "MP339"
            out.finding(
                code, document=None, disposition=None, explains=frozenset((subject, change.aspect) for change in listed), subject=subject,
                release=out.target_version,
            )  # fmt: skip
            extra.append(out.findings.pop())
            continue
        places = ", ".join(sorted({change.path for change in listed}))
        extra.append(
            Finding(
                "MP900",
                "error",
                f"{subject}: what was written reads back differently from what was meant ({places})",
                row.remedy,
                "changes",
                explains=frozenset((subject, change.aspect) for change in listed),
                pattern="meshport",
                feature="read-back",
            )
        )
    return extra


def _words_of_target(out: Output) -> tuple[bool, bool]:
    """Whether the input holds documents or marks of the target mesh itself, and whether it holds documents that both meshes read."""
    own = shared = False
    for document in out.bundle.documents:
        found = dialect_of_group(document.group)
        own = own or found == out.target
        shared = shared or found in ("gateway-api", "smi")
        if found is None and not own:
            own = any(out.target in out.table.key_bindings(what, key) for what, key in _marks(document.value))
    return own, shared


def _marks(value: Any) -> Iterator[tuple[str, str]]:
    """The labels and annotations of an object and of its pod template."""
    metadata = value.get("metadata") if isinstance(value, dict) else None
    for what in ("labels", "annotations"):
        found = metadata.get(what) if isinstance(metadata, dict) else None
        yield from ((what, str(key)) for key in found) if isinstance(found, dict) else ()
    for step in ("spec", "template", "jobTemplate"):
        below = value.get(step) if isinstance(value, dict) else None
        if isinstance(below, dict):
            yield from _marks(below)


def _answers(answered: set[tuple[str, str]], change: Change) -> bool:
    """Whether a finding speaks of a difference; one about the breaker or the limits of a Service speaks of those of its ports."""
    subjects = [change.subject]
    if change.subject.startswith(("breaker of ", "policy of ")):
        subjects.append(change.subject.partition(" port ")[0])
    return any((subject, aspect) in answered for subject in subjects for aspect in (change.aspect, "*"))


def _unread(result: Account, bound: Bound) -> list[Finding]:
    """Values that nothing came of because none of those who read them could make them out."""
    row = bound.table.codes()["MP961"]
    found = []
    for leaf in result.unaccounted:
        if leaf not in bound.unread:
            continue
        document = bound.bundle.documents[number := bound.bundle.number(leaf)]
        result.dispositions[leaf] = "invalid"
        named = {"object": f"{document.kind} {Ref(document.namespace or '', document.name)}", "path": bound.bundle.path(leaf)}
        text = fill(row.message, {**named, "value": repr(bound.bundle.value(leaf))})
        found.append(
            Finding(
                "MP961",
                row.severity,
                text,
                row.remedy,
                row.effect,
                "invalid",
                "input",
                bound.feature(leaf),
                leaves=(leaf,),
                document=number,
            )
        )
    return found


def _unaccounted(leaves: list[int], bound: Bound) -> list[Finding]:
    """Leaves that reached nothing although the target has their feature: named, so that they are not lost in silence."""
    row = bound.table.codes()["MP901"]
    groups: dict[int, list[int]] = {}
    numbers = {id(document): number for number, document in enumerate(bound.bundle.documents)}
    for leaf in leaves:
        groups.setdefault(numbers[id(bound.bundle.owner(leaf))], []).append(leaf)
    found = []
    for number, listed in groups.items():
        document = bound.bundle.documents[number]
        places = ", ".join(bound.bundle.path(leaf) for leaf in listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
        text = f"{document.kind} {Ref(document.namespace or '', document.name)}: {places} reached no output"
        found.append(
            Finding(
                "MP901",
                "error",
                text,
                row.remedy,
                "changes",
                "dropped",
                "meshport",
                bound.feature(listed[0]),
                leaves=tuple(listed),
                document=number,
            )
        )
    return found


def _settled(findings: list[Finding], bound: Bound) -> list[Finding]:
    """Each finding once."""
    seen: dict[tuple[Any, ...], Finding] = {}
    for finding in findings:
        key = (finding.code, finding.message, finding.document, finding.leaves, finding.file, finding.line)
        known = seen.setdefault(key, finding)
        if known is not finding:
            known.affects = tuple(dict.fromkeys((*known.affects, *finding.affects)))
            known.explains = known.explains | finding.explains
    return list(seen.values())


def _chosen(found: list[Change], findings: list[Finding], chosen: Selection) -> tuple[list[Change], list[Finding]]:
    """The differences and findings of what is converted; a difference that only other documents answer for is theirs."""
    _explain(found, findings)
    if chosen.every:
        return found, findings
    kept = [finding for finding in findings if chosen.concerns(finding)]
    foreign = {number for number, finding in enumerate(findings) if not chosen.concerns(finding)}
    found = [change for change in found if not change.findings or not foreign.issuperset(change.findings)]
    _explain(found, kept)
    return found, kept


def _explain(found: list[Change], findings: list[Finding]) -> None:
    by_pair: dict[tuple[str, str], list[int]] = {}
    for number, finding in enumerate(findings):
        for pair in finding.explains:
            by_pair.setdefault(pair, []).append(number)
    for change in found:
        change.findings = sorted({*by_pair.get((change.subject, change.aspect), []), *by_pair.get((change.subject, "*"), [])})


def _is_loss(finding: Finding) -> bool:
    return finding.severity == "error" or (finding.disposition in ("dropped", "manual", "approximated") and finding.severity == "warning")


def _verify(have: IR, back: IR, options: Options, canon: tuple[Canonical, Canonical], bundles: tuple[Bundle, Bundle]) -> Verification:
    """Access before and after. Where requests go is compared by the read-back, whose differences the findings answer for."""
    from meshport.compare.verify import verify

    return _with_causes(verify(have, back, options, canon, routes=False), *bundles)


def _with_causes(proof: Verification, old: Bundle, new: Bundle) -> Verification:
    """Give each difference the places that decide: in each document concerned the first leaf of what decides there."""
    for difference in proof.differences:
        for side, bundle, src in zip(("before", "after"), (old, new), difference.sources, strict=True):
            seen: set[int] = set()
            for leaf in sorted(src):
                document = bundle.owner(leaf)
                if id(document) not in seen:
                    seen.add(id(document))
                    difference.causes.append({"side": side, "file": document.file, "line": bundle.line(leaf), "path": bundle.path(leaf)})
    return proof


def _widened(proof: Verification | None, findings: list[Finding], table: Table) -> list[Finding]:
    """Give each finding of changed access its witness; a widening that no finding answers for is one of its own."""
    from meshport.compare.verify import sentence

    row = table.codes()["MP904"]
    extra = []
    for difference in proof.differences if proof is not None else ():
        place = difference.request["destination"]
        answering = [finding for finding in findings if finding.effect == _EFFECTS.get(difference.change) and _concerns(finding, place)]
        for finding in answering:
            finding.witness = finding.witness or difference.request
        if not answering and difference.change == "allowed":
            text = fill(row.message, {"request": sentence(difference.request)})
            where = (Affected(place["namespace"], place["workload"], place["port"]),)
            extra.append(
                Finding(
                    "MP904",
                    "error",
                    text,
                    row.remedy,
                    "widens",
                    None,
                    "authorization",
                    "authorization.rule",
                    where,
                    witness=difference.request,
                )
            )
    return extra


_EFFECTS = {"allowed": "widens", "denied": "narrows"}


def _concerns(finding: Finding, place: dict[str, Any]) -> bool:
    return any(
        one.namespace in (None, place["namespace"]) and one.workload in (None, place["workload"]) and one.port in (None, place["port"])
        for one in finding.affects
    )


# -- the result's parts


def _manifest(obj: Obj, bundle: Bundle, place: Layout) -> Manifest:
    origins = []
    for number in obj.origins:
        document = bundle.documents[number]
        origins.append({"file": document.file, "document": document.index, "line": document.line or None})
    return Manifest(obj.value, place.file(obj), origins, tuple(sorted(obj.notes)), obj.changed)


def _install(out: Output) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for install in sorted(out.installs.values(), key=lambda item: (item.chart, item.path)):
        holder: dict[str, Any] = values.setdefault(install.chart, {})
        steps = install.path.split(".")
        for step in steps[:-1]:
            holder = holder.setdefault(step, {})
        holder[steps[-1]] = install.value
    return {"helm_values": values, "commands": sorted(out.commands)}


def lift(bundle: Bundle, table: Table, options: Options) -> tuple[IR, Bound]:
    """The IR of a bundle, read as `options.source`, with the documents under the table."""
    reader = dialect(options.source)
    bound = Bound(commanded(bundle), table, reader.reads, {options.source: options.source_version})
    return reader.lift(bound, options), bound


def lint(bundle: Bundle, table: Table, options: Options, own: int | None = None) -> list[Finding]:
    """Mistakes in the bundle alone; the documents after the first `own` are context."""
    bundle = commanded(bundle)
    chosen = Selection(bundle, len(bundle.documents) if own is None else own, options)
    ir, bound = lift(bundle, table, options)
    out = Output(bundle, table, options.source, options.source_version, options.source)
    losses = [loss for loss in ir.losses if table.codes()[loss.code].severity != "info" or loss.code.startswith("MP0")]
    _losses(replace(ir, losses=losses), out, False)
    said = [*reading_findings(bundle, bound), *bound.findings, *out.findings, *lints(ir, bound, options), *mistakes(ir, bound, options)]
    found = _settled(ordered(said), bound)
    return [finding for finding in found if chosen.concerns(finding)]


def diff(old: Bundle, new: Bundle, table: Table, old_mesh: str = "auto", new_mesh: str = "auto", **rest: Any) -> list[Change]:
    """What the configuration of two bundles does differently. NEW is read over OLD's documents of no mesh."""
    both = _both(old, new, table, old_mesh, new_mesh, rest)
    return changes(*sides(both.before, both.after, both.one, both.other))


def verify(old: Bundle, new: Bundle, table: Table, old_mesh: str = "auto", new_mesh: str = "auto", **rest: Any) -> Verification:
    """Whether both bundles do the same with every request. NEW is read over OLD's documents of no mesh."""
    from meshport.compare.unread import unread
    from meshport.compare.verify import verify as compare

    both = _both(old, new, table, old_mesh, new_mesh, rest)
    own = both.before.mesh != both.after.mesh
    untold = unread(both.before, both.bound[0], own=own), unread(both.after, both.bound[1], own=own)
    return _with_causes(compare(both.before, both.after, both.one, new_options=both.other, unread=untold), both.old, both.over)


@dataclass(slots=True)
class _Both:
    """Two bundles to compare, lifted. `over` is the second with the documents of no mesh that it does not state itself."""

    old: Bundle
    over: Bundle
    before: IR
    after: IR
    one: Options
    other: Options
    bound: tuple[Bound, Bound]


def _as_before(other: Options, one: Options) -> Options:
    """The choices by which NEW is read: what its installation does not say of trust and cluster domain is OLD's, for its identities are the same accounts."""
    return replace(
        other,
        trust_domain=one.trust_domain if other.trust_domain == Options.__dataclass_fields__["trust_domain"].default else other.trust_domain,
        cluster_domain=one.cluster_domain
        if other.cluster_domain == Options.__dataclass_fields__["cluster_domain"].default
        else other.cluster_domain,
    )


def _both(old: Bundle, new: Bundle, table: Table, old_mesh: str, new_mesh: str, rest: Mapping[str, Any]) -> _Both:
    """Two bundles, the second with the Services and workloads of the first where it does not state them."""
    old, new = commanded(old), commanded(new)
    one = resolve(old, table, source=old_mesh, target="istio", **rest)
    try:
        other = resolve(new, table, source=new_mesh, target="istio", **rest)
    except UsageError as error:
        raise UsageError(str(error).replace("--from", "--to")) from None  # what NEW is of is said with --to
    other = _as_before(other, one)
    mesh = Bound(old, table, dialect(one.source).reads).mesh
    world = {id(document) for number, document in enumerate(old.documents) if not mesh[number]}
    stands = {(document.group, document.kind, document.namespace, document.name) for document in new.documents}
    over = new.joined(old, lambda item: id(item) in world and (item.group, item.kind, item.namespace, item.name) not in stands)
    before, first = lift(old, table, one)
    after, second = lift(over, table, other)
    for ir, bundle, options in ((before, old, one), (after, over, other)):
        ir.beside += also_in_force(bundle, table, options)
    if not (before.enrols and after.enrols):
        before.by_label = after.by_label = ByLabel(
            one.trust_domain, frozenset((None, "cluster.local", one.trust_domain, other.trust_domain))
        )
    return _Both(old, over, before, after, one, other, (first, second))
