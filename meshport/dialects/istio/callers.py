"""Who comes through waypoints, and who past them, where some pods have ztunnel and others a sidecar.

A request to a Service goes through its waypoint where the caller's ztunnel sends it there. A sidecar does not, nor does a gateway unless the Service says so:
they go to the pods, which see their own account. Pods that are not shown are what their namespace makes of them.
https://istio.io/latest/docs/ambient/usage/waypoint/ and I:pilot/pkg/xds/endpoints/endpoint_builder.go
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from meshport.dialects.istio.waypoints import Waypoints, in_ambient, injected, injecting, is_gateway
from meshport.effective.access import Access
from meshport.ir.authorization import IDENTITY, Condition, Rule
from meshport.ir.base import NOWHERE, Fact, Ref, Src, sources
from meshport.ir.model import IR
from meshport.values.identities import EVERYONE, Identity, IdentityGlob

Account = tuple[str, str]
"""Namespace and service account."""


@dataclass(slots=True)
class Callers:
    """The accounts of pods in ambient (`through`), of pods with a sidecar (`past`) and of gateways, and the namespaces whose pods get a sidecar, or ztunnel, each
    with the leaves that say it."""

    trust_domain: str
    through: dict[Account, Src] = field(default_factory=dict)
    past: dict[Account, Src] = field(default_factory=dict)
    gateways: dict[Account, Src] = field(default_factory=dict)
    injecting: dict[str, Src] = field(default_factory=dict)
    ambient: set[str] = field(default_factory=set)
    entering: set[Ref] = field(default_factory=set)  # the Services whose waypoint gateways go through
    unnamed: frozenset[Ref] = frozenset()  # the workloads at which nobody has a name, for mTLS is disabled

    def passes(self, account: Account) -> bool:
        """Whether requests of an account to a Service may go through its waypoint."""
        if account in self.through:
            return True
        return account not in self.past and account not in self.gateways and account[0] in self.ambient

    def evading(self, service: Ref | None = None) -> dict[Account, Src]:
        """The accounts that may go past the waypoint of a Service."""
        return self.past if service in self.entering else {**self.gateways, **self.past}

    def unseen(self, account: Account) -> bool:
        """Whether no pod that is shown runs under an account."""
        return all(account not in known for known in (self.through, self.past, self.gateways))


def of(found: Waypoints, ir: IR, trust_domain: str) -> Callers:
    """The callers of a bundle."""
    out = Callers(trust_domain, entering=found.entering)
    if not found.behind and not found.before:
        return out
    for workload in ir.world.workloads:
        account = (workload.ref.namespace, workload.account.value)
        src = sources(workload.account, workload.meshed)
        if is_gateway(workload):
            out.gateways[account] = src
        elif workload.ref in found.ambient:
            out.through[account] = src
        elif injected(ir.world, workload) or workload.proxy is not None:
            out.past[account] = src
    out.gateways |= dict.fromkeys(found.entrances, NOWHERE)
    for name, home in ir.world.namespaces.items():
        if in_ambient(home):
            out.ambient.add(name)
        elif injecting(home):
            out.injecting[name] = sources(home.meshed)
    access = Access(ir, Fact("all-unauthenticated")).workloads
    out.unnamed = frozenset(one.workload.ref for one in access if any(mode.value == "disable" for mode in one.transport.values()))
    return out


def account_of(value: object) -> Account | None:
    """The one account that a value of a rule stands for, whatever its trust domain."""
    if isinstance(value, Identity) and value.namespace is not None and value.service_account is not None:
        return value.namespace, value.service_account
    return None


def _takes(value: object, account: Account, trust_domain: str) -> bool:
    """Whether a value of a rule stands for an account among others."""
    if isinstance(value, IdentityGlob):
        return fnmatchcase(f"{trust_domain}/ns/{account[0]}/sa/{account[1]}", value.text)
    return isinstance(value, Identity) and value.covers(Identity(trust_domain, *account))


@dataclass(frozen=True, slots=True)
class Coming:
    """What a rule of a waypoint comes to for those who come through it. `named` are its values that stand for others; `past` says whether callers are left out
    who go past the waypoint, `shared` which accounts are that pods of both kinds have."""

    rules: list[Rule]
    named: tuple[Fact[object], ...] = ()
    past: bool = False
    shared: frozenset[Account] = frozenset()


def coming(rule: Rule, callers: Callers, service: Ref, admitted: Callable[[Identity], bool]) -> Coming:
    """A rule of the waypoint of a Service without those who go past it. `admitted` says whom the pods let in anyway, who are not left out."""
    asked = next((item for item in rule.conditions if item.attribute == IDENTITY and item.any_of is not None), None)
    past = callers.evading(service)
    if asked is None or not (past or callers.injecting):
        return Coming([rule])
    domain = callers.trust_domain
    out = {account: src for account, src in past.items() if not admitted(Identity(domain, *account))}
    homes = {name: src for name, src in callers.injecting.items() if not admitted(Identity(domain, name))}
    kept: list[Fact[object]] = []
    gone: list[Fact[object]] = []
    wide: list[Fact[object]] = []
    more: dict[Account, Src] = {}
    for fact in asked.any_of or ():
        account = account_of(fact.value)
        if account is not None:
            evades = account in out or (callers.unseen(account) and account[0] in homes)
            (gone if evades else kept).append(fact)
            continue
        space = fact.value.namespace if isinstance(fact.value, Identity) else None
        more |= {
            one: src | fact.src
            for one, src in callers.through.items()
            if one[0] in homes and one not in out and _takes(fact.value, one, domain)
        }
        (gone if space in homes else wide).append(fact)
    spaces = {fact.value.namespace if isinstance(fact.value, Identity) else None for fact in wide}
    near = {account for account in out if any(_takes(fact.value, account, domain) for fact in wide)}
    excluded: list[Fact[object]] = [Fact(Identity(None, name, None), src) for name, src in sorted(homes.items()) if {None, name} & spaces]
    excluded += [Fact(Identity(None, *account), out[account]) for account in sorted(near) if account[0] not in homes]
    said = {fact.value for fact in asked.none_of}
    excluded = [fact for fact in excluded if fact.value not in said]
    if not excluded and not gone:
        return Coming([rule])
    others = tuple(item for item in rule.conditions if item is not asked)
    made = []
    if kept or wide:
        made.append(_asking(rule, replace(asked, any_of=(*kept, *wide), none_of=(*asked.none_of, *excluded)), others))
    if more:
        named = tuple(Fact(Identity(domain, *account), src) for account, src in sorted(more.items()))
        made.append(_asking(rule, replace(asked, any_of=named), others))
    left = {account for account in out if any(_takes(fact.value, account, domain) for fact in (*wide, *gone))}
    shared = frozenset(left & callers.through.keys())
    return Coming(
        made, tuple(gone), bool(left - shared) or bool({fact.value for fact in excluded} - {Identity(None, *one) for one in left}), shared
    )


def _asking(rule: Rule, asked: Condition, others: Iterable[Condition]) -> Rule:
    return replace(rule, conditions=(asked, *others))


def evading(asked: Condition | None, callers: Callers, src: Src, pods: Iterable[Ref]) -> list[Condition]:
    """Of a demand on callers at pods, None for none, the alternatives that hold for those who go past the waypoint; `src` is what says that there is one. Where
    nobody has a name those who have none are not told from the others."""
    if asked is None:
        nameless = [] if callers.unnamed.intersection(pods) else [Condition(IDENTITY, None, (Fact(EVERYONE, src),))]
        named = _evading(Fact(EVERYONE, src), callers)
        return [*nameless, *([Condition(IDENTITY, tuple(named), _inside(named, callers))] if named else [])]
    stay: list[Fact[object]] = []
    for fact in asked.any_of or ():
        account = account_of(fact.value)
        if account is None:
            stay += _evading(fact, callers)
        elif not callers.passes(account):
            stay.append(fact)
    return [replace(asked, any_of=tuple(stay), none_of=(*asked.none_of, *_inside(stay, callers)))] if stay else []


def _evading(fact: Fact[object], callers: Callers) -> list[Fact[object]]:
    """Those who go past waypoints among the callers that a value stands for."""
    value, past = fact.value, {**callers.gateways, **callers.past}
    found: list[Fact[object]] = []
    homes = set[str]()
    if isinstance(value, Identity) and value.service_account is None:
        homes = {name for name in callers.injecting if value.namespace in (None, name)}
        if value.namespace in homes:
            found.append(fact)
        else:
            found += [Fact(Identity(value.trust_domain, name, None), fact.src | callers.injecting[name]) for name in sorted(homes)]
    found += [
        Fact(Identity(callers.trust_domain, *account), fact.src | src)
        for account, src in sorted(past.items())
        if account[0] not in homes and not callers.passes(account) and _takes(value, account, callers.trust_domain)
    ]
    return found


def _inside(stay: list[Fact[object]], callers: Callers) -> tuple[Fact[object], ...]:
    """The accounts in ambient of namespaces among these callers."""
    homes = {fact.value.namespace for fact in stay if isinstance(fact.value, Identity) and fact.value.service_account is None}
    return tuple(Fact(Identity(None, *account), src) for account, src in sorted(callers.through.items()) if account[0] in homes)
