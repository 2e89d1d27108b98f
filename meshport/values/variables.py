"""Variables of a shell script that have one text (or list) for good: assigned once in the whole script, with a literal, on a line that is always run; and those of a loop over words.

https://pubs.opengroup.org/onlinepubs/9699919799/utilities/V3_chap02.html, 2.5.3 and 2.6.2. Whatever might change one of them (a second assignment, a loop, `read`,
`unset`, a default that is assigned, a file that is sourced, `eval`) makes it what only the shell knows.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from math import prod

_ASSIGNED = re.compile(
    r"""[ \t]*(?:(?:export|readonly|(?:declare|typeset)(?:[ \t]+-[rx]+)*)[ \t]+)?(?P<name>[A-Za-z_]\w*)=
        (?P<value>'[^']*' | "[^"$`\\]*" | [^\s'"\\$`;|&()<>~][^\s'"\\$`;|&()<>]* | )
        [ \t\r]*(?:;(?!;) | && | \#.*$ | $)""",
    re.VERBOSE,
)
_NAMED = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?:(:?[-=])([^}$`'\"\\]*))?\})")
_LIST = re.compile(r"(?m)^[ \t]*(?:(?:export|readonly|declare|typeset)[ \t]+(?:-[a-z]+[ \t]+)*)?([A-Za-z_]\w*)=\(([^()$`]*)\)")
_EVERY = re.compile(r"\"?\$\{([A-Za-z_]\w*)\[[@*]\]\}\"?")
_USED = re.compile(r"\$\{?([A-Za-z_]\w*)")
_LOOP = re.compile(r"(?:^|[\s;&|({])(for|select|while|until|done)(?=$|[\s;&|)<>])")
_PATTERN = re.compile(r"[*?\[{~]")
_COMMENTS = re.compile(r"(?m)^[ \t]*#.*$")
_ELSEWHERE = re.compile(r"(?:^|[;&|({]|\b(?:then|do|else))[ \t]*(?:eval|source|\.)[ \t]")
_OPENED = re.compile(r"(?:^|[;&|({]|\b(?:then|do|else))[ \t]*(?:if|case|for|while|until|select)\b|(?:^|[)\s;&|])[{(](?=\s|$)")
_CLOSED = re.compile(r"(?:^|[;&|)]|\s)(?:fi|esac|done)(?=$|[\s;&|)<>])|(?:^|[\s;])[})](?=$|[\s;&|<>])")
_ASSIGNING = re.compile(r"(?<![\w.\-/])([A-Za-z_]\w*)(?:\[[^]\n]*\])?\+?=")
_SET_ANEW = re.compile(r"(?m)(?:^|[;&|({!]|\b(?:then|do|else|export|local|readonly|declare|typeset)\b)[ \t]*([A-Za-z_]\w*)\+?=")
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
        self._set_anew = set(_SET_ANEW.findall(script))
        self._written = {found[1]: found[2] for found in _LIST.finditer(script)}
        self._lists: dict[str, list[str]] = {}
        self._loops: list[tuple[str, list[str]]] = []  # those around the present command; no words where only the shell knows them
        self._bound: Mapping[str, str] = {}

    def pass_by(self, line: str) -> None:
        """Take up what a line assigns before its commands, if it is a line that is always run."""
        if _ELSEWHERE.search(line):
            self._known.clear()
            self._lists.clear()
        at = 0
        while self._depth == 0 and (found := _ASSIGNED.match(line, at)) is not None and found.end() > at:
            value = found["value"]
            self._known[found["name"]] = value[1:-1] if value[:1] in ("'", '"') else value
            at = found.end()
        if self._depth == 0 and (begun := _ASSIGNING.match(line.lstrip())) is not None and begun[1] in self._written:
            try:
                self._lists[begun[1]] = shlex.split(self._written[begun[1]], comments=True)
            except ValueError:  # a quote that is not closed
                self._lists.pop(begun[1], None)
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
        if name in self._bound:
            return self._bound[name]
        value = self._known.get(name)
        if value is None or self._assigned[name] != 1 or name in self._changed:
            return None
        return found[4] if value == "" and (found[3] or "").startswith(":") else value

    def list_of(self, spelled: str) -> list[str] | None:
        """The words that `"${NAME[@]}"` stands for; None where it is something else, or only the shell knows them."""
        found = _EVERY.fullmatch(spelled)
        known = found is not None and self._assigned[found[1]] == 1 and found[1] not in self._changed
        return self._lists.get(found[1]) if found is not None and known else None

    # -- loops

    def enter(self, first: str, words: Sequence[str | None]) -> None:
        """A command that begins a loop or ends one, by its first word. `words` are all of them, None for one that only the shell knows."""
        if first == "done":
            self._loops = self._loops[:-1]
        elif first in ("while", "until"):
            self._loops.append(("", []))
        elif first in ("for", "select"):
            texts = [word for word in words[3:] if word is not None and not _PATTERN.search(word)]
            known = first == "for" and list(words[2:3]) == ["in"] and len(texts) == len(words) - 3
            self._loops.append((words[1] or "" if len(words) > 1 else "", texts if known else []))

    def enter_unread(self, line: str) -> None:
        """A line that nobody could read, with the loops that it seems to begin and to end."""
        for found in _LOOP.finditer(_QUOTED.sub("''", line)):
            if found[1] == "done":
                self._loops = self._loops[:-1]
            else:
                self._loops.append(("", []))

    def turns(self, text: str, most: int) -> list[dict[str, str]]:
        """What the variables of the loops around a command with this text are in each turn; one empty turn where it has none, or there are too many."""
        used = set(_USED.findall(text))
        loops = dict(self._loops)
        asked = {name: words for name, words in loops.items() if name in used and name not in self._set_anew}
        if not all(asked.values()) or prod(map(len, asked.values())) > most:
            return [{}]
        return [dict(zip(asked, turn, strict=True)) for turn in product(*asked.values())]

    @contextmanager
    def turn(self, bound: Mapping[str, str]) -> Iterator[None]:
        """Variables of loops as they are in one turn."""
        self._bound = bound
        yield
        self._bound = {}


def _changed(script: str) -> Iterator[str]:
    """Names that a command may set which is no assignment, or that may be another variable in a function."""
    for part in re.split(r"[\n;|&]", script):
        for changing in _CHANGING.finditer(part):
            names = re.findall(r"[A-Za-z_]\w*", part[changing.end() :])
            yield from names[:1] if changing[0] in ("for", "select") else names
        if (found := _LOCAL.search(part)) is not None:
            yield from re.findall(r"\b([A-Za-z_]\w*)\b(?!=)", part[found.end() :])
