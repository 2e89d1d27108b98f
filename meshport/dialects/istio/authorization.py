"""AuthorizationPolicy, read (Istio reference 2.3; istio.io/latest/docs/reference/config/security/authorization-policy).

A policy with no rules matches nothing: as an ALLOW it closes what it selects. Entries of `from` and of `to` are alternatives, `when` are all demanded.
Lowering is in `istio/allowing.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshport.dialects.base import Options
from meshport.dialects.cursor import Cursor
from meshport.dialects.istio.allowing import lower
from meshport.dialects.istio.enforcement import settle
from meshport.dialects.istio.refused import refused
from meshport.dialects.istio.settled import Read, Settled, targets_of
from meshport.dialects.istio.waypoints import Waypoints
from meshport.dialects.istio.ztunnel import negative, unseen
from meshport.effective.networks import normal_cidr
from meshport.ir.authorization import (
    DESTINATION_IP,
    HEADER,
    HOST,
    IDENTITY,
    METHOD,
    OTHER,
    PATH,
    PORT,
    REMOTE_IP,
    SNI,
    SOURCE_IP,
    TOKEN,
    Condition,
    Network,
    Pattern,
    Policy,
    Rule,
    is_http,
)
from meshport.ir.base import NOWHERE, Fact, PodSet
from meshport.ir.base import sources as joined
from meshport.ir.model import IR, Loss
from meshport.mapping.bound import Bound
from meshport.values.identities import EVERYONE, Identity, IdentityGlob, nameable, parse_principal
from meshport.values.ports import is_number

__all__ = ["lift", "lower"]

_SOURCE = {
    "principals": IDENTITY,
    "namespaces": IDENTITY,
    "serviceAccounts": IDENTITY,
    "trustDomains": IDENTITY,
    "requestPrincipals": TOKEN + ":principal",
    "ipBlocks": SOURCE_IP,
    "remoteIpBlocks": REMOTE_IP,
}
_OPERATION = {"hosts": HOST, "ports": PORT, "methods": METHOD, "paths": PATH}
_WHEN = {
    "source.ip": SOURCE_IP,
    "remote.ip": REMOTE_IP,
    "source.namespace": IDENTITY,
    "source.principal": IDENTITY,
    "source.serviceAccount": IDENTITY,
    "source.trustDomain": IDENTITY,
    "destination.ip": DESTINATION_IP,
    "destination.port": PORT,
    "connection.sni": SNI,
}
_MOST = 4096  # alternatives of one rule


def lift(bound: Bound, numbers: list[int], options: Options, ir: IR, waypoints: Waypoints) -> list[Settled]:
    """Each enforced AuthorizationPolicy as a policy of the IR; what became of each."""
    read: list[Read] = []
    for number in numbers:
        root = Cursor.root(bound, number)
        namespace = root.document.namespace or options.default_namespace
        spec = root.at("spec")
        said = spec.text("action")
        action = said.value if said is not None else "ALLOW"
        facts = tuple(fact for _, fact in spec.leaves()) or (Fact(None, spec.src, "authorization.posture"),)
        dry = root.at("metadata", "annotations", "istio.io/dry-run")
        if action == "AUDIT" or (dry and str(dry.value).lower() == "true"):
            ir.losses.append(
                Loss("MP212", (*facts, Fact(None, dry.src)), number, {"reason": "AUDIT" if action == "AUDIT" else "a dry run"})
            )
            continue
        why_not = refused(root.document.value.get("spec"))
        if why_not:
            ir.losses.append(Loss("MP015", facts, number, {"what": why_not}))
            continue
        everywhere = namespace == options.root_namespace
        selector = spec.selector("selector")
        home = root.at("metadata", "namespace").src
        subject = Fact(PodSet("" if everywhere else namespace, selector.value), selector.src | home, "authorization.subject")
        rules: list[Rule] = []
        for position, item in enumerate(spec.each("rules")):
            rules.extend(_rule(item, position, namespace, options))
        why = (said.src if said is not None else NOWHERE) | root.at("kind").src | dry.src
        if not spec.each("rules"):
            why |= spec.at("rules").src
        if spec and not spec.items():
            why |= spec.src  # `spec: {}`
        policy = Policy(
            root.ref(),
            Fact(action.lower(), why, "authorization.action" if said is not None else "authorization.posture"),
            subject,
            tuple(rules),
            number,
            "AuthorizationPolicy",
        )
        read.append(Read(policy, facts, targets_of(spec), unseen(spec, options.trust_domain)))
    return settle(read, waypoints, ir, options.trust_domain, options.root_namespace)


def _rule(item: Cursor, position: int, namespace: str, options: Options) -> Iterable[Rule]:
    own = item.src if not item.items() else NOWHERE  # `- {}` takes every request
    sources = _merged([_source(entry.at("source"), namespace, options) for entry in item.each("from")]) if item.at("from") else [()]
    operations: list[tuple[Condition, ...]] = [_operation(entry.at("operation")) for entry in item.each("to")] if item.at("to") else [()]
    when = tuple(_condition(entry, namespace, options) for entry in item.each("when"))
    for entry in (*item.each("from"), *item.each("to")):
        for key in ("source", "operation"):
            if entry.at(key) and not entry.at(key).items():
                own |= entry.at(key).src
    if len(sources) * len(operations) > _MOST:
        operations = _merged(operations)
    if len(sources) * len(operations) > _MOST:  # what nobody can say refuses in an allow and in a deny
        many = Pattern("exact", f"one of {len(sources)} in from with one of {len(operations)} in to")
        alternatives: list[tuple[Condition, ...]] = [
            (Condition(OTHER + "combinations", (Fact(many, joined(*(fact for _, fact in item.leaves()))),)),)
        ]
    else:
        alternatives = [(*source, *operation, *when) for source in sources for operation in operations]
    http = any(is_http(condition.attribute) for conditions in alternatives for condition in conditions)
    for conditions in alternatives:
        yield Rule(conditions, (), position, "", own, http=http)


def _merged(entries: list[tuple[Condition, ...]]) -> list[tuple[Condition, ...]]:
    """Alternatives that each demand one list of the same attribute are one alternative with all the values."""
    together: dict[str, list[Condition]] = {}
    rest: list[tuple[Condition, ...]] = []
    for entry in entries:
        alone = len(entry) == 1 and entry[0].any_of is not None and not entry[0].none_of
        if alone and all(
            fact.feature != "authorization.source.trust-domains" for fact in entry[0].any_of or ()
        ):  # ztunnel passes those over
            together.setdefault(entry[0].attribute, []).append(entry[0])
        else:
            rest.append(entry)
    joined = [
        (Condition(attribute, tuple(fact for condition in found for fact in condition.any_of or ()), (), NOWHERE),)
        for attribute, found in sorted(together.items())
    ]
    return [*joined, *rest]


def _source(place: Cursor, namespace: str, options: Options) -> tuple[Condition, ...]:
    return tuple(_lists(place, _SOURCE, namespace, options))


def _operation(place: Cursor) -> tuple[Condition, ...]:
    return tuple(_lists(place, _OPERATION, "", None))


def _lists(place: Cursor, fields: dict[str, str], namespace: str, options: Options | None) -> Iterable[Condition]:
    for field, attribute in fields.items():
        inside = _values(place, field, field, attribute, namespace, options)
        outside = _values(place, negative(field), field, attribute, namespace, options)
        if inside or outside:
            yield Condition(attribute, inside or None, outside)


def _values(place: Cursor, key: str, field: str, attribute: str, namespace: str, options: Options | None) -> tuple[Fact[object], ...]:
    return tuple(fact.map(lambda text: _value(text, field, attribute, namespace, options)) for fact in place.strings(key))


def _value(text: str, field: str, attribute: str, namespace: str, options: Options | None) -> object:
    if attribute == IDENTITY:
        return _identity(text, field, namespace, options)
    if attribute in (SOURCE_IP, REMOTE_IP, DESTINATION_IP):
        return Network(normal_cidr(text))
    if attribute == PORT:
        return (int(text), int(text)) if is_number(text) else (-1, -1)
    return pattern(text, template=attribute == PATH)


def _identity(text: str, field: str, namespace: str, options: Options | None) -> object:
    domain = options.trust_domain if options else "cluster.local"
    if text == "*":
        return EVERYONE
    if field == "namespaces":
        whole = Identity(None, text, None)
        return whole if "*" not in text and nameable(whole) else IdentityGlob(f"*/ns/{text}/*")
    if field == "serviceAccounts":
        home, _, account = text.rpartition("/")
        return Identity(None, home or namespace, account)
    if field == "trustDomains":
        return Identity(text, None, None) if "*" not in text else IdentityGlob(f"{text}/ns/*")
    found = parse_principal(text)
    if isinstance(found, Identity) and found.trust_domain in ("cluster.local", domain, *(options.trust_domain_aliases if options else ())):
        return Identity(domain, found.namespace, found.service_account)
    return found


def pattern(text: str, *, template: bool = False) -> Pattern:
    """Istio's string forms: `*`, `p*`, `*s`, exact; in paths also templates with `{*}` and `{**}`."""
    if template and ("{*}" in text or "{**}" in text):
        return Pattern("template", text)
    if text == "*":
        return Pattern("any")
    if text.endswith("*"):
        return Pattern("prefix", text[:-1])
    if text.startswith("*"):
        return Pattern("suffix", text[1:])
    return Pattern("exact", text)


def _condition(place: Cursor, namespace: str, options: Options) -> Condition:
    key = place.text("key")
    name = key.value if key is not None else ""
    src = key.src if key is not None else NOWHERE
    field = {"source.namespace": "namespaces", "source.serviceAccount": "serviceAccounts", "source.trustDomain": "trustDomains"}.get(
        name, "principals"
    )
    if name.startswith("request.headers[") and name.endswith("]"):
        attribute = HEADER + name[len("request.headers[") : -1].lower()
    elif name.startswith("request.auth."):
        attribute = TOKEN + ":" + name[len("request.auth.") :]
    else:
        attribute = _WHEN.get(name, OTHER + name)
    inside = _values(place, "values", field, attribute, namespace, options)
    outside = _values(place, "notValues", field, attribute, namespace, options)
    return Condition(attribute, inside or None, outside, src)
