"""Mistakes of a bundle that the schema of no single object shows. `lints` are said by every command, `mistakes` by `meshport lint` alone: they are what a
reviewer would say about manifests that the cluster takes and that do something else than they look like."""

from __future__ import annotations

import re
from collections.abc import Callable

from meshport.dialects.base import Options
from meshport.findings import Affected, Finding
from meshport.ir.model import IR, Loss
from meshport.lints import (
    api,
    cilium,
    cilium_envoy,
    cilium_opened,
    cilium_references,
    cilium_selectors,
    deprecated,
    istio,
    istio_edges,
    istio_policies,
    istio_references,
    istio_routing,
    istio_workloads,
    linkerd,
    linkerd_policies,
    linkerd_references,
    linkerd_routes,
    linkerd_values,
    metadata,
    references,
    services,
)
from meshport.lints.inventory import Inventory
from meshport.lints.manifests import Review
from meshport.mapping.bound import Bound
from meshport.mapping.table import Table

_OF_MESH = {"istio": istio.review, "linkerd": linkerd.review}
_KNOWING: dict[str, tuple[Callable[[Review, Inventory], None], ...]] = {
    "istio": (istio_routing.review, istio_workloads.review, istio_policies.review, istio_references.review, istio_edges.review),
    "linkerd": (linkerd_policies.review, linkerd_references.review, linkerd_routes.review, linkerd_values.review),
    "cilium": (cilium.review, cilium_selectors.review, cilium_opened.review, cilium_references.review, cilium_envoy.review),
}


_SAID = {"MP217", "MP240", "MP654", "MP655", "MP743"}
"""Losses of a lift that `mistakes` says of the source, with what it knows of the bundle."""
_ALONE = {"MP742"}
"""What is said of a conversion and is no mistake."""
_AGAIN = re.compile(r"(?:[,;] | )(?:and |then )+convert(?: it)? again")


def lost(losses: list[Loss], table: Table) -> list[Loss]:
    """What a lift could not make sense of, where that is a mistake of the source."""
    codes = table.codes()
    return [loss for loss in losses if loss.code not in _SAID and (codes[loss.code].severity != "info" or loss.code.startswith("MP0"))]


def once(findings: list[Finding]) -> list[Finding]:
    """One finding for one mistake: what a more exact one says of the same place goes, and so does what a remedy says of conversions."""
    exact: dict[tuple[int | None, int], set[str]] = {}
    for finding in findings:
        if (place := _place(finding)) is not None:
            exact.setdefault((finding.document, place), set()).add(finding.code)
    kept = []
    for finding in findings:
        place = _place(finding)
        beside = exact.get((finding.document, place), set()) if place is not None else set()
        if finding.code in _ALONE or beside & _EXACT.get(finding.code, set()):
            continue
        finding.remedy = _AGAIN.sub("", finding.remedy)
        kept.append(finding)
    return kept


_EXACT = {
    "MP013": {"MP098"}, "MP015": {"MP012", "MP013", "MP021", "MP022", "MP071"}, "MP082": {"MP022"}, "MP315": {"MP013"},
    "MP097": {"MP013", "MP072"}, "MP098": {"MP072"}, "MP099": {"MP072"},
}  # fmt: skip
"""Of codes those that say the same mistake at the same place more exactly."""


def _place(finding: Finding) -> int | None:
    return finding.at if finding.at is not None else finding.leaves[0] if finding.leaves else None


def mistakes(ir: IR, bound: Bound, options: Options) -> list[Finding]:
    """What a reviewer would say about the manifests of the source mesh."""
    review = Review(bound, options, ir)
    api.review(review)
    of_mesh = _OF_MESH.get(options.source)
    if of_mesh is not None:
        of_mesh(review)
    known = Inventory(review)
    for look in (references.review, services.review, *_KNOWING.get(options.source, ())):
        look(review, known)
    deprecated.review(review)
    metadata.review(review)
    return review.findings


def lints(ir: IR, bound: Bound, options: Options) -> list[Finding]:
    """Policies that refuse the mesh's own gateway."""
    found = []
    row = bound.table.codes()["MP214"]
    for gateway in ir.gateways:
        ref = gateway.ref.value
        if (
            not gateway.kind.startswith("gateway.networking")
            or not gateway.implementation.value.startswith("istio")
            or gateway.implementation.value == "istio-waypoint"
        ):
            continue
        for policy in ir.policies:
            subject = policy.subject.value
            closes = policy.action.value == "allow" and policy.port is None and subject.selector.everything
            if closes and subject.namespace in ("", ref.namespace) and not any(not rule.conditions for rule in policy.rules):
                text = row.message.format(policy=f"{policy.kind} {policy.ref.value}", gateway=f"Gateway {ref}")
                found.append(
                    Finding(
                        "MP214", "error", text, row.remedy, "none", None, "authorization", "authorization.posture",
                        (Affected(ref.namespace, ref.name),), tuple(sorted(policy.subject.src | policy.action.src)), policy.document,
                    )
                )  # fmt: skip
    return found
