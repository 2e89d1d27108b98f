"""Every CiliumEnvoyConfig and EnvoyFilter that conversions write is taken by Envoy's own validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from judge import generate_routes

import meshport

from . import settings
from .completed import bootstrap
from .proxy import Obj, complaint, needs_envoy

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = sorted((ROOT / "tests" / "properties" / "bundles").glob("*.yaml"))
CASES = sorted(ROOT.glob("corpus/*/expected-*/convert.yaml"))
OURS = ("CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig", "EnvoyFilter")
MESHES = ("gateway-api", "istio", "linkerd", "cilium", "smi")


def of_properties(target: str) -> Iterator[list[Obj]]:
    """The bundles in which each leaf is changed in turn."""
    for path in BUNDLES:
        source = next(mesh for mesh in MESHES if path.stem.startswith(mesh))
        yield written(meshport.load(str(path)), source, target)


def of_random(target: str) -> Iterator[list[Obj]]:
    """Random pools, breakers, balancing and rate limits, and routes with breakers."""
    for seed in range(40):
        yield written(meshport.load_objects(settings.istio(seed)), "istio", target)
        yield written(meshport.load_objects(settings.linkerd(seed)), "linkerd", target)
    for seed in range(4):
        for source in ("istio", "linkerd"):
            for api in ("native", "gateway-api"):
                yield written(meshport.load_objects(generate_routes.MAKE[source](seed)), source, target, routes=api)


def of_corpus(target: str) -> Iterator[list[Obj]]:
    """The scenarios as they are reviewed."""
    for path in CASES:
        case = yaml.safe_load(path.read_text(encoding="utf-8"))
        if case["to"] == target:
            bundle = meshport.load(str(path.parents[1] / case["input"]))
            yield written(bundle, case["from"], target, **case.get("options", {}))


def written(bundle: meshport.Bundle, source: str, target: str, **options: object) -> list[Obj]:
    result = meshport.convert(bundle, source=source, target=target, verify=False, **options)  # type: ignore[arg-type]
    return [item.object for item in result.manifests if item.object["kind"] in OURS]


@needs_envoy
@pytest.mark.parametrize(
    ("bundles", "target", "least"),
    [
        (of_corpus, "cilium", 1),
        (of_properties, "cilium", 5),
        (of_properties, "istio", 2),
        (of_random, "cilium", 40),
        (of_random, "istio", 20),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_envoy_takes_what_is_written(bundles: Callable[[str], Iterator[list[Obj]]], target: str, least: int, tmp_path: Path) -> None:
    objects = [obj for found in bundles(target) for obj in found]
    assert len(objects) >= least
    if complaint(bootstrap(objects), tmp_path):
        for obj in objects:  # which one it is
            said = complaint(bootstrap([obj]), tmp_path)
            assert said == "", f"{obj['kind']} {obj['metadata']['name']}: {said}"
        raise AssertionError("each of them is valid, and all together are not")


@needs_envoy
def test_envoy_refuses_what_is_not_valid(tmp_path: Path) -> None:
    """The validation itself is held to something."""
    objects = written(meshport.load_objects(settings.istio(0)), "istio", "cilium")
    next(item for obj in objects for item in obj["spec"]["resources"] if item["@type"].endswith("Cluster"))["connect_timeout"] = "-1s"
    assert "duration" in complaint(bootstrap(objects), tmp_path).lower()
