"""What the commands that make a conversion share: convert, audit and plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meshport.errors import UsageError

if TYPE_CHECKING:
    from meshport.documents import Bundle
    from meshport.findings import Finding
    from meshport.pipeline import Result
    from meshport.report.model import AuditReport
    from meshport.suppression import Rule


def target(name: str | None) -> str:
    """The mesh of `--to`. Raises UsageError where there is none."""
    if name is None:
        from meshport.mapping.table import TARGETS

        raise UsageError(f"no target; name the mesh to convert to with --to {', '.join(TARGETS[:-1])} or {TARGETS[-1]}")
    return name


CHOICES = (
    "data_plane", "routes", "on_loss", "select", "default_namespace", "trust_domain", "gateway_class", "gateway_identity", "probe_networks",
    "allow_scrape_from", "pod_cidr", "subsets", "preserve_default_retries", "keep_network_policy", "group_by", "latency",
)  # fmt: skip
"""Arguments of the commands that are options of the library by the same name."""


def convert(paths: Sequence[str], given: Mapping[str, Any], *, verify: bool = True, layout: str = "mirror") -> Result:
    """The conversion of what lies at the paths. `given` are the command's arguments by their names."""
    from meshport import pipeline
    from meshport.cli import common
    from meshport.options import resolve

    bundle = common.read(paths)
    table = common.table(given["mappings"])
    beside = common.read_context(given["context"], paths)
    chosen = resolve(
        bundle,
        table,
        source=given["source"],
        target=target(given["target"]),
        source_version=given["source_version"],
        target_version=given["target_version"],
        context=beside,
        namespaces=given["namespace"],
        **{name: given[name] for name in CHOICES},
    )

    def accept(findings: list[Finding], known: Bundle) -> list[Rule]:
        tell = common.tells_of_rules(given)
        return common.suppress(findings, known, table, given["ignore"], given["waivers"], given["baseline"], tell=tell)

    return pipeline.convert(bundle, table, chosen, context=beside, verify=verify, layout=layout, accept=accept)


def refuse_output(output: str | None, force: bool, *, also: tuple[str, ...] = ()) -> None:
    """An output that cannot be used is said before anything is read. `also` are suffixes of files beside those of manifests."""
    if output is None:
        return
    from meshport import writing
    from meshport.cli import common

    if writing.is_file_name(output, also):
        common.check_target(output, "-o")
    else:
        writing.check_folder(output, force=force)


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
