"""`meshport trace`: what happens to one request, step by step."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from meshport.cli import options as opt

if TYPE_CHECKING:
    from meshport.tracing import Trace

NAME = "trace"

_VERDICTS = {
    "allow": "allowed",
    "deny": "denied",
    "unrouted": "answered 404: no route takes it",
    "answered": "answered by the caller's own proxy",
    "undecided": "cannot be told",
}


def run(
    paths: opt.Paths = None,
    caller: opt.FromWorkload = "",
    destination: opt.ToService = "",
    method: opt.Method = None,
    path: opt.RequestPath = None,
    host: opt.Host = None,
    header: opt.Header = None,
    address: opt.Address = None,
    protocol: opt.Protocol = None,
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
    """Follow one request: who is asked, which rule decides, where it goes, with which timeout and retries. Each step says where that stands.

    The verdict is the first line: allowed, denied, answered 404, answered by the caller's own proxy, or that it cannot be told. A Service or port that is not
    there is a wrong call.
    """
    from meshport.cli import common

    common.choice("--format", form, ("text", "json"))
    request = _request(caller, destination, method, path, host, header or [], address, protocol)
    given = common.paths_or_stdin(paths)

    from meshport import conversion, tracing
    from meshport.errors import UsageError

    table = common.table(mappings)
    bundle = conversion.merged(common.read(given), common.read_context(context, given))
    home = request["destination"]["namespace"]
    homes = {item.name if item.kind == "Namespace" else item.namespace or default_namespace for item in bundle.documents}
    if home not in homes and any(item.kind == "Service" for item in bundle.documents):
        close = get_close_matches(home, sorted(homes), 1)
        raise UsageError(
            f"--to {destination}: the bundle shows nothing of the namespace {home}" + (f"; did you mean {close[0]}?" if close else "")
        )
    found = tracing.trace(
        bundle, request, table, source, port_name=_port_name(destination), source_version=source_version,
        default_namespace=default_namespace, trust_domain=trust_domain,
    )  # fmt: skip
    if found.verdict == "undecided" and found.steps and found.steps[-1].what.startswith(("which Service", "which port")):
        raise UsageError(f"--to {destination}: {found.steps[-1].outcome}")
    if form == "json":
        common.emit(common.as_json(found.as_dict()))
        return
    common.emit(_text(found, quiet))


def _text(found: Trace, quiet: bool) -> str:
    from meshport.compare.request import sentence

    by = " by " if found.verdict in ("allow", "deny") else ": "
    lines = [f"{sentence(found.request)}: {_VERDICTS[found.verdict]}" + (f"{by}{found.rule.text}" if found.rule is not None else "")]
    for number, step in enumerate(() if quiet else found.steps, 1):
        place = f"   [{step.file or '(no file)'}:{step.line or '?'}]" if step.line or step.file else ""
        lines.append(f"{number:3}. {step.what}: {step.outcome}{place}")
    return "\n".join(lines) + "\n"


def _request(
    caller: str, destination: str, method: str | None, path: str | None, host: str | None, headers: list[str], address: str | None,
    protocol: str | None,
) -> dict[str, Any]:  # fmt: skip
    from meshport.errors import UsageError

    if not destination:
        raise UsageError("--to is needed: NAMESPACE/SERVICE:PORT")
    place, _, port = destination.rpartition(":") if ":" in destination else (destination, "", "")
    namespace, slash, service = place.partition("/")
    if not slash or not service or "/" in service:
        raise UsageError(f"--to {destination}: write it as NAMESPACE/SERVICE:PORT, such as shop/users:8080")
    name, dot, domain = service.partition(".")
    if dot and not f"{domain}.".startswith(f"{namespace}.svc.") and domain != namespace:
        raise UsageError(f"--to {destination}: a Service of the cluster is expected, such as shop/users:8080; hosts outside are not traced")
    source: dict[str, Any] = {"meshed": False}
    if caller:
        home, slash, workload = caller.partition("/")
        if not slash or not workload:
            raise UsageError(f"--from-workload {caller}: write it as NAMESPACE/NAME")
        source = {"namespace": home, "workload": workload}
    if address:
        source["ip"] = address
    request: dict[str, Any] = {"source": source, "destination": {"namespace": namespace, "service": name}}
    if port.isdigit():
        request["destination"]["port"] = int(port)
    request["protocol"] = protocol or "http"
    if protocol in ("tcp", "tls", "udp", "sctp", "icmp"):
        if method or path or headers:
            raise UsageError(f"--protocol {protocol}: --method, --path and --header are of HTTP requests")
    else:
        if path and not path.startswith("/"):
            raise UsageError(f"--path {path}: a path begins with a slash, such as /{path}")
        request.update({"method": method or ("POST" if protocol == "grpc" else "GET"), "path": path or "/"})
    if host:
        request["host"] = host
    if headers:
        request["headers"] = _headers(headers)
    return request


def _port_name(destination: str) -> str:
    port = destination.rpartition(":")[2] if ":" in destination else ""
    return "" if port.isdigit() else port


def _headers(given: list[str]) -> dict[str, str]:
    from meshport.errors import UsageError

    found = {}
    for text in given:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise UsageError(f"--header {text!r}: write it as 'NAME: VALUE'")
        found[name.strip().lower()] = value.strip()
    return found
