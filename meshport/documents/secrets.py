"""Which leaves of a document hold secrets: what a Secret holds, and what stands under a name that says so, as `password` or the header `authorization`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshport.documents import Document, Part

_SECRET_NAMES = (
    *("password", "passwd", "passphrase", "pwd", "secret", "token", "credential", "credentials", "authorization", "jwk", "jwks"),
    *("apikey", "accesskey", "privatekey", "signingkey", "encryptionkey", "secretkey", "sharedkey", "tlskey", "cakey", "keypem"),
)


def names_secret(name: str) -> bool:
    """Whether a member, a header or a variable of this name holds a secret."""
    return re.sub(r"[^a-z0-9]", "", name.lower()).endswith(_SECRET_NAMES)


def is_secret(document: Document) -> bool:
    return "secret" in document.kind.lower() or "stringData" in document.value


def leaves_of(document: Document) -> Iterator[tuple[int, tuple[Part, ...], Any]]:
    """(leaf, path, value); what a name beside it calls a secret is under the path of that name."""
    document = document.stood or document
    stack: list[tuple[Any, Any, tuple[Part, ...]]] = [(document.leaves, document.value, ())]
    while stack:
        shadow, value, path = stack.pop()
        if isinstance(shadow, int):
            yield shadow, path, value
        elif isinstance(shadow, list):
            stack.extend((shadow[number], value[number], (*path, number)) for number in range(len(shadow) - 1, -1, -1))
        else:
            called = next((name for key in ("name", "key") if isinstance(name := value.get(key), str) and names_secret(name)), None)
            inner = value.get("kind") == "Secret"  # an object inside another, as templates have it
            for key in reversed(shadow):
                below = called if called is not None and key in ("value", "values", "notValues") else key
                stack.append((shadow[key], value[key], (*path, "stringData" if inner and key == "data" else below)))


def names_one(path: tuple[Part, ...]) -> bool:
    words = [part for part in path if isinstance(part, str)]
    last = words[-1] if words else ""
    holder = words[-2] if len(words) > 1 else ""
    named = names_secret(last) or holder.lower() in ("authorization", "proxy-authorization")
    return named or "stringData" in words or last.endswith("last-applied-configuration")


def secret_leaves(document: Document) -> dict[int, str]:
    """The leaves of a document that hold secrets, with their values."""
    hides = is_secret(document)
    return {leaf: value for leaf, path, value in leaves_of(document) if isinstance(value, str) and value and (hides or names_one(path))}
