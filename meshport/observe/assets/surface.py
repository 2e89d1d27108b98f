"""Where queries stand: in a document, or in a JSON text inside one. Changes are gathered by path, made in the text by characters, and written because of leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.output import Output
from meshport.documents import format_path
from meshport.documents.spans import Path, json_spans, replaced, scalar_place, with_values, yaml_spans
from meshport.findings import Affected, Finding
from meshport.mapping.bound import Bound
from meshport.observe.assets.queries import Queries

QUERY = "telemetry.query"
SHOWN = "telemetry.presentation"


@dataclass(slots=True)
class Fate:
    """What became of an asset. `expressions` are its queries: those of the source mesh are `translated` or `refused`, the others `unchanged`."""

    file: str | None
    kind: str
    namespace: str | None
    name: str
    document: int
    expressions: int = 0
    translated: int = 0
    refused: int = 0
    unchanged: int = 0
    findings: list[Finding] = field(default_factory=list)


@dataclass(slots=True)
class Job:
    """The translation of a bundle's assets."""

    out: Output
    bound: Bound
    options: Options
    queries: Queries
    fates: list[Fate] = field(default_factory=list)
    read: set[int] = field(default_factory=set)
    requires: dict[tuple[str, str], list[tuple[Any, frozenset[int]]]] = field(default_factory=dict)
    said: dict[tuple[str, str], Finding] = field(default_factory=dict)  # what is no error, once for all places where it holds


class Surface:
    """A plain value that holds queries. `fate` counts what became of them."""

    def __init__(
        self, job: Job, number: int, value: Any, fate: Fate, holder: tuple[Surface, Path] | None = None, packed: bool = False
    ) -> None:
        self.packed = packed  # whether the text is compressed where it stands
        self.job = job
        self.number = number
        self.value = value
        self.fate = fate
        self.holder = holder  # the surface and path of the text that this is the value of
        self.new: dict[Path, Any] = {}
        self.keys: dict[Path, str] = {}
        self.added: dict[Path, Any] = {}
        self.because: dict[Path, set[int]] = {}
        self._lines: tuple[dict[Path, Any], list[int]] | None = None

    # -- reading

    def at(self, path: Path) -> Any:
        found = self.value
        for step in path:
            found = found[step]
        return found

    def leaf(self, path: Path, feature: str = QUERY) -> int:
        """The leaf of the input that a value is, or is in; it counts from now on."""
        if self.holder is not None:
            outer, where = self.holder
            return outer.leaf(where, QUERY)
        found: Any = self.job.bound.bundle.documents[self.number].leaves
        for step in path:
            found = found[step] if not isinstance(found, int) else found
        while not isinstance(found, int):
            found = next(iter(found.values())) if isinstance(found, dict) else found[0]
        self.job.read.add(found)
        self.job.bound.features.setdefault(found, feature)
        return found

    # -- changing

    def put(self, path: Path, value: Any, feature: str = SHOWN) -> None:
        """Another value at a path."""
        if self.at(path) != value:
            self.new[path] = value
            self.because.setdefault(path, set()).add(self.leaf(path, feature))

    def add(self, path: Path, value: Any, because: Path) -> None:
        """What was not there, because of a value that was."""
        self.added[path] = value
        self.because.setdefault(path, set()).add(self.leaf(because, SHOWN))

    def rename(self, path: Path, key: str) -> None:
        """Another key for what is at a path."""
        self.keys[path] = key
        self.because.setdefault(path, set()).add(self.leaf(path, SHOWN))

    def embedded(self, path: Path, value: Any, fate: Fate, packed: bool = False) -> Surface:
        """The value of a JSON or YAML text at a path, `packed` where it stands there as base64 of gzip."""
        return Surface(self.job, self.number, value, fate, (self, path), packed)

    @property
    def changed(self) -> bool:
        return bool(self.new or self.keys or self.added)

    def close(self) -> None:
        """Make the changes: those of a text go into what holds it, those of a document into the output."""
        if not self.changed:
            return
        if self.holder is not None:
            outer, where = self.holder
            text = unpacked(outer.at(where)) if self.packed else outer.at(where)
            made = replaced(text, self.value, self.new, self.keys)
            if made is None:
                import json

                made = json.dumps(with_values(self.value, self.new, self.keys), ensure_ascii=False, indent=2)
            outer.put(where, packed(made) if self.packed else made, QUERY)
            leaf = outer.leaf(where, QUERY)
            for finding in self.fate.findings:
                if finding.disposition == "dropped" and leaf in finding.leaves:
                    finding.disposition = "approximated"  # the text as a whole is translated
            return
        document = self.job.bound.bundle.documents[self.number]
        obj = self.job.out.change(self.number)
        text = self.job.bound.bundle.text_of(document)
        plain = with_values(document.value, self.new, self.keys)
        untouched = obj.value == document.value
        for path, value in self.new.items():
            obj.set(path, value, frozenset(self.because[path]))
        if self.keys:
            obj.value.update(plain)
            for path in self.keys:
                obj.sources[path] = frozenset(self.because[path])
        for path, value in self.added.items():
            obj.set(path, value, frozenset(self.because[path]))
        if text is not None and untouched and not self.added and obj.value == plain:
            obj.text = replaced(text, document.value, self.new, self.keys)

    # -- saying

    def report(self, path: Path, findings: list[Finding], where: str = "") -> None:
        """Findings about a value. One that is no error is said once, with all the places."""
        leaf = self.leaf(path)
        namespace = self.job.bound.bundle.documents[self.number].namespace
        affects = (Affected(namespace),) if namespace else ()
        for found in findings:
            if found.code in _HANDLED:
                continue
            if found.severity != "error" and (known := self.job.said.get((found.code, found.message))) is not None:
                known.leaves = tuple(sorted({*known.leaves, leaf}))
                known.affects = tuple(dict.fromkeys((*known.affects, *affects)))
                if all(one is not known for one in self.fate.findings):
                    self.fate.findings.append(known)
                continue
            if found.severity != "error":
                self.job.said[found.code, found.message] = found
            if found.severity == "error" and where:
                found.message = f"{where}: {found.message}"
            found.leaves = (leaf,)
            found.document = self.number
            found.pattern, found.feature = "observability", QUERY
            found.affects = affects
            found.at = leaf
            self._locate(found, path)
            self.fate.findings.append(found)
            self.job.out.findings.append(found)

    def _locate(self, found: Finding, path: Path) -> None:
        """Where a value stands that is in a text of the document, as far as the text can be told apart."""
        if self.holder is None:
            return
        outer, where = self.holder
        document = self.job.bound.bundle.documents[self.number]
        text = self.job.bound.bundle.text_of(document)
        if self.packed or outer.holder is not None or text is None or document.file is None:
            return
        if self._lines is None:
            inner = outer.at(where)
            self._lines = (json_spans if inner.lstrip()[:1] == "{" else yaml_spans)(inner), scalar_place(text, where, inner) or []
        spans, places = self._lines
        source = self.job.bound.bundle.files
        whole = next((item.text for item in source if item.file == document.file), None)
        if path not in spans or not places or whole is None or document.text is None:
            return
        offset = document.text[0] + places[spans[path].start]
        breaks = whole.rfind("\n", 0, offset)
        found.file, found.file_document = document.file, document.index
        found.line, found.column = whole.count("\n", 0, offset) + 1, offset - breaks
        found.path = format_path(where)

    def require(self, path: Path, requires: list[tuple[str, str, Any]]) -> None:
        """Settings of the target's installation that a query needs."""
        for chart, name, value in requires:
            self.job.requires.setdefault((chart, name), []).append((value, frozenset((self.leaf(path),))))


def unpacked(text: str) -> str:
    """The text in base64 of gzip. Raises ValueError."""
    import gzip
    import zlib
    from base64 import b64decode

    try:
        return gzip.decompress(b64decode(text)).decode("utf-8")
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(str(error)) from None


def packed(text: str) -> str:
    """A text in base64 of gzip, the same bytes each time."""
    import gzip
    from base64 import b64encode

    return b64encode(gzip.compress(text.encode("utf-8"), mtime=0)).decode("ascii")


_HANDLED = frozenset(("MP824", "MP825"))
"""What is no news of a query, or is said once for all of them."""


def below(value: Any, path: Path = (), without: str | None = None) -> Iterator[tuple[Path, Any]]:
    """(path, value) of everything in a value, itself first; not what is at the key `without`."""
    stack: list[tuple[Path, Any]] = [(path, value)]
    while stack:
        where, found = stack.pop()
        yield where, found
        if isinstance(found, dict):
            stack.extend(((*where, key), item) for key, item in reversed(list(found.items())) if key != without)
        elif isinstance(found, list):
            stack.extend(((*where, number), found[number]) for number in range(len(found) - 1, -1, -1))
