"""PromQL: what Prometheus takes is a tree with its places, what it refuses is one line with line and column."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import meshport
from meshport import InputError, parse_promql
from meshport.observe.tree import Aggregation, Binary, Call, Number, Range, Selector, walk

ORACLES = Path(__file__).parents[3] / "shared" / "oracles"


def oracle(name: str) -> list[dict[str, Any]]:
    file = ORACLES / name
    if not file.exists():
        pytest.skip(f"no {file}: the cases measured on Prometheus are not beside the checkout")
    found: list[dict[str, Any]] = json.loads(file.read_text())
    return found


def refused(text: str, **options: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        parse_promql(text, **options)
    return caught.value


def test_prometheus_own_cases() -> None:
    wrong = []
    for case in oracle("promql_cases.json"):
        try:
            needs: tuple[str, ...] | None = parse_promql(case["expr"], templating="none").needs
        except InputError:
            needs = None
        wanted = tuple(sorted(case["needs"])) if case["valid"] else None
        if (tuple(sorted(needs)) if needs is not None else None) != wanted:
            wrong.append((case["expr"], needs, wanted))
    assert wrong == []


def test_expressions_of_real_dashboards_are_read_and_given_back() -> None:
    wrong = []
    for case in oracle("promql_corpus.json"):
        if case.get("valid") is None:
            continue  # a format of a program, which nobody has judged
        try:
            valid = str(parse_promql(case["expr"])) == case["expr"]
        except InputError:
            valid = False
        if valid != case["valid"]:
            wrong.append(case["expr"])
    assert wrong == []


def test_a_tree_knows_its_characters() -> None:
    text = 'sum by (job) (rate(http_requests_total{code=~"5.."}[5m])) / 2  # half'
    found = parse_promql(text)
    assert isinstance(found.tree, Binary)
    ratio = found.tree
    assert text[ratio.op.start : ratio.op.end] == "/"
    assert isinstance(ratio.left, Aggregation)
    assert ratio.left.labels is not None
    assert [word.name for word in ratio.left.labels.words] == ["job"]
    selector = next(found.selectors)
    assert text[selector.start : selector.end] == 'http_requests_total{code=~"5.."}'
    assert (selector.metric, selector.matchers[0].op, selector.matchers[0].value) == ("http_requests_total", "=~", "5..")
    assert text[selector.matchers[0].value_start : selector.matchers[0].value_end] == '"5.."'
    assert found.metrics == ["http_requests_total"]


def test_a_sign_binds_weaker_than_a_power() -> None:
    found = parse_promql("-1^2").tree
    assert found.type == "scalar"
    assert type(found).__name__ == "Unary"
    right = parse_promql("2^3^4").tree
    assert isinstance(right, Binary)
    assert isinstance(right.left, Number)
    assert isinstance(right.right, Binary)


def test_keywords_are_names_where_no_keyword_may_stand() -> None:
    found = parse_promql('sum(sum) + by{step="1s"} and on(on) group')
    assert found.metrics == ["sum", "by", "group"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("x[1h30m]", 5400.0),
        ("x[300]", 300.0),
        ("x[1_000ms]", None),
        ("x[0x10]", 16.0),
        ("x[0755]", 493.0),
        ("x[5m1h]", None),
        ("x[5m5m]", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    if seconds is None:
        refused(text)
        return
    found = parse_promql(text).tree
    assert isinstance(found, Range)
    assert found.span.seconds == seconds


@pytest.mark.parametrize(
    "text",
    [
        "rate(x[$__rate_interval])",
        "sum by ($group) (x)",
        "topk($n, x)",
        "istio_${kind}_total",
        "$agg(x)",
        "histogram_quantile(0.$q, x)",
        'x{a="$a",$rest}',
        "rate(x[{{ interval }}]) > {{ threshold }}",
        "sum(rate(<<.Series>>{<<.LabelMatchers>>}[5m])) by (<<.GroupBy>>)",
        "x offset $shift",
        "rate(x[${window}m:$step])",
        'label_values(istio_requests_total{reporter="source"}, destination_service)',
    ],
)
def test_templates_stand_where_names_numbers_and_durations_may(text: str) -> None:
    assert str(parse_promql(text)) == text
    assert refused(text, templating="none").line == 1


def test_a_dynamic_name_is_no_metric() -> None:
    found = parse_promql("istio_${kind}_total + up")
    assert found.metrics == ["up"]
    assert [one.name.dynamic for one in found.selectors if one.name is not None] == [True, False]


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("sum(rate(x[5m])", 1, 4, "parenthesis that is not closed"),
        ("up +", 1, 5, "it ends too early"),
        ("rate(x)", 1, 6, "an argument of rate is a range vector, not an instant vector"),
        ("up\n  and 1", 2, 7, "and takes instant vectors, not scalars"),
        ("sum by (a) without (b) (x)", 1, 12, "unexpected 'without'"),
        ('x{a=~"("}', 1, 6, "no regular expression"),
        ('x{a=~"(?=b)c"}', 1, 6, "no regular expression of RE2"),
        ('{a=""}', 1, 1, "matcher that does not take the empty string"),
        ("", 1, 1, "there is no expression"),
        ("# nothing", 1, 10, "there is no expression"),
        ('"\\d"', 1, 2, "no escape"),
        ("a >= bool b and bool c", 1, 17, "bool stands behind a comparison only"),
        ("foo offset 1m offset 2m", 1, 15, "offset is there twice"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, line: int, column: int, says: str) -> None:
    error = refused(text)
    assert (error.line, error.column) == (line, column)
    assert says in str(error)
    assert "\n" not in str(error)


def test_feature_flags_can_be_off() -> None:
    text = "foo[step()+1m]"
    assert parse_promql(text).needs == ("promql-duration-expr",)
    assert "promql-duration-expr" in str(refused(text, features="none"))
    assert parse_promql(text, features=["promql-duration-expr"]).needs
    assert parse_promql("rate(x[5m])", features="none").needs == ()


def test_no_depth_is_too_deep_and_no_length_too_long() -> None:
    start = time.process_time()
    deep = "(" * 10_000 + "up" + ")" * 10_000
    assert str(parse_promql(deep)) == deep
    wide = " + ".join(["up"] * 5_000)
    assert len(list(walk(parse_promql(wide).tree))) == 9_999
    assert time.process_time() - start < 60  # neither is quadratic
    with pytest.raises(InputError, match="more than 100,000 tokens"):
        parse_promql("+".join(["up"] * 60_000))


_PIECES = st.sampled_from(
    [
        "up",
        "sum",
        "by",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        "5m",
        "1",
        '"a"',
        "=~",
        "=",
        ",",
        "+",
        "and",
        "on",
        "$x",
        "{{ y }}",
        "offset",
        "@",
        "rate",
        " ",
        "\n",
        "#c",
        "\\",
    ]
)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(st.text(max_size=40), st.lists(_PIECES, max_size=14).map(" ".join)))
def test_any_text_is_read_or_refused_and_never_breaks(text: str) -> None:
    for templating in ("grafana", "none"):
        try:
            found = parse_promql(text, templating=templating)
        except InputError as error:
            assert error.line is not None
            assert error.column is not None
            continue
        assert str(found) == text
        for node in walk(found.tree):
            assert 0 <= node.start <= node.end <= len(text)


def test_the_door_is_the_librarys() -> None:
    assert meshport.parse_promql is parse_promql
    call = parse_promql("time()").tree
    assert isinstance(call, Call)
    assert call.type == "scalar"
    assert isinstance(parse_promql("up").tree, Selector)


@pytest.mark.parametrize("text", ["foo @ --100", "foo @ ++1", "foo + fill(--1) bar"])
def test_a_moment_and_a_filling_have_one_sign(text: str) -> None:
    assert "unexpected" in refused(text).reason


def test_a_shift_with_two_signs_is_arithmetic_of_durations() -> None:
    assert parse_promql("foo offset -5m").needs == ()
    assert parse_promql("foo offset --5m").needs == ("promql-duration-expr",)


def test_the_last_parenthesis_ends_with_the_text() -> None:
    assert parse_promql("(0)").tree.end == 3
    assert parse_promql("sum((up))").tree.end == 9
