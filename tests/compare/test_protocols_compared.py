"""UDP, SCTP and ICMP: no mesh governs them, network policies do, and bundles that admit different packets are not the same."""

from __future__ import annotations

import pytest

import meshport

WORLD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  template:
    metadata: {labels: {app: users}}
    spec:
      serviceAccountName: users
      containers: [{name: app, image: "app:1", ports: [{containerPort: 8080}, {name: dns, containerPort: 53, protocol: UDP}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: app, image: "app:1"}]}
---
"""
POLICY = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: users, namespace: shop}}
spec:
  endpointSelector: {{matchLabels: {{app: users}}}}
  {rules}
"""
WEB, OWN = "fromEndpoints: [{matchLabels: {app: web}}]", "fromEndpoints: [{matchLabels: {app: users}}]"
HTTP, DNS = "{port: '8080', protocol: TCP}", "{port: '53', protocol: UDP}"


def bundle(rules: str) -> meshport.Bundle:
    return meshport.load_text(WORLD + (POLICY.format(rules=rules) if rules else ""))


def allowing(*rules: str) -> str:
    return f"ingress: [{', '.join(f'{{{rule}}}' for rule in rules)}]"


def on(peers: str, *ports: str) -> str:
    return f"{peers}, toPorts: [{{ports: [{', '.join(ports)}]}}]" if peers else f"toPorts: [{{ports: [{', '.join(ports)}]}}]"


@pytest.mark.parametrize(
    ("old", "new", "packets"),
    [
        (allowing(on(WEB, HTTP, DNS), on(OWN, HTTP)), allowing(on(WEB, HTTP), on(OWN, HTTP, DNS)), "UDP packets from shop/web to shop/users:53"),
        (allowing(on("", "{port: '0', protocol: TCP}")), "", "to shop/users, on any port that nothing names: denied before, allowed now"),
        (allowing(on("", HTTP, DNS)), allowing(on("", HTTP)) + "\n  ingressDeny: [{toPorts: [{ports: [" + DNS + "]}]}]", "UDP packets from outside"),
        (allowing(on(WEB, HTTP), f"{WEB}, icmps: [{{fields: [{{type: 8}}]}}]"), allowing(on(WEB, HTTP)), "ICMP packets from shop/web to shop/users"),
        (allowing(on(WEB, "{port: dns, protocol: UDP}")), allowing(on(WEB, "{port: dns, protocol: SCTP}")), "shop/users:53: allowed before"),
    ],
    ids=["other peers", "closed by a rule for TCP alone", "allowed or refused", "echoes", "a name is of one protocol"],
)  # fmt: skip
def test_packets_that_only_one_side_admits_leave_the_verdict_open(old: str, new: str, packets: str) -> None:
    found = meshport.verify(bundle(old), bundle(new), old_mesh="cilium", new_mesh="cilium")
    assert found.verdict == "inconclusive"
    assert any(packets in why for why in found.undecided)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (allowing(on(WEB, "{port: '53'}")), allowing(*(on(WEB, f"{{port: '53', protocol: {one}}}") for one in ("SCTP", "TCP", "UDP")))),
        (allowing(on(WEB, DNS)), allowing(on(WEB, "{port: dns, protocol: UDP}"))),
        (allowing(on("fromCIDR: [198.51.100.0/24]", DNS)), allowing(on("fromCIDR: [198.51.100.0/25, 198.51.100.128/25]", DNS))),
    ],
    ids=["any protocol", "a port by name", "halves of a block"],
)
def test_the_same_packets_in_other_words(old: str, new: str) -> None:
    found = meshport.verify(bundle(old), bundle(new), old_mesh="cilium", new_mesh="cilium")
    assert (found.verdict, found.undecided) == ("equivalent", [])


def test_what_tcp_shows_is_not_said_again() -> None:
    found = meshport.verify(bundle(allowing(WEB)), bundle(allowing(OWN)), old_mesh="cilium", new_mesh="cilium")
    assert (found.verdict, found.undecided) == ("changed", [])


def test_a_packet_can_be_traced() -> None:
    asked = {"source": {"namespace": "shop", "workload": "web"}, "destination": {"namespace": "shop", "workload": "users", "port": 53}}
    known = bundle(allowing(on(WEB, HTTP, DNS)))
    allowed = {name: meshport.trace(known, {**asked, "protocol": name}, mesh="cilium").allowed for name in ("udp", "tcp", "sctp")}
    assert allowed == {"udp": True, "tcp": False, "sctp": False}
