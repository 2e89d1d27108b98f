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


def test_a_document_with_a_patch_directive_is_no_object() -> None:
    patch = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {ports: [{port: 80, $patch: delete}]}\n"
    bundle = meshport.load_text(SERVICE + patch)
    assert [one.kind for one in bundle.documents] == ["Service"] and [one.code for one in bundle.problems] == ["MP002"]


def test_a_kustomization_of_what_no_mesh_reads_is_not_named(tmp_path: Path) -> None:
    job = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: job}\n"
    files = {"shop/web.yaml": SERVICE, "shop/kustomization.yaml": "resources: [web.yaml]\nnamespace: shop\n"}
    files |= {"jobs/job.yaml": job, "jobs/kustomization.yaml": "resources: [job.yaml]\nnamespace: jobs\n"}
    files |= {"over/kustomization.yaml": "resources: [../shop]\nnamePrefix: a\n"}
    result = meshport.convert(folder(tmp_path, files), source="istio", target="linkerd")
    named = sorted(Path(finding.file or "").parent.name for finding in result.findings if finding.code == "MP006")
    assert named == ["over", "shop"]


def test_names_that_are_to_be_filled_in_are_no_names() -> None:
    rules = RULES.replace("TIMEOUT", "3s").replace("namespace: shop", "namespace: <namespace>")
    result = meshport.convert(meshport.load_text(SERVICE + "---" + rules), source="istio", target="cilium")
    (said,) = [finding for finding in result.findings if finding.severity == "error"]
    assert said.code == "MP018" and "'<namespace>'" in said.message and not result.manifests


def test_a_value_that_is_filled_in_later_is_not_called_refused_by_the_cluster() -> None:
    networks = """
apiVersion: policy.linkerd.io/v1alpha1
kind: NetworkAuthentication
metadata: {name: pods, namespace: shop}
spec: {networks: [{cidr: "${PODS:=10.0.0.0/8}"}]}
"""
    said = [finding for finding in meshport.lint(meshport.load_text(networks)) if finding.code == "MP072"]
    assert len(said) == 1 and "not filled in" in said[0].message and "envsubst" in said[0].remedy
