"""Random bundles onto the ambient data plane: nothing is let in that was not, what is written reads back as meant, and passes the CRDs."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import yaml
from judge import Undecided, ambient, generate
from sampling import some

import meshport

from .common import DECIDE, afterwards, dotted, owners
from .test_crds import TOOL, violations


@pytest.mark.parametrize("seed", some([0, 1, 5, 10, 21, 25, 31, 39, 60, 82]))
@pytest.mark.parametrize("source", ["istio", "linkerd"])
def test_random_bundles_to_ambient(source: str, seed: int) -> None:
    make = generate.random_istio_bundle if source == "istio" else generate.random_linkerd_bundle
    result = meshport.convert(meshport.load_objects(make(seed)), source=source, target="istio", data_plane="ambient")
    assert [finding.message for finding in result.findings if finding.code in ("MP900", "MP901", "MP902", "MP904")] == []


@pytest.mark.parametrize("seed", some([2, 3, 7, 60, 67, 149, 185, 215, 253]))
@pytest.mark.parametrize("source", ["istio", "linkerd"])
def test_nobody_gets_in_by_the_waypoint_or_past_it_who_did_not_before(source: str, seed: int) -> None:
    make = generate.random_istio_bundle if source == "istio" else generate.random_linkerd_bundle
    bundle = make(seed)
    result = meshport.convert(meshport.load_objects(bundle), source=source, target="istio", data_plane="ambient", verify=False)
    after, wrong = afterwards(bundle, result), []
    for request in generate.requests_for(bundle, seed, 60):
        try:
            before, ways = DECIDE[source](bundle, request) == "allow", ambient.ways(after, request)
        except Undecided:
            continue
        if ways and not before and not (source == "linkerd" and dotted(request["path"])):
            wrong.append(f"newly allowed by {ways}: {request}")
        if before and not ways and not owners(result, request):
            wrong.append(f"denied, and no finding says so: {request}")
    assert wrong == []


WAYPOINTS = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop, labels: {istio.io/waypoint-for: SERVES}}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: v1
kind: Service
metadata: {name: payment, namespace: shop}
spec: {selector: {app: payment}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: l7, namespace: shop}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}]
  rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/checkout]}}], to: [{operation: {methods: [POST], paths: [/charge]}}]}]
"""
POD = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {0}, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: {0}}}}}
  template: {{metadata: {{labels: {{app: {0}}}}}, spec: {{serviceAccountName: {0}, containers: [{{name: a, image: a, ports: [{{name: http, containerPort: 8080}}, {{name: http-admin, containerPort: 9090}}]}}]}}}}
"""


@pytest.mark.parametrize("target", ["linkerd", "cilium", "istio"])
@pytest.mark.parametrize("serves", ["service", "all"])
def test_a_policy_of_a_waypoint_lets_nobody_in_elsewhere_who_had_no_way_in(serves: str, target: str) -> None:
    """Judged by what the waypoint and ztunnel do with each request, to the Service's port and to one beside it."""
    text = "---".join([WAYPOINTS.replace("SERVES", serves), *(POD.format(name) for name in ("payment", "checkout", "web"))])
    bundle = [one for one in yaml.safe_load_all(text) if one]
    options = {"data_plane": "sidecar"} if target == "istio" else {}
    after = afterwards(bundle, meshport.convert(meshport.load_objects(bundle), source="istio", target=target, **options))
    for caller, port, path in itertools.product(("checkout", "web"), (8080, 9090), ("/charge", "/other")):
        request = {
            "source": {"namespace": "shop", "service_account": caller, "workload": caller, "labels": {"app": caller}, "meshed": True},
            "destination": {"namespace": "shop", "workload": "payment", "labels": {"app": "payment"}, "port": port},
            "protocol": "http", "method": "POST", "path": path, "headers": {},
        }  # fmt: skip
        if DECIDE[target](after, request) == "allow":
            assert ambient.ways(bundle, request), request


def test_most_of_what_was_allowed_is_allowed_in_ambient() -> None:
    kept = lost = 0
    for seed in range(8):
        bundle = generate.random_istio_bundle(seed)
        result = meshport.convert(meshport.load_objects(bundle), source="istio", target="istio", data_plane="ambient", verify=False)
        after = afterwards(bundle, result)
        for request in generate.requests_for(bundle, seed, 30):
            if DECIDE["istio"](bundle, request) == "allow":
                through = bool(ambient.ways(after, request))
                kept, lost = kept + through, lost + (not through)
    assert kept > 3 * lost


@pytest.mark.skipif(not TOOL.is_file(), reason=f"needs the CRD checker at {TOOL}, which is absent")
@pytest.mark.parametrize("source", ["istio", "linkerd"])
def test_what_is_written_passes_the_crds(source: str) -> None:
    make = generate.random_istio_bundle if source == "istio" else generate.random_linkerd_bundle
    assert violations(make(1), source, "istio", data_plane="ambient") == []


@pytest.mark.parametrize("seed", [0, 3, 10, 25, 60, 82, 185])
def test_random_bundles_to_ambient_and_back(seed: int) -> None:
    bundle = meshport.load_objects(generate.random_istio_bundle(seed))
    there = meshport.convert(bundle, source="istio", target="istio", data_plane="ambient")
    gone = {(item["kind"], item["namespace"], item["name"]) for item in there.removals}
    written = {_key(item.object): item.object for item in there.manifests}
    kept = [one.value for one in bundle.documents if _key(one.value) not in gone | written.keys()]
    back = meshport.convert(meshport.load_objects([*kept, *written.values()]), source="istio", target="istio", data_plane="sidecar")
    for result in (there, back):
        assert [finding.message for finding in result.findings if finding.code in ("MP900", "MP901", "MP902", "MP904")] == []
    assert back.verification is not None and back.verification.verdict != "widened"


def _key(value: dict[str, Any]) -> tuple[str, str | None, str]:
    return value["kind"], value["metadata"].get("namespace"), value["metadata"]["name"]
