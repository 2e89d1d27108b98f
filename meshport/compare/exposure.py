"""What leaves the cluster, and what clusters share, as plain data by subject. Where everything may leave there is nothing to compare."""

from __future__ import annotations

from typing import Any

from meshport.effective import egress
from meshport.effective.egress import Leaving
from meshport.ir.base import Ref
from meshport.ir.model import IR
from meshport.values.cidrs import normalise, parse_network


def canonical(ir: IR) -> dict[str, dict[str, Any]]:
    """Subjects are workloads (or namespaces without known workloads) whose way out is closed, and Services that clusters share."""
    found: dict[str, dict[str, Any]] = {}
    for item in egress.leaving(ir):
        if item.refuses:
            opened, spoken = _open(ir, item)
            found[item.subject] = {"default": _default(ir, item), "open": opened, **({"spoken": spoken} if spoken else {})}
    for machine in ir.machines:
        if machine.address is not None:
            found[machine.subject] = {
                "address": machine.address.value,
                "ports": {name: fact.value for name, fact in machine.ports},
                "labels": {name: fact.value for name, fact in machine.labels},
                "account": machine.account.value if machine.account is not None else None,
            }
    for shared in ir.shared:
        if not (shared.offered and ir.world.served(shared.service.value)):
            continue  # some meshes say it by a mark, others are known to share what has endpoints here
        entry = found.setdefault(sharing(shared.service.value), {})
        entry["shared"] = "with other clusters"
        if shared.prefers is not None:
            entry["prefers"] = shared.prefers.value
    return found


def sharing(service: Ref) -> str:
    """What a difference about a shared Service is about."""
    return f"sharing of Service {service}"


def _default(ir: IR, item: Leaving) -> str:
    general = item.general
    if general is not None and general.refuses.value:
        withheld = _withheld(ir, item)
        return f"refused, with {', '.join(sorted(withheld))}" if withheld else "refused"
    networks = normalise(parse_network(cidr.value) for rule in item.rules if rule.refuses.value for cidr, _ in rule.networks)
    return f"refused in {', '.join(sorted(map(str, networks)))}"


def _withheld(ir: IR, item: Leaving) -> frozenset[str]:
    """What is refused that a mesh leaves alone: by every policy for the pods, for what several let through adds up."""
    pods = item.workload.labels if item.workload is not None else None
    acting = [rule for rule in ir.egress_defaults if rule.refuses.value and not rule.silenced and rule.namespace in ("", item.namespace)]
    return frozenset.intersection(*(rule.withheld for rule in acting if pods is None or rule.selector.value.accepts(pods)))


def _open(ir: IR, item: Leaving) -> tuple[dict[str, str], dict[str, str]]:
    """What is open, and what the mesh takes it for; Cilium judges addresses and takes it for nothing."""
    out: dict[str, str] = {}
    spoken: dict[str, str] = {}
    by_address: set[str] = set()
    general = item.general or item.rules[0]
    for outside in ir.outside:
        if outside.problem or not outside.shown_to(item.namespace):
            continue
        for host, address, port in egress.openings(ir, outside):
            if host is not None and not egress.visible(outside, host, general, item.namespace):
                continue
            judged = host is not None and egress.judged(ir, host.value, item.namespace, port.number.value)
            conditions = "" if judged else ", ".join(sorted({str(fact.value) for fact in outside.conditions}))
            key = egress.key(outside, host, address, port)
            by_address |= {key} if address is not None else set()
            out[key] = f"with conditions: {conditions}" if conditions else "allowed"
            if ir.mesh != "cilium" and port.protocol.value in egress.BY_NAME:
                spoken[key] = egress.spoken(port)
    for rule in item.rules:
        if not rule.refuses.value:
            for cidr, holes in rule.networks:
                out[f"any {cidr.value}"] = "except " + ", ".join(hole.value for hole in holes) if holes else "allowed"
    twice = {name for name in out if " in " in name and name.partition(" in ")[0] in out}
    twice |= {name for name in by_address if out.get(f"*:{name.rpartition(':')[2]}") == "allowed"}
    return {name: value for name, value in out.items() if name not in twice}, {
        name: value for name, value in spoken.items() if name not in twice
    }
