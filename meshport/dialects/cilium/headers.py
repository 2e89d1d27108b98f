"""What rules of Cilium do to headers: an entry of `headerMatches` with `mismatch` refuses nobody, and changes the request."""

from __future__ import annotations

from meshport.dialects.cursor import Cursor


def changing(spec: Cursor, direction: str) -> list[Cursor]:
    """The entries of `headerMatches` that let every request through, and log or change the header of those that do not match."""
    entries = [entry for rule in spec.each(direction) for entry in rule.each("toPorts")]
    rules = [item for entry in entries for item in entry.at("rules").each("http")]
    return [match for item in rules for match in item.each("headerMatches") if match.at("mismatch") and match.at("mismatch").value]
