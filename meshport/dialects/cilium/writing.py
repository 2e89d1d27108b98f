"""A CiliumNetworkPolicy as an object of the output, and what it closes beside TCP."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from meshport.dialects.cilium.both import spans
from meshport.dialects.cilium.planning import Part
from meshport.dialects.output import Output
from meshport.effective.access import Effective
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Ref, Selector, Src
from meshport.ir.world import Workload, World
from meshport.values.ports import other_ports

CILIUM = "cilium.io/v2"
KIND = "CiliumNetworkPolicy"
ECHO = [{"family": "IPv4", "type": 8}, {"family": "IPv6", "type": 128}]
OTHERS = [{"port": "0", "protocol": "UDP"}, {"port": "0", "protocol": "SCTP"}]
Ruled = tuple[dict[str, Any], Src]


def write(
    out: Output,
    ref: Ref,
    selector: Selector,
    selector_src: Src,
    rules: list[Ruled],
    because: Src,
    documents: list[int],
    parts: Iterable[Part],
    *,
    whole: bool,
    named_by: Src = NOWHERE,
) -> None:
    rank, group = (40, "") if selector.everything and whole else (41, f"policy {ref.name}")
    obj = out.object(CILIUM, KIND, ref, owner=documents[0], group=group, rank=rank, because=because | named_by)
    for part in parts:
        obj.add_origin(part.document)
        if part.policy is not None:
            obj.note(f"from {part.policy.kind} {part.policy.ref.value}")
        elif (home := out.bundle.documents[part.document]).kind in ("PeerAuthentication", "Namespace"):
            obj.note(f"from {home.kind} {Ref(home.namespace or '', home.name)}")
    obj.set(("spec", "endpointSelector"), selector.manifest(), selector_src | because)
    if not rules:
        obj.set(("spec", "ingress"), [{}], because)
    for position, (rule, src) in enumerate(rules):
        obj.set(("spec", "ingress", position), rule, src | because)


def ranges(closed: list[int]) -> list[dict[str, Any]]:
    """Every TCP port but those that are closed."""
    return spans(other_ports((port, port) for port in closed))


@dataclass(slots=True)
class Others:
    """The pods that policies close for UDP, SCTP and ICMP too, which no mesh of the source governs."""

    members: list[Effective] = field(default_factory=list)
    unseen: list[Affected] = field(default_factory=list)  # pods that are selected and that the bundle does not show

    def add(self, members: Iterable[Effective], rules: Iterable[dict[str, Any]]) -> None:
        """Members of a policy with these rules."""
        if not any(_opens_others(rule) for rule in rules):
            self.members += members

    def tell(self, out: Output, world: World, namespaces: Collection[str]) -> None:
        """One finding for all namespaces whose policies are converted (`namespaces` are those that were asked for), and one for each port of another protocol
        that something declares."""
        own = {
            obj.ref.namespace
            for obj in out.objects.values()
            if obj.kind == KIND and (obj.ref.namespace in namespaces or any(number not in out.outside for number in obj.origins[:1]))
        }
        self.members = [item for item in self.members if item.workload.ref.namespace in own]
        pods = sorted({item.workload.ref for item in self.members})
        affects = tuple(
            dict.fromkeys((*(Affected(ref.namespace, ref.name) for ref in pods), *(one for one in self.unseen if one.namespace in own)))
        )
        spaces = sorted({item.namespace for item in affects if item.namespace is not None})
        if not spaces:
            return
        out.finding("MP292", document=None, affects=affects, feature="l4.protocol", namespaces=", ".join(spaces))
        told: set[tuple[Ref, int, str]] = set()
        for item in self.members:
            for port, protocol, src in _declared(item.workload, world):
                ref = item.workload.ref
                if (ref, port, protocol) in told:
                    continue
                told.add((ref, port, protocol))
                out.finding(
                    "MP293", src, document=item.workload.document, affects=(Affected(ref.namespace, ref.name, port),), feature="l4.protocol",
                    workload=str(ref), port=port, protocol=protocol,
                )  # fmt: skip


def _opens_others(rule: dict[str, Any]) -> bool:
    """Whether a rule lets anybody in by other protocols."""
    if "fromEndpoints" in rule or "fromCIDRSet" in rule or rule.get("fromEntities", ["all"]) != ["all"]:
        return False
    ports = [port for entry in rule.get("toPorts", ()) for port in entry["ports"]]
    return (bool(rule) and "toPorts" not in rule and "icmps" not in rule) or any(port["protocol"] == "UDP" for port in ports)


def _declared(workload: Workload, world: World) -> list[tuple[int, str, Src]]:
    """The ports of other protocols that the pods declare or a Service sends to them."""
    found = {(port.number, port.protocol): port.number_src for port in workload.ports if port.protocol in ("UDP", "SCTP")}
    for service in world.services_of(workload):
        for item in service.ports:
            number = world.target_number(workload, item)
            if item.protocol in ("UDP", "SCTP") and number is not None:
                found.setdefault((number, item.protocol), item.target_src)
    return [(number, protocol, src) for (number, protocol), src in sorted(found.items())]
