"""Argo's Rollout: the object of the source whose weights Argo sets gives way to the routes that were written for it. The weights stay Argo's.

Argo shifts traffic by an Istio VirtualService, an SMI TrafficSplit, or, with a plugin, by routes of the Gateway API between the Services that `canaryService` and `stableService` name
(argo-rollouts.readthedocs.io/en/stable/features/traffic-management, rollouts-plugin-trafficrouter-gatewayapi.readthedocs.io).
"""

from __future__ import annotations

from typing import Any

from meshport.dialects.output import Obj
from meshport.documents.spans import Path
from meshport.findings import Affected
from meshport.ir.base import Ref
from meshport.observe.assets.queries import Queries
from meshport.observe.assets.surface import Surface, below

PLUGIN = "argoproj-labs/gatewayAPI"
CANARY: Path = ("spec", "strategy", "canary")
_FEATURE = "routing.weight"
_ROUTES = {"VirtualService": "virtualService", "HTTPRoute": "httpRoute", "GRPCRoute": "grpcRoute"}
_GROUPS = {"VirtualService": "networking.istio.io", "TrafficSplit": "split.smi-spec.io"}
_GATEWAY = "gateway.networking.k8s.io"
_SUBSETS = {"canarySubsetName": "canaryService", "stableSubsetName": "stableService"}


def rollout(surface: Surface, queries: Queries) -> None:
    """Whose weights a canary sets from now on: said, and an error where nothing was written for what it names."""
    canary: Any = surface.value
    for step in CANARY:
        canary = canary.get(step) if isinstance(canary, dict) else None
    routing = canary.get("trafficRouting") if isinstance(canary, dict) else None
    if not isinstance(routing, dict):
        return
    home = Ref(surface.job.bound.bundle.documents[surface.number].namespace or "", str(surface.value["metadata"].get("name")))
    for path, named in (
        (("istio",), _of_istio(routing.get("istio"), home)),
        (("smi",), _of_smi(routing.get("smi"), home)),
        (("plugins", PLUGIN), _of_plugin(routing.get("plugins"), home)),
    ):
        if named:
            _repoint(surface, queries, canary, path, named, home)


def _repoint(surface: Surface, queries: Queries, canary: dict[str, Any], where: Path, named: list[tuple[str, Ref]], home: Ref) -> None:
    out = surface.job.out
    numbers = [out.bundle_object(_GROUPS.get(kind, _GATEWAY), kind, ref) for kind, ref in named]
    gone = [number for number in numbers if number in out.removed]
    unread = queries.source != queries.target and where[0] != "plugins"
    if not gone and not (unread and None in numbers):
        return  # what it names stays
    routes = sorted(
        (obj for obj in out.objects.values() if obj.kind in _ROUTES and any(number in obj.origins for number in gone)),
        key=lambda obj: (obj.kind, obj.ref),
    )
    place = (*CANARY, "trafficRouting", *where)
    leaves = frozenset(
        surface.leaf(path, _FEATURE) for path, value in below(surface.at(place), place) if not isinstance(value, dict | list)
    )
    shown = " and ".join(f"{kind} {ref}" for kind, ref in named)
    affects = (Affected(home.namespace or None, home.name),)
    if not routes or None in numbers:
        out.finding(
            "MP867",
            leaves,
            document=surface.number,
            disposition="manual",
            affects=affects,
            feature=_FEATURE,
            rollout=str(home),
            before=shown,
        )
        return
    obj = out.change(surface.number)
    obj.drop((*CANARY, "trafficRouting", where[0]), leaves)
    key, value = _naming(routes)
    obj.set((*CANARY, "trafficRouting", key), value, leaves)
    rule: Any = canary["trafficRouting"].get("istio")
    subsets: Any = rule.get("destinationRule") if isinstance(rule, dict) and key == "plugins" else None
    for said, wanted in _SUBSETS.items() if isinstance(subsets, dict) else ():
        service = _backend(routes, str(subsets.get(said)))
        if service is not None and canary.get(wanted) != service:
            obj.set((*CANARY, wanted), service, leaves)
    after = " and ".join(f"{one.kind} {one.ref}" for one in routes)
    out.finding(
        "MP866", leaves, document=surface.number, disposition="approximated", affects=affects, feature=_FEATURE, rollout=str(home), before=shown, after=after,
        more=f"; Argo needs its plugin {PLUGIN} for that" if key == "plugins" and where[0] != "plugins" else "",
    )  # fmt: skip


def _naming(routes: list[Obj]) -> tuple[str, Any]:
    """How a Rollout names routes: Istio's by themselves, the others for the plugin."""
    listed: dict[str, list[dict[str, Any]]] = {}
    for one in routes:
        entry: dict[str, Any] = {"name": one.ref.name}
        rules = one.value["spec"].get("http", ())
        if one.kind == "VirtualService" and len(rules) > 1:
            entry["routes"] = [rule["name"] for rule in rules if len(rule.get("route", ())) == 2 and "name" in rule]
        listed.setdefault(_ROUTES[one.kind], []).append(entry)
    several = {f"{kind}s" if len(entries) > 1 else kind: entries if len(entries) > 1 else entries[0] for kind, entries in listed.items()}
    if routes[0].kind == "VirtualService":
        return "istio", several
    named = {kind: entry["name"] if isinstance(entry, dict) else entry for kind, entry in several.items()}
    return "plugins", {PLUGIN: {**named, "namespace": routes[0].ref.namespace}}


def _backend(routes: list[Obj], subset: str) -> str | None:
    """The Service that stands for a subset among those that routes send to."""
    names = [ref["name"] for one in routes for rule in one.value["spec"].get("rules", ()) for ref in rule.get("backendRefs", ())]
    return next((name for name in names if name.endswith(f"-{subset}")), None)


def _of_istio(said: Any, home: Ref) -> list[tuple[str, Ref]]:
    """The VirtualServices that are named: `name` or `name.namespace`."""
    if not isinstance(said, dict):
        return []
    several = said.get("virtualServices")
    entries = [said.get("virtualService"), *(several if isinstance(several, list) else ())]
    names = [str(entry["name"]).split(".") for entry in entries if isinstance(entry, dict) and "name" in entry]
    return [("VirtualService", Ref(parts[1] if len(parts) > 1 else home.namespace, parts[0])) for parts in names]


def _of_smi(said: Any, home: Ref) -> list[tuple[str, Ref]]:
    return [("TrafficSplit", Ref(home.namespace, str(said.get("trafficSplitName") or home.name)))] if isinstance(said, dict) else []


def _of_plugin(plugins: Any, home: Ref) -> list[tuple[str, Ref]]:
    said = plugins.get(PLUGIN) if isinstance(plugins, dict) else None
    if not isinstance(said, dict):
        return []
    space = str(said.get("namespace") or home.namespace)
    found = []
    for kind in ("HTTPRoute", "GRPCRoute"):
        several = said.get(f"{_ROUTES[kind]}s")
        names = [
            said.get(_ROUTES[kind]),
            *(entry.get("name") for entry in (several if isinstance(several, list) else ()) if isinstance(entry, dict)),
        ]
        found += [(kind, Ref(space, name)) for name in names if isinstance(name, str)]
    return found
