"""What a reviewer says about Istio's manifests (istio.io, reference/config; the analyzers of istioctl look at some of the same)."""

from __future__ import annotations

import re
from typing import Any

from meshport.lints.inventory import covers_host
from meshport.lints.manifests import Manifest, Review, labels_of, names

# A zone is its region and a letter: us-central1-a, us-west-2a (cloud providers' own naming).
_ZONE = re.compile(r"(?P<region>[a-z]+(?:-[a-z]+)*-?[a-z]*\d)-[a-z]|(?P<aws>[a-z]{2}(?:-[a-z]+)+-\d)[a-z]")


def review(review: Review) -> None:
    """Failover, outside services, waypoints, hidden DestinationRules, workloads that a policy closes."""
    by_host: dict[str, list[Manifest]] = {}
    for rule in review.of("DestinationRule", group="networking.istio.io"):
        by_host.setdefault(_host(rule, review.options.cluster_domain), []).append(rule)
    for rule in review.of("DestinationRule", group="networking.istio.io"):
        _failover(review, rule)
        _hidden(review, rule, by_host)
    for entry in review.of("ServiceEntry", group="networking.istio.io"):
        _service_entry(review, entry)
    for gateway in review.of("Gateway", group="gateway.networking.k8s.io"):
        _waypoint(review, gateway)
    _closed(review)


def _failover(review: Review, rule: Manifest) -> None:
    """`from` and `to` are regions; a zone never equals one, so nothing fails over."""
    for path, item in rule.each("spec", "trafficPolicy", "loadBalancer", "localityLbSetting", "failover"):
        for side in ("from", "to"):
            value = item.get(side) if isinstance(item, dict) else None
            if isinstance(value, str) and (found := _ZONE.fullmatch(value)):
                region = found["region"] or found["aws"]
                review.say("MP044", rule, (*path, side), value=value, side=side, region=region)


def _service_entry(review: Review, entry: Manifest) -> None:
    """A host that is a Kubernetes Service is the Service; names of another cluster's domain are none."""
    domain = f".svc.{review.options.cluster_domain}"
    for path, host in entry.each("spec", "hosts"):
        if isinstance(host, str) and host.endswith(domain) and not host.startswith("*"):
            review.say("MP045", entry, path, ("spec", "endpoints"), host=host)
    for path, endpoint in entry.each("spec", "endpoints"):
        address = endpoint.get("address") if isinstance(endpoint, dict) else None
        if (
            isinstance(address, str)
            and re.search(r"\.svc\.[a-z0-9.-]+$", address)
            and not address.endswith((domain, ".svc.clusterset.local"))
        ):
            review.say("MP046", entry, (*path, "address"), address=address, domain=review.options.cluster_domain)


def _waypoint(review: Review, gateway: Manifest) -> None:
    """A waypoint gets the traffic of what names it by label."""
    if gateway.get("spec", "gatewayClassName") != "istio-waypoint":
        return
    for other in review.of("Namespace", "Service", "ServiceEntry", "Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"):
        pods = other.mapping("spec", "template", "metadata", "labels")
        named = {**labels_of(other), **{str(key): str(value) for key, value in pods.items()}}
        space = named.get("istio.io/use-waypoint-namespace") or (other.document.name if other.kind == "Namespace" else other.namespace)
        if named.get("istio.io/use-waypoint") == gateway.document.name and space == gateway.namespace:
            return
    review.say("MP047", gateway, ("metadata", "name"), name=gateway.document.name, namespace=gateway.namespace)


def _host(rule: Manifest, domain: str) -> str:
    """The full host of a DestinationRule: a name without a dot is one of its namespace."""
    host = str(rule.get("spec", "host") or "")
    return host if "." in host else f"{host}.{rule.namespace}.svc.{domain}"


def _hidden(review: Review, rule: Manifest, by_host: dict[str, list[Manifest]]) -> None:
    """Of the rules for a host Istio takes the most specific one of the client's namespace, then of the host's, then of the root namespace, and that whole;
    a wildcard, or a rule further away, adds nothing to it."""
    host, root = _host(rule, review.options.cluster_domain), review.options.root_namespace
    met = [name for name in by_host if covers_host(host, name)] if host.startswith("*") else [host]
    full = sorted(((one, name) for name in met for one in by_host[name] if one.number != rule.number), key=lambda item: item[0].number)
    over = [
        one
        for one, name in full
        if (one.namespace == rule.namespace or rule.namespace == root)
        and (name != host or (rule.namespace == root and one.namespace != root))
    ]
    _merged(
        review, rule, host, [one for one, name in full if name == host and one.namespace == rule.namespace and one.number < rule.number]
    )
    nearer = [one for one, name in full if name == host and one.namespace not in (rule.namespace, root)]
    home = host.removesuffix(f".svc.{review.options.cluster_domain}").rpartition(".")[2]
    if nearer and rule.namespace == home and not over:
        listed = names([f"{one.namespace}/{one.document.name}" for one in nearer])
        note = f"; that is for clients in {names(sorted({one.namespace for one in nearer}))}, who follow the rule of their own namespace"
        review.say("MP048", rule, ("spec", "host"), severity="info", host=rule.get("spec", "host"), others=listed, note=note)
    if over:
        policy: dict[str, Any] = rule.mapping("spec", "trafficPolicy")
        alone = set(policy) == {"tls"} and policy["tls"] == {"mode": "ISTIO_MUTUAL"}
        listed = names([one.document.name if one.namespace == rule.namespace else f"{one.namespace}/{one.document.name}" for one in over])
        note = "; that costs nothing here, because meshed callers use mutual TLS by themselves" if alone else ""
        severity = "info" if alone else "warning"
        review.say("MP048", rule, ("spec", "host"), severity=severity, host=rule.get("spec", "host"), others=listed, note=note)


def _merged(review: Review, rule: Manifest, host: str, before: list[Manifest]) -> None:
    """Several rules of one namespace for one host are one: their subsets are put together, and of what else they say the oldest's counts."""
    for other in before:
        if rule.get("spec", "workloadSelector") or other.get("spec", "workloadSelector"):
            continue
        twice = {item.get("name") for one in (rule, other) for _, item in one.each("spec", "subsets") if isinstance(item, dict)}
        count = sum(len(one.each("spec", "subsets")) for one in (rule, other))
        if (rule.get("spec", "trafficPolicy") and other.get("spec", "trafficPolicy")) or len(twice) < count:
            which = "their subsets are put together, and of what both say the oldest's holds"
            review.say("MP077", rule, ("spec", "host"), others=str(other), what=f"the host {host}", which=which)
            return


def _closed(review: Review) -> None:
    """Workloads that a policy of the whole namespace closes and that no other policy opens."""
    allows = [policy for policy in review.ir.policies if policy.action.value == "allow" and policy.rules]
    opened: set[int] | None = None
    for policy in review.ir.policies:
        subject = policy.subject.value
        shuts = policy.action.value == "allow" and policy.closing and not policy.rules
        refuses = policy.action.value == "deny" and any(not rule.conditions and not rule.unless for rule in policy.rules)
        if not (shuts or refuses) or not subject.selector.everything:
            continue
        if opened is None:
            opened = {id(pod) for other in allows for pod in review.ir.world.selected(other.subject.value)}
        shut = [workload.ref.name for workload in review.ir.world.selected(subject) if not (shuts and id(workload) in opened)]
        if shut:
            manifest = review.manifests[policy.document]
            review.say("MP049", manifest, ("spec",), workloads=names(sorted(shut), 6), count=len(set(shut)))
