"""The functions of PromQL with what they take and give (promql/parser/functions.go of Prometheus 3.14).

A row is `arguments -> result`: V an instant vector, M a range vector, S a scalar, T a string. `?` after the last argument: it may be left out; `*`: it may be left
out or repeated without end; a number: so many more of it may follow. Experimental ones need a feature flag.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from meshport.observe.tree import Type

_TYPES: dict[str, Type] = {"V": "vector", "M": "matrix", "S": "scalar", "T": "string"}
_OF_VECTORS = (
    "abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor histogram_avg histogram_count histogram_stddev histogram_stdvar "
    "histogram_sum ln log10 log2 rad sgn sin sinh sort sort_desc sqrt tan tanh timestamp"
)
_OF_RANGES = (
    "absent_over_time avg_over_time changes count_over_time delta deriv first_over_time idelta increase irate last_over_time max_over_time min_over_time "
    "present_over_time rate resets stddev_over_time stdvar_over_time sum_over_time"
)
_OF_TIME = "day_of_month day_of_week day_of_year days_in_month hour minute month year"
_OF_RANGES_EXPERIMENTAL = "mad_over_time ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time"
_ROWS = {
    "clamp": "V S S -> V",
    "clamp_max": "V S -> V",
    "clamp_min": "V S -> V",
    "histogram_fraction": "S S V -> V",
    "histogram_quantile": "S V -> V",
    "label_join": "V T T T* -> V",
    "label_replace": "V T T T T -> V",
    "pi": "-> S",
    "predict_linear": "M S -> V",
    "quantile_over_time": "S M -> V",
    "round": "V S? -> V",
    "scalar": "V -> S",
    "time": "-> S",
    "vector": "S -> V",
}
_EXPERIMENTAL = {
    "double_exponential_smoothing": "M S S -> V",
    "end": "-> S",
    "histogram_quantiles": "V T S S9 -> V",
    "holt_winters": "M S S -> V",  # its name in Prometheus 2
    "info": "V V? -> V",
    "integral": "M S? -> V",
    "max_of": "S S -> S",
    "min_of": "S S -> S",
    "range": "-> S",
    "sort_by_label": "V T* -> V",
    "sort_by_label_desc": "V T* -> V",
    "start": "-> S",
    "start_timestamp": "V -> V",
    "step": "-> S",
}


@dataclass(frozen=True, slots=True)
class Function:
    """`most` arguments at most, None for any number; those beyond the listed ones are of the last one's type."""

    name: str
    arguments: tuple[Type, ...]
    least: int
    most: int | None
    result: Type
    experimental: bool = False


@lru_cache(maxsize=1)
def functions() -> dict[str, Function]:
    """All functions by name."""
    rows = {name: (row, False) for name, row in _ROWS.items()} | {name: (row, True) for name, row in _EXPERIMENTAL.items()}
    for names, row, experimental in (
        (_OF_VECTORS, "V -> V", False),
        (_OF_RANGES, "M -> V", False),
        (_OF_TIME, "V? -> V", False),
        (_OF_RANGES_EXPERIMENTAL, "M -> V", True),
    ):
        rows |= dict.fromkeys(names.split(), (row, experimental))
    return {name: _function(name, row, experimental) for name, (row, experimental) in rows.items()}


def _function(name: str, row: str, experimental: bool) -> Function:
    taken, _, given = row.partition("->")
    words = taken.split()
    types = tuple(_TYPES[word[0]] for word in words)
    tail = words[-1][1:] if words else ""
    least = len(types) - (1 if tail else 0)
    most = None if tail == "*" else least + (int(tail) if tail.isdigit() else 1 if tail else 0)
    return Function(name, types, least, most, _TYPES[given.strip()], experimental)
