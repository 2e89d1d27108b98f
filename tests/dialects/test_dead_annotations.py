"""What the mesh that is left said to its proxies in annotations goes with it, where the object is written anyway."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from meshport import convert, load_text

SOURCES = {
    "istio": (
        {
            "traffic.sidecar.istio.io/excludeOutboundPorts": "9042",
            "sidecar.istio.io/logLevel": "debug",
            "sidecar.istio.io/proxyCPU": "100m",
        },
        {"labels": {"istio-injection": "enabled"}},
        {"sidecar.istio.io/inject": "false"},
    ),
    "linkerd": (
        {
            "config.linkerd.io/skip-outbound-ports": "9042",
            "config.linkerd.io/proxy-log-level": "info",
            "config.linkerd.io/proxy-uid": "2102",
        },
        {"annotations": {"linkerd.io/inject": "enabled", "config.linkerd.io/opaque-ports": "6379"}},
        {"linkerd.io/inject": "disabled"},
    ),
}
OTHERS = {"prometheus.io/scrape": "true", "example.com/team": "shop", "app.linkerd.example.com/tier": "1"}


def pods(name: str, notes: dict[str, str]) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}, "annotations": notes}, "spec": {"containers": [{"name": "main", "image": "main:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
    }


def written(source: str, target: str, *objects: dict[str, Any]) -> dict[str, dict[str, Any]]:
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", **SOURCES[source][1]}}
    result = convert(load_text(yaml.safe_dump_all([home, *objects])), source=source, target=target)
    return {f"{item.object['kind']}/{item.object['metadata']['name']}": item.object for item in result.manifests}


@pytest.mark.parametrize(("source", "target"), [("istio", "linkerd"), ("linkerd", "istio")])
def test_annotations_of_the_source_go_and_those_of_others_stay(source: str, target: str) -> None:
    found = written(source, target, pods("web", {**SOURCES[source][0], **OTHERS}))
    notes = found["Deployment/web"]["spec"]["template"]["metadata"]["annotations"]
    assert {key: value for key, value in notes.items() if key in OTHERS} == OTHERS
    assert not [key for key in notes if key not in OTHERS and f"{source}.io" in key.partition("/")[0]]
    assert "9042" in notes.values()  # which the target's own says now
    home = found["Namespace/shop"]["metadata"]
    assert f"{source}.io" not in str(home)


@pytest.mark.parametrize("source", SOURCES)
def test_towards_cilium_pods_are_not_restarted_for_dead_annotations(source: str) -> None:
    assert "Deployment/web" not in written(source, "cilium", pods("web", SOURCES[source][0]))


@pytest.mark.parametrize(("source", "target"), [("istio", "linkerd"), ("linkerd", "istio")])
def test_pods_without_a_proxy_keep_what_they_have(source: str, target: str) -> None:
    said = {key: value for key, value in SOURCES[source][0].items() if "proxy" in key}
    found = written(source, target, pods("web", {**said, **SOURCES[source][2]}))
    notes = found["Deployment/web"]["spec"]["template"]["metadata"]["annotations"]
    assert said.items() <= notes.items()


def test_labels_stay_as_selectors_may_ask_for_them() -> None:
    web = pods("web", SOURCES["istio"][0])
    web["spec"]["template"]["metadata"]["labels"]["service.istio.io/canonical-name"] = "web"
    template = written("istio", "linkerd", web)["Deployment/web"]["spec"]["template"]
    assert template["metadata"]["labels"]["service.istio.io/canonical-name"] == "web"


@pytest.mark.parametrize(
    ("source", "target", "key", "value", "code"),
    [
        ("istio", "linkerd", "sidecar.istio.io/inject", "enabled", "MP961"),  # the injector takes true and false
        ("linkerd", "istio", "config.linkerd.io/shutdown-grace-period", "30", "MP961"),  # a time has a unit
    ],
)
def test_a_value_that_the_mesh_does_not_read_is_named(source: str, target: str, key: str, value: str, code: str) -> None:
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", **SOURCES[source][1]}}
    result = convert(load_text(yaml.safe_dump_all([home, pods("web", {**SOURCES[source][0], key: value})])), source=source, target=target)
    (found,) = [finding for finding in result.findings if key in finding.message]
    assert found.code == code


def test_opaque_ports_of_a_namespace_without_pods_are_named() -> None:
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", **SOURCES["linkerd"][1]}}
    result = convert(load_text(yaml.safe_dump(home)), source="linkerd", target="istio")
    assert "opaque-ports 6379 is for pods that the input does not show" in next(x.message for x in result.findings if x.code == "MP963")
