"""Argo Rollouts set the weights of the object that they name: they name what was written in its place, and the weights stay theirs."""

from __future__ import annotations

from typing import Any

import pytest

from .decision_helper import convert, namespace, said, service, thing, workload, written

SERVICES = service("app") + service("app-c") + service("app-s") + workload("app")
ISTIO = namespace() + SERVICES
LINKERD = namespace(mesh="linkerd") + SERVICES
BETWEEN = "canaryService: app-c, stableService: app-s, "
BY_SERVICE = thing(
    "networking.istio.io/v1", "VirtualService",
    "{hosts: [app], http: [{name: primary, route: [{destination: {host: app-s}, weight: 100}, {destination: {host: app-c}, weight: 0}]}]}", "shift",
)  # fmt: skip
BY_SUBSET = thing("networking.istio.io/v1", "DestinationRule", "{host: app, subsets: [{name: old, labels: {v: a}}, {name: new, labels: {v: b}}]}", "app") + thing(
    "networking.istio.io/v1", "VirtualService",
    "{hosts: [app], http: [{route: [{destination: {host: app, subset: old}, weight: 100}, {destination: {host: app, subset: new}, weight: 0}]}]}", "shift",
)  # fmt: skip
SPLIT = thing(
    "split.smi-spec.io/v1alpha2",
    "TrafficSplit",
    "{service: app, backends: [{service: app-s, weight: 90}, {service: app-c, weight: 10}]}",
    "shift",
)
ROUTE = thing(
    "gateway.networking.k8s.io/v1", "HTTPRoute",
    "{parentRefs: [{group: core, kind: Service, name: app, port: 80}], rules: [{matches: [{path: {value: /a}}]}, "
    "{backendRefs: [{name: app-s, port: 80, weight: 9}, {name: app-c, port: 80, weight: 1}]}]}", "shift",
)  # fmt: skip


def rollout(routing: str, services: str = BETWEEN) -> str:
    return thing(
        "argoproj.io/v1alpha1",
        "Rollout",
        f"{{strategy: {{canary: {{{services}trafficRouting: {routing}, steps: [{{setWeight: 20}}]}}}}}}",
        "app",
    )


def canary(result: Any) -> Any:
    return written(result, "Rollout")["app"]["spec"]["strategy"]["canary"]


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_a_virtual_service_gives_way_to_its_route(target: str) -> None:
    result = convert(ISTIO + BY_SERVICE + rollout("{istio: {virtualService: {name: shift, routes: [primary]}}}"), "istio", target)
    assert canary(result) == {
        "canaryService": "app-c",
        "stableService": "app-s",
        "trafficRouting": {"plugins": {"argoproj-labs/gatewayAPI": {"httpRoute": "shift", "namespace": "shop"}}},
        "steps": [{"setWeight": 20}],
    }
    assert "shift" in written(result, "HTTPRoute")
    (found,) = said(result, "MP866")
    assert found.severity == "warning" and "needs its plugin" in found.message


def test_subsets_are_the_services_that_stand_for_them() -> None:
    routing = "{istio: {virtualService: {name: shift.shop}, destinationRule: {name: app, canarySubsetName: new, stableSubsetName: old}}}"
    found = canary(convert(ISTIO + BY_SUBSET + rollout(routing, ""), "istio", "linkerd"))
    assert (found["canaryService"], found["stableService"]) == ("app-new", "app-old")
    assert list(found["trafficRouting"]) == ["plugins"]


def test_a_split_gives_way_to_a_virtual_service() -> None:
    result = convert(LINKERD + SPLIT + rollout("{smi: {rootService: app, trafficSplitName: shift}}"), "linkerd", "istio")
    (name,) = written(result, "VirtualService")
    assert canary(result)["trafficRouting"] == {"istio": {"virtualService": {"name": name}}}


def test_of_a_virtual_service_with_several_rules_those_with_weights_are_named() -> None:
    result = convert(
        LINKERD + ROUTE + rollout("{plugins: {argoproj-labs/gatewayAPI: {httpRoute: shift, namespace: shop}}}"), "linkerd", "istio"
    )
    (made,) = written(result, "VirtualService").values()
    (weighted,) = [rule["name"] for rule in made["spec"]["http"] if len(rule["route"]) == 2]
    assert canary(result)["trafficRouting"] == {"istio": {"virtualService": {"name": made["metadata"]["name"], "routes": [weighted]}}}


@pytest.mark.parametrize(
    ("world", "routing", "source"),
    [
        (ISTIO, "{istio: {virtualService: {name: elsewhere}}}", "istio"),
        (LINKERD, "{smi: {rootService: app}}", "linkerd"),  # Argo makes the split itself
    ],
)
def test_what_was_not_written_is_an_error(world: str, routing: str, source: str) -> None:
    result = convert(world + rollout(routing), source, "cilium")
    assert [finding.severity for finding in said(result, "MP867")] == ["error"]
    assert not written(result, "Rollout")


def test_what_stays_is_named_as_before() -> None:
    same = rollout("{plugins: {argoproj-labs/gatewayAPI: {httpRoute: shift, namespace: shop}}}")
    assert not written(convert(LINKERD + ROUTE + same, "linkerd", "cilium"), "Rollout")
    virtual = rollout("{istio: {virtualService: {name: shift}}}")
    assert not written(convert(ISTIO + BY_SERVICE + virtual, "istio", "istio", data_plane="ambient"), "Rollout")
