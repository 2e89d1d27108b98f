"""Files that are not what a cluster gets: kustomizations, and what Flux and Argo CD change."""

from __future__ import annotations

from pathlib import Path

import pytest

import meshport
from meshport.findings import Finding

ROUTE = """apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: shop}
spec: {hosts: [a], http: [{route: [{destination: {host: a}}]}]}
"""
HEAD = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"


def said(folder: Path, files: dict[str, str]) -> list[Finding]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return [finding for finding in meshport.lint(meshport.load(folder), source="istio") if finding.code == "MP006"]


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ("namespace: prod", "namespace"),
        ("namePrefix: x-\ncommonLabels: {a: b}", "namePrefix, commonLabels"),
        ("patches: [{path: patch.yaml}]", "patches"),
        ("components: [https://github.com/org/repo//mtls?ref=main]", "components from elsewhere"),
    ],
)
@pytest.mark.parametrize("head", [HEAD, ""])
def test_a_kustomization_that_changes_its_files_is_an_error_with_the_command(tmp_path: Path, head: str, fields: str, names: str) -> None:
    (found,) = said(tmp_path, {"base/vs.yaml": ROUTE, "base/kustomization.yaml": f"{head}resources: [vs.yaml]\n{fields}\n"})
    assert found.severity == "error"
    assert f"changes what it lists ({names})" in found.message
    assert f"kubectl kustomize {tmp_path}/base | meshport" in found.remedy
    assert found.line == 2 + 2 * bool(head)


@pytest.mark.parametrize("fields", ["", "images: [{name: x, newTag: v2}]\nreplicas: [{name: a, count: 3}]\n", "components: [../mtls]\n"])
def test_one_that_only_collects_them_is_none(tmp_path: Path, fields: str) -> None:
    assert not said(tmp_path, {"vs.yaml": ROUTE, "kustomization.yaml": f"{HEAD}resources: [vs.yaml]\n{fields}"})


FLUX = """apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: flux-system}
spec: {path: ./apps/shop, targetNamespace: prod, prune: true}
"""
ARGO = """apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: apps, namespace: argocd}
spec: {source: {path: apps/shop, repoURL: x, kustomize: {namePrefix: eu-}}}
"""


@pytest.mark.parametrize(
    ("tool", "command"), [(FLUX, "flux build kustomization apps --path ./apps/shop"), (ARGO, "argocd app manifests apps")]
)
def test_what_flux_and_argo_cd_change_is_said_where_the_files_were_read(tmp_path: Path, tool: str, command: str) -> None:
    (found,) = said(tmp_path, {"apps/shop/vs.yaml": ROUTE, "clusters/apps.yaml": tool})
    assert command in found.remedy
    assert not said(tmp_path / "other", {"apps/billing/vs.yaml": ROUTE, "clusters/apps.yaml": tool})


def test_their_objects_out_of_a_cluster_say_nothing_of_the_manifests_beside_them(tmp_path: Path) -> None:
    assert not said(tmp_path, {"apps/shop/vs.yaml": ROUTE, "apps.yaml": FLUX + "status: {lastAppliedRevision: main}\n"})
