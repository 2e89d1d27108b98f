"""How Cilium says what lies beyond the cluster: egress rules by DNS name and address, global Services of a Cluster Mesh.

One egress rule closes the whole direction, and names are known only from DNS answers that a rule lets through the DNS proxy
(docs.cilium.io, security/policy/layer3 and network/clustermesh/services).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from meshport.dialects import naming
from meshport.dialects.base import Options
from meshport.dialects.cilium import leaving
from meshport.dialects.cilium.both import spans
from meshport.dialects.cilium.refusals import MOST
from meshport.dialects.cilium.subjects import NAMING
from meshport.dialects.cilium.writing import ECHO, OTHERS
from meshport.dialects.cursor import Cursor
from meshport.dialects.exposure import (
    LINKING,
    affected,
    at_every_address,
    beyond,
    by_name_alone,
    decorated,
    drop_marks,
    explains_leaving,
    guarded,
    in_namespaces,
    outsides,
    plain_name,
    said_by_endpoints,
    severity_of_networks,
    unknown_default,
)
from meshport.dialects.output import Obj, Output
from meshport.effective import egress
from meshport.findings import Affected, Finding
from meshport.ir.base import ANYWHERE, NOWHERE, Fact, Ref, Src
from meshport.ir.exposure import LEFT_ALONE, EgressDefault, Outside, OutsidePort, SharedService
from meshport.ir.model import IR
from meshport.ir.routing import explains, gather
from meshport.mapping.bound import Bound
from meshport.values.ports import is_number, other_ports

API, KIND = "cilium.io/v2", "CiliumNetworkPolicy"
GLOBAL, AFFINITY = "service.cilium.io/global", "service.cilium.io/affinity"
DNS: dict[str, Any] = {
    "toEndpoints": [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "kube-system", "k8s:k8s-app": "kube-dns"}}],
    "toPorts": [{"ports": [{"port": "53", "protocol": "ANY"}], "rules": {"dns": [{"matchPattern": "*"}]}}],
}
OTHER_PROTOCOLS: tuple[dict[str, Any], ...] = (
    {"toPorts": [{"ports": OTHERS}]},
    {"icmps": [{"fields": ECHO}]},
)
WHOLE_MESH = "Write the rule as a CiliumClusterwideNetworkPolicy for the namespaces that the bundle does not show"


_SHARED, _SLICES = "service.cilium.io/shared", "service.cilium.io/global-sync-endpoint-slices"
"""What says how a global Service is shared, and nothing of one that is not."""
_OLDER = {GLOBAL: "io.cilium/global-service", AFFINITY: "io.cilium/service-affinity", _SHARED: "io.cilium/shared-service"}
"""Names that still hold where the newer one does not stand (cilium/cilium, pkg/annotation)."""
OF_NAMESPACE = "clustermesh.cilium.io/global"


# -- lift


def lift(bound: Bound, by_kind: dict[tuple[str, str], list[int]], options: Options, ir: IR) -> None:
    """Services that clusters share; of an output that is read back, what leaves too.

    As a source, Cilium's egress rules stay in force beside the mesh, so they are not said again in its words, unless they are to go.
    """
    for ref, service in sorted(ir.world.services.items()):
        root = Cursor.root(bound, service.document)
        notes = root.at("metadata", "annotations")
        mark, prefers, shared = (notes.text(key) or notes.text(_OLDER[key]) for key in (GLOBAL, AFFINITY, _SHARED))
        home = _of_namespace(bound, ir, ref.namespace)
        if mark is None or mark.value.lower() != "true" or (home is not None and home.value.lower() == "false"):
            idle = [fact for key in (*_OLDER, *_OLDER.values(), _SLICES) if (fact := notes.text(key)) is not None]
            ir.idle.extend(Fact("the Service is not global, and its clusters do not share it", fact.src, fact.feature) for fact in idle)
            continue
        known = root.ref().holding(ref)
        near = prefers if prefers is not None and prefers.value in ("local", "remote") else None
        if (slices := notes.text(_SLICES)) is not None:
            ir.idle.append(slices.holding("how the cluster's DNS gets the other clusters' endpoints is a matter of the network beneath"))
        mode = mark.holding("flat")
        mode, offers = (mode, True) if shared is None else (mode.also(shared), shared.value.lower() == "true")
        ir.shared.append(SharedService(known, mode, service.document, near, offered=offers and ir.world.served(ref)))
    for name in ir.world.namespaces:
        if (said := _of_namespace(bound, ir, name)) is not None:
            closed = said.value.lower() == "false"
            (ir.deciding if closed else ir.idle).append(
                said.holding("which Services the clusters share, the Services say, unless it is none of these")
            )
    if options.source == "cilium":
        if options.keep_network_policy is False and options.target in ("istio", "linkerd"):
            leaving.lift(bound, by_kind, options, ir)
        return
    for number in by_kind.get(("cilium.io", KIND), []):
        _policy(Cursor.root(bound, number), options, ir)


def _of_namespace(bound: Bound, ir: IR, name: str) -> Fact[str] | None:
    """Whether a namespace lets its Services be shared, in its own word."""
    home = ir.world.namespaces.get(name)
    return Cursor.root(bound, home.document).at("metadata", "annotations").text(OF_NAMESPACE) if home is not None else None


def _policy(root: Cursor, options: Options, ir: IR) -> None:
    spec = root.at("spec")
    rules = spec.each("egress")
    if not rules:
        return
    ref = root.ref()
    namespace = ref.value.namespace or options.default_namespace
    subject = spec.selector("endpointSelector")
    ir.egress_defaults.append(
        EgressDefault(
            ref, KIND, root.number, namespace, subject, Fact(True, spec.at("egress").src, "egress.mode"), src=spec.src,
            withheld=LEFT_ALONE.difference(*map(_passing, rules)),
        )
    )  # fmt: skip
    for rule in rules:
        hosts = tuple(
            fact.map(lambda text: plain_name(text).replace("**.", "*.", 1))
            for item in rule.each("toFQDNs")
            if (fact := item.text("matchName") or item.text("matchPattern")) is not None
        )
        addresses = rule.strings("toCIDR")
        world = any(fact.value == "world" for fact in rule.strings("toEntities"))
        ports = tuple(
            OutsidePort(number.map(int), Fact("tcp", number.src, "egress.port"), None, number.src)
            for group in rule.each("toPorts")
            for item in group.each("ports")
            if (number := item.text("port")) is not None
            and is_number(number.value)
            and (not (spoken := item.at("protocol")) or spoken.value in ("TCP", "ANY"))
        )
        if ports and (hosts or addresses or world):
            resolution = Fact("DNS", NOWHERE, "egress.resolution") if hosts else None
            ir.outside.append(Outside(ref, KIND, root.number, hosts, addresses, ports, resolution=resolution, seen_by=(namespace,)))


def _passing(rule: Cursor) -> set[str]:
    """Which of what a mesh leaves alone an egress rule lets through: for every peer, or names for the cluster's DNS."""
    ports = [(entry, item) for entry in rule.each("toPorts") for item in entry.each("ports")]
    towards = [key for key in (rule.value if isinstance(rule.value, dict) else ()) if key not in ("toPorts", "icmps")]
    if towards == ["toEntities"] and not ports and not rule.each("icmps"):
        return {"the cluster"} if {"cluster", "all"}.intersection(fact.value for fact in rule.strings("toEntities")) else set()
    if towards == ["toEndpoints"] and rule.at("toEndpoints").value == DNS["toEndpoints"]:
        asked = [entry.at("rules", "dns").value for entry, item in ports if str(item.at("port").value) == "53"]
        return {"names"} if DNS["toPorts"][0]["rules"]["dns"] in asked else set()
    if towards:
        return set()
    whole = {item.at("protocol").value for entry, item in ports if str(item.at("port").value) == "0" and not entry.at("rules")}
    pings = {str(field.at("family").value) for each in rule.each("icmps") for field in each.each("fields") if field.value in ECHO}
    return {name for name in ("UDP", "SCTP") if whole & {name, "ANY"}} | {f"ICMP{family.removeprefix('IP')}" for family in pings}


# -- lower


def lower(ir: IR, out: Output, options: Options) -> None:
    """Egress policies for the workloads whose way out is closed, annotations on shared Services; where everything may leave, nothing is needed."""
    unknown_default(ir, out)
    beyond(ir, out)
    _shared(ir, out, options)
    for rule in ir.egress_defaults:
        if rule.silenced or not rule.said:
            out.ignore(rule.silenced or "an object that says nothing of what leaves", rule.src, rule.selector, *(rule.visible or ()))
    for outside in outsides(ir):
        ported = outside if not outside.kind.endswith("Route") else replace(outside, inert=NOWHERE)
        decorated(ported, ir, out)
        if outside.hosts or outside.addresses:
            said_by_endpoints(ported, out)
        if outside.conditions or outside.problem:
            _unsaid(outside, ir, out, "it asks for more of a request than its host")
        elif egress.at_some_addresses(ir, outside):
            _anywhere(outside, ir, out, options)
    closed: dict[tuple[str, EgressDefault], list[str]] = {}
    for item in egress.leaving(ir):
        general = item.general is not None and item.general.refuses.value
        for rule in item.rules:
            if rule.refuses.value and not (rule.networks and general):
                closed.setdefault((item.namespace, rule), []).append(item.subject)
    for (namespace, rule), _ in sorted(closed.items(), key=lambda entry: (entry[0][0], entry[0][1].ref.value)):
        _write(namespace, rule, ir, out, options)
    _past_proxies(ir, out, options)
    for rule in ir.egress_defaults:
        if not rule.silenced and rule.said:
            _rest(rule, {namespace for namespace, other in closed if other is rule}, ir, out, options)
    _leftovers(ir, out)


def _anywhere(outside: Outside, ir: IR, out: Output, options: Options) -> None:
    """A name that is open in some networks alone: a rule for a name has no networks beside it."""
    if options.on_loss != "looser":
        _unsaid(outside, ir, out, by_name_alone(outside, "Cilium"))
        return
    clients = {item.namespace for item in egress.leaving(ir) if outside.shown_to(item.namespace)}
    home = Ref(next(iter(outside.seen_by or ("",)), ""), "")
    at_every_address(outside, out, affected(ir, home), in_namespaces(ir, clients, "open", "spoken"))


def _unsaid(outside: Outside, ir: IR, out: Output, reason: str) -> None:
    """A route that is not accepted, or that asks for what no rule does: nothing is opened because of it."""
    src = gather(outside.ref, outside.hosts, outside.ports, outside.addresses, outside.conditions, outside.resolution)
    if outside.problem:
        out.finding(
            outside.problem, src, document=outside.document, disposition="invalid", object=outside.subject_name, reason=outside.reason
        )
        return
    names = {item.namespace for item in egress.leaving(ir) if outside.shown_to(item.namespace)}
    closed = any(item.refuses for item in egress.leaving(ir) if item.namespace in names)
    judged = [pair for item in ir.routes if item.beyond and outside.document in item.documents for pair in explains(ir.world, item, "*")]
    out.finding(
        "MP720", src, document=outside.document, disposition="dropped", affects=affected(ir, Ref(next(iter(outside.seen_by or ("",)), ""), "")),
        explains=in_namespaces(ir, names, "open", "spoken") | frozenset(judged), severity="error" if closed else "warning",
        effect="narrows" if closed else "changes", object=outside.subject_name, reason=f"left out, for {reason}",
    )  # fmt: skip


def _write(namespace: str, rule: EgressDefault, ir: IR, out: Output, options: Options) -> None:
    """The policy of one rule in one namespace."""
    name = "egress" if rule.selector.value.everything else naming.name("egress", rule.ref.value.name)
    name = out.free(API, KIND, namespace, name)
    obj = out.object(API, KIND, Ref(namespace, name), owner=rule.document, group="egress", rank=50)
    because = gather(rule.refuses, rule.place)
    _subject(obj, namespace, rule, ir, out)
    found: list[dict[str, Any]] = [DNS, {"toEntities": ["cluster"]}]
    for entry in found:
        _add(obj, entry, because)
    openings = [opening for outside in outsides(ir) for opening in _openings(obj, namespace, rule, outside, ir, out, options)]
    for entry, told in sorted(openings, key=lambda opening: str(opening[0])):  # by what they open, and not by names of objects
        _add(obj, entry, *told)
    listed = {outside.document for outside in ir.outside} & set(obj.origins)
    if not any(outside.exports for outside in outsides(ir)) and not any(other.visible for other in ir.egress_defaults):
        out.ignore(ANYWHERE, *(out.called(number, "namespace") for number in listed))
    for entry in OTHER_PROTOCOLS:
        _add(obj, entry, because)
    obj.note(
        f"what leaves is refused unless a rule names it ({rule.subject_name}); names come from the cluster's DNS, and the mesh governed TCP alone"
    )
    explained = in_namespaces(ir, {namespace}, "spoken")
    out.finding("MP726", document=rule.document, affects=affected(ir, Ref(namespace, "")), explains=explained, namespace=namespace)


def _past_proxies(ir: IR, out: Output, options: Options) -> None:
    """Ports and addresses that leave past the source's proxies, which hold nothing back there: they stay open to workloads whose way out is closed."""
    skipped = [setting for setting in ir.ports if setting.kind == "skip-outbound"]
    ranged = _since(options, (1, 16))
    for item in egress.leaving(ir) if skipped or ir.uncaptured else ():
        workload = item.workload
        if workload is None or not item.refuses:
            continue
        found = [setting.ranges for setting in skipped if setting.subject.contains(item.namespace, workload.labels)]
        addresses = [setting for setting in ir.uncaptured if setting.document == workload.document]
        ranges = sorted({pair for fact in found for pair in fact.value})
        if not ranges and not addresses:
            continue
        name = out.free(API, KIND, item.namespace, naming.name(workload.ref.name, "egress-bypass"))
        obj = out.object(API, KIND, Ref(item.namespace, name), owner=workload.document, group="egress", rank=50)
        because: list[Fact[Any]] = [*found, *(setting.networks for setting in addresses)]
        obj.set(("spec", "endpointSelector"), workload.pods.selector.manifest(), *because)
        entries = _spelt(ranges, ranged)
        for start in range(0, len(entries), MOST):
            _add(obj, {"toPorts": [{"ports": entries[start : start + MOST]}]}, *found)
        for setting in addresses:
            if setting.captured.value and not ranged:
                out.finding(
                    "MP720", setting.captured, setting.networks, document=workload.document, disposition="approximated", affects=(Affected(item.namespace, workload.ref.name),),
                    explains=frozenset(((item.subject, "open"),)), object=f"{workload.kind} {workload.ref}",
                    reason="the addresses past its proxy stay closed, for ranges of ports that are open there need Cilium 1.16",
                )  # fmt: skip
                continue
            ports = _spelt(list(other_ports(setting.captured.value)), ranged) if setting.captured.value else []
            networks = [{"cidr": one.cidr, **({"except": list(one.excluded)} if one.excluded else {})} for one in setting.networks.value]
            for start in range(0, len(ports) or 1, MOST):
                on = {"toPorts": [{"ports": ports[start : start + MOST]}]} if ports else {}
                _add(obj, {"toCIDRSet": networks, **on}, setting.networks, setting.captured)
        what = "these ports" if not addresses else "these addresses" if not ranges else "these ports and addresses"
        obj.note(f"{what} went past the source's proxies, which held nothing back there")


def _spelt(ranges: list[tuple[int, int]], ranged: bool) -> list[dict[str, Any]]:
    return spans(ranges if ranged else [(port, port) for low, high in ranges for port in range(low, high + 1)])


def _add(obj: Obj, entry: dict[str, Any], *because: Any) -> None:
    number = len(obj.value.get("spec", {}).get("egress", []))
    obj.set(("spec", "egress", number), entry, *because)


def _subject(obj: Obj, namespace: str, rule: EgressDefault, ir: IR, out: Output) -> None:
    """The pods of the rule, without those that a narrower rule of the source has: Cilium's policies add up, the source's do not."""
    selector: dict[str, Any] = rule.selector.value.manifest()
    narrower = [
        other
        for other in ir.egress_defaults
        if other.namespace == rule.namespace and not other.selector.value.everything and not other.silenced
    ]
    because: list[Any] = [rule.refuses, rule.selector]
    for other in narrower if rule.selector.value.everything else ():
        because.append(other.selector)
        if len(other.selector.value.labels) == 1:
            key, value = other.selector.value.labels[0]
            selector.setdefault("matchExpressions", []).append({"key": key, "operator": "NotIn", "values": [value]})
        else:
            out.finding(
                "MP720", other.selector, document=other.document, disposition="approximated", affects=affected(ir, Ref(namespace, "")),
                explains=in_namespaces(ir, {namespace}, "default", "open", "spoken"), object=rule.subject_name,
                reason=f"the workloads {other.selector.value} have a rule of their own, and no selector takes exactly these out",
            )  # fmt: skip
    because += _without_strangers(selector, namespace, rule, ir, out)
    obj.set(("spec", "endpointSelector"), selector, *because)


def _without_strangers(selector: dict[str, Any], namespace: str, rule: EgressDefault, ir: IR, out: Output) -> list[Any]:
    """Take the pods that are not in the mesh out of a selector, for no proxy holds them back; the facts that decide it."""
    taken = [item for item in ir.world.of_namespace(namespace) if rule.selector.value.accepts(item.labels) and not item.host_network]
    strangers = [item for item in taken if ir.world.meshed(item) is False]
    members = [item for item in taken if ir.world.meshed(item) is not False]
    if not strangers:
        return []
    for key in sorted({key for item in strangers for key in item.labels}, key=lambda name: (name not in NAMING, name)):
        values = sorted({item.labels.get(key, "") for item in strangers})
        if all(values) and not any(item.labels.get(key) in values for item in members):
            selector.setdefault("matchExpressions", []).append({"key": key, "operator": "NotIn", "values": values})
            return [*(item.meshed for item in strangers), *(item.labels_src((key,)) for item in strangers)]
    out.finding(
        "MP720", document=rule.document, affects=tuple(Affected(namespace, item.ref.name) for item in strangers), disposition=None,
        explains=frozenset((f"egress of {item.ref}", aspect) for item in strangers for aspect in ("default", "open", "spoken")),
        object=rule.subject_name,
        reason=f"it takes {', '.join(str(item.ref) for item in strangers)} too, outside the source's mesh, for no label tells them from the other pods",
    )  # fmt: skip
    return []


def _openings(
    obj: Obj, namespace: str, rule: EgressDefault, outside: Outside, ir: IR, out: Output, options: Options
) -> Iterator[tuple[dict[str, Any], tuple[Any, ...]]]:
    """Rules with what they are because of, for one destination: by name, by address, or for a port of any address outside."""
    apart = options.on_loss != "looser" and egress.at_some_addresses(ir, outside)
    if outside.conditions or outside.problem or apart or not outside.shown_to(namespace):
        return  # what asks for more is named once, by `_unsaid`
    told = gather(rule.visible or (), outside.exports, (outside.ref, outside.inert) if outside.kind.endswith("Route") else ())
    told -= out.called(outside.document, "name")
    hosts = [host for host in outside.hosts if egress.visible(outside, host, rule, namespace)]
    named = [port for port in outside.ports if port.protocol.value in egress.BY_NAME]
    plain = [port for port in outside.ports if port.protocol.value == "tcp"]
    if hosts and plain and not outside.addresses and not outside.endpoints:
        told |= gather(outside.resolution)  # with NONE a port is open to every address, else to those of the names
    if hosts and not outside.addresses and not egress.passes_any(outside):
        named, plain = [*named, *plain], []
    if hosts and named:
        entries = [_fqdn(host, outside, namespace, ir, out, options) for host in hosts]
        yield {"toFQDNs": entries, "toPorts": _ports(named)}, (*hosts, *_spoken(named), told)
    if outside.addresses and plain and (hosts or not outside.hosts):
        cidrs = [egress.network(item.value) for item in outside.addresses]
        yield {"toCIDR": cidrs, "toPorts": _ports(plain)}, (*outside.addresses, *_spoken(plain), told)
    elif plain and (hosts or not outside.hosts):
        yield {"toEntities": ["world"], "toPorts": _ports(plain)}, (*_spoken(plain), told)
    if hosts or not outside.hosts:
        obj.add_origin(outside.document)


def _ports(ports: list[OutsidePort]) -> list[dict[str, Any]]:
    return [{"ports": [{"port": str(port.number.value), "protocol": "TCP"} for port in ports]}]


def _spoken(ports: list[OutsidePort]) -> list[Fact[Any]]:
    return [fact for port in ports for fact in (port.number, port.protocol)]


def _fqdn(host: Fact[str], outside: Outside, namespace: str, ir: IR, out: Output, options: Options) -> dict[str, str]:
    """A name, or a pattern for every name below one: `**.` since 1.19, before it `*.` for one level."""
    if not host.value.startswith("*"):
        return {"matchName": host.value.lower()}
    if _since(options, (1, 19)):
        return {"matchPattern": "**" + host.value[1:].lower()}
    out.finding(
        "MP720", host, document=outside.document, disposition="approximated", affects=affected(ir, Ref(namespace, "")), severity="warning",
        object=outside.subject_name, reason=f"{host.value} opens names one level below alone, as patterns did before Cilium 1.19",
    )  # fmt: skip
    return {"matchPattern": host.value.lower()}


def _since(options: Options, release: tuple[int, int]) -> bool:
    return tuple(int(part) for part in options.target_version.split(".")[:2]) >= release


def _rest(rule: EgressDefault, namespaces: set[str], ir: IR, out: Output, options: Options) -> None:
    """What is to be said of a rule beside the policies that it became."""
    facts = [fact for cidr, holes in rule.networks for fact in (cidr, *holes)]
    if rule.networks:
        general = any(other.refuses.value and not other.networks and other.namespace == rule.namespace for other in ir.egress_defaults)
        if rule.refuses.value and general:
            out.imply("what no rule names is refused in every network", rule.refuses)
            out.ignore("is refused like every other network", *facts)
            return
        if rule.refuses.value or general:
            out.finding(
                "MP721", rule.refuses, *facts, document=rule.document, disposition="approximated", affects=affected(ir, Ref(rule.namespace, "")),
                explains=explains_leaving(ir, rule, "default", "open", "spoken"), severity=severity_of_networks(rule, options), effect="narrows",
                object=rule.subject_name, networks=", ".join(str(cidr.value) for cidr, _ in rule.networks), mesh="an egress policy of Cilium",
                outcome="all that no rule names is refused" if rule.refuses.value else "it is refused like the rest",
            )  # fmt: skip
            if not rule.refuses.value:
                return
    if not rule.refuses.value:
        out.imply("Cilium lets everything leave that no egress rule is for", rule.refuses, rule.selector, rule.src)
        out.ignore("is let through like every other network", *facts)
        return
    if not rule.namespace:
        out.finding(
            "MP724", *(() if namespaces else (rule.refuses,)), document=rule.document, disposition=None if namespaces else "dropped",
            object=rule.subject_name, steps=WHOLE_MESH,
            outcome=f"it was written for the namespaces that the bundle shows ({', '.join(sorted(namespaces))})" if namespaces
            else "the bundle shows no namespace that it is for, so that nothing was written for it",
        )  # fmt: skip
    elif not namespaces:
        out.imply("the bundle has no workload that it is for", rule.refuses, rule.selector)
    if rule.visible is not None and any(fact.value != "*/*" for fact in rule.visible):
        out.finding(
            "MP719", *rule.visible, document=rule.document, disposition="dropped", affects=affected(ir, Ref(rule.namespace, "")),
            object=rule.subject_name, hosts=", ".join(fact.value for fact in rule.visible),
        )  # fmt: skip


def _leftovers(ir: IR, out: Output) -> None:
    """What was written for no policy: everything may leave where its clients are, or they are not told about it."""
    reached = out.reached() | set(out.implied) | set(out.irrelevant)
    alone = {name for name, count in Counter(name for one in ir.outside for name in _names(one)).items() if count == 1}
    beyond: dict[str, set[int | None]] = {}
    for item in ir.routes:
        if item.beyond is not None:
            beyond.setdefault(item.host.value.lower(), set()).add(item.document)
    said: dict[int | None, list[Finding]] = {}
    for finding in out.findings:
        if finding.code == "MP392":
            said.setdefault(finding.document, []).append(finding)
    for outside in outsides(ir):
        if not outside.hosts and outside.services:
            continue
        if outside.resolution is not None:
            out.ignore("the client resolves names by itself", outside.resolution)
        if outside.kind.endswith("Route"):
            out.ignore("everything may leave", gather(*(port.number for port in outside.ports)) - reached)
            named = out.called(outside.document, "name")
            out.imply("the network that the route is on is the rest of what may leave", outside.inert, outside.ref.src - named)
            reached |= set(out.implied) | set(out.irrelevant)
        src = gather(outside.hosts, outside.ports, outside.addresses, outside.exports) - reached
        out.ignore("everything may leave, or the rest of the destination says it", src - _ended(outside, alone, beyond, said, reached))


def _names(outside: Outside) -> set[str]:
    return {fact.value.lower() for fact in outside.hosts}


def _ended(
    outside: Outside, alone: set[str], beyond: dict[str, set[int | None]], said: dict[int | None, list[Finding]], reached: set[int]
) -> Src:
    """The leaves that make rules those for a host outside (MP392), where this destination alone has it: the finding names them too."""
    spoken = gather(*(port.protocol for port in outside.ports if port.protocol.value in ("http", "grpc")))
    found: Src = frozenset()
    for host in outside.hosts:
        named = host.value.lower()
        documents = beyond.get(named, set()) if named in alone else set()
        for finding in [finding for number in documents for finding in said.get(number, ())]:
            if more := (host.src | spoken) - reached:
                finding.at = min(finding.leaves) if finding.at is None else finding.at
                finding.leaves = tuple(sorted({*finding.leaves, *more}))
                found |= more
    return found


# -- Services that clusters share


def _shared(ir: IR, out: Output, options: Options) -> None:
    """`service.cilium.io/global` on every Service that clusters share, also where the own cluster has no pod for it."""
    for shared in ir.shared:
        ref = shared.service.value
        drop_marks(out, shared)
        service = ir.world.services.get(ref)
        if service is None:
            continue  # the finding of the entry asks for it
        obj = out.change(service.document, group=f"service {ref.name}", rank=20)
        obj.add_origin(shared.document)
        obj.set(("metadata", "annotations", GLOBAL), "true", shared.mode)
        if shared.prefers is not None:
            obj.set(("metadata", "annotations", AFFINITY), shared.prefers.value, shared.mode)  # where it fails over to is lost, and said
        if shared.because:
            obj.note(f"shared by clusters, as {shared.because} says")
        out.install("cilium", "clustermesh.useAPIServer", True, shared.mode)
        out.command("cilium clustermesh enable", shared.mode)
        if ir.mesh == "linkerd":
            out.finding(
                "MP722", document=shared.document, affects=affected(ir, ref), service=str(ref), joins="Cilium", steps=LINKING["cilium"]
            )
        if guarded(ref, ir) and _since(options, (1, 19)):
            out.finding("MP723", document=shared.document, affects=affected(ir, ref), service=str(ref))
