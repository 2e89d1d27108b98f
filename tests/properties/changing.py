"""Valid changes of one leaf, and what a conversion comes to after each."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from meshport import conversion, pipeline
from meshport.dialects.base import Options
from meshport.documents import Bundle, load, load_objects
from meshport.findings import Finding
from meshport.mapping.bound import Bound
from meshport.mapping.paths import leaves_below
from meshport.mapping.table import builtin, dialect_of_group
from meshport.options import resolve

PathOf = tuple[str | int, ...]
READS = {
    "istio": ("istio", "gateway-api"),
    "linkerd": ("linkerd", "gateway-api", "smi"),
    "smi": ("smi",),
    "cilium": ("cilium", "gateway-api"),
    "gateway-api": ("gateway-api",),
}
OPPOSITE = {"istio": "linkerd", "linkerd": "istio", "smi": "istio", "cilium": "istio", "gateway-api": "istio"}
ALSO = {
    "istio-access": ("cilium", "istio:ambient"),
    "istio-canary": ("cilium", "gateway-api"),
    "istio-egress": ("istio", "gateway-api", "cilium"),
    "istio-gateway-api": ("cilium",),
    "istio-overlaps": ("cilium", "istio:ambient", "gateway-api"),
    "istio-strict": ("cilium", "istio"),
    "istio-resilience": ("cilium", "istio:ambient"),
    "istio-rest": ("gateway-api", "cilium"),
    "istio-routing": ("cilium",),
    "istio-proxies": ("istio",),
    "linkerd-access": ("cilium", "linkerd"),
    "linkerd-inbound": ("cilium",),
    "linkerd-outbound": ("cilium", "gateway-api"),
    "linkerd-profiles": ("linkerd", "gateway-api", "cilium"),
    "linkerd-egress": ("linkerd", "cilium"),
    "linkerd-proxies": ("linkerd", "istio:ambient"),
    "linkerd-routes": ("cilium", "linkerd"),
    "cilium-overlap": ("istio:ambient", "linkerd"),
    "cilium-leaving": ("linkerd",),
    "istio-beyond": ("gateway-api",),
    "linkerd-overlap": ("istio:ambient", "cilium", "linkerd"),
    "cilium-access": ("linkerd", "cilium", "gateway-api"),
    "gateway-api-routes": ("linkerd", "cilium", "gateway-api"),
    "minimal-mtls/istio": ("cilium", "istio:ambient"),
    "smi": ("linkerd", "cilium", "gateway-api"),
}
"""Further targets of a bundle; `istio:ambient` is Istio's other data plane."""
CHOICES: dict[str, dict[str, Any]] = {"cilium": {"keep_network_policy": False}}
_DURATION = re.compile(r"(\d+)(ms|s|m|h)")
_BY_KEY: dict[str, tuple[Any, ...]] = {
    "retryOn": ("gateway-error", "5xx", "503", "connect-failure"),
    "retry.linkerd.io/http": ("gateway-error", "503"),
    "retry.linkerd.io/grpc": ("cancelled", "internal"),
    "config.linkerd.io/default-inbound-policy": ("deny", "all-unauthenticated", "cluster-authenticated"),
    "config.linkerd.io/opaque-ports": ("8080", "5433"),
    "linkerd.io/inject": ("disabled", "ingress"),
    "istio-injection": ("disabled",),
    "sidecar.istio.io/inject": ("false",),
    "istio.io/dry-run": ("false",),
    "method": ("PATCH", "HEAD"),
    "protocol": ("TCP", "GRPC", "UDP"),
    "proxyProtocol": ("HTTP/2", "gRPC", "opaque", "TLS", "unknown"),
    "scheme": ("http", "https"),
    "operator": ("NotIn", "Exists"),
    "accessPolicy": ("all-authenticated", "audit"),
    "hostname": ("other.example",),
    "authority": ("other.example",),
    "redirectCode": (307, 301, 302),
    "statusCode": (302, 301),
    "httpStatus": (500,),
    "gatewayClassName": ("nginx", "istio"),
    "appProtocol": ("tcp",),
    "mode": (),
    "isFailure": (False, True),
    "parentRef": (),
    "group": (),
    "from": ("All", "Same", "eu2"),
}


@dataclass(frozen=True)
class Leaf:
    """One counted leaf of a bundle, and what the ledger says of it."""

    number: int
    document: int
    kind: str
    path: PathOf
    value: Any
    disposition: str
    reason: str
    outputs: int

    @property
    def shown(self) -> str:
        return ".".join(str(step) for step in self.path)


@dataclass(frozen=True)
class Outcome:
    """A conversion as far as the ledger speaks of it."""

    output: str
    manifests: str
    findings: Counter[tuple[str, ...]]
    said: tuple[Finding, ...]
    counts: dict[str, int]


@dataclass
class Source:
    """A bundle as plain objects."""

    name: str
    mesh: str
    objects: list[dict[str, Any]]
    target: str
    choices: dict[str, Any] = field(default_factory=dict)

    def convert(self, objects: list[dict[str, Any]] | None = None, **choices: Any) -> pipeline.Result:
        """The conversion of the bundle, or of a changed copy of it, to its target."""
        return converted(self.objects if objects is None else objects, self.mesh, self.target, **{**self.choices, **choices})

    def written(self, objects: list[dict[str, Any]] | None = None) -> str:
        """What the conversion of the bundle, or of a changed copy of it, has written before it is read back: half of the work."""
        bundle, table = load_objects(self.objects if objects is None else objects), builtin()
        job = conversion.read(bundle, table, chosen(bundle, self.mesh, self.target, **self.choices), None)
        conversion.write(job)
        mine = job.whole.documents
        objects = [obj.value for obj in job.out.in_order() if obj.changed is None or obj.value != mine[obj.changed].value]
        installed = sorted((item.chart, item.path, str(item.value)) for item in job.out.installs.values())
        return json.dumps([objects, installed], sort_keys=True)


def sources() -> list[Source]:
    """The corpus, and the bundles of this folder: `<mesh>-<what>.yaml`, each for the other mesh and for what `ALSO` names."""
    root = Path(__file__).parents[2]
    folders = [path for path in sorted((root / "corpus").glob("*/*")) if path.is_dir() and path.name.split("-")[0] in ("istio", "linkerd")]
    files = sorted((Path(__file__).parent / "bundles").glob("*.yaml"))
    named = [(f"{path.parent.name}/{path.name}", path) for path in folders] + [(path.stem, path) for path in files]
    found = [_source(name, path) for name, path in named]
    return found + [_towards(item, target) for item in found for target in ALSO.get(item.name, ())]


def _towards(item: Source, wanted: str) -> Source:
    target, _, plane = wanted.partition(":")
    return replace(item, name=f"{item.name} to {wanted}", target=target, choices={"data_plane": plane} if plane else {})


def _source(name: str, path: Path) -> Source:
    mesh = next(mesh for mesh in OPPOSITE if path.stem == mesh or path.stem.startswith(f"{mesh}-"))
    return Source(name, mesh, _objects(load(str(path))), OPPOSITE[mesh])


def _objects(bundle: Bundle) -> list[dict[str, Any]]:
    return [document.value for document in bundle.documents]


def converted(objects: list[dict[str, Any]], source: str, target: str = "", **choices: Any) -> pipeline.Result:
    """The conversion to the target, or to the other mesh."""
    bundle, table = load_objects(objects), builtin()
    return pipeline.convert(bundle, table, chosen(bundle, source, target, **choices), verify=False)


def chosen(bundle: Bundle, source: str, target: str = "", **choices: Any) -> Options:
    """The choices of such a conversion. Network policies of Cilium are translated here, not kept."""
    return resolve(bundle, builtin(), source=source, target=target or OPPOSITE[source], **{**CHOICES.get(source, {}), **choices})


def outcome(result: pipeline.Result) -> Outcome:
    """What there is to see of a result."""
    manifests = sorted(json.dumps(item.object, sort_keys=True) for item in result.manifests)
    ours = [item for item in result.passed_through if dialect_of_group(str(item.get("apiVersion")).rpartition("/")[0])]
    kept = sorted(json.dumps(item, sort_keys=True) for item in ours)
    rest = [result.install, result.removals, kept]
    return Outcome(
        json.dumps([manifests, rest], sort_keys=True),
        json.dumps([manifests, result.install], sort_keys=True),
        Counter(_key(item) for item in result.findings),
        tuple(result.findings),
        result.ledger.counts,
    )


def _key(finding: Finding) -> tuple[str, ...]:
    return finding.code, finding.severity, finding.effect, finding.disposition or "", finding.feature, str(finding.affects), finding.message


def leaves(source: Source, result: pipeline.Result) -> list[Leaf]:
    """Every counted leaf with its line of the ledger."""
    lines = {}
    for (number, _, disposition), line in zip(sorted(result.ledger.judged()), result.ledger, strict=True):
        lines[number] = (disposition, line)
    found = []
    for document, item in enumerate(result.bundle.documents):
        for number, path in leaves_below(item.leaves, ()):
            if number in lines:
                disposition, line = lines[number]
                found.append(Leaf(number, document, item.kind, path, line.value, disposition, line.reason, len(line.outputs)))
    return found


def with_value(objects: list[dict[str, Any]], leaf: Leaf, value: Any) -> list[dict[str, Any]]:
    """The objects with another value at the leaf; `...` takes it away, and what is empty without it."""
    out = list(objects)
    out[leaf.document] = copy.deepcopy(objects[leaf.document])
    holder: Any = out[leaf.document]
    holders = [holder]
    for step in leaf.path[:-1]:
        holder = holder[step]
        holders.append(holder)
    if value is ...:
        del holder[leaf.path[-1]]
        for step, outer, inner in reversed(list(zip(leaf.path, holders, holders[1:], strict=False))):
            if not inner:
                del outer[step]
    else:
        holder[leaf.path[-1]] = value
    return out


class Changes:
    """The other values that each leaf of a bundle may have."""

    def __init__(self, source: Source) -> None:
        self.table = builtin()
        self.bound = Bound(load_objects(source.objects), self.table, READS[source.mesh])
        self.source = source

    def of(self, leaf: Leaf) -> list[Any]:
        """Other valid values; none where there is none that a test can make up."""
        binding = self.bound.bindings[leaf.number]
        document = self.bound.bundle.documents[leaf.document]
        key = str(leaf.path[-1])
        value = leaf.value
        if leaf.path == ("apiVersion",):
            kind = self.table.kind(document.group, document.kind)
            rows = [
                row for row in self.bound.bindings[document.first : document.first + document.count] if row is not None and row.versions
            ]
            served = [version for version in (kind.versions if kind else ()) if all(version in row.versions for row in rows)]
            return [f"{document.group}/{version}" for version in served if version != document.version][:2]
        if leaf.path == ("kind",) or value is None or isinstance(value, dict | list):
            return []
        if key == "protocol" and document.group == "cilium.io":
            return [other for other in ("UDP", "SCTP") if other != value]
        if key == "weight" and document.kind in ("HTTPRoute", "GRPCRoute"):
            return [*_others(value, leaf, ""), "0" if isinstance(value, str) else 0]
        if key in _BY_KEY and (_BY_KEY[key] or not (binding and binding.values)):
            return [other for other in _BY_KEY[key] if other != value]
        if document.kind == "Service" and key == "name" and "ports" in leaf.path:
            return [other for other in ("tcp-plain", "http-plain") if other.partition("-")[0] != str(value).partition("-")[0]]
        if key == "targetPort" and isinstance(value, str):
            return [f"{value}z", 9999]
        if "matchLabels" in leaf.path or leaf.path[:2] == ("spec", "selector"):
            return [*_others(value, leaf, ""), *self._values_of(key, value)]
        if key in ("port", "endPort") and "endPort" in (holder := _holder(document.value, leaf.path)):
            return [
                *_others(value, leaf, ""),
                str(holder["endPort"]) if key == "port" else int(holder["port"]),
            ]  # the end of a range may cross nothing
        if "sniHosts" in leaf.path and document.kind == "VirtualService":  # each is one of the hosts of the object
            return [host for host in document.value["spec"]["hosts"] if host != value and "*" not in host]
        if key == "resolution" and "endpoints" in _holder(document.value, leaf.path):
            return [other for other in ("DNS", "STATIC") if other != value]  # NONE takes no endpoints
        if binding is not None and binding.values:
            return [other for other in binding.values if other != str(value) and other not in ("", "UNDEFINED")]
        return list(_others(value, leaf, binding.type if binding else ""))

    def elsewhere(self, leaf: Leaf) -> list[Any]:
        """Values that leaves of the same key have elsewhere in the bundle: another namespace, another account, another method."""
        if leaf.path[-1] in ("apiVersion", "kind") or isinstance(leaf.value, dict | list | None):
            return []
        key = _key_of(leaf.path)
        found = {value for item in self.source.objects for path, value in _scalars(item, ()) if _key_of(path) == key}
        binding = self.bound.bindings[leaf.number]
        allowed = binding.values if binding is not None else ()
        return sorted(
            (value for value in found - {leaf.value} if type(value) is type(leaf.value) and (not allowed or str(value) in allowed)), key=str
        )

    def _values_of(self, key: str, value: Any) -> list[str]:
        """The other values that a label has somewhere in the bundle."""
        found: set[str] = set()
        for item in self.source.objects:
            template = (item.get("spec") or {}).get("template") or {}
            for metadata in (item.get("metadata") or {}, template.get("metadata") or {}):
                if key in (metadata.get("labels") or {}):
                    found.add(str(metadata["labels"][key]))
        return sorted(found - {value})


def _key_of(path: PathOf) -> str:
    return next((step for step in reversed(path) if isinstance(step, str)), "")


def _scalars(value: Any, path: PathOf) -> Iterator[tuple[PathOf, Any]]:
    if isinstance(value, dict | list):
        for step, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _scalars(below, (*path, step))
    else:
        yield path, value


def _holder(value: Any, path: PathOf) -> Any:
    for step in path[:-1]:
        value = value[step]
    return value


def _others(value: Any, leaf: Leaf, kind: str) -> Iterator[Any]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
        if value > 1:
            yield value - 1
    elif isinstance(value, float):
        yield value / 2
    elif found := _DURATION.fullmatch(value):
        yield f"{int(found[1]) + 1}{found[2]}"
    elif value.isdigit():
        yield str(int(value) + 1)
    elif value in ("true", "false"):
        yield "false" if value == "true" else "true"
    elif re.fullmatch(r"\d+m", value):
        yield f"{int(value[:-1]) + 1}m"
    elif "/" in value and re.fullmatch(r"[\d.]+/\d+", value):
        yield ("11" if not value.startswith("11") else "12") + value[value.index(".") :]
    elif re.fullmatch(r"[\d,]+", value):
        yield value.rpartition(",")[0] + ("," if "," in value else "") + str(int(value.rpartition(",")[2]) + 1)
    elif value == "*":
        yield "."
        yield "web"
    elif value == ".":
        yield "*"
        yield "lab"
    elif re.fullmatch(r"[a-z][a-z0-9-]*(\.[a-z0-9-]+)+(:\d+)?", value):
        yield "z" + value
    elif value.startswith("^") and value.endswith("$"):
        yield value[:-1] + "z$"
    elif value.endswith(("*", "]+", "]")):
        yield value[:-1].rstrip("*]+[^/{id}") + "z" + value[len(value[:-1].rstrip("*]+[^/{id}")) :] if "[" in value else "/z" + value
    else:
        yield value + "z"
