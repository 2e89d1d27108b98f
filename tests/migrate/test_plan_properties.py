"""What holds for the plan of any bundle: nothing is applied twice or forgotten, nothing leaves before the sign-off, every manifest is one that the API server
takes, the way back leads back, and no state is wider than the windows say."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import shlex
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import meshport
from meshport.migrate.states import key
from meshport.report.planned import Plan, Step

sys.path.insert(0, str(Path(__file__).parents[1] / "properties"))
from common_ground import bundle

TOOL = Path(__file__).parents[2].parent / "shared" / "tools" / "crdcheck.py"
Obj = dict[str, Any]
PAIRS: list[tuple[str, str, Obj]] = [
    ("istio", "linkerd", {}), ("linkerd", "istio", {}), ("istio", "cilium", {}), ("cilium", "istio", {}), ("linkerd", "cilium", {}),
    ("cilium", "linkerd", {}), ("istio", "istio", {"data_plane": "ambient"}), ("linkerd", "istio", {"data_plane": "ambient"}), ("istio", "gateway-api", {}),
]  # fmt: skip
STRATEGIES = ("namespace", "service", "cluster")


@lru_cache(maxsize=96)
def made(pair: int, strategy: str, seed: int) -> tuple[list[Obj], Any, Plan]:
    source, target, options = PAIRS[pair]
    objects = bundle(source, target if target != source else "linkerd", seed)
    result = meshport.convert(meshport.load_objects(copy.deepcopy(objects)), source=source, target=target, **options)
    return objects, result, result.plan(strategy)


plans = st.tuples(st.integers(0, len(PAIRS) - 1), st.sampled_from(STRATEGIES), st.integers(0, 2))
often = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def mark(obj: Obj) -> tuple[str, str, str, str]:
    return key(obj, "default")


@often
@given(plans)
def test_each_manifest_is_applied_in_its_final_form_in_exactly_one_step(case: tuple[int, str, int]) -> None:
    _, result, plan = made(*case)
    applied = [mark(item.object) for one in plan.steps for item in one.manifests if item.change != "delete" and not item.interim]
    assert [name for name in {mark(item.object) for item in result.manifests} if applied.count(name) != 1] == []


@often
@given(plans)
def test_the_last_state_is_the_conversion(case: tuple[int, str, int]) -> None:
    objects, result, plan = made(*case)
    state: dict[Any, Obj] = {} if case[1] == "cluster" else {mark(obj): obj for obj in objects}
    for one in plan.steps:
        _forwards(state, one)
    for item in result.manifests:
        assert state[mark(item.object)] == item.object
    for item in result.removals:
        assert not [name for name in state if name == mark({"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": item})]
    assert not [name for name in state if "overlap" in name[3]]


@often
@given(plans)
def test_nothing_of_the_source_leaves_before_its_namespace_is_signed_off(case: tuple[int, str, int]) -> None:
    objects, _, plan = made(*case)
    source = {mark(obj) for obj in objects}
    signed = {name: one.number for one in plan.steps if one.phase == "sign-off" for name in one.namespaces}
    for one in plan.steps:
        for item in one.manifests:
            name = mark(item.object)
            if item.change == "delete" and name in source:
                assert one.number > signed.get(name[2], max(signed.values(), default=0))


@often
@given(plans)
def test_the_way_back_leads_back(case: tuple[int, str, int]) -> None:
    objects, _, plan = made(*case)
    state = {} if case[1] == "cluster" else {mark(obj): obj for obj in objects}
    before = copy.deepcopy(state)
    for one in plan.steps:
        _forwards(state, one)
    for one in reversed(plan.steps):
        files: dict[str, list[Obj]] = {}
        for item in [*one.manifests, *one.previous]:
            files.setdefault(item.file, []).append(item.object)
        for command in one.back:
            _typed(state, command.run, files)
    assert {name: _bare(obj) for name, obj in state.items()} == {name: _bare(obj) for name, obj in before.items()}


@often
@given(plans)
def test_what_is_typed_leads_where_the_manifests_say(case: tuple[int, str, int]) -> None:
    objects, _, plan = made(*case)
    typed = {} if case[1] == "cluster" else {mark(obj): copy.deepcopy(obj) for obj in objects}
    meant = copy.deepcopy(typed)
    for one in plan.steps:
        files: dict[str, list[Obj]] = {}
        for item in [*one.manifests, *one.previous]:
            files.setdefault(item.file, []).append(item.object)
        for command in one.commands:
            _typed(typed, command.run, files)
        _forwards(meant, one)
        assert {name: _bare(obj) for name, obj in typed.items()} == {name: _bare(obj) for name, obj in meant.items()}


@often
@given(plans)
def test_no_state_is_wider_than_the_windows_say(case: tuple[int, str, int]) -> None:
    _, _, plan = made(*case)
    opened: list[tuple[int, Any]] = []
    for one in plan.steps:
        opened += [(one.number, window) for window in one.windows]
        covered = {
            edge.destination
            for number, window in opened
            for edge in window.edges
            if window.what in ("rules not enforced", "exception", "plaintext accepted") and (window.until or number) > one.number
        }
        for half in one.state.halves if one.state is not None else ():
            allowed = [found[1] for text in half.differences if (found := re.search(r"newly allowed: .* to (\S+?):\d+", text))]
            assert set(allowed) <= covered, (one.number, one.title)


@pytest.mark.skipif(not TOOL.is_file(), reason=f"needs the CRD checker at {TOOL}, which is absent")
@often
@given(plans)
def test_every_manifest_passes_the_crds(case: tuple[int, str, int]) -> None:
    _, _, plan = made(*case)
    wrong = [
        f"{item.file}: {item.object['kind']}/{item.object['metadata']['name']}: {where}: {message}"
        for one in plan.steps
        for item in [*one.manifests, *one.previous]
        for where, message in _checker().check(item.object)
    ]
    assert wrong == []


def test_the_same_input_gives_the_same_bytes() -> None:
    texts = []
    for _ in range(2):
        made.cache_clear()
        texts.append(made(0, "service", 3)[2].files())
    assert texts[0] == texts[1]


# -- a small kubectl


def _forwards(state: dict[Any, Obj], one: Step) -> None:
    for item in one.manifests:
        if item.change == "delete":
            del state[mark(item.object)]
        else:
            state[mark(item.object)] = item.object


def _bare(obj: Any) -> Any:
    """Without what is empty: a label that is taken away leaves `labels: {}`."""
    if isinstance(obj, dict):
        return {name: inner for name, value in obj.items() if (inner := _bare(value)) != {}}
    return obj


def _merged(old: Any, new: Any) -> Any:
    """What `kubectl apply` leaves of an object that it did not make: members that the new form does not have stay; lists are replaced."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return copy.deepcopy(new)
    found = copy.deepcopy(old)
    for name, value in new.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = _merged(found.get(name), value)
    return found


def _typed(state: dict[Any, Obj], command: str, files: dict[str, list[Obj]]) -> None:
    words = shlex.split(command)
    if words[:3] == ["kubectl", "apply", "-f"]:
        for obj in files[words[3]]:
            state[mark(obj)] = _merged(state.get(mark(obj)), obj)
    elif words[:3] == ["kubectl", "delete", "-f"]:
        for name, objects in files.items():
            for obj in objects if name == words[3] or name.startswith(words[3].rstrip("/") + "/") else ():
                state.pop(mark(obj), None)
    elif words[:1] == ["kubectl"] and words[1] in ("label", "annotate", "patch") and "gateway.gateway" not in words[2]:
        place = words[words.index("-n") + 1] if "-n" in words else ""
        kind, _, group = words[2].partition(".")
        name = next(each for each in state if (each[0], each[1].lower(), each[2], each[3]) == (group, kind, place, words[3]))
        if words[1] == "patch":
            state[name] = _merged(state[name], json.loads(words[words.index("-p") + 1]))
        else:
            keys = [word[:-1] for word in words[4:] if word.endswith("-") and word != "-n"]
            held = state[name]["metadata"].get("labels" if words[1] == "label" else "annotations") or {}
            state[name] = copy.deepcopy(state[name])
            for each in keys:
                (state[name]["metadata"].get("labels" if words[1] == "label" else "annotations") or {}).pop(each, None)
            assert held is not None


@lru_cache(maxsize=1)
def _checker() -> Any:
    spec = importlib.util.spec_from_file_location("crdcheck", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["crdcheck"] = module
    spec.loader.exec_module(module)
    return module.Checker(gateway="experimental")
