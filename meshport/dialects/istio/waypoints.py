"""Istio's ambient data plane, read: which pods have ztunnel instead of a sidecar, and which Services stand behind a waypoint (Istio reference 6).

Two proxies judge a request there. The waypoint of a Service judges by HTTP what the caller may do, and hands on under its own account; ztunnel in front of
the pod judges connections alone. So a policy attached to the Service speaks of its pods, and a rule for ztunnel that admits the waypoint is how the
waypoint's callers come in. Whoever knows the pod's address reaches it past the waypoint: there ztunnel's policy is all there is.
https://istio.io/latest/docs/ambient/usage/waypoint/
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from meshport.dialects.cursor import Cursor
from meshport.dialects.istio import auto_mtls
from meshport.documents import Document
from meshport.ir.authorization import (
    IDENTITY,
    PORT,
    SOURCE_IP,
    Condition,
    Policy,
    Rule,
)
from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Src, sources
from meshport.ir.model import IR, Loss
from meshport.ir.world import Namespace, Service, Workload, World
from meshport.mapping.bound import Bound
from meshport.values.identities import EVERYONE, Identity, IdentityGlob

CLASS = "istio-waypoint"
MODE = "istio.io/dataplane-mode"
USE = "istio.io/use-waypoint"
USE_NAMESPACE = "istio.io/use-waypoint-namespace"
FOR = "istio.io/waypoint-for"
ENTERING = "istio.io/ingress-use-waypoint"


@dataclass(frozen=True, slots=True)
class Waypoint:
    """A waypoint. `serves` is service, workload, all or none; `document` is None where the bundle has no Gateway of that name."""

    ref: Ref
    serves: str
    document: int | None
    src: Src = NOWHERE  # what says that there is one, and what it is for

    def identity(self, trust_domain: str) -> Identity:
        """The account that it hands requests on under: the controller names it as the Gateway."""
        return Identity(trust_domain, self.ref.namespace, self.ref.name)

    def named_by(self, value: object, trust_domain: str) -> bool:
        """Whether a value of a rule is this account and no other, in any trust domain or in the mesh's."""
        return value in (self.identity(trust_domain), Identity(None, self.ref.namespace, self.ref.name))

    def covered_by(self, value: object, trust_domain: str) -> bool:
        """Whether this account is among those that a value of a rule stands for."""
        return isinstance(value, Identity) and value.covers(self.identity(trust_domain))

    def may_be(self, value: object, trust_domain: str) -> bool:
        """Whether this account may be among those that a value of a rule stands for, a pattern among them."""
        if isinstance(value, IdentityGlob):
            return fnmatchcase(f"{trust_domain}/ns/{self.ref.namespace}/sa/{self.ref.name}", value.text)
        return self.covered_by(value, trust_domain)

    @property
    def of_services(self) -> bool:
        return self.serves in ("service", "all")

    @property
    def of_workloads(self) -> bool:
        return self.serves in ("workload", "all")


@dataclass(frozen=True, slots=True)
class Admitted:
    """A rule for ztunnel that lets waypoints in, on ports that these conditions take."""

    gates: frozenset[Ref]
    ports: tuple[Condition, ...]
    src: Src


@dataclass(slots=True)
class Waypoints:
    """The waypoints of a bundle, the Services behind them with the leaves that put them there, and the pods that ztunnel stands in front of."""

    known: dict[Ref, Waypoint] = field(default_factory=dict)
    behind: dict[Ref, tuple[Waypoint, Src]] = field(default_factory=dict)
    entries: dict[Ref, tuple[Waypoint, Src]] = field(default_factory=dict)  # the ServiceEntries behind them likewise
    ambient: set[Ref] = field(default_factory=set)  # the workloads, by name
    entered: bool = False  # whether the bundle has a gateway, which goes past waypoints
    entrances: list[tuple[str, str]] = field(default_factory=list)  # the accounts of Gateways' pods, by namespace
    entering: set[Ref] = field(default_factory=set)  # the Services whose waypoint gateways go through
    before: dict[Ref, Waypoint] = field(
        default_factory=dict
    )  # the waypoints that requests of ambient callers to the addresses of workloads go through

    def of(self, workload: Workload, world: World) -> list[tuple[Service, Waypoint, Src]]:
        """The Services in front of a workload that requests reach through a waypoint."""
        return [(service, *self.behind[service.ref]) for service in world.services_of(workload) if service.ref in self.behind]

    def using(self, gateway: Ref) -> list[Ref]:
        """The Services behind one waypoint."""
        return sorted(ref for ref, (waypoint, _) in self.behind.items() if waypoint.ref == gateway)


def is_waypoint(value: object) -> bool:
    """Whether a manifest is the Gateway of a waypoint."""
    spec = value.get("spec") if isinstance(value, dict) and value.get("kind") == "Gateway" else None
    return isinstance(spec, dict) and str(spec.get("gatewayClassName", "")).startswith(CLASS)


def is_gateway(workload: Workload) -> bool:
    """Whether the pods are a gateway, by themselves or by injection: they have a proxy and nothing else, and ztunnel does not take its place
    (istio.io/latest/docs/setup/additional-setup/gateway)."""
    return workload.alone or "gateway" in [word.strip() for word in workload.annotations.get("inject.istio.io/templates", "").split(",")]


def unread(rules: Ref, service: Fact[Ref] | None, *more: str) -> bool:
    """Whether rules for a Service stand in a namespace that its waypoint does not look into: another than the Service's own, and `more`."""
    return service is not None and rules.namespace not in (service.value.namespace, *more)


def injected(world: World, workload: Workload) -> bool:
    """Whether the labels of a workload and of its namespace give its pods a sidecar; `istio-injection: disabled` is the last word."""
    home = world.namespaces.get(workload.ref.namespace)
    asked = workload.labels.get("sidecar.istio.io/inject", workload.annotations.get("sidecar.istio.io/inject", "")).lower()
    if workload.host_network or asked == "false" or (home is not None and home.labels.get("istio-injection") == "disabled"):
        return False
    return asked == "true" or (home is not None and injecting(home))


def ambient(world: World, workload: Workload) -> bool:
    """Whether ztunnel stands in front of a workload's pods: a sidecar and the host's network come first (tools/install-cni in istio/istio leaves pods with a
    sidecar alone, whatever they are labelled with), and the pod's word before the namespace's. Pods that are a gateway keep their own proxy."""
    home = world.namespaces.get(workload.ref.namespace)
    if workload.host_network or is_gateway(workload) or injected(world, workload):
        return False
    return workload.labels.get(MODE, home.labels.get(MODE) if home is not None else None) == "ambient"


def in_ambient(namespace: Namespace) -> bool:
    """Whether a namespace enrols its pods without a sidecar."""
    return namespace.labels.get(MODE) == "ambient" and not injecting(namespace)


def injecting(namespace: Namespace) -> bool:
    """Whether pods of a namespace get a sidecar where they say nothing themselves."""
    return namespace.labels.get("istio-injection", "enabled" if "istio.io/rev" in namespace.labels else "") == "enabled"


def without_sidecars(world: World, found: Waypoints) -> bool:
    """Whether the clients in the mesh are known to have ztunnel alone."""
    namespaces = world.namespaces.values()
    if not found.ambient and not any(map(in_ambient, namespaces)):
        return False
    if any(item.meshed is not None and item.meshed.value and not in_ambient(item) for item in namespaces):
        return False
    pods = [item for item in world.workloads if item.ref not in found.ambient and not is_gateway(item)]
    return all(world.meshed(item) is False for item in pods)


def lift(bound: Bound, ir: IR, default_namespace: str) -> Waypoints:
    """The waypoints and who is behind them. What the Gateways say of themselves is told once: another data plane needs none."""
    found = read(bound, ir.world, default_namespace)
    for ref, waypoint in sorted(found.known.items()):
        if waypoint.document is not None:
            whole = Cursor.root(bound, waypoint.document).src
            used = sources(*(src - waypoint.src for gate, src in found.behind.values() if gate.ref == ref))  # the labels that name it
            facts = tuple(Fact(ref.name, src, "membership.waypoint") for src in (whole, used))
            ir.losses.append(Loss("MP705", facts, waypoint.document, {"waypoint": str(ref)}))
    _modes(ir, found)
    return found


def read(bound: Bound, world: World, default_namespace: str) -> Waypoints:
    """The waypoints of a bundle and who is behind them."""
    found = Waypoints()
    for number, document in enumerate(bound.bundle.documents):
        if number in bound.broken or not is_waypoint(document.value):
            if document.kind == "Gateway" and number not in bound.broken:
                found.entered = True
                found.entrances += _account(document, default_namespace)
            continue
        root = Cursor.root(bound, number)
        serves = root.at("metadata", "labels").text(FOR)
        ref = Ref(document.namespace or default_namespace, document.name)
        found.known[ref] = Waypoint(ref, serves.value if serves is not None else "service", number, root.at("metadata", "name").src)
    found.ambient = {workload.ref for workload in world.workloads if ambient(world, workload)}
    for service in world.services.values():
        used = _used(bound, world, service.ref.namespace, Cursor.root(bound, service.document).at("metadata", "labels"))
        if used is None:
            continue
        ref, src = used
        waypoint = found.known.get(ref) or Waypoint(ref, "service", None)
        if waypoint.of_services and not service.headless and not service.external_name:  # only what is sent to its address passes one
            found.behind[service.ref] = (waypoint, src | waypoint.src)
            if _entering(world, service, bound):
                found.entering.add(service.ref)
    for number, document in enumerate(bound.bundle.documents):
        if (document.group, document.kind) == ("networking.istio.io", "ServiceEntry") and number not in bound.broken:
            ref = Ref(document.namespace or default_namespace, document.name)
            used = _used(bound, world, ref.namespace, Cursor.root(bound, number).at("metadata", "labels"))
            gate = found.known.get(used[0], Waypoint(used[0], "service", None)) if used is not None else None
            if used is not None and gate is not None and gate.of_services:
                found.entries[ref] = (gate, used[1] | gate.src)
    for workload in world.workloads if any(waypoint.of_workloads for waypoint in found.known.values()) else ():
        used = _used(
            bound, world, workload.ref.namespace, Cursor.root(bound, workload.document).at(*workload.template, "metadata", "labels")
        )
        gate = found.known.get(used[0]) if used is not None else None
        if gate is not None and gate.of_workloads:  # whatever proxy the pods have (istio/ztunnel, src/proxy/outbound.rs)
            found.before[workload.ref] = gate
    return found


def _account(document: Document, default_namespace: str) -> list[tuple[str, str]]:
    """The account that the pods of a Gateway run under where Istio makes them (istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api)."""
    spec = document.value.get("spec")
    made = isinstance(spec, dict) and document.group.endswith(".k8s.io") and spec.get("gatewayClassName") == "istio"
    return [(document.namespace or default_namespace, f"{document.name}-istio")] if made else []


def _entering(world: World, service: Service, bound: Bound) -> bool:
    """Whether gateways go through the waypoint of a Service: its own label, else its namespace's (since 1.25)."""
    home = world.namespaces.get(service.ref.namespace)
    places = [service.document, *([home.document] if home is not None else [])]
    said = [label.value for number in places if (label := Cursor.root(bound, number).at("metadata", "labels").text(ENTERING)) is not None]
    return said[:1] == ["true"]


def _used(bound: Bound, world: World, home_namespace: str, own: Cursor) -> tuple[Ref, Src] | None:
    """The waypoint that the labels of a Service or a pod name, or its namespace for it; `none` is a word against the namespace's."""
    places = [own]
    namespace = world.namespaces.get(home_namespace)
    if namespace is not None:
        places.append(Cursor.root(bound, namespace.document).at("metadata", "labels"))
    for labels in places:
        name = labels.text(USE)
        if name is None:
            continue
        home = labels.text(USE_NAMESPACE)
        if name.value == "none":
            return None
        return Ref(home.value if home is not None else home_namespace, name.value), name.src | sources(home)
    return None


def _modes(ir: IR, found: Waypoints) -> None:
    """ztunnel takes encrypted traffic whatever PeerAuthentication says: DISABLE is PERMISSIVE there, also where it holds for pods with a sidecar too."""
    ir.tunnelled = frozenset(found.ambient)
    for number, rule in enumerate(ir.transport):
        members = [workload for workload in ir.world.selected(rule.subject.value) if ir.world.meshed(workload) is not False]
        said = [fact for fact in (rule.mode, *rule.ports.values()) if fact is not None and fact.value == "disable"]
        if not said or not (
            all(one.ref in found.ambient for one in members) if members else unseen_in_ambient(rule.subject.value, ir.world)
        ):
            continue
        # a policy without a mode is looked into for ports that say PERMISSIVE alone (istio/istio, ambient/authorization.go convertedSelectorPeerAuthentications)
        unheard: dict[int | None, Fact[str]] = {}
        if rule.mode is None and "permissive" not in {fact.value for fact in rule.ports.values()}:
            unheard.update(
                (port, fact) for port, fact in rule.ports.items() if fact.value == "disable" and fact.feature != auto_mtls.FEATURE
            )
        ir.transport[number] = replace(
            rule,
            mode=_permissive(rule.mode) if rule.mode is not None else None,
            ports={port: _permissive(fact) for port, fact in rule.ports.items() if port not in unheard},
            inheriting={**rule.inheriting, **unheard},
        )
        if written := tuple(fact for fact in said if fact.feature != auto_mtls.FEATURE):
            what = "goes by the mode of the namespace or the mesh" if unheard else "accepts encrypted traffic and plaintext"
            ir.losses.append(Loss("MP111", written, rule.document, {"what": what}))


def unseen_in_ambient(pods: PodSet, world: World) -> bool:
    """Whether pods of which the bundle shows none have ztunnel: all the namespaces that they are in give them that."""
    homes = [
        home for name, home in world.namespaces.items() if pods.namespace in ("", name) and home.meshed is not None and home.meshed.value
    ]
    return bool(homes) and all(map(in_ambient, homes)) and not world.selected(pods)


def _permissive(mode: Fact[str]) -> Fact[str]:
    return mode.holding("permissive") if mode.value == "disable" else mode


# -- policies at a waypoint


def attached(found: Waypoints, ir: IR, policy: Policy, target: Ref, named: Src) -> Policy | None:
    """A policy that hangs on a Service, as one of the pods behind it; None where no waypoint enforces it or nothing is known of the pods."""
    service = ir.world.services.get(target)
    if service is None or service.pods is None or target not in found.behind:
        return None
    _, src = found.behind[target]
    placed = [(rule, _on_pods(rule, service, ir.world)) for rule in policy.rules]
    rules = tuple(made for _, made in placed if made is not None)
    ir.idle += [
        Fact("the Service has none of the ports that the rule names", rule.sources, "authorization.rule")
        for rule, made in placed
        if made is None
    ]
    subject = Fact(service.pods, named | src | service.pods_src, "authorization.subject")
    return replace(policy, subject=subject, rules=rules)


def targets(service: Service, world: World) -> dict[int, tuple[set[int], Src]]:
    """Container ports by the port of a Service, with the leaves that decide it; without ports whose name no pod declares."""
    found: dict[int, tuple[set[int], Src]] = {}
    members = world.selected(service.pods) if service.pods is not None else []
    for port in service.ports:
        if port.protocol != "TCP":
            continue
        numbers = {port.target} if isinstance(port.target, int) else {world.target_number(workload, port) for workload in members}
        known = {number for number in numbers if number is not None}
        if known:
            found[port.number] = (known, port.target_src)
    return found


def _on_pods(rule: Rule, service: Service, world: World) -> Rule | None:
    """A rule about ports of the Service as one about ports of its pods: those that the Service sends to, and no others."""
    ports = targets(service, world)
    if not ports:
        return rule
    asked = [condition for condition in rule.conditions if condition.attribute == PORT]
    chosen = {number for number in ports if all(takes(condition, number) for condition in asked)}
    if not chosen:
        return None
    src = sources(*(condition.sources for condition in asked))
    if asked:  # the numbers of the Service decide only where a rule names them
        src |= frozenset(leaf for port in service.ports if port.number in chosen for leaf in port.number_src)
    reached = sorted({(target, ports[number][1]) for number in chosen for target in ports[number][0]}, key=lambda item: item[0])
    condition = Condition(PORT, tuple(Fact((target, target), origin | src) for target, origin in reached))
    return replace(rule, conditions=(*(item for item in rule.conditions if item.attribute != PORT), condition))


def takes(condition: Condition, number: int) -> bool:
    inside = condition.any_of is None or any(low <= number <= high for low, high in (fact.value for fact in condition.any_of))
    return inside and not any(low <= number <= high for low, high in (fact.value for fact in condition.none_of))


# -- policies at ztunnel


def without_waypoint(
    policy: Policy, members: list[Workload], found: Waypoints, ir: IR, trust_domain: str, closed: set[Ref]
) -> tuple[Policy, list[tuple[Ref, Policy]], list[Admitted], list[Fact[Any]]]:
    """(the policy as one for callers, what comes in through waypoints, the rules that admit a waypoint, what admits one by its address, which nobody knows).

    A rule that admits the waypoint stands for what the waypoint lets through: that is said by what hangs on the Services in `closed`, and it is every
    identity for the pods of those on which nothing hangs."""
    behind = {service.ref: (service, waypoint) for workload in members for service, waypoint, _ in found.of(workload, ir.world)}
    if not behind:
        return policy, [], [], []
    gates = [waypoint for _, waypoint in behind.values()]
    rules: list[Rule] = []
    through: list[tuple[Ref, Policy]] = []
    admitted: list[Admitted] = []
    unplaced: list[Fact[Any]] = []
    for rule in policy.rules:
        asked = next((condition for condition in rule.conditions if condition.attribute == IDENTITY and condition.any_of is not None), None)
        peers = asked.any_of or () if asked is not None else ()
        inside = [fact for fact in peers if any(gate.covered_by(fact.value, trust_domain) for gate in gates)]
        if asked is None or not inside or any(gate.covered_by(fact.value, trust_domain) for fact in asked.none_of for gate in gates):
            rules.append(rule)
            if all(condition.attribute == PORT for condition in rule.conditions):  # whoever it is
                admitted.append(Admitted(frozenset(gate.ref for gate in gates), rule.conditions, NOWHERE))
            continue
        src = sources(*inside)
        rest = tuple(fact for fact in peers if not any(gate.named_by(fact.value, trust_domain) for gate in gates))
        others = tuple(condition for condition in rule.conditions if condition is not asked)
        if len(rest) < len(peers) and (places := [condition for condition in others if condition.attribute == SOURCE_IP]):
            unplaced += [fact for fact in peers if fact not in rest]
            unplaced += [Fact(condition.attribute, condition.sources, "authorization.condition") for condition in places]
            inside = [fact for fact in inside if fact in rest]
        if all(condition.attribute == PORT for condition in others):
            let_in = frozenset(gate.ref for gate in gates if any(gate.covered_by(fact.value, trust_domain) for fact in inside))
            admitted.append(Admitted(let_in, others, src | rule.src))
        if rest:
            rules.append(replace(rule, conditions=(Condition(IDENTITY, rest, asked.none_of, asked.src), *others)))
        for ref, (service, waypoint) in sorted(behind.items()):
            if ref in closed or service.pods is None or not any(waypoint.covered_by(fact.value, trust_domain) for fact in inside):
                continue
            ports = _on_pods(Rule((), number=rule.number, src=rule.src), service, ir.world)
            if ports is not None:
                everyone = Condition(IDENTITY, (Fact(EVERYONE, src),), asked.none_of)
                made = replace(rule, conditions=(everyone, *others, *ports.conditions))
                behind_it = [one for one in members if any(item is service for item in ir.world.services_of(one))]
                own = {one.ref: _numbers(one, service, ir.world) for one in ir.world.selected(service.pods)}
                alike = len(behind_it) == len(own) and len(set(own.values())) == 1
                for pods in [service.pods] if alike or not behind_it else dict.fromkeys(one.pods for one in behind_it):
                    subject = Fact(pods, policy.subject.src | service.pods_src, policy.subject.feature)
                    there = [own[one.ref] for one in ir.world.selected(pods) if one.ref in own]
                    said = _common(made, there)
                    if said is not None:
                        through.append((ref, replace(policy, subject=subject, rules=(said,))))
                    if said != _common(made, [frozenset().union(*there)] if there else []):
                        _say_uneven(policy, service, pods, ir)
    return replace(policy, rules=tuple(rules)), through, admitted, unplaced


def _numbers(workload: Workload, service: Service, world: World) -> frozenset[int | None]:
    """The ports at which a Service reaches the pods of a workload: a port that it gives by name is another, or none, at pods that declare it otherwise."""
    return frozenset(world.target_number(workload, port) for port in service.ports if port.protocol == "TCP")


def _common(rule: Rule, reached: list[frozenset[int | None]]) -> Rule | None:
    """A rule about ports of pods on those that are reached at each of them; None where there are none."""
    held = [
        replace(item, any_of=tuple(fact for fact in item.any_of if all(fact.value[0] in numbers for numbers in reached)))
        if item.attribute == PORT and item.any_of is not None
        else item
        for item in rule.conditions
    ]
    return replace(rule, conditions=tuple(held)) if all(item.any_of != () for item in held) else None


def _say_uneven(policy: Policy, service: Service, pods: PodSet, ir: IR) -> None:
    said = {
        "object": f"AuthorizationPolicy {policy.ref.value}",
        "reason": f"Service {service.ref} gives a port by name that is not the same at all pods with the labels {pods.selector}",
        "outcome": "what comes in there through the waypoint is refused",
    }
    ir.losses.append(Loss("MP244", (), policy.document, said, tuple(one.ref for one in ir.world.selected(pods))))


def refusing(
    policy: Policy, members: list[Workload], found: Waypoints, ir: IR, trust_domain: str
) -> tuple[Policy, list[Policy], list[Rule]]:
    """(a deny in the callers' names, what it refuses besides, its rules that refuse a waypoint). Such a rule refuses all that come through the waypoint, whoever
    they are: it is one for everybody on the ports that the waypoint sends to. An exception for the waypoint is none for a caller. The address of a waypoint
    is not known: it is among those that a rule names beside the waypoint, and not among those of any other rule."""
    behind = [(workload, service, gate) for workload in members for service, gate, _ in found.of(workload, ir.world)]
    gates = {gate.ref: gate for _, _, gate in behind}.values()
    rules: list[Rule] = []
    refused: list[Rule] = []
    shut: dict[Ref, list[Rule]] = {}
    spared: Src = NOWHERE
    for rule in policy.rules:
        asked = [condition for condition in rule.conditions if condition.attribute == IDENTITY]
        if not asked or not gates:
            rules.append(rule)
            continue
        kept = [
            replace(
                item, none_of=tuple(fact for fact in item.none_of if not any(gate.named_by(fact.value, trust_domain) for gate in gates))
            )
            if item.attribute == IDENTITY
            else item
            for item in rule.conditions
        ]
        spared |= sources(
            *(fact for item in asked for fact in item.none_of if any(gate.named_by(fact.value, trust_domain) for gate in gates))
        )
        rules.append(replace(rule, conditions=tuple(item for item in kept if item.any_of is not None or item.none_of)))
        stopped = {gate.ref for gate in gates if _meets(asked, gate, trust_domain)}
        if any(item.attribute == SOURCE_IP and item.any_of is not None for item in rule.conditions):
            named = [fact.value for item in asked for fact in item.any_of or ()]  # an address may be that of a waypoint that is named
            stopped &= {gate.ref for gate in gates if any(gate.named_by(value, trust_domain) for value in named)}
        others = tuple(item for item in rule.conditions if item.attribute not in (IDENTITY, SOURCE_IP))
        for workload, service, gate in behind:
            if gate.ref in stopped and (made := _reaching(replace(rule, conditions=others), service, ir.world)) is not None:
                shut.setdefault(workload.ref, []).append(made)
        refused += [rule] if stopped else []
    action = policy.action.also(spared) if spared else policy.action
    beside = [
        replace(policy, subject=policy.subject.holding(workload.pods), rules=tuple(shut[workload.ref]))
        for workload in members
        if workload.ref in shut
    ]
    return replace(policy, action=action, rules=tuple(rules)), beside, refused


def _meets(asked: list[Condition], gate: Waypoint, trust_domain: str) -> bool:
    """Whether demands on callers take a waypoint."""
    return all(
        (condition.any_of is None or any(gate.may_be(fact.value, trust_domain) for fact in condition.any_of))
        and not any(gate.covered_by(fact.value, trust_domain) for fact in condition.none_of)
        for condition in asked
    )


def _reaching(rule: Rule, service: Service, world: World) -> Rule | None:
    """A rule about ports of pods on those alone that a Service sends to; None where it takes none of them."""
    asked = [item for item in rule.conditions if item.attribute == PORT]
    reached = {number: src for known, src in targets(service, world).values() for number in known}
    chosen = [number for number in sorted(reached) if all(takes(item, number) for item in asked)]
    ports = Condition(PORT, tuple(Fact((number, number), reached[number] | service.pods_src) for number in chosen))
    return replace(rule, conditions=(*(item for item in rule.conditions if item.attribute != PORT), ports)) if chosen else None


def subject_of(pods: PodSet, found: Waypoints, ir: IR) -> tuple[list[Workload], list[Workload]]:
    """(the selected workloads with ztunnel, those with a sidecar), those outside the mesh left out."""
    members = [workload for workload in ir.world.selected(pods) if ir.world.meshed(workload) is not False]
    with_ztunnel = [workload for workload in members if workload.ref in found.ambient]
    return with_ztunnel, [workload for workload in members if workload.ref not in found.ambient]
