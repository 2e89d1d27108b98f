"""What CiliumEnvoyConfigs have in common without saying so: a cluster whose name has a slash is one of the agent's proxy, whoever defines it.

https://github.com/cilium/cilium/blob/main/pkg/ciliumenvoyconfig/cec_resource_parser.go: other names begin with those of the object. UpsertEnvoyResources of
pkg/envoy/xds_server.go puts each under its name into one cache, where the last one stands.
"""

from __future__ import annotations

from typing import Any

from meshport.lints.inventory import Inventory
from meshport.lints.manifests import Manifest, Path, Review, names

KINDS = ("CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig")
_CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"


def review(review: Review, known: Inventory) -> None:
    """Clusters of one name that are defined differently."""
    found: dict[str, list[tuple[Manifest, Path, dict[str, Any]]]] = {}
    for config in review.of(*KINDS, group="cilium.io"):
        if config.get("spec", "nodeSelector"):
            continue  # it may be for nodes of its own
        for path, item in config.each("spec", "resources"):
            if isinstance(item, dict) and item.get("@type") == _CLUSTER and "/" in str(item.get("name")):
                found.setdefault(str(item["name"]), []).append((config, path, item))
    for name, defined in found.items():
        for config, path, item in defined[1:]:
            others = [other for other, _, body in defined if body != item and other.number < config.number]
            if others:
                differing = names(sorted({key for _, _, body in defined for key in {*body, *item} if body.get(key) != item.get(key)}))
                review.say("MP059", config, (*path, "name"), other=names([str(other) for other in others]), name=name, what=differing)
