"""Random bundles with everything that decides access, both ways between Istio and Linkerd and each onto itself, at several releases of the target."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from judge import generate_access
from judge.generate_access import RELEASES, wide_requests
from judge.world import World
from sampling import some

from meshport.findings import Finding
from meshport.pipeline import Result

from .common import DECIDE, Obj, accounted, afterwards, converted, judged_with, problems, verdicts

MAKE: dict[str, Any] = {"istio": generate_access.wide_istio_bundle, "linkerd": generate_access.wide_linkerd_bundle}
WAYS = [("istio", "linkerd"), ("linkerd", "istio"), ("istio", "istio"), ("linkerd", "linkerd")]
ACROSS = WAYS[:2]
SEEDS = some(range(14))


def moved(source: str, target: str, seed: int, **options: Any) -> tuple[list[Obj], Result]:
    releases = RELEASES[target]
    bundle = MAKE[source](seed)
    return bundle, converted(bundle, source, target, target_version=releases[seed % len(releases)], **options)


def named(finding: Finding, request: Obj) -> bool:
    """Whether a finding names the destination of a request."""
    target = request["destination"]
    return any(
        item.namespace in (None, target["namespace"])
        and item.workload in (None, target["workload"])
        and item.port in (None, target["port"])
        for item in finding.affects
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("source", "target"), WAYS)
def test_nothing_is_newly_allowed_and_every_new_denial_is_owned(source: str, target: str, seed: int) -> None:
    bundle, result = moved(source, target, seed, verify=False)
    wrong, seen = problems(bundle, result, wide_requests(bundle, source, seed, 50))
    assert wrong == []
    assert accounted(result) == []
    assert sum(seen.values()) > 15


@pytest.mark.parametrize(("source", "target", "least"), [("istio", "linkerd", 0.8), ("linkerd", "istio", 0.95)])
def test_most_of_what_was_allowed_is_allowed(source: str, target: str, least: float) -> None:
    seen: Counter[tuple[bool, bool]] = Counter()
    for seed in some(range(20, 32)):
        bundle, result = moved(source, target, seed, verify=False)
        seen += problems(bundle, result, wide_requests(bundle, source, seed, 40))[1]
    assert seen[True, True] >= least * (seen[True, True] + seen[True, False])


@pytest.mark.parametrize("seed", some(range(8)))
@pytest.mark.parametrize(("source", "target"), ACROSS)
def test_looser_owns_each_widening_with_a_witness(source: str, target: str, seed: int) -> None:
    bundle, result = moved(source, target, seed, on_loss="looser")
    wrong, _ = problems(bundle, result, wide_requests(bundle, source, seed, 40))
    assert [text for text in wrong if text.startswith("denied")] == []
    opened = [one for one in result.findings if one.severity == "error" and one.effect in ("widens", "changes") and one.witness is not None]
    for request, before, after in verdicts(bundle, result, wide_requests(bundle, source, seed, 40)):
        if after and not before and any(str(request) in text for text in wrong):
            assert any(named(finding, request) for finding in opened), request


@pytest.mark.parametrize("seed", some(range(8)))
@pytest.mark.parametrize(("source", "target"), ACROSS)
def test_stop_writes_nothing_where_something_is_lost(source: str, target: str, seed: int) -> None:
    _, result = moved(source, target, seed, on_loss="stop", verify=False)
    lost = any(
        one.severity == "error" or (one.severity == "warning" and one.disposition in ("dropped", "manual", "approximated"))
        for one in result.findings
    )
    assert result.stopped == lost
    assert bool(result.manifests) != lost


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("source", "target"), ACROSS)
def test_a_warning_of_changed_access_names_pods_where_it_changed(source: str, target: str, seed: int) -> None:
    _, result = moved(source, target, seed)
    changed = {change.subject for change in result.diff}
    assert result.verification is not None
    undecided = {text.partition(": ")[0].rpartition(":")[0] for text in result.verification.undecided}
    for finding in result.findings:
        about = {subject for subject, _ in finding.explains}
        if finding.severity == "info" or finding.effect == "none" or not about or not all(text.startswith("access to ") for text in about):
            continue
        for place in finding.affects:
            pods = f"{place.namespace}/{place.workload}"
            wanted = {
                text for text in about if text.startswith(f"access to {pods} ") and (place.port is None or text.endswith(f" {place.port}"))
            }
            assert pods in undecided or not wanted or wanted & changed, (finding.code, finding.message, place)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("source", "target"), ACROSS)
def test_one_thing_is_one_finding(source: str, target: str, seed: int) -> None:
    _, result = moved(source, target, seed, verify=False)
    said = Counter((one.code, one.message, one.document) for one in result.findings if one.feature.startswith("authorization."))
    assert [key for key, times in said.items() if times > 1] == []


@pytest.mark.parametrize("seed", [2, 3, 9, 106, 113])
def test_the_kubelet_gets_through_to_declared_probes_or_it_is_an_error(seed: int) -> None:
    """Also where a rule for the same method takes the path of the probe: its route is no longer than the probe's, and the order is open."""
    bundle = generate_access.wide_istio_bundle(seed)
    result = converted(bundle, "istio", "linkerd", verify=False)
    refused = {(one.namespace, one.workload, one.port) for finding in result.findings if finding.code == "MP169" for one in finding.affects}
    after, asked = World(afterwards(bundle, result)), 0
    for pods in after.workloads:
        for port, path in pods.probes:
            request = {
                "source": {"meshed": False, "ip": "10.0.0.1"}, "destination": {"namespace": pods.namespace, "workload": pods.name, "port": port},
                "protocol": "http", "method": "GET", "host": "10.2.0.5", "path": path, "headers": {"user-agent": "kube-probe/1.34"},
            }  # fmt: skip
            through = DECIDE["linkerd"](after.objects, request, **judged_with(result)) == "allow"
            assert through != ((pods.namespace, pods.name, port) in refused), request
            asked += 1
    assert asked > 2
