"""Whether a rule takes a request: what one mesh sees of its caller, path, headers and token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from typing import Any

from meshport.compare.request import Caller, Request
from meshport.dialects.base import Options
from meshport.effective.networks import covers, disjoint
from meshport.effective.pieces import Unsayable, language_of
from meshport.ir.authorization import (
    ACCOUNT_LABEL,
    DESTINATION_IP,
    HEADER,
    HOST,
    IDENTITY,
    METHOD,
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
    Rule,
    is_http,
)
from meshport.ir.model import IR
from meshport.values.identities import EVERYONE, Identity, IdentityGlob
from meshport.values.language import LanguageTooLarge
from meshport.values.paths import normalise_istio


class Seen:
    """A request as one mesh sees it. `why` says what kept the last question from being answered."""

    def __init__(self, request: Request, port: int | None, ir: IR, options: Options) -> None:
        self.request, self.port, self.ir, self.options = request, port, ir, options
        self.path = request.bare if ir.raw_paths else normalise_istio(request.path)
        self.why = ""

    def plain(self) -> Seen:
        """The same request where the port speaks plaintext: no certificate is seen, whoever calls."""
        caller = replace(self.request.caller, principal=None)
        return Seen(replace(self.request, caller=caller), self.port, self.ir, self.options)

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
        inside = True if condition.any_of is None else any_of(self.one(condition.attribute, fact.value) for fact in condition.any_of)
        outside = any_of(self.one(condition.attribute, fact.value) for fact in condition.none_of)
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


def any_of(answers: Iterable[bool | None]) -> bool | None:
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
