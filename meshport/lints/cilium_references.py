"""What Cilium's policies and routes name: Services, groups of CIDRs, listeners, ports of the pods, namespaces; and routes that it does not read (Cilium
reference 1.8, 2.3 to 2.6, 6.1)."""

from __future__ import annotations

from meshport.dialects.gateway_api.unread import for_consumers
from meshport.ir.base import Selector
from meshport.lints.cilium_beside import POLICIES, plain, rules_of, specs_of
from meshport.lints.inventory import OTHERS, SYSTEM, Inventory
from meshport.lints.linkerd_policies import selector_of
from meshport.lints.manifests import Manifest, Path, Review, names
from meshport.mapping.table import in_range
from meshport.values.ports import is_number

_ALL = ("ingress", "egress", "ingressDeny", "egressDeny")
_SINCE = {"HTTPRoute": "1.16", "GRPCRoute": "1.17"}


def review(review: Review, known: Inventory) -> None:
    """Names of nothing, rule by rule, and routes for nobody."""
    for policy in review.of(*POLICIES, group="cilium.io"):
        for spec in specs_of(policy):
            for path, _ in rules_of(policy, spec, *_ALL):
                _rule(review, known, policy, path)
            if policy.kind == POLICIES[0]:
                _ports(review, known, policy, spec)
    for route in review.of("HTTPRoute", "GRPCRoute", group="gateway.networking.k8s.io"):
        _parents(review, known, route)


def _rule(review: Review, known: Inventory, policy: Manifest, path: Path) -> None:
    for place, item in policy.each(*path, "toServices"):
        named = item.get("k8sService") if isinstance(item, dict) else None
        name, space = (
            (named.get("serviceName"), str(named.get("namespace") or known.home(policy))) if isinstance(named, dict) else (None, "")
        )
        if isinstance(name, str) and known.service(space, name) is None and known.shows("Service", space):
            review.say("MP073", policy, (*place, "k8sService", "serviceName"), what=f"the Service {space}/{name}", why=OTHERS)
    for side in ("fromCIDRSet", "toCIDRSet"):
        for place, item in policy.each(*path, side):
            group = item.get("cidrGroupRef") if isinstance(item, dict) else None
            if isinstance(group, str) and not any(one.document.name == group for one in review.of("CiliumCIDRGroup")):
                sure = any(True for _ in review.of("CiliumCIDRGroup"))
                why = "the bundle has others" if sure else "the bundle may not show it; without it the entry matches no address"
                review.say(
                    "MP073", policy, (*place, "cidrGroupRef"), severity=None if sure else "info", what=f"CiliumCIDRGroup {group}", why=why
                )
    for place, item in policy.each(*path, "toPorts"):
        config = item["listener"].get("envoyConfig") if isinstance(item, dict) and isinstance(item.get("listener"), dict) else None
        if isinstance(config, dict) and isinstance(config.get("name"), str):
            kind = str(config.get("kind") or "CiliumEnvoyConfig")
            space = "" if kind == "CiliumClusterwideEnvoyConfig" else known.home(policy)
            there = [one for one in review.of(kind) if not space or known.home(one) == space]
            if not any(one.document.name == config["name"] for one in there):
                why = "the bundle has others" if there else "the bundle may not show it; without it the agent drops the traffic"
                what = f"{kind} {config['name']}"
                review.say(
                    "MP073", policy, (*place, "listener", "envoyConfig", "name"), severity=None if there else "info", what=what, why=why
                )
    for side in ("fromEndpoints", "toEndpoints"):
        for place, _ in policy.each(*path, side):
            _namespace(review, known, policy, place)


def _namespace(review: Review, known: Inventory, policy: Manifest, place: Path) -> None:
    """Namespaces that a rule names and that are none of those in the bundle: at most a hint, as a bundle rarely has all of them."""
    spaces = set(known.world.namespaces)
    for key, value in policy.mapping(*place, "matchLabels").items() if len(spaces) > 1 else ():
        if str(key).endswith("io.kubernetes.pod.namespace") and str(value) not in spaces and value not in SYSTEM:
            why = "no Namespace of the bundle is called so"
            review.say("MP073", policy, (*place, "matchLabels", key), severity="info", what=f"the namespace {value}", why=why)


def _ports(review: Review, known: Inventory, policy: Manifest, spec: Path) -> None:
    """A port by its name is that of a container of the selected pods."""
    chosen: Selector = plain(selector_of(policy, *spec, "endpointSelector"))
    pods = known.chosen(known.home(policy), chosen)
    have = {port.name for pod in pods for port in pod.ports if port.name}
    for path, _ in rules_of(policy, spec, "ingress", "ingressDeny") if pods else ():
        for place, _ in policy.each(*path, "toPorts"):
            for at, port in policy.each(*place, "ports"):
                text = port.get("port") if isinstance(port, dict) else None
                if isinstance(text, str) and text and not is_number(text) and text not in have:
                    why = f"their containers declare {names(sorted(have)) or 'none with a name'}, so that the rule is for no port"
                    review.say("MP074", policy, (*at, "port"), severity="warning", what=f"port {text} of the pods", why=why)


def _parents(review: Review, known: Inventory, route: Manifest) -> None:
    release, since = review.options.source_version, _SINCE[route.kind]
    for path, parent in route.each("spec", "parentRefs"):
        if not isinstance(parent, dict) or parent.get("kind") != "Service" or not isinstance(parent.get("name"), str):
            continue
        space = str(parent.get("namespace") or known.home(route))
        if in_range(release, None, since):
            why = f"Cilium {release} reads no {route.kind} of a Service; {since} does"
            review.say("MP080", route, (*path, "kind"), why=why, remedy="Hang it on a Gateway, or upgrade.")
        elif for_consumers("cilium", known.home(route), space):
            why = f"Service {space}/{parent['name']} is in another namespace, and Cilium reads routes beside their Service alone"
            review.say(
                "MP080",
                route,
                (*path, "namespace"),
                why=why,
                remedy=f"Move it into the namespace {space}, where it holds for every client.",
            )
