"""Network policies that know callers and pods where a waypoint comes to stand between them, or does not any more, or where another gateway calls.

A request to a Service behind a waypoint is two connections for the network: from the caller to the waypoint's pods, and from those to the Service's, both to
port 15008 (istio.io, ambient/architecture/data-plane). A policy that names callers and pods by their labels lets neither through, whatever ports it names;
one that names the waypoint lets nobody else through when the waypoint is gone.
"""

from __future__ import annotations

from meshport.dialects.base import Options
from meshport.dialects.cilium.beside import KINDS, PEERS, WAYS, Beside, Rule, standing, taken
from meshport.dialects.cilium.both import PODS, numbers, spoken
from meshport.dialects.entrances import GATEWAY_NAME
from meshport.dialects.istio.waypoints import FOR, USE, USE_NAMESPACE
from meshport.dialects.marks import labels_of
from meshport.dialects.output import Output
from meshport.findings import Affected
from meshport.ir.base import Fact, Ref
from meshport.ir.model import IR
from meshport.ir.routing import behind_gateways
from meshport.ir.world import Workload, World

TUNNEL = 15008
INGRESS = "ingress"  # what Cilium calls its own entry, which has no labels of a pod
Hops = tuple[tuple[Workload, Workload], ...]


def report(ir: IR, out: Output, options: Options) -> None:
    """MP190 for each waypoint that comes to stand before pods, MP191 for each that stood there and does not any more, where callers that came to the pods are
    refused on the way that is left."""
    makes = options.target == "istio" and options.data_plane == "ambient"
    leaves = options.source == "istio" and (
        options.target in ("linkerd", "cilium") or (options.target == "istio" and options.data_plane == "sidecar")
    )
    own = options.source == "cilium"
    for gate, services in (_made(out, options.default_namespace) if makes else _left(ir, out) if leaves else {}).items():
        stand_in = Workload(gate, "Pod", {GATEWAY_NAME: gate.name}, {}, Fact(gate.name), [], [], 0, ())
        world = World(ir.world.namespaces, [*ir.world.workloads, stand_in], ir.world.services, ir.world.accounts)
        found = [item for item in standing(world, out, told=False) if item.kind not in KINDS or not own or item.number in out.kept]
        network = Network(world, found)
        refused: dict[int, Workload] = {}
        blame: dict[int, Beside] = {}
        for one in ir.world.workloads:
            behind = {service.ref for service in ir.world.services_of(one)} & services
            if behind and ir.world.meshed(one) is not False and (items := network.lost(stand_in, one, direct=makes)):
                refused[id(one)] = one
                blame |= {item.number: item for item in items}
        if refused:
            out.finding(
                "MP190" if makes else "MP191", document=min(blame), affects=tuple(Affected(one.ref.namespace, one.ref.name) for one in refused.values()),
                feature="l4.ingress-default-deny", policies=", ".join(str(blame[number]) for number in sorted(blame)), waypoint=str(gate), name=gate.name,
                workloads=", ".join(str(one.ref) for one in refused.values()),
            )  # fmt: skip


def succeeded(ir: IR, out: Output, options: Options) -> None:
    """MP194 for pods that the source's gateways come to, and what takes their place does not: Cilium's ingress is no pod, another class has pods of its own."""
    if options.source != "istio" or not (options.target == "cilium" or (options.target == "linkerd" and options.gateway_class)):
        return
    behind = behind_gateways(ir.routes)
    gates: list[Workload] = []
    for gateway in ir.gateways if behind else ():
        ref = gateway.ref.value
        if gateway.kind == "networking.istio.io":
            gates += gateway.pods(ir.world)
        elif gateway.implementation.value == "istio":
            gates.append(Workload(ref, "Pod", {GATEWAY_NAME: ref.name}, {}, Fact(ref.name), [], [], gateway.document, ()))
    if not gates:
        return
    home = "" if options.target == "cilium" else gates[0].ref.namespace
    successor = Workload(Ref(home, "successor"), INGRESS if options.target == "cilium" else "Pod", {}, {}, Fact("default"), [], [], 0, ())
    others = [one for one in gates if all(one is not known for known in ir.world.workloads)]
    world = World(ir.world.namespaces, [*ir.world.workloads, *others, successor], ir.world.services, ir.world.accounts)
    network = Network(world, standing(world, out, told=False))
    refused = {
        id(one): (one, items)
        for one in ir.world.workloads
        if behind & {service.ref for service in ir.world.services_of(one)} and (items := network.successor(gates, successor, one))
    }
    if refused:
        blame = {item.number: item for _, items in refused.values() for item in items}
        out.finding(
            "MP194", document=min(blame), affects=tuple(Affected(one.ref.namespace, one.ref.name) for one, _ in refused.values()),
            feature="l4.ingress-default-deny", policies=", ".join(str(blame[number]) for number in sorted(blame)),
            gateways=", ".join(sorted({str(one.ref) for one in gates})), workloads=", ".join(str(one.ref) for one, _ in refused.values()),
            successor="Cilium's ingress, which no label names" if options.target == "cilium" else f"the pods of the class {options.gateway_class}",
        )  # fmt: skip


def _made(out: Output, default_namespace: str) -> dict[Ref, set[Ref]]:
    """The Services that were put behind a waypoint, by waypoint."""
    found: dict[Ref, set[Ref]] = {}
    for obj in out.in_order():
        name = labels_of(obj.value).get(USE) if obj.kind == "Service" else None
        was = labels_of(out.bundle.documents[obj.changed].value) if obj.changed is not None else {}
        if name and was.get(USE) != name:
            home = obj.ref.namespace or default_namespace
            found.setdefault(Ref(home, name), set()).add(Ref(home, obj.ref.name))
    return found


def _left(ir: IR, out: Output) -> dict[Ref, set[Ref]]:
    """The Services that stand behind a waypoint in the source, by waypoint."""
    found: dict[Ref, set[Ref]] = {}
    elsewhere = {
        Ref(one.namespace or "", one.name)
        for one in out.bundle.documents
        if one.kind == "Gateway" and labels_of(one.value).get(FOR) in ("workload", "none")
    }
    for ref, service in ir.world.services.items():
        home = ir.world.namespaces.get(ref.namespace)
        said = labels_of(out.bundle.documents[service.document].value)
        labels = said if USE in said else home.labels if home is not None else {}
        gate = Ref(labels.get(USE_NAMESPACE, ref.namespace), labels.get(USE, "none"))
        if gate.name != "none" and gate not in elsewhere:
            found.setdefault(gate, set()).add(ref)
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

    def lost(self, gate: Workload, pod: Workload, *, direct: bool) -> list[Beside]:
        """The policies for which a caller that came to a pod does not come to it by its waypoint, or the other way round where it did not come `direct`;
        [] where everybody does."""
        ports = self._ports(pod)
        for caller in self.world.workloads if self._closed else ():
            if caller in (gate, pod) or self.world.meshed(caller) is False:
                continue
            ways: list[Hops] = [((caller, pod),), ((gate, pod), (caller, gate))]
            before, after = ways if direct else reversed(ways)
            if any(self._stops(*hop, pod, ports) for hop in before):
                continue
            for hop in after:
                if stops := self._stops(*hop, pod, ports):
                    return stops
        return []

    def successor(self, gates: list[Workload], successor: Workload, pod: Workload) -> list[Beside]:
        """The policies for which what takes the place of gateways does not come to a pod that one of them came to."""
        ports = self._ports(pod)
        if all(self._stops(gate, pod, pod, ports) for gate in gates):
            return []
        return self._stops(successor, pod, pod, ports)

    def _ports(self, pod: Workload) -> set[int]:
        """The ports of a pod, with that of the tunnel; none where the bundle shows none."""
        ports = {port.number for port in pod.ports if port.protocol == "TCP"}
        for service in self.world.services_of(pod):
            ports |= {number for port in service.ports if (number := self.world.target_number(pod, port)) is not None}
        return ports | {TUNNEL} if ports else ports

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
        if not any(way + kind in rule for kind in PEERS) or any(
            name in PODS or (name == "ingress" and there.kind == INGRESS) for name in rule.get(f"{way}Entities") or ()
        ):
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
