"""Cilium policies written for Istio and Linkerd, with the network policies taken away."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport

SHOP = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  template:
    metadata: {labels: {app: api}}
    spec: {serviceAccountName: api, containers: [{name: a, image: "a:1", ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: a, image: "a:1"}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata: {labels: {app: cart}}
    spec: {serviceAccountName: shared, containers: [{name: a, image: "a:1"}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: pay, namespace: shop}
spec:
  template:
    metadata: {labels: {app: pay}}
    spec: {serviceAccountName: shared, containers: [{name: a, image: "a:1"}]}
"""


def converted(rules: str, target: str = "istio") -> tuple[dict[str, Any], list[Any]]:
    """The specs of what is written by name, and the findings."""
    policy = yaml.safe_load(
        "{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: api, namespace: shop}, "
        "spec: {endpointSelector: {matchLabels: {app: api}}}}"
    )
    policy["spec"].update(yaml.safe_load(rules))
    objects = [*yaml.safe_load_all(SHOP), policy]
    result = meshport.convert(meshport.load_objects(objects), source="cilium", target=target, keep_network_policy=False)
    assert not [finding for finding in result.findings if finding.code in ("MP900", "MP901", "MP904")]
    return {item.object["metadata"]["name"]: item.object.get("spec") for item in result.manifests}, result.findings


def codes(findings: list[Any], severity: str) -> list[str]:
    return sorted({finding.code for finding in findings if finding.severity == severity})


def test_labels_port_name_and_path_become_a_principal_a_number_and_a_pattern() -> None:
    specs, findings = converted("""
ingress:
- fromEndpoints: [{matchLabels: {app: web}}]
  toPorts: [{ports: [{port: http, protocol: TCP}], rules: {http: [{method: GET, path: "/api/.*"}]}}]
""")
    assert specs["api"] == yaml.safe_load("""
selector: {matchLabels: {app: api}}
action: ALLOW
rules:
- from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
  to: [{operation: {ports: ["8080"], methods: [GET], paths: ["/api/*"]}}]
""")
    assert codes(findings, "error") == []


def test_a_path_that_refuses_a_query_is_also_a_demand_on_the_target() -> None:
    specs, _ = converted('ingress: [{toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{path: /charge}]}}]}]')
    (rule,) = specs["api"]["rules"]
    assert rule["to"] == [{"operation": {"ports": ["8080"], "paths": ["/charge"]}}]
    assert rule["when"] == [{"key": "request.headers[:path]", "values": ["/charge"]}]


def test_linkerd_cannot_refuse_a_query_so_the_rule_is_left_out() -> None:
    specs, findings = converted(
        'ingress: [{toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{path: /charge}]}}]}]', "linkerd"
    )
    assert not any(
        isinstance(spec, dict) and "rules" in spec and "api" in name for name, spec in specs.items() if name != "api-8080-refuse"
    )
    assert "MP197" in codes(findings, "error")


@pytest.mark.parametrize(
    ("peer", "code"),
    [
        ("fromEndpoints: [{matchLabels: {app: cart}}]", "MP267"),
        ("fromEndpoints: [{matchLabels: {app: ghost}}]", "MP275"),
        ("fromEntities: [world]", "MP268"),
        ("fromCIDR: [10.0.0.0/8]", "MP268"),
    ],
)
def test_peers_without_an_account_of_their_own_are_left_out_and_the_port_stays_closed(peer: str, code: str) -> None:
    specs, findings = converted("ingress: [{" + peer + "}]")
    assert specs["api"] == {"selector": {"matchLabels": {"app": "api"}}}
    assert codes(findings, "error") == [code]


WEB_ON_8080 = "ingress: [{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: '8080', protocol: TCP}]}]}]"
ALL_ON_9090 = "ingress: [{fromEntities: [all], toPorts: [{ports: [{port: '9090', protocol: TCP}]}]}]"


@pytest.mark.parametrize(
    ("allowed", "denied", "code", "said"),
    [
        # nobody gets in at the port anyway, or at the other ports of the range
        (
            WEB_ON_8080,
            "{fromEndpoints: [{matchLabels: {app: cart}}], toPorts: [{ports: [{port: '9090'}]}]}",
            "MP271",
            ("info", "none", 9090),
        ),
        (
            WEB_ON_8080,
            "{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: '1000', endPort: 3000}]}]}",
            "MP273",
            ("info", "none", None),
        ),
        # whoever comes in plaintext from such an address is refused with whom the policy means
        (ALL_ON_9090, "{fromCIDR: [10.0.0.0/8], toPorts: [{ports: [{port: '9090'}]}]}", "MP271", ("warning", "narrows", 9090)),
    ],
)
def test_a_deny_is_said_to_take_more_only_at_the_ports_where_it_does(allowed: str, denied: str, code: str, said: tuple[Any, ...]) -> None:
    _, findings = converted(f"{{{allowed}, ingressDeny: [{denied}]}}")
    (finding,) = [one for one in findings if one.code == code]
    (place,) = finding.affects
    assert (finding.severity, finding.effect, place.port) == said


def test_ports_of_other_pods_that_a_range_holds_are_among_those_that_are_not_written() -> None:
    """`cart` shares a policy with `pay`, for whom another one names 8081: the range of the first is written for `cart` without it (MP900)."""
    both = "{app: {}}".replace("{app: {}}", "{matchExpressions: [{key: app, operator: In, values: [cart, pay]}]}")
    wide = "toPorts: [{ports: [{port: '1', endPort: 9000}]}]"
    named = [("both", both, f"fromEndpoints: [{{matchLabels: {{app: web}}}}], {wide}"), ("cart", "{matchLabels: {app: cart}}", wide)]
    named += [
        ("all", "{}", f"fromEndpoints: [{{matchLabels: {{app: api}}}}], {wide}"),
        ("pay", "{matchLabels: {app: pay}}", "toPorts: [{ports: [{port: '8081'}]}]"),
    ]
    policies = "".join(
        f"---\n{{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {{name: {name}, namespace: shop}}, "
        f"spec: {{endpointSelector: {pods}, ingress: [{{{rule}}}]}}}}\n"
        for name, pods, rule in named
    )
    result = meshport.convert(meshport.load_text(SHOP + policies), source="cilium", target="istio", keep_network_policy=False)
    assert not [finding.message for finding in result.findings if finding.code in ("MP900", "MP901", "MP904")]
    assert [change.subject for change in result.diff if change.subject == "access to shop/cart port 8081"]


def test_a_range_that_is_written_port_by_port_is_a_warning_about_the_others() -> None:
    _, findings = converted("ingress: [{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: '1000', endPort: 9000}]}]}]")
    (finding,) = [one for one in findings if one.code == "MP273"]
    assert (finding.severity, finding.effect) == ("warning", "narrows")


def test_a_short_range_for_the_cluster_answers_for_each_of_its_ports() -> None:
    """Each of them is written, and each is read back (MP900)."""
    made, findings = converted("ingress: [{fromEntities: [cluster], toPorts: [{ports: [{port: '8080', endPort: 8083, protocol: TCP}]}]}]")
    assert made["api"]["rules"][0]["to"] == [{"operation": {"ports": ["8080", "8081", "8082", "8083"]}}]
    assert "MP270" in codes(findings, "warning")


def test_what_cannot_be_named_is_one_finding_that_says_which_and_the_way_out() -> None:
    on = "toPorts: [{ports: [{port: '%s', protocol: TCP}]}]"
    entities = [f"{{fromEntities: [host, health], {on % port}}}" for port in (8080, 9090)]
    _, findings = converted(f"ingress: [{', '.join(entities)}, {{fromCIDR: [10.0.0.0/8]}}]")
    other, one = sorted((item.message, item.remedy) for item in findings if item.code == "MP268")
    assert "on ports 8080, 9090 the peers entity health, entity host are left out" in one[0]
    assert "the peers 10.0.0.0/8 outside the cluster are left out" in other[0] and "172.16.0.0/12" in other[1]


def test_addresses_that_no_pod_has_are_ip_blocks() -> None:
    specs, findings = converted("ingress: [{fromCIDRSet: [{cidr: 203.0.113.0/24, except: [203.0.113.64/26]}]}]")
    source = {"ipBlocks": ["203.0.113.0/24"], "notIpBlocks": ["203.0.113.64/26"]}
    assert specs["api"]["rules"] == [{"from": [{"source": source}]}]
    assert codes(findings, "error") == []


def test_a_deny_that_does_not_close_is_a_deny_alone() -> None:
    specs, _ = converted("""
ingressDeny: [{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}]
enableDefaultDeny: {ingress: false}
""")
    assert specs["api"]["action"] == "DENY"
    source = {"principals": ["cluster.local/ns/shop/sa/web"]}
    assert specs["api"]["rules"] == [{"from": [{"source": source}], "to": [{"operation": {"ports": ["8080"]}}]}]


def test_a_deny_of_peers_that_share_an_account_takes_the_account_and_says_so() -> None:
    specs, findings = converted("ingressDeny: [{fromEndpoints: [{matchLabels: {app: cart}}]}]\nenableDefaultDeny: {ingress: false}")
    assert specs["api"]["rules"] == [{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/shared"]}}]}]
    assert "MP271" in codes(findings, "warning")


def test_a_deny_of_pods_that_the_bundle_does_not_show_is_told_where_their_account_may_be_let_in() -> None:
    """Linkerd goes by accounts: what is written is the same without the deny, and reads back without it (MP900)."""
    rule = "fromEndpoints: [{matchLabels: {app: %s}}], toPorts: [{ports: [{port: '8080', protocol: TCP}]}]"
    made, findings = converted(f"{{ingress: [{{{rule % 'web'}}}], ingressDeny: [{{{rule % 'gone'}}}]}}", "linkerd")
    assert made["api-8080-api"]["requiredAuthenticationRefs"] == [{"kind": "ServiceAccount", "name": "web", "namespace": "shop"}]
    (finding,) = [one for one in findings if one.code == "MP203"]
    assert (finding.severity, "but pods shop/app=gone" in finding.message) == ("info", True)


def test_kafka_rules_leave_the_port_closed() -> None:
    specs, findings = converted('ingress: [{toPorts: [{ports: [{port: "9092", protocol: TCP}], rules: {kafka: [{role: produce}]}}]}]')
    assert "rules" not in specs["api"]
    assert "MP269" in codes(findings, "error")


def test_all_but_one_port_is_written_as_that_port_and_udp_is_said() -> None:
    specs, findings = converted("""
ingress:
- toPorts: [{ports: [{port: "1", endPort: 8079, protocol: TCP}, {port: "8081", endPort: 65535, protocol: TCP}]}]
- toPorts: [{ports: [{port: "53", protocol: UDP}]}]
""")
    assert specs["api"]["rules"] == [{"to": [{"operation": {"notPorts": ["8080"]}}]}]
    assert codes(findings, "warning") == ["MP274", "MP276"]


def test_a_kubernetes_network_policy_is_not_passed_over_in_silence() -> None:
    beside = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "api", "namespace": "shop"},
        "spec": {"podSelector": {"matchLabels": {"app": "api"}}, "ingress": [{"ports": [{"port": 8080}]}]},
    }
    own = {"endpointSelector": {"matchLabels": {"app": "api"}}, "ingress": [{"fromEndpoints": [{}]}]}
    policy = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": "own", "namespace": "shop"}, "spec": own}

    def said(*objects: Any, target: str = "istio", **options: Any) -> dict[str, tuple[str, list[str | None]]]:
        result = meshport.convert(meshport.load_objects([*yaml.safe_load_all(SHOP), *objects]), source="cilium", target=target, **options)
        told = [item for item in result.findings if item.code in ("MP122", "MP184", "MP185", "MP199")]
        assert result.verification is not None
        assert result.verification.verdict != "equivalent" or all(
            item.effect == "none" for item in told
        )  # no proxy's access tells of these
        return {item.code: (item.effect, [one.workload for one in item.affects]) for item in told}

    assert said(beside) == {"MP184": ("none", ["api"])}
    assert said(beside, policy) == {"MP199": ("none", ["api"])}
    assert said(beside, policy, keep_network_policy=False) == {"MP122": ("narrows", ["api"])}
    assert said(beside, target="linkerd") == {"MP184": ("none", ["api"])}  # which lets the port of the proxies through
    assert said(beside, target="linkerd", keep_network_policy=False) == {"MP184": ("none", ["api"]), "MP185": ("narrows", ["api"])}
    beside["spec"] = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"ports": [{"port": 53}, {"port": 53, "protocol": "UDP"}]}]}
    assert set(said(beside, target="linkerd")) == {"MP184"}


def test_a_denied_range_closes_the_ports_that_nobody_declares_and_says_so() -> None:
    denied = "{fromEndpoints: [{matchLabels: {app: cart}}], toPorts: [{ports: [{port: '7000', endPort: 8080, protocol: TCP}]}]}"
    written, findings = converted("{enableDefaultDeny: {ingress: false}, ingressDeny: [%s]}" % denied, "linkerd")  # noqa: UP031
    annotations = written["api"]["template"]["metadata"]["annotations"]
    assert annotations["config.linkerd.io/default-inbound-policy"] == "deny"
    (said,) = [one for one in findings if one.code == "MP277"]
    assert (said.severity, said.effect) == ("warning", "narrows")
    assert [(one.namespace, one.workload, one.port) for one in said.affects] == [("shop", "api", None)]
    assert "(8080)" in said.message


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_egress_rules_that_go_are_one_finding_of_their_own(target: str) -> None:
    policy = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: out, namespace: shop}
spec:
  endpointSelector: {}
  egress:
  - toEntities: [cluster]
  - toFQDNs: [{matchName: api.stripe.com}]
    toPorts: [{ports: [{port: "443", protocol: TCP}]}]
"""
    result = meshport.convert(meshport.load_text(policy), source="cilium", target=target, keep_network_policy=False)
    (finding,) = (item for item in result.findings if item.code == "MP124")
    assert (finding.severity, finding.effect) == ("error", "widens")
    assert not {"MP265", "MP901"} & {item.code for item in result.findings}
    assert result.ledger.counts["unaccounted"] == 0


def test_the_cluster_is_every_mesh_identity_for_linkerd() -> None:
    result = meshport.convert(
        meshport.load_text(
            """
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec: {serviceAccountName: api, containers: [{name: c, image: x, ports: [{containerPort: 8080}]}]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api, namespace: shop}
spec: {endpointSelector: {matchLabels: {app: api}}, ingress: [{fromEntities: [cluster]}]}
"""
        ),
        source="cilium",
        target="linkerd",
        keep_network_policy=False,
    )
    (named,) = (item.object["spec"] for item in result.manifests if item.object["kind"] == "MeshTLSAuthentication")
    assert named == {"identities": ["*"]}
    assert {"MP270"} <= {item.code for item in result.findings}
    assert not {"MP201", "MP900"} & {item.code for item in result.findings}


ADDING = """
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: everybody-to-cart}
spec:
  enableDefaultDeny: {ingress: false}
  endpointSelector: {matchLabels: {app: cart}}
  ingress: [{toPorts: [{ports: [{port: "0", protocol: TCP}]}]}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: closed, namespace: shop}
spec: {endpointSelector: {}, ingress: [{}]}
"""


def test_an_allow_that_closes_nothing_opens_what_another_closes() -> None:
    """It lets everybody in, and the other policy closes the pods all the same once it is one of Istio's."""
    result = meshport.convert(
        meshport.load_objects([*yaml.safe_load_all(SHOP), *yaml.safe_load_all(ADDING)]), source="cilium", target="istio"
    )
    written = [item.object["spec"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert {"selector": {"matchLabels": {"app": "cart"}}, "action": "ALLOW", "rules": [{}]} in written
    assert not [finding for finding in result.findings if finding.code in ("MP900", "MP904")]


def test_http_rules_that_close_nothing_hold_for_pods_that_another_closes() -> None:
    """The agent reads past them only where no rule of the endpoint denies by default (pkg/policy/repository.go, resolvePolicyLocked)."""
    adding = ADDING.replace('ports: [{port: "0", protocol: TCP}]', 'ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: GET}]}')
    result = meshport.convert(
        meshport.load_objects([*yaml.safe_load_all(SHOP), *yaml.safe_load_all(adding)]), source="cilium", target="istio"
    )
    (written,) = [
        item.object["spec"]
        for item in result.manifests
        if item.object["kind"] == "AuthorizationPolicy" and item.object["spec"].get("rules")
    ]
    assert written["rules"] == [{"to": [{"operation": {"methods": ["GET"], "ports": ["8080"]}}]}]


HEALTH = """
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: health}
spec: {enableDefaultDeny: {ingress: false}, endpointSelector: {}, ingress: [{fromEntities: [health]}]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api, namespace: shop}
spec: {endpointSelector: {matchLabels: {app: api}}, ingress: [{fromEndpoints: [{matchLabels: {app: web}}]}]}
"""


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_an_allow_for_the_cluster_that_closes_nothing_closes_nothing_where_its_peers_cannot_be_said(target: str) -> None:
    """It became a default of the installation that refuses everybody, in every namespace; and a policy without rules before each pod that another closes."""
    result = meshport.convert(
        meshport.load_objects([*yaml.safe_load_all(SHOP), *yaml.safe_load_all(HEALTH)]),
        source="cilium",
        target=target,
        keep_network_policy=False,
    )
    assert "MP268" in {item.code for item in result.findings}
    assert "MP103" not in {item.code for item in result.findings}
    assert "linkerd-control-plane" not in result.install["helm_values"]
    written = [item.object for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert [item["metadata"]["name"] for item in written if "health" in item["metadata"]["name"]] == []
    assert written
    assert not {"MP900", "MP904"} & {item.code for item in result.findings}


def test_a_dot_that_is_not_escaped_is_taken_for_a_dot_and_said() -> None:
    """Istio has no expressions: `/robots.txt` and the host `cart.shop` were left out as an error, so that everything was refused."""
    rules = '[{host: cart.shop, path: "/x(\\\\?.*)?"}, {path: "/v1.0/.*"}, {path: "/robots.txt(\\\\?.*)?"}]'
    specs, findings = converted(
        f'ingress: [{{fromEndpoints: [{{matchLabels: {{app: web}}}}], toPorts: [{{ports: [{{port: "8080", protocol: TCP}}], rules: {{http: {rules}}}}}]}}]'
    )
    said = [rule["to"][0]["operation"] for rule in specs["api"]["rules"]]
    assert [(operation.get("hosts"), operation.get("paths")) for operation in said] == [
        (["cart.shop"], ["/x"]),
        (None, None),  # what a dot may be, a question mark too, is asked of the whole target
        (None, None),
    ]
    assert [rule["when"][0]["values"] for rule in specs["api"]["rules"][1:]] == [["/v1.0/*"], ["/robots.txt", "/robots.txt?*"]]
    assert "MP201" not in codes(findings, "error")
    (dots,) = [finding for finding in findings if finding.code == "MP173"]
    assert (dots.severity, dots.effect, len(dots.leaves)) == ("warning", "narrows", 3)


def test_an_expression_that_stays_one_without_its_dot_is_left_out_as_before() -> None:
    http = '[{path: "/static/[a-z]+.js"}]'
    _, findings = converted(
        f'ingress: [{{fromEndpoints: [{{matchLabels: {{app: web}}}}], toPorts: [{{ports: [{{port: "8080", protocol: TCP}}], rules: {{http: {http}}}}}]}}]'
    )
    assert "MP201" in codes(findings, "error")
    assert not [finding for finding in findings if finding.code == "MP173"]


ALONE = """
apiVersion: v1
kind: Namespace
metadata: {name: ops}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: ops}
spec: {endpointSelector: {matchExpressions: [{key: app, operator: In, values: [web, api]}]}, ingress: [{fromEntities: [cluster], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}]}
"""


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_a_namespace_of_which_only_policies_are_shown_joins_the_mesh_that_is_to_hold_them(target: str) -> None:
    result = meshport.convert(meshport.load_text(ALONE), source="cilium", target=target, keep_network_policy=False)
    made = {(item.object["kind"], item.object["metadata"]["name"]): item.object for item in result.manifests}
    marks = made["Namespace", "ops"]["metadata"]
    assert {**marks.get("labels", {}), **marks.get("annotations", {})}.items() >= {
        "istio": {"istio-injection": "enabled"},
        "linkerd": {"linkerd.io/inject": "enabled", "config.linkerd.io/default-inbound-policy": "deny"},
    }[target].items()
    if target == "istio":
        chosen = [obj["spec"]["selector"]["matchLabels"] for (kind, _), obj in made.items() if kind == "AuthorizationPolicy"]
        assert chosen == [{"app": "api"}, {"app": "web"}]
        return
    servers = {name: obj["spec"] for (kind, name), obj in made.items() if kind == "Server"}
    assert servers["web-8080"]["podSelector"]["matchExpressions"] == [{"key": "app", "operator": "In", "values": ["api", "web"]}]
    assert servers["other-pods-8080"]["accessPolicy"] == "all-unauthenticated"  # whom no policy selects


def test_a_clusterwide_policy_closes_namespaces_of_which_no_pod_is_shown() -> None:
    wide = (
        ALONE.split("---")[0]
        + "---\napiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: all}\nspec: {endpointSelector: {matchExpressions: [{key: app, operator: NotIn, values: [x]}]}, ingress: [{}]}\n"
    )
    result = meshport.convert(meshport.load_text(wide), source="cilium", target="istio", keep_network_policy=False)
    made = [item.object for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert {item["metadata"]["namespace"] for item in made} == {"ops"}
    apart = {"selector": {"matchLabels": {"app": "x"}}, "rules": [{}]}  # which it does not select, and nothing else does
    assert [item["spec"] for item in made] == [{}, apart]
    assert {"MP227", "MP286"} <= {item.code for item in result.findings}


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_a_policy_by_an_account_is_no_error_where_the_pods_of_the_account_are_shown(target: str) -> None:
    """Others that run under it may be there, and are closed: a warning says so."""
    pods = "\n".join(
        f"---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop}}\n"
        f"spec: {{selector: {{matchLabels: {{app: {name}}}}}, template: {{metadata: {{labels: {{app: {name}}}}}, "
        f"spec: {{serviceAccountName: {name}, containers: [{{name: a, image: a, ports: [{{containerPort: 8080}}]}}]}}}}}}"
        for name in ("luke", "leia")
    )
    rule = (
        '{fromEndpoints: [{matchLabels: {io.cilium.k8s.policy.serviceaccount: leia}}], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}'
    )
    spec = f"{{endpointSelector: {{matchLabels: {{io.cilium.k8s.policy.serviceaccount: luke}}}}, ingress: [{rule}]}}"
    text = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop}}\n{pods}\n---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: luke, namespace: shop}}\nspec: {spec}\n"
    result = meshport.convert(meshport.load_text(text), source="cilium", target=target, keep_network_policy=False)
    assert [item.code for item in result.findings if item.severity == "error"] == []
    (said,) = [item for item in result.findings if item.code in ("MP207", "MP286")]
    assert "others with io.cilium.k8s.policy.serviceaccount in (luke)" in said.message
