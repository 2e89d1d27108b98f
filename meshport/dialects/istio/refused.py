"""Why Istio's webhook refuses an AuthorizationPolicy (istio/istio pkg/config/validation, pkg/config/security): no cluster has such an object."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from meshport.dialects.istio.ztunnel import negative
from meshport.effective.networks import normal_cidr
from meshport.values.ports import is_number

_ACTIONS = ("ALLOW", "DENY", "AUDIT", "CUSTOM")
_ADDRESSES = ("ipBlocks", "remoteIpBlocks")
_NAMES = ("principals", "namespaces")
_SOURCE = (*_NAMES, "serviceAccounts", "requestPrincipals", "trustDomains", *_ADDRESSES)
_OPERATION = ("hosts", "ports", "methods", "paths")
_ADDRESS_KEYS = ("source.ip", "remote.ip", "destination.ip")
_KEYS = (
    *_ADDRESS_KEYS, "source.namespace", "source.principal", "source.serviceAccount", "source.trustDomain", "request.auth.principal",
    "request.auth.audiences", "request.auth.presenter", "destination.port", "connection.sni",
)  # fmt: skip
_MAPS = ("request.headers", "request.auth.claims", "experimental.envoy.filters.")  # with what is asked for in brackets
_TEMPLATE = ("{*}", "{**}")
_NO_TEMPLATE = re.compile(r"/\{\w+=\*\*?\}|\{\w*\}|/\*\*?|\*\*?/")  # a named variable, empty braces, a bare star as a segment


def refused(spec: Any) -> str:
    """The first reason; the empty text where there is none."""
    return next(_reasons(spec), "") if isinstance(spec, dict) else ""


def _reasons(spec: dict[str, Any]) -> Iterator[str]:
    action = spec.get("action") or "ALLOW"
    if action not in _ACTIONS:
        yield f"{action!r} is no action"
    if action in ("DENY", "CUSTOM") and not spec.get("rules"):
        yield f"{action} without rules is never triggered"
    provider = spec.get("provider")
    if action == "CUSTOM" and not (isinstance(provider, dict) and provider.get("name")):
        yield "CUSTOM names no provider"
    if action != "CUSTOM" and isinstance(provider, dict):
        yield f"a provider stands beside the action {action}"
    for rule in _dicts(spec.get("rules")):
        for key, inner in (("from", "source"), ("to", "operation")):
            if rule.get(key) == []:
                yield f"a rule's `{key}` is an empty list"
            for entry in _dicts(rule.get(key)):
                said = entry.get(inner)
                # The API server drops a null, and an empty list says nothing.
                if not any(said.values() if isinstance(said, dict) else ()):
                    yield f"an entry of `{key}` has an empty {inner}"
        for entry in _dicts(rule.get("from")):
            yield from _of_source(entry.get("source"))
        for entry in _dicts(rule.get("to")):
            yield from _of_operation(entry.get("operation"))
        for entry in _dicts(rule.get("when")):
            yield from _of_condition(entry)


def _of_source(source: Any) -> Iterator[str]:
    if not isinstance(source, dict):
        return
    yield from _empty(source, _SOURCE)
    accounts = list(_both(source, "serviceAccounts"))
    if any("*" in text for text in accounts):
        yield "serviceAccounts take no wildcard"
    for text in accounts:
        if text.count("/") > 1 or text.startswith("/") or text.endswith("/"):
            yield f"{text!r} is neither the name of a service account nor namespace/name"
    if accounts and any(_both(source, *_NAMES)):
        yield "serviceAccounts cannot stand beside principals or namespaces in one source"
    yield from (f"{text!r} is neither an address nor a CIDR" for text in _both(source, *_ADDRESSES) if not _is_cidr(text))
    for text in _both(source, "trustDomains"):
        if "/" in text or "*" in text[1:-1]:
            yield f"{text!r} is no trust domain: it takes a star at one end and no slash"


def _of_operation(operation: Any) -> Iterator[str]:
    if not isinstance(operation, dict):
        return
    yield from _empty(operation, _OPERATION)
    yield from (f"{text!r} is no port" for text in _both(operation, "ports") if not _is_port(text))
    for text in _both(operation, "paths"):
        if any(part in text for part in _TEMPLATE) and _NO_TEMPLATE.search(text):
            yield f"{text!r} is no path template"


def _of_condition(entry: dict[str, Any]) -> Iterator[str]:
    key = entry.get("key")
    if not isinstance(key, str):
        return
    texts = [*_texts(entry.get("values")), *_texts(entry.get("notValues"))]
    if key in _KEYS:
        pass
    elif not (key.startswith(_MAPS) and re.search(r"^[^\[]+\[.+\]$", key)):
        yield f"no condition has the key {key!r}"
    if not entry.get("values") and not entry.get("notValues"):
        yield f"the condition on {key} has neither values nor notValues"
    if "" in texts:
        yield f"the condition on {key} has an empty value"
    if key in _ADDRESS_KEYS:
        yield from (f"{text!r} is neither an address nor a CIDR" for text in texts if not _is_cidr(text))
    if key == "destination.port":
        yield from (f"{text!r} is no port" for text in texts if not _is_port(text))


def _empty(holder: dict[str, Any], keys: tuple[str, ...]) -> Iterator[str]:
    yield from (f"{key} have an empty value" for name in keys for key in (name, negative(name)) if "" in _texts(holder.get(key)))


def _both(holder: dict[str, Any], *keys: str) -> Iterator[str]:
    """The texts of lists and of their negatives."""
    for name in keys:
        yield from _texts(holder.get(name))
        yield from _texts(holder.get(negative(name)))


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _is_port(text: str) -> bool:
    return is_number(text) and int(text) <= 65535


def _is_cidr(text: str) -> bool:
    try:
        normal_cidr(text)
    except ValueError:
        return False
    return True
