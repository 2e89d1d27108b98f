"""`meshport convert`: manifests on stdout or in `-o`, findings on stderr.

stdout holds the manifests alone: a YAML stream, or with `--format json` a JSON `List`. `--format` also says how findings are said on
stderr: as text, as the JSON report, or as workflow annotations.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from meshport.cli import options as opt
from meshport.errors import UsageError

if TYPE_CHECKING:
    from meshport.pipeline import Result

NAME = "convert"


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
    output: opt.Output = None,
    layout: opt.Layout = "mirror",
    force: opt.Force = False,
    check: opt.Check = False,
    diff: opt.Diff = False,
    report: opt.ReportFile = None,
    form: opt.Format = "text",
    ledger: opt.Ledger = None,
    fail_on: opt.FailOn = "error",
    ignore: opt.Ignore = None,
    waivers: opt.Waivers = None,
    baseline: opt.Baseline = None,
    no_verify: opt.NoVerify = False,
    mappings: opt.Mappings = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    no_color: opt.NoColor = False,
) -> None:
    """Convert manifests: they go to stdout (or -o), findings to stderr."""
    arguments = dict(locals())
    from meshport.cli import common, converting

    common.choice("--format", form, common.FORMATS)
    common.choice("--fail-on", fail_on, common.FAIL_ON)
    converting.target(target)
    output = None if output == "-" else output  # as with every tool: standard output
    reports = common.check_reports(report, output)
    if ledger:
        common.check_target(ledger, "--ledger", output)
    if (check or diff) and not output:
        raise UsageError("--check and --diff compare with what was written before; name it with -o")
    given = common.paths_or_stdin(paths)
    converting.refuse_output(output, force)

    result = converting.convert(given, arguments, verify=not no_verify, layout=layout)

    records = converting.records(result, reports, ledger, fail_on=fail_on)
    converting.write({file: text for file, text in records.items() if not common.inside(file, output)})
    changed = _deliver(result, output, form, force=force, dry=check or diff, show=diff, quiet=quiet)
    converting.write({file: text for file, text in records.items() if common.inside(file, output)})
    _tell(result, form, quiet=quiet, verbose=verbose, no_color=no_color)
    if changed is not None:
        raise typer.Exit(1 if changed else 0)
    raise typer.Exit(1 if result.stopped or common.failed(result.findings, fail_on) else 0)


def _deliver(result: Result, output: str | None, form: str, *, force: bool, dry: bool, show: bool, quiet: bool) -> bool | None:
    """Print or write the manifests. With --check or --diff: whether anything would change."""
    from meshport import writing
    from meshport.cli import common

    if dry and output is not None:
        return _compare(result, output, force=force, show=show, quiet=quiet or form != "text")
    if result.stopped:
        return None
    if output is None:
        common.emit(writing.listing(result.manifests) if form == "json" else writing.stream(result.manifests, result.bundle))
    elif writing.is_file_name(output):
        writing.write_file(output, writing.file_text(result, output))
    if output is None or writing.is_file_name(output):
        from meshport.report import text

        common.say(text.apart(result))
    if output is not None and not writing.is_file_name(output):
        written = result.write(output, force=force)
        if form == "text" and not quiet:
            from meshport.report import words

            common.say([f"wrote {words.plural(len(written), 'file')} to {output}"])
    return None


def _compare(result: Result, output: str, *, force: bool, show: bool, quiet: bool) -> bool:
    from meshport import writing
    from meshport.cli import common

    if writing.is_file_name(output):
        now, then = writing.read_text(output), writing.file_text(result, output)
        found: list[tuple[str, str | None, str | None]] = [(output, now, then)] if now != then else []
    else:
        found = writing.differences(writing.plan(result), output, force=force)
    if show:
        for change in found:
            common.emit(writing.unified(*change))
    if not quiet:
        words = [f"would {'write' if now is None else 'remove' if then is None else 'change'} {name}" for name, now, then in found]
        common.say(words or [f"{output} is up to date"])
    return bool(found)


def _tell(result: Result, form: str, *, quiet: bool, verbose: bool, no_color: bool) -> None:
    from meshport.cli import common
    from meshport.report import text

    if form == "json":
        from meshport.report import json

        common.say([json.render(result.report()).rstrip("\n")])
        return
    if form == "github":
        common.say(text.workflow(result.findings, result.known))
        common.say([text.summary(result)])
        return
    paint = text.Paint(text.wants_colour(sys.stderr, no_color))
    common.say(text.findings(result.findings, result.known, paint=paint, quiet=quiet, verbose=verbose, fold=True))
    if result.stopped:
        common.say(["stopped: something would be lost, so no manifests were written (--on-loss stop)"])
    elif not quiet:
        common.say(text.by_the_way(result))
    if result.verification is not None and not quiet:
        common.say([f"access not compared: {why}" for why in dict.fromkeys(result.verification.undecided)][: None if verbose else 3])
    common.say([text.summary(result)])
