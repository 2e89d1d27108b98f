"""A namespace's default that admits the cluster's networks alone, for pods that the bundle does not show (mapping decisions 2).

For those that it does it is said with their policies. Istio selects by labels that pods have, so what is written for the rest holds for the known ones too: of
an ALLOW they would admit more. A DENY takes nothing from pods that admit nobody else either; where some do, the rest is closed, and these have policies.
"""

from __future__ import annotations

from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.istio.drafts import servers_of, spelled
from meshport.dialects.istio.saying import say_source
from meshport.dialects.output import Output
from meshport.effective.access import Access, Region, admission_conditions
from meshport.effective.pieces import Piece, Unsayable, of_rule
from meshport.effective.subjects import ANY_POD, unseen
from meshport.findings import Affected
from meshport.ir.authorization import IDENTITY, SOURCE_IP, Condition, Network, Rule
from meshport.ir.base import Fact, PodSet, Ref, Selector, Src
from meshport.ir.model import IR
from meshport.values.identities import EVERYONE
from meshport.values.language import LanguageTooLarge

SECURITY = "security.istio.io/v1"


def lower(ir: IR, out: Output, options: Options, access: Access) -> set[str]:
    """A policy for each namespace whose default it is; the namespaces that are closed by one, so that known pods need policies of their own."""
    closed = set()
    for admission in ir.admissions:
        name, value = admission.subject.namespace, admission.value
        home = ir.world.namespaces.get(name)
        outside = home is not None and home.meshed is not None and not home.meshed.value
        if admission.level != "namespace" or not value.value.startswith("cluster-") or outside:
            continue
        known = [item for item in access.of_namespace(name) if item.meshed is not False]
        governed = known or any(policy.subject.value.namespace == name for policy in ir.policies)
        ref = Ref(name, f"default-{value.value}")
        obj = out.object(SECURITY, "AuthorizationPolicy", ref, owner=admission.document, rank=40, because=value)
        if not governed:
            obj.set(("spec", "action"), "ALLOW", value)
            (piece,) = of_rule(Rule(admission_conditions(value.value, options.cluster_networks, value.src), src=value.src), port=None)
            for entry, source in enumerate(say_source(piece.who, piece.where.networks())):
                obj.set(("spec", "rules", 0, "from", entry, "source"), source, value)
            continue
        obj.note("for pods without a policy of their own")
        if _admits(ir, options, access, name, value):
            closed.add(name)
            obj.set(("spec",), {}, value)
            out.finding(
                "MP286", document=admission.document, severity="warning", affects=(Affected(name),), feature="inbound.default-policy",
                policy=f"the default policy {value.value}", namespace=name, selector=f"all others of {name}",
            )  # fmt: skip
            continue
        obj.set(("spec", "action"), "DENY", value)
        entries: list[dict[str, Any]] = [{"notIpBlocks": sorted(options.cluster_networks)}]
        entries += [{"notPrincipals": ["*"]}] if value.value == "cluster-authenticated" else []
        for entry, source in enumerate(entries):
            obj.set(("spec", "rules", 0, "from", entry, "source"), source, value)
    return closed


def beside(
    out: Output, access: Access, closed: set[str], written: list[tuple[Region, list[tuple[Selector, Src]]]]
) -> tuple[set[str], set[PodSet]]:
    """What becomes of the pods of Servers that the bundle does not show, where policies are `written` by labels that they may not have: the namespaces that are
    closed for it (nothing selects by expressions, nor by no label but what is known to be open), and what policies of their own select."""
    found: set[str] = set()
    selected: set[PodSet] = set()
    chosen: dict[str, set[frozenset[tuple[str, str]]]] = {}
    for region, selectors in written:
        chosen.setdefault(region.namespace, set()).update(frozenset(selector.labels) for selector, _ in selectors)
    for policy in access.ir.policies:
        for subject in spelled(policy.subject.value):
            namespace, selector = subject.namespace, subject.selector
            own = chosen.get(namespace, set())
            if not selector.expressions and any(one <= frozenset(selector.labels) for one in own):
                continue
            known = [item for item in access.selected(subject) if item.meshed is not False]
            if (not known and not selector.expressions) or access.world.shows(subject):
                continue  # it is written for the pods that it selects, or there are no others
            if selector.labels and not selector.expressions and all(map(servers_of, known)):
                selected.add(subject)
                continue
            open_before = namespace not in closed | found
            if open_before:
                found.add(namespace)
                src = policy.subject.src | policy.ref.src
                obj = out.object(
                    SECURITY, "AuthorizationPolicy", Ref(namespace, "default-deny"), owner=policy.document, rank=40, because=src
                )
                obj.set(("spec",), {}, src)
                obj.note(f"for pods of {policy.kind} {policy.ref.value} that the bundle does not show")
            out.finding(
                "MP286", document=policy.document, severity="warning", feature="authorization.subject", policy=str(policy.ref.value), namespace=namespace,
                affects=(unseen(subject), *((Affected(namespace, ANY_POD),) if open_before else ())),
                selector=f"others with {selector}" if known else str(selector),
            )  # fmt: skip
    return found, selected


def _admits(ir: IR, options: Options, access: Access, namespace: str, default: Fact[str]) -> bool:
    """Whether known pods of a namespace, or policies there, let in somebody whom the default refuses."""
    networks = tuple(Fact(Network(cidr)) for cidr in options.cluster_networks)
    refused = of_rule(Rule((Condition(SOURCE_IP, None, networks),)))
    if default.value == "cluster-authenticated":
        refused = [*refused, *of_rule(Rule((Condition(IDENTITY, None, (Fact(EVERYONE),)),)))]
    same = ("deny", default.value, "cluster-authenticated")
    if any(item.admission.value not in same for item in access.of_namespace(namespace) if item.meshed is not False):
        return True
    rules = [rule for policy in ir.policies if policy.subject.value.namespace == namespace for rule in policy.rules]
    return any(_meet(piece, other) for rule in rules for piece in _pieces(rule) for other in refused)


def _pieces(rule: Rule) -> list[Piece]:
    """Who is let in, from where; everybody where that cannot be computed."""
    try:
        return of_rule(Rule(tuple(item for item in rule.conditions if item.attribute in (IDENTITY, SOURCE_IP))))
    except (Unsayable, ValueError):
        return [Piece()]


def _meet(one: Piece, other: Piece) -> bool:
    try:
        return not one.meet(other).empty
    except (Unsayable, ValueError, LanguageTooLarge):
        return True
