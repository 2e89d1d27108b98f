"""Linkerd, read and written. The files bear the IR's names; each holds how Linkerd says that part, both ways."""

from __future__ import annotations

from meshport.dialects import gateway_accounts, installation, kubernetes, native_sidecars, near_endpoints, node_local
from meshport.dialects.base import Options
from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api.routes import GATEWAYS
from meshport.dialects.linkerd import (
    allowing,
    default_retries,
    exposure,
    inbound,
    installed,
    membership,
    modern,
    ports,
    proxies,
    ratelimits,
    resilience,
    routing,
    telemetry,
    transport,
)
from meshport.dialects.output import Output
from meshport.effective.access import Access
from meshport.ir.base import Fact
from meshport.ir.model import IR, Loss
from meshport.mapping.bound import Bound


class Linkerd:
    name = "linkerd"
    reads = ("linkerd", "gateway-api", "smi")

    def lift(self, bound: Bound, options: Options) -> IR:
        """What the bundle's Linkerd configuration does."""
        ir = IR("linkerd", kubernetes.lift(bound, options.default_namespace), raw_paths=True, open_probes=True)
        by_kind: dict[tuple[str, str], list[int]] = {}
        for number, document in enumerate(bound.bundle.documents):
            if bound.mesh[number] and number not in bound.broken:
                by_kind.setdefault((document.group, bound.kinds.get(number, document.kind)), []).append(number)
        documents = bound.bundle.documents
        for numbers in by_kind.values():  # rules follow the names of what grants them, not where it stood
            numbers.sort(key=lambda number: (documents[number].namespace or options.default_namespace, documents[number].name))
        membership.lift(bound, ir)
        ports.lift(bound, ir)
        installed.ports(bound, ir)
        ports.of_bytes(ir, bound.releases.get(self.name) or bound.table.versions(self.name)[-1])
        proxies.lift(bound, ir)
        native_sidecars.lift(bound, ir, proxies.NATIVE, namespaces=True)
        telemetry.lift(bound, ir)
        inbound.admissions(bound, ir)
        inbound.servers(bound, by_kind, options, ir)
        routed = [
            number
            for (_, kind), numbers in by_kind.items()
            if kind in ("ServiceProfile", "TrafficSplit", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", *GATEWAYS)
            for number in numbers
        ]
        routing.lift(bound, sorted(routed), ir.world, options, ir)
        ports.beside_routes(ir)
        for (group, _), numbers in sorted(by_kind.items()):
            if group in ("access.smi-spec.io", "specs.smi-spec.io"):
                ir.losses.extend(_unread(bound, number) for number in numbers)
        exposure.lift(bound, by_kind, options, ir)
        ratelimits.lift(bound, by_kind, options, ir)
        installed.settings(bound, ir)
        return ir

    def lower(self, ir: IR, out: Output, options: Options) -> None:
        """The IR in Linkerd's words; what is Linkerd's already, in the words of the release that is wanted."""
        if options.source == self.name:
            modern.lower(ir, out, options, self.reads)
            return
        gateway_accounts.succeed(ir, out.bundle, options)
        access = Access(ir, Fact("all-unauthenticated"))
        membership.lower(ir, out)
        defaults = transport.lower(ir, out, options, access)
        allowing.lower(ir, out, options, access, defaults)
        ratelimits.lower(ir, out, options, access)
        routing.lower(ir, out, options)
        default_retries.lower(ir, out, options)
        resilience.lower(ir, out, options)
        exposure.lower(ir, out, options)
        ports.lower(ir, out, options)
        proxies.lower(ir, out)
        native_sidecars.lower(ir, out, proxies.NATIVE, options)
        telemetry.lower(ir, out)
        near_endpoints.lower(ir, out)
        node_local.lower(ir, out)
        installation.lower(ir, out)


def _unread(bound: Bound, number: int) -> Loss:
    """An SMI resource that Linkerd never read: its extension reads splits alone."""
    root = Cursor.root(bound, number)
    facts = tuple(
        fact for key, place in root.items() if key not in ("apiVersion", "kind", "metadata", "status") for _, fact in place.leaves()
    )
    return Loss("MP336", facts, number, {"why": "Linkerd reads TrafficSplit alone of SMI"})


DIALECT = Linkerd()
