"""Kept egress rules between pods of a mesh: the network sees no port behind the mesh's own and no HTTP, so that nothing more may be let out."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport


def workload(name: str) -> dict[str, Any]:
    pod = {"serviceAccountName": name, "containers": [{"name": "app", "image": "app:1", "ports": [{"containerPort": 8080}]}]}
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def policy(name: str, spec: str) -> dict[str, Any]:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        **({"spec": yaml.safe_load(spec)} if not spec.startswith("[") else {"specs": yaml.safe_load(spec)}),
    }


def convert(target: str, *policies: dict[str, Any], **options: Any) -> Any:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    world = [space, *(workload(name) for name in ("web", "pay", "db"))]
    result = meshport.convert(meshport.load_objects([*world, *policies]), source="cilium", target=target, **options)
    assert not [item for item in result.findings if item.code in ("MP900", "MP901", "MP904")]
    assert result.ledger.counts["unaccounted"] == 0
    return result


def kept(result: Any, name: str) -> Any:
    return next(
        (
            one.object["spec"]
            for one in result.manifests
            if (one.object["kind"], one.object["metadata"]["name"]) == ("CiliumNetworkPolicy", name)
        ),
        None,
    )


def told(result: Any, code: str) -> list[tuple[str, str, str | None, int | None]]:
    return [(item.effect, one.namespace, one.workload, one.port) for item in result.findings if item.code == code for one in item.affects]


OUT = policy(
    "web",
    '{endpointSelector: {matchLabels: {app: web}}, egress: [{toEndpoints: [{}], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}]}',
)
READ = policy(
    "web",
    "{endpointSelector: {matchLabels: {app: web}}, egress: [{toEndpoints: [{matchLabels: {app: pay}}], "
    'toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: GET}]}}]}]}',
)
IN = '{endpointSelector: {matchLabels: {app: %s}}, ingress: [{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: "8080", protocol: TCP}]%s}]}]}'


@pytest.mark.parametrize(("target", "options", "port"), [("linkerd", {}, "4143"), ("istio", {"data_plane": "ambient"}, "15008")])
def test_the_meshs_port_is_let_out_to_servers_that_refuse_every_other_port(target: str, options: dict[str, Any], port: str) -> None:
    result = convert(target, OUT, policy("pay", IN % ("pay", "")), **options)
    whole, through = kept(result, "web")["egress"]
    assert whole == OUT["spec"]["egress"][0]
    labels = {"k8s:io.kubernetes.pod.namespace": "shop", "k8s:app": "pay"}
    assert through == {"toEndpoints": [{"matchLabels": labels}], "toPorts": [{"ports": [{"port": port, "protocol": "TCP"}]}]}
    assert told(result, "MP175") == [("narrows", "shop", "db", None), ("narrows", "shop", "web", None)]


def test_sidecars_keep_their_ports_so_that_egress_stays() -> None:
    result = convert("istio", OUT)
    assert kept(result, "web") is None
    assert not told(result, "MP175")


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_http_is_left_out_where_the_server_asks_for_as_much(target: str) -> None:
    open_server = convert(target, READ)
    assert kept(open_server, "web") is None  # the network goes on asking for HTTP, which it does not find between proxies
    assert told(open_server, "MP175") == [("narrows", "shop", "pay", None)]
    asking = convert(target, READ, policy("pay", IN % ("pay", ", rules: {http: [{method: GET}]}")))
    assert "rules" not in kept(asking, "web")["egress"][0]["toPorts"][0]
    assert not told(asking, "MP175")


def test_a_denied_port_is_not_reached_behind_the_meshs() -> None:
    deny = '{endpointSelector: {matchLabels: {app: web}}, enableDefaultDeny: {egress: false}, egressDeny: [{toEndpoints: [{matchLabels: {app: db}}], toPorts: [{ports: [{port: "8080"}]}]}]}'
    result = convert("linkerd", policy("web", deny))
    _, more = kept(result, "web")["egressDeny"]
    assert more["toPorts"] == [{"ports": [{"port": "4143", "protocol": "TCP"}]}]
    assert told(result, "MP175") == [("narrows", "shop", "db", None)]


def test_looser_lets_them_out_and_says_whom_they_reach() -> None:
    result = convert("linkerd", OUT, on_loss="looser")
    assert kept(result, "web")["egress"][0]["toPorts"][0]["ports"][-1] == {"port": "4143", "protocol": "TCP"}
    assert {effect for effect, *_ in told(result, "MP176")} == {"widens"}
    assert not told(result, "MP175")


def test_rules_of_an_object_whose_other_rules_select_nobody_known_are_the_meshs_all_the_same() -> None:
    both = policy(
        "both", "[%s, {endpointSelector: {matchLabels: {io.cilium.k8s.policy.serviceaccount: gone}}, ingress: [{}]}]" % (IN % ("pay", ""))
    )
    result = convert("istio", both)
    (written,) = [item.object["spec"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert written["selector"] == {"matchLabels": {"app": "pay"}}
    assert "MP297" in {item.code for item in result.findings}


def test_rules_without_tcp_cut_nobody_off() -> None:
    names = policy(
        "web",
        '{endpointSelector: {matchLabels: {app: web}}, egress: [{toEntities: [cluster], toPorts: [{ports: [{port: "53", protocol: UDP}]}]}]}',
    )
    result = convert("linkerd", names)
    assert kept(result, "web") is None
    assert not told(result, "MP175")
