#!/usr/bin/env python3
"""Check the mapping tables against themselves and against the CRDs. Prints each fault; exit 1 if there is one.

    scripts/check_tables.py [--crds ../shared/crds]

* every feature of a binding has a support row, and every row a complete cell for each of the four targets;
* every code of a cell has a page in ``mappings/codes*.yaml``, and every page of ``codes-features.yaml`` is used;
* ranges of `since` and `until` follow on each other without a gap;
* every kind of the meshes' references has a binding file, with every version that some release serves;
* every leaf of the CRDs (Istio 1.24 to 1.31, Linkerd, Cilium, Gateway API in both channels) has a binding row.
"""

from __future__ import annotations

import argparse
import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from crd_leaves import Kind, load_crds, load_schemas

ROOT = Path(__file__).resolve().parent.parent
MAPPINGS = ROOT / "mappings"
COLUMNS = ("istio", "linkerd", "cilium", "gateway-api")
SUPPORT = {"native", "approximate", "install", "external", "none", "irrelevant"}
SEVERITY = {"error", "warning", "info"}
EFFECT = {"widens", "narrows", "changes", "none"}
TYPES = {"string", "integer", "number", "boolean", "int-or-string", "duration", "object", "ports"}
ROW = {"feature", "inbound", "irrelevant", "type", "values", "by_value", "irrelevant_values", "values_since", "since",
       "until", "channel", "versions", "dialect", "on", "decides", "strictest"}  # fmt: skip
DECIDED = ("access", "encryption", "policies")
PAGE = ("title", "severity", "meaning", "cause", "remedy", "example")
FOLDERS = {"linkerd.io": "linkerd", "policy.linkerd.io": "linkerd", "workload.linkerd.io": "linkerd",
           "multicluster.linkerd.io": "linkerd", "split.smi-spec.io": "smi"}  # fmt: skip
KINDS = """
networking.istio.io: VirtualService v1 v1beta1 v1alpha3, DestinationRule v1 v1beta1 v1alpha3, Gateway v1 v1beta1 v1alpha3, ServiceEntry v1 v1beta1 v1alpha3,
  Sidecar v1 v1beta1 v1alpha3, WorkloadEntry v1 v1beta1 v1alpha3, WorkloadGroup v1 v1beta1 v1alpha3, EnvoyFilter v1alpha3, ProxyConfig v1beta1
security.istio.io: PeerAuthentication v1 v1beta1, RequestAuthentication v1 v1beta1, AuthorizationPolicy v1 v1beta1
telemetry.istio.io: Telemetry v1 v1alpha1
extensions.istio.io: WasmPlugin v1alpha1, TrafficExtension v1alpha1
linkerd.io: ServiceProfile v1alpha2 v1alpha1
policy.linkerd.io: Server v1beta3 v1beta2 v1beta1 v1alpha1, ServerAuthorization v1beta1 v1alpha1, AuthorizationPolicy v1alpha1, MeshTLSAuthentication v1alpha1,
  NetworkAuthentication v1alpha1, HTTPRoute v1beta3 v1beta2 v1beta1 v1alpha1, HTTPLocalRateLimitPolicy v1alpha1, EgressNetwork v1alpha1
workload.linkerd.io: ExternalWorkload v1beta1 v1alpha1
multicluster.linkerd.io: Link v1alpha3 v1alpha2 v1alpha1
split.smi-spec.io: TrafficSplit v1alpha4 v1alpha3 v1alpha2 v1alpha1
access.smi-spec.io: TrafficTarget v1alpha3 v1alpha2
specs.smi-spec.io: HTTPRouteGroup v1alpha4 v1alpha3, TCPRoute v1alpha4 v1alpha3, UDPRoute v1alpha4
cilium.io: CiliumNetworkPolicy v2, CiliumClusterwideNetworkPolicy v2, CiliumCIDRGroup v2 v2alpha1, CiliumEnvoyConfig v2, CiliumClusterwideEnvoyConfig v2,
  CiliumLocalRedirectPolicy v2, CiliumEgressGatewayPolicy v2, CiliumGatewayClassConfig v2alpha1, CiliumEndpoint v2, CiliumEndpointSlice v2alpha1, CiliumIdentity v2,
  CiliumNode v2, CiliumNodeConfig v2 v2alpha1, CiliumLoadBalancerIPPool v2 v2alpha1, CiliumL2AnnouncementPolicy v2alpha1, CiliumBGPClusterConfig,
  CiliumBGPPeerConfig, CiliumBGPAdvertisement, CiliumBGPNodeConfig, CiliumBGPNodeConfigOverride, CiliumBGPPeeringPolicy v2alpha1, CiliumPodIPPool v2alpha1,
  CiliumExternalWorkload v2, CiliumDatapathPlugin v2alpha1, CiliumVTEPConfig, CiliumNetworkDriverClusterConfig v2alpha1, CiliumNetworkDriverNodeConfig v2alpha1
gateway.networking.k8s.io: GatewayClass v1 v1beta1, Gateway v1 v1beta1, HTTPRoute v1 v1beta1, GRPCRoute v1 v1alpha2, TLSRoute v1 v1alpha3 v1alpha2,
  TCPRoute v1 v1alpha2, UDPRoute v1 v1alpha2, BackendTLSPolicy v1 v1alpha3 v1alpha2, ReferenceGrant v1 v1beta1, BackendLBPolicy v1alpha2, ListenerSet v1
gateway.networking.x-k8s.io: XBackendTrafficPolicy v1alpha1, XListenerSet v1alpha1, XMesh v1alpha1, XBackend v1alpha1
"""
"""The kinds that the references of the meshes name, with the versions that some release serves; of some there is no CRD at hand."""
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crds", type=Path, default=ROOT.parent / "shared" / "crds")
    args = parser.parse_args()

    bindings = {path: read(path) for path in sorted((MAPPINGS / "bindings").rglob("*.yaml"))}
    support = {path: read(path) for path in sorted((MAPPINGS / "support").glob("*.yaml"))}
    faults = [*binding_faults(bindings), *kind_faults(bindings), *support_faults(support), *code_faults(support)]
    features = {name for rows in support.values() for name in rows.get("features", {})}
    for path, used in ((p, n) for p, rows in bindings.items() for n in sorted(named(rows))):
        if used not in features:
            faults.append(f"{short(path)}: feature {used} has no support row")
    leaves = 0
    if args.crds.is_dir():
        found, leaves = crd_faults(bindings, args.crds)
        faults += found
    else:
        faults.append(f"{args.crds}: no such folder; the CRDs were not compared")
    for fault in faults:
        print(fault)
    rows = sum(len(all_rows(r)) for r in bindings.values())
    print(f"{len(faults)} faults; {rows} binding rows, {len(features)} features, {leaves} leaves of CRDs", file=sys.stderr)
    return 1 if faults else 0


def read(path: Path) -> dict[str, Any]:
    loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    if not isinstance(loaded, dict):
        raise SystemExit(f"{short(path)}: a mapping is expected")
    return loaded


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def all_rows(rows: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every row of a binding file by its path; a key may stand for several dialects."""
    out: dict[str, dict[str, Any]] = {}
    for member in ("fields", "annotations", "labels"):
        for name, row in (rows.get(member) or {}).items():
            for index, one in enumerate(row if isinstance(row, list) else [row]):
                out[f"{'' if member == 'fields' else member + ' '}{name}{'' if index == 0 else f' ({index})'}"] = one
    return out


def named(rows: dict[str, Any]) -> set[str]:
    """The features that a binding file uses."""
    return {
        name
        for row in all_rows(rows).values()
        for name in (row.get("feature"), row.get("inbound"), *(row.get("by_value") or {}).values())
        if name
    }


def binding_faults(bindings: dict[Path, dict[str, Any]]) -> list[str]:
    faults = []
    for path, rows in bindings.items():
        for name, row in all_rows(rows).items():
            place = f"{short(path)}: {name}"
            both = path.name == "metadata.yaml"  # a name may decide, and where it does its leaf reaches the output
            if ("feature" in row) == ("irrelevant" in row) and not (both and "feature" in row):
                faults.append(f"{place}: wants either a feature or a reason why it is irrelevant")
            if row.get("type", "string") not in TYPES:
                faults.append(f"{place}: unknown type {row['type']}")
            faults += [f"{place}: unknown member {member}" for member in row if member not in ROW]
            values = {str(value) for value in row.get("values") or ()}
            if row.get("decides", "access") not in DECIDED or ("strictest" in row and "decides" not in row):
                faults.append(f"{place}: decides is one of {', '.join(DECIDED)}, and goes before strictest")
            if values and str(row.get("strictest", min(values))) not in values:
                faults.append(f"{place}: strictest is {row['strictest']}, which is not a value")
            for member in ("by_value", "irrelevant_values", "values_since"):
                for value in row.get(member) or {}:
                    if values and str(value) not in values:
                        faults.append(f"{place}: {member} names {value}, which is not a value")
    return faults


def kind_faults(bindings: dict[Path, dict[str, Any]]) -> list[str]:
    """Kinds and versions of the references that no binding file has."""
    tables = {(rows["group"], rows["kind"]): rows for rows in bindings.values() if rows.get("group")}
    faults = []
    for group, listed in re.findall(r"^(\S+): ((?:.|\n {2})*)", KINDS, re.MULTILINE):
        for kind, *versions in (entry.split() for entry in listed.split(",")):
            table = tables.get((group, kind))
            if table is None:
                faults.append(f"{group}/{kind} has no binding file")
                continue
            faults += [f"{group}/{kind}: version {version} is not listed" for version in versions if version not in table["versions"]]
    return faults


def cells(row: dict[str, Any], column: str) -> list[dict[str, Any]]:
    found = row.get(column)
    return found if isinstance(found, list) else [found] if isinstance(found, dict) else []


def support_faults(support: dict[Path, dict[str, Any]]) -> list[str]:
    faults: list[str] = []
    owners: dict[str, str] = {}
    for path, rows in support.items():
        if rows.get("pattern") != path.stem:
            faults.append(f"{short(path)}: pattern is not the name of the file")
        faults += [f"{short(path)}: no summary for {c}" for c in COLUMNS if not (rows.get("summary") or {}).get(c)]
        for name, row in (rows.get("features") or {}).items():
            place = f"{short(path)}: {name}"
            if name in owners:
                faults.append(f"{place}: stands in {owners[name]} too")
            owners[name] = short(path)
            if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", name):
                faults.append(f"{place}: not a name of the form family.aspect")
            if not row.get("title"):
                faults.append(f"{place}: no title")
            for column in COLUMNS:
                found = cells(row, column)
                if not found:
                    faults.append(f"{place}: no cell for {column}")
                for cell in found:
                    faults += [f"{place}.{column}: {fault}" for fault in cell_faults(cell)]
                faults += [f"{place}.{column}: {fault}" for fault in range_faults(found)]
    return faults


def cell_faults(cell: dict[str, Any]) -> list[str]:
    faults = []
    if cell.get("support") not in SUPPORT:
        faults.append(f"unknown support {cell.get('support')}")
    if not cell.get("source"):
        faults.append("no source")
    if cell.get("support") == "irrelevant" and not cell.get("reason"):
        faults.append("irrelevant without a reason")
    if cell.get("support") in SUPPORT - {"native", "irrelevant"}:
        faults += [f"no {member}" for member in ("code", "severity", "effect", "message", "remedy") if not cell.get(member)]
        if cell.get("severity") not in SEVERITY:
            faults.append(f"unknown severity {cell.get('severity')}")
        if cell.get("effect") not in EFFECT:
            faults.append(f"unknown effect {cell.get('effect')}")
        holes = set(re.findall(r"\{(.*?)\}", f"{cell.get('message')} {cell.get('remedy')}")) - {"value", "path", "resource"}
        faults += [f"unknown placeholder {{{hole}}}" for hole in sorted(holes)]
    return faults


def range_faults(found: list[dict[str, Any]]) -> list[str]:
    """Cells of one column have to cover every release once."""
    if not found:
        return []

    def key(release: Any) -> tuple[int, ...]:
        return tuple(int(part) for part in str(release).split("."))

    ordered = sorted(found, key=lambda cell: key(cell.get("since", "0")))
    faults = []
    if "since" in ordered[0]:
        faults.append(f"nothing before {ordered[0]['since']}")
    for earlier, later in pairwise(ordered):
        if str(earlier.get("until")) != str(later.get("since")):
            faults.append(f"a gap or an overlap between until {earlier.get('until')} and since {later.get('since')}")
    if "until" in ordered[-1]:
        faults.append(f"nothing from {ordered[-1]['until']} on")
    return faults


def code_faults(support: dict[Path, dict[str, Any]]) -> list[str]:
    used = {
        (cell["code"], f"{short(path)}: {name}")
        for path, rows in support.items()
        for name, row in (rows.get("features") or {}).items()
        for c in COLUMNS
        for cell in cells(row, c)
        if cell.get("code")
    }
    pages: dict[str, Path] = {}
    faults = []
    for path in sorted(MAPPINGS.glob("codes*.yaml")):
        for code, page in read(path).items():
            if code in pages:
                faults.append(f"{short(path)}: {code} stands in {short(pages[code])} too")
            pages[code] = path
            if path.name == "codes-features.yaml":
                faults += [f"{short(path)}: {code} has no {member}" for member in PAGE if not page.get(member)]
                if not re.fullmatch(r"MP[1-9][5-9]\d", code):
                    faults.append(f"{short(path)}: {code} is not of the range MPx50 to MPx99")
    known = {code for code, _ in used}
    faults += [f"{place}: {code} has no page" for code, place in sorted(used) if code not in pages]
    faults += [
        f"{short(path)}: {code} is used by no cell"
        for code, path in sorted(pages.items())
        if path.name == "codes-features.yaml" and code not in known
    ]
    return faults


def crd_faults(bindings: dict[Path, dict[str, Any]], crds: Path) -> tuple[list[str], int]:
    """What the CRDs have and no row knows, and how many leaves were looked at."""
    tables = {(rows["group"], rows["kind"]): rows for rows in bindings.values() if rows.get("group")}
    core = read(MAPPINGS / "bindings" / "core" / "metadata.yaml")["fields"]
    istio = [p for p in sorted((crds / "istio").glob("crd-all.release-*.yaml")) if int(p.stem.rsplit(".", 1)[1]) >= 24]
    sources = istio + sorted((crds / "linkerd").glob("*.yaml")) + sorted((crds / "gateway-api").rglob("*.yaml"))
    faults, count = [], 0
    names = {kind.lower(): kind for group, kind in tables if group == "cilium.io"}

    def kinds_of(path: Path) -> dict[tuple[str, str], Kind]:
        return load_schemas([path], "cilium.io", names) if path.suffix == ".json" else load_crds([path])

    for path in [*sources, *sorted((crds / "cilium").rglob("*.json"))]:
        for (group, name), kind in kinds_of(path).items():
            table = tables.get((group, name))
            if table is None:
                faults.append(f"{path.name}: {group}/{name} has no binding file")
                continue
            faults += [
                f"{path.name}: {name} is served at {v}, which its binding file does not list"
                for v in kind.versions
                if v not in table["versions"]
            ]
            rows = {**core, **table["fields"]}
            for leaf in kind.leaves:
                count += 1
                if not known(leaf, rows):
                    faults.append(f"{path.name}: {name}: no row for {leaf}")
    return list(dict.fromkeys(faults)), count


def known(leaf: str, rows: dict[str, dict[str, Any]]) -> bool:
    """Whether a row stands for a leaf: the leaf itself, its map form, or a free-form row above it."""
    if (leaf in rows and "type" in rows[leaf]) or f"{leaf}.*" in rows:
        return True
    path = leaf
    while path:
        if rows.get(path, {}).get("type") == "object":
            return True
        path = path[:-2] if path.endswith("[]") else path.rpartition(".")[0]
    return False


if __name__ == "__main__":
    sys.exit(main())
