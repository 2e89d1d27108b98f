"""What leaves the mesh, between Istio and Linkerd: destinations that are named, and what becomes of the rest."""

from __future__ import annotations

from typing import Any

import pytest

import meshport
from meshport.pipeline import Result

MESH = {"istio": "labels: {istio-injection: enabled}", "linkerd": "annotations: {linkerd.io/inject: enabled}"}
CLOSED = """---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
"""


def namespace(name: str = "shop", mesh: str = "istio") -> str:
    return f"""---
apiVersion: v1
kind: Namespace
metadata: {{name: {name}, {MESH[mesh]}}}
"""


def workload(name: str, namespace: str = "shop") -> str:
    return f"""---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: app, image: "app:1"}}]}}
"""


def entry(body: str, name: str = "api", namespace: str = "shop") -> str:
    return f"""---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{{body}}}
"""


def network(policy: str, name: str = "egress", namespace: str = "shop", more: str = "") -> str:
    return f"""---
apiVersion: policy.linkerd.io/v1alpha1
kind: EgressNetwork
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{trafficPolicy: {policy}{more}}}
"""


def route(kind: str, port: int, hosts: str = "", on: str = "egress", rules: str = "[{}]", name: str = "api") -> str:
    version = "v1" if kind in ("HTTPRoute", "GRPCRoute") else "v1alpha2"
    parent = f"{{group: policy.linkerd.io, kind: EgressNetwork, name: {on}, port: {port}}}"
    named = f"hostnames: [{hosts}], " if hosts else ""
    return f"""---
apiVersion: gateway.networking.k8s.io/{version}
kind: {kind}
metadata: {{name: {name}, namespace: shop}}
spec: {{parentRefs: [{parent}], {named}rules: {rules}}}
"""


def convert(text: str, source: str = "istio", **choices: Any) -> Result:
    target = "linkerd" if source == "istio" else "istio"
    return meshport.convert(meshport.load_text(text), source=source, target=target, **choices)


def specs(result: Result) -> dict[str, Any]:
    made = (item.object for item in result.manifests if item.object["kind"] not in ("Namespace", "Deployment", "Service"))
    return {f"{obj['kind']}/{obj['metadata']['namespace']}/{obj['metadata']['name']}": obj["spec"] for obj in made}


def codes(result: Result, *severities: str) -> list[str]:
    return sorted({item.code for item in result.findings if item.severity in (severities or ("error", "warning"))})


def whole(result: Result) -> bool:
    """Nothing unaccounted, every difference explained, no defect."""
    answered = all(change.findings for change in result.diff)
    return answered and not result.ledger.counts["unaccounted"] and not {"MP900", "MP901", "MP902"} & set(codes(result))


# -- Istio to Linkerd


def test_a_host_of_a_closed_namespace_is_a_route_on_a_network_that_denies() -> None:
    result = convert(
        namespace() + CLOSED + entry("hosts: [api.example.com], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS")
    )
    parent = {"group": "policy.linkerd.io", "kind": "EgressNetwork", "name": "egress", "port": 443}
    assert specs(result) == {
        "EgressNetwork/shop/egress": {"trafficPolicy": "Deny"},
        "TLSRoute/shop/api-443": {
            "parentRefs": [parent],
            "hostnames": ["api.example.com"],
            "rules": [{"backendRefs": [parent]}],
        },
    }
    assert codes(result) == ["MP712"]
    assert whole(result)


@pytest.mark.parametrize(
    ("protocol", "kind"), [("HTTP", "HTTPRoute"), ("HTTP2", "HTTPRoute"), ("GRPC", "GRPCRoute"), ("HTTPS", "TLSRoute"), ("TLS", "TLSRoute")]
)
def test_the_protocol_decides_on_the_kind_of_route(protocol: str, kind: str) -> None:
    result = convert(namespace() + CLOSED + entry(f"hosts: [api.example.com], ports: [{{number: 8443, name: a, protocol: {protocol}}}]"))
    assert f"{kind}/shop/api-8443" in specs(result)
    assert whole(result)


def test_an_empty_outbound_policy_is_registry_only() -> None:
    text = namespace() + CLOSED.replace("{mode: REGISTRY_ONLY}", "{}")
    assert specs(convert(text)) == {"EgressNetwork/shop/egress": {"trafficPolicy": "Deny"}}


def test_where_everything_may_leave_nothing_is_refused() -> None:
    result = convert(namespace() + entry("hosts: [api.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE"))
    assert specs(result)["EgressNetwork/shop/egress"] == {"trafficPolicy": "Allow"}
    assert specs(result)["HTTPRoute/shop/api-80"]["hostnames"] == ["api.example.com"]
    assert codes(result) == []
    assert whole(result)


def test_a_sidecar_that_only_limits_what_proxies_are_told_says_nothing() -> None:
    text = namespace() + CLOSED.replace("outboundTrafficPolicy: {mode: REGISTRY_ONLY}", 'egress: [{hosts: ["./*"]}]')
    result = convert(text)
    assert (specs(result), codes(result)) == ({}, [])
    assert whole(result)


def test_tcp_is_told_by_its_address_in_a_network_of_its_own() -> None:
    body = "hosts: [db.example.com], addresses: [203.0.113.20], ports: [{number: 5432, name: tcp, protocol: TCP}], resolution: NONE"
    made = specs(convert(namespace() + CLOSED + entry(body, "db")))
    assert made["EgressNetwork/shop/db"] == {"trafficPolicy": "Deny", "networks": [{"cidr": "203.0.113.20/32"}]}
    assert made["TCPRoute/shop/db-5432"]["parentRefs"][0]["name"] == "db"


def test_tcp_without_an_address_stays_refused() -> None:
    result = convert(
        namespace() + CLOSED + entry("hosts: [db.example.com], ports: [{number: 5432, name: tcp, protocol: TCP}], resolution: DNS")
    )
    assert specs(result) == {"EgressNetwork/shop/egress": {"trafficPolicy": "Deny"}}
    found = next(item for item in result.findings if item.code == "MP713")
    assert (found.severity, found.effect) == ("error", "narrows")
    assert whole(result)


def test_private_addresses_are_none_that_linkerd_could_refuse() -> None:
    body = "hosts: [db.lan], addresses: [10.20.0.5], ports: [{number: 5432, name: tcp, protocol: TCP}], resolution: NONE"
    result = convert(namespace() + CLOSED + entry(body))
    assert specs(result) == {"EgressNetwork/shop/egress": {"trafficPolicy": "Deny"}}
    assert codes(result) == ["MP712", "MP729"]
    assert whole(result)


def test_one_port_takes_one_kind_of_route() -> None:
    result = convert(
        namespace()
        + CLOSED
        + entry("hosts: [plain.example.com], ports: [{number: 8443, name: http, protocol: HTTP}]", "plain")
        + entry("hosts: [rpc.example.com], ports: [{number: 8443, name: grpc, protocol: GRPC}]", "rpc")
        + entry("hosts: [tls.example.com], ports: [{number: 8443, name: tls, protocol: TLS}]", "tls")
    )
    assert sorted(specs(result)) == ["EgressNetwork/shop/egress", "HTTPRoute/shop/plain-8443", "HTTPRoute/shop/rpc-8443"]
    assert codes(result, "error") == ["MP714"]
    assert whole(result)


def test_what_is_shown_to_one_namespace_is_opened_in_that_one() -> None:
    closed = CLOSED + CLOSED.replace("namespace: shop", "namespace: lab")
    hidden = entry("hosts: [api.example.com], ports: [{number: 443, name: tls, protocol: TLS}], exportTo: [.]")
    shown = entry("hosts: [all.example.com], ports: [{number: 443, name: tls, protocol: TLS}]", "all")
    result = convert(namespace() + namespace("lab") + closed + hidden + shown)
    routes = sorted(name for name in specs(result) if name.startswith("TLSRoute"))
    assert routes == ["TLSRoute/lab/shop-all-443", "TLSRoute/shop/all-443", "TLSRoute/shop/api-443"]
    assert whole(result)


@pytest.mark.parametrize(
    ("ports", "called"),
    [("", "irrelevant"), (", ports: [{number: 99, name: udp, protocol: UDP}]", "irrelevant"), (", ports: [{number: 99, name: tcp, protocol: TCP}]", "dropped")],
)  # fmt: skip
def test_who_sees_a_destination_without_a_route_is_accounted_for(ports: str, called: str) -> None:
    closed = CLOSED + CLOSED.replace("namespace: shop", "namespace: lab")
    result = convert(namespace() + namespace("lab") + closed + entry(f"hosts: [api.example.com], resolution: DNS, exportTo: [.]{ports}"))
    (line,) = [item for item in result.ledger if item.path.startswith("spec.exportTo")]
    assert line.disposition == called and line.codes == (["MP713"] if called == "dropped" else [])
    assert whole(result)


def test_hosts_that_a_closed_proxy_is_not_told_about_stay_refused() -> None:
    closed = CLOSED.replace("{outbound", '{egress: [{hosts: ["./*"]}], outbound')
    elsewhere = entry("hosts: [api.example.com], ports: [{number: 443, name: tls, protocol: TLS}]", namespace="lab")
    result = convert(namespace() + namespace("lab") + closed + elsewhere)
    assert [name for name in specs(result) if "/shop/" in name] == ["EgressNetwork/shop/egress"]
    assert "MP719" in codes(result)
    assert whole(result)


def test_control_for_some_workloads_holds_for_the_namespace_unless_looser_is_asked_for() -> None:
    chosen = CLOSED.replace("{outbound", "{workloadSelector: {labels: {app: web}}, outbound")
    text = namespace() + workload("web") + workload("job") + chosen
    strict, loose = convert(text), convert(text, on_loss="looser")
    assert specs(strict)["EgressNetwork/shop/egress"] == {"trafficPolicy": "Deny"}
    assert specs(loose)["EgressNetwork/shop/egress"] == {"trafficPolicy": "Allow"}
    effects = [item.effect for result in (strict, loose) for item in result.findings if item.code == "MP718"]
    assert effects == ["narrows", "widens"]
    assert whole(strict)
    assert whole(loose)


def test_the_mesh_wide_default_is_written_for_each_namespace_that_is_known() -> None:
    text = namespace() + namespace("lab") + CLOSED.replace("namespace: shop", "namespace: istio-system")
    result = convert(text)
    assert specs(result) == {f"EgressNetwork/{name}/egress": {"trafficPolicy": "Deny"} for name in ("lab", "shop")}
    assert "MP724" in codes(result)
    assert whole(result)


def test_ambient_does_not_read_sidecars() -> None:
    text = namespace().replace("istio-injection: enabled", "istio.io/dataplane-mode: ambient") + CLOSED
    result = convert(text)
    assert specs(result) == {}
    assert whole(result)


def test_endpoints_and_ports_that_istio_sends_to_instead_are_named() -> None:
    body = (
        "hosts: [api.example.com], ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}], resolution: STATIC,"
        " endpoints: [{address: 198.51.100.7}]"
    )
    result = convert(namespace() + entry(body))
    assert codes(result, "error") == ["MP727", "MP753"]
    assert whole(result)


def test_linkerd_before_2_17_has_no_egress_control() -> None:
    result = convert(
        namespace() + CLOSED + entry("hosts: [api.example.com], ports: [{number: 443, name: tls, protocol: TLS}]"), target_version="2.16"
    )
    assert specs(result) == {}
    found = next(item for item in result.findings if item.code == "MP760" and item.severity == "error")
    assert found.effect == "widens"
    assert whole(result)


# -- Linkerd to Istio


def test_a_network_that_denies_is_registry_only_and_its_routes_are_entries() -> None:
    text = (
        namespace(mesh="linkerd")
        + network("Deny")
        + route("TLSRoute", 443, "api.example.com")
        + route("HTTPRoute", 80, '"*.example.org"', name="org")
    )
    made = specs(convert(text, "linkerd"))
    assert made["Sidecar/shop/default"] == {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
    assert made["ServiceEntry/shop/api"] == {
        "hosts": ["api.example.com"],
        "exportTo": ["."],
        "location": "MESH_EXTERNAL",
        "resolution": "DNS",
        "ports": [{"number": 443, "name": "tls-443", "protocol": "TLS"}],
    }
    assert made["ServiceEntry/shop/org"]["resolution"] == "NONE"  # no DNS name to resolve


def test_a_tcp_route_on_a_network_of_single_addresses_is_an_entry_of_these_addresses() -> None:
    text = namespace(mesh="linkerd") + network("Deny") + network("Deny", "db", more=", networks: [{cidr: 203.0.113.20/32}]")
    backend = "[{backendRefs: [{group: policy.linkerd.io, kind: EgressNetwork, name: db}]}]"
    result = convert(text + route("TCPRoute", 5432, on="db", rules=backend, name="db"), "linkerd")
    made = specs(result)["ServiceEntry/shop/db"]
    assert (made["addresses"], made["resolution"]) == (["203.0.113.20/32"], "NONE")
    assert codes(result) == []
    assert whole(result)


def test_the_global_network_is_the_default_of_the_mesh() -> None:
    text = namespace(mesh="linkerd") + network("Deny", namespace="linkerd-egress")
    result = convert(text, "linkerd")
    assert specs(result) == {"Sidecar/istio-system/default": {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}}
    assert whole(result)


def test_ambient_restricts_nothing_that_leaves() -> None:
    result = convert(namespace(mesh="linkerd") + network("Deny"), "linkerd", data_plane="ambient")
    assert [name for name in specs(result) if name.startswith("Sidecar")] == []
    found = next(item for item in result.findings if item.code == "MP760")
    assert (found.severity, found.effect) == ("error", "widens")
    assert whole(result)


def test_a_route_with_conditions_is_a_virtual_service_for_the_host() -> None:
    text = namespace(mesh="linkerd") + network("Deny") + route("HTTPRoute", 80, "api.example.com", rules="[{matches: [{method: GET}]}]")
    result = convert(text, "linkerd")
    assert list(specs(result)) == ["Sidecar/shop/default", "ServiceEntry/shop/api", "VirtualService/shop/api"]
    (rule,) = specs(result)["VirtualService/shop/api"]["http"]
    assert rule["match"] == [{"method": {"exact": "GET"}}]  # what no rule takes is answered 404
    assert codes(result, "error") == []
    assert whole(result)


def test_a_route_without_a_host_is_left_out_and_stays_refused() -> None:
    text = namespace(mesh="linkerd") + network("Deny") + route("HTTPRoute", 80, rules="[{matches: [{method: GET}]}]")
    result = convert(text, "linkerd")
    assert list(specs(result)) == ["Sidecar/shop/default"]
    assert codes(result, "error") == ["MP720"]
    assert whole(result)


def test_a_network_that_alone_is_denied_closes_the_namespace_and_says_so() -> None:
    text = namespace(mesh="linkerd") + network("Deny", more=", networks: [{cidr: 198.51.100.0/24}]")
    result = convert(text, "linkerd")
    assert specs(result) == {"Sidecar/shop/default": {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}}
    assert codes(result, "error") == ["MP721"]
    assert whole(result)


def test_a_route_without_its_network_is_named() -> None:
    result = convert(namespace(mesh="linkerd") + route("HTTPRoute", 80, "api.example.com"), "linkerd")
    assert specs(result) == {}
    assert codes(result, "error") == ["MP728"]
    assert whole(result)


@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_a_route_that_names_no_port_opens_nothing_of_a_closed_network(target: str) -> None:
    """Linkerd's admission refuses the route, so what was written without it reads back as what was meant."""
    opens = route("HTTPRoute", 80, "api.example.com").replace(", port: 80", "")
    text = namespace(mesh="linkerd") + workload("web") + network("Deny") + opens
    result = meshport.convert(meshport.load_text(text), source="linkerd", target=target)
    assert "MP072" in codes(result, "error") and whole(result)
    assert "api.example.com" not in str(specs(result))


def test_what_a_route_sends_to_another_network_than_its_own_fails_as_before() -> None:
    rules = "[{matches: [{method: GET}], backendRefs: [{group: policy.linkerd.io, kind: EgressNetwork, name: other}]}]"
    text = namespace(mesh="linkerd") + workload("web") + network("Allow") + network("Allow", name="other")
    result = convert(text + route("HTTPRoute", 80, "api.example.com", rules=rules), "linkerd")
    (sent,) = [one for name, one in specs(result).items() if name.startswith("VirtualService/")]
    assert sent["http"][0]["route"][0]["destination"]["host"] == "other-refused.shop.svc.cluster.local"
    assert "MP344" in codes(result, "warning") and whole(result)


def test_rules_for_a_host_that_one_namespace_sees_stand_in_that_one() -> None:
    rule = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api, namespace: shop}
spec:
  hosts: [api.example.com]
  exportTo: ["."]
  http: [{timeout: 2s, retries: {attempts: 0}, route: [{destination: {host: api.example.com, port: {number: 80}}}]}]
"""
    seen = entry("hosts: [api.example.com], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]")
    result = convert(namespace() + namespace("lab") + seen + rule)
    timed = [
        item.object for item in result.manifests if item.object["kind"] == "HTTPRoute" and "timeouts" in item.object["spec"]["rules"][0]
    ]
    assert [item["metadata"]["namespace"] for item in timed] == ["shop"]
    assert "MP356" not in codes(result)


@pytest.mark.parametrize("source", ["istio", "linkerd"])
def test_there_and_back_again_the_same_may_leave(source: str) -> None:
    text = namespace(mesh=source)
    if source == "istio":
        text += CLOSED + entry("hosts: [api.example.com], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS, exportTo: [.]")
    else:
        text += network("Deny") + route("TLSRoute", 443, "api.example.com")
    there = convert(text, source)
    other = "linkerd" if source == "istio" else "istio"
    back = meshport.convert(meshport.load_objects([item.object for item in there.manifests]), source=other, target=source)
    old = meshport.load_text(text)
    changed = meshport.diff(old, meshport.load_objects([item.object for item in back.manifests]), old_mesh=source, new_mesh=source)
    assert [change.subject for change in changed if change.subject.startswith("egress")] == []


def test_networks_that_are_denied_close_the_way_out_in_cilium_too_and_never_leave_it_open() -> None:
    text = namespace(mesh="linkerd") + workload("web") + network("Deny", more=", networks: [{cidr: 198.51.100.0/24}]")
    result = meshport.convert(meshport.load_text(text), source="linkerd", target="cilium")
    assert "CiliumNetworkPolicy/shop/egress" in specs(result)
    found = next(item for item in result.findings if item.code == "MP721")
    assert (found.severity, found.effect) == ("error", "narrows") and "Istio" not in found.message
    assert not [item for item in result.findings if item.code in ("MP900", "MP901")]


@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_all_networks_but_the_clusters_own_are_as_good_as_every_network(target: str) -> None:
    text = namespace(mesh="linkerd") + workload("web") + network("Deny", more=", networks: [{cidr: 0.0.0.0/0, except: [10.0.0.0/8]}]")
    result = meshport.convert(meshport.load_text(text), source="linkerd", target=target)
    assert [item.severity for item in result.findings if item.code == "MP721"] == ["warning"]


def test_pods_outside_the_mesh_keep_their_way_out() -> None:
    outside = workload("batch").replace("{labels: {app: batch}}", '{labels: {app: batch, sidecar.istio.io/inject: "false"}}')
    result = meshport.convert(meshport.load_text(namespace() + CLOSED + workload("web") + outside), source="istio", target="cilium")
    policy = specs(result)["CiliumNetworkPolicy/shop/egress"]
    assert policy["endpointSelector"] == {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["batch"]}]}
    assert not [item for item in result.findings if item.code in ("MP720", "MP900", "MP901")]


def test_pods_outside_the_mesh_that_no_label_tells_apart_are_named() -> None:
    outside = (
        workload("web")
        .replace("name: web,", "name: batch,")
        .replace("{labels: {app: web}}", "{labels: {app: web}, annotations: {sidecar.istio.io/inject: 'false'}}")
    )
    result = meshport.convert(meshport.load_text(namespace() + CLOSED + workload("web") + outside), source="istio", target="cilium")
    found = [item for item in result.findings if item.code == "MP720"]
    assert [(item.affects[0].workload, item.effect) for item in found] == [("batch", "narrows")]
    assert not [item for item in result.findings if item.code in ("MP900", "MP901")]


def test_what_a_namespace_opens_is_open_in_no_other() -> None:
    """Ports of every address too, which have no name that would be looked up."""
    two = namespace(mesh="linkerd") + workload("web") + namespace("ops", "linkerd") + workload("runner", "ops")
    text = two + network("Deny") + network("Deny", namespace="ops") + route("TCPRoute", 5432)
    result = meshport.convert(meshport.load_text(text), source="linkerd", target="cilium")
    written = specs(result)
    assert "5432" in str(written["CiliumNetworkPolicy/shop/egress"])
    assert "5432" not in str(written["CiliumNetworkPolicy/ops/egress"])
    assert not [item for item in result.findings if item.code in ("MP900", "MP901")]


@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_a_namespace_with_an_egress_network_of_its_own_does_not_ask_the_meshs(target: str) -> None:
    """https://linkerd.io/2-edge/reference/egress-network/: a network in the namespace of the client goes before the global ones."""
    two = namespace(mesh="linkerd") + workload("web") + namespace("ops", "linkerd") + workload("runner", "ops")
    whole = network("Deny", namespace="linkerd-egress") + route("HTTPRoute", 80, "bin.test").replace(
        "namespace: shop", "namespace: linkerd-egress"
    )
    result = meshport.convert(meshport.load_text(two + whole + network("Deny")), source="linkerd", target=target)
    written = specs(result)
    if target == "cilium":
        assert "bin.test" in str(written["CiliumNetworkPolicy/ops/egress"])
        assert "bin.test" not in str(written["CiliumNetworkPolicy/shop/egress"])
    else:
        assert written["ServiceEntry/istio-system/api"]["exportTo"] == ["ops"]
    assert not [item for item in result.findings if item.code in ("MP900", "MP901")]
    every = meshport.convert(
        meshport.load_text(two + whole + network("Deny") + network("Deny", namespace="ops")), source="linkerd", target=target
    )
    assert "bin.test" not in str(specs(every))
    line = next(item for item in every.ledger if item.path == "spec.hostnames[0]")
    assert line.disposition == "dropped" and line.codes
    places = [item for item in result.ledger if item.path == "metadata.namespace" and item.value == "shop" and item.document == 6]
    assert [item.disposition for item in places] == ["translated"]  # it takes the namespace out of those that ask the mesh's


def test_a_route_that_no_cluster_takes_opens_nothing_and_is_no_difference() -> None:
    portless = route("TLSRoute", 443, "bin.test").replace(", port: 443", "")
    result = meshport.convert(
        meshport.load_text(namespace(mesh="linkerd") + workload("web") + network("Deny") + portless), source="linkerd", target="istio"
    )
    assert [item.disposition for item in result.findings if item.code == "MP072"] == ["invalid"]
    assert not [item for item in result.findings if item.code in ("MP900", "MP901")]


def test_a_namespace_that_lets_networks_through_is_not_closed_by_the_rest_of_the_mesh() -> None:
    text = namespace(mesh="linkerd") + workload("web") + network("Deny", namespace="linkerd-egress")
    own = network("Allow", more=", networks: [{cidr: 0.0.0.0/0}]")
    result = meshport.convert(meshport.load_text(text + own), source="linkerd", target="istio")
    modes = {name: spec["outboundTrafficPolicy"]["mode"] for name, spec in specs(result).items() if name.startswith("Sidecar")}
    assert modes == {"Sidecar/istio-system/default": "REGISTRY_ONLY", "Sidecar/shop/default": "ALLOW_ANY"}
    assert not [item for item in result.findings if item.code in ("MP900", "MP901")]


@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_a_host_that_is_open_in_one_network_alone_is_not_opened_everywhere(target: str) -> None:
    here = network("Deny", "here", more=", networks: [{cidr: 203.0.113.0/24}]")
    ways = route("HTTPRoute", 80, "api.example.com", on="here") + route("TLSRoute", 443, "pay.example.com", on="here", name="pay")
    source = namespace(mesh="linkerd") + workload("web") + here + ways
    result, looser, alone = (
        meshport.convert(meshport.load_text(text), source="linkerd", target=target, on_loss=loss)
        for text, loss in ((source + network("Deny"), "stricter"), (source + network("Deny"), "looser"), (source, "stricter"))
    )
    assert "example.com" not in str(specs(result))
    for one, code, effect in ((result, "MP720", "narrows"), (looser, "MP760", "widens")):
        told = [(item.severity, item.effect) for item in one.findings if item.code == code]
        assert told == [("error", effect)] * 2 and whole(one)
    assert "api.example.com" in str(specs(alone))  # everything else might leave: nothing that was refused is opened
    assert "MP720" not in codes(alone) and whole(alone)


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ("", True),
        ("---\n{apiVersion: install.istio.io/v1alpha1, kind: IstioOperator, metadata: {name: i}, spec: {meshConfig: {accessLogFile: /dev/stdout}}}\n", False),
        (CLOSED, False),
    ],
)  # fmt: skip
def test_what_else_may_leave_is_said_to_be_unknown_where_no_mesh_configuration_is_there(target: str, beside: str, said: bool) -> None:
    """Entries onto Cilium came to nothing, and nothing said that REGISTRY_ONLY may be set."""
    body = "hosts: [api.example.com], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}]"
    text = namespace() + workload("web") + entry(body) + beside
    result = meshport.convert(meshport.load_text(text), source="istio", target=target)
    found = [finding for finding in result.findings if finding.code == "MP748"]
    assert [(finding.severity, "ServiceEntry shop/api" in finding.message) for finding in found] == ([("info", True)] if said else [])


@pytest.mark.parametrize("host", ["api.example.com.", "API.Example.com"])
def test_a_name_is_the_same_in_capitals_and_with_the_dot_that_may_end_it(host: str) -> None:
    """The one with a dot read back as another name (MP900)."""
    body = f"hosts: [{host}], location: MESH_EXTERNAL, resolution: DNS, ports: [{{number: 443, name: tls, protocol: TLS}}]"
    text = namespace() + workload("web") + CLOSED + entry(body)
    there = meshport.convert(meshport.load_text(text), source="istio", target="linkerd")
    assert "MP900" not in {finding.code for finding in there.findings}
    (found,) = [item.object["spec"]["hostnames"] for item in there.manifests if item.object["kind"] == "TLSRoute"]
    assert found == ["api.example.com"]
    cilium = meshport.convert(meshport.load_text(text), source="istio", target="cilium")
    (policy,) = [item.object["spec"] for item in cilium.manifests if item.object["kind"] == "CiliumNetworkPolicy"]
    assert [{"matchName": "api.example.com"}] in [rule.get("toFQDNs") for rule in policy["egress"]]
