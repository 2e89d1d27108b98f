"""Callers whom the pods admit by name although requests to the Service reach them under its waypoint's account.

A rule for ztunnel that names a caller in ambient holds for the pods' own addresses alone. To the Service the same caller gets through the waypoint, or not at
all. Other data planes do not tell the two ways apart, so that what the Service refuses must not be had because the address is open: there such a rule
admits nobody. Callers who do not pass the waypoint (plaintext, gateways, sidecars) keep what it gives them.
https://istio.io/latest/docs/ambient/usage/l4-policy/#considerations-when-waypoints-are-introduced
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from meshport.dialects import protocols
from meshport.dialects.istio.waypoints import Waypoints, is_gateway, subject_of, takes, targets
from meshport.effective.pieces import Unsayable, of_rule
from meshport.effective.remainder import remainder
from meshport.ir.authorization import IDENTITY, PORT, Condition, Policy, Rule
from meshport.ir.base import Fact, PodSet, Ref, Src
from meshport.ir.model import IR, Loss
from meshport.ir.world import Workload
from meshport.values.identities import EVERYONE, Identity
from meshport.values.language import LanguageTooLarge

Ports = dict[int, Src]
"""Container ports that a waypoint stands before, with the leaves that say so."""


@dataclass(frozen=True, slots=True)
class Closed:
    """An ALLOW of ztunnel without what it opens at the addresses of pods behind a waypoint: on these ports, for callers who pass it. `spared` are policies
    beside it for pods that stand behind fewer of the ports. One of the whole mesh is one for each namespace, as it is where no pod stands behind a waypoint."""

    policies: list[Policy]
    ports: Ports
    spared: tuple[Policy, ...] = ()


def closed(policy: Policy, found: Waypoints, ir: IR, judged: Callable[[Workload], Ports], hung: list[Policy]) -> Closed | None:
    """The policy without what it opens past waypoints; None where it opens nothing there. `judged` says which ports of a workload a waypoint judges, `hung`
    are the ALLOWs of the waypoints."""
    with_ztunnel, with_sidecar = subject_of(policy.subject.value, found, ir)
    members = [one for one in (*with_ztunnel, *with_sidecar) if not is_gateway(one)]
    ports = {one.ref: judged(one) if one.ref in found.ambient else {} for one in members}
    every: Ports = {number: src for known in ports.values() for number, src in known.items()}
    accounts = passing(found, ir)
    rules = [made for rule in policy.rules for made in _rule(rule, every, accounts)] if every else list(policy.rules)
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
    kept = {id(fact) for rule in rules for item in rule.conditions for fact in item.any_of or ()}
    callers = [fact for rule in policy.rules for item in rule.conditions if item.attribute == IDENTITY for fact in item.any_of or ()]
    named = tuple(fact for fact in callers if id(fact) not in kept)
    ir.losses.append(Loss("MP170", named, policy.document, {}, tuple(lost)))
    gone = _sources(policy.rules) - _sources([*rules, *(rule for one in beside for rule in one.rules)]) - _sources(named)
    if gone:
        ir.idle.append(Fact("what it says of callers who pass the waypoint is said there", gone, "authorization.rule"))
    shut = replace(policy, rules=tuple(rules))
    if policy.subject.value.namespace:
        return Closed([shut], every, tuple(beside))
    known = ir.world.namespaces.keys() | {one.ref.namespace for one in members}
    made = [(shut, name) for name in sorted(behind)] + [(policy, name) for name in sorted(known - behind)]
    pods = policy.subject.value.selector
    return Closed([replace(one, subject=one.subject.holding(PodSet(name, pods))) for one, name in made], every, tuple(beside))


def _sources(items: Iterable[Rule | Fact[Any]]) -> Src:
    return frozenset[int]().union(*(item.src if isinstance(item, Fact) else item.sources for item in items))


def unseen_callers(policy: Policy, refused: list[Rule], members: list[Workload], found: Waypoints, ir: IR) -> tuple[Ref, ...]:
    """The workloads at which a deny of ztunnel names callers who come through a waypoint, and does not see them; not by the rules `refused`, which are
    about the waypoint itself."""
    numbers = {rule.number for rule in refused}
    accounts = passing(found, ir)
    naming = [rule for rule in policy.rules if rule.number not in numbers and _names(rule, accounts)]
    behind = [one for one in members if any(_on(rule, _reached(one, found, ir)) is not None for rule in naming)]
    return tuple(one.ref for one in behind)


def _reached(workload: Workload, found: Waypoints, ir: IR) -> set[int]:
    """The ports of a workload that Services behind a waypoint send to."""
    services = [service for service, _, _ in found.of(workload, ir.world)]
    return {number for service in services for known, _ in targets(service, ir.world).values() for number in known}


def _names(rule: Rule, accounts: set[tuple[str, str]]) -> bool:
    asked = [item for item in rule.conditions if item.attribute == IDENTITY]
    return bool(asked) and not any(item.any_of and all(_elsewhere(fact.value, accounts) for fact in item.any_of) for item in asked)


def passing(found: Waypoints, ir: IR) -> set[tuple[str, str]]:
    """The accounts of pods whose requests to a Service go through its waypoint."""
    pods = [one for one in ir.world.workloads if one.ref in found.ambient and not is_gateway(one)] if found.ambient else []
    return {(one.ref.namespace, one.account.value) for one in pods}


def _rule(rule: Rule, ports: Ports, accounts: set[tuple[str, str]]) -> list[Rule]:
    """A rule as one of the other ports, and as one of these for callers who do not pass the waypoint."""
    if not any(all(takes(item, port) for item in rule.conditions if item.attribute == PORT) for port in ports):
        return [rule]
    asked = next((item for item in rule.conditions if item.attribute == IDENTITY and item.any_of is not None), None)
    others = tuple(item for item in rule.conditions if item is not asked)
    if asked is None:
        src = frozenset[int]().union(*ports.values())
        beside = (*others, Condition(IDENTITY, None, (Fact(EVERYONE, src),)))
    else:
        stay = tuple(fact for fact in asked.any_of or () if _elsewhere(fact.value, accounts))
        if len(stay) == len(asked.any_of or ()):
            return [rule]
        beside = (replace(asked, any_of=stay), *others) if stay else ()
    made = [_without(rule, ports), _on(replace(rule, conditions=beside), ports.keys()) if beside else None]
    return [one for one in made if one is not None]


def _elsewhere(value: object, accounts: set[tuple[str, str]]) -> bool:
    """Whether a value of a rule is one account, and of none of the pods that pass the waypoint."""
    return isinstance(value, Identity) and value.exact and (value.namespace or "", value.service_account or "") not in accounts


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
