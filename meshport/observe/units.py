"""Units in a query: where milliseconds become seconds, the value is converted back, or the constants that meet it are.

The unit of a histogram's buckets comes out of `histogram_quantile`, that of its sum out of the sum itself; both pass through sums, maxima and the like until an
operator or a rounding meets them. A division by 1000 that is there already cancels, and is taken out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from meshport.observe.edits import Edits
from meshport.observe.promql import PromQL
from meshport.observe.tree import (
    COMPARISONS,
    Aggregation,
    At,
    Binary,
    Call,
    Expr,
    Number,
    Offset,
    Paren,
    Range,
    Selector,
    Subquery,
    Unary,
    nearest,
    parents_of,
)

FACTORS = {("ms", "s"): 0.001, ("s", "ms"): 1000.0}
"""What a value is multiplied by to say it in the other unit."""
_OF_RANGE = frozenset(
    (
        "rate", "irate", "increase", "delta", "idelta", "sum_over_time", "avg_over_time", "max_over_time", "min_over_time", "last_over_time",
        "first_over_time", "quantile_over_time",
    )
)  # fmt: skip
_KEEPING = frozenset(("sort", "sort_desc", "label_replace", "label_join", "abs", "scalar", "vector"))
_MEETING = COMPARISONS | {"+", "-"}
"""Operators whose two sides are in one unit."""
_LIMITS = {"clamp_max": (1,), "clamp_min": (1,), "clamp": (1, 2), "round": (1,)}
_AGGREGATIONS = frozenset(("sum", "avg", "min", "max", "topk", "bottomk", "quantile", "group", "limitk", "stddev"))


@dataclass(frozen=True, slots=True)
class Measure:
    """A selector with its values' unit before and after, the histogram's suffix, and the bounds of the target's buckets."""

    selector: Selector
    before: str
    after: str
    suffix: str
    buckets: tuple[float, ...]


def rescale(
    parsed: PromQL, measures: Iterable[Measure], latency: str, edits: Edits, say: Callable[..., None]
) -> tuple[float, tuple[str, str] | None]:
    """Convert what is measured in another unit. The factor of thresholds on the result, and (before, after) where the result's unit changes."""
    parents = parents_of(parsed.tree)
    quantiles, fractions = (_calls(parsed, name) for name in ("histogram_quantile", "histogram_fraction"))
    bounded: set[int] = set()
    valued: dict[int, tuple[Expr, Measure]] = {}  # the first selector of each value
    for measure in measures:
        node = _value(measure, parents, quantiles)
        if node is not None:
            valued.setdefault(id(node), (node, measure))
        elif (scale := _scale(measure)) != 1.0 and measure.suffix in ("_bucket", ""):
            call = fractions.get(id(measure.selector))
            if call is None:
                say("MP817", before=measure.before, after=measure.after, what="the bounds in the label le")
            elif isinstance(call, Call) and id(call) not in bounded:
                bounded.add(id(call))
                for bound in call.arguments[:2]:  # in the histogram's unit
                    _scaled(bound, scale, edits)
    native = latency == "native-unit" and _agree(valued.values(), parents)
    factor, unit = 1.0, None
    for node, measure in valued.values():
        scale = _scale(measure)
        _saturated(node, measure, parents, scale, say)
        if scale == 1.0:
            continue
        if (cancelled := _cancelling(node, parents, scale)) is not None:
            edits.replace(*cancelled, "")
        elif native and _linear(node, parents):
            if _consumers(node, parents, scale, edits):
                factor, unit = scale, (measure.before, measure.after)
                say("MP817", before=measure.before, after=measure.after, what="the result")
        else:
            _wrap(node, parents, 1 / scale, edits)
    return factor, unit


def _scale(measure: Measure) -> float:
    return FACTORS.get((measure.before, measure.after), 1.0)


def _agree(valued: Iterable[tuple[Expr, Measure]], parents: dict[int, Expr]) -> bool:
    """Whether all that is measured in a unit of time would come out in the other one: what stays in the old one must not meet it (`ms / 1000 or s`)."""
    scales = [
        (1.0 if _cancelling(node, parents, scale := _scale(measure)) is not None or not _linear(node, parents) else scale)
        for node, measure in valued
        if measure.before in ("ms", "s")
    ]
    return len(set(scales)) <= 1


def _calls(parsed: PromQL, function: str) -> dict[int, Expr]:
    """The nearest call of a function around each node."""
    return nearest(parsed.tree, lambda node: isinstance(node, Call) and node.function.name == function)


def _value(measure: Measure, parents: dict[int, Expr], quantiles: dict[int, Expr]) -> Expr | None:
    """The smallest expression whose values carry the unit; None where none does."""
    if measure.suffix == "_count":
        return None
    if measure.suffix != "_sum":
        return quantiles.get(id(measure.selector))
    node: Expr = measure.selector
    while (above := parents.get(id(node))) is not None:
        keeps = isinstance(above, Range | Offset | At | Subquery | Paren) or (isinstance(above, Call) and above.function.name in _OF_RANGE)
        if not keeps and not (isinstance(above, Aggregation) and above.op.name.lower() in _AGGREGATIONS):
            break
        node = above
    while isinstance(node, Paren):
        node = node.expr
    return node


def _constant(node: Expr) -> tuple[Number, float] | None:
    """A number, signed or in parentheses, with its value."""
    sign = 1.0
    while isinstance(node, Paren | Unary) or (isinstance(node, Call) and node.function.name == "vector" and node.arguments):
        if isinstance(node, Unary) and node.op.name == "-":
            sign = -sign
        node = node.arguments[0] if isinstance(node, Call) else node.expr
    return (node, sign * node.value) if isinstance(node, Number) and node.value is not None else None


def _up(node: Expr, parents: dict[int, Expr]) -> tuple[Expr, Expr | None]:
    """A node with the parentheses around it, and what stands above them."""
    above = parents.get(id(node))
    while isinstance(above, Paren):
        node, above = above, parents.get(id(above))
    return node, above


def _beside(node: Expr, above: Binary) -> Expr:
    """The other side of an operator."""
    return above.right if above.left is node else above.left


def _cancelling(node: Expr, parents: dict[int, Expr], scale: float) -> tuple[int, int] | None:
    """The characters of a conversion that the query makes itself and that is to be taken out: it has become the one that the metric makes."""
    whole, above = _up(node, parents)
    if scale == 1.0 or not isinstance(above, Binary) or above.op.name not in "*/" or above.left is not whole:
        return None
    constant = _constant(above.right)
    if constant is None:
        return None
    made = 1 / constant[1] if above.op.name == "/" and constant[1] else constant[1]
    return (whole.end, above.end) if abs(made / scale - 1) <= 1e-9 else None


def _wrap(node: Expr, parents: dict[int, Expr], factor: float, edits: Edits) -> None:
    """Convert the values of a node back."""
    above = parents.get(id(node))
    said = f" * {_number(factor)}" if factor >= 1 else f" / {_number(1 / factor)}"
    if isinstance(above, Binary | Unary | Subquery | Offset | At):
        edits.insert(node.start, "(")
        edits.insert(node.end, f"{said})")
    else:
        edits.insert(node.end, said)


def _linear(node: Expr, parents: dict[int, Expr]) -> bool:
    """Whether everything above a node scales with it, so that its unit can be left to those who read the result."""
    while (above := parents.get(id(node))) is not None:
        if isinstance(above, Call) and above.function.name not in _KEEPING | _OF_RANGE | set(_LIMITS):
            return False
        if isinstance(above, Binary) and above.op.name in ("^", "%", "atan2"):
            return False
        if isinstance(above, Binary) and above.op.name in _MEETING | {"*", "/"} and _constant(_beside(node, above)) is None:
            return False
        if isinstance(above, Aggregation) and above.op.name.lower() not in _AGGREGATIONS:
            return False
        node = above
    return True


def _consumers(node: Expr, parents: dict[int, Expr], scale: float, edits: Edits) -> bool:
    """Rescale the constants that meet a value; whether the result still carries the unit."""
    while (above := parents.get(id(node))) is not None:
        if isinstance(above, Binary) and above.op.name in _MEETING:
            _scaled(_beside(node, above), scale, edits)
            if above.compares and above.bool_:
                return False
        elif isinstance(above, Call) and above.function.name in _LIMITS:
            places = _LIMITS[above.function.name]
            for place in places:
                if place < len(above.arguments):
                    _scaled(above.arguments[place], scale, edits)
                else:
                    edits.insert(above.arguments[0].end, f", {_number(scale)}")  # to whole numbers, where nothing is said
        node = above
    return True


def _scaled(node: Expr, scale: float, edits: Edits) -> None:
    constant = _constant(node)
    if constant is not None and constant[0].value:
        edits.replace(constant[0].start, constant[0].end, _number(constant[0].value * scale))


def _saturated(node: Expr, measure: Measure, parents: dict[int, Expr], scale: float, say: Callable[..., None]) -> None:
    """A quantile never exceeds the largest bound: a threshold beyond it never fires."""
    if not measure.buckets or measure.suffix == "_sum":
        return
    largest, made = measure.buckets[-1], 1.0
    while (above := parents.get(id(node))) is not None:
        if isinstance(above, Binary):
            constant = _constant(_beside(node, above))
            if constant is not None and constant[1] and above.op.name in "*/" and above.left is node:
                made *= constant[1] if above.op.name == "*" else 1 / constant[1]
            elif constant is not None and (above.op.name in (">", ">=") if above.left is node else above.op.name in ("<", "<=")):
                wanted = constant[1] / made * scale
                if wanted >= largest:
                    say("MP819", wanted=f"{wanted:g}", largest=f"{largest:g}", unit=measure.after)
        node = above


def _number(value: float) -> str:
    return f"{value:.12g}"
