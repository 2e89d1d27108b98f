"""Variables of a shell script that have one text for good: assigned once in the whole script, with a literal, on a line that is always run.

https://pubs.opengroup.org/onlinepubs/9699919799/utilities/V3_chap02.html, 2.5.3 and 2.6.2. Whatever might change one of them (a second assignment, a loop, `read`,
`unset`, a default that is assigned, a file that is sourced, `eval`) makes it what only the shell knows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

_ASSIGNED = re.compile(
    r"""[ \t]*(?:(?:export|readonly|(?:declare|typeset)(?:[ \t]+-[rx]+)*)[ \t]+)?(?P<name>[A-Za-z_]\w*)=
        (?P<value>'[^']*' | "[^"$`\\]*" | [^\s'"\\$`;|&()<>~][^\s'"\\$`;|&()<>]* | )
        [ \t\r]*(?:;(?!;) | && | \#.*$ | $)""",
    re.VERBOSE,
)
_NAMED = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?:(:?[-=])([^}$`'\"\\]*))?\})")
_COMMENTS = re.compile(r"(?m)^[ \t]*#.*$")
_ELSEWHERE = re.compile(r"(?:^|[;&|({]|\b(?:then|do|else))[ \t]*(?:eval|source|\.)[ \t]")
_OPENED = re.compile(r"(?:^|[;&|({]|\b(?:then|do|else))[ \t]*(?:if|case|for|while|until|select)\b|(?:^|[)\s;&|])[{(](?=\s|$)")
_CLOSED = re.compile(r"(?:^|[;&|)]|\s)(?:fi|esac|done)(?=$|[\s;&|)<>])|(?:^|[\s;])[})](?=$|[\s;&|<>])")
_ASSIGNING = re.compile(r"(?<![\w.\-/])([A-Za-z_]\w*)(?:\[[^]\n]*\])?\+?=")
_CHANGING = re.compile(r"\b(?:read|unset|for|select|mapfile|readarray|getopts|let|printf[ \t]+-v)\b|\(\(")
_LOCAL = re.compile(r"\b(?:local|declare|typeset)\b")
_QUOTED = re.compile(r"""'[^']*(?:'|$)|"(?:[^"\\]|\\.)*(?:"|$)|(?<!\S)\#.*$""", re.DOTALL)


class Variables:
    """What is known of a script's variables as far as it has been passed by, line after line."""

    def __init__(self, text: str) -> None:
        script = _COMMENTS.sub("", text)
        self._known: dict[str, str] = {}
        self._assigned = Counter(_ASSIGNING.findall(script))
        self._changed = set(_changed(script))
        self._depth = 0

    def pass_by(self, line: str) -> None:
        """Take up what a line assigns before its commands, if it is a line that is always run."""
        if _ELSEWHERE.search(line):
            self._known.clear()
        at = 0
        while self._depth == 0 and (found := _ASSIGNED.match(line, at)) is not None and found.end() > at:
            value = found["value"]
            self._known[found["name"]] = value[1:-1] if value[:1] in ("'", '"') else value
            at = found.end()
        bare = _QUOTED.sub("''", line)
        self._depth = max(0, self._depth + len(_OPENED.findall(bare)) - len(_CLOSED.findall(bare)))

    @staticmethod
    def spelled(text: str, at: int) -> str:
        """The expansion of a variable that stands in a text at this place; "" where none does."""
        found = _NAMED.match(text, at)
        return found[0] if found is not None else ""

    def text_of(self, spelled: str) -> str | None:
        """What the shell makes of `$NAME`, `${NAME}` or `${NAME:-DEFAULT}`; None where only it knows."""
        found = _NAMED.fullmatch(spelled)
        if found is None:
            return None
        name = found[1] or found[2]
        value = self._known.get(name)
        if value is None or self._assigned[name] != 1 or name in self._changed:
            return None
        return found[4] if value == "" and (found[3] or "").startswith(":") else value


def _changed(script: str) -> Iterator[str]:
    """Names that a command may set which is no assignment, or that may be another variable in a function."""
    for part in re.split(r"[\n;|&]", script):
        if (found := _CHANGING.search(part)) is not None:
            yield from re.findall(r"[A-Za-z_]\w*", part[found.end() :])
        if (found := _LOCAL.search(part)) is not None:
            yield from re.findall(r"\b([A-Za-z_]\w*)\b(?!=)", part[found.end() :])
