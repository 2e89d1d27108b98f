"""meshport, a migration compiler between service meshes.

    bundle = meshport.load("deploy/")
    result = meshport.convert(bundle, source="linkerd", target="istio")
    result.write("out/")

Importing this module loads nothing else of the package: names are found when they are first used (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshport.compare.diff import Change
    from meshport.compare.verify import Verification
    from meshport.documents import Bundle, load, load_objects, load_text
    from meshport.errors import InputError, MeshportError, UsageError
    from meshport.findings import Finding
    from meshport.observe.promql import PromQL, parse_promql
    from meshport.observe.translate import Translation, translate_promql
    from meshport.pipeline import Result
    from meshport.report.model import AuditReport, Report
    from meshport.report.planned import Plan
    from meshport.tracing import Trace

__version__ = "0.1.0"

__all__ = [
    "Bundle",
    "Change",
    "Finding",
    "InputError",
    "MeshportError",
    "Plan",
    "PromQL",
    "Report",
    "Result",
    "Trace",
    "Translation",
    "UsageError",
    "Verification",
    "audit",
    "convert",
    "diff",
    "lint",
    "load",
    "load_objects",
    "load_text",
    "parse_promql",
    "plan",
    "trace",
    "translate_promql",
    "verify",
]

_HOMES = {
    "Bundle": "meshport.documents",
    "Change": "meshport.compare.diff",
    "Finding": "meshport.findings",
    "InputError": "meshport.errors",
    "MeshportError": "meshport.errors",
    "Plan": "meshport.report.planned",
    "PromQL": "meshport.observe.promql",
    "Report": "meshport.report.model",
    "Result": "meshport.pipeline",
    "Trace": "meshport.tracing",
    "Translation": "meshport.observe.translate",
    "UsageError": "meshport.errors",
    "Verification": "meshport.compare.verify",
    "load": "meshport.documents",
    "load_objects": "meshport.documents",
    "load_text": "meshport.documents",
    "parse_promql": "meshport.observe.promql",
    "translate_promql": "meshport.observe.translate",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'meshport' has no attribute {name!r}")
    found = getattr(import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def convert(
    bundle: Bundle,
    *,
    source: str = "auto",
    target: str,
    source_version: str | None = None,
    target_version: str | None = None,
    data_plane: str | None = None,
    routes: str | None = None,
    on_loss: str = "stricter",
    verify: bool = True,
    mappings: str | None = None,
    context: Bundle | None = None,
    layout: str = "mirror",
    **options: Any,
) -> Result:
    """Convert the documents of a bundle to another mesh; nothing is written.

    `context` holds documents that are read for knowledge alone, `mappings` is a file of rows over the built-in table, `layout` says which
    file each manifest belongs in. `options` are those of the command line, with underscores (`probe_networks=["10.0.0.0/8"]`,
    `namespaces=["shop"]`). What could not be said is in `Result.findings`. Raises UsageError for a call that cannot be carried out.
    """
    from meshport import pipeline
    from meshport.options import resolve, table_of

    table = table_of(mappings)
    chosen = resolve(
        bundle,
        table,
        source=source,
        target=target,
        source_version=source_version,
        target_version=target_version,
        data_plane=data_plane,
        routes=routes,
        on_loss=on_loss,
        context=context,
        **options,
    )
    return pipeline.convert(bundle, table, chosen, context=context, verify=verify, layout=layout)


def audit(bundle: Bundle, **options: Any) -> AuditReport:
    """What a conversion would come to, as the report with its audit: the work, the encryption and access before and after, what is lost, what was accepted.

    `options` are those of `convert`. Raises UsageError as it does.
    """
    return convert(bundle, **options).audit()


def plan(bundle: Bundle, *, strategy: str = "namespace", **options: Any) -> Plan:
    """A migration as a runbook: ordered, reversible steps, each with its commands, manifests, checks, way back, what is weaker meanwhile, and what the
    behavioural check finds of the cluster after it.

    `strategy` is what moves in one step: namespace, service, or cluster. `options` are those of `convert`. Raises UsageError as it does.
    """
    return convert(bundle, **options).plan(strategy)


def lint(
    bundle: Bundle, *, source: str = "auto", source_version: str | None = None, mappings: str | None = None, **options: Any
) -> list[Finding]:
    """Mistakes in a bundle alone, worst first: what no cluster takes, what does nothing, what contradicts itself."""
    from meshport import pipeline
    from meshport.options import resolve_source, table_of

    table = table_of(mappings)
    return pipeline.lint(bundle, table, resolve_source(bundle, table, source, source_version, **options))


def diff(
    old: Bundle, new: Bundle, *, old_mesh: str = "auto", new_mesh: str = "auto", mappings: str | None = None, **options: Any
) -> list[Change]:
    """What two bundles do differently, whatever meshes they are written for; an empty list where they mean the same.

    `source_version` and `target_version` are the releases of OLD's and of NEW's mesh.
    """
    from meshport import pipeline
    from meshport.options import table_of

    return pipeline.diff(old, new, table_of(mappings), old_mesh, new_mesh, **options)


def verify(
    old: Bundle, new: Bundle, *, old_mesh: str = "auto", new_mesh: str = "auto", mappings: str | None = None, **options: Any
) -> Verification:
    """Whether two bundles allow the same requests, with a request as witness for each difference.

    NEW is read over OLD's documents of no mesh (Services, workloads, Namespaces): what NEW has itself counts as NEW says it.
    `source_version` and `target_version` are the releases of OLD's and of NEW's mesh.
    """
    from meshport import pipeline
    from meshport.options import table_of

    return pipeline.verify(old, new, table_of(mappings), old_mesh, new_mesh, **options)


def trace(
    bundle: Bundle,
    request: Mapping[str, Any],
    *,
    mesh: str = "auto",
    source_version: str | None = None,
    mappings: str | None = None,
    **options: Any,
) -> Trace:
    """What becomes of one request, step by step: `.allowed`, `.rule`, `.route`, `.steps`.

    `request` has the members of the contract's REQUEST that matter: `source` (namespace, workload or service_account, ip, meshed), `destination` (namespace,
    service and its port, or workload and the container's port), `method`, `path`, `host`, `headers`. Raises UsageError for one that cannot be understood.
    """
    from meshport import tracing
    from meshport.options import table_of

    return tracing.trace(bundle, request, table_of(mappings), mesh, source_version=source_version, **options)
