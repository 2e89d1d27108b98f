"""Names in certificates: `spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT` in Istio, `ACCOUNT.NAMESPACE.serviceaccount.identity.linkerd.DOMAIN` in Linkerd.

A pattern is rewritten where it is a list of names with parts left open: a whole part (`.*`, `[^/]+`), the rest behind a beginning, or a choice in parentheses.
Whoever has a name at all has one of this form, so that `spiffe.*` asks for those that are known.

https://istio.io/latest/docs/reference/config/security/authorization-policy/, https://linkerd.io/2-edge/features/automatic-mtls/
"""

from __future__ import annotations

import re

from meshport.observe.tree import Matcher

_KNOWN = {"istio": r"\.\*spiffe\.[*+]|spiffe(?::(?://?)?)?\.[*+]", "linkerd": r"\.[*+](?:\\?\.)?identity(?:\\?\.)linkerd(?:\\?\.)?\.[*+]"}
"""Patterns that every name fits, and nothing else."""
_WORD = r"[A-Za-z0-9_-]+"
_OPEN = r"\.\*|\.\+|\[\^[/.]\][*+]"
_PART = rf"{_WORD}(?:{_OPEN})?|{_OPEN}|\((?:\?:)?{_WORD}(?:\|{_WORD})*\)"
_DOMAIN = rf"{_WORD}(?:\\?\.{_WORD})*|{_OPEN}"


def renamed(matcher: Matcher, source: str, target: str, label: str) -> tuple[str, str, str] | None:
    """The matcher of the target that takes the same names; None where it has no such words."""
    op, value = matcher.op, matcher.value
    plain = op in ("=", "!=")
    if not plain and re.fullmatch(_KNOWN[source], value):
        nobody = "unknown" if target == "istio" else ""
        return label, "!=" if op == "=~" else "=", nobody
    made = [_one(text, source, target, plain) for text in ([value] if plain else _choices(value))]
    return (label, op, "|".join(text for text in made if text is not None)) if all(made) else None


def _choices(pattern: str) -> list[str]:
    """The alternatives of a pattern, outside parentheses and brackets."""
    found, depth, start = [], 0, 0
    for at, char in enumerate(pattern):
        depth += (char in "([") - (char in ")]")
        if char == "|" and depth == 0:
            found.append(pattern[start:at])
            start = at + 1
    return [*found, pattern[start:]]


def _one(text: str, source: str, target: str, plain: bool) -> str | None:
    parts = _spiffe(text) if source == "istio" else _dns_like(text)
    if parts is None or (
        plain and any(re.fullmatch(_WORD if at else rf"{_WORD}(?:\.{_WORD})*", part) is None for at, part in enumerate(parts))
    ):
        return None
    domain, namespace, account = parts
    if target == "istio":
        return f"spiffe://{_domain(domain, plain)}/ns/{_part(namespace, '/', plain)}/sa/{_part(account, '', plain)}"
    dot = "." if plain else r"\."
    return dot.join(
        (_part(account, "", plain), _part(namespace, ".", plain), "serviceaccount", "identity", "linkerd", _domain(domain, plain))
    )


def _spiffe(text: str) -> tuple[str, str, str] | None:
    """Domain, namespace and account as they stand in a name or a pattern of one; `.*` for one that is left open."""
    found = re.fullmatch(rf"(?:spiffe://({_DOMAIN})|\.\*)/ns/({_PART})(?:/sa/({_PART})|/\.[*+])?", text)
    if found is not None:
        domain, namespace, account = found.groups()
        closed = "/sa/" in text or text.endswith(("/.*", "/.+"))
        return (domain or ".*", namespace, account or ".*") if closed or namespace.endswith("*") else None
    found = re.fullmatch(rf"(?:spiffe://({_DOMAIN}))?(?:\.\*)?/sa/({_PART})|spiffe://({_WORD}(?:\\?\.{_WORD})*)/\.[*+]", text)
    if found is None:
        return None
    domain, account, alone = found.groups()
    return (alone or domain or ".*"), ".*", (account or ".*")


def _dns_like(text: str) -> tuple[str, str, str] | None:
    dot = r"\\?\."
    found = re.fullmatch(
        rf"({_PART}){dot}({_PART}){dot}serviceaccount(?:{dot}identity{dot}linkerd(?:{dot}({_DOMAIN}))?|{dot})?(\.\*)?", text
    )
    if found is not None:
        account, namespace, domain, rest = found.groups()
        return (domain or ".*", namespace, account) if (domain is not None) != (rest is not None) else None
    found = re.fullmatch(rf"({_PART}){dot}\.\*|\.[*+]{dot}identity{dot}linkerd{dot}({_WORD}(?:{dot}{_WORD})*)", text)
    if found is None:
        return None
    account, domain = found.groups()
    return (domain or ".*"), ".*", (account or ".*")


def _domain(part: str, plain: bool) -> str:
    if plain:
        return part
    return ".*" if re.fullmatch(_OPEN, part) else re.sub(r"\\?\.", r"\\.", part)


def _part(part: str, end: str, plain: bool) -> str:
    """A namespace or an account; what is left open of it ends where the next part begins."""
    opened = re.search(rf"(?:{_OPEN})$", part)
    if plain or opened is None:
        return part
    return part[: opened.start()] + (f"[^{end}]" if end else ".") + opened.group()[-1]
