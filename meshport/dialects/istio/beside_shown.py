"""Pods that the bundle does not show, behind a Service whose waypoint lets through what policies of other pods admit: these do not let the waypoint in.

A waypoint does not tell the pods behind a Service apart. What hangs on the Service was held against the policies of the pods that are shown; a pod with
other labels of the Service may be under fewer of them, and a policy that lets the waypoint in there, for all that it selects, would let in what only the
others admit, or what a deny refuses that hangs on other Services.
"""

from __future__ import annotations

import copy
from typing import Any

from meshport.dialects import naming
from meshport.dialects.istio import at_services
from meshport.dialects.istio.ambient_entries import REFUSE, Entry, labels_of, together
from meshport.dialects.istio.ambient_written import Writing
from meshport.dialects.istio.rules import deep, on_port, qualified, sparing, speaks_of, within
from meshport.dialects.istio.waypoints import targets
from meshport.effective import subjects
from meshport.ir.base import PodSet, Selector
from meshport.ir.world import Service

Labels = dict[str, str]


def services(writing: Writing, entry: Entry, home: str) -> list[Service]:
    """The Services of a namespace at whose pods a policy may not let the waypoint in where these have no more labels than its own and the Service's."""
    found = [service for service, _ in _parted(writing, entry) if service.ref.namespace == home]
    if found:
        _say(writing, entry)
    return found


def letting_in(writing: Writing, entry: Entry, home: str, services: list[Service]) -> list[tuple[str, Labels]]:
    """By what labels the pods of a policy let the waypoint of their namespace in, each with a name: those behind the other Services, and shown pods behind these."""
    found = []
    for service in (one for one in entry.services if one.ref.namespace == home):
        labels = together(labels_of(entry.spec), service.selector or {})
        if service not in services and labels is not None:
            found.append((service.ref.name, labels))
    known = [
        one
        for one in entry.members
        if one.ref.namespace == home and any(one in writing.ir.world.selected(s.pods) for s in services if s.pods)
    ]
    return found + [(one.ref.name, one.own_labels) for one in known]


def held(writing: Writing, entry: Entry, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules of an allow that ztunnel holds so that they let in no waypoint of such Services."""
    where = [service for service, _ in _parted(writing, entry)] if entry.action == "ALLOW" else []
    made = []
    for rule in rules:
        gates = {writing.gates[service.ref] for service in where if _sends_to(writing, service, rule)} if not deep(rule) else set()
        names = [f"{writing.options.trust_domain}/ns/{gate.namespace}/sa/{gate.name}" for gate in sorted(gates)]
        made.append(sparing(rule, names, anybody=True) if names else rule)
    if made != rules:
        _say(writing, entry)
    return made


def _sends_to(writing: Writing, service: Service, rule: dict[str, Any]) -> bool:
    """Whether a rule may be about a port that a Service sends to; what a name stands for in pods that nobody shows is not known."""
    if any(isinstance(port.target, str) for port in service.ports):
        return True
    return any(speaks_of(rule, number) for numbers, _ in targets(service, writing.ir.world).values() for number in numbers)


def for_all(writing: Writing, entry: Entry, home: str, name: str, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the rules that keep a namespace's pods open beside a deny those for all that it selects: none where an allow closes some that nobody shows, which
    they would open. Then each shown workload gets them by its labels."""
    if entry.action not in REFUSE or not rules or not _closed_beside(writing, home, labels_of(entry.spec)):
        return rules
    for one in entry.members:
        if one.ref.namespace == home and one.own_labels:
            spec = {"selector": {"matchLabels": one.own_labels}, "action": "ALLOW", "rules": copy.deepcopy(rules)}
            writing.put(entry, naming.name(name, one.ref.name, "ports"), spec, home, [entry.src_of(rule) for rule in rules], instead=False)
    return []


def spares_gateways(writing: Writing, entry: Entry, home: str, rules: list[dict[str, Any]]) -> bool:
    """Whether one allow for all pods of a namespace closes no gateway, and opens none: where nothing else closes a gateway that a deny selects it gets an
    allow of its own. Not beside a Gateway whose pods Istio makes, nor where another allow closes the gateway and this one has rules."""
    gateways = [one for one in entry.gateways if one.ref.namespace == home]
    if any(ref.namespace == home for ref in entry.entrances) or not all(one.own_labels for one in gateways):
        return False
    allows = [policy.subject.value for policy in writing.ir.policies if policy.action.value == "allow"] if entry.action in REFUSE else []
    shut = [one for one in gateways if any(pods.contains(home, one.labels) for pods in allows)]
    if shut and rules:
        return False
    for one in gateways if entry.action in REFUSE else ():
        if one not in shut:
            spec = {"selector": {"matchLabels": one.own_labels}, "action": "ALLOW", "rules": [{}]}
            writing.put(entry, naming.name(one.ref.name, "as-before"), spec, home, instead=False)
    return True


def _parted(writing: Writing, entry: Entry) -> list[tuple[Service, Labels]]:
    """The Services at whose pods a policy may not let the waypoint in where these have no more labels than its own and the Service's: with these labels."""
    if id(entry) in writing.parted:
        return writing.parted[id(entry)]
    found: list[tuple[Service, Labels]] = []
    for service in (writing.ir.world.services[ref] for ref in sorted(writing.gates)):
        home = service.ref.namespace
        if service.selector is None or home not in (entry.ref.namespace, *_everywhere(writing, entry, home)):
            continue
        labels = together(labels_of(entry.spec), service.selector)
        others = [one for one in writing.hung.get(service.ref, ()) if labels is not None and not _over(one, labels)]
        refused = entry.action in REFUSE and any(map(entry.deep, entry.rules)) and all(one.ref != service.ref for one in entry.services)
        refused = refused or (labels is not None and service in entry.services and _open_at(writing, entry, service, labels))
        if labels is None or not (others or refused) or writing.ir.world.shows(PodSet(home, Selector.of(labels))):
            continue
        if refused or any(_lets_in_more(writing, other, service, labels) for other in others):
            found.append((service, labels))
    writing.parted[id(entry)] = found
    return found


def _closed_beside(writing: Writing, home: str, labels: Labels) -> bool:
    """Whether an allow closes some of the pods with these labels that the bundle may not show, and not all of them."""
    places = home, writing.options.root_namespace
    for one in (item for item in writing.entries if item.action == "ALLOW" and item.ref.namespace in places and {} not in item.rules):
        more = together(labels, labels_of(one.spec))
        if more is not None and not _over(one, labels) and not writing.ir.world.shows(PodSet(home, Selector.of(more))):
            return True
    return False


def _open_at(writing: Writing, entry: Entry, service: Service, labels: Labels) -> bool:
    """Whether the waypoint of a Service that a deny hangs on lets in all others, though an allow closes some of its pods that nobody shows."""
    home = service.ref.namespace
    return entry.action in REFUSE and not writing.hung.get(service.ref) and _closed_beside(writing, home, labels)


def _everywhere(writing: Writing, entry: Entry, home: str) -> tuple[str, ...]:
    return (home,) if entry.ref.namespace == writing.options.root_namespace else ()


def _over(entry: Entry, labels: Labels) -> bool:
    """Whether a policy is for all pods with these labels."""
    return labels_of(entry.spec).items() <= labels.items()


def _lets_in_more(writing: Writing, other: Entry, service: Service, labels: Labels) -> bool:
    """Whether an allow that hangs on a Service lets in somebody whom those of pods with these labels do not; without one they are open."""
    homes = service.ref.namespace, writing.options.root_namespace
    own = [one for one in writing.entries if one.action == "ALLOW" and one.ref.namespace in homes and _over(one, labels)]
    admitted = [rule for one in own for rule in _rules(writing, one, service)]
    for port in (port.number for port in service.ports if port.protocol == "TCP"):
        there = [said for rule in admitted if (said := on_port(rule, port)) is not None]
        asked = [said for rule in _rules(writing, other, service) if (said := on_port(rule, port)) is not None]
        if own and any(not any(within(rule, one) for one in there) for rule in asked):
            return True
    return False


def _rules(writing: Writing, entry: Entry, service: Service) -> list[dict[str, Any]]:
    made = [at_services.for_service(writing, entry, rule, service, aloud=False) for rule in entry.rules]
    return [qualified(rule, entry.ref.namespace) for rule in made if rule is not None]


def _say(writing: Writing, entry: Entry) -> None:
    if id(entry) in writing.told:
        return
    writing.told.add(id(entry))
    where = writing.parted[id(entry)]
    names = ", ".join(str(service.ref) for service, _ in where)
    reason = f"pods that the input does not show may be behind {names} and under fewer policies than those that it shows, and a waypoint does not tell pods apart"
    outcome = "the waypoint is let in at shown pods alone"
    found = writing.finding("MP244", entry, entry.members, object=entry.named, severity="info", reason=reason, outcome=outcome)
    found.affects = tuple(subjects.unseen(PodSet(service.ref.namespace, Selector.of(labels))) for service, labels in where)
