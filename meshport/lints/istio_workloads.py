"""Objects of Istio that select workloads: none of them, the same ones twice, or by proxies that do not read them (Istio reference 1, 2, 3.5, 6)."""

from __future__ import annotations

from meshport.ir.world import Workload
from meshport.lints.inventory import Inventory, ambient
from meshport.lints.manifests import Manifest, Path, Review, labels_of, names

_SELECTORS: dict[str, Path] = {
    "AuthorizationPolicy": ("spec", "selector", "matchLabels"), "RequestAuthentication": ("spec", "selector", "matchLabels"),
    "PeerAuthentication": ("spec", "selector", "matchLabels"), "Telemetry": ("spec", "selector", "matchLabels"),
    "WasmPlugin": ("spec", "selector", "matchLabels"), "ProxyConfig": ("spec", "selector", "matchLabels"),
    "Sidecar": ("spec", "workloadSelector", "labels"), "EnvoyFilter": ("spec", "workloadSelector", "labels"),
}  # fmt: skip
_ALONE = ("Sidecar", "Telemetry", "PeerAuthentication")  # kinds of which one holds for a workload at each level
_GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"


def review(review: Review, known: Inventory) -> None:
    """Selectors, and the waypoints that labels name."""
    for manifest in review.of(*_SELECTORS, group="istio.io"):
        _selector(review, known, manifest)
    for kind in _ALONE:
        _twice(review, known, kind)
    for manifest in review.of("Namespace", "Service"):
        _waypoint_label(review, known, manifest)


def _selector(review: Review, known: Inventory, manifest: Manifest) -> None:
    path = _SELECTORS[manifest.kind]
    labels = manifest.mapping(*path)
    home, space = known.home(manifest), known.space(manifest)
    if manifest.kind == "Sidecar" and ambient(review, home):
        why = f"the pods of {home} are in the ambient mesh and have no sidecar"
        review.say("MP080", manifest, ("metadata", "name"), why=why, remedy="Delete it.")
        return
    if _GATEWAY_NAME in labels:
        if not manifest.get("spec", "targetRefs") and not manifest.get("spec", "targetRef"):
            name = str(labels[_GATEWAY_NAME])
            gateway = known.named.get(("Gateway", home, name))
            waypoint = gateway is not None and str(gateway.get("spec", "gatewayClassName")).startswith("istio-waypoint")
            why = (
                "a waypoint reads no policy that selects by labels"
                if waypoint
                else "a gateway of the Gateway API is meant to be named by targetRefs"
            )
            review.say(
                "MP080",
                manifest,
                path,
                severity=None if waypoint else "info",
                why=why,
                remedy=f"Write targetRefs with kind Gateway, name {name}.",
            )
        return
    if not labels:
        if not space or known.pods(home) or not known.world.workloads or manifest.kind not in ("AuthorizationPolicy", "PeerAuthentication"):
            return
        where = f"namespace {home}, of which the bundle has no workload"
        review.say("MP079", manifest, ("metadata", "namespace"), severity="info", what="it", selector="every pod", where=where)
        return
    if not known.world.workloads or known.selected(space, labels):
        return
    shown = ", ".join(f"{key}={value}" for key, value in labels.items())
    where = f"namespace {space}" if space else "the bundle"
    sure = bool(known.pods(home))
    if sure or space:
        review.say("MP079", manifest, path, severity=None if sure else "info", what="its selector", selector=shown, where=where)
    elif not set(labels) & {"istio", "app"} or "ingressgateway" not in shown:
        review.say("MP079", manifest, path, severity="info", what="its selector", selector=shown, where=where)


def _twice(review: Review, known: Inventory, kind: str) -> None:
    """Several objects of which a workload follows one."""
    whole: dict[str, list[Manifest]] = {}
    some: dict[int, list[Manifest]] = {}
    pods: dict[int, Workload] = {}
    for manifest in review.of(kind, group="istio.io"):
        labels = manifest.mapping(*_SELECTORS[kind])
        if ambient(review, known.home(manifest)) and kind == "Sidecar":
            continue
        if not labels:
            if not manifest.get("spec", "targetRefs") and not manifest.get("spec", "targetRef"):
                whole.setdefault(known.home(manifest), []).append(manifest)
        else:
            for workload in known.selected(known.home(manifest), labels):
                some.setdefault(id(workload), []).append(manifest)
                pods[id(workload)] = workload
    for space, listed in whole.items():
        for manifest in listed[1:]:
            others = [str(one) for one in listed if one is not manifest]
            review.say(
                "MP077", manifest, ("metadata", "name"), others=names(others), what=f"every pod of {space}", which="the oldest holds"
            )
    said: set[tuple[int, ...]] = set()
    for key, listed in some.items():
        mark = tuple(one.number for one in listed)
        if len(listed) > 1 and mark not in said:
            said.add(mark)
            manifest = listed[-1]
            others = [str(one) for one in listed if one is not manifest]
            what = f"{pods[key].kind} {pods[key].ref}"
            review.say("MP077", manifest, _SELECTORS[kind], others=names(others), what=what, which="the oldest holds")


# -- waypoints


def _waypoint_label(review: Review, known: Inventory, manifest: Manifest) -> None:
    labels = labels_of(manifest)
    name = labels.get("istio.io/use-waypoint")
    space = labels.get("istio.io/use-waypoint-namespace") or (
        manifest.document.name if manifest.kind == "Namespace" else known.home(manifest)
    )
    if name and name != "none" and not known.has("Gateway", space, name):
        sure = known.shows("Gateway", space)
        why = "traffic goes past every policy that a waypoint would enforce" + ("" if sure else "; the bundle may not show it")
        path = ("metadata", "labels", "istio.io/use-waypoint")
        review.say("MP073", manifest, path, severity=None if sure else "info", what=f"the waypoint {space}/{name}", why=why)
