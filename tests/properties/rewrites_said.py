"""More rewrites of a bundle that change no request: the same values in other words, and what holds anyway said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .rewrites import WORKLOADS, Obj, Rewrite, _as_copies, _cilium_specs, _dicts, _made, _of, _spec

LINKERD = "policy.linkerd.io"
ISTIO = "security.istio.io"


# -- any mesh


@_as_copies
def each_value_twice(objs: list[Obj]) -> None:
    for obj in _of(objs, "AuthorizationPolicy", "MeshTLSAuthentication", "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"):
        for holder in _dicts([_spec(obj), obj.get("specs")]):
            for key, values in holder.items():
                if isinstance(values, list) and values and all(isinstance(one, str) for one in values):
                    holder[key] = [*values, *values]


@_as_copies
def names_of_headers(objs: list[Obj]) -> None:
    """Names of headers have no case."""
    for obj in _of(objs, "HTTPRoute", "GRPCRoute"):
        for holder in _dicts(_spec(obj)):
            for key in ("headers", "set", "add"):
                for one in holder[key] if isinstance(holder.get(key), list) else ():
                    one["name"] = one["name"].title()
    for obj in _of(objs, "AuthorizationPolicy", group=ISTIO):
        for holder in _dicts(_spec(obj)):
            if isinstance(key := holder.get("key"), str):
                holder["key"] = re.sub(r"\[[^\]]*", lambda found: found[0].title(), key) if key.startswith("request.headers") else key


# -- Istio


@_as_copies
def port_levels_said(objs: list[Obj]) -> None:
    """A port's mode where the workload's says the same, and UNSET where nothing is said."""
    for obj in _of(objs, "PeerAuthentication"):
        spec = _spec(obj)
        mode = (spec.get("mtls") or {}).get("mode")
        if spec.get("selector") and mode not in (None, "UNSET"):
            spec.setdefault("portLevelMtls", {}).setdefault("6543", {"mode": mode})
        spec.setdefault("mtls", {"mode": "UNSET"})


@_as_copies
def hosts_in_capitals(objs: list[Obj]) -> None:
    """Hosts have no case."""
    for obj in _of(objs, "AuthorizationPolicy", group=ISTIO):
        for holder in _dicts(_spec(obj)):
            for key in ("hosts", "notHosts"):
                if key in holder:
                    holder[key] = [one.upper() for one in holder[key]]


def _routing_rules(objs: list[Obj]) -> Iterator[Obj]:
    """The rules of VirtualServices of which no part looks back at how their match is written."""
    for obj in _of(objs, "VirtualService"):
        yield from (rule for rule in _spec(obj).get("http") or () if not rule.get("rewrite") and not rule.get("redirect"))


@_as_copies
def texts_as_expressions(objs: list[Obj]) -> None:
    """Exact texts and prefixes as regular expressions."""
    for match in (match for rule in _routing_rules(objs) for match in rule.get("match") or ()):
        demands = [match.get(key) for key in ("uri", "method", "scheme", "authority")]
        for demand in [*demands, *(match.get("headers") or {}).values(), *(match.get("queryParams") or {}).values()]:
            if demand and "exact" in demand:
                demand["regex"] = _escaped(demand.pop("exact"))
            elif demand and "prefix" in demand:
                demand["regex"] = _escaped(demand.pop("prefix")) + "(?s:.*)"


def _escaped(text: str) -> str:
    return re.sub(r"([.+*?()\[\]{}|^$\\])", r"\\\1", text)


@_as_copies
def whole_prefix_said(objs: list[Obj]) -> None:
    for rule in _routing_rules(objs):
        rule["match"] = rule.get("match") or [{"uri": {"prefix": "/"}}]


@_as_copies
def no_timeout_said(objs: list[Obj]) -> None:
    for rule in _routing_rules(objs):
        if rule.get("route"):
            rule.setdefault("timeout", "0s")


@_as_copies
def retries_said(objs: list[Obj]) -> None:
    """The retries that nobody asks for."""
    for rule in _routing_rules(objs):
        if rule.get("route"):
            words = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
            rule.setdefault("retries", {"attempts": 2, "retryOn": words})


# -- Linkerd


@_as_copies
def routes_of_the_other_group(objs: list[Obj]) -> None:
    """HTTPRoutes of one group as those of the other."""
    other = {"gateway.networking.k8s.io": f"{LINKERD}/v1beta3", LINKERD: "gateway.networking.k8s.io/v1"}
    moved: dict[tuple[str, str], str] = {}
    for obj in _of(objs, "HTTPRoute"):
        if any(one.get("kind") == "Server" for one in _spec(obj).get("parentRefs") or ()):
            obj["apiVersion"] = other[obj["apiVersion"].partition("/")[0]]
            moved[obj["metadata"]["namespace"], obj["metadata"]["name"]] = obj["apiVersion"].partition("/")[0]
    for obj in _of(objs, "AuthorizationPolicy", group=LINKERD):
        target = _spec(obj)["targetRef"]
        if target["kind"] == "HTTPRoute":
            target["group"] = moved.get((obj["metadata"]["namespace"], target["name"]), target["group"])


@_as_copies
def accounts_as_authentications(objs: list[Obj]) -> list[Obj]:
    """A ServiceAccount that a policy names, as an authentication that does."""
    more = []
    for obj in _of(objs, "AuthorizationPolicy", group=LINKERD):
        namespace = obj["metadata"]["namespace"]
        for number, ref in enumerate(_spec(obj)["requiredAuthenticationRefs"]):
            if ref["kind"] == "ServiceAccount":
                name = f"{obj['metadata']['name']}-account-{number}"
                account = {"kind": "ServiceAccount", "name": ref["name"], "namespace": ref.get("namespace") or namespace}
                more.append(_made(f"{LINKERD}/v1alpha1", "MeshTLSAuthentication", namespace, name, {"identityRefs": [account]}))
                obj["spec"]["requiredAuthenticationRefs"][number] = {"group": LINKERD, "kind": "MeshTLSAuthentication", "name": name}
    return objs + more


@_as_copies
def anywhere_said(objs: list[Obj]) -> list[Obj]:
    """Every address demanded where none is."""
    made = {}
    for obj in _of(objs, "AuthorizationPolicy", group=LINKERD):
        refs, namespace = _spec(obj)["requiredAuthenticationRefs"], obj["metadata"]["namespace"]
        if refs and not any(ref["kind"] == "NetworkAuthentication" for ref in refs):
            networks = [{"cidr": "0.0.0.0/0"}, {"cidr": "::/0"}]
            made[namespace] = _made(f"{LINKERD}/v1alpha1", "NetworkAuthentication", namespace, "anywhere", {"networks": networks})
            refs.append({"group": LINKERD, "kind": "NetworkAuthentication", "name": "anywhere"})
    return [*objs, *made.values()]


@_as_copies
def policy_of_namespace(objs: list[Obj]) -> list[Obj]:
    """A policy for a namespace as one for each of its Servers."""
    out: list[Obj] = []
    for obj in objs:
        namespace = obj["metadata"].get("namespace")
        if obj["kind"] != "AuthorizationPolicy" or (_spec(obj).get("targetRef") or {}).get("kind") != "Namespace":
            out.append(obj)
            continue
        for server in (one for one in _of(objs, "Server") if one["metadata"].get("namespace") == namespace):
            name = server["metadata"]["name"]
            body = {**_spec(obj), "targetRef": {"group": LINKERD, "kind": "Server", "name": name}}
            out.append(_made(obj["apiVersion"], "AuthorizationPolicy", namespace, f"{obj['metadata']['name']}-{name}", body))
    return out


@_as_copies
def servers_by_number(objs: list[Obj]) -> None:
    """The port of a Server by the number that every pod gives its name."""
    pods = list(_of(objs, *WORKLOADS, "ReplicaSet", "Pod", "Job", "CronJob"))
    named = [{one["name"]: one["containerPort"] for holder in _dicts(pod) for one in _ports(holder) if "name" in one} for pod in pods]
    for obj in _of(objs, "Server"):
        numbers = {ports.get(_spec(obj)["port"]) for ports in named}
        if len(numbers) == 1 and None not in numbers:
            obj["spec"]["port"] = numbers.pop()


def _ports(holder: Obj) -> list[Obj]:
    found = holder.get("ports")
    return [one for one in found if isinstance(one, dict) and "containerPort" in one] if isinstance(found, list) else []


# -- Cilium


def _ingress(objs: list[Obj]) -> Iterator[Obj]:
    return (rule for spec in _cilium_specs(objs) for key in ("ingress", "ingressDeny") for rule in spec.get(key) or ())


def _entries(objs: list[Obj]) -> Iterator[Obj]:
    return (entry for rule in _ingress(objs) for entry in rule.get("toPorts") or ())


def _http(objs: list[Obj]) -> Iterator[Obj]:
    return (one for entry in _entries(objs) for one in (entry.get("rules") or {}).get("http") or ())


@_as_copies
def namespace_by_label(objs: list[Obj]) -> None:
    """The namespace of a peer by the label that every Namespace has."""
    by_name, by_label = "k8s:io.kubernetes.pod.namespace", "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name"
    for peer in (peer for rule in _ingress(objs) for peer in rule.get("fromEndpoints") or ()):
        labels = peer.get("matchLabels") or {}
        if by_name in labels:
            labels[by_label] = labels.pop(by_name)


@_as_copies
def protocols_apart(objs: list[Obj]) -> None:
    """A port of any protocol as one of each."""
    for entry in _entries(objs):
        entry["ports"] = [
            {**port, "protocol": protocol}
            for port in entry.get("ports") or ()
            for protocol in (("TCP", "UDP", "SCTP") if port.get("protocol", "ANY") == "ANY" else (port["protocol"],))
        ]


@_as_copies
def ranges_halved(objs: list[Obj]) -> None:
    for entry in _entries(objs):
        entry["ports"] = [half for port in entry.get("ports") or () for half in _half(port)]


def _half(port: Obj) -> list[Obj]:
    if not port.get("endPort") or int(port["port"]) >= int(port["endPort"]):
        return [port]
    middle = (int(port["port"]) + int(port["endPort"])) // 2
    return [{**port, "endPort": middle}, {**port, "port": str(middle + 1)}]


@_as_copies
def blocks_as_sets(objs: list[Obj]) -> None:
    for rule in _ingress(objs):
        if rule.get("fromCIDR"):
            rule["fromCIDRSet"] = [{"cidr": one if "/" in one else f"{one}/32"} for one in rule.pop("fromCIDR")]


@_as_copies
def values_apart(objs: list[Obj]) -> None:
    """A peer for each value of an expression."""
    for rule in _ingress(objs):
        if rule.get("fromEndpoints"):
            rule["fromEndpoints"] = [one for peer in rule["fromEndpoints"] for one in _single(peer)]


def _single(peer: Obj) -> Iterator[Obj]:
    expressions: list[Any] = peer.get("matchExpressions") or []
    wide = next((number for number, one in enumerate(expressions) if one["operator"] == "In"), None)
    if wide is None:
        yield peer
        return
    for value in expressions[wide]["values"]:
        narrow = {**expressions[wide], "values": [value]}
        yield {**peer, "matchExpressions": [*expressions[:wide], narrow, *expressions[wide + 1 :]]}


@_as_copies
def everybody_in_two(objs: list[Obj]) -> None:
    for rule in _ingress(objs):
        if "all" in (rule.get("fromEntities") or ()):
            rule["fromEntities"] = [*(one for one in rule["fromEntities"] if one != "all"), "cluster", "world"]


@_as_copies
def headers_as_matches(objs: list[Obj]) -> None:
    for one in _http(objs):
        for text in one.pop("headers", None) or ():
            name, space, value = text.partition(" ")
            one.setdefault("headerMatches", []).append({"name": name.rstrip(":"), **({"value": value} if space else {})})


@_as_copies
def expressions_grouped(objs: list[Obj]) -> None:
    for one in _http(objs):
        one.update({key: f"(?:{one[key]})" for key in ("path", "method") if key in one})


@_as_copies
def default_deny_said(objs: list[Obj]) -> None:
    for spec in _cilium_specs(objs):
        for way in ("ingress", "egress"):
            if spec.get(way) or spec.get(f"{way}Deny"):
                spec.setdefault("enableDefaultDeny", {}).setdefault(way, True)


SAID: tuple[Rewrite, ...] = (
    each_value_twice, names_of_headers, port_levels_said, hosts_in_capitals, texts_as_expressions, whole_prefix_said, no_timeout_said, retries_said,
    routes_of_the_other_group, accounts_as_authentications, anywhere_said, policy_of_namespace, servers_by_number, namespace_by_label, protocols_apart,
    ranges_halved, blocks_as_sets, values_apart, everybody_in_two, headers_as_matches, expressions_grouped, default_deny_said,
)  # fmt: skip
