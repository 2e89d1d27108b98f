"""Folders as a team keeps them: kustomizations with their patches, charts, copies of one object in several overlays."""

from __future__ import annotations

from pathlib import Path

import meshport

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {ports: [{port: 80}]}\n"
RULES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec: {hosts: [web], http: [{timeout: TIMEOUT, route: [{destination: {host: web}}]}]}
"""


def folder(tmp_path: Path, files: dict[str, str]) -> meshport.Bundle:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return meshport.load(str(tmp_path))


def test_a_patch_of_a_kustomization_is_no_object(tmp_path: Path) -> None:
    """It holds what differs alone, and would stand in the place of the whole object."""
    overlay = "resources: [../base, also.yaml]\npatches: [{path: web.yaml}, {path: also.yaml}, {patch: '- op: remove'}]\n"
    bundle = folder(
        tmp_path,
        {
            "base/web.yaml": SERVICE + "---" + RULES.replace("TIMEOUT", "3s"),
            "overlay/kustomization.yaml": overlay,
            "overlay/web.yaml": "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: web, namespace: shop}\n$patch: delete\n",
            "overlay/also.yaml": SERVICE.replace("web", "also"),
        },
    )
    assert [(one.kind, one.name) for one in bundle.documents] == [("Service", "web"), ("VirtualService", "web"), ("Service", "also")]
    assert sorted(one.code for one in bundle.problems) == ["MP002", "MP006"]
    (route,) = meshport.convert(bundle, source="istio", target="linkerd").manifests
    assert route.object["spec"]["rules"][0]["timeouts"] == {"request": "3s"}


def test_a_chart_that_cannot_be_read_is_said_once_for_each_file(tmp_path: Path) -> None:
    template = "{{- if .Values.on }}\napiVersion: v1\nkind: A\n{{- end }}\n"
    bundle = folder(tmp_path, {"web.yaml": "---\n".join([template] * 3), "other.yaml": template, "service.yaml": SERVICE})
    assert [(one.code, Path(one.file or "").name, one.line) for one in bundle.problems] == [
        ("MP004", "other.yaml", 1),
        ("MP004", "web.yaml", 1),
    ]
    assert "2 more documents" in bundle.problems[1].message and "more" not in bundle.problems[0].message


def test_templates_that_the_injector_fills_in_are_none_of_a_chart() -> None:
    values = "values: {global: {podDNSSearchNamespaces: ['{{ valueOrDefault .DeploymentMeta.Namespace \"default\" }}.global'], hub: HUB}}"
    head = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {name: mesh}\nspec: {" + values + "}\n"
    assert not meshport.load_text(head).problems
    (problem,) = meshport.load_text(head.replace("HUB", "'{{ .Values.hub }}'")).problems
    assert problem.path == "spec.values.global.hub"


def test_an_object_that_stands_there_several_times_is_said_once(tmp_path: Path) -> None:
    copies = {
        f"{name}/web.yaml": RULES.replace("TIMEOUT", time)
        for name, time in (("a", "1s"), ("b", "2s"), ("c", "2s"), ("d", "1s"), ("e", "2s"))
    }
    result = meshport.convert(folder(tmp_path, {**copies, "service.yaml": SERVICE}), source="istio", target="linkerd")
    (said,) = [finding for finding in result.findings if finding.code == "MP019"]
    assert "5 times" in said.message and [f"{one}/web.yaml" in said.message for one in "abcde"] == [True, False, False, True, True]
    lines = {(Path(line.file or "").parent.name, line.disposition) for line in result.ledger if line.path == "spec.http[0].timeout"}
    assert lines == {("a", "invalid"), ("b", "irrelevant"), ("c", "irrelevant"), ("d", "invalid"), ("e", "translated")}
