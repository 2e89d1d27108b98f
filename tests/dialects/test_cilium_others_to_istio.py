"""Pods that policies of Cilium select by what Istio has no selector for, and that the bundle does not show: an account, a label that is not there or has another
value."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template: {metadata: {labels: {app: cart}}, spec: {serviceAccountName: cart, containers: [{name: app, ports: [{name: http, containerPort: 8080}]}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: pay, namespace: shop}
spec:
  selector: {matchLabels: {app: pay}}
  template: {metadata: {labels: {app: pay}}, spec: {serviceAccountName: pay, containers: [{name: app, ports: [{name: http, containerPort: 8080}]}]}}
"""


def policy(selector: str, rules: str, name: str = "some") -> str:
    return f"""---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: {name}, namespace: shop}}
spec: {{endpointSelector: {{{selector}}}, {rules}}}
"""


FROM_CART = "ingress: [{fromEndpoints: [{matchLabels: {app: cart}}]}]"
NO_CART = "ingressDeny: [{fromEndpoints: [{matchLabels: {app: cart}}]}], enableDefaultDeny: {ingress: false}"
ACCOUNT = "matchLabels: {k8s:io.cilium.k8s.policy.serviceaccount: ghost}"
NOT_PAY = "matchExpressions: [{key: app, operator: NotIn, values: [pay, api]}]"
TIERED = "matchExpressions: [{key: tier, operator: Exists}]"
OPEN = [{}]


def converted(text: str, target: str = "istio", **options: Any) -> tuple[dict[str, Any], list[meshport.Finding]]:
    """Who is let in, by the labels of the pods ("" for all of the namespace), and the findings."""
    result = meshport.convert(meshport.load_text(WORLD + text), source="cilium", target=target, **{"keep_network_policy": False, **options})
    assert not {"MP900", "MP901", "MP904"} & {item.code for item in result.findings}
    found: dict[str, Any] = {}
    for item in result.manifests:
        spec = item.object.get("spec", {})
        if item.object["kind"] == "AuthorizationPolicy" and spec.get("action", "ALLOW") == "ALLOW":
            labels = (spec.get("selector") or {}).get("matchLabels", {})
            found.setdefault(",".join(f"{key}={value}" for key, value in labels.items()), []).append(spec.get("rules", []))
    return found, result.findings


@pytest.mark.parametrize("rules", [FROM_CART, NO_CART])
@pytest.mark.parametrize("selector", [ACCOUNT, TIERED])
def test_the_namespace_is_closed_for_them_and_known_pods_stay_open(selector: str, rules: str) -> None:
    """Pods under that account, or with that label, would be open to everybody: nothing selects them by their labels."""
    made, findings = converted(policy(selector, rules))
    assert made == {"": [[]], "app=cart": [OPEN], "app=pay": [OPEN]}
    (said,) = [item for item in findings if item.code == "MP286"]
    assert (said.severity, said.effect, [(place.namespace, place.workload) for place in said.affects]) == (
        "warning",
        "narrows",
        [("shop", "any pod")],
    )


def test_pods_with_a_value_that_the_policy_leaves_out_stay_open() -> None:
    """One of these is known, and one is not."""
    made, _ = converted(policy(NOT_PAY, FROM_CART))
    assert made.keys() == {"", "app=cart", "app=pay", "app=api"}
    assert made[""] == [[]] and made["app=pay"] == made["app=api"] == [OPEN] and made["app=cart"] != [OPEN]


def test_what_another_policy_closes_is_opened_to_nobody() -> None:
    made, _ = converted(policy(NOT_PAY, FROM_CART) + policy("matchLabels: {tier: back}", FROM_CART, "back"))
    assert made.keys() == {"", "app=cart", "app=pay", "tier=back"}  # pods of app=api may have the tier as well


def test_pods_that_a_deny_may_be_for_are_let_in_to_by_nobody_beside_the_known_ones() -> None:
    """A deny of accounts, or of tiers, has no selector: what another policy lets in to such pods is written for the known ones alone."""
    made, _ = converted(policy(TIERED, NO_CART) + policy("matchLabels: {app: pay}", FROM_CART, "pay"))
    assert [rules for rules in made["app=pay"] if rules] != []  # the controller's own, which have no tier
    made, _ = converted(policy(TIERED, NO_CART) + policy("matchLabels: {app: ghost}", FROM_CART, "ghost"))
    assert made["app=ghost"] == [[]]


def test_looser_leaves_them_open() -> None:
    made, _ = converted(policy(ACCOUNT, FROM_CART), on_loss="looser")
    assert made == {}


def test_linkerd_closes_the_namespace_of_an_account_that_nobody_shows() -> None:
    result = meshport.convert(
        meshport.load_text(WORLD + policy(ACCOUNT, FROM_CART)), source="cilium", target="linkerd", keep_network_policy=False
    )
    defaults = {
        item.object["metadata"]["name"]: (
            item.object["metadata"] if item.object["kind"] == "Namespace" else item.object["spec"]["template"]["metadata"]
        )["annotations"].get("config.linkerd.io/default-inbound-policy")
        for item in result.manifests
        if item.object["kind"] in ("Namespace", "Deployment")
    }
    assert defaults == {"shop": "deny", "cart": "all-unauthenticated", "pay": "all-unauthenticated"}


REQUESTS = 'ingress: [{fromEndpoints: [{matchLabels: {app: cart}}], toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: GET}]}}]}]'
ANYBODY = "ingress: [{fromEndpoints: [{matchLabels: {role: x}}]}]"


def test_beside_kept_network_policy_the_mesh_lets_not_everybody_in_to_pods_whose_requests_it_is_to_judge() -> None:
    """Both policies may be for a pod that is not shown: what the network has of one does not open, in the mesh, what it has no more of the other."""
    text = policy("matchLabels: {app: ghost}", REQUESTS, "reads") + policy("matchLabels: {tier: back}", ANYBODY, "back")
    made, _ = converted(text, keep_network_policy=True)
    assert OPEN not in made.get("tier=back", [])


@pytest.mark.parametrize("target", ["istio", "linkerd"])
@pytest.mark.parametrize(("home", "said"), [("ingress-nginx", True), ("shop", False)])
def test_without_network_policy_callers_that_may_have_no_proxy_are_named(home: str, said: bool, target: str) -> None:
    """Once the network policy is deleted the mesh alone lets them in, by an identity that they may not show."""
    peers = f"ingress: [{{fromEndpoints: [{{matchLabels: {{k8s:io.kubernetes.pod.namespace: {home}}}}}]}}]"
    _, findings = converted(policy("matchLabels: {app: pay}", peers), target)
    assert [(place.namespace, place.workload) for item in findings if item.code == "MP179" for place in item.affects] == (
        [("shop", "pay")] if said else []
    )


def test_a_deny_of_a_port_by_its_name_refuses_every_port_of_pods_that_nobody_shows() -> None:
    """Which of their ports has the name is not known, and a deny is never left out; beside known pods it has the number that these give it."""
    named = "ingress: [{}], ingressDeny: [{fromEndpoints: [{matchLabels: {app: cart}}], toPorts: [{ports: [{port: http, protocol: TCP}]}]}]"

    def denied(selector: str) -> tuple[Any, list[tuple[str | None, int | None]]]:
        text = WORLD + policy(selector, named)
        result = meshport.convert(meshport.load_text(text), source="cilium", target="istio", keep_network_policy=False)
        (spec,) = (item.object["spec"] for item in result.manifests if item.object.get("spec", {}).get("action") == "DENY")
        said = [(place.workload, place.port) for item in result.findings if item.code == "MP273" for place in item.affects]
        return spec["rules"][0].get("to"), said

    assert denied("matchLabels: {app: ghost}") == (None, [("app=ghost", None)])
    assert denied("matchLabels: {app: pay}") == ([{"operation": {"ports": ["8080"]}}], [])


@pytest.mark.parametrize(
    ("kind", "selector", "rules", "default"),
    [
        ("CiliumClusterwideNetworkPolicy", "matchLabels: {app: ghost}", ", rules: {http: [{method: GET}]}", "deny"),
        ("CiliumNetworkPolicy", TIERED, ", rules: {http: [{method: GET}]}", "deny"),
        ("CiliumNetworkPolicy", "matchLabels: {app: ghost}", ", rules: {http: [{method: GET}]}", None),  # a Server says it
        ("CiliumClusterwideNetworkPolicy", "matchLabels: {app: ghost}", "", None),  # the network goes on saying all of it
    ],
)
def test_requests_that_kept_network_policy_sees_no_more_are_not_open_to_linkerds_callers(
    kind: str, selector: str, rules: str, default: str | None
) -> None:
    """Before 2.18 no port of the proxies is let through, and the kept policy closes the others: its peers may ask for anything on its port. Servers hold them to it, or the default of the namespace refuses them."""
    rule = f'{{fromEndpoints: [{{matchLabels: {{app: cart}}}}], toPorts: [{{ports: [{{port: "8080", protocol: TCP}}]{rules}}}]}}'
    text = policy(selector, f"ingress: [{rule}]").replace("kind: CiliumNetworkPolicy", f"kind: {kind}")
    if kind != "CiliumNetworkPolicy":
        text = text.replace(", namespace: shop}", "}")
    result = meshport.convert(meshport.load_text(WORLD + text), source="cilium", target="linkerd", target_version="2.16")
    (home,) = (item.object["metadata"] for item in result.manifests if item.object["kind"] == "Namespace")
    assert home["annotations"].get("config.linkerd.io/default-inbound-policy") == default
    servers = [item.object for item in result.manifests if item.object["kind"] == "Server"]
    assert bool(servers) == bool(rules)
    refused = {place.namespace for item in result.findings if item.code in ("MP207", "MP198") for place in item.affects}
    assert bool(refused) == (default is not None)


@pytest.mark.parametrize(
    "rules",
    [
        'ingress: [{toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}, READS]',
        'ingress: [{toPorts: [{ports: [{port: "0", protocol: TCP}]}]}, READS]',
    ],
)
def test_a_rule_on_requests_beside_one_that_lets_everybody_in_is_said_to_add_nothing(rules: str) -> None:
    """The kept copy has no more of it, and no Server needs it: the port is open."""
    asked = r"rules: {http: [{path: '/users(\?.*)?'}]}"
    reads = f'{{fromEndpoints: [{{matchLabels: {{app: cart}}}}], toPorts: [{{ports: [{{port: "8080", protocol: TCP}}], {asked}}}]}}'
    text = policy("matchLabels: {app: ghost}", rules.replace("READS", reads))
    result = meshport.convert(meshport.load_text(WORLD + text), source="cilium", target="linkerd", target_version="2.16")
    (line,) = [one for one in result.ledger if one.path.endswith("http[0].path")]
    assert line.disposition != "unaccounted" and "MP200" in {item.code for item in result.findings}
    assert not {item.code for item in result.findings} & {"MP900", "MP901", "MP207"}


FROM_PAY = "ingress: [{fromEndpoints: [{matchLabels: {app: pay}}]}]"
PAY = [{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/pay"]}}]}]


@pytest.mark.parametrize(("closing", "written"), [("", [PAY]), ("matchLabels: {app: ghost}", [PAY]), ("matchLabels: {app: api}", [])])
def test_what_closes_nothing_is_let_in_where_another_policy_closes_the_pods_that_nobody_shows(closing: str, written: list[Any]) -> None:
    """For pods that nothing else closes an ALLOW would do so."""
    text = policy("matchLabels: {app: ghost}", f"{FROM_PAY}, enableDefaultDeny: {{ingress: false}}", "adds")
    made, _ = converted(text + policy(closing, FROM_CART, "closes"))
    assert [rules for rules in made.get("app=ghost", []) if rules == PAY] == written


def test_what_closes_nothing_closes_no_pods_beside_the_known_ones_that_others_close() -> None:
    """Pods of the tier that nobody shows stay as open as they were: the grant is written for the known pods, which a policy closes."""
    world = WORLD.replace("app: cart}}, spec", "app: cart, tier: back}}, spec")
    text = policy("matchLabels: {tier: back}", f"{FROM_PAY}, enableDefaultDeny: {{ingress: false}}", "adds")
    text += policy("matchLabels: {app: cart}", FROM_CART, "closes")
    result = meshport.convert(meshport.load_text(world + text), source="cilium", target="istio", keep_network_policy=False)
    chosen = [item.object["spec"]["selector"]["matchLabels"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert chosen and all(labels == {"app": "cart"} for labels in chosen)
    assert "tier=back" in {place.workload for item in result.findings if item.code == "MP286" for place in item.affects}
