"""Authorization written for Linkerd: default policies, Servers, routes on them, AuthorizationPolicies (mapping decisions 2, 3, 11).

For each region (workloads under the same policies) and each port that something admits, one Server with `accessPolicy: deny` and what opens it again.
Ports that nothing admits need no Server: the default policy `deny` has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from meshport.dialects import beside_the_mesh, other_domains, other_protocols, protocols, redundant
from meshport.dialects.base import Options
from meshport.dialects.gateway_accounts import by_namespace, gateway_accounts
from meshport.dialects.linkerd import by_name, servers, unlike, unseen
from meshport.dialects.linkerd.grants import Context, plan
from meshport.dialects.linkerd.inbound import DEFAULT_POLICY
from meshport.dialects.linkerd.selectors import by_probes, narrowed, selectors, set_name, shared_labels, told_apart
from meshport.dialects.linkerd.serverroutes import (
    probe_request,
)
from meshport.dialects.linkerd.servers import mentioned
from meshport.dialects.linkerd.transport import OPEN, by_servers_alone, closed_beside, named_ports
from meshport.dialects.linkerd.transport import wanted as wanted_default
from meshport.dialects.output import Output
from meshport.effective.access import Access, Effective, Region, ports_of
from meshport.effective.admitted import only_by_exemption, ruled
from meshport.effective.pieces import Piece, Unsayable, covered
from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected
from meshport.ir.authorization import Policy
from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Selector, Src, sources
from meshport.ir.model import IR
from meshport.ir.world import ContainerPort, Workload, World, telling_labels
from meshport.values.language import LanguageTooLarge


def lower(ir: IR, out: Output, options: Options, access: Access, defaults: Mapping[str, tuple[str, Src]]) -> None:
    """Servers and what admits requests to them, for every region. `defaults` are the default policies that are written for namespaces."""
    gateways = frozenset(gateway_accounts(ir, out.bundle))
    taken: dict[str, set[str]] = {}
    for region in access.regions(lambda item: _spoken(item, ir)):
        if region.first.meshed is not False:
            _region(
                ir,
                out,
                options,
                access,
                region,
                gateways,
                taken.setdefault(region.namespace, set()),
                defaults.get(region.namespace, (OPEN,))[0],
            )
    written = _by_port(ir, out, options, access, gateways, taken)
    fate = unlike.lower(out, options, access, gateways, taken, defaults)
    unseen.report(ir, out, access, written, fate, {name: value for name, (value, _) in defaults.items()})
    _open_probes(ir, out, access, options)
    _refused_probes(ir, out, access, options)
    other_protocols.report(ir, out)
    if ir.mesh == "istio":
        other_domains.tell(ir, out, options)
        beside_the_mesh.report(ir, out)
        beside_the_mesh.unknown_callers(ir, out, options, options.trust_domain)
        by_namespace(ir, out, without=not options.gateway_identity)
        _tcp_probes(out, access)
    redundant.beside_the_mesh(out, access)
    redundant.without_effect(out, access)
    reached = out.written()
    for policy in ir.policies:
        if not policy.rules and policy.subject.value.selector.everything and not access.world.selected(policy.subject.value):
            out.ignore("there is no pod in the mesh that it could close", policy.sources - reached)


def _open_probes(ir: IR, out: Output, access: Access, options: Options) -> None:
    """Linkerd itself opens the paths of declared HTTP probes on every port without routes: said where the source closes the port."""
    written = {
        (one.namespace, one.workload, one.port) for finding in out.findings if finding.code in ("MP204", "MP205") for one in finding.affects
    }
    groups: dict[tuple[str, str], list[tuple[Effective, int, Src]]] = {}
    networks = options.cluster_networks
    for item in access.workloads:
        if item.meshed is False:
            continue
        for probe in item.workload.probes:
            place = (item.workload.ref.namespace, item.workload.ref.name, probe.port)
            if probe.kind != "http" or not probe.port or not protocols.is_http(protocols.of_port(item.workload, probe.port, ir.world)[0]):
                continue  # where the proxy sees no requests it knows of no paths
            if place not in written and probe.path in only_by_exemption(item, probe.port, networks):
                groups.setdefault((item.workload.ref.namespace, probe.path), []).append((item, probe.port, probe.src))
    for (_, path), found in sorted(groups.items()):
        affects = tuple(Affected(item.workload.ref.namespace, item.workload.ref.name, port) for item, port, _ in found)
        said = out.finding(
            "MP234", document=found[0][0].workload.document, feature="authorization.probe", path=path,
            affects=affects,
            explains=frozenset((access_subject(item.workload.ref, port), "allow") for item, port, _ in found),
            workloads=", ".join(dict.fromkeys(f"{item.workload.ref} port {port}" for item, port, _ in found)),
        )  # fmt: skip
        said.witness = probe_request(affects, "GET", path, None)


def _refused_probes(ir: IR, out: Output, access: Access, options: Options) -> None:
    """Probes on ports that Linkerd takes for bytes: it knows of no paths there, and refuses the kubelet where it does not let everybody in."""
    for item in access.workloads:
        probed: dict[int, Src] = {}
        for probe in item.workload.probes:
            if (
                probe.kind in ("http", "grpc")
                and probe.port
                and not protocols.is_http(protocols.of_port(item.workload, probe.port, ir.world)[0])
            ):
                probed[probe.port] = probed.get(probe.port, NOWHERE) | probe.src
        for port, src in sorted(probed.items()):
            if item.meshed is False or item.workload.bypasses(port) or _everybody(item, port, options.cluster_networks):
                continue
            out.finding(
                "MP169", src, document=item.workload.document, affects=(Affected(item.workload.ref.namespace, item.workload.ref.name, port),),
                feature="authorization.probe", workload=str(item.workload.ref), port=port,
            )  # fmt: skip


def _everybody(item: Effective, port: int, networks: tuple[str, ...]) -> bool:
    """Whether anybody may connect to a port, whatever is sent."""
    try:
        return covered([Piece()], ruled(item, port, False, networks))
    except (Unsayable, LanguageTooLarge, ValueError):
        return False


def _tcp_probes(out: Output, access: Access) -> None:
    """Probes that the proxy answers itself: Istio's agent carries them out (istio.io/latest/docs/ops/configuration/mesh/app-health-check)."""
    for item in access.workloads:
        ports = sorted({probe.port for probe in item.workload.probes if probe.kind == "tcp" and not item.workload.bypasses(probe.port)})
        if ports and item.meshed is not False:
            out.finding(
                "MP236", document=item.workload.document, feature="authorization.probe", workload=str(item.workload.ref), port=", ".join(map(str, ports)),
            )  # fmt: skip


def _spoken(item: Effective, ir: IR) -> tuple[tuple[int, str], ...]:
    """What the ports of a workload speak: one Server says it for all of its pods."""
    return tuple((port, protocols.of_port(item.workload, port, ir.world)[0]) for port in ports_of([item], ir.world))


def _region(
    ir: IR,
    out: Output,
    options: Options,
    access: Access,
    region: Region,
    gateways: frozenset[Ref],
    taken: set[str],
    closing: str = "",
    default: str = "",
) -> None:
    """Servers of the ports of a region's pods. `closing` is the default policy of other pods of their namespace."""
    first = region.first
    context = Context(out, ir.world, options, gateways, region)
    ports = _ports(region, ports_of(region.members, ir.world))
    plans = [plan(context, port, src) for port, src in sorted(ports.items()) if not first.workload.bypasses(port)]
    default = default or wanted_default(first, options.cluster_networks)[0]
    wanted = [item for item in plans if servers.needed(item, region, default)]
    servers.explain(context, plans, wanted)
    if not wanted:
        return
    fallback = first.allows or first.denies or first.customs
    closest = next((policy for policy in fallback if not policy.subject.value.selector.everything), fallback[0] if fallback else None)
    base = closest.ref.value.name if closest is not None else region.first.workload.ref.name
    routed = any(grant.routed for item in wanted for grant in item.grants)
    for selector, src, beside in (_moded(region, access) if not fallback else []) or selectors(region, access):
        members = [member for member in region.members if selector.accepts(member.workload.labels)]
        own = set(map(id, members))
        intruders = [item for item in access.selected(PodSet(region.namespace, selector)) if id(item) not in own]
        for part, wanted_labels in told_apart(members, intruders):
            if wanted_labels == [] and selector.everything and not fallback:
                wanted_labels = shared_labels(part)
            if wanted_labels is None:
                _inseparable(context, part, intruders)
                continue
            told, because = selector, src
            if wanted_labels:
                because |= telling_labels((member.workload for member in part), [item.key for item in wanted_labels])
                told = narrowed(selector, wanted_labels)
            if told.expressions or not wanted_labels:
                because |= beside
            for pods, more, own_probes in by_probes(told, part) if routed else [(told, NOWHERE, part)]:
                label = set_name(pods, base, taken)
                if closest is not None and label.startswith(base):
                    more |= closest.ref.src
                inner = replace(context, region=Region(region.namespace, own_probes))
                apart = not access.world.shows(PodSet(region.namespace, pods))
                for item in wanted:
                    called = by_name.name_of(region, item.port, access) if apart else ""
                    if not called or by_name.alone(region, item.port, called, access):
                        servers.write(inner, item, pods, because | more, label, called)
                    elif not item.closed or closing != "deny":
                        servers.write(inner, item, pods, because | more, label)
                    else:
                        for only, group in by_name.shown_alone(pods, own_probes):
                            own_label = label if len(own_probes) == len(group) else set_name(only, base, taken)
                            servers.write(replace(inner, region=Region(region.namespace, group)), item, only, because | more, own_label)


def _moded(region: Region, access: Access) -> list[tuple[Selector, Src, Src]]:
    """The selector of the mode that these pods have, where it takes no others."""
    mine = set(map(id, region.members))
    for selector, src in access.moded(region.members):
        if all(id(item) in mine for item in access.selected(PodSet(region.namespace, selector))):
            return [(selector, src, NOWHERE)]
    return []


def _ports(region: Region, known: dict[int, Src]) -> dict[int, Src]:
    """The ports to look at, and what decides that each is one: what declares it, or the policies that name it, also those that another one makes void;
    with both, neither does."""
    named: dict[int, Src] = {}
    first = region.first
    void = {id(policy): policy for member in region.members for policy in member.opened}
    for policy in (*first.allows, *first.denies, *first.customs, *void.values()):
        for port, src in mentioned(policy).items():
            named[port] = named.get(port, NOWHERE) | src
    for number, mode in first.transport.items():
        if number is not None:
            named[number] = named.get(number, NOWHERE) | mode.src
    both = dict.fromkeys(named.keys() & known.keys(), NOWHERE)
    return {**named, **known, **both}


def _inseparable(context: Context, members: list[Effective], intruders: list[Effective]) -> None:
    """Pods under other policies that no label tells apart: a Server would take both, so none is written and the default refuses."""
    policies = [policy for member in members for policy in (*member.allows, *member.denies)]
    for member in members:
        src = frozenset(leaf for policy in (*member.allows, *member.denies) for leaf in policy.sources)
        obj = context.out.change(member.workload.document, group=f"workload {member.workload.ref.name}", rank=30)
        obj.set((*member.workload.template, "metadata", "annotations", DEFAULT_POLICY), "deny", src or member.workload.src)
    for policy in dict.fromkeys(policies):
        context.out.finding(
            "MP230", policy.sources, document=policy.document, disposition="dropped",
            affects=tuple(Affected(member.workload.ref.namespace, member.workload.ref.name) for member in members),
            explains=frozenset(pair for member in members for port in (*ports_of([member], context.world), None) for pair in context.explains(port, "allow")),
            feature="authorization.subject", policy=str(policy.ref.value),
            workloads=", ".join(str(member.workload.ref) for member in members), others=", ".join(str(item.workload.ref) for item in intruders), outcome="nothing is let in there",
        )  # fmt: skip


def _by_port(ir: IR, out: Output, options: Options, access: Access, gateways: frozenset[Ref], taken: dict[str, set[str]]) -> list[Policy]:
    """Servers for pods that the bundle does not show, where kept network policy closes the ports that its rules do not name; the policies so written."""
    groups: dict[PodSet, list[Policy]] = {}
    for policy in access.unselected():
        if policy.action.value == "allow" and closed_beside(policy, out) and by_servers_alone(policy.subject.value):
            groups.setdefault(policy.subject.value, []).append(policy)
    written: list[Policy] = []
    for subject, policies in sorted(groups.items()):
        ports = [ContainerPort(number, "", "TCP") for policy in policies for number in named_ports(policy)]
        place = Ref(subject.namespace, policies[0].ref.value.name)
        src = sources(*(policy.subject for policy in policies))
        stand_in = Workload(place, "Pod", dict(subject.selector.labels), {}, Fact("default"), ports, [], policies[0].document, (), src=src)
        world = World(ir.world.namespaces, [*ir.world.workloads, stand_in], ir.world.services, ir.world.accounts)
        shown = replace(ir, world=world)
        seen = Access(shown, access.default_admission)
        for region in seen.regions(lambda item: _spoken(item, ir)):
            if any(member.workload is stand_in for member in region.members):
                _region(shown, out, options, seen, region, gateways, taken.setdefault(region.namespace, set()), default=OPEN)
        written += policies
    return written
