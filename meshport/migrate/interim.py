"""What an object is to a cutover, and the form that it has while two meshes stand side by side.

Strictness comes last: STRICT becomes PERMISSIVE, `all-authenticated` becomes `all-unauthenticated`, a Server admits and logs (`audit`) until the last of its
callers has moved. What the source's clients would insist on (ISTIO_MUTUAL) is left to its automatic mutual TLS.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from meshport.ir.world import Workload
from meshport.mapping.owners import TEMPLATES
from meshport.mapping.table import dialect_of_group, version_key

Obj = dict[str, Any]
WORKLOADS = tuple(kind for _, kind in TEMPLATES)
ROUTES = (
    "HTTPRoute",
    "GRPCRoute",
    "TCPRoute",
    "TLSRoute",
    "UDPRoute",
    "VirtualService",
    "DestinationRule",
    "ServiceProfile",
    "ServiceEntry",
    "Sidecar",
)
ASKING = {
    "monitoring.coreos.com": ("PrometheusRule",),
    "flagger.app": ("Canary", "MetricTemplate"),
    "argoproj.io": ("AnalysisTemplate", "ClusterAnalysisTemplate", "AnalysisRun", "Experiment"),
    "keda.sh": ("ScaledObject", "ScaledJob"),
    "sloth.slok.dev": ("PrometheusServiceLevel",),
    "pyrra.dev": ("ServiceLevelObjective",),
    "openslo": ("SLO", "SLI"),
    "grafana.integreatly.org": ("GrafanaDashboard",),
    "integreatly.org": ("GrafanaDashboard",),
    "dashboard.grafana.app": ("Dashboard",),
}
"""What a conversion writes because it asks a mesh's metrics."""
GRANTS = (
    "AuthorizationPolicy",
    "ServerAuthorization",
    "RequestAuthentication",
    "CiliumNetworkPolicy",
    "CiliumClusterwideNetworkPolicy",
    "CiliumEnvoyConfig",
)
DEFAULT_POLICY = "config.linkerd.io/default-inbound-policy"
OPEN_DEFAULT = {"all-authenticated": "all-unauthenticated", "cluster-authenticated": "cluster-unauthenticated"}
MEMBERSHIP = ("istio-injection", "istio.io/rev", "istio.io/dataplane-mode", "sidecar.istio.io/inject", "linkerd.io/inject")
RANKS = {
    "namespace": 10, "service": 20, "waypoint": 25, "authentication": 30, "route": 40, "authorization": 50, "server": 60, "limit": 65,
    "transport": 70, "gateway": 80, "other": 85, "asking": 86, "workload": 90,
}  # fmt: skip
"""Roles in the order of application: authentications, routes, authorizations, then what closes a port."""


def group_of(obj: Mapping[str, Any]) -> str:
    return str(obj.get("apiVersion", "")).rpartition("/")[0]


def role(obj: Mapping[str, Any]) -> str:
    """What an object is to the cutover, one of RANKS."""
    kind, group = str(obj.get("kind")), group_of(obj)
    if kind == "Namespace" and not group:
        return "namespace"
    if kind == "Service" and not group:
        return "service"
    if (group, kind) in TEMPLATES:
        return "workload"
    if kind == "Gateway":
        return "waypoint" if str((obj.get("spec") or {}).get("gatewayClassName")) == "istio-waypoint" else "gateway"
    if group == "policy.linkerd.io" and kind in ("MeshTLSAuthentication", "NetworkAuthentication"):
        return "authentication"
    if kind == "Server" and group == "policy.linkerd.io":
        return "server"
    if kind in GRANTS:
        return "authorization"
    if kind == "HTTPLocalRateLimitPolicy":
        return "limit"
    if kind == "PeerAuthentication":
        return "transport"
    if kind in ROUTES:
        return "gateway" if _of_gateway(obj) else "route"
    return "asking" if kind in ASKING.get(group, ()) or (kind == "ConfigMap" and not group and _asks(obj.get("data"))) else "other"


def _asks(data: Any) -> bool:
    """Whether a ConfigMap holds dashboards, or rules of prometheus-adapter."""
    texts = data.values() if isinstance(data, dict) else ()
    return any(isinstance(text, str) and ('"panels"' in text or "seriesQuery" in text) for text in texts)


def _of_gateway(obj: Mapping[str, Any]) -> bool:
    """Whether a route hangs on a Gateway alone: it belongs with the way in."""
    parents = (obj.get("spec") or {}).get("parentRefs")
    if not isinstance(parents, list) or not parents:
        return False
    return all(
        isinstance(parent, dict) and parent.get("kind", "Gateway") == "Gateway" and parent.get("group", "gateway") != ""
        for parent in parents
    )


# -- the target's objects while callers are still to come


def without_requests(policy: Obj) -> Obj | None:
    """A network policy of Cilium by labels and ports alone, for pods whose sidecars still encrypt what its rules about requests would have to read."""
    if policy.get("kind") != "CiliumNetworkPolicy":
        return None
    found = copy.deepcopy(policy)
    for spec in (found.get("spec"), *(found.get("specs") or ())):
        for way in ("ingress", "egress"):
            for rule in (spec or {}).get(way) or ():
                for ports in rule.get("toPorts") or ():
                    ports.pop("rules", None)
    return found


def audited(server: Obj, version: str) -> Obj | None:
    """A Server that admits and logs what it would refuse; None where it has no word for that (before 2.16), or refuses nothing."""
    policy = (server.get("spec") or {}).get("accessPolicy", "deny")
    if (
        policy in ("audit", "all-unauthenticated")
        or not server["apiVersion"].endswith("v1beta3")
        or version_key(version) < version_key("2.16")
    ):
        return None
    found = copy.deepcopy(server)
    found["spec"]["accessPolicy"] = "audit"
    return found


def templates(obj: Obj) -> Iterator[Obj]:
    """The metadata of the object and of its pod template."""
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        yield metadata
    spec = obj.get("spec")
    for path in (("template",), ("jobTemplate", "spec", "template")):
        place: Any = spec
        for step in path:
            place = place.get(step) if isinstance(place, dict) else None
        if isinstance(place, dict) and isinstance(place.get("metadata"), dict):
            yield place["metadata"]


def opened(obj: Obj) -> Obj | None:
    """A Namespace or workload whose pods take callers without identity by default; None where they do already."""
    found = copy.deepcopy(obj)
    changed = False
    for metadata in templates(found):
        notes = metadata.get("annotations")
        if isinstance(notes, dict) and notes.get(DEFAULT_POLICY) in OPEN_DEFAULT:
            notes[DEFAULT_POLICY] = OPEN_DEFAULT[notes[DEFAULT_POLICY]]
            changed = True
    return found if changed else None


def with_both(before: Obj, after: Obj) -> Obj | None:
    """A changed Service that keeps the source's annotations and labels beside the target's: its clients of both meshes read their own. None if none leaves."""
    found = copy.deepcopy(after)
    changed = False
    for what in ("labels", "annotations"):
        old = before.get("metadata", {}).get(what) or {}
        gone = {name: value for name, value in old.items() if name not in (after.get("metadata", {}).get(what) or {})}
        if gone:
            found["metadata"][what] = {**(found["metadata"].get(what) or {}), **gone}
            changed = True
    return found if changed else None


def _members(value: Any) -> dict[str, Any]:
    """What stands in a mapping; nothing where no cluster takes the value for one."""
    return value if isinstance(value, dict) else {}


def enrolled(workload: Obj, namespace: Mapping[str, Any] | None, target: str, source: str, *, ambient: bool) -> Obj:
    """A workload that is in the target mesh by its own pod template, whatever its namespace still says."""
    found = copy.deepcopy(workload)
    spec = _members(found.get("spec"))
    template = _members(_members(spec.get("jobTemplate")).get("spec")).get("template") or spec.get("template")
    if isinstance(template, dict):
        metadata = template["metadata"] = _members(template.get("metadata"))
    else:
        metadata = found["metadata"]
    labels, notes = dict(_members(metadata.get("labels"))), dict(_members(metadata.get("annotations")))
    if source == "istio":
        labels["sidecar.istio.io/inject"] = "false"
    if source == "linkerd":
        notes["linkerd.io/inject"] = "disabled"
    if target == "istio":
        labels["istio.io/dataplane-mode" if ambient else "sidecar.istio.io/inject"] = "ambient" if ambient else "true"
    if target == "linkerd":
        own = (namespace or {}).get("metadata", {}).get("annotations") or {}
        inherited = {name: value for name, value in own.items() if name.startswith("config.linkerd.io/")}
        notes = {**inherited, **notes, "linkerd.io/inject": "enabled"}
    for what, values in (("labels", labels), ("annotations", notes)):
        if values:
            metadata[what] = values
    return found


# -- the source's objects while servers have moved, or callers


def permissive(obj: Obj) -> Obj | None:
    """A PeerAuthentication that takes plaintext as well; None where it does."""
    if obj.get("kind") != "PeerAuthentication" or not isinstance(obj.get("spec"), dict):
        return None
    found = copy.deepcopy(obj)
    modes = [found["spec"].get("mtls"), *_members(found["spec"].get("portLevelMtls")).values()]
    strict = [mode for mode in modes if isinstance(mode, dict) and mode.get("mode") == "STRICT"]
    for mode in strict:
        mode["mode"] = "PERMISSIVE"
    return found if strict else None


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def automatic(obj: Obj) -> Obj | None:
    """A DestinationRule that leaves mutual TLS to Istio, which uses it towards sidecars alone; None where it does."""
    if obj.get("kind") != "DestinationRule" or not isinstance(obj.get("spec"), dict):
        return None
    found = copy.deepcopy(obj)
    changed = False
    for holder in (found["spec"], *_mappings(found["spec"].get("subsets"))):
        policy = holder.get("trafficPolicy")
        for place in (policy, *_mappings(policy.get("portLevelSettings"))) if isinstance(policy, dict) else ():
            tls = place.get("tls")
            if isinstance(tls, dict) and tls.get("mode") in ("ISTIO_MUTUAL", "MUTUAL") and "clientCertificate" not in tls:
                del place["tls"]
                changed = True
        if isinstance(policy, dict) and not policy:
            del holder["trafficPolicy"]
    return found if changed else None


def exception(workload: Workload, port: int, mesh: str, networks: tuple[str, ...], servers: list[Obj]) -> list[Obj]:
    """Objects of the source mesh that let callers without identity in at one port, from `networks`; none where the mesh has no word for it."""
    name = f"meshport-overlap-{workload.ref.name}-{port}"[:63].rstrip("-.")
    place = {"name": name, "namespace": workload.ref.namespace}
    ranges = sorted({str(ip_network(cidr, strict=False)) for cidr in networks})
    if mesh == "istio":
        rule = {"from": [{"source": {"ipBlocks": ranges}}], "to": [{"operation": {"ports": [str(port)]}}]}
        spec = {"selector": {"matchLabels": dict(workload.labels)}, "action": "ALLOW", "rules": [rule]}
        return (
            [{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": place, "spec": spec}]
            if workload.labels
            else []
        )
    if mesh != "linkerd":
        return []
    found: list[Obj] = []
    for server in servers:
        if serves(server, workload, port):
            target = {"group": "policy.linkerd.io", "kind": "Server", "name": server["metadata"]["name"]}
            reference = {"group": "policy.linkerd.io", "kind": "NetworkAuthentication", "name": name}
            found.append(
                {
                    "apiVersion": "policy.linkerd.io/v1alpha1",
                    "kind": "AuthorizationPolicy",
                    "metadata": dict(place),
                    "spec": {"targetRef": target, "requiredAuthenticationRefs": [reference]},
                }
            )
            break
    if found:
        spec = {"networks": [{"cidr": cidr} for cidr in ranges]}
        found.insert(0, {"apiVersion": "policy.linkerd.io/v1alpha1", "kind": "NetworkAuthentication", "metadata": place, "spec": spec})
    return found


def serves(server: Obj, workload: Workload, port: int) -> bool:
    """Whether a Server is for a container port of a workload."""
    metadata, spec = server.get("metadata") or {}, server.get("spec") or {}
    if metadata.get("namespace") != workload.ref.namespace or not isinstance(spec.get("podSelector"), dict):
        return False
    labels = _members(spec["podSelector"].get("matchLabels"))
    said = spec.get("port")
    named = workload.port_named(said) if isinstance(said, str) else None
    return all(workload.labels.get(name) == value for name, value in labels.items()) and port == (named.number if named else said)


def of_source(obj: Mapping[str, Any], source: str) -> bool:
    """Whether an object is of the source mesh's own APIs."""
    return dialect_of_group(group_of(obj)) == source
