"""How much of what Istio allows Linkerd still allows, of what Linkerd can say at all: that is decided from the manifests of Istio, by no word of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from judge.expressible import REASONS, unsayable
from judge.generate import random_istio_bundle, requests_for
from judge.generate_access import RELEASES, wide_istio_bundle, wide_requests
from sampling import some

from .common import Obj, converted, owners, probe_paths, verdicts

MAKE: dict[str, tuple[Callable[[int], list[Obj]], Callable[[list[Obj], int, int], list[Obj]]]] = {
    "wide": (wide_istio_bundle, lambda bundle, seed, n: wide_requests(bundle, "istio", seed, n)),
    "base": (random_istio_bundle, requests_for),
}
SEEDS = some(range(40, 48))


def judged(variant: str) -> Iterator[tuple[list[Obj], Obj, bool, list[str]]]:
    """(bundle, request, allowed after, codes that own its loss) of each request that was allowed."""
    bundles, asked = MAKE[variant]
    for seed in SEEDS:
        bundle = bundles(seed)
        version = RELEASES["linkerd"][seed % len(RELEASES["linkerd"])]
        result = converted(bundle, "istio", "linkerd", target_version=version, verify=False)
        for request, before, after in verdicts(bundle, result, asked(bundle, seed, 30)):
            if before:
                yield bundle, request, after, [one.code for one in owners(result, request)]


def probed(bundle: list[Obj], request: Obj) -> bool:
    """Whether the request is one that a probe's exemption lets through."""
    target = request["destination"]
    path = request.get("path", "").partition("?")[0]
    return request.get("method") == "GET" and (target["port"], path) in probe_paths(bundle).get(
        (target["namespace"], target["workload"]), set()
    )


@pytest.mark.parametrize("variant", MAKE)
def test_of_what_linkerd_can_say_nine_in_ten_are_kept_and_each_loss_has_an_owner(variant: str) -> None:
    kept, lost = 0, Counter[str | None]()
    for bundle, request, after, codes in judged(variant):
        if after:
            kept += 1
            if not probed(bundle, request):
                assert unsayable(bundle, request) is None, request  # what is said can be said
            continue
        assert codes, request
        lost[unsayable(bundle, request)] += 1
    assert set(lost) <= {None, *REASONS}
    assert kept >= 0.95 * (kept + lost[None]), lost


def test_callers_of_paths_that_overlap_keep_each_their_own() -> None:
    calls: dict[str, Obj] = {
        "reader": {"paths": ["/d", "/h/i*", "/a*"]},
        "writer": {"paths": ["/c/*", "/b"], "methods": ["GET", "POST"]},
        "worker": {"paths": ["*.php", "/e/f"]},
        "keeper": {"notPaths": ["/b"], "methods": ["PUT"]},
    }
    bundle = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"istio-injection": "enabled"}}},
        *(_deployment(name) for name in ("users", *calls)),
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": "users", "namespace": "shop"},
            "spec": {
                "selector": {"matchLabels": {"app": "users"}},
                "rules": [
                    {"from": [{"source": {"principals": [f"cluster.local/ns/shop/sa/{name}"]}}], "to": [{"operation": operation}]}
                    for name, operation in calls.items()
                ],
            },
        },
    ]
    result = converted(bundle, "istio", "linkerd")
    requests = [
        {
            "source": {"namespace": "shop", "service_account": name, "meshed": True, "ip": "10.1.2.3"},
            "destination": {"namespace": "shop", "workload": "users", "labels": {"app": "users"}, "port": 8080},
            "protocol": "http", "method": method, "host": "users", "path": path,
        }
        for name in calls for method in ("GET", "PUT") for path in ("/", "/d", "/a/x", "/a/x.php", "/b", "/c/x", "/c/x.php", "/e/f", "/z.phpx")
    ]  # fmt: skip
    found = list(verdicts(bundle, result, requests))
    assert sum(before for _, before, _ in found) > 20
    assert [request for request, before, after in found if before != after] == []
    escaped = [{**request, "path": "/c%20d"} for request in requests]  # what is passed over is owned, and nobody else gets it
    for request, before, after in verdicts(bundle, result, escaped):
        assert before or not after, request
        assert after or not before or "MP201" in [one.code for one in owners(result, request)], request
    assert not [one for one in result.findings if one.code.startswith("MP9")]


def _deployment(name: str) -> Obj:
    pods = {"serviceAccountName": name, "containers": [{"name": "app", "image": name, "ports": [{"containerPort": 8080, "name": "http"}]}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}}, "spec": pods}},
    }
