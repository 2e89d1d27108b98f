"""What the value parsers raise: one line, and the column where the trouble starts."""

from __future__ import annotations

from meshport.errors import MeshportError


class ValueProblem(MeshportError, ValueError):
    """A value that its grammar refuses. `message` is one line; `column` counts from 1 and is None where no single place is to blame."""

    def __init__(self, message: str, column: int | None = None) -> None:
        self.message = message
        self.column = column
        super().__init__(message if column is None else f"{message} (column {column})")


class UnsupportedRegex(ValueProblem):
    """A regular expression that is invalid in its flavour or says what no automaton here can; `construct` names the part, e.g. `(?=`. `taken` says that
    its engine takes it, or may."""

    def __init__(self, construct: str, why: str, column: int | None = None, *, taken: bool = False) -> None:
        self.construct = construct
        self.taken = taken
        super().__init__(f"regular expression uses {construct}: {why}", column)


class LanguageTooLarge(ValueProblem):
    """A question about languages that would need more automaton states than the budget allows. The caller refuses the value."""
