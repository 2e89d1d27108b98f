"""Mutual TLS written for Istio: STRICT where the source refuses plaintext (mapping decisions 2)."""

from __future__ import annotations

from meshport.dialects.istio.drafts import Draft, distinguishing, servers_of
from meshport.dialects.naming import name
from meshport.dialects.output import Output
from meshport.effective.access import Access, Effective
from meshport.findings import Affected
from meshport.ir.base import Fact, Ref, Selector
from meshport.ir.model import IR


def write_transport(ir: IR, out: Output, access: Access, drafts: list[Draft]) -> None:
    """`all-authenticated` is STRICT, by namespace where the namespace says it and by workload where pods do; ports whose Server admits plaintext stay open."""
    demanding = {"all-authenticated"}
    strict: dict[str, Fact[str]] = {}
    for admission in ir.admissions:
        home = ir.world.namespaces.get(admission.subject.namespace)
        enrolled = home is None or home.meshed is None or home.meshed.value
        if admission.level == "namespace" and admission.value.value in demanding and enrolled:
            namespace = admission.subject.namespace
            strict[namespace] = admission.value
            obj = out.object(
                "security.istio.io/v1",
                "PeerAuthentication",
                Ref(namespace, "default"),
                owner=admission.document,
                rank=38,
                because=admission.value,
            )
            obj.set(("spec", "mtls", "mode"), "STRICT", admission.value)
    by_draft = {id(member.workload): draft for draft in drafts for member in draft.region.members}
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
        if draft is not None and id(draft) in done:
            continue
        if draft is not None:
            done.add(id(draft))
        selector = draft.selector if draft is not None else Selector.of(distinguishing(item, access))
        if not selector.labels:
            out.finding(
                "MP107", item.admission, document=item.workload.document, disposition="dropped", affects=(Affected(item.workload.ref.namespace, item.workload.ref.name),),
                feature="transport.mode", workload=str(item.workload.ref),
            )  # fmt: skip
            continue
        src = item.admission.src | (
            draft.selector_src if draft is not None else item.workload.labels_src(dict(selector.labels)) | item.workload.src
        )
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
    for workload in ir.world.workloads:
        out.imply("a port that a policy holds asks for what the policy says", workload.demanding)


def _demanded(item: Effective) -> list[int]:
    """The ports without a Server whose default asks for an identity by annotation."""
    raised = item.workload.demanding is not None and item.admission.value.endswith("-unauthenticated")
    ranges = item.workload.demanding.value if item.workload.demanding is not None and raised else ()
    servers = servers_of(item)
    return [
        port
        for low, high in ranges
        for port in range(low, min(high, low + 1000) + 1)
        if port not in servers and not item.workload.bypasses(port)
    ]
