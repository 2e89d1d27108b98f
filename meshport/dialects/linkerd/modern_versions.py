"""The newest version and group of each resource that a release of Linkerd reads.

Routes of `policy.linkerd.io` become those of the Gateway API as soon as Linkerd reads them there: on Services since 2.14, on Servers since 2.19, where an
AuthorizationPolicy may name them. A route with timeouts waits for 2.18, whose Gateway API has them in its standard channel.
https://linkerd.io/2-edge/features/gateway-api/
"""

from __future__ import annotations

from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api.durations import in_one_unit, milliseconds, one_unit
from meshport.dialects.gateway_api.writing import plain_path
from meshport.dialects.linkerd.routes import route_api
from meshport.dialects.output import LAST_APPLIED, Obj, Output, Path
from meshport.findings import Affected
from meshport.ir.base import Ref
from meshport.mapping.bound import Bound
from meshport.mapping.paths import leaves_below
from meshport.mapping.table import version_key

GROUP = "policy.linkerd.io"
GATEWAY = "gateway.networking.k8s.io"
_LEFT = ("Link", "ServerAuthorization")  # written by the multicluster controller; replaced as a whole where it can be
_MODIFIERS = {"RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect"}


def lower(bound: Bound, out: Output, options: Options) -> None:
    """What nothing else has taken away, at the newest version or in the group that the release reads."""
    for number, document in enumerate(out.bundle.documents):
        if not bound.mesh[number] or number in bound.broken or number in out.removed or number in bound.kinds:
            continue
        if (document.group, document.kind) == (GROUP, "HTTPRoute") and _moves(bound, number, options):
            _move(bound, out, options, number)
            continue
        wanted = _wanted(bound, number, options)
        if wanted is None:
            out.finding(
                "MP338", document=number, affects=(Affected(document.namespace),), api=document.api_version, version=options.target_version,
                object=f"{document.kind} {Ref(document.namespace or '', document.name)}",
            )  # fmt: skip
        elif wanted != document.api_version:
            src = Cursor.root(bound, number).at("apiVersion").src
            obj = out.change(number, group=document.name, rank=50)
            obj.set(("apiVersion",), wanted, src)
            if document.kind == "ExternalWorkload":
                _spelled(obj, document.leaves)


def _wanted(bound: Bound, number: int, options: Options) -> str | None:
    """The apiVersion that an object should have; its own where nothing newer says the same, None where the release does not read it."""
    document = bound.bundle.documents[number]
    kind = bound.table.kind(document.group, document.kind)
    if kind is None or kind.dialect == "smi":
        return document.api_version
    if kind.dialect == "gateway-api":
        return _gateway(document.kind, document.api_version, options)
    newest = kind.newest(options.target_version)
    if newest is None:
        return None
    if document.version in kind.versions and kind.versions.index(document.version) < kind.versions.index(newest):
        return None
    if document.kind in _LEFT and document.version in kind.versions and document.kind != "ServerAuthorization":
        return document.api_version
    return f"{document.group}/{newest}"


def _gateway(kind: str, standing: str, options: Options) -> str:
    """Linkerd reads v1 routes since 2.18; TLS and TCP routes it reads at v1alpha2 alone, and gateways it does not read."""
    if version_key(options.target_version) < (2, 18):
        return standing
    known = {("HTTPRoute", f"{GATEWAY}/v1beta1"): f"{GATEWAY}/v1", ("GRPCRoute", f"{GATEWAY}/v1alpha2"): f"{GATEWAY}/v1"}
    return known.get((kind, standing), standing)


# -- routes of policy.linkerd.io


def _moves(bound: Bound, number: int, options: Options) -> bool:
    """Whether a route of Linkerd's own group can stand in that of the Gateway API."""
    document = bound.bundle.documents[number]
    spec = document.value.get("spec")
    release = version_key(options.target_version)
    if (
        not isinstance(spec, dict)
        or release < (2, 14)
        or not bound.invalid.isdisjoint(range(document.first, document.first + document.count))
    ):
        return False
    parents = [item for item in spec.get("parentRefs") or () if isinstance(item, dict)]
    if not parents or (release < (2, 19) and any(item.get("kind") != "Service" for item in parents)):
        return False
    rules = [rule for rule in spec.get("rules") or () if isinstance(rule, dict)]
    if release < (2, 18) and any(rule.get("timeouts") for rule in rules):
        return False
    return all(_fits(rule) for rule in rules)


def _fits(rule: dict[str, Any]) -> bool:
    """Whether the Gateway API's schema takes a rule, which asks more of paths, filters and backends."""
    for match in rule.get("matches") or ():
        path = match.get("path") if isinstance(match, dict) else None
        if isinstance(path, dict) and path.get("type") != "RegularExpression" and not plain_path(str(path.get("value", "/"))):
            return False
    for item in rule.get("filters") or ():
        if not isinstance(item, dict) or item.get("type") not in _MODIFIERS:
            return False
    backends = rule.get("backendRefs") or ()
    if any(not isinstance(item, dict) or item.get("port") is None for item in backends):
        return False
    for value in (rule.get("timeouts") or {}).values():
        try:
            milliseconds(value)
        except ValueError:
            return False
    return True


def _move(bound: Bound, out: Output, options: Options, number: int) -> None:
    """The route in the Gateway API's group, and the policies that name it pointed there."""
    document = bound.bundle.documents[number]
    root = Cursor.root(bound, number)
    home = Ref(document.namespace or "", document.name)
    api = route_api(options.target_version) or f"{GATEWAY}/v1"
    called = out.free(api, "HTTPRoute", home.namespace, home.name)
    origin = root.at("apiVersion").src
    obj = out.object(api, "HTTPRoute", Ref(home.namespace, called), owner=number, group=f"route {called}", rank=45, because=root.ref())
    for what in ("labels", "annotations"):
        for key, item in root.items("metadata", what):
            if key != LAST_APPLIED:
                obj.set(("metadata", what, key), item.value, item.src)
    _copy(obj, root.at("spec"), ("spec",))
    for position, rule in enumerate(root.each("spec", "rules")):
        if rule.at("backendRefs") and any(item.at("type").value == "RequestRedirect" for item in rule.each("filters")):
            obj.drop(("spec", "rules", position, "backendRefs"), rule.at("backendRefs").src)  # which this group refuses beside it
    for position, parent in enumerate(root.each("spec", "parentRefs")):
        if not parent.at("group"):
            obj.set(("spec", "parentRefs", position, "group"), GROUP, origin, parent.src)
    for position, rule in enumerate(root.each("spec", "rules")):
        for key, place in rule.items("timeouts"):
            obj.set(("spec", "rules", position, "timeouts", key), one_unit(in_one_unit(milliseconds(place.value))), place.src)
    obj.note(f"from HTTPRoute {home} of {GROUP}")
    out.remove(number, f"HTTPRoute {called} of {GATEWAY} says the same")
    for other, policy in enumerate(bound.bundle.documents):
        if (policy.group, policy.kind) != (GROUP, "AuthorizationPolicy") or (policy.namespace or "") != home.namespace:
            continue
        target = policy.value.get("spec", {}).get("targetRef") if isinstance(policy.value.get("spec"), dict) else None
        if isinstance(target, dict) and (target.get("group"), target.get("kind"), target.get("name")) == (GROUP, "HTTPRoute", home.name):
            changed = out.change(other, group=policy.name, rank=55)
            changed.set(("spec", "targetRef", "group"), GATEWAY, Cursor.root(bound, other).at("spec", "targetRef", "group").src, origin)
            if called != home.name:
                changed.set(("spec", "targetRef", "name"), called, Cursor.root(bound, other).at("spec", "targetRef", "name").src)


def _copy(obj: Obj, place: Cursor, path: Path) -> None:
    """Everything below a place, leaf by leaf."""
    if place.keys():
        for key, item in place.items():
            _copy(obj, item, (*path, key))
    elif items := place.each():
        for position, item in enumerate(items):
            _copy(obj, item, (*path, position))
    else:
        obj.set(path, place.value, place.src)


def _spelled(obj: Obj, leaves: Any) -> None:
    """v1beta1 of ExternalWorkload writes meshTLS where v1alpha1 wrote meshTls."""
    spec = obj.value.get("spec")
    if isinstance(spec, dict) and "meshTls" in spec and "meshTLS" not in spec:
        src = frozenset(leaf for leaf, _ in leaves_below(leaves["spec"]["meshTls"], ()))
        value = spec["meshTls"]
        obj.drop(("spec", "meshTls"), src)
        obj.set(("spec", "meshTLS"), value, src)
