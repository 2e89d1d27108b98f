"""Automatic mutual TLS switched off (meshConfig.enableAutoMtls: false; istio.io/latest/docs/reference/config/istio.mesh.v1alpha1).

Sidecars then send plaintext unless a DestinationRule says ISTIO_MUTUAL, so that nobody shows an identity: what admits plaintext is as if mTLS were disabled
there. The other meshes and Istio's ztunnel encrypt between their pods whatever is said, and know every caller.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from meshport.dialects import naming
from meshport.dialects.base import Options
from meshport.dialects.istio import mesh_config
from meshport.dialects.output import Output
from meshport.effective.access import Access
from meshport.ir.authorization import PORT, Condition, Policy, Rule
from meshport.ir.base import Fact, PodSet, Ref, Selector
from meshport.ir.model import IR, Loss
from meshport.ir.transport import TransportRule
from meshport.mapping.bound import Bound

SETTING, FEATURE = "meshConfig.enableAutoMtls", "transport.auto-mtls"
MUTUAL = {"ISTIO_MUTUAL", "MUTUAL"}
KIND = "PeerAuthentication"  # of the denies for ports that refuse everybody
SECURITY = "security.istio.io/v1"


def apply(bound: Bound, ir: IR, options: Options) -> None:
    """Read every port that admits plaintext as one without mTLS; where some clients are told to use it, say what is not known."""
    found = _off(bound, ir, options)
    if found is None:
        return
    said, document = found
    told = _told(bound)
    if not told:
        plain = {"permissive": said.holding("disable")}
        ir.transport = [_plain(rule, plain) for rule in ir.transport]
        if not any(rule.level == "mesh" and rule.mode is not None for rule in ir.transport):
            ref = Fact(Ref(options.root_namespace, "meshConfig"), said.src, "transport.mode")
            ir.transport.append(TransportRule(ref, "mesh", Fact(PodSet("")), said.holding("disable"), {}, document))
        return
    ir.losses.append(Loss("MP299", (said,), document, {"why": f"{', '.join(told)} lets some clients use it"}))


def close(bound: Bound, ir: IR, options: Options, ambient: set[Ref]) -> None:
    """Where no client uses mutual TLS, ports that refuse plaintext refuse everybody: a deny for each workload that has some, but for those in
    `ambient`, whose callers have a name whatever the setting."""
    found = _off(bound, ir, options)
    if found is None or _told(bound):
        return
    said, document = found
    for item in Access(ir, Fact("all-unauthenticated")).workloads:
        rest = item.transport[None].value == "strict"
        apart = {port: mode for port, mode in item.transport.items() if port is not None and (mode.value == "strict") != rest}
        if item.meshed is False or item.workload.ref in ambient or not (rest or apart):
            continue
        named = tuple(Fact((port, port), apart[port].src) for port in sorted(apart))
        ports = (Condition(PORT, None, named) if rest else Condition(PORT, named),) if named else ()
        own = item.workload
        src = said.src | item.transport[None].src
        ir.policies.append(
            Policy(
                Fact(Ref(own.ref.namespace, naming.name(own.ref.name, "refuses-plaintext")), src), Fact("deny", src, "authorization.action"),
                Fact(PodSet(own.ref.namespace, Selector.of(own.labels)), src, "authorization.subject"), (Rule(ports, src=src),), document, KIND,
            )
        )  # fmt: skip


def _off(bound: Bound, ir: IR, options: Options) -> tuple[Fact[Any], int] | None:
    """The setting where it switches automatic mutual TLS off, and the target's proxies are others than the sidecars that go by it."""
    found = mesh_config.setting(bound, ir.world, SETTING, FEATURE)
    stays = options.target == ir.mesh and options.data_plane != "ambient"
    return found if found is not None and found[0].value is False and not stays else None


def lower(ir: IR, out: Output) -> None:
    """The same for ztunnel, which would let in whoever shows a name."""
    for policy in ir.policies:
        if policy.kind != KIND:
            continue
        src, (rule,) = policy.action.src, policy.rules
        ref = policy.ref.value
        name = out.free(SECURITY, "AuthorizationPolicy", ref.namespace, ref.name)
        obj = out.object(SECURITY, "AuthorizationPolicy", Ref(ref.namespace, name), owner=None, rank=42, because=src)
        obj.set(("spec", "selector", "matchLabels"), dict(policy.subject.value.selector.labels), src)
        obj.set(("spec", "action"), "DENY", src)
        ports: dict[str, list[str]] = {}
        for condition in rule.conditions:
            key, values = ("ports", condition.any_of) if condition.any_of is not None else ("notPorts", condition.none_of)
            ports[key] = [str(fact.value[0]) for fact in values]
        obj.set(("spec", "rules"), [{"to": [{"operation": ports}]}] if ports else [{}], src)
        obj.note("no client sent mutual TLS, and its ports refused plaintext")


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
