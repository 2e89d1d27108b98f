"""Rules for requests that leave the cluster: HTTPRoutes and GRPCRoutes on an EgressNetwork, both ways.

A request that no route takes meets the network's own word, which refuses it or lets it go; one that a route sends to the network goes to the address that the
client chose, so no route can send it to another host. Retries and timeouts stand in annotations of the route, as on a Service.
https://linkerd.io/2-edge/reference/egress-network/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from meshport.dialects import naming
from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api import routes as gateway_api
from meshport.dialects.gateway_api.forwarding import nobody_there
from meshport.dialects.linkerd.routes import Lowering
from meshport.effective.egress import enrolled
from meshport.findings import Affected
from meshport.ir.base import Fact, Ref, sources
from meshport.ir.routing import Backend, Beyond, Filter, RouteMatch, RouteRule, ServiceRoutes, acts_on, met, of_mesh
from meshport.ir.world import Service, ServicePort

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Obj, Output
    from meshport.ir.exposure import EgressDefault, OutsidePort
    from meshport.ir.model import IR
    from meshport.mapping.bound import Bound

NETWORK = ("policy.linkerd.io", "EgressNetwork")
KINDS = {"HTTPRoute": "http", "GRPCRoute": "grpc"}


# -- lift


def lift(bound: Bound, by_kind: dict[tuple[str, str], list[int]], networks: Mapping[Ref, EgressDefault], options: Options, ir: IR) -> None:
    """The rules for each host, port and network, where they say more than that its requests may go."""
    found: dict[tuple[Ref, str, int], list[ServiceRoutes]] = {}
    for (group, kind), numbers in sorted(by_kind.items()):
        for number in numbers if kind in KINDS and group in gateway_api.GROUPS["linkerd"] else ():
            for place, routes in _on_networks(Cursor.root(bound, number), kind, networks, options, ir):
                assert routes.port is not None
                found.setdefault((place, routes.host.value.lower(), routes.port.value), []).append(routes)
    for _, listed in sorted(found.items(), key=lambda item: item[0]):
        if any(not _plain(rule) for routes in listed for rule in routes.rules):
            first = listed[0]
            ir.routes.append(
                replace(
                    first,
                    rules=tuple(rule for routes in listed for rule in routes.rules),
                    documents=tuple(dict.fromkeys(routes.document for routes in listed)),
                    silenced=tuple(item for routes in listed for item in routes.silenced),
                    warnings=tuple(item for routes in listed for item in routes.warnings),
                    host=first.host.also(*(routes.host for routes in listed)),
                    src=frozenset().union(*(routes.src for routes in listed)),
                )
            )


def _on_networks(
    root: Cursor, kind: str, networks: Mapping[Ref, EgressDefault], options: Options, ir: IR
) -> list[tuple[Ref, ServiceRoutes]]:
    """The rules of a route, for each network and host that it names."""
    spec, ref = root.at("spec"), gateway_api.named(root, options)
    parents = [
        parent
        for parent in spec.each("parentRefs")
        if parent.at("kind").value == NETWORK[1] and gateway_api.in_group(root, parent, NETWORK[0])
    ]
    if not parents:
        return []
    rules, silenced, warnings = gateway_api.rules_of(root, kind, ref, "linkerd", options)
    found: list[tuple[Ref, ServiceRoutes]] = []
    for parent in parents:
        name, place, port = parent.text("name"), parent.text("namespace"), parent.number_at("port")
        where = Ref(place.value if place else ref.value.namespace, name.value) if name is not None else None
        network = networks.get(where) if where is not None else None
        if where is None or network is None or port is None:
            continue
        own = {rule.namespace for rule in networks.values()}
        clients = (network.namespace,) if network.namespace else tuple(sorted(enrolled(ir) - own))
        for host in spec.strings("hostnames"):
            told = bool(found)
            routes = ServiceRoutes(
                ref, kind, None, host, port, tuple(replace(rule, backends=tuple(_going(one, where, host, root) for one in rule.backends)) for rule in rules),
                "ranked", "refuse" if network.refuses.value else "forward", root.number, (root.number,), protocol=KINDS[kind], family="linkerd",
                silenced=() if told else tuple(silenced), warnings=() if told else tuple(warnings), src=spec.src, beyond=Beyond(clients, (port.value,)),
            )  # fmt: skip
            found.append((where, routes))
    return found


def _going(backend: Backend, network: Ref, host: Fact[str], root: Cursor) -> Backend:
    """A backend that is the network as the host that requests are for; another network, or a kind that Linkerd does not know, as a Service that is not there."""
    if backend.service is not None:
        return backend
    name, _, rest = backend.host.value.partition(".")
    meant = Ref(rest.partition(".")[0] or network.namespace, name)
    if meant == network:
        return replace(backend, host=host.holding(host.value).also(backend.host))
    return nobody_there(replace(backend, service=backend.host.holding(meant)), backend.host.src, root)


def _plain(rule: RouteRule) -> bool:
    """Whether a rule lets every request go, and does nothing to it."""
    times = (rule.timeout, rule.response_timeout, rule.idle_timeout, rule.retry)
    named = all(name == "name" for name, _ in rule.extras)
    return rule.everything and named and not rule.filters and times == (None,) * 4 and all(one.service is None for one in rule.backends)


# -- lower


def rules_for(ir: IR, host: str, namespace: str, port: int) -> ServiceRoutes | None:
    """The rules that requests of a namespace's clients to a host and port meet; None where nobody says any, or they take the way through a gateway."""
    for routes in sorted(ir.routes, key=lambda item: item.ref.value):
        there = routes.beyond is not None and routes.host.value.lower() == host.lower() and not routes.problem
        if (
            there
            and routes.beyond is not None
            and namespace in routes.beyond.clients
            and port in routes.beyond.ports
            and acts_on(routes, port)
        ):
            return None if routes.at_gateways else routes
    return None


def clients(ir: IR) -> set[str]:
    """The namespaces whose clients meet rules for hosts outside."""
    return {name for routes in ir.routes if routes.beyond is not None and not routes.at_gateways for name in routes.beyond.clients}


@dataclass(slots=True)
class _Leaving(Lowering):
    """The rules for one host and port on their way into routes on an EgressNetwork."""

    alone: ClassVar[bool] = False  # what no rule takes is for the network to decide

    @property
    def place(self) -> tuple[str, int]:
        return "egress", 53

    @property
    def affects(self) -> tuple[Affected, ...]:
        return (Affected(self.service.ref.namespace),)

    @property
    def shown(self) -> str:
        return f"host {self.routes.host.value}"

    @property
    def denies(self) -> bool:
        """Whether the network refuses what no route takes."""
        network = self.out.objects.get((*NETWORK, self.service.ref))
        return network is not None and network.value["spec"]["trafficPolicy"] == "Deny"

    def unreachable(self, backend: Backend) -> tuple[str, Fact[Any]] | None:
        if backend.service is not None:
            return None
        assert self.routes.port is not None
        if backend.host.value.lower() != self.routes.host.value.lower():
            return f"another host outside ({backend.host.value})", backend.host
        if backend.subset is not None:
            return f"the subset {backend.subset.value} of a host outside", backend.subset
        if backend.port is not None and backend.port.value != self.routes.port.value:
            return f"another port of the host ({backend.port.value})", backend.port
        return None

    def rules(self) -> list[RouteRule]:
        """The rules; what none takes was answered 404 and is refused, which a network that refuses the rest does by itself."""
        rules = Lowering.rules(self)
        here = [one for rule in self.routes.rules for one in rule.matches or (RouteMatch(),)]
        if self.routes.unmatched == "forward" or any(of_mesh(one) and met(replace(one, port=None)).everything for one in here) or not rules:
            return rules
        if self.denies and self.routes.family == "cilium":
            return rules  # refused with 403 by both
        aspects = ("rules", "backends", "unmatched", "filters", "retries", "timeout")
        self.say("MP391", aspects=aspects, disposition=None, host=self.routes.host.value)
        refusal = Filter("direct-response", (("status", Fact(404)),))
        return rules if self.denies else [*rules, RouteRule("refused", (), (), (refusal,), src=self.routes.src)]

    def itself(self, rule: RouteRule) -> tuple[Backend, ...]:
        return () if rule.answers else (Backend(None, self.routes.host),)

    def referred(self, backend: Backend) -> tuple[str, str] | None:
        return NETWORK if backend.service is None else None

    def target(self, backend: Backend, port: int, rule: RouteRule) -> Ref | None:
        return self.service.ref if backend.service is None else Lowering.target(self, backend, port, rule)

    def parents(self, obj: Obj, port: int) -> None:
        routes = self.routes
        because = (routes.host, routes.port, routes.consumer)
        parent = ("spec", "parentRefs", 0)
        obj.set((*parent, "group"), NETWORK[0], *because)
        obj.set((*parent, "kind"), NETWORK[1], *because)
        obj.set((*parent, "name"), self.service.ref.name, *because)
        obj.set((*parent, "port"), port, *because, *(one.port for rule in routes.rules for one in rule.matches if one.port is not None))
        obj.set(("spec", "hostnames", 0), routes.host.value, routes.host)


def write(
    routes: ServiceRoutes, host: Fact[str], port: OutsidePort, network: Ref, because: Fact[Any], ir: IR, out: Output, options: Options
) -> None:
    """The rules for one host and port as routes on a network of a namespace. `because` is what says that the host is one outside."""
    number = port.number.value
    place = Fact(network.namespace, because.src, "routing.consumer")
    ported = Fact(number, sources(port.number, port.protocol, routes.port), port.number.feature)
    rules = tuple(
        replace(rule, matches=here, name=rule.name or f"number {place_in + 1}")
        for place_in, rule in enumerate(routes.rules)
        if (here := tuple(one for one in rule.matches if one.port is None or one.port.value == number)) or not rule.matches
    )
    narrowed = replace(
        routes,
        rules=rules,
        port=ported,
        consumer=place,
        host=host.also(routes.host),
        beyond=Beyond((network.namespace,), (number,)),
        hosts=1,
    )
    there = Service(network, None, [ServicePort(number, "http", number, "TCP", "")], False, "", {}, {}, routes.document)
    several = routes.hosts > 1 or routes.ref.value.namespace != network.namespace
    own = naming.name(routes.ref.value.name, host.value if several else "", str(number))
    _Leaving(ir, out, options, narrowed, there, name=own, ports=[number]).write()
