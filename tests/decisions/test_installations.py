"""Settings of the installation: where they are read (values, an IstioOperator, ConfigMaps, scripts), and where they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import meshport

from .decision_helper import namespace, shop, workload
from .showing import objects

REGISTRY_ONLY = {
    "values": "meshConfig: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\npilot: {traceSampling: 1}\n",
    "IstioOperator": """
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: mesh, namespace: istio-system}
spec: {profile: default, meshConfig: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}}
""",
    "ConfigMap": """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |-
    outboundTrafficPolicy: {mode: REGISTRY_ONLY}
""",
}
SCRIPTS = {
    "istioctl": "istioctl install -y --set profile=default \\\n  --set meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY\n",
    "helm": "helm repo add istio https://example.com\nhelm upgrade --install istiod istio/istiod -n istio-system --set meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY\n",
}


def converted(
    folder: Path, source: str, target: str, world: str, *, settings: str = "", script: str = "", **choices: Any
) -> meshport.Result:
    (folder / "world.yaml").write_text(world, encoding="utf-8")
    if settings:
        (folder / "settings.yaml").write_text(settings, encoding="utf-8")
    if script:
        (folder / "install.sh").write_text(script, encoding="utf-8")
    result = meshport.convert(meshport.load(str(folder)), source=source, target=target, **choices)
    assert {item.code for item in result.findings} & {"MP900", "MP901", "MP902", "MP904"} == set()
    return result


@pytest.mark.parametrize("place", [*REGISTRY_ONLY, *SCRIPTS])
def test_istios_mesh_configuration_is_read_wherever_it_is_kept(tmp_path: Path, place: str) -> None:
    result = converted(tmp_path, "istio", "linkerd", shop("istio"), settings=REGISTRY_ONLY.get(place, ""), script=SCRIPTS.get(place, ""))
    assert objects(result)["EgressNetwork/egress"]["spec"] == {"trafficPolicy": "Deny"}


@pytest.mark.parametrize(
    "script",
    [
        "linkerd install --set proxy.defaultInboundPolicy=all-authenticated | kubectl apply -f -\n",
        "linkerd install --crds | kubectl apply -f -\nlinkerd install --default-inbound-policy all-authenticated | kubectl apply -f -\n",
        "helm install linkerd-control-plane linkerd/linkerd-control-plane -n linkerd --set proxy.defaultInboundPolicy=all-authenticated\n",
    ],
)
def test_linkerds_default_policy_is_strict_in_istio(tmp_path: Path, script: str) -> None:
    result = converted(tmp_path, "linkerd", "istio", shop("linkerd"), script=script)
    assert [item["spec"] for item in objects(result).values() if item["kind"] == "PeerAuthentication"] == [{"mtls": {"mode": "STRICT"}}]


def test_an_annotation_by_a_command_stands_above_the_default_of_the_installation(tmp_path: Path) -> None:
    script = "linkerd install --set proxy.defaultInboundPolicy=all-authenticated\nkubectl annotate ns shop config.linkerd.io/default-inbound-policy=all-unauthenticated\n"
    result = converted(tmp_path, "linkerd", "istio", shop("linkerd"), script=script)
    assert not [name for name in objects(result) if name.startswith("AuthorizationPolicy")]


@pytest.mark.parametrize(
    "script",
    [
        "cilium install --version 1.18.0 --set policyEnforcementMode=always\ncilium status --wait\n",
        "helm upgrade --install cilium cilium/cilium --namespace kube-system --set policyEnforcementMode=always\n",
    ],
)
def test_ciliums_enforcement_closes_every_pod(tmp_path: Path, script: str) -> None:
    result = converted(tmp_path, "cilium", "istio", shop("cilium"), script=script)
    assert [item["spec"] for item in objects(result).values() if item["kind"] == "AuthorizationPolicy"] == [{}]


@pytest.mark.parametrize(
    "command",
    [
        "kubectl label namespace shop istio-injection=enabled --overwrite",
        "kubectl label ns/shop istio-injection=enabled",
        "kubectl -n x label ns shop istio-injection=enabled",
    ],
)
def test_a_label_that_a_command_sets_enrols_the_namespace(tmp_path: Path, command: str) -> None:
    world = namespace(mesh="cilium") + workload()
    result = converted(tmp_path, "istio", "linkerd", world, script=f"set -e\n{command}\necho done\n")
    assert objects(result)["Namespace/shop"]["metadata"]["annotations"] == {"linkerd.io/inject": "enabled"}


def test_other_lines_are_left_alone(tmp_path: Path) -> None:
    script = "for n in a b; do\n  echo $n | tr a b\ndone\ncurl -sL https://example.com | sh\nkubectl apply -f . ; kubectl get pods -w\n"
    result = converted(tmp_path, "istio", "linkerd", shop("istio"), script=script)
    assert [item.code for item in result.findings if item.severity != "info"] == []


STRICT = """---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
"""


@pytest.mark.parametrize(
    ("source", "target", "chart", "expected"),
    [
        ("istio", "linkerd", "linkerd-control-plane", "{proxy: {defaultInboundPolicy: all-authenticated}}"),
        ("istio", "cilium", "cilium", "{encryption: {enabled: true, type: wireguard}}"),
        ("linkerd", "istio", "istiod", "{meshConfig: {defaultHttpRetryPolicy: {attempts: 0}}}"),
    ],
)
def test_values_of_the_targets_chart_are_written(tmp_path: Path, source: str, target: str, chart: str, expected: str) -> None:
    result = converted(tmp_path, source, target, shop(source) + (STRICT if source == "istio" else ""))
    assert result.install["helm_values"] == {chart: yaml.safe_load(expected)}
    out = tmp_path / "out"
    result.write(str(out))
    (written,) = (out / "install").glob(f"{chart}*.yaml")
    assert yaml.safe_load(written.read_text(encoding="utf-8")) == yaml.safe_load(expected)


def test_that_istio_retries_nothing_needs_no_word_towards_a_mesh_that_does_not_either(tmp_path: Path) -> None:
    settings = "meshConfig: {defaultHttpRetryPolicy: {attempts: 0}}\npilot: {traceSampling: 1}\n"
    result = converted(tmp_path, "istio", "linkerd", shop("istio"), settings=settings)
    assert "MP450" not in {item.code for item in result.findings}
