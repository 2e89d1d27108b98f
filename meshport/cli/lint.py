"""`meshport lint`: mistakes of a bundle alone, on stdout; the summary on stderr."""

from __future__ import annotations

import sys

import typer

from meshport.cli import options as opt

NAME = "lint"


def run(
    paths: opt.Paths = None,
    source: opt.From = "auto",
    source_version: opt.FromVersion = None,
    namespace: opt.Namespaces = None,
    select: opt.Select = None,
    context: opt.Context = None,
    default_namespace: opt.DefaultNamespace = "default",
    trust_domain: opt.TrustDomain = None,
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
    """Find mistakes: what no cluster takes, what does nothing, what contradicts itself."""
    arguments = dict(locals())
    from meshport.cli import common

    common.choice("--format", form, common.FORMATS)
    common.choice("--fail-on", fail_on, common.FAIL_ON)
    reports = common.check_reports(report)
    given = common.paths_or_stdin(paths)

    from meshport import conversion, pipeline
    from meshport.mapping.homes import at_home
    from meshport.options import resolve_source
    from meshport.report import text, words

    own = common.read(given)
    table = common.table(mappings)
    fields = {"namespaces": namespace, "select": select, "default_namespace": default_namespace, "trust_domain": trust_domain}
    chosen = resolve_source(own, table, source, source_version, **fields)
    bundle = at_home(conversion.merged(own, common.read_context(context, given)), chosen.default_namespace)
    findings = pipeline.lint(bundle, table, chosen, own=len(own.documents))
    common.suppress(findings, bundle, table, ignore, waivers, baseline, tell=common.tells_of_rules(arguments))

    from meshport.report.build import build_lint

    if reports:
        from meshport.cli import converting
        from meshport.report import exhibits, forms

        made = forms.render(
            reports,
            lambda: build_lint(own, chosen, findings, known=bundle),
            fail_on=fail_on,
            exhibits=lambda: exhibits.of_findings(findings, bundle),
        )
        converting.write(made)
    if form == "json":
        from meshport.report import json

        common.emit(json.render(build_lint(own, chosen, findings, known=bundle)))
    elif form == "github":
        common.emit("".join(f"{line}\n" for line in text.workflow(findings, bundle)))
    else:
        paint = text.Paint(text.wants_colour(sys.stdout, no_color))
        common.emit("".join(f"{line}\n" for line in text.findings(findings, bundle, paint=paint, quiet=quiet, verbose=verbose)))
    if form != "json":
        common.say([f"{words.plural(len(own.documents), 'document')}: {text.tally(findings)}"])
    raise typer.Exit(1 if common.failed(findings, fail_on) else 0)
