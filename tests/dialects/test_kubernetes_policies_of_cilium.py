"""NetworkPolicies of Kubernetes in a cluster of Cilium: their allows add to those of Cilium's own policies (pkg/k8s/network_policy.go, docs.cilium.io
security/policy), so a mesh that says the one has to say the other."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport


def workload(name: str, namespace: str = "shop") -> str:
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{serviceAccountName: {name}, containers: [{{name: a, image: "a:1", ports: [{{name: http, containerPort: 8080}}, {{name: admin, containerPort: 9090}}]}}]}}
---
"""


def cilium(spec: str, name: str = "own") -> str:
    return f"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n---\n"


def kubernetes(spec: str) -> str:
    return f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: more, namespace: shop}}\nspec: {spec}\n---\n"


WORLD = (
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: ops, labels: {team: a}}\n---\n"
    + workload("api")
    + workload("web")
    + workload("cart")
    + workload("probe", "ops")
)
OWN = cilium('{endpointSelector: {matchLabels: {app: api}}, ingress: [{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}]}')  # fmt: skip
MORE = """{podSelector: {matchLabels: {app: api}}, ingress: [
  {from: [{podSelector: {matchLabels: {app: cart}}}, {namespaceSelector: {matchLabels: {team: a}}}], ports: [{port: admin}]},
  {from: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: 8080}]}]}"""


def converted(text: str, target: str = "istio", **options: Any) -> meshport.Result:
    result = meshport.convert(meshport.load_text(WORLD + text), source="cilium", target=target, **options)
    assert not [finding for finding in result.findings if finding.code.startswith("MP90")]
    return result


def allows(result: meshport.Result, app: str = "api") -> list[dict[str, Any]]:
    """The rules of the AuthorizationPolicies that select a workload."""
    found = [item.object for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    return [rule for item in found if item["spec"]["selector"]["matchLabels"] == {"app": app} for rule in item["spec"].get("rules", [])]


def test_what_a_kubernetes_policy_lets_in_beside_policies_of_cilium_is_said_in_the_mesh() -> None:
    result = converted(OWN + kubernetes(MORE))
    said = yaml.safe_load("""
- from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
  to: [{operation: {ports: ["8080"]}}]
- from: [{source: {principals: [cluster.local/ns/shop/sa/cart]}}]
  to: [{operation: {ports: ["9090"]}}]
- from: [{source: {namespaces: [ops]}}]
  to: [{operation: {ports: ["9090"]}}]
- from: [{source: {ipBlocks: [203.0.113.0/24]}}]
  to: [{operation: {ports: ["8080"]}}]
""")
    assert sorted(map(str, allows(result))) == sorted(map(str, said))
    assert result.verification is not None and result.verification.verdict == "equivalent"
    (told,) = [finding for finding in result.findings if finding.code == "MP199"]
    assert (told.severity, told.effect) == ("info", "none")
    assert "NetworkPolicy" not in {item.object["kind"] for item in result.manifests}  # it stays as it is


def test_a_kubernetes_policy_alone_holds_beside_a_mesh_that_says_nothing() -> None:
    assert not allows(converted(kubernetes(MORE)))


def test_the_pods_that_a_kubernetes_policy_alone_closes_are_named() -> None:
    (said,) = [finding for finding in converted(kubernetes(MORE)).findings if finding.code == "MP184"]
    assert [(item.namespace, item.workload) for item in said.affects] == [("shop", "api")]


def test_one_for_everybody_opens_in_the_mesh_what_the_network_closes_no_more() -> None:
    """Without peers and ports an entry lets everything in: whatever Cilium's own policies list."""
    result = converted(OWN + kubernetes("{podSelector: {}, ingress: [{}]}"))
    assert {} in allows(result) or not allows(result)
    assert result.verification is not None and result.verification.verdict == "equivalent"


def test_one_about_egress_or_udp_adds_nothing_to_what_comes_in() -> None:
    egress = "{podSelector: {}, policyTypes: [Egress], egress: [{}]}"
    udp = "{podSelector: {}, ingress: [{ports: [{port: 53, protocol: UDP}]}]}"
    alone = allows(converted(OWN))
    assert allows(converted(OWN + kubernetes(egress))) == alone
    assert allows(converted(OWN + kubernetes(udp))) == alone


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_pods_that_a_kubernetes_policy_closes_keep_the_http_rules_of_one_that_closes_nothing(target: str) -> None:
    """The kept CiliumNetworkPolicy lets callers in the mesh through without its HTTP rules, for their traffic is encrypted: so the mesh has to say them."""
    own = cilium("""{endpointSelector: {matchLabels: {app: api}}, enableDefaultDeny: {ingress: false}, ingress: [
      {fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: GET}]}}]}]}""")
    result = converted(own + kubernetes("{podSelector: {}, ingress: []}"), target, target_version="1.27" if target == "istio" else "2.17")
    assert result.verification is not None and result.verification.verdict == "equivalent"
    if target == "istio":
        (rule,) = allows(result)
        assert rule["to"] == [{"operation": {"ports": ["8080"], "methods": ["GET"]}}]
    else:
        routes = [item.object for item in result.manifests if item.object["kind"] == "HTTPRoute"]
        assert any(match.get("method") == "GET" for item in routes for rule in item["spec"]["rules"] for match in rule["matches"])


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_every_path_for_everybody_is_read_back_as_that(target: str) -> None:
    own = '{endpointSelector: {matchLabels: {app: api}}, ingress: [{toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{path: "/.*", method: GET}]}}]}]}'
    result = converted(cilium(own), target)
    assert result.verification is not None and result.verification.verdict == "equivalent"


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_all_but_the_cluster_is_the_world(target: str) -> None:
    own = """{endpointSelector: {matchLabels: {app: api}}, ingressDeny: [{fromEntities: [cluster]}],
      ingress: [{toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{path: "/api"}]}}]}]}"""
    converted(cilium(own), target)


def test_a_pod_of_the_host_network_is_no_caller_by_its_labels() -> None:
    """The network sees its node: a request that shows what is lost comes from another pod."""
    node = workload("batch").replace("{serviceAccountName: batch,", "{serviceAccountName: batch, hostNetwork: true,").replace("{app: batch}", "{app: lost}")  # fmt: skip
    own = """{endpointSelector: {matchLabels: {app: api}}, ingress: [{fromEndpoints: [{matchLabels: {app: lost}}],
      toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{path: "/u/[0-9]+"}]}}]}]}"""
    result = converted(node + cilium(own), "linkerd", target_version="2.17")
    (lost,) = [finding for finding in result.findings if finding.code == "MP197"]
    assert lost.witness is not None and lost.witness["source"].get("workload") is None


# -- where the mesh's proxies take every connection on one port

LINKERD: dict[str, Any] = {"target": "linkerd", "target_version": "2.20"}
AMBIENT: dict[str, Any] = {"target": "istio", "data_plane": "ambient"}


def entries(result: meshport.Result) -> list[Any]:
    """What the NetworkPolicy that is written lets in."""
    (found,) = [item.object["spec"]["ingress"] for item in result.manifests if item.object["kind"] == "NetworkPolicy"]
    return list(found)


def told(result: meshport.Result) -> set[str]:
    return {finding.code for finding in result.findings} & {"MP184", "MP185", "MP188", "MP199"}


@pytest.mark.parametrize(("options", "port"), [(LINKERD, 4143), (AMBIENT, 15008)])
@pytest.mark.parametrize(("own", "said"), [("", "MP184"), (OWN, "MP199")])
def test_peers_of_the_mesh_come_in_on_its_port_and_others_do_not(own: str, said: str, options: dict[str, Any], port: int) -> None:
    result = converted(own + kubernetes(MORE), **options)
    assert entries(result) == yaml.safe_load(f"""
- from: [{{podSelector: {{matchLabels: {{app: cart}}}}}}, {{namespaceSelector: {{matchLabels: {{team: a}}}}}}]
  ports: [{{protocol: TCP, port: admin}}, {{protocol: TCP, port: {port}}}]
- from: [{{ipBlock: {{cidr: 203.0.113.0/24}}}}]
  ports: [{{port: 8080}}]
""")
    assert told(result) == {said, "MP188"}
    assert result.verification is not None and result.verification.verdict == "equivalent"


def test_callers_of_whom_nobody_knows_whether_they_join_come_in_as_before() -> None:
    """An ingress controller without a proxy, in a namespace that the bundle does not show: a mesh that asked for its identity would refuse it."""
    space = "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %s}}}"
    more = f"{{podSelector: {{matchLabels: {{app: api}}}}, ingress: [{{from: [{space % 'edge'}], ports: [{{port: 8080}}]}}, {{from: [{space % 'kube-system'}], ports: [{{port: 9090}}]}}]}}"
    result = converted(kubernetes(more), **LINKERD)
    assert told(result) == {"MP184", "MP185"}  # should it join
    assert not [item for item in result.manifests if item.object["kind"] in ("Server", "NetworkPolicy")]
    beside = more.replace("ingress: [", "ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: admin}]}, ")
    edge, system = entries(converted(kubernetes(beside), **LINKERD))[1:]
    assert [port["port"] for port in edge["ports"]] == [8080, 4143]
    assert system["ports"] == [{"port": 9090}]  # whose pods no mesh takes in


def test_the_mesh_says_which_of_its_callers_comes_to_which_port() -> None:
    """All of them come in on one port, so that the network, which told them apart by it, does no more."""
    one = "{from: [{podSelector: {matchLabels: {app: %s}}}], ports: [{port: %s}]}"
    result = converted(
        kubernetes(f"{{podSelector: {{matchLabels: {{app: api}}}}, ingress: [{one % ('web', 8080)}, {one % ('cart', 'admin')}]}}"),
        **LINKERD,
    )
    found = [item.object["spec"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    said = {(item["targetRef"]["name"], ref["name"]) for item in found for ref in item["requiredAuthenticationRefs"]}
    assert said == {("api-8080", "web"), ("api-9090", "cart")}
    servers = [item.object["spec"] for item in result.manifests if item.object["kind"] == "Server"]
    assert {item["port"] for item in servers} == {8080, 9090}


def test_what_others_let_in_to_the_same_pods_is_said_with_it() -> None:
    """The mesh closes the pods: what names no port, and needs no other, would be refused there."""
    every = kubernetes("{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: cart}}}]}]}").replace(
        "name: more", "name: every"
    )
    one = kubernetes(
        "{podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 8080}]}]}"
    )
    result = converted(one + every, **LINKERD)
    assert [item.object["metadata"]["name"] for item in result.manifests if item.object["kind"] == "NetworkPolicy"] == ["more"]
    found = [item.object["spec"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    said = {(item["targetRef"]["name"], ref["name"]) for item in found for ref in item["requiredAuthenticationRefs"]}
    assert {("api-8080", "web"), ("api-8080", "cart"), ("api-9090", "cart")} <= said and ("api-9090", "web") not in said


def test_beside_policies_that_the_mesh_is_not_told_the_port_stays_shut_and_is_said() -> None:
    """Pods that only Cilium tells apart: what the mesh closed there it could not open again."""
    twin = workload("api").replace("name: api,", "name: twin,").replace("serviceAccountName: api", "serviceAccountName: twin")
    own = cilium("""{endpointSelector: {matchLabels: {io.cilium.k8s.policy.serviceaccount: twin}},
      ingress: [{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: "9090", protocol: TCP}]}]}]}""")
    more = kubernetes(
        "{podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: {matchLabels: {app: cart}}}], ports: [{port: 8080}]}]}"
    )
    result = converted(twin + own + more, **LINKERD)
    assert "MP121" in {finding.code for finding in result.findings}
    assert "MP185" in told(result) and "MP188" not in told(result)
    assert not [item for item in result.manifests if item.object["kind"] == "NetworkPolicy"]


def test_the_port_is_not_shut_for_whom_another_entry_lets_everything_through() -> None:
    egress = """{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [
      {to: [{podSelector: {}}]}, {to: [{podSelector: {matchLabels: {app: cart}}}], ports: [{port: 8080}]}]}"""
    assert told(converted(kubernetes(egress), **LINKERD)) == {"MP184"}
    alone = egress.replace("{to: [{podSelector: {}}]}, ", "")
    assert told(converted(kubernetes(alone), **LINKERD)) == {"MP184", "MP185"}


def test_where_cilium_enforces_nothing_the_mesh_says_nothing_of_it() -> None:
    off = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cilium-config, namespace: kube-system}\ndata: {enable-policy: never}\n---\n"
    assert not [item for item in converted(off + kubernetes(MORE), **LINKERD).manifests if item.object["kind"] == "Server"]


def test_a_plan_lets_the_port_through_before_the_pods_have_proxies() -> None:
    plan = meshport.plan(meshport.load_text(WORLD + kubernetes(MORE)), source="cilium", **LINKERD)
    change = next(step.number for step in plan.steps for item in step.manifests if item.object["kind"] == "NetworkPolicy")
    assert change <= min(step.number for step in plan.steps if "shop/api" in step.workloads)
    assert not [check for step in plan.steps[:change] for check in step.checks if "4143" in str(check)]  # nobody is asked for it before
    (window,) = [window for step in plan.steps for window in step.windows if window.what == "rules not enforced"]
    assert "they see port 4143 alone" in window.why
