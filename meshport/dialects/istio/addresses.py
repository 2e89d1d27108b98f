"""Waypoints that requests to the addresses of pods go through, where some callers go past them.

Such a waypoint calls the pods under its own account, and knows of its policies those of the Gateway alone: one for a Service is not asked. What a Service sends
to can be had by the Service too. On other ports of pods that nothing else closes, its policies decide for callers in ambient; all others go straight to the pods.
https://istio.io/latest/docs/ambient/usage/waypoint/
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from meshport.dialects.cursor import Cursor
from meshport.dialects.istio.callers import Callers, account_of, coming, evading
from meshport.dialects.istio.past_waypoints import Ports, by_service
from meshport.dialects.istio.settled import Read, Settled
from meshport.dialects.istio.waypoints import FOR, Waypoint, Waypoints, targets
from meshport.dialects.output import Output
from meshport.findings import Affected
from meshport.ir.authorization import IDENTITY, PORT, Condition, Policy, Rule
from meshport.ir.base import NOWHERE, Fact, Ref, Src, sources
from meshport.ir.model import IR, Loss
from meshport.ir.world import Workload
from meshport.mapping.bound import Bound
from meshport.values.identities import EVERYONE

_NO_SERVICE = Ref("", "")


@dataclass(frozen=True, slots=True)
class Beyond:
    """Ports of pods that no Service with an address sends to, beside those (`served`) that one does, for whoever reads a waypoint's policy at the pods."""

    ir: IR
    found: Waypoints
    callers: Callers

    def left_open(self, members: list[Workload], judged: Ports) -> tuple[Rule, ...]:
        """What nothing says of the ports of workloads behind such a waypoint, beside those that a policy is about (`judged`): the others of Services are open, and
        the rest is to callers who do not go through it."""
        ways = [by_service(one, self.ir) for one in members]
        served = {port: src for port, src in ways[0].items() if all(port in known for known in ways)}
        src = sources(*(Fact(None, self.found.before[one.ref].src) for one in members))
        free = {port: origin for port, origin in served.items() if port not in judged}
        open_ones = [Rule((Condition(PORT, _numbers(free)),), src=src)] if free else []
        rest = tuple(_outside({**served, **judged}))
        return (*open_ones, *(Rule((one, *rest), src=src) for one in evading(None, self.callers, src, [one.ref for one in members])))

    def held(self, policy: Policy, workload: Workload, named_by: Src, *, alone: bool) -> Policy:
        """A policy that hangs on the Gateway (`named_by`) as one of a workload, for requests to its address; with what is open beside it where it is `alone` in closing the pods."""
        rest = tuple(_outside(by_service(workload, self.ir)))
        named = [_identified(rule, named_by) for rule in policy.rules]
        if policy.action.value == "allow":
            heard = [coming(rule, self.callers, _NO_SERVICE, lambda _: False) for rule in named]
            named = [rule for one in heard for rule in one.rules]
            left = sources(*(rule.sources for rule in named))
            self.ir.idle += [
                Fact("callers with a sidecar do not come to the waypoint", rule.sources - left, "authorization.rule")
                for rule in policy.rules
                if rule.sources - left
            ]
        rules = tuple(replace(rule, conditions=(*rule.conditions, *rest)) for rule in named)
        if policy.action.value == "allow" and alone:
            rules = (*rules, *self.left_open([workload], {}))
        subject = Fact(workload.pods, named_by | self.found.before[workload.ref].src, policy.subject.feature)
        return replace(policy, subject=subject, rules=rules)

    def wide(self, policy: Policy) -> bool:
        """Whether a policy that refuses is about callers who may not come through the waypoint."""
        if policy.action.value == "allow" or not (self.callers.past or self.callers.gateways or self.callers.injecting):
            return False
        asked = [[item.any_of or () for item in rule.conditions if item.attribute == IDENTITY and item.any_of] for rule in policy.rules]
        return any(not any(all(self._passes(fact.value) for fact in values) for values in item) for item in asked)

    def _passes(self, value: object) -> bool:
        account = account_of(value)
        return account is not None and self.callers.passes(account)


def hung(read: list[Read], found: Waypoints, root_namespace: str) -> dict[Ref, list[tuple[Read, Src]]]:
    """What hangs on the waypoints that requests to the addresses of workloads come from, with the leaves that name them."""
    out: dict[Ref, list[tuple[Read, Src]]] = {}
    for item in read:
        home = item.policy.ref.value.namespace
        named = {Ref(home, one.name): one.src for one in item.targets or () if one.kind == "Gateway"}
        classes = [one.src for one in item.targets or () if (one.kind, one.name) == ("GatewayClass", "istio-waypoint")]
        every = frozenset[int]().union(*classes) if home == root_namespace else NOWHERE
        for ref, gate in found.before.items():
            if src := named.get(gate.ref, NOWHERE) | every:
                out.setdefault(ref, []).append((item, src))
    return out


def placed(
    out: list[Settled], unplaced: list[tuple[Read, Waypoint]], beyond: Beyond, gates: dict[Ref, list[tuple[Read, Src]]], closed: set[Ref]
) -> list[Settled]:
    """What hangs on waypoints before the addresses of pods (`gates`), for those that no policy of theirs has `closed`; of what is for no others, and no Service
    (`unplaced`), it is said that it is not converted."""
    everywhere = [(entry.read, policy.subject.value) for entry in out if entry.everywhere for policy in entry.made]
    shut = [policy.subject.value for entry in out if entry.service is not None for policy in entry.made if policy.action.value == "allow"]
    made: list[Settled] = []
    for workload in beyond.ir.world.workloads:
        if workload.ref in closed or beyond.ir.world.meshed(workload) is False:
            continue
        alone = not any(pods.contains(workload.ref.namespace, workload.labels) for pods in shut)
        for item, src in gates.get(workload.ref, ()):
            if not any(item is one and pods.contains(workload.ref.namespace, workload.labels) for one, pods in everywhere):
                made.append(Settled(item, [beyond.held(item.policy, workload, src, alone=alone)], addressed=workload))
    for item in {id(entry.read): entry.read for entry in made}.values():
        pods = [entry.addressed for entry in made if entry.read is item and entry.addressed is not None]
        _say(item.policy, pods, [entry.service for entry in out if entry.read is item and entry.service is not None], beyond)
    for item, gate in unplaced:
        if all(item is not entry.read for entry in made):
            beyond.ir.losses.append(Loss("MP743", item.facts, item.policy.document, {"waypoint": str(gate.ref)}))
    return made


def _say(policy: Policy, pods: list[Workload], asked: Iterable[Ref], beyond: Beyond) -> None:
    """What a policy of a Gateway does not come to for workloads: past it, by Services that are not among those on which it hangs (`asked`), and past their waypoint."""
    ir, gate = beyond.ir, beyond.found.before[pods[0].ref].ref
    inside = {port for ref in asked for known, _ in targets(ir.world.services[ref], ir.world).values() for port in known}
    passed = [one.ref for one in pods if by_service(one, ir).keys() - inside]
    if passed:
        ir.losses.append(Loss("MP159", (), policy.document, {"waypoint": str(gate)}, tuple(passed)))
    unnamed = [one.ref for one in pods if one.ref in beyond.callers.unnamed and policy.action.value == "allow"]
    if unnamed:
        said = {
            "object": f"AuthorizationPolicy {policy.ref.value}",
            "reason": f"mTLS is disabled at pods behind the waypoint {gate}, and callers without a name are not told from those who come through it",
            "outcome": "ports that no Service with an address sends to are closed to them",
        }
        ir.losses.append(Loss("MP244", (), policy.document, said, tuple(unnamed)))
    shared = sorted(beyond.callers.evading().keys() & beyond.callers.through.keys()) if policy.action.value == "allow" else []
    if shared:
        said = {
            "object": f"AuthorizationPolicy {policy.ref.value}",
            "reason": f"pods of {', '.join('/'.join(one) for one in shared)} come through the waypoint {gate} to the addresses of pods, and others of the same account past it",
            "outcome": "all of them are refused on ports that no Service with an address sends to",
        }
        ir.losses.append(Loss("MP244", (), policy.document, said, tuple(one.ref for one in pods)))
    if beyond.wide(policy):
        said = {
            "object": f"AuthorizationPolicy {policy.ref.value}",
            "reason": f"callers with a sidecar, and gateways, go past the waypoint {gate} that requests to the addresses of pods go through",
            "outcome": "it is read as refusing them too, on ports that no Service with an address sends to",
        }
        ir.losses.append(Loss("MP244", (), policy.document, said, tuple(one.ref for one in pods)))


def _identified(rule: Rule, src: Src) -> Rule:
    """Whoever comes through a waypoint has an identity."""
    if any(item.attribute == IDENTITY and item.any_of is not None for item in rule.conditions):
        return rule
    return replace(rule, conditions=(Condition(IDENTITY, (Fact(EVERYONE, src),)), *rule.conditions))


def _numbers(ports: Ports) -> tuple[Fact[object], ...]:
    return tuple(Fact((port, port), src) for port, src in sorted(ports.items()))


def _outside(ports: Ports) -> list[Condition]:
    return [Condition(PORT, None, _numbers(ports))] if ports else []


# -- onto ambient


def leave(bound: Bound, out: Output, stood: Waypoints) -> None:
    """Waypoints for Services, or for nothing, of those that stand before the addresses of pods: where callers had a sidecar, they went straight to the pods, and
    in ambient they would come through the waypoint, past what the pods say of them."""
    for ref, gate in sorted(stood.known.items()):
        pods = sorted(pod for pod, one in stood.before.items() if one.ref == ref)
        if not pods or gate.document is None:
            continue
        serves = "service" if gate.of_services else "none"
        label = Cursor.root(bound, gate.document).at("metadata", "labels", FOR)
        out.change(gate.document, rank=15).set(("metadata", "labels", FOR), serves, label.src)
        out.finding(
            "MP158", label.src, document=gate.document, disposition="approximated", feature="membership.waypoint", waypoint=str(ref), label=f"{FOR}: {serves}",
            affects=tuple(Affected(pod.namespace, pod.name) for pod in pods),
        )  # fmt: skip
