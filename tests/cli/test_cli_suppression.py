"""--ignore, --waivers, --baseline: findings stay in the report and do not count."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import jsonschema_rs
import pytest
import yaml
from cli_cases import POLICY, Ran

from meshport.suppression import WAIVERS_SCHEMA

Run = Callable[..., Ran]

WAIVER = """\
- code: MP012
  resource: AuthorizationPolicy/shop/users
  owner: platform
  reason: goes with the next release
  expires: {day}
"""


@pytest.fixture
def wrong(shop: Path) -> Path:
    (shop / "access" / "users.yaml").write_text(POLICY.replace("action: ALLOW", "aktion: ALLOW"))
    return shop


def suppressed(file: Path) -> list[dict[str, object]]:
    return [item["suppressed"] for item in json.loads(file.read_text())["findings"] if item["suppressed"]]


@pytest.mark.parametrize(
    ("rule", "code"), [("MP012", 0), ("MP012:AuthorizationPolicy/shop/users", 0), ("MP012:AuthorizationPolicy/shop/web", 1), ("MP013", 1)]
)
def test_ignore(meshport: Run, wrong: Path, tmp_path: Path, rule: str, code: int) -> None:
    ran = meshport("convert", wrong, "--to", "linkerd", "--ignore", rule, "--report", tmp_path / "r.json")
    assert ran.code == code
    expected = [] if code else [{"by": "ignore", "owner": None, "reason": None, "expires": None}]
    assert suppressed(tmp_path / "r.json") == expected
    assert ("1 suppressed" in ran.err) == (code == 0)


def test_a_waiver(meshport: Run, wrong: Path, tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(WAIVER.format(day="2999-12-31"))
    assert meshport("convert", wrong, "--to", "linkerd", "--waivers", tmp_path / "w.yaml", "--report", tmp_path / "r.json").code == 0
    says = {"by": "waiver", "owner": "platform", "reason": "goes with the next release", "expires": "2999-12-31"}
    assert suppressed(tmp_path / "r.json") == [says]


def test_an_expired_waiver_is_a_finding(meshport: Run, wrong: Path, tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text("# decisions\n" + WAIVER.format(day="2020-01-01"))
    ran = meshport("lint", wrong, "--waivers", tmp_path / "w.yaml")
    assert ran.code == 1
    assert (
        f"{tmp_path}/w.yaml:2 MP041 The waiver of MP012 for AuthorizationPolicy/shop/users expired on 2020-01-01; ask platform" in ran.out
    )
    assert "MP012" in ran.out


def test_a_waiver_holds_on_its_last_day() -> None:
    import meshport
    from meshport.findings import Finding
    from meshport.mapping.table import builtin
    from meshport.suppression import Rule, suppress

    rule = Rule("waiver", "MP101", None, "me", "why", date(2026, 6, 30))
    for today, counts in ((date(2026, 6, 30), False), (date(2026, 7, 1), True)):
        findings = [Finding("MP101", "error", "x")]
        suppress(findings, meshport.load_objects([]), builtin(), [rule], today=today)
        assert findings[0].counts("error") == counts


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "w.yaml:1"),
        ("code: MP012\n", "w.yaml:1: a list of waivers is expected"),
        (WAIVER.format(day="soon"), "w.yaml:1: expires: 'soon' is not a day"),
        (WAIVER.format(day="2999-01-01") + "- {code: MP012}\n", "w.yaml:6: the waiver has no owner"),
        (WAIVER.format(day="2999-01-01") + "  because: x\n", "a waiver has no member 'because'"),
        (WAIVER.format(day="2999-01-01").replace("MP012", "E1"), "'E1' is no finding code"),
    ],
)
def test_bad_waivers(meshport: Run, wrong: Path, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "w.yaml").write_text(text)
    ran = meshport("lint", wrong, "--waivers", tmp_path / "w.yaml")
    assert ran.code == 2
    assert says in ran.error


def test_the_waivers_schema_fits() -> None:
    rows = yaml.safe_load(WAIVER.format(day='"2999-12-31"'))
    jsonschema_rs.validator_for(WAIVERS_SCHEMA).validate(rows)


def test_a_baseline(meshport: Run, wrong: Path, tmp_path: Path) -> None:
    base = tmp_path / "base.json"
    assert meshport("convert", wrong, "--to", "linkerd", "--report", base).code == 1
    ran = meshport("convert", wrong, "--to", "linkerd", "--baseline", base, "--report", tmp_path / "r.json")
    assert ran.code == 0
    assert {row["by"] for row in suppressed(tmp_path / "r.json")} == {"baseline"}
    text = (wrong / "access" / "users.yaml").read_text()
    (wrong / "access" / "users.yaml").write_text("# one line more\n" + text.replace("methods:", "metods:"))
    ran = meshport("convert", wrong, "--to", "linkerd", "--baseline", base)
    assert ran.code == 1
    assert "metods" in ran.err
    assert "aktion" not in ran.err


def test_a_baseline_has_to_be_a_report(meshport: Run, wrong: Path, tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text("[]")
    assert "is no meshport report" in meshport("lint", wrong, "--baseline", tmp_path / "b.json").error
