"""Network policies beside a mesh whose proxies take every connection on one port, on the way to one whose proxies do not, or on another: whoever came
through comes through, and nobody else. The network is judged by `tests/judge/network.py`."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport
from meshport.pipeline import Result
from tests.judge import istio, linkerd, network

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, %s}
---
apiVersion: v1
kind: Namespace
metadata: {name: legacy}
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
metadata: {name: ops, namespace: shop}
spec: {selector: {matchLabels: {app: ops}}, template: {metadata: {labels: {app: ops}}, spec: {serviceAccountName: ops, containers: [{name: a, image: "a:1"}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: old, namespace: legacy}
spec: {selector: {matchLabels: {app: old}}, template: {metadata: {labels: {app: old}}, spec: {containers: [{name: a, image: "a:1"}]}}}
"""
MARKS = {"linkerd": "annotations: {linkerd.io/inject: enabled}", "istio": "labels: {istio-injection: enabled}"}
AMBIENT = "labels: {istio.io/dataplane-mode: ambient}"
CALLERS: list[dict[str, Any]] = [
    {"namespace": "shop", "service_account": "web", "workload": "web", "meshed": True},
    {"namespace": "shop", "service_account": "ops", "workload": "ops", "meshed": True},
    {"namespace": "legacy", "service_account": "default", "workload": "old", "meshed": False},
    {"ip": "203.0.113.9", "meshed": False},
]
WEB, OPS, OLD = (
    "{podSelector: {matchLabels: {app: web}}}",
    "{podSelector: {matchLabels: {app: ops}}}",
    "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: legacy}}}",
)


def policy(ingress: str, pods: str = "{matchLabels: {app: api}}", direction: str = "ingress") -> dict[str, Any]:
    spec = {"podSelector": yaml.safe_load(pods), "policyTypes": [direction.capitalize()], direction: yaml.safe_load(ingress)}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "network", "namespace": "shop"},
        "spec": spec,
    }


def converted(
    policies: list[dict[str, Any]], source: str, target: str, mark: str = "", **options: Any
) -> tuple[Result, list[Any], list[Any]]:
    """The result, and the cluster before and after."""
    before = [*yaml.safe_load_all(WORLD % (mark or MARKS[source])), *policies]
    result = meshport.convert(meshport.load_objects(before), source=source, target=target, **options)
    assert not [item for item in result.findings if item.code in ("MP900", "MP901", "MP903", "MP904")]
    assert result.ledger.counts["unaccounted"] == 0
    made = {
        (one.object["kind"], one.object["metadata"].get("namespace"), one.object["metadata"]["name"]): one.object
        for one in result.manifests
    }
    kept = [one for one in before if (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) not in made]
    return result, before, [*kept, *made.values()]


def reached(objects: list[Any], mesh: str, carried: int | None) -> set[tuple[int, int]]:
    """Which callers come to which ports of the api."""
    found = set()
    for number, source in enumerate(CALLERS):
        for port in (8080, 9090, 7000):
            request = {
                "source": source,
                "destination": {"namespace": "shop", "workload": "api", "port": port},
                "method": "GET",
                "path": "/",
            }
            through = network.decide(objects, request, meshed=True, carried=carried)
            if through and (istio.decide(objects, request) if mesh == "istio" else linkerd.decide(objects, request)) == "allow":
                found.add((number, port))
    return found


def told(result: Result) -> list[tuple[str, str, str]]:
    return [
        (item.code, item.severity, item.effect) for item in result.findings if item.code in ("MP185", "MP186", "MP187", "MP188", "MP042")
    ]


@pytest.mark.parametrize(
    ("ingress", "findings"),
    [
        ("[{ports: [{port: 8080}]}]", [("MP186", "warning", "none")]),  # a deny of the mesh, and whoever is outside comes in as before
        (f"[{{from: [{WEB}, {OLD}], ports: [{{port: http}}]}}]", [("MP186", "warning", "none")]),
        (f"[{{from: [{OLD}, {{ipBlock: {{cidr: 203.0.113.0/24}}}}], ports: [{{port: 8080}}]}}]", []),
        (f"[{{from: [{WEB}], ports: [{{port: 8080}}, {{port: 4143}}]}}]", [("MP186", "info", "none")]),
        (f"[{{from: [{WEB}, {OLD}], ports: [{{port: 8080}}]}}, {{from: [{OPS}], ports: [{{port: 4143}}]}}]", [("MP186", "info", "none"), ("MP186", "warning", "none")]),
        (f"[{{from: [{WEB}]}}]", []),
        (f"[{{from: [{WEB}], ports: [{{port: 1, endPort: 65535}}]}}]", [("MP186", "info", "none")]),
        ("[]", []),
    ],
)  # fmt: skip
def test_from_one_port_of_the_proxies_to_those_of_the_application(ingress: str, findings: list[tuple[str, str, str]]) -> None:
    result, before, after = converted([policy(ingress)], "linkerd", "istio", source_version="2.18")
    assert reached(before, "linkerd", 4143) == reached(after, "istio", None)
    assert sorted(told(result)) == findings
    unchanged, before, after = converted([policy(ingress)], "linkerd", "istio", source_version="2.17")
    assert reached(before, "linkerd", None) == reached(after, "istio", None) and told(unchanged) == []


def test_peers_that_cannot_be_told_are_refused_and_named() -> None:
    both = f"[{{ports: [{{port: 8080}}]}}, {{from: [{OPS}], ports: [{{port: 4143}}]}}]"
    result, before, after = converted([policy(both)], "linkerd", "istio", source_version="2.18")
    assert reached(after, "istio", None) < reached(before, "linkerd", 4143)
    assert ("MP186", "warning", "narrows") in told(result)
    looser, _, _ = converted([policy(both)], "linkerd", "istio", source_version="2.18", on_loss="looser")
    assert ("MP186", "error", "widens") in told(looser)


def test_ports_that_go_past_the_proxies_were_none_that_these_carried() -> None:
    skipping = (WORLD % MARKS["linkerd"]).replace(
        "metadata: {labels: {app: api}}", "metadata: {labels: {app: api}, annotations: {config.linkerd.io/skip-inbound-ports: '9090'}}"
    )
    objects = [*yaml.safe_load_all(skipping), policy(f"[{{from: [{WEB}], ports: [{{port: 4143}}]}}]")]
    result = meshport.convert(meshport.load_objects(objects), source="linkerd", target="istio", source_version="2.18")
    (changed,) = [one.object["spec"]["ingress"] for one in result.manifests if one.object["kind"] == "NetworkPolicy"]
    assert changed[0]["ports"] == [{"protocol": "TCP", "port": 1, "endPort": 9089}, {"protocol": "TCP", "port": 9091, "endPort": 65535}]


def test_egress_holds_as_it_did() -> None:
    egress = "[{to: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 8080}]}, {ports: [{port: 53, protocol: UDP}, {port: 53}, {port: 443}]}]"
    result, before, after = converted([policy(egress, "{matchLabels: {app: web}}", "egress")], "linkerd", "istio", source_version="2.18")
    assert reached(before, "linkerd", 4143) == reached(after, "istio", None)
    (changed,) = [one.object["spec"]["egress"] for one in result.manifests if one.object["kind"] == "NetworkPolicy"]
    assert changed == yaml.safe_load(egress)[1:]  # names and the world, where no pod of the mesh is asked, stay
    assert told(result) == [("MP186", "warning", "none")]


def test_egress_to_the_port_of_the_targets_proxies_is_not_let_through() -> None:
    egress = "[{to: [{namespaceSelector: {}}], ports: [{port: 4143}]}]"
    result, before, after = converted([policy(egress, "{matchLabels: {app: web}}", "egress")], "istio", "linkerd", target_version="2.18")
    assert not reached(after, "linkerd", 4143) - reached(before, "istio", None)
    assert told(result) == [("MP187", "error", "narrows")]


def test_a_policy_of_cilium_likewise() -> None:
    ports = "toPorts: [{ports: [{port: '%s', protocol: TCP}]}]"
    rules = f"[{{fromEndpoints: [{{matchLabels: {{app: web}}}}], {ports % 8080}}}, {{fromEndpoints: [{{matchLabels: {{app: ops}}}}], {ports % 4143}}}, {{fromEntities: [world], {ports % 8080}}}]"
    spec = {"endpointSelector": {"matchLabels": {"app": "api"}}, "ingress": yaml.safe_load(rules)}
    own = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": "network", "namespace": "shop"}, "spec": spec}
    _, before, after = converted([own], "linkerd", "istio", source_version="2.18")
    assert reached(before, "linkerd", 4143) == reached(after, "istio", None) == {(1, 8080), (1, 9090), (1, 7000), (3, 8080)}


@pytest.mark.parametrize(
    ("source", "target", "port", "kept"),
    [
        ("istio", "linkerd", "8080", "less"),
        ("linkerd", "istio", "8080", None),
        ("linkerd", "istio", "4143", None),
        ("linkerd", "istio", "9090", None),
    ],
)
def test_what_a_policy_of_cilium_denies_is_denied(source: str, target: str, port: str, kept: str | None) -> None:
    """A deny that the network could not see denied nothing; one that it saw is not to be passed on the proxies' port."""
    deny = f"[{{fromEndpoints: [{{matchLabels: {{app: web}}}}], toPorts: [{{ports: [{{port: '{port}', protocol: TCP}}]}}]}}]"
    spec = {
        "endpointSelector": {"matchLabels": {"app": "api"}},
        "ingress": [{"fromEntities": ["all"]}],
        "ingressDeny": yaml.safe_load(deny),
    }
    own = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": "network", "namespace": "shop"}, "spec": spec}
    result, before, after = converted(
        [own],
        source,
        target,
        source_version="2.18" if source == "linkerd" else None,
        target_version="2.18" if target == "linkerd" else None,
    )
    was = reached(before, source, 4143 if source == "linkerd" else None)
    now = reached(after, target, 4143 if target == "linkerd" else None)
    if kept is None:
        assert was == now
    else:
        assert was - now == {(0, 9090), (0, 7000)} and not now - was
        assert told(result) == [("MP187", "warning", "narrows")]


def test_one_that_is_context_is_not_changed_and_never_silently_wider() -> None:
    objects = list(yaml.safe_load_all(WORLD % MARKS["linkerd"]))
    for ingress, findings in (
        ("[{ports: [{port: 8080}]}]", [("MP186", "warning", "none")]),
        (f"[{{from: [{WEB}], ports: [{{port: 8080}}]}}, {{from: [{OPS}], ports: [{{port: 4143}}]}}]", [("MP186", "error", "widens")]),
    ):
        beside = meshport.load_objects([policy(ingress)])
        result = meshport.convert(meshport.load_objects(objects), source="linkerd", target="istio", source_version="2.18", context=beside)
        assert [item for item in told(result) if item[2] != "none" or item[1] != "info"][:1] == findings
        kinds = {one.object["kind"] for one in result.manifests}
        assert "NetworkPolicy" not in kinds and ("AuthorizationPolicy" in kinds) is (findings[0][2] == "none")


def test_to_proxies_with_a_port_of_their_own_what_does_not_let_it_through_is_said() -> None:
    for source, target, mark, options in (
        ("istio", "linkerd", "", {"target_version": "2.18"}),
        ("linkerd", "linkerd", "", {"source_version": "2.17", "target_version": "2.18"}),
        ("istio", "istio", "", {"data_plane": "ambient"}),
    ):
        result, _, _ = converted([policy("[{ports: [{port: 8080}]}]")], source, target, mark, **options)
        assert told(result) == [("MP185", "error", "narrows")]
        (found,) = [item for item in result.findings if item.code == "MP185"]
        assert {(one.namespace, one.workload) for one in found.affects} == {("shop", "api")}
    result, _, _ = converted([policy("[{ports: [{port: 8080}]}]")], "istio", "linkerd", target_version="2.17")
    assert told(result) == []


def test_a_port_of_the_proxies_that_carries_more_than_was_let_through_is_taken_out() -> None:
    ready = [policy(f"[{{from: [{WEB}], ports: [{{port: 8080}}, {{port: 4100, endPort: 4200}}]}}]")]
    result, before, after = converted(ready, "istio", "linkerd", target_version="2.18")
    assert not reached(after, "linkerd", 4143) - reached(before, "istio", None)
    assert told(result) == [("MP187", "error", "narrows")]
    looser, _, _ = converted(ready, "istio", "linkerd", target_version="2.18", on_loss="looser")
    assert told(looser) == [("MP187", "error", "widens")]


@pytest.mark.parametrize(
    ("source", "mark", "target", "plane", "carried"),
    [("linkerd", "", "istio", "ambient", 15008), ("istio", AMBIENT, "linkerd", None, 4143)],
)
def test_between_two_such_ports_the_new_one_is_let_through_too(
    source: str, mark: str, target: str, plane: str | None, carried: int
) -> None:
    own = 4143 if source == "linkerd" else 15008
    result, _, _ = converted(
        [policy(f"[{{from: [{WEB}], ports: [{{port: 8080}}, {{port: {own}}}]}}]")], source, target, mark, data_plane=plane
    )
    (changed,) = [one.object["spec"]["ingress"] for one in result.manifests if one.object["kind"] == "NetworkPolicy"]
    assert [port.get("port") for port in changed[0]["ports"]] == [8080, own, carried]
    assert told(result) == [("MP188", "info", "none")]


@pytest.mark.parametrize("ports", ["{port: 8080}", "{port: http}, {port: 4143}"])
def test_where_the_mesh_states_the_ports_that_of_its_proxies_is_let_through(ports: str) -> None:
    """The mesh's policy opens 8080 alone, as the network does: so nothing is lost where the network does not see ports any more."""
    allow = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "api", "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": "api"}},
            "rules": [{"from": [{"source": {"namespaces": ["shop"]}}], "to": [{"operation": {"ports": ["8080"], "methods": ["GET"]}}]}],
        },
    }
    beside = policy(f"[{{from: [{WEB}], ports: [{ports}]}}]")
    result, before, after = converted([allow, beside], "istio", "linkerd", target_version="2.18")
    assert reached(before, "istio", None) == reached(after, "linkerd", 4143) == {(0, 8080)}
    assert told(result) == ([] if "4143" in ports else [("MP188", "info", "none")])
    (changed,) = [one for one in after if one["kind"] == "NetworkPolicy"]
    assert 4143 in [port["port"] for port in changed["spec"]["ingress"][0]["ports"]]


def test_policies_of_a_namespace_that_do_not_let_the_port_through_are_named_together() -> None:
    """Four hundred of them are one sentence and one remedy, and the places are those of each."""
    policies = [
        {**policy("[{ports: [{port: 8080}]}]", f"{{matchLabels: {{app: {app}}}}}"), "metadata": {"name": app, "namespace": "shop"}}
        for app in ("api", "web")
    ]
    result, _, _ = converted(policies, "istio", "linkerd", target_version="2.18")
    (found,) = [item for item in result.findings if item.code == "MP185"]
    assert {(one.namespace, one.workload) for one in found.affects} == {("shop", "api"), ("shop", "web")}
    assert "NetworkPolicy shop/api, NetworkPolicy shop/web" in found.message and "4143" in found.remedy
