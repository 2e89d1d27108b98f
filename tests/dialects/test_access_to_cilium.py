"""Authorization, transport and membership, written for Cilium: source YAML, what comes out, what is said."""

from __future__ import annotations

from typing import Any

import meshport

ISTIO = """
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
metadata: {name: users, namespace: shop}
spec: {selector: {app: users}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  template:
    metadata: {labels: {app: users}}
    spec: {serviceAccountName: users, containers: [{name: app, image: users, ports: [{containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {serviceAccountName: cart, containers: [{name: app, image: cart}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: front, namespace: web}
spec:
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: front}}
    spec: {serviceAccountName: front, containers: [{name: app, image: front}]}
---
"""
LEGACY = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: legacy, namespace: shop}
spec:
  selector: {matchLabels: {app: legacy}}
  template:
    metadata: {labels: {app: legacy, sidecar.istio.io/inject: "false"}}
    spec: {serviceAccountName: ACCOUNT, containers: [{name: app, image: legacy}]}
---
"""
STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
"""
LINKERD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  template:
    metadata: {labels: {app: users}}
    spec: {serviceAccountName: users, containers: [{name: app, image: users, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: users, namespace: shop}
spec: {podSelector: {matchLabels: {app: users}}, port: http, proxyProtocol: HTTP/1}
---
"""
ECHO = {"icmps": [{"fields": [{"family": "IPv4", "type": 8}, {"family": "IPv6", "type": 128}]}]}
REST = [
    {"port": "1", "endPort": 8079, "protocol": "TCP"},
    {"port": "8081", "endPort": 65535, "protocol": "TCP"},
    {"port": "0", "protocol": "UDP"},
    {"port": "0", "protocol": "SCTP"},
]
NAMESPACE, ACCOUNT = "k8s:io.kubernetes.pod.namespace", "k8s:io.cilium.k8s.policy.serviceaccount"


def policy(spec: str, name: str = "users", namespace: str = "shop") -> str:
    return f"""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec: {spec}
---
"""


def grant(spec: str, name: str = "users-authz") -> str:
    return f"""
apiVersion: policy.linkerd.io/v1beta1
kind: ServerAuthorization
metadata: {{name: {name}, namespace: shop}}
spec: {{server: {{name: users}}, client: {spec}}}
---
"""


def convert(text: str, source: str = "istio", **options: Any) -> Any:
    result = meshport.convert(meshport.load_text(text), source=source, target="cilium", **options)
    assert not {"MP900", "MP901", "MP904"} & codes(result)
    return result


def policies(result: Any) -> dict[str, dict[str, Any]]:
    return {
        item.object["metadata"]["name"]: item.object["spec"] for item in result.manifests if item.object["kind"] == "CiliumNetworkPolicy"
    }


def codes(result: Any) -> set[str]:
    return {finding.code for finding in result.findings}


def account(namespace: str, name: str) -> dict[str, Any]:
    return {"matchLabels": {NAMESPACE: namespace, ACCOUNT: name}}


def http(result: Any, name: str = "users") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = policies(result)[name]["ingress"][0]["toPorts"][0]["rules"]["http"]
    return found


# -- Istio: allows


def test_a_policy_keeps_its_name_and_its_pods_and_names_its_callers_by_labels() -> None:
    result = convert(
        ISTIO
        + policy(
            '{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: ["cluster.local/ns/web/sa/front"]}}],'
            ' to: [{operation: {methods: [GET], paths: ["/api/*", /health]}}]}]}'
        )
    )
    assert policies(result) == {
        "users": {
            "endpointSelector": {"matchLabels": {"app": "users"}},
            "ingress": [
                {
                    "fromEndpoints": [account("web", "front")],
                    "toPorts": [
                        {
                            "ports": [{"port": "8080", "protocol": "TCP"}],
                            "rules": {"http": [{"method": "GET", "path": "/api/.*"}, {"method": "GET", "path": r"/health(\?.*)?"}]},
                        }
                    ],
                }
            ],
        }
    }
    assert "MP280" in codes(result)  # HTTP rules need ports by number: others are refused


def test_deny_all_closes_the_namespace_and_lets_nobody_in() -> None:
    assert policies(convert(ISTIO + policy("{}", "deny-all"))) == {"deny-all": {"endpointSelector": {}, "ingress": [{}]}}


def test_a_policy_of_the_root_namespace_is_written_for_each_enrolled_one_and_never_for_the_cluster() -> None:
    result = convert(ISTIO + policy("{}", "deny-all", "istio-system"))
    written = [item.object for item in result.manifests if item.object["kind"].startswith("Cilium")]
    assert [(item["kind"], item["metadata"]["namespace"]) for item in written] == [
        ("CiliumNetworkPolicy", "shop"),
        ("CiliumNetworkPolicy", "web"),
    ]


def test_a_rule_without_callers_admits_whom_the_transport_admits() -> None:
    rule = '{selector: {matchLabels: {app: users}}, rules: [{to: [{operation: {ports: ["8080"]}}]}]}'
    ports = [{"ports": [{"port": "8080", "protocol": "TCP"}]}]
    assert policies(convert(ISTIO + policy(rule)))["users"]["ingress"] == [{"toPorts": ports}]
    meshed = {"matchExpressions": [{"key": NAMESPACE, "operator": "In", "values": ["shop", "web"]}]}
    result = convert(ISTIO + STRICT + policy(rule))
    assert policies(result)["users"]["ingress"] == [{"fromEndpoints": [meshed], "toPorts": ports}]
    assert "MP281" in codes(result)


def test_what_a_pattern_leaves_open_stays_in_front_of_the_query() -> None:
    def said(pattern: str) -> str:
        rule = f'{{selector: {{matchLabels: {{app: users}}}}, rules: [{{to: [{{operation: {{paths: ["{pattern}"]}}}}]}}]}}'
        return str(http(convert(ISTIO + policy(rule)))[0]["path"])

    assert said("/a.b") == r"/a\.b(\?.*)?"
    assert said("*/items") == r"[^?]*/items(\?.*)?"
    assert said("/users/{*}/cart") == r"/users/[^/?]+/cart(\?.*)?"
    assert said("/files/{**}") == "/files/.*"
    assert said("/files/{**}/raw") == r"/files/[^?]*/raw(\?.*)?"


def test_headers_go_by_presence_or_exact_value_and_a_rule_with_another_demand_is_left_out() -> None:
    def rule(value: str) -> str:
        return policy(
            f'{{selector: {{matchLabels: {{app: users}}}}, rules: [{{when: [{{key: "request.headers[x-team]", values: ["{value}"]}}]}}]}}'
        )

    assert http(convert(ISTIO + rule("gold"))) == [{"headerMatches": [{"name": "x-team", "value": "gold"}]}]
    assert http(convert(ISTIO + rule("*"))) == [{"headerMatches": [{"name": "x-team"}]}]
    result = convert(ISTIO + rule("go*"))
    assert policies(result)["users"]["ingress"] == [{}]
    assert "MP201" in codes(result)


def test_a_host_is_compared_as_it_was_sent_in_any_case() -> None:
    rule = '{selector: {matchLabels: {app: users}}, rules: [{to: [{operation: {hosts: ["api.test", "*.api.test"]}}]}]}'
    assert http(convert(ISTIO + policy(rule))) == [{"host": r"(?i)(?:api\.test|.*\.api\.test)"}]


def test_addresses_take_nobody_inside_the_cluster_and_are_said_to() -> None:
    result = convert(ISTIO + policy('{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {ipBlocks: ["10.1.0.0/16"]}}]}]}'))
    assert policies(result)["users"]["ingress"] == [{"fromCIDRSet": [{"cidr": "10.1.0.0/16"}]}]
    assert [one.effect for one in result.findings if one.code == "MP284"] == ["narrows"]


# -- Istio: denies


def test_a_deny_of_an_account_is_a_deny_that_closes_nothing_else() -> None:
    result = convert(
        ISTIO
        + policy(
            '{action: DENY, selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: ["cluster.local/ns/shop/sa/cart"]}}],'
            ' to: [{operation: {ports: ["8080"]}}]}]}',
            "no-cart",
        )
    )
    assert policies(result) == {
        "no-cart": {
            "endpointSelector": {"matchLabels": {"app": "users"}},
            "enableDefaultDeny": {"ingress": False},
            "ingressDeny": [{"fromEndpoints": [account("shop", "cart")], "toPorts": [{"ports": [{"port": "8080", "protocol": "TCP"}]}]}],
        }
    }


def test_a_deny_of_requests_is_taken_out_of_the_allows() -> None:
    allow = policy(
        '{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: ["cluster.local/ns/web/sa/front"]}}],'
        " to: [{operation: {methods: [GET, POST], paths: [/a, /b]}}]}]}"
    )
    deny = policy(
        "{action: DENY, selector: {matchLabels: {app: users}}, rules: [{to: [{operation: {methods: [POST], paths: [/b]}}]}]}", "no-b"
    )
    result = convert(ISTIO + allow + deny)
    assert set(policies(result)) == {"users"}
    said = sorted((entry["method"], entry["path"]) for entry in http(result))
    assert said == [("GET", r"/a(\?.*)?"), ("GET", r"/b(\?.*)?"), ("POST", r"/a(\?.*)?")]


# -- pods outside the mesh


def test_an_account_that_a_pod_outside_the_mesh_runs_under_is_left_out() -> None:
    rule = policy('{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: ["cluster.local/ns/shop/sa/cart"]}}]}]}')
    assert policies(convert(ISTIO + rule))["users"]["ingress"] == [{"fromEndpoints": [account("shop", "cart")]}]
    alike = LEGACY.replace("ACCOUNT", "cart").replace("labels: {app: legacy", "labels: {app: cart, old: 'yes'")
    result = convert(ISTIO + alike + rule)
    assert policies(result)["users"]["ingress"] == [{}]
    (said,) = [one for one in result.findings if one.code == "MP283"]
    assert said.severity == "error" and "shop/legacy" in said.message


def test_an_account_that_a_pod_outside_the_mesh_shares_is_said_with_labels_that_it_has_not() -> None:
    rule = policy('{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: ["cluster.local/ns/shop/sa/cart"]}}]}]}')
    result = convert(ISTIO + LEGACY.replace("ACCOUNT", "cart") + rule)
    peer = account("shop", "cart")
    assert policies(result)["users"]["ingress"] == [{"fromEndpoints": [{"matchLabels": {**peer["matchLabels"], "app": "cart"}}]}]
    assert not [one for one in result.findings if one.code in ("MP283", "MP900")]
    assert not [
        one for one in result.verification.differences if one.change == "denied" and one.request["source"].get("service_account") == "cart"
    ]
    (said,) = [one for one in result.findings if one.code == "MP203"]
    assert said.effect == "narrows" and "cluster.local/ns/shop/sa/cart" in said.message


def test_a_namespace_with_a_pod_outside_the_mesh_is_named_by_the_accounts_inside() -> None:
    rule = policy('{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {namespaces: ["shop"]}}]}]}')
    result = convert(ISTIO + LEGACY.replace("ACCOUNT", "legacy") + rule)
    assert policies(result)["users"]["ingress"] == [{"fromEndpoints": [account("shop", "cart"), account("shop", "users")]}]


def test_a_policy_for_a_namespace_does_not_close_a_pod_outside_the_mesh() -> None:
    result = convert(ISTIO + LEGACY.replace("ACCOUNT", "legacy") + policy("{}", "deny-all"))
    (requirement,) = policies(result)["deny-all"]["endpointSelector"]["matchExpressions"]
    assert requirement == {"key": "app", "operator": "In", "values": ["cart", "users"]}


# -- transport


def test_strict_is_encryption_between_nodes_and_access_for_the_meshed_namespaces() -> None:
    result = convert(ISTIO + STRICT)
    meshed = {"matchExpressions": [{"key": NAMESPACE, "operator": "In", "values": ["shop", "web"]}]}
    assert policies(result) == {
        "strict-mtls": {
            "endpointSelector": {},
            "ingress": [
                {"fromEndpoints": [meshed], "toPorts": [{"ports": [{"port": "0", "protocol": "TCP"}]}]},
                {"toPorts": [{"ports": REST[2:]}]},
                ECHO,
            ],
        }
    }
    assert result.install["helm_values"]["cilium"]["encryption"] == {"enabled": True, "type": "wireguard"}
    (said,) = [one for one in result.findings if one.code == "MP130"]
    assert said.severity == "error" and "not workload mTLS" in said.message and "ztunnel" in said.remedy


def test_what_strict_admits_does_not_open_pods_of_a_policy_that_the_bundle_does_not_show() -> None:
    result = convert(
        ISTIO
        + STRICT
        + policy("{selector: {matchLabels: {app: hidden}}, rules: [{from: [{source: {principals: [x/ns/web/sa/front]}}]}]}", "hidden")
    )
    written = policies(result)
    assert written["hidden"]["ingress"] == [{}]
    spared = {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["hidden"]}]}
    assert written["strict-mtls"]["endpointSelector"] == spared  # policies add up


def test_a_narrower_policy_needs_no_other_for_strict() -> None:
    assert set(policies(convert(ISTIO + STRICT + policy("{}", "deny-all")))) == {"deny-all"}


def test_strict_mode_of_the_encryption_needs_the_addresses_of_pods() -> None:
    values = convert(ISTIO + STRICT, pod_cidr="10.244.0.0/16").install["helm_values"]["cilium"]["encryption"]
    assert values["strictMode"] == {"egress": {"enabled": True, "cidr": "10.244.0.0/16"}}
    assert "strictMode" not in convert(ISTIO + STRICT).install["helm_values"]["cilium"]["encryption"]


def test_ztunnel_enrols_the_namespaces() -> None:
    result = convert(ISTIO + STRICT, data_plane="ztunnel")
    homes = {
        item.object["metadata"]["name"]: item.object["metadata"]["labels"]
        for item in result.manifests
        if item.object["kind"] == "Namespace"
    }
    assert homes == {name: {"io.cilium/mtls-enabled": "true"} for name in ("shop", "web")}
    assert "MP130" not in codes(result) and "MP131" in codes(result)
    assert "MP134" in codes(convert(ISTIO + STRICT, data_plane="ztunnel", target_version="1.18"))


def test_the_marks_of_the_mesh_leave_and_a_restart_is_asked_for() -> None:
    result = convert(ISTIO + LEGACY.replace("ACCOUNT", "legacy"))
    assert all("istio" not in str(item.object["metadata"]) + str(item.object["spec"]) for item in result.manifests if "spec" in item.object)
    assert [item.object["metadata"] for item in result.manifests if item.object["kind"] == "Namespace"] == [
        {"name": "shop"},
        {"name": "web"},
    ]
    assert "MP132" in codes(result)


# -- Linkerd


def test_a_server_closes_one_port_and_the_others_are_opened_again() -> None:
    result = convert(LINKERD + grant("{meshTLS: {serviceAccounts: [{name: gateway, namespace: shop}]}}"), "linkerd")
    assert policies(result) == {
        "users-authz": {
            "endpointSelector": {"matchLabels": {"app": "users"}},
            "ingress": [
                {"fromEndpoints": [account("shop", "gateway")], "toPorts": [{"ports": [{"port": "8080", "protocol": "TCP"}]}]},
                {"toPorts": [{"ports": REST}]},
                ECHO,
            ],
        }
    }


def test_a_release_without_ranges_leaves_the_other_ports_closed_and_says_so() -> None:
    result = convert(LINKERD + grant("{meshTLS: {serviceAccounts: [{name: gateway, namespace: shop}]}}"), "linkerd", target_version="1.15")
    assert "endPort" not in str(policies(result))
    assert any(one.code == "MP290" and one.effect == "narrows" for one in result.findings)


def test_anybody_of_the_cluster_is_the_entity() -> None:
    result = convert(LINKERD + grant("{unauthenticated: true}"), "linkerd")
    assert policies(result)["users-authz"]["ingress"][0]["fromEntities"] == ["cluster"]


def test_a_default_of_deny_closes_the_namespace() -> None:
    text = LINKERD.replace("linkerd.io/inject: enabled", "linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: deny")
    result = convert(text + grant("{meshTLS: {serviceAccounts: [{name: gateway, namespace: shop}]}}"), "linkerd")
    assert policies(result)["default-deny"] == {"endpointSelector": {}, "ingress": [{}]}
    assert [list(rule) for rule in policies(result)["users-authz"]["ingress"]] == [["fromEndpoints", "toPorts"]]


def test_all_authenticated_admits_the_meshed_namespaces() -> None:
    text = LINKERD.partition("apiVersion: policy")[0].replace(
        "linkerd.io/inject: enabled", "linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: all-authenticated"
    )
    rules = policies(convert(text, "linkerd"))["default-all-authenticated"]["ingress"]
    assert rules[0] == {"fromEndpoints": [{"matchLabels": {NAMESPACE: "shop"}}], "toPorts": [{"ports": [{"port": "0", "protocol": "TCP"}]}]}
    assert rules[1:] == [{"toPorts": [{"ports": REST[2:]}]}, ECHO]


ALLOW_ALL = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: front, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  rules: [{from: [{source: {principals: [cluster.local/ns/web/sa/front]}}]}]
---
"""
WITHOUT_A_PATH = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: internal, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  action: DENY
  rules: [{to: [{operation: {paths: ["PATH"]}}]}]
"""


def test_what_a_denied_path_leaves_is_said_in_expressions_that_the_proxy_takes() -> None:
    result = convert(ISTIO + ALLOW_ALL + WITHOUT_A_PATH.replace("PATH", "/internal*"))
    (policy,) = (
        item.object
        for item in result.manifests
        if item.object["kind"] == "CiliumNetworkPolicy" and item.object["metadata"]["name"] == "front"
    )
    (rule,) = policy["spec"]["ingress"]
    assert rule["toPorts"][0]["rules"]["http"] == [
        {"path": r"\*(\?.*)?"},
        {"path": r"/(?:i(?:n(?:t(?:e(?:r(?:na?)?)?)?)?)?)?(\?.*)?"},
        {"path": r"/[^?i][^?]*(\?.*)?"},
        {"path": r"/i[^?n][^?]*(\?.*)?"},
        {"path": r"/in[^?t][^?]*(\?.*)?"},
        {"path": r"/int(?:[^?e]|e(?:[^?r]|r(?:[^?n]|n(?:[^?a]|a[^?l]))))[^?]*(\?.*)?"},
    ]


def test_a_path_too_long_for_the_proxy_is_left_out() -> None:
    rule = 'rules: [{to: [{operation: {paths: ["/' + "long/" * 20 + 'x"]}}]}]'
    result = convert(ISTIO + ALLOW_ALL.replace("rules: [{from: [{source: {principals: [cluster.local/ns/web/sa/front]}}]}]", rule))
    (policy,) = (
        item.object
        for item in result.manifests
        if item.object["kind"] == "CiliumNetworkPolicy" and item.object["metadata"]["name"] == "front"
    )
    assert policy["spec"]["ingress"] == [{}]
    (finding,) = (item for item in result.findings if item.code == "MP201")
    assert "at most 100 RE2 instructions" in finding.message


def test_a_deny_of_addresses_that_no_pod_has_is_a_deny() -> None:
    rules = 'rules: [{from: [{source: {ipBlocks: ["203.0.113.0/24"], notIpBlocks: ["203.0.113.7"]}}]}]'
    result = convert(ISTIO + WITHOUT_A_PATH.replace('rules: [{to: [{operation: {paths: ["PATH"]}}]}]', rules))
    assert policies(result)["internal"] == {
        "endpointSelector": {"matchLabels": {"app": "users"}},
        "enableDefaultDeny": {"ingress": False},
        "ingressDeny": [{"fromCIDRSet": [{"cidr": "203.0.113.0/24", "except": ["203.0.113.7/32"]}]}],
    }
    assert list(policies(result)) == ["internal"]  # pods get in as before
    assert "MP284" not in codes(result)


def test_a_deny_of_addresses_that_pods_may_have_leaves_the_allows() -> None:
    rules = 'rules: [{from: [{source: {ipBlocks: ["10.1.0.0/16"]}}]}]'
    result = convert(ISTIO + WITHOUT_A_PATH.replace('rules: [{to: [{operation: {paths: ["PATH"]}}]}]', rules))
    assert "ingressDeny" not in repr(policies(result))
    assert "MP284" in codes(result)


# -- protocols that no mesh governs

DNS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  template:
    metadata: {labels: {app: users}}
    spec:
      serviceAccountName: users
      containers: [{name: app, image: users, ports: [{containerPort: 8080}, {containerPort: 53, protocol: UDP}, {containerPort: 53}]}]
---
apiVersion: v1
kind: Service
metadata: {name: diameter, namespace: shop}
spec: {selector: {app: users}, ports: [{name: sctp, port: 3868, protocol: SCTP}, {name: http, port: 80, targetPort: 8080}]}
---
"""
USERS = "{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {namespaces: [web]}}]}]}"


def test_other_protocols_are_closed_with_tcp_and_a_declared_port_of_one_is_named() -> None:
    world = ISTIO[: ISTIO.index("apiVersion: apps/v1")] + DNS
    result = convert(world + policy(USERS))
    said = sorted((one.code, one.severity, one.message) for one in result.findings if one.code in ("MP292", "MP293"))
    assert said == [
        ("MP292", "info", "In shop the policies close UDP, SCTP and ICMP too, which the source mesh does not govern"),
        (
            "MP293",
            "warning",
            "shop/users declares SCTP port 3868: open to everybody under the source mesh, closed by the policies that select it now",
        ),
        (
            "MP293",
            "warning",
            "shop/users declares UDP port 53: open to everybody under the source mesh, closed by the policies that select it now",
        ),
    ]


def test_strict_leaves_other_protocols_open_and_a_deny_closes_what_it_names() -> None:
    world = ISTIO[: ISTIO.index("apiVersion: apps/v1")] + DNS
    assert not {"MP292", "MP293"} & codes(convert(world + STRICT))
    refusal = "{selector: {matchLabels: {app: users}}, action: DENY, rules: [{from: [{source: {namespaces: [web]}}]%s}]}"
    on_a_port = ", to: [{operation: {ports: ['8080']}}]"
    assert "MP292" not in codes(convert(world + policy(refusal % on_a_port)))
    assert "MP292" in codes(convert(world + policy(refusal % "")))


# -- Prometheus

SCRAPED = ISTIO.replace(
    "metadata: {labels: {app: users}}",
    'metadata: {labels: {app: users}, annotations: {prometheus.io/scrape: "true", prometheus.io/port: "9090", prometheus.io/path: /stats}}',
).replace("ports: [{containerPort: 8080}]", "ports: [{containerPort: 8080}, {containerPort: 9090}]")


def test_a_scrape_that_a_policy_closes_is_said_and_granted_only_where_it_is_asked_for() -> None:
    refused = convert(SCRAPED + policy(USERS))
    (said,) = [one for one in refused.findings if one.code == "MP232"]
    assert said.message == "shop/users: Prometheus scrapes port 9090 at /stats, which the policies close"
    granted = convert(SCRAPED + policy(USERS), allow_scrape_from=["monitoring/prometheus"])
    assert "MP233" in codes(granted) and "MP232" not in codes(granted)
    assert policies(granted)["users-scrape"] == {
        "endpointSelector": {"matchLabels": {"app": "users"}},
        "ingress": [
            {
                "fromEndpoints": [account("monitoring", "prometheus")],
                "toPorts": [
                    {"ports": [{"port": "9090", "protocol": "TCP"}], "rules": {"http": [{"method": "GET", "path": r"/stats(\?.*)?"}]}}
                ],
            }
        ],
    }
    assert "MP232" not in codes(convert(SCRAPED))  # nothing closes the port


# -- the host's network

ON_HOST = ISTIO.replace("spec: {serviceAccountName: front, containers", "spec: {hostNetwork: true, serviceAccountName: front, containers")


def test_a_caller_on_the_hosts_network_was_nobody_and_stays_so() -> None:
    rule = "{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: [cluster.local/ns/web/sa/front]}}]}]}"
    result = convert(ON_HOST + policy(rule))
    (said,) = [one for one in result.findings if one.code == "MP278"]
    assert "web/front, whose pods are on the host's network" in said.message
    assert policies(result)["users"]["ingress"] == [{"fromEndpoints": [account("web", "front")]}]
    assert "MP278" not in codes(convert(ISTIO + policy(rule)))


def test_no_policy_is_written_for_pods_on_the_hosts_network() -> None:
    rule = "{selector: {matchLabels: {app: front}}, rules: [{from: [{source: {namespaces: [shop]}}]}]}"
    result = convert(ON_HOST + policy(rule, "front", "web"))
    assert policies(result) == {}
    (said,) = [one for one in result.findings if one.code == "MP279"]
    assert (said.severity, [one.workload for one in said.affects]) == ("info", ["front"])


# -- looser


def test_looser_keeps_a_rule_without_the_condition_that_cannot_be_said_and_shows_who_gets_in() -> None:
    rule = policy("{selector: {matchLabels: {app: users}}, rules: [{when: [{key: 'request.headers[x-t]', values: ['a*']}]}]}")
    assert policies(convert(ISTIO + rule))["users"]["ingress"] == [{}]
    result = convert(ISTIO + rule, on_loss="looser")
    assert policies(result)["users"]["ingress"] == [{"fromEntities": ["all"]}]
    (said,) = [one for one in result.findings if one.code == "MP218"]
    assert (said.severity, said.effect) == ("error", "widens")
    assert said.witness is not None


def test_looser_keeps_open_what_a_deny_that_cannot_be_said_would_close() -> None:
    rule = policy(
        "{selector: {matchLabels: {app: users}}, action: DENY, rules: [{when: [{key: 'request.headers[x-t]', values: ['a*']}]}]}", "no-a"
    )
    assert policies(convert(ISTIO + rule))["no-a"]["ingress"] == [{}]
    result = convert(ISTIO + rule, on_loss="looser")
    assert {"ports": [{"port": "0", "protocol": "TCP"}, *REST[2:]]} in policies(result)["no-a"]["ingress"][0]["toPorts"]
    assert "widens" in {one.effect for one in result.findings if one.severity == "error"}


def test_addresses_that_no_pod_has_are_said_whole() -> None:
    rules = 'action: ALLOW\n  rules: [{from: [{source: {ipBlocks: ["203.0.113.0/24"]}}]}]'
    result = convert(ISTIO + WITHOUT_A_PATH.replace('action: DENY\n  rules: [{to: [{operation: {paths: ["PATH"]}}]}]', rules))
    assert policies(result)["internal"]["ingress"] == [{"fromCIDRSet": [{"cidr": "203.0.113.0/24"}]}]
    assert "MP284" not in codes(result)


def test_every_path_beside_another_reads_back_as_every_path() -> None:
    rule = {"to": [{"operation": {"ports": ["8080"], "paths": ["*", "*.css"]}}]}
    policy = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "api", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "api"}}, "rules": [rule]},
    }
    pod = {"containers": [{"name": "a", "image": "a:1", "ports": [{"containerPort": 8080}]}]}
    template = {"metadata": {"labels": {"app": "api"}}, "spec": pod}
    world = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "shop"},
        "spec": {"template": template},
    }
    result = meshport.convert(meshport.load_objects([world, policy]), source="istio", target="cilium")
    assert "MP900" not in {item.code for item in result.findings}


def test_a_route_that_takes_every_request_lets_no_bytes_in_where_the_protocol_is_detected() -> None:
    """Bytes match no route: on a Server of protocol `unknown` they need a grant of the Server's own."""
    routed = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: users, namespace: shop}
spec: {parentRefs: [{group: policy.linkerd.io, kind: Server, name: users}], rules: [{matches: [{path: {type: PathPrefix, value: /}}]}]}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: users, namespace: shop}
spec:
  targetRef: {group: gateway.networking.k8s.io, kind: HTTPRoute, name: users}
  requiredAuthenticationRefs: [{kind: ServiceAccount, name: gateway, namespace: shop}]
"""
    (detected, *_) = policies(convert(LINKERD.replace("HTTP/1", "unknown") + routed, "linkerd"))["users"]["ingress"]
    assert detected["toPorts"] == [{"ports": [{"port": "8080", "protocol": "TCP"}], "rules": {"http": [{}]}}]
    (declared, *_) = policies(convert(LINKERD + routed, "linkerd"))["users"]["ingress"]
    assert declared["toPorts"] == [{"ports": [{"port": "8080", "protocol": "TCP"}]}]
