"""Input that is made to be slow or large comes to an end in seconds, with what cannot be computed left undecided."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport
from meshport.effective.networks import Networks
from meshport.ir.authorization import Network
from meshport.values import dfa
from meshport.values.automata import Is, Spending, nfa, shortest
from meshport.values.language import Language, LanguageTooLarge, union
from meshport.values.search import finds_whole

WORLD: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"istio-injection": "enabled"}}},
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web", "ports": [{"containerPort": 8080, "name": "http"}]}]},
            },
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    },
]


def _policy(rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "rules": rules},
    }


def _converted(rules: list[dict[str, Any]], target: str) -> meshport.Result:
    return meshport.convert(meshport.load_text(yaml.safe_dump_all([*WORLD, _policy(rules)])), source="istio", target=target)


def test_rules_whose_paths_multiply_are_undecided_and_not_endless() -> None:
    rules = [{"to": [{"operation": {"notPaths": [f"/p{number}/*", f"*x{number}"]}}]} for number in range(100)]

    result = _converted(rules, "istio")

    assert not [finding for finding in result.findings if finding.effect == "widens"]
    assert result.ledger.counts["unaccounted"] == 0


def test_a_question_is_given_up_by_its_work_and_not_only_by_its_states() -> None:
    wide = Language.any()
    for number in range(40):
        wide = wide & union(Language.prefix(f"/p{number}/"), Language.suffix(f"x{number}"))

    with pytest.raises(LanguageTooLarge):
        shortest((wide & Language.exact("/").__invert__())._node, work=20_000)


def test_the_same_question_costs_the_same_whatever_was_asked_before() -> None:
    node = (Language.regex(".*a.{6}") & ~Language.regex(".*b.{6}"))._node

    def cost() -> int:
        for work in range(0, 20_000, 100):
            try:
                shortest(node, work=work)
            except LanguageTooLarge:
                continue
            return work
        return -1

    nfa.cache_clear()
    first = cost()
    assert 0 < first == cost()


@pytest.mark.parametrize("target", ["istio", "cilium", "linkerd"])
@pytest.mark.parametrize(
    "regex", ["/(a{1,1000}){1,1000}", "/((((){1,1000}){1,1000}){1,1000}){1,1000}a", "/(a{1000}){2}", "/" + "ab?" * 3000]
)
def test_repetitions_of_repetitions_are_a_finding_or_a_translation(regex: str, target: str) -> None:
    api = "policy.linkerd.io/v1beta3"
    route = {
        "apiVersion": api,
        "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": "shop"},
        "spec": {
            "parentRefs": [{"group": "policy.linkerd.io", "kind": "Server", "name": "web"}],
            "rules": [{"matches": [{"path": {"type": "RegularExpression", "value": regex}}]}],
        },
    }
    server = {
        "apiVersion": api,
        "kind": "Server",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "port": 8080},
    }

    result = meshport.convert(meshport.load_text(yaml.safe_dump_all([*WORLD, server, route])), source="linkerd", target=target)

    assert result.ledger.counts["unaccounted"] == 0


def test_a_search_through_nested_repetitions_ends() -> None:
    assert finds_whole("/(a{1,1000}){1,1000}") in (True, False)
    assert finds_whole("|".join(f"/p{number}/.*" for number in range(600)))


def test_an_automaton_with_too_many_moves_is_refused_when_it_is_built() -> None:
    with pytest.raises(LanguageTooLarge):
        Language.regex("(?:a?){1000}" * 5).accepts("a")


def test_a_long_chain_is_minimised() -> None:
    node = Language.regex("a{1000}" * 10)._node
    assert isinstance(node, Is)
    chain = dfa.build(node)

    assert len(chain.accepting) == 10_001
    assert dfa.shortest(chain) == "a" * 10_000


def test_spending_ends() -> None:
    spending = Spending(3)
    spending.take(3)
    with pytest.raises(LanguageTooLarge):
        spending.take(1)


def test_many_networks_with_exceptions_are_told_apart() -> None:
    many = [Network(f"10.{number // 256}.{number % 256}.0/24", (f"10.{number // 256}.{number % 256}.7/32",)) for number in range(2000)]
    one = Networks(tuple(Network(network.cidr) for network in many), tuple(sorted(out for network in many for out in network.excluded)))
    other = Networks(tuple(many))

    assert one.minus(other) == []
    assert other.minus(one) == []
    assert one.networks() == tuple(sorted(many, key=str))
    assert other.minus(Networks(tuple(many[1:]))) == [Networks(tuple(many), tuple(sorted(network.cidr for network in many[1:])))]


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_many_rules_of_one_policy_are_compared_only_where_they_share_a_caller(target: str) -> None:
    rules = [
        {"from": [{"source": {"principals": [f"cluster.local/ns/shop/sa/c{number}"]}}], "to": [{"operation": {"paths": [f"/p{number}"]}}]}
        for number in range(200)
    ]

    result = _converted(rules, target)

    assert result.ledger.counts["unaccounted"] == 0
    assert not [finding for finding in result.findings if finding.effect == "widens"]


def test_many_paths_of_one_rule_stay_exact() -> None:
    rules = [{"to": [{"operation": {"paths": [f"/p{number}/*" if number % 2 else f"/p{number}" for number in range(600)]}}]}]

    result = _converted(rules, "linkerd")

    assert not [finding for finding in result.findings if finding.severity == "error"]
    assert (
        sum(
            len(rule["matches"]) for item in result.manifests if item.object["kind"] == "HTTPRoute" for rule in item.object["spec"]["rules"]
        )
        >= 600
    )


@pytest.mark.parametrize("port", ["9" * 5000, "²"])
def test_a_port_that_only_looks_like_a_number_is_no_exception(port: str) -> None:
    result = _converted([{"to": [{"operation": {"ports": [port]}}]}], "linkerd")

    assert result.ledger.counts["unaccounted"] == 0


@pytest.mark.parametrize("target", ["istio", "linkerd", "cilium"])
@pytest.mark.parametrize("action", ["ALLOW", "DENY"])
def test_a_rule_of_more_combinations_than_are_read_lets_nobody_in(action: str, target: str) -> None:
    """Each of 70 sources with each of 70 operations; it ended the run."""
    sources = [
        {"source": {"principals": [f"cluster.local/ns/shop/sa/c{number}"], "ipBlocks": [f"10.{number}.0.0/16"]}} for number in range(70)
    ]
    operations = [{"operation": {"methods": ["GET"], "paths": [f"/p{number}/*"]}} for number in range(70)]
    policy = {**_policy([{"from": sources, "to": operations}])}
    policy["spec"]["action"] = action
    all_of_them = {**_policy([{}]), "metadata": {"name": "all", "namespace": "shop"}}
    docs = [*WORLD, policy, *([all_of_them] if action == "DENY" else [])]

    result = meshport.convert(meshport.load_text(yaml.safe_dump_all(docs)), source="istio", target=target)

    assert result.ledger.counts["unaccounted"] == 0
    assert not [finding for finding in result.findings if finding.effect == "widens"]
    assert [finding.code for finding in result.findings if "combinations" in finding.message] == ([] if target == "istio" else ["MP201"])


def test_many_operations_of_one_kind_are_one() -> None:
    """70 sources and 70 lists of paths alone are as many as 70 paths."""
    sources = [
        {"source": {"principals": [f"cluster.local/ns/shop/sa/c{number}"], "ipBlocks": [f"10.{number}.0.0/16"]}} for number in range(70)
    ]
    rules = [{"from": sources, "to": [{"operation": {"paths": [f"/p{number}"]}} for number in range(70)]}]

    result = _converted(rules, "cilium")

    assert not [finding for finding in result.findings if finding.code == "MP201"]
