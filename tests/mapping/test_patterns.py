"""The patterns reference: each row that operators ask for, as the meshes are today. The published table that the project grew from had ten of its
eighteen cells wrong or out of date; those are the first rows here."""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from meshport.cli.app import app
from meshport.mapping.table import TARGETS, builtin, iterate_features

ROOT = Path(__file__).parents[2]
MORE = {
    "access-log", "canary", "egress", "extensions", "external-authorization", "fault-injection", "header-changes", "ingress", "jwt", "kafka",
    "l4-policy", "load-balancing", "locality", "membership", "mirroring", "multi-cluster", "observability", "timeout", "tracing",
}  # fmt: skip


def _patterns(*args: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["patterns", *args, "--format", "json"])
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)["patterns"]
    return found


@pytest.mark.parametrize(
    ("pattern", "mesh", "says", "not_says"),
    [
        ("mtls", "istio", "PERMISSIVE", ""),  # was: PeerAuthentication, without its default
        ("mtls", "linkerd", "required by default-inbound-policy", ""),  # was: default on, which is not required
        ("mtls", "cilium", "authentication.mode never encrypts", "encryption.enabled"),  # was: encryption.enabled
        ("canary", "linkerd", "HTTPRoute weights (policy.linkerd.io 2.13+", ""),  # was: TrafficSplit
        ("canary", "cilium", "HTTPRoute weights on a Service (1.16+)", "N/A"),  # was: N/A
        ("circuit-breaker", "linkerd", "failure-accrual (2.13+); a ServiceProfile switches it off", ""),  # was: ServiceProfile
        ("circuit-breaker", "cilium", "CiliumEnvoyConfig", "N/A"),  # was: N/A
        ("retry", "linkerd", "retry.linkerd.io annotations (2.16+)", ""),  # was: ServiceProfile
        ("retry", "cilium", "HTTPRoute retry (1.17+, experimental channel)", "N/A"),  # was: N/A
        ("authorization", "linkerd", "ServerAuthorization is legacy", ""),  # was: ServerAuthorization
        ("rate-limiting", "linkerd", "HTTPLocalRateLimitPolicy (2.17+)", "none"),  # was: N/A
        ("rate-limiting", "cilium", "not CiliumNetworkPolicy", ""),  # was: CiliumNetworkPolicy
        ("canary", "istio", "VirtualService weights", ""),
        ("circuit-breaker", "istio", "outlierDetection", ""),
        ("retry", "istio", "2 attempts by default", ""),
        ("authorization", "istio", "AuthorizationPolicy", ""),
        ("authorization", "cilium", "CiliumNetworkPolicy", ""),
        ("rate-limiting", "istio", "EnvoyFilter local_ratelimit", ""),
        ("timeout", "istio", "VirtualService timeout", ""),
        ("timeout", "linkerd", "timeout.linkerd.io", ""),
        ("timeout", "cilium", "HTTPRoute timeouts (1.15+)", ""),
        ("observability", "istio", "istio_*", ""),
        ("observability", "linkerd", "response_total", ""),
        ("observability", "cilium", "hubble_*", ""),
    ],
)
def test_a_row_of_the_reference(pattern: str, mesh: str, says: str, not_says: str) -> None:
    ((row),) = _patterns(pattern)
    assert says in row["summary"][mesh]
    assert not not_says or not_says not in row["summary"][mesh]


def test_every_pattern_is_there_and_broken_into_features() -> None:
    rows = {row["name"]: row for row in _patterns()}
    assert set(rows) >= MORE | {"mtls", "circuit-breaker", "retry", "authorization", "rate-limiting"}
    for name, row in rows.items():
        assert len(row["features"]) >= 2, name
        assert all(row["summary"].get(mesh) for mesh in TARGETS), name


@pytest.mark.parametrize(
    ("feature", "mesh", "release", "support"),
    [
        ("rate-limit.total", "linkerd", "2.16", "none"),
        ("rate-limit.total", "linkerd", "2.17", "native"),
        ("breaker.mode", "linkerd", "2.12", "none"),
        ("breaker.mode", "linkerd", "2.13", "native"),
        ("kafka.topic", "cilium", "1.19", "native"),
        ("kafka.topic", "cilium", "1.20", "none"),
        ("retry.attempts", "cilium", "1.16", "none"),
        ("retry.attempts", "cilium", "1.17", "approximate"),
        ("extension.proxylib", "cilium", "1.20", "none"),
    ],
)
def test_a_cell_by_release(feature: str, mesh: str, release: str, support: str) -> None:
    assert builtin().support(feature, mesh, release).support == support


def test_every_feature_has_a_cell_with_a_source_for_every_target() -> None:
    """SMI is only read, so nothing is said about converting to it."""
    for feature in iterate_features(builtin()):
        for mesh in TARGETS:
            for release in builtin().versions(mesh):
                cell = builtin().support(feature.name, mesh, release)
                assert cell.source, (feature.name, mesh, release)
                assert cell.support in ("native", "irrelevant") or (cell.code and cell.message and cell.remedy), (
                    feature.name,
                    mesh,
                    release,
                )


# -- the check itself notices what is missing


@pytest.fixture(scope="module")
def check() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        spec = importlib.util.spec_from_file_location("check_tables", ROOT / "scripts" / "check_tables.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(ROOT / "scripts"))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda row: row.pop("linkerd"), "no cell for linkerd"),
        (lambda row: row["istio"].pop("source"), "no source"),
        (lambda row: row["gateway-api"].pop("remedy"), "no remedy"),
        (lambda row: row.update(cilium=[{**row["istio"], "since": "1.16"}]), "nothing before 1.16"),
    ],
)
def test_what_is_missing_in_a_row_is_a_fault(check: ModuleType, change: Any, fault: str) -> None:
    path = ROOT / "mappings" / "support" / "l4-policy.yaml"
    rows = copy.deepcopy(check.read(path))
    assert check.support_faults({path: rows}) == []
    change(rows["features"]["l4.ingress-default-deny"])
    assert any(fault in found for found in check.support_faults({path: rows}))


def test_a_code_without_a_page_is_a_fault(check: ModuleType) -> None:
    path = ROOT / "mappings" / "support" / "l4-policy.yaml"
    rows = copy.deepcopy(check.read(path))
    rows["features"]["l4.dns"]["istio"]["code"] = "MP998"
    assert any("MP998 has no page" in found for found in check.code_faults({path: rows}))
