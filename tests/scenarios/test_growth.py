"""What is done for a document does not grow with the number of documents beside it. Counted are calls of functions, which no other work on the machine changes."""

from __future__ import annotations

import cProfile
from collections.abc import Callable
from typing import Any

import pytest
from sampling import ALL, some

import meshport
from meshport import pipeline
from meshport.effective.pieces import Piece
from meshport.migrate import states

Doc = dict[str, Any]
FEW, MANY = (50, 200) if ALL else (30, 90)
MOST = 1.25  # times as much as for each of the few; looking at all others for each comes to more


def _object(api: str, kind: str, name: str, spec: Doc | None = None, **metadata: Any) -> Doc:
    place = {} if kind == "Namespace" else {"namespace": "shop"}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, **place, **metadata}, **({} if spec is None else {"spec": spec})}


def _app(name: str) -> list[Doc]:
    container = {"name": "app", "image": "app:1", "ports": [{"containerPort": 8080}]}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"serviceAccountName": name, "containers": [container]}}
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return [
        _object("apps/v1", "Deployment", name, {"selector": {"matchLabels": {"app": name}}, "template": template}),
        _object("v1", "Service", name, {"selector": {"app": name}, "ports": ports}),
    ]


def _namespace(mesh: str) -> list[Doc]:
    told: dict[str, Doc] = {
        "istio": {"labels": {"istio-injection": "enabled"}},
        "linkerd": {"annotations": {"linkerd.io/inject": "enabled"}},
        "cilium": {},
    }
    return [_object("v1", "Namespace", "shop", **told[mesh])]


def _cilium_policies(count: int) -> list[Doc]:
    docs = _namespace("cilium")
    for number in range(count):
        rule = {"fromEndpoints": [{"matchLabels": {"app": f"a{(number + 1) % count}"}}], "toPorts": [{"ports": [{"port": "8080"}]}]}
        named = {"toFQDNs": [{"matchName": f"h{number}.example.com"}]}
        spec = {"endpointSelector": {"matchLabels": {"app": f"a{number}"}}, "ingress": [rule], "egress": [named]}
        docs += [*_app(f"a{number}"), _object("cilium.io/v2", "CiliumNetworkPolicy", f"a{number}", spec)]
    return docs


def _network_policies(count: int) -> list[Doc]:
    docs = _namespace("linkerd")
    for number in range(count):
        peer = {"podSelector": {"matchLabels": {"app": f"a{(number + 1) % count}"}}}
        rule = {"from": [peer], "ports": [{"port": 8080, "protocol": "TCP"}]}
        spec = {"podSelector": {"matchLabels": {"app": f"a{number}"}}, "policyTypes": ["Ingress"], "ingress": [rule]}
        docs += [*_app(f"a{number}"), _object("networking.k8s.io/v1", "NetworkPolicy", f"a{number}", spec)]
    return docs


def _servers(count: int) -> list[Doc]:
    docs = _namespace("linkerd")
    for number in range(count):
        name, caller = f"a{number}", f"a{(number + 1) % count}"
        server = {"podSelector": {"matchLabels": {"app": name}}, "port": 8080, "proxyProtocol": "HTTP/1"}
        grant = {
            "targetRef": {"group": "policy.linkerd.io", "kind": "Server", "name": name},
            "requiredAuthenticationRefs": [{"kind": "ServiceAccount", "name": caller, "namespace": "shop"}],
        }
        docs += [
            *_app(name),
            _object("policy.linkerd.io/v1beta3", "Server", name, server),
            _object("policy.linkerd.io/v1alpha1", "AuthorizationPolicy", name, grant),
        ]
    return docs


def _open_workloads(count: int) -> list[Doc]:
    policy = _object("cilium.io/v2", "CiliumNetworkPolicy", "all", {"endpointSelector": {}, "ingress": [{"fromEndpoints": [{}]}]})
    return [*_namespace("cilium"), *(doc for number in range(count) for doc in _app(f"a{number}")), policy]


def _outside(count: int) -> list[Doc]:
    docs = [*_namespace("istio"), *_app("app")]
    for number in range(count):
        host = f"h{number}.example.com"
        port = {"number": 443, "name": "tls", "protocol": "TLS"}
        route = {"match": [{"port": 443, "sniHosts": [host]}], "route": [{"destination": {"host": host, "port": {"number": 443}}}]}
        entry = {"hosts": [host], "ports": [port], "resolution": "DNS", "location": "MESH_EXTERNAL"}
        docs += [
            _object("networking.istio.io/v1", "ServiceEntry", f"e{number}", entry),
            _object("networking.istio.io/v1", "VirtualService", f"e{number}", {"hosts": [host], "tls": [route]}),
        ]
    return docs


def _gateways(count: int) -> list[Doc]:
    docs = _namespace("istio")
    for number in range(count):
        server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": [f"a{number}.example.com"]}
        gateway = {"selector": {"app": f"a{number}"}, "servers": [server]}
        rule = {"host": f"a{number}", "trafficPolicy": {"outlierDetection": {"consecutive5xxErrors": 3}}}
        docs += [
            *_app(f"a{number}"),
            _object("networking.istio.io/v1", "Gateway", f"a{number}", gateway),
            _object("networking.istio.io/v1", "DestinationRule", f"a{number}", rule),
        ]
    return docs


def _servers_alone(count: int) -> list[Doc]:
    """Servers for pods that the input does not show."""
    specs = ({"podSelector": {"matchLabels": {"app": f"a{number}"}}, "port": 8080} for number in range(count))
    return [*_namespace("linkerd"), *(_object("policy.linkerd.io/v1beta3", "Server", f"a{at}", spec) for at, spec in enumerate(specs))]


@pytest.mark.parametrize(
    ("bundle", "source", "target"),
    [
        (_cilium_policies, "cilium", None),
        (_servers_alone, "linkerd", None),
        (_outside, "istio", None),
        (_gateways, "istio", None),
        (_servers, "linkerd", None),
        (_cilium_policies, "cilium", "istio"),
        (_open_workloads, "cilium", "linkerd"),
        (_servers, "linkerd", "istio"),
        (_network_policies, "linkerd", "cilium"),
        (_outside, "istio", "cilium"),
        (_outside, "istio", "linkerd"),
    ],
)
def test_each_document_costs_the_same_however_many_stand_beside_it(
    bundle: Callable[[int], list[Doc]], source: str, target: str | None
) -> None:
    _calls(bundle(2), source, target)  # tables and modules are loaded once
    few, many = (_calls(bundle(count), source, target) for count in (FEW, MANY))
    assert many / MANY < few / FEW * MOST


def _calls(docs: list[Doc], source: str, target: str | None) -> int:
    bundle, profile = meshport.load_objects(docs), cProfile.Profile(subcalls=False, builtins=False)
    with profile:
        if target is None:
            meshport.lint(bundle, source=source)
        else:
            meshport.convert(bundle, source=source, target=target)
    return sum(entry.callcount for entry in profile.getstats())


def test_the_states_of_a_plan_are_judged_as_far_as_their_size_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is about as much as a conversion: the source is read once for all of them, and a large bundle has few."""
    docs: list[Doc] = []
    for number in range(4):
        home = f"shop{number}"
        docs += [{**_namespace("istio")[0], "metadata": {"name": home, "labels": {"istio-injection": "enabled"}}}]
        docs += [{**doc, "metadata": {**doc["metadata"], "namespace": home}} for doc in _app("web")]
    lifts: list[str] = []
    lift = pipeline.lift
    monkeypatch.setattr(pipeline, "lift", lambda *given, **named: lifts.append(given[2].source) or lift(*given, **named))
    whole = meshport.plan(meshport.load_objects(docs), source="istio", target="linkerd")
    judged = [step.state.says for step in whole.steps if step.state is not None]
    assert not [says for says in judged if "Not computed" in says] and lifts.count("istio") < len(judged) + 4
    monkeypatch.setattr(states, "MOST_DOCUMENTS", 0)
    few = meshport.plan(meshport.load_objects(docs), source="istio", target="linkerd")
    said = [step.state.says for step in few.steps if step.state is not None]
    assert "more states than the 2" in said[-1] and "Not computed" not in said[0]


# -- rules of one workload

Rule = Callable[[int], Doc]


def _from(number: int, **operation: Any) -> Doc:
    return {"from": [{"source": {"principals": [f"cluster.local/ns/shop/sa/c{number}"]}}], "to": [{"operation": operation}]}


@pytest.mark.parametrize("target", some(["linkerd", "cilium"]))
@pytest.mark.parametrize(
    ("action", "rule"),
    [
        ("ALLOW", lambda number: _from(number, paths=[f"/p{number}/*"], methods=["GET"])),
        ("ALLOW", lambda number: _from(number, paths=["/" + "/".join("a" * (1 + number)) + "/*"])),
        ("ALLOW", lambda number: _from(number, notPaths=[f"/p{number}/*"])),
        ("ALLOW", lambda number: _from(number, notPaths=[f"*x{number}"])),
        ("DENY", lambda number: _from(number, paths=[f"/p{number}/*"])),
    ],
)
def test_rules_that_overlap_cost_no_more_than_their_pairs(action: str, rule: Rule, target: str) -> None:
    """Each of them meets each other one: what is left to say may be as much, but not more."""
    docs = [*_namespace("istio"), *_app("web")]

    def policies(count: int) -> list[Doc]:
        rules = [rule(number) for number in range(count)]
        spec = {"selector": {"matchLabels": {"app": "web"}}, "action": action, "rules": rules}
        whole = [_object("security.istio.io/v1", "AuthorizationPolicy", "all", {"rules": [{}]})] if action == "DENY" else []
        return [*docs, *whole, _object("security.istio.io/v1", "AuthorizationPolicy", "web", spec)]

    _calls(policies(2), "istio", target)
    few, many = (_calls(policies(count), "istio", target) for count in (4, 10))
    assert many < few * 6.25 * MOST


def _callers_by_operations(count: int) -> list[Doc]:
    callers = [{"source": {"principals": [f"cluster.local/ns/shop/sa/c{number}"]}} for number in range(count)]
    operations = [{"operation": {"paths": [f"/p{number}/*"], "methods": ["GET"]}} for number in range(count)]
    spec = {"selector": {"matchLabels": {"app": "web"}}, "rules": [{"from": callers, "to": operations}]}
    accounts = [doc for number in range(count) for doc in _app(f"c{number}")]
    return [*_namespace("istio"), *_app("web"), *accounts, _object("security.istio.io/v1", "AuthorizationPolicy", "web", spec)]


def _strict_namespaces(count: int) -> list[Doc]:
    docs: list[Doc] = []
    for number in range(count):
        home = {"namespace": f"shop{number}"}
        docs.append(_object("v1", "Namespace", f"shop{number}", labels={"istio-injection": "enabled"}))
        docs += [{**doc, "metadata": {**doc["metadata"], **home}} for doc in _app("web")]
        docs.append(_object("security.istio.io/v1", "PeerAuthentication", "default", {"mtls": {"mode": "STRICT"}}, **home))
    return docs


def _expressions(count: int) -> list[Doc]:
    routes = [
        {"match": [{"uri": {"regex": f"/(a|b)/.*/x{number}"}}], "route": [{"destination": {"host": "web"}}], "timeout": "3s"}
        for number in range(count)
    ]
    return [
        *_namespace("istio"),
        *_app("web"),
        _object("networking.istio.io/v1", "VirtualService", "web", {"hosts": ["web"], "http": routes}),
    ]


def _denied_callers(count: int) -> list[Doc]:
    allowed = [
        {
            "fromEndpoints": [{}],
            "toPorts": [{"ports": [{"port": "8080", "protocol": "TCP"}], "rules": {"http": [{"path": f"/p{number}/.*"}]}}],
        }
        for number in range(count)
    ]
    denied = [{"fromEndpoints": [{"matchLabels": {"app": f"c{number}"}}]} for number in range(count)]
    spec = {"endpointSelector": {"matchLabels": {"app": "web"}}, "ingress": allowed, "ingressDeny": denied}
    accounts = [doc for number in range(count) for doc in _app(f"c{number}")]
    return [*_namespace("cilium"), *_app("web"), *accounts, _object("cilium.io/v2", "CiliumNetworkPolicy", "web", spec)]


@pytest.mark.parametrize(
    ("bundle", "source", "target"),
    [
        (_callers_by_operations, "istio", "linkerd"),
        (_callers_by_operations, "istio", "cilium"),
        (_strict_namespaces, "istio", "cilium"),
        (_expressions, "istio", "linkerd"),
        (_expressions, "istio", "cilium"),
        (_denied_callers, "cilium", "linkerd"),
    ],
)
def test_lists_that_are_held_against_each_other_cost_no_more_than_their_pairs(
    bundle: Callable[[int], list[Doc]], source: str, target: str
) -> None:
    _calls(bundle(2), source, target)
    few, many = (_calls(bundle(count), source, target) for count in (10, 25))
    assert many < few * 6.25 * MOST


def test_policies_that_differ_in_callers_alone_are_held_against_a_default_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken one after the other, each is looked up among all that were taken before it."""
    taken: list[Piece] = []
    minus = Piece.minus
    monkeypatch.setattr(Piece, "minus", lambda piece, other: taken.append(other) or minus(piece, other))

    def count(policies: int) -> int:
        taken.clear()
        specs = ({"selector": {"matchLabels": {"app": "web"}}, "rules": [_from(number, methods=["GET"])]} for number in range(policies))
        docs = [_object("security.istio.io/v1", "AuthorizationPolicy", f"p{at}", spec) for at, spec in enumerate(specs)]
        meshport.convert(meshport.load_objects([*_namespace("istio"), *_app("web"), *docs]), source="istio", target="linkerd")
        return len(taken)

    assert count(4) == count(16)
