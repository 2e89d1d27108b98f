"""Single cases: probes, scrapes, headless Services, names of ports, ports that go past the proxy, jobs, what is not enforced, modernising."""

from __future__ import annotations

from typing import Any

import pytest

from .decision_helper import convert, namespace, service, shop, workload
from .showing import loud, objects, read, said, spec

STRICT = """---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
"""


def allow(rules: str, *, name: str = "users", more: str = "") -> str:
    return f"""---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: shop{more}}}
spec: {{selector: {{matchLabels: {{app: users}}}}, {rules}}}
"""


FROM_WEB = "rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]"

# -- probes


def probed(probe: str) -> str:
    return (
        namespace()
        + service()
        + workload(ports="[{name: http, containerPort: 8080}, {name: health, containerPort: 9000}]", container=f", livenessProbe: {probe}")
    )


@pytest.mark.parametrize(
    ("ports", "protocol"),
    [
        ("[{name: http, port: 80, targetPort: 8080}]", "unknown"),  # which finds HTTP/2 out
        ("[{name: http, port: 80, targetPort: 8080}, {name: grpc, port: 90, targetPort: 9000}]", "HTTP/2"),
    ],
)
def test_a_grpc_probe_gets_a_route_under_a_policy(ports: str, protocol: str) -> None:
    text = probed("{grpc: {port: 9000}}").replace("[{name: http, port: 80, targetPort: 8080}]", ports)
    result = convert(text + allow(FROM_WEB), "istio", "linkerd")
    assert spec(result, "Server/users-9000")["proxyProtocol"] == protocol
    assert spec(result, "HTTPRoute/users-9000-probes")["rules"] == read(
        "[{matches: [{method: POST, path: {type: Exact, value: /grpc.health.v1.Health/Check}}]}]"
    )


@pytest.mark.parametrize(
    ("probe", "found"),
    [("{tcpSocket: {port: 9000}}", ["MP236"]), ("{exec: {command: [test, -f, /ready]}}", [])],
    ids=["a connection proves nothing any more", "a command is unaffected"],
)
def test_other_probes_need_no_route(probe: str, found: list[str]) -> None:
    result = convert(probed(probe) + allow(FROM_WEB), "istio", "linkerd")
    assert not any(name.endswith("-probes") for name in objects(result))
    assert [item.code for item in result.findings if "probe" in item.message.lower()] == found


def test_cilium_lets_the_node_probe_by_itself() -> None:
    result = convert(probed("{httpGet: {path: /healthz, port: 9000}}") + allow(FROM_WEB), "istio", "cilium")
    assert "healthz" not in str(objects(result))


# -- scrapes

SCRAPED = namespace() + service() + workload(notes='{prometheus.io/scrape: "true", prometheus.io/port: "8080"}')


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_a_scrape_that_a_policy_closes_is_said_with_its_port_and_granted_only_where_it_is_asked_for(target: str) -> None:
    text = SCRAPED + allow(FROM_WEB)
    closed = convert(text, "istio", target)
    assert any("8080" in text and "scrape" in text.lower() for text in said(closed))
    assert "prometheus" not in str([item for name, item in objects(closed).items() if name.startswith(("Auth", "Mesh", "CiliumN"))])
    opened = convert(text + workload("prometheus"), "istio", target, allow_scrape_from=("shop/prometheus",))
    assert "prometheus" in str([item for name, item in objects(opened).items() if name.startswith(("Auth", "Mesh", "CiliumN"))])


def monitor(kind: str, spec: str) -> str:
    return f"---\napiVersion: monitoring.coreos.com/v1\nkind: {kind}\nmetadata: {{name: m, namespace: watch}}\nspec: {spec}\n"


MONITORS = {
    "PodMonitor by name": ("PodMonitor", "{namespaceSelector: {any: true}, selector: {matchLabels: {app: users}}, podMetricsEndpoints: [{port: http, path: /m}]}"),
    "PodMonitor by number": ("PodMonitor", "{namespaceSelector: {matchNames: [shop]}, selector: {}, podMetricsEndpoints: [{path: /m, portNumber: 8080}]}"),
    "ServiceMonitor by the Service's port": (
        "ServiceMonitor",
        "{namespaceSelector: {matchNames: [shop]}, selector: {matchExpressions: [{key: app, operator: DoesNotExist}]}, endpoints: [{port: gone}, {port: http, path: /m}]}",
    ),
    "ServiceMonitor by the pod's port": ("ServiceMonitor", "{namespaceSelector: {any: true}, selector: {}, endpoints: [{targetPort: http, path: /m}]}"),
}  # fmt: skip


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
@pytest.mark.parametrize("name", MONITORS)
def test_monitors_scrape_as_annotations_do_but_were_refused_before(target: str, name: str) -> None:
    text = shop("istio") + namespace("watch") + workload("prometheus", home="watch") + allow(FROM_WEB) + monitor(*MONITORS[name])
    result = convert(text, "istio", target)
    assert said(result, "MP232") == ["info MP232 shop/users: Prometheus scrapes port 8080 at /m, which the policies close"]
    opened = convert(text, "istio", target, allow_scrape_from=("watch/prometheus",))
    assert said(opened, "MP232") == [] and len(said(opened, "MP233")) == 1
    assert "prometheus" in str([item for name, item in objects(opened).items() if name.startswith(("Auth", "Mesh", "CiliumN"))])


def test_a_monitor_of_another_namespace_scrapes_nothing_here() -> None:
    other = monitor("PodMonitor", "{selector: {matchLabels: {app: users}}, podMetricsEndpoints: [{port: http}]}")
    assert said(convert(shop("istio") + namespace("watch") + allow(FROM_WEB) + other, "istio", "linkerd"), "MP232") == []


def test_a_scrape_that_is_granted_is_no_path_that_the_source_compared_otherwise() -> None:
    result = convert(
        SCRAPED + workload("prometheus") + allow("rules: [{to: [{operation: {ports: ['9000']}}]}]"),
        "istio",
        "linkerd",
        allow_scrape_from=("shop/prometheus",),
    )
    assert len(said(result, "MP233")) == 1 and said(result, "MP209") == []


# -- init containers

SYNC = ", initContainers: [{name: migrate, image: m, ports: [{containerPort: 7200}]}, {name: sync, image: s, restartPolicy: Always, ports: [{containerPort: 7100}]}]"


def test_a_sidecar_of_the_pod_has_ports_and_an_init_container_that_ends_has_none() -> None:
    result = convert(namespace() + service() + workload(pod=SYNC) + allow(FROM_WEB), "istio", "linkerd")
    assert sorted(name for name in objects(result) if name.startswith("Server/")) == ["Server/users-7100", "Server/users-8080"]


@pytest.mark.parametrize(
    ("source", "target", "choices", "early"),
    [
        ("istio", "linkerd", {"target_version": "2.19"}, True),
        ("istio", "linkerd", {"target_version": "2.20"}, False),
        ("istio", "linkerd", {"source_version": "1.26", "target_version": "2.19"}, False),
        ("linkerd", "istio", {"target_version": "1.26"}, True),
        ("linkerd", "istio", {"target_version": "1.27"}, False),
        ("linkerd", "istio", {"target_version": "1.26", "data_plane": "ambient"}, False),
        ("cilium", "linkerd", {"target_version": "2.18"}, True),
    ],
)
def test_init_containers_that_run_before_the_proxy_and_did_not(source: str, target: str, choices: dict[str, str], early: bool) -> None:
    result = convert(namespace(mesh=source) + service() + workload(pod=SYNC), source, target, **choices)
    assert [line.partition(";")[0] for line in said(result, "MP975")] == [
        f"info MP975 Deployment shop/users: its init containers (migrate) run before the proxy of {choices['target_version']} starts"
    ] * early


# -- headless Services

HEADLESS = ", clusterIP: None"
RULES = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: users, namespace: shop}
spec: {hosts: [users], http: [{timeout: 2s, retries: {attempts: 0}, route: [{destination: {host: users}}]}]}
"""
ROUTE = """---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: users, namespace: shop, annotations: {retry.linkerd.io/http: 5xx}}
spec: {parentRefs: [{group: core, kind: Service, name: users, port: 80}], rules: [{backendRefs: [{name: users, port: 80}]}]}
"""


@pytest.mark.parametrize(
    ("source", "target", "rules"),
    [
        ("istio", "linkerd", RULES),
        ("istio", "cilium", RULES),
        ("istio", "gateway-api", RULES),
        ("linkerd", "istio", ROUTE),
        ("linkerd", "cilium", ROUTE),
    ],
)
def test_no_route_attaches_to_a_headless_service(source: str, target: str, rules: str) -> None:
    result = convert(namespace(mesh=source) + service(more=HEADLESS) + workload(kind="StatefulSet") + rules, source, target)
    assert "error MP303" in loud(result)
    assert not any(name.startswith(("HTTPRoute", "VirtualService")) for name in objects(result))


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (
            service(more=", clusterIP: None"),
            "Service shop/users is headless, and only what is sent to the address of a Service passes a waypoint",
        ),
        (
            "---\napiVersion: v1\nkind: Service\nmetadata: {name: users, namespace: shop}\n"
            "spec: {type: ExternalName, externalName: users.example.com, ports: [{name: http, port: 80}]}\n",
            "Service shop/users is of type ExternalName, and only what is sent to the address of a Service passes a waypoint",
        ),
        (
            service().replace("namespace: shop", "namespace: old") + workload(home="old") + namespace("old", "plain"),
            "the pods of Service old/users are outside the mesh, and no waypoint stands before it",
        ),
    ],
)
def test_without_sidecars_nobody_follows_the_rules_of_a_service_that_no_waypoint_stands_before(kind: str, why: str) -> None:
    home = "old" if "old/users" in why else "shop"
    limits = "kind: DestinationRule\nmetadata: {name: users, namespace: shop}\nspec: {host: users, trafficPolicy: {outlierDetection: {}}}\n"
    rules = (RULES + "---\napiVersion: networking.istio.io/v1\n" + limits).replace("namespace: shop", f"namespace: {home}")
    result = convert(namespace() + workload() + kind + rules, "istio", "istio", data_plane="ambient")
    assert [text for text in said(result) if "MP112" in text] == [
        f"error MP112 VirtualService {home}/users has no effect in ambient: {why}",
        f"warning MP112 DestinationRule {home}/users has no effect in ambient: {why}",
    ]
    assert not any("MP115" in text for text in said(result))  # nor is it said that a waypoint reads it


def test_a_headless_service_without_rules_needs_nothing() -> None:
    text = namespace() + service(more=HEADLESS) + workload(kind="StatefulSet")
    assert set(objects(convert(text, "istio", "linkerd"))) == {"Namespace/shop"}


# -- ports


@pytest.mark.parametrize(
    ("said_as", "written"),
    [
        ("grpc", "kubernetes.io/h2c"),
        ("http2", "kubernetes.io/h2c"),
        ("https", "linkerd.io/opaque"),
        ("tls", "linkerd.io/opaque"),
        ("mysql", "linkerd.io/opaque"),
        ("kubernetes.io/ws", "http"),
        ("http", "http"),
        ("kubernetes.io/h2c", "kubernetes.io/h2c"),
    ],
)
def test_a_protocol_that_linkerd_does_not_know_would_make_the_port_opaque(said_as: str, written: str) -> None:
    text = namespace() + service(ports=f"[{{name: p, port: 80, targetPort: 8080, appProtocol: {said_as}}}]") + workload()
    result = convert(text, "istio", "linkerd")
    ports = (
        objects(result)["Service/users"]["spec"]["ports"] if "Service/users" in objects(result) else read(f"[{{appProtocol: {said_as}}}]")
    )
    assert ports[0].get("appProtocol") == written


@pytest.mark.parametrize(("said_as", "told"), [("kubernetes.io/h2c", True), ("kubernetes.io/ws", True), ("http", False)])
def test_cilium_is_told_to_read_what_a_backend_speaks(said_as: str, told: bool) -> None:
    ports = f"[{{name: a, port: 80, targetPort: 8080, appProtocol: {said_as}}}]"
    result = convert(namespace() + service(ports=ports) + workload() + RULES, "istio", "cilium")
    assert objects(result)["HTTPRoute/users"]["spec"]["parentRefs"] == [{"group": "", "kind": "Service", "name": "users"}]
    assert "Service/users" not in objects(result)
    assert result.install["helm_values"]["cilium"]["gatewayAPI"] == {"enabled": True, **({"enableAppProtocol": True} if told else {})}


def test_a_tcp_port_is_opaque_on_the_service_by_its_port_and_on_the_pod_by_the_containers() -> None:
    text = namespace() + service(ports="[{name: tcp-sync, port: 7000, targetPort: 9999}]") + workload(ports="[{containerPort: 9999}]")
    result = convert(text, "istio", "linkerd")
    defaults = "25,587,3306,4444,5432,6379,9300,11211"
    on_service = objects(result)["Service/users"]["metadata"]["annotations"]["config.linkerd.io/opaque-ports"]
    on_pod = objects(result)["Deployment/users"]["spec"]["template"]["metadata"]["annotations"]["config.linkerd.io/opaque-ports"]
    assert set(on_service.split(",")) == {*defaults.split(","), "7000"}
    assert set(on_pod.split(",")) == {*defaults.split(","), "9999"}


def test_an_opaque_port_is_tcp_to_istio() -> None:
    opaque = service(notes='{config.linkerd.io/opaque-ports: "7000"}', ports="[{name: sync, port: 7000, targetPort: 9999}]")
    result = convert(namespace(mesh="linkerd") + opaque + workload(ports="[{containerPort: 9999}]"), "linkerd", "istio")
    assert spec(result, "Service/users")["ports"][0]["appProtocol"] == "tcp"


def test_ports_past_the_proxy_stay_past_it_and_open_to_all_under_cilium() -> None:
    notes = '{traffic.sidecar.istio.io/excludeInboundPorts: "9100", traffic.sidecar.istio.io/excludeOutboundPorts: "5432"}'
    text = namespace() + service() + workload(notes=notes) + allow(FROM_WEB)
    template = objects(convert(text, "istio", "linkerd"))["Deployment/users"]["spec"]["template"]["metadata"]["annotations"]
    assert template["config.linkerd.io/skip-inbound-ports"] == "9100"
    assert template["config.linkerd.io/skip-outbound-ports"] == "5432"
    to_cilium = convert(text, "istio", "cilium")
    bypass = read('[{toPorts: [{ports: [{port: "9100", protocol: TCP}]}]}]')
    assert spec(to_cilium, "CiliumNetworkPolicy/users-bypass")["ingress"] == bypass
    assert "warning MP289" in loud(to_cilium)
    linkerd = namespace(mesh="linkerd") + service() + workload(notes='{config.linkerd.io/skip-inbound-ports: "9100"}')
    back = objects(convert(linkerd, "linkerd", "istio"))["Deployment/users"]["spec"]["template"]["metadata"]["annotations"]
    assert back["traffic.sidecar.istio.io/excludeInboundPorts"] == "9100"


# -- Sidecar


@pytest.mark.parametrize(("release", "ports"), [("1.20", [{"port": "5432", "protocol": "TCP"}, {"port": "6000", "endPort": 6001, "protocol": "TCP"}]),
                                               ("1.15", [{"port": port, "protocol": "TCP"} for port in ("5432", "6000", "6001")])])  # fmt: skip
@pytest.mark.parametrize("source", ["istio", "linkerd"])
def test_ports_that_leave_past_the_proxy_stay_open_where_the_way_out_is_closed(
    source: str, release: str, ports: list[dict[str, Any]]
) -> None:
    key = "traffic.sidecar.istio.io/excludeOutboundPorts" if source == "istio" else "config.linkerd.io/skip-outbound-ports"
    written = "5432,6000,6001" if source == "istio" else "5432,6000-6001"
    notes = f"{{{key}: '{written}'}}"
    shut = {
        "istio": "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default, namespace: shop}\nspec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n",
        "linkerd": "---\napiVersion: policy.linkerd.io/v1alpha1\nkind: EgressNetwork\nmetadata: {name: out, namespace: shop}\nspec: {trafficPolicy: Deny}\n",
    }
    world = namespace(mesh=source) + workload("jobs") + workload(notes=notes)
    policies = objects(convert(world + shut[source], source, "cilium", target_version=release))
    bypass = policies["CiliumNetworkPolicy/users-egress-bypass"]["spec"]
    assert bypass == {"endpointSelector": {"matchLabels": {"app": "users"}}, "egress": [{"toPorts": [{"ports": ports}]}]}
    assert "CiliumNetworkPolicy/jobs-egress-bypass" not in policies
    assert not [name for name in objects(convert(world, source, "cilium")) if "egress" in name]


@pytest.mark.parametrize(
    ("notes", "values", "open_to"),
    [
        (
            'excludeOutboundIPRanges: "203.0.113.0/24,198.51.100.7/32"',
            "",
            {"toCIDRSet": [{"cidr": "203.0.113.0/24"}, {"cidr": "198.51.100.7/32"}]},
        ),
        ('includeOutboundIPRanges: "10.0.0.0/8"', "", {"toCIDRSet": [{"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}, {"cidr": "::/0"}]}),
        (
            'includeOutboundIPRanges: "10.0.0.0/8", traffic.sidecar.istio.io/includeOutboundPorts: "443"',
            "",
            {
                "toCIDRSet": [{"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}, {"cidr": "::/0"}],
                "toPorts": [
                    {"ports": [{"port": "1", "endPort": 442, "protocol": "TCP"}, {"port": "444", "endPort": 65535, "protocol": "TCP"}]}
                ],
            },
        ),
        ("", "excludeIPRanges: 203.0.113.0/24", {"toCIDRSet": [{"cidr": "203.0.113.0/24"}]}),
        ('excludeOutboundIPRanges: "192.0.2.0/24"', "excludeIPRanges: 203.0.113.0/24", {"toCIDRSet": [{"cidr": "192.0.2.0/24"}]}),
        ('includeOutboundPorts: "443"', "", None),
        ('includeOutboundIPRanges: "*"', "", None),
    ],
)
def test_addresses_that_go_past_the_proxy_stay_open_where_cilium_closes_the_way_out(notes: str, values: str, open_to: Any) -> None:
    """REGISTRY_ONLY holds for what the sidecar takes: of the rest it sees nothing."""
    sidecar = "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default, namespace: shop}\nspec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n"
    chart = f"---\nglobal: {{istioNamespace: istio-system, proxy: {{{values}}}}}\npilot: {{enabled: true}}\n" if values else ""
    marked = workload("users", notes=f"{{traffic.sidecar.istio.io/{notes}}}") if notes else workload("users")
    result = convert(namespace() + service() + marked + workload("jobs") + sidecar + chart, "istio", "cilium")
    policies = {name.partition("/")[2]: obj["spec"] for name, obj in objects(result).items() if name.startswith("Cilium")}
    assert "egress" in policies and not said(result, "MP900")
    if open_to is None:
        assert "users-egress-bypass" not in policies
        return
    assert policies["users-egress-bypass"] == {"endpointSelector": {"matchLabels": {"app": "users"}}, "egress": [open_to]}
    assert ("jobs-egress-bypass" in policies) is bool(values)


def test_the_inbound_side_of_a_sidecar_is_lost_with_findings() -> None:
    sidecar = """---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: users, namespace: shop}
spec:
  workloadSelector: {labels: {app: users}}
  ingress: [{port: {number: 8080, protocol: HTTP, name: http}, defaultEndpoint: "127.0.0.1:9090", connectionPool: {tcp: {maxConnections: 5}}}]
"""
    for target in ("linkerd", "cilium"):
        found = loud(convert(shop("istio") + sidecar, "istio", target))
        assert "error MP758" in found
        assert "warning MP551" in found


# -- what is not enforced


@pytest.mark.parametrize(
    "policy",
    [allow(f"action: AUDIT, {FROM_WEB}"), allow(FROM_WEB, more=", annotations: {istio.io/dry-run: 'true'}")],
    ids=["AUDIT", "dry run"],
)
@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_what_istio_only_reports_becomes_no_policy(policy: str, target: str) -> None:
    result = convert(shop("istio") + policy, "istio", target)
    assert not any(name.startswith(("Server", "Authorization", "CiliumNetworkPolicy")) for name in objects(result))
    assert [item.severity for item in result.findings if item.code in ("MP212", "MP225", "MP235")] in (["info"], ["info", "info"])


@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_linkerds_audit_admits_everybody(target: str) -> None:
    server = """---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: users, namespace: shop}
spec: {podSelector: {matchLabels: {app: users}}, port: 8080, accessPolicy: audit}
"""
    result = convert(shop("linkerd") + server, "linkerd", target)
    assert result.verification is not None
    assert result.verification.verdict == "equivalent"
    assert [text for text in said(result) if "MP213" in text] == [
        "warning MP213 accessPolicy audit of Server shop/users admits everybody in the target as well, but requests are no longer logged as such"
    ]
    assert [line.disposition for line in result.ledger if line.path == "spec.accessPolicy"] == ["approximated"]


# -- callers


def test_a_trust_domain_that_nobody_has_matches_nobody() -> None:
    foreign = "rules: [{from: [{source: {principals: [corp.example/ns/shop/sa/web]}}]}]"
    for target in ("linkerd", "cilium"):
        result = convert(shop("istio") + workload("web") + STRICT + allow(foreign), "istio", target)
        assert any(text.startswith("error MP2") for text in loud(result))
        assert "sa: web" not in str(objects(result))
        assert result.verification is not None
        assert result.verification.verdict != "widened"


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_pods_on_the_hosts_network_are_no_subject(target: str) -> None:
    text = namespace() + service() + workload(pod=", hostNetwork: true") + allow(FROM_WEB)
    result = convert(text, "istio", target)
    assert not any(name.startswith(("Server", "CiliumNetworkPolicy")) for name in objects(result))
    assert any("host's network" in text for text in said(result))


# -- modernising Linkerd


OLD = """---
apiVersion: policy.linkerd.io/v1beta1
kind: Server
metadata: {name: users, namespace: shop}
spec: {podSelector: {matchLabels: {app: users}}, port: 8080, proxyProtocol: HTTP/1}
---
apiVersion: policy.linkerd.io/v1beta1
kind: ServerAuthorization
metadata: {name: users, namespace: shop}
spec: {server: {name: users}, client: {meshTLS: {serviceAccounts: [{name: web}]}}}
"""


def test_an_old_authorization_names_the_clusters_networks_when_it_is_written_anew() -> None:
    result = convert(shop("linkerd") + workload("web") + OLD, "linkerd", "linkerd")
    kinds = sorted(name.partition("/")[0] for name in objects(result))
    assert kinds.count("AuthorizationPolicy") == 1
    assert kinds.count("NetworkAuthentication") == 1
    (policy,) = [item["spec"] for name, item in objects(result).items() if name.startswith("AuthorizationPolicy")]
    assert {ref["kind"] for ref in policy["requiredAuthenticationRefs"]} == {"ServiceAccount", "NetworkAuthentication"}
    assert [(item["kind"], item["name"]) for item in result.removals] == [("ServerAuthorization", "users")]


def test_tls_without_an_identity_has_no_form_any_more() -> None:
    old = OLD.replace("{meshTLS: {serviceAccounts: [{name: web}]}}", "{meshTLS: {unauthenticatedTLS: true}}")
    result = convert(shop("linkerd") + old, "linkerd", "linkerd")
    assert not any(name.startswith("AuthorizationPolicy") for name in objects(result))
    assert any(text.startswith("error") for text in loud(result))
