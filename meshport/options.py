"""One conversion's choices, checked: what the command line and the library take in, with names and defaults filled from the table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from meshport.dialects.base import BUILT_IN, Options
from meshport.dialects.installation import CHARTS, said
from meshport.documents.forms import CHARTS as OF_CHARTS
from meshport.documents.forms import charts_within
from meshport.errors import UsageError
from meshport.mapping.table import DIALECTS, TARGETS, Table, builtin, dialect_of_group, iterate_features, version_key

if TYPE_CHECKING:
    from meshport.documents import Bundle

ON_LOSS = ("stricter", "looser", "stop")
_VIEWPOINTS = ("service", "workload")
_LATENCIES = ("keep-unit", "native-unit")
_DATA_PLANES = {"istio": ("sidecar", "ambient"), "cilium": ("wireguard", "ipsec", "ztunnel")}
_WRITTEN = {"sidecar", "ambient", "wireguard", "ipsec", "ztunnel"}  # the data planes that this release writes for
_ROUTES = ("native", "gateway-api")
_LISTS = {"probe_networks", "allow_scrape_from", "namespaces", "select", "trust_domain_aliases", "cluster_networks"}


def table_of(mappings: str | None = None) -> Table:
    """The mapping table, with a user's own rows over it. Raises UsageError for rows of features that do not exist."""
    if not mappings:
        return builtin()
    table = Table(mappings)
    rows = table.own_rows
    if not isinstance(rows, dict):
        raise UsageError(f"{mappings}: a mapping `features:` is expected; see `meshport schema mapping`")
    for name in rows:
        if table.feature(str(name)) is None:
            known = [feature.name for feature in iterate_features(table)]
            close = get_close_matches(str(name), known, 1)
            hint = f"did you mean {close[0]}?" if close else "`meshport patterns PATTERN` names them"
            raise UsageError(f"{mappings}: no feature {name!r}; {hint}")
    return table


def detect(bundle: Bundle, table: Table) -> str:
    """The mesh that the documents are of. Raises UsageError where none or several fit.

    A setting that a Service or a pod still bears of one mesh tells nothing where documents, or marks that enrol, are of another: a conversion leaves it.
    """
    counts: dict[str, int] = {}
    settings: set[str] = set()
    for document in bundle.documents:
        found = dialect_of_group(document.group)
        if found is not None:
            if (kind := table.kind(document.group, document.kind)) is not None and kind.passes:
                continue  # an address pool or a node of Cilium stands in clusters of every mesh
            counts[found] = counts.get(found, 0) + 1
            if found == "gateway-api" and (implementation := _implementation(document.value)) is not None:
                counts[implementation] = counts.get(implementation, 0) + 1
            continue
        for what in ("labels", "annotations"):
            metadata = document.value.get("metadata")
            for key in (metadata.get(what) or {}) if isinstance(metadata, dict) and isinstance(metadata.get(what), dict) else {}:
                for name, binding in table.key_bindings(what, str(key)).items():
                    if binding.feature.startswith("membership."):
                        counts[name] = counts.get(name, 0) + 1
                    elif name != "core":  # kubectl's own notes
                        settings.add(name)
    if not any(name not in ("gateway-api", "smi") for name in counts):
        counts.update(dict.fromkeys(settings, 1))
    meshes = sorted(name for name in counts if name not in ("gateway-api", "smi"))
    if len(meshes) == 1:
        return meshes[0]
    if len(meshes) > 1 and bundle.written is not None and bundle.written.mesh in meshes:
        return bundle.written.mesh  # an output beside which policies of another mesh stay
    if len(meshes) > 1:
        raise UsageError(f"the documents are of {' and '.join(meshes)}; say which to read with --from {meshes[0]} or --from {meshes[1]}")
    if "smi" in counts:
        return "smi"
    if "gateway-api" in counts:
        return "gateway-api"
    charts = sorted({mesh for document in bundle.documents for mesh in _installs(document.chart, document.value)})
    if len(charts) == 1:
        return charts[0]
    raise UsageError("no document of a mesh was found; name the mesh with --from, and check the paths")


def _installs(chart: str, value: Mapping[str, Any]) -> list[str]:
    """The mesh whose installation a document sets something of, by its chart or its kind."""
    known = (
        "istiod" if str(value.get("apiVersion", "")).startswith("install.istio.io/") else "cilium" if chart == "cilium-config" else chart
    )
    named = charts_within(value) if chart == OF_CHARTS else [known]
    return [mesh for mesh, name in CHARTS.items() if name in named]


def _implementation(value: Mapping[str, Any]) -> str | None:
    """The mesh that a Gateway API object is plainly written for."""
    spec = value.get("spec")
    if not isinstance(spec, Mapping):
        return None
    if value.get("kind") == "Gateway":
        name = str(spec.get("gatewayClassName", ""))
        return "istio" if name.startswith("istio") else "cilium" if name == "cilium" else None
    parents = spec.get("parentRefs")
    for parent in parents if isinstance(parents, list) else ():
        if isinstance(parent, Mapping) and parent.get("group") == "policy.linkerd.io":
            return "linkerd"
    return None


def resolve(
    bundle: Bundle,
    table: Table,
    *,
    source: str = "auto",
    target: str,
    source_version: str | None = None,
    target_version: str | None = None,
    context: Bundle | None = None,
    **rest: Any,
) -> Options:
    """Checked options; what the source's installation chooses is read from the bundle, or from the context. Raises UsageError that names the choice and
    the way out."""
    if target not in TARGETS:
        raise UsageError(f"--to {target}: not a mesh; there are {', '.join(TARGETS)}")
    if source != "auto" and source not in DIALECTS:
        raise UsageError(f"--from {source}: not a mesh; there are {', '.join(DIALECTS)} and auto")
    name = detect(bundle, table) if source == "auto" else source
    for one, option in ((name, "--from"), (target, "--to")):
        if one not in BUILT_IN and one not in _plugins():
            raise UsageError(f"{option} {one}: this release of meshport converts between {' and '.join(sorted(BUILT_IN))}")
    on_loss = rest.get("on_loss") or "stricter"
    if on_loss not in ON_LOSS:
        raise UsageError(f"--on-loss {on_loss}: one of {', '.join(ON_LOSS)}")
    fields = {key: value for key, value in rest.items() if value is not None}
    for key, option, choices in (("group_by", "--group-by", _VIEWPOINTS), ("latency", "--latency", _LATENCIES)):
        if fields.get(key, choices[0]) not in choices:
            raise UsageError(f"{option} {fields[key]}: one of {', '.join(choices)}")
    unknown = [key for key in fields if key not in Options.__dataclass_fields__]
    if unknown:
        raise UsageError(f"no option {unknown[0]!r}; there are {', '.join(sorted(Options.__dataclass_fields__))}")
    for key in _LISTS & set(fields):
        fields[key] = (fields[key],) if isinstance(fields[key], str) else tuple(fields[key])
    _check_values(fields)
    _check_target(target, fields)
    fields = {**(installed(context, name) if context is not None else {}), **installed(bundle, name), **fields}
    fields["on_loss"] = on_loss
    return Options(
        source=name,
        target=target,
        source_version=_version(table, name, source_version, "--from-version"),
        target_version=_version(table, target, target_version, "--to-version"),
        **fields,
    )


def resolve_source(bundle: Bundle, table: Table, source: str = "auto", source_version: str | None = None, **rest: Any) -> Options:
    """Checked options for reading alone; the target is the source itself."""
    name = detect(bundle, table) if source == "auto" else source
    if name not in DIALECTS:
        raise UsageError(f"--from {source}: not a mesh; there are {', '.join(DIALECTS)} and auto")
    if name not in BUILT_IN and name not in _plugins():
        raise UsageError(f"--from {name}: this release of meshport reads {' and '.join(sorted(BUILT_IN))}")
    return resolve(bundle, table, source=name, target=name if name in TARGETS else "istio", source_version=source_version, **rest)


def installed(bundle: Bundle, mesh: str) -> dict[str, Any]:
    """The choices that the source's installation makes, as far as the bundle has it: what nobody says on the command line is read by them."""
    found: dict[str, Any] = {}
    for option, path in _INSTALLED.get(mesh, {}).items():
        value = said(bundle, mesh, path)
        if option in _LISTS:
            listed = value if isinstance(value, list) else str(value).split(",") if isinstance(value, str) else []
            if listed and all(isinstance(item, str) for item in listed):
                found[option] = tuple(item.strip() for item in listed if item.strip())
        elif isinstance(value, str) and value.strip():
            found[option] = value.strip()
    if "cluster_networks" in found and not all(map(_is_network, found["cluster_networks"])):
        del found["cluster_networks"]
    return found


_INSTALLED = {
    "istio": {
        "trust_domain": "meshConfig.trustDomain", "trust_domain_aliases": "meshConfig.trustDomainAliases",
        "root_namespace": "meshConfig.rootNamespace", "cluster_domain": "global.proxy.clusterDomain",
    },
    "linkerd": {"trust_domain": "identityTrustDomain", "cluster_domain": "clusterDomain", "cluster_networks": "clusterNetworks"},
}  # fmt: skip
"""Options that a setting of the source's installation stands for."""


def _is_network(text: str) -> bool:
    from ipaddress import ip_network

    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _plugins() -> set[str]:
    from importlib.metadata import entry_points

    return {entry.name for entry in entry_points(group="meshport.dialects")}


def _version(table: Table, mesh: str, wanted: str | None, option: str) -> str:
    known = table.versions(mesh)
    if wanted is None:
        return known[-1] if known else "0"
    key = version_key(str(wanted))
    if known and not version_key(known[0]) <= key[:2] <= version_key(known[-1]):
        raise UsageError(f"{option} {wanted}: meshport knows {mesh} from {known[0]} to {known[-1]}; without {option} the newest is meant")
    return str(wanted).lstrip("v")


_NAMES = (
    ("default_namespace", "--default-namespace", re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"), "shop"),
    ("trust_domain", "--trust-domain", re.compile(r"[A-Za-z0-9._-]+"), "cluster.local"),
)
"""Options that are one name, and what it may be: another one would make manifests that no cluster takes."""


def _check_values(fields: dict[str, Any]) -> None:
    from ipaddress import ip_network

    for cidr in (*fields.get("probe_networks", ()), *([fields["pod_cidr"]] if fields.get("pod_cidr") else [])):
        try:
            ip_network(cidr, strict=False)
        except ValueError:
            raise UsageError(f"{cidr!r} is not a network; write it like 10.0.0.0/8") from None
    for key, option, form, such in _NAMES:
        if key in fields and not form.fullmatch(fields[key]):
            raise UsageError(f"{option} {fields[key]!r}: is no name of that kind; write it like {such}")
    for key, option in (("gateway_identity", "--gateway-identity"), ("allow_scrape_from", "--allow-scrape-from")):
        values = fields.get(key) or ()
        for value in (values,) if isinstance(values, str) else values:
            if value.count("/") != 1 or not all(value.split("/")):
                raise UsageError(f"{option} {value}: write it as NAMESPACE/SERVICEACCOUNT")
    for value in fields.get("select", ()):
        if value.count("/") not in (1, 2):
            raise UsageError(f"--select {value}: write it as KIND/NAMESPACE/NAME")


def _check_target(target: str, fields: dict[str, Any]) -> None:
    plane, routes = fields.get("data_plane"), fields.get("routes")
    if plane is not None:
        known = _DATA_PLANES.get(target, ())
        if plane not in known:
            way_out = f"with --to {target}: {', '.join(known)}" if known else f"--to {target} has no choice of data plane; leave it out"
            raise UsageError(f"--data-plane {plane}: {way_out}")
        if plane not in _WRITTEN:
            raise UsageError(f"--data-plane {plane}: comes in a later release; this one writes for {', '.join(sorted(_WRITTEN))}")
    if routes is not None and routes not in _ROUTES:
        raise UsageError(f"--routes {routes}: one of {', '.join(_ROUTES)}")
