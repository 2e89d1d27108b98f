"""Whether Linkerd's policy can say that a request is allowed, where Istio's says so: decided from the manifests of Istio alone.

Linkerd admits by Servers, each for one port, by identities and networks that are named, and by routes on the path as it came. A request cannot be said
where everything that admits it, of what Linkerd has, would admit with it another one that Istio refuses: that other request is the proof, looked for among
those that differ in the one thing that Linkerd does not tell apart. Where none is found the request counts as one that can be said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from . import istio
from .http import in_networks, split_host, split_path
from .linkerd import CLUSTER_NETWORKS
from .world import (
    Obj,
    Request,
    Undecided,
    Workload,
    World,
    account_of,
    is_meshed,
    labels_match,
    name_of,
    namespace_of,
    spec_of,
    trust_domain_of,
)

Reason = Literal["port", "plaintext", "stranger", "trust domain", "connection", "bytes", "odd path", "host", "header"]
REASONS: dict[Reason, str] = {
    "port": "nobody names the port, a Server has one port, and no default policy admits this and nothing that is refused",
    "plaintext": "whoever admits a caller without a certificate admits every certificate from its address, and one of those is refused",
    "stranger": "nobody names the caller's account, and whoever admits it admits accounts that are refused",
    "trust domain": "the caller is of a trust domain that the mesh does not have",
    "connection": "a token, a server name, a forwarded address or the pod's own address decides, which no route sees",
    "bytes": "bytes have no route: whoever may send them may send every request, and one of those is refused",
    "odd path": "normalising changes the path; Linkerd compares it as it came",
    "header": "a header is refused by a pattern, and a route's expression passes over values that are no text",
    "host": "a route's hostname takes every port, and refuses no other spelling of the name; and it is no name of a Service of the pods",
}
TRUST_DOMAIN = "cluster.local"
ROOT = "istio-system"
DEFAULTS = ("all-unauthenticated", "all-authenticated", "cluster-unauthenticated", "cluster-authenticated")


def unsayable(manifests: Iterable[Obj], request: Request) -> Reason | None:
    """Why Linkerd cannot say that this request, which Istio allows, is allowed; None where it can."""
    bundle = list(manifests)
    return next(_Question(bundle, request).reasons(), None)


class _Question:
    def __init__(self, bundle: list[Obj], request: Request) -> None:
        self.bundle, self.request, self.world = bundle, request, World(bundle)
        self.workload: Workload = self.world.destination(request)
        self.port = int(request["destination"]["port"])
        self.texts = [text for obj in bundle if namespace_of(obj) in (ROOT, self.workload.namespace) for text in _texts(spec_of(obj))]

    def reasons(self) -> Iterator[Reason]:
        request, source = self.request, self.request["source"]
        if not self._named_port():
            if not self._by_default():
                yield "port"
            return
        if not self._all(self._connections()):
            yield "connection"
        if not is_meshed(source):
            if not self._all(self._callers()):
                yield "plaintext"
        elif trust_domain_of(source, TRUST_DOMAIN) != TRUST_DOMAIN:
            if not self._all(one for one in self._callers() if is_meshed(one["source"])):
                yield "trust domain"
        elif not self._known(*account_of(source)) and not self._all(one for one in self._callers() if is_meshed(one["source"])):
            yield "stranger"
        if istio.is_tcp(self.world, self.workload, self.port, request):
            if not self._all(self._requests()):
                yield "bytes"
            return
        if _odd(split_path(request)[0]) and not self._all({**request, "path": path} for path in self._paths()):
            yield "odd path"
        if not self._all({**request, "host": host} for host in self._hosts()) and not self._of_service():
            yield "host"
        if not self._all(self._patterned()):
            yield "header"

    def _all(self, requests: Iterable[Request]) -> bool:
        return all(self._allows(one) for one in requests)

    def _allows(self, request: Request) -> bool:
        try:
            return istio.decide(self.bundle, request) == "allow"
        except Undecided:
            return False

    # -- ports

    def _named_port(self) -> bool:
        """Whether the pods, a Service of theirs or a policy on them names the port."""
        known = {port.number for port in self.workload.ports if port.protocol == "TCP"}
        for service in self.world.services:
            if service.selects(self.workload):
                known |= {number for entry in service.ports for number in self.workload.numbers(entry.get("targetPort", entry["port"]))}
        for policy in istio.authorization_policies(self.world, self.workload, ROOT):
            for rule in spec_of(policy).get("rules") or []:
                listed = [
                    value for entry in rule.get("to") or [] for key in ("ports", "notPorts") for value in entry["operation"].get(key) or []
                ]
                listed += [
                    value
                    for entry in rule.get("when") or []
                    if entry["key"] == "destination.port"
                    for key in ("values", "notValues")
                    for value in entry.get(key) or []
                ]
                known |= {int(value) for value in listed}
        for policy in self.world.of("PeerAuthentication", istio.GROUP):
            chosen = (spec_of(policy).get("selector") or {}).get("matchLabels")
            if namespace_of(policy) == self.workload.namespace and chosen and labels_match(chosen, self.workload.labels):
                known |= {int(port) for port in spec_of(policy).get("portLevelMtls") or {}}
        return self.port in known

    def _by_default(self) -> bool:
        """Whether one of the default policies admits the request, and nothing that Istio refuses on such a port."""
        return any(
            _admits(policy, self.request["source"])
            and self._all(
                {**shape, "source": caller["source"]}
                for address in self._addresses()
                for caller in self._callers(address)
                if _admits(policy, caller["source"])
                for shape in self._requests()
            )
            for policy in DEFAULTS
        )

    # -- requests that Linkerd would take for the same

    def _connections(self) -> Iterator[Request]:
        request = dict(self.request)
        token = {"iss": "https://issuer.test", "sub": "ann", "aud": ["shop"], "azp": "client", "groups": ["admins"]}
        named = self._addresses()
        others: dict[str, list[Any]] = {
            "claims": [None, token],
            "sni": [None, "x.test", *self._names()],
            "forwarded_for": [None, "198.51.100.77", *named],
        }
        for key, values in others.items():
            for value in values:
                yield {**{name: said for name, said in request.items() if name != key}, **({} if value is None else {key: value})}
        for address in ("10.2.0.5", "10.3.0.5"):
            yield {**request, "destination": {**request["destination"], "ip": address}}

    def _callers(self, address: str | None = None) -> Iterator[Request]:
        """The same request by everybody whom a policy may tell apart, from one address."""
        address = address or self.request["source"].get("ip")
        accounts = {(one.namespace, one.service_account) for one in self.world.workloads}
        homes = {namespace for namespace, _ in accounts} | {name_of(one) for one in self.world.of("Namespace", "")} | {"nowhere"}
        accounts |= {(namespace, "somebody") for namespace in homes}
        for namespace, account in sorted(accounts | self._spoken_of()):
            source = {"namespace": namespace, "service_account": account, "meshed": True, "ip": address}
            yield {**self.request, "source": source}
        for text in self.texts:
            if re.fullmatch(r"[\w.-]+/ns/[\w-]+/sa/[\w-]+", text) and not text.startswith(f"{TRUST_DOMAIN}/"):
                yield {**self.request, "source": {"identity": text, "meshed": True, "ip": address}}
        yield {**self.request, "source": {"identity": "other.domain/ns/nowhere/sa/somebody", "meshed": True, "ip": address}}
        yield {**self.request, "source": {"meshed": False, "ip": address}}

    def _spoken_of(self) -> set[tuple[str, str]]:
        found = {re.search(r"(?:^|/ns/)([\w-]+)/(?:sa/)?([\w-]+)$", text) for text in self.texts}
        return {(one[1], one[2]) for one in found if one}

    def _known(self, namespace: str, account: str) -> bool:
        """Whether the manifests show that the account is there, or speak of it."""
        running = any((one.namespace, one.service_account) == (namespace, account) for one in self.world.workloads)
        standing = account == "default" and self.world.namespace(namespace) is not None
        return running or standing or (namespace, account) in self._spoken_of()

    def _addresses(self) -> list[str]:
        named = [text.split("/")[0] for text in self.texts if re.fullmatch(r"\d+\.\d+\.\d+\.\d+(/\d+)?", text)]
        return sorted({"198.51.100.77", "10.77.0.1", *named})

    def _names(self) -> list[str]:
        return sorted(
            {text.replace("*", "x").lower() for text in self.texts if re.fullmatch(r"[\w.*-]*[a-z][\w.*-]*\.[\w.*-]+(:\d+)?", text)}
        )

    def _hosts(self) -> Iterator[str]:
        bare = split_host(self.request.get("host")) or ""
        yield from (
            bare,
            f"{bare}:8080",
            f"{bare}:1",
            "else.where",
            *self._names(),
            *(f"{split_host(name)}:8080" for name in self._names()),
        )

    def _of_service(self) -> bool:
        """Whether the host is a name of a Service of the pods, allowed with whatever port."""
        bare = split_host(self.request.get("host")) or ""
        names = {
            ".".join(parts[:length])
            for service in self.world.services
            if service.selects(self.workload)
            for parts in [(service.name, service.namespace, "svc", "cluster.local")]
            for length in range(1, 5)
        }
        return bare in names and self._all({**self.request, "host": host} for host in (bare, f"{bare}:8080", f"{bare}:1"))

    def _requests(self) -> Iterator[Request]:
        """Every kind of request by the same caller."""
        base = {key: self.request[key] for key in ("source", "destination")}
        yield {**base, "protocol": "tcp"}
        for path in self._paths():
            for method in ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"):
                yield {**base, "protocol": "http", "method": method, "host": "else.where", "path": path}
        for host in self._names():
            yield {**base, "protocol": "http", "method": "GET", "host": host, "path": "/"}
        for name, value in self._headers():
            yield {
                **base,
                "protocol": "http",
                "method": "GET",
                "host": "else.where",
                "path": "/",
                "headers": {name: value.replace("*", "x")},
            }

    def _paths(self) -> list[str]:
        named = {re.sub(r"\{\*\*?\}|\*", "x", text) for text in self.texts if text.startswith(("/", "*/"))}
        return sorted({"/", "/else", *(path if path.startswith("/") else f"/{path}" for path in named)})

    def _patterned(self) -> Iterator[Request]:
        """The same request with headers that only a pattern of a policy takes."""
        for name, value in self._headers():
            if "*" in value:
                yield {**self.request, "headers": {**(self.request.get("headers") or {}), name: value.replace("*", "x")}}

    def _headers(self) -> Iterator[tuple[str, str]]:
        """Names and values of the headers that policies on the pods ask for."""
        for policy in istio.authorization_policies(self.world, self.workload, ROOT):
            for rule in spec_of(policy).get("rules") or []:
                for entry in rule.get("when") or []:
                    if entry["key"].startswith("request.headers["):
                        for value in (*(entry.get("values") or ()), *(entry.get("notValues") or ())):
                            yield entry["key"].removeprefix("request.headers[").removesuffix("]"), value


def _admits(policy: str, source: Obj) -> bool:
    """Whether a default policy of Linkerd admits a caller."""
    if policy.endswith("-authenticated") and not is_meshed(source):
        return False
    return not policy.startswith("cluster-") or in_networks(source.get("ip"), CLUSTER_NETWORKS)


def _odd(path: str) -> bool:
    """Whether normalising changes a path, or might."""
    plain = path.replace("\\", "/").replace("%2e", ".").replace("%2E", ".")
    return plain != path or "%" in path or any(part.split(";")[0] in (".", "..") for part in plain.split("/"))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for child in value.values():
            yield from _texts(child)
    elif isinstance(value, list):
        for child in value:
            yield from _texts(child)
    elif isinstance(value, str):
        yield value


__all__ = ["REASONS", "Reason", "unsayable"]
