"""The other commands: what each prints and returns."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema_rs
import pytest
import yaml
from cli_cases import POLICY, SHOP, Ran

Run = Callable[..., Ran]


def test_lint_prints_findings_on_stdout(meshport: Run, shop: Path) -> None:
    assert meshport("lint", shop).code == 0
    (shop / "access" / "users.yaml").write_text(POLICY.replace("action: ALLOW", "aktion: ALLOW"))
    ran = meshport("lint", shop)
    assert ran.code == 1
    assert "users.yaml:6:11 MP012 " in ran.out
    assert ran.err == "4 documents: 1 error, 0 warnings, 0 info\n"
    report = json.loads(meshport("lint", shop, "--format", "json").out)
    assert [item["code"] for item in report["findings"]] == ["MP012"]
    assert report["ledger"] is None
    assert meshport("lint", shop, "--format", "github").out.startswith("::error file=")


def test_diff_of_a_bundle_and_its_conversion(meshport: Run, shop: Path, tmp_path: Path) -> None:
    assert meshport("diff", shop, shop).code == 0
    changed = tmp_path / "changed"
    changed.mkdir()
    (changed / "all.yaml").write_text(SHOP + "---\n" + POLICY.replace("[GET]", "[GET, PUT]"))
    ran = meshport("diff", shop, changed)
    assert ran.code == 1
    assert ran.out.startswith(("+ access to shop/users port 8080: ", "~ access to shop/users port 8080: "))
    assert all(line.endswith(" (behaviour)") for line in ran.out.splitlines())
    rows = json.loads(meshport("diff", shop, changed, "--format", "json").out)
    assert set(rows[0]) == {"change", "subject", "path", "before", "after", "kind"}
    assert {row["kind"] for row in rows} == {"behaviour"}


def test_diff_says_what_is_of_form_alone(meshport: Run, shop: Path, tmp_path: Path) -> None:
    halves = POLICY + "    when: [{key: source.ip, values: [10.0.0.0/9, 10.128.0.0/9]}]\n"
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(SHOP + "---\n" + halves)
    new.write_text(SHOP + "---\n" + halves.replace("10.0.0.0/9, 10.128.0.0/9", "10.0.0.0/8"))
    ran = meshport("diff", old, new)
    assert ran.code == 1
    assert ran.out and all(line.endswith(" (form)") for line in ran.out.splitlines())
    assert "of form alone" in ran.err
    assert {row["kind"] for row in json.loads(meshport("diff", old, new, "--format", "json").out)} == {"form"}


def test_verify_takes_the_new_over_the_old_world(meshport: Run, shop: Path, tmp_path: Path) -> None:
    meshport("convert", shop, "--to", "linkerd", "-o", tmp_path / "out")
    ran = meshport("verify", shop, tmp_path / "out")
    assert ran.code == 0
    assert ran.out.startswith("equivalent: ")


def test_verify_gives_a_witness(meshport: Run, shop: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(POLICY.replace("[GET]", "[PUT]"))
    ran = meshport("verify", shop, new)
    assert ran.code == 1
    assert ran.out.startswith("changed: ")
    assert "PUT / from shop/web to shop/users:8080: denied before, allowed now\n" in ran.out
    assert "GET / from shop/web to shop/users:8080: allowed before, denied now\n" in ran.out
    found = json.loads(meshport("verify", shop, new, "--format", "json").out)
    assert found["verdict"] == "changed"


def test_ir(meshport: Run, shop: Path) -> None:
    data = yaml.safe_load(meshport("ir", shop).out)
    assert "access to shop/users port 8080" in data["effective"]
    policy = data["facts"]["policies"][0]
    assert policy["action"]["value"] == "allow"
    assert f"{shop}/access/users.yaml:6" in policy["action"]["at"]
    assert json.loads(meshport("ir", shop, "--format", "json").out) == data
    schema = json.loads(meshport("schema", "ir").out)
    jsonschema_rs.validator_for(schema).validate(data)


def test_patterns(meshport: Run) -> None:
    assert "timeout: Timeout" in meshport("patterns").out
    ran = meshport("patterns", "timeout")
    assert "timeout.request" in ran.out
    assert "native" in ran.out
    assert "did you mean timeout?" in meshport("patterns", "timeuot").error
    everything = json.loads(meshport("patterns", "--format", "json").out)["patterns"]
    assert len(everything) > 20
    assert all(feature["support"] for pattern in everything for feature in pattern["features"])


@pytest.mark.parametrize("code", ["MP012", "mp012", "12"])
def test_explain(meshport: Run, code: str) -> None:
    text = meshport("explain", code).out
    assert text.startswith("MP012: An unknown field (error)\n")
    for part in ("Cause: ", "Remedy: ", "Example: "):
        assert part in text


def test_explain_lists_and_refuses(meshport: Run) -> None:
    assert "MP001  error" in meshport("explain").out
    assert "did you mean" in meshport("explain", "MP0012").error
    rows = json.loads(meshport("explain", "--format", "json").out)
    assert all(row["title"] and row["meaning"] and row["remedy"] for row in rows)


@pytest.mark.parametrize("name", ["report", "ir", "mapping", "waivers", "plan"])
def test_schemas_are_schemas(meshport: Run, name: str) -> None:
    jsonschema_rs.meta.validate(json.loads(meshport("schema", name).out))


def test_an_unknown_schema(meshport: Run) -> None:
    assert "choose report, ir, mapping, waivers, plan; did you mean report?" in meshport("schema", "reports").error


def test_the_built_in_rows_fit_the_mapping_schema(meshport: Run) -> None:
    check = jsonschema_rs.validator_for(json.loads(meshport("schema", "mapping").out))
    for file in sorted((Path(__file__).parents[2] / "mappings" / "support").glob("*.yaml")):
        check.validate(yaml.safe_load(file.read_text()))


def test_own_rows_have_to_be_of_known_features(meshport: Run, shop: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.yaml"
    rows.write_text("features: {timeout.requests: {linkerd: {support: none}}}\n")
    ran = meshport("lint", shop, "--mappings", rows)
    assert ran.code == 2
    assert f"{rows}: no feature 'timeout.requests'; did you mean timeout.request?" in ran.error
    rows.write_text("timeout.request: {}\n")
    assert "a mapping `features:` is expected" in meshport("lint", shop, "--mappings", rows).error


def test_trace_knows_the_trust_domain_of_the_installation(meshport: Run, shop: Path) -> None:
    policy = shop / "access" / "users.yaml"
    policy.write_text(policy.read_text().replace("cluster.local/ns/shop/sa/web", "corp.example/ns/shop/sa/users"))
    (shop / "mesh.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: 'trustDomain: corp.example'}\n"
    )
    call = ("trace", shop, "--from-workload", "shop/users", "--to", "shop/users:80", "--path", "/")
    assert ": allowed by AuthorizationPolicy shop/users" in meshport(*call).out
    assert ": denied by AuthorizationPolicy shop/users" in meshport(*call, "--trust-domain", "cluster.local").out


def test_what_has_no_name_is_nothing_to_delete(meshport: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {namespace: shop}\nspec: {}\n")
    ran = meshport("convert", tmp_path / "a.yaml", "--from", "istio", "--to", "linkerd", "--report", tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text())["removals"] == []
    assert "to delete" not in ran.err


def test_trace_follows_one_request(meshport: Run, shop: Path) -> None:
    asked = ("trace", shop, "--to", "shop/users:80", "--path", "/users", "--from-workload", "shop/users")
    ran = meshport(*asked)
    assert ran.code == 0
    first, *steps = ran.out.splitlines()
    assert first.startswith("GET /users from shop/users to shop/users:80: ")
    assert steps[0].strip().startswith("1. who calls: shop/users")
    assert any("users.yaml:" in step for step in steps)
    data = json.loads(meshport(*asked, "--format", "json").out)
    assert set(data) == {"verdict", "allowed", "request", "rule", "route", "steps"}
    by_name = meshport("trace", shop, "--to", "shop/users:http", "--path", "/users", "--from-workload", "shop/users")
    assert by_name.out == meshport(*asked).out
    for wrong, said in (
        (("--to", "shop/users:grpc"), "Service shop/users has no port of that name; it has http 80"),
        (("--to", "shop/users:81"), "--to shop/users:81: Service shop/users has no port 81; it has http 80"),
        (("--to", "shop/user:80"), "--to shop/user:80: the bundle shows none of that name; did you mean users?"),
        (("--to", "shpo/users:80"), "--to shpo/users:80: the bundle shows nothing of the namespace shpo; did you mean shop?"),
        (("--to", "shop/api.example.com:443"), "hosts outside are not traced"),
        (("--to", "shop/users:80", "--path", "users"), "a path begins with a slash, such as /users"),
        (("--to", "shop/users:80", "--protocol", "tcp", "--path", "/users"), "are of HTTP requests"),
    ):
        ran = meshport("trace", shop, *wrong)
        assert ran.code == 2 and said in ran.err
    assert meshport("trace", shop, "--to", "shop/users:80", "--protocol", "grpc").out.startswith("POST / from outside the mesh")
    ran = meshport("trace", shop, "--to", "users", "--path", "/users")
    assert (ran.code, ran.err) == (2, "meshport: error: --to users: write it as NAMESPACE/SERVICE:PORT, such as shop/users:8080\n")


def test_verify_shows_a_witness_and_what_decides(meshport: Run, shop: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    changed.mkdir()
    (changed / "all.yaml").write_text(SHOP + "---\n" + POLICY.replace("[GET]", "[GET, PUT]"))
    ran = meshport("verify", shop, changed)
    assert ran.code == 1
    first, witness, before, now = ran.out.splitlines()[:4]
    assert first.startswith("widened: ")
    assert witness.startswith("PUT ") and "to shop/users:" in witness and ": denied before, allowed now" in witness
    assert before.strip().startswith("before: ") and "users.yaml:" in before and now.strip().startswith("now: ") and "all.yaml:" in now
    found = json.loads(meshport("verify", shop, changed, "--format", "json").out)
    assert found["verdict"] == "widened" and found["undecided"] == []
    assert {cause["side"] for cause in found["differences"][0]["causes"]} == {"before", "after"}
    assert meshport("verify", shop, shop).out.startswith("equivalent: both do the same with every request")
