"""Settings of an installation, read from where people keep them: values of a chart, a HelmRelease of Flux, an Application of Argo CD, an
IstioOperator, and the ConfigMap that Cilium's chart renders.

Only what a dialect asks for is read: a chart has hundreds of values, and few decide what a policy or a route does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshport.dialects.cursor import Cursor
from meshport.dialects.output import Output
from meshport.ir.base import Fact, Src
from meshport.ir.install import Setting
from meshport.ir.model import IR
from meshport.ir.world import World
from meshport.mapping.bound import Bound

_RELEASES = {("helm.toolkit.fluxcd.io", "HelmRelease"), ("argoproj.io", "Application"), ("install.istio.io", "IstioOperator")}
_AGENT: dict[str, tuple[str, dict[str, Any]]] = {
    "policyEnforcementMode": ("enable-policy", {}),
    "encryption.enabled": ("enable-wireguard", {}),
    "hubble.enabled": ("enable-hubble", {}),
}
"""Cilium's values as the keys of the ConfigMap `cilium-config`."""


def settings(bound: Bound, world: World, chart: str, wanted: dict[str, str]) -> list[Setting]:
    """The values of a chart at the paths `wanted` (path -> feature), in the order of the documents. What is read counts as read."""
    found = []
    for number, place in _places(bound, chart):
        for path, feature in wanted.items():
            if bound.bundle.documents[number].kind == "ConfigMap":
                key = _AGENT.get(path)
                here = place.at(key[0]) if key is not None else None
            else:
                here = place.at(*path.split("."))
            if here is None or not here:
                continue
            src: Src = here.src
            world.read |= src
            found.append(Setting(chart, path, Fact(_plain(here.value), src, feature), number))
    return found


def setting(found: list[Setting], path: str) -> Fact[Any] | None:
    """The last value at a path; None where nobody sets it."""
    return next((item.value for item in reversed(found) if item.path == path), None)


def lower(ir: IR, out: Output) -> None:
    """What becomes of settings of the source's installation, as the table says; those that decide access were lifted into it."""
    said: dict[tuple[str, int], Fact[Any]] = {}
    for item in ir.settings:
        if ir.mesh == out.target:
            out.imply("stays as it is", item.value)
        elif item.value.value is False:
            out.ignore("off, as it is where nobody says anything", item.value)
        else:  # once a feature and document, however many values speak of it
            place = item.value.feature, item.document
            said[place] = said[place].also(item.value) if place in said else item.value
    for (_, document), fact in said.items():
        out.lost(fact, document=document)
    if ir.mesh == "cilium" and out.target != "cilium" and out.target != "gateway-api":
        _beneath(ir, out)


def _beneath(ir: IR, out: Output) -> None:
    """What Cilium needs as the network beneath another mesh: room for its CNI plugin, and Service addresses left for the proxies to see
    (docs.cilium.io, network/servicemesh/istio)."""
    enrolled = [namespace.meshed for _, namespace in sorted(ir.world.namespaces.items()) if namespace.meshed is not None]
    if enrolled:
        out.install("cilium", "cni.exclusive", False, *enrolled)
        out.install("cilium", "socketLB.hostNamespaceOnly", True, *enrolled)


def _plain(value: Any) -> Any:
    """A value as Helm's templates see it: the texts of a ConfigMap are booleans where they say so."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def _places(bound: Bound, chart: str) -> Iterator[tuple[int, Cursor]]:
    for number, document in enumerate(bound.bundle.documents):
        if number in bound.broken:
            continue
        root = Cursor.root(bound, number)
        if document.chart == chart:
            yield number, root
        elif (document.group, document.kind) in _RELEASES:
            yield from ((number, place) for place in _release(root, chart))
        elif (document.group, document.kind, document.name) == ("", "ConfigMap", "cilium-config") and chart == "cilium":
            yield number, root.at("data")


def _release(root: Cursor, chart: str) -> list[Cursor]:
    """The values that a release gives to a chart."""
    kind = root.document.kind
    if kind == "HelmRelease":
        name = root.text("spec", "chart", "spec", "chart")
        return [root.at("spec", "values")] if name is not None and name.value == chart else []
    if kind == "IstioOperator":
        return [root.at("spec", "values"), root.at("spec")] if chart == "istiod" else []
    sources = [root.at("spec", "source"), *root.each("spec", "sources")]
    return [place.at("helm", "valuesObject") for place in sources if (name := place.text("chart")) is not None and name.value == chart]
