"""Circuit breaking and connection limits, as the Envoy clusters of a CiliumEnvoyConfig.

One CiliumEnvoyConfig a Service, never of the Service's own name (GAMMA generates that one) and never beside a route on the same Service: only one may own
a Service port. https://docs.cilium.io/en/stable/network/servicemesh/l7-traffic-management/
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from meshport.dialects import exposure, protocols
from meshport.dialects.base import Options
from meshport.dialects.cilium import envoy, hashing
from meshport.dialects.cilium.clusters import KIND, ORIGINAL
from meshport.dialects.gateway_api import backends
from meshport.dialects.losses import clients_alone, in_force, names_nothing, report
from meshport.dialects.output import Obj, Output
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Fact, Ref, Src
from meshport.ir.exposure import LOCALITY
from meshport.ir.model import IR
from meshport.ir.resilience import (
    CONSISTENT_HASH,
    Breaker,
    ServicePolicy,
    breaker_subjects,
    explains_policy,
    policy_subjects,
    single_ports,
)
from meshport.ir.routing import gather
from meshport.ir.world import Service, ServicePort
from meshport.mapping.table import version_key

API = "cilium.io/v2"
LONGEST_EJECTION = 300_000


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
        weighty = _weighty(policy, ir)
        _rest(policy, out, shared, weighty=weighty, hashed=_hashed(policy, ir))
        if not weighty:
            if out.bundle.documents[policy.document].kind == "Service":
                out.imply("the Service stays", policy.host, policy.port)
            else:
                names_nothing(policy, ir, out, lambda one: _weighty(one, ir))
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


def _weighty(policy: ServicePolicy, ir: IR) -> bool:
    """Whether the policy says something that a CiliumEnvoyConfig is worth writing for."""
    breaking = policy.breaker is not None and policy.breaker.consecutive.value != 0
    return breaking or any(path in envoy.POOL for path, _ in policy.extras) or _hashed(policy, ir)


def _hashed(policy: ServicePolicy, ir: IR) -> bool:
    """Whether requests to a Service of the policy are told apart by a hash."""
    targets = policy.covers if policy.service is None else (policy.service.value,)
    services = [ir.world.services.get(ref) for ref in targets]
    return any(hashing.asked(policy) if service is None else hashing.acts(policy, service) for service in services)


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
    hashes = [fact for name, fact in hashing.of(policy).items() if hashing.asked(policy) and hashing.sayable(name, fact)]
    limits = (*(fact for path, fact in policy.extras if path in envoy.POOL or path == "loadBalancer.simple"), *hashes)
    out.finding(
        code, gather(policy.breaker, limits, policy.port, policy.host), document=policy.document, disposition="dropped", affects=_affects(policy),
        explains=_explained(policy), feature="breaker.consecutive-errors", **{"subject": policy.subject_name if ref is None or policy.service is not None else f"Service {ref}", **values},
    )  # fmt: skip


def _explained(policy: ServicePolicy) -> frozenset[tuple[str, str]]:
    return frozenset((subject, "*") for subject in (*breaker_subjects(policy), *policy_subjects(policy)))


def _affects(policy: ServicePolicy) -> tuple[Affected, ...]:
    targets = policy.covers if policy.service is None else (policy.service.value,)
    return tuple(Affected(ref.namespace, ref.name, policy.port.value if policy.port else None) for ref in targets)


def _rest(policy: ServicePolicy, out: Output, shared: frozenset[Ref], *, weighty: bool, hashed: bool) -> None:
    """Settings that no Envoy cluster of ours holds."""
    exposure.locality(policy, _affects(policy), out, shared)
    for path, fact in policy.extras:
        if path in envoy.POOL or path.startswith(LOCALITY):
            continue
        if hashed and path.startswith(CONSISTENT_HASH) and hashing.sayable(path.removeprefix(CONSISTENT_HASH), fact):
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
        parts = [envoy.listener(label, "http"), envoy.routes(label, name)] if http else [envoy.tcp_listener(label, name)]
        for part in parts:
            obj.set(("spec", "resources", position), part, policy.host, port.spoken_src)
            position += 1
        path = ("spec", "resources", position)
        _cluster(obj, path, name, policy)
        if hashing.acts(policy, service):
            hashing.write(obj, ("spec", "resources", position - 1, *(envoy.ROUTE if http else envoy.PROXY)), path, policy, http=http)
        position += 1
        if not http:
            _only_connections(policy, port, out)
    _installed(out, because)
    for policy in policies:
        _approximated(policy, out)
        for name, fact in hashing.of(policy).items() if policy.service is None and not hashing.acts(policy, service) else ():
            explained = frozenset(((f"policy of Service {service.ref}", CONSISTENT_HASH + name),))
            out.finding(
                "MP540", fact, document=policy.document, disposition="dropped", affects=(Affected(service.ref.namespace, service.ref.name),),
                explains=explained, value=fact.value, setting=CONSISTENT_HASH + name, subject=f"Service {service.ref}",
            )  # fmt: skip


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
    """The limits hold for each node's Envoy: said once a policy, with all its leaves. A hash is the same on each node."""
    limits = tuple(fact for path, fact in policy.extras if path in envoy.POOL)
    detection = gather(policy.breaker) if policy.breaker is not None and policy.breaker.consecutive.value else NOWHERE
    if not limits and not detection:
        return
    out.finding(
        "MP520", gather(limits), detection, document=policy.document, disposition="approximated", affects=_affects(policy),
        feature="breaker.consecutive-errors" if policy.breaker is not None else "pool.tcp.max-connections", subject=policy.subject_name,
    )  # fmt: skip


def _installed(out: Output, because: list[Fact[Any]]) -> None:
    """What a CiliumEnvoyConfig needs of the installation (Helm values of the chart `cilium`)."""
    src: Src = gather(because)
    out.install("cilium", "envoyConfig.enabled", True, src)
    out.install("cilium", "kubeProxyReplacement", "true", src)
