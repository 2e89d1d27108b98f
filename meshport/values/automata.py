"""Boolean combinations of regular terms as automata that are built only as far as a question needs.

Negation is pushed down to single terms. Overlap and emptiness then walk products of *nondeterministic* automata, so `.*a.{12}` against
`.*b.{12}` stays small; only a negated term is determinised, lazily, and a state whose negated sets include those of a state already seen
is skipped (antichain): it can accept no more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from meshport.values import charset
from meshport.values.charset import Charset
from meshport.values.problems import LanguageTooLarge
from meshport.values.terms import ANY_TEXT, NOTHING, Alt, Cat, Chars, Hashed, Rep, Term, Text, any_of, hashed_once

STATES = 20_000  # the budget of every walk
WORK = 3_000_000  # moves that one question may look at: few states can have very many, and each of a product is as wide as its parts
KEPT = 200_000  # members of state sets that an automaton remembers for the next question
CLOSURES = 400_000  # moves of all states of one automaton together
LARGE = 150  # states from which on an automaton is made small before it is asked


class Spending:
    """What a question has left of its budget. The same question always costs the same, whatever was asked before."""

    __slots__ = ("left",)

    def __init__(self, work: int = WORK) -> None:
        self.left = work

    def take(self, work: int) -> None:
        """Raises LanguageTooLarge where nothing is left."""
        self.left -= work
        if self.left < 0:
            raise LanguageTooLarge("the question about these patterns takes too many steps")


@hashed_once
@dataclass(frozen=True, slots=True)
class Is(Hashed):
    term: Term


@hashed_once
@dataclass(frozen=True, slots=True)
class IsNot(Hashed):
    term: Term


@hashed_once
@dataclass(frozen=True, slots=True)
class Both(Hashed):
    parts: tuple[Node, ...]


@hashed_once
@dataclass(frozen=True, slots=True)
class Either(Hashed):
    parts: tuple[Node, ...]


Node = Is | IsNot | Both | Either
NONE = Is(NOTHING)
ANY = Is(ANY_TEXT)


def either(*nodes: Node) -> Node:
    """The union; positive terms are merged into one."""
    terms: list[Term] = []
    rest: dict[Node, None] = {}
    for node in nodes:
        for part in node.parts if isinstance(node, Either) else (node,):
            if isinstance(part, Is):
                terms.append(part.term)
            else:
                rest[part] = None
    term = any_of(terms)
    if term == ANY_TEXT:
        return ANY
    if not rest:
        return Is(term)
    parts: tuple[Node, ...] = tuple(rest) if term == NOTHING else (Is(term), *rest)
    return parts[0] if len(parts) == 1 else Either(parts)


def both(*nodes: Node) -> Node:
    """The intersection; negated terms are merged into one."""
    negated: list[Term] = []
    rest: dict[Node, None] = {}
    for node in nodes:
        for part in node.parts if isinstance(node, Both) else (node,):
            if part == NONE:
                return NONE
            if isinstance(part, IsNot):
                negated.append(part.term)
            elif part != ANY:
                rest[part] = None
    parts: list[Node] = list(rest)
    if negated:
        term = any_of(negated)
        if term == ANY_TEXT or Is(term) in rest:
            return NONE
        if term != NOTHING:
            parts.append(IsNot(term))
    if not parts:
        return ANY
    return parts[0] if len(parts) == 1 else Both(tuple(parts))


def negation(node: Node) -> Node:
    if node == ANY:
        return NONE
    if node == NONE:
        return ANY
    if isinstance(node, Is):
        return IsNot(node.term)
    if isinstance(node, IsNot):
        return Is(node.term)
    if isinstance(node, Both):
        return either(*(negation(part) for part in node.parts))
    return both(*(negation(part) for part in node.parts))


def leaves(node: Node) -> int:
    """How many terms a node is put together from."""
    return 1 if isinstance(node, Is | IsNot) else sum(map(leaves, node.parts))


class Nfa:
    """Thompson's automaton of a term, its ε-closures taken on demand. State 0 accepts."""

    __slots__ = ("_closed", "_edges", "_jumps", "_weight", "splits", "start")

    def __init__(self, term: Term) -> None:
        self._edges: list[tuple[Charset, int] | None] = [None]
        self._jumps: list[tuple[int, ...]] = [()]
        self._closed: dict[int, tuple[tuple[tuple[Charset, int], ...], bool]] = {}
        self._weight = 0
        self.splits: dict[frozenset[int], tuple[int, list[tuple[Charset, Any]]]] = {}
        self.start = self._build(term, 0)
        if len(self._edges) > CLOSURES**0.5:  # fewer states cannot have so many
            left = Spending(CLOSURES)
            for state in range(len(self._edges)):
                left.take(len(self.moves(state)))

    def _state(self, edge: tuple[Charset, int] | None, jumps: tuple[int, ...]) -> int:
        if len(self._edges) >= STATES:
            raise LanguageTooLarge(f"the expression needs more than {STATES} automaton states")
        self._edges.append(edge)
        self._jumps.append(jumps)
        return len(self._edges) - 1

    def _build(self, term: Term, after: int) -> int:
        if isinstance(term, Text):
            for char in reversed(term.text):
                after = self._state((((ord(char), ord(char)),), after), ())
            return after
        if isinstance(term, Chars):
            return self._state((term.of, after), ())
        if isinstance(term, Cat):
            for part in reversed(term.parts):
                after = self._build(part, after)
            return after
        if isinstance(term, Alt):
            return self._state(None, tuple(self._build(part, after) for part in term.parts))
        return self._repeat(term, after)

    def _repeat(self, term: Rep, after: int) -> int:
        if term.most is None:
            loop = self._state(None, ())
            self._jumps[loop] = (self._build(term.body, loop), after)
            last = loop
        else:
            last = after
            for _ in range(term.most - term.least):
                last = self._state(None, (self._build(term.body, last), after))
        for _ in range(term.least):
            before = last
            last = self._build(term.body, last)
            if last == before:  # the empty text
                break
        return last

    def _close(self, state: int) -> tuple[tuple[tuple[Charset, int], ...], bool]:
        found = self._closed.get(state)
        if found is None:
            moves: dict[tuple[Charset, int], None] = {}
            accepts = False
            todo, seen = [state], {state}
            while todo:
                at = todo.pop()
                accepts = accepts or at == 0
                edge = self._edges[at]
                if edge is not None:
                    moves[edge] = None
                for jump in reversed(self._jumps[at]):
                    if jump not in seen:
                        seen.add(jump)
                        todo.append(jump)
            found = self._closed[state] = (tuple(moves), accepts)
        return found

    def moves(self, state: int) -> tuple[tuple[Charset, int], ...]:
        return self._close(state)[0]

    def accepting(self, state: int) -> bool:
        return self._close(state)[1]

    def universal(self, state: int) -> bool:
        """Whether every text is accepted from here (recognised where it is plain to see)."""
        moves, accepts = self._close(state)
        return accepts and moves == ((charset.ALL, state),)

    def remember(self, state: frozenset[int], cost: int, moves: list[tuple[Charset, Any]]) -> None:
        """Keeps the moves of a set of states: an automaton outlives the question, so not of any number."""
        self._weight += cost
        if self._weight > KEPT:
            self.splits.clear()
            self._weight = cost
        self.splits[state] = (cost, moves)

    def charsets(self) -> set[Charset]:
        return {edge[0] for edge in self._edges if edge is not None}

    @property
    def size(self) -> int:
        return len(self._edges)

    @staticmethod
    def of(accepting: Sequence[bool], edges: Sequence[tuple[tuple[Charset, int], ...]]) -> Nfa:
        """The automaton of known states and moves, of which state 0 starts."""
        found = Nfa(Text(""))
        found.start = 0
        found._edges = [edge for moves in edges for edge in moves]
        found._closed = dict(enumerate(zip(edges, accepting, strict=True)))
        return found


@lru_cache(maxsize=2048)
def nfa(term: Term) -> Nfa:
    """The automaton of a term. One of a long term is made small once: what is asked of it afterwards are many products with others."""
    found = Nfa(term)
    if found.size <= LARGE:
        return found
    from meshport.values.dfa import reduced  # which is built on this

    try:
        return reduced(found)
    except LanguageTooLarge:
        return found


Key = tuple[Any, tuple[frozenset[int], ...]]


class Machine(Protocol):
    """A nondeterministic automaton that is explored rather than built. States are hashable."""

    def starts(self) -> list[Any]: ...
    def moves(self, state: Any) -> list[tuple[Charset, Any]]: ...
    def accepting(self, state: Any) -> bool: ...
    def key(self, state: Any) -> Key: ...


class _Term:
    def __init__(self, term: Term, spending: Spending) -> None:
        self.nfa = nfa(term)
        self.spending = spending

    def starts(self) -> list[Any]:
        return [self.nfa.start]

    def moves(self, state: Any) -> list[tuple[Charset, Any]]:
        moves = self.nfa.moves(state)
        self.spending.take(len(moves))
        return list(moves)

    def accepting(self, state: Any) -> bool:
        return self.nfa.accepting(state)

    def key(self, state: Any) -> Key:
        return state, ()


class _NotTerm:
    def __init__(self, term: Term, spending: Spending) -> None:
        self.nfa = nfa(term)
        self.spending = spending

    def starts(self) -> list[Any]:
        return [frozenset((self.nfa.start,))]

    def moves(self, state: Any) -> list[tuple[Charset, Any]]:
        known = self.nfa.splits.get(state)
        if known is not None:
            self.spending.take(known[0])
            return known[1]
        before = self.spending.left
        found = self._split(state)
        self.nfa.remember(state, before - self.spending.left, found)
        return found

    def _split(self, state: frozenset[int]) -> list[tuple[Charset, Any]]:
        edges = [edge for member in state for edge in self.nfa.moves(member)]
        self.spending.take(len(state) + len(edges))
        if not edges:
            return [(charset.ALL, frozenset())]
        targets: dict[Charset, set[int]] = {}
        for chars, target in edges:
            targets.setdefault(chars, set()).add(target)
        sets = list(targets)
        pieces, masks = charset.minterms(sets)
        self.spending.take(len(pieces) * len(sets) // 4)
        out: dict[frozenset[int], list[tuple[int, int]]] = {}
        for number, piece in enumerate(pieces):
            reached = frozenset(t for chars, mask in zip(sets, masks, strict=True) if mask >> number & 1 for t in targets[chars])
            self.spending.take(len(reached))
            if not any(self.nfa.universal(t) for t in reached):
                out.setdefault(reached, []).extend(piece)
        return [(charset.normal(ranges), reached) for reached, ranges in out.items()]

    def accepting(self, state: Any) -> bool:
        return not any(self.nfa.accepting(member) for member in state)

    def key(self, state: Any) -> Key:
        return None, (state,)


class _Both:
    def __init__(self, parts: list[Machine], spending: Spending) -> None:
        self.parts = parts
        self.spending = spending

    def starts(self) -> list[Any]:
        out: list[Any] = [()]
        for width, part in enumerate(self.parts):
            begin = part.starts()
            self.spending.take(len(out) * len(begin) * (1 + width // 16))
            out = [(*state, start) for state in out for start in begin]
        return out

    def moves(self, state: Any) -> list[tuple[Charset, Any]]:
        out: list[tuple[Charset, Any]] = [(charset.ALL, ())]
        for width, (part, at) in enumerate(zip(self.parts, state, strict=True)):
            step = part.moves(at)
            self.spending.take(len(out) * len(step) * (1 + width // 16))
            out = [(met, (*left, right)) for chars, left in out for more, right in step if (met := charset.intersection(chars, more))]
        return out

    def accepting(self, state: Any) -> bool:
        return all(part.accepting(at) for part, at in zip(self.parts, state, strict=True))

    def key(self, state: Any) -> Key:
        keys = [part.key(at) for part, at in zip(self.parts, state, strict=True)]
        return tuple(hard for hard, _ in keys), tuple(soft for _, softs in keys for soft in softs)


class _Either:
    def __init__(self, parts: list[Machine]) -> None:
        self.parts = parts

    def starts(self) -> list[Any]:
        return [(number, start) for number, part in enumerate(self.parts) for start in part.starts()]

    def moves(self, state: Any) -> list[tuple[Charset, Any]]:
        number, at = state
        return [(chars, (number, to)) for chars, to in self.parts[number].moves(at)]

    def accepting(self, state: Any) -> bool:
        number, at = state
        return bool(self.parts[number].accepting(at))

    def key(self, state: Any) -> Key:
        hard, soft = self.parts[state[0]].key(state[1])
        return (state[0], hard), soft


def machine(node: Node, spending: Spending) -> Machine:
    """The automaton of a node, ready to be explored."""
    if isinstance(node, Is):
        return _Term(node.term, spending)
    if isinstance(node, IsNot):
        return _NotTerm(node.term, spending)
    parts = [machine(part, spending) for part in node.parts]
    return _Both(parts, spending) if isinstance(node, Both) else _Either(parts)


def shortest(node: Node, budget: int = STATES, work: int = WORK) -> str | None:
    """A shortest text in the language, None where there is none. Raises LanguageTooLarge past `budget` states, or past `work` moves looked at."""
    spending = Spending(work)
    explored = machine(node, spending)
    seen: dict[Any, list[tuple[frozenset[int], ...]]] = {}
    queue: deque[tuple[Any, int]] = deque()
    trail: list[tuple[int, Charset]] = []

    def add(state: Any, parent: int, chars: Charset) -> None:
        hard, soft = explored.key(state)
        known = seen.setdefault(hard, [])
        spending.take(1 + len(known))
        for old in known:
            if all(a <= b for a, b in zip(old, soft, strict=True)):
                return
        if len(trail) >= budget:
            raise LanguageTooLarge(f"the question needs more than {budget} automaton states")
        known.append(soft)
        trail.append((parent, chars))
        queue.append((state, len(trail) - 1))

    for start in explored.starts():
        add(start, -1, charset.NO_CHARS)
    while queue:
        state, number = queue.popleft()
        if explored.accepting(state):
            letters: list[str] = []
            while number >= 0:
                parent, chars = trail[number]
                if chars:
                    letters.append(charset.pick(chars))
                number = parent
            return "".join(reversed(letters))
        for chars, target in explored.moves(state):
            add(target, number, chars)
    return None


def accepts(node: Node, text: str) -> bool:
    """Whether the text is in the language: each term is run on its own."""
    if isinstance(node, Is):
        return _run(nfa(node.term), text)
    if isinstance(node, IsNot):
        return not _run(nfa(node.term), text)
    if isinstance(node, Both):
        return all(accepts(part, text) for part in node.parts)
    return any(accepts(part, text) for part in node.parts)


def _run(automaton: Nfa, text: str) -> bool:
    states = {automaton.start}
    for char in text:
        point = ord(char)
        states = {target for state in states for chars, target in automaton.moves(state) if charset.contains(chars, point)}
        if not states:
            return False
    return any(automaton.accepting(state) for state in states)
