"""A small call graph as cards and arrows, before and after in one: what is new, gone or otherwise is coloured and has a sign.

Callers that the bundle does not show would be lines from two nodes to nearly all others. They stand instead as small nodes of their own at the left of each card.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from markupsafe import Markup

from meshport.report.audited import Audit, Edge, WorkloadProtection
from meshport.report.pictures.layers import Layout, layered
from meshport.report.pictures.marks import (
    SIGNS,
    UNSEEN,
    badge,
    counted,
    data,
    difference_keys,
    differences,
    encrypted,
    kind,
    origin,
    sentence,
    workloads,
)
from meshport.report.pictures.svg import figure, legend, number, tag, words

CARD, HEADING, SLOT = 164, 44, 21
GUTTER, LANE, BACK = 80, 66, 9
"""Pixels left of a card for callers that the bundle does not show, right of it for the arrows to turn in, and between those that lead back."""
MARGIN = 12
MOST_LAYERS = 6
MOST_CARDS = 16
MOST_ARROWS = 48
PER_ROW = 4


@dataclass(slots=True)
class _Card:
    """A workload: the edges of unseen callers, then those of workloads, each with a slot on the left, and those that leave on the right."""

    name: str
    protection: WorkloadProtection | None
    unseen: list[Edge] = field(default_factory=list)
    incoming: list[Edge] = field(default_factory=list)
    outgoing: list[Edge] = field(default_factory=list)
    x: float = 0
    y: float = 0

    @property
    def height(self) -> float:
        return max(HEADING + 10, SLOT * max(len(self.unseen) + len(self.incoming), len(self.outgoing)) + 12)

    def left(self, slot: int) -> float:
        return self._slot(slot, len(self.unseen) + len(self.incoming))

    def right(self, slot: int) -> float:
        return self._slot(slot, len(self.outgoing))

    def _slot(self, slot: int, count: int) -> float:
        return self.y + self.height / 2 + SLOT * (slot - (count - 1) / 2)


def fits(audit: Audit) -> bool:
    """Whether cards and arrows can be followed by eye."""
    arrows = _arrows(audit)
    if len(_names(audit)) > MOST_CARDS or len(arrows) > MOST_ARROWS:
        return False
    return _layout(arrows, dict.fromkeys(_names(audit), 1.0)).layers <= MOST_LAYERS


def draw(audit: Audit) -> Markup:
    """The graph as one figure."""
    arrows = _arrows(audit)
    cards = _cards(audit)
    layout = _layout(arrows, {name: card.height for name, card in cards.items()})
    wide, high, floor = _place(cards, layout, arrows)
    drawn = [
        *_lines(cards, layout, arrows, floor),
        *(_card(card, several=len({name.partition("/")[0] for name in cards}) > 1) for card in cards.values()),
    ]
    wide = max(wide, 640)
    keys, taken = legend(_keys(audit), MARGIN, high + 18, wide - MARGIN)
    title = "Who may call whom, before and after"
    return figure(
        "service-graph", title, counted(audit), (wide, high + taken + 8), [*drawn, keys], differences(audit.access.edges, unfolded=False)
    )


def _names(audit: Audit) -> list[str]:
    named = {*workloads(audit)} | {end for edge in audit.access.edges for end in (edge.source, edge.destination)}
    return sorted(named.difference(UNSEEN))


def _arrows(audit: Audit) -> list[Edge]:
    return [edge for edge in audit.access.edges if edge.source not in UNSEEN]


def _layout(arrows: list[Edge], heights: dict[str, float]) -> Layout:
    return layered({(edge.source, edge.destination) for edge in arrows if edge.source != edge.destination}, heights)


def _cards(audit: Audit) -> dict[str, _Card]:
    protections = workloads(audit)
    cards = {name: _Card(name, protections.get(name)) for name in _names(audit)}
    for edge in audit.access.edges:
        if edge.source in cards:
            cards[edge.source].outgoing.append(edge)
            cards[edge.destination].incoming.append(edge)
        else:
            cards[edge.destination].unseen.append(edge)
    return cards


def _place(cards: dict[str, _Card], layout: Layout, arrows: list[Edge]) -> tuple[float, float, float]:
    """Gives each card its place: those that call each other in layers, the others in rows below. Width and height of it all, and where the layers end."""
    right, floor = 0.0, 0.0
    for name, layer in layout.layer.items():
        card = cards[name]
        card.x, card.y = _column(layer), layout.top[name] + MARGIN
        right, floor = max(right, card.x + CARD), max(floor, card.y + card.height)
    floor = max([floor, *(y + MARGIN for heights in layout.way.values() for _, y in heights)])
    for card in cards.values():  # from above, so that arrows beside each other do not cross
        card.incoming.sort(key=lambda edge: (cards[edge.source].y, edge.source, edge.port))
        card.outgoing.sort(key=lambda edge: (cards[edge.destination].y, edge.destination, edge.port))
    back = sum(_leads_back(cards, edge) for edge in arrows)
    right += LANE if back else 0
    bottom = floor + MARGIN + (BACK * back if floor else 0)
    alone = [card for name, card in cards.items() if name not in layout.layer]
    y = bottom + MARGIN if floor and alone else bottom
    for start in range(0, len(alone), PER_ROW):
        row = alone[start : start + PER_ROW]
        for place, card in enumerate(row):
            card.x, card.y = MARGIN + GUTTER + place * (CARD + GUTTER + 16), y
            right = max(right, card.x + CARD)
        y += max(card.height for card in row) + MARGIN
        bottom = y
    return right + MARGIN, bottom, floor


def _leads_back(cards: dict[str, _Card], edge: Edge) -> bool:
    return cards[edge.source].x >= cards[edge.destination].x


def _column(layer: int) -> float:
    return MARGIN + GUTTER + layer * (CARD + LANE + GUTTER)


def _lines(cards: dict[str, _Card], layout: Layout, arrows: list[Edge], floor: float) -> Iterator[Markup]:
    """The arrows between cards; their signs stand near the end, where the lines lie apart. What leads back does so below the layers."""
    back = 0
    for edge in arrows:
        one, other = cards[edge.source], cards[edge.destination]
        start = (one.x + CARD, one.right(one.outgoing.index(edge)))
        end = (other.x, other.left(len(other.unseen) + other.incoming.index(edge)))
        if _leads_back(cards, edge):
            yield _line(edge, _around(start, end, floor + 10 + BACK * back, back % 5), *end)
            back += 1
            continue
        twins = [twin for twin in one.outgoing if twin.destination == edge.destination]  # to its other ports, on the same way
        beside = MARGIN + 5 * (twins.index(edge) - (len(twins) - 1) / 2)
        way = [(layer, height + beside) for layer, height in layout.way[edge.source, edge.destination]]
        yield _line(edge, _along(start, end, way), *end)


def _along(start: tuple[float, float], end: tuple[float, float], way: list[tuple[int, float]]) -> str:
    """To the right, level where it passes a layer."""
    path, (x, y) = f"M{number(start[0])} {number(start[1])}", start
    for layer, height in way:
        path += _curve(x, y, _column(layer) - GUTTER / 2, height) + f"H{number(_column(layer) + CARD)}"
        x, y = _column(layer) + CARD, height
    return path + _curve(x, y, end[0] - GUTTER + 8, end[1]) + f"H{number(end[0] - 7)}"


def _around(start: tuple[float, float], end: tuple[float, float], level: float, lane: int) -> str:
    """Out to the right, down, back below everything, and up to the left of where it leads."""
    right, left = start[0] + 12 + 5 * lane, end[0] - GUTTER + 2 + 2 * lane
    return (
        f"M{number(start[0])} {number(start[1])}H{number(right - 6)}q6 0 6 6V{number(level - 6)}q0 6 -6 6"
        f"H{number(left + 6)}q-6 0 -6 -6V{number(end[1] + 6)}q0 -6 6 -6H{number(end[0] - 7)}"
    )


def _line(edge: Edge, path: str, x: float, y: float) -> Markup:
    known = kind(edge)
    return tag(
        "g",
        tag("title", sentence(edge)),
        tag("path", d=path, fill="none", class_=_stroke(edge)),
        _head(x, y),
        words(x - 46, y - 3, f":{edge.port}", "tiny"),
        badge(x - 56, y, known),
        class_=f"edge {known}",
        **data(edge),
    )


def _stroke(edge: Edge) -> str:
    """How wide, dashed and faint its line is: as it is after, or was before where nothing is let in after."""
    gone = edge.after == "none"
    much = "thick" if (edge.before if gone else edge.after) == "all" else "thin"
    return f"link {much}{'' if encrypted(edge) else ' plain'}{' gone' if gone else ''}"


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    middle = (x + to_x) / 2
    return f"C{number(middle)} {number(y)} {number(middle)} {number(to_y)} {number(to_x)} {number(to_y)}"


def _head(x: float, y: float) -> Markup:
    return tag("path", d=f"M{number(x - 1)} {number(y)}l-8 -4v8z", class_="head")


def _card(card: _Card, *, several: bool) -> Markup:
    namespace, _, workload = card.name.partition("/")
    shape, state, says = "card", "", card.name
    if card.protection is not None:
        before, after = card.protection.before, card.protection.after
        shape += {"weaker": " weaker", "stronger": " stronger"}.get(card.protection.outcome, "")
        shape += " out" if after.state == "out of mesh" else ""
        sign = {"weaker": f"{SIGNS['weaker']} ", "stronger": f"{SIGNS['stronger']} ", "undecided": "? "}.get(card.protection.outcome, "")
        state = f"{sign}mTLS {before.state}" if before.state == after.state else f"{sign}{before.state} → {after.state}"
        says = (
            f"{card.name} ({card.protection.kind}). mTLS before: {before.state} ({before.reason}). After: {after.state} ({after.reason})."
        )
    top = card.y + card.height / 2 - HEADING / 2
    lines = [words(card.x + 10, top + (11 if several else 18), workload, "name", most=22)]
    if several:
        lines.append(words(card.x + 10, top + 26, namespace, "tiny", most=27))
    lines.append(words(card.x + 10, top + (40 if several else 35), state, "tiny", most=28))
    stubs = [_stub(card, slot, edge) for slot, edge in enumerate(card.unseen)]
    box = tag("rect", x=card.x, y=card.y, width=CARD, height=card.height, rx=6, class_=shape)
    return tag("g", *stubs) + tag("g", tag("title", says), box, *lines, class_="node", data_node=card.name)


def _stub(card: _Card, slot: int, edge: Edge) -> Markup:
    """An arrow from a caller that the bundle does not show."""
    known, y = kind(edge), card.left(slot)
    x = card.x - GUTTER + 10
    return tag(
        "g",
        tag("title", sentence(edge)),
        tag("path", d=f"M{number(x + 6)} {number(y)}H{number(card.x - 7)}", fill="none", class_=_stroke(edge)),
        _head(card.x, y),
        origin(x, y, edge.source),
        words(card.x - 42, y - 3, f":{edge.port}", "tiny"),
        badge(card.x - 51, y, known),
        class_=f"edge unseen {known}",
        **data(edge),
    )


def _keys(audit: Audit) -> list[tuple[Markup, float, str]]:
    def line(classes: str) -> Markup:
        return tag("path", d="M0 0h28", fill="none", class_=f"link {classes}")

    sources = {edge.source for edge in audit.access.edges}
    unseen = [(tag("g", origin(6, 0, name), class_="same"), 12, name) for name in UNSEEN if name in sources]
    return [
        (tag("g", line("thick"), class_="same"), 28, "all requests"),
        (tag("g", line("thin"), class_="same"), 28, "some requests"),
        (tag("g", line("thick plain"), class_="same"), 28, "not encrypted"),
        *unseen,
        *difference_keys(audit.access.edges),
        *(
            (tag("rect", x=0, y=-6, width=18, height=12, rx=3, class_=f"card {name}"), 18, f"mTLS {text} ({SIGNS[name]})")
            for name, text in (("weaker", "weaker after"), ("stronger", "stronger after"))
            if any(item.outcome == name for item in audit.encryption.workloads)
        ),
    ]
