"""Callers that no list of the bundle's accounts shows: those that `NotIn` leaves, and those that two patterns share."""

from __future__ import annotations

import pytest

import meshport
from meshport.compare.request import sentence
from meshport.effective.networks import Networks
from meshport.ir.authorization import Network

WORLD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  template:
    metadata: {labels: {app: users}}
    spec: {serviceAccountName: users, containers: [{name: app, image: "app:1", ports: [{containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: job, namespace: ops}
spec:
  selector: {matchLabels: {app: job}}
  template:
    metadata: {labels: {app: job}}
    spec: {serviceAccountName: job, containers: [{name: app, image: "app:1"}]}
---
"""
CILIUM = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: users, namespace: shop}}
spec:
  endpointSelector: {{matchLabels: {{app: users}}}}
  ingress: [{{fromEndpoints: [{{matchExpressions: [{peers}]}}]}}]
"""
NAMESPACE, ACCOUNT = "k8s:io.kubernetes.pod.namespace", "k8s:io.cilium.k8s.policy.serviceaccount"


def cilium(*peers: str) -> meshport.Bundle:
    return meshport.load_text(WORLD + CILIUM.format(peers=", ".join(f"{{{item}}}" for item in peers)))


@pytest.mark.parametrize(
    ("but", "only", "witness"),
    [
        (f"key: {NAMESPACE}, operator: NotIn, values: [ops]", f"key: {NAMESPACE}, operator: In, values: [shop]", "from elsewhere/stranger"),
        (f"key: {ACCOUNT}, operator: NotIn, values: [users]", f"key: {ACCOUNT}, operator: In, values: [job]", "from shop/stranger"),
    ],
)
def test_all_but_some_is_more_than_the_rest_that_the_bundle_shows(but: str, only: str, witness: str) -> None:
    found = meshport.verify(cilium(but), cilium(only))
    assert found.verdict == "narrowed"
    assert witness in sentence(found.differences[0].request)
    assert meshport.verify(cilium(but), cilium(but)).verdict == "equivalent"


def test_all_but_some_stays_that_in_istio() -> None:
    bundle = cilium(f"key: {NAMESPACE}, operator: NotIn, values: [ops]")
    moved = meshport.convert(bundle, target="istio", keep_network_policy=False)
    policy = next(item.object for item in moved.manifests if item.object["kind"] == "AuthorizationPolicy")
    assert policy["spec"]["rules"] == [{"from": [{"source": {"principals": ["*"], "notNamespaces": ["ops"]}}]}]
    assert moved.verification is not None and moved.verification.differences == []


ISTIO = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: users, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: users}}}}
  rules: [{{from: [{{source: {{principals: ["{taken}"]}}}}]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: closed, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: users}}}}
  action: DENY
  rules: [{{from: [{{source: {{principals: ["{refused}"]}}}}]}}]
"""


def istio(taken: str, refused: str) -> meshport.Bundle:
    return meshport.load_text(WORLD + ISTIO.format(taken=taken, refused=refused))


def test_patterns_that_overlap_are_compared_by_what_they_share() -> None:
    """`cluster.local/ns/*` and `*-admin` share accounts that neither has alone, and that no third pattern says."""
    old, new = istio("cluster.local/ns/*", "*-admin"), istio("cluster.local/ns/*", "*-root-admin")
    wider = meshport.verify(old, new)
    assert (wider.verdict, wider.undecided) == ("widened", [])
    request = wider.differences[0].request
    assert request["source"]["identity"].startswith("cluster.local/ns/") and request["source"]["identity"].endswith("-admin")
    assert [meshport.trace(side, request).allowed for side in (old, new)] == [False, True]
    assert meshport.verify(new, old).verdict == "narrowed"
    assert meshport.verify(old, istio("cluster.local/ns/*", "*-admin")).verdict == "equivalent"


AUTHENTICATED = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: users, namespace: shop}}
spec:
  endpointSelector: {{matchLabels: {{app: users}}}}
  ingress: [{{fromEndpoints: [{{}}]{authentication}}}]
"""


@pytest.mark.parametrize(("mode", "verdict"), [("required", "inconclusive"), ("disabled", "equivalent")])
def test_a_handshake_that_is_no_longer_asked_for_is_no_equivalent_policy(mode: str, verdict: str) -> None:
    old, new = (AUTHENTICATED.format(authentication=text) for text in (f", authentication: {{mode: {mode}}}", ""))
    assert (
        meshport.verify(meshport.load_text(WORLD + old), meshport.load_text(WORLD + new), old_mesh="cilium", new_mesh="cilium").verdict
        == verdict
    )


def test_networks_that_are_all_there_are_together_are_anywhere() -> None:
    """Istio's two sources are everybody, and the probe that Linkerd opens to everybody adds nothing to that (MP900)."""
    probed = WORLD.replace(
        'image: "app:1", ports: [{containerPort: 8080}]',
        'image: "app:1", ports: [{containerPort: 8080}], readinessProbe: {httpGet: {port: 8080, path: /up}}',
    )
    home = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n---\n"
    rules = (
        ISTIO.format(taken="x", refused="y")
        .split("---")[0]
        .replace('principals: ["x"]', "ipBlocks: [203.0.113.0/24]")
        .replace("}}]}]", "}}, {source: {notIpBlocks: [203.0.113.0/24]}}]}]")
    )
    result = meshport.convert(meshport.load_text(home + probed + rules), source="istio", target="linkerd")
    assert "203.0.113.0/24" in rules and "MP900" not in {finding.code for finding in result.findings}
    assert result.canonical[0]["access to shop/users port 8080"] == {"allow": {"anyone": {"any method": "any path"}}}


def test_an_exception_that_lies_elsewhere_is_none() -> None:
    """What two rules both take is said alike, whichever of them excepts addresses that the other has not at all."""
    partner, world = Networks((Network("198.51.100.0/24"),)), Networks((Network("0.0.0.0/0", ("203.0.113.0/24",)),))
    assert partner.meet(world) == world.meet(partner) == partner
    near = Networks((Network("203.0.112.0/20"),))
    assert near.meet(world) == Networks((Network("203.0.112.0/20", ("203.0.113.0/24",)),))


def test_all_but_some_beside_all_but_others_is_all() -> None:
    """Linkerd gets a policy for everybody, which reads back as what the two rules of Istio come to together."""
    rules = "{from: [{source: {notNamespaces: [ops]}}]}, {from: [{source: {notPrincipals: [cluster.local/ns/shop/sa/users]}}]}"
    text = f"""{WORLD}
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: users, namespace: shop}}
spec: {{selector: {{matchLabels: {{app: users}}}}, rules: [{rules}]}}
"""
    result = meshport.convert(meshport.load_text(text), source="istio", target="linkerd")
    assert not [finding.message for finding in result.findings if finding.code == "MP900"]
    assert result.verification is not None and result.verification.verdict == "equivalent"


def test_everybody_in_parts_is_everybody() -> None:
    """Those with a name of some namespaces, all others with a name, and whoever shows none."""
    sources = ("{namespaces: [shop, ops]}", "{principals: ['*'], notNamespaces: [shop, ops]}", "{notPrincipals: ['*']}")
    parts = ", ".join(f"{{source: {source}}}" for source in sources)
    policy = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: users, namespace: shop}}
spec: {{selector: {{matchLabels: {{app: users}}}}, rules: [{{{said}to: [{{operation: {{ports: ["8080"]}}}}]}}]}}
"""
    whole, split = (meshport.load_text(WORLD + policy.format(said=said)) for said in ("", f"from: [{parts}], "))
    assert meshport.diff(whole, split) == []
