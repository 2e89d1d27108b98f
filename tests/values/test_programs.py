"""The size of an expression as RE2's program, on the safe side of what RE2 itself says (`programsize` of google-re2 1.1.20251105)."""

from __future__ import annotations

import pytest

from meshport.values import programs
from meshport.values.language import BARE_PATHS, PATHS, Language

MEASURED = {
    "GET": 7,
    ".*": 12,
    "/api/.*": 17,
    r"/charge(\?.*)?": 23,
    "CONNECT|GET|HEAD|OPTIONS|PATCH|POST|PUT|TRACE": 40,
    r"(?i)(?:api\.shop\.svc\.cluster\.local|.*\.example\.com)": 57,
    "a.*b.*c.*d.*e.*f.*g.*": 67,
    r"(?:/int(?:[^?e]|e(?:[^?r]|r(?:[^?n]|n(?:[^?a]|a[^?l]))))[^?]*)(\?.*)?": 77,
    # refused in github.com/cilium/cilium/issues/48773
    r"/(dashboard|alerts|calendar|components|metrics|critical_asset_metrics|critical_product_metrics|simple_search|support|celery_status"
    r"|choices)([/?].*)?": 134,
}


@pytest.mark.parametrize("pattern", MEASURED)
def test_never_below_what_re2_makes_and_near_it(pattern: str) -> None:
    assert MEASURED[pattern] <= programs.size(pattern) <= MEASURED[pattern] * 1.3


def test_a_language_in_several_expressions_that_fit() -> None:
    language = BARE_PATHS - Language.prefix("/internal")
    found = language.to_regexes(lambda text: programs.size(text) <= 60, 16, PATHS)
    assert found is not None
    assert len(found) > 1
    assert all(programs.size(text) <= 60 for text in found)
    together = Language.none()
    for text in found:
        together = together | Language.regex(text)
    assert together.same(language, within=PATHS)


def test_no_expressions_where_they_would_be_too_many() -> None:
    language = BARE_PATHS - Language.prefix("/internal")
    assert language.to_regexes(lambda text: programs.size(text) <= 60, 2, PATHS) is None
    assert Language.exact("/" + "x" * 99).to_regexes(lambda text: programs.size(text) <= 60, 99, PATHS) is None
