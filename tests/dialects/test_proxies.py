"""Resources of proxies: four annotations of a pod in both meshes, and in Linkerd of a namespace too."""

from __future__ import annotations

import json
from typing import Any

import pytest

import meshport

LINKERD = {
    "config.linkerd.io/proxy-cpu-request": "100m",
    "config.linkerd.io/proxy-cpu-limit": "500m",
    "config.linkerd.io/proxy-memory-request": "64Mi",
    "config.linkerd.io/proxy-memory-limit": "250Mi",
}
ISTIO = {
    "sidecar.istio.io/proxyCPU": "100m",
    "sidecar.istio.io/proxyCPULimit": "500m",
    "sidecar.istio.io/proxyMemory": "64Mi",
    "sidecar.istio.io/proxyMemoryLimit": "250Mi",
}


def namespace(mesh: str, **annotations: str) -> dict[str, Any]:
    if mesh == "istio":
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"istio-injection": "enabled"}}}
    found = {"linkerd.io/inject": "enabled", **annotations}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "annotations": found}}


def deployment(name: str, annotations: dict[str, str]) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}, "annotations": annotations}, "spec": {"containers": [{"name": "app"}]}}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def convert(objects: list[dict[str, Any]], source: str, target: str) -> meshport.Result:
    return meshport.convert(meshport.load_objects(objects), source=source, target=target)


def notes(result: meshport.Result, name: str) -> dict[str, str]:
    """The annotations of the pods of a Deployment of the output."""
    found = [item.object for item in result.manifests if (item.object["kind"], item.object["metadata"]["name"]) == ("Deployment", name)]
    return dict(found[0]["spec"]["template"]["metadata"]["annotations"]) if found else {}


@pytest.mark.parametrize(
    ("source", "target", "given", "wanted"), [("istio", "linkerd", ISTIO, LINKERD), ("linkerd", "istio", LINKERD, ISTIO)]
)
def test_each_amount_has_its_key(source: str, target: str, given: dict[str, str], wanted: dict[str, str]) -> None:
    result = convert([namespace(source), deployment("cart", given)], source, target)
    assert notes(result, "cart") == wanted
    assert {finding.code for finding in result.findings} == {"MP101"}
    assert result.diff == []


def test_what_a_namespace_says_is_written_on_its_pods_unless_they_say_another() -> None:
    home = namespace("linkerd", **{"config.linkerd.io/proxy-memory-limit": "250Mi"})
    own = deployment("cart", {"config.linkerd.io/proxy-memory-limit": "1Gi"})
    result = convert([home, own, deployment("users", {})], "linkerd", "istio")
    assert notes(result, "cart")["sidecar.istio.io/proxyMemoryLimit"] == "1Gi"
    assert notes(result, "users")["sidecar.istio.io/proxyMemoryLimit"] == "250Mi"
    said = [finding for finding in result.findings if finding.code == "MP953"]
    assert [(finding.severity, finding.affects[0].namespace) for finding in said] == [("info", "shop")]
    assert "250Mi" in said[0].message
    assert "later ones do not get it" in said[0].message


def test_a_pod_without_a_proxy_gets_none_of_it() -> None:
    plain = deployment("plain", {"linkerd.io/inject": "disabled", "config.linkerd.io/proxy-cpu-request": "100m"})
    result = convert([namespace("linkerd", **{"config.linkerd.io/proxy-cpu-limit": "1"}), plain], "linkerd", "istio")
    assert not any(key.startswith("sidecar.istio.io/proxy") for key in notes(result, "plain"))
    line = next(line for line in result.ledger if "proxy-cpu-request" in line.path)
    assert line.reason == "stands in the changed object as it stood"


def test_ephemeral_storage_is_set_by_hand() -> None:
    result = convert(
        [namespace("linkerd"), deployment("cart", {"config.linkerd.io/proxy-ephemeral-storage-limit": "1Gi"})], "linkerd", "istio"
    )
    assert [(item.code, item.disposition) for item in result.findings if item.code != "MP101"] == [("MP953", "manual")]


@pytest.mark.parametrize(("source", "given"), [("istio", ISTIO), ("linkerd", LINKERD)])
def test_where_no_pod_has_a_proxy_of_its_own_they_decide_nothing(source: str, given: dict[str, str]) -> None:
    result = convert([namespace(source), deployment("cart", given)], source, "cilium")
    lines = [line for line in result.ledger if "proxy" in line.path]
    assert {line.disposition for line in lines} == {"irrelevant"}
    assert not any(finding.code == "MP900" for finding in result.findings)


BLOCK = "proxy.istio.io/config"


def test_how_a_proxy_starts_and_stops_goes_both_ways() -> None:
    block = "holdApplicationUntilProxyStarts: true\nterminationDrainDuration: 90s\n"
    there = convert([namespace("istio"), deployment("cart", {BLOCK: block})], "istio", "linkerd")
    wanted = {"config.linkerd.io/proxy-await": "enabled", "config.linkerd.io/shutdown-grace-period": "90s"}
    assert notes(there, "cart") == wanted
    assert {finding.code for finding in there.findings} == {"MP101"}
    assert there.diff == []
    back = convert([namespace("linkerd"), deployment("cart", wanted)], "linkerd", "istio")
    assert json.loads(notes(back, "cart")[BLOCK]) == {"holdApplicationUntilProxyStarts": True, "terminationDrainDuration": "90s"}
    assert {finding.code for finding in back.findings} == {"MP101"}


def test_times_are_written_as_istio_reads_them() -> None:
    result = convert([namespace("linkerd"), deployment("cart", {"config.linkerd.io/shutdown-grace-period": "2m"})], "linkerd", "istio")
    assert json.loads(notes(result, "cart")[BLOCK]) == {"terminationDrainDuration": "120s"}  # Protocol Buffers know no minutes


def test_of_a_block_what_has_no_key_is_named_alone() -> None:
    result = convert(
        [namespace("istio"), deployment("cart", {BLOCK: '{"concurrency": 2, "terminationDrainDuration": "45s"}'})], "istio", "linkerd"
    )
    assert notes(result, "cart")["config.linkerd.io/shutdown-grace-period"] == "45s"
    (said,) = [finding for finding in result.findings if finding.code == "MP953"]
    assert "concurrency: 2" in said.message
    assert "terminationDrainDuration" not in said.message


@pytest.mark.parametrize("block", ["{", "- a", "", "terminationDrainDuration: soon"])
def test_a_block_that_says_nothing_to_istio_is_left_to_the_reader(block: str) -> None:
    result = convert([namespace("istio"), deployment("cart", {BLOCK: block})], "istio", "linkerd")
    assert not any(key.startswith("config.linkerd.io") for key in notes(result, "cart"))
    assert [finding.code for finding in result.findings if finding.code != "MP101"] == ["MP953"]


def test_what_a_namespace_says_of_start_and_stop_is_written_on_its_pods() -> None:
    result = convert([namespace("linkerd", **{"config.linkerd.io/proxy-await": "disabled"}), deployment("cart", {})], "linkerd", "istio")
    assert json.loads(notes(result, "cart")[BLOCK]) == {"holdApplicationUntilProxyStarts": False}
    assert [finding.affects[0].namespace for finding in result.findings if finding.code == "MP953"] == ["shop"]
