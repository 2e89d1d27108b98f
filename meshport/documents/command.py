"""One command of a script as it is read: what it sets, by path, with the place of each value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from meshport.values.install_script import Word

KUBECTL = "kubectl"
"""The `chart` of a document that a kubectl command writes on an object."""
AGENT = "cilium-config"
"""The `chart` of keys of Cilium's ConfigMap, which `cilium config set` writes."""
UNKNOWN = "unknown"
"""The key below which such a document has marks whose value only the shell knows, and options that it alone knows or that the program refuses."""


class Computed(str):
    """A value that only the shell knows, as the script spells it."""

    __slots__ = ()


@dataclass(slots=True)
class Leaf:
    value: Any
    at: int  # the offset in the script


@dataclass(slots=True)
class Found:
    """A command: the chart that it sets values of, and the values by path, each with its place."""

    chart: str
    tree: dict[str, Any] = field(default_factory=dict)
    place: int = 0
    files: list[Word] = field(default_factory=list)  # of values, as the command names them
    ahead: bool = False  # whether those files say otherwise

    def put(self, path: tuple[str | int, ...], value: Any, at: Any) -> None:
        """Write a value as Helm does: what stood there is replaced, a list grows as far as is needed. `at` is the place of the value, or of each item of a list."""
        leaf: Any = [Leaf(item, place) for item, place in zip(value, at, strict=True)] if isinstance(at, list) else _leaves(value, at)
        if leaf == []:
            leaf = Leaf([], self.place)
        holder: Any = self.tree
        for step, following in zip(path, (*path[1:], None), strict=True):
            empty: Any = leaf if following is None else [] if isinstance(following, int) else {}
            if isinstance(step, int):
                if not isinstance(holder, list) or step > 1000:
                    return
                holder.extend(Leaf(None, self.place) for _ in range(step + 1 - len(holder)))
            elif not isinstance(holder, dict):
                return
            present = holder[step] if isinstance(step, int) else holder.get(step)
            if following is None or not isinstance(present, type(empty)):
                holder[step] = empty
            holder = holder[step]


def _leaves(value: Any, at: int) -> Any:
    """A value with all that is below it, at one place."""
    if isinstance(value, dict) and value:
        return {key: _leaves(item, at) for key, item in value.items()}
    if isinstance(value, list) and value:
        return [_leaves(item, at) for item in value]
    return Leaf(value, at)


def options(words: list[Word], valued: set[str]) -> tuple[list[Word], list[tuple[str, Word]]]:
    """The words that are no options, and the options: those of `valued` with the word behind them, others with what stands behind `=`, or nothing."""
    plain: list[Word] = []
    found: list[tuple[str, Word]] = []
    number = 0
    while number < len(words):
        word = words[number]
        number += 1
        if not word.text.startswith("-") or word.text == "-":
            plain.append(word)
            continue
        name, equals, _ = word.text.partition("=")
        if len(name) > 2 and name[1] != "-" and name[:2] in valued:  # -nshop
            found.append((name[:2], word.part(2)))
        elif equals:
            found.append((name, word.part(len(name) + 1)))
        elif name in valued and number < len(words):
            found.append((name, words[number]))
            number += 1
        else:
            found.append((name, word.part(len(word.text))))
    return plain, found


def unsaid(found: Found, words: list[Word]) -> None:
    """Words of which nobody can say what they set."""
    for word in words:
        said = found.tree.get(UNKNOWN, {})
        found.put((UNKNOWN, str(len(said))), Computed(word.text), word.places[0])
