"""The steps of a conversion: read what there is, write the target's words, read the cluster again as it will be, and say what is different.

`pipeline.convert` puts them in order.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

from meshport import answers, remains, unserved
from meshport.compare import routed
from meshport.compare.diff import Change, changes, sides
from meshport.dialects import entrances, ingresses, mirrored, others_marks, own_names, pod_security, proxy_calls, redundant
from meshport.dialects.base import Dialect, Keeping, Options, dialect, governs
from meshport.dialects.losses import leaving
from meshport.dialects.marks import clear, for_target_alone, unmarked
from meshport.dialects.output import Output
from meshport.documents import Bundle, Document, load_objects
from meshport.documents.command import KUBECTL
from meshport.documents.kubectl import commanded
from meshport.findings import Affected, Finding
from meshport.fitting import answer, fit, misfits, name_channels
from meshport.ir.base import Ref
from meshport.ir.model import IR
from meshport.lints import lints
from meshport.mapping.bound import Bound
from meshport.mapping.homes import at_home
from meshport.mapping.owners import TEMPLATES, own_parts
from meshport.observe.assets import Assets, assets_of
from meshport.reading import reading_findings
from meshport.selection import Selection

if TYPE_CHECKING:
    from meshport.mapping.table import Table


REFUSED = "MP015"
"""The loss of an object that the API server or the mesh's webhook refuses."""


@dataclass(slots=True)
class Conversion:
    """A conversion under way: what was read, and what is being written."""

    options: Options
    table: Table
    source: Dialect
    target: Dialect
    whole: Bundle  # everything that was read
    chosen: Selection
    bound: Bound
    have: IR
    out: Output

    @property
    def keeper(self) -> Keeping | None:
        """The source, where its policies stay in force beside the target's."""
        keeps = isinstance(self.source, Keeping) and self.options.keep_network_policy is not False
        return self.source if keeps and self.moves and isinstance(self.source, Keeping) else None

    @property
    def moves(self) -> bool:
        """Whether another mesh takes over: not the same one, and not the Gateway API, which leaves policies where they are."""
        return self.source is not self.target and governs(self.target)

    def read_as(self, one: Dialect, bundle: Bundle, **releases: str) -> IR:
        """A bundle lifted as a dialect reads it."""
        return self.read_bound(one, bundle, **releases)[0]

    def read_bound(self, one: Dialect, bundle: Bundle, **releases: str) -> tuple[IR, Bound]:
        """The same with the documents under the table."""
        bound = Bound(bundle, self.table, one.reads, releases or None)
        ir = one.lift(bound, self.options)
        ir.world.apart |= self.have.world.apart
        return ir, bound


@dataclass(slots=True)
class Written:
    """What came of writing, beside the output. `unfitted` is the IR of the output before what the target's release does not know was taken out of it by `fitted`."""

    assets: Assets
    unfitted: IR | None
    fitted: list[Finding]
    refused: list[Finding] = field(default_factory=list)  # for each object that no cluster would take, once it was read back


def read(bundle: Bundle, table: Table, options: Options, context: Bundle | None) -> Conversion:
    """Lift a bundle as the source reads it, with nothing written yet."""
    source, target = dialect(options.source), dialect(options.target)
    whole = at_home(merged(bundle, context), options.default_namespace)
    chosen = Selection(whole, len(bundle.documents), options)
    bound = Bound(whole, table, source.reads, {options.source: options.source_version})
    bound.unknowns = unknowns(source, target, options)
    if source is not target and governs(target):
        bound.own = own_parts(whole.documents, source.reads)
    have = source.lift(bound, options)
    if source is not target and governs(target):
        entrances.take_out(have, bound.own)
    kept = list(entrances.staying(have)) if source is target else []
    out = Output(whole, table, options.target, options.target_version, options.source, chosen.outside, frozenset(bound.broken))
    out.imply("stays as it is: it hangs on a gateway, which keeps its proxy", *kept)
    return Conversion(options, table, source, target, whole, chosen, bound, have, out)


def unknowns(source: Dialect, target: Dialect, options: Options) -> str:
    """What settings that nobody knows count as: in the mesh that stays they go on deciding, whatever they are."""
    if source is target or not governs(target):
        return ""
    return "unset" if options.on_loss == "looser" else "strictest"


def write(job: Conversion) -> Written:
    """Write what the target can say, fit it to the target's release, and say what becomes of the rest of the input."""
    have, out, options = job.have, job.out, job.options
    _lower(job)
    unserved.report(job.bound, have, out, options)
    remains.left_alone(job.bound, out)
    others_marks.carry(job.bound, out)
    for fact in have.deciding:
        past_ztunnel = fact.feature.startswith("ports.") and options.data_plane == "ambient"  # which lets no port past
        says = out.ignore if fact.feature and (past_ztunnel or out.lacks(fact.feature)) else out.decide
        says(fact.value, fact)
    for fact in have.idle:
        out.ignore(fact.value, fact)
    for fact in have.redundant:
        out.adds_nothing(fact.value, fact)
    places = misfits(out, options)
    unfitted = job.read_as(job.target, overlay(job.whole, out, options)) if places else None
    fitted = fit(out, options, places)
    if job.keeper is None and job.source is not job.target:
        remains.unmatched(have, out)
    redundant.framing(have, out)
    remains.rest(job.bound, out, options)
    remains.tokens(have, out, options)
    remains.removals(job.bound, out, options, job.target)
    name_channels(out)
    return Written(assets_of(out, job.bound, options, job.chosen.chosen), unfitted, fitted)


def _lower(job: Conversion) -> None:
    have, out, options, keeper = job.have, job.out, job.options, job.keeper
    remains.losses(have, out, options.source == options.target, options.data_plane, beside=not governs(job.target))
    if keeper is None and job.moves:
        remains.covered(have, out)
    meant = have
    if keeper is not None:
        meant = keeper.keep(job.bound, have, out, options)
    elif job.moves and isinstance(job.source, Keeping):
        meant = job.source.apart(job.bound, have, out, options)
    job.target.lower(mirrored.without(meant, out) if job.moves else meant, out, options)
    if job.moves:
        own_names.settle(out)
    if any(document.kind.endswith("NetworkPolicy") for document in job.whole.documents):
        _beside(job)
    if keeper is None and job.moves:
        leaving(meant, out)
    if job.moves or options.data_plane == "ambient":
        proxy_calls.report(job.bound, have, out, options)
        ingresses.report(job.bound, have, out, options)
    if job.moves:
        pod_security.report(have, out, options)
        clear(have, out)
        for policy in have.entrance:
            out.adds_nothing("its pods are gateways of the mesh, and go with it", policy.sources)


def _beside(job: Conversion) -> None:
    """What the target makes of network policies beside the mesh. They are read in Cilium's words, which no other bundle has to load."""
    from meshport.dialects import beside_waypoints, carried_ports, control_plane, selected_labels

    have, out, options = job.have, job.out, job.options
    carried_ports.lower(
        have, out, options, lambda: job.read_as(job.target, overlay(job.whole, out, options), **{options.target: options.target_version})
    )
    control_plane.report(have, out, options)
    beside_waypoints.report(have, out, options)
    beside_waypoints.succeeded(have, out, options)
    if job.keeper is None and job.moves:
        selected_labels.lower(have, out)


def read_back(job: Conversion, written: Written) -> tuple[Bundle, IR]:
    """The cluster after the conversion, and what it does: with what stays in force of the source."""
    have, out, options = job.have, job.out, job.options
    cluster = overlay(job.whole, out, options)
    back, bound = job.read_bound(job.target, cluster, **{options.target: options.target_version})
    written.refused = list(_refused(job, back, bound))
    if options.data_plane == "ambient":
        _as_known(have, back, {item["metadata"]["name"] for item in out.assumed})
    if written.unfitted is not None:
        answer(written.fitted, changes(*sides(written.unfitted, back, options, options)))
    stays = not governs(job.target) or (job.keeper is not None and out.kept)
    known = cluster if job.keeper is None else cluster.holding(cluster.documents[: len(cluster.documents) - len(out.assumed)])
    beside = (
        job.read_as(job.source, known, **{options.source: options.source_version}) if stays else None
    )  # which namespaces there are is as it was
    if beside is not None and job.keeper is not None:
        back.beside.append(job.keeper.in_force(beside, options))
    elif beside is not None:
        _in_force(beside, back)
        _enrolled(have, back)
        back.emptied = [*have.gateways]
    back.by_label = have.by_label and replace(have.by_label, gateways=())
    return cluster, back


def _refused(job: Conversion, back: IR, bound: Bound) -> Iterator[Finding]:
    """A defect for each object that was written and that no cluster takes, as it is read back: what it says would not hold, whatever a finding says of the
    difference. One that the input already had so is the input's."""
    lost = {loss.document for loss in job.have.losses if loss.code == REFUSED} | job.bound.broken
    written = [obj for obj in job.out.in_order() if "apiVersion" in obj.value]  # a file of rules or of values is no object
    made = {(obj.value["apiVersion"].rpartition("/")[0], obj.kind, obj.ref) for obj in written if obj.changed not in lost}
    row = job.table.codes()["MP900"]
    stands = {_identity(document): number for number, document in enumerate(bound.bundle.documents)}  # of two of a name the last one
    for number in sorted({loss.document for loss in back.losses if loss.code == REFUSED} | bound.broken):
        document = bound.bundle.documents[number]
        ref = Ref(document.namespace or "", document.name)
        if (document.group, document.kind, ref) in made and bound.mesh[number] and stands[_identity(document)] == number:
            text = f"{document.kind} {ref}: no cluster takes what was written"
            affects = (Affected(document.namespace),) if document.namespace else ()
            yield Finding("MP900", row.severity, text, row.remedy, row.effect, affects=affects, pattern="meshport", feature="read-back")


def leaving_with_it(bound: Bound) -> frozenset[str]:
    """The workloads, as `namespace/name`, that are parts of the mesh which is left, and go with it: who may call them afterwards is no question."""
    parts = (bound.bundle.documents[number] for number in bound.own)
    return frozenset(f"{part.namespace}/{part.name}" for part in parts if (part.group, part.kind) in TEMPLATES)


def said(job: Conversion, found: list[Change], back: IR) -> list[Finding]:
    """The findings of reading and writing, with one for each difference that none of them answers for."""
    out, options = job.out, job.options
    findings = [*reading_findings(job.whole, job.bound), *job.bound.findings, *out.findings, *lints(job.have, job.bound, options)]

    def untouched() -> list[Change]:
        """What would be different had nothing been written."""
        before = job.read_as(job.target, job.whole, **{options.target: options.target_version})
        before.beside = back.beside
        return routed.changed(before, back, *sides(before, back, options, options))

    def alone() -> list[Change]:
        """What would differ if the input held nothing of the target's own."""
        cluster = overlay(job.whole, out, options, own=False)
        there = job.read_as(job.target, cluster, **{options.target: options.target_version})
        there.beside = back.beside
        return routed.changed(job.have, there, *sides(job.have, there, options, options))

    findings += answers.unexplained(found, findings, out, untouched, alone, routed.Formal(job.have, back))
    return findings + job.chosen.left_out(out.in_order(), job.table)


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


def _as_known(have: IR, back: IR, enrolled: set[str]) -> None:
    """Of namespaces that commands enrol the bundle knows nothing, not even that they have clients: let them be read as enrolled, and compared as that."""
    for name in enrolled - have.world.namespaces.keys():
        back.world.namespaces.pop(name, None)
    clients = {name for routes in have.routes if routes.beyond is not None for name in routes.beyond.clients}
    for number, routes in enumerate(back.routes):
        if routes.beyond is not None and enrolled.difference(clients).intersection(routes.beyond.clients):
            known = tuple(name for name in routes.beyond.clients if name in clients or name not in enrolled)
            back.routes[number] = replace(routes, beyond=replace(routes.beyond, clients=known))


def merged(bundle: Bundle, context: Bundle | None) -> Bundle:
    """A bundle with what else is known of its cluster, after the commands of its scripts."""
    if context is None or not context.documents:
        return commanded(bundle)
    return commanded(bundle.beside(context))


def by_command(out: Output) -> None:
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
                home = f" -n {shlex.quote(document.namespace)}" if document.namespace and obj.kind != "Namespace" else ""
                text = f"kubectl {verb} {obj.kind.lower()}{home} {shlex.quote(document.name)} {words} --overwrite"
                out.command(text, src, namespace=document.namespace or document.name)


def overlay(bundle: Bundle, out: Output, options: Options, *, own: bool = True) -> Bundle:
    """The cluster after the conversion: the output over the input, less the removals; without what the input holds for the target alone where not `own`."""
    left: set[int | None] = {item.document for item in out.removals} | {
        obj.changed for obj in out.objects.values() if obj.changed is not None
    }
    gone = {
        _identity(document) for number, document in enumerate(bundle.documents) if number in left
    }  # an object that stands there twice is one in the cluster
    stays = [
        document
        for number, document in enumerate(bundle.documents)
        if number not in left
        and (not document.name or _identity(document) not in gone)
        and not document.chart.startswith(KUBECTL)
        and (own or not for_target_alone(document, out))
    ]
    charts = {number: document.chart for number, document in enumerate(stays) if document.chart}
    values = [document.value for document in stays]
    written = [obj.value for obj in out.in_order()]
    if not own:
        values = [unmarked(value, out, {}) for value in values]
        written = [unmarked(obj.value, out, obj.sources) for obj in out.in_order()]
    return at_home(load_objects([*values, *written, *out.assumed], charts), options.default_namespace)


def _identity(document: Document) -> tuple[str, str, str | None, str]:
    return document.group, document.kind, document.namespace, document.name
