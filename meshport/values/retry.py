"""What is retried: Istio's `retryOn` lists, and the values of Linkerd's `retry.linkerd.io` annotations."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from meshport.values import _grammar
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


_STATUSES = re.compile(r"(?i:5xx|gateway-error|([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?)")
_LIMIT = 2**16 - 1


def linkerd_reads(name: str, text: str) -> bool:
    """Whether Linkerd reads a value of `retry.linkerd.io/http`, `grpc` or `limit`: lists without blanks of statuses, ranges and two names, and of
    five statuses of gRPC; and a number of 16 bits (policy-controller/k8s/index/src/outbound/index in linkerd/linkerd2)."""
    if name == "limit":
        return re.fullmatch(r"[0-9]+", text) is not None and int(text) <= _LIMIT
    if name == "grpc":
        return all(word.lower() in GRPC_CONDITIONS for word in text.split(","))
    found = [_STATUSES.fullmatch(word) for word in text.split(",")]
    return all(one is not None and (one[2] is None or one[1] <= one[2]) for one in found)
