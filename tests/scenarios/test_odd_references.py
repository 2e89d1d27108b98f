"""References and fields that a cluster takes and that mean less, or other, than they look: what is written does what was done."""

from __future__ import annotations

from typing import Any

import pytest

import meshport
from meshport.pipeline import Result

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8080, appProtocol: http}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {serviceAccountName: cart, containers: [{name: app, ports: [{name: http, containerPort: 8080}]}]}
"""


def converted(text: str, source: str, target: str) -> Result:
    result: Result = meshport.convert(meshport.load_text(WORLD + "---" + text), source=source, target=target)
    assert not {item.code for item in result.findings} & {"MP900", "MP901", "MP904"}
    assert result.ledger.counts["unaccounted"] == 0
    return result


def written(result: Result, kind: str) -> list[dict[str, Any]]:
    return [item.object for item in result.manifests if item.object["kind"] == kind]


ROUTE = """
apiVersion: {api}
kind: HTTPRoute
metadata: {{name: cart, namespace: shop}}
spec:
  parentRefs: [{{group: {group}, kind: Service, name: cart, port: {port}}}]
  rules: [{rule}]
"""


def test_a_redirect_with_backends_is_a_redirect() -> None:
    rule = "{filters: [{type: RequestRedirect, requestRedirect: {hostname: shop.example}}], backendRefs: [{name: cart, port: 80}]}"
    text = ROUTE.format(api="policy.linkerd.io/v1beta3", group="core", port=80, rule=rule)
    (service,) = written(converted(text, "linkerd", "istio"), "VirtualService")
    assert service["spec"]["http"][0]["redirect"]["authority"] == "shop.example"
    assert "route" not in service["spec"]["http"][0]
    for target in ("linkerd", "gateway-api"):
        (route,) = written(converted(text, "linkerd", target), "HTTPRoute")
        assert "backendRefs" not in route["spec"]["rules"][0]


def test_a_backend_of_a_kind_that_nobody_knows_takes_no_request() -> None:
    rule = "{backendRefs: [{kind: Deployment, group: apps, name: cart, port: 80}]}"
    text = ROUTE.format(api="gateway.networking.k8s.io/v1", group='""', port=80, rule=rule)
    (service,) = written(converted(text, "gateway-api", "istio"), "VirtualService")
    assert service["spec"]["http"][0]["directResponse"] == {"status": 500}


def test_a_route_on_a_port_that_the_service_does_not_have_is_named() -> None:
    text = ROUTE.format(api="gateway.networking.k8s.io/v1", group='""', port=8080, rule="{backendRefs: [{name: cart, port: 80}]}")
    for target in ("istio", "linkerd", "cilium"):
        result = converted(text, "gateway-api", target)
        assert "MP746" in {item.code for item in result.findings}
        assert not written(result, "VirtualService")
        assert all("port" in parent for route in written(result, "HTTPRoute") for parent in route["spec"]["parentRefs"])


CIDRS = """
apiVersion: cilium.io/v2
kind: CiliumCIDRGroup
metadata: {name: office}
spec: {externalCIDRs: [192.0.2.0/24]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: cart, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: cart}}
  ingress: [{fromCIDRSet: [{cidrGroupRef: office}], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}]
"""


def test_a_group_of_cidrs_stays_while_a_policy_that_names_it_does() -> None:
    result = converted(CIDRS, "cilium", "istio")
    assert "CiliumCIDRGroup" not in {item["kind"] for item in result.removals}
    replaced = meshport.convert(meshport.load_text(WORLD + "---" + CIDRS), source="cilium", target="istio", keep_network_policy=False)
    assert "CiliumCIDRGroup" in {item["kind"] for item in replaced.removals}


def test_a_policy_that_cilium_refuses_is_not_made_one_that_it_takes() -> None:
    refused = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: cart, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: cart}}
  ingress:
  - fromRequires: [{matchExpressions: [{key: team, operator: Exists, values: [a]}]}]
    fromEndpoints: [{matchLabels: {app: cart}}]
"""
    result = converted(refused, "cilium", "cilium")
    assert "MP015" in {item.code for item in result.findings}
    assert not written(result, "CiliumNetworkPolicy")


def test_what_smi_alone_said_of_membership_is_no_difference() -> None:
    split = """
apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: cart, namespace: shop}
spec: {service: cart, backends: [{service: cart, weight: 1}]}
"""
    bare = (WORLD + "---" + split).replace(", annotations: {linkerd.io/inject: enabled}", "")
    result = meshport.convert(meshport.load_text(bare), source="smi", target="gateway-api")
    assert "MP900" not in {item.code for item in result.findings}


def test_settings_of_linkerds_own_proxy_are_named_with_what_istio_has_instead() -> None:
    marks = 'config.alpha.linkerd.io/proxy-wait-before-exit-seconds: "10", linkerd.io/inject: enabled'
    text = WORLD.replace("{name: shop, annotations: {linkerd.io/inject: enabled}}", f"{{name: shop, annotations: {{{marks}}}}}")
    result = meshport.convert(meshport.load_text(text), source="linkerd", target="istio")
    messages = [item.message for item in result.findings if item.code == "MP957"]
    assert any("config.alpha.linkerd.io/proxy-wait-before-exit-seconds: 10 is not carried over" in text for text in messages)
    said = [item.remedy for item in result.findings if item.code == "MP957"]
    assert len(said) == 1 and "terminationDrainDuration" in said[0]
    assert "MP902" not in {item.code for item in result.findings}


def test_how_a_service_is_shared_is_nothing_where_it_is_not_shared() -> None:
    text = WORLD.replace(
        "metadata: {name: cart, namespace: shop}\nspec: {selector",
        'metadata: {name: cart, namespace: shop, annotations: {service.cilium.io/shared: "false"}}\nspec: {selector',
    )
    assert "service.cilium.io" in text
    for target in ("istio", "linkerd"):
        result = meshport.convert(meshport.load_text(text), source="cilium", target=target)
        assert "MP902" not in {item.code for item in result.findings}
        (line,) = [line for line in result.ledger if "service.cilium.io" in line.path]
        assert (line.disposition, line.reason) == ("irrelevant", "the Service is not global, and its clusters do not share it")


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_a_policy_that_stays_is_not_deleted_because_it_stands_there_twice(target: str) -> None:
    """The copy that does not count was listed for deletion, by the name of the one that stays: without that, anybody comes in."""
    first = CIDRS.split("---")[1].replace("8080", "9090")
    result = meshport.convert(meshport.load_text(WORLD + "---" + first + "---" + CIDRS), source="cilium", target=target)
    assert {"MP019"} == {item.code for item in result.findings if item.severity == "error"}
    assert result.removals == [] and result.verification.verdict == "equivalent"


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_a_group_of_cidrs_that_a_refused_policy_alone_names_decides_nothing(target: str) -> None:
    """Its addresses were a defect (MP901)."""
    refused = CIDRS.replace("{cidrGroupRef: office}", "{cidrGroupRef: office, except: [192.0.2.1/32]}")
    result = meshport.convert(meshport.load_text(WORLD + "---" + refused), source="cilium", target=target)
    assert "MP015" in {item.code for item in result.findings} and result.ledger.counts["unaccounted"] == 0
    (line,) = [one for one in result.ledger if one.path == "spec.externalCIDRs[0]"]
    assert line.disposition == "irrelevant"


@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_an_authentication_that_a_refused_policy_alone_refers_to_is_said_to_be_in_no_force(target: str) -> None:
    """It was said that what the other objects come to is the same without it."""
    text = """
apiVersion: policy.linkerd.io/v1alpha1
kind: MeshTLSAuthentication
metadata: {name: all, namespace: shop}
spec: {identities: ["*"]}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: all, namespace: shop}
spec:
  targetRef: {group: policy.linkerd.io, kind: Server, name: nope}
  requiredAuthenticationRefs: [{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: all}]
"""
    result = meshport.convert(meshport.load_text(text), source="linkerd", target=target)
    (message,) = [item.message for item in result.findings if item.code == "MP200"]
    assert message.endswith("no policy that is in force refers to it; nothing is written for it")


_GRANT = """
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {{name: callers, namespace: shop}}
spec:
  targetRef: {{group: policy.linkerd.io, kind: {kind}, name: gone}}
  requiredAuthenticationRefs: [{{kind: ServiceAccount, name: web}}]
"""
_TARGET = """
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: callers, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: cart, namespace: shop}
  sources: [{kind: ServiceAccount, name: web, namespace: shop}]
  rules: [{kind: HTTPRouteGroup, name: gone}]
"""
_ATTACHED = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: shop}
spec:
  targetRefs: [{group: "", kind: Service, name: gone}]
  rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]
"""
_WAY_OUT = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: out, namespace: shop}
spec:
  parentRefs: [{group: policy.linkerd.io, kind: EgressNetwork, name: gone, port: 80}]
  hostnames: [api.example.com]
"""


@pytest.mark.parametrize(
    ("text", "source", "target"),
    [
        (_GRANT.format(kind="Server"), "linkerd", "istio"),
        (_GRANT.format(kind="HTTPRoute"), "linkerd", "cilium"),
        (_TARGET, "smi", "istio"),
        (_ATTACHED, "istio", "linkerd"),
        (_WAY_OUT, "linkerd", "istio"),
    ],
)
def test_access_that_hangs_on_an_object_of_another_file_is_not_called_the_same(text: str, source: str, target: str) -> None:
    proof = converted(text, source, target).verification
    assert proof is not None and proof.verdict == "inconclusive"
    if source != "smi":  # it stays where it is, and does what it did
        kept = converted(text, source, source).verification
        assert kept is not None and kept.verdict == "equivalent"
