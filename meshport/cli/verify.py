"""`meshport verify OLD NEW`: whether two bundles allow the same requests."""

from __future__ import annotations

from typing import Any

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

    table = common.table(mappings)
    one, other = common.two(old, new, context)
    found = pipeline.verify(one, other, table, source, target, default_namespace=default_namespace, trust_domain=trust_domain)
    if form == "json":
        from meshport.report.build import verdict_of

        common.emit(common.as_json(verdict_of(found).model_dump(mode="json")))
    else:
        common.emit(f"{found.verdict}: {_VERDICTS[found.verdict]} ({found.classes} classes of requests compared)\n")
        if not quiet:
            common.emit("".join(f"{said(item.request)}: {item.before} before, {item.after} now\n" for item in found.differences))
    raise typer.Exit(0 if found.verdict == "equivalent" else 1)


def said(request: dict[str, Any]) -> str:
    """A request as a sentence: `GET /x from shop/frontend to shop/users:8080`."""
    source, destination = request.get("source", {}), request.get("destination", {})
    if request.get("protocol", "http") == "tcp" or not request.get("path"):
        what = f"a {request.get('protocol', 'tcp')} connection"
    else:
        what = f"{request.get('method') or 'GET'} {request['path']}"
    if request.get("host"):
        what += f" for {request['host']}"
    headers = request.get("headers") or {}
    if headers:
        what += " with " + ", ".join(f"{name}: {value}" for name, value in sorted(headers.items()))
    who = "anyone"
    if source.get("service_account"):
        who = f"{source.get('namespace', 'any')}/{source['service_account']}"
    elif source.get("identity"):
        who = str(source["identity"])
    elif source.get("meshed") is False:
        who = "outside the mesh"
    if source.get("ip"):
        who += f" ({source['ip']})"
    port = destination.get("port")
    name = destination.get("workload") or destination.get("service") or "any workload"
    return f"{what} from {who} to {destination.get('namespace', 'any')}/{name}:{'any other port' if port is None else port}"
