"""The options of the contract, each said once."""

from __future__ import annotations

from typing import Annotated

import typer

_o = typer.Option

Paths = Annotated[
    list[str] | None,
    typer.Argument(metavar="PATH", help="Files, folders (.yaml .yml .json), or - for standard input.", show_default=False),
]
Old = Annotated[str, typer.Argument(metavar="OLD", help="The bundle as it is: a file, a folder, or -.", show_default=False)]
New = Annotated[str, typer.Argument(metavar="NEW", help="The bundle to compare with it.", show_default=False)]

Version = Annotated[bool, _o("--version", "-V", help="Print the version and leave.")]
From = Annotated[str, _o("--from", metavar="MESH", help="The mesh to read: istio, linkerd, cilium, gateway-api, smi, or auto.")]
To = Annotated[
    str | None,
    _o(
        "--to",
        metavar="MESH",
        help="The mesh to write for: istio, linkerd, cilium, gateway-api; the same as --from modernises.",
        show_default=False,
    ),
]
ToMetrics = Annotated[str | None, _o("--to", metavar="MESH", help="The mesh to ask instead: istio, linkerd or cilium.", show_default=False)]
FromOld = Annotated[str, _o("--from", metavar="MESH", help="OLD's mesh.")]
ToNew = Annotated[str, _o("--to", metavar="MESH", help="NEW's mesh.")]
FromWorkload = Annotated[
    str, _o("--from-workload", metavar="NS/NAME", help="The workload that calls; without it a caller outside the mesh.", show_default=False)
]
ToService = Annotated[str, _o("--to", metavar="NS/SERVICE:PORT", help="The Service that is called, and its port.", show_default=False)]
Method = Annotated[str | None, _o("--method", metavar="METHOD", help="The request's method (default GET).")]
RequestPath = Annotated[str | None, _o("--path", metavar="PATH", help="Path and query as they are sent (default /).")]
Host = Annotated[str | None, _o("--host", metavar="HOST", help="The Host header.")]
Header = Annotated[list[str] | None, _o("--header", "-H", metavar="'NAME: VALUE'", help="A header of the request. Repeatable.")]
Address = Annotated[str | None, _o("--ip", metavar="ADDRESS", help="The caller's address.")]
Protocol = Annotated[str | None, _o("--protocol", metavar="NAME", help="http (default), http2, grpc, tls, tcp, udp, sctp or icmp.")]
OldVersion = Annotated[str | None, _o("--from-version", metavar="X.Y", help="Release of OLD's mesh; default: the newest known.")]
NewVersion = Annotated[str | None, _o("--to-version", metavar="X.Y", help="Release of NEW's mesh; default: the newest known.")]
FromVersion = Annotated[str | None, _o("--from-version", metavar="X.Y", help="Release of the mesh read; default: the newest known.")]
ToVersion = Annotated[str | None, _o("--to-version", metavar="X.Y", help="Release of the mesh written for; default: the newest known.")]
DataPlane = Annotated[
    str | None,
    _o(
        "--data-plane",
        metavar="KIND",
        help="With --to istio: sidecar (default) or ambient; with --to cilium: wireguard (default), ipsec or ztunnel.",
    ),
]
Routes = Annotated[str | None, _o("--routes", metavar="API", help="native or gateway-api: what to prefer where the target has both.")]
OnLoss = Annotated[
    str,
    _o(
        "--on-loss",
        metavar="CHOICE",
        help="stricter: no request is newly allowed; looser: keep traffic flowing; stop: write nothing if anything is lost.",
    ),
]
Namespaces = Annotated[
    list[str] | None, _o("--namespace", metavar="NS", help="Convert only this namespace; the rest is context. Repeatable.")
]
Select = Annotated[
    list[str] | None, _o("--select", metavar="KIND/NS/NAME", help="Convert only this object; the rest is context. Repeatable.")
]
Context = Annotated[list[str] | None, _o("--context", metavar="PATH", help="Read for knowledge, do not convert. Repeatable.")]
DefaultNamespace = Annotated[str, _o("--default-namespace", metavar="NS", help="Namespace of documents that name none.")]
TrustDomain = Annotated[
    str | None, _o("--trust-domain", metavar="DOMAIN", help="Trust domain of the mesh; else what its installation says, or cluster.local.")
]
GatewayClass = Annotated[str | None, _o("--gateway-class", metavar="NAME", help="GatewayClass for gateways that are written.")]
GatewayIdentity = Annotated[str | None, _o("--gateway-identity", metavar="NS/SA", help="Service account of the ingress gateway.")]
ProbeNetworks = Annotated[
    list[str] | None, _o("--probe-networks", metavar="CIDR", help="Where the kubelet's probes come from. Repeatable.")
]
AllowScrapeFrom = Annotated[list[str] | None, _o("--allow-scrape-from", metavar="NS/SA", help="Who may scrape metrics. Repeatable.")]
PodCidr = Annotated[str | None, _o("--pod-cidr", metavar="CIDR", help="The network of the pods.")]
Subsets = Annotated[bool, _o("--subsets", help="Write subsets of a Service, not one Service for each.")]
PreserveDefaultRetries = Annotated[bool, _o("--preserve-default-retries", help="Write out the retries that the source does by itself.")]
KeepNetworkPolicy = Annotated[
    bool | None,
    _o(
        "--keep-network-policy/--no-keep-network-policy",
        help="From cilium: let network policy stay in force beside the mesh (default), or replace it.",
        show_default=False,
    ),
]
Output = Annotated[
    str | None, _o("--output", "-o", metavar="PATH", help="A folder, or a file ending in .yaml or .json; whole or not at all.")
]
PlanOutput = Annotated[
    str | None,
    _o(
        "--output",
        "-o",
        metavar="PATH",
        help="A folder for runbook, manifests and rollback, whole or not at all; or a file ending in .md, .json or .yaml.",
    ),
]
Strategy = Annotated[
    str,
    _o(
        "--strategy",
        metavar="CHOICE",
        help="What moves in one step: namespace, service, or cluster (everything onto a new one, then the traffic).",
    ),
]
Layout = Annotated[str, _o("--layout", metavar="CHOICE", help="Files of a folder: mirror, kind, namespace, single.")]
Force = Annotated[bool, _o("--force", help="Write into a folder that holds other files.")]
Check = Annotated[bool, _o("--check", help="Write nothing; exit 1 if the output would change.")]
Diff = Annotated[bool, _o("--diff", help="As --check, and print the change.")]
ReportFile = Annotated[
    list[str] | None,
    _o("--report", metavar="FILE", help="Write the report; the suffix picks the form: .html .md .json .sarif .junit.xml. Repeatable."),
]
Format = Annotated[str, _o("--format", metavar="FORM", help="How findings are printed: text, json, github.")]
PlainFormat = Annotated[str, _o("--format", metavar="FORM", help="text or json.")]
Ledger = Annotated[str | None, _o("--ledger", metavar="FILE", help="Write what became of every leaf, one JSON object a line.")]
FailOn = Annotated[str, _o("--fail-on", metavar="SEVERITY", help="Exit 1 from this severity on: error, warning, never.")]
Ignore = Annotated[list[str] | None, _o("--ignore", metavar="CODE[:KIND/NS/NAME]", help="Findings that do not count. Repeatable.")]
Waivers = Annotated[
    str | None, _o("--waivers", metavar="FILE", help="Findings that do not count until a day; see `meshport schema waivers`.")
]
Baseline = Annotated[str | None, _o("--baseline", metavar="FILE", help="A former JSON report: its findings do not count.")]
NoVerify = Annotated[bool, _o("--no-verify", help="Skip the check that access is what it was.")]
Mappings = Annotated[str | None, _o("--mappings", metavar="FILE", help="Your own rows over the built-in mapping table.")]
GroupBy = Annotated[
    str, _o("--group-by", metavar="VIEW", help="service: requests by the Service that was called; workload: by the one that answers.")
]
Latency = Annotated[
    str,
    _o(
        "--latency",
        metavar="UNIT",
        help="keep-unit: convert what is measured in another unit; native-unit: leave it, and rescale constants.",
    ),
]
AssetLatency = Annotated[
    str | None,
    _o(
        "--latency",
        metavar="UNIT",
        help="Of queries: keep-unit or native-unit; else dashboards get the target's unit, and alerts and gates keep theirs.",
    ),
]
Quiet = Annotated[bool, _o("--quiet", "-q", help="Only errors and the summary.")]
Verbose = Annotated[
    bool, _o("--verbose", "-v", help="Say more: every place and leaf that a finding is about; of patterns, what becomes of each feature.")
]
NoColor = Annotated[bool, _o("--no-color", help="No colours (also: NO_COLOR).")]
