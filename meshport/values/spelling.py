"""Automata and terms written as regular expressions in the common subset of RE2 and Rust's regex."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from meshport.values import charset
from meshport.values.charset import Charset
from meshport.values.dfa import Dfa

HARD_STATES = 120  # states left, once chains are folded, beyond which no readable expression can come


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A unit that knows how long it is, roughly and in characters, and its hash: both are asked for over and over while units grow around it."""

    weight: int = field(init=False, compare=False, repr=False)
    digest: int = field(init=False, compare=False, repr=False)

    def _weigh(self, weight: int, content: object) -> None:
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "digest", hash(content))


@dataclass(frozen=True, slots=True)
class One(_Weighed):
    chars: Charset

    def __post_init__(self) -> None:
        self._weigh(1 if charset.single(self.chars) else 4, self.chars)

    def __hash__(self) -> int:
        return self.digest


@dataclass(frozen=True, slots=True)
class Many(_Weighed):
    """`body` once or not (`?`), at least once (`+`), any number of times (`*`)."""

    body: Seq
    sign: str

    def __post_init__(self) -> None:
        self._weigh(weight(self.body) + 2, (self.body, self.sign))

    def __hash__(self) -> int:
        return self.digest


@dataclass(frozen=True, slots=True)
class Or(_Weighed):
    options: tuple[Seq, ...]

    def __post_init__(self) -> None:
        self._weigh(sum(weight(option) + 1 for option in self.options) + 3, self.options)

    def __hash__(self) -> int:
        return self.digest


Unit = One | Many | Or
Seq = tuple[Unit, ...]


def many(body: Seq, sign: str) -> Seq:
    """`body` under a quantifier, quantifiers of quantifiers folded."""
    if not body:
        return ()
    if len(body) == 1 and isinstance(body[0], Many):
        inner = body[0]
        if inner.sign != sign:
            sign = "*"
        return (Many(inner.body, sign),)
    if sign != "?" and len(body) == 1 and isinstance(body[0], Or):
        plain = [option[0].body if len(option) == 1 and isinstance(option[0], Many) else option for option in body[0].options]
        if sign == "*" and plain != list(body[0].options):
            return many(options(plain), "*")
    return (Many(body, sign),)


def cat(*parts: Seq) -> Seq:
    """One after the other, `xx*` folded to `x+` and neighbours of equal body joined."""
    out: list[Unit] = []
    for unit in (unit for part in parts for unit in part):
        _append(out, unit)
    return tuple(out)


def _append(out: list[Unit], unit: Unit) -> None:
    if isinstance(unit, Many):
        if out and isinstance(last := out[-1], Many) and last.body == unit.body:
            signs = last.sign + unit.sign
            joined = {"**": "*", "*+": "+", "+*": "+", "*?": "*", "?*": "*", "?+": "+", "+?": "+"}.get(signs)
            if joined is not None:
                out[-1] = Many(unit.body, joined)
                return
        size = len(unit.body)
        if unit.sign == "*" and tuple(out[-size:]) == unit.body:
            del out[-size:]
            _append(out, Many(unit.body, "+"))
            return
    elif out and isinstance(last := out[-1], Many) and last.sign == "*" and last.body == (unit,):
        out[-1] = Many(last.body, "+")
        return
    out.append(unit)


def options(choices: list[Seq]) -> Seq:
    """One of; single characters are united, common heads and tails taken out, the empty choice becomes `?`."""
    flat: dict[Seq, None] = {}
    for choice in choices:
        for option in choice[0].options if len(choice) == 1 and isinstance(choice[0], Or) else (choice,):
            flat[option] = None
    empty = () in flat
    flat.pop((), None)
    chars = charset.NO_CHARS
    rest: list[Seq] = []
    for option in flat:
        if len(option) == 1 and isinstance(option[0], One):
            chars = charset.union(chars, option[0].chars)
        else:
            rest.append(option)
    if chars:
        rest.insert(0, (One(chars),))
    if not rest:
        return ()
    merged = rest[0] if len(rest) == 1 else _factored(rest)
    return many(merged, "?") if empty else merged


def _factored(choices: list[Seq]) -> Seq:
    for head in (True, False):
        groups: dict[Unit, list[Seq]] = {}
        for choice in choices:
            groups.setdefault(choice[0 if head else -1], []).append(choice)
        if len(groups) == len(choices):
            continue
        merged: list[Seq] = []
        for unit, members in groups.items():
            if len(members) == 1:
                merged.append(members[0])
            elif head:
                merged.append(cat((unit,), options([member[1:] for member in members])))
            else:
                merged.append(cat(options([member[:-1] for member in members]), (unit,)))
        return merged[0] if len(merged) == 1 else options(merged)
    return (Or(tuple(choices)),)


def parted(seq: Seq) -> list[Seq]:
    """Expressions that together say the same, taken apart at the first choice; the expression alone where it has none."""
    for place, unit in enumerate(seq):
        if isinstance(unit, Or) and unit.options:
            choices = unit.options
        elif isinstance(unit, Many) and unit.sign == "?":
            choices = ((), unit.body)
        else:
            continue
        return [cat(seq[:place], choice, seq[place + 1 :]) for choice in choices]
    return [seq]


def weight(seq: Seq) -> int:
    """A rough length in characters."""
    return sum([unit.weight for unit in seq])


@lru_cache(maxsize=512)
def solve(dfa: Dfa, limit: int) -> Seq | None:
    """The automaton as an expression, by eliminating its states, the cheapest first; None where it would grow far beyond `limit`
    characters."""
    start, end = -1, -2
    out: dict[int, dict[int, Seq]] = {start: {0: ()}, end: {}}
    into: dict[int, set[int]] = {end: set(), 0: {start}, start: set()}
    for state, edges in enumerate(dfa.edges):
        out[state] = {target: (One(chars),) for chars, target in edges}
        into.setdefault(state, set())
        for _, target in edges:
            into.setdefault(target, set()).add(state)
        if dfa.accepting[state]:
            out[state][end] = ()
            into[end].add(state)
    left = set(range(len(dfa.edges)))
    easy = sorted((state for state in left if _easy(state, out, into)), reverse=True)
    while left:
        state = easy.pop() if easy else -3
        if state == -3:
            if len(left) > HARD_STATES:
                return None
            state = min(left, key=lambda s: (_cost(s, out, into), -s))
        elif state not in left or not _easy(state, out, into):
            continue
        left.discard(state)
        if not _eliminate(state, out, into, 4 * limit + 200):
            return None
    return out[start].get(end, (Or(()),))


def _easy(state: int, out: dict[int, dict[int, Seq]], into: dict[int, set[int]]) -> bool:
    return len(out[state]) == 1 and len(into[state]) == 1 and state not in out[state]


def _cost(state: int, out: dict[int, dict[int, Seq]], into: dict[int, set[int]]) -> int:
    sources = [source for source in into[state] if source != state]
    targets = [target for target in out[state] if target != state]
    loop = weight(out[state][state]) if state in out[state] else 0
    total = sum(weight(out[source][state]) for source in sources) * (len(targets) - 1)
    total += sum(weight(out[state][target]) for target in targets) * (len(sources) - 1)
    return total + loop * (len(sources) * len(targets) - 1)


def _eliminate(state: int, out: dict[int, dict[int, Seq]], into: dict[int, set[int]], most: int) -> bool:
    leaving = out.pop(state)
    loop = many(leaving.pop(state), "*") if state in leaving else ()
    sources = sorted(source for source in into.pop(state) if source != state)
    for target in leaving:
        into[target].discard(state)
    for source in sources:
        arriving = out[source].pop(state)
        for target, step in leaving.items():
            path = cat(arriving, loop, step)
            old = out[source].get(target)
            new = path if old is None else options([old, path])
            if weight(new) > most:
                return False
            out[source][target] = new
            into[target].add(source)
    return True


_SPECIAL = frozenset("\\.+*?()|[]{}^$")
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escaped(text: str) -> str:
    """A literal, its metacharacters escaped."""
    return "".join(_char(char, _SPECIAL) for char in text)


def _char(char: str, special: frozenset[str]) -> str:
    if char in special:
        return "\\" + char
    if char in _NAMED:
        return _NAMED[char]
    point = ord(char)
    if point < 0x20 or point == 0x7F or (point > 0x7E and not char.isprintable()):
        return f"\\x{{{point:X}}}"
    return char


_IN_CLASS = frozenset("\\]^[-&~")


def _class(chars: Charset) -> str:
    out: list[str] = []
    for low, high in chars:
        out.append(_char(chr(low), _IN_CLASS))
        if high > low:
            out.append(("-" if high > low + 1 else "") + _char(chr(high), _IN_CLASS))
    return "".join(out)


@lru_cache(maxsize=4096)
def _chars(world: Charset, chars: Charset) -> str:
    only = charset.single(chars)
    if only is not None:
        return escaped(only)
    missing = charset.difference(world, chars)
    if not missing:
        return "(?s:.)" if world == charset.ALL else "."
    if missing == ((10, 10),):
        return "."
    if not chars:
        return "[^\\x00-\\x{10FFFF}]"
    plain, negated = f"[{_class(chars)}]", f"[^{_class(missing)}]"
    return negated if len(negated) < len(plain) else plain


class Writer:
    """Writes terms; `world` are the characters that texts consist of, so that a set may be written `.` or negated. No world: every
    character counts."""

    def __init__(self, world: Charset = charset.ALL) -> None:
        self.world = world

    def chars(self, chars: Charset) -> str:
        return _chars(self.world, chars)

    def seq(self, seq: Seq) -> str:
        return "".join(self.unit(unit) for unit in seq)

    def unit(self, unit: Unit) -> str:
        if isinstance(unit, One):
            return self.chars(unit.chars)
        if isinstance(unit, Or):
            if not unit.options:
                return self.chars(charset.NO_CHARS)
            return f"(?:{'|'.join(self.seq(option) for option in unit.options)})"
        body = unit.body
        text = self.seq(body)
        if len(body) > 1 or isinstance(body[0], Many):
            text = f"(?:{text})"
        return text + unit.sign

    def top(self, seq: Seq) -> str:
        """The whole expression; an outer choice needs no parentheses of its own."""
        if len(seq) == 1 and isinstance(seq[0], Or) and seq[0].options:
            return "|".join(self.seq(option) for option in seq[0].options)
        return self.seq(seq)
