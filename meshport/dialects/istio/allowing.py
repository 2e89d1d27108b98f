"""Authorization written for Istio: one AuthorizationPolicy per set of pods, and STRICT where plaintext is refused (mapping decisions 2, 3).

An ALLOW closes every port of a workload where a Linkerd Server closes one. So the ports that no Server names come back as one residual rule, `notPorts`,
with the peers of their default policy.
"""

from __future__ import annotations

from typing import Any

from meshport.dialects import beside_the_mesh, inbound_policy
from meshport.dialects.base import Options
from meshport.dialects.istio import closing, defaults, direct, unseen
from meshport.dialects.istio.drafts import Draft, Written, servers_of, telling, write_rules
from meshport.dialects.istio.saying import say_source
from meshport.dialects.istio.server_rules import affects_of, explains_of, port_rules, wanted_name
from meshport.dialects.istio.strict import spoken_ports, write_transport
from meshport.dialects.naming import claim
from meshport.dialects.output import Output
from meshport.effective.access import Access, Effective, Region, admission_conditions
from meshport.effective.admitted import only_by_exemption
from meshport.effective.pieces import of_rule
from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected
from meshport.ir.authorization import Policy, Rule
from meshport.ir.base import Fact, PodSet, Ref, Selector, Src, sources
from meshport.ir.model import IR

SECURITY = "security.istio.io/v1"
OPEN = ("all-unauthenticated", "audit")


def lower(ir: IR, out: Output, options: Options) -> None:
    """Policies for every region, then the transport that they rest on; of SMI, whose policies are like Istio's, one for each."""
    if ir.mesh == "smi":
        direct.lower(ir, out)
        return
    access = Access(ir, Fact("all-unauthenticated"))
    if ir.mesh == "cilium":  # whose policies are like Istio's as well: each closes every port
        closing.lower(ir, out, options, access)
        return
    taken: dict[str, set[str]] = {}
    closed = _namespaces(ir, out, access) | defaults.lower(ir, out, options, access)
    regions = access.regions(lambda item: tuple((port, policy.ref.value) for port, policy in sorted(servers_of(item).items())))
    more, others = defaults.beside(
        out,
        access,
        closed,
        [
            (region, _selectors(region, access, servers_of(region.first)))
            for region in regions
            if region.first.meshed is not False and servers_of(region.first)
        ],
    )
    closed |= more
    drafts: list[Draft] = []
    reached: set[int] = set()  # open workloads that the policies of others take
    for region in sorted(regions, key=lambda item: _stays_open(item.first, closed)):
        if region.first.meshed is False:
            _outside(region, out)
            continue
        if _stays_open(region.first, closed):
            region = Region(region.namespace, [member for member in region.members if id(member.workload) in reached])
            if not region.members:
                continue
        drafts.extend(_region(ir, out, options, access, region, taken.setdefault(region.namespace, set()), closed, reached))
    _audited(regions, closed, reached, out)
    unseen.lower(ir, out, options, access, taken, others)
    write_transport(ir, out, access, drafts)
    if ir.mesh == "linkerd":
        beside_the_mesh.report(ir, out)
        beside_the_mesh.unknown_callers(ir, out, options)
    _probes(out, options, access)
    inbound_policy.audited(out, access)
    inbound_policy.without_effect(out, access, (*inbound_policy.KINDS, "HTTPRoute"))


def _probes(out: Output, options: Options, access: Access) -> None:
    """Linkerd opens the probe paths of a port to everybody until a route hangs on its Server; Istio rewrites probes instead, so that is closed."""
    for item in access.workloads:
        if item.meshed is False:
            continue
        servers = servers_of(item)
        for port in sorted({probe.port for probe in item.workload.probes if probe.kind == "http"}):
            policy = servers.get(port)
            if not only_by_exemption(item, port, options.cluster_networks):
                continue
            if policy is not None and policy.routed:
                inbound_policy.ends_exemption(out, policy.hung, "Istio")
            else:
                src = frozenset(leaf for probe in item.workload.probes if probe.kind == "http" and probe.port == port for leaf in probe.src)
                out.finding(
                    "MP229", src, document=item.workload.document, affects=(Affected(item.workload.ref.namespace, item.workload.ref.name, port),),
                    explains=frozenset(((access_subject(item.workload.ref, port), "allow"),)),
                    feature="authorization.probe", workload=str(item.workload.ref), port=port,
                )  # fmt: skip


# -- namespaces


def _namespaces(ir: IR, out: Output, access: Access) -> set[str]:
    """`deny` as the default of a namespace is a policy without rules there."""
    found = set()
    for admission in ir.admissions:
        if admission.level != "namespace" or admission.value.value != "deny":
            continue
        namespace = admission.subject.namespace
        home = ir.world.namespaces.get(namespace)
        if home is not None and home.meshed is not None and not home.meshed.value:
            continue
        found.add(namespace)
        obj = out.object(
            SECURITY, "AuthorizationPolicy", Ref(namespace, "default-deny"), owner=admission.document, rank=40, because=admission.value
        )
        obj.set(("spec",), {}, admission.value)
        obj.note("what no policy allows is refused")
    return found


# -- regions


def _stays_open(item: Effective, closed: set[str]) -> bool:
    """Whether a workload needs no policy: no Server names a port of it, and its default lets everybody in whom transport lets in."""
    default_open = item.admission.value in (*OPEN, "all-authenticated")
    return item.meshed is not False and not servers_of(item) and default_open and item.workload.ref.namespace not in closed


def _audited(regions: list[Region], closed: set[str], reached: set[int], out: Output) -> None:
    for region in regions:
        first = region.first
        if (
            _stays_open(first, closed)
            and first.admission.value == "audit"
            and all(id(item.workload) not in reached for item in region.members)
        ):
            out.finding(
                "MP213",
                first.admission,
                document=None,
                disposition="approximated",
                affects=affects_of(region, None),
                feature="inbound.default-policy",
                what="The default policy audit",
            )


def _separable(item: Effective, access: Access, closed: set[str]) -> bool:
    """Whether labels take a workload that stays open without one that does not: then a policy of its own opens it again."""
    if not _stays_open(item, closed):
        return False
    namespace = item.workload.ref.namespace
    same = {id(one.workload) for one in access.workloads if _stays_open(one, closed) and one.admission.value == item.admission.value}
    chosen = Selector.of(telling(item, access, same))
    return all(
        id(one.workload) in same or one.meshed is False for one in access.of_namespace(namespace) if chosen.accepts(one.workload.labels)
    )


def _region(
    ir: IR, out: Output, options: Options, access: Access, region: Region, taken: set[str], closed: set[str], reached: set[int]
) -> list[Draft]:
    first = region.first
    servers = servers_of(first)
    drafts = []
    for selector, src in _selectors(region, access, servers):
        members = [member for member in region.members if selector.accepts(member.workload.labels)]
        draft = Draft(Region(region.namespace, members), selector, src)
        draft.others = bool(selector.labels) and not access.world.shows(PodSet(region.namespace, selector))
        own = servers_of(members[0])
        strangers = [
            item for item in _strangers(selector, region, access) if id(item.workload) not in reached or not _stays_open(item, closed)
        ]
        opened = [item for item in strangers if _separable(item, access, closed)]
        if len(opened) == len(strangers):  # what is let in here may come to them anyhow, and a policy of their own lets in the rest
            reached |= {id(item.workload) for item in opened}
            strangers = []
        if strangers:
            _inseparable(out, draft, own, strangers)
        else:
            for port, policy in sorted(own.items()):
                port_rules(ir, out, options, draft, port, policy)
            if first.admission.value == "deny" and not own and region.namespace in closed:
                continue
            _residual(out, options, draft, own, members[0])
        draft.label = _name(draft, own, taken)
        _write(out, draft, own)
        drafts.append(draft)
    return drafts


def _strangers(selector: Selector, region: Region, access: Access) -> list[Effective]:
    """Workloads of other regions that the selector takes as well: their policies are alternatives to this one's, so it must not let anything in."""
    mine = {id(member.workload) for member in region.members}
    taken = access.selected(PodSet(region.namespace, selector))
    return [item for item in taken if id(item.workload) not in mine and item.meshed is not False]


def _inseparable(out: Output, draft: Draft, servers: dict[int, Policy], strangers: list[Effective]) -> None:
    first = draft.region.first
    said = [(policy.sources, policy.document, str(policy.ref.value)) for policy in servers.values()]
    for src, document, named in said or [(first.admission.src, first.workload.document, f"the default policy of {first.workload.ref}")]:
        if document not in draft.origins:
            draft.origins.append(document)
        out.finding(
            "MP230", src, document=document, disposition="dropped", affects=affects_of(Region(draft.region.namespace, [*draft.region.members, *strangers]), None),
            explains=frozenset((subject, "allow") for subject in _subjects([*draft.region.members, *strangers])), feature="authorization.subject", policy=named,
            workloads=", ".join(str(member.workload.ref) for member in draft.region.members),
            others=", ".join(str(item.workload.ref) for item in strangers), outcome="nothing is let in there",
        )  # fmt: skip


def _subjects(members: list[Effective]) -> list[str]:
    found = []
    numbers: set[int] = set()
    for member in members:
        numbers |= spoken_ports(member) | {probe.port for probe in member.workload.probes}
    for member in members:
        found += [access_subject(member.workload.ref, port) for port in (*numbers, None)]
    return found


def _selectors(region: Region, access: Access, servers: dict[int, Policy]) -> list[tuple[Selector, Src]]:
    """matchLabels alone select in Istio: the servers' own selector where it takes just this region, else one per workload."""
    mine = {id(member.workload) for member in region.members}
    numbers = {tuple(sorted(servers_of(member))) for member in region.members}
    for policy in servers.values():
        selector = policy.subject.value.selector
        taken = {id(workload) for workload in access.world.selected(PodSet(region.namespace, selector))}
        if not selector.expressions and taken == mine and len(numbers) == 1 and unseen.alike(selector, region, access):
            return [(selector, sources(*(one.subject for one in servers.values())))]
    found: list[tuple[Selector, Src]] = []
    for member in region.members:
        labels = telling(member, access, mine)
        selector = Selector.of(labels)
        src = member.workload.labels_src(labels) | sources(*(policy.subject for policy in servers.values()))
        if all(selector != known_selector for known_selector, _ in found):
            found.append((selector, src or member.workload.src))
    return found


def _residual(out: Output, options: Options, draft: Draft, servers: dict[int, Policy], first: Effective) -> None:
    """The ports without a Server, as their default policy leaves them."""
    value = first.admission.value
    if value == "deny":
        return
    if value == "audit":
        out.finding(
            "MP213", first.admission, document=None, disposition="approximated", affects=affects_of(draft.region, None), feature="inbound.default-policy",
            explains=explains_of(draft.region, None), what="The default policy audit",
        )  # fmt: skip
    src = first.admission.src | sources(*(policy.port for policy in servers.values())) | draft.selector_src
    operation: dict[str, Any] = {"notPorts": [str(port) for port in sorted(servers)]} if servers else {}
    conditions = admission_conditions(value, options.cluster_networks, first.admission.src)
    pieces = of_rule(Rule(conditions, src=src), port=None)
    for piece in pieces:
        peers = say_source(piece.who, piece.where.networks())
        draft.rules.append(Written([entry for entry in peers if entry], operation, [], src))


def _name(draft: Draft, servers: dict[int, Policy], taken: set[str]) -> str:
    return claim(wanted_name(servers.values()).value or draft.region.first.workload.ref.name, taken)


def _write(out: Output, draft: Draft, servers: dict[int, Policy]) -> None:
    base = sources(draft.selector_src, *(policy.ref for policy in servers.values()))
    owner = min(draft.origins) if draft.origins else draft.region.first.workload.document
    named = wanted_name(servers.values()).src if servers else draft.region.first.workload.src
    because = base | named | draft.region.first.admission.src
    ref = Ref(draft.region.namespace, draft.label)
    obj = out.object(SECURITY, "AuthorizationPolicy", ref, owner=owner, group=f"policy {draft.label}", rank=41, because=because)
    for document in sorted(draft.origins):
        obj.add_origin(document)
        found = out.bundle.documents[document]
        obj.note(f"from {found.kind} {Ref(found.namespace or '', found.name)}")
    if draft.selector.labels:
        obj.set(("spec", "selector", "matchLabels"), dict(draft.selector.labels), draft.selector_src, because)
    obj.set(("spec", "action"), "ALLOW", because)
    write_rules(obj, draft.rules, because)


def _outside(region: Region, out: Output) -> None:
    for policy in region.first.allows:
        out.adds_nothing("selects only pods outside the mesh, where no proxy reads it", policy.sources)
