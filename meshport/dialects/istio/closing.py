"""Policies that close every port of the pods they select, written for Istio: an AuthorizationPolicy for each, for Istio combines them as Cilium does.

Denies first, then the union of the allows; a workload without an allow is open (istio.io/latest/docs/concepts/security, implicit enablement). What Istio
lacks: peers by labels or without a service account, ranges of ports, and rules for what is not TCP.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from meshport.dialects import other_protocols
from meshport.dialects.base import Options
from meshport.dialects.istio import others
from meshport.dialects.istio.dots import with_dots
from meshport.dialects.istio.drafts import spelled, telling
from meshport.dialects.istio.others import unwritten
from meshport.dialects.istio.port_names import anywhere, by_name, by_number
from meshport.dialects.istio.saying import Unsaid, operations, say_source, unsaid
from meshport.dialects.nameable import instead, joining, named, pods_of, weight, why
from meshport.dialects.naming import claim
from meshport.dialects.output import Output
from meshport.effective.access import Access, Effective, ports_of
from meshport.effective.identities import Identities, label
from meshport.effective.pieces import Piece, Unsayable, of_rule
from meshport.effective.relaxed import relaxed
from meshport.effective.subjects import ANY_POD, beside_known, unseen
from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected
from meshport.ir.authorization import IDENTITY, PORT, Condition, Entity, Labelled, Policy, Rule
from meshport.ir.base import NOWHERE, PodSet, Ref, Selector, Src
from meshport.ir.model import IR
from meshport.ir.world import World
from meshport.values.identities import EVERYONE, Identity

API = "security.istio.io/v1"
KIND = "AuthorizationPolicy"
NOTHING = "nothing is let in there"  # what becomes of pods that no label tells apart
MOST = 64  # ports of a range that are written one by one
CLUSTER = Entity("cluster")
Range = tuple[int, int]


@dataclass(slots=True)
class Work:
    """What the writing of one policy looks at."""

    ir: IR
    out: Output
    options: Options
    access: Access
    policy: Policy
    members: list[Effective] = field(default_factory=list)
    elsewhere: frozenset[int] = frozenset()  # the ports that are known of any pod: policies for several workloads name those of each

    @property
    def numbers(self) -> list[int]:
        """The ports that are known of the pods."""
        return _known(self.members, self.ir.world)

    def touched(self, rule: Rule | None) -> list[int | None]:
        """The known ports that a rule, or the whole policy, is about; None for those that nothing names."""
        ranges = _ranges(rule) if rule is not None else None
        if ranges is None:
            return [*self.numbers, None]
        own: list[int | None] = [port for port in self.numbers if any(low <= port <= high for low, high in ranges)]
        return own if len(own) == _count(ranges) else [*own, None]

    def say(self, code: str, src: Src, disposition: str | None, rule: Rule | None = None, **values: Any) -> None:
        """A finding about the policy, or about one rule, that answers for what its pods are refused: one for all the ports where it is the same."""
        ports, lost = values.pop("touched", None) or self.touched(rule), values.pop("lost", None)
        refs = [item.workload.ref for item in self.members]
        places = [Affected(ref.namespace, ref.name, port) for ref in refs for port in ([None] if None in ports else ports)]
        subject = self.policy.subject.value
        if refs and not (subject.namespace and self.access.world.shows(subject)):  # others that the bundle does not show
            pods = ANY_POD if subject.selector.everything else str(subject.selector)
            places += [Affected(subject.namespace or None, pods, port) for port in ([None] if None in ports else ports)]
        answered = {*ports, *(self.elsewhere.difference(self.numbers) if None in ports else ())}
        self.out.gather(
            (self.policy.document, tuple(sorted((name, str(value)) for name, value in values.items()))),
            code,
            src,
            listed={"port": [_spoken(rule)] if rule is not None else []},
            document=self.policy.document,
            disposition=disposition,
            affects=tuple(places) or (unseen(subject),),
            explains=frozenset((access_subject(ref, port), part) for ref in refs for port in answered for part in ("allow", "undecided")),
            feature=values.pop("feature", "authorization.rule"),
            policy=f"{self.policy.kind} {self.policy.ref.value}",
            lost=lost,
            **values,
        )


def _known(members: list[Effective], world: World) -> list[int]:
    """The ports that are known of pods: declared ones, and those that policies name."""
    found = set(ports_of(members, world))
    for member in members:
        for policy in (*member.allows, *member.denies, *member.opened):
            for rule in policy.rules:
                for low, high in _ranges(rule) or ():
                    found |= {port for port in (low, high, high + 1) if 0 < port < 65536}
    return sorted(found)


def _one_by_one(ir: IR) -> set[int]:
    """The ports of short ranges: each is written, so that every rule for any port is read back there."""
    each = (_ranges(rule) or [] for policy in ir.policies for rule in policy.rules)
    return {port for ranges in each if _count(ranges) <= MOST for low, high in ranges for port in range(low, high + 1)}


def lower(ir: IR, out: Output, options: Options, access: Access) -> None:
    """An AuthorizationPolicy for each policy, and where its pods cannot be told by labels alone, one for each workload."""
    taken: dict[str, set[str]] = {}
    elsewhere = frozenset((*_known(access.workloads, ir.world), *_one_by_one(ir), *out.asked_of_kept) if ir.policies else ())
    for policy in sorted(ir.policies, key=lambda item: (item.document, item.action.value, str(item.subject.value))):
        work = Work(ir, out, options, access, policy, elsewhere=elsewhere)
        home = policy.subject.value.namespace
        among = access.of_namespace(home) if home else access.workloads
        selected = [item for item in among if policy.subject.value.contains(item.workload.ref.namespace, item.workload.labels)]
        work.members = [item for item in selected if item.meshed is not False]
        if not work.members and any(not item.workload.host_network for item in selected):
            continue  # none of its pods has a proxy
        for selector, numbered, members in _parts(work):
            part = replace(work, policy=numbered, members=members)
            _write(part, selector, taken)
    others.close(ir, out, access, taken)
    other_protocols.report(ir, out)
    for policy in ir.policies:  # the read-back proves it
        out.adds_nothing("what the other rules for these pods come to is the same without it", policy.sources)


def _parts(work: Work) -> Iterable[tuple[Selector, Policy, list[Effective]]]:
    """What the policy is written for: its own selector where that does, else each workload by its labels."""
    policy, access = work.policy, work.access
    selector = policy.subject.value.selector
    members = work.members
    if policy.action.value == "allow" and not policy.closing:
        # opened again, maybe by this one
        closed = [item for item in members if item.allows or any(other.closing for other in item.opened)]
        if not closed and not (policy.rules and not members and others.closed_too(policy, work.ir)):
            work.out.decide("says that the rules close nothing, where others would", policy.action)
            work.out.adds_nothing("nothing else closes these pods, so that they admit everything already", policy.sources)
            return
        whole = len(closed) == len(members)
        members = closed
        if (
            closed and selector.labels and not others.covered(policy, work.ir)
        ):  # an ALLOW by its labels would close pods that nothing closes
            whole = False
            work.out.finding(
                "MP286", document=policy.document, severity="warning", affects=(unseen(policy.subject.value),), feature="authorization.subject",
                policy=f"{policy.kind} {policy.ref.value}", namespace=policy.subject.value.namespace or "NAMESPACE", selector=f"others with {selector}",
            )  # fmt: skip
    else:
        whole = True
    home = policy.subject.value.namespace

    def elsewhere() -> bool:  # whether there may be pods that the bundle does not show, which is looked for where it matters alone
        return not (home and access.world.shows(policy.subject.value))

    known = anywhere(policy, members, work.numbers) if policy.action.value == "deny" and members else policy
    if known is not policy and not unwritten(policy) and elsewhere():
        policy = known
        work.say(
            "MP230", policy.sources, "approximated", feature="authorization.subject", workloads="pods that the input does not show", touched=[None],
            others=", ".join(str(item.workload.ref) for item in members), outcome="what it denies on a port by a name that none of these has is denied on every port that they do not name",
        )  # fmt: skip
    numbered = [access.numbered(policy, item.workload) for item in members]
    crossed = policy.action.value == "allow" and others.crossed(policy, work.ir)
    if crossed and not members:
        policy = replace(policy, rules=())
    # a clusterwide one keeps the numbers of the known pods: in other namespaces it has the selector that they have in theirs
    apart = policy.action.value == "allow" and bool(home) and bool(members) and by_name(policy) and elsewhere()
    if whole and not selector.expressions and len({id(item) for item in numbered}) <= 1 and not (crossed and members) and not apart:
        yield selector, numbered[0] if numbered else policy, members
        return
    if not members:
        yield from _of_others(work, policy)
        return
    if policy.action.value == "deny" and not unwritten(policy) and elsewhere():
        yield from _of_all(work, numbered)  # whatever number the name has at pods that the bundle does not show
        return
    seen: list[tuple[str, Selector]] = []
    for item, one in zip(members, numbered, strict=True):
        labels = telling(item, access)
        own = Selector.of(labels)
        if (item.workload.ref.namespace, own) in seen:
            continue
        seen.append((item.workload.ref.namespace, own))
        same = [
            other for other in members if own.accepts(other.workload.labels) and other.workload.ref.namespace == item.workload.ref.namespace
        ]
        strangers = [
            other
            for other in access.of_namespace(item.workload.ref.namespace)
            if own.accepts(other.workload.labels)
            and (all(other is not known for known in same) or access.numbered(policy, other.workload) is not one)
        ]
        deny = policy.action.value == "deny"  # of which both are refused what either is
        if strangers and deny:
            alike = [number for number, other in enumerate(members) if Selector.of(telling(other, access)) == own]
            one = replace(one, rules=tuple(dict.fromkeys(rule for number in alike for rule in numbered[number].rules)))
            refused = {id(other): _conditions(version) for other, version in zip(members, numbered, strict=True)}
            strangers = [other for other in strangers if not _conditions(one) <= refused.get(id(other), set())]
        if strangers:
            wide = replace(work, members=[*same, *strangers])
            wide.say(
                "MP230", policy.sources, "approximated" if deny else "dropped", feature="authorization.subject", workloads=str(item.workload.ref),
                others=", ".join(str(other.workload.ref) for other in strangers), outcome="what it denies is denied to both" if deny else NOTHING,
            )  # fmt: skip
        if strangers and not deny:
            one = replace(one, rules=())
        yield own, one, same
    if whole and policy.action.value == "allow":
        yield from _of_others(
            work, by_number(policy) if apart and not crossed and len(members) == len(work.members) else replace(policy, rules=())
        )


def _of_all(work: Work, numbered: list[Policy]) -> Iterable[tuple[Selector, Policy, list[Effective]]]:
    """A deny that names a port, for pods that the bundle shows and for others: on each number that the name has at any."""
    policy = replace(work.policy, rules=tuple(dict.fromkeys(rule for one in numbered for rule in one.rules)))
    known = {id(item): one for item, one in zip(work.members, numbered, strict=True)}
    more = [item for item in work.members if not _conditions(policy) <= _conditions(known[id(item)])]
    if more:
        replace(work, members=more).say(
            "MP230", policy.sources, "approximated", feature="authorization.subject", workloads="pods that the input does not show",
            others=", ".join(str(item.workload.ref) for item in more), outcome="what it denies on one number of a port's name is denied to all on each",
        )  # fmt: skip
    for one in spelled(policy.subject.value):
        yield one.selector, policy, [item for item in work.members if one.selector.accepts(item.workload.labels)]


def _of_others(work: Work, policy: Policy) -> Iterable[tuple[Selector, Policy, list[Effective]]]:
    """What a policy is for pods that the bundle does not show, by the labels that it lists."""
    home, access = policy.subject.value.namespace, work.access
    if home and access.world.shows(policy.subject.value):
        return
    found = [one.selector for one in spelled(policy.subject.value)]
    if unwritten(policy):
        if not work.members and not beside_known(policy.subject.value, access.world):
            work.say("MP227", policy.subject.src, "dropped", feature="authorization.subject")
        return  # their namespace is closed for them
    for selector in found:
        known = [item for item in work.members if selector.accepts(item.workload.labels)]
        numbered = {id(one): one for one in (access.numbered(policy, item.workload) for item in known)}
        yield selector, next(iter(numbered.values())) if len(numbered) == 1 else policy, known
    if work.members:
        work.out.finding(
            "MP286", document=policy.document, severity="warning", affects=(unseen(policy.subject.value),), feature="authorization.subject",
            policy=f"{policy.kind} {policy.ref.value}", namespace=home or "NAMESPACE", selector=f"others with {policy.subject.value.selector}",
        )  # fmt: skip


def _write(work: Work, selector: Selector, taken: dict[str, set[str]]) -> None:
    policy, out = work.policy, work.out
    deny = policy.action.value == "deny"
    rules = [written for rule in policy.rules for written in (_deny(work, rule) if deny else _allow(work, rule))]
    if not rules and (deny or not policy.closing):
        return  # what others close stays closed by theirs
    homes = _homes(work, selector)
    namespace = policy.subject.value.namespace or (work.options.root_namespace if not homes else "")
    spaces = [namespace] if namespace else homes
    for space in spaces:
        names = taken.setdefault(space, set())
        label_ = policy.ref.value.name + (
            "-deny" if deny and any(item.document == policy.document and item.action.value == "allow" for item in work.ir.policies) else ""
        )
        named_ = claim(label_, names)
        because = policy.ref.src | policy.subject.src
        obj = out.object(API, KIND, Ref(space, named_), owner=policy.document, group=f"policy {named_}", rank=41, because=because)
        obj.note(f"from {policy.kind} {policy.ref.value}")
        src = policy.action.src | policy.subject.src
        if selector.labels:
            own = frozenset(leaf for item in work.members for leaf in item.workload.labels_src(dict(selector.labels)))
            obj.set(
                ("spec", "selector", "matchLabels"),
                dict(selector.labels),
                policy.subject.src or own,
                own if selector != policy.subject.value.selector else None,
            )
        if rules:
            obj.set(("spec", "action"), "DENY" if deny else "ALLOW", src)
        elif not selector.labels:
            obj.set(("spec",), {}, src)
        else:
            out.imply("a policy without rules closes what it selects", policy.action.src)
        for position, (entry, leaves) in enumerate(_once(rules)):
            obj.set(("spec", "rules", position), entry, leaves | (policy.action.src if not leaves else NOWHERE))


def _homes(work: Work, selector: Selector) -> list[str]:
    """The namespaces of the pods, where a policy for every namespace takes only some of the bundle's (the cluster's own are not in the mesh); with those in the
    mesh that may have such pods which it does not show, where the selector is the policy's own and not a workload's."""
    if work.policy.subject.value.namespace:
        return []
    found = {item.workload.ref.namespace for item in work.members}
    own = selector.everything or any(selector == one.selector for one in spelled(work.policy.subject.value))
    if own and selector.labels and not found:
        return []  # one for the whole mesh
    for home in work.ir.world.namespaces.values() if own else ():
        if home.meshed is not None and home.meshed.value and not work.access.world.shows(PodSet(home.name, selector)):
            found.add(home.name)
    return sorted(found)


def _once(rules: list[tuple[dict[str, Any], Src]]) -> list[tuple[dict[str, Any], Src]]:
    found: list[tuple[dict[str, Any], Src]] = []
    for entry, src in rules:
        known = next((number for number, (other, _) in enumerate(found) if other == entry), None)
        if known is None:
            found.append((entry, src))
        else:
            found[known] = (entry, found[known][1] | src)
    return found


# -- rules


def _ranges(rule: Rule) -> list[Range] | None:
    """The ports of a rule; None where it names none, for then it holds on every port. Names that no pod gives a port to are no range."""
    found: list[Range] | None = None
    for item in rule.conditions:
        if item.attribute != PORT:
            continue
        left = [fact.value for fact in item.none_of if isinstance(fact.value, tuple)]
        listed = [fact.value for fact in item.any_of if isinstance(fact.value, tuple)] if item.any_of is not None else [(1, 65535)]
        own = _without(listed, left)
        found = own if found is None else _without(found, _outside(own))
    return found


def _without(ranges: list[Range], taken: list[Range]) -> list[Range]:
    """Ranges less other ranges."""
    for low, high in taken:
        ranges = [
            part
            for start, end in ranges
            for part in ([(start, min(end, low - 1)), (max(start, high + 1), end)] if start <= high and low <= end else [(start, end)])
            if part[0] <= part[1]
        ]
    return ranges


def _allow(work: Work, rule: Rule) -> Iterable[tuple[dict[str, Any], Src]]:
    ports = _ports(work, rule, deny=False)
    if ports is None and work.members:
        work.out.adds_nothing("none of the pods is known to have such a port", rule.sources)
        return
    if ports is None:
        what = "a port by its name" if _names(rule) else "a range of ports but by those of it that are used"
        work.say("MP201", rule.sources, "dropped", rule, reason=f"{what}, which only the workloads tell, and the input has none of them")
        return
    try:
        pieces = of_rule(replace(rule, conditions=_without_ports(rule)))
    except (Unsayable, ValueError) as error:
        work.say("MP201", rule.sources, "dropped", rule, reason=str(error))
        return
    if any(unsaid(piece) for piece in pieces if not piece.literals):
        plain, dotted = with_dots(replace(rule, conditions=_without_ports(rule)))
        if plain and not any(unsaid(piece) for piece in plain):
            pieces = [*plain]
            work.say("MP173", dotted, "approximated", rule, feature="authorization.operation.paths")
    for piece in pieces:
        if piece.literals:
            what = ", ".join(sorted(attribute.partition(":")[2] or attribute for attribute, _, _ in piece.literals))
            work.say("MP269", piece.src | rule.sources, "dropped", rule, what=what, lost=piece)
            continue
        for part in _sayable(work, rule, piece):
            if work.options.on_loss == "looser" and (why := unsaid(part)):
                work.say("MP218", part.src, "approximated", rule, effect="widens", severity="error", reason=why)
                part = relaxed(part, unsaid)
            try:
                operation, when = operations(part, None)
                peers = say_source(_local(part.who, work.options), part.where.networks())
            except (Unsaid, Unsayable, ValueError) as error:
                work.say("MP201", part.src | rule.sources, "dropped", rule, reason=str(error), lost=part)
                continue
            operation = {**ports, **operation}
            if rule.http and part.any_request:
                operation["methods"] = ["*"]  # HTTP and nothing else
            if peers and part.methods.nearly:
                listed = ", ".join(part.methods.listed())
                work.say("MP196", part.src, "approximated", rule, methods=listed, feature="authorization.operation.methods")
            if peers:
                yield _entry(peers, operation, when), part.src | rule.sources


def _entry(peers: list[dict[str, Any]], operation: dict[str, Any], when: list[dict[str, Any]]) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    named = [peer for peer in peers if peer]
    if named and len(named) == len(peers):
        entry["from"] = [{"source": peer} for peer in named]
    if operation:
        entry["to"] = [{"operation": operation}]
    if when:
        entry["when"] = when
    return entry


def _sayable(work: Work, rule: Rule, piece: Piece) -> Iterable[Piece]:
    """The part of a piece whose peers Istio can name; of the rest it is said why it is left out."""
    include = piece.who.include
    if include is None:
        yield piece
        return
    kept: set[Any] = set()
    strange: list[Entity | Labelled] = []
    for peer in sorted(include, key=label):
        if isinstance(peer, Labelled) and peer.plain:
            strange.append(peer)
        elif isinstance(peer, Labelled):
            pods = pods_of(work.ir.world, peer)
            feature, src, lost = "authorization.source.labels", piece.src | rule.sources, piece.of((peer,))
            if pods:
                work.say("MP267", src, "dropped", rule, peers=str(peer), feature=feature, why=why(work.ir.world, pods), lost=lost)
            else:
                work.say("MP275", src, "dropped", rule, peers=str(peer), feature=feature, lost=lost)
        elif peer == CLUSTER:
            kept.add(EVERYONE)
            work.say("MP270", piece.src, "approximated", rule, feature="l4.entities", lost=piece.of((peer,)))
        elif isinstance(peer, Entity):
            strange.append(peer)
        else:
            kept.add(peer)
    if strange:
        peers = ", ".join(named(peer, piece) for peer in strange)
        own = ", ".join(work.options.cluster_networks)
        besides = (
            f"; an address in none of {own} is no pod's and is written as it is" if piece.where.networks() is not None else joining(strange)
        )
        work.say(
            "MP268",
            piece.src | rule.sources,
            "dropped",
            rule,
            peers=peers,
            feature="l4.entities",
            instead=besides,
            severity=weight(strange),
            lost=piece.of(strange),
        )
    if kept:
        yield piece.of(kept)


def _local(who: Identities, options: Options) -> Identities:
    """Accounts of any trust domain as those of the mesh's own: no other is known to Cilium."""

    def own(peer: Any) -> Any:
        if isinstance(peer, Identity) and peer.trust_domain is None and peer.namespace and peer.service_account:
            return Identity(options.trust_domain, peer.namespace, peer.service_account)
        return peer

    return Identities(None if who.include is None else frozenset(map(own, who.include)), frozenset(map(own, who.exclude)))


def _deny(work: Work, rule: Rule) -> Iterable[tuple[dict[str, Any], Src]]:
    """A deny, as wide as it has to be where Istio cannot name its peers."""
    ports = _ports(work, rule, deny=True)
    if ports is None:
        return
    operation = dict(ports)
    try:
        pieces = of_rule(replace(rule, conditions=_without_ports(rule)), deny=True)
    except (Unsayable, ValueError):
        pieces = [Piece(src=rule.sources)]
    for piece in pieces:
        src = piece.src | rule.sources
        entries: list[dict[str, Any]] = []
        wide: dict[str, str] = {}
        idle: Src = NOWHERE
        if piece.literals or not piece.any_request:
            wide, entries = {"what it demands": "Write the deny for callers and ports alone"}, [{}]
        elif piece.who.include is None and not piece.who.exclude:
            entries = _networks(piece, {})
        else:
            for peer in sorted(piece.who.include if piece.who.include is not None else (EVERYONE,), key=label):
                said, exact = _denied(work, peer, piece)
                entries += said
                if not exact:
                    wide[named(peer, piece)] = instead(peer)
                    idle |= _unused(work, rule, peer) if isinstance(peer, Labelled) and said == [_everyone(peer, [])] else NOWHERE
        if wide:
            remedy = "; ".join(dict.fromkeys(wide.values()))
            work.say("MP271", src, "approximated", rule, peers=", ".join(wide), remedy=f"{remedy}.")
        yield _entry(entries, operation, []), src - idle or work.policy.action.src


def _unused(work: Work, rule: Rule, peer: Labelled) -> Src:
    """The leaves of the labels that peers are named by, where all pods of their namespace are refused instead."""
    facts = (fact for item in rule.conditions if item.attribute == IDENTITY for fact in item.any_of or () if fact.value == peer)
    leaves = (leaf for fact in facts for leaf in fact.src)
    return frozenset(leaf for leaf in leaves if not str(work.out.bundle.parts(leaf)[-1]).endswith("pod.namespace"))


def _denied(work: Work, peer: Any, piece: Piece) -> tuple[list[dict[str, Any]], bool]:
    """The `source` entries that hold a peer, and whether they hold no other."""
    spared = {"notPrincipals": _principals(work, piece.who.exclude)} if piece.who.exclude else {}
    if isinstance(peer, Labelled):
        pods = pods_of(work.ir.world, peer)
        accounts = {(pod.ref.namespace, pod.account.value) for pod in pods}
        if accounts and (peer.selector.labels or any(item.operator in ("In", "Exists") for item in peer.selector.expressions)):
            return [{"principals": _accounts(work, accounts)}], False
        meant = set(map(id, pods))
        others = [item.workload for item in work.access.workloads if id(item.workload) not in meant]
        rest = {(pod.ref.namespace, pod.account.value) for pod in others if peer.namespace in ("", pod.ref.namespace)} - accounts
        return [_everyone(peer, _accounts(work, rest))], False
    if peer == CLUSTER:  # its nodes have no identity, and any address
        return [{}], False
    if isinstance(peer, Entity):
        return _networks(piece, {"notPrincipals": ["*"]}), False
    try:
        said = say_source(_local(Identities(frozenset((peer,))), work.options), piece.where.networks())
    except (Unsaid, ValueError):
        return [{}], False
    if spared and not spared["notPrincipals"]:
        return said, False
    return [{**entry, **spared} for entry in said], True


def _accounts(work: Work, accounts: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{work.options.trust_domain}/ns/{space}/sa/{name}" for space, name in sorted(accounts)]


def _everyone(peer: Labelled, but: list[str]) -> dict[str, Any]:
    """The pods of a namespace, or of all, but those of some accounts."""
    found: dict[str, Any] = {"namespaces": [peer.namespace]} if peer.namespace else {"principals": ["*"]}
    return {**found, "notPrincipals": but} if but else found


def _principals(work: Work, peers: Iterable[Any]) -> list[str]:
    """Principals to spare from a deny; one that cannot be named is not spared."""
    found = []
    for peer in sorted(_local(Identities(frozenset(peers)), work.options).include or (), key=label):
        text = peer.istio() if isinstance(peer, Identity) else None
        if text is not None:
            found.append(text)
        elif isinstance(peer, Identity) and peer.namespace is not None:
            found.append(f"{work.options.trust_domain}/ns/{peer.namespace}/*")
    return found


def _networks(piece: Piece, entry: dict[str, Any]) -> list[dict[str, Any]]:
    networks = piece.where.networks()
    if networks is None:
        return [entry]
    return [
        {**entry, "ipBlocks": [network.cidr], **({"notIpBlocks": list(network.excluded)} if network.excluded else {})}
        for network in networks
    ]


def _without_ports(rule: Rule) -> tuple[Condition, ...]:
    return tuple(item for item in rule.conditions if item.attribute != PORT)


def _conditions(policy: Policy) -> set[tuple[Any, ...]]:
    """What the rules of a policy ask for, each with its ports."""
    ranges = [_ranges(rule) for rule in policy.rules]
    ports = [None if found is None else tuple(sorted({one for one in found if one[1] > 0})) for found in ranges]
    return {(_without_ports(rule), known) for rule, known in zip(policy.rules, ports, strict=True)}


def _spoken(rule: Rule) -> str:
    ranges = _ranges(rule)
    if ranges is None:
        return "any"
    listed = [str(low) if low == high else f"{low}-{high}" for low, high in ranges if high > 0]
    return ", ".join(dict.fromkeys((*listed, *_names(rule)))) or "none"


def _names(rule: Rule) -> list[str]:
    """The ports that a rule names by a name that no known pod gives a number to."""
    return [fact.value for item in rule.conditions if item.attribute == PORT for fact in item.any_of or () if isinstance(fact.value, str)]


def _count(ranges: list[Range]) -> int:
    return sum(high - low + 1 for low, high in ranges)


def _ports(work: Work, rule: Rule, *, deny: bool) -> dict[str, list[str]] | None:
    """`ports` or `notPorts` of a rule, {} for every port, None where it has none. Istio has no ranges: a long one is the ports that are known in it. It has no
    names either: which port of pods that nobody shows has the name is not known, and a deny of it takes all of them."""
    ranges = _ranges(rule)
    if ranges is None:
        return {}
    ranges = [(low, high) for low, high in ranges if high > 0]
    src = frozenset(leaf for item in rule.conditions if item.attribute == PORT for leaf in item.sources)
    if deny and not work.members and _names(rule):
        work.say("MP273", src, "approximated", rule, ports="every port", feature="l4.port-range", touched=[None])
        return {}
    if not ranges:
        return None
    if _count(ranges) <= MOST:
        return {"ports": [str(port) for port in sorted({port for low, high in ranges for port in range(low, high + 1)})]}
    missing = _outside(ranges)
    if _count(missing) <= MOST:
        listed = [str(port) for low, high in missing for port in range(low, high + 1)]
        return {"notPorts": listed} if listed else {}
    known = [port for port in work.numbers if any(low <= port <= high for low, high in ranges)]
    if not deny and not work.members:
        return None
    outside = [port for port in work.numbers if port not in known]
    written = ", ".join(map(str, outside if deny else known))
    words = (
        (f"every port but {written}" if written else "every port") if deny else written or "none, for it is known of none that it is used"
    )
    work.say("MP273", src, "approximated", rule, ports=words, feature="l4.port-range", touched=[None])
    if deny:
        return {"notPorts": [str(port) for port in outside]} if outside else {}
    return {"ports": [str(port) for port in known]} if known else None


def _outside(ranges: list[Range]) -> list[Range]:
    """The ports from 1 to 65535 that are in none of the ranges."""
    found: list[Range] = []
    after = 1
    for low, high in sorted(ranges):
        if low > after:
            found.append((after, low - 1))
        after = max(after, high + 1)
    return [*found, (after, 65535)] if after <= 65535 else found
