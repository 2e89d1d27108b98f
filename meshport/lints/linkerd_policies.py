"""Linkerd's policies, routes and profiles against the workloads and Services of the bundle (Linkerd reference 2, and its gotchas)."""

from __future__ import annotations

from typing import Any

from meshport.ir.base import Requirement, Selector
from meshport.ir.world import Workload
from meshport.lints.inventory import OTHERS, Inventory, Selections
from meshport.lints.linkerd_grants import grants_of
from meshport.lints.manifests import Manifest, Path, Review, names
from meshport.mapping.table import in_range
from meshport.values.durations import parse_linkerd
from meshport.values.ports import is_number
from meshport.values.problems import ValueProblem

_EVERYTHING = {".*", "/.*", "^.*$", "^/.*$", ""}
_OF_PROXY = ("linkerd-admin", "linkerd-proxy")  # ports of the proxy, which the injector adds
_BREAKER = "balancer.linkerd.io/failure-accrual"
_OF_ROUTES = ("balancer.linkerd.io/", "retry.linkerd.io/", "timeout.linkerd.io/")


def review(review: Review, known: Inventory) -> None:
    """Overlapping Servers, policies for nothing, shadowed settings, routes that Linkerd reads otherwise."""
    _servers(review, known)
    _unseen(review, known)
    for policy in review.of("AuthorizationPolicy", group="policy.linkerd.io"):
        _policy(review, known, policy)
    _limits(review, known)
    for profile in review.of("ServiceProfile", group="linkerd.io"):
        _profile(review, known, profile)
    for service in review.of("Service"):
        _breaker(review, service)


def _missing(review: Review, known: Inventory, manifest: Manifest, path: Path, kind: str, name: str) -> None:
    home = known.home(manifest)
    sure = known.shows(kind, home)
    why = OTHERS if sure else f"nor any {kind} of that namespace"
    review.say("MP073", manifest, path, severity=None if sure else "info", what=f"{kind} {home}/{name}", why=why)


# -- Servers


def selector_of(manifest: Manifest, *path: str | int) -> Selector:
    """A label selector with its expressions; what has another shape is left out."""
    wanted = []
    for place, item in manifest.each(*path, "matchExpressions"):
        if (
            isinstance(item, dict)
            and isinstance(item.get("key"), str)
            and item.get("operator") in ("In", "NotIn", "Exists", "DoesNotExist")
        ):
            values = tuple(str(value) for _, value in manifest.each(*place, "values"))
            wanted.append(Requirement(item["key"], item["operator"], values))
    return Selector.of({str(key): str(value) for key, value in manifest.mapping(*path, "matchLabels").items()}, wanted)


def _servers(review: Review, known: Inventory) -> None:
    taken: dict[tuple[int, int], Manifest] = {}
    said: set[tuple[int, int]] = set()
    for server in review.of("Server", group="policy.linkerd.io"):
        if server.get("spec", "podSelector") is None:
            continue
        among = known.pods(known.home(server))
        chosen = selector_of(server, "spec", "podSelector")
        pods = known.chosen(known.home(server), chosen)
        port = server.get("spec", "port")
        if among and not pods:
            review.say(
                "MP079",
                server,
                ("spec", "podSelector"),
                severity="info" if known.home(server).startswith("linkerd") else None,  # pods that an extension's installation brings
                what="its podSelector",
                selector=str(chosen),
                where=f"namespace {known.home(server)}",
            )
        numbers = [(pod, number) for pod in pods if (number := number_of(pod, port)) is not None]
        _past(review, known, server, numbers)
        if pods and isinstance(port, str) and not is_number(port) and not numbers and port not in _OF_PROXY:
            have = names(sorted({one.name for pod in pods for one in pod.ports if one.name})) or "none with a name"
            review.say(
                "MP074",
                server,
                ("spec", "port"),
                what=f"port {port} of the pods",
                why=f"their containers declare {have}, so that the Server closes nothing",
            )
        for pod, number in numbers:
            other = taken.setdefault((id(pod), number), server)
            if str(other) != str(server) and (other.number, server.number) not in said:
                said.add((other.number, server.number))
                review.say(
                    "MP077",
                    server,
                    ("spec", "port"),
                    others=str(other),
                    what=f"port {number} of {pod.kind} {pod.ref}",
                    which=_holding(review),
                )


def _unseen(review: Review, known: Inventory) -> None:
    """Servers for the same port whose selectors hold each other, where the bundle shows no pods; machines beyond the cluster it never shows."""
    earlier: dict[tuple[str, str, str], Selections] = {}
    for server in review.standing("Server", group="policy.linkerd.io"):
        home, port = known.home(server), server.get("spec", "port")
        for key in ("podSelector", "externalWorkloadSelector"):
            if server.get("spec", key) is None or (key == "podSelector" and known.pods(home)):
                continue
            own = selector_of(server, "spec", key).demands()
            beside = earlier.setdefault((key, home, repr(port)), Selections())
            other = beside.first(own)
            if other is not None:
                what = f"port {port} of the same " + ("pods" if key == "podSelector" else "external workloads")
                review.say("MP077", server, ("spec", "port"), others=str(other), what=what, which=_holding(review))
            beside.add(server, own)


def _holding(review: Review) -> str:
    return "the oldest holds" if in_range(review.options.source_version, "2.18", None) else "which of them holds is not defined"


def _past(review: Review, known: Inventory, server: Manifest, numbers: list[tuple[Workload, int]]) -> None:
    """Pods without a proxy, and ports that go past it, know nothing of a Server."""
    out = [pod for pod, _ in numbers if known.world.meshed(pod) is False]
    if numbers and len(out) == len(numbers):
        sure = all(pod.host_network or pod.meshed is not None for pod in out)
        why = f"{names([f'{pod.kind} {pod.ref}' for pod in out])} get no proxy"
        remedy = "Inject the pods, or guard them with a NetworkPolicy."
        review.say("MP080", server, ("spec", "podSelector"), severity=None if sure else "info", why=why, remedy=remedy)
        return
    skipped = [pod for pod, number in numbers if pod.bypasses(number)]
    if skipped:
        why = f"port {numbers[0][1]} of {names([f'{pod.kind} {pod.ref}' for pod in skipped])} goes past the proxy (config.linkerd.io/skip-inbound-ports)"
        remedy = "Take the port out of the annotation; config.linkerd.io/opaque-ports keeps TLS and policies."
        review.say("MP080", server, ("spec", "port"), why=why, remedy=remedy)


def number_of(pod: Workload, port: Any) -> int | None:
    """The number of a port that a Server names; None where the pod has none of the name."""
    if isinstance(port, int):
        return port
    if isinstance(port, str) and is_number(port):
        return int(port)
    found = pod.port_named(str(port))
    return found.number if found is not None else None


def _limits(review: Review, known: Inventory) -> None:
    """One rate limit holds for a Server."""
    taken: dict[tuple[str, str], Manifest] = {}
    for limit in review.of("HTTPLocalRateLimitPolicy", group="policy.linkerd.io"):
        name, home = limit.get("spec", "targetRef", "name"), known.home(limit)
        if not isinstance(name, str):
            continue
        if not known.has("Server", home, name):
            _missing(review, known, limit, ("spec", "targetRef", "name"), "Server", name)
        server = known.named.get(("Server", home, name))
        if server is not None and server.get("spec", "proxyProtocol") in ("opaque", "TLS"):
            why = f"Server {home}/{name} is {server.get('spec', 'proxyProtocol')}, and has no requests to count"
            review.say(
                "MP080", limit, ("spec", "targetRef", "name"), why=why, remedy="Write HTTP/1, HTTP/2 or unknown if the port carries HTTP."
            )
        other = taken.setdefault((home, name), limit)
        if str(other) != str(limit):
            review.say(
                "MP077", limit, ("spec", "targetRef", "name"), others=str(other), what=f"Server {home}/{name}", which="the oldest holds"
            )


# -- policies


def _policy(review: Review, known: Inventory, policy: Manifest) -> None:
    kind, name = policy.get("spec", "targetRef", "kind"), policy.get("spec", "targetRef", "name")
    if policy.get("spec", "requiredAuthenticationRefs") == []:
        what = "requiredAuthenticationRefs is empty, and so admits everybody, plaintext included"
        review.say(
            "MP098",
            policy,
            ("spec", "requiredAuthenticationRefs"),
            what=what,
            remedy="Name who is admitted, or leave it if everybody is meant.",
        )
    if kind in ("HTTPRoute", "GRPCRoute") and isinstance(name, str):
        _widened(review, known, policy, str(kind), name)


def _widened(review: Review, known: Inventory, policy: Manifest, kind: str, name: str) -> None:
    """A grant for the whole Server, or the namespace, opens each of its routes too."""
    home = known.home(policy)
    route = known.named.get((kind, home, name))
    servers = (
        [
            str(parent.get("name"))
            for _, parent in route.each("spec", "parentRefs")
            if isinstance(parent, dict) and parent.get("kind") == "Server"
        ]
        if route
        else []
    )
    grants = grants_of(known)
    admitted = _admitted(policy)
    beside = {other.number: other for server in servers for other in grants.on(server, home)}
    over = [
        str(other)
        for _, other in sorted(beside.items())
        if _admitted(other) in ([], admitted) or (_every_name(known, other) and not _every_name(known, policy))
    ]
    if servers and over:
        review.say(
            "MP094",
            policy,
            ("spec", "targetRef", "name"),
            wide=names(over),
            what=f"every route of Server {names(servers)}, this one among them",
        )


def _every_name(known: Inventory, grant: Manifest) -> bool:
    """Whether a policy admits whoever shows an identity, from anywhere; one that names others beside a network does not."""
    refs = [item for _, item in grant.each("spec", "requiredAuthenticationRefs") if isinstance(item, dict)]
    if len(refs) != 1 or refs[0].get("kind") != "MeshTLSAuthentication":
        return False
    found = known.named.get(("MeshTLSAuthentication", str(refs[0].get("namespace") or known.home(grant)), str(refs[0].get("name"))))
    return found is not None and "*" in (found.get("spec", "identities") or ())


def _admitted(grant: Manifest) -> list[str]:
    """What a grant demands of callers, as text; [] demands nothing."""
    if grant.kind == "ServerAuthorization":
        everybody = grant.get("spec", "client", "unauthenticated") is True and not grant.get("spec", "client", "networks")
        return [] if everybody else [str(grant.get("spec", "client"))]
    refs = [item for _, item in grant.each("spec", "requiredAuthenticationRefs")]
    return sorted(
        f"{item.get('kind')} {item.get('namespace') or grant.namespace}/{item.get('name')}" for item in refs if isinstance(item, dict)
    )


# -- profiles and routes


def _profile(review: Review, known: Inventory, profile: Manifest) -> None:
    place = known.service_of(profile.document.name)
    service = known.service(*place) if place is not None else None
    if place is not None and service is None and known.shows("Service", place[0]):
        why = OTHERS
        review.say("MP073", profile, ("metadata", "name"), what=f"the Service {place[0]}/{place[1]}", why=why)
    if service is not None and (service.headless or service.external_name):
        why = "is of type ExternalName" if service.external_name else "is headless"
        review.say("MP091", profile, ("metadata", "name"), service=str(service.ref), why=why)
    if service is not None:
        manifest = review.manifests[service.document]
        shadowed = [key for key in manifest.mapping("metadata", "annotations") if str(key).startswith(_OF_ROUTES)]
        if shadowed:
            effect = f"the profile silences {names([str(key) for key in shadowed])}"
            places = [("metadata", "annotations", key) for key in shadowed]
            review.say("MP054", manifest, *places, what=f"the ServiceProfile {profile.document.name}", host=service.ref.name, effect=effect)
    caught = ""
    for path, item in profile.each("spec", "routes"):
        condition = item.get("condition") if isinstance(item, dict) else None
        if caught:
            review.say("MP078", profile, path, rule=str(path[-1]), after=caught)
        elif isinstance(condition, dict) and set(condition) == {"pathRegex"} and str(condition["pathRegex"]) in _EVERYTHING:
            caught = f"the route {item.get('name')}, which takes every path"


def _breaker(review: Review, service: Manifest) -> None:
    """A breaker whose smallest penalty is above its largest is no breaker."""
    notes = service.mapping("metadata", "annotations")
    if _BREAKER not in notes:
        return
    try:
        low = parse_linkerd(str(notes.get(f"{_BREAKER}-consecutive-min-penalty", "1s")))
        high = parse_linkerd(str(notes.get(f"{_BREAKER}-consecutive-max-penalty", "60s")))
    except ValueProblem:
        return
    if low > high:
        key = next(one for one in (f"{_BREAKER}-consecutive-min-penalty", f"{_BREAKER}-consecutive-max-penalty") if one in notes)
        what = f"the smallest penalty {low} is above the largest {high}, and Linkerd then runs without a breaker"
        review.say(
            "MP098", service, ("metadata", "annotations", key), what=what, remedy=f"Set {_BREAKER}-consecutive-max-penalty above it."
        )
