"""A migration that goes namespace by namespace: each converted with `--namespace`, the rest as knowledge, comes to what all at once come to."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import pytest
from scenarios.common import identity

import meshport
from meshport.documents import load_objects
from meshport.findings import Affected
from meshport.pipeline import Result

from .common_ground import bundle

Obj = dict[str, Any]
WAYS = [
    ("istio", "linkerd"),
    ("linkerd", "istio"),
    ("istio", "cilium"),
    ("cilium", "istio"),
    ("cilium", "linkerd"),
    ("linkerd", "gateway-api"),
]
LISTED = {"MP101", "MP132", "MP292", "MP734"}
"""Findings that list namespaces, of those that are converted: to restart, or whose pods are closed to other protocols."""
ROOT: dict[str, list[Obj]] = {
    "istio": [
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "PeerAuthentication",
            "metadata": {"name": "default", "namespace": "istio-system"},
            "spec": {"mtls": {"mode": "STRICT"}},
        },
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": "no-debug", "namespace": "istio-system"},
            "spec": {"action": "DENY", "rules": [{"to": [{"operation": {"ports": ["8080"], "paths": ["/debug"]}}]}]},
        },
    ],
    "linkerd": [],
    "cilium": [
        {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumClusterwideNetworkPolicy",
            "metadata": {"name": "gateway"},
            "spec": {
                "endpointSelector": {"matchLabels": {"app": "cart"}},
                "ingress": [{"fromEntities": ["ingress"], "toPorts": [{"ports": [{"port": "8080", "protocol": "TCP"}]}]}],
            },
        }
    ],
}


@lru_cache(maxsize=8)
def cluster(mesh: str, other: str) -> tuple[str, ...]:
    """Eight namespaces, two and two calling each other, and what stands above them; as JSON, since tests share it."""
    found = [json.dumps(item) for item in ROOT[mesh]]
    for number in range(4):
        for item in bundle(mesh, other, number):
            text = json.dumps(item)
            for name in ("shop", "ops"):
                text = text.replace(f'"{name}"', f'"{name}-{number}"').replace(f"/ns/{name}/", f"/ns/{name}-{number}/")
                text = text.replace(f".{name}.svc", f".{name}-{number}.svc")
            found.append(text)
    return tuple(found)


def converted(mesh: str, other: str, **choices: Any) -> Result:
    objects = [json.loads(text) for text in cluster(mesh, other)]
    if mesh == "cilium":
        choices["keep_network_policy"] = False
    return meshport.convert(load_objects(objects), source=mesh, target=other, verify=False, **choices)


def homes(mesh: str, other: str) -> list[str]:
    """Every namespace of the bundle."""
    found = set()
    for text in cluster(mesh, other):
        item = json.loads(text)
        found.add(item["metadata"]["name"] if item["kind"] == "Namespace" else item["metadata"].get("namespace"))
    return sorted(found - {None})


def of_no_namespace(mesh: str) -> list[str]:
    """What stands above all namespaces, as `--select` names it."""
    return [f"{item['kind']}/{item['metadata']['name']}" for item in ROOT[mesh] if "namespace" not in item["metadata"]]


@pytest.mark.parametrize(("mesh", "other"), WAYS, ids=[f"{a}-{b}" for a, b in WAYS])
def test_the_parts_make_the_whole(mesh: str, other: str) -> None:
    whole = converted(mesh, other)
    names = homes(mesh, other)
    assert len(names) >= 8
    objects: dict[tuple[str, str, str, str], Obj] = {}
    said: set[tuple[str, str]] = set()
    removed: set[str] = set()
    listed: set[Affected] = set()
    leaves = 0
    parts = [{"namespaces": [name]} for name in names] + [{"select": [one]} for one in of_no_namespace(mesh)]
    for choice in parts:
        part = converted(mesh, other, **choice)
        for item in part.manifests:
            assert objects.setdefault(identity(item.object), item.object) == item.object
        said |= {(finding.code, finding.message) for finding in part.findings}
        listed |= {place for finding in part.findings if finding.code in LISTED for place in finding.affects}
        removed |= {json.dumps(item, sort_keys=True) for item in part.removals}
        leaves += part.ledger.counts["leaves"]
        assert part.ledger.counts["unaccounted"] == 0
    assert objects == {identity(item.object): item.object for item in whole.manifests}
    assert removed == {json.dumps(item, sort_keys=True) for item in whole.removals}
    assert leaves == whole.ledger.counts["leaves"]
    assert {(finding.code, finding.message) for finding in whole.findings if finding.code not in LISTED} <= said
    assert {place for finding in whole.findings if finding.code in LISTED for place in finding.affects} == listed


def test_a_policy_of_the_root_namespace_acts_on_the_namespace_converted() -> None:
    """The denial of the mesh is knowledge: the namespace's own objects hold it, and nothing of the root namespace is written."""
    part = converted("istio", "linkerd", namespaces=["shop-0"])
    assert {item.object["metadata"].get("namespace", item.object["metadata"]["name"]) for item in part.manifests} == {"shop-0"}
    text = json.dumps([item.object for item in part.manifests])
    assert '"config.linkerd.io/default-inbound-policy"' in text
    assert all(item["namespace"] == "shop-0" for item in part.removals)


def test_the_default_namespace_has_nothing_of_what_stands_above_all() -> None:
    """A policy of the cluster is in no namespace: who converts the default one, which every cluster has, does not move it."""
    part = converted("cilium", "istio", namespaces=["default"])
    assert (part.manifests, part.removals, part.ledger.counts["leaves"]) == ([], [], 0)
