"""The routes on a Server: of its grants, of the workloads' probes, and the refusal of the rest (mapping decisions 3, 11.8, 11.9)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.linkerd import routesets
from meshport.dialects.linkerd.authentication import ANY_NETWORK, POLICY, Peers, free, references
from meshport.dialects.linkerd.grants import Context, Grant, PortPlan
from meshport.dialects.linkerd.refusals import refusing, sayable
from meshport.dialects.naming import name
from meshport.dialects.output import Obj, Output
from meshport.effective.access import Region
from meshport.effective.admitted import only_by_exemption
from meshport.effective.pieces import Piece, subtract
from meshport.effective.sets import METHODS
from meshport.findings import Affected
from meshport.ir.authorization import Network
from meshport.ir.base import NOWHERE, Ref, Src
from meshport.mapping.table import in_range

_ESCAPED = "paths with a percent sign, where other paths are admitted to others: with them the patterns would be too long for an HTTPRoute"
_OVERLAP = "its rules overlap in too many ways"


def route_api(version: str) -> str:
    """The inbound HTTPRoute's apiVersion for a release (mapping decisions 11.1)."""
    if in_range(version, "2.19", None):
        return "gateway.networking.k8s.io/v1"
    return "policy.linkerd.io/v1beta3" if in_range(version, "2.14", None) else "policy.linkerd.io/v1beta1"


def write_routes(
    context: Context, item: PortPlan, server: Ref, grants: list[Grant], group: str, because: Src
) -> dict[frozenset[int], list[routesets.Match]]:
    """The routes of the grants, each request's route with every policy that admits it."""
    flat = _by_peers(grants)
    if sum(len(one.pieces) for one in flat) > routesets.MOST_PIECES:
        flat = [replace(one, pieces=routesets.by_paths(one.pieces)) for one in flat]
    told = _told(flat)
    if isinstance(told, str) and any(one.refused for one in flat):
        flat = [_named(context, item, one) if one.refused else one for one in flat]
        told = _told(flat)
    if isinstance(told, str):
        return _one_by_one(context, item, server, flat, group, because, told)
    for number in sorted(told.unescaped):
        _left_out(context, item, flat[number], _ESCAPED, "approximated")
    for number in sorted(told.short):
        _left_out(context, item, flat[number], _OVERLAP, "approximated")
    written: dict[frozenset[int], list[routesets.Match]] = {}
    for numbers, matches in (_before_the_rest(told.matches) if _on_server(item) else told.matches).items():
        if matches:
            written[numbers] = matches
            _route(context, server, [flat[number] for number in sorted(numbers)], matches, group, because, grants[0].document)
    return written


@dataclass(frozen=True, slots=True)
class Peered:
    """The routed pieces of peers, with what is refused of them; the first grant that has them gives the name."""

    grant: Grant
    who: Peers
    refused: tuple[Piece, ...]
    pieces: list[Piece]


def _by_peers(grants: list[Grant]) -> list[Peered]:
    """The routed pieces with equal peers together: whichever rule admits them, the policy on the route is the same."""
    found: dict[tuple[Peers, tuple[Piece, ...]], Peered] = {}
    for grant in grants:
        for who, refused, pieces in grant.peer_groups():
            found.setdefault((who, refused), Peered(grant, who, refused, [])).pieces.extend(pieces)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Told:
    """The matches of routes by the grants that they carry; the grants that are not carried everywhere, and those not to paths with a percent sign."""

    matches: dict[frozenset[int], list[routesets.Match]]
    short: frozenset[int] = frozenset()
    unescaped: frozenset[int] = frozenset()


def _told(flat: list[Peered]) -> Told | str:
    """The routes of all grants together; or why there are no such routes."""
    refused = {number: one.refused for number, one in enumerate(flat)}
    if any(piece.host is not None for pieces in refused.values() for piece in pieces):
        return _OVERLAP  # in capitals a host would get past the route that refuses
    try:
        found = refusing(routesets.partition((number, piece) for number, one in enumerate(flat) for piece in one.pieces), refused)
        # What a refusal passes over gets through by a worse route; what a grant passes over meets no route that admits more.
        return replace(_by_grants(found.sets, loosely=not any(refused.values())), short=found.short)
    except ValueError as error:  # TooMany and NoMatch among them
        return str(error) or _OVERLAP


def _named(context: Context, item: PortPlan, one: Peered) -> Peered:
    """The pieces with what is left of them by name, as far as a route can name it: where the refusals are too many, or lie in each other's way."""
    left: list[Piece] = []
    with suppress(ValueError):
        left = subtract(one.pieces, one.refused)
    found = [piece for piece in left if sayable(piece)]
    if len(found) < len(left) or not left:
        _left_out(context, item, one, _OVERLAP, "approximated" if found else "dropped")
    return replace(one, refused=(), pieces=found)


def _by_grants(sets: list[routesets.RouteSet], *, loosely: bool = False) -> Told:
    """The matches of sets of requests; `loosely`, without paths with a percent sign where they cannot be said with them."""
    found: dict[frozenset[int], list[routesets.Match]] = {}
    unescaped: set[int] = set()
    for item in sets:
        try:
            said = routesets.matches(item.request, refused=not item.grants)
        except routesets.NoMatch:
            if not loosely:
                raise
            said = routesets.matches(item.request, escapes=False)
            unescaped |= item.grants
        found.setdefault(item.grants, []).extend(said)
    ordered = sorted(found.items(), key=lambda entry: (len(entry[0]), sorted(entry[0])))
    return Told({numbers: _once(matches, by_text=not numbers) for numbers, matches in ordered}, unescaped=frozenset(unescaped))


def _once(matches: list[routesets.Match], *, by_text: bool = False) -> list[routesets.Match]:
    """Each match once, because of all that ask for it: in their order or, where that is the order of the names of policies that refuse, the shortest first."""
    out: dict[str, routesets.Match] = {}
    for match in matches:
        key = json.dumps([match.value, *match.hosts], sort_keys=True)
        out[key] = replace(match, src=out[key].src | match.src) if key in out else match
    return [out[key] for key in sorted(out, key=lambda key: (len(key), key))] if by_text else list(out.values())


def _one_by_one(
    context: Context, item: PortPlan, server: Ref, flat: list[Peered], group: str, because: Src, reason: str
) -> dict[frozenset[int], list[routesets.Match]]:
    """Where the overlaps cannot be written, grants are kept as long as they are disjoint from those kept before; the others are left out, and said."""
    kept: routesets.Parted | None = None
    written: dict[frozenset[int], list[routesets.Match]] = {}
    for number, one in enumerate(flat):
        try:
            now = routesets.parted(((number, piece) for piece in one.pieces), kept)
            found = _by_grants(now.sets).matches
            if any(len(numbers) > 1 for numbers in found):
                raise ValueError(reason)
        except ValueError as error:
            _left_out(context, item, one, str(error) or reason)
            continue
        kept = now
        written = _before_the_rest(found) if _on_server(item) else found
    for numbers, matches in written.items():
        _route(context, server, [flat[number] for number in sorted(numbers)], matches, group, because, flat[0].grant.document)
    return written


def _left_out(context: Context, item: PortPlan, one: Peered, reason: str, disposition: str = "dropped") -> None:
    named = f"{one.grant.policy.kind} {one.grant.policy.ref.value}" if one.grant.policy else "the default"
    context.out.gather(
        (one.grant.document, named, reason), "MP201", frozenset(leaf for piece in one.pieces for leaf in piece.src),
        document=one.grant.document, disposition=disposition, affects=context.affects(item.port),
        explains=context.explains(item.port, "allow", "default"), feature="authorization.rule", policy=named, listed={"port": (item.port,)},
        reason=reason,
    )  # fmt: skip


def _route(
    context: Context, server: Ref, grants: list[Peered], matches: list[routesets.Match], group: str, because: Src, owner: int
) -> None:
    """A route with a policy for each grant; without any it refuses."""
    out, options = context.out, context.options
    label = name(server.name, *dict.fromkeys(_short_name(one) for one in grants) or ("denied",))
    peers = list({one.who: one for one in grants}.values())
    size = routesets.RULES * routesets.MATCHES
    by_hosts: dict[tuple[str, ...], list[routesets.Match]] = {}
    for match in matches:
        by_hosts.setdefault(match.hosts, []).append(match)
    parts = [found[start : start + size] for found in by_hosts.values() for start in range(0, len(found), size)]
    for number, part in enumerate(parts, start=1):
        ref = _free(out, options, Ref(server.namespace, name(label, str(number) if number > 1 else "")))
        src = because | frozenset(leaf for match in part for leaf in match.src)
        _write_route(out, options, ref, server, part, owner if not grants else grants[0].grant.document, group, src)
        for position, one in enumerate(peers):
            policy = ref if len(peers) == 1 else Ref(server.namespace, free(out, server.namespace, name(ref.name, str(position + 1))))
            _admit(context, policy, ref, one.who, one.grant.document, group, src | one.grant.src)


def _short_name(one: Peered) -> str:
    groups = one.grant.peer_groups()
    position = next((number for number, (known, refused, _) in enumerate(groups) if (known, refused) == (one.who, one.refused)), 0)
    return one.grant.name + (f"-{'abcdefghij'[position % 10]}" if len(groups) > 1 else "")


def _free(out: Output, options: Options, wanted: Ref) -> Ref:
    return Ref(wanted.namespace, free(out, wanted.namespace, wanted.name, (route_api(options.target_version), "HTTPRoute")))


def _write_route(
    out: Output,
    options: Options,
    ref: Ref,
    server: Ref,
    matches: list[routesets.Match],
    owner: int,
    group: str,
    because: Src,
    rank: int = 44,
) -> Obj:
    obj = out.object(route_api(options.target_version), "HTTPRoute", ref, owner=owner, group=group, rank=rank, because=because)
    obj.set(("spec", "parentRefs", 0), {"group": "policy.linkerd.io", "kind": "Server", "name": server.name}, because)
    for position, host in enumerate(matches[0].hosts):  # all are for the same
        obj.set(("spec", "hostnames", position), host, matches[0].src or because)
    for position, match in enumerate(matches):
        rule, entry = divmod(position, routesets.MATCHES)
        obj.set(("spec", "rules", rule, "matches", entry), match.value, match.src or because)
    return obj


def _admit(context: Context, ref: Ref, route: Ref, who: Peers, owner: int, group: str, because: Src, rank: int = 44) -> None:
    out, options = context.out, context.options
    target = route_api(options.target_version).rpartition("/")[0]
    obj = out.object(POLICY, "AuthorizationPolicy", ref, owner=owner, group=group, rank=rank + 1, because=because)
    obj.set(("spec", "targetRef"), {"group": target, "kind": "HTTPRoute", "name": route.name}, because)
    for entry, value in enumerate(references(out, who, ref.namespace, ref.name, owner, rank, group, options, because)):
        obj.set(("spec", "requiredAuthenticationRefs", entry), value, because)


# -- probes and the refusal of the rest

KUBELET = {"name": "user-agent", "type": "RegularExpression", "value": "^(?:kube-probe/.*)$"}
"""What the kubelet's probes are sent with: a match that asks for it goes before others for the same path."""


def grpc_probe(region: Region, port: int) -> Src | None:
    found = [probe.src for member in region.members for probe in member.workload.probes if probe.kind == "grpc" and probe.port == port]
    return frozenset(leaf for src in found for leaf in src) if found else None


def http_probes(region: Region, port: int) -> dict[str, Src]:
    found: dict[str, Src] = {}
    for member in region.members:
        for probe in member.workload.probes:
            if probe.kind == "http" and probe.port == port:
                found[probe.path] = found.get(probe.path, NOWHERE) | probe.src
    return dict(sorted(found.items()))


def write_probes(
    context: Context,
    item: PortPlan,
    server: Ref,
    owner: int,
    group: str,
    because: Src,
    written: dict[frozenset[int], list[routesets.Match]],
) -> None:
    """An HTTPRoute on a Server ends Linkerd's own probe access: open what the workloads declare, and no more."""
    out, options, region = context.out, context.options, context.region
    probes = {("GET", path): src for path, src in http_probes(region, item.port).items()}
    grpc = grpc_probe(region, item.port)
    if grpc is not None:
        probes["POST", "/grpc.health.v1.Health/Check"] = grpc
    if not probes:
        return
    src = because | frozenset(leaf for leaves in probes.values() for leaf in leaves)
    ref = _free(out, options, Ref(server.namespace, name(server.name, "probes")))
    matches = [
        routesets.Match({"method": method, "path": routesets.exactly(path)}, leaves | because) for (method, path), leaves in probes.items()
    ]
    for (method, path), leaves in probes.items():
        if _contested(item, written, method, path):
            value = {"method": method, "path": routesets.exactly(path), "headers": [KUBELET]}
            matches.append(routesets.Match(value, leaves | because))
    _write_route(out, options, ref, server, matches, owner, group, src, rank=46)
    networks = _probe_networks(options)
    who = Peers(None, networks)
    _admit(context, ref, ref, who, owner, group, src, rank=46)
    overlapped = {path for (method, path) in probes if method == "GET" and _admitted(item, path)}
    restricted = {path for member in region.members for path in only_by_exemption(member, item.port, options.cluster_networks)}
    for method, path in probes:
        if method == "GET" and path not in restricted:
            continue  # everybody may have it anyway
        code = "MP205" if path in overlapped else "MP204"
        request = probe_request(context.affects(item.port), method, path, None if networks is None else networks[0].cidr)
        found = out.finding(
            code, probes[method, path],  document=region.first.workload.document, affects=context.affects(item.port),
            explains=context.explains(item.port, "allow"), feature="authorization.probe", method=method, path=path, server=str(server), port=item.port,
            networks=ANY_NETWORK if networks is None else ", ".join(network.cidr for network in networks),
        )  # fmt: skip
        found.witness = request


def probe_request(affects: Sequence[Affected], method: str, path: str, network: str | None) -> dict[str, Any] | None:
    """A caller without a certificate that asks for a probe's path, from one of the networks that may."""
    if not affects:
        return None
    place = affects[0]
    source: dict[str, Any] = {"meshed": False}
    if network is not None:
        source["ip"] = str(ip_network(network, strict=False).network_address)
    destination = {"namespace": place.namespace, "workload": place.workload, "port": place.port}
    return {"source": source, "destination": destination, "protocol": "http", "method": method, "path": path}


def _probe_networks(options: Options) -> tuple[Network, ...] | None:
    return tuple(Network(cidr) for cidr in options.probe_networks) or None


def _contested(item: PortPlan, written: dict[frozenset[int], list[routesets.Match]], method: str, path: str) -> bool:
    """Whether another route ties with a probe's for its requests, so that age and then names decide whose policies hold: a longer path goes before, then
    headers, then a method, and an expression is as long as the path that it takes."""
    by_method = any(
        match.value.get("method") == method and "headers" not in match.value and "queryParams" not in match.value
        for found in written.values()
        for match in found
    )
    return by_method and any(
        piece.methods.accepts(method) and (path == "/" if piece.path is None else piece.path.accepts(path))
        for grant in item.grants
        for routed in grant.routed
        for piece in (routed.piece, *routed.refused)
    )


def _admitted(item: PortPlan, path: str) -> bool:
    """Whether a grant of the port already takes GET on this path."""
    return any(
        piece.methods.accepts("GET") and (piece.path is None or piece.path.accepts(path))
        for grant in item.grants
        for _, piece in grant.pieces()
    )


def refuses_the_rest(item: PortPlan, written: dict[frozenset[int], list[routesets.Match]]) -> bool:
    """Whether a catch-all route is written beside others. It is not where it would tie with one of them, so that requests beside them get 404 instead of 403
    (mapping decisions 11.8); whoever may send everything to the Server needs it, or gets 404 as well."""
    if takes_the_rest(written):
        return False
    return _on_server(item) or not any(_ties_at_root(match) for found in written.values() for match in found)


def takes_the_rest(written: dict[frozenset[int], list[routesets.Match]]) -> bool:
    """Whether a route that grants something takes every request that no other takes."""
    return any(_takes_all(match) for found in written.values() for match in found)


def _on_server(item: PortPlan) -> bool:
    """Whether somebody may send every request."""
    return any(grant.server for grant in item.grants)


def _before_the_rest(written: dict[frozenset[int], list[routesets.Match]]) -> dict[frozenset[int], list[routesets.Match]]:
    """The matches, with what goes before PathPrefix / for the path / in the one set whose match ties with it there: one for each method that no other has."""
    tied = [numbers for numbers, matches in written.items() if numbers and any(_ties_at_root(match) for match in matches)]
    if len(tied) != 1 or any(_takes_all(match) for matches in written.values() for match in matches):
        return written
    root = next(match for match in written[tied[0]] if _ties_at_root(match))
    alike = (match.value for matches in written.values() for match in matches if _takes_root(match) and not match.hosts)
    taken = {value.get("method") for value in alike if not value.keys() & {"headers", "queryParams"}}
    path = {"type": "Exact", "value": "/"}
    more = [routesets.Match({"method": method, "path": path}, root.src) for method in METHODS if method not in taken]
    return {**written, tied[0]: [*written[tied[0]], *more]}


def _ties_at_root(match: routesets.Match) -> bool:
    """Whether a match ties with PathPrefix / for the path / : then which one wins is a matter of age."""
    return not match.hosts and not match.value.keys() & {"method", "headers", "queryParams"} and _takes_root(match)


def _takes_all(match: routesets.Match) -> bool:
    """Whether a match is PathPrefix / itself."""
    path = match.value.get("path")
    prefix = path is None or (path["type"] == "PathPrefix" and path["value"] == "/")
    return prefix and not match.hosts and not match.value.keys() & {"method", "headers", "queryParams"}


def _takes_root(match: routesets.Match) -> bool:
    path = match.value.get("path")
    if path is None or path["type"] != "RegularExpression":
        return path is None or path["value"] == "/"
    return re.fullmatch(path["value"], "/") is not None


def write_refusal(context: Context, server: Ref, owner: int, group: str, because: Src, suffix: str = "refuse") -> None:
    """A catch-all route without a policy of its own: what nothing else takes is refused with 403 and not answered with 404."""
    ref = _free(context.out, context.options, Ref(server.namespace, name(server.name, suffix)))
    match = routesets.Match({"path": {"type": "PathPrefix", "value": "/"}}, because)
    _write_route(context.out, context.options, ref, server, [match], owner, group, because, rank=48)
