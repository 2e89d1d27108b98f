"""Rules of Cilium that look at requests, and what another rule lets in at the same port without a look at them: grants add up, whoever writes them
(Cilium reference 2.2, 2.6 and 6.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshport.ir.base import Requirement
from meshport.lints.cilium_beside import POLICIES, beside, rules_of, specs_of
from meshport.lints.inventory import Inventory, within
from meshport.lints.linkerd_policies import selector_of
from meshport.lints.manifests import Manifest, Path, Review, names
from meshport.values.ports import is_number

_NAMESPACE = "io.kubernetes.pod.namespace"
_OF_NAMESPACES = "io.cilium.k8s.namespace.labels."
_NAME = "kubernetes.io/metadata.name"

Port = tuple[str, int, int]
"""Protocol, first and last port; a port by name is its name in the place of the protocol, and 0."""
Peers = tuple[str, list[list[Requirement]]]
"""`everybody`, `endpoints` with what each selector asks for, or the peers of another kind as text."""


def review(review: Review, known: Inventory) -> None:
    """Each rule for HTTP that another one leaves nothing of."""
    others = list(review.of("NetworkPolicy", group="networking.k8s.io"))
    specs = [(policy, spec) for policy in review.of(*POLICIES, group="cilium.io") for spec in specs_of(policy)]
    opened: dict[tuple[int, Path], list[tuple[Manifest, Path, Peers, list[Port]]]] = {}
    for policy, spec in (*specs, *((policy, ("spec",)) for policy in others)):
        if found := [(policy, *one) for one in _open(known, policy, spec)]:
            opened[policy.number, spec] = found
    for policy, spec in specs if opened else ():
        asking = [place for path, _ in rules_of(policy, spec, "ingress") for place in _entries(policy, path) if _http(policy, place)]
        if asking:
            wide = [(policy, spec), *beside(known, policy, spec)]
            open_rules = [found for other, place in wide for found in opened.get((other.number, place), ())]
            for place in asking:
                _past(review, known, policy, place, open_rules)


def _entries(policy: Manifest, rule: Path) -> list[Path]:
    return [place for place, item in policy.each(*rule, "toPorts") if isinstance(item, dict)]


def _http(policy: Manifest, place: Path) -> bool:
    return bool(policy.get(*place, "rules", "http"))


def _past(review: Review, known: Inventory, policy: Manifest, place: Path, wide: list[tuple[Manifest, Path, Peers, list[Port]]]) -> None:
    rule = place[:-2]
    peers, ports = _peers(policy, rule, known), _ports(policy, place)
    for other, at, theirs, opened in wide:
        covered = [port for port in ports if any(_holds(one, port) for one in opened)]
        if covered and (other is not policy or at != place) and _takes(theirs, peers):
            shown = names(sorted(str(port[1]) if port[1] else port[0] for port in covered))
            what = f"port {shown} without a look at requests, for the same peers or more"
            review.say("MP094", policy, (*rule, "toPorts"), wide=str(other) if other is not policy else "another rule of it", what=what)
            return


def _open(known: Inventory, policy: Manifest, spec: Path) -> Iterator[tuple[Path, Peers, list[Port]]]:
    """The rules of a policy that let peers in without a look at requests: where each stands, whom it lets in and where."""
    if policy.kind == "NetworkPolicy":
        types = policy.get(*spec, "policyTypes")
        for path, rule in rules_of(policy, spec, "ingress") if not isinstance(types, list) or "Ingress" in types else ():
            yield path, _of_kubernetes(policy, path, rule, known), _numbered(rule.get("ports"), "port")
        return
    for path, rule in rules_of(policy, spec, "ingress"):
        peers = _peers(policy, path, known)
        if rule.get("icmps") or (not rule.get("toPorts") and not any(value for key, value in rule.items() if key.startswith("from"))):
            continue  # `{}` selects nobody
        if not rule.get("toPorts"):
            yield path, peers, [("", 1, 65535)]
        for place in _entries(policy, path):
            if not policy.get(*place, "rules"):
                yield place, peers, _ports(policy, place)


def _ports(policy: Manifest, place: Path) -> list[Port]:
    return _numbered(policy.get(*place, "ports"), "port", "ANY")


def _numbered(listed: Any, key: str, unsaid: str = "TCP") -> list[Port]:
    found: list[Port] = [] if listed else [("", 1, 65535)]
    for item in listed if isinstance(listed, list) else ():
        text = str(item.get(key, "0")) if isinstance(item, dict) else ""
        protocol = str(item.get("protocol") or unsaid).upper() if isinstance(item, dict) else ""
        protocol = "" if protocol == "ANY" else protocol
        if is_number(text):
            low = int(text)
            end = item.get("endPort")
            found.append((protocol, low, end if isinstance(end, int) and end else low) if low else (protocol, 1, 65535))
        elif text:
            found.append((text, 0, 0))
    return found


def _holds(one: Port, other: Port) -> bool:
    """Whether one range of ports holds another."""
    return one == other or (one[0] in ("", other[0]) and 0 < one[1] <= other[1] and other[2] <= one[2])


# -- peers


def _peers(policy: Manifest, path: Path, known: Inventory) -> Peers:
    own = {key: value for key, value in policy.mapping(*path).items() if key.startswith("from")}
    entities = own.get("fromEntities")
    if not own or (isinstance(entities, list) and "all" in entities):
        return "everybody", []
    if set(own) == {"fromEndpoints"}:
        home = "" if policy.kind == POLICIES[1] else known.home(policy)
        return "endpoints", [_asked(policy, place, home) for place, _ in policy.each(*path, "fromEndpoints")]
    if set(own) == {"fromEntities"} and isinstance(entities, list) and "cluster" in entities:
        return "endpoints", [[]]
    return repr(sorted(own.items(), key=lambda item: item[0])), []


def _asked(policy: Manifest, place: Path, home: str) -> list[Requirement]:
    """What a selector of endpoints asks for, of its own namespace where it names none."""
    demands = [
        Requirement(item.key.removeprefix("k8s:").removeprefix("any:"), item.operator, item.values)
        for item in selector_of(policy, *place).demands()
    ]
    if home and not any(item.key == _NAMESPACE or item.key.startswith(_OF_NAMESPACES) for item in demands):
        demands.append(Requirement(_NAMESPACE, "In", (home,)))
    return [item for item in demands if (item.key, item.operator) != (_NAMESPACE, "Exists")]


def _of_kubernetes(policy: Manifest, path: Path, rule: dict[str, Any], known: Inventory) -> Peers:
    if not rule.get("from"):
        return "everybody", []
    found = []
    for place, item in policy.each(*path, "from"):
        if not isinstance(item, dict) or item.get("ipBlock"):
            continue
        demands = selector_of(policy, *place, "podSelector").demands()
        if item.get("namespaceSelector") is None:
            demands.append(Requirement(_NAMESPACE, "In", (known.home(policy),)))
        for one in selector_of(policy, *place, "namespaceSelector").demands():
            key = _NAMESPACE if one.key == _NAME else _OF_NAMESPACES + one.key
            demands.append(Requirement(key, one.operator, one.values))
        found.append(demands)
    return "endpoints", found


def _takes(wide: Peers, narrow: Peers) -> bool:
    """Whether all of some peers are among others."""
    if wide[0] == "everybody" or (wide[0] == narrow[0] != "endpoints"):
        return True
    return wide[0] == narrow[0] and bool(narrow[1]) and all(any(within(one, other) for other in wide[1]) for one in narrow[1])
