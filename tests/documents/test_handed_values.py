"""Files of values that an install script names: read as values of that chart, before what the command itself sets; one that is not there is said."""

from __future__ import annotations

from pathlib import Path

import pytest

import meshport


def folder(root: Path, script: str, **files: str) -> meshport.Bundle:
    (root / "install.sh").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    for name, text in files.items():
        place = root / f"{name.replace('__', '/')}.yaml"
        place.parent.mkdir(exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return meshport.load(root)


def values(bundle: meshport.Bundle) -> list[tuple[str, dict[str, object]]]:
    return [(document.chart, document.value) for document in bundle.documents if document.chart]


INSTALL = "helm upgrade --install linkerd-control-plane linkerd/linkerd-control-plane"
PROXY = "proxy: {defaultInboundPolicy: deny}\n"  # a key that other charts have as well


def test_files_come_in_the_order_of_the_command_and_before_what_it_sets(tmp_path: Path) -> None:
    found = folder(tmp_path, f"{INSTALL} -f z.yaml --values=a.yaml --set proxy.logLevel=debug", a=PROXY, z="proxy: {logLevel: info}\n")
    assert values(found) == [
        ("linkerd-control-plane", {"proxy": {"logLevel": "info"}}),
        ("linkerd-control-plane", {"proxy": {"defaultInboundPolicy": "deny"}}),
        ("linkerd-control-plane", {"proxy": {"logLevel": "debug"}}),
    ]
    assert found.problems == []


@pytest.mark.parametrize(
    "name", ["prod/values.yaml", "./prod/values.yaml", "$HERE/prod/values.yaml", "'deploy/prod/values.yaml'", "a.yaml,prod/values.yaml"]
)
def test_a_file_is_found_as_the_shell_would_find_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "deploy").mkdir()
    folder(tmp_path / "deploy", f"{INSTALL} -f {name}", prod__values=PROXY, a="{}\n")
    assert ("linkerd-control-plane", {"proxy": {"defaultInboundPolicy": "deny"}}) in values(meshport.load(tmp_path))


@pytest.mark.parametrize(
    "command",
    [
        f"{INSTALL} -f gone.yaml",
        "linkerd install --values gone.yaml | kubectl apply -f -",
        "istioctl install -y -f gone.yaml",
        "cilium install --values gone.yaml",
    ],
)
def test_a_file_that_was_not_given_is_named_where_the_script_names_it(tmp_path: Path, command: str) -> None:
    (problem,) = folder(tmp_path, command, values=PROXY).problems[:1]
    assert (problem.code, problem.line) == ("MP388", 2) and "gone.yaml" in problem.message


def test_two_files_that_the_name_may_mean_are_not_chosen_from(tmp_path: Path) -> None:
    found = folder(tmp_path, f"{INSTALL} -f values.yaml", prod__values=PROXY, test__values=PROXY)
    assert [problem.code for problem in found.problems] == ["MP388", "MP002", "MP002"]


def test_values_of_no_mesh_are_left_alone(tmp_path: Path) -> None:
    found = folder(tmp_path, "helm install db bitnami/postgresql -f gone.yaml\nhelm template istiod istio/istiod")
    assert found.problems == [] and values(found) == []


def test_values_that_a_pipe_gives_are_unknown(tmp_path: Path) -> None:
    (problem,) = folder(tmp_path, "helm install -f - istiod istio/istiod").problems
    assert (problem.code, "hands standard input to istiod" in problem.message) == ("MP388", True)


def test_what_a_handed_file_says_decides_how_the_rest_is_read(tmp_path: Path) -> None:
    home = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {linkerd.io/inject: enabled}}\n"
    bundle = folder(tmp_path, f"{INSTALL} -f values.yaml", values="proxy: {defaultInboundPolicy: all-authenticated}\n", shop=home)
    result = meshport.convert(bundle, source="linkerd", target="istio")
    (strict,) = [item.object["spec"] for item in result.manifests if item.object["kind"] == "PeerAuthentication"]
    assert strict == {"mtls": {"mode": "STRICT"}}
