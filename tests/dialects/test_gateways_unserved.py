"""Gateways and routes of the Gateway API that stay: what the implementation that takes them over does not do is said, and nothing is opened."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

GATEWAY = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  gatewayClassName: %s
  %s
  listeners:
  - {name: http, port: 80, protocol: HTTP}
  - {name: https, port: 443, protocol: HTTPS, tls: {mode: Terminate, certificateRefs: [{name: cert}]}}
  - {name: other, port: 8443, protocol: HTTPS, tls: {mode: Terminate, certificateRefs: [{name: cert}]}}
---
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/%s
kind: %s
metadata: {name: r, namespace: shop}
spec: {parentRefs: [{name: edge}], %srules: [{%sbackendRefs: [{name: web, port: 80}]}]}
---
"""


def converted(text: str, target: str, **options: Any) -> Any:
    return meshport.convert(meshport.load_text(text), **{"source": "gateway-api", "target": target, **options})


def codes(result: Any) -> list[str]:
    return sorted(finding.code for finding in result.findings if finding.severity != "info")


@pytest.mark.parametrize(
    ("version", "kind", "target", "options", "said"),
    [
        ("v1alpha2", "UDPRoute", "istio", {}, True),
        ("v1alpha2", "UDPRoute", "cilium", {}, False),
        ("v1alpha2", "UDPRoute", "cilium", {"target_version": "1.19"}, True),
        ("v1alpha2", "TCPRoute", "cilium", {"target_version": "1.18"}, True),
        ("v1alpha2", "TCPRoute", "istio", {}, False),
    ],
)
def test_a_kind_that_the_targets_gateways_do_not_read_is_an_error(
    version: str, kind: str, target: str, options: dict[str, str], said: bool
) -> None:
    """It stayed and counted as translated; nothing said that its traffic stops."""
    protocol = "UDP" if kind == "UDPRoute" else "TCP"
    listener = f"  - {{name: raw, port: 53, protocol: {protocol}}}\n---\n"
    text = (GATEWAY % (target, "")).removesuffix("---\n") + listener + ROUTE % (version, kind, "", "")
    result = converted(text, target, **options)
    assert ("MP749" in codes(result)) is said


@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_a_field_of_a_route_on_a_gateway_that_the_target_does_not_read_is_said(target: str) -> None:
    text = GATEWAY % (target, "") + ROUTE % ("v1", "HTTPRoute", "", "sessionPersistence: {type: Cookie, sessionName: s}, ")
    assert codes(converted(text, target)) == ["MP554"]
    other = GATEWAY % ("nginx", "") + ROUTE % ("v1", "HTTPRoute", "", "sessionPersistence: {type: Cookie, sessionName: s}, ")
    assert codes(converted(other, "istio")) == []  # another implementation serves it


FRONTEND = "tls: {frontend: {default: {validation: {%scaCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}}}}"


def test_listeners_that_ask_clients_for_a_certificate_are_left_out_where_cilium_takes_the_gateway_over() -> None:
    """They went over as they are, and Cilium asks nobody: anybody came in, unsaid."""
    result = converted(GATEWAY % ("istio", FRONTEND % ""), "cilium")
    (gateway,) = [item.object["spec"] for item in result.manifests if item.object["kind"] == "Gateway"]
    assert [item["name"] for item in gateway["listeners"]] == ["http"]
    assert codes(result) == ["MP709", "MP709"]
    loose = converted(GATEWAY % ("istio", FRONTEND % ""), "cilium", on_loss="looser")
    assert [(item.code, item.effect) for item in loose.findings if item.severity == "error"] == [("MP752", "widens")]
    fallback = converted(GATEWAY % ("istio", FRONTEND % "mode: AllowInsecureFallback, "), "cilium")
    assert "MP709" not in codes(fallback)


def test_the_check_of_one_port_closes_the_listener_there() -> None:
    per_port = "tls: {frontend: {default: {}, perPort: [{port: 8443, tls: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}}}]}}"
    result = converted(GATEWAY % ("istio", per_port), "cilium")
    (gateway,) = [item.object["spec"] for item in result.manifests if item.object["kind"] == "Gateway"]
    assert [item["name"] for item in gateway["listeners"]] == ["http", "https"]


@pytest.mark.parametrize("kinds", ["[{kind: HTTPRoute}]", "[{group: gateway.networking.k8s.io, kind: HTTPRoute}]"])
def test_the_kinds_of_a_listener_are_of_the_gateway_apis_group_where_none_is_said(kinds: str) -> None:
    """A listener that lists HTTPRoute without a group admitted no route at all."""
    text = (GATEWAY % ("istio", "")).replace("protocol: HTTP}", f"protocol: HTTP, allowedRoutes: {{kinds: {kinds}}}}}")
    assert "MP348" not in codes(converted(text + ROUTE % ("v1", "HTTPRoute", "", ""), "istio"))


def test_a_gateway_each_of_whose_listeners_asks_for_a_certificate_is_not_carried_over() -> None:
    """It was written without listeners, which no cluster takes."""
    text = (GATEWAY % ("istio", FRONTEND % "")).replace("  - {name: http, port: 80, protocol: HTTP}\n", "")
    result = converted(text, "cilium")
    assert not [item for item in result.manifests if item.object["kind"] == "Gateway"]
    assert codes(result) == ["MP709", "MP709"] and "not carried over" in result.findings[0].message
    assert ("Gateway", "edge") in {(item["kind"], item["name"]) for item in result.removals}
    assert result.ledger.counts["unaccounted"] == 0


def _edge(listener: str, gateway: str = "") -> str:
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge, namespace: shop}}
spec: {{gatewayClassName: istio, {gateway}listeners: [{{name: http, port: 80, protocol: HTTP}}, {{name: https, port: 443, protocol: HTTPS, tls: {{{listener}}}}}]}}
"""


CERT = "certificateRefs: [{name: cert}]"
CA = "caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]"


def test_a_check_that_a_listener_said_is_said_for_its_port() -> None:
    """The release of the API has no such field any more; it was written without the name of the authority, which no cluster takes."""
    result = converted(_edge(f"{CERT}, frontendValidation: {{{CA}}}"), "linkerd", source="istio", gateway_class="envoy")
    (gateway,) = [item.object["spec"] for item in result.manifests if item.object["kind"] == "Gateway"]
    assert gateway["listeners"][1]["tls"] == {"certificateRefs": [{"name": "cert"}]}
    said = {"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}]}
    assert gateway["tls"]["frontend"] == {"default": {}, "perPort": [{"port": 443, "tls": {"validation": said}}]}


@pytest.mark.parametrize(
    "listener",
    [
        f"{CERT}, options: {{gateway.istio.io/tls-terminate-mode: MUTUAL}}",
        f"{CERT}, options: {{gateway.istio.io/tls-terminate-mode: OPTIONAL_MUTUAL}}",
        "options: {gateway.istio.io/tls-terminate-mode: ISTIO_MUTUAL}",
    ],
)
def test_a_check_in_an_option_that_istio_alone_reads_closes_the_listener_under_another_class(listener: str) -> None:
    """The class that takes over would have passed over the option, and let everybody in."""
    result = converted(_edge(listener), "gateway-api", source="istio", gateway_class="envoy")
    (gateway,) = [item.object["spec"] for item in result.manifests if item.object["kind"] == "Gateway"]
    assert [item["name"] for item in gateway["listeners"]] == ["http"] and "MP709" in codes(result)
    loose = converted(_edge(listener), "gateway-api", source="istio", gateway_class="envoy", on_loss="looser")
    assert [(item.code, item.effect) for item in loose.findings if item.severity == "error"] == [("MP708", "widens")]


def test_a_check_that_cilium_passed_over_begins_to_act_with_another_class() -> None:
    text = _edge(CERT, f"tls: {{frontend: {{default: {{validation: {{{CA}}}}}}}}}, ").replace("Name: istio", "Name: cilium")
    result = converted(text, "istio", source="cilium", gateway_class="istio")
    assert [item.effect for item in result.findings if item.code == "MP774"] == ["narrows"]
    assert "MP774" not in codes(converted(text, "istio", source="cilium"))


@pytest.mark.parametrize("target", ["linkerd", "cilium", "gateway-api"])
def test_a_waypoint_is_no_gateway_that_another_class_takes_over(target: str) -> None:
    text = _edge(CERT).replace("Name: istio", "Name: istio-waypoint")
    result = converted(text, target, gateway_class="envoy")
    assert not [item for item in result.manifests if item.object["kind"] == "Gateway"]


@pytest.mark.parametrize(("release", "said"), [("1.29", True), ("1.30", False)])
def test_a_release_that_reads_no_sets_of_listeners_loses_them(release: str, said: bool) -> None:
    more = """---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: more, namespace: shop}
spec: {parentRef: {name: edge}, listeners: [{name: more, port: 8080, protocol: HTTP}]}
"""
    text = _edge(CERT, "allowedListeners: {namespaces: {from: Same}}, ") + more
    result = converted(text, "istio", source="istio", target_version=release)
    assert ("MP749" in codes(result)) is said and "MP900" not in codes(result)


@pytest.mark.parametrize(("hosts", "version"), [("", "v1alpha2"), ("hostnames: [db.example.com], ", "v1")])
def test_a_route_for_every_name_stays_at_the_version_that_knows_it(hosts: str, version: str) -> None:
    text = f"""
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TLSRoute
metadata: {{name: db, namespace: shop}}
spec: {{parentRefs: [{{name: edge}}], {hosts}rules: [{{backendRefs: [{{name: web, port: 80}}]}}]}}
"""
    result = converted(text, "gateway-api")
    made = [item.object["apiVersion"].rpartition("/")[2] for item in result.manifests if item.object["kind"] == "TLSRoute"]
    assert made == ([version] if hosts else []) and ("MP776" in codes(result)) is not bool(hosts)


PODS = """---
apiVersion: apps/v1
kind: Deployment
metadata: {name: gate, namespace: %s}
spec: {selector: {matchLabels: {app: gate}}, template: {metadata: {labels: {app: gate}}, spec: {containers: [{name: proxy, image: x}]}}}
"""


@pytest.mark.parametrize(("pods", "home", "said"), [("", None, True), (PODS % "gates", "gates", False), (PODS % "shop", None, False)])
def test_where_the_certificates_of_a_gateway_lie_is_said_if_nothing_shows_it(pods: str, home: str | None, said: bool) -> None:
    text = f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: shop}}
spec:
  selector: {{app: gate}}
  servers: [{{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: [a.example.com], tls: {{mode: SIMPLE, credentialName: cert}}}}]
{pods}"""
    result = converted(text, "gateway-api", source="istio")
    (gateway,) = [item.object["spec"] for item in result.manifests if item.object["kind"] == "Gateway"]
    assert gateway["listeners"][0]["tls"]["certificateRefs"] == [{"name": "cert", **({"namespace": home} if home else {})}]
    assert ("MP775" in codes(result)) is said


@pytest.mark.parametrize("target", ["linkerd", "cilium", "gateway-api"])
def test_a_backend_that_istio_alone_knows_is_said_where_another_class_takes_the_gateway_over(target: str) -> None:
    route = """---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: out, namespace: shop}
spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{group: networking.istio.io, kind: Hostname, name: api.example.com, port: 80}]}]}
"""
    result = converted(_edge(CERT) + route, target, source="istio", gateway_class="envoy")
    assert "MP768" in codes(result) and not {"MP900", "MP901"} & set(codes(result))


def test_a_check_at_a_listener_is_overruled_by_that_of_the_gateway_where_the_release_has_no_other() -> None:
    text = _edge(
        f"{CERT}, frontendValidation: {{{CA}}}", f"tls: {{frontend: {{default: {{validation: {{{CA.replace('ca}', 'other}')}}}}}}}}}, "
    )
    result = converted(text, "gateway-api", source="istio", gateway_class="envoy", on_loss="looser")
    (gateway,) = [item.object["spec"] for item in result.manifests if item.object["kind"] == "Gateway"]
    assert all("frontendValidation" not in item.get("tls", {}) for item in gateway["listeners"]) and "MP900" not in codes(result)


def test_an_older_release_has_no_check_at_a_gateway() -> None:
    text = _edge(CERT, f"tls: {{frontend: {{default: {{validation: {{{CA}}}}}}}}}, ")
    result = converted(text, "gateway-api", source="istio", gateway_class="envoy", target_version="1.3")
    (gateway,) = [item.object["spec"] for item in result.manifests if item.object["kind"] == "Gateway"]
    assert [item["name"] for item in gateway["listeners"]] == ["http"] and "tls" not in gateway and "MP709" in codes(result)


@pytest.mark.parametrize("controller", ["istio.io/gateway-controller", "example.com/gateways"])
def test_whose_class_it_is_a_gateway_class_says(controller: str) -> None:
    kind = f"---\napiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{name: own}}\nspec: {{controllerName: {controller}}}\n"
    text = _edge(f"{CERT}, options: {{gateway.istio.io/tls-terminate-mode: MUTUAL}}").replace("Name: istio", "Name: own") + kind
    assert ("MP709" in codes(converted(text, "gateway-api", source="istio", gateway_class="envoy"))) is controller.startswith("istio.io")
