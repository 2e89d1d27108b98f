"""What a comparison does not look at: leaves of mesh documents that decide something and that no compared part of the IR holds. Where two bundles differ in
them, nobody can say that they do the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from math import gcd
from typing import Any

from meshport.compare.alternatives import alternatives
from meshport.dialects.gateway_api.durations import milliseconds
from meshport.documents import Bundle, Document
from meshport.ir.base import Fact, Src
from meshport.ir.model import IR
from meshport.mapping.bound import Bound
from meshport.values.ports import is_number

COMPARED = (
    "policies",
    "transport",
    "admissions",
    "routes",
    "service_policies",
    "egress_defaults",
    "gateways",
    "shared",
    "rate_limits",
    "world",
    "idle",
    "redundant",
)
"""The parts of the IR that `verify` compares. What lies outside the cluster is one only where leaving is refused, and so is not counted."""
_SEEN_BY_NOBODY = {"access-log", "observability", "tracing"}  # patterns whose features change no request
_NAMES = ("identity.name", "identity.namespace", "proxy.", "installation.", "membership.revision", "policy.attachment")
_APART = ("retry.budget.", "l4.authentication")
"""In the IR, and no part of what is compared: a budget but where a ServiceProfile's routes use it, and a handshake that every pod is supposed to be able to make."""
_OWN = {"EnvoyFilter", "WasmPlugin", "TrafficExtension", "RequestAuthentication", "CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig"}
_NAMED_BY_POLICIES = {"MeshTLSAuthentication", "NetworkAuthentication"}  # of no effect where no policy names them
_SAID_ANYWAY = {("AuthorizationPolicy", "spec.action", "ALLOW"), ("PeerAuthentication", "spec", "{}")}  # what holds where nothing is said
_CILIUM = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")
_HOME = "io.kubernetes.pod.namespace"
_SELECTORS = (
    "endpointSelector",
    "nodeSelector",
    "selector",
    "workloadSelector",
    "podSelector",
    "targetRef",
    "targetRefs",
    "hosts",
    "host",
    "gateways",
)
_INDEX = re.compile(r"\[\d+\]")
_ENTRY = re.compile(r"^(?P<spec>spec|specs\[\d+\])\.(?P<entry>[A-Za-z]+(?:\[\d+\])?)")
_DEFAULT_DENY = re.compile(r"(?P<spec>spec|specs\[\d+\])\.enableDefaultDeny\.(?P<section>ingress|egress)")
_HEADER_MATCH = re.compile(r"specs?(?:\[\d+\])?\.ingress\[\d+\]\.toPorts\[\d+\]\.rules\.http\[\d+\]\.headerMatches\[\d+\]")
_STEP = re.compile(r"[A-Za-z]+|\[\d+\]")
_ORDERED = {"VirtualService": ("tls", "tcp")}  # lists of which the first entry that takes a connection counts
Key = tuple[str, str]
"""A kind, and what an entry of a spec says as a whole: with what it is for, in its namespace, without names and without the order that decides nothing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where an entry stands: the object, and its leaves that nothing compares."""

    where: str
    leaves: frozenset[tuple[str, str]]  # path without positions, value


def unread(ir: IR, bound: Bound, *, own: bool = False) -> dict[Key, Entry]:
    """The entries with leaves that no compared part holds.

    With `own` only what one mesh alone has, in objects of which nothing is compared: extensions, tokens. The rest has its own form in each mesh.
    """
    held = read_by(ir)
    refused = {loss.document for loss in ir.losses if loss.code == "MP015"} | bound.broken  # no cluster takes them: they decide nothing
    found: dict[Key, Entry] = {}
    bundle = bound.bundle
    named = _named(bundle, held)
    homes = {document.namespace for document in bundle.documents if document.kind == "Server"}
    for number, document in enumerate(bundle.documents):
        if not bound.mesh[number] or number in refused or _silent(document, named, homes):
            continue
        if document.kind in ("HTTPRoute", "GRPCRoute") and _on_servers(document.value):
            continue  # what it grants is a policy; what it only refuses is refused without it
        if own and (document.kind not in _OWN or not held.isdisjoint(bundle.leaves_of(document))):
            continue
        left: dict[str, list[tuple[str, str]]] = {}
        for leaf in bundle.leaves_of(document):
            feature = bound.feature(leaf)
            if (
                not feature
                or leaf in bound.invalid
                or feature.startswith(_NAMES)
                or (leaf in held and (document.kind == "ServiceProfile" or not feature.startswith(_APART)))
            ):
                continue
            binding = bound.bindings[leaf]
            if binding is not None and binding.reason_for(bundle.value(leaf)):
                continue
            known = bound.table.feature(feature)
            if known is not None and known.pattern in _SEEN_BY_NOBODY:
                continue
            path = bundle.path(leaf)
            if path.startswith("metadata.") or (path == "spec.gateways[0]" and document.value["spec"]["gateways"] == ["mesh"]):
                continue
            if (document.kind, path, str(bundle.value(leaf))) in _SAID_ANYWAY or (document.kind in _CILIUM and _idle(document, path)):
                continue
            entry = _ENTRY.match(path)
            whole = entry is not None and entry["entry"].partition("[")[0] in _ORDERED.get(document.kind, ())
            place = "" if entry is None else entry[0].rpartition("[")[0] if whole else entry[0]
            left.setdefault(place, []).append((path, _text(bundle.value(leaf))))
        kind = _CILIUM[0] if document.kind in _CILIUM else document.kind
        where = f"{document.kind} {document.namespace or ''}/{document.name}"
        for place, leaves in left.items():
            shown = frozenset((_INDEX.sub("[]", path), value) for path, value in leaves)
            for unit in _units(document, place, leaves):
                found[kind, unit] = Entry(where, shown)
    return found


def _idle(document: Document, path: str) -> bool:
    """Whether a leaf of a policy of Cilium says what holds where nothing is said, or belongs to a demand on a header that is only logged."""
    if path.endswith(".authentication.mode"):
        return bool(_at(document.value, path) == "disabled")
    found = _DEFAULT_DENY.fullmatch(path)
    if found is not None:
        spec = _at(document.value, found["spec"])
        section = found["section"]
        return bool(_at(document.value, path)) == bool(spec.get(section) or spec.get(f"{section}Deny"))
    found = _HEADER_MATCH.match(path)
    return found is not None and _at(document.value, found[0]).get("mismatch") == "LOG"


def _at(value: Any, path: str) -> Any:
    """What stands at a path of a document."""
    for step in _STEP.findall(path):
        value = value[int(step[1:-1]) if step.startswith("[") else step]
    return value


def _text(value: Any) -> str:
    """A value as it is compared: durations in one unit."""
    if isinstance(value, str) and is_number(value[:1]) and value[-1:].isalpha():
        try:
            return f"{milliseconds(value)}ms"
        except ValueError:
            return value
    return value if isinstance(value, str) else json.dumps(value, default=str)


_BACKEND = {"group", "kind", "name", "namespace", "port", "weight"}
_TARGETS = ("Namespace", "Server", "HTTPRoute", "GRPCRoute")


def _named(bundle: Bundle, held: Src) -> set[tuple[str, str, str]]:
    """The authentications that some policy of Linkerd names. One of which nothing is compared, though its target is of a kind that is, guards nothing."""
    found = set()
    for document in bundle.documents:
        spec = document.value.get("spec") if document.kind == "AuthorizationPolicy" and isinstance(document.value, Mapping) else None
        refs = spec.get("requiredAuthenticationRefs") if isinstance(spec, Mapping) else None
        target = spec.get("targetRef") if isinstance(spec, Mapping) else None
        plain = isinstance(target, Mapping) and target.get("kind") in _TARGETS
        if plain and held.isdisjoint(bundle.leaves_of(document)):
            continue
        for ref in refs if isinstance(refs, list) else ():
            if isinstance(ref, Mapping):
                found.add((str(ref.get("kind")), str(ref.get("namespace") or document.namespace or ""), str(ref.get("name"))))
    return found


def _silent(document: Document, named: set[tuple[str, str, str]], homes: set[str | None]) -> bool:
    """Whether an object decides no request: authentications that no policy names, policies that only log what they would do, or that are for a namespace
    without a Server (`homes` have some)."""
    if document.kind in _NAMED_BY_POLICIES:
        return (document.kind, document.namespace or "", document.name) not in named
    if document.kind != "AuthorizationPolicy" or not isinstance(document.value, Mapping):
        return False
    spec, metadata = document.value.get("spec"), document.value.get("metadata")
    notes = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    dry = notes.get("istio.io/dry-run") if isinstance(notes, Mapping) else None
    target = spec.get("targetRef") if isinstance(spec, Mapping) and document.group == "policy.linkerd.io" else None
    if isinstance(target, Mapping) and target.get("kind") == "Namespace" and document.namespace not in homes:
        return True
    return (isinstance(spec, Mapping) and spec.get("action") == "AUDIT") or str(dry).lower() == "true"


def _units(document: Document, entry: str, leaves: list[tuple[str, str]]) -> list[str]:
    """What an entry of a spec says, with what it is for, as texts: one, or one for each alternative of a rule of Cilium."""
    value = document.value
    spec: Any = value.get("spec") if isinstance(value, Mapping) else None
    if entry.startswith("specs["):
        listed = value.get("specs")
        spec = listed[int(entry[6 : entry.index("]")])] if isinstance(listed, list) else None
    home = document.namespace or ""
    name, bracket, number = entry.partition(".")[2].partition("[")
    said: Any = spec.get(name) if isinstance(spec, Mapping) else None
    if bracket and isinstance(said, list):
        said = said[int(number.rstrip("]"))]
    if document.kind in _CILIUM and isinstance(spec, Mapping):
        chosen = {key: spec[key] for key in ("endpointSelector", "nodeSelector") if key in spec}
        rules = alternatives(said, [path[len(entry) + 1 :] for path, _ in leaves]) if isinstance(said, Mapping) and bracket else [said]
        return [f"{name} {_plain(chosen, home, '')} {_plain(rule, home, '') if rule else rule}" for rule in rules]
    chosen = {key: spec[key] for key in _SELECTORS if key in spec and spec[key] != ["mesh"]} if isinstance(spec, Mapping) else {}
    subject = f"{home} {_plain(chosen, '', home)}"
    if name in _ORDERED.get(document.kind, ()) and isinstance(said, list):
        return [f"{subject} {name} {[_plain(one, '', home) for one in said]}"]
    if name in _SELECTORS or document.kind.endswith("Route") or (document.kind, name) == ("AuthorizationPolicy", "rules"):
        return [f"{subject} {name} {_plain({name: said}, '', home)}"]
    return [f"{subject} {name} {sorted((path[len(entry) :], value) for path, value in leaves)}"]


def _plain(value: Any, home: str, namespace: str) -> str:
    """A part of a spec without the order of its lists; selectors as what they ask for, those of Cilium's namespaced policies with the namespace (`home`),
    short hosts as whole ones (`namespace`)."""
    if isinstance(value, Mapping):
        if not value or {"matchLabels", "matchExpressions"} & set(value):
            return _selector(value, home)
        return (
            "{"
            + ", ".join(
                f"{key}: {_host(inner, namespace) if key in ('host', 'hosts') else _plain(inner, home, namespace)}"
                for key, inner in sorted(value.items(), key=lambda item: str(item[0]))
            )
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(sorted({_plain(one, home, namespace) for one in _weighed(value)})) + "]"
    return _text(value)


def _weighed(values: list[Any]) -> list[Any]:
    """Shares of one another: weights without their common divisor, and none where there is one alone; backends without what goes without saying."""
    if all(isinstance(one, Mapping) and "name" in one and set(one) <= _BACKEND for one in values):
        values = [{"weight": 1, **{key: inner for key, inner in one.items() if inner not in ("", "Service")}} for one in values]
    weights = [one.get("weight") for one in values if isinstance(one, Mapping)]
    numbers = [one for one in weights if isinstance(one, int)]
    if len(numbers) != len(values) or not (divisor := gcd(*numbers)):
        return values
    if len(values) == 1:
        return [{key: inner for key, inner in values[0].items() if key != "weight"}]
    return [{**one, "weight": one["weight"] // divisor} for one in values]


def _selector(value: Mapping[str, Any], home: str) -> str:
    labels, expressions = value.get("matchLabels"), value.get("matchExpressions")
    asked = {(_label(str(key)), "In", str([str(one)])) for key, one in (labels.items() if isinstance(labels, Mapping) else ())}
    for item in expressions if isinstance(expressions, list) else ():
        if isinstance(item, Mapping):
            values = item.get("values")
            asked.add(
                (
                    _label(str(item.get("key"))),
                    str(item.get("operator")),
                    str(sorted(set(map(str, values))) if isinstance(values, list) else []),
                )
            )
    if home and not any(_HOME in key or "namespace.labels" in key or key.startswith("reserved:") for key, *_ in asked):
        asked.add((_HOME, "In", str([home])))
    return str(sorted(asked))


def _label(key: str) -> str:
    bare = key.removeprefix("k8s:").removeprefix("any:")
    return _HOME if bare == "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name" else bare  # a label that every Namespace has


def _host(value: Any, namespace: str) -> str:
    hosts = value if isinstance(value, list) else [value]
    return str(
        sorted(
            {f"{host}.{namespace}.svc.cluster.local" if namespace and "." not in str(host) and host != "*" else str(host) for host in hosts}
        )
    )


def _on_servers(value: Mapping[str, Any]) -> bool:
    """Whether a route hangs on Servers of Linkerd: there it authorises, and sends nowhere."""
    spec = value.get("spec")
    parents = spec.get("parentRefs") if isinstance(spec, Mapping) else None
    return isinstance(parents, list) and any(isinstance(item, Mapping) and item.get("kind") == "Server" for item in parents)


def differences(old: Mapping[Key, Entry], new: Mapping[Key, Entry]) -> list[str]:
    """What one side says and the other does not, a line for each object."""
    lines: dict[str, set[str]] = {}
    for one, other in ((old, new), (new, old)):
        alike = {leaf for key, entry in other.items() if key not in one for leaf in entry.leaves}
        for key, entry in one.items():
            if key not in other:
                apart = entry.leaves - alike or entry.leaves  # the leaves that differ, before what stands beside them
                lines.setdefault(entry.where, set()).update(path for path, _ in apart)
    return [
        f"{where}: {', '.join(sorted(own)[:3])}{' and more' if len(own) > 3 else ''} is not compared"
        for where, own in sorted(lines.items())
    ]


def read_by(ir: IR) -> Src:
    """The leaves that the compared parts of an IR came from."""
    found: set[int] = set()
    for name in COMPARED:
        part = getattr(ir, name, ())
        for src in _sources(part):
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
