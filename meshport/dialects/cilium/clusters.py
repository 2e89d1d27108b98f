"""What the clusters of hand-written CiliumEnvoyConfigs do for the Services whose endpoints they are given: breakers, limits, balancing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.cilium import envoy, envoy_routes, hashing
from meshport.dialects.cilium.envoy_config import KIND, ORIGINAL
from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api.durations import milliseconds, one_unit
from meshport.ir.base import NOWHERE, Fact, Ref, Src
from meshport.ir.model import IR, Loss
from meshport.ir.resilience import (
    Breaker,
    ServicePolicy,
    joined,
)
from meshport.ir.routing import gather, ports_of
from meshport.mapping.bound import Bound
from meshport.values.ports import is_number

BALANCED, ALGORITHM = "service.cilium.io/lb-l7", "service.cilium.io/lb-l7-algorithm"
_BY_SERVICE = {"round_robin": "ROUND_ROBIN", "random": "RANDOM"}  # by requests in flight is what a mesh does that is told nothing
_FEATURES = {
    "interval": "breaker.interval",
    "maxEjectionPercent": "breaker.max-ejection-percent",
    "minHealthPercent": "breaker.min-health-percent",
    "consecutiveGatewayErrors": "breaker.gateway-errors",
    "consecutiveLocalOriginFailures": "breaker.local-origin",
    "splitExternalLocalOriginErrors": "breaker.local-origin",
    "connectionPool.tcp.maxConnections": "pool.tcp.max-connections",
    "connectionPool.tcp.connectTimeout": "pool.tcp.connect-timeout",
    "connectionPool.tcp.maxConnectionDuration": "pool.tcp.max-duration",
    "connectionPool.http.http1MaxPendingRequests": "pool.http.max-pending",
    "connectionPool.http.http2MaxRequests": "pool.http.max-requests",
    "connectionPool.http.maxRetries": "pool.http.max-retries",
    "retryBudget.percent": "retry.budget.ratio",
    "retryBudget.minRetryConcurrency": "retry.budget.min-concurrency",
    "connectionPool.http.idleTimeout": "pool.http.idle-timeout",
    "connectionPool.http.maxRequestsPerConnection": "pool.http.max-requests-per-connection",
    "connectionPool.http.maxConcurrentStreams": "pool.http.max-streams",
}


def lift(bound: Bound, by_kind: dict[tuple[str, str], list[int]], options: Options, ir: IR) -> None:
    """What the clusters of hand-written CiliumEnvoyConfigs do for the Services whose endpoints they are given."""
    beside: list[ServicePolicy] = []  # of clusters that the routes of other Services send to
    for root in envoy_routes.configs(bound, by_kind):
        number = root.number
        owned = {
            fact.value for place in root.each("spec", "services") if (fact := envoy_routes.service_of(root, place, options)) is not None
        }
        sent = set(envoy.sent(root.at("spec", "resources").value))
        reached = _reached(ir, number)
        by_service: dict[str, list[Cursor]] = {}
        for place in root.each("spec", "resources"):
            by_service.setdefault(_endpoints(place), []).append(place)
        read: dict[
            tuple[Ref, Ref, int], ServicePolicy
        ] = {}  # by the Service that is asked for, the one whose endpoints these are, and its port
        for place in root.each("spec", "resources"):
            called = place.text("name")
            if place.at("@type").value != envoy.TYPE + "config.cluster.v3.Cluster" or called is None or called.value not in sent:
                continue
            if place.at("type").value != "EDS":
                continue  # it has endpoints of its own, whatever its name
            policy = _policy(root, place, by_service.get(_endpoints(place), []), ir)
            served = policy.service if policy is not None else None
            if policy is None or served is None or served.value not in owned | reached:
                continue
            thresholds = place.each("circuit_breakers", "thresholds")
            plain = frozenset().union(*(one.at("priority").src for one in thresholds if one.at("priority").value == "DEFAULT"))
            ir.idle.append(Fact(envoy_routes.PLAIN, plain, "extension.cilium-envoy-config"))
            ir.deciding.append(Fact("a cluster of another type has other endpoints", place.at("type").src))
            what = place.at("@type").src
            policy = replace(policy, service=served.also(what), host=policy.host.also(what))  # without it there is no cluster
            ref, port = served.value, policy.port.value if policy.port is not None else 0
            read[_asked_for(ir, ref, owned), ref, port] = policy
        found: dict[Ref, list[ServicePolicy]] = {}
        for asked, port in dict.fromkeys((asked, port) for asked, _, port in read):
            together = {ref: one for (other, ref, place_), one in read.items() if (other, place_) == (asked, port)}
            setting = {ref: one for ref, one in together.items() if one.breaker is not None or one.extras} or together
            one, *others = setting.values()  # endpoints without settings are another destination's
            if all((one.breaker, one.extras) == (other.breaker, other.extras) for other in others) and (asked in owned or asked in setting):
                whole = joined([*setting.values()]) if others else one
                assert whole.service is not None
                host = f"{asked.name}.{asked.namespace}"
                found.setdefault(asked, []).append(
                    replace(whole, service=whole.service.holding(asked), host=whole.host.holding(host), port=one.port)
                )
            else:
                for ref, policy in together.items():
                    found.setdefault(ref, []).append(policy)
        for ref, policies in found.items():
            first = policies[0]
            ports = ports_of(ir.world, ref)
            spoken = {one.port.value for one in policies if one.port is not None}
            alike = (
                bool(ports) and spoken >= set(ports) and all((one.breaker, one.extras) == (first.breaker, first.extras) for one in policies)
            )
            (ir.service_policies if ref in owned else beside).extend([joined(policies)] if alike else policies)
    for policy in beside:
        _add(policy, ir)
    _balanced(bound, ir)


def _add(policy: ServicePolicy, ir: IR) -> None:
    """A policy from the routes of another Service: the same one where the Service's own say as much, or those of the Service that has its pods and others; else
    for more requests than it was."""
    for index, own in enumerate(ir.service_policies):
        alike = (own.breaker, own.extras, own.port) == (policy.breaker, policy.extras, policy.port)
        if alike and own.service is not None and policy.service is not None and _holds(ir, own.service.value, policy.service.value):
            ir.service_policies[index] = replace(joined([own, policy]), port=own.port)
            return
    if policy.service is not None and (policy.breaker is not None or policy.extras):
        facts = (policy.service.also(Fact("", gather(policy.breaker, policy.extras))),)
        ir.losses.append(Loss("MP386", facts, policy.document, {"name": str(policy.service.value)}))
    ir.service_policies.append(policy)


def _balanced(bound: Bound, ir: IR) -> None:
    """The algorithm of Services that the agent's proxy balances by itself, where no CiliumEnvoyConfig does
    (docs.cilium.io, "Layer 7 Load Balancing and URL re-writing", service.cilium.io/lb-l7)."""
    owned = {policy.service.value for policy in ir.service_policies if policy.service is not None}
    for ref, service in sorted(ir.world.services.items()):
        root = Cursor.root(bound, service.document)
        notes = root.at("metadata", "annotations")
        algorithm = notes.text(ALGORITHM)
        if algorithm is None:
            continue
        if notes.at(BALANCED).value != "enabled" or ref in owned or algorithm.value not in _BY_SERVICE:
            ir.idle.append(algorithm.holding("the agent's proxy does not balance the Service by it"))
            continue
        named, on = root.ref().holding(ref), notes.at(BALANCED).src
        simple = Fact(_BY_SERVICE[algorithm.value], algorithm.src | on, "load-balancing.algorithm")
        host = named.holding(f"{ref.name}.{ref.namespace}")
        ir.service_policies.append(
            ServicePolicy(
                root.ref(), "Service", named, host, None, (("loadBalancer.simple", simple),), service.document, src=algorithm.src | on
            )
        )


def _endpoints(place: Cursor) -> str:
    """The Service whose endpoints a cluster is given, `namespace/service`."""
    said = envoy_routes.endpoints(place)
    return said.value.partition(":")[0] if said is not None else ""


def _asked_for(ir: IR, ref: Ref, owned: set[Ref]) -> Ref:
    """The Service whose requests come to the endpoints of another one that has some of its pods, as those of a subset are; else the Service itself."""
    known = ir.world.services.get(ref)
    if ref in owned or known is None or not known.selector:
        return ref
    wider = [name for name in sorted(owned) if name != ref and _holds(ir, name, ref)]
    return wider[0] if len(wider) == 1 else ref


def _holds(ir: IR, wider: Ref, ref: Ref) -> bool:
    """Whether a Service is another one, or has all of its pods and others."""
    known, other = ir.world.services.get(ref), ir.world.services.get(wider)
    if wider == ref or known is None or other is None or not known.selector or not other.selector:
        return wider == ref
    return wider.namespace == ref.namespace and other.selector.items() < known.selector.items()


def _reached(ir: IR, number: int) -> set[Ref]:
    """The Services that the routes of a CiliumEnvoyConfig send to, as far as they were read."""
    rules = [rule for routes in ir.routes if routes.document == number for rule in routes.rules]
    return {backend.service.value for rule in rules for backend in rule.backends if backend.service is not None}


def _policy(root: Cursor, place: Cursor, others: list[Cursor], ir: IR) -> ServicePolicy | None:
    """A cluster `namespace/service[:port]` as the settings of that Service; what says what is so anyway goes to `deciding`."""
    deciding = ir.deciding
    name = envoy_routes.endpoints(place)
    if name is None or "/" not in name.value:
        return None
    namespace, _, rest = name.value.partition("/")
    service, _, port = rest.partition(":")
    if port and not is_number(port):
        return None
    ref = name.holding(Ref(namespace, service))
    extras: list[tuple[str, Fact[Any]]] = []
    for path, setting in envoy.POOL.items():
        fact = _read(place, setting, _FEATURES.get(path, "pool.tcp.keepalive" if "Keepalive" in path else "pool.http.keepalive"))
        default = (
            envoy.UNLIMITED
            if setting.path[:3] == envoy.THRESHOLD
            else one_unit(envoy.CONNECT_TIMEOUT)
            if "connectTimeout" in path
            else None
        )
        if fact is not None and fact.value != default:
            extras.append((path, fact.also(_options(place)) if setting.path[0] == envoy.OPTIONS[0] else fact))
        elif fact is not None:
            deciding.append(Fact("what every mesh does by itself: no limit, and ten seconds to connect", fact.src, fact.feature))
    deciding.extend(_as_meshes_do(root, place))
    algorithm = place.text("lb_policy")
    if algorithm is not None and algorithm.value in ("ROUND_ROBIN", "RANDOM"):
        extras.append(("loadBalancer.simple", Fact(algorithm.value, algorithm.src, "load-balancing.algorithm")))
    extras.extend(hashing.lift(root, place, others))
    return ServicePolicy(
        root.ref(),
        KIND,
        ref,
        ref.holding(f"{service}.{namespace}"),
        _breaker(place, ir),
        tuple(extras),
        root.number,
        port=name.holding(int(port)) if is_number(port) else None,
        src=place.src,
    )


def _options(place: Cursor) -> Fact[str]:
    """What makes options of a cluster's connections such, and that endpoints are spoken to as the client speaks."""
    options = place.at(*envoy.OPTIONS)
    plain = options.at("use_downstream_protocol_config")
    return Fact("", options.at("@type").src | (plain.src if plain.value == {} else NOWHERE))


def _as_meshes_do(root: Cursor, place: Cursor) -> Iterator[Fact[str]]:
    """What a cluster says that every mesh does by itself, and that another value would change: the endpoint with the fewest requests, failures in a row alone,
    no traffic to ejected endpoints where many are, and peers that keep their identity."""
    detection = place.at("outlier_detection")
    panic = place.at("common_lb_config", "healthy_panic_threshold", "value")
    other = "extension.cilium-envoy-config"
    said: tuple[tuple[Cursor, tuple[Any, ...], str], ...] = (
        (place.at("lb_policy"), ("LEAST_REQUEST",), "load-balancing.algorithm"),
        (detection.at("enforcing_success_rate"), (0,), other),
        (detection.at("enforcing_local_origin_success_rate"), (0,), other),
        (detection.at("enforcing_consecutive_5xx"), (100,), other),
        (detection.at("enforcing_consecutive_local_origin_failure"), (100,), other),
        (detection.at("enforcing_failure_percentage"), (0,), other),
        (panic, (0,), _FEATURES["minHealthPercent"] if detection else other),
        (root.at("metadata", "annotations").at(ORIGINAL), ("true",), other),
    )
    for here, values, feature in said:
        if here and here.value in values:
            yield Fact("what every mesh does by itself", here.src, feature)


def _breaker(place: Cursor, ir: IR) -> Breaker | None:
    """What ejects endpoints. Envoy counts, and ejects for the share of the cases that `enforcing_...` says: all, except for errors of gateways, where it is none."""
    block = place.at("outlier_detection")
    if not block:
        return None
    told = block.number_at("consecutive_5xx") or Fact(5, block.src)
    consecutive = _enforced(block, "consecutive_5xx", told, 100, ir) or told
    penalty = _time(block, "base_ejection_time") or Fact(30_000, block.src)
    longest = _time(block, "max_ejection_time")
    extras = []
    for name, setting in envoy.DETECTION.items():
        fact = _read(place, setting, _FEATURES[name])
        if name in ("consecutiveGatewayErrors", "consecutiveLocalOriginFailures"):
            fact = _enforced(block, str(setting.path[-1]), fact, 0 if name == "consecutiveGatewayErrors" else 100, ir)
        if fact is not None and not (name == "minHealthPercent" and fact.value == 0):
            extras.append((name, fact))
    return Breaker(
        Fact(consecutive.value, consecutive.src, "breaker.consecutive-errors"),
        Fact(penalty.value, penalty.src, "breaker.base-ejection"),
        Fact(longest.value, longest.src, "breaker.max-ejection") if longest is not None else None,
        tuple(extras),
        block.src,
    )


def _enforced(block: Cursor, key: str, count: Fact[Any] | None, usual: int, ir: IR) -> Fact[Any] | None:
    """The number in a row that ejects, known from what enforces it too; 0 where it is said not to be enforced, None where nothing is said."""
    share = block.at(f"enforcing_{key}")
    if (share.value if share else usual) == 0:
        if said := block.at(key).src:
            ir.idle.append(
                Fact("Envoy counts these, and ejects nobody for them unless it is told to enforce it", said, "breaker.consecutive-errors")
            )
        return share.fact(int)
    if share.value == 100 != usual:
        return (count or Fact(5, NOWHERE)).also(share.src)  # 5 are Envoy's own
    return count


def _time(place: Cursor, key: str) -> Fact[int] | None:
    return place.get(key, milliseconds)


def _read(place: Cursor, setting: envoy.Setting, feature: str) -> Fact[Any] | None:
    """A field of a cluster, in the IR's form: durations with one unit."""
    here = place
    by: Src = NOWHERE
    for step in setting.path[:-1]:
        if isinstance(step, int):  # a threshold: those for requests of high priority are for none, as no route read here gives one
            items = [item for item in here.each() if not (level := item.at("priority")) or level.value in (None, "DEFAULT")]
            if len(items) <= step:
                return None
            here = items[step]
            by = here.at("priority").src  # with another one the limit would be for none
        else:
            here = here.at(step)
    last = here.at(str(setting.path[-1]))
    if not last or isinstance(last.value, dict | list):
        return None
    try:
        value = last.value
        if setting.kind == "duration":
            value = one_unit(milliseconds(value))
        elif setting.kind == "seconds":
            value = one_unit(int(value) * 1000)
    except (ValueError, TypeError):
        return None
    return Fact(value, last.src | by, feature)
