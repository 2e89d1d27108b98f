"""The subjects that differences and findings speak of: the same text on both sides, so that a finding can answer for a difference."""

from __future__ import annotations

from meshport.findings import Affected
from meshport.ir.authorization import ACCOUNT_LABEL
from meshport.ir.base import PodSet, Ref
from meshport.ir.world import World


def access(workload: Ref, port: int | None) -> str:
    """Access to one container port of a workload; None: every port that nothing names."""
    return f"access to {workload} port {port}" if port is not None else f"access to {workload} other ports"


def unseen(pods: PodSet) -> Affected:
    """Pods that the bundle does not show, by what selects them: nobody else is meant."""
    return Affected(pods.namespace or None, None if pods.selector.everything else str(pods.selector))


def beside_known(pods: PodSet, world: World) -> bool:
    """Whether pods that the bundle does not show are others of an account under which it shows some: nothing but their account tells of them."""
    accounts = {value for item in pods.selector.expressions if (item.key, item.operator) == (ACCOUNT_LABEL, "In") for value in item.values}
    known = world.workloads if not pods.namespace else world.of_namespace(pods.namespace)
    return bool(accounts) and accounts <= {workload.account.value for workload in known}


ANY_POD = "any pod"
"""Stands for pods of a namespace that neither the bundle shows nor a policy selects."""


def of_other_ports(subject: str) -> bool:
    """Whether a subject of `access` is every port that nothing names."""
    return subject.endswith(" other ports")


def tokens(workload: Ref) -> str:
    """What a difference in whose tokens are checked is about."""
    return f"tokens at {workload}"


def membership(namespace: str) -> str:
    return f"mesh membership of namespace {namespace}"
