"""`--namespace` and `--select`: what of a bundle is converted. Everything else that was read is knowledge, and so is all of `--context`."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from meshport.dialects.base import Options
from meshport.errors import UsageError
from meshport.findings import Affected, Finding

if TYPE_CHECKING:
    from meshport.dialects.output import Obj
    from meshport.documents import Bundle, Document
    from meshport.mapping.table import Table


class Selection:
    """The documents that are converted, by their number in the bundle; `every` where that is all of them."""

    def __init__(self, bundle: Bundle, own: int, options: Options) -> None:
        self._bundle = bundle
        self._options = options
        self._wanted = [tuple(value.split("/")) for value in options.select]
        self.chosen = {number for number, document in enumerate(bundle.documents[:own]) if self._fits(document)}
        self.every = len(self.chosen) == len(bundle.documents)
        self.outside = frozenset(range(len(bundle.documents))) - self.chosen
        if own:
            self._check(bundle.documents[:own])

    def _check(self, documents: Sequence[Document]) -> None:
        """Raises UsageError for a name that nothing bears: a misspelt one among others would leave its part out in silence."""
        homes = sorted({self._home(document) for document in documents})
        read = f"the namespaces read are {', '.join(homes[:8])}{' and more' if len(homes) > 8 else ''}"
        for name in self._options.namespaces:
            if name not in homes:
                close = get_close_matches(name, homes, 1)
                raise UsageError(f"--namespace {name}: no document is in it; {read}" + (f"; did you mean {close[0]}?" if close else ""))
        for parts in self._wanted:
            if not any(self._named(document, parts) for document in documents):
                known = ["/".join(filter(None, (item.kind, item.namespace, item.name))) for item in documents]
                close = get_close_matches("/".join(parts), known, 1)
                hint = f"did you mean {close[0]}?" if close else read
                raise UsageError(f"--select {'/'.join(parts)}: no such document was read; {hint}")

    def _fits(self, document: Document) -> bool:
        if not self._options.namespaces and not self._wanted:
            return True
        home = self._home(document)
        if home in self._options.namespaces:
            return True
        return any(self._named(document, parts) for parts in self._wanted)

    def _named(self, document: Document, parts: tuple[str, ...]) -> bool:
        kind, name = parts[0], parts[-1]
        same = kind.lower() == document.kind.lower() and name == document.name
        return same and (len(parts) == 2 or parts[1] in ("", document.namespace or self._home(document)))

    def _home(self, document: Document) -> str:
        itself = document.kind == "Namespace" and not document.group
        return document.name if itself else document.namespace or self._options.default_namespace

    def owns(self, leaf: int) -> bool:
        """Whether a leaf is of a document that is converted."""
        return self.every or self._number(leaf) in self.chosen

    def _number(self, leaf: int) -> int:
        return self._bundle.number(leaf)

    def writes(self, obj: Obj) -> bool:
        """Whether an output is written: its owner is converted, or its namespace was asked for; a changed copy follows its document."""
        if self.every:
            return True
        if obj.changed is not None:
            return obj.changed in self.chosen
        return not obj.origins or obj.origins[0] in self.chosen or obj.ref.namespace in self._options.namespaces

    def concerns(self, finding: Finding) -> bool:
        """Whether a finding is about what is converted, or about no document at all."""
        if self.every or (finding.document is None and not finding.leaves):
            return True
        return finding.document in self.chosen or any(self.owns(leaf) for leaf in finding.leaves)

    def left_out(self, objects: list[Obj], table: Table) -> list[Finding]:
        """A finding for documents outside that the conversion needs changed: they stay as they are, and somebody has to know."""
        outside = [obj for obj in objects if obj.changed is not None and not self.writes(obj) and self._because(obj)]
        if not outside:
            return []
        row = table.codes()["MP042"]
        found = []
        for obj in outside:
            affects = (Affected(obj.ref.namespace or obj.ref.name, None if obj.kind == "Namespace" else obj.ref.name),)
            text = row.message.format(object=f"{obj.kind} {obj.ref}")
            leaves = tuple(sorted(self._because(obj)))
            found.append(
                Finding("MP042", row.severity, text, row.remedy, row.effect, "manual", "input", "input", affects, leaves, obj.changed)
            )
        return found

    def _because(self, obj: Obj) -> set[int]:
        """The leaves of what is converted that a changed copy is changed for."""
        return {leaf for src in obj.sources.values() for leaf in src if self.owns(leaf)}
