"""What the commands that make a conversion share: convert, audit and plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meshport.errors import UsageError

if TYPE_CHECKING:
    from meshport.pipeline import Result
    from meshport.report.model import AuditReport


def target(name: str | None) -> str:
    """The mesh of `--to`. Raises UsageError where there is none."""
    if name is None:
        raise UsageError("no target; name the mesh to convert to with --to istio or --to linkerd")
    return name


def convert(
    paths: Sequence[str],
    *,
    source: str,
    target: str,
    source_version: str | None,
    target_version: str | None,
    context: Sequence[str] | None,
    mappings: str | None,
    verify: bool = True,
    layout: str = "mirror",
    waived: tuple[Sequence[str] | None, str | None, str | None] = (None, None, None),
    choices: Mapping[str, Any],
) -> Result:
    """The conversion of what lies at the paths. `waived` are the options --ignore, --waivers and --baseline, `choices` the rest of the library's options."""
    from meshport import pipeline
    from meshport.cli import common
    from meshport.options import resolve

    bundle = common.read(paths)
    table = common.table(mappings)
    beside = common.read_context(context)
    chosen = resolve(
        bundle, table, source=source, target=target, source_version=source_version, target_version=target_version, context=beside, **choices
    )
    result = pipeline.convert(bundle, table, chosen, context=beside, verify=verify, layout=layout)
    result.rules = common.suppress(result.findings, result.known, table, *waived)
    return result


def records(
    result: Result, reports: Sequence[str], ledger: str | None, *, fail_on: str = "error", audited: AuditReport | None = None
) -> dict[str, str]:
    """Report and ledger by file. They are written before the manifests, so that they are there also where those cannot be. `audited` is the report of an
    audit, which every form then shows."""
    found: dict[str, str] = {}
    if reports:
        from meshport.report import exhibits, forms

        plain = result.report if audited is None else lambda: audited
        whole = result.audit if audited is None else lambda: audited
        found.update(forms.render(reports, plain, whole, fail_on=fail_on, exhibits=lambda: exhibits.of_result(result)))
    if ledger:
        from meshport import writing

        found[ledger] = writing.ledger_text(result)
    return found


def write(files: Mapping[str, str]) -> None:
    """Write report files, each whole or not at all."""
    if not files:
        return
    from meshport import writing

    for file, text in files.items():
        writing.write_file(file, text)
