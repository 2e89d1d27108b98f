"""Machines outside the cluster: WorkloadEntry in Istio, ExternalWorkload in Linkerd, an address in Cilium."""

from __future__ import annotations

from typing import Any

import meshport

ACCOUNT = "cart.shop.serviceaccount.identity.linkerd.cluster.local"


def entry(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "vm-1", "namespace": "shop"}
    return {"apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry", "metadata": metadata, "spec": spec}


def external(identity: str = ACCOUNT, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "vm-1", "namespace": "shop", "labels": {"app": "cart"}}
    return {
        "apiVersion": "workload.linkerd.io/v1beta1",
        "kind": "ExternalWorkload",
        "metadata": metadata,
        "spec": {"meshTLS": {"identity": identity, "serverName": ACCOUNT}, "workloadIPs": [{"ip": "192.0.2.7"}], **spec},
    }


def convert(source: str, target: str, item: dict[str, Any], **choices: Any) -> meshport.Result:
    return meshport.convert(meshport.load_objects([item]), source=source, target=target, **choices)


def written(result: meshport.Result, kind: str) -> dict[str, Any]:
    (found,) = [item.object for item in result.manifests if item.object["kind"] == kind]
    return dict(found)


def codes(result: meshport.Result) -> set[str]:
    return {finding.code for finding in result.findings}


def test_an_entry_with_an_account_is_an_external_workload() -> None:
    result = convert("istio", "linkerd", entry(address="192.0.2.7", labels={"app": "cart"}, serviceAccount="cart", ports={"http": 8080}))
    assert written(result, "ExternalWorkload") == external(ports=[{"name": "http", "port": 8080}])
    assert codes(result) == {"MP762"}
    assert result.diff == []


def test_an_external_workload_with_an_account_is_an_entry() -> None:
    result = convert("linkerd", "istio", external(ports=[{"name": "http", "port": 8080}]))
    assert written(result, "WorkloadEntry") == entry(
        address="192.0.2.7", labels={"app": "cart"}, ports={"http": 8080}, serviceAccount="cart"
    )
    assert codes(result) == {"MP762", "MP757"}
    assert result.diff == []


def test_an_identity_of_spire_is_none_in_istio() -> None:
    result = convert("linkerd", "istio", external("spiffe://root.linkerd.cluster.local/vm-1"))
    assert "serviceAccount" not in written(result, "WorkloadEntry")["spec"]
    assert [finding.severity for finding in result.findings if finding.code == "MP764"] == ["error"]


def test_a_second_address_and_a_udp_port_are_named() -> None:
    item = external(ports=[{"name": "dns", "port": 53, "protocol": "UDP"}], workloadIPs=[{"ip": "192.0.2.7"}, {"ip": "2001:db8::7"}])
    result = convert("linkerd", "istio", item)
    said = [finding.message for finding in result.findings if finding.code == "MP765"]
    assert len(said) == 2
    assert any("2001:db8::7" in text for text in said)
    assert any("53/UDP" in text for text in said)


def test_what_linkerd_needs_and_an_entry_has_not_is_done_by_hand() -> None:
    for item in (entry(address="vm.example.com", serviceAccount="cart"), entry(address="192.0.2.7")):
        result = convert("istio", "linkerd", item)
        assert result.manifests == []
        assert "MP715" in codes(result)


def test_a_machine_is_an_address_to_cilium() -> None:
    result = convert("linkerd", "cilium", external())
    assert "MP715" in codes(result)
    assert not codes(result) & {"MP900", "MP901", "MP902"}


def test_a_linkerd_without_external_workloads_gets_none() -> None:
    result = convert("istio", "linkerd", entry(address="192.0.2.7", serviceAccount="cart"), target_version="2.14")
    assert result.manifests == []
    assert "MP901" not in codes(result)
