"""Pieces of requests in AuthorizationPolicy's words: `source`, `operation`, `when`. Istio says "not" of everything but has no regular expressions."""

from __future__ import annotations

from typing import Any

from meshport.effective.identities import Identities, Overlap, label
from meshport.effective.pieces import Piece, Unsayable
from meshport.effective.sets import Value
from meshport.ir.authorization import Network
from meshport.values.identities import EVERYONE, Identity, IdentityGlob
from meshport.values.language import BARE_PATHS, VALUES, Language, LanguageTooLarge, union
from meshport.values.paths import NORMALISED


class Unsaid(ValueError):
    """Something that no AuthorizationPolicy can demand; its text says what."""


_FORMS = {"exact": "{}", "prefix": "{}*", "suffix": "*{}", "any": "*", "template": "{}"}


def strings(language: Language, what: str, *, path: bool = False) -> list[str]:
    """A language as Istio's string forms. Raises Unsaid."""
    try:
        forms = language.as_patterns(BARE_PATHS if path else VALUES)
        if forms is None and path:  # Istio looks at paths once they are normalised, so that what others are is all the same
            forms = language.as_patterns(NORMALISED)
    except LanguageTooLarge:
        forms = None
    out: list[str] = []
    for kind, text in forms or ():
        if path and kind != "template" and ("{*}" in text or "{**}" in text):
            raise Unsaid(f"{what}: {text!r} would read as a template")
        if kind == "segments" and "*" not in text:
            stem = text.rstrip("/")
            out += [stem, f"{stem}/*"] if stem else ["/*"]
            continue
        if (
            kind not in _FORMS
            or (kind == "template" and not path)
            or (kind != "template" and "*" in text)
            or (kind == "exact" and not text)
        ):
            raise Unsaid(f"{what}: {text!r} is no exact text, prefix, suffix or template")
        out.append(_FORMS[kind].format(text))
    if not out:
        raise Unsaid(f"{what}: no list of exact texts, prefixes, suffixes and templates says it")
    return sorted(dict.fromkeys(out))


def difference(language: Language, what: str, *, path: bool = False) -> tuple[list[str] | None, list[str] | None]:
    """A language as (values, notValues): itself, or as everything but its complement. Raises Unsaid."""
    try:
        return strings(language, what, path=path), None
    except Unsaid:
        outside = ~language & BARE_PATHS if path else ~language
        return None, strings(outside, what, path=path)


def without_ports(language: Language, ports: list[int]) -> Language | None:
    """Of hosts below a domain with whatever port, those without a port and those with one of these; None where the language holds no domain."""
    one = language.witness(VALUES) or ""
    domain = one[one.find(".") :].partition(":")[0].rstrip(".")
    endings = [Language.suffix(domain + tail) for tail in ("", *(f":{port}" for port in ports))] if domain.startswith(".") else []
    held = [ending for ending in endings if ending.issubset(language, VALUES)]
    return union(*held) if held else None


def paths(piece: Piece) -> dict[str, list[str]]:
    """`paths` and `notPaths` of an operation. Raises Unsaid."""
    if piece.path is None:
        return {}
    try:
        return _one(piece.path, "paths")
    except Unsaid:
        if piece.base is None:
            raise
    taken = strings(piece.base - piece.path, "paths", path=True)
    found = _one(piece.base, "paths")
    return {**found, "notPaths": sorted({*found.get("notPaths", []), *taken})}


def _one(language: Language, what: str) -> dict[str, list[str]]:
    inside, outside = difference(language, what, path=True)
    return {"paths": inside} if inside is not None else {"notPaths": outside or []}


def say_source(who: Identities, networks: tuple[Network, ...] | None) -> list[dict[str, Any]]:
    """The peers as `source` entries, alternatives of each other; [{}] where anybody may be the caller. Raises Unsaid."""
    source: dict[str, Any] = {}
    namespaced: list[str] = []
    if who.include is not None:
        principals = []
        for item in sorted(who.include, key=label):
            if (name := _of_namespace(item)) is not None:
                namespaced.append(name)
            else:
                principals.append(principal(item))
        if principals:
            source["principals"] = sorted(principals)
    barred: dict[str, list[str]] = {}
    for item in sorted(who.exclude, key=label):
        if (name := _of_namespace(item)) is not None:
            barred.setdefault("notNamespaces", []).append(name)
        else:
            barred.setdefault("notPrincipals", []).append(principal(item))
    source.update({key: sorted(values) for key, values in sorted(barred.items(), reverse=True)})
    entries = [source] if source.get("principals") or not namespaced else []
    if namespaced:
        entries.append({**{key: values for key, values in source.items() if key in barred}, "namespaces": sorted(namespaced)})
    if networks is None:
        return entries
    out = []
    plain = [network.cidr for network in networks if not network.excluded]
    for entry in entries:
        if plain:
            out.append({**entry, "ipBlocks": plain})
        out += [{**entry, "ipBlocks": [network.cidr], "notIpBlocks": list(network.excluded)} for network in networks if network.excluded]
    return out


def _of_namespace(item: Any) -> str | None:
    """The namespace of an identity that says nothing else: `namespaces` holds for those of every trust domain."""
    if isinstance(item, Identity) and item.trust_domain is None and item.service_account is None:
        return item.namespace
    return None


def principal(item: Any) -> str:
    """An identity as a principal pattern. Raises Unsaid."""
    if item == EVERYONE:
        return "*"
    if isinstance(item, Identity):
        text = item.istio()
        if text is None:
            raise Unsaid(f"the peers {label(item)}")
        return text
    if isinstance(item, Overlap):
        raise Unsaid(f"the peers {label(item)}, of which each has to be of both")
    if isinstance(item, IdentityGlob) and not item.text.startswith("spiffe:") and "/" in item.text:
        return item.text
    if isinstance(item, IdentityGlob) and item.text.startswith("spiffe://"):
        return item.text[len("spiffe://") :]
    raise Unsaid(f"the identity {label(item)}, which is no service account")


def operations(piece: Piece, port: int | None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(operation, when) of a piece on a port. Raises Unsaid."""
    if piece.literals:
        raise Unsaid(piece.conditions())
    if piece.query.by_name:
        raise Unsaid("a demand on query parameters: " + ", ".join(sorted(parameter for parameter, _ in piece.query.by_name)))
    operation: dict[str, Any] = {}
    if port is not None:
        operation["ports"] = [str(port)]
    if piece.host is not None:
        inside, outside = difference(piece.host, "hosts")
        operation.update({"hosts": inside} if inside is not None else {"notHosts": outside})
    if not piece.methods.every:
        operation["notMethods" if piece.methods.inverted else "methods"] = sorted(piece.methods.names)
    operation.update(paths(piece))
    when = []
    for header, value in piece.headers.by_name:
        when.append(_header(header, value))
    return operation, when


def unsaid(piece: Piece) -> str:
    """Why the requests of a piece cannot be said; "" where they can."""
    try:
        operations(piece, None)
    except (Unsaid, Unsayable, ValueError) as error:
        return str(error)
    return ""


def _header(header: str, value: Value) -> dict[str, Any]:
    entry: dict[str, Any] = {"key": f"request.headers[{header}]"}
    if value.inside is not None:
        entry["values"] = strings(value.inside, f"the values of header {header!r}")
    if value.outside is not None:
        entry["notValues"] = strings(value.outside, f"the values of header {header!r}")
    return entry
