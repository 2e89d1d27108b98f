"""From a run to its report."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from meshport.findings import Finding
from meshport.report import masking, model
from meshport.report.places import location, place
from meshport.suppression import subject_of

if TYPE_CHECKING:
    from meshport.compare.diff import Change
    from meshport.compare.verify import Verification
    from meshport.dialects.base import Options
    from meshport.documents import Bundle, Document
    from meshport.ledger import Ledger
    from meshport.mapping.table import Table
    from meshport.pipeline import Manifest, Result

_SEPARATE = {"source", "target", "source_version", "target_version", "data_plane", "routes"}
_KEPT = ("translated", "installed", "irrelevant", "passed_through")
_LOST = {"dropped", "invalid", "unaccounted"}
_NEARLY = {"approximated", "manual"}


def build(result: Result) -> model.Report:
    """The report of a conversion."""
    return model.Report(**masking.covered(members(result), masking.told(result.known)))


def members(result: Result) -> dict[str, Any]:
    """The members of a conversion's report."""
    options, findings = result.options, result.findings
    return {
        "meshport_version": _version(),
        "options": _options(options),
        "source": model.Source(mesh=options.source, version=options.source_version),
        "target": model.Target(mesh=options.target, version=options.target_version, data_plane=options.data_plane, routes=options.routes),
        "inputs": inputs(result.bundle),
        "outputs": [_written(manifest) for manifest in result.manifests],
        "removals": [model.Gone.model_validate(removal) for removal in result.removals],
        "install": model.Install.model_validate(result.install),
        "findings": [finding_of(finding, result.known) for finding in findings],
        "ledger": model.LedgerCounts(**result.ledger.counts),
        "diff": [difference_of(change) for change in result.diff],
        "verification": verdict_of(result.verification) if result.verification else None,
        "readiness": readiness(result.ledger, result.known, findings, options.default_namespace, result.table),
    }


def build_lint(bundle: Bundle, options: Options, findings: Iterable[Finding], *, known: Bundle | None = None) -> model.Report:
    """The report of a lint: nothing was converted, so there is no target, ledger or readiness.

    `known` is the bundle that the findings count leaves in, where that is more than the one read.
    """
    said = model.Report(
        meshport_version=_version(),
        options=_options(options),
        source=model.Source(mesh=options.source, version=options.source_version),
        target=None,
        inputs=inputs(bundle),
        outputs=[],
        removals=[],
        install=model.Install(helm_values={}, commands=[]),
        findings=[finding_of(finding, known or bundle) for finding in findings],
        ledger=None,
        diff=[],
        verification=None,
        readiness=None,
    )
    return cast("model.Report", masking.covered(said, masking.told(known or bundle)))


def _version() -> str:
    from meshport import __version__

    return __version__


def _options(options: Options) -> dict[str, Any]:
    """The choices of the run by the names of the command line, without those that have members of their own."""
    return cast("dict[str, Any]", plain({key: value for key, value in asdict(options).items() if key not in _SEPARATE}))


def inputs(bundle: Bundle) -> model.Inputs:
    """What was read."""
    kinds: dict[str, int] = {}
    for document in bundle.documents:
        kinds[document.kind] = kinds.get(document.kind, 0) + 1
    files = [model.InputFile(file=source.file, sha256=source.sha256, documents=source.documents) for source in bundle.files]
    return model.Inputs(files=files, documents=len(bundle.documents), by_kind=dict(sorted(kinds.items())))


def _written(manifest: Manifest) -> model.Written:
    value = manifest.object
    if manifest.kind:
        return model.Written(
            apiVersion="", kind=manifest.kind, namespace=None, name=manifest.file, file=manifest.file, origins=cast("list[model.Origin]", manifest.origins)
        )  # fmt: skip
    metadata = said if isinstance(said := value.get("metadata"), dict) else {}
    return model.Written(
        apiVersion=value["apiVersion"],
        kind=value["kind"],
        namespace=home if isinstance(home := metadata.get("namespace"), str) else None,
        name=str(metadata.get("name")),
        file=manifest.file,
        origins=cast("list[model.Origin]", manifest.origins),
    )


# -- findings


def finding_of(finding: Finding, bundle: Bundle) -> model.ReportFinding:
    """One finding with its places spelt out."""
    subject = subject_of(finding, bundle)
    return model.ReportFinding(
        code=finding.code,
        severity=cast("model.Severity", finding.severity),
        effect=cast("model.Effect", finding.effect),
        affects=[model.Affects(namespace=item.namespace, workload=item.workload, port=item.port) for item in finding.affects],
        disposition=cast("model.Disposition | None", finding.disposition),
        pattern=finding.pattern,
        feature=finding.feature,
        message=finding.message,
        remedy=finding.remedy,
        docs=finding.docs,
        resource=model.Resource.model_validate(subject) if subject else None,
        location=location(finding, bundle),
        leaves=[place(leaf, bundle) for leaf in finding.leaves],
        witness=cast("model.Request | None", finding.witness),
        suppressed=model.Suppressed.model_validate(finding.suppressed) if finding.suppressed else None,
    )


# -- differences


def difference_of(change: Change) -> model.Difference:
    """One semantic difference."""
    kind = cast("Any", change.change)
    return model.Difference(
        change=kind,
        subject=change.subject,
        path=change.path,
        before=plain(change.before),
        after=plain(change.after),
        findings=list(change.findings),
    )


def verdict_of(found: Verification) -> model.Verdict:
    """The behavioural check."""
    rows = [
        model.AccessDifference(
            change=item.change,
            request=cast("model.Request", item.request),
            before=item.before,
            after=item.after,
            causes=cast("list[model.Cause]", item.causes),
        )
        for item in found.differences
    ]
    return model.Verdict(verdict=cast("Any", found.verdict), classes=found.classes, differences=rows, undecided=found.undecided)


# -- readiness


def pattern_of(feature: str, table: Table) -> str:
    """The pattern that a feature belongs to, as `meshport patterns` names it."""
    row = table.feature(feature)
    return row.pattern if row is not None else feature.partition(".")[0]


def home_of(document: Document, default_namespace: str) -> str:
    """The namespace that a document counts in: a Namespace in its own."""
    return document.namespace or (document.name if document.kind == "Namespace" else default_namespace)


def readiness(ledger: Ledger, bundle: Bundle, findings: list[Finding], default_namespace: str, table: Table) -> model.Readiness:
    """How much is carried; see the formula at `model.Readiness`. A resource counts for each pattern that one of its leaves belongs to."""
    patterns: dict[str, dict[int, set[str]]] = {}
    namespaces: dict[str, dict[int, set[str]]] = {}
    for leaf, feature, disposition in ledger.judged():
        owner = bundle.owner(leaf)
        home = home_of(owner, default_namespace)
        namespaces.setdefault(home, {}).setdefault(owner.first, set()).add(disposition)
        if feature:
            patterns.setdefault(pattern_of(feature, table), {}).setdefault(owner.first, set()).add(disposition)
    counts = ledger.counts
    score = sum(counts[name] for name in _KEPT) / counts["leaves"] if counts["leaves"] else 1.0
    return model.Readiness(
        score=round(score, 4),
        by_pattern={name: _tally(patterns[name]) for name in sorted(patterns)},
        by_namespace={name: _tally(namespaces[name]) for name in sorted(namespaces)},
        blockers=[number for number, finding in enumerate(findings) if finding.severity == "error" and finding.suppressed is None],
    )


def _tally(resources: dict[int, set[str]]) -> model.Tally:
    dropped = sum(1 for found in resources.values() if found & _LOST)
    nearly = sum(1 for found in resources.values() if found & _NEARLY and not found & _LOST)
    return model.Tally(resources=len(resources), translated=len(resources) - dropped - nearly, approximated=nearly, dropped=dropped)


# -- plain data


def plain(value: Any) -> Any:
    """A value as JSON has it: tuples and sets as lists (sets sorted), keys as text, anything else by its own text."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, dict):
        return {str(key): plain(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [plain(below) for below in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(below) for below in value), key=lambda item: json.dumps(item, sort_keys=True))
    return str(value)
