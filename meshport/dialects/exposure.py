"""What every dialect says of destinations outside, machines and links in the same way: by findings, and by taking the source's marks off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshport.dialects.installation import places
from meshport.dialects.losses import report
from meshport.effective.egress import enrolled, leaving
from meshport.findings import Affected
from meshport.ir.base import Fact, Ref
from meshport.ir.exposure import inert, locality_of
from meshport.ir.resilience import ServicePolicy, explains_policy
from meshport.ir.routing import gather
from meshport.values.cidrs import contains, parse_network, subtract
from meshport.values.problems import ValueProblem

if TYPE_CHECKING:
    from collections.abc import Collection

    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.exposure import EgressDefault, Machine, Outside, SharedService
    from meshport.ir.model import IR

LINKING = {
    "linkerd": "Link the clusters (linkerd multicluster install, then link-gen; link before 2.18)",
    "cilium": "Give each cluster a name and an id (Helm cluster.name, cluster.id) and connect them (cilium clustermesh connect)",
    "istio": "Exchange remote secrets between the clusters (istioctl create-remote-secret)",
}
SHARING = {
    "linkerd": 'label the Service mirror.linkerd.io/exported: "true" in the cluster that runs it, and call it, or split to it with an HTTPRoute, by the '
    "name that its mirror gets: {name}-CLUSTER",
    "cilium": 'annotate the Service of the same name and namespace in each of them with service.cilium.io/global: "true"',
    "istio": "keep the Service under the same name and namespace in each of them",
}
"""What a person does to link clusters, and to share one Service between them."""
MARKS = ("multi-cluster.export", "multi-cluster.federate", "locality.failover")


def plain_name(host: str) -> str:
    """A name of DNS as meshes compare it: in lower case, and without the dot that may end it."""
    return host.lower().removesuffix(".")


def unknown_default(ir: IR, out: Output) -> None:
    """Say of Istio's entries for hosts outside that nothing tells what becomes of the other hosts: no mesh configuration is there, nor a Sidecar that says it."""
    known = any(places(out.bundle, "istiod")) or any(not rule.namespace and rule.said and not rule.silenced for rule in ir.egress_defaults)
    told = {rule.namespace for rule in ir.egress_defaults if rule.selector.value.everything and rule.refuses.src and not rule.silenced}
    open_to_all = enrolled(ir) - told
    entries = [
        item for item in ir.outside if item.kind == "ServiceEntry" and item.hosts and any(item.shown_to(name) for name in open_to_all)
    ]
    if ir.mesh == "istio" and entries and not known:
        first = min(entries, key=lambda item: item.subject_name)
        out.finding("MP748", document=first.document, disposition=None, feature="egress.mode", entry=first.subject_name)


def affected(ir: IR, ref: Ref) -> tuple[Affected, ...]:
    """The place that a finding speaks of: the workloads behind a Service, the Service where none is known, or a namespace (name "")."""
    if not ref.name:
        return tuple(Affected(name) for name in ([ref.namespace] if ref.namespace else sorted(enrolled(ir))))
    service = ir.world.services.get(ref)
    found = [
        workload.ref
        for workload in ir.world.of_namespace(ref.namespace)
        if service is not None and service in ir.world.services_of(workload)
    ]
    return tuple(Affected(item.namespace, item.name) for item in found) or (Affected(ref.namespace, ref.name),)


def outsides(ir: IR) -> list[Outside]:
    """What is outside, in an order that follows from the names alone."""
    return sorted(ir.outside, key=lambda item: (item.ref.value, item.kind))


def explains_leaving(ir: IR, rule: EgressDefault, *aspects: str) -> frozenset[tuple[str, str]]:
    """The differences in what may leave that a finding about a rule answers for."""
    return frozenset((item.subject, aspect) for item in leaving(ir) if rule in item.rules for aspect in aspects)


def severity_of_networks(rule: EgressDefault, options: Options) -> str:
    """What it is worth that a rule for some networks becomes one for all: little where it names every address of IPv4 that is not the cluster's."""
    try:
        named = subtract(
            [parse_network(cidr.value) for cidr, _ in rule.networks],
            [parse_network(hole.value) for _, holes in rule.networks for hole in holes],
        )
        own = [parse_network(text) for text in options.cluster_networks]
    except ValueProblem:
        return "error"
    return "warning" if contains((*named, *own), [parse_network("0.0.0.0/0")]) else "error"


def in_namespaces(ir: IR, names: set[str], *aspects: str) -> frozenset[tuple[str, str]]:
    """The same for whole namespaces."""
    return frozenset((item.subject, aspect) for item in leaving(ir) if item.namespace in names for aspect in aspects)


def beyond(ir: IR, out: Output, written: Collection[Machine] = ()) -> None:
    """Machines and links to other clusters: the target's own tools make them, so each is named with what it was made of; but for machines that are
    `written`."""
    for machine in ir.machines:
        if out.source == out.target:
            out.imply("stays as it is", *machine.parts)
            continue
        if machine in written:
            continue
        shown = machine.address.value if machine.address is not None else str(machine.ref.value)
        out.finding(
            "MP715", *machine.parts, document=machine.document, disposition="manual", affects=(Affected(machine.ref.value.namespace),),
            explains=frozenset({(machine.subject, "*")}),
            object=f"{machine.kind} {machine.ref.value}", address=shown,
        )  # fmt: skip
    for link in ir.links:
        if out.source == out.target:
            out.imply("stays as it is", link.cluster, *link.parts)
            continue
        out.finding(
            "MP716", link.cluster, *link.parts, document=link.document, disposition="manual", object=f"{link.kind} {link.ref.value}",
            cluster=link.cluster.value, steps=LINKING[out.target],
        )  # fmt: skip


def by_name_alone(outside: Outside, mesh: str) -> str:
    """Why a name that is open in some networks alone cannot be said to a mesh."""
    names, networks = _named(outside)
    return f"{names} is open in {networks} alone, and {mesh} goes by the name, whatever its address"


def at_every_address(outside: Outside, out: Output, affects: tuple[Affected, ...], explains: frozenset[tuple[str, str]]) -> None:
    """Say that such a name is open at every address from now on."""
    names, networks = _named(outside)
    found = out.finding(
        "MP760", *outside.addresses, document=outside.document, disposition="dropped", affects=affects, explains=explains, effect="widens"
    )
    found.message = f"{outside.subject_name}: {names} is open at every address, and was in {networks} alone"


def _named(outside: Outside) -> tuple[str, str]:
    """The names and the networks of a destination, listed."""
    return ", ".join(host.value for host in outside.hosts), ", ".join(network.value for network in outside.addresses)


def decorated(outside: Outside, ir: IR, out: Output) -> None:
    """Say that an entry for a Service of the cluster sends nothing anywhere, and what does; what it decides is named by itself."""
    for fact in outside.services:
        known = fact.value in ir.world.services
        facts: list[Any] = [fact, *(item.src for item in outside.endpoints)]
        if not outside.hosts:
            facts += [gather(outside.ports), outside.inert, outside.resolution, outside.inside, *outside.addresses, *outside.exports]
        endpoints = ", ".join(item.address.value for item in outside.endpoints if item.address is not None)
        out.finding(
            "MP710" if known else "MP711", *facts, document=outside.document, disposition="dropped", affects=affected(ir, fact.value),
            object=outside.subject_name, service=str(fact.value), endpoints=f" ({endpoints})" if endpoints else "", name=fact.value.name,
            namespace=fact.value.namespace, steps=f"{LINKING[out.target]}, {SHARING[out.target].format(name=fact.value.name)}",
        )  # fmt: skip


def said_by_endpoints(outside: Outside, out: Output) -> None:
    """Endpoints, addresses and the rest of a destination that the target does not direct traffic by, from the table's rows."""
    place = (Affected(outside.ref.value.namespace),)
    for item in outside.endpoints:
        for fact in (item.address, item.network, item.locality, *item.rest):
            if fact is not None:
                report(
                    out, fact, "MP540", outside.document, place, frozenset(), subject=outside.subject_name, setting="account of an endpoint"
                )
    for fact in outside.extras:
        out.lost(fact, document=outside.document, affects=place)
    for port in outside.ports:
        if port.target is not None and port.target.value != port.number.value:
            out.finding(
                "MP727", port.target, document=outside.document, disposition="dropped", affects=place, object=outside.subject_name,
                port=port.number.value, target=port.target.value,
            )  # fmt: skip
        elif port.target is not None:
            out.ignore("the port of the endpoints is the same", port.target)
    if outside.inside is not None:
        word = "MESH_INTERNAL" if outside.inside.value else "MESH_EXTERNAL"
        said = out.lost(Fact(word, outside.inside.src, outside.inside.feature), document=outside.document, affects=place)
        if said is not None and not outside.inside.value:  # which is so where nothing says it
            said.effect = "none"
    out.ignore("a port's name decides nothing where its protocol is said", outside.inert)


BALANCES = {
    "istio": "Istio prefers near endpoints only beside an outlierDetection of the Service",
    "linkerd": "Linkerd balances over all endpoints of the Service and fails over to nothing by itself",
    "cilium": "Cilium balances over all endpoints of the Service and knows no regions",
}


def locality(policy: ServicePolicy, affects: tuple[Affected, ...], out: Output, shared: frozenset[Ref] = frozenset()) -> None:
    """Preference for near endpoints: lost, or, for the Services that `shared` has, one for the own cluster. What decides nothing is ignored."""
    found = locality_of(policy)
    if found is None:
        return
    dead = inert(policy)
    out.ignore("decides nothing: it is switched off, or there is no outlierDetection that it acts by", *dead)
    subjects = (f"sharing of Service {policy.service.value}",) if policy.service is not None else ()
    explained = explains_policy(policy, *found.paths) | {(subject, "prefers") for subject in subjects}
    order = [fact for fact in (*found.failover, *found.priority) if fact not in dead]
    if order or (found.enabled is not None and found.enabled not in dead and not found.distribute):
        setting = f"failover goes from {' and '.join(fact.value for fact in order)}" if found.failover else "near endpoints go first"
        because = [fact for fact in (found.enabled, *order) if fact is not None]
        kept = policy.service is not None and policy.service.value in shared and bool(order)
        out.finding(
            "MP514" if kept else "MP511", *because, document=policy.document, disposition="approximated" if kept else "dropped",
            affects=affects, explains=explained, feature="locality.failover", subject=policy.subject_name, setting=setting,
            instead=BALANCES.get(out.target, "the target balances over all endpoints of the Service"),
        )  # fmt: skip
    if found.distribute and found.distribute[0] not in dead:
        because = [*found.distribute, *((found.enabled,) if found.enabled is not None and not order else ())]
        out.finding(
            "MP513", *because, document=policy.document, disposition="dropped", affects=affects, explains=explained,
            subject=policy.subject_name, setting="; ".join(fact.value for fact in found.distribute),
        )  # fmt: skip


def guarded(ref: Ref, ir: IR) -> bool:
    """Whether a policy says who may call the workloads behind a Service."""
    service = ir.world.services.get(ref)
    behind = [item for item in ir.world.of_namespace(ref.namespace) if service is not None and service in ir.world.services_of(item)]
    return any(policy.subject.value.contains(item.ref.namespace, item.labels) for policy in ir.policies for item in behind)


def drop_marks(out: Output, shared: SharedService) -> None:
    """Take the source's marks of a shared Service off."""
    from meshport.dialects.enrolment import mark

    document = out.bundle.documents[shared.document]
    if document.kind != "Service":
        return
    metadata = document.value.get("metadata")
    for what in ("labels", "annotations"):
        for key in (metadata.get(what) or {}) if isinstance(metadata, dict) else ():
            binding = mark(out, what, key)
            if binding is not None and binding.feature in MARKS:
                obj = out.change(shared.document, group=f"service {document.name}", rank=20)
                obj.drop(("metadata", what, key), shared.prefers if binding.feature == "locality.failover" else shared.mode)
