"""Istio's fields with values that are odd, empty, of another case or none that a cluster takes: what comes out, and what is said."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: web, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {serviceAccountName: cart, containers: [{name: app, image: i, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: pay, namespace: shop}
spec:
  selector: {matchLabels: {app: pay}}
  template:
    metadata: {labels: {app: pay}}
    spec: {serviceAccountName: pay, containers: [{name: app, image: i, ports: [{containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: front, namespace: web}
spec:
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: front}}
    spec: {serviceAccountName: front, containers: [{name: app, image: i}]}
---
"""
ROUTES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: shop}
spec: {hosts: [shop.example.com], gateways: [shop], http: [{route: [{destination: {host: cart, port: {number: 80}}}]}]}
---
"""


def converted(text: str, target: str) -> Any:
    return meshport.convert(meshport.load_text(WORLD + text), source="istio", target=target)


def policy(spec: str) -> str:
    return f"""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: p, namespace: shop}}
spec: {spec}
---
"""


def rules(text: str) -> str:
    return policy(f"{{selector: {{matchLabels: {{app: cart}}}}, rules: [{text}]}}")


def gateway(servers: str) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: shop, namespace: shop}}
spec: {{selector: {{istio: ingressgateway}}, servers: [{servers}]}}
---
"""


def said(result: Any, code: str) -> list[str]:
    return [finding.message for finding in result.findings if finding.code == code]


def written(result: Any, kind: str) -> list[dict[str, Any]]:
    return [item.object for item in result.manifests if item.object["kind"] == kind]


REFUSED = {
    "{to: [{operation: {ports: [http]}}]}": "'http' is no port",
    "{to: [{operation: {ports: ['70000']}}]}": "'70000' is no port",
    "{to: [{operation: {methods: ['']}}]}": "methods have an empty value",
    "{to: [{operation: {paths: ['/a/{*}/{name}']}}]}": "'/a/{*}/{name}' is no path template",
    "{from: [{source: {principals: ['']}}]}": "principals have an empty value",
    "{from: [{source: {serviceAccounts: [a/b/c]}}]}": "'a/b/c' is neither the name of a service account nor namespace/name",
    "{from: [{source: {trustDomains: ['a*b']}}]}": "'a*b' is no trust domain: it takes a star at one end and no slash",
    "{when: [{key: 'destination.labels[app]', values: [x]}]}": "no condition has the key 'destination.labels[app]'",
    "{when: [{key: Source.Namespace, values: [x]}]}": "no condition has the key 'Source.Namespace'",
    "{when: [{key: 'request.headers[]', values: [x]}]}": "no condition has the key 'request.headers[]'",
    "{when: [{key: destination.port, values: [http]}]}": "'http' is no port",
    "{when: [{key: source.namespace, values: ['']}]}": "the condition on source.namespace has an empty value",
}


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
@pytest.mark.parametrize("rule", REFUSED)
def test_a_policy_that_the_webhook_refuses_is_said_in_one_line_and_closes_nothing(rule: str, target: str) -> None:
    result = converted(rules(rule), target)
    assert said(result, "MP015") == [f"AuthorizationPolicy shop/p is refused as a whole and grants nothing: {REFUSED[rule]}"]
    assert not written(result, "Server")
    assert not written(result, "CiliumNetworkPolicy")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("{action: CUSTOM, rules: [{}]}", "CUSTOM names no provider"),
        ("{provider: {name: opa}, rules: [{}]}", "a provider stands beside the action ALLOW"),
    ],
)
def test_what_an_action_needs_is_asked_as_the_webhook_does(spec: str, why: str) -> None:
    assert said(converted(policy(spec), "cilium"), "MP015") == [
        f"AuthorizationPolicy shop/p is refused as a whole and grants nothing: {why}"
    ]


def test_the_keys_that_istio_knows_are_not_refused() -> None:
    for key in (
        "request.headers[x]",
        "request.auth.claims[a][b]",
        "source.serviceAccount",
        "connection.sni",
        "experimental.envoy.filters.a[b]",
    ):
        assert not said(converted(rules(f"{{when: [{{key: '{key}', values: [x]}}]}}"), "linkerd"), "MP015")


@pytest.mark.parametrize("rule", ["{from: null}", "{to: null}", "{when: null}", "{from: null, to: null}"])
def test_a_null_is_a_field_that_is_not_there(rule: str) -> None:
    """The rule takes every request; it was read as one that takes none, unsaid."""
    result = converted(rules(rule), "cilium")
    assert written(result, "CiliumNetworkPolicy")[0]["spec"]["ingress"] == [{"fromEntities": ["all"]}]
    assert result.verification.verdict == "equivalent"


def test_a_null_beside_callers_takes_nothing_from_them() -> None:
    result = converted(rules("{to: null, from: [{source: {namespaces: [web]}}]}"), "cilium")
    assert written(result, "CiliumNetworkPolicy")[0]["spec"]["ingress"] == [
        {"fromEndpoints": [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "web"}}]}
    ]
    assert not said(result, "MP901")


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ("{rules: {}}", "spec.rules: an empty mapping is not a list"),
        ("{selector: [], rules: [{}]}", "spec.selector: an empty list is not a mapping"),
    ],
)
def test_an_empty_value_of_another_kind_voids_the_object(spec: str, where: str) -> None:
    result = converted(policy(spec), "linkerd")
    assert [text.partition(": ")[2].partition(";")[0] for text in said(result, "MP013")] == [where]
    assert not written(result, "Namespace") or "deny" not in str(written(result, "Namespace"))


def test_all_the_patterns_that_are_listed_are_named() -> None:
    for target in ("linkerd", "cilium"):
        (text,) = said(converted(rules("{from: [{source: {namespaces: ['w*b', '*eb', 'we*']}}]}"), target), "MP203")
        assert all(name in text for name in ("*/ns/w*b/*", "*/ns/*eb/*", "*/ns/we*/*"))


def test_all_the_callers_of_other_trust_domains_are_named_and_no_unknown_account_is_said_to_be_kept() -> None:
    for target in ("linkerd", "cilium"):
        result = converted(rules("{from: [{source: {principals: [one/ns/a/sa/b, two/ns/a/sa/b]}}]}"), target)
        assert all("one/ns/a/sa/b, two/ns/a/sa/b belong to no trust domain" in text for text in said(result, "MP208"))
        assert said(result, "MP208")
        assert not said(result, "MP189")


def test_an_account_called_gateway_is_no_gateway() -> None:
    result = converted(rules("{from: [{source: {principals: ['*/sa/gateway']}}]}"), "linkerd")
    assert not said(result, "MP216")
    assert said(result, "MP201")[0].endswith("*/sa/gateway: it is no account that the bundle knows")


def test_what_holds_for_every_pod_alike_is_said_once() -> None:
    strict = (
        "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: d, namespace: shop}, spec: {mtls: {mode: STRICT}}}"
    )
    assert len(said(converted(strict, "cilium"), "MP281")) == 1


@pytest.mark.parametrize("spec", ["{}", "{jwtRules: []}", "{jwtRules: null}"])
def test_a_request_authentication_without_rules_checks_nothing_and_so_loses_nothing(spec: str) -> None:
    text = f"{{apiVersion: security.istio.io/v1, kind: RequestAuthentication, metadata: {{name: j, namespace: shop}}, spec: {spec}}}"
    for target in ("linkerd", "cilium"):
        assert not said(converted(text, target), "MP261")


def test_the_protocol_of_a_server_is_read_in_any_case() -> None:
    servers = (
        "{port: {number: 80, name: http, protocol: http}, hosts: ['*']}, "
        "{port: {number: 443, name: https, protocol: Https}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: c}}"
    )
    result = converted(gateway(servers) + ROUTES, "cilium")
    assert not said(result, "MP013")
    assert [item["protocol"] for item in written(result, "Gateway")[0]["spec"]["listeners"]] == ["HTTP", "HTTPS"]


@pytest.mark.parametrize("tls", ["{}", "{credentialName: c}"])
def test_a_server_whose_tls_has_no_mode_passes_tls_on(tls: str) -> None:
    result = converted(gateway(f"{{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: ['*'], tls: {tls}}}") + ROUTES, "cilium")
    (listener,) = written(result, "Gateway")[0]["spec"]["listeners"]
    assert (listener["protocol"], listener["tls"]) == ("TLS", {"mode": "Passthrough"})
    assert not written(result, "HTTPRoute")
    assert said(result, "MP397")
    assert not said(result, "MP900")


@pytest.mark.parametrize(
    ("server", "why"),
    [
        ("", "spec: a gateway needs a server"),
        ("{port: {number: 443, name: h, protocol: HTTPS}, hosts: ['*']}", "spec.servers[0]: a server for HTTPS needs tls"),
        (
            "{port: {number: 80, name: h, protocol: HTTP}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: c}}",
            "spec.servers[0].tls: a server for HTTP takes no tls but httpsRedirect",
        ),
        ("{port: {number: 80, name: h, protocol: HTTP, targetPort: 1}, hosts: ['*']}", "targetPort has no meaning for a gateway"),
        ("{port: {number: 443, name: h, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE}}", "SIMPLE needs a credentialName, or else"),
    ],
)
def test_servers_are_held_to_what_the_webhook_demands(server: str, why: str) -> None:
    result = converted(gateway(server), "gateway-api")
    assert any(why in text for text in said(result, "MP072"))
    assert not written(result, "Gateway")


def test_what_no_release_does_anything_with_is_no_loss() -> None:
    result = converted(
        gateway("{port: {number: 80, name: h, protocol: HTTP}, hosts: ['*'], defaultEndpoint: '127.0.0.1:80'}") + ROUTES, "cilium"
    )
    assert not [finding for finding in result.findings if finding.code in ("MP949", "MP376")]


def test_a_gateway_for_every_pod_says_so() -> None:
    result = converted(
        gateway("{port: {number: 80, name: h, protocol: HTTP}, hosts: ['*']}").replace("{istio: ingressgateway}", "{}"), "cilium"
    )
    assert any("the pods of every gateway are not used any more" in text for text in said(result, "MP759"))


def test_hosts_are_written_in_lower_case_which_is_all_that_the_gateway_api_takes() -> None:
    server = "{port: {number: 443, name: t, protocol: TLS}, hosts: [Shop.Example.com], tls: {mode: PASSTHROUGH}}"
    routes = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: shop}
spec: {hosts: [SHOP.example.com], gateways: [shop], tls: [{match: [{sniHosts: [Shop.example.com]}], route: [{destination: {host: cart}}]}]}
---
"""
    result = converted(gateway(server) + routes, "gateway-api")
    assert written(result, "TLSRoute")[0]["spec"]["hostnames"] == ["shop.example.com"]
    assert written(result, "Gateway")[0]["spec"]["listeners"][0]["hostname"] == "shop.example.com"
    assert not said(result, "MP900")


ENTRY = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop}
spec: {hosts: [API.example.com], ports: [{number: 80, name: http, protocol: http}], resolution: DNS}
---
"""


def test_a_destination_outside_is_written_in_lower_case_and_one_that_nobody_sees_is_accounted_for() -> None:
    result = converted(ENTRY, "linkerd")
    assert written(result, "HTTPRoute")[0]["spec"]["hostnames"] == ["api.example.com"]
    assert not said(result, "MP900")
    hidden = converted(ENTRY.replace("resolution: DNS", "resolution: DNS, exportTo: ['~']"), "linkerd")
    assert not written(hidden, "HTTPRoute")
    assert not said(hidden, "MP901")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("{hosts: [cart], tcp: []}", "spec: there is no rule, neither in http nor in tls or tcp"),
        ("{hosts: [cart], tls: [{match: [{sniHosts: []}], route: [{destination: {host: pay}}]}]}", "needs a name in sniHosts"),
    ],
)
def test_a_virtual_service_without_a_rule_or_a_name_is_refused(spec: str, why: str) -> None:
    text = f"{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: v, namespace: shop}}, spec: {spec}}}"
    result = converted(text, "linkerd")
    assert any(why in message for message in said(result, "MP072"))
    assert not said(result, "MP901")


def test_an_empty_list_is_no_loss() -> None:
    text = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: shop}
spec: {hosts: [cart], http: [{match: [], headers: {request: {remove: []}}, mirrors: [], route: [{destination: {host: cart, port: {number: 80}}}]}]}
"""
    assert not [finding for finding in converted(text, "gateway-api").findings if finding.severity != "info"]


def test_a_mirror_and_a_setting_that_are_empty_are_none() -> None:
    for text in ("mirrors: []", "corsPolicy: null", "match: null", "headers: {}"):
        spec = f"{{hosts: [cart], http: [{{{text}, route: [{{destination: {{host: cart, port: {{number: 80}}}}}}]}}]}}"
        result = converted(
            f"{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: v, namespace: shop}}, spec: {spec}}}",
            "gateway-api",
        )
        assert not [finding.message for finding in result.findings if finding.severity != "info"], text


@pytest.mark.parametrize(
    ("kind", "version"),
    [("Telemetry", "telemetry.istio.io/v1"), ("EnvoyFilter", "networking.istio.io/v1alpha3")],
)
def test_an_object_that_says_nothing_loses_nothing(kind: str, version: str) -> None:
    result = converted(f"{{apiVersion: {version}, kind: {kind}, metadata: {{name: x, namespace: shop}}, spec: {{}}}}", "linkerd")
    assert not [finding for finding in result.findings if finding.severity != "info"]
