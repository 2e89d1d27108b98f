"""What is written has no mistakes that `meshport lint` finds, unless the input had them: the cluster after the conversion, read as the target reads it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import yaml
from judge import generate, generate_cilium

import meshport

from .common import CORPUS, ROOT, converted, corpus

BUNDLES = sorted((ROOT / "tests" / "properties" / "bundles").glob("*.yaml"))
CASES = sorted(path.parent for path in CORPUS.glob("*/expected-*/convert.yaml"))
TARGETS = ("istio", "linkerd", "cilium", "gateway-api")

SAME = {
    "MP073": {"MP014", "MP307", "MP207"}, "MP074": {"MP305", "MP286"}, "MP075": {"MP304"}, "MP079": {"MP207", "MP198", "MP164"}, "MP076": {"MP311"},
    "MP307": {"MP073"}, "MP014": {"MP073"}, "MP094": {"MP068"},
}  # fmt: skip
"""What the target's words call a mistake that the source's words call otherwise."""


MEANT = {"MP049", "MP078", "MP094"}
"""What the source does too and no lint of its own calls a mistake: workloads that nobody may reach, rules behind one that takes everything (the rest of a
profile, the loser of a tie), and grants that add up."""


def mistakes(objects: list[dict[str, Any]], mesh: str, **options: Any) -> list[tuple[str, str]]:
    """Code and message of each error and warning."""
    found = meshport.lint(meshport.load_objects(objects), source=mesh, **options)
    return [(item.code, item.message) for item in found if item.severity != "info"]


def new_mistakes(bundle: list[dict[str, Any]], source: str, target: str, **options: Any) -> list[tuple[str, str]]:
    """The mistakes of what was written, over what stays of the input, that neither the input has nor a finding of the conversion names."""
    result = converted(bundle, source, target, verify=False, **options)
    gone = {(item["apiVersion"], item["kind"], item["namespace"], item["name"]) for item in result.removals}
    changed = {item.source for item in result.manifests if item.source is not None}
    stays = [
        document.value
        for number, document in enumerate(result.known.documents)
        if number not in changed and (document.api_version, document.kind, document.namespace, document.name) not in gone
    ]
    made = [item.object for item in result.manifests]
    anew = {_key(item) for item in made}
    stays = [item for item in stays if _key(item) not in anew]
    before = Counter(code for code, _ in mistakes(bundle, source))
    before.update(code for code, _ in mistakes(stays, target))
    said = {item.code for item in result.findings}
    allowed = set(before) | said | {code for code, others in SAME.items() if others & (set(before) | said)}
    # Istio says each value of a list by a policy of its own, also one that no known pod has, and a clusterwide policy in each namespace, for pods to come
    spread = {f"={value})" for value in _listed(bundle)} | {f"/{name}: " for name in _clusterwide(bundle)}
    return [
        item
        for item in mistakes([*stays, *made], target)
        if item[0] not in allowed | MEANT
        and "-refused;" not in item[1]
        and not (item[0] == "MP079" and any(one in item[1] for one in spread))
    ]


def _listed(place: Any) -> set[str]:
    """The values that selectors of a bundle list among others."""
    if isinstance(place, list):
        return set().union(*map(_listed, place))
    if not isinstance(place, dict):
        return set()
    own = place.get("values") if place.get("operator") == "In" else None
    return set(own if isinstance(own, list) and len(own) > 1 else ()).union(*map(_listed, place.values()))


def _clusterwide(bundle: list[dict[str, Any]]) -> set[str]:
    return {item["metadata"]["name"] for item in bundle if item["kind"] == "CiliumClusterwideNetworkPolicy"}


def _key(item: dict[str, Any]) -> tuple[str, str, str, str]:
    metadata = item["metadata"]
    return item["apiVersion"].rpartition("/")[0], item["kind"], metadata.get("namespace") or "", metadata["name"]


@pytest.mark.parametrize("folder", CASES, ids=[f"{path.parent.name}-{path.name}" for path in CASES])
def test_the_corpus(folder: Any) -> None:
    case = yaml.safe_load((folder / "convert.yaml").read_text(encoding="utf-8"))
    bundle = corpus(f"{folder.parent.name}/{case['input']}")
    assert new_mistakes(bundle, case["from"], case["to"], **case.get("options", {})) == []


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("path", BUNDLES, ids=[path.stem for path in BUNDLES])
def test_the_bundles_of_properties(path: Any, target: str) -> None:
    source = next(mesh for mesh in ("gateway-api", "istio", "linkerd", "cilium", "smi") if path.stem.startswith(mesh))
    bundle = [item for item in yaml.safe_load_all(path.read_text(encoding="utf-8")) if item]
    if source != "smi" or target != "gateway-api":
        assert new_mistakes(bundle, source, target) == []


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    ("source", "target"),
    [("istio", "linkerd"), ("istio", "cilium"), ("linkerd", "istio"), ("linkerd", "cilium"), ("cilium", "istio"), ("cilium", "linkerd")],
)
def test_random_bundles(source: str, target: str, seed: int) -> None:
    make = {
        "istio": generate.random_istio_bundle, "linkerd": generate.random_linkerd_bundle, "cilium": generate_cilium.random_cilium_bundle,
    }  # fmt: skip
    assert new_mistakes(make[source](seed), source, target) == []
