"""Where each AuthorizationPolicy is enforced, and what it comes to for the pods (Istio reference 6.2, 6.3).

With a sidecar that is the pod's own proxy, and nothing is to be done. In ambient, policies with a selector are ztunnel's, which knows connections alone, and
policies with targetRefs are a waypoint's. Both together are said here as policies of the pods, in the callers' names.
https://istio.io/latest/docs/ambient/usage/l4-policy/ and /l7-features/
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from meshport.dialects.cursor import Cursor
from meshport.dialects.istio import past_waypoints
from meshport.dialects.istio.waypoints import (
    Admitted,
    Waypoint,
    Waypoints,
    attached,
    in_ambient,
    is_gateway,
    refusing,
    subject_of,
    takes,
    targets,
    without_sidecars,
    without_waypoint,
)
from meshport.dialects.istio.ztunnel import Enforced, Unseen, at_ztunnel
from meshport.effective.access import Access, opens
from meshport.effective.pieces import Piece, Unsayable, of_rule
from meshport.ir.authorization import IDENTITY, PORT, SOURCE_IP, Condition, Policy, Rule
from meshport.ir.base import Fact, PodSet, Ref, Requirement, Selector, Src, sources
from meshport.ir.model import IR, Loss
from meshport.ir.world import Workload
from meshport.values.identities import EVERYONE


@dataclass(slots=True)
class Target:
    """One entry of targetRefs."""

    group: str
    kind: str
    name: str
    src: Src


@dataclass(slots=True)
class Read:
    """A policy as its document says it; `targets` None where it goes by selector."""

    policy: Policy
    facts: tuple[Fact[object], ...]
    targets: list[Target] | None = None
    unseen: Unseen = field(default_factory=Unseen)


@dataclass(slots=True)
class Settled:
    """What became of a policy in the IR. `service` is the one that it hangs on, None for a policy that goes by selector."""

    read: Read
    made: list[Policy]
    service: Ref | None = None
    guarded: bool = False  # the pods refuse whoever does not come through the waypoint
    refused: frozenset[int] = frozenset()  # container ports on which the pods refuse the waypoint too
    everywhere: bool = False  # the waypoint judges requests to the pods' addresses by it too
    opened: Policy | None = None  # what ztunnel enforces, where that opens ways past a waypoint which `made` has not
    shut: frozenset[int] = frozenset()  # the ports on which it has not
    spared: tuple[Policy, ...] = ()  # policies of pods of its subject that stand behind no waypoint there
    left: tuple[Ref, ...] = ()  # workloads behind the Service that ztunnel leaves open although others are guarded
    through: tuple[Policy, ...] = ()  # what comes in through waypoints by it, where it goes by selector
    proxied: tuple[Policy, ...] = ()  # what proxies beside pods of its subject hold, where ztunnel at others holds something else


@dataclass(slots=True)
class _Doors:
    """What ztunnel, or a sidecar behind a waypoint, does for each workload: who has an ALLOW there, and who lets which waypoint in."""

    closed: set[Ref] = field(default_factory=set)
    admitted: dict[Ref, list[Admitted]] = field(default_factory=dict)
    direct: dict[Ref, list[Rule]] = field(default_factory=dict)  # whom they let in beside waypoints

    def lets_in(self, workload: Ref, gate: Ref, port: int) -> bool:
        """Whether ztunnel before a workload takes a waypoint's requests on a port."""
        return any(gate in one.gates and all(takes(condition, port) for condition in one.ports) for one in self.admitted.get(workload, ()))


def targets_of(spec: Cursor) -> list[Target] | None:
    """The entries of targetRefs, or of the older targetRef; None where there are none."""
    places = spec.each("targetRefs") or ([spec.at("targetRef")] if spec.at("targetRef") else [])
    found = []
    for place in places:
        group, kind, name = (place.text(key) for key in ("group", "kind", "name"))
        found.append(Target(group.value if group else "", kind.value if kind else "", name.value if name else "", place.src))
    return found or None


def settle(read: list[Read], found: Waypoints, ir: IR, trust_domain: str, root_namespace: str) -> list[Settled]:
    """All policies into the IR; what became of each."""
    plain = [item for item in read if item.targets is None]
    hung = [(item, made) for item in read if item.targets is not None for made in _services(item, found, ir, root_namespace)]
    closed = {target for item, (target, _) in hung if item.policy.action.value == "allow"}
    doors = _Doors()
    out = [_by_selector(item, found, ir, trust_domain, closed, doors) for item in plain]
    for item, (target, src) in hung:
        made = attached(found, ir, item.policy, target, src)
        if made is None:
            ir.losses.append(Loss("MP240", item.facts, item.policy.document, {"service": str(target)}))
            continue
        out.append(_through(made, target, found, ir, doors, item))
        if item.policy.action.value != "allow":
            _evaded(item, target, {other for one, (other, _) in hung if one is item}, found, ir, doors)
    _close_addresses(out, closed, found, ir, doors)
    ir.policies.extend(policy for entry in out for policy in (*entry.made, *entry.through, *entry.spared, *entry.proxied))
    return out


def _close_addresses(out: list[Settled], closed: set[Ref], found: Waypoints, ir: IR, doors: _Doors) -> None:
    """Take from the policies of ztunnel what they open at the pods' addresses alone."""
    hung = [policy for entry in out if entry.service is not None for policy in entry.made if policy.action.value == "allow"]

    def ports(workload: Workload) -> past_waypoints.Ports:
        def decided(service: Ref, gate: Ref, port: int) -> bool:
            return service in closed or not doors.lets_in(workload.ref, gate, port)

        return past_waypoints.judged(workload, found, ir, decided)

    for entry in out:
        if entry.service is not None or entry.read.policy.action.value != "allow":
            continue
        policy = entry.made[0]
        shut = past_waypoints.closed(policy, found, ir, ports, hung)
        if shut is not None:
            entry.opened, entry.shut, entry.spared = policy, frozenset(shut.ports), shut.spared
            entry.made[:1] = shut.policies


def _services(item: Read, found: Waypoints, ir: IR, root_namespace: str) -> list[tuple[Ref, Src]]:
    """The Services that a policy with targetRefs is enforced for; of other targets it is said that they are not converted."""
    namespace = item.policy.ref.value.namespace
    out: list[tuple[Ref, Src]] = []
    for target in item.targets or ():
        if (target.group, target.kind) in (("", "Service"), ("core", "Service")):
            out.append((Ref(namespace, target.name), target.src))
        elif target.kind == "Gateway" and (waypoint := found.known.get(Ref(namespace, target.name))) is not None and waypoint.of_services:
            out += [(ref, target.src) for ref in found.using(waypoint.ref)]
        elif target.kind == "GatewayClass" and target.name == "istio-waypoint" and namespace == root_namespace:
            out += [(ref, target.src) for ref in sorted(found.behind)]
        else:
            gate = found.known.get(Ref(namespace, target.name)) if target.kind == "Gateway" else None
            known = {"waypoint": str(gate.ref)} if gate is not None else {}
            ir.losses.append(Loss("MP743" if gate is not None else "MP217", item.facts, item.policy.document, known))
            return []
    if not out:
        ir.losses.append(Loss("MP240", item.facts, item.policy.document, {"service": "any Service"}))
    return out


def _by_selector(item: Read, found: Waypoints, ir: IR, trust_domain: str, closed: set[Ref], doors: _Doors) -> Settled:
    """A policy with a selector, as its pods' proxies enforce it, and what it lets through waypoints."""
    policy = item.policy
    with_ztunnel, with_sidecar = subject_of(policy.subject.value, found, ir)
    behind = [one for one in with_sidecar if found.of(one, ir.world)] if policy.action.value == "allow" and not opens(policy) else []
    for workload in behind:  # its sidecar sees the waypoint for the caller, as ztunnel does
        _, _, admitted = without_waypoint(policy, [workload], found, ir, trust_domain, closed)
        doors.closed.add(workload.ref)
        doors.admitted.setdefault(workload.ref, []).extend(admitted)
        doors.direct.setdefault(workload.ref, []).extend(policy.rules)
    home = ir.world.namespaces.get(policy.subject.value.namespace)
    if not with_ztunnel and not (not with_sidecar and home is not None and in_ambient(home)):
        return Settled(item, [policy])
    allows = policy.action.value == "allow"
    if policy.action.value == "custom":
        ir.losses.append(Loss("MP242", item.facts, policy.document, {"what": "asks an external authorizer"}))
        return Settled(item, [policy])
    enforced = at_ztunnel(policy, item.unseen)
    if allows or not with_sidecar:
        _say(item, enforced, ir)
        if enforced.lost or enforced.otherwise:
            policy = replace(policy, rules=enforced.rules)
    if not allows:
        policy, refused = refusing(policy, with_ztunnel, found, ir, trust_domain)
        if refused:
            facts = tuple(fact for rule in refused for item in rule.conditions for fact in (*(item.any_of or ()), *item.none_of))
            reason = "at the pods the caller is the waypoint, and it refuses that"
            ir.losses.append(
                Loss(
                    "MP244",
                    facts,
                    policy.document,
                    {
                        "object": f"AuthorizationPolicy {policy.ref.value}",
                        "reason": reason,
                        "outcome": "nobody comes in through the waypoint, and it is read as refusing everybody",
                    },
                    tuple(workload.ref for workload in with_ztunnel),
                )
            )
        unseen = past_waypoints.unseen_callers(policy, refused, with_ztunnel, found, ir)
        if unseen:
            ir.losses.append(Loss("MP171", (), policy.document, {}, unseen))
        if not with_sidecar or not (enforced.lost or enforced.otherwise):
            return Settled(item, [policy])
        held, _ = refusing(replace(item.policy, rules=enforced.rules), with_ztunnel, found, ir, trust_domain)
        others, those = _by_plane(item.policy, held, with_ztunnel, with_sidecar, ir)
        return Settled(item, those, proxied=others)
    made, through, admitted = without_waypoint(policy, with_ztunnel, found, ir, trust_domain, closed)
    for workload in with_ztunnel:
        if not opens(policy):
            doors.closed.add(workload.ref)
        doors.admitted.setdefault(workload.ref, []).extend(admitted)
        doors.direct.setdefault(workload.ref, []).extend(made.rules)
    src = sources(*(one.src for one in admitted))
    held = replace(made, action=made.action.also(src)) if src else made
    return Settled(item, [held], through=tuple(through), proxied=_proxied(item.policy, held, with_ztunnel, with_sidecar, ir))


def _by_plane(
    policy: Policy, held: Policy, with_ztunnel: list[Workload], with_sidecar: list[Workload], ir: IR
) -> tuple[tuple[Policy, ...], list[Policy]]:
    """(a deny as proxies beside the pods read it, and as `held` by ztunnel), one for each namespace. Where a namespace has both, what ztunnel refuses is
    refused beside the rest."""
    subject, mixed = policy.subject.value, {one.ref.namespace for one in with_sidecar}
    ambient = {one.ref.namespace for one in with_ztunnel} | {name for name, home in ir.world.namespaces.items() if in_ambient(home)}
    apart = ambient - mixed if not subject.namespace else set()
    pods = [PodSet(name, subject.selector) for name in sorted(apart)] + [one.pods for one in with_ztunnel if one.ref.namespace in mixed]
    made = [replace(held, subject=policy.subject.holding(one)) for one in dict.fromkeys(pods)] if held.rules else []
    others = [PodSet(name, subject.selector) for name in sorted((ir.world.namespaces.keys() | mixed) - apart)] if apart else [subject]
    return tuple(replace(policy, subject=policy.subject.holding(one)) for one in others), made


def _proxied(policy: Policy, held: Policy, with_ztunnel: list[Workload], with_sidecar: list[Workload], ir: IR) -> tuple[Policy, ...]:
    """An allow as proxies beside pods read it, where ztunnel at others of its pods has less of it, `held`. Allows add up, so that it is one of these pods
    alone: by namespace where a namespace has nothing else, and not of pods that no label tells from those with ztunnel."""
    if not with_sidecar or held.rules == policy.rules:
        return ()
    selector = policy.subject.value.selector
    ambient = {one.ref.namespace for one in with_ztunnel} | {name for name, home in ir.world.namespaces.items() if in_ambient(home)}
    homes = {one.ref.namespace for one in with_sidecar}
    if not policy.subject.value.namespace:
        homes |= {name for name, home in ir.world.namespaces.items() if home.meshed is None or home.meshed.value}
    whole = homes - ambient
    pods = [PodSet(name, selector) for name in sorted(whole)]
    pods += [one for workload in with_sidecar if workload.ref.namespace in ambient and (one := _apart(workload, with_ztunnel)) is not None]
    return tuple(replace(policy, subject=policy.subject.holding(one)) for one in dict.fromkeys(pods))


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


def _through(policy: Policy, target: Ref, found: Waypoints, ir: IR, doors: _Doors, item: Read) -> Settled:
    """A policy of a waypoint with what the pods' ztunnel makes of the waypoint itself."""
    service = ir.world.services[target]
    members = ir.world.selected(service.pods) if service.pods is not None else []
    if policy.action.value != "allow":
        return Settled(item, [policy], target)
    guarded = [workload for workload in members if workload.ref in doors.closed]
    if not guarded:
        rules, everywhere = _unguarded(item, policy, target, members, found, ir)
        return Settled(item, [replace(policy, rules=rules)], target, everywhere=everywhere)
    gate = found.behind[target][0].ref
    reached = {number: src for known, src in targets(service, ir.world).values() for number in known}
    refused = frozenset(port for port in reached or (0,) if not all(doors.lets_in(workload.ref, gate, port) for workload in guarded))
    rules = tuple(_identified(rule, policy.subject.src) for rule in policy.rules)
    if refused:
        ports = "all" if refused >= reached.keys() else "those to ports " + ", ".join(map(str, sorted(refused)))
        ir.losses.append(Loss("MP243", item.facts if ports == "all" else (), policy.document, {"service": str(target), "ports": ports}))
        outside = Condition(PORT, None, tuple(Fact((port, port), policy.subject.src) for port in sorted(refused)))
        rules = () if ports == "all" else tuple(replace(rule, conditions=(*rule.conditions, outside)) for rule in rules)
    made = [replace(policy, rules=rules)]
    apart = {workload.ref: pods for workload in members if (pods := _apart(workload, guarded)) is not None}
    left = [workload for workload in members if workload.ref in apart]
    if left:  # allows add up, so that these have both
        open_rules, _ = _unguarded(item, policy, target, left, found, ir)
        made += [replace(policy, subject=policy.subject.holding(pods), rules=open_rules) for pods in dict.fromkeys(apart.values())]
    return Settled(item, made, target, True, refused, left=tuple(sorted(apart)))


def _unguarded(item: Read, policy: Policy, target: Ref, members: list[Workload], found: Waypoints, ir: IR) -> tuple[tuple[Rule, ...], bool]:
    """(what an allow of a waypoint comes to for pods that no policy of ztunnel closes, whether it holds at their addresses too). Where it does not, nothing
    keeps anybody from them: that is said, and the ports beside the Service stay as open as they were."""
    service = ir.world.services[target]
    beside = tuple(Fact((number, number), src) for known, src in targets(service, ir.world).values() for number in sorted(known))
    others = Condition(PORT, None, beside)
    if _at_addresses_too(item, members, found.behind[target][0], found, ir):
        rules = tuple(replace(rule, conditions=(*rule.conditions, others)) for rule in item.policy.rules) if beside else ()
        return (*policy.rules, *rules), True
    ir.losses.append(Loss("MP239", (), policy.document, {"service": str(target)}, tuple(sorted(workload.ref for workload in members))))
    return (*policy.rules, Rule((others,), src=policy.subject.src)) if beside else policy.rules, False


def _apart(workload: Workload, guarded: list[Workload]) -> PodSet | None:
    """The pods of a workload without those of others that have all its labels and more; None for one of these, and where nothing tells them apart."""
    labels = workload.labels
    more = [one for one in guarded if one.ref.namespace == workload.ref.namespace and labels.items() <= one.labels.items()]
    if any(one.labels == labels for one in more):
        return None
    without = {Requirement(min(one.labels.keys() - labels.keys()), "DoesNotExist") for one in more}
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
    service = ir.world.services[target]
    members = ir.world.selected(service.pods) if service.pods is not None else []
    document = item.policy.document
    open_ones = tuple(
        sorted(workload.ref for workload in members if workload.ref not in doors.closed or _met(item.policy, doors.direct[workload.ref]))
    )
    if open_ones:
        ir.losses.append(Loss("MP239", (), document, {"service": str(target)}, open_ones))
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


def _identified(rule: Rule, src: Src) -> Rule:
    """Whoever comes through a waypoint has an identity: others reach the pods without it, where ztunnel refuses them."""
    if any(condition.attribute == IDENTITY and condition.any_of is not None for condition in rule.conditions):
        return rule
    return replace(rule, conditions=(Condition(IDENTITY, (Fact(EVERYONE, src),)), *rule.conditions))
