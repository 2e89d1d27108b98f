"""Values that looked as if they decided, and values of which it was said that they decide nothing: what their lines say now, and what another value does."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from judge.generate import random_linkerd_bundle

import meshport
from meshport.pipeline import Result

from .test_ledger_called import LINKERD, SERVER, linkerd
from .test_ledger_lines import MESHED, PLAIN, converted, istio, line, output, pods, service

ROUTE = "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop{more}}}\nspec: {spec}\n"


def gateway_api(kind: str, name: str, spec: str, more: str = "") -> str:
    return "---\n" + ROUTE.format(kind=kind, name=name, spec=spec, more=more)


def cilium(name: str, spec: str) -> str:
    return f"---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"


def _security(result: Result) -> list[Any]:
    return [item.object for item in result.manifests if item.object["kind"].endswith("Policy")]


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_which_revision_serves_a_namespace_is_lost_and_that_one_does_is_not(target: str) -> None:
    text = PLAIN.replace("name: shop", "name: shop, labels: {istio.io/rev: 1-26-1}") + pods() + service()
    before = converted(text, target)
    found = line(before, 0, 'metadata.labels["istio.io/rev"]')
    assert found.disposition == "dropped"
    assert "MP955" in found.codes
    assert output(converted(text.replace("1-26-1", "canary"), target)) == output(before)
    assert output(converted(text.replace("labels: {istio.io/rev: 1-26-1}", "labels: {}"), target)) != output(before)


def test_one_finding_speaks_of_a_revision_whatever_namespaces_have_it() -> None:
    marked = "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{istio.io/rev: stable}}}}\n"
    result = converted("".join(marked.format(name=name) for name in ("shop", "pay")), "linkerd")
    found = [item for item in result.findings if item.code == "MP955"]
    assert [[one.namespace for one in item.affects] for item in found] == [["pay", "shop"]]


@pytest.mark.parametrize(("target", "decides"), [("cilium", True), ("istio", False)])
def test_taking_every_port_decides_where_a_list_would_leave_ports_out(target: str, decides: bool) -> None:
    """Ztunnel lets no port past, whatever is said."""
    mark = "traffic.sidecar.istio.io/includeInboundPorts"
    options: dict[str, Any] = {"data_plane": "ambient"} if target == "istio" else {}
    text = (
        MESHED
        + pods(notes=f"{{{mark}: '*'}}")
        + service()
        + istio("PeerAuthentication", "default", "{mtls: {mode: STRICT}}")
        + istio("AuthorizationPolicy", "closed", "{}")
    )
    before = converted(text, target, **options)
    assert line(before, 1, f'spec.template.metadata.annotations["{mark}"]').disposition == ("translated" if decides else "irrelevant")
    after = converted(text.replace("'*'", "'9090'"), target, **options)
    assert (_security(after) != _security(before)) is decides


def test_the_waypoint_that_makes_routes_act_decides_where_policies_stay() -> None:
    use = ", labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: way}"
    text = MESHED.replace(", labels: {istio-injection: enabled}", use) + pods() + service()
    text += gateway_api(
        "Gateway", "way", "{gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}",
        ", labels: {istio.io/waypoint-for: service}",
    )  # fmt: skip
    text += istio("VirtualService", "web", "{hosts: [web], http: [{timeout: 3s, route: [{destination: {host: web}}]}]}")
    before = converted(text, "gateway-api")
    assert line(before, 0, 'metadata.labels["istio.io/use-waypoint"]').disposition == "translated"
    assert output(converted(text.replace("use-waypoint: way", "use-waypoint: none"), "gateway-api")) != output(before)


@pytest.mark.parametrize(("ports", "code"), [("", "MP374"), ("{name: http, port: 80}, {name: more, port: 81}", "MP373")])
def test_the_port_of_a_parent_that_cilium_does_not_read_is_lost(ports: str, code: str) -> None:
    spec = "{parentRefs: [{group: '', kind: Service, name: web, port: 80}], rules: [{backendRefs: [{name: web, port: 80}]}]}"
    text = PLAIN + pods() + (service(ports=ports) if ports else "") + gateway_api("HTTPRoute", "web", spec)
    found = line(converted(text, "cilium", "gateway-api"), 3 if ports else 2, "spec.parentRefs[0].port")
    assert (found.disposition, found.codes) == ("dropped", [code])


def test_the_listener_that_a_service_is_given_to_decides() -> None:
    limited = istio("DestinationRule", "web", "{host: web, trafficPolicy: {connectionPool: {tcp: {maxConnections: 9}}}}")
    made = converted(MESHED + pods() + service() + limited, "cilium").manifests
    config: Any = next(item.object for item in made if item.object["kind"] == "CiliumEnvoyConfig")
    name = next(one["name"] for one in config["spec"]["resources"] if one["@type"].endswith("Listener"))
    config["spec"]["services"][0]["listener"] = name
    before = converted(f"{PLAIN}{pods()}{service()}---\n{yaml.safe_dump(config)}", "istio", "cilium")
    assert line(before, 3, "spec.services[0].listener").disposition == "translated"
    config["spec"]["services"][0]["listener"] = "none"
    assert output(converted(f"{PLAIN}{pods()}{service()}---\n{yaml.safe_dump(config)}", "istio", "cilium")) != output(before)


ONLY_CART = "{selector: {matchLabels: {app: web}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/cart]}}]}]}"


def test_a_name_inside_a_longer_word_refers_to_nothing() -> None:
    """The filter's own name ends in that of the object."""
    body = """
  workloadSelector: {labels: {app: web}}
  configPatches:
  - applyTo: HTTP_FILTER
    match: {context: SIDECAR_INBOUND, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.local_ratelimit
        typed_config:
          "@type": type.googleapis.com/udpa.type.v1.TypedStruct
          type_url: type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
          value:
            stat_prefix: limited
            token_bucket: {max_tokens: 100, tokens_per_fill: 100, fill_interval: 1s}
            filter_enabled: {default_value: {numerator: 100, denominator: HUNDRED}}
            filter_enforced: {default_value: {numerator: 100, denominator: HUNDRED}}
"""
    text = MESHED + pods() + service() + istio("AuthorizationPolicy", "web", ONLY_CART)
    text += istio("EnvoyFilter", "ratelimit", body).replace("security.istio.io/v1", "networking.istio.io/v1alpha3")
    before = converted(text, "linkerd")
    assert [item.object["kind"] for item in before.manifests if item.object["kind"] == "HTTPLocalRateLimitPolicy"]
    assert line(before, 4, "metadata.name").disposition == "irrelevant"
    assert output(converted(text.replace("name: ratelimit,", "name: other,"), "linkerd")) == output(before)


CLOSED = cilium("closed", "{endpointSelector: {}, ingress: [{}]}")
WIDE = cilium("all", "{endpointSelector: {matchLabels: {app: web}}, ingress: [{fromEntities: [cluster]}]}")
NARROW = cilium("one", "{endpointSelector: {matchLabels: {app: web}}, ingress: [{fromEndpoints: [{matchLabels: {app: cart}}], toPorts: [{ports: [{port: http, protocol: TCP}]}]}]}")  # fmt: skip


def test_what_a_wider_grant_holds_is_no_reason_for_the_default() -> None:
    text = PLAIN + pods() + pods("cart") + service() + CLOSED + WIDE + NARROW
    before = converted(text, "linkerd", "cilium", keep_network_policy=False)
    for path in (
        "spec.endpointSelector.matchLabels.app",
        "spec.ingress[0].fromEndpoints[0].matchLabels.app",
        "spec.ingress[0].toPorts[0].ports[0].port",
    ):
        found = line(before, 6, path)
        assert (found.disposition, found.codes) == ("dropped", ["MP200"]), path
    assert output(converted(text.replace("port: http,", "port: other,"), "linkerd", "cilium", keep_network_policy=False)) == output(before)


FRAME = {"metadata.name", "metadata.namespace", "spec.action", "spec"}


@pytest.mark.parametrize("seed", [1, 8, 9])
@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_what_a_rule_asks_for_reaches_more_than_the_name_of_a_policy(seed: int, target: str) -> None:
    """What is written would be called the same without it."""
    objects = random_linkerd_bundle(seed)
    result = meshport.convert(meshport.load_objects(objects), source="linkerd", target=target, verify=False)
    asked = [item for item in result.ledger if item.path.startswith("spec.rules[") and item.outputs and item.disposition == "translated"]
    assert [
        (objects[item.document]["metadata"]["name"], item.path) for item in asked if {one["path"] for one in item.outputs} <= FRAME
    ] == []


@pytest.mark.parametrize(
    ("operation", "void"),
    [("{ports: ['7000'], notPorts: ['8080']}", "notPorts[0]"), ("{paths: ['/admin/*'], notPaths: [/charge]}", "notPaths[0]")],
)
@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_an_exception_from_what_a_rule_does_not_take_adds_nothing(operation: str, void: str, target: str) -> None:
    rules = f"rules: [{{to: [{{operation: {operation}}}]}}]"
    text = MESHED + pods(ports="{containerPort: 7000}, {name: http, containerPort: 8080}") + service()
    text += istio("AuthorizationPolicy", "web", f"{{selector: {{matchLabels: {{app: web}}}}, {rules}}}")
    found = line(converted(text, target), 3, f"spec.rules[0].to[0].operation.{void}")
    assert (found.disposition, found.codes) == ("dropped", ["MP200"])


def test_a_protocol_decides_nothing_where_linkerd_follows_none_of_the_routes() -> None:
    filtered = "{parentRefs: [{group: policy.linkerd.io, kind: Server, name: web, port: 8080}], rules: [{}]}"
    route = linkerd("HTTPRoute", "web", filtered, api="policy.linkerd.io/v1beta3")
    before = converted(LINKERD + pods() + service() + SERVER + route, "cilium", "linkerd")
    assert line(before, 4, "spec.parentRefs[0].port").codes == ["MP222"]
    assert line(before, 3, "spec.proxyProtocol").disposition == "irrelevant"
    assert output(converted(LINKERD + pods() + service() + SERVER.replace("HTTP/1", "opaque") + route, "cilium", "linkerd")) == output(
        before
    )


@pytest.mark.parametrize(("seen", "decides"), [("", False), (", egress: [{hosts: ['./*']}]", True)])
def test_the_namespace_of_what_may_leave_decides_where_clients_see_their_own_alone(seen: str, decides: bool) -> None:
    closed = istio("Sidecar", "default", f"{{outboundTrafficPolicy: {{mode: REGISTRY_ONLY}}{seen}}}").replace("security", "networking")
    entry = istio("ServiceEntry", "bank", "{hosts: [bank.test], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS}")
    text = MESHED + pods() + service() + closed
    before = converted(text + entry, "cilium")
    assert line(before, 4, "metadata.namespace").disposition == ("translated" if decides else "irrelevant")
    moved = converted(text + entry.replace("namespace: shop", "namespace: pay"), "cilium")
    assert (output(moved) != output(before)) is decides


@pytest.mark.parametrize("gateways", ["[istio-system/edge]", "[mesh, istio-system/edge]"])
def test_routes_at_a_gateway_stand_in_the_namespace_of_their_rules(gateways: str) -> None:
    edge = istio("Gateway", "edge", "{selector: {istio: edge}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}", "istio-system")  # fmt: skip
    host = "web.shop.svc.cluster.local"
    rules = istio("VirtualService", "web", f"{{hosts: [{host}], gateways: {gateways}, http: [{{route: [{{destination: {{host: {host}, port: {{number: 80}}}}}}]}}]}}")  # fmt: skip
    text = MESHED + pods() + service() + edge
    before = converted(text + rules, "gateway-api")
    assert line(before, 4, "metadata.namespace").disposition == "translated"
    assert output(converted(text + rules.replace("namespace: shop", "namespace: pay"), "gateway-api")) != output(before)


def test_of_several_modes_that_close_a_namespace_none_is_its_reason() -> None:
    """Pods that the input does not show have the namespace's default, which either of the two makes what it is."""
    modes = [
        istio("PeerAuthentication", name, f"{{selector: {{matchLabels: {{app: {name}}}}}, mtls: {{mode: STRICT}}}}") for name in ("a", "b")
    ]
    before = converted(MESHED + "".join(modes), "linkerd")
    assert line(before, 1, "spec.mtls.mode").disposition in ("dropped", "approximated")
    assert output(converted(MESHED + "".join(modes).replace("STRICT", "PERMISSIVE", 1), "linkerd")) == output(before)


def test_the_ports_of_callers_past_the_waypoint_are_lost_with_them() -> None:
    use = ", labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: way}"
    text = MESHED.replace(", labels: {istio-injection: enabled}", use) + pods() + service(ports="{name: http, port: 8080}")
    text += gateway_api(
        "Gateway", "way", "{gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}",
        ", labels: {istio.io/waypoint-for: service}",
    )  # fmt: skip
    by_name = "rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/cart]}}], to: [{operation: {ports: ['8080']}}]}]"
    text += istio("AuthorizationPolicy", "web", f"{{selector: {{matchLabels: {{app: web}}}}, {by_name}}}")
    found = line(converted(text, "linkerd"), 4, "spec.rules[0].to[0].operation.ports[0]")
    assert (found.disposition, found.codes) == ("dropped", ["MP170"])
