"""Random bundles onto the ambient data plane: nothing is let in that was not, what is written reads back as meant, and passes the CRDs."""

from __future__ import annotations

import pytest
from judge import generate

import meshport

from .test_crds import TOOL, violations


@pytest.mark.parametrize("seed", [0, 1, 5, 10, 21, 25, 31, 39, 60, 82])
@pytest.mark.parametrize("source", ["istio", "linkerd"])
def test_random_bundles_to_ambient(source: str, seed: int) -> None:
    make = generate.random_istio_bundle if source == "istio" else generate.random_linkerd_bundle
    result = meshport.convert(meshport.load_objects(make(seed)), source=source, target="istio", data_plane="ambient")
    assert [finding.message for finding in result.findings if finding.code in ("MP900", "MP901", "MP902", "MP904")] == []


@pytest.mark.skipif(not TOOL.is_file(), reason=f"needs the CRD checker at {TOOL}, which is absent")
@pytest.mark.parametrize("source", ["istio", "linkerd"])
def test_what_is_written_passes_the_crds(source: str) -> None:
    make = generate.random_istio_bundle if source == "istio" else generate.random_linkerd_bundle
    assert violations(make(1), source, "istio", data_plane="ambient") == []
