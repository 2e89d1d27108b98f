"""`meshport verify OLD NEW`: whether two bundles allow the same requests."""

from __future__ import annotations

import typer

from meshport.cli import options as opt

NAME = "verify"

_VERDICTS = {
    "equivalent": "both allow the same requests",
    "narrowed": "NEW denies requests that OLD allows",
    "widened": "NEW allows requests that OLD denies",
    "changed": "NEW allows requests that OLD denies, and denies others that OLD allows",
    "inconclusive": "some rules could not be compared",
}


def run(
    old: opt.Old,
    new: opt.New,
    source: opt.FromOld = "auto",
    target: opt.ToNew = "auto",
    context: opt.Context = None,
    default_namespace: opt.DefaultNamespace = "default",
    trust_domain: opt.TrustDomain = "cluster.local",
    form: opt.PlainFormat = "text",
    mappings: opt.Mappings = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    no_color: opt.NoColor = False,
) -> None:
    """Check that two bundles allow the same requests, with a request as witness for each difference. Exit 1 unless they do.

    NEW is read over OLD's documents of no mesh (Services, workloads, Namespaces).
    """
    from meshport.cli import common

    common.choice("--format", form, ("text", "json"))

    from meshport import pipeline
    from meshport.compare.verify import sentence

    table = common.table(mappings)
    one, other = common.two(old, new, context)
    found = pipeline.verify(one, other, table, source, target, default_namespace=default_namespace, trust_domain=trust_domain)
    if form == "json":
        from meshport.report.build import verdict_of

        common.emit(common.as_json(verdict_of(found).model_dump(mode="json")))
    else:
        common.emit(f"{found.verdict}: {_VERDICTS[found.verdict]} ({found.classes} classes of requests compared)\n")
        if not quiet:
            common.emit("".join(f"{sentence(item.request)}: {item.before} before, {item.after} now\n" for item in found.differences))
    raise typer.Exit(0 if found.verdict == "equivalent" else 1)
