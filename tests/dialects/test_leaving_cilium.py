"""What leaves the cluster, from Cilium to meshes whose proxies take the place of its egress rules (`--no-keep-network-policy`)."""

from __future__ import annotations

from typing import Any

import pytest

import meshport
from meshport.pipeline import Result

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: app, image: "app:1"}]}
"""
INSIDE = "{toEntities: [cluster]}"


def egress(*rules: str, selector: str = "{}", name: str = "egress") -> str:
    return f"""---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: {name}, namespace: shop}}
spec: {{endpointSelector: {selector}, egress: [{", ".join((INSIDE, *rules))}]}}
"""


def names(listed: str, ports: str) -> str:
    return f"{{toFQDNs: [{listed}], toPorts: [{{ports: [{ports}]}}]}}"


def convert(text: str, target: str, **options: Any) -> Result:
    result = meshport.convert(meshport.load_text(WORLD + text), source="cilium", target=target, keep_network_policy=False, **options)
    assert [item.message for item in result.findings if item.code in ("MP900", "MP901", "MP902", "MP904")] == []
    assert all(change.findings for change in result.diff) and not result.ledger.counts["unaccounted"]
    return result


def specs(result: Result) -> dict[str, Any]:
    return {f"{item.object['kind']}/{item.object['metadata']['name']}": item.object.get("spec") for item in result.manifests}


def reasons(result: Result) -> list[str]:
    return sorted(item.message.partition(": ")[2] for item in result.findings if item.code == "MP720")


API = names("{matchName: API.example.com}", "{port: '443', protocol: TCP}, {port: '80', protocol: TCP}")


def test_names_are_entries_of_a_closed_registry() -> None:
    found = specs(convert(egress(API), "istio"))
    assert found["Sidecar/default"] == {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
    entry = found["ServiceEntry/egress"]
    assert (entry["hosts"], entry["resolution"], entry["exportTo"]) == (["api.example.com"], "DNS", ["."])
    assert [(port["number"], port["protocol"]) for port in entry["ports"]] == [(443, "TLS"), (80, "HTTP")]


def test_and_routes_on_an_egress_network_that_denies() -> None:
    found = specs(convert(egress(API), "linkerd"))
    assert found["EgressNetwork/egress"] == {"trafficPolicy": "Deny"}
    assert found["TLSRoute/egress-443"]["hostnames"] == found["HTTPRoute/egress-80"]["hostnames"] == ["api.example.com"]


def test_some_of_the_pods_are_closed_by_a_sidecar_for_them() -> None:
    found = specs(convert(egress(API, selector="{matchLabels: {app: web}}"), "istio"))
    assert found["Sidecar/egress"] == {
        "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
        "workloadSelector": {"labels": {"app": "web"}},
    }


def test_addresses_and_ports_of_every_address_are_told_by_network() -> None:
    cidr = "{toCIDR: [203.0.113.0/24], toPorts: [{ports: [{port: '5432', protocol: TCP}]}]}"
    world = "{toEntities: [world], toPorts: [{ports: [{port: '9093', protocol: TCP}, {port: '123', protocol: UDP}]}]}"
    linkerd = specs(convert(egress(cidr, world), "linkerd"))
    assert linkerd["EgressNetwork/egress-2"] == {"trafficPolicy": "Deny", "networks": [{"cidr": "203.0.113.0/24"}]}
    routes = sorted(
        (spec["parentRefs"][0]["name"], spec["parentRefs"][0]["port"]) for name, spec in linkerd.items() if name.startswith("TCPRoute/")
    )
    assert routes == [("egress", 9093), ("egress-2", 5432), ("egress-2", 9093)]  # the smaller network is the only one that is asked
    istio = specs(convert(egress(cidr, world), "istio"))
    assert [spec.get("addresses") for name, spec in istio.items() if name.startswith("ServiceEntry/")] == [["203.0.113.0/24"], None]


def test_what_would_open_more_is_left_out() -> None:
    rules = (
        names("{matchPattern: '*.pay.example.com'}, {matchPattern: '**.deep.example.com'}", "{port: '443'}"),
        names("{matchName: db.example.com}", "{port: '5432', protocol: TCP}, {port: '8000', endPort: 8010, protocol: TCP}"),
        "{toFQDNs: [{matchName: l7.example.com}], toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [{path: /public}]}}]}",
        "{toFQDNs: [{matchName: all.example.com}]}",
    )
    result = convert(egress(*rules), "istio")
    assert [spec["hosts"] for name, spec in specs(result).items() if name.startswith("ServiceEntry/")] == [["*.deep.example.com"]]
    assert len(reasons(result)) == 5 and all(item.severity == "error" for item in result.findings if item.code == "MP720")


L7 = "{toFQDNs: [{matchName: api.example.com}], toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [RULES]}}]}"
ASKED = L7.replace("RULES", "{method: 'GET|HEAD', path: '/v1/.*'}, {headers: ['x-team: a']}")


def test_rules_for_requests_are_those_of_the_host() -> None:
    istio = specs(convert(egress(ASKED), "istio"))
    assert istio["ServiceEntry/egress"]["hosts"] == ["api.example.com"]
    (rule,) = istio["VirtualService/egress"]["http"]  # and what it does not take is answered 404
    assert rule["match"] == [
        *({"method": {"exact": name}, "uri": {"prefix": "/v1/"}} for name in ("GET", "HEAD")),
        {"headers": {"x-team": {"exact": "a"}}},
    ]
    made = convert(egress(ASKED), "linkerd")
    (route,) = (spec for name, spec in specs(made).items() if name.startswith("HTTPRoute/"))
    assert specs(made)["EgressNetwork/egress"]["trafficPolicy"] == "Deny" and route["hostnames"] == ["api.example.com"]
    assert [match for rule in route["rules"] for match in rule["matches"]] == [{"headers": [{"name": "x-team", "value": "a"}]}]
    assert len(reasons(made)) == 1 and "dot segments" in reasons(made)[0]  # of a path that Linkerd takes as it comes


def test_a_rule_that_opens_the_host_as_a_whole_goes_before_them() -> None:
    found = specs(convert(egress(ASKED, API), "istio"))
    assert not any(name.startswith("VirtualService/") for name in found)


def test_where_a_rule_opens_the_world_or_policies_speak_of_different_pods_nothing_is_closed() -> None:
    for more in (egress("{toEntities: [world]}", name="open"), egress(API, selector="{matchLabels: {app: web}}", name="own")):
        result = convert(egress(API) + more, "istio")
        assert not any(name.startswith(("Sidecar/", "ServiceEntry/")) for name in specs(result))
        assert {item.message.partition(", ")[2] for item in result.findings if item.code == "MP124"} == {
            "what leaves its pods is restricted no more; the target decides at the server alone"
        }


def test_what_is_kept_is_not_said_again() -> None:
    text = WORLD + egress(API)
    kept = meshport.convert(meshport.load_text(text), source="cilium", target="istio")
    assert not any(name.startswith(("Sidecar/", "ServiceEntry/")) for name in specs(kept))


OPEN = """---
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: base}
spec: {endpointSelector: SELECTOR, egress: [{toEntities: [all]}]}
"""


@pytest.mark.parametrize(("selector", "lost"), [("{}", False), ("{matchLabels: {app: other}}", True)])
def test_rules_beside_one_that_opens_everything_restrict_nothing(selector: str, lost: bool) -> None:
    result = convert(OPEN.replace("SELECTOR", selector) + egress(API), "istio")
    assert "Sidecar/default" not in specs(result)
    assert [item.message.split(":")[0] for item in result.findings if item.code == "MP124"] == ["CiliumNetworkPolicy shop/egress"] * lost


def test_a_deny_restricts_what_is_open_otherwise() -> None:
    deny = "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: never, namespace: shop}\nspec: {endpointSelector: {}, egressDeny: [{toCIDR: [8.8.8.8/32]}]}\n"
    result = convert(OPEN.replace("SELECTOR", "{}") + deny, "istio")
    assert [item.message.split(":")[0] for item in result.findings if item.code == "MP124"] == ["CiliumNetworkPolicy shop/never"]


def test_a_rule_that_names_nobody_opens_nothing() -> None:
    shut = "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: shut, namespace: shop}\nspec: {endpointSelector: {}, egress: [{}]}\n"
    assert specs(convert(shut, "istio"))["Sidecar/default"] == {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
