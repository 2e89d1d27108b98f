"""Policies for the same pods: what one of them closes another may open, as grants add up (Cilium reference 2.2 and 6.1; docs.cilium.io, security/policy)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshport.ir.base import Selector
from meshport.ir.world import Workload
from meshport.lints.inventory import Inventory
from meshport.lints.linkerd_policies import selector_of
from meshport.lints.manifests import Manifest, Path, Review

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


def beside(review: Review, known: Inventory, policy: Manifest, spec: Path) -> Iterator[tuple[Manifest, Path]]:
    """The other rules that hold for each pod that a rule of Cilium selects, NetworkPolicies of Kubernetes among them."""
    for other in review.of(*POLICIES, group="cilium.io"):
        for place in specs_of(other):
            if (other.number, place) != (policy.number, spec) and _covers(known, policy, spec, other, place):
                yield other, place
    for other in review.of("NetworkPolicy", group="networking.k8s.io"):
        if _covers(known, policy, spec, other, ("spec",)):
            yield other, ("spec",)


def _covers(known: Inventory, policy: Manifest, spec: Path, other: Manifest, place: Path) -> bool:
    key = "podSelector" if other.kind == "NetworkPolicy" else "endpointSelector"
    home = "" if policy.kind == POLICIES[1] else known.home(policy)
    if other.get(*place, key) is None or (other.kind != POLICIES[1] and home != known.home(other)):
        return False
    narrow, wide = plain(selector_of(policy, *spec, "endpointSelector")), plain(selector_of(other, *place, key))
    pods = [labels for pod in known.pods(home) if narrow.accepts(labels := _labels(known, pod))]
    return all(map(wide.accepts, pods or [dict(narrow.labels) | ({_NAMESPACE: home} if home else {})]))


def _labels(known: Inventory, pod: Workload) -> dict[str, str]:
    """The labels of a pod as Cilium knows them."""
    home = known.world.namespaces.get(pod.ref.namespace)
    own = {f"io.cilium.k8s.namespace.labels.{key}": value for key, value in (home.labels if home is not None else {}).items()}
    return {**pod.labels, **own, _NAMESPACE: pod.ref.namespace}
