"""Shell scripts that install a mesh or mark objects, as people keep them beside their manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import meshport

WORLD = """
apiVersion: v1
kind: Service
metadata: {name: users, namespace: shop}
spec: {selector: {app: users}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  template: {metadata: {labels: {app: users}}, spec: {containers: [{name: app, image: users:1, ports: [{containerPort: 8080}]}]}}
"""
NAMESPACE = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"


def convert(folder: Path, script: str, source: str, target: str, world: str = WORLD, **options: Any) -> Any:
    (folder / "install.sh").write_text(script, encoding="utf-8")
    (folder / "world.yaml").write_text(world, encoding="utf-8")
    return meshport.convert(meshport.load(str(folder)), source=source, target=target, **options)


def _only(result: Any, kind: str) -> dict[str, Any]:
    (found,) = [item.object for item in result.manifests if item.object["kind"] == kind]
    return dict(found)


@pytest.mark.parametrize(
    ("script", "source", "path"),
    [
        (
            "istioctl install -y --set meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY\n",
            "istio",
            "meshConfig.outboundTrafficPolicy.mode",
        ),
        (
            "istioctl install --set=values.meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY\n",
            "istio",
            "meshConfig.outboundTrafficPolicy.mode",
        ),
        (
            "set -e\nsudo helm upgrade --install istiod istio/istiod -n istio-system \\\n  --set 'meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY' > log 2>&1\n",
            "istio",
            "meshConfig.outboundTrafficPolicy.mode",
        ),
        (
            "if true; then\n  helm install istiod ./charts/istiod --set meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY; fi\n",
            "istio",
            "meshConfig.outboundTrafficPolicy.mode",
        ),
    ],
)
def test_what_leaves_the_mesh_by_the_command_that_installed_it(tmp_path: Path, script: str, source: str, path: str) -> None:
    labelled = NAMESPACE.replace("name: shop}", "name: shop, labels: {istio-injection: enabled}}")
    result = convert(tmp_path, script, source, "linkerd", WORLD + labelled)
    assert _only(result, "EgressNetwork")["spec"] == {"trafficPolicy": "Deny"}
    (line,) = [item for item in result.ledger if item.path == path]
    assert (line.disposition, line.value, Path(line.file).name) == ("translated", "REGISTRY_ONLY", "install.sh")
    assert script.split("\n")[line.line - 1].count("REGISTRY_ONLY") == 1


@pytest.mark.parametrize(
    "script",
    [
        "linkerd install --set proxy.defaultInboundPolicy=deny | kubectl apply -f -\n",
        "linkerd upgrade --default-inbound-policy deny | kubectl apply -f -\n",
        "linkerd install --default-inbound-policy=deny\n",
        'helm install linkerd-control-plane -n linkerd --set "proxy.defaultInboundPolicy=deny" linkerd/linkerd-control-plane\n',
    ],
)
def test_the_default_policy_by_the_command_that_installed_linkerd(tmp_path: Path, script: str) -> None:
    enrolled = NAMESPACE.replace("name: shop}", "name: shop, annotations: {linkerd.io/inject: enabled}}")
    result = convert(tmp_path, script, "linkerd", "istio", WORLD + enrolled)
    assert "rules" not in _only(result, "AuthorizationPolicy")["spec"]


@pytest.mark.parametrize(
    "script",
    [
        "cilium install --set policyEnforcementMode=always\n",
        "cilium config set enable-policy always\n",
        "helm upgrade cilium cilium/cilium --reuse-values --set policyEnforcementMode=always\n",
    ],
)
def test_enforcement_by_the_command_that_set_it(tmp_path: Path, script: str) -> None:
    result = convert(tmp_path, script, "cilium", "linkerd", WORLD + NAMESPACE)
    assert _only(result, "Namespace")["metadata"]["annotations"]["config.linkerd.io/default-inbound-policy"] == "deny"


def test_a_label_that_a_command_writes_stands_on_the_namespace(tmp_path: Path) -> None:
    result = convert(tmp_path, "kubectl label namespace shop istio-injection=enabled --overwrite\n", "istio", "linkerd", WORLD + NAMESPACE)
    assert _only(result, "Namespace")["metadata"] == {"name": "shop", "annotations": {"linkerd.io/inject": "enabled"}}
    (line,) = [item for item in result.ledger if "istio-injection" in item.path]
    assert (line.disposition, line.line) == ("translated", 1)


def test_a_namespace_that_only_a_command_names_is_marked_by_a_command(tmp_path: Path) -> None:
    """Nothing else is known of it, so no manifest of it is invented."""
    result = convert(tmp_path, "kubectl label ns/shop istio-injection=enabled\n", "istio", "linkerd")
    assert not [item for item in result.manifests if item.object["kind"] == "Namespace"]
    assert result.install["commands"] == [
        "kubectl annotate namespace shop linkerd.io/inject=enabled --overwrite",
        "kubectl label namespace shop istio-injection- --overwrite",
    ]


def test_a_label_that_a_command_takes_away(tmp_path: Path) -> None:
    labelled = NAMESPACE.replace("name: shop}", "name: shop, labels: {istio-injection: enabled, team: a}}")
    result = convert(tmp_path, "kubectl label namespace shop istio-injection-\n", "istio", "linkerd", WORLD + labelled)
    assert not [item for item in result.manifests if item.object["kind"] == "Namespace"]


def test_annotations_of_a_service(tmp_path: Path) -> None:
    script = "kubectl -n shop annotate svc users retry.linkerd.io/http=5xx retry.linkerd.io/limit=3\n"
    enrolled = NAMESPACE.replace("name: shop}", "name: shop, annotations: {linkerd.io/inject: enabled}}")
    result = convert(tmp_path, script, "linkerd", "istio", WORLD + enrolled)
    retries = _only(result, "VirtualService")["spec"]["http"][0]["retries"]
    assert (retries["attempts"], retries["retryOn"]) == (3, "5xx")


def test_an_object_that_the_input_has_not(tmp_path: Path) -> None:
    result = convert(tmp_path, "kubectl annotate svc carts -n shop retry.linkerd.io/http=5xx\n", "linkerd", "istio")
    (finding,) = [item for item in result.findings if item.code == "MP971"]
    assert "service carts -n shop" in finding.message and finding.disposition == "manual"


@pytest.mark.parametrize(
    ("script", "named"),
    [
        ("for NS in $(cat names); do\n  kubectl label ns $NS istio-injection=enabled\ndone\n", "namespace $NS"),
        ("kubectl -n ${SPACE} annotate svc users networking.istio.io/exportTo=.\n", "service users -n ${SPACE}"),
    ],
)
def test_an_object_that_only_the_shell_knows(tmp_path: Path, script: str, named: str) -> None:
    result = convert(tmp_path, script, "istio", "linkerd", WORLD + NAMESPACE)
    (finding,) = [item for item in result.findings if item.code == "MP971"]
    assert named in finding.message
    assert not result.manifests and not any("$" in command for command in result.install["commands"])


def test_a_namespace_that_a_variable_names(tmp_path: Path) -> None:
    result = convert(tmp_path, "NS=shop\nkubectl label ns $NS istio-injection=enabled\n", "istio", "linkerd", WORLD + NAMESPACE)
    assert _only(result, "Namespace")["metadata"] == {"name": "shop", "annotations": {"linkerd.io/inject": "enabled"}}


def test_what_only_the_shell_knows_is_said_where_it_decides(tmp_path: Path) -> None:
    script = "istioctl install --set meshConfig.trustDomain=$DOMAIN --set values.global.tag=${TAG}\nkubectl label ns shop istio-injection=$WANTED\n"
    result = convert(tmp_path, script, "istio", "linkerd", WORLD + NAMESPACE)
    said = [item.message for item in result.findings if item.code == "MP972"]
    assert len(said) == 2 and any("$DOMAIN" in text for text in said) and any("$WANTED" in text for text in said)
    assert "identityTrustDomain" not in result.install["helm_values"].get("linkerd-control-plane", {})


@pytest.mark.parametrize("spelled", ["${MODE}", '"${MODE}"', '"${MODE:-all,of=them}"', '"$(cat a.b,c={d})"', '"`cat a,b`"'])
def test_braces_and_commas_of_the_shell_hide_no_setting(tmp_path: Path, spelled: str) -> None:
    script = f"linkerd install --set proxy.defaultInboundPolicy={spelled},identityTrustDomain=corp.example\n"
    result = convert(tmp_path, script, "linkerd", "istio", WORLD + NAMESPACE)
    (line,) = [item for item in result.ledger if item.path == "proxy.defaultInboundPolicy"]
    assert (line.disposition, line.codes, line.value) == ("manual", ["MP972"], spelled.strip('"'))
    assert result.install["helm_values"]["istiod"]["meshConfig"]["trustDomain"] == "corp.example"


@pytest.mark.parametrize(
    ("script", "source", "target", "setting"),
    [
        ("linkerd install --set proxy.defaultInboundPolicy=$MODE\n", "linkerd", "istio", "proxy.defaultInboundPolicy"),
        ("linkerd upgrade --default-inbound-policy $MODE\n", "linkerd", "cilium", "proxy.defaultInboundPolicy"),
        ("cilium install --set policyEnforcementMode=$MODE\n", "cilium", "linkerd", "policyEnforcementMode"),
        ("cilium config set enable-policy $MODE\n", "cilium", "istio", "policyEnforcementMode"),
        (
            "istioctl install --set meshConfig.outboundTrafficPolicy.mode=$MODE\n",
            "istio",
            "linkerd",
            "meshConfig.outboundTrafficPolicy.mode",
        ),
    ],
)
def test_what_decides_access_and_nobody_knows_is_read_as_what_admits_least(
    tmp_path: Path, script: str, source: str, target: str, setting: str
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    world = WORLD + NAMESPACE.replace(
        "name: shop}", "name: shop, labels: {istio-injection: enabled}, annotations: {linkerd.io/inject: enabled}}"
    )
    strictest = {"proxy.defaultInboundPolicy": "deny", "policyEnforcementMode": "always"}.get(setting, "REGISTRY_ONLY")
    known = convert(old, script.replace("$MODE", strictest), source, target, world)
    result = convert(old, script, source, target, world)
    assert [item.object for item in result.manifests] == [item.object for item in known.manifests] != []
    (finding,) = [item for item in result.findings if item.code == "MP972"]
    assert (finding.severity, finding.effect, [item.namespace for item in finding.affects]) == ("error", "narrows", ["shop"])
    assert result.verification.verdict == "inconclusive" and known.verification.verdict == "equivalent"
    result.write(str(tmp_path / "new"))
    assert meshport.verify(meshport.load(str(old)), meshport.load(str(tmp_path / "new")), old_mesh=source).verdict == "inconclusive"

    open_ = convert(old, script.replace("=$MODE", "Of=x").replace(" $MODE", "=all-unauthenticated"), source, target, world)
    result = convert(old, script, source, target, world, on_loss="looser")
    assert [item.object for item in result.manifests] == [item.object for item in open_.manifests]
    assert {(item.severity, item.effect) for item in result.findings if item.code == "MP972"} == {("error", "widens")}
    assert result.verification.verdict == "inconclusive"


def test_a_selector_that_nobody_knows_takes_no_namespace_out_of_the_mesh(tmp_path: Path) -> None:
    world = WORLD + NAMESPACE.replace("name: shop}", "name: shop, labels: {istio-injection: enabled}}")
    result = convert(
        tmp_path, "istioctl install --set 'meshConfig.discoverySelectors[0].matchLabels.team='$TEAM\n", "istio", "linkerd", world
    )
    assert _only(result, "Namespace")["metadata"]["annotations"] == {"linkerd.io/inject": "enabled"}
    assert ("error", "widens") in {(item.severity, item.effect) for item in result.findings if item.code == "MP972"}


def test_a_default_policy_of_a_namespace_that_nobody_knows_admits_nobody(tmp_path: Path) -> None:
    """The value that a command writes over `all-unauthenticated` may be any."""
    world = WORLD + NAMESPACE.replace(
        "name: shop}",
        "name: shop, annotations: {linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: all-unauthenticated}}",
    )
    result = convert(
        tmp_path, "kubectl annotate ns shop --overwrite config.linkerd.io/default-inbound-policy=$P\n", "linkerd", "istio", world
    )
    assert "rules" not in _only(result, "AuthorizationPolicy")["spec"] and result.verification.verdict == "inconclusive"
    assert ("error", "narrows") in {(item.severity, item.effect) for item in result.findings if item.code == "MP972"}


def test_an_unknown_that_nothing_depends_on_is_no_error(tmp_path: Path) -> None:
    """Of a trust domain where no policy names anybody, and of a mesh that stays."""
    result = convert(tmp_path, "istioctl install --set meshConfig.trustDomain=$DOMAIN\n", "istio", "linkerd")
    assert [item.severity for item in result.findings if item.code == "MP972"] == [
        "warning"
    ] and result.verification.verdict == "equivalent"
    for target in ("linkerd", "gateway-api"):
        result = convert(tmp_path, "linkerd install --set proxy.defaultInboundPolicy=$MODE\n", "linkerd", target)
        assert not [item for item in result.findings if item.severity == "error"] and result.verification.verdict == "equivalent"


@pytest.mark.parametrize(
    "script",
    [
        "MODE=deny; linkerd install --set proxy.defaultInboundPolicy=$MODE\n",
        "set -e\nexport MODE='deny'  # for all\nlinkerd install --set \"proxy.defaultInboundPolicy=${MODE}\"\n",
        'readonly MODE="deny"\nif true; then\n  linkerd install --default-inbound-policy ${MODE:-all-authenticated}\nfi\n',
        'FLAGS="--set identityTrustDomain=x --set proxy.defaultInboundPolicy=deny"\nlinkerd install $FLAGS | kubectl apply -f -\n',
    ],
)
def test_a_variable_that_the_script_gives_one_text(tmp_path: Path, script: str) -> None:
    enrolled = NAMESPACE.replace("name: shop}", "name: shop, annotations: {linkerd.io/inject: enabled}}")
    result = convert(tmp_path, script, "linkerd", "istio", WORLD + enrolled)
    assert "rules" not in _only(result, "AuthorizationPolicy")["spec"] and not [item for item in result.findings if item.code == "MP972"]
    (line,) = [item for item in result.ledger if item.path == "proxy.defaultInboundPolicy"]
    row = script.split("\n")[line.line - 1]
    assert (line.disposition, line.value) == ("translated", "deny") and "linkerd install" in row


@pytest.mark.parametrize(
    "before",
    [
        "if prod; then\n  MODE=deny\nfi",
        '[ -n "$1" ] && MODE=deny',
        "MODE=deny\nMODE=all-authenticated",
        "MODE=deny\nread -r MODE",
        "MODE=deny\n. ./settings",
        "MODE=${1:-deny}",
        "f() {\n  MODE=deny\n}",
        "cat <<EOF\nMODE=deny\nEOF",
        "MODE=deny echo",
        "for MODE in deny audit; do echo; done\n",
        "# MODE=deny",
    ],
)
def test_a_variable_that_may_be_something_else(tmp_path: Path, before: str) -> None:
    result = convert(tmp_path, f"{before}\nlinkerd install --set proxy.defaultInboundPolicy=$MODE\n", "linkerd", "istio", WORLD + NAMESPACE)
    (finding,) = [item for item in result.findings if item.code == "MP972"]
    assert "$MODE" in finding.message and finding.severity == "error"


@pytest.mark.parametrize(
    ("script", "source", "said"),
    [
        ("linkerd install $FLAGS | kubectl apply -f -\n", "linkerd", "$FLAGS"),
        ('cilium install --set "$OPTIONS"\n', "cilium", "$OPTIONS"),
        ('istioctl install -y "$@"\n', "istio", "$@"),
        ("helm upgrade --install $RELEASE istio/istiod -n $NS ${ARGS[@]}\n", "istio", "${ARGS[@]}"),
        ("istioctl install --set meshConfig.$WHAT=x\n", "istio", "meshConfig.$WHAT=x"),
        ("istioctl install --set meshConfig\n", "istio", "meshConfig"),
    ],
)
def test_options_that_nobody_knows_are_said(tmp_path: Path, script: str, source: str, said: str) -> None:
    result = convert(tmp_path, script, source, "linkerd" if source != "linkerd" else "istio")
    (finding,) = [item for item in result.findings if item.code == "MP972"]
    assert f"({said})" in finding.message
    (line,) = [item for item in result.ledger if item.codes == ["MP972"]]
    assert (line.disposition, line.value, line.line) == ("manual", said, 1)


def test_braces_within_a_value_are_part_of_it_and_words_of_any_case_are_what_they_say(tmp_path: Path) -> None:
    """As Helm's pkg/strvals reads them."""
    (tmp_path / "a.sh").write_text(
        "istioctl install --set 'meshConfig.trustDomain=x{y},meshConfig.enableAutoMtls=False,'\n", encoding="utf-8"
    )
    (document,) = meshport.load(str(tmp_path / "a.sh")).documents
    assert document.value == {"meshConfig": {"trustDomain": "x{y}", "enableAutoMtls": False}}


@pytest.mark.parametrize(
    "script",
    [
        "#!/bin/sh\n# istioctl install --set meshConfig.trustDomain=corp\n",
        "cat <<EOF > values.sh\nistioctl install --set meshConfig.trustDomain=corp\nEOF\n",
        "echo 'istioctl install --set meshConfig.trustDomain=corp'\n",
        "kubectl label ns shop istio-injection=enabled --dry-run=client\n",
        "kubectl get ns -l istio-injection=enabled\nterraform apply -auto-approve\n",
        'broken "quote\nfunction f { kubectl get pods; }\n',
    ],
)
def test_other_lines_are_left_alone(tmp_path: Path, script: str) -> None:
    (tmp_path / "other.sh").write_text(script, encoding="utf-8")
    (tmp_path / "world.yaml").write_text(WORLD, encoding="utf-8")
    bundle = meshport.load(str(tmp_path))
    assert [item.name for item in bundle.documents] == ["users", "users"]
    assert not bundle.problems and [Path(item.file).name for item in bundle.files] == ["world.yaml"]


def test_a_script_alone_says_which_mesh_it_installs(tmp_path: Path) -> None:
    script = tmp_path / "up.sh"
    script.write_text("cilium install --set encryption.enabled=true --set encryption.type=wireguard\n", encoding="utf-8")
    result = meshport.convert(meshport.load(str(script)), target="linkerd")
    assert result.report().source.mesh == "cilium"


def test_lists_and_escapes_of_set(tmp_path: Path) -> None:
    script = (
        r"""helm upgrade istiod istio/istiod --set "meshConfig.trustDomainAliases={old,older}" --set 'meshConfig.defaultConfig.proxyMetadata.A\.B=c\,d'"""
        + "\n"
    )
    (tmp_path / "a.sh").write_text(script, encoding="utf-8")
    (document,) = meshport.load(str(tmp_path / "a.sh")).documents
    assert document.value["meshConfig"] == {"trustDomainAliases": ["old", "older"], "defaultConfig": {"proxyMetadata": {"A.B": "c,d"}}}


def test_the_output_is_verified_against_a_folder_with_a_script(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    script = "kubectl label namespace shop istio-injection=enabled\nistioctl install --set values.global.proxy.excludeInboundPorts=9090\n"
    for world in (WORLD, WORLD + NAMESPACE):
        result = convert(old, script, "istio", "linkerd", world)
        result.write(str(new), force=True)
        assert (
            meshport.verify(meshport.load(str(old)), meshport.load(str(new)), old_mesh="istio", new_mesh="linkerd").verdict == "equivalent"
        )
        assert not meshport.lint(meshport.load(str(old)), source="istio")


def test_to_ambient_from_an_installation_with_excluded_ports(tmp_path: Path) -> None:
    script = "kubectl label namespace shop istio-injection=enabled\nistioctl install --set values.global.proxy.excludeInboundPorts=9090\n"
    result = convert(tmp_path, script, "istio", "istio", WORLD + NAMESPACE, data_plane="ambient")
    assert [item.code for item in result.findings if item.code == "MP732"] == ["MP732"]


HERE = """NS=shop
cat <<EOF | kubectl apply -n $NS -f -
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: users
spec:
  hosts: [users.${NS}.svc.cluster.local]
  http:
  - timeout: 3s
    route: [{destination: {host: users}}]
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
EOF
"""


def test_manifests_in_a_here_document_are_read_where_they_stand(tmp_path: Path) -> None:
    script = tmp_path / "install.sh"
    script.write_text(HERE, encoding="utf-8")
    bundle = meshport.load(str(script))
    assert not bundle.problems
    assert [(one.kind, one.namespace, one.name, one.line) for one in bundle.documents] == [
        ("VirtualService", "shop", "users", 3),
        ("Namespace", None, "other", 13),
    ]
    assert bundle.documents[0].value["spec"]["hosts"] == ["users.shop.svc.cluster.local"]
    timeout = bundle.documents[0].leaves["spec"]["http"][0]["timeout"]
    assert (bundle.line(timeout), bundle.column(timeout)) == (10, 14)
    result = convert(tmp_path, HERE, "istio", "linkerd")
    route = _only(result, "HTTPRoute")
    assert (route["metadata"]["namespace"], route["spec"]["rules"][0]["timeouts"]) == ("shop", {"request": "3s"})
    assert {item.file for item in result.manifests if item.object["kind"] == "HTTPRoute"} == {"install.yaml"}


def test_a_here_document_whose_word_is_quoted_is_taken_as_it_stands(tmp_path: Path) -> None:
    script = tmp_path / "up.sh"
    text = "kubectl apply -f - <<'EOF'\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: $HOME}\nEOF\n"
    script.write_text(text, encoding="utf-8")
    (document,) = meshport.load(str(script)).documents
    assert document.value["data"] == {"x": "$HOME"}


def test_a_here_document_that_only_the_shell_can_complete_is_said(tmp_path: Path) -> None:
    script = tmp_path / "up.sh"
    script.write_text(HERE.replace("NS=shop\n", "NS=$1\n"), encoding="utf-8")
    bundle = meshport.load(str(script))
    (problem,) = bundle.problems
    assert not bundle.documents and (problem.code, problem.line, problem.column) == ("MP004", 2, 5)
    assert "($NS)" in problem.message or "(${NS})" in problem.message


STRICT = """apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
"""
JSON = '{"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "default", "namespace": "shop"}, "spec": {"mtls": {"mode": "STRICT"}}}'


@pytest.mark.parametrize(
    "script",
    [
        f"cat <<EOF > strict.yaml\n{STRICT}EOF\nkubectl apply -f strict.yaml\n",
        f"cat > ./mesh/strict.yaml <<'EOF'\n{STRICT}EOF\nkubectl apply -f mesh/\n",
        f'cat <<EOF >"$TMP/strict.yaml"\n{STRICT}EOF\nkubectl apply -n shop -f "$TMP/strict.yaml"\n',
        f"tee strict.yaml <<EOF\n{STRICT}EOF\nkubectl create -f ./strict.yaml,other.yaml\n",
        f"kubectl apply -f - <<< '{JSON}'\n",
        f'kubectl apply -f - <<<"{STRICT}"\n',
        f"echo '{JSON}' | kubectl apply -f -\n",
        f'echo "{STRICT}" | kubectl apply -f -\n',
        f"printf '%s\\n' '{JSON}' | kubectl apply -f -\n",
        "echo -e '" + STRICT.replace("\n", "\\n") + "' | kubectl apply -f -\n",
    ],
)
def test_manifests_that_a_script_prints_or_writes_first(tmp_path: Path, script: str) -> None:
    labelled = NAMESPACE.replace("name: shop}", "name: shop, labels: {istio-injection: enabled}}")
    result = convert(tmp_path, script, "istio", "linkerd", WORLD + labelled)
    notes = _only(result, "Namespace")["metadata"]["annotations"]
    assert notes["config.linkerd.io/default-inbound-policy"] == "all-authenticated"
    (line,) = [item for item in result.ledger if item.path == "spec.mtls.mode"]
    row = script.split("\n")[line.line - 1]
    assert line.disposition == "translated" and "STRICT" in row
    if JSON in script:
        (strict,) = [item for item in result.bundle.documents if item.kind == "PeerAuthentication"]
        assert row[result.bundle.column(strict.leaves["spec"]["mtls"]["mode"]) - 1 :].startswith('"STRICT"')


def test_what_is_printed_and_only_the_shell_knows_is_said(tmp_path: Path) -> None:
    script = tmp_path / "up.sh"
    script.write_text('POLICY=$(make policy)\necho "applying"\necho "$POLICY" | kubectl apply -f -\necho done\n', encoding="utf-8")
    assert [(one.code, one.line, one.column) for one in meshport.load(str(script)).problems] == [("MP004", 3, 7)]


def test_a_file_that_a_script_writes_and_nobody_applies_is_none_of_the_cluster(tmp_path: Path) -> None:
    (tmp_path / "up.sh").write_text(f"cat <<EOF > strict.yaml\n{STRICT}EOF\nkubectl apply -f other.yaml\n", encoding="utf-8")
    assert not meshport.load(str(tmp_path)).documents


def test_values_stand_above_what_a_highly_available_linkerd_gives_its_proxies(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("proxy: {resources: {cpu: {request: 300m}}, logLevel: warn}\n", encoding="utf-8")
    result = convert(tmp_path, "linkerd install --ha -f values.yaml --set proxy.resources.memory.limit=1Gi\n", "linkerd", "istio")
    assert result.install["helm_values"]["istiod"]["global"]["proxy"]["resources"] == {
        "requests": {"cpu": "300m", "memory": "20Mi"},
        "limits": {"memory": "1Gi"},
    }
    assert result.ledger.counts["unaccounted"] == 0
    assert [(Path(item.file).name, item.documents) for item in result.bundle.files if item.file.endswith(".sh")] == [("install.sh", 2)]


@pytest.mark.parametrize(
    "script",
    [
        "bash -c 'kubectl label namespace shop istio-injection=enabled'\n",
        'sh -ec "set -e\nkubectl label namespace shop istio-injection=enabled"\n',
        'eval "kubectl label namespace shop istio-injection=enabled"\n',
    ],
)
def test_what_a_shell_is_given_is_read_as_commands(tmp_path: Path, script: str) -> None:
    (tmp_path / "up.sh").write_text(script, encoding="utf-8")
    (document,) = meshport.load(str(tmp_path / "up.sh")).documents
    assert document.value["metadata"] == {"name": "shop", "labels": {"istio-injection": "enabled"}}


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("linkerd inject --manual web.yaml | kubectl apply -f -\n", "linkerd inject web.yaml"),
        ("kubectl get deploy -o yaml | linkerd inject - | kubectl apply -f -\n", "linkerd inject -"),
        ("istioctl kube-inject -f web.yaml\n", "istioctl kube-inject"),
        ('kubectl patch deploy web -p \'{"metadata": {"annotations": {"linkerd.io/inject": "enabled"}}}\'\n', "kubectl patch deploy web"),
        ("kubectl -n shop patch virtualservice web --type json -p '[]'\n", "kubectl patch virtualservice web"),
        ('kubectl patch svc web -p \'{"spec": {"type": "LoadBalancer"}}\'\n', None),
        ("kubectl get pods\n", None),
    ],
)
def test_a_command_that_changes_a_mesh_unread_is_said_once(tmp_path: Path, script: str, said: str | None) -> None:
    script_file = tmp_path / "up.sh"
    script_file.write_text(script, encoding="utf-8")
    found = [(one.code, one.message.split("`")[1], one.line) for one in meshport.load(str(tmp_path)).problems]
    assert found == ([("MP978", said, 1)] if said else [])
