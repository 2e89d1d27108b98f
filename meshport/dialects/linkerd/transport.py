"""Transport written for Linkerd: there plaintext is refused by a default inbound policy, not by a mode (mapping decisions 2, 11.4).

`all-authenticated` is STRICT's equal, `deny` is what a port without a Server gets where policies close everything. Both are read at pod creation, so pods
have to be restarted. The mesh's own default is a Helm value.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from meshport.dialects import modes
from meshport.dialects.base import Options
from meshport.dialects.enrolment import STAGE_NAMESPACES, STAGE_WORKLOADS
from meshport.dialects.linkerd.inbound import DEFAULT_POLICY
from meshport.dialects.linkerd.installed import SKIPPED_BY_DEFAULT
from meshport.dialects.output import Output
from meshport.effective.access import Access, Effective, admission_conditions, opens, ports_of
from meshport.effective.admitted import ruled
from meshport.effective.felt import MANY
from meshport.effective.modes import Place, admits, deciding
from meshport.effective.pieces import Piece, Unsayable, covered, nameless, of_rule, port_fits
from meshport.effective.subjects import ANY_POD
from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected
from meshport.ir.authorization import IDENTITY, PORT, Condition, Policy, Rule
from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Selector, Src, sources
from meshport.ir.model import IR
from meshport.ir.world import Workload
from meshport.values.identities import EVERYONE
from meshport.values.language import LanguageTooLarge

OPEN = "all-unauthenticated"
STRICT = "all-authenticated"
CHART = "linkerd-control-plane"
SKIPPED = "proxyInit.ignoreInboundPorts"
_BY_ITSELF = "meshed callers use mTLS by themselves and plaintext is accepted where no policy refuses it"
_KEPT = "plaintext is refused where this holds: what is admitted there has an identity, which only mTLS can show"


def lower(ir: IR, out: Output, options: Options, access: Access) -> dict[str, tuple[str, Src]]:
    """Default policies of the mesh, of namespaces, and of pods that differ from theirs; those of the namespaces in the mesh, by name, and why."""
    mesh, mesh_src = _mesh(ir, out, access, options.cluster_networks)
    chosen: dict[str, tuple[str, Src]] = {}
    closing = mesh_src
    for name in sorted({*ir.world.namespaces, *(item.workload.ref.namespace for item in access.workloads), *_named(ir)}):
        home = ir.world.namespaces.get(name)
        if home is not None and (home.meshed is None or not home.meshed.value) and not _meshed_pods(access, name):
            continue
        value, src = _namespace(name, access, ir, out, options.cluster_networks)
        chosen[name] = (value, src)
        if value == OPEN and mesh == OPEN:
            continue
        if value == OPEN and not src:
            src = mesh_src
        closing |= src if value != OPEN else frozenset()
        _annotate_namespace(ir, out, name, value, src)
        _unseen(name, value, access, out)
    for item in access.workloads:
        if item.meshed is False:
            continue
        value, src = wanted(item, options.cluster_networks)
        inherited = chosen.get(item.workload.ref.namespace, (mesh, mesh_src))[0]
        if value != inherited:
            obj = out.change(item.workload.document, group=f"workload {item.workload.ref.name}", rank=STAGE_WORKLOADS)
            obj.set((*item.workload.template, "metadata", "annotations", DEFAULT_POLICY), value, src or item.workload.src)
            closing |= src if value != OPEN else frozenset()
    left_alone = _left_alone(ir, access) if closing else None
    if left_alone is not None:
        out.install(CHART, SKIPPED, "", closing | left_alone)
    _account(access, chosen, mesh, out)
    return chosen


def _left_alone(ir: IR, access: Access) -> Src | None:
    """What declares a port, or names it in a policy, that Linkerd's proxies leave alone by default; None where nobody does."""
    declared = ports_of([item for item in access.workloads if item.meshed is not False], ir.world)
    named = {
        fact.value[0]: fact.src
        for policy in ir.policies
        for rule in policy.rules
        for condition in rule.conditions
        if condition.attribute == PORT
        for fact in (*(condition.any_of or ()), *condition.none_of)
        if isinstance(fact.value, tuple) and fact.value[0] == fact.value[1]
    }
    known = {**named, **declared}
    found = [known[port] for port in SKIPPED_BY_DEFAULT if port in known]
    return sources(*found) if found else None


def _named(ir: IR) -> set[str]:
    """The namespaces that policies name."""
    found = {policy.subject.value.namespace for policy in ir.policies} | {rule.subject.value.namespace for rule in ir.transport}
    return found - {""}


def _meshed_pods(access: Access, namespace: str) -> bool:
    return any(item.meshed for item in access.of_namespace(namespace))


def admitted_anywhere(item: Effective, networks: tuple[str, ...]) -> tuple[str, Src, bool] | None:
    """What the allows of a workload admit on a port that nobody names, where that is one of Linkerd's defaults: the default, its leaves, and whether
    it is all that they admit there. None where it is no default."""
    if any(any_port(policy) for policy in item.customs):
        return None
    if any(any_port(policy) for policy in item.denies):
        return _left(item, networks)
    mode = item.mode(None)
    strict = mode.value == "strict"
    found = _admitted(item, networks, strict)
    if found is None and sum(len(policy.rules) for policy in item.allows) > 1:  # which may come to it together
        return _left(item, networks)
    if found is not None and found[0] != (_admitted(item, networks, not strict) or ("",))[0]:
        return found[0], found[1] | mode.src, found[2]
    return found


def _left(item: Effective, networks: tuple[str, ...]) -> tuple[str, Src, bool] | None:
    """The same where several rules have to be taken together, or denies hold on such ports: the default whose callers get through whatever they send, be it HTTP or not."""
    strict = item.mode(None).value == "strict"

    def found(allows: tuple[Policy, ...], denies: tuple[Policy, ...]) -> tuple[str, bool] | None:
        sides = [ruled(replace(item, allows=allows, denies=denies), None, http, networks) for http in (True, False)]
        for value in (STRICT, "cluster-authenticated") if strict else (OPEN, STRICT, "cluster-unauthenticated", "cluster-authenticated"):
            told = _told(value, networks, strict)
            if all(covered(told, side) for side in sides):
                return value, all(covered(side, told) for side in sides)
        return None

    try:
        allows, denies = item.allows, item.denies
        whole = found(allows, denies)
        if whole is None:
            return None
        for policy in item.denies:  # what the default does not fail without is no reason for it
            fewer = tuple(other for other in denies if other is not policy)
            if found(allows, fewer) == whole:
                denies = fewer
        rules = [(place, rule) for place, policy in enumerate(allows) for rule in policy.rules]
        for place, rule in rules if len(rules) <= MANY else ():
            left = replace(allows[place], rules=tuple(other for other in allows[place].rules if other is not rule))
            less = (*allows[:place], left, *allows[place + 1 :])
            if found(less, denies) == whole:
                allows = less
        asked = [policy for policy in allows if policy.rules] or allows
        return whole[0], sources(item.mode(None), *(policy.sources for policy in (*asked, *denies))), whole[1]
    except (Unsayable, LanguageTooLarge, ValueError):
        return None


@lru_cache(maxsize=64)
def _told(value: str, networks: tuple[str, ...], strict: bool) -> tuple[Piece, ...]:
    """What a default policy admits."""
    return tuple(of_rule(Rule(admission_conditions(value, networks, NOWHERE)), strict=strict))


def _admitted(item: Effective, networks: tuple[str, ...], strict: bool) -> tuple[str, Src, bool] | None:
    try:
        granted = [
            (policy, piece)
            for policy in item.allows
            if policy.port is None
            for rule in policy.rules
            if not rule.http
            for piece in of_rule(rule, strict=strict)
        ]
    except (Unsayable, ValueError):
        return None
    if item.mode(None).value == "disable":
        granted = [(policy, left) for policy, piece in granted for left in nameless([piece])]
    whole = any(rule.http for policy in item.allows for rule in policy.rules)
    for value in (OPEN, STRICT, "cluster-unauthenticated", "cluster-authenticated"):
        told = _told(value, networks, strict)
        found = next(((policy, piece) for policy, piece in granted if told and piece.any_request and piece.covers(told[0])), None)
        if found is not None:  # which closes the rest by being there, so that the others are no reason for it
            name = value.replace("-unauthenticated", "-authenticated") if strict else value
            return name, found[1].src | _posture(found[0]), not whole and all(told[0].covers(piece) for _, piece in granted)
    return None


def wanted(item: Effective, networks: tuple[str, ...]) -> tuple[str, Src]:
    """The default policy of a workload's ports that no Server names."""
    broad = [policy for policy in item.allows if policy.port is None]
    if broad:
        opened = admitted_anywhere(item, networks)
        return opened[:2] if opened is not None else ("deny", _postures(broad))
    open_denies = [policy for policy in (*item.denies, *item.customs) if any_port(policy)]
    if open_denies:
        opened = admitted_anywhere(item, networks)
        return opened[:2] if opened is not None else ("deny", _postures(open_denies))
    mode = item.mode(None)
    if mode.value == "strict":
        return STRICT, mode.src
    if item.admission.value != OPEN:
        return item.admission.value, item.admission.src
    return OPEN, mode.src


def _posture(policy: Policy) -> Src:
    """What makes a policy close what nothing names: that it is there, not what its rules say."""
    return sources(policy.action, policy.subject)


def _postures(policies: list[Policy]) -> Src:
    """What makes policies close it: what all of them rest on, for of several each closes it without the others."""
    postures = [*map(_posture, policies)]
    if any(policy.kind == "AuthorizationPolicy" for policy in policies):  # of which those of a waypoint rest on those of its pods
        return frozenset().union(*postures)
    return frozenset.intersection(*postures)


def any_port(policy: Policy) -> bool:
    """Whether a policy has a rule that holds on ports that nobody knows: it names none, or very many."""
    return any(
        all(port_fits(condition, None, deny=True) for condition in rule.conditions if condition.attribute == PORT) for rule in policy.rules
    )


def _mesh(ir: IR, out: Output, access: Access, networks: tuple[str, ...]) -> tuple[str, Src]:
    everywhere = sorted(
        (
            policy
            for policy in ir.policies
            if policy.action.value == "allow" and not policy.subject.value.namespace and policy.subject.value.selector.everything
        ),
        key=lambda item: item.ref.value,
    )
    if any(policy.closing for policy in everywhere) and not any(opens(policy) or open_beside(policy, out) for policy in everywhere):
        src = sources(*(_posture(policy) for policy in everywhere))
        out.install(CHART, "proxy.defaultInboundPolicy", "deny", src)
        out.finding(
            "MP103",
            src,
            document=everywhere[0].document,
            affects=(Affected(None),),
            feature="transport.mode",
            policies=", ".join(str(item.ref.value) for item in everywhere),
        )
        return "deny", src
    rules = sorted((rule for rule in ir.transport if rule.level == "mesh" and rule.mode is not None), key=lambda item: item.order)
    if rules and rules[0].mode is not None and rules[0].mode.value == "strict":
        src = sources(rules[0].mode, rules[0].subject)
        out.install(CHART, "proxy.defaultInboundPolicy", STRICT, src)
        return STRICT, src
    denies = [policy for policy in access.namespace_denies("") if any_port(policy)]
    left = _left_to_any("", access, denies[0].document, networks) if denies else None
    if left is not None and left[0] == STRICT:
        out.install(CHART, "proxy.defaultInboundPolicy", *left)
        return left
    return OPEN, frozenset()


def _namespace(name: str, access: Access, ir: IR, out: Output, networks: tuple[str, ...]) -> tuple[str, Src]:
    broad = [policy for policy in access.namespace_allows(name) if policy.subject.value.namespace]
    shared = [policy for policy in access.namespace_allows(name) if not policy.subject.value.namespace]
    opened = any(open_beside(policy, out) for policy in (*broad, *shared))
    if (broad or shared) and not opened:
        return "deny", sources(*(_posture(policy) for policy in (*broad, *shared)))
    unknown = [] if opened else [policy for policy in access.unshown(name) if closes_unshown(policy, name, access, out)]
    denies = [policy for policy in access.namespace_denies(name) if any_port(policy)]
    if denies:
        left = _left_to_any(name, access, denies[0].document, networks) if not unknown and not opened else None
        return left or ("deny", sources(*(_posture(policy) for policy in denies)))
    if unknown:
        return "deny", frozenset.intersection(*(_posture(policy) for policy in unknown))  # of several, each closes it without the others
    mode = access.namespace_mode(name)
    if mode.value == "strict":
        return STRICT, mode.src
    unseen = [rule for rule in access.unshown_modes(name) if rule.refuses]
    if unseen:
        asking = [fact for rule in unseen for fact in rule.modes if fact.value == "strict"]
        return STRICT, sources(*asking) if len(asking) == 1 else NOWHERE  # of several each asks for it without the others
    admission = next((item.value for item in ir.admissions if item.level == "namespace" and item.subject.namespace == name), None)
    if admission is not None:
        return admission.value, admission.src
    return OPEN, mode.src


def _left_to_any(name: str, access: Access, document: int, networks: tuple[str, ...]) -> tuple[str, Src] | None:
    """The default that denies for all pods of a namespace come to where no other policy holds: those of callers without an identity say what STRICT says."""
    left = admitted_anywhere(access.of(Workload(Ref(name, ANY_POD), "Pod", {}, {}, Fact("default"), [], [], document, ())), networks)
    return left[:2] if left is not None and left[2] else None


def _unseen(name: str, value: str, access: Access, out: Output) -> None:
    """Modes for pods that the bundle does not show, so that their pod template cannot say them: the namespace's default is what holds."""
    inherited = access.namespace_mode(name).value
    for rule in access.unseen(name):
        if value == OPEN or all(fact.value == inherited for fact in rule.modes):
            continue
        out.finding(
            "MP106", rule.subject, *rule.modes, document=rule.document, disposition="approximated", affects=(Affected(name, str(rule.subject.value.selector)),),
            feature="transport.mode", policy=str(rule.ref.value), selector=str(rule.subject.value.selector), namespace=name,
            outcome="the default of the namespace refuses plaintext for every pod without one of its own"
            if rule.refuses else "plaintext stays refused there",
        )  # fmt: skip


def closed_beside(policy: Policy, out: Output) -> bool:
    """Whether network policy that is kept closes what this one closes, on every port, and the policy names each port that it opens by number."""
    return policy.document in out.kept - out.carrying and bool(named_ports(policy))


def open_beside(policy: Policy, out: Output) -> bool:
    """Whether a policy leaves all that it says to network policy that is kept: a rule of it lets everybody in on every port, as the network sees who comes."""
    return policy.document in out.kept and any(_every_port(rule) for rule in policy.rules)


def _every_port(rule: Rule) -> bool:
    asked = [item for item in rule.conditions if item.attribute != PORT or item.none_of]
    return not asked and not rule.unless and all(any(fact.value == (1, 65535) for fact in item.any_of or ()) for item in rule.conditions)


def named_ports(policy: Policy) -> list[int]:
    """The ports that the rules of a policy open, where all of them are single numbers; [] where they are not."""
    found: set[int] = set()
    for rule in policy.rules:
        condition = rule.condition(PORT)
        if condition is None or condition.any_of is None:
            return []
        for fact in condition.any_of:
            if not isinstance(fact.value, tuple) or fact.value[0] != fact.value[1]:
                return []
            found.add(fact.value[0])
    return sorted(found)


def closes_unshown(policy: Policy, namespace: str, access: Access, out: Output) -> bool:
    """Whether pods that a policy selects and the bundle does not show have to be closed by the default of their namespace."""
    return _closes(policy) and not left_to_network(policy, access, out) and not _by_servers(policy, namespace, access)


def left_to_network(policy: Policy, access: Access, out: Output) -> bool:
    """Whether kept network policy closes all that a policy closes for pods that the bundle does not show: what it asks of requests and of identities, which the
    network sees no more, is said by Servers, or it asks for none."""
    if not closed_beside(policy, out):
        return False
    asking = any(rule.needs_http or any(map(_of_identity, rule.conditions)) for rule in policy.rules)
    return not asking or (by_servers_alone(policy.subject.value) and any(policy is one for one in access.unselected()))


def _of_identity(condition: Condition) -> bool:
    return condition.attribute == IDENTITY and any(fact.value == EVERYONE for fact in condition.any_of or ())


def by_servers_alone(pods: PodSet) -> bool:
    """Whether pods that no workload of the bundle shows can be stood in for by one with the labels that their selector asks for."""
    labels = dict(pods.selector.labels)
    return bool(pods.namespace and labels) and pods.selector.accepts(labels)


def _by_servers(policy: Policy, namespace: str, access: Access) -> bool:
    """Whether Servers that are written for the known pods take the others as well: of a deny that names its ports, where nothing else selects a known pod."""
    subject = policy.subject.value
    if policy.action.value != "deny" or any_port(policy) or subject.selector.expressions:
        return False
    subjects = access.subjects(namespace)
    known = access.selected(PodSet(namespace, subject.selector))
    return any(all(one == subject.selector for one, _ in subjects.taking(item.workload.labels)) for item in known)


def _closes(policy: Policy) -> bool:
    return policy.action.value in ("deny", "custom") or (policy.action.value == "allow" and policy.closing and not opens(policy))


def _annotate_namespace(ir: IR, out: Output, name: str, value: str, src: Src) -> None:
    home = ir.world.namespaces.get(name)
    if home is None and name in ir.world.apart:
        return
    if home is None:
        annotations = {"linkerd.io/inject": "enabled", DEFAULT_POLICY: value}
        out.assumed.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "annotations": annotations}})
        command = f"kubectl annotate namespace {name} {DEFAULT_POLICY}={value} --overwrite"
        out.command(command, src, namespace=name)
        out.finding(
            "MP104", src, document=None, disposition="installed", affects=(Affected(name),), feature="transport.mode", namespace=name, value=value, command=command,
        )  # fmt: skip
        return
    obj = out.change(home.document, group="", rank=STAGE_NAMESPACES)
    obj.set(("metadata", "annotations", DEFAULT_POLICY), value, src)


def _account(access: Access, chosen: dict[str, tuple[str, Src]], mesh: str, out: Output) -> None:
    """Modes that Linkerd has by itself, and `disable`, which it has nowhere."""

    def shut(namespace: str, _: Selector) -> bool:
        return chosen.get(namespace, (OPEN,))[0] == "deny"

    general: set[Place] = {(rule.document, None) for rule in access.ranked("", {}) if rule.level == "mesh" and mesh != "deny"}
    spoken = general | deciding(access, shut=shut, defaults=True, asked=admits)
    for rule in access.ir.transport:
        for port, mode in ((None, rule.mode), *rule.ports.items()):
            if mode is not None and mode.value == "disable" and (rule.document, port) in spoken:
                out.finding(
                    "MP105", mode, document=rule.document, disposition="approximated", feature=mode.feature, policy=str(rule.ref.value)
                )
    places = general | deciding(access, shut=shut, defaults=True)
    modes.account(out, access, places, lambda mode: _KEPT if mode == "strict" else _BY_ITSELF)


__all__ = ["access_subject", "lower", "wanted"]
