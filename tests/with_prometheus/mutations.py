"""Expressions that are one slip of the hand away from real ones."""

from __future__ import annotations

import re
from random import Random

TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|[A-Za-z_][A-Za-z0-9_]*|[0-9][0-9a-z.]*|[=!<>~]+|\s+|.', re.S)
PIECES = (
    "(", ")", "{", "}", "[", "]", ",", ":", "5m", "1h30m", "2", "0.5", '"a"', "by", "without", "on", "ignoring", "group_left", "bool", "offset", "@", "and", "or",
    "unless", "sum", "rate", "x", "le", "=", "!=", "=~", "==", ">", "-", "+", "*", "/", "^", "%", "()", "(le)", "[5m]", "[5m:1m]", "{}", '{a="b"}', "# c\n", "inf",
    "start()", "atan2", "count_values", "topk",
)  # fmt: skip


def mutated(text: str, random: Random) -> str:
    """One to three pieces left out, doubled, swapped, put in or replaced."""
    pieces = TOKEN.findall(text)
    for _ in range(random.randint(1, 3)):
        if not pieces:
            break
        at = random.randrange(len(pieces))
        what = random.randrange(5)
        if what == 0:
            del pieces[at]
        elif what == 1:
            pieces.insert(at, pieces[at])
        elif what == 2:
            other = random.randrange(len(pieces))
            pieces[at], pieces[other] = pieces[other], pieces[at]
        elif what == 3:
            pieces.insert(at, random.choice((" ", "")) + random.choice(PIECES) + random.choice((" ", "")))
        else:
            pieces[at] = random.choice(PIECES)
    return "".join(pieces)
