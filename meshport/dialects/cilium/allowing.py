"""Authorization written for Cilium: a CiliumNetworkPolicy for each set of pods and each policy of the source (mapping decisions 2, 3).

Where policies of the source close every port (Istio) each becomes one of its own, for they add up in both. Where they close single ports (Linkerd) a
CiliumNetworkPolicy still closes the whole direction, so one for each set of pods opens the other ports again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from meshport.dialects import beside_the_mesh, inbound_policy, other_domains, protocols, redundant
from meshport.dialects.base import Options
from meshport.dialects.cilium import denying, plaintext, taking_others, transport, unlike
from meshport.dialects.cilium.callers import Known
from meshport.dialects.cilium.denying import Directs
from meshport.dialects.cilium.drafts import Draft, rules_of, unranged
from meshport.dialects.cilium.planning import BYPASS, DEFAULT, SCRAPE, Context, Part, Plan, closing, mentioned, plan
from meshport.dialects.cilium.subjects import accepting_plaintext, apart, beside, choose, divided, named
from meshport.dialects.cilium.telling import Told, tell
from meshport.dialects.cilium.unseen import shut, unseen
from meshport.dialects.cilium.writing import Others, write
from meshport.dialects.enrolment import unshown
from meshport.dialects.gateway_accounts import by_namespace, entries, gateway_accounts, succeed
from meshport.dialects.naming import claim, name
from meshport.dialects.output import Output
from meshport.effective.access import Access, Effective, Region, ports_of
from meshport.effective.admitted import only_by_exemption
from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected
from meshport.ir.authorization import Policy, sole_grant
from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Selector, Src, sources
from meshport.ir.model import IR, ByLabel


def lower(ir: IR, out: Output, options: Options) -> None:
    """Policies for every region, denies as denies where Cilium has them, and what is closed for pods that the bundle does not show."""
    succeed(ir, out.bundle, options)
    access = Access(ir, Fact("all-unauthenticated"))
    accounts = gateway_accounts(ir, out.bundle)
    known = Known(ir.world, options, frozenset(accounts), any(gateway.kind for gateway in ir.gateways))
    domains = frozenset((None, "cluster.local", options.trust_domain))
    way = ir.by_label = ByLabel(options.trust_domain, domains, entries(ir, out.bundle, options.trust_domain))
    denies = denying.directs(ir, access, known)
    told: Told = {}
    shared: dict[int, set[int]] = {}
    for item in access.workloads:
        for policy in (one for one in closing(item).allows if one.rules) if item.meshed is not False else ():
            shared.setdefault(id(policy), set()).update(ports_of([item], ir.world), mentioned(item))
    direct = {key: set(found) for key, found in denies.items()}
    base = Context(out, ir.world, options, known, way, Region(""), ir.raw_paths, direct, told, shared)
    plans = []
    for region in access.regions(lambda item: _spoken(item, ir)):
        if region.first.workload.host_network:
            _on_host(out, region)
        elif region.first.meshed is not False:
            plans.append(plan(replace(base, region=region)))
    tell(out, told)
    other_domains.tell(ir, out, options)
    taken: dict[str, set[str]] = {}
    others = Others()
    for draft in _drafts(plans):
        _write(out, options, access, draft, taken.setdefault(draft.namespace, set()), others, denies)
    others.unseen += unseen(ir, out, options, access, known, way, taken, denies)
    plaintext.lower(ir, out, options, access, known, way, taken, denies)
    _unshown(ir, out, access)
    denying.lower(ir, out, options, access, denies, taken, others)
    unlike.lower(ir, access, base, denies, taken, others)
    others.tell(out, ir.world, options.namespaces)
    _probes(out, options, access)
    beside_the_mesh.unknown_callers(ir, out, options, options.trust_domain, known.absent)
    if ir.mesh == "istio":
        by_namespace(ir, out, without=False)
    taking_others.tell(out, access)
    transport.account(out, access)
    _without_effect(out, access)


def _spoken(item: Effective, ir: IR) -> tuple[tuple[int, bool, bool], ...]:
    """The ports of a workload, and whether demands on requests can be judged there: where one does not read HTTP, such a rule lets nobody in."""
    said = ((port, protocols.of_port(item.workload, port, ir.world)[0]) for port in sorted(ports_of([item], ir.world)))
    return tuple((port, protocols.is_http(word), not word) for port, word in said)


def _probes(out: Output, options: Options, access: Access) -> None:
    """Linkerd opens the probe paths of a port to everybody until a route hangs on its Server; Cilium lets the node's own kubelet in, so that is closed."""
    for item in access.workloads:
        if item.meshed is False or not item.open_probes:
            continue
        for port in sorted({probe.port for probe in item.workload.probes if probe.kind == "http"}):
            if not only_by_exemption(item, port, options.cluster_networks):
                continue
            hung = sources(*(policy.hung for policy in item.at(port)))
            if any(policy.routed for policy in item.at(port)):
                inbound_policy.ends_exemption(out, hung, "Cilium")
                continue
            src = frozenset(leaf for probe in item.workload.probes if probe.kind == "http" and probe.port == port for leaf in probe.src)
            out.finding(
                "MP287", src, document=item.workload.document, affects=(Affected(item.workload.ref.namespace, item.workload.ref.name, port),),
                explains=frozenset(((access_subject(item.workload.ref, port), "allow"),)), feature="authorization.probe", workload=str(item.workload.ref), port=port,
            )  # fmt: skip


# -- from plans to policies


def _drafts(plans: list[Plan]) -> list[Draft]:
    """The parts of all regions, put together where they say the same."""
    by_policy: dict[tuple[str, str, tuple[Any, ...]], Draft] = {}
    found: list[Draft] = []
    for item in plans:
        if not item.closed:
            continue
        if not item.broad:
            key = (item.region.namespace, "", tuple((part.label, part.key(item.ports)) for part in item.parts))
            parts = item.parts or [Part(DEFAULT, None, item.region.first.workload.document, item.region.first.admission.src)]
            draft = by_policy.get(key)
            if draft is None:
                wanted, named_by = _named(item, parts)
                draft = by_policy[key] = Draft(item.region.namespace, wanted, [], parts, item.ports, item.strict, named_by=named_by)
                found.append(draft)
            draft.members += item.region.members
            draft.selectors += [(policy.subject.value.selector, policy.subject.src) for policy in _selecting(item.region.first)]
            continue
        for part in item.parts:
            key = (item.region.namespace, part.label, part.key(item.ports))
            draft = by_policy.get(key)
            if draft is None:
                wanted = part.policy.ref.value.name if part.policy is not None else f"{item.region.first.workload.ref.name}-{part.label}"
                draft = by_policy[key] = Draft(item.region.namespace, wanted, [], [part], item.ports, item.strict)
                if part.policy is not None:
                    draft.selectors = [(part.policy.subject.value.selector, part.policy.subject.src)]
                found.append(draft)
            else:
                for mine, its in zip(draft.parts[0].entries, part.entries, strict=True):
                    mine.src |= its.src
                draft.parts[0].src |= part.src
            draft.members += item.region.members
    return found


def _refusing(item: Effective) -> Src:
    """What refuses every caller of a workload that no allow closes: its denies, or the demand for an identity."""
    refusing = sources(*(fact for policy in (*item.denies, *item.customs) for fact in (policy.action, policy.subject)))
    return refusing or item.mode(None).src


def _named(item: Plan, parts: list[Part]) -> tuple[str, Src]:
    """The one object that grants, else the first policy, else what the default is; with the leaves of the name."""
    policies = [part.policy for part in parts if part.policy is not None]
    granting = sole_grant(rule for policy in policies for rule in policy.rules)
    if granting is not None:
        return granting.value, granting.src
    if not policies and not item.strict:
        policies = list(item.region.first.denies or item.region.first.customs)
    if policies:
        return min(policy.ref.value.name for policy in policies), sources(*(policy.ref for policy in policies))
    value = item.region.first.admission.value
    if value == "all-unauthenticated":
        return ("strict-mtls" if item.strict else "inbound"), NOWHERE
    return f"default-{value}", NOWHERE


def _selecting(item: Effective) -> Sequence[Policy]:
    """The policies whose selectors a policy for these pods may have: those that close them, else those that refuse something there."""
    return item.allows or (*item.denies, *item.customs)


def _write(out: Output, options: Options, access: Access, draft: Draft, taken: set[str], others: Others, denies: Directs) -> None:
    mine = {id(item.workload) for item in (*draft.members, *draft.alike)}
    home = [item for item in access.of_namespace(draft.namespace) if not item.workload.host_network]
    strangers = [item for item in home if id(item.workload) not in mine]
    wanted = list(dict.fromkeys(draft.selectors))
    by_default = not any(part.policy is not None for part in draft.parts)
    if by_default and any(part.label in (BYPASS, SCRAPE) for part in draft.parts):  # it opens: no pods that the bundle does not show
        by_default = False
        wanted.append(named(draft.members))
    hidden = [
        (item.subject.value.selector, item.subject.src)
        for item in access.unselected_in(draft.namespace)
        if item.action.value == "allow" or shut(item, draft.namespace, access.ir, options, denies)
    ]
    plain = accepting_plaintext(access, draft.namespace) if draft.strict else []
    if by_default:
        own = [*access.moded(draft.members), *_refused_alike(draft.members)]
        whole = [] if hidden or plain else [(Selector(), NOWHERE)]
        if _by_namespace(access, draft):  # which holds for pods that the bundle does not show as well
            wanted += [*whole, *own, *(_without(access, strangers, draft.members) if not own else ())]
        else:
            wanted += [*own, *whole]
    found = choose(draft.members, strangers, [*_counted(access, draft.members), *wanted] if by_default else wanted)
    for unseen_there in (hidden, plain):  # a policy of their own, or none, takes the default's place, and here they would add up
        if not by_default or found is None:
            break
        rest = beside(found[0], [selector for selector, _ in unseen_there], draft.members)
        found = (rest, found[1].union(*(src for _, src in unseen_there))) if rest != found[0] else found
    policies = [part.policy for part in draft.parts if part.policy is not None]
    entries = [entry for part in draft.parts for entry in part.entries]
    if found is None and len(groups := divided(draft.members, strangers)) > 1:
        for group in groups:
            _write(out, options, access, replace(draft, members=group, alike=[*draft.members, *draft.alike]), taken, others, denies)
        return
    if found is None:
        telling = [item for item in strangers if apart(draft.members, [item]) is not None]
        found = choose(draft.members, telling, wanted) or next(
            ((selector, src) for selector, src in wanted if all(selector.accepts(item.workload.labels) for item in draft.members)),
            (Selector(), NOWHERE),
        )
        intruders = [item for item in strangers if found[0].accepts(item.workload.labels)]
        governed = [item for item in intruders if item.meshed is not False]
        if governed:
            entries = []
        places = [*draft.members, *intruders]
        out.finding(
            "MP282" if governed else "MP285", sources(*(policy.sources for policy in policies)) if governed else NOWHERE, document=draft.parts[0].document,
            disposition="dropped" if governed else None, affects=tuple(Affected(item.workload.ref.namespace, item.workload.ref.name) for item in places),
            explains=frozenset((access_subject(item.workload.ref, port), "allow") for item in places for port in (*ports_of([item], access.world), *draft.ports, None)),
            feature="authorization.subject", policy=str(policies[0].ref.value) if policies else draft.wanted,
            workloads=", ".join(str(item.workload.ref) for item in draft.members), others=", ".join(str(item.workload.ref) for item in intruders),
        )  # fmt: skip
    selector, selector_src = found
    label = claim(draft.wanted, taken)
    because = selector_src | sources(*(part.src for part in draft.parts))
    because = because or sources(*(entry.src for entry in entries))
    because = because or sources(*(_refusing(item) for item in draft.members))
    if not because:
        because = sources(*(item.workload.src for item in draft.members))
    rules = rules_of(options, draft, entries)
    unranged(out, options, draft, entries)
    others.add(draft.members, [rule for rule, _ in rules])
    write(
        out,
        Ref(draft.namespace, label),
        selector,
        selector_src,
        rules,
        because,
        [part.document for part in draft.parts],
        draft.parts,
        whole=not entries,
        named_by=draft.named_by,
    )


def _by_namespace(access: Access, draft: Draft) -> bool:
    """Whether the namespace of the pods refuses callers without an identity, or by its default."""
    if access.namespace_mode(draft.namespace).value == "strict":
        return True
    first = draft.members[0]
    return first.admission.value != "all-unauthenticated" and first.admission_level != "workload"


def _counted(access: Access, members: list[Effective]) -> list[tuple[Selector, Src]]:
    """What the controllers count their pods by, where the pods say themselves what their default is: no label gives it to others."""
    if any(item.admission_level != "workload" or item.allows or item.denies or item.customs for item in members):
        return []
    home = members[0].workload.ref.namespace
    if members[0].admission.value == access.namespace_admission(home).value:
        return []  # and the namespace says the same to others
    counted = [item.workload.claimed for item in members if item.workload.claimed is not None]
    found = [one for one in counted if all(one.accepts(item.workload.labels) for item in members)]
    return [(one, NOWHERE) for one in dict.fromkeys(found) if access.world.shows(PodSet(home, one))]


def _refused_alike(members: list[Effective]) -> list[tuple[Selector, Src]]:
    """The selectors of the denies that all of the members are under."""
    refusing = (*members[0].denies, *members[0].customs)
    return [(policy.subject.value.selector, policy.subject.src) for policy in refusing if not policy.subject.value.selector.everything]


def _without(access: Access, strangers: list[Effective], members: list[Effective]) -> list[tuple[Selector, Src]]:
    """Every pod of the namespace but those that something of their own decides for."""
    found = {selector: src for item in strangers for selector, src in access.moded([item])}
    for item in strangers:
        if item.admission_level == "workload":
            found.setdefault(Selector.of(item.workload.labels), item.admission.src)
        for policy in (*item.allows, *item.opened, *item.denies, *item.customs):
            found[policy.subject.value.selector] = policy.subject.src
    rests = [
        beside(Selector(), sorted(found, key=str), members),
        beside(Selector(), [item.workload.pods.selector for item in strangers], members),
    ]
    return [(rest, sources(*found.values())) for rest in rests if not rest.everything]


# -- what is not written


def _on_host(out: Output, region: Region) -> None:
    for policy in (*closing(region.first).allows, *region.first.denies, *region.first.customs):
        if not policy.subject.value.selector.everything:
            out.finding(
                "MP279", policy.subject, document=policy.document, feature="authorization.subject", policy=f"{policy.kind} {policy.ref.value}",
                affects=tuple(Affected(item.workload.ref.namespace, item.workload.ref.name) for item in region.members),
                workloads=", ".join(str(item.workload.ref) for item in region.members),
            )  # fmt: skip


def _unshown(ir: IR, out: Output, access: Access) -> None:
    """What a namespace says of ports of pods that the bundle does not show, where no policy was written for them that says it."""
    reached = out.reached()
    for namespace, home in sorted(ir.world.namespaces.items()):
        if ir.world.of_namespace(namespace):
            continue
        closed = access.namespace_mode(namespace).value == "strict" or any(
            policy.subject.value.namespace in ("", namespace) for policy in ir.policies
        )
        closed |= any(item.subject.namespace in ("", namespace) and item.value.value not in _OPEN for item in ir.admissions)
        if home.bypassed is not None and not home.bypassed.src <= reached:
            if home.meshed is not None and not closed:
                out.ignore("no policy here closes the port that passes by the source's proxy", home.bypassed)
            else:
                unshown(ir, out, namespace, "skip-inbound-ports", home.bypassed)
        if home.demanding is not None and not (home.demanding.src <= reached or home.demanding.src <= out.implied.keys()):
            unshown(ir, out, namespace, "require-identity-inbound-ports", home.demanding)


def _without_effect(out: Output, access: Access) -> None:
    reached = out.reached()
    redundant.beside_the_mesh(out, access)
    redundant.without_effect(out, access)
    for item in access.workloads:
        out.ignore("no policy here closes the port that passes by the source's proxy", sources(item.workload.bypassed) - reached)
    if out.source == "linkerd":
        inbound_policy.audited(out, access)
        inbound_policy.without_effect(out, access)


_OPEN = ("all-unauthenticated", "audit")

__all__ = ["BYPASS", "lower", "name"]
