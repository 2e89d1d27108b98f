"""What objects of Istio and the Gateway API name: Services, ports, subsets, gateways, other namespaces. A name is called missing only where the bundle
shows others of its kind in the same place; what cannot be known is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshport.ir.world import Service
from meshport.lints.inventory import OTHERS, SYSTEM, Inventory, exports, in_mesh, meet, text_of
from meshport.lints.manifests import Manifest, Path, Review

ROUTES = ("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute")


def review(review: Review, known: Inventory) -> None:
    """Dangling references of every mesh that the bundle has."""
    for route in review.of("VirtualService", group="networking.istio.io"):
        _virtual_service(review, known, route)
    for rule in review.of("DestinationRule", group="networking.istio.io"):
        _destination_rule(review, known, rule)
    for route in review.of(*ROUTES):
        _route(review, known, route)
    for gateway in review.of("Gateway", group="gateway.networking.k8s.io"):
        _certificates(review, known, gateway)
    for policy in review.of("AuthorizationPolicy", group="security.istio.io"):
        _namespaces(review, known, policy)


def destinations(route: Manifest) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each destination of a VirtualService, mirrors among them."""
    for protocol in ("http", "tls", "tcp"):
        for path, rule in route.each("spec", protocol):
            for place, item in route.each(*path, "route"):
                if isinstance(item, dict) and isinstance(item.get("destination"), dict):
                    yield (*place, "destination"), item["destination"]
            if isinstance(rule, dict) and isinstance(rule.get("mirror"), dict):
                yield (*path, "mirror"), rule["mirror"]
            for place, item in route.each(*path, "mirrors"):
                if isinstance(item, dict) and isinstance(item.get("destination"), dict):
                    yield (*place, "destination"), item["destination"]


def _virtual_service(review: Review, known: Inventory, route: Manifest) -> None:
    home = known.home(route)
    seen = exports(route, home) - {"*", "~"} or {home}
    subsets: set[tuple[str, str]] = set()
    for path, destination in destinations(route):
        host = destination.get("host")
        if not isinstance(host, str) or not host:
            continue
        found = known.host(host, home)
        if (missing := next((one for space in sorted(seen) if (one := known.host(found.name, space)).missing), None)) is not None:
            what = f"the host {missing.name}"
            why = "no Service or ServiceEntry that it sees has it"
            review.say("MP073", route, (*path, "host"), what=what, why=why)
            continue
        _short(review, known, route, (*path, "host"), host)
        number = destination.get("port", {}).get("number") if isinstance(destination.get("port"), dict) else None
        if found.service is not None:
            _port(review, route, (*path, "port", "number"), found.service, number)
            if number is None and len([port for port in found.service.ports if port.protocol not in ("UDP", "SCTP")]) > 1:
                outside = any(name != "mesh" for _, name in route.each("spec", "gateways"))  # in the mesh the port of the request is kept
                ports = text_of([port.number for port in found.service.ports])
                why = f"the Service has several ({ports}); name one"
                review.say(
                    "MP074",
                    route,
                    (*path, "host"),
                    severity="warning" if outside else "info",
                    what=f"no port of Service {found.service.ref}",
                    why=why,
                )
        if isinstance(destination.get("subset"), str) and (mark := (found.name, destination["subset"])) not in subsets:
            subsets.add(mark)
            _subset(review, known, route, (*path, "subset"), found.name, destination["subset"])
    for path, name in route.each("spec", "hosts") if in_mesh(route.get("spec", "gateways")) else ():
        if isinstance(name, str) and name and "*" not in name:
            if known.host(name, home).missing:
                why = "no Service or ServiceEntry that it sees has it, so that no request comes by"
                review.say("MP073", route, path, what=f"the host {known.full(name, home)}", why=why)
            _short(review, known, route, path, name)
    _gateways(review, known, route)


def _port(review: Review, manifest: Manifest, path: Path, service: Service, number: Any, severity: str | None = None) -> None:
    if isinstance(number, int) and service.ports and not service.external_name and service.port(number) is None:
        why = f"it has {text_of([port.number for port in service.ports])}"
        review.say("MP074", manifest, path, severity=severity, what=f"port {number} of Service {service.ref}", why=why)


def _subset(review: Review, known: Inventory, route: Manifest, path: Path, host: str, subset: str) -> None:
    rules = [
        rule
        for rule in review.of("DestinationRule", group="networking.istio.io")
        if known.full(str(rule.get("spec", "host") or ""), known.home(rule)) == host
    ]
    if any(item.get("name") == subset for rule in rules for _, item in rule.each("spec", "subsets") if isinstance(item, dict)):
        return
    what = "its DestinationRules of the bundle define others" if rules else "the bundle has no DestinationRule for it"
    review.say("MP075", route, path, severity=None if rules else "info", subset=subset, host=host, what=what)


def _short(review: Review, known: Inventory, manifest: Manifest, path: Path, host: str) -> None:
    """`reviews.prod` is a name of its own: Istio completes names without a dot alone."""
    name, dot, namespace = host.partition(".")
    namespace = namespace.removesuffix(".svc")
    if dot and "." not in namespace and known.service(namespace, name) is not None:
        review.say("MP087", manifest, path, host=host, full=f"{name}.{namespace}{known.domain}", service=f"{namespace}/{name}")


def _gateways(review: Review, known: Inventory, route: Manifest) -> None:
    """The gateways of a VirtualService are there, and take one of its hosts."""
    home = known.home(route)
    hosts = [str(host) for _, host in route.each("spec", "hosts")]
    for path, gateway in route.each("spec", "gateways"):
        if not isinstance(gateway, str) or gateway == "mesh" or not gateway:
            continue
        if "~istio-autogenerated-k8s-gateway~" in gateway:
            why = "that is a name of istiod's own; name the Gateway of the Gateway API, or write an HTTPRoute"
            review.say("MP073", route, path, what=f"the gateway {gateway}", why=why)
            continue
        space, slash, name = gateway.rpartition("/")
        if "." in name and not slash:
            continue
        found = known.named.get(("Gateway", space or home, name))
        if found is None:
            if known.shows("Gateway", space or home):
                review.say("MP073", route, path, what=f"the Gateway {space or home}/{name}", why=OTHERS)
            continue
        taken = list(_gateway_hosts(found, known, home))
        if hosts and not any(meet(host, own) for host in hosts for own in taken):
            review.say("MP096", route, path, hosts=", ".join(hosts), gateway=str(found), taken=", ".join(taken) or "none")


def _gateway_hosts(gateway: Manifest, known: Inventory, route_home: str) -> Iterator[str]:
    """The hosts that a gateway takes from the routes of a namespace."""
    for _, listener in gateway.each("spec", "listeners"):
        if isinstance(listener, dict):
            yield str(listener.get("hostname") or "*")
    for path, _ in gateway.each("spec", "servers"):
        for _, host in gateway.each(*path, "hosts"):
            space, slash, name = str(host).rpartition("/")
            space = known.home(gateway) if space == "." else space
            if not slash or space in ("*", route_home):
                yield name


def _destination_rule(review: Review, known: Inventory, rule: Manifest) -> None:
    host, home = rule.get("spec", "host"), known.home(rule)
    if not isinstance(host, str) or not host or "*" in host:
        return
    found = known.host(host, home)
    if found.missing:
        review.say("MP073", rule, ("spec", "host"), what=f"the host {found.name}", why="no Service or ServiceEntry that it sees has it")
        return
    _short(review, known, rule, ("spec", "host"), host)
    if found.service is None:
        return
    for path, item in rule.each("spec", "trafficPolicy", "portLevelSettings"):
        number = item.get("port", {}).get("number") if isinstance(item, dict) and isinstance(item.get("port"), dict) else None
        _port(review, rule, (*path, "port", "number"), found.service, number, "warning")
    if not found.service.selector:
        return
    pods = known.selected(found.service.ref.namespace, found.service.selector)
    for path, item in rule.each("spec", "subsets"):
        labels = {
            key: str(value)
            for key, value in rule.mapping(*path, "labels").items()
            if not str(key).startswith(("topology.", "kubernetes.io/"))
        }
        if pods and labels and not any(labels.items() <= pod.labels.items() for pod in pods):
            what = f"the subset {item.get('name')}" if isinstance(item, dict) else "a subset"
            shown = ", ".join(f"{key}={value}" for key, value in labels.items())
            review.say("MP079", rule, (*path, "labels"), what=what, selector=shown, where=f"Service {found.service.ref}")


# -- Gateway API


def _route(review: Review, known: Inventory, route: Manifest) -> None:
    home = known.home(route)
    mesh = False
    for path, parent in route.each("spec", "parentRefs"):
        if not isinstance(parent, dict) or not isinstance(parent.get("name"), str):
            continue
        kind, space = str(parent.get("kind", "Gateway")), str(parent.get("namespace") or home)
        mesh = mesh or kind in ("Service", "ServiceEntry", "Server", "EgressNetwork")
        if kind == "Service":
            _parent_service(review, known, route, path, parent, space)
        elif kind == "Gateway":
            _parent_gateway(review, known, route, path, parent, space)
        elif kind in ("Server", "EgressNetwork") and not known.has(kind, space, parent["name"]) and known.shows(kind, space):
            why = OTHERS
            review.say("MP073", route, (*path, "name"), what=f"{kind} {space}/{parent['name']}", why=why)
    for path, backend in _backends(route):
        if (
            backend.get("kind", "Service") != "Service"
            or backend.get("group", "") not in ("", "core")
            or not isinstance(backend.get("name"), str)
        ):
            continue
        space = str(backend.get("namespace") or home)
        service = known.service(space, backend["name"])
        if service is not None:
            _port(review, route, (*path, "port"), service, backend.get("port"))
        elif known.shows("Service", space):
            what = f"the Service {space}/{backend['name']}"
            review.say("MP073", route, (*path, "name"), what=what, why=OTHERS)
        if space != home and known.shows("Service", space) and not (mesh and review.options.source == "linkerd"):
            _granted(review, known, route, (*path, "namespace"), home, ("Service", backend["name"], space))


def _backends(route: Manifest) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path, _ in route.each("spec", "rules"):
        for place, backend in route.each(*path, "backendRefs"):
            if isinstance(backend, dict):
                yield place, backend
        for place, item in route.each(*path, "filters"):
            mirror = item.get("requestMirror") if isinstance(item, dict) else None
            if isinstance(mirror, dict) and isinstance(mirror.get("backendRef"), dict):
                yield (*place, "requestMirror", "backendRef"), mirror["backendRef"]


def _parent_service(review: Review, known: Inventory, route: Manifest, path: Path, parent: dict[str, Any], space: str) -> None:
    service = known.service(space, parent["name"])
    if service is None:
        if known.shows("Service", space):
            what = f"the Service {space}/{parent['name']}"
            review.say("MP073", route, (*path, "name"), what=what, why=OTHERS)
        return
    _port(review, route, (*path, "port"), service, parent.get("port"))
    why = "is of type ExternalName" if service.external_name else "is headless" if service.headless else ""
    if why and review.options.source in ("linkerd", "cilium"):
        review.say("MP091", route, (*path, "name"), service=str(service.ref), why=why)
    if parent.get("group") not in ("", "core"):
        what = f"the parent Service {parent['name']} has " + (
            f"group {parent['group']!r}" if parent.get("group") else "no group, which means gateway.networking.k8s.io"
        )
        review.say(
            "MP098", route, (*path, "kind"), severity="error", what=what + ": the route attaches to nothing", remedy='Write group: "".'
        )


def _parent_gateway(review: Review, known: Inventory, route: Manifest, path: Path, parent: dict[str, Any], space: str) -> None:
    gateway = known.named.get(("Gateway", space, parent["name"]))
    if gateway is None or not gateway.document.group.startswith("gateway.networking"):
        if gateway is None and known.shows("Gateway", space):
            why = OTHERS
            review.say("MP073", route, (*path, "name"), what=f"the Gateway {space}/{parent['name']}", why=why)
        return
    listeners = [item for _, item in gateway.each("spec", "listeners") if isinstance(item, dict)]
    section, port = parent.get("sectionName"), parent.get("port")
    if isinstance(section, str) and listeners and section not in [item.get("name") for item in listeners]:
        why = "it has " + ", ".join(str(item.get("name")) for item in listeners)
        review.say("MP074", route, (*path, "sectionName"), what=f"the listener {section} of {gateway}", why=why)
    elif isinstance(port, int) and listeners and port not in [item.get("port") for item in listeners]:
        why = f"it listens on {text_of([item['port'] for item in listeners if isinstance(item.get('port'), int)])}"
        review.say("MP074", route, (*path, "port"), what=f"port {port} of {gateway}", why=why)


def _certificates(review: Review, known: Inventory, gateway: Manifest) -> None:
    home = known.home(gateway)
    for path, _ in gateway.each("spec", "listeners"):
        for place, ref in gateway.each(*path, "tls", "certificateRefs"):
            space = ref.get("namespace") if isinstance(ref, dict) else None
            if isinstance(space, str) and space != home and any(kind_space[1] == space for kind_space in known.kinds_in):
                _granted(review, known, gateway, (*place, "namespace"), home, ("Secret", str(ref.get("name")), space))


def _granted(review: Review, known: Inventory, manifest: Manifest, path: Path, home: str, wanted: tuple[str, str, str]) -> None:
    """Whether a ReferenceGrant of the other namespace lets the reference through."""
    kind, name, space = wanted
    for grant in review.of("ReferenceGrant"):
        froms = [item for _, item in grant.each("spec", "from") if isinstance(item, dict)]
        tos = [item for _, item in grant.each("spec", "to") if isinstance(item, dict)]
        if (
            grant.number not in review.bound.broken
            and known.home(grant) == space
            and any(item.get("namespace") == home and item.get("kind") == manifest.kind for item in froms)
            and any(item.get("kind") == kind and item.get("name") in (None, "", name) for item in tos)
        ):
            return
    review.say("MP090", manifest, path, what=f"{kind} {space}/{name}", home=home, space=space, kind=manifest.kind)


# -- namespaces


def _namespaces(review: Review, known: Inventory, policy: Manifest) -> None:
    """Namespaces that a rule names and that are none of those in the bundle: at most a hint, as a bundle rarely has all of them."""
    spaces = set(known.world.namespaces)
    if len(spaces) < 2:
        return
    for path, _ in policy.each("spec", "rules"):
        for place, _ in policy.each(*path, "from"):
            for member in ("namespaces", "notNamespaces"):
                for at, name in policy.each(*place, "source", member):
                    if isinstance(name, str) and name not in SYSTEM and not any(meets(name, space) for space in spaces):
                        why = "no Namespace of the bundle is called so"
                        review.say("MP073", policy, at, severity="info", what=f"the namespace {name}", why=why)


def meets(pattern: str, name: str) -> bool:
    """Whether a pattern with a `*` at one end, as policies of Istio have them, takes in a name."""
    if pattern.endswith("*"):
        return name.startswith(pattern[:-1])
    return name.endswith(pattern[1:]) if pattern.startswith("*") else name == pattern


__all__ = ["destinations", "in_mesh", "meets", "review"]
