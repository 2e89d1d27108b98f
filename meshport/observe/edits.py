"""Changes of a text by the characters that they replace, so that everything else keeps its bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshport.documents.spans import applied


@dataclass(slots=True)
class Edits:
    """Replacements of spans of one text. Those at one place are made in the order in which they were asked for."""

    text: str
    _made: list[tuple[int, int, str]] = field(default_factory=list)

    def replace(self, start: int, end: int, text: str) -> None:
        """Put a text in place of the characters from `start` to `end`."""
        self._made.append((start, end, text))

    def insert(self, at: int, text: str) -> None:
        """Put a text before a character."""
        self.replace(at, at, text)

    def result(self) -> str:
        """The text with all changes; spans inside a replaced span are gone with it."""
        return applied(self.text, self._made)
