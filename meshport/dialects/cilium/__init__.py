"""Cilium, read and written. The files bear the IR's names; each holds how Cilium says that part, both ways.

Cilium governs every pod of a cluster by its labels: nothing is enrolled, and a pod's identity is its label set (docs.cilium.io, security/policy).
"""

from __future__ import annotations

from meshport.dialects import installation, kubernetes, near_endpoints, node_local, own_names
from meshport.dialects.base import Options
from meshport.dialects.cilium import (
    apart,
    authorization,
    clusters,
    default_retries,
    envoy_routes,
    everywhere,
    exposure,
    kept,
    membership,
    modern,
    network_policies,
    ratelimits,
    resilience,
    routing,
    spoken,
    transport,
)
from meshport.dialects.output import Output
from meshport.ir.model import IR
from meshport.mapping.bound import Bound


class Cilium:
    name = "cilium"
    reads = ("cilium", "gateway-api")

    def lift(self, bound: Bound, options: Options) -> IR:
        """What the bundle's Cilium configuration does."""
        ir = IR("cilium", kubernetes.lift(bound, options.default_namespace), enrols=False)
        by_kind: dict[tuple[str, str], list[int]] = {}
        for number, document in enumerate(bound.bundle.documents):
            if bound.mesh[number] and number not in bound.broken:
                by_kind.setdefault((document.group, bound.kinds.get(number, document.kind)), []).append(number)
        membership.lift(bound, ir, options)
        transport.lift(bound, ir)
        authorization.lift(bound, by_kind, options, ir)
        routed = [numbers for (group, _), numbers in by_kind.items() if group == "gateway.networking.k8s.io"]
        routing.lift(bound, sorted(number for numbers in routed for number in numbers), ir.world, options, ir)
        envoy_routes.lift(bound, by_kind, options, ir)
        clusters.lift(bound, by_kind, options, ir)
        ratelimits.lift(bound, by_kind, options, ir)
        exposure.lift(bound, by_kind, options, ir)
        return ir

    def keep(self, bound: Bound, ir: IR, out: Output, options: Options) -> IR:
        """Keep the network policies beside another mesh; what that mesh still has to say."""
        left = spoken.left(kept.keep(bound, ir, out, options), out, options)
        everywhere.report(left, out)
        return left

    def apart(self, bound: Bound, ir: IR, out: Output, options: Options) -> IR:
        """Let those stay that are for pods outside the mesh alone; what another mesh still has to say."""
        left = spoken.replaced(apart.apart(bound, ir, out), out, options)
        everywhere.report(left, out)
        return left

    def in_force(self, ir: IR, options: Options) -> IR:
        """What is kept, as a request in the other mesh meets it."""
        return kept.in_force(ir, options)

    def lower(self, ir: IR, out: Output, options: Options) -> None:
        """The IR in Cilium's words; what is Cilium's already, in the words of the release that is wanted."""
        if options.source == self.name:
            modern.lower(ir, out, options, self.reads)
            return
        membership.lower(ir, out, options)
        transport.lower(ir, out, options)
        authorization.lower(ir, out, options)
        routing.lower(ir, out, options)
        resilience.lower(ir, out, options)
        default_retries.lower(ir, out, options)
        ratelimits.lower(ir, out, options)
        exposure.lower(ir, out, options)
        own_names.settle(out, always=True)  # policies that stand there are changed in what follows
        network_policies.lower(ir, out, options)
        near_endpoints.lower(ir, out)
        node_local.lower(ir, out)
        installation.lower(ir, out)


DIALECT = Cilium()
