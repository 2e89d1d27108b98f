"""What the tests of lints share: the findings of a text, with their places."""

from __future__ import annotations

from dataclasses import dataclass

import meshport


@dataclass(frozen=True)
class Said:
    code: str
    severity: str
    path: str  # of the leaf that the finding points to
    line: int
    message: str
    remedy: str


def lint(text: str, source: str, version: str | None = None) -> list[Said]:
    bundle = meshport.load_text(text)
    found = []
    for item in meshport.lint(bundle, source=source, source_version=version):
        first = item.at if item.at is not None else item.leaves[0] if item.leaves else None
        path, line = (bundle.path(first), bundle.line(first) or 0) if first is not None else ("", 0)
        found.append(Said(item.code, item.severity, path, line, item.message, item.remedy))
    return found


def only(code: str, text: str, source: str, version: str | None = None) -> Said:
    """The one finding of this code."""
    (found,) = [item for item in lint(text, source, version) if item.code == code]
    assert found.line > 0 and found.remedy
    return found


def none(code: str, text: str, source: str, version: str | None = None) -> bool:
    return code not in {item.code for item in lint(text, source, version)}


@dataclass(frozen=True)
class Case:
    """A mistake in a few lines, where it is found, and the edit after which it is gone."""

    code: str
    severity: str
    path: str
    text: str
    old: str
    new: str
    version: str | None = None

    @property
    def name(self) -> str:
        return f"{self.code}-{self.path}"


def judge(case: Case, source: str, world: str = "") -> None:
    """The mistake is found once, at its place, and is gone once it is mended."""
    (found,) = [item for item in lint(case.text + world, source, case.version) if item.code == case.code]
    assert (found.severity, found.path) == (case.severity, case.path)
    assert found.line > 0 and found.remedy
    assert case.old in case.text
    assert none(case.code, case.text.replace(case.old, case.new) + world, source, case.version)


@dataclass(frozen=True)
class Row:
    """A row of a table of mistakes: the mistake with the place that is named, and what looks like it and is none."""

    title: str
    code: str
    path: str
    text: str
    near: str
    version: str | None = None


def row(case: Row, source: str) -> None:
    """The mistake is said once, where it stands, with a way out, and is the only error; of the other text there is nothing to mend."""
    found = lint(case.text, source, case.version)
    (said,) = [item for item in found if item.code == case.code]
    assert said.path == case.path
    assert said.line > 0 and said.remedy
    assert [item.code for item in found if item.severity == "error" and item.code != case.code] == []
    assert [item for item in lint(case.near, source, case.version) if item.severity != "info"] == []
