"""What convert prints, writes and returns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cli_cases import POLICY, SHOP, Ran

Run = Callable[..., Ran]


def kinds(text: str) -> list[str]:
    return [item["kind"] for item in yaml.safe_load_all(text)]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_stdout_has_manifests_alone(meshport: Run, shop: Path) -> None:
    ran = meshport("convert", shop, "--to", "linkerd")
    assert ran.code == 0
    assert set(kinds(ran.out)) == {"Namespace", "Deployment", "Server", "HTTPRoute", "AuthorizationPolicy"}
    assert "MP101" in ran.err
    assert re.search(
        r"^\d+ manifests, \d+ leaves: \d+ translated.*; 0 errors, 1 warnings?, 2 info; access equivalent$", ran.err, re.MULTILINE
    )


def test_comments_and_order_of_changed_documents_survive(meshport: Run, shop: Path) -> None:
    text = meshport("convert", shop, "--to", "linkerd").out
    assert text.startswith("# who lives here\napiVersion: v1\nkind: Namespace\n")
    assert "name: shop   # the shop itself\n" in text
    assert "team: blue" in text
    assert "# from AuthorizationPolicy shop/users\n" in text


def test_what_is_only_good_to_know_of_many_services_is_named_a_few_times(meshport: Run) -> None:
    many = "".join(
        f"""---
apiVersion: v1
kind: Service
metadata: {{name: s{number}, namespace: shop}}
spec: {{selector: {{app: s{number}}}, ports: [{{name: http, port: 80}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: s{number}, namespace: shop}}
spec: {{hosts: [s{number}], http: [{{route: [{{destination: {{host: s{number}}}}}], timeout: 3s}}]}}
"""
        for number in range(9)
    )
    ran = meshport("convert", "--from", "istio", "--to", "linkerd", stdin=many)
    assert ran.err.count("MP401 Service") == 5 and "and 4 MP401 more: -v names each" in ran.err
    assert meshport("convert", "--from", "istio", "--to", "linkerd", "-v", stdin=many).err.count("MP401 Service") == 9


def test_standard_input_is_the_default(meshport: Run) -> None:
    piped = meshport("convert", "--from", "istio", "--to", "linkerd", stdin=SHOP + "---\n" + POLICY)
    named = meshport("convert", "-", "--from", "istio", "--to", "linkerd", stdin=SHOP + "---\n" + POLICY)
    assert piped == named
    assert "<stdin>:" in piped.err


def test_json_all_through(meshport: Run, shop: Path) -> None:
    ran = meshport("convert", shop, "--to", "linkerd", "--format", "json")
    listed = json.loads(ran.out)
    assert listed["kind"] == "List"
    assert len(listed["items"]) == 6
    assert json.loads(ran.err)["schema"] == "meshport/report/v1"


def test_workflow_annotations(meshport: Run, shop: Path) -> None:
    (shop / "access" / "users.yaml").write_text(POLICY.replace("action: ALLOW", "action: allow"))
    ran = meshport("convert", shop, "--to", "linkerd", "--format", "github")
    assert re.search(r"^::error file=[^,]*users\.yaml,line=6,col=11,title=MP013::.*%0A", ran.err, re.MULTILINE)


def test_the_same_input_gives_the_same_bytes(meshport: Run, shop: Path, tmp_path: Path) -> None:
    runs = [
        meshport("convert", shop, "--to", "linkerd", "--report", tmp_path / f"{i}.json", "--ledger", tmp_path / f"{i}.nd") for i in "ab"
    ]
    assert runs[0] == runs[1]
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.nd").read_bytes() == (tmp_path / "b.nd").read_bytes()


def test_ledger_lines(meshport: Run, shop: Path, tmp_path: Path) -> None:
    meshport("convert", shop, "--to", "linkerd", "--ledger", tmp_path / "l", "--report", tmp_path / "r.json")
    lines = [json.loads(line) for line in (tmp_path / "l").read_text().splitlines()]
    counts = json.loads((tmp_path / "r.json").read_text())["ledger"]
    assert len(lines) == counts["leaves"]
    assert {"file", "document", "line", "path", "value", "feature", "disposition", "codes", "outputs"} <= set(lines[0])
    port = next(line for line in lines if line["path"] == "spec.rules[0].to[0].operation.ports[0]")
    assert (port["value"], port["line"], port["disposition"]) == ("8080", 9, "translated")
    assert {"file": "access/users.yaml", "path": "spec.port"} in port["outputs"]


def test_quiet_verbose_and_colour(meshport: Run, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert meshport("convert", shop, "--to", "linkerd", "-q").err.count("\n") == 1
    assert "    - " in meshport("convert", shop, "--to", "linkerd", "-v").err
    assert "\x1b" not in meshport("convert", shop, "--to", "linkerd").err
    from meshport.report import text

    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert text.wants_colour(Terminal())  # type: ignore[arg-type]
    assert not text.wants_colour(Terminal(), no_color=True)  # type: ignore[arg-type]
    monkeypatch.setenv("NO_COLOR", "1")
    assert not text.wants_colour(Terminal())  # type: ignore[arg-type]


# -- exit codes


def test_fail_on(meshport: Run, shop: Path) -> None:
    (shop / "access" / "users.yaml").write_text(POLICY.replace("action: ALLOW", "aktion: ALLOW"))
    assert meshport("convert", shop, "--to", "linkerd").code == 1
    assert meshport("convert", shop, "--to", "linkerd", "--fail-on", "never").code == 0


def test_stop_writes_no_manifests(meshport: Run, shop: Path, tmp_path: Path) -> None:
    (shop / "access" / "users.yaml").write_text(POLICY.replace("action: ALLOW", "aktion: ALLOW"))
    arguments = ("convert", shop, "--to", "linkerd", "--on-loss", "stop", "--fail-on", "never")
    ran = meshport(*arguments, "--report", tmp_path / "r.json")
    assert (ran.code, ran.out) == (1, "")
    assert json.loads((tmp_path / "r.json").read_text())["outputs"] == []
    assert meshport(*arguments, "-o", tmp_path / "out").code == 1
    assert not (tmp_path / "out").exists()
    assert "to delete" not in ran.err


def test_stop_goes_on_where_every_loss_is_accepted(meshport: Run, shop: Path, tmp_path: Path) -> None:
    (shop / "access" / "users.yaml").write_text(POLICY.replace("action: ALLOW", "aktion: ALLOW"))
    arguments = ("convert", shop, "--to", "linkerd", "--on-loss", "stop")
    meshport(*arguments, "--report", tmp_path / "base.json")
    for accepted in (("--ignore", "MP012"), ("--baseline", tmp_path / "base.json")):
        ran = meshport(*arguments, *accepted)
        assert ran.code == 0 and ran.out


# -- a folder


def test_mirror(meshport: Run, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    assert meshport("convert", shop, "--to", "linkerd", "-o", out).out == ""
    assert files(out) == {".meshport", "world.yaml", "access/users.yaml"}
    assert json.loads((out / ".meshport").read_text())["files"] == ["access/users.yaml", "world.yaml"]
    assert kinds((out / "world.yaml").read_text()) == ["Namespace", "Deployment"]  # the Service passes through unchanged


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        ("single", {"manifests.yaml"}),
        ("namespace", {"shop.yaml"}),
        ("kind", {"namespace.yaml", "deployment.yaml", "server.yaml", "httproute.yaml", "authorizationpolicy.yaml"}),
    ],
)
def test_layouts(meshport: Run, shop: Path, tmp_path: Path, layout: str, names: set[str]) -> None:
    meshport("convert", shop, "--to", "linkerd", "-o", tmp_path / "out", "--layout", layout)
    assert files(tmp_path / "out") == {".meshport", *names}


def test_from_standard_input_by_namespace_and_name(meshport: Run, tmp_path: Path) -> None:
    meshport("convert", "--to", "linkerd", "-o", tmp_path / "out", stdin=SHOP + "---\n" + POLICY)
    assert {"shop/server-users-8080.yaml", "shop/namespace-shop.yaml"} <= files(tmp_path / "out")


def test_a_second_run_replaces_the_first(meshport: Run, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    meshport("convert", shop, "--to", "linkerd", "-o", out)
    (out / "README").write_text("mine")
    (out / "access" / "users.yaml").write_text("changed by hand")
    (shop / "access" / "users.yaml").rename(shop / "policies.yaml")
    assert meshport("convert", shop, "--to", "linkerd", "-o", out).code == 0
    assert files(out) == {".meshport", "README", "world.yaml", "policies.yaml"}
    assert not (out / "access").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"shop", "out"}


def test_install_values_stand_in_the_folder(meshport: Run, tmp_path: Path) -> None:
    corpus = Path(__file__).parents[2] / "corpus" / "saas-api" / "linkerd"
    meshport("convert", corpus, "--to", "istio", "-o", tmp_path / "out")
    values = yaml.safe_load((tmp_path / "out" / "install" / "istiod.yaml").read_text())
    assert values == {"meshConfig": {"defaultHttpRetryPolicy": {"attempts": 0}}}


def test_check_and_diff(meshport: Run, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert meshport("convert", shop, "--to", "linkerd", "-o", out, "--check").code == 1
    assert not out.exists()
    meshport("convert", shop, "--to", "linkerd", "-o", out)
    assert meshport("convert", shop, "--to", "linkerd", "-o", out, "--check").code == 0
    (shop / "access" / "users.yaml").write_text(POLICY.replace("[GET]", "[PUT]"))
    before = (out / "access" / "users.yaml").read_bytes()
    ran = meshport("convert", shop, "--to", "linkerd", "-o", out, "--diff")
    assert ran.code == 1
    assert "--- a/access/users.yaml\n+++ b/access/users.yaml\n" in ran.out
    assert re.search(r"^-( *- method: )GET\n\+\1PUT$", ran.out, re.MULTILINE)
    assert (out / "access" / "users.yaml").read_bytes() == before


# -- a file


def test_one_file(meshport: Run, shop: Path, tmp_path: Path) -> None:
    printed = meshport("convert", shop, "--to", "linkerd").out
    assert meshport("convert", shop, "--to", "linkerd", "-o", tmp_path / "all.yaml").out == ""
    assert (tmp_path / "all.yaml").read_text() == printed
    meshport("convert", shop, "--to", "linkerd", "-o", tmp_path / "all.json")
    assert json.loads((tmp_path / "all.json").read_text())["kind"] == "List"
    assert meshport("convert", shop, "--to", "linkerd", "-o", tmp_path / "all.yaml", "--check").code == 0


# -- what is converted


def test_only_a_namespace(meshport: Run, shop: Path) -> None:
    (shop / "other.yaml").write_text((SHOP + "---\n" + POLICY).replace("shop", "bank"))
    ran = meshport("convert", shop, "--to", "linkerd", "--namespace", "shop")
    assert ran.code == 0
    assert "bank" not in ran.out
    assert "bank" not in ran.err
    assert "MP132 The workloads of shop leave" in meshport("convert", shop, "--to", "cilium", "--namespace", "shop").err
    assert meshport("convert", shop, "--to", "linkerd").out.count("\n---\n") == 11


def test_context_is_read_and_not_converted(meshport: Run, shop: Path, tmp_path: Path) -> None:
    alone = meshport("convert", shop / "access", "--to", "linkerd", "--fail-on", "never")
    assert "MP198" in alone.err  # the pods are not known
    ran = meshport("convert", shop / "access", "--context", shop / "world.yaml", "--to", "linkerd", "--report", tmp_path / "r.json")
    assert "kind: Server" in ran.out
    assert "kind: Deployment" not in ran.out
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["inputs"]["documents"] == 1
    assert report["ledger"]["unaccounted"] == 0


def test_a_change_that_context_would_need_is_an_error(meshport: Run, shop: Path) -> None:
    ran = meshport("convert", shop / "access", "--context", shop / "world.yaml", "--to", "linkerd")
    assert ran.code == 1
    assert "MP042 Deployment shop/users has to change" in ran.err


def test_an_output_inside_the_input_is_not_read_again(meshport: Run, shop: Path) -> None:
    first = meshport("convert", shop, "--to", "linkerd", "-o", shop / "out")
    assert meshport("convert", shop, "--to", "linkerd", "-o", shop / "out") == first
    assert meshport("verify", shop, shop / "out").code == 0


def test_a_report_inside_the_output(meshport: Run, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        assert meshport("convert", shop, "--to", "linkerd", "-o", out, "--report", out / "docs" / "r.json", "--ledger", out / "l").code == 0
    assert files(out) == {".meshport", "world.yaml", "access/users.yaml", "docs/r.json", "l"}
