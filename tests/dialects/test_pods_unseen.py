"""Mutual TLS of pods that the bundle does not show, and ports that only a pod calls opaque."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template: {metadata: {labels: {app: cart}}, spec: {containers: [{name: app, ports: [{containerPort: 8080}]}]}}
"""
GHOST = """---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: ghost, namespace: shop}
spec: {selector: {matchLabels: {app: ghost}}, mtls: {mode: %s}}
"""
DEFAULT = "config.linkerd.io/default-inbound-policy"


def convert(text: str, source: str, target: str) -> meshport.Result:
    return meshport.convert(meshport.load_text(text), source=source, target=target)


def one(result: meshport.Result, kind: str) -> dict[str, Any]:
    return next(item.object for item in result.manifests if item.object["kind"] == kind)


def test_strict_for_unknown_pods_is_the_default_of_their_namespace() -> None:
    result = convert(WORLD + GHOST % "STRICT", "istio", "linkerd")
    assert one(result, "Namespace")["metadata"]["annotations"][DEFAULT] == "all-authenticated"
    assert one(result, "Deployment")["spec"]["template"]["metadata"]["annotations"] == {DEFAULT: "all-unauthenticated"}
    said = [(item.code, item.severity, item.effect) for item in result.findings if item.severity == "error"]
    assert said == [("MP106", "error", "narrows")]
    server = one(result, "Server")["spec"]  # other pods go on taking plaintext on the port that the namespace knows
    assert (server["port"], server["accessPolicy"]) == (8080, "all-unauthenticated")
    assert server["podSelector"] == {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["cart", "ghost"]}]}


@pytest.mark.parametrize("mode", ["PERMISSIVE", "UNSET"])
def test_what_the_namespace_says_anyway_needs_no_word(mode: str) -> None:
    result = convert(WORLD + GHOST % mode, "istio", "linkerd")
    assert "MP106" not in {item.code for item in result.findings}


def test_a_port_that_the_pod_calls_opaque_is_tcp_for_its_service() -> None:
    result = convert(
        """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: web, port: 80, targetPort: 8080}, {name: bin, port: 81, targetPort: 9999}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}, annotations: {config.linkerd.io/opaque-ports: "9999"}}
    spec: {containers: [{name: app, ports: [{containerPort: 8080}, {containerPort: 9999}]}]}
""",
        "linkerd",
        "istio",
    )
    assert [port.get("appProtocol") for port in one(result, "Service")["spec"]["ports"]] == [None, "tcp"]
    assert not any(item.code == "MP900" for item in result.findings)


def test_ports_that_a_linkerd_namespace_closes_to_plaintext_are_closed_for_pods_that_are_not_shown() -> None:
    text = """
apiVersion: v1
kind: Namespace
metadata:
  name: ops
  annotations: {linkerd.io/inject: enabled, config.linkerd.io/proxy-require-identity-inbound-ports: "9090"}
"""
    result = meshport.convert(meshport.load_text(text), source="linkerd", target="cilium")
    (spec,) = [item.object["spec"] for item in result.manifests if item.object["kind"] == "CiliumNetworkPolicy"]
    asking, others = spec["ingress"][:2]
    assert spec["endpointSelector"] == {}
    assert asking["toPorts"] == [{"ports": [{"port": "9090", "protocol": "TCP"}]}]
    assert asking["fromEndpoints"] == [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "ops"}}]
    assert "fromEndpoints" not in others
    assert others["toPorts"][0]["ports"][:2] == [
        {"port": "1", "endPort": 9089, "protocol": "TCP"},
        {"port": "9091", "endPort": 65535, "protocol": "TCP"},
    ]
    assert not {finding.code for finding in result.findings} & {"MP900", "MP901", "MP902", "MP904"}


NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata: {{name: ops, annotations: {{linkerd.io/inject: enabled, config.linkerd.io/{mark}, {default}}}}}
"""
SKIPPED = 'skip-inbound-ports: "9090"'


def test_ports_that_pods_of_a_linkerd_namespace_skip_stay_open_where_the_namespace_is_closed_for_them() -> None:
    result = convert(NAMESPACE.format(mark=SKIPPED, default=f"{DEFAULT}: all-authenticated"), "linkerd", "cilium")
    closed, opened = one(result, "CiliumNetworkPolicy")["spec"]["ingress"][:2]
    assert [item["port"] for item in closed["toPorts"][0]["ports"]] == ["1", "9091"] and "fromEndpoints" in closed
    assert opened["toPorts"][0]["ports"][0] == {"port": "9090", "protocol": "TCP"} and "fromEndpoints" not in opened


@pytest.mark.parametrize(
    ("mark", "default", "target", "code"),
    [
        (SKIPPED, "a: b", "istio", "MP963"),
        (SKIPPED, "a: b", "cilium", ""),
        (SKIPPED, f"{DEFAULT}: deny", "cilium", "MP963"),
        ('skip-outbound-ports: "9090"', "a: b", "istio", "MP963"),
        ('proxy-require-identity-inbound-ports: "9090"', f"{DEFAULT}: all-authenticated", "istio", ""),
    ],
)
def test_what_a_linkerd_namespace_says_of_ports_of_pods_that_are_not_shown_is_said_or_needs_no_word(
    mark: str, default: str, target: str, code: str
) -> None:
    result = convert(NAMESPACE.format(mark=mark, default=default), "linkerd", target)
    assert {finding.code for finding in result.findings} & {"MP900", "MP901", "MP902", "MP963"} == ({code} if code else set())


def test_of_ports_that_went_past_the_proxy_of_pods_that_are_not_shown_ambient_names_the_namespace() -> None:
    result = meshport.convert(
        meshport.load_text(NAMESPACE.format(mark=SKIPPED, default="a: b")), source="linkerd", target="istio", data_plane="ambient"
    )
    (said,) = [finding.message for finding in result.findings if finding.feature == "ports.skip-inbound"]
    assert said.startswith("Namespace ops: skip-inbound-ports 9090 ")


def of_linkerd(default: str, *more: str, verdict: str = "equivalent") -> tuple[dict[str, Any], Any]:
    """The AuthorizationPolicies of a namespace that shows one workload, by name, and the result."""
    text = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: shop, annotations: {{linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: {default}}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: cart, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: cart}}}}
  template: {{metadata: {{labels: {{app: cart, tier: front}}}}, spec: {{serviceAccountName: cart, containers: [{{name: app, ports: [{{containerPort: 8080}}]}}]}}}}
"""
    result = meshport.convert(meshport.load_text("---".join([text, *more])), source="linkerd", target="istio")
    assert result.verification is not None and result.verification.verdict == verdict
    made = [item.object for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    return {item["metadata"]["name"]: item["spec"] for item in made}, result


def server(name: str, selector: str, port: int = 8080) -> str:
    return f"\napiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{podSelector: {selector}, port: {port}}}\n"


def test_a_default_of_the_clusters_networks_refuses_others_at_pods_that_are_not_known() -> None:
    made, result = of_linkerd("cluster-authenticated")
    (rule,) = made["default-cluster-authenticated"]["rules"]
    assert made["default-cluster-authenticated"]["action"] == "DENY"
    assert [sorted(entry["source"]) for entry in rule["from"]] == [["notIpBlocks"], ["notPrincipals"]]
    assert "MP286" not in {item.code for item in result.findings}


def test_where_known_pods_admit_whom_the_default_refuses_the_others_are_closed_and_that_is_said() -> None:
    everybody = "\napiVersion: policy.linkerd.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: all, namespace: shop}\nspec: {targetRef: {group: policy.linkerd.io, kind: Server, name: cart}, requiredAuthenticationRefs: []}\n"
    made, result = of_linkerd("cluster-unauthenticated", server("cart", "{matchLabels: {app: cart}}"), everybody, verdict="inconclusive")
    assert made["default-cluster-unauthenticated"] == {}
    assert {"to": [{"operation": {"ports": ["8080"]}}]} in made["all"]["rules"]
    assert [(item.severity, item.effect) for item in result.findings if item.code == "MP286"] == [("warning", "narrows")]


def test_pods_of_a_server_that_are_not_known_are_not_left_open_where_its_policy_is_for_known_labels() -> None:
    front, cart = server("front", "{matchLabels: {tier: front}}"), server("cart", "{matchLabels: {app: cart}}", 9090)
    made, result = of_linkerd("all-unauthenticated", front, cart, verdict="inconclusive")
    (rules,) = [spec["rules"] for spec in made.values() if spec["selector"] == {"matchLabels": {"tier": "front"}}]
    assert rules == [{"to": [{"operation": {"notPorts": ["8080", "9090"]}}]}]  # another Server may have 9090 there
    assert [item.severity for item in result.findings if item.code == "MP220"] == ["warning"]
    every = server("all", "{matchExpressions: [{key: app, operator: Exists}]}")
    made, result = of_linkerd("all-unauthenticated", every, verdict="inconclusive")
    assert made["default-deny"] == {} and "MP286" in {item.code for item in result.findings}


ALLOWS = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: back, namespace: shop}\nspec: {selector: {matchLabels: {tier: back}}, rules: [{to: [{operation: {methods: [GET]}}]}]}\n"


@pytest.mark.parametrize(("counted", "closed"), [("app: cart", True), ("tier: back", False)])
def test_pods_that_a_policy_may_select_beside_the_known_ones_are_closed_and_named(counted: str, closed: bool) -> None:
    """Where a controller of the bundle counts all pods with these labels as its own there are no others, and the namespace stays as it is."""
    world = WORLD.replace("matchLabels: {app: cart}", f"matchLabels: {{{counted}}}").replace(
        "labels: {app: cart}", "labels: {app: cart, tier: back}"
    )
    web = WORLD.split("---")[1].replace("cart", "web")
    result = convert(world + "---" + web + ALLOWS, "istio", "linkerd")
    defaults = {
        item.object["metadata"]["name"]: item.object["spec"]["template"]["metadata"].get("annotations", {}).get(DEFAULT)
        for item in result.manifests
        if item.object["kind"] == "Deployment"
    }
    assert one(result, "Namespace")["metadata"]["annotations"].get(DEFAULT) == ("deny" if closed else None)
    assert defaults == ({"web": "all-unauthenticated"} if closed else {"cart": "deny"})
    said = [place.workload for item in result.findings if item.code == "MP198" for place in item.affects]
    assert said == (["any pod", "tier=back"] if closed else [])
    assert result.verification is not None and result.verification.verdict in ("equivalent", "narrowed")


def test_a_server_of_known_pods_takes_none_that_refuse_plaintext() -> None:
    strict = GHOST.replace(
        "---",
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: get, namespace: shop}\nspec: {rules: [{to: [{operation: {methods: [GET]}}]}]}\n---",
        1,
    )
    result = convert(WORLD + strict % "STRICT", "istio", "linkerd")
    assert one(result, "Server")["spec"]["podSelector"] == {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["ghost"]}]}


@pytest.mark.parametrize(("more", "others"), [("", True), ("---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: all, namespace: shop}\nspec: {}\n", False)])  # fmt: skip
def test_pods_that_the_default_for_others_closes_are_named(more: str, others: bool) -> None:
    """What closes pods that nobody shows is the default of their namespace, which is that of all of them."""
    allow = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ghost, namespace: shop}\nspec: {selector: {matchLabels: {app: ghost}}, rules: [{to: [{operation: {methods: [GET]}}]}]}\n"
    result = meshport.convert(meshport.load_text(WORLD + allow + more), source="istio", target="linkerd")
    said = [one for one in result.findings if one.code in ("MP164", "MP198")]
    assert any(one.code == "MP198" and one.severity == "warning" for one in said) is others
    assert result.verification is not None
    denied = {one.request["destination"]["workload"] for one in result.verification.differences if one.change == "denied"}
    assert ("any pod" in denied) is others and (others or denied <= {place.workload for one in said for place in one.affects} | {"cart"})


def test_what_pods_with_a_default_of_their_own_admit_is_not_for_others_with_one_of_their_labels() -> None:
    """The policy is for the labels by which the controller counts its pods."""
    text = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: all-authenticated}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart, track: stable}}
  template:
    metadata: {labels: {app: cart, track: stable}, annotations: {config.linkerd.io/default-inbound-policy: all-unauthenticated}}
    spec: {containers: [{name: app, ports: [{containerPort: 8080}]}]}
"""
    made = {
        item.object["metadata"]["name"]: item.object["spec"]
        for item in convert(text, "linkerd", "istio").manifests
        if item.object["kind"] == "PeerAuthentication"
    }
    assert made == {
        "cart-mtls": {"selector": {"matchLabels": {"app": "cart", "track": "stable"}}, "mtls": {"mode": "PERMISSIVE"}},
        "default": {"mtls": {"mode": "STRICT"}},
    }


def test_of_servers_that_may_select_the_same_unknown_pods_each_keeps_its_ports() -> None:
    """The older one has a port that both name, and neither opens the other's."""
    front, all_ = (
        server("front", "{matchLabels: {tier: ghost}}", 9090),
        server("a-all", "{}", 9090).replace("metadata: {", "metadata: {creationTimestamp: '2025-01-01T00:00:00Z', "),
    )
    grant = "\napiVersion: policy.linkerd.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: all, namespace: shop}\nspec: {targetRef: {group: policy.linkerd.io, kind: Server, name: front}, requiredAuthenticationRefs: []}\n"
    made, result = of_linkerd("all-unauthenticated", front, all_, server("b-all", "{}"), grant, verdict="narrowed")
    (ghost,) = [spec for spec in made.values() if spec.get("selector") == {"matchLabels": {"tier": "ghost"}}]
    assert ghost["rules"] == [{"to": [{"operation": {"notPorts": ["8080", "9090"]}}]}]
    assert [(item.severity, item.affects[0].workload) for item in result.findings if item.code == "MP220"] == [("error", "tier=ghost")]


def test_a_server_by_a_list_of_values_is_for_pods_of_each() -> None:
    both = server("both", "{matchExpressions: [{key: app, operator: In, values: [cart, gone]}]}")
    made, result = of_linkerd("all-unauthenticated", both, verdict="inconclusive")
    assert {spec["selector"]["matchLabels"]["app"] for spec in made.values()} == {"cart", "gone"}
    assert "MP286" not in {item.code for item in result.findings}


def test_a_server_whose_known_pods_are_outside_the_mesh_holds_for_others() -> None:
    outside = (
        WORLD.split("---")[1]
        .replace("cart", "old")
        .replace("labels: {app: old}", "labels: {app: old, tier: ghost}, annotations: {linkerd.io/inject: disabled}")
    )
    made, _ = of_linkerd("all-unauthenticated", server("ghost", "{matchLabels: {tier: ghost}}"), outside)
    assert made["ghost"]["rules"] == [{"to": [{"operation": {"notPorts": ["8080"]}}]}]


def test_what_asks_of_http_stands_in_rules_of_its_own() -> None:
    """On ports that are TCP Istio drops a whole ALLOW rule that asks of HTTP anywhere, and with it what it says of the other ports."""
    grant = "\napiVersion: policy.linkerd.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: get, namespace: shop}\nspec: {targetRef: {group: gateway.networking.k8s.io, kind: HTTPRoute, name: get}, requiredAuthenticationRefs: []}\n"
    route = "\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: get, namespace: shop}\nspec: {parentRefs: [{group: policy.linkerd.io, kind: Server, name: cart}], rules: [{matches: [{method: GET}]}]}\n"
    made, _ = of_linkerd("all-unauthenticated", server("cart", "{matchLabels: {app: cart}}"), route, grant)
    (spec,) = made.values()
    assert [rule["to"] for rule in spec["rules"]] == [
        [{"operation": {"methods": ["GET"], "ports": ["8080"]}}],
        [{"operation": {"notPorts": ["8080"]}}],
    ]


HOME_AND_CART = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled, config.linkerd.io/proxy-require-identity-inbound-ports: "9090"}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {serviceAccountName: cart, containers: [{name: app, image: x, ports: [{containerPort: 8080}, {containerPort: 9090}]}]}
"""
OPEN_TO_ALL = """---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: metrics, namespace: shop}
spec: {podSelector: {matchLabels: {app: cart}}, port: 9090, accessPolicy: all-unauthenticated}
"""


def test_ports_that_a_linkerd_namespace_closes_to_plaintext_are_closed_in_istio_for_pods_beside_the_known_ones() -> None:
    """A DENY for the namespace adds nothing where the known pods refuse plaintext there by themselves; these have it from their PeerAuthentication too."""
    result = convert(HOME_AND_CART, "linkerd", "istio")
    assert one(result, "AuthorizationPolicy")["spec"] == {
        "action": "DENY",
        "rules": [{"from": [{"source": {"notPrincipals": ["*"]}}], "to": [{"operation": {"ports": ["9090"]}}]}],
    }
    assert one(result, "PeerAuthentication")["spec"]["portLevelMtls"] == {"9090": {"mode": "STRICT"}}
    assert not {finding.code for finding in result.findings} & {"MP294", "MP900", "MP901", "MP902"}


def test_known_pods_that_take_plaintext_on_such_a_port_go_on_taking_it() -> None:
    """No DENY can leave them out: the namespace is strict for the others, which a finding says, and the known pods are not by their own labels."""
    result = convert(HOME_AND_CART + OPEN_TO_ALL, "linkerd", "istio")
    modes = {
        item.object["metadata"]["name"]: item.object["spec"] for item in result.manifests if item.object["kind"] == "PeerAuthentication"
    }
    assert modes.pop("default") == {"mtls": {"mode": "STRICT"}}
    (own,) = modes.values()
    assert (own["selector"], own["mtls"]) == ({"matchLabels": {"app": "cart"}}, {"mode": "PERMISSIVE"})
    assert not any(item.object.get("spec", {}).get("action") == "DENY" for item in result.manifests)
    (said,) = [finding for finding in result.findings if finding.code == "MP294"]
    assert [(place.namespace, place.workload) for place in said.affects] == [("shop", "any pod")]
    assert not {finding.code for finding in result.findings} & {"MP900", "MP901", "MP902"}


STRICT_HOME = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: all-authenticated}}
"""


def test_plaintext_that_a_server_admits_reaches_pods_that_are_not_shown() -> None:
    """The namespace is strict for its default, and the pods of the Server are not on its port."""
    result = convert(STRICT_HOME + OPEN_TO_ALL, "linkerd", "istio")
    modes = {
        item.object["metadata"]["name"]: item.object["spec"] for item in result.manifests if item.object["kind"] == "PeerAuthentication"
    }
    assert modes.pop("default") == {"mtls": {"mode": "STRICT"}}
    (own,) = modes.values()
    assert own["selector"] == {"matchLabels": {"app": "cart"}} and own["portLevelMtls"] == {"9090": {"mode": "PERMISSIVE"}}
    other = OPEN_TO_ALL.replace("metrics", "other").replace("app: cart", "tier: back").replace("9090", "7000")
    both = convert(
        STRICT_HOME + OPEN_TO_ALL + other, "linkerd", "istio"
    )  # pods of both would have two modes, of which Istio takes the older
    assert one(both, "PeerAuthentication")["metadata"]["name"] == "default"
    said = [place.workload for finding in both.findings if finding.code == "MP294" for place in finding.affects]
    assert sorted(map(str, said)) == ["app=cart", "tier=back"]


def test_what_a_server_loses_is_said_of_the_pods_that_it_takes_beside_the_known_ones() -> None:
    """The known pods have a label more than the Server asks for, and the policy that is written is for all that it takes."""
    asked = """---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: api, namespace: shop}
spec: {podSelector: {matchLabels: {app: cart}}, port: 8080}
---
apiVersion: policy.linkerd.io/v1beta3
kind: HTTPRoute
metadata: {name: found, namespace: shop}
spec:
  parentRefs: [{group: policy.linkerd.io, kind: Server, name: api}]
  rules: [{matches: [{path: {type: RegularExpression, value: "/a[0-9]+b"}}]}]
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: found, namespace: shop}
spec:
  targetRef: {group: policy.linkerd.io, kind: HTTPRoute, name: found}
  requiredAuthenticationRefs: [{kind: ServiceAccount, name: cart}]
"""
    own = HOME_AND_CART.replace("app: cart}}", "app: cart, tier: back}}").replace("proxy-require-identity-inbound-ports", "none")
    result = convert(own + asked, "linkerd", "istio")
    (said,) = [finding for finding in result.findings if finding.code == "MP201"]
    assert [(place.workload, place.port) for place in said.affects] == [("cart", 8080), ("app=cart", 8080)]


ALONE = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}], to: [{operation: {methods: [GET], ports: ["8080"]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: pay, namespace: shop}
spec: {selector: {matchLabels: {app: pay}}, rules: [{from: [{source: {namespaces: [shop]}}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: pay, namespace: shop}
spec: {selector: {app: pay}, ports: [{port: 80, targetPort: 9000}]}
"""


def test_policies_without_their_pods_are_servers_on_the_ports_that_something_names() -> None:
    """A repository of policies: the namespace closes what no Server opens again, and pods that no policy selects stay open where ports are known."""
    result = convert(ALONE, "istio", "linkerd")
    servers = {item.object["metadata"]["name"]: item.object["spec"] for item in result.manifests if item.object["kind"] == "Server"}
    assert {name: (spec["podSelector"], spec["accessPolicy"]) for name, spec in servers.items()} == {
        "cart-8080": ({"matchLabels": {"app": "cart"}}, "deny"),
        "pay-9000": ({"matchLabels": {"app": "pay"}}, "deny"),
        **{f"other-pods-{port}": ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["cart", "pay"]}]}, "all-unauthenticated") for port in (8080, 9000)},
    }  # fmt: skip
    (route,) = [item.object for item in result.manifests if item.object["metadata"]["name"] == "cart-8080-cart" and item.object["kind"] == "HTTPRoute"]  # fmt: skip
    assert [match["method"] for match in route["spec"]["rules"][0]["matches"]] == ["GET"]
    said = {item.code: item for item in result.findings}
    assert [(place.workload, place.port) for place in said["MP164"].affects] == [("app=pay", None)]  # whose rule is for every port
    assert [(place.workload, place.port) for place in said["MP165"].affects] == [("app=cart", 8080)]  # whose probes no route lets in
    assert said["MP198"].severity == "warning" and not said.keys() & {"MP207", "MP900", "MP901", "MP904"}


@pytest.mark.parametrize("also", ["", "---\napiVersion: v1\nkind: Service\nmetadata: {name: x, namespace: shop}\nspec: {selector: {app: x}, ports: [{port: 80, targetPort: 8080}]}\n"])  # fmt: skip
def test_servers_for_pods_that_may_not_be_there_are_written_where_something_speaks_of_such_pods(also: str) -> None:
    """A policy by a label of known pods may select others; it is no sign that there are some."""
    world = WORLD.replace("template: {metadata: {labels: {app: cart}}", "template: {metadata: {labels: {app: cart, tier: back}}")
    allow = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: back, namespace: shop}\nspec: {selector: {matchLabels: {tier: back}}, rules: [{to: [{operation: {methods: [GET]}}]}]}\n"
    result = convert(world + allow + also, "istio", "linkerd")
    assert one(result, "Namespace")["metadata"]["annotations"][DEFAULT] == "deny"
    names = {item.object["metadata"]["name"] for item in result.manifests if item.object["kind"] == "Server"}
    assert ("other-pods-8080" in names or "x-8080" in names) is bool(also)


def test_a_policy_for_pods_of_every_namespace_is_left_out_where_none_is_known() -> None:
    """Servers are written in the namespaces that the input names; the pods may be in another, such as a gateway's."""
    gateway = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ingress, namespace: istio-system}\nspec: {selector: {matchLabels: {istio: ingressgateway}}, action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}\n"
    result = convert(ALONE + gateway, "istio", "linkerd")
    (said,) = [item for item in result.findings if item.code == "MP207"]
    assert (said.severity, said.disposition) == ("error", "dropped") and "istio-system/ingress" in said.message


@pytest.mark.parametrize(("asked", "protocol"), [("", "opaque"), (", methods: [GET]", "unknown")])
def test_ports_of_databases_stay_bytes_for_pods_that_are_not_shown(asked: str, protocol: str) -> None:
    """Linkerd does not detect what passes on 3306 where no Server says otherwise: a client of MySQL waits for the server, and so would the proxy."""
    allow = f"""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: db, namespace: shop}}
spec: {{selector: {{matchLabels: {{app: db}}}}, rules: [{{from: [{{source: {{namespaces: [shop]}}}}], to: [{{operation: {{ports: ["3306"]{asked}}}}}]}}]}}
"""
    servers = {item.object["metadata"]["name"]: item.object["spec"] for item in convert(allow, "istio", "linkerd").manifests if item.object["kind"] == "Server"}  # fmt: skip
    assert servers["db-3306"]["proxyProtocol"] == protocol
    assert servers["other-pods-3306"]["proxyProtocol"] == "opaque"


def test_a_deny_of_a_port_for_all_pods_of_a_namespace_without_known_ones_is_a_server() -> None:
    """Its default stays open, for no other port is denied."""
    deny = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: inside, namespace: shop}\nspec: {action: DENY, rules: [{from: [{source: {notNamespaces: [shop]}}], to: [{operation: {ports: ['9090']}}]}]}\n"
    result = convert(deny, "istio", "linkerd")
    server = one(result, "Server")["spec"]
    assert (server["podSelector"], server["port"], server["accessPolicy"]) == ({}, 9090, "deny")
    assert "MP104" not in {item.code for item in result.findings}  # which says that the namespace gets another default


@pytest.mark.parametrize(("target", "code"), [("cilium", "MP286"), ("linkerd", "MP201")])
def test_what_is_left_out_of_pods_that_nobody_shows_leaves_the_verdict_open(target: str, code: str) -> None:
    deny = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: deny, namespace: shop}\nspec: {action: DENY, rules: [{from: [{source: {requestPrincipals: [a/b]}}], to: [{operation: {ports: ['80']}}]}]}\n"
    result = convert(deny, "istio", target)
    (said,) = [one for one in result.findings if one.code == code]
    assert (said.severity, said.effect) == ("error", "narrows")
    assert result.verification.verdict == "inconclusive" and said.message in result.verification.undecided
