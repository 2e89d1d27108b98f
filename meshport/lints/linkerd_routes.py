"""Routes for Linkerd: parents that are none, filters that it leaves out, requests and probes that no route takes (Linkerd reference 1.8, 2.2 and 2.6)."""

from __future__ import annotations

import re
from typing import Any

from meshport.ir.world import Probe, Workload
from meshport.lints.inventory import Inventory
from meshport.lints.linkerd_grants import grants_of
from meshport.lints.linkerd_policies import number_of, selector_of
from meshport.lints.manifests import Manifest, Review, names
from meshport.mapping.table import in_range


def review(review: Review, known: Inventory) -> None:
    """Each route, and what the routes of a Service or a Server leave over."""
    of_service: dict[tuple[str, str], list[Manifest]] = {}
    for route in review.of("HTTPRoute", "GRPCRoute"):
        _route(review, known, route)
        _parents(review, known, route)
        for _, parent in route.each("spec", "parentRefs"):
            if isinstance(parent, dict) and parent.get("kind") == "Service":
                key = (str(parent.get("namespace") or known.home(route)), str(parent.get("name")))
                of_service.setdefault(key, []).append(route)
    for (space, name), routes in of_service.items():
        _left(review, f"{space}/{name}", routes)
    for split in review.of("TrafficSplit"):
        for route in of_service.get((known.home(split), str(split.get("spec", "service"))), ()):
            effect = "linkerd-smi writes the split into a ServiceProfile, and that silences the route"
            review.say("MP054", route, ("spec", "parentRefs"), what=str(split), host=split.get("spec", "service"), effect=effect)
    for server in review.of("Server", group="policy.linkerd.io"):
        _probes(review, known, server)


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


def _parents(review: Review, known: Inventory, route: Manifest) -> None:
    """The kind of a parent is Gateway, and its group that of the route, unless it says otherwise."""
    for path, parent in route.each("spec", "parentRefs"):
        if not isinstance(parent, dict):
            continue
        kind, name, space = parent.get("kind"), str(parent.get("name")), str(parent.get("namespace") or known.home(route))
        if kind is None and known.service(space, name) is not None and not known.has("Gateway", space, name):
            what = f"the parent {name} says no kind, which means a Gateway, and {space}/{name} is a Service: the route attaches to nothing"
            review.say("MP098", route, (*path, "name"), severity="error", what=what, remedy='Write group: "" and kind: Service.')
        elif kind in ("Server", "EgressNetwork") and parent.get("group", route.document.group) != "policy.linkerd.io":
            said = f"group {parent['group']!r}" if parent.get("group") else f"no group, which means {route.document.group}"
            what = f"the parent {kind} {name} has {said}: the route attaches to nothing"
            review.say("MP098", route, (*path, "kind"), severity="error", what=what, remedy="Write group: policy.linkerd.io.")
        if kind == "Server":
            for at, _ in route.each("spec", "rules"):
                for place, item in route.each(*at, "filters"):
                    if isinstance(item, dict) and item.get("type") == "ResponseHeaderModifier":
                        what = "Linkerd leaves out a ResponseHeaderModifier on the way in"
                        review.say("MP098", route, (*place, "type"), what=what, remedy="Put it on a route whose parent is the Service.")


def _left(review: Review, service: str, routes: list[Manifest]) -> None:
    """Once a Service has a route, a request that no rule takes is answered 404."""
    for kind in ("HTTPRoute", "GRPCRoute"):
        own = [route for route in routes if route.kind == kind]
        rules = [(route, path, rule) for route in own for path, rule in route.each("spec", "rules") if isinstance(rule, dict)]
        if kind == "GRPCRoute" and len(own) < len(routes):
            continue  # where both are there, GRPCRoutes alone count
        if rules and not any(_takes_all(rule) for _, _, rule in rules):
            route, path, _ = rules[0]
            review.say("MP057", route, (*path, "matches"), service=service, routes=names([str(one) for one in own]))


def _takes_all(rule: dict[str, Any]) -> bool:
    matches = rule.get("matches")
    return not matches or any(
        isinstance(match, dict) and all(key == "path" and _root(value) for key, value in match.items()) for match in matches
    )


def _root(path: Any) -> bool:
    if not isinstance(path, dict):
        return False
    prefix = path.get("type", "PathPrefix") == "PathPrefix" and path.get("value", "/") == "/"
    return prefix or (path.get("type") == "RegularExpression" and path.get("value") in (".*", "/.*"))


# -- probes


def _probes(review: Review, known: Inventory, server: Manifest) -> None:
    """The kubelet's probes are let through by themselves only as long as no route hangs on their Server."""
    home = known.home(server)
    hanging = grants_of(known).routes(server)
    routes = [
        route
        for group in ("policy.linkerd.io", "gateway.networking.k8s.io")
        for route in hanging
        if route.kind == "HTTPRoute" and route.document.group.endswith(group)
    ]
    if not routes or server.get("spec", "podSelector") is None or server.get("spec", "accessPolicy") not in (None, "deny"):
        return
    chosen = selector_of(server, "spec", "podSelector")
    missed: list[tuple[Workload, Probe]] = []
    for pod in known.chosen(home, chosen):
        number = number_of(pod, server.get("spec", "port"))
        missed += [
            (pod, one)
            for one in pod.probes
            if number is not None and one.kind == "http" and one.port == number and not _taken(routes, one.path)
        ]
    if missed and not _opened(known, server):
        pod, probe = missed[0]
        what = f"{names([str(route) for route in routes])} hang on it, so that the kubelet's probe {probe.path} of {pod.kind} {pod.ref} is refused"
        remedy = f"Add an HTTPRoute for {probe.path}, and an AuthorizationPolicy for it with a NetworkAuthentication of the nodes."
        review.say("MP099", server, ("spec", "port"), what=what, remedy=remedy)


def _taken(routes: list[Manifest], path: str) -> bool:
    """Whether some rule takes the path of a probe, as far as can be seen."""
    for route in routes:
        for place, rule in route.each("spec", "rules"):
            matches = route.each(*place, "matches")
            if isinstance(rule, dict) and not matches:
                return True
            for _, match in matches:
                said = match.get("path") if isinstance(match, dict) else None
                value, kind = (said.get("value", "/"), said.get("type", "PathPrefix")) if isinstance(said, dict) else ("/", "PathPrefix")
                begins = kind == "PathPrefix" and (value == "/" or path == value or path.startswith(str(value).rstrip("/") + "/"))
                if begins or (kind == "Exact" and path == value) or kind == "RegularExpression":
                    return True
    return False


def _opened(known: Inventory, server: Manifest) -> bool:
    """Whether a policy for the whole Server, or its namespace, admits callers without an identity."""
    grants = grants_of(known)
    for grant in grants.on(server.document.name, known.home(server)):
        refs = [item.get("kind") for _, item in grant.each("spec", "requiredAuthenticationRefs") if isinstance(item, dict)]
        if grant.get("spec", "client", "unauthenticated") is True or (
            grant.kind == "AuthorizationPolicy" and set(refs) <= {"NetworkAuthentication"}
        ):
            return True
    return False
