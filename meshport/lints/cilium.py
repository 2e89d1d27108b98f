"""What a reviewer says about Cilium's policies (docs.cilium.io, security/policy; pkg/policy/api/rule_validation.go for what the agent refuses)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from meshport.dialects.installation import said
from meshport.ir.base import PodSet, Selector
from meshport.lints.cilium_beside import POLICIES, beside, rules_of, specs_of
from meshport.lints.inventory import Inventory
from meshport.lints.manifests import Manifest, Path, Review, names
from meshport.mapping.table import in_range
from meshport.values import programs
from meshport.values.problems import LanguageTooLarge, ValueProblem

_WAYS = ("ingress", "egress")
_PEERS = ("Endpoints", "Entities", "CIDR", "CIDRSet", "Nodes", "Groups", "Services", "FQDNs")
_VARYING = {"content-type", "accept", "authorization", "cookie", "user-agent"}  # headers whose value carries more than one word
_OPEN = {"all", "cluster"}
_CLASS = "kubernetes.io/ingress.class"
_SPIRE = "authentication.mutual.spire.enabled"


def review(review: Review, known: Inventory) -> None:
    """Authentication that encrypts nothing, directions that close unasked, Kafka, HTTP rules that match less than they look like."""
    edges = _edges(review, known)
    for policy in review.of(*POLICIES, group="cilium.io"):
        for spec in specs_of(policy):
            _authentication(review, policy, spec)
            _egress(review, known, policy, spec)
            _denies_alone(review, known, policy, spec)
            _kafka(review, policy, spec)
            _itself(review, policy, spec)
            _edge(review, known, policy, spec, edges)
            _http(review, policy, spec)
            _layer7(review, policy, spec)
            _sizes(review, policy, spec)
    for route in review.of("HTTPRoute", "GRPCRoute", group="gateway.networking.k8s.io"):
        _sizes_of_route(review, route)


def _protocol_rules(policy: Manifest, rule: Path, protocol: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The L7 rules of one protocol in a rule of a policy."""
    for path, _ in policy.each(*rule, "toPorts"):
        for place, item in policy.each(*path, "rules", protocol):
            if isinstance(item, dict):
                yield place, item


def _selector(policy: Manifest, *path: str | int) -> Selector:
    """A selector with the labels' source taken off: `k8s:app` and `app` are one key."""
    labels = {str(key).removeprefix("k8s:").removeprefix("any:"): str(value) for key, value in policy.mapping(*path, "matchLabels").items()}
    return Selector.of(labels)


def _everything(policy: Manifest, spec: Path) -> bool:
    return policy.get(*spec, "endpointSelector") in ({}, {"matchLabels": {}})


def _authentication(review: Review, policy: Manifest, spec: Path) -> None:
    """A handshake between agents proves identities and encrypts nothing; without SPIRE it refuses everything."""
    places = [
        (*path, "authentication", "mode")
        for path, _ in rules_of(policy, spec, *_WAYS)
        if policy.get(*path, "authentication", "mode") == "required"
    ]
    if not places:
        return
    release = review.options.source_version
    note = "its processing is off by default since 1.19" if in_range(release, "1.19", None) else "it needs SPIRE"
    there = (
        said(review.bound.bundle, "cilium", _SPIRE) is True and said(review.bound.bundle, "cilium", "authentication.enabled") is not False
    )
    note = "the values of the installation enable SPIRE" if there else note
    note += ", and it is deprecated since 1.20 and leaves with 1.21" if in_range(release, "1.20", None) else ""
    review.say("MP060", policy, *places, severity="info" if there else None, note=note)


def _egress(review: Review, known: Inventory, policy: Manifest, spec: Path) -> None:
    """A rule for one direction closes the rest of it."""
    rules = list(rules_of(policy, spec, "egress"))
    if not rules or policy.get(*spec, "enableDefaultDeny", "egress") is False:
        return
    if policy.kind == "CiliumClusterwideNetworkPolicy" and _everything(policy, spec):
        kept = [str(item) for path, _ in rules for _, item in policy.each(*path, "toEntities")]
        if "all" not in kept:
            review.say("MP061", policy, (*spec, "egress"), admitted=names(kept) or "what its rules name")
    places = [(policy, spec), *beside(known, policy, spec)]
    if any(rule for _, rule in rules) and not any(_lets_dns(other, place) for other, place in places):
        review.say("MP062", policy, (*spec, "egress"))


def _lets_dns(policy: Manifest, spec: Path) -> bool:
    """Whether a policy lets queries through to the cluster's DNS."""
    if policy.kind != "NetworkPolicy":
        return any(_admits_dns(policy, path, rule) for path, rule in rules_of(policy, spec, "egress"))
    for _, rule in rules_of(policy, spec, "egress"):
        ports = rule.get("ports")
        if not ports or any(isinstance(port, dict) and port.get("port") in (None, 53, "dns", "dns-tcp") for port in ports):
            return True
    return False


def _admits_dns(policy: Manifest, path: Path, rule: dict[str, Any]) -> bool:
    """Whether an egress rule lets queries through to the cluster's DNS, as far as can be seen."""
    ports = policy.each(*path, "toPorts")
    numbers = {str(port.get("port")) for place, _ in ports for _, port in policy.each(*place, "ports") if isinstance(port, dict)}
    if ports and not numbers & {"53", "0", "dns"}:
        return False
    peers = [name for name in _PEERS if f"to{name}" in rule]
    if not peers:
        return bool(ports)
    entities = {str(item) for _, item in policy.each(*path, "toEntities")}
    if entities:
        return bool(entities & _OPEN)
    endpoints = [item for _, item in policy.each(*path, "toEndpoints")]
    return "53" in numbers or any("kube-dns" in str(item) or "coredns" in str(item) or "kube-system" in str(item) for item in endpoints)


def _denies_alone(review: Review, known: Inventory, policy: Manifest, spec: Path) -> None:
    """A deny closes its direction like any rule: alone it refuses everything."""
    for direction in ("ingress", "egress"):
        deny = f"{direction}Deny"
        if not policy.get(*spec, deny) or policy.get(*spec, direction) or policy.get(*spec, "enableDefaultDeny", direction) is False:
            continue
        if not any(other.get(*place, direction) for other, place in beside(known, policy, spec)):
            review.say("MP070", policy, (*spec, deny), direction=direction, deny=deny)


def _kafka(review: Review, policy: Manifest, spec: Path) -> None:
    """Kafka rules compare literally, and are on their way out."""
    release = review.options.source_version
    seen: list[Path] = []
    for path, _ in rules_of(policy, spec, *_WAYS):
        for place, rule in _protocol_rules(policy, path, "kafka"):
            seen.append(place)
            for key in ("clientID", "topic"):
                if isinstance(rule.get(key), str) and "*" in rule[key]:
                    review.say("MP063", policy, (*place, key), key=key, value=rule[key])
    if seen and in_range(release, None, "1.20"):
        review.say("MP064", policy, *seen)


def _itself(review: Review, policy: Manifest, spec: Path) -> None:
    """Replicas of one workload are refused to each other unless a rule names them."""
    if not policy.get(*spec, "ingress") or policy.get(*spec, "enableDefaultDeny", "ingress") is False:
        return
    subject = _selector(policy, *spec, "endpointSelector")
    if subject.everything:
        return
    pods = review.ir.world.selected(PodSet(policy.namespace, subject)) if policy.namespace else ()
    sets = [workload.ref.name for workload in pods if workload.kind == "StatefulSet"]
    kafka = any(True for path, _ in rules_of(policy, spec, "ingress") for _ in _protocol_rules(policy, path, "kafka"))
    if not sets and not kafka:
        return
    own = dict(subject.labels)
    for path, rule in rules_of(policy, spec, "ingress"):
        if not any(f"from{name}" in rule for name in _PEERS) or any(str(item) in _OPEN for _, item in policy.each(*path, "fromEntities")):
            return
        if any(_selector(policy, *place).accepts(own) for place, _ in policy.each(*path, "fromEndpoints")):
            return
    who = f"StatefulSet {names(sets)}" if sets else "the brokers"
    review.say("MP065", policy, (*spec, "endpointSelector"), who=who)


Edges = dict[str | None, list[tuple[str, frozenset[str]]]]
"""By namespaces the Ingresses and edge routes of Cilium, and the Services that each names."""


def _edge(review: Review, known: Inventory, policy: Manifest, spec: Path, edges: Edges) -> None:
    """What comes through Cilium's Ingress or Gateway is `ingress`, not `world`."""
    world: list[Path] = []
    for path, _ in rules_of(policy, spec, "ingress"):
        for place, item in policy.each(*path, "fromEntities"):
            if item in ("ingress", "all", "cluster"):
                return
            if item == "world":
                world.append(place)
    if not world or any(
        item in ("ingress", "all", "cluster")
        for other, place in beside(known, policy, spec)
        for path, _ in rules_of(other, place, "ingress")
        for _, item in other.each(*path, "fromEntities")
    ):
        return
    routed = _routed(review, policy, spec, edges)
    what = f"what {names(routed)} sends to these pods" if routed else "what comes in through a Cilium Ingress or Gateway"
    review.say("MP066", policy, *world, severity=None if routed else "info", what=what)


def _of_cilium(known: Inventory, route: Manifest, parent: dict[str, Any]) -> bool:
    """Whether a parent of a route is a gateway of Cilium, as far as the bundle shows."""
    gateway = known.named.get(("Gateway", str(parent.get("namespace") or known.home(route)), str(parent.get("name"))))
    return parent.get("kind", "Gateway") == "Gateway" and (gateway is None or gateway.get("spec", "gatewayClassName") == "cilium")


def _edges(review: Review, known: Inventory) -> Edges:
    found: Edges = {}
    for ingress in review.of("Ingress"):
        if (ingress.get("spec", "ingressClassName") or ingress.mapping("metadata", "annotations").get(_CLASS, "cilium")) == "cilium":
            found.setdefault(ingress.namespace, []).append((str(ingress), frozenset(_named(ingress.get("spec")))))
    for route in review.of("HTTPRoute", "GRPCRoute"):
        parents = [item for _, item in route.each("spec", "parentRefs") if isinstance(item, dict)]
        backends = [
            str(backend.get("name"))
            for path, _ in route.each("spec", "rules")
            for _, backend in route.each(*path, "backendRefs")
            if isinstance(backend, dict)
        ]
        if any(_of_cilium(known, route, one) for one in parents):
            found.setdefault(route.namespace, []).append((str(route), frozenset(backends)))
    return found


def _named(value: Any) -> Iterator[str]:
    """What stands under a key `name` anywhere in a value."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if key == "name" and isinstance(inner, str):
            yield inner
        yield from _named(inner)


def _routed(review: Review, policy: Manifest, spec: Path, edges: Edges) -> list[str]:
    """The Ingresses and edge routes of the bundle that send to the pods of a policy."""
    subject = _selector(policy, *spec, "endpointSelector")
    services = {
        service.ref.name
        for service in review.ir.world.services.values()
        if service.ref.namespace == policy.namespace and service.selector and subject.accepts(service.selector)
    }
    return [name for name, behind in edges.get(policy.namespace, ()) if services & behind]


def _http(review: Review, policy: Manifest, spec: Path) -> None:
    """Paths are regular expressions for the whole of path and query; header values are compared as a whole."""
    exact: list[Path] = []
    for path, _ in rules_of(policy, spec, *_WAYS):
        for place, rule in _protocol_rules(policy, path, "http"):
            pattern = rule.get("path")
            if isinstance(pattern, str) and pattern and not re.search(r"\.[*+]\)?\??\$?$", pattern):
                exact.append((*place, "path"))
            for at, header in policy.each(*place, "headers"):
                if isinstance(header, str):
                    _header(review, policy, at, header)
            for at, header in policy.each(*place, "headerMatches"):
                if isinstance(header, dict) and header.get("value") and str(header.get("name", "")).lower() in _VARYING:
                    review.say("MP067", policy, (*at, "value"), name=header["name"], value=header["value"])
    if exact:
        shown = names([str(policy.get(*place)) for place in exact])
        review.say("MP068", policy, *exact, paths=shown)


def _header(review: Review, policy: Manifest, at: Path, header: str) -> None:
    """A header line is split at its first blank: a name with an optional colon, and the value."""
    name, blank, value = header.partition(" ")
    if not blank and ":" in name:
        review.say("MP069", policy, at, header=header, name=name.partition(":")[0])
    elif blank and name.rstrip(":").lower() in _VARYING:
        review.say("MP067", policy, at, name=name.rstrip(":"), value=value)


def _layer7(review: Review, policy: Manifest, spec: Path) -> None:
    """The agent takes rules of HTTP and Kafka only where the protocol says TCP and the port is named."""
    for path, _ in rules_of(policy, spec, *_WAYS):
        for place, item in policy.each(*path, "toPorts"):
            rules = item.get("rules") if isinstance(item, dict) else None
            if not isinstance(rules, dict) or not (rules.get("http") or rules.get("kafka")):
                continue
            wrong = [
                at
                for at, port in policy.each(*place, "ports")
                if isinstance(port, dict) and (port.get("protocol") != "TCP" or str(port.get("port")) == "0")
            ]
            if wrong:
                review.say("MP071", policy, *wrong)


def _sizes(review: Review, policy: Manifest, spec: Path) -> None:
    """Expressions that Envoy refuses for their size, after which the agent cannot apply the policies of the endpoint."""
    for path, _ in rules_of(policy, spec, "ingress", "egress"):
        for place, rule in _protocol_rules(policy, path, "http"):
            for key in ("path", "method", "host"):
                _size(review, policy, (*place, key), rule.get(key))


def _sizes_of_route(review: Review, route: Manifest) -> None:
    for path, rule in route.each("spec", "rules"):
        for place, match in route.each(*path, "matches") if isinstance(rule, dict) else ():
            if not isinstance(match, dict):
                continue
            entries = [((*place, "path"), match.get("path"))]
            entries += [(at, item) for key in ("headers", "queryParams") for at, item in route.each(*place, key)]
            for at, item in entries:
                if isinstance(item, dict) and item.get("type") == "RegularExpression":
                    _size(review, route, (*at, "value"), item.get("value"))


def _size(review: Review, manifest: Manifest, at: Path, text: Any) -> None:
    if not isinstance(text, str):
        return
    try:
        large = programs.size(text) > programs.LARGEST
    except (ValueProblem, LanguageTooLarge):
        return
    if large:
        review.say("MP125", manifest, at, what=text if len(text) <= 40 else text[:37] + "...", most=programs.LARGEST)
