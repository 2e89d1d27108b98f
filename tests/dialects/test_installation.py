"""Settings of an installation: values of a chart, a HelmRelease, Cilium's ConfigMap."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import meshport

WORLD = """
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  template: {metadata: {labels: {app: users}}, spec: {containers: [{name: app, image: users:1, ports: [{containerPort: 8080}]}]}}
"""
VALUES = """
kubeProxyReplacement: true
policyEnforcementMode: always
encryption: {enabled: true, type: wireguard}
hubble: {enabled: true, ui: {enabled: true}, metrics: {enabled: [dns, httpV2]}}
"""
RELEASE = """
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: cilium, namespace: kube-system}
spec:
  chart: {spec: {chart: cilium}}
  values: {policyEnforcementMode: always}
"""
AGENT = """
apiVersion: v1
kind: ConfigMap
metadata: {name: cilium-config, namespace: kube-system}
data: {enable-policy: always, enable-wireguard: "true"}
"""
LINKERD = """
identityTrustDomain: cluster.local
proxyInit: {skipSubnets: ""}
proxy: {defaultInboundPolicy: deny}
"""


def convert(text: str, source: str, target: str) -> Any:
    return meshport.convert(meshport.load_text(text), source=source, target=target)


@pytest.mark.parametrize("settings", [VALUES, RELEASE, AGENT], ids=["values", "HelmRelease", "ConfigMap"])
def test_enforcement_for_every_pod_is_a_default_of_the_namespace(settings: str) -> None:
    result = convert(settings + WORLD, "cilium", "linkerd")
    (namespace,) = [item.object for item in result.manifests if item.object["kind"] == "Namespace"]
    assert namespace["metadata"]["annotations"]["config.linkerd.io/default-inbound-policy"] == "deny"
    assert result.verification.verdict == "equivalent"


def test_what_stays_with_cilium_is_said_once() -> None:
    result = convert(VALUES + WORLD, "cilium", "linkerd")
    (hubble,) = [finding for finding in result.findings if finding.code == "MP854"]
    assert {result.bundle.path(leaf) for leaf in hubble.leaves} == {
        "hubble.enabled",
        "hubble.ui.enabled",
        "hubble.metrics.enabled[0]",
        "hubble.metrics.enabled[1]",
    }
    fates = {line.path: line.disposition for line in result.ledger}
    assert fates["encryption.enabled"] == "irrelevant"  # the network beneath goes on encrypting between nodes
    assert fates["kubeProxyReplacement"] == "irrelevant"  # the network beneath stays Cilium's
    assert result.install["helm_values"]["cilium"] == {"cni": {"exclusive": False}, "socketLB": {"hostNamespaceOnly": True}}


def test_values_are_no_manifest() -> None:
    result = convert(VALUES + WORLD, "cilium", "linkerd")
    assert all(item.object.get("kind") for item in result.manifests)
    assert all(item.get("kind") for item in result.passed_through)


def test_values_that_a_conversion_writes_into_its_folder_are_read_there(tmp_path: Path) -> None:
    """One of them alone may be of several charts: `install/` and the name of the file say whose it is."""
    text = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
"""
    there = meshport.convert(meshport.load_text(text), source="istio", target="linkerd")
    assert there.install["helm_values"] == {"linkerd-control-plane": {"proxy": {"defaultInboundPolicy": "all-authenticated"}}}
    there.write(str(tmp_path / "mid"))
    middle = meshport.load(str(tmp_path / "mid"))
    assert [document.chart for document in middle.documents if document.chart] == ["linkerd-control-plane"]
    assert middle.problems == []
    (tmp_path / "proxy.yaml").write_text("proxy: {defaultInboundPolicy: deny}\n", encoding="utf-8")
    assert [problem.code for problem in meshport.load(str(tmp_path / "proxy.yaml")).problems] == ["MP002"]


def test_the_default_of_a_linkerd_installation_closes_every_port() -> None:
    result = convert(LINKERD + WORLD.replace("name: shop}", "name: shop, annotations: {linkerd.io/inject: enabled}}"), "linkerd", "istio")
    (policy,) = [item.object for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert "rules" not in policy["spec"]
    assert result.verification.verdict == "equivalent"


@pytest.mark.parametrize("text", ["replicas: 3\nimage: users:1\n", "encryption: {enabled: true}\npilot: {env: {}}\n"])
def test_values_of_another_chart_are_skipped_and_said(text: str) -> None:
    bundle = meshport.load_text(text)
    assert not bundle.documents
    assert [problem.code for problem in bundle.problems] == ["MP002"]


MESH = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n"
OPERATOR = """
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: istio}
spec: {meshConfig: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}}
"""
CONFIG_MAP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-canary, namespace: istio-system}
data:
  mesh: |
    outboundTrafficPolicy: {mode: REGISTRY_ONLY}
    enableAutoMtls: true
"""
PILOT = "meshConfig: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\npilot: {env: {PILOT_ENABLE_AMBIENT: 'true'}}\n"
ARGO_TEXT = """
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: istiod}
spec:
  source:
    chart: istiod
    helm: {values: "meshConfig: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}"}
"""
ARGO_PARAMETERS = """
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: istiod}
spec: {sources: [{chart: istiod, helm: {parameters: [{name: meshConfig.outboundTrafficPolicy.mode, value: REGISTRY_ONLY}]}}]}
"""


@pytest.mark.parametrize(
    "settings",
    [OPERATOR, CONFIG_MAP, PILOT, ARGO_TEXT, ARGO_PARAMETERS],
    ids=["IstioOperator", "ConfigMap", "values", "Argo values", "Argo parameters"],
)
def test_what_leaves_the_mesh_wherever_it_is_said(settings: str) -> None:
    result = convert(settings + WORLD.replace("name: shop}", "name: shop, labels: {istio-injection: enabled}}"), "istio", "linkerd")
    (network,) = [item.object for item in result.manifests if item.object["kind"] == "EgressNetwork"]
    assert (network["metadata"]["namespace"], network["spec"]) == ("shop", {"trafficPolicy": "Deny"})
    fates = {line.disposition for line in result.ledger if "REGISTRY_ONLY" in str(line.value)}
    assert fates == {"translated"}


def test_a_sidecar_says_more_than_the_mesh_and_less_where_it_is_silent() -> None:
    """A Sidecar without outboundTrafficPolicy leaves that to the mesh; one with it goes before."""
    world = WORLD.replace("name: shop}", "name: shop, labels: {istio-injection: enabled}}")
    silent = "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default, namespace: shop}\nspec: {egress: [{hosts: ['*/*']}]}\n"
    closed = convert(OPERATOR + world + silent, "istio", "linkerd")
    assert [item.object["spec"] for item in closed.manifests if item.object["kind"] == "EgressNetwork"] == [{"trafficPolicy": "Deny"}]
    opened = convert(OPERATOR + world + silent.replace("spec: {", "spec: {outboundTrafficPolicy: {mode: ALLOW_ANY}, "), "istio", "linkerd")
    assert {"trafficPolicy": "Deny"} not in [item.object["spec"] for item in opened.manifests if item.object["kind"] == "EgressNetwork"]


PRINCIPAL = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: users, namespace: shop}
spec: {selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: [DOMAIN/ns/shop/sa/web]}}]}]}
"""


@pytest.mark.parametrize(("domain", "known"), [("corp", True), ("old", True), ("cluster.local", True), ("other", False)])
def test_identities_of_the_trust_domain_and_its_aliases(domain: str, known: bool) -> None:
    config = "meshConfig: {trustDomain: corp, trustDomainAliases: [old]}\npilot: {replicaCount: 1}\n"
    world = WORLD.replace("name: shop}", "name: shop, labels: {istio-injection: enabled}}")
    result = convert(config + world + PRINCIPAL.replace("DOMAIN", domain), "istio", "linkerd")
    grants = [item.object for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    accounts = [ref["name"] for item in grants for ref in item["spec"]["requiredAuthenticationRefs"] if ref["kind"] == "ServiceAccount"]
    assert ("web" in accounts) is known
    assert result.install["helm_values"]["linkerd-control-plane"]["identityTrustDomain"] == "corp"


def test_routes_of_a_mesh_that_retries_nothing_by_itself() -> None:
    route = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: users, namespace: shop}\nspec: {hosts: [users], http: [{timeout: 5s, route: [{destination: {host: users}}]}]}\n"
    service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: users, namespace: shop}\nspec: {selector: {app: users}, ports: [{port: 80, name: http}]}\n"
    world = WORLD.replace("name: shop}", "name: shop, labels: {istio-injection: enabled}}") + service + route
    config = "meshConfig: {defaultHttpRetryPolicy: {attempts: ATTEMPTS}}\npilot: {replicaCount: 1}\n"
    assert [item.code for item in convert(world, "istio", "linkerd").findings if item.code == "MP401"] == ["MP401"]
    none = convert(config.replace("ATTEMPTS", "0") + world, "istio", "linkerd")
    assert not [item for item in none.findings if item.code == "MP401"]
    four = convert(config.replace("ATTEMPTS", "4, retryOn: 5xx") + world, "istio", "linkerd")
    (written,) = [item.object for item in four.manifests if item.object["kind"] == "HTTPRoute"]
    assert written["metadata"]["annotations"]["retry.linkerd.io/limit"] == "4"


def test_ports_that_pass_every_proxy() -> None:
    linkerd = "proxyInit: {ignoreInboundPorts: '9090'}\nidentityTrustDomain: cluster.local\n"
    world = WORLD.replace("name: shop}", "name: shop, annotations: {linkerd.io/inject: enabled}}")
    (pod,) = [item.object for item in convert(linkerd + world, "linkerd", "istio").manifests if item.object["kind"] == "Deployment"]
    assert pod["spec"]["template"]["metadata"]["annotations"]["traffic.sidecar.istio.io/excludeInboundPorts"] == "9090"
    istio = "global: {proxy: {excludeInboundPorts: '9090'}}\npilot: {replicaCount: 1}\n"
    world = WORLD.replace("name: shop}", "name: shop, labels: {istio-injection: enabled}}")
    (pod,) = [item.object for item in convert(istio + world, "istio", "linkerd").manifests if item.object["kind"] == "Deployment"]
    assert pod["spec"]["template"]["metadata"]["annotations"]["config.linkerd.io/skip-inbound-ports"] == "9090"


def test_settings_that_both_installations_have() -> None:
    values = (
        "identityTrustDomain: corp\nclusterDomain: corp.local\nproxy: {resources: {cpu: {request: 100m}}, await: true}\nproxyInit: {}\n"
    )
    installed = convert(values + WORLD, "linkerd", "istio").install["helm_values"]["istiod"]
    assert installed["meshConfig"]["trustDomain"] == "corp"
    assert installed["global"]["proxy"] == {
        "clusterDomain": "corp.local",
        "resources": {"requests": {"cpu": "100m"}},
        "holdApplicationUntilProxyStarts": True,
    }


def test_the_networks_that_an_old_authorization_means_are_those_of_the_installation() -> None:
    values = "clusterNetworks: 10.42.0.0/16\nidentityTrustDomain: cluster.local\nproxy: {defaultInboundPolicy: cluster-unauthenticated}\nproxyInit: {}\n"
    world = WORLD.replace("name: shop}", "name: shop, annotations: {linkerd.io/inject: enabled}}")
    result = convert(values + world, "linkerd", "istio")
    (policy,) = [item.object for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert policy["spec"]["rules"][0]["from"][0]["source"]["ipBlocks"] == ["10.42.0.0/16"]


NETWORK_POLICY = """
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: users, namespace: shop}
spec: {endpointSelector: {matchLabels: {app: users}}, ingress: [{}]}
"""


def test_policies_that_are_never_enforced() -> None:
    """With enforcement off nothing is closed, and so nothing is written."""
    result = convert("policyEnforcementMode: never\nhubble: {enabled: true}\n" + WORLD + NETWORK_POLICY, "cilium", "istio")
    assert not [item for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert [item.code for item in result.findings if item.code == "MP212"] == ["MP212"]


def test_policies_that_an_agent_without_proxy_refuses_are_named() -> None:
    requests = NETWORK_POLICY.replace(
        "ingress: [{}]", "ingress: [{toPorts: [{ports: [{port: '8080', protocol: TCP}], rules: {http: [{method: GET}]}}]}]"
    )
    result = convert("l7Proxy: false\nhubble: {enabled: true}\n" + WORLD + requests, "cilium", "linkerd")
    (finding,) = [item for item in result.findings if item.code == "MP974"]
    assert "CiliumNetworkPolicy shop/users" in finding.message
    assert not [
        item
        for item in convert("l7Proxy: true\nhubble: {enabled: true}\n" + WORLD + requests, "cilium", "linkerd").findings
        if item.code == "MP974"
    ]


NORMALISED = """
meshConfig: {pathNormalization: {normalization: %s}}
pilot: {replicaCount: 1}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: never, namespace: shop}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/admin, /admin/*]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: public, namespace: shop}
spec: {rules: [{to: [{operation: {paths: [/admin/*, /api/*], notPaths: [/api/private/*]}}]}]}
"""


def admitted(normalization: str, path: str) -> bool:
    """Whether a route of the output, made for this normalization, takes a path."""
    world = WORLD.replace("name: shop}", "name: shop, labels: {istio-injection: enabled}}")
    result = convert(NORMALISED % normalization + world, "istio", "linkerd")
    assert not {item.code for item in result.findings} & {"MP900", "MP901", "MP904"}
    routes = [one.object for one in result.manifests if one.object["kind"] == "HTTPRoute"]
    granted = [route for route in routes if "refuse" not in route["metadata"]["name"]]
    values = [match["path"] for route in granted for rule in route["spec"]["rules"] for match in rule["matches"]]
    return any(
        re.fullmatch(value["value"], path) if value["type"] == "RegularExpression" else path.startswith(value["value"]) for value in values
    )


def test_what_istio_refuses_with_merged_slashes_is_refused_with_any_number_of_them() -> None:
    assert admitted("BASE", "/api//private/x")
    assert not admitted("MERGE_SLASHES", "/api//private/x")
    assert not admitted("MERGE_SLASHES", "//admin/x")
    assert admitted("MERGE_SLASHES", "/api/users")
    assert admitted("MERGE_SLASHES", "/api//users")


def test_no_rule_with_a_path_admits_one_with_an_escaped_slash_that_istio_decodes() -> None:
    assert admitted("MERGE_SLASHES", "/api/x%2Fy")
    assert not admitted("DECODE_AND_MERGE_SLASHES", "/api/x%2Fy")
    assert not admitted("DECODE_AND_MERGE_SLASHES", "/api/x%5cy")
    assert admitted("DECODE_AND_MERGE_SLASHES", "/api/x%C3%A9y")


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_paths_that_istio_normalises_otherwise(target: str) -> None:
    """With all spellings of what is refused written, only requests are lost."""
    world = WORLD.replace("name: shop}", "name: shop, labels: {istio-injection: enabled}}")
    (finding,) = [item for item in convert(NORMALISED % "MERGE_SLASHES" + world, "istio", target).findings if item.code == "MP973"]
    assert (finding.severity, finding.effect) == ("warning", "narrows")
    assert [(item.namespace, item.workload) for item in finding.affects] == [("shop", "users")]


@pytest.mark.parametrize(("form", "encoding"), [("apache", {}), ("json", {"accessLogEncoding": "JSON"})])
def test_the_access_log_of_the_installation_goes_to_istio_and_back(form: str, encoding: dict[str, str]) -> None:
    result = convert(LINKERD.replace("defaultInboundPolicy: deny", f"accessLog: {form}") + WORLD, "linkerd", "istio")
    mesh = result.install["helm_values"]["istiod"]["meshConfig"]
    assert {key: value for key, value in mesh.items() if key.startswith("accessLog")} == {"accessLogFile": "/dev/stdout", **encoding}
    assert not [finding.code for finding in result.findings if finding.code == "MP851"]
    back = convert(f"apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {{meshConfig: {mesh}}}\n", "istio", "linkerd")
    assert back.install["helm_values"]["linkerd-control-plane"]["proxy"] == {"accessLog": form}
