"""Denies of Istio said by routes of Linkerd that refuse, and every caller but some by name; asked of evaluators that read the manifests alone."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import yaml
from judge import istio, linkerd

import meshport
from meshport.pipeline import Result
from meshport.values.language import BARE_PATHS, Language
from meshport.values.paths import DOT_FREE, ODD_PATHS, RAW

Obj = dict[str, Any]

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: users, namespace: shop}
spec: {selector: {app: users}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  template:
    metadata: {labels: {app: users}}
    spec: {serviceAccountName: users, containers: [{name: app, image: users, ports: [{containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: app, image: web}]}
"""
ADMIN = "{to: [{operation: {paths: ['/admin*']}}]}"
GOLD = "{when: [{key: 'request.headers[x-tenant]', values: [gold]}]}"
PATHS = (
    "/",
    "/users",
    "/admin",
    "/admin/x",
    "/x/../admin",
    "/a/..",
    "/%61dmin",
    "/%2e%2e/admin",
    "/x/..;a/admin",
    "/x\\admin",
    "/%zz",
    "/keys",
)
HEADERS: tuple[Obj, ...] = ({}, {"x-tenant": "gold"}, {"X-Tenant": "golden"}, {"x-tenant": "gold,silver"})
CALLERS: tuple[Obj, ...] = (
    {"namespace": "shop", "service_account": "web", "meshed": True, "ip": "10.1.2.3"},
    {"namespace": "shop", "service_account": "users", "meshed": True, "ip": "10.1.2.3"},
    {"meshed": False, "ip": "10.1.2.3"},
)


def policy(name: str, action: str, *rules: str) -> str:
    return f"""---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: shop}}
spec: {{selector: {{matchLabels: {{app: users}}}}, action: {action}, rules: [{", ".join(rules)}]}}
"""


def requests() -> list[Obj]:
    target = {"namespace": "shop", "workload": "users", "labels": {"app": "users"}, "port": 8080}
    return [
        {"source": caller, "destination": target, "protocol": "http", "method": method, "host": "users", "path": path, "headers": headers}
        for caller, method, path, headers in product(CALLERS, ("GET", "PUT", "PURGE"), PATHS, HEADERS)
    ]


def moved(text: str, world: str = WORLD) -> tuple[list[Obj], list[Obj], Result]:
    before = list(yaml.safe_load_all(world + text))
    result = meshport.convert(meshport.load_objects(before), source="istio", target="linkerd")
    made = [item.object for item in result.manifests]
    names = {(obj["kind"], obj["metadata"]["name"]) for obj in made}
    return before, [obj for obj in before if (obj["kind"], obj["metadata"]["name"]) not in names] + made, result


def odd(path: str) -> bool:
    return not (DOT_FREE & RAW).accepts(path)


@pytest.mark.parametrize(
    "text",
    [
        policy("no-admin", "DENY", ADMIN),
        policy("no-gold", "DENY", GOLD),
        policy("both", "DENY", ADMIN, GOLD),
        policy("no-admin", "DENY", ADMIN) + policy("gold", "ALLOW", GOLD, "{to: [{operation: {methods: [PUT]}}]}"),
        policy("no-admin", "DENY", ADMIN) + policy("web", "ALLOW", "{from: [{source: {principals: ['*/sa/web']}}]}"),
        policy("no-admin", "DENY", "{to: [{operation: {paths: ['/admin*'], methods: [GET, 'P*']}}]}") + policy("all", "ALLOW", "{}"),
        policy("no-admin", "DENY", "{to: [{operation: {paths: ['/admin*'], notPaths: ['/admin/x']}}]}"),
        policy(
            "gold-admin", "DENY", "{to: [{operation: {paths: ['/admin*']}}], when: [{key: 'request.headers[x-tenant]', values: [gold]}]}"
        ),
        policy("no-admin", "DENY", ADMIN) + policy("paths", "ALLOW", "{to: [{operation: {paths: ['/admin/*', /users]}}]}", GOLD),
        policy("others", "DENY", "{from: [{source: {notPrincipals: ['*/sa/web']}}], to: [{operation: {paths: ['/admin*', '*keys']}}]}"),
        policy(
            "but-put",
            "DENY",
            "{to: [{operation: {methods: [PATCH]}}]}",
            "{to: [{operation: {paths: ['/admin*'], notMethods: [PUT, HEAD]}}]}",
        ),
    ],
)
def test_a_denied_request_stays_denied_and_others_get_through_but_for_odd_paths(text: str) -> None:
    before, after, _ = moved(text)
    lost = []
    for request in requests():
        old, new = istio.decide(before, request) == "allow", linkerd.decide(after, request) == "allow"
        assert old or not new, request
        if old and not new and not odd(request["path"]) and not (request["method"] == "PURGE" and "'P*'" in text):  # MP196
            lost.append(request)
    assert lost == []


def test_a_deny_by_path_reads_as_what_it_refuses() -> None:
    _, _, result = moved(policy("no-admin", "DENY", ADMIN))
    routes = {
        item.object["metadata"]["name"]: item.object["spec"]["rules"] for item in result.manifests if item.object["kind"] == "HTTPRoute"
    }
    assert routes == {
        "users-8080-default": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}],
        "users-8080-denied": [
            {
                "matches": [
                    {"path": {"type": "RegularExpression", "value": "^/admin.*$"}},
                    {"path": {"type": "RegularExpression", "value": ODD_PATHS}},
                ]
            }
        ],
    }
    targets = [item.object["spec"]["targetRef"]["name"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert targets == ["users-8080-default"]


def test_a_deny_of_a_header_by_a_pattern_is_no_route_as_a_value_that_is_no_text_would_pass_it() -> None:
    before, after, result = moved(policy("tenants", "DENY", "{when: [{key: 'request.headers[x-tenant]', values: ['g*']}]}"))
    assert not any(linkerd.decide(after, one) == "allow" for one in requests())
    assert any(istio.decide(before, one) == "allow" for one in requests())
    assert [one.code for one in result.findings if one.effect == "narrows" and "x-tenant" in one.message] == ["MP201"]


@pytest.mark.parametrize(("more", "everyone"), [("", True), (", to: [{operation: {methods: [GET]}}]", False)])
def test_callers_but_some_beside_those_are_every_caller(more: str, everyone: bool) -> None:
    web = "{principals: [cluster.local/ns/shop/sa/web]}"
    rules = ("{from: [{source: {notPrincipals: [cluster.local/ns/shop/sa/web]}}]}", f"{{from: [{{source: {web}}}]{more}}}")
    before, after, result = moved(policy("two", "ALLOW", *rules))
    plain = {**requests()[0], "source": {"meshed": False, "ip": "10.1.2.3"}, "method": "PUT"}
    assert istio.decide(before, plain) == "allow"
    assert (linkerd.decide(after, plain) == "allow") is everyone
    assert ("MP203" in {one.code for one in result.findings}) is not everyone


def test_callers_but_some_stay_so_for_bytes_where_only_requests_of_those_are_admitted() -> None:
    rules = (
        "{from: [{source: {notPrincipals: [cluster.local/ns/shop/sa/web]}}]}",
        "{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}], to: [{operation: {paths: ['*']}}]}",
    )
    before, after, _ = moved(policy("two", "ALLOW", *rules), WORLD.replace("name: http,", "name: web,"))
    bytes_of_web = {**requests()[0], "protocol": "tcp"}
    assert istio.decide(before, requests()[0]) == linkerd.decide(after, requests()[0]) == "allow"
    assert istio.decide(before, bytes_of_web) == linkerd.decide(after, bytes_of_web) == "deny"


def test_a_method_asked_for_as_a_header_is_the_method() -> None:
    before, after, result = moved(policy("no-puts", "DENY", "{when: [{key: 'request.headers[:method]', values: [PUT]}]}"))
    for request in requests():
        if request["method"] in ("GET", "PUT"):
            assert istio.decide(before, request) == linkerd.decide(after, request)
    assert not any(one.code == "MP201" for one in result.findings)


def test_a_path_that_is_one_alone_is_reached_by_dot_segments_no_more_and_that_is_said() -> None:
    before, after, result = moved(policy("keys", "ALLOW", "{to: [{operation: {paths: [/keys]}}]}"))
    around = {**requests()[0], "path": "/x/../keys"}
    assert (istio.decide(before, around), linkerd.decide(after, around)) == ("allow", "deny")
    assert [(place.workload, place.port) for one in result.findings if one.code == "MP209" for place in one.affects] == [("users", 8080)]


def test_odd_paths_are_all_that_normalising_might_change() -> None:
    written = Language.regex(ODD_PATHS, "rust")
    assert not written.overlaps(DOT_FREE & RAW, within=BARE_PATHS)
    assert (~written - Language.exact("*")).issubset(DOT_FREE & RAW, within=BARE_PATHS)


def test_every_caller_but_one_includes_the_default_account_of_each_namespace_and_the_accounts_that_are_there() -> None:
    account = "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: spare, namespace: shop}\n"
    _, _, result = moved(account + policy("no-web", "DENY", "{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}"))
    (found,) = [item.object["spec"] for item in result.manifests if item.object["kind"] == "MeshTLSAuthentication"]
    assert [item["name"] for item in found["identityRefs"]] == ["default", "spare", "users"]


@pytest.mark.parametrize(
    ("denied", "back"),
    [
        (ADMIN, {"notPaths": ["/admin*"]}),
        ("{to: [{operation: {paths: ['/admin*', '/keys']}}]}", {"notPaths": ["/admin*", "/keys"]}),
        ("{to: [{operation: {methods: [DELETE]}}]}", {"notMethods": ["DELETE"]}),
    ],
)
def test_what_a_route_refuses_comes_back_as_what_an_allow_leaves_out(denied: str, back: Obj) -> None:
    """Paths that normalising changes are refused by the same route; Istio sees none of them."""
    before, after, _ = moved(policy("denied", "DENY", denied) + policy("web", "ALLOW", "{from: [{source: {principals: ['*/sa/web']}}]}"))
    returned = meshport.convert(meshport.load_objects(after), source="linkerd", target="istio")
    assert not [one for one in returned.findings if one.code in ("MP201", "MP900")]
    (made,) = [item.object for item in returned.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert [rule["to"][0]["operation"] for rule in made["spec"]["rules"]] == [{"ports": ["8080"], **back}]
    names = {("AuthorizationPolicy", made["metadata"]["name"])}
    cluster = [obj for obj in before if (obj["kind"], obj["metadata"]["name"]) not in names and obj["kind"] != "AuthorizationPolicy"] + [
        made
    ]
    for request in requests():
        assert istio.decide(cluster, request) == istio.decide(before, request), request
