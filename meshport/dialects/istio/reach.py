"""Which DestinationRule a client goes by. Of all that cover a host, one namespace decides: the client's own, else that of the Service, else the root
namespace; in it the most specific host, and of several rules for one host the oldest that has a traffic policy.

https://istio.io/latest/docs/ops/best-practices/traffic-management/#cross-namespace-configuration
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from meshport.dialects.istio import resilience
from meshport.ir.base import LAST, NOWHERE, Fact, Ref, Src, sources
from meshport.ir.resilience import ServicePolicy
from meshport.ir.routing import gather, ports_of

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.ir.model import IR
    from meshport.ir.world import World


def settle(ir: IR, world: World, options: Options) -> None:
    """Put into each service policy whom it is for: the Services that a wildcard covers, the clients that it is limited to, or that it does nothing."""
    policies = _merged(ir.service_policies)
    exact: dict[Ref, set[tuple[str, str]]] = {ref: set() for ref in world.services}
    for policy in policies:
        if policy.service is not None:
            exact.setdefault(policy.service.value, set()).add((policy.ref.value.namespace, policy.host.value))
    wild = {(policy.ref.value.namespace, policy.host.value) for policy in policies if policy.service is None and "*" in policy.host.value}
    won: dict[Ref, tuple[str, str]] = {}  # by Service: the namespace and the host of the rule that all clients go by
    for ref, named in exact.items():
        host = resilience.fqdn(ref, options)
        if chosen := _chosen(named | {one for one in wild if resilience.covers(one[1], host)}, ref, options):
            won[ref] = chosen
    ir.service_policies[:] = [one for policy in policies for one in _placed(policy, won, world, options)]


def _chosen(found: Iterable[tuple[str, str]], ref: Ref, options: Options) -> tuple[str, str] | None:
    """The rule for clients of every namespace. Where only rules of other namespaces name the Service itself, the first of these."""
    for namespace in (ref.namespace, options.root_namespace):
        hosts = [host for home, host in found if home == namespace]
        if hosts:
            return namespace, max(hosts, key=_specific)
    return min(((home, host) for home, host in found if "*" not in host), default=None)


def _specific(host: str) -> tuple[bool, int]:
    return "*" not in host, len(host)


def _merged(policies: list[ServicePolicy]) -> list[ServicePolicy]:
    """The policies, without what an older rule of the same namespace has said for the same host already."""
    oldest: dict[tuple[str, str, str], ServicePolicy] = {}
    for policy in policies:
        key = _key(policy)
        if (policy.subset or _speaks(policy)) and (key not in oldest or _age(policy) < _age(oldest[key])):
            oldest[key] = policy
    speaking: dict[tuple[str, str, str], list[ServicePolicy]] = {}
    for policy in filter(_speaks, policies):
        speaking.setdefault(_key(policy), []).append(policy)
    named: dict[tuple[str, str, str], Src] = {}
    for key, first in oldest.items():
        rivals = [policy.ref for policy in speaking.get(key, ()) if policy.document != first.document]
        named[key] = sources(first.ref, *rivals) if rivals else NOWHERE
    found = []
    for policy in policies:
        first = oldest.get(_key(policy), policy)
        reason = f"DestinationRule {first.ref.value} is for the same host, and of two traffic policies Istio takes the older one"
        if first.document != policy.document and _speaks(policy):
            found.append(_silent(policy, reason))
        else:
            found.append(_chosen_by(policy, named.get(_key(policy), NOWHERE)))
    return found


def _key(policy: ServicePolicy) -> tuple[str, str, str]:
    return policy.ref.value.namespace, policy.host.value, policy.subset


def _chosen_by(policy: ServicePolicy, names: Src) -> ServicePolicy:
    """The policy, whose settings hold because of what several for one host are called, too."""
    if not names or policy.created != LAST:
        return policy
    breaker = replace(policy.breaker, consecutive=policy.breaker.consecutive.also(names)) if policy.breaker is not None else None
    return replace(policy, breaker=breaker, extras=tuple((path, fact.also(names)) for path, fact in policy.extras))


def _age(policy: ServicePolicy) -> tuple[str, str]:
    return policy.created, policy.ref.value.name


def _speaks(policy: ServicePolicy) -> bool:
    return policy.breaker is not None or bool(policy.extras)


def _silent(policy: ServicePolicy, reason: str) -> ServicePolicy:
    said = gather(policy.breaker, tuple(fact for _, fact in policy.extras), policy.port)
    return replace(policy, breaker=None, extras=(), silenced=(*policy.silenced, (reason, said)))


def _placed(policy: ServicePolicy, won: dict[Ref, tuple[str, str]], world: World, options: Options) -> list[ServicePolicy]:
    home = policy.ref.value.namespace
    mine = (home, policy.host.value)
    if policy.service is not None:
        ref = policy.service.value
        if policy.port is not None and not _has(world, ref, policy.port.value):
            return [_silent(policy, f"Service {ref} has no port {policy.port.value}, so that the settings are for nothing")]
        if won.get(ref) == mine:
            return [policy if home in (ref.namespace, options.root_namespace) else replace(policy, clients=home)]
        if home == options.root_namespace or home == ref.namespace:
            return [_silent(policy, f"the DestinationRules of {ref.namespace} decide for its own Services") if _speaks(policy) else policy]
        return [replace(policy, clients=home, beside=True)]
    if not policy.host.value.startswith("*"):
        return [policy]
    covered = [ref for ref in sorted(world.services) if resilience.covers(policy.host.value, resilience.fqdn(ref, options))]
    if policy.port is not None and covered:
        covered = [ref for ref in covered if _has(world, ref, policy.port.value)]
        if not covered:
            return [_silent(policy, f"no Service that {policy.host.value} stands for has a port {policy.port.value}")]
    mine_alone = tuple(ref for ref in covered if won.get(ref) == mine)
    foreign = tuple(ref for ref in covered if home not in (ref.namespace, options.root_namespace))
    placed = [replace(policy, covers=mine_alone)]
    if foreign and any(path != "tls.mode" or fact.value != "ISTIO_MUTUAL" for path, fact in _said(policy)):
        placed.append(replace(policy, covers=foreign, clients=home, beside=True))
    return placed


def _has(world: World, ref: Ref, port: int) -> bool:
    """Whether a Service has a port, as far as the bundle shows it."""
    known = ports_of(world, ref)
    return not known or port in known


def _said(policy: ServicePolicy) -> list[tuple[str, Fact[object]]]:
    return [*policy.extras, *((("outlierDetection", policy.breaker.consecutive),) if policy.breaker is not None else ())]
