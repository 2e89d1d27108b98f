"""Durations, identities, ports, retry conditions, quantities, hosts, networks."""

from __future__ import annotations

from fractions import Fraction
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshport._resources import data
from meshport.values import _grammar, cidrs, durations, hosts, identities, ports, quantity, retry
from meshport.values.durations import Duration
from meshport.values.identities import EVERYONE, Identity, IdentityGlob
from meshport.values.problems import ValueProblem

GRAMMARS = sorted(path.name.removesuffix(".lark") for path in data("grammars").iterdir() if path.name.endswith(".lark"))
OURS = [
    "regex",
    "duration_go",
    "duration_linkerd",
    "duration_gateway",
    "principal",
    "linkerd_identity",
    "spiffe",
    "ports",
    "retry",
    "quantity",
]


@pytest.mark.parametrize("name", OURS)
def test_compiles_as_lalr_without_conflicts(name: str) -> None:
    from lark import Lark

    assert name in GRAMMARS
    text = (data("grammars") / f"{name}.lark").read_text(encoding="utf-8")
    Lark(text, parser="lalr", lexer="contextual", strict=False, debug=True)  # a reduce conflict raises; shift conflicts are logged
    assert _grammar.parser(name) is _grammar.parser(name)


def test_no_shift_reduce_conflicts(caplog: pytest.LogCaptureFixture) -> None:
    import logging

    from lark import Lark, logger

    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG)
    logger.propagate = True
    try:
        for name in OURS:
            Lark((data("grammars") / f"{name}.lark").read_text(encoding="utf-8"), parser="lalr", debug=True)
    finally:
        logger.setLevel(level)
        logger.propagate = propagate
    assert "Shift/Reduce" not in caplog.text


# ---- durations


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1h30m", "90m"),
        ("1.5s", "1500ms"),
        ("5s", "5s"),
        ("60s", "60s"),
        ("1m", "60s"),
        ("300s", "300s"),
        ("5m", "300s"),
        ("10m", "10m"),
        ("301s", "301s"),
        ("2h", "2h"),
        ("0", "0s"),
        ("0s", "0s"),
        ("-5s", "-5s"),
        ("+1m", "60s"),
        ("1h15m30.9s", "4530900ms"),
        ("10ns", "1ms"),
        ("12µs", "1ms"),
        (".5s", "500ms"),
        ("1.s", "1s"),
        ("1.0005s", "1001ms"),
    ],
)
def test_go_durations(text: str, written: str) -> None:
    assert str(durations.parse_go(text)) == written


@pytest.mark.parametrize("text", ["", "5", "5d", "1 s", "s", ".s", "1h-5m", "--1s", "1.2.3s", "99999999999h", "five"])
def test_no_go_durations(text: str) -> None:
    with pytest.raises(ValueProblem) as caught:
        durations.parse_go(text)
    assert "\n" not in caught.value.message


def test_rounding_is_said() -> None:
    assert durations.parse_go("5us").rounded and durations.parse_go("1.0005s").rounded and not durations.parse_go("1.5s").rounded


@pytest.mark.parametrize(("text", "ns"), [("5s", 5 * 10**9), ("200ms", 2 * 10**8), (" 1m ", 60 * 10**9), ("2d", 172800 * 10**9), ("0", 0)])
def test_linkerd_durations(text: str, ns: int) -> None:
    assert durations.parse_linkerd(text) == Duration(ns)


@pytest.mark.parametrize("text", ["5", "1.5s", "1h30m", "-1s", "5us", ""])
def test_no_linkerd_durations(text: str) -> None:
    with pytest.raises(ValueProblem):
        durations.parse_linkerd(text)


def test_gateway_durations() -> None:
    assert durations.parse_gateway("1h30m") == durations.parse_go("90m") and durations.parse_gateway("10ms").ns == 10**7
    for text in ("1d", "1.5s", "0", "123456s", "1h1m1s1ms1ms", ""):
        with pytest.raises(ValueProblem):
            durations.parse_gateway(text)
    assert Duration(123_456 * 10**6).gateway() == "2m3s456ms"


@given(st.integers(0, 9 * 10**12))
def test_what_is_written_reads_the_same_everywhere(millis: int) -> None:
    span = Duration(millis * 10**6)
    assert durations.parse_go(str(span)) == durations.parse_linkerd(str(span)) == span
    if span.ns < 99_999 * durations.NS["h"]:
        assert durations.parse_gateway(span.gateway()) == span


def test_columns() -> None:
    with pytest.raises(ValueProblem) as caught:
        durations.parse_go("1h5x")
    assert caught.value.column == 4 and "column 4" in str(caught.value)


# ---- identities


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("*", EVERYONE),
        ("cluster.local/ns/shop/sa/web", Identity("cluster.local", "shop", "web")),
        ("cluster.local/ns/ns/sa/sa", Identity("cluster.local", "ns", "sa")),
        ("cluster.local/ns/shop/*", Identity("cluster.local", "shop")),
        ("*/ns/shop/sa/web", Identity(None, "shop", "web")),
        ("*/sa/web", Identity(None, None, "web")),
        ("cluster.local/*", Identity("cluster.local")),
    ],
)
def test_principals(text: str, identity: Identity) -> None:
    assert identities.parse_principal(text) == identity
    assert identity.istio() == text


@pytest.mark.parametrize(
    "text", ["cluster.local/ns/shop/sa/web-*", "*web", "cluster.local/ns/*/sa/web", "*/ns/shop/*", "someone", "cluster*"]
)
def test_other_principals_are_kept(text: str) -> None:
    assert identities.parse_principal(text) == IdentityGlob(text)


def test_globs_match_as_istio_does() -> None:
    assert IdentityGlob("td/ns/a/sa/web-*").language().accepts("td/ns/a/sa/web-1")
    assert not IdentityGlob("td/ns/*/sa/web").language().accepts("td/ns/a/sa/web")
    assert IdentityGlob("*-web").language().accepts("td/ns/a/sa/my-web")


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("*", EVERYONE),
        ("web.shop.serviceaccount.identity.linkerd.cluster.local", Identity("cluster.local", "shop", "web")),
        ("my.web.shop.serviceaccount.identity.linkerd.cluster.local", Identity("cluster.local", "shop", "my.web")),
        ("*.shop.serviceaccount.identity.linkerd.cluster.local", Identity("cluster.local", "shop")),
        ("*.serviceaccount.identity.linkerd.cluster.local", Identity("cluster.local")),
    ],
)
def test_linkerd_identities(text: str, identity: Identity) -> None:
    assert identities.parse_linkerd(text) == identity
    assert identity.linkerd() == text


def test_other_linkerd_identities() -> None:
    assert identities.parse_linkerd("spiffe://root/ns/shop/sa/web") == Identity("root", "shop", "web")
    assert identities.parse_linkerd("spiffe://root/vm/7") == IdentityGlob("spiffe://root/vm/7")
    assert identities.parse_linkerd("*.cluster.local") == IdentityGlob("*.cluster.local")
    other = "web.shop.serviceaccount.identity.mesh.cluster.local"
    assert identities.parse_linkerd(other) == Identity("cluster.local", "shop", "web")
    assert identities.parse_linkerd(other, "linkerd") == IdentityGlob(other)
    for text in ("", "foo.*.bar", "-a", "a..b", "spiffe://root/", "spiffe://root/../x", "spiffe://root:80/x", "Web"):
        with pytest.raises(ValueProblem):
            identities.parse_linkerd(text)


def test_what_has_no_form() -> None:
    assert Identity(None, None, "web").linkerd() is None
    assert (
        Identity(None, "shop").istio() is None
        and Identity(None, "shop").linkerd() == "*.shop.serviceaccount.identity.linkerd.cluster.local"
    )
    assert EVERYONE.covers(Identity("td", "a", "b")) and not Identity("td", "a", "b").covers(EVERYONE)


# ---- ports


def test_ports() -> None:
    assert ports.parse_ports("1-10,25") == ((1, 10), (25, 25))
    assert ports.parse_ports(" 25 , ,3306,1 - 3,4,") == ((1, 4), (25, 25), (3306, 3306))
    assert ports.parse_ports("") == ()
    assert ports.format_ports(((25, 25), (1, 10))) == "1-10,25"
    for text in ("0", "mysql", "65536", "10-1", "1-2-3", "-1"):
        with pytest.raises(ValueProblem):
            ports.parse_ports(text)
    assert ports.parse_ports("mysql,0,25,9 - 10,70000", lenient=True) == ((0, 0), (25, 25))


# ---- retry conditions


def test_istio_retry_on() -> None:
    found = retry.parse_istio("5xx,connect-failure,503,5xx,retriable-4xx,http3-post-connect-failure")
    assert found == retry.RetryOn(("5xx", "connect-failure", "retriable-4xx", "http3-post-connect-failure"), (503,))
    assert str(found) == "5xx,connect-failure,retriable-4xx,http3-post-connect-failure,503" and retry.parse_istio("") == retry.RetryOn()
    assert all(retry.parse_istio(word).conditions == (word,) for word in retry.ISTIO_CONDITIONS)
    for text in ("5xx, 503", "4xx", "500-599", "512", "099", "5xx,", "50", "5xx 503"):
        with pytest.raises(ValueProblem):
            retry.parse_istio(text)


# ---- quantities and weights


def test_quantities() -> None:
    known = {
        "500m": Fraction(1, 2),
        "1": 1,
        "900": 900,
        "1.5": Fraction(3, 2),
        "2Ki": 2048,
        "1e3": 1000,
        "1E3": 1000,
        "1E": 10**18,
        "-5": -5,
        "1k": 1000,
        "3u": Fraction(3, 10**6),
    }
    assert {text: quantity.parse_quantity(text) for text in known} == known
    for text in ("", "m", "1 m", "1Kb", "1e", "1e999"):
        with pytest.raises(ValueProblem):
            quantity.parse_quantity(text)


def test_weights() -> None:
    assert quantity.ratio([900, 100]) == (9, 1)
    assert quantity.ratio([0, 0]) == (0, 0) and quantity.ratio([0, 7]) == (0, 1) and quantity.ratio([]) == ()
    assert quantity.ratio([quantity.parse_quantity("500m"), quantity.parse_quantity("1")]) == (1, 2)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=4))
def test_weights_keep_their_proportion(weights: list[int]) -> None:
    scaled = quantity.ratio(weights)
    assert all(a * sum(scaled) == b * sum(weights) for a, b in zip(weights, scaled, strict=True))


# ---- hosts


def test_hosts() -> None:
    assert hosts.kubernetes_service("reviews.shop.svc.cluster.local") == ("reviews", "shop")
    for host in (
        "reviews",
        "reviews.shop",
        "a.b.c.svc.cluster.local",
        "*.shop.svc.cluster.local",
        "example.com",
        ".shop.svc.cluster.local",
    ):
        assert hosts.kubernetes_service(host) is None
    assert hosts.host_matches("*.foo.com", "a.b.foo.com") and not hosts.host_matches("*.foo.com", "foo.com")
    assert hosts.host_matches("*", "x") and hosts.host_matches("Foo.com", "foo.COM.") and hosts.host_matches("*.com", "*.foo.com")


# ---- networks


def test_networks() -> None:
    net = cidrs.parse_network
    assert str(net("10.1.2.3/8")) == "10.0.0.0/8" and str(net("10.1.2.3")) == "10.1.2.3/32"
    assert [str(n) for n in cidrs.subtract([net("10.0.0.0/30")], [net("10.0.0.1")])] == ["10.0.0.0/32", "10.0.0.2/31"]
    assert [str(n) for n in cidrs.normalise([net("10.0.0.0/25"), net("10.0.0.128/25"), net("::/1"), net("8000::/1")])] == [
        "10.0.0.0/24",
        "::/0",
    ]
    assert cidrs.contains([net("0.0.0.0/0")], [net("10.0.0.0/8")]) and not cidrs.contains([net("0.0.0.0/0")], [net("::/0")])
    assert cidrs.overlaps([net("10.0.0.0/8")], [net("::/0"), net("10.1.0.0/16")]) and not cidrs.overlaps([net("10.0.0.0/8")], [net("::/0")])
    with pytest.raises(ValueProblem):
        net("10.0.0")


BLOCKS = st.lists(st.builds(lambda a, p: cidrs.parse_network(f"10.0.0.{a}/{p}"), st.integers(0, 255), st.integers(24, 32)), max_size=4)


@given(BLOCKS, BLOCKS, st.integers(0, 255))
def test_subtracting_networks(one: list[cidrs.Network], other: list[cidrs.Network], last: int) -> None:
    address = ip_address(f"10.0.0.{last}")
    inside = any(address in n for n in one) and not any(address in n for n in other)
    assert any(address in n for n in cidrs.subtract(one, other)) == inside
