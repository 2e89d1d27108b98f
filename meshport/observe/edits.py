"""Changes of a text by the characters that they replace, so that everything else keeps its bytes."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Edits:
    """Replacements of spans of one text. Those at one place are made in the order in which they were asked for."""

    text: str
    _made: list[tuple[int, int, int, str]] = field(default_factory=list)

    def replace(self, start: int, end: int, text: str) -> None:
        """Put a text in place of the characters from `start` to `end`."""
        self._made.append((start, end, len(self._made), text))

    def insert(self, at: int, text: str) -> None:
        """Put a text before a character."""
        self.replace(at, at, text)

    def result(self) -> str:
        """The text with all changes; spans inside a replaced span are gone with it."""
        out: list[str] = []
        at = 0
        for start, end, _, text in sorted(self._made, key=lambda item: (item[0], item[1] != item[0], -item[1], item[2])):
            if start < at:
                continue
            out += [self.text[at:start], text]
            at = end
        return "".join([*out, self.text[at:]])
