"""Routes of hand-written CiliumEnvoyConfigs: those of an Envoy route configuration that a VirtualService or an HTTPRoute says as well, with timeout and retries.

A configuration with anything else in it is left whole to the finding about the Envoy resource: half of a route table sends requests elsewhere.
https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.cilium import envoy, envoy_actions, envoy_cors, envoy_faults, envoy_matches, hashing
from meshport.dialects.cilium.envoy_actions import Other, only
from meshport.dialects.cilium.envoy_config import ORIGINAL
from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api.durations import milliseconds, one_unit
from meshport.ir.base import NOWHERE, Fact, Ref, Src, sources
from meshport.ir.model import IR, Loss
from meshport.ir.resilience import Retry
from meshport.ir.routing import Backend, Filter, RouteRule, ServiceRoutes
from meshport.mapping.bound import Bound
from meshport.values.ports import is_number

KINDS = ("CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig")
PLAIN_TIMEOUT = 15_000
"""What Envoy waits for an answer where a route does not say, in milliseconds."""
BACKOFF_SPAN = 10
"""How many times its first pause Envoy waits at most between two tries, where a policy does not say; Istio leaves it at that."""
PLAIN = "a name, or what every mesh does by itself"
_MANAGER = envoy.TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_HEADERS = [f"{stem}_{what}" for stem in envoy_actions.HEADERS.values() for what in ("add", "remove")]
_REWRITES = ("prefix_rewrite", "regex_rewrite", "host_rewrite_literal")
_RETRY_KEYS = {"retry_on", "num_retries", "per_try_timeout", "retry_back_off", "retriable_status_codes"}


def configs(bound: Bound, by_kind: dict[tuple[str, str], list[int]]) -> list[Cursor]:
    """The configurations that somebody wrote: one that a Gateway, a route or an Ingress owns was generated and says nothing of its own."""
    roots = [Cursor.root(bound, number) for kind in KINDS for number in by_kind.get(("cilium.io", kind), [])]
    return [root for root in roots if not root.each("metadata", "ownerReferences")]


def service_of(root: Cursor, entry: Cursor, options: Options) -> Fact[Ref] | None:
    """The Service of an entry of `services`: of the object's namespace, whatever it says; of the one that it names where the object has none."""
    name = entry.text("name")
    if name is None:
        return None
    if root.document.kind == KINDS[0]:
        return name.holding(Ref(root.document.namespace or options.default_namespace, name.value))
    home = entry.text("namespace")
    return name.also(home).holding(Ref(home.value if home is not None else "default", name.value))


def endpoints(cluster: Cursor) -> Fact[str] | None:
    """What names the Service whose endpoints a cluster is given, `namespace/service[:port]`: its own name, unless it says another."""
    said = cluster.text("eds_cluster_config", "service_name") or cluster.text("edsClusterConfig", "serviceName")
    name = cluster.text("name")
    return said.also(name) if said is not None else name


def lift(bound: Bound, by_kind: dict[tuple[str, str], list[int]], options: Options, ir: IR) -> None:
    """The rules for each Service that a CiliumEnvoyConfig takes the requests of."""
    named = set(_listeners_of_policies(bound, by_kind))
    for root in configs(bound, by_kind):
        if _for_nobody(root) and (root.document.kind, root.document.name) not in named:
            why = "it takes the requests to no Service, and no policy of the input sends any to it"
            ir.idle.append(Fact(why, root.at("spec").src | root.ref().src, "extension.cilium-envoy-config"))
            continue
        clusters = {
            str(place.at("name").value): place
            for place in root.each("spec", "resources")
            if place.at("@type").value == envoy.TYPE + "config.cluster.v3.Cluster"
        }
        losses: list[Loss] = []
        acting = {ref.value: entry for entry in root.each("spec", "services") if (ref := service_of(root, entry, options)) is not None}
        for entry in root.each("spec", "services"):
            service = service_of(root, entry, options)
            if service is not None and acting[service.value].src != entry.src:  # the agent keeps one listener for a Service
                ir.idle.append(Fact("a later entry for the same Service takes its requests", entry.src, "extension.cilium-envoy-config"))
                continue
            if service is not None:
                _bytes(root, entry, service.value, clusters, ir)
            found = _table(root, entry) if service is not None else None
            if service is None or found is None:
                continue
            way, plain, table, answering = found
            try:
                rules = _rules(table, answering, _Clusters(clusters, options), root.number, losses)
            except Other:
                continue
            listed = entry.at("ports").src
            ir.idle.append(
                Fact(PLAIN, plain | root.at("spec", "backendServices").src | entry.src - listed - way, "extension.cilium-envoy-config")
            )
            ir.deciding.append(Fact("requests to another port would go this way", listed))
            original = root.at("metadata", "annotations").at(ORIGINAL)
            if original.value == "true":
                ir.deciding.append(Fact("what every mesh does by itself", original.src, "extension.cilium-envoy-config"))
            service = service.also(way)  # what leads requests to the routes
            ports = [fact for item in entry.each("ports") if (fact := item.fact(int)) is not None]
            places: list[Fact[int] | None] = [*ports] or [None]
            ref = root.ref().holding(Ref(service.value.namespace, root.document.name))
            taken = any(_taken(one, service.value) for one in ir.routes)
            for port in places:
                ir.routes.append(
                    ServiceRoutes(
                        ref, root.document.kind, service, service.map(lambda ref: f"{ref.name}.{ref.namespace}.svc.{options.cluster_domain}"), port, rules,
                        "first", "refuse", root.number, (root.number,), family="cilium", problem="MP399" if taken else "",
                        src=table.src | way | entry.src,
                    )
                )  # fmt: skip
        ir.losses.extend(losses)


def _taken(routes: ServiceRoutes, service: Ref) -> bool:
    """Whether other rules for requests have the Service already: Cilium gives it to one object, whatever its ports (registerL7LBServiceRedirect of
    pkg/service/service.go in cilium/cilium)."""
    same = not routes.problem and routes.service is not None and routes.service.value == service
    return same and routes.mesh and routes.protocol in ("http", "grpc")


def _for_nobody(root: Cursor) -> bool:
    """Whether nothing reaches its listeners by themselves: no Service is named, and none listens at an address of its own."""
    return not root.each("spec", "services") and not any(place.at("address") for place in root.each("spec", "resources"))


def _listeners_of_policies(bound: Bound, by_kind: dict[tuple[str, str], list[int]]) -> Iterator[tuple[str, str]]:
    """Kind and name of the configurations to whose listeners policies send connections."""
    for kind in ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"):
        for number in by_kind.get(("cilium.io", kind), []):
            stack: list[Any] = [bound.bundle.documents[number].value.get("spec"), bound.bundle.documents[number].value.get("specs")]
            while stack:
                value = stack.pop()
                found = value.get("envoyConfig") if isinstance(value, dict) else None
                if isinstance(found, dict):
                    yield str(found.get("kind") or KINDS[0]), str(found.get("name"))
                stack += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


@dataclass(frozen=True, slots=True)
class _Clusters:
    """The clusters of a configuration, by name."""

    places: dict[str, Cursor]
    options: Options

    def backend(self, name: Fact[str] | None, weight: Fact[int] | None) -> Backend:
        """A cluster as the Service whose endpoints it is given."""
        place = self.places.get(name.value) if name is not None else None  # without one Envoy answers 503
        said = endpoints(place) if place is not None and place.at("type").value == "EDS" else None
        namespace, slash, rest = said.value.partition("/") if said is not None else ("", "", "")
        service, _, port = rest.partition(":")
        if name is None or place is None or said is None or not (namespace and slash and service) or (port and not is_number(port)):
            raise Other
        src, host = name.src | said.src | place.at("@type").src, f"{service}.{namespace}.svc.{self.options.cluster_domain}"
        return Backend(
            Fact(Ref(namespace, service), src, "routing.destination"), Fact(host, src, "routing.destination"),
            Fact(int(port), src, "routing.destination-port") if port else None, weight=Fact(weight.value, weight.src, "routing.weight") if weight else None,
        )  # fmt: skip


def _table(root: Cursor, entry: Cursor) -> tuple[Src, Src, Cursor, Src] | None:
    """What leads to the route configuration that requests to a Service are matched in, what does not matter on the way, it itself, and the filter that answers
    CORS requests; None where that is not one plain listener."""
    found = _filter(root, entry, _MANAGER)
    if found is None:
        return None
    way, names, manager = found
    name, inline = manager.text("rds", "route_config_name"), manager.at("route_config")
    tables = [inline] if inline else [item for item in root.each("spec", "resources") if name is not None and _is_table(item, name.value)]
    if not tables:
        return None
    table, hosts = tables[0], tables[0].each("virtual_hosts")
    way = way.union(manager.at("rds").src, table.at("@type").src, *(host.at("domains").src for host in hosts))
    plain = (_plain(manager) | names).union(*(host.at("name").src for host in hosts))
    called = table.at("name").src
    answering = frozenset[int]().union(*(item.src for item in manager.each("http_filters") if item.at("name").value == envoy_cors.FILTER))
    if answering and not any(route.at("typed_per_filter_config") for host in hosts for route in host.each("routes")):
        plain |= answering
    return (way, plain | called, table, answering) if inline else (way | called, plain, table, answering)


def _is_table(item: Cursor, name: str) -> bool:
    return bool(item.at("@type").value == envoy.TYPE + "config.route.v3.RouteConfiguration" and item.at("name").value == name)


def _bytes(root: Cursor, entry: Cursor, service: Ref, clusters: dict[str, Cursor], ir: IR) -> None:
    """A listener that hands the bytes for a Service on to the endpoints of that Service does what every mesh does by itself."""
    found = _filter(root, entry, hashing.BYTES)
    if found is None:
        return
    way, names, proxy = found
    name = proxy.text("cluster")
    said = endpoints(clusters[name.value]) if name is not None and name.value in clusters else None
    if (
        said is None
        or not set(proxy.keys()) <= {"@type", "stat_prefix", "cluster", "hash_policy"}
        or (proxy.at("hash_policy") and hashing.read(proxy) is None)
    ):
        return
    home, _, port = said.value.partition(":")
    listed = [item.value for item in entry.each("ports")]
    if home != str(service) or (port and listed != [int(port)] if is_number(port) else port):
        return
    ir.deciding.append(Fact("bytes for the Service would go elsewhere", way | proxy.at("cluster").src | entry.at("ports").src))
    plain = proxy.at("stat_prefix").src | names | entry.src - way - entry.at("ports").src
    ir.idle.append(Fact(PLAIN, plain | root.at("spec", "backendServices").src, "extension.cilium-envoy-config"))


def _filter(root: Cursor, entry: Cursor, kind: str) -> tuple[Src, Src, Cursor] | None:
    """What leads to the one filter of the listener that a Service's traffic goes to, mere names on the way, and its configuration; None where it is another."""
    listeners = [place for place in root.each("spec", "resources") if place.at("@type").value == envoy.TYPE + "config.listener.v3.Listener"]
    wanted = entry.text("listener")
    place = next((one for one in listeners if wanted is None or one.at("name").value == wanted.value), None)
    chains = place.each("filter_chains") if place is not None else []
    filters = chains[0].each("filters") if len(chains) == 1 else []
    if place is None or len(filters) != 1 or filters[0].at("typed_config", "@type").value != kind:
        return None
    config = filters[0].at("typed_config")
    way = place.at("@type").src | (wanted.src | place.at("name").src if wanted is not None else NOWHERE)
    return way | config.at("@type").src, place.at("name").src | filters[0].at("name").src, config


def _plain(manager: Cursor) -> Src:
    """The leaves of a connection manager that say what every mesh does, or name it in metrics."""
    src = manager.at("stat_prefix").src
    for key in ("use_remote_address", "skip_xff_append"):
        src |= manager.at(key).src if manager.at(key).value is True else NOWHERE
    filters = manager.each("http_filters")
    if filters and filters[-1].at("name").value == "envoy.filters.http.router" and set(filters[-1].at("typed_config").keys()) <= {"@type"}:
        src |= filters[-1].src  # what every listener ends with
    if [item.at("upgrade_type").value for item in manager.each("upgrade_configs")] == ["websocket"]:
        src |= manager.at("upgrade_configs").src
    return src


def _rules(table: Cursor, answering: Src, clusters: _Clusters, number: int, losses: list[Loss]) -> tuple[RouteRule, ...]:
    only(table, "@type", "name", "virtual_hosts")
    hosts = table.each("virtual_hosts")
    if len(hosts) != 1 or [item.value for item in hosts[0].each("domains")] != ["*"]:
        raise Other
    only(hosts[0], "name", "domains", "routes")
    listed = envoy_faults.lift(hosts[0].each("routes"))
    return tuple(
        _rule(place, [*((failing,) if failing is not None else ()), *envoy_cors.read(place, answering)], clusters, number, losses)
        for place, failing in listed
    )


def _rule(place: Cursor, before: list[Filter], clusters: _Clusters, number: int, losses: list[Loss]) -> RouteRule:
    only(place, "name", "match", "route", "redirect", "direct_response", "typed_per_filter_config", *_HEADERS)
    action, name = place.at("route"), place.text("name")
    match = envoy_matches.match_of(place.at("match"))
    folded = place.at("match", "case_sensitive").value is False and place.at("match", "prefix")
    if folded and (action.at("prefix_rewrite") or place.at("redirect", "prefix_rewrite")):
        raise Other  # the prefix is replaced in whatever case it is, and the expression that stands for it is for the whole path
    filters = [*before, *envoy_actions.headers_of(place), *envoy_actions.redirect_of(place.at("redirect"), match)]
    filters += envoy_actions.answer_of(place.at("direct_response"))
    if not action:
        if not place.at("redirect") and not place.at("direct_response"):
            raise Other
        return RouteRule(name.value if name else "", (match,), (), tuple(filters), src=place.src)
    only(
        action,
        "cluster",
        "weighted_clusters",
        "timeout",
        "idle_timeout",
        "retry_policy",
        "request_mirror_policies",
        "hash_policy",
        *_REWRITES,
    )
    if action.at("hash_policy") and hashing.read(action) is None:
        raise Other
    said, idle = action.get("timeout", milliseconds), action.get("idle_timeout", milliseconds)
    if (action.at("timeout") and said is None) or (action.at("idle_timeout") and not (idle and idle.value)):
        raise Other
    backends = _backends(action, clusters)
    timeout = (
        Fact(PLAIN_TIMEOUT, sources(*(one.host for one in backends)), "timeout.request")
        if said is None
        else Fact(said.value, said.src, "timeout.request")
    )
    filters += envoy_actions.rewrite_of(action, match)
    for item in action.each("request_mirror_policies"):
        copied = clusters.backend(item.text("cluster"), None)
        filters.append(envoy_actions.copy_of(item, copied.host, copied.port))
    return RouteRule(
        name.value if name else "",
        (match,),
        backends,
        tuple(filters),
        timeout=timeout,
        idle_timeout=Fact(idle.value, idle.src, "timeout.idle") if idle else None,
        retry=_retry(action.at("retry_policy"), number, losses),
        src=place.src,
    )


def _backends(action: Cursor, clusters: _Clusters) -> tuple[Backend, ...]:
    if action.at("cluster"):
        return (clusters.backend(action.text("cluster"), None),)
    only(action.at("weighted_clusters"), "clusters", "total_weight")
    found = []
    for item in action.each("weighted_clusters", "clusters"):
        only(item, "name", "weight", *_HEADERS)
        backend = clusters.backend(item.text("name"), item.number_at("weight") or Fact(0, item.at("name").src))
        found.append(replace(backend, filters=tuple(envoy_actions.headers_of(item))))
    if not any(backend.weight is not None and backend.weight.value for backend in found):
        raise Other  # Envoy takes no shares that sum to nothing
    return tuple(found)


def _retry(place: Cursor, number: int, losses: list[Loss]) -> Retry | None:
    """A retry policy; one that names no condition retries nothing."""
    if not place:
        return None
    only(place, *_RETRY_KEYS)
    listed, tries, each = place.text("retry_on"), place.number_at("num_retries"), place.get("per_try_timeout", milliseconds)
    if (place.at("per_try_timeout") and each is None) or (place.at("num_retries") and tries is None):
        raise Other
    words = [word.strip() for word in listed.value.split(",") if word.strip()] if listed is not None else []
    if listed is None or not words:
        return Retry(Fact(0, place.src, "retry.attempts"), src=place.src)
    codes = [fact for item in place.each("retriable_status_codes") if (fact := item.fact(int)) is not None]
    by_code = "retriable-status-codes" in words
    conditions = [Fact(word, listed.src, "retry.conditions") for word in words if word != "retriable-status-codes" or not codes]
    conditions += [Fact(str(fact.value), fact.src | listed.src, "retry.conditions") for fact in codes] if by_code else []
    if codes and not by_code:
        raise Other
    attempts = Fact(tries.value, tries.src, "retry.attempts") if tries is not None else Fact(1, listed.src, "retry.attempts")
    per_try = Fact(each.value, each.src, "retry.per-try-timeout") if each is not None else None
    return Retry(attempts, per_try, tuple(conditions), _pause(place.at("retry_back_off"), number, losses), src=place.src)


def _pause(place: Cursor, number: int, losses: list[Loss]) -> tuple[tuple[str, Fact[Any]], ...]:
    """The pause before a try; how long it grows is lost where it is not what Envoy makes of it by itself."""
    if not place:
        return ()
    only(place, "base_interval", "max_interval")
    base, most = place.get("base_interval", milliseconds), place.get("max_interval", milliseconds)
    if base is None or base.value < 1 or (place.at("max_interval") and most is None):
        raise Other
    alike = most is not None and most.value == BACKOFF_SPAN * base.value
    if most is not None and not alike:
        losses.append(
            Loss("MP385", (Fact(one_unit(most.value), most.src, "retry.backoff"),), number, {"most": one_unit(BACKOFF_SPAN * base.value)})
        )
    return (("backoff", Fact(one_unit(base.value), base.src | (most.src if most is not None and alike else frozenset()), "retry.backoff")),)
