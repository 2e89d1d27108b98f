"""NetworkPolicies of Kubernetes beside a mesh: a request passes both. Under Cilium all are the network's and add up, so that one policy says what both let in."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: ops, labels: {istio-injection: enabled, team: ops}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec: {selector: {matchLabels: {app: api}}, template: {metadata: {labels: {app: api}}, spec: {serviceAccountName: api, containers: [
  {name: a, image: "a:1", ports: [{name: http, containerPort: 8080}, {name: admin, containerPort: 9090}]}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {serviceAccountName: web, containers: [{name: a, image: "a:1"}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: probe, namespace: ops}
spec: {selector: {matchLabels: {app: probe}}, template: {metadata: {labels: {app: probe}}, spec: {serviceAccountName: probe, containers: [{name: a, image: "a:1"}]}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: api, namespace: shop}
spec:
  selector: {matchLabels: {app: api}}
  rules:
  - from: [{source: {namespaces: [shop, ops]}}]
    to: [{operation: {methods: [GET], ports: ["8080", "9090"]}}]
"""
BESIDE = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: network, namespace: shop}
spec:
  podSelector: %s
  ingress: %s
"""


def converted(ingress: str, pods: str = "{matchLabels: {app: api}}") -> tuple[dict[str, Any], dict[str, Any], list[Any]]:
    """The policies of Cilium and of Kubernetes after the conversion, by name; and the findings."""
    objects = [*yaml.safe_load_all(WORLD), yaml.safe_load(BESIDE % (pods, ingress))]
    result = meshport.convert(meshport.load_objects(objects), source="istio", target="cilium")
    assert not [item for item in result.findings if item.code in ("MP900", "MP901", "MP904")]
    assert result.ledger.counts["unaccounted"] == 0
    found: list[dict[str, Any]] = [
        {item.object["metadata"]["name"]: item.object["spec"] for item in result.manifests if item.object["kind"] == kind}
        for kind in ("CiliumNetworkPolicy", "NetworkPolicy")
    ]
    return found[0], found[1], result.findings


def test_what_both_let_in_is_one_policy_and_the_other_closes_alone() -> None:
    written, beside, findings = converted("[{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: http}]}]")
    (rule,) = written["api"]["ingress"]
    (peer,) = rule["fromEndpoints"]
    assert peer["matchLabels"]["k8s:app"] == "web"
    assert peer["matchLabels"]["k8s:io.kubernetes.pod.namespace"] == "shop"
    assert rule["toPorts"] == [{"ports": [{"port": "8080", "protocol": "TCP"}], "rules": {"http": [{"method": "GET"}]}}]
    assert beside["network"]["ingress"] == []
    (told,) = [item for item in findings if item.code == "MP177"]
    assert [(one.namespace, one.workload) for one in told.affects] == [("shop", "api")]


@pytest.mark.parametrize("ingress", ["[]", "[{from: [{ipBlock: {cidr: 203.0.113.0/24}}]}]", "[{ports: [{port: 7000}]}]"])
def test_where_they_let_in_nothing_in_common_nothing_is_let_in(ingress: str) -> None:
    written, beside, _ = converted(ingress)
    assert written["api"]["ingress"] == [{}]
    assert beside.get("network", {}).get("ingress", []) == []


def test_peers_of_other_namespaces_are_joined_by_labels_of_namespaces() -> None:
    written, _, _ = converted("[{from: [{namespaceSelector: {matchLabels: {team: ops}}}]}]")
    (rule,) = written["api"]["ingress"]
    (peer,) = rule["fromEndpoints"]
    assert peer["matchLabels"] == {"k8s:io.cilium.k8s.namespace.labels.team": "ops"}
    assert {"key": "k8s:io.kubernetes.pod.namespace", "operator": "In", "values": ["ops", "shop"]} in peer["matchExpressions"]


def test_pods_that_the_mesh_leaves_open_keep_their_network_policy() -> None:
    ingress = "[{from: [{podSelector: {}}]}]"
    _, beside, _ = converted(ingress, "{}")
    assert beside["network"]["ingress"] == []
    assert beside["network-web"] == {
        "podSelector": {"matchLabels": {"app": "web"}},
        "policyTypes": ["Ingress"],
        "ingress": yaml.safe_load(ingress),
    }
    written, beside, findings = converted(ingress, "{matchLabels: {app: web}}")
    assert not beside
    assert "MP177" not in {item.code for item in findings}
    assert written["api"]["ingress"][0]["toPorts"][0]["ports"] == [{"port": "8080", "protocol": "TCP"}, {"port": "9090", "protocol": "TCP"}]


@pytest.mark.parametrize(
    ("pods", "ingress", "where"),
    [
        ("{matchLabels: [app]}", "[]", "spec.podSelector.matchLabels"),
        ("{matchExpressions: [{operator: Exists}]}", "[]", "spec.podSelector.matchExpressions.0.key"),
        ("{}", "[{from: [{ipBlock: {cidr: 10.0.0.0/40}}]}]", "spec.ingress.0.from.0.ipBlock.cidr"),
        ("{}", "[{ports: [{port: 80, endPort: x}]}]", "spec.ingress.0.ports.0.endPort"),
        ("{}", "everybody", "spec.ingress"),
    ],
)
def test_one_that_no_api_server_takes_restricts_nothing(pods: str, ingress: str, where: str) -> None:
    written, beside, findings = converted(ingress, pods)
    (told,) = [item for item in findings if item.code == "MP015"]
    assert "NetworkPolicy shop/network" in told.message and f"{where}: " in told.message
    assert not beside and written["api"]["ingress"] != [{}]


# -- policies of Cilium that stand already


def standing(
    spec: str, source: str = WORLD, mesh: str = "istio", kind: str = "CiliumNetworkPolicy", **options: Any
) -> tuple[dict[str, Any], Any]:
    """The policies of Cilium after the conversion, by kind and name, where one stands already; and the findings."""
    home = {"namespace": "shop"} if kind == "CiliumNetworkPolicy" else {}
    own = {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": {"name": "network", **home}, "spec": yaml.safe_load(spec)}
    result = meshport.convert(meshport.load_objects([*yaml.safe_load_all(source), own]), source=mesh, target="cilium", **options)
    assert not [item for item in result.findings if item.code in ("MP900", "MP901", "MP903", "MP904")]
    assert result.ledger.counts["unaccounted"] == 0
    found = [item.object for item in result.manifests if item.object["kind"].startswith("Cilium")]
    return {f"{item['kind']}/{item['metadata']['name']}": item["spec"] for item in found}, result.findings


API = "endpointSelector: {matchLabels: {app: api}}"


def test_one_of_cilium_keeps_what_it_denies_and_lets_in_through_the_written_one_alone() -> None:
    rules = "ingress: [{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: '8080'}]}]}], ingressDeny: [{fromEntities: [world]}]"
    found, findings = standing(f"{{{API}, {rules}}}")
    (rule,) = found["CiliumNetworkPolicy/api"]["ingress"]
    (peer,) = rule["fromEndpoints"]
    assert peer["matchLabels"] == {"app": "web", "k8s:io.kubernetes.pod.namespace": "shop"}
    assert rule["toPorts"] == [{"ports": [{"port": "8080", "protocol": "TCP"}], "rules": {"http": [{"method": "GET"}]}}]
    closed = found["CiliumNetworkPolicy/network"]
    assert (closed["ingress"], closed["ingressDeny"]) == ([{}], [{"fromEntities": ["world"]}])
    (told,) = [item for item in findings if item.code == "MP180"]
    assert [(one.namespace, one.workload) for one in told.affects] == [("shop", "api")]


def test_one_that_closes_nothing_lets_nothing_in_either() -> None:
    found, _ = standing(f"{{{API}, enableDefaultDeny: {{ingress: false}}, ingress: [{{fromEntities: [all]}}]}}")
    assert found["CiliumNetworkPolicy/network"]["ingress"] == [{}]
    assert found["CiliumNetworkPolicy/api"]["ingress"][0]["toPorts"][0]["rules"] == {"http": [{"method": "GET"}]}


def test_a_clusterwide_one_goes_on_in_other_namespaces() -> None:
    found, _ = standing("{endpointSelector: {}, ingress: [{fromEntities: [cluster]}]}", kind="CiliumClusterwideNetworkPolicy")
    whole = found["CiliumClusterwideNetworkPolicy/network"]
    assert whole["ingress"] == [{"fromEntities": ["cluster"]}]
    assert whole["endpointSelector"]["matchExpressions"] == [
        {"key": "k8s:io.kubernetes.pod.namespace", "operator": "NotIn", "values": ["shop"]}
    ]
    assert found["CiliumNetworkPolicy/network"] == {"endpointSelector": {}, "ingress": [{}]}
    assert found["CiliumNetworkPolicy/network-web"]["ingress"] == [{"fromEntities": ["cluster"]}]  # which the mesh leaves open


def test_rules_on_http_let_nothing_through_between_pods_of_a_mesh_and_do_not_begin_to() -> None:
    asked = "toPorts: [{ports: [{port: '8080', protocol: TCP}], rules: {http: [{path: /a}]}}]"
    found, _ = standing(f"{{{API}, ingress: [{{fromEndpoints: [{{}}], {asked}}}]}}")
    assert found["CiliumNetworkPolicy/api"]["ingress"] == [{}]
    found, findings = standing(f"{{endpointSelector: {{matchLabels: {{app: web}}}}, ingress: [{{fromEndpoints: [{{}}], {asked}}}]}}")
    assert found["CiliumNetworkPolicy/network"]["ingress"] == [{}]
    assert [(item.code, item.severity, item.effect) for item in findings if item.code in ("MP182", "MP183")] == [
        ("MP183", "warning", "none")
    ]


def test_looser_leaves_rules_on_http_to_begin_to_hold() -> None:
    asked = "toPorts: [{ports: [{port: '8080', protocol: TCP}], rules: {http: [{path: /a}]}}]"
    rule = f"{{endpointSelector: {{matchLabels: {{app: web}}}}, ingress: [{{fromEndpoints: [{{}}], {asked}}}]}}"
    found, findings = standing(rule, on_loss="looser")
    assert list(found) == ["CiliumNetworkPolicy/api"]
    assert [(item.code, item.severity, item.effect) for item in findings if item.code in ("MP182", "MP183")] == [
        ("MP183", "error", "widens")
    ]


LINKERD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec: {selector: {matchLabels: {app: api}}, template: {metadata: {labels: {app: api}}, spec: {serviceAccountName: api, containers: [
  {name: a, image: "a:1", ports: [{name: http, containerPort: 8080}]}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {serviceAccountName: web, containers: [{name: a, image: "a:1"}]}}}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: api, namespace: shop}
spec: {podSelector: {matchLabels: {app: api}}, port: http, proxyProtocol: HTTP/1}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: api, namespace: shop}
spec: {targetRef: {group: policy.linkerd.io, kind: Server, name: api}, requiredAuthenticationRefs: [{kind: ServiceAccount, name: web, namespace: shop}]}
"""


@pytest.mark.parametrize(("port", "release", "open_"), [("4143", "2.18", True), ("8080", "2.18", False), ("8080", "2.17", True)])
def test_between_linkerds_pods_the_network_saw_the_proxys_port(port: str, release: str, open_: bool) -> None:
    rules = f"ingress: [{{fromEndpoints: [{{}}], toPorts: [{{ports: [{{port: '{port}', protocol: TCP}}]}}]}}]"
    found, findings = standing(f"{{{API}, {rules}}}", LINKERD, "linkerd", source_version=release)
    let_in = [rule["toPorts"] for rule in found["CiliumNetworkPolicy/api"]["ingress"] if "web" in str(rule)]
    assert let_in == ([[{"ports": [{"port": "8080", "protocol": "TCP"}]}]] if open_ else [])
    assert ("MP181" in {item.code for item in findings}) is not open_


WEB = "{endpointSelector: {matchLabels: {app: web}}, ingress: [%s]}"


@pytest.mark.parametrize(
    ("rule", "written", "told"),
    [
        ("{fromEndpoints: [{}], toPorts: [{ports: [{port: '8080', protocol: TCP}]}]}", [], "none"),
        ("{fromEndpoints: [{}], toPorts: [{ports: [{port: '4143', protocol: TCP}]}]}", ["4143", "0"], "none"),
        ("{fromCIDR: [203.0.113.0/24], toPorts: [{ports: [{port: '8080', protocol: TCP}]}]}", ["8080"], ""),
        ("{fromEndpoints: [{}]}", [], ""),
    ],
)
def test_the_proxys_port_goes_on_deciding_for_pods_that_get_no_policy(rule: str, written: list[str], told: str) -> None:
    """What named no 4143 let no pod of Linkerd in, and what named it let every port through."""
    found, findings = standing(WEB % rule, LINKERD, "linkerd", source_version="2.18")
    assert [item.effect for item in findings if item.code == "MP186"] == ([told] if told else [])
    assert ("CiliumNetworkPolicy/network" in found) is bool(told)
    if told:
        rules = found["CiliumNetworkPolicy/network"]["ingress"]
        assert [port["port"] for one in rules for entry in one.get("toPorts", ()) for port in entry["ports"]] == written
    found, findings = standing(WEB % rule, LINKERD, "linkerd", source_version="2.17")
    assert list(found) == ["CiliumNetworkPolicy/api"] and "MP182" in {item.code for item in findings}


def test_a_network_policy_of_kubernetes_without_the_proxys_port_goes_on_refusing() -> None:
    own = yaml.safe_load(
        BESIDE % ("{matchLabels: {app: web}}", "[{from: [{podSelector: {}}, {ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: 8080}]}]")
    )
    for loss, effect in (("stricter", "none"), ("looser", "widens")):
        result = meshport.convert(
            meshport.load_objects([*yaml.safe_load_all(LINKERD), own]), source="linkerd", target="cilium", on_loss=loss
        )
        assert [item.effect for item in result.findings if item.code == "MP186"] == [effect]
        found = {
            (item.object["kind"], item.object["metadata"]["name"]): item.object["spec"]
            for item in result.manifests
            if "spec" in item.object
        }
        assert (("NetworkPolicy", "network") in found) is (loss == "stricter")
        if loss == "stricter":
            assert found["NetworkPolicy", "network"]["ingress"] == []
            (rule,) = found["CiliumNetworkPolicy", "network"]["ingress"]
            assert rule == {"fromCIDRSet": [{"cidr": "203.0.113.0/24"}], "toPorts": [{"ports": [{"port": "8080", "protocol": "TCP"}]}]}


def test_egress_is_what_both_let_out() -> None:
    sidecar = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
"""
    beside = {
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "api"}}}], "ports": [{"port": 8080}]}],
    }
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "out", "namespace": "shop"},
        "spec": beside,
    }
    result = meshport.convert(
        meshport.load_objects([*yaml.safe_load_all(WORLD + "---" + sidecar), policy]), source="istio", target="cilium"
    )
    found = {item.object["metadata"]["name"]: item.object["spec"] for item in result.manifests if "spec" in item.object}
    (rule,) = found["egress"]["egress"]
    assert rule["toPorts"] == [{"ports": [{"port": "8080", "protocol": "TCP"}]}]
    assert "k8s:app" in rule["toEndpoints"][0]["matchLabels"]
    assert found["out"]["egress"] == []
    assert not [item for item in result.findings if item.code in ("MP900", "MP901", "MP903", "MP904")]


def test_one_that_is_read_as_context_stays_and_is_said_to_let_in_what_the_mesh_refused() -> None:
    policy = yaml.safe_load(BESIDE % ("{matchLabels: {app: api}}", "[{from: [{podSelector: {matchLabels: {app: web}}}]}]"))
    result = meshport.convert(
        meshport.load_objects([*yaml.safe_load_all(WORLD)]), source="istio", target="cilium", context=meshport.load_objects([policy])
    )
    assert "NetworkPolicy" not in {item.object["kind"] for item in result.manifests}
    (told,) = [item for item in result.findings if item.code == "MP042"]
    assert (told.severity, told.effect) == ("error", "widens")
    assert "NetworkPolicy shop/network" in told.message


def test_one_of_context_that_begins_to_let_pods_in_is_said_to() -> None:
    policy = yaml.safe_load(BESIDE % ("{matchLabels: {app: web}}", "[{ports: [{port: 8080}]}]"))
    result = meshport.convert(
        meshport.load_objects([*yaml.safe_load_all(LINKERD)]), source="linkerd", target="cilium", context=meshport.load_objects([policy])
    )
    (told,) = [item for item in result.findings if item.code == "MP186"]
    assert (told.severity, told.effect) == ("error", "widens") and "read as context" in told.message


def test_between_pods_in_ambient_the_network_saw_ztunnels_port() -> None:
    ambient = WORLD.replace("istio-injection: enabled", "istio.io/dataplane-mode: ambient").split("---\napiVersion: security")[0]
    policy = yaml.safe_load(BESIDE % ("{matchLabels: {app: web}}", "[{from: [{podSelector: {}}], ports: [{port: 8080}]}]"))
    result = meshport.convert(meshport.load_objects([*yaml.safe_load_all(ambient), policy]), source="istio", target="cilium")
    assert [(item.severity, item.effect) for item in result.findings if item.code == "MP186"] == [("warning", "none")]
    found = {item.object["kind"]: item.object["spec"] for item in result.manifests if "spec" in item.object}
    assert found["NetworkPolicy"]["ingress"] == [] and found["CiliumNetworkPolicy"]["ingress"] == [{}]


def test_pods_that_keep_their_network_policy_are_selected_by_labels_that_stay() -> None:
    out = WORLD.replace("metadata: {labels: {app: web}}", 'metadata: {labels: {app: web, sidecar.istio.io/inject: "false"}}')
    policy = yaml.safe_load(BESIDE % ("{}", "[{ports: [{port: 8080}]}]"))
    result = meshport.convert(meshport.load_objects([*yaml.safe_load_all(out), policy]), source="istio", target="cilium")
    found = {item.object["metadata"]["name"]: item.object["spec"] for item in result.manifests if item.object["kind"] == "NetworkPolicy"}
    assert found["network-web"]["podSelector"] == {"matchLabels": {"app": "web"}}


def test_ports_that_go_past_linkerds_proxies_were_none_that_its_port_stood_for() -> None:
    skipping = LINKERD.replace(
        "metadata: {labels: {app: web}}", "metadata: {labels: {app: web}, annotations: {config.linkerd.io/skip-inbound-ports: '9090'}}"
    )
    policy = yaml.safe_load(BESIDE % ("{matchLabels: {app: web}}", "[{from: [{podSelector: {}}], ports: [{port: 4143}]}]"))
    result = meshport.convert(
        meshport.load_objects([*yaml.safe_load_all(skipping), policy]), source="linkerd", target="cilium", source_version="2.18"
    )
    found = {
        item.object["metadata"]["name"]: item.object["spec"] for item in result.manifests if item.object["kind"] == "CiliumNetworkPolicy"
    }
    opened = [
        (port["port"], port.get("endPort")) for rule in found["network"]["ingress"] for entry in rule["toPorts"] for port in entry["ports"]
    ]
    assert ("1", 9089) in opened and ("9091", 65535) in opened and ("0", None) not in opened


CONTRADICTION = "[{from: [{podSelector: {matchLabels: {app: web}, matchExpressions: [{key: app, operator: NotIn, values: [web]}]}}]}]"


@pytest.mark.parametrize("ingress", ["[]", CONTRADICTION])
def test_one_that_lets_nobody_in_stays_as_it_is(ingress: str) -> None:
    """Of what it lets in nothing has to be taken out: the pods under it alone get no copy of it either."""
    written, beside, findings = converted(ingress, "{}")
    assert written["api"]["ingress"] == [{}]
    assert beside == {} and {*written} == {"api"}
    assert [item.severity for item in findings if item.code == "MP177"] == ["info"]
    assert not [item for item in findings if item.code == "MP178"]


def test_a_default_that_closes_a_namespace_adds_nothing_to_what_another_lets_in() -> None:
    shut = {**yaml.safe_load(BESIDE % ("{}", "[]")), "metadata": {"name": "default-deny", "namespace": "shop"}}
    of_web = yaml.safe_load(BESIDE % ("{matchLabels: {app: api}}", "[{from: [{podSelector: {matchLabels: {app: web}}}]}]"))
    result = meshport.convert(meshport.load_objects([*yaml.safe_load_all(WORLD), shut, of_web]), source="istio", target="cilium")
    assert {item.object["metadata"]["name"] for item in result.manifests if item.object["kind"] == "NetworkPolicy"} == {"network"}
    assert [item.message.split()[1] for item in result.findings if item.code == "MP177"] == ["shop/network"]
    assert not {item.code for item in result.findings} & {"MP178", "MP900"}
