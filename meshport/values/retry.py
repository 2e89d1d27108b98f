"""What is retried: Istio's `retryOn` lists and Linkerd's `retry.linkerd.io/http` and `/grpc` annotations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from meshport.values import _grammar
from meshport.values.ports import merge_ports
from meshport.values.problems import ValueProblem

GRPC_CONDITIONS = ("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable")
ISTIO_CONDITIONS = frozenset(
    (
        *("5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "retriable-4xx", "refused-stream"),
        *("retriable-status-codes", "retriable-headers", "envoy-ratelimited", "http3-post-connect-failure"),
        *GRPC_CONDITIONS,
    )
)
"""Source: istio pkg/config/validation/agent/validation.go."""
_NAMED_RANGES = {"5xx": (500, 599), "gateway-error": (502, 504)}

StatusRanges = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class RetryOn:
    """Istio's retryOn: conditions by name and status codes, each in the order first written."""

    conditions: tuple[str, ...] = ()
    codes: tuple[int, ...] = ()

    def __str__(self) -> str:
        return ",".join((*self.conditions, *map(str, self.codes)))


def _items(text: str, what: str) -> list[tuple[str, ...]]:
    return [tuple(str(token) for token in _grammar.tokens(item)) for item in _grammar.trees(_grammar.parse("retry", text, what))]


@lru_cache(maxsize=1024)
def parse_istio(text: str) -> RetryOn:
    """A `retryOn` list; the empty text is an empty list. Blanks, unknown words and codes outside 100 to 511 raise ValueProblem, as Istio's
    webhook refuses them.
    """
    if not text:
        return RetryOn()
    conditions: dict[str, None] = {}
    codes: dict[int, None] = {}
    for item in _items(text, "a retryOn list"):
        if len(item) == 2:
            raise ValueProblem(f"{text!r} is not a retryOn list: Istio has no ranges ({'-'.join(item)})")
        word = item[0]
        if word.isdigit():
            if not 100 <= int(word) <= 511:
                raise ValueProblem(f"{text!r} is not a retryOn list: {word} is no HTTP status")
            codes[int(word)] = None
        elif word in ISTIO_CONDITIONS:
            conditions[word] = None
        else:
            raise ValueProblem(f"{text!r} is not a retryOn list: {word!r} is no condition of Istio", text.index(word) + 1)
    return RetryOn(tuple(conditions), tuple(codes))


@lru_cache(maxsize=1024)
def parse_linkerd_http(text: str) -> StatusRanges:
    """`retry.linkerd.io/http` as ranges of status codes, ends included, ascending and merged. Raises ValueProblem (blanks are an error in
    Linkerd too).
    """
    out: list[tuple[int, int]] = []
    for item in _items(text, "a list of retry conditions such as 5xx,429 (no blanks)"):
        if item[0].lower() in _NAMED_RANGES:
            out.append(_NAMED_RANGES[item[0].lower()])
            continue
        if not item[0].isdigit():
            raise ValueProblem(f"{text!r}: {item[0]!r} is no retry condition of Linkerd", text.index(item[0]) + 1)
        low, high = int(item[0]), int(item[-1])
        if not 100 <= low <= high <= 599:
            raise ValueProblem(f"{text!r}: {'-'.join(item)} is no range of HTTP status codes from 100 to 599")
        out.append((low, high))
    return merge_ports(out)


def format_linkerd_http(ranges: Iterable[tuple[int, int]]) -> str:
    """The annotation's value, `5xx` and `gateway-error` by name."""
    names = {codes: name for name, codes in _NAMED_RANGES.items()}
    return ",".join(names.get((low, high)) or (str(low) if low == high else f"{low}-{high}") for low, high in merge_ports(ranges))


@lru_cache(maxsize=1024)
def parse_linkerd_grpc(text: str) -> tuple[str, ...]:
    """`retry.linkerd.io/grpc` as condition names, lower case, each once, sorted. Raises ValueProblem."""
    found = set()
    for item in _items(text, "a list of gRPC retry conditions such as unavailable,internal (no blanks)"):
        if len(item) != 1 or item[0].lower() not in GRPC_CONDITIONS:
            raise ValueProblem(f"{text!r}: {'-'.join(item)!r} is no gRPC retry condition of Linkerd", text.index(item[0]) + 1)
        found.add(item[0].lower())
    return tuple(sorted(found))


def format_linkerd_grpc(conditions: Iterable[str]) -> str:
    return ",".join(sorted(set(conditions)))
