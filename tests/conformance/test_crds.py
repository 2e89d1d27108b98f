"""Every manifest that is emitted passes the CRDs of the mesh that it is for: structure, unknown fields, CEL rules."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from judge.generate import random_istio_bundle, random_linkerd_bundle
from properties.changing import converted, sources

TOOLS = Path(__file__).parents[3] / "shared" / "tools"
pytestmark = pytest.mark.skipif(not (TOOLS / "crdcheck.py").is_file(), reason="no CRDs: ../shared is not there")
SOURCES = {source.name: source for source in sources()}
LINKERD = ("2.14", "2.16", "2.18", "2.20")
ISTIO = ("1.24", "1.26", "1.27", "1.31")
RELEASES = {"linkerd": LINKERD, "istio": ISTIO, "cilium": ("1.16", "1.18", "1.20"), "gateway-api": ("1.2", "1.6")}


@pytest.fixture(scope="module")
def checkers() -> Iterator[dict[str, Any]]:
    sys.path.insert(0, str(TOOLS))
    try:
        from crdcheck import Checker  # type: ignore[import-not-found]

        yield {release: Checker(istio=release) for release in ISTIO}
    finally:
        sys.path.remove(str(TOOLS))


def _problems(
    checkers: dict[str, Any], objects: list[dict[str, Any]], source: str, target: str = "", release: str | None = None
) -> list[str]:
    result = converted(objects, source, target, target_version=release)
    checker = checkers.get(release or "", checkers[ISTIO[-1]])
    return [
        f"{item.object['kind']} {item.object['metadata']['name']}: {problem}"
        for item in result.manifests
        for problem in checker.check(item.object)
    ]


@pytest.mark.parametrize("name", SOURCES)
def test_the_bundles_at_every_release(checkers: dict[str, Any], name: str) -> None:
    source = SOURCES[name]
    for release in RELEASES[source.target]:
        assert (release, _problems(checkers, source.objects, source.mesh, source.target, release)) == (release, [])


@pytest.mark.parametrize("seed", range(60))
def test_random_linkerd_bundles(checkers: dict[str, Any], seed: int) -> None:
    assert _problems(checkers, random_linkerd_bundle(seed), "linkerd") == []


@pytest.mark.parametrize("seed", range(36))
def test_random_istio_bundles(checkers: dict[str, Any], seed: int) -> None:
    assert _problems(checkers, random_istio_bundle(seed), "istio") == []
