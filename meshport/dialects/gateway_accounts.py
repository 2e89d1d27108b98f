"""The service accounts that the source mesh's gateways run under: what a rule means that admits an ingress gateway.

Istio's own Gateway selects pods by labels, in whatever namespace they run; for a Gateway of the Gateway API Istio makes pods under the account
`<gateway>-<class>` unless an annotation names another (istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from meshport.dialects.base import Options
from meshport.documents import Bundle
from meshport.ir.authorization import IDENTITY, Condition
from meshport.ir.base import Fact, Ref
from meshport.ir.model import IR, Gateway
from meshport.ir.world import World
from meshport.values.identities import Identity

USUAL = tuple(Ref(namespace, "istio-ingressgateway-service-account") for namespace in ("istio-system", "istio-ingress"))
"""Accounts of installations whose gateway is not in the bundle."""
ACCOUNT_NOTE = "gateway.istio.io/service-account"


def gateway_accounts(ir: IR, bundle: Bundle) -> list[Ref]:
    """The accounts of all gateways, and those that installations usually have."""
    found = [ref for gateway in ir.gateways for ref in accounts_of(gateway, ir.world, bundle)]
    return list(dict.fromkeys([*found, *USUAL]))


def succeed(ir: IR, bundle: Bundle, options: Options) -> None:
    """Let the account of `--gateway-identity` take the place of the source's gateways in every rule: what is meant from here on."""
    if not options.gateway_identity:
        return
    namespace, _, account = options.gateway_identity.partition("/")
    successor = Identity(options.trust_domain, namespace, account)
    gateways = frozenset(gateway_accounts(ir, bundle))

    def follow(fact: Fact[Any]) -> Fact[Any]:
        said = fact.value
        known = isinstance(said, Identity) and said.trust_domain in (None, options.trust_domain, "cluster.local")
        gone = known and Ref(said.namespace or "", said.service_account or "") in gateways
        return fact.holding(successor) if gone else fact

    def followed(item: Condition) -> Condition:
        if item.attribute != IDENTITY:
            return item
        any_of = None if item.any_of is None else tuple(map(follow, item.any_of))
        return replace(item, any_of=any_of, none_of=tuple(map(follow, item.none_of)))

    for number, policy in enumerate(ir.policies):
        rules = tuple(replace(rule, conditions=tuple(map(followed, rule.conditions))) for rule in policy.rules)
        if rules != policy.rules:
            ir.policies[number] = replace(policy, rules=rules)


def accounts_of(gateway: Gateway, world: World, bundle: Bundle) -> list[Ref]:
    """The accounts of the pods that serve one Gateway, as far as the bundle shows them."""
    ref, value = gateway.ref.value, bundle.documents[gateway.document].value
    if gateway.kind == "networking.istio.io":
        return sorted({Ref(pod.ref.namespace, pod.account.value) for pod in world.workloads if gateway.selects(pod.labels)})
    if not gateway.kind.startswith("gateway.networking") or not (gateway.implementation.value or "istio").startswith("istio"):
        return []
    notes = (value.get("metadata") or {}).get("annotations") or {}
    named = notes.get(ACCOUNT_NOTE)
    behind = _behind(value, ref.namespace, world)
    if behind:
        return behind
    return [Ref(ref.namespace, str(named) if named else f"{ref.name}-{gateway.implementation.value or 'istio'}")]


def entries(ir: IR, bundle: Bundle, trust_domain: str) -> tuple[frozenset[Identity], ...]:
    """For each account that gateways run under, the identities it may have: one where the pods are shown, the usual ones where there is one gateway and
    its pods are not. () where some gateway's account cannot be told."""
    gateways = [gateway for gateway in ir.gateways if gateway.kind]
    accounts = [accounts_of(gateway, ir.world, bundle) for gateway in gateways]
    if all(accounts):
        return tuple(frozenset((_identity(ref, trust_domain),)) for ref in sorted({ref for found in accounts for ref in found}))
    served = {(gateway.kind, gateway.implementation.value) for gateway in gateways}
    if len(served) != 1 or gateways[0].kind != "networking.istio.io":
        return ()
    return (frozenset(_identity(ref, trust_domain) for ref in USUAL),)


def _identity(ref: Ref, trust_domain: str) -> Identity:
    return Identity(trust_domain, ref.namespace, ref.name)


def _behind(value: object, namespace: str, world: World) -> list[Ref]:
    """The accounts of a gateway that somebody deployed by hand: its address is the host of a Service."""
    spec = value.get("spec") if isinstance(value, dict) else None
    listed = spec.get("addresses") if isinstance(spec, dict) else None
    found: set[Ref] = set()
    for item in listed if isinstance(listed, list) else ():
        if not isinstance(item, dict) or item.get("type") != "Hostname":
            continue
        name, _, rest = str(item.get("value", "")).partition(".")
        service = world.services.get(Ref(rest.partition(".")[0] or namespace, name))
        if service is not None and service.pods is not None:
            found |= {Ref(pod.ref.namespace, pod.account.value) for pod in world.selected(service.pods)}
    return sorted(found)
