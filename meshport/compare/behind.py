"""Which pods stand behind each port of a Service, and at which of their ports, compared: requests go elsewhere where a selector or a target port changes, though no
mesh says a word about the Service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshport.ir.base import NOWHERE, Src
from meshport.ir.model import IR
from meshport.ir.world import Service, ServicePort, World


def differences(old: IR, new: IR) -> Iterator[tuple[str, dict[str, Any], str, str, tuple[Src, Src]]]:
    """(subject, request, before, after, leaves of both sides) for each port of a Service that leads elsewhere, or nowhere; a port that is new leads nobody astray.
    A Service without a selector leads where its endpoints say, which the bundle need not show."""
    for ref, mine in sorted(old.world.services.items()):
        its = new.world.services.get(ref)
        if its is None or (mine.selector is None and its.selector is None):
            continue
        for one in mine.ports:
            other = its.port(one.number)
            if one.protocol != "TCP" or (other is not None and other.protocol != "TCP"):
                continue
            before = _reached(old.world, mine, one)
            after = _reached(new.world, its, other) if other is not None else None
            if after is not None and before[0] == after[0] and _alike(before[1], after[1]):
                continue
            request = {
                "source": {"namespace": ref.namespace, "meshed": True},
                "destination": {"namespace": ref.namespace, "service": ref.name, "port": one.number},
                "protocol": "tcp",
            }
            yield (
                f"pods of Service {ref} port {one.number}",
                request,
                _words(before),
                _words(after) if after is not None else f"the Service has no port {one.number}",
                (mine.src | one.src, its.src | (other.src if other is not None else NOWHERE)),
            )


Reached = tuple[str, dict[str, int | str | None]]


def _reached(world: World, service: Service, port: ServicePort) -> Reached:
    """The pods by their labels, and the port at each workload of theirs that the bundle shows; as it is written where it shows none."""
    pods = service.pods
    known = world.selected(pods) if pods is not None else []
    return str(pods or "what its endpoints say"), {str(pod.ref): world.target_number(pod, port) for pod in known} or {"": port.target}


def _alike(one: dict[str, int | str | None], other: dict[str, int | str | None]) -> bool:
    """Whether the ports at the workloads are the same. A workload that one side shows alone is no other way of a request, nor one that lacks a named port which
    others have: by its number nobody there answers either."""
    shown = one.keys() & other.keys()
    if any(all(side[name] is None for name in shown) for side in (one, other)):
        return all(one[name] == other[name] for name in shown)
    return all(one[name] == other[name] or None in (one[name], other[name]) for name in shown)


def _words(reached: Reached) -> str:
    pods, at = reached
    ports = sorted({str(port) for port in at.values() if port is not None})
    return f"to {pods}, " + (f"container port {', '.join(ports)}" if ports else "of which none has a port of this name")
