"""A cluster of Envoy whose name has a slash is one of the agent's proxy, whichever CiliumEnvoyConfig defines it."""

from __future__ import annotations

from lint_helper import none, only

TYPE = '"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster'


def config(name: str, cluster: str, more: str = "") -> str:
    services = f"services: [{{name: {name}, namespace: shop}}]"
    return f"---\napiVersion: cilium.io/v2\nkind: CiliumEnvoyConfig\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{{more}{services}, resources: [{{{TYPE}, {cluster}}}]}}\n"


API = "name: shop/api:80, type: EDS, connect_timeout: 10s"


def test_two_definitions_of_one_cluster() -> None:
    found = only("MP059", config("web", API) + config("cart", API.replace("10s", "1s")), "cilium")
    assert found.severity == "warning" and found.path == "spec.resources[0].name"
    assert (
        "CiliumEnvoyConfig shop/cart and CiliumEnvoyConfig shop/web define the cluster shop/api:80 differently (connect_timeout)"
        in found.message
    )


def test_what_is_alike_or_of_the_object_alone_is_none() -> None:
    other = API.replace("10s", "1s")
    assert none("MP059", config("web", API) + config("cart", API), "cilium")
    assert none("MP059", config("web", API.replace("shop/", "")) + config("cart", other.replace("shop/", "")), "cilium")
    assert none("MP059", config("web", API, "nodeSelector: {matchLabels: {a: b}}, ") + config("cart", other), "cilium")
