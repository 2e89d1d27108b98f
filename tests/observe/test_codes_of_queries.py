"""What is said of queries that come near another meaning: each with one that brings it about, and one beside it that does not."""

from __future__ import annotations

import pytest

import meshport

CASES = [
    ("MP803", "linkerd", "istio", 'rate(request_total{direction="inbound"}[5m])', 'rate(response_total{direction="inbound"}[5m])', {}),
    ("MP814", "istio", "linkerd", 'rate(istio_requests_total{job="istio-mesh"}[5m])', "rate(istio_requests_total[5m])", {}),
    (
        "MP815",
        "istio",
        "linkerd",
        'rate(istio_requests_total{reporter=~"$qrep"}[5m])',
        'rate(istio_requests_total{reporter="source"}[5m])',
        {},
    ),
    (
        "MP817",
        "istio",
        "cilium",
        "histogram_quantile(0.9, sum(rate(istio_request_duration_milliseconds_bucket[5m])) by (le))",
        "sum(rate(istio_requests_total[5m]))",
        {"latency": "native-unit"},
    ),
    (
        "MP827",
        "istio",
        "linkerd",
        "histogram_quantile(0.9, rate(istio_request_duration_milliseconds[5m]))",
        "histogram_quantile(0.9, sum(rate(istio_request_duration_milliseconds_bucket[5m])) by (le))",
        {},
    ),
    (
        "MP829",
        "istio",
        "linkerd",
        "sum by (connection_security_policy) (rate(istio_requests_total[5m]))",
        "sum by (response_code) (rate(istio_requests_total[5m]))",
        {},
    ),
]


@pytest.mark.parametrize(("code", "source", "target", "query", "beside", "options"), CASES, ids=[case[0] for case in CASES])
def test_it_is_said_of_the_one_and_not_of_the_other(
    code: str, source: str, target: str, query: str, beside: str, options: dict[str, str]
) -> None:
    def codes(expr: str) -> set[str]:
        return {item.code for item in meshport.translate_promql(expr, source=source, target=target, **options).findings}

    assert code in codes(query)
    assert code not in codes(beside)
