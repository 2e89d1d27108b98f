"""Answers to CORS requests as Envoy's filter for them gives, both directions, in the words that Istio hands to it.

Cilium's Envoy has the filter since 1.20 (envoy_build_config/extensions_build_config.bzl in cilium/proxy). https://www.envoyproxy.io/docs/envoy/latest/
api-v3/extensions/filters/http/cors/v3/cors.proto; translateCORSPolicy of pilot/pkg/networking/core/route/route.go in istio/istio.
"""

from __future__ import annotations

import re
from typing import Any

from meshport.dialects.cilium.envoy import TYPE
from meshport.dialects.cilium.envoy_actions import Other, only
from meshport.dialects.cursor import Cursor
from meshport.dialects.output import Obj, Path
from meshport.ir.base import Fact, Src
from meshport.ir.routing import Filter

SINCE = (1, 20)
FILTER = "envoy.filters.http.cors"
_STEM = TYPE + "extensions.filters.http.cors.v3."
_LISTS = {"allowMethods": "allow_methods", "allowHeaders": "allow_headers", "exposeHeaders": "expose_headers"}
UNMATCHED = "unmatchedPreflights"
_UNMATCHED = {"FORWARD": True, "IGNORE": False}
_ORIGIN = re.compile(r"allowOrigins\[\d+\]\.(exact|prefix|regex)")
_ENABLED = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
_FEATURE = "routing.cors"


# -- lowering


def sayable(path: str, value: Any) -> bool:
    """Whether the filter has a field for a setting, and takes its value."""
    if path == "maxAge":
        return isinstance(value, int) and not isinstance(value, bool)
    if path == "allowCredentials":
        return isinstance(value, bool)
    if path == UNMATCHED:
        return value in _UNMATCHED
    listed = path.partition("[")[0] in _LISTS and path.endswith("]")
    return isinstance(value, str) and bool(_ORIGIN.fullmatch(path) or listed)


def write(obj: Obj, route: Path, item: Filter) -> None:
    """The policy at a route."""
    because = tuple(fact for _, fact in item.parts)
    place: Path = (*route, "typed_per_filter_config", FILTER)
    obj.set((*place, "@type"), _STEM + "CorsPolicy", *because)
    obj.set((*place, "filter_enabled"), _ENABLED, *because)
    origins = 0
    for path, fact in item.parts:
        if (origin := _ORIGIN.fullmatch(path)) is not None:
            matcher = {"safe_regex": {"regex": fact.value}} if origin[1] == "regex" else {origin[1]: fact.value}
            obj.set((*place, "allow_origin_string_match", origins), matcher, fact)
            origins += 1
        elif path == "maxAge":
            obj.set((*place, "max_age"), str(fact.value), fact)
        elif path == "allowCredentials":
            obj.set((*place, "allow_credentials"), fact.value, fact)
        elif path == UNMATCHED:
            obj.set((*place, "forward_not_matching_preflights"), _UNMATCHED[fact.value], fact)
    for name, key in _LISTS.items():
        if listed := [fact for path, fact in item.parts if path.startswith(name + "[")]:
            obj.set((*place, key), ",".join(str(fact.value) for fact in listed), *listed)


def switched_on(obj: Obj, filters: Path, item: Filter) -> None:
    """See to it that the listener has the filter, before the router."""
    listed = obj.at(filters)
    if listed[0]["name"] != FILTER:
        because = tuple(fact for _, fact in item.parts)
        obj.set(filters, [{"name": FILTER, "typed_config": {"@type": _STEM + "Cors"}}, *listed], *because)


# -- lift


def read(place: Cursor, listener: Src) -> list[Filter]:
    """The answer to CORS requests of a route, whose listener has the filter because of `listener`. Raises `Other` where it is another."""
    if not place.at("typed_per_filter_config"):
        return []
    only(place.at("typed_per_filter_config"), FILTER)
    policy = place.at("typed_per_filter_config").at(FILTER)
    only(policy, "@type", "filter_enabled", "allow_origin_string_match", "max_age", "allow_credentials", "forward_not_matching_preflights", *_LISTS.values())  # fmt: skip
    enabled = policy.at("filter_enabled")
    if policy.at("@type").value != _STEM + "CorsPolicy" or not listener or (enabled and enabled.value != _ENABLED):
        raise Other
    src = listener | policy.at("@type").src | enabled.src
    parts: list[tuple[str, Fact[Any]]] = []
    for number, item in enumerate(policy.each("allow_origin_string_match")):
        only(item, "exact", "prefix", "safe_regex")
        forms = {"exact": item.text("exact"), "prefix": item.text("prefix"), "regex": item.text("safe_regex", "regex")}
        found = [(form, text) for form, text in forms.items() if text is not None]
        if len(found) != 1:
            raise Other
        parts.append((f"allowOrigins[{number}].{found[0][0]}", Fact(found[0][1].value, item.src | src, _FEATURE)))
    for name, key in _LISTS.items():
        text = policy.text(key)
        words = [word.strip() for word in text.value.split(",") if word.strip()] if text is not None else []
        parts += [(f"{name}[{number}]", Fact(word, policy.at(key).src | src, _FEATURE)) for number, word in enumerate(words)]
    if (age := policy.text("max_age")) is not None:
        if not age.value.isdecimal():
            raise Other
        parts.append(("maxAge", Fact(int(age.value), age.src | src, _FEATURE)))
    if (credentials := policy.at("allow_credentials").fact(bool)) is not None:
        parts.append(("allowCredentials", Fact(credentials.value, credentials.src | src, _FEATURE)))
    if (forward := policy.at("forward_not_matching_preflights").fact(bool)) is not None:
        word = next(word for word, value in _UNMATCHED.items() if value is forward.value)
        parts.append((UNMATCHED, Fact(word, forward.src | src, "routing.cors-preflights")))
    return [Filter("cors", tuple(parts))] if parts else []
