"""Access logs: Telemetry in Istio, an annotation of namespaces and pods in Linkerd; and proxies that start as native sidecars."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

LOG = "config.linkerd.io/access-log"


def namespace(name: str, mesh: str, **annotations: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if mesh == "istio":
        metadata["labels"] = {"istio-injection": "enabled"}
    else:
        metadata["annotations"] = {"linkerd.io/inject": "enabled", **annotations}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def deployment(name: str, home: str = "shop", annotations: dict[str, str] | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"labels": {"app": name}, **({"annotations": annotations} if annotations else {})}
    template = {"metadata": metadata, "spec": {"containers": [{"name": "app"}]}}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": home}, "spec": spec}


def telemetry(home: str, app: str | None = None, **entry: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {"accessLogging": [entry]}
    if app is not None:
        spec["selector"] = {"matchLabels": {"app": app}}
    return {"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry", "metadata": {"name": app or "all", "namespace": home}, "spec": spec}


def convert(source: str, target: str, *objects: dict[str, Any], **choices: Any) -> meshport.Result:
    return meshport.convert(meshport.load_objects(list(objects)), source=source, target=target, **choices)


def notes(result: meshport.Result, kind: str, name: str) -> dict[str, str]:
    for item in result.manifests:
        if (item.object["kind"], item.object["metadata"]["name"]) == (kind, name):
            place = item.object["spec"]["template"] if kind == "Deployment" else item.object
            return dict(place["metadata"].get("annotations") or {})
    return {}


def codes(result: meshport.Result) -> set[str]:
    return {finding.code for finding in result.findings}


ENVOY = {"providers": [{"name": "envoy"}]}


def test_the_log_of_a_namespace_is_its_annotation() -> None:
    result = convert("istio", "linkerd", namespace("shop", "istio"), deployment("cart"), telemetry("shop", **ENVOY))
    assert notes(result, "Namespace", "shop")[LOG] == "apache"
    assert notes(result, "Deployment", "cart") == {}
    assert result.diff == []
    assert not codes(result) & {"MP900", "MP901", "MP902"}


def test_where_one_pod_is_silent_the_others_say_it_themselves() -> None:
    world = (namespace("shop", "istio"), deployment("cart"), deployment("quiet"))
    result = convert("istio", "linkerd", *world, telemetry("shop", **ENVOY), telemetry("shop", "quiet", disabled=True))
    assert LOG not in notes(result, "Namespace", "shop")
    assert notes(result, "Deployment", "cart") == {LOG: "apache"}
    assert notes(result, "Deployment", "quiet") == {}
    assert result.diff == []


def test_the_log_of_the_mesh_is_said_to_reach_what_is_known() -> None:
    result = convert("istio", "linkerd", namespace("shop", "istio"), deployment("cart"), telemetry("istio-system", **ENVOY))
    assert notes(result, "Namespace", "shop")[LOG] == "apache"
    assert "MP855" in codes(result)


@pytest.mark.parametrize(("form", "encoding"), [("json", "JSON"), ("apache", "TEXT")])
def test_an_annotation_is_a_telemetry_and_its_form_a_setting_of_istiod(form: str, encoding: str) -> None:
    result = convert("linkerd", "istio", namespace("shop", "linkerd", **{LOG: form}), deployment("cart"))
    (found,) = [item.object for item in result.manifests if item.object["kind"] == "Telemetry"]
    assert found["spec"] == {"accessLogging": [ENVOY]}
    assert result.install["helm_values"]["istiod"]["meshConfig"]["accessLogEncoding"] == encoding
    assert result.diff == []


def test_a_pod_gets_a_telemetry_of_its_own() -> None:
    result = convert("linkerd", "istio", namespace("shop", "linkerd"), deployment("cart", annotations={LOG: "json"}))
    (found,) = [item.object for item in result.manifests if item.object["kind"] == "Telemetry"]
    assert found["spec"]["selector"] == {"matchLabels": {"app": "cart"}}


def test_a_filter_is_lost_and_the_log_is_not() -> None:
    entry = telemetry("shop", filter={"expression": "response.code >= 500"}, **ENVOY)
    result = convert("istio", "linkerd", namespace("shop", "istio"), deployment("cart"), entry)
    assert notes(result, "Namespace", "shop")[LOG] == "apache"
    assert any("response.code >= 500" in finding.message for finding in result.findings if finding.code == "MP851")


@pytest.mark.parametrize(
    ("release", "key"),
    [
        ("2.20", "config.linkerd.io/proxy-enable-native-sidecar"),
        ("2.19", "config.beta.linkerd.io/proxy-enable-native-sidecar"),
        ("2.16", "config.alpha.linkerd.io/proxy-enable-native-sidecar"),
    ],
)
def test_native_sidecars_have_a_key_by_release(release: str, key: str) -> None:
    world = (namespace("shop", "istio"), deployment("cart", annotations={"sidecar.istio.io/nativeSidecar": "true"}))
    result = convert("istio", "linkerd", *world, target_version=release)
    assert notes(result, "Deployment", "cart") == {key: "true"}


@pytest.mark.parametrize("release", ["1.24", "1.26", "1.27"])
def test_istio_reads_its_key_for_native_sidecars_in_every_release(release: str) -> None:
    """It came with 1.24 (istio.io/latest/news/releases/1.24.x, change notes); from 1.27 on proxies start so by themselves."""
    world = (namespace("shop", "linkerd"), deployment("cart", annotations={"config.linkerd.io/proxy-enable-native-sidecar": "true"}))
    result = convert("linkerd", "istio", *world, target_version=release)
    assert notes(result, "Deployment", "cart") == {"sidecar.istio.io/nativeSidecar": "true"}
    mine = (namespace("shop", "istio"), deployment("cart", annotations={"sidecar.istio.io/nativeSidecar": "true"}))
    kept = convert("istio", "linkerd", *mine, source_version=release)
    assert notes(kept, "Deployment", "cart") == {"config.linkerd.io/proxy-enable-native-sidecar": "true"}
    assert not [finding.code for finding in (*result.findings, *kept.findings) if finding.code in ("MP021", "MP022", "MP238", "MP957")]


def test_native_sidecars_of_a_namespace_are_those_of_its_pods() -> None:
    home = namespace("shop", "linkerd", **{"config.linkerd.io/proxy-enable-native-sidecar": "true"})
    result = convert("linkerd", "istio", home, deployment("cart"))
    assert notes(result, "Deployment", "cart") == {"sidecar.istio.io/nativeSidecar": "true"}
