"""Objects of Istio that select workloads: none of them, the same ones twice, or by proxies that do not read them (Istio reference 1, 2, 3.5, 6)."""

from __future__ import annotations

from typing import Any

from meshport.ir.world import Service, Workload
from meshport.lints.inventory import Inventory, ambient, text_of
from meshport.lints.manifests import Manifest, Path, Review, labels_of, names
from meshport.values.ports import is_number

_SELECTORS: dict[str, Path] = {
    "AuthorizationPolicy": ("spec", "selector", "matchLabels"), "RequestAuthentication": ("spec", "selector", "matchLabels"),
    "PeerAuthentication": ("spec", "selector", "matchLabels"), "Telemetry": ("spec", "selector", "matchLabels"),
    "WasmPlugin": ("spec", "selector", "matchLabels"), "ProxyConfig": ("spec", "selector", "matchLabels"),
    "Sidecar": ("spec", "workloadSelector", "labels"), "EnvoyFilter": ("spec", "workloadSelector", "labels"),
}  # fmt: skip
_ALONE = ("Sidecar", "Telemetry", "PeerAuthentication")  # kinds of which one holds for a workload at each level
_GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
_TEXT_ONLY = {"tcp", "mongo", "mysql", "redis", "tls", "https"}
_REQUEST = ("methods", "notMethods", "paths", "notPaths", "hosts", "notHosts")


def review(review: Review, known: Inventory) -> None:
    """Selectors, targets, and the ports and callers of policies."""
    for manifest in review.of(*_SELECTORS, group="istio.io"):
        _selector(review, known, manifest)
    for kind in _ALONE:
        _twice(review, known, kind)
    for policy in review.of("AuthorizationPolicy", "RequestAuthentication", "Telemetry", "WasmPlugin", group="istio.io"):
        _targets(review, known, policy)
    for policy in review.of("AuthorizationPolicy", group="security.istio.io"):
        _ports(review, known, policy)
        _negated(review, policy)
        _patterns(review, policy)
    for policy in review.of("PeerAuthentication", group="security.istio.io"):
        _port_level(review, known, policy)
    for manifest in review.of("Namespace", "Service"):
        _waypoint_label(review, known, manifest)


def _space(known: Inventory, manifest: Manifest) -> str:
    """The namespace that an object selects in; "" for all, from the root namespace."""
    return "" if known.home(manifest) == known.root else known.home(manifest)


def _selector(review: Review, known: Inventory, manifest: Manifest) -> None:
    path = _SELECTORS[manifest.kind]
    labels = manifest.mapping(*path)
    home, space = known.home(manifest), _space(known, manifest)
    if manifest.kind == "Sidecar" and ambient(review, home):
        why = f"the pods of {home} are in the ambient mesh and have no sidecar"
        review.say("MP080", manifest, ("metadata", "name"), why=why, remedy="Delete it.")
        return
    if _GATEWAY_NAME in labels:
        if not manifest.get("spec", "targetRefs") and not manifest.get("spec", "targetRef"):
            name = str(labels[_GATEWAY_NAME])
            gateway = known.named.get(("Gateway", home, name))
            waypoint = gateway is not None and str(gateway.get("spec", "gatewayClassName")).startswith("istio-waypoint")
            why = (
                "a waypoint reads no policy that selects by labels"
                if waypoint
                else "a gateway of the Gateway API is meant to be named by targetRefs"
            )
            review.say(
                "MP080",
                manifest,
                path,
                severity=None if waypoint else "info",
                why=why,
                remedy=f"Write targetRefs with kind Gateway, name {name}.",
            )
        return
    if not labels:
        if not space or known.pods(home) or not known.world.workloads or manifest.kind not in ("AuthorizationPolicy", "PeerAuthentication"):
            return
        where = f"namespace {home}, of which the bundle has no workload"
        review.say("MP079", manifest, ("metadata", "namespace"), severity="info", what="it", selector="every pod", where=where)
        return
    if not known.world.workloads or known.selected(space, labels):
        return
    shown = ", ".join(f"{key}={value}" for key, value in labels.items())
    where = f"namespace {space}" if space else "the bundle"
    sure = bool(known.pods(home))
    if sure or space:
        review.say("MP079", manifest, path, severity=None if sure else "info", what="its selector", selector=shown, where=where)
    elif not set(labels) & {"istio", "app"} or "ingressgateway" not in shown:
        review.say("MP079", manifest, path, severity="info", what="its selector", selector=shown, where=where)


def _twice(review: Review, known: Inventory, kind: str) -> None:
    """Several objects of which a workload follows one."""
    whole: dict[str, list[Manifest]] = {}
    some: dict[int, list[Manifest]] = {}
    pods: dict[int, Workload] = {}
    for manifest in review.of(kind, group="istio.io"):
        labels = manifest.mapping(*_SELECTORS[kind])
        if ambient(review, known.home(manifest)) and kind == "Sidecar":
            continue
        if not labels:
            if not manifest.get("spec", "targetRefs") and not manifest.get("spec", "targetRef"):
                whole.setdefault(known.home(manifest), []).append(manifest)
        else:
            for workload in known.selected(known.home(manifest), labels):
                some.setdefault(id(workload), []).append(manifest)
                pods[id(workload)] = workload
    for space, listed in whole.items():
        for manifest in listed[1:]:
            others = [str(one) for one in listed if one is not manifest]
            review.say(
                "MP077", manifest, ("metadata", "name"), others=names(others), what=f"every pod of {space}", which="the oldest holds"
            )
    said: set[tuple[int, ...]] = set()
    for key, listed in some.items():
        mark = tuple(one.number for one in listed)
        if len(listed) > 1 and mark not in said:
            said.add(mark)
            manifest = listed[-1]
            others = [str(one) for one in listed if one is not manifest]
            what = f"{pods[key].kind} {pods[key].ref}"
            review.say("MP077", manifest, _SELECTORS[kind], others=names(others), what=what, which="the oldest holds")


# -- targets


def _targets(review: Review, known: Inventory, policy: Manifest) -> None:
    home = known.home(policy)
    places = [path for path, _ in policy.each("spec", "targetRefs")]
    if isinstance(policy.get("spec", "targetRef"), dict):
        places.append(("spec", "targetRef"))
    for path in places:
        kind, name = str(policy.get(*path, "kind")), policy.get(*path, "name")
        if not isinstance(name, str):
            continue
        if kind in ("Gateway", "Service", "ServiceEntry") and not known.has(kind, home, name):
            if known.shows(kind, home):
                why = "the bundle has others of that namespace"
                review.say("MP073", policy, (*path, "name"), what=f"{kind} {home}/{name}", why=why)
        elif kind == "Service":
            service = known.service(home, name)
            namespace = known.world.namespaces.get(home)
            if service is None or namespace is None:
                continue
            waypoint = service.labels.get("istio.io/use-waypoint") or namespace.labels.get("istio.io/use-waypoint")
            if waypoint in (None, "none"):
                why = f"Service {service.ref} uses no waypoint, and nothing else reads a policy with targetRefs to a Service"
                review.say(
                    "MP080", policy, (*path, "name"), why=why, remedy="Label the Service or its namespace with istio.io/use-waypoint."
                )


def _waypoint_label(review: Review, known: Inventory, manifest: Manifest) -> None:
    labels = labels_of(manifest)
    name = labels.get("istio.io/use-waypoint")
    space = labels.get("istio.io/use-waypoint-namespace") or (
        manifest.document.name if manifest.kind == "Namespace" else known.home(manifest)
    )
    if name and name != "none" and not known.has("Gateway", space, name):
        sure = known.shows("Gateway", space)
        why = "traffic goes past every policy that a waypoint would enforce" + ("" if sure else "; the bundle may not show it")
        path = ("metadata", "labels", "istio.io/use-waypoint")
        review.say("MP073", manifest, path, severity=None if sure else "info", what=f"the waypoint {space}/{name}", why=why)


# -- ports


def _chosen(known: Inventory, policy: Manifest) -> list[Workload]:
    return known.selected(_space(known, policy), policy.mapping("spec", "selector", "matchLabels"))


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
    pods = _chosen(known, policy)
    if not pods:
        return
    for path, rule in policy.each("spec", "rules"):
        asks = bool(isinstance(rule, dict) and any(source.get("requestPrincipals") for source in _sources(rule)))
        for place, item in policy.each(*path, "to"):
            operation = item.get("operation") if isinstance(item, dict) else None
            if not isinstance(operation, dict):
                continue
            listed = policy.each(*place, "operation", "ports")
            numbers = [int(text) for _, text in listed if isinstance(text, str) and is_number(text)]
            for at, text in listed:
                if isinstance(text, str) and is_number(text):
                    _service_number(review, known, policy, at, pods, int(text))
            plain = _without_requests(known, pods, numbers)
            if (asks or any(operation.get(key) for key in _REQUEST)) and plain:
                what = "an ALLOW never matches there, a DENY refuses the whole port"
                key = next((key for key in _REQUEST if operation.get(key)), "ports")
                review.say("MP088", policy, (*place, "operation", key), ports=text_of(plain), what=what)


def _sources(rule: dict[str, Any]) -> list[dict[str, Any]]:
    listed = rule.get("from")
    found = [item.get("source") for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    return [item for item in found if isinstance(item, dict)]


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
    pods = _chosen(known, policy)
    for key in policy.mapping("spec", "portLevelMtls"):
        if is_number(str(key)) and pods:
            _service_number(review, known, policy, ("spec", "portLevelMtls", key), pods, int(key))


# -- callers and patterns


def _negated(review: Review, policy: Manifest) -> None:
    """An allow for everybody but some is one for callers without identity, too."""
    if policy.get("spec", "action") not in (None, "ALLOW"):
        return
    for path, _ in policy.each("spec", "rules"):
        for place, item in policy.each(*path, "from"):
            source = item.get("source") if isinstance(item, dict) else None
            if not isinstance(source, dict):
                continue
            wanted = [key for key in ("notPrincipals", "notNamespaces", "notServiceAccounts") if source.get(key)]
            if wanted and not any(source.get(key) for key in ("principals", "namespaces", "serviceAccounts", "requestPrincipals")):
                review.say(
                    "MP089",
                    policy,
                    (*place, "source", wanted[0]),
                    severity=None if _plaintext(review, policy) else "info",
                    member=wanted[0],
                )


def _plaintext(review: Review, policy: Manifest) -> bool:
    """Whether a PeerAuthentication of the bundle lets plaintext in where the policy holds."""
    return any(
        other.namespace in (policy.namespace, review.options.root_namespace)
        and other.get("spec", "mtls", "mode") in ("PERMISSIVE", "DISABLE")
        for other in review.of("PeerAuthentication", group="security.istio.io")
    )


def _patterns(review: Review, policy: Manifest) -> None:
    """A `*` counts at one end of a text, and between slashes as `{*}`."""
    for path, _ in policy.each("spec", "rules"):
        for place, _ in policy.each(*path, "to"):
            for key in ("paths", "notPaths", "hosts", "notHosts"):
                for at, text in policy.each(*place, "operation", key):
                    if isinstance(text, str) and _inner_star(text):
                        remedy = "Write {*} for one segment." if key.lower().endswith("paths") else "Keep the * at one end."
                        review.say(
                            "MP098", policy, at, what=f"the * within {text!r} stands for itself: nothing else has it there", remedy=remedy
                        )
        for place, _ in policy.each(*path, "from"):
            for key in ("principals", "namespaces", "requestPrincipals", "notPrincipals", "notNamespaces", "notRequestPrincipals"):
                for at, text in policy.each(*place, "source", key):
                    if isinstance(text, str) and _inner_star(text):
                        review.say(
                            "MP098",
                            policy,
                            at,
                            what=f"the * within {text!r} stands for itself: nothing else has it there",
                            remedy="Keep the * at one end.",
                        )


def _inner_star(text: str) -> bool:
    if "{*}" in text or "{**}" in text:
        return False
    inner = text[1:] if text.startswith("*") else text[:-1] if text.endswith("*") else text
    return "*" in inner
