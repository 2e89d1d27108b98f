"""Where findings and leaves stand, as the report and the terminal say it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshport.report.words import position
from meshport.suppression import document_of

if TYPE_CHECKING:
    from meshport.documents import Bundle
    from meshport.findings import Finding
    from meshport.report import model


def location(finding: Finding, bundle: Bundle) -> model.Location | None:
    """Where a finding points to: the place or the leaf it names, else the first leaf of its document that says more than whose it is, else its document."""
    if finding.line is not None or (finding.file is not None and finding.document is None and not finding.leaves):
        return {
            "file": finding.file,
            "document": finding.file_document,
            "line": finding.line,
            "column": finding.column,
            "path": finding.path,
        }
    found: model.Location
    if finding.leaves:
        leaf = _telling(finding, bundle) if finding.at is None else finding.at
        owner = bundle.owner(leaf)
        found = {
            "file": owner.file,
            "document": owner.index,
            "line": bundle.line(leaf),
            "column": bundle.column(leaf),
            "path": bundle.path(leaf),
        }
    else:
        document = document_of(finding, bundle)
        if document is None:
            return None
        owner = document
        found = {"file": owner.file, "document": owner.index, "line": owner.line or None, "column": None, "path": finding.path}
    if owner.item is not None:
        found["item"] = owner.item
    return found


_NAMES = ("apiVersion", "kind", "metadata.name", "metadata.namespace")


def _telling(finding: Finding, bundle: Bundle) -> int:
    """The first leaf of the document that a finding is about, those that only name the object left aside where there are others; else its first leaf at all."""
    own = [leaf for leaf in sorted(finding.leaves) if bundle.number(leaf) == finding.document]
    return next((leaf for leaf in own if bundle.path(leaf) not in _NAMES), own[0] if own else min(finding.leaves))


def place(leaf: int, bundle: Bundle) -> model.Place:
    """A leaf by file, document and path."""
    owner = bundle.owner(leaf)
    found: model.Place = {"file": owner.file, "document": owner.index, "path": bundle.path(leaf)}
    if owner.item is not None:
        found["item"] = owner.item
    return found


def short(finding: Finding, bundle: Bundle) -> str:
    """`file:line:column`, as far as it is known; "" where a finding has no place."""
    return position(location(finding, bundle))
