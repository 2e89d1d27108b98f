"""What a reviewer says about Linkerd's manifests (linkerd.io, reference: service profiles, authorization policy, ingress)."""

from __future__ import annotations

from typing import Any

from meshport.lints.linkerd_grants import Grants
from meshport.lints.manifests import Manifest, Review, names
from meshport.mapping.table import in_range

_UPSTREAM = "nginx.ingress.kubernetes.io/service-upstream"
_EVERYTHING = {".*", "/.*", "^.*$", "^/.*$", "/", ""}


def review(review: Review) -> None:
    """Retries that never happen, Servers, splits, and what shadows what."""
    profiles = {manifest.document.name: manifest for manifest in review.of("ServiceProfile", group="linkerd.io")}
    for profile in profiles.values():
        _budget(review, profile)
        _fall_through(review, profile)
    grants = Grants(review)
    for server in review.of("Server", group="policy.linkerd.io"):
        _protocol(review, server)
        _closes(review, server, grants)
    services = {(manifest.namespace, manifest.document.name) for manifest in review.of("Service")}
    for split in review.of("TrafficSplit"):
        _split(review, split, profiles, services)
    for route in review.of("HTTPRoute", "GRPCRoute"):
        _shadowed(review, route, profiles)
    for ingress in review.of("Ingress"):
        _ingress(review, ingress)


def _routes(profile: Manifest) -> list[tuple[tuple[str | int, ...], dict[str, Any]]]:
    return [(path, item) for path, item in profile.each("spec", "routes") if isinstance(item, dict)]


def _budget(review: Review, profile: Manifest) -> None:
    """A budget limits retries; only isRetryable asks for one."""
    if any(item.get("isRetryable") is True for _, item in _routes(profile)):
        return
    places: list[tuple[str | int, ...]] = [("spec", "retryBudget")] if profile.get("spec", "retryBudget") is not None else []
    places += [(*path, "retryBudget") for path, item in _routes(profile) if "retryBudget" in item]
    if places:
        review.say("MP050", profile, *places)


def _fall_through(review: Review, profile: Manifest) -> None:
    """Requests that no route of the profile takes go through, without a timeout or metrics of their own."""
    routes = _routes(profile)
    conditions = [item.get("condition") for _, item in routes]
    if routes and not any(
        isinstance(one, dict) and set(one) <= {"pathRegex"} and str(one.get("pathRegex", "")) in _EVERYTHING for one in conditions
    ):
        review.say(
            "MP055", profile, *((*path, "name") for path, _ in routes), routes=names([str(item.get("name", "")) for _, item in routes], 3)
        )


def _protocol(review: Review, server: Manifest) -> None:
    """HTTP/2 on a port that is called http refuses plain HTTP/1.1."""
    port, protocol = server.get("spec", "port"), server.get("spec", "proxyProtocol")
    if protocol == "HTTP/2" and isinstance(port, str) and (port == "http" or port.startswith(("http-", "http1"))):
        review.say("MP051", server, ("spec", "proxyProtocol"), port=port)


def _closes(review: Review, server: Manifest, grants: Grants) -> None:
    """Who is admitted to the port that a Server closes, and that nobody else is."""
    policy = server.get("spec", "accessPolicy")
    if policy not in (None, "deny"):
        return
    callers: list[str] = []
    for grant in sorted(grants.at(server), key=lambda item: item.kind == "AuthorizationPolicy"):
        if grant.kind == "ServerAuthorization":
            callers += _clients(grant)
            continue
        callers += [
            f"{item.get('kind')} {item.get('name')}"
            for _, item in grant.each("spec", "requiredAuthenticationRefs")
            if isinstance(item, dict)
        ]
        callers += ["everybody"] if grant.get("spec", "requiredAuthenticationRefs") == [] else []
    who = f"but {names(callers)}" if callers else "without an exception"
    review.say("MP052", server, ("spec", "port"), port=server.get("spec", "port"), who=who)


def _clients(grant: Manifest) -> list[str]:
    """The callers that a ServerAuthorization admits, in words."""
    found = [
        f"ServiceAccount {item.get('namespace') or grant.namespace}/{item.get('name')}"
        for _, item in grant.each("spec", "client", "meshTLS", "serviceAccounts")
        if isinstance(item, dict)
    ]
    found += [str(item) for _, item in grant.each("spec", "client", "meshTLS", "identities")]
    if grant.get("spec", "client", "unauthenticated") is True:
        found.append("callers without identity")
    if found and not grant.get("spec", "client", "networks"):
        found[-1] += " (from the cluster's networks)"
    return found


def _split(review: Review, split: Manifest, profiles: dict[str, Manifest], services: set[tuple[str, str]]) -> None:
    """TrafficSplits need an extension, merge into the profile of their Service, and name Services."""
    release = review.options.source_version
    if in_range(release, "2.12", None):
        review.say("MP053", split, ("apiVersion",))
    apex = str(split.get("spec", "service") or "")
    host = f"{apex}.{split.namespace}.svc.{review.options.cluster_domain}"
    if host in profiles:
        review.say("MP054", split, ("spec", "service"), severity="info", what=f"the ServiceProfile {host}", host=apex, effect=_MERGED)
    for path, backend in split.each("spec", "backends"):
        name = backend.get("service") if isinstance(backend, dict) else None
        if isinstance(name, str) and (split.namespace, name) not in services:
            review.say("MP307", split, (*path, "service"), namespace=split.namespace, name=name)


_MERGED = "linkerd-smi writes the split into that profile, and a route that takes the split's place is silenced by it: move both together"
_SILENCED = "the profile silences the route, its retries, timeouts and the Service's circuit breaker"


def _shadowed(review: Review, route: Manifest, profiles: dict[str, Manifest]) -> None:
    """A ServiceProfile takes the place of every route of its Service."""
    for path, parent in route.each("spec", "parentRefs"):
        if not isinstance(parent, dict) or parent.get("kind") != "Service":
            continue
        namespace = parent.get("namespace") or route.namespace
        host = f"{parent.get('name')}.{namespace}.svc.{review.options.cluster_domain}"
        if host in profiles:
            review.say("MP054", route, (*path, "name"), what=f"the ServiceProfile {host}", host=parent.get("name"), effect=_SILENCED)


def _ingress(review: Review, ingress: Manifest) -> None:
    """NGINX sends to pods, past the Service, unless it is told otherwise."""
    annotations = ingress.mapping("metadata", "annotations")
    kind = ingress.get("spec", "ingressClassName") or annotations.get("kubernetes.io/ingress.class")
    if kind == "nginx" and annotations.get(_UPSTREAM) != "true":
        review.say("MP056", ingress, ("metadata", "name"), annotation=_UPSTREAM)
