"""Istio's policies: what they are aimed at, and rules that match less, or more, than they look like (Istio reference 2, 6, 8 and its gotchas)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from meshport.effective.access import Access
from meshport.effective.covered import rule_covers
from meshport.ir.authorization import Policy
from meshport.ir.base import Fact
from meshport.ir.world import Service, Workload
from meshport.lints.inventory import OTHERS, Inventory, ambient, text_of
from meshport.lints.manifests import Manifest, Path, Review, names
from meshport.lints.references import meets
from meshport.mapping.table import in_range
from meshport.values.ports import is_number

_TEXT_ONLY = {"tcp", "mongo", "mysql", "redis", "tls", "https"}
_REQUEST = ("methods", "notMethods", "paths", "notPaths", "hosts", "notHosts")
_EXPRESSION = re.compile(r"\.\*|\.\+|^\^|\$$|\\\\|\(\?|\[\^")  # what a regular expression has and a path has not
_VERBS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}
_PEERS = ("principals", "namespaces", "serviceAccounts")
_WAYPOINT = "istio.io/use-waypoint"


def review(review: Review, known: Inventory) -> None:
    """Targets, the ports and callers of policies, and what others open beside them."""
    for policy in review.of("AuthorizationPolicy", "RequestAuthentication", "Telemetry", "WasmPlugin", group="istio.io"):
        _targets(review, known, policy)
    for policy in review.of("AuthorizationPolicy", group="security.istio.io"):
        _ports(review, known, policy)
        _negated(review, known, policy)
        _patterns(review, policy)
    for policy in review.of("PeerAuthentication", group="security.istio.io"):
        _port_level(review, known, policy)
    for policy in review.of("AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication", group="security.istio.io"):
        _unmeshed(review, known, policy)
    _opened(review)
    _waypoints(review, known)


# -- targets


def _targets(review: Review, known: Inventory, policy: Manifest) -> None:
    """Only a waypoint or a gateway reads a policy with targetRefs, and only for what they name."""
    places = [path for path, _ in policy.each("spec", "targetRefs")]
    if isinstance(policy.get("spec", "targetRef"), dict):
        places.append(("spec", "targetRef"))
    for path in places:
        kind, name = str(policy.get(*path, "kind")), policy.get(*path, "name")
        if isinstance(name, str):
            _target(review, known, policy, (*path, "name"), kind, name)


def _target(review: Review, known: Inventory, policy: Manifest, place: Path, kind: str, name: str) -> None:
    home = known.home(policy)
    if kind == "GatewayClass":
        release = review.options.source_version
        if home != known.root:
            why = f"a GatewayClass may be named in the root namespace {known.root} alone"
            review.say("MP080", policy, place, why=why, remedy="Move it there, or name the Gateway.")
        elif in_range(release, None, "1.25"):
            why = f"Istio {release} does not know a GatewayClass as a target; 1.25 does"
            review.say("MP080", policy, place, why=why, remedy="Name each waypoint, or upgrade.")
        return
    there = known.named.get((kind, home, name))
    if kind == "Gateway" and there is not None and not there.document.group.startswith("gateway.networking"):
        why = f"{there} is a Gateway of Istio's own API, and targetRefs take one of the Gateway API"
        review.say("MP080", policy, place, why=why, remedy="Select the gateway's pods by their labels.")
    elif kind in ("Gateway", "Service", "ServiceEntry") and there is None:
        elsewhere = next((one for (what, _, called), one in known.named.items() if (what, called) == (kind, name)), None)
        sure = known.shows(kind, home) or elsewhere is not None
        why = "without it nothing enforces the policy; " + (
            f"{elsewhere} is in another namespace, which targetRefs do not reach"
            if elsewhere is not None
            else OTHERS
            if sure
            else "the bundle may not show it"
        )
        review.say("MP073", policy, place, severity=None if sure else "info", what=f"{kind} {home}/{name}", why=why)
    elif kind == "Service":
        service, namespace = known.service(home, name), known.world.namespaces.get(home)
        if service is None or (namespace is None and _WAYPOINT not in service.labels):
            return
        if waypoint_of(known, service) is None:
            why = f"Service {service.ref} uses no waypoint, and nothing else reads a policy with targetRefs to a Service"
            review.say("MP080", policy, place, why=why, remedy=f"Label the Service or its namespace with {_WAYPOINT}.")


def waypoint_of(known: Inventory, service: Service) -> tuple[str, str] | None:
    """Namespace and name of the waypoint that a Service's labels, or those of its namespace, name."""
    namespace = known.world.namespaces.get(service.ref.namespace)
    labels = service.labels if _WAYPOINT in service.labels else namespace.labels if namespace is not None else {}
    name = labels.get(_WAYPOINT, "none")
    return None if name == "none" else (labels.get(f"{_WAYPOINT}-namespace", service.ref.namespace), name)


def _waypoints(review: Review, known: Inventory) -> None:
    """At the pods what came through a waypoint comes from the waypoint's account: policies by names that leave it out refuse it."""
    allows = [
        policy
        for policy in review.of("AuthorizationPolicy", group="security.istio.io")
        if policy.get("spec", "action") in (None, "ALLOW") and not policy.get("spec", "targetRefs") and not policy.get("spec", "targetRef")
    ]
    said: set[int] = set()
    for service in known.world.services.values() if allows else ():
        gate = waypoint_of(known, service)
        if gate is None or not known.has("Gateway", *gate) or not ambient(review, service.ref.namespace):
            continue
        for pod in known.selected(service.ref.namespace, dict(service.selector)) if service.selector else ():
            over = [policy for policy in allows if known.space(policy) in ("", pod.ref.namespace) and pod in chosen(known, policy)]
            named = [policy for policy in over if policy.each("spec", "rules")]
            if not named or any(_admits(policy, *gate) for policy in over):
                continue
            policy = named[0]
            if policy.number not in said:
                said.add(policy.number)
                place = next((path for path, _, _ in sources_of(policy)), ("spec", "rules"))
                waypoint = "/".join(gate)
                review.say("MP083", policy, place, service=str(service.ref), waypoint=waypoint, namespace=gate[0], name=gate[1])


def _admits(policy: Manifest, namespace: str, account: str) -> bool:
    """Whether a rule lets the waypoint's account in, as far as it names callers."""
    for path, _ in policy.each("spec", "rules"):
        listed = policy.each(*path, "from")
        for _, item in listed:
            source = item.get("source") if isinstance(item, dict) else None
            if not isinstance(source, dict) or not any(source.get(key) for key in _PEERS):
                return True
            for key, value in (("principals", f"/ns/{namespace}/sa/{account}"), ("namespaces", namespace)):
                wanted = [str(pattern) for pattern in source.get(key) or ()]
                if any(
                    meets(one, value) or (key == "principals" and (one == "*" or one.endswith(value) or _begins(one, value)))
                    for one in wanted
                ):
                    return True
            if any(str(one) in (account, f"{namespace}/{account}") for one in source.get("serviceAccounts") or ()):
                return True
        if not listed:
            return True
    return False


def _begins(pattern: str, account: str) -> bool:
    """Whether a principal with a `*` at its end, whatever its trust domain, takes in an account."""
    return pattern.endswith("*") and account.startswith("/" + pattern[:-1].partition("/")[2])


# -- ports


def chosen(known: Inventory, policy: Manifest) -> list[Workload]:
    return known.selected(known.space(policy), policy.mapping("spec", "selector", "matchLabels"))


def _service_port(known: Inventory, pods: list[Workload], number: int) -> tuple[Service, set[int]] | None:
    """A Service in front of the pods that has the port, where the pods listen on other ones."""
    for pod in pods:
        own = {port.number for port in pod.ports}
        for service in known.world.services_of(pod):
            port = service.port(number)
            target = known.world.target_number(pod, port) if port is not None else None
            if target is not None and target != number and number not in own:
                return service, {target}
    return None


def _listens(known: Inventory, pods: list[Workload], number: int) -> bool:
    """Whether some pod may listen on a port, as far as containers and Services say."""
    for pod in pods:
        targets = {known.world.target_number(pod, port) for service in known.world.services_of(pod) for port in service.ports}
        if number in {port.number for port in pod.ports} | targets:
            return True
    return False


def _ports(review: Review, known: Inventory, policy: Manifest) -> None:
    """Ports of a policy are those of the container; what is asked of a request is never true of a port that carries none."""
    pods = chosen(known, policy)
    if not pods:
        return
    for at, text in _numbers(policy):
        if isinstance(text, str) and is_number(text):
            _service_number(review, known, policy, at, pods, int(text))
    for path, _ in policy.each("spec", "rules"):
        asked = _asked(policy, path)
        targets = policy.each(*path, "to")
        for place, item in targets:
            operation = item.get("operation") if isinstance(item, dict) else None
            if not isinstance(operation, dict):
                continue
            numbers = [int(text) for _, text in policy.each(*place, "operation", "ports") if isinstance(text, str) and is_number(text)]
            key = next((key for key in _REQUEST if operation.get(key)), "")
            _say_plain(review, known, policy, pods, numbers, (*place, "operation", key) if key else asked)
        if not targets:
            _say_plain(review, known, policy, pods, [], asked)


def _numbers(policy: Manifest) -> Iterator[tuple[Path, Any]]:
    """Each port that a policy names, and where."""
    for path, _ in policy.each("spec", "rules"):
        for place, _ in policy.each(*path, "to"):
            for key in ("ports", "notPorts"):
                yield from policy.each(*place, "operation", key)
        for place, item in policy.each(*path, "when"):
            if isinstance(item, dict) and item.get("key") == "destination.port":
                for key in ("values", "notValues"):
                    yield from policy.each(*place, key)


def _asked(policy: Manifest, rule: Path, words: str = "request.") -> Path | None:
    """Where the callers or conditions of a rule ask for something of a request."""
    for place, item in policy.each(*rule, "from"):
        source = item.get("source") if isinstance(item, dict) else None
        if isinstance(source, dict):
            for key in ("requestPrincipals", "notRequestPrincipals"):
                if source.get(key):
                    return (*place, "source", key)
    for place, item in policy.each(*rule, "when"):
        if isinstance(item, dict) and str(item.get("key")).startswith(words):
            return (*place, "key")
    return None


def asked_of_token(policy: Manifest, rule: Path) -> Path | None:
    """Where the callers or conditions of a rule ask for what a token says."""
    return _asked(policy, rule, "request.auth.")


def _say_plain(review: Review, known: Inventory, policy: Manifest, pods: list[Workload], numbers: list[int], place: Path | None) -> None:
    plain = _without_requests(known, pods, numbers) if place is not None else []
    if plain and place is not None:
        what = "an ALLOW never matches there, a DENY refuses the whole port"
        review.say("MP088", policy, place, ports=text_of(plain), what=what)


def sources_of(policy: Manifest) -> Iterator[tuple[Path, str, Any]]:
    """Each member of each source that a policy names, with its place."""
    for path, _ in policy.each("spec", "rules"):
        for place, item in policy.each(*path, "from"):
            source = item.get("source") if isinstance(item, dict) else None
            for key, value in source.items() if isinstance(source, dict) else ():
                yield (*place, "source", key), key, value


def _service_number(review: Review, known: Inventory, policy: Manifest, path: Path, pods: list[Workload], number: int) -> None:
    found = _service_port(known, pods, number)
    if found is not None and not _listens(known, pods, number):
        service, targets = found
        what = f"port {number} of the pods"
        why = f"{number} is the port of Service {service.ref}, behind it the pods listen on {text_of(list(targets))}, and the policy is about their ports"
        review.say("MP074", policy, path, severity="warning", what=what, why=why)


def _without_requests(known: Inventory, pods: list[Workload], numbers: list[int]) -> list[int]:
    """The ports, where each of them is declared to carry no HTTP."""
    spoken: dict[int, set[str]] = {}
    for pod in pods:
        for service in known.world.services_of(pod):
            for port in service.ports:
                if (target := known.world.target_number(pod, port)) is not None:
                    spoken.setdefault(target, set()).add(port.app_protocol.lower() or port.name.partition("-")[0].lower())
    wanted = numbers or list(spoken)
    return wanted if wanted and all(spoken.get(number) and spoken[number] <= _TEXT_ONLY for number in wanted) else []


def _port_level(review: Review, known: Inventory, policy: Manifest) -> None:
    pods = chosen(known, policy)
    for key in policy.mapping("spec", "portLevelMtls"):
        if is_number(str(key)) and pods:
            _service_number(review, known, policy, ("spec", "portLevelMtls", key), pods, int(key))


# -- callers and patterns


def _negated(review: Review, known: Inventory, policy: Manifest) -> None:
    """An allow for everybody but some is one for callers without identity, too."""
    if policy.get("spec", "action") not in (None, "ALLOW"):
        return
    for path, _ in policy.each("spec", "rules"):
        for place, item in policy.each(*path, "from"):
            source = item.get("source") if isinstance(item, dict) else None
            if not isinstance(source, dict):
                continue
            wanted = [key for key in ("notPrincipals", "notNamespaces", "notServiceAccounts") if source.get(key)]
            if wanted and not any(source.get(key) for key in (*_PEERS, "requestPrincipals")):
                review.say(
                    "MP089",
                    policy,
                    (*place, "source", wanted[0]),
                    severity=None if _plaintext(known, policy) else "info",
                    member=wanted[0],
                )


def _plaintext(known: Inventory, policy: Manifest) -> bool:
    """Whether a PeerAuthentication of the bundle lets plaintext in where the policy holds."""
    access = known.kept("access", lambda one: Access(one.review.ir, Fact("all-unauthenticated")))
    pods = {id(pod) for pod in chosen(known, policy)}
    modes = [item.mode(None) for item in access.workloads if id(item.workload) in pods] or [access.namespace_mode(known.home(policy))]
    return any(mode.src and mode.value != "strict" for mode in modes)


def _patterns(review: Review, policy: Manifest) -> None:
    """A `*` counts at one end of a text, and between slashes as `{*}`; all else stands for itself."""
    for path, _ in policy.each("spec", "rules"):
        for place, _ in policy.each(*path, "to"):
            for key in ("paths", "notPaths", "hosts", "notHosts", "methods", "notMethods"):
                for at, text in policy.each(*place, "operation", key):
                    odd = _odd(key.lower().removeprefix("not"), text) if isinstance(text, str) else None
                    if odd is not None:
                        review.say("MP098", policy, at, what=odd[0], remedy=odd[1])
    for place, key, _ in sources_of(policy):
        if key.lower().removeprefix("not") in ("principals", "namespaces", "requestprincipals"):
            for at, text in policy.each(*place):
                if isinstance(text, str) and _inner_star(text):
                    what = f"the * within {text!r} stands for itself: nothing else has it there"
                    review.say("MP098", policy, at, what=what, remedy="Keep the * at one end.")
                elif isinstance(text, str) and text.startswith("spiffe://") and "request" not in key.lower():
                    what = f"{text!r} is nobody's: principals are written without spiffe://"
                    review.say("MP098", policy, at, what=what, remedy=f"Write {text.removeprefix('spiffe://')}.")


def _odd(key: str, text: str) -> tuple[str, str] | None:
    """What of a method, path or host no request has, and what to write; None where nothing is odd."""
    if key == "methods":
        odd = text != text.upper() and text.upper() in _VERBS
        return (f"the method {text} is compared as it stands, and requests say {text.upper()}", f"Write {text.upper()}.") if odd else None
    if key == "paths" and _EXPRESSION.search(text):
        return (
            f"{text!r} reads like a regular expression, and paths are compared as text",
            "Write a path, with a * at one end or {*} for one segment.",
        )
    if _inner_star(text):
        what = f"the * within {text!r} stands for itself: nothing else has it there"
        return what, "Write {*} for one segment." if key == "paths" else "Keep the * at one end."
    if key == "paths" and "?" in text:
        return f"{text!r} has a ?, and paths are compared without their query", "Leave out what follows the ?."
    if key == "paths" and text and not text.startswith(("/", "*", "{")):
        return f"{text!r} does not begin with /, as every path does", f"Write /{text}."
    return None


def _inner_star(text: str) -> bool:
    if "{*}" in text or "{**}" in text:
        return False
    inner = text[1:] if text.startswith("*") else text[:-1] if text.endswith("*") else text
    return "*" in inner


# -- pods without a proxy, and what others open


def _unmeshed(review: Review, known: Inventory, policy: Manifest) -> None:
    """The mesh has nothing to say of pods without its proxy, nor of ports that go past it."""
    labels = policy.mapping("spec", "selector", "matchLabels")
    pods = [pod for pod in chosen(known, policy) if not _carries_proxy(review, pod)] if labels else []
    if not pods:
        return
    path = ("spec", "selector", "matchLabels")
    if all(known.world.meshed(pod) is False for pod in pods):
        own = [pod for pod in pods if pod.host_network or pod.meshed is not None]
        why = f"{names([f'{pod.kind} {pod.ref}' for pod in pods])} " + (
            "run on the host's network, where no proxy is" if all(pod.host_network for pod in pods) else "get no proxy: injection is off"
        )
        remedy = "Take the pods into the mesh, or guard them with a NetworkPolicy."
        review.say("MP080", policy, path, severity=None if len(own) == len(pods) else "info", why=why, remedy=remedy)
        return
    for pod in pods:
        ports = [port.number for port in pod.ports if pod.bypasses(port.number)]
        if ports and len(ports) == len(pod.ports):
            why = f"port {text_of(ports)} of {pod.kind} {pod.ref} goes past its proxy (traffic.sidecar.istio.io/excludeInboundPorts)"
            review.say("MP080", policy, path, why=why, remedy="Take the port out of the annotation, or guard it with a NetworkPolicy.")


def _carries_proxy(review: Review, pod: Workload) -> bool:
    """Whether a pod brings its own proxy, as gateways do."""
    manifest = review.manifests[pod.document]
    containers = manifest.each(*pod.template, "spec", "containers")
    return any(isinstance(item, dict) and item.get("name") == "istio-proxy" for _, item in containers)


def _opened(review: Review) -> None:
    """Allows add up: one whose every rule another one holds, for the same pods or more, restricts nothing."""
    allows = [
        policy
        for policy in review.ir.policies
        if policy.action.value == "allow" and policy.kind == "AuthorizationPolicy" and policy.rules and policy.port is None
        and not review.manifests[policy.document].get("spec", "targetRefs")
    ]  # fmt: skip
    asking: dict[tuple[str, str] | None, list[int]] = {}  # by a label that a policy asks for
    for place, policy in enumerate(allows):
        asking.setdefault(next(iter(policy.subject.value.selector.labels), None), []).append(place)
    chosen = [review.ir.world.selected(policy.subject.value) for policy in allows]
    for place, policy in enumerate(allows):
        labels = {*policy.subject.value.selector.labels, *(label for pod in chosen[place][:1] for label in pod.labels.items())}
        for position in sorted(position for label in (None, *labels) for position in asking.get(label, ())):
            other = allows[position]
            if other.document == policy.document or not _holds(other, policy, chosen[place]):
                continue
            if position < place or not _holds(policy, other, chosen[position]):
                manifest, wide = review.manifests[policy.document], review.manifests[other.document]
                review.say("MP094", manifest, ("spec", "rules"), wide=str(wide), what="all of that, for the same pods or more")
                break


def _holds(one: Policy, other: Policy, pods: list[Workload]) -> bool:
    """Whether a policy is for all pods of another, `pods`, and allows all that it does."""
    wide, narrow = one.subject.value, other.subject.value
    if wide.namespace not in ("", narrow.namespace):
        return False
    same = wide.selector.everything or wide.selector == narrow.selector or wide.selector.accepts(dict(narrow.selector.labels))
    if not same and not (pods and all(wide.selector.accepts(pod.labels) for pod in pods)):
        return False
    return all(any(rule_covers(known, rule) for known in one.rules) for rule in other.rules)
