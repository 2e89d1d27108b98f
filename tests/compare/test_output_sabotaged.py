"""What is lost or changed of an output before it is read back is seen: each of these would lose traffic, or refuse it, once applied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import meshport
from meshport import conversion
from meshport.documents import Bundle
from meshport.ir.model import IR

Spec = dict[str, Any]

CLOSED = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {serviceAccountName: web, containers: [{name: app, image: web}]}}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop}
spec: {hosts: [api.example.com], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}]}
"""


def said(monkeypatch: pytest.MonkeyPatch, text: str, kind: str, harm: Callable[[Spec], Any], source: str, target: str) -> list[str]:
    """The defects that a conversion names whose output of a kind was harmed before it was read back."""
    read_back = conversion.read_back

    def harmed(job: conversion.Conversion, written: conversion.Written) -> tuple[Bundle, IR]:
        (spec,) = [obj.value["spec"] for obj in job.out.in_order() if obj.kind == kind]
        harm(spec)
        return read_back(job, written)

    with monkeypatch.context() as patched:
        patched.setattr(conversion, "read_back", harmed)
        result = meshport.convert(meshport.load_text(text), source=source, target=target)
    return [finding.message for finding in result.findings if finding.code == "MP900"]


def without(word: str) -> Callable[[Spec], None]:
    """Take the egress rules with a word out."""

    def harm(spec: Spec) -> None:
        left = [rule for rule in spec["egress"] if word not in str(rule)]
        assert len(left) == len(spec["egress"]) - 1
        spec["egress"] = left

    return harm


def by_udp(spec: Spec) -> None:
    (rule,) = [rule for rule in spec["egress"] if "toFQDNs" in rule]
    rule["toPorts"][0]["ports"][0]["protocol"] = "UDP"


def of_other_names(spec: Spec) -> None:
    (rule,) = [rule for rule in spec["egress"] if "toEndpoints" in rule]
    rule["toPorts"][0]["rules"]["dns"] = [{"matchPattern": "*.example.org"}]


HARMS: dict[str, Callable[[Spec], None]] = {
    "the cluster's own Services": without("cluster"),
    "the lookup of names": without("kube-dns"),
    "the names that are looked up": of_other_names,
    "protocols beside TCP": without("SCTP"),
    "echo requests": without("icmps"),
    "what a name is open for": by_udp,
}


@pytest.mark.parametrize("what", HARMS)
def test_an_egress_policy_of_cilium_that_lets_less_through_is_noticed(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mesh that refuses what leaves holds back TCP beyond the cluster alone."""
    assert any("egress of shop/web" in text for text in said(monkeypatch, CLOSED, "CiliumNetworkPolicy", HARMS[what], "istio", "cilium"))


ENTRANCE = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: [web.example.com]}
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: [web.example.com], tls: {mode: MUTUAL, credentialName: web}}
"""


def test_a_listener_that_is_not_as_it_was_meant_is_noticed_and_one_that_a_finding_gives_up_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_another_port(spec: Spec) -> None:
        spec["listeners"][0]["port"] = 8080

    assert said(monkeypatch, ENTRANCE, "Gateway", lambda spec: None, "istio", "cilium") == []
    (text,) = said(monkeypatch, ENTRANCE, "Gateway", of_another_port, "istio", "cilium")
    assert text.startswith("listeners of Gateway shop/edge") and "port 80 for" in text and "port 8080 for" in text and "443" not in text


def test_as_it_is_written_nothing_is_amiss(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(monkeypatch, CLOSED, "CiliumNetworkPolicy", lambda spec: None, "istio", "cilium") == []


SHUT = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: app, image: web, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/front]}}], to: [{operation: {methods: [GET]}}]}]
"""


def by_no_operator(spec: Spec) -> None:
    spec["endpointSelector"] = {"matchExpressions": [{"key": "app", "operator": "Is", "values": ["web"]}]}


@pytest.mark.parametrize(
    ("target", "kind", "harm"), [("linkerd", "Server", lambda spec: spec.pop("port")), ("cilium", "CiliumNetworkPolicy", by_no_operator)]
)
def test_an_object_that_no_cluster_takes_is_noticed(
    target: str, kind: str, harm: Callable[[Spec], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API server refuses it, so that nothing of it holds, whatever else is said to differ there."""
    assert said(monkeypatch, SHUT, kind, lambda spec: None, "istio", target) == []
    assert any("no cluster takes what was written" in text for text in said(monkeypatch, SHUT, kind, harm, "istio", target))
