"""Policies that reach pods of the bundle and add nothing there: what becomes of their leaves."""

from __future__ import annotations

from meshport.dialects import protocols
from meshport.dialects.output import Output
from meshport.effective.access import Access, ports_of
from meshport.effective.redundant import deciding
from meshport.ir.base import Src

GRANTED = "what the other rules for these pods come to is the same without it"
REFUSED = "nothing that the policies allow is refused by it"


def without_effect(out: Output, access: Access, networks: tuple[str, ...], reached: Src | set[int]) -> None:
    """Parts of policies on known pods that reached nothing: the other rules there come to the same without them. (The read-back proves it.)

    A leaf with which another value would change what is admitted is translated by what stands there; the rest decides nothing.
    """
    seen: set[tuple[object, ...]] = set()
    idle: list[tuple[str, Src]] = []
    for item in access.workloads:
        ports = sorted(ports_of([item], access.world))
        spoken = {port: protocols.is_http(protocols.of_port(item.workload, port, access.world)[0]) for port in ports}
        for reason, policies in ((GRANTED, (*item.allows, *item.opened)), (REFUSED, (*item.denies, *item.customs))):
            for policy in policies:
                rest = policy.sources - reached
                key = (id(policy), *item.key, *spoken.items())
                if not rest or key in seen:
                    continue
                seen.add(key)
                idle.append((reason, rest))
                if policy.routed and policy.protocol is not None:
                    out.decide("what the port is said to speak decides which routes hang on it", policy.protocol)
                if not policy.closing:
                    out.decide("says that the rules close nothing, where others would", policy.action)
                if item.meshed is not False:
                    http: dict[int | None, bool] = {None: True, **dict(spoken.items())}
                    out.decide(
                        f"{reason}, and with another value it might not be",
                        deciding(item, policy, rest, (*ports, None), http.__getitem__, networks),
                    )
    for reason, rest in idle:
        out.ignore(reason, rest)


__all__ = ["without_effect"]
