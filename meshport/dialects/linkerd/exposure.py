"""How Linkerd says what lies beyond the cluster: EgressNetworks with routes, Links, labels on Services; both directions.

An EgressNetwork is for the clients of its own namespace, or from the global one for those of namespaces without any; the smallest network that holds an
address decides, and without one traffic leaves untouched. https://linkerd.io/2-edge/reference/egress-network/
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from meshport.dialects import naming
from meshport.dialects.cursor import Cursor
from meshport.dialects.exposure import (
    affected,
    beyond,
    decorated,
    in_namespaces,
    outsides,
    said_by_endpoints,
    unknown_default,
)
from meshport.dialects.linkerd import beyond as beyond_rules
from meshport.dialects.linkerd import machines
from meshport.dialects.linkerd.clusters import EXPORTED, FEDERATED, MIRRORED, SHARING, networks, shared
from meshport.dialects.linkerd.egress_openings import API, ROUTES, named, opened, unread
from meshport.effective import egress
from meshport.ir.base import ANYWHERE, NOWHERE, Fact, Ref, Selector, Src
from meshport.ir.exposure import ClusterLink, EgressDefault, Outside, OutsidePort, SharedService
from meshport.ir.routing import gather
from meshport.values.cidrs import overlaps, parse_network
from meshport.values.problems import ValueProblem

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.findings import Affected
    from meshport.ir.model import IR
    from meshport.mapping.bound import Bound

WHOLE_MESH = "Put the same EgressNetwork into the namespace linkerd-egress, which is for every namespace without one of its own"
FIRST = "Write an EgressNetwork with trafficPolicy Deny into the namespace linkerd-egress, which is for every namespace without one of its own, or add the namespaces to the input"
NOWHERE_WRITTEN = "the bundle shows no namespace that it is for, so that nothing was written for it"
GLOBAL_NAMESPACE = "linkerd-egress"  # egress.globalEgressNetworkNamespace of the control plane's chart
APIS = {"http": "gateway.networking.k8s.io/v1", "grpc": "gateway.networking.k8s.io/v1", "tls": "gateway.networking.k8s.io/v1alpha2", "tcp": "gateway.networking.k8s.io/v1alpha2"}  # fmt: skip
KINDS = {protocol: kind for kind, protocol in ROUTES.items()}
RANK = ("grpc", "http", "tls", "tcp")


# -- lift


def lift(bound: Bound, by_kind: dict[tuple[str, str], list[int]], options: Options, ir: IR) -> None:
    """Egress networks with the routes on them, Services that other clusters may use, and links."""
    networks: dict[Ref, EgressDefault] = {}
    for number in by_kind.get(("policy.linkerd.io", "EgressNetwork"), []):
        rule = _network(Cursor.root(bound, number), options)
        if rule is not None:
            networks[rule.ref.value] = rule
            ir.egress_defaults.append(rule)
    own = {rule.namespace for rule in networks.values() if rule.namespace}
    others = tuple(sorted(egress.enrolled(ir) - own)) if own else None  # clients with a network of their own ask no other
    for (group, kind), numbers in sorted(by_kind.items()):
        if kind in ROUTES and group in ("gateway.networking.k8s.io", "policy.linkerd.io"):
            for number in numbers:
                ir.idle.append(
                    Fact("goes to the address that the client asked for, whatever port stands here", unread(Cursor.root(bound, number)))
                )
                found = opened(Cursor.root(bound, number), kind, networks, others, options)
                home = Cursor.root(bound, number).at("metadata", "namespace").src
                if found and not any(item.ref.src & home for item in found):
                    ir.idle.append(Fact(ANYWHERE, home, "identity.namespace"))
                for item in found:
                    if item.seen_by == ():
                        said = gather(item.ref, item.hosts, item.ports, item.conditions, item.inert)
                        ir.redundant.append(Fact("every namespace of the mesh has an egress network of its own", said))
                    else:
                        ir.outside.append(item)
    if others is not None and any(item.seen_by == others for item in ir.outside):
        homes = (Cursor.root(bound, rule.document).at("metadata", "namespace").src for rule in networks.values())
        ir.deciding.append(Fact("where a network stands decides whose clients ask those of the mesh", frozenset().union(*homes)))
    beyond_rules.lift(bound, by_kind, networks, options, ir)
    for ref, service in sorted(ir.world.services.items()):
        root = Cursor.root(bound, service.document)
        labels = root.at("metadata", "labels")
        exported, federated = labels.text(EXPORTED), labels.text(FEDERATED)
        known = root.ref().holding(ref)
        if (mirrored := labels.text(MIRRORED)) is not None and mirrored.value == "true":
            service.mirror = mirrored
        elif mirrored is not None:
            ir.idle.append(Fact("only true marks what the service mirror makes", mirrored.src, mirrored.feature))
        for key, label in ((EXPORTED, exported), (FEDERATED, federated)):
            if label is not None and label.value not in SHARING[key]:
                ir.deciding.append(Fact(f"a Link selects {' and '.join(SHARING[key])} alone", label.src, label.feature))
        if federated is not None and federated.value in SHARING[FEDERATED]:
            ir.shared.append(SharedService(known, federated.holding("merged"), service.document))
        if exported is not None and exported.value in SHARING[EXPORTED]:
            mode = exported.map(lambda word: "gateway" if word == "true" else "flat")
            ir.shared.append(SharedService(known, mode, service.document))
    machines.lift(bound, by_kind, options, ir)
    for number in by_kind.get(("multicluster.linkerd.io", "Link"), []):
        root = Cursor.root(bound, number)
        name = root.text("spec", "targetClusterName")
        if name is not None:
            parts = tuple(fact for path, fact in root.leaves("spec") if path != "targetClusterName")
            ir.links.append(ClusterLink(named(root, options), "Link", name, number, parts))


def _network(root: Cursor, options: Options) -> EgressDefault | None:
    spec = root.at("spec")
    ref = named(root, options)
    policy = spec.text("trafficPolicy")
    if policy is None:
        return None
    networks = []
    for item in spec.each("networks"):
        cidr = item.text("cidr")
        if cidr is not None:
            networks.append((cidr, item.strings("except")))
    namespace = "" if ref.value.namespace == GLOBAL_NAMESPACE else ref.value.namespace
    return EgressDefault(
        ref,
        "EgressNetwork",
        root.number,
        namespace,
        Fact(Selector()),
        policy.map(lambda word: word == "Deny"),
        tuple(networks),
        src=spec.src,
    )


# -- lower


def lower(ir: IR, out: Output, options: Options) -> None:
    """Egress networks for the namespaces that have something to say, labels on shared Services; what Linkerd has not is named."""
    unknown_default(ir, out)
    beyond(ir, out, machines.lower(ir, out, options))
    shared(ir, out, options)
    if out.source == "istio":
        networks(ir, out)
    if out.source == "linkerd":
        for kept in (*ir.egress_defaults, *ir.outside):
            out.imply("stays as it is", gather(kept) | (kept.src if isinstance(kept, EgressDefault) else NOWHERE))
        return
    for rule in ir.egress_defaults:
        if rule.silenced:
            out.ignore(rule.silenced, rule.src, rule.selector, *(rule.visible or ()))
        elif not rule.said:
            out.ignore("an object that says nothing of what leaves", rule.src, rule.selector)
    for outside in outsides(ir):
        decorated(outside, ir, out)
        if outside.hosts:
            said_by_endpoints(outside, out)
    if not out.supports("egress.mode"):
        _too_old(ir, out)
        return
    closed = {item.namespace for item in egress.leaving(ir) if item.refuses}
    ruled = {rule.namespace for rule in ir.egress_defaults if rule.namespace and rule.said and not rule.silenced} | closed
    homes = {name for outside in ir.outside if _routable(outside) for name in _homes(outside, ir)} | beyond_rules.clients(ir)
    for namespace in sorted(ruled | homes):
        _namespace(namespace, ir, out, options, frozenset(ruled))
    reached, counted = out.written(), 0
    for outside in outsides(ir):
        _by_name(outside, ir, ruled, out)
        reached.update(leaf for finding in out.findings[counted:] for leaf in finding.leaves)
        counted = len(out.findings)
        _leftovers(outside, bool(_homes(outside, ir)), ruled, reached, out)
    for rule in ir.egress_defaults:
        if rule.silenced:
            continue
        if not rule.namespace and rule.refuses.value and not any(item.namespace and rule in item.rules for item in egress.leaving(ir)):
            out.finding(
                "MP724",
                rule.refuses,
                document=rule.document,
                disposition="dropped",
                object=rule.subject_name,
                outcome=NOWHERE_WRITTEN,
                steps=FIRST,
            )
        elif not rule.namespace and rule.refuses.value:
            names = sorted({item.namespace for item in egress.leaving(ir) if rule in item.rules})
            out.finding(
                "MP724",
                rule.refuses,
                document=rule.document,
                object=rule.subject_name,
                steps=WHOLE_MESH,
                outcome=f"it was written for the namespaces that the bundle shows ({', '.join(names)})",
            )
        elif not rule.namespace:
            out.imply("Linkerd lets everything leave that no EgressNetwork refuses", rule.refuses)
        if rule.refuses.value and rule.visible is not None and any(fact.value != "*/*" for fact in rule.visible):
            out.finding(
                "MP719", *rule.visible, document=rule.document, disposition="dropped", affects=affected(ir, Ref(rule.namespace, "")),
                explains=frozenset(), object=rule.subject_name, hosts=", ".join(fact.value for fact in rule.visible),
            )  # fmt: skip


def _routable(outside: Outside) -> bool:
    """Whether a route can say some of the destination: HTTP and TLS by name, TCP by address."""
    words = {port.protocol.value for port in outside.ports}
    return bool(outside.hosts) and (
        bool(words & set(egress.BY_NAME)) or ("tcp" in words and (bool(outside.addresses) or egress.passes_any(outside)))
    )


def _telling(outside: Outside, out: Output) -> Src:
    """The leaves that a route tells the destination by."""
    if any(port.protocol.value in egress.BY_NAME for port in outside.ports):
        return _standing(outside, out) | gather(outside.hosts)
    return _standing(outside, out) | gather(outside.addresses or outside.resolution)


def _standing(outside: Outside, out: Output) -> Src:
    """What says that there is a destination, and where it stands, whatever its object is called."""
    return outside.ref.src - out.called(outside.document, "name")


def _homes(outside: Outside, ir: IR) -> tuple[str, ...]:
    """The namespaces in which a destination is worth a network of its own: where it stands, or those that it is shown to."""
    if outside.seen_by is None:
        return (outside.ref.value.namespace,)
    own, held = outside.ref.value.namespace, ir.world.homes()
    return tuple(name for name in outside.seen_by if name in ir.world.namespaces or name in held or name == own)


def _too_old(ir: IR, out: Output) -> None:
    for rule in ir.egress_defaults:
        if not rule.silenced and rule.refuses.value:
            shown = rule.refuses.holding("REGISTRY_ONLY")
            out.lost(
                shown, document=rule.document, affects=affected(ir, Ref(rule.namespace, "")),
                explains=frozenset((item.subject, aspect) for item in egress.leaving(ir) if rule in item.rules for aspect in ("default", "open", "spoken")),
            )  # fmt: skip
            out.names("says whose traffic the setting is for", rule.selector)
        elif not rule.silenced:
            out.imply("Linkerd lets everything leave", rule.refuses, rule.selector)
    for outside in outsides(ir):
        for fact in (*outside.hosts, *outside.addresses, *(outside.exports if outside.hosts else ())):
            out.lost(fact, document=outside.document)
        if outside.hosts:
            for port in outside.ports:
                out.lost(Fact(port.number.value, gather(port.number, port.protocol), port.number.feature), document=outside.document)
            if outside.resolution is not None:
                out.lost(outside.resolution, document=outside.document)


@dataclass(slots=True)
class _Home:
    """What is written for one namespace: its general egress network, the rules behind it, and what its findings are about."""

    namespace: str
    network: str
    rules: list[EgressDefault]
    denies: bool
    explained: frozenset[tuple[str, str]]
    affects: tuple[Affected, ...]
    out: Output
    options: Options
    elsewhere: frozenset[str]  # the namespaces that have rules
    ir: IR
    own: dict[tuple[Any, ...], str] = field(default_factory=dict)  # the networks of single destinations, by document and addresses

    @property
    def refusing(self) -> list[EgressDefault]:
        return [rule for rule in self.rules if rule.refuses.value]

    @property
    def told(self) -> Src:
        """The leaves that say which hosts the proxies are told about, where that decides."""
        return gather(*(rule.visible for rule in self.refusing if rule.visible is not None))


def _namespace(namespace: str, ir: IR, out: Output, options: Options, ruled: frozenset[str]) -> None:
    """The egress network of one namespace with its routes."""
    here = [item for item in egress.leaving(ir) if item.namespace == namespace]
    rules = list(dict.fromkeys(rule for item in here for rule in item.rules if rule.said))
    rules += [rule for rule in ir.egress_defaults if rule.namespace == namespace and rule not in rules and rule.said and not rule.silenced]
    refusing = [rule for rule in rules if rule.refuses.value]
    everybody = bool(here) and all(item.refuses for item in here)
    denies = bool(refusing) and (options.on_loss != "looser" or everybody)
    deciding = refusing or rules
    seen = [
        outside
        for outside in ir.outside
        if (outside.hosts or _nameless(outside)) and (_seen(outside, namespace, deciding) or _ruled(outside, namespace, deciding, ir))
    ]
    worth = next((outside for outside in seen if _routable(outside)), None)
    if not rules and worth is None:
        return
    name = out.free(API, "EgressNetwork", namespace, "egress")
    owner = worth.document if worth is not None and not deciding else deciding[0].document
    network = out.object(API, "EgressNetwork", Ref(namespace, name), owner=owner, group="egress", rank=50)
    because = gather(*((rule.refuses, rule.place) for rule in deciding)) or (_telling(worth, out) if worth is not None else NOWHERE)
    network.set(("spec", "trafficPolicy"), "Deny" if denies else "Allow", because)
    for rule in deciding:
        network.add_origin(rule.document)
    if denies:
        network.note(f"what leaves {namespace} is refused unless a route names it ({refusing[0].subject_name})")
    else:
        network.note(f"names what leaves {namespace}; the rest may leave too")
    home = _Home(
        namespace,
        name,
        deciding,
        denies,
        in_namespaces(ir, {namespace}, "default", "open", "spoken"),
        affected(ir, Ref(namespace, "")),
        out,
        options,
        ruled,
        ir,
    )
    for rule in rules:
        if rule.selector.value.everything:
            continue
        if refusing and not everybody:
            out.finding(
                "MP718", rule.selector, document=rule.document, disposition="approximated", affects=home.affects, explains=home.explained,
                effect="narrows" if denies else "widens", object=rule.subject_name, selector=str(rule.selector.value), namespace=namespace,
                outcome="refuses for every workload of it" if denies else "was not set to refuse",
            )  # fmt: skip
        else:
            out.imply("the workloads are all that the namespace has, or nothing is refused", rule.selector)
    if denies:
        out.finding("MP712", document=refusing[0].document, affects=home.affects, namespace=namespace)
    _routes(home, seen)


def _seen(outside: Outside, namespace: str, rules: list[EgressDefault]) -> bool:
    """Whether a destination is one of a namespace's: its clients are told about it where they need to be, or it stands there."""
    if not outside.shown_to(namespace):
        return False
    if not rules and outside.seen_by is None and outside.ref.value.namespace != namespace:
        return False
    refusing = [rule for rule in rules if rule.refuses.value]
    return (
        not refusing
        or not outside.hosts
        or any(egress.visible(outside, host, rule, namespace) for host in outside.hosts for rule in refusing)
    )


def _nameless(outside: Outside) -> bool:
    """Whether a destination is known by addresses alone, or is every address on its ports: what network policy opens."""
    return not outside.hosts and not outside.services and not outside.problem and outside.kind.startswith("Cilium")


def _ruled(outside: Outside, namespace: str, rules: list[EgressDefault], ir: IR) -> bool:
    """Whether rules for requests of the namespace's clients to the destination want a network there, where nothing is refused."""
    pairs = ((host.value, port.number.value) for host in outside.hosts for port in outside.ports)
    return not rules and any(beyond_rules.rules_for(ir, host, namespace, port) is not None for host, port in pairs)


def _routes(home: _Home, seen: list[Outside]) -> None:
    """A route for each destination and port; a port that one protocol has cannot have another beside it."""
    out = home.out
    kinds: dict[int, set[str]] = {}
    for outside in seen:
        for port in outside.ports:
            kinds.setdefault(port.number.value, set()).add(port.protocol.value)
            if any(beyond_rules.rules_for(home.ir, host.value, home.namespace, port.number.value) for host in outside.hosts):
                kinds[port.number.value].add("http")  # rules become HTTPRoutes, and one kind of route is asked on a port
    by_name: list[tuple[Outside, OutsidePort, str]] = []
    anywhere: list[tuple[Outside, OutsidePort]] = []
    for outside in seen:
        if outside.resolution is not None and outside.resolution.value == "NONE":
            out.imply("Linkerd, too, forwards to the address that the client chose", outside.resolution)
        elif outside.resolution is not None:
            out.lost(outside.resolution, document=outside.document, affects=home.affects)
        for port in outside.ports:
            protocol, beside = port.protocol.value, kinds[port.number.value]
            if protocol == "udp":
                out.ignore("Istio's proxies carry TCP alone", port.number, port.protocol)
            elif protocol == "tls" and beside & {"http", "grpc"}:
                _refused("MP714", home, outside, port)
            elif protocol in egress.BY_NAME:
                by_name.append((outside, port, "http" if protocol == "grpc" and "http" in beside else protocol))
            else:
                if _tcp(home, outside, port, beside):
                    anywhere.append((outside, port))
    for outside, port in anywhere:  # for in the smaller networks no route of the general one is asked
        for smaller in home.own.values():
            _route_object(home, outside, port, "tcp", smaller)
    for outside, port, protocol in by_name:
        hosts = [host for host in outside.hosts if all(egress.visible(outside, host, rule, home.namespace) for rule in home.refusing)]
        left = [host for host in outside.hosts if host not in hosts]
        for network in (home.network, home.own.get(_addressed(outside))):  # the smaller network goes before, so a name has to stand in both
            plain = [host for host in hosts if network is not None and not _by_rules(home, outside, host, port, network)]
            if plain and network is not None:
                _route_object(home, replace(outside, hosts=tuple(plain)), port, protocol, network)
        out.ignore("the proxies of the namespace are not told about it, so what goes there is refused", *left)


def _by_rules(home: _Home, outside: Outside, host: Fact[str], port: OutsidePort, network: str) -> bool:
    """Write the rules that there are for requests to a host; whether there are any."""
    rules = (
        beyond_rules.rules_for(home.ir, host.value, home.namespace, port.number.value) if port.protocol.value in ("http", "grpc") else None
    )
    if rules is not None:
        told = Fact("", _standing(outside, home.out) | home.told | gather(outside.exports), "routing.consumer")
        beyond_rules.write(rules, host, port, Ref(home.namespace, network), told, home.ir, home.out, home.options)
    return rules is not None


def _refused(code: str, home: _Home, outside: Outside, port: OutsidePort) -> None:
    """A destination that gets no route: refused where the rest is, else merely without a name."""
    home.out.finding(
        code, port.number, port.protocol, *outside.hosts, *outside.exports, document=outside.document, disposition="dropped", affects=home.affects,
        explains=home.explained, severity="error" if home.denies else "info", effect="narrows" if home.denies else "none",
        object=outside.subject_name, port=port.number.value, hosts=", ".join(host.value for host in outside.hosts),
    )  # fmt: skip


def _tcp(home: _Home, outside: Outside, port: OutsidePort, beside: set[str]) -> bool:
    """Plain TCP has no name to be told by: by its addresses, in an egress network of their own that goes before the general one; or any address at all.
    Whether any address is meant."""
    out = home.out
    if outside.addresses:
        if not any(item.protocol.value in egress.BY_NAME for item in outside.ports):
            out.ignore("plain TCP is told by its address in both meshes", *outside.hosts)
        inside = [item for item in outside.addresses if _within(item.value, home.options.cluster_networks)]
        if inside:
            out.finding(
                "MP729", *inside, port.number, port.protocol, document=outside.document, disposition="dropped", affects=home.affects,
                explains=home.explained, object=outside.subject_name, addresses=", ".join(item.value for item in inside),
            )  # fmt: skip
            return False
        if _addressed(outside) not in home.own:
            name = home.own[_addressed(outside)] = naming.unique(
                naming.name(outside.ref.value.name), lambda wanted: out.taken(API, "EgressNetwork", Ref(home.namespace, wanted))
            )
            obj = out.object(
                API, "EgressNetwork", Ref(home.namespace, name), owner=outside.document, group="egress", rank=52, because=outside.ref
            )
            obj.set(
                ("spec", "trafficPolicy"), "Deny" if home.denies else "Allow", *(rule.refuses for rule in home.rules), *outside.addresses
            )
            for number, item in enumerate(outside.addresses):
                obj.set(("spec", "networks", number, "cidr"), egress.network(item.value), item)
            obj.note(f"from {outside.subject_name}: TCP is told by its address")
        _route_object(home, outside, port, "tcp", home.own[_addressed(outside)])
    elif egress.passes_any(outside) and not beside & set(egress.BY_NAME):
        out.ignore("plain TCP is told by its port where it has no address", *outside.hosts)
        _route_object(home, outside, port, "tcp", home.network)
        return True
    elif home.denies:
        _refused("MP713", home, outside, port)
    else:
        _unnamed(outside, port, out)
    return False


UNNAMED = "everything may leave, and TCP has no name to tell it by"


def _unnamed(outside: Outside, port: OutsidePort, out: Output) -> None:
    """A destination that needs no route, as nothing is refused, and gets none, as nothing in it says where it goes."""
    out.imply(UNNAMED, port.protocol)
    out.ignore(UNNAMED, port.number, *outside.hosts)


def _addressed(outside: Outside) -> tuple[Any, ...]:
    return (outside.document, *(item.value for item in outside.addresses))


def _within(text: str, networks: tuple[str, ...]) -> bool:
    try:
        return overlaps([parse_network(text)], [parse_network(item) for item in networks])
    except ValueProblem:
        return False


def _route_object(home: _Home, outside: Outside, port: OutsidePort, protocol: str, network: str) -> None:
    kind, api, namespace = KINDS[protocol], APIS[protocol], home.namespace
    own = outside.ref.value
    parts = (own.name, str(port.number.value)) if own.namespace == namespace else (own.namespace, own.name, str(port.number.value))
    name = home.out.free(api, kind, namespace, naming.name(*parts))
    obj = home.out.object(api, kind, Ref(namespace, name), owner=outside.document, group="egress", rank=53, because=outside.ref)
    parent = ("spec", "parentRefs", 0)
    obj.set((*parent, "group"), "policy.linkerd.io", port.protocol, outside.ref)
    obj.set((*parent, "kind"), "EgressNetwork", port.protocol, outside.ref)
    obj.set((*parent, "name"), network, port.number, outside.ref)
    obj.set((*parent, "port"), port.number.value, port.number, home.told, *outside.exports)
    for number, host in enumerate(outside.hosts if protocol != "tcp" else ()):
        obj.set(("spec", "hostnames", number), host.value, host)
    backend = {"group": "policy.linkerd.io", "kind": "EgressNetwork", "name": network, "port": port.number.value}
    obj.set(("spec", "rules", 0, "backendRefs", 0), backend, port.number)
    obj.note(f"from {outside.subject_name}")


def _by_name(outside: Outside, ir: IR, ruled: set[str], out: Output) -> None:
    """Addresses beside names, and ports that are told by addresses where nothing is refused."""
    if not outside.hosts:
        return
    if any(port.protocol.value in egress.BY_NAME for port in outside.ports) and not any(
        port.protocol.value == "tcp" for port in outside.ports
    ):
        for fact in outside.addresses:
            out.ignore("HTTP and TLS are told by name in both meshes", fact)
    homes = _homes(outside, ir)
    if homes and not ruled.intersection(homes) and not _routable(outside):
        out.imply(UNNAMED, outside.resolution)
        for port in outside.ports:
            _unnamed(outside, port, out)


def _leftovers(outside: Outside, homes: bool, ruled: set[str], reached: set[int], out: Output) -> None:
    """Leaves of a destination that no route was written because of, and no finding: who may see it, what nobody here can see."""
    if not outside.hosts:
        return
    every = gather(outside.hosts, outside.ports, outside.addresses, outside.resolution, () if homes else outside.exports)
    left = frozenset(leaf for leaf in every - reached if leaf not in out.implied and leaf not in out.irrelevant)
    if left:
        out.ignore("no namespace of the bundle has a client that is told about it", left)
    reason = "who is shown a destination decides only where the rest is refused"
    if outside.seen_by is None or not ruled - set(outside.seen_by):
        out.ignore(reason, *outside.exports)
    elif all(port.protocol.value == "udp" for port in outside.ports):
        out.ignore("it opens no port for TCP", *outside.exports)
