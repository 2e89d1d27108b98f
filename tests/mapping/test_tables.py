"""The tables against themselves, against the code, and against the CRDs."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from meshport.documents import load_text
from meshport.mapping.bound import Bound
from meshport.mapping.table import builtin

ROOT = Path(__file__).parents[2]
CRDS = ROOT.parent / "shared" / "crds"
PAGE = ("title", "severity", "meaning", "cause", "remedy", "example")
no_crds = pytest.mark.skipif(not CRDS.is_dir(), reason="no CRDs: ../shared is not there")


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        found = {}
        for name in ("check_tables", "bindings_skeleton"):
            spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
            assert spec is not None and spec.loader is not None
            found[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(found[name])
        yield found
    finally:
        sys.path.remove(str(ROOT / "scripts"))


def _files(check: ModuleType, folder: str) -> dict[Path, dict[str, object]]:
    return {path: check.read(path) for path in sorted((ROOT / "mappings" / folder).rglob("*.yaml"))}


def test_the_rows_are_complete(scripts: dict[str, ModuleType]) -> None:
    check = scripts["check_tables"]
    bindings, support = _files(check, "bindings"), _files(check, "support")
    assert [*check.binding_faults(bindings), *check.support_faults(support), *check.code_faults(support)] == []


def test_every_feature_that_is_bound_has_a_row(scripts: dict[str, ModuleType]) -> None:
    check, table = scripts["check_tables"], builtin()
    for path, rows in _files(check, "bindings").items():
        assert [name for name in sorted(check.named(rows)) if table.feature(name) is None] == [], path.name


def test_codes_and_their_pages() -> None:
    table = builtin()
    raised = {code for path in (ROOT / "meshport").rglob("*.py") for code in re.findall(r'"(MP\d{3})"', path.read_text(encoding="utf-8"))}
    raised |= {
        code
        for path in (ROOT / "mappings" / "metrics").glob("*.yaml")
        for code in re.findall(r"\bMP\d{3}\b", path.read_text(encoding="utf-8"))
    }
    cells = {
        cell.code
        for pattern in table.patterns()
        for row in pattern.features
        for listed in row.cells.values()
        for cell in listed
        if cell.code
    }
    assert sorted((raised | cells) - set(table.codes())) == []
    assert sorted(set(table.codes()) - raised - cells) == []
    assert [(code.name, member) for code in table.codes().values() for member in PAGE if not getattr(code, member)] == []


DECIDED = {
    "error": "MP103 MP130 MP134 MP140 MP190 MP191 MP194 MP201 MP202 MP207 MP208 MP211 MP216 MP218 MP219 MP230 MP267 MP268 MP269 MP275 MP290 MP301 MP303 MP370 MP371 MP704 MP760 MP960",
    "warning": "MP105 MP142 MP203 MP204 MP205 MP213 MP232 MP281 MP289 MP354 MP403 MP504 MP520 MP551 MP552 MP554",
    "info": "MP101 MP206 MP209 MP212 MP236 MP401 MP501 MP553 MP558 MP975",
}
"""How loud a decision is: what was allowed to nobody, or decided by nobody, against what is slower or said otherwise."""


@pytest.mark.parametrize("severity", DECIDED)
def test_findings_are_as_loud_as_was_decided(severity: str) -> None:
    assert {code: builtin().codes()[code].severity for code in DECIDED[severity].split()} == dict.fromkeys(
        DECIDED[severity].split(), severity
    )


def test_whatever_lets_more_in_is_an_error_but_for_probes_and_scrapes_that_were_asked_for() -> None:
    quiet = {code for code, row in builtin().codes().items() if row.effect == "widens" and row.severity != "error"}
    assert quiet == {"MP204", "MP205", "MP233", "MP234"}
    cells = [
        (row.name, cell)
        for pattern in builtin().patterns()
        for row in pattern.features
        for listed in row.cells.values()
        for cell in listed
        if cell.effect == "widens"
    ]
    # the place of a token is lost with its issuer, which is the error; of TLS its versions and ciphers are lost, and not TLS
    assert len(cells) > 20 and {name for name, cell in cells if cell.severity != "error"} == {"jwt.location", "gateway.tls.parameters"}


def test_every_kind_of_the_references_has_its_rows(scripts: dict[str, ModuleType]) -> None:
    check = scripts["check_tables"]
    assert check.kind_faults(_files(check, "bindings")) == []


@no_crds
def test_every_leaf_of_the_crds_has_a_row(scripts: dict[str, ModuleType]) -> None:
    faults, leaves = scripts["check_tables"].crd_faults(_files(scripts["check_tables"], "bindings"), CRDS)
    assert faults == [] and leaves > 9000


@no_crds
def test_the_bindings_are_what_the_rules_make(scripts: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bindings_skeleton.py", "--crds", str(CRDS), "--check"])
    assert scripts["bindings_skeleton"].main() == 0


def test_a_kind_says_more_of_its_name_than_all_kinds_do() -> None:
    """The name of a ServiceProfile is the host that it is for."""
    text = (
        "{apiVersion: linkerd.io/v1alpha2, kind: ServiceProfile, metadata: {name: users.shop.svc.cluster.local, namespace: shop}, spec: {}}"
    )
    bundle = load_text(text)
    bound = Bound(bundle, builtin(), ("linkerd",))
    assert bound.feature(bundle.documents[0].leaves["metadata"]["name"]) == "destination.host"


def test_a_value_may_be_a_feature_of_its_own() -> None:
    text = "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: stop, namespace: shop}, spec: {action: DENY}}"
    bundle = load_text(text)
    bound = Bound(bundle, builtin(), ("istio",))
    assert bound.feature(bundle.documents[0].leaves["spec"]["action"]) == "authorization.deny"


def test_what_cilium_is_beside_a_mesh_stays_as_it_is() -> None:
    """An address pool is of Cilium's API group and of no mesh; a policy is of the mesh."""
    pool = "{apiVersion: cilium.io/v2, kind: CiliumLoadBalancerIPPool, metadata: {name: blue}, spec: {blocks: [{cidr: 10.0.0.0/24}]}}"
    policy = "{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: a, namespace: b}, spec: {endpointSelector: {}, ingress: [{}]}}"
    bound = Bound(load_text(f"{pool}\n---\n{policy}"), builtin(), ("cilium",))
    assert bound.mesh == [False, True] and bound.findings == []


def test_an_empty_peer_of_cilium_says_something() -> None:
    """`fromEndpoints: [{}]` is every pod of the namespace, `ingress: [{}]` nobody, and entity `all` everybody."""
    text = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: a, namespace: b}
spec: {endpointSelector: {}, ingress: [{}, {fromEndpoints: [{}]}, {fromEntities: [all]}, {fromEntities: [host]}]}
"""
    bundle = load_text(text)
    bound = Bound(bundle, builtin(), ("cilium",))
    spec = bundle.documents[0].leaves["spec"]
    closed, within, everybody, host = spec["ingress"]
    assert bound.feature(spec["endpointSelector"]) == "authorization.subject"
    assert bound.feature(closed) == "l4.ingress-default-deny"
    assert bound.feature(within["fromEndpoints"][0]) == "authorization.source.labels"
    assert bound.feature(everybody["fromEntities"][0]) == "authorization.source.unauthenticated"
    assert bound.feature(host["fromEntities"][0]) == "l4.entities"
