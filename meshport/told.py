"""What becomes of the names in the input that nothing is written because of: they are lost with the rest of their object, or by the finding that tells them."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from meshport.documents import Document
    from meshport.findings import Finding
    from meshport.mapping.bound import Bound

_TELLING = ("identity.name", "identity.namespace", "destination.host", "routing.host", "metrics.route-label")
"""Features whose value a finding may say to tell what it is about."""


def with_the_rest(
    bound: Bound, dispositions: dict[int, str], reasons: dict[int, str], findings: Iterable[Finding], naming: set[int]
) -> None:
    """Let what names whom the rest of its object is for be lost with the rest: by the finding whose leaves stand nearest to it."""
    waiting = {leaf for leaf in naming if dispositions.get(leaf) == "irrelevant"}
    documents = {bound.bundle.number(leaf) for leaf in waiting}
    losing: dict[int, list[tuple[int, Finding]]] = {}
    for finding in findings if waiting else ():
        if finding.disposition in ("dropped", "manual"):
            for leaf in finding.leaves:
                if dispositions.get(leaf) == finding.disposition and (number := bound.bundle.number(leaf)) in documents:
                    losing.setdefault(number, []).append((leaf, finding))
    for leaf in sorted(waiting):
        path = bound.bundle.parts(leaf)
        near = [(_shared(path, bound.bundle.parts(other)), -other, found) for other, found in losing.get(bound.bundle.number(leaf), ())]
        if near:
            lost = max(near, key=lambda entry: entry[:2])[2]
            lost.at = min(lost.leaves) if lost.at is None else lost.at
            lost.leaves = tuple(sorted((*lost.leaves, leaf)))
            dispositions[leaf] = str(lost.disposition)
            reasons.pop(leaf, None)


def by_findings(bound: Bound, dispositions: dict[int, str], reasons: dict[int, str], findings: Iterable[Finding]) -> None:
    """Let what an object of a mesh is called, and the host that it is for, be lost by the finding that tells it, where it decides nothing else: with another
    name the finding would read differently."""
    waiting: dict[int, list[tuple[int, Callable[[str], bool]]]] = {}
    for leaf, disposition in dispositions.items():
        if disposition != "irrelevant" or leaf in bound.repeated or bound.feature(leaf) not in _TELLING:
            continue
        number, value = bound.bundle.number(leaf), bound.bundle.value(leaf)
        if bound.mesh[number] and isinstance(value, str) and value:
            document = bound.bundle.documents[number]
            says = _calls(document) if bound.bundle.parts(leaf)[0] == "metadata" else _word(value)
            waiting.setdefault(number, []).append((leaf, says))
    for finding in findings if waiting else ():
        own = {finding.document} if finding.document is not None else {bound.bundle.number(leaf) for leaf in finding.leaves}
        for leaf, says in chain.from_iterable(waiting.get(number, ()) for number in own):
            if dispositions[leaf] == "irrelevant" and says(finding.message):
                finding.at = min(finding.leaves) if finding.at is None and finding.leaves else finding.at
                finding.leaves = tuple(sorted((*finding.leaves, leaf)))
                dispositions[leaf] = "manual" if finding.disposition == "manual" else "dropped"
                reasons.pop(leaf, None)


def _calls(document: Document) -> Callable[[str], bool]:
    """Whether a text names the object, and no other one that is called so too."""
    kind, name = re.escape(document.kind), re.escape(document.name)
    place = f"{re.escape(document.namespace)}/" if document.namespace else ""
    named = re.compile(rf"(?:\b([A-Z][A-Za-z]+) )?{_alone(place + name)}" if place else _alone(f"{kind} {name}"))
    return lambda text: any(not found.groups() or found[1] in (None, document.kind) for found in named.finditer(text))


def _word(value: str) -> Callable[[str], bool]:
    """Whether a text says the value as a whole."""
    said = re.compile(_alone(re.escape(value)))
    return lambda text: said.search(text) is not None


def _alone(pattern: str) -> str:
    """An expression for a text that is no part of a longer name."""
    return rf"(?<![A-Za-z0-9_./-]){pattern}(?![A-Za-z0-9_-])"


def _shared(one: tuple[str | int, ...], other: tuple[str | int, ...]) -> int:
    """How many steps two paths have in common from the top."""
    return next((depth for depth, steps in enumerate(zip(one, other, strict=False)) if steps[0] != steps[1]), min(len(one), len(other)))
