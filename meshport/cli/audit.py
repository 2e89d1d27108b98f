"""`meshport audit`: what a conversion would come to, on stdout; findings on stderr. No manifest is written."""

from __future__ import annotations

import sys

import typer

from meshport.cli import options as opt

NAME = "audit"


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
    report: opt.ReportFile = None,
    form: opt.Format = "text",
    ledger: opt.Ledger = None,
    fail_on: opt.FailOn = "error",
    ignore: opt.Ignore = None,
    waivers: opt.Waivers = None,
    baseline: opt.Baseline = None,
    mappings: opt.Mappings = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    no_color: opt.NoColor = False,
) -> None:
    """Say what a migration comes to: how much work, what changes in security, what is lost. Writes no manifests."""
    arguments = dict(locals())
    from meshport.cli import common, converting

    common.choice("--format", form, common.FORMATS)
    common.choice("--fail-on", fail_on, common.FAIL_ON)
    converting.target(target)
    reports = common.check_reports(report)
    if ledger:
        common.check_target(ledger, "--ledger")
    given = common.paths_or_stdin(paths)
    result = converting.convert(given, arguments)
    found = result.audit()
    converting.write(converting.records(result, reports, ledger, fail_on=fail_on, audited=found))

    from meshport.report import overview, text

    if form == "json":
        from meshport.report import json

        common.emit(json.render(found))
    elif form == "github":
        common.emit("".join(f"{line}\n" for line in text.workflow(result.findings, result.known)))
    else:
        paint = text.Paint(text.wants_colour(sys.stdout, no_color))
        common.emit("".join(f"{line}\n" for line in overview.lines(found, paint=paint, quiet=quiet, verbose=verbose)))
    common.say([text.summary(result)])
    raise typer.Exit(1 if result.stopped or common.failed(result.findings, fail_on) else 0)
