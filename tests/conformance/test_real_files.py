"""Files of real projects go through both ways: no crash, no defect of meshport, every leaf accounted for."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshport import pipeline
from meshport.documents import load
from meshport.errors import MeshportError
from meshport.mapping.table import builtin
from meshport.options import resolve

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
MESHES = ("istio", "linkerd", "smi", "gateway-api")
DEFECTS = ("MP900", "MP901", "MP904")
EACH = 3  # every third file: all of them take a minute


def _files() -> list[Path]:
    found = [path for mesh in MESHES if (CORPUS / mesh).is_dir() for path in sorted((CORPUS / mesh).rglob("*")) if path.is_file()]
    return found[::EACH]


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no real files: ../shared is not there")
@pytest.mark.parametrize(("source", "target"), [("istio", "linkerd"), ("linkerd", "istio")])
def test_real_files(source: str, target: str) -> None:
    table = builtin()
    problems = []
    for path in _files():
        try:
            bundle = load(str(path))
            result = pipeline.convert(bundle, table, resolve(bundle, table, source=source, target=target))
        except MeshportError:
            continue  # unusable input, said as such
        result.text()
        counts = result.ledger.counts
        assert counts["leaves"] == sum(count for word, count in counts.items() if word != "leaves")
        defects = sorted({f"{item.code} {item.message}" for item in result.findings if item.code in DEFECTS})
        if defects or counts["unaccounted"]:
            problems.append((str(path.relative_to(CORPUS)), defects, counts["unaccounted"]))
    assert problems == []
