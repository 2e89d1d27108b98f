"""Policies at the pods of Istio's own gateways, which go with Istio: what takes over is as open as they were, or is not written."""

from __future__ import annotations

import pytest

from meshport import convert, load_text
from meshport.pipeline import Result

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
    spec: {containers: [{name: web, image: "web:1", ports: [{containerPort: 8080}]}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec: {hosts: [shop.example.com], gateways: [public], http: [{route: [{destination: {host: web}}]}]}
"""
POLICY = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: entrance, namespace: HOME}
spec: {SELECTOR rules: [RULE]}
"""
OFFICE = "{from: [{source: {remoteIpBlocks: [203.0.113.0/24]}}]}"
GATEWAY_PODS = """
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: gw, namespace: edge, labels: {istio: ingressgateway}}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  template:
    metadata: {labels: {istio: ingressgateway, tier: edge}}
    spec: {containers: [{name: istio-proxy, image: auto}]}
"""
GATEWAY_SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {name: gw, namespace: edge}
spec: {type: LoadBalancer, selector: {istio: ingressgateway}, ports: [{name: http2, port: 80}]}
"""


def converted(selector: str, rule: str, target: str, home: str = "istio-system", more: str = "") -> Result:
    said = f"selector: {{matchLabels: {{{selector}}}}}," if selector else ""
    policy = POLICY.replace("HOME", home).replace("SELECTOR", said).replace("RULE", rule)
    return convert(load_text(WORLD + policy + more), source="istio", target=target, gateway_class="nginx" if target == "linkerd" else None)


def kinds(result: Result) -> set[str]:
    return {item.object["kind"] for item in result.manifests}


@pytest.mark.parametrize("target", ["cilium", "linkerd"])
@pytest.mark.parametrize(
    ("selector", "home", "more"),
    [
        ("istio: ingressgateway", "istio-system", ""),
        ("app: istio-ingressgateway", "istio-system", ""),  # the other label of the same pods
        ("app: ingressgateway", "istio-ingress", ""),  # a release that is called so
        ("", "istio-ingress", ""),  # a whole namespace, where gateways usually run
        ("", "edge", GATEWAY_SERVICE),  # or do, as the Service shows
        ("tier: edge", "edge", GATEWAY_PODS),
    ],
)
def test_an_entrance_for_some_does_not_become_one_for_all(target: str, selector: str, home: str, more: str) -> None:
    result = converted(selector, OFFICE, target, home, more)
    assert not {"Gateway", "HTTPRoute"} & kinds(result)
    assert [finding.severity for finding in result.findings if finding.code == "MP345"] == ["error"]


@pytest.mark.parametrize("target", ["cilium", "linkerd"])
@pytest.mark.parametrize("selector", ["app: istio-egressgateway", "app: cart", "istio: eastwestgateway"])
def test_policies_of_other_pods_leave_the_entrance_as_it_is(target: str, selector: str) -> None:
    result = converted(selector, OFFICE, target)
    assert {"Gateway", "HTTPRoute"} <= kinds(result)
    assert not [finding for finding in result.findings if finding.code == "MP345"]


@pytest.mark.parametrize("target", ["cilium", "linkerd"])
@pytest.mark.parametrize("more", ["", GATEWAY_PODS])
def test_an_entrance_for_everybody_is_one_afterwards(target: str, more: str) -> None:
    result = converted("istio: ingressgateway", "{}", target, more=more)
    assert {"Gateway", "HTTPRoute"} <= kinds(result)
    assert result.verification is not None and result.verification.verdict == "equivalent"
    lines = [line for line in result.ledger if line.document == 5 and line.path.startswith("spec")]
    assert lines and {line.disposition for line in lines} == {"translated"}  # with a rule for some there is no Gateway
    assert not [item for item in result.manifests if item.object["metadata"]["name"] == "entrance"]


def test_nothing_is_closed_for_pods_that_go() -> None:
    result = converted("app: istio-ingressgateway", OFFICE, "cilium")
    assert "CiliumNetworkPolicy" not in kinds(result)
    assert not [finding for finding in result.findings if finding.code == "MP286"]


def test_the_account_that_an_option_names_is_no_unknown_caller() -> None:
    usual = "{from: [{source: {principals: [cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account]}}]}"
    policy = POLICY.replace("HOME", "shop").replace("SELECTOR", "selector: {matchLabels: {app: web}},").replace("RULE", usual)
    result = convert(
        load_text(WORLD + policy), source="istio", target="linkerd", gateway_class="nginx", gateway_identity="ingress-nginx/nginx"
    )
    assert "MP189" not in {finding.code for finding in result.findings}


def test_a_policy_of_the_whole_mesh_without_rules_spreads_no_ports() -> None:
    mesh = POLICY.replace("SELECTOR rules: [RULE]", "").replace("HOME", "istio-system").replace("entrance", "deny-all")
    other = WORLD.replace("name: web", "name: db").replace("app: web", "app: db").replace("8080", "5432").split("---")
    get = "{from: [{source: {namespaces: [shop]}}], to: [{operation: {methods: [GET]}}]}"
    rule = POLICY.replace("HOME", "shop").replace("SELECTOR", "selector: {matchLabels: {app: web}},").replace("RULE", get)
    text = "---".join([WORLD, other[2], other[3]]) + mesh + rule
    result = convert(load_text(text), source="istio", target="cilium")
    policy = next(item.object for item in result.manifests if item.object["metadata"]["name"] == "entrance")
    assert [port["port"] for port in policy["spec"]["ingress"][0]["toPorts"][0]["ports"]] == ["8080"]


@pytest.mark.parametrize("selector", ["istio: ingressgateway", "app: istio-ingressgateway"])
def test_in_ambient_gateways_keep_their_proxies_and_their_policies(selector: str) -> None:
    policy = (
        POLICY.replace("HOME", "istio-system").replace("SELECTOR", f"selector: {{matchLabels: {{{selector}}}}},").replace("RULE", OFFICE)
    )
    result = convert(load_text(WORLD + policy), source="istio", target="istio", data_plane="ambient")
    assert not [item for item in (*result.manifests, *result.removals) if "entrance" in str(item)]
    assert result.verification is not None and result.verification.verdict == "equivalent"
    assert {line.disposition for line in result.ledger if line.document == 5 and line.path.startswith("spec")} == {"translated"}


AT_GATEWAYS = """
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt, namespace: istio-system}
spec: {selector: {matchLabels: {istio: ingressgateway}}, jwtRules: [{issuer: "https://idp.example.com", jwksUri: "https://idp.example.com/jwks"}]}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: gzip, namespace: istio-system}
spec: {configPatches: [{applyTo: HTTP_FILTER, match: {context: GATEWAY}, patch: {operation: INSERT_BEFORE, value: {name: envoy.filters.http.compressor}}}]}
---
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: waf, namespace: istio-system}
spec: {selector: {matchLabels: {istio: ingressgateway}}, url: "oci://example.com/waf:1"}
"""


@pytest.mark.parametrize("more", ["", GATEWAY_PODS])
def test_in_ambient_gateways_go_on_with_tokens_filters_and_plugins(more: str) -> None:
    text = WORLD + AT_GATEWAYS + more
    result = convert(load_text(text), source="istio", target="istio", data_plane="ambient")
    assert {finding.code for finding in result.findings} <= {"MP101", "MP102"}
    assert not result.removals
    elsewhere = convert(
        load_text(text.replace("istio: ingressgateway}", "app: web}")), source="istio", target="istio", data_plane="ambient"
    )
    assert len([finding for finding in elsewhere.findings if finding.code == "MP112"]) == 2  # at pods, ztunnel reads neither


BY_CLASS = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: door, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: Same}}}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec: {parentRefs: [{name: door}], rules: [{backendRefs: [{name: web, port: 80}]}]}
"""
AT_DOOR = {
    "attached": "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: door}],",
    "by the controller's label": "selector: {matchLabels: {gateway.networking.k8s.io/gateway-name: door}},",
    "of its namespace": "",
}


ELSEWHERE = "name: web, namespace: billing, port: 80"


def at_door(place: str, rule: str, target: str, **options: str) -> Result:
    """What a whole namespace is told, its pods are told as well: at the gateway it tells of those of another namespace."""
    policy = POLICY.replace("HOME", "shop").replace("SELECTOR", AT_DOOR[place]).replace("RULE", rule)
    door_ = BY_CLASS if place != "of its namespace" else BY_CLASS.replace("name: web, port: 80", ELSEWHERE)
    text = "---".join(WORLD.split("---")[:3]) + "---" + door_ + policy
    return convert(load_text(text), source="istio", target=target, gateway_class="nginx" if target == "linkerd" else None, **options)


def door(result: Result) -> dict[str, object] | None:
    return next((item.object for item in result.manifests if item.object["kind"] == "Gateway"), None)


@pytest.mark.parametrize("target", ["cilium", "linkerd"])
@pytest.mark.parametrize("place", AT_DOOR)
def test_a_gateway_that_policies_guard_is_not_handed_over(target: str, place: str) -> None:
    result = at_door(place, OFFICE, target)
    assert door(result) is None
    assert ("Gateway", "door") in {(item["kind"], item["name"]) for item in result.removals}
    assert [finding.severity for finding in result.findings if finding.code == "MP345"] == ["error"]
    assert not [finding for finding in result.findings if finding.code.startswith(("MP90", "MP217"))]
    wide = at_door(place, OFFICE, target, on_loss="looser")
    assert door(wide) is not None
    assert [finding.effect for finding in wide.findings if finding.code == "MP345"] == ["widens"]


@pytest.mark.parametrize("target", ["cilium", "linkerd"])
def test_a_policy_of_the_namespace_that_all_backends_are_in_goes_on_refusing_there(target: str) -> None:
    policy = POLICY.replace("HOME", "shop").replace("SELECTOR", "").replace("RULE", OFFICE)
    text = "---".join(WORLD.split("---")[:3]) + "---" + BY_CLASS + policy
    result = convert(load_text(text), source="istio", target=target, gateway_class="nginx" if target == "linkerd" else None)
    assert door(result) is not None
    assert "MP345" not in {finding.code for finding in result.findings}
    assert result.verification is not None and not [item for item in result.verification.differences if item.change == "allowed"]


@pytest.mark.parametrize("target", ["cilium", "linkerd"])
@pytest.mark.parametrize("place", ["attached", "by the controller's label"])
def test_a_gateway_that_lets_everybody_in_is(target: str, place: str) -> None:
    result = at_door(place, "{}", target)
    found = door(result)
    assert found is not None and found["spec"]["gatewayClassName"] == {"cilium": "cilium", "linkerd": "nginx"}[target]
    assert not [finding for finding in result.findings if finding.code in ("MP345", "MP217")]


def test_what_hangs_on_a_gateway_hangs_on_it_in_ambient() -> None:
    result = at_door("attached", OFFICE, "istio", data_plane="ambient")
    assert {finding.code for finding in result.findings} <= {"MP101"}
    assert not result.removals
    lines = [line for line in result.ledger if line.document == 5 and line.path.startswith("spec")]
    assert lines and {line.disposition for line in lines} == {"translated"}


WAY_OUT = """
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: cnn, namespace: shop}
spec: {hosts: [edition.cnn.com], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: egress, namespace: shop}
spec:
  selector: {LABEL}
  servers: [{port: {number: 443, name: tls, protocol: TLS}, hosts: [HOST], tls: {mode: PASSTHROUGH}}]
"""


@pytest.mark.parametrize("target", ["cilium", "linkerd"])
@pytest.mark.parametrize(
    ("label", "host"), [("istio: egressgateway", "edition.cnn.com"), ("istio: egressgateway", '"*"'), ("app: way-out", "edition.cnn.com")]
)
def test_a_gateway_where_traffic_leaves_becomes_no_entrance(target: str, label: str, host: str) -> None:
    text = WORLD + WAY_OUT.replace("LABEL", label).replace("HOST", host)
    for gateway_class in (None, "nginx"):
        result = convert(load_text(text), source="istio", target=target, gateway_class=gateway_class)
        assert "egress" not in {item.object["metadata"]["name"] for item in result.manifests if item.object["kind"] == "Gateway"}
        (found,) = [finding for finding in result.findings if finding.code == "MP369"]
        assert "shop/egress" in found.message
        assert not [finding for finding in result.findings if finding.code.startswith("MP90")]
        assert not [
            finding for finding in result.findings if finding.code in ("MP346", "MP703", "MP759") and "shop/egress" in finding.message
        ]


def test_a_gateway_for_a_host_of_the_cluster_is_an_entrance_whatever_else_leaves() -> None:
    result = convert(
        load_text(WORLD + WAY_OUT.replace("LABEL", "app: way-out").replace("HOST", "edition.cnn.com")), source="istio", target="cilium"
    )
    assert "public" in {item.object["metadata"]["name"] for item in result.manifests if item.object["kind"] == "Gateway"}


LETS_IN = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, rules: [{from: [{source: SOURCE}]}]}
"""
GATEWAY_WITH_ACCOUNT = GATEWAY_PODS.replace("spec: {containers", "spec: {serviceAccountName: door, containers")


def let_in(source: str, target: str, more: str = "", selector: str = "istio: ingressgateway", **options: str) -> Result:
    text = WORLD.replace("istio: ingressgateway", selector) + LETS_IN.replace("SOURCE", source) + more
    return convert(load_text(text), source="istio", target=target, gateway_class="nginx" if target == "linkerd" else None, **options)


def peers(result: Result) -> str:
    kinds_ = ("CiliumNetworkPolicy", "AuthorizationPolicy", "MeshTLSAuthentication")
    return str([item.object for item in result.manifests if item.object["kind"] in kinds_])


@pytest.mark.parametrize(
    ("selector", "account"),
    [
        ("istio: ingressgateway", "istio-system/sa/istio-ingressgateway-service-account"),  # istioctl install
        ("istio: ingressgateway", "istio-system/sa/istio-ingressgateway"),  # helm install istio-ingressgateway istio/gateway
        ("istio: ingress", "istio-ingress/sa/istio-ingress"),  # helm install istio-ingress istio/gateway
        ("app: edge-gw", "edge/sa/edge-gw"),
    ],
)
def test_the_account_of_a_gateway_that_is_not_shown_is_known_by_its_release(selector: str, account: str) -> None:
    rule = f"{{principals: [cluster.local/ns/{account}]}}"
    assert "'fromEntities': ['ingress']" in peers(let_in(rule, "cilium", selector=selector))
    assert "'name': 'nginx', 'namespace': 'ing'" in peers(let_in(rule, "linkerd", selector=selector, gateway_identity="ing/nginx"))
    (found,) = [item for item in let_in(rule, "linkerd", selector=selector).findings if item.code == "MP216"]
    assert account.partition("/")[0] in found.message


def test_another_account_is_no_gateway() -> None:
    assert "fromEntities" not in peers(let_in("{principals: [cluster.local/ns/ops/sa/runner]}", "cilium"))
    assert "nginx" not in peers(let_in("{principals: [cluster.local/ns/ops/sa/runner]}", "linkerd", gateway_identity="ing/nginx"))


@pytest.mark.parametrize(
    ("target", "more", "options", "admitted"),
    [
        ("cilium", GATEWAY_WITH_ACCOUNT, {}, True),
        ("linkerd", GATEWAY_WITH_ACCOUNT, {"gateway_identity": "ing/nginx"}, True),
        ("linkerd", GATEWAY_WITH_ACCOUNT, {}, False),
        ("linkerd", "", {"gateway_identity": "ing/nginx"}, False),
        ("cilium", "", {}, False),
    ],
)
def test_a_namespace_lets_in_what_takes_over_from_its_gateway_or_says_that_it_does_not(
    target: str, more: str, options: dict[str, str], admitted: bool
) -> None:
    result = let_in(f"{{namespaces: [{'edge' if more else 'istio-system'}]}}", target, more, **options)
    assert ({"cilium": "'fromEntities': ['ingress']", "linkerd": "'name': 'nginx'"}[target] in peers(result)) is admitted
    found = [finding for finding in result.findings if finding.code == "MP149"]
    assert bool(found) is not admitted
    assert all({(place.namespace, place.workload) for place in finding.affects} == {("shop", "web")} for finding in found)
