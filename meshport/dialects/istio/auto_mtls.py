"""Automatic mutual TLS switched off (meshConfig.enableAutoMtls: false; istio.io/latest/docs/reference/config/istio.mesh.v1alpha1).

Sidecars then send plaintext unless a DestinationRule says ISTIO_MUTUAL, so that nobody shows an identity: what admits plaintext is as if mTLS were disabled
there. The other meshes and Istio's ztunnel encrypt between their pods whatever is said, and know every caller.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from meshport.dialects import installation
from meshport.dialects.base import Options
from meshport.ir.base import Fact, PodSet, Ref
from meshport.ir.model import IR, Loss
from meshport.ir.transport import TransportRule
from meshport.mapping.bound import Bound

CHART, SETTING, FEATURE = "istiod", "meshConfig.enableAutoMtls", "transport.auto-mtls"
MUTUAL = {"ISTIO_MUTUAL", "MUTUAL"}


def apply(bound: Bound, ir: IR, options: Options) -> None:
    """Read every port that admits plaintext as one without mTLS; where some clients are told to use it, or ports refuse plaintext, say what is not known."""
    found = installation.settings(bound, ir.world, CHART, {SETTING: FEATURE})
    if not found or found[-1].value.value is not False or (options.target == ir.mesh and options.data_plane != "ambient"):
        return
    said, document = found[-1].value, found[-1].document
    told = _told(bound)
    strict = [rule for rule in ir.transport if any(one.value == "strict" for one in (rule.mode, *rule.ports.values()) if one is not None)]
    if not told:
        plain = {"permissive": said.holding("disable")}
        ir.transport = [_plain(rule, plain) for rule in ir.transport]
        if not any(rule.level == "mesh" and rule.mode is not None for rule in ir.transport):
            ref = Fact(Ref(options.root_namespace, "meshConfig"), said.src, "transport.mode")
            ir.transport.append(TransportRule(ref, "mesh", Fact(PodSet("")), said.holding("disable"), {}, document))
    if told or strict:
        why = f"{', '.join(told)} lets some clients use it" if told else "ports that refuse plaintext refused everybody"
        ir.losses.append(Loss("MP299", (said,), document, {"why": why}))


def _plain(rule: TransportRule, plain: dict[str, Fact[str]]) -> TransportRule:
    def read(mode: Fact[str]) -> Fact[str]:
        other = plain.get(mode.value)
        return mode if other is None else other.also(mode)

    return replace(
        rule, mode=read(rule.mode) if rule.mode is not None else None, ports={port: read(mode) for port, mode in rule.ports.items()}
    )


def _told(bound: Bound) -> list[str]:
    """The DestinationRules that tell clients to use mutual TLS."""
    return [
        f"DestinationRule {Ref(document.namespace or '', document.name)}"
        for number, document in enumerate(bound.bundle.documents)
        if document.kind == "DestinationRule" and bound.mesh[number] and number not in bound.broken and _mutual(document.value.get("spec"))
    ]


def _mutual(value: Any) -> bool:
    if isinstance(value, dict):
        tls = value.get("tls")
        return (isinstance(tls, dict) and tls.get("mode") in MUTUAL) or any(map(_mutual, value.values()))
    return isinstance(value, list) and any(map(_mutual, value))
