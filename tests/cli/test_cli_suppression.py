"""--ignore, --waivers, --baseline: findings stay in the report and do not count."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import jsonschema_rs
import pytest
import yaml
from cli_cases import POLICY, SHOP, Ran

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
    ("rule", "code"),
    [
        ("MP012", 0),
        ("MP012:AuthorizationPolicy/shop/users", 0),
        ("MP012:authorizationpolicy/*/u*", 0),
        ("MP012:Authorization*/shop/users", 0),
        ("MP012:AuthorizationPolicy/shop/web", 1),
        ("MP012:AuthorizationPolicy/*/web", 1),
        ("MP013", 1),
    ],
)
def test_ignore(meshport: Run, wrong: Path, tmp_path: Path, rule: str, code: int) -> None:
    ran = meshport("convert", wrong, "--to", "linkerd", "--ignore", rule, "--report", tmp_path / "r.json")
    assert ran.code == code
    expected = [] if code else [{"by": "ignore", "owner": None, "reason": None, "expires": None}]
    assert suppressed(tmp_path / "r.json") == expected
    assert ("1 suppressed" in ran.err) == (code == 0)
    assert (f"--ignore {rule} meets no finding" in ran.err) == (code == 1)


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
        (WAIVER.format(day="2999-13-01"), "w.yaml:1: expires: there is no day 2999-13-01"),
        (WAIVER.format(day="20991231"), "w.yaml:1: expires: '20991231' is not a day"),
        (WAIVER.format(day="2999-01-01").replace("platform", "[platform]"), "w.yaml:1: owner: one text is expected"),
        (WAIVER.format(day="2999-01-01").replace("AuthorizationPolicy/shop/users", "users"), "w.yaml:1: resource: 'users' is not KIND/"),
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


def test_decisions_that_meet_no_finding_are_said_of_the_whole(meshport: Run, wrong: Path, tmp_path: Path) -> None:
    """A misspelt resource would else do nothing in silence; of a part, the waiver may be about the rest."""
    (tmp_path / "w.yaml").write_text(WAIVER.format(day="2999-12-31").replace("shop/users", "shop/usres"))
    says = f"{tmp_path}/w.yaml:1: the waiver of MP012 for AuthorizationPolicy/shop/usres meets no finding"
    assert says in meshport("lint", wrong, "--waivers", tmp_path / "w.yaml").err
    assert says not in meshport("lint", wrong, "--waivers", tmp_path / "w.yaml", "--namespace", "shop").err
    assert says not in meshport("lint", wrong, "--waivers", tmp_path / "w.yaml", "-q").err


def test_a_resource_of_no_namespace_is_named_by_the_one_it_is_read_in(meshport: Run, wrong: Path) -> None:
    file = wrong / "access" / "users.yaml"
    file.write_text(file.read_text().replace(", namespace: shop", ""))
    for name in ("AuthorizationPolicy/users", "AuthorizationPolicy//users", "AuthorizationPolicy/default/users"):
        assert meshport("lint", file, "--ignore", f"MP012:{name}").code == 0
    assert meshport("lint", file, "--ignore", "MP012:AuthorizationPolicy/shop/users").code == 1


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


def test_a_baseline_knows_a_finding_in_another_file_and_not_at_another_place(meshport: Run, tmp_path: Path) -> None:
    """What is left out of a namespace's policy is new for a workload that comes, however old the policy is; documents may move."""
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
    policy = POLICY.replace("  selector: {matchLabels: {app: users}}\n", "").replace(
        "principals: [cluster.local/ns/shop/sa/web]", "requestPrincipals: ['*']"
    )
    (old / "all.yaml").write_text(f"{SHOP}---\n{policy}")
    meshport("convert", old, "--to", "linkerd", "--report", tmp_path / "base.json")
    (new / "shop.yaml").write_text(SHOP)
    (new / "policy.yaml").write_text(f"# moved\n{policy}")
    moved = meshport("convert", new, "--to", "linkerd", "--baseline", tmp_path / "base.json")
    assert moved.code == 0 and "MP201" not in moved.err
    (new / "more.yaml").write_text(SHOP[SHOP.index("---\n") :].replace("users", "orders"))
    more = meshport("convert", new, "--to", "linkerd", "--baseline", tmp_path / "base.json")
    assert more.code == 1 and "MP201" in more.err


def test_a_baseline_is_of_one_object_and_of_its_ports(meshport: Run, wrong: Path, tmp_path: Path) -> None:
    """The same mistake in another object is new, and so is what is refused at a port that came."""
    base = tmp_path / "base.json"
    meshport("lint", wrong, "--report", base)
    (wrong / "access" / "web.yaml").write_text(POLICY.replace("action: ALLOW", "aktion: ALLOW").replace("name: users,", "name: web,"))
    ran = meshport("lint", wrong, "--baseline", base)
    assert ran.code == 1 and ran.out.count("MP012") == 1 and "web.yaml" in ran.out
    one, more = tmp_path / "one", tmp_path / "more"
    token = POLICY.replace("principals: [cluster.local/ns/shop/sa/web]", "requestPrincipals: ['*']").replace(', ports: ["8080"]', "")
    for folder, world in ((one, SHOP), (more, SHOP.replace("{containerPort: 8080}", "{containerPort: 8080}, {containerPort: 9090}"))):
        folder.mkdir()
        (folder / "all.yaml").write_text(f"{world}---\n{token}")
    meshport("convert", one, "--to", "linkerd", "--report", base)
    assert meshport("convert", one, "--to", "linkerd", "--baseline", base).code == 0
    ran = meshport("convert", more, "--to", "linkerd", "--baseline", base)
    assert ran.code == 1 and "MP201" in ran.err


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("MP999", "--ignore MP999: no finding has this code"),
        ("MP012:users", "--ignore MP012:users: write it as CODE:KIND/NAMESPACE/NAME"),
        ("MP012:", "--ignore MP012:: write it as CODE:KIND/NAMESPACE/NAME"),
    ],
)
def test_a_decision_about_nothing_is_refused(meshport: Run, wrong: Path, rule: str, says: str) -> None:
    ran = meshport("lint", wrong, "--ignore", rule)
    assert ran.code == 2 and says in ran.error


def test_a_baseline_tells_findings_of_no_document_apart(meshport: Run, tmp_path: Path) -> None:
    """A namespace that is not in the bundle is a finding without a document: the next such namespace is another."""
    world = SHOP[SHOP.index("---\n") :]
    (tmp_path / "a.yaml").write_text(f"{world}---\n{POLICY}")
    meshport("convert", tmp_path / "a.yaml", "--to", "linkerd", "--report", tmp_path / "base.json")
    (tmp_path / "b.yaml").write_text(f"{world}---\n{POLICY}".replace("shop", "ops"))
    ran = meshport("convert", tmp_path / "a.yaml", tmp_path / "b.yaml", "--to", "linkerd", "--baseline", tmp_path / "base.json", "-v")
    assert "Namespace ops is not in the bundle" in ran.err
    assert "Namespace shop is not in the bundle" not in ran.err


def test_a_baseline_has_to_be_a_report(meshport: Run, wrong: Path, tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text("[]")
    assert "is no meshport report" in meshport("lint", wrong, "--baseline", tmp_path / "b.json").error
