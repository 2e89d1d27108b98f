"""Pods unlike all that the bundle shows: under policies that no known pod is under together, or past the selectors that known pods' policies were given.

Policies of Cilium add up. What is written for known pods selects others too, and what the source says of those may be less: selectors are compared kind by
kind of pod, and where more would be let in than the source lets in, the kind gets a policy of its own, or what is too much is denied.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from meshport.dialects.cilium import admitting
from meshport.dialects.cilium.callers import Known, but
from meshport.dialects.cilium.denying import Directs
from meshport.dialects.cilium.drafts import Draft, rules_of
from meshport.dialects.cilium.plaintext import default_of
from meshport.dialects.cilium.planning import Context, Part, Plan, Where, plan
from meshport.dialects.cilium.subjects import NAMING, accepting_plaintext, homes
from meshport.dialects.cilium.telling import Told, tell
from meshport.dialects.cilium.unseen import attached, on_port
from meshport.dialects.cilium.writing import CILIUM, KIND, Others, Ruled, ranges, write
from meshport.dialects.kinds import Kind, Kinds
from meshport.dialects.naming import claim
from meshport.dialects.output import Output
from meshport.effective.access import Access, Effective, Region, ports_of, resolve
from meshport.effective.subjects import ANY_POD
from meshport.effective.subjects import unseen as of_pods
from meshport.findings import Affected
from meshport.ir.authorization import Policy, sole_grant
from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Selector, Src, sources
from meshport.ir.model import IR
from meshport.ir.world import ContainerPort, Workload
from meshport.mapping.table import in_range

_NARROWER = {"MP201", "MP202", "MP203", "MP208", "MP211", "MP216", "MP278", "MP280", "MP283", "MP284", "MP393"}

_HEARD = {"MP196", "MP298", "MP300"}
"""What is said of whom the rules for a kind let in, and refuses a few; it names them as it names known pods."""

BARE = ("Pod", "Job", "CronJob")
"""What does not find its pods by labels."""


@dataclass(slots=True)
class Fate:
    """Policies by namespace and id: those of which pods of some kind got what they let in, and those of which some kind did not get all."""

    written: set[tuple[str, int]] = field(default_factory=set)
    short: set[tuple[str, int]] = field(default_factory=set)


@dataclass(slots=True)
class Said:
    """What is written for pods that are unlike the known ones: rules that let in (None: others do that), rules that deny, and why."""

    allow: list[Ruled] | None
    deny: list[Ruled]
    name: str
    parts: list[Part]
    policies: list[Policy]
    document: int
    because: Src
    meshed: list[str]  # the namespaces that stand for any identity of the mesh
    lost: bool
    closed: bool  # whether policies of others close the pods
    kinds: list[Kind] = field(default_factory=list)
    named: Src = NOWHERE  # what gives the name
    notes: Told = field(default_factory=dict)

    @property
    def key(self) -> str:
        return repr(([rule for rule, _ in self.allow] if self.allow is not None else None, [rule for rule, _ in self.deny], self.name))


def lower(ir: IR, access: Access, base: Context, denies: Directs, taken: dict[str, set[str]], others: Others) -> None:
    """Policies for the kinds of pods of each namespace that would let in more than they do in the source."""
    told: list[tuple[str, Said, list[Selector]]] = []
    fate = Fate()
    places = {
        *homes(ir, ""),
        *(item.subject.value.namespace for item in ir.policies),
        *(item.subject.value.namespace for item in ir.transport),
    }
    for namespace in sorted(name for name in places if name and homes(ir, name)):
        written = admitting.written(base.out, namespace)
        shown = access.of_namespace(namespace)
        odd = [
            _name(item.workload, access)
            for item in shown
            if item.meshed is False
            or access.gateway(item.workload)
            or access.of(_pod(access, namespace, item.workload.labels, item.workload.ports)).key != item.key
        ]
        served = [selector for selector, _ in accepting_plaintext(access, namespace)]
        kinds = Kinds(
            list(dict.fromkeys([*_spoken(ir, namespace), *served, *(item.selector for item in written), *odd])),
            [item.workload.labels for item in shown],
        )
        by_selector: dict[Selector, list[admitting.Written]] = {}
        for one in written:
            by_selector.setdefault(one.selector, []).append(one)
        known: dict[tuple[int, ...], list[Effective]] = {}
        for item in shown:
            known.setdefault(kinds.taking(item.workload.labels), []).append(item)
        found: dict[str, Said] = {}
        groups = kinds.groups()
        if not kinds.whole:
            base.out.finding("MP147", document=None, affects=(Affected(namespace, ANY_POD),), feature="authorization.subject", namespace=namespace, selectors=len(kinds.selectors))  # fmt: skip
        for taking, group in groups.items():
            labels = kinds.labels(group[0])
            there = [one for place in taking for one in by_selector.get(kinds.selectors[place], ())]
            said = _said(_Pods(namespace, labels, known.get(taking, []), shown), access, base, denies, there, fate)
            if said is not None and base.options.on_loss == "looser" and (said.lost or said.deny):
                _left_open(base.out, namespace, said)
            elif said is not None:
                found.setdefault(said.key, said).kinds += group
        every = [kind for group in groups.values() for kind in group]
        for said in found.values():
            mine = set(said.kinds)
            selectors = kinds.select(said.kinds, [kind for kind in every if kind not in mine])
            _write(base, namespace, said, selectors, taken, others)
            told += [(namespace, said, selectors)] if said.lost else []
    _settle(ir, base.out, fate)
    for namespace, said, selectors in told:
        _tell(base.out, access, namespace, said, selectors)


def _left_open(out: Output, namespace: str, said: Said) -> None:
    """Say that pods of a kind let in more, once for the policies that would refuse it."""
    for policy in said.policies:
        pods = of_pods(PodSet(namespace, policy.subject.value.selector))
        code, reason = (
            ("MP218", "it beside what else is written for pods of these labels")
            if policy.action.value == "allow"
            else ("MP219", "the bundle does not show its pods")
        )
        if not any(one.code == code and one.document == policy.document and pods in one.affects for one in out.findings):
            out.finding(
                code, document=policy.document, affects=(pods,), feature="authorization.rule", policy=str(policy.ref.value), port="any", reason=reason,
            )  # fmt: skip


def _spoken(ir: IR, namespace: str) -> list[Selector]:
    """What the source's objects select pods of a namespace by."""
    subjects = [
        *(item.subject.value for item in ir.policies),
        *(item.subject.value for item in ir.transport),
        *(item.subject for item in ir.admissions if item.document is None),
    ]
    return [subject.selector for subject in subjects if subject.namespace in ("", namespace) and not subject.selector.everything]


def _name(workload: Workload, access: Access) -> Selector:
    """What tells pods of one application from others: its name where no pod has it that the bundle does not show, else what its controller counts them by."""
    names = Selector.of({key: value for key, value in workload.own_labels.items() if key in NAMING})
    if names.labels and (access.world.shows(PodSet(workload.ref.namespace, names)) or not (workload.claimed or workload.kind in BARE)):
        return names
    return workload.counted


@dataclass(slots=True)
class _Pods:
    """Pods of one kind: like some known workloads, or like none."""

    namespace: str
    labels: dict[str, str]
    like: list[Effective]
    shown: list[Effective]


def _said(pods: _Pods, access: Access, base: Context, denies: Directs, there: list[admitting.Written], fate: Fate) -> Said | None:
    """What has to be written for pods of a kind; None where the policies that select them let in no more than the source does."""
    told: Told = {}
    if pods.like:
        like = [one for one in pods.like if one.meshed is not False]
        if not like:
            return None
        item, result, narrower = like[0], None, False
    else:
        item, near = _effective(pods, access, base.out)
        direct = {
            id(policy): {
                number for number, rule in denies.get(id(policy), {}).items() if any(one.denies(rule[0], rule[1]) for one in there)
            }
            for policy in item.denies
        }
        result = plan(replace(base, region=Region(pods.namespace, [item]), direct=direct, told=told, like=near))
        asking = any(rule.http or rule.needs_http for policy in (*item.denies, *item.customs) for rule in policy.rules)
        called = {name: str(port) for part in result.parts for entry in part.entries for port, name in entry.names.items()}
        there = [one.numbered(called) for one in there]
        narrower = (asking and not near) or any(code in _NARROWER for code, *_ in told) or _unranged(base, result)
    same = pods.like or [item]
    unnamed = [
        policy
        for policy in item.allows
        if policy.port is not None and all(resolve(one.workload, policy.port.value) is None for one in same)
    ]
    policies = [*item.allows, *item.denies, *item.customs]
    because = sources(*(fact for policy in policies for fact in (policy.ref, policy.subject, policy.action)))
    because = because or item.mode(None).src or item.admission.src
    meshed = base.known.namespaces() if ("MP281",) in {key[:1] for key in told} else []
    granting = sole_grant(rule for policy in item.allows for rule in policy.rules)
    name = granting.value if granting is not None else min((policy.ref.value.name for policy in policies), default="")
    document = policies[0].document if policies else item.workload.document
    said = Said(None, [], name or _default_name(item), [], policies, document, because, meshed, narrower, any(one.closes for one in there))
    said.notes = {key: note for key, note in told.items() if key[0] in _HEARD and note.said.get("effect") != "none"}
    naming = (policy.document for policy in policies if policy.ref.value.name == name)
    said.named = granting.src if granting is not None else sources(*(base.out.called(number, "name") for number in naming))
    held = []  # those of which a deny says what their port lets in, whatever else is let in
    for policy in unnamed:
        port = {"port": str(policy.port.value), "protocol": "TCP"} if policy.port is not None else {}
        older, rivals = _rivals(policy, item, unnamed)
        if any(one in unnamed for one in older):
            held.append(policy)
            continue  # what is denied on the port is denied there
        if rivals or not any(one.names(port) for one in there):
            src = policy.ref.src | policy.subject.src | sources(policy.port)
            admitted = on_port(policy, base.options, base.known, base.way)
            for one in older:  # which may have the port, and let in no others then
                its = [_peers(rule) for rule, _ in on_port(one, base.options, base.known, base.way)]
                admitted = [ruled for ruled in admitted if _peers(ruled[0]) in its]
            said.deny += [({**rule, "toPorts": [{"ports": [port]}]}, src | more) for rule, more in _all_but(admitted, base.known)]
            held.append(policy)
            said.lost = said.lost or (not admitted and bool(policy.rules))
    if result is not None and result.closed:
        _beyond(said, base, result, there, whole=len(held) == len(unnamed))
    where = {(pods.namespace, id(policy)) for policy in policies}
    if said.lost or said.deny:
        fate.short |= where
    elif said.allow:
        fate.written |= where
    return said if said.allow is not None or said.deny else None


def _rivals(policy: Policy, item: Effective, unnamed: list[Policy]) -> tuple[list[Policy], bool]:
    """Of a Server by a name that no known pod gives a number to: the older ones for the same pods that have its port, if theirs is that; and whether there
    are others at all. They are written for what they select, and add up, where of several Servers the oldest has the port."""
    rank = _rank(policy)
    others = [one for one in item.allows if one.port is not None and one is not policy]
    others = [
        one
        for one in others
        if one not in unnamed or (one.port is not None and policy.port is not None and one.port.value == policy.port.value)
    ]
    return [one for one in others if _rank(one) < rank], bool(others)


def _rank(policy: Policy) -> tuple[str, Ref]:
    return policy.created, policy.ref.value


def _peers(rule: dict[str, Any]) -> dict[str, Any]:
    """Whom a rule lets in."""
    return {key: value for key, value in rule.items() if key.startswith("from")}


def _unranged(base: Context, result: Plan) -> bool:
    """Whether ports that nobody names are closed for want of ranges."""
    entries = [entry for part in result.parts for entry in part.entries] if result.closed else []
    every = {*result.ports, None}
    return not in_range(base.options.target_version, "1.16", None) and any(
        None in entry.ports and entry.ports != every for entry in entries
    )


def _default_name(item: Effective) -> str:
    """A name for what no policy says: the mode of the pods, or their default."""
    if item.mode(None).value == "strict":
        return "strict-mtls"
    return "inbound" if item.admission.value == "all-unauthenticated" else f"default-{item.admission.value}"


def _pod(access: Access, namespace: str, labels: dict[str, str], ports: list[ContainerPort]) -> Workload:
    """A pod of which nothing is known but its labels and ports."""
    home = access.world.namespaces.get(namespace)
    modes = [rule.document for rule in access.ranked(namespace, labels) if rule.mode is not None or rule.ports]
    document = modes[-1] if modes else default_of(access.ir, access, namespace)[0]
    return Workload(
        Ref(namespace, ANY_POD), "Pod", labels, {}, Fact("default"), ports, [], document, (),
        bypassed=home.bypassed if home is not None else None, demanding=home.demanding if home is not None else None,
    )  # fmt: skip


def _effective(pods: _Pods, access: Access, out: Output) -> tuple[Effective, tuple[Workload, ...]]:
    """What holds for pods of a kind, and the known workloads that are under some of the same policies: their ports stand for those of the pods."""
    one = _pod(access, pods.namespace, pods.labels, [])
    policies = _unmixed(access.of(one), out)
    said = (*policies.allows, *policies.opened, *policies.denies, *policies.customs)
    subjects = [policy.subject.value for policy in said if not policy.subject.value.selector.everything] or [
        policy.subject.value for policy in said
    ]
    near = [
        item
        for item in pods.shown
        if item.meshed is not False and any(one.contains(pods.namespace, item.workload.labels) for one in subjects)
    ]
    numbers: dict[int, set[str]] = {number: set() for item in near for number in ports_of([item], access.world)}
    for item in near:
        for port in item.workload.ports:
            if port.protocol == "TCP":
                numbers[port.number].add(port.name)
    of_name = [name for names in numbers.values() for name in names]
    one.ports = [
        ContainerPort(number, next((name for name in sorted(names) if name and of_name.count(name) == 1), ""), "TCP")
        for number, names in sorted(numbers.items())
    ]
    return _unmixed(access.of(one), out), tuple(item.workload for item in near)


def _unmixed(item: Effective, out: Output) -> Effective:
    """Without what hangs on a waypoint where the pods have allows of their own: whether these let the waypoint in is not known."""
    own = tuple(policy for policy in item.allows if not attached(policy, out))
    return replace(item, allows=own) if own else item


def _beyond(said: Said, base: Context, result: Plan, there: list[admitting.Written], *, whole: bool) -> None:
    """Take in what the policies that select pods of a kind let in beyond what may be let in: by a policy where there is none, else by denies; and what they
    let in short of it, for policies add up. Not so where a port is known by its name alone: any that is let in whole might be that one (MP291)."""
    entries = [entry for part in result.parts for entry in part.entries]
    closing = [item for item in there if item.closes]
    points: list[Where] = [*sorted({*result.ports, *(port for item in there for port in item.single())}), None]
    fresh = next(number for number in range(1, 65536) if number not in points)
    allowed = {
        port: [atom for entry in entries if (port if port in result.ports else None) in entry.ports for atom in admitting.of_entry(entry)]
        for port in points
    }
    too_much = [port for port in points if admitting.beyond(there, fresh if port is None else port, allowed[port])]
    less = (
        (whole or not closing)
        and not too_much
        and any(admitting.short(closing, fresh if port is None else port, allowed[port]) for port in points)
    )
    if not too_much and not (less and closing):
        return
    said.because = said.because or sources(*(part.src for part in result.parts))
    if not closing or less:
        draft = Draft("", "", [], result.parts, result.ports, result.strict)
        said.allow, said.parts = rules_of(base.options, draft, entries), result.parts
        return
    said.lost = True
    ports: list[dict[str, Any]] = []
    if None not in too_much:
        ports = [{"port": str(port), "protocol": "TCP"} for port in too_much]
    elif in_range(base.options.target_version, "1.16", None):
        kept = [port for port in points if port is not None and port not in too_much and allowed[port]]
        ports = ranges(kept) if kept else []
    said.deny += [({**rule, **({"toPorts": [{"ports": ports}]} if ports else {})}, said.because) for rule, _ in _all_but([], base.known)]


def _all_but(admitted: list[Ruled], known: Known) -> list[Ruled]:
    """Whom to deny so that no others get in than some rules admit by accounts and namespaces: nobody, where these admit everybody. The pod's own node is
    not denied, for its kubelet probes the pod."""
    peers = [(rule, src) for rule, src in admitted]
    if any(not any(key.startswith("from") for key in rule) for rule, _ in peers):
        return []
    who = [admitting.account(peer) for rule, _ in peers for peer in rule.get("fromEndpoints", ())]
    named = [one for one in who if one is not None]
    src = sources(*(more for _, more in peers))
    if len(named) < len(who) or any("fromEndpoints" not in rule for rule, _ in peers):
        named = []
    pods, entities = but(named, known) or but((), known) or ([], [])
    found: list[Ruled] = [({"fromEndpoints": pods}, src)] if pods else []
    return [*found, ({"fromEntities": [one for one in (*entities, "init", "unmanaged") if one != "host"]}, src)]


def _write(base: Context, namespace: str, said: Said, selectors: list[Selector], taken: dict[str, set[str]], others: Others) -> None:
    out, ranged = base.out, in_range(base.options.target_version, "1.16", None)
    for selector in selectors:
        pods = of_pods(PodSet(namespace, selector))
        beside = admitting.same(out, namespace, selector)
        ref = beside or Ref(namespace, claim(said.name, taken.setdefault(namespace, set())))
        named = said.named if beside is None else NOWHERE
        if said.allow is not None:
            write(out, ref, selector, NOWHERE, said.allow, said.because, [said.document], said.parts, whole=not said.allow, named_by=named)
            others.unseen = [one for one in others.unseen if one != pods]
            if not any("UDP" in str(rule) for rule, _ in said.allow):
                others.unseen.append(pods)
        obj = out.object(CILIUM, KIND, ref, owner=said.document, group=f"policy {ref.name}", rank=41, because=said.because | named)
        if beside is None and said.allow is None:
            obj.set(("spec", "endpointSelector"), selector.manifest(), said.because)
            if ranged:
                obj.set(("spec", "enableDefaultDeny"), {"ingress": False}, said.because)
            elif not said.closed:
                obj.set(("spec", "ingress"), [{"fromEntities": ["all"]}], said.because)
        for policy in said.policies if said.deny else ():
            obj.add_origin(policy.document)
            obj.note(f"from {policy.kind} {policy.ref.value}")
        for position, (rule, src) in enumerate(said.deny):
            obj.set(("spec", "ingressDeny", position), rule, src | said.because)
    if said.allow:
        places = {of_pods(PodSet(namespace, selector)): None for selector in selectors}
        tell(out, {key: replace(note, src=NOWHERE, affects=places, explains=set()) for key, note in said.notes.items()})
    if said.meshed and said.allow:
        out.gather(
            tuple(said.meshed), "MP281", document=said.document, affects=tuple(of_pods(PodSet(namespace, selector)) for selector in selectors),
            feature="authorization.source.principals", namespaces=", ".join(said.meshed), listed={},
        )  # fmt: skip


def _settle(ir: IR, out: Output, fate: Fate) -> None:
    """Of policies that were said to be left out for pods that nobody shows: what is written of them after all, for those that are written whole."""
    written = out.written()
    for policy in ir.policies:
        named = [one for one in out.findings if one.code == "MP286" and one.document == policy.document]
        for finding in named:
            homes = {place.namespace or policy.subject.value.namespace for place in finding.affects}
            keys = {(home, id(policy)) for home in homes}
            if not keys <= fate.written or keys & fate.short:
                continue
            finding.leaves = tuple(leaf for leaf in finding.leaves if leaf not in written)
            if not finding.leaves or finding.disposition is None:
                out.findings.remove(finding)


def _tell(out: Output, access: Access, namespace: str, said: Said, selectors: list[Selector]) -> None:
    """Say which pods let in less, with what is written nowhere of policies for pods that nobody shows."""
    unseen = [policy for policy in said.policies if not access.world.selected(policy.subject.value)]
    left = sources(*(policy.sources for policy in unseen)) - out.reached()
    affects = tuple(of_pods(PodSet(namespace, selector)) for selector in selectors)
    if not left and any(one.code == "MP286" and set(affects) <= set(one.affects) for one in out.findings):
        return
    out.finding(
        "MP286", left, document=said.document, disposition="dropped" if left else None, affects=affects, feature="authorization.subject",
        severity=None if len(unseen) == len(said.policies) else "warning", namespace=namespace, selector=" or ".join(map(str, selectors)),
        policy=", ".join(dict.fromkeys(str(policy.ref.value) for policy in said.policies)) or f"{namespace}",
    )  # fmt: skip
