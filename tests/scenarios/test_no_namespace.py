"""Objects that name no namespace are read, written and judged as those of the namespace that `kubectl apply` would put them into."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

import meshport

BUNDLES = Path(__file__).parents[1] / "properties" / "bundles"
HOME = "shop"


def converted(objects: list[dict[str, Any]], source: str, target: str, data_plane: str | None) -> tuple[list[Any], list[Any]]:
    """What comes out, with the namespace that is meant."""
    result = meshport.convert(
        meshport.load_objects(objects), source=source, target=target, data_plane=data_plane, default_namespace=HOME, verify=True
    )
    found = [copy.deepcopy(item.object) for item in result.manifests]
    for item in found:
        item["metadata"].setdefault("namespace", HOME)
    said = sorted((item.code, item.message, item.disposition or "") for item in result.findings if item.code != "MP017")
    return sorted(found, key=str), said


@pytest.mark.parametrize("bundle", ["istio-access", "istio-strict", "linkerd-access", "cilium-access"])
@pytest.mark.parametrize(("target", "data_plane"), [("istio", "ambient"), ("linkerd", None), ("cilium", None)])
def test_the_namespace_of_the_context_is_as_good_as_a_named_one(bundle: str, target: str, data_plane: str | None) -> None:
    source = bundle.split("-")[0]
    named = [document.value for document in meshport.load(str(BUNDLES / f"{bundle}.yaml")).documents]
    unnamed = copy.deepcopy(named)
    for item in unnamed:
        if item["metadata"].get("namespace") == HOME:
            del item["metadata"]["namespace"]
    assert unnamed != named
    one, other = converted(named, source, target, data_plane), converted(unnamed, source, target, data_plane)
    assert other == one


def test_a_policy_without_a_namespace_at_a_waypoint_is_no_widening() -> None:
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": {"istio-injection": "enabled"}}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cart"}, "spec": {"selector": {"app": "cart"}, "ports": [{"name": "http", "port": 80}]}},
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "cart"},
            "spec": {
                "selector": {"matchLabels": {"app": "cart"}},
                "template": {
                    "metadata": {"labels": {"app": "cart"}},
                    "spec": {"serviceAccountName": "cart", "containers": [{"name": "app", "ports": [{"containerPort": 80}]}]},
                },
            },
        },
        {
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "read"},
            "spec": {"selector": {"matchLabels": {"app": "cart"}}, "rules": [{"to": [{"operation": {"methods": ["GET"]}}]}]},
        },
    ]  # fmt: skip
    result = meshport.convert(meshport.load_objects(objects), source="istio", target="istio", data_plane="ambient")
    assert not {"MP900", "MP904"} & {item.code for item in result.findings}
    assert [item.object["metadata"].get("namespace") for item in result.manifests if item.object["metadata"]["name"] == "read"] == [None]
