"""Whether one request is let through, and which rule decides: the evaluator for access. It knows no mesh; what meshes mean by their words is in the IR.

Three answers are possible to each question: yes, no, and "cannot be told" (external authorization, what only one mesh knows, an address that the request does
not name), which is carried to the verdict wherever it could change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from meshport.compare.access import speaks_http
from meshport.compare.matching import Seen
from meshport.compare.request import Caller, Request
from meshport.dialects.base import Options
from meshport.effective.access import Effective, admission_conditions, speaking
from meshport.effective.identities import INGRESS, label
from meshport.ir.authorization import (
    HOST,
    IDENTITY,
    METHOD,
    OTHER_PROTOCOLS,
    PATH,
    PORT,
    REMOTE_IP,
    SOURCE_IP,
    Condition,
    Policy,
    Rule,
)
from meshport.ir.base import NOWHERE, Fact, Ref, Src
from meshport.ir.model import IR
from meshport.ir.world import Workload
from meshport.values.identities import Identity, IdentityGlob

ALLOW, DENY, UNDECIDED = "allow", "deny", "undecided"


@dataclass(frozen=True, slots=True)
class Step:
    """One question on the way: what was asked, what came of it, the object that answers and the leaves that it answers with."""

    what: str
    outcome: str
    ref: Ref | None = None
    kind: str = ""
    document: int | None = None
    src: Src = NOWHERE


@dataclass(slots=True)
class Decision:
    """`verdict` is allow, deny or undecided; `rule` is the step that decided, `steps` are all in their order."""

    verdict: str
    workload: Workload
    port: int | None
    steps: list[Step] = field(default_factory=list)
    plaintext: bool = True  # whether the port takes callers without a certificate, as far as transport goes
    identity: bool = False  # whether the caller shows one
    admitting: Src = NOWHERE  # the leaves by which each of several halves lets the request through

    @property
    def src(self) -> Src:
        """The leaves that decide: where several halves let a request through, those of each."""
        return self.admitting if self.verdict == ALLOW else self.rule.src if self.rule is not None else NOWHERE

    @property
    def rule(self) -> Step | None:
        """Where several halves have to let a request through, an object that does before a default that does."""
        named = [step for step in self.steps if step.ref is not None] if self.verdict == ALLOW else []
        return named[-1] if named else self.steps[-1] if self.steps else None


def decide(item: Effective, port: int | None, request: Request, ir: IR, options: Options) -> Decision:
    """What a workload's own proxy, or the network in front of it, does with a request to one of its container ports.

    What a label-based mesh's own entry asks, each of the gateways asks whose place it takes; all of them have to be let in."""
    gateways = item.by_label.gateways if item.by_label is not None else ()
    if not gateways or f"reserved:{INGRESS.name}" not in request.caller.labels:
        return _decide(item, port, request, ir, options)
    asked = [[_decide(item, port, _sent_by(name, request), ir, options) for name in sorted(names, key=label)] for names in gateways]
    return min((max(answers, key=_freedom) for answers in asked), key=_freedom)


def _sent_by(name: Identity, request: Request) -> Request:
    return replace(request, caller=Caller(name.namespace, name.service_account, {}, request.caller.ip, name.istio()))


def _freedom(found: Decision) -> int:
    return (DENY, UNDECIDED, ALLOW).index(found.verdict)


def _decide(item: Effective, port: int | None, request: Request, ir: IR, options: Options) -> Decision:
    seen = Seen(request, port, ir, options)
    found = Decision(ALLOW, item.workload, port, plaintext=item.mode(port).value != "strict", identity=request.caller.principal is not None)
    protocol = request.protocol.upper()
    beside = item.beside
    if protocol in OTHER_PROTOCOLS:
        beside = tuple(speaking(other, protocol) for other in beside)
        item = speaking(item, protocol)
    found.verdict = _judge(item, port, seen, found.steps)
    found.admitting = found.steps[-1].src
    for number, other in enumerate(beside):
        if found.verdict == DENY:
            break
        verdict = _judge(other, port, Seen(request, port, ir.beside[number], options), found.steps)
        found.verdict = verdict if verdict != ALLOW else found.verdict
        found.admitting |= found.steps[-1].src
    return found


def _judge(item: Effective, port: int | None, seen: Seen, steps: list[Step]) -> str:
    if seen.ir.enrols and seen.request.protocol.upper() in OTHER_PROTOCOLS:
        steps.append(Step(f"does the mesh govern {seen.request.protocol.upper()}", "no: it governs TCP alone"))
        return ALLOW
    if item.meshed is False:
        said = seen.ir.world.said_of(item.workload)
        steps.append(
            Step(f"is {item.workload.ref} in the mesh", "no: nothing of it governs the port", src=said.src if said is not None else NOWHERE)
        )
        return ALLOW
    if item.workload.bypasses(port):
        src = item.workload.bypassed.src if item.workload.bypassed is not None else NOWHERE
        steps.append(Step(f"does port {port} pass by the proxy", "yes: neither policy nor mutual TLS holds for it", src=src))
        return ALLOW
    mode = item.mode(port)
    if mode.value == "strict" and seen.request.caller.principal is None:
        steps.append(Step("does the port take plaintext", "no: the caller has no certificate", src=mode.src))
        return DENY
    steps.append(Step("does the port take plaintext", {"strict": "no; the caller has a certificate"}.get(mode.value, "yes"), src=mode.src))
    if mode.value == "disable":
        seen = seen.plain()
    http = _http(item, port, seen)
    for policy in item.denies:
        for rule, fits in _fitting(policy, seen, http, deny=True):
            if fits is True:
                steps.append(_step(policy, rule, "denies it"))
                return DENY
            steps.append(_step(policy, rule, f"cannot be told: {seen.why}"))
            return UNDECIDED
    verdict = _admitted(item, port, seen, steps, http)
    if verdict != DENY:
        for policy in item.customs:
            for rule, fits in _fitting(policy, seen, http, deny=True):
                if fits is not False:
                    steps.append(_step(policy, rule, "asks an external authorizer, which has the last word"))
                    return UNDECIDED
    return verdict


def _http(item: Effective, port: int | None, seen: Seen) -> bool:
    return seen.request.http and (item.workload.document < 0 or speaks_http(item, port, seen.ir))


def _admitted(item: Effective, port: int | None, seen: Seen, steps: list[Step], http: bool) -> str:
    policies = item.at(port)
    if not policies:
        return _by_default(item, port, seen, steps, http)
    unsure: tuple[Policy, Rule] | None = None
    for policy in policies:
        for rule, fits in _fitting(policy, seen, http):
            if fits is True:
                steps.append(_step(policy, rule, "allows it"))
                return ALLOW
            unsure = unsure or (policy, rule)
    if http and _is_probe(item, port, seen, steps):
        return ALLOW
    if unsure is not None:
        steps.append(_step(*unsure, f"cannot be told: {seen.why}"))
        return UNDECIDED
    closing = [policy for policy in policies if policy.closing] or policies
    missing = sorted(
        ((_missing(policy, seen, http), policy) for policy in closing), key=lambda pair: -1 if pair[0] is None else -len(pair[0]) + 1000
    )
    steps.extend(_step(policy, None, _missed(needed)) for needed, policy in missing)  # the nearest one last: it decides
    return DENY


_DEFAULTS = {
    "deny": "nobody",
    "all-unauthenticated": "every caller",
    "all-authenticated": "callers with a certificate",
    "cluster-unauthenticated": "callers from the cluster's networks",
    "cluster-authenticated": "callers with a certificate from the cluster's networks",
}


def _is_probe(item: Effective, port: int | None, seen: Seen, steps: list[Step]) -> bool:
    if seen.request.method != "GET" or seen.request.bare not in item.probe_paths(port):
        return False
    steps.append(Step("is it a declared probe", "yes: the mesh lets it through until a route hangs on the port"))
    return True


def _by_default(item: Effective, port: int | None, seen: Seen, steps: list[Step], http: bool) -> str:
    default = item.default(port)
    what = "no policy is for the port, which then admits"
    if item.admission.src == NOWHERE and default == "all-unauthenticated":
        steps.append(Step(what, "every caller"))
        return ALLOW
    conditions = admission_conditions(default, seen.options.cluster_networks, item.admission.src)
    fits = False if default == "deny" else seen.all(conditions)
    said = _DEFAULTS.get(default, default)
    steps.append(Step(what, said if fits is not None else f"{said}; it cannot be told: {seen.why}", src=item.admission.src))
    if not fits and http and _is_probe(item, port, seen, steps):
        return ALLOW
    return ALLOW if fits else DENY if fits is False else UNDECIDED


def _fitting(policy: Policy, seen: Seen, http: bool, *, deny: bool = False) -> Iterator[tuple[Rule, bool | None]]:
    """The rules of a policy that take the request: those that surely do first, then those of which it cannot be told."""
    unsure = []
    for rule in policy.rules:
        fits = seen.takes(rule, http, deny)
        if fits:
            yield rule, True
        elif fits is None:
            unsure.append(rule)
    for rule in unsure:
        yield rule, None


def _step(policy: Policy, rule: Rule | None, outcome: str) -> Step:
    what = f"{policy.kind} {policy.ref.value}"
    if rule is None:
        return Step(what, outcome, policy.ref.value, policy.kind, policy.document, policy.action.src | policy.subject.src)
    granted = rule.granted_by.value if rule.granted_by is not None else policy.ref.value
    document = rule.document if rule.document is not None else policy.document
    what = f"{what} rule {rule.number + 1}" if rule.granted_by is None else f"{what}, {granted}"
    return Step(what, outcome, granted, policy.kind, document, rule.sources or policy.action.src)


def _missing(policy: Policy, seen: Seen, http: bool) -> list[str] | None:
    """What the nearest rule of a policy still asks for; None where the policy has no rule."""
    best: list[str] | None = None
    for rule in policy.rules:
        if rule.http and not http:
            missing = ["an HTTP port"]
        else:
            missing = [_demand(item, seen) for item in rule.conditions if seen.meets(item) is not True]
        if best is None or len(missing) < len(best):
            best = missing
    return best


def _missed(missing: list[str] | None) -> str:
    if missing is None:
        return "denies it: it closes the port and has no rule"
    return "denies it: no rule takes it" + (f"; the nearest one asks for {' and '.join(missing)}" if missing else "")


def _demand(condition: Condition, seen: Seen) -> str:
    name = {
        IDENTITY: "a caller",
        SOURCE_IP: "an address",
        REMOTE_IP: "a client address",
        PORT: "a port",
        METHOD: "a method",
        PATH: "a path",
        HOST: "a host",
    }.get(condition.attribute, condition.attribute.partition(":")[2] or condition.attribute)
    shown = _shown(condition.any_of or ())
    text = f"{name} in {shown}" if condition.any_of is not None else name
    return text + (f" not in {_shown(condition.none_of)}" if condition.none_of else "")


def _shown(facts: Iterable[Fact[Any]]) -> str:
    texts = [_value(fact.value) for fact in facts]
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return str(value[0]) if value[0] == value[1] else f"{value[0]} to {value[1]}"
    return label(value) if isinstance(value, Identity | IdentityGlob) else str(value)
