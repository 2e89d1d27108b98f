"""Policies for the same pods: what one of them closes another may open, as grants add up (Cilium reference 2.2 and 6.1; docs.cilium.io, security/policy)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshport.ir.base import Selector
from meshport.ir.world import Workload
from meshport.lints.inventory import Inventory
from meshport.lints.linkerd_policies import selector_of
from meshport.lints.manifests import Manifest, Path

POLICIES = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")
_NAMESPACE = "io.kubernetes.pod.namespace"


def specs_of(policy: Manifest) -> list[Path]:
    """Where the rules of a policy stand."""
    found: list[Path] = [("spec",)] if isinstance(policy.get("spec"), dict) else []
    return found + [path for path, item in policy.each("specs") if isinstance(item, dict)]


def rules_of(policy: Manifest, spec: Path, *directions: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The rules of these directions with their places."""
    for direction in directions:
        for path, rule in policy.each(*spec, direction):
            if isinstance(rule, dict):
                yield path, rule


def plain(selector: Selector) -> Selector:
    """The selector without the sources of its keys: `k8s:app` and `app` are one key."""
    return Selector.of({key.removeprefix("k8s:").removeprefix("any:"): value for key, value in selector.labels}, selector.expressions)


def beside(known: Inventory, policy: Manifest, spec: Path) -> Iterator[tuple[Manifest, Path]]:
    """The other rules that hold for each pod that a rule of Cilium selects, NetworkPolicies of Kubernetes among them."""
    home = "" if policy.kind == POLICIES[1] else known.home(policy)
    narrow = plain(selector_of(policy, *spec, "endpointSelector"))
    others = known.kept("beside", _Others)
    pods = others.pods(home, narrow) or [dict(narrow.labels) | ({_NAMESPACE: home} if home else {})]
    for other, place, wide in others.for_one(home, pods[0]):
        if (other.number, place) != (policy.number, spec) and all(map(wide.accepts, pods)):
            yield other, place


class _Others:
    """All rules for pods by a label that their selector asks for, and all pods by their labels: no rule has to be held against every other."""

    def __init__(self, known: Inventory) -> None:
        self._rules: dict[tuple[str, tuple[str, str] | None], list[tuple[int, Manifest, Path, Selector]]] = {}
        self._pods: dict[tuple[str, str], list[tuple[str, dict[str, str]]]] = {}
        self._every: list[tuple[str, dict[str, str]]] = []
        count = 0
        for other in (*known.review.of(*POLICIES, group="cilium.io"), *known.review.of("NetworkPolicy", group="networking.k8s.io")):
            key = "podSelector" if other.kind == "NetworkPolicy" else "endpointSelector"
            for place in [("spec",)] if other.kind == "NetworkPolicy" else specs_of(other):
                if other.get(*place, key) is not None:
                    wide = plain(selector_of(other, *place, key))
                    told = (self._home(known, other), wide.labels[0] if wide.labels else None)
                    self._rules.setdefault(told, []).append((count, other, place, wide))
                    count += 1
        for pod in known.pods(""):
            labels = _labels(known, pod)
            self._every.append((pod.ref.namespace, labels))
            for pair in labels.items():
                self._pods.setdefault(pair, []).append((pod.ref.namespace, labels))

    @staticmethod
    def _home(known: Inventory, policy: Manifest) -> str:
        """Where a rule holds; "" for everywhere."""
        return "" if policy.kind == POLICIES[1] else known.home(policy)

    def pods(self, home: str, selector: Selector) -> list[dict[str, str]]:
        """The labels of the pods that a selector takes, in a namespace or, where it is "", in all."""
        asked = (*selector.labels, *([(_NAMESPACE, home)] if home else []))
        among = min((self._pods.get(pair, []) for pair in asked), key=len) if asked else self._every
        return [labels for space, labels in among if home in ("", space) and selector.accepts(labels)]

    def for_one(self, home: str, labels: dict[str, str]) -> list[tuple[Manifest, Path, Selector]]:
        """The rules that may take a pod with these labels, in their order; for a namespace its own and those for all."""
        found = [
            one for space in dict.fromkeys(("", home)) for pair in (None, *labels.items()) for one in self._rules.get((space, pair), ())
        ]
        return [(other, place, wide) for _, other, place, wide in sorted(found, key=lambda item: item[0])]


def _labels(known: Inventory, pod: Workload) -> dict[str, str]:
    """The labels of a pod as Cilium knows them."""
    home = known.world.namespaces.get(pod.ref.namespace)
    own = {f"io.cilium.k8s.namespace.labels.{key}": value for key, value in (home.labels if home is not None else {}).items()}
    return {**pod.labels, **own, _NAMESPACE: pod.ref.namespace}
