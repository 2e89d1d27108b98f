"""The page of a finding code: what it means, where it comes from, what to do."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from meshport.errors import UsageError

if TYPE_CHECKING:
    from meshport.mapping.table import Code, Table


_PLACE = re.compile(r"\{([a-z_]+)\}")


def page(code: str, table: Table) -> Code:
    """The page of a code, in any case, also without its `MP`. Raises UsageError with the codes that are close."""
    codes = table.codes()
    wanted = code.strip().upper()
    number = wanted.removeprefix("MP")
    if number.isdigit():
        wanted = f"MP{number.zfill(3)}"
    if wanted in codes:
        return codes[wanted]
    close = get_close_matches(wanted, codes, 3, 0.5)
    hint = f"did you mean {', '.join(close)}?" if close else "`meshport explain` lists them"
    raise UsageError(f"no finding code {code!r}; {hint}")


def remedy(row: Code) -> str:
    """What to do, as a page says it: what a finding fills in is a word in capitals, and what depends on it alone is in the finding."""
    if row.remedy == "{remedy}":
        return "What the finding says: it depends on what was found."
    return _PLACE.sub(lambda found: found[1].upper(), row.remedy).replace("{{", "{").replace("}}", "}")


def as_data(row: Code) -> dict[str, Any]:
    """The page as plain data."""
    return {
        "code": row.name,
        "title": row.title,
        "severity": row.severity,
        "effect": row.effect,
        "meaning": row.meaning,
        "cause": row.cause,
        "remedy": remedy(row),
        "example": row.example,
    }


def text(row: Code) -> str:
    """The page as text."""
    import textwrap

    lines = [f"{row.name}: {row.title} ({row.severity})", ""]
    for title, said in (("", row.meaning), ("Cause", row.cause), ("Remedy", remedy(row)), ("Example", row.example)):
        if said:
            lead = f"{title}: " if title else ""
            lines += [*textwrap.wrap(lead + said, 100, break_long_words=False, break_on_hyphens=False), ""]
    return "\n".join(lines)
