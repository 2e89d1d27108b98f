"""Where the nodes of a small call graph stand: callers to the left of whom they call, with few crossings.

The usual way (Sugiyama, Tagawa, Toda 1981): set aside what closes a circle, layer by the longest way, give long edges a place to pass in each layer between, order
each layer by the middle of its neighbours, then move the nodes of a layer towards these without letting them overlap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

SWEEPS = 12
PASSING = 16.0
"""Height in pixels that an edge takes where it passes a layer."""
GAP = 18.0


@dataclass(frozen=True, slots=True)
class Layout:
    """`layer` and `top` by node; `way` has for each pair that leads to the right the layers and heights at which it passes those between."""

    layer: dict[str, int]
    top: dict[str, float]
    way: dict[tuple[str, str], list[tuple[int, float]]]

    @property
    def layers(self) -> int:
        return max(self.layer.values(), default=-1) + 1


def layered(pairs: set[tuple[str, str]], heights: Mapping[str, float]) -> Layout:
    """The layout of the nodes that occur in pairs of a caller and whom it calls. The same for the same input."""
    nodes = sorted({node for pair in pairs for node in pair})
    forward = _acyclic(nodes, pairs)
    layer = _by_longest_way(nodes, forward)
    steps: dict[tuple[str, str], list[str]] = {}
    size = dict(heights)
    for low, high in sorted(forward):
        through = [f"{low}\0{high}\0{number}" for number in range(layer[low] + 1, layer[high])]
        for number, one in enumerate(through, layer[low] + 1):
            layer[one], size[one] = number, PASSING
        steps[low, high] = [low, *through, high]
    top = _placed(_ordered(layer, steps), steps, size)
    way = {pair: [(layer[one], top[one] + PASSING / 2) for one in step[1:-1]] for pair, step in steps.items()}
    return Layout({node: layer[node] for node in nodes}, {node: top[node] for node in nodes}, way)


def _acyclic(nodes: list[str], pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The pairs without those that would close a circle; these lead back to the left."""
    following: dict[str, list[str]] = {node: [] for node in nodes}
    called = dict.fromkeys(nodes, 0)
    for low, high in sorted(pairs):
        following[low].append(high)
        called[high] += 1
    forward = set()
    state: dict[str, int] = {}
    for first in sorted(nodes, key=lambda node: (called[node], node)):  # from those that nobody calls
        if first in state:
            continue
        state[first] = 1
        stack = [(first, iter(following[first]))]
        while stack:
            node, rest = stack[-1]
            target = next(rest, None)
            if target is None:
                state[node] = 2
                stack.pop()
            elif state.get(target) != 1:
                forward.add((node, target))
                if target not in state:
                    state[target] = 1
                    stack.append((target, iter(following[target])))
    return forward


def _by_longest_way(nodes: list[str], forward: set[tuple[str, str]]) -> dict[str, int]:
    before: dict[str, int] = dict.fromkeys(nodes, 0)
    following: dict[str, list[str]] = {node: [] for node in nodes}
    for low, high in sorted(forward):
        before[high] += 1
        following[low].append(high)
    layer = dict.fromkeys(nodes, 0)
    ready = [node for node in nodes if not before[node]]
    while ready:
        node = ready.pop()
        for target in following[node]:
            layer[target] = max(layer[target], layer[node] + 1)
            before[target] -= 1
            if not before[target]:
                ready.append(target)
    return layer


def _ordered(layer: dict[str, int], steps: dict[tuple[str, str], list[str]]) -> list[list[str]]:
    """The nodes of each layer from above; of the orders that the sweeps come by, the one with the fewest crossings."""
    columns: list[list[str]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for node in sorted(layer):
        columns[layer[node]].append(node)
    left, right = _neighbours(steps)
    best = [list(column) for column in columns]
    fewest = _crossings(best, right)
    for sweep in range(SWEEPS):
        near = left if sweep % 2 == 0 else right
        order = range(1, len(columns)) if sweep % 2 == 0 else range(len(columns) - 2, -1, -1)
        for number in order:
            other = columns[number - 1 if sweep % 2 == 0 else number + 1]
            at = {node: place for place, node in enumerate(other)}
            here = {node: place for place, node in enumerate(columns[number])}
            middle = {node: _middle([at[one] for one in near.get(node, ())], here[node]) for node in here}
            columns[number].sort(key=lambda node: (middle[node], node))
        crossings = _crossings(columns, right)
        if crossings < fewest:
            best, fewest = [list(column) for column in columns], crossings
    return best


def _neighbours(steps: dict[tuple[str, str], list[str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    left: dict[str, list[str]] = {}
    right: dict[str, list[str]] = {}
    for step in steps.values():
        for low, high in pairwise(step):
            right.setdefault(low, []).append(high)
            left.setdefault(high, []).append(low)
    return left, right


def _middle(places: list[int], own: int) -> float:
    return sum(places) / len(places) if places else float(own)


def _crossings(columns: list[list[str]], right: dict[str, list[str]]) -> int:
    count = 0
    for low, high in pairwise(columns):
        at = {node: place for place, node in enumerate(high)}
        ends = [at[target] for node in low for target in sorted(right.get(node, ()), key=at.__getitem__)]
        count += sum(ends[one] > end for other, end in enumerate(ends) for one in range(other))
    return count


def _placed(columns: list[list[str]], steps: dict[tuple[str, str], list[str]], size: Mapping[str, float]) -> dict[str, float]:
    """The upper edge of every node: near its neighbours, in the order given, nothing over anything."""
    left, right = _neighbours(steps)
    top: dict[str, float] = {}
    for column in columns:
        y = 0.0
        for node in column:
            top[node] = y
            y += size[node] + GAP
    for turn in range(6):
        near = left if turn % 2 == 0 else right
        for column in columns if turn % 2 == 0 else reversed(columns):
            wanted = []
            for node in column:
                middles = [top[one] + size[one] / 2 for one in near.get(node, ())]
                wanted.append(sum(middles) / len(middles) - size[node] / 2 if middles else top[node])
            top.update(zip(column, _apart(wanted, [size[node] + GAP for node in column]), strict=True))
    least = min(top.values(), default=0.0)
    return {node: y - least for node, y in top.items()}


def _apart(wanted: list[float], size: list[float]) -> list[float]:
    """Nearest places to those wanted that keep the order and the distance: neighbours that would overlap are moved as one block, by their mean."""
    blocks: list[tuple[float, float, int]] = []  # where it starts, what it takes, how many
    for place, taken in zip(wanted, size, strict=True):
        block = (place, taken, 1)
        while blocks and blocks[-1][0] + blocks[-1][1] > block[0]:
            start, height, count = blocks.pop()
            moved = (start * count + (block[0] - height) * block[2]) / (count + block[2])
            block = (moved, height + block[1], count + block[2])
        blocks.append(block)
    out: list[float] = []
    for start, _, count in blocks:
        y = start
        for taken in size[len(out) : len(out) + count]:
            out.append(y)
            y += taken
    return out
