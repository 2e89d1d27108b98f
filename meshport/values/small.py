"""Small deterministic automata, put together from kept ones.

What is asked while policies are compared are differences of the same few languages over and over: `A & B - C`, `A & B - D`. Each part is small
once it is deterministic and minimal, so is what parts come to together, and both are kept: the next question costs one product. Where something
is not small (`.*a.{12}` has thousands of states) nothing is said here, and the automata that are explored as far as a question needs
(`automata`) answer. Whether something is small depends on it alone, not on what was asked before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from meshport.values import charset, dfa
from meshport.values.automata import Both, Either, Is, IsNot, Node, negation
from meshport.values.dfa import Dfa
from meshport.values.problems import LanguageTooLarge

STATES = 250  # of an automaton that is kept
MOVES = 12_000  # of an automaton that is kept: its states times the classes of characters that it tells apart
WORK = 100_000  # moves looked at to make a term's automaton
WALK = 4_000  # pairs of states that a question about two automata may look at


@dataclass(frozen=True, slots=True)
class Table:
    """A complete minimal automaton; state 0 starts. Code points from `begins[i]` up to the next are of class `classes[i]`, `rows[state][class]` is the
    state that follows. `never` accepts nothing and `always` everything, where there are such states; else -1."""

    begins: tuple[int, ...]
    classes: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]
    accepting: tuple[bool, ...]
    never: int
    always: int


def empty(node: Node) -> bool | None:
    """Whether no text is in the language; None where that is not a small question."""
    if not isinstance(node, Both):
        found = table(node)
        return None if found is None else not any(found.accepting)
    first = table(_but_last(node))
    if first is None:
        return None
    if not any(first.accepting):
        return True
    last = table(node.parts[-1])
    return None if last is None else _apart(first, last)


def built(node: Node) -> Dfa | None:
    """The canonical minimal automaton of a node, as `dfa.build` has it; None where it is not small."""
    found = table(node)
    if found is None:
        return None
    pieces: list[list[tuple[int, int]]] = [[] for _ in found.rows[0]]
    ends = (*(begin - 1 for begin in found.begins[1:]), charset.LAST)
    for begin, end, number in zip(found.begins, ends, found.classes, strict=True):
        pieces[number].append((begin, end))
    rows = [[-1 if target == found.never else target for target in row] for row in found.rows]
    return dfa.canonical(rows, list(found.accepting), [tuple(ranges) for ranges in pieces])


@lru_cache(maxsize=1024)
def table(node: Node) -> Table | None:
    """The automaton of a node; None where it, or one of those that it is put together from, is not small."""
    if isinstance(node, Is):
        try:
            return _of(dfa.build(node, STATES, WORK))
        except LanguageTooLarge:
            return None
    if isinstance(node, IsNot):
        found = table(negation(node))
        if found is None:
            return None
        return Table(found.begins, found.classes, found.rows, tuple(not accepts for accepts in found.accepting), found.always, found.never)
    first = table(_but_last(node))
    last = table(node.parts[-1]) if first is not None else None
    return None if first is None or last is None else _joined(first, last, isinstance(node, Both))


def _but_last(node: Both | Either) -> Node:
    """What the last part is joined with: all others together, which other questions have in common with this one."""
    return node.parts[0] if len(node.parts) == 2 else type(node)(node.parts[:-1])


def _of(found: Dfa) -> Table | None:
    sets = sorted({chars for edges in found.edges for chars, _ in edges})
    pieces, masks = charset.minterms(sets)
    within = dict(zip(sets, masks, strict=True))
    dead = len(found.edges)
    rows = [[dead] * len(pieces) for _ in range(dead + 1)]
    for row, edges in zip(rows, found.edges, strict=False):
        for chars, target in edges:
            mask = within[chars]
            for number in range(len(pieces)):
                if mask >> number & 1:
                    row[number] = target
    stretches = sorted((low, number) for number, piece in enumerate(pieces) for low, _ in piece)
    return _minimal([low for low, _ in stretches], [number for _, number in stretches], rows, [*found.accepting, False])


def _met(one: Table, other: Table) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """The stretches of two automata together: where each begins, its class, and the class of both that each class is."""
    pairs: dict[tuple[int, int], int] = {}
    begins: list[int] = []
    classes: list[int] = []
    i = j = 0
    while True:
        begins.append(max(one.begins[i], other.begins[j]))
        pair = (one.classes[i], other.classes[j])
        classes.append(pairs.setdefault(pair, len(pairs)))
        after = one.begins[i + 1] if i + 1 < len(one.begins) else charset.LAST + 1
        then = other.begins[j + 1] if j + 1 < len(other.begins) else charset.LAST + 1
        if after == then == charset.LAST + 1:
            return begins, classes, list(pairs)
        i += after <= then
        j += then <= after


def _apart(one: Table, other: Table) -> bool | None:
    """Whether no text is in both."""
    _, _, pairs = _met(one, other)
    start = (0, 0)
    seen = {start}
    todo = [start]
    while todo:
        left, right = todo.pop()
        if one.accepting[left] and other.accepting[right]:
            return False
        mine, its = one.rows[left], other.rows[right]
        for p, q in pairs:
            at = (mine[p], its[q])
            if at not in seen and at[0] != one.never and at[1] != other.never:
                seen.add(at)
                todo.append(at)
        if len(seen) > WALK:
            return None
    return True


def _joined(one: Table, other: Table, every: bool) -> Table | None:
    """What both accept, or either."""
    begins, classes, pairs = _met(one, other)
    first, last = (one.never, other.never) if every else (one.always, other.always)
    settled = (-1, -1)  # the state that nothing leads out of
    numbers: dict[tuple[int, int], int] = {}
    order: list[tuple[int, int]] = []
    rows: list[list[int]] = []

    def number(left: int, right: int) -> int:
        at = settled if left == first or right == last else (left, right)
        found = numbers.get(at)
        if found is None:
            found = numbers[at] = len(order)
            order.append(at)
        return found

    number(0, 0)
    for left, right in order:
        if left < 0:
            rows.append([numbers[settled]] * len(pairs))
            continue
        mine, its = one.rows[left], other.rows[right]
        rows.append([number(mine[p], its[q]) for p, q in pairs])
        if len(order) > WALK:
            return None
    if every:
        accepting = [left >= 0 and one.accepting[left] and other.accepting[right] for left, right in order]
    else:
        accepting = [left < 0 or one.accepting[left] or other.accepting[right] for left, right in order]
    return _minimal(begins, classes, rows, accepting)


def _minimal(begins: Sequence[int], classes: Sequence[int], rows: list[list[int]], accepting: list[bool]) -> Table | None:
    """The smallest automaton of these moves, all of whose states are reached."""
    back: dict[int, set[int]] = {state: set() for state in range(len(rows))}
    for state, row in enumerate(rows):
        for target in set(row):
            back[target].add(state)
    block = dfa.blocks(rows, accepting, back)
    one_of = {number: state for state, number in reversed(list(enumerate(block)))}
    renumbered = {block[0]: 0}
    order = [block[0]]
    for number in order:
        for target in rows[one_of[number]]:
            if block[target] not in renumbered:
                renumbered[block[target]] = len(order)
                order.append(block[target])
    columns: dict[tuple[int, ...], int] = {}
    moves = zip(*([renumbered[block[target]] for target in rows[one_of[number]]] for number in order), strict=True)
    to_column = [columns.setdefault(column, len(columns)) for column in moves]
    if len(order) > STATES or len(order) * len(columns) > MOVES:
        return None
    final = tuple(accepting[one_of[number]] for number in order)
    made = tuple(zip(*columns, strict=True))
    stays = [state for state, row in enumerate(made) if all(target == state for target in row)]
    kept_begins: list[int] = []
    kept_classes: list[int] = []
    for begin, number in zip(begins, classes, strict=True):
        if not kept_classes or kept_classes[-1] != to_column[number]:
            kept_begins.append(begin)
            kept_classes.append(to_column[number])
    never = next((state for state in stays if not final[state]), -1)
    always = next((state for state in stays if final[state]), -1)
    return Table(tuple(kept_begins), tuple(kept_classes), made, final, never, always)
