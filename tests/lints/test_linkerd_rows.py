"""What looks right in Linkerd and is not, row by row: each mistake where it stands, and beside it what looks like it and is none. Rows that are no mistake of a
manifest (defaults that another mesh has not) are held by the conversions' tests."""

from __future__ import annotations

import pytest
from lint_helper import Row, lint, row

WORLD = """
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop, annotations: {linkerd.io/inject: enabled}}}
---
apiVersion: v1
kind: Service
metadata: {name: users, namespace: shop}
spec: {selector: {app: users}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: peers, namespace: shop}
spec: {selector: {app: users}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec: {template: {metadata: {labels: {app: users}}, spec: {containers: [{name: app, ports: [{name: http, containerPort: 8080}]}]}}}
"""
PROBED = WORLD.replace("{name: app, ports", "{name: app, readinessProbe: {httpGet: {path: /ready, port: http}}, ports")


def pod(annotations: str, more: str = "") -> str:
    return WORLD.replace("{labels: {app: users}}", f"{{labels: {{app: users{more}}}, annotations: {{{annotations}}}}}")


def service(annotations: str) -> str:
    return WORLD.replace(
        "{name: users, namespace: shop}\nspec: {selector",
        f"{{name: users, namespace: shop, annotations: {{{annotations}}}}}\nspec: {{selector",
        1,
    )


def _object(kind: str, api: str, name: str, spec: str, notes: str = "") -> str:
    metadata = f"{{name: {name}, namespace: shop{', annotations: {' + notes + '}' if notes else ''}}}"
    return f"---\napiVersion: {api}\nkind: {kind}\nmetadata: {metadata}\nspec: {{{spec}}}\n"


def server(more: str = "", port: str = "http", name: str = "users", labels: str = "app: users") -> str:
    return _object("Server", "policy.linkerd.io/v1beta3", name, f"podSelector: {{matchLabels: {{{labels}}}}}, port: {port}{more}")


def grant(target: str, refs: str = "[{kind: ServiceAccount, name: web}]", name: str = "a") -> str:
    return _object("AuthorizationPolicy", "policy.linkerd.io/v1alpha1", name, f"targetRef: {target}, requiredAuthenticationRefs: {refs}")


def old(where: str, account: str = "web") -> str:
    return _object(
        "ServerAuthorization", "policy.linkerd.io/v1beta1", "o", f"{where}, client: {{meshTLS: {{serviceAccounts: [{{name: {account}}}]}}}}"
    )


def names(spec: str) -> str:
    return _object("MeshTLSAuthentication", "policy.linkerd.io/v1alpha1", "x", spec)


def route(rules: str, parents: str | None = None, name: str = "r", notes: str = "") -> str:
    parents = parents or "[{group: '', kind: Service, name: users, port: 80}]"
    return _object("HTTPRoute", "gateway.networking.k8s.io/v1", name, f"parentRefs: {parents}, rules: [{rules}]", notes)


def inbound(path: str, name: str = "r") -> str:
    return route(f"{{matches: [{{path: {{value: {path}}}}}]}}", "[{group: policy.linkerd.io, kind: Server, name: users}]", name)


def profile(routes: str, more: str = "", name: str = "users.shop.svc.cluster.local") -> str:
    return _object("ServiceProfile", "linkerd.io/v1alpha2", name, f"routes: [{routes}]{more}")


def limit(name: str = "l", target: str = "users") -> str:
    spec = f"targetRef: {{group: policy.linkerd.io, kind: Server, name: {target}}}, total: {{requestsPerSecond: 10}}"
    return _object("HTTPLocalRateLimitPolicy", "policy.linkerd.io/v1alpha1", name, spec)


ON_USERS = "{group: policy.linkerd.io, kind: Server, name: users}"
ON_ROUTE = "{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}"
ALL = "{name: all, condition: {pathRegex: '/.*'}}"
TO = "backendRefs: [{name: users, port: 80}]"
OF_X = "[{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: x}]"
WEB = "web.shop.serviceaccount.identity.linkerd.cluster.local"
SPLIT = _object("TrafficSplit", "split.smi-spec.io/v1alpha2", "t", "service: users, backends: [{service: peers, weight: 1}]")
NODES = _object("NetworkAuthentication", "policy.linkerd.io/v1alpha1", "nodes", "networks: [{cidr: 0.0.0.0/0}]")
ACCOUNT = "---\n{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: shop}}\n"
FOR_PROBE = (
    inbound("/ready", "probe") + NODES
    + grant("{group: gateway.networking.k8s.io, kind: HTTPRoute, name: probe}", "[{group: policy.linkerd.io, kind: NetworkAuthentication, name: nodes}]", "p")
)  # fmt: skip
OPEN = grant(ON_USERS, "[{group: policy.linkerd.io, kind: NetworkAuthentication, name: nodes}]", "p") + NODES

WAY_OUT = _object("EgressNetwork", "policy.linkerd.io/v1alpha1", "all", "trafficPolicy: Allow")
OVER = "overrides: [{requestsPerSecond: 1, clientRefs: [{kind: %s, name: web}]}]"
AMONG = _object(
    "Server", "policy.linkerd.io/v1beta3", "b", "podSelector: {matchExpressions: [{key: app, operator: In, values: [%s]}]}, port: 80"
)
BEYOND = _object("Server", "policy.linkerd.io/v1beta3", "%s", "externalWorkloadSelector: {matchLabels: {app: vm}}, port: 80")

ROWS = [
    Row("2 a probe that no route takes", "MP099", "spec.port", server() + inbound("/api") + grant(ON_ROUTE) + PROBED, server() + inbound("/api") + grant(ON_ROUTE) + FOR_PROBE + PROBED),
    Row("2 a probe, and no route at all", "MP099", "spec.port", server() + inbound("/api") + grant(ON_ROUTE) + PROBED, server() + grant(ON_USERS) + PROBED),
    Row("4 a grant for the whole Server", "MP094", "spec.targetRef.name",
        server() + inbound("/a") + grant(ON_ROUTE) + grant(ON_USERS, name="b") + WORLD, server() + inbound("/a") + grant(ON_ROUTE) + grant(ON_USERS, "[{kind: ServiceAccount, name: ops}]", "b") + WORLD),
    Row("4 a grant for every name of the namespace", "MP094", "spec.targetRef.name",
        server() + names("identities: ['*']") + inbound("/a") + grant(ON_ROUTE) + grant("{kind: Namespace, name: shop}", OF_X, "b") + WORLD,
        server() + names(f"identities: [{WEB}]") + inbound("/a") + grant(ON_ROUTE, "[{kind: ServiceAccount, name: ops}]") + grant("{kind: Namespace, name: shop}", OF_X, "b") + WORLD),
    Row("6 nobody is asked for", "MP098", "spec.requiredAuthenticationRefs", server() + grant(ON_USERS, "[]") + WORLD, server() + grant(ON_USERS) + WORLD),
    Row("6 names that are not there", "MP014", "spec.requiredAuthenticationRefs[0].name", server() + grant(ON_USERS, OF_X) + WORLD, server() + names("identities: ['*']") + grant(ON_USERS, OF_X) + WORLD),
    Row("6 an account that is not there", "MP073", "spec.requiredAuthenticationRefs[0].name", ACCOUNT + server() + grant(ON_USERS, "[{kind: ServiceAccount, name: wbe}]") + WORLD, ACCOUNT + server() + grant(ON_USERS) + WORLD),
    Row("6 names of nobody", "MP072", "spec", names("") + WORLD, names("identityRefs: [{kind: ServiceAccount, name: web}]") + WORLD),
    Row("6 an account that is not there, among names", "MP073", "spec.identityRefs[0].name",
        ACCOUNT + names("identityRefs: [{kind: ServiceAccount, name: wbe}]") + WORLD, ACCOUNT + names("identityRefs: [{kind: ServiceAccount, name: web}]") + WORLD),
    Row("6 an account that is not there, in the old words", "MP073", "spec.client.meshTLS.serviceAccounts[0].name",
        ACCOUNT + server() + old("server: {name: users}", "wbe") + WORLD, ACCOUNT + server() + old("server: {name: users}") + WORLD),
    Row("6 labels of no Server", "MP073", "spec.server.selector.matchLabels.app",
        server() + old("server: {selector: {matchLabels: {app: user}}}") + WORLD,
        server().replace("name: users, namespace: shop", "name: users, namespace: shop, labels: {app: user}") + old("server: {selector: {matchLabels: {app: user}}}") + WORLD),
    Row("6 a route of the other group", "MP073", "spec.targetRef.group",
        server() + inbound("/a") + grant(ON_ROUTE.replace("gateway.networking.k8s.io", "policy.linkerd.io")) + WORLD, server() + inbound("/a") + grant(ON_ROUTE) + WORLD),
    Row("7 a share for a Service that is not there", "MP073", "spec.dstOverrides[0].authority",
        profile(ALL, ", dstOverrides: [{authority: 'userz.shop.svc.cluster.local:80', weight: 1}]") + WORLD,
        profile(ALL, ", dstOverrides: [{authority: 'peers.shop.svc.cluster.local:80', weight: 1}]") + WORLD),
    Row("7 a route of gRPC over one of HTTP", "MP076", "spec.parentRefs[0].name",
        route(f"{{{TO}}}") + route(f"{{{TO}}}", name="g").replace("HTTPRoute", "GRPCRoute") + WORLD,
        route(f"{{{TO}}}") + route(f"{{{TO}}}", "[{group: core, kind: Service, name: peers, port: 80}]", "g").replace("HTTPRoute", "GRPCRoute") + WORLD),
    Row("7 a profile over a route", "MP054", "spec.parentRefs[0].name", profile(ALL) + route(f"{{{TO}}}") + WORLD, profile(ALL) + route(f"{{{TO}}}", "[{group: '', kind: Service, name: peers, port: 80}]") + WORLD),
    Row("7 a profile over annotations", "MP054", 'metadata.annotations["retry.linkerd.io/http"]', profile(ALL) + service("retry.linkerd.io/http: 5xx"), service("retry.linkerd.io/http: 5xx")),
    Row("7 a split over a route", "MP054", "spec.parentRefs[0].group", SPLIT + route(f"{{{TO}}}") + WORLD, route(f"{{{TO}}}") + WORLD),
    Row("8 requests that no rule takes", "MP057", "spec.rules[0].matches[0].path.value", route(f"{{matches: [{{path: {{value: /a}}}}], {TO}}}") + WORLD, route(f"{{matches: [{{path: {{value: /a}}}}], {TO}}}, {{{TO}}}") + WORLD),
    Row("9 a protocol that Linkerd does not know", "MP081", "spec.ports[0].appProtocol",
        WORLD.replace("port: 80, targetPort: http", "port: 80, targetPort: http, appProtocol: grpc", 1), WORLD.replace("port: 80, targetPort: http", "port: 80, targetPort: http, appProtocol: kubernetes.io/h2c", 1)),
    Row("10 a Service without its group", "MP098", "spec.parentRefs[0].kind", route(f"{{{TO}}}", "[{kind: Service, name: users, port: 80}]") + WORLD, route(f"{{{TO}}}", "[{group: core, kind: Service, name: users, port: 80}]") + WORLD),
    Row("10 a Service without its kind", "MP098", "spec.parentRefs[0].name", route(f"{{{TO}}}", "[{name: users, port: 80}]") + WORLD, route(f"{{{TO}}}", "[{name: edge}]") + WORLD),
    Row("10 a Server without its group", "MP098", "spec.parentRefs[0].kind",
        server() + grant(ON_USERS) + route("{matches: [{path: {value: /a}}]}", "[{kind: Server, name: users}]") + WORLD, server() + grant(ON_ROUTE) + inbound("/a") + WORLD),
    Row("10 a way out without its port", "MP072", "spec.parentRefs[0].group",
        WAY_OUT + route("{}", "[{group: policy.linkerd.io, kind: EgressNetwork, name: all}]") + WORLD, WAY_OUT + route("{}", "[{group: policy.linkerd.io, kind: EgressNetwork, name: all, port: 80}]") + WORLD),
    Row("10 two rules for bytes", "MP072", "spec.rules[0].backendRefs[0].name",
        route(f"{{{TO}}}, {{{TO}}}").replace("HTTPRoute", "TCPRoute").replace("k8s.io/v1", "k8s.io/v1alpha2") + WORLD, route(f"{{{TO}}}").replace("HTTPRoute", "TCPRoute").replace("k8s.io/v1", "k8s.io/v1alpha2") + WORLD),
    Row("11 a filter that voids the route", "MP315", "spec.rules[0].filters[0].type",
        route(f"{{filters: [{{type: URLRewrite, urlRewrite: {{hostname: a.b}}}}], {TO}}}") + WORLD,
        route(f"{{filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {{remove: [x]}}}}], {TO}}}") + WORLD),
    Row("12 a header of answers on the way in", "MP098", "spec.rules[0].filters[0].type",
        server() + grant(ON_ROUTE) + inbound("/a").replace("{matches", "{filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {remove: [x]}}], matches") + WORLD,
        route(f"{{filters: [{{type: ResponseHeaderModifier, responseHeaderModifier: {{remove: [x]}}}}], {TO}}}") + WORLD),
    Row("13 a condition that is none", "MP098", 'metadata.annotations["retry.linkerd.io/http"]', service("retry.linkerd.io/http: '5xx, 429'"), service("retry.linkerd.io/http: '5xx,429,500-503'")),
    Row("13 how, and not what", "MP099", 'metadata.annotations["retry.linkerd.io/limit"]', service("retry.linkerd.io/limit: '2'"), service("retry.linkerd.io/limit: '2', retry.linkerd.io/http: 5xx")),
    Row("15 several units", "MP098", "spec.rules[0].timeouts.request", route(f"{{timeouts: {{request: 1m30s}}, {TO}}}") + WORLD, route(f"{{timeouts: {{request: 90s}}, {TO}}}") + WORLD),
    Row("18 a name of Istio", "MP072", "spec.identities[0]", names("identities: [cluster.local/ns/shop/sa/web]") + WORLD, names(f"identities: [{WEB}]") + WORLD),
    Row("18 a star within a name", "MP072", "spec.identities[0]", names(f"identities: ['w*{WEB[1:]}']") + WORLD, names(f"identities: ['*{WEB[3:]}']") + WORLD),
    Row("18 half a name", "MP098", "spec.identities[0]", names("identities: [web.shop]") + WORLD, names(f"identities: [{WEB}]") + WORLD),
    Row("19 injection as a label", "MP097", 'metadata.labels["linkerd.io/inject"]', WORLD.replace("annotations: {linkerd.io/inject", "labels: {linkerd.io/inject"), WORLD),
    Row("19 injection on the workload", "MP097", 'metadata.annotations["linkerd.io/inject"]',
        WORLD.replace("kind: Deployment\nmetadata: {name: users, namespace: shop}", "kind: Deployment\nmetadata: {name: users, namespace: shop, annotations: {linkerd.io/inject: enabled}}"), pod("linkerd.io/inject: enabled")),
    Row("20 a port past the proxy", "MP080", "spec.port", server() + grant(ON_USERS) + pod("config.linkerd.io/skip-inbound-ports: '8080'"), server() + grant(ON_USERS) + pod("config.linkerd.io/skip-inbound-ports: '9090'")),
    Row("20 pods without a proxy", "MP080", "spec.podSelector.matchLabels.app", server() + grant(ON_USERS) + pod("linkerd.io/inject: disabled"), server() + grant(ON_USERS) + WORLD),
    Row("21 a split to no Service", "MP073", "spec.rules[0].backendRefs[0].name", route("{backendRefs: [{name: users-canary, port: 80}]}") + WORLD, route("{backendRefs: [{name: peers, port: 80}]}") + WORLD),
    Row("22 a breaker that is not turned on", "MP099", 'metadata.annotations["balancer.linkerd.io/failure-accrual-consecutive-max-failures"]',
        service("balancer.linkerd.io/failure-accrual-consecutive-max-failures: '3'"), service("balancer.linkerd.io/failure-accrual: consecutive, balancer.linkerd.io/failure-accrual-consecutive-max-failures: '3'")),
    Row("22 a ratio that is none", "MP098", 'metadata.annotations["balancer.linkerd.io/failure-accrual-consecutive-jitter-ratio"]',
        service("balancer.linkerd.io/failure-accrual: consecutive, balancer.linkerd.io/failure-accrual-consecutive-jitter-ratio: '200'"),
        service("balancer.linkerd.io/failure-accrual: consecutive, balancer.linkerd.io/failure-accrual-consecutive-jitter-ratio: '0.2'")),
    Row("23 a limit where nothing is HTTP", "MP080", "spec.targetRef.name", server(", proxyProtocol: opaque") + grant(ON_USERS) + limit() + WORLD, server() + grant(ON_USERS) + limit() + WORLD),
    Row("23 a limit for gRPC", "MP656", "spec.targetRef.group", server(", proxyProtocol: gRPC") + grant(ON_USERS) + limit() + WORLD, server(", proxyProtocol: HTTP/1") + grant(ON_USERS) + limit() + WORLD),
    Row("23 two limits", "MP077", "spec.targetRef.name", server() + grant(ON_USERS) + limit() + limit("m") + WORLD, server() + grant(ON_USERS) + limit() + WORLD),
    Row("23 a limit for no Server", "MP073", "spec.targetRef.name", server() + grant(ON_USERS) + limit(target="user") + WORLD, server() + grant(ON_USERS) + limit() + WORLD),
    Row("23 a client that is no account", "MP072", "spec.overrides[0].clientRefs[0].kind",
        server() + grant(ON_USERS) + limit().replace("total:", OVER % "Service" + ", total:") + WORLD, server() + grant(ON_USERS) + limit().replace("total:", OVER % "ServiceAccount" + ", total:") + WORLD),
    Row("25 a name among opaque ports", "MP098", 'spec.template.metadata.annotations["config.linkerd.io/opaque-ports"]', pod("config.linkerd.io/opaque-ports: '3306,mysql'"), pod("config.linkerd.io/opaque-ports: '3306,5000-6000'")),
    Row("25 a name among skipped ports", "MP098", 'spec.template.metadata.annotations["config.linkerd.io/skip-outbound-ports"]', pod("config.linkerd.io/skip-outbound-ports: mysql"), pod("config.linkerd.io/skip-outbound-ports: '3306'")),
    Row("25 a negation at the top", "MP098", "spec.routes[0].condition.not.method", profile(f"{{name: a, condition: {{not: {{method: GET}}}}}}, {ALL}") + WORLD, profile(f"{{name: a, condition: {{all: [{{not: {{method: GET}}}}]}}}}, {ALL}") + WORLD),
    Row("25 a range with one end", "MP098", "spec.routes[0].responseClasses[0].condition.status.min",
        profile("{name: all, condition: {pathRegex: '/.*'}, responseClasses: [{condition: {status: {min: 500}}, isFailure: true}]}") + WORLD,
        profile("{name: all, condition: {pathRegex: '/.*'}, responseClasses: [{condition: {status: {min: 500, max: 599}}, isFailure: true}]}") + WORLD),
    Row("25 a range backwards", "MP098", "spec.routes[0].responseClasses[0].condition.status.min",
        profile("{name: all, condition: {pathRegex: '/.*'}, responseClasses: [{condition: {status: {min: 599, max: 500}}, isFailure: true}]}") + WORLD,
        profile("{name: all, condition: {pathRegex: '/.*'}, responseClasses: [{condition: {status: {min: 500, max: 500}}, isFailure: true}]}") + WORLD),
    Row("25 opaque ports in a profile", "MP098", "spec.opaquePorts[0]", profile(ALL, ", opaquePorts: ['3306']") + WORLD, profile(ALL) + WORLD),
    Row("25 alternatives without a group", "MP098", "spec.routes[0].condition.pathRegex", profile(f"{{name: a, condition: {{pathRegex: '/a|/b'}}}}, {ALL}") + WORLD, profile(f"{{name: a, condition: {{pathRegex: '(/a|/b)'}}}}, {ALL}") + WORLD),
    Row("25 an expression that is none", "MP098", "spec.routes[0].condition.pathRegex", profile(f"{{name: a, condition: {{pathRegex: '/(?!x).*'}}}}, {ALL}") + WORLD, profile(f"{{name: a, condition: {{pathRegex: '/(?:x)?.*'}}}}, {ALL}") + WORLD),
    Row("25 a budget that is too short", "MP098", "spec.retryBudget.ttl",
        profile("{name: all, condition: {pathRegex: '/.*'}, isRetryable: true}", ", retryBudget: {retryRatio: 0.2, minRetriesPerSecond: 10, ttl: 500ms}") + WORLD,
        profile("{name: all, condition: {pathRegex: '/.*'}, isRetryable: true}", ", retryBudget: {retryRatio: 0.2, minRetriesPerSecond: 10, ttl: 10s}") + WORLD),
    Row("a profile by a short name", "MP098", "metadata.name", profile(ALL, name="users") + WORLD, profile(ALL) + WORLD),
    Row("overlapping Servers", "MP077", "spec.port", server() + server(port="8080", name="b") + grant(ON_USERS) + WORLD, server() + server(port="9090", name="b") + grant(ON_USERS) + WORLD),
    Row("overlapping Servers by several values", "MP077", "spec.port", server(port="80") + AMONG % "users, web", server(port="80") + AMONG % "web, ops"),
    Row("overlapping Servers of machines", "MP077", "spec.port", BEYOND % "a" + BEYOND % "b", BEYOND % "a" + (BEYOND % "b").replace("app: vm", "app: db")),
    Row("overlapping Servers without their pods", "MP077", "spec.port", server(port="80") + server(port="80", name="b", labels="") + grant(ON_USERS), server(port="80") + server(port="80", name="b", labels="app: web") + grant(ON_USERS)),
]  # fmt: skip


@pytest.mark.parametrize("case", ROWS, ids=[case.title for case in ROWS])
def test_a_row_is_said_where_it_stands_and_nothing_of_what_only_looks_like_it(case: Row) -> None:
    row(case, "linkerd")


def test_grants_on_routes_of_another_server_open_nothing_of_this_one() -> None:
    found = [item for item in lint(TWO_SERVERS, "linkerd") if item.code == "MP052"]
    assert {item.message for item in found} == {
        "Server shop/web closes port 8080 for everybody but ServiceAccount shop-front",
        "Server shop/db closes port 5432 for everybody without an exception",
    }


TWO_SERVERS = """
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: web, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, port: 8080, proxyProtocol: HTTP/1}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: db, namespace: shop}
spec: {podSelector: {matchLabels: {app: db}}, port: 5432, proxyProtocol: opaque}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api, namespace: shop}
spec:
  parentRefs: [{group: policy.linkerd.io, kind: Server, name: web}]
  rules: [{matches: [{path: {type: PathPrefix, value: /api}}]}]
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: api, namespace: shop}
spec:
  targetRef: {group: gateway.networking.k8s.io, kind: HTTPRoute, name: api}
  requiredAuthenticationRefs: [{kind: ServiceAccount, name: shop-front}]
"""
