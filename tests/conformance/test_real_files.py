"""Files of real projects, each read as every mesh and written for every mesh: no crash, nothing slow, every leaf accounted for, output that the CRDs take."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshport import pipeline
from meshport.documents import Bundle, load
from meshport.errors import MeshportError
from meshport.mapping.table import builtin
from meshport.options import resolve

SHARED = Path(__file__).parents[3] / "shared"
CORPUS = SHARED / "corpus"
SOURCES = ("istio", "linkerd", "cilium", "gateway-api", "smi")
TARGETS = ("istio", "linkerd", "cilium", "gateway-api", "ambient")
OLD = {"istio": "1.24", "linkerd": "2.14", "cilium": "1.16", "gateway-api": "1.0", "ambient": "1.24"}
DEFECTS = ("MP900", "MP901", "MP904")
OFTEN = {("istio", "linkerd"): 6, ("linkerd", "istio"): 6}
WHOLE = bool(os.environ.get("REAL_FILES"))  # every file by every way takes a quarter of an hour
SLOW = 10.0  # seconds, on a machine that does other things too

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="no real files: ../shared is not there")


def _files() -> list[Path]:
    return sorted(path for path in CORPUS.rglob("*") if path.is_file() and path.suffix != ".tsv") if CORPUS.is_dir() else []


@pytest.fixture(scope="module")
def checkers() -> Iterator[dict[tuple[str, bool], Any]]:
    """The schemas of each target, by whether the release is an old one; of Linkerd and the Gateway API there is one set."""
    sys.path.insert(0, str(SHARED / "tools"))
    try:
        from crdcheck import Checker  # type: ignore[import-not-found]

        newest, both = Checker(istio="1.31", gateway="experimental"), Checker(gateway="experimental")
        older = Checker(istio="1.24", gateway="experimental")
        cilium = {old: Checker(cilium="1.16.0" if old else "1.20", gateway="experimental") for old in (False, True)}
        yield {
            (target, old): cilium[old] if target == "cilium" else both if target in ("linkerd", "gateway-api") else older if old else newest
            for target in TARGETS
            for old in (False, True)
        }
    finally:
        sys.path.remove(str(SHARED / "tools"))


def _result(bundle: Bundle, source: str, target: str, old: bool) -> pipeline.Result:
    choices: dict[str, Any] = {"data_plane": "ambient"} if target == "ambient" else {}
    version = OLD[target] if old else None
    mesh = "istio" if target == "ambient" else target
    return pipeline.convert(bundle, builtin(), resolve(bundle, builtin(), source=source, target=mesh, target_version=version, **choices))


def _wrong(bundle: Bundle, result: pipeline.Result, checker: Any) -> list[str]:
    """What is wrong with a result, the seconds aside."""
    counts = result.ledger.counts
    wrong = sorted({f"{item.code} {item.message}" for item in result.findings if item.code in DEFECTS})
    if counts["leaves"] != sum(count for word, count in counts.items() if word != "leaves") or counts["unaccounted"]:
        wrong.append(f"the ledger does not add up: {counts}")
    if counts["leaves"] != len(list(result.ledger)):
        wrong.append("the ledger counts other leaves than it has lines")
    wrong += [f"a difference without a finding: {change.subject} {change.path}" for change in result.diff if not change.findings]
    unreadable = [item for item in result.findings if item.code == "MP001"]
    if len(unreadable) != len({(item.file, item.file_document) for item in unreadable}):
        wrong.append("a document that cannot be read is more than one finding")
    for item in result.manifests:
        there = set()
        if item.source is not None:  # a changed copy of what no cluster took is still that
            there = {where.partition("[")[0] for where, _ in checker.check(bundle.documents[item.source].value)}
        wrong += [
            f"{item.object['kind']} {item.object['metadata'].get('name')}: {where}: {message}"
            for where, message in checker.check(item.object)
            if where.partition("[")[0] not in there
        ]
    return wrong


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("target", TARGETS)
def test_real_files(checkers: dict[tuple[str, bool], Any], source: str, target: str) -> None:
    problems = []
    step = 1 if WHOLE else OFTEN.get((source, target), 24)
    for number, path in enumerate(_files()[(SOURCES.index(source) * 5 + TARGETS.index(target)) % step :: step]):
        old = number % 2 == 1
        try:
            bundle = load(str(path))
            start = time.perf_counter()
            result = _result(bundle, source, target, old)
        except MeshportError:
            continue  # unusable input, said as such
        result.text()
        wrong = _wrong(bundle, result, checkers[target, old])
        if (taken := time.perf_counter() - start) > SLOW:
            wrong.append(f"took {taken:.1f} s")
        problems += [(str(path.relative_to(CORPUS)), one) for one in wrong]
    assert problems == []


@pytest.mark.parametrize(
    ("folder", "source", "target"),
    [
        ("linkerd/linkerd+website", "linkerd", "istio"),
        ("istio/istio+api", "istio", "linkerd"),
        ("cilium", "cilium", "istio"),
        ("smi", "smi", "istio"),
        ("gateway-api", "gateway-api", "linkerd"),
    ],
)
def test_whole_folders_as_one_bundle(checkers: dict[tuple[str, bool], Any], folder: str, source: str, target: str) -> None:
    """Hundreds of files that were never meant to be together, the same names many times over."""
    if not (CORPUS / folder).is_dir():
        pytest.skip(f"the real files have no {folder}")
    bundle = load(str(CORPUS / folder))
    result = _result(bundle, source, target, False)
    result.text()
    assert _wrong(bundle, result, checkers[target, False]) == []
