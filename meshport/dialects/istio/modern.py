"""Istio written anew for Istio: versions of kinds, and the data plane that is asked for. What is right already stays as it stands.

From sidecars to ambient the injection labels leave, pods get ztunnel, and what asks for HTTP goes to waypoints (`ambient`). What neither ztunnel nor a
waypoint reads is said. https://istio.io/latest/docs/ambient/migrate/
"""

from __future__ import annotations

from typing import Any

from meshport.dialects import enrolment, entrances, installation
from meshport.dialects.base import Options
from meshport.dialects.cursor import Cursor
from meshport.dialects.exposure import affected, explains_leaving
from meshport.dialects.istio import addresses, ambient, auto_mtls, membership, older, ports, sidecars, tokens, unproxied, waypoints
from meshport.dialects.output import Obj, Output
from meshport.findings import Affected
from meshport.ir.base import Fact, PodSet, Ref, Selector, Src, sources
from meshport.ir.exposure import EgressDefault
from meshport.ir.model import IR
from meshport.ir.resilience import ServicePolicy, explains_breaker, explains_policy
from meshport.ir.routing import ServiceRoutes, explains
from meshport.ir.transport import PortSetting, TransportRule
from meshport.ir.world import Namespace, Workload
from meshport.mapping.bound import Bound
from meshport.mapping.table import dialect_of_group

_SIDECAR_MARKS = ("sidecar.istio.io/inject", "istio-injection", "istio.io/rev")


def lower(ir: IR, out: Output, options: Options, reads: tuple[str, ...]) -> None:
    """What is old in the bundle, in the words of the release and the data plane that are wanted."""
    bound = Bound(out.bundle, out.table, reads, {options.source: options.source_version})
    stood = waypoints.read(bound, ir.world, options.default_namespace)
    if options.data_plane == "sidecar" and (stood.ambient or any(map(waypoints.in_ambient, ir.world.namespaces.values()))):
        sidecars.lower(bound, ir, out, options, stood)
    if options.data_plane == "ambient":
        _enrol(bound, ir, out)
        past = _ports(ir, out)
        if ir.evading:
            sidecars.policies(bound, ir, out, options, stood)
            addresses.leave(bound, out, stood)
        ambient.lower(ir, out, options, stood, past, half=bool(ir.evading))
        unproxied.served(
            ir, out, {ref for ref in ir.unproxied if ref in ir.world.services and unproxied.fronted(out, ir.world.services[ref].document)}
        )
        auto_mtls.lower(ir, out)
        _modes(ir, out, stood)
        _without_effect(bound, ir, out, options, stood)
    elif options.routes == "gateway-api":
        _standing(ir, out)
    older.lower(bound, out, options)
    _versions(bound, out, options)
    installation.lower(ir, out)


def _versions(bound: Bound, out: Output, options: Options) -> None:
    """The newest version of each kind that the release serves."""
    for number, document in enumerate(out.bundle.documents):
        kind = bound.table.kind(document.group, document.kind)
        if not bound.mesh[number] or number in bound.broken or number in out.removed or kind is None or kind.dialect != "istio":
            continue
        newest = kind.newest(options.target_version)
        if newest is None or document.version == newest:
            continue
        if document.version in kind.versions and kind.versions.index(document.version) < kind.versions.index(newest):
            continue
        obj = out.change(number, rank=50)
        obj.set(("apiVersion",), f"{document.group}/{newest}", Cursor.root(bound, number).at("apiVersion").src)


def _standing(ir: IR, out: Output) -> None:
    """Say of VirtualServices for the mesh that they are not made HTTPRoutes, where those are asked for."""
    found = sorted({(item.document, item.ref.value) for item in ir.routes if item.kind == "VirtualService" and item.mesh})
    if found:
        homes = dict.fromkeys(ref.namespace for _, ref in found)
        out.finding(
            "MP395", document=found[0][0], affects=tuple(Affected(home) for home in homes), feature="routing.host", count=len(found),
            object=f"VirtualService {found[0][1]}",
        )  # fmt: skip


# -- from sidecars to ambient


def _enrol(bound: Bound, ir: IR, out: Output) -> None:
    """Labels of ambient for those of sidecars; never both on one pod."""
    changed: list[str] = []
    for name, namespace in sorted(ir.world.namespaces.items()):
        if namespace.meshed is None or not namespace.meshed.value or waypoints.in_ambient(namespace):
            continue
        changed.append(name)
        obj = out.change(namespace.document, rank=enrolment.STAGE_NAMESPACES)
        _drop(bound, out, obj, namespace.document, ("metadata",), namespace.meshed)
        obj.set(("metadata", "labels", waypoints.MODE), "ambient", namespace.meshed)
    for workload in ir.world.workloads:
        home = ir.world.namespaces.get(workload.ref.namespace)
        if waypoints.is_gateway(workload):
            _keep_proxy(out, workload, home)
            continue
        if workload.meshed is None or waypoints.ambient(ir.world, workload):
            continue
        obj = out.change(workload.document, group=f"workload {workload.ref.name}", rank=enrolment.STAGE_WORKLOADS)
        _drop(bound, out, obj, workload.document, (*workload.template, "metadata"), workload.meshed)
        if not enrolment.inherits(ir, workload, workload.meshed.value, out.target):
            mode = "ambient" if workload.meshed.value else "none"
            obj.set((*workload.template, "metadata", "labels", waypoints.MODE), mode, workload.meshed)
        else:
            if waypoints.MODE in workload.labels:  # its sidecar came before what this says
                obj.drop((*workload.template, "metadata", "labels", waypoints.MODE), workload.meshed)
            out.imply("the namespace says the same", workload.meshed)
    # of those that nothing is known of, the marks of sidecars leave as well: they would win
    removing = " ".join(f"{key}-" for key in ("istio-injection", "istio.io/rev"))
    command = f"kubectl label namespace {{namespace}} {waypoints.MODE}=ambient {removing} --overwrite"
    enrolment.by_command(ir, out, command, {waypoints.MODE: "ambient"})
    membership.install(ir, out)
    changed = [name for name in changed if ir.world.namespaces[name].document not in out.outside]
    if changed:
        found = out.finding(
            "MP101", *(ir.world.namespaces[name].meshed for name in changed), document=ir.world.namespaces[changed[0]].document,
            affects=tuple(Affected(name) for name in changed), feature="membership.inject", namespaces=", ".join(changed),
        )  # fmt: skip
        found.remedy = enrolment.restart(changed, ir.world) or found.remedy


def _ports(ir: IR, out: Output) -> list[PortSetting]:
    """Ports of pods that went past their sidecars; those that go past ztunnel no longer."""
    past = []
    own = {workload.document: workload for workload in ir.world.workloads}
    for setting in ir.ports:
        workload = own.get(setting.document)
        if setting.kind != "skip-inbound" or workload is None or waypoints.is_gateway(workload):
            continue
        if ir.world.meshed(workload) is not False:
            obj = out.change(workload.document, group=f"workload {workload.ref.name}", rank=enrolment.STAGE_WORKLOADS)
            notes = (*workload.template, "metadata", "annotations")
            if setting.ranges.value == ports.EVERY and ports.INCLUDE_IN in workload.annotations:
                obj.drop((*notes, ports.INCLUDE_IN), setting.ranges)
                obj.set((*notes, ports.BYPASS), "true", setting.ranges)
                continue
            if ports.EXCLUDE_IN in workload.annotations:  # else the installation says it for every pod
                obj.drop((*notes, ports.EXCLUDE_IN), setting.ranges)
            past.append(setting)
    return past


def _keep_proxy(out: Output, workload: Workload, home: Namespace | None) -> None:
    """A gateway's pods are nothing but their proxy: it is injected as before, by a label of theirs where the namespace's leaves."""
    if workload.meshed is not None:
        out.imply("a gateway keeps its proxy, and its pods their label", workload.meshed)
    elif home is not None and home.meshed is not None and home.meshed.value and not waypoints.in_ambient(home):
        obj = out.change(workload.document, group=f"workload {workload.ref.name}", rank=enrolment.STAGE_WORKLOADS)
        obj.set((*workload.template, "metadata", "labels", "sidecar.istio.io/inject"), "true", home.meshed)


def _drop(bound: Bound, out: Output, obj: Obj, number: int, place: tuple[str, ...], because: Fact[bool]) -> None:
    root = Cursor.root(bound, number).at(*place)
    for what in ("labels", "annotations"):
        for key in _SIDECAR_MARKS:
            if mark := root.at(what, key):
                obj.drop((*place, what, key), because)
                out.ignore(enrolment.ANOTHER, mark.src - because.src)


_REASONS = {
    "EnvoyFilter": ("waypoints do not read filters that select pods", "Say what it is for with a WasmPlugin or a route, or drop it."),
    "Sidecar": (
        "ztunnel and waypoints read no Sidecar",
        "Restrict what leaves the namespace with network policy; visibility needs nothing in ambient.",
    ),
    "ProxyConfig": ("there is no proxy in the pod", "Set resources and options of ztunnel and the waypoints where they are installed."),
    "RequestAuthentication": ("ztunnel reads no tokens", "Attach it to the Service behind a waypoint with targetRefs."),
    "WasmPlugin": ("ztunnel runs no extensions", "Attach it to the waypoint with targetRefs."),
}


def _modes(ir: IR, out: Output, stood: waypoints.Waypoints) -> None:
    """DISABLE, of which ztunnel knows nothing: it takes encrypted traffic for every pod that it serves."""
    for rule in ir.transport:
        modes = [fact for fact in (rule.mode, *rule.ports.values()) if fact is not None and fact.feature != auto_mtls.FEATURE]
        said = any(fact.value == "disable" for fact in modes)
        members = [
            workload
            for workload in ir.world.selected(rule.subject.value)
            if ir.world.meshed(workload) is not False and workload.ref not in stood.ambient and not waypoints.is_gateway(workload)
        ]
        if said and members:
            out.finding(
                "MP111", document=rule.document, affects=tuple(Affected(workload.ref.namespace, workload.ref.name) for workload in members),
                feature="transport.mode", object=f"PeerAuthentication {rule.ref.value}", what="accepts encrypted traffic and plaintext",
            )  # fmt: skip
            _heard(rule, out)


def _heard(rule: TransportRule, out: Output) -> None:
    """Ports with DISABLE in a policy without a mode, of which ztunnel looks for PERMISSIVE alone: in that word it takes plaintext there as before."""
    if rule.mode is not None or any(fact.value == "permissive" for fact in rule.ports.values()):
        return
    for port, fact in sorted(rule.ports.items()):
        if fact.value == "disable" and fact.feature != auto_mtls.FEATURE:
            out.change(rule.document, rank=39).set(("spec", "portLevelMtls", str(port), "mode"), "PERMISSIVE", fact)


def _without_effect(bound: Bound, ir: IR, out: Output, options: Options, stood: waypoints.Waypoints) -> None:
    """What does nothing once the sidecars are gone, and routes that waypoints read but upstream advises against."""
    gates = entrances.Pods(ir, waypoints.is_gateway)
    for number, document in enumerate(out.bundle.documents):
        if not bound.mesh[number] or number in bound.broken or dialect_of_group(document.group) != "istio":
            continue
        spec: Any = document.value.get("spec")
        spec = spec if isinstance(spec, dict) else {}
        named = f"{document.kind} {Ref(document.namespace or options.default_namespace, document.name)}"
        if document.kind == "Sidecar" and (rule := next((one for one in ir.egress_defaults if one.document == number), None)) is not None:
            _sidecar(bound, ir, out, rule)
            continue
        if document.kind == "VirtualService":
            _clients(bound, out, number, named)
        if document.kind in _REASONS and not spec.get("targetRefs") and not spec.get("targetRef"):
            reason, remedy = _REASONS[document.kind]
        elif document.kind == "DestinationRule" and spec.get("workloadSelector"):
            reason, remedy = (
                "a waypoint applies no rule that selects its clients' pods",
                "Leave workloadSelector out if every client may have the rule.",
            )
        else:
            continue
        if _of_gateways(spec, document.namespace or options.default_namespace, gates, options):
            out.imply("stays as it is: its pods are gateways, which keep their proxies", _spec(bound, number))
            continue
        if document.kind == "RequestAuthentication" and _at_waypoints(bound, ir, out, options, number, named):
            continue
        severity = "error" if document.kind in ("EnvoyFilter", "RequestAuthentication", "WasmPlugin") else None
        out.finding(
            "MP112", _spec(bound, number), document=number, disposition="dropped", severity=severity, object=named, reason=reason, remedy=remedy,
            affects=(Affected(document.namespace),) if document.namespace else (), feature="membership.ambient",
            explains=tokens.explains(bound, number, ir, options),
        )  # fmt: skip
    for rule in ir.egress_defaults:
        if rule.kind == "MeshConfig":
            _sidecar(bound, ir, out, rule)
    far = _elsewhere(bound, ir, out, options)
    far |= _past_waypoints(bound, ir, out, options, stood)
    for routes in sorted(
        {
            (item.document, item.ref.value)
            for item in ir.routes
            if item.kind == "VirtualService" and item.mesh and item.rules and item.document not in far
        }
    ):
        out.finding(
            "MP115",
            document=routes[0],
            affects=(Affected(routes[1].namespace),),
            object=f"VirtualService {routes[1]}",
            feature="routing.host",
        )


def _of_gateways(spec: dict[str, Any], home: str, gates: entrances.Pods, options: Options) -> bool:
    """Whether an object is for pods of gateways alone, by labels, or as each of its patches says (EnvoyFilter)."""
    selector = spec.get("selector") if isinstance(spec.get("selector"), dict) else spec.get("workloadSelector")
    labels = (selector.get("matchLabels") or selector.get("labels")) if isinstance(selector, dict) else None
    if isinstance(labels, dict) and labels:
        return gates.are(
            PodSet("" if home == options.root_namespace else home, Selector.of({str(key): str(value) for key, value in labels.items()}))
        )
    patches = spec.get("configPatches")
    places = [patch.get("match") if isinstance(patch, dict) else None for patch in patches] if isinstance(patches, list) else []
    return bool(places) and all(isinstance(place, dict) and place.get("context") == "GATEWAY" for place in places)


def _at_waypoints(bound: Bound, ir: IR, out: Output, options: Options, number: int, named: str) -> bool:
    """Whether tokens are asked for where waypoints stand before every pod that is selected: the object then hangs on the Services."""
    spec = Cursor.root(bound, number).at("spec")
    selector, home = spec.selector("selector"), out.bundle.documents[number].namespace or options.default_namespace
    members = ir.world.selected(PodSet(home, selector.value)) if not selector.value.everything and home != options.root_namespace else []
    fronts = [ir.world.services_of(workload) for workload in members]
    if not members or any(not services or not all(unproxied.fronted(out, service.document) for service in services) for services in fronts):
        return False
    obj = out.change(number, rank=41)
    names = sorted({service.ref.name for services in fronts for service in services})
    obj.drop(("spec", "selector"), selector)
    obj.set(("spec", "targetRefs"), [{"group": "", "kind": "Service", "name": name} for name in names], selector)
    out.finding(
        "MP126", document=number, affects=tuple(Affected(home, workload.ref.name) for workload in members), feature="jwt.rule",
        object=named, services=", ".join(names),
    )  # fmt: skip
    return True


def _sidecar(bound: Bound, ir: IR, out: Output, rule: EgressDefault) -> None:
    """What proxies were told is nothing to ztunnel, so that what they refused to send leaves."""
    said = _spec(bound, rule.document) if rule.kind == "Sidecar" else rule.refuses.src
    if rule.kind != "Sidecar" and (not rule.refuses.value or rule.silenced):
        return  # the mesh's own configuration stays, and holds for whoever has a sidecar
    if not rule.refuses.value or rule.silenced:
        reason, remedy = _REASONS["Sidecar"]
        out.finding(
            "MP112", said, document=rule.document, disposition="dropped", object=rule.subject_name, reason=reason,
            remedy=remedy, affects=affected(ir, Ref(rule.namespace, "")), feature="membership.ambient",
        )  # fmt: skip
        return
    found = out.finding(
        "MP760", said, document=rule.document, disposition="dropped", affects=affected(ir, Ref(rule.namespace, "")),
        explains=explains_leaving(ir, rule, "default", "open", "spoken"), effect="widens",
    )  # fmt: skip
    what = "reads no Sidecar" if rule.kind == "Sidecar" else "sends on what nothing names"
    found.message = f"{rule.subject_name}: the ambient data plane {what}, so what it refuses may leave"


def _clients(bound: Bound, out: Output, number: int, named: str) -> None:
    """Questions about the client's pods, which a waypoint leaves out of a match: the rule then holds for every client."""
    matches = [match for rule in Cursor.root(bound, number).at("spec").each("http") for match in rule.each("match")]
    looked = [match for match in matches if not match.strings("gateways")]  # beside gateways they are not looked at anyway
    asked = sources(*(match.at(key).src for match in looked for key in ("sourceLabels", "sourceNamespace")))
    if asked:
        out.finding(
            "MP730", asked, document=number, disposition="dropped", object=named, feature="routing.match.source",
            affects=(Affected(bound.bundle.documents[number].namespace or ""),),
        )  # fmt: skip


def _elsewhere(bound: Bound, ir: IR, out: Output, options: Options) -> set[int]:
    """Rules that stand in their clients' namespace, where the Service's waypoint does not look; said, by document."""
    found: dict[int, Fact[Ref] | None] = {}
    silent: dict[int, set[tuple[str, str]]] = {}
    for item in ir.routes:
        if item.mesh and not item.problem and waypoints.unread(item.ref.value, item.service):
            found[item.document] = item.service
            silent.setdefault(item.document, set()).update(explains(ir.world, item, "*"))
    for policy in ir.service_policies:
        if waypoints.unread(policy.ref.value, policy.service, options.root_namespace):
            found[policy.document] = policy.service
            silent.setdefault(policy.document, set()).update({*explains_breaker(policy, "*"), *explains_policy(policy, "*")})
    kinds = ("VirtualService", "HTTPRoute", "GRPCRoute", "DestinationRule")
    far = {number for number in found if out.bundle.documents[number].kind in kinds and number not in out.removed}
    for number in sorted(far):
        document, service = out.bundle.documents[number], found[number]
        assert service is not None
        out.finding(
            "MP731", _spec(bound, number), document=number, disposition="dropped", affects=(Affected(document.namespace or ""),),
            explains=frozenset(silent[number]),
            object=f"{document.kind} {Ref(document.namespace or options.default_namespace, document.name)}", service=str(service.value),
            feature="destination.host" if document.kind == "DestinationRule" else "routing.host",
        )  # fmt: skip
    return far


def _past_waypoints(bound: Bound, ir: IR, out: Output, options: Options, stood: waypoints.Waypoints) -> set[int]:
    """Rules and settings of Services that no waypoint stands before, which sidecars followed; said, by document.

    A waypoint sees what is sent to the address of a Service (https://istio.io/latest/docs/ambient/usage/waypoint/): a headless one has none.
    """
    reasons: dict[int, str] = {}
    silent: dict[int, set[tuple[str, str]]] = {}
    routed: set[int] = set()
    remedies: dict[int, str] = {}
    for item in ir.routes:
        elsewhere = waypoints.unread(item.ref.value, item.service)  # which is said of it
        if item.mesh and not item.problem and item.rules and not elsewhere and (reason := _unfronted(ir, out, item, stood)):
            reasons[item.document] = reason
            routed.add(item.document)
            silent.setdefault(item.document, set()).update(explains(ir.world, item, "*"))
            remedies[item.document] = _REMEDY if item.service is not None else unproxied.REMEDY
    grave = set(routed)
    for policy in ir.service_policies:
        elsewhere = waypoints.unread(policy.ref.value, policy.service, options.root_namespace)
        if (policy.breaker is not None or policy.extras) and not elsewhere and (reason := _unfronted(ir, out, policy, stood)):
            reasons.setdefault(policy.document, reason)
            silent.setdefault(policy.document, set()).update({*explains_breaker(policy, "*"), *explains_policy(policy, "*")})
            remedies.setdefault(policy.document, _REMEDY if policy.service is not None else unproxied.REMEDY)
            if policy.service is None and any(name.startswith("tls.mode") for name, _ in policy.extras):
                grave.add(policy.document)  # what the clients encrypted leaves as it is
    bare = {number for number in reasons if number not in out.removed}
    for number in sorted(bare):
        document = out.bundle.documents[number]
        out.finding(
            "MP112", _spec(bound, number), document=number, disposition="dropped", severity="error" if number in grave else None,
            affects=(Affected(document.namespace or ""),), explains=frozenset(silent[number]), reason=reasons[number],
            object=f"{document.kind} {Ref(document.namespace or options.default_namespace, document.name)}",
            remedy=remedies[number],
            feature="routing.host" if number in routed else "destination.host",
        )  # fmt: skip
    return bare


_REMEDY = "Let clients call a Service that has a cluster IP and a waypoint, or leave their sidecars."


def _unfronted(ir: IR, out: Output, item: ServiceRoutes | ServicePolicy, stood: waypoints.Waypoints) -> str:
    """Why no waypoint stands before a Service, or the host of a ServiceEntry, that the bundle shows; nothing where one does, or where it is not shown."""
    known = ir.world.services.get(item.service.value) if item.service is not None else None
    if known is None:
        return unproxied.without_gate(ir, item, stood)
    if known.headless or known.external_name:
        what = "headless" if known.headless else "of type ExternalName"
        return f"Service {known.ref} is {what}, and only what is sent to the address of a Service passes a waypoint"
    if known.ref in stood.behind or unproxied.fronted(out, known.document):
        return ""
    return unproxied.OUTSIDE.format(service=known.ref)


def _spec(bound: Bound, number: int) -> Src:
    return sources(Cursor.root(bound, number).at("spec").src)
