"""Linkerd onto itself: the same requests get through and go to the same places, nothing legacy is left, and a second time changes nothing."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from judge import generate
from judge.routes import route

import meshport
from meshport.pipeline import Result

from .common import CORPUS, Obj, accounted, afterwards, converted, problems
from .test_crds import TOOL, checker

VERSIONS = ("2.14", "2.16", "2.18", "2.20")
PATHS = ("/items", "/items/1", "/items/1/parts", "/x", "/", "/items.json", "/a-b")
REGEXES = ("/items", "/items/[^/]+", "/.*", "/items/.*", "/x|/items", "/[a-z]+", "/items\\.json", "/(items|x)(/.*)?")


def modern(bundle: list[Obj], version: str) -> Result:
    return converted(bundle, "linkerd", "linkerd", target_version=version, verify=False)


def settled(bundle: list[Obj], result: Result, version: str) -> list[Any]:
    """What a second conversion would still change."""
    again = modern(afterwards(bundle, result), version)
    return [item.object for item in again.manifests] + again.removals


def violations(result: Result) -> list[str]:
    if not TOOL.is_file():
        return []
    return [f"{item.object['kind']}: {where}: {text}" for item in result.manifests for where, text in checker().check(item.object)]


@pytest.mark.parametrize("seed", range(24))
def test_random_policies_keep_their_verdicts(seed: int) -> None:
    bundle, version = generate.random_linkerd_bundle(seed), VERSIONS[seed % 4]
    result = modern(bundle, version)
    wrong, seen = problems(bundle, result, generate.requests_for(bundle, seed, 40))
    assert wrong == []
    assert sum(seen.values()) > 20
    assert accounted(result) == []
    assert violations(result) == []
    assert settled(bundle, result, version) == []


# -- routes


def service(name: str, labels: Obj, notes: Obj | None = None, ports: tuple[int, ...] = (80,)) -> Obj:
    listed = [{"name": f"p{port}", "port": port, "targetPort": 8080} for port in ports]
    metadata = {"name": name, "namespace": "shop", **({"annotations": notes} if notes else {})}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": labels, "ports": listed}}


def random_profiles(seed: int) -> list[Obj]:
    """A Service with a ServiceProfile, a split or both, and with what these switch off."""
    rng = Random(seed)
    notes: Obj = {}
    if rng.random() < 0.4:
        notes |= {"timeout.linkerd.io/request": "7s", "retry.linkerd.io/http": "5xx"}
    if rng.random() < 0.4:
        notes |= {"balancer.linkerd.io/failure-accrual": "consecutive"}
    out = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "annotations": {"linkerd.io/inject": "enabled"}}},
        service("cart", {"app": "cart"}, notes, rng.choice([(80,), (80, 8080)])),
        service("cart-a", {"app": "cart", "v": "a"}, ports=(80, 8080)),
        service("cart-b", {"app": "cart", "v": "b"}, ports=(80, 8080)),
    ]
    kinds = rng.choice([("profile",), ("split",), ("profile", "split")])
    if "profile" in kinds:
        routes = [_route(rng, number) for number in range(rng.randint(0, 4))]
        spec: Obj = {"routes": routes} if routes else {}
        if rng.random() < 0.3:
            spec["retryBudget"] = {"retryRatio": 0.2, "minRetriesPerSecond": 10, "ttl": "10s"}
        out.append(
            {
                "apiVersion": "linkerd.io/v1alpha2",
                "kind": "ServiceProfile",
                "metadata": {"name": "cart.shop.svc.cluster.local", "namespace": "shop"},
                "spec": spec,
            }
        )
    if "split" in kinds:
        weights = rng.choice([(900, 100), (1, 0), ("500m", "1500m"), (1, 1)])
        backends = [{"service": f"cart-{name}", "weight": weight} for name, weight in zip("ab", weights, strict=True)]
        out.append(
            {
                "apiVersion": rng.choice(["split.smi-spec.io/v1alpha1", "split.smi-spec.io/v1alpha2"])
                if "500m" not in weights
                else "split.smi-spec.io/v1alpha1",
                "kind": "TrafficSplit",
                "metadata": {"name": "cart-split", "namespace": "shop"},
                "spec": {"service": "cart", "backends": backends},
            }
        )
    if rng.random() < 0.3:
        parent = {"group": "core", "kind": "Service", "name": "cart", "port": 80}
        rule = {"backendRefs": [{"name": "cart-b", "port": 80}]}
        out.append(
            {
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "HTTPRoute",
                "metadata": {"name": "begun", "namespace": "shop"},
                "spec": {"parentRefs": [parent], "rules": [rule]},
            }
        )
    return out


def _route(rng: Random, number: int) -> Obj:
    condition: Obj = {"pathRegex": rng.choice(REGEXES)}
    if rng.random() < 0.5:
        condition["method"] = rng.choice(["GET", "POST"])
    if rng.random() < 0.2:
        condition = {"any": [condition, {"method": "DELETE"}]}
    elif rng.random() < 0.2:
        condition = {"all": [condition, {"not": {"method": "PUT"}}]}
    route: Obj = {"name": f"r{number}", "condition": condition}
    if rng.random() < 0.5:
        route["timeout"] = rng.choice(["1s", "300ms", "1m30s"])
    if rng.random() < 0.4:
        route["isRetryable"] = True
    return route


@pytest.mark.parametrize("seed", range(60))
def test_random_profiles_keep_where_requests_go(seed: int) -> None:
    bundle, version = random_profiles(seed), VERSIONS[seed % 4]
    result = modern(bundle, version)
    after = afterwards(bundle, result)
    for path in PATHS:
        for method in ("GET", "POST", "DELETE", "PUT"):
            for port in (80, 8080):
                where = {"namespace": "shop", "service": "cart", "port": port}
                request = {"source": {"namespace": "shop"}, "destination": where, "method": method, "path": path, "protocol": "http"}
                if all(item["port"] != port for item in bundle[1]["spec"]["ports"]):
                    continue
                one, other = route(bundle, "linkerd", request), route(after, "linkerd", request)
                same = (one.kind, one.backends, one.timeout_ns, one.breakers) == (
                    other.kind,
                    other.backends,
                    other.timeout_ns,
                    other.breakers,
                )
                assert same, (request, one, other)
                assert (one.retries.statuses if one.retries else None) == (other.retries.statuses if other.retries else None), request
    assert accounted(result) == []
    assert violations(result) == []
    assert settled(bundle, result, version) == []
    if version == "2.20":
        assert not {"ServiceProfile", "TrafficSplit"} & {obj["kind"] for obj in after}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", ["linkerd", "linkerd-as-published"])
def test_the_saas_scenario_at_every_release(folder: str, version: str) -> None:
    result = meshport.convert(
        meshport.load(str(CORPUS / "saas-api" / folder)), source="linkerd", target="linkerd", target_version=version, verify=False
    )
    assert accounted(result) == []
    assert violations(result) == []
