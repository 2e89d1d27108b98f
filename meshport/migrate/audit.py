"""The migration audit: what a conversion would come to, for those who decide about it.

The report of a conversion with the member that answers their questions. Nothing is written: a conversion is made, and what it found is counted and compared.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, cast

from meshport._resources import data
from meshport.effective.access import Access
from meshport.ir.base import Fact
from meshport.ir.model import IR
from meshport.migrate.access import matrix
from meshport.migrate.encryption import Side, coverage, node_encryption
from meshport.migrate.work import FORMULAS, inventory, work
from meshport.report import build, masking
from meshport.report.audited import AccessMatrix, AssetFate, Audit, Exemption, Provenance
from meshport.report.model import AuditReport
from meshport.selection import Selection
from meshport.suppression import document_of

if TYPE_CHECKING:
    from meshport.pipeline import Result
    from meshport.suppression import Rule


def report(result: Result) -> AuditReport:
    """The report of a conversion with its audit."""
    said = AuditReport(**build.members(result), audit=audit(result, result.rules))
    return cast("AuditReport", masking.covered(said, masking.told(result.known)))


def audit(result: Result, rules: Sequence[Rule] = ()) -> Audit:
    """What the decision needs beside the findings. `rules` are the waivers that were in force, whether they met a finding or not."""
    before, after = sides(result)
    found = work(result, result.table)
    return Audit(
        provenance=_provenance(result),
        inventory=inventory(result.bundle),
        patterns=found.patterns,
        namespaces=found.namespaces,
        effort=found.effort,
        formulas=FORMULAS,
        encryption=coverage(before, after),
        access=access(result, before, after),
        exceptions=_exceptions(result, rules),
        assets=_assets(result),
    )


def access(result: Result, before: Side, after: Side) -> AccessMatrix:
    """The access matrix of a conversion; `before` and `after` are its sides."""
    chosen = Selection(result.known, len(result.bundle.documents), result.options)
    owns = None if chosen.every or not (result.options.select or result.options.namespaces) else chosen.owns
    return matrix(before, after, result.canonical, result.verification, result.findings, owns)


def _assets(result: Result) -> list[AssetFate]:
    numbers = {id(finding): number for number, finding in enumerate(result.findings)}
    return [
        AssetFate(
            file=one.file,
            kind=one.kind,
            namespace=one.namespace,
            name=one.name,
            expressions=one.expressions,
            translated=one.translated,
            refused=one.refused,
            unchanged=one.unchanged,
            findings=sorted({numbers[id(finding)] for finding in one.findings if id(finding) in numbers}),
        )
        for one in result.assets
    ]


def sides(result: Result) -> tuple[Side, Side]:
    """What the conversion's input does, and what its output does."""
    files = {}
    for manifest in result.manifests:
        value = manifest.object
        metadata = value.get("metadata")
        if manifest.kind or not isinstance(metadata, dict):
            continue
        group = str(value["apiVersion"]).rpartition("/")[0]
        namespace = metadata.get("namespace")
        files[group, str(value["kind"]), namespace if isinstance(namespace, str) else None, str(metadata.get("name"))] = manifest.file
    helm = result.install["helm_values"].get("cilium")
    return (
        Side(result.before, _access(result.before), result.known, result.options, "before", node_encryption(result.before)),
        Side(result.after, _access(result.after), result.read_back, result.options, "after", node_encryption(result.after, helm), files),
    )


def _access(ir: IR) -> Access:
    return Access(ir, Fact("all-unauthenticated"))


def _provenance(result: Result) -> Provenance:
    from meshport import __version__

    whole = hashlib.sha256()
    for source in result.bundle.files:
        whole.update(f"{source.sha256}  {source.file}\n".encode("utf-8", "surrogateescape"))
    return Provenance(meshport_version=__version__, inputs=whole.hexdigest(), table=_table_hash(), date=_date())


def _date() -> str | None:
    """The day that the environment gives a build (reproducible-builds.org, SOURCE_DATE_EPOCH)."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(epoch), UTC).date().isoformat() if epoch.isdigit() and len(epoch) < 12 else None


@lru_cache(maxsize=1)
def _table_hash() -> str:
    """SHA-256 over the built-in rows, file by file in the order of their names."""
    whole = hashlib.sha256()

    def add(folder: Traversable, name: str) -> None:
        for entry in sorted(folder.iterdir(), key=lambda item: item.name):
            if entry.is_dir():
                add(entry, f"{name}{entry.name}/")
            elif entry.name.endswith(".yaml"):
                whole.update(f"{name}{entry.name}\n".encode() + entry.read_bytes())

    add(data("mappings"), "")
    return whole.hexdigest()


def _exceptions(result: Result, rules: Sequence[Rule]) -> list[Exemption]:
    """Every waiver with what it covers."""
    expired = {finding.line for finding in result.findings if finding.code == "MP041"}
    found = []
    for rule in rules:
        if rule.by != "waiver" or rule.expires is None:
            continue
        covers = [
            number
            for number, finding in enumerate(result.findings)
            if finding.suppressed is not None
            and finding.suppressed["by"] == "waiver"
            and finding.suppressed["owner"] == rule.owner
            and rule.fits(finding, document_of(finding, result.known))
        ]
        found.append(
            Exemption(
                code=rule.code,
                resource=rule.resource,
                owner=rule.owner or "",
                reason=rule.reason or "",
                expires=rule.expires.isoformat(),
                state="active" if covers else "expired" if rule.line in expired else "unused",
                file=rule.file,
                line=rule.line,
                findings=covers,
            )
        )
    return found
