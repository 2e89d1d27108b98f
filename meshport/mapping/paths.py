"""Paths of leaves, and how the rows of a kind are walked along them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshport.mapping.table import Node


def numberless(path: tuple[str | int, ...]) -> list[str]:
    """The steps of a path as a binding row writes them: `ingress[]` for each item."""
    steps: list[str] = []
    for step in path:
        if isinstance(step, int) and steps:
            steps[-1] += "[]"
        else:
            steps.append(str(step))
    return steps


def dotted(path: tuple[str | int, ...]) -> str:
    """A path as people write it: `spec.rules[2].to`."""
    from meshport.documents import format_path

    return format_path(path)


def leaves_of(shadow: Any) -> list[int]:
    """Each leaf of a shadow, in order."""
    if isinstance(shadow, int):
        return [shadow]
    found: list[int] = []
    for below in shadow.values() if isinstance(shadow, dict) else shadow:
        if isinstance(below, int):
            found.append(below)
        else:
            found += leaves_of(below)
    return found


def nearest(shadow: Any, path: tuple[str | int, ...]) -> Any:
    """What stands at a path of a shadow, or above it where nothing stands there."""
    for step in path:
        below = shadow.get(step) if isinstance(shadow, dict) else None
        if isinstance(shadow, list) and isinstance(step, int):
            below = shadow[step]
        if below is None:
            break
        shadow = below
    return shadow


def leaves_below(shadow: Any, path: tuple[str | int, ...]) -> Iterator[tuple[int, tuple[str | int, ...]]]:
    """Each leaf of a shadow with its path, in order."""
    stack = [(shadow, path)]
    while stack:
        shadow, path = stack.pop()
        if isinstance(shadow, int):
            yield shadow, path
        elif isinstance(shadow, dict):
            stack.extend((below, (*path, key)) for key, below in reversed(list(shadow.items())))
        else:
            stack.extend((below, (*path, i)) for i, below in reversed(list(enumerate(shadow))))


def pairs(shadow: Any, root: Node) -> Iterator[tuple[int, Node | None, tuple[str | int, ...]]]:
    for key, below in shadow.items():
        if key in ("apiVersion", "kind", "metadata", "status"):
            continue
        for leaf, path in leaves_below(below, (key,)):
            node: Node | None = root
            for step in path:
                if node is None or (node.binding is not None and node.binding.type == "object"):
                    break
                node = node.item if isinstance(step, int) else node.child(step)
            yield leaf, node, path


def homes(node: Node, name: str, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if len(path) > 6:
        return
    for key, below in node.children.items():
        if key == name:
            yield (*path, key)
        else:
            yield from homes(below, name, (*path, key))
    if node.item is not None:
        yield from homes(node.item, name, (*path, 0))


def siblings(root: Node, path: tuple[str | int, ...]) -> list[str]:
    node: Node | None = root
    for step in path[:-1]:
        node = (node.item if isinstance(step, int) else node.child(step)) if node else None
    return list(node.children) if node else []
