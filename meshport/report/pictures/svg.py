"""Markup for SVG: elements, numbers, names cut to a width, wrapped legends, the figure around it all."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from markupsafe import Markup, escape

EMPTY = Markup("")
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""What no XML document and no encoding holds; names of a broken input can."""


def tag(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """An element. Children that are not Markup are escaped; `class_` is `class`, other underscores are hyphens; None leaves an attribute out."""
    written = EMPTY.join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), number(value) if isinstance(value, int | float) else clean(value))
        for key, value in attributes.items()
        if value is not None
    )
    inner = EMPTY.join(child if isinstance(child, Markup) else escape(clean(child)) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, inner)


def clean(text: str) -> str:
    """The text without characters that no document can hold."""
    return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def number(value: float) -> str:
    """Tenths of a pixel, and no more digits than it takes."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def cells(text: str) -> int:
    """How many letters wide a text is: an ideograph takes two, a mark or a direction sign none."""
    return sum(
        0 if unicodedata.category(char) in ("Mn", "Me", "Cf") else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def width(text: str, size: float = 12) -> float:
    """About how many pixels a text takes at a font size; rather more than less."""
    return cells(text) * size * 0.58


def cut(text: str, most: int) -> str:
    """A text of at most so many letters: the middle goes, for names differ at both ends."""
    text = clean(text)
    if cells(text) <= most:
        return text
    tail = (most - 1) // 3
    head = most - 1 - tail
    return _fitting(text, head) + "…" + _fitting(text[::-1], tail)[::-1]


def _fitting(text: str, most: int) -> str:
    taken = ""
    for char in text[: 4 * most]:
        if cells(taken + char) > most:
            break
        taken += char
    return taken


def words(x: float, y: float, text: str, class_: str | None = None, *, most: int | None = None, **attributes: str | float | None) -> Markup:
    """A line of text at its baseline; one that had to be cut says the whole in its title."""
    shown = text if most is None else cut(text, most)
    title = (tag("title", text),) if shown != clean(text) else ()
    return tag("text", *title, shown, x=x, y=y, class_=class_, **attributes)


def legend(items: Iterable[tuple[Markup, float, str]], x: float, y: float, most: float) -> tuple[Markup, float]:
    """Samples with their meaning, wrapped at a width. An item is the sample drawn around (0, 0) from the left, its width, and its text. Gives the height as well."""
    out, left, top = [], x, y
    for sample, taken, text in items:
        whole = taken + 6 + width(text, 11)
        if left > x and left + whole > most:
            left, top = x, top + 20
        out.append(tag("g", sample, words(taken + 6, 4, text, "small"), transform=f"translate({number(left)},{number(top)})", class_="key"))
        left += whole + 18
    return tag("g", *out, class_="legend"), top + 20 - y


def figure(kind: str, title: str, says: str, size: tuple[float, float], drawn: Iterable[Markup], *below: Markup) -> Markup:
    """The figure: a drawing that says what it shows to who does not see it, and what stands below it."""
    wide, high = size
    svg = tag(
        "svg",
        tag("title", title),
        tag("desc", says),
        *drawn,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(wide)} {number(high)}",
        width=wide,
        height=high,
        role="img",
        aria_label=f"{title}. {says}",
        class_="wide" if wide > 1200 else None,
    )
    return tag("figure", tag("div", svg, class_="drawing"), tag("figcaption", says), *below, class_=f"picture {kind}")
