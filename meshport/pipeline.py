"""The sentence at the top of the architecture, as code: documents are read, lifted into what they do, lowered into the target's words, read back, and
compared with what was meant."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from meshport import answers, conversion, crossings, remains
from meshport.compare import alarms
from meshport.compare.diff import Canonical, Change, sides
from meshport.compare.routed import changed
from meshport.dialects import entrances
from meshport.dialects.base import BUILT_IN, Keeping, Options, dialect, governs
from meshport.dialects.gateway_accounts import entries
from meshport.dialects.output import Obj, Output
from meshport.documents import Bundle
from meshport.documents.kubectl import commanded
from meshport.errors import UsageError
from meshport.findings import Finding, gathered, ordered
from meshport.ir.model import IR, ByLabel
from meshport.layout import Layout
from meshport.ledger import Ledger, account, stands
from meshport.lints import lints, lost, mistakes, once
from meshport.mapping.bound import Bound
from meshport.mapping.homes import at_home
from meshport.mapping.owners import own_parts
from meshport.mapping.table import Table, dialect_of_group
from meshport.observe.assets import Fate
from meshport.options import resolve
from meshport.reading import reading_findings
from meshport.selection import Selection

if TYPE_CHECKING:
    from meshport.compare.verify import Verification
    from meshport.report.model import AuditReport, Report
    from meshport.report.planned import Plan
    from meshport.suppression import Rule


@dataclass(slots=True)
class Manifest:
    """One object made or changed. `origins` are {file, document, line} of the input documents that it comes from."""

    object: dict[str, Any]
    file: str
    origins: list[dict[str, Any]]
    notes: tuple[str, ...] = ()
    source: int | None = None  # the input document that it is a changed copy of
    kind: str = ""  # what it is where it is no object: `RuleFile`, `Dashboard`, `SlothSpec`, `AdapterRules`, `RuleTests`
    text: str | None = None  # its text with the change in it, where all else keeps its bytes


@dataclass(slots=True)
class Result:
    """What a conversion came to. `passed_through` are the objects that stay as they are: those of no mesh, and those of the source's APIs that the
    target reads as well."""

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
    stopped: bool
    before: IR
    after: IR  # as it was read back
    read_back: Bundle  # what leaf ids of `after` count in
    canonical: tuple[Canonical, Canonical]
    table: Table
    refused: frozenset[int]  # numbers of the mesh documents in `known` that no cluster takes
    meant: dict[int, tuple[str, str]]  # apiVersion and kind of those that were read as if they said so
    assets: list[Fate] = field(default_factory=list)  # what became of rules, dashboards and the like
    rules: list[Rule] = field(default_factory=list)  # waivers and other decisions that the findings were held against

    def report(self) -> Report:
        """Everything as the JSON report's model."""
        from meshport.report.build import build

        return build(self)

    def audit(self) -> AuditReport:
        """The same with what the decision about a migration needs: work, encryption and access before and after, exceptions."""
        from meshport.migrate.audit import report

        return report(self)

    def plan(self, strategy: str = "namespace") -> Plan:
        """The conversion as a cutover: ordered, reversible steps. `strategy` is namespace, service or cluster; UsageError for another."""
        from meshport.migrate.plan import plan

        return plan(self, strategy)

    def write(self, folder: str, *, force: bool = False) -> list[str]:
        """Write the manifests into a folder, whole or not at all; the paths written. Raises UsageError where the folder cannot be used."""
        from meshport.writing import write_folder

        return write_folder(self, folder, force=force)

    def text(self) -> str:
        """The manifests as one YAML stream."""
        from meshport.writing import stream

        return stream(self.manifests, self.bundle)


def convert(
    bundle: Bundle,
    table: Table,
    options: Options,
    *,
    context: Bundle | None = None,
    verify: bool = True,
    layout: str = "mirror",
    accept: Callable[[list[Finding], Bundle], list[Rule]] | None = None,
) -> Result:
    """Convert a bundle. Nothing is written; what could not be said is in the findings. `accept` marks those that a team has decided about, which then do not
    stop a conversion either, and gives its decisions."""
    job = conversion.read(bundle, table, options, context)
    written = conversion.write(job)
    cluster, back = conversion.read_back(job, written)
    whole, bound, have, out, chosen = job.whole, job.bound, job.have, job.out, job.chosen
    before, after = sides(have, back, options, options)
    leaving = conversion.leaving_with_it(bound)
    found = [change for change in changed(have, back, before, after) if not leaving.intersection(change.subject.split())]
    findings = conversion.said(job, found, back) + written.refused
    proof = _verify(have, back, options, (before, after), (whole, cluster), leaving) if verify else None
    equal = proof.equal if proof is not None else _equal_by_data(have, back, (before, after))
    alarms.settle(findings, before.keys() | after.keys(), equal, proof.alike if proof is not None else equal)
    if proof is not None:
        alarms.settle_probes(findings, proof.opened)
        _settle_lost(findings, proof)
    findings += answers.widened(proof, findings, out, cluster)
    result = account(bound, out, findings, have.world.read | written.assets.read)
    result.settle(findings)
    findings += answers.unread(result, bound)
    findings += answers.beside_broken(result, bound, findings)
    findings += answers.unaccounted(result.unaccounted, bound)
    findings = gathered(answers.settled(ordered(findings), bound))
    found, findings = answers.of_chosen(found, findings, proof, chosen, out)
    if across := crossings.report(job, back) if not chosen.every else []:
        findings = ordered([*findings, *across])
        answers.explain(found, findings)
    if proof is not None:
        answers.beyond(proof, findings, table.codes())
    result.limit(chosen.owns)
    conversion.by_command(out)
    place = Layout(whole, out, layout)
    rules = accept(findings, whole) if accept is not None else []
    stopped = options.on_loss == "stop" and any(answers.is_loss(finding) for finding in findings if finding.suppressed is None)
    writes = [obj for obj in out.in_order() if _changed(obj, whole) and chosen.writes(obj)]
    ledger = Ledger(bound, result, out, findings, {id(obj): place.file(obj) for obj in writes})
    return Result(
        options,
        bundle,
        whole,
        [] if stopped else [_manifest(obj, whole, place) for obj in writes if not _commanded(obj, whole)],
        [document.value for number, document in enumerate(whole.documents) if number in chosen.chosen and stands(number, bound, out)],
        _removals(out, chosen),
        _install(out, chosen),
        findings,
        ledger,
        found,
        proof,
        stopped,
        have,
        back,
        cluster,
        (before, after),
        table,
        frozenset(number for number in bound.broken if bound.mesh[number]),
        dict(_meant(bound)),
        written.assets.fates,
        rules,
    )


def _meant(bound: Bound) -> Iterator[tuple[int, tuple[str, str]]]:
    """The documents whose apiVersion or kind was repaired, and what they were read as."""
    for number, document in enumerate(bound.bundle.documents):
        kind = bound.kinds.get(number, document.kind)
        row = bound.table.kind(document.group, kind) if bound.mesh[number] and number not in bound.broken else None
        if row is not None and (kind != document.kind or document.version not in row.versions):
            version = (
                document.version
                if document.version in row.versions
                else row.newest(bound.releases.get(row.dialect, ""))
                if row.dialect in bound.releases
                else None
            )
            yield number, (f"{document.group}/{version or row.versions[0]}", kind)


def also_in_force(bundle: Bundle, table: Table, options: Options) -> list[IR]:
    """The policies of another mesh that hold as well: a request has to pass both."""
    found = []
    for name in BUILT_IN if governs(dialect(options.source)) else ():
        other = dialect(name)
        if name != options.source and isinstance(other, Keeping) and any(dialect_of_group(item.group) == name for item in bundle.documents):
            there = replace(options, source=name, source_version=table.versions(name)[-1])
            found.append(other.in_force(lift(bundle, table, there)[0], there))
    return found


def _changed(obj: Obj, bundle: Bundle) -> bool:
    """Whether an object is made, or another one than it was."""
    return obj.changed is None or obj.value != bundle.documents[obj.changed].value


def _commanded(obj: Obj, bundle: Bundle) -> bool:
    """Whether an object is known from a command alone: it is changed by commands, and no manifest."""
    return obj.changed is not None and bundle.documents[obj.changed].commanded


def _verify(
    have: IR, back: IR, options: Options, canon: tuple[Canonical, Canonical], bundles: tuple[Bundle, Bundle], leaving: frozenset[str]
) -> Verification:
    """Access before and after, but for workloads that are `leaving`. Where requests go is compared by the read-back, whose differences the findings answer for."""
    from meshport.compare.verify import verdict_of, verify

    proof = verify(have, back, options, canon, routes=False)
    if leaving:
        places = ((item.request["destination"], item) for item in proof.differences)
        proof.differences = [item for place, item in places if f"{place['namespace']}/{place.get('workload')}" not in leaving]
        proof.verdict = verdict_of(proof.differences, bool(proof.undecided))
    return answers.with_causes(proof, *bundles)


def _settle_lost(findings: list[Finding], proof: Verification) -> None:
    """Hold the findings of what is left out to the requests that it let in."""
    from meshport.compare.lost import settle_lost

    if proof.sites is not None:
        settle_lost(findings, proof.sites)


def _equal_by_data(have: IR, back: IR, canon: tuple[Canonical, Canonical]) -> set[str]:
    """The subjects whose data say that they are the same, where requests are not compared."""
    from meshport.compare.verify import equal_by_data

    return equal_by_data(have, back, canon)


# -- the result's parts


def _manifest(obj: Obj, bundle: Bundle, place: Layout) -> Manifest:
    origins = []
    for number in obj.origins:
        document = bundle.documents[number]
        origins.append({"file": document.file, "document": document.index, "line": document.line or None})
    return Manifest(obj.value, place.file(obj), origins, tuple(sorted(obj.notes)), obj.changed, obj.file_of[0], obj.text)


def _removals(out: Output, chosen: Selection) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": item.api_version,
            "kind": item.kind,
            "namespace": item.ref.namespace or None,
            "name": item.ref.name,
            "reason": item.reason,
        }
        for item in sorted(out.removals, key=lambda entry: (entry.ref, entry.kind))
        if chosen.every or item.document in chosen.chosen
    ]


def _install(out: Output, chosen: Selection) -> dict[str, Any]:
    """Settings of the installations, which are the whole mesh's, and the commands that are about what is converted."""
    values: dict[str, Any] = {}
    for install in sorted(out.installs.values(), key=lambda item: (item.chart, item.path)):
        holder: dict[str, Any] = values.setdefault(install.chart, {})
        steps = install.path.split(".")
        for step in steps[:-1]:
            holder = holder.setdefault(step, {})
        holder[steps[-1]] = install.value
    return {
        "helm_values": values,
        "commands": sorted(text for text, src in out.commands.items() if chosen.types(out.marked.get(text), src)),
    }


def lift(bundle: Bundle, table: Table, options: Options, *, unknowns: str = "", left: bool = False, after: str = "") -> tuple[IR, Bound]:
    """The IR of a bundle, read as `options.source`, with the documents under the table; `unknowns` is what settings that nobody knows count as, of a mesh
    that is `left` for another its own parts are nobody's workloads in the mesh, and what comes `after` another mesh is read as a conversion reads its output."""
    reader = dialect(options.source)
    bound = Bound(at_home(commanded(bundle), options.default_namespace), table, reader.reads, {options.source: options.source_version})
    bound.unknowns = unknowns
    if left:
        bound.own = own_parts(bound.bundle.documents, reader.reads)
    ir = reader.lift(bound, replace(options, source=after) if after else options)
    if left:
        entrances.take_out(ir, bound.own)
    return ir, bound


def lint(bundle: Bundle, table: Table, options: Options, own: int | None = None) -> list[Finding]:
    """Mistakes in the bundle alone; the documents after the first `own` are context."""
    bundle = at_home(commanded(bundle), options.default_namespace)
    chosen = Selection(bundle, len(bundle.documents) if own is None else own, options)
    ir, bound = lift(bundle, table, options)
    out = Output(bundle, table, options.source, options.source_version, options.source)
    remains.losses(replace(ir, losses=lost(ir.losses, table)), out, True)
    said = [*reading_findings(bundle, bound), *bound.findings, *out.findings, *lints(ir, bound, options), *mistakes(ir, bound, options)]
    found = once(answers.settled(ordered(said), bound))
    return [finding for finding in found if chosen.concerns(finding)]


def diff(old: Bundle, new: Bundle, table: Table, old_mesh: str = "auto", new_mesh: str = "auto", **rest: Any) -> list[Change]:
    """What the configuration of two bundles does differently. NEW is read over OLD's documents of no mesh."""
    from meshport.compare.verify import verify as compare

    both = _both(old, new, table, old_mesh, new_mesh, rest, {})
    beside = bool(both.before.beside or both.after.beside)  # holds for pods outside the mesh too
    found = changed(both.before, both.after, *sides(both.before, both.after, both.one, both.other, outside=beside))
    alike = compare(both.before, both.after, both.one, new_options=both.other).alike if found else set()
    for change in found:
        change.kind = "form" if change.subject in alike else "behaviour"
    return found


def verify(
    old: Bundle,
    new: Bundle,
    table: Table,
    old_mesh: str = "auto",
    new_mesh: str = "auto",
    *,
    read: Read | None = None,
    only: Collection[str] | None = None,
    **rest: Any,
) -> Verification:
    """Whether both bundles do the same with every request. NEW is read over OLD's documents of no mesh.

    `read` remembers OLD as it is read, for the next question about it with the same choices; access is looked at for the workloads (namespace/name) of `only`.
    """
    from meshport.compare.unread import unread
    from meshport.compare.verify import verify as compare

    both = _both(old, new, table, old_mesh, new_mesh, rest, {} if read is None else read)
    own = both.before.mesh != both.after.mesh
    untold = unread(both.before, both.bound[0], own=own), unread(both.after, both.bound[1], own=own)
    found = compare(both.before, both.after, both.one, new_options=both.other, unread=untold, only=only)
    return answers.with_causes(found, both.old, both.over)


Read = dict[Any, tuple[IR, Bound]]
"""A bundle as it was read, by how."""


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


def _both(old: Bundle, new: Bundle, table: Table, old_mesh: str, new_mesh: str, rest: Mapping[str, Any], read: Read) -> _Both:
    """Two bundles, the second with the Services and workloads of the first where it does not state them, and with what a conversion left as it was."""
    old, new = commanded(old), commanded(new)
    alike = {name: value for name, value in rest.items() if name not in ("source_version", "target_version")}
    one = resolve(old, table, source=old_mesh, target="istio", source_version=rest.get("source_version"), **alike)
    try:
        written = new.written if new.written is not None and new_mesh == "auto" else None
        other = resolve(
            new,
            table,
            source=new_mesh if written is None else written.mesh,
            target="istio",
            source_version=rest.get("target_version"),
            **alike,
        )
    except UsageError as error:
        raise UsageError(str(error).replace("--from", "--to")) from None  # what NEW is of is said with --to
    other = _as_before(other, one)
    named = [(item.group, item.kind, item.namespace or "", item.name) for item in old.documents]  # as the marker of NEW names what stays
    old, new = at_home(old, one.default_namespace), at_home(new, other.default_namespace)
    unknowns = conversion.unknowns(dialect(one.source), dialect(other.source), one)  # as the conversion read it
    moves = one.source != other.source and governs(dialect(other.source))
    how = (one.source, unknowns, moves)
    if how not in read:
        read[how] = lift(old, table, one, unknowns=unknowns, left=moves)
        read[how][0].beside += also_in_force(old, table, one)
    before, first = read[how]
    mesh = first.mesh
    stays = new.written.stays if new.written is not None else frozenset()
    kept = [name in stays for name in named]
    world = {id(document) for number, document in enumerate(old.documents) if not mesh[number] or kept[number]}
    stands = {(document.group, document.kind, document.namespace, document.name) for document in new.documents}
    over = new.joined(old, lambda item: id(item) in world and (item.group, item.kind, item.namespace, item.name) not in stands)
    after, second = lift(over, table, other, unknowns=unknowns, after=one.source if moves else "")
    after.beside += also_in_force(over, table, other)
    if before.mesh == after.mesh and not before.enrols:
        before.world.govern_all()
        after.world.govern_all()
    if not (before.enrols and after.enrols):
        after.by_label = ByLabel(one.trust_domain, frozenset((None, "cluster.local", one.trust_domain, other.trust_domain)))
        before.by_label = replace(after.by_label, gateways=entries(before, old, one.trust_domain)) if before.enrols else after.by_label
    return _Both(old, over, before, after, one, other, (first, second))
