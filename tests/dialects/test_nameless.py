"""Rules of pods with mTLS disabled, as they read for callers who show who they are."""

from __future__ import annotations

from typing import Any

import pytest

from meshport.dialects.istio.nameless import Plain, rewritten

EVERY_PORT = Plain(frozenset(), frozenset(), True, True)
ONE_PORT = Plain(frozenset((8080,)), frozenset(), False, True)
ALL_BUT_ONE = Plain(frozenset(), frozenset((9090,)), True, True)
SOME_PODS = Plain(frozenset(), frozenset(), True, False)


def by(**source: list[str]) -> dict[str, Any]:
    return {"from": [{"source": source}]}


def on(rule: dict[str, Any], **operation: list[str]) -> dict[str, Any]:
    return {**rule, "to": [{"operation": operation}]}


WEB = by(principals=["cluster.local/ns/shop/sa/web"])
NOT_WEB = by(notPrincipals=["cluster.local/ns/shop/sa/web"])
ANYBODY: dict[str, Any] = {"to": [{"operation": {"methods": ["GET"]}}]}


@pytest.mark.parametrize("deny", [False, True])
def test_who_is_asked_for_by_name_is_nobody(deny: bool) -> None:
    assert rewritten([WEB, ANYBODY], EVERY_PORT, deny=deny) == [ANYBODY]


@pytest.mark.parametrize("deny", [False, True])
def test_whom_a_rule_excludes_by_name_is_not_there_to_be_excluded(deny: bool) -> None:
    assert rewritten([NOT_WEB], EVERY_PORT, deny=deny) == [{}]


def test_names_in_when_are_names_too() -> None:
    asked = {"when": [{"key": "source.namespace", "values": ["shop"]}, {"key": "source.ip", "values": ["10.0.0.0/8"]}]}
    excluded = {"when": [{"key": "source.namespace", "notValues": ["shop"]}, {"key": "source.ip", "values": ["10.0.0.0/8"]}]}
    assert rewritten([asked, excluded], EVERY_PORT, deny=True) == [{"when": [{"key": "source.ip", "values": ["10.0.0.0/8"]}]}]


def test_one_alternative_by_address_stays() -> None:
    rule = {"from": [{"source": {"namespaces": ["shop"]}}, {"source": {"ipBlocks": ["10.0.0.0/8"]}}]}
    assert rewritten([rule], EVERY_PORT, deny=False) == [by(ipBlocks=["10.0.0.0/8"])]


def test_on_other_ports_names_count() -> None:
    assert rewritten([WEB], ONE_PORT, deny=False) == [on(WEB, notPorts=["8080"])]
    assert rewritten([on(WEB, ports=["8080", "9090"])], ONE_PORT, deny=False) == [on(WEB, ports=["9090"])]
    assert rewritten([WEB], ALL_BUT_ONE, deny=False) == [on(WEB, ports=["9090"])]
    assert rewritten([NOT_WEB], ONE_PORT, deny=True) == [on({}, ports=["8080"]), on(NOT_WEB, notPorts=["8080"])]


def test_where_pods_differ_nobody_is_let_in_and_everybody_refused() -> None:
    assert rewritten([WEB, NOT_WEB], SOME_PODS, deny=False) == [NOT_WEB]
    assert rewritten([WEB, NOT_WEB], SOME_PODS, deny=True) == [WEB, {}]
