"""When a VirtualService tries again: the conditions of retryOn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshport.ir.resilience import Retry
from meshport.values.ports import is_number

if TYPE_CHECKING:
    pass


_KNOWN_CODES = frozenset(
    [
        *range(100, 104),
        *range(200, 209),
        226,
        *range(300, 306),
        307,
        308,
        *range(400, 419),
        421,
        422,
        423,
        424,
        425,
        426,
        428,
        429,
        431,
        451,
        *range(500, 509),
        510,
        511,
    ]
)  # those that Go's net/http has a name for: istiod refuses the others


def retry_on(retry: Retry) -> tuple[list[str], list[str]]:
    """The conditions as Istio lists them, ranges written out, and the codes that istiod would refuse."""
    words: dict[str, None] = {}
    refused: list[int] = []
    for fact in retry.conditions:
        low, dash, high = fact.value.partition("-")
        if is_number(low) and (not dash or is_number(high)):
            first, last = int(low), int(high or low)
            if first <= 500 and last >= 599:
                words["5xx"] = None
            for code in range(first, last + 1):
                if code in _KNOWN_CODES and not (first <= 500 <= code and last >= 599):
                    words[str(code)] = None
                elif code not in _KNOWN_CODES and not (first <= 500 <= code and last >= 599):
                    refused.append(code)
        else:
            words[fact.value] = None
    return list(words), _ranges(refused)


def _ranges(codes: list[int]) -> list[str]:
    """Numbers as ranges, as people write them."""
    out: list[list[int]] = []
    for code in sorted(set(codes)):
        if out and out[-1][-1] == code - 1:
            out[-1][1:] = [code]
        else:
            out.append([code])
    return ["-".join(str(code) for code in each) for each in out]
