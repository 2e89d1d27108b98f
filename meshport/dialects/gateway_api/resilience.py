"""What the Gateway API has of breakers, limits and load balancing: TLS towards a Service, and a budget of retries. The objects stay with the mesh that acts on them, each
with one finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshport.dialects.gateway_api import backends
from meshport.dialects.gateway_api.staying import stays
from meshport.findings import Affected
from meshport.ir.base import Fact
from meshport.ir.resilience import ServicePolicy, explains_breaker, explains_policy
from meshport.ir.routing import gather
from meshport.mapping.table import version_key

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR


def lower(ir: IR, out: Output, options: Options) -> None:
    """Account for every policy of a Service: a DestinationRule that only defines subsets is done with, any other one stays."""
    release = version_key(options.target_version)
    writes = release >= (1, 2) and (
        ir.mesh != "istio" or version_key(options.source_version) >= (1, 28)
    )  # which Istio reads what is written
    documents: dict[int, list[ServicePolicy]] = {}
    standing = [routes for routes in ir.routes if routes.document not in out.removed]
    asked = {
        backend.host.value
        for routes in standing for rule in routes.rules for backend in rule.backends if backend.subset is not None
    }  # fmt: skip
    backends.standing(ir, out, release)
    for policy in ir.service_policies:
        if policy.kind in backends.GROUPS:
            continue
        for reason, src in policy.silenced:
            out.ignore(reason, src)
        documents.setdefault(policy.document, []).append(policy)
    for number, listed in sorted(documents.items()):
        said_so = (
            backends.of_rule(listed, ir, out, f"gateway.networking.k8s.io/{'v1' if release >= (1, 4) else 'v1alpha3'}") if writes else set()
        )
        spread = backends.of_budget(listed, ir, out, release)
        if said_so and release < (1, 4):
            mode = next(fact for policy in listed for path, fact in policy.extras if path == "tls.mode")
            out.lost(mode, document=number, affects=())
        facts = [fact for policy in listed for fact in _settings(policy, out, said_so | spread)]
        document = out.bundle.documents[number]
        hosts = [policy.host for policy in listed]
        if not facts:
            if spread:
                said = gather(hosts, *(policy.exports for policy in listed)) | frozenset().union(*(policy.src for policy in listed))
                out.imply("stays as it is: Istio reads an XBackendTrafficPolicy only where its alpha features are switched on", said)
            elif said_so:
                out.remove(number, "the TLS that it starts is in the BackendTLSPolicy, and it says nothing else")
            elif document.group:
                said = gather(hosts, *(policy.exports for policy in listed)) | frozenset().union(*(policy.src for policy in listed))
                hosts_of_subsets = {policy.host.value for policy in listed if policy.subset}
                if not hosts_of_subsets:
                    out.imply("stays as it is: it says what the mesh does by itself", said)
                elif hosts_of_subsets & asked:
                    out.imply("stays as it is: rules that could not be converted send to its subsets", said)
                else:
                    out.ignore("says nothing that the routes and their Services do not say", said)
                    out.remove(number, "the subsets that it defines are Services now, and it says nothing else")
            continue
        explained = frozenset(pair for policy in listed for pair in (*explains_breaker(policy, "*"), *explains_policy(policy, "*")))
        affects = tuple(
            dict.fromkeys(
                Affected(policy.service.value.namespace, policy.service.value.name) for policy in listed if policy.service is not None
            )
        )
        src = gather(facts, hosts, *(policy.exports for policy in listed)) | frozenset().union(*(policy.src for policy in listed))
        stays(out, number, facts, src, affects=affects, explains=explained)


def _settings(policy: ServicePolicy, out: Output, said_so: set[str]) -> list[Fact[Any]]:
    """What the policy does that is more than every mesh does by itself."""
    facts = []
    for path, fact in policy.extras:
        if path in said_so:
            continue
        if path == "tls.mode" and fact.value == "ISTIO_MUTUAL":
            out.ignore("what every mesh does by itself between two of its workloads", fact)
        else:
            facts.append(fact)
    if policy.breaker is not None and policy.breaker.ejects:
        breaker = policy.breaker
        parts = (breaker.consecutive, breaker.penalty, breaker.max_penalty, *(fact for _, fact in breaker.extras))
        facts += [fact for fact in parts if fact is not None]
    return facts
