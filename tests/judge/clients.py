"""What an Istio client sends where mutual TLS is not automatic: MeshConfig enableAutoMtls false, and what DestinationRules say.

https://istio.io/latest/docs/reference/config/networking/destination-rule/ and /ops/best-practices/traffic-management/#cross-namespace-configuration
"""

from __future__ import annotations

from .world import (
    CLUSTER_DOMAIN,
    Obj,
    Request,
    Service,
    Undecided,
    Workload,
    World,
    account_of,
    by_age,
    labels_match,
    namespace_of,
    spec_of,
)

_NETWORKING = "networking.istio.io"


def automatic(world: World) -> bool:
    """Whether clients use mutual TLS by themselves, as an IstioOperator says it."""
    said = [(spec_of(o).get("meshConfig") or {}).get("enableAutoMtls") for o in world.of("IstioOperator", "install.istio.io")]
    return False not in said


def shows_a_name(world: World, request: Request, workload: Workload, port: int, root_namespace: str) -> bool:
    """Whether a client with a sidecar shows its identity at a container port. Raises Undecided where that depends on the Service or subset that it calls."""
    if automatic(world):
        return True
    modes = set()
    for service in world.services:
        if not service.selects(workload) or request["destination"].get("service", service.name) != service.name:
            continue
        for entry in service.ports:
            if entry.get("protocol", "TCP") == "TCP" and port in workload.numbers(entry.get("targetPort", entry["port"])):
                modes |= _modes(world, request, service, int(entry["port"]), root_namespace)
    if len(modes) > 1 or "MUTUAL" in modes:
        raise Undecided("some clients show a name, others do not")
    return modes == {"ISTIO_MUTUAL"}  # a pod's address is called in plaintext


def _modes(world: World, request: Request, service: Service, port: int, root_namespace: str) -> set[str]:
    """What the client sends to a Service port, and to each subset: the TLS mode, or plain."""
    caller = account_of(request["source"])
    rule = _rule(world, service, caller, root_namespace)
    if rule is None:
        return {"plain"}
    whole = _mode(spec_of(rule).get("trafficPolicy"), port, "plain")
    return {whole} | {_mode(subset.get("trafficPolicy"), port, whole) for subset in spec_of(rule).get("subsets") or []}


def _mode(policy: Obj | None, port: int, inherited: str) -> str:
    for entry in (policy or {}).get("portLevelSettings") or []:
        if entry["port"]["number"] == port:
            return _named(entry.get("tls"))
    return _named(policy["tls"]) if policy and "tls" in policy else inherited


def _named(tls: Obj | None) -> str:
    mode = (tls or {}).get("mode", "DISABLE")
    return str(mode) if mode in ("ISTIO_MUTUAL", "MUTUAL") else "plain"


def _rule(world: World, service: Service, caller: tuple[str, str], root_namespace: str) -> Obj | None:
    host = f"{service.name}.{service.namespace}.svc.{CLUSTER_DOMAIN}"
    for place in (caller[0], service.namespace, root_namespace):
        found = []
        for rule in world.of("DestinationRule", _NETWORKING):
            exports = spec_of(rule).get("exportTo") or ["*"]
            private = exports == ["."]
            seen = "*" in exports or caller[0] in exports or (caller[0] == place and "." in exports)
            if namespace_of(rule) != place or not seen or not _covers(_full(rule), host):
                continue
            if place == caller[0] == root_namespace != service.namespace and not private:
                continue  # a client of the root namespace takes what is exported there last
            found.append(rule)
        if found:
            return _closest(world, found, caller)
    if caller[0] == root_namespace != service.namespace:
        exported = [r for r in world.of("DestinationRule", _NETWORKING) if namespace_of(r) == root_namespace and _covers(_full(r), host)]
        return _closest(world, exported, caller) if exported else None
    return None


def _closest(world: World, rules: list[Obj], caller: tuple[str, str]) -> Obj:
    best = max(("*" not in _full(r), len(_full(r))) for r in rules)
    same = by_age(r for r in rules if ("*" not in _full(r), len(_full(r))) == best)
    for rule in same:
        if wanted := (spec_of(rule).get("workloadSelector") or {}).get("matchLabels"):
            pods = [w for w in world.workloads if (w.namespace, w.service_account) == caller]
            chosen = {labels_match(wanted, w.labels) for w in pods}
            if chosen != {False}:
                raise Undecided("a rule for some pods")
    plain = [r for r in same if "workloadSelector" not in spec_of(r)]
    speaking = [r for r in plain if spec_of(r).get("trafficPolicy") or spec_of(r).get("subsets")]
    if len(speaking) > 1:
        raise Undecided("several rules for one host")
    if not plain:
        raise Undecided("a rule for some pods hides others")
    return (speaking or plain)[0]


def _full(rule: Obj) -> str:
    host = str(spec_of(rule)["host"])
    return host if "." in host or "*" in host else f"{host}.{namespace_of(rule)}.svc.{CLUSTER_DOMAIN}"


def _covers(pattern: str, host: str) -> bool:
    return pattern == host or (pattern.startswith("*") and host.endswith(pattern[1:]))
