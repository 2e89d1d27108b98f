"""Half of the mesh in ambient: who comes through a waypoint and who goes past it, and what pods with a sidecar behind one admit."""

from __future__ import annotations

from typing import Any

import pytest
from test_ambient_mixed import AMBIENT, SIDECARS, convert, made, namespace, workload

GATE = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gate, namespace: pay}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---"""
BEHIND = f"{AMBIENT}, istio.io/use-waypoint: gate"
WORLD = namespace("shop", SIDECARS) + namespace("ops", AMBIENT) + workload("shop", "web") + workload("ops", "runner")
PAY = namespace("pay", BEHIND) + workload("pay", "pay") + GATE
WEB, RUNNER = "cluster.local/ns/shop/sa/web", "cluster.local/ns/ops/sa/runner"


def policy(name: str, home: str, rules: str, more: str = "", action: str = "ALLOW") -> str:
    return f"""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: {home}}}
spec: {{{more}action: {action}, rules: [{rules}]}}
---"""


def source(*principals: str) -> str:
    return f"{{from: [{{source: {{principals: [{', '.join(principals)}]}}}}]}}"


ON_PAY = 'targetRefs: [{group: "", kind: Service, name: pay}], '
ONLY_BY_GATE = policy("only", "pay", source("cluster.local/ns/pay/sa/gate"))


def codes(result: Any) -> set[str]:
    return {finding.code for finding in result.findings}


def whole(result: Any) -> str:
    return str([item.object for item in result.manifests])


@pytest.mark.parametrize(("target", "plane"), [("istio", "sidecar"), ("linkerd", None), ("cilium", None), ("istio", "ambient")])
def test_a_caller_with_a_sidecar_goes_past_the_waypoint_that_names_it_and_is_let_in_nowhere(target: str, plane: str | None) -> None:
    result = convert(WORLD + PAY + policy("l7", "pay", source(WEB, RUNNER), ON_PAY) + ONLY_BY_GATE, target, plane)
    kind = {"cilium": "CiliumNetworkPolicy"}.get(target, "AuthorizationPolicy")
    written = str(list(made(result, kind).values()))
    assert "runner" in written and "web" not in written
    (said,) = [finding for finding in result.findings if finding.code == "MP145"]
    assert [(place.namespace, place.workload) for place in said.affects] == [("pay", "pay")]
    lines = [line for line in result.ledger if line.value == WEB]
    assert [line.codes for line in lines] == [["MP145"]] and lines[0].disposition in ("approximated", "dropped")


def test_everybody_who_comes_through_a_waypoint_is_nobody_with_a_sidecar() -> None:
    result = convert(
        WORLD + PAY + policy("l7", "pay", "{to: [{operation: {methods: [GET]}}]}", ON_PAY) + ONLY_BY_GATE, data_plane="sidecar"
    )
    (rule,) = made(result)["pay", "l7"]["spec"]["rules"]
    assert rule["from"] == [{"source": {"principals": ["*"], "notNamespaces": ["shop"]}}]


def test_a_namespace_of_sidecars_at_a_waypoint_is_its_pods_in_ambient() -> None:
    moved = workload("shop", "old", f", sidecar.istio.io/inject: 'false', {AMBIENT}")
    by_namespace = "{from: [{source: {namespaces: [shop]}}]}"
    result = convert(WORLD + moved + PAY + policy("l7", "pay", by_namespace, ON_PAY) + ONLY_BY_GATE, data_plane="sidecar")
    (rule,) = made(result)["pay", "l7"]["spec"]["rules"]
    assert rule["from"] == [{"source": {"principals": ["cluster.local/ns/shop/sa/old"]}}]


def test_whom_the_pods_let_in_by_themselves_a_waypoint_need_not_leave_out() -> None:
    both = policy("only", "pay", source("cluster.local/ns/pay/sa/gate") + ", " + source(WEB))
    result = convert(WORLD + PAY + policy("l7", "pay", source(WEB, RUNNER), ON_PAY) + both, data_plane="sidecar")
    assert made(result)["pay", "l7"]["spec"]["rules"][0]["from"] == [{"source": {"principals": [WEB, RUNNER]}}]
    assert "MP145" not in codes(result)


def test_an_account_of_pods_of_both_kinds_is_refused_and_named() -> None:
    shared = workload("ops", "twin", ", sidecar.istio.io/inject: 'true'").replace("serviceAccountName: twin", "serviceAccountName: runner")
    result = convert(WORLD + shared + PAY + policy("l7", "pay", source(RUNNER), ON_PAY) + ONLY_BY_GATE, data_plane="sidecar")
    assert "rules" not in made(result)["pay", "l7"]["spec"]
    (said,) = [finding for finding in result.findings if finding.code == "MP146"]
    assert said.effect == "narrows" and "ops/runner" in said.message


def test_an_account_that_no_pod_shows_goes_where_its_namespace_sends_it() -> None:
    """In ambient through the waypoint, which refuses it; with sidecars to the pods, which admit it."""
    unseen = ("cluster.local/ns/ops/sa/ghost", "cluster.local/ns/shop/sa/ghost")
    guard = policy("only", "pay", source("cluster.local/ns/pay/sa/gate", *unseen))
    result = convert(WORLD + PAY + policy("l7", "pay", source(RUNNER), ON_PAY) + guard, data_plane="sidecar")
    on_others, here = made(result)["pay", "only"]["spec"]["rules"]
    assert on_others["to"] == [{"operation": {"notPorts": ["8080"]}}]
    assert here == {"from": [{"source": {"principals": [unseen[1]]}}], "to": [{"operation": {"ports": ["8080"]}}]}
    assert "MP170" in codes(result)


EDGE = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: ops}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
---"""


@pytest.mark.parametrize("entering", [False, True])
def test_a_gateway_goes_through_a_waypoint_where_the_service_says_so(entering: bool) -> None:
    pay = PAY.replace(BEHIND, BEHIND + ', istio.io/ingress-use-waypoint: "true"') if entering else PAY
    by_edge = policy("l7", "pay", source("cluster.local/ns/ops/sa/edge-istio"), ON_PAY)
    result = convert(WORLD + pay + EDGE + by_edge + ONLY_BY_GATE, data_plane="sidecar")
    assert ("rules" in made(result)["pay", "l7"]["spec"]) is entering
    assert ("MP145" in codes(result)) is not entering


def test_behind_pods_with_a_sidecar_a_waypoint_calls_in_its_own_name() -> None:
    """The sidecar lets the waypoint in, and with it whoever comes through; a caller in ambient that it names itself comes to no Service by that."""
    pay = namespace("pay", f"{SIDECARS}, istio.io/use-waypoint: gate") + workload("pay", "pay") + GATE
    by_gate = policy("own", "pay", source("cluster.local/ns/pay/sa/gate") + ", " + source("cluster.local/ns/ops/sa/other", WEB))
    result = convert(WORLD + workload("ops", "other") + pay + policy("l7", "pay", source(RUNNER), ON_PAY) + by_gate, "cilium")
    letting = str([obj["spec"]["ingress"] for (home, _), obj in made(result, "CiliumNetworkPolicy").items() if home == "pay"])
    assert "runner" in letting and "web" in letting
    assert "MP170" in codes(result) and result.verification.differences == []


def test_an_external_authorizer_is_asked_beside_pods_and_not_by_ztunnel() -> None:
    asks = policy("ext", "istio-system", "{}", "provider: {name: opa}, ", "CUSTOM")
    result = convert(WORLD + asks, "linkerd")
    refused = [finding for finding in result.findings if finding.code == "MP211"]
    assert {place.namespace for finding in refused for place in finding.affects} == {"shop"}
    assert {(place.namespace, place.workload) for item in result.findings if item.code == "MP242" for place in item.affects} == {
        ("ops", "runner")
    }


@pytest.mark.parametrize("action", ["ALLOW", "DENY"])
def test_trust_domains_that_ztunnel_passes_over_still_count_beside_pods(action: str) -> None:
    rule = "{from: [{source: {trustDomains: [other.domain], namespaces: [ops]}}]}"
    result = convert(WORLD + policy("td", "istio-system", rule, action=action), data_plane="sidecar")
    specs = {home: obj["spec"] for (home, _), obj in made(result).items()}
    assert specs["ops"]["rules"] == [{"from": [{"source": {"namespaces": ["ops"]}}]}]
    assert specs["shop"]["rules"][0]["from"][0]["source"] == {"namespaces": ["ops"], "trustDomains": ["other.domain"]}


def test_a_deny_that_refuses_the_waypoint_refuses_nobody_at_pods_that_it_does_not_stand_before() -> None:
    deny = policy("strangers", "istio-system", "{from: [{source: {namespaces: [pay]}}]}", action="DENY")
    result = convert(WORLD + PAY + ONLY_BY_GATE + deny, data_plane="sidecar")
    everybody = [
        home for (home, _), obj in made(result).items() if obj["spec"].get("action") == "DENY" and "from" not in obj["spec"]["rules"][0]
    ]
    assert everybody == ["pay"]


def test_disable_for_pods_of_both_kinds_stays_what_it_was_at_each() -> None:
    disabled = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: mesh, namespace: istio-system}
spec: {mtls: {mode: DISABLE}}
---"""
    result = convert(WORLD + disabled + policy("own", "ops", source(WEB)), data_plane="sidecar")
    assert made(result, "PeerAuthentication") == {
        ("ops", "runner"): {
            "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "runner", "namespace": "ops"},
            "spec": {"selector": {"matchLabels": {"app": "runner"}}, "mtls": {"mode": "PERMISSIVE"}},
        }
    }  # fmt: skip


def test_a_waypoint_of_another_namespace_goes_on_being_the_one() -> None:
    """No second one is made in the pods' namespace, whose account the pods would admit in vain."""
    infra = namespace("infra", AMBIENT) + GATE.replace("namespace: pay", "namespace: infra")
    shop = namespace("shop", f"{SIDECARS}, istio.io/use-waypoint: gate, istio.io/use-waypoint-namespace: infra") + workload("shop", "web")
    result = convert(infra + shop + policy("reads", "shop", "{to: [{operation: {methods: [GET]}}]}"), data_plane="ambient")
    assert not made(result, "Gateway")
    assert made(result)["shop", "reads-only-by-waypoint"]["spec"]["rules"][0] == {
        "from": [{"source": {"principals": ["cluster.local/ns/infra/sa/gate"]}}]
    }


def test_a_service_that_named_a_gate_that_is_not_for_services_names_the_new_one_whole() -> None:
    """What was left of the old name sent its clients to a waypoint of the other namespace, which there is not."""
    gate = GATE.replace("namespace: pay}", "namespace: infra, labels: {istio.io/waypoint-for: workload}}")
    labels = "namespace: shop, labels: {istio.io/use-waypoint: gate, istio.io/use-waypoint-namespace: infra}}\nspec: {selector"
    shop = namespace("shop", SIDECARS) + workload("shop", "web").replace("namespace: shop}\nspec: {selector", labels)
    text = namespace("infra", AMBIENT) + gate + shop + policy("reads", "shop", "{to: [{operation: {methods: [GET]}}]}")
    assert "waypoint-namespace: infra" in text
    result = convert(text, data_plane="ambient")
    assert made(result, "Service")["shop", "web"]["metadata"]["labels"] == {"istio.io/use-waypoint": "waypoint"}
    assert not {"MP900", "MP901"} & codes(result)


def test_a_policy_on_a_headless_service_is_enforced_by_nothing() -> None:
    pay = PAY.replace("spec: {selector: {app: pay}", "spec: {clusterIP: None, selector: {app: pay}")
    result = convert(WORLD + pay + policy("l7", "pay", source(RUNNER), ON_PAY), data_plane="sidecar")
    assert "MP240" in codes(result) and not made(result)


def test_a_port_that_a_headless_service_alone_sends_to_is_said_to_be_closed() -> None:
    """ztunnel decides there, which cannot hold the rule; that some Service sends to the port is no help."""
    headless = """
apiVersion: v1
kind: Service
metadata: {name: peers, namespace: pay}
spec: {clusterIP: None, selector: {app: pay}, ports: [{name: http, port: 9090, targetPort: 9090}]}
---"""
    text = namespace("pay", SIDECARS) + workload("pay", "pay") + headless
    result = convert(text + policy("reads", "pay", "{to: [{operation: {methods: [GET]}}]}"), data_plane="ambient")
    (said,) = [item for item in result.findings if item.code == "MP116" and item.affects[0].port is not None]
    assert ("pay", 9090) in [(place.workload, place.port) for place in said.affects]


def test_a_deny_by_method_holds_for_a_pod_that_no_waypoint_can_stand_before() -> None:
    """Another policy admits everybody there, so that closing the way past a waypoint would not do."""
    front = workload("pay", "pay") + workload("pay", "job").split("---", 1)[1]
    trace = policy("no-reads", "pay", source(WEB)[:-1] + ", to: [{operation: {methods: [GET]}}]}", action="DENY")
    everybody = policy("all", "pay", "{}", "selector: {matchLabels: {app: job}}, ")
    result = convert(
        namespace("shop", SIDECARS) + workload("shop", "web") + namespace("pay", SIDECARS) + front + trace + everybody, data_plane="ambient"
    )
    assert result.verification.verdict == "narrowed"
    assert made(result)["pay", "no-reads-job"]["spec"] == {
        "selector": {"matchLabels": {"app": "job"}}, "action": "DENY", "rules": [{"from": [{"source": {"principals": [WEB]}}]}],
    }  # fmt: skip


def test_a_waypoint_for_addresses_too_is_not_said_to_enforce_nothing() -> None:
    """Without a Service nothing but requests to the pods' addresses passes it, and its policies hold there."""
    pods = workload("pay", "pay").split("---", 1)[1]
    gate = GATE.replace("namespace: pay}", "namespace: pay, labels: {istio.io/waypoint-for: all}}")
    hung = policy("l7", "pay", source(RUNNER), "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gate}], ")
    result = convert(WORLD + namespace("pay", BEHIND) + pods + gate + hung + ONLY_BY_GATE, "linkerd")
    assert "MP743" in codes(result) and "MP240" not in codes(result)
    lost = [place for finding in result.findings if finding.code == "MP244" for place in finding.affects]
    assert ("pay", "pay") in {(place.namespace, place.workload) for place in lost}


FRONT = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: ops}
spec: {selector: {istio: front}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: front, namespace: pay}
spec: {hosts: ['*'], gateways: [ops/front], http: [{route: [{destination: {host: pay}}]}]}
---"""
ROUTED = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: pay, namespace: pay}
spec: {hosts: [pay], http: [{match: [{uri: {prefix: /old}}], rewrite: {uri: /}, route: [{destination: {host: pay}}]}]}
---"""


@pytest.mark.parametrize("routed", [False, True])
def test_onto_ambient_gateways_go_through_the_waypoint_that_the_pods_admit_alone(routed: bool) -> None:
    """They go past it unless the Service says so. What clients in the mesh are routed by holds for gateways there too."""
    gate = workload("ops", "front", ", istio: front").replace(
        "labels: {app: front", "annotations: {inject.istio.io/templates: gateway}, labels: {app: front"
    )
    world = namespace("ops", SIDECARS) + gate + FRONT + namespace("pay", SIDECARS) + workload("pay", "pay") + (ROUTED if routed else "")
    rule = "{from: [{source: {principals: [cluster.local/ns/ops/sa/front]}}], to: [{operation: {methods: [GET], ports: ['8080']}}]}"
    result = convert(world + policy("l7", "pay", rule, "selector: {matchLabels: {app: pay}}, "), data_plane="ambient")
    labels = made(result, "Service")["pay", "pay"]["metadata"]["labels"]
    assert labels["istio.io/ingress-use-waypoint"] == "true" and "istio.io/use-waypoint" in labels
    assert result.verification.verdict == "equivalent" and "MP900" not in codes(result)
    assert [finding.message.split(":")[0] for finding in result.findings if finding.code == "MP135"] == ["Service pay/pay"] * routed
