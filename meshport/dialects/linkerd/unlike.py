"""Servers for pods that the bundle does not show, by the labels that its selectors tell pods apart by.

The default of their namespace closes such pods, on every port. What policies let in on ports that something names (their rules, the Services before the pods,
known pods under the same policies) is said by Servers, as it is for known pods; pods that no policy selects stay open on the ports that their namespace knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from meshport.dialects import protocols
from meshport.dialects.base import Options
from meshport.dialects.kinds import Kind, Kinds
from meshport.dialects.linkerd import servers
from meshport.dialects.linkerd.grants import Context, plan
from meshport.dialects.linkerd.selectors import set_name
from meshport.dialects.linkerd.transport import OPEN
from meshport.dialects.output import Output
from meshport.effective.access import Access, Effective, Region, port_names, ports_of
from meshport.effective.subjects import ANY_POD
from meshport.ir.authorization import PORT, Policy
from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Requirement, Selector, Src, sources
from meshport.ir.world import ContainerPort, Service, Workload
from meshport.values.ports import called_ports

FEW = 4  # ports of a namespace that pods are taken to have of which a selector alone is known
OTHERS = "other-pods"
OF_CILIUM = "io.cilium."  # labels that Cilium gives pods itself, by their accounts and clusters: no selector of Kubernetes sees them


@dataclass(slots=True)
class Fate:
    """Policies of which some pods that the bundle does not show have Servers, and those of which some have none."""

    written: set[tuple[int, PodSet]] = field(default_factory=set)
    short: set[tuple[int, PodSet]] = field(default_factory=set)

    def whole(self, policy: Policy) -> bool:
        """Whether all pods of a policy that the bundle does not show have Servers for what it says; not of one for every namespace, of which some are not known."""
        return bool(policy.subject.value.namespace) and _key(policy) in self.written - self.short


@dataclass(slots=True)
class _Kept:
    """Kinds of pods that are alike: what holds for them, and the ports to look at with what names them."""

    item: Effective
    ports: dict[int, Src]
    kinds: list[Kind] = field(default_factory=list)


def lower(
    out: Output,
    options: Options,
    access: Access,
    gateways: frozenset[Ref],
    taken: dict[str, set[str]],
    defaults: Mapping[str, tuple[str, Src]],
) -> Fate:
    """Servers for the kinds of pods of every namespace that its default closes, or of which nothing is shown but denies."""
    fate = Fate()
    for namespace, (value, src) in sorted(defaults.items()):
        denied = not access.of_namespace(namespace) and access.namespace_denies(
            namespace
        )  # where Servers of known pods refuse it, they take all
        called = any(_refuses_by_name(policy) for policy in access.reaching(namespace))
        if value == OPEN and not denied and not called:
            continue
        there = _Namespace(access, out, namespace)
        there.names_alone = value == OPEN and not denied
        if (there.parted or there.names_alone) and there.kinds.listed and not any(key.startswith(OF_CILIUM) for key in there.kinds.keys):
            _of_namespace(there, options, gateways, taken.setdefault(namespace, set()), value, src, fate)
    return fate


class _Namespace:
    """The pods of a namespace, as selectors tell them apart."""

    def __init__(self, access: Access, out: Output, name: str) -> None:
        self.access, self.out, self.name = access, out, name
        self.shown = access.of_namespace(name)
        self.names_alone = False  # whether nothing is refused to pods that are not shown but by the name of a port
        self.servers = _servers(out, name)
        self.claimed = [item.workload.claimed for item in self.shown if item.workload.claimed is not None]
        ir = access.ir
        spoken = [
            *(item.subject.value for item in ir.policies),
            *(item.subject.value for item in ir.transport),
            *(item.subject for item in ir.admissions if item.document is None),
            *(service.pods for service in ir.world.services.values() if service.pods is not None),
        ]
        selectors = [
            *(subject.selector for subject in spoken if subject.namespace in ("", name)),
            *(selector for selector, _ in self.servers),
            *self.claimed,
            *(Selector.of(item.workload.own_labels) for item in self.shown if item.workload.claimed is None),
        ]
        self.parted = not self.shown or any(not access.world.selected(one) for one in spoken if one.namespace in ("", name))
        self.kinds = Kinds([one for one in dict.fromkeys(selectors) if not one.everything], [item.workload.labels for item in self.shown])

    def pod(self, labels: dict[str, str], ports: list[ContainerPort]) -> Workload:
        """A pod of which nothing is known but its labels and ports."""
        home = self.access.world.namespaces.get(self.name)
        return Workload(
            Ref(self.name, ANY_POD), "Pod", labels, {}, Fact("default"), ports, [], home.document if home is not None else 0, (),
            bypassed=home.bypassed if home is not None else None, demanding=home.demanding if home is not None else None,
        )  # fmt: skip

    @cached_property
    def numbers(self) -> dict[int, Src]:
        """The ports that something of the namespace names."""
        found = [ports_of(self.shown, self.access.world)]
        found += [_of_services([one]) for one in self.access.world.services.values() if one.ref.namespace == self.name]
        found += [servers.mentioned(policy) for policy in self.access.reaching(self.name) if not port_names(policy.rules)]
        return _together(found)


def _servers(out: Output, namespace: str) -> list[tuple[Selector, int]]:
    """The Servers of a namespace that are written so far."""
    found = []
    for (_, kind, ref), obj in out.objects.items():
        if kind == "Server" and ref.namespace == namespace and obj.changed is None:
            chosen = obj.at(("spec", "podSelector"))
            asked = [
                Requirement(one["key"], one["operator"], tuple(one.get("values") or ())) for one in chosen.get("matchExpressions") or ()
            ]
            found.append((Selector.of(chosen.get("matchLabels") or {}, asked), obj.at(("spec", "port"))))
    return found


def _of_namespace(
    there: _Namespace, options: Options, gateways: frozenset[Ref], taken: set[str], default: str, because: Src, fate: Fate
) -> None:
    access, kinds = there.access, there.kinds
    known = {kinds.taking(one.workload.labels) for one in there.shown if one.meshed is not False}
    found: dict[object, _Kept] = {}
    others: list[Kind] = []
    for taking, group in kinds.groups().items():
        labels = kinds.labels(group[0])
        if taking in known:
            others += group
            continue
        if any(selector.accepts(labels) for selector in there.claimed):
            continue  # no such pods can be there
        item, ports = _refused(there, labels) if there.names_alone else _effective(there, labels)
        if there.names_alone and not ports:
            others += group
            continue
        if access.gateway(item.workload) or any(
            _refuses_by_name(policy) and not there.names_alone
            for policy in access.reaching(there.name)
            if _takes(policy, there.name, labels)
        ):
            others += group
            fate.short |= {_key(policy) for policy in _policies(item)}
            continue
        spoken = tuple((str(port), protocols.of_port(item.workload, port, access.world)[0]) for port in ports)
        served = frozenset(str(port) for selector, port in there.servers if selector.accepts(labels))
        key = (item.key, spoken, served)
        kept = found.setdefault(key, _Kept(item, {port: src for port, src in ports.items() if str(port) not in served}))
        kept.kinds += group
        if there.names_alone:
            fate.written |= {
                _key(policy) for policy in access.reaching(there.name) if _takes(policy, there.name, labels) and _names_ports(policy)
            }
        else:
            (fate.written if ports else fate.short).update(map(_key, _policies(item)))
    for kept in found.values():
        rest = [*others, *(kind for one in found.values() if one is not kept for kind in one.kinds)]
        for selector in kinds.select(kept.kinds, rest):
            _write(there, kept, selector, options, gateways, taken, default, because)


def _write(
    there: _Namespace,
    kept: _Kept,
    selector: Selector,
    options: Options,
    gateways: frozenset[Ref],
    taken: set[str],
    default: str,
    because: Src,
) -> None:
    item, access = kept.item, there.access
    pods = replace(item.workload, ref=Ref(there.name, ANY_POD if selector.everything else str(selector)))
    region = Region(there.name, [replace(item, workload=pods)])
    context = Context(there.out, access.world, options, gateways, region, shown=False)
    plans = [plan(context, port, src) for port, src in sorted(kept.ports.items()) if not pods.bypasses(port)]
    wanted = [one for one in plans if servers.needed(one, region, default)]
    if plans:
        servers.explain(context, plans, wanted)
    if not wanted:
        return
    closest = next((policy for policy in _policies(item) if not policy.subject.value.selector.everything), None)
    label = set_name(selector, closest.ref.value.name if closest is not None else OTHERS, taken)
    src = sources(*(policy.subject for policy in _policies(item)), closest.ref if closest is not None else None)
    for one in wanted:
        servers.write(context, one, selector, src or because, label)
    routed = [one for one in wanted if any(grant.routed for grant in one.grants)]
    if routed:
        there.out.gather(
            there.name, "MP165", document=routed[0].grants[0].document, affects=tuple(place for one in routed for place in context.affects(one.port)),
            feature="authorization.probe", namespace=there.name, listed={"servers": [f"{label}-{one.port}" for one in routed]},
        )  # fmt: skip


def _refused(there: _Namespace, labels: dict[str, str]) -> tuple[Effective, dict[int, Src]]:
    """What holds for pods of a kind that has the ports which denies name, and these ports."""
    named: dict[str, Src] = {}
    for policy in there.access.reaching(there.name):
        if _refuses_by_name(policy) and _takes(policy, there.name, labels):
            for item in (one for rule in policy.rules for one in rule.conditions if one.attribute == PORT):
                for fact in item.any_of or ():
                    if isinstance(fact.value, str):
                        named[fact.value] = named.get(fact.value, NOWHERE) | fact.src
    ports: dict[int, Src] = {port: named[port.name] for port in called_ports(named)}
    return there.access.of(there.pod(labels, [ContainerPort(port, str(port), "TCP") for port in ports])), ports


def _effective(there: _Namespace, labels: dict[str, str]) -> tuple[Effective, dict[int, Src]]:
    """What holds for pods of a kind, and the ports to look at: those that the rules of their policies name, that Services before them send to, and that known
    pods under the same policies have; of pods that no policy selects by labels, and where that is none and they are few, all that the namespace knows."""
    pod = there.pod(labels, [])
    services = there.access.world.services_of(pod)
    called = {str(port): port for port in called_ports(_names(services))}
    item = there.access.of(there.pod(labels, [ContainerPort(port, name, "TCP") for name, port in called.items()]))
    if called and not _whatever_number(item):
        called, item = {}, there.access.of(pod)
    own = [policy.subject.value for policy in _policies(item) if not policy.subject.value.selector.everything]
    near = [one for one in there.shown if one.meshed is not False and any(pods.contains(there.name, one.workload.labels) for pods in own)]
    named = _together(
        [ports_of(near, there.access.world), _of_services(services), *(servers.mentioned(policy) for policy in _policies(item))]
    )
    by_name: dict[int, Src] = {called[name]: src for name, src in _names(services).items() if name in called}
    if own and (named or by_name or len(there.numbers) > FEW):
        return item, {**named, **by_name}
    return item, {**there.numbers, **by_name}


def _names(services: list[Service]) -> dict[str, Src]:
    """The container ports that Services send to by name."""
    return {
        item.target: item.target_src for one in services for item in one.ports if isinstance(item.target, str) and item.protocol == "TCP"
    }


def _whatever_number(item: Effective) -> bool:
    """Whether a port that is known by its name alone may be opened as its pods' policies say: no deny, no mode and no exception of theirs is about the number
    that it may have. Rules that admit on some ports alone do not admit there."""
    asked = [
        fact
        for policy in _policies(item)
        for rule in policy.rules
        for condition in rule.conditions
        if condition.attribute == PORT
        for fact in (condition.none_of if policy.action.value == "allow" else condition.any_of or ())
    ]
    return not asked and not item.transport.keys() - {None} and item.workload.demanding is None


def _of_services(services: list[Service]) -> dict[int, Src]:
    """The container ports that Services send to by number."""
    return _together(
        [
            {item.target: item.target_src}
            for one in services
            for item in one.ports
            if isinstance(item.target, int) and item.protocol == "TCP"
        ]
    )


def _together(found: list[dict[int, Src]]) -> dict[int, Src]:
    """Ports with what names them; of several things that do, none decides it."""
    ports: dict[int, list[Src]] = {}
    for one in found:
        for port, src in one.items():
            ports.setdefault(port, []).append(src)
    return {port: each[0] if len(each) == 1 else NOWHERE for port, each in sorted(ports.items())}


def _policies(item: Effective) -> list[Policy]:
    return [*item.allows, *item.opened, *item.denies, *item.customs]


def _key(policy: Policy) -> tuple[int, PodSet]:
    return policy.document, policy.subject.value


def _takes(policy: Policy, namespace: str, labels: Mapping[str, str]) -> bool:
    return policy.subject.value.contains(namespace, labels)


def _refuses_by_name(policy: Policy) -> bool:
    """Whether a rule that refuses names a port by its name, which pods that nobody shows give to any number."""
    return policy.action.value != "allow" and bool(port_names(policy.rules))


def _names_ports(policy: Policy) -> bool:
    """Whether each rule of a deny is for ports by their names alone."""
    asked = [[item.any_of for item in rule.conditions if item.attribute == PORT] for rule in policy.rules]
    return _refuses_by_name(policy) and all(
        each and all(facts and all(isinstance(fact.value, str) for fact in facts) for facts in each) for each in asked
    )
