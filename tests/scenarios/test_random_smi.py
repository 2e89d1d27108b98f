"""Random TrafficTargets: as the specification reads them, nothing is newly allowed, and what is newly denied is said."""

from __future__ import annotations

from random import Random

import pytest
from judge import generate
from judge.vocabulary import ACCOUNTS, MESHED, METHODS, workloads
from sampling import some

from .common import Obj, accounted, converted, problems
from .test_crds import TOOL, checker

REGEXES = ("/api", "/api/.*", ".*", "/users/[0-9]+", "/charge", "/(charge|refund)", "/a\\.b", "/api/v1/[^/]+")


def obj(group: str, version: str, kind: str, namespace: str, name: str, body: Obj, *, spec: bool = True) -> Obj:
    head = {"apiVersion": f"{group}.smi-spec.io/{version}", "kind": kind, "metadata": {"name": name, "namespace": namespace}}
    return {**head, "spec": body} if spec else {**head, **body}


def random_bundle(seed: int) -> list[Obj]:
    """Namespaces, workloads, and TrafficTargets with the groups and ports that they refer to, in all versions of the specification."""
    rng = Random(seed)
    out: list[Obj] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (*MESHED, "edge", "legacy")]
    out += workloads(rng)
    old = rng.random() < 0.3
    for namespace in MESHED:
        matches = [_match(rng, f"m{number}") for number in range(rng.randint(1, 3))]
        version = "v1alpha1" if old else "v1alpha4"
        out.append(obj("specs", version, "HTTPRouteGroup", namespace, "routes", {"matches": matches}, spec=not old))
        if not old:
            ports = rng.sample([8080, 9090, 7000], rng.randint(0, 2))
            out.append(obj("specs", "v1alpha4", "TCPRoute", namespace, "ports", {"matches": {"ports": ports}}))
        for number in range(rng.randint(0, 4)):
            home, account = rng.choice([one for one in ACCOUNTS if one[0] == namespace])
            sources = [{"kind": "ServiceAccount", "name": a, "namespace": n} for n, a in rng.sample(ACCOUNTS, rng.randint(1, 5))]
            destination: Obj = {"kind": "ServiceAccount", "name": account, "namespace": home}
            rules: list[Obj] = []
            if rng.random() < 0.7:
                rule: Obj = {"kind": "HTTPRouteGroup", "name": "routes"}
                if rng.random() < 0.5:
                    rule["matches"] = [rng.choice(matches)["name"]]
                rules.append(rule)
            if not old and (not rules or rng.random() < 0.4):
                rules.append({"kind": "TCPRoute", "name": "ports"})
            if old:
                if rng.random() < 0.5:
                    destination["port"] = 8080
                body = {"destination": destination, "sources": sources, "specs": rules}
                out.append(obj("access", "v1alpha1", "TrafficTarget", namespace, f"target-{number}", body, spec=False))
            else:
                body = {"destination": destination, "sources": sources, "rules": rules}
                out.append(obj("access", "v1alpha3", "TrafficTarget", namespace, f"target-{number}", body))
    return out


def _match(rng: Random, name: str) -> Obj:
    match: Obj = {"name": name}
    if rng.random() < 0.8:
        match["pathRegex"] = rng.choice(REGEXES)
    if rng.random() < 0.7:
        match["methods"] = rng.choice([["*"], ["GET"], rng.sample(METHODS, 2)])
    if rng.random() < 0.15:
        match["headers"] = {"x-tenant": "gold"}
    return match


def _as_labels_tell(request: Obj) -> bool:
    """Whether the caller shows what Cilium knows it by: a pod of a bundle that says nothing of membership is under the account that it runs under."""
    return "namespace" not in request["source"] or request["source"]["meshed"]


@pytest.mark.parametrize("seed", some(range(30), 3))
@pytest.mark.parametrize("target", ["istio", "linkerd", "cilium"])
def test_random_targets(target: str, seed: int) -> None:
    bundle = random_bundle(seed)
    result = converted(bundle, "smi", target, verify=False)
    asked = generate.requests_for(bundle, seed, 60)
    wrong, seen = problems(bundle, result, [one for one in asked if target != "cilium" or _as_labels_tell(one)])
    assert wrong == []
    assert sum(seen.values()) > (10 if target == "cilium" else 20)
    assert accounted(result) == []
    if TOOL.is_file():
        assert [fault for item in result.manifests for fault in checker().check(item.object)] == []


def test_the_random_targets_let_something_through_on_both_sides() -> None:
    both = 0
    for seed in some(range(30)):
        bundle = random_bundle(seed)
        _, seen = problems(bundle, converted(bundle, "smi", "istio", verify=False), generate.requests_for(bundle, seed, 60))
        both += seen[True, True] if any(one["kind"] == "TrafficTarget" for one in bundle) else 0
    assert both > 25
