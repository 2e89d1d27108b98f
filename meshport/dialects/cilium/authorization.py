"""CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy, read (docs.cilium.io, security/policy). Lowering is in `cilium/allowing.py`.

A rule with an ingress section closes every port of the pods that it selects, unless it says otherwise; rules are alternatives, what stands in one rule is
demanded together, and a deny goes before every allow. What a rule says of other protocols than TCP stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from meshport.dialects import installation
from meshport.dialects.base import Options
from meshport.dialects.cilium import of_kubernetes
from meshport.dialects.cilium.allowing import lower
from meshport.dialects.cilium.endpoints import Required, free, holding, requirements, subjects
from meshport.dialects.cilium.headers import changing
from meshport.dialects.cilium.peers import Alternative, Demand, Peers
from meshport.dialects.cilium.refusals import refused
from meshport.dialects.cilium.requests import of_ports, of_rules
from meshport.dialects.cilium.specs import specs
from meshport.dialects.cilium.transport import mode, proxyless
from meshport.dialects.cursor import Cursor
from meshport.ir.authorization import (
    IDENTITY,
    OTHER,
    OTHER_PROTOCOLS,
    PORT,
    Beyond,
    Condition,
    Egress,
    Entity,
    Pattern,
    Policy,
    Rule,
)
from meshport.ir.base import NOWHERE, Fact, PodSet, Src
from meshport.ir.model import IR, Loss
from meshport.mapping.bound import Bound
from meshport.mapping.table import in_range
from meshport.values.identities import EVERYONE

__all__ = ["lift", "lower"]

GROUP = "cilium.io"
READ = ("authorization.", "l4.ingress-default-deny", "l4.cidr", "l4.deny", "l4.entities", "l4.port-range", "l4.protocol")
KINDS = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")


def lift(bound: Bound, by_kind: dict[tuple[str, str], list[int]], options: Options, ir: IR) -> None:
    """The ingress rules of every policy, as allows and denies; egress rules as facts."""
    peers = Peers(
        ir.world,
        options.cluster_networks,
        _cluster_name(bound, ir),
        _groups(bound, by_kind, ir),
        _since("1.16", bound),
        _nodes_by_network(bound, ir),
        options.source == "cilium" and options.target in ("istio", "linkerd"),
    )
    required = requirements(
        bound, (number for kind in KINDS for number in by_kind.get((GROUP, kind), ())), peers, options.default_namespace
    )
    enforcement, without = mode(bound, ir), proxyless(bound, ir)
    for kind in KINDS:
        for number in by_kind.get((GROUP, kind), ()):
            if enforcement is not None and enforcement.value.value == "never":
                facts = tuple(Fact(None, place.src, "authorization.rule") for _, place in specs(Cursor.root(bound, number)) if place)
                ir.losses.append(Loss("MP212", facts, number, {"reason": "policyEnforcementMode is never"}))
                continue
            _object(bound, number, kind == KINDS[1], peers, required, options, ir)
    asking = sorted({f"{policy.kind} {policy.ref.value}" for policy in ir.policies if any(rule.http for rule in policy.rules)})
    if without is not None and asking:
        ir.losses.append(Loss("MP974", (without.value,), without.document, {"policies": ", ".join(asking)}))
    _judged(ir)
    of_kubernetes.lift(bound, peers, options, ir, enforced=enforcement is None or enforcement.value.value != "never")


def _judged(ir: IR) -> None:
    """The ports of pods where rules judge requests: Cilium's Envoy reads HTTP there, whatever the name of a Service's port says to Istio.

    https://docs.cilium.io/en/stable/security/policy/language/#http
    """
    for policy in ir.policies:
        asked = [item for rule in policy.rules if rule.needs_http for item in rule.conditions if item.attribute == PORT]
        for workload in ir.world.selected(policy.subject.value) if asked else ():
            declared = {port.number: port.name.lower() for port in workload.ports if port.protocol == "TCP"}
            sent = (
                ir.world.target_number(workload, item)
                for one in ir.world.services_of(workload)
                for item in one.ports
                if item.protocol == "TCP"
            )
            served = {**{number: "" for number in sent if number is not None}, **declared}  # a pod need not declare where a Service sends
            for fact in (fact for item in asked for fact in item.any_of or ()):
                named = isinstance(fact.value, str)
                low, high = (0, 0) if named else fact.value
                alone = {low} if low == high and not named else set()
                shown = {number for number, name in served.items() if (name == fact.value if named else low <= number <= high)}
                for port in shown | alone:
                    workload.judged[port] = workload.judged.get(port, NOWHERE) | fact.src


def _since(release: str, bound: Bound) -> bool:
    """Whether the cluster runs this release or a later one; of a bundle read without a release, that it does."""
    known = bound.releases.get("cilium")
    return known is None or in_range(known, release, None)


def _cluster_name(bound: Bound, ir: IR) -> str:
    found = installation.settings(bound, ir.world, "cilium", {"cluster.name": "multi-cluster.network"})
    known = installation.setting(found, "cluster.name")
    return str(known.value) if known is not None else "default"


def _nodes_by_network(bound: Bound, ir: IR) -> Fact[Any] | None:
    """What says that networks take nodes too: by themselves they take what is outside the cluster alone.

    https://docs.cilium.io/en/stable/security/policy/layer3/#cidr-based
    """
    found = installation.settings(bound, ir.world, "cilium", {"policyCIDRMatchMode": "l4.cidr-nodes"})
    said = installation.setting(found, "policyCIDRMatchMode")
    words = said.value if said is not None and isinstance(said.value, list) else str(said.value if said is not None else "").split()
    return said if "nodes" in words and _since("1.15", bound) else None


def _groups(bound: Bound, by_kind: dict[tuple[str, str], list[int]], ir: IR) -> dict[str, tuple[tuple[str, ...], Src]]:
    """The CiliumCIDRGroups of the bundle: addresses by name. One that no policy in force speaks of decides nothing."""
    found = {}
    spoken = set[str]()
    for kind in KINDS:
        for number in by_kind.get((GROUP, kind), ()):
            places = [place.value for _, place in specs(Cursor.root(bound, number)) if place]
            if not any(refused(place, clusterwide=kind == KINDS[1]) for place in places):
                spoken.update(_spoken_of(places))
    for number in by_kind.get((GROUP, "CiliumCIDRGroup"), ()):
        root = Cursor.root(bound, number)
        members = root.at("spec").strings("externalCIDRs")
        found[root.document.name] = (tuple(fact.value for fact in members), root.at("spec").src)
        if not spoken & {root.document.name, ""}:
            ir.idle.append(Fact("no policy in force speaks of it", root.at("spec").src))
    return found


def _spoken_of(value: object) -> Iterator[str]:
    """The names of CiliumCIDRGroups in a policy; "" where it chooses them by labels."""
    if isinstance(value, list):
        for item in value:
            yield from _spoken_of(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "cidrGroupRef":
                yield str(item)
            elif key == "cidrGroupSelector":
                yield ""
            else:
                yield from _spoken_of(item)


def _object(bound: Bound, number: int, clusterwide: bool, peers: Peers, required: list[Required], options: Options, ir: IR) -> None:
    root = Cursor.root(bound, number)
    places = [place for _, place in specs(root) if place]
    whole = tuple(Fact(None, place.src, "authorization.rule") for place in places)
    reasons = [(place, reason) for place in places if (reason := refused(place.value, clusterwide=clusterwide)) is not None]
    if reasons or not places:
        what = reasons[0][1].what if reasons else "it has neither spec nor specs"
        at = min(reasons[0][0].nearest(reasons[0][1].path), default=None) if reasons else None
        ir.losses.append(Loss("MP015", whole or (root.ref(),), number, {"what": what}, at=at))
        return
    home = None if clusterwide else root.document.namespace or options.default_namespace
    for place in places:
        if place.at("nodeSelector"):
            ir.losses.append(Loss("MP120", (Fact(None, place.src, "l4.nodes"),), number))
            continue
        found = subjects(place, root, home, peers)
        for match in changing(place, "ingress"):
            ir.losses.append(Loss("MP127", (Fact(match.at("mismatch").value, match.src, "authorization.operation.headers"),), number))
        if found.code == "MP121" and options.on_loss == "looser":
            found.pods = []
        if found.code:
            selector, rest = place.at("endpointSelector"), NOWHERE
            if found.code != "MP296":
                rest = selector.src | place.at("ingress").src | (NOWHERE if found.pods else place.at("ingressDeny").src)
                rest |= place.at("enableDefaultDeny", "ingress").src
            ir.losses.append(Loss(found.code, (Fact(str(place.selector("endpointSelector").value), rest or place.src),), number))
        others = found.others if options.target != "cilium" and options.on_loss != "looser" else []
        for subject in (*found.pods, *others):
            first = len(ir.policies)
            _rule_set(place, root, subject, home, peers, required, ir)
            if (
                found.code == "MP121" or subject in others
            ):  # the set holds other pods too: what closes and refuses may hold for them, and nothing be granted
                closed = [replace(one, rules=()) if one.action.value == "allow" else one for one in ir.policies[first:]]
                ir.policies[first:] = [one for one in closed if one.rules or one.closing]


def _rule_set(spec: Cursor, root: Cursor, subject: Fact[PodSet], home: str | None, peers: Peers, required: list[Required], ir: IR) -> None:
    """One rule of an object, for one set of pods, as an allow and a deny."""
    ref, kind, number = root.ref(), root.document.kind, root.number
    allows, denies = spec.each("ingress"), spec.each("ingressDeny")
    default = spec.at("enableDefaultDeny", "ingress").fact(bool)
    if allows or denies:
        closing = default is None or default.value
        rules, beyond = _rules(allows, home, peers, holding(required, "ingress", (subject.value,), peers.world))
        said = default.src if default is not None else NOWHERE
        why = root.at("kind").src | (NOWHERE if rules else _empty(spec))
        if closing or rules or beyond:
            action = Fact("allow", why, "l4.ingress-default-deny")
            ir.policies.append(Policy(ref, action, subject, tuple(rules), number, kind, closing=closing, closed_by=said, beyond=beyond))
            said = NOWHERE
        refusing, besides = _rules(denies, home, peers, holding(required, "ingressDeny", (subject.value,), peers.world), deny=True)
        if refusing or besides:
            action = Fact("deny", spec.at("ingressDeny").src if not refusing else NOWHERE, "l4.deny")
            ir.policies.append(Policy(ref, action, subject, tuple(refusing), number, kind, closed_by=said, beyond=besides))
        for section, places in (("ingress", allows), ("ingressDeny", denies)):
            rest = free(required, section, subject.value, peers.world) if places else []
            whole, besides = _rules(places, home, peers, [], deny=section != "ingress") if rest else ([], ())
            action = Fact("allow", NOWHERE, "l4.ingress-default-deny") if section == "ingress" else Fact("deny", NOWHERE, "l4.deny")
            for pods in rest if whole or besides else ():
                more = Policy(ref, action, subject.holding(pods), tuple(whole), number, kind, closing=closing, beyond=besides)
                ir.policies.append(more)
        told = {leaf for item in ir.policies if item.document == number for leaf in item.sources}
        idle = (
            frozenset(
                leaf
                for place in (*allows, *denies, spec.at("enableDefaultDeny", "ingress"), spec.at("endpointSelector"))
                for leaf in place.src
                if place.bound.feature(leaf).startswith(READ)
            )
            - told
        )
        ir.redundant.append(Fact("the rule takes nobody, or another of the same object takes as much", idle))
    for section in ("egress", "egressDeny"):
        if spec.each(section):
            ir.egress.append(Egress(ref, subject, Fact(spec.at(section).value, spec.at(section).src, "l4.egress"), section, number))


def _empty(spec: Cursor) -> Src:
    """The leaves of an ingress section that say nothing: that it is there closes the pods."""
    return frozenset(leaf for _, fact in spec.leaves("ingress") if fact.value in ([], {}, None) for leaf in fact.src)


def _rules(
    places: Iterable[Cursor], home: str | None, peers: Peers, required: list[Required], *, deny: bool = False
) -> tuple[list[Rule], tuple[Beyond, ...]]:
    """The rules of a section, and what they say of other protocols; `required` is what their peers by labels have to meet besides."""
    demands = tuple(Demand(item.place.selector(), item.home) for item in required)
    found: list[Rule] = []
    beyond: list[Beyond] = []
    for position, place in enumerate(places):
        rules, others = _of_place(place, position, home, peers, demands, deny=deny)
        found += rules
        shaken = place.at("authentication", "mode").src if not rules else NOWHERE  # a handshake for no connection that a mesh sees
        beyond += [replace(item, words=replace(item.words, src=item.words.src | shaken)) for item in others]
    return found, tuple(beyond)


def _of_place(
    place: Cursor, position: int, home: str | None, peers: Peers, demands: tuple[Demand, ...], *, deny: bool
) -> tuple[list[Rule], list[Beyond]]:
    """The same of one rule."""
    who = peers.of_rule(place, home, demands, deny=deny)
    entries, echoes = place.each("toPorts"), place.each("icmps")
    if who is None and (not (entries or echoes) or place.each("fromRequires")):
        return [], []  # a rule of nothing grants nothing, nor one that only requires
    who = _authenticated(place, [()] if who is None else who)
    if echoes:
        words = Fact(f"ICMP: {place.at('icmps').value}", place.at("icmps").src, "l4.icmp")
        kinds = [_echo(item) for echo in echoes for item in echo.each("fields")]
        return [], [Beyond(words, ("ICMP",), tuple(_rule((*one, kind), position, NOWHERE) for one in who for kind in kinds))]
    found: list[Rule] = []
    beyond: list[Beyond] = []
    if not entries:
        words = Fact("every protocol, from whom the rule names", NOWHERE, "l4.protocol")
        found += [_rule(conditions, position, NOWHERE) for conditions in who]
        beyond.append(Beyond(words, OTHER_PROTOCOLS, tuple(found[len(found) - len(who) :])))
    for entry in entries:
        ports, others = of_ports(entry)
        beyond += [Beyond(item.words, item.protocols, tuple(_rule((*one, *item.on), position, NOWHERE) for one in who)) for item in others]
        if ports is None:
            continue
        on, src = ports
        for asked, more, http in of_rules(entry):
            found += [_rule((*conditions, *on, *asked), position, src | more, http) for conditions in who]
    return found, beyond


def _echo(field: Cursor) -> Condition:
    """A type of ICMP messages, of IPv4 where nothing else is said."""
    family, kind = field.text("family"), field.at("type")
    said = f"{family.value if family is not None else 'IPv4'} {kind.value}"
    return Condition(OTHER + "icmp", (Fact(Pattern("exact", said), field.src, "l4.icmp"),))


def _rule(conditions: Alternative, position: int, src: Src, http: bool = False) -> Rule:
    """A rule of what is demanded; what demands nothing stays as a reason."""
    kept = tuple(item for item in conditions if item.any_of is not None or item.none_of)
    said = frozenset(leaf for item in conditions if item not in kept for leaf in item.sources)
    return Rule(kept, (), position, "", src | said, http=http)


def _authenticated(place: Cursor, who: list[Alternative]) -> list[Alternative]:
    """The peers of a rule that asks for a handshake: those that can give one. Entities have no identity to show, and a test mode fails always."""
    mode = place.text("authentication", "mode")
    if mode is None or mode.value == "disabled":
        return who if mode is None else [(Condition(IDENTITY, None, (), mode.src), *item) for item in who]
    if mode.value != "required":
        return []
    demanded = Condition(IDENTITY, (mode.holding(EVERYONE),))
    found = []
    for conditions in who:
        named = [fact for item in conditions if item.attribute == IDENTITY for fact in item.any_of or ()]
        if named and all(isinstance(fact.value, Entity) and fact.value.name != "cluster" for fact in named):
            continue
        found.append((*conditions, demanded))
    return found
