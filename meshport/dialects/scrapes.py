"""Where Prometheus scrapes pods: as their annotations say (prometheus.io/scrape, port, path), and as PodMonitors and ServiceMonitors do.

https://prometheus-operator.dev/docs/api-reference/api/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from meshport.dialects.cursor import Cursor
from meshport.ir.base import Src
from meshport.ir.world import Scrape, Workload, World
from meshport.mapping.bound import Bound
from meshport.values.ports import is_number

_PREFIX = "prometheus.io/"
_METRICS = "/metrics"
_GROUP = "monitoring.coreos.com"


def lift(bound: Bound, world: World, default_namespace: str) -> None:
    """The scrapes of each workload."""
    for workload in world.workloads:
        workload.scrapes.extend(_annotated(workload))
    for number, document in enumerate(bound.bundle.documents):
        if document.group != _GROUP or document.kind not in ("PodMonitor", "ServiceMonitor") or number in bound.broken:
            continue
        spec = Cursor.root(bound, number).at("spec")
        chosen = spec.selector("selector")
        names = {fact.value for fact in spec.strings("namespaceSelector", "matchNames")}
        homes = None if spec.at("namespaceSelector", "any").value is True else names or {document.namespace or default_namespace}
        of_pods = document.kind == "PodMonitor"
        for workload in world.workloads:
            if homes is not None and workload.ref.namespace not in homes:
                continue
            if of_pods and not chosen.value.accepts(workload.labels):
                continue
            for endpoint in spec.each("podMetricsEndpoints" if of_pods else "endpoints"):
                path = endpoint.text("path")
                src = (
                    chosen.src
                    | spec.at("namespaceSelector").src
                    | endpoint.at("port").src
                    | endpoint.at("targetPort").src
                    | endpoint.at("path").src
                )
                for port in sorted(
                    set(_of_pod(workload, endpoint) if of_pods else _of_services(world, workload, chosen.value.accepts, endpoint))
                ):
                    workload.scrapes.append(Scrape(port, path.value if path else _METRICS, True, src))


def _annotated(workload: Workload) -> Iterator[Scrape]:
    """The port stated, else the first that is declared."""
    notes = workload.annotations
    if notes.get(_PREFIX + "scrape") != "true":
        return
    stated = notes.get(_PREFIX + "port")
    first = next((item.number for item in workload.ports if item.protocol == "TCP"), None)
    port = int(stated) if stated and is_number(stated) else first
    src: Src = frozenset(leaf for key, leaf in workload.annotation_src.items() if key.startswith(_PREFIX))
    if port is not None:
        yield Scrape(port, notes.get(_PREFIX + "path") or _METRICS, False, src)


def _of_pod(workload: Workload, endpoint: Cursor) -> Iterator[int]:
    """The ports of a pod that an endpoint names: by the name of a container's, or by number."""
    yield from _ports(workload, endpoint, ("port", "portNumber", "targetPort"))


def _ports(workload: Workload, endpoint: Cursor, keys: tuple[str, ...]) -> Iterator[int]:
    for key in keys:
        value = endpoint.at(key).value
        if isinstance(value, int) and not isinstance(value, bool):
            yield value
        elif isinstance(value, str) and (named := workload.port_named(value)) is not None:
            yield named.number


def _of_services(world: World, workload: Workload, accepts: Callable[[Mapping[str, str]], bool], endpoint: Cursor) -> Iterator[int]:
    """The ports of a pod that an endpoint reaches through the Services that a monitor selects."""
    for service in world.services_of(workload):
        if not accepts(service.labels):
            continue
        name = endpoint.text("port")
        for port in service.ports:
            if name is not None and port.name == name.value and (number := world.target_number(workload, port)) is not None:
                yield number
        yield from _ports(workload, endpoint, ("targetPort",))
