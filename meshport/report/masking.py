"""The lines of a file as a report may show them: no value of a Secret, no token, no key.

What is hidden is decided by what the documents say (a Secret, a member or an environment variable called `password`) and, for text that made no document and for
comments, by how it looks. Where both are in doubt a line is hidden: a report goes to more people than the configuration does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from meshport.documents.secrets import is_secret, leaves_of, names_one, names_secret, secret_leaves
from meshport.mapping.table import dialect_of_group

if TYPE_CHECKING:
    from meshport.documents import Bundle, Document, Part

MASK = "•••"
SHOWN_OF_SECRETS = {("apiVersion",), ("kind",), ("type",), ("metadata", "name"), ("metadata", "namespace")}

_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")  # what YAML counts as the end of a line
SEPARATOR = re.compile(r"---\s*(#.*)?$")
_BARE_KEY = re.compile(r"""\s*(-\s+)*["']?[\w./-]+["']?:\s*""")
_CLEAN = re.compile(r"""\s*(-\s+)*(?:(?:"[^"]*"|'[^']*'|[\w./-]+)\s*:\s*)?""")  # what may stand before a value and be of none
_QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'(?!')""")
_COMMENT = re.compile(r"\s#.*")
_SECRET_TEXT = re.compile(
    r"secret|stringData|type[\"']?\s*:\s*[\"']?(Opaque|kubernetes\.io/)|pass(word|wd|phrase)|pwd\b|token|credential|authorization|jwks?\b"
    r"|(api|access|private|signing|encryption|shared|tls|ca)[-_. ]?key|key[-_.]?pem",
    re.IGNORECASE,
)
_WORD = re.compile(r"\*?[A-Za-z]{0,12}\*?")
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
    whole = next((source.text for source in bundle.files if source.file == file), None)
    if whole is None:
        return []
    written = _BREAK.split(whole)
    documents = [document for document in bundle.documents if document.file == file and document.line]
    documents.sort(key=lambda item: (item.line, item.first))
    held = [list(_values(bundle, document)) for document in documents]
    values = [value for each in held for value in each]
    shown = list(written)
    for number, value in enumerate(values):
        if value.secret:
            _cover(written, shown, value, values[number + 1] if number + 1 < len(values) else None)
    known: set[int] = set()
    starts = {value.line for value in values}
    for number, document in enumerate(documents):
        known.update(range(document.line, max(_end(written, value) for value in held[number]) + 1))
        if is_secret(document):
            end = documents[number + 1].line - 1 if number + 1 < len(documents) else len(written)
            _bare(shown, starts, document.line, end)
    for line in _unknown(written, known):
        shown[line - 1] = _hidden(written[line - 1])
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


def told(bundle: Bundle) -> tuple[str, ...]:
    """The secrets in documents of a mesh, as messages and witnesses may repeat them; a longer one goes before those that are a part of it. A plain word is none:
    it stands in other texts as itself."""
    documents = (document for document in bundle.documents if dialect_of_group(document.group) is not None)
    values = {value for document in documents for value in secret_leaves(document).values()}
    return tuple(
        sorted((value for value in values if len(value) > 5 and not _WORD.fullmatch(value)), key=lambda value: (-len(value), value))
    )


def covered(value: Any, secrets: tuple[str, ...]) -> Any:
    """A value of a report without these secrets, wherever in it they stand."""
    if not secrets:
        return value
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
        return value
    if isinstance(value, dict):
        return {covered(key, secrets): covered(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(covered(item, secrets) for item in value)
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: covered(item, secrets) for name, item in value})
    return value


# -- by what the documents say


@dataclass(frozen=True, slots=True)
class _Value:
    """A leaf where it stands; line and column count from 1."""

    line: int
    column: int
    value: Any
    secret: bool


def _values(bundle: Bundle, document: Document) -> Iterator[_Value]:
    """The leaves of a document as it stands in its file."""
    hides = is_secret(document)
    for leaf, path, value in leaves_of(document):
        secret = path not in SHOWN_OF_SECRETS if hides else names_one(path) if value and isinstance(value, str) else _merged(path, value)
        yield _Value(bundle.line(leaf) or 1, bundle.column(leaf) or 1, value, secret)


def _merged(path: tuple[Part, ...], value: Any) -> bool:
    """Whether a key without a value looks like both of them: a colon is missing."""
    return value is None and bool(path) and " " in str(path[-1])


def _cover(written: Sequence[str], shown: list[str], value: _Value, following: _Value | None) -> None:
    """Hide a value, in place: its line to the end and, where it is longer than that, all up to where the next value starts."""
    place, column = value.line - 1, value.column - 1 if value.value is not None else 0  # with no value the key may be it
    rest = written[place][column:]
    if len(shown[place]) > column:
        shown[place] = written[place][:column] + MASK if shown[place].startswith(written[place][:column]) else MASK
    if _complete(rest, value.value):
        return
    last = following.line - 1 if following is not None else len(written)
    for number in range(place + 1, last):
        if SEPARATOR.match(written[number]):
            return
        shown[number] = _hidden(written[number])
    if following is not None and last > place and not _CLEAN.fullmatch(written[last][: following.column - 1]):
        shown[last] = _hidden(written[last])


def _end(written: Sequence[str], value: _Value) -> int:
    """The last line of a value, as far as it can be counted: a block has a line for each of its text."""
    quoted = written[value.line - 1][value.column - 1 : value.column] in ("'", '"')
    return value.line + (value.value.count("\n") if isinstance(value.value, str) and not quoted else 0)


def _complete(rest: str, value: Any) -> bool:
    """Whether a value ends on the line where it starts, of which this is the rest."""
    if rest[:1] in ("'", '"'):
        return bool(_QUOTED.match(rest))
    return not isinstance(value, str) or rest.startswith(value)


def _bare(shown: list[str], starts: set[int], first: int, end: int) -> None:
    """Hide what else a Secret's lines hold, in place: comments, and whatever is neither a value nor a key alone."""
    for number in range(first, end + 1):
        line = shown[number - 1]
        if SEPARATOR.match(line):
            return
        if number in starts:
            shown[number - 1] = _COMMENT.sub(f" # {MASK}", line)
        elif not _BARE_KEY.fullmatch(line):
            shown[number - 1] = _hidden(line)


def _hidden(line: str) -> str:
    return line[: len(line) - len(line.lstrip())] + MASK if line.strip() else ""


# -- by how it looks


def _unknown(shown: list[str], known: set[int]) -> set[int]:
    """The lines that no document holds, of stretches that seem to have a secret: text that could not be read, and items of a List that are no objects. Nothing
    tells there which line belongs to what, so all of such a stretch is hidden."""
    hidden: set[int] = set()
    stretch: list[int] = []
    for number in range(1, len(shown) + 2):
        if number <= len(shown) and number not in known and not SEPARATOR.match(shown[number - 1]):
            stretch.append(number)
        elif stretch:
            if any(_SECRET_TEXT.search(shown[line - 1]) and not shown[line - 1].lstrip().startswith("#") for line in stretch):
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
