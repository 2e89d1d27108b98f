"""The judge, judged: a real Envoy's verdicts, the worked examples' check lists, and laws that each mesh keeps."""

from __future__ import annotations

import importlib.util
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judge import Undecided, istio, linkerd
from judge.generate import bundle_and_requests, random_istio_bundle, random_linkerd_bundle, requests_for
from judge.http import annotation_duration, go_duration, normalized, rust_whole
from judge.istio import path_matches, string_matches
from judge.outcome import Breaker, pods_of
from judge.routes import default_retries, route
from judge.seed import SEED
from judge.world import World, name_of, namespace_of, selects

Obj = dict[str, Any]
SHARED = Path(__file__).resolve().parents[1].parent / "shared"
SECOND = 10**9

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the shared test data at {SHARED}, which is absent")
calm = settings(max_examples=60, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))


def documents(text: str) -> list[Obj]:
    return [d for d in yaml.safe_load_all(text) if d]


def example(name: str) -> list[Obj]:
    return documents((SHARED / "worked-examples" / name).read_text())


def over(old: list[Obj], new: list[Obj]) -> list[Obj]:
    """The new documents in place of old ones of the same name."""

    def key(obj: Obj) -> tuple[str, ...]:
        return obj["apiVersion"], obj["kind"], namespace_of(obj), name_of(obj)

    replaced = {key(o) for o in new}
    return [o for o in old if key(o) not in replaced] + new


def call(account: str | None, target: str, method: str, path: str, *, port: int = 8080, ip: str = "10.1.2.3", **more: Any) -> Obj:
    """A request to `namespace/workload` by `namespace/account`, or in plaintext."""
    namespace, _, workload = target.partition("/")
    source: Obj = {"ip": ip, "meshed": account is not None}
    if account:
        source["namespace"], _, source["service_account"] = account.partition("/")
    destination = {"namespace": namespace, "workload": workload, "port": port}
    return {"source": source, "destination": destination, "protocol": "http", "method": method, "path": path, "host": workload, **more}


# ---- a real Envoy


@needs_shared
def test_every_verdict_of_envoy() -> None:
    data = json.loads((SHARED / "oracles" / "authz_verdicts.json").read_text())
    agreed, undecided, wrong = 0, 0, []
    for case in data["cases"]:
        for expected, change in case["verdicts"]:
            facts = {**data["defaults"], **change}
            request = {
                "source": {"identity": facts["identity"], "meshed": facts["identity"] is not None, "ip": facts["src"]},
                "destination": {
                    "namespace": "foo",
                    "labels": {"app": "httpbin", "version": "v1"},
                    "ip": facts["dst"],
                    "port": facts["port"],
                },
                "protocol": case["kind"],
                **{k: facts[k] for k in ("method", "host", "path", "headers", "sni", "claims")},
                "forwarded_for": facts["xff"],
            }
            try:
                verdict = istio.decide(case["policies"], request)
            except Undecided:
                undecided += 1
                text = json.dumps(case["policies"])
                assert '"CUSTOM"' in text or "experimental." in text, f"{case['id']} has to be decided"
                continue
            agreed += verdict[0] == expected
            if verdict[0] != expected:
                wrong.append((case["id"], expected, change))
    assert not wrong
    assert agreed > 1000
    assert undecided < 50


# ---- worked examples

ECOMMERCE = [  # caller, target, method, path, port, Linkerd's verdict, Istio's (kubelet probes do not pass through Istio's policy)
    ("production/checkout", "production/payment", "POST", "/charge", 8080, "allow", "allow"),
    ("production/checkout", "production/payment", "POST", "/refund?id=1", 8080, "allow", "allow"),
    ("production/checkout", "production/payment", "GET", "/charge", 8080, "deny", "deny"),
    ("production/checkout", "production/payment", "POST", "/charge/", 8080, "deny", "deny"),
    ("production/frontend", "production/payment", "POST", "/charge", 8080, "deny", "deny"),
    ("staging/checkout", "production/payment", "POST", "/charge", 8080, "deny", "deny"),
    (None, "production/payment", "POST", "/charge", 8080, "deny", "deny"),
    ("production/checkout", "production/payment", "POST", "/charge", 9090, "deny", "allow"),
    ("production/frontend", "production/checkout-v1", "GET", "/api/x", 8080, "allow", "allow"),
    ("production/frontend", "production/checkout-v2", "POST", "/api/", 8080, "allow", "allow"),
    ("production/frontend", "production/checkout-v1", "GET", "/api", 8080, "deny", "deny"),
    ("production/frontend", "production/checkout-v1", "GET", "/api/../admin", 8080, "deny", "deny"),
    ("production/frontend", "production/checkout-v1", "GET", "/api/%2e%2E/admin", 8080, "deny", "deny"),
    ("production/frontend", "production/checkout-v1", "DELETE", "/api/x", 8080, "deny", "deny"),
    (None, "production/payment", "GET", "/healthz", 8080, "allow", "deny"),
]


@needs_shared
@pytest.mark.parametrize(("account", "target", "method", "path", "port", "by_linkerd", "by_istio"), ECOMMERCE)
def test_ecommerce(account: str | None, target: str, method: str, path: str, port: int, by_linkerd: str, by_istio: str) -> None:
    world = example("1a-ecommerce-istio-world.yaml")
    request = call(account, target, method, path, port=port)
    assert istio.decide(world + documents(SEED), request) == by_istio
    assert linkerd.decide(over(world, example("1b-ecommerce-to-linkerd.yaml")), request, default_policy="all-authenticated") == by_linkerd


@needs_shared
def test_ecommerce_routes_agree() -> None:
    old = example("1a-ecommerce-istio-world.yaml")
    new = over(old, example("1b-ecommerce-to-linkerd.yaml"))
    for service in ("checkout", "payment"):
        request: Obj = {
            "source": {"namespace": "production", "service_account": "frontend", "meshed": True},
            "destination": {"namespace": "production", "service": service, "port": 80},
            "method": "GET",
            "path": "/api/x",
        }
        before, after = route(old + documents(SEED), "istio", request), route(new, "linkerd", request)
        assert (before.kind, before.backends) == (after.kind, after.backends)
        assert (before.timeout_ns, before.breakers) == (after.timeout_ns, after.breakers)
        assert before.retries == default_retries()
        assert after.retries is None
        if service == "checkout":
            v1 = pods_of(World(old), "production", "checkout", {"version": "v1"})
            assert before.backends[v1] == Fraction(9, 10)
        else:
            assert list(before.breakers.values()) == [Breaker(5, 60 * SECOND)]


@needs_shared
@pytest.mark.parametrize(
    ("account", "ip", "port", "verdict"),
    [
        ("saas-api/api-gateway", "10.1.2.3", 8080, "allow"),
        ("saas-api/api-gateway", "100.64.0.9", 8080, "allow"),
        ("saas-api/api-gateway", "203.0.113.1", 8080, "deny"),
        ("saas-api/other", "10.1.2.3", 8080, "deny"),
        (None, "10.1.2.3", 8080, "deny"),
        (None, "203.0.113.1", 9090, "allow"),
    ],
)
def test_saas_to_istio(account: str | None, ip: str, port: int, verdict: str) -> None:
    request = call(account, "saas-api/users", "GET", "/api/users/1", port=port, ip=ip)
    request["destination"]["labels"] = {"app": "users"}
    assert istio.decide(example("2b-saas-to-istio.yaml"), request) == verdict


@needs_shared
@pytest.mark.parametrize(
    ("method", "path", "headers", "by_istio", "by_linkerd"),
    [
        ("GET", "/api/v1/x", {}, "allow", "allow"),
        ("GET", "/api/v1", {}, "deny", "deny"),
        ("GET", "/api/v1/../admin", {}, "deny", "deny"),
        ("POST", "/api/v1/events", {"Content-Type": "application/json"}, "allow", "allow"),
        ("POST", "/api/v1/events", {"Content-Type": "text/plain"}, "deny", "deny"),
        (
            "POST",
            "/api/v1/events?q",
            {"Content-Type": "application/json"},
            "deny",
            "allow",
        ),  # the kept CiliumNetworkPolicy refuses the query
    ],
)
def test_analytics(method: str, path: str, headers: dict[str, str], by_istio: str, by_linkerd: str) -> None:
    request = call(None, "analytics/api", method, path, ip="203.0.113.1", headers=headers)
    request["destination"]["labels"] = {"app": "api"}
    assert istio.decide(example("3b-analytics-to-istio.yaml"), request) == by_istio
    assert linkerd.decide(example("3c-analytics-to-linkerd.yaml"), request) == by_linkerd
    meshed = {**request, "source": {"namespace": "analytics", "service_account": "web", "meshed": True, "ip": "10.1.1.1"}}
    assert istio.decide(example("3b-analytics-to-istio.yaml"), meshed) == "deny"


# ---- details


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("/a/../b", "/b"),
        ("/a/..", "/"),
        ("/..", "/"),
        ("/a//b/./c", "/a//b/c"),
        ("/a/%2E%2e/b", "/b"),
        ("/a%2Fb", "/a%2Fb"),
        ("/%61\\b", "/a/b"),
    ],
)
def test_normalisation(raw: str, clean: str) -> None:
    assert normalized(raw) == clean


def test_patterns() -> None:
    assert string_matches("a*", "a")
    assert not string_matches("a*b", "axb")
    assert not string_matches("*", None)
    assert path_matches("/x/{*}", "/x/y")
    assert not path_matches("/x/{*}", "/x/")
    assert path_matches("/x/{**}", "/x/y/z")
    assert rust_whole("/(?:a|ab)", "/a")
    assert not rust_whole("/a|/ab", "/ab")  # leftmost first
    assert (go_duration("1h30m"), go_duration("1.5s"), go_duration("5")) == (5400 * SECOND, 1_500_000_000, None)
    assert (annotation_duration("2d"), annotation_duration("1h30m")) == (172800 * SECOND, None)
    assert selects({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x"]}]}, {})


def linkerd_world(*objects: Obj, **annotations: str) -> list[Obj]:
    notes = {"linkerd.io/inject": "enabled", **{f"config.linkerd.io/{k.replace('_', '-')}": v for k, v in annotations.items()}}
    return documents(f"""
apiVersion: v1
kind: Namespace
metadata: {{name: n, annotations: {json.dumps(notes)}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: w, namespace: n}}
spec:
  template:
    metadata: {{labels: {{app: w}}}}
    spec:
      containers:
      - name: c
        ports: [{{name: web, containerPort: 8080}}]
        livenessProbe: {{httpGet: {{path: "/live?x=1", port: web}}}}
""") + list(objects)


SERVER = documents(
    "{apiVersion: policy.linkerd.io/v1beta3, kind: Server, metadata: {name: s, namespace: n}, spec: {podSelector: {}, port: web}}"
)[0]


def inbound_route(name: str, match: Obj, *accounts: str) -> list[Obj]:
    """A route on the Server `s` and who may use it."""
    target = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": name}
    parent = {"group": "policy.linkerd.io", "kind": "Server", "name": "s"}
    out: list[Obj] = [
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": name, "namespace": "n"},
            "spec": {"parentRefs": [parent], "rules": [{"matches": [match]}]},
        }
    ]
    for account in accounts:
        spec = {"targetRef": target, "requiredAuthenticationRefs": [{"kind": "ServiceAccount", "name": account}]}
        meta = {"name": f"{name}-{account}", "namespace": "n"}
        out.append({"apiVersion": "policy.linkerd.io/v1alpha1", "kind": "AuthorizationPolicy", "metadata": meta, "spec": spec})
    return out


def test_linkerd_defaults_and_probes() -> None:
    plain, probe = call(None, "n/w", "GET", "/x"), call(None, "n/w", "GET", "/live")
    assert linkerd.decide(linkerd_world(), plain) == "allow"
    assert linkerd.decide(linkerd_world(default_inbound_policy="all-authenticated"), plain) == "deny"
    assert linkerd.decide(linkerd_world(default_inbound_policy="all_authenticated"), plain) == "allow"
    assert linkerd.decide(linkerd_world(default_inbound_policy="cluster-unauthenticated"), {**plain, "source": {"ip": "8.8.8.8"}}) == "deny"
    assert linkerd.decide(linkerd_world(proxy_require_identity_inbound_ports="8080"), plain) == "deny"
    assert linkerd.decide(linkerd_world(default_inbound_policy="deny"), call("n/a", "n/w", "GET", "/x")) == "deny"
    assert linkerd.decide(linkerd_world(default_inbound_policy="deny"), probe) == "allow"
    assert linkerd.decide(linkerd_world(default_inbound_policy="deny", skip_inbound_ports="8000-8100"), plain) == "allow"
    assert linkerd.decide(linkerd_world(SERVER), probe) == "allow"
    assert linkerd.decide(linkerd_world(SERVER, *inbound_route("r", {"path": {"value": "/x"}})), probe) == "unrouted"


def test_linkerd_reads_only_the_best_route() -> None:
    wide = inbound_route("a-wide", {"path": {"type": "PathPrefix", "value": "/api"}}, "web")
    narrow = inbound_route("narrow", {"path": {"type": "Exact", "value": "/api/x"}}, "ops")
    regex = inbound_route("regex", {"path": {"type": "RegularExpression", "value": "/.*"}})
    world = linkerd_world(SERVER, *wide, *narrow)
    assert linkerd.decide(world, call("n/web", "n/w", "GET", "/api/y")) == "allow"
    assert linkerd.decide(world, call("n/web", "n/w", "GET", "/api/x")) == "deny"
    assert linkerd.decide(world, call("n/ops", "n/w", "GET", "/api/x?q=1")) == "allow"
    assert linkerd.decide(world, call("n/ops", "n/w", "GET", "/other")) == "unrouted"
    assert linkerd.decide([*world, *regex], call("n/web", "n/w", "GET", "/api/y")) == "deny"  # a regex is as long as the path
    broken = [*wide]
    broken[0] = {**wide[0], "spec": {**wide[0]["spec"], "parentRefs": [{**wide[0]["spec"]["parentRefs"][0], "port": 8080}]}}
    assert linkerd.decide(linkerd_world(SERVER, *broken), call("n/web", "n/w", "GET", "/api/y")) == "deny"


def test_linkerd_authentications() -> None:
    def make(api: str, kind: str, name: str, **spec: Any) -> Obj:
        return {"apiVersion": f"policy.linkerd.io/{api}", "kind": kind, "metadata": {"name": name, "namespace": "n"}, "spec": spec}

    saz = make("v1beta1", "ServerAuthorization", "z", server={"name": "s"}, client={"unauthenticated": True})
    nets = make("v1alpha1", "NetworkAuthentication", "net", networks=[{"cidr": "8.0.0.0/8", "except": ["8.8.0.0/16"]}])
    names = make("v1alpha1", "MeshTLSAuthentication", "mtls", identityRefs=[{"kind": "Namespace", "name": "m"}])

    def policy(target: Obj, *refs: Obj) -> Obj:
        return make("v1alpha1", "AuthorizationPolicy", "p", targetRef=target, requiredAuthenticationRefs=list(refs))

    group = "policy.linkerd.io"
    net, mtls = ({"group": group, "kind": k, "name": n} for k, n in (("NetworkAuthentication", "net"), ("MeshTLSAuthentication", "mtls")))
    server, namespace = {"group": group, "kind": "Server", "name": "s"}, {"kind": "Namespace", "name": "n"}
    inside, outside, excepted = (call(None, "n/w", "GET", "/", ip=ip) for ip in ("10.0.0.1", "8.1.1.1", "8.8.8.8"))
    meshed, stranger = call("m/a", "n/w", "GET", "/", ip="8.1.1.1"), call("k/a", "n/w", "GET", "/", ip="8.1.1.1")
    everyone = [inside, outside, excepted, meshed, stranger]
    for extra, allowed in (
        ([saz], [inside]),  # no networks: the cluster's own
        ([policy(server)], everyone),
        ([policy(namespace, net)], [outside, meshed, stranger]),
        ([policy(server, net, mtls)], [meshed]),
        ([policy(server, {**mtls, "name": "gone"})], []),
        ([policy(server, {**mtls, "namespace": "k"})], []),
    ):
        world = linkerd_world(SERVER, nets, names, *extra)
        assert [r for r in everyone if linkerd.decide(world, r) == "allow"] == allowed


def test_istio_mtls_levels() -> None:
    def authentication(namespace: str, mode: str, **spec: Any) -> Obj:
        meta = {"name": f"{namespace}-{mode}".lower(), "namespace": namespace}
        body = {"mtls": {"mode": mode}, **spec}
        return {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": meta, "spec": body}

    selector = {"matchLabels": {"app": "w"}}
    request = call(None, "n/w", "GET", "/")
    request["destination"]["labels"] = {"app": "w"}
    ports = {"8080": {"mode": "PERMISSIVE"}}
    for policies, verdict in (
        ([], "allow"),
        ([authentication("istio-system", "STRICT")], "deny"),
        ([authentication("istio-system", "STRICT", selector=selector)], "allow"),
        ([authentication("istio-system", "STRICT"), authentication("n", "UNSET")], "deny"),
        ([authentication("istio-system", "STRICT"), authentication("n", "PERMISSIVE")], "allow"),
        ([authentication("n", "STRICT", selector=selector, portLevelMtls=ports)], "allow"),
    ):
        assert istio.decide(policies, request) == verdict


def test_linkerd_profile_silences_the_rest() -> None:
    world = documents("""
{apiVersion: v1, kind: Service, metadata: {name: s, namespace: n, annotations: {balancer.linkerd.io/failure-accrual: consecutive,
  retry.linkerd.io/http: "5xx", timeout.linkerd.io/request: 3s}}, spec: {selector: {app: w}, ports: [{port: 80}]}}
""")
    world[0]["metadata"]["annotations"]["balancer.linkerd.io/failure-accrual-consecutive-min-penalty"] = "1s"
    profile = documents("""
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: s.n.svc.cluster.local, namespace: n}
spec:
  routes:
  - {name: get, condition: {method: GET, pathRegex: /a}, timeout: 1h30m, isRetryable: true}
  - {name: any, condition: {pathRegex: "/.*"}, timeout: 2s}
""")
    request = {"source": {"namespace": "n"}, "destination": {"namespace": "n", "service": "s", "port": 80}, "method": "GET", "path": "/a?b"}
    bare = route(world, "linkerd", request)
    assert bare.retries is not None
    assert (bare.retries.attempts, len(bare.retries.statuses), bare.timeout_ns) == (1, 100, 3 * SECOND)
    assert list(bare.breakers.values()) == [Breaker(7, SECOND)]
    world[0]["metadata"]["annotations"]["balancer.linkerd.io/failure-accrual-consecutive-min-penalty"] = "2m"
    assert route(world, "linkerd", request).breakers == {}  # above the default maximum
    profiled = route(world + profile, "linkerd", request)
    assert profiled.retries is not None
    assert (profiled.retries.attempts, profiled.timeout_ns, profiled.breakers) == (None, 5400 * SECOND, {})
    assert route(world + profile, "linkerd", {**request, "path": "/ab"}).timeout_ns == 2 * SECOND


def test_istio_http_attributes_on_tcp_ports() -> None:
    def authorization(action: str) -> Obj:
        rules = [{"from": [{"source": {"principals": ["*"]}}], "to": [{"operation": {"methods": ["GET"]}}]}]
        meta = {"name": "p", "namespace": "n"}
        return {
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": meta,
            "spec": {"action": action, "rules": rules},
        }

    def service(name: str, **port: Any) -> list[Obj]:
        ports = [{"name": name, "port": 80, "targetPort": "web", **port}]
        return [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "s", "namespace": "n"},
                "spec": {"selector": {"app": "w"}, "ports": ports},
            }
        ]

    world = [o for o in linkerd_world() if o["kind"] == "Deployment"]
    get, post = call("n/a", "n/w", "GET", "/"), call("n/a", "n/w", "POST", "/")
    for declared, action, verdicts in (
        (service("http-x"), "ALLOW", ("allow", "deny")),
        (service("tcp-x"), "ALLOW", ("deny", "deny")),  # the rule vanishes
        (service("tcp-x"), "DENY", ("deny", "deny")),  # its condition does
        (service("tcp-x", appProtocol="http"), "DENY", ("deny", "allow")),
        (service("mysql"), "ALLOW", ("deny", "deny")),
        (service("x", port=3306), "ALLOW", ("deny", "deny")),
        ([], "ALLOW", ("allow", "deny")),
    ):
        policies = [*world, *declared, authorization(action)]
        assert (istio.decide(policies, get), istio.decide(policies, post)) == verdicts


def test_linkerd_prefixes() -> None:
    def verdicts(prefix: str, *paths: str) -> list[str]:
        world = linkerd_world(SERVER, *inbound_route("r", {"path": {"type": "PathPrefix", "value": prefix}}, "a"))
        return [linkerd.decide(world, call("n/a", "n/w", "GET", p)) for p in paths]

    assert verdicts("/foo/", "/foo", "/foo/", "/foo/bar", "/foobar") == ["allow", "allow", "allow", "unrouted"]
    tie = inbound_route("a", {"path": {"type": "Exact", "value": "/"}}, "a") + inbound_route("b", {"path": {"value": "/"}, "method": "GET"})
    assert linkerd.decide(linkerd_world(SERVER, *tie), call("n/a", "n/w", "GET", "/")) == "deny"  # equal lengths: the method tells
    tie[-1]["spec"]["rules"][0]["matches"][0].pop("method")
    assert linkerd.decide(linkerd_world(SERVER, *tie), call("n/a", "n/w", "GET", "/")) == "allow"  # then the name


# ---- random bundles


@needs_shared
def test_random_bundles_are_valid() -> None:
    pytest.importorskip("jsonschema_rs")
    spec = importlib.util.spec_from_file_location("crdcheck", SHARED / "tools" / "crdcheck.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    checker = module.Checker()
    for seed in range(60):
        for obj in random_istio_bundle(seed) + random_linkerd_bundle(seed):
            assert not list(checker.check(obj)), obj


def test_random_bundles_are_reproducible_and_mixed() -> None:
    assert random_istio_bundle(7) == random_istio_bundle(7)
    bundle = random_linkerd_bundle(7)
    assert requests_for(bundle, 3, 5) == requests_for(bundle, 3, 5)
    allowed = total = 0
    for seed in range(40):
        for bundle, judge in ((random_istio_bundle(seed), istio), (random_linkerd_bundle(seed), linkerd)):
            verdicts = [judge.decide(bundle, r) for r in requests_for(bundle, seed, 30)]
            allowed, total = allowed + verdicts.count("allow"), total + len(verdicts)
    assert 0.3 < allowed / total < 0.9


@calm
@given(bundle_and_requests("istio"), st.sampled_from(["DENY", "AUDIT"]))
def test_istio_deny_never_widens(drawn: tuple[list[Obj], list[Obj]], action: str) -> None:
    bundle, requests = drawn
    less = bundle if action == "DENY" else [o for o in bundle if o.get("spec", {}).get("action") != "AUDIT"]
    extra: list[Obj] = []
    if action == "DENY":
        meta = {"name": "zz", "namespace": "shop"}
        spec = {"action": "DENY", "rules": [{"to": [{"operation": {"methods": ["GET"]}}]}]}
        extra = [{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": meta, "spec": spec}]
    for request in requests:
        before, after = istio.decide(bundle, request), istio.decide(less + extra, request)
        assert before == after or (action == "DENY" and (before, after) == ("allow", "deny"))


@calm
@given(bundle_and_requests("linkerd"))
def test_linkerd_policies_only_add(drawn: tuple[list[Obj], list[Obj]]) -> None:
    bundle, requests = drawn
    policies = [o for o in bundle if o["kind"] in {"AuthorizationPolicy", "ServerAuthorization"}]
    fewer = [o for o in bundle if o not in policies[::2]]
    for request in requests:
        before, after = linkerd.decide(fewer, request), linkerd.decide(bundle, request)
        assert before == after or (before, after) == ("deny", "allow")
        as_read = [json.loads(json.dumps(o)) for o in reversed(bundle)]
        assert linkerd.decide(as_read, request) == after  # the order of documents says nothing
