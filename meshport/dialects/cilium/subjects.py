"""The pods that a CiliumNetworkPolicy selects: all those that it is meant for, and no others that the bundle shows.

Policies add up, and one that selects a pod closes it. So a selector that takes a pod under other policies would open or close that pod too.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshport.effective.access import Access, Effective
from meshport.ir.base import NOWHERE, Requirement, Selector, Src, sources
from meshport.ir.model import IR
from meshport.ir.world import telling_labels

_OPPOSITE = {"In": "NotIn", "NotIn": "In", "Exists": "DoesNotExist", "DoesNotExist": "Exists"}
NAMING = ("app", "app.kubernetes.io/name", "k8s-app")


def choose(members: list[Effective], others: list[Effective], wanted: Iterable[tuple[Selector, Src]]) -> tuple[Selector, Src] | None:
    """The first of the selectors wanted that takes the members and none of the others; else one with more demands; None where no label helps."""
    fitting = [(selector, src) for selector, src in wanted if all(selector.accepts(item.workload.labels) for item in members)]
    for selector, src in fitting:
        if not any(selector.accepts(item.workload.labels) for item in others):
            return selector, src
    for selector, src in [*fitting, (Selector(), NOWHERE)]:
        intruders = [item for item in others if selector.accepts(item.workload.labels)]
        more = apart(members, intruders)
        if more is None:
            continue
        for demand in more:  # what is written names the members' labels, or that they lack one
            said = members if demand.operator == "In" else intruders
            src |= telling_labels((item.workload for item in said), (demand.key,))
        return Selector.of(dict(selector.labels), [*selector.expressions, *more]), src
    return None


def divided(members: list[Effective], others: list[Effective]) -> list[list[Effective]]:
    """The members in two, where no single selector takes them and none of the others: those that differ from all others by one label, and the rest. All in
    one where no label tells any of them."""
    keys = sorted({key for item in others for key in item.workload.own_labels}, key=lambda key: (key not in NAMING, key))
    found: list[Effective] = []
    for key in keys:
        values = {item.workload.labels.get(key) for item in others}
        differing = [item for item in members if item.workload.labels.get(key) not in values]
        found = max(found, differing, key=len)
    rest = [item for item in members if not any(item is one for one in found)]
    return [found, rest] if found and rest else [members]


def apart(group: list[Effective], others: list[Effective]) -> list[Requirement] | None:
    """Requirements that all of the group meet and none of the others, by labels that it has before those that it lacks, and by values that only the others
    have last; None where no labels tell."""
    had = {key for item in group for key in item.workload.own_labels}
    every = {key for item in (*group, *others) for key in item.workload.own_labels}
    keys = sorted(every, key=lambda key: (key not in had, key not in NAMING, key))
    wanted: list[Requirement] = []
    left = others
    for key in keys:
        if not left:
            break
        values = {item.workload.labels.get(key) for item in group}
        named = tuple(sorted(value for value in values if value is not None))
        if None in values and named:
            continue
        demand = Requirement(key, "In", named) if named else Requirement(key, "DoesNotExist")
        after = [item for item in left if demand.accepts(item.workload.labels)]
        if len(after) < len(left):
            wanted.append(demand)
            left = after
    for key in keys:
        theirs = {item.workload.labels[key] for item in left if key in item.workload.labels} - {
            item.workload.labels.get(key) for item in group
        }
        if theirs:
            wanted.append(Requirement(key, "NotIn", tuple(sorted(theirs))))
            left = [item for item in left if wanted[-1].accepts(item.workload.labels)]
    return wanted if not left else None


def named(members: list[Effective]) -> tuple[Selector, Src]:
    """The members by a label that all of them have; everything where they share none."""
    keys = {key for item in members for key in item.workload.own_labels if all(key in other.workload.labels for other in members)}
    for key in sorted(keys, key=lambda key: (key not in NAMING, key)):
        values = tuple(sorted({item.workload.labels[key] for item in members}))
        return Selector.of({}, [Requirement(key, "In", values)]), telling_labels((item.workload for item in members), (key,))
    return Selector(), NOWHERE


def beside(selector: Selector, kept_apart: Iterable[Selector], members: list[Effective]) -> Selector:
    """The selector without the pods of others that the bundle does not show, as far as one label keeps them apart and takes no member."""
    more: list[Requirement] = []
    for other in kept_apart:
        demands = other.demands()
        if any(dict(selector.labels).get(key, value) != value for key, value in other.labels):
            continue
        for item in demands:
            opposite = Requirement(item.key, _OPPOSITE[item.operator], item.values)
            if all(opposite.accepts(member.workload.labels) for member in members):
                more.append(opposite)
                break
    if not more:
        return selector
    values: dict[str, set[str]] = {}
    for item in more:
        if item.operator == "NotIn":
            values.setdefault(item.key, set()).update(item.values)
    others = [item for item in more if item.operator != "NotIn"]
    apart = [Requirement(key, "NotIn", tuple(found)) for key, found in values.items()]
    return Selector.of(dict(selector.labels), [*selector.expressions, *others, *apart])


def accepting_plaintext(access: Access, namespace: str) -> list[tuple[Selector, Src]]:
    """Pods that the bundle does not show and that accept plaintext below a namespace that refuses it: those of gateways, which take requests from outside
    whatever mode the mesh has, and those of a mode of their own."""
    ir = access.ir
    found = []
    for rule in access.unseen(namespace):
        modes = [fact for fact in (rule.mode, *rule.ports.values()) if fact is not None]
        if rule.mode is not None and all(fact.value != "strict" for fact in modes):
            found.append((rule.subject.value.selector, rule.subject.src | sources(*modes)))
    for gateway in ir.gateways:
        pairs = gateway.labels
        if pairs and gateway.selects(pairs) and not gateway.pods(ir.world):
            found.append((Selector.of(pairs), gateway.implementation.src))
    return found


def homes(ir: IR, namespace: str) -> list[str]:
    """The namespaces that a policy holds for: its own, or every enrolled one of the bundle."""
    if namespace:
        home = ir.world.namespaces.get(namespace)
        outside = home is not None and (home.meshed is None or not home.meshed.value)
        return [] if outside and not any(ir.world.meshed(item) for item in ir.world.of_namespace(namespace)) else [namespace]
    found = {name for name, item in ir.world.namespaces.items() if item.meshed is not None and item.meshed.value}
    return sorted(found | {item.ref.namespace for item in ir.world.workloads if ir.world.meshed(item) is not False})
