"""The JSON report: every member, true to its schema, adding up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

import meshport
from meshport.report.schemas import report as schema

CORPUS = Path(__file__).parents[2] / "corpus"
BUNDLES = [
    ("ecommerce/istio", "linkerd"),
    ("ecommerce/istio-as-published", "linkerd"),
    ("saas-api/linkerd", "istio"),
    ("saas-api/linkerd-as-published", "istio"),
]
MEMBERS = [
    "schema", "meshport_version", "options", "source", "target", "inputs", "outputs", "removals", "install", "findings", "ledger", "diff",
    "verification", "readiness",
]  # fmt: skip


@pytest.fixture(scope="module", params=BUNDLES, ids=[name for name, _ in BUNDLES])
def report(request: pytest.FixtureRequest) -> dict[str, Any]:
    folder, target = request.param
    result = meshport.convert(meshport.load(str(CORPUS / folder)), target=target)
    return result.report().model_dump(mode="json")


def test_members_and_schema(report: dict[str, Any]) -> None:
    assert list(report) == MEMBERS
    assert report["schema"] == "meshport/report/v1"
    validator = jsonschema_rs.validator_for(schema())
    validator.validate(report)
    validator.validate(json.loads(json.dumps(report)))


def test_the_ledger_adds_up(report: dict[str, Any]) -> None:
    ledger = dict(report["ledger"])
    assert ledger.pop("leaves") == sum(ledger.values())
    kept = sum(ledger[name] for name in ("translated", "installed", "irrelevant", "passed_through"))
    assert report["readiness"]["score"] == round(kept / report["ledger"]["leaves"], 4)


def test_findings_have_places(report: dict[str, Any]) -> None:
    assert report["findings"]
    for finding in report["findings"]:
        assert finding["docs"] == f"https://meshport.dev/findings/{finding['code']}"
        if finding["leaves"]:
            first = finding["leaves"][0]
            assert finding["location"]["line"] >= 1
            assert finding["location"]["column"] >= 1
            assert finding["location"]["file"] == first["file"]
            assert finding["resource"]["kind"]


def test_indices_point_to_findings(report: dict[str, Any]) -> None:
    numbers = range(len(report["findings"]))
    assert all(number in numbers for change in report["diff"] for number in change["findings"])
    errors = [number for number in numbers if report["findings"][number]["severity"] == "error"]
    assert report["readiness"]["blockers"] == errors


def test_inputs_and_outputs(report: dict[str, Any]) -> None:
    inputs = report["inputs"]
    assert sum(inputs["by_kind"].values()) == inputs["documents"] == sum(item["documents"] for item in inputs["files"])
    assert all(len(item["sha256"]) == 64 for item in inputs["files"])
    for output in report["outputs"]:
        assert output["apiVersion"]
        assert output["file"].endswith(".yaml")
        assert all(set(origin) == {"file", "document", "line"} for origin in output["origins"])


def test_tallies(report: dict[str, Any]) -> None:
    for tallies in (report["readiness"]["by_pattern"], report["readiness"]["by_namespace"]):
        assert tallies
        for tally in tallies.values():
            assert tally["resources"] == tally["translated"] + tally["approximated"] + tally["dropped"]


def test_objects_have_no_files() -> None:
    policy = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {"aktion": "ALLOW"},
    }
    found = meshport.convert(meshport.load_objects([policy]), source="istio", target="linkerd", verify=False).report()
    assert found.inputs.files == []
    assert found.verification is None
    location = next(item.location for item in found.findings if item.code == "MP012")
    assert location == {"file": None, "document": 0, "line": None, "column": None, "path": "spec.aktion"}


def test_items_of_a_list_say_which() -> None:
    text = """\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: b}}
- apiVersion: security.istio.io/v1
  kind: AuthorizationPolicy
  metadata: {name: a, namespace: b}
  spec: {aktion: ALLOW}
"""
    found = meshport.convert(meshport.load_text(text, "list.yaml"), source="istio", target="linkerd").report()
    finding = next(item for item in found.findings if item.code == "MP012")
    assert finding.location == {"file": "list.yaml", "document": 0, "item": 1, "line": 8, "column": 18, "path": "spec.aktion"}
    assert finding.leaves == [{"file": "list.yaml", "document": 0, "item": 1, "path": "spec.aktion"}]


def test_values_of_secrets_reach_nothing() -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "b", "labels": {"istio/multiCluster": "true"}},
        "stringData": {"token": "hunter2hunter2"},
    }
    gateway = {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "d", "namespace": "b"}, "spec": {}}
    result = meshport.convert(meshport.load_objects([secret, gateway]), target="linkerd")
    assert "hunter2" not in json.dumps(result.report().model_dump(mode="json"))
    assert all(line.value != "hunter2hunter2" for line in result.ledger)


def test_a_finding_points_into_the_object_that_it_is_about() -> None:
    """Others that it rests on, the ports of the Service here, and the object's own name tell less than what it speaks of."""
    text = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec: {hosts: [web.shop, web], http: [{route: [{destination: {host: web}}]}]}
"""
    (found,) = [
        item
        for item in meshport.convert(meshport.load_text(text), source="istio", target="linkerd").report().findings
        if item.code == "MP310"
    ]
    assert found.location is not None
    assert (found.location["document"], found.location["path"], found.location["line"]) == (1, "spec.hosts[0]", 10)
