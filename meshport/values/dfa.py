"""The minimal deterministic automaton of a language, in a canonical form: equal languages give equal automata."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from meshport.values import charset
from meshport.values.automata import STATES, WORK, Both, Either, Is, Nfa, Node, Spending, nfa
from meshport.values.charset import Charset
from meshport.values.problems import LanguageTooLarge

SMALL = 2_000  # moves for each state of an automaton that is made small


@dataclass(frozen=True, slots=True)
class Dfa:
    """State 0 starts; `edges[s]` lists (characters, target) by target, the dead state left out. No states at all: the empty language."""

    accepting: tuple[bool, ...]
    edges: tuple[tuple[tuple[Charset, int], ...], ...]


class _Leaf:
    """One term, determinised as it is asked; the state None is dead."""

    def __init__(self, automaton: Nfa, positive: bool, spending: Spending) -> None:
        self.nfa = automaton
        self.positive = positive
        self.spending = spending
        self.within: dict[Charset, list[int]] = {}  # the classes of characters that a set consists of
        self.width = 0
        self._known: dict[Any, list[Any]] = {}
        self._kept: dict[frozenset[int], frozenset[int] | None] = {}

    def start(self) -> Any:
        return frozenset((self.nfa.start,))

    def accepting(self, state: Any) -> bool:
        return state is not None and any(self.nfa.accepting(member) for member in state) is self.positive

    def step(self, state: Any) -> list[Any]:
        row = self._known.get(state)
        if row is None:
            reached: list[set[int]] = [set() for _ in range(self.width)]
            for member in state:
                for chars, target in self.nfa.moves(member):
                    for number in self.within[chars]:
                        reached[number].add(target)
            self.spending.take(len(state) + self.width // 4 + sum(map(len, reached)))
            row = [self._after(frozenset(targets)) for targets in reached]
            self._known[state] = row
        return row

    def _after(self, targets: frozenset[int]) -> Any:
        if targets not in self._kept:
            universal = frozenset(target for target in targets if self.nfa.universal(target))
            kept = universal if self.positive else None
            self._kept[targets] = kept if universal else targets if targets or not self.positive else None
        return self._kept[targets]


class _Join:
    def __init__(self, parts: list[Any], every: bool, spending: Spending) -> None:
        self.parts = parts
        self.every = every
        self.spending = spending

    def start(self) -> Any:
        return tuple(part.start() for part in self.parts)

    def accepting(self, state: Any) -> bool:
        found = (part.accepting(at) for part, at in zip(self.parts, state, strict=True) if at is not None)
        return all(found) if self.every else any(found)

    def step(self, state: Any) -> list[Any]:
        width = _width(self)
        self.spending.take(1 + width * len(self.parts) // 8)
        rows = [[None] * width if at is None else part.step(at) for part, at in zip(self.parts, state, strict=True)]
        if self.every:
            return [None if None in column else column for column in zip(*rows, strict=True)]
        return [None if all(at is None for at in column) else column for column in zip(*rows, strict=True)]


def _width(part: Any) -> int:
    while isinstance(part, _Join):
        part = part.parts[0]
    return int(part.width)


def _machine(node: Node, leaves: list[_Leaf], spending: Spending) -> Any:
    if isinstance(node, (Both, Either)):
        return _Join([_machine(part, leaves, spending) for part in node.parts], isinstance(node, Both), spending)
    leaf = _Leaf(nfa(node.term), isinstance(node, Is), spending)
    leaves.append(leaf)
    return leaf


def build(node: Node, budget: int = STATES, work: int = WORK) -> Dfa:
    """The canonical minimal automaton of a node. Raises LanguageTooLarge past `budget` states before minimisation, or past `work` moves."""
    leaves: list[_Leaf] = []
    spending = Spending(work)
    return _built(_machine(node, leaves, spending), leaves, budget, spending)


def reduced(automaton: Nfa) -> Nfa:
    """A small automaton for the same texts. Raises LanguageTooLarge where it would not be one."""
    spending = Spending(SMALL * automaton.size)
    leaf = _Leaf(automaton, True, spending)
    found = _built(leaf, [leaf], automaton.size, spending)
    return Nfa.of(found.accepting, found.edges) if found.edges else automaton


def _built(root: Any, leaves: list[_Leaf], budget: int, spending: Spending) -> Dfa:
    sets = sorted({chars for leaf in leaves for chars in leaf.nfa.charsets()})
    pieces, masks = charset.minterms(sets)
    within = {chars: [number for number in range(len(pieces)) if mask >> number & 1] for chars, mask in zip(sets, masks, strict=True)}
    for leaf in leaves:
        leaf.within, leaf.width = within, len(pieces)
    numbers: dict[Any, int] = {root.start(): 0}
    order = [root.start()]
    rows: list[list[int]] = []
    for state in order:
        spending.take(len(pieces) // 4)
        row: list[int] = []
        for target in root.step(state):
            if target is None:
                row.append(-1)
                continue
            number = numbers.get(target)
            if number is None:
                if len(order) >= budget:
                    raise LanguageTooLarge(f"the language needs more than {budget} automaton states")
                number = numbers[target] = len(order)
                order.append(target)
            row.append(number)
        rows.append(row)
    return canonical(rows, [root.accepting(state) for state in order], pieces)


def canonical(rows: list[list[int]], accepting: list[bool], pieces: list[Charset]) -> Dfa:
    """The minimal automaton of moves by state and piece of the characters, -1 for none."""
    back = _alive(rows, accepting)
    block = blocks(rows, accepting, back)
    if block[0] < 0:
        return Dfa((), ())
    picture: dict[int, list[tuple[Charset, int]]] = {}
    final: dict[int, bool] = {}
    for state, number in enumerate(block):
        if number >= 0 and number not in picture:
            final[number] = accepting[state]
            grouped: dict[int, list[tuple[int, int]]] = {}
            for piece, target in zip(pieces, rows[state], strict=True):
                if target >= 0 and block[target] >= 0:
                    grouped.setdefault(block[target], []).extend(piece)
            picture[number] = sorted((charset.normal(ranges), target) for target, ranges in grouped.items())
    renumbered = {block[0]: 0}
    order = [block[0]]
    for number in order:
        for _, target in picture[number]:
            if target not in renumbered:
                renumbered[target] = len(order)
                order.append(target)
    edges = tuple(tuple((chars, renumbered[target]) for chars, target in picture[number]) for number in order)
    return Dfa(tuple(final[number] for number in order), edges)


def _alive(rows: list[list[int]], accepting: list[bool]) -> dict[int, set[int]]:
    """For each state from which one that accepts is reached, the states that it is a target of. Every other target becomes -1."""
    back: list[set[int]] = [set() for _ in rows]
    for state, row in enumerate(rows):
        for target in set(row):
            if target >= 0:
                back[target].add(state)
    todo = [state for state, accepts in enumerate(accepting) if accepts]
    alive = set(todo)
    while todo:
        for source in back[todo.pop()]:
            if source not in alive:
                alive.add(source)
                todo.append(source)
    for state, row in enumerate(rows):
        rows[state] = [target if target in alive else -1 for target in row]
    return {state: back[state] & alive for state in sorted(alive)}


def blocks(rows: list[list[int]], accepting: list[bool], back: dict[int, set[int]]) -> list[int]:
    """The block number of each state, -1 for dead ones: equal for states that cannot be told apart.

    Blocks are split until all states of one lead into the same blocks. The largest part keeps its number, so only the states that lead
    into a smaller part are looked at again: a long chain is taken apart in as many steps as it has states (after Hopcroft).
    """
    block = [int(accepts) if state in back else -1 for state, accepts in enumerate(accepting)]
    block.append(-1)  # of the target -1
    members: dict[int, set[int]] = {0: set(), 1: set()}
    for state in back:
        members[block[state]].add(state)
    fresh = set(back)
    while fresh:
        moved: list[tuple[int, Iterable[int]]] = []
        ordered: dict[int, list[int]] = {}
        for state in fresh:
            ordered.setdefault(block[state], []).append(state)
        for number, states in ordered.items():
            if len(members[number]) == 1:
                continue
            parts: dict[tuple[int, ...], list[int]] = {}
            for state in states:
                parts.setdefault(tuple(map(block.__getitem__, rows[state])), []).append(state)
            others = len(members[number]) - len(states)
            if others:  # they lead where they led, all alike
                one = next(state for state in members[number] if state not in fresh)
                theirs = parts.pop(tuple(map(block.__getitem__, rows[one])), [])
                if others + len(theirs) < max(map(len, parts.values()), default=0):
                    parts[()] = [*theirs, *(state for state in members[number] if state not in fresh)]
                else:
                    moved += [(number, part) for part in parts.values()]
                    continue
            largest = max(parts.values(), key=len)
            moved += [(number, part) for part in parts.values() if part is not largest]
        fresh = set()
        for number, part in moved:
            new = len(members)
            members[new] = set(part)
            members[number] -= members[new]
            for state in part:
                block[state] = new
                fresh |= back[state]
    return block[:-1]


def shortest(dfa: Dfa) -> str | None:
    """A shortest text that the automaton accepts."""
    if not dfa.accepting:
        return None
    came: dict[int, tuple[int, Charset]] = {0: (-1, charset.NO_CHARS)}
    order = [0]
    for state in order:
        if dfa.accepting[state]:
            letters: list[str] = []
            while state:
                state, chars = came[state]
                letters.append(charset.pick(chars))
            return "".join(reversed(letters))
        for chars, target in dfa.edges[state]:
            if target not in came:
                came[target] = (state, chars)
                order.append(target)
    return None
