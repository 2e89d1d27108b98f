"""Names of objects that meshport makes: DNS labels, cut to 63 characters with a hash where they are longer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

LONGEST = 63


def name(*parts: str) -> str:
    """The parts joined by dashes as a DNS label; two different joins never get the same cut name."""
    whole = "-".join(part for part in parts if part)
    text = re.sub(r"[^a-z0-9]+", "-", whole.lower()).strip("-") or "x"
    if len(text) <= LONGEST:
        return text
    digest = hashlib.sha256(whole.encode()).hexdigest()[:6]
    return text[: LONGEST - 7].rstrip("-") + "-" + digest


def unique(wanted: str, taken: Callable[[str], bool], *, label: bool = True) -> str:
    """The name wanted, or the first with a number behind it that is not taken; with `label` the numbered one is cut as a DNS label."""
    found, number = wanted, 2
    while taken(found):
        found, number = name(wanted, str(number)) if label else f"{wanted}-{number}", number + 1
    return found


def claim(wanted: str, taken: set[str]) -> str:
    """The same of a set of names, in which it is taken from then on."""
    found = unique(wanted, taken.__contains__)
    taken.add(found)
    return found
