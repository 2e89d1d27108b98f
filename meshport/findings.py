"""Findings: what a person has to know, as values.

Severity follows one rule: access newly allowed, encryption or identity lost, invalid source, policy that cannot be said = error; access newly denied,
resilience or routing lost or approximated, manual work = warning (error where traffic would go elsewhere or stop); the rest = info.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

SEVERITIES = ("error", "warning", "info")
EFFECTS = ("widens", "narrows", "changes", "none")


@dataclass(frozen=True, slots=True)
class Affected:
    """A destination that a finding concerns; None in `workload` or `port` means all."""

    namespace: str | None
    workload: str | None = None
    port: int | None = None


@dataclass(slots=True)
class Finding:
    """One finding. `leaves` are leaf ids, smallest first; `explains` names the differences (subject, aspect) that it answers for."""

    code: str
    severity: str
    message: str
    remedy: str = ""
    effect: str = "none"
    disposition: str | None = None
    pattern: str = ""
    feature: str = ""
    affects: tuple[Affected, ...] = ()
    leaves: tuple[int, ...] = ()
    document: int | None = None  # index in the bundle of the document concerned
    file: str | None = None  # for findings about text that made no document
    file_document: int | None = None
    line: int | None = None
    column: int | None = None
    path: str | None = None
    explains: frozenset[tuple[str, str]] = frozenset()
    lost: dict[str, list[Any]] | None = None  # the sets of requests that it says are left out, by subject, where that is known
    witness: dict[str, Any] | None = None
    suppressed: dict[str, Any] | None = field(default=None)
    at: int | None = None  # the leaf that it points to, where that is not the first

    @property
    def docs(self) -> str:
        return f"https://meshport.dev/findings/{self.code}"

    def counts(self, fail_on: str) -> bool:
        """Whether the finding fails a run with `--fail-on fail_on`."""
        if self.suppressed is not None or fail_on == "never":
            return False
        return SEVERITIES.index(self.severity) <= SEVERITIES.index(fail_on)


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Findings as a person reads them: worst first, then by code and text. The order does not depend on where the input stood."""
    return sorted(findings, key=lambda item: (SEVERITIES.index(item.severity), item.code, item.message, item.path or "", item.leaves))


def in_one(messages: list[str]) -> str:
    """Messages that differ in one place as one that names all of it there."""
    words = [message.split() for message in dict.fromkeys(messages)]
    if len(words) == 1:
        return messages[0]
    shortest = min(map(len, words))
    head = next((number for number in range(shortest) if len({tuple(one[: number + 1]) for one in words}) > 1), shortest)
    tail = next((number for number in range(shortest - head) if len({tuple(one[-number - 1 :]) for one in words}) > 1), shortest - head)
    *others, last = [middle for middle in (" ".join(one[head : len(one) - tail]) for one in words) if middle] or [""]
    after = words[0][len(words[0]) - tail :]
    if others and after[:1] == ["is"]:
        after[0] = "are"
    return " ".join([*words[0][:head], f"{', '.join(others)} and {last}" if others else last, *after])


FEW, SHOWN = 5, 10


def gathered(findings: list[Finding]) -> list[Finding]:
    """More than a few findings about one document that differ in one name alone as one, of all of them: a profile of a hundred routes has one of each kind."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for one in findings:
        if one.document is not None and one.witness is None and one.leaves:
            key = (one.code, one.severity, one.effect, one.disposition, one.pattern, one.feature, one.remedy, one.affects, one.document)
            groups.setdefault(key, []).append(one)
    gone: set[int] = set()
    for alike in groups.values():
        text = _with_names([one.message for one in alike]) if len(alike) > FEW else ""
        if text:
            first, *others = alike
            first.message = text
            first.at = first.at if first.at is not None else first.leaves[0]
            first.leaves = tuple(sorted({leaf for one in alike for leaf in one.leaves}))
            first.explains = frozenset().union(*(one.explains for one in alike))
            gone.update(map(id, others))
    return [one for one in findings if id(one) not in gone]


def _with_names(messages: list[str]) -> str:
    """One message for those that differ in one name; "" where they differ in more."""
    words = [message.split(" ") for message in dict.fromkeys(messages)]
    if len(words) <= FEW or len({len(one) for one in words}) > 1:
        return ""
    differ = [place for place, column in enumerate(zip(*words, strict=True)) if len(set(column)) > 1]
    if len(differ) != 1:
        return ""
    (place,) = differ
    names = [one[place] for one in words]
    end = names[0][-1] if all(name[-1:] == names[0][-1:] and name[-1:] in ":,;" for name in names) else ""
    shown = [name.removesuffix(end) for name in names]
    text = (
        ", ".join(shown[:SHOWN]) + f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else f"{', '.join(shown[:-1])} and {shown[-1]}"
    )
    return " ".join([*words[0][:place], text + end, *words[0][place + 1 :]])
