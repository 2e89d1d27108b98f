"""Istio's verdict where some pods have ztunnel, some a sidecar and some nothing: by each way that a request may come, as its caller's proxy sends it.

Sidecars never traverse a waypoint (https://github.com/istio/istio `pilot/pkg/xds/endpoints/endpoint_builder.go`); ztunnel sends what is for a Service there, and
what is for the address of a pod that names one for workloads, whatever stands before that pod (https://github.com/istio/ztunnel `src/proxy/outbound.rs`).
A waypoint calls the pods under its own account, whatever proxy stands before them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from . import ambient, istio
from .world import Obj, Request, Service, Undecided, Workload, World, meta, world_of

Plane = Literal["ztunnel", "sidecar", "none"]
_MODE, _INJECT = "istio.io/dataplane-mode", "sidecar.istio.io/inject"


def plane(world: World, pod: Workload) -> Plane:
    """What stands before a pod: a sidecar comes before ztunnel, and the host's network before both."""
    home = world.namespace(pod.namespace)
    labels = (meta(home).get("labels") or {}) if home else {}
    if pod.host_network:
        return "none"
    asked = pod.labels.get(_INJECT)
    enrolled = labels.get("istio-injection", "enabled" if "istio.io/rev" in labels else "") == "enabled"
    if asked == "true" or (enrolled and asked != "false"):
        return "sidecar"
    return "ztunnel" if pod.labels.get(_MODE, labels.get(_MODE)) == "ambient" else "none"


def ways(
    manifests: Iterable[Obj], request: Request, caller: Plane, *, trust_domain: str = "cluster.local", root_namespace: str = "istio-system"
) -> dict[str, bool]:
    """Whether a request of a caller with such a proxy gets in: `pod` at the pod's address, `NAMESPACE/SERVICE` by a Service before its port."""
    world = world_of(manifests)
    pod, port = world.destination(request), int(request["destination"]["port"])
    identity = istio._identity(request["source"], trust_domain) if caller != "none" else None
    gate = ambient._named(world, pod.namespace, pod.labels, ("workload", "all")) if caller == "ztunnel" else None
    at_pod = _at_pod(world, pod, request, port, identity, trust_domain, root_namespace)
    found = {
        "pod": at_pod if gate is None else _through(world, pod, None, gate, request, port, port, identity, trust_domain, root_namespace)
    }
    for service in world.services:
        gate = ambient._waypoint(world, service) if caller == "ztunnel" and service.routable else None
        for entry in service.ports if service.selects(pod) else ():
            if entry.get("protocol", "TCP") != "TCP" or port not in pod.numbers(entry.get("targetPort", entry["port"])):
                continue
            asked = int(entry["port"])
            let_in = at_pod if service.routable else found["pod"]
            if gate is not None:
                let_in = _through(world, pod, service, gate, request, asked, port, identity, trust_domain, root_namespace)
            name = f"{service.namespace}/{service.name}"
            found[name] = found.get(name, True) and let_in
    return found


def _through(
    world: World,
    pod: Workload,
    service: Service | None,
    gate: tuple[str, str],
    request: Request,
    asked: int,
    port: int,
    identity: str | None,
    trust_domain: str,
    root_namespace: str,
) -> bool:
    """What a waypoint says of a request for a port of a Service, or of the pod's own address, and then the proxy before the pod."""
    tcp = istio.is_tcp(world, pod, port, request)
    seen = ambient._peer(request, asked, identity, str(request.get("path", "")), trust_domain, tcp=tcp)
    own = f"{trust_domain}/ns/{gate[0]}/sa/{gate[1]}"
    held = ambient._allows(ambient._hung(world, service, gate, root_namespace), seen)
    return held and _at_pod(world, pod, request, port, own, trust_domain, root_namespace)


def by_services(found: dict[str, bool]) -> bool:
    """Whether some Service gives the request, or without one the pod's address."""
    services = [let_in for way, let_in in found.items() if way != "pod"]
    return any(services) if services else found["pod"]


def _at_pod(world: World, pod: Workload, request: Request, port: int, identity: str | None, trust_domain: str, root_namespace: str) -> bool:
    """What the proxy before a pod says of a request under an identity."""
    kind = plane(world, pod)
    raw = str(request.get("path", ""))
    if kind == "ztunnel":
        return ambient._ztunnel(world, pod, ambient._peer(request, port, identity, raw, trust_domain), root_namespace)
    if kind == "none":
        return True
    mode = istio.mtls_mode(world, pod, port, root_namespace)
    named = None if mode == "DISABLE" else identity
    if mode == "STRICT" and named is None:
        return False
    peer = ambient._peer(request, port, named, raw, trust_domain, tcp=istio.is_tcp(world, pod, port, request))
    policies = istio.authorization_policies(world, pod, root_namespace)
    let_in = ambient._allows(policies, peer)
    if let_in and any((one.get("spec") or {}).get("action") == "CUSTOM" and istio._policy_matches(one, peer) for one in policies):
        raise Undecided("external authorization")
    return let_in
