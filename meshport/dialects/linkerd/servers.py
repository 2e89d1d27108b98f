"""One Server with what hangs on it: whether a port needs one, and what opens it again."""

from __future__ import annotations

from meshport.dialects.linkerd import routesets
from meshport.dialects.linkerd.authentication import POLICY, Peers, free, references
from meshport.dialects.linkerd.grants import Context, Grant, PortPlan, Routed
from meshport.dialects.linkerd.ports import DEFAULT_OPAQUE
from meshport.dialects.linkerd.serverroutes import (
    grpc_probe,
    http_probes,
    refuses_the_rest,
    takes_the_rest,
    write_probes,
    write_refusal,
    write_routes,
)
from meshport.dialects.linkerd.transport import OPEN, STRICT, admitted_anywhere, any_port
from meshport.dialects.naming import name
from meshport.dialects.output import Obj, Output
from meshport.effective.access import Region
from meshport.effective.identities import Identities
from meshport.effective.pieces import NEARLY, Piece
from meshport.ir.authorization import PORT, Policy, Rule
from meshport.ir.base import NOWHERE, Ref, Selector, Src
from meshport.mapping.table import in_range
from meshport.values.identities import EVERYONE
from meshport.values.ports import CalledPort

_PROTOCOLS = {"http": "HTTP/1", "": "unknown", "http2": "HTTP/2", "grpc": "HTTP/2", "tcp": "opaque", "tls": "TLS", "udp": "opaque"}


def mentioned(policy: Policy) -> dict[int, Src]:
    """The single ports that a policy's rules name."""
    found: dict[int, Src] = {}
    for rule in policy.rules:
        for condition in rule.conditions:
            if condition.attribute != PORT:
                continue
            for fact in (*(condition.any_of or ()), *condition.none_of):
                low, high = fact.value
                most = NEARLY if policy.action.value == "deny" else 0  # a denied port is one of its own, whether anybody declares it or not
                known = (low,) if low == high else range(low, high + 1)  # one that is known by its name keeps it
                for port in known if 0 < low <= high <= low + most else ():
                    found[port] = found.get(port, NOWHERE) | fact.src
    return found


def needed(item: PortPlan, region: Region, default: str) -> bool:
    """Whether a port needs a Server beside the default policy of its pods."""
    if item.closed:
        if default in (OPEN, STRICT) and _is_default(item, default):
            return False
        return bool(item.grants) or default != "deny" or (bool(region.first.at(item.port)) and grpc_probe(region, item.port) is not None)
    if item.cut and not _whole(item):
        return (
            default not in (OPEN, STRICT)
            or not _is_default(item, default)
            or (default == STRICT and grpc_probe(region, item.port) is not None)
        )
    return default != (STRICT if item.strict else OPEN) or (item.strict and grpc_probe(region, item.port) is not None)


def _is_default(item: PortPlan, default: str) -> bool:
    """Whether the grants of a closed port come to what the default policy admits, no more and no less."""
    told = Piece(who=Identities(frozenset((EVERYONE,))) if default == STRICT else Identities())
    whole = [piece for grant in item.grants for _, piece in grant.server]  # what a route has may be cut by better ones, and is no bytes
    return any(piece.covers(told) for piece in whole) and all(told.covers(piece) for grant in item.grants for _, piece in grant.pieces())


def _whole(item: PortPlan) -> bool:
    """Whether nothing was taken from an open port after all."""
    pieces = [piece for grant in item.grants for _, piece in grant.server]
    everyone = Identities(frozenset((EVERYONE,))) if item.strict else Identities()
    return any(piece.who == everyone and piece.where.everywhere for piece in pieces)


def write(context: Context, item: PortPlan, selector: Selector, selector_src: Src, label: str, called: str = "") -> None:
    """Write the Server of a port, for the pods of a selector; by its name where it is `called` so."""
    out, options, region = context.out, context.options, context.region
    namespace = region.namespace
    policies = region.first.allows
    ref = Ref(namespace, name(label, called or str(item.port)))
    owner = item.grants[0].document if item.grants else (policies[0].document if policies else region.first.workload.document)
    because = item.src | selector_src | frozenset(leaf for grant in item.grants for leaf in grant.src)
    if not because:
        because = region.first.workload.src
    group = f"server {ref.name}"
    probes = http_probes(region, item.port)
    open_default = not item.closed and (not item.cut or _whole(item))
    api = f"policy.linkerd.io/{server_version(options.target_version)}"
    obj = out.object(api, "Server", ref, owner=owner, group=group, rank=41, because=because)
    obj.set(("spec", "podSelector"), selector.manifest(), selector_src | because)
    obj.set(
        ("spec", "port"),
        called or (item.port.name if isinstance(item.port, CalledPort) else item.port),
        because,
        _naming(item, region, because),
    )
    protocol = _PROTOCOLS.get(item.protocol, "unknown")
    if protocol == "HTTP/2" and probes:
        protocol = "unknown"
    if not context.shown and protocol == "unknown" and item.port in DEFAULT_OPAQUE and not any(grant.routed for grant in item.grants):
        protocol = "opaque"  # as without a Server: where the server speaks first, nothing would come to be detected
    obj.set(("spec", "proxyProtocol"), protocol, because)
    admits = ("all-authenticated" if item.strict else "all-unauthenticated") if open_default else "deny"
    if in_range(options.target_version, "2.16", None):
        obj.set(("spec", "accessPolicy"), admits, because)
    elif open_default:
        _server_grant(context, ref, item.grants[0].server if item.grants else [], owner, group, because)
    for grant in item.grants:
        _note(obj, out, grant)
    mode = region.first.transport.get(item.port)
    if mode is not None and all(grant.policy is None for grant in item.grants):
        for number in sorted(set(map(out.bundle.number, mode.src))):
            obj.add_origin(number)
            obj.note(f"from {out.bundle.documents[number].kind} {namespace}/{out.bundle.documents[number].name}")
    if open_default:
        if grpc_probe(region, item.port) is not None:
            write_probes(context, item, ref, owner, group, because, {})
            write_refusal(context, ref, owner, group, because, "all")
        return
    opaque = protocol in ("opaque", "TLS")
    for grant in item.grants:
        if grant.server:
            src = grant.src | frozenset(leaf for _, piece in grant.server for leaf in piece.src) | because
            _server_grant(context, ref, grant.server, grant.document, group, src, name(ref.name, grant.name))
    routed = [grant for grant in item.grants if grant.routed]
    if opaque:
        return
    written = write_routes(context, item, ref, routed, group, because)
    wants_probes = bool(written) or grpc_probe(region, item.port) is not None
    if wants_probes:
        write_probes(context, item, ref, owner, group, because, written)
        if refuses_the_rest(item, written):
            write_refusal(context, ref, owner, group, because)
        elif not takes_the_rest(written):
            out.gather(
                owner, "MP195", document=owner, affects=context.affects(item.port), feature="authorization.operation.paths",
                listed={"port": (item.port,), "workloads": (str(member.workload.ref) for member in region.members)},
            )  # fmt: skip


def _naming(item: PortPlan, region: Region, because: Src) -> Src:
    """The leaves that name the port in the rules that grant something there, or take something from what is open."""
    granted = {leaf for grant in item.grants for _, piece in grant.pieces() for leaf in piece.src}
    found = {leaf for policy in region.first.allows for leaf in mentioned(policy).get(item.port, ()) if leaf in granted}
    for policy in region.first.denies if item.cut else ():
        for rule in policy.rules:
            facts = [fact for one in rule.conditions if one.attribute == PORT for fact in one.any_of or ()]
            here = {leaf for fact in facts if fact.value[0] <= item.port <= fact.value[1] for leaf in fact.src}
            rest = {leaf for one in rule.conditions if one.attribute != PORT for leaf in one.sources}
            found |= here if not rest or rest & because else set()
    return frozenset(found)


def server_version(version: str) -> str:
    """The Server version to write for a release (Linkerd reference 1.1)."""
    return "v1beta3" if in_range(version, "2.16", None) else "v1beta2" if in_range(version, "2.15", None) else "v1beta1"


def _note(obj: Obj, out: Output, grant: Grant) -> None:
    obj.add_origin(grant.document)
    document = out.bundle.documents[grant.document]
    if grant.policy is not None:
        obj.note(f"from {document.kind} {grant.policy.ref.value}")


def _server_grant(
    context: Context, server: Ref, grants: list[tuple[Peers, Piece]], owner: int, group: str, because: Src, label: str = ""
) -> None:
    """An AuthorizationPolicy on the Server: its peers may send every request."""
    out = context.out
    for position, (who, piece) in enumerate(grants):
        ref = Ref(
            server.namespace, free(out, server.namespace, name(label or f"{server.name}-default", str(position + 1) if position else ""))
        )
        src = because | piece.src
        obj = out.object(POLICY, "AuthorizationPolicy", ref, owner=owner, group=group, rank=43, because=src)
        obj.set(("spec", "targetRef"), {"group": "policy.linkerd.io", "kind": "Server", "name": server.name}, src)
        refs = references(out, who, server.namespace, ref.name, owner, 42, group, context.options, src)
        for entry, value in enumerate(refs):
            obj.set(("spec", "requiredAuthenticationRefs", entry), value, src)


# -- what a person has to know


def on_any_port(rule: Rule) -> bool:
    """Whether a rule holds on ports that it does not name."""
    return all(item.any_of is None for item in rule.conditions if item.attribute == PORT)


def _ranged(rule: Rule) -> bool:
    """Whether a rule holds on a range of ports, of which only the known ones get a Server."""
    facts = [fact for item in rule.conditions if item.attribute == PORT for fact in item.any_of or ()]
    return any(isinstance(fact.value, tuple) and 0 < fact.value[0] < fact.value[1] for fact in facts)


def explain(context: Context, plans: list[PortPlan], wanted: list[PortPlan]) -> None:
    first = context.region.first
    holding = first.allows or (*first.denies, *first.customs)
    for policy in first.customs:  # what is asked there is refused on ports that nobody declares too
        if any(map(on_any_port, policy.rules)):
            context.out.gather(
                policy.document, "MP211", policy.sources, document=policy.document, disposition="dropped", affects=context.affects(None),
                explains=context.explains(None, "allow", "deny", "default"), policy=str(policy.ref.value), listed={"port": ("any other",)},
            )  # fmt: skip
    broad = [
        policy
        for policy in holding
        if policy.port is None and any(on_any_port(rule) or (policy.action.value == "allow" and _ranged(rule)) for rule in policy.rules)
    ]
    opened = admitted_anywhere(first, context.options.cluster_networks) if first.allows or first.denies else None
    if broad and not (opened is not None and opened[2]):
        named = ", ".join(str(policy.ref.value) for policy in broad)
        if plans:
            context.out.gather(
                named, "MP206" if context.shown else "MP164", document=broad[0].document, affects=context.affects(None),
                explains=context.explains(None, "allow", "deny", "default"), feature="authorization.posture", policies=named,
                namespace=context.region.namespace, listed={"ports": [item.port for item in plans], "pods": [item.workload.ref.name for item in context.region.members]},
            )  # fmt: skip
        else:
            for policy in broad:
                members = [member.workload for member in context.region.members]
                known = all(context.out.bundle.documents[item.document].kind == item.kind for item in members)
                context.out.finding(
                    "MP744" if known else "MP207", policy.sources, document=policy.document, disposition="dropped", affects=context.affects(None),
                    explains=context.explains(None, "allow", "deny", "default"), feature="authorization.rule", policy=str(policy.ref.value),
                    namespace=context.region.namespace, selector=str(policy.subject.value.selector), workloads=", ".join(str(item.ref) for item in members), closed="the pods",
                )  # fmt: skip
    elif not broad and (wide := [policy for policy in first.denies if not first.allows and any_port(policy)]):
        context.out.finding(
            "MP277", document=wide[0].document, affects=context.affects(None), explains=context.explains(None, "allow", "deny", "default"),
            feature="authorization.posture", policies=", ".join(str(policy.ref.value) for policy in wide),
            workloads=", ".join(str(item.workload.ref) for item in context.region.members), ports=", ".join(str(item.port) for item in plans) or "none",
        )  # fmt: skip
    raw = [item for item in wanted if any(_pathwise(one) for grant in item.grants if not grant.scrapes for one in grant.routed)]
    for item in raw:
        context.out.gather(
            item.grants[0].document, "MP209", document=item.grants[0].document, affects=context.affects(item.port),
            explains=context.explains(item.port, "allow"), feature="authorization.operation.paths",
            listed={"port": (item.port,), "workloads": (str(member.workload.ref) for member in context.region.members)},
        )  # fmt: skip
    for item in wanted:
        if any(
            one.piece.host is not None and routesets.hostnames(one.piece.host)
            for grant in item.grants
            if not grant.scrapes
            for one in grant.routed
        ):
            context.out.gather(
                item.grants[0].document, "MP155", document=item.grants[0].document, affects=context.affects(item.port),
                explains=context.explains(item.port, "allow"), feature="authorization.operation.hosts",
                listed={"port": (item.port,), "workloads": (str(member.workload.ref) for member in context.region.members)},
            )  # fmt: skip


def _pathwise(routed: Routed) -> bool:
    """Whether the path decides what of a grant gets through."""
    return routed.piece.path is not None or any(hole.path is not None for hole in routed.refused)
