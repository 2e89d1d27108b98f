"""There and back again: a bundle converted to another mesh, and the cluster that this makes converted back, do what the bundle did.

Where nothing above an info was said on either way, the meaning is the first one; elsewhere each difference is one that a finding answers for.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from judge.generate import random_istio_bundle, random_linkerd_bundle
from judge.generate_cilium import random_cilium_bundle
from sampling import ALL, some
from scenarios.common import afterwards

import meshport
from meshport.documents import dump, load_objects
from meshport.pipeline import Result

from .changing import Source, sources
from .common_ground import an_object, bundle, world
from .common_guards import guarded

Obj = dict[str, Any]
MESHES = ("istio", "linkerd", "cilium", "gateway-api", "ambient")
PAIRS = [(a, b) for a in MESHES[:4] for b in MESHES if a != b and (a, b) != ("gateway-api", "ambient")]
SAYS_ALWAYS = {
    ("istio", "cilium"),
    ("linkerd", "cilium"),
    ("cilium", "istio"),
    ("cilium", "linkerd"),
    ("cilium", "ambient"),
    ("istio", "ambient"),
}
"""Ways on which something is lost whatever the bundle: workload mTLS, the protocols beside TCP, the callers that go past a waypoint."""
GUARDED = [("linkerd", "istio"), ("linkerd", "cilium"), ("istio", "linkerd"), ("istio", "cilium")]
GUARDS = ("breaker of", "rate limit of", "policy of Service", "egress of")
MODELS = ("MP712", "MP340", "MP597")
"""Where the meshes are built otherwise: Linkerd judges what leaves by the names that clients give, and goes by the breaker of the Service that is called."""
RANDOM: dict[str, Any] = {"istio": random_istio_bundle, "linkerd": random_linkerd_bundle, "cilium": random_cilium_bundle}
SOURCES = [source for source in sources() if " to " not in source.name and source.mesh != "smi"]


@dataclass(frozen=True)
class Trip:
    """Both conversions, and what is different at the end."""

    there: Result
    back: Result
    differences: list[meshport.Change]
    verdict: str

    @property
    def loud(self) -> list[str]:
        return sorted(
            {f"{item.code} {item.message}" for one in (self.there, self.back) for item in one.findings if item.severity != "info"}
        )

    @property
    def unanswered(self) -> list[str]:
        """The differences that no finding of either conversion answers for."""
        findings = [item for one in (self.there, self.back) for item in one.findings]
        said = {pair for item in findings for pair in item.explains}
        unread = tuple(  # rules by name that were left out before anything was compared
            f"access to {place.namespace}/{place.workload} "
            for item in findings
            if item.code in ("MP166", "MP168")
            for place in item.affects
        )
        found = []
        for change in self.differences:
            whole = change.subject.partition(" port ")[0]
            subjects = (change.subject, whole, f"{whole} other ports")  # a port that a wider value of its rule covers is one of the others
            if change.subject.startswith(unread):
                continue
            of_a_port = {subject for subject, _ in said if subject.startswith(GUARDS) and subject.partition(" port ")[0] == whole}
            if not any((subject, aspect) in said for subject in (*subjects, *of_a_port) for aspect in (change.aspect, "*")):
                found.append(f"{change.change} {change.subject} {change.path}: {change.before} -> {change.after}")
        return found


def trip(objects: list[Obj], mesh: str, other: str) -> Trip:
    there = _convert(objects, mesh, other)
    middle = afterwards([item for item in objects if "metadata" in item], there)
    back = _convert(middle, "istio" if other == "ambient" else other, mesh)
    first, last = load_objects(objects), load_objects(afterwards(middle, back))
    found = meshport.diff(first, last, old_mesh=mesh, new_mesh=mesh)
    if other == "cilium":
        found = [change for change in found if not _of_sidecars_alone(change)]
    proof = meshport.verify(first, last, old_mesh=mesh, new_mesh=mesh)
    return Trip(there, back, found, proof.verdict)


def _convert(objects: list[Obj], source: str, target: str) -> Result:
    choices: Obj = {"data_plane": "ambient"} if target == "ambient" else {}
    if source == "cilium" and target != "gateway-api":
        choices["keep_network_policy"] = False
    return meshport.convert(
        load_objects(objects), source=source, target="istio" if target == "ambient" else target, verify=False, **choices
    )


def _of_sidecars_alone(change: meshport.Change) -> bool:
    """Whether a difference is about what Cilium has no place for, so that it cannot remember it: who has a sidecar, its size, whether it logs, and what it encrypts."""
    return change.subject.startswith(("mesh membership of", "proxy of", "access log of")) or change.aspect == "tls.mode"


@pytest.mark.parametrize("seed", some(range(5)))
@pytest.mark.parametrize(("mesh", "other"), PAIRS, ids=[f"{a}-by-{b}" for a, b in PAIRS])
def test_what_both_meshes_have_comes_back(mesh: str, other: str, seed: int) -> None:
    made = trip(bundle(mesh, other, seed), mesh, other)
    assert made.unanswered == []
    if (mesh, other) not in SAYS_ALWAYS:
        assert made.loud == []
    if not made.loud:
        assert made.differences == []
        assert made.verdict == "equivalent"


@pytest.mark.parametrize("seed", some(range(4)))
@pytest.mark.parametrize(("mesh", "other"), GUARDED, ids=[f"{a}-by-{b}" for a, b in GUARDED])
def test_breakers_limits_and_what_may_leave_come_back(mesh: str, other: str, seed: int) -> None:
    """Loud are ways by Cilium alone, where Envoys of nodes do what Envoys of pods did, and what the meshes are built otherwise for."""
    made = trip(guarded(bundle(mesh, other, seed), mesh, other, Random(f"{mesh} {other} {seed}")), mesh, other)
    assert made.unanswered == []
    assert {item.code for one in (made.there, made.back) for item in one.findings} & {"MP900", "MP901", "MP902", "MP904"} == set()
    if (mesh, other) not in SAYS_ALWAYS:
        assert [text for text in made.loud if text.partition(" ")[0] not in MODELS] == []
    kept = [change for change in made.differences if change.subject.startswith(GUARDS)]
    assert kept == [] or (mesh, other) in SAYS_ALWAYS
    if not made.loud:
        assert made.differences == []


@pytest.mark.parametrize("seed", some(range(4)))
@pytest.mark.parametrize(("mesh", "other"), [pair for pair in PAIRS if pair[0] in RANDOM], ids=lambda value: str(value))
def test_random_policies_come_back_or_their_loss_is_said(mesh: str, other: str, seed: int) -> None:
    made = trip(RANDOM[mesh](seed), mesh, other)
    assert made.unanswered == []
    if not any(item.effect != "none" for one in (made.there, made.back) for item in one.findings):
        assert made.differences == []
        assert made.verdict in ("equivalent", "inconclusive")  # policies for pods that the bundle does not show


WEB, JOBS = ("cluster.local/ns/shop/sa/web", "cluster.local/ns/ops/sa/jobs")


def _allow(*rules: Obj) -> Obj:
    spec = {"selector": {"matchLabels": {"app": "pay"}}, "rules": list(rules)}
    return an_object("security.istio.io/v1", "AuthorizationPolicy", "shop", "pay", spec)


def _from(caller: str, *paths: str) -> Obj:
    return {"from": [{"source": {"principals": [caller]}}], "to": [{"operation": {"ports": ["8080"], "paths": list(paths)}}]}


def _on_service(mesh: str, *rules: Obj) -> Obj:
    parent = {"group": "core" if mesh == "linkerd" else "", "kind": "Service", "name": "web", "port": 80}
    return an_object("gateway.networking.k8s.io/v1", "HTTPRoute", "shop", "web", {"parentRefs": [parent], "rules": list(rules)})


SET = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-from", "value": "web"}]}}
TO_B = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}}
BELOW_A = [{"path": {"type": "PathPrefix", "value": "/a"}}]
REST: Obj = {"backendRefs": [{"name": "web", "port": 80}]}
QUIET: dict[str, tuple[str, str, Obj]] = {
    "two callers with the same paths": ("istio", "linkerd", _allow(_from(WEB, "/a", "/a/*"), _from(JOBS, "/a", "/a/*"))),
    "callers with paths that overlap": ("istio", "linkerd", _allow(_from(WEB, "/a*", "/b"), _from(JOBS, "/b", "/c/*"))),
    "a redirect below a prefix": (
        "linkerd", "istio",
        _on_service("linkerd", {"matches": BELOW_A, "filters": [{"type": "RequestRedirect", "requestRedirect": TO_B}]}, REST),
    ),
    "a rule whose backends have no weight": (
        "gateway-api", "linkerd", _on_service("gateway-api", {"matches": BELOW_A, "backendRefs": [{"name": "web", "port": 80, "weight": 0}]}, REST)
    ),
    "a rule without backends": ("gateway-api", "istio", _on_service("gateway-api", {"matches": BELOW_A, "filters": [SET]}, REST)),
}  # fmt: skip


@pytest.mark.parametrize(("mesh", "other", "extra"), QUIET.values(), ids=QUIET)
def test_there_and_back_and_there_again(mesh: str, other: str, extra: Obj) -> None:
    """Without a finding on the way, and the second time comes to what the first came to."""
    objects = [*world(mesh), extra]
    made = trip(objects, mesh, other)
    assert (made.loud, made.unanswered, made.verdict in ("equivalent", "narrowed")) == ([], [], True)
    middle = afterwards(objects, made.there)
    last = afterwards(middle, made.back)
    again = _convert(last, mesh, other)
    assert [item.code for item in again.findings if item.severity != "info"] == []
    assert meshport.diff(load_objects(middle), load_objects(afterwards(last, again)), old_mesh=other, new_mesh=other) == []


def _ways() -> list[tuple[Source, str]]:
    """Each bundle by way of one mesh, each mesh in turn; with MESHPORT_TESTS=all, by way of all."""
    found = []
    for number, source in enumerate(SOURCES):
        others = [other for other in MESHES if other != source.mesh]
        found += [(source, other) for other in (others if ALL else [others[number % len(others)]])]
    return found


@pytest.mark.parametrize(("source", "other"), _ways(), ids=[f"{source.name}-by-{other}" for source, other in _ways()])
def test_known_bundles_come_back_or_their_loss_is_said(source: Source, other: str) -> None:
    made = trip(source.objects, source.mesh, other)
    assert made.unanswered == []
    defects = {item.code for one in (made.there, made.back) for item in one.findings} & {"MP900", "MP901", "MP904"}
    assert defects == set()


@pytest.mark.parametrize("seed", some(range(3)))
@pytest.mark.parametrize("mesh", MESHES[:4])
def test_modernising_twice_is_modernising_once(mesh: str, seed: int) -> None:
    objects = bundle(mesh, "linkerd" if mesh == "istio" else "istio", seed)
    once = afterwards(objects, _convert(objects, mesh, mesh))
    again = _convert(once, mesh, mesh)
    assert [dump([item.object]) for item in again.manifests] == []
    assert again.removals == []


@pytest.mark.parametrize(("mesh", "other"), PAIRS, ids=[f"{a}-to-{b}" for a, b in PAIRS])
def test_output_needs_no_modernising(mesh: str, other: str) -> None:
    objects = bundle(mesh, other, 7)
    target = "istio" if other == "ambient" else other
    after = afterwards(objects, _convert(objects, mesh, other))
    again = _convert(after, target, other)
    assert [dump([item.object]) for item in again.manifests] == []
    assert again.removals == []
