"""What a reviewer says about Istio's manifests (istio.io, reference/config; the analyzers of istioctl look at some of the same)."""

from __future__ import annotations

import re
from typing import Any

from meshport.lints.manifests import Manifest, Review, labels_of, names

# A zone is its region and a letter: us-central1-a, us-west-2a (cloud providers' own naming).
_ZONE = re.compile(r"(?P<region>[a-z]+(?:-[a-z]+)*-?[a-z]*\d)-[a-z]|(?P<aws>[a-z]{2}(?:-[a-z]+)+-\d)[a-z]")


def review(review: Review) -> None:
    """Failover, outside services, waypoints, hidden DestinationRules, workloads that a policy closes."""
    for rule in review.of("DestinationRule", group="networking.istio.io"):
        _failover(review, rule)
        _hidden(review, rule)
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


def _hidden(review: Review, rule: Manifest) -> None:
    """Of the rules for a host Istio takes the most specific one, and that whole; a wildcard adds nothing to it."""
    host = _host(rule, review.options.cluster_domain)
    if not host.startswith("*"):
        return
    over = [
        other
        for other in review.of("DestinationRule", group="networking.istio.io")
        if other.namespace == rule.namespace
        and (full := _host(other, review.options.cluster_domain)) != host
        and full.lstrip("*").endswith(host[1:])
        and len(full) > len(host)
    ]
    if over:
        policy: dict[str, Any] = rule.mapping("spec", "trafficPolicy")
        alone = set(policy) == {"tls"} and policy["tls"] == {"mode": "ISTIO_MUTUAL"}
        listed = names([other.document.name for other in over])
        note = "; that costs nothing here, because meshed callers use mutual TLS by themselves" if alone else ""
        severity = "info" if alone else "warning"
        review.say("MP048", rule, ("spec", "host"), severity=severity, host=rule.get("spec", "host"), others=listed, note=note)


def _closed(review: Review) -> None:
    """Workloads that a policy of the whole namespace closes and that no other policy opens."""
    for policy in review.ir.policies:
        subject = policy.subject.value
        if policy.action.value != "allow" or not policy.closing or policy.rules or not subject.selector.everything:
            continue
        allows = [other for other in review.ir.policies if other.action.value == "allow" and other.rules]
        shut = [
            workload.ref.name
            for workload in review.ir.world.workloads
            if subject.namespace in ("", workload.ref.namespace)
            and not any(other.subject.value.contains(workload.ref.namespace, workload.labels) for other in allows)
        ]
        if shut:
            manifest = review.manifests[policy.document]
            review.say("MP049", manifest, ("spec",), workloads=names(sorted(shut), 6), count=len(set(shut)))
