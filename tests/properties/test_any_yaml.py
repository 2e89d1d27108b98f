"""Whatever stands in the documents, a conversion comes to an end with every leaf accounted for, or says in one line why it cannot."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import meshport
from meshport.errors import MeshportError

from .changing import OPPOSITE, PathOf, Source, sources

DIRECTIONS = [
    ("istio", "linkerd"), ("istio", "cilium"), ("istio", "istio"), ("istio", "gateway-api"), ("linkerd", "istio"), ("linkerd", "linkerd"),
    ("linkerd", "cilium"), ("cilium", "istio"), ("cilium", "linkerd"), ("cilium", "cilium"), ("gateway-api", "istio"), ("gateway-api", "linkerd"),
    ("gateway-api", "cilium"), ("smi", "istio"), ("smi", "linkerd"), ("smi", "cilium"),
]  # fmt: skip
BUNDLES: dict[str, list[Source]] = {mesh: [] for mesh in OPPOSITE}
for one in sources():
    if " to " not in one.name:
        BUNDLES[one.mesh].append(one)
ODD = st.sampled_from(
    [None, {}, [], "", 0, -1, 1.5, True, "x" * 300, ["a"], {"a": 1}, [None], [[]], {"": ""}, "*", "10.0.0.0/8", 2**70, "é☃", [{}], "off"]
)


def _paths(value: Any, path: PathOf = ()) -> Iterator[PathOf]:
    if path:
        yield path
    for key, below in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _paths(below, (*path, key))


@st.composite
def _broken(draw: st.DrawFn, mesh: str) -> list[Any]:
    """Documents of a bundle, some of them with members taken away, renamed, repeated, put into lists or of another type."""
    objects = draw(st.sampled_from(BUNDLES[mesh])).objects
    out: list[Any] = []
    for item in draw(st.lists(st.sampled_from(objects), min_size=1, max_size=6)):
        changed = copy.deepcopy(item)
        for _ in range(draw(st.integers(0, 3))):
            paths = list(_paths(changed))
            if not paths:
                break
            path = draw(st.sampled_from(paths))
            holder: Any = changed
            for step in path[:-1]:
                holder = holder[step]
            what = draw(st.sampled_from(["gone", "odd", "odd", "renamed", "wrapped", "twice"]))
            if what == "gone":
                del holder[path[-1]]
            elif what == "renamed" and isinstance(holder, dict):
                holder[f"{path[-1]}x"] = holder.pop(path[-1])
            elif what == "wrapped":
                holder[path[-1]] = [holder[path[-1]]]
            elif what == "twice" and isinstance(holder, list):
                holder.append(copy.deepcopy(holder[path[-1]]))
            else:
                holder[path[-1]] = copy.deepcopy(draw(ODD))
        out.append(changed)
    return [{"apiVersion": "v1", "kind": "List", "items": out}] if draw(st.booleans()) else out


@pytest.mark.parametrize(("mesh", "target"), DIRECTIONS)
def test_no_document_is_too_odd(mesh: str, target: str) -> None:
    @settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(_broken(mesh))
    def comes_to_an_end(objects: list[Any]) -> None:
        text = "---\n".join(json.dumps(item) + "\n" for item in objects)
        try:
            result = meshport.convert(meshport.load_text(text), source=mesh, target=target)
        except MeshportError as error:
            assert "\n" not in str(error)
            return
        result.text()
        counts = result.ledger.counts
        lines = list(result.ledger)
        assert counts["leaves"] == sum(count for word, count in counts.items() if word != "leaves") == len(lines)
        assert [line.path for line in lines if line.disposition in ("dropped", "manual", "invalid") and not line.codes] == []

    comes_to_an_end()


@pytest.mark.parametrize(("mesh", "target"), DIRECTIONS[::2])
def test_nor_for_what_is_made_of_a_conversion_and_what_reads_alone(
    mesh: str, target: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    @settings(
        max_examples=8, deadline=None, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(_broken(mesh), st.sampled_from(["namespace", "service", "cluster"]))
    def comes_to_an_end(objects: list[Any], strategy: str) -> None:
        bundle = meshport.load_text("---\n".join(json.dumps(item) + "\n" for item in objects))
        try:
            result = meshport.convert(bundle, source=mesh, target=target, verify=False)
            result.write(str(tmp_path_factory.mktemp("written") / "out"))
            assert result.plan(strategy).steps is not None
            assert result.audit().audit is not None
            assert meshport.verify(bundle, bundle, old_mesh=mesh, new_mesh=mesh).verdict in ("equivalent", "inconclusive")
            assert meshport.diff(bundle, bundle, old_mesh=mesh, new_mesh=mesh) == []
            assert meshport.lint(bundle, source=mesh) is not None
        except MeshportError as error:
            assert "\n" not in str(error)

    comes_to_an_end()
