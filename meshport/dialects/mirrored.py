"""Services that Linkerd's service mirror makes of those of other clusters (`web-west`, `web-federated`): a controller's, and gone with it.

https://linkerd.io/2-edge/reference/multicluster/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from meshport.dialects.exposure import LINKING
from meshport.dialects.gateway_api.attachable import speaker
from meshport.findings import Affected
from meshport.ir.base import Ref, Src
from meshport.ir.resilience import ServicePolicy, breaker_subjects, policy_subjects
from meshport.ir.routing import RouteRule, ServiceRoutes, explains, gather

if TYPE_CHECKING:
    from meshport.dialects.output import Output
    from meshport.ir.model import IR

CLUSTER = "mirror.linkerd.io/cluster-name"


def without(ir: IR, out: Output) -> IR:
    """What another mesh is to say: nothing for such Services, whose findings this raises. A route that sends to one keeps its shares."""
    found = {
        ref: service.labels.get(CLUSTER) or "all linked clusters"
        for ref, service in ir.world.services.items()
        if service.mirror is not None
    }
    if not found:
        return ir
    noted: dict[Ref, list[ServiceRoutes | ServicePolicy]] = {ref: [] for ref in found}
    routes, policies = [], []
    for item in ir.routes:
        if item.service is None or item.service.value not in found:
            routes.append(item)
            _sent(item, found, ir, out)
        elif item.kind == "Service":
            noted[item.service.value].append(item)
        else:
            ref = item.service.value
            speaker(item, ir, out)("MP384", "dropped", how="is for", name=str(ref), cluster=found[ref], steps=LINKING[out.target])
    for policy in ir.service_policies:
        if policy.service is None or policy.service.value not in found:
            policies.append(policy)
        else:
            noted[policy.service.value].append(policy)
    for ref, said in sorted(noted.items()):
        out.gather(
            "mirrored", "MP383", ir.world.services[ref].mirror, gather(said) - gather(*((item.ref, item.service, item.host) for item in said)), listed={"names": [str(ref)]}, document=ir.world.services[ref].document, affects=(Affected(ref.namespace, ref.name),),
            explains=frozenset(pair for item in said for pair in _subjects(item, ir)), disposition="dropped",
        )  # fmt: skip
    return replace(ir, routes=routes, service_policies=policies)


def _sent(routes: ServiceRoutes, found: dict[Ref, str], ir: IR, out: Output) -> None:
    """Name the backends that nothing answers for once the mirror is gone."""
    for ref, because in _backends(routes.rules, found, routes.ref.src):
        out.finding(
            "MP384", because, document=routes.document, disposition="manual", affects=(Affected(ref.namespace, ref.name),), feature="routing.destination",
            explains=explains(ir.world, routes, "backends"), object=f"{routes.kind} {routes.ref.value}", how="sends to", name=str(ref), cluster=found[ref],
            steps=LINKING[out.target],
        )  # fmt: skip


def _backends(rules: tuple[RouteRule, ...], found: dict[Ref, str], home: Src) -> Iterator[tuple[Ref, Src]]:
    seen: dict[Ref, Src] = {}
    for backend in (backend for rule in rules for backend in rule.backends):
        if backend.service is not None and backend.service.value in found:
            seen[backend.service.value] = seen.get(backend.service.value, frozenset()) | (backend.service.src - home)
    yield from sorted(seen.items())


def _subjects(item: ServiceRoutes | ServicePolicy, ir: IR) -> Iterator[tuple[str, str]]:
    if isinstance(item, ServiceRoutes):
        yield from explains(ir.world, item, "*")
    else:
        yield from ((subject, "*") for subject in (*breaker_subjects(item), *policy_subjects(item)))
