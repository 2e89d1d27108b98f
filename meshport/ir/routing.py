"""Where requests to a Service go: rules, matches, backends, and what is done to requests on the way.

Destinations are Services with an optional narrowing by pod labels (a subset); what counts in a comparison is the set of pods reached, so
a subset and a
Service of its own compare equal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from meshport.ir.authorization import Pattern
from meshport.ir.base import NOWHERE, Fact, Ref, Src
from meshport.ir.resilience import Retry
from meshport.ir.world import World

NAMES = "sniHosts"
"""The demand on the name that a client asks for, in the word that a VirtualService has for it."""


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """A conjunction; an empty one takes every request. Header and query names map to patterns."""

    path: Fact[Pattern] | None = None
    method: Fact[Pattern] | None = None
    headers: tuple[tuple[str, Fact[Pattern]], ...] = ()
    query: tuple[tuple[str, Fact[Pattern]], ...] = ()
    others: tuple[tuple[str, Fact[Any]], ...] = ()  # demands that only the source knows, by feature
    name: str = ""
    port: Fact[int] | None = None  # only on this port of the Service
    src: Src = NOWHERE

    @property
    def everything(self) -> bool:
        """Whether no request is excluded."""
        root = self.path is None or (self.path.value.kind in ("prefix", "segments") and self.path.value.text in ("", "/"))
        return root and not (self.method or self.headers or self.query or self.others or self.port)


@dataclass(frozen=True, slots=True)
class Subset:
    name: str
    labels: tuple[tuple[str, str], ...]
    src: Src = NOWHERE


@dataclass(frozen=True, slots=True)
class Filter:
    """Something done to a request or a response: `kind` request-headers, response-headers, redirect, rewrite, mirror, fault, cors,
    direct-response, external-auth, other.

    `parts` are (what, fact). Header filters say `set:name`, `add:name`, `remove:name`; redirects path, prefix, hostname, scheme, port and
    code; the other
    kinds keep the source's own paths.
    """

    kind: str
    parts: tuple[tuple[str, Fact[Any]], ...]

    def part(self, name: str) -> Fact[Any] | None:
        return next((fact for key, fact in self.parts if key == name), None)

    @property
    def idle(self) -> tuple[tuple[str, Fact[Any]], ...]:
        """The parts of what happens to no request: a copy of 0 %, and a delay or a failure for 0 % or for no share
        (networking/v1alpha3/virtual_service.proto in istio/api)."""
        if self.kind == "mirror":
            share = self.part("percent")
            return self.parts if share is not None and share.value == 0 else ()
        if self.kind != "fault":
            return ()
        shares = {path.partition(".")[0] for path, fact in self.parts if "percent" in path and fact.value not in (0, {})}
        return tuple((path, fact) for path, fact in self.parts if path.partition(".")[0] not in shares)

    @property
    def acting(self) -> Filter:
        """The filter without what is idle in it."""
        idle = self.idle
        return replace(self, parts=tuple(part for part in self.parts if part not in idle)) if idle else self


@dataclass(frozen=True, slots=True)
class Backend:
    """A Service (or another host, `host`), narrowed by `subset`. `weight` None: the only one, or the default of one."""

    service: Fact[Ref] | None
    host: Fact[str]
    port: Fact[int] | None = None
    subset: Fact[str] | None = None
    labels: Subset | None = None  # the subset, resolved; None where no subset or where it is not defined
    weight: Fact[Any] | None = None  # a Fraction or int, relative
    filters: tuple[Filter, ...] = ()
    refused: bool = False  # nobody may send there, and `service` is a name that no Service has


@dataclass(frozen=True, slots=True)
class RouteRule:
    """One rule. Durations are milliseconds; `extras` are settings by feature that only the source knows."""

    name: str
    matches: tuple[RouteMatch, ...]  # alternatives; () takes every request
    backends: tuple[Backend, ...]  # () : the Service itself
    filters: tuple[Filter, ...] = ()
    timeout: Fact[int] | None = None  # of the whole request, retries included
    response_timeout: Fact[int] | None = None
    idle_timeout: Fact[int] | None = None
    retry: Retry | None = None  # None: nothing said
    extras: tuple[tuple[str, Fact[Any]], ...] = ()
    src: Src = NOWHERE

    @property
    def everything(self) -> bool:
        """Whether the rule takes every request."""
        return not self.matches or any(match.everything for match in self.matches)

    @property
    def answers(self) -> bool:
        """Whether the proxy answers its requests by itself."""
        return any(item.kind in ("redirect", "direct-response") for item in self.filters)

    def filter(self, kind: str) -> Filter | None:
        return next((item for item in self.filters if item.kind == kind), None)

    @property
    def asking(self) -> Fact[Any] | None:
        """The external authorizer that is asked about its requests, or about those to one of its backends; None where none is."""
        every = (*self.filters, *(item for backend in self.backends for item in backend.filters))
        parts = tuple(part for item in every if item.kind == "external-auth" for _, part in item.parts)
        return Fact("ExternalAuth", gather(parts), "external-authorization.provider") if parts else None


@dataclass(frozen=True, slots=True)
class Beyond:
    """Whom rules for a host outside the cluster are for: clients of these namespaces, on these ports of the host."""

    clients: tuple[str, ...]
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ServiceRoutes:
    """The rules for requests to one Service (or host).

    `selection` is `first` (the first rule that matches) or `ranked` (the most specific match). `unmatched` is `refuse` (404) or `forward`
    (to the Service).
    """

    ref: Fact[Ref]  # the object
    kind: str
    service: Fact[Ref] | None
    host: Fact[str]
    port: Fact[int] | None
    rules: tuple[RouteRule, ...]
    selection: str
    unmatched: str
    document: int
    documents: tuple[int, ...] = ()  # all that were folded together
    consumer: Fact[str] | None = None  # only for clients of this namespace
    gateways: tuple[Fact[str], ...] = ()
    hostnames: tuple[Fact[str], ...] = ()  # of requests from outside, where the object lists them beside its gateways
    sections: tuple[str, ...] = ()  # the listeners by name, where only some of the gateways' are meant
    listener_port: int | None = None  # the port of the listeners that are meant, where the object names one
    protocol: str = "http"  # http, grpc, tls or tcp
    family: str = ""  # how the source ranks: a dialect's name
    exports: tuple[Fact[str], ...] = ()  # namespaces whose clients see it, where the source limits that
    hosts: int = 1  # how many hosts the object names
    problem: str = ""  # the code of what keeps the source mesh from acting on the object; "" where it acts
    silenced: tuple[tuple[str, Src], ...] = ()  # leaves that the source mesh does not act on, with the reason
    warnings: tuple[tuple[str, Fact[Any]], ...] = ()  # values that the source mesh cannot use as they stand, by code
    beyond: Beyond | None = None  # where the host is a destination outside the cluster that the source mesh knows
    src: Src = NOWHERE  # every leaf of the object that says something

    @property
    def in_envoys_words(self) -> bool:
        """Whether a percent sign in the value of a header asks Envoy for something, as it does where the objects are handed on to it as they are."""
        return self.family == "istio" or self.kind.endswith("EnvoyConfig")

    @property
    def mesh(self) -> bool:
        """Whether clients inside the mesh follow these rules."""
        return not self.gateways or any(gateway.value == "mesh" for gateway in self.gateways)

    @property
    def at_gateways(self) -> bool:
        """Whether gateways follow these rules."""
        return any(gateway.value != "mesh" for gateway in self.gateways)

    @property
    def subject_name(self) -> str:
        """What the rules are for, in words that subjects of differences begin with."""
        name = f"Service {self.service.value}" if self.service is not None else f"host {self.host.value}"
        return name + (f" for clients of {self.consumer.value}" if self.consumer is not None else "")


def gather(*things: Any) -> Src:
    """The leaves of facts, and of anything made of facts."""
    found: set[int] = set()
    stack = list(things)
    while stack:
        thing = stack.pop()
        if isinstance(thing, Fact):
            found |= thing.src
        elif isinstance(thing, frozenset):
            found |= {item for item in thing if isinstance(item, int)}
        elif isinstance(thing, tuple | list):
            stack.extend(thing)
        elif is_dataclass(thing) and not isinstance(thing, type):
            stack.extend(getattr(thing, item.name) for item in fields(thing))
    return frozenset(found)


def ports_of(world: World, service: Ref) -> tuple[int, ...]:
    """The TCP ports of a Service; () where the Service is not in the bundle."""
    known = world.services.get(service)
    return tuple(sorted(port.number for port in known.ports if port.protocol == "TCP")) if known else ()


def routes_subject(name: str, port: int | None = None) -> str:
    """What a difference in routing is about; `name` is `Service ns/name` or `host name`."""
    return f"routes of {name}" + (f" port {port}" if port else "")


def beyond_subject(routes: ServiceRoutes, client: str, port: int) -> str:
    """What a difference in the rules for a host outside is about, for the clients of one namespace."""
    return routes_subject(f"host {routes.host.value.lower()} for clients of {client}", port)


def connections_subject(name: str, port: int | None = None) -> str:
    """What a difference in where connections go is about; `name` is `Service ns/name` or `host name`."""
    return f"connections of {name}" + (f" port {port}" if port else "")


def gateway_connections(gateway: Ref) -> str:
    """What a difference in where connections go that come in through a Gateway is about."""
    return f"connections of Gateway {gateway}"


def ports_named(routes: ServiceRoutes) -> set[int]:
    """The ports of the Service that the rules speak of by number."""
    named = {match.port.value for rule in routes.rules for match in rule.matches if match.port is not None}
    return named | ({routes.port.value} if routes.port is not None else set())


def of_mesh(match: RouteMatch) -> bool:
    """Whether clients in the mesh come to a match: it is not for gateways alone."""
    return not any(name == "gateways" and "mesh" not in (fact.value or ()) for name, fact in match.others)


def comes_by(match: RouteMatch, gateways: Collection[str], home: str) -> bool:
    """Whether requests that come in through one of the Gateways (`namespace/name`) come to a match. It names those of the namespace `home` without it."""
    wanted = next((fact.value for name, fact in match.others if name == "gateways"), None)
    return wanted is None or any((text if "/" in text else f"{home}/{text}") in gateways for text in wanted if text != "mesh")


def met(match: RouteMatch) -> RouteMatch:
    """The match as those meet it whom it is for: that it holds in the mesh, or at a gateway, is no demand on a request."""
    return replace(match, others=tuple((name, fact) for name, fact in match.others if name != "gateways"))


def acts_on(routes: ServiceRoutes, port: int | None) -> bool:
    """Whether the rules say anything of requests in the mesh to a port. Istio leaves a VirtualService out where none of its matches is for the port and for
    the mesh, and sends what comes to the Service; elsewhere what no rule takes is answered 404.

    https://github.com/istio/istio/blob/master/pilot/pkg/networking/core/route/route.go, BuildHTTPRoutesForVirtualService: "no routes matched"
    """
    if routes.kind != "VirtualService":
        return True
    matches = (match for rule in routes.rules for match in rule.matches or (RouteMatch(),))
    return any(of_mesh(match) and (match.port is None or match.port.value == port) for match in matches)


def gateway_of(text: str, home: str) -> Ref:
    """The Gateway that an object in the namespace `home` names."""
    namespace, _, name = text.rpartition("/")
    return Ref(namespace if namespace not in ("", ".") else home, name)


def outer_gateways(routes: ServiceRoutes) -> tuple[Ref, ...]:
    """The Gateways that the rules hang on; one named without its namespace is in that of the object."""
    home = routes.ref.value.namespace
    found = [gateway_of(fact.value, home) for fact in routes.gateways if fact.value != "mesh"]
    return tuple(dict.fromkeys(found))


def behind_gateways(routed: Iterable[ServiceRoutes]) -> set[Ref]:
    """The Services that gateways send to."""
    rules = (rule for routes in routed if routes.at_gateways for rule in routes.rules)
    return {backend.service.value for rule in rules for backend in rule.backends if backend.service is not None}


def ingress_subject(gateway: Ref) -> str:
    """What a difference in the rules for requests from outside is about."""
    return f"ingress of Gateway {gateway}"


def subjects(world: World, routes: ServiceRoutes) -> tuple[str, ...]:
    """The subjects that these rules speak for: each Gateway that they hang on, and `_inside`."""
    if routes.protocol in ("tls", "tcp"):
        inside = tuple(name.replace("routes of ", "connections of ", 1) for name in _inside(world, routes))
        return (*inside, *(gateway_connections(gateway) for gateway in outer_gateways(routes)))
    return (*_inside(world, routes), *(ingress_subject(gateway) for gateway in outer_gateways(routes)))


def _inside(world: World, routes: ServiceRoutes) -> tuple[str, ...]:
    """For clients in the mesh: one subject for each port of a known Service; of an unknown one each port named, and all others."""
    if routes.beyond is not None:
        return tuple(beyond_subject(routes, client, port) for client in routes.beyond.clients for port in routes.beyond.ports)
    known = ports_of(world, routes.service.value) if routes.service is not None else ()
    if known:
        return tuple(routes_subject(routes.subject_name, port) for port in ([routes.port.value] if routes.port is not None else known))
    return (routes_subject(routes.subject_name), *(routes_subject(routes.subject_name, port) for port in sorted(ports_named(routes))))


def explains(world: World, routes: ServiceRoutes, *aspects: str) -> frozenset[tuple[str, str]]:
    """The differences that a finding about these rules answers for."""
    return frozenset((subject, aspect) for subject in subjects(world, routes) for aspect in aspects)
