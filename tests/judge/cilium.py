"""Cilium's verdict on one request to a pod: which policies select it, what they deny and allow of its peers and ports, what Envoy reads of HTTP.

Written from docs.cilium.io (security/policy, rules of layer 3, 4 and 7) alone. Egress of the caller is not judged, nor are UDP, SCTP and ICMP.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Literal

from .http import header, in_network, normalized, protocol_of, re2_full, split_path
from .world import Obj, Request, Undecided, Workload, World, meta, namespace_of, selects, world_of

Verdict = Literal["allow", "deny"]
NAMESPACE = "io.kubernetes.pod.namespace"
ACCOUNT = "io.cilium.k8s.policy.serviceaccount"
CLUSTER = "io.cilium.k8s.policy.cluster"
OF_NAMESPACE = "io.cilium.k8s.namespace.labels."
PEERS = ("fromEndpoints", "fromEntities", "fromCIDR", "fromCIDRSet")
ENTITIES = {"all", "world", "cluster", "host", "init", "ingress", "unmanaged", "remote-node", "health", "none", "kube-apiserver"}


def decide(manifests: Iterable[Obj], request: Request, *, cluster: str = "default") -> Verdict:
    """Whether a pod takes the request. A caller with a namespace is a pod; one without is outside the cluster, unless it says which `entity` it is."""
    world = world_of(manifests)
    target = world.destination(request)
    rules = [rule for rule in rules_of(world) if _selects(world, rule, target, cluster)]
    judged = [rule for rule in rules if rule.spec.get("ingress") or rule.spec.get("ingressDeny")]
    caller = _Caller(world, request, cluster)
    port = int(request["destination"]["port"])
    for rule in judged:
        for entry in rule.spec.get("ingressDeny") or []:
            if any(True for _ in _four(entry, rule, caller, target, port)):
                return "deny"
    if not any(_closes(rule) for rule in judged):
        return "allow"
    for rule in judged:
        for entry in rule.spec.get("ingress") or []:
            for ports in _four(entry, rule, caller, target, port):
                if _seven(ports, request):
                    return "allow"
    return "deny"


class Rule:
    """One `spec`, or one entry of `specs`, of an object that the agent takes."""

    def __init__(self, spec: Obj, home: str | None) -> None:
        self.spec, self.home = spec, home


def rules_of(world: World) -> Iterator[Rule]:
    """The rules of both kinds. An object of which one rule is refused has none."""
    for kind, clusterwide in (("CiliumNetworkPolicy", False), ("CiliumClusterwideNetworkPolicy", True)):
        for obj in world.of(kind, "cilium.io"):
            specs = [spec for spec in (obj.get("spec"), *(obj.get("specs") or [])) if spec]
            if all(taken(spec, clusterwide) for spec in specs):
                for spec in specs:
                    yield Rule(spec, None if clusterwide else namespace_of(obj))


def taken(spec: Obj, clusterwide: bool) -> bool:
    """Whether the agent takes a rule."""
    if ("endpointSelector" in spec) == ("nodeSelector" in spec) or ("nodeSelector" in spec and not clusterwide):
        return False
    sections = ("ingress", "ingressDeny", "egress", "egressDeny")
    if not any(spec.get(section) for section in sections):
        return False
    for section in sections:
        for entry in spec.get(section) or []:
            peers = [
                key
                for key in entry
                if key.startswith(("from", "to")) and key not in {"toPorts", "fromRequires", "toRequires"} and entry[key]
            ]
            if len(peers) > 1 or (entry.get("icmps") and entry.get("toPorts")):
                return False
            if any(entity not in ENTITIES for entity in entry.get("fromEntities") or []):
                return False
            for cidr in entry.get("fromCIDRSet") or []:
                outer = ipaddress.ip_network(cidr["cidr"], strict=False)
                if not all(ipaddress.ip_network(out, strict=False).subnet_of(outer) for out in cidr.get("except") or []):
                    return False
            for ports in entry.get("toPorts") or []:
                read = {key for key, value in (ports.get("rules") or {}).items() if value}
                if read and (section.endswith("Deny") or len(read) > 1):
                    return False
                if read - {"dns"} and any(p.get("protocol", "ANY") != "TCP" or p.get("port") == "0" for p in ports["ports"]):
                    return False
    return True


def _closes(rule: Rule) -> bool:
    said = (rule.spec.get("enableDefaultDeny") or {}).get("ingress")
    return True if said is None else bool(said)


def _bare(selector: Obj | None) -> tuple[Obj, bool]:
    """A selector whose keys have lost `k8s:` and `any:`; and whether it speaks of reserved labels."""
    reserved = False

    def key(text: str) -> str:
        nonlocal reserved
        reserved = reserved or text.startswith("reserved:")
        return text.removeprefix("k8s:").removeprefix("any:")

    selector = selector or {}
    return {
        "matchLabels": {key(name): value for name, value in (selector.get("matchLabels") or {}).items()},
        "matchExpressions": [{**item, "key": key(item["key"])} for item in selector.get("matchExpressions") or []],
    }, reserved


def _keys(selector: Obj) -> list[str]:
    return [*selector["matchLabels"], *(item["key"] for item in selector["matchExpressions"])]


def security_labels(world: World, namespace: str, account: str, labels: dict[str, str], cluster: str) -> dict[str, str]:
    """What Cilium knows a pod by."""
    space = world.namespace(namespace)
    of_space = {**((meta(space).get("labels") or {}) if space else {}), "kubernetes.io/metadata.name": namespace}
    return {
        **labels,
        NAMESPACE: namespace,
        ACCOUNT: account,
        CLUSTER: cluster,
        **{OF_NAMESPACE + name: value for name, value in of_space.items()},
    }


def _selects(world: World, rule: Rule, target: Workload, cluster: str) -> bool:
    if "endpointSelector" not in rule.spec or target.host_network:
        return False
    selector, reserved = _bare(rule.spec["endpointSelector"])
    if reserved:
        return False
    if rule.home is not None:
        if target.namespace != rule.home:
            return False
        selector = {  # the namespace is the policy's, whatever is written
            "matchLabels": {k: v for k, v in selector["matchLabels"].items() if k != NAMESPACE},
            "matchExpressions": [e for e in selector["matchExpressions"] if e["key"] != NAMESPACE],
        }
    return selects(selector, security_labels(world, target.namespace, target.service_account, target.labels, cluster))


class _Caller:
    def __init__(self, world: World, request: Request, cluster: str) -> None:
        source = request["source"]
        self.ip = source.get("ip")
        self.entity = source.get("entity")
        self.labels: dict[str, str] | None = None
        if source.get("namespace"):
            namespace, account = str(source["namespace"]), str(source.get("service_account") or "default")
            labels = source.get("labels")
            if labels is None:
                known = [w for w in world.workloads if (w.namespace, w.service_account) == (namespace, account)]
                if any(w.labels != known[0].labels for w in known):
                    raise Undecided("the caller's labels are not known")
                labels = known[0].labels if known else {}
            self.labels = security_labels(world, namespace, account, labels, cluster)
        elif self.entity is None:
            self.entity = "world"

    def is_entity(self, name: str) -> bool:
        if name == "all":
            return True
        if name == "cluster":
            return self.entity != "world"
        return self.entity == name

    def in_endpoints(self, selectors: list[Obj], home: str | None, cluster: str) -> bool:
        for raw in selectors:
            selector, reserved = _bare(raw)
            if reserved:
                if any(key == f"reserved:{self.entity}" for key in _keys(selector)) and len(_keys(selector)) == 1:
                    return True
                continue
            keys = _keys(selector)
            if NAMESPACE not in keys:
                if home is not None and not any(key.startswith(OF_NAMESPACE) for key in keys):
                    selector["matchLabels"][NAMESPACE] = home
                else:
                    selector["matchExpressions"].append({"key": NAMESPACE, "operator": "Exists"})
            if CLUSTER not in keys:
                selector["matchLabels"][CLUSTER] = cluster
            if self.labels is not None and selects(selector, self.labels):
                return True
        return False

    def in_cidr(self, cidr: str, excluded: Iterable[str] = ()) -> bool:
        if self.entity != "world":
            return False
        if self.ip is None:
            raise Undecided("the caller's address is not known")
        return in_network(self.ip, cidr) and not any(in_network(self.ip, out) for out in excluded)


def _three(entry: Obj, rule: Rule, caller: _Caller) -> bool:
    """Whether an entry's peers hold the caller; an entry that names none holds everyone."""
    said = [key for key in PEERS if key in entry]
    if any(key in entry for key in ("fromNodes", "fromGroups", "fromRequires")):
        raise Undecided("nodes, groups and requirements")
    if not said:
        return True
    return (
        caller.in_endpoints(entry.get("fromEndpoints") or [], rule.home, "default")
        or any(caller.is_entity(name) for name in entry.get("fromEntities") or [])
        or any(caller.in_cidr(cidr) for cidr in entry.get("fromCIDR") or [])
        or any(caller.in_cidr(item["cidr"], item.get("except") or ()) for item in entry.get("fromCIDRSet") or [])
    )


def _four(entry: Obj, rule: Rule, caller: _Caller, target: Workload, port: int) -> Iterator[Obj]:
    """The entries of `toPorts` that take this caller to this TCP port; `{}` for a rule without ports."""
    ports = entry.get("toPorts") or []
    if entry.get("icmps") or (not ports and not any(key in entry for key in PEERS)):
        return
    if not _three(entry, rule, caller):
        return
    if (entry.get("authentication") or {}).get("mode", "disabled") != "disabled" and caller.labels is None:
        return
    if not ports:
        yield {}
    for item in ports:
        if any(_is_port(wanted, target, port) for wanted in item.get("ports") or []):
            yield item


def _is_port(wanted: Obj, target: Workload, port: int) -> bool:
    if wanted.get("protocol", "ANY") not in ("TCP", "ANY"):
        return False
    text = str(wanted["port"])
    if not text.isdigit():
        return port in target.numbers(text.lower())
    low = int(text)
    return low == 0 or low <= port <= int(wanted.get("endPort") or low)


def _seven(ports: Obj, request: Request) -> bool:
    """Whether the rules that read the traffic, if there are any, let it through."""
    rules = ports.get("rules") or {}
    if ports.get("serverNames") or rules.get("kafka") or rules.get("l7proto"):
        raise Undecided("server names, Kafka and extensions")
    wanted = rules.get("http")
    if not wanted:
        return True
    return protocol_of(request) == "http" and any(_http(item, request) for item in wanted)


def _http(item: Obj, request: Request) -> bool:
    path = normalized(split_path(request)[0])
    for key, name in (("method", ":method"), ("path", ":path"), ("host", ":authority")):
        if item.get(key) and not re2_full(item[key], header(request, name, path=path) or ""):
            return False
    for text in item.get("headers") or []:
        name, space, value = text.partition(" ")
        found = header(request, name.removesuffix(":") if space else name, path=path)
        if found is None or (space and found != value):
            return False
    return all(_match(match, request, path) for match in item.get("headerMatches") or [])


def _match(match: Obj, request: Request, path: str) -> bool:
    if match.get("mismatch"):
        return True
    if match.get("secret"):
        raise Undecided("a secret")
    found = header(request, match["name"], path=path)
    return found is not None and ("value" not in match or found == match["value"])
