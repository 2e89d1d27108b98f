"""Callers without an identity, refused for pods that the bundle does not show: a namespace's mode or default policy holds for them too (mapping decisions 2).

For pods that it does show this is written with their policies. Policies add up in Cilium, so pods that another policy closes are left to that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.cilium.callers import Known, callers, others_of
from meshport.dialects.cilium.denying import Directs
from meshport.dialects.cilium.planning import Part
from meshport.dialects.cilium.refusals import MOST
from meshport.dialects.cilium.subjects import accepting_plaintext, beside, homes
from meshport.dialects.cilium.unseen import shut
from meshport.dialects.cilium.writing import ECHO, OTHERS, Ruled, ranges, write
from meshport.dialects.naming import claim
from meshport.dialects.output import Output
from meshport.effective.access import Access, admission_conditions, opens
from meshport.effective.pieces import of_rule
from meshport.effective.seen import by_labels
from meshport.findings import Affected
from meshport.ir.authorization import IDENTITY, Condition, Policy, Rule
from meshport.ir.base import NOWHERE, Fact, Ref, Selector, Src, sources
from meshport.ir.model import IR, ByLabel
from meshport.ir.world import Namespace
from meshport.mapping.table import in_range
from meshport.values.identities import EVERYONE


def lower(
    ir: IR,
    out: Output,
    options: Options,
    access: Access,
    known: Known,
    way: ByLabel,
    taken: dict[str, set[str]],
    denies: Directs,
) -> None:
    """A policy for each namespace of which the bundle shows no workload, and for each STRICT whose pods it does not show."""

    def say(
        namespace: str,
        wanted: str,
        selector: Selector,
        document: int,
        conditions: tuple[Condition, ...],
        ports: _Ports,
        src: Src,
        named_by: Src = NOWHERE,
    ) -> None:
        there = apart(access, namespace, selector, [item for item in ir.policies if shut(item, namespace, ir, options, denies)])
        if there is None:
            return
        for item in access.of_namespace(namespace):  # the pods that are known have theirs, or none
            own = [mode for mode, _ in access.moded([item])] or [item.workload.pods.selector]
            there = beside(there, own if there.accepts(item.workload.own_labels) else (), [])
        label = claim(wanted, taken.setdefault(namespace, set()))
        peers, meshed = _peers(namespace, Rule(conditions, src=src), options, known, way)
        part = Part(label, None, document, src)
        ranged = in_range(options.target_version, "1.16", None)
        rules = _rules(peers, ports, src, ranged=ranged)
        if not ranged and False in ports.values() and True in ports.values():
            out.finding(
                "MP290", document=document, feature="server.port", policy=label, release=options.target_version, affects=(Affected(namespace),),
            )  # fmt: skip
        write(out, Ref(namespace, label), there, src, rules, src, [document], [part], whole=False, named_by=named_by)
        if meshed:
            out.gather(
                tuple(meshed), "MP281", document=document, affects=(Affected(namespace),), feature="authorization.source.principals",
                namespaces=", ".join(meshed), listed={},
            )  # fmt: skip

    shown = {item.subject.value.namespace for item in ir.transport if item.level != "mesh"}
    places = {*homes(ir, ""), *(name for name in shown if name and name not in ir.world.namespaces)}
    for namespace in sorted(places):
        mode = access.namespace_mode(namespace)
        if not ir.world.of_namespace(namespace):
            document, default = default_of(ir, access, namespace)
            home = ir.world.namespaces.get(namespace)
            demanded = home.demanding if home is not None else None
            if (
                demanded is not None and default.value == "cluster-unauthenticated"
            ):  # a policy for the ports alone would add to one for all of them
                default = default.holding("cluster-authenticated").also(demanded)
            conditions = admission_conditions(default.value, options.cluster_networks, default.src)
            spared = _spared(home)
            others: _Ports = {None: True, **spared} if spared else {}
            if mode.value == "strict":
                rule = next(item for item in ir.transport if item.mode is not None and item.mode.src <= mode.src)
                say(namespace, "strict-mtls", Selector(), rule.document, _identity(mode.src), {}, mode.src)
            elif conditions:
                say(namespace, f"default-{default.value}", Selector(), document, conditions, others, default.src | _src(home, spared))
            elif demanded is not None and home is not None and default.value in ("all-unauthenticated", "audit"):
                asking: _Ports = {port: True for low, high in demanded.value for port in range(low, high + 1) if port not in spared}
                every = len(asking) > MOST  # then all ports ask, which refuses more
                say(
                    namespace,
                    "plaintext",
                    Selector(),
                    home.document,
                    _identity(demanded.src),
                    others if every else {None: False, **asking},
                    demanded.src | _src(home, spared),
                )
            out.imply("the ports that it names are closed to plaintext anyway", demanded)
        for rule in access.unseen(namespace):
            own = rule.mode if rule.mode is not None else mode
            strict: _Ports = {None: own.value == "strict", **{port: fact.value == "strict" for port, fact in rule.ports.items()}}
            if any(strict.values()):
                src = rule.subject.src | sources(rule.mode, *rule.ports.values())
                say(namespace, rule.ref.value.name, rule.subject.value.selector, rule.document, _identity(src), strict, src, rule.ref.src)
    for rule in ir.transport if not places else ():
        if rule.level == "mesh" and rule.mode is not None and rule.mode.value == "strict":
            out.finding(
                "MP960", rule.mode, document=rule.document, disposition="dropped", affects=(Affected(None),), feature="transport.mode",
                policy=f"PeerAuthentication {rule.ref.value}",
            )  # fmt: skip


def _spared(home: Namespace | None) -> _Ports:
    """The ports of a namespace's pods that went past their proxies; none where they are too many to be named, for then they are closed with the others."""
    ranges = home.bypassed.value if home is not None and home.bypassed is not None else ()
    numbers = [port for low, high in ranges for port in range(low, high + 1)]
    return dict.fromkeys(numbers, False) if len(numbers) <= MOST else {}


def _src(home: Namespace | None, spared: _Ports) -> Src:
    return sources(home.bypassed) if home is not None and spared else NOWHERE


_Ports = dict[int | None, bool]  # which ports ask for the peers; None is every other, and an empty table is all of them


def _identity(src: Src) -> tuple[Condition, ...]:
    return (Condition(IDENTITY, (Fact(EVERYONE, src),)),)


def default_of(ir: IR, access: Access, namespace: str) -> tuple[int, Fact[str]]:
    """What pods of a namespace admit where no policy names them, and the document that says so."""
    found = [item for item in ir.admissions if item.subject.namespace in ("", namespace) and item.level != "workload"]
    best = max(found, key=lambda item: item.level == "namespace", default=None)
    if best is None:
        return 0, access.default_admission
    return best.document if best.document is not None else 0, best.value


def apart(access: Access, namespace: str, selector: Selector, closed: Sequence[Policy] = ()) -> Selector | None:
    """The selector without the pods of policies that close them, for what is admitted here would add up with what those admit, and without those of
    that accept plaintext. None if no pod is left."""
    closing = [
        item.subject.value.selector
        for item in access.ir.policies
        if item.subject.value.namespace in ("", namespace) and item.action.value == "allow" and item.closing and not opens(item)
    ]
    closing += [item.subject.value.selector for item in closed if item.subject.value.namespace in ("", namespace)]
    if any(item.everything for item in closing):
        return None
    found = beside(selector, [*closing, *(item for item, _ in accepting_plaintext(access, namespace))], [])
    return found if found.accepts(dict(selector.labels)) else None


def _peers(namespace: str, rule: Rule, options: Options, known: Known, way: ByLabel) -> tuple[list[tuple[str, list[Any]]], list[str]]:
    """Whom the rule admits, by kind of peer, and the namespaces that stand for any mesh identity."""
    found: list[tuple[str, list[Any]]] = []
    meshed: list[str] = []
    for piece in (seen for one in of_rule(rule) for seen in by_labels(one, options.cluster_networks, way)):
        who = callers(piece, known)
        if who.meshed:
            meshed = known.namespaces() or [namespace]  # the bundle shows no namespace of the mesh, and this is one
            found.append(("fromEndpoints", who.endpoints or [others_of(namespace, known)]))
        else:
            found += who.kinds()
    return found, meshed


def _rules(peers: list[tuple[str, list[Any]]], ports: _Ports, src: Src, *, ranged: bool) -> list[Ruled]:
    """The peers on the ports that ask for them; anybody on the others, and by what is not TCP."""
    named = sorted(port for port in ports if port is not None)
    asking = [port for port in named if ports[port]]
    other = [port for port in named if not ports[port]]
    if ports.get(None, True):
        closed, opened = _others(named, other, asking, ranged), _single(other)
    else:
        closed, opened = _single(asking), _others(named, asking, other, ranged)
    found: list[Ruled] = [({kind: members, "toPorts": [{"ports": closed}]}, src) for kind, members in peers if closed]
    found.append(({"toPorts": [{"ports": [*opened, *OTHERS]}]}, src))
    found.append(({"icmps": [{"fields": ECHO}]}, src))
    return found


def _single(ports: list[int]) -> list[dict[str, Any]]:
    return [{"port": str(port), "protocol": "TCP"} for port in ports]


def _others(named: list[int], without: list[int], among: list[int], ranged: bool) -> list[dict[str, Any]]:
    """Every port but some; before Cilium 1.16, which brought ranges, only those of them that are named."""
    if not named or not without:
        return [{"port": "0", "protocol": "TCP"}]
    return ranges(without) if ranged else _single(among)
