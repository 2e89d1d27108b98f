"""Random bundles of Istio ambient: those for sidecars with ztunnel instead, and waypoints that stand before some of the Services."""

from __future__ import annotations

import copy
from random import Random

from .generate_access import wide_istio_bundle
from .vocabulary import dice
from .world import Obj, meta, name_of, namespace_of, spec_of

_MODE = "istio.io/dataplane-mode"
_GATEWAY = "gateway.networking.k8s.io"


def ambient_bundle(seed: int) -> list[Obj]:
    rng = Random(f"ambient {seed}")
    bundle = copy.deepcopy(wide_istio_bundle(seed))
    enrolled = [home for home in bundle if home["kind"] == "Namespace" and _enrol(home)]
    for obj in bundle:
        template = spec_of(obj).get("template") or {}
        labels = (template.get("metadata") or {}).get("labels") or {}
        if labels.pop("sidecar.istio.io/inject", None) == "false":
            labels[_MODE] = "none"
    homes = sorted(map(name_of, enrolled))
    for home in rng.sample(homes, min(len(homes), rng.choice([1, 1, 2]))):
        bundle += _waypoint(rng, home, bundle)
    return bundle


def _enrol(home: Obj) -> bool:
    labels = meta(home).setdefault("labels", {})
    if labels.pop("istio-injection", None) != "enabled":
        return False
    labels[_MODE] = "ambient"
    return True


def _waypoint(rng: Random, home: str, bundle: list[Obj]) -> list[Obj]:
    """A waypoint, whom it stands before, what hangs on it, and sometimes what admits it at the pods."""
    services = [obj for obj in bundle if obj["kind"] == "Service" and namespace_of(obj) == home]
    whole = dice(rng, 0.5) or not services
    for obj in [one for one in bundle if one["kind"] == "Namespace" and name_of(one) == home] if whole else rng.sample(services, 1):
        meta(obj).setdefault("labels", {})["istio.io/use-waypoint"] = "waypoint"
    made = [
        {
            "apiVersion": f"{_GATEWAY}/v1", "kind": "Gateway", "metadata": {"name": "waypoint", "namespace": home},
            "spec": {"gatewayClassName": "istio-waypoint", "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}]},
        }
    ]  # fmt: skip
    plain = [one for one in bundle if one["kind"] == "AuthorizationPolicy" and spec_of(one).get("action", "ALLOW") in ("ALLOW", "DENY")]
    for policy in rng.sample(plain, min(len(plain), 2)) if dice(rng, 0.7) else ():
        to_gateway = dice(rng, 0.5) or not services
        target = {"group": _GATEWAY, "kind": "Gateway", "name": "waypoint"}
        if not to_gateway:
            target = {"group": "", "kind": "Service", "name": name_of(rng.choice(services))}
        spec = {key: value for key, value in spec_of(policy).items() if key != "selector"}
        name = f"{name_of(policy)}-hung"
        made.append({**policy, "metadata": {"name": name, "namespace": home}, "spec": {**spec, "targetRefs": [target]}})
    if dice(rng, 0.5):
        principals = [f"cluster.local/ns/{home}/sa/waypoint", *(["cluster.local/ns/shop/sa/web"] if dice(rng, 0.4) else [])]
        rules = [{"from": [{"source": {"principals": principals}}]}]
        made.append(
            {
                "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "by-waypoint", "namespace": home},
                "spec": {"rules": rules},
            }
        )  # fmt: skip
    return made
