"""Whether one request is let through, and which rule decides: the evaluator for access. It knows no mesh; what meshes mean by their words is in the IR.

Three answers are possible to each question: yes, no, and "cannot be told" (external authorization, what only one mesh knows, an address that the request does
not name), which is carried to the verdict wherever it could change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from typing import Any

from meshport.compare.access import speaks_http
from meshport.compare.request import Caller, Request
from meshport.dialects.base import Options
from meshport.effective.access import Effective, admission_conditions, speaking
from meshport.effective.identities import INGRESS, label
from meshport.effective.networks import covers, disjoint
from meshport.effective.pieces import Unsayable, language_of
from meshport.ir.authorization import (
    ACCOUNT_LABEL,
    DESTINATION_IP,
    HEADER,
    HOST,
    IDENTITY,
    METHOD,
    OTHER_PROTOCOLS,
    PATH,
    PORT,
    QUERY,
    REMOTE_IP,
    SNI,
    SOURCE_IP,
    TOKEN,
    Condition,
    Entity,
    Labelled,
    Network,
    Pattern,
    Policy,
    Rule,
    is_http,
)
from meshport.ir.base import NOWHERE, Fact, Ref, Src
from meshport.ir.model import IR
from meshport.ir.world import Workload
from meshport.values.identities import EVERYONE, Identity, IdentityGlob
from meshport.values.language import LanguageTooLarge
from meshport.values.paths import normalise_istio

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
    seen = _Seen(request, port, ir, options)
    found = Decision(ALLOW, item.workload, port, plaintext=item.mode(port).value != "strict", identity=request.caller.principal is not None)
    protocol = request.protocol.upper()
    beside = item.beside
    if protocol in OTHER_PROTOCOLS:
        beside = tuple(speaking(other, protocol) for other in beside)
        item = speaking(item, protocol)
    found.verdict = _judge(item, port, seen, found.steps)
    for number, other in enumerate(beside):
        if found.verdict == DENY:
            break
        verdict = _judge(other, port, _Seen(request, port, ir.beside[number], options), found.steps)
        found.verdict = verdict if verdict != ALLOW else found.verdict
    return found


def _judge(item: Effective, port: int | None, seen: _Seen, steps: list[Step]) -> str:
    if seen.ir.enrols and seen.request.protocol.upper() in OTHER_PROTOCOLS:
        steps.append(Step(f"does the mesh govern {seen.request.protocol.upper()}", "no: it governs TCP alone"))
        return ALLOW
    if item.meshed is False:
        steps.append(Step(f"is {item.workload.ref} in the mesh", "no: nothing of it governs the port"))
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


def _http(item: Effective, port: int | None, seen: _Seen) -> bool:
    return seen.request.http and (item.workload.document < 0 or speaks_http(item, port, seen.ir.world))


def _admitted(item: Effective, port: int | None, seen: _Seen, steps: list[Step], http: bool) -> str:
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


def _is_probe(item: Effective, port: int | None, seen: _Seen, steps: list[Step]) -> bool:
    if seen.request.method != "GET" or seen.request.bare not in item.probe_paths(port):
        return False
    steps.append(Step("is it a declared probe", "yes: the mesh lets it through until a route hangs on the port"))
    return True


def _by_default(item: Effective, port: int | None, seen: _Seen, steps: list[Step], http: bool) -> str:
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


def _fitting(policy: Policy, seen: _Seen, http: bool, *, deny: bool = False) -> Iterator[tuple[Rule, bool | None]]:
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
    granted = rule.granted_by or policy.ref.value
    document = rule.document if rule.document is not None else policy.document
    what = f"{what} rule {rule.number + 1}" if rule.granted_by is None else f"{what}, {rule.granted_by}"
    return Step(what, outcome, granted, policy.kind, document, rule.sources or policy.action.src)


def _missing(policy: Policy, seen: _Seen, http: bool) -> list[str] | None:
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


def _demand(condition: Condition, seen: _Seen) -> str:
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


class _Seen:
    """A request as one mesh sees it. `why` says what kept the last question from being answered."""

    def __init__(self, request: Request, port: int | None, ir: IR, options: Options) -> None:
        self.request, self.port, self.ir, self.options = request, port, ir, options
        self.path = request.bare if ir.raw_paths else normalise_istio(request.path)
        self.why = ""

    def plain(self) -> _Seen:
        """The same request where the port speaks plaintext: no certificate is seen, whoever calls."""
        caller = replace(self.request.caller, principal=None)
        return _Seen(replace(self.request, caller=caller), self.port, self.ir, self.options)

    def takes(self, rule: Rule, http: bool, deny: bool) -> bool | None:
        """Whether a rule takes the request. Without HTTP an allow that asks for it is void, and a deny loses those demands."""
        if rule.http and not http and not deny:
            return False
        conditions = [item for item in rule.conditions if http or not is_http(item.attribute)]
        if len(conditions) < len(rule.conditions) and not deny:
            return False
        fits = self.all(conditions)
        for taken in rule.unless if fits is not False else ():
            inside = self.all(taken)
            if inside:
                return False
            fits = None if inside is None else fits
        return fits

    def all(self, conditions: Iterable[Condition]) -> bool | None:
        """Whether every condition is met."""
        sure = True
        for condition in conditions:
            met = self.meets(condition)
            if met is False:
                return False
            sure = sure and met is True
        return True if sure else None

    def meets(self, condition: Condition) -> bool | None:
        """Whether the request is what a condition demands."""
        if condition.attribute == SOURCE_IP and self.request.caller.ip is None and self.request.caller.pod:
            known = self._of_pods(condition)
            if known is not None:
                return known
        inside = True if condition.any_of is None else _any(self.one(condition.attribute, fact.value) for fact in condition.any_of)
        outside = _any(self.one(condition.attribute, fact.value) for fact in condition.none_of)
        if inside is False or outside is True:
            return False
        return True if inside and outside is False else None

    def one(self, attribute: str, value: Any) -> bool | None:
        """Whether the request has a value at an attribute."""
        request = self.request
        if attribute == IDENTITY:
            return self._peer(value)
        if attribute == SOURCE_IP:
            return self._within(request.caller.ip, value)
        if attribute == REMOTE_IP:
            hops = request.forwarded_for if request.http else ()
            return self._within(hops[-1] if hops else request.caller.ip, value)
        if attribute == DESTINATION_IP:
            return self._within(request.address, value)
        if attribute == PORT:
            return self._port(value)
        if attribute == SNI:
            return request.sni is not None and self._text(value, request.sni.lower())
        if attribute == METHOD:
            return self._text(value, request.method)
        if attribute == PATH:
            return self._text(value, self.path)
        if attribute == HOST:
            return request.host is not None and self._text(_lower(value), request.host)
        if attribute.startswith(HEADER):
            values = request.header(attribute.removeprefix(HEADER), raw=self.ir.raw_paths)
            return bool(values) and self._text(value, ",".join(values))
        if attribute.startswith(QUERY):
            given = request.query.get(attribute.removeprefix(QUERY))
            return given is not None and self._text(value, given)
        if attribute.startswith(TOKEN):
            return self._token(attribute.removeprefix(TOKEN).removeprefix(":"), value)
        self.why = f"no request says {attribute.partition(':')[2] or attribute}"
        return None

    def _port(self, value: Any) -> bool | None:
        if self.port is None:
            self.why = "the number of the port is not known"
            return None
        return isinstance(value, tuple) and value[0] <= self.port <= value[1]

    def _within(self, address: str | None, network: Network) -> bool | None:
        if address is None:
            self.why = "the request names no address"
            return None
        ip = ip_address(address)

        def holds(cidr: str) -> bool:
            net = ip_network(cidr, strict=False)
            return net.version == ip.version and ip in net

        return holds(network.cidr) and not any(holds(cidr) for cidr in network.excluded)

    def _of_pods(self, condition: Condition) -> bool | None:
        """What a condition on addresses says of a pod whose address is not named: it is one of the cluster's."""
        networks = self.options.cluster_networks
        free = [fact.value.cidr for fact in condition.any_of or () if not fact.value.excluded]
        out = [fact.value.cidr for fact in condition.none_of]
        if any(not disjoint(cidr, one) for cidr in out for one in networks):
            return None
        if condition.any_of is None or all(any(covers(cidr, one) for cidr in free) for one in networks):
            return True
        return False if all(disjoint(fact.value.cidr, one) for fact in condition.any_of for one in networks) else None

    def _text(self, pattern: Pattern, text: str) -> bool | None:
        try:
            return language_of(pattern).accepts(text)
        except (Unsayable, LanguageTooLarge) as error:
            self.why = str(error)
            return None

    # -- peers

    def _peer(self, peer: Any) -> bool | None:
        caller = self.request.caller
        if isinstance(peer, Entity):
            return self._entity(peer.name, caller)
        if isinstance(peer, Labelled):
            return caller.pod and peer.namespace in ("", caller.namespace) and peer.selector.accepts({**caller.labels, **_account(caller)})
        if not self.ir.enrols:  # a mesh that goes by labels: the account is one
            account = Identity(self.options.trust_domain, caller.namespace, caller.account or "default")
            return caller.pod and isinstance(peer, Identity) and peer.covers(account)
        return named(peer, caller)

    def _entity(self, name: str, caller: Caller) -> bool | None:
        if name == "all":
            return True
        reserved = [label for label in caller.labels if label.startswith("reserved:")]
        if reserved:
            return f"reserved:{name}" in reserved or (name == "cluster" and "reserved:world" not in reserved)
        if name in ("world", "cluster"):  # who is no pod and of no reserved kind is outside, whatever address it has
            return caller.pod == (name == "cluster")
        if caller.pod:
            return False
        self.why = f"no request says whether the caller is Cilium's entity {name}"
        return None

    # -- tokens

    def _token(self, what: str, pattern: Pattern) -> bool | None:
        claims = self.request.claims or {}
        if what == "principal":
            return self._token_principal(pattern, claims)
        path = {"audiences": ["aud"], "presenter": ["azp"]}.get(what)
        if path is None and what.startswith("claims["):
            path = what[len("claims[") : -1].split("][")
        if path is None:
            self.why = f"no request says request.auth.{what}"
            return None
        return any(self._text(pattern, value) is True and value != "" for value in _claims(claims, path))

    def _token_principal(self, pattern: Pattern, claims: Mapping[str, Any]) -> bool | None:
        """Issuer and subject are compared each for itself; the last slash divides the pattern (istio/istio, authz/matcher)."""
        issuer, subject = claims.get("iss"), claims.get("sub")
        if not isinstance(issuer, str) or not isinstance(subject, str):
            return False
        if pattern.kind == "any":
            return issuer != "" and subject != ""
        head, slash, tail = pattern.text.rpartition("/")
        first, second = Pattern("exact", head), Pattern("exact", tail)
        if not slash:
            first, second = {
                "prefix": (pattern, Pattern("any")),
                "suffix": (Pattern("any"), pattern),
            }.get(pattern.kind, (pattern, Pattern("exact", "")))
        elif pattern.kind == "prefix":
            second = Pattern("prefix", tail) if tail else Pattern("any")
        elif pattern.kind == "suffix":
            first = Pattern("suffix", head) if head else Pattern("any")
        return all(
            self._text(half, text) is True and (half.kind != "any" or text != "") for half, text in ((first, issuer), (second, subject))
        )


def named(peer: Any, caller: Caller) -> bool:
    """Whether the certificate of a caller is one of a peer's; nobody's where there is none."""
    text = caller.principal
    if text is None:
        return False
    if peer == EVERYONE:
        return True
    account = caller.identity
    if isinstance(peer, IdentityGlob):
        if peer.text.startswith("*/ns/") and peer.text.endswith("/*") and peer.text.count("/") == 3:
            return fnmatchcase(text, f"*/ns/{peer.text[len('*/ns/') : -len('/*')]}/*")
        if peer.text.endswith("/ns/*"):
            return fnmatchcase(text.partition("/")[0], peer.text.removesuffix("/ns/*"))
        return peer.language().accepts(text)
    if not isinstance(peer, Identity):
        return False
    if account is not None:
        return peer.covers(account)
    if peer.namespace is not None and peer.service_account is None and peer.trust_domain is None:
        return fnmatchcase(text, f"*/ns/{peer.namespace}/*")
    written = peer.istio()  # a certificate of no Kubernetes account: what is left of the pattern is its text
    return written is not None and IdentityGlob(written).language().accepts(text)


def _account(caller: Caller) -> dict[str, str]:
    return {ACCOUNT_LABEL: caller.account or "default"}


def _lower(pattern: Pattern) -> Pattern:
    return Pattern(pattern.kind, pattern.text.lower())


def _any(answers: Iterable[bool | None]) -> bool | None:
    unsure = False
    for answer in answers:
        if answer:
            return True
        unsure = unsure or answer is None
    return None if unsure else False


def _claims(claims: Mapping[str, Any], path: list[str]) -> list[str]:
    value: Any = claims
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return []
        value = value[key]
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]
