"""Bad input: what it is, where, the way out, in one line without a traceback; and nothing is left half-written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_cases import POLICY, SHOP, Ran

Run = Callable[..., Ran]


@pytest.mark.parametrize(
    ("text", "what", "place"),
    [
        ("spec: [1, 2\n", "cannot be read", "bad.yaml:2:1"),
        ("a:\n\t- b\n", "cannot be read", "bad.yaml:2:1"),
        ("just a sentence\n", "not a Kubernetes object", "bad.yaml"),
        ("- a\n- b\n", "not a Kubernetes object", "bad.yaml"),
        ("name: x\n", "no apiVersion and no kind", "bad.yaml"),
        ("kind: Service\nmetadata: {name: {{ .Values.name }}}\n", "", "bad.yaml"),
    ],
)
def test_nothing_readable_is_exit_2(meshport: Run, tmp_path: Path, text: str, what: str, place: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    ran = meshport("convert", file, "--to", "linkerd", "-o", tmp_path / "out")
    assert ran.code == 2
    assert what in ran.error
    assert place in ran.error
    assert "; " in ran.error  # the way out
    assert not (tmp_path / "out").exists()


def test_one_broken_file_among_others_is_a_finding(meshport: Run, shop: Path) -> None:
    (shop / "broken.yaml").write_text("a: [1\n")
    ran = meshport("convert", shop, "--to", "linkerd")
    assert ran.code == 1
    assert "kind: HTTPRoute" in ran.out
    assert re.search(r"broken\.yaml:2:1 MP001 ", ran.err)
    assert ran.err.rstrip().endswith("access inconclusive")  # it may have been a policy


@pytest.mark.parametrize(
    ("old", "new", "code", "says"),
    [
        ("kind: AuthorizationPolicy", "kind: AuthorisationPolicy", "MP010", "did you mean AuthorizationPolicy?"),
        ("security.istio.io/v1", "security.istio.io/v1beta7", "MP011", "serves it at"),
        ("action: ALLOW", "aktion: ALLOW", "MP012", "no field spec.aktion"),
        ("methods: [GET]", "METHODS: [GET]", "MP012", "Did you mean methods?"),
        ("action: ALLOW", "action: allow", "MP013", "Did you mean ALLOW?"),
        ("methods: [GET]", "methods: GET", "MP013", "spec.rules[0].to[0].operation.methods"),
        ("methods: [GET]", "methods: [GET, null]", "MP013", "spec.rules[0].to[0].operation.methods[1]: null"),
        ("metadata: {name: users, ", "metadata: {", "MP018", "has no metadata.name"),
    ],
)
def test_invalid_documents_are_findings_with_a_place(meshport: Run, shop: Path, old: str, new: str, code: str, says: str) -> None:
    (shop / "access" / "users.yaml").write_text(POLICY.replace(old, new))
    ran = meshport("lint", shop, "--from", "istio")
    assert ran.code == 1
    assert re.search(rf"users\.yaml:\d+(:\d+)? {code} ", ran.out), ran.out
    assert says in ran.out
    assert meshport("convert", shop, "--from", "istio", "--to", "linkerd").code == 1


def test_a_duplicate_key_is_a_finding(meshport: Run, shop: Path) -> None:
    (shop / "access" / "users.yaml").write_text(POLICY + "  action: DENY\n")
    ran = meshport("lint", shop)
    assert ran.code == 1
    assert re.search(r"users\.yaml:10:3 MP003 .*lines 6 and 10", ran.out)


def test_a_dangling_reference_is_a_finding(meshport: Run) -> None:
    text = """\
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: users, namespace: shop}
spec: {podSelector: {matchLabels: {app: users}}, port: 8080}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: users, namespace: shop}
spec:
  targetRef: {group: policy.linkerd.io, kind: Server, name: users}
  requiredAuthenticationRefs: [{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: nobody}]
"""
    ran = meshport("lint", "-", stdin=text)
    assert ran.code == 1
    assert re.search(r"<stdin>:\d+(:\d+)? MP014 .*nobody", ran.out), ran.out


def test_two_meshes_need_a_choice(meshport: Run) -> None:
    server = (
        "\n---\napiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: a, namespace: b}\nspec: {port: 1, podSelector: {}}\n"
    )
    both = POLICY + server
    ran = meshport("convert", "--to", "istio", stdin=both)
    assert ran.code == 2
    assert "--from istio or --from linkerd" in ran.error
    assert meshport("convert", "--from", "istio", "--to", "linkerd", stdin=both).code in (0, 1)


def test_a_setting_that_a_conversion_left_on_a_service_makes_no_second_mesh(meshport: Run) -> None:
    service = (
        "\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: b, annotations: {balancer.linkerd.io/failure-accrual: consecutive}}\n"
        "spec: {ports: [{name: http, port: 80}]}\n"
    )
    assert meshport("lint", "-", stdin=POLICY + service).code == 0
    alone = meshport("convert", "--to", "istio", stdin=service)  # and alone it says whose it is
    assert alone.code in (0, 1) and "kind: DestinationRule" in alone.out


def test_a_note_of_kubectl_makes_no_mesh(meshport: Run) -> None:
    noted = "apiVersion: v1\nkind: Service\nmetadata: {name: a, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}'}}\n"
    ran = meshport("convert", "--to", "istio", stdin=noted)
    assert (ran.code, "no document of a mesh was found" in ran.error) == (2, True)
    assert meshport("lint", "-", stdin=POLICY + "---\n" + noted).code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--to"),
        (["--to", "nomad"], "--to nomad: not a mesh"),
        (["--to", "linkerd", "--from", "consul"], "--from consul: not a mesh"),
        (["--to", "linkerd", "--to-version", "two"], "write it like"),
        (["--to", "linkerd", "--to-version", "1.0"], "from 2.12"),
        (["--to", "linkerd", "--to-version", "9.9"], "to 2.20; without --to-version the newest is meant"),
        (["--to", "linkerd", "--on-loss", "ignore"], "--on-loss ignore"),
        (["--to", "linkerd", "--data-plane", "sidecar"], "has no choice of data plane"),
        (["--to", "istio", "--data-plane", "mesh"], "with --to istio: sidecar, ambient"),
        (["--to", "linkerd", "--routes", "tcp"], "one of native, gateway-api"),
        (["--to", "linkerd", "--fail-on", "errors"], "did you mean error?"),
        (["--to", "linkerd", "--format", "xml"], "choose text, json, github"),
        (["--to", "linkerd", "--layout", "flat"], "--layout flat"),
        (["--to", "linkerd", "--probe-networks", "kubelet"], "write it like 10.0.0.0/8"),
        (["--to", "linkerd", "--gateway-identity", "gateway"], "NAMESPACE/SERVICEACCOUNT"),
        (["--to", "linkerd", "--trust-domain", "a b"], "--trust-domain 'a b': is no name of that kind"),
        (["--to", "linkerd", "--trust-domain", ""], "write it like cluster.local"),
        (
            ["--to", "linkerd", "--default-namespace", "My Shop"],
            "--default-namespace 'My Shop': is no name of that kind; write it like shop",
        ),
        (["--to", "linkerd", "--select", "users"], "KIND/NAMESPACE/NAME"),
        (["--to", "linkerd", "--namespace", "sohp"], "the namespaces read are shop"),
        (["--to", "linkerd", "--namespace", "shop", "--namespace", "sohp"], "--namespace sohp: no document is in it"),
        (["--to", "linkerd", "--namespace", "sohp"], "did you mean shop?"),
        (
            ["--to", "linkerd", "--select", "AuthorizationPolicy/shop/users", "--select", "Deployment/shop/user"],
            "did you mean Deployment/shop/users?",
        ),
        (["--to", "linkerd", "--ignore", "MP998"], "no finding has this code"),
        (["--to", "linkerd", "--report", "x.pdf"], "its suffix is of no report form; choose .json"),
        (["--to", "linkerd", "--report", "x.xml"], "its suffix is of no report form"),
        (["--to", "linkerd", "--report", "no/such/x.json"], "there is no folder no/such"),
        (["--to", "linkerd", "--check"], "name it with -o"),
        (["--to", "linkerd", "--ignore", "E501"], "no finding code"),
        (["--to", "linkerd", "--waivers", "nofile.yaml"], "nofile.yaml: cannot be read"),
        (["--to", "linkerd", "--baseline", "nofile.json"], "nofile.json: cannot be read"),
        (["--to", "linkerd", "--mappings", "nofile.yaml"], "nofile.yaml: cannot be read"),
        (["--to", "linkerd", "--no-such-option"], "No such option: --no-such-option"),
        (["--to"], "--to"),
    ],
)
def test_wrong_calls_are_exit_2(meshport: Run, shop: Path, arguments: list[str], says: str) -> None:
    ran = meshport("convert", shop, *arguments)
    assert ran.code == 2
    assert says in ran.error


def test_the_mesh_of_new_is_said_with_to(meshport: Run, shop: Path) -> None:
    assert "--to istioo: not a mesh" in meshport("diff", shop, shop, "--to", "istioo").error
    assert "--from istioo: not a mesh" in meshport("verify", shop, shop, "--from", "istioo").error


def test_unknown_commands_and_files(meshport: Run, tmp_path: Path) -> None:
    assert meshport("konvert").code == 2
    assert "no such file" in meshport("lint", tmp_path / "nothing.yaml").error
    assert "no manifests found" in meshport("lint", tmp_path).error
    assert "standard input is empty" in meshport("lint", stdin="").error
    assert "can be read once" in meshport("diff", "-", "-", stdin=SHOP).error
    assert "Missing argument" in meshport("diff", "only-one").error


def test_a_terminal_without_paths_is_a_usage_error(meshport: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    ran = meshport("convert", "--to", "linkerd")
    assert ran.code == 2
    assert "pipe manifests in" in ran.error


# -- the output


def snapshot(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_folder_in_use_is_refused(meshport: Run, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep me")
    ran = meshport("convert", shop, "--to", "linkerd", "-o", out)
    assert ran.code == 2
    assert f"{out}: is not empty and was not written by meshport" in ran.error
    assert "--force" in ran.error
    assert snapshot(out) == {"mine.txt": "keep me"}


def test_force_writes_beside_what_is_there(meshport: Run, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep me")
    assert meshport("convert", shop, "--to", "linkerd", "-o", out, "--force").code == 0
    assert snapshot(out)["mine.txt"] == "keep me"
    assert "access/users.yaml" in snapshot(out)


def test_an_output_folder_that_is_a_file(meshport: Run, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    ran = meshport("convert", shop, "--to", "linkerd", "-o", tmp_path / "out")
    assert ran.code == 2
    assert "is a file, not a folder" in ran.error


def test_an_output_below_a_file_writes_nothing(meshport: Run, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    before = snapshot(tmp_path)
    ran = meshport("convert", shop, "--to", "linkerd", "-o", tmp_path / "file" / "out")
    assert ran.code == 2
    assert "cannot be written" in ran.error
    assert snapshot(tmp_path) == before


def test_a_file_in_the_way_undoes_everything(meshport: Run, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert meshport("convert", shop, "--to", "linkerd", "-o", out).code == 0
    (out / "access" / "users.yaml").unlink()
    (out / "access" / "users.yaml").mkdir()  # a folder where a file has to go
    (out / "access" / "users.yaml" / "x").write_text("")
    (out / "world.yaml").write_text("changed by hand")
    before = snapshot(out)
    ran = meshport("convert", shop, "--to", "linkerd", "-o", out)
    assert ran.code == 2
    assert "nothing was changed" in ran.error
    assert snapshot(out) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_names_cannot_leave_the_folder(meshport: Run, tmp_path: Path) -> None:
    hostile = (SHOP + "---\n" + POLICY).replace("namespace: shop", 'namespace: "../../etc"').replace("name: shop  ", 'name: "../../etc"  ')
    ran = meshport("convert", "--to", "linkerd", "-o", tmp_path / "a" / "out", stdin=hostile)
    assert not (tmp_path / "etc").exists()
    assert ran.code in (1, 2)


def test_the_report_is_there_also_where_the_folder_is_not(
    meshport: Run, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from meshport import writing

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "_fill", full)
    report, ledger = tmp_path / "r.json", tmp_path / "l.ndjson"
    ran = meshport("convert", shop, "--to", "linkerd", "-o", tmp_path / "out", "--report", report, "--ledger", ledger)
    assert ran.code == 2
    assert "No space left on device" in ran.error
    assert not (tmp_path / "out").exists()
    assert report.exists()
    assert ledger.exists()


def test_a_defect_is_exit_3_and_one_line(
    meshport: Run, shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from meshport import pipeline
    from meshport.cli.run import run

    def broken(*_: object, **__: object) -> None:
        raise KeyError("oh\nno")

    monkeypatch.setattr(pipeline, "convert", broken)
    ran = meshport("convert", shop, "--to", "linkerd")
    assert ran.code == 3
    assert ran.err.count("\n") == 1
    assert "internal error: KeyError" in ran.err
    assert run(["convert", str(shop), "--to", "linkerd", "-v"]) == 3
    assert "Traceback" in capsys.readouterr().err
