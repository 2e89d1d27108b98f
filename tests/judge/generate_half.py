"""Random bundles half in ambient: namespaces and pods of each kind, waypoints before some Services, policies that name accounts of both kinds; and requests."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from .half import Plane, plane
from .vocabulary import dice
from .world import Obj, World, labels_match, meta, spec_of

_HOMES = ("a", "b", "c")
_GATEWAY = "gateway.networking.k8s.io"
_SECURITY = "security.istio.io/v1"
_FOR, _USE = "istio.io/waypoint-for", "istio.io/use-waypoint"
_AMBIENT, _SIDECAR = {"istio.io/dataplane-mode": "ambient"}, {"istio-injection": "enabled"}
_KINDS: tuple[dict[str, str], ...] = (_AMBIENT, _AMBIENT, _SIDECAR, {"istio.io/rev": "stable"}, {**_AMBIENT, **_SIDECAR}, {})
_SHAPES: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("GET", "/api/1", {}),
    ("POST", "/x", {}),
    ("DELETE", "/admin", {"x-a": "1"}),
    ("GET", "/api", {}),
)


class _Maker:
    def __init__(self, seed: int) -> None:
        self.rng, self.out, self.accounts = Random(f"half {seed}"), list[Obj](), [("a", "ghost"), ("b", "ghost")]

    def add(self, api: str, kind: str, namespace: str, name: str, spec: Obj | None, **labels: str) -> Obj:
        made: Obj = {"apiVersion": api, "kind": kind, "metadata": {"name": name, **({"namespace": namespace} if namespace else {})}}
        made |= {"spec": spec} if spec is not None else {}
        self.out.append(made)
        return made

    def namespaces(self) -> None:
        for name in _HOMES:
            self.add("v1", "Namespace", "", name, None)["metadata"]["labels"] = dict(self.rng.choice(_KINDS[: 5 if name == "a" else 6]))

    def workloads(self) -> None:
        rng = self.rng
        for home in _HOMES:
            for number in range(rng.choice([1, 2, 2, 3])):
                app = f"{home}{number}"
                labels = {"app": app, "tier": rng.choice("xy")}
                if dice(rng, 0.12):
                    labels["istio.io/dataplane-mode"] = rng.choice(["ambient", "none"])
                if dice(rng, 0.18):
                    labels["sidecar.istio.io/inject"] = rng.choice(["true", "false"])
                ports: list[Obj] = [{"name": "http", "containerPort": 8080}]
                ports += [{"name": "http-admin", "containerPort": 9090}] if dice(rng, 0.5) else []
                ports += [{"name": "tcp-data", "containerPort": 7000}] if dice(rng, 0.25) else []
                account = rng.choice([app, app, f"{home}-shared", "default"])
                self.accounts.append((home, account))
                pod: Obj = {"serviceAccountName": account, "containers": [{"name": "app", "image": "app:1", "ports": ports}]}
                template = {"metadata": {"labels": labels}, "spec": pod}
                self.add("apps/v1", "Deployment", home, app, {"selector": {"matchLabels": {"app": app}}, "template": template})
                listed = [
                    {"name": one["name"], "port": 80 if one["containerPort"] == 8080 else one["containerPort"], "targetPort": one["name"]}
                    for one in ports
                ]
                if dice(rng, 0.85):
                    spec: Obj = {"selector": {"app": app}, "ports": listed}
                    spec |= {"clusterIP": "None"} if dice(rng, 0.06) else {}
                    self.add("v1", "Service", home, app, spec)
            if dice(rng, 0.25):
                ports = [{"name": "http", "port": 80, "targetPort": 8080}]
                self.add("v1", "Service", home, f"{home}-tier", {"selector": {"tier": rng.choice("xy")}, "ports": ports})

    def source(self) -> Obj:
        rng = self.rng
        some = [f"cluster.local/ns/{home}/sa/{account}" for home, account in rng.sample(self.accounts, rng.choice([1, 1, 2]))]
        namespaces = rng.sample(_HOMES, rng.choice([1, 2]))
        return rng.choice(
            [
                {"principals": some}, {"principals": some}, {"principals": some}, {"namespaces": namespaces}, {"namespaces": namespaces},
                {"serviceAccounts": ["/".join(rng.choice(self.accounts))]}, {"principals": ["*"]}, {"notPrincipals": some[:1]},
                {"notNamespaces": namespaces[:1]}, {"ipBlocks": ["10.0.0.0/8"]}, {"trustDomains": ["other.domain"], "namespaces": namespaces},
                {"principals": some, "notNamespaces": namespaces[:1]},
            ]
        )  # fmt: skip

    def rule(self, ports: tuple[str, ...] = ("8080", "9090", "7000"), http: float = 0.4) -> Obj:
        rng, rule = self.rng, {}
        if dice(rng, 0.85):
            rule["from"] = [{"source": self.source()} for _ in range(rng.choice([1, 1, 1, 2]))]
        operation: Obj = {}
        if dice(rng, http):
            operation["methods"] = rng.sample(["GET", "POST", "DELETE"], rng.choice([1, 2]))
            operation |= {"paths": rng.sample(["/api/*", "/api", "/admin*", "/x"], rng.choice([1, 2]))} if dice(rng, 0.5) else {}
        if dice(rng, 0.3):
            operation["ports"] = rng.sample(ports, rng.choice([1, 1, 2]))
        return {**rule, "to": [{"operation": operation}]} if operation else rule

    def policy(self, namespace: str, spec: Obj) -> None:
        self.add(_SECURITY, "AuthorizationPolicy", namespace, f"policy-{len(self.out)}", spec)

    def waypoint(self, home: str) -> None:
        """A waypoint, whom it stands before, what hangs on it, and sometimes what admits it alone at the pods."""
        rng = self.rng
        spec = {"gatewayClassName": "istio-waypoint", "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}]}
        self.add(f"{_GATEWAY}/v1", "Gateway", home, "gate", spec)
        services = [one for one in self.out if one["kind"] == "Service" and meta(one)["namespace"] == home]
        named = [one for one in self.out if one["kind"] == "Namespace" and meta(one)["name"] == home]
        for one in named if dice(rng, 0.6) or not services else rng.sample(services, 1):
            meta(one).setdefault("labels", {})["istio.io/use-waypoint"] = "gate"
        for _ in range(rng.choice([0, 1, 1, 2])):
            target = {"group": _GATEWAY, "kind": "Gateway", "name": "gate"}
            if services and dice(rng, 0.6):
                target = {"group": "", "kind": "Service", "name": meta(rng.choice(services))["name"]}
            rules = [self.rule(("80", "9090", "7000")) for _ in range(rng.choice([1, 1, 2]))]
            self.policy(home, {"targetRefs": [target], "action": rng.choice(["ALLOW", "ALLOW", "ALLOW", "DENY"]), "rules": rules})
        if dice(rng, 0.6):
            rules = [{"from": [{"source": {"principals": [f"cluster.local/ns/{home}/sa/gate"]}}]}]
            self.policy(home, {"rules": [*rules, *([self.rule(http=0)] if dice(rng, 0.35) else [])]})

    def policies(self) -> None:
        rng = self.rng
        for _ in range(rng.choice([1, 2, 3, 4])):
            spec: Obj = {"action": rng.choice(["ALLOW"] * 6 + ["DENY"] * 2 + ["CUSTOM"])}
            spec |= {"provider": {"name": "ext"}} if spec["action"] == "CUSTOM" else {}
            spec |= {"selector": {"matchLabels": {"tier": rng.choice("xy")}}} if dice(rng, 0.65) else {}
            spec["rules"] = [self.rule() for _ in range(rng.choice([1, 1, 2, 3]))]
            self.policy(rng.choice(["a", "a", "b", "b", "c", "istio-system"]), spec)
        if dice(rng, 0.5):
            mode = rng.choice(["STRICT", "STRICT", "PERMISSIVE", "DISABLE"])
            self.add(_SECURITY, "PeerAuthentication", rng.choice(["a", "b", "istio-system"]), "mode", {"mtls": {"mode": mode}})


class _Gates:
    """Waypoints of every kind, for pods too, and those of another namespace."""

    def __init__(self, seed: int, maker: _Maker) -> None:
        self.rng, self.maker = Random(f"gates {seed}"), maker

    def vary(self) -> None:
        rng, maker = self.rng, self.maker
        gates = [meta(one)["namespace"] for one in maker.out if one["kind"] == "Gateway"]
        for one in (one for one in maker.out if one["kind"] == "Gateway"):
            if serves := rng.choice(["", "service", "all", "all", "all", "workload", "workload", "none"]):
                meta(one)["labels"] = {_FOR: serves}
        for home in _HOMES if gates else ():
            gate = rng.choice(gates)
            if gate == home or not dice(rng, 0.3):
                continue
            services = [one for one in maker.out if one["kind"] == "Service" and meta(one)["namespace"] == home]
            named = [one for one in maker.out if one["kind"] == "Namespace" and meta(one)["name"] == home]
            for one in named if dice(rng, 0.5) or not services else rng.sample(services, 1):
                meta(one).setdefault("labels", {}).update({_USE: "gate", f"{_USE}-namespace": gate})
            if dice(rng, 0.6):
                maker.policy(home, {"rules": [{"from": [{"source": {"principals": [f"cluster.local/ns/{gate}/sa/gate"]}}]}]})
        for one in (one for one in maker.out if one["kind"] == "Deployment" and gates):
            if dice(rng, 0.15):
                home, gate = meta(one)["namespace"], rng.choice(gates)
                said = {_USE: "gate"} if gate == home else {_USE: "gate", f"{_USE}-namespace": gate}
                one["spec"]["template"]["metadata"]["labels"].update(rng.choice([said, said, {_USE: "none"}]))
        if gates and dice(rng, 0.12):
            target = {"group": _GATEWAY, "kind": "GatewayClass", "name": "istio-waypoint"}
            action = rng.choice(["ALLOW", "DENY"])
            maker.policy("istio-system", {"targetRefs": [target], "action": action, "rules": [maker.rule(("80", "9090", "7000"))]})


def half_bundle(seed: int, *, gates: bool = False) -> list[Obj]:
    """A bundle. No waypoint stands before pods outside the mesh; with `gates` they are of every kind, and for other namespaces too."""
    maker = _Maker(seed)
    maker.namespaces()
    maker.workloads()
    homes = {meta(one)["name"]: meta(one)["labels"] for one in maker.out if one["kind"] == "Namespace"}
    for home, labels in homes.items():
        if "istio.io/dataplane-mode" in labels and dice(maker.rng, 0.75):
            maker.waypoint(home)
    maker.policies()
    if gates:
        _Gates(seed, maker).vary()
    world = World(maker.out)
    for one in maker.out:
        selector = spec_of(one).get("selector") if one["kind"] == "Service" else None
        pods = [
            pod for pod in world.workloads if selector and pod.namespace == meta(one)["namespace"] and labels_match(selector, pod.labels)
        ]
        if any(plane(world, pod) == "none" for pod in pods):
            meta(one).setdefault("labels", {})["istio.io/use-waypoint"] = "none"
        if one["kind"] == "Deployment" and gates:
            pod = next(pod for pod in world.workloads if (pod.namespace, pod.name) == (meta(one)["namespace"], meta(one)["name"]))
            if plane(world, pod) == "none":
                one["spec"]["template"]["metadata"]["labels"][_USE] = "none"
    return maker.out


def half_requests(bundle: list[Obj]) -> Iterator[tuple[Obj, Plane]]:
    """Requests of every pod, of accounts that no pod shows, and of callers without a name, to every port of every pod; with the caller's proxy."""
    world = World(bundle)
    callers: list[tuple[Obj, Plane]] = [({"meshed": False, "ip": "10.9.9.9"}, "none")]
    for pod in world.workloads:
        kind = plane(world, pod)
        own = {"namespace": pod.namespace, "service_account": pod.service_account, "workload": pod.name, "labels": pod.labels}
        callers.append(({**own, "meshed": kind != "none", "ip": "10.1.0.7"}, kind))
    for home in ("a", "b"):
        labels = meta(world.namespace(home) or {}).get("labels") or {}
        kinds: list[Plane] = (
            ["sidecar"] if {"istio-injection", "istio.io/rev"} & labels.keys() else ["ztunnel"] if labels.keys() & _AMBIENT else []
        )
        callers += [({"namespace": home, "service_account": "ghost", "meshed": True, "ip": "10.1.0.8"}, kind) for kind in kinds]
    for source, kind in callers:
        for pod in world.workloads:
            place = {"namespace": pod.namespace, "workload": pod.name, "ip": "10.2.0.5"}
            for port in (*(one.number for one in pod.ports), 6001):
                base = {"source": source, "destination": {**place, "port": port}}
                if port == 7000:
                    yield {**base, "protocol": "tcp"}, kind
                    continue
                for method, path, headers in _SHAPES:
                    yield {**base, "protocol": "http", "method": method, "path": path, "headers": headers, "host": "any.test"}, kind
