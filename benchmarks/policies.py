"""Seeded sets of Istio policies over as many workloads, the same sets written otherwise, and with single leaves changed."""

from __future__ import annotations

import copy
from pathlib import Path
from random import Random
from typing import Any

import yaml

Doc = dict[str, Any]

PER_NAMESPACE = 20
MUTATED = 0.01  # of the policies, and at least one
_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")
_PORTS = ("8080", "9090")


def workloads(count: int) -> list[Doc]:
    """Namespaces, and a Deployment under its own account for each policy."""
    docs: list[Doc] = []
    for number in range(count):
        namespace, app = _home(number), _app(number)
        if number % PER_NAMESPACE == 0:
            labels = {"istio-injection": "enabled", "kubernetes.io/metadata.name": namespace}
            docs.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
        pod = {
            "metadata": {"labels": {"app": app}},
            "spec": {
                "serviceAccountName": app,
                "containers": [{"name": "app", "image": f"{app}:1", "ports": [{"containerPort": int(port)} for port in _PORTS]}],
            },
        }
        docs.append(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": app, "namespace": namespace},
                "spec": {"replicas": 1, "selector": {"matchLabels": {"app": app}}, "template": pod},
            }
        )
    return docs


def policies(count: int, *, distinct: int | None = None, seed: int = 11) -> list[Doc]:
    """An AuthorizationPolicy for each workload, of two rules: the first for an account with methods under a path, the second for two accounts on a port.

    With `distinct` the rules repeat: so many different ones, whatever the number of policies.
    """
    rng = Random(seed)
    known = [_rules(rng, count) for _ in range(distinct or count)]
    return [_policy(number, f"allow-{_app(number)}", known[number % len(known)]) for number in range(count)]


def rewritten(docs: list[Doc], seed: int = 23) -> list[Doc]:
    """The same policies in other words: renamed, out of order, a policy for each rule, a rule for each method, and some rules twice."""
    rng = Random(seed)
    out: list[Doc] = []
    for doc in docs:
        rules = [single for rule in doc["spec"]["rules"] for single in _by_method(rule)]
        rules += rng.sample(rules, 1)
        for part, rule in enumerate(rules):
            found = copy.deepcopy(doc)
            found["metadata"]["name"] = f"part-{part}-of-{doc['metadata']['name']}"
            found["spec"]["rules"] = [copy.deepcopy(rule)]
            out.append(found)
    rng.shuffle(out)
    return out


def mutated(docs: list[Doc], seed: int = 31) -> tuple[list[Doc], set[str]]:
    """The policies with one leaf changed in 1 % of them, and the names of the workloads that this concerns."""
    rng = Random(seed)
    found = copy.deepcopy(docs)
    concerned = rng.sample(range(len(found)), max(1, int(len(found) * MUTATED)))
    for turn, number in enumerate(concerned):
        first, second = found[number]["spec"]["rules"]
        if turn % 4 == 0:
            first["to"][0]["operation"]["paths"] = ["/changed/*"]
        elif turn % 4 == 1:
            first["from"][0]["source"]["principals"] = ["cluster.local/ns/changed/sa/changed"]
        elif turn % 4 == 2:
            first["to"][0]["operation"]["methods"] = ["HEAD"]
        else:
            second["to"][0]["operation"]["ports"] = ["7070"]
    return found, {found[number]["spec"]["selector"]["matchLabels"]["app"] for number in concerned}


def write(file: Path, *parts: list[Doc]) -> Path:
    """The documents as one file."""
    docs = [doc for part in parts for doc in part]

    class Plain(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    file.write_text(yaml.dump_all(docs, Dumper=Plain, sort_keys=False), encoding="utf-8")
    return file


def _home(number: int) -> str:
    return f"team-{number // PER_NAMESPACE:03d}"


def _app(number: int) -> str:
    return f"app-{number:04d}"


def _policy(number: int, name: str, rules: list[Doc]) -> Doc:
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": _home(number)},
        "spec": {"selector": {"matchLabels": {"app": _app(number)}}, "action": "ALLOW", "rules": copy.deepcopy(rules)},
    }


def _rules(rng: Random, count: int) -> list[Doc]:
    callers = [rng.randrange(count) for _ in range(3)]
    names = [f"cluster.local/ns/{_home(caller)}/sa/{_app(caller)}" for caller in callers]
    operation = {"methods": sorted(rng.sample(_METHODS, 2)), "paths": [f"/api/{rng.randrange(10 * count)}/*"]}
    return [
        {"from": [{"source": {"principals": names[:1]}}], "to": [{"operation": operation}]},
        {"from": [{"source": {"principals": sorted({*names[1:]})}}], "to": [{"operation": {"ports": [rng.choice(_PORTS)]}}]},
    ]


def _by_method(rule: Doc) -> list[Doc]:
    out = []
    for method in rule["to"][0]["operation"].get("methods", [None]):
        single = copy.deepcopy(rule)
        if method is not None:
            single["to"][0]["operation"]["methods"] = [method]
        out.append(single)
    return out
