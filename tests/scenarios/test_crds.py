"""Every object that is written passes the CRDs of the meshes: structure, unknown fields and their CEL rules."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from typing import Any

import pytest
from judge import generate

from .common import ROOT, SHARED, Obj, converted, corpus, documents
from .test_worked_examples import BUNDLES, bundle_of

TOOL = SHARED / "tools" / "crdcheck.py"

pytestmark = pytest.mark.skipif(not TOOL.is_file(), reason=f"needs the CRD checker at {TOOL}, which is absent")


@lru_cache(maxsize=1)
def checker() -> Any:
    spec = importlib.util.spec_from_file_location("crdcheck", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Checker(istio="1.27", gateway="experimental")


def violations(bundle: list[Obj], source: str, target: str, **options: Any) -> list[str]:
    result = converted(bundle, source, target, verify=False, **options)
    return [
        f"{item.object['kind']}/{item.object['metadata']['name']}: {where}: {message}"
        for item in result.manifests
        for where, message in checker().check(item.object)
    ]


@BUNDLES
def test_scenarios(name: str) -> None:
    assert violations(*bundle_of(name)) == []


@pytest.mark.parametrize(
    ("folder", "source", "target"),
    [("ecommerce/istio-as-published", "istio", "linkerd"), ("saas-api/linkerd-as-published", "linkerd", "istio")],
)
def test_as_published(folder: str, source: str, target: str) -> None:
    assert violations(corpus(folder), source, target) == []


@pytest.mark.parametrize(("source", "target"), [("istio", "linkerd"), ("linkerd", "istio"), ("istio", "cilium"), ("linkerd", "cilium")])
def test_ways_out_of_the_cluster(source: str, target: str) -> None:
    text = (ROOT / "tests" / "properties" / "bundles" / f"{source}-egress.yaml").read_text(encoding="utf-8")
    assert violations(documents(text), source, target) == []


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_several_clusters(target: str) -> None:
    assert violations(corpus("hybrid-cloud/istio"), "istio", target) == []


@pytest.mark.parametrize(("folder", "source"), [("ecommerce/istio", "istio"), ("saas-api/linkerd", "linkerd")])
@pytest.mark.parametrize("version", ["1.1", "1.3", "1.4", "1.6"])
def test_the_gateway_api(folder: str, source: str, version: str) -> None:
    assert violations(corpus(folder), source, "gateway-api", target_version=version) == []


@pytest.mark.parametrize("version", ["2.14", "2.16", "2.19"])
def test_older_linkerds(version: str) -> None:
    assert violations(corpus("ecommerce/istio"), "istio", "linkerd", target_version=version) == []


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("source", "target"), [("istio", "linkerd"), ("linkerd", "istio")], ids=["istio", "linkerd"])
def test_random_bundles(source: str, target: str, seed: int) -> None:
    make = generate.random_istio_bundle if source == "istio" else generate.random_linkerd_bundle
    assert violations(make(seed), source, target) == []
