"""What a bundle has of the things that others name, and whether it shows enough of a place to say that something is missing there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from meshport.ir.base import PodSet, Ref, Requirement, Selector
from meshport.ir.world import Service, Workload
from meshport.lints.manifests import Manifest, Path, Review, labels_of

T = TypeVar("T")

OTHERS = "the bundle has others of that namespace"
"""Why something that is not there is missing (`Inventory.shows`)."""
SYSTEM = {"kube-system", "kube-public", "kube-node-lease", "istio-system", "linkerd", "linkerd-viz", "cilium"}


@dataclass(frozen=True, slots=True)
class Host:
    """What a host of Istio's configuration is. `shown`: whether the bundle shows enough to say that nothing has the name."""

    name: str
    service: Service | None = None
    entry: Manifest | None = None
    shown: bool = False

    @property
    def missing(self) -> bool:
        return self.service is None and self.entry is None and self.shown


class Inventory:
    """The named things of a bundle; a namespace that is not said is the default one."""

    def __init__(self, review: Review) -> None:
        self.review = review
        self.world = review.ir.world
        self.domain = f".svc.{review.options.cluster_domain}"
        self.root = review.options.root_namespace
        self.entries = list(review.of("ServiceEntry", group="networking.istio.io"))
        self._naming: dict[str, list[Manifest]] = {}  # by a host as they say it
        for entry in self.entries:
            for name in {name: None for _, name in entry.each("spec", "hosts") if isinstance(name, str)}:
                self._naming.setdefault(name, []).append(entry)
        self.named: dict[tuple[str, str, str], Manifest] = {
            (manifest.kind, self.home(manifest), manifest.document.name): manifest for manifest in review.manifests
        }
        self._kept: dict[str, Any] = {}
        self.kinds_in = {(kind, namespace) for kind, namespace, _ in self.named}

    def kept(self, name: str, make: Callable[[Inventory], T]) -> T:
        """What a look at the bundle makes for itself, made once."""
        if name not in self._kept:
            self._kept[name] = make(self)
        return cast(T, self._kept[name])

    def home(self, manifest: Manifest) -> str:
        return manifest.namespace or self.review.options.default_namespace

    def space(self, manifest: Manifest) -> str:
        """The namespace that an object of Istio selects in; "" for all, from the root namespace."""
        return "" if self.home(manifest) == self.root else self.home(manifest)

    def has(self, kind: str, namespace: str, name: str) -> bool:
        return (kind, namespace, name) in self.named

    def shows(self, kind: str, namespace: str) -> bool:
        """Whether the bundle has objects of a kind in a namespace, so that one that is not there is missing."""
        return (kind, namespace) in self.kinds_in

    def service(self, namespace: str, name: str) -> Service | None:
        return self.world.services.get(Ref(namespace, name))

    def lacks_account(self, namespace: str, name: str) -> bool:
        """Whether the bundle shows accounts of a namespace, and neither this one nor pods that run under it nor the Gateway whose controller makes it."""
        if name in ("", "default") or not self.shows("ServiceAccount", namespace) or self.has("ServiceAccount", namespace, name):
            return False
        gateways = {name, name.rpartition("-")[0]}
        return not any(self.has("Gateway", namespace, one) for one in gateways) and not self.world.runs(Ref(namespace, name))

    # -- hosts

    def full(self, host: str, namespace: str) -> str:
        """A host as Istio reads it: a name without a dot is a Service of the namespace."""
        return host if "." in host or host == "*" or not host else f"{host}.{namespace}{self.domain}"

    def service_of(self, host: str) -> tuple[str, str] | None:
        """Namespace and name of the Service whose full name a host is."""
        if not host.endswith(self.domain) or "*" in host:
            return None
        name, dot, namespace = host.removesuffix(self.domain).rpartition(".")
        return (namespace, name) if dot else None

    def host(self, host: str, namespace: str) -> Host:
        """What a destination is for the configuration of a namespace."""
        full = self.full(host, namespace)
        seen = self._entries_of(full)
        visible = next(
            (entry for entry in seen if namespace in exports(entry, self.home(entry)) or "*" in exports(entry, self.home(entry))), None
        )
        place = self.service_of(full)
        if place is None:
            return Host(full, entry=visible, shown=bool(seen))
        found = self.service(*place)
        if found is not None:
            listed = found.annotations.get("networking.istio.io/exportTo", "*").replace(" ", "").split(",")
            open_to = {found.ref.namespace if item == "." else item for item in listed}
            return Host(full, found if open_to & {"*", namespace, ""} else None, visible, True)
        return Host(full, entry=visible, shown=self.shows("Service", place[0]))

    def _entries_of(self, host: str) -> list[Manifest]:
        """The ServiceEntries of which a host takes it in, in their order."""
        ends = [f"*{host[start:]}" for start in range(len(host) + 1)]
        found = {entry.number: entry for name in (host, *ends) if covers_host(name, host) for entry in self._naming.get(name, ())}
        return [found[number] for number in sorted(found)]

    # -- pods

    def pods(self, namespace: str) -> list[Workload]:
        return self.world.of_namespace(namespace) if namespace else self.world.workloads

    def chosen(self, namespace: str, selector: Selector) -> list[Workload]:
        """The workloads of a namespace, or of all where it is "", whose pods a selector takes."""
        return self.world.selected(PodSet(namespace, selector))

    def selected(self, namespace: str, labels: dict[str, Any]) -> list[Workload]:
        return self.chosen(namespace, Selector.of({str(key): str(value) for key, value in labels.items()}))


def covers_host(pattern: str, host: str) -> bool:
    """Whether a host pattern of Istio takes in another name or pattern."""
    if pattern == "*" or pattern == host:
        return True
    return pattern.startswith("*") and host.lstrip("*").endswith(pattern[1:]) and len(host) >= len(pattern)


def meet(one: str, other: str) -> bool:
    """Whether two host patterns have a name in common."""
    return covers_host(one, other) or covers_host(other, one)


def exports(manifest: Manifest, home: str) -> set[str]:
    """The namespaces that see an object; `*` is every one."""
    listed = [str(item) for _, item in manifest.each("spec", "exportTo")]
    return {home if item == "." else item for item in listed} or {"*"}


def share(one: set[str], other: set[str]) -> bool:
    """Whether a namespace sees both."""
    return bool(one & other) or ("*" in one and bool(other - {"~"})) or ("*" in other and bool(one - {"~"}))


def within(one: list[Requirement], other: list[Requirement]) -> bool:
    """Whether whatever meets the demands of the one meets those of the other."""
    values = {item.key: set(item.values) for item in one if item.operator == "In"}
    held = {item for item in other if item.operator == "In" and values.get(item.key) and values[item.key] <= set(item.values)}
    return all(item in one or item in held or (item.operator == "Exists" and item.key in values) for item in other)


class Selections:
    """Lists of demands, each kept with what has it, found again by a list that holds it or that it holds without trying all of them."""

    def __init__(self) -> None:
        self._kept: list[tuple[Manifest, list[Requirement]]] = []
        self._wider: dict[Requirement | None, list[int]] = {}  # by one of its demands, which all that it holds meet; None where it has none
        self._narrower: dict[Requirement | None, list[int]] = {}  # by all demands that it may meet

    def first(self, own: list[Requirement]) -> Manifest | None:
        """The first that was added of which one list holds the other."""
        tries: set[int] = {number for demand in (None, *_met(own)) for number in self._wider.get(demand, ())}
        if own:
            tries |= min(({number for one in _asked(item) for number in self._narrower.get(one, ())} for item in own), key=len)
        else:
            tries |= {0} if self._kept else set()  # it holds all of them
        kept = (self._kept[number] for number in sorted(tries))
        return next((one for one, theirs in kept if within(own, theirs) or within(theirs, own)), None)

    def add(self, manifest: Manifest, own: list[Requirement]) -> None:
        number = len(self._kept)
        self._kept.append((manifest, own))
        for demand in min((_asked(item) for item in own), key=self._shared, default=[None]):
            self._wider.setdefault(demand, []).append(number)
        for met in _met(own):
            self._narrower.setdefault(met, []).append(number)

    def _shared(self, demands: list[Requirement | None]) -> int:
        return max(len(self._wider.get(one, ())) for one in demands)


def _asked(demand: Requirement) -> list[Requirement | None]:
    """What a list that meets a demand has one of among `_met`."""
    return [demand, *(Requirement(demand.key, "In", (value,)) for value in demand.values if demand.operator == "In")]


def _met(demands: list[Requirement]) -> set[Requirement]:
    found = set(demands)
    for item in demands:
        if item.operator == "In":
            found |= {Requirement(item.key, "Exists", ()), Requirement(item.key, "In", item.values[:1])}
    return found


def labels_at(manifest: Manifest, *path: str) -> dict[str, Any]:
    return manifest.mapping(*path)


def in_mesh(spec_gateways: Any) -> bool:
    """Whether the rules of a VirtualService with these gateways hold for clients in the mesh."""
    return not isinstance(spec_gateways, list) or not spec_gateways or "mesh" in spec_gateways


def ambient(review: Review, namespace: str) -> bool:
    """Whether a namespace is in the ambient mesh and its pods get no sidecar."""
    found = review.ir.world.namespaces.get(namespace)
    if found is None or found.labels.get("istio.io/dataplane-mode") != "ambient":
        return False
    return found.labels.get("istio-injection") != "enabled" and "istio.io/rev" not in found.labels


def text_of(items: list[int]) -> str:
    return ", ".join(str(item) for item in sorted(set(items)))


__all__ = [
    "OTHERS",
    "SYSTEM",
    "Host",
    "Inventory",
    "Path",
    "Selections",
    "ambient",
    "covers_host",
    "exports",
    "in_mesh",
    "labels_at",
    "labels_of",
    "meet",
    "share",
    "text_of",
    "within",
]
