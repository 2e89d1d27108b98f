"""Manifests that an install script gives to a cluster and that stand in no input: each command is named once, and what was given is not called missing."""

from __future__ import annotations

from pathlib import Path

import pytest

import meshport

NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"


def _named(folder: Path, script: str) -> list[tuple[int, str]]:
    """The lines and commands that are named, of a script beside k8s/web.yaml and overlays/prod/web.yaml."""
    for name in ("k8s/web.yaml", "overlays/prod/web.yaml"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(NAMESPACE, encoding="utf-8")
    (folder / "install.sh").write_text(script, encoding="utf-8")
    problems = meshport.load(str(folder)).problems
    assert {problem.code for problem in problems} <= {"MP980"}
    return [(problem.line or 0, problem.message.split("`")[1]) for problem in problems]


@pytest.mark.parametrize(
    ("script", "line", "command"),
    [
        ('sed -e "s/@TOKEN@/$TOKEN/" k8s/gateway.yaml | kubectl apply -n shop -f -\n', 1, "sed k8s/gateway.yaml | kubectl apply -f -"),
        ("set -e\nenvsubst < k8s/authz.tpl.yaml | kubectl apply -f -\n", 2, "envsubst | kubectl apply -f -"),
        ("envsubst '$NS' < k8s/authz.tpl.yaml |\n  kubectl apply -f -\n", 2, "envsubst | kubectl apply -f -"),
        ("cat k8s/web.yaml | envsubst | kubectl apply -f -\n", 1, "cat k8s/web.yaml | envsubst | kubectl apply -f -"),
        ("kubectl apply -f https://example.com/istio/authz.yaml\n", 1, "kubectl apply -f https://example.com/istio/authz.yaml"),
        ("kubectl apply -f https://me:secret@example.com/a.yaml?token=secret\n", 1, "kubectl apply -f https://example.com/a.yaml"),
        ("curl -sSL https://example.com/a.yaml | kubectl create -f -\n", 1, "curl https://example.com/a.yaml | kubectl create -f -"),
        ("kubectl apply -k overlays/stage\n", 1, "kubectl apply -k overlays/stage"),
        ("kubectl apply -f <(kustomize build overlays/stage)\n", 1, "kubectl apply -f <(kustomize build overlays/stage)"),
        ("kustomize build overlays/stage | kubectl apply -f -\n", 1, "kustomize build overlays/stage | kubectl apply -f -"),
        ("kustomize build overlays/prod | sed s/a/b/ | kubectl apply -f -\n", 1, "kustomize | sed | kubectl apply -f -"),
        ("helm template ./charts/app -f v.yaml | kubectl apply -f -\n", 1, "helm template ./charts/app | kubectl apply -f -"),
        ("helmfile -e prod sync\n", 1, "helmfile sync"),
        ("argocd app sync shop --prune\n", 1, "argocd app sync shop"),
        ("kubectl apply -f policies.yaml\n", 1, "kubectl apply -f policies.yaml"),
        ('kubectl apply -f "$ROOT/k8s/api.yaml"\n', 1, "kubectl apply -f $ROOT/k8s/api.yaml"),
        ("if kubectl get ns shop; then\n  kubectl apply -f policies/\nfi\n", 2, "kubectl apply -f policies/"),
        ('for f in more/*.yaml; do\n  kubectl apply -f "$f"\ndone\n', 2, "kubectl apply -f $f"),
        ("ls more/*.yaml | xargs -n1 kubectl apply -f\n", 1, "kubectl apply -f {}"),
        ("find more -name '*.yaml' -exec kubectl apply -f {} \\;\n", 1, "kubectl apply -f {}"),
        ("kubectl apply -f - < policies.yaml\n", 1, "kubectl apply -f - < policies.yaml"),
        ("cat policies.yaml | kubectl apply -f -\n", 1, "cat policies.yaml | kubectl apply -f -"),
        ("kubectl get vs web -o yaml | sed s/a/b/ | kubectl replace -f -\n", 1, "kubectl get vs web | sed | kubectl replace -f -"),
        ("linkerd multicluster link | kubectl --context=east apply -f -\n", 1, "linkerd multicluster link | kubectl apply -f -"),
        ('K="kubectl --context west"\n$K apply -f policies.yaml\n', 2, "kubectl apply -f policies.yaml"),
        ("KUBECTL=${KUBECTL:-kubectl}\n$KUBECTL apply -f policies.yaml\n", 2, "kubectl apply -f policies.yaml"),
        ("for ns in a b; do\n  for x in 1 2; do kubectl apply -f policies.yaml; done\ndone\n", 2, "kubectl apply -f policies.yaml"),
    ],
)
def test_manifests_that_stand_in_no_input_are_named_once(tmp_path: Path, script: str, line: int, command: str) -> None:
    assert _named(tmp_path, script) == [(line, command)]


@pytest.mark.parametrize(
    "script",
    [
        "kubectl apply -f k8s/\nkubectl apply -f ./k8s/web.yaml\ncd k8s && kubectl apply -f .\n",
        'ROOT="$(cd "$(dirname "$0")" && pwd)"\nkubectl apply -f "$ROOT/k8s/web.yaml"\n',
        'kubectl apply -f "$(dirname "$0")/../k8s/web.yaml" --server-side\n',
        "kubectl apply -k overlays/prod\nkubectl apply -k overlays/$ENV\nkustomize build overlays/prod | kubectl apply -f -\n",
        'for f in k8s/*.yaml; do\n  kubectl apply -f "$f"\ndone\n',
        "find k8s -name '*.yaml' -exec kubectl apply -f {} \\;\nls k8s/*.yaml | xargs -n1 kubectl apply -f\n",
        "cat k8s/web.yaml | kubectl apply -f -\nkubectl apply -f - < k8s/web.yaml\n",
        "kubectl create namespace shop --dry-run=client -o yaml | kubectl apply -f -\n",
        "kubectl apply -f https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.2.0/standard-install.yaml\n",
        "linkerd install --crds | kubectl apply -f -\nlinkerd install | kubectl apply -f -\nlinkerd viz install | kubectl apply -f -\n",
        "istioctl manifest generate --set profile=demo | kubectl apply -f -\nhelm template istiod istio/istiod | kubectl apply -f -\n",
        "helm template cache bitnami/redis | kubectl apply -f -\nargocd login example.com\nargocd app get shop\n",
        f"cat > extra.yaml <<'EOF'\n{NAMESPACE}EOF\nkubectl apply -f extra.yaml\n",
        f"cat <<'EOF' | tee copy.yaml | kubectl apply -f -\n{NAMESPACE}EOF\n",
        "kubectl apply -f policies.yaml --dry-run=server\nkubectl delete -f policies.yaml\n# kubectl apply -f policies.yaml\n",
    ],
)
def test_what_was_given_or_configures_nothing_is_not_named(tmp_path: Path, script: str) -> None:
    assert _named(tmp_path, script) == []


def test_a_filter_behind_a_here_document_is_named_beside_what_is_read(tmp_path: Path) -> None:
    assert _named(tmp_path, f"cat <<'EOF' | sed s/shop/store/ | kubectl apply -f -\n{NAMESPACE}EOF\n") == [
        (1, "cat | sed | kubectl apply -f -")
    ]


def test_an_object_of_a_mesh_that_a_script_deletes_is_named(tmp_path: Path) -> None:
    script = "kubectl delete pod web\nkubectl -n shop delete peerauthentication default\nkubectl delete vs/web --dry-run=client\n"
    (tmp_path / "down.sh").write_text(script, encoding="utf-8")
    (problem,) = meshport.load(str(tmp_path)).problems
    assert (problem.code, problem.line) == ("MP978", 2) and "`kubectl delete peerauthentication default`" in problem.message


def test_the_finding_is_a_warning_of_the_conversion(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(NAMESPACE, encoding="utf-8")
    (tmp_path / "up.sh").write_text("kubectl label ns shop istio-injection=enabled\nenvsubst < a | kubectl apply -f -\n", encoding="utf-8")
    result = meshport.convert(meshport.load(str(tmp_path)), source="istio", target="linkerd")
    (finding,) = [found for found in result.findings if found.code == "MP980"]
    assert (finding.severity, finding.line, finding.column) == ("warning", 2, 16)
