"""What crosses the border of the cluster: Gateways and their classes, egress by name, Services that clusters share."""

from __future__ import annotations

import pytest

import meshport

from .decision_helper import convert, namespace, service, shop, workload
from .showing import loud, objects, read, said, spec

ENTRANCE = """---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP, hostname: shop.example.com}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: public, namespace: shop}
spec: {parentRefs: [{name: public}], hostnames: [shop.example.com], rules: [{backendRefs: [{name: users, port: 80}]}]}
"""
OWN = """---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: shop}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: public, namespace: shop}
spec: {hosts: [shop.example.com], gateways: [public], http: [{retries: {attempts: 0}, route: [{destination: {host: users, port: {number: 80}}}]}]}
"""


@pytest.mark.parametrize(("target", "name"), [("cilium", "cilium"), ("gateway-api", "istio")])
def test_istios_gateway_and_its_routes_are_those_of_the_gateway_api(target: str, name: str) -> None:
    result = convert(shop("istio") + OWN, "istio", target)
    gateway, route = spec(result, "Gateway/public"), spec(result, "HTTPRoute/public")
    assert (gateway["gatewayClassName"], gateway["listeners"][0]["hostname"]) == (name, "shop.example.com")
    assert route == read("""
        {parentRefs: [{name: public}], hostnames: [shop.example.com], rules: [{backendRefs: [{name: users, port: 80}]}]}
    """)


def test_a_class_of_istio_becomes_that_of_cilium() -> None:
    result = convert(shop("istio") + ENTRANCE, "istio", "cilium")
    assert spec(result, "Gateway/public")["gatewayClassName"] == "cilium"
    assert "HTTPRoute/public" not in objects(result)  # the route is the same


def test_linkerd_has_no_ingress_and_a_class_has_to_be_named() -> None:
    assert loud(convert(shop("istio") + ENTRANCE, "istio", "linkerd")) == ["error MP704"]
    named = convert(shop("istio") + ENTRANCE, "istio", "linkerd", gateway_class="nginx")
    assert loud(named) == []
    assert spec(named, "Gateway/public")["gatewayClassName"] == "nginx"
    assert loud(convert(shop("istio") + OWN, "istio", "linkerd")) == ["error MP701", "error MP703"]


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_a_gateway_of_cilium_stays_with_it_unless_a_class_is_named(target: str) -> None:
    entrance = shop("cilium") + ENTRANCE.replace("Name: istio", "Name: cilium")
    assert "Gateway/public" not in objects(convert(entrance, "cilium", target))
    named = convert(entrance, "cilium", target, gateway_class="istio")
    assert spec(named, "Gateway/public")["gatewayClassName"] == "istio" and any("MP346" in text for text in said(named))


REWRITTEN = OWN.replace("http: [{retries", "http: [{match: [{uri: {prefix: /api}}], rewrite: {uri: /}, mirror: {host: users}, retries")


def test_istios_gateway_is_handed_to_the_class_that_is_named_beside_linkerd() -> None:
    """What the route says is what that implementation can: Linkerd itself knows no rewrite and no mirror."""
    result = convert(shop("istio") + REWRITTEN, "istio", "linkerd", gateway_class="nginx")
    gateway, route = spec(result, "Gateway/public"), spec(result, "HTTPRoute/public")
    assert (gateway["gatewayClassName"], gateway["listeners"][0]["hostname"]) == ("nginx", "shop.example.com")
    assert [item["type"] for item in route["rules"][0]["filters"]] == ["URLRewrite", "RequestMirror"]
    assert route["hostnames"] == ["shop.example.com"] and route["rules"][0]["backendRefs"] == [{"name": "users", "port": 80}]
    assert loud(result) == ["warning MP329"] and said(result, "MP346")[0].startswith("info")
    assert {removal["kind"] for removal in result.removals} == {"Gateway", "VirtualService"}


def test_rules_for_the_mesh_and_a_gateway_are_two_routes_beside_linkerd() -> None:
    both = OWN.replace("shop.example.com", "users.shop.svc.cluster.local").replace("gateways: [public]", "gateways: [mesh, public]")
    result = convert(shop("istio") + both, "istio", "linkerd", gateway_class="nginx")
    parents = [item["spec"]["parentRefs"][0] for name, item in objects(result).items() if name.startswith("HTTPRoute/")]
    assert sorted(parent["name"] for parent in parents) == ["public", "users"] and not said(result, "MP702")
    assert len(said(convert(shop("istio") + both, "istio", "linkerd"), "MP702")) == 1


LOCK = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: lock, namespace: istio-system}
spec: {selector: {matchLabels: {istio: ingressgateway}}, rules: [{from: [{source: {ipBlocks: [10.0.0.0/8]}}]}]}
"""


@pytest.mark.parametrize(("target", "name"), [("linkerd", "nginx"), ("cilium", None), ("gateway-api", None)])
def test_a_gateway_whose_policies_would_hold_at_no_other_is_left_out(target: str, name: str | None) -> None:
    result = convert(shop("istio") + OWN + LOCK, "istio", target, gateway_class=name)
    assert "Gateway/public" not in objects(result) and "error MP345" in loud(result)
    assert "istio-system/lock" in said(result, "MP345")[0]
    open_one = convert(shop("istio") + OWN + LOCK, "istio", target, gateway_class=name, on_loss="looser")
    assert "Gateway/public" in objects(open_one) and "open to everybody" in said(open_one, "MP345")[0]
    everybody = LOCK.replace("[{from: [{source: {ipBlocks: [10.0.0.0/8]}}]}]", "[{}]")  # keeps nobody out
    closed = (
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: closed, namespace: istio-system}\nspec: {}\n"
    )
    for policies in (everybody, closed + everybody):  # allows add up
        assert "Gateway/public" in objects(convert(shop("istio") + OWN + policies, "istio", target, gateway_class=name))


def test_a_certificate_is_the_secret_beside_the_pods_that_served_it() -> None:
    tls = OWN.replace(
        "{port: {number: 80, name: http, protocol: HTTP}",
        "{port: {number: 443, name: https, protocol: HTTPS}, tls: {mode: SIMPLE, credentialName: shop-cert}",
    )
    pods = namespace("ingress", mesh="plain") + workload("gate", home="ingress", labels=", istio: ingressgateway")
    result = convert(shop("istio") + pods + tls, "istio", "linkerd", gateway_class="nginx")
    assert spec(result, "Gateway/public")["listeners"][0]["tls"]["certificateRefs"] == [{"name": "shop-cert", "namespace": "ingress"}]
    assert spec(result, "ReferenceGrant/public-certificates")["to"] == [{"group": "", "kind": "Secret", "name": "shop-cert"}]


ABROAD = ENTRANCE.replace("{name: public, namespace: shop}\nspec: {gate", "{name: public, namespace: infra}\nspec: {gate").replace(
    "[{name: public}]", "[{name: public, namespace: infra}]"
)


@pytest.mark.parametrize(
    ("allowed", "attached"),
    [
        ("", False),  # routes of the Gateway's own namespace
        (", allowedRoutes: {namespaces: {from: All}}", True),
        (", allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {kubernetes.io/metadata.name: shop}}}}", True),
        (", allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {edge: public}}}}", False),
        (", allowedRoutes: {namespaces: {from: All}, kinds: [{kind: GRPCRoute}]}", False),
    ],
)
def test_a_route_that_no_listener_admits_does_nothing(allowed: str, attached: bool) -> None:
    text = shop("istio") + ABROAD.replace("hostname: shop.example.com}", "hostname: shop.example.com" + allowed + "}")
    result = convert(text, "istio", "cilium")
    assert bool(said(result, "MP348")) is not attached
    wide = shop("istio") + ABROAD.replace(
        "hostname: shop.example.com}", "hostname: shop.example.com, allowedRoutes: {namespaces: {from: All}}}"
    )
    compared = meshport.diff(meshport.load_text(wide), meshport.load_text(text), old_mesh="istio", new_mesh="istio")
    assert bool(compared) is not attached


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_a_gateway_that_admits_by_a_label_of_the_mesh_is_named(target: str) -> None:
    by_mesh = ", allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {istio-injection: enabled}}}}}"
    text = shop("istio") + ABROAD.replace("hostname: shop.example.com}", "hostname: shop.example.com" + by_mesh)
    assert "error MP349" in loud(convert(text, "istio", target, gateway_class="nginx"))


def test_servers_for_one_namespace_are_listeners_for_it_and_take_no_others_routes() -> None:
    """A server of Istio's Gateway names the namespaces whose VirtualServices may claim the host; what redirects belongs to the Gateway itself."""
    two = OWN.replace("[{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}]",
        "[{port: {number: 80, name: http, protocol: HTTP}, hosts: [other/shop.example.com], tls: {httpsRedirect: true}},"
        " {port: {number: 443, name: https, protocol: HTTPS}, hosts: [HOME/shop.example.com], tls: {mode: SIMPLE, credentialName: cert}}]")  # fmt: skip
    result = convert(shop("istio") + two.replace("HOME", "shop"), "istio", "cilium")
    first, second = spec(result, "Gateway/public")["listeners"]
    assert first["allowedRoutes"] == {"namespaces": {"from": "Same"}}
    assert second["allowedRoutes"]["namespaces"]["selector"] == {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}
    assert not said(result, "MP348") and said(convert(shop("istio") + two.replace("HOME", "other"), "istio", "cilium"), "MP348")


def test_a_gateway_beside_linkerd_reads_its_routes_by_its_own_rules() -> None:
    """Linkerd refuses a rewrite on a Service; on a Gateway it has no say."""
    rewrite = "rules: [{filters: [{type: URLRewrite, urlRewrite: {hostname: users}}], backendRefs: [{name: users, port: 80}]}]"
    entrance = ENTRANCE.replace("gatewayClassName: istio", "gatewayClassName: nginx").replace(
        "rules: [{backendRefs: [{name: users, port: 80}]}]", rewrite
    )
    assert rewrite in entrance and not said(convert(shop("linkerd") + entrance, "linkerd", "istio"), "MP315")


# -- what leaves


def entry(host: str, protocol: str, port: int, more: str = "") -> str:
    return f"""---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: outside, namespace: shop}}
spec: {{hosts: ["{host}"], location: MESH_EXTERNAL, resolution: DNS, ports: [{{number: {port}, name: p, protocol: {protocol}}}]{more}}}
"""


def policy(outbound: str) -> str:
    return f"""---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: default, namespace: shop}}
spec: {{outboundTrafficPolicy: {outbound}}}
"""


CLOSED = ["{mode: REGISTRY_ONLY}", "{}"]  # an empty block is the strict one


@pytest.mark.parametrize("outbound", CLOSED)
@pytest.mark.parametrize(("protocol", "port", "kind"), [("TLS", 443, "TLSRoute"), ("HTTPS", 443, "TLSRoute"), ("HTTP", 80, "HTTPRoute")])
def test_a_closed_namespace_of_linkerd_opens_a_name_by_a_route(outbound: str, protocol: str, port: int, kind: str) -> None:
    result = convert(shop("istio") + policy(outbound) + entry("api.example.com", protocol, port), "istio", "linkerd")
    assert spec(result, "EgressNetwork/egress") == {"trafficPolicy": "Deny"}
    (name,) = [name for name in objects(result) if name.startswith(kind)]
    assert spec(result, name) == read(f"""
        parentRefs: [{{group: policy.linkerd.io, kind: EgressNetwork, name: egress, port: {port}}}]
        hostnames: [api.example.com]
        rules: [{{backendRefs: [{{group: policy.linkerd.io, kind: EgressNetwork, name: egress, port: {port}}}]}}]
    """)


@pytest.mark.parametrize("outbound", CLOSED)
def test_a_closed_namespace_of_cilium_has_dns_the_cluster_and_the_name(outbound: str) -> None:
    result = convert(shop("istio") + policy(outbound) + entry("api.example.com", "TLS", 443), "istio", "cilium")
    dns, inside, name, *others = spec(result, "CiliumNetworkPolicy/egress")["egress"]
    assert dns == read("""
        toEndpoints: [{matchLabels: {"k8s:io.kubernetes.pod.namespace": kube-system, "k8s:k8s-app": kube-dns}}]
        toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchPattern: "*"}]}}]
    """)
    assert inside == {"toEntities": ["cluster"]}
    assert name == read('{toFQDNs: [{matchName: api.example.com}], toPorts: [{ports: [{port: "443", protocol: TCP}]}]}')
    assert not any("toEntities" in rule or "toCIDR" in rule for rule in others)  # UDP, SCTP and ICMP, which Istio does not govern


def test_where_anything_may_leave_cilium_gets_no_egress_rule() -> None:
    result = convert(shop("istio") + policy("{mode: ALLOW_ANY}") + entry("api.example.com", "TLS", 443), "istio", "cilium")
    assert set(objects(result)) == {"Namespace/shop"}


def test_a_closed_network_of_linkerd_is_registry_only_with_entries() -> None:
    network = """---
apiVersion: policy.linkerd.io/v1alpha1
kind: EgressNetwork
metadata: {name: all, namespace: shop}
spec: {trafficPolicy: Deny}
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TLSRoute
metadata: {name: api, namespace: shop}
spec:
  parentRefs: [{group: policy.linkerd.io, kind: EgressNetwork, name: all, port: 443}]
  hostnames: [api.example.com]
  rules: [{backendRefs: [{group: policy.linkerd.io, kind: EgressNetwork, name: all, port: 443}]}]
"""
    result = convert(shop("linkerd") + network, "linkerd", "istio")
    assert spec(result, "Sidecar/default") == {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
    assert (spec(result, "ServiceEntry/api")["hosts"], spec(result, "ServiceEntry/api")["location"]) == (
        ["api.example.com"],
        "MESH_EXTERNAL",
    )
    to_cilium = spec(convert(shop("linkerd") + network, "linkerd", "cilium"), "CiliumNetworkPolicy/egress")["egress"]
    assert read('{toFQDNs: [{matchName: api.example.com}], toPorts: [{ports: [{port: "443", protocol: TCP}]}]}') in to_cilium


def test_what_proxies_are_told_about_is_no_policy() -> None:
    told = """---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec: {egress: [{hosts: ["./*", "istio-system/*"]}]}
"""
    for target in ("linkerd", "cilium"):
        result = convert(shop("istio") + told, "istio", target)
        assert set(objects(result)) == {"Namespace/shop"}
        lines = [line for line in result.ledger if line.path.startswith("spec.egress")]
        assert {line.disposition for line in lines} == {"irrelevant"}


# -- clusters


def test_an_entry_with_the_name_of_a_service_routes_nothing_and_the_remedy_shares_the_service() -> None:
    remote = entry("users.shop.svc.cluster.local", "HTTP", 80, ", endpoints: [{address: 203.0.113.5}]")
    for target, mark in (("linkerd", "mirror.linkerd.io/exported"), ("cilium", "service.cilium.io/global")):
        result = convert(shop("istio") + remote, "istio", target)
        (found,) = [item for item in result.findings if item.code == "MP710"]
        assert found.severity == "error"
        assert mark in found.remedy


def test_a_service_that_linkerd_exports_is_global_in_cilium_and_back() -> None:
    exported = shop("linkerd").replace("annotations: {}}", "labels: {mirror.linkerd.io/exported: 'true'}}", 1)
    result = convert(exported, "linkerd", "cilium")
    assert objects(result)["Service/users"]["metadata"]["annotations"] == {"service.cilium.io/global": "true"}
    back = convert(shop("cilium", notes="{service.cilium.io/global: 'true'}"), "cilium", "linkerd")
    assert objects(back)["Service/users"]["metadata"]["labels"] == {"mirror.linkerd.io/exported": "remote-discovery"}
    assert said(back, "MP725") == [
        "warning MP725 Linked clusters see Service shop/users as users-CLUSTER, and no longer under its own name"
    ]


def test_failover_to_the_own_cluster_first_is_lost_with_a_warning_where_nothing_prefers_it() -> None:
    text = shop("cilium", notes="{service.cilium.io/global: 'true', service.cilium.io/affinity: local}")
    for target in ("linkerd", "istio"):
        assert "warning MP511" in loud(convert(text, "cilium", target))


MIRROR = """---
apiVersion: v1
kind: Service
metadata:
  name: users-west
  namespace: shop
  labels: {mirror.linkerd.io/mirrored-service: "true", mirror.linkerd.io/cluster-name: west}
  annotations: {balancer.linkerd.io/failure-accrual: consecutive, retry.linkerd.io/http: 5xx}
spec: {ports: [{port: 80}]}
"""
TO_THE_WEST = """---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: users, namespace: shop}
spec:
  parentRefs: [{group: core, kind: Service, name: users, port: 80}]
  rules: [{backendRefs: [{name: users, port: 80, weight: 9}, {name: users-west, port: 80, weight: 1}]}]
"""


@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_what_a_service_mirror_makes_is_not_translated_as_a_service_of_this_cluster(target: str) -> None:
    result = convert(shop("linkerd") + MIRROR, "linkerd", target)
    assert set(objects(result)) == {"Namespace/shop"}
    assert [line for line in said(result, "MP383") if "shop/users-west" in line] != []
    notes = [line.disposition for line in result.ledger if "linkerd.io/failure-accrual" in line.path or "retry.linkerd.io" in line.path]
    assert notes == ["dropped", "dropped"]


@pytest.mark.parametrize(("target", "step"), [("istio", "topology.istio.io/cluster"), ("cilium", "cilium clustermesh connect")])
def test_requests_that_a_mirror_takes_to_another_cluster_are_an_error(target: str, step: str) -> None:
    result = convert(shop("linkerd") + MIRROR + TO_THE_WEST, "linkerd", target)
    (found,) = [item for item in result.findings if item.code == "MP384"]
    assert found.severity == "error" and step in found.remedy
    assert convert(shop("linkerd") + MIRROR + TO_THE_WEST, "linkerd", "linkerd").findings == []


# -- rules for the clients of one namespace

CONSUMER = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: users, namespace: web}
spec:
  hosts: [users.shop.svc.cluster.local]
  exportTo: ["."]
  http: [{timeout: 2s, retries: {attempts: 0}, route: [{destination: {host: users.shop.svc.cluster.local}}]}]
"""


def test_routes_for_one_namespace_stand_in_it_for_linkerd() -> None:
    result = convert(shop("istio") + namespace("web") + CONSUMER, "istio", "linkerd")
    route = objects(result)["HTTPRoute/users"]
    assert route["metadata"]["namespace"] == "web"
    assert route["spec"]["parentRefs"] == read("[{group: core, kind: Service, name: users, namespace: shop, port: 80}]")


def test_routes_for_one_namespace_are_left_out_for_cilium() -> None:
    result = convert(shop("istio") + namespace("web") + CONSUMER, "istio", "cilium")
    assert "HTTPRoute/users" not in objects(result)
    assert said(result, "MP371") == [
        "error MP371 VirtualService web/users: only clients in web follow these routes; Cilium would make every client of the Service follow "
        "them, so they are left out"
    ]


SHOWN = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: users, namespace: shop}
spec:
  hosts: [users]
  exportTo: EXPORTS
  http: [{timeout: 2s, retries: {attempts: 0}, route: [{destination: {host: users}}]}]
"""


def shown_to(exports: str, target: str) -> meshport.Result:
    """A Service of `shop` with clients in two more namespaces."""
    clients = namespace("web") + namespace("lab") + workload("page", home="web") + workload("bench", home="lab")
    return convert(shop("istio") + clients + SHOWN.replace("EXPORTS", exports), "istio", target)


def test_routes_shown_to_namespaces_of_clients_stand_in_each_of_them_for_linkerd() -> None:
    result = shown_to("[web, lab]", "linkerd")
    routes = [item.object for item in result.manifests if item.object["kind"] == "HTTPRoute"]
    assert [route["metadata"]["namespace"] for route in routes] == ["lab", "web"]
    assert {str(route["spec"]["parentRefs"]) for route in routes} == {
        str(read("[{group: core, kind: Service, name: users, namespace: shop, port: 80}]"))
    }
    assert loud(result) == []


@pytest.mark.parametrize("exports", ['["."]', "[shop, web]"])
def test_routes_shown_beside_the_service_are_everybodys_for_linkerd_and_left_out_for_cilium(exports: str) -> None:
    result = shown_to(exports, "linkerd")
    assert objects(result)["HTTPRoute/users"]["metadata"]["namespace"] == "shop" and set(loud(result)) == {"warning MP356"}
    result = shown_to(exports, "cilium")
    assert "HTTPRoute/users" not in objects(result) and [item.severity for item in result.findings if item.code == "MP371"] == ["error"]


def test_routes_shown_to_all_the_clients_that_there_are_stay_for_cilium() -> None:
    assert "HTTPRoute/users" in objects(shown_to("[shop, web, lab]", "cilium"))


def test_names_of_hosts_are_taken_as_the_mesh_completes_them() -> None:
    """A short name is one of the object's own namespace; a name in full is the same Service."""
    for host in ("users", "users.shop.svc.cluster.local"):
        rule = f"""---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: users, namespace: shop}}
spec: {{hosts: ["{host}"], http: [{{timeout: 2s, retries: {{attempts: 0}}, route: [{{destination: {{host: "{host}"}}}}]}}]}}
"""
        result = convert(namespace() + service() + workload() + rule, "istio", "linkerd")
        assert spec(result, "HTTPRoute/users")["rules"] == read("[{backendRefs: [{name: users, port: 80}], timeouts: {request: 2s}}]")
