"""Every form of the report says the same findings, and what a hostile name holds stays text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from meshport.cli.run import run

CORPUS = Path(__file__).parents[2] / "corpus"
ECOMMERCE = str(CORPUS / "ecommerce/istio")


def reports(tmp_path: Path, *arguments: str, command: str = "audit") -> dict[str, str]:
    suffixes = ("json", "md", "sarif", "junit.xml")
    files = {suffix: tmp_path / f"report.{suffix}" for suffix in suffixes}
    named = [part for file in files.values() for part in ("--report", str(file))]
    run([command, *arguments, *named, "--fail-on", "warning"])
    return {suffix: file.read_text(encoding="utf-8") for suffix, file in files.items()}


@pytest.mark.parametrize(("command", "target"), [("audit", ["--to", "linkerd"]), ("convert", ["--to", "cilium"]), ("lint", [])])
def test_one_count_in_all(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, target: list[str]) -> None:
    found = reports(tmp_path, ECOMMERCE, *target, "--ignore", "MP214", command=command)
    findings = json.loads(found["json"])["findings"]
    count = len(findings)
    assert f"**Findings: {count}**" in found["md"]
    assert len(json.loads(found["sarif"])["runs"][0]["results"]) == count
    suite = ElementTree.fromstring(found["junit.xml"])
    assert len(suite.findall(".//testcase")) == count == int(suite.attrib["tests"])
    failing = [item for item in findings if item["severity"] != "info" and item["suppressed"] is None]
    assert len(suite.findall(".//failure")) == len(failing) == int(suite.attrib["failures"])
    assert len(suite.findall(".//skipped")) == sum(1 for item in findings if item["suppressed"])


def test_the_contract_keeps_the_audit_out_of_a_conversions_json(tmp_path: Path) -> None:
    found = reports(tmp_path, ECOMMERCE, "--to", "linkerd", command="convert")
    assert "audit" not in json.loads(found["json"])
    assert "Is any access widened?" in found["md"]


def test_sarif_points_at_the_field_and_knows_a_finding_again(tmp_path: Path) -> None:
    source = (CORPUS / "ecommerce/istio/payment-breaker.yaml").read_text()
    file = tmp_path / "breaker.yaml"
    context = ["--context", str(CORPUS / "ecommerce/istio/workloads.yaml")]

    def results(text: str) -> list[dict[str, Any]]:
        file.write_text(text)
        found: list[dict[str, Any]] = json.loads(reports(tmp_path, str(file), "--to", "linkerd", *context)["sarif"])["runs"][0]["results"]
        return found

    first, moved = results(source), results("# a comment\n\n" + source)
    assert [item["ruleId"] for item in first] == [item["ruleId"] for item in moved]
    assert [item["partialFingerprints"] for item in first] == [item["partialFingerprints"] for item in moved]
    marks = [json.dumps(item["partialFingerprints"]) for item in first]
    assert len(set(marks)) == len(marks)

    def lines(listed: list[dict[str, Any]]) -> list[int]:
        return [item["locations"][0]["physicalLocation"]["region"]["startLine"] for item in listed if "region" in json.dumps(item)]

    assert [line + 2 for line in lines(first)] == lines(moved) != []


def test_sarif_rules_explain_and_suppressions_say_who(tmp_path: Path) -> None:
    waivers = tmp_path / "w.yaml"
    waivers.write_text("- {code: MP704, owner: net@example.com, reason: 'the edge moves first', expires: 2099-01-01}\n")
    driver = json.loads(reports(tmp_path, ECOMMERCE, "--to", "linkerd", "--waivers", str(waivers))["sarif"])["runs"][0]
    rules = {rule["id"]: rule for rule in driver["tool"]["driver"]["rules"]}
    for result in driver["results"]:
        assert driver["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    assert rules["MP704"]["help"]["text"]
    accepted = [result for result in driver["results"] if "suppressions" in result]
    assert [result["ruleId"] for result in accepted] == ["MP704"]
    assert "net@example.com" in accepted[0]["suppressions"][0]["justification"]


HOSTILE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: "a|b`<script>alert(1)</script>", namespace: "x\\u202e]](http://evil)"}
spec: {host: "*.<img src=x>", trafficPolicy: {outlierDetection: {interval: "\\u0007& \\"]]>"}}}
"""


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    file = tmp_path / "in.yaml"
    file.write_text(HOSTILE)
    found = reports(tmp_path, str(file), "--from", "istio", "--to", "linkerd")
    assert "<script" not in found["md"]
    assert "<img" not in found["md"]
    assert not re.search(r"(?<!\\)\]\(http://evil", found["md"])
    ElementTree.fromstring(found["junit.xml"])  # well-formed, whatever stands in it
    json.loads(found["sarif"])


def test_markdown_fits_a_comment(tmp_path: Path) -> None:
    rows = [
        f"apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: d{number}, namespace: shop}}\n"
        f"spec: {{host: h{number}.example.com, trafficPolicy: {{outlierDetection: {{interval: 7s, consecutive5xxErrors: 3}}}}}}\n"
        for number in range(400)
    ]
    file = tmp_path / "in.yaml"
    file.write_text("---\n".join(rows))
    found = reports(tmp_path, str(file), "--to", "linkerd")
    count = len(json.loads(found["json"])["findings"])
    assert count > 300
    assert len(found["md"]) < 65_536
    assert f"**Findings: {count}**" in found["md"][:400]
    assert "left out here for want of room" in found["md"]


def test_a_run_that_stops_reports_all_the_same(tmp_path: Path) -> None:
    file = tmp_path / "r.md"
    assert run(["convert", ECOMMERCE, "--to", "linkerd", "--on-loss", "stop", "--report", str(file)]) == 1
    assert "Findings: " in file.read_text()


@pytest.mark.parametrize(
    ("folder", "target"), [("ecommerce/istio", "linkerd"), ("saas-api/linkerd-as-published", "istio"), ("hybrid-cloud/istio", "cilium")]
)
def test_sarif_has_what_the_standard_requires(tmp_path: Path, folder: str, target: str) -> None:
    """The members that SARIF 2.1.0 requires (§3.13, 3.14, 3.18, 3.19, 3.27, 3.30, 3.35, 3.49), and the values that it allows."""
    found = json.loads(reports(tmp_path, str(CORPUS / folder), "--to", target)["sarif"])
    assert found["version"] == "2.1.0"
    assert found["$schema"].endswith("sarif-schema-2.1.0.json")
    (run_,) = found["runs"]
    driver = run_["tool"]["driver"]
    assert driver["name"] == "meshport"
    assert len({rule["id"] for rule in driver["rules"]}) == len(driver["rules"])
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"] and rule["fullDescription"]["text"] and rule["help"]["text"]
        assert rule["helpUri"].startswith("https://")
        assert rule["defaultConfiguration"]["level"] in ("none", "note", "warning", "error")
    assert run_["results"]
    for result in run_["results"]:
        assert result["message"]["text"]
        assert result["level"] in ("none", "note", "warning", "error")
        assert all(isinstance(value, str) for value in result["partialFingerprints"].values())
        for location in result.get("locations", []):
            place = location["physicalLocation"]
            assert "\\" not in place["artifactLocation"]["uri"]
            region = place.get("region", {"startLine": 1})
            assert region["startLine"] >= 1 and region.get("startColumn", 1) >= 1
        for suppression in result.get("suppressions", []):
            assert suppression["kind"] in ("inSource", "external")
            assert suppression["status"] in ("accepted", "underReview", "rejected")
