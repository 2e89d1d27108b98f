"""Mutual TLS written for Istio: STRICT where the source refuses plaintext (mapping decisions 2)."""

from __future__ import annotations

from meshport.dialects.istio.drafts import Draft, servers_of, telling
from meshport.dialects.naming import name
from meshport.dialects.output import Obj, Output
from meshport.dialects.redundant import UNREAD
from meshport.effective.access import Access, Effective
from meshport.effective.subjects import ANY_POD
from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected
from meshport.ir.authorization import IDENTITY, Policy
from meshport.ir.base import Fact, Ref, Selector, Src, sources
from meshport.ir.model import IR


def write_transport(ir: IR, out: Output, access: Access, drafts: list[Draft]) -> None:
    """`all-authenticated` is STRICT, by namespace where the namespace says it and by workload where pods do; ports whose Server admits plaintext stay open."""
    demanding = {"all-authenticated"}
    strict = _by_namespace(ir, out, demanding)
    by_draft = {id(member.workload): draft for draft in drafts for member in draft.region.members}
    _unseen(ir, out, access, strict, by_draft)
    done: set[int] = set()
    for item in access.workloads:
        if item.meshed is False:
            continue
        inherited = "strict" if item.workload.ref.namespace in strict else "permissive"
        own = "strict" if item.admission.value in demanding else "permissive"
        draft = by_draft.get(id(item.workload))
        opened = sorted(draft.plaintext) if draft is not None and own == "strict" else []
        demanded = _demanded(item) if own == "permissive" else []
        if own == inherited and not opened and not demanded:
            continue
        if draft is not None and not draft.selector.labels:
            draft = None  # its policy takes the whole namespace: ports by number ask for labels, so each workload is selected by its own
        if draft is not None and id(draft) in done:
            continue
        if draft is not None:
            done.add(id(draft))
        selector = draft.selector if draft is not None else Selector.of(telling(item, access))
        if not selector.labels:
            _without_labels(out, access, item, demanded, opened, demanding)
            continue
        src = item.admission.src | (
            draft.selector_src if draft is not None else item.workload.labels_src(dict(selector.labels)) | item.workload.src
        )
        others = [
            other
            for other in access.of_namespace(item.workload.ref.namespace)
            if other.meshed is not False
            and selector.accepts(other.workload.labels)
            and (draft is None or all(other is not member for member in draft.region.members))
            and other is not item
        ]
        opened = [port for port in opened if all(port in _open(other, by_draft) for other in others)]
        if own == "permissive" and any(other.admission.value in demanding for other in others):
            _together(out, item.admission.src, [item], others)
            continue
        looser = [other for other in others if _looser(other, own, demanded, demanding)]
        if looser:
            _together(out, src, looser, [item])
        if demanded and item.workload.demanding is not None:
            src |= item.workload.demanding.src
        ref = Ref(item.workload.ref.namespace, name(draft.label if draft is not None else item.workload.ref.name, "mtls"))
        obj = out.object("security.istio.io/v1", "PeerAuthentication", ref, owner=item.workload.document, rank=39, because=src)
        obj.set(("spec", "selector", "matchLabels"), dict(selector.labels), src)
        obj.set(("spec", "mtls", "mode"), "STRICT" if own == "strict" else "PERMISSIVE", src)
        for port in demanded:
            obj.set(("spec", "portLevelMtls", str(port), "mode"), "STRICT", item.workload.demanding)
        for port in opened:
            obj.set(("spec", "portLevelMtls", str(port), "mode"), "PERMISSIVE", src)
    for admission in ir.admissions:
        out.imply("ports without a policy are open to everyone in Istio as well", admission.value)
    raised = sources(*(item.workload.demanding for item in access.workloads if _raising(item)))
    for workload in ir.world.workloads:
        if ir.world.meshed(workload) is False:
            out.ignore(UNREAD, workload.demanding)
        out.ignore("the default policy of these pods is none to which it adds", sources(workload.demanding) - raised)
        out.imply("a port that a policy holds asks for what the policy says", workload.demanding)


def _by_namespace(ir: IR, out: Output, demanding: set[str]) -> dict[str, Fact[str]]:
    """The namespaces that are strict as a whole, by their own word or, where the installation says it and they do not, as enrolled ones of the bundle."""
    said = {item.subject.namespace: (item.value, item.document) for item in ir.admissions if item.level == "namespace"}
    for whole in (item for item in ir.admissions if item.level == "mesh"):
        for home in ir.world.namespaces.values():
            if home.name not in said and home.meshed is not None and home.meshed.value:
                said[home.name] = (whole.value.also(home.meshed), home.document)
    strict: dict[str, Fact[str]] = {}
    for namespace, (value, document) in said.items():
        known = ir.world.namespaces.get(namespace)
        if value.value in demanding and (known is None or known.meshed is None or known.meshed.value):
            strict[namespace] = value
            ref = Ref(namespace, "default")
            obj = out.object("security.istio.io/v1", "PeerAuthentication", ref, owner=document, rank=38, because=value)
            obj.set(("spec", "mtls", "mode"), "STRICT", value)
    return strict


def _open(item: Effective, by_draft: dict[int, Draft]) -> set[int]:
    """The ports of a workload whose policies admit peers without identity."""
    draft = by_draft.get(id(item.workload))
    return draft.plaintext if draft is not None else set()


def _looser(item: Effective, mode: str, demanded: list[int], demanding: set[str]) -> bool:
    """Whether a workload admits plaintext where a mode written for others would refuse it."""
    if item.admission.value in demanding:
        return False
    return mode == "strict" or any(port not in _demanded(item) for port in demanded)


def _unseen(ir: IR, out: Output, access: Access, strict: dict[str, Fact[str]], by_draft: dict[int, Draft]) -> None:
    """Pods of a namespace that the bundle does not show refuse plaintext on the ports of its annotation by a DENY, which needs no labels. Where it would hold for
    known pods that take plaintext there, the namespace is strict instead, and these say by their own labels that they are not."""
    for home in ir.world.namespaces.values():
        outside = home.meshed is not None and not home.meshed.value
        if home.demanding is None or outside:
            continue
        if home.name in strict:
            out.imply("the default policy of the namespace asks for an identity on every port", home.demanding)
            continue
        known = [item for item in access.of_namespace(home.name) if item.meshed is not False]
        raised = access.namespace_admission(home.name).value
        if not home.demanding.value or not raised.endswith("-unauthenticated"):  # no other policy is raised by the list
            out.ignore("the default policy of the namespace is none to which it adds", *(() if known else (home.demanding,)))
            continue
        ports = [port for low, high in home.demanding.value for port in range(low, min(high, low + 1000) + 1)]
        open_to = [item for item in known if any(_takes_plaintext(item, port, by_draft) for port in ports)]
        servers = [policy for policy in ir.policies if policy.subject.value.namespace == home.name]
        servers = [policy for policy in access.unshown(home.name) if _nameless(policy, ports, access)] if known else servers
        if servers or open_to:
            others = ", ".join(sorted(f"{policy.kind} {policy.ref.value}" for policy in servers))
            out.finding(
                "MP294", home.demanding, document=home.document, disposition=None, feature="transport.mode",
                affects=(Affected(home.name, ANY_POD) if known else Affected(home.name),),
                workload=others if others and not open_to else f"every pod of {home.name} that the bundle does not show",
                others=", ".join(str(item.workload.ref) for item in open_to) or "the namespace's other pods",
            )  # fmt: skip
        if open_to:
            strict[home.name] = home.demanding.holding("strict")
            obj = out.object(
                "security.istio.io/v1",
                "PeerAuthentication",
                Ref(home.name, "default"),
                owner=home.document,
                rank=38,
                because=home.demanding,
            )
            obj.set(("spec", "mtls", "mode"), "STRICT", home.demanding)
            continue
        obj = out.object(
            "security.istio.io/v1",
            "AuthorizationPolicy",
            Ref(home.name, f"{home.name}-plaintext"),
            owner=home.document,
            rank=39,
            because=home.demanding,
        )
        obj.note("the ports whose default policy asks for an identity")
        _denied(obj, home.demanding.src, "ports", ports)


def _takes_plaintext(item: Effective, port: int, by_draft: dict[int, Draft]) -> bool:
    """Whether a workload lets callers without an identity in on a port."""
    if item.workload.bypasses(port):
        return False  # what goes past the proxy is refused by none of its policies
    if port in servers_of(item):
        return port in _open(item, by_draft)
    return (item.admission.value == "audit" or _raising(item)) and port not in _demanded(item)


def _nameless(policy: Policy, ports: list[int], access: Access) -> bool:
    """Whether a Server of one of these ports lets in callers without an identity."""
    number = access.number(policy)
    return (number is None or number in ports) and any(rule.condition(IDENTITY) is None for rule in policy.rules)


def _denied(obj: Obj, src: Src, key: str, ports: list[int]) -> None:
    """The body of a DENY of plaintext on ports, or on all but those."""
    obj.set(("spec", "action"), "DENY", src)
    obj.set(("spec", "rules", 0, "from", 0, "source", "notPrincipals"), ["*"], src)
    if ports:
        obj.set(("spec", "rules", 0, "to", 0, "operation", key), [str(port) for port in ports], src)


def _without_labels(out: Output, access: Access, item: Effective, demanded: list[int], opened: list[int], demanding: set[str]) -> None:
    """Pods without a label refuse plaintext by a DENY for the namespace: no PeerAuthentication selects them, and a DENY can name ports."""
    src = item.admission.src | item.workload.src
    if demanded and item.workload.demanding is not None:
        src |= item.workload.demanding.src
    home = item.workload.ref.namespace
    others = [one for one in access.of_namespace(home) if one.meshed is not False and one is not item]
    strict = item.admission.value in demanding
    looser = [one for one in others if _looser(one, "strict" if strict else "permissive", demanded, demanding)]
    if looser:
        _together(out, src, looser, [item])
    ref = Ref(home, name(item.workload.ref.name, "plaintext"))
    obj = out.object("security.istio.io/v1", "AuthorizationPolicy", ref, owner=item.workload.document, rank=39, because=src)
    obj.note(f"{item.workload.ref} refuses plaintext, and its pods have no label that a PeerAuthentication could select")
    _denied(obj, src, "notPorts" if strict else "ports", opened if strict else demanded)


def _together(out: Output, src: Src, refused: list[Effective], others: list[Effective]) -> None:
    """Pods that a selector cannot take without those that refuse plaintext: they refuse it as well, for Istio takes the older object of two."""
    ports = set().union(*(spoken_ports(one) for one in (*refused, *others)))
    for item in refused:
        out.finding(
            "MP294", src, document=item.workload.document, disposition="approximated", feature="transport.mode",
            affects=(Affected(item.workload.ref.namespace, item.workload.ref.name),), workload=str(item.workload.ref),
            explains=frozenset((access_subject(item.workload.ref, port), "allow") for port in (*ports, None)),
            others=", ".join(str(other.workload.ref) for other in others),
        )  # fmt: skip


def spoken_ports(item: Effective) -> set[int]:
    """The ports of a workload that it declares, that have a Server, or that ask for an identity by annotation."""
    return {port.number for port in item.workload.ports} | set(servers_of(item)) | set(_demanded(item))


def _raising(item: Effective) -> bool:
    """Whether the default of a workload is one that its annotation can raise: it lets in whoever shows no identity."""
    return item.admission.value.endswith("-unauthenticated")


def _demanded(item: Effective) -> list[int]:
    """The ports without a Server whose default asks for an identity by annotation."""
    ranges = item.workload.demanding.value if item.workload.demanding is not None and _raising(item) else ()
    servers = servers_of(item)
    return [
        port
        for low, high in ranges
        for port in range(low, min(high, low + 1000) + 1)
        if port not in servers and not item.workload.bypasses(port)
    ]
