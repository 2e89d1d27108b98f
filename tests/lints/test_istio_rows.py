"""What looks right in Istio and is not, row by row: each mistake where it stands, and beside it what looks like it and is none. Rows that are no mistake of a
manifest (defaults that another mesh has not) are held by the conversions' tests."""

from __future__ import annotations

import pytest
from lint_helper import Row, lint, row

WORLD = """
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}}}
---
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {selector: {app: reviews}, ports: [{name: http, port: 80, targetPort: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{name: mysql, port: 3306}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews, namespace: shop}
spec: {template: {metadata: {labels: {app: reviews, version: v1}}, spec: {containers: [{name: app, ports: [{containerPort: 9080}]}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db, namespace: shop}
spec: {template: {metadata: {labels: {app: db}}, spec: {containers: [{name: app, ports: [{containerPort: 3306}]}]}}}
"""
AMBIENT = WORLD.replace("istio-injection: enabled", "istio.io/dataplane-mode: ambient")
BEHIND = WORLD.replace("istio-injection: enabled", "istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint")
WAYPOINT = """---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
"""


def _object(kind: str, spec: str, name: str = "a", namespace: str = "shop") -> str:
    group = "security" if kind in ("AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication") else "networking"
    return f"---\napiVersion: {group}.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{spec}}}\n"


def authz(spec: str, name: str = "a", namespace: str = "shop") -> str:
    return _object("AuthorizationPolicy", spec, name, namespace)


def of_reviews(rule: str) -> str:
    return authz(f"selector: {{matchLabels: {{app: reviews}}}}, rules: [{{{rule}}}]")


def of_db(rule: str) -> str:
    return authz(f"selector: {{matchLabels: {{app: db}}}}, rules: [{{{rule}}}]")


def to(operation: str) -> str:
    return of_reviews(f"to: [{{operation: {{{operation}}}}}]")


def targets(kind: str, name: str, namespace: str = "shop") -> str:
    group = "gateway.networking.k8s.io" if kind.startswith("Gateway") else ""
    return authz(f"targetRefs: [{{kind: {kind}, group: '{group}', name: {name}}}], rules: [{{}}]", namespace=namespace)


def dest(spec: str, name: str = "a", namespace: str = "shop") -> str:
    return _object("DestinationRule", spec, name, namespace)


def virtual(http: str, more: str = "hosts: [reviews]") -> str:
    return _object("VirtualService", f"{more}, http: [{http}]")


TO = "route: [{destination: {host: reviews}}]"
RANDOM = "trafficPolicy: {loadBalancer: {simple: RANDOM}}"
EJECT = "trafficPolicy: {outlierDetection: {interval: 5s}}"
WEB = "from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]"
ALL_OF_MESH = authz("rules: [{from: [{source: {namespaces: [shop]}}]}]", "all")
EDGE = "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: shop}\nspec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}]}\n"
AT_EDGE = "hosts: [shop.example.com], gateways: [edge]"

FOR_ADDRESSES = WAYPOINT.replace("namespace: shop}", "namespace: shop, labels: {istio.io/waypoint-for: workload}}")
NOT_B = "from: [{source: {notPrincipals: [cluster.local/ns/a/sa/b]}}]"
STRICT = _object("PeerAuthentication", "mtls: {mode: STRICT}")
ACCOUNT = "---\n{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: shop}}\n"
PROVIDERS = "---\nmeshConfig: {extensionProviders: [{name: authz, envoyExtAuthzGrpc: {service: authz.shop.svc.cluster.local, port: 9000}}]}\nglobal: {istioNamespace: istio-system}\n"
CUSTOM = authz(
    "action: CUSTOM, provider: {name: authz}, selector: {matchLabels: {app: reviews}}, rules: [{to: [{operation: {paths: [/admin]}}]}]"
)
TOKENS = _object("RequestAuthentication", "selector: {matchLabels: {app: db}}, jwtRules: [{issuer: a, jwksUri: 'https://a.example.com/b'}]")

ROWS = [
    Row("1 a deny of everything", "MP049", "spec.action", authz("action: DENY, rules: [{}]") + WORLD, authz("action: DENY, rules: [{to: [{operation: {ports: ['9999']}}]}]") + WORLD),
    Row("2 what another one opens", "MP094", "spec.rules[0].from[0].source.principals[0]", authz("rules: [{}]", "all") + of_reviews(WEB) + WORLD, of_reviews(WEB) + WORLD),
    Row("2 what another one opens, by methods", "MP094", "spec.rules[0].from[0].source.namespaces[0]",
        ALL_OF_MESH + of_reviews("from: [{source: {namespaces: [shop]}}], to: [{operation: {methods: [GET]}}]") + WORLD,
        ALL_OF_MESH + of_reviews("from: [{source: {namespaces: [pay]}}], to: [{operation: {methods: [GET]}}]") + WORLD),
    Row("4 a time for retries that are off", "MP072", "spec.http[0].retries.perTryTimeout",
        virtual(f"{{retries: {{attempts: 0, perTryTimeout: 1s}}, {TO}}}") + WORLD, virtual(f"{{retries: {{attempts: 0}}, {TO}}}") + WORLD),
    Row("7 blanks between conditions", "MP072", "spec.http[0].retries.retryOn",
        virtual(f"{{retries: {{attempts: 2, retryOn: 'reset, 503'}}, {TO}}}") + WORLD, virtual(f"{{retries: {{attempts: 2, retryOn: 'reset,503'}}, {TO}}}") + WORLD),
    Row("7 a condition that is none", "MP072", "spec.http[0].retries.retryOn",
        virtual(f"{{retries: {{attempts: 2, retryOn: gateway-eror}}, {TO}}}") + WORLD, virtual(f"{{retries: {{attempts: 2, retryOn: gateway-error}}, {TO}}}") + WORLD),
    Row("8 an empty tls", "MP085", "spec.trafficPolicy.tls", dest("host: reviews, trafficPolicy: {tls: {}}") + WORLD, dest("host: reviews, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}") + WORLD),
    Row("8 an empty policy for the way out", "MP085", "spec.outboundTrafficPolicy",
        _object("Sidecar", "egress: [{hosts: ['./*']}], outboundTrafficPolicy: {}") + WORLD, _object("Sidecar", "egress: [{hosts: ['./*']}], outboundTrafficPolicy: {mode: ALLOW_ANY}") + WORLD),
    Row("9 a port of a subset", "MP086", "spec.subsets[0].trafficPolicy.portLevelSettings[0].port.number",
        dest(f"host: reviews, {EJECT}, subsets: [{{name: v1, labels: {{version: v1}}, trafficPolicy: {{portLevelSettings: [{{port: {{number: 80}}, loadBalancer: {{simple: RANDOM}}}}]}}}}]") + WORLD,
        dest("host: reviews, subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]}}]") + WORLD),
    Row("10 a wildcard of the namespace", "MP048", "spec.host",
        dest(f"host: '*.shop.svc.cluster.local', {EJECT}") + dest(f"host: reviews, {RANDOM}", "b") + WORLD, dest(f"host: '*.pay.svc.cluster.local', {EJECT}") + dest(f"host: reviews, {RANDOM}", "b") + WORLD),
    Row("10 a wildcard of the mesh", "MP048", "spec.host",
        dest(f"host: '*.local', {EJECT}", namespace="istio-system") + dest(f"host: reviews, {RANDOM}", "b") + WORLD,
        dest(f"host: '*.local', {EJECT}", namespace="istio-system") + dest(f"host: api.example.com, {RANDOM}", "b") + WORLD),
    Row("10 a rule of the clients' namespace", "MP048", "spec.host",
        dest(f"host: reviews.shop.svc.cluster.local, {EJECT}", namespace="web") + dest(f"host: reviews, {RANDOM}", "b") + WORLD,
        dest(f"host: db.shop.svc.cluster.local, {EJECT}", namespace="web") + dest(f"host: reviews, {RANDOM}", "b") + WORLD),
    Row("10 two for one host", "MP077", "spec.host", dest(f"host: reviews, {EJECT}") + dest(f"host: reviews.shop.svc.cluster.local, {RANDOM}", "b") + WORLD,
        dest(f"host: reviews, {EJECT}") + dest("host: reviews.shop.svc.cluster.local, subsets: [{name: v1, labels: {version: v1}}]", "b") + WORLD),
    Row("11 a dot in the host", "MP087", "spec.hosts[0]", virtual(f"{{{TO}}}", "hosts: [reviews.shop]") + WORLD, virtual(f"{{{TO}}}", "hosts: [reviews.shop.svc.cluster.local]") + WORLD),
    Row("11 a host that nobody has", "MP073", "spec.hosts[0]", virtual(f"{{{TO}}}", "hosts: [reviewz]") + WORLD, EDGE + virtual(f"{{{TO}}}", AT_EDGE) + WORLD),
    Row("15 a delegate that is not there", "MP073", "spec.http[0].delegate.name",
        virtual("{delegate: {name: b}}") + WORLD, virtual("{delegate: {name: b}}") + virtual(f"{{{TO}}}", "exportTo: ['*']").replace("name: a", "name: b") + WORLD),
    Row("15 a delegate with hosts", "MP073", "spec.http[0].delegate.name",
        virtual("{delegate: {name: b}}") + virtual(f"{{{TO}}}", "hosts: [db]").replace("name: a", "name: b") + WORLD, virtual(f"{{{TO}}}") + WORLD),
    Row("16 a share of nothing", "MP085", "spec.http[0].mirrorPercentage",
        virtual(f"{{mirror: {{host: db}}, mirrorPercentage: {{}}, {TO}}}") + WORLD, virtual(f"{{mirror: {{host: db}}, mirrorPercentage: {{value: 1}}, {TO}}}") + WORLD),
    Row("16 a fault of nothing", "MP085", "spec.http[0].fault.delay.fixedDelay",
        virtual(f"{{fault: {{delay: {{fixedDelay: 5s}}}}, {TO}}}") + WORLD, virtual(f"{{mirror: {{host: db}}, {TO}}}") + WORLD),
    Row("17 labels of clients beside gateways", "MP098", "spec.http[0].match[0].sourceLabels.app",
        virtual(f"{{match: [{{sourceLabels: {{app: db}}, gateways: [mesh]}}], {TO}}}") + WORLD, virtual(f"{{match: [{{sourceLabels: {{app: db}}}}], {TO}}}") + WORLD),
    Row("17 labels of clients at a gateway", "MP098", "spec.http[0].match[0].sourceLabels.app",
        EDGE + virtual(f"{{match: [{{sourceLabels: {{app: db}}}}], {TO}}}", AT_EDGE) + WORLD, EDGE + virtual(f"{{match: [{{uri: {{prefix: /a}}}}], {TO}}}", AT_EDGE) + WORLD),
    Row("17 labels of clients in ambient", "MP098", "spec.http[0].match[0].sourceLabels.app",
        virtual(f"{{match: [{{sourceLabels: {{app: db}}}}], {TO}}}") + AMBIENT, virtual(f"{{match: [{{uri: {{prefix: /a}}}}], {TO}}}") + AMBIENT),
    Row("18 a Service's port that is left out", "MP074", "spec.rules[0].to[0].operation.notPorts[0]", to("notPorts: ['80']") + WORLD, to("notPorts: ['9080']") + WORLD),
    Row("18 a Service's port as a condition", "MP074", "spec.rules[0].when[0].values[0]",
        of_reviews("when: [{key: destination.port, values: ['80']}]") + WORLD, of_reviews("when: [{key: destination.port, values: ['9080']}]") + WORLD),
    Row("18 a container's port in a match", "MP074", "spec.http[0].match[0].port", virtual(f"{{match: [{{port: 9080}}], {TO}}}") + WORLD, virtual(f"{{match: [{{port: 80}}], {TO}}}") + WORLD),
    Row("19 a star between slashes", "MP098", "spec.rules[0].to[0].operation.paths[0]", to("paths: [/a/*/b]") + WORLD, to("paths: ['/a/{*}/b', '/c/*', '*.php']") + WORLD),
    Row("19 an expression", "MP098", "spec.rules[0].to[0].operation.paths[0]", to("paths: ['/a/.*']") + WORLD, to("paths: ['/a.b/c-d_e~f/*']") + WORLD),
    Row("19 a path without its slash", "MP098", "spec.rules[0].to[0].operation.paths[0]", to("paths: [admin]") + WORLD, to("paths: [/admin]") + WORLD),
    Row("19 a path with a query", "MP098", "spec.rules[0].to[0].operation.paths[0]", to("paths: ['/a?b=c']") + WORLD, to("paths: [/a]") + WORLD),
    Row("19 a method in small letters", "MP098", "spec.rules[0].to[0].operation.methods[0]", to("methods: [get]") + WORLD, to("methods: [GET]") + WORLD),
    Row("20 a header on TCP", "MP088", "spec.rules[0].when[0].key",
        of_db("when: [{key: 'request.headers[x]', values: [a]}]") + WORLD, of_db("when: [{key: source.ip, values: [10.0.0.0/8]}]") + WORLD),
    Row("20 a token on TCP", "MP088", "spec.rules[0].from[0].source.requestPrincipals[0]", of_db("from: [{source: {requestPrincipals: ['*']}}]") + WORLD, of_db(WEB) + WORLD),
    Row("21 names at the pods, and a waypoint", "MP083", "spec.rules[0].from[0].source.principals[0]",
        WAYPOINT + of_reviews(WEB) + BEHIND, WAYPOINT + of_reviews(WEB.replace("sa/web]", "sa/web, cluster.local/ns/shop/sa/waypoint]")) + BEHIND),
    Row("21 a waypoint that is not there", "MP073", "spec.targetRefs[0].name", WAYPOINT + targets("Gateway", "waypoin") + BEHIND,
        WAYPOINT + targets("Gateway", "waypoint") + authz("rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/waypoint]}}]}]", "b") + BEHIND),
    Row("21 a waypoint of another namespace", "MP073", "spec.targetRefs[0].name",
        WAYPOINT.replace("namespace: shop", "namespace: infra") + targets("Gateway", "waypoint") + BEHIND.replace("use-waypoint: waypoint", "use-waypoint: waypoint, istio.io/use-waypoint-namespace: infra"),
        WAYPOINT.replace("namespace: shop", "namespace: infra") + BEHIND.replace("use-waypoint: waypoint", "use-waypoint: waypoint, istio.io/use-waypoint-namespace: infra")),
    Row("21 a gateway of Istio's own", "MP080", "spec.targetRefs[0].name", EDGE + targets("Gateway", "edge") + WORLD, EDGE + WORLD),
    Row("21 a class named in a namespace", "MP080", "spec.targetRefs[0].name", WAYPOINT + targets("GatewayClass", "istio-waypoint") + BEHIND, WAYPOINT + BEHIND),
    Row("21 a class before its time", "MP080", "spec.targetRefs[0].name", WAYPOINT + targets("GatewayClass", "istio-waypoint", "istio-system") + BEHIND, WAYPOINT + BEHIND, "1.24"),
    Row("21 a waypoint for addresses", "MP080", "spec.targetRefs[0].name",
        FOR_ADDRESSES + targets("Service", "reviews") + BEHIND,
        WAYPOINT + targets("Service", "reviews") + authz("rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/waypoint]}}]}]", "b") + BEHIND),
    Row("22 callers without a name, in a strict namespace of a permissive mesh", "MP089", "spec.rules[0].from[0].source.notPrincipals[0]",
        of_reviews(NOT_B) + STRICT.replace("STRICT", "DISABLE") + WORLD, of_reviews(NOT_B) + STRICT + STRICT.replace("STRICT", "PERMISSIVE").replace("shop", "istio-system") + WORLD),
    Row("22 callers without a name", "MP089", "spec.rules[0].from[0].source.notPrincipals[0]",
        of_reviews("from: [{source: {notPrincipals: [cluster.local/ns/a/sa/b]}}]") + _object("PeerAuthentication", "mtls: {mode: PERMISSIVE}") + WORLD,
        of_reviews("from: [{source: {notPrincipals: [cluster.local/ns/a/sa/b]}}]") + _object("PeerAuthentication", "mtls: {mode: STRICT}") + WORLD),
    Row("24 an account that is not there", "MP073", "spec.rules[0].from[0].source.principals[0]", ACCOUNT + of_reviews(WEB.replace("sa/web", "sa/wbe")) + WORLD, ACCOUNT + of_reviews(WEB) + WORLD),
    Row("24 an authorizer that is not there", "MP073", "spec.provider.name", PROVIDERS + CUSTOM.replace("authz", "auth") + WORLD, PROVIDERS + CUSTOM + WORLD),
    Row("24 plaintext to pods that refuse it", "MP058", "spec.trafficPolicy.tls.mode",
        STRICT + dest("host: reviews, trafficPolicy: {tls: {mode: DISABLE}}") + WORLD, STRICT + dest("host: reviews, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}") + WORLD),
    Row("24 plaintext to one port that refuses it", "MP058", "spec.trafficPolicy.portLevelSettings[0].tls.mode",
        STRICT + dest("host: reviews, trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: DISABLE}}]}") + WORLD,
        STRICT.replace("mtls:", "selector: {matchLabels: {app: reviews}}, portLevelMtls: {9080: {mode: PERMISSIVE}}, mtls:")
        + dest("host: reviews, trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: DISABLE}}]}") + WORLD),
    Row("24 tokens that are checked elsewhere", "MP099", "spec.rules[0].from[0].source.requestPrincipals[0]",
        TOKENS + of_reviews("from: [{source: {requestPrincipals: ['*']}}]") + WORLD, TOKENS.replace("db", "reviews") + of_reviews("from: [{source: {requestPrincipals: ['*']}}]") + WORLD),
    Row("24 a principal as a URI", "MP098", "spec.rules[0].from[0].source.principals[0]", of_reviews(WEB.replace("[cluster", "['spiffe://cluster").replace("web]", "web']")) + WORLD, of_reviews(WEB) + WORLD),
    Row("24 pods of the host's network", "MP080", "spec.selector.matchLabels.app", of_db(WEB) + WORLD.replace("{containers: [{name: app, ports: [{containerPort: 3306}", "{hostNetwork: true, containers: [{name: app, ports: [{containerPort: 3306}"), of_db(WEB) + WORLD),
    Row("24 pods without a sidecar", "MP080", "spec.selector.matchLabels.app", of_db(WEB) + WORLD.replace("{labels: {app: db}}", "{labels: {app: db, sidecar.istio.io/inject: 'false'}}"), of_db(WEB) + WORLD),
    Row("24 a port past the sidecar", "MP080", "spec.selector.matchLabels.app",
        of_db(WEB) + WORLD.replace("{labels: {app: db}}", "{labels: {app: db}, annotations: {traffic.sidecar.istio.io/excludeInboundPorts: '3306'}}"),
        of_db(WEB) + WORLD.replace("{labels: {app: db}}", "{labels: {app: db}, annotations: {traffic.sidecar.istio.io/excludeInboundPorts: '9100'}}")),
]  # fmt: skip


@pytest.mark.parametrize("case", ROWS, ids=[case.title for case in ROWS])
def test_a_row_is_said_where_it_stands_and_nothing_of_what_only_looks_like_it(case: Row) -> None:
    row(case, "istio")


def test_a_policy_that_hangs_on_a_gateway_is_none_of_lints_business() -> None:
    """That a conversion has no form for it is said there, and nothing of it here."""
    gateway = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: shop}\nspec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}\n"
    assert [item for item in lint(gateway + targets("Gateway", "edge") + WORLD, "istio") if item.severity != "info"] == []
    assert {item.severity for item in lint(targets("Gateway", "edge"), "istio")} == {"info"}
