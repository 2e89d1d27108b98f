"""What Gateways listen for: ports, protocols, hosts, certificates, and which routes hang on which port."""

from __future__ import annotations

import pytest

import meshport
from meshport.compare.request import sentence

WORLD = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
"""
ISTIO = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: shop}}
spec: {{selector: {{istio: ingressgateway}}, servers: [{servers}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: shop}}
spec: {{hosts: [web.example.com], gateways: [edge], http: [{{route: [{{destination: {{host: web}}}}]}}]}}
"""
SERVER = "{port: {number: 443, name: https, protocol: HTTPS}, hosts: [web.example.com], tls: {mode: SIMPLE, credentialName: web}}"
PLAIN = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}"
API = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge, namespace: shop}}
spec: {{gatewayClassName: cilium, listeners: [{listeners}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: web, namespace: shop}}
spec: {{parentRefs: [{parents}], hostnames: [web.example.com], rules: [{{backendRefs: [{{name: web, port: 80}}]}}]}}
"""
LISTENER = "{name: https, port: 443, protocol: HTTPS, hostname: web.example.com, tls: {mode: Terminate, certificateRefs: [{name: web}]}}"
OPEN = "{name: http, port: 80, protocol: HTTP, hostname: web.example.com}"


def of_istio(old: str, new: str) -> meshport.Verification:
    one, two = (meshport.load_text(WORLD + ISTIO.format(servers=servers)) for servers in (old, new))
    return meshport.verify(one, two, old_mesh="istio", new_mesh="istio")


def of_api(old: tuple[str, str], new: tuple[str, str]) -> meshport.Verification:
    one, two = (meshport.load_text(WORLD + API.format(listeners=listeners, parents=parents)) for listeners, parents in (old, new))
    return meshport.verify(one, two, old_mesh="cilium", new_mesh="cilium")


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (SERVER.replace("SIMPLE", "MUTUAL"), "port 443 for web.example.com HTTPS, TLS MUTUAL, certificates web"),
        (SERVER.replace("443", "8443"), "port 8443 for web.example.com HTTPS, TLS SIMPLE, certificates web"),
        (SERVER.replace("[web.example.com]", "['*.example.com']"), "port 443 for *.example.com HTTPS"),
        (SERVER.replace("credentialName: web", "credentialName: shop"), "certificates shop"),
        (f"{SERVER}, {PLAIN}", "port 80 for * HTTP"),
    ],
)
def test_a_server_of_istio_that_listens_for_something_else(new: str, said: str) -> None:
    found = of_istio(SERVER, new)
    assert (found.verdict, found.undecided) == ("narrowed" if "MUTUAL" in said else "changed", [])
    assert said in found.differences[0].after
    assert "from outside the mesh" in sentence(found.differences[0].request)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (SERVER, SERVER.replace("name: https", "name: https-web")),
        (f"{SERVER}, {PLAIN}", f"{PLAIN}, {SERVER}"),
        (SERVER, f"{SERVER}, {SERVER.replace('name: https', 'name: https-2')}"),
    ],
    ids=["name", "order", "twice"],
)
def test_servers_in_other_words(old: str, new: str) -> None:
    found = of_istio(old, new)
    assert (found.verdict, found.undecided) == ("equivalent", [])


ALL = "{name: edge}"


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ((LISTENER, ALL), (LISTENER.replace("443", "8443"), ALL), "changed"),
        ((LISTENER, ALL), (LISTENER.replace("{name: web}", "{name: shop}"), ALL), "changed"),
        ((LISTENER, ALL), (LISTENER.replace("name: https", "name: web"), ALL), "equivalent"),
        ((LISTENER, ALL), (LISTENER, "{name: edge, port: 443}"), "equivalent"),
        ((LISTENER, ALL), (LISTENER, "{name: edge, port: 444}"), "changed"),
        (
            (f"{LISTENER}, {OPEN}", "{name: edge, sectionName: http}"),
            (f"{LISTENER}, {OPEN}", "{name: edge, sectionName: https}"),
            "changed",
        ),
        ((f"{LISTENER}, {OPEN}", "{name: edge, sectionName: http}"), (f"{LISTENER}, {OPEN}", "{name: edge, port: 80}"), "equivalent"),
    ],
)
def test_a_listener_and_what_hangs_on_it(old: tuple[str, str], new: tuple[str, str], verdict: str) -> None:
    found = of_api(old, new)
    assert (found.verdict, found.undecided) == (verdict, [])


def test_a_port_that_no_listener_has_takes_no_route() -> None:
    text = WORLD + API.format(listeners=LISTENER, parents="{name: edge, port: 444}")
    result = meshport.convert(meshport.load_text(text), source="cilium", target="istio")
    assert "MP348" in {finding.code for finding in result.findings}


ENDS = "{name: https, port: 443, protocol: HTTPS, hostname: web.example.com, tls: {mode: Terminate, certificateRefs: [{name: web}]}}"


@pytest.mark.parametrize(
    ("servers", "listeners", "places"),
    [
        (SERVER, ENDS, []),
        (SERVER.replace("web.example.com", "shop/WEB.example.com"), ENDS, []),
        (SERVER.replace("mode: SIMPLE, credentialName: web", "mode: PASSTHROUGH"), ENDS, ["443 for web.example.com"]),
        (SERVER.replace("SIMPLE", "MUTUAL"), ENDS, ["443 for web.example.com"]),
        (SERVER, ENDS.replace("[{name: web}]", "[{name: shop}]"), ["443 for web.example.com"]),
        (SERVER, ENDS.replace("443", "8443"), ["443 for web.example.com", "8443 for web.example.com"]),
        (SERVER, ENDS.replace("hostname: web", "hostname: pay"), ["443 for pay.example.com", "443 for web.example.com"]),
        (PLAIN.replace("HTTP}", "GRPC}"), OPEN.replace(", hostname: web.example.com", ""), []),
        (PLAIN.replace("HTTP}", "MONGO}"), "{name: http, port: 80, protocol: TCP}", []),
        (PLAIN, "{name: http, port: 80, protocol: TCP}", ["80 for *"]),
        (f"{SERVER}, {PLAIN}", ENDS, ["80 for *"]),
    ],
)
def test_servers_of_istio_and_listeners_of_the_gateway_api(servers: str, listeners: str, places: list[str]) -> None:
    sides = [
        meshport.load_text(WORLD + text)
        for text in (ISTIO.format(servers=servers), API.format(listeners=listeners, parents="{name: edge}"))
    ]
    found = [
        item for item in meshport.diff(*sides, old_mesh="istio", new_mesh="cilium") if item.subject == "listeners of Gateway shop/edge"
    ]
    assert [item.aspect for item in found] == [f"port {place}" for place in places]
    proof = meshport.verify(*sides, old_mesh="istio", new_mesh="cilium")
    assert proof.undecided == [] and any("listeners" in item.subject for item in proof.differences) == bool(places)


SENT_ON = PLAIN.replace("['*']", "['*'], tls: {httpsRedirect: true}")
BOTH = f"{OPEN.replace(', hostname: web.example.com', '')}, {ENDS}"
ON_HTTPS = "{name: edge, sectionName: https}"


def redirect(code: int, hosts: str = "") -> str:
    return f"""---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: secure, namespace: shop}}
spec:
  parentRefs: [{{name: edge, sectionName: http}}]{hosts}
  rules: [{{filters: [{{type: RequestRedirect, requestRedirect: {{scheme: https, statusCode: {code}}}}}]}}]
"""


@pytest.mark.parametrize(
    ("servers", "route", "parents", "same"),
    [
        (SENT_ON, redirect(301), ON_HTTPS, True),
        (SENT_ON, redirect(302), ON_HTTPS, False),
        (SENT_ON, redirect(301, "\n  hostnames: [web.example.com]"), ON_HTTPS, False),
        (PLAIN, redirect(301, "\n  hostnames: [web.example.com]"), ON_HTTPS, False),
        (SENT_ON, "", ON_HTTPS, False),
        (PLAIN, redirect(301), ON_HTTPS, False),
        (SENT_ON, redirect(301), "{name: edge}", False),  # the rules take requests for their host before
    ],
)
def test_plaintext_that_is_sent_on_to_https_is_compared_across_meshes(servers: str, route: str, parents: str, same: bool) -> None:
    """A server's `httpsRedirect`, and a route of the Gateway API that does nothing else."""
    old = meshport.load_text(WORLD + ISTIO.format(servers=f"{servers}, {SERVER}"))
    new = meshport.load_text(WORLD + API.format(listeners=BOTH, parents=parents) + route)
    told = [
        item.aspect for item in meshport.diff(old, new, old_mesh="istio", new_mesh="cilium") if item.subject.startswith("listeners of ")
    ]
    assert told == ([] if same else ["port 80 for *"])


MUTUAL = SERVER.replace("SIMPLE", "MUTUAL")
FRONTEND = "tls: {frontend: {default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: %s}]}}}}, "


@pytest.mark.parametrize(
    ("servers", "said", "same"),
    [
        (MUTUAL, FRONTEND % "web", True),
        (MUTUAL, FRONTEND % "other", False),
        (MUTUAL, "", False),
        (SERVER, FRONTEND % "web", False),
        (MUTUAL.replace("MUTUAL", "OPTIONAL_MUTUAL"), FRONTEND % "web", False),
        (SERVER, (FRONTEND % "web").replace("validation: {", "validation: {mode: AllowInsecureFallback, "), True),
    ],
)
def test_certificates_that_clients_have_to_show_are_compared_across_meshes(servers: str, said: str, same: bool) -> None:
    old = meshport.load_text(WORLD + ISTIO.format(servers=servers))
    new = meshport.load_text(WORLD + _with(said))
    told = [
        item.aspect
        for item in meshport.diff(old, new, old_mesh="istio", new_mesh="gateway-api")
        if item.subject.startswith("listeners of ")
    ]
    assert told == ([] if same else ["port 443 for web.example.com"])


@pytest.mark.parametrize(("old", "new", "verdict"), [(MUTUAL, SERVER, "widened"), (SERVER, MUTUAL, "narrowed")])
def test_whom_a_gateway_lets_in_without_a_certificate_is_access(old: str, new: str, verdict: str) -> None:
    assert of_istio(old, new).verdict == verdict


def _with(said: str, listeners: str = ENDS) -> str:
    return API.format(listeners=listeners, parents="{name: edge}").replace("gatewayClassName: cilium, ", f"gatewayClassName: istio, {said}")


def test_no_release_of_cilium_asks_clients_for_certificates() -> None:
    asking = _with(FRONTEND % "web").replace("gatewayClassName: istio", "gatewayClassName: cilium")
    sides = [meshport.load_text(WORLD + text) for text in (ISTIO.format(servers=MUTUAL), asking)]
    assert [item.aspect for item in meshport.diff(*sides, old_mesh="istio", new_mesh="cilium")].count("port 443 for web.example.com") == 1


AWAY = ENDS.replace("{name: web}", "{name: web, namespace: certs}")
GRANT = """---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {{name: g, namespace: certs}}
spec: {{from: [{{group: gateway.networking.k8s.io, kind: Gateway, namespace: {home}}}], to: [{{group: "", kind: Secret}}]}}
"""


@pytest.mark.parametrize(
    ("new", "same"),
    [
        (_with("", AWAY) + GRANT.format(home="shop"), True),
        (_with("", AWAY) + GRANT.format(home="other"), False),
        (_with("", AWAY), False),
        (_with("", ENDS), False),
    ],
)
def test_certificates_are_compared_with_their_namespace_and_what_lets_a_gateway_refer_to_them(new: str, same: bool) -> None:
    old = meshport.load_text(WORLD + _with("", AWAY) + GRANT.format(home="shop"))
    found = meshport.diff(old, meshport.load_text(WORLD + new), old_mesh="istio", new_mesh="cilium")
    assert [item.aspect for item in found if item.subject.startswith("listeners of ")] == ([] if same else ["port 443 for web.example.com"])


SET = """---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: more, namespace: shop}
spec: {parentRef: {name: edge}, listeners: [{name: more, port: 8080, protocol: HTTP}]}
"""


@pytest.mark.parametrize(("admits", "release", "said"), [("Same", None, True), ("None", None, False), ("Same", "1.19", False)])
def test_listeners_of_sets_are_those_of_the_gateway_that_admits_them(admits: str, release: str | None, said: bool) -> None:
    text = _with(f"allowedListeners: {{namespaces: {{from: {admits}}}}}, ").replace("Name: istio", "Name: cilium") + SET
    sides = [
        meshport.load_text(WORLD + one)
        for one in (text, text.partition("---\napiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet")[0])
    ]
    options = {} if release is None else {"source_version": release}
    found = meshport.diff(*sides, old_mesh="cilium", new_mesh="istio", **options)
    assert [item.aspect for item in found if item.subject.startswith("listeners of ")] == (["port 8080 for *"] if said else [])


@pytest.mark.parametrize(
    ("kind", "home", "same"), [("ListenerSet", "shop", True), ("Gateway", "shop", False), ("ListenerSet", "other", False)]
)
def test_certificates_of_a_set_are_granted_to_the_set(kind: str, home: str, same: bool) -> None:
    text = _with("allowedListeners: {namespaces: {from: Same}}, ") + SET.replace(
        "protocol: HTTP", "protocol: HTTPS, tls: {certificateRefs: [{name: c, namespace: certs}]}"
    )
    sides = [
        meshport.load_text(WORLD + text + GRANT.format(home=to).replace("kind: Gateway,", f"kind: {of},"))
        for of, to in (("ListenerSet", "shop"), (kind, home))
    ]
    found = meshport.diff(*sides, old_mesh="cilium", new_mesh="istio")
    assert [item.aspect for item in found if item.subject.startswith("listeners of ")] == ([] if same else ["port 8080 for *"])
