"""Rewrites of a bundle that change no request: each writes the same in other words, wherever it finds something of its kind."""

from __future__ import annotations

import copy
import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any

Obj = dict[str, Any]
Rewrite = Callable[[list[Obj]], list[Obj]]
SUFFIX = "svc.cluster.local"
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


def _of(objs: list[Obj], *kinds: str, group: str = "") -> Iterator[Obj]:
    return (obj for obj in objs if obj["kind"] in kinds and obj["apiVersion"].startswith(group))


def _spec(obj: Obj) -> Obj:
    found = obj.get("spec")
    return found if isinstance(found, dict) else {}


def _dicts(value: Any) -> Iterator[Obj]:
    if isinstance(value, dict):
        yield value
        for inner in list(value.values()):
            yield from _dicts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _dicts(inner)


def _container_ports(workload: Obj) -> list[Obj]:
    return [port for container in workload["spec"]["template"]["spec"].get("containers") or () for port in container.get("ports") or ()]


def _as_copies(change: Callable[[list[Obj]], list[Obj] | None]) -> Rewrite:
    def rewrite(objs: list[Obj]) -> list[Obj]:
        out = copy.deepcopy(objs)
        return change(out) or out

    rewrite.__name__ = change.__name__
    return rewrite


# -- policies


@_as_copies
def operations_apart(objs: list[Obj]) -> None:
    """Istio: an entry of `to` and of `from` for each value."""
    for obj in _of(objs, "AuthorizationPolicy", group="security.istio.io"):
        for rule in _spec(obj).get("rules") or ():
            for key, inner, lists in (
                ("to", "operation", ("methods", "paths", "ports", "hosts")),
                ("from", "source", ("principals", "namespaces")),
            ):
                if rule.get(key):
                    rule[key] = [{inner: part} for entry in rule[key] for part in _parts(entry.get(inner) or {}, lists)]


def _parts(entry: Obj, lists: tuple[str, ...]) -> list[Obj]:
    found = [entry]
    for name in lists:
        found = [{**one, name: [value]} if one.get(name) else one for one in found for value in one.get(name) or [None]]
    return found


@_as_copies
def rules_apart(objs: list[Obj]) -> None:
    """Istio: a rule for each entry of `to` and of `from`."""
    for obj in _of(objs, "AuthorizationPolicy", group="security.istio.io"):
        rules = _spec(obj).get("rules")
        if rules:
            rules[:] = [
                {**rule, **({"from": [one]} if one else {}), **({"to": [two]} if two else {})}
                for rule in rules
                for one in rule.get("from") or [None]
                for two in rule.get("to") or [None]
            ]


@_as_copies
def policies_joined(objs: list[Obj]) -> list[Obj]:
    """Istio: one policy for those of a namespace with the same selector and action."""
    out: list[Obj] = []
    known: dict[str, Obj] = {}
    for obj in objs:
        spec = _spec(obj)
        plain = (
            obj["kind"] == "AuthorizationPolicy"
            and obj["apiVersion"].startswith("security.istio.io")
            and set(spec) <= {"selector", "action", "rules"}
        )
        if not plain or "rules" not in spec or obj["metadata"].get("annotations") or spec.get("action") == "CUSTOM":
            out.append(obj)
            continue
        key = repr((obj["metadata"].get("namespace"), spec.get("selector"), spec.get("action") or "ALLOW"))
        if key in known:
            known[key]["spec"]["rules"] += spec["rules"]
        else:
            known[key] = obj
            out.append(obj)
    return out


@_as_copies
def in_words_of_when(objs: list[Obj]) -> None:
    """Istio: callers and ports as conditions."""
    for obj in _of(objs, "AuthorizationPolicy", group="security.istio.io"):
        rules = []
        for rule in _spec(obj).get("rules") or ():
            sources = rule.get("from") or []
            for entry in sources or [None]:
                source = dict((entry or {}).get("source") or {})
                when = list(rule.get("when") or ())
                for name, key in (("principals", "source.principal"), ("namespaces", "source.namespace"), ("ipBlocks", "source.ip")):
                    if name in source:
                        when.append({"key": key, "values": source.pop(name)})
                found = {key: value for key, value in rule.items() if key not in ("from", "when")}
                if source:
                    found["from"] = [{"source": source}]
                if when:
                    found["when"] = when
                rules.append(found)
        if rules:
            obj["spec"]["rules"] = rules


@_as_copies
def blocks_halved(objs: list[Obj]) -> None:
    """Each block of addresses as its two halves, or a single address with its length."""
    for obj in objs:
        for holder in _dicts(_spec(obj)):
            for key, value in holder.items():
                if key in ("ipBlocks", "notIpBlocks", "fromCIDR") and isinstance(value, list):
                    holder[key] = [half for one in value for half in _halves(one)]
                elif key in ("networks", "fromCIDRSet") and isinstance(value, list):
                    holder[key] = [
                        {**one, "cidr": half} if "cidr" in one else one for one in value for half in _halves(one.get("cidr", ""), one)
                    ]


def _halves(text: str, beside: Obj | None = None) -> list[str]:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return [text]
    if network.prefixlen == network.max_prefixlen:
        return [str(network)]
    if (beside or {}).get("except"):
        return [str(network)]  # what is excepted has to lie within
    return [str(half) for half in network.subnets()]


@_as_copies
def labels_as_expressions(objs: list[Obj]) -> None:
    """`matchLabels` as `matchExpressions` with one value, where the API takes expressions."""
    for obj in _of(objs, "Server", "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "ServerAuthorization"):
        for holder in _dicts(_spec(obj)):
            labels = holder.pop("matchLabels", None)
            if labels is not None:
                more = [{"key": key, "operator": "In", "values": [value]} for key, value in labels.items()]
                holder["matchExpressions"] = [*(holder.get("matchExpressions") or ()), *more]


@_as_copies
def servers_by_name(objs: list[Obj]) -> None:
    """Linkerd: the port of a Server by the name that every container gives it."""
    names: dict[int, set[str]] = {}
    numbers: dict[str, set[int]] = {}
    pods = list(_of(objs, *WORKLOADS))
    for obj in pods:
        for one in _container_ports(obj):
            names.setdefault(one["containerPort"], set()).add(one.get("name") or "")
            numbers.setdefault(one.get("name") or "", set()).add(one["containerPort"])
    for obj in _of(objs, "Server", group="policy.linkerd.io"):
        port = _spec(obj).get("port")
        found = names.get(port, set()) if isinstance(port, int) else set()
        declared = all(any(one["containerPort"] == port for one in _container_ports(other)) for other in pods) and not _others(objs)
        name = next(iter(found), "")
        if declared and len(found) == 1 and name and numbers[name] == {port}:
            obj["spec"]["port"] = name


def _others(objs: list[Obj]) -> list[Obj]:
    """Workloads of other kinds, whose ports are not looked at."""
    return list(_of(objs, "ReplicaSet", "Pod", "Job", "CronJob"))


@_as_copies
def authorizations_in_parts(objs: list[Obj]) -> list[Obj]:
    """Linkerd: a ServerAuthorization as an AuthorizationPolicy with its authentications."""
    out: list[Obj] = []
    api = "policy.linkerd.io/v1alpha1"
    for obj in objs:
        spec = _spec(obj)
        client, server = spec.get("client") or {}, spec.get("server") or {}
        mesh = client.get("meshTLS") or {}
        if (
            obj["kind"] != "ServerAuthorization"
            or "name" not in server
            or not client.get("networks")
            or mesh.get("unauthenticatedTLS")
            or (mesh.get("identities") and mesh.get("serviceAccounts"))
            or not (client.get("unauthenticated") or mesh)
        ):
            out.append(obj)
            continue
        namespace, name = obj["metadata"].get("namespace"), obj["metadata"]["name"]
        refs: list[Obj] = []
        out.append(_made(api, "NetworkAuthentication", namespace, f"{name}-nets", {"networks": client["networks"]}))
        refs.append({"group": "policy.linkerd.io", "kind": "NetworkAuthentication", "name": f"{name}-nets"})
        if mesh:
            body: Obj = {}
            if mesh.get("identities"):
                body["identities"] = mesh["identities"]
            if mesh.get("serviceAccounts"):
                body["identityRefs"] = [
                    {"kind": "ServiceAccount", "name": one["name"], "namespace": one.get("namespace") or namespace}
                    for one in mesh["serviceAccounts"]
                ]
            out.append(_made(api, "MeshTLSAuthentication", namespace, f"{name}-tls", body))
            refs.append({"group": "policy.linkerd.io", "kind": "MeshTLSAuthentication", "name": f"{name}-tls"})
        target = {"group": "policy.linkerd.io", "kind": "Server", "name": server["name"]}
        out.append(_made(api, "AuthorizationPolicy", namespace, f"{name}-authz", {"targetRef": target, "requiredAuthenticationRefs": refs}))
    return out


def _made(api: str, kind: str, namespace: str | None, name: str, spec: Obj) -> Obj:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, "spec": spec}


@_as_copies
def identities_as_references(objs: list[Obj]) -> None:
    """Linkerd: the names of service accounts as references to them."""
    shape = re.compile(r"([^.*]+)\.([^.*]+)\.serviceaccount\.identity\.linkerd\.cluster\.local")
    for obj in _of(objs, "MeshTLSAuthentication"):
        spec = _spec(obj)
        found = [shape.fullmatch(one) for one in spec.get("identities") or ()]
        if found and all(found):  # the API takes one of the two
            del spec["identities"]
            spec["identityRefs"] = [{"kind": "ServiceAccount", "name": hit[1], "namespace": hit[2]} for hit in found if hit]


@_as_copies
def in_one_object(objs: list[Obj]) -> list[Obj]:
    """Cilium: the policies of a namespace as `specs` of one."""
    out: list[Obj] = []
    known: dict[tuple[str, str], Obj] = {}
    for obj in objs:
        if obj["kind"] not in ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"):
            out.append(obj)
            continue
        key = obj["kind"], obj["metadata"].get("namespace") or ""
        if key not in known:
            known[key] = {**obj, "specs": []}
            known[key].pop("spec", None)
            out.append(known[key])
        known[key]["specs"] += _specs_of(obj)
    return out


def _specs_of(obj: Obj) -> list[Obj]:
    return [*([obj["spec"]] if "spec" in obj else []), *(obj.get("specs") or ())]


def _cilium_specs(objs: list[Obj]) -> Iterator[Obj]:
    return (spec for obj in _of(objs, "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy") for spec in _specs_of(obj))


@_as_copies
def peers_apart(objs: list[Obj]) -> None:
    """Cilium: a rule for each peer and for each port."""
    for spec in _cilium_specs(objs):
        for key in ("ingress", "ingressDeny"):
            for list_key in ("fromEndpoints", "fromCIDR", "fromCIDRSet", "fromEntities", "toPorts"):
                if spec.get(key):
                    spec[key] = [
                        {**rule, list_key: [one]} if one is not None else rule for rule in spec[key] for one in rule.get(list_key) or [None]
                    ]


@_as_copies
def with_source_prefix(objs: list[Obj]) -> None:
    """Cilium: labels with `k8s:` before them."""
    for spec in _cilium_specs(objs):
        for holder in _dicts(spec):
            labels = holder.get("matchLabels")
            if isinstance(labels, dict):
                holder["matchLabels"] = {name if ":" in name else f"k8s:{name}": value for name, value in labels.items()}


@_as_copies
def clusterwide(objs: list[Obj]) -> None:
    """Cilium: a policy of a namespace as one of the cluster that names the namespace."""
    label = "k8s:io.kubernetes.pod.namespace"
    for obj in _of(objs, "CiliumNetworkPolicy"):
        namespace = obj["metadata"].pop("namespace", "default")
        obj["kind"] = "CiliumClusterwideNetworkPolicy"
        obj["metadata"]["name"] = f"{namespace}-{obj['metadata']['name']}"
        for spec in _specs_of(obj):
            _with_namespace(spec.setdefault("endpointSelector", {}), label, namespace)
            for key, peers in (
                ("ingress", "fromEndpoints"),
                ("ingressDeny", "fromEndpoints"),
                ("egress", "toEndpoints"),
                ("egressDeny", "toEndpoints"),
            ):
                for rule in spec.get(key) or ():
                    for peer in rule.get(peers) or ():
                        _with_namespace(peer, label, namespace)


def _with_namespace(selector: Obj, label: str, namespace: str) -> None:
    texts = repr(selector)
    if "io.kubernetes.pod.namespace" not in texts and "io.cilium.k8s.namespace.labels" not in texts and "reserved:" not in texts:
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), label: namespace}


@_as_copies
def ports_with_protocol(objs: list[Obj]) -> None:
    """Cilium: numbers as texts stay, TCP beside a port that asks for HTTP is said."""
    for spec in _cilium_specs(objs):
        for rule in spec.get("ingress") or ():
            for ports in rule.get("toPorts") or ():
                for port in ports.get("ports") or () if "http" in (ports.get("rules") or {}) else ():
                    port.setdefault("protocol", "TCP")


# -- routes


@_as_copies
def even_weights(objs: list[Obj]) -> None:
    """Weights times two, or over their common divisor."""
    for obj in _of(objs, "VirtualService", "HTTPRoute", "GRPCRoute"):
        for holder in _dicts(_spec(obj)):
            for key in ("route", "backendRefs"):
                listed = holder.get(key)
                if isinstance(listed, list) and listed and all(isinstance(one, dict) and "weight" in one for one in listed):
                    for one in listed:
                        one["weight"] *= 2


@_as_copies
def other_units(objs: list[Obj]) -> None:
    """Durations in milliseconds or other units."""
    for obj in objs:
        if obj["kind"] in ("VirtualService", "DestinationRule", "HTTPRoute", "GRPCRoute", "ServiceProfile"):
            for holder in _dicts(_spec(obj)):
                for key, value in holder.items():
                    if isinstance(value, str) and (hit := re.fullmatch(r"(\d+)(s|m)", value)) and key not in ("weight", "value"):
                        seconds = int(hit[1]) * (60 if hit[2] == "m" else 1)
                        holder[key] = (
                            f"{seconds}s"
                            if hit[2] == "m"
                            else f"{seconds * 1000}ms"
                            if seconds < 90
                            else f"{seconds // 60}m{seconds % 60}s"
                        )


@_as_copies
def whole_hosts(objs: list[Obj]) -> None:
    """Istio: short hosts as whole names, and whole names of the own namespace short."""
    for obj in _of(objs, "VirtualService", "DestinationRule", group="networking.istio.io"):
        namespace = obj["metadata"].get("namespace") or "default"

        def other(host: Any, namespace: str = namespace) -> Any:
            if not isinstance(host, str) or not host or "*" in host:
                return host
            if "." not in host:
                return f"{host}.{namespace}.{SUFFIX}"
            return host.split(".")[0] if host.endswith(f".{namespace}.{SUFFIX}") and host.count(".") == 4 else host

        spec = _spec(obj)
        if obj["kind"] == "DestinationRule":
            spec["host"] = other(spec.get("host"))
            continue
        by_name = any("sniHosts" in holder for holder in _dicts([spec.get("tls")]))  # which have to be among the hosts as they are written
        if not by_name and not any(gateway != "mesh" for gateway in spec.get("gateways") or ()):
            spec["hosts"] = [other(host) for host in spec.get("hosts") or ()]
        for holder in _dicts([spec.get("http"), spec.get("tls"), spec.get("tcp")]):
            if "host" in holder and isinstance(holder["host"], str):
                holder["host"] = other(holder["host"])


@_as_copies
def matches_apart(objs: list[Obj]) -> None:
    """A rule for each match, in their order, where the first in the list wins."""
    for obj in _of(objs, "VirtualService", group="networking.istio.io"):
        if _spec(obj).get("http"):
            obj["spec"]["http"] = [
                {**{key: value for key, value in rule.items() if key != "name"}, "match": [match]} if match is not None else rule
                for rule in obj["spec"]["http"]
                for match in rule.get("match") or [None]
            ]
    for obj in _of(objs, "HTTPRoute"):
        if _spec(obj).get("rules"):
            obj["spec"]["rules"] = [
                {**{key: value for key, value in rule.items() if key != "name"}, "matches": [match]} if match is not None else rule
                for rule in obj["spec"]["rules"]
                for match in rule.get("matches") or [None]
            ]


@_as_copies
def rules_over_objects(objs: list[Obj]) -> list[Obj]:
    """The rules of an HTTPRoute over several objects, whose names keep their order."""
    out: list[Obj] = []
    for obj in objs:
        rules = _spec(obj).get("rules") or []
        parents = _spec(obj).get("parentRefs") or ()
        apart = obj["metadata"].get("annotations") or "urlRewrite" in repr(rules)  # what makes one rule invalid takes the others along
        if obj["kind"] != "HTTPRoute" or len(rules) < 2 or apart or any(one.get("kind") != "Service" for one in parents):
            out.append(obj)
            continue
        for number, rule in enumerate(rules):
            part = copy.deepcopy(obj)
            part["metadata"]["name"] += f"-{number:02}"
            part["spec"]["rules"] = [copy.deepcopy(rule)]
            out.append(part)
    return out


@_as_copies
def defaults_said(objs: list[Obj]) -> None:
    """What holds where nothing is said, said."""
    for obj in objs:
        spec = _spec(obj)
        if obj["kind"] == "AuthorizationPolicy" and obj["apiVersion"].startswith("security.istio.io"):
            if "provider" not in spec:
                obj["spec"] = {"action": "ALLOW", **spec}
        elif obj["kind"] == "VirtualService":
            spec.setdefault("gateways", ["mesh"])
            spec.setdefault("exportTo", ["*"])
            for rule in spec.get("http") or ():
                for one in rule.get("route") or () if len(rule.get("route") or ()) == 1 else ():
                    one.setdefault("weight", 100)
                if rule.get("redirect"):
                    rule["redirect"].setdefault("redirectCode", 301)
                if rule.get("mirror") and "mirrorPercentage" not in rule:
                    rule["mirrorPercentage"] = {"value": 100}
        elif obj["kind"] == "DestinationRule":
            spec.setdefault("exportTo", ["*"])
            for holder in _dicts(spec):
                if isinstance(holder.get("outlierDetection"), dict):
                    body = holder["outlierDetection"]
                    for key, value in (
                        ("interval", "10s"),
                        ("baseEjectionTime", "30s"),
                        ("consecutive5xxErrors", 5),
                        ("maxEjectionPercent", 10),
                    ):
                        body.setdefault(key, value)
        elif obj["kind"] in ("HTTPRoute", "GRPCRoute"):
            for rule in spec.get("rules") or ():
                if obj["kind"] == "HTTPRoute" and not rule.get("matches"):
                    rule["matches"] = [{"path": {"type": "PathPrefix", "value": "/"}}]
                for match in rule.get("matches") or ():
                    if obj["kind"] == "HTTPRoute":
                        match.setdefault("path", {"type": "PathPrefix", "value": "/"})
                    for one in [*(match.get("headers") or ()), *(match.get("queryParams") or ())]:
                        one.setdefault("type", "Exact")
                for one in rule.get("backendRefs") or ():
                    one.setdefault("weight", 1)
                    one.setdefault("kind", "Service")
                    one.setdefault("group", "")
        elif obj["kind"] == "Server":
            spec.setdefault("proxyProtocol", "unknown")
            spec.setdefault("accessPolicy", "deny")
        elif obj["kind"] == "Service":
            for port in spec.get("ports") or ():
                port.setdefault("protocol", "TCP")
                port.setdefault("targetPort", port["port"])
        elif obj["kind"] in WORKLOADS:
            for port in _container_ports(obj):
                port.setdefault("protocol", "TCP")


_OLDER = {
    "security.istio.io/v1": "security.istio.io/v1beta1",
    "networking.istio.io/v1": "networking.istio.io/v1beta1",
    "gateway.networking.k8s.io/v1": "gateway.networking.k8s.io/v1beta1",
    "policy.linkerd.io/v1beta3": "policy.linkerd.io/v1beta1",
}


@_as_copies
def older_versions(objs: list[Obj]) -> None:
    """The same objects in an older version of their API."""
    for obj in objs:
        if obj["kind"] in ("VirtualService", "DestinationRule", "AuthorizationPolicy", "PeerAuthentication", "HTTPRoute"):
            obj["apiVersion"] = _OLDER.get(obj["apiVersion"], obj["apiVersion"])


@_as_copies
def subsets_turned(objs: list[Obj]) -> None:
    """Subsets, hosts, destinations and mirrors in another order."""
    for obj in objs:
        for holder in _dicts(_spec(obj)):
            for key in ("subsets", "backendRefs", "portLevelSettings", "requiredAuthenticationRefs", "identityRefs", "networks"):
                if isinstance(holder.get(key), list):
                    holder[key].reverse()
            if obj["kind"] == "VirtualService" and isinstance(holder.get("route"), list):
                holder["route"].reverse()


@_as_copies
def profile_turned(objs: list[Obj]) -> None:
    """Linkerd: routes of a ServiceProfile in another order where at most one of them takes a request."""
    for obj in _of(objs, "ServiceProfile"):
        routes = _spec(obj).get("routes") or []
        plain = [route.get("condition", {}).get("pathRegex", "") for route in routes]
        if all(re.fullmatch(r"[/a-z0-9]+", text) for text in plain) and len(set(plain)) == len(plain):
            routes.reverse()


@_as_copies
def subset_apart(objs: list[Obj]) -> list[Obj]:
    """Istio: each subset in a DestinationRule of its own for the same host; the first keeps the settings."""
    out: list[Obj] = []
    for obj in objs:
        subsets = _spec(obj).get("subsets") or []
        out.append(obj)
        if obj["kind"] == "DestinationRule" and len(subsets) > 1:
            obj["spec"]["subsets"] = subsets[:1]
            for number, subset in enumerate(subsets[1:], 1):
                part = {**copy.deepcopy(obj), "spec": {"host": obj["spec"]["host"], "subsets": [subset]}}
                part["metadata"]["name"] += f"-{number}"
                out.append(part)
    return out


REWRITES: tuple[Rewrite, ...] = (
    operations_apart, rules_apart, policies_joined, in_words_of_when, blocks_halved, labels_as_expressions, servers_by_name,
    authorizations_in_parts, identities_as_references, in_one_object, peers_apart, with_source_prefix, clusterwide, ports_with_protocol, even_weights,
    other_units, whole_hosts, matches_apart, rules_over_objects, defaults_said, older_versions, subsets_turned, profile_turned, subset_apart,
)  # fmt: skip
