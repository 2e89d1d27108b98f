"""Linkerd's policies, routes and profiles against the workloads and Services of the bundle (Linkerd reference 2, and its gotchas)."""

from __future__ import annotations

import re
from typing import Any

from meshport.ir.base import Requirement, Selector
from meshport.ir.world import Workload
from meshport.lints.inventory import Inventory
from meshport.lints.manifests import Manifest, Path, Review, names
from meshport.mapping.table import in_range
from meshport.values.durations import parse_linkerd
from meshport.values.ports import is_number
from meshport.values.problems import ValueProblem

_EVERYTHING = {".*", "/.*", "^.*$", "^/.*$", ""}
_OF_PROXY = ("linkerd-admin", "linkerd-proxy")  # ports of the proxy, which the injector adds
_BREAKER = "balancer.linkerd.io/failure-accrual"
_OF_ROUTES = ("balancer.linkerd.io/", "retry.linkerd.io/", "timeout.linkerd.io/")


def review(review: Review, known: Inventory) -> None:
    """Overlapping Servers, policies for nothing, shadowed settings, routes that Linkerd reads otherwise."""
    _servers(review, known)
    for policy in review.of("AuthorizationPolicy", group="policy.linkerd.io"):
        _policy(review, known, policy)
    _limits(review, known)
    for profile in review.of("ServiceProfile", group="linkerd.io"):
        _profile(review, known, profile)
    for route in review.of("HTTPRoute", "GRPCRoute"):
        _route(review, known, route)
    for service in review.of("Service"):
        _breaker(review, service)


def _missing(review: Review, known: Inventory, manifest: Manifest, path: Path, kind: str, name: str) -> None:
    home = known.home(manifest)
    sure = known.shows(kind, home)
    why = "the bundle has others of that namespace" if sure else f"nor any {kind} of that namespace"
    review.say("MP073", manifest, path, severity=None if sure else "info", what=f"{kind} {home}/{name}", why=why)


# -- Servers


def selector_of(manifest: Manifest, *path: str | int) -> Selector:
    """A label selector with its expressions; what has another shape is left out."""
    wanted = []
    for place, item in manifest.each(*path, "matchExpressions"):
        if (
            isinstance(item, dict)
            and isinstance(item.get("key"), str)
            and item.get("operator") in ("In", "NotIn", "Exists", "DoesNotExist")
        ):
            values = tuple(str(value) for _, value in manifest.each(*place, "values"))
            wanted.append(Requirement(item["key"], item["operator"], values))
    return Selector.of({str(key): str(value) for key, value in manifest.mapping(*path, "matchLabels").items()}, wanted)


def _servers(review: Review, known: Inventory) -> None:
    taken: dict[tuple[int, int], Manifest] = {}
    said: set[tuple[int, int]] = set()
    for server in review.of("Server", group="policy.linkerd.io"):
        if server.get("spec", "podSelector") is None:
            continue
        among = known.pods(known.home(server))
        chosen = selector_of(server, "spec", "podSelector")
        pods = [pod for pod in among if chosen.accepts(pod.labels)]
        port = server.get("spec", "port")
        if among and not pods:
            review.say(
                "MP079",
                server,
                ("spec", "podSelector"),
                severity="info" if known.home(server).startswith("linkerd") else None,  # pods that an extension's installation brings
                what="its podSelector",
                selector=str(chosen),
                where=f"namespace {known.home(server)}",
            )
        numbers = [(pod, number) for pod in pods if (number := _number(pod, port)) is not None]
        if pods and isinstance(port, str) and not is_number(port) and not numbers and port not in _OF_PROXY:
            have = names(sorted({one.name for pod in pods for one in pod.ports if one.name})) or "none with a name"
            review.say(
                "MP074",
                server,
                ("spec", "port"),
                what=f"port {port} of the pods",
                why=f"their containers declare {have}, so that the Server closes nothing",
            )
        for pod, number in numbers:
            other = taken.setdefault((id(pod), number), server)
            if other is not server and (other.number, server.number) not in said:
                said.add((other.number, server.number))
                which = (
                    "the oldest holds" if in_range(review.options.source_version, "2.18", None) else "which of them holds is not defined"
                )
                review.say("MP077", server, ("spec", "port"), others=str(other), what=f"port {number} of {pod.kind} {pod.ref}", which=which)


def _number(pod: Workload, port: Any) -> int | None:
    if isinstance(port, int):
        return port
    if isinstance(port, str) and is_number(port):
        return int(port)
    found = pod.port_named(str(port))
    return found.number if found is not None else None


def _limits(review: Review, known: Inventory) -> None:
    """One rate limit holds for a Server."""
    taken: dict[tuple[str, str], Manifest] = {}
    for limit in review.of("HTTPLocalRateLimitPolicy", group="policy.linkerd.io"):
        name, home = limit.get("spec", "targetRef", "name"), known.home(limit)
        if not isinstance(name, str):
            continue
        if not known.has("Server", home, name):
            _missing(review, known, limit, ("spec", "targetRef", "name"), "Server", name)
        other = taken.setdefault((home, name), limit)
        if other is not limit:
            review.say(
                "MP077", limit, ("spec", "targetRef", "name"), others=str(other), what=f"Server {home}/{name}", which="the oldest holds"
            )


# -- policies


def _policy(review: Review, known: Inventory, policy: Manifest) -> None:
    kind, name = policy.get("spec", "targetRef", "kind"), policy.get("spec", "targetRef", "name")
    if policy.get("spec", "requiredAuthenticationRefs") == []:
        what = "requiredAuthenticationRefs is empty, and so admits everybody, plaintext included"
        review.say(
            "MP098",
            policy,
            ("spec", "requiredAuthenticationRefs"),
            what=what,
            remedy="Name who is admitted, or leave it if everybody is meant.",
        )
    if kind in ("HTTPRoute", "GRPCRoute") and isinstance(name, str):
        _widened(review, known, policy, str(kind), name)


def _widened(review: Review, known: Inventory, policy: Manifest, kind: str, name: str) -> None:
    """A grant for the whole Server, or the namespace, opens each of its routes too."""
    home = known.home(policy)
    route = known.named.get((kind, home, name))
    servers = (
        [
            str(parent.get("name"))
            for _, parent in route.each("spec", "parentRefs")
            if isinstance(parent, dict) and parent.get("kind") == "Server"
        ]
        if route
        else []
    )
    over: list[str] = []
    admitted = _admitted(policy)
    for other in review.of("AuthorizationPolicy", "ServerAuthorization", group="policy.linkerd.io"):
        if known.home(other) != home or other is policy:
            continue
        target = other.mapping("spec", "targetRef")
        if (
            target.get("kind") == "Namespace"
            or (target.get("kind") == "Server" and target.get("name") in servers)
            or other.get("spec", "server", "name") in servers
        ):
            over += [str(other)] if _admitted(other) in ([], admitted) else []
    if servers and over:
        review.say(
            "MP094",
            policy,
            ("spec", "targetRef", "name"),
            wide=names(over),
            what=f"every route of Server {names(servers)}, this one among them",
        )


def _admitted(grant: Manifest) -> list[str]:
    """What a grant demands of callers, as text; [] demands nothing."""
    if grant.kind == "ServerAuthorization":
        everybody = grant.get("spec", "client", "unauthenticated") is True and not grant.get("spec", "client", "networks")
        return [] if everybody else [str(grant.get("spec", "client"))]
    refs = [item for _, item in grant.each("spec", "requiredAuthenticationRefs")]
    return sorted(
        f"{item.get('kind')} {item.get('namespace') or grant.namespace}/{item.get('name')}" for item in refs if isinstance(item, dict)
    )


# -- profiles and routes


def _profile(review: Review, known: Inventory, profile: Manifest) -> None:
    place = known.service_of(profile.document.name)
    service = known.service(*place) if place is not None else None
    if place is not None and service is None and known.shows("Service", place[0]):
        why = "the bundle has others of that namespace"
        review.say("MP073", profile, ("metadata", "name"), what=f"the Service {place[0]}/{place[1]}", why=why)
    if service is not None and (service.headless or service.external_name):
        why = "is of type ExternalName" if service.external_name else "is headless"
        review.say("MP091", profile, ("metadata", "name"), service=str(service.ref), why=why)
    if service is not None:
        manifest = review.manifests[service.document]
        shadowed = [key for key in manifest.mapping("metadata", "annotations") if str(key).startswith(_OF_ROUTES)]
        if shadowed:
            effect = f"the profile silences {names([str(key) for key in shadowed])}"
            places = [("metadata", "annotations", key) for key in shadowed]
            review.say("MP054", manifest, *places, what=f"the ServiceProfile {profile.document.name}", host=service.ref.name, effect=effect)
    caught = ""
    for path, item in profile.each("spec", "routes"):
        condition = item.get("condition") if isinstance(item, dict) else None
        if caught:
            review.say("MP078", profile, path, rule=str(path[-1]), after=caught)
        elif isinstance(condition, dict) and set(condition) == {"pathRegex"} and str(condition["pathRegex"]) in _EVERYTHING:
            caught = f"the route {item.get('name')}, which takes every path"


def _route(review: Review, known: Inventory, route: Manifest) -> None:
    parents = [parent for _, parent in route.each("spec", "parentRefs") if isinstance(parent, dict)]
    release = review.options.source_version
    for parent in parents:
        server = known.named.get(("Server", known.home(route), str(parent.get("name")))) if parent.get("kind") == "Server" else None
        if server is None:
            continue
        protocol = server.get("spec", "proxyProtocol")
        if protocol == "gRPC" and route.kind == "HTTPRoute" and in_range(release, "2.16", None):
            what = f"it hangs on {server}, whose protocol is gRPC, and there GRPCRoutes alone count"
            review.say("MP098", route, ("spec", "parentRefs"), what=what, remedy="Write a GRPCRoute.")
    if not any(parent.get("kind") == "Service" for parent in parents):
        return
    if route.document.group.startswith("gateway.networking"):
        for path, _ in route.each("spec", "rules"):
            text = route.get(*path, "timeouts", "request")
            if isinstance(text, str) and len(re.findall(r"[0-9]+(?:ms|h|m|s)", text)) > 1:
                what = f"the timeout {text!r} has several units, and Linkerd then sets none"
                review.say("MP098", route, (*path, "timeouts", "request"), what=what, remedy="Write it with one unit.")
    if any(one.service is not None and one.document == route.number and one.problem == "MP315" for one in review.ir.routes):
        service = names([str(parent.get("name")) for parent in parents])
        review.say("MP315", route, ("spec", "rules"), subject=f"Service {service}")


def _breaker(review: Review, service: Manifest) -> None:
    """A breaker whose smallest penalty is above its largest is no breaker."""
    notes = service.mapping("metadata", "annotations")
    if _BREAKER not in notes:
        return
    try:
        low = parse_linkerd(str(notes.get(f"{_BREAKER}-consecutive-min-penalty", "1s")))
        high = parse_linkerd(str(notes.get(f"{_BREAKER}-consecutive-max-penalty", "60s")))
    except ValueProblem:
        return
    if low > high:
        key = next(one for one in (f"{_BREAKER}-consecutive-min-penalty", f"{_BREAKER}-consecutive-max-penalty") if one in notes)
        what = f"the smallest penalty {low} is above the largest {high}, and Linkerd then runs without a breaker"
        review.say(
            "MP098", service, ("metadata", "annotations", key), what=what, remedy=f"Set {_BREAKER}-consecutive-max-penalty above it."
        )
