"""Gateways, ServiceEntries, EnvoyFilters and Telemetry of Istio: what lacks its other half, what contradicts another object, and patches that may not apply."""

from __future__ import annotations

from typing import Any

from meshport.lints.inventory import Inventory, exports, share, text_of
from meshport.lints.manifests import Manifest, Path, Review, names
from meshport.mapping.table import in_range

_INSTALLED = {"ingressgateway", "egressgateway", "eastwestgateway"}  # `istio:` labels of the gateways that the charts install
_RELATIVE = {"INSERT_BEFORE", "INSERT_AFTER", "REMOVE", "REPLACE", "MERGE"}
_PARTS = ("HTTP_ROUTE", "ROUTE_CONFIGURATION")


def review(review: Review, known: Inventory) -> None:
    """The edges of the mesh and what patches the proxies."""
    gateways = list(review.of("Gateway", group="networking.istio.io"))
    for gateway in gateways:
        _served(review, known, gateway)
    _conflicts(review, known, gateways)
    _entries(review, known)
    for patch in review.of("EnvoyFilter", group="networking.istio.io"):
        _patches(review, patch)
    for telemetry in review.of("Telemetry", group="telemetry.istio.io"):
        _providers(review, telemetry)
    for route in review.of("VirtualService", group="networking.istio.io"):
        _claims(review, known, route)
    for workload in review.of("Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"):
        _user(review, workload)


# -- gateways


def _labels(gateway: Manifest) -> dict[str, str]:
    return {str(key): str(value) for key, value in gateway.mapping("spec", "selector").items()}


def _served(review: Review, known: Inventory, gateway: Manifest) -> None:
    """The pods that serve a gateway, and whether their Services send to its ports."""
    labels = _labels(gateway)
    pods = known.selected("", labels) if labels else []
    if not pods:
        if labels and not (labels.get("istio") in _INSTALLED and len(labels) == 1):
            shown = ", ".join(f"{key}={value}" for key, value in labels.items())
            review.say("MP079", gateway, ("spec", "selector"), severity="info", what="its selector", selector=shown, where="the bundle")
        return
    services = [service for pod in pods for service in known.world.services_of(pod)]
    if not services or any(isinstance(port.target, str) for service in services for port in service.ports):
        return
    targets = {int(port.target) for service in services for port in service.ports}
    open_ports = targets | {port.number for service in services for port in service.ports}  # a port of the Service is translated
    for path, server in gateway.each("spec", "servers"):
        number = server.get("port", {}).get("number") if isinstance(server, dict) and isinstance(server.get("port"), dict) else None
        if isinstance(number, int) and number not in open_ports:
            what = f"it listens on port {number} of its pods, and {names(sorted({str(one.ref) for one in services}))} send to {text_of(list(targets))} alone"
            review.say(
                "MP099", gateway, (*path, "port", "number"), what=what, remedy=f"Add a port with targetPort {number} to the Service."
            )


def _conflicts(review: Review, known: Inventory, gateways: list[Manifest]) -> None:
    """Servers of several gateways on the same pods, port and host."""
    before: dict[tuple[str, str, str], dict[int, Manifest]] = {}  # by port, address and host
    pods: dict[int, set[int]] = {}
    for gateway in gateways:
        pods[gateway.number] = {id(pod) for pod in known.selected("", _labels(gateway))}
        own = [(path, key) for path, server in gateway.each("spec", "servers") for key in _taken(server, known.home(gateway))]
        for path, _ in gateway.each("spec", "servers"):
            met = {number: other for place, key in own if place == path for number, other in before.get(key, {}).items()}
            others = [other for _, other in sorted(met.items()) if _same_pods(pods, gateway, other)]
            if others:
                port = gateway.get(*path, "port", "number")
                what = f"port {port} of the pods with {', '.join(f'{key}={value}' for key, value in _labels(gateway).items())}"
                review.say(
                    "MP077",
                    gateway,
                    (*path, "hosts"),
                    others=names([str(one) for one in others]),
                    what=what,
                    which="which of them holds is not defined",
                )
        for _, key in own:
            before.setdefault(key, {})[gateway.number] = gateway


def _same_pods(pods: dict[int, set[int]], one: Manifest, other: Manifest) -> bool:
    ours, theirs = _labels(one), _labels(other)
    return bool(ours) if ours == theirs else not pods[one.number].isdisjoint(pods[other.number])


def _taken(server: Any, home: str) -> list[tuple[str, str, str]]:
    """Port, address and host that a server takes, for each of its hosts."""
    port = server.get("port") if isinstance(server, dict) else None
    if not isinstance(port, dict) or port.get("number") is None:
        return []
    return [(repr(port["number"]), repr(server.get("bind")), host) for host in sorted(_hosts(server, home))]


def _hosts(server: dict[str, Any], home: str) -> set[str]:
    listed = server.get("hosts")
    found = set()
    for host in listed if isinstance(listed, list) else ():
        space, slash, name = str(host).rpartition("/")
        found.add(f"{home if space == '.' else space}/{name}" if slash and space != "*" else name)
    return found


# -- outside


def _entries(review: Review, known: Inventory) -> None:
    said: dict[tuple[str, int], list[tuple[Manifest, str]]] = {}
    for entry in known.entries:
        plain = []
        for path, port in entry.each("spec", "ports"):
            number = port.get("number") if isinstance(port, dict) else None
            protocol = str((port.get("protocol") if isinstance(port, dict) else None) or "TCP").upper()
            if protocol == "TCP":
                plain.append((*path, "protocol" if isinstance(port, dict) and "protocol" in port else "number"))
            for _, host in entry.each("spec", "hosts"):
                if isinstance(number, int):
                    _protocols(review, known, entry, (str(host), number), protocol, path, said)
        addresses = entry.get("spec", "addresses")
        allocated = isinstance(entry.document.value.get("status"), dict) and entry.document.value["status"].get("addresses")
        if plain and not addresses and not allocated:
            severity = "info" if in_range(review.options.source_version, "1.25", None) else None
            what = "it has ports of TCP and no address, so the port catches what goes to every host; from 1.25 on istiod gives it an address where proxies answer DNS"
            review.say(
                "MP099", entry, *plain, severity=severity, what=what, remedy="Name its addresses, or the protocol if it is TLS or HTTP."
            )


def _protocols(
    review: Review,
    known: Inventory,
    entry: Manifest,
    key: tuple[str, int],
    protocol: str,
    path: Path,
    said: dict[tuple[str, int], list[tuple[Manifest, str]]],
) -> None:
    """Several ServiceEntries that say another protocol of one port of a host."""
    seen = exports(entry, known.home(entry))
    others = [
        one for one, spoken in said.get(key, ()) if spoken != protocol and one is not entry and share(seen, exports(one, known.home(one)))
    ]
    if others:
        what = f"{names([str(one) for one in others])} says another protocol than {protocol} of port {key[1]} of {key[0]}"
        review.say("MP081", entry, (*path, "protocol"), what=what, effect="clients see one of them")
    said.setdefault(key, []).append((entry, protocol))


# -- patches and telemetry


def _patches(review: Review, patch: Manifest) -> None:
    ranked = bool(patch.get("spec", "priority"))
    relative: list[Path] = []
    sure = True
    versioned: list[Path] = []
    for path, _ in patch.each("spec", "configPatches"):
        operation, part = (str(patch.get(*path, *where) or "") for where in (("patch", "operation"), ("applyTo",)))
        place = (*path, "patch", "operation")
        if operation == "REPLACE" and part not in ("HTTP_FILTER", "NETWORK_FILTER"):
            review.say(
                "MP095",
                patch,
                place,
                severity="error",
                what=f"REPLACE acts on HTTP_FILTER and NETWORK_FILTER alone, not on {part}",
                remedy="Write MERGE.",
            )
        elif operation in ("ADD", "REMOVE") and part in _PARTS:
            review.say(
                "MP095",
                patch,
                place,
                severity="error",
                what=f"{operation} is ignored for {part}",
                remedy="Patch the VIRTUAL_HOST or write MERGE.",
            )
        elif operation in _RELATIVE and operation != "MERGE" and not ranked:
            relative.append(place)
            sure = sure and operation != "REPLACE" and _built_in(patch, path)
            if patch.get(*path, "match", "proxy", "proxyVersion"):
                versioned.append((*path, "match", "proxy", "proxyVersion"))
    if relative:
        shown = names(sorted({str(patch.get(*place)) for place in relative}))
        what = f"{shown} is relative to what other EnvoyFilters wrote, and no priority says which comes first"
        what += "; with a proxyVersion it may not apply during an upgrade" if versioned else ""
        severity = "info" if sure and not versioned else None
        review.say(
            "MP095", patch, *relative, *versioned, severity=severity, what=what, remedy="Set spec.priority, or write INSERT_FIRST or ADD."
        )


def _built_in(patch: Manifest, path: Path) -> bool:
    """Whether a patch refers to a filter that istiod writes itself, so that it is always there."""
    chain = (*path, "match", "listener", "filterChain", "filter")
    named = patch.get(*chain, "subFilter", "name") or patch.get(*chain, "name")
    return named in ("envoy.filters.http.router", "envoy.filters.network.http_connection_manager", "envoy.filters.network.tcp_proxy")


def _providers(review: Review, telemetry: Manifest) -> None:
    for path, tracing in telemetry.each("spec", "tracing"):
        if (
            isinstance(tracing, dict)
            and not tracing.get("providers")
            and not tracing.get("disableSpanReporting")
            and "randomSamplingPercentage" not in tracing
        ):
            what = "its tracing names no provider, so that it is ignored unless the mesh has a default one"
            review.say("MP099", telemetry, path, what=what, remedy="Name the provider of meshConfig.extensionProviders.")
        for place, provider in telemetry.each(*path, "providers"):
            name = str(provider.get("name", "")) if isinstance(provider, dict) else ""
            if name.lower() in ("lightstep", "opencensus", "opencensusagent"):
                since = {"lightstep": "1.27"}.get(name.lower(), "1.25")
                review.say(
                    "MP082",
                    telemetry,
                    (*place, "name"),
                    what=f"the provider {name}",
                    gone=f"Istio removed it with {since}",
                    instead="opentelemetry",
                )


def _claims(review: Review, known: Inventory, route: Manifest) -> None:
    """Routing by claims of a token wants the gateway to check tokens."""
    checked = list(review.of("RequestAuthentication", group="security.istio.io"))
    for path, _ in route.each("spec", "http"):
        for place, match in route.each(*path, "match"):
            for member in ("headers", "withoutHeaders"):
                listed = match.get(member) if isinstance(match, dict) else None
                claim = (
                    next((key for key in listed if str(key).startswith("@request.auth.claims")), None) if isinstance(listed, dict) else None
                )
                if claim is not None and not any(_covers_gateway(known, route, one) for one in checked):
                    what = f"it routes by {claim}, and no RequestAuthentication of the bundle checks tokens at its gateway"
                    review.say(
                        "MP099",
                        route,
                        (*place, member, claim),
                        what=what,
                        remedy="Add a RequestAuthentication for the gateway; without one no request matches.",
                    )


def _covers_gateway(known: Inventory, route: Manifest, check: Manifest) -> bool:
    labels = {str(key): str(value) for key, value in check.mapping("spec", "selector", "matchLabels").items()}
    for _, name in route.each("spec", "gateways"):
        space, _, plain = str(name).rpartition("/")
        gateway = known.named.get(("Gateway", space or known.home(route), plain))
        if gateway is None or check.get("spec", "targetRefs") or labels.items() <= _labels(gateway).items():
            return True
    return False


def _user(review: Review, workload: Manifest) -> None:
    """The user 1337 is the sidecar's: what runs under it goes past the sidecar."""
    template: Path = ("spec",) if workload.kind == "Pod" else ("spec", "template", "spec")
    places = [(*template, "securityContext", "runAsUser")]
    for kind in ("containers", "initContainers"):
        places += [
            (*path, "securityContext", "runAsUser")
            for path, item in workload.each(*template, kind)
            if isinstance(item, dict) and item.get("name") not in ("istio-proxy", "istio-init", "istio-validation")
        ]
    gateway = any(isinstance(item, dict) and item.get("name") == "istio-proxy" for _, item in workload.each(*template, "containers"))
    for place in places:
        if workload.get(*place) == 1337 and not gateway:
            review.say(
                "MP099", workload, place, what="it runs as user 1337, whose traffic goes past the sidecar", remedy="Choose another user."
            )
