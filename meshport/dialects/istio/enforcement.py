"""Where each AuthorizationPolicy is enforced, and what it comes to for the pods (Istio reference 6.2, 6.3).

With a sidecar that is the pod's own proxy, and nothing is to be done. In ambient, policies with a selector are ztunnel's, which knows connections alone, and
policies with targetRefs are a waypoint's. Both together are said here as policies of the pods, in the callers' names.
https://istio.io/latest/docs/ambient/usage/l4-policy/ and /l7-features/
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from meshport.dialects.istio import addresses, past_waypoints, waypoints_alone
from meshport.dialects.istio.callers import Callers, coming
from meshport.dialects.istio.callers import of as callers_of
from meshport.dialects.istio.settled import Read, Settled
from meshport.dialects.istio.standing_in import standing_in
from meshport.dialects.istio.waypoints import (
    Admitted,
    Waypoint,
    Waypoints,
    attached,
    in_ambient,
    injecting,
    is_gateway,
    refusing,
    subject_of,
    takes,
    targets,
    without_sidecars,
    without_waypoint,
)
from meshport.dialects.istio.ztunnel import Enforced, at_ztunnel
from meshport.effective.access import Access, opens
from meshport.effective.pieces import Piece, Unsayable, of_rule
from meshport.ir.authorization import IDENTITY, PORT, SOURCE_IP, Condition, Policy, Rule
from meshport.ir.base import Fact, PodSet, Ref, Requirement, Selector, Src, sources
from meshport.ir.model import IR, Loss
from meshport.ir.world import Service, Workload
from meshport.values.identities import EVERYONE, Identity


@dataclass(slots=True)
class _Doors:
    """What ztunnel, or a sidecar behind a waypoint, does for each workload: who has an ALLOW there, and who lets which waypoint in."""

    closed: set[Ref] = field(default_factory=set)
    closing: list[PodSet] = field(default_factory=list)  # the pods that an ALLOW is for
    admitted: dict[Ref, list[Admitted]] = field(default_factory=dict)
    direct: dict[Ref, list[Rule]] = field(default_factory=dict)  # whom they let in beside waypoints
    judging: set[Ref] = field(default_factory=set)  # the Services on which an ALLOW hangs
    addressed: set[Ref] = field(default_factory=set)  # who lets in the waypoint that requests to its own address come from, on every port
    gates: dict[Ref, list[tuple[Read, Src]]] = field(
        default_factory=dict
    )  # what hangs on the waypoint that requests to a workload's address come from

    def admits(self, workload: Ref, caller: Identity, port: int) -> bool:
        """Whether the proxy before a workload takes whatever a caller sends to a port in its own name."""
        return any(
            all(item.attribute in (IDENTITY, PORT) for item in rule.conditions)
            and all(_stands_for(item, caller) for item in rule.conditions if item.attribute == IDENTITY)
            and all(takes(item, port) for item in rule.conditions if item.attribute == PORT)
            for rule in self.direct.get(workload, ())
        )

    def lets_in(self, workload: Ref, gate: Ref, port: int) -> bool:
        """Whether ztunnel before a workload takes a waypoint's requests on a port."""
        return any(gate in one.gates and all(takes(condition, port) for condition in one.ports) for one in self.admitted.get(workload, ()))

    def open_beside(self, service: Service, ir: IR) -> tuple[Ref, ...]:
        """The pods of a Service that the bundle may not show and that no ALLOW is for, as a loss names them."""
        pods = service.pods
        if pods is None or any(one.contains(pods.namespace, dict(pods.selector.labels)) for one in self.closing):
            return ()
        return past_waypoints.unshown(pods, ir)


def settle(read: list[Read], found: Waypoints, ir: IR, trust_domain: str, root_namespace: str) -> list[Settled]:
    """All policies into the IR; what became of each."""
    callers = callers_of(found, ir, trust_domain)
    ir.evading = _evading(found, ir, callers)
    with standing_in(ir, found, (item.policy.subject.value for item in read if item.targets is None)) as names:
        out = _settled(read, found, ir, callers, root_namespace)
        for entry in out:
            names.settle(entry, ir)
    ir.policies.extend(policy for entry in out for policy in (*entry.made, *entry.through))
    return out


def _settled(read: list[Read], found: Waypoints, ir: IR, callers: Callers, root_namespace: str) -> list[Settled]:
    plain = [item for item in read if item.targets is None]
    unplaced: list[tuple[Read, Waypoint]] = []
    attaching = [(item, _services(item, found, ir, root_namespace, unplaced)) for item in read if item.targets is not None]
    hung = [(item, made) for item, services in attaching for made in services]
    closed = {target for item, (target, _) in hung if item.policy.action.value == "allow"}
    closing = [item.policy.subject.value for item in plain if item.policy.action.value == "allow"]
    doors = _Doors(closing=closing, judging=closed, gates=addresses.hung(read, found, root_namespace))
    out = [_by_selector(item, found, ir, callers, closed, doors) for item in plain]
    for entry in out:
        entry.through += [_by_waypoint(policy, service, found, ir, callers, doors, entry.read) for service, policy in entry.coming]
    waypoints_alone.report(((item.policy, item.facts, named) for item, named in attaching), found, ir)
    for item, (target, src) in hung:
        if target in ir.at_waypoints.get(item.policy.document, ()):
            continue
        made = attached(found, ir, item.policy, target, src)
        if made is None:
            unknown = target not in ir.world.services
            ir.losses.append(Loss("MP240", item.facts, item.policy.document, {"service": str(target)}, deciding=unknown))
            continue
        out.append(_through(made, target, found, ir, callers, doors, item))
        if item.policy.action.value != "allow":
            _evaded(item, target, {other for one, (other, _) in hung if one is item}, found, ir, doors)
    out += addresses.placed(out, unplaced, addresses.Beyond(ir, found, callers), doors.gates, doors.closed)
    idle = {ref for ref in doors.addressed if ref not in doors.gates}  # open to whoever comes from there
    _close_addresses(out, closed, found, ir, callers, doors, found.before.keys() - idle)
    return out


def _evading(found: Waypoints, ir: IR, callers: Callers) -> frozenset[Ref]:
    """The workloads that may have a proxy beside them, and the namespaces that give them one, where others go through waypoints."""
    if not found.behind and not found.before:
        return frozenset()
    pods = [one for one in ir.world.workloads if one.ref not in found.ambient and not is_gateway(one)]
    return frozenset([*(Ref("", name) for name in callers.injecting), *(one.ref for one in pods if ir.world.meshed(one) is not False)])


def _close_addresses(
    out: list[Settled], closed: set[Ref], found: Waypoints, ir: IR, callers: Callers, doors: _Doors, judged: set[Ref]
) -> None:
    """Take from the policies of pods what they open at the pods' addresses alone; `judged` are the pods whose addresses a waypoint stands before."""
    hung = [policy for entry in out if entry.service is not None for policy in entry.made if policy.action.value == "allow"]

    def ports(workload: Workload) -> past_waypoints.Ports:
        def decided(service: Ref, gate: Ref, port: int) -> bool:
            return service in closed or not doors.lets_in(workload.ref, gate, port)

        return past_waypoints.judged(workload, found, ir, decided)

    for entry in out:
        if entry.service is not None or entry.addressed is not None or entry.read.policy.action.value != "allow":
            continue
        apart = [made for policy in entry.made for made in past_waypoints.at_addresses(policy, judged, found, ir, callers)]
        entry.made = [made for policy in apart for made in past_waypoints.closed(policy, found, ir, callers, ports, hung) or [policy]]


def _services(item: Read, found: Waypoints, ir: IR, root_namespace: str, unplaced: list[tuple[Read, Waypoint]]) -> list[tuple[Ref, Src]]:
    """The Services that a policy with targetRefs is enforced for; of other targets it is said that they are not converted, but for waypoints of no Service
    (`unplaced`)."""
    namespace = item.policy.ref.value.namespace
    out: list[tuple[Ref, Src]] = []
    for target in item.targets or ():
        if (target.group, target.kind) in (("", "Service"), ("core", "Service")):
            ref = Ref(namespace, target.name)
            out.append((ref, sources(target.src, ir.world.services[ref].src if ref in ir.world.services else None)))
        elif target.kind == "Gateway" and (waypoint := found.known.get(Ref(namespace, target.name))) is not None and waypoint.of_services:
            out += [(ref, target.src) for ref in found.using(waypoint.ref)]
        elif target.kind == "GatewayClass" and target.name == "istio-waypoint" and namespace == root_namespace:
            out += [(ref, target.src) for ref in sorted(found.behind)]
        else:
            gate = found.known.get(Ref(namespace, target.name)) if target.kind == "Gateway" else None
            if gate is not None:
                unplaced.append((item, gate))
                return []
            ir.losses.append(Loss("MP217", item.facts, item.policy.document))
            if all(one.kind == "Gateway" for one in item.targets or ()):
                ir.attached.append((frozenset(Ref(namespace, one.name) for one in item.targets or ()), item.policy))
            return []
    if not out:
        named = {Ref(namespace, target.name) for target in item.targets or () if target.kind == "Gateway"}
        gate = next((one for one in found.before.values() if one.ref in named), None)  # it takes requests to addresses as well
        if gate is not None:
            unplaced.append((item, gate))
        else:
            ir.losses.append(Loss("MP240", item.facts, item.policy.document, {"service": "any Service"}))
    return out


def _by_selector(item: Read, found: Waypoints, ir: IR, callers: Callers, closed: set[Ref], doors: _Doors) -> Settled:
    """A policy with a selector, as its pods' proxies enforce it, and what it lets through waypoints."""
    policy = item.policy
    with_ztunnel, with_sidecar = subject_of(policy.subject.value, found, ir)
    homes = [home for name, home in ir.world.namespaces.items() if policy.subject.value.namespace in ("", name)]
    allows = policy.action.value == "allow"
    out = Settled(item, [])
    sidecars = _at(policy, with_sidecar, out, found, ir, callers, closed, doors)
    unshown = past_waypoints.unshown_in_ambient(policy, found, ir)
    if not with_ztunnel and (with_sidecar or not unshown):
        out.made = [sidecars if with_sidecar else past_waypoints.either(sidecars, at_ztunnel(policy, item.unseen).rules, ir)]
        return out
    if policy.action.value == "custom":
        places = tuple(one.ref for one in with_ztunnel) if with_sidecar else ()
        ir.losses.append(
            Loss("MP242", () if with_sidecar else item.facts, policy.document, {"what": "asks an external authorizer"}, places)
        )
        held = replace(policy, rules=()) if with_sidecar else policy
    else:
        enforced = at_ztunnel(policy, item.unseen)
        if allows or not with_sidecar:
            _say(item, enforced, ir)
        held = replace(policy, rules=enforced.rules) if enforced.lost or enforced.otherwise else policy
        held = _at(held, with_ztunnel, out, found, ir, callers, closed, doors)
    if not with_sidecar and not any(map(injecting, homes)):
        out.made = [held]
        return out
    out.made = _by_plane(item, held, sidecars, with_ztunnel, with_sidecar, ir)
    return out


def _at(
    policy: Policy, members: list[Workload], out: Settled, found: Waypoints, ir: IR, callers: Callers, closed: set[Ref], doors: _Doors
) -> Policy:
    """A policy of the proxies before some pods, in the names of those who call: where a waypoint stands before the pods, it calls instead of them."""
    if policy.action.value == "custom":
        return policy
    if policy.action.value != "allow":
        made, beside, refused = refusing(policy, members, found, ir, callers.trust_domain)
        out.through += beside
        if beside:
            facts = tuple(fact for rule in refused for item in rule.conditions for fact in (*(item.any_of or ()), *item.none_of))
            placed = any(item.attribute == SOURCE_IP and item.any_of for rule in refused for item in rule.conditions)
            where = ", by addresses of which its own, which the input does not show, may be one" if placed else ""
            said = {
                "object": f"AuthorizationPolicy {policy.ref.value}",
                "reason": f"at the pods the caller is the waypoint, and it refuses that{where}",
                "outcome": "nobody comes in through the waypoint, and it is read as refusing everybody on the ports that the waypoint sends to",
            }
            places = tuple(sorted({one.subject.value for one in beside}, key=str))
            shut = tuple(workload.ref for workload in members if workload.pods in places)
            ir.losses.append(Loss("MP244", facts, policy.document, said, shut))
        unseen = past_waypoints.unseen_callers(made, refused, members, found, ir, callers)
        if unseen:
            ir.losses.append(Loss("MP171", (), policy.document, {}, unseen))
        return made
    made, through, admitted, unplaced = without_waypoint(policy, members, found, ir, callers.trust_domain, closed)
    out.coming += through
    if unplaced:
        said = {
            "object": f"AuthorizationPolicy {policy.ref.value}",
            "reason": "it lets a waypoint in by the waypoint's own address, which the input does not show",
            "outcome": "what comes through the waypoint is refused",
        }
        ir.losses.append(Loss("MP244", tuple(unplaced), policy.document, said, tuple(one.ref for one in members)))
    _at_addresses(policy, members, found, ir, callers, doors)
    for workload in members:
        if not opens(policy):
            doors.closed.add(workload.ref)
        doors.admitted.setdefault(workload.ref, []).extend(admitted)
        doors.direct.setdefault(workload.ref, []).extend(made.rules)
    src = sources(*(one.src for one in admitted))
    return replace(made, action=made.action.also(src)) if src else made


def _at_addresses(policy: Policy, members: list[Workload], found: Waypoints, ir: IR, callers: Callers, doors: _Doors) -> None:
    """Say which pods let in a waypoint that requests to their addresses go through: what comes that way is not converted."""
    plain = [rule.conditions for rule in policy.rules if all(item.attribute == IDENTITY for item in rule.conditions)]
    gated = [(one.ref, found.before[one.ref].identity(callers.trust_domain)) for one in members if one.ref in found.before]
    doors.addressed.update(ref for ref, gate in gated if any(all(_stands_for(item, gate) for item in asked) for asked in plain))
    let_in = [
        one.ref
        for one in members
        for fact in (fact for rule in policy.rules for item in rule.conditions if item.attribute == IDENTITY for fact in item.any_of or ())
        if one.ref in found.before and found.before[one.ref].covered_by(fact.value, callers.trust_domain)
    ]
    if let_in:
        said = {
            "object": f"AuthorizationPolicy {policy.ref.value}",
            "reason": "it lets a waypoint in that requests to the addresses of its pods go through",
            "outcome": "what comes by an address and by no Service is refused",
        }
        ir.losses.append(Loss("MP244", (), policy.document, said, tuple(dict.fromkeys(let_in))))


def _by_plane(
    item: Read, held: Policy, sidecars: Policy, with_ztunnel: list[Workload], with_sidecar: list[Workload], ir: IR
) -> list[Policy]:
    """A policy that ztunnel enforces as `held` and proxies beside pods as `sidecars`: what both do is one of all its pods, the rest is one of the pods with such
    a proxy. Those are told by their namespace where it has nothing else, and else one by one. Allows and denies add up, so that pods which no label tells from
    those with the other proxy get no more of an allow, and all of a deny."""
    subject, allows = item.policy.subject.value, item.policy.action.value == "allow"
    both = [rule for rule in sidecars.rules if rule in held.rules]
    action = sidecars.action.also(held.action)
    out = [replace(sidecars, action=action, rules=tuple(both))] if allows or both else []
    named = [home for name, home in ir.world.namespaces.items() if subject.namespace in ("", name)]
    untold: list[Workload] = []
    for policy, members, others, default in (
        (sidecars, with_sidecar, with_ztunnel, lambda home: home.meshed is None or (home.meshed.value and not in_ambient(home))),
        (held, with_ztunnel, with_sidecar, in_ambient),
    ):
        rules = tuple(rule for rule in policy.rules if rule not in both)
        if not rules:
            continue
        elsewhere = {one.ref.namespace for one in others}
        whole = {home.name for home in named if default(home)} | {one.ref.namespace for one in members}
        pods = [PodSet(name, subject.selector) for name in sorted(whole - elsewhere)]
        for workload in (one for one in members if one.ref.namespace in elsewhere):
            told = _apart(workload, others) if allows else workload.pods
            untold += [workload] if told is None else []
            pods += [told] if told is not None else []
        out += [replace(policy, subject=policy.subject.holding(one), rules=rules) for one in dict.fromkeys(pods)]
    if untold:
        said = {
            "object": f"AuthorizationPolicy {item.policy.ref.value}",
            "reason": "it holds for pods with a sidecar and for others with ztunnel, and no label tells them apart",
            "outcome": "what only one of them takes is left out",
        }
        ir.losses.append(Loss("MP244", (), item.policy.document, said, tuple(one.ref for one in untold)))
    return out or [replace(held, action=action, rules=())]  # a deny of which nothing holds


def _say(item: Read, enforced: Enforced, ir: IR) -> None:
    """What ztunnel does otherwise than a sidecar."""
    policy, allows = item.policy, item.policy.action.value == "allow"
    if enforced.lost:
        what = "asks for HTTP" if enforced.http else "asks for source.serviceAccount or a trust domain"
        ir.losses.append(Loss("MP241" if allows else "MP242", tuple(enforced.lost), policy.document, {"what": what}))
    if enforced.otherwise:
        words = {
            "it passes over trustDomains": item.unseen.passed_over,
            "it compares literally, so that cluster.local is no alias and a * inside a namespace is a letter": item.unseen.literal,
        }
        said = [text for text, leaves in words.items() if any(fact.src & leaves for fact in enforced.otherwise)]
        ir.losses.append(Loss("MP117", tuple(enforced.otherwise), policy.document, {"what": " and ".join(said)}))


def _through(policy: Policy, target: Ref, found: Waypoints, ir: IR, callers: Callers, doors: _Doors, item: Read) -> Settled:
    """A policy of a waypoint with what the pods' ztunnel makes of the waypoint itself."""
    members = _proxied(target, ir)
    service = ir.world.services[target]
    if policy.action.value != "allow":
        return Settled(item, [policy], target)
    guarded = [workload for workload in members if workload.ref in doors.closed]
    if not guarded:
        rules, everywhere = _unguarded(item, policy, target, members, found, ir, doors, callers)
        return Settled(item, [replace(policy, rules=rules)], target, everywhere=everywhere)
    if others := doors.open_beside(service, ir):
        ir.losses.append(Loss("MP239", (), policy.document, {"service": str(target)}, others))
    gate = found.behind[target][0].ref
    reached = {number: src for known, src in targets(service, ir.world).values() for number in known}
    refused = frozenset(port for port in reached or (0,) if not all(doors.lets_in(workload.ref, gate, port) for workload in guarded))
    rules = tuple(_identified(rule, policy.subject.src) for rule in policy.rules)
    rules = _by_waypoint(replace(policy, rules=rules), target, found, ir, callers, doors, item).rules
    if refused:
        ports = "all" if refused >= reached.keys() else "those to ports " + ", ".join(map(str, sorted(refused)))
        ir.losses.append(Loss("MP243", item.facts if ports == "all" else (), policy.document, {"service": str(target), "ports": ports}))
        outside = Condition(PORT, None, tuple(Fact((port, port), policy.subject.src) for port in sorted(refused)))
        rules = () if ports == "all" else tuple(replace(rule, conditions=(*rule.conditions, outside)) for rule in rules)
    made = [replace(policy, rules=rules)]
    apart = {workload.ref: pods for workload in members if (pods := _apart(workload, guarded)) is not None}
    left = [workload for workload in members if workload.ref in apart]
    if left:  # allows add up, so that these have both
        open_rules, _ = _unguarded(item, policy, target, left, found, ir, doors, callers)
        made += [replace(policy, subject=policy.subject.holding(pods), rules=open_rules) for pods in dict.fromkeys(apart.values())]
    return Settled(item, made, target, True, refused, left=tuple(sorted(apart)))


def _proxied(target: Ref, ir: IR) -> list[Workload]:
    """The workloads behind a Service that may have a proxy of their own."""
    pods = ir.world.services[target].pods
    return [one for one in ir.world.selected(pods) if ir.world.meshed(one) is not False] if pods is not None else []


def _by_waypoint(policy: Policy, target: Ref, found: Waypoints, ir: IR, callers: Callers, doors: _Doors, item: Read) -> Policy:
    """What a waypoint lets through, for those who come through it; of those who do not it is said that the pods refuse them."""
    service = ir.world.services[target]
    reached = {number for known, _ in targets(service, ir.world).values() for number in known}
    members = [one for one in ir.world.selected(policy.subject.value) if one.ref in doors.closed]

    def admitted(caller: Identity) -> bool:
        return bool(reached) and all(doors.admits(one.ref, caller, port) for one in members for port in reached)

    heard = [coming(rule, callers, target, admitted) for rule in policy.rules]
    named = [fact for one in heard for fact in one.named]
    left = sources(*(rule.sources for one in heard for rule in one.rules))
    for rule in (rule for rule, one in zip(policy.rules, heard, strict=True) if not one.rules):  # with all that it asks for
        named += [fact for item in rule.conditions for fact in (*(item.any_of or ()), *item.none_of) if fact.src - left]
    places = tuple(sorted(one.ref for one in members))
    shared = sorted({account for one in heard for account in one.shared})
    if any(one.past or (one.named and not one.shared) for one in heard):
        ir.losses.append(Loss("MP145", tuple(named), item.policy.document, {"service": str(target)}, places))
        named = []
    if shared:
        values = {"service": str(target), "accounts": ", ".join("/".join(account) for account in shared)}
        ir.losses.append(Loss("MP146", tuple(named), item.policy.document, values, places))
    return replace(policy, rules=tuple(rule for one in heard for rule in one.rules))


def _unguarded(
    item: Read, policy: Policy, target: Ref, members: list[Workload], found: Waypoints, ir: IR, doors: _Doors, callers: Callers
) -> tuple[tuple[Rule, ...], bool]:
    """(what an allow of a waypoint comes to for pods that no policy of ztunnel closes, whether it holds at their addresses too). Where it does not, nothing
    keeps anybody from them: that is said, and the ports beside the Service stay as open as they were: not to those who come to them through a waypoint that refuses."""
    service = ir.world.services[target]
    before = {other.ref: other for one in members for other, _, _ in found.of(one, ir.world) if other.ref in doors.judging} | {
        target: service
    }
    asked = {number: src for other in before.values() for known, src in targets(other, ir.world).values() for number in known}
    beside = tuple(Fact((number, number), src) for number, src in sorted(asked.items()))
    others = Condition(PORT, None, beside)
    if _at_addresses_too(item, members, found.behind[target][0], found, ir):
        rules = tuple(replace(rule, conditions=(*rule.conditions, others)) for rule in item.policy.rules) if beside else ()
        return (*policy.rules, *rules), True
    places = (
        *sorted(workload.ref for workload in members),
        *(past_waypoints.unshown(service.pods, ir) if service.pods is not None else ()),
    )
    ir.losses.append(Loss("MP239", (), policy.document, {"service": str(target)}, places))
    if not beside:
        return policy.rules, False
    gated = [one for one in members if any(read.policy.action.value == "allow" for read, _ in doors.gates.get(one.ref, ()))]
    if gated:
        return (*policy.rules, *addresses.Beyond(ir, found, callers).left_open(gated, asked)), False
    return (*policy.rules, Rule((others,), src=policy.subject.src)), False


def _apart(workload: Workload, guarded: list[Workload]) -> PodSet | None:
    """The pods of a workload without those of others that have all its labels and more; None for one of these, and where nothing tells them apart."""
    labels = workload.own_labels
    more = [one for one in guarded if one.ref.namespace == workload.ref.namespace and labels.items() <= one.own_labels.items()]
    if any(one.own_labels == labels for one in more):
        return None
    without = {Requirement(min(one.own_labels.keys() - labels.keys()), "DoesNotExist") for one in more}
    return PodSet(workload.ref.namespace, Selector.of(labels, without))


def _at_addresses_too(item: Read, members: list[Workload], gate: Waypoint, found: Waypoints, ir: IR) -> bool:
    """Whether a policy of a waypoint for services and workloads judges requests to the pods' addresses as well, and nobody goes past it: all clients are
    ambient, none is a gateway, and ztunnel takes no plaintext."""
    if (
        not any(target.kind in ("Gateway", "GatewayClass") for target in item.targets or ())
        or found.entered
        or not without_sidecars(ir.world, found)
    ):
        return False
    access = Access(ir, Fact("all-unauthenticated"))
    modes = [mode for workload in members for mode in access.of(workload).transport.values()]
    enrolled = all(workload.ref in found.before and found.before[workload.ref].ref == gate.ref for workload in members)
    return bool(members) and enrolled and all(mode.value == "strict" for mode in modes) and not any(map(is_gateway, ir.world.workloads))


def _evaded(item: Read, target: Ref, hung: set[Ref], found: Waypoints, ir: IR, doors: _Doors) -> None:
    """Say how callers come past a deny that hangs on a Service: by the pods' addresses, or by another Service before the same ports."""
    service, members = ir.world.services[target], _proxied(target, ir)
    document = item.policy.document
    open_ones = tuple(
        sorted(workload.ref for workload in members if workload.ref not in doors.closed or _met(item.policy, doors.direct[workload.ref]))
    )
    unshown = past_waypoints.unshown(service.pods, ir) if open_ones and service.pods is not None else doors.open_beside(service, ir)
    if open_ones or unshown:
        ir.losses.append(Loss("MP239", (), document, {"service": str(target)}, (*open_ones, *unshown)))
    own = {number for known, _ in targets(service, ir.world).values() for number in known}
    others: set[Ref] = set()
    led: set[Ref] = set()
    for workload in members:
        for other, waypoint, _ in found.of(workload, ir.world):
            reached = own & {number for known, _ in targets(other, ir.world).values() for number in known}
            past = workload.ref not in doors.closed or any(doors.lets_in(workload.ref, waypoint.ref, port) for port in reached)
            if other.ref not in hung and reached and past:
                others.add(other.ref)
                led.add(workload.ref)
    if others:
        named = ", ".join(map(str, sorted(others)))
        ir.losses.append(Loss("MP736", (), document, {"service": str(target), "others": named}, tuple(sorted(led))))


def _met(deny: Policy, rules: list[Rule]) -> bool:
    """Whether a deny is about callers whom rules let in, on some port of theirs."""
    refused = [piece for rule in deny.rules for piece in _connections(rule)]
    return any(not one.meet(other).empty for rule in rules for one in _connections(rule) for other in refused)


def _connections(rule: Rule) -> list[Piece]:
    """Who may be meant by a rule, from where; everybody where that cannot be computed."""
    conditions = tuple(item for item in rule.conditions if item.attribute in (IDENTITY, SOURCE_IP))
    try:
        return of_rule(Rule(conditions))
    except (Unsayable, ValueError):
        return [Piece()]


def _stands_for(asked: Condition, caller: Identity) -> bool:
    """Whether a demand on callers takes one of them for sure."""
    inside = asked.any_of is None or any(isinstance(fact.value, Identity) and fact.value.covers(caller) for fact in asked.any_of)
    return inside and all(isinstance(fact.value, Identity) and _parted(fact.value, caller) for fact in asked.none_of)


def _parted(one: Identity, other: Identity) -> bool:
    """Whether no caller is of both."""
    return any(
        None not in pair and pair[0] != pair[1]
        for pair in ((one.namespace, other.namespace), (one.service_account, other.service_account), (one.trust_domain, other.trust_domain))
    )


def _identified(rule: Rule, src: Src) -> Rule:
    """Whoever comes through a waypoint has an identity: others reach the pods without it, where ztunnel refuses them."""
    if any(condition.attribute == IDENTITY and condition.any_of is not None for condition in rule.conditions):
        return rule
    return replace(rule, conditions=(Condition(IDENTITY, (Fact(EVERYONE, src),)), *rule.conditions))
