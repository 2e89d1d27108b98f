"""What Istio's installation says for the whole mesh: MeshConfig and values of the chart (istio.io/latest/docs/reference/config/istio.mesh.v1alpha1).

A Sidecar and a route say more than the mesh does; what they leave open is the mesh's. Which trust domain, root namespace and cluster domain all the rest
is read by is a choice of the run (`choices`), which the installation makes where nobody else does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meshport.dialects import installation
from meshport.dialects.gateway_api.durations import milliseconds
from meshport.dialects.istio.ports import EXCLUDE_NETWORKS, INCLUDE_NETWORKS, INCLUDE_OUT, uncaptured
from meshport.ir.base import Fact, Ref, Selector
from meshport.ir.exposure import EgressDefault
from meshport.ir.resilience import Retry
from meshport.ir.transport import PortSetting
from meshport.values.ports import parse_ports
from meshport.values.problems import ValueProblem
from meshport.values.retry import parse_istio

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.ir.model import IR
    from meshport.ir.world import World
    from meshport.mapping.bound import Bound

CHART = "istiod"
EGRESS = "meshConfig.outboundTrafficPolicy.mode"
RETRIES = "meshConfig.defaultHttpRetryPolicy"
SELECTORS = "meshConfig.discoverySelectors"
EXCLUDED = {"global.proxy.excludeInboundPorts": "skip-inbound", "global.proxy.excludeOutboundPorts": "skip-outbound"}
UNCAPTURED = {
    "global.proxy.excludeIPRanges": (EXCLUDE_NETWORKS, "ports.skip-subnets"),
    "global.proxy.includeIPRanges": (INCLUDE_NETWORKS, "ports.skip-subnets"),
    "global.proxy.includeOutboundPorts": (INCLUDE_OUT, "ports.skip-outbound"),
}
BY_DEFAULT = "sidecarInjectorWebhook.enableNamespacesByDefault"
SYSTEM = {"kube-system", "kube-public", "kube-node-lease", "local-path-storage"}
_CHOSEN = "all the rest was read by it"


def setting(bound: Bound, world: World, path: str, feature: str) -> tuple[Fact[Any], int] | None:
    """What the installation says at a path, and the document that says it."""
    found = installation.settings(bound, world, CHART, {path: feature})
    return (found[-1].value, found[-1].document) if found else None


def egress(bound: Bound, ir: IR, options: Options) -> None:
    """The mesh's default for what leaves it: what a Sidecar does not say is said here, and where the root namespace has a Sidecar it goes before."""
    found = setting(bound, ir.world, EGRESS, "egress.mode")
    if found is None or not isinstance(found[0].value, str):
        return
    said, document = found
    refuses = said.map(lambda word: word == "REGISTRY_ONLY")
    whole = False
    for number, rule in enumerate(ir.egress_defaults):
        if not rule.refuses.src and not rule.src and not rule.refuses.value:
            ir.egress_defaults[number] = replace(rule, refuses=refuses)
        whole = whole or (not rule.namespace and not rule.silenced)
    if not whole:
        subject = Fact(Selector(), feature="sidecar.subject")
        ref = Fact(Ref("", "meshConfig"), said.src, "egress.mode")
        ir.egress_defaults.append(EgressDefault(ref, "MeshConfig", document, "", subject, refuses, src=said.src))


def retries(bound: Bound, ir: IR) -> None:
    """What a route that says nothing of retries does, where the mesh configuration says it: by itself Istio tries twice more."""
    found = setting(bound, ir.world, RETRIES, "retry.default-policy")
    if found is None or not isinstance(found[0].value, dict):
        return
    said, _ = found
    attempts = said.value.get("attempts")
    if not isinstance(attempts, int) or isinstance(attempts, bool):
        attempts = 0  # what a block does not say is zero
    ir.retries_unasked = attempts
    words: tuple[Fact[str], ...] = ()
    try:
        listed = parse_istio(str(said.value.get("retryOn") or ""))
        words = tuple(said.holding(word) for word in (*listed.conditions, *map(str, listed.codes)))
    except ValueProblem:
        pass
    limit = said.value.get("perTryTimeout")
    each = None
    if isinstance(limit, str):
        try:
            each = said.holding(milliseconds(limit))
        except ValueError:
            each = None
    if not attempts and not _routed(ir):
        ir.idle.append(Fact("retries nothing, as every other mesh does by itself", said.src, "retry.default-policy"))
    policy = Retry(said.holding(attempts), None if attempts == 0 else each, () if attempts == 0 else words, src=said.src)
    for number, routes in enumerate(ir.routes):
        if routes.family == "istio" and routes.protocol in ("http", "grpc") and not routes.problem:
            rules = tuple(replace(rule, retry=policy) if rule.retry is None and not rule.answers else rule for rule in routes.rules)
            ir.routes[number] = replace(routes, rules=rules)


def _routed(ir: IR) -> bool:
    return any(routes.family == "istio" for routes in ir.routes)


def ports(bound: Bound, ir: IR) -> None:
    """Ports that go past every sidecar whose pod says nothing of them."""
    for path, kind in EXCLUDED.items():
        found = setting(bound, ir.world, path, f"ports.{kind}")
        if found is None or not str(found[0].value).strip():
            continue
        ranges = found[0].map(lambda value: parse_ports(str(value), lenient=True))
        for workload in ir.world.workloads:
            if any(item.kind == kind and item.document == workload.document for item in ir.ports):
                continue
            subject = workload.pods
            ir.ports.append(PortSetting(subject, kind, ranges, "workload", workload.document))
            if kind == "skip-inbound":
                workload.bypassed = ranges
    found_of = {key: setting(bound, ir.world, path, feature) for path, (key, feature) in UNCAPTURED.items()}
    uncaptured(bound, ir, {key: found[0].map(str) for key, found in found_of.items() if found is not None})


def membership(bound: Bound, ir: IR) -> None:
    """Namespaces that are in the mesh because none has to ask for it."""
    found = setting(bound, ir.world, BY_DEFAULT, "membership.inject")
    if found is None or found[0].value is not True:
        return
    for name, namespace in ir.world.namespaces.items():
        if namespace.meshed is None and name not in SYSTEM:
            namespace.meshed = found[0].holding(True)


def settings(bound: Bound, ir: IR, decided: bool) -> None:
    """Everything else that the installation says; `decided` is whether of each namespace it is known if istiod reads it."""
    injected = any(namespace.meshed is not None and namespace.meshed.value for namespace in ir.world.namespaces.values())
    installation.lift(
        bound,
        ir,
        {
            EGRESS: "",
            **({RETRIES: ""} if _routed(ir) or any(fact.feature == "retry.default-policy" for fact in ir.idle) else {}),
            **(dict.fromkeys(EXCLUDED, "") if ir.world.workloads else {}),
            **({BY_DEFAULT: ""} if injected else {}),
            **({SELECTORS: _CHOSEN} if decided else {}),
            "meshConfig.trustDomain": _CHOSEN,
            "meshConfig.trustDomainAliases": _CHOSEN,
            "meshConfig.rootNamespace": _CHOSEN,
            "global.proxy.clusterDomain": _CHOSEN,
        },
    )
