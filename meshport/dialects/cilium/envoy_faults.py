"""Failures that are injected into a share of the requests, without Envoy's filter for them, which Cilium's is built without.

A route that takes a share of the requests (`runtime_fraction`) and answers them, before the one that they are else for, does what the filter does. Envoy draws one
number for a request, and goes by its remainders: what fails, where it is sent and whether it is copied are only independent where the number of values that fail
is divisible by what the other shares are made of. What becomes of a delay nothing else does.
https://github.com/envoyproxy/envoy/blob/main/source/common/router/config_impl.cc, matchRoute;
https://github.com/cilium/proxy/blob/main/envoy_build_config/extensions_build_config.bzl
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import Any

from meshport.dialects.cilium.envoy_actions import SHARES, Other, only, percent
from meshport.dialects.cursor import Cursor
from meshport.dialects.output import Obj, Path
from meshport.ir.base import Fact
from meshport.ir.routing import Filter

SAID = "fault filter abort"
"""The body of an answer that the filter gives (source/extensions/filters/http/fault/fault_filter.cc in envoyproxy/envoy)."""
FRACTION = "runtime_fraction"
_STATUS, SHARE = "abort.httpStatus", "abort.percentage.value"
_SKEW = 100
"""How many values of a million may be at odds: a share is then off by less than one in ten thousand."""


def failure(item: Filter) -> Filter | None:
    """The failure of a filter, where it is one that a route answers; None where it is not."""
    parts = dict(item.acting.parts)
    status, share = parts.get(_STATUS), parts.get(SHARE)
    named = {path for path in parts if path.startswith("abort")}
    if status is None or share is None or named != {_STATUS, SHARE}:
        return None
    good = isinstance(status.value, int) and 200 <= status.value <= 599 and isinstance(share.value, int | float) and 0 < share.value <= 100
    return Filter("fault", ((_STATUS, status), (SHARE, share))) if good else None


def rest(item: Filter) -> Filter:
    """The filter without its failure."""
    return Filter("fault", tuple(part for part in item.acting.parts if not part[0].startswith("abort")))


def fraction(share: float, others: Sequence[int]) -> tuple[int, str] | None:
    """A share in percent as so many values of so many, that is independent of shares made of `others` values each; None where there is none such."""
    part, each = Fraction(str(share)) / 100, lcm(1, *others)
    for word, whole in SHARES.items():
        values = part * whole
        if values.denominator == 1 and values % gcd(each, whole) == 0:
            return int(values), word
    whole = SHARES["MILLION"]
    return (int(part * whole), "MILLION") if gcd(each, whole) <= _SKEW and int(part * whole) else None


def write(obj: Obj, path: Path, item: Filter, others: Sequence[int]) -> None:
    """What is done with the share of the requests that fails: `path` is that of a route which asks for what the route behind it asks."""
    status, share = item.part(_STATUS), item.part(SHARE)
    assert status is not None and share is not None
    found = fraction(share.value, others)
    assert found is not None
    obj.set((*path, "match", FRACTION, "default_value"), {"numerator": found[0], "denominator": found[1]}, share)
    obj.set((*path, "direct_response", "status"), status.value, status)
    obj.set((*path, "direct_response", "body", "inline_string"), SAID, status)


def lift(places: list[Cursor]) -> Iterator[tuple[Cursor, Filter | None]]:
    """The routes, each with the failure that the one before it stands for. Raises `Other` where a share is taken for something else."""
    failing: tuple[Cursor, Filter] | None = None
    for place in places:
        match = place.at("match")
        if failing is not None and {key: item.value for key, item in match.items()} != _asked(failing[0].at("match")):
            raise Other
        if not match.at(FRACTION):
            yield place, failing[1] if failing is not None else None
            failing = None
            continue
        only(place, "name", "match", "direct_response")
        only(place.at("direct_response"), "status", "body")
        status, said = place.number_at("direct_response", "status"), place.text("direct_response", "body", "inline_string")
        if failing is not None or status is None or said is None or said.value != SAID:
            raise Other
        share, src = percent(match.at(FRACTION)), match.at(FRACTION).src
        if share > 100:
            raise Other
        parts = ((_STATUS, Fact(status.value, place.src - src, "fault.abort")), (SHARE, Fact(share, src, "fault.percentage")))
        failing = (place, Filter("fault", parts))
    if failing is not None:
        raise Other


def _asked(match: Cursor) -> dict[str, Any]:
    return {key: item.value for key, item in match.items() if key != FRACTION}
