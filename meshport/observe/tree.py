"""A PromQL expression as a tree. Every node knows the characters of the text that it stands in, so that a rewrite touches those alone.

Names follow Prometheus' own (promql/parser/ast.go). `type` is what an expression gives: scalar, vector, matrix or string; any where a template decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Type = Literal["scalar", "vector", "matrix", "string", "any"]


@dataclass(frozen=True, slots=True)
class Word:
    """A name or a keyword where it stands. `name` is what it means: without the quotes of a quoted label. `dynamic`: a template says what it is."""

    name: str
    start: int
    end: int
    dynamic: bool = False


@dataclass(frozen=True, slots=True)
class Matcher:
    """`label op "value"`. A metric name in braces is a matcher of `__name__`; `whole` is a template that stands for matchers."""

    label: Word
    op: str
    value: str
    start: int
    end: int
    value_start: int = 0
    value_end: int = 0
    dynamic: bool = False  # whether a template stands in the value
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels in parentheses, with their characters."""

    words: tuple[Word, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Matching:
    """How two vectors are matched: on or ignoring labels, with group_left or group_right and the labels that it brings."""

    how: str
    labels: Labels
    group: str = ""
    include: Labels | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """A number, or a duration in seconds. `value` is None where a template says it."""

    value: float | None
    start: int
    end: int
    duration: bool = False
    type: Type = "scalar"


@dataclass(frozen=True, slots=True)
class String:
    value: str
    start: int
    end: int
    type: Type = "string"


@dataclass(frozen=True, slots=True)
class Selector:
    """`name{matchers}`. `braces` are the characters of `{...}`. Without matchers a dynamic name may be anything that a template writes."""

    name: Word | None
    matchers: tuple[Matcher, ...]
    start: int
    end: int
    braces: tuple[int, int] | None = None
    type: Type = "vector"

    @property
    def metric(self) -> str | None:
        """The metric that is selected; None where that is not one exact name."""
        if self.name is not None:
            return None if self.name.dynamic else self.name.name
        named = [one for one in self.matchers if one.label.name == "__name__"]
        return named[0].value if len(named) == 1 and named[0].op == "=" and not named[0].dynamic else None


@dataclass(frozen=True, slots=True)
class Range:
    """`expr[span]`."""

    expr: Expr
    span: Length
    start: int
    end: int
    type: Type = "matrix"


@dataclass(frozen=True, slots=True)
class Subquery:
    """`expr[span:step]`."""

    expr: Expr
    span: Length
    step: Length | None
    start: int
    end: int
    type: Type = "matrix"


@dataclass(frozen=True, slots=True)
class Offset:
    """`expr offset length`."""

    expr: Expr
    length: Length
    start: int
    end: int
    type: Type = "vector"


@dataclass(frozen=True, slots=True)
class At:
    """`expr @ moment`: seconds since the epoch, or `start` or `end` of the query."""

    expr: Expr
    moment: float | str | None
    start: int
    end: int
    type: Type = "vector"


@dataclass(frozen=True, slots=True)
class Extended:
    """`expr anchored` or `expr smoothed`."""

    expr: Expr
    how: str
    start: int
    end: int
    type: Type = "vector"


@dataclass(frozen=True, slots=True)
class Call:
    function: Word
    arguments: tuple[Expr, ...]
    start: int
    end: int
    type: Type = "vector"


@dataclass(frozen=True, slots=True)
class Aggregation:
    """`sum by (labels) (expr)`. `grouping` is by or without, "" for none; the parameter of topk and its like is the first argument."""

    op: Word
    grouping: str
    labels: Labels | None
    arguments: tuple[Expr, ...]
    start: int
    end: int
    type: Type = "vector"

    @property
    def parameter(self) -> Expr | None:
        """The first of two arguments."""
        return self.arguments[0] if len(self.arguments) > 1 else None

    @property
    def expr(self) -> Expr:
        """What is aggregated."""
        return self.arguments[-1]


@dataclass(frozen=True, slots=True)
class Binary:
    op: Word
    left: Expr
    right: Expr
    start: int
    end: int
    matching: Matching | None = None
    bool_: bool = False
    fill: bool = False
    type: Type = "vector"

    @property
    def compares(self) -> bool:
        """Whether the operator is a comparison."""
        return self.op.name in COMPARISONS


@dataclass(frozen=True, slots=True)
class Unary:
    op: Word
    expr: Expr
    start: int
    end: int
    type: Type = "vector"


@dataclass(frozen=True, slots=True)
class Paren:
    expr: Expr
    start: int
    end: int
    type: Type = "vector"


@dataclass(frozen=True, slots=True)
class Length:
    """A length of time in seconds; None where the query or a template says it."""

    seconds: float | None
    start: int
    end: int


Expr = Number | String | Selector | Range | Subquery | Offset | At | Extended | Call | Aggregation | Binary | Unary | Paren
COMPARISONS = frozenset(("==", "!=", "<", ">", "<=", ">="))
SET_OPERATORS = frozenset(("and", "or", "unless"))


def label_arguments(call: Call) -> tuple[String, ...]:
    """The arguments by which a call names the labels that it reads."""
    read = {"label_replace": call.arguments[3:4], "label_join": call.arguments[3:]}.get(call.function.name, ())
    return tuple(argument for argument in read if isinstance(argument, String))


def label_asked(call: Call) -> Word | None:
    """The label whose values Grafana's `label_values(..., label)` lists; None of another call."""
    label = call.arguments[1] if call.function.name == "label_values" and len(call.arguments) > 1 else None
    return label.name if isinstance(label, Selector) else None


def children(node: Expr) -> tuple[Expr, ...]:
    """The expressions right below a node, in the order of the text."""
    if isinstance(node, Call | Aggregation):
        return node.arguments
    if isinstance(node, Binary):
        return node.left, node.right
    if isinstance(node, Range | Subquery | Offset | At | Extended | Unary | Paren):
        return (node.expr,)
    return ()


def parents_of(tree: Expr) -> dict[int, Expr]:
    """What stands right above each node of a tree, by the node's identity."""
    return {id(below): node for node in walk(tree) for below in children(node)}


def nearest(tree: Expr, wanted: Callable[[Expr], bool]) -> dict[int, Expr]:
    """The nearest node above each node of a tree that is wanted, by the node's identity; nodes that have none are not in it."""
    found: dict[int, Expr] = {}
    for node in walk(tree):
        above = node if wanted(node) else found.get(id(node))
        if above is not None:
            found.update((id(below), above) for below in children(node))
    return found


def walk(node: Expr) -> Iterator[Expr]:
    """A node and all below it, parents first, in the order of the text; any depth."""
    stack = [node]
    while stack:
        found = stack.pop()
        yield found
        stack.extend(reversed(children(found)))
