"""The service accounts that the source mesh's gateways run under: what a rule means that admits an ingress gateway.

Istio's own Gateway selects pods by labels, in whatever namespace they run; for a Gateway of the Gateway API Istio makes pods under the account
`<gateway>-<class>` unless an annotation names another (istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.output import Output
from meshport.documents import Bundle
from meshport.findings import Affected
from meshport.ir.authorization import IDENTITY, Condition
from meshport.ir.base import Fact, Ref
from meshport.ir.model import IR, Gateway
from meshport.ir.world import World
from meshport.values.identities import Identity

USUAL = tuple(Ref(namespace, "istio-ingressgateway-service-account") for namespace in ("istio-system", "istio-ingress"))
"""Accounts of installations whose gateway is not in the bundle."""
PREFIX = "istio-"
ACCOUNT_NOTE = "gateway.istio.io/service-account"


def gateway_accounts(ir: IR, bundle: Bundle) -> list[Ref]:
    """The accounts of all gateways, and those that installations usually have."""
    found = [ref for gateway in ir.gateways for ref in accounts_of(gateway, ir.world, bundle)]
    return list(dict.fromkeys([*found, *USUAL, *_of_charts(ir)]))


def releases(gateway: Gateway) -> list[str]:
    """What a release of Istio's chart `gateway` would be called whose pods a Gateway names: `app` is the release, and so is its account; `istio` the same without
    its prefix (manifests/charts/gateway/templates/_helpers.tpl)."""
    said = gateway.labels
    if "app" in said:
        return [said["app"]]
    return [PREFIX + said["istio"], said["istio"]] if "istio" in said else []


def _of_charts(ir: IR) -> list[Ref]:
    """The accounts that rules name, and nobody in the bundle runs under, called as the releases of gateways are whose pods it does not show."""
    unseen = [one for one in ir.gateways if one.kind == "networking.istio.io" and not one.pods(ir.world)]
    names = {name for gateway in unseen for name in releases(gateway)}
    named = _named(ir) if names else ()
    found = {Ref(one.namespace, one.service_account) for one in named if one.namespace and one.service_account in names}
    return sorted(ref for ref in found if not ir.world.runs(ref))


def _named(ir: IR) -> Iterator[Identity]:
    """The identities that rules speak of."""
    conditions = (item for policy in ir.policies for rule in policy.rules for item in rule.conditions if item.attribute == IDENTITY)
    facts = (fact for item in conditions for fact in (*(item.any_of or ()), *item.none_of))
    return (fact.value for fact in facts if isinstance(fact.value, Identity))


def succeed(ir: IR, bundle: Bundle, options: Options) -> None:
    """Let the account of `--gateway-identity` take the place of the source's gateways in every rule: what is meant from here on."""
    if not options.gateway_identity:
        return
    namespace, _, account = options.gateway_identity.partition("/")
    successor = Identity(options.trust_domain, namespace, account)
    gateways = frozenset(gateway_accounts(ir, bundle))
    homes = known_homes(ir, bundle)

    def follow(fact: Fact[Any]) -> Iterator[Fact[Any]]:
        said = fact.value
        known = isinstance(said, Identity) and said.trust_domain in (None, options.trust_domain, "cluster.local")
        gone = known and Ref(said.namespace or "", said.service_account or "") in gateways
        yield fact.holding(successor) if gone else fact
        if known and said.service_account is None and said.namespace in homes:  # the gateway is one of those that are meant
            yield fact.holding(successor)

    def followed(item: Condition) -> Condition:
        if item.attribute != IDENTITY:
            return item
        any_of = None if item.any_of is None else tuple(chain.from_iterable(map(follow, item.any_of)))
        return replace(item, any_of=any_of, none_of=tuple(chain.from_iterable(map(follow, item.none_of))))

    for number, policy in enumerate(ir.policies):
        rules = tuple(replace(rule, conditions=tuple(map(followed, rule.conditions))) for rule in policy.rules)
        if rules != policy.rules:
            ir.policies[number] = replace(policy, rules=rules)


def known_homes(ir: IR, bundle: Bundle) -> set[str]:
    """The namespaces in which gateways run: where the bundle shows their pods, or rules name their accounts."""
    named = {Ref(one.namespace or "", one.service_account or "") for one in _named(ir)}
    shown = [ref for gateway in ir.gateways for ref in accounts_of(gateway, ir.world, bundle)]
    return {ref.namespace for ref in (*shown, *_of_charts(ir), *(ref for ref in USUAL if ref in named and ir.gateways))}


def by_namespace(ir: IR, out: Output, *, without: bool) -> None:
    """A finding for each policy that lets in a whole namespace in which Istio's gateways run, or may run, and not what takes over from them: it is elsewhere.
    `without` says that nothing takes the place of known gateways either."""
    served = [gateway for gateway in ir.gateways if gateway.ref.value not in ir.ways_out and gateway.kind]
    homes = known_homes(ir, out.bundle) if served else set()
    unseen = any(gateway.kind == "networking.istio.io" for gateway in served) and not homes
    maybe = (homes if without else set()) | ({ref.namespace for ref in USUAL} if unseen else set())
    for policy in ir.policies if maybe else ():
        if policy.action.value != "allow":
            continue
        facts = [fact for rule in policy.rules for item in rule.conditions if item.attribute == IDENTITY for fact in item.any_of or ()]
        found = [
            fact
            for fact in facts
            if isinstance(fact.value, Identity) and fact.value.service_account is None and fact.value.namespace in maybe
        ]
        members = ir.world.selected(policy.subject.value)
        if found and members:
            out.finding(
                "MP149", *found, document=policy.document, disposition=None, feature="authorization.source.namespaces",
                affects=tuple(Affected(pod.ref.namespace, pod.ref.name) for pod in members), policy=f"{policy.kind} {policy.ref.value}",
                namespaces=", ".join(sorted({str(fact.value.namespace) for fact in found})), how="run" if homes else "usually run",
            )  # fmt: skip


def accounts_of(gateway: Gateway, world: World, bundle: Bundle) -> list[Ref]:
    """The accounts of the pods that serve one Gateway, as far as the bundle shows them."""
    ref, value = gateway.ref.value, bundle.documents[gateway.document].value
    if gateway.kind == "networking.istio.io":
        return sorted({Ref(pod.ref.namespace, pod.account.value) for pod in gateway.pods(world)})
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
    return (frozenset(_identity(ref, trust_domain) for ref in (*USUAL, *_of_charts(ir))),)


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
