"""What a mesh says of the policies whose network half is kept beside it: who and what the network goes on telling apart is left to it (mapping decisions 3).

A mesh knows its callers by identity, and whoever has no proxy shows none: nodes and the world never do, pods of namespaces that the input does not show may not.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.cilium.kept import IN_MESH, mesh_port
from meshport.dialects.nameable import WORLD, pods_of
from meshport.dialects.output import Output
from meshport.effective.identities import label
from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected
from meshport.ir.authorization import HEADER, IDENTITY, OTHER, PORT, SOURCE_IP, Condition, Entity, Labelled, Network, Policy, Rule, is_http
from meshport.ir.base import Fact, PodSet, Selector, Src, sources
from meshport.ir.model import IR
from meshport.ir.world import Workload
from meshport.values.identities import EVERYONE, Identity
from meshport.values.ports import merge_ports, other_ports

_CLUSTER = Entity("cluster")
SHAKEN = ("l4.authentication",)
"""Features of a demand for an identity that Cilium makes by itself, beside the traffic."""


def left(ir: IR, out: Output, options: Options) -> IR:
    """The policies as the mesh has to say them beside the kept half; denies that the network goes on holding are left to it."""
    policies = []
    homes = _joining(ir)
    carried = mesh_port(options) is not None
    spoken = _spoken(ir)
    for policy in ir.policies:
        if policy.document in out.kept or (carried and policy.kind == "NetworkPolicy"):
            said = Said(policy, ir, out, options, homes, spoken)
            policy = replace(
                policy, rules=tuple(part for rule in _of_everybody(policy, beside=True) for part in said.parts(rule)), beyond=()
            )
            if not policy.rules and policy.action.value == "deny":
                out.asked_of_kept |= _named(said.policy, ir)
                continue
        policies.append(policy)
    return replace(ir, policies=policies)


def _of_everybody(policy: Policy, *, beside: bool) -> Iterator[Rule]:
    """The rules of an allow; those for the world and for the cluster are one for everybody, as no other than the network tells the pods of linked clusters from
    these. Where it goes on holding `beside` the mesh, every IPv4 address is the world."""
    cluster: dict[Hashable, Rule] = {}
    world: dict[Hashable, Rule] = {}
    for rule in policy.rules if policy.action.value == "allow" else ():
        peers, rest = _entities(rule), (rule.http, _beside_peers(rule))
        if _CLUSTER in peers and rule.condition(SOURCE_IP) is None:
            cluster.setdefault(rest, rule)
        if WORLD in peers and (_everywhere(rule.condition(SOURCE_IP)) if beside else rule.condition(SOURCE_IP) is None):
            world.setdefault(rest, rule)
    merged = {id(rule) for rest in cluster.keys() & world.keys() for rule in (cluster[rest], world[rest])}
    for rule in policy.rules:
        rest = rule.http, _beside_peers(rule)
        if id(rule) not in merged:
            yield rule
        elif cluster.get(rest) is rule:
            both = rule.sources | world[rest].sources
            said = frozenset(
                leaf
                for one in (rule, world[rest])
                for item in one.conditions
                if item.attribute in (IDENTITY, SOURCE_IP)
                for leaf in item.sources
            )
            yield replace(rule, conditions=(Condition(IDENTITY, None, (), said), *rest[1]), src=both)


def _beside_peers(rule: Rule) -> tuple[Condition, ...]:
    return tuple(item for item in rule.conditions if item.attribute not in (IDENTITY, SOURCE_IP))


def _entities(rule: Rule) -> frozenset[Entity]:
    named = rule.condition(IDENTITY)
    facts = named.any_of or () if named is not None and not named.none_of else ()
    return frozenset(fact.value for fact in facts if isinstance(fact.value, Entity) and fact.feature not in SHAKEN)


def _everywhere(addresses: Condition | None) -> bool:
    """Whether a rule asks for no address, or for any."""
    return addresses is None or any(
        isinstance(fact.value, Network) and fact.value.cidr == "0.0.0.0/0" and not fact.value.excluded for fact in addresses.any_of or ()
    )


def _joining(ir: IR) -> set[str]:
    """The namespaces that join the mesh: those that the input shows workloads of, and those that its policies are for."""
    return {*ir.world.homes(), *(policy.subject.value.namespace for policy in ir.policies)} - ir.world.apart


def replaced(ir: IR, out: Output, options: Options) -> IR:
    """The policies as a mesh says them that takes the place of network policy."""
    asked(ir, out, options)
    if _linked(ir):
        return ir
    return replace(ir, policies=[replace(policy, rules=tuple(_of_everybody(policy, beside=False))) for policy in ir.policies])


def _linked(ir: IR) -> bool:
    """Whether other clusters are linked to this one, whose pods are neither in the cluster nor of the world."""
    settings = {item.path: item.value.value for item in ir.settings if item.chart == "cilium"}
    return bool(ir.shared or settings.get("clustermesh.useAPIServer") or str(settings.get("cluster.id") or 0) != "0")


def asked(ir: IR, out: Output, options: Options) -> None:
    """Say which callers are asked for an identity, where the mesh takes the place of network policy and nobody knows whether they have a proxy."""
    homes, spoken = _joining(ir), _spoken(ir)
    for policy in ir.policies:
        said = Said(policy, ir, out, options, homes, spoken)
        for rule in policy.rules if policy.action.value == "allow" else ():
            said.asks(rule)


@dataclass(slots=True)
class Said:
    """The mesh's half of one policy."""

    policy: Policy
    ir: IR
    out: Output
    options: Options
    joining: set[str]  # namespaces that join the mesh
    spoken: frozenset[int]  # the ports that are known of any pod, on which access is compared

    def parts(self, rule: Rule) -> tuple[Rule, ...]:
        """A rule for callers as the mesh knows them, and beside it what it says of callers without an identity."""
        condition = rule.condition(IDENTITY)
        if self.policy.action.value == "deny" and self._denied(rule):
            return ()
        if self.policy.action.value != "allow" or condition is None or not condition.any_of:
            return (rule,)
        if _shaken(rule):
            return (rule,)
        peers = [fact.value for fact in condition.any_of]
        rest = tuple(item for item in rule.conditions if item is not condition)
        if all(isinstance(peer, Entity) and peer.name not in IN_MESH for peer in peers):
            return self._of_nobody(rule, condition, rest)
        strange = [fact for fact in condition.any_of if self._may_lack_a_proxy(fact.value)]
        # where proxies carry every port on one of their own, the network sees which pods call, and no more for which port
        seen = mesh_port(self.options) is None or not _ported(self.policy, self.ir)
        if strange and seen and not rule.http and not _http_there(rule, self.policy, self.ir):
            # a rule without any demand would close nothing
            every = Condition(PORT, (Fact((1, 65535), sources(*condition.any_of)),))
            return (replace(rule, conditions=rest or (every,), src=rule.sources),)
        if not any(_may_have_a_proxy(peer) for peer in peers):
            return self._of_nobody(rule, condition, rest)
        pods = [fact for fact in strange if not isinstance(fact.value, Entity) and not self._account_missing(fact.value)]
        if not pods:
            return (rule,)
        if self.options.target != "istio" or mesh_port(self.options) is not None or _meshed_peers(self.policy, self.ir, rule, beside=rest):
            accounts = [fact for fact in pods if isinstance(fact.value, Identity)]
            if accounts:  # of labels the lowering says that it has no account for them
                self._tell("MP179", accounts, rule)
            return (rule,)
        outside = _without_identity(condition)
        known = tuple(fact for fact in condition.any_of if fact not in pods or isinstance(fact.value, Identity))
        if len(known) < len(condition.any_of):
            self._tell("MP174", [fact for fact in pods if fact not in known], rule)
        named = (replace(rule, conditions=(replace(condition, any_of=known), *rest)),) if known else ()
        return (*named, replace(rule, conditions=(outside, *rest), src=rule.sources))

    def asks(self, rule: Rule) -> None:
        """Say which accounts and namespaces of a rule may be in no mesh."""
        condition = rule.condition(IDENTITY)
        peers = [fact for fact in (condition.any_of if condition is not None else None) or () if isinstance(fact.value, Identity)]
        strange = [fact for fact in peers if self._may_lack_a_proxy(fact.value)]
        if strange:
            self._tell("MP179", strange, rule)

    def _denied(self, rule: Rule) -> bool:
        """Whether the network refuses all that a deny is about, before a proxy sees it. A waypoint comes between, and shows the network itself as the caller;
        Linkerd's proxies carry ports that the network does not see, and a Server is written for ports that some rule names."""
        if self.options.data_plane == "ambient" or (self.options.target == "linkerd" and rule.condition(PORT) is not None):
            return False
        return all(item.attribute in (IDENTITY, SOURCE_IP, PORT) for item in rule.conditions)

    def _of_nobody(self, rule: Rule, condition: Condition, rest: tuple[Condition, ...]) -> tuple[Rule, ...]:
        """A rule for peers that never have a proxy: the network lets in nobody else on this port, and such a peer shows the mesh no identity.

        Where peers in the cluster come to the same ports with less asked of them by the network, the mesh has to tell them apart, and the rule stays as it is."""
        if not _meshed_peers(self.policy, self.ir, rule if mesh_port(self.options) is None else None):
            return (self._unnamed(rule, condition, rest),)
        apart = self._apart(rule)
        if apart is None:
            return (rule,)
        there, elsewhere = apart
        others = tuple(item for item in rest if item.attribute != PORT)
        return (
            replace(rule, conditions=(condition, there, *others)),
            self._unnamed(replace(rule, conditions=(condition, elsewhere, *others)), condition, (elsewhere, *others)),
        )

    def _unnamed(self, rule: Rule, condition: Condition, rest: tuple[Condition, ...]) -> Rule:
        if self.options.target == "linkerd":
            return replace(rule, conditions=tuple(item for item in rest if item.attribute != HEADER + ":path"), src=rule.sources)
        return replace(rule, conditions=(_without_identity(condition), *rest))

    def _apart(self, rule: Rule) -> tuple[Condition, Condition] | None:
        """The ports of a rule on which others ask for HTTP, and its other ones; None where there is none of either, or where they are not known by number."""
        behind = self.ir.world.selected(self.policy.subject.value)
        asked = _asked_ports(self.policy, self.ir)
        port = rule.condition(PORT)
        mine = [(1, 65535)] if port is None else [one for fact in port.any_of or () for one in _ranges(fact.value, behind) or [(0, 0)]]
        if mesh_port(self.options) is not None or asked is None or (0, 0) in mine:
            return None
        theirs = merge_ports(asked)
        there, elsewhere = _common(mine, theirs), _common(mine, other_ports(theirs))
        if not there or not elsewhere:
            return None
        src = sources(*(port.any_of or ())) if port is not None else rule.src
        return _ports(there, src), _ports(elsewhere, src)

    def _may_lack_a_proxy(self, peer: Any) -> bool:
        """Whether some of these peers may be in no mesh: what has no service account, and pods of namespaces that do not join as far as the input shows."""
        return not isinstance(peer, Identity) or peer.namespace is None or peer.namespace not in self.joining

    def _account_missing(self, peer: Labelled | Identity) -> bool:
        """Whether pods that are known by labels join the mesh, so that only their service account is in doubt."""
        if not isinstance(peer, Labelled):
            return False
        return peer.namespace in self.joining or any(one.ref.namespace in self.joining for one in pods_of(self.ir.world, peer))

    def _tell(self, code: str, peers: list[Fact[Any]], rule: Rule) -> None:
        policy, port = self.policy, rule.condition(PORT)
        ports = [fact.value for fact in port.any_of or ()] if port is not None else []
        members = self.ir.world.selected(policy.subject.value)
        self.out.gather(
            (policy.document, str(policy.ref.value), code), code, *peers, document=policy.document, disposition=None, feature="authorization.source.labels",
            affects=tuple(Affected(one.ref.namespace, one.ref.name) for one in members) or (Affected(policy.subject.value.namespace or None),),
            explains=frozenset((access_subject(one.ref, number), "allow") for one in members for number in self._numbers(one, ports)),
            policy=f"{policy.kind} {policy.ref.value}",
            listed={"peers": [_called(fact.value) for fact in peers], "where": [_port(item) for item in ports] or ["every port"]},
        )  # fmt: skip

    def _numbers(self, pod: Workload, ports: list[Any]) -> set[int | None]:
        """The known ports that a rule is about. None stands for all others."""
        if not ports:
            return {None, *self.spoken}
        asked = [found for value in ports for found in _ranges(value, [pod]) or ()]
        return {port for port in self.spoken if any(low <= port <= high for low, high in asked)}


def _spoken(ir: IR) -> frozenset[int]:
    """The ports that workloads declare, Services send to or policies name."""
    found = {port for policy in ir.policies for port in _named(policy, ir)}
    found.update(place.number for pod in ir.world.workloads for place in pod.ports)
    found.update(probe.port for pod in ir.world.workloads for probe in pod.probes)
    found.update(scrape.port for pod in ir.world.workloads for scrape in pod.scrapes)
    found.update(port.target for service in ir.world.services.values() for port in service.ports if isinstance(port.target, int))
    return frozenset(found)


def _named(policy: Policy, ir: IR) -> set[int]:
    """The ends of the ranges of ports that a policy names, and what comes behind them."""
    behind = ir.world.selected(policy.subject.value)
    named = [fact.value for rule in policy.rules for item in rule.conditions if item.attribute == PORT for fact in item.any_of or ()]
    return {port for value in named for ends in _ranges(value, behind) or () for port in (*ends, ends[1] + 1) if 0 < port < 65536}


def _port(value: Any) -> str:
    low, high = value if isinstance(value, tuple) else (value, value)
    return str(low) if low == high else f"{low}-{high}"


def _called(peer: Any) -> str:
    """A peer for people."""
    if not isinstance(peer, Identity):
        return label(peer)
    home = f"namespace {peer.namespace}" if peer.namespace else "every namespace"
    return home if peer.service_account is None else f"service account {peer.namespace or '*'}/{peer.service_account}"


def _may_have_a_proxy(peer: Any) -> bool:
    """Whether some of these peers can be in the mesh, so that the kept half has the mesh's port for them and leaves their HTTP to it."""
    return peer.name in IN_MESH if isinstance(peer, Entity) else not (isinstance(peer, Labelled) and peer.plain)


def _without_identity(condition: Condition) -> Condition:
    return Condition(IDENTITY, None, (Fact(EVERYONE, sources(*(condition.any_of or ()))),), condition.src)


def _ported(policy: Policy, ir: IR) -> bool:
    """Whether rules for the same pods are about different ports, which the network does not see where the proxies carry every port on one of their own."""
    asked: set[frozenset[Any]] = set()
    for other in ir.policies:
        if other is policy or _together(policy, other, ir):
            if other.port is not None or other.action.value != "allow":
                return True
            ports = [rule.condition(PORT) for rule in other.rules]
            asked |= {frozenset(fact.value for fact in port.any_of or ()) if port is not None else frozenset() for port in ports}
    return len(asked) > 1


def _together(policy: Policy, other: Policy, ir: IR) -> bool:
    """Whether some pods are under both: known ones, or others that have the labels for it."""
    mine, its = policy.subject.value, other.subject.value
    if not mine.meets(its):
        return False
    shown = {id(workload) for workload in ir.world.selected(mine)}
    if not shown.isdisjoint(id(workload) for workload in ir.world.selected(its)):
        return True
    labels, demands = {**dict(mine.selector.labels), **dict(its.selector.labels)}, (*mine.selector.expressions, *its.selector.expressions)
    return not ir.world.shows(PodSet(mine.namespace or its.namespace, Selector.of(labels, demands)))


def _allowing(policy: Policy, ir: IR) -> Iterator[Policy]:
    """The policies that let somebody in at some of the same pods, this one among them."""
    return (other for other in ir.policies if other.action.value == "allow" and _together(policy, other, ir))


def _http_there(rule: Rule, policy: Policy, ir: IR) -> bool:
    """Whether another rule for the same pods and ports asks for HTTP: then a peer let in here could send what that one refuses."""
    if rule.needs_http or any(not item.attribute.startswith((IDENTITY, "source.ip", PORT)) for item in rule.conditions):
        return True
    behind = ir.world.selected(policy.subject.value)
    for other in _allowing(policy, ir):
        if any(_asks(one) and _overlap(rule.condition(PORT), one.condition(PORT), behind) for one in other.rules):
            return True
    return False


def _asks(rule: Rule) -> bool:
    """Whether a rule asks for more than the network sees of a peer in the mesh."""
    return rule.http or _shaken(rule) or any(is_http(item.attribute) or item.attribute.startswith(OTHER) for item in rule.conditions)


def _shaken(rule: Rule) -> bool:
    """Whether a rule asks its peers to prove who they are, which the kept half does no more."""
    return any(fact.feature in SHAKEN for item in rule.conditions if item.attribute == IDENTITY for fact in item.any_of or ())


def _meshed_peers(policy: Policy, ir: IR, mine: Rule | None, beside: tuple[Condition, ...] | None = None) -> bool:
    """Whether some rule for the same pods admits peers that may be in the mesh: any rule, or with `mine` one that asks them for HTTP on its ports.

    With `beside`, rules that ask just this of their callers do not count, whoever these are."""
    behind = ir.world.selected(policy.subject.value)
    for other in _allowing(policy, ir):
        for rule in other.rules:
            if mine is not None and not (_asks(rule) and _overlap(mine.condition(PORT), rule.condition(PORT), behind)):
                continue
            named = rule.condition(IDENTITY)
            if rule.conditions == (named,) and not _shaken(rule):
                continue  # they may have everything
            if beside is not None and tuple(item for item in rule.conditions if item is not named) == beside:
                continue
            if named is None or named.any_of is None:
                return True
            if any(_may_have_a_proxy(fact.value) for fact in named.any_of):
                return True
    return False


def _ports(ranges: list[tuple[int, int]], src: Src) -> Condition:
    return Condition(PORT, tuple(Fact(one, src) for one in ranges))


def _common(one: Iterable[tuple[int, int]], other: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ports that are in ranges of either."""
    others = list(other)
    found = [(max(low, start), min(high, end)) for low, high in merge_ports(one) for start, end in others]
    return [(low, high) for low, high in found if low <= high]


def _asked_ports(policy: Policy, ir: IR) -> list[tuple[int, int]] | None:
    """The ports on which rules for the same pods ask peers that may be in the mesh for HTTP; None where one does on ports that are not known by number."""
    found: list[tuple[int, int]] = []
    for other in _allowing(policy, ir):
        members = ir.world.selected(other.subject.value)
        for rule in other.rules:
            if not _asks(rule):
                continue
            if (port := rule.condition(PORT)) is None or port.any_of is None:
                return None
            for fact in port.any_of:
                if (ranges := _ranges(fact.value, members)) is None:
                    return None
                found += ranges
    return found


def _overlap(one: Condition | None, other: Condition | None, pods: list[Workload]) -> bool:
    """Whether two demands on the port of these pods can both be met."""
    if one is None or other is None or one.any_of is None or other.any_of is None:
        return True
    for mine in one.any_of:
        for its in other.any_of:
            ranges = _ranges(mine.value, pods), _ranges(its.value, pods)
            if ranges[0] is None or ranges[1] is None:
                return True
            if any(low <= end and start <= high for low, high in ranges[0] for start, end in ranges[1]):
                return True
    return False


def _ranges(value: Any, pods: list[Workload]) -> list[tuple[int, int]] | None:
    """The numbers of a port; of a name those that the pods give it, None where none of them is known to have it."""
    if isinstance(value, tuple):
        return [value]
    return [(port.number, port.number) for pod in pods for port in pod.ports if port.name == value] or None
