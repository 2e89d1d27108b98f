"""verify against rewrites that mean the same, against bundles with one value changed, and against outputs with one value changed: the verdicts and every
witness are put to the independent judge."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from judge import Undecided, cilium, generate, generate_access, generate_cilium, generate_routes, istio, linkerd
from sampling import some

import meshport
from meshport.compare.request import sentence

from .changing import Changes, Leaf, Source, leaves, outcome, sources, with_value
from .rewrites import REWRITES, Rewrite
from .rewrites_said import SAID

Obj = dict[str, Any]
DECIDE: dict[str, Any] = {"istio": istio.decide, "linkerd": linkerd.decide, "cilium": cilium.decide}
MAKE: dict[str, Callable[[int], list[Obj]]] = {
    "istio": generate.random_istio_bundle,
    "linkerd": generate.random_linkerd_bundle,
    "cilium": generate_cilium.random_cilium_bundle,
}
WIDE: dict[str, Callable[[int], list[Obj]]] = {
    "istio": generate_access.wide_istio_bundle,
    "linkerd": generate_access.wide_linkerd_bundle,
    "cilium": generate_cilium.wide_cilium_bundle,
}
OTHER = {"istio": "linkerd", "linkerd": "istio", "cilium": "istio"}
WORLD = {"Namespace", "Service", "ServiceAccount", "Deployment", "StatefulSet", "DaemonSet", "Pod", "Job"}
POLICIES = {"AuthorizationPolicy": "rules", "CiliumNetworkPolicy": "ingress", "CiliumClusterwideNetworkPolicy": "ingress"}


def verified(old: list[Obj], new: list[Obj], mesh: str) -> meshport.Verification:
    return meshport.verify(meshport.load_objects(old), meshport.load_objects(new), old_mesh=mesh, new_mesh=mesh)


# -- rewrites that mean the same


def reordered(objs: list[Obj], rng: Random) -> list[Obj]:
    """Documents, rules and values in another order. Where the order of documents decides (age, then name), names decide here."""
    out = copy.deepcopy(objs)
    rng.shuffle(out)
    for obj in out:
        if obj["kind"] in POLICIES and isinstance(rules := obj.get("spec", {}).get(POLICIES[obj["kind"]]), list):
            rng.shuffle(rules)
        _shuffled(obj.get("spec"), rng)
    return out


def _shuffled(value: Any, rng: Random) -> None:
    """Lists of plain texts in another order, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, list) and all(isinstance(item, str) for item in inner) and key not in ("command", "args"):
                rng.shuffle(inner)
            _shuffled(inner, rng)
    elif isinstance(value, list):
        for inner in value:
            _shuffled(inner, rng)


def renamed(objs: list[Obj], rng: Random) -> list[Obj]:
    """Policies under other names, in the same order."""
    out = copy.deepcopy(objs)
    for obj in out:
        if obj["kind"] in POLICIES and "security.istio.io" in obj["apiVersion"] + "cilium.io security.istio.io":
            obj["metadata"]["name"] += "-renamed"
    return out


def split(objs: list[Obj], rng: Random) -> list[Obj]:
    """One policy for each rule."""
    out = []
    for obj in copy.deepcopy(objs):
        key = POLICIES.get(obj["kind"], "")
        rules = obj.get("spec", {}).get(key)
        denies = any(name in obj.get("spec", {}) for name in ("ingressDeny", "egress", "egressDeny", "specs", "targetRef"))
        if not rules or len(rules) < 2 or denies:
            out.append(obj)
            continue
        for number, rule in enumerate(rules):
            part = copy.deepcopy(obj)
            part["metadata"]["name"] += f"-{number}"
            part["spec"][key] = [rule]
            out.append(part)
    return out


def repeated(objs: list[Obj], rng: Random) -> list[Obj]:
    """Each rule twice."""
    out = copy.deepcopy(objs)
    for obj in out:
        rules = obj.get("spec", {}).get(POLICIES.get(obj["kind"], ""))
        if isinstance(rules, list):
            rules.extend(copy.deepcopy(rules))
    return out


def numbered(objs: list[Obj], rng: Random) -> list[Obj]:
    """Container ports by number where a Service named them."""
    out = copy.deepcopy(objs)
    names = {
        port["name"]: port["containerPort"]
        for obj in out
        if obj["kind"] in ("Deployment", "StatefulSet", "DaemonSet")
        for container in obj["spec"]["template"]["spec"]["containers"]
        for port in container.get("ports", ())
        if "name" in port
    }
    numbers = {name for name in names if len(_numbers_of(out, name)) == 1}
    for obj in out:
        if obj["kind"] == "Service":
            for port in obj["spec"].get("ports", ()):
                if port.get("targetPort") in numbers:
                    port["targetPort"] = names[port["targetPort"]]
    return out


def _numbers_of(objs: list[Obj], name: str) -> set[int]:
    return {
        port["containerPort"]
        for obj in objs
        if obj["kind"] in ("Deployment", "StatefulSet", "DaemonSet")
        for container in obj["spec"]["template"]["spec"]["containers"]
        for port in container.get("ports", ())
        if port.get("name") == name
    }


@pytest.mark.parametrize("rewrite", [reordered, renamed, split, repeated, numbered])
@pytest.mark.parametrize("mesh", MAKE)
def test_a_rewrite_that_means_the_same(mesh: str, rewrite: Callable[[list[Obj], Random], list[Obj]]) -> None:
    for seed in some(range(200, 212), 3):
        bundle = MAKE[mesh](seed)
        found = verified(bundle, rewrite(bundle, Random(seed)), mesh)
        assert (seed, found.verdict, found.undecided, [sentence(item.request) for item in found.differences]) == (
            seed,
            "equivalent",
            [],
            [],
        )


def told(old: list[Obj], new: list[Obj], mesh: str) -> tuple[str, list[str], list[str]]:
    """What verify says, for people."""
    found = verified(old, new, mesh)
    return found.verdict, found.undecided, [f"{sentence(item.request)}: {item.before} | {item.after}" for item in found.differences]


def decided(objs: list[Obj]) -> list[Obj]:
    """The bundle without what nobody can tell: authentications that it does not show, headers that are changed where they do not match."""
    known = {(obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]) for obj in objs}

    def shown(obj: Obj) -> bool:
        refs = (obj.get("spec") or {}).get("requiredAuthenticationRefs") or ()
        home = obj["metadata"].get("namespace")
        return all(ref["kind"] == "ServiceAccount" or (ref["kind"], ref.get("namespace") or home, ref["name"]) in known for ref in refs)

    out = [obj for obj in copy.deepcopy(objs) if shown(obj)]
    for holder in _mappings([obj.get(key) for obj in out for key in ("spec", "specs")]):
        holder.pop("mismatch", None)
    return out


def _mappings(value: Any) -> Iterator[Obj]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        yield from _mappings(inner)


@pytest.mark.parametrize("rewrite", [*REWRITES, *SAID], ids=lambda rewrite: rewrite.__name__)
def test_a_rewrite_in_other_words(rewrite: Rewrite) -> None:
    """Of random policies and random routes of every mesh, wherever the rewrite finds something of its kind."""
    for seed in Random(rewrite.__name__).sample(range(300, 1300), 2):
        for made in (MAKE, WIDE, generate_routes.MAKE):
            for mesh, make in made.items():
                if made is WIDE and mesh == "cilium" and rewrite in SAID:
                    continue  # its policies for accounts that no pod has are compared by what they say
                bundle = decided(make(seed))
                other = rewrite(bundle)
                if other != bundle:
                    assert (seed, mesh, told(bundle, other, mesh)) == (seed, mesh, ("equivalent", [], []))


@pytest.mark.parametrize(
    "source", [item for item in sources() if " to " not in item.name and item.mesh != "smi"], ids=lambda item: item.name
)
def test_a_bundle_in_other_words(source: Source) -> None:
    """What cannot be compared with itself cannot be compared with the same in other words either, and for the same reasons."""
    verdict, undecided, _ = told(source.objects, copy.deepcopy(source.objects), source.mesh)
    assert verdict in ("equivalent", "inconclusive")
    for rewrite in Random(source.name).sample(REWRITES, 5):
        other = rewrite(source.objects)
        if other != source.objects:
            assert (rewrite.__name__, told(source.objects, other, source.mesh)) == (rewrite.__name__, (verdict, undecided, []))


@pytest.mark.parametrize("mesh", MAKE)
def test_the_same_in_other_files(mesh: str, tmp_path: Path) -> None:
    """One stream of YAML, a file for each object, and a List in JSON."""
    made = MAKE[mesh](71)
    stream, whole, apart = tmp_path / "all.yaml", tmp_path / "list.json", tmp_path / "apart"
    apart.mkdir()
    stream.write_text(yaml.safe_dump_all(made), encoding="utf-8")
    whole.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": made}), encoding="utf-8")
    for number, obj in enumerate(reversed(made)):
        (apart / f"{number}.json").write_text(json.dumps(obj), encoding="utf-8")
    for other in (whole, apart):
        found = meshport.verify(meshport.load(str(stream)), meshport.load(str(other)), old_mesh=mesh, new_mesh=mesh)
        assert (found.verdict, found.undecided) == ("equivalent", [])


# -- one value changed


def mutants(mesh: str, seed: int, count: int) -> Iterator[tuple[str, list[Obj], list[Obj]]]:
    """(what was changed, the bundle, the changed bundle)."""
    bundle = MAKE[mesh](seed)
    source = Source(f"random-{seed}", mesh, bundle, OTHER[mesh])
    listed = [leaf for leaf in leaves(source, source.convert()) if leaf.path[0] == "spec" and leaf.kind not in WORLD]
    Random(seed).shuffle(listed)
    changes = Changes(source)
    for leaf in listed[:count]:
        for other in changes.of(leaf)[:1]:
            if _valid(leaf, other):
                yield f"{leaf.kind} {leaf.shown}: {leaf.value!r} -> {other!r}", bundle, with_value(bundle, leaf, other)


def _valid(leaf: Leaf, other: Any) -> bool:
    """Whether a cluster takes the value there."""
    shown = leaf.shown.lower()
    address = "cidr" in shown or "ipblocks" in shown or "except" in shown or "networks" in shown
    condition = "when" in leaf.path and leaf.path[-1] == "key"  # Istio's webhook knows them all
    return not (leaf.path[-1] in ("operator", "protocol") or condition or (address and "z" in str(other)))


def judged(mesh: str, bundle: list[Obj], request: Obj) -> str | None:
    """allow or deny; None where the judge cannot tell. A request that no route takes gets no access either."""
    try:
        verdict = DECIDE[mesh](bundle, request)
    except Undecided:
        return None
    return "deny" if verdict == "unrouted" else str(verdict)


@pytest.mark.parametrize("seed", some(range(100, 110)))
@pytest.mark.parametrize("mesh", MAKE)
def test_one_value_changed(mesh: str, seed: int) -> None:
    for what, old, new in mutants(mesh, seed, 5):
        found = verified(old, new, mesh)
        for request in generate.requests_for(old, seed, 30):
            before, after = judged(mesh, old, request), judged(mesh, new, request)
            if (before, after) == ("deny", "allow"):
                assert found.verdict in ("widened", "changed"), (what, request)
            elif (before, after) == ("allow", "deny"):
                assert found.verdict in ("narrowed", "changed", "widened", "inconclusive"), (what, request)
        for item in found.differences:
            if item.change == "routed":
                continue
            wanted = ("deny", "allow") if item.change == "allowed" else ("allow", "deny")
            replayed = judged(mesh, old, item.request), judged(mesh, new, item.request)
            assert None in replayed or replayed == wanted, (what, sentence(item.request))


# -- our own output with one value changed

SILENT = (
    "proxy.",
    "metrics.",
    "access-log.",
    "tracing.",
    "telemetry.",
    "identity.name",
    "membership.revision",
    "membership.native-sidecar",
)  # of no request


def _after(source: Source) -> tuple[list[Obj], list[Obj]]:
    """What stands in the cluster after a conversion, and what of it the conversion made."""
    result = source.convert()
    made = [item.object for item in result.manifests]
    new = {_identity(obj) for obj in made}
    gone = {(item["kind"], item["namespace"] or "", item["name"]) for item in result.removals}
    return [obj for obj in source.objects if _identity(obj) not in new | gone] + made, made


def _identity(obj: Obj) -> tuple[str, str, str]:
    return obj["kind"], obj["metadata"].get("namespace") or "", obj["metadata"]["name"]


def _alike(mesh: str, old: list[Obj], new: list[Obj], kind: str) -> bool:
    """Whether the judge sees no difference: what one value says, another object or alternative may say too."""
    if kind in ("ServiceEntry", "GRPCRoute", "TLSRoute", "TCPRoute"):  # of what may leave anyway
        return True
    if not any(obj["kind"] in ("Deployment", "StatefulSet") for obj in old):  # a rule that no request reaches
        return kind in ("HTTPRoute", "Gateway") and not meshport.diff(
            meshport.load_objects(old), meshport.load_objects(new), old_mesh=mesh, new_mesh=mesh
        )
    asked = [*generate.requests_for(old, 1, 150), *generate.requests_for(new, 2, 150)]
    probed = set(re.findall(r"'httpGet': \{'path': '([^']*)'", str(old)))  # what a mesh keeps open for the kubelet is no difference
    asked = [request for request in asked if not (request.get("method") == "GET" and str(request.get("path")).partition("?")[0] in probed)]
    return all(judged(mesh, old, request) == judged(mesh, new, request) for request in asked)


@pytest.mark.parametrize(
    "source", some((item for item in sources() if item.mesh in OTHER and item.target in OTHER), 4), ids=lambda item: item.name
)
def test_a_mutant_of_our_own_output_is_caught(source: Source) -> None:
    """Whatever changes what the output would be converted to is no equivalent bundle."""
    cluster, made = _after(source)
    back = Source(source.name, source.target, cluster, OTHER[source.target])
    base = back.convert()
    changes = Changes(back)
    listed = [leaf for leaf in leaves(back, base) if cluster[leaf.document] in made and ("spec" in leaf.path or "annotations" in leaf.path)]
    Random(source.name).shuffle(listed)
    tried, silent = 0, 0
    for leaf in listed:
        feature = changes.bound.feature(leaf.number)
        if tried == 6 or feature.startswith(SILENT) or not feature or (leaf.kind in WORLD and "annotations" not in leaf.path):
            continue
        for other in changes.of(leaf)[:1]:
            mutant = with_value(cluster, leaf, other)
            if outcome(back.convert(mutant)).output == outcome(base).output:
                continue  # it is read as the same
            tried += 1
            found = verified(cluster, mutant, source.target)
            if found.verdict == "equivalent":
                silent += 1
                assert _alike(source.target, cluster, mutant, leaf.kind), f"{leaf.kind} {leaf.shown}: {leaf.value!r} -> {other!r}"
    assert silent <= tried // 2


@pytest.mark.parametrize(
    ("source", "target", "seed"), [("linkerd", "istio", 44), ("linkerd", "istio", 59), ("istio", "linkerd", 44), ("istio", "linkerd", 51)]
)
def test_of_access_verify_says_what_the_conversion_said(source: str, target: str, seed: int) -> None:
    """Of pods too that the bundle does not show: those that two Servers without pods would share are claimed by neither."""
    item = Source(f"random-{seed}", source, MAKE[source](seed), target)
    result = meshport.convert(meshport.load_objects(item.objects), source=source, target=target)
    found = meshport.verify(meshport.load_objects(item.objects), meshport.load_objects(_after(item)[0]), old_mesh=source, new_mesh=target)
    assert result.verification is not None
    assert [one for one in found.differences if one.change == "allowed"] == [
        one for one in result.verification.differences if one.change == "allowed"
    ]
    told = {finding.message for finding in result.findings}  # of what no comparison covers, which the conversion knows of
    assert bool(found.undecided) == bool(set(result.verification.undecided) - told)
