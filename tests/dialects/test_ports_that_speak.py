"""What a Service says that its port speaks: Istio goes by it, so that rules on requests let nobody in where it says bytes; Cilium and Linkerd's Servers do not."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport

POD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s, namespace: shop}
spec:
  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {app: %s, tier: back}}
    spec: {serviceAccountName: %s, containers: [{name: a, image: "a:1", ports: [{name: web, containerPort: 8080}]}]}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{name: %s, port: 8080, targetPort: web}]}
"""


LINKERD = """
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: api, namespace: shop}
spec: {podSelector: {matchLabels: {app: api}}, port: web, proxyProtocol: HTTP/2}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api, namespace: shop}
spec: {parentRefs: [{group: policy.linkerd.io, kind: Server, name: api}], rules: [{matches: [{method: GET}]}]}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: api, namespace: shop}
spec: {targetRef: {group: gateway.networking.k8s.io, kind: HTTPRoute, name: api}, requiredAuthenticationRefs: [{kind: ServiceAccount, name: job}]}
"""


def converted(parts: list[str], source: str, target: str) -> tuple[dict[str, Any], Any]:
    """The policies of Cilium by name, and the findings."""
    objects = list(yaml.safe_load_all("---".join(parts)))
    result = meshport.convert(meshport.load_objects(objects), source=source, target=target)
    assert not [item for item in result.findings if item.code in ("MP900", "MP901", "MP903", "MP904")]
    found = [one.object for one in result.manifests if one.object["kind"] == "CiliumNetworkPolicy"]
    return {item["metadata"]["name"]: item["spec"] for item in found}, result


def test_rules_on_requests_open_no_port_that_is_said_to_carry_bytes() -> None:
    """One policy for two workloads, of which one has a Service that says bytes: Istio refuses every request there."""
    policy = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: back, namespace: shop}
spec: {selector: {matchLabels: {tier: back}}, rules: [{to: [{operation: {methods: [GET]}}]}]}
"""
    home = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n"
    pods = [POD % (("api",) * 4), POD % (("job",) * 4)]
    found, _ = converted([home, *pods, SERVICE % "tcp-web", policy], "istio", "cilium")
    opened = {spec["endpointSelector"]["matchLabels"].get("app"): spec["ingress"] for spec in found.values()}
    assert opened["api"] == [{}]
    assert opened["job"] == [{"toPorts": [{"ports": [{"port": "8080", "protocol": "TCP"}], "rules": {"http": [{"method": "GET"}]}}]}]


def test_a_rule_of_cilium_needs_no_word_of_a_service() -> None:
    """What a Server of Linkerd reads as HTTP, Cilium's rule does too, and the comparison knows."""
    home = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {linkerd.io/inject: enabled}}\n"
    found, result = converted([home, POD % (("api",) * 4), POD % (("job",) * 4), SERVICE % "https-web", LINKERD], "linkerd", "cilium")
    assert {"method": "GET"} in [
        rule for entry in found["api"]["ingress"] for ports in entry.get("toPorts", ()) for rule in ports.get("rules", {}).get("http", ())
    ]
    assert result.verification.verdict == "equivalent"


@pytest.mark.parametrize(("name", "said"), [("tcp-web", True), ("web", False)])
def test_a_server_that_detects_is_said_to_admit_no_requests_where_a_service_says_bytes(name: str, said: bool) -> None:
    source = LINKERD.replace("proxyProtocol: HTTP/2", "proxyProtocol: unknown")
    home = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {linkerd.io/inject: enabled}}\n"
    _, result = converted([home, POD % (("api",) * 4), POD % (("job",) * 4), SERVICE % name, source], "linkerd", "istio")
    found = [
        (item.severity, item.effect, [(one.workload, one.port) for one in item.affects]) for item in result.findings if item.code == "MP398"
    ]
    assert found == ([("warning", "narrows", [("api", 8080)])] if said else [])


@pytest.mark.parametrize(("said", "alone"), [("opaque", "tcp"), ("TLS", "tls")])
def test_a_server_that_reads_bytes_does_not_end_the_routes_of_its_clients(said: str, alone: str) -> None:
    """Linkerd's clients follow routes on the Service's port, whatever the Server reads; `appProtocol: tcp` or `tls` would end them in Istio."""
    route = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: out, namespace: shop}
spec:
  parentRefs: [{group: core, kind: Service, name: api, port: 8080}]
  rules: [{matches: [{path: {type: PathPrefix, value: /a}}], backendRefs: [{name: api, port: 8080}]}]
"""
    home = "\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {linkerd.io/inject: enabled}}\n"
    server = LINKERD.partition("---")[0].replace("HTTP/2", said)
    parts = [home, POD % (("api",) * 4), SERVICE % "http", server]
    for more, spoken in (([route], None), ([], alone)):
        _, result = converted(parts + more, "linkerd", "istio")
        (service,) = [one.object for one in result.manifests if one.object["kind"] == "Service"] or [{"spec": {"ports": [{}]}}]
        assert service["spec"]["ports"][0].get("appProtocol") == spoken
        assert not [change for change in result.diff if not change.findings]


@pytest.mark.parametrize("name", ["tcp-data", "https-data"])
def test_requests_that_cilium_judged_are_judged_whatever_the_service_calls_the_port(name: str) -> None:
    """Cilium reads HTTP where its rules say so; for Istio the Service has to say it, for Linkerd nobody has to."""
    policy = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress: [{fromEndpoints: [{matchLabels: {app: job}}], toPorts: [{ports: [{port: web, protocol: TCP}], rules: {http: [{method: POST}]}}]}]
"""
    world = [POD % (("api",) * 4), POD % (("job",) * 4), SERVICE % name, policy]
    made = [item.object for item in converted(world, "cilium", "istio")[1].manifests]
    (service,) = (item for item in made if item["kind"] == "Service")
    assert service["spec"]["ports"] == [{"name": name, "port": 8080, "targetPort": "web", "appProtocol": "http"}]
    made = [item.object for item in converted(world, "cilium", "linkerd")[1].manifests]
    assert [item["spec"]["proxyProtocol"] for item in made if item["kind"] == "Server"] == ["unknown"]
    assert {"method": "POST"} in [
        match for item in made if item["kind"] == "HTTPRoute" for rule in item["spec"]["rules"] for match in rule["matches"]
    ]


def test_requests_that_cilium_judged_are_judged_on_a_port_that_no_pod_declares() -> None:
    """The Service sends there, and the rule is for a range: what was read had nobody let in there, and what was written let callers in."""
    rule = 'toPorts: [{ports: [{port: "1", endPort: 9000, protocol: TCP}], rules: {http: [{method: POST}]}}]'
    policy = f"""
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: api, namespace: shop}}
spec: {{endpointSelector: {{matchLabels: {{app: api}}}}, ingress: [{{fromEndpoints: [{{matchLabels: {{app: job}}}}], {rule}}}]}}
"""
    world = [POD % (("api",) * 4), POD % (("job",) * 4), SERVICE.replace("targetPort: web", "targetPort: 7000") % "tcp-data", policy]
    _, result = converted(world, "cilium", "istio")
    (service,) = (item.object for item in result.manifests if item.object["kind"] == "Service")
    assert service["spec"]["ports"][0]["appProtocol"] == "http"
    assert not [one for one in result.verification.differences if one.request["destination"]["port"] == 7000]


@pytest.mark.parametrize(("name", "methods"), [("web", ["*"]), ("http-web", None)])
def test_a_route_that_takes_every_request_lets_no_bytes_in(name: str, methods: list[str] | None) -> None:
    """A Server that detects asks routes about requests alone; Istio's rule has to ask for HTTP, unless the Service says that nothing else comes."""
    source = LINKERD.replace("HTTP/2", "unknown").replace(", rules: [{matches: [{method: GET}]}]", ", rules: [{}]")
    home = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {linkerd.io/inject: enabled}}\n"
    _, result = converted([home, POD % (("api",) * 4), POD % (("job",) * 4), SERVICE % name, source], "linkerd", "istio")
    policy = next(one.object for one in result.manifests if one.object["kind"] == "AuthorizationPolicy")
    caller = next(rule for rule in policy["spec"]["rules"] if "from" in rule)
    assert caller["from"] == [{"source": {"principals": ["cluster.local/ns/shop/sa/job"]}}]
    assert caller["to"] == [{"operation": {"ports": ["8080"]} | ({"methods": methods} if methods else {})}]
    assert result.verification.verdict == "equivalent"


@pytest.mark.parametrize(
    "other", ["{name: https-x, port: 8000, targetPort: web}", "{name: dns, port: 8080, targetPort: 8080, protocol: UDP}"]
)
def test_services_that_name_bytes_in_two_ways_agree(other: str) -> None:
    """TLS and TCP are bytes alike to Istio, and datagrams are another port: its deny for a path is one of every connection."""
    policy = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: api, namespace: shop}
spec: {selector: {matchLabels: {app: api}}, action: DENY, rules: [{to: [{operation: {paths: [/healthz], ports: ["8080"]}}]}]}
"""
    home = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n"
    second = SERVICE.replace("name: api,", "name: second,").replace("[{name: %s, port: 8080, targetPort: web}]", f"[{other}]")
    _, result = converted([home, POD % (("api",) * 4), SERVICE % "tcp-web", second, policy], "istio", "linkerd")
    server = next(one.object for one in result.manifests if one.object["kind"] == "Server")
    assert (server["spec"]["proxyProtocol"], server["spec"]["accessPolicy"]) == ("opaque", "deny")
    assert not [one for one in result.manifests if one.object["kind"] in ("HTTPRoute", "AuthorizationPolicy")]


@pytest.mark.parametrize("target", ["istio", "cilium"])
@pytest.mark.parametrize(("name", "said"), [("web", [("info", "narrows")]), ("http-web", [])])
def test_bytes_that_a_server_let_in_beside_its_routes_are_said_to_be_refused(name: str, said: list[tuple[str, str]], target: str) -> None:
    source = LINKERD.replace("HTTP/2", "unknown").replace(
        "group: gateway.networking.k8s.io, kind: HTTPRoute", "group: policy.linkerd.io, kind: Server"
    )
    home = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {linkerd.io/inject: enabled}}\n"
    _, result = converted([home, POD % (("api",) * 4), SERVICE % name, source], "linkerd", target)
    assert [(item.severity, item.effect) for item in result.findings if item.code == "MP300"] == said
