"""No release gets what came after it: facts with a date, from the meshes' release notes, against the output for each release.

The dates are written down here once more, beside the mapping tables, so that a wrong row shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from judge.generate import random_istio_bundle, random_linkerd_bundle
from properties.changing import sources
from sampling import some

import meshport

Obj = dict[str, Any]
RELEASES = {
    "istio": ("1.24", "1.26", "1.30"),
    "linkerd": ("2.12", "2.13", "2.15", "2.16", "2.18"),
    "cilium": ("1.15", "1.16", "1.20"),
    "gateway-api": ("1.0", "1.1", "1.2"),
}
BUNDLES: list[tuple[str, str, list[Obj]]] = [(one.name, one.mesh, one.objects) for one in sources() if " to " not in one.name]
BUNDLES += [(f"random istio {seed}", "istio", random_istio_bundle(seed)) for seed in range(1)]
BUNDLES += [(f"random linkerd {seed}", "linkerd", random_linkerd_bundle(seed)) for seed in range(1)]


def _values(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every key below with its path, indices left out, and its value."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield f"{path}/{key}", below
            yield from _values(below, f"{path}/{key}")
    elif isinstance(value, list):
        for below in value:
            yield from _values(below, path)


def _parents(obj: Obj) -> set[str]:
    return {str(item.get("kind", "Gateway")) for item in obj.get("spec", {}).get("parentRefs", [])}


def _facts(mesh: str, obj: Obj) -> Iterator[tuple[str, str]]:
    """(what was met, the release that brought it)."""
    kind, api = str(obj["kind"]), str(obj["apiVersion"])
    met = list(_values(obj))
    paths = {path for path, _ in met}
    if mesh == "linkerd":
        kinds = {
            "EgressNetwork": "2.17",
            "HTTPLocalRateLimitPolicy": "2.17",
            "TLSRoute": "2.17",
            "TCPRoute": "2.17",
            "GRPCRoute": "2.16",
            "ExternalWorkload": "2.15",
        }
        if kind in kinds and (kind != "GRPCRoute" or _parents(obj) & {"Service", "Server"}):
            yield kind, kinds[kind]
        if kind == "Server":
            yield api, {"v1beta3": "2.16", "v1beta2": "2.15"}.get(api.rpartition("/")[2], "2.12")
        if kind == "HTTPRoute" and _parents(obj) & {"Service", "Server"}:
            own = api.startswith("policy.linkerd.io")
            yield (
                f"{api} HTTPRoute",
                {"v1beta3": "2.14", "v1beta2": "2.13"}.get(api.rpartition("/")[2], "2.12")
                if own
                else "2.19"
                if "Server" in _parents(obj)
                else "2.14",
            )
            if "/spec/rules/timeouts" in paths:
                yield "timeouts of an HTTPRoute", "2.14"
        if kind == "AuthorizationPolicy" and str(obj["spec"]["targetRef"].get("group")) == "gateway.networking.k8s.io":
            yield "AuthorizationPolicy on a route of the gateway group", "2.19"
        marks = {
            "retry.linkerd.io/": "2.16",
            "timeout.linkerd.io/": "2.16",
            "balancer.linkerd.io/": "2.13",
            "balancer.alpha.linkerd.io/": "2.20",
        }
        for path in paths:
            for prefix, since in marks.items():
                if f"/annotations/{prefix}" in path:
                    yield path, since
    if mesh == "istio":
        dated = {
            "retryBudget": "1.27", "budgetInterval": "1.31", "serviceAccounts": "1.25", "notServiceAccounts": "1.25", "trustDomains": "1.30",
            "caCertCredentialName": "1.28", "http2KeepAlive": "1.31", "retryIgnorePreviousHosts": "1.26",
        }  # fmt: skip
        if ".istio.io/" in api:
            yield from ((path, dated[path.rpartition("/")[2]]) for path in paths if path.rpartition("/")[2] in dated)
            if "DYNAMIC_DNS" in [value for _, value in met if isinstance(value, str)]:
                yield "DYNAMIC_DNS", "1.28"
    if mesh == "cilium":
        dated = {"endPort": "1.16", "enableDefaultDeny": "1.16", "cidrGroupSelector": "1.17", "log": "1.18"}
        if kind.startswith("Cilium"):
            yield from ((path, dated[path.rpartition("/")[2]]) for path in paths if path.rpartition("/")[2] in dated)
            if kind.endswith("EnvoyConfig") and "/spec/services/ports" in paths:
                yield "ports of a Service in a CiliumEnvoyConfig", "1.16"
        elif kind == "HTTPRoute" and "Service" in _parents(obj):
            yield "HTTPRoute on a Service", "1.16"
            if "/spec/rules/retry" in paths:
                yield "retry of an HTTPRoute", "1.17"
        elif kind == "GRPCRoute" and "Service" in _parents(obj):
            yield "GRPCRoute on a Service", "1.17"
    if mesh == "gateway-api" and api.startswith("gateway.networking"):
        dated = {
            "timeouts": "1.0",
            "retry": "1.2",
            "sessionPersistence": "1.1",
            "cors": "1.3",
            "percent": "1.2",
            "fraction": "1.2",
            "externalAuth": "1.4",
        }
        yield from ((path, dated[path.rpartition("/")[2]]) for path in paths if path.rpartition("/")[2] in dated)
        if "/spec/rules/name" in paths:
            yield "name of a rule", "1.2"
        if kind == "GRPCRoute":
            yield api, "1.1" if api.endswith("/v1") else "1.0"


def _key(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


@pytest.mark.parametrize(("mesh", "release"), [(mesh, release) for mesh, listed in RELEASES.items() for release in listed])
def test_nothing_later_is_written(mesh: str, release: str) -> None:
    wrong = []
    for name, source, objects in some(BUNDLES):
        if source == mesh:
            continue
        result = meshport.convert(meshport.load_objects(objects), source=source, target=mesh, target_version=release, verify=False)
        for item in result.manifests:
            wrong += [
                f"{name}: {item.object['kind']} {item.object['metadata']['name']}: {met} came with {since}"
                for met, since in _facts(mesh, item.object)
                if _key(since) > _key(release)
            ]
            if mesh == "cilium" and _key(release) >= (1, 20):
                gone = [path for path, _ in _values(item.object) if path.endswith(("/rules/kafka", "/rules/l7proto", "/fromRequires"))]
                wrong += [f"{name}: {path} went with 1.20" for path in gone]
        counts = result.ledger.counts
        assert counts["unaccounted"] == 0 and sum(counts.values()) == 2 * counts["leaves"]
    assert wrong == []
