"""Sets of Istio policies with a stated relation, from network-config-analyzer's own tests: `verify` sees the same relation, and what no cluster takes grants
nothing.

A scheme names configurations (files of policies) and asks queries about pairs of them. `equivalence` and `semanticDiff` count what differs from the first,
`twoWayContainment` says 3 for equal, 2 where the first is within the second, 1 for the reverse and 0 for neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import meshport

FIXTURES = Path(__file__).resolve().parents[2].parent / "shared" / "oracles" / "fixtures" / "nca"
WORLD = {"Namespace", "Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "Service", "ServiceAccount", "List"}
CONTAINED = {3: "equivalent", 2: "widened", 1: "narrowed", 0: "changed"}
DROPPED = {
    "testcase3-parse-error-from-is-null.yaml",
    "testcase3-parse-error-when-is-null.yaml",
    "testcase3-parse-error-condition-values-null.yaml",
}
"""Policies with a null where a list may be: the API server drops it (apiextensions, nulls of fields that are not nullable), and Istio sees none."""
CLOSED = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nothing, namespace: default}
spec: {}
"""


@dataclass(frozen=True)
class Scheme:
    """A scheme file, with what it says of each configuration by its name."""

    file: Path
    content: dict[str, Any]

    def configuration(self, name: str) -> dict[str, Any]:
        return next(item for item in self.content.get("networkConfigList") or () if item.get("name") == name)

    def files(self, *lists: Any) -> Iterator[Path]:
        """The files of lists of paths. Skips the test where one of them is not there."""
        for one in [path for paths in lists for path in ([paths] if isinstance(paths, str) else paths or ())]:
            if not isinstance(one, str) or one.startswith("https:") or one in ("k8s", "istio", "calico"):
                pytest.skip(f"{one} is no file")
            place = self.file.parent / one.replace("\\", "/").removesuffix("/**")
            if not place.exists():
                pytest.skip(f"{one} is not among the fixtures")
            yield from sorted(place.rglob("*.y*ml")) if place.is_dir() else [place]

    def policies(self, name: str) -> list[dict[str, Any]]:
        """The policies of a configuration. Skips the test where they are of another layer than Istio's access."""
        said = self.configuration(name)
        objects = [
            obj
            for file in self.files(said.get("networkPolicyList"), said.get("resourceList"))
            for obj in yaml.safe_load_all(file.read_text())
        ]
        found = [obj for obj in objects if isinstance(obj, dict)]
        foreign = sorted({str(obj.get("kind")) for obj in found} - WORLD - {"AuthorizationPolicy"})
        if foreign:
            pytest.skip(f"{', '.join(foreign)}: of another layer than access")
        return found

    def world(self) -> list[dict[str, Any]] | None:
        """The pods and namespaces that all its configurations share; None where they are not among the fixtures."""
        out: list[dict[str, Any]] = []
        for key in ("namespaceList", "podList", "resourceList"):
            for one in [self.content[key]] if isinstance(self.content.get(key), str) else self.content.get(key) or ():
                place = self.file.parent / one.replace("\\", "/").removesuffix("/**")
                if not place.exists():
                    return None
                for file in sorted(place.rglob("*.y*ml")) if place.is_dir() else [place]:
                    out += [obj for obj in yaml.safe_load_all(file.read_text()) if isinstance(obj, dict) and obj.get("kind") in WORLD]
        return out


def schemes() -> list[Scheme]:
    found = [Scheme(file, yaml.safe_load(file.read_text())) for file in sorted(FIXTURES.rglob("*-scheme.yaml"))]
    return [scheme for scheme in found if isinstance(scheme.content, dict)]


def queries() -> list[Any]:
    return [
        pytest.param(scheme, relation, query, id=f"{scheme.file.stem}: {query['name']}")
        for scheme in schemes()
        for query in scheme.content.get("queries") or ()
        for relation in ("equivalence", "semanticDiff", "twoWayContainment")
        if relation in query
    ]


def configurations() -> list[Any]:
    return [
        pytest.param(scheme, said, id=f"{scheme.file.stem}: {said['name']}")
        for scheme in schemes()
        for said in scheme.content.get("networkConfigList") or ()
    ]


absent = pytest.mark.skipif(not FIXTURES.is_dir(), reason="no fixtures of network-config-analyzer beside the project")


def of_addresses(objs: list[dict[str, Any]]) -> bool:
    """Whether a policy goes by addresses: there they are those of callers outside, in Istio also those of pods."""
    return any(word in yaml.safe_dump(obj) for obj in objs for word in ("pBlocks", "key: source.ip"))


def relation_of(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """How the access of two bundles is related, and what could not be compared."""
    found = meshport.verify(meshport.load_objects(one), meshport.load_objects(other), old_mesh="istio", new_mesh="istio")
    changes = {item.change for item in found.differences} & {"allowed", "denied"}
    return {0: "equivalent", 2: "changed"}.get(len(changes), "widened" if "allowed" in changes else "narrowed"), found.undecided


@absent
@pytest.mark.parametrize(("scheme", "relation", "query"), queries())
def test_verify_sees_the_stated_relation(scheme: Scheme, relation: str, query: dict[str, Any]) -> None:
    first, *rest = query[relation]
    known = scheme.world()
    sets = [[*(known or ()), *scheme.policies(name)] for name in (first, *rest)]
    found = [relation_of(sets[0], other) for other in sets[1:]]
    assert not any(undecided for _, undecided in found)
    answers = [answer for answer, _ in found]
    expected = query.get("expected", 0 if relation != "twoWayContainment" else None)
    if known is None and answers != ["equivalent"] * len(answers):
        # pods made up for the selectors stand for all that could be: what is the same for them is the same for those of the list, and not the reverse
        pytest.skip(f"the list of pods is not among the fixtures; of all pods that there could be: {', '.join(answers)}")
    if any(map(of_addresses, sets)) and "equivalent" not in answers:
        pytest.skip("policies by address, which Istio compares for pods too")
    if relation == "twoWayContainment":
        assert answers == [CONTAINED[expected]]
    elif relation == "equivalence":
        assert sum(answer != "equivalent" for answer in answers) == expected
    else:
        assert any(answer != "equivalent" for answer in answers) == (expected > 0)


@absent
@pytest.mark.parametrize(("scheme", "said"), configurations())
def test_what_is_no_policy_is_an_error_and_grants_nothing(scheme: Scheme, said: dict[str, Any]) -> None:
    policies = scheme.policies(said["name"])
    texts = list(scheme.files(said.get("networkPolicyList"), said.get("resourceList")))
    if any(file.name in DROPPED for file in texts):
        pytest.skip("a null for a list is dropped by the API server")
    errors = [
        finding.code
        for file in texts
        for finding in meshport.lint(meshport.load(file), source="istio")
        if finding.severity == "error" and "AuthorizationPolicy" in {obj.get("kind") for obj in policies}
    ]
    if not said.get("expectedError"):
        assert errors == []
        return
    assert set(errors) & {"MP015", "MP072"}
    closed = list(yaml.safe_load_all(CLOSED))
    assert relation_of(closed, [*closed, *policies]) == ("equivalent", [])
