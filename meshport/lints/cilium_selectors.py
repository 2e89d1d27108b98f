"""Cilium's policies: whom they select, what they need beside them, and what opens past them (Cilium reference 2.3 to 2.11 and 7.2)."""

from __future__ import annotations

from collections.abc import Iterator

from meshport.dialects.installation import said
from meshport.ir.base import Selector
from meshport.lints.cilium_beside import POLICIES, beside, plain, rules_of, specs_of
from meshport.lints.inventory import OTHERS, Inventory, text_of
from meshport.lints.linkerd_policies import selector_of
from meshport.lints.manifests import Manifest, Path, Review, names
from meshport.mapping.table import in_range
from meshport.values.ports import is_number

_NAMESPACE = ("io.kubernetes.pod.namespace", "k8s:io.kubernetes.pod.namespace", "any:io.kubernetes.pod.namespace")


def review(review: Review, known: Inventory) -> None:
    """What selects other pods than it looks like, and names that nobody resolves."""
    for policy in review.of(*POLICIES, group="cilium.io"):
        for spec in specs_of(policy):
            _subject(review, known, policy, spec)
            _needs(review, policy, spec)
            _names(review, known, policy, spec)
            _service_ports(review, known, policy, spec)
    for config in review.of("CiliumEnvoyConfig", group="cilium.io"):
        _envoy(review, known, config)


def _ports(policy: Manifest, spec: Path, direction: str) -> Iterator[Path]:
    for path, _ in rules_of(policy, spec, direction):
        for place, item in policy.each(*path, "toPorts"):
            if isinstance(item, dict):
                yield place


def _subject(review: Review, known: Inventory, policy: Manifest, spec: Path) -> None:
    """The pods that a policy is for."""
    labels = policy.mapping(*spec, "endpointSelector", "matchLabels")
    home = known.home(policy)
    if policy.kind == "CiliumNetworkPolicy":
        asked = [((*spec, "endpointSelector", "matchLabels", key), [str(labels[key])]) for key in _NAMESPACE if key in labels]
        for place, item in policy.each(*spec, "endpointSelector", "matchExpressions"):
            if isinstance(item, dict) and item.get("key") in _NAMESPACE and item.get("operator") == "In":
                asked.append((place, [str(value) for _, value in policy.each(*place, "values")]))
        for place, spaces in asked:
            if home not in spaces:
                what = f"it selects pods of the namespace {names(spaces)}, and a CiliumNetworkPolicy is for its own namespace {home} alone"
                remedy = "Move it into that namespace, or write a clusterwide policy."
                review.say("MP093", policy, place, what=what, remedy=remedy)
        for path, _ in rules_of(policy, spec, "ingress", "egress"):
            for side in ("fromEndpoints", "toEndpoints"):
                for place, item in policy.each(*path, side):
                    if item == {}:
                        what = f"an empty entry of {side} means every pod of the namespace {home}, and none of another"
                        remedy = "If every pod of the cluster is meant, ask for io.kubernetes.pod.namespace with operator Exists."
                        review.say("MP093", policy, place, severity="info", what=what, remedy=remedy)
    chosen = plain(selector_of(policy, *spec, "endpointSelector"))
    if chosen.everything or policy.kind != "CiliumNetworkPolicy" or not _of_pods(chosen):
        return
    rest = not chosen.labels and all(item.operator in ("NotIn", "DoesNotExist") for item in chosen.expressions)  # whoever else there is
    if known.pods(home) and not rest and not known.chosen(home, chosen):
        if _of_several(review, known, policy, chosen):
            return
        severity = "info" if _elsewhere(review, known, policy, chosen) else None  # one rule for pods of several namespaces
        review.say(
            "MP079",
            policy,
            (*spec, "endpointSelector"),
            severity=severity,
            what="its endpointSelector",
            selector=str(chosen),
            where=f"namespace {home}",
        )


def _of_several(review: Review, known: Inventory, policy: Manifest, chosen: Selector) -> bool:
    """Whether the pods are those that several other policies of the namespace select together, or that one selects beside known pods."""
    asked = {item for item in chosen.demands() if item.operator not in ("NotIn", "DoesNotExist")}
    others = [
        set(plain(selector_of(other, *spec, "endpointSelector")).demands())
        for other in review.of(POLICIES[0], group="cilium.io")
        if other is not policy and known.home(other) == known.home(policy)
        for spec in specs_of(other)
    ]
    said = {item for demands in others if demands != set(chosen.demands()) for item in demands}
    named = {(key, value) for item in said for key, value in ((item.key, value) for value in item.values or ("",))}
    return all(item in said or all((item.key, value) in named for value in item.values or ("",)) for item in asked)


def _elsewhere(review: Review, known: Inventory, policy: Manifest, chosen: Selector) -> bool:
    """Whether a policy of the same name selects the same labels in another namespace, where pods have them."""
    return any(
        plain(selector_of(other, *spec, "endpointSelector")) == chosen and known.chosen(known.home(other), chosen)
        for other in review.of(POLICIES[0], group="cilium.io")
        if other is not policy and other.ref.name == policy.ref.name
        for spec in specs_of(other)
    )


def _of_pods(selector: Selector) -> bool:
    """Whether a selector asks for labels of pods alone, none that Cilium makes."""
    keys = [key for key, _ in selector.labels] + [item.key for item in selector.expressions]
    return not any(
        "io.kubernetes.pod." in key or "io.cilium." in key or key.partition(":")[0] in ("reserved", "k8s", "any", "node", "cidr")
        for key in keys
    )


def _needs(review: Review, policy: Manifest, spec: Path) -> None:
    """Settings of the installation without which a rule does nothing, and what a release refuses."""
    release = review.options.source_version
    alone = policy.get(*spec, "nodeSelector") is not None and policy.get(*spec, "endpointSelector") is None
    if alone and policy.kind == POLICIES[1] and said(review.bound.bundle, "cilium", "hostFirewall.enabled") is not True:
        what = "a policy for nodes takes effect with hostFirewall.enabled=true alone"
        review.say(
            "MP099", policy, (*spec, "nodeSelector"), severity="info", what=what, remedy="Check the values that Cilium is installed with."
        )
    for path, rule in rules_of(policy, spec, "ingress", "egress", "ingressDeny", "egressDeny"):
        for side in ("fromNodes", "toNodes"):
            if rule.get(side) and said(review.bound.bundle, "cilium", "nodeSelectorLabels") is not True:
                what = f"{side} matches with nodeSelectorLabels=true alone, and nodes other than the pod's own"
                review.say(
                    "MP099", policy, (*path, side), severity="info", what=what, remedy="Check the values that Cilium is installed with."
                )
        if rule.get("toServices") and rule.get("toPorts") and in_range(release, None, "1.17"):
            what = f"toServices stands beside toPorts, which Cilium {release} refuses; the whole policy does nothing"
            review.say("MP098", policy, (*path, "toServices"), severity="error", what=what, remedy="Leave toPorts out, or upgrade to 1.17.")


def _names(review: Review, known: Inventory, policy: Manifest, spec: Path) -> None:
    """Addresses of names are learned from the answers of DNS that pass a rule for the same pods."""
    for other, place in [(policy, spec), *beside(known, policy, spec)]:
        if any(other.each(*path, "rules", "dns") for path in _ports(other, place, "egress")):
            return
    places = [(*path, "toFQDNs") for path, rule in rules_of(policy, spec, "egress") if rule.get("toFQDNs")]
    if places:
        found = [
            str(item.get("matchName") or item.get("matchPattern"))
            for path in places
            for _, item in policy.each(*path)
            if isinstance(item, dict)
        ]
        review.say("MP092", policy, *places, names=names(found))


def _service_ports(review: Review, known: Inventory, policy: Manifest, spec: Path) -> None:
    """Ports of a rule are those of the pods, whatever the Service in front of them calls its own."""
    if policy.kind != "CiliumNetworkPolicy":
        return
    chosen = plain(selector_of(policy, *spec, "endpointSelector"))
    pods = known.chosen(known.home(policy), chosen) if _of_pods(chosen) and not chosen.everything else []
    for place in _ports(policy, spec, "ingress"):
        for path, port in policy.each(*place, "ports"):
            text = port.get("port") if isinstance(port, dict) else None
            if not isinstance(text, str) or not is_number(text) or port.get("endPort") or text == "0":
                continue
            number = int(text)
            for pod in pods:
                services = known.world.services_of(pod)
                targets = {known.world.target_number(pod, one) for service in services for one in service.ports} | {
                    one.number for one in pod.ports
                }
                service = next((service for service in services if service.port(number) is not None), None)
                if service is not None and number not in targets and None not in targets:
                    why = f"{number} is the port of Service {service.ref}; the pods listen on {text_of([one for one in targets if one is not None])}"
                    review.say("MP074", policy, (*path, "port"), severity="warning", what=f"port {number} of the pods", why=why)
                    break


# -- names


def _envoy(review: Review, known: Inventory, config: Manifest) -> None:
    home = known.home(config)
    for member in ("services", "backendServices"):
        for path, item in config.each("spec", member):
            name = item.get("name") if isinstance(item, dict) else None
            space = str(item.get("namespace") or home) if isinstance(item, dict) else home
            if isinstance(name, str) and known.service(space, name) is None and known.shows("Service", space):
                why = OTHERS
                review.say("MP073", config, (*path, "name"), what=f"the Service {space}/{name}", why=why)
