"""Random Cilium bundles, and requests near what their policies say."""

from __future__ import annotations

from random import Random
from typing import Any

from .generate import namespaces, workloads
from .vocabulary import EDGE, HEADERS, MESHED, METHODS, OUTSIDE, dice, pick_account, some, subject
from .world import Obj, World

NAMESPACE = "k8s:io.kubernetes.pod.namespace"
ACCOUNT = "k8s:io.cilium.k8s.policy.serviceaccount"
REGEXES = (
    "/api/.*", "/api/v1/.*", "/charge", r"/charge(\?.*)?", "/api(/.*)?", ".*", "/users/[0-9]+", r"/users/[0-9]+(\?.*)?", "/(charge|refund)",
    r".*\.txt", r"/api([/?].*)?", "/healthz",
)  # fmt: skip
PATHS = ("/", "/api", "/api/", "/api/v1", "/api/v1/items", "/charge", "/refund", "/admin", "/healthz", "/users/42", "/a.txt", "/apix")
QUERIES = ("", "", "", "?q=1", "?x=/a.txt", "?")
HOSTS = (r"api\.shop\.test", r"api\.shop\.test(:\d+)?", r".*\.shop\.test", "pay")
NAMES = ("api.shop.test", "api.shop.test:8080", "x.shop.test", "pay")
PUBLIC = ("203.0.113.0/24", "198.51.100.0/25", "0.0.0.0/0", "192.168.0.0/16", "10.1.0.0/16")
CALLERS_IN = ("10.1.2.3", "192.168.4.4", "10.9.0.7")
CALLERS_OUT = ("203.0.113.9", "203.0.113.77", "198.51.100.1", "198.51.100.200", "192.168.7.7", "10.1.9.9", "8.8.8.8")


def random_cilium_bundle(seed: int) -> list[Obj]:
    """Namespaces, workloads and Services, and one to five policies of both kinds."""
    rng = Random(seed)
    out = [*namespaces("none"), *workloads(rng)]
    for obj in out:
        if obj["kind"] == "Namespace":
            obj["metadata"].pop("annotations", None)
            obj["metadata"]["labels"] = {"zone": "inner" if obj["metadata"]["name"] in MESHED else "outer"}
    return out + [_policy(rng, number) for number in range(rng.randint(1, 5))]


def wide_cilium_bundle(seed: int) -> list[Obj]:
    """Such a bundle with what policies say more seldom: subjects by account and by expressions, policies for nodes, other entities, clusters, icmps, headers
    with an action on a mismatch, both directions of `enableDefaultDeny`."""
    rng = Random(f"wide {seed}")
    out = random_cilium_bundle(seed)
    for obj in [item for item in out if item["kind"].startswith("Cilium")]:
        for spec in [obj["spec"]] if "spec" in obj else obj["specs"]:
            if dice(rng, 0.3):
                spec["endpointSelector"] = _rare_subject(rng, obj["kind"] != "CiliumNetworkPolicy")
            if dice(rng, 0.15):
                spec["enableDefaultDeny"] = {"ingress": dice(rng, 0.5), "egress": False}
            for rule in spec.get("ingress", ()):
                _rarer(rng, rule)
    if dice(rng, 0.3):
        spec = {"nodeSelector": {"matchLabels": {"role": "edge"}}, "ingress": [{"fromEntities": ["cluster"]}]}
        out.append({"apiVersion": "cilium.io/v2", "kind": "CiliumClusterwideNetworkPolicy", "metadata": {"name": "nodes"}, "spec": spec})
    return out


def _rare_subject(rng: Random, clusterwide: bool) -> Obj:
    space = {NAMESPACE: rng.choice(MESHED)} if clusterwide else {}
    return rng.choice(
        [
            {"matchLabels": {ACCOUNT: pick_account(rng)[1], **space}},
            {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["pay"]}], **({"matchLabels": space} if space else {})},
            {"matchExpressions": [{"key": "version", "operator": "DoesNotExist"}, {"key": "tier", "operator": "Exists"}]},
            {"matchLabels": {"k8s:app": "pay", "any:tier": "back", **space}},
        ]
    )


def _rarer(rng: Random, rule: Obj) -> None:
    if "fromEntities" in rule and dice(rng, 0.4):
        rule["fromEntities"] = some(rng, ("host", "kube-apiserver", "health", "unmanaged", "world", "cluster"), 2)
    for selector in rule.get("fromEndpoints", ()):
        if dice(rng, 0.15):
            cluster = {"key": "io.cilium.k8s.policy.cluster", "operator": rng.choice(["In", "Exists"])}
            selector.setdefault("matchExpressions", []).append(
                {**cluster, **({"values": ["default"]} if cluster["operator"] == "In" else {})}
            )
        if dice(rng, 0.15):
            selector.setdefault("matchExpressions", []).append({"key": "version", "operator": rng.choice(["Exists", "DoesNotExist"])})
    for entry in rule.get("toPorts", ()):
        for item in entry.get("rules", {}).get("http", ()):
            if dice(rng, 0.15):
                name, value = rng.choice(HEADERS)
                item["headerMatches"] = [{"name": name, "value": value, "mismatch": rng.choice(["LOG", "ADD"])}]
    if not rule.get("toPorts") and rule and dice(rng, 0.2):
        rule["icmps"] = [{"fields": [{"family": "IPv4", "type": 8}]}]


def _policy(rng: Random, number: int) -> Obj:
    clusterwide = dice(rng, 0.2)
    specs = [_spec(rng, clusterwide) for _ in range(rng.choice([1, 1, 1, 2]))]
    metadata: Obj = {"name": f"policy-{number}"}
    if not clusterwide:
        metadata["namespace"] = rng.choices([*MESHED], [6, 3])[0]
    kind = "CiliumClusterwideNetworkPolicy" if clusterwide else "CiliumNetworkPolicy"
    body = {"spec": specs[0]} if len(specs) == 1 else {"specs": specs}
    return {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": metadata, **body}


def _spec(rng: Random, clusterwide: bool) -> Obj:
    labels: dict[str, str] = dict(subject(rng)) if dice(rng, 0.8) else {}
    if clusterwide and dice(rng, 0.6):
        labels[NAMESPACE] = rng.choice(MESHED)
    selector: Obj = {"matchLabels": labels} if labels else {}
    if dice(rng, 0.1):
        selector = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["pay", "web"]}]}
    spec: Obj = {"endpointSelector": selector}
    if dice(rng, 0.1):
        spec["ingress"] = [{}]
    elif dice(rng, 0.9):
        spec["ingress"] = [_rule(rng, clusterwide, deny=False) for _ in range(rng.choice([1, 1, 2, 3]))]
    if dice(rng, 0.2) or "ingress" not in spec:
        spec["ingressDeny"] = [_rule(rng, clusterwide, deny=True)]
    if dice(rng, 0.15):
        spec["enableDefaultDeny"] = {"ingress": rng.choice([True, False])}
    if dice(rng, 0.1):
        spec["egress"] = [{"toEntities": ["cluster"]}]
    return spec


def _rule(rng: Random, clusterwide: bool, *, deny: bool) -> Obj:
    rule = _peers(rng, clusterwide)
    if dice(rng, 0.75) or not rule:
        rule["toPorts"] = [_ports(rng, deny) for _ in range(rng.choice([1, 1, 2]))]
    return rule


def _peers(rng: Random, clusterwide: bool) -> Obj:
    kind = rng.choices(["fromEndpoints", "fromEntities", "fromCIDR", "fromCIDRSet", "none"], [10, 3, 1, 1.5, 2])[0]
    if kind == "fromEndpoints":
        return {kind: [_endpoints(rng) for _ in range(rng.choice([0, 1, 1, 1, 1, 1, 2, 2]))]}
    if kind == "fromEntities":
        return {kind: some(rng, ("world", "cluster", "ingress", "remote-node", "none", "all"), 2)}
    if kind == "fromCIDR":
        return {kind: some(rng, PUBLIC, 2)}
    if kind == "fromCIDRSet":
        return {
            kind: [
                rng.choice([{"cidr": "203.0.113.0/24", "except": ["203.0.113.64/26"]}, {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}])
            ]
        }
    return {}


def _endpoints(rng: Random) -> Obj:
    account = pick_account(rng)
    choices: list[Obj] = [
        {"matchLabels": {NAMESPACE: account[0], ACCOUNT: account[1]}},
        {"matchLabels": {NAMESPACE: rng.choice([*MESHED, EDGE, OUTSIDE])}},
        {"matchLabels": {ACCOUNT: account[1]}},
        {"matchLabels": subject(rng)},
        {"matchLabels": {**subject(rng), NAMESPACE: rng.choice(MESHED)}},
        {"matchLabels": {"k8s:io.cilium.k8s.namespace.labels.zone": "inner"}},
        {"matchLabels": {"io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": EDGE, "app": "gateway"}},
        {"matchExpressions": [{"key": NAMESPACE, "operator": "Exists"}]},
        {"matchExpressions": [{"key": NAMESPACE, "operator": "In", "values": list(MESHED)}]},
        {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]},
        {"matchExpressions": [{"key": NAMESPACE, "operator": "NotIn", "values": [OUTSIDE]}, {"key": "tier", "operator": "Exists"}]},
        {},
    ]
    return rng.choices(choices, [5, 2, 1, 5, 2, 1, 1, 1, 1, 1, 1, 1.5])[0]


def _ports(rng: Random, deny: bool) -> Obj:
    port: Obj = rng.choice(
        [{"port": "8080"}, {"port": "8080"}, {"port": "http"}, {"port": "9090"}, {"port": "admin"}, {"port": "7000", "endPort": 8080},
         {"port": "0"}, {"port": "7000"}, {"port": "1", "endPort": 9000}]
    )  # fmt: skip
    port = {**port, **rng.choice([{"protocol": "TCP"}, {"protocol": "TCP"}, {"protocol": "TCP"}, {}, {"protocol": "UDP"}])}
    found: Obj = {"ports": [port]}
    if dice(rng, 0.2):
        found["ports"].append({"port": "9090", "protocol": "TCP"})
    if not deny and all(item.get("protocol") == "TCP" and item["port"] != "0" for item in found["ports"]) and dice(rng, 0.6):
        found["rules"] = {"http": [_http(rng) for _ in range(rng.choice([0, 1, 1, 2]))]}
    return found


def _http(rng: Random) -> Obj:
    item: Obj = {}
    if dice(rng, 0.7):
        item["path"] = rng.choice(REGEXES)
    if dice(rng, 0.7):
        item["method"] = rng.choice([*METHODS, "GET|HEAD", "P.*"])
    if dice(rng, 0.15):
        item["host"] = rng.choice(HOSTS)
    name, value = rng.choice(HEADERS)
    if dice(rng, 0.15):
        item["headers"] = [rng.choice([f"{name}: {value}", f"{name} {value}", name.title()])]
    elif dice(rng, 0.15):
        item["headerMatches"] = [{"name": name, "value": value} if dice(rng, 0.6) else {"name": name}]
    return item


def cilium_requests(bundle: list[Obj], seed: int, n: int) -> list[Obj]:
    """Requests by pods of the bundle, by strangers, and from outside the cluster."""
    rng, world = Random(seed), World(bundle)
    targets = [item for item in world.workloads if item.namespace in MESHED]
    pods = [{"namespace": w.namespace, "service_account": w.service_account, "labels": dict(w.labels)} for w in world.workloads]
    pods += [{"namespace": "elsewhere", "service_account": "stranger", "labels": {"app": "x"}}]
    return [_request(rng, targets, pods) for _ in range(n)]


def _request(rng: Random, targets: list[Any], pods: list[Obj]) -> Obj:
    target = rng.choice(targets)
    source: Obj = {**rng.choice(pods), "ip": rng.choice(CALLERS_IN), "meshed": True} if dice(rng, 0.8) else {"ip": rng.choice(CALLERS_OUT)}
    port = rng.choice([*(port.number for port in target.ports), 8080, 9090, 7000, 7500, 9500])
    request: Obj = {
        "source": source,
        "destination": {"namespace": target.namespace, "workload": target.name, "labels": dict(target.labels), "port": port},
    }
    if port == 7000:
        return {**request, "protocol": "tcp"}
    headers = dict([rng.choice(HEADERS)]) if dice(rng, 0.4) else {}
    path = rng.choice(["", "", "", "/x/.."]) + rng.choice(PATHS) + rng.choice(QUERIES)
    return {**request, "protocol": "http", "method": rng.choice(METHODS), "host": rng.choice(NAMES), "path": path, "headers": headers}


FAR = ("ingress-nginx", "kube-system", "partners")


def far_cilium_bundle(seed: int) -> list[Obj]:
    """Such a bundle whose policies let callers in from namespaces of which it shows no workloads, and at most the Namespace of one."""
    rng = Random(f"far {seed}")
    out = (random_cilium_bundle if seed % 2 else wide_cilium_bundle)(seed)
    for obj in [item for item in out if item["kind"].startswith("Cilium")]:
        for spec in [obj["spec"]] if "spec" in obj else obj["specs"]:
            for rule in spec.get("ingress", ()):
                if "fromEntities" in rule and dice(rng, 0.5):
                    del rule["fromEntities"]
                    rule["fromEndpoints"] = [{"matchLabels": {NAMESPACE: rng.choice(FAR)}}]
                for selector in [item for item in rule.get("fromEndpoints", ()) if dice(rng, 0.6)]:
                    selector.clear()
                    more = rng.choice([{}, {}, {"app": "a"}, {"app": "b"}, {ACCOUNT: "sa"}])
                    selector["matchLabels"] = {NAMESPACE: rng.choice(FAR), **more}
    if dice(rng, 0.3):
        out.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": rng.choice(FAR)}})
    return out


def far_requests(bundle: list[Obj], seed: int, n: int) -> list[Obj]:
    """Requests by pods of the bundle and by those of the far namespaces, most of which have no proxy, and in kube-system none."""
    rng, world = Random(f"far {seed}"), World(bundle)
    targets = [item for item in world.workloads if item.namespace in MESHED]
    pods = [{"namespace": w.namespace, "service_account": w.service_account, "labels": dict(w.labels)} for w in world.workloads]
    far = [{"namespace": home, "service_account": "other" if app == "c" else "sa", "labels": {"app": app}} for home in FAR for app in "abc"]
    found = [_request(rng, targets, [*pods, *far, *far]) for _ in range(n)]
    for request in found:
        home = request["source"].get("namespace")
        if home == "kube-system" or (home in FAR and dice(rng, 0.7)):
            request["source"]["meshed"] = False
    return found
