"""Variables of a shell script that have one text for good: assigned once in the whole script, with a literal, on a line that is always run.

https://pubs.opengroup.org/onlinepubs/9699919799/utilities/V3_chap02.html, 2.5.3 and 2.6.2. Whatever might change one of them (a second assignment, a loop, `read`,
`unset`, a default that is assigned, a file that is sourced, `eval`) makes it what only the shell knows.
"""

from __future__ import annotations

import re

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
_QUOTED = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|(?<!\S)\#.*$""", re.DOTALL)


class Variables:
    """What is known of a script's variables as far as it has been passed by, line after line."""

    def __init__(self, text: str) -> None:
        self._script = _COMMENTS.sub("", text)
        self._known: dict[str, str] = {}
        self._fixed: dict[str, bool] = {}
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

    def _once(self, name: str) -> bool:
        """Whether the script assigns a variable in one place alone, and nothing else there could change it."""
        if name not in self._fixed:
            self._fixed[name] = self._unchanged(name)
        return self._fixed[name]

    def _unchanged(self, name: str) -> bool:
        if len(re.findall(rf"(?<![\w.\-/]){name}(?:\[[^]]*\])?\+?=", self._script)) != 1:
            return False
        other = rf"\b(?:read|unset|for|select|mapfile|readarray|getopts|let|printf[ \t]+-v)\b[^\n;|&]*\b{name}\b|\(\([^)\n]*\b{name}\b"
        return not re.search(rf"{other}|\b(?:local|declare|typeset)\b[^\n;|&]*\b{name}\b(?!=)", self._script)

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
        if value is None or not self._once(name):
            return None
        return found[4] if value == "" and (found[3] or "").startswith(":") else value
