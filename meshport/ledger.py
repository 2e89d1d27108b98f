"""What became of every leaf of the input: computed from what reached the output and from what findings name, never asserted.

Counted are all leaves of mesh documents, and of other documents the mesh labels and annotations and every leaf that was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from meshport.dialects.output import SERVER_WRITTEN
from meshport.documents import format_path
from meshport.findings import Finding

if TYPE_CHECKING:
    from meshport.dialects.output import Output
    from meshport.documents import Bundle
    from meshport.mapping.bound import Bound

DISPOSITIONS = ("translated", "approximated", "installed", "manual", "dropped", "invalid", "irrelevant", "passed_through", "unaccounted")
DECIDING = ("authorization.action", "authorization.deny", "authorization.audit", "authorization.dry-run", "server.access-policy")
"""Features whose value decides by itself: with another one the same object would come to something, also where as it stands it comes to nothing."""
_LOSSES = ("invalid", "dropped", "manual", "approximated", "installed")


@dataclass(slots=True)
class Line:
    """One leaf. `outputs` are {file, path}; `codes` the findings that name it; `reason` why it decides nothing."""

    file: str | None
    document: int
    line: int | None
    path: str
    value: Any
    feature: str
    disposition: str
    codes: list[str]
    outputs: list[dict[str, str | None]]
    item: int | None = None
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The line as the ledger file has it."""
        out: dict[str, Any] = {"file": self.file, "document": self.document}
        if self.item is not None:
            out["item"] = self.item
        out.update(
            line=self.line,
            path=self.path,
            value=self.value,
            feature=self.feature,
            disposition=self.disposition,
            codes=self.codes,
            outputs=self.outputs,
        )
        if self.reason:
            out["reason"] = self.reason
        return out


@dataclass(slots=True)
class Account:
    """Per leaf id: its disposition and why."""

    dispositions: dict[int, str] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)

    def limit(self, owns: Callable[[int], bool]) -> None:
        """Keep the leaves of what is converted alone."""
        self.dispositions = {leaf: disposition for leaf, disposition in self.dispositions.items() if owns(leaf)}

    def settle(self, findings: Iterable[Finding]) -> None:
        """Let findings say what became of their leaves: of what was to be approximated or installed nothing may be written."""
        for finding in findings:
            nearly = finding.disposition in ("approximated", "installed") and finding.leaves
            if nearly and all(self.dispositions.get(leaf) == "dropped" for leaf in finding.leaves):
                finding.disposition = "dropped"

    @property
    def unaccounted(self) -> list[int]:
        return [leaf for leaf, disposition in self.dispositions.items() if disposition == "unaccounted"]


def account(bound: Bound, out: Output, findings: Iterable[Finding], read: set[int]) -> Account:
    """The disposition of every counted leaf."""
    reached = out.written()
    installed = {leaf for item in out.installs.values() for leaf in item.src} | {leaf for src in out.commands.values() for leaf in src}
    said: dict[int, set[str]] = {}
    for finding in findings:
        if finding.disposition in _LOSSES:
            for leaf in finding.leaves:
                said.setdefault(leaf, set()).add(finding.disposition)
    standing = set(_standing(bound, out))
    kept = set(_kept(bound, out, said))
    result = Account()
    for number, document in enumerate(bound.bundle.documents):
        mesh = bound.mesh[number]
        for leaf in range(document.first, document.first + document.count):
            if not mesh and leaf not in bound.meta_leaves and leaf not in read and leaf not in reached:
                continue
            disposition, reason = _judge(bound, out, leaf, mesh, reached, installed, standing, kept, said.get(leaf, set()))
            result.dispositions[leaf] = disposition
            if reason:
                result.reasons[leaf] = reason
    return result


def _standing(bound: Bound, out: Output) -> Iterator[int]:
    """The leaves that stand in a changed copy of their object as they stood in the object."""
    for obj in out.objects.values():
        if obj.changed is None or obj.value == (document := bound.bundle.documents[obj.changed]).value:
            continue
        for leaf, path, value in bound.bundle.walk(document):
            found: Any = obj.value
            for step in path:
                if isinstance(found, list):
                    found = found[step] if isinstance(step, int) and step < len(found) else None
                else:
                    found = found.get(step) if isinstance(found, dict) else None
            if found is not None and found == value:
                yield leaf


def _kept(bound: Bound, out: Output, said: dict[int, set[str]]) -> Iterator[int]:
    """The leaves of documents of a mesh of which all stays in the cluster as it is, but for what the cluster itself writes into them."""
    changed = {obj.changed for obj in out.objects.values()}
    for number, document in enumerate(bound.bundle.documents):
        if not bound.mesh[number] or number in bound.broken or number in out.removed or number in changed:
            continue
        leaves = range(document.first, document.first + document.count)
        if any("dropped" in said.get(leaf, ()) for leaf in leaves):
            continue
        for leaf, path, _ in bound.bundle.walk(document):
            if path[0] != "status" and (path[0] != "metadata" or path[1] not in SERVER_WRITTEN):
                yield leaf


def _judge(
    bound: Bound,
    out: Output,
    leaf: int,
    mesh: bool,
    reached: set[int],
    installed: set[int],
    standing: set[int],
    kept: set[int],
    said: set[str],
) -> tuple[str, str]:
    if leaf in bound.repeated:
        return "irrelevant", "the same object stands there again, word for word"
    if leaf in bound.invalid:
        return "invalid", ""
    if leaf in reached:
        if said & {"dropped", "approximated", "manual", "installed"}:
            return "approximated", ""
        return "translated", ""
    for disposition in ("invalid", "dropped", "manual"):
        if disposition in said:
            return disposition, ""
    if leaf in installed:
        return "installed", ""
    if said:
        return "dropped", ""  # the target has something near it, and nothing of this value is in it
    if leaf in standing and (mesh or leaf in bound.meta_leaves):
        return "translated", "stands in the changed object as it stood"
    if leaf in kept:
        return "translated", "stays as it is"
    if leaf in out.irrelevant:
        return "translated" if bound.feature(leaf) in DECIDING else "irrelevant", out.irrelevant[leaf]
    if leaf in out.implied:
        return "translated", out.implied[leaf]
    binding = bound.bindings[leaf]
    if binding is not None and (reason := binding.reason_for(bound.bundle.value(leaf))):
        return "irrelevant", reason
    if bound.bundle.value(leaf) is None:
        return "irrelevant", "null is as if the key were not there"
    if not mesh and (leaf not in bound.meta_leaves or leaf in out.passing):
        return "passed_through", ""
    return "unaccounted", ""


class Ledger:
    """The lines, in the order of the input, and their counts. Iterable."""

    def __init__(self, bound: Bound, result: Account, out: Output, findings: list[Finding], files: dict[int, str | None]) -> None:
        self._bound = bound
        self._account = result
        self._codes: dict[int, list[str]] = {}
        for finding in findings:
            for leaf in finding.leaves:
                codes = self._codes.setdefault(leaf, [])
                if finding.code not in codes:
                    codes.append(finding.code)
        self._out = out
        self._files = files
        self._outputs: dict[int, list[dict[str, str | None]]] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Leaves by disposition, and their sum as `leaves`."""
        found = dict.fromkeys(DISPOSITIONS, 0)
        for disposition in self._account.dispositions.values():
            found[disposition] += 1
        return {"leaves": sum(found.values()), **found}

    def __len__(self) -> int:
        return len(self._account.dispositions)

    def judged(self) -> Iterator[tuple[int, str, str]]:
        """(leaf, feature, disposition) of every counted leaf, without the cost of finding its path."""
        for leaf, disposition in self._account.dispositions.items():
            yield leaf, self._bound.feature(leaf), disposition

    def __iter__(self) -> Iterator[Line]:
        outputs = self._reach()
        bundle: Bundle = self._bound.bundle
        for leaf in sorted(self._account.dispositions):
            document = bundle.owner(leaf)
            yield Line(
                document.file,
                document.index,
                bundle.line(leaf),
                bundle.path(leaf),
                None if document.kind == "Secret" else bundle.value(leaf),
                self._bound.feature(leaf),
                self._account.dispositions[leaf],
                sorted(self._codes.get(leaf, [])),
                outputs.get(leaf, []),
                document.item,
                self._account.reasons.get(leaf, ""),
            )

    def _reach(self) -> dict[int, list[dict[str, str | None]]]:
        if self._outputs is None:
            self._outputs = {}
            for obj in self._out.in_order():
                if id(obj) not in self._files:
                    continue  # outside the selection: it is not written
                for path, src in obj.sources.items():
                    entry = {"file": self._files.get(id(obj)), "path": format_path(path)}
                    for leaf in src:
                        self._outputs.setdefault(leaf, []).append(entry)
            for install in self._out.installs.values():
                entry = {"file": f"install/{install.chart}.yaml", "path": install.path}
                for leaf in install.src:
                    self._outputs.setdefault(leaf, []).append(entry)
        return self._outputs
