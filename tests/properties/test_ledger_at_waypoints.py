"""Lines of the ledger about what is read through waypoints, written for ambient, told to clients, or outside of the mesh, each held against another value."""

from __future__ import annotations

import pytest

from .test_ledger_lines import MESHED, NO_AUTO_MTLS, converted, istio, line, output, pods, service

AMBIENT = (
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: gate}}\n"
)
GATE = """---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gate, namespace: shop, labels: {istio.io/waypoint-for: service}}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
"""


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_a_policy_at_a_waypoint_is_for_the_pods_of_its_services_whatever_these_are_called(target: str) -> None:
    hung = "{{targetRefs: [{{group: '{group}', kind: {kind}, name: {name}}}], rules: [{{to: [{{operation: {{methods: [GET]}}}}]}}]}}"
    at_gate = istio("AuthorizationPolicy", "reads", hung.format(group="gateway.networking.k8s.io", kind="Gateway", name="gate"))
    text = AMBIENT + GATE + pods() + service("front").replace("app: front", "app: web")
    before = converted(text + at_gate, target)
    assert line(before, 3, "metadata.name").disposition == "passed_through"
    assert output(converted(text.replace("name: front", "name: other") + at_gate, target)) == output(before)
    by_name = istio("AuthorizationPolicy", "reads", hung.format(group="", kind="Service", name="front"))
    assert line(converted(text + by_name, target), 3, "metadata.name").disposition == "translated"
    assert output(converted(text.replace("name: front", "name: other") + by_name, target)) != output(before)


def test_each_rule_for_ambient_is_held_against_what_is_written_of_that_rule() -> None:
    """The second rule is for a port that no Service sends to, and its value stands in the first as well."""
    rule = "{{from: [{{source: {{namespaces: [pay]}}}}], to: [{{operation: {{methods: [{method}], ports: ['{port}']}}}}]}}"
    rules = f"{rule.format(method='GET', port=8080)}, {rule.format(method='POST', port=9999)}"
    allow = istio("AuthorizationPolicy", "web", f"{{selector: {{matchLabels: {{app: web}}}}, rules: [{rules}]}}")
    text = MESHED + pods() + service() + allow
    before = converted(text, "istio", data_plane="ambient")
    for place in ("from[0].source.namespaces[0]", "to[0].operation.methods[0]"):
        assert line(before, 3, f"spec.rules[1].{place}").disposition == "dropped", place
    assert line(before, 3, "spec.rules[0].from[0].source.namespaces[0]").disposition == "translated"


@pytest.mark.parametrize("other", ["9091", "8080"])
def test_a_port_that_the_rest_of_its_rule_leaves_out_decides_nothing_in_ambient(other: str) -> None:
    said = "{from: [{source: {principals: [cluster.local/ns/shop/sa/cart]}}], to: [{operation: {methods: [GET], ports: ['8080', '9090']}}], when: [{key: destination.port, values: ['8080']}]}"
    allow = istio("AuthorizationPolicy", "web", f"{{selector: {{matchLabels: {{app: web}}}}, rules: [{said}]}}")
    ports = "{name: http, port: 80, targetPort: 8080}, {name: http-admin, port: 9090}"
    text = MESHED + pods(ports="{containerPort: 8080}, {containerPort: 9090}") + service(ports=ports) + allow
    before = converted(text, "istio", data_plane="ambient")
    assert line(before, 3, "spec.rules[0].to[0].operation.ports[0]").disposition == "translated"
    found = line(before, 3, "spec.rules[0].to[0].operation.ports[1]")
    assert (found.disposition, found.codes) == ("dropped", ["MP200"])
    after = converted(text.replace("'8080', '9090'", f"'8080', '{other}'"), "istio", data_plane="ambient")
    assert output(after) == output(before)
    assert not [item for item in after.findings if item.code == "MP116" and "9091" in str(item.affects)]


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
@pytest.mark.parametrize("name", ["default", "zone"])
def test_a_mode_of_the_mesh_that_says_nothing_leaves_clients_without_mutual_tls(target: str, name: str) -> None:
    """Nobody shows a name then, whatever the object is called."""
    plain = istio("PeerAuthentication", name, "{}", "istio-system")
    by_name = "{rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/cart]}}]}]}"
    text = MESHED + pods() + service() + NO_AUTO_MTLS + istio("AuthorizationPolicy", "web", by_name)
    assert output(converted(text + plain, target)) == output(converted(text, target))


def test_the_host_of_a_rule_decides_whose_clients_it_tells_to_use_mutual_tls() -> None:
    told = istio("DestinationRule", "told", "{host: '*.shop.svc.cluster.local', trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}")
    empty = istio("DestinationRule", "empty", "{host: other.shop.svc.cluster.local}")
    strict = istio("PeerAuthentication", "default", "{mtls: {mode: STRICT}}")
    text = MESHED + pods() + service() + NO_AUTO_MTLS + told + empty + strict
    before = converted(text, "linkerd")
    assert line(before, 5, "spec.host").disposition == "translated"
    assert output(converted(text.replace("host: other", "host: web"), "linkerd")) != output(before)


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_of_two_rules_for_one_host_the_first_by_name_limits_its_clients(target: str) -> None:
    rule = "{{host: web, trafficPolicy: {{outlierDetection: {{consecutive5xxErrors: {number}}}}}}}"
    one, two = (istio("DestinationRule", name, rule.format(number=number)) for name, number in (("one", 3), ("two", 7)))
    text = MESHED + pods() + service()
    before = converted(text + one + two, target)
    assert line(before, 3, "metadata.name").disposition in ("translated", "approximated")
    assert output(converted(text + one.replace("name: one", "name: zzz") + two, target)) != output(before)
    assert line(converted(text + one, target), 3, "metadata.name").disposition == "irrelevant"


@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_ports_that_ask_for_an_identity_decide_nothing_outside_the_mesh(target: str) -> None:
    notes = "{config.linkerd.io/proxy-require-identity-inbound-ports: '9090'}"
    plain = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
    before = converted(plain + pods(notes=notes) + service(), target, "linkerd")
    place = 'spec.template.metadata.annotations["config.linkerd.io/proxy-require-identity-inbound-ports"]'
    assert line(before, 1, place).disposition == "irrelevant"
    assert output(converted(plain + pods(notes=notes.replace("9090", "8080")) + service(), target, "linkerd")) == output(before)


def test_a_mark_of_ambient_among_several_that_stay_passes_through() -> None:
    """What ambient needs is installed for the others as well; for one alone it is installed because of that."""
    alone = converted(AMBIENT + pods(), "istio", data_plane="ambient")
    assert line(alone, 0, 'metadata.labels["istio.io/dataplane-mode"]').disposition == "installed"
    other = AMBIENT.replace("name: shop", "name: pay")
    before = converted(AMBIENT + pods() + "---\n" + other, "istio", data_plane="ambient")
    found = line(before, 0, 'metadata.labels["istio.io/dataplane-mode"]')
    assert (found.disposition, found.outputs) == ("passed_through", [])
    assert output(
        converted(AMBIENT.replace("mode: ambient", "mode: none") + pods() + "---\n" + other, "istio", data_plane="ambient")
    ) == output(before)


MODE = 'spec.template.metadata.labels["istio.io/dataplane-mode"]'


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_a_mark_of_ambient_decides_nothing_for_pods_that_have_a_sidecar(target: str) -> None:
    text = MESHED + pods(labels=", istio.io/dataplane-mode: none")
    before = converted(text, target)
    assert line(before, 1, MODE).disposition == "irrelevant"
    assert output(converted(text.replace("mode: none", "mode: ambient"), target)) == output(before)
    alone = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n" + pods(labels=", istio.io/dataplane-mode: ambient")
    assert line(converted(alone, target), 1, MODE).disposition == "translated"


def test_a_mark_of_ambient_beside_one_for_sidecars_decides_for_pods_without_one() -> None:
    both = MESHED.replace("istio-injection: enabled", "istio-injection: enabled, istio.io/dataplane-mode: ambient")
    text = both + pods(labels=", sidecar.istio.io/inject: 'false'")
    before = converted(text, "cilium")
    assert line(before, 0, 'metadata.labels["istio.io/dataplane-mode"]').disposition == "translated"
    assert output(converted(text.replace("mode: ambient", "mode: none"), "cilium")) != output(before)


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_who_goes_through_a_waypoint_is_lost_with_it(target: str) -> None:
    """The pods let the waypoint in, and with another one nobody whom it let through."""
    admits = "{rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/gate]}}]}]}"
    text = AMBIENT + GATE + pods() + service() + istio("AuthorizationPolicy", "web", admits)
    before = converted(text, target)
    found = line(before, 0, 'metadata.labels["istio.io/use-waypoint"]')
    assert (found.disposition, found.codes) == ("dropped", ["MP705"])
    assert output(converted(text.replace("use-waypoint: gate", "use-waypoint: other"), target)) != output(before)


@pytest.mark.parametrize("kind", ["VirtualService", "DestinationRule"])
def test_where_a_waypoint_reads_the_rules_of_its_own_namespace_theirs_decides(kind: str) -> None:
    """Beside sidecars, which read the rules of every namespace, it is nothing to speak of where the host is whole."""
    host = "web.shop.svc.cluster.local"
    said = {
        "VirtualService": f"{{hosts: [{host}], http: [{{timeout: 3s, route: [{{destination: {{host: {host}}}}}]}}]}}",
        "DestinationRule": f"{{host: {host}, trafficPolicy: {{outlierDetection: {{consecutive5xxErrors: 3}}}}}}",
    }[kind]
    rule = istio(kind, "web", said)
    before = converted(AMBIENT + pods() + service() + GATE + rule, "linkerd")
    assert line(before, 4, "metadata.namespace").disposition == "translated"
    moved = rule.replace("namespace: shop", "namespace: pay")
    assert output(converted(AMBIENT + pods() + service() + GATE + moved, "linkerd")) != output(before)
    beside = converted(MESHED + pods() + service() + rule, "linkerd")
    assert line(beside, 3, "metadata.namespace").disposition == "irrelevant"
