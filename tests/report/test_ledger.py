"""What a ledger line says of objects that no cluster takes, and of those that stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import meshport
from meshport.pipeline import Result
from meshport.report.places import location

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: cart, image: cart, ports: [{containerPort: 8080}]}]}
---
"""

REFUSED = {
    "MP010": "apiVersion: policy.linkerd.io/v1beta3\nkind: Serer\nmetadata: {name: cart, namespace: shop}\nspec: {podSelector: {}, port: 8080}",
    "MP018": "apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {namespace: shop}\nspec: {podSelector: {}, port: 8080}",
    "MP019": (
        "apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: cart, namespace: shop}\nspec: {podSelector: {}, port: 8080}\n---\n"
        "apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: cart, namespace: shop}\nspec: {podSelector: {}, port: 9090}"
    ),
    "MP020": (
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: cart, namespace: shop}\n"
        "spec: {endpointSelector: {}, ingress: [{fromEndpoints: [{}], fromCIDR: [10.0.0.0/8]}]}"
    ),
    "MP021": "apiVersion: policy.linkerd.io/v1alpha1\nkind: HTTPLocalRateLimitPolicy\nmetadata: {name: cart, namespace: shop}\nspec: {total: {requestsPerSecond: 5}}",
}


def convert(text: str, source: str, target: str, **choices: Any) -> Result:
    return meshport.convert(meshport.load_text(text), source=source, target=target, **choices)


@pytest.mark.parametrize("code", REFUSED)
def test_each_leaf_of_a_refused_object_has_the_finding_that_refuses_it(code: str) -> None:
    choices = {"source_version": "2.14"} if code == "MP021" else {}
    source = "cilium" if "cilium.io" in REFUSED[code] else "linkerd"
    result = convert(WORLD + REFUSED[code], source, "istio", **choices)
    invalid = [line for line in result.ledger if line.document == 2]
    assert {line.disposition for line in invalid} == {"invalid"}
    assert [line.path for line in invalid if code not in line.codes] == []
    assert {"apiVersion", "kind"} <= {line.path for line in invalid}


def test_the_finding_goes_on_pointing_at_what_is_wrong() -> None:
    result = convert(WORLD + REFUSED["MP010"], "linkerd", "istio")
    finding = next(item for item in result.findings if item.code == "MP010")
    found = location(finding, result.known)
    assert found is not None
    assert found["path"] == "kind"
    assert len(finding.leaves) == 6


def test_a_workload_without_a_name_is_refused_with_its_annotations() -> None:
    text = WORLD.replace("{name: cart, namespace: shop}", "{namespace: shop, annotations: {linkerd.io/inject: disabled}}")
    result = convert(text, "linkerd", "istio")
    lines = {line.path: line for line in result.ledger if line.document == 1}
    assert lines['metadata.annotations["linkerd.io/inject"]'].codes == ["MP018"]
    assert result.ledger.counts["unaccounted"] == 0


def test_a_report_of_the_conformance_tests_is_no_object(tmp_path: Path) -> None:
    route = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: a}\nspec: {controllerName: a/b}\n"
    report = "apiVersion: gateway.networking.k8s.io/v1\nkind: ConformanceReport\nmode: default\nimplementation: {organization: us}\n"
    result = convert(f"{route}---\n{report}", "gateway-api", "istio")
    assert [(item.code, item.severity) for item in result.findings if item.code.startswith("MP00")] == [("MP002", "info")]
    assert {line.document for line in result.ledger} == {0}


SERVER = """
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: cart, namespace: shop, labels: {team: a}, uid: 4f}
spec: {podSelector: {matchLabels: {app: cart}}, port: 8080}
"""


def test_what_stays_as_it_is_keeps_its_name_too() -> None:
    result = convert(WORLD + SERVER, "linkerd", "linkerd")
    assert result.manifests == []
    assert [item["kind"] for item in result.passed_through] == ["Namespace", "Deployment", "Server"]
    told = {line.path: line.disposition for line in result.ledger if line.document == 2}
    assert told.pop("metadata.uid") == "irrelevant"
    assert set(told.values()) == {"translated"}
    inject = next(line for line in result.ledger if line.document == 0 and line.path.endswith('inject"]'))
    assert inject.disposition == "passed_through"


def test_of_a_changed_object_what_stands_there_still_is_carried_over() -> None:
    result = convert(WORLD + SERVER.replace("v1beta3", "v1beta1"), "linkerd", "linkerd")
    assert [item.object["apiVersion"] for item in result.manifests] == ["policy.linkerd.io/v1beta3"]
    assert [item["kind"] for item in result.passed_through] == ["Namespace", "Deployment"]
    told = {line.path: line.disposition for line in result.ledger if line.document == 2}
    assert (
        told["metadata.name"] == told["metadata.labels.team"] == told["apiVersion"] == "translated"
    )  # in the newest version it would stay
    assert told["metadata.uid"] == "irrelevant"


KEPT = """
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: nodes}
spec:
  nodeSelector: {matchLabels: {kubernetes.io/os: linux}}
  ingress: [{fromEntities: [cluster], toPorts: [{ports: [{port: "22", protocol: TCP}]}]}]
---
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: health}
spec:
  endpointSelector: {matchLabels: {"reserved:health": ""}}
  ingress: [{fromEntities: [remote-node]}]
"""


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_network_policies_that_are_for_no_pod_are_kept_like_the_others(target: str) -> None:
    result = convert(WORLD + KEPT, "cilium", target)
    assert result.removals == []
    assert result.ledger.counts["unaccounted"] == 0
    assert "MP120" in {item.code for item in result.findings}


DENY_ALL = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: deny-all, namespace: istio-system}\nspec: {}\n"


def test_a_policy_for_the_whole_mesh_without_its_namespaces_is_said_on_cilium() -> None:
    result = convert(DENY_ALL, "istio", "cilium")
    found = next(item for item in result.findings if item.code == "MP960")
    assert (found.severity, found.effect) == ("error", "widens")
    assert {line.path: line.codes for line in result.ledger}["spec"] == ["MP960"]
    assert not [item for item in result.findings if item.code.startswith("MP90")]


def test_a_weight_that_cannot_be_is_named_and_read_as_none() -> None:
    split = "apiVersion: split.smi-spec.io/v1alpha2\nkind: TrafficSplit\nmetadata: {name: cart, namespace: shop}\n"
    spec = "spec: {service: cart, backends: [{service: cart, weight: 500}, {service: cart-next, weight: -1}]}\n"
    result = convert(split + spec, "smi", "istio")
    route = next(item.object for item in result.manifests if item.object["kind"] == "VirtualService")["spec"]["http"][0]["route"]
    assert [item["weight"] for item in route] == [100, 0]
    line = next(item for item in result.ledger if item.path == "spec.backends[1].weight")
    assert (line.disposition, line.codes) == ("invalid", ["MP961"])


def test_what_nothing_was_written_of_is_dropped_and_not_approximated() -> None:
    rule = (
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: cart, namespace: shop}\n"
        "spec: {host: cart, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 30ms}}}}\n"
    )
    result = convert(
        WORLD.replace("annotations: {linkerd.io/inject: enabled}", "labels: {istio-injection: enabled}") + rule, "istio", "linkerd"
    )
    line = next(item for item in result.ledger if item.path.endswith("connectTimeout"))
    assert (line.disposition, line.outputs) == ("dropped", [])
    assert {item.disposition for item in result.findings if item.code in line.codes} == {"dropped"}


SPLIT = """
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: cart, namespace: shop}
spec: {service: cart, backends: [{service: cart, weight: 9}, {service: cart-next, weight: 1}]}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: cart, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: cart, namespace: shop}
  rules: [{kind: TCPRoute, name: cart}]
  sources: [{kind: ServiceAccount, name: web, namespace: shop}]
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: cart, namespace: shop}
spec: {matches: {ports: [8080]}}
"""


def test_what_stays_with_its_mesh_is_passed_through_and_the_namespace_with_it() -> None:
    """The Gateway API has no access control, so the TrafficTarget stands in the cluster as it stood."""
    result = convert(SPLIT, "smi", "gateway-api")
    assert "TrafficTarget" in [item["kind"] for item in result.passed_through]
    told = {line.path: line.disposition for line in result.ledger if line.document == 1}
    assert told["metadata.namespace"] == told["metadata.name"] == "translated"
    assert told["spec.destination.name"] == "dropped"


def test_the_namespace_of_what_is_lost_is_lost_with_it() -> None:
    machine = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm, namespace: shop}
spec: {address: vm.example.com, labels: {app: vm}, serviceAccount: vm}
"""
    result = convert(machine, "istio", "linkerd")
    told = {line.path: (line.disposition, line.codes) for line in result.ledger}
    assert told["metadata.namespace"] == told["spec.address"] == ("manual", ["MP715"])


def test_a_route_of_linkerd_on_nothing_decides_nothing() -> None:
    route = """
apiVersion: policy.linkerd.io/v1beta2
kind: HTTPRoute
metadata: {name: lost, namespace: shop}
spec: {rules: [{backendRefs: [{name: cart, port: 8080}]}]}
"""
    for target in ("istio", "cilium", "linkerd"):
        result = convert(route, "linkerd", target)
        assert result.ledger.counts["unaccounted"] == 0
        assert "MP901" not in [item.code for item in result.findings]


def test_what_belongs_to_something_that_is_not_valid_is_named_beside_it() -> None:
    """Without a name no destination can be a subset, so nothing comes of its labels."""
    rule = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec: {host: cart, subsets: [{labels: {version: v1}}]}
"""
    result = convert(rule, "istio", "linkerd")
    assert result.ledger.counts["unaccounted"] == 0
    line = next(item for item in result.ledger if item.path.endswith("labels.version"))
    assert line.disposition in ("invalid", "irrelevant", "dropped")
    assert line.codes or line.reason


def test_an_empty_member_is_as_if_it_were_not_there() -> None:
    route = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: cart}]
  rules: [{filters: [], backendRefs: [{name: cart, port: 80, filters: []}]}]
"""
    service = (
        "apiVersion: v1\nkind: Service\nmetadata: {name: cart, namespace: shop}\nspec: {selector: {app: cart}, ports: [{port: 80}]}\n---\n"
    )
    for target in ("istio", "linkerd", "cilium"):
        result = convert(service + route, "gateway-api", target)
        assert result.ledger.counts["unaccounted"] == 0
