"""Routes of the Gateway API as what a mesh has for them."""

from __future__ import annotations

import json

import pytest
from gateway_api_helper import WORLD, codes, convert, http_route, objects, plain, service, spec, virtual_service

import meshport

RULES = """
  - matches: [{path: {type: PathPrefix, value: /api}}]
    filters:
    - {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /v2}}}
    - {type: RequestMirror, requestMirror: {backendRef: {name: b1, port: 80}, percent: 5}}
    backendRefs: [{name: b0, port: 80}]
    timeouts: {request: 5s, backendRequest: 2s}
    retry: {attempts: 2, codes: [503], backoff: 100ms}
  - filters: [{type: CORS, cors: {allowOrigins: ["https://a.example"], maxAge: 60}}]
    backendRefs: [{name: app, port: 80, weight: 9}, {name: b1, port: 80, weight: 1}]
"""


def test_to_istio_a_virtual_service() -> None:
    result = convert(WORLD + http_route(RULES), "gateway-api", "istio")
    assert spec(result, "VirtualService/app") == plain("""
hosts: [app.shop.svc.cluster.local]
http:
- name: app
  match: [{uri: {regex: "/api(?:/.*)?"}}]
  timeout: 5s
  retries: {attempts: 2, perTryTimeout: 2s, backoff: 100ms, retryOn: "503"}
  route: [{destination: {host: b0.shop.svc.cluster.local, port: {number: 80}}}]
  rewrite: {uriRegexRewrite: {match: ^/api, rewrite: /v2}}
  mirrors: [{destination: {host: b1.shop.svc.cluster.local, port: {number: 80}}, percentage: {value: 5}}]
- name: app-2
  retries: {attempts: 0}
  route:
  - {destination: {host: app.shop.svc.cluster.local, port: {number: 80}}, weight: 90}
  - {destination: {host: b1.shop.svc.cluster.local, port: {number: 80}}, weight: 10}
  corsPolicy: {allowOrigins: [{exact: "https://a.example"}], maxAge: 60s}
""")
    assert result.install["helm_values"]["istiod"]["meshConfig"]["defaultHttpRetryPolicy"] == {"attempts": 0}
    assert [(item["kind"], item["name"]) for item in result.removals] == [("HTTPRoute", "app")]


def test_an_origin_with_a_star_is_for_any_labels_and_back_again() -> None:
    rules = "[{filters: [{type: CORS, cors: {allowOrigins: ['https://*.a.example', 'https://b.example']}}], backendRefs: [{name: app, port: 80}]}]"
    (rule,) = spec(convert(WORLD + http_route(rules), "gateway-api", "istio"), "VirtualService/app")["http"]
    assert rule["corsPolicy"]["allowOrigins"] == [{"regex": r"https://.*\.a\.example"}, {"exact": "https://b.example"}]
    back = convert(
        WORLD + virtual_service(f"[{{corsPolicy: {json.dumps(rule['corsPolicy'])}, route: [{{destination: {{host: app}}}}]}}]"),
        "istio",
        "cilium",
    )
    assert spec(back, "HTTPRoute/app")["rules"][0]["filters"][0]["cors"] == {"allowOrigins": ["https://*.a.example", "https://b.example"]}


def test_to_linkerd_the_time_at_a_backend_is_that_of_a_try_where_the_route_retries() -> None:
    rules = "[{backendRefs: [{name: b0, port: 80}], timeouts: {request: 9s, backendRequest: 2s}, retry: {attempts: 2, codes: [503]}}]"
    result = convert(WORLD + http_route(rules), "gateway-api", "linkerd")
    notes = objects(result)["HTTPRoute/app"]["metadata"]["annotations"]
    assert notes == {"retry.linkerd.io/http": "503", "retry.linkerd.io/limit": "2", "retry.linkerd.io/timeout": "2s"}
    assert "MP453" not in codes(result)
    once = convert(WORLD + http_route(rules.replace(", retry: {attempts: 2, codes: [503]}", "")), "gateway-api", "linkerd")
    assert spec(once, "HTTPRoute/app")["rules"][0]["timeouts"] == {"request": "2s"}  # the only try is the request
    assert "MP453" not in codes(once)


def test_to_linkerd_a_rule_without_a_backend_fails_as_before_and_nothing_is_lost() -> None:
    text = WORLD + http_route("[{matches: [{path: {type: Exact, value: /a}}]}, {backendRefs: [{name: b0, port: 80}]}]")
    result = meshport.convert(meshport.load_text(text), source="gateway-api", target="linkerd")
    first, _ = spec(result, "HTTPRoute/app")["rules"]
    assert first["backendRefs"] == [{"name": "app-refused", "port": 80}]  # which is not there: 500
    assert codes(result) == ["MP367"]


def test_to_istio_the_route_itself_where_that_is_asked_for() -> None:
    result = convert(WORLD + http_route(RULES), "gateway-api", "istio", routes="gateway-api")
    assert (result.manifests, result.removals) == ([], [])
    assert "MP406" in codes(result)
    assert result.install["helm_values"]["istiod"]["meshConfig"]["defaultHttpRetryPolicy"] == {"attempts": 0}


def test_to_linkerd_a_route_whose_parent_is_of_the_group_core() -> None:
    rules = "[{matches: [{path: {type: Exact, value: /a}}], backendRefs: [{name: b0, port: 80}], timeouts: {request: 1m30s}}]"
    result = convert(WORLD + http_route(rules), "gateway-api", "linkerd")
    assert spec(result, "HTTPRoute/app") == plain("""
parentRefs: [{group: core, kind: Service, name: app, port: 80}]
rules: [{matches: [{path: {type: Exact, value: /a}}], backendRefs: [{name: b0, port: 80}], timeouts: {request: 90s}}]
""")
    assert codes(result) == ["MP367"]  # nobody is enrolled by a route


def test_to_linkerd_a_rewrite_leaves_its_rule_out() -> None:
    result = convert(WORLD + http_route(RULES), "gateway-api", "linkerd")
    assert [rule.get("matches") for rule in spec(result, "HTTPRoute/app")["rules"]] == [None]
    assert [finding.severity for finding in result.findings if finding.code == "MP351"] == ["error"]


def test_onto_itself_nothing_changes() -> None:
    result = convert(WORLD + http_route(RULES), "gateway-api", "gateway-api")
    assert (result.manifests, result.findings, result.removals) == ([], [], [])


def test_ingress_stays_as_it_is() -> None:
    ingress = (
        http_route("[{backendRefs: [{name: app, port: 80}]}]", "[{name: public}]")
        + """---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: shop}
spec: {gatewayClassName: nginx, listeners: [{name: http, port: 80, protocol: HTTP}]}
"""
    )
    for target in ("istio", "linkerd"):
        result = convert(WORLD + ingress, "gateway-api", target)
        assert (result.manifests, result.removals) == ([], [])


def test_a_rule_without_backends_answers_500() -> None:
    result = convert(WORLD + http_route("[{matches: [{path: {type: Exact, value: /a}}]}]"), "gateway-api", "istio")
    assert spec(result, "VirtualService/app")["http"][0]["directResponse"] == {"status": 500}


@pytest.mark.parametrize("sent", ["", "backendRefs: [{name: b0, port: 80, weight: 0}], "])
def test_of_what_the_proxy_answers_by_itself_no_copy_is_sent(sent: str) -> None:
    copied = "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: b1, port: 80}}}]"
    result = convert(WORLD + http_route(f"[{{{sent}{copied}}}]"), "gateway-api", "istio")
    assert [item["directResponse"] for item in spec(result, "VirtualService/app")["http"]] == [{"status": 500}]
    assert not {code for code in codes(result) if code.startswith("MP90")}
    assert result.ledger.counts["unaccounted"] == 0


def test_exact_goes_before_the_longest_prefix() -> None:
    rules = """
  - {matches: [{path: {type: PathPrefix, value: /}}], backendRefs: [{name: app, port: 80}]}
  - {matches: [{path: {type: PathPrefix, value: /a/b}}], backendRefs: [{name: b0, port: 80}]}
  - {matches: [{path: {type: Exact, value: /a}}], backendRefs: [{name: b1, port: 80}]}
"""
    result = convert(WORLD + http_route(rules), "gateway-api", "istio")
    hosts = [rule["route"][0]["destination"]["host"].partition(".")[0] for rule in spec(result, "VirtualService/app")["http"]]
    assert hosts == ["b1", "b0", "app"]


def test_a_route_on_tcp_stays() -> None:
    route = """---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: {name: db, namespace: shop}
spec: {parentRefs: [{group: "", kind: Service, name: db, port: 5432}], rules: [{backendRefs: [{name: db-2, port: 5432}]}]}
"""
    result = convert(service("db", ports="[{name: tcp, port: 5432}]") + route, "gateway-api", "istio")
    assert (objects(result), result.removals) == ({}, [])


PROFILE = """---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: app.shop.svc.cluster.local, namespace: shop}
spec:
  routes:
  - {name: one, condition: {method: GET, pathRegex: "/users/[^/]+"}, timeout: 5s}
  - {name: all, condition: {method: POST, pathRegex: /users}, timeout: 10s}
---
apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: app, namespace: shop}
spec: {service: app, backends: [{service: b0, weight: 900}, {service: b1, weight: 100}]}
"""


def test_from_linkerd_to_istio_as_routes_of_the_gateway_api() -> None:
    result = convert(WORLD + PROFILE, "linkerd", "istio", routes="gateway-api")
    assert list(objects(result)) == ["HTTPRoute/app"]
    rules = spec(result, "HTTPRoute/app")["rules"]
    assert [(rule["matches"][0]["path"], rule.get("timeouts", {}).get("request")) for rule in rules] == [
        ({"type": "RegularExpression", "value": "/users/[^/]+"}, "5s"),
        ({"type": "Exact", "value": "/users"}, "10s"),
        ({"type": "RegularExpression", "value": "/.*"}, None),
    ]
    assert all([item["weight"] for item in rule["backendRefs"]] == [9, 1] for rule in rules)


def test_a_mirror_of_one_backend_is_named_where_backends_have_none() -> None:
    mirror = "{type: RequestMirror, requestMirror: {backendRef: {name: b1, port: 80}}}"
    rules = f"[{{backendRefs: [{{name: b0, port: 80, weight: 1, filters: [{mirror}]}}, {{name: app, port: 80, weight: 9}}]}}]"
    for target in ("istio", "linkerd"):
        result = convert(WORLD + http_route(rules), "gateway-api", target)
        assert {"MP900", "MP901"}.isdisjoint(codes(result))
        told = {line.path: line.disposition for line in result.ledger if "requestMirror" in line.path}
        assert set(told.values()) == {"dropped"}


ASKING = """
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: cart, port: 80}]
  rules:
  - matches: [{path: {type: Exact, value: /paid}}]
    %s
  - backendRefs: [{name: cart, port: 80}]
"""
AUTH = "filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: opa, port: 80}}}]"


@pytest.mark.parametrize(
    "rule", [f"{AUTH}\n    backendRefs: [{{name: cart, port: 80}}]", f"backendRefs: [{{name: cart, port: 80, {AUTH}}}]"]
)
@pytest.mark.parametrize(("target", "code"), [("istio", "MP333"), ("linkerd", "MP260")])
def test_requests_that_an_authorizer_was_asked_about_are_refused_where_nobody_asks_it(target: str, code: str, rule: str) -> None:
    result = meshport.convert(meshport.load_text(ASKING % rule), source="gateway-api", target=target)
    (route,) = [item.object["spec"] for item in result.manifests if item.object["kind"] in ("VirtualService", "HTTPRoute")]
    if target == "istio":
        first, rest = route["http"]
        assert first["match"] == [{"uri": {"exact": "/paid"}}]
        assert first["directResponse"] == {"status": 403}
        assert "directResponse" not in rest
    else:
        first, rest = route["rules"]
        assert first["backendRefs"] == [{"name": "cart-refused", "port": 80}]
        assert rest["backendRefs"] == [{"name": "cart", "port": 80}]
    assert [item.code for item in result.findings if item.severity == "error"] == [code]
    assert result.ledger.counts["unaccounted"] == 0


GRANTED = """
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: eu}
spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: %s}], to: [{group: "", kind: Service}]}
---
apiVersion: v1
kind: Service
metadata: {name: far, namespace: eu}
spec: {selector: {app: far}, ports: [{name: http, port: 80}]}
---
"""


@pytest.mark.parametrize("target", ["istio", "linkerd"])
@pytest.mark.parametrize("admitted", [False, True])
def test_the_share_of_a_backend_that_no_grant_admits_stays_an_error(target: str, admitted: bool) -> None:
    split = "backendRefs: [{name: cart, port: 80, weight: 9}, {name: far, namespace: eu, port: 80, weight: 1}]"
    text = GRANTED % ("shop" if admitted else "third") + ASKING % split
    result = meshport.convert(meshport.load_text(text), source="gateway-api", target=target)
    (route,) = [item.object["spec"] for item in result.manifests if item.object["kind"] in ("VirtualService", "HTTPRoute")]
    if target == "istio":
        sent = {item["destination"]["host"].partition(".")[0]: item["weight"] for item in route["http"][0]["route"]}
    else:
        sent = {item["name"]: item["weight"] * 10 for item in route["rules"][0]["backendRefs"]}
    assert sent == {"cart": 90, "far" if admitted else "far-refused": 10}
    assert [item.code for item in result.findings if item.severity != "info"] == ([] if admitted else ["MP344"])


@pytest.mark.parametrize("broken", ["kind: HTTPRoute, namespace", "group: apps, kind: HTTPRoute, namespace"])
def test_a_grant_that_no_cluster_takes_or_of_another_group_admits_nobody(broken: str) -> None:
    split = "backendRefs: [{name: cart, port: 80, weight: 9}, {name: far, namespace: eu, port: 80, weight: 1}]"
    text = GRANTED.replace("group: gateway.networking.k8s.io, kind: HTTPRoute, namespace", broken) % "shop" + ASKING % split
    result = meshport.convert(meshport.load_text(text), source="gateway-api", target="linkerd")
    (route,) = [item.object["spec"] for item in result.manifests if item.object["kind"] == "HTTPRoute"]
    assert [item["name"] for item in route["rules"][0]["backendRefs"]] == ["cart", "far-refused"]


DATABASE = """
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: %s, port: 5432}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template: {metadata: {labels: {app: cart}}, spec: {containers: [{name: a, image: i, ports: [{containerPort: 5432}]}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: cart}]
  rules: [{matches: [{path: {type: Exact, value: /x}}], backendRefs: [{name: cart, port: 5432}]}]
---
"""


@pytest.mark.parametrize(("source", "version"), [("gateway-api", "2.20"), ("istio", "2.20"), ("istio", "2.17")])
@pytest.mark.parametrize("port", ["http", "data, appProtocol: http"])
def test_http_on_a_port_that_linkerd_takes_for_bytes_is_said_to_be_http(source: str, version: str, port: str) -> None:
    """5432 is on Linkerd's own list: the route did nothing, and the finding said that the input wanted that (MP903)."""
    bundle = meshport.load_text(DATABASE % port)
    result = meshport.convert(bundle, source=source, target="linkerd", target_version=version)
    assert "MP903" not in {item.code for item in result.findings}
    listed = {
        item.object["kind"]: (item.object["metadata"] if item.object["kind"] == "Service" else item.object["spec"]["template"]["metadata"])
        for item in result.manifests
        if item.object["kind"] in ("Service", "Deployment")
    }
    without = "25,587,3306,4444,6379,9300,11211"
    said = {kind: meta.get("annotations", {}).get("config.linkerd.io/opaque-ports") for kind, meta in listed.items()}
    if version == "2.17" or "appProtocol" not in port:  # since 2.18 `appProtocol: http` goes before the list
        assert said["Service"] == without
    if source == "istio":  # the pods of which it is known that they are in the mesh
        assert said["Deployment"] == without


def test_a_version_that_the_release_serves_no_more_is_written_anew() -> None:
    """It stayed `v1alpha2`, which no cluster takes."""
    route = http_route("\n  - backendRefs: [{name: app, port: 80}]\n").replace("kind: HTTPRoute", "kind: GRPCRoute")
    result = convert(WORLD + route.replace("networking.k8s.io/v1\n", "networking.k8s.io/v1alpha2\n"), "gateway-api", "gateway-api")
    assert [item.object["apiVersion"] for item in result.manifests] == ["gateway.networking.k8s.io/v1"]


UNKNOWN = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %s, namespace: shop}
spec: {parentRefs: [{group: "", kind: Service, name: unknown%s}], rules: [{%sbackendRefs: [{name: %s, port: 80}]}]}
---
"""
EXACT = "matches: [{path: {type: Exact, value: /v1}}], "


@pytest.mark.parametrize(
    ("parts", "listed"),
    [
        ([("a", "", EXACT, "v1"), ("b", ", port: 80", "", "v2")], ["v1", "v2"]),  # on another port, what is not /v1 is 404
        ([("a", ", port: 80", EXACT, "v1"), ("b", "", "", "v2")], ["v1", "v2"]),  # what is for all ports takes the rest of port 80, too
    ],
)
def test_routes_for_a_port_and_for_all_ports_of_a_service_that_the_input_does_not_have(
    parts: list[tuple[str, ...]], listed: list[str]
) -> None:
    """A last rule let through what no route takes, and one for all ports stood before one for a single port (MP900)."""
    result = convert("".join(UNKNOWN % part for part in parts), "gateway-api", "istio")
    (routes,) = [item.object["spec"]["http"] for item in result.manifests if item.object["kind"] == "VirtualService"]
    assert [rule["route"][0]["destination"]["host"].split(".")[0] for rule in routes] == listed
    assert "MP900" not in codes(result)
