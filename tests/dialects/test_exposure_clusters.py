"""Several clusters: Services that they share, links, failover between them, machines outside."""

from __future__ import annotations

from test_exposure_egress import codes, convert, namespace, specs, whole, workload

from meshport.pipeline import Result

SERVICE = """---
apiVersion: v1
kind: Service
metadata: {name: stock, namespace: shop}
spec: {selector: {app: stock}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""
ENTRY = """---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: stock-west, namespace: shop}
spec:
  hosts: [stock.shop.svc.cluster.local]
  location: MESH_INTERNAL
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
  endpoints: [{address: eastwest.example.com, network: west}]
"""
RULE = """---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: stock, namespace: shop}
spec:
  host: stock.shop.svc.cluster.local
  trafficPolicy:
    loadBalancer: {localityLbSetting: {FIELDS}}
    outlierDetection: {consecutive5xxErrors: 3}
"""
EXPORTED = "mirror.linkerd.io/exported"


def labels(result: Result, name: str = "stock") -> dict[str, str]:
    found = [item.object for item in result.manifests if item.object["kind"] == "Service" and item.object["metadata"]["name"] == name]
    return dict(found[0]["metadata"].get("labels", {})) if found else {}


def test_an_entry_for_a_service_sends_nothing_anywhere_and_the_service_is_exported() -> None:
    result = convert(namespace() + workload("stock") + SERVICE + ENTRY)
    assert labels(result) == {EXPORTED: "true"}
    assert specs(result) == {}
    found = next(item for item in result.findings if item.code == "MP710")
    assert found.severity == "error"
    assert EXPORTED in found.remedy
    assert "stock-CLUSTER" in found.remedy
    assert result.install["commands"] == ["linkerd multicluster install | kubectl apply -f -"]
    assert whole(result)


def test_a_service_that_only_other_clusters_run_is_not_exported_from_here() -> None:
    result = convert(namespace() + SERVICE + ENTRY)
    assert labels(result) == {}
    assert codes(result) == ["MP710"]
    assert whole(result)


def test_a_service_that_the_bundle_lacks_is_asked_for() -> None:
    result = convert(namespace() + ENTRY)
    found = next(item for item in result.findings if item.code == "MP711")
    assert "kubectl get service stock -n shop" in found.remedy
    assert whole(result)


def test_a_global_service_of_ambient_is_exported_and_loses_its_label() -> None:
    result = convert(
        namespace() + workload("stock") + SERVICE.replace("namespace: shop}", 'namespace: shop, labels: {istio.io/global: "true"}}')
    )
    assert labels(result) == {EXPORTED: "true"}
    assert whole(result)


def test_callers_behind_the_gateway_are_told_of_where_a_policy_names_callers() -> None:
    policy = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: stock, namespace: shop}
spec:
  selector: {matchLabels: {app: stock}}
  rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]
"""
    text = namespace() + workload("stock") + SERVICE + ENTRY
    assert "MP717" in codes(convert(text + policy))
    assert "MP717" not in codes(convert(text))


def test_failover_between_regions_is_named_once() -> None:
    rule = RULE.replace("FIELDS", "enabled: true, failover: [{from: us, to: eu}]")
    result = convert(namespace() + workload("stock") + SERVICE + ENTRY + rule)
    found = [item for item in result.findings if item.code == "MP511"]
    assert [len(item.leaves) for item in found] == [3]
    assert "us to eu" in found[0].message
    assert whole(result)


def test_locality_that_is_off_or_has_no_breaker_decides_nothing() -> None:
    off = RULE.replace("FIELDS", "enabled: false, failover: [{from: us, to: eu}]")
    alone = RULE.replace("FIELDS", "failover: [{from: us, to: eu}]").replace("    outlierDetection: {consecutive5xxErrors: 3}\n", "")
    for rule in (off, alone):
        result = convert(namespace() + workload("stock") + SERVICE + rule)
        assert "MP511" not in codes(result)
        assert whole(result)


def test_a_distribution_needs_no_breaker() -> None:
    rule = RULE.replace("FIELDS", "distribute: [{from: us/*, to: {us/*: 80, eu/*: 20}}]")
    result = convert(namespace() + workload("stock") + SERVICE + rule.replace("    outlierDetection: {consecutive5xxErrors: 3}\n", ""))
    assert codes(result) == ["MP513"]
    assert whole(result)


def test_a_machine_known_by_name_is_set_up_by_hand() -> None:
    machine = """---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm, namespace: shop}
spec: {address: vm.example.com, labels: {app: vm}, serviceAccount: vm}
"""
    result = convert(namespace() + machine)
    assert [(item.code, item.disposition, len(item.leaves)) for item in result.findings if item.severity == "warning"] == [
        ("MP715", "manual", 5)
    ]
    assert whole(result)


# -- Linkerd to Istio


def test_an_exported_service_has_its_own_name_in_istio_and_no_label() -> None:
    text = (
        namespace(mesh="linkerd")
        + workload("stock")
        + SERVICE.replace("namespace: shop}", f'namespace: shop, labels: {{{EXPORTED}: "true"}}}}')
    )
    result = convert(text, "linkerd")
    assert labels(result) == {}
    assert codes(result) == ["MP722"]
    assert whole(result)


def test_a_link_is_made_anew() -> None:
    link = """---
apiVersion: multicluster.linkerd.io/v1alpha3
kind: Link
metadata: {name: west, namespace: linkerd-multicluster}
spec:
  targetClusterName: west
  targetClusterDomain: cluster.local
  targetClusterLinkerdNamespace: linkerd
  clusterCredentialsSecret: cluster-credentials-west
  gatewayAddress: 203.0.113.7
  gatewayPort: "4143"
  gatewayIdentity: linkerd-gateway.linkerd-multicluster.serviceaccount.identity.linkerd.cluster.local
  probeSpec: {path: /ready, port: "4191", period: 3s}
  selector: {matchLabels: {mirror.linkerd.io/exported: "true"}}
"""
    result = convert(namespace(mesh="linkerd") + link, "linkerd")
    found = next(item for item in result.findings if item.code == "MP716")
    assert "istioctl create-remote-secret" in found.remedy
    assert "203.0.113.7" not in found.message
    assert whole(result)


def test_a_value_that_no_link_selects_exports_nothing() -> None:
    text = """
apiVersion: v1
kind: Service
metadata: {name: users, namespace: shop, labels: {mirror.linkerd.io/exported: "false", mirror.linkerd.io/federated: "no"}}
spec: {selector: {app: users}, ports: [{name: http, port: 80}]}
"""
    result = convert(text, "linkerd")
    assert not [item for item in result.manifests if item.object["kind"] == "Service"]
    assert not [item for item in result.findings if item.code == "MP722"]
