"""VirtualServices, DestinationRules, Gateways and Sidecars that do something else than they look like (Istio reference 3.1 to 3.5, and its gotchas)."""

from __future__ import annotations

from typing import Any

from meshport.lints.inventory import Inventory, ambient, exports, in_mesh, share, text_of
from meshport.lints.manifests import Manifest, Path, Review, names

_BLOCKS = ("connectionPool", "loadBalancer", "outlierDetection", "tls")


def review(review: Review, known: Inventory) -> None:
    """Two objects for one host, rules that no request reaches, blocks that replace others, TLS without a CA, and empty blocks."""
    _same_host(review, known)
    for route in review.of("VirtualService", group="networking.istio.io"):
        for protocol in ("http", "tls", "tcp"):
            _unreached(review, route, protocol)
        _faults(review, route)
        _clients(review, known, route)
        _ports(review, known, route)
    for rule in review.of("DestinationRule", group="networking.istio.io"):
        _destination_rule(review, rule)
    for sidecar in review.of("Sidecar", group="networking.istio.io"):
        policy = sidecar.get("spec", "outboundTrafficPolicy")
        if isinstance(policy, dict) and "mode" not in policy:
            review.say(
                "MP085",
                sidecar,
                ("spec", "outboundTrafficPolicy"),
                what="outboundTrafficPolicy without a mode",
                means="REGISTRY_ONLY",
                instead="mode",
            )
    for gateway in review.of("Gateway", group="networking.istio.io"):
        for path, server in gateway.each("spec", "servers"):
            tls = server.get("tls") if isinstance(server, dict) else None
            if isinstance(tls, dict) and "mode" not in tls and not tls.get("httpsRedirect"):
                review.say("MP085", gateway, (*path, "tls"), what="tls without a mode", means="PASSTHROUGH", instead="mode")


def _same_host(review: Review, known: Inventory) -> None:
    """VirtualServices of the mesh, and HTTPRoutes on the Service, for one host."""
    by_host: dict[str, list[tuple[Manifest, Path]]] = {}
    for route in review.standing("VirtualService", group="networking.istio.io"):
        if in_mesh(route.get("spec", "gateways")):
            for path, host in route.each("spec", "hosts"):
                if isinstance(host, str) and host != "*":
                    by_host.setdefault(known.full(host, known.home(route)), []).append((route, path))
    for host, listed in by_host.items():
        for number, (route, path) in enumerate(listed):
            seen = exports(route, known.home(route))
            others = [one for one, _ in listed[:number] if one is not route and share(seen, exports(one, known.home(one)))]
            if others:
                ranked = all(("*" in seen) != ("*" in exports(one, known.home(one))) for one in others)
                what = (
                    "clients that see both follow the one of their own namespace"
                    if ranked
                    else "clients in the mesh follow one of them, the oldest"
                )
                review.say(
                    "MP076",
                    route,
                    path,
                    severity="info" if ranked else None,
                    host=host,
                    others=names([str(one) for one in others]),
                    what=what,
                )
    for route in review.standing("HTTPRoute", "GRPCRoute"):
        for path, parent in route.each("spec", "parentRefs"):
            if isinstance(parent, dict) and parent.get("kind") == "Service":
                host = f"{parent.get('name')}.{parent.get('namespace') or known.home(route)}{known.domain}"
                if others := [one for one, _ in by_host.get(host, ())]:
                    what = "which of them holds is not defined"
                    review.say("MP076", route, (*path, "name"), host=host, others=names([str(one) for one in others]), what=what)


# -- rules that an earlier one covers


def _unreached(review: Review, route: Manifest, protocol: str) -> None:
    """Of several rules the first that matches is taken."""
    before: list[tuple[int, dict[str, Any]]] = []
    for number, (path, rule) in enumerate(route.each("spec", protocol)):
        if not isinstance(rule, dict):
            continue
        listed = rule.get("match")
        matches = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) and listed else [{}]
        covered = [next((at for at, other in before if covers(other, match)), None) for match in matches]
        if all(at is not None for at in covered):
            after = names([f"{protocol}[{at}]" for at in sorted({at for at in covered if at is not None})])
            review.say("MP078", route, path, rule=f"{protocol}[{number}]", after=after)
        else:
            for index, at in enumerate(covered):
                inner = next(
                    (
                        one
                        for one in range(index)
                        if at is None and matches[one] and covers(matches[one], matches[index]) and not _plain(matches[one])
                    ),
                    None,
                )
                if at is not None or inner is not None:
                    after = f"{protocol}[{at}]" if at is not None else f"match[{inner}] beside it"
                    review.say(
                        "MP078", route, (*path, "match", index), severity="info", rule=f"{protocol}[{number}].match[{index}]", after=after
                    )
        before += [(number, match) for match in matches]


def _plain(match: dict[str, Any]) -> bool:
    return set(match) - {"name"} == {"uri"} and match["uri"] == {"prefix": "/"}


def covers(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether every request that `other` matches is one that `one` matches, as far as can be seen."""
    for key, wanted in one.items():
        if key in ("name", "statPrefix", "ignoreUriCase") or wanted in (None, {}, []):
            continue
        there = other.get(key)
        if key == "uri":
            if one.get("ignoreUriCase", False) != other.get("ignoreUriCase", False) or not _text_covers(wanted, there, root=True):
                return False
        elif key in ("headers", "queryParams", "sourceLabels", "withoutHeaders"):
            if (
                not isinstance(wanted, dict)
                or not isinstance(there, dict)
                or any(there.get(name, _NOTHING) != item for name, item in wanted.items())
            ):
                return False
            if key == "withoutHeaders" and wanted != there:
                return False
        elif isinstance(wanted, dict) and set(wanted) & {"exact", "prefix", "regex"}:
            if not _text_covers(wanted, there):
                return False
        elif isinstance(wanted, list):
            if not isinstance(there, list) or not there or not all(item in wanted for item in there):
                return False
        elif wanted != there:
            return False
    return True


_NOTHING = object()


def _text_covers(one: Any, other: Any, *, root: bool = False) -> bool:
    if not isinstance(one, dict):
        return False
    if root and one == {"prefix": "/"}:
        return True
    if not isinstance(other, dict):
        return False
    prefix = one.get("prefix")
    if isinstance(prefix, str):
        text = other.get("prefix", other.get("exact"))
        return isinstance(text, str) and text.startswith(prefix)
    return one == other


# -- matches that ask for something else than they look like


def _clients(review: Review, known: Inventory, route: Manifest) -> None:
    """`sourceLabels` are of the client's own pod: a gateway's where the rules are a gateway's, and nobody's in ambient."""
    for protocol in ("http", "tls", "tcp"):
        for path, _ in route.each("spec", protocol):
            for place, match in route.each(*path, "match"):
                if not isinstance(match, dict) or not match.get("sourceLabels"):
                    continue
                if match.get("gateways"):
                    what, remedy = (
                        "sourceLabels are not looked at beside gateways, so that the match is for every client",
                        "Take gateways out of the match.",
                    )
                elif not in_mesh(route.get("spec", "gateways")):
                    what, remedy = (
                        "sourceLabels are held against the gateway's own pods, for the rules are for no client in the mesh",
                        "Add mesh to spec.gateways.",
                    )
                elif ambient(review, known.home(route)):
                    what, remedy = (
                        "sourceLabels are not looked at by a waypoint, so that the match is for every client",
                        "Tell the clients apart by a header.",
                    )
                else:
                    continue
                review.say("MP098", route, (*place, "sourceLabels"), what=what, remedy=remedy)


def _ports(review: Review, known: Inventory, route: Manifest) -> None:
    """A port that a match asks for is one of the Service: no request in the mesh comes to another."""
    hosts = [known.host(str(host), known.home(route)).service for _, host in route.each("spec", "hosts")]
    services = [service for service in hosts if service is not None and service.ports]
    if set(route.get("spec", "gateways") or ["mesh"]) != {"mesh"} or not services or len(services) < len(hosts):
        return
    for protocol in ("http", "tls", "tcp"):
        for path, _ in route.each("spec", protocol):
            for place, match in route.each(*path, "match"):
                number = match.get("port") if isinstance(match, dict) else None
                if isinstance(number, int) and all(service.port(number) is None for service in services):
                    why = f"it has {text_of([port.number for service in services for port in service.ports])}, and no request comes to another"
                    what = f"port {number} of {names([f'Service {service.ref}' for service in services])}"
                    review.say("MP074", route, (*place, "port"), severity="warning", what=what, why=why)


# -- values


def _faults(review: Review, route: Manifest) -> None:
    for path, _ in route.each("spec", "http"):
        for kind in ("delay", "abort"):
            fault = route.get(*path, "fault", kind)
            if isinstance(fault, dict) and "percentage" not in fault and "percent" not in fault:
                review.say(
                    "MP085",
                    route,
                    (*path, "fault", kind),
                    what=f"a fault ({kind}) without a percentage",
                    means="0 %",
                    instead="percentage.value",
                )
        for steps in (("fault", "delay", "percentage"), ("fault", "abort", "percentage"), ("mirrorPercentage",)):
            if route.get(*path, *steps) == {}:
                review.say("MP085", route, (*path, *steps), what=f"an empty {steps[-1]}", means="0 %", instead="value")


def _destination_rule(review: Review, rule: Manifest) -> None:
    chosen = bool(rule.get("spec", "workloadSelector"))
    policies: list[Path] = [("spec", "trafficPolicy")] + [(*path, "trafficPolicy") for path, _ in rule.each("spec", "subsets")]
    whole = rule.mapping("spec", "trafficPolicy")
    for policy in policies:
        block = {**whole, **rule.mapping(*policy)}  # a subset takes what it does not say itself from the host
        _tls(review, rule, (*policy, "tls"), chosen)
        for path, port in rule.each(*policy, "portLevelSettings"):
            _tls(review, rule, (*path, "tls"), chosen)
            lost = [name for name in _BLOCKS if block.get(name) and isinstance(port, dict) and name not in port]
            if lost and isinstance(port, dict):
                number = port.get("port", {}).get("number") if isinstance(port.get("port"), dict) else None
                review.say("MP086", rule, (*path, "port"), port=number, lost=names(lost))


def _tls(review: Review, rule: Manifest, path: Path, chosen: bool) -> None:
    tls = rule.get(*path)
    if not isinstance(tls, dict):
        return
    if "mode" not in tls:
        review.say("MP085", rule, path, what="tls without a mode", means="DISABLE, plaintext", instead="mode")
    elif tls.get("mode") in ("SIMPLE", "MUTUAL") and not tls.get("caCertificates") and not (tls.get("credentialName") and chosen):
        host = rule.get("spec", "host")
        if tls.get("insecureSkipVerify") is True:
            review.say(
                "MP084", rule, (*path, "insecureSkipVerify"), host=host, what="insecureSkipVerify is set: whoever answers is believed"
            )
        else:
            what = "no CA is named: the certificate is checked against the system's CAs, and not at all where VERIFY_CERTIFICATE_AT_CLIENT is off"
            what += "; credentialName counts for gateways alone" if tls.get("credentialName") else ""
            review.say("MP084", rule, (*path, "mode"), severity="info", host=host, what=what)
