"""`meshport ir`: what a bundle does, in no mesh's words."""

from __future__ import annotations

from meshport.cli import options as opt

NAME = "ir"


def run(
    paths: opt.Paths = None,
    source: opt.From = "auto",
    source_version: opt.FromVersion = None,
    context: opt.Context = None,
    default_namespace: opt.DefaultNamespace = "default",
    trust_domain: opt.TrustDomain = None,
    form: opt.PlainFormat = "text",
    mappings: opt.Mappings = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    no_color: opt.NoColor = False,
) -> None:
    """Print what a bundle does, in no mesh's words: as YAML, or as JSON with --format json.

    `effective` holds what comes out for each subject, `facts` what was read, each with the places that say so.
    """
    from meshport.cli import common

    common.choice("--format", form, ("text", "yaml", "json"))
    given = common.paths_or_stdin(paths)

    from meshport import conversion, pipeline
    from meshport.documents import dump
    from meshport.options import resolve_source
    from meshport.report.facts import dump_ir

    own = common.read(given)
    table = common.table(mappings)
    chosen = resolve_source(own, table, source, source_version, default_namespace=default_namespace, trust_domain=trust_domain)
    bundle = conversion.merged(own, common.read_context(context, given))
    found, _ = pipeline.lift(bundle, table, chosen)
    data = dump_ir(found, bundle, chosen)
    common.emit(common.as_json(data) if form == "json" else dump([data]))
