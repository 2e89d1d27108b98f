"""Labels and annotations of a mesh that do nothing where they stand: on another kind of object, with a value of another type, unknown, or against another."""

from __future__ import annotations

import difflib
from functools import lru_cache
from typing import Any

from meshport._resources import data
from meshport.lints.deprecated import HOLDERS
from meshport.lints.manifests import Manifest, Path, Review, labels_of
from meshport.mapping.table import load_yaml
from meshport.values.durations import parse_linkerd
from meshport.values.ports import is_number, parse_ports
from meshport.values.problems import ValueProblem

_PODS = {"Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"}
_PLACES = {"Namespace", "Service", "Ingress", "Gateway", "HTTPRoute", "GRPCRoute", *_PODS}
_OURS = ("istio.io", "linkerd.io")
_WRITTEN = (
    "internal.istio.io/",
    "install.operator.istio.io/",
    "operator.istio.io/",
    "gateway.istio.io/",
    "kubernetes.io/",
)  # by controllers
_BOOLEANS = {"true", "false", "t", "f", "1", "0"}


@lru_cache(maxsize=1)
def _rows() -> dict[str, dict[str, list[dict[str, Any]]]]:
    rows = load_yaml((data("mappings") / "bindings" / "core" / "annotations.yaml").read_text(encoding="utf-8"), "annotations.yaml")
    return {
        what: {str(key): row if isinstance(row, list) else [row] for key, row in (rows.get(what) or {}).items()}
        for what in ("labels", "annotations")
    }


def review(review: Review) -> None:
    """Each label and annotation of the source mesh."""
    for manifest in review.manifests:
        if manifest.kind not in _PLACES:
            continue
        for holder in HOLDERS if manifest.kind in _PODS else HOLDERS[:1]:
            place = "pod" if holder != ("metadata",) or manifest.kind == "Pod" else manifest.kind
            for key, value in manifest.mapping(*holder, "annotations").items():
                _annotation(review, manifest, (*holder, "annotations", key), str(key), str(value), place)
            _misplaced(review, manifest, holder, place)
        _injection(review, manifest)


def _misplaced(review: Review, manifest: Manifest, holder: Path, place: str) -> None:
    """Labels that are read as annotations, and annotations that are read as labels."""
    for here, there in (("labels", "annotations"), ("annotations", "labels")):
        for key in manifest.mapping(*holder, here):
            rows = [row for row in _rows()[there].get(str(key), ()) if row["dialect"] == review.options.source]
            homes = {str(item) for row in rows for item in row.get("on") or ("any",)}
            if rows and str(key) not in _rows()[here] and homes & {"any", place} and key not in manifest.mapping(*holder, there):
                what = f"it is read among the {there} and not among the {here}"
                review.say("MP097", manifest, (*holder, here, key), key=key, what=what, remedy=f"Move it to metadata.{there}.")


def _annotation(review: Review, manifest: Manifest, path: Path, key: str, value: str, place: str) -> None:
    rows = [row for row in _rows()["annotations"].get(key, ()) if row["dialect"] == review.options.source]
    if not rows:
        _unknown(review, manifest, path, key)
        return
    homes = {str(item) for row in rows for item in row.get("on") or ("any",)}
    if "any" not in homes and place not in homes and not (place in _PODS and homes & _PODS):
        shown = ", ".join(sorted(homes))
        remedy = "Write it into the pod template." if "pod" in homes and place in _PODS else f"Write it on: {shown}."
        there = key in manifest.mapping("spec", "template", "metadata", "annotations") or place not in _PODS
        severity = "info" if there else None
        review.say("MP097", manifest, path, severity=severity, key=key, what=f"it is read on {shown} and not on a {place}", remedy=remedy)
        return
    if key == "config.linkerd.io/opaque-ports" and value and (bad := _no_ports(value)):
        what = f"{key}: {bad}; the policy controller then takes none of them"
        review.say("MP098", manifest, path, what=what, remedy="List numbers and ranges alone.")
    elif why := _bad(rows[0], key, value):
        review.say("MP097", manifest, path, key=key, what=why, remedy="Mend the value.")


def _unknown(review: Review, manifest: Manifest, path: Path, key: str) -> None:
    domain = key.partition("/")[0]
    ours = next((name for name in _OURS if domain == name or domain.endswith("." + name)), "")
    if not ours or not ours.startswith(review.options.source) or key in _rows()["labels"] or key.startswith(_WRITTEN):
        return
    if _rows()["annotations"].get(key):
        return
    close = next(iter(difflib.get_close_matches(key, _rows()["annotations"], 1, 0.85)), None)
    what = f"no release of {review.options.source} knows it"
    remedy = f"Did you mean {close}?" if close else "Remove it, or check its name."
    review.say("MP097", manifest, path, severity=None if close else "info", key=key, what=what, remedy=remedy)


def _bad(row: dict[str, Any], key: str, value: str) -> str:
    """Why a value is not read; "" where it is."""
    wanted = row.get("type")
    counted = wanted == "integer" or (key.startswith("readiness.status.sidecar.istio.io/") and key.endswith(("Seconds", "Threshold")))
    if counted and not is_number(value.lstrip("+-")):
        return f"{value!r} is no number"
    if wanted == "boolean" and value.lower() not in _BOOLEANS:
        return f"{value!r} is neither true nor false"
    if row.get("values") and value not in {str(item).lower() if isinstance(item, bool) else str(item) for item in row["values"]}:
        return f"{value!r} is none of {', '.join(str(item).lower() if isinstance(item, bool) else str(item) for item in row['values'])}"
    try:
        if wanted == "duration" and row["dialect"] == "linkerd":
            parse_linkerd(value)
    except ValueProblem as error:
        return str(error)
    return ""


def _no_ports(value: str) -> str:
    try:
        parse_ports(value)
    except ValueProblem as error:
        return str(error)
    return ""


def _injection(review: Review, manifest: Manifest) -> None:
    """Labels that contradict each other, and pods that two meshes would take."""
    labels = labels_of(manifest)
    sidecars = next((key for key in ("istio-injection", "istio.io/rev") if key in labels and labels[key] != "disabled"), "")
    if (
        review.options.source == "istio"
        and manifest.kind == "Namespace"
        and labels.get("istio.io/dataplane-mode") == "ambient"
        and sidecars
    ):
        what = f"{sidecars}: {labels[sidecars]} stands beside it, and a pod with a sidecar is not in the ambient mesh"
        path = ("metadata", "labels", "istio.io/dataplane-mode")
        review.say("MP097", manifest, path, key="istio.io/dataplane-mode", what=what, remedy="Keep one of the two labels.")
    if (
        review.options.source == "istio"
        and manifest.kind == "Namespace"
        and labels.get("istio-injection") == "enabled"
        and "istio.io/rev" in labels
    ):
        what = f"istio-injection: {labels['istio-injection']} stands beside it, and istio.io/rev is not looked at"
        review.say(
            "MP097", manifest, ("metadata", "labels", "istio.io/rev"), key="istio.io/rev", what=what, remedy="Keep one of the two labels."
        )
    holders: tuple[Path, ...] = (
        (("metadata",),) if manifest.kind == "Namespace" else HOLDERS[1:] if manifest.kind in _PODS - {"Pod"} else HOLDERS[:1]
    )
    for holder in holders:
        own, said = manifest.mapping(*holder, "labels"), manifest.mapping(*holder, "annotations")
        istio = own.get("istio-injection") == "enabled" or str(own.get("sidecar.istio.io/inject")) == "true"
        if istio and said.get("linkerd.io/inject") in ("enabled", "ingress"):
            what = "Istio injects its own proxy into the same pods: two proxies redirect one pod's traffic"
            review.say(
                "MP097",
                manifest,
                (*holder, "annotations", "linkerd.io/inject"),
                key="linkerd.io/inject",
                what=what,
                remedy="Leave the pods to one mesh.",
            )
