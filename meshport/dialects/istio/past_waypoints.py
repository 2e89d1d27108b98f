"""Callers whom the pods admit by name although requests to the Service reach them under its waypoint's account.

A rule for ztunnel that names a caller in ambient holds for the pods' own addresses alone. To the Service the same caller gets through the waypoint, or not at
all. Other data planes do not tell the two ways apart, so that what the Service refuses must not be had because the address is open: there such a rule
admits nobody. Callers who do not pass the waypoint (plaintext, gateways, sidecars) keep what it gives them.
https://istio.io/latest/docs/ambient/usage/l4-policy/#considerations-when-waypoints-are-introduced
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from meshport.dialects import protocols
from meshport.dialects.istio.callers import Callers, account_of, evading
from meshport.dialects.istio.waypoints import Waypoints, in_ambient, is_gateway, subject_of, takes, targets, unseen_in_ambient
from meshport.effective.pieces import Unsayable, of_rule
from meshport.effective.remainder import remainder
from meshport.effective.subjects import ANY_POD
from meshport.ir.authorization import IDENTITY, PORT, Condition, Policy, Rule
from meshport.ir.base import Fact, PodSet, Ref, Src
from meshport.ir.model import IR, Loss
from meshport.ir.world import Workload
from meshport.values.language import LanguageTooLarge

Ports = dict[int, Src]
"""Container ports that a waypoint stands before, with the leaves that say so."""


def closed(
    policy: Policy, found: Waypoints, ir: IR, callers: Callers, judged: Callable[[Workload], Ports], hung: list[Policy]
) -> list[Policy] | None:
    """An ALLOW of pods without what it opens at the addresses of those behind a waypoint, for callers who pass it, with policies beside it for pods that stand
    behind fewer of the ports; None where it opens nothing there. One of the whole mesh is one for each namespace, as it is where no pod stands behind a
    waypoint. `judged` says which ports of a workload a waypoint judges, `hung` are the ALLOWs of the waypoints."""
    with_ztunnel, with_sidecar = subject_of(policy.subject.value, found, ir)
    members = [one for one in (*with_ztunnel, *with_sidecar) if not is_gateway(one)]
    ports = {one.ref: judged(one) for one in members}
    every: Ports = {number: src for known in ports.values() for number, src in known.items()}
    pods = [ref for ref, known in ports.items() if known]
    rules = [made for rule in policy.rules for made in _rule(rule, every, callers, pods)] if every else list(policy.rules)
    if rules == list(policy.rules):
        return None
    beside: list[Policy] = []
    held: list[tuple[Workload, Ports]] = []  # with the ports on which it has less of the policy
    behind = {one.ref.namespace for one in members if ports[one.ref]}
    for one in members:
        if not policy.subject.value.namespace and one.ref.namespace not in behind:
            continue
        spared = every.keys() - ports[one.ref].keys()
        alike = [other for other in members if other.ref.namespace == one.ref.namespace and one.labels.items() <= other.labels.items()]
        if not spared or any(spared & ports[other.ref].keys() for other in alike):
            held.append((one, every))
            continue
        subject = policy.subject.holding(one.pods)
        own = tuple(rule for rule in (_on(rule, spared) for rule in policy.rules) if rule is not None)
        beside.append(replace(policy, subject=subject, rules=own))
        if ports[one.ref]:
            held.append((one, ports[one.ref]))
    lost = [one.ref for one, its in held if _less(policy, rules, hung, one, its, ir)]
    if not lost:  # the waypoint admits as much: nothing is open at the addresses alone
        return None
    _say(policy, rules, beside, lost, ir)
    shut = replace(policy, rules=tuple(rules))
    if policy.subject.value.namespace:
        return [shut, *beside]
    made = [(shut, name) for name in sorted(behind)] + [(policy, name) for name in _each(policy, members, ir) if name not in behind]
    selector = policy.subject.value.selector
    return [*(replace(one, subject=one.subject.holding(PodSet(name, selector))) for one, name in made), *beside]


def at_addresses(policy: Policy, judged: set[Ref], found: Waypoints, ir: IR, callers: Callers) -> list[Policy]:
    """An ALLOW of pods without what it opens to callers whose requests come from a waypoint for the pods' own addresses, as those of `judged` do: on ports that no Service with an
    address sends to there is no other way. With policies beside it for pods that no such waypoint stands before, or that more of the ports have a Service at."""
    with_ztunnel, with_sidecar = subject_of(policy.subject.value, found, ir)
    members = [one for one in (*with_ztunnel, *with_sidecar) if not is_gateway(one)]
    ways = {one.ref: by_service(one, ir) for one in members if one.ref in judged}
    if not ways:
        return [policy]
    common = {port: src for port, src in next(iter(ways.values())).items() if all(port in known for known in ways.values())}
    src = frozenset[int]().union(*(found.before[ref].src for ref in ways))
    rules = [made for rule in policy.rules for made in _past(rule, common, callers, src, ways)]
    if rules == list(policy.rules):
        return [policy]
    beside: dict[PodSet, Policy] = {}
    lost: list[Ref] = []
    for one in members:
        alike = [ways[other.ref] for other in members if other.ref in ways and _among(other, one)]
        spared = ways.get(one.ref, {}).keys() - common.keys()
        if not alike:
            beside[one.pods] = replace(policy, subject=policy.subject.holding(one.pods))
        elif spared and all(spared <= known.keys() for known in alike):
            own = tuple(made for rule in policy.rules if (made := _on(rule, spared)) is not None)
            beside[one.pods] = replace(policy, subject=policy.subject.holding(one.pods), rules=own)
        lost += [one.ref] if alike else []
    shut = replace(policy, rules=tuple(rules))
    whole = [shut]
    if not policy.subject.value.namespace:  # one of the whole mesh: as it is where no such waypoint is
        behind, pods = {ref.namespace for ref in ways}, policy.subject.value.selector
        known = _each(policy, members, ir)
        whole = [replace(shut if name in behind else policy, subject=policy.subject.holding(PodSet(name, pods))) for name in known]
    _say(policy, rules, [*(one for one in whole if one.rules is policy.rules), *beside.values()], lost, ir)
    return [*whole, *beside.values()]


def _each(policy: Policy, members: list[Workload], ir: IR) -> list[str]:
    """The namespaces that a policy of the whole mesh is one of each for. Not the one that it stands in, unless pods of that are shown: there it would be one
    of the whole mesh again, and open what is closed elsewhere."""
    homes = {one.ref.namespace for one in members}
    return sorted((ir.world.namespaces.keys() - {policy.ref.value.namespace}) | homes)


def _among(one: Workload, other: Workload) -> bool:
    """Whether the labels of a workload select another's pods as well."""
    return one.ref.namespace == other.ref.namespace and other.labels.items() <= one.labels.items()


def by_service(workload: Workload, ir: IR) -> Ports:
    """The ports of a workload that a Service with an address sends to."""
    services = [service for service in ir.world.services_of(workload) if not service.headless and not service.external_name]
    return {
        number: src | service.pods_src for service in services for known, src in targets(service, ir.world).values() for number in known
    }


def _past(rule: Rule, spared: Ports, callers: Callers, src: Src, pods: Iterable[Ref]) -> list[Rule]:
    """A rule as one of some ports, and as one of the others for callers who pass no waypoint."""
    asked = next((item for item in rule.conditions if item.attribute == IDENTITY and item.any_of is not None), None)
    beside = evading(asked, callers, src, pods)
    if beside == [asked] or (spared and _without(rule, spared) is None):
        return [rule]
    others = tuple(item for item in rule.conditions if item is not asked)
    past = [replace(rule, conditions=(one, *others)) for one in beside]
    made = [_on(rule, spared), *((_without(one, spared) for one in past) if spared else past)]
    return [one for one in made if one is not None]


def _say(policy: Policy, rules: list[Rule], beside: list[Policy], lost: list[Ref], ir: IR) -> None:
    """That callers whom the pods name are admitted past their waypoint alone."""
    kept = {id(fact) for rule in rules for item in rule.conditions for fact in item.any_of or ()}
    asked = [fact for rule in policy.rules for item in rule.conditions if item.attribute == IDENTITY for fact in item.any_of or ()]
    named = tuple(fact for fact in asked if id(fact) not in kept)
    gone = _sources(policy.rules) - _sources([*rules, *(rule for one in beside for rule in one.rules)]) - _sources(named)
    with_them = (Fact(None, gone, "authorization.rule"),) if gone else ()
    others = [PodSet(home, policy.subject.value.selector) for home in sorted({ref.namespace for ref in lost})]
    ir.losses.append(
        Loss("MP170", (*named, *with_them), policy.document, {}, (*lost, *(ref for pods in others for ref in unshown(pods, ir))))
    )


def unshown_in_ambient(policy: Policy, found: Waypoints, ir: IR) -> bool:
    """Whether pods of a policy that nobody shows have ztunnel. Those of whichever namespace may be a gateway's, which have their own proxies: with the label of
    Istio's charts they are, and where the bundle has a gateway they may be; a deny refuses most where it is read as theirs."""
    pods = policy.subject.value
    if (own := ir.world.namespaces.get(pods.namespace)) is not None:
        return in_ambient(own)
    gateway = found.entered or "istio" in dict(pods.selector.labels)
    return policy.action.value == "allow" and not gateway and unseen_in_ambient(pods, ir.world)


def either(policy: Policy, rules: tuple[Rule, ...], ir: IR) -> Policy:
    """A deny for pods of whichever namespace that nobody shows: what is refused by it as by `rules`, as ztunnel has them, or as a gateway's own proxy reads it."""
    pods = policy.subject.value
    if policy.action.value != "deny" or pods.namespace or rules == policy.rules or not unseen_in_ambient(pods, ir.world):
        return policy
    values = {
        "object": f"AuthorizationPolicy {policy.ref.value}",
        "reason": "pods that the input does not show may have ztunnel or be a gateway, which has a proxy of its own",
        "outcome": "it is read as refusing what either refuses by it",
    }
    ir.losses.append(Loss("MP244", (), policy.document, values, unshown(pods, ir)))
    return replace(policy, rules=(*policy.rules, *(rule for rule in rules if rule not in policy.rules)))


def unshown(pods: PodSet, ir: IR) -> tuple[Ref, ...]:
    """Pods that the bundle may not show, as a loss names them."""
    return () if ir.world.shows(pods) else (Ref(pods.namespace, ANY_POD if pods.selector.everything else str(pods.selector)),)


def _sources(items: Iterable[Rule | Fact[Any]]) -> Src:
    return frozenset[int]().union(*(item.src if isinstance(item, Fact) else item.sources for item in items))


def unseen_callers(
    policy: Policy, refused: list[Rule], members: list[Workload], found: Waypoints, ir: IR, callers: Callers
) -> tuple[Ref, ...]:
    """The workloads at which a deny of ztunnel names callers who come through a waypoint, and does not see them; not by the rules `refused`, which are
    about the waypoint itself."""
    numbers = {rule.number for rule in refused}
    naming = [rule for rule in policy.rules if rule.number not in numbers and _names(rule, callers)]
    behind = [one for one in members if any(_on(rule, _reached(one, found, ir)) is not None for rule in naming)]
    return tuple(one.ref for one in behind)


def _reached(workload: Workload, found: Waypoints, ir: IR) -> set[int]:
    """The ports of a workload that Services behind a waypoint send to."""
    services = [service for service, _, _ in found.of(workload, ir.world)]
    return {number for service in services for known, _ in targets(service, ir.world).values() for number in known}


def _names(rule: Rule, callers: Callers) -> bool:
    asked = [item for item in rule.conditions if item.attribute == IDENTITY]
    return bool(asked) and not any(item.any_of and all(_elsewhere(fact.value, callers) for fact in item.any_of) for item in asked)


def _elsewhere(value: object, callers: Callers) -> bool:
    """Whether a value of a rule is one account, and of none of the pods that pass the waypoint."""
    account = account_of(value)
    return account is not None and not callers.passes(account)


def _rule(rule: Rule, ports: Ports, callers: Callers, pods: Iterable[Ref]) -> list[Rule]:
    """A rule as one of the other ports, and as one of these for callers who do not pass the waypoint."""
    if not any(all(takes(item, port) for item in rule.conditions if item.attribute == PORT) for port in ports):
        return [rule]
    asked = next((item for item in rule.conditions if item.attribute == IDENTITY and item.any_of is not None), None)
    others = tuple(item for item in rule.conditions if item is not asked)
    beside = evading(asked, callers, frozenset[int]().union(*ports.values()), pods)
    if beside == [asked]:
        return [rule]
    made = [_without(rule, ports), *(_on(replace(rule, conditions=(one, *others)), ports.keys()) for one in beside)]
    return [one for one in made if one is not None]


def _on(rule: Rule, ports: Iterable[int]) -> Rule | None:
    """The rule on these ports alone; None where it takes none of them."""
    asked = [item for item in rule.conditions if item.attribute == PORT]
    chosen = sorted(port for port in ports if all(takes(item, port) for item in asked))
    src = frozenset[int]().union(*(item.sources for item in asked))
    condition = Condition(PORT, tuple(Fact((port, port), src) for port in chosen))
    return replace(rule, conditions=(*(item for item in rule.conditions if item.attribute != PORT), condition)) if chosen else None


def _without(rule: Rule, ports: Ports) -> Rule | None:
    """The rule on every other port; None where it takes no other."""
    asked = [item for item in rule.conditions if item.attribute == PORT and item.any_of is not None]
    if asked and all(low == high and low in ports for low, high in (fact.value for fact in asked[0].any_of or ())):
        return None
    return replace(
        rule, conditions=(*rule.conditions, Condition(PORT, None, tuple(Fact((port, port), src) for port, src in sorted(ports.items()))))
    )


def _less(policy: Policy, rules: list[Rule], hung: list[Policy], workload: Workload, ports: Ports, ir: IR) -> bool:
    """Whether a workload lost what nothing at the waypoint gives it: False where the waypoint admits the same."""
    given = [rule for one in hung if one.subject.value.contains(workload.ref.namespace, workload.labels) for rule in one.rules]
    for port in ports:
        http = protocols.is_http(protocols.of_port(workload, port, ir.world)[0])
        try:
            was = [piece for rule in policy.rules for piece in of_rule(rule, http=http, port=port)]
            now = [piece for rule in (*rules, *given) for piece in of_rule(rule, http=http, port=port)]
            if remainder(was, now):
                return True
        except (Unsayable, LanguageTooLarge, ValueError):
            return True
    return False


def judged(workload: Workload, found: Waypoints, ir: IR, decided: Callable[[Ref, Ref, int], bool]) -> Ports:
    """The ports of a workload that a waypoint judges; `decided` says it of a Service, its waypoint and a port."""
    out: Ports = {}
    for service, gate, src in found.of(workload, ir.world):
        for known, origin in targets(service, ir.world).values():
            for number in known:
                if decided(service.ref, gate.ref, number):
                    out[number] = out.get(number, frozenset()) | src | origin
    return out
