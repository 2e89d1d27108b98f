"""Network policies that keep the target's proxies from their control plane.

An injected proxy asks its control plane for certificates and configuration before its pod becomes ready: Istio's at istiod's 15012 (istio.io,
ops/deployment/application-requirements), Linkerd's at 8080 (identity), 8086 (destination) and 8090 (policy) (linkerd.io, tasks/restricting-access and the charts'
own Services). A policy with egress rules closes those unless it names them; what let pods reach the source's control plane names another namespace.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshport.dialects.base import Options
from meshport.dialects.cilium.beside import KINDS, WAYS, Beside, Rule, selector_of, standing
from meshport.dialects.cilium.both import holds
from meshport.dialects.cilium.membership import SYSTEM
from meshport.dialects.cilium.peers import Peers, take_apart
from meshport.dialects.output import Output
from meshport.findings import Affected
from meshport.ir.model import IR
from meshport.ir.world import World

WAY = WAYS["egress"]
ANYBODY = ("all", "cluster")
"""Entities of Cilium that have the control plane's pods among them."""


def report(ir: IR, out: Output, options: Options) -> None:
    """MP143 for the egress rules, one finding for all, that let pods which join the target mesh not reach every port of its control plane."""
    if options.target == options.source or options.target not in ("istio", "linkerd"):
        return
    home, ports = (options.root_namespace, (15012,)) if options.target == "istio" else (options.control_plane_namespace, (8080, 8086, 8090))
    own = options.source == "cilium"
    found = [item for item in standing(ir.world, out, told=False) if item.direction == "egress"]
    found = [item for item in found if item.kind not in KINDS or not own or item.number in out.kept]
    shut = [item for item in found if item.closing and _shuts(item, found, ir.world, home, ports)]
    if not shut:
        return
    spaces = sorted({space for item in shut for space in _spaces(item)})
    name = "istiod" if options.target == "istio" else "the control plane"
    out.finding(
        "MP143", document=shut[0].number, feature="l4.egress", what=f"{name} in {home} ({', '.join(map(str, ports))})",
        namespaces=", ".join(space or "every namespace" for space in spaces),
        policies=", ".join(dict.fromkeys(str(item.ref) if item.ref.namespace else item.ref.name for item in shut)),
        affects=tuple(Affected(space or None) for space in spaces),
    )  # fmt: skip


def _spaces(item: Beside) -> set[str]:
    """The namespaces whose pods a policy selects; "" for every one, where the bundle shows no pods of a clusterwide policy."""
    return {one.ref.namespace for one in item.pods} or {item.ref.namespace}


def _shuts(item: Beside, found: list[Beside], world: World, home: str, ports: tuple[int, ...]) -> bool:
    """Whether a pod that joins, or one that the bundle does not show, is let through to fewer than all ports by what holds for it."""
    if not item.pods:
        space = world.namespaces.get(item.ref.namespace)
        left_out = item.ref.namespace in SYSTEM or (space is not None and space.meshed is not None and not space.meshed.value)
        return not left_out and not _reached([item], world, home, ports)
    joining = [one for one in item.pods if one.ref.namespace not in SYSTEM and world.meshed(one) is not False]
    return any(not _reached([other for other in found if one in other.pods], world, home, ports) for one in joining)


def _reached(among: Iterable[Beside], world: World, home: str, ports: tuple[int, ...]) -> bool:
    rules = [rule for item in among for rule in item.rules if _takes(rule, item, world, home)]
    return all(any(_opens(rule, port) for rule in rules) for port in ports)


def _takes(rule: Rule, item: Beside, world: World, home: str) -> bool:
    """Whether pods of the control plane's namespace are among the peers of a rule; which ones they are the bundle does not say."""
    if any(name in ANYBODY for name in rule.get(f"{WAY}Entities") or ()) or not any(
        key.startswith(WAY) and key != "toPorts" for key in rule
    ):
        return True
    if item.kind not in KINDS and any(block.get("cidr") == "0.0.0.0/0" for block in rule.get(f"{WAY}CIDRSet") or ()):
        return True  # which pods have addresses of too, but for Cilium
    for peer in rule.get(f"{WAY}Endpoints") or ():
        spaces = Peers(world).namespaces(take_apart(selector_of(peer)), item.ref.namespace or None)
        if spaces is None or home in spaces:
            return True
    return False


def _opens(rule: Rule, port: int) -> bool:
    entries = rule.get("toPorts")
    if not entries:
        return not rule.get("icmps")
    return any(holds(one, port) for entry in entries for one in entry.get("ports") or [{"port": "0"}])


__all__ = ["report"]
