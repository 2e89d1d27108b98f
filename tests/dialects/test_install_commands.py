"""Commands that install a mesh or mark objects, in the forms that scripts have beside the plain ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import meshport
from meshport.findings import Finding

NAMESPACES = "".join(
    f"---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{team: {team}}}}}\n"
    for name, team in (("shop", "red"), ("web", "blue"), ("lab", "red"))
)


def documents(folder: Path, script: str) -> list[tuple[str, Any]]:
    """What a script sets: the chart, and the values."""
    (folder / "up.sh").write_text(script, encoding="utf-8")
    return [(item.chart, item.value) for item in meshport.load(str(folder / "up.sh")).documents]


def convert(folder: Path, script: str, source: str = "istio", target: str = "linkerd", world: str = NAMESPACES) -> Any:
    (folder / "up.sh").write_text(script, encoding="utf-8")
    (folder / "world.yaml").write_text(world, encoding="utf-8")
    return meshport.convert(meshport.load(str(folder)), source=source, target=target)


def enrolled(result: Any) -> list[str]:
    """Namespaces that join Linkerd."""
    return sorted(
        item.object["metadata"]["name"]
        for item in result.manifests
        if item.object["kind"] == "Namespace" and item.object["metadata"].get("annotations") == {"linkerd.io/inject": "enabled"}
    )


def unknown(result: Any) -> list[Finding]:
    return [item for item in result.findings if item.code in ("MP971", "MP972")]


# -- values


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("""--set-json 'meshConfig={"trustDomain": "corp", "trustDomainAliases": ["a", "b"]},pilot.env={"A":"1"}'""",
         {"meshConfig": {"trustDomain": "corp", "trustDomainAliases": ["a", "b"]}, "pilot": {"env": {"A": "1"}}}),
        ("""--set-json '{"meshConfig": {"enableAutoMtls": false}}' --set-json meshConfig.localityLbSetting.failover='[{"from":"x","to":"y"}]'""",
         {"meshConfig": {"enableAutoMtls": False, "localityLbSetting": {"failover": [{"from": "x", "to": "y"}]}}}),
        ("--set-literal meshConfig.trustDomain='a,b={c}.d' --set-string global.network=1",
         {"meshConfig": {"trustDomain": "a,b={c}.d"}, "global": {"network": "1"}}),
        ("--set-literal meshConfig.trustDomain=last --set-string meshConfig.trustDomain=b --set meshConfig.trustDomain=c "
         "--set-json 'meshConfig.trustDomain=\"d\"'", {"meshConfig": {"trustDomain": "last"}}),
        ("--set 'meshConfig.trustDomain=c' --set-json 'meshConfig={\"trustDomain\":\"d\",\"rootNamespace\":\"r\"}'",
         {"meshConfig": {"trustDomain": "c", "rootNamespace": "r"}}),
    ],
)  # fmt: skip
def test_each_way_to_set_a_value_is_read_as_helm_reads_it(tmp_path: Path, options: str, expected: Any) -> None:
    """Helm takes JSON first and literals last, wherever they stand (pkg/cli/values)."""
    assert documents(tmp_path, f"helm upgrade --install istiod istio/istiod {options}\n") == [("istiod", expected)]


def test_the_text_of_a_file_is_said_where_it_decides(tmp_path: Path) -> None:
    result = convert(tmp_path, "helm upgrade istiod istio/istiod --set-file meshConfig.trustDomain=domain.txt,pilot.image=x\n")
    (finding,) = unknown(result)
    assert "meshConfig.trustDomain is set to what only the shell knows (the text of domain.txt)" in finding.message


@pytest.mark.parametrize(
    "script",
    [
        "helm upgrade --install istiod istio/istiod --set-json 'meshConfig.trustDomain=corp'\n",
        'helm upgrade --install istiod istio/istiod --set "a=$(x\nistioctl version\n',
        "istioctl install --set-json\n--set x\nlinkerd install $'\n",
    ],
)
def test_what_nobody_can_read_is_said(tmp_path: Path, script: str) -> None:
    (tmp_path / "up.sh").write_text(script, encoding="utf-8")
    source = "linkerd" if "linkerd" in script else "istio"
    result = meshport.convert(meshport.load(str(tmp_path)), source=source, target="istio" if source == "linkerd" else "linkerd")
    assert [item.code for item in result.findings if item.severity == "warning"] == ["MP972"]


def test_a_highly_available_linkerd_gives_its_proxies_what_the_chart_says(tmp_path: Path) -> None:
    script = "linkerd install --ha --proxy-cpu-request 200m --identity-trust-anchors-file $CA | kubectl apply -f -\n"
    result = convert(tmp_path, script, "linkerd", "istio")
    assert result.install["helm_values"]["istiod"]["global"]["proxy"]["resources"] == {
        "requests": {"cpu": "200m", "memory": "20Mi"}, "limits": {"memory": "250Mi"},
    }  # fmt: skip
    assert not unknown(result)


@pytest.mark.parametrize(
    "script",
    [
        "cilium install --helm-set policyEnforcementMode=always\n",
        "cilium install --config enable-policy=always\n",
        "cilium upgrade --helm-set-string=policyEnforcementMode=always\n",
    ],
)
def test_options_that_cilium_has_called_otherwise(tmp_path: Path, script: str) -> None:
    result = convert(tmp_path, script, "cilium", "istio", NAMESPACES + POD)
    assert [item.object["spec"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"] == [{}]


POD = """---
apiVersion: v1
kind: Pod
metadata: {name: users, namespace: shop, labels: {app: users}}
spec: {containers: [{name: app, image: app}]}
"""


# -- which chart


@pytest.mark.parametrize(
    "chart",
    [
        "./charts/istiod-1.27.1.tgz",
        "oci://registry.example/charts/istiod",
        "manifests/charts/istio-control/istio-discovery/",
        "./our-mesh",  # told by its values
        "$CHART",
    ],
)
def test_a_chart_of_istio_by_any_name(tmp_path: Path, chart: str) -> None:
    script = (
        f"helm upgrade --install mesh {chart} -n istio-system --set meshConfig.trustDomain=corp >/dev/null --set pilot.traceSampling=1\n"
    )
    assert documents(tmp_path, script) == [("istiod", {"meshConfig": {"trustDomain": "corp"}, "pilot": {"traceSampling": 1}})]


def test_a_chart_of_charts(tmp_path: Path) -> None:
    script = "helm upgrade --install platform ./umbrella --set istiod.meshConfig.trustDomain=corp,cilium.l7Proxy=false,app.x=1\n"
    assert documents(tmp_path, script) == [("istiod", {"meshConfig": {"trustDomain": "corp"}}), ("cilium", {"l7Proxy": False})]


def test_values_of_a_chart_of_charts_are_those_of_each(tmp_path: Path) -> None:
    """As somebody keeps them who installs a mesh as a dependency of a chart of his own."""
    (tmp_path / "values.yaml").write_text(
        "global: {x: 1}\ncilium: {policyEnforcementMode: always}\nistio-base: {enabled: true}\n", encoding="utf-8"
    )
    result = convert(tmp_path, "", "cilium", "istio", NAMESPACES + POD)
    assert [item.object["spec"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"] == [{}]
    (line,) = [item for item in result.ledger if item.path == "cilium.policyEnforcementMode"]
    assert line.disposition == "translated" and not [item for item in result.findings if item.code == "MP002"]
    alone = meshport.convert(meshport.load(str(tmp_path / "values.yaml")), target="linkerd")
    assert alone.report().source.mesh == "cilium"


def test_a_chart_that_only_the_shell_knows_is_the_one_of_its_namespace(tmp_path: Path) -> None:
    assert documents(tmp_path, 'helm upgrade --install "$R" "$CHART" -n linkerd --set proxy.logLevel=info\n') == [
        ("linkerd-control-plane", {"proxy": {"logLevel": "info"}})
    ]


@pytest.mark.parametrize(
    "script",
    [
        "helm install db bitnami/postgresql --set authentication.enabled=true,cilium=x\n",
        'helm upgrade --install "$APP" "./charts/$APP" -f values.yaml --set image.tag=$TAG\n',
        "helm install istio-base istio/base --set defaultRevision=default\n",
    ],
)
def test_charts_of_no_mesh_are_left_alone(tmp_path: Path, script: str) -> None:
    (tmp_path / "up.sh").write_text(script, encoding="utf-8")
    bundle = meshport.load(str(tmp_path))
    assert not bundle.documents and not bundle.problems


# -- marks


@pytest.mark.parametrize(
    ("script", "joined"),
    [
        ('for ns in shop web; do\n  kubectl label ns "$ns" istio-injection=enabled --overwrite\ndone\n', ["shop", "web"]),
        ('LIST=(shop\n  lab)\nfor ns in "${LIST[@]}"; do kubectl label namespace/${ns} istio-injection=enabled; done\n', ["lab", "shop"]),
        (
            "ALL='web lab'\nfor ns in $ALL; do for key in istio-injection; do kubectl label ns $ns $key=enabled; done; done\n",
            ["lab", "web"],
        ),
        ("kubectl label ns --all istio-injection=enabled\n", ["lab", "shop", "web"]),
        ("kubectl label ns -l team=red istio-injection=enabled\n", ["lab", "shop"]),
        ("kubectl label ns --selector='team in (blue, green),!old' istio-injection=enabled\n", ["web"]),
        ("kubectl label ns -lteam!=red istio-injection=enabled\n", ["web"]),
        ("kubectl label -f ./world.yaml ns istio-injection=enabled\n", ["lab", "shop", "web"]),
        ("kubectl label ns shop istio-injection=enabled --dry-run=none\n", ["shop"]),
        ("k3s kubectl label ns shop istio-injection=enabled 2>/dev/null || true\n", ["shop"]),
        ("out=$(kubectl label ns shop istio-injection=enabled 2>&1)\n", ["shop"]),
        ("[[ $1 =~ ^(a|b)$ ]] && kubectl label ns shop $'istio-injection=enabled'\n", ["shop"]),
    ],
)
def test_namespaces_that_a_script_puts_into_the_mesh(tmp_path: Path, script: str, joined: list[str]) -> None:
    result = convert(tmp_path, script)
    assert enrolled(result) == joined and not unknown(result)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kubectl label ns shop $LABEL\n", "A label of namespace shop is set to what only the shell knows ($LABEL)"),
        ('kubectl annotate svc users -nshop "$KEY=1"\n', "An annotation of service users -n shop is set to what only the shell knows ($KEY=1)"),
        ("kubectl get ns -o name | xargs -n1 kubectl label --overwrite istio-injection=enabled\n", "A command sets istio-injection on object {}"),
        ("kubectl get ns | xargs -I% kubectl label ns % istio-injection=enabled\n", "A command sets istio-injection on namespace %"),
        ("kubectl label ns -l team=green istio-injection=enabled\n", "A command sets istio-injection on namespace -l team=green"),
        ("kubectl label deploy --all -n gone istio.io/rev=a\n", "A command sets istio.io/rev on deployment --all -n gone"),
        ("kubectl annotate vs users -n shop networking.istio.io/exportTo=.\n", "A command sets networking.istio.io/exportTo on vs users -n shop"),
        ("while read -r ns; do kubectl label ns $ns istio-injection=enabled; done < names\n", "A command sets istio-injection on namespace $ns"),
        ("for ns in web; do ns=$(pick); kubectl label ns $ns istio-injection=enabled; done\n", "A command sets istio-injection on namespace $ns"),
    ],
)  # fmt: skip
def test_marks_of_which_nobody_can_say_what_they_do(tmp_path: Path, script: str, said: str) -> None:
    result = convert(tmp_path, script)
    (finding,) = unknown(result)
    assert said in finding.message and enrolled(result) == []


def test_a_mark_that_is_of_no_mesh_needs_no_word(tmp_path: Path) -> None:
    result = convert(tmp_path, "kubectl label ns --all tier=x\nkubectl label node a $MORE\nkubectl annotate ns shop owner=$ME\n")
    assert not result.findings and not result.manifests


def test_an_annotation_of_a_policy_of_the_mesh(tmp_path: Path) -> None:
    policy = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: none, namespace: shop}\nspec: {}\n"
    script = "kubectl label ns shop istio-injection=enabled\nkubectl annotate authorizationpolicies.security.istio.io none -n shop istio.io/dry-run=true\n"
    result = convert(tmp_path, script, world=NAMESPACES + policy)
    assert enrolled(result) == ["shop"] and [item.code for item in result.findings] == ["MP101", "MP212"]


@pytest.mark.parametrize(
    ("source", "script"),
    [
        ("istio", "helm install istiod istio/istiod -n istio-system --set meshConfig.connectTimeout=3s\n"),
        ("linkerd", "helm install l5d linkerd/linkerd-control-plane -n linkerd --set proxy.outboundConnectTimeout=3000ms\n"),
    ],
)
def test_the_time_that_all_proxies_take_to_connect_is_lost_to_cilium(tmp_path: Path, source: str, script: str) -> None:
    result = convert(tmp_path, script, source=source, target="cilium")
    said = [finding for finding in result.findings if "onnectTimeout" in finding.message]
    assert [(finding.code, finding.disposition) for finding in said] == [("MP953", "dropped")]
    assert "envoy.connectTimeoutSeconds" in said[0].remedy
