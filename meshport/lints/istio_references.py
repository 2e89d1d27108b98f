"""What Istio's policies and routes name beside hosts: delegates, accounts, authorizers, tokens that nobody checks, waypoints that stand aside, and clients
that are told to speak another way than the pods take (Istio reference 2.7, 4.1, 5.3, 6, 7.2, 8 and its gotchas)."""

from __future__ import annotations

import re
from typing import Any

from meshport.dialects.installation import places
from meshport.effective.access import Access, Effective
from meshport.ir.base import Fact
from meshport.ir.world import Service
from meshport.lints.inventory import OTHERS, Inventory, exports
from meshport.lints.istio_policies import asked_of_token, chosen, sources_of, waypoint_of
from meshport.lints.manifests import Manifest, Path, Review

_ACCOUNT = re.compile(r"[^*/]+/ns/(?P<space>[^*/]+)/sa/(?P<name>[^*/]+)")


def review(review: Review, known: Inventory) -> None:
    """Names of nothing, and settings that contradict each other."""
    for route in review.of("VirtualService", group="networking.istio.io"):
        _delegates(review, known, route)
    providers = _providers(review)
    for policy in review.of("AuthorizationPolicy", group="security.istio.io"):
        _accounts(review, known, policy)
        _unchecked(review, known, policy)
        name = policy.get("spec", "provider", "name")
        if policy.get("spec", "action") == "CUSTOM" and providers and isinstance(name, str) and name not in providers:
            why = f"the mesh's extensionProviders are {', '.join(sorted(providers))}"
            review.say("MP073", policy, ("spec", "provider", "name"), what=f"the provider {name}", why=why)
    for policy in review.of("AuthorizationPolicy", "RequestAuthentication", "Telemetry", "WasmPlugin", group="istio.io"):
        _standing_aside(review, known, policy)
    for rule in review.of("DestinationRule", group="networking.istio.io"):
        _plaintext(review, known, rule)


def _delegates(review: Review, known: Inventory, route: Manifest) -> None:
    """A delegate is a VirtualService without hosts; a rule that names none is left out."""
    for path, rule in route.each("spec", "http"):
        named = rule.get("delegate") if isinstance(rule, dict) else None
        if not isinstance(named, dict) or not isinstance(named.get("name"), str):
            continue
        space = str(named.get("namespace") or known.home(route))
        found = known.named.get(("VirtualService", space, named["name"]))
        if found is not None and found.get("spec", "hosts"):
            why = "it has hosts, and a delegate has none; the rule is left out"
        elif found is None and known.shows("VirtualService", space) and not known.has("Canary", space, named["name"]):  # Flagger writes it
            why = "the bundle does not have it; the rule is left out"
        else:
            continue
        review.say("MP073", route, (*path, "delegate", "name"), what=f"the delegate {space}/{named['name']}", why=why)


def _providers(review: Review) -> set[str]:
    """The names of the mesh's extensionProviders, as far as the bundle shows its installation."""
    found = set()
    for place in places(review.bound.bundle, "istiod"):
        listed = place.at("meshConfig.extensionProviders")
        value = listed[0] if listed is not None else None
        found |= {str(item["name"]) for item in value if isinstance(item, dict) and item.get("name")} if isinstance(value, list) else set()
    return found


def _accounts(review: Review, known: Inventory, policy: Manifest) -> None:
    """Accounts that the bundle would show."""
    for path, key, listed in sources_of(policy):
        for index, text in enumerate(listed if isinstance(listed, list) else ()):
            if not isinstance(text, str):
                continue
            space, name = "", ""
            if key in ("principals", "notPrincipals") and (found := _ACCOUNT.fullmatch(text)):
                space, name = found["space"], found["name"]
            elif key in ("serviceAccounts", "notServiceAccounts"):
                space, _, name = text.rpartition("/")
                space = space or known.home(policy)
            if known.lacks_account(space, name):
                review.say("MP073", policy, (*path, index), what=f"the ServiceAccount {space}/{name}", why=OTHERS)


def _unchecked(review: Review, known: Inventory, policy: Manifest) -> None:
    """Without a RequestAuthentication no request has a principal or claims of a token."""
    places = [place for path, _ in policy.each("spec", "rules") if (place := asked_of_token(policy, path)) is not None]
    if not places:
        return
    checks = list(review.of("RequestAuthentication", group="security.istio.io"))
    aimed = bool(policy.get("spec", "targetRefs") or policy.get("spec", "targetRef"))
    pods = {id(pod) for pod in chosen(known, policy)}
    for check in checks:
        if known.space(check) not in ("", known.home(policy)):
            continue
        same = check.get("spec", "targetRefs") or check.get("spec", "targetRef")
        if aimed or same or not pods or pods & {id(pod) for pod in chosen(known, check)}:
            return
    sure = bool(checks)
    what = "it asks for what a token says, and no RequestAuthentication " + ("of the bundle " if not sure else "")
    what += "checks tokens for these pods: no request has a principal or claims there"
    remedy = "Add a RequestAuthentication with the same selector."
    review.say("MP099", policy, *places, severity=None if sure else "info", what=what, remedy=remedy)


def _standing_aside(review: Review, known: Inventory, policy: Manifest) -> None:
    """A waypoint takes what is sent to Services unless its label says otherwise."""
    for path, ref in policy.each("spec", "targetRefs"):
        if not isinstance(ref, dict) or ref.get("kind") != "Service":
            continue
        service = known.service(known.home(policy), str(ref.get("name")))
        gate = waypoint_of(known, service) if service is not None else None
        gateway = known.named.get(("Gateway", *gate)) if gate is not None else None
        serves = gateway.get("metadata", "labels", "istio.io/waypoint-for") if gateway is not None else None
        if serves in ("workload", "none"):
            why = f"{gateway} is for {'pods that are called by their address' if serves == 'workload' else 'nothing'} (istio.io/waypoint-for: {serves})"
            review.say("MP080", policy, (*path, "name"), why=why, remedy="Label the Gateway istio.io/waypoint-for: service, or all.")


def _plaintext(review: Review, known: Inventory, rule: Manifest) -> None:
    """Plaintext that clients are told to speak, and that the pods refuse."""
    host = rule.get("spec", "host")
    found = known.host(host, known.home(rule)) if isinstance(host, str) and host and "*" not in host else None
    if found is None or found.service is None or not found.service.selector or not exports(rule, known.home(rule)) - {"~"}:
        return
    policies: list[Path] = [("spec", "trafficPolicy")] + [(*path, "trafficPolicy") for path, _ in rule.each("spec", "subsets")]
    for policy in policies:
        apart: dict[int, Any] = {}
        for path, item in rule.each(*policy, "portLevelSettings"):
            number = item["port"].get("number") if isinstance(item, dict) and isinstance(item.get("port"), dict) else None
            if isinstance(number, int):
                apart[number] = item
                _refused(review, known, rule, found.service, [number], (*path, "tls", "mode"))
        rest = [port.number for port in found.service.ports if port.number not in apart]
        _refused(review, known, rule, found.service, rest, (*policy, "tls", "mode"))


def _refused(review: Review, known: Inventory, rule: Manifest, service: Service, ports: list[int], place: Path) -> None:
    if rule.get(*place) != "DISABLE":
        return
    access = known.kept("access", lambda one: Access(one.review.ir, Fact("all-unauthenticated")))
    by_pod: dict[int, Effective] = {id(item.workload): item for item in access.workloads}
    for pod in known.selected(service.ref.namespace, dict(service.selector or {})):
        item = by_pod.get(id(pod))
        for port in service.ports if item is not None and item.meshed is not False else ():
            target = known.world.target_number(pod, port) if port.number in ports else None
            if item is not None and target is not None and item.mode(target).value == "strict" and not pod.bypasses(target):
                review.say("MP058", rule, place, host=rule.get("spec", "host"), port=port.number, pod=f"{pod.kind} {pod.ref}")
                return
