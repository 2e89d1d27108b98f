"""The output follows from what the documents say: not from their order, nor from how they lie in files."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judge.generate import random_istio_bundle, random_linkerd_bundle
from sampling import some

from meshport import pipeline
from meshport.documents import dump, load
from meshport.mapping.table import Table, builtin

from .changing import chosen, converted, sources

SOURCES = {source.name: source for source in sources()}
FEW = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def _everything(result: pipeline.Result) -> str:
    """The result as text, bar where the input stood."""
    return json.dumps(
        [
            [item.object for item in result.manifests],
            result.install,
            result.removals,
            [[item.code, item.severity, item.message, item.remedy, item.disposition] for item in result.findings],
            result.ledger.counts,
            [[item.subject, item.path, str(item.before), str(item.after)] for item in result.diff],
        ],
        sort_keys=True,
    )


def _manifests(result: pipeline.Result) -> list[str]:
    return sorted(json.dumps(item.object, sort_keys=True) for item in result.manifests)


@pytest.mark.parametrize("name", some(SOURCES, 4))  # each reads the tables anew
def test_same_input_same_bytes(name: str) -> None:
    source = SOURCES[name]
    first = source.convert()
    table = Table()  # nothing shared with the first run
    other = pipeline.convert(first.bundle, table, chosen(first.bundle, source.mesh, source.target, **source.choices), verify=False)
    assert first.text() == other.text()
    assert _everything(first) == _everything(other)


@pytest.mark.parametrize("name", some(SOURCES))
@pytest.mark.parametrize("seed", some([1, 2]))
def test_order_of_documents_does_not_count(name: str, seed: int) -> None:
    source = SOURCES[name]
    shuffled = list(source.objects)
    Random(seed).shuffle(shuffled)
    one, other = source.convert(), source.convert(shuffled)
    assert _manifests(one) == _manifests(other)
    assert one.ledger.counts == other.ledger.counts
    assert [(item.code, item.message) for item in one.findings] == [(item.code, item.message) for item in other.findings]


@pytest.mark.parametrize("name", some(SOURCES, 3))
def test_files_do_not_count(name: str, tmp_path: Path) -> None:
    source = SOURCES[name]
    for number, item in enumerate(source.objects):
        (tmp_path / f"{number % 3}").mkdir(exist_ok=True)
        with (tmp_path / f"{number % 3}" / f"{99 - number // 2}.yaml").open("a", encoding="utf-8") as file:
            file.write("---\n" + dump([item]))
    bundle, table = load(str(tmp_path)), builtin()
    apart = pipeline.convert(bundle, table, chosen(bundle, source.mesh, source.target, **source.choices), verify=False)
    assert _manifests(apart) == _manifests(source.convert())


@pytest.mark.parametrize("name", [name for name in SOURCES if name not in ("istio-rest",)])
def test_a_namespace_by_another_name(name: str) -> None:
    source = SOURCES[name]
    own = next(item["metadata"]["namespace"] for item in source.objects if item["metadata"].get("namespace") not in (None, "istio-system"))
    new = own + "-x"  # sorts where the old name did, so that even the order of lists stays
    renamed = json.loads(_renamed(json.dumps(source.objects), own, new))
    expected = [_renamed(text, own, new) for text in _manifests(source.convert())]
    assert _manifests(source.convert(renamed)) == sorted(json.dumps(json.loads(text), sort_keys=True) for text in expected)


def _renamed(text: str, old: str, new: str) -> str:
    for before, after in (('"', '"'), ("/ns/", "/sa"), (".", ".svc"), (".", ".serviceaccount"), ("*.", ".serviceaccount"), ('"', "/")):
        text = text.replace(f"{before}{old}{after}", f"{before}{new}{after}")
    return text


@FEW
@given(seed=st.sampled_from(range(36)), order=st.integers(0, 1000))
@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_random_bundles_in_any_order(mesh: str, seed: int, order: int) -> None:
    objects: list[dict[str, Any]] = (random_istio_bundle if mesh == "istio" else random_linkerd_bundle)(seed)
    shuffled = list(objects)
    Random(order).shuffle(shuffled)
    one, other = converted(objects, mesh), converted(shuffled, mesh)
    assert _manifests(one) == _manifests(other)
    assert one.ledger.counts == other.ledger.counts


@pytest.mark.parametrize(
    "name", [name for name in SOURCES if name.startswith(("linkerd-access", "istio-access", "istio-egress", "cilium-access"))]
)
def test_who_changes_the_manifests_of_one_conversion_changes_no_other(name: str) -> None:
    source = SOURCES[name]
    first = source.convert()
    as_it_was = _manifests(first)
    for item in first.manifests:
        _spoil(item.object)
    assert _manifests(source.convert()) == as_it_was


def _spoil(value: Any) -> None:
    for item in [*value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ():
        _spoil(item)
    if isinstance(value, dict):
        value["spoilt"] = "yes"
    elif isinstance(value, list):
        value.append("spoilt")
