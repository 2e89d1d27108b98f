"""Network policies that keep waypoints from the pods that they stand before.

A request to a Service behind a waypoint is two connections for the network: from the caller to the waypoint's pods, and from those to the Service's, both to
port 15008 (istio.io, ambient/architecture/data-plane). A policy that names callers and pods by their labels lets neither through, whatever ports it names.
"""

from __future__ import annotations

from meshport.dialects.base import Options
from meshport.dialects.cilium.beside import KINDS, PEERS, WAYS, Beside, Rule, standing, taken
from meshport.dialects.cilium.both import PODS, numbers, spoken
from meshport.dialects.output import Output
from meshport.findings import Affected
from meshport.ir.base import Fact, Ref
from meshport.ir.model import IR
from meshport.ir.world import Workload, World

USE, GATEWAY_NAME = "istio.io/use-waypoint", "gateway.networking.k8s.io/gateway-name"


def report(ir: IR, out: Output, options: Options) -> None:
    """MP190 for each waypoint that comes to stand before pods, and that callers who came to them do not reach or that does not reach them."""
    if options.target != "istio" or options.data_plane != "ambient":
        return
    for gate, services in _made(out).items():
        stand_in = Workload(gate, "Pod", {GATEWAY_NAME: gate.name}, {}, Fact(gate.name), [], [], 0, ())
        world = World(ir.world.namespaces, [*ir.world.workloads, stand_in], ir.world.services, ir.world.accounts)
        own = options.source == "cilium"
        network = Network(
            world, [item for item in standing(world, out, told=False) if item.kind not in KINDS or not own or item.number in out.kept]
        )
        refused: dict[int, Workload] = {}
        blame: dict[int, Beside] = {}
        for one in ir.world.workloads:
            behind = {service.ref for service in ir.world.services_of(one)} & services
            if behind and ir.world.meshed(one) is not False and (items := network.between(stand_in, one)):
                refused[id(one)] = one
                blame |= {item.number: item for item in items}
        if refused:
            first = min(blame)
            out.finding(
                "MP190", document=first, affects=tuple(Affected(one.ref.namespace, one.ref.name) for one in refused.values()),
                feature="l4.ingress-default-deny", policies=", ".join(str(blame[number]) for number in sorted(blame)), waypoint=str(gate), name=gate.name,
                workloads=", ".join(str(one.ref) for one in refused.values()),
            )  # fmt: skip


def _made(out: Output) -> dict[Ref, set[Ref]]:
    """The Services that were put behind a waypoint, by waypoint."""
    found: dict[Ref, set[Ref]] = {}
    for obj in out.in_order():
        name = (obj.value["metadata"].get("labels") or {}).get(USE) if obj.kind == "Service" else None
        before = out.bundle.documents[obj.changed] if obj.changed is not None else None
        was = before.value["metadata"].get("labels") or {} if before is not None else {}
        if name and was.get(USE) != name:
            home = obj.ref.namespace or (before.namespace if before is not None else None) or ""
            found.setdefault(Ref(home, name), set()).add(Ref(home, obj.ref.name))
    return found


class Network:
    """What network policies let through between pods. Their ports count as far as they are those of the pods: that 15008 is let through beside them is seen
    to, or said, for each policy (`carried_ports.py`)."""

    def __init__(self, world: World, items: list[Beside]) -> None:
        self.world = world
        self._beside: dict[tuple[str, int], list[Beside]] = {}
        for item in items:
            for one in item.pods:
                self._beside.setdefault((item.direction, id(one)), []).append(item)
        self._closed = {key for key, beside in self._beside.items() if any(item.closing for item in beside)}
        self._taken: dict[str, set[int]] = {}

    def between(self, gate: Workload, pod: Workload) -> list[Beside]:
        """The policies for which a caller that came to a pod does not come to it by its waypoint; [] where everybody does."""
        ports = {port.number for port in pod.ports if port.protocol == "TCP"}
        for service in self.world.services_of(pod):
            ports |= {number for port in service.ports if (number := self.world.target_number(pod, port)) is not None}
        for caller in self.world.workloads if self._closed else ():
            if caller in (gate, pod) or self.world.meshed(caller) is False or self._stops(caller, pod, pod, ports):
                continue
            if stops := self._stops(gate, pod, pod, ports) or self._stops(caller, gate, pod, ports):
                return stops
        return []

    def _stops(self, source: Workload, target: Workload, pod: Workload, ports: set[int]) -> list[Beside]:
        """The policies that refuse connections of one pod to another, for ports of `pod`."""
        for direction, here, there in (("ingress", target, source), ("egress", source, target)):
            key = (direction, id(here))
            beside = self._beside.get(key, []) if key in self._closed else []
            if beside and not any(self._lets(rule, WAYS[direction], there, pod, ports) for item in beside for rule in item.rules):
                return [item for item in beside if item.closing]
        return []

    def _lets(self, rule: Rule, way: str, there: Workload, pod: Workload, ports: set[int]) -> bool:
        if rule.get("icmps") or not (not rule.get("toPorts") or any(_about(port, pod, ports) for port in _ports(rule))):
            return False
        if not any(way + kind in rule for kind in PEERS) or any(name in PODS for name in rule.get(f"{way}Entities") or ()):
            return True
        if any(block.get("cidr") == "0.0.0.0/0" for block in rule.get(f"{way}CIDRSet") or ()):  # of Kubernetes: pods have addresses
            return True
        return any(id(there) in self._takes(peer) for peer in rule.get(f"{way}Endpoints") or ())

    def _takes(self, peer: Rule) -> set[int]:
        key = repr(peer)
        if key not in self._taken:
            self._taken[key] = set(map(id, taken(peer, self.world)))
        return self._taken[key]


def _ports(rule: Rule) -> list[Rule]:
    return [port for entry in rule["toPorts"] for port in entry.get("ports") or [{"port": "0"}]]


def _about(port: Rule, pod: Workload, ports: set[int]) -> bool:
    """Whether a port of a rule is a TCP port that the pod has; what ports it has the bundle may not show."""
    known = numbers(port, [pod]) if spoken(port) in ("TCP", "ANY") else None
    return known is not None and (not ports or any(known[0] <= number <= known[1] for number in ports))
