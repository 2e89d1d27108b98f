"""What the ambient data plane starts from: policies with selectors, the Services in front of their pods, and the waypoints that there are or have to be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from meshport.dialects import naming
from meshport.dialects.base import Options
from meshport.dialects.enrolment import STAGE_SERVICES, leaf_at
from meshport.dialects.istio import waypoints
from meshport.dialects.istio.rules import by_principal, deep, held
from meshport.dialects.istio.waypoints import CLASS, ENTERING, FOR, USE, USE_NAMESPACE, Waypoint, Waypoints, is_gateway, is_waypoint
from meshport.dialects.output import Obj, Output, leaves_below
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, PodSet, Ref, Selector, Src, sources
from meshport.ir.model import IR
from meshport.ir.routing import behind_gateways
from meshport.ir.world import Service, Workload

REFUSE = ("DENY", "CUSTOM")  # what takes requests away; nobody is let in by it


@dataclass(slots=True)
class Entry:
    """A policy that goes by selector: of the input (`document`) or just written (`obj`)."""

    ref: Ref
    spec: dict[str, Any]
    src: Src
    members: list[Workload]
    document: int | None = None
    obj: Obj | None = None
    gateways: list[Workload] = field(default_factory=list)  # selected too, and no pods of ambient: their proxies read it as before
    entrances: list[Ref] = field(default_factory=list)  # Gateways of the Gateway API, selected too: their pods are no ambient ones either
    services: list[Service] = field(default_factory=list)  # behind a waypoint, in front of the members
    stood: dict[str, Any] | None = None  # the spec as it was, where the rules that hold are others
    because: list[Src] = field(default_factory=list)  # of each rule, where it is known
    apart: bool = False  # for the pods in ambient of a policy that another entry writes anew for those with a sidecar

    @property
    def action(self) -> str:
        return str(self.spec.get("action") or "ALLOW")

    @property
    def rules(self) -> list[dict[str, Any]]:
        return [rule if isinstance(rule, dict) else {} for rule in self.spec.get("rules") or ()]

    @property
    def named(self) -> str:
        return f"AuthorizationPolicy {self.ref}"

    def src_of(self, rule: dict[str, Any]) -> Src:
        """The leaves of a rule: of the whole policy where they are not known."""
        return sources(*(src for one, src in zip(self.rules, self.because, strict=False) if one == rule)) or self.src

    def deep(self, rule: dict[str, Any]) -> bool:
        """Whether ztunnel cannot hold a rule: it asks for HTTP, or another who decides."""
        return self.action == "CUSTOM" or deep(rule)


def refused(entries: list[Entry]) -> set[int]:
    """The workloads of denies that ztunnel cannot hold."""
    return {id(workload) for entry in entries if entry.action in REFUSE and any(map(entry.deep, entry.rules)) for workload in entry.members}


def written(ir: IR, out: Output) -> list[Entry]:
    found = []
    for obj in _policies(out):
        spec = obj.value.get("spec") or {}
        found.append(Entry(obj.ref, spec, sources(*obj.sources.values()), _members(ir, obj.ref.namespace, spec), obj=obj))
        found[-1].because = [
            sources(*(src for path, src in obj.sources.items() if path[:3] == ("spec", "rules", number)))
            for number in range(len(spec.get("rules") or ()))
        ]
    return found


def _texts(value: Any) -> bool:
    """Whether a value is a list of texts, or of numbers, which are read as if they were quoted."""
    return value is None or (isinstance(value, list) and all(isinstance(item, str | int | float) for item in value))


def _readable(spec: Any) -> bool:
    """Whether rules are lists of mappings all the way down; the API server takes no others, and they are said to be of the wrong type."""
    if not isinstance(spec, dict):
        return spec is None
    rules = spec.get("rules") or []
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        return False
    for rule in rules:
        for part, inner in (("from", "source"), ("to", "operation"), ("when", "")):
            items = rule.get(part) or []
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                return False
            if inner and not all(isinstance(item.get(inner) or {}, dict) for item in items):
                return False
            holders = [item.get(inner) or {} if inner else {key: item.get(key) for key in ("values", "notValues")} for item in items]
            if not all(_texts(value) for holder in holders for value in holder.values()):
                return False
    return True


def by_principals(entries: list[Entry]) -> None:
    """Ask for accounts in words that ztunnel knows. Not where pods are in ambient already: there such a rule did not hold."""
    for entry in entries:
        rules = [by_principal(rule, entry.ref.namespace) for rule in entry.rules] if _readable(entry.spec) else entry.rules
        if rules != entry.rules:
            entry.stood, entry.spec = entry.stood or entry.spec, {**entry.spec, "rules": rules}


def of_input(ir: IR, out: Output, options: Options, stood: Waypoints, *, whole: bool = False) -> list[Entry]:
    """The policies of pods that have a sidecar now; those of others are what they are. `whole` for all pods, and what was written of policies for them."""
    found = [_rewritten(ir, out, options, obj) for obj in _policies(out)] if whole else []
    enforced = {policy.document for policy in ir.policies if policy.kind == "AuthorizationPolicy"} - {entry.document for entry in found}
    enforced -= {number for number in enforced if not _readable(out.bundle.documents[number].value.get("spec")) or number in out.removed}
    for number in sorted(enforced):
        document = out.bundle.documents[number]
        spec = document.value.get("spec") or {}
        if not spec.get("targetRefs") and not spec.get("targetRef"):
            home = document.namespace or options.default_namespace
            selected = _members(ir, "" if home == options.root_namespace else home, spec)
            gateways = [workload for workload in selected if is_gateway(workload)]
            every = whole and spec.get("action") != "CUSTOM"  # which ztunnel does not hold
            members = [workload for workload in selected if (every or workload.ref not in stood.ambient) and not is_gateway(workload)]
            if selected and not members:
                continue
            shadow = document.leaves.get("spec", {})
            src = frozenset(leaf for leaf, _ in leaves_below(shadow, ()))
            found.append(Entry(Ref(home, document.name), spec, src, members, document=number, gateways=gateways))
            if spec.get("rules"):
                found[-1].because = [frozenset(leaf for leaf, _ in leaves_below(rule, ())) for rule in shadow["rules"]]
            if not spec.get("selector"):
                found[-1].entrances = _entrances(out, "" if home == options.root_namespace else home)
    return sorted(found, key=lambda item: item.ref)


def _policies(out: Output) -> list[Obj]:
    """The AuthorizationPolicies that were written for pods."""
    return [
        obj
        for (group, kind, _), obj in sorted(out.objects.items(), key=lambda item: item[0][2])
        if (group, kind) == ("security.istio.io", "AuthorizationPolicy") and not (obj.value.get("spec") or {}).get("targetRefs")
    ]


def _rewritten(ir: IR, out: Output, options: Options, obj: Obj) -> Entry:
    """A policy by selector that was written, or written anew, for pods that have ztunnel and others that get it."""
    spec = obj.value.get("spec") or {}
    home = obj.ref.namespace or options.default_namespace
    reach = "" if home == options.root_namespace else home
    selected = _members(ir, reach, spec)
    entry = Entry(Ref(home, obj.ref.name), spec, sources(*obj.sources.values()), [one for one in selected if not is_gateway(one)], obj=obj)
    entry.document = obj.changed
    entry.gateways = [one for one in selected if is_gateway(one)]
    entry.entrances = [] if spec.get("selector") else _entrances(out, reach)
    return entry


def of_ambient_pods(ir: IR, out: Output, options: Options, stood: Waypoints, entries: list[Entry], behind: dict[Ref, Src]) -> list[Entry]:
    """What is in ambient already and may not stay as it is: policies of pods that get a waypoint, whose account is the caller from now on, and those that hold
    for pods with a sidecar too, whose document is written anew. Each is what ztunnel enforces of it; entries that say the same take these pods in."""
    by_document = {entry.document: entry for entry in entries}
    fresh = behind.keys() - stood.behind.keys()
    found: list[Entry] = []
    for number in sorted({policy.document for policy in ir.policies if policy.kind == "AuthorizationPolicy"}):
        document = out.bundle.documents[number]
        spec = document.value.get("spec") or {}
        if spec.get("targetRefs") or spec.get("targetRef") or not _readable(spec):
            continue
        home = document.namespace or options.default_namespace
        reach = "" if home == options.root_namespace else home
        selected = _members(ir, reach, spec)
        members = [workload for workload in selected if workload.ref in stood.ambient and not is_gateway(workload)]
        reached = any(service.ref in fresh for workload in members for service in ir.world.services_of(workload) if not service.headless)
        whole = Entry(
            Ref(home, document.name), spec, frozenset(leaf for leaf, _ in leaves_below(document.leaves.get("spec", {}), ())), members
        )
        rules = [made for rule in whole.rules if (made := held(rule, whole.action)) is not None]
        beside = by_document.get(number)
        if not members or whole.action == "CUSTOM" or (not rules and (whole.action == "DENY" or beside is None)):
            continue  # nothing of it holds, or it lets in no waypoint either
        if beside is not None and rules == whole.rules and reached:
            beside.members += members
        elif reached or (beside is not None and (whole.action == "ALLOW" or any(map(beside.deep, beside.rules)))):
            whole.document, whole.apart = number, beside is not None
            if rules != whole.rules:
                whole.stood, whole.spec = spec, {**spec, "rules": rules}
            if not whole.apart:
                whole.gateways = [workload for workload in selected if is_gateway(workload)]
                whole.entrances = [] if spec.get("selector") else _entrances(out, reach)
            found.append(whole)
    return found


def _entrances(out: Output, namespace: str) -> list[Ref]:
    """The Gateways of a namespace, of all where it is empty, that are no waypoints and have pods of Istio's making."""
    return sorted(
        Ref(document.namespace or "", document.name)
        for document in out.bundle.documents
        if (document.group, document.kind) == ("gateway.networking.k8s.io", "Gateway")
        and namespace in ("", document.namespace)
        and (document.value.get("spec") or {}).get("gatewayClassName") == "istio"
    )


def selected(ir: IR, options: Options, entry: Entry) -> list[Workload]:
    """The workloads in the mesh that the selector of a policy takes, whether or not it is theirs here."""
    return _members(ir, "" if entry.ref.namespace == options.root_namespace else entry.ref.namespace, entry.spec)


def labels_of(spec: dict[str, Any]) -> dict[str, str]:
    """The labels that a policy selects pods by; none for all."""
    selector = spec.get("selector")
    labels = selector.get("matchLabels") if isinstance(selector, dict) else None
    return {str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {}


def together(one: dict[str, str], other: dict[str, str]) -> dict[str, str] | None:
    """The labels of pods that two selectors take; None where they agree on none."""
    return {**one, **other} if all(one.get(key, value) == value for key, value in other.items()) else None


def left_open(options: Options, entry: Entry, entries: list[Entry], homes: Iterable[str]) -> list[PodSet]:
    """The pods of namespaces that a policy selects, shown or not, for each where no ALLOW closes all of them."""
    labels = labels_of(entry.spec)
    allows = [one for one in entries if one.action == "ALLOW" and labels_of(one.spec).items() <= labels.items()]
    closed = {one.ref.namespace for one in allows}
    return [PodSet(home, Selector.of(labels)) for home in sorted(homes) if not closed & {home, options.root_namespace}]


def without_pods(ir: IR, pods: PodSet) -> list[Service]:
    """The Services that send to pods of these alone, none of which is shown."""
    return [
        service
        for _, service in sorted(ir.world.services.items())
        if service.pods is not None and not service.external_name and pods.contains(service.ref.namespace, service.selector or {})
        if not ir.world.selected(service.pods) and _meshed(ir, service)
    ]


def _members(ir: IR, namespace: str, spec: dict[str, Any]) -> list[Workload]:
    pods = PodSet(namespace, Selector.of(labels_of(spec)))
    return [workload for workload in ir.world.selected(pods) if ir.world.meshed(workload) is not False]


def services_behind(ir: IR, options: Options, entries: list[Entry], stood: Waypoints | None) -> dict[Ref, Src]:
    """The Services that a waypoint has to stand before, with the reason: rules that ask for HTTP, routes, breakers and limits."""
    found: dict[Ref, Src] = {}
    denied = refused(entries)
    for entry in entries:
        evaded = entry.action == "ALLOW" and entry.rules and any(id(workload) in denied for workload in entry.members)
        if not any(map(entry.deep, entry.rules)) and not evaded:
            continue
        for workload in entry.members:
            for service in ir.world.services_of(workload):
                if not service.headless and not service.external_name:
                    found[service.ref] = found.get(service.ref, NOWHERE) | entry.src
    asking = [
        (routes.service, routes.ref.src)
        for routes in ir.routes
        if routes.mesh and not routes.problem and routes.rules and (stood is None or not waypoints.unread(routes.ref.value, routes.service))
    ]
    asking += [
        (policy.service, policy.ref.src)
        for policy in ir.service_policies
        if (stood is None or not waypoints.unread(policy.ref.value, policy.service, options.root_namespace))
        if policy.breaker is not None or any(not name.startswith("transport.") for name, _ in policy.extras)
    ]
    for service_ref, src in asking:
        known = ir.world.services.get(service_ref.value) if service_ref is not None else None
        if known is None or known.ref in ir.unproxied:  # what holds at gateways alone needs no proxy before the pods
            continue
        if not known.headless and not known.external_name and _meshed(ir, known):
            found[known.ref] = found.get(known.ref, NOWHERE) | src
    for ref, (_, src) in (stood.behind if stood is not None else {}).items():
        found.setdefault(ref, src)
    return found


def _meshed(ir: IR, service: Service) -> bool:
    home = ir.world.namespaces.get(service.ref.namespace)
    members = ir.world.selected(service.pods) if service.pods is not None else []
    if members:
        return any(ir.world.meshed(workload) is not False for workload in members)
    return home is None or home.meshed is None or home.meshed.value


def gateways(
    ir: IR, out: Output, options: Options, behind: dict[Ref, Src], stood: Waypoints | None, *, half: bool = False
) -> dict[Ref, Ref]:
    """The waypoint of each Service that needs one: the one that it has, one of its namespace that more can go through, or a new one. With `half` any can."""
    names = {ref: stood.behind[ref][0].ref for ref in behind if ref in stood.behind} if stood is not None else {}
    by_namespace: dict[str, list[Ref]] = {}
    for ref in sorted(behind):
        if ref not in names:
            by_namespace.setdefault(ref.namespace, []).append(ref)
    for namespace, services in by_namespace.items():
        there = [document.name for document in out.bundle.documents if document.namespace == namespace and is_waypoint(document.value)]
        if stood is not None:
            known = {name: stood.known.get(Ref(namespace, name)) for name in there}
            there = [
                name
                for name, gate in known.items()
                if (gate is None or gate.of_services if half else _joinable(ir, out, options, stood, gate, services))
            ]
        src = sources(*(behind[ref] for ref in services))
        name = there[0] if there else _free(ir, out, namespace)
        names |= dict.fromkeys(services, Ref(namespace, name))
        if not there:
            obj = out.object("gateway.networking.k8s.io/v1", "Gateway", Ref(namespace, name), owner=None, rank=15, because=src)
            for ref in services:
                obj.add_origin(ir.world.services[ref].document)
            obj.set(("metadata", "labels", FOR), "service", src)
            obj.set(("spec", "gatewayClassName"), CLASS, src)
            obj.set(("spec", "listeners"), [{"name": "mesh", "port": 15008, "protocol": "HBONE"}], src)
            obj.note("the proxy for what asks for HTTP: " + ", ".join(ref.name for ref in services))
        for ref in services:
            changed = out.change(ir.world.services[ref].document, group=f"service {ref.name}", rank=STAGE_SERVICES)
            changed.set(("metadata", "labels", USE), name, behind[ref])
            elsewhere = ("metadata", "labels", USE_NAMESPACE)
            if changed.at(elsewhere) is not None:  # of a waypoint that was none for it
                changed.drop(elsewhere, leaf_at(out, ir.world.services[ref].document, elsewhere) | behind[ref])
        out.finding(
            "MP114", document=None, affects=tuple(Affected(ref.namespace, ref.name) for ref in services), feature="membership.waypoint",
            services=", ".join(map(str, services)), waypoint=f"{namespace}/{name}",
        )  # fmt: skip
    return names


def entered(ir: IR, out: Output, entries: list[Entry], stood: Waypoints | None) -> None:
    """Lead gateways through the waypoints of the Services whose pods admit nobody else now; else they go past them and are refused."""
    if not ir.gateways and not any(map(is_gateway, ir.world.workloads)):
        return
    from_gates = behind_gateways(ir.routes)
    policed: dict[Ref, Src] = {}
    for entry in entries:
        for service in entry.services:
            if stood is None or service.ref not in stood.behind:
                policed[service.ref] = policed.get(service.ref, NOWHERE) | entry.src
    for ref, src in policed.items():
        changed = out.change(ir.world.services[ref].document, group=f"service {ref.name}", rank=STAGE_SERVICES)
        changed.set(("metadata", "labels", ENTERING), "true", src)
        for one in ir.routes if ref in from_gates else ():
            if one.mesh and one.rules and not one.problem and one.service is not None and one.service.value == ref:
                out.finding(
                    "MP135", one.ref.src, disposition=None, document=one.document, affects=(Affected(ref.namespace, ref.name),),
                    feature="membership.waypoint", service=str(ref), object=f"{one.kind} {one.ref.value}",
                )  # fmt: skip


def _joinable(ir: IR, out: Output, options: Options, stood: Waypoints, gate: Waypoint | None, services: list[Ref]) -> bool:
    """Whether more Services can go through a waypoint that is there, and nobody gets more by it: not where policies hang on it for all that goes through it,
    nor where pods behind them know it by name."""
    if gate is None or not gate.of_services:
        return gate is None
    for document in out.bundle.documents:
        spec = document.value.get("spec") if document.kind == "AuthorizationPolicy" else None
        if isinstance(spec, dict) and document.namespace == gate.ref.namespace:
            refs = [spec.get("targetRef"), *(refs if isinstance(refs := spec.get("targetRefs"), list) else ())]
            if any(isinstance(ref, dict) and (ref.get("kind"), ref.get("name")) == ("Gateway", gate.ref.name) for ref in refs):
                return False
    fresh = [ref for ref in services if ref not in stood.behind]
    pods = [
        one for one in ir.world.workloads if one.ref in stood.ambient and any(known.ref in fresh for known in ir.world.services_of(one))
    ]
    naming = [
        policy.subject.value
        for policy in ir.policies
        for rule in policy.rules
        for item in rule.conditions
        for fact in (*(item.any_of or ()), *item.none_of)
        if gate.named_by(fact.value, options.trust_domain)
    ]
    return not any(subject.contains(one.ref.namespace, one.labels) for subject in naming for one in pods)


def _free(ir: IR, out: Output, namespace: str) -> str:
    """A name for a waypoint that meets nothing: its controller makes a Deployment, a Service and an account of the same name."""
    others = {workload.ref for workload in ir.world.workloads} | {
        Ref(item.ref.namespace, item.account.value) for item in ir.world.workloads
    }
    others |= {*ir.world.services, *ir.world.accounts}

    def taken(name: str) -> bool:
        return out.taken("gateway.networking.k8s.io/v1", "Gateway", Ref(namespace, name)) or Ref(namespace, name) in others

    return naming.unique("waypoint", taken)
