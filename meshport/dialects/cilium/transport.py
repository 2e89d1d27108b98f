"""Encryption and the demand for an identity, written for Cilium: settings of the installation, and policies that admit meshed peers alone."""

from __future__ import annotations

from meshport.dialects import installation
from meshport.dialects.base import Options
from meshport.dialects.output import Output
from meshport.ir.authorization import Policy
from meshport.ir.base import PodSet, Ref
from meshport.ir.model import IR
from meshport.mapping.bound import Bound

SETTINGS = {
    "encryption.enabled": "transport.node-encryption",
    "encryption.type": "transport.node-encryption",
    "encryption.nodeEncryption": "transport.node-encryption",
    "authentication.enabled": "transport.handshake",
    "authentication.mutual.spire.enabled": "transport.handshake",
    "authentication.mutual.spire.install.enabled": "transport.handshake",
    "hubble.enabled": "flows.hubble",
    "hubble.relay.enabled": "flows.hubble",
    "hubble.ui.enabled": "flows.hubble",
    "hubble.metrics.enabled": "flows.hubble",
    "hubble.relay.prometheus.enabled": "flows.hubble",
}


def lift(bound: Bound, ir: IR) -> None:
    """What the installation says: encryption, Hubble, and whether pods that no policy selects are closed."""
    ir.settings = installation.settings(bound, ir.world, "cilium", SETTINGS)
    found = installation.settings(bound, ir.world, "cilium", {"policyEnforcementMode": "inbound.default-policy"})
    closed = installation.setting(found, "policyEnforcementMode")
    if closed is None or closed.value != "always":
        return
    for name, namespace in sorted(ir.world.namespaces.items()):
        if namespace.meshed is not None:  # as a policy without a rule for every pod there would
            subject = closed.holding(PodSet(name))
            ref = closed.holding(Ref(name, "default-deny"))
            ir.policies.append(Policy(ref, closed.holding("allow"), subject, (), found[-1].document, "Helm value policyEnforcementMode"))


def lower(ir: IR, out: Output, options: Options) -> None:
    """Encryption as install settings."""
