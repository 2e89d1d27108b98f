"""What each finding is about, as it stands there: the lines of the source that it names, and the lines of the output that were written because of them.

Values of Secrets, tokens and keys are hidden (`masking`). The work grows with the files that findings name and with the lines shown, which are bounded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshport.report import masking
from meshport.report.masking import SEPARATOR
from meshport.report.words import called

if TYPE_CHECKING:
    from meshport.documents import Bundle, Part
    from meshport.findings import Finding
    from meshport.pipeline import Result

AROUND = 2
"""Lines shown before and after each line that is marked."""
HEAD = 6
"""Lines shown of a document that is pointed to as a whole."""
MOST = 4
"""Excerpts of one finding on each side."""
LONGEST = 40
"""Lines of one excerpt."""
WIDEST = 400
"""Characters of one line."""
BUDGET = 8_000
"""Lines of all excerpts of a side; findings beyond have their file and line alone."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Lines of one file from line `first` on; `marked` are the numbers of those that matter. `about` is the object that they are of."""

    file: str
    about: str
    first: int
    lines: tuple[str, ...]
    marked: frozenset[int]


@dataclass(slots=True)
class Exhibit:
    """A finding's two sides. `more` counts the excerpts that were left out; `note` says what became of the object where no line of the output can be marked."""

    source: list[Excerpt] = field(default_factory=list)
    target: list[Excerpt] = field(default_factory=list)
    more: tuple[int, int] = (0, 0)
    note: str = ""


def of_result(result: Result) -> dict[int, Exhibit]:
    """Exhibits of a conversion by the number of their finding, as far as there is room."""
    made = of_findings(result.findings, result.known)
    outputs = _Outputs(result)
    spent = 0
    for number, exhibit in list(made.items()):
        if spent > BUDGET:
            del made[number]
            continue
        outputs.show(result.findings[number], exhibit)
        spent += sum(len(item.lines) for item in exhibit.target)
    return made


def of_findings(findings: Sequence[Finding], bundle: Bundle) -> dict[int, Exhibit]:
    """The same with the source alone, where nothing was written."""
    files: dict[str, list[str]] = {}
    made: dict[int, Exhibit] = {}
    spent = 0
    for number in _in_turn(findings):
        if spent > BUDGET:
            break
        finding = findings[number]
        made[number] = exhibit = Exhibit()
        places: dict[tuple[str, str], set[int]] = {}
        for file, about, line in _places(finding, bundle):
            places.setdefault((file, about), set()).add(line)
        for (file, about), marked in places.items():
            if file not in files:
                files[file] = masking.lines(bundle, file)
            of_document = not finding.leaves  # the finding points to where its document begins: what stands above it is another's
            exhibit.source += _excerpts(file, about, files[file], marked, HEAD if of_document else AROUND, 0 if of_document else AROUND)
        spent += _cut(exhibit, exhibit.source, 0)
    return made


def _in_turn(findings: Sequence[Finding]) -> list[int]:
    """The findings' numbers, the first of each code before the second of any: where there is no room for all, each code has some."""
    seen: Counter[str] = Counter()
    turns = []
    for number, finding in enumerate(findings):
        turns.append((seen[finding.code], number))
        seen[finding.code] += 1
    return [number for _, number in sorted(turns)]


def _places(finding: Finding, bundle: Bundle) -> Iterable[tuple[str, str, int]]:
    """(file, object, line) of everything that a finding names in the source."""
    from meshport.report.places import location

    for leaf in finding.leaves:
        owner, line = bundle.owner(leaf), bundle.line(leaf)
        if owner.file is not None and line is not None:
            yield owner.file, called(owner.kind, owner.namespace, owner.name), line
    if not finding.leaves and (found := location(finding, bundle)) is not None and found["file"] and found["line"]:
        yield found["file"], "", found["line"]


def _excerpts(
    file: str, about: str, lines: Sequence[str], marked: Iterable[int], after: int = AROUND, before: int = AROUND, offset: int = 0
) -> list[Excerpt]:
    """The lines around those marked, what lies close together in one. `offset` is the number of lines above them in their file."""
    found: list[Excerpt] = []
    group: list[int] = []
    for line in [*sorted(line for line in marked if line <= len(lines)), None]:
        if group and (line is None or line > group[-1] + 2 * AROUND + 1 or line - group[0] >= LONGEST - AROUND):
            first, last = max(1, group[0] - before), min(len(lines), group[-1] + after)
            breaks = [
                number for number in range(first, last + 1) if SEPARATOR.match(lines[number - 1])
            ]  # what lies beyond is another document
            first = max([first, *(number + 1 for number in breaks if number < group[0])])
            last = min([last, *(number - 1 for number in breaks if number > group[-1])])
            shown = tuple(text if len(text) <= WIDEST else text[:WIDEST] + " …" for text in lines[first - 1 : last])
            found.append(Excerpt(file, about, first + offset, shown, frozenset(number + offset for number in group)))
            group = []
        if line is not None:
            group.append(line)
    return found


def _cut(exhibit: Exhibit, side: list[Excerpt], number: int) -> int:
    """Keep the first excerpts of a side and count the rest; the lines kept."""
    more = list(exhibit.more)
    more[number] = max(0, len(side) - MOST)
    exhibit.more = (more[0], more[1])
    del side[MOST:]
    return sum(len(item.lines) for item in side)


# -- the output


class _Outputs:
    """The manifests as text, read again for the lines of their values."""

    def __init__(self, result: Result) -> None:
        self.result = result
        self.texts: dict[int, tuple[list[str], dict[tuple[Part, ...], int]]] = {}
        self.streams: dict[int, str] = {}
        self.offsets: dict[int, int] = {}
        self.by_file: dict[str, list[int]] = {}
        self.carried: dict[int, list[tuple[int, tuple[Part, ...]]]] = {}
        self.settings: dict[int, list[str]] = {}
        self.by_document: dict[int, list[int]] = {}
        wanted = {leaf for finding in result.findings for leaf in finding.leaves}
        numbers = {id(manifest.object): number for number, manifest in enumerate(result.manifests)}
        for value, path, leaves in result.ledger.written():
            number = numbers.get(id(value))
            if number is not None:
                for leaf in leaves & wanted:
                    self.carried.setdefault(leaf, []).append((number, path))
        for chart, setting, value, leaves in result.ledger.settings():
            for leaf in leaves & wanted:
                self.settings.setdefault(leaf, []).append(masking.text(f"helm value of {chart}: {setting}={value}"))
        places = {(document.file, document.index): number for number, document in enumerate(result.known.documents)}
        for number, manifest in enumerate(result.manifests):
            self.by_file.setdefault(manifest.file, []).append(number)
            for origin in manifest.origins:
                document = places.get((origin["file"], origin["document"]))
                if document is not None:
                    self.by_document.setdefault(document, []).append(number)

    def show(self, finding: Finding, exhibit: Exhibit) -> None:
        """Fill the target's side of an exhibit."""
        marked: dict[int, set[int]] = {}
        for leaf in finding.leaves:
            for number, path in self.carried.get(leaf, ()):
                line = self._text(number)[1].get(path)
                if line is not None:
                    marked.setdefault(number, set()).add(line)
        for number in sorted(marked):
            exhibit.target += _excerpts(*self._head(number), self._text(number)[0], marked[number], offset=self._offset(number))
        _cut(exhibit, exhibit.target, 1)
        set_by = sorted({text for leaf in finding.leaves for text in self.settings.get(leaf, ())})
        if set_by:
            exhibit.note = "; ".join(set_by)
        elif not exhibit.target:
            self._rest(finding, exhibit)

    def _rest(self, finding: Finding, exhibit: Exhibit) -> None:
        """Where no line carries what the finding names: what the object became besides, if anything."""
        known = self.result.known
        documents = sorted({known.number(leaf) for leaf in finding.leaves} or {finding.document if finding.document is not None else -1})
        made = list(dict.fromkeys(number for document in documents for number in self.by_document.get(document, ())))
        if not made:
            return
        names = {known.documents[document].name for document in documents}
        exhibit.note = (
            "No line of the output carries these values. What the object became besides:" if finding.leaves else "What the object became:"
        )
        number = min(made, key=lambda each: not any(name in self._head(each)[1] for name in names))  # best one that is called after it
        text = self._text(number)[0]
        file, about = self._head(number)
        exhibit.target = [Excerpt(file, about, 1 + self._offset(number), tuple(text[:12]), frozenset())]
        exhibit.more = (exhibit.more[0], len(made) - 1)

    def _head(self, number: int) -> tuple[str, str]:
        manifest = self.result.manifests[number]
        if manifest.kind:
            return manifest.file, manifest.kind
        metadata = manifest.object["metadata"]
        return manifest.file, called(str(manifest.object["kind"]), metadata.get("namespace"), str(metadata["name"]))

    def _offset(self, number: int) -> int:
        """The lines above a manifest in the file that it is written to."""
        file = self.result.manifests[number].file
        if number not in self.offsets:
            above = 0
            for each in self.by_file[file]:
                self.offsets[each] = above
                above += self._stream(each).count("\n") + 1  # and the separator
        return self.offsets[number]

    def _stream(self, number: int) -> str:
        from meshport.writing import stream

        if number not in self.streams:
            self.streams[number] = stream([self.result.manifests[number]], self.result.bundle)
        return self.streams[number]

    def _text(self, number: int) -> tuple[list[str], dict[tuple[Part, ...], int]]:
        """A manifest's lines, masked, and the line of each of its values."""
        from meshport.documents import load_stream

        if number not in self.texts:
            again = load_stream(self._stream(number).rstrip("\n"), "output")
            places = {path: line for document in again.documents for leaf, path, _ in again.walk(document) if (line := again.line(leaf))}
            self.texts[number] = masking.lines(again, "output"), places
        return self.texts[number]
