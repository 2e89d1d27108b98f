"""`meshport verify OLD NEW`: whether two bundles do the same with every request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from meshport.cli import options as opt

if TYPE_CHECKING:
    from meshport.compare.verify import Verification

NAME = "verify"

_VERDICTS = {
    "equivalent": "both do the same with every request",
    "narrowed": "NEW denies requests that OLD allows",
    "widened": "NEW allows requests that OLD denies",
    "changed": "NEW allows requests that OLD denies and denies others, or treats some otherwise",
    "inconclusive": "some rules could not be compared",
}
_MOST = 40  # groups of differences that are printed without -v


def run(
    old: opt.Old,
    new: opt.New,
    source: opt.FromOld = "auto",
    target: opt.ToNew = "auto",
    source_version: opt.OldVersion = None,
    target_version: opt.NewVersion = None,
    context: opt.Context = None,
    default_namespace: opt.DefaultNamespace = "default",
    trust_domain: opt.TrustDomain = None,
    form: opt.PlainFormat = "text",
    mappings: opt.Mappings = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    no_color: opt.NoColor = False,
) -> None:
    """Check that two bundles do the same with every request, with a request as witness for each difference. Exit 1 unless they do.

    NEW is read over OLD's documents of no mesh (Services, workloads, Namespaces). Differences with the same cause are shown once.
    """
    from meshport.cli import common

    common.choice("--format", form, ("text", "json"))

    from meshport import pipeline

    table = common.table(mappings)
    one, other = common.two(old, new, context)
    found = pipeline.verify(
        one,
        other,
        table,
        source,
        target,
        source_version=source_version,
        target_version=target_version,
        default_namespace=default_namespace,
        trust_domain=trust_domain,
    )
    if form == "json":
        from meshport.report.build import verdict_of

        common.emit(common.as_json(verdict_of(found).model_dump(mode="json")))
    else:
        common.emit(f"{found.verdict}: {_VERDICTS[found.verdict]} ({found.classes} classes of requests compared)\n")
        if not quiet:
            _say(found, None if verbose else _MOST)
    raise typer.Exit(0 if found.verdict == "equivalent" else 1)


def _say(found: Verification, most: int | None) -> None:
    from meshport.cli import common
    from meshport.compare.request import sentence
    from meshport.compare.verify import grouped
    from meshport.effective.subjects import of_other_ports

    groups = grouped(found.differences)
    for item, more in groups[:most]:
        alike = f" (and {more} more like it)" if more else ""
        # what is said of a Service, or of what may leave, is for all its requests
        what = (
            item.subject
            if item.change in ("routed", "transport") and item.subject and "path" not in item.request
            else sentence(item.request, unnamed=of_other_ports(item.subject))
        )
        lines = [f"{what}: {item.before} before, {item.after} now{alike}"]
        for side, word, rule in (("before", "before:", item.rules[0]), ("after", "now:", item.rules[1])):
            places = [f"{cause['file'] or '(no file)'}:{cause['line'] or '?'}" for cause in item.causes if cause["side"] == side]
            if places or rule:
                lines.append(f"    {word:7} {' '.join(part for part in (', '.join(places[:4]), rule) if part)}")
        common.emit("\n".join(lines) + "\n")
    if most is not None and len(groups) > most:
        common.emit(f"and {len(groups) - most} more kinds of difference; -v shows all, --format json too\n")
    for why in dict.fromkeys(found.undecided):
        common.emit(f"not compared: {why}\n")
