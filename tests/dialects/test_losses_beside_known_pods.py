"""Pods that the bundle does not show beside known ones: where they are refused more than before, a finding names them, and where they need not be, they are not."""

from __future__ import annotations

import pytest

import meshport


def home(labels: str = "", annotations: str = "") -> str:
    return f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop, labels: {{{labels}}}, annotations: {{{annotations}}}}}\n---\n"


def pods(labels: str, name: str = "cart") -> str:
    return f"""apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{matchLabels: {{{labels}}}}}
  template:
    metadata: {{labels: {{{labels}}}}}
    spec: {{serviceAccountName: cart, containers: [{{name: app, ports: [{{name: http, containerPort: 8080}}]}}]}}
---
"""


SERVICE = """apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: http}]}
---
"""


def policy(name: str, spec: str) -> str:
    return (
        f"apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{{spec}}}\n---\n"
    )


def convert(text: str, source: str, target: str, **options: str) -> meshport.Result:
    return meshport.convert(meshport.load_text(text), source=source, target=target, **options)


def named(result: meshport.Result, code: str) -> list[tuple[str | None, int | None]]:
    """The pods and ports that findings of a code speak of."""
    return [(place.workload, place.port) for one in result.findings if one.code == code for place in one.affects]


SKIPPING = 'linkerd.io/inject: enabled, config.linkerd.io/skip-inbound-ports: "9090"'


@pytest.mark.parametrize(("default", "places"), [("deny", [("any pod", None)]), ("all-unauthenticated", [])])
@pytest.mark.parametrize("plane", ["sidecar", "ambient"])
def test_ports_past_the_proxies_of_a_whole_namespace(plane: str, default: str, places: list[tuple[str, None]]) -> None:
    marks = f"{SKIPPING}, config.linkerd.io/default-inbound-policy: {default}"
    result = convert(home("", marks) + pods("app: cart"), "linkerd", "istio", data_plane=plane)
    assert named(result, "MP967") == places


def test_ports_past_the_proxies_of_pods_that_a_server_selects() -> None:
    server = "apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: back, namespace: shop}\nspec: {podSelector: {matchLabels: {tier: back}}, port: %d}\n"
    text = home("", SKIPPING) + pods("app: cart")
    assert named(convert(text + server % 9090, "linkerd", "istio"), "MP967") == [("tier=back", None)]
    assert named(convert(text + server % 8080, "linkerd", "istio"), "MP967") == []


@pytest.mark.parametrize(("default", "closed"), [("audit", False), ("deny", False), ("all-unauthenticated", True)])
def test_only_an_open_default_is_raised_by_ports_that_ask_for_an_identity(default: str, closed: bool) -> None:
    """Of a namespace without known pods (policy-controller of Linkerd: the list adds to a default that allows)."""
    marks = f'linkerd.io/inject: enabled, config.linkerd.io/proxy-require-identity-inbound-ports: "9090", config.linkerd.io/default-inbound-policy: {default}'
    result = convert(home("", marks), "linkerd", "istio")
    names = [item.object["metadata"]["name"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert ("shop-plaintext" in names) is closed
    assert not {one.code for one in result.findings} & {"MP900", "MP901", "MP904"}


def test_a_server_of_known_pods_refuses_callers_at_others_that_it_selects() -> None:
    deny = policy("deny", "selector: {matchLabels: {app: cart}}, action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/cart]}}], to: [{operation: {ports: ['9090']}}]}]")  # fmt: skip
    result = convert(home("istio-injection: enabled") + pods("app: cart, tier: back") + deny, "istio", "linkerd")
    assert named(result, "MP203") == [("cart", 9090)]
    assert ("app=cart", 9090) in named(result, "MP198")


WAYPOINT = """apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
"""
AMBIENT = home("istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint") + WAYPOINT + SERVICE + pods("app: cart, tier: back")
WAYPOINTS = {"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/waypoint"]}}]}
CLOSED = policy("closed", "selector: {matchLabels: {tier: back}}")


@pytest.mark.parametrize("action", ["ALLOW", "DENY"])
def test_a_policy_of_a_waypoint_holds_at_pods_that_ztunnel_left_open(action: str) -> None:
    rules = "rules: [{from: [{source: {namespaces: [shop]}}]}]"
    hung = policy("hung", f"targetRefs: [{{group: '', kind: Service, name: cart}}], action: {action}, {rules}")
    opened = convert(AMBIENT + CLOSED + hung, "istio", "istio", data_plane="sidecar")
    assert named(opened, "MP239") == [("app=cart", None)]
    shut = convert(AMBIENT + policy("closed", "selector: {matchLabels: {app: cart}}") + hung, "istio", "istio", data_plane="sidecar")
    assert named(shut, "MP239") == []


def test_callers_outside_the_mesh_whom_labels_refuse_at_pods_unlike_the_known_ones() -> None:
    deny = policy("deny", "action: DENY, rules: [{from: [{source: {principals: ['*']}}]}]")
    own = policy("own", "selector: {matchLabels: {app: cart}}")
    outside = (
        pods("app: batch", "batch").replace("namespace: shop", "namespace: legacy")
        + "apiVersion: v1\nkind: Namespace\nmetadata: {name: legacy}\n---\n"
    )
    result = convert(home("istio-injection: enabled") + pods("app: cart") + outside + deny + own, "istio", "cilium")
    assert ("app notin (cart)", None) in named(result, "MP298")


def test_any_identity_is_told_of_all_servers_at_pods_that_they_select_too() -> None:
    server = "apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: %s, namespace: shop}\nspec: {podSelector: {matchLabels: {%s}}, port: 8080, accessPolicy: all-authenticated}\n---\n"
    text = home("", "linkerd.io/inject: enabled") + pods("app: cart, tier: back") + pods("app: pay", "pay")
    result = convert(text + server % ("pay", "app: pay") + server % ("cart", "app: cart"), "linkerd", "cilium")
    assert {("cart", 8080), ("pay", 8080), ("app=cart", 8080)} <= set(named(result, "MP281"))


@pytest.mark.parametrize(
    ("closed", "all_of_them"), [("app: ghost", [WAYPOINTS]), ("tier: back", None), ("app: cart, tier: front", [WAYPOINTS])]
)
def test_a_deny_at_a_waypoint_opens_no_pods_that_another_policy_closes(closed: str, all_of_them: list[object] | None) -> None:
    """An allow of the waypoint for all pods, and of the ports that the deny is not about, adds to the allows of pods that nobody shows."""
    deny = policy("deny", "action: DENY, rules: [{to: [{operation: {methods: [DELETE], ports: ['8080']}}]}]")
    shut = policy("closed", f"selector: {{matchLabels: {{{closed}}}}}")
    result = convert(home("istio-injection: enabled") + SERVICE + pods("app: cart, tier: front") + deny + shut, "istio", "istio", data_plane="ambient")  # fmt: skip
    specs = {
        item.object["metadata"]["name"]: item.object["spec"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"
    }
    assert "selector" not in specs["deny-only-by-waypoint"] and specs["deny-only-by-waypoint"].get("rules") == all_of_them
    if closed != "app: cart, tier: front":  # where the known pods are open
        own = specs["deny-only-by-waypoint-cart-ports"]
        assert own["selector"] == {"matchLabels": {"app": "cart", "tier": "front"}} and own["rules"] == [
            {"to": [{"operation": {"notPorts": ["8080"]}}]}
        ]
    assert not {one.code for one in result.findings} & {"MP900", "MP901", "MP904"}


def test_pods_that_took_plaintext_where_the_namespace_does_not() -> None:
    mode = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: %s, namespace: shop}\nspec: {%smtls: {mode: %s}}\n---\n"
    text = home("istio-injection: enabled") + pods("app: cart, tier: back") + mode % ("default", "", "STRICT")
    result = convert(text + mode % ("own", "selector: {matchLabels: {app: cart}}, ", "PERMISSIVE"), "istio", "linkerd")
    assert named(result, "MP198") == [("app=cart", None)]


@pytest.mark.parametrize(
    ("labels", "rules"), [("app: ghost", None), ("istio: ingressgateway", [{"to": [{"operation": {"methods": ["GET"]}}]}])]
)
def test_what_ztunnel_cannot_see_of_an_allow_for_pods_of_any_namespace_opens_none_for_sidecars(
    labels: str, rules: list[object] | None
) -> None:
    """In a mesh of ambient alone; gateways have proxies of their own, which see requests."""
    root = policy("root", f"selector: {{matchLabels: {{{labels}}}}}, rules: [{{to: [{{operation: {{methods: [GET]}}}}]}}]").replace("namespace: shop", "namespace: istio-system")  # fmt: skip
    result = convert(home("istio.io/dataplane-mode: ambient") + pods("app: cart") + root, "istio", "istio", data_plane="sidecar")
    written = [item.object["spec"].get("rules") for item in result.manifests if item.object["metadata"]["name"] == "root"]
    assert written == ([None] if rules is None else [])
    assert ("MP241" in {one.code for one in result.findings}) is (rules is None)


def test_a_deny_for_pods_of_any_namespace_refuses_what_ztunnel_or_a_proxy_of_their_own_refuses_by_it() -> None:
    """To ztunnel it is one of the addresses, whatever the method."""
    rule = "rules: [{from: [{source: {ipBlocks: [203.0.113.0/24]}}], to: [{operation: {methods: [POST], ports: ['8080']}}]}]"
    root = policy("root", f"selector: {{matchLabels: {{app: ghost}}}}, action: DENY, {rule}").replace(
        "namespace: shop", "namespace: istio-system"
    )
    result = convert(home("istio.io/dataplane-mode: ambient") + pods("app: cart") + root, "istio", "istio", data_plane="sidecar")
    (spec,) = [item.object["spec"] for item in result.manifests if item.object["metadata"]["name"] == "root"]
    assert {"ports": ["8080"]} in [one["operation"] for rule in spec["rules"] for one in rule["to"]]
    assert named(result, "MP244") == [("app=ghost", None)]
    assert not {one.code for one in result.findings} & {"MP900", "MP901", "MP904"}
