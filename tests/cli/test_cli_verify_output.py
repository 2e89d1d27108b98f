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


def test_a_policy_that_stays_and_names_no_namespace_is_found_again(meshport: Run, tmp_path: Path) -> None:
    old, out = tmp_path / "old.yaml", tmp_path / "out"
    old.write_text(EMPTY_PEERS.replace(", namespace: shop", ""))
    meshport("convert", old, "--from", "cilium", "--to", "cilium", "-o", out, "--fail-on", "never")
    assert json.loads((out / ".meshport").read_text())["stays"][0]["namespace"] == ""
    assert meshport("verify", old, out).out.startswith("equivalent: ")


def test_differences_that_a_key_alone_tells_apart_are_one_line_unless_all_are_asked_for(meshport: Run, tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {ports: [{name: http, port: 80}]}\n---\n"
    for file, wait in ((old, 1), (new, 2)):
        rules = ", ".join(
            f"{{match: [{{uri: {{prefix: /{name}/}}}}], timeout: {wait}s, route: [{{destination: {{host: web}}}}]}}" for name in "abcdefg"
        )
        route = f"metadata: {{name: web, namespace: shop}}\nspec: {{hosts: [web], http: [{rules}]}}\n"
        file.write_text(f"{service}apiVersion: networking.istio.io/v1\nkind: VirtualService\n{route}")
    (line,) = meshport("diff", old, new).out.splitlines()
    assert line.endswith("and 6 more like it (-v names each)")
    assert len(meshport("diff", old, new, "-v").out.splitlines()) == 7


def test_a_witness_for_ports_that_nothing_names_is_not_given_a_number(meshport: Run, tmp_path: Path) -> None:
    old, out, report = CORPUS / "ecommerce" / "istio", tmp_path / "out", tmp_path / "report.html"
    meshport("convert", old, "--to", "linkerd", "-o", out, "--fail-on", "never")
    said = meshport("verify", old, out).out
    assert "POST /charge from production/checkout to production/payment, on any port that nothing names: allowed before, denied now" in said
    audited = meshport("audit", old, "--to", "linkerd", "--report", report, "--fail-on", "never").out
    assert "production/payment, on any port that nothing names" in audited
    assert not [text for text in (said, audited, report.read_text()) if "61000" in text]


EMPTY_PEERS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: "web:1", ports: [{containerPort: 80}]}]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: []
    toPorts: [{ports: [{port: "80", protocol: TCP}]}]
"""


@pytest.mark.parametrize("command", ["verify", "diff"])
def test_each_side_has_its_release(meshport: Callable[..., Ran], tmp_path: Path, command: str) -> None:
    """An empty list of peers is everybody up to Cilium 1.15, and nobody after."""
    file = tmp_path / "web.yaml"
    file.write_text(EMPTY_PEERS)
    assert meshport(command, file, file).code == 0
    assert meshport(command, file, file, "--from-version", "1.15", "--to-version", "1.15").code == 0
    apart = meshport(command, file, file, "--from-version", "1.15", "--to-version", "1.18")
    assert apart.code == 1
    assert command == "diff" or apart.out.startswith("narrowed")
    unknown = meshport(command, file, file, "--to-version", "9.9")
    assert (unknown.code, "--to-version 9.9" in unknown.err) == (2, True)
