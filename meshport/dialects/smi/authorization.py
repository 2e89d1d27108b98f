"""TrafficTargets: who may call the pods of a service account, and what they may ask for.

Access control is additive, and everything is denied that no target allows. The specification says so of the whole mesh; a bundle without any target is read
as one whose mesh does not enforce it. https://github.com/servicemeshinterface/smi-spec/blob/main/apis/traffic-access/v1alpha3/traffic-access.md
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from meshport.dialects.cursor import Cursor
from meshport.dialects.smi.membership import spoken
from meshport.dialects.smi.specs import HttpMatch, Specs, body
from meshport.ir.authorization import HEADER, IDENTITY, METHOD, PATH, PORT, Condition, Pattern, Policy, Rule
from meshport.ir.base import Fact, PodSet, Ref, Src
from meshport.ir.model import ABSENT, IR, Loss
from meshport.values.identities import Identity

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.ir.world import Workload
    from meshport.mapping.bound import Bound

GROUP = "access.smi-spec.io"


def lift(bound: Bound, specs: Specs, options: Options, ir: IR) -> None:
    """Each TrafficTarget as an allow for the workloads under its account, and the deny that stands around them."""
    numbers = [
        number
        for number, document in enumerate(bound.bundle.documents)
        if (document.group, document.kind) == (GROUP, "TrafficTarget") and number not in bound.broken
    ]
    if not numbers:
        return
    documents = bound.bundle.documents
    numbers.sort(key=lambda number: (documents[number].namespace or options.default_namespace, documents[number].name))
    ir.losses.append(Loss("MP337", (), numbers[0]))
    for namespace, src in sorted(spoken(bound, options).items()):
        ir.policies.append(
            Policy(Fact(Ref(namespace, "deny-all"), src), Fact("allow", src), Fact(PodSet(namespace), src), (), numbers[0], "TrafficTarget")
        )
    for number in numbers:
        _target(bound, number, specs, options, ir)


def _target(bound: Bound, number: int, specs: Specs, options: Options, ir: IR) -> None:
    root = Cursor.root(bound, number)
    place = body(root)
    home = root.document.namespace or options.default_namespace
    destination = place.at("destination")
    account, namespace = destination.text("name"), destination.text("namespace")
    if account is None:
        return
    where = Ref(namespace.value if namespace is not None else home, account.value)
    rules = _rules(place, home, number, specs, options, ir)
    subject_src = (
        destination.at("kind").src | account.src | (namespace.src if namespace is not None else root.at("metadata", "namespace").src)
    )
    ref = root.ref()
    named = ref.holding(Ref(home, ref.value.name))
    members = [item for item in ir.world.of_namespace(where.namespace) if item.account.value == where.name]
    found = False
    for workload in members:
        pods = workload.pods
        if _shared(pods, where, ir):
            continue
        found = True
        src = subject_src | workload.account.src | workload.labels_src(workload.own_labels)
        subject = Fact(pods, src, "authorization.subject")
        ir.policies.append(Policy(named, Fact("allow", root.at("kind").src), subject, rules, number, "TrafficTarget"))
    if not rules:
        lists = "source" if not place.each("sources") else "rule"
        ir.losses.append(Loss("MP336", _all(place), number, {"why": f"it has no {lists}, and so admits nobody"}))
    elif not found:
        facts = (*_all(place), *(Fact(None, rule.sources) for rule in rules))
        why = f"service account {where.name}" + (", whose labels pods of another account share" if members else "")
        shown = {"policy": f"TrafficTarget {named.value}", "namespace": where.namespace, "selector": why, "closed": "the pods"}
        ir.losses.append(Loss("MP207", facts, number, shown))


def _all(place: Cursor) -> tuple[Fact[None], ...]:
    """The leaves of a target, without those that name it."""
    keys = ("destination", "sources", "rules", "specs")
    return tuple(Fact(None, src) for key in keys if (src := place.at(key).src))


def _shared(pods: PodSet, where: Ref, ir: IR) -> bool:
    """Whether the labels of a workload also select pods of another account, which the target does not speak of."""

    def foreign(workload: Workload) -> bool:
        return workload.account.value != where.name

    return any(foreign(workload) for workload in ir.world.selected(pods))


def _rules(place: Cursor, home: str, number: int, specs: Specs, options: Options, ir: IR) -> tuple[Rule, ...]:
    """An alternative for each match: from these accounts, on these ports, this request. No source or no rule admits nobody."""
    accounts: list[Fact[Identity]] = []
    for item in place.each("sources"):
        name, namespace = item.text("name"), item.text("namespace")
        if name is not None:
            accounts.append(
                Fact(Identity(options.trust_domain, namespace.value if namespace is not None else home, name.value), item.src, name.feature)
            )
    if not accounts:
        return ()
    who = Condition(IDENTITY, tuple(accounts))
    matches, ports, open_to_all, src, plain = _listed(place, home, number, specs, ir)
    bounds: tuple[Condition, ...] = ()
    own = place.at("destination").number_at("port")
    if own is not None:
        bounds = (Condition(PORT, (own.holding((own.value, own.value)),)),)
    if ports and not open_to_all:
        bounds += (Condition(PORT, tuple(fact.holding((fact.value, fact.value)) for fact in ports)),)
    if matches is None:
        return (Rule((who, *bounds), (), 0, "", src),) if plain else ()
    return tuple(
        Rule((who, *bounds, *_request(match)), (), position, match.name, src | match.src, http=True)
        for position, match in enumerate(matches)
    )


def _listed(place: Cursor, home: str, number: int, specs: Specs, ir: IR) -> tuple[list[HttpMatch] | None, list[Fact[int]], bool, Src, bool]:
    """The requests that the rules list (None: they list none but ports), the ports, whether a TCPRoute names none of them, and the leaves."""
    matches: list[HttpMatch] | None = None
    ports: list[Fact[int]] = []
    open_to_all = plain = False
    src: Src = frozenset()
    for key in ("rules", "specs"):
        for item in place.each(key):
            kind, name = item.text("kind"), item.text("name")
            if kind is None or name is None:
                continue
            src |= kind.src | name.src
            ref = Ref(home, name.value)
            if kind.value == "HTTPRouteGroup":
                matches = matches if matches is not None else []
                wanted = {fact.value: fact for fact in item.strings("matches")}
                known = specs.group(ref, wanted)
                for fact in wanted.values():
                    src |= fact.src
                missing = [] if known is None else [name for name in wanted if name not in {match.name for match in known}]
                if known is None or missing:
                    what = f"HTTPRouteGroup {ref}" if known is None else f"match {', '.join(missing)} of HTTPRouteGroup {ref}"
                    ir.losses.append(Loss("MP014", (kind, name), number, {"what": what, "lack": ABSENT}, deciding=True))
                matches.extend(replace(match, src=match.src | match.named) if wanted else match for match in known or ())
            elif kind.value == "TCPRoute":
                plain = True
                route = specs.ports(ref)
                if route is None:
                    ir.losses.append(Loss("MP014", (kind, name), number, {"what": f"TCPRoute {ref}", "lack": ABSENT}, deciding=True))
                    plain = False
                    continue
                src |= route.src
                ports.extend(route.ports)
                open_to_all = open_to_all or not route.ports
    return matches, ports, open_to_all, src, plain


def _request(match: HttpMatch) -> tuple[Condition, ...]:
    found = []
    if match.path is not None:
        found.append(Condition(PATH, (match.path,)))
    elif match.everything:  # every request of HTTP, and nothing that is none
        found.append(Condition(PATH, (Fact(Pattern("prefix", "/"), match.src, "authorization.operation.paths"),)))
    if match.methods:
        found.append(Condition(METHOD, tuple(fact.holding(Pattern("exact", fact.value)) for fact in match.methods)))
    found += [Condition(HEADER + name, (fact,)) for name, fact in match.headers]
    return tuple(found)
