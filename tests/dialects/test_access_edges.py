"""Access at the edges of what selects pods: pods without labels, selectors that nothing meets, named ports, gRPC routes without a match."""

from __future__ import annotations

from typing import Any

import pytest
from test_access_decisions import LINKERD, WORLD, policy, said, server, spec, to_istio, to_linkerd

import meshport

DEMAND = "config.linkerd.io/proxy-require-identity-inbound-ports"
FOR_ALL = server("for-all", "{podSelector: {}, port: 8080, accessPolicy: all-authenticated}")


def demanding(labels: str) -> str:
    return LINKERD.replace("metadata: {labels: {app: web}}", f"metadata: {{{labels}annotations: {{{DEMAND}: '9090'}}}}", 1).replace(
        "image: web}", "image: web, ports: [{containerPort: 8080}, {containerPort: 9090}]}"
    )


def made(result: Any, kind: str) -> dict[str, Any]:
    return {one.object["metadata"]["name"]: one.object["spec"] for one in result.manifests if one.object["kind"] == kind}


def test_a_port_that_requires_identity_is_closed_where_a_server_takes_the_whole_namespace() -> None:
    alone = "---".join(one for one in demanding("labels: {app: web}, ").split("---") if "name: users" not in one)
    result = to_istio(alone + FOR_ALL)
    assert list(made(result, "PeerAuthentication").values()) == [
        {"selector": {"matchLabels": {"app": "web"}}, "mtls": {"mode": "PERMISSIVE"}, "portLevelMtls": {"9090": {"mode": "STRICT"}}}
    ]
    assert [one.code for one in result.findings if one.effect == "widens"] == []
    assert result.verification is not None
    assert result.verification.verdict == "equivalent"


def test_ports_of_an_annotation_are_answered_for_where_no_label_tells_pods_apart() -> None:
    pods = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, namespace: shop}
spec:
  selector: {matchLabels: {app: twin}}
  template:
    metadata: {labels: {app: twin}, annotations: {ANNOTATION}}
    spec: {containers: [{name: a, image: a}]}
---
"""
    said_ = pods.replace("NAME", "one").replace("ANNOTATION", "config.linkerd.io/proxy-require-identity-inbound-ports: 7000-7001")
    closing = """
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: twins, namespace: shop}
spec: {podSelector: {matchLabels: {app: twin}}, port: 9191}
---
"""
    result = meshport.convert(
        meshport.load_text(LINKERD + said_ + pods.replace("NAME", "two").replace("ANNOTATION", "") + closing),
        source="linkerd",
        target="istio",
    )
    assert {"MP230"} <= {finding.code for finding in result.findings} and "MP900" not in {finding.code for finding in result.findings}


def test_pods_without_labels_refuse_plaintext_by_a_deny_that_names_the_port() -> None:
    result = to_istio(demanding("") + FOR_ALL)
    assert spec(result, "AuthorizationPolicy", "web-plaintext") == {
        "action": "DENY",
        "rules": [{"from": [{"source": {"notPrincipals": ["*"]}}], "to": [{"operation": {"ports": ["9090"]}}]}],
    }
    narrowed = {item.workload for one in result.findings if one.code == "MP294" for item in one.affects}
    assert narrowed == {"users", "users-v2"}
    assert result.verification is not None
    assert result.verification.verdict == "narrowed"


def test_ports_of_pods_that_nobody_shows_refuse_plaintext_by_a_deny_of_the_namespace() -> None:
    home = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: shop, annotations: {{linkerd.io/inject: enabled, {DEMAND}: "8080-8081"}}}}
"""
    (rule,) = spec(to_istio(home), "AuthorizationPolicy", "shop-plaintext")["rules"]
    assert rule == {"from": [{"source": {"notPrincipals": ["*"]}}], "to": [{"operation": {"ports": ["8080", "8081"]}}]}


@pytest.mark.parametrize(
    "expression", ["{key: app, operator: In}", "{key: app, operator: NotIn}", "{key: app, operator: In, values: []}", "{key: app, operator: Exists, values: [web]}"]
)  # fmt: skip
@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_a_server_whose_selector_no_pod_meets_governs_nothing(expression: str, target: str) -> None:
    text = LINKERD + server("none", f"{{podSelector: {{matchExpressions: [{expression}]}}, port: 8080}}")
    result = meshport.convert(meshport.load_text(text), source="linkerd", target=target)
    assert said(result, "MP248").severity == "error"
    assert made(result, "AuthorizationPolicy") == made(result, "CiliumNetworkPolicy") == {}
    assert not {one.code for one in result.findings} & {"MP900", "MP901", "MP902", "MP904"}


def test_not_in_an_empty_list_is_every_pod() -> None:
    result = to_istio(LINKERD + server("all", "{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: []}]}, port: 8080}"))
    assert len(made(result, "AuthorizationPolicy")) > 0
    assert not [one for one in result.findings if one.code == "MP248"]


def test_a_server_selects_pods_or_external_workloads() -> None:
    both = server("both", "{podSelector: {matchLabels: {app: web}}, externalWorkloadSelector: {matchLabels: {app: vm}}, port: 8080}")
    result = to_istio(LINKERD + both)
    assert "podSelector and externalWorkloadSelector stand together" in said(result, "MP020").message
    assert made(result, "AuthorizationPolicy") == {}


GRPC = """
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: %s, namespace: shop}
spec: {parentRefs: [{group: policy.linkerd.io, kind: Server, name: users}], rules: [%s]}
---
"""


def test_a_grpc_route_without_a_match_takes_grpc_alone() -> None:
    users = server("users", "{podSelector: {matchLabels: {app: web}}, port: 8080, proxyProtocol: gRPC, accessPolicy: all-unauthenticated}")
    rules = made(to_istio(LINKERD + users + GRPC % ("any", "{}")), "AuthorizationPolicy")["users"]["rules"]
    assert rules == [{"to": [{"operation": {"ports": ["8080"], "methods": ["POST"]}}]}, {"to": [{"operation": {"notPorts": ["8080"]}}]}]


def test_of_grpc_routes_the_longer_service_is_taken_before_the_method() -> None:
    users = server("users", "{podSelector: {matchLabels: {app: web}}, port: 8080, proxyProtocol: gRPC}")
    routes = GRPC % ("by-service", "{matches: [{method: {service: shop.Cart}}]}") + GRPC % (
        "by-method",
        "{matches: [{method: {method: Add}}]}",
    )
    admitted = """
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: by-method, namespace: shop}
spec:
  targetRef: {group: gateway.networking.k8s.io, kind: GRPCRoute, name: by-method}
  requiredAuthenticationRefs: [{kind: ServiceAccount, name: web}]
---
"""
    rules = made(to_istio(LINKERD + users + routes + admitted), "AuthorizationPolicy")["by-method"]["rules"]
    operation = rules[0]["to"][0]["operation"]
    assert operation["paths"] == ["/{*}/Add"]
    assert operation["notPaths"] == ["/shop.Cart/Add"]


LIMIT = """
apiVersion: policy.linkerd.io/v1alpha1
kind: HTTPLocalRateLimitPolicy
metadata: {name: limit, namespace: shop}
spec: {targetRef: {group: policy.linkerd.io, kind: Server, name: users}, total: {requestsPerSecond: 100}}
---
"""


def test_a_limit_on_a_port_that_none_of_the_pods_has_limits_nothing() -> None:
    result = to_istio(LINKERD + server("users", "{podSelector: {matchLabels: {app: users}}, port: admin}") + LIMIT)
    assert made(result, "EnvoyFilter") == {}
    assert "MP900" not in {one.code for one in result.findings}


def test_a_limit_on_a_named_port_says_which_other_pods_it_reaches() -> None:
    named = LINKERD.replace("ports: [{name: http, containerPort: 8080}]", "ports: [{name: admin, containerPort: 9090}]", 1)
    result = to_istio(named + server("users", "{podSelector: {matchLabels: {app: users}}, port: admin}") + LIMIT)
    (limit,) = made(result, "EnvoyFilter").values()
    assert limit["configPatches"][0]["match"]["listener"]["filterChain"]["destinationPort"] == 9090
    assert [(item.workload, item.port) for item in said(result, "MP249").affects] == [("users-v2", 9090)]
    assert "MP900" not in {one.code for one in result.findings}


def test_a_limit_by_expressions_that_no_known_pod_meets_is_left_out_with_a_word() -> None:
    result = to_istio(LINKERD + server("users", "{podSelector: {matchExpressions: [{key: tier, operator: Exists}]}, port: 8080}") + LIMIT)
    assert made(result, "EnvoyFilter") == {}
    assert said(result, "MP657").severity == "error"


def test_an_opaque_port_has_no_exemption_for_probes() -> None:
    text = LINKERD.replace("annotations: {linkerd.io/inject: enabled}", "labels: {istio-injection: enabled}")
    text = text.replace(
        "image: web}", "image: web, ports: [{name: admin, containerPort: 9090}], livenessProbe: {httpGet: {path: /livez, port: 9090}}}"
    )
    text += """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: admin, port: 9090, appProtocol: tcp}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}
"""
    result = meshport.convert(meshport.load_text(text), source="istio", target="linkerd", target_version="2.18")
    assert not {one.code for one in result.findings} & {"MP234", "MP900", "MP904"}
    assert result.verification is not None
    assert result.verification.verdict == "equivalent"


def test_everybody_of_the_trust_domain_is_not_every_identity() -> None:
    allow = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, rules: [{from: [{source: {principals: [%s]}}], to: [{operation: {ports: ["8080"]}}]}]}
---
"""
    ours = to_linkerd(WORLD + allow % "cluster.local/*")
    assert [one["identities"] for one in made(ours, "MeshTLSAuthentication").values()] == [
        ["*.serviceaccount.identity.linkerd.cluster.local"]
    ]
    assert ours.diff == []
    assert [one["identities"] for one in made(to_linkerd(WORLD + allow % '"*"'), "MeshTLSAuthentication").values()] == [["*"]]


def test_where_mtls_is_disabled_labels_are_no_identity_for_cilium_either() -> None:
    disabled = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: DISABLE}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/users]}}]}]}
---
"""
    result = meshport.convert(meshport.load_text(WORLD + disabled), source="istio", target="cilium")
    assert [one for one in made(result, "CiliumNetworkPolicy")["web"]["ingress"] if one] == []
    assert result.verification is not None
    assert result.verification.verdict == "equivalent"


PLAIN = """
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: mesh, namespace: istio-system}
spec: {meshConfig: {enableAutoMtls: false}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  rules:
  - {from: [{source: {principals: [cluster.local/ns/shop/sa/users]}}], to: [{operation: {ports: ["8080"]}}]}
  - {to: [{operation: {ports: ["9090"]}}]}
---
"""


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_without_automatic_mtls_rules_by_identity_admit_nobody(target: str) -> None:
    result = meshport.convert(meshport.load_text(WORLD + PLAIN), source="istio", target=target)
    assert "sa/users" not in result.text()
    assert made(result, "MeshTLSAuthentication") == {}
    assert not {one.code for one in result.findings} & {"MP299", "MP900", "MP901", "MP904"}
    assert result.verification is not None
    assert result.verification.verdict in ("equivalent", "narrowed")


def test_in_ambient_too_rules_by_identity_admit_nobody_whom_sidecars_sent_without_one() -> None:
    result = meshport.convert(meshport.load_text(WORLD + PLAIN), source="istio", target="istio", data_plane="ambient")
    assert made(result, "AuthorizationPolicy")["web"]["rules"] == [{"to": [{"operation": {"ports": ["9090"]}}]}]
    assert not {one.code for one in result.findings} & {"MP111", "MP299", "MP900", "MP901", "MP904"}
    assert result.verification is not None
    assert result.verification.verdict in ("equivalent", "narrowed")


STRICT_WITHOUT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
"""


@pytest.mark.parametrize(("target", "more"), [("linkerd", {}), ("cilium", {}), ("istio", {"data_plane": "ambient"})])
def test_without_automatic_mtls_strict_ports_admit_nobody(target: str, more: dict[str, Any]) -> None:
    """Clients send plaintext, and the ports refuse it; the target's clients would show a name."""
    result = meshport.convert(meshport.load_text(WORLD + PLAIN + STRICT_WITHOUT), source="istio", target=target, **more)
    assert result.verification is not None
    assert result.verification.verdict in ("equivalent", "narrowed")
    assert not {one.code for one in result.findings} & {"MP299", "MP900", "MP901", "MP904"}
    request = {
        "source": {"namespace": "shop", "service_account": "users", "meshed": True},
        "destination": {"namespace": "shop", "workload": "web", "port": 9090},
        "protocol": "http", "method": "GET", "path": "/",
    }  # fmt: skip
    assert not meshport.trace(meshport.load_objects(afterwards(WORLD + PLAIN + STRICT_WITHOUT, result)), request, mesh=target).allowed


def told(home: str, spec: str) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: tls, namespace: {home}}}
spec: {spec}
---
"""


SERVED = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}, {name: http-admin, port: 90, targetPort: 9090}]}
---
"""
MUTUAL = "{host: web.shop.svc.cluster.local, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}"


@pytest.mark.parametrize(
    "rule", [told("shop", MUTUAL), told("istio-system", '{host: "*.local", trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}')]
)
def test_where_every_client_is_told_to_use_mutual_tls_rules_by_identity_hold(rule: str) -> None:
    result = to_linkerd(WORLD + PLAIN + SERVED + rule)
    named = [ref for policy in made(result, "AuthorizationPolicy").values() for ref in policy["requiredAuthenticationRefs"]]
    assert {"kind": "ServiceAccount", "name": "users", "namespace": "shop"} in named
    assert not {one.code for one in result.findings} & {"MP166", "MP167", "MP299", "MP900", "MP901", "MP904"}


@pytest.mark.parametrize(
    "rule",
    [
        told("elsewhere", MUTUAL),
        told("shop", "{host: web, subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}]}"),
        told("shop", "{host: web, trafficPolicy: {tls: {mode: MUTUAL, credentialName: own}}}"),
        told("shop", MUTUAL) + told("elsewhere", "{host: web.shop.svc.cluster.local, trafficPolicy: {tls: {mode: DISABLE}}}"),
    ],
)
@pytest.mark.parametrize(("target", "more"), [("linkerd", {}), ("cilium", {}), ("istio", {"data_plane": "ambient"})])
def test_where_some_clients_are_told_nobody_is_admitted_by_name(rule: str, target: str, more: dict[str, Any]) -> None:
    result = meshport.convert(meshport.load_text(WORLD + PLAIN + SERVED + rule), source="istio", target=target, **more)
    finding = said(result, "MP166")
    assert (finding.severity, finding.effect, [one.workload for one in finding.affects]) == ("warning", "narrows", ["web"])
    assert not {one.code for one in result.findings} & {"MP299", "MP900", "MP901", "MP904"}
    assert all(
        "users" not in str(one.object.get("spec"))
        for one in result.manifests
        if "Authorization" in one.object["kind"] or "Network" in one.object["kind"]
    )


def test_where_traffic_is_to_flow_policies_stand_as_they_are_with_an_error() -> None:
    result = meshport.convert(
        meshport.load_text(WORLD + PLAIN + told("elsewhere", MUTUAL)), source="istio", target="linkerd", on_loss="looser"
    )
    finding = said(result, "MP299")
    assert (finding.severity, finding.effect) == ("error", "widens")


GALERA = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: deny}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: "db:1", ports: [{containerPort: 3306}, {containerPort: 4567}]}]}
"""


def test_a_port_that_linkerd_leaves_alone_by_default_stays_open_elsewhere() -> None:
    result = meshport.convert(meshport.load_text(GALERA), source="linkerd", target="istio")
    (pods,) = [one.object["spec"]["template"]["metadata"] for one in result.manifests if one.object["kind"] == "StatefulSet"]
    assert pods["annotations"]["traffic.sidecar.istio.io/excludeInboundPorts"] == "4567"
    assert result.verification is not None and result.verification.verdict == "equivalent"


UNSEEN = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: gone, namespace: shop}
spec: {selector: {matchLabels: {app: gone}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/users]}}]}]}
---
"""


@pytest.mark.parametrize(
    ("target", "code", "named"),
    [
        ("linkerd", "MP164", ["app=gone"]),
        ("linkerd", "MP198", ["any pod"]),  # the default of Linkerd's namespace closes the others too
        ("cilium", "MP286", ["app=gone"]),
    ],
)
def test_pods_that_the_bundle_does_not_show_are_named_by_selector_and_nobody_else(target: str, code: str, named: list[str]) -> None:
    reads = UNSEEN.replace("/sa/users]}}]", "/sa/users]}}], to: [{operation: {methods: [GET]}}]")
    finding = said(meshport.convert(meshport.load_text(WORLD + reads), source="istio", target=target), code)
    assert [(one.namespace, one.workload) for one in finding.affects] == [("shop", name) for name in named]


@pytest.mark.parametrize(
    ("guarded", "severity", "effect", "ports"),
    [("all-authenticated", "warning", "narrows", [4567]), ("all-unauthenticated", "info", "none", [])],
)
def test_ports_past_the_proxy_are_a_loss_in_ambient_where_something_would_hold_there(
    guarded: str, severity: str, effect: str, ports: list[int]
) -> None:
    bundle = meshport.load_text(GALERA.replace("inbound-policy: deny", f"inbound-policy: {guarded}"))
    finding = said(meshport.convert(bundle, source="linkerd", target="istio", data_plane="ambient"), "MP732")
    assert (finding.severity, finding.effect, [one.port for one in finding.affects]) == (severity, effect, ports)


def test_ports_past_the_proxy_are_opened_in_ambient_where_an_allow_closes_the_pods() -> None:
    result = meshport.convert(meshport.load_text(GALERA), source="linkerd", target="istio", data_plane="ambient")
    (opened,) = [one.object["spec"] for one in result.manifests if one.object["metadata"]["name"] == "db-open-ports"]
    assert opened["rules"] == [{"to": [{"operation": {"ports": ["4567"]}}]}]
    assert not [finding for finding in result.findings if finding.code in ("MP732", "MP900")]
    assert result.verification is not None and result.verification.verdict == "equivalent"


def afterwards(text: str, result: Any) -> list[dict[str, Any]]:
    """The cluster with the output over the input."""
    written = {
        (one.object["kind"], one.object["metadata"].get("namespace"), one.object["metadata"]["name"]): one.object
        for one in result.manifests
    }
    kept = [one.value for one in meshport.load_text(text).documents]
    gone = {(item["kind"], item["namespace"], item["name"]) for item in result.removals}
    stays = [one for one in kept if (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) not in gone | written.keys()]
    return [one for one in stays if one["kind"] != "IstioOperator"] + list(written.values())


SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: users}, ports: [{name: http, port: 80, targetPort: http}]}
---
"""


def test_a_limit_in_cilium_is_read_back_where_a_service_names_its_target_port() -> None:
    text = LINKERD + SERVICE + server("users", "{podSelector: {matchLabels: {app: users}}, port: http}") + LIMIT
    result = meshport.convert(meshport.load_text(text), source="linkerd", target="cilium")
    assert "CiliumEnvoyConfig" in {one.object["kind"] for one in result.manifests}
    assert not {one.code for one in result.findings} & {"MP660", "MP663", "MP900"}


def test_pods_that_no_service_port_reaches_lose_their_limit_with_a_word() -> None:
    world = LINKERD.replace("{app: web}", "{app: users, role: batch}").replace(
        "image: web}", "image: web, ports: [{name: http, containerPort: 8081}]}"
    )
    text = world + SERVICE.replace("{app: users}", "{app: users, version: v2}")
    text += server("users", "{podSelector: {matchLabels: {app: users}}, port: http}") + LIMIT
    result = meshport.convert(meshport.load_text(text), source="linkerd", target="cilium")
    assert {(item.workload, item.port) for item in said(result, "MP663").affects} == {("users", 8080), ("web", 8081)}
    assert "MP900" not in {one.code for one in result.findings}


HTTP_ONLY = "{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}], to: [{operation: {paths: [/api]}}]}]}"
HUNG = "{targetRefs: [{kind: Service, group: '', name: web}], rules: [{}]}"


def test_a_policy_that_no_waypoint_enforced_goes_before_a_new_waypoint_would() -> None:
    text = WORLD + SERVICE + policy(HTTP_ONLY) + policy(HUNG, "idle")
    result = meshport.convert(meshport.load_text(text), source="istio", target="istio", data_plane="ambient")
    assert "waypoint" in {one.object["metadata"]["name"] for one in result.manifests if one.object["kind"] == "Gateway"}
    assert ("AuthorizationPolicy", "idle") in {(one["kind"], one["name"]) for one in result.removals}
    assert not {one.code for one in result.findings} & {"MP900", "MP901", "MP904"}


def test_rules_for_a_port_of_when_are_said_for_that_port_in_ambient() -> None:
    rules = "[{to: [{operation: {paths: [/api]}}], when: [{key: destination.port, values: ['6001']}]}]"
    text = WORLD + SERVICE + policy(f"{{selector: {{matchLabels: {{app: users}}}}, rules: {rules}}}")
    result = meshport.convert(meshport.load_text(text), source="istio", target="istio", data_plane="ambient")
    assert not {one.code for one in result.findings} & {"MP900", "MP901", "MP904"}


def test_a_port_that_linkerd_would_leave_alone_is_closed_with_the_others() -> None:
    closed = GALERA.replace("{linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: deny}", "{}").replace(
        "name: shop, ", "name: shop, labels: {istio-injection: enabled}, "
    )
    strict = closed + "---" + STRICT_WITHOUT
    values = [
        meshport.convert(meshport.load_text(text), source="istio", target="linkerd").install["helm_values"].get("linkerd-control-plane", {})
        for text in (strict, strict.replace(", {containerPort: 4567}", ""))
    ]
    assert [one.get("proxyInit") for one in values] == [{"ignoreInboundPorts": ""}, None]
