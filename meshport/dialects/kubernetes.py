"""The world from Kubernetes' own objects: Namespaces, workloads, Services, ServiceAccounts.

Read with leaf ids: a container port that decides a Server's number is a leaf like any other. Membership in a mesh is the dialects' business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshport.dialects import scrapes
from meshport.dialects.cursor import Cursor
from meshport.ir.base import NOWHERE, Fact, Ref, Selector, Src, sources
from meshport.ir.world import ContainerPort, Namespace, Probe, Service, ServicePort, Workload, World
from meshport.mapping.bound import Bound
from meshport.mapping.owners import SIDECARS, TEMPLATES
from meshport.values.ports import is_number

_ENDPOINTS: dict[str, Any] = {"internalTrafficPolicy": "Cluster", "trafficDistribution": None, "publishNotReadyAddresses": False}
"""Members of a Service's spec that decide which endpoints its clients are given, with what they are by default."""


def lift(bound: Bound, default_namespace: str = "default") -> World:
    """Every object of the bundle that a policy or a route may refer to."""
    world = World()
    for number, document in enumerate(bound.bundle.documents):
        place = (document.group, document.kind)
        if place == ("gateway.networking.k8s.io", "ReferenceGrant"):
            said = {} if number in bound.broken else document.value.get("spec") or {}
            world.grants.setdefault(document.namespace or default_namespace, []).append(said)
        if number in bound.broken:
            continue
        root = Cursor.root(bound, number)
        if place == ("", "Namespace"):
            world.namespaces.setdefault(document.name, _namespace(root, world))
        elif place == ("", "Service"):
            service = _service(root, default_namespace, world)
            world.services.setdefault(service.ref, service)
        elif place == ("", "ServiceAccount"):
            world.accounts.setdefault(Ref(document.namespace or default_namespace, document.name), root.at("metadata", "name").src)
        elif place in TEMPLATES and number not in bound.made:  # their maker is what counts
            world.workloads.append(_workload(root, TEMPLATES[place], default_namespace, world))
    world.workloads.sort(key=lambda item: (item.ref, item.kind))
    scrapes.lift(bound, world, default_namespace)
    return world


def _mapping(place: Cursor, *keys: str) -> dict[str, str]:
    return {key: _text(item.value) for key, item in place.items(*keys) if not isinstance(item.value, dict | list)}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def _sources(place: Cursor, *keys: str) -> dict[str, int]:
    return {key: item.shadow for key, item in place.items(*keys) if isinstance(item.shadow, int)}


def _namespace(root: Cursor, world: World) -> Namespace:
    name = root.at("metadata", "name")
    world.read |= name.src
    return Namespace(
        root.document.name, _mapping(root, "metadata", "labels"), _mapping(root, "metadata", "annotations"), root.number, name.src
    )


def _service(root: Cursor, default_namespace: str, world: World) -> Service:
    document = root.document
    spec = root.at("spec")
    selector = _mapping(spec, "selector")
    ports = []
    for position, item in enumerate(spec.each("ports")):
        number = item.number_at("port")
        if number is None:
            continue
        target = item.at("targetPort").value if item.at("targetPort") else number.value
        ports.append(
            ServicePort(
                number.value,
                _text(item.at("name").value) if item.at("name") else "",
                target if isinstance(target, int | str) and not isinstance(target, bool) else number.value,
                _text(item.at("protocol").value).upper() if item.at("protocol") else "TCP",
                _text(item.at("appProtocol").value) if item.at("appProtocol") else "",
                item.src,
                position,
                item.at("targetPort").src or item.at("port").src,
                item.at("appProtocol").src or item.at("name").src,
                number.src,
            )
        )
    headless = spec.at("clusterIP").value == "None"
    external = _text(spec.at("externalName").value) if spec.at("externalName") else ""
    src = root.at("metadata", "name").src | root.at("metadata", "namespace").src | spec.at("selector").src
    world.read |= src
    for port in ports:
        world.read |= port.src
    endpoints = tuple(
        (key, fact) for key, plain in _ENDPOINTS.items() if (fact := spec.whole(key)) is not None and fact.value not in (plain, None)
    )
    world.read |= frozenset(leaf for _, fact in endpoints for leaf in fact.src)
    return Service(
        Ref(document.namespace or default_namespace, document.name),
        selector or None,
        ports,
        headless,
        external,
        _mapping(root, "metadata", "labels"),
        _mapping(root, "metadata", "annotations"),
        root.number,
        src,
        endpoints=endpoints,
        pods_src=src - root.at("metadata", "name").src,
    )


def _workload(root: Cursor, template: tuple[str, ...], default_namespace: str, world: World) -> Workload:
    document = root.document
    pod = root.at(*template) if template else root
    spec = pod.at("spec")
    account = spec.text("serviceAccountName") or spec.text("serviceAccount") or Fact("default")
    ports, probes = [], []
    sidecars = [
        item for item in spec.each("initContainers") if item.at("restartPolicy").value == "Always"
    ]  # the others are gone when the pod serves
    containers = [*spec.each("containers"), *sidecars]
    proxies = [one for one in containers if one.at("name").value in SIDECARS.values()]  # their ports are the mesh's
    proxy = proxies[0].text("name") if proxies and len(proxies) < len(containers) else None  # alone it is a gateway
    for container in [one for one in containers if one not in proxies] or containers:
        lives = container.at("restartPolicy").src
        for item in container.each("ports"):
            number = item.number_at("containerPort")
            if number is not None:
                protocol = item.text("protocol")
                name = item.text("name")
                ports.append(
                    ContainerPort(
                        number.value,
                        name.value if name else "",
                        (protocol.value if protocol else "TCP").upper(),
                        item.src | lives,
                        sources(number, protocol, lives),
                    )
                )
        probes += [
            _probe(container, container.at(kind)) for kind in ("livenessProbe", "readinessProbe", "startupProbe") if container.at(kind)
        ]
    found = [probe for probe in probes if probe is not None]
    src = root.at("metadata", "name").src | root.at("metadata", "namespace").src | root.at("kind").src
    workload = Workload(
        Ref(document.namespace or default_namespace, document.name),
        document.kind,
        _mapping(pod, "metadata", "labels"),
        _mapping(pod, "metadata", "annotations"),
        account,
        _unique(ports, lambda port: (port.number, port.protocol, port.name)),
        _unique(found, lambda probe: (probe.kind, probe.port, probe.path)),
        root.number,
        template,
        spec.at("hostNetwork").value is True,
        _sources(pod, "metadata", "labels"),
        _sources(pod, "metadata", "annotations"),
        _marks(root, _mapping(pod, "metadata", "labels")),
        src,
        proxy=proxy,
        alone=bool(proxies) and len(proxies) == len(containers),
        claimed=_claimed(root),
    )
    world.read |= src | account.src | spec.at("hostNetwork").src
    world.read |= set(workload.label_src.values())
    for port in workload.ports:
        world.read |= port.src
    for probe in workload.probes:
        world.read |= probe.src
    return workload


def _claimed(root: Cursor) -> Selector | None:
    """The selector of a controller that finds its pods by labels which nobody else's may have; where it has none, the labels of its template were the default.
    A Job's is made up by the API server."""
    if root.document.kind not in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Rollout"):
        return None
    chosen = root.selector("spec", "selector").value
    if chosen.everything:
        chosen = Selector.of(_mapping(root, "spec", "template", "metadata", "labels"))
    return None if chosen.everything else chosen


def _marks(root: Cursor, labels: dict[str, str]) -> frozenset[str]:
    """The labels that are a mesh's. Where the pods have no others, those that an installer or a controller wrote stay with them."""
    meant = {key: set(root.bound.table.key_bindings("labels", key).values()) for key in labels}
    marks = {key for key, bindings in meant.items() if bindings}
    if marks == labels.keys():
        marks = {key for key, bindings in meant.items() if any(binding.feature.startswith("membership.") for binding in bindings)}
    return frozenset(marks if marks != labels.keys() else ())


def _probe(container: Cursor, probe: Cursor) -> Probe | None:
    """The probe with its port as a number; 0 where the name is none of the container's."""
    for field, kind in (("httpGet", "http"), ("grpc", "grpc"), ("tcpSocket", "tcp"), ("exec", "exec")):
        place = probe.at(field)
        if not place:
            continue
        port = place.at("port").value if place.at("port") else 0
        src: Src = place.at("port").src | place.at("path").src
        if isinstance(port, str):
            named = [item for item in container.each("ports") if item.at("name").value == port]
            number = named[0].number_at("containerPort") if named else None
            src |= named[0].src if named else NOWHERE
            port = number.value if number else int(port) if is_number(port) else 0
        path = place.text("path")
        return Probe(kind, port if isinstance(port, int) else 0, (path.value if path else "/").partition("?")[0] or "/", src)
    return None


def _unique(items: list[Any], key: Callable[[Any], Any]) -> list[Any]:
    """The items by key, each once, in the order of their keys; equal ones share their leaves."""
    found: dict[Any, Any] = {}
    for item in items:
        known = found.setdefault(key(item), item)
        if known is not item:
            known.src = known.src | item.src
    return [found[name] for name in sorted(found)]
