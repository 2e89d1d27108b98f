"""Findings and names agree with the manifests beside them: nothing is called closed that is open, or left out that was written."""

from __future__ import annotations

from typing import Any

import pytest

import meshport
from meshport.pipeline import Result

ISTIO = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n"
LINKERD = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {linkerd.io/inject: enabled}}\n"


def service(name: str, ports: str = "{name: http, port: 80, targetPort: 8080}", notes: str = "{}") -> str:
    return f"""---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop, annotations: {notes}}}
spec: {{selector: {{app: {name}}}, ports: [{ports}]}}
"""


def workload(name: str, notes: str = "{}", ports: str = "{name: http, containerPort: 8080}") -> str:
    return f"""---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}, annotations: {notes}}}
    spec: {{serviceAccountName: {name}, containers: [{{name: app, image: "app:1", ports: [{ports}]}}]}}
"""


def policy(rules: str, action: str = "ALLOW", name: str = "web") -> str:
    return f"""---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: shop}}
spec: {{selector: {{matchLabels: {{app: web}}}}, action: {action}, {rules}}}
"""


def converted(text: str, source: str, target: str, **options: Any) -> tuple[dict[tuple[str, str], Any], Result]:
    result = meshport.convert(meshport.load_text(text), source=source, target=target, **options)
    assert not [item for item in result.findings if item.code in ("MP900", "MP901", "MP902", "MP904")]
    return {(item.object["kind"], item.object["metadata"]["name"]): item.object for item in result.manifests}, result


def said(result: Result, code: str) -> list[str]:
    return [item.message for item in result.findings if item.code == code]


SCRAPED = "{prometheus.io/scrape: 'true', prometheus.io/port: '8080'}"


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
@pytest.mark.parametrize(("paths", "closed"), [("[/admin]", False), ("[/metrics]", True)])
def test_a_scrape_is_called_closed_only_where_the_rules_close_its_path(target: str, paths: str, closed: bool) -> None:
    rules = f"rules: [{{to: [{{operation: {{notPaths: {paths}}}}}]}}]"
    _, result = converted(ISTIO + service("web") + workload("web", SCRAPED) + policy(rules), "istio", target)
    assert bool(said(result, "MP232")) is closed


def test_a_policy_of_a_permissive_workload_is_not_called_strict() -> None:
    text = (
        ISTIO
        + service("web")
        + workload("web")
        + policy("provider: {name: ext}, rules: [{to: [{operation: {paths: [/account]}}]}]", "CUSTOM", "ext")
    )
    out, result = converted(text, "istio", "cilium")
    assert [name for kind, name in out if kind == "CiliumNetworkPolicy"] == ["ext"]
    assert [message.partition(":")[0] for message in said(result, "MP280")] == ["shop/web"]


@pytest.mark.parametrize("target", ["cilium", "gateway-api"])
def test_the_slash_leaves_both_ends_of_a_rewrite(target: str) -> None:
    rule = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - match: [{uri: {prefix: /old/}}]
    rewrite: {uri: /new/}
    route: [{destination: {host: web}}]
"""
    out, _ = converted(ISTIO + service("web") + workload("web") + rule, "istio", target)
    written = out["HTTPRoute", "web"]["spec"]["rules"][0]
    assert written["matches"][0]["path"] == {"type": "PathPrefix", "value": "/old"}
    assert written["filters"][0]["urlRewrite"]["path"] == {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}  # /old/x is /new/x


def test_a_rewrite_before_an_expression_is_written_and_named() -> None:
    rule = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - match: [{uri: {regex: "/item/[0-9]+"}}]
    route: [{destination: {host: web}}]
  - match: [{uri: {prefix: /old/}}]
    rewrite: {uri: /new/}
    route: [{destination: {host: web}}]
  - route: [{destination: {host: web}}]
"""
    out, result = converted(ISTIO + service("web") + workload("web") + rule, "istio", "gateway-api")
    kinds = [[item["type"] for item in rule.get("filters", [])] for rule in out["HTTPRoute", "web"]["spec"]["rules"]]
    assert ["URLRewrite"] in kinds
    assert said(result, "MP741") and not said(result, "MP327")


BREAKER = "{balancer.linkerd.io/failure-accrual: consecutive, timeout.linkerd.io/request: 3s}"


def test_the_breaker_stands_in_the_table_of_the_routes() -> None:
    ports = "{name: http, port: 80, targetPort: 8080}, {name: http-admin, port: 81, targetPort: 8081}"
    out, result = converted(LINKERD + service("web", ports, BREAKER) + workload("web"), "linkerd", "cilium")
    assert said(result, "MP363")
    route = """---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec: {parentRefs: [{group: core, kind: Service, name: web, port: 80}], rules: [{backendRefs: [{name: web, port: 80}]}]}
"""
    out, result = converted(LINKERD + service("web", ports, BREAKER) + workload("web") + route, "linkerd", "cilium")
    assert said(result, "MP363") and not said(result, "MP524")
    assert "on the ports 81" in said(result, "MP368")[0] and "on the port 81" in said(result, "MP365")[0]
    resources = out["CiliumEnvoyConfig", "web-meshport"]["spec"]["resources"]
    assert [item["name"] for item in resources if "outlier_detection" in item] == ["shop/web:80"]
    assert ("CiliumEnvoyConfig", "web-meshport") in out and not [name for kind, name in out if kind == "HTTPRoute"]


def test_web_sockets_pass_the_listener_of_a_breaker() -> None:
    rule = """---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec: {host: web, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 5}}}
"""
    out, _ = converted(ISTIO + service("web") + workload("web") + rule, "istio", "cilium")
    resources = out["CiliumEnvoyConfig", "web-meshport"]["spec"]["resources"]
    manager = resources[0]["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["upgrade_configs"] == [{"upgrade_type": "websocket"}]


def test_a_rule_for_tokens_that_is_left_out_narrows() -> None:
    text = ISTIO + service("web") + workload("web")
    text += policy('rules: [{from: [{source: {requestPrincipals: ["https://id.example.com/*"]}}]}]')
    for target in ("linkerd", "cilium"):
        _, result = converted(text, "istio", target)
        assert result.verification is not None and result.verification.verdict == "narrowed"
        assert result.verification.differences[0].request["claims"] == {"iss": "https://id.example.com", "sub": "x"}


@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_a_proxy_in_ingress_mode_is_named(target: str) -> None:
    _, result = converted(LINKERD.replace("enabled", "ingress") + service("web") + workload("web"), "linkerd", target)
    assert [(item.severity, item.affects[0].namespace) for item in result.findings if item.code == "MP740"] == [("warning", "shop")]


TRACE = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-trace, namespace: istio-system}
spec: {action: DENY, rules: [{to: [{operation: {methods: [TRACE]}}]}]}
"""
JOB = """---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: shop}
spec:
  schedule: "0 1 * * *"
  jobTemplate: {spec: {template: {metadata: {labels: {app: nightly}}, spec: {restartPolicy: Never, containers: [{name: app, image: "app:1"}]}}}}
"""


def test_pods_without_ports_are_not_called_unknown() -> None:
    _, result = converted(ISTIO + service("web") + workload("web") + JOB + TRACE, "istio", "linkerd")
    assert not said(result, "MP207")
    found = [item for item in result.findings if item.code == "MP744"]
    assert [(item.severity, [one.workload for one in item.affects]) for item in found] == [("warning", ["nightly"])]
    assert all("(8080)" in message for message in said(result, "MP206"))


@pytest.mark.parametrize(("encoding", "written"), [("", "apache"), ("\n    accessLogEncoding: JSON", "json")])
def test_the_access_log_of_the_whole_mesh_is_a_setting_of_linkerd(encoding: str, written: str) -> None:
    operator = f"""---
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {{name: istio, namespace: istio-system}}
spec:
  meshConfig:
    accessLogFile: /dev/stdout{encoding}
"""
    _, result = converted(ISTIO + operator, "istio", "linkerd")
    assert result.install["helm_values"]["linkerd-control-plane"]["proxy"]["accessLog"] == written
    assert not said(result, "MP851")
    _, result = converted(ISTIO + operator.replace("/dev/stdout", "/var/log/mesh.log"), "istio", "linkerd")
    assert said(result, "MP851")  # Linkerd writes to no file


def test_empty_lists_of_rules_are_nothing_to_report() -> None:
    rule = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec: {hosts: [web], http: [{timeout: 1s, route: [{destination: {host: web}}]}], tcp: [], tls: []}
"""
    for target in ("linkerd", "cilium", "gateway-api"):
        _, result = converted(ISTIO + service("web") + workload("web") + rule, "istio", target)
        assert result.ledger.counts["unaccounted"] == 0


def test_a_rule_for_many_hosts_names_the_service_that_it_cannot_be_kept_for() -> None:
    rule = """---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: all, namespace: istio-system}
spec: {host: "*.local", trafficPolicy: {connectionPool: {tcp: {maxConnections: 10}}}}
"""
    headless = service("web-0").replace("spec: {", "spec: {clusterIP: None, ")
    _, result = converted(ISTIO + service("web") + headless + workload("web") + rule, "istio", "cilium")
    assert [message.partition(" is ")[0] for message in said(result, "MP523")] == ["Service shop/web-0"]


def test_limits_that_envoy_sets_unasked_are_not_called_istios() -> None:
    config = """---
apiVersion: cilium.io/v2
kind: CiliumEnvoyConfig
metadata: {name: breaker, namespace: shop}
spec:
  services: [{name: web, namespace: shop, listener: web}]
  resources:
  - "@type": type.googleapis.com/envoy.config.listener.v3.Listener
    name: web
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: web, cluster: shop/web}
  - "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
    name: shop/web
    type: EDS
    outlier_detection: {consecutive_5xx: 3}
"""
    _, result = converted(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n" + service("web") + workload("web") + config, "cilium", "linkerd"
    )
    assert said(result, "MP501") and not [message for message in said(result, "MP501") if "Istio" in message]
