"""What an edge of the access matrix looks like and what it says, the same in every picture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from markupsafe import Markup

from meshport.report.audited import ANY_IDENTITY, OUTSIDE, Audit, Edge, WorkloadProtection
from meshport.report.pictures.svg import tag, words
from meshport.report.words import plural

SIGNS = {"widened": "+", "changed": "±", "undecided": "?", "weaker": "!", "narrowed": "−", "stronger": "↑", "same": ""}
"""Sign by kind, worst first. `weaker` and `stronger` are edges with the same access of which the encryption is lost or won."""
MEANS = {
    "widened": "more is let in",
    "changed": "more and less",
    "undecided": "undecided",
    "weaker": "encryption lost",
    "narrowed": "less is let in",
    "stronger": "encryption won",
    "same": "the same",
}
UNSEEN = (OUTSIDE, ANY_IDENTITY)
"""The callers that the bundle does not show, in the order in which they are drawn."""
WORSE = ("widened", "changed", "undecided", "weaker")
RANK = {kind: place for place, kind in enumerate(SIGNS)}
_MUCH = {"all": "all requests", "some": "some requests", "none": "nothing", "undecided": "undecided"}
_ENCRYPTED = {True: ", encrypted", False: ", not encrypted", None: ""}
MOST_LISTED = 400
"""Lines of the list of differences; what is beyond is counted."""


def workloads(audit: Audit) -> dict[str, WorkloadProtection]:
    """The workloads by what edges call them."""
    return {f"{item.namespace}/{item.workload}": item for item in audit.encryption.workloads}


def kind(edge: Edge) -> str:
    """What is drawn: the outcome, or what became of the encryption where the outcome is the same."""
    if edge.outcome == "same" and edge.encrypted_before is not None and edge.encrypted_after is not None:
        return "same" if edge.encrypted_before == edge.encrypted_after else "stronger" if edge.encrypted_after else "weaker"
    return edge.outcome


def encrypted(edge: Edge) -> bool:
    """Whether it is drawn as encrypted: as it is after, or was before where nothing is let in after."""
    return (edge.encrypted_before if edge.encrypted_after is None else edge.encrypted_after) is not False


def worst(kinds: Iterable[str]) -> str:
    return min(kinds, key=RANK.__getitem__, default="same")


def sentence(edge: Edge) -> str:
    """The edge in words, for titles."""
    before = _MUCH[edge.before] + _ENCRYPTED[edge.encrypted_before]
    after = _MUCH[edge.after] + _ENCRYPTED[edge.encrypted_after]
    known = kind(edge)
    sign = f" ({SIGNS[known]} {MEANS[known]})" if SIGNS[known] else ""
    amount = f"before and after: {before}" if before == after else f"before: {before}; after: {after}"
    return f"{edge.source} → {edge.destination}:{edge.port}, {amount}{sign}"


def data(edge: Edge) -> dict[str, Any]:
    """What scripts and tests find an edge by."""
    return {"data_source": edge.source, "data_destination": edge.destination, "data_port": edge.port, "data_outcome": edge.outcome}


def share(x: float, y: float, much: str, secret: bool | None) -> Markup:
    """How much is let in: a ring around a whole or half disc, dashed where the connection is not encrypted; a point for nothing."""
    if much == "undecided":
        return tag("text", "?", x=x, y=y + 4, class_="sign")
    if much == "none":
        return tag("circle", cx=x, cy=y, r=1.6, class_="full")
    ring = tag("circle", cx=x, cy=y, r=5.6, fill="none", class_="ring plain" if secret is False else "ring")
    disc = (
        tag("circle", cx=x, cy=y, r=3.1, class_="full")
        if much == "all"
        else tag("path", d=f"M{x:g} {y - 3.1:g}a3.1 3.1 0 0 0 0 6.2z", class_="full")
    )
    return ring + disc


def badge(x: float, y: float, known: str) -> Markup:
    """The sign of a difference in a circle; nothing where there is none."""
    sign = SIGNS[known]
    return tag("circle", cx=x, cy=y, r=7, class_="badge") + tag("text", sign, x=x, y=y + 4, class_="sign") if sign else Markup("")


def origin(x: float, y: float, source: str) -> Markup:
    """The node that stands for callers that the bundle does not show: a circle outside the mesh, a diamond with a certificate of it."""
    if source == OUTSIDE:
        return tag("circle", cx=x, cy=y, r=5, class_="origin")
    return tag("path", d=f"M{x:g} {y - 6:g}l6 6l-6 6l-6 -6z", class_="origin")


def difference_keys(edges: Iterable[Edge]) -> list[tuple[Markup, float, str]]:
    """Legend items of the differences that occur."""
    found = {kind(edge) for edge in edges}
    return [
        (tag("g", badge(7, 0, known), class_=known), 14, f"{MEANS[known]} after")
        for known, sign in SIGNS.items()
        if sign and known in found
    ]


def counted(audit: Audit) -> str:
    """The picture in one sentence, worst first."""
    edges = audit.access.edges
    kinds = [kind(edge) for edge in edges]
    parts = [f"{kinds.count(known)} {word}" for known, word in _COUNTED.items() if known in ("widened", "undecided") or known in kinds]
    open_ = sum(edge.encrypted_after is False for edge in edges)
    more = f" {audit.access.left_out} more edges are not in the report." if audit.access.left_out else ""
    return (
        f"{plural(len(workloads(audit)), 'workload')}, {plural(len(edges), 'edge')} (a caller and a port): {', '.join(parts)}; "
        f"{open_} not encrypted after.{more} A workload without an edge of its own may do what “{ANY_IDENTITY}” may, or “{OUTSIDE}” if it is not in the mesh. "
        "What a declared probe of the kubelet asks for is not drawn."
    )


_COUNTED = {
    "widened": "widened",
    "undecided": "undecided",
    "changed": "widened and narrowed",
    "weaker": "with encryption lost",
    "narrowed": "narrowed",
    "stronger": "with encryption won",
    "same": "the same",
}


def differences(edges: list[Edge], *, unfolded: bool) -> Markup:
    """Every edge that differs, by destination, as two lists to read and to copy: what keeps an auditor from signing, and what is stricter after."""
    worse = [edge for edge in edges if kind(edge) in WORSE]
    better = [edge for edge in edges if kind(edge) in ("narrowed", "stronger")]
    return _list(worse, "More is let in, undecided, or encryption lost", unfolded) + _list(better, "Stricter after", False)


def _list(edges: list[Edge], which: str, unfolded: bool) -> Markup:
    if not edges:
        return Markup("")
    grouped: dict[tuple[int, str, int, str], list[Edge]] = {}
    for edge in edges:
        known = kind(edge)
        grouped.setdefault((RANK[known], edge.destination, edge.port, known), []).append(edge)
    shown = sorted(grouped.items())[:MOST_LISTED]
    lines = [
        tag(
            "li",
            tag("b", SIGNS[known], class_=known),
            f" {destination}:{port} {MEANS[known]}, from {', '.join(edge.source for edge in found)}",
            data_edges=len(found),
        )
        for (_, destination, port, known), found in shown
    ]
    rest = len(edges) - sum(len(found) for _, found in shown)
    if rest:
        lines.append(tag("li", tag("b", "…"), f" and {plural(rest, 'edge')} more, in the JSON report", data_edges=rest))
    return tag(
        "details", tag("summary", f"{which}: {plural(len(edges), 'edge')}"), tag("ul", *lines, class_="list"), open="" if unfolded else None
    )


def namespace_of(node: str) -> str:
    """The namespace of a workload's node; callers that the bundle does not show are groups of their own."""
    return node if node in UNSEEN else node.partition("/")[0]


def slanted(x: float, y: float, text: str, most: int = 24) -> Markup:
    """A column's heading, rising to the right."""
    return words(0, 0, text, most=most, transform=f"translate({x:g},{y:g}) rotate(-50)")
