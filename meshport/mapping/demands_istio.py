"""What istiod's webhook refuses of Istio's objects (pkg/config/validation in istio/istio) beside the limits in their CRDs; those of traffic stand in `demands_istio_traffic`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from meshport.mapping.shapes import Demand, Refusal, at, maps, one_of

_TARGETS = {("gateway.networking.k8s.io", "Gateway"), ("gateway.networking.k8s.io", "GatewayClass"), ("", "Service"), ("core", "Service"),
            ("networking.istio.io", "ServiceEntry")}  # fmt: skip


def _target(value: dict[str, Any]) -> Iterator[Refusal]:
    for steps in (("spec", "targetRef"), ("spec", "targetRefs", "[]")):
        for path, ref in maps(value, *steps):
            if isinstance(ref.get("kind"), str) and (str(ref.get("group") or ""), ref["kind"]) not in _TARGETS:
                yield (*path, "kind"), f"{ref['kind']} of group {ref.get('group') or 'core'!r} is no target of a policy"


def _ports_of_pods(value: dict[str, Any]) -> Iterator[Refusal]:
    for path, spec in maps(value, "spec"):
        labels = next(at(spec, "selector", "matchLabels"), None)
        if spec.get("portLevelMtls") is not None and (labels is None or not labels[1]):
            yield (*path, "portLevelMtls"), "portLevelMtls needs a selector with labels"


def _tokens(value: dict[str, Any]) -> Iterator[Refusal]:
    for path, rule in maps(value, "spec", "jwtRules", "[]"):
        if rule.get("issuer") is None and not any(rule.get(name) for name in ("jwksUri", "jwks_uri")):
            yield path, "a rule needs an issuer or a jwksUri"
        there = [name for name in ("jwksUri", "jwks_uri", "jwks") if rule.get(name) is not None]
        if len(there) > 1:
            yield (*path, there[1]), f"{' and '.join(there)} stand together; one of them may"
        for name in ("jwksUri", "jwks_uri"):
            if isinstance(rule.get(name), str) and rule[name].partition("://")[0] not in ("http", "https"):
                yield (*path, name), f"{rule[name]!r} is no URL of http or https"


def _envoy(value: dict[str, Any]) -> Iterator[Refusal]:
    for path, match in maps(value, "spec", "configPatches", "[]", "match"):
        if (match.get("waypoint") is not None) != (match.get("context") == "WAYPOINT"):
            yield path, "a match on a waypoint and context WAYPOINT go together"


def _metrics(value: dict[str, Any]) -> Iterator[Refusal]:
    for path, tag in maps(value, "spec", "metrics", "[]", "overrides", "[]", "tagOverrides", "*"):
        if tag.get("operation") == "UPSERT" and tag.get("value") in (None, ""):
            yield path, "UPSERT needs a value"
        if tag.get("operation") == "REMOVE" and tag.get("value") is not None:
            yield (*path, "value"), "REMOVE takes no value"


def _wasm(*steps: str) -> Demand:
    def check(value: dict[str, Any]) -> Iterator[Refusal]:
        for path, one in maps(value, *steps):
            url = one.get("url")
            if isinstance(url, str):
                scheme, there, rest = url.partition("://")
                schemed = not there or (scheme in ("http", "https", "file", "oci") and rest)
                if not schemed or re.search(r"[^!-~]|^:|%(?![0-9a-fA-F]{2})", url):
                    yield (*path, "url"), f"{url!r} is no URL of oci, http, https or file"
            for place, variable in maps(one, "vmConfig", "env", "[]"):
                if variable.get("valueFrom") == "HOST" and variable.get("value") is not None:
                    yield (*path, *place, "value"), "a value stands beside valueFrom HOST"

    return check


_ATTACHED = (one_of("selector", "targetRef", "targetRefs"), _target)
RULES: dict[tuple[str, str], tuple[Demand, ...]] = {
    ("security.istio.io", "AuthorizationPolicy"): _ATTACHED,
    ("security.istio.io", "RequestAuthentication"): (*_ATTACHED, _tokens),
    ("security.istio.io", "PeerAuthentication"): (_ports_of_pods,),
    ("telemetry.istio.io", "Telemetry"): (*_ATTACHED, _metrics),
    ("extensions.istio.io", "WasmPlugin"): (*_ATTACHED, _wasm("spec")),
    ("extensions.istio.io", "TrafficExtension"): (one_of("selector", "targetRefs"), _target, _wasm("spec", "wasm")),
    ("networking.istio.io", "EnvoyFilter"): (one_of("workloadSelector", "targetRefs"), _target, _envoy),
}
