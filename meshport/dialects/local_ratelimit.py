"""Envoy's local rate limit filter, read and written, for the meshes that configure Envoy.

A bucket of `max_tokens` that gets `tokens_per_fill` (1) each `fill_interval`; a filter that is not enabled or not enforced by a percentage limits nothing.
https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/http/local_ratelimit/v3/local_rate_limit.proto
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api.durations import milliseconds
from meshport.ir.base import Fact, Src, sources
from meshport.ir.ratelimit import Bucket

FILTER = "envoy.filters.http.local_ratelimit"
MESSAGE = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
MANAGER = "envoy.filters.network.http_connection_manager"
ROUTER = "envoy.filters.http.router"
_PARTS = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}
_BESIDE = {
    "descriptors": "rate-limit.descriptor",
    "rate_limits": "rate-limit.descriptor",
    "response_headers_to_add": "rate-limit.response-headers",
    "enable_x_ratelimit_headers": "rate-limit.response-headers",
}
_KNOWN = {"@type", "stat_prefix", "token_bucket", "filter_enabled", "filter_enforced", *_BESIDE}


@dataclass(frozen=True, slots=True)
class Filter:
    """What one filter says. `share` is the part of the requests that it refuses when the bucket is empty; `other` are fields that are not read."""

    bucket: Bucket | None
    share: Fact[Fraction]
    extras: tuple[Fact[Any], ...]
    inert: Src  # names of counters and of runtime keys
    other: tuple[str, ...]
    src: Src


def read(place: Cursor) -> Filter | None:
    """The filter of a `typed_config`, written as its message or in a TypedStruct; None where it is another message."""
    kind = place.text("@type")
    if kind is None:
        return None
    src = kind.src
    if kind.value.endswith(".TypedStruct"):
        named = place.text("type_url")
        if named is None or named.value != MESSAGE:
            return None
        src |= named.src
        place = place.at("value")
    elif kind.value != MESSAGE:
        return None
    extras: list[Fact[Any]] = []
    for key, feature in _BESIDE.items():
        found = place.whole(key)
        if found is not None:
            extras.append(Fact(_shown(key, found.value), found.src, feature))
    enabled, enforced = _share(place.at("filter_enabled")), _share(place.at("filter_enforced"))
    inert = place.at("stat_prefix").src | place.at("filter_enabled", "runtime_key").src | place.at("filter_enforced", "runtime_key").src
    other = tuple(key for key, _ in place.items() if key not in _KNOWN)
    shares = [place.at(key, "default_value", "denominator").value for key in ("filter_enabled", "filter_enforced")]
    other += tuple(f"denominator {word}" for word in shares if isinstance(word, str) and word not in _PARTS)
    share = Fact(enabled.value * enforced.value, sources(enabled, enforced), "rate-limit.total")
    return Filter(_bucket(place.at("token_bucket")), share, tuple(extras), inert, other, src)


def _shown(key: str, value: Any) -> str:
    if key == "response_headers_to_add" and isinstance(value, list):
        headers = [item.get("header") for item in value if isinstance(item, dict)]
        return ", ".join(str(header.get("key")) for header in headers if isinstance(header, dict))
    if key == "descriptors" and isinstance(value, list):
        entries = [
            " and ".join(f"{one.get('key')}={one.get('value')}" for one in item["entries"] if isinstance(one, dict))
            for item in value
            if isinstance(item, dict) and isinstance(item.get("entries"), list)
        ]
        return "; ".join(entries)
    return f"{key} {value}" if not isinstance(value, dict | list) else key


def _share(place: Cursor) -> Fact[Fraction]:
    default = place.at("default_value")
    numerator = default.number_at("numerator")
    if numerator is None:
        return Fact(Fraction(0), default.src, "rate-limit.total")
    parts = default.text("denominator")
    whole = _PARTS.get(parts.value, 100) if parts is not None else 100
    return Fact(min(Fraction(numerator.value, whole), Fraction(1)), sources(numerator, parts), "rate-limit.total")


def _bucket(place: Cursor) -> Bucket | None:
    burst, interval = place.number_at("max_tokens"), place.get("fill_interval", milliseconds)
    if burst is None or interval is None or not interval.value:
        return None
    fill = place.number_at("tokens_per_fill")
    each = min(fill.value if fill is not None else 1, burst.value)
    rate = Fraction(each * 1000, interval.value)
    return Bucket(
        Fact(rate, sources(fill, interval, burst if fill is None or burst.value < fill.value else None), "rate-limit.total"),
        Fact(burst.value, burst.src, "rate-limit.burst"),
    )


def written(bucket: Bucket) -> dict[str, Any]:
    """The filter, enforced for every request."""
    rate = bucket.rate.value
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return {
        "@type": MESSAGE,
        "stat_prefix": "http_local_rate_limiter",
        "token_bucket": {
            "max_tokens": bucket.burst.value,
            "tokens_per_fill": rate.numerator,
            "fill_interval": f"{rate.denominator}s",
        },
        "filter_enabled": {"runtime_key": "local_rate_limit_enabled", **always},
        "filter_enforced": {"runtime_key": "local_rate_limit_enforced", **always},
    }
