"""Access between Istio and Linkerd, decision by decision: pods without a proxy, probes, jobs, scrapes, gateways, competing objects, labels that overlap."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  template:
    metadata: {labels: {app: users}}
    spec:
      serviceAccountName: users
      containers: [{name: app, image: users, ports: [{name: http, containerPort: 8080}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users-v2, namespace: shop}
spec:
  selector: {matchLabels: {app: users, version: v2}}
  template:
    metadata: {labels: {app: users, version: v2}}
    spec:
      serviceAccountName: users
      containers: [{name: app, image: users, ports: [{name: http, containerPort: 8080}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: app, image: web}]}
---
"""
LINKERD = WORLD.replace("labels: {istio-injection: enabled}", "annotations: {linkerd.io/inject: enabled}")
AGENT = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: shop}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {hostNetwork: true, serviceAccountName: agent, containers: [{name: app, image: agent, ports: [{containerPort: 9100}]}]}
---
"""
JOB = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: report, namespace: shop}
spec:
  schedule: 0 3 * * *
  jobTemplate:
    spec:
      template:
        metadata: {labels: {app: report}}
        spec: {serviceAccountName: report, restartPolicy: Never, containers: [{name: app, image: report}]}
---
"""
FROM_WEB = "rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]"


def policy(spec: str, name: str = "users", namespace: str = "shop") -> str:
    return f"""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec: {spec}
---
"""


def server(name: str, spec: str, created: str = "") -> str:
    made = f', creationTimestamp: "{created}"' if created else ""
    return f"""
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {{name: {name}, namespace: shop{made}}}
spec: {spec}
---
"""


def to_linkerd(text: str, **options: Any) -> Any:
    return meshport.convert(meshport.load_text(text), source="istio", target="linkerd", **options)


def to_istio(text: str, **options: Any) -> Any:
    return meshport.convert(meshport.load_text(text), source="linkerd", target="istio", **options)


def spec(result: Any, kind: str, name: str) -> Any:
    return next(one.object["spec"] for one in result.manifests if (one.object["kind"], one.object["metadata"]["name"]) == (kind, name))


def said(result: Any, code: str) -> Any:
    """The one finding of a code."""
    (found,) = [finding for finding in result.findings if finding.code == code]
    return found


def names(result: Any, kind: str) -> list[str]:
    return sorted(one.object["metadata"]["name"] for one in result.manifests if one.object["kind"] == kind)


# -- pods without a proxy


def test_a_caller_on_the_hosts_network_has_no_identity_to_be_let_in_by() -> None:
    rule = "{selector: {matchLabels: {app: web}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/agent]}}]}]}"
    finding = said(to_linkerd(WORLD + AGENT + policy(rule)), "MP210")
    assert "shop/agent (on the host's network), which has no proxy" in finding.message
    assert (finding.severity, finding.effect) == ("warning", "none")


def test_a_policy_for_pods_on_the_hosts_network_writes_nothing_and_says_so() -> None:
    result = to_linkerd(WORLD + AGENT + policy("{selector: {matchLabels: {app: agent}}, " + FROM_WEB + "}", "agent"))
    assert names(result, "Server") == []
    assert "shop/agent (on the host's network)" in said(result, "MP215").message


def test_a_server_for_pods_on_the_hosts_network_writes_nothing_and_says_so() -> None:
    result = to_istio(LINKERD + AGENT + server("agent", "{podSelector: {matchLabels: {app: agent}}, port: 9100}"))
    assert names(result, "AuthorizationPolicy") == []
    assert "they are open, as they were" in said(result, "MP215").message


# -- probes, jobs, scrapes


def test_a_tcp_probe_no_longer_shows_that_the_application_listens() -> None:
    probed = WORLD.replace(
        "ports: [{name: http, containerPort: 8080}]}]", "readinessProbe: {tcpSocket: {port: 8080}}, ports: [{containerPort: 8080}]}]", 1
    )
    finding = said(to_linkerd(probed), "MP236")
    assert (finding.severity, finding.effect) == ("info", "none")
    assert finding.message.startswith("shop/users: the TCP probe of port 8080")


@pytest.mark.parametrize(("version", "key"), [("2.16", "config.alpha.linkerd.io"), ("2.19", "config.beta.linkerd.io"), ("2.20", None)])
def test_a_job_ends_although_its_proxy_would_not(version: str, key: str | None) -> None:
    result = to_linkerd(WORLD + JOB, target_version=version)
    if key is None:
        assert names(result, "CronJob") == []
        assert "MP237" not in {finding.code for finding in result.findings}
        return
    template = spec(result, "CronJob", "report")["jobTemplate"]["spec"]["template"]
    assert template["metadata"]["annotations"] == {f"{key}/proxy-enable-native-sidecar": "true"}
    assert said(result, "MP237").severity == "info"


def test_a_job_in_a_release_without_native_sidecars_is_said_not_to_end() -> None:
    assert said(to_linkerd(WORLD + JOB, target_version="2.12"), "MP238").severity == "warning"


def test_a_port_that_prometheus_scrapes_is_named_where_policies_close_it() -> None:
    notes = "annotations: {prometheus.io/scrape: 'true', prometheus.io/port: '8080'}"
    scraped = WORLD.replace("metadata: {labels: {app: users}}", "metadata: {labels: {app: users}, " + notes + "}", 1)
    finding = said(to_linkerd(scraped + policy("{selector: {matchLabels: {app: users}}, " + FROM_WEB + "}")), "MP232")
    assert [(item.workload, item.port) for item in finding.affects] == [("users", 8080)]


# -- levels and gateways


def test_a_policy_that_denies_the_whole_mesh_is_the_charts_default_and_an_error() -> None:
    result = to_linkerd(WORLD + policy("{}", "deny", "istio-system"))
    assert result.install["helm_values"]["linkerd-control-plane"]["proxy"]["defaultInboundPolicy"] == "deny"
    assert said(result, "MP103").severity == "error"


def test_a_default_deny_closes_the_gateway_of_its_namespace_and_nothing_opens_it() -> None:
    gateway = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
"""
    result = to_linkerd(WORLD + gateway + policy("{}", "deny"))
    assert said(result, "MP214").severity == "error"
    assert names(result, "AuthorizationPolicy") == []


def test_a_refusal_that_would_tie_with_a_route_is_left_out() -> None:
    to_root = "{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: ['*']}}], to: [{operation: {paths: [/]}}]}]}"
    assert not [name for name in names(to_linkerd(WORLD + policy(to_root)), "HTTPRoute") if name.endswith("refuse")]


def test_what_denies_leave_of_the_ports_that_nobody_declares_is_a_default_where_it_is_one() -> None:
    strangers = "{action: DENY, rules: [{from: [{source: {ipBlocks: [203.0.113.0/24]}}]}]}"
    result = to_linkerd(WORLD + policy(strangers, "strangers"))
    annotations = spec(result, "Deployment", "web")["template"]["metadata"]["annotations"]
    assert annotations["config.linkerd.io/default-inbound-policy"] == "cluster-unauthenticated"


# -- objects that compete


@pytest.mark.parametrize(("first", "second", "account"), [("2025-01-01T00:00:00Z", "2024-01-01T00:00:00Z", "users"), ("", "", "web")])
def test_of_two_servers_for_one_port_the_oldest_decides_and_then_the_first_by_name(first: str, second: str, account: str) -> None:
    text = LINKERD + server("a", "{podSelector: {matchLabels: {app: web}}, port: 80}", first)
    text += server("b", "{podSelector: {matchLabels: {app: web}}, port: 80}", second)
    for name, who in (("a", "web"), ("b", "users")):
        text += f"""
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: shop}}
spec:
  targetRef: {{group: policy.linkerd.io, kind: Server, name: {name}}}
  requiredAuthenticationRefs: [{{kind: ServiceAccount, name: {who}}}]
---
"""
    result = to_istio(text)
    (written,) = [one.object for one in result.manifests if one.object["kind"] == "AuthorizationPolicy"]
    assert written["spec"]["rules"][0]["from"] == [{"source": {"principals": [f"cluster.local/ns/shop/sa/{account}"]}}]


def test_of_two_modes_for_a_namespace_the_oldest_holds() -> None:
    text = WORLD
    for name, mode, year in (("a", "PERMISSIVE", 2025), ("b", "STRICT", 2024)):
        text += f"""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: {name}, namespace: shop, creationTimestamp: "{year}-01-01T00:00:00Z"}}
spec: {{mtls: {{mode: {mode}}}}}
---
"""
    home = next(one.object for one in to_linkerd(text).manifests if one.object["kind"] == "Namespace")
    assert home["metadata"]["annotations"]["config.linkerd.io/default-inbound-policy"] == "all-authenticated"


# -- labels that overlap


def annotated(value: str) -> str:
    notes = f"annotations: {{config.linkerd.io/default-inbound-policy: {value}}}"
    return LINKERD.replace("metadata: {labels: {app: users}}", "metadata: {labels: {app: users}, " + notes + "}", 1)


def test_the_default_of_a_pod_template_is_not_that_of_pods_with_more_labels() -> None:
    result = to_istio(annotated("cluster-unauthenticated"))
    assert spec(result, "AuthorizationPolicy", "users")["rules"][0]["from"][0]["source"]["ipBlocks"][0] == "10.0.0.0/8"
    assert spec(result, "AuthorizationPolicy", "users-v2") == {
        "selector": {"matchLabels": {"app": "users", "version": "v2"}},
        "action": "ALLOW",
        "rules": [{}],
    }
    assert [finding for finding in result.findings if finding.effect == "narrows" and finding.severity != "info"] == []


def test_pods_that_no_label_tells_from_strict_ones_refuse_plaintext_too() -> None:
    finding = said(to_istio(annotated("all-authenticated")), "MP294")
    assert (finding.effect, [item.workload for item in finding.affects]) == ("narrows", ["users-v2"])


def test_a_server_for_pods_that_nobody_shows_keeps_their_other_ports_open() -> None:
    result = to_istio(LINKERD + server("gone", "{podSelector: {matchLabels: {app: gone}}, port: 8080}"))
    assert spec(result, "AuthorizationPolicy", "gone")["rules"] == [{"to": [{"operation": {"notPorts": ["8080"]}}]}]
    assert said(result, "MP295").severity == "info"


# -- one thing, one finding


def test_a_rule_that_is_left_out_on_several_ports_is_one_finding() -> None:
    two = WORLD.replace("[{name: http, containerPort: 8080}]", "[{name: http, containerPort: 8080}, {containerPort: 9090}]", 1)
    rule = "{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {requestPrincipals: ['*']}}]}]}"
    finding = said(to_linkerd(two + policy(rule)), "MP201")
    assert "on ports 8080, 9090 a rule is left out" in finding.message
    assert {(item.workload, item.port) for item in finding.affects} >= {("users", 8080), ("users", 9090)}


def test_a_list_of_known_peers_warns_only_where_others_are_refused_that_the_bundle_shows() -> None:
    pattern = "{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: ['*/sa/web']}}]}]}"
    negated = "{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {notPrincipals: [cluster.local/ns/shop/sa/web]}}]}]}"
    assert said(to_linkerd(WORLD + policy(pattern)), "MP203").severity == "info"
    assert said(to_linkerd(WORLD + policy(negated)), "MP203").severity == "warning"


def test_tokens_that_nobody_checks_any_more_are_one_finding() -> None:
    checked = """
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt, namespace: shop}
spec: {selector: {matchLabels: {app: users}}, jwtRules: [{issuer: https://issuer.test, jwksUri: https://issuer.test/keys}]}
---
"""
    finding = said(to_linkerd(WORLD + checked), "MP261")
    assert (finding.severity, finding.effect, len(finding.leaves)) == ("error", "widens", 4)
    assert "issuer of tokens and key set of the issuer are lost" in finding.message


def test_what_is_asked_of_tokens_is_said_in_the_words_of_the_policy() -> None:
    rule = """{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {requestPrincipals: ['*']}}],
        when: [{key: 'request.auth.claims[scope]', values: [read]}]}]}"""
    assert (
        "the condition request.auth.claims[scope] = read, requestPrincipals = *" in said(to_linkerd(WORLD + policy(rule)), "MP201").message
    )


def test_where_mtls_is_disabled_nobody_has_the_identity_that_a_rule_asks_for() -> None:
    disabled = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: DISABLE}}
---
"""
    result = to_linkerd(WORLD + disabled + policy("{selector: {matchLabels: {app: users}}, " + FROM_WEB + "}"))
    assert names(result, "AuthorizationPolicy") == []
