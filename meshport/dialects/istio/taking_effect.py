"""What sidecars read and ztunnel does not: it did nothing in ambient, and does something where the pods get sidecars."""

from __future__ import annotations

from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.cursor import Cursor
from meshport.dialects.istio import tokens, waypoints
from meshport.dialects.istio.settled import targets_of
from meshport.dialects.istio.waypoints import Waypoints
from meshport.dialects.output import Output
from meshport.findings import Affected
from meshport.ir.base import Ref
from meshport.ir.model import IR
from meshport.mapping.bound import Bound

_REASONS = {
    "EnvoyFilter": "sidecars apply filters that select pods",
    "Sidecar": "sidecars know only the hosts that it names",
    "ProxyConfig": "pods have a proxy that it configures",
    "RequestAuthentication": "sidecars refuse requests with a token that it does not accept",
    "WasmPlugin": "sidecars run the extension",
}


def report(bound: Bound, ir: IR, out: Output, options: Options, stood: Waypoints) -> None:
    """What nothing read as long as the pods had no proxy, and what hung on waypoints and is no policy."""
    homes = {workload.namespace for workload in stood.ambient} | {
        name for name, home in ir.world.namespaces.items() if waypoints.in_ambient(home)
    }
    for number, document in enumerate(bound.bundle.documents):
        if not bound.mesh[number] or number in bound.broken or number in out.removed:
            continue
        home = document.namespace or options.default_namespace
        if home not in (*homes, options.root_namespace):
            continue
        spec: Any = document.value.get("spec")
        spec = spec if isinstance(spec, dict) else {}
        named = f"{document.kind} {Ref(home, document.name)}"
        hanging = targets_of(Cursor.root(bound, number).at("spec"))
        custom = document.kind == "AuthorizationPolicy" and spec.get("action") == "CUSTOM"
        if hanging is not None and document.kind in ("RequestAuthentication", "WasmPlugin", "Telemetry", "EnvoyFilter", "TrafficExtension"):
            out.finding(
                "MP737", document=number, affects=(Affected(home),), feature="membership.waypoint", object=named,
                explains=tokens.explains(bound, number, ir, options),
            )  # fmt: skip
        elif hanging is None and (custom or document.kind in _REASONS):
            reason = "sidecars ask the external authorizer" if custom else _REASONS[document.kind]
            out.finding(
                "MP738", document=number, affects=(Affected(home),), feature="membership.ambient", object=named, reason=reason,
                explains=_leaving(ir, home if home != options.root_namespace else "") if document.kind == "Sidecar"
                else tokens.explains(bound, number, ir, options),
            )  # fmt: skip
    for rule in ir.egress_defaults:
        if rule.kind == "MeshConfig" and rule.refuses.value:
            out.finding(
                "MP738", rule.refuses, document=rule.document, disposition=None, affects=tuple(map(Affected, sorted(homes))), explains=_leaving(ir, ""),
                object=rule.subject_name, reason="sidecars refuse what nothing names",
            )  # fmt: skip


def _leaving(ir: IR, namespace: str) -> frozenset[tuple[str, str]]:
    """What differs in what may leave where ztunnel stood, in one namespace or in all."""
    spared = {ref for rule in ir.egress_defaults for ref in rule.spares if namespace in ("", ref.namespace)}
    return frozenset((f"egress of {ref}" if ref.name else f"egress of namespace {ref.namespace}", "*") for ref in spared)
