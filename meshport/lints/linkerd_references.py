"""What Linkerd's objects name beside Services: accounts, namespaces, Servers by their labels, routes by their group, and parents of which another kind of
route takes the requests (Linkerd reference 1.4 to 1.9, 1.13, 2.7)."""

from __future__ import annotations

from meshport.lints.inventory import OTHERS, SYSTEM, Inventory
from meshport.lints.linkerd_policies import selector_of
from meshport.lints.manifests import Manifest, Path, Review, names
from meshport.mapping.table import in_range

_RANKED = ("GRPCRoute", "HTTPRoute", "TLSRoute", "TCPRoute")


def review(review: Review, known: Inventory) -> None:
    """Names of nothing, and routes that one of another kind takes the place of."""
    for policy in review.of("AuthorizationPolicy", group="policy.linkerd.io"):
        _route(review, known, policy)
        for path, ref in policy.each("spec", "requiredAuthenticationRefs"):
            _reference(review, known, policy, path, ref)
    for policy in review.of("MeshTLSAuthentication", group="policy.linkerd.io"):
        for path, ref in policy.each("spec", "identityRefs"):
            _reference(review, known, policy, path, ref)
    for policy in review.of("HTTPLocalRateLimitPolicy", group="policy.linkerd.io"):
        for place, _ in policy.each("spec", "overrides"):
            for path, ref in policy.each(*place, "clientRefs"):
                _reference(review, known, policy, path, ref)
    for policy in review.of("ServerAuthorization", group="policy.linkerd.io"):
        for path, ref in policy.each("spec", "client", "meshTLS", "serviceAccounts"):
            _reference(review, known, policy, path, {"kind": "ServiceAccount", **ref} if isinstance(ref, dict) else ref)
        _servers(review, known, policy)
    for profile in review.of("ServiceProfile", group="linkerd.io"):
        _overrides(review, known, profile)
    _ranked(review, known)


def _route(review: Review, known: Inventory, policy: Manifest) -> None:
    """A route of the other group that has HTTPRoutes is another object, and what it would open stays closed."""
    group, kind, name = (policy.get("spec", "targetRef", key) for key in ("group", "kind", "name"))
    if kind not in ("HTTPRoute", "GRPCRoute") or not isinstance(name, str):
        return
    found = [
        route.document.group
        for route in review.of(str(kind))
        if known.home(route) == known.home(policy) and route.document.name == name and route.document.group != "networking.istio.io"
    ]
    if found and group not in found:
        what = f"{kind} {known.home(policy)}/{name} of group {group or 'core'}"
        why = f"the bundle has one of group {names(found)} alone, which is another object"
        review.say("MP073", policy, ("spec", "targetRef", "group" if group is not None else "kind"), what=what, why=why)


def _reference(review: Review, known: Inventory, policy: Manifest, path: Path, ref: object) -> None:
    """An account that the bundle would show, and a namespace, at most a hint, as a bundle rarely has all of them."""
    if not isinstance(ref, dict) or not isinstance(ref.get("name"), str):
        return
    kind, name, space = ref.get("kind"), ref["name"], str(ref.get("namespace") or known.home(policy))
    if kind == "ServiceAccount" and known.lacks_account(space, name):
        review.say("MP073", policy, (*path, "name"), what=f"the ServiceAccount {space}/{name}", why=OTHERS)
    elif kind == "Namespace" and len(known.world.namespaces) > 1 and name not in {*known.world.namespaces, *SYSTEM}:
        why = "no Namespace of the bundle is called so"
        review.say("MP073", policy, (*path, "name"), severity="info", what=f"the namespace {name}", why=why)


def _servers(review: Review, known: Inventory, policy: Manifest) -> None:
    """A ServerAuthorization may choose Servers by their labels."""
    if policy.get("spec", "server", "selector") is None:
        return
    chosen, home = selector_of(policy, "spec", "server", "selector"), known.home(policy)
    servers = [server for server in review.of("Server", group="policy.linkerd.io") if known.home(server) == home]
    if servers and not any(chosen.accepts({str(k): str(v) for k, v in server.mapping("metadata", "labels").items()}) for server in servers):
        why = f"no Server of namespace {home} has them"
        review.say("MP073", policy, ("spec", "server", "selector"), what=f"Servers by their labels ({chosen})", why=why)


def _overrides(review: Review, known: Inventory, profile: Manifest) -> None:
    """Services that a profile sends a share to, by their full name and port."""
    for path, item in profile.each("spec", "dstOverrides"):
        authority = item.get("authority") if isinstance(item, dict) else None
        place = known.service_of(authority.rpartition(":")[0] or authority) if isinstance(authority, str) else None
        if place is not None and known.service(*place) is None and known.shows("Service", place[0]):
            review.say("MP073", profile, (*path, "authority"), what=f"the Service {place[0]}/{place[1]}", why=OTHERS)


def _ranked(review: Review, known: Inventory) -> None:
    """Of several kinds of routes on a port of a Service Linkerd reads one: GRPCRoutes before HTTPRoutes before those without requests."""
    taken: dict[tuple[str, str, str], list[tuple[int, Manifest, Path]]] = {}
    for rank, kind in enumerate(_RANKED):
        if kind == "GRPCRoute" and in_range(review.options.source_version, None, "2.16"):
            continue
        for route in review.standing(kind):
            for path, parent in route.each("spec", "parentRefs"):
                if isinstance(parent, dict) and parent.get("kind") == "Service" and parent.get("group") in ("", "core"):
                    key = (str(parent.get("namespace") or known.home(route)), str(parent.get("name")), repr(parent.get("port")))
                    taken.setdefault(key, []).append((rank, route, path))
    for (space, name, _), found in taken.items():
        first = found[0]
        for rank, route, path in found:
            if rank > first[0]:
                what = f"Linkerd reads {first[1].kind}s there and passes over every {route.kind}"
                review.say("MP076", route, (*path, "name"), others=str(first[1]), host=f"Service {space}/{name}", what=what)
