"""What is read, and what is not guessed, decision by decision: membership, what the bundle does not show, what a controller wrote, mistakes."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

from .decision_helper import convert, mtls, namespace, network_policy, policy, said, service, thing, workload, written


def marks(result: Any, kind: str, name: str) -> dict[str, str]:
    """The labels and annotations of meshes that an object has in the output; {} where it stays as it was."""
    found = written(result, kind).get(name, {"metadata": {}, "spec": {"template": {"metadata": {}}}})
    metadata = found["metadata"] if kind == "Namespace" else found["spec"]["template"]["metadata"]
    notes = {**metadata.get("labels", {}), **metadata.get("annotations", {})}
    return {key: value for key, value in notes.items() if "istio" in key or "linkerd" in key}


def test_membership_follows_the_source_pod_by_pod_and_no_pod_is_in_both_meshes() -> None:
    world = namespace() + workload("in") + workload("out", labels=", sidecar.istio.io/inject: 'false'")
    world += (
        namespace("plain", "plain")
        + workload("none", home="plain")
        + workload("own", home="plain", labels=", sidecar.istio.io/inject: 'true'")
    )
    to_linkerd = convert(world, "istio", "linkerd")
    assert marks(to_linkerd, "Namespace", "shop") == {"linkerd.io/inject": "enabled"}
    assert marks(to_linkerd, "Deployment", "out") == {"linkerd.io/inject": "disabled"}
    assert marks(to_linkerd, "Deployment", "own") == {"linkerd.io/inject": "enabled"}
    assert sorted(written(to_linkerd, "Deployment")) == ["out", "own"] and sorted(written(to_linkerd, "Namespace")) == ["shop"]
    back = convert(
        "---\n".join(meshport_yaml(to_linkerd)) + workload("in") + namespace("plain", "plain") + workload("none", home="plain"),
        "linkerd",
        "istio",
    )
    assert marks(back, "Namespace", "shop") == {"istio-injection": "enabled"}
    assert marks(back, "Deployment", "out") == {"sidecar.istio.io/inject": "false"}
    assert marks(back, "Deployment", "own") == {"sidecar.istio.io/inject": "true"}


def meshport_yaml(result: Any) -> list[str]:
    import yaml

    return [yaml.safe_dump(item.object) for item in result.manifests]


@pytest.mark.parametrize(
    ("source", "target", "mark"),
    [("istio", "linkerd", {"linkerd.io/inject": "enabled"}), ("linkerd", "istio", {"istio-injection": "enabled"})],
)
def test_a_namespace_with_the_marks_of_both_meshes_keeps_those_of_the_target(source: str, target: str, mark: dict[str, str]) -> None:
    both = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}, annotations: {linkerd.io/inject: enabled}}\n"
    assert marks(convert(both + workload("users"), source, target), "Namespace", "shop") == mark


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_from_cilium_every_namespace_with_workloads_joins_but_those_of_the_system(target: str) -> None:
    world = namespace(mesh="plain") + workload("users") + namespace("more", "plain") + workload("other", home="more")
    world += namespace("empty", "plain") + namespace("kube-system", "plain") + workload("dns", home="kube-system")
    assert sorted(written(convert(world, "cilium", target), "Namespace")) == ["more", "shop"]
    assert sorted(written(convert(world, "cilium", target, namespaces=["shop"]), "Namespace")) == ["shop"]


def test_a_principal_without_a_workload_is_kept_as_an_identity() -> None:
    rule = "{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: [cluster.local/ns/far/sa/away]}}]}]}"
    world = namespace() + service("users") + workload("users")
    (linkerd,) = written(convert(world + policy(rule), "istio", "linkerd"), "AuthorizationPolicy").values()
    assert linkerd["spec"]["requiredAuthenticationRefs"] == [{"kind": "ServiceAccount", "name": "away", "namespace": "far"}]
    (cilium,) = written(convert(world + policy(rule), "istio", "cilium"), "CiliumNetworkPolicy").values()
    assert cilium["spec"]["ingress"][0]["fromEndpoints"] == [
        {"matchLabels": {"k8s:io.kubernetes.pod.namespace": "far", "k8s:io.cilium.k8s.policy.serviceaccount": "away"}}
    ]


def test_what_the_api_server_writes_decides_nothing() -> None:
    dumped = mtls("{mtls: {mode: STRICT}}").replace(
        "namespace: shop}",
        "namespace: shop, uid: abc, resourceVersion: '1', generation: 3, managedFields: [{manager: kubectl}], "
        "annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}'}}",
    )
    result = convert(namespace() + workload("users") + dumped + "status: {conditions: [{type: Ready}]}\n", "istio", "linkerd")
    paths = ("metadata.uid", "metadata.resourceVersion", "metadata.generation", "metadata.managedFields", "status", 'annotations["kubectl')
    found = [line for line in result.ledger if any(path in line.path for path in paths)]
    assert len(found) == 6 and {line.disposition for line in found} == {"irrelevant"}


def test_a_route_that_a_gateway_wrote_is_left_to_it_and_said() -> None:
    owned = ", ownerReferences: [{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, name: edge, controller: true, uid: x}]"
    made = thing(
        "cilium.io/v2",
        "CiliumEnvoyConfig",
        "{services: [{name: users, namespace: shop}], resources: []}",
        "cilium-gateway-edge",
        metadata=owned,
    )
    result = convert(namespace(mesh="plain") + service("users") + workload("users") + made, "cilium", "istio")
    assert [item["metadata"]["name"] for item in result.passed_through if item["kind"] == "CiliumEnvoyConfig"] == ["cilium-gateway-edge"]
    assert "Gateway edge" in said(result, "MP742")[0].message


STRICT = mtls("{mtls: {mode: STRICT}}")


@pytest.mark.parametrize(
    ("text", "code", "hint", "repaired"),
    [
        (STRICT.replace("PeerAuthentication", "peerauthentication"), "MP010", "Write kind: PeerAuthentication.", True),
        (STRICT.replace("security.istio.io/v1", "security.istio.io/v1alpha9"), "MP011", "Write apiVersion: security.istio.io/v1.", True),
        (STRICT.replace("security.istio.io", "networking.istio.io"), "MP010", "Write apiVersion: security.istio.io/v1.", False),
        (
            STRICT.replace("security.istio.io/v1", "security.istio.io/v9").replace("PeerA", "peerA"),
            "MP010",
            "Write kind: PeerAuthentication.",
            False,
        ),
        (STRICT.replace("STRICT", "strict"), "MP013", "Did you mean STRICT?", False),
        (STRICT.replace("{mtls: {mode: STRICT}}", "{mode: STRICT}"), "MP012", "spec.mtls.mode", False),
    ],
    ids=["case of the kind", "version", "group", "two mistakes", "value", "place"],
)
def test_a_mistake_is_named_with_what_was_meant_and_only_one_edit_is_repaired(text: str, code: str, hint: str, repaired: bool) -> None:
    result = convert(namespace() + workload("users") + text, "istio", "linkerd")
    (finding,) = said(result, code)
    assert finding.severity == "error" and hint in finding.remedy
    notes = written(result, "Namespace")["shop"]["metadata"]["annotations"]
    assert ("config.linkerd.io/default-inbound-policy" in notes) is repaired


def test_a_kind_of_another_group_is_not_taken_for_one_that_sounds_alike() -> None:
    (finding, *_) = meshport.lint(meshport.load_text(thing("policy.linkerd.io/v1beta1", "ServiceProfile", "{}", "users")))
    assert finding.message.endswith("did you mean linkerd.io/v1alpha2?")


def test_a_misplaced_retry_budget_means_no_retries() -> None:
    profile = thing(
        "linkerd.io/v1alpha2", "ServiceProfile",
        "{routes: [{name: r, condition: {pathRegex: /.*}, retryBudget: {retryRatio: 0.2, minRetriesPerSecond: 10, ttl: 10s}}]}",
        "users.shop.svc.cluster.local",
    )  # fmt: skip
    result = convert(namespace(mesh="linkerd") + service("users") + workload("users") + profile, "linkerd", "istio")
    (rules,) = [item["spec"]["http"] for item in written(result, "VirtualService").values()]
    assert [rule["retries"] for rule in rules] == [{"attempts": 0}]
    assert "spec.retryBudget" in said(result, "MP012")[0].remedy


def test_a_clusterwide_policy_with_several_faults_lifts_to_nothing() -> None:
    faulty = network_policy("{nodeSelector: {}, endpointSelector: {}, authentication: {mode: required}}").replace(
        "CiliumNetworkPolicy", "CiliumClusterWideNetworkPolicy"
    )
    result = convert(namespace(mesh="plain") + workload("users") + faulty, "cilium", "istio")
    assert written(result, "AuthorizationPolicy") == {} and said(result, "MP010")[0].severity == "error"


SELECTED = """---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "discoverySelectors: [{matchLabels: {env: prod}}, {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [shop]}]}]"}
"""


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_what_istiod_does_not_read_is_not_in_force(target: str) -> None:
    callers = "{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {namespaces: [shop]}}]}]}"
    seen = namespace() + workload() + policy(callers)
    unseen = namespace("test") + workload(home="test", pod="") + policy(callers, home="test")
    result = convert(seen + unseen + SELECTED, "istio", target)
    assert [finding.message.split(" is in ")[0] for finding in said(result, "MP387")] == ["AuthorizationPolicy test/users"]
    assert {item.object["metadata"].get("namespace") for item in result.manifests} <= {"shop", None}
    assert marks(result, "Namespace", "test") == {}  # its pods were in no mesh, whatever their label asks for
    assert not said(result, "MP977")
    assert {line.disposition for line in result.ledger if line.path.startswith("spec.rules") and "MP387" in line.codes} == {"invalid"}


def test_nor_are_routes_of_the_gateway_api_there() -> None:
    parent = "{group: '', kind: Service, name: users, port: 80}"
    rules = "[{timeouts: {request: 3s}, backendRefs: [{name: users, port: 80}]}]"
    route = thing("gateway.networking.k8s.io/v1", "HTTPRoute", f"{{parentRefs: [{parent}], rules: {rules}}}", "users", "test")
    unseen = namespace("test") + workload(home="test", pod="") + service(home="test") + route
    result = convert(namespace() + workload() + unseen + SELECTED, "istio", "linkerd")
    assert [finding.message.split(" is in ")[0] for finding in said(result, "MP387")] == ["HTTPRoute test/users"]
    assert written(result, "HTTPRoute") == {}
    assert ("HTTPRoute", "test") in {(item["kind"], item["namespace"]) for item in result.removals}  # the target's proxies would follow it


def test_a_namespace_that_the_bundle_does_not_show_counts_as_read_and_the_selectors_are_named() -> None:
    hidden = workload(home="test") + policy("{}", home="test")
    result = convert(namespace() + hidden + SELECTED, "istio", "linkerd")
    assert said(result, "MP977") and not said(result, "MP387")


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("{rules: [{from: [{source: {namespaces: [web]}}], to: [{operation: {methods: GET}}]}]}", "spec.rules[0].to[0].operation.methods: 'GET' is not a list"),
        ("{rules: [{from: [{source: {namespaces: [web]}}], to: [{operation: {ports: [8080]}}]}]}", "spec.rules[0].to[0].operation.ports[0]: 8080 is not a string"),
        ("{selector: {matchLabels: {canary: true}}, rules: [{from: [{source: {namespaces: [web]}}]}]}", "spec.selector.matchLabels.canary: True is not a string"),
        ("{action: allow, rules: [{from: [{source: {namespaces: [web]}}]}]}", "spec.action: 'allow' is not one of ALLOW, DENY, AUDIT, CUSTOM"),
    ],
    ids=["a text for a list", "a number for a text", "a truth for a text", "another word"],
)  # fmt: skip
@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_a_value_of_another_type_voids_the_object_and_lets_nobody_in(spec: str, what: str, target: str) -> None:
    """The API server refuses all of it; read without the value it would let in more than was meant."""
    result = convert(namespace() + workload("users") + policy("{}", "closed") + policy(spec), "istio", target)
    (wrong,) = said(result, "MP013")
    assert wrong.message == f"AuthorizationPolicy/shop/users: {what}; no cluster takes the object, so all of it does nothing"
    assert not written(result, "Server") and list(written(result, "CiliumNetworkPolicy")) == (["closed"] if target == "cilium" else [])
    assert {line.disposition for line in result.ledger if line.document == 3} == {"invalid"}


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_an_account_that_nobody_runs_under_is_kept_with_a_warning(target: str) -> None:
    rules = "[{from: [{source: {principals: [cluster.local/ns/shop/sa/users, cluster.local/ns/web/sa/ghost]}}]}]"
    world = namespace() + workload("users")
    result = convert(world + policy(f"{{selector: {{matchLabels: {{app: users}}}}, rules: {rules}}}"), "istio", target)
    (found,) = said(result, "MP189")
    assert (found.severity, found.effect) == ("warning", "none")
    assert "lets in web/ghost, of which" in found.message
    assert "ghost" in str([item.object for item in result.manifests])
    account = "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: ghost, namespace: web}\n"
    shown = convert(world + account + policy(f"{{selector: {{matchLabels: {{app: users}}}}, rules: {rules}}}"), "istio", target)
    assert not said(shown, "MP189")


@pytest.mark.parametrize(
    ("plane", "mark"), [("linkerd", ("linkerd.io/inject", "disabled")), ("ambient", ("istio.io/dataplane-mode", "none"))]
)
def test_a_pod_that_is_kept_out_stays_out_where_the_namespace_is_not_shown(plane: str, mark: tuple[str, str]) -> None:
    """Other hands may enrol the namespace."""
    data_plane = {"data_plane": "ambient"} if plane == "ambient" else {}
    result = convert(
        workload("out", labels=", sidecar.istio.io/inject: 'false'") + mtls("{mtls: {mode: PERMISSIVE}}"),
        "istio",
        "istio" if data_plane else plane,
        **data_plane,
    )
    assert marks(result, "Deployment", "out") == dict([mark])
