"""Clusters of which a bundle shows a part: some of its workloads are left out of the input, and pods with the labels that policies speak of, or with others, are added.

What no manifest says is taken as people do it: a container port by some name has the number that this name has elsewhere; and no pod has labels by which a shown
controller counts its own (kubernetes.io/docs/concepts/workloads/controllers/deployment, selector), or all labels of a shown Job.
"""

from __future__ import annotations

import copy
from itertools import permutations
from random import Random
from typing import Any

from .vocabulary import MESHED, dice
from .world import Obj, labels_match, meta, name_of, namespace_of, read_workload, selects, spec_of

CONTROLLERS = ("Deployment", "StatefulSet", "DaemonSet")
_SELECTORS = ("selector", "podSelector", "endpointSelector")
_MARKS = ("sidecar.istio.io/inject", "istio.io/dataplane-mode")
Labels = dict[str, str]


def parted(bundle: list[Obj], seed: int, most: int = 9) -> tuple[list[Obj], list[Obj]]:
    """What is shown of a bundle, and the pods that are there besides: those left out, and at most so many others for each namespace of the mesh."""
    rng = Random(f"unseen {seed}")
    shown, unseen = copy.deepcopy(bundle), []
    chance = (0, 0.3, 0.6, 0.9)[seed % 4]
    for obj in [one for one in shown if one["kind"] in CONTROLLERS and namespace_of(one) in MESHED and dice(rng, chance)]:
        shown.remove(obj)
        pod = spec_of(obj)["template"]
        if (
            pod["spec"].get("hostNetwork")
            or any(mark in pod["metadata"]["labels"] for mark in _MARKS)
            or pod["metadata"].get("annotations")
        ):
            continue  # what the pod itself says is not known
        for container in pod["spec"]["containers"]:
            container.pop("readinessProbe", None)
            container.pop("livenessProbe", None)
        unseen.append(obj)
    for namespace in MESHED:
        candidates = _candidates(namespace, bundle)
        rng.shuffle(candidates)
        unseen += [_pod(rng, namespace, f"ghost-{number}", labels, bundle) for number, labels in enumerate(candidates[:most])]
    return shown, [pod for pod in unseen if not any(_claims(one, pod) for one in shown)]


def _claims(controller: Obj, pod: Obj) -> bool:
    """Whether a controller would count a pod as its own: by its selector, or, as for a Job, by all labels of its pods."""
    if controller["kind"] not in (*CONTROLLERS, "Job", "CronJob") or namespace_of(controller) != namespace_of(pod):
        return False
    counted = spec_of(controller).get("selector")
    return selects(counted, labels_of(pod)) if counted else labels_match(read_workload(controller).labels, labels_of(pod))


def _candidates(namespace: str, bundle: list[Obj]) -> list[Labels]:
    """Labels of pods: what selectors ask for, alone, with more, and together; what pods have, with more, less, and other values; none of it."""
    asked = [labels for obj in bundle for labels in _asked(obj)]
    found: list[Labels] = [{"app": "ghost"}, {"role": "x"}, {}, *asked, *({**one, "track": "x"} for one in asked)]
    found += [{**one, **other} for one, other in permutations(asked, 2) if _agree(one, other)]
    for obj in bundle:
        if obj["kind"] in CONTROLLERS and namespace_of(obj) == namespace:
            own = {key: value for key, value in spec_of(obj)["template"]["metadata"]["labels"].items() if key not in _MARKS}
            found += [{key: value for key, value in own.items() if key == "app"}, {**own, "tier": "other"}, {**own, "app": "ghost"}]
            found += [{**own, **other} for other in asked if _agree(own, other)]
    return [labels for number, labels in enumerate(found) if labels not in found[:number]]


def _agree(one: Labels, other: Labels) -> bool:
    return all(one.get(key, value) == value for key, value in other.items())


def _asked(obj: Obj) -> list[Labels]:
    """Labels that meet the selectors of a policy."""
    if obj["kind"] in (*CONTROLLERS, "Job", "CronJob", "Service", "ServerAuthorization"):
        return []
    found = []
    for spec in (spec_of(obj), *(obj.get("specs") or ())):
        for selector in (spec.get(key) for key in _SELECTORS):
            if isinstance(selector, dict):
                labels = dict(selector.get("matchLabels") or {})
                for item in selector.get("matchExpressions") or ():
                    if item["operator"] in ("In", "Exists"):
                        labels[item["key"]] = (item.get("values") or ["some"])[0]
                found.append({_bare(key): value for key, value in labels.items() if "io." not in key})
    return [labels for labels in found if labels]


def _bare(key: str) -> str:
    return key.removeprefix("k8s:").removeprefix("any:")


def _pod(rng: Random, namespace: str, name: str, labels: Labels, bundle: list[Obj]) -> Obj:
    named: dict[str, set[int]] = {}
    for obj in bundle:
        for container in ((spec_of(obj).get("template") or {}).get("spec") or {}).get("containers") or ():
            for port in container.get("ports") or ():
                named.setdefault(port.get("name", ""), set()).add(port["containerPort"])

    def port(name: str, number: int) -> Obj:
        return {"name": name, "containerPort": min(named.get(name) or {number})}

    ports = [port("http", 8080)]
    if dice(rng, 0.5):
        ports.append(port("admin", 9090))
    if dice(rng, 0.3):
        ports.append(port("tcp-data", 7000))
    account = rng.choice(["web", "shared", "runner", "ghost"])
    pod: dict[str, Any] = {
        "metadata": {"labels": dict(labels)},
        "spec": {"serviceAccountName": account, "containers": [{"name": "app", "image": "x:1", "ports": ports}]},
    }
    spec = {"selector": {"matchLabels": dict(labels)}, "template": pod}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def labels_of(pod: Obj) -> Labels:
    """The labels of an unseen pod."""
    return dict(meta(spec_of(pod)["template"])["labels"])


def is_one(pods: list[Obj], request: Obj) -> bool:
    """Whether a request goes to one of these."""
    target = request["destination"]
    return any((namespace_of(pod), name_of(pod)) == (target["namespace"], target["workload"]) for pod in pods)
