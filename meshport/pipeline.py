"""The sentence at the top of the architecture, as code: documents are read, lifted into what they do, lowered into the target's words, read back, and
compared with what was meant."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from meshport import answers, remains
from meshport.compare import alarms
from meshport.compare.diff import Canonical, Change, changes, sides
from meshport.dialects import mirrored
from meshport.dialects.base import BUILT_IN, Keeping, Options, dialect, governs
from meshport.dialects.gateway_accounts import entries
from meshport.dialects.losses import leaving
from meshport.dialects.output import Obj, Output
from meshport.documents import Bundle, load_objects
from meshport.documents.scripts import KUBECTL, commanded
from meshport.errors import UsageError
from meshport.findings import Finding, ordered
from meshport.fitting import answer, fit, misfits, name_channels
from meshport.ir.model import IR, ByLabel
from meshport.layout import Layout
from meshport.ledger import Ledger, account, stands
from meshport.lints import lints, mistakes
from meshport.mapping.bound import Bound
from meshport.mapping.homes import at_home
from meshport.mapping.table import Table, dialect_of_group
from meshport.observe.assets import Fate, assets_of
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
    bundle: Bundle, table: Table, options: Options, *, context: Bundle | None = None, verify: bool = True, layout: str = "mirror"
) -> Result:
    """Convert a bundle. Nothing is written; what could not be said is in the findings."""
    source, target = dialect(options.source), dialect(options.target)
    whole = at_home(merged(bundle, context), options.default_namespace)
    chosen = Selection(whole, len(bundle.documents), options)
    bound = Bound(whole, table, source.reads, {options.source: options.source_version})
    have = source.lift(bound, options)
    out = Output(whole, table, options.target, options.target_version, options.source, chosen.outside)
    remains.losses(have, out, options.source == options.target, options.data_plane)
    keeper = source if isinstance(source, Keeping) and options.keep_network_policy is not False and source is not target else None
    keeper = keeper if governs(target) else None
    if keeper is None and source is not target and governs(target):
        remains.covered(have, out)
    said = keeper.keep(bound, have, out, options) if keeper is not None else have
    target.lower(mirrored.without(said, out) if source is not target and governs(target) else said, out, options)
    if keeper is None and source is not target and governs(target):
        leaving(have, out)
    for fact in have.deciding:
        out.decide(fact.value, fact)
    for fact in have.idle:
        out.ignore(fact.value, fact)
    for fact in have.redundant:
        out.adds_nothing(fact.value, fact)
    places = misfits(out, options)
    unfitted = target.lift(Bound(overlay(whole, out, options), table, target.reads), options) if places else None
    fitted = fit(out, options, places)
    if keeper is None and source is not target:
        remains.unmatched(have, out)
    remains.rest(bound, out, options)
    remains.removals(bound, out, options, target)
    name_channels(out)
    assets = assets_of(out, bound, options, chosen.chosen)
    back_bundle = overlay(whole, out, options)
    back = target.lift(Bound(back_bundle, table, target.reads, {options.target: options.target_version}), options)
    if unfitted is not None:
        answer(fitted, changes(*sides(unfitted, back, options, options)))
    if not governs(target):
        _in_force(source.lift(Bound(back_bundle, table, source.reads, {options.source: options.source_version}), options), back)
        _enrolled(have, back)
    if keeper is not None and out.kept:
        beside = source.lift(Bound(back_bundle, table, source.reads, {options.source: options.source_version}), options)
        back.beside.append(keeper.in_force(beside, options))
    back.by_label = have.by_label and replace(have.by_label, gateways=())
    before, after = sides(have, back, options, options)
    found = changes(before, after)
    findings = [*reading_findings(whole, bound), *bound.findings, *out.findings, *lints(have, bound, options)]
    as_target = {options.target: options.target_version}
    findings += answers.unexplained(
        found,
        findings,
        out,
        lambda: changes(*sides(target.lift(Bound(whole, table, target.reads, as_target), options), back, options, options)),
    )
    findings += chosen.left_out(out.in_order(), table)
    proof = _verify(have, back, options, (before, after), (whole, back_bundle)) if verify else None
    equal = proof.equal if proof is not None else _equal_by_data(have, back, (before, after))
    alarms.settle(findings, before.keys() | after.keys(), equal, proof.alike if proof is not None else equal)
    findings += answers.widened(proof, findings, table)
    result = account(bound, out, findings, have.world.read | assets.read)
    result.settle(findings)
    findings += answers.unread(result, bound)
    findings += answers.beside_broken(result, bound, findings)
    findings += answers.unaccounted(result.unaccounted, bound)
    findings = answers.settled(ordered(findings), bound)
    found, findings = answers.of_chosen(found, findings, chosen)
    result.limit(chosen.owns)
    _by_command(out)
    place = Layout(whole, out, layout)
    stopped = options.on_loss == "stop" and any(answers.is_loss(finding) for finding in findings)
    ledger = Ledger(bound, result, out, findings, {id(obj): place.file(obj) for obj in out.objects.values() if chosen.writes(obj)})
    return Result(
        options,
        bundle,
        whole,
        [] if stopped else [_manifest(obj, whole, place) for obj in out.in_order() if _written(obj, whole) and chosen.writes(obj)],
        [document.value for number, document in enumerate(whole.documents) if number in chosen.chosen and stands(number, bound, out)],
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
        have,
        back,
        back_bundle,
        (before, after),
        table,
        frozenset(number for number in bound.broken if bound.mesh[number]),
        dict(_meant(bound)),
        assets.fates,
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


def _in_force(beside: IR, back: IR) -> None:
    """Give what was read back the policies that are left in the cluster, where the target has none of its own: the source mesh still acts on them."""
    for part in fields(IR):
        if part.name not in ("mesh", "routes", "gateways", "service_policies", "losses"):
            setattr(back, part.name, getattr(beside, part.name))
    back.routes.extend(routes for routes in beside.routes if routes.beyond is not None)


def _enrolled(have: IR, back: IR) -> None:
    """Let the namespaces be in the mesh that were: where SMI's own objects were all that said so, they are gone, and nothing else has changed."""
    for name, namespace in back.world.namespaces.items():
        if namespace.meshed is None and name in have.world.namespaces:
            namespace.meshed = have.world.namespaces[name].meshed


def merged(bundle: Bundle, context: Bundle | None) -> Bundle:
    """A bundle with what else is known of its cluster, after the commands of its scripts."""
    if context is None or not context.documents:
        return commanded(bundle)
    return commanded(bundle.joined(context))


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


def overlay(bundle: Bundle, out: Output, options: Options) -> Bundle:
    """The cluster after the conversion: the output over the input, less the removals."""
    gone = {item.document for item in out.removals}
    changed = {obj.changed for obj in out.objects.values() if obj.changed is not None}
    stays = [
        document
        for number, document in enumerate(bundle.documents)
        if number not in gone and number not in changed and not document.chart.startswith(KUBECTL)
    ]
    charts = {number: document.chart for number, document in enumerate(stays) if document.chart}
    made = load_objects([*(document.value for document in stays), *(obj.value for obj in out.in_order()), *out.assumed], charts)
    return at_home(made, options.default_namespace)


def _verify(have: IR, back: IR, options: Options, canon: tuple[Canonical, Canonical], bundles: tuple[Bundle, Bundle]) -> Verification:
    """Access before and after. Where requests go is compared by the read-back, whose differences the findings answer for."""
    from meshport.compare.verify import verify

    return answers.with_causes(verify(have, back, options, canon, routes=False), *bundles)


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
    bound = Bound(at_home(commanded(bundle), options.default_namespace), table, reader.reads, {options.source: options.source_version})
    return reader.lift(bound, options), bound


def lint(bundle: Bundle, table: Table, options: Options, own: int | None = None) -> list[Finding]:
    """Mistakes in the bundle alone; the documents after the first `own` are context."""
    bundle = at_home(commanded(bundle), options.default_namespace)
    chosen = Selection(bundle, len(bundle.documents) if own is None else own, options)
    ir, bound = lift(bundle, table, options)
    out = Output(bundle, table, options.source, options.source_version, options.source)
    losses = [loss for loss in ir.losses if table.codes()[loss.code].severity != "info" or loss.code.startswith("MP0")]
    remains.losses(replace(ir, losses=losses), out, False)
    said = [*reading_findings(bundle, bound), *bound.findings, *out.findings, *lints(ir, bound, options), *mistakes(ir, bound, options)]
    found = answers.settled(ordered(said), bound)
    return [finding for finding in found if chosen.concerns(finding)]


def diff(old: Bundle, new: Bundle, table: Table, old_mesh: str = "auto", new_mesh: str = "auto", **rest: Any) -> list[Change]:
    """What the configuration of two bundles does differently. NEW is read over OLD's documents of no mesh."""
    from meshport.compare.verify import verify as compare

    both = _both(old, new, table, old_mesh, new_mesh, rest)
    found = changes(*sides(both.before, both.after, both.one, both.other))
    alike = compare(both.before, both.after, both.one, new_options=both.other).alike if found else set()
    for change in found:
        change.kind = "form" if change.subject in alike else "behaviour"
    return found


def verify(old: Bundle, new: Bundle, table: Table, old_mesh: str = "auto", new_mesh: str = "auto", **rest: Any) -> Verification:
    """Whether both bundles do the same with every request. NEW is read over OLD's documents of no mesh."""
    from meshport.compare.unread import unread
    from meshport.compare.verify import verify as compare

    both = _both(old, new, table, old_mesh, new_mesh, rest)
    own = both.before.mesh != both.after.mesh
    untold = unread(both.before, both.bound[0], own=own), unread(both.after, both.bound[1], own=own)
    return answers.with_causes(compare(both.before, both.after, both.one, new_options=both.other, unread=untold), both.old, both.over)


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
    """Two bundles, the second with the Services and workloads of the first where it does not state them, and with what a conversion left as it was."""
    old, new = commanded(old), commanded(new)
    one = resolve(old, table, source=old_mesh, target="istio", **rest)
    try:
        written = new.written if new.written is not None and new_mesh == "auto" else None
        other = resolve(new, table, source=new_mesh if written is None else written.mesh, target="istio", **rest)
    except UsageError as error:
        raise UsageError(str(error).replace("--from", "--to")) from None  # what NEW is of is said with --to
    other = _as_before(other, one)
    old, new = at_home(old, one.default_namespace), at_home(new, other.default_namespace)
    before, first = lift(old, table, one)
    mesh = first.mesh
    stays = new.written.stays if new.written is not None else frozenset()
    kept = [(item.group, item.kind, item.namespace or "", item.name) in stays for item in old.documents]
    world = {id(document) for number, document in enumerate(old.documents) if not mesh[number] or kept[number]}
    stands = {(document.group, document.kind, document.namespace, document.name) for document in new.documents}
    over = new.joined(old, lambda item: id(item) in world and (item.group, item.kind, item.namespace, item.name) not in stands)
    after, second = lift(over, table, other)
    for ir, bundle, options in ((before, old, one), (after, over, other)):
        ir.beside += also_in_force(bundle, table, options)
    if not (before.enrols and after.enrols):
        after.by_label = ByLabel(one.trust_domain, frozenset((None, "cluster.local", one.trust_domain, other.trust_domain)))
        before.by_label = replace(after.by_label, gateways=entries(before, old, one.trust_domain)) if before.enrols else after.by_label
    return _Both(old, over, before, after, one, other, (first, second))
