"""What a rule does with a request: the filters that it passes, and the Services that it is sent to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meshport.dialects import naming
from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api.patterns import quote
from meshport.ir.base import NOWHERE, Fact, Ref, Src
from meshport.ir.routing import Backend, Filter, gather
from meshport.values.ports import is_number

if TYPE_CHECKING:
    from meshport.dialects.base import Options


GATEWAY = "gateway.networking.k8s.io"
_BACKENDS = {
    "": ("Service",), "core": ("Service",), "networking.istio.io": ("Hostname",), "multicluster.x-k8s.io": ("ServiceImport",),
    "net.networking.k8s.io": ("ServiceImport",), "gateway.networking.x-k8s.io": ("XBackend",), "policy.linkerd.io": ("EgressNetwork",),
    "inference.networking.k8s.io": ("InferencePool",), "inference.networking.x-k8s.io": ("InferencePool",),
}  # fmt: skip
"""Kinds that routes send to, by group; a reference to any other is answered with 500 (ResolvedRefs is False, InvalidKind)."""


def _unadmitted(backend: Cursor, kind: str, namespace: str, family: str) -> Src | None:
    """Why nobody sends to a backend: it is of a kind that no mesh knows, or in another namespace whose grants do not speak of the route; None where
    somebody may, or nothing is known of grants there."""
    there, name = backend.text("namespace"), backend.text("name")
    if str(backend.at("kind").value if backend.at("kind") else "Service") not in _BACKENDS.get(
        str(backend.at("group").value if backend.at("group") else ""), ()
    ):
        return backend.at("kind").src | backend.at("group").src
    if family == "linkerd" or there is None or name is None or there.value == namespace:
        return None
    grants = [
        {} if number in backend.bound.broken else document.value.get("spec") or {}  # one that no cluster takes grants nothing
        for number, document in enumerate(backend.bound.bundle.documents)
        if document.kind == "ReferenceGrant" and document.namespace == there.value
    ]
    if not grants or any(may_refer(grant, kind, namespace, name.value) for grant in grants):
        return None
    return gather(there, name)


def nobody_there(backend: Backend, src: Src, place: Cursor) -> Backend:
    """The backend as a Service that is not there: its share of the requests is answered with an error."""
    if backend.service is None:
        return backend
    ref = backend.service.value
    known = {
        document.name for document in place.bound.bundle.documents if document.kind == "Service" and document.namespace == ref.namespace
    }
    gone = Ref(ref.namespace, naming.unique(naming.name(ref.name, "refused"), known.__contains__))
    host = backend.host.map(lambda text: text.replace(f"{ref.name}.", f"{gone.name}.", 1)).also(src)
    return replace(backend, service=backend.service.holding(gone).also(src), host=host, refused=True)


def may_refer(grant: Any, kind: str, namespace: str, name: str, of: str = "Service") -> bool:
    """Whether the spec of a ReferenceGrant lets objects of a kind and namespace refer to an object of the kind `of`, which has no API group."""
    listed = (grant.get(key) if isinstance(grant, dict) else None for key in ("from", "to"))
    senders, targets = ([one for one in items if isinstance(one, dict)] if isinstance(items, list) else [] for items in listed)
    return any((one.get("group"), one.get("kind"), one.get("namespace")) == (GATEWAY, kind, namespace) for one in senders) and any(
        not one.get("group") and one.get("kind") == of and one.get("name") in (None, "", name) for one in targets
    )


def _since(version: str, wanted: tuple[int, int]) -> bool:
    parts = tuple(int(part) for part in version.split(".")[:2] if is_number(part))
    return parts >= wanted


def admitted(place: Cursor, kind: str, namespace: str, options: Options, many: bool, family: str) -> Backend:
    found = backend_of(place, namespace, options, many, family)
    refused = _unadmitted(place, kind, namespace, family)
    return found if refused is None else nobody_there(found, refused, place)


def backend_of(place: Cursor, namespace: str, options: Options, many: bool, family: str) -> Backend:
    """A backend reference as the Service that it is; None for another kind."""
    name = place.text("name") or Fact("", place.src, "routing.destination")
    own = place.text("namespace")
    target = Ref(own.value if own else namespace, name.value)
    named = place.at("namespace").src or Cursor.root(place.bound, place.number).at("metadata", "namespace").src
    src = place.at("name").src | named | place.at("kind").src | place.at("group").src
    weight = place.number_at("weight")
    is_service = place.at("kind").value in ("Service", None) or not place.at("kind")
    host = f"{target.name}.{target.namespace}.svc.{options.cluster_domain}" if place.at("kind").value != "Hostname" else target.name
    return Backend(
        Fact(target, src, name.feature) if is_service else None,
        Fact(host, src, name.feature),
        place.number_at("port"),
        weight=weight or (Fact(1, NOWHERE, "routing.weight") if many else None),
        filters=tuple(filters_of(place, family, namespace, options)),
    )


_MODIFIERS = {"RequestHeaderModifier": "requestHeaderModifier", "ResponseHeaderModifier": "responseHeaderModifier"}


def changing_nothing(place: Cursor) -> list[Cursor]:
    """The filters of a rule and of its backends that name no header to change."""
    listed = [item for holder in (place, *place.each("backendRefs")) for item in holder.each("filters")]
    bodies = [(item, item.at(_MODIFIERS.get(str(item.at("type").value), ""))) for item in listed]
    return [item for item, body in bodies if body and not any(body.each(action) for action in ("set", "add", "remove"))]


def filters_of(place: Cursor, family: str, namespace: str, options: Options) -> list[Filter]:
    found = []
    for item in place.each("filters"):
        written = item.text("type")
        kind = written.value if written else ""
        src = written.src if written else NOWHERE
        parts: list[tuple[str, Fact[Any]]] = []
        if kind in _MODIFIERS:
            body = item.at(_MODIFIERS[kind])
            for action in ("set", "add"):
                for entry in body.each(action):
                    name, value = entry.text("name"), entry.text("value")
                    if name is not None and value is not None:
                        parts.append((f"{action}:{name.value.lower()}", value.also(name, src)))
            parts.extend((f"remove:{fact.value.lower()}", fact.also(src)) for fact in body.strings("remove"))
            found.append(Filter("request-headers" if kind == "RequestHeaderModifier" else "response-headers", tuple(parts)))
        elif kind == "RequestRedirect":
            body = item.at("requestRedirect")
            names = {"scheme": "scheme", "hostname": "hostname", "port": "port", "statusCode": "code", "path.replaceFullPath": "path"}
            for path, fact in body.leaves():
                if path == "path.replacePrefixMatch":
                    parts.append(("prefix", fact.also(src, body.at("path", "type").src)))
                elif path in names:
                    parts.append((names[path], fact.also(src, body.at("path", "type").src if path.startswith("path") else None)))
            if all(name != "code" for name, _ in parts):
                parts.append(("code", Fact(302, src, "routing.redirect-code")))
            found.append(Filter("redirect", tuple(parts)))
        elif kind == "URLRewrite" and family != "linkerd":
            found.append(Filter("rewrite", tuple(_rewrite(item.at("urlRewrite"), place, src))))
        elif kind == "RequestMirror" and family != "linkerd":
            found.append(Filter("mirror", tuple(_mirror(item.at("requestMirror"), src, namespace, options))))
        elif kind == "CORS" and family != "linkerd":
            found.append(Filter("cors", tuple(_cors(item.at("cors"), src))))
        elif kind == "ExternalAuth" and family != "linkerd":
            found.append(Filter("external-auth", tuple(item.leaves())))
        else:
            found.append(Filter("other", tuple(item.leaves())))
    return found


def _cors(body: Cursor, because: Src) -> list[tuple[str, Fact[Any]]]:
    """An answer to CORS requests by the paths of a VirtualService's corsPolicy; `maxAge` is in seconds."""
    parts = [(path, fact.also(because)) for path, fact in body.leaves()]
    return [(_origin(path, fact) if path.startswith("allowOrigins") else (path, fact)) for path, fact in parts]


def _origin(path: str, fact: Fact[Any]) -> tuple[str, Fact[Any]]:
    """An origin; a `*` in its host is for any number of labels, and alone it is every origin, for Envoy too."""
    scheme, there, host = str(fact.value).partition("://*")
    return (f"{path}.regex", fact.holding(f"{scheme}://.*{quote(host)}")) if there else (f"{path}.exact", fact)


def _rewrite(body: Cursor, rule: Cursor, because: Src) -> list[tuple[str, Fact[Any]]]:
    """A URLRewrite in the words of a VirtualService: `uri` is the whole path of an exact match, a prefix is replaced by an expression."""
    parts: list[tuple[str, Fact[Any]]] = []
    if (host := body.text("hostname")) is not None:
        parts.append(("authority", host.also(because)))
    kind = body.at("path", "type").src
    prefixes = [text for item in rule.each("matches") if item.at("path", "type").value != "Exact" and (text := item.text("path", "value"))]
    exact = bool(rule.each("matches")) and all(item.at("path", "type").value == "Exact" for item in rule.each("matches"))
    if (full := body.text("path", "replaceFullPath")) is not None:
        if not exact:
            parts += [("uriRegexRewrite.match", full.holding("^.*$").also(kind)), ("uriRegexRewrite.rewrite", full.also(because, kind))]
        else:
            parts.append(("uri", full.also(because, kind)))
    elif (new := body.text("path", "replacePrefixMatch")) is not None:
        old = prefixes[0] if prefixes else Fact("/", NOWHERE, "routing.match.path")
        match, rewrite = prefix_rewrite(old.value, new.value)
        parts += [
            ("uriRegexRewrite.match", new.holding(match).also(old, kind)),
            ("uriRegexRewrite.rewrite", new.holding(rewrite).also(because)),
        ]
    return parts


def prefix_rewrite(old: str, new: str) -> tuple[str, str]:
    """The expression and its replacement that put one prefix of path elements in the place of another."""
    stem, goal = quote(old.rstrip("/")), new.rstrip("/")
    return (f"^{stem}", goal) if goal else (f"^{stem}/?", "/")


def _mirror(body: Cursor, because: Src, namespace: str, options: Options) -> list[tuple[str, Fact[Any]]]:
    """A RequestMirror: `host`, `port` and `percent`."""
    target = body.at("backendRef")
    name, own = target.text("name"), target.text("namespace")
    if name is None:
        return list(body.leaves())
    src = because | target.at("namespace").src | target.at("kind").src | target.at("group").src
    host = f"{name.value}.{own.value if own else namespace}.svc.{options.cluster_domain}"
    parts: list[tuple[str, Fact[Any]]] = [("host", name.holding(host).also(src))]
    if (port := target.number_at("port")) is not None:
        parts.append(("port", port))
    if (percent := body.number_at("percent")) is not None:
        parts.append(("percent", percent.map(float)))
    elif (top := body.number_at("fraction", "numerator")) is not None:
        bottom = body.number_at("fraction", "denominator")
        parts.append(("percent", Fact(100 * top.value / (bottom.value if bottom else 100), gather(top, bottom), top.feature)))
    return parts
