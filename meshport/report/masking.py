"""The lines of a file as a report may show them: no value of a Secret, no token, no key.

What is hidden is decided by what the documents say (a Secret, a member or an environment variable called `password`) and, for text that made no document and for
comments, by how it looks. Where both are in doubt a line is hidden: a report goes to more people than the configuration does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshport.documents import Bundle, Document, Part

MASK = "•••"
SHOWN_OF_SECRETS = {("apiVersion",), ("kind",), ("type",), ("metadata", "name"), ("metadata", "namespace")}

_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")  # what YAML counts as the end of a line
SEPARATOR = re.compile(r"---(\s|$)")
_BARE_KEY = re.compile(r"\s*(-\s+)?[\w./-]+:\s*")
_SECRET_TEXT = re.compile(r"kind\b[^\n]*secret|stringData|type[\"']?\s*:\s*[\"']?(Opaque|kubernetes\.io/)", re.IGNORECASE)
_SECRET_NAMES = (
    *("password", "passwd", "passphrase", "pwd", "secret", "token", "credential", "credentials", "authorization", "jwk", "jwks"),
    *("apikey", "accesskey", "privatekey", "signingkey", "encryptionkey", "secretkey", "sharedkey", "tlskey", "cakey", "keypem"),
)
_PLAIN = re.compile(r"(?:true|false|null|~|[\d.]+|[|>][-+0-9]*|[&*!]\S*|\{|\[)?[,\]}]*", re.IGNORECASE)
_NAMED = re.compile(r"(?P<key>[\w.\-/]+)[\"']?\s*(?::\s|:(?=[\"'])|=)\s*(?P<value>[^\s#].*)")
_LOOKS = (
    re.compile(r"eyJ[\w-]{8,}(?:\.[\w-]*){1,2}"),  # a JWT
    re.compile(r"(?<=Bearer )\S+|(?<=Basic )[\w+/=]{8,}", re.IGNORECASE),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),  # the user of a URL
    re.compile(r"LS0tLS1CRUdJTi[\w+/=]+"),  # "-----BEGIN " in base64
)
_KEY_BEGINS, _KEY_ENDS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"), re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")


def lines(bundle: Bundle, file: str) -> list[str]:
    """All lines of a file of the bundle, masked; none where its text is not at hand."""
    text = next((source.text for source in bundle.files if source.file == file), None)
    if text is None:
        return []
    shown = _BREAK.split(text)
    documents = sorted((item for item in bundle.documents if item.file == file and item.line), key=lambda item: (item.line, item.first))
    known: set[int] = set()
    hidden: set[int] = set()
    for number, document in enumerate(documents):
        nearest = documents[number + 1] if number + 1 < len(documents) else None
        end = nearest.line - 1 if nearest else len(shown)
        own = [(bundle.line(leaf) or 0, leaf, path, value) for leaf, path, value in _leaves(document)]
        known.update(range(document.line, max(line for line, *_ in own) + 1))
        if _is_secret(document):
            hidden |= _secret(shown, own, document.line, end)
            if nearest and "}" in shown[nearest.line - 1].partition(f"{nearest.api_version or nearest.kind}")[0]:
                hidden.add(nearest.line)  # in flow style the Secret may end where the next one starts
        else:
            _cover(bundle, shown, document, own)
    hidden |= _unknown(shown, known)
    for number in hidden:
        line = shown[number - 1]
        if line.strip():
            shown[number - 1] = line[: len(line) - len(line.lstrip())] + MASK
    return list(_by_looks(shown))


def text(line: str) -> str:
    """One line with what looks like a secret hidden."""
    for match in _NAMED.finditer(line):
        value = match["value"]
        if names_secret(match["key"]) and not _PLAIN.fullmatch(value.strip().strip("\"'")):
            line = line[: match.start("value")] + MASK
            break
    for looks in _LOOKS:
        line = looks.sub(MASK, line)
    return line


def names_secret(name: str) -> bool:
    """Whether a member, a header or a variable of this name holds a secret."""
    return re.sub(r"[^a-z0-9]", "", name.lower()).endswith(_SECRET_NAMES)


def _is_secret(document: Document) -> bool:
    return "secret" in document.kind.lower() or "stringData" in document.value


# -- by what the documents say


def _leaves(document: Document) -> Iterator[tuple[int, tuple[Part, ...], Any]]:
    """(leaf, path, value) of a document as it stands in its file; a value that a name beside it calls a secret is under the path of that name."""
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
            secret = value.get("kind") == "Secret"
            for key in reversed(shadow):
                below = (
                    called
                    if called is not None and key in ("value", "values", "notValues")
                    else "stringData"
                    if secret and key == "data"
                    else key
                )
                stack.append((shadow[key], value[key], (*path, below)))


def _secret(shown: list[str], own: list[tuple[int, int, tuple[Part, ...], Any]], first: int, end: int) -> set[int]:
    """The lines of a Secret that are hidden: all but those that hold its name alone and those that hold no value."""
    starts: dict[int, bool] = {}
    for place, _, path, _ in own:
        starts[place] = starts.get(place, True) and path in SHOWN_OF_SECRETS
    hidden, inside = set(), False
    for number in range(first, max(end, max(starts)) + 1):
        line = shown[number - 1]
        if SEPARATOR.match(line):
            break
        if number in starts:
            inside = not starts[number]
            if inside:
                hidden.add(number)
        elif inside or not _BARE_KEY.fullmatch(line):
            hidden.add(number)
    return hidden


def _cover(bundle: Bundle, shown: list[str], document: Document, own: list[tuple[int, int, tuple[Part, ...], Any]]) -> None:
    """Hide the values of members that are called secrets, in place. A value takes its line to the end, and where it is longer, all lines up to the next one."""
    for place, (line, leaf, path, value) in enumerate(own):
        if not line or not isinstance(value, str) or not value or not _names_one(path):
            continue
        following = own[place + 1][0] if place + 1 < len(own) else len(shown) + 1
        column = (bundle.column(leaf) or 1) - 1
        rest = shown[line - 1][column:].rstrip()
        shown[line - 1] = shown[line - 1][:column] + MASK
        quote = rest[:1] if rest[:1] in ("'", '"') else ""
        if "\n" in value or len(value) > len(rest) or (quote and quote not in rest[1:]):
            for number in range(line + 1, min(following + (quote != ""), len(shown) + 1)):
                if SEPARATOR.match(shown[number - 1]) or (number == following and quote not in shown[number - 1]):
                    break
                shown[number - 1] = MASK if shown[number - 1].strip() else ""


def _names_one(path: tuple[Part, ...]) -> bool:
    words = [part for part in path if isinstance(part, str)]
    last = words[-1] if words else ""
    holder = words[-2] if len(words) > 1 else ""
    named = names_secret(last) or holder.lower() in ("authorization", "proxy-authorization")
    return named or "stringData" in words or last.endswith("last-applied-configuration")


# -- by how it looks


def _unknown(shown: list[str], known: set[int]) -> set[int]:
    """The lines that no document holds, of stretches that look like a Secret: text that could not be read, and items of a List that are no objects."""
    hidden: set[int] = set()
    stretch: list[int] = []
    for number in range(1, len(shown) + 2):
        outside = number <= len(shown) and number not in known and not SEPARATOR.match(shown[number - 1])
        if outside:
            stretch.append(number)
        elif stretch:
            if _SECRET_TEXT.search("\n".join(shown[line - 1] for line in stretch)):
                hidden.update(stretch)
            stretch = []
    return hidden


def _by_looks(shown: list[str]) -> Iterator[str]:
    inside = False
    for line in shown:
        begins = _KEY_BEGINS.search(line)
        if inside or begins:
            inside = not _KEY_ENDS.search(line)
            yield (line[: begins.start()] if begins else line[: len(line) - len(line.lstrip())]) + MASK
        else:
            yield text(line)
