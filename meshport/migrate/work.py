"""How much work a migration is: what is in the bundle, what becomes of each pattern, and who has to look at which resource."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshport.mapping.table import Table, dialect_of_group
from meshport.report.audited import Effort, FeatureUse, KindCount, NamespaceReadiness, PatternUse
from meshport.report.build import home_of, pattern_of
from meshport.suppression import document_of

if TYPE_CHECKING:
    from meshport.documents import Bundle
    from meshport.findings import Finding
    from meshport.ledger import Ledger
    from meshport.pipeline import Result

KEPT = frozenset(("translated", "installed", "irrelevant", "passed_through"))
LOST = frozenset(("dropped", "invalid", "manual", "unaccounted"))
FORMULAS = {
    "readiness": "(translated + installed + irrelevant + passed through) / all counted leaves; a leaf is one value of the configuration, and 1 is everything",
    "automatic": "resources of which every leaf is carried exactly and that no warning or error is about",
    "review": "resources with an approximated leaf, or that a warning is about: the output stands, somebody has to agree with it",
    "manual": "resources with a dropped, invalid or manual leaf, or that an error is about: somebody has to decide or to write something",
}
"""How the numbers are made, as the report prints it."""


def inventory(bundle: Bundle) -> list[KindCount]:
    """Objects by kind, those of the meshes first."""
    found: dict[tuple[str, str], list[tuple[str, str | None]]] = {}
    for document in bundle.documents:
        if document.kind:
            name = dialect_of_group(document.group) or "kubernetes"
            found.setdefault((name, document.kind), []).append((document.api_version, document.namespace))
    return [
        KindCount(
            dialect=name,
            kind=kind,
            api_versions=sorted({version for version, _ in said}),
            objects=len(said),
            namespaces=len({namespace for _, namespace in said if namespace}),
        )
        for (name, kind), said in sorted(found.items(), key=lambda item: (item[0][0] == "kubernetes", item[0]))
    ]


@dataclass(slots=True)
class _Tally:
    """Leaves by disposition, and resources by who has to look at them."""

    leaves: Counter[str] = field(default_factory=Counter)
    resources: dict[int, str] = field(default_factory=dict)
    features: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def readiness(self) -> float:
        whole = sum(self.leaves.values())
        return round(sum(self.leaves[name] for name in KEPT) / whole, 4) if whole else 1.0

    @property
    def effort(self) -> Effort:
        counts = Counter(self.resources.values())
        return Effort(automatic=counts["automatic"], review=counts["review"], manual=counts["manual"])


@dataclass(slots=True)
class Work:
    """The work by pattern, by namespace and in all."""

    patterns: list[PatternUse]
    namespaces: list[NamespaceReadiness]
    effort: Effort


def work(result: Result, table: Table) -> Work:
    """Who has to look at what. A resource counts once in all, once in its namespace, and once in each pattern that one of its leaves is of."""
    bundle, options = result.known, result.options
    judged = _judged(result.ledger, result.findings, bundle)
    patterns: dict[str, _Tally] = {}
    namespaces: dict[str, _Tally] = {}
    whole = _Tally()
    for leaf, feature, disposition in result.ledger.judged():
        owner = bundle.owner(leaf)
        home = home_of(owner, options.default_namespace)
        rating = judged[owner.first]
        tallies = [whole, namespaces.setdefault(home, _Tally())]
        if feature:
            tallies.append(patterns.setdefault(pattern_of(feature, table), _Tally()))
            tallies[-1].features.setdefault(feature, Counter())[disposition] += 1
        for tally in tallies:
            tally.leaves[disposition] += 1
            tally.resources[owner.first] = rating
    known = {pattern.name: pattern for pattern in table.patterns()}
    uses = []
    for name, tally in sorted(patterns.items()):
        pattern = known.get(name)
        uses.append(
            PatternUse(
                pattern=name,
                title=pattern.title if pattern is not None else name,
                before=pattern.summary.get(options.source, "") if pattern is not None else "",
                after=pattern.summary.get(options.target, "") if pattern is not None else "",
                resources=len(tally.resources),
                effort=tally.effort,
                readiness=tally.readiness,
                features=[
                    _feature(feature, count, table, options.target, options.target_version)
                    for feature, count in sorted(tally.features.items())
                ],
            )
        )
    blockers = _blockers(result.findings, bundle, options.default_namespace)
    rows = [
        NamespaceReadiness(
            namespace=name, resources=len(tally.resources), effort=tally.effort, readiness=tally.readiness, blockers=blockers.get(name, [])
        )
        for name, tally in sorted(namespaces.items())
    ]
    return Work(uses, rows, whole.effort)


def _judged(ledger: Ledger, findings: Iterable[Finding], bundle: Bundle) -> dict[int, str]:
    """Who has to look at each resource, by its first leaf."""
    found: dict[int, str] = {}
    for leaf, _, disposition in ledger.judged():
        first = bundle.owner(leaf).first
        rating = "manual" if disposition in LOST else "review" if disposition == "approximated" else "automatic"
        found[first] = _worse(found.get(first, "automatic"), rating)
    for finding in findings:
        document = document_of(finding, bundle)
        if finding.suppressed is None and finding.severity != "info" and document is not None and document.first in found:
            found[document.first] = _worse(found[document.first], "manual" if finding.severity == "error" else "review")
    return found


def _worse(one: str, other: str) -> str:
    order = ("automatic", "review", "manual")
    return max(one, other, key=order.index)


def _feature(name: str, became: Counter[str], table: Table, target: str, version: str) -> FeatureUse:
    cell, row = table.support(name, target, version), table.feature(name)
    said = "" if set(became) <= KEPT else re.sub(r"\{\w+\}", "…", cell.message or cell.reason)
    return FeatureUse(
        feature=name,
        title=row.title if row is not None else name,
        support=cell.support,
        leaves=sum(became.values()),
        became=dict(sorted(became.items())),
        says=said,
    )


def _blockers(findings: list[Finding], bundle: Bundle, default: str) -> dict[str, list[int]]:
    """The error findings that are not suppressed, by the namespaces that they are about."""
    found: dict[str, list[int]] = {}
    for number, finding in enumerate(findings):
        if finding.severity != "error" or finding.suppressed is not None:
            continue
        homes = {item.namespace for item in finding.affects if item.namespace}
        document = document_of(finding, bundle)
        if not homes and document is not None:
            homes = {home_of(document, default)}
        for home in homes:
            found.setdefault(home, []).append(number)
    return found
