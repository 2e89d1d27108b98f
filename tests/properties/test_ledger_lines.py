"""Lines of the ledger that were false once, by class: what they say now, and that a change of the leaf bears it out."""

from __future__ import annotations

from typing import Any

import pytest

import meshport
from meshport.ledger import Line
from meshport.pipeline import Result

MESHED = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n"
PLAIN = MESHED.replace(", labels: {istio-injection: enabled}", "")


def pods(name: str = "web", ports: str = "{name: http, containerPort: 8080}", labels: str = "", notes: str = "{}") -> str:
    return f"""---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}{labels}}}, annotations: {notes}}}
    spec: {{serviceAccountName: {name}, containers: [{{name: app, image: "app:1", ports: [{ports}]}}]}}
"""


def service(name: str = "web", ports: str = "{name: http, port: 80, targetPort: 8080}") -> str:
    return f"""---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{selector: {{app: {name}}}, ports: [{ports}]}}
"""


def istio(kind: str, name: str, spec: str, namespace: str = "shop") -> str:
    group = "networking" if kind in ("DestinationRule", "ServiceEntry", "VirtualService", "Gateway") else "security"
    return f"---\napiVersion: {group}.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"


def converted(text: str, target: str, source: str = "istio", **options: Any) -> Result:
    result = meshport.convert(meshport.load_text(text), source=source, target=target, verify=False, **options)
    assert not [item.message for item in result.findings if item.code in ("MP900", "MP901", "MP902")]
    return result


def line(result: Result, document: int, path: str) -> Line:
    return next(item for item in result.ledger if item.document == document and item.path == path)


def output(result: Result) -> tuple[list[Any], dict[str, Any]]:
    return [item.object for item in result.manifests], result.install


NO_AUTO_MTLS = istio("IstioOperator", "mesh", "{meshConfig: {enableAutoMtls: false}}").replace(
    "security.istio.io/v1", "install.istio.io/v1alpha1"
)


def test_denies_that_the_default_policy_does_not_fail_without_are_no_reason_for_it() -> None:
    """Nobody has a name where no client sends mutual TLS, so a deny by name takes nobody and the port stays open."""
    closing = istio("AuthorizationPolicy", "nobody", "{}")
    told = istio("DestinationRule", "told", "{host: other.shop.svc.cluster.local, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}")
    by_name = "rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/cart]}}]}]"
    deny = istio("AuthorizationPolicy", "no-cart", f"{{selector: {{matchLabels: {{app: web}}}}, action: DENY, {by_name}}}")
    allow = istio("AuthorizationPolicy", "open", "{selector: {matchLabels: {app: web}}, rules: [{}]}")
    text = MESHED + pods() + service() + service("other") + NO_AUTO_MTLS + told + closing + allow + deny
    before = converted(text, "linkerd")
    found = line(before, 8, "spec.rules[0].from[0].source.principals[0]")
    assert (found.disposition, found.codes) == ("dropped", ["MP200"])
    assert output(converted(text.replace("sa/cart", "sa/pay"), "linkerd")) == output(before)


def test_a_policy_for_the_whole_mesh_installs_its_default_whatever_its_rules_ask() -> None:
    policy = istio("AuthorizationPolicy", "reads", "{rules: [{to: [{operation: {methods: [GET]}}]}]}", "istio-system")
    result = converted(MESHED + pods() + service() + policy, "linkerd")
    setting = result.install["helm_values"]["linkerd-control-plane"]["proxy"]["defaultInboundPolicy"]
    assert setting == "deny"
    told = [entry["path"] for entry in line(result, 3, "spec.rules[0].to[0].operation.methods[0]").outputs]
    assert told  # the method of a route
    assert "proxy.defaultInboundPolicy" not in told


def test_whose_mode_it_is_decides_nothing_where_the_namespace_has_the_same() -> None:
    whole = istio("PeerAuthentication", "default", "{mtls: {mode: STRICT}}")
    own = istio("PeerAuthentication", "cart", "{selector: {matchLabels: {app: cart}}, mtls: {mode: STRICT}}")
    before = converted(MESHED + pods() + service() + whole + own, "linkerd")
    assert line(before, 4, "spec.selector.matchLabels.app").disposition == "dropped"
    after = converted(MESHED + pods() + service() + whole + own.replace("app: cart", "app: web"), "linkerd")
    assert output(after) == output(before)


@pytest.mark.parametrize("target", ["linkerd", "cilium", "istio"])
def test_of_several_marks_one_says_whether_the_mesh_takes_a_pod(target: str) -> None:
    options = {"data_plane": "ambient"} if target == "istio" else {}
    text = MESHED + pods(labels=', sidecar.istio.io/inject: "false", istio.io/rev: default', notes="{sidecar.istio.io/inject: 'true'}")
    result = converted(text, target, **options)
    place = "spec.template.metadata"
    assert line(result, 1, f'{place}.labels["sidecar.istio.io/inject"]').disposition == "translated"
    assert line(result, 1, f'{place}.labels["istio.io/rev"]').disposition == "irrelevant"
    assert line(result, 1, f'{place}.annotations["sidecar.istio.io/inject"]').disposition == "irrelevant"
    assert output(converted(text.replace("istio.io/rev: default", "istio.io/rev: canary"), target, **options)) == output(result)


def test_where_every_pod_is_governed_the_marks_of_what_is_not_in_the_mesh_stay() -> None:
    """Taking them off would restart pods for nothing."""
    text = MESHED + pods(labels=', sidecar.istio.io/inject: "false", istio.io/dataplane-mode: none, istio.io/rev: default')
    result = converted(text, "cilium")
    assert [item.object["kind"] for item in result.manifests] == ["Namespace"]
    for label, said in (
        ("sidecar.istio.io/inject", "translated"),
        ("istio.io/dataplane-mode", "translated"),
        ("istio.io/rev", "irrelevant"),
    ):
        assert line(result, 1, f'spec.template.metadata.labels["{label}"]').disposition == said
    for inside in (text.replace('inject: "false"', 'inject: "true"'), text.replace("mode: none", "mode: ambient")):
        taken = converted(inside, "cilium").manifests
        assert [item.object["kind"] for item in taken] == ["Namespace", "Deployment"]
        assert taken[1].object["spec"]["template"]["metadata"]["labels"] == {"app": "web"}
    apart = converted(text.replace("istio-injection: enabled", "istio-injection: disabled"), "cilium")
    assert apart.manifests == []
    assert line(apart, 0, "metadata.labels.istio-injection").disposition == "translated"


def test_a_telemetry_that_switches_a_log_off_decides_where_the_target_could_write_one() -> None:
    telemetry = "---\napiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: log, namespace: shop}\nspec: {accessLogging: [{disabled: true}]}\n"
    before = converted(MESHED + pods() + telemetry, "linkerd")
    assert line(before, 2, "spec.accessLogging[0].disabled").disposition == "translated"
    assert output(converted(MESHED + pods() + telemetry.replace("true", "false"), "linkerd")) != output(before)
    outside = converted((MESHED + pods() + telemetry).replace("istio-injection: enabled", "istio-injection: disabled"), "linkerd")
    assert line(outside, 2, "spec.accessLogging[0].disabled").disposition == "irrelevant"


def test_a_namespace_that_the_bundle_does_not_have_is_enrolled_because_of_its_name_alone() -> None:
    server = "apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: web, namespace: shop}\n"
    spec = "spec: {podSelector: {matchExpressions: [{key: app, operator: In, values: [web, cart]}]}, port: 8080, accessPolicy: all-unauthenticated}\n"
    result = converted(server + spec, "istio", "linkerd")
    assert "kubectl label namespace shop istio-injection=enabled --overwrite" in result.install["commands"]
    assert line(result, 0, "spec.podSelector.matchExpressions[0].values[1]").disposition != "installed"
    assert output(converted(server + spec.replace("cart", "pay"), "istio", "linkerd"))[1] == output(result)[1]


def test_opaque_ports_of_a_service_decide_nothing_where_its_namespace_is_not_in_the_mesh() -> None:
    home = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {linkerd.io/inject: disabled}}\n"
    marked = service().replace("name: web,", "name: web, annotations: {config.linkerd.io/opaque-ports: '80'},")
    before = converted(home + marked, "istio", "linkerd")
    place = 'metadata.annotations["config.linkerd.io/opaque-ports"]'
    assert line(before, 1, place).disposition == "irrelevant"
    assert output(converted(home + marked.replace("'80'", "'8080'"), "istio", "linkerd")) == output(before)
    assert line(converted(home.replace("disabled", "enabled") + marked, "istio", "linkerd"), 1, place).disposition == "translated"


def test_what_makes_a_host_one_outside_is_named_where_the_rules_for_it_end() -> None:
    entry = "{hosts: [pay.test], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}"
    rules = "{hosts: [pay.test], http: [{timeout: 3s, route: [{destination: {host: pay.test}}]}]}"
    text = MESHED + istio("ServiceEntry", "pay", entry) + istio("VirtualService", "pay", rules)
    result = converted(text, "cilium")
    for place in ("spec.hosts[0]", "spec.ports[0].protocol"):
        found = line(result, 1, place)
        assert (found.disposition, found.codes) == ("dropped", ["MP392"])
    assert line(result, 1, "spec.ports[0].number").disposition == "irrelevant"
    (finding,) = [item for item in result.findings if item.code == "MP392"]
    assert result.bundle.number(finding.at or min(finding.leaves)) == 2  # it points at the rules


def test_a_pod_chooses_a_revision_where_its_namespace_says_nothing() -> None:
    """The webhook of a revision takes pods with `istio.io/rev` in namespaces without a label of its own."""
    text = PLAIN + pods(labels=", istio.io/rev: stable") + pods("cart")
    found = {item.object["metadata"]["name"]: item.object for item in converted(text, "linkerd").manifests}
    assert found["web"]["spec"]["template"]["metadata"]["annotations"] == {"linkerd.io/inject": "enabled"}
    assert "cart" not in found
    silent = converted(MESHED + pods(labels=", istio.io/rev: stable"), "linkerd")
    assert [item.object["kind"] for item in silent.manifests] == ["Namespace"]


def test_the_hosts_of_a_tcp_listener_decide_nothing() -> None:
    server = "{hosts: [mongo.test], port: {number: 27017, name: mongo, protocol: TCP}}"
    text = MESHED + istio("Gateway", "door", f"{{selector: {{istio: ingressgateway}}, servers: [{server}]}}")
    before = converted(text, "cilium")
    assert line(before, 1, "spec.servers[0].hosts[0]").disposition == "irrelevant"
    assert output(converted(text.replace("mongo.test", "other.test"), "cilium")) == output(before)


def test_what_a_destination_outside_speaks_decides_where_it_needs_no_route() -> None:
    port = "{number: 3306, name: mysql, protocol: MYSQL}"
    text = MESHED + istio("ServiceEntry", "mysql", f"{{hosts: [mysql.test], ports: [{port}], resolution: DNS}}")
    before = converted(text, "linkerd")
    assert line(before, 1, "spec.ports[0].protocol").disposition == "translated"
    assert line(before, 1, "spec.resolution").disposition == "translated"
    assert line(before, 1, "spec.hosts[0]").disposition == "irrelevant"
    assert output(converted(text.replace("protocol: MYSQL", "protocol: GRPC"), "linkerd")) != output(before)
    assert output(converted(text.replace("mysql.test", "other.test"), "linkerd")) == output(before)


def test_an_egress_network_is_there_because_of_what_a_route_names() -> None:
    first = istio("ServiceEntry", "a-database", "{hosts: [db.test], ports: [{number: 5432, name: tcp, protocol: TCP}], resolution: DNS}")
    second = istio("ServiceEntry", "payments", "{hosts: [pay.test], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS}")
    result = converted(MESHED + first + second, "linkerd")
    assert line(result, 1, "spec.hosts[0]").outputs == []
    assert any(entry["path"] == "spec.trafficPolicy" for entry in line(result, 2, "spec.hosts[0]").outputs)


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_what_tells_clients_to_use_mutual_tls_decides_where_they_do_not_by_themselves(target: str) -> None:
    told = istio("DestinationRule", "told", "{host: web.shop.svc.cluster.local, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}")
    policy = istio("AuthorizationPolicy", "web", "{rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}")
    text = MESHED + pods() + service() + NO_AUTO_MTLS + told + policy
    before = converted(text, target)
    assert line(before, 4, "spec.trafficPolicy.tls.mode").disposition != "irrelevant"
    assert output(converted(text.replace("mode: ISTIO_MUTUAL", "mode: DISABLE"), target)) != output(before)


def test_a_port_that_no_pod_has_is_no_reason_for_what_is_written_for_another() -> None:
    text = (
        PLAIN
        + pods(ports="{name: admin, containerPort: 9090}")
        + """---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {io.cilium.k8s.policy.serviceaccount: web, app: web}}]
    toPorts: [{ports: [{port: "8080", protocol: TCP}, {port: "9090", protocol: TCP}]}]
"""
    )
    result = converted(text, "linkerd", source="cilium", keep_network_policy=False)
    for number, port in enumerate(("8080", "9090")):
        written = {entry["file"] for entry in line(result, 2, f"spec.ingress[0].toPorts[0].ports[{number}].port").outputs}
        assert all(port in name for name in written), written


def test_of_routes_for_one_service_the_names_decide_which_goes_before() -> None:
    def route(name: str, header: str) -> str:
        match = f"{{path: {{type: PathPrefix, value: /a}}, headers: [{{name: {header}, value: '1'}}]}}"
        return f"""---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: shop}}
spec:
  parentRefs: [{{group: "", kind: Service, name: web}}]
  rules: [{{matches: [{match}], backendRefs: [{{name: {header}, port: 80}}]}}]
"""

    world = PLAIN + pods() + service() + service("one") + service("two")
    before = converted(world + route("b", "one") + route("c", "two"), "linkerd", source="cilium")
    assert line(before, 6, "metadata.name").disposition == "translated"
    assert output(converted(world + route("b", "one") + route("a", "two"), "linkerd", source="cilium")) != output(before)


def test_of_two_virtual_services_for_one_host_the_one_left_out_is_named_with_its_name() -> None:
    spec = "{hosts: [web], http: [{route: [{destination: {host: web}}], timeout: 1s}]}"
    text = MESHED + pods() + service() + istio("VirtualService", "b", spec) + istio("VirtualService", "c", spec.replace("1s", "2s"))
    before = converted(text, "linkerd")
    found = line(before, 4, "metadata.name")
    assert (found.disposition, found.codes) == ("dropped", ["MP311"])
    assert output(converted(text.replace("name: c,", "name: a,"), "linkerd")) != output(before)


def test_what_envoy_rounds_or_does_by_itself_reads_back_as_it_was_meant() -> None:
    policy = """{host: web, trafficPolicy: {
      connectionPool: {tcp: {maxConnections: 9, tcpKeepalive: {interval: 1500ms}}}, outlierDetection: {minHealthPercent: 0}}}"""
    result = converted(MESHED + pods() + service() + istio("DestinationRule", "web", policy), "cilium")
    (config,) = [item.object for item in result.manifests if item.object["kind"] == "CiliumEnvoyConfig"]
    (cluster,) = [item for item in config["spec"]["resources"] if item["@type"].endswith("Cluster")]
    assert cluster["upstream_connection_options"]["tcp_keepalive"]["keepalive_interval"] == 1


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_a_policy_without_rules_adds_nothing_where_another_closes_its_pods(target: str) -> None:
    whole, own = istio("AuthorizationPolicy", "nobody", "{}"), istio("AuthorizationPolicy", "web", "{selector: {matchLabels: {app: web}}}")
    allow = istio("AuthorizationPolicy", "reads", "{rules: [{to: [{operation: {methods: [GET]}}]}]}")
    world = MESHED + pods() + service() + pods("cart") + service("cart")
    alone, beside = converted(world + allow, target), converted(world + allow + own, target)
    assert output(beside) == output(alone)
    assert line(beside, 6, "spec.selector.matchLabels.app").codes == ["MP200"]
    twice = converted(world + whole + own + whole.replace("nobody", "nobody-else"), target)
    assert output(twice) == output(converted(world + whole.replace("nobody", "nobody-else"), target))
    assert output(converted(world + own, target)) != output(converted(world, target))


def test_what_ejects_beside_the_answers_is_written_where_those_eject_nobody() -> None:
    def rule(gateway: int) -> str:
        detection = f"{{consecutive5xxErrors: 0, consecutiveGatewayErrors: {gateway}, interval: 5s}}"
        return (
            MESHED
            + pods()
            + service()
            + istio("DestinationRule", "web", f"{{host: web, trafficPolicy: {{outlierDetection: {detection}}}}}")
        )

    place = "spec.trafficPolicy.outlierDetection"
    some, none = converted(rule(3), "cilium"), converted(rule(0), "cilium")
    assert [line(some, 3, f"{place}.{name}").codes for name in ("consecutiveGatewayErrors", "interval")] == [["MP520"], ["MP520"]]
    assert output(converted(rule(3).replace("5s", "6s"), "cilium")) != output(some) != output(none)
    assert line(none, 3, f"{place}.interval").disposition == "irrelevant"
    assert output(converted(rule(0).replace("5s", "6s"), "cilium")) == output(none)


def test_policies_that_stay_with_their_mesh_are_not_tidied_on_the_way() -> None:
    policy = istio("AuthorizationPolicy", "outside", "{rules: [{from: [{source: {notIpBlocks: [10.0.0.0/8, 10.1.2.3]}}]}]}")
    result = converted(MESHED + pods() + service() + policy, "gateway-api")
    assert {line(result, 3, f"spec.rules[0].from[0].source.notIpBlocks[{number}]").codes[0] for number in (0, 1)} == {"MP246"}


BARE = "{host: web, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 5}, portLevelSettings: [{port: {number: 80}, connectionPool: {http: {maxRetries: 3}}}]}}"


def test_a_port_without_the_breaker_of_its_service_decides_where_the_service_has_it() -> None:
    """Linkerd has one breaker a Service, so that one port without it leaves none; a port that the Service has not leaves it as it is."""
    text = (
        MESHED
        + pods()
        + service(ports="{name: http, port: 80, targetPort: 8080}, {name: http-two, port: 81}")
        + istio("DestinationRule", "web", BARE)
    )
    before = converted(text, "linkerd")
    assert line(before, 3, "spec.trafficPolicy.portLevelSettings[0].port.number").disposition == "translated"
    host = line(before, 3, "spec.host")
    assert (host.disposition, host.codes) == ("dropped", ["MP504"])
    after = converted(text.replace("number: 80", "number: 82"), "linkerd")
    assert output(after) != output(before)
    assert line(after, 3, "spec.trafficPolicy.outlierDetection.consecutive5xxErrors").disposition in ("translated", "approximated")


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_that_a_deny_closes_nobody_decides(target: str) -> None:
    policy = """---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  enableDefaultDeny: {ingress: false}
  ingressDeny: [{fromEndpoints: [{matchLabels: {app: cart}}]}]
"""
    text = PLAIN + pods() + service() + pods("cart") + policy
    before = converted(text, target, "cilium", keep_network_policy=False)
    found = line(before, 4, "spec.enableDefaultDeny.ingress")
    assert found.disposition in ("translated", "approximated")
    assert "MP200" not in found.codes
    assert output(converted(text.replace("ingress: false", "ingress: true"), target, "cilium", keep_network_policy=False)) != output(before)
