"""Envoy's configuration as meshes hold it, with what their control planes fill in, so that Envoy itself can be asked whether it is valid.

Cilium's agent gives listeners of a CiliumEnvoyConfig their address, and names where routes and endpoints come from
(docs.cilium.io, network/servicemesh/envoy-custom-listener); istiod puts the value of an EnvoyFilter's patch into its own listener, route or cluster
(istio.io, reference/config/networking/envoy-filter).
"""

from __future__ import annotations

import copy
from typing import Any

from .proxy import Obj, address

TYPE = "type.googleapis.com/envoy."
MANAGER = TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = {"name": "envoy.filters.http.router", "typed_config": {"@type": TYPE + "extensions.filters.http.router.v3.Router"}}
_SOURCE = {"ads": {}, "resource_api_version": "V3"}
_ADS = {"name": "ads", "type": "STATIC", "load_assignment": {"cluster_name": "ads"}}


def bootstrap(objects: list[Obj]) -> Obj:
    """One configuration of everything that these CiliumEnvoyConfigs and EnvoyFilters hold."""
    listeners: list[Obj] = []
    clusters: list[Obj] = []
    for number, obj in enumerate(objects):
        if obj["kind"] in ("CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig"):
            _of_cilium(copy.deepcopy(obj), f"{number}/", listeners, clusters)
        elif obj["kind"] == "EnvoyFilter":
            listeners += _of_istio(copy.deepcopy(obj), f"{number}/")
    ads = {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": {"cluster_name": "ads"}}]}
    return {
        "static_resources": {"listeners": listeners, "clusters": [*clusters, _ADS]},
        "dynamic_resources": {"ads_config": ads},
    }


def _of_cilium(obj: Obj, prefix: str, listeners: list[Obj], clusters: list[Obj]) -> None:
    """The resources of a config under names of their own: the agent puts the config's namespace and name in front of them as well."""
    resources = obj["spec"]["resources"]
    routes = {item["name"]: item for item in resources if item["@type"].endswith(".RouteConfiguration")}
    known = {item["name"] for item in resources if item["@type"].endswith(".Cluster")}
    for item in routes.values():
        item.pop("@type")
        _renamed(item, known, prefix)
    for item in resources:
        kind = item.pop("@type", "")
        if kind.endswith(".Listener"):
            _renamed(item, known, prefix)
            for chain in item["filter_chains"]:
                for typed in [one["typed_config"] for one in chain["filters"]]:
                    if "rds" in typed:
                        typed["route_config"] = routes[typed.pop("rds")["route_config_name"]]
            listeners.append({**item, "name": prefix + item["name"], "address": address(0)})
        elif kind.endswith(".Cluster"):
            clusters.append({**item, "name": prefix + item["name"], "eds_cluster_config": {"eds_config": _SOURCE}})
        elif kind:
            raise AssertionError(f"a resource of a kind that nobody completes here: {kind}")


def _renamed(value: Any, known: set[str], prefix: str) -> None:
    """References to clusters, with the prefix that those have now."""
    if isinstance(value, dict):
        for key, child in value.items():
            if key == "cluster" and child in known:
                value[key] = prefix + child
            elif key == "weighted_clusters":
                value[key] = {"clusters": [{**one, "name": prefix + one["name"]} for one in child["clusters"]]}
            else:
                _renamed(child, known, prefix)
    elif isinstance(value, list):
        for child in value:
            _renamed(child, known, prefix)


def _of_istio(obj: Obj, prefix: str) -> list[Obj]:
    """A listener for each patch, with its value where the patch puts it."""
    found = []
    for number, item in enumerate(obj["spec"]["configPatches"]):
        if item["applyTo"] != "HTTP_FILTER":
            raise AssertionError(f"a patch of a kind that nobody completes here: {item['applyTo']}")
        manager = {
            "@type": MANAGER,
            "stat_prefix": "inbound",
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]}]},
            "http_filters": [item["patch"]["value"], ROUTER],
        }  # fmt: skip
        chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        found.append({"name": f"{prefix}{number}", "address": address(0), "filter_chains": [chain]})
    return found
