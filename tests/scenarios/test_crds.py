"""Every object that is written passes the CRDs of the meshes: structure, unknown fields and their CEL rules."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from judge import generate
from sampling import some

from .common import CORPUS, ROOT, SHARED, Obj, accounted, converted, corpus, documents
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


CASES = sorted(path.parent for path in CORPUS.glob("*/expected-*/convert.yaml"))
OF_OTHERS = ("flagger.app", "argoproj.io", "monitoring.coreos.com")
"""Groups of assets that ask a mesh's metrics: no schema of theirs is at hand."""
RELEASES = {"istio": ["1.26", "1.31"], "linkerd": ["2.16", "2.20"], "cilium": ["1.16", "1.20"], "gateway-api": ["1.3", "1.6"]}


@lru_cache(maxsize=8)
def checker_of(target: str, release: str) -> Any:
    """The schemas of one release; those of meshes that publish none for it are the nearest that there are."""
    module = checker.__wrapped__().__class__
    if target == "cilium":
        return module(cilium={"1.16": "1.16.0"}.get(release, release))
    return module(istio=release) if target == "istio" else module()


@pytest.mark.parametrize("folder", some(CASES, 3), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_the_corpus_at_several_releases(folder: Path) -> None:
    case = yaml.safe_load((folder / "convert.yaml").read_text(encoding="utf-8"))
    bundle, options = corpus(f"{folder.parent.name}/{case['input']}"), case.get("options", {})
    for release in RELEASES[case["to"]]:
        result = converted(bundle, case["from"], case["to"], verify=False, **{**options, "target_version": release})
        wrong = [
            f"{release} {item.object['kind']}/{item.object['metadata']['name']}: {where}: {message}"
            for item in result.manifests
            for where, message in checker_of(case["to"], release).check(item.object)
            if item.object["apiVersion"].partition("/")[0] not in OF_OTHERS
            and (release, item.object["kind"])
            != ("1.16", "CiliumEnvoyConfig")  # its schema there is of an earlier release, without `ports`
        ]
        assert wrong + accounted(result) == []


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
