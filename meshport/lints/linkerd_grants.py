"""Linkerd's grants by the Server that they open: an AuthorizationPolicy names a Server, its namespace or a route on it, a ServerAuthorization its Server."""

from __future__ import annotations

from meshport.lints.inventory import Inventory
from meshport.lints.manifests import Manifest, Review

ROUTES = ("HTTPRoute", "GRPCRoute")


def grants_of(known: Inventory) -> Grants:
    """The grants of a bundle, put in order once."""
    return known.kept("grants", lambda one: Grants(one.review))


class Grants:
    """All grants of a bundle, by what they are for."""

    def __init__(self, review: Review) -> None:
        self._default = review.options.default_namespace
        self._on: dict[tuple[str, str], list[Manifest]] = {}
        self._on_routes: dict[tuple[str, str], list[Manifest]] = {}
        self._routes: dict[tuple[str, str], list[Manifest]] = {}
        servers: dict[tuple[str, str, str], list[str]] = {}
        for route in review.of(*ROUTES):
            parents = [item for _, item in route.each("spec", "parentRefs") if isinstance(item, dict) and item.get("kind") == "Server"]
            named = list(dict.fromkeys(str(item.get("name")) for item in parents))
            servers[route.kind, self._home(route), route.document.name] = named
            for server in named:
                self._routes.setdefault((self._home(route), server), []).append(route)
        for grant in review.of("AuthorizationPolicy", "ServerAuthorization", group="policy.linkerd.io"):
            home = self._home(grant)
            target = grant.mapping("spec", "targetRef")
            kind = target.get("kind")
            opened = target.get("name") if kind == "Server" else grant.get("spec", "server", "name")
            if kind == "Namespace":
                self._on.setdefault((home, ""), []).append(grant)
            elif isinstance(opened, str) and opened:
                self._on.setdefault((home, opened), []).append(grant)
            for server in servers.get((str(kind), home, str(target.get("name"))), ()) if kind in ROUTES else ():
                self._on_routes.setdefault((home, server), []).append(grant)

    def _home(self, manifest: Manifest) -> str:
        return manifest.namespace or self._default

    def on(self, server: str, namespace: str) -> list[Manifest]:
        """Those for a whole Server, or its namespace, in their order."""
        return sorted(self._on.get((namespace, server), []) + self._on.get((namespace, ""), []), key=lambda item: item.number)

    def at(self, server: Manifest) -> list[Manifest]:
        """All that open a Server or a route on it, in their order."""
        home, name = self._home(server), server.document.name
        return sorted([*self.on(name, home), *self._on_routes.get((home, name), ())], key=lambda item: item.number)

    def routes(self, server: Manifest) -> list[Manifest]:
        """The routes on a Server, in their order."""
        return self._routes.get((self._home(server), server.document.name), [])
