"""`verify OLD out/` after `convert OLD -o out/` says of access what the conversion said, also where policies stay with the mesh that has them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_cases import Ran

Run = Callable[..., Ran]
CORPUS = Path(__file__).parents[2] / "corpus"


@pytest.mark.parametrize(
    ("bundle", "target", "verdict"),
    [
        ("real-time-analytics/cilium", "istio", "narrowed"),  # Kafka's topics, which no mesh can say
        ("real-time-analytics/cilium", "linkerd", "narrowed"),
        ("real-time-analytics/cilium", "gateway-api", "equivalent"),  # nothing is written: the network policies stay
        ("ecommerce/istio", "gateway-api", "equivalent"),  # access stays with Istio
        ("saas-api/linkerd", "istio", "equivalent"),
    ],
)
def test_an_output_is_verified_with_what_stays_beside_it(meshport: Run, tmp_path: Path, bundle: str, target: str, verdict: str) -> None:
    old, out, report = CORPUS / bundle, tmp_path / "out", tmp_path / "report.json"
    meshport("convert", old, "--to", target, "-o", out, "--report", report, "--fail-on", "never")
    assert json.loads(report.read_text())["verification"]["verdict"] == verdict
    assert meshport("verify", old, out).out.partition(":")[0] == verdict


def test_the_marker_says_who_reads_the_output_and_what_stays(meshport: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    meshport("convert", CORPUS / "real-time-analytics" / "cilium", "--to", "istio", "-o", out, "--fail-on", "never")
    said = json.loads((out / ".meshport").read_text())
    assert said["mesh"] == "istio"
    assert {(item["kind"], item["namespace"], item["name"]) for item in said["stays"]} >= {
        ("CiliumNetworkPolicy", "analytics", "api-policy"),
        ("CiliumNetworkPolicy", "analytics", "default-deny"),
    }
    assert meshport("lint", out, "--context", CORPUS / "real-time-analytics" / "cilium").code != 2  # of two meshes, and yet plain


def test_a_policy_that_stays_in_the_output_alone_is_not_taken_from_old(meshport: Run, tmp_path: Path) -> None:
    """What the marker lists and OLD does not hold any more is nowhere."""
    old, out = tmp_path / "old", tmp_path / "out"
    shutil.copytree(CORPUS / "real-time-analytics" / "cilium", old)
    meshport("convert", old, "--to", "istio", "-o", out, "--fail-on", "never")
    marker = json.loads((out / ".meshport").read_text())
    (out / ".meshport").write_text(json.dumps({**marker, "stays": []}))
    assert meshport("verify", old, out).out.startswith("changed: ")  # pods outside the mesh are let in where no network policy is left


def test_a_witness_for_ports_that_nothing_names_is_not_given_a_number(meshport: Run, tmp_path: Path) -> None:
    old, out, report = CORPUS / "ecommerce" / "istio", tmp_path / "out", tmp_path / "report.html"
    meshport("convert", old, "--to", "linkerd", "-o", out, "--fail-on", "never")
    said = meshport("verify", old, out).out
    assert "POST /charge from production/checkout to production/payment, on any port that nothing names: allowed before, denied now" in said
    audited = meshport("audit", old, "--to", "linkerd", "--report", report, "--fail-on", "never").out
    assert "production/payment, on any port that nothing names" in audited
    assert not [text for text in (said, audited, report.read_text()) if "61000" in text]
