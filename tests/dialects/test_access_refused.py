"""Objects that the mesh refuses as a whole grant nothing, and say so; names that the input holds are left alone."""

from typing import Any

import pytest

import meshport


def _workload(**labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web", **labels}},
                "spec": {"containers": [{"name": "web", "image": "web:1", "ports": [{"containerPort": 8080, "name": "http"}]}]},
            },
        },
    }


def _object(api: str, kind: str, name: str, spec: dict[str, Any], namespace: str = "shop") -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def _server(**spec: Any) -> dict[str, Any]:
    return _object("policy.linkerd.io/v1beta3", "Server", "web", {"podSelector": {"matchLabels": {"app": "web"}}, "port": 8080, **spec})


def _policy(target: dict[str, Any], *refs: dict[str, Any]) -> dict[str, Any]:
    return _object(
        "policy.linkerd.io/v1alpha1", "AuthorizationPolicy", "grant", {"targetRef": target, "requiredAuthenticationRefs": list(refs)}
    )


SERVER = {"group": "policy.linkerd.io", "kind": "Server", "name": "web"}
ANY = _object("policy.linkerd.io/v1alpha1", "MeshTLSAuthentication", "any", {"identities": ["*"]})


def _codes(result: Any) -> set[str]:
    return {finding.code for finding in result.findings}


def _granted(result: Any) -> list[Any]:
    """What is let in on the port of the Server; the other ports are open as they were."""
    others = [{"operation": {"notPorts": ["8080"]}}]
    return [
        rule
        for manifest in result.manifests
        if manifest.object["kind"] == "AuthorizationPolicy"
        for rule in (manifest.object.get("spec") or {}).get("rules", [])
        if rule.get("to") != others
    ]


@pytest.mark.parametrize(
    "refused",
    [
        [_policy({"kind": "Namespace", "name": "other"}, {"kind": "ServiceAccount", "name": "api"})],
        [_policy(SERVER, {"kind": "MeshTLSAuthentication", "name": "any"}), ANY],
        [_policy(SERVER, {"group": "policy.linkerd.io", "kind": "MeshTLSAuthentication", "name": "any"}, {"kind": "ServiceAccount", "name": "api"}), ANY],
        [
            _object(
                "policy.linkerd.io/v1beta1", "ServerAuthorization", "both",
                {"server": {"name": "web"}, "client": {"unauthenticated": True, "meshTLS": {"identities": ["*"]}}},
            )
        ],
    ],
    ids=["another-namespace", "no-group", "two-identities", "unauthenticated-and-mesh"],
)  # fmt: skip
def test_what_linkerd_refuses_grants_nothing(refused: list[dict[str, Any]]) -> None:
    result = meshport.convert(meshport.load_objects([_workload(), _server(), *refused]), source="linkerd", target="istio")
    assert "MP015" in _codes(result)
    assert _granted(result) == []


def test_a_spiffe_identity_does_not_let_the_pod_of_that_name_in() -> None:
    spiffe = _object(
        "policy.linkerd.io/v1alpha1", "MeshTLSAuthentication", "any", {"identities": ["spiffe://cluster.local/ns/shop/sa/api"]}
    )
    grant = _policy(SERVER, {"group": "policy.linkerd.io", "kind": "MeshTLSAuthentication", "name": "any"})
    result = meshport.convert(meshport.load_objects([_workload(), _server(), spiffe, grant]), source="linkerd", target="istio")
    assert "MP235" in _codes(result)
    assert _granted(result) == []
    assert "MP900" not in _codes(result)


@pytest.mark.parametrize(
    "spec",
    [
        {"action": "Allow", "rules": [{}]},
        {"rules": [{"from": [{"source": {}}]}]},
        {"rules": [{"from": [{"source": {"serviceAccounts": ["*"]}}]}]},
        {"rules": [{"from": [{"source": {"serviceAccounts": ["api"], "namespaces": ["shop"]}}]}]},
        {"rules": [{"from": [{"source": {"ipBlocks": ["10.0.0.0/40"]}}]}]},
        {"rules": [{"from": [{"source": {"namespaces": [], "principals": None}}]}]},
        {"rules": [{"to": [{"operation": {"ports": []}}]}]},
        {"rules": [{"when": [{"key": "source.namespace", "values": []}]}]},
        {"action": "DENY"},
    ],
    ids=["action", "empty-source", "wildcard", "combined", "cidr", "empty-lists", "empty-operation", "no-values", "no-rules"],
)
def test_what_istio_refuses_opens_nothing(spec: dict[str, Any]) -> None:
    closed = _object("security.istio.io/v1", "AuthorizationPolicy", "closed", {})
    closed["spec"] = {}
    bad = _object("security.istio.io/v1", "AuthorizationPolicy", "bad", spec)
    result = meshport.convert(meshport.load_objects([_workload(), closed, bad]), source="istio", target="linkerd")
    assert {"MP013", "MP015"} & set(_codes(result))
    assert not [manifest for manifest in result.manifests if manifest.object["kind"] in ("AuthorizationPolicy", "MeshTLSAuthentication")]


@pytest.mark.parametrize("path", ["/files/{*}", "/files/{**}/x"])
@pytest.mark.parametrize("form", ["Exact", "PathPrefix"])
def test_a_literal_brace_does_not_become_a_template(path: str, form: str) -> None:
    route = _object(
        "policy.linkerd.io/v1beta3",
        "HTTPRoute",
        "files",
        {"parentRefs": [SERVER], "rules": [{"matches": [{"path": {"type": form, "value": path}}]}]},
    )
    grant = _policy({"group": "policy.linkerd.io", "kind": "HTTPRoute", "name": "files"}, {"kind": "ServiceAccount", "name": "api"})
    result = meshport.convert(meshport.load_objects([_workload(), _server(), route, grant]), source="linkerd", target="istio")
    assert _granted(result) == []
    assert "MP201" in _codes(result)


def test_a_search_that_stops_early_is_not_a_full_match() -> None:
    route = _object(
        "gateway.networking.k8s.io/v1", "HTTPRoute", "files",
        {"parentRefs": [SERVER], "rules": [{"matches": [{"path": {"type": "RegularExpression", "value": "/a|/ab"}}]}]},
    )  # fmt: skip
    grant = _policy({"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "files"}, {"kind": "ServiceAccount", "name": "api"})
    result = meshport.convert(meshport.load_objects([_workload(), _server(), route, grant]), source="linkerd", target="istio")
    assert _granted(result) == []
    assert "MP201" in _codes(result)


def test_an_authentication_of_the_input_is_not_overwritten() -> None:
    mine = _object(
        "policy.linkerd.io/v1alpha1",
        "MeshTLSAuthentication",
        "any-mesh-identity",
        {"identities": ["only.shop.serviceaccount.identity.linkerd.cluster.local"]},
    )
    allow = _object(
        "security.istio.io/v1",
        "AuthorizationPolicy",
        "allow",
        {"rules": [{"from": [{"source": {"principals": ["*"]}}], "to": [{"operation": {"ports": ["8080"]}}]}]},
    )
    result = meshport.convert(meshport.load_objects([_workload(), allow, mine]), source="istio", target="linkerd")
    written = {
        manifest.object["metadata"]["name"]: manifest.object["spec"]
        for manifest in result.manifests
        if manifest.object["kind"] == "MeshTLSAuthentication"
    }
    assert "any-mesh-identity" not in written
    assert {"identities": ["*"]} in written.values()


def test_policies_of_one_name_in_two_namespaces_keep_both_grants() -> None:
    def allow(namespace: str, account: str) -> dict[str, Any]:
        rule = {"from": [{"source": {"principals": [f"cluster.local/ns/shop/sa/{account}"]}}], "to": [{"operation": {"ports": ["8080"]}}]}
        return _object("security.istio.io/v1", "AuthorizationPolicy", "allow", {"rules": [rule]}, namespace)

    result = meshport.convert(
        meshport.load_objects([_workload(), allow("shop", "one"), allow("istio-system", "two")]), source="istio", target="linkerd"
    )
    named = {
        ref["name"]
        for manifest in result.manifests
        if manifest.object["kind"] == "AuthorizationPolicy"
        for ref in manifest.object["spec"]["requiredAuthenticationRefs"]
    }
    assert {"one", "two"} <= named


@pytest.mark.parametrize("name", ["probes", "refuse", "default"])
def test_a_policy_named_like_a_generated_route_keeps_its_grant(name: str) -> None:
    rule = {
        "from": [{"source": {"principals": ["cluster.local/ns/shop/sa/api"]}}],
        "to": [{"operation": {"ports": ["8080"], "paths": ["/x"], "methods": ["GET"]}}],
    }
    workload = _workload()
    workload["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"path": "/ready", "port": 8080}}
    policy = _object("security.istio.io/v1", "AuthorizationPolicy", name, {"rules": [rule]})
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080, "name": "http"}]},
    }  # fmt: skip
    result = meshport.convert(meshport.load_objects([workload, service, policy]), source="istio", target="linkerd")
    paths = sorted(
        match["path"]["value"]
        for manifest in result.manifests
        if manifest.object["kind"] == "HTTPRoute"
        for rule in manifest.object["spec"]["rules"]
        for match in rule["matches"]
    )
    assert paths == ["/", "/ready", "/x"]
    assert "MP900" not in _codes(result)


@pytest.mark.parametrize("target", ["{kind: Server, name: users}", "{group: policy.linkerd.io, kind: Namespace, name: shop}"])
def test_a_policy_for_what_is_of_another_group_grants_nothing(target: str) -> None:
    text = f"""
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {{name: users, namespace: shop}}
spec: {{podSelector: {{matchLabels: {{app: users}}}}, port: 8080}}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {{name: users, namespace: shop}}
spec: {{targetRef: {target}, requiredAuthenticationRefs: []}}
"""
    result = meshport.convert(meshport.load_text(text), source="linkerd", target="istio")
    assert [item.message.partition(": ")[2] for item in result.findings if item.code == "MP015"] == [
        "a targetRef to a Server has to name group policy.linkerd.io"
        if "Server" in target
        else "a targetRef to a Namespace has to name group core"
    ]
