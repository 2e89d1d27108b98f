"""`--namespace` and `--select`: what of a bundle is converted. Everything else that was read is knowledge, and so is all of `--context`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from meshport.dialects.base import Options
from meshport.errors import UsageError
from meshport.findings import Affected, Finding

if TYPE_CHECKING:
    from meshport.dialects.output import Obj
    from meshport.documents import Bundle, Document
    from meshport.mapping.table import Table

_FOR_CLIENTS = ("VirtualService", "DestinationRule", "ServiceProfile", "TrafficSplit")
"""What clients do with their requests: where these alone are converted, nobody is let in or refused."""


class Selection:
    """The documents that are converted, by their number in the bundle; `every` where that is all of them."""

    def __init__(self, bundle: Bundle, own: int, options: Options) -> None:
        self._bundle = bundle
        self._options = options
        self._wanted = [tuple(value.split("/")) for value in options.select]
        self.chosen = {number for number, document in enumerate(bundle.documents[:own]) if self._fits(document)}
        self.every = len(self.chosen) == len(bundle.documents)
        deciding = [document for number in self.chosen if (document := bundle.documents[number]).kind not in _FOR_CLIENTS]
        self._homes = {home for document in deciding if (home := self._home(document))} | set(options.namespaces)
        self.outside = frozenset(range(len(bundle.documents))) - self.chosen
        if own:
            self._check(bundle.documents[:own])

    def _check(self, documents: Sequence[Document]) -> None:
        """Raises UsageError for a name that nothing bears: a misspelt one among others would leave its part out in silence."""
        homes = sorted({home for document in documents if (home := self._home(document))})
        read = f"the namespaces read are {', '.join(homes[:8])}{' and more' if len(homes) > 8 else ''}"
        for name in self._options.namespaces:
            if name not in homes and name != self._options.default_namespace:  # every cluster has that one
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
        return self._home(document) in self._options.namespaces or any(self._named(document, parts) for parts in self._wanted)

    def _named(self, document: Document, parts: tuple[str, ...]) -> bool:
        kind, name = parts[0], parts[-1]
        same = kind.lower() == document.kind.lower() and name == document.name
        return same and (len(parts) == 2 or parts[1] in ("", document.namespace or self._home(document)))

    @staticmethod
    def _home(document: Document) -> str:
        """The namespace that a document is of, "" where it is of none; a Namespace is of itself."""
        return document.name if document.kind == "Namespace" and not document.group else document.namespace or ""

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
        if not obj.origins or obj.origins[0] in self.chosen or obj.ref.namespace in self._options.namespaces:
            return True
        shown = self._bundle.documents[obj.origins[0]].group in ("", "apps", "batch")  # the pods that several policies together are about
        return shown and any(self.owns(leaf) for src in obj.sources.values() for leaf in src)

    def concerns(self, finding: Finding) -> bool:
        """Whether a finding is about what is converted, or about no document and no place elsewhere."""
        if self.every:
            return True
        if finding.document is None and not finding.leaves:
            places = {place.namespace for place in finding.affects}
            return not places or None in places or not places.isdisjoint(self._homes)
        return finding.document in self.chosen or any(self.owns(leaf) for leaf in finding.leaves)

    def acting(self, objects: Iterable[Obj]) -> dict[str, set[int]]:
        """By namespace: the documents that the objects written there are because of."""
        found: dict[str, set[int]] = {}
        for obj in objects:
            if not self.every and self.writes(obj):
                found.setdefault(obj.ref.namespace or obj.ref.name, set()).update(
                    self._number(leaf) for src in obj.sources.values() for leaf in src
                )
        return found

    def acts(self, finding: Finding, acting: Mapping[str, set[int]]) -> bool:
        """Whether a finding about a document outside tells of what is converted: its rules are in what is written there (`acting`), it decides who is
        admitted in a namespace that was asked for, or it is the error of an object that stands above all namespaces."""
        if finding.document is None and not finding.leaves:
            return False
        number = finding.document if finding.document is not None else self._number(finding.leaves[0])
        places = {place.namespace for place in finding.affects if place.namespace}
        if any(number in acting.get(name, ()) for name in places):
            return True
        if not self._options.namespaces:
            return False
        if finding.effect in ("widens", "narrows") and not places.isdisjoint(self._options.namespaces):
            return True
        above = self._home(self._bundle.documents[number]) in ("", self._options.root_namespace)
        return finding.severity == "error" and not places and above

    def moves(self, namespace: str) -> bool:
        """Whether a namespace is taken over as a whole, with the workloads in it."""
        return (
            self.every
            or namespace in self._options.namespaces
            or any(
                self._bundle.documents[number].kind == "Namespace" and self._bundle.documents[number].name == namespace
                for number in self.chosen
            )
        )

    def types(self, namespace: str | None, src: Iterable[int]) -> bool:
        """Whether a command is one of the conversion: it is about no namespace or one that was asked for, or what is converted asks for it."""
        return self.every or namespace is None or namespace in self._options.namespaces or any(self.owns(leaf) for leaf in src)

    def decides(self, namespace: str | None, src: Iterable[int]) -> bool:
        """Whether a difference at a destination is one of what is converted: it is there, or leaves that decided there are of it."""
        return self.every or namespace in self._homes or any(self.owns(leaf) for leaf in src)

    def here(self, places: tuple[Affected, ...]) -> tuple[Affected, ...]:
        """The destinations in the namespaces that are converted."""
        return tuple(place for place in places if place.namespace is None or place.namespace in self._homes)

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
