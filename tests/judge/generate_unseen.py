"""Pods that a bundle does not hold: of labels near those that its objects select by, in namespaces of its own, and requests for them."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from .generate import build_request
from .generate_access import WideAtoms, _widened_request
from .vocabulary import MESHED, dice
from .world import Obj, Workload, World, spec_of

_MARKS = ("sidecar.istio.io/inject", "istio.io/dataplane-mode")


def unseen_pods(bundle: list[Obj], seed: int, number: int) -> list[Obj]:
    """Deployments as their namespaces say, none with the labels of one in the bundle: further labels, fewer, or those of several together.

    One with the name of a known application has its ports. None has the name of one that says something of its own of the mesh, nor its account.
    """
    rng, world = Random(f"unseen {seed}"), World(bundle)
    words = _words(bundle, world)
    known = {(one.namespace, _plain(one)) for one in world.workloads}
    found: list[Obj] = []
    for _ in range(4 * number):
        home = rng.choice(MESHED)
        here = [one for one in world.workloads if one.namespace == home]
        labels = _labels(rng, here, words)
        key = home, tuple(sorted(labels.items()))
        if key in known or labels.get("app") in {one.labels.get("app") for one in here if _of_its_own(one)}:
            continue
        known.add(key)
        accounts = {one.service_account for one in here if not _of_its_own(one)} - {one.service_account for one in here if _of_its_own(one)}
        found.append(_deployment(rng, home, f"unseen-{len(found)}", labels, rng.choice([*sorted(accounts), "unseen"]), here))
        if len(found) == number:
            break
    return found


def unseen_requests(world: list[Obj], mesh: str, seed: int, number: int) -> list[Obj]:
    """Requests for the pods that `unseen_pods` made, in a world that holds them."""
    rng, atoms = Random(f"unseen requests {seed}"), WideAtoms(world, mesh)
    atoms.servers = [one for one in World(world).workloads if one.name.startswith("unseen-")]
    return [_widened_request(rng, build_request(rng, atoms)) for _ in range(number)] if atoms.servers else []


def _plain(pod: Workload) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(pod.labels.items()))


def _of_its_own(pod: Workload) -> bool:
    """Whether a pod says something of its own of the mesh, or is on the host's network."""
    return pod.host_network or bool(pod.annotations) or any(mark in pod.labels for mark in _MARKS)


def _words(bundle: list[Obj], world: World) -> dict[str, list[str]]:
    """The labels that pods have and that objects select by, with their values."""
    found: dict[str, set[str]] = {}
    pairs = [pair for one in world.workloads for pair in one.labels.items()]
    for obj in bundle:
        pairs += [pair for labels in _selectors(spec_of(obj)) for pair in labels.items()]
    for key, value in pairs:
        if key not in _MARKS and isinstance(value, str):
            found.setdefault(key, set()).add(value)
    return {key: sorted(values) for key, values in sorted(found.items())}


def _selectors(value: Any) -> Iterator[dict[str, str]]:
    """What is under matchLabels, and what matchExpressions name."""
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _selectors(item)
    if isinstance(value, dict):
        yield value.get("matchLabels") or {}
        for one in value.get("matchExpressions") or ():
            yield from ({one["key"]: text} for text in one.get("values") or ("any",))


def _labels(rng: Random, here: list[Workload], words: dict[str, list[str]]) -> dict[str, str]:
    labels: dict[str, str] = {}
    if here and dice(rng, 0.35):
        labels = {key: value for key, value in rng.choice(here).labels.items() if key in words}
        if labels and dice(rng, 0.5):
            labels.pop(rng.choice(sorted(labels)))
        if dice(rng, 0.6):
            labels[rng.choice(["extra", "version"])] = "v9"
    for key in words:
        if key not in labels and dice(rng, 0.45):
            labels[key] = rng.choice([*words[key], *words[key], "other"])
    return labels


def _deployment(rng: Random, home: str, name: str, labels: dict[str, str], account: str, here: list[Workload]) -> Obj:
    ports: list[Obj] = [{"name": "http", "containerPort": 8080}]
    if dice(rng, 0.5):
        ports.append({"name": "admin", "containerPort": 9090})
    if dice(rng, 0.3):
        ports.append({"name": "tcp-data", "containerPort": 7000})
    same = next((one for one in here if "app" in labels and one.labels.get("app") == labels["app"]), None)
    if same is not None:
        ports = [{"containerPort": port.number, **({"name": port.name} if port.name else {})} for port in same.ports]
    container = {"name": "app", "image": "app:1", "ports": ports}
    template = {"metadata": {"labels": labels}, "spec": {"serviceAccountName": account, "containers": [container]}}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": home},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }  # fmt: skip


__all__ = ["unseen_pods", "unseen_requests"]
