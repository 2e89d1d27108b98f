"""The errors that meshport raises.

MeshportError
├── UsageError      a call that cannot be carried out as it stands (exit code 2)
└── InputError      text that cannot be read: has .file, .line, .column (exit code 2)
"""

from __future__ import annotations


class MeshportError(Exception):
    """Base of everything that meshport raises on purpose. Its text is one line that a person can act on."""


class UsageError(MeshportError):
    """The call is wrong: an unknown mesh, an unusable output folder, an ambiguous source."""


class InputError(MeshportError):
    """Text that cannot be read. `line` and `column` count from 1 and are None where no place is known."""

    def __init__(self, message: str, *, file: str | None = None, line: int | None = None, column: int | None = None) -> None:
        self.reason = message
        self.file = file
        self.line = line
        self.column = column
        place = ":".join(str(part) for part in (file or "<text>", line, column) if part is not None)
        super().__init__(f"{place}: {message}")
