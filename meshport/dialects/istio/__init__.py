"""Istio, read and written. The files bear the IR's names; each holds how Istio says that part, both ways."""

from __future__ import annotations

from dataclasses import replace

from meshport.dialects import installation, kubernetes, native_sidecars, node_local
from meshport.dialects.base import Options
from meshport.dialects.istio import (
    ambient,
    authorization,
    auto_mtls,
    beyond,
    exposure,
    membership,
    mesh_config,
    modern,
    normalisation,
    ports,
    proxies,
    ratelimits,
    resilience,
    routing,
    scope,
    telemetry,
    tokens,
    transport,
    unproxied,
    waypoints,
)
from meshport.dialects.output import Output
from meshport.ir.model import IR
from meshport.mapping.bound import Bound

GROUPS = ("networking.istio.io", "gateway.networking.k8s.io", "gateway.networking.x-k8s.io")
"""The API groups of what says where requests go."""


class Istio:
    name = "istio"
    reads = ("istio", "gateway-api")

    def lift(self, bound: Bound, options: Options) -> IR:
        """What the bundle's Istio configuration does."""
        ir = IR("istio", kubernetes.lift(bound, options.default_namespace))
        membership.lift(bound, ir, options)
        mesh_config.membership(bound, ir)
        unread = scope.unread(bound, ir) if options.source == self.name else set()
        by_kind: dict[tuple[str, str], list[int]] = {}
        for number, document in enumerate(bound.bundle.documents):
            if not bound.mesh[number] or number in bound.broken:
                continue
            if document.namespace in unread and (document.group.endswith(".istio.io") or scope.of_the_mesh(document)):
                scope.idle(bound, number, ir)
            else:
                by_kind.setdefault((document.group, bound.kinds.get(number, document.kind)), []).append(number)
        ports.lift(bound, ir)
        mesh_config.ports(bound, ir)
        proxies.lift(bound, ir)
        native_sidecars.lift(bound, ir, proxies.NATIVE, namespaces=False)
        transport.lift(bound, by_kind.get(("security.istio.io", "PeerAuthentication"), []), options, ir)
        auto_mtls.apply(bound, ir, options)
        stood = waypoints.lift(bound, ir, options.default_namespace)
        authorization.lift(bound, by_kind.get(("security.istio.io", "AuthorizationPolicy"), []), options, ir, stood)
        tokens.lift(bound, by_kind.get(("security.istio.io", "RequestAuthentication"), []), ir, options.root_namespace, stood)
        auto_mtls.close(bound, ir, options, stood.ambient)
        normalisation.apply(bound, ir, options)
        routed = [numbers for (group, _), numbers in by_kind.items() if group in GROUPS]
        routing.lift(bound, sorted(number for numbers in routed for number in numbers), ir.world, options, ir)
        mesh_config.retries(bound, ir)
        unproxied.settle(ir, stood)
        exposure.lift(bound, by_kind, options, ir)
        ratelimits.lift(bound, by_kind, options, ir)
        telemetry.lift(bound, by_kind, options, ir)
        mesh_config.egress(bound, ir, options)
        exposure.spare(ir)
        beyond.settle(ir, options)
        unproxied.settle_beyond(ir, stood)
        mesh_config.settings(bound, ir, scope.decided(bound, ir))
        return ir

    def lower(self, ir: IR, out: Output, options: Options) -> None:
        """The IR in Istio's words; what is Istio's already, in those of the release and the data plane that are wanted."""
        if options.source == self.name:
            modern.lower(ir, out, options, self.reads)
            return
        if options.data_plane == "ambient" and options.routes is None:
            options = replace(options, routes="gateway-api")  # what waypoints read without reserve
        membership.lower(ir, out, options)
        authorization.lower(ir, out, options)
        routing.lower(ir, out, options)
        resilience.lower(ir, out, options)
        exposure.lower(ir, out, options)
        ratelimits.lower(ir, out, options)
        telemetry.lower(ir, out, options)
        ports.lower(ir, out, options)
        if options.data_plane == "ambient":
            ambient.lower(ir, out, options, None, [item for item in ir.ports if item.kind == "skip-inbound"])
            unproxied.unserved(ir, out, options)
        proxies.lower(ir, out)
        native_sidecars.lower(ir, out, proxies.NATIVE, options)
        node_local.lower(ir, out)
        installation.lower(ir, out)


DIALECT = Istio()
