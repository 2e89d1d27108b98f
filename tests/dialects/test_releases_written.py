"""`--to-version` and `--from-version`: what the release does not know is not written and said, what it does not read is not acted on."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

WORLD = """
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{port: 80, targetPort: 8080, name: http}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {serviceAccountName: cart, containers: [{name: app, image: cart:1, ports: [{containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {serviceAccountName: web, containers: [{name: app, image: web:1}]}}
"""
ISTIO = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n"
PLAIN = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"


def convert(text: str, source: str, target: str, **options: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    result = meshport.convert(meshport.load_text(text), source=source, target=target, **options)
    assert not [item.message for item in result.findings if item.code in ("MP900", "MP901", "MP904")]
    return [item.object for item in result.manifests], result.findings


def _of(objects: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [item for item in objects if item["kind"] in kinds]


RETRIES = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec: {hosts: [cart], http: [{retries: {attempts: 3, retryOn: 5xx}, route: [{destination: {host: cart}}]}]}
"""


@pytest.mark.parametrize(("release", "written"), [("2.15", False), ("2.16", True)])
def test_retries_to_linkerd(release: str, written: bool) -> None:
    """Retry annotations came with 2.16."""
    objects, findings = convert(WORLD + ISTIO + RETRIES, "istio", "linkerd", target_version=release)
    marks = {key for item in objects for key in item["metadata"].get("annotations", {}) if key.startswith("retry.linkerd.io/")}
    assert bool(marks) == written
    lost = [item for item in findings if item.feature.startswith("retry.attempts") and item.disposition == "dropped"]
    assert bool(lost) != written


GAMMA = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: cart}]
  rules: [{timeouts: {request: 5s}, backendRefs: [{name: cart, port: 80}]}]
"""


@pytest.mark.parametrize("route", [GAMMA, RETRIES], ids=["HTTPRoute", "VirtualService"])
def test_routes_on_services_to_cilium(route: str) -> None:
    """Cilium reads them since 1.16; before, nothing of them is left and the loss is said."""
    objects, findings = convert(WORLD + ISTIO + route, "istio", "cilium", target_version="1.15")
    assert _of(objects, "HTTPRoute") == []
    (lost,) = [item for item in findings if item.code == "MP370"]
    assert "Cilium 1.15 reads no HTTPRoute on a Service" in lost.message
    _, findings = convert(WORLD + ISTIO + route, "istio", "cilium", target_version="1.17")
    assert not [item for item in findings if item.code == "MP370"]


def test_a_route_that_stays_loses_what_the_release_does_not_know() -> None:
    """Cilium 1.16 is built with Gateway API 1.1, in which routes have neither retries nor names of rules."""
    route = GAMMA.replace("timeouts: {request: 5s}", "name: all, retry: {attempts: 2, codes: [503]}")
    objects, findings = convert(WORLD + ISTIO + route, "istio", "cilium", target_version="1.16")
    (written,) = _of(objects, "HTTPRoute")
    assert written["spec"]["rules"] == [{"backendRefs": [{"name": "cart", "port": 80}]}]
    assert [item for item in findings if item.code == "MP455" and "retry" in item.feature]


TIMED = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec: {hosts: [cart], http: [{timeout: 5s, retries: {attempts: 2, perTryTimeout: 1500ms, retryOn: 5xx}, route: [{destination: {host: cart}}]}]}
"""


@pytest.mark.parametrize(("target", "release", "code"), [("cilium", "1.16", "MP023"), ("gateway-api", "1.1", "MP452")])
def test_a_timeout_that_is_written_is_not_said_to_be_lost_and_that_of_a_try_that_is_lost_is(target: str, release: str, code: str) -> None:
    """Both have Gateway API 1.1: `timeouts` in the experimental channel, no retries."""
    objects, findings = convert(WORLD + ISTIO + TIMED, "istio", target, target_version=release)
    (written,) = _of(objects, "HTTPRoute")
    assert [rule.get("timeouts") for rule in written["spec"]["rules"]] == [{"request": "5s"}]
    assert [item.code for item in findings if item.feature == "timeout.request"] == [code]
    assert [item.message for item in findings if item.code == "MP453" and "1500ms is lost" not in item.message] == []
    assert not [item for item in findings if item.code == "MP320"]


POLICY = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}], to: [{operation: {methods: [GET], paths: [/items], ports: ["8080"]}}]}]
"""


@pytest.mark.parametrize(
    ("release", "route", "server"),
    [
        ("2.12", "policy.linkerd.io/v1beta1", "policy.linkerd.io/v1beta1"),
        ("2.13", "policy.linkerd.io/v1beta1", "policy.linkerd.io/v1beta1"),
        ("2.14", "policy.linkerd.io/v1beta3", "policy.linkerd.io/v1beta1"),
        ("2.15", "policy.linkerd.io/v1beta3", "policy.linkerd.io/v1beta2"),
        ("2.16", "policy.linkerd.io/v1beta3", "policy.linkerd.io/v1beta3"),
        ("2.18", "policy.linkerd.io/v1beta3", "policy.linkerd.io/v1beta3"),
        ("2.19", "gateway.networking.k8s.io/v1", "policy.linkerd.io/v1beta3"),
        ("2.20", "gateway.networking.k8s.io/v1", "policy.linkerd.io/v1beta3"),
    ],
)
def test_inbound_routes_follow_the_release(release: str, route: str, server: str) -> None:
    objects, _ = convert(WORLD + ISTIO + POLICY, "istio", "linkerd", target_version=release)
    assert {item["apiVersion"] for item in _of(objects, "HTTPRoute")} == {route}
    assert {item["apiVersion"] for item in _of(objects, "Server")} == {server}
    groups = {
        item["spec"]["targetRef"]["group"]
        for item in _of(objects, "AuthorizationPolicy")
        if item["spec"]["targetRef"]["kind"] == "HTTPRoute"
    }
    assert groups == {route.partition("/")[0]}
    assert all(("accessPolicy" in item["spec"]) == (server == "policy.linkerd.io/v1beta3") for item in _of(objects, "Server"))


KEPT = """
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: cart, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: cart}}
  ingress: [{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}]
"""


@pytest.mark.parametrize(("release", "ports"), [("2.17", {"8080"}), ("2.18", {"8080", "4143"}), ("2.20", {"8080", "4143"})])
def test_the_port_of_the_proxies_beside_a_kept_policy(release: str, ports: set[str]) -> None:
    """Since 2.18 a proxy sends to the port 4143 of its peers, whatever port the application has."""
    result = meshport.convert(meshport.load_text(WORLD + PLAIN + KEPT), source="cilium", target="linkerd", target_version=release)
    written = [item.object for item in result.manifests if item.object["kind"] == "CiliumNetworkPolicy"] or [
        item for item in result.passed_through if item["kind"] == "CiliumNetworkPolicy"
    ]
    assert {
        port["port"] for item in written for rule in item["spec"]["ingress"] for on in rule.get("toPorts", []) for port in on["ports"]
    } == ports


KAFKA = KEPT.replace("protocol: TCP}]}]", "protocol: TCP}], rules: {kafka: [{topic: carts}]}}]")


@pytest.mark.parametrize(("release", "stays"), [("1.19", True), ("1.20", False)])
def test_kafka_rules_to_a_newer_cilium(release: str, stays: bool) -> None:
    objects, findings = convert(WORLD + PLAIN + KAFKA, "cilium", "cilium", source_version="1.19", target_version=release)
    assert ("kafka" in str(_of(objects, "CiliumNetworkPolicy"))) is False
    assert bool([item for item in findings if item.pattern == "kafka" and item.severity == "error"]) is not stays


def test_annotations_of_a_release_that_does_not_read_them() -> None:
    """To Linkerd 2.15 a retry annotation is a word like any other: nothing is retried, so nothing is translated."""
    text = WORLD.replace(
        "name: cart, namespace: shop}\nspec: {selector",
        'name: cart, namespace: shop, annotations: {retry.linkerd.io/http: 5xx, retry.linkerd.io/limit: "3"}}\nspec: {selector',
    ) + ("---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {linkerd.io/inject: enabled}}\n")
    objects, findings = convert(text, "linkerd", "istio", source_version="2.15")
    assert _of(objects, "VirtualService") == [] and [item for item in findings if item.code == "MP021"]
    objects, _ = convert(text, "linkerd", "istio", source_version="2.16")
    assert _of(objects, "VirtualService")[0]["spec"]["http"][0]["retries"]["attempts"] == 3


@pytest.mark.parametrize(("source", "silent", "reads"), [("cilium", "1.15", "1.16"), ("linkerd", "2.13", "2.14")])
def test_routes_on_services_that_the_release_does_not_read(source: str, silent: str, reads: str) -> None:
    """They do nothing today, so that nothing is translated from them."""
    home = PLAIN if source == "cilium" else PLAIN.replace("name: shop}", "name: shop, annotations: {linkerd.io/inject: enabled}}")
    objects, findings = convert(WORLD + home + GAMMA, source, "istio", source_version=silent)
    assert _of(objects, "VirtualService", "HTTPRoute") == [] and [item.code for item in findings if item.code == "MP770"] == ["MP770"]
    objects, findings = convert(WORLD + home + GAMMA, source, "istio", source_version=reads)
    assert len(_of(objects, "VirtualService")) == 1 and not [item for item in findings if item.code == "MP770"]


def _only(objects: list[dict[str, Any]], kind: str) -> Any:
    found = _of(objects, kind)
    return found[0]["spec"] if found else None


def _ranged(objects: list[dict[str, Any]], findings: list[Any]) -> Any:
    """Whether ports that nothing names are ranges; where there are none, an error says so."""
    return "endPort" in str(objects), [item.severity for item in findings if item.code == "MP290"]


IN_LINKERD = PLAIN.replace("name: shop}", "name: shop, annotations: {linkerd.io/inject: enabled}}")
STRICT = "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: all, namespace: shop}\nspec: {mtls: {mode: STRICT}}\n"
EXEMPT = STRICT + STRICT.replace("name: all", "name: cart").replace("{mtls: {mode: STRICT}}", "{selector: {matchLabels: {app: cart}}, portLevelMtls: {9090: {mode: PERMISSIVE}}}")  # fmt: skip
DENY = POLICY.replace("  rules: [", "  action: DENY\n  rules: [").replace(
    ', to: [{operation: {methods: [GET], paths: [/items], ports: ["8080"]}}]', ""
)
SERVER = "---\napiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: cart, namespace: shop}\nspec: {podSelector: {matchLabels: {app: cart}}, port: 8080}\n"
GRPC = GAMMA.replace("HTTPRoute", "GRPCRoute").replace("timeouts: {request: 5s}, ", "")
ANSWERS = TIMED.replace("http: [{", "http: [{headers: {response: {set: {x-a: b}}}, ")
HTTPS = WORLD.replace("name: http}", "name: http, appProtocol: https}")
TCP = HTTPS.replace("appProtocol: https", "appProtocol: tcp")
REQUIRED = KEPT.replace("ingress: [{", "ingress: [{fromRequires: [{matchLabels: {tier: front}}]}, {")
ASKED = KEPT.replace("ingress: [{", "ingress: [{authentication: {mode: required}, ")
UNCLOSED = KEPT.replace("  ingress:", "  enableDefaultDeny: {ingress: false}\n  ingress:").replace(
    "protocol: TCP}]}]", "protocol: TCP}], rules: {http: [{method: GET}]}}]"
)


MIRROR = RETRIES.replace("retries: {attempts: 3, retryOn: 5xx}", "mirror: {host: cart}, mirrorPercentage: {value: 20}")


def _said(*codes: str) -> Any:
    return lambda objects, findings: [(item.code, item.severity) for item in findings if item.code in codes]


EDGES: dict[str, tuple[str, str, str, dict[str, Any], Any, dict[str, Any]]] = {
    "GRPCRoutes on Services in Cilium": (
        "istio", "cilium", ISTIO + WORLD + GRPC, {}, lambda objects, findings: [item.message.partition("; ")[0] for item in findings if item.code == "MP370"],
        {"1.16": ["GRPCRoute shop/cart: Cilium 1.16 reads no GRPCRoute on a Service"], "1.17": []},
    ),
    "ranges of ports beside a Server": ("linkerd", "cilium", IN_LINKERD + WORLD + SERVER, {}, _ranged, {"1.15": (False, ["error"]), "1.16": (True, [])}),
    "ranges of ports beside one that is exempt": ("istio", "cilium", ISTIO + WORLD + EXEMPT, {}, _ranged, {"1.15": (False, ["error"]), "1.16": (True, [])}),
    "ranges of ports of pods that nobody shows": (
        "istio", "cilium", ISTIO + WORLD + STRICT.replace("{mtls: {mode: STRICT}}", "{selector: {matchLabels: {app: ghost}}, portLevelMtls: {9090: {mode: STRICT}}}"), {}, _ranged,
        {"1.15": (False, ["error"]), "1.16": (True, [])},
    ),
    "a deny that closes nothing else": (
        "istio", "cilium", ISTIO + WORLD + DENY, {},
        lambda objects, findings: {key: value for key, value in _only(objects, "CiliumNetworkPolicy").items() if key in ("ingress", "enableDefaultDeny")},
        {"1.15": {"ingress": [{"fromEntities": ["all"]}]}, "1.16": {"enableDefaultDeny": {"ingress": False}}},
    ),
    "ztunnel in Cilium": (
        "istio", "cilium", ISTIO + WORLD + STRICT, {"data_plane": "ztunnel"}, _said("MP134"), {"1.18": [("MP134", "error")], "1.19": []},
    ),
    "routes on Services in Linkerd": (
        "istio", "linkerd", ISTIO + WORLD + TIMED, {}, lambda objects, findings: [item["apiVersion"] for item in _of(objects, "HTTPRoute")],
        {"2.12": [], "2.13": ["policy.linkerd.io/v1beta2"], "2.14": ["gateway.networking.k8s.io/v1beta1"], "2.17": ["gateway.networking.k8s.io/v1beta1"],
         "2.18": ["gateway.networking.k8s.io/v1"]},
    ),
    "timeouts and changes of answers in Linkerd": (
        "istio", "linkerd", ISTIO + WORLD + ANSWERS, {},
        lambda objects, findings: ("filters" in str(objects), "timeouts" in str(objects), sorted({item.code for item in findings if item.code in ("MP320", "MP452")})),
        {"2.13": (False, False, ["MP320", "MP452"]), "2.14": (True, True, ["MP452"]), "2.15": (True, True, ["MP452"]), "2.16": (True, True, [])},
    ),
    "protocols that Linkerd takes for bytes": (
        "istio", "linkerd", ISTIO + HTTPS, {}, lambda objects, findings: [port.get("appProtocol") for port in (_only(objects, "Service") or {}).get("ports", ())],
        {"2.17": [], "2.18": ["linkerd.io/opaque"]},
    ),
    "bytes by a port's protocol": (
        "istio", "linkerd", ISTIO + TCP, {}, lambda objects, findings: "opaque-ports" in str(_of(objects, "Service")), {"2.17": True, "2.18": False}
    ),
    "demands on peers in Cilium": (
        "cilium", "cilium", PLAIN + WORLD + REQUIRED, {"source_version": "1.17"}, lambda objects, findings: "tier" in str(_of(objects, "CiliumNetworkPolicy")),
        {"1.18": False, "1.19": True},
    ),
    "shares of mirrors in Cilium": (
        "istio", "cilium", ISTIO + WORLD + MIRROR, {},
        lambda objects, findings: (["percent" in str(item) for item in _of(objects, "HTTPRoute")], [item.code for item in findings if item.code in ("MP023", "MP320", "MP354")]),
        {"1.16": ([False], ["MP354"]), "1.17": ([True], ["MP023"]), "1.18": ([True], [])},
    ),
    "the end of authentication in Cilium": (
        "cilium", "cilium", PLAIN + WORLD + ASKED, {"source_version": "1.18"}, _said("MP142"), {"1.19": [], "1.20": [("MP142", "warning")]},
    ),
    "HTTP rules of pods that nothing closes": (
        "cilium", "cilium", PLAIN + WORLD + UNCLOSED, {"source_version": "1.16"}, _said("MP128"), {"1.17": [], "1.18": [("MP128", "error")]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("edge", EDGES)
def test_what_a_release_brings_is_written_from_that_release_on(edge: str) -> None:
    source, target, text, options, shown, expected = EDGES[edge]
    assert {release: shown(*convert(text, source, target, target_version=release, **options)) for release in expected} == expected


@pytest.mark.parametrize(("release", "strict"), [("1.18", {"enabled": True, "cidr": "10.0.0.0/8"}), ("1.19", {"egress": {"enabled": True, "cidr": "10.0.0.0/8"}})])  # fmt: skip
def test_the_strict_mode_of_encryption_moved(release: str, strict: Any) -> None:
    bundle = meshport.load_text(WORLD + ISTIO + STRICT)
    result = meshport.convert(bundle, source="istio", target="cilium", target_version=release, pod_cidr="10.0.0.0/8")
    assert result.install["helm_values"]["cilium"]["encryption"]["strictMode"] == strict


@pytest.mark.parametrize(("release", "admitted"), [("1.15", True), ("1.16", False), ("1.17", False)])
def test_an_empty_list_of_peers_is_nobody_since_1_16(release: str, admitted: bool) -> None:
    """Before, it was as good as none: a rule for a port let everybody in."""
    text = WORLD + PLAIN + KEPT.replace("fromEndpoints: [{matchLabels: {app: web}}]", "fromEndpoints: []")
    objects, _ = convert(text, "cilium", "istio", source_version=release, keep_network_policy=False)
    assert bool(_only(objects, "AuthorizationPolicy").get("rules")) is admitted
