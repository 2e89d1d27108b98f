"""The input holds what the target reads: what is different by that is said as the input's doing, and not as a defect."""

from __future__ import annotations

import json

import pytest

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: app, image: "app:1", ports: [{containerPort: 8080}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/cart]}}]}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: cart, namespace: shop}
"""
SERVER = """---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: web-8080, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, port: 8080, proxyProtocol: HTTP/1}
"""
GRANT = """---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: more, namespace: shop}
spec:
  targetRef: {group: policy.linkerd.io, kind: %s, name: %s}
  requiredAuthenticationRefs: [{kind: ServiceAccount, name: batch, namespace: shop}]
"""
DEFECTS = {"MP900", "MP901", "MP904"}


def _said(text: str, source: str, target: str) -> tuple[meshport.Result, set[str]]:
    result = meshport.convert(meshport.load_text(text), source=source, target=target)
    return result, {item.code for item in result.findings}


def test_an_account_that_the_input_lets_in_at_the_target_is_an_error_of_the_input() -> None:
    """Written and found in the input act together: the policy of the input opens the Server that was written."""
    result, codes = _said(WORLD + GRANT % ("Server", "web-8080"), "istio", "linkerd")
    assert codes & DEFECTS == set()
    (finding, *_) = [item for item in result.findings if item.code == "MP903" and "port 8080" in item.message]
    assert (finding.severity, finding.effect, finding.affects[0].workload) == ("error", "widens", "web")
    assert finding.witness is not None and finding.witness["source"]["service_account"] == "batch"


def test_pods_that_the_input_keeps_out_of_the_target_are_said_to_be_open() -> None:
    marked = WORLD.replace("metadata: {labels: {app: web}}", "metadata: {labels: {app: web}, annotations: {linkerd.io/inject: disabled}}")
    cilium = marked[: marked.index("apiVersion: security.istio.io")].replace(", labels: {istio-injection: enabled}", "")
    policy = """apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec: {endpointSelector: {matchLabels: {app: web}}, ingress: [{fromEndpoints: [{matchLabels: {app: cart}}]}]}
"""
    result = meshport.convert(meshport.load_text(cilium + policy), source="cilium", target="linkerd", keep_network_policy=False)
    codes = {item.code for item in result.findings}
    assert codes & DEFECTS == set()
    assert [item.effect for item in result.findings if item.code == "MP903"] == ["widens"] * 2


def test_a_rule_that_meshport_wrote_wrongly_is_still_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the input holds for the target elsewhere explains nothing."""
    from meshport.dialects.output import Obj

    original = Obj.set

    def wrong(self: Obj, path: tuple[str | int, ...], value: object, *because: object) -> None:
        original(self, path, json.loads(json.dumps(value).replace("cart", "mallory")), *because)  # type: ignore[arg-type]  # facts and leaf ids alike

    monkeypatch.setattr(Obj, "set", wrong)
    other = GRANT.replace("name: more", "name: other") % ("Server", "elsewhere")
    _, codes = _said(WORLD + other, "istio", "linkerd")
    assert "MP900" in codes


def test_a_parent_that_only_another_mesh_reads_makes_no_routes() -> None:
    route = """---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: out, namespace: shop}
spec: {hosts: [example.com], ports: [{number: 80, name: http, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: out, namespace: shop}
spec:
  parentRefs: [{name: edge}, {group: networking.istio.io, kind: ServiceEntry, name: out}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
"""
    for target in ("linkerd", "cilium"):
        result, codes = _said(WORLD + route, "istio", target)
        assert codes & {*DEFECTS, "MP903"} == set()
        assert not [change for change in result.diff if not change.findings]
    _, codes = _said(WORLD + route, "linkerd", "cilium")
    assert {"MP375"} <= codes and "MP310" not in codes


@pytest.mark.parametrize("allowed", ["from: [{source: {ipBlocks: [10.0.0.0/8]}}]", "to: [{operation: {paths: [/a]}}]"])
@pytest.mark.parametrize("selected", ["istio: edge", "app: web"])
def test_pods_of_a_gateway_under_strict_take_what_comes_from_outside(selected: str, allowed: str) -> None:
    gateway = f"""---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: edge, namespace: shop}}
spec:
  selector: {{matchLabels: {{istio: edge}}}}
  template:
    metadata: {{labels: {{istio: edge}}}}
    spec: {{containers: [{{name: istio-proxy, image: auto, ports: [{{containerPort: 8080}}]}}]}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: shop}}
spec: {{selector: {{istio: edge}}, servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ["*"]}}]}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: istio-system}}
spec: {{mtls: {{mode: STRICT}}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: edge, namespace: shop}}
spec: {{selector: {{matchLabels: {{{selected}}}}}, rules: [{{{allowed}}}]}}
"""
    result, codes = _said(WORLD + gateway, "istio", "gateway-api")
    assert codes & DEFECTS == set()
    assert not [change for change in result.diff if change.subject.startswith("access to shop/edge")]


def test_a_namespace_that_has_istios_sidecars_already_gets_ztunnel_instead() -> None:
    """The label for sidecars would have gone before the one for ambient: no waypoint would stand before the pods, and its grants be everybody's."""
    text = WORLD.replace(
        "labels: {istio-injection: enabled}", "labels: {istio-injection: enabled}, annotations: {linkerd.io/inject: enabled}"
    )
    text = text[: text.index("apiVersion: security.istio.io")] + SERVER.removeprefix("---\n") + GRANT % ("Server", "web-8080")
    result = meshport.convert(meshport.load_text(text), source="linkerd", target="istio", data_plane="ambient")
    (namespace,) = [item.object for item in result.manifests if item.object["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"] == {"istio.io/dataplane-mode": "ambient"}
    assert {item.code for item in result.findings} & DEFECTS == set()


@pytest.mark.parametrize("home", ["shop", "istio-system"])
@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_lost_tokens_are_about_the_workloads_that_asked_for_them(target: str, home: str) -> None:
    asking = f"""---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: web, namespace: {home}}}
spec: {{selector: {{matchLabels: {{app: web}}}}, jwtRules: [{{issuer: a, jwksUri: "https://a/b"}}]}}
"""
    result, _ = _said(WORLD + asking, "istio", target)
    (said,) = [item for item in result.findings if item.code == "MP261"]
    assert [(one.namespace, one.workload) for one in said.affects] == [("shop", "web")]


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_names_that_a_destination_has_to_show_are_no_tls_that_ends(target: str) -> None:
    """Of a destination in the mesh the identity is checked; nothing starts TLS that the application would have to start."""
    entry = """---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: out, namespace: shop}
spec:
  hosts: [api.internal.example]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 10.1.2.3}]
  subjectAltNames: ["spiffe://cluster.local/ns/shop/sa/api"]
"""
    result, codes = _said(WORLD + entry, "istio", target)
    assert "MP750" not in codes
    assert [item.severity for item in result.findings if item.code == "MP753" and "spiffe" in item.message] == ["error"]


def test_how_the_target_is_installed_already_is_no_defect() -> None:
    """The ConfigMap of an Istio that stands beside Linkerd restricts what pods may call once they are Istio's."""
    text = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: web}]}}}
"""
    result = meshport.convert(meshport.load_text(text), source="linkerd", target="istio")
    assert [item.code for item in result.findings if item.code in ("MP900", "MP903")] == ["MP903"]
