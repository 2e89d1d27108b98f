"""What an object is called, where it stands and in which version: lines that speak of these, each held against another value."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from .test_ledger_lines import MESHED, PLAIN, converted, istio, line, output, pods, service

LINKERD = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {linkerd.io/inject: enabled}}\n"


def linkerd(kind: str, name: str, spec: str, namespace: str = "shop", api: str = "policy.linkerd.io/v1alpha1") -> str:
    return f"---\napiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"


SERVER = linkerd(
    "Server", "web", "{podSelector: {matchLabels: {app: web}}, port: 8080, proxyProtocol: HTTP/1}", api="policy.linkerd.io/v1beta3"
)
GRANTS = [
    linkerd("AuthorizationPolicy", name, f"{{targetRef: {{group: policy.linkerd.io, kind: Server, name: web}}, requiredAuthenticationRefs: [{{kind: ServiceAccount, name: {name}}}]}}")
    for name in ("cart", "pay")
]  # fmt: skip


@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_the_name_of_what_grants_decides_where_the_output_bears_it(target: str) -> None:
    alone = converted(LINKERD + pods() + service() + SERVER + GRANTS[0], target, "linkerd")
    assert line(alone, 4, "metadata.name").disposition == "translated"
    assert "cart" in [item.object["metadata"]["name"] for item in alone.manifests]
    both = converted(LINKERD + pods() + service() + SERVER + "".join(GRANTS), target, "linkerd")
    assert line(both, 4, "metadata.name").disposition == "dropped"  # only MP189 tells it
    for other in ("a-first", "z-last"):
        renamed = LINKERD + pods() + service() + SERVER + "".join(GRANTS).replace("name: cart, namespace", f"name: {other}, namespace")
        assert output(converted(renamed, target, "linkerd")) == output(both), other  # rules stand by whom they let in


def test_the_version_of_an_object_that_others_replace_decides_nothing() -> None:
    old = linkerd("ServerAuthorization", "web", "{server: {name: web}, client: {unauthenticated: true}}", api="policy.linkerd.io/v1beta1")
    before = converted(LINKERD + pods() + service() + SERVER + old, "linkerd", "linkerd")
    assert line(before, 4, "apiVersion").disposition == "irrelevant"
    assert line(before, 3, "apiVersion").disposition == "translated"  # an older one would be written anew
    after = converted(LINKERD + pods() + service() + SERVER + old.replace("io/v1beta1", "io/v1alpha1"), "linkerd", "linkerd")
    assert output(after) == output(before)


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha3"])
def test_of_a_mesh_converted_onto_itself_an_object_is_written_because_of_its_version_where_it_stays_in_the_newest(version: str) -> None:
    rule = linkerd("DestinationRule", "web", "{host: web}", api=f"networking.istio.io/{version}")
    route = linkerd("HTTPRoute", "web", "{parentRefs: [{group: '', kind: Service, name: web}]}", api="gateway.networking.k8s.io/v1beta1")
    before = converted(MESHED + pods() + service() + rule + route, "istio")
    assert (line(before, 3, "apiVersion").disposition, line(before, 3, "apiVersion").codes) == ("translated", [])
    assert [item.object["apiVersion"] for item in before.manifests] == (["networking.istio.io/v1"] if version != "v1" else [])
    assert line(before, 4, "apiVersion").disposition == "translated"  # the API is not Istio's own, and stays as it is


@pytest.mark.parametrize(("release", "written"), [("2.20", ["gateway.networking.k8s.io/v1"]), ("2.17", [])])
def test_a_route_is_written_because_of_its_version_where_linkerd_moves_it(release: str, written: list[str]) -> None:
    route = linkerd(
        "HTTPRoute", "web", "{parentRefs: [{group: core, kind: Service, name: web, port: 80}], rules: [{backendRefs: [{name: web, port: 80}]}]}",
        api="gateway.networking.k8s.io/v1beta1",
    )  # fmt: skip
    found = converted(LINKERD + pods() + service() + route, "linkerd", "linkerd", target_version=release)
    assert line(found, 3, "apiVersion").disposition == "translated"
    assert [item.object["apiVersion"] for item in found.manifests] == written


def test_a_route_of_linkerds_own_names_a_server_of_linkerds_by_default() -> None:
    """`group` of a parent is the API's own where it is not said (the CRD of each HTTPRoute)."""
    said, unsaid = (
        converted(
            LINKERD + pods() + service() + SERVER
            + linkerd("HTTPRoute", "web", f"{{parentRefs: [{{{group}kind: Server, name: web}}], rules: [{{matches: [{{path: {{value: /x}}}}]}}]}}", api="policy.linkerd.io/v1beta3")
            + linkerd("AuthorizationPolicy", "x", "{targetRef: {group: policy.linkerd.io, kind: HTTPRoute, name: web}, requiredAuthenticationRefs: [{kind: ServiceAccount, name: cart}]}"),
            "istio", "linkerd",
        )
        for group in ("group: policy.linkerd.io, ", "")
    )  # fmt: skip
    assert output(said) == output(unsaid) and "/x/*" in str(output(said))
    assert line(unsaid, 4, "spec.parentRefs[0].name").disposition == line(said, 4, "spec.parentRefs[0].name").disposition == "translated"


def test_a_port_of_cilium_without_a_protocol_is_one_for_tcp_too() -> None:
    policy = """---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: out, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress:
  - toFQDNs: [{matchName: api.example.com}]
    toPorts: [{ports: [{port: "443"PROTOCOL}]}]
"""
    said, unsaid = (
        converted(PLAIN + pods() + policy.replace("PROTOCOL", protocol), "istio", "cilium", keep_network_policy=False)
        for protocol in (", protocol: TCP", "")
    )
    assert output(said) == output(unsaid) and "api.example.com" in str(output(said))


def test_a_name_that_a_finding_tells_is_lost_with_it_and_the_same_name_of_something_else_is_not() -> None:
    told = istio("VirtualService", "ext", "{hosts: [ext.example.org], http: [{route: [{destination: {host: ext.example.org}}]}]}")
    found = line(converted(MESHED + pods() + service() + told, "cilium"), 3, "metadata.name")
    assert (found.disposition, found.codes) == ("dropped", ["MP310"])
    rule = istio("DestinationRule", "web", "{host: web.shop.svc.cluster.local, trafficPolicy: {loadBalancer: {simple: RANDOM}}}")
    lost = converted(MESHED + pods() + service() + rule, "cilium")
    assert any("Service shop/web" in finding.message for finding in lost.findings)
    assert not any("DestinationRule shop/web" in finding.message for finding in lost.findings)
    assert line(lost, 3, "metadata.name").disposition == "irrelevant"


def test_of_a_route_that_one_of_two_listeners_admits_what_names_the_other_is_invalid() -> None:
    gateway = linkerd(
        "Gateway", "edge", """
  gatewayClassName: example
  listeners:
  - {name: web, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: Same}}}
  - {name: far, port: 81, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {kubernetes.io/metadata.name: elsewhere}}}}}""",
        api="gateway.networking.k8s.io/v1",
    )  # fmt: skip
    route = linkerd(
        "HTTPRoute", "web", "{parentRefs: [{name: edge, sectionName: web}, {name: edge, sectionName: far}], rules: [{backendRefs: [{name: web, port: 80}]}]}",
        api="gateway.networking.k8s.io/v1",
    )  # fmt: skip
    result = converted(PLAIN + pods() + service() + gateway + route, "istio", "gateway-api")
    assert line(result, 4, "spec.parentRefs[1].sectionName").codes == ["MP348"]
    for path in ("spec.parentRefs[0].sectionName", "spec.rules[0].backendRefs[0].name", "metadata.name"):
        assert line(result, 4, path).disposition == "translated", path


def test_every_leaf_of_a_mesh_has_a_line_also_where_no_part_of_the_mesh_reads_it() -> None:
    pool = (
        "---\napiVersion: cilium.io/v2\nkind: CiliumLoadBalancerIPPool\nmetadata: {name: blue}\nspec: {blocks: [{cidr: 198.51.100.0/26}]}\n"
    )
    other = istio("DestinationRule", "web", "{host: web}")
    result = converted(PLAIN + pods() + pool + other, "istio", "cilium")
    for number, path in ((2, "spec.blocks[0].cidr"), (2, "kind"), (3, "spec.host")):
        assert line(result, number, path).disposition == "passed_through", path


def test_a_version_that_nothing_serves_is_invalid_also_where_the_right_one_is_written() -> None:
    route = linkerd(
        "GRPCRoute", "web", "{parentRefs: [{group: core, kind: Service, name: web, port: 80}], rules: [{backendRefs: [{name: web, port: 80}]}]}",
        api="gateway.networking.k8s.io/v1alpha2",
    )  # fmt: skip
    found = line(converted(PLAIN + pods() + service() + route, "cilium", "gateway-api"), 3, "apiVersion")
    assert (found.disposition, found.codes) == ("invalid", ["MP011"])


@pytest.mark.parametrize("target", ["linkerd", "cilium", "gateway-api"])
def test_the_name_of_a_rule_that_defines_a_subset_decides_only_beside_another(target: str) -> None:
    routed = istio("VirtualService", "web", "{hosts: [web], http: [{route: [{destination: {host: web, subset: v1}}]}]}")
    rule = istio("DestinationRule", "web", "{host: web, subsets: [{name: v1, labels: {version: v1}}]}")
    text = MESHED + pods(labels=", version: v1") + service() + routed + rule
    assert line(converted(text, target), 4, "metadata.name").disposition == "irrelevant"
    other = istio("DestinationRule", "xyz", "{host: web, subsets: [{name: v1, labels: {track: old}}]}")
    before = converted(text + other, target)
    assert line(before, 4, "metadata.name").disposition in ("translated", "approximated")
    assert output(
        converted(text.replace("name: web, namespace: shop}\nspec: {host", "name: zzz, namespace: shop}\nspec: {host") + other, target)
    ) != output(before)


@pytest.mark.parametrize("target", ["linkerd", "cilium", "gateway-api"])
@pytest.mark.parametrize("host", ["web", "web.shop.svc.cluster.local"])
def test_the_namespace_of_rules_decides_where_a_host_is_short(target: str, host: str) -> None:
    text = (
        MESHED
        + pods()
        + service()
        + istio("VirtualService", "web", f"{{hosts: [{host}], http: [{{timeout: 3s, route: [{{destination: {{host: {host}}}}}]}}]}}")
    )
    before = converted(text, target)
    moved = converted(text.replace("name: web, namespace: shop}\nspec: {hosts", "name: web, namespace: pay}\nspec: {hosts"), target)
    decides = "." not in host
    assert line(before, 3, "metadata.namespace").disposition == ("translated" if decides else "irrelevant")
    assert (output(moved) != output(before)) is decides


def test_the_name_of_rules_for_connections_is_that_of_their_route() -> None:
    text = MESHED + pods() + service(ports="{name: tcp, port: 80, targetPort: 8080}")
    text += istio("VirtualService", "echo", "{hosts: [web], tcp: [{route: [{destination: {host: web, port: {number: 80}}}]}]}")
    before = converted(text, "gateway-api")
    assert [item.object["metadata"]["name"] for item in before.manifests if item.object["kind"] == "TCPRoute"] == ["echo"]
    assert line(before, 3, "metadata.name").disposition == "translated"


def test_what_may_leave_is_listed_by_what_it_is() -> None:
    entry = "{{hosts: [{host}], ports: [{{number: 443, name: tls, protocol: TLS}}], resolution: DNS}}"
    closed = istio("Sidecar", "default", "{outboundTrafficPolicy: {mode: REGISTRY_ONLY}}").replace("security", "networking")
    one, two = (istio("ServiceEntry", name, entry.format(host=f"{name}.test")) for name in ("bank", "post"))
    text = MESHED + pods() + service() + closed + one + two
    both = converted(text, "cilium")
    assert line(both, 4, "metadata.name").disposition == "irrelevant"
    assert output(converted(text.replace("name: bank,", "name: zzz,"), "cilium")) == output(both)


def test_where_a_rule_for_all_to_see_stands_decides_nothing() -> None:
    seen = istio(
        "VirtualService",
        "web",
        "{hosts: [web.shop.svc.cluster.local], exportTo: ['*'], http: [{timeout: 1s, route: [{destination: {host: web.shop.svc.cluster.local}}]}]}",
    )
    text = MESHED + pods() + service() + seen.replace("security", "networking")
    before = converted(text, "linkerd")
    assert line(before, 3, "metadata.namespace").disposition == "irrelevant"
    moved = text.replace("namespace: shop}\nspec: {hosts", "namespace: other}\nspec: {hosts")
    assert moved != text
    after = converted(moved, "linkerd")
    assert output(after) == output(before)


def test_the_place_of_a_host_is_told_whatever_it_is() -> None:
    entry = istio("ServiceEntry", "bank", "{hosts: [bank.test], ports: [{number: 443, name: tls, protocol: TLS}], location: MESH_EXTERNAL}")
    found = converted(MESHED + pods() + service() + entry.replace("security", "networking"), "linkerd")
    assert (line(found, 3, "spec.location").disposition, line(found, 3, "spec.location").codes) == ("dropped", ["MP753"])
    assert all(finding.effect == "none" for finding in found.findings if "a location (MESH_EXTERNAL)" in finding.message)


EGRESS = linkerd("EgressNetwork", "out", "{trafficPolicy: Deny}", "linkerd-egress")
LEAVING = "{parentRefs: [{group: policy.linkerd.io, kind: EgressNetwork, name: out, namespace: linkerd-egress, port: 443}], hostnames: [pay.test], rules: [{backendRefs: [{group: policy.linkerd.io, kind: EgressNetwork, name: out, port: 443}]}]}"


@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_a_route_on_the_network_of_the_whole_mesh_says_the_same_in_every_namespace_and_for_every_port_behind_it(target: str) -> None:
    def text(namespace: str = "shop", port: int = 443) -> str:
        route = linkerd(
            "TLSRoute",
            "pay",
            LEAVING.replace("name: out, port: 443}]}]", f"name: out, port: {port}}}]}}]"),
            namespace,
            "gateway.networking.k8s.io/v1alpha2",
        )
        return LINKERD + pods() + service() + EGRESS + route

    before = converted(text(), target, "linkerd")
    for path in ("metadata.namespace", "spec.rules[0].backendRefs[0].port"):
        assert line(before, 4, path).disposition == "irrelevant", path
    assert output(converted(text(port=444), target, "linkerd")) == output(before)
    assert output(converted(text("elsewhere"), target, "linkerd")) == output(before)


def test_values_of_an_installation_that_stays_pass_with_it() -> None:
    operator = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {name: mesh}\nspec: {meshConfig: {accessLogFile: /dev/stdout, connectTimeout: 5s}}\n"
    result: Any = converted(operator + "---\n" + MESHED + pods(), "istio")
    assert next(item["kind"] for item in result.passed_through) == "IstioOperator"
    assert {line(result, 0, f"spec.meshConfig.{name}").disposition for name in ("accessLogFile", "connectTimeout")} == {"passed_through"}


@pytest.mark.parametrize(("target", "decides"), [("istio", True), ("linkerd", False)])
def test_what_every_mesh_does_by_itself_decides_where_another_value_could_be_written(target: str, decides: bool) -> None:
    limited = istio("DestinationRule", "web", "{host: web, trafficPolicy: {connectionPool: {tcp: {maxConnections: 9}}}}")
    made = converted(MESHED + pods() + service() + limited, "cilium").manifests
    config = yaml.safe_dump(next(item.object for item in made if item.object["kind"] == "CiliumEnvoyConfig"))
    text = f"{PLAIN}{pods()}{service()}---\n{config}"
    before = converted(text, target, "cilium")
    assert (output(converted(text.replace("max_retries: 4294967295", "max_retries: 7"), target, "cilium")) != output(before)) is decides
    place = "spec.resources[2].circuit_breakers.thresholds[0].max_retries"
    assert line(before, 3, place).disposition == ("translated" if decides else "irrelevant")
    assert line(before, 3, "spec.services[0].ports[0]").disposition == "translated"


def test_a_policy_that_names_no_client_admits_nobody_also_where_its_server_is_unknown() -> None:
    """Linkerd ignores it, and a policy in its place would let every client from the networks in once the Server is there."""
    whole = "{server: {name: elsewhere}, client: {unauthenticated: false, networks: [{cidr: 0.0.0.0/0}, {cidr: '::/0'}]}}"
    before = converted(
        LINKERD + pods() + linkerd("ServerAuthorization", "open", whole, api="policy.linkerd.io/v1beta1"), "linkerd", "linkerd"
    )
    assert not [item for item in before.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert line(before, 2, "spec.client.unauthenticated").codes == ["MP226"]


def test_of_rules_for_requests_nothing_is_left_where_ztunnel_holds_the_others() -> None:
    rules = "[{from: [{source: {principals: ['*']}}]}, {when: [{key: 'request.headers[x]', values: ['*']}]}]"
    text = MESHED + pods() + istio("AuthorizationPolicy", "web", f"{{selector: {{matchLabels: {{app: web}}}}, rules: {rules}}}")
    before = converted(text, "istio", data_plane="ambient")
    assert line(before, 2, "spec.rules[1].when[0].values[0]").disposition == "dropped"
    assert line(before, 2, "spec.rules[0].from[0].source.principals[0]").disposition == "approximated"
    assert output(converted(text.replace("values: ['*']", "values: [other]"), "istio", data_plane="ambient")) == output(before)


def test_what_a_kept_policy_asked_of_requests_is_in_the_mesh_alone() -> None:
    policy = """---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: web}}]
    toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: GET, path: /a}]}}]
"""
    found = line(converted(PLAIN + pods() + service() + policy, "istio", "cilium"), 3, "spec.ingress[0].toPorts[0].rules.http[0].method")
    assert not [entry for entry in found.outputs if entry["path"].startswith("spec.ingress")]


@pytest.mark.parametrize("home", ["shop", "pay"])
def test_a_subset_is_that_of_the_rule_in_the_namespace_of_the_client_or_else_of_the_service(home: str) -> None:
    """The namespace of rules with whole hosts decides where a subset is another one in it."""
    host = "web.shop.svc.cluster.local"
    text = MESHED + pods(labels=", version: v1") + service()
    text += istio("VirtualService", "web", f"{{hosts: [{host}], http: [{{route: [{{destination: {{host: {host}, subset: v1}}}}]}}]}}", home)
    text += istio("DestinationRule", "web", f"{{host: {host}, subsets: [{{name: v1, labels: {{version: v1}}}}]}}")
    alone = converted(text, "linkerd")
    assert line(alone, 3, "metadata.namespace").disposition == "irrelevant"
    both = converted(
        text + istio("DestinationRule", "own", f"{{host: {host}, subsets: [{{name: v1, labels: {{track: old}}}}]}}", "pay"), "linkerd"
    )
    assert line(both, 3, "metadata.namespace").disposition == "translated"


def test_opaque_ports_of_a_service_decide_nothing_where_every_port_says_so_itself() -> None:
    marked = service(ports="{name: tcp-data, port: 9092, appProtocol: tcp}").replace(
        "name: web,", "name: web, annotations: {config.linkerd.io/opaque-ports: '9092'},"
    )
    before = converted(LINKERD + pods() + marked, "istio", "linkerd")
    assert line(before, 2, 'metadata.annotations["config.linkerd.io/opaque-ports"]').disposition == "irrelevant"
    assert output(converted(LINKERD + pods() + marked.replace("'9092'", "'8080'"), "istio", "linkerd")) == output(before)


@pytest.mark.parametrize("target", ["linkerd", "cilium", "gateway-api"])
@pytest.mark.parametrize(
    "more", ["", ", {timeout: 1s, route: [{destination: {host: web}}]}", ", {match: [{port: 98}], route: [{destination: {host: web}}]}"]
)
def test_a_rule_for_a_port_that_the_service_does_not_have_is_one_for_nothing(target: str, more: str) -> None:
    """Istio leaves it out on every port; where no other is left clients go to the Service as if there were none."""
    rules = f"[{{match: [{{port: 99}}], timeout: 3s, route: [{{destination: {{host: web}}}}]}}{more}]"
    before = converted(MESHED + pods() + service() + istio("VirtualService", "web", f"{{hosts: [web], http: {rules}}}"), target)
    assert before.ledger.counts["unaccounted"] == 0
    assert line(before, 3, "spec.http[0].match[0].port").disposition == "translated"
    assert line(before, 3, "spec.http[0].timeout").codes == ["MP200"]
    assert bool([item for item in before.manifests if item.object["kind"] == "HTTPRoute"]) is ("timeout: 1s" in more)
    there = istio("VirtualService", "web", f"{{hosts: [web], http: {rules.replace('99', '80')}}}")
    assert output(converted(MESHED + pods() + service() + there, target)) != output(before)


def test_what_names_whom_lost_settings_are_for_is_lost_with_them() -> None:
    rule = istio("DestinationRule", "web", "{host: web.shop.svc.cluster.local, trafficPolicy: {loadBalancer: {simple: RANDOM}}}")
    before = converted(MESHED + pods() + service() + rule, "cilium")
    found = line(before, 3, "spec.host")
    assert (found.disposition, found.codes) == ("dropped", line(before, 3, "spec.trafficPolicy.loadBalancer.simple").codes)


def test_the_namespace_of_an_only_rule_for_a_whole_host_decides_nothing() -> None:
    rule = istio(
        "DestinationRule", "web", "{host: web.shop.svc.cluster.local, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 3}}}"
    )
    before = converted(MESHED + pods() + service() + rule, "linkerd")
    assert line(before, 3, "metadata.namespace").disposition == "irrelevant"
    moved = converted(
        MESHED + pods() + service() + rule.replace("name: web, namespace: shop}\nspec: {host", "name: web, namespace: pay}\nspec: {host"),
        "linkerd",
    )
    assert output(moved) == output(before)
    again = rule.replace("name: web,", "name: own,").replace("namespace: shop", "namespace: pay")
    assert line(converted(MESHED + pods() + service() + rule + again, "linkerd"), 3, "metadata.namespace").disposition != "irrelevant"


def test_an_object_that_stays_as_it_is_is_no_output_of_the_ledger() -> None:
    split = """---
apiVersion: split.smi-spec.io/v1alpha1
kind: TrafficSplit
metadata: {name: web, namespace: shop}
spec: {service: web, backends: [{service: web, weight: 1}]}
"""
    result = converted(LINKERD + pods() + service() + split, "linkerd", "smi")
    written = {item.file for item in result.manifests}
    assert all(entry["file"] in written for one in result.ledger for entry in one.outputs if not str(entry["file"]).startswith("install/"))


def test_the_name_of_an_object_that_nothing_shows_and_nothing_names_decides_nothing() -> None:
    server = linkerd(
        "Server", "backend", "{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [api, cart]}]}, port: 8080}",
        api="policy.linkerd.io/v1beta3",
    )  # fmt: skip
    before = converted(LINKERD + server, "istio", "linkerd", data_plane="ambient")
    assert before.manifests
    assert line(before, 1, "metadata.name").disposition == "dropped"
    assert output(converted(LINKERD + server.replace("backend", "other"), "istio", "linkerd", data_plane="ambient")) == output(before)


@pytest.mark.parametrize("other", ["a-first", "z-last"])
def test_the_names_of_policies_that_refuse_order_nothing(other: str) -> None:
    allow = istio(
        "AuthorizationPolicy", "allow", "{action: ALLOW, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/cart]}}]}]}"
    )
    denies = [
        istio("AuthorizationPolicy", f"ext-{path}", f"{{action: CUSTOM, provider: {{name: p}}, rules: [{{to: [{{operation: {{paths: ['/{path}']}}}}]}}]}}")
        for path in ("x", "y")
    ]  # fmt: skip
    text = MESHED + pods() + service() + allow + "".join(denies)
    before = converted(text, "linkerd")
    assert (line(before, 4, "metadata.name").disposition, line(before, 4, "metadata.name").codes) == (
        "dropped",
        ["MP211"],
    )  # which tells it
    assert output(converted(text.replace("ext-x", other), "linkerd")) == output(before)


def test_of_two_routes_one_of_which_is_lost_the_other_hangs_on_the_service() -> None:
    route = "{{parentRefs: [{{group: '', kind: Service, name: web, port: 80}}], rules: [{{matches: [{{path: {{type: PathPrefix, value: /{name}}}}}], {filters}backendRefs: [{{name: web, port: 80}}]}}]}}"
    rewrite = "filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /c}}}], "
    api = "gateway.networking.k8s.io/v1"
    text = PLAIN + pods() + service() + linkerd("HTTPRoute", "one", route.format(name="one", filters=""), api=api)
    text += linkerd("HTTPRoute", "two", route.format(name="two", filters=rewrite), api=api)
    before = converted(text, "linkerd", "cilium")
    assert line(before, 3, "spec.parentRefs[0].name").disposition == "translated"
    found = line(before, 4, "spec.parentRefs[0].name")
    assert (found.disposition, found.codes) == ("dropped", ["MP351"])


def test_the_same_object_again_is_the_same_by_its_name() -> None:
    rule = istio("AuthorizationPolicy", "web", "{action: DENY, rules: [{from: [{source: {namespaces: [old]}}]}]}")
    text = MESHED + pods() + service() + rule + rule
    before = converted(text, "linkerd")
    assert line(before, 3, "metadata.name").disposition == "translated"
    assert line(before, 3, "spec.action").disposition == "irrelevant"


def test_ports_that_no_waypoint_sees_are_named_with_what_asks_for_http_there() -> None:
    rules = (
        "[{from: [{source: {principals: [cluster.local/ns/shop/sa/cart]}}], to: [{operation: {methods: [GET], ports: ['8080', '9090']}}]}]"
    )
    allow = istio("AuthorizationPolicy", "web", f"{{selector: {{matchLabels: {{app: web}}}}, rules: {rules}}}")
    text = MESHED + pods() + service() + allow
    before = converted(text, "istio", data_plane="ambient")
    place = "spec.rules[0].to[0].operation.ports"
    assert line(before, 3, f"{place}[0]").disposition == "translated"
    found = line(before, 3, f"{place}[1]")
    assert (found.disposition, found.codes) == ("dropped", ["MP116"])
    assert output(converted(text.replace("'9090'", "'9091'"), "istio", data_plane="ambient")) == output(before)


@pytest.mark.parametrize(("target", "said"), [("istio", "translated"), ("linkerd", "irrelevant")])
def test_what_envoy_is_told_as_every_mesh_does_it_decides_where_another_value_could_be_written(target: str, said: str) -> None:
    guarded = istio("DestinationRule", "web", "{host: web, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 3}}}")
    made = converted(MESHED + pods() + service() + guarded, "cilium").manifests
    config = yaml.safe_dump(next(item.object for item in made if item.object["kind"] == "CiliumEnvoyConfig"))
    before = converted(f"{PLAIN}{pods()}{service()}---\n{config}", target, "cilium")
    for place, other in (("healthy_panic_threshold", "value: 7"), ("lb_policy", "RANDOM")):
        (found,) = [one for one in before.ledger if place in one.path and one.value in (0, "LEAST_REQUEST")]
        assert found.disposition == said
        changed = config.replace("healthy_panic_threshold:\n        value: 0", f"healthy_panic_threshold:\n        {other}")
        changed = changed if place != "lb_policy" else config.replace("lb_policy: LEAST_REQUEST", f"lb_policy: {other}")
        assert changed != config
        after = converted(f"{PLAIN}{pods()}{service()}---\n{changed}", target, "cilium")
        assert (output(after) != output(before)) is (said == "translated")


@pytest.mark.parametrize("target", ["linkerd", "gateway-api"])  # Cilium has the rule, in a route table
def test_the_port_of_a_rule_that_is_lost_is_lost_with_it(target: str) -> None:
    lost = (
        "{match: [{uri: {prefix: /x}, port: 80}], rewrite: {uriRegexRewrite: {match: a, rewrite: b}}, corsPolicy: {allowOrigins: [{exact: 'https://a.test'}]}, "
        "route: [{destination: {host: web}}]}"
    )
    rules = f"[{lost}, {{match: [{{uri: {{prefix: /y}}, port: 80}}], timeout: 3s, route: [{{destination: {{host: web}}}}]}}]"
    text = MESHED + pods() + service() + istio("VirtualService", "web", f"{{hosts: [web], http: {rules}}}")
    before = converted(text, target)
    found, uri = (line(before, 3, f"spec.http[0].match[0].{key}") for key in ("port", "uri.prefix"))
    assert (found.disposition, found.codes) == ("dropped", uri.codes)
    assert line(before, 3, "spec.http[1].match[0].port").disposition == "translated"
    assert output(converted(text.replace("/x}, port: 80", "/x}, port: 99"), target)) == output(before)


@pytest.mark.parametrize(("more", "said"), [("", "dropped"), (pods("cart", labels=", tier: back"), "translated")])
def test_labels_of_denied_peers_decide_only_where_accounts_have_them(more: str, said: str) -> None:
    """Of pods that nobody shows the whole namespace is refused, whatever their labels."""
    policy = """---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingressDeny: [{fromEndpoints: [{matchLabels: {tier: back}}]}]
"""
    text = PLAIN + service() + policy + more
    before = converted(text, "istio", "cilium", keep_network_policy=False)
    found = line(before, 2, "spec.ingressDeny[0].fromEndpoints[0].matchLabels.tier")
    assert (found.disposition, found.codes) == (said, ["MP271"] if said == "dropped" else [])
    after = converted(
        text.replace("{matchLabels: {tier: back}}", "{matchLabels: {tier: front}}"), "istio", "cilium", keep_network_policy=False
    )
    assert (output(after) != output(before)) is (said == "translated")
