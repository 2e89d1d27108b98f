"""The CiliumEnvoyConfigs of the output: which Services they take the requests of, whose endpoints they ask for, and what they need of the installation.

https://docs.cilium.io/en/stable/network/servicemesh/l7-traffic-management/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshport.dialects import naming
from meshport.dialects.cilium import envoy
from meshport.dialects.output import Obj, Output
from meshport.ir.base import NOWHERE, Fact, Ref, Src
from meshport.ir.model import IR
from meshport.ir.routing import gather
from meshport.ir.world import Service
from meshport.values.ports import is_number

API = "cilium.io/v2"
KIND = "CiliumEnvoyConfig"
ORIGINAL = "cec.cilium.io/use-original-source-address"
ROUTES = ("HTTPRoute", "GRPCRoute")


def standing(service: Service, out: Output) -> Obj | None:
    """The CiliumEnvoyConfig of the output that a Service is sent to: `made` gives it the first name that is free."""
    home, wanted = service.ref.namespace, _name(service)

    def passed(name: str) -> bool:
        obj = out.objects.get(_key(home, name))
        return out.taken(API, KIND, Ref(home, name)) and (obj is None or service.ref not in served(obj))

    return out.objects.get(_key(home, naming.unique(wanted, passed)))


def made(service: Service, out: Output, *, owner: int, rank: int, because: Src, named: Src = NOWHERE) -> Obj:
    """A CiliumEnvoyConfig for a Service, of a name that nothing has; `named` is what else says that there is one."""
    home = service.ref.namespace
    ref = Ref(home, out.free(API, KIND, home, _name(service)))
    obj = out.object(API, KIND, ref, owner=owner, group=f"service {service.ref.name}", rank=rank, because=because | named)
    obj.set(("metadata", "annotations", ORIGINAL), "true", because)
    return obj


def _name(service: Service) -> str:
    return f"{service.ref.name}-meshport"  # the Service's own is that of the one that Cilium makes of its routes


def _key(namespace: str, name: str) -> tuple[str, str, Ref]:
    return API.partition("/")[0], KIND, Ref(namespace, name)


def served(obj: Obj) -> set[Ref]:
    """The Services that a CiliumEnvoyConfig of the output takes the requests of."""
    home = obj.ref.namespace
    return {Ref(str(entry.get("namespace", home)), str(entry.get("name"))) for entry in obj.value["spec"].get("services") or ()}


def taken(obj: Obj) -> set[int]:
    """The ports of its Service that a CiliumEnvoyConfig of the output takes the requests of."""
    return {port for entry in obj.value["spec"]["services"] for port in entry["ports"]}


def clusters(obj: Obj) -> Iterator[tuple[Ref, int, envoy.Path]]:
    """The clusters of a CiliumEnvoyConfig of the output that are a port of a Service each."""
    for index, item in enumerate(obj.value["spec"]["resources"]):
        namespace, _, rest = item.get("eds_cluster_config", {}).get("service_name", item["name"]).partition("/")
        name, _, port = rest.partition(":")
        if item["@type"] == envoy.TYPE + "config.cluster.v3.Cluster" and is_number(port):
            yield Ref(namespace, name), int(port), ("spec", "resources", index)


def endpoints(obj: Obj, ref: Ref, port: int, src: Src) -> None:
    """Ask for the endpoints of a Service port, which the cluster `namespace/name:port` is given. As soon as one object asks for a Service by port, the
    cluster `namespace/name` of any other has none (computeLoadAssignments of pkg/ciliumenvoyconfig/controller.go in cilium/cilium)."""
    others = obj.at(("spec", "backendServices")) or []
    for index, entry in enumerate(others):
        if (entry["name"], entry["namespace"]) == (ref.name, ref.namespace):
            if str(port) not in entry["number"]:
                obj.set(("spec", "backendServices", index, "number", len(entry["number"])), str(port), src)
            return
    obj.set(("spec", "backendServices", len(others)), {"name": ref.name, "namespace": ref.namespace, "number": [str(port)]}, src)


def referred_services(out: Output) -> set[Ref]:
    """The Services whose endpoints routes of the input or of the output ask for by port: Cilium makes a CiliumEnvoyConfig of each, and so do we."""
    found = set()
    staying = [document.value for number, document in enumerate(out.bundle.documents) if number in out.staying]
    for value in (*(obj.value for obj in out.objects.values()), *staying):
        found |= set(_sent_to(value))
        spec = value.get("spec")
        if value.get("kind") == KIND and isinstance(spec, dict):
            found |= {Ref(one["namespace"], one["name"]) for one in spec.get("backendServices") or () if "namespace" in one}
    return found


def _sent_to(value: dict[str, Any]) -> Iterator[Ref]:
    """The Services that a route of the Gateway API sends to; none where the object is no route."""
    spec, home = value.get("spec"), (value.get("metadata") or {}).get("namespace") or ""
    for rule in spec.get("rules") or () if value.get("kind") in ROUTES and isinstance(spec, dict) else ():
        for one in rule.get("backendRefs") or () if isinstance(rule, dict) else ():
            if isinstance(one, dict) and one.get("kind", "Service") == "Service":
                yield Ref(str(one.get("namespace") or home), str(one.get("name")))


def askers(out: Output) -> dict[Ref, set[str]]:
    """By Service, the other Services and the Gateways whose Gateway API routes send to it, to endpoints of which Cilium makes a cluster of its own."""
    found: dict[Ref, set[str]] = {}
    for obj in out.objects.values():
        if obj.kind not in ROUTES:
            continue
        parents = {
            (str(one.get("kind", "Gateway")), Ref(str(one.get("namespace") or obj.ref.namespace), str(one.get("name"))))
            for one in obj.value["spec"].get("parentRefs", ())
        }
        for ref in _sent_to(obj.value):
            found.setdefault(ref, set()).update(f"{kind} {parent}" for kind, parent in parents if parent != ref)
    return found


def routed_services(ir: IR, out: Output) -> set[Ref]:
    """The Services that Gateway API routes stand on, in the input or in the output."""
    found = {
        routes.service.value
        for routes in ir.routes
        if ir.mesh != "linkerd"  # whose routes on Services leave with it, whether they are said here or not
        and routes.service is not None
        and routes.kind in ROUTES
        and routes.mesh
    }
    for obj in out.objects.values():
        if obj.kind in ROUTES:
            for parent in obj.value.get("spec", {}).get("parentRefs", ()):
                if isinstance(parent, dict) and parent.get("kind") == "Service":
                    found.add(Ref(str(parent.get("namespace") or obj.ref.namespace), str(parent.get("name", ""))))
    return found


def installed(out: Output, *because: Fact[Any] | Src | None) -> None:
    """What a CiliumEnvoyConfig needs of the installation (Helm values of the chart `cilium`)."""
    src: Src = gather(because)
    out.install("cilium", "envoyConfig.enabled", True, src)
    out.install("cilium", "kubeProxyReplacement", "true", src)


def subsets(ir: IR, out: Output) -> dict[Ref, tuple[Ref, str]]:
    """The Services that stand for a subset of another one, which rules send to: that one, and the subset."""
    wanted: dict[tuple[str, frozenset[tuple[str, str]]], tuple[Ref, str]] = {}
    for backend in (backend for routes in ir.routes for rule in routes.rules for backend in rule.backends):
        known = ir.world.services.get(backend.service.value) if backend.service is not None else None
        if known is not None and known.selector and backend.labels is not None:
            selector = frozenset({**known.selector, **dict(backend.labels.labels)}.items())
            wanted.setdefault((known.ref.namespace, selector), (known.ref, backend.labels.name))
    selectors = {ref: service.selector for ref, service in ir.world.services.items()}
    selectors |= {
        obj.ref: obj.value["spec"].get("selector") for obj in out.objects.values() if obj.kind == "Service" and obj.changed is None
    }
    keys = {ref: (ref.namespace, frozenset(selector.items())) for ref, selector in selectors.items() if selector}
    return {ref: wanted[key] for ref, key in keys.items() if key in wanted and wanted[key][0] != ref}


def ways(obj: Obj, cluster: envoy.Path) -> list[envoy.Path]:
    """The routes of a table that send to a cluster."""
    name, resources = obj.at(cluster)["name"], obj.value["spec"]["resources"]
    found: list[envoy.Path] = []
    for index, item in enumerate(resources):
        for number, route in enumerate(item["virtual_hosts"][0]["routes"] if "virtual_hosts" in item else ()):
            action = route.get("route", {})
            if name == action.get("cluster") or any(one["name"] == name for one in action.get("weighted_clusters", {}).get("clusters", ())):
                found.append(("spec", "resources", index, "virtual_hosts", 0, "routes", number, "route"))
    return found
