"""What the tests of whole conversions share: the bundles, the cluster after a conversion, and the independent judge asked about it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from judge import Undecided, cilium, istio, linkerd, smi
from judge.http import normalized
from judge.routes import route
from judge.world import World

import meshport
from meshport.pipeline import Result
from meshport.values.paths import SEG

Obj = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
CORPUS = ROOT / "corpus"
DECIDE: dict[str, Any] = {"istio": istio.decide, "linkerd": linkerd.decide, "cilium": cilium.decide, "smi": smi.decide}

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the shared test data at {SHARED}, which is absent")

SAAS_WORLD = """
apiVersion: v1
kind: Service
metadata: {name: users, namespace: saas-api}
spec: {selector: {app: users}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: users-stable, namespace: saas-api}
spec: {selector: {app: users, version: v1}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: users-canary, namespace: saas-api}
spec: {selector: {app: users, version: v2}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users-stable, namespace: saas-api}
spec:
  selector: {matchLabels: {app: users, version: v1}}
  template:
    metadata: {labels: {app: users, version: v1}}
    spec:
      serviceAccountName: users
      containers: [{name: app, image: users:1, ports: [{name: http, containerPort: 8080}, {name: metrics, containerPort: 9090}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users-canary, namespace: saas-api}
spec:
  selector: {matchLabels: {app: users, version: v2}}
  template:
    metadata: {labels: {app: users, version: v2}}
    spec:
      serviceAccountName: users
      containers: [{name: app, image: users:2, ports: [{name: http, containerPort: 8080}, {name: metrics, containerPort: 9090}]}]
"""


# -- input


def documents(text: str) -> list[Obj]:
    return [document for document in yaml.safe_load_all(text) if document]


@lru_cache(maxsize=1)
def seed_blocks() -> dict[str, list[Obj]]:
    """The manifests of the examples that the project grew from, by the number of the example."""
    text = (SHARED / "seed" / "service-mesh-examples.md").read_text(encoding="utf-8")
    found: dict[str, list[Obj]] = {}
    for part in re.split(r"^## Example ", text, flags=re.MULTILINE)[1:]:
        number = part.partition(":")[0]
        for block in re.findall(r"^```yaml\n(.*?)^```", part, flags=re.MULTILINE | re.DOTALL):
            found.setdefault(number, []).extend(documents(block))
    return found


AS_WORKED = r"(?:(?:\.|%2[eE]){0,2}(?:[^./%\\]|%(?:[^2/]|2[^eE/]))[^/\\]*|(?:\.|%2[eE]){3}[^/\\]*)?"
"""A segment in the worked answers, which are older than CVE-2026-73551: they let `..;x` through."""


def example(name: str) -> list[Obj]:
    return documents((SHARED / "worked-examples" / name).read_text(encoding="utf-8").replace(AS_WORKED, SEG))


def corpus(folder: str) -> list[Obj]:
    return [item for file in sorted((CORPUS / folder).glob("*.yaml")) for item in documents(file.read_text(encoding="utf-8"))]


def converted(bundle: list[Obj], source: str, target: str, **options: Any) -> Result:
    return meshport.convert(meshport.load_objects(bundle), source=source, target=target, **options)


# -- the cluster afterwards


def identity(obj: Obj) -> tuple[str, str, str, str]:
    meta = obj["metadata"]
    return obj["apiVersion"].rpartition("/")[0], obj["kind"], meta.get("namespace") or "", meta["name"]


def afterwards(bundle: list[Obj], result: Result) -> list[Obj]:
    """What stands in the cluster once the output is applied and the removals are done."""
    made = [item.object for item in result.manifests]
    new = {identity(obj) for obj in made}
    gone = {(item["apiVersion"].rpartition("/")[0], item["kind"], item["namespace"] or "", item["name"]) for item in result.removals}
    return [obj for obj in bundle if identity(obj) not in new and identity(obj) not in gone] + made


def judged_with(result: Result) -> dict[str, Any]:
    """The settings of the target's installation, as the judge takes them."""
    chart = result.install["helm_values"].get("linkerd-control-plane", {})
    policy, skipped = chart.get("proxy", {}).get("defaultInboundPolicy"), chart.get("proxyInit", {}).get("ignoreInboundPorts")
    return {**({"default_policy": policy} if policy else {}), **({"skipped_ports": skipped} if skipped is not None else {})}


# -- requests


def probe_paths(bundle: Iterable[Obj]) -> dict[tuple[str, str], set[tuple[int, str]]]:
    """Declared HTTP probes by workload: port and path."""
    found: dict[tuple[str, str], set[tuple[int, str]]] = {}
    for obj in bundle:
        if obj["kind"] not in ("Deployment", "StatefulSet", "DaemonSet"):
            continue
        containers = obj["spec"]["template"]["spec"]["containers"]
        named = {port["name"]: port["containerPort"] for one in containers for port in one.get("ports", ()) if "name" in port}
        key = obj["metadata"]["namespace"], obj["metadata"]["name"]
        for one in containers:
            for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
                if get := one.get(probe, {}).get("httpGet"):
                    found.setdefault(key, set()).add((named.get(get["port"], get["port"]), get["path"].partition("?")[0]))
    return found


def dotted(path: str) -> bool:
    """Whether a raw path has dot segments or backslashes: Istio resolves them before it decides, Linkerd takes the path as it came."""
    bare = path.partition("?")[0].replace("\\", "/").replace("%2e", ".").replace("%2E", ".")
    return "\\" in path.partition("?")[0] or any(segment in (".", "..") for segment in bare.split("/"))


def owners(result: Result, request: Obj) -> list[Any]:
    """The findings that answer for a request of this destination no longer getting through."""
    target = request["destination"]

    def names(item: Any) -> bool:
        return (
            item.namespace in (None, target["namespace"])
            and item.workload in (None, target.get("workload"))
            and item.port in (None, target["port"])
        )

    return [one for one in result.findings if one.effect in ("narrows", "changes") and any(names(item) for item in one.affects)]


def verdicts(bundle: list[Obj], result: Result, requests: Iterable[Obj]) -> Iterator[tuple[Obj, bool, bool]]:
    """(request, allowed before, allowed after) for each request that the judge can decide."""
    before, after = DECIDE[result.options.source], DECIDE[result.options.target]
    old, new, settings = World(bundle), World(afterwards(bundle, result)), judged_with(result)
    for request in requests:
        try:
            let_through = after(new, request, **settings) == "allow" and _by_the_network(new, result, request)
            yield request, before(old, request) == "allow", let_through
        except Undecided:
            continue


def outcomes(bundle: list[Obj], mesh: str, request: Obj) -> list[Any]:
    """What becomes of a request; where the Gateway API leaves the place of regular expressions open, both ways."""
    if mesh != "gateway-api":
        return [route(bundle, mesh, request)]
    return [route(bundle, "gateway-api", request, expressions=place) for place in ("last", "early")]


def _by_the_network(new: Iterable[Obj], result: Result, request: Obj) -> bool:
    """Whether network policy that was kept lets a request through: one inside the mesh comes at the proxies' port where they have one."""
    if result.options.source != "cilium" or not any(obj["kind"].startswith("Cilium") for obj in new):
        return True
    if cilium.decide(new, request) == "allow":
        return True
    release = tuple(int(part) for part in result.options.target_version.split(".")[:2])
    if result.options.target != "linkerd" or release < (2, 18) or not request["source"].get("meshed"):
        return False
    return cilium.decide(new, {**request, "destination": {**request["destination"], "port": 4143}}) == "allow"


def problems(bundle: list[Obj], result: Result, requests: Iterable[Obj]) -> tuple[list[str], Counter[tuple[bool, bool]]]:
    """Requests that are newly allowed, and newly denied ones that no finding owns; and how many requests went which way."""
    probes, wrong, seen = probe_paths(bundle), [], Counter[tuple[bool, bool]]()
    for request, before, after in verdicts(bundle, result, requests):
        seen[before, after] += 1
        target = request["destination"]
        if (
            after
            and not before
            and not _excused(bundle, result, request, probes.get((target["namespace"], target.get("workload", "")), set()))
        ):
            wrong.append(f"newly allowed: {request}")
        if before and not after and not owners(result, request):
            wrong.append(f"denied, and no finding says so: {request}")
    return wrong, seen


def _excused(bundle: list[Obj], result: Result, request: Obj, probes: set[tuple[int, str]]) -> bool:
    """Whether a request may be newly allowed: the probe of a workload, or a path that arrives resolved, as one that the caller could send before."""
    path, mark, query = request.get("path", "").partition("?")
    if request.get("method") == "GET" and (request["destination"]["port"], path) in probes:
        return True
    return result.options.source == "linkerd" and DECIDE["linkerd"](bundle, {**request, "path": normalized(path) + mark + query}) == "allow"


# -- what holds for every conversion


def accounted(result: Result) -> list[str]:
    """What is wrong with the ledger and the differences of a result."""
    wrong = [f"a difference without a finding: {change.subject} {change.path}" for change in result.diff if not change.findings]
    counts = result.ledger.counts
    if counts["unaccounted"]:
        wrong.append(f"{counts['unaccounted']} leaves are unaccounted")
    if sum(number for word, number in counts.items() if word != "leaves") != counts["leaves"] or counts["leaves"] != len(
        list(result.ledger)
    ):
        wrong.append(f"the ledger does not add up: {counts}")
    wrong += [f"{finding.code} {finding.message}" for finding in result.findings if finding.code in ("MP900", "MP901")]
    return wrong
