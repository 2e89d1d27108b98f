"""Plain Kubernetes manifests read as a world: namespaces, workloads, Services, and who selects whom."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

Obj = dict[str, Any]
Request = Mapping[str, Any]
WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod"})
CLUSTER_DOMAIN = "cluster.local"


class Undecided(Exception):
    """The manifests and the request do not settle the question (external authorization, a missing address, ...)."""


def group_of(obj: Obj) -> str:
    """The API group of an object, empty for core."""
    group, slash, _ = str(obj.get("apiVersion", "")).partition("/")
    return group if slash else ""


def meta(obj: Obj) -> Obj:
    return obj.get("metadata") or {}


def name_of(obj: Obj) -> str:
    return str(meta(obj).get("name", ""))


def namespace_of(obj: Obj) -> str:
    return str(meta(obj).get("namespace") or "default")


def spec_of(obj: Obj) -> Obj:
    return obj.get("spec") or {}


def annotations_of(obj: Obj) -> dict[str, str]:
    return meta(obj).get("annotations") or {}


def by_age(objs: Iterable[Obj]) -> list[Obj]:
    """Oldest first, then by name; objects without a timestamp are the youngest."""
    return sorted(objs, key=lambda o: (str(meta(o).get("creationTimestamp") or "9999"), name_of(o), group_of(o)))


def labels_match(wanted: Mapping[str, str] | None, labels: Mapping[str, str]) -> bool:
    return all(labels.get(k) == v for k, v in (wanted or {}).items())


def selects(selector: Obj | None, labels: Mapping[str, str]) -> bool:
    """A Kubernetes label selector; absent or empty selects everything."""
    selector = selector or {}
    return labels_match(selector.get("matchLabels"), labels) and all(_expression(e, labels) for e in selector.get("matchExpressions") or [])


def _expression(expression: Obj, labels: Mapping[str, str]) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or []
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    if operator == "In":
        return key in labels and labels[key] in values
    if operator == "NotIn":
        return labels.get(key) not in values
    raise Undecided(f"label operator {operator}")


def port_numbers(text: str | None) -> Iterator[tuple[int, int]]:
    """Ranges of a port list such as `25,4000-4010`; items that are no numbers are passed over."""
    for item in (text or "").split(","):
        low, _, high = item.strip().partition("-")
        if low.strip().isdigit() and (not high or high.strip().isdigit()):
            yield int(low), int(high or low)


def in_ports(text: str | None, port: int) -> bool:
    return any(low <= port <= high for low, high in port_numbers(text))


@dataclass(frozen=True)
class Port:
    name: str
    number: int
    protocol: str


@dataclass
class Workload:
    """One pod template."""

    kind: str
    namespace: str
    name: str
    labels: dict[str, str]
    annotations: dict[str, str] = field(default_factory=dict)
    service_account: str = "default"
    ports: tuple[Port, ...] = ()
    probes: tuple[tuple[int, str], ...] = ()  # (port, path) of the httpGet probes
    host_network: bool = False

    def numbers(self, port: int | str | None) -> set[int]:
        """The container ports that a number or a port name stands for in this pod."""
        if isinstance(port, int):
            return {port}
        return {p.number for p in self.ports if p.name == port and p.protocol == "TCP"}


@dataclass(frozen=True)
class Service:
    namespace: str
    name: str
    obj: Obj

    @property
    def selector(self) -> dict[str, str]:
        return spec_of(self.obj).get("selector") or {}

    @property
    def ports(self) -> list[Obj]:
        return spec_of(self.obj).get("ports") or []

    @property
    def annotations(self) -> dict[str, str]:
        return annotations_of(self.obj)

    @property
    def routable(self) -> bool:
        """Whether it has a cluster IP, without which nothing of a mesh's routing attaches."""
        return spec_of(self.obj).get("clusterIP") != "None" and spec_of(self.obj).get("type") != "ExternalName"

    def selects(self, workload: Workload) -> bool:
        return bool(self.selector) and self.namespace == workload.namespace and labels_match(self.selector, workload.labels)


def _pod_template(obj: Obj) -> tuple[Obj, Obj]:
    """Metadata and spec of the pods that an object makes."""
    if obj["kind"] == "Pod":
        return meta(obj), spec_of(obj)
    spec = spec_of(obj)
    if obj["kind"] == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    template = spec.get("template") or {}
    return template.get("metadata") or {}, template.get("spec") or {}


def read_workload(obj: Obj) -> Workload:
    pod_meta, pod = _pod_template(obj)
    containers = [c for c in pod.get("initContainers") or [] if c.get("restartPolicy") == "Always"] + (pod.get("containers") or [])
    ports = tuple(
        Port(str(p.get("name", "")), int(p["containerPort"]), p.get("protocol", "TCP")) for c in containers for p in c.get("ports") or []
    )
    workload = Workload(
        kind=obj["kind"],
        namespace=namespace_of(obj),
        name=name_of(obj),
        labels=dict(pod_meta.get("labels") or {}),
        annotations=dict(pod_meta.get("annotations") or {}),
        service_account=pod.get("serviceAccountName") or pod.get("serviceAccount") or "default",
        ports=ports,
        host_network=bool(pod.get("hostNetwork")),
    )
    probes = [
        (number, str(get.get("path") or "/").partition("?")[0])
        for c in containers
        for kind in ("livenessProbe", "readinessProbe", "startupProbe")
        if (get := (c.get(kind) or {}).get("httpGet"))
        for number in workload.numbers(get.get("port"))
    ]
    workload.probes = tuple(probes)
    return workload


class World:
    """Manifests, indexed. Lists are opened; nothing is checked."""

    def __init__(self, manifests: Iterable[Obj]) -> None:
        self.objects: list[Obj] = []
        for obj in manifests:
            if obj and str(obj.get("kind", "")).endswith("List") and "items" in obj:
                self.objects.extend(obj["items"])
            elif obj:
                self.objects.append(obj)

    def __iter__(self) -> Iterator[Obj]:
        return iter(self.objects)

    def of(self, kind: str, group: str) -> list[Obj]:
        return [o for o in self.objects if o.get("kind") == kind and group_of(o) == group]

    def get(self, kind: str, group: str, namespace: str, name: str) -> Obj | None:
        return next((o for o in self.of(kind, group) if namespace_of(o) == namespace and name_of(o) == name), None)

    @cached_property
    def workloads(self) -> list[Workload]:
        return [read_workload(o) for o in self.objects if o.get("kind") in WORKLOADS and group_of(o) in {"", "apps", "batch"}]

    @cached_property
    def services(self) -> list[Service]:
        return [Service(namespace_of(o), name_of(o), o) for o in self.of("Service", "")]

    def service(self, namespace: str, name: str) -> Service | None:
        return next((s for s in self.services if (s.namespace, s.name) == (namespace, name)), None)

    def namespace(self, name: str) -> Obj | None:
        return next((o for o in self.of("Namespace", "") if name_of(o) == name), None)

    def destination(self, request: Request) -> Workload:
        """The pod that a request goes to, by workload name, by labels, or by Service."""
        wanted = request["destination"]
        namespace = wanted["namespace"]
        here = [w for w in self.workloads if w.namespace == namespace]
        if wanted.get("workload"):
            named = [w for w in here if w.name == wanted["workload"]]
            if named:
                return named[0]
        if wanted.get("labels") is not None:
            labelled = [w for w in here if w.labels == wanted["labels"]]
            return labelled[0] if labelled else Workload("Pod", namespace, wanted.get("workload") or "", dict(wanted["labels"]))
        service = self.service(namespace, wanted.get("service") or "")
        for workload in here:
            if service and service.selects(workload):
                return workload
        raise Undecided(f"no workload for destination {dict(wanted)}")

    def istio_injected(self, workload: Workload) -> bool:
        """Whether a pod gets an Istio sidecar; a namespace that the manifests do not hold counts as enrolled."""
        namespace = self.namespace(workload.namespace)
        pod = workload.labels.get("sidecar.istio.io/inject") or workload.annotations.get("sidecar.istio.io/inject")
        labels = (meta(namespace).get("labels") or {}) if namespace else {"istio-injection": "enabled"}
        if "ambient" in {labels.get("istio.io/dataplane-mode"), workload.labels.get("istio.io/dataplane-mode")}:
            raise Undecided("ambient data plane")
        if workload.host_network or pod == "false" or labels.get("istio-injection") == "disabled":
            return False
        enrolled = labels.get("istio-injection") == "enabled" or ("istio.io/rev" in labels and "istio-injection" not in labels)
        return enrolled or pod == "true" or "istio.io/rev" in workload.labels

    def linkerd_annotation(self, workload: Workload, key: str) -> str | None:
        """An annotation as the injector leaves it on the pod: the pod template's, else the namespace's."""
        if key in workload.annotations:
            return str(workload.annotations[key])
        namespace = self.namespace(workload.namespace)
        value = annotations_of(namespace).get(key) if namespace else None
        return None if value is None else str(value)

    def linkerd_injected(self, workload: Workload) -> bool:
        """Whether a pod gets a Linkerd proxy; a namespace that the manifests do not hold counts as enrolled."""
        inject = self.linkerd_annotation(workload, "linkerd.io/inject")
        if workload.host_network:
            return False
        if inject is None:
            return self.namespace(workload.namespace) is None
        return inject in {"enabled", "ingress"}


def account_of(source: Obj) -> tuple[str, str]:
    """Namespace and service account of a meshed caller, from its members or from its identity, whatever its trust domain."""
    identity = str(source.get("identity") or "")
    spiffe = re.fullmatch(r"(?:spiffe://)?[^/]+/ns/([^/]+)/sa/([^/]+)", identity)
    dotted = re.fullmatch(r"([^.]+)\.([^.]+)\.serviceaccount\.identity\..+", identity)
    if source.get("service_account") or not identity:
        if not source.get("namespace"):
            raise Undecided("the caller has no namespace")
        return str(source["namespace"]), str(source.get("service_account") or "default")
    if spiffe:
        return spiffe[1], spiffe[2]
    if dotted:
        return dotted[2], dotted[1]
    raise Undecided(f"identity {identity}")


def trust_domain_of(source: Obj, own: str) -> str:
    """The trust domain that a meshed caller's identity names; the mesh's own where it names none."""
    identity = str(source.get("identity") or "")
    spiffe = re.fullmatch(r"(?:spiffe://)?([^/]+)/ns/[^/]+/sa/[^/]+", identity)
    dotted = re.fullmatch(r"[^.]+\.[^.]+\.serviceaccount\.identity\.[^.]+\.(.+)", identity)
    named = spiffe or dotted
    return named[1] if named else own


def is_meshed(source: Obj) -> bool:
    """Whether the caller has a proxy of the mesh; if the request is silent, whoever has a service account has."""
    meshed = source.get("meshed")
    return bool(source.get("identity") or source.get("service_account")) if meshed is None else bool(meshed)


def world_of(manifests: Iterable[Obj]) -> World:
    """The manifests, indexed; who asks about the same ones often indexes them once and passes the world."""
    return manifests if isinstance(manifests, World) else World(manifests)
