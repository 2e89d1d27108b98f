"""Circuit breaking and connection limits, as the Envoy clusters of a CiliumEnvoyConfig; both directions.

One CiliumEnvoyConfig a Service, never of the Service's own name (GAMMA generates that one) and never beside a route on the same Service: only one may own
a Service port. https://docs.cilium.io/en/stable/network/servicemesh/l7-traffic-management/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from meshport.dialects import exposure, protocols
from meshport.dialects.base import Options
from meshport.dialects.cilium import envoy, envoy_routes
from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api import backends
from meshport.dialects.gateway_api.durations import milliseconds, one_unit
from meshport.dialects.losses import clients_alone, in_force, names_nothing, report
from meshport.dialects.output import Obj, Output
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Fact, Ref, Src
from meshport.ir.exposure import LOCALITY
from meshport.ir.model import IR, Loss
from meshport.ir.resilience import Breaker, ServicePolicy, breaker_subjects, explains_policy, joined, policy_subjects, single_ports
from meshport.ir.routing import gather, ports_of
from meshport.ir.world import Service, ServicePort
from meshport.mapping.bound import Bound
from meshport.mapping.table import version_key
from meshport.values.ports import is_number

API = "cilium.io/v2"
KIND = "CiliumEnvoyConfig"
ORIGINAL = "cec.cilium.io/use-original-source-address"
BALANCED, ALGORITHM = "service.cilium.io/lb-l7", "service.cilium.io/lb-l7-algorithm"
_BY_SERVICE = {"round_robin": "ROUND_ROBIN", "random": "RANDOM"}  # by requests in flight is what a mesh does that is told nothing
LONGEST_EJECTION = 300_000
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
    "connectionPool.http.idleTimeout": "pool.http.idle-timeout",
    "connectionPool.http.maxRequestsPerConnection": "pool.http.max-requests-per-connection",
    "connectionPool.http.maxConcurrentStreams": "pool.http.max-streams",
}


# -- lift


def lift(bound: Bound, by_kind: dict[tuple[str, str], list[int]], options: Options, ir: IR) -> None:
    """What the clusters of hand-written CiliumEnvoyConfigs do for the Services whose endpoints they are given."""
    for root in envoy_routes.configs(bound, by_kind):
        number = root.number
        found: dict[Ref, list[ServicePolicy]] = {}
        owned = {
            fact.value for place in root.each("spec", "services") if (fact := envoy_routes.service_of(root, place, options)) is not None
        }
        sent = set(envoy.sent(root.at("spec", "resources").value))
        reached = _reached(ir, number)
        for place in root.each("spec", "resources"):
            called = place.text("name")
            if place.at("@type").value != envoy.TYPE + "config.cluster.v3.Cluster" or called is None or called.value not in sent:
                continue
            policy = _policy(root, place, number, ir.deciding)
            served = policy.service if policy is not None else None
            if policy is None or served is None:
                continue
            ref = served.value
            if ref in owned or ref in reached:
                thresholds = place.each("circuit_breakers", "thresholds")
                plain = place.at("type").src if place.at("type").value == "EDS" else NOWHERE
                plain |= thresholds[0].at("priority").src if thresholds and thresholds[0].at("priority").value == "DEFAULT" else NOWHERE
                ir.idle.append(Fact(envoy_routes.PLAIN, plain, "extension.cilium-envoy-config"))
                what = place.at("@type").src
                policy = replace(policy, service=served.also(what), host=policy.host.also(what))  # without it there is no cluster
                found.setdefault(ref, []).append(policy)
            if ref not in owned and ref in reached and (policy.breaker is not None or policy.extras):
                facts = (served.also(Fact("", gather(policy.breaker, policy.extras))),)
                ir.losses.append(Loss("MP386", facts, number, {"name": str(ref)}))
        for policies in found.values():
            first = policies[0]
            ports = ports_of(ir.world, first.service.value) if first.service is not None else ()
            spoken = {one.port.value for one in policies if one.port is not None}
            alike = (
                len(policies) > 1
                and spoken >= set(ports)
                and all((one.breaker, one.extras) == (first.breaker, first.extras) for one in policies)
            )
            ir.service_policies.extend([joined(policies)] if alike else policies)
    _balanced(bound, ir)


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


def _reached(ir: IR, number: int) -> set[Ref]:
    """The Services that the routes of a CiliumEnvoyConfig send to, as far as they were read."""
    rules = [rule for routes in ir.routes if routes.document == number for rule in routes.rules]
    return {backend.service.value for rule in rules for backend in rule.backends if backend.service is not None}


def _policy(root: Cursor, place: Cursor, number: int, deciding: list[Fact[str]]) -> ServicePolicy | None:
    """A cluster `namespace/service[:port]` as the settings of that Service; what says what is so anyway goes to `deciding`."""
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
            extras.append((path, fact))
        elif fact is not None:
            deciding.append(Fact("what every mesh does by itself: no limit, and ten seconds to connect", fact.src, fact.feature))
    deciding.extend(_as_meshes_do(root, place))
    algorithm = place.text("lb_policy")
    if algorithm is not None and algorithm.value in ("ROUND_ROBIN", "RANDOM"):
        extras.append(("loadBalancer.simple", Fact(algorithm.value, algorithm.src, "load-balancing.algorithm")))
    return ServicePolicy(
        root.ref(),
        KIND,
        ref,
        ref.holding(f"{service}.{namespace}"),
        _breaker(place),
        tuple(extras),
        number,
        port=name.holding(int(port)) if is_number(port) else None,
        src=place.src,
    )


def _as_meshes_do(root: Cursor, place: Cursor) -> Iterator[Fact[str]]:
    """What a cluster says that every mesh does by itself, and that another value would change: the endpoint with the fewest requests, failures in a row alone,
    no traffic to ejected endpoints where many are, and peers that keep their identity."""
    detection = place.at("outlier_detection")
    panic = place.at("common_lb_config", "healthy_panic_threshold", "value")
    other = "extension.cilium-envoy-config"
    said: tuple[tuple[Cursor, tuple[Any, ...], str], ...] = (
        (place.at("lb_policy"), ("LEAST_REQUEST",), "load-balancing.algorithm"),
        (detection.at("enforcing_success_rate"), (0,), other),
        (detection.at("enforcing_failure_percentage"), (0,), other),
        (panic, (0,), _FEATURES["minHealthPercent"] if detection else other),
        (root.at("metadata", "annotations").at(ORIGINAL), ("true",), other),
    )
    for here, values, feature in said:
        if here and here.value in values:
            yield Fact("what every mesh does by itself", here.src, feature)


def _breaker(place: Cursor) -> Breaker | None:
    block = place.at("outlier_detection")
    if not block:
        return None
    consecutive = block.number_at("consecutive_5xx") or Fact(5, block.src)
    penalty = _time(block, "base_ejection_time") or Fact(30_000, block.src)
    longest = _time(block, "max_ejection_time")
    extras = []
    for name, setting in envoy.DETECTION.items():
        fact = _read(place, setting, _FEATURES[name])
        if fact is not None and not (name == "minHealthPercent" and fact.value == 0):
            extras.append((name, fact))
    return Breaker(
        Fact(consecutive.value, consecutive.src, "breaker.consecutive-errors"),
        Fact(penalty.value, penalty.src, "breaker.base-ejection"),
        Fact(longest.value, longest.src, "breaker.max-ejection") if longest is not None else None,
        tuple(extras),
        block.src,
    )


def _time(place: Cursor, key: str) -> Fact[int] | None:
    return place.get(key, milliseconds)


def _read(place: Cursor, setting: envoy.Setting, feature: str) -> Fact[Any] | None:
    """A field of a cluster, in the IR's form: durations with one unit."""
    here = place
    for step in setting.path[:-1]:
        if isinstance(step, int):
            items = here.each()
            if len(items) <= step:
                return None
            here = items[step]
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
    return Fact(value, last.src, feature)


# -- lower


@dataclass(slots=True)
class Wanted:
    """What one Service gets: the policy of the whole Service, and those of single ports."""

    service: Service
    whole: ServicePolicy | None = None
    ports: dict[int, ServicePolicy] = field(default_factory=dict)
    apart: frozenset[int] = frozenset()  # the ports for which the policy of the whole Service does not stand

    def of(self, port: ServicePort) -> ServicePolicy | None:
        return self.ports.get(port.number) or (None if port.number in self.apart else self.whole)


def lower(ir: IR, out: Output, options: Options) -> None:
    """A CiliumEnvoyConfig for each Service that has a breaker or limits; what it cannot hold is named in findings."""
    wanted: dict[Ref, Wanted] = {}
    routed = routed_services(ir, out)
    referred = gather(*(backend.labels for routes in ir.routes for rule in routes.rules for backend in rule.backends))
    shared = frozenset(item.service.value for item in ir.shared if item.prefers is not None and item.service.value in ir.world.services)
    served = (
        "its Gateways do since 1.20, but check no subjectAltNames"
        if version_key(options.target_version) >= (1, 20)
        else "nor do its Gateways before 1.20"
    )
    backends.unread(ir, out, "Cilium", served)
    for policy in sorted(
        ir.service_policies, key=lambda item: (item.host.value, item.subset, item.port.value if item.port else 0, item.ref.value)
    ):
        if policy.kind in backends.GROUPS:
            continue
        for reason, src in policy.silenced:
            out.ignore(reason, src)
        if policy.kind == KIND:
            out.imply("stays as it is", policy.src)
            continue
        policy = in_force(policy, ir, out)
        if policy.subset and not policy.src & (referred - gather(policy.host)):
            out.adds_nothing("no route sends to this subset", policy.src - gather(policy.host, policy.breaker, policy.extras))
        if clients_alone(policy, _affects(policy), out):
            continue
        _rest(policy, out, shared)
        if not _weighty(policy):
            if out.bundle.documents[policy.document].kind == "Service":
                out.imply("the Service stays", policy.host, policy.port)
            else:
                names_nothing(policy, ir, out, _weighty)
            continue
        for ref in policy.covers if policy.service is None else (policy.service.value,):
            service = _able(policy, ref, ir, out, routed)
            if service is None:
                continue
            target = wanted.setdefault(ref, Wanted(service))
            if policy.port is not None:
                target.ports[policy.port.value] = policy
            else:
                target.whole = policy
                target.apart = frozenset(single_ports(ir.service_policies, policy, ref))
        if policy.service is None and not policy.covers:
            _say(policy, out, "MP515")
    for ref in sorted(wanted):
        _write(wanted[ref], out)


def routed_services(ir: IR, out: Output) -> set[Ref]:
    """The Services that Gateway API routes stand on, in the input or in the output."""
    found = {
        routes.service.value
        for routes in ir.routes
        if ir.mesh != "linkerd"  # whose routes on Services leave with it, whether they are said here or not
        and routes.service is not None
        and routes.kind in ("HTTPRoute", "GRPCRoute")
        and routes.mesh
    }
    for obj in out.objects.values():
        if obj.kind in ("HTTPRoute", "GRPCRoute"):
            for parent in obj.value.get("spec", {}).get("parentRefs", ()):
                if isinstance(parent, dict) and parent.get("kind") == "Service":
                    found.add(Ref(str(parent.get("namespace") or obj.ref.namespace), str(parent.get("name", ""))))
    return found


def _weighty(policy: ServicePolicy) -> bool:
    """Whether the policy says something that a CiliumEnvoyConfig is worth writing for."""
    breaking = policy.breaker is not None and policy.breaker.consecutive.value != 0
    return breaking or any(path in envoy.POOL for path, _ in policy.extras)


def _able(policy: ServicePolicy, ref: Ref, ir: IR, out: Output, routed: set[Ref]) -> Service | None:
    """The Service, where a CiliumEnvoyConfig can stand for it; else a finding says why not."""
    service = ir.world.services.get(ref)
    if policy.subset:
        _say(policy, out, "MP524", why=f"the subset {policy.subset} has no listener of its own")
    elif service is None:
        _say(policy, out, "MP522", ref, namespace=ref.namespace, name=ref.name)
    elif service.headless or service.external_name or not service.ports:
        _say(policy, out, "MP523", ref, what="headless" if service.headless else "without a cluster IP")
    elif ref in routed:
        _say(policy, out, "MP524", ref, why="a Gateway API route owns the Service's ports, and only one object may")
    else:
        return service
    return None


def _say(policy: ServicePolicy, out: Output, code: str, ref: Ref | None = None, **values: Any) -> None:
    """What is left out: the breaker and the limits of a policy, for all its Services or for one."""
    limits = tuple(fact for path, fact in policy.extras if path in envoy.POOL or path == "loadBalancer.simple")
    out.finding(
        code, gather(policy.breaker, limits, policy.port, policy.host), document=policy.document, disposition="dropped", affects=_affects(policy),
        explains=_explained(policy), feature="breaker.consecutive-errors", **{"subject": policy.subject_name if ref is None or policy.service is not None else f"Service {ref}", **values},
    )  # fmt: skip


def _explained(policy: ServicePolicy) -> frozenset[tuple[str, str]]:
    return frozenset((subject, "*") for subject in (*breaker_subjects(policy), *policy_subjects(policy)))


def _affects(policy: ServicePolicy) -> tuple[Affected, ...]:
    targets = policy.covers if policy.service is None else (policy.service.value,)
    return tuple(Affected(ref.namespace, ref.name, policy.port.value if policy.port else None) for ref in targets)


def _rest(policy: ServicePolicy, out: Output, shared: frozenset[Ref]) -> None:
    """Settings that no Envoy cluster of ours holds."""
    weighty = _weighty(policy)
    exposure.locality(policy, _affects(policy), out, shared)
    for path, fact in policy.extras:
        if path in envoy.POOL or path.startswith(LOCALITY):
            continue
        if path == "tls.mode" and fact.value == "ISTIO_MUTUAL":
            out.ignore("what every mesh does by itself between two of its workloads", fact)
        elif path == "loadBalancer.simple" and weighty and fact.value in envoy.ALGORITHMS:
            continue
        elif path == "loadBalancer.simple" and fact.value == "LEAST_REQUEST":
            report(
                out,
                fact,
                "MP540",
                policy.document,
                _affects(policy),
                explains_policy(policy, path),
                setting=path,
                subject=policy.subject_name,
            )
        else:
            _dropped(policy, path, fact, out, explains_policy(policy, path))
    breaker = policy.breaker
    for name, fact in breaker.extras if breaker is not None else ():
        if name == "breaker.mode":
            if breaker is not None and breaker.consecutive.value:
                out.imply("outlier_detection counts failures in a row", fact)
        elif name not in envoy.DETECTION:
            _dropped(policy, name, fact, out, frozenset((subject, name) for subject in breaker_subjects(policy)))
    if breaker is not None and breaker.consecutive.value == 0:
        _not_by_answers(policy, breaker, out)
    for fact in policy.exports if not policy.subset and policy.port is None else ():
        if fact.value == "*" or policy.clients:
            out.ignore("clients of its own namespace alone go by it" if policy.clients else "visible everywhere is the default", fact)
        else:
            report(out, fact, "MP356", policy.document, _affects(policy), frozenset(), setting="exportTo", subject=policy.subject_name)


def _not_by_answers(policy: ServicePolicy, breaker: Breaker, out: Output) -> None:
    """Ejection that no answer of the 5xx kind causes: what else would is named, and how it would eject decides nothing where nothing does."""
    split = breaker.extra("splitExternalLocalOriginErrors")
    causes = ["consecutiveGatewayErrors", *(["consecutiveLocalOriginFailures"] if split is not None and split.value is True else [])]
    others = [(name, fact) for name, fact in breaker.extras if name in causes and fact.value]
    out.imply("no failures in a row eject an endpoint, and Cilium ejects none by itself", breaker.consecutive)
    rest = gather(breaker) - breaker.consecutive.src
    for name, fact in others:
        out.finding(
            "MP540", fact, rest, document=policy.document, disposition="dropped", affects=_affects(policy), explains=frozenset(), value=fact.value,
            setting=f"outlierDetection.{name}", subject=policy.subject_name,
        )  # fmt: skip
    if not others:
        out.ignore("nothing ejects an endpoint, so that it does not matter how", rest)


def _dropped(policy: ServicePolicy, path: str, fact: Fact[Any], out: Output, explained: frozenset[tuple[str, str]]) -> None:
    """Named as the table says, where the table says that it is lost; what it only calls approximate is not written here and lost as well."""
    cell = out.table.support(fact.feature, out.target, out.target_version)
    values = {"setting": path, "subject": policy.subject_name}
    if cell.support in ("none", "irrelevant", "external"):
        report(out, fact, "MP540", policy.document, _affects(policy), explained, **values)
    elif cell.code == "MP750":  # TLS that nobody starts now: the row says what it would take
        lost = replace(cell, support="none")
        out.from_cell(lost, fact, document=policy.document, affects=_affects(policy), explains=explained, **values)
    else:
        out.finding(
            "MP540", fact, document=policy.document, disposition="dropped", affects=_affects(policy), explains=explained, value=fact.value,
            **values,
        )  # fmt: skip


def _write(wanted: Wanted, out: Output) -> None:
    service = wanted.service
    policies = [policy for policy in (wanted.whole, *wanted.ports.values()) if policy is not None]
    ports = [port for port in service.ports if port.protocol == "TCP" and wanted.of(port) is not None]
    because = [policy.host for policy in policies]
    spelled = out.free(API, KIND, service.ref.namespace, f"{service.ref.name}-meshport")
    ref = Ref(service.ref.namespace, spelled)
    group = f"service {service.ref.name}"
    obj = out.object(API, KIND, ref, owner=policies[0].document, group=group, rank=36, because=gather(because))
    for policy in policies:
        obj.add_origin(policy.document)
        obj.note(f"from {policy.kind} {policy.ref.value}")
    obj.set(("metadata", "annotations", ORIGINAL), "true", *because)
    single = len(ports) == 1 and not wanted.ports and not wanted.apart
    resources: list[tuple[str, ServicePolicy, ServicePort]] = []
    for index, port in enumerate(ports):
        chosen = wanted.of(port)
        assert chosen is not None
        entry: dict[str, Any] = {"name": service.ref.name, "namespace": service.ref.namespace, "ports": [port.number]}
        label = service.ref.name if single else f"{service.ref.name}-{port.number}"
        if not single:
            entry["listener"] = label
        obj.set(("spec", "services", index), entry, chosen.host, chosen.port, port.number_src)
        resources.append((label, chosen, port))
    position = 0
    for label, policy, port in resources:
        name = f"{service.ref.namespace}/{service.ref.name}" + ("" if single else f":{port.number}")
        http = protocols.of_service_port(port) in ("http", "http2", "grpc")
        parts = [envoy.listener(label, "http"), envoy.routes(label, name, [])] if http else [envoy.tcp_listener(label, name)]
        for part in parts:
            obj.set(("spec", "resources", position), part, policy.host, port.spoken_src)
            position += 1
        _cluster(obj, ("spec", "resources", position), name, policy)
        position += 1
        if not http:
            _only_connections(policy, port, out)
    _installed(out, because)
    for policy in policies:
        _approximated(policy, out)


def _cluster(obj: Obj, path: envoy.Path, name: str, policy: ServicePolicy) -> None:
    """The cluster, with each setting because of what says it."""
    obj.set(path, envoy.cluster(name), policy.host)
    for key, fact in policy.extras:
        setting = envoy.POOL.get(key)
        if setting is not None and (value := envoy.written(setting, fact.value)) is not None:
            if setting.path[0] == "typed_extension_protocol_options":
                options = (*path, *setting.path[:2])
                if "@type" not in _at(obj.value, options):
                    obj.set(options, envoy.downstream_protocol(), fact)
            _set(obj, path, setting, value, fact)
        elif key == "loadBalancer.simple" and fact.value in envoy.ALGORITHMS:
            obj.set((*path, "lb_policy"), envoy.ALGORITHMS[fact.value], fact)
    breaker = policy.breaker
    if breaker is None or not breaker.consecutive.value:
        return
    mode = breaker.extra("breaker.mode")
    detection = (*path, "outlier_detection")
    obj.set((*detection, "consecutive_5xx"), breaker.consecutive.value, breaker.consecutive, mode)
    interval, percent = breaker.extra("interval"), breaker.extra("maxEjectionPercent")
    if mode is not None:  # Linkerd looks at each response, and may eject every endpoint
        obj.set((*detection, "interval"), "1s", mode)
    elif interval is None:
        obj.set((*detection, "interval"), "10s", breaker.consecutive)
    obj.set((*detection, "base_ejection_time"), envoy.seconds(max(breaker.penalty.value, 1)), breaker.penalty, mode)
    if breaker.max_penalty is not None:
        longest = max(breaker.max_penalty.value, breaker.penalty.value)
        obj.set((*detection, "max_ejection_time"), envoy.seconds(longest), breaker.max_penalty, mode)
    elif breaker.penalty.value > LONGEST_EJECTION:
        obj.set((*detection, "max_ejection_time"), envoy.seconds(breaker.penalty.value), breaker.penalty)
    if mode is not None:
        obj.set((*detection, "max_ejection_percent"), 100, mode)
    elif percent is None:
        obj.set((*detection, "max_ejection_percent"), 10, breaker.consecutive)
    for key, fact in breaker.extras:
        setting = envoy.DETECTION.get(key)
        if setting is None or (value := envoy.written(setting, fact.value)) is None:
            continue
        if key == "maxEjectionPercent" and value == 0:
            value = 10
        _set(obj, path, setting, value, fact)
        if key == "consecutiveGatewayErrors":
            obj.set((*detection, "enforcing_consecutive_gateway_failure"), 100 if value else 0, fact)
    obj.set((*detection, "enforcing_success_rate"), 0, breaker.consecutive)


def _set(obj: Obj, path: envoy.Path, setting: envoy.Setting, value: Any, fact: Fact[Any]) -> None:
    obj.set((*path, *setting.path), value, fact)


def _at(value: Any, path: envoy.Path) -> dict[str, Any]:
    for step in path:
        value = value[step] if isinstance(step, int) else value.get(step, {}) if isinstance(value, dict) else {}
    return value if isinstance(value, dict) else {}


def _only_connections(policy: ServicePolicy, port: ServicePort, out: Output) -> None:
    if policy.breaker is None and not any(path.startswith("connectionPool.http") for path, _ in policy.extras):
        return
    out.finding(
        "MP521", port.spoken_src, document=policy.document, affects=_affects(policy), feature="breaker.consecutive-errors",
        subject=policy.subject_name, port=port.number,
    )  # fmt: skip


def _approximated(policy: ServicePolicy, out: Output) -> None:
    """The limits hold for each node's Envoy: said once a policy, with all its leaves."""
    limits = tuple(fact for path, fact in policy.extras if path in envoy.POOL)
    detection = gather(policy.breaker) if policy.breaker is not None and policy.breaker.consecutive.value else NOWHERE
    out.finding(
        "MP520", gather(limits), detection, document=policy.document, disposition="approximated", affects=_affects(policy),
        feature="breaker.consecutive-errors" if policy.breaker is not None else "pool.tcp.max-connections", subject=policy.subject_name,
    )  # fmt: skip


def _installed(out: Output, because: list[Fact[Any]]) -> None:
    """What a CiliumEnvoyConfig needs of the installation (Helm values of the chart `cilium`)."""
    src: Src = gather(because)
    out.install("cilium", "envoyConfig.enabled", True, src)
    out.install("cilium", "kubeProxyReplacement", "true", src)
