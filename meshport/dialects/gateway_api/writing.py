"""Writing rules of an HTTPRoute, leaf by leaf, each because of the facts it comes from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from math import gcd
from typing import TYPE_CHECKING, Any

from meshport.dialects.gateway_api.durations import of_a_field
from meshport.dialects.gateway_api.grpc import method_of
from meshport.dialects.gateway_api.patterns import anchored, full_regex
from meshport.ir.authorization import Pattern
from meshport.ir.base import Fact, Ref, Src, sources
from meshport.ir.routing import Backend, Filter, RouteMatch, ServiceRoutes, gather

if TYPE_CHECKING:
    from meshport.dialects.output import Obj, Output, Path

_PLAIN = re.compile(r"/(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*")
_ODD = re.compile(r"//|/\.\.?(?:/|$)|%2[fF]|#")
CODES = (301, 302)
"""What a redirect may answer in every release of the Gateway API."""


@dataclass(frozen=True, slots=True)
class Target:
    """A backend as a reference: a Service by name, with its share; `kind` (group, kind) where it is something else."""

    ref: Ref
    port: int | None
    weight: int | None
    backend: Backend
    because: Src
    kind: tuple[str, str] | None = None


def shares(weights: Sequence[Any]) -> list[int]:
    """Relative weights as the smallest whole numbers in the same ratio; all zero stays zero."""
    exact = [Fraction(weight) for weight in weights]
    scale = reduce(lambda a, b: a * b // gcd(a, b), (item.denominator for item in exact), 1)
    whole = [int(item * scale) for item in exact]
    common = reduce(gcd, whole, 0)
    return [item // common for item in whole] if common else whole


def weighed(routes: ServiceRoutes, backends: tuple[Backend, ...], out: Output) -> tuple[Backend, ...]:
    """The backends with the weights that decide: of a VirtualService, whose weights are never all zero, the only one above zero takes everything."""
    taking = [backend for backend in backends if backend.weight is not None and backend.weight.value]
    if routes.kind != "VirtualService" or len(taking) != 1:
        return backends
    out.ignore("the only destination with a weight above zero takes everything, whatever that weight", taking[0].weight)
    return tuple(replace(backend, weight=None) if backend is taking[0] else backend for backend in backends)


def single(routes: ServiceRoutes, weight: Fact[Any], out: Output) -> None:
    """Account for the weight of an only destination: of a route of the Gateway API it decides by being above zero, for with none the answer is 500."""
    if routes.kind in ("HTTPRoute", "GRPCRoute"):
        out.decide("a single destination takes every request, unless its weight is zero", weight)
    else:
        out.ignore("a single destination takes every request, whatever its weight", weight)


def hundred(weights: Sequence[Any]) -> list[int]:
    """Relative weights with the sum 100 where that is possible in whole numbers, else as the smallest whole numbers."""
    whole = shares(weights)
    total = sum(whole)
    if total and all(weight * 100 % total == 0 for weight in whole):
        return [weight * 100 // total for weight in whole]
    return whole


def warn(routes: ServiceRoutes, out: Output) -> None:
    """Values that the source mesh does not use as they stand."""
    for code, fact in routes.warnings:
        out.finding(
            code, fact, document=routes.document, disposition="approximated" if code == "MP410" else "invalid", value=fact.value,
            subject=routes.subject_name, object=f"{routes.kind} {routes.ref.value}",
        )  # fmt: skip


def write_rule(
    obj: Obj,
    index: int,
    matches: Sequence[RouteMatch],
    targets: Sequence[Target],
    filters: Sequence[Filter],
    timeout: Fact[int] | None,
    because: Src,
    *,
    linkerd: bool,
) -> None:
    """One rule. `because` is what says that the rule is there at all, for leaves that nothing else explains.

    Of a GRPCRoute, `method_of` has to know each match; what is left of a timeout is for an annotation.
    """
    base: Path = ("spec", "rules", index)
    obj_rules = obj.value.setdefault("spec", {}).setdefault("rules", [])
    if len(obj_rules) == index:
        obj_rules.append({})
    by_method = obj.kind == "GRPCRoute"
    written = [match for match in matches if not (match.everything or (by_method and method_of(match) == ("", "") and not match.headers))]
    if len(written) == len(matches):
        for number, match in enumerate(matches):
            (_grpc_match if by_method else _match)(obj, (*base, "matches", number), match, linkerd)
    open_to_all = gather(*matches) if len(written) < len(matches) else None
    _filters(obj, (*base, "filters"), filters)
    for number, target in enumerate(targets):
        place: Path = (*base, "backendRefs", number)
        if target.kind is not None:
            obj.set((*place, "group"), target.kind[0], target.backend.host, target.because, open_to_all)
            obj.set((*place, "kind"), target.kind[1], target.backend.host, target.because, open_to_all)
        obj.set((*place, "name"), target.ref.name, target.backend.host, target.because, open_to_all)
        if target.ref.namespace != obj.ref.namespace:
            obj.set((*place, "namespace"), target.ref.namespace, target.backend.host)
        if target.port is not None:
            obj.set((*place, "port"), target.port, target.backend.port or target.because)
        if target.weight is not None:
            obj.set((*place, "weight"), target.weight, *(other.backend.weight for other in targets))
        _filters(obj, (*place, "filters"), target.backend.filters)
    if timeout is not None and timeout.value:
        obj.set((*base, "timeouts", "request"), of_a_field(timeout.value), timeout)
    if not obj_rules[index] and not by_method:
        root = sources(because, gather(*matches))
        obj.set((*base, "matches", 0, "path"), {"type": "PathPrefix", "value": "/"}, root)


def _grpc_match(obj: Obj, place: Path, match: RouteMatch, linkerd: bool) -> None:
    service, method = method_of(match) or ("", "")
    if service:
        obj.set((*place, "method", "service"), service, match.path)
    if method:
        obj.set((*place, "method", "method"), method, match.path)
    _demands(obj, (*place, "headers"), match.headers, linkerd, None if service else match.path)


def _match(obj: Obj, place: Path, match: RouteMatch, linkerd: bool) -> None:
    if match.path is not None:
        pattern = match.path.value
        kind, text = _path(pattern, linkerd)
        obj.set((*place, "path"), {"type": kind, "value": text}, match.path)
    if match.method is not None:
        obj.set((*place, "method"), match.method.value.text, match.method)
    _demands(obj, (*place, "headers"), match.headers, linkerd)
    _demands(obj, (*place, "queryParams"), match.query, linkerd)


def _demands(
    obj: Obj, place: Path, values: Sequence[tuple[str, Fact[Pattern]]], linkerd: bool, open_path: Fact[Pattern] | None = None
) -> None:
    """Headers or query parameters; `open_path` takes every path and is written as no demand of its own. No value may be empty there, an expression is none."""
    for number, (name, fact) in enumerate(values):
        entry: Path = (*place, number)
        obj.set((*entry, "name"), name, fact, open_path)
        text = _value(fact.value, linkerd)
        if fact.value.kind != "exact" or not text:
            obj.set((*entry, "type"), "RegularExpression", fact)
        obj.set((*entry, "value"), text or "^$", fact)


def _path(pattern: Pattern, linkerd: bool) -> tuple[str, str]:
    if pattern.kind == "exact" and plain_path(pattern.text):
        return "Exact", pattern.text
    if (pattern.kind == "segments" and plain_path(pattern.text)) or (pattern.kind == "prefix" and pattern.text in ("", "/")):
        return "PathPrefix", pattern.text or "/"
    return "RegularExpression", anchored(pattern) if linkerd else full_regex(pattern)


def plain_path(path: str) -> bool:
    """Whether the Gateway API admits the path as an exact one, or as a prefix."""
    return _PLAIN.fullmatch(path) is not None and not _ODD.search(path)


def _value(pattern: Pattern, linkerd: bool) -> str:
    if pattern.kind == "exact":
        return pattern.text
    return anchored(pattern) if linkerd else full_regex(pattern)


def _filters(obj: Obj, place: Path, filters: Sequence[Filter]) -> None:
    number = 0
    for item in filters:
        at: Path = (*place, number)
        if item.kind in ("request-headers", "response-headers") and item.parts:
            side = "Request" if item.kind == "request-headers" else "Response"
            obj.set((*at, "type"), f"{side}HeaderModifier", *(fact for _, fact in item.parts))
            _header_filter(obj, (*at, f"{side.lower()}HeaderModifier"), item)
            number += 1
        elif item.kind == "redirect":
            obj.set((*at, "type"), "RequestRedirect", *(fact for _, fact in item.parts))
            _redirect(obj, (*at, "requestRedirect"), item)
            number += 1
        elif item.kind == "rewrite" and item.parts:
            obj.set((*at, "type"), "URLRewrite", *(fact for _, fact in item.parts))
            _redirect(obj, (*at, "urlRewrite"), item)
            number += 1
        elif item.kind == "mirror":
            obj.set((*at, "type"), "RequestMirror", *(fact for _, fact in item.parts))
            _mirror(obj, (*at, "requestMirror"), item)
            number += 1
        elif item.kind == "cors" and item.parts:
            obj.set((*at, "type"), "CORS", *(fact for _, fact in item.parts))
            counted: dict[str, int] = {}
            for path, fact in item.parts:
                name, listed, _ = path.partition("[")
                place_of: Path = (*at, "cors", name)
                if listed:
                    place_of, counted[name] = (*place_of, counted.get(name, 0)), counted.get(name, 0) + 1
                obj.set(place_of, fact.value, fact)
            number += 1


def _header_filter(obj: Obj, place: Path, item: Filter) -> None:
    seen = {"set": 0, "add": 0, "remove": 0}
    for what, fact in sorted(item.parts, key=lambda part: part[0]):
        action, _, name = what.partition(":")
        at: Path = (*place, action, seen[action])
        seen[action] += 1
        if action == "remove":
            obj.set(at, name, fact)
        else:
            obj.set(at, {"name": name, "value": fact.value}, fact)


def _redirect(obj: Obj, place: Path, item: Filter) -> None:
    for what in ("scheme", "hostname", "path", "prefix", "port", "code"):
        fact = item.part(what)
        if fact is None:
            continue
        if what == "path":
            obj.set((*place, "path"), {"type": "ReplaceFullPath", "replaceFullPath": fact.value}, fact)
        elif what == "prefix":
            obj.set((*place, "path"), {"type": "ReplacePrefixMatch", "replacePrefixMatch": fact.value}, fact)
        elif what == "code":
            obj.set((*place, "statusCode"), fact.value, *(part for _, part in item.parts))
        else:
            obj.set((*place, what), fact.value, fact)


def _mirror(obj: Obj, place: Path, item: Filter) -> None:
    """A copy of requests: `host` is the Service as a reference."""
    host, port, share = item.part("host"), item.part("port"), item.part("percent")
    if host is None or port is None:
        return
    obj.set((*place, "backendRef", "name"), host.value.name, host)
    if host.value.namespace != obj.ref.namespace:
        obj.set((*place, "backendRef", "namespace"), host.value.namespace, host)
    obj.set((*place, "backendRef", "port"), port.value, port)
    if share is not None and float(share.value).is_integer():
        obj.set((*place, "percent"), int(share.value), share)
    elif share is not None:
        exact = Fraction(str(share.value)) / 100
        obj.set((*place, "fraction"), {"numerator": exact.numerator, "denominator": exact.denominator}, share)
