"""Ports of Services: what their names and appProtocol say to the mesh (Istio reference 8.6; Linkerd reference 2.11 and 2.12)."""

from __future__ import annotations

from meshport.ir.world import Service, Workload
from meshport.lints.inventory import SYSTEM, Inventory, text_of
from meshport.lints.manifests import Review, names
from meshport.mapping.table import in_range

_ISTIO = {"http", "http2", "https", "tcp", "tls", "grpc", "grpc-web", "mongo", "mysql", "redis", "udp", "hbone", "http_connect"}
_LINKERD = {"http", "kubernetes.io/h2c", "linkerd.io/opaque", "linkerd.io/tcp"}


def review(review: Review, known: Inventory) -> None:
    """Protocols that are guessed, and Services that disagree about a port of the same pods."""
    mesh = review.options.source
    for service in known.world.services.values():
        if mesh == "istio":
            _istio(review, service)
        elif mesh == "linkerd" and in_range(review.options.source_version, "2.18", None):
            _linkerd(review, service)
    if mesh == "istio":
        said: set[tuple[int, ...]] = set()
        for workload in known.world.workloads:
            _disagreeing(review, known, workload, said)


def _spoken(name: str, app_protocol: str) -> str:
    """The protocol that Istio reads from a port; "" where it looks into the bytes."""
    if app_protocol:
        return app_protocol.lower()
    low = name.lower()
    return "grpc-web" if low.startswith("grpc-web") else low.partition("-")[0] if low.partition("-")[0] in _ISTIO else ""


def _istio(review: Review, service: Service) -> None:
    if service.ref.namespace in SYSTEM or "istio" in service.labels:
        return
    if service.external_name:
        bad = [port for port in service.ports if port.protocol == "TCP" and _spoken(port.name, port.app_protocol) in ("", "tcp")]
        if bad:
            what = f"an ExternalName Service says no protocol but TCP for port {text_of([port.number for port in bad])}"
            effect = "without a protocol of its own the port catches the traffic of every host on that port"
            review.say(
                "MP081",
                review.manifests[service.document],
                *(("spec", "ports", port.position, "port") for port in bad),
                what=what,
                effect=effect,
            )
        return
    bad = [port for port in service.ports if port.protocol == "TCP" and not _spoken(port.name, port.app_protocol)]
    if bad:
        shown = names([f"{port.number} ({port.name})" if port.name else str(port.number) for port in bad])
        what, effect = (
            f"the name of port {shown} says no protocol",
            "Istio looks at the first bytes, and waits for them where the server speaks first",
        )
        places = [("spec", "ports", port.position, "name" if port.name else "port") for port in bad]
        review.say("MP081", review.manifests[service.document], *places, severity="info", what=what, effect=effect)


def _linkerd(review: Review, service: Service) -> None:
    for port in service.ports:
        if port.app_protocol and port.app_protocol.lower() not in _LINKERD and port.protocol == "TCP":
            what = f"appProtocol {port.app_protocol} of port {port.number} is none that Linkerd knows"
            path = ("spec", "ports", port.position, "appProtocol")
            effect = "the port is opaque since 2.18: no routes, retries or HTTP metrics"
            review.say("MP081", review.manifests[service.document], path, what=what, effect=effect)


def _disagreeing(review: Review, known: Inventory, workload: Workload, said: set[tuple[int, ...]]) -> None:
    """Services in front of the same pods that say different things of one port."""
    by_port: dict[int, list[tuple[Service, str, int]]] = {}
    by_target: dict[str, list[tuple[Service, int, int]]] = {}
    for service in known.world.services_of(workload):
        for port in service.ports:
            if port.protocol not in ("UDP", "SCTP"):
                spoken = _spoken(port.name, port.app_protocol) or "tcp"
                by_port.setdefault(port.number, []).append((service, spoken, port.position))
                by_target.setdefault(str(port.target), []).append((service, port.number, port.position))
    for number, listed in by_port.items():
        protocols = sorted({spoken for _, spoken, _ in listed})
        if len(protocols) > 1 and (mark := (0, number, *sorted(item.document for item, _, _ in listed))) not in said:
            said.add(mark)
            what = f"{names([str(item.ref) for item, _, _ in listed])} say {names(protocols)} of port {number} of the same pods ({workload.kind} {workload.ref})"
            last = listed[-1]
            path = ("spec", "ports", last[2], "port")
            review.say("MP081", review.manifests[last[0].document], path, what=what, effect="the proxy of the pods takes one of them")
    for target, found in by_target.items():
        numbers = sorted({number for _, number, _ in found})
        if (
            len(numbers) > 1
            and len({item.ref for item, _, _ in found}) > 1
            and (mark := (1, *sorted(item.document for item, _, _ in found))) not in said
        ):
            said.add(mark)
            what = f"{names([str(item.ref) for item, _, _ in found])} send ports {text_of(numbers)} to port {target} of the same pods ({workload.kind} {workload.ref})"
            path = ("spec", "ports", found[-1][2], "port")
            review.say(
                "MP081",
                review.manifests[found[-1][0].document],
                path,
                severity="info",
                what=what,
                effect="metrics and policies by port of the pod cannot tell them apart",
            )
