"""Circuit breaking and connection limits, as the Envoy clusters of a CiliumEnvoyConfig.

One CiliumEnvoyConfig a Service, never of the Service's own name (GAMMA generates that one) and never beside a route on the same Service: the agent leads the
requests for a Service to one listener (getProxyRedirect of pkg/ciliumenvoyconfig/controller.go in cilium/cilium), which does not tell the ports apart. Where
the rules of a Service stand in one already (`envoy_lowering`), its clusters are given the settings. https://docs.cilium.io/en/stable/network/servicemesh/l7-traffic-management/
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from meshport.dialects import exposure, protocols
from meshport.dialects.base import Options
from meshport.dialects.cilium import envoy, hashing
from meshport.dialects.cilium.envoy_config import (
    KIND,
    askers,
    clusters,
    endpoints,
    installed,
    made,
    referred_services,
    routed_services,
    served,
    standing,
    subsets,
    taken,
    ways,
)
from meshport.dialects.gateway_api import backends
from meshport.dialects.losses import clients_alone, in_force, names_nothing, report
from meshport.dialects.output import Obj, Output
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Fact, Ref
from meshport.ir.exposure import LOCALITY
from meshport.ir.model import IR
from meshport.ir.resilience import (
    CONSISTENT_HASH,
    ServicePolicy,
    breaker_subjects,
    explains_policy,
    policy_subjects,
    single_ports,
)
from meshport.ir.routing import gather
from meshport.ir.world import Service, ServicePort
from meshport.mapping.table import version_key

LONGEST_EJECTION = 300_000


@dataclass(slots=True)
class Wanted:
    """What one Service gets: the policy of the whole Service, and those of single ports."""

    service: Service
    whole: ServicePolicy | None = None
    ports: dict[int, ServicePolicy] = field(default_factory=dict)
    apart: frozenset[int] = frozenset()  # the ports for which the policy of the whole Service does not stand

    def of(self, port: int) -> ServicePolicy | None:
        return self.ports.get(port) or (None if port in self.apart else self.whole)


def lower(ir: IR, out: Output, options: Options) -> None:
    """A CiliumEnvoyConfig for each Service that has a breaker or limits; what it cannot hold is named in findings."""
    wanted: dict[Ref, Wanted] = {}
    routed = routed_services(ir, out)
    tables = [obj for obj in out.objects.values() if obj.kind == KIND]
    whose = subsets(ir, out)
    parts: dict[Ref, set[tuple[str, int]]] = {}
    for obj in tables:
        for ref, port, _ in clusters(obj):
            asked, subset = whose.get(ref, (ref, ""))
            if asked in served(obj):
                parts.setdefault(asked, set()).add((subset, port))
    own = {(one.service.value, one.subset) for one in ir.service_policies if one.service is not None and one.subset and _weighty(one, ir)}
    referred = gather(*(backend.labels for routes in ir.routes for rule in routes.rules for backend in rule.backends))
    shared = frozenset(item.service.value for item in ir.shared if item.prefers is not None and item.service.value in ir.world.services)
    unchecked = (
        "its Gateways do since 1.20, but check no subjectAltNames"
        if version_key(options.target_version) >= (1, 20)
        else "nor do its Gateways before 1.20"
    )
    backends.unread(ir, out, "Cilium", unchecked)
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
            single = frozenset(single_ports(ir.service_policies, policy, ref))
            if _apart(policy, ref, service, single, out, parts.get(ref, set()), own):
                continue
            target = wanted.setdefault(ref, Wanted(service))
            if policy.port is not None:
                target.ports[policy.port.value] = policy
            else:
                target.whole = policy
                target.apart = single
        if policy.service is None and not policy.covers:
            _say(policy, out, "MP515")
    asked_for = referred_services(out)
    for ref in sorted(wanted):
        _write(wanted[ref], out, asked_for)
    _to_tables(wanted, tables, whose, out)


def _to_tables(wanted: dict[Ref, Wanted], tables: list[Obj], whose: dict[Ref, tuple[Ref, str]], out: Output) -> None:
    """The settings of each Service where route tables send to its endpoints; whose requests they are not for is said. `whose` are the Services that stand for
    a subset of another one."""
    told: set[int] = set()  # policies whose hash leads requests
    others = askers(out) if out.source != "linkerd" else {}
    tabled = {ref for obj in tables for ref in served(obj)}
    for obj in tables:
        for ref, port, place in clusters(obj):
            owner, _ = whose.get(ref, (ref, ""))
            chosen = wanted[owner].of(port) if owner in wanted else None
            if chosen is None:
                continue
            if owner not in served(obj):
                if out.source == "linkerd":  # whose breakers are for what is asked for, and not for what it leads to
                    continue
                if not _shared(wanted[owner], chosen, port, obj, place, out):
                    others.setdefault(owner, set()).update(f"Service {one}" for one in served(obj))
                    continue
            obj.add_origin(chosen.document)
            obj.note(f"with the settings of {chosen.kind} {chosen.ref.value}")
            obj.set((*place, "type"), "EDS", chosen.host, chosen.port)
            _settings(obj, place, chosen)
            for way in ways(obj, place) if hashing.acts(chosen, wanted[owner].service) else ():
                hashing.write(obj, way, place, chosen, http=True)
                told.add(id(chosen))
    for ref in sorted(wanted):
        _beside(wanted[ref], others.get(ref, set()), out)
        for one in (wanted[ref].whole, *wanted[ref].ports.values()) if ref in tabled else ():
            if one is not None and id(one) not in told and hashing.acts(one, wanted[ref].service):  # copies are not told apart
                _unhashed(one, wanted[ref].service, out)


def _shared(wanted: Wanted, policy: ServicePolicy, port: int, obj: Obj, cluster: envoy.Path, out: Output) -> bool:
    """Whether the table of another Service has the settings of a Service too: as Istio's clients keep them for it, whatever leads there, and since a cluster
    of one name is one of the agent's proxy. A route has one hash, so that it is not told apart by where it leads."""
    own = standing(wanted.service, out)
    hashed = hashing.acts(policy, wanted.service)
    alone = all("cluster" in _at(obj.value, way) for way in ways(obj, cluster))
    return own is not None and port in taken(own) and (alone or not hashed)


def _beside(wanted: Wanted, askers: set[str], out: Output) -> None:
    """Say whose requests to a Service its settings are not for."""
    policies = [policy for policy in (wanted.whole, *wanted.ports.values()) if policy is not None]
    for policy in policies[:1] if askers else ():
        out.finding(
            "MP365", policy.host, document=policy.document, disposition=None, affects=_affects(policy), feature="breaker.consecutive-errors",
            explains=frozenset(), subject=f"Service {wanted.service.ref}", where=f"for the requests that the rules of {', '.join(sorted(askers))} send to it",
        )  # fmt: skip


def _weighty(policy: ServicePolicy, ir: IR) -> bool:
    """Whether the policy says something that a CiliumEnvoyConfig is worth writing for."""
    breaking = policy.breaker is not None and policy.breaker.ejects
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


def _apart(
    policy: ServicePolicy,
    ref: Ref,
    service: Service,
    single: frozenset[int],
    out: Output,
    parts: set[tuple[str, int]],
    own: set[tuple[Ref, str]],
) -> bool:
    """Whether the rules of the Service leave the policy nothing that it could hold for; what they leave of its ports is said. `parts` are the clusters of
    the Service's own pods in the table of its rules, by subset and port; `own` the subsets with settings of their own; `single` the ports that other policies are for."""
    if subset := min((subset for subset, _ in parts if (ref, subset) in own), default=""):
        _say(policy, out, "MP524", ref, why=f"the subset {subset}, which its rules send to, has others")
        return True
    known = standing(service, out)
    if known is None:
        return False
    ports = {port.number for port in _tcp(service)} - single if policy.port is None else {policy.port.value}
    gone = ports - {port for _, port in parts}
    apart = ", ".join(str(port) for port in sorted(taken(known)))
    why = (
        "its rules send to other Services"
        if gone <= taken(known)
        else f"Cilium leads the requests for a Service to one listener, that of port {apart}"
    )
    if gone == ports:
        _say(policy, out, "MP524", ref, why=why)
        out.findings[-1].explains |= _each_port(service) if policy.port is not None else frozenset()
    elif gone:
        _partly(policy, service, gone, why, out)
    if gone != ports and out.source == "linkerd":
        others = sorted({str(sent) for sent, _, _ in clusters(known)} - {str(ref)})
        if others:
            out.finding(
                "MP365", policy.host, document=policy.document, disposition=None, affects=_affects(policy), feature="breaker.consecutive-errors",
                explains=frozenset(), subject=f"Service {ref}", where=f"for the requests that its rules send to {', '.join(others)}",
            )  # fmt: skip
    return gone == ports


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
            if breaker is not None and breaker.ejects:
                out.imply("outlier_detection counts failures in a row", fact)
        elif name not in envoy.DETECTION:
            _dropped(policy, name, fact, out, frozenset((subject, name) for subject in breaker_subjects(policy)))
    if breaker is not None and not breaker.ejects:
        out.imply("no failures in a row eject an endpoint, and Cilium ejects none by itself", breaker.consecutive)
        out.ignore("nothing ejects an endpoint, so that it does not matter how", gather(breaker) - breaker.consecutive.src)
    for fact in policy.exports if not policy.subset and policy.port is None else ():
        if fact.value == "*" or policy.clients:
            out.ignore("clients of its own namespace alone go by it" if policy.clients else "visible everywhere is the default", fact)
        else:
            report(out, fact, "MP356", policy.document, _affects(policy), frozenset(), setting="exportTo", subject=policy.subject_name)


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


def _write(wanted: Wanted, out: Output, referred: set[Ref]) -> None:
    """The CiliumEnvoyConfig of a Service without rules, for one of its ports; `referred` are the Services whose endpoints others ask for by port."""
    service, ref = wanted.service, wanted.service.ref
    policies = [policy for policy in (wanted.whole, *wanted.ports.values()) if policy is not None]
    if standing(service, out) is None:
        port = _one_port(wanted)
        policies = _left_out(wanted, port, policies, out)
        chosen = wanted.of(port.number)
        assert chosen is not None
        obj = made(service, out, owner=chosen.document, rank=36, because=chosen.host.src)
        for policy in policies:
            obj.add_origin(policy.document)
            obj.note(f"from {policy.kind} {policy.ref.value}")
        entry = {"name": ref.name, "namespace": ref.namespace, "ports": [port.number]}
        obj.set(("spec", "services", 0), entry, chosen.host, chosen.port, port.number_src)
        by_port = ref in referred or len(_tcp(service)) > 1
        name = f"{ref}:{port.number}" if by_port else str(ref)
        http = protocols.of_service_port(port) in ("http", "http2", "grpc")
        parts = [envoy.listener(ref.name, "http"), envoy.routes(ref.name, name)] if http else [envoy.tcp_listener(ref.name, name)]
        for position, part in enumerate(parts):
            obj.set(("spec", "resources", position), part, chosen.host, port.spoken_src)
        path = ("spec", "resources", len(parts))
        obj.set(path, envoy.cluster(name), chosen.host)
        _settings(obj, path, chosen)
        if hashing.acts(chosen, service):
            hashing.write(obj, ("spec", "resources", len(parts) - 1, *(envoy.ROUTE if http else envoy.PROXY)), path, chosen, http=http)
        if by_port:
            endpoints(obj, ref, port.number, chosen.host.src | port.number_src)
        if not http:
            _only_connections(chosen, port, out)
    installed(out, *(policy.host for policy in policies))
    for policy in policies:
        _approximated(policy, out)
        if policy.service is None and not hashing.acts(policy, service):
            _unhashed(policy, service, out)


def _unhashed(policy: ServicePolicy, service: Service, out: Output) -> None:
    """The hash of a policy is left out for a Service."""
    places = [f"policy of Service {service.ref}{suffix}" for suffix in ("", *(f" port {port.number}" for port in _tcp(service)))]
    for name, fact in hashing.of(policy).items():
        out.finding(
            "MP540", fact, document=policy.document, disposition="dropped", affects=(Affected(service.ref.namespace, service.ref.name),),
            explains=frozenset((place, CONSISTENT_HASH + name) for place in places), value=fact.value, setting=CONSISTENT_HASH + name,
            subject=f"Service {service.ref}",
        )  # fmt: skip


def _tcp(service: Service) -> list[ServicePort]:
    return [port for port in service.ports if port.protocol == "TCP"]


def _one_port(wanted: Wanted) -> ServicePort:
    """The port that the listener of a Service is for: the first with settings, and before all others the first of those that speaks HTTP."""
    ports = [port for port in _tcp(wanted.service) if wanted.of(port.number) is not None]
    return next((port for port in ports if protocols.of_service_port(port) in ("http", "http2", "grpc")), ports[0])


def _left_out(wanted: Wanted, port: ServicePort, policies: list[ServicePolicy], out: Output) -> list[ServicePolicy]:
    """The policies without those that are for another port than the one; what is left out is said."""
    ref, why = wanted.service.ref, f"Cilium leads the requests for a Service to one listener, that of port {port.number}"
    kept = []
    for policy in policies:
        if policy.port is not None and policy.port.value != port.number:
            _say(policy, out, "MP524", ref, why=why)
            out.findings[-1].explains |= _each_port(wanted.service)  # the others stand alone then
            continue
        kept.append(policy)
        gone = {other.number for other in _tcp(wanted.service) if other is not port and wanted.of(other.number) is policy}
        if gone and policy is not wanted.of(port.number):
            kept.pop()
            _say(policy, out, "MP524", ref, why=why)
        elif gone:
            _partly(policy, wanted.service, gone, why, out)
    return kept


def _each_port(service: Service) -> frozenset[tuple[str, str]]:
    """What differs where the ports of a Service do not have the same any more."""
    return frozenset(
        (f"{what} of Service {service.ref} port {port.number}", "*") for what in ("breaker", "policy") for port in _tcp(service)
    )


def _partly(policy: ServicePolicy, service: Service, gone: set[int], why: str, out: Output) -> None:
    """Say on which ports a policy does not hold."""
    out.finding(
        "MP365", policy.host, document=policy.document, disposition=None, affects=_affects(policy), feature="breaker.consecutive-errors",
        explains=_explained(policy) | _each_port(service),
        subject=f"Service {service.ref}", where=f"on the port {', '.join(str(port) for port in sorted(gone))}: {why}",
    )  # fmt: skip


def _settings(obj: Obj, path: envoy.Path, policy: ServicePolicy) -> None:
    """The settings of a cluster, each because of what says it."""
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
    if breaker is None or not breaker.ejects:
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
        if key == "splitExternalLocalOriginErrors" and value:  # as Istio has it: failures in a row alone
            obj.set((*detection, "enforcing_local_origin_success_rate"), 0, fact)
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
    detection = gather(policy.breaker) if policy.breaker is not None and policy.breaker.ejects else NOWHERE
    if not limits and not detection:
        return
    out.finding(
        "MP520", gather(limits), detection, document=policy.document, disposition="approximated", affects=_affects(policy),
        feature="breaker.consecutive-errors" if policy.breaker is not None else "pool.tcp.max-connections", subject=policy.subject_name,
    )  # fmt: skip
