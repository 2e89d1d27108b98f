"""Network policies that stand beside the policies that are written (docs.cilium.io, security/policy and network/kubernetes/policy).

Beside a mesh a request has to pass the network's policies and the mesh's. Under Cilium both are the network's, and what either lets in is let in. So where
both hold for the same pods, what both let in is written as one, and the one that stood there goes on closing them and lets nothing in by itself.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.cilium.beside import KINDS, WAYS, Beside, Rule, selector_of, sources_of, standing
from meshport.dialects.cilium.both import Meeting, lets_in, numbers
from meshport.dialects.cilium.kept import carried_on
from meshport.dialects.cilium.peers import NAMESPACE, take_apart
from meshport.dialects.cilium.writing import CILIUM, KIND
from meshport.dialects.enrolment import mark
from meshport.dialects.output import Obj, Output, Path
from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, PodSet, Ref, Src, sources
from meshport.ir.model import IR
from meshport.ir.world import Workload

KUBERNETES = "networking.k8s.io/v1"
EVERYTHING: Rule = {"fromEntities": ["all"], "toEntities": ["all"]}
REFUSING, LETTING = "it goes on refusing them, which is written out", "from now on it lets such requests through"
READ_ONLY = "it is read as context and stays as it is: " + LETTING
Copies = dict[tuple[int, Path, str], Ref]
"""The copies of clusterwide sets of rules, by document, place in it, and namespace."""


@dataclass(slots=True)
class Met:
    """The workloads of a network policy that written policies close too, the names of those, and what could not be written."""

    pods: dict[int, Workload] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)
    lost: dict[str, None] = field(default_factory=dict)
    src: Src = NOWHERE  # why the written policies are


def lower(ir: IR, out: Output, options: Options) -> None:
    """Narrow the written policies to what the network policies for the same pods let through as well."""
    found = standing(ir.world, out)
    copies: Copies = {}
    for direction in WAYS:
        _direction(ir, out, options, [item for item in found if item.direction == direction], direction, copies)


def _direction(ir: IR, out: Output, options: Options, found: list[Beside], direction: str, copies: Copies) -> None:
    written = [
        obj for obj in (out.in_order() if found else ()) if obj.kind == KIND and obj.changed is None and obj.value["spec"].get(direction)
    ]
    ports = frozenset(port for obj in written for port in _written(obj, direction)) | _asked(found) | _sent_to(ir, found)
    silent = {
        place
        for place, item in enumerate(found)
        if item.kind not in KINDS and not any(lets_in(rule, WAYS[direction]) for rule in item.rules)
    }
    met: dict[int, Met] = {}  # by place in the list
    cut: dict[int, Workload] = {}
    for obj in written:
        pods = ir.world.selected(PodSet(obj.ref.namespace, selector_of(obj.value["spec"]["endpointSelector"])))
        classes: dict[tuple[int, ...], list[Workload]] = {}
        for one in pods:
            if not one.host_network:
                classes.setdefault(tuple(place for place, item in enumerate(found) if one in item.pods), []).append(one)
        closed_by = {places: any(found[place].closing for place in places) for places in classes}
        for places, members in classes.items():
            beside = [found[place] for place in places]
            meeting = Meeting(ir.world, members, WAYS[direction], carried_on(ir.world, members, options), bool(ir.gateways))
            if any(item.closing for item in beside):
                _narrow(obj, beside, meeting, direction)
                cut |= {
                    id(one): one
                    for key, others in classes.items()
                    if not closed_by[key] or not {*key} - silent <= {*places} - silent
                    for one in others
                }
            for place in sorted({*places} - silent or places):
                mine = met.setdefault(place, Met())
                mine.pods.update((id(one), one) for one in members)
                mine.names[str(obj.ref)] = None
                mine.src |= sources(*(leaves for path, leaves in obj.sources.items() if path[:2] == ("spec", direction)))
                mine.lost |= meeting.lost
    closed = {id(one) for item in found if item.closing for one in item.pods}
    for place, item in enumerate(found):
        if place in silent:  # it goes on closing its pods, and lets nobody in with whom others could add up
            if place in met:
                _tell(out, item, met[place], ports)
            continue
        rest = [one for one in item.pods if place not in met or id(one) not in met[place].pods]
        meeting = Meeting(ir.world, rest, WAYS[direction], carried_on(ir.world, rest, options), bool(ir.gateways))
        hidden = meeting.hidden(item.rules) if any(id(one) in closed and ir.world.meshed(one) is not False for one in rest) else []
        as_it_is = options.on_loss == "looser" or item.number in out.outside
        seen = [made for rule in item.rules for made in meeting.both(EVERYTHING, rule)] if hidden and not as_it_is else None
        if place in met:
            _closed(out, item, met[place], cut, copies, seen)
            _tell(out, item, met[place], ports)
        if seen is not None and (place not in met or item.clusterwide):
            _as_seen(out, item, seen)
        if item.kind in KINDS and rest and not hidden:
            said(out, "MP182", item, rest, ports)
        strangers = item.clusterwide or any(ir.world.meshed(one) is False for one in rest) or meeting.mixed(item.rules)
        for code in hidden:
            how = (
                {"outcome": READ_ONLY if item.number in out.outside else LETTING}
                if seen is None
                else {"outcome": REFUSING, "severity": "warning", "effect": "narrows" if strangers else "none"}
            )
            said(out, code, item, rest, ports, **how)
    if cut:
        said(out, "MP178", found[0], cut.values(), ports)


# -- what both let in


def _narrow(obj: Obj, beside: list[Beside], meeting: Meeting, direction: str) -> None:
    here = ("spec", direction)
    src = sources_of(beside).union(*(leaves for path, leaves in obj.sources.items() if path[:2] == here))
    rules = [made for rule in obj.value["spec"][direction] for item in beside for other in item.rules for made in meeting.both(rule, other)]
    for path in [path for path in obj.sources if path[:2] == here]:
        del obj.sources[path]
    obj.value["spec"][direction] = []
    unlike = [rule for position, rule in enumerate(rules) if rule not in rules[:position]]
    for position, rule in enumerate(unlike or [{}]):
        obj.set((*here, position), rule, src)
    for item in beside:
        obj.add_origin(item.number)
        obj.note(f"within {item}")


# -- what becomes of those that stood there


def _as_seen(out: Output, item: Beside, rules: list[Rule]) -> None:
    """It says what the network let through while proxies hid requests and ports from it. In a NetworkPolicy that cannot be said: it closes, beside one that can."""
    obj = out.change(item.number)
    if item.kind in KINDS:
        left = [*item.standing, *rules]
        kind = out.bundle.documents[item.number].leaves["kind"]
        obj.set(
            (*item.base, item.direction), left or [{}], item.src if any(left) else frozenset((kind,))
        )  # of nothing that is left nothing shows
        obj.note("lets through what it did between pods of the mesh, whose requests and ports the network did not see")
        return
    spec = out.bundle.documents[item.number].value.get("spec") or {}
    obj.set((*item.base, item.direction), [], item.src)
    named = Ref(item.ref.namespace, out.free(CILIUM, KIND, item.ref.namespace, item.ref.name))
    made = out.object(CILIUM, KIND, named, owner=item.number, because=item.src)
    made.set(("spec", "endpointSelector"), copy.deepcopy(spec.get("podSelector") or {}), item.src)
    made.set(("spec", item.direction), rules or [{}], item.src)


def _closed(out: Output, item: Beside, shared: Met, cut: dict[int, Workload], copies: Copies, seen: list[Rule] | None) -> None:
    """It lets nothing through by itself any more, but for pods that no written policy closes: for those it is written once more (`seen`: in other words)."""
    met, because = list(shared.pods.values()), item.src | shared.src
    shut: list[Rule] = [*item.standing] or ([{}] if item.kind in KINDS else [])
    if item.clusterwide:
        _per_namespace(out, item, met, shut, because, copies)
    else:
        obj = out.change(item.number)
        obj.set((*item.base, item.direction), shut, because)
        obj.note("closes; what it let through is in the policies for these pods")
    spaces = {one.ref.namespace for one in met}
    for one in item.pods:
        if one in met or one.ref.namespace not in spaces:
            continue
        labels = {key: value for key, value in sorted(one.labels.items()) if mark(out, "labels", key) is None}  # the source's leave
        if any(other.ref.namespace == one.ref.namespace and labels.items() <= other.labels.items() for other in met):
            cut[id(one)] = one
            continue
        ours = item.kind in KINDS or seen is not None
        api = CILIUM if ours else KUBERNETES
        kind = KIND if ours else item.kind
        name = out.free(api, kind, one.ref.namespace, f"{item.ref.name}-{one.ref.name}")
        apart = out.object(api, kind, Ref(one.ref.namespace, name), owner=item.number, because=item.src)
        pods = {"matchLabels": labels}
        if ours:
            apart.set(("spec", "endpointSelector"), pods, item.src)
            apart.set(("spec", item.direction), copy.deepcopy(item.rules if seen is None else seen) or [{}], item.src)
            if not item.closing:
                apart.set(("spec", "enableDefaultDeny", item.direction), False, item.src)
            continue
        spec = out.bundle.documents[item.number].value.get("spec") or {}
        apart.set(("spec", "podSelector"), pods, item.src)
        apart.set(("spec", "policyTypes"), [item.direction.capitalize()], item.src)
        apart.set(("spec", item.direction), copy.deepcopy(spec.get(item.direction) or []), item.src)


def _per_namespace(out: Output, item: Beside, met: list[Workload], shut: list[Rule], because: Src, copies: Copies) -> None:
    """A clusterwide policy goes on as it is in other namespaces, also those that the bundle does not show. In these a copy says the rest of it."""
    number, base = item.number, item.base
    clusterwide = out.change(number)
    whole = at(out.bundle.documents[number].value, base)
    for space in sorted({one.ref.namespace for one in met}):
        known = (number, base, space) in copies
        ref = copies.setdefault((number, base, space), Ref(space, out.free(CILIUM, KIND, space, item.ref.name)))
        copied = out.object(CILIUM, KIND, ref, owner=number, because=item.src)
        for key, value in _of_namespace(whole).items() if not known else ():
            copied.set(("spec", key), value, item.src)
        copied.set(("spec", item.direction), shut, because)
        copied.note(f"{item}, for this namespace: closes; what it let through is in the policies for these pods")
        selector = copy.deepcopy(at(clusterwide.value, base).get("endpointSelector") or {})
        elsewhere = {"key": f"k8s:{NAMESPACE}", "operator": "NotIn", "values": [space]}
        if elsewhere not in (selector.get("matchExpressions") or ()):
            selector["matchExpressions"] = [*(selector.get("matchExpressions") or ()), elsewhere]
            clusterwide.set((*base, "endpointSelector"), selector, because)


def _of_namespace(spec: Rule) -> Rule:
    """A clusterwide set of rules as one of a namespace's own policy: peers without a namespace stay those of every namespace."""
    anywhere = {"key": f"k8s:{NAMESPACE}", "operator": "Exists"}

    def peer(selector: Rule) -> Rule:
        if (chosen := take_apart(selector_of(selector))).names_namespace or chosen.reserved:
            return copy.deepcopy(selector)
        return {**copy.deepcopy(selector), "matchExpressions": [*copy.deepcopy(selector.get("matchExpressions") or []), anywhere]}

    def rule(entry: Any, way: str) -> Any:
        words = (f"{way}Endpoints", f"{way}Requires") if isinstance(entry, dict) else ()
        return {**copy.deepcopy(entry), **{word: [peer(one) for one in entry[word]] for word in words if isinstance(entry.get(word), list)}}

    made = {key: copy.deepcopy(value) for key, value in spec.items() if key != "nodeSelector"}
    for direction, way in WAYS.items():
        for key in (direction, direction + "Deny"):
            if isinstance(made.get(key), list):
                made[key] = [rule(entry, way) for entry in made[key]]
    return made


def at(value: Any, path: Path) -> Any:
    """What stands at a path."""
    for step in path:
        value = value[step]
    return value


# -- what is said


def _places(pods: Iterable[Workload]) -> tuple[Affected, ...]:
    return tuple(Affected(ref.namespace, ref.name) for ref in sorted({one.ref for one in pods}))


def _subjects(pods: Iterable[Workload], ports: Iterable[int], direction: str = "ingress") -> frozenset[tuple[str, str]]:
    if direction == "egress":
        return frozenset((f"egress of {one.ref}", aspect) for one in pods for aspect in ("default", "open", "spoken"))
    return frozenset((access_subject(one.ref, port), "*") for one in pods for port in (*ports, *(item.number for item in one.ports), None))


def _written(obj: Obj, direction: str) -> Iterable[int]:
    for rule in obj.value["spec"].get(direction) or ():
        for entry in rule.get("toPorts") or ():
            for port in entry["ports"]:
                if port["port"].isdigit():
                    yield from (int(port["port"]), port.get("endPort", 0))


def _asked(found: Iterable[Beside]) -> frozenset[int]:
    """The ports that the network policies name by number, or by a name of a pod's."""
    known = (numbers(port, [one]) for item in found for port in item.ports for one in item.pods)
    return frozenset(end for item in known if item is not None for end in item[:2])


def _sent_to(ir: IR, found: Iterable[Beside]) -> frozenset[int]:
    """The ports of their pods that Services send to, or the kubelet and Prometheus ask, declared or not."""
    pods = {id(one): one for item in found for one in item.pods}.values()
    sent = {ir.world.target_number(one, port) for one in pods for service in ir.world.services_of(one) for port in service.ports}
    asked = {probe.port for one in pods for probe in one.probes} | {scrape.port for one in pods for scrape in one.scrapes}
    return frozenset(port for port in sent | asked if port)


def _tell(out: Output, item: Beside, met: Met, ports: Iterable[int]) -> None:
    members, written = met.pods.values(), ", ".join(met.names)
    said(out, "MP180" if item.kind in KINDS else "MP177", item, members, ports, written=written)
    if met.lost:
        said(out, "MP181", item, members, ports, written=written, what="; ".join(met.lost))


def said(out: Output, code: str, item: Beside, pods: Iterable[Workload], ports: Iterable[int], **values: Any) -> None:
    """A finding about pods: what their egress loses concerns destinations anywhere. It points to them where the policy is context alone."""
    members = list(pods)
    shown = ", ".join(str(ref) for ref in sorted({one.ref for one in members}))
    out.finding(code, **_about(out, code, item, members, ports), policy=str(item), workloads=shown, **values)


def said_together(out: Output, code: str, item: Beside, pods: Iterable[Workload], ports: Iterable[int], **values: Any) -> None:
    """The same as one finding for all policies of a namespace: what is to be done about them is one thing."""
    members = list(pods)
    about = _about(out, code, item, members, ports)
    listed = {"object": [str(item)], "workloads": [str(one.ref) for one in members]}
    out.gather((item.ref.namespace, item.number in out.outside, repr(values)), code, listed=listed, **about, **values)


def _about(out: Output, code: str, item: Beside, members: list[Workload], ports: Iterable[int]) -> dict[str, Any]:
    own = (number for number in (item.number, *(one.document for one in members)) if number not in out.outside)
    anywhere = (Affected(None),) if item.direction == "egress" and code in ("MP178", "MP181", "MP183", "MP185", "MP186", "MP187") else ()
    return {
        "document": next(own, item.number),
        "affects": (*_places(members), *anywhere),
        "explains": _subjects(members, ports, item.direction),
        "feature": "l4.egress" if item.direction == "egress" else "l4.ingress-default-deny",
    }
