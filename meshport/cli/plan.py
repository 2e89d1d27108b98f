"""`meshport plan`: the cutover runbook on stdout, or with its manifests in `-o`; the summary on stderr.

With `-o` stdout holds the steps in short. A folder gets the runbook, its JSON, a folder a step and `rollback/`; a file ending in .md, .json or .yaml the plan alone.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from meshport.cli import options as opt

if TYPE_CHECKING:
    from meshport.report.planned import Plan

NAME = "plan"


def run(
    paths: opt.Paths = None,
    source: opt.From = "auto",
    target: opt.To = None,
    source_version: opt.FromVersion = None,
    target_version: opt.ToVersion = None,
    data_plane: opt.DataPlane = None,
    routes: opt.Routes = None,
    on_loss: opt.OnLoss = "stricter",
    namespace: opt.Namespaces = None,
    select: opt.Select = None,
    context: opt.Context = None,
    default_namespace: opt.DefaultNamespace = "default",
    trust_domain: opt.TrustDomain = None,
    gateway_class: opt.GatewayClass = None,
    gateway_identity: opt.GatewayIdentity = None,
    probe_networks: opt.ProbeNetworks = None,
    allow_scrape_from: opt.AllowScrapeFrom = None,
    pod_cidr: opt.PodCidr = None,
    subsets: opt.Subsets = False,
    preserve_default_retries: opt.PreserveDefaultRetries = False,
    keep_network_policy: opt.KeepNetworkPolicy = None,
    group_by: opt.GroupBy = "service",
    latency: opt.AssetLatency = None,
    strategy: opt.Strategy = "namespace",
    output: opt.PlanOutput = None,
    force: opt.Force = False,
    report: opt.ReportFile = None,
    form: opt.Format = "text",
    fail_on: opt.FailOn = "error",
    ignore: opt.Ignore = None,
    waivers: opt.Waivers = None,
    baseline: opt.Baseline = None,
    mappings: opt.Mappings = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    no_color: opt.NoColor = False,
) -> None:
    """Plan a cutover: ordered, reversible steps with their commands, manifests, checks and ways back."""
    arguments = dict(locals())
    from meshport.cli import common, converting
    from meshport.migrate.plan import STRATEGIES

    common.choice("--format", form, common.FORMATS)
    common.choice("--fail-on", fail_on, common.FAIL_ON)
    common.choice("--strategy", strategy, STRATEGIES)
    converting.target(target)
    output = None if output == "-" else output
    reports = common.check_reports(report, output)
    given = common.paths_or_stdin(paths)
    converting.refuse_output(output, force, also=_RUNBOOKS)
    result = converting.convert(given, arguments)
    records = converting.records(result, reports, None, fail_on=fail_on, audited=result.audit() if reports else None)
    converting.write({file: text for file, text in records.items() if not common.inside(file, output)})
    found = result.plan(strategy)
    written = _deliver(found, output, force)
    converting.write({file: text for file, text in records.items() if common.inside(file, output)})

    from meshport.report import runbook, text

    if form == "json":
        common.emit(common.as_json(found.model_dump(mode="json", by_alias=True)))
    elif form == "github":
        common.emit("".join(f"{line}\n" for line in text.workflow(result.findings, result.known)))
    elif output is None and not quiet:
        common.emit(found.markdown())
    else:
        paint = text.Paint(text.wants_colour(sys.stdout, no_color))
        common.emit("".join(f"{line}\n" for line in runbook.lines(found, paint=paint, quiet=quiet, verbose=verbose)))
    if written and not quiet:
        common.say([written])
    common.say([text.summary(result)])
    raise typer.Exit(1 if result.stopped or common.failed(result.findings, fail_on) else 0)


_RUNBOOKS = (".md",)


def _deliver(found: Plan, output: str | None, force: bool) -> str:
    """Write the plan; what was written, in words."""
    if output is None or found.stopped:
        return ""
    from meshport import writing
    from meshport.documents import dump, dump_json
    from meshport.report import words

    if not writing.is_file_name(output, _RUNBOOKS):
        return f"wrote {words.plural(len(found.write(output, force=force)), 'file')} to {output}"
    model = found.model_dump(mode="json", by_alias=True)
    suffix = output.lower().rpartition(".")[2]
    writing.write_file(output, found.markdown() if suffix == "md" else dump_json([model]) if suffix == "json" else dump([model]))
    return f"wrote {output}"
