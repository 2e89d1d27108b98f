"""A judge of Cilium policies who knows nothing of the lift agrees with what the lift says is allowed."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from judge import Undecided, cilium
from judge.generate_cilium import cilium_requests, random_cilium_bundle
from judge.http import header, normalized, split_path

from meshport import pipeline
from meshport.dialects.base import Options
from meshport.documents import load_objects
from meshport.effective.access import Access, Effective
from meshport.effective.admitted import allowed
from meshport.effective.pieces import Piece, Unsayable
from meshport.ir.authorization import Entity, Labelled
from meshport.ir.base import Fact
from meshport.mapping.table import builtin
from meshport.options import resolve
from meshport.values.identities import EVERYONE, Identity

Obj = dict[str, Any]
ACCOUNT = "io.cilium.k8s.policy.serviceaccount"


def _who(piece: Piece, source: Obj) -> bool:
    def is_peer(peer: Any) -> bool:
        pod = "namespace" in source
        if isinstance(peer, Entity):
            return (peer.name == "cluster" and pod) or (peer.name == "world" and not pod)
        if not pod:
            return False
        if isinstance(peer, Labelled):
            labels = {**source["labels"], ACCOUNT: source["service_account"]}
            return peer.namespace in ("", source["namespace"]) and peer.selector.accepts(labels)
        own = Identity("cluster.local", source["namespace"], source["service_account"])
        return bool(peer == EVERYONE or peer.covers(own))

    inside = piece.who.include is None or any(map(is_peer, piece.who.include))
    return inside and not any(map(is_peer, piece.who.exclude))


def _takes(piece: Piece, request: Obj) -> bool:
    if not _who(piece, request["source"]):
        return False
    networks = piece.where.networks()
    address = ip_address(request["source"]["ip"])
    if networks is not None and not any(
        address in ip_network(item.cidr, strict=False) and not any(address in ip_network(out) for out in item.excluded) for item in networks
    ):
        return False
    assert not piece.literals
    if request["protocol"] == "tcp":
        return piece.any_request
    path = normalized(split_path(request)[0])
    if not piece.methods.accepts(request["method"]):
        return False
    if piece.path is not None and not piece.path.accepts(path):
        return False
    if piece.host is not None and not piece.host.accepts(request["host"]):
        return False
    for name, value in piece.headers.by_name:
        found = header(request, name, path=path)
        if value.inside is not None and (found is None or not value.inside.accepts(found)):
            return False
    return True


def _verdict(item: Effective, request: Obj, options: Options) -> str:
    port = request["destination"]["port"]
    pieces = allowed(item, port, request["protocol"] == "http", options.cluster_networks)
    return "allow" if any(_takes(piece, request) for piece in pieces) else "deny"


@pytest.mark.parametrize("block", range(8))
def test_the_judge_agrees_on_random_bundles(block: int) -> None:
    table = builtin()
    compared = 0
    for seed in range(block * 25, block * 25 + 25):
        objects = random_cilium_bundle(seed)
        bundle = load_objects(objects)
        options = resolve(bundle, table, source="cilium", target="istio", source_version="1.18")
        ir, _ = pipeline.lift(bundle, table, options)
        by_name = {item.workload.ref: item for item in Access(ir, Fact("all-unauthenticated")).workloads}
        for request in cilium_requests(objects, seed, 40):
            to = request["destination"]
            item = next(value for ref, value in by_name.items() if (ref.namespace, ref.name) == (to["namespace"], to["workload"]))
            try:
                expected = cilium.decide(objects, request)
                found = _verdict(item, request, options)
            except (Undecided, Unsayable):
                continue
            compared += 1
            assert found == expected, f"seed {seed}: {request}"
    assert compared > 700
