"""Durations, in the three grammars that meshes read, and one way of writing them that all of them read."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from meshport.values import _grammar
from meshport.values.problems import ValueProblem

if TYPE_CHECKING:
    from lark import Token, Tree

NS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_MOST = 2**63 - 1  # Go's int64 of nanoseconds, 292 years
_SECONDS_STAY = 300  # up to here seconds are written as seconds, as people write timeouts


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A span of time in nanoseconds. `str()` gives one integer with one unit of ms, s, m, h: what every mesh reads the same."""

    ns: int

    @property
    def rounded(self) -> bool:
        """Whether `str()` is longer than the span, which is finer than a millisecond."""
        return self.ns % NS["ms"] != 0

    @property
    def seconds(self) -> float:
        return self.ns / NS["s"]

    def __str__(self) -> str:
        millis = -(-self.ns // NS["ms"])
        if millis % 1000:
            return f"{millis}ms"
        seconds = millis // 1000
        if abs(seconds) <= _SECONDS_STAY or seconds % 60:
            return f"{seconds}s"
        return f"{seconds // 60}m" if seconds % 3600 else f"{seconds // 3600}h"

    def protobuf(self) -> str:
        """As Protocol Buffers take it in JSON and YAML: seconds, with up to nine digits below (protobuf, `Duration`)."""
        whole, rest = divmod(self.ns, NS["s"])
        return f"{whole}.{rest:09d}".rstrip("0") + "s" if rest else f"{whole}s"

    def gateway(self) -> str:
        """As the Gateway API's CRDs admit it: at most five digits a unit, so a long odd span takes several units (which Linkerd's
        HTTPRoutes ignore).

        Raises ValueProblem below zero and above 99999 hours.
        """
        text = str(self)
        if self.ns >= 0 and len(text.rstrip("mhs")) <= 5:
            return text
        left = -(-self.ns // NS["ms"])
        hours, left = divmod(left, 3_600_000)
        if not 0 <= hours <= 99_999:
            raise ValueProblem(f"{text} is no Gateway API duration")
        minutes, left = divmod(left, 60_000)
        seconds, millis = divmod(left, 1000)
        return "".join(f"{count}{unit}" for count, unit in ((hours, "h"), (minutes, "m"), (seconds, "s"), (millis, "ms")) if count)


@lru_cache(maxsize=4096)
def parse_go(text: str) -> Duration:
    """Go's `time.ParseDuration`: `1h30m`, `1.5s`, `-5s`, `0`. Fractions of a nanosecond are cut. Raises ValueProblem."""
    tree = _grammar.parse("duration_go", text, "a duration such as 1h30m or 1.5s")
    own = _grammar.tokens(tree)
    if tree.data == "bare":
        return _bare(text, str(own[-1]))
    sign = -1 if own and own[0] == "-" else 1
    total = sum((_part(part) for part in _grammar.trees(tree)), Fraction(0))
    return _bounded(text, sign * int(total))


@lru_cache(maxsize=4096)
def parse_linkerd(text: str) -> Duration:
    """Linkerd's annotation durations: an integer with ms, s, m, h or d, or `0`; blanks around it are ignored. Raises ValueProblem."""
    tree = _grammar.parse("duration_linkerd", text.strip(), "a Linkerd duration such as 90m or 500ms (one integer, one unit)")
    if tree.data == "bare":
        return _bare(text, str(tree.children[0]))
    return _bounded(text, int(_part(tree)))


@lru_cache(maxsize=4096)
def parse_gateway(text: str) -> Duration:
    """Gateway API durations (GEP-2257): `1h30m`, `500ms`; no fractions, no sign, four parts at most. Raises ValueProblem."""
    tree = _grammar.parse("duration_gateway", text, "a Gateway API duration such as 1h30m or 500ms")
    if len(tree.children) > 4:
        raise ValueProblem(f"{text!r} is not a Gateway API duration: more than four parts")
    return _bounded(text, int(sum((_part(part) for part in _grammar.trees(tree)), Fraction(0))))


def _part(part: Tree[Token]) -> Fraction:
    number, unit = (str(token) for token in _grammar.tokens(part))
    return Fraction(number.rstrip(".") or "0") * NS[unit]


def _bare(text: str, number: str) -> Duration:
    if number.strip("0"):
        raise ValueProblem(f"{text!r} is not a duration: a unit is missing", len(text) + 1)
    return Duration(0)


def _bounded(text: str, ns: int) -> Duration:
    if abs(ns) > _MOST:
        raise ValueProblem(f"{text!r} is not a duration: longer than 292 years")
    return Duration(ns)
