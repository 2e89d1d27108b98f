"""What a comparison does not look at: leaves of mesh documents that decide something and that no compared part of the IR holds. Where two bundles differ in
them, nobody can say that they do the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from meshport.ir.base import Fact, Src
from meshport.ir.model import IR
from meshport.mapping.bound import Bound

COMPARED = (
    "policies",
    "transport",
    "admissions",
    "routes",
    "service_policies",
    "egress_defaults",
    "shared",
    "rate_limits",
    "world",
    "idle",
)
"""The parts of the IR that `verify` compares. What lies outside the cluster is one only where leaving is refused, and so is not counted; nor are
routes of connections."""
_SEEN_BY_NOBODY = {"access-log", "observability", "tracing"}  # patterns whose features change no request
_NAMES = ("identity.name", "identity.namespace", "proxy.", "installation.", "membership.revision", "policy.attachment")
_APART = ("retry.budget.",)  # in the IR, and no part of what is compared
_OWN = {"EnvoyFilter", "WasmPlugin", "TrafficExtension", "RequestAuthentication", "CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig"}
_INDEX = re.compile(r"\[\d+\]")
Key = tuple[str, str, str]


def unread(ir: IR, bound: Bound, *, own: bool = False) -> dict[Key, str]:
    """Leaves that no compared part holds, by (kind, path without positions, value); each with the object that it stands in.

    With `own` only what one mesh alone has, in objects of which nothing is compared: extensions, tokens. The rest has its own form in each mesh.
    """
    held = read_by(ir)
    refused = {loss.document for loss in ir.losses if loss.code == "MP015"} | bound.broken  # no cluster takes them: they decide nothing
    found: dict[Key, str] = {}
    bundle = bound.bundle
    for number, document in enumerate(bundle.documents):
        if not bound.mesh[number] or number in refused:
            continue
        if document.kind in ("HTTPRoute", "GRPCRoute") and _on_servers(document.value):
            continue  # what it grants is a policy; what it only refuses is refused without it
        if own and (document.kind not in _OWN or any(document.first <= leaf < document.first + document.count for leaf in held)):
            continue
        for leaf in range(document.first, document.first + document.count):
            feature = bound.feature(leaf)
            if not feature or leaf in bound.invalid or feature.startswith(_NAMES) or (leaf in held and not feature.startswith(_APART)):
                continue
            binding = bound.bindings[leaf]
            if binding is not None and binding.reason_for(bundle.value(leaf)):
                continue
            known = bound.table.feature(feature)
            if known is not None and known.pattern in _SEEN_BY_NOBODY:
                continue
            path = bundle.path(leaf)
            if path.startswith("metadata."):
                continue
            found[document.kind, _INDEX.sub("[]", path), str(bundle.value(leaf))] = (
                f"{document.kind} {document.namespace or ''}/{document.name}"
            )
    return found


def _on_servers(value: Mapping[str, Any]) -> bool:
    """Whether a route hangs on Servers of Linkerd: there it authorises, and sends nowhere."""
    spec = value.get("spec")
    parents = spec.get("parentRefs") if isinstance(spec, Mapping) else None
    return isinstance(parents, list) and any(isinstance(item, Mapping) and item.get("kind") == "Server" for item in parents)


def differences(old: Mapping[Key, str], new: Mapping[Key, str]) -> list[str]:
    """What one side says and the other does not, a line for each object."""
    lines: dict[str, list[str]] = {}
    for one, other in ((old, new), (new, old)):
        for key, where in one.items():
            if key not in other:
                lines.setdefault(where, []).append(key[1])
    return [
        f"{where}: {', '.join(sorted(set(paths))[:3])}{' and more' if len(set(paths)) > 3 else ''} is not compared"
        for where, paths in sorted(lines.items())
    ]


def read_by(ir: IR) -> Src:
    """The leaves that the compared parts of an IR came from."""
    found: set[int] = set()
    for name in COMPARED:
        part = getattr(ir, name, ())
        for src in _sources([one for one in part if one.protocol not in ("tls", "tcp")] if name == "routes" else part):
            found |= src
    for other in ir.beside:
        found |= read_by(other)
    return frozenset(found)


def _sources(thing: Any) -> Iterator[Src]:
    """Every set of leaves below something."""
    stack = [thing]
    while stack:
        item = stack.pop()
        if isinstance(item, Fact):
            yield item.src
        elif isinstance(item, frozenset):
            if item and isinstance(next(iter(item)), int):
                yield item
        elif isinstance(item, Mapping):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
        elif is_dataclass(item) and not isinstance(item, type):
            stack.extend(getattr(item, name) for name in _parts(type(item)))


@cache
def _parts(kind: type[Any]) -> tuple[str, ...]:
    """The names of a dataclass's fields that are no memory of its own."""
    return tuple(part.name for part in fields(kind) if not part.name.startswith("_"))
