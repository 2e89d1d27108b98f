"""Objects that hold one leaf of a CRD each, and what is wrong with their conversions.

The schemas are those of `../shared/crds`, as `../shared/tools/crdcheck.py` reads them. Run as a script from the root of the checkout, it goes through
every leaf of every kind, at every served version, to every target:

    PYTHONPATH=.:tests .venv/bin/python tests/conformance/every_leaf.py [--kind istio/VirtualService] [--target linkerd] [--reasons] [--workers 2]
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from meshport import pipeline
from meshport.documents import load_objects
from meshport.mapping.exclusive import clashes
from meshport.mapping.table import builtin, dialect_of_group
from meshport.options import resolve

SHARED = Path(__file__).parents[3] / "shared"
THERE = (SHARED / "tools" / "crdcheck.py").is_file() and (SHARED / "crds").is_dir()
TARGETS = ("istio", "ambient", "linkerd", "cilium", "gateway-api")
DEFECTS = ("MP900", "MP901", "MP902", "MP904")
LOST = ("dropped", "manual", "invalid")
Path_ = tuple[str, ...]

# Values that mean something in the world of every_leaf.yaml, by the end of the path; the longest end counts.
SAMPLES: dict[str, tuple[Any, ...]] = {
    "host": ("cart", "web"),
    "spec.hosts[]": ("cart", "web"),
    "servers[].hosts[]": ("shop.example", "*.example"),
    "egress[].hosts[]": ("eu/*", "./*"),
    "hostnames[]": ("shop.example", "eu.example"),
    "hostname": ("shop.example", "eu.example"),
    "exportTo[]": (".", "*"),
    "subset": ("v1", "v2"),
    "gateways[]": ("mesh", "edge"),
    "namespace": ("shop", "eu"),
    "namespaces[]": ("eu", "shop"),
    "notNamespaces[]": ("eu", "shop"),
    "sourceNamespace": ("shop", "eu"),
    "principals[]": ("cluster.local/ns/eu/sa/web", "cluster.local/ns/shop/sa/web"),
    "notPrincipals[]": ("cluster.local/ns/eu/sa/web", "cluster.local/ns/shop/sa/web"),
    "serviceAccounts[]": ("shop/web", "eu/web"),
    "notServiceAccounts[]": ("shop/web", "eu/web"),
    "serviceAccounts[].name": ("web", "cart"),
    "serviceAccount": ("web", "cart"),
    "requestPrincipals[]": ("https://issuer.example/*", "*"),
    "notRequestPrincipals[]": ("https://issuer.example/*", "*"),
    "ipBlocks[]": ("192.0.2.0/24", "198.51.100.0/24"),
    "notIpBlocks[]": ("192.0.2.0/24", "198.51.100.0/24"),
    "remoteIpBlocks[]": ("192.0.2.0/24", "198.51.100.0/24"),
    "notRemoteIpBlocks[]": ("192.0.2.0/24", "198.51.100.0/24"),
    "sourceSubnets[]": ("192.0.2.0/24", "198.51.100.0/24"),
    "destinationSubnets[]": ("192.0.2.0/24", "198.51.100.0/24"),
    "operation.hosts[]": ("cart.example", "*.example"),
    "operation.notHosts[]": ("cart.example", "*.example"),
    "operation.ports[]": ("8080", "9090"),
    "operation.notPorts[]": ("9090", "5432"),
    "operation.methods[]": ("GET", "POST"),
    "operation.notMethods[]": ("DELETE", "PUT"),
    "operation.paths[]": ("/api/*", "/exact"),
    "operation.notPaths[]": ("/admin/*", "/secret"),
    "when[].key": ("source.namespace", "request.headers[x-team]"),
    "when[].values[]": ("eu", "shop"),
    "when[].notValues[]": ("eu", "shop"),
    "targetRef.kind": ("Service",),
    "targetRefs[].kind": ("Service",),
    "targetRef.group": ("",),
    "targetRefs[].group": ("",),
    "targetRef.name": ("cart", "web"),
    "targetRefs[].name": ("cart", "web"),
    "parentRefs[].name": ("cart", "web"),
    "backendRefs[].name": ("cart", "web"),
    "backendRef.name": ("web", "cart-canary"),
    "backendRefs[].kind": ("Service", "Other"),
    "backendRefs[].group": ("", "example.com"),
    "backendRef.kind": ("Service", "Other"),
    "backendRef.group": ("", "example.com"),
    "mtls.mode": ("STRICT", "PERMISSIVE"),
    "matchLabels": ({"app": "cart"}, {"app": "web"}),
    "matchLabels.*": ("cart", "web"),
    "externalWorkloadSelector.matchLabels": ({"app": "cart"}, {"app": "web"}),
    "labels.*": ("v1", "v2"),
    "workloadSelector.labels.*": ("cart", "web"),
    "selector.labels.*": ("cart", "web"),
    "spec.selector.*": ("ingressgateway", "edge"),
    "matchExpressions[].key": ("app", "version"),
    "matchExpressions[].operator": ("In", "NotIn"),
    "matchExpressions[].values[]": ("cart", "web"),
    "port": (80, 9090),
    "ports[].port": ("8080", "9090"),
    "ports[].endPort": (8090, 9000),
    "port.number": (80, 9090),
    "proxyProtocol": ("HTTP/1", "opaque"),
    "cidr": ("192.0.2.0/24", "198.51.100.0/24"),
    "networks[].except[]": ("192.0.2.128/25", "192.0.2.0/25"),
    "cidrs[]": ("192.0.2.0/24", "198.51.100.0/24"),
    "except[]": ("192.0.2.128/25", "192.0.2.0/25"),
    "fromCIDR[]": ("192.0.2.0/24", "198.51.100.0/24"),
    "toCIDR[]": ("192.0.2.0/24", "198.51.100.0/24"),
    "cidrGroupRef": ("office",),
    "toFQDNs[].matchName": ("api.example.com", "eu.example.com"),
    "toFQDNs[].matchPattern": ("*.example.com", "*.example.org"),
    "dns[].matchName": ("api.example.com", "eu.example.com"),
    "dns[].matchPattern": ("*.example.com", "*.example.org"),
    "fromEntities[]": ("world", "cluster", "host"),
    "toEntities[]": ("world", "cluster", "host"),
    "address": ("10.1.2.3", "10.1.2.4"),
    "endpoints[].address": ("192.0.2.7", "192.0.2.8"),
    "addresses[]": ("192.0.2.9", "192.0.2.10"),
    "ip": ("10.1.2.3", "10.1.2.4"),
    "path": ("/api", "/shop"),
    "pathRegex": ("/api/.*", "/shop/.*"),
    "path.value": ("/api", "/shop"),
    "method": ("GET", "POST"),
    "method.exact": ("GET", "POST"),
    "method.regex": ("GET|HEAD", "POST|PUT"),
    "method.prefix": ("P", "G"),
    "uri.exact": ("/api", "/shop"),
    "uri.prefix": ("/api", "/shop/"),
    "uri.regex": ("/api/[0-9]+", "/shop/.*"),
    "httpGet.scheme": ("HTTP", "HTTPS"),
    "allowOrigins[]": ("https://shop.example", "https://eu.example"),
    "replaceFullPath": ("/x", "/y"),
    "replacePrefixMatch": ("/x", "/y"),
    "subjectAltNames[].uri": ("spiffe://cluster.local/ns/shop/sa/web", "spiffe://cluster.local/ns/eu/sa/web"),
    "subjectAltNames[].type": ("Hostname",),
    "method.service": ("cart.Cart", "cart.Other"),
    "method.method": ("Get", "Put"),
    "toPorts[].port": ("8080", "9090"),
    "toPorts[].name": ("http", "grpc"),
    "tls.options.*": ("a", "b"),
    "addresses[].type": ("IPAddress",),
    "sectionName": ("http", "grpc"),
    "dstOverrides[].authority": ("cart-canary.shop.svc.cluster.local:80", "web.shop.svc.cluster.local:80"),
    "condition.all[]": ({"method": "GET"}, {"method": "POST"}),
    "condition.any[]": ({"method": "GET"}, {"method": "POST"}),
    "scheme.exact": ("http", "https"),
    "authority.exact": ("cart.example", "shop.example"),
    "http.*": ("gateway-error", "5xx"),
    "retryOn": ("5xx", "gateway-error,connect-failure"),
    "redirectCode": (307, 302),
    "status": (503, 404),
    "httpStatus": (503, 404),
    "codes[]": (503, 502),
    "code": (503, 502),
    "percent": (10, 50),
    "percentage.value": (10, 50),
    "attempts": (3, 5),
    "numerator": (25, 50),
    "denominator": (1000, 200),
    "caCertificates": ("/etc/certs/root.pem", "/etc/certs/other.pem"),
    "issuer": ("https://issuer.example", "https://other.example"),
    "jwksUri": ("https://issuer.example/keys", "https://other.example/keys"),
    "identities[]": ("web.shop.serviceaccount.identity.linkerd.cluster.local", "web.eu.serviceaccount.identity.linkerd.cluster.local"),
    "meshTLS.identity": ("spiffe://root.linkerd.cluster.local/machine", "spiffe://root.linkerd.cluster.local/other"),
    "meshTLS.serverName": (
        "machine.shop.serviceaccount.identity.linkerd.cluster.local",
        "other.shop.serviceaccount.identity.linkerd.cluster.local",
    ),
    "subjectAltNames[]": ("spiffe://cluster.local/ns/shop/sa/web", "cart.example"),
    "sni": ("db.example", "eu.example"),
    "sniHosts[]": ("cart", "web"),
    "url": ("oci://registry.example/filter", "https://registry.example/filter.wasm"),
    "sha256": ("0" * 64, "1" * 64),
    "bind": ("0.0.0.0", "127.0.0.1"),
    "defaultEndpoint": ("127.0.0.1:8080", "127.0.0.1:9090"),
    "regex": ("a.*", "b.*"),
    "regexRewrite.match": ("/a/(.*)", "/b/(.*)"),
    "regexRewrite.rewrite": ("/x/\\1", "/y/\\1"),
    "Cron": ("* * * * *",),
    "maxEjectionPercent": (50, 20),
    "minHealthPercent": (30, 40),
    "resources[]": (),
    "protocols[].*": (),
    "ttl": ("10s", "20s"),
    "timeoutRetry": ("10s",),
    "backendRequest": ("5s", "2s"),
    "idleTimeout": ("1h", "30m"),
    "sessionName": ("cart-session", "other"),
    "retryRatio": (0.2, 0.5),
    "gatewayClassName": ("istio", "cilium"),
    "protocol": ("HTTP", "HTTPS"),
    "toPorts[].ports[].protocol": ("TCP", "UDP"),
    "port.protocol": ("HTTP", "GRPC"),
    "ports[].protocol": ("HTTP", "TCP"),
    "ports.*": (8080, 9090),
    "portLevelMtls.*.mode": ("DISABLE", "STRICT"),
    "portLevelSettings[].port.number": (80, 9090),
    "distribute[].to.*": (100,),
    "distribute[].from": ("eu-west/*", "us-east/*"),
    "locality": ("eu-west/zone1", "us-east/zone2"),
    "failover[].from": ("eu-west", "eu-east"),
    "failover[].to": ("us-east", "us-west"),
    "failoverPriority[]": ("topology.kubernetes.io/region", "topology.kubernetes.io/zone"),
    "headers.*.exact": ("a", "b"),
    "allowOrigins[].exact": ("https://shop.example", "https://eu.example"),
    "allowOrigin[]": ("https://shop.example", "https://eu.example"),
    "expression": ("response.code >= 400",),
    "privateKeyProvider": (),
    "controllerName": ("istio.io/gateway-controller",),
    "externalCIDRs[]": ("192.0.2.0/24", "198.51.100.0/24"),
    "destinationCIDRs[]": ("192.0.2.0/24", "198.51.100.0/24"),
    "excludedCIDRs[]": ("192.0.2.0/28", "192.0.2.16/28"),
    "probeSpec.period": ("3s", "5s"),
    "tolerance": (),
    "rules.kafka[].role": ("produce", "consume"),
    "apiKey": ("produce", "fetch"),
    "icmps[].fields[].type": (8, 0),
    "number": (80, 9090),
    "serverNames[]": ("db.example", "eu.example"),
    "originalPath": (),
    "parentRefs[].sectionName": ("http", "grpc"),
    "defaultFilters": (),
    "minTLSVersion": (),
}
KEYS = {
    "labels": "version", "matchLabels": "app", "portLevelMtls": "8080", "ports": "http", "to": "eu-west/*", "headers": "x-team",
    "queryParams": "user", "withoutHeaders": "x-team", "environmentVariables": "LEVEL", "claims": "iss", "selector": "istio",
    "appendHeaders": "x-a", "set": "x-a", "add": "x-a",
}  # fmt: skip


@dataclass
class Case:
    """One leaf of one kind at one version: a valid object that holds it, and the same with another value."""

    kind: str  # istio/VirtualService
    api: str
    path: str  # as in the binding rows
    place: tuple[str | int, ...]
    object: dict[str, Any]
    others: list[dict[str, Any]] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.kind} {self.api.rpartition('/')[2]} {self.path}"


@cache
def checker(**releases: str) -> Any:
    """The CRDs as a judge of objects."""
    sys.path.insert(0, str(SHARED / "tools"))
    try:
        from crdcheck import Checker  # type: ignore[import-not-found]

        return Checker(**releases)
    finally:
        sys.path.remove(str(SHARED / "tools"))


@cache
def rows() -> dict[str, Any]:
    """every_leaf.yaml."""
    loaded: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
    return loaded


def kinds() -> list[str]:
    return list(rows()["kinds"])


def cases(kind: str) -> Iterator[Case | str]:
    """A case for each leaf of each served version; the name of a leaf that no valid object was found for."""
    dialect, name = kind.split("/")
    for (api, known), (schema, _) in sorted(checker().schemas.items(), key=lambda item: item[0]):
        if known != name or dialect_of_group(api.rpartition("/")[0]) != dialect:
            continue
        spec = rows()["kinds"][kind]
        base = {"apiVersion": api, "kind": name, **spec["base"]}
        for path, leaf in leaves(schema):
            found = [made for value in values(dialect, name, api, path, leaf) if (made := holding(schema, base, path, value)) is not None]
            if not found:
                yield f"{kind} {api} {path}"
                continue
            (place, first), rest = found[0], found[1:]
            yield Case(kind, api, path, place, first, [made for at, made in rest if at == place])


def leaves(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every path of a schema that a value may stand at, with what may."""

    def walk(path: str, node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        properties, extra = node.get("properties"), node.get("additionalProperties")
        if properties:
            for name, below in properties.items():
                yield from walk(f"{path}.{name}", below)
        elif node.get("type") == "array":
            if node.get("maxItems") != 0:
                yield from walk(f"{path}[]", node.get("items") or {})
        elif isinstance(extra, dict):
            yield from walk(f"{path}.*", extra)
        else:
            yield path, node

    for name, node in (schema.get("properties") or {}).items():
        if name not in ("apiVersion", "kind", "metadata", "status"):
            yield from walk(name, node)


def values(dialect: str, kind: str, api: str, path: str, leaf: dict[str, Any]) -> list[Any]:
    """Values that the leaf may have: two where they can be made up, all of an enumeration."""
    row = builtin().kind(api.rpartition("/")[0], kind)
    node = row.root if row else None
    for step in path.replace("[]", ".[]").split("."):
        node = None if node is None else node.item if step == "[]" else node.child(step)
    binding = node.binding if node is not None else None
    ends = [end for end in SAMPLES if path == end or path.endswith("." + end) or (path.endswith(end) and end.startswith("."))]
    kind_of = binding.type if binding and binding.type else leaf.get("type", "")
    listed = leaf.get("enum") or next((part["enum"] for part in leaf.get("allOf", ()) if "enum" in part), None)
    if listed:
        return list(listed)
    if binding and binding.values:
        return [int(value) if leaf.get("type") == "integer" else value for value in binding.values]
    if ends:
        found = list(SAMPLES[max(ends, key=len)])
        fitting = [value for value in found if _fits(leaf, value)]
        if fitting:
            return fitting
    if kind_of == "boolean":
        return [True, False]
    if kind_of == "duration":
        return ["10s", "20s"]
    if leaf.get("x-kubernetes-int-or-string") or kind_of == "int-or-string":
        return [8080, 9090]
    if kind_of in ("integer", "number"):
        low = int(leaf.get("minimum", 1)) or 1
        high = int(leaf.get("maximum", low + 7))
        return [low, min(low + 1, high)] if low != high else [low]
    if kind_of == "string" or leaf.get("type") == "string":
        return ["cart", "web"]
    return [{"key": "value"}, {"key": "other"}]


def _fits(leaf: dict[str, Any], value: Any) -> bool:
    kind = leaf.get("type")
    if leaf.get("x-kubernetes-int-or-string"):
        return True
    types = {"integer": int, "number": (int, float), "boolean": bool, "string": str}
    return kind not in types or isinstance(value, types[kind])  # type: ignore[arg-type]


def holding(schema: dict[str, Any], base: dict[str, Any], path: str, value: Any) -> tuple[tuple[str | int, ...], dict[str, Any]] | None:
    """A valid object with the value at the path, and the place: the base with as little taken away as makes it valid."""
    steps = path.replace("[]", ".[]").split(".")
    place = tuple(0 if step == "[]" else KEYS.get(steps[index - 1], "x-a") if step == "*" else step for index, step in enumerate(steps))
    if place[0] == "specs":
        base = {**{name: one for name, one in base.items() if name != "spec"}, "specs": [base["spec"]]}
    for less in _less(base, place):
        _set(less, schema, place, value)
        _mend(less, place, value)
        if taken(less):
            return place, less
    return None


def _mend(made: dict[str, Any], place: tuple[str | int, ...], value: Any) -> None:
    """What the API server asks for and a schema does not say by itself: a filter's own member, the TLS of a listener."""
    holder: Any = made
    holders = [holder := holder[step] for step in place[:-1]]
    if len(place) > 2 and place[-1] == "type" and place[-3] == "filters":
        name = next((name for name in FILTERS if TAKES[name]["type"] == value), "")
        if name:
            holders[-1][name] = copy.deepcopy(FILTERS[name])
    for one, step in zip(holders, place[1:], strict=False):
        if step == "tls" and isinstance(one, dict):
            if isinstance(one.get("port"), dict) and "hosts" in one:
                one["port"] = {"number": 443, "name": "https", "protocol": "HTTPS"}
                one["tls"].setdefault("mode", "SIMPLE") if place[-1] != "mode" else None
            elif "certificateRefs" not in one["tls"] and one.get("protocol") == "HTTPS":
                one["tls"]["certificateRefs"] = [{"name": "edge"}]
        if step in ("replacePrefixMatch",) and "rules" in made["spec"]:
            made["spec"]["rules"][0]["matches"] = [{"path": {"type": "PathPrefix", "value": "/api"}}]
    if len(place) > 2 and place[-1] == "type" and value in ("ReplaceFullPath", "ReplacePrefixMatch"):
        holders[-1][str(value)[0].lower() + str(value)[1:]] = "/x"
    for one in _mappings(made):
        if isinstance(one.get("backendRef"), dict) and ("filters" in place or "name" in one["backendRef"]):
            one["backendRef"].setdefault("name", "web")
            if one["backendRef"].get("kind", "Service") == "Service":
                one["backendRef"].setdefault("port", 80)
        if one.get("protocol") in ("HTTP", "GRPC") and "backendRef" in one:
            one.setdefault(one["protocol"].lower(), {})
    if "replacePrefixMatch" in json.dumps(made):
        made["spec"]["rules"][0]["matches"] = [{"path": {"type": "PathPrefix", "value": "/api"}}]


def taken(made: dict[str, Any]) -> bool:
    """Whether a cluster takes the object: by its schema, and by what the binding rows know of the mesh's own admission."""
    kind = builtin().kind(made["apiVersion"].rpartition("/")[0], made["kind"])
    return not list(checker().check(made)) and (kind is None or not list(clashes(made, kind)))


def _mappings(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for below in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _mappings(below)


def _less(base: dict[str, Any], place: tuple[str | int, ...]) -> Iterator[dict[str, Any]]:
    """The base, and the base without what may not stand beside the place: one member of a level, a level, all levels from one on."""
    yield copy.deepcopy(base)
    levels: list[tuple[tuple[str | int, ...], list[str]]] = []
    holder: Any = base
    for depth, step in enumerate(place):
        if isinstance(holder, dict) and depth:
            levels.append((place[:depth], [name for name in holder if name != step]))
        holder = holder.get(step) if isinstance(holder, dict) else holder[0] if isinstance(holder, list) and holder else None
    for at, members in reversed(levels):
        for name in members:
            yield _without(base, at, [name])
    for at, members in reversed(levels):
        yield _without(base, at, members)
    made = base
    for at, members in reversed(levels):
        made = _without(made, at, members)
        yield copy.deepcopy(made)


def _without(base: dict[str, Any], at: tuple[str | int, ...], members: list[str]) -> dict[str, Any]:
    made = copy.deepcopy(base)
    holder: Any = made
    for step in at:
        holder = holder[step]
    for name in members:
        holder.pop(name, None)
    return made


def _set(holder: Any, schema: dict[str, Any], place: tuple[str | int, ...], value: Any) -> None:
    """Write the value at the place, and what its holders need beside it."""
    for depth, step in enumerate(place):
        if isinstance(holder, dict):
            _complete(schema, holder, step)
        if isinstance(step, int):
            schema = schema.get("items") or {}
        else:
            found = (schema.get("properties") or {}).get(step) or schema.get("additionalProperties") or {}
            schema = found if isinstance(found, dict) else {}
        if depth == len(place) - 1:
            below = value
        else:
            fresh: Any = [] if isinstance(place[depth + 1], int) else {}
            below = (holder[0] if holder else fresh) if isinstance(step, int) else holder.get(step, fresh)
            below = below if type(below) is type(fresh) else fresh
        if isinstance(step, int):
            holder[:1] = [below]
        else:
            holder[step] = below
        holder = below


def _complete(schema: dict[str, Any], value: dict[str, Any], but: str | int) -> None:
    """Give a mapping the members that it needs, and those that its member means nothing without, but the one that is about to be written."""
    for name in schema.get("required") or ():
        if name not in value and name != but:
            value[name] = _sample(schema["properties"][name], name)
    properties = schema.get("properties") or {}
    for name, needed in NEEDED.get(str(but), {}).items():
        if name in properties and name not in value:
            value[name] = copy.deepcopy(needed)
    for name, needed in TAKES.get(str(but), {}).items():
        if name in properties and properties[name].get("type") != "object":
            value[name] = copy.deepcopy(needed)


NEEDED: dict[str, dict[str, Any]] = {
    **{key: {"port": {"number": 80}} for key in ("connectionPool", "loadBalancer", "outlierDetection", "tls")},
    "operator": {"key": "version", "values": ["v1"]},
    "key": {"operator": "In", "values": ["cart"]},
    "except": {"cidr": "192.0.2.0/24"},
    "l7": {"l7proto": "custom"},
    **{key: {"address": "192.0.2.7"} for key in ("labels", "locality", "ports", "serviceAccount")},
    "weight": {"address": "192.0.2.7", "authority": "cart-canary.shop.svc.cluster.local:80"},
    "type": {"service": "cart.Cart", "name": "x-team", "value": "a", "hostname": "cart.example"},
}
"""Members that the member named means nothing without."""

FILTERS: dict[str, dict[str, Any]] = {
    "requestHeaderModifier": {"set": [{"name": "x-a", "value": "a"}]},
    "responseHeaderModifier": {"set": [{"name": "x-a", "value": "a"}]},
    "requestMirror": {"backendRef": {"name": "web", "port": 80}},
    "requestRedirect": {"hostname": "shop.example"},
    "urlRewrite": {"hostname": "shop.example"},
    "cors": {"allowOrigins": ["https://shop.example"]},
    "externalAuth": {"protocol": "HTTP", "backendRef": {"name": "web", "port": 80}, "http": {}},
    "extensionRef": {"group": "example.com", "kind": "Filter", "name": "one"},
}
TAKES: dict[str, dict[str, Any]] = {
    **{
        name: {"type": "URLRewrite" if name == "urlRewrite" else name.upper() if name == "cors" else name[0].upper() + name[1:]}
        for name in FILTERS
    },
    "tls": {"protocol": "HTTPS", "port": 443},
    "replaceFullPath": {"type": "ReplaceFullPath"},
    "replacePrefixMatch": {"type": "ReplacePrefixMatch"},
    "uri": {"type": "URI"},
    "grpc": {"protocol": "GRPC"},
    "http": {"protocol": "HTTP"},
}
"""Members that have to be so for the member named."""


def _sample(schema: dict[str, Any], name: str) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "array":
        return [_sample(schema.get("items") or {}, name)]
    if kind == "object" or schema.get("properties"):
        made: dict[str, Any] = {}
        _complete(schema, made, "")
        return made
    if name in ("duration", "interval", "timeout"):
        return "60s"
    if name in SAMPLES and SAMPLES[name] and _fits(schema, SAMPLES[name][0]):
        return SAMPLES[name][0]
    if kind == "integer":
        return max(int(schema.get("minimum", 1)), 1)
    return {"boolean": True, "number": 1}.get(kind or "", 80 if schema.get("x-kubernetes-int-or-string") else "cart")


def world(kind: str) -> list[dict[str, Any]]:
    """What the object stands in: namespaces in the mesh, Services, workloads, and what it refers to."""
    dialect = kind.split("/")[0]
    found = copy.deepcopy(rows()["world"])
    for item in found:
        if item["kind"] == "Namespace":
            item["metadata"].update(copy.deepcopy(rows()["marks"].get(dialect) or {}))
    return [*found, *copy.deepcopy(rows()["kinds"][kind].get("beside") or [])]


@dataclass
class Said:
    """What a conversion made of the leaf: `problems` are defects."""

    disposition: str
    reason: str
    codes: list[str]
    outputs: int
    manifests: str
    findings: Counter[tuple[str, ...]]
    problems: list[str]


def judged(case: Case, target: str, made: dict[str, Any] | None = None, *, check: bool = True) -> Said:
    """The conversion of the case's object (or of another) in its world, and what is wrong with it."""
    source = case.kind.split("/")[0]
    objects = [*world(case.kind), made or case.object]
    bundle = load_objects(objects)
    choices: dict[str, Any] = {"data_plane": "ambient"} if target == "ambient" else {}
    options = resolve(bundle, builtin(), source=source, target="istio" if target == "ambient" else target, **choices)
    result = pipeline.convert(bundle, builtin(), options)
    counts = result.ledger.counts
    problems = []
    if counts["leaves"] != sum(count for word, count in counts.items() if word != "leaves") or counts["unaccounted"]:
        problems.append(f"the ledger does not add up: {counts}")
    problems += [f"{item.code} {item.message}" for item in result.findings if item.code in DEFECTS]
    problems += [f"{item.code} {item.message}" for item in result.findings if re.search(r"\{[a-z_]+\}", item.message + item.remedy)]
    said = Said("", "", [], 0, "", Counter(), problems)
    shown = _shown(case.place)
    for line in result.ledger:
        if line.disposition in LOST and not line.codes:
            problems.append(f"{line.path} of document {line.document} is {line.disposition}, and no finding names it")
        if line.document == len(objects) - 1 and (line.path == shown or (line.path.startswith(shown) and not said.disposition)):
            said.disposition, said.reason, said.codes, said.outputs = line.disposition, line.reason, line.codes, len(line.outputs)
    group, _, _ = case.api.rpartition("/")
    row = builtin().kind(group, case.kind.split("/")[1])
    if not said.disposition and not (row is not None and row.passes):
        problems.append("the ledger has no line of the leaf")
    if said.disposition == "irrelevant" and not said.reason:
        problems.append("the leaf decides nothing, and no reason is given")
    if check:
        for item in result.manifests:
            problems += [f"{item.object['kind']} {item.object['metadata'].get('name')}: {fault}" for fault in checker().check(item.object)]
    said.manifests = json.dumps([sorted(json.dumps(item.object, sort_keys=True) for item in result.manifests), result.install])
    said.findings = Counter((item.code, item.disposition or "", str(item.affects), item.message) for item in result.findings)
    return said


def _shown(place: tuple[str | int, ...]) -> str:
    from meshport.documents import format_path

    return format_path(place)


def problems(case: Case, target: str, *, changing: bool = True) -> tuple[Said | None, list[str]]:
    """What is wrong with the case towards the target; a second value has to do what the ledger says of the leaf."""
    try:
        said = judged(case, target)
        found = list(said.problems)
        others = [judged(case, target, other, check=False) for other in case.others] if changing else []
        for other in others:
            found += [problem for problem in other.problems if problem not in found]
        same = [other for other in others if other.disposition == said.disposition]
        if same and said.disposition in ("translated", "approximated", "installed"):
            reached = said.outputs or not said.reason
            if all(other.manifests == said.manifests and (reached or other.findings == said.findings) for other in same) and said.outputs:
                found.append(f"{said.disposition}, {said.outputs} outputs, but another value changes nothing ({said.reason})")
        if said.disposition == "irrelevant":
            for other in same:
                if other.manifests != said.manifests:
                    found.append(f"another value changes the output, although: {said.reason}")
                    break
        return said, found
    except Exception:
        return None, [traceback.format_exc(limit=-3)]


def _run(job: tuple[str, tuple[str, ...]]) -> list[tuple[str, str, str, str, list[str], list[str]]]:
    kind, targets = job
    out = []
    for case in cases(kind):
        if isinstance(case, str):
            out.append((case, "", "no valid object", "", [], []))
            continue
        for target in targets:
            said, found = problems(case, target)
            out.append(
                (str(case), target, said.disposition if said else "", said.reason if said else "", said.codes if said else [], found)
            )
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", action="append")
    parser.add_argument("--target", action="append", choices=TARGETS)
    parser.add_argument("--reasons", action="store_true", help="print what became of each leaf")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    jobs = [(kind, tuple(args.target or TARGETS)) for kind in args.kind or kinds()]
    seen: Counter[str] = Counter()
    with ProcessPoolExecutor(args.workers) as pool:
        for result in pool.map(_run, jobs):
            for case, target, disposition, reason, codes, found in result:
                seen[f"{target} {disposition}"] += 1
                if args.reasons or not target:
                    sys.stdout.write(f"{case} → {target}: {disposition} {','.join(codes)} {reason}\n")
                for problem in found:
                    seen["problems"] += 1
                    sys.stdout.write(f"{case} → {target}: PROBLEM {problem}\n")
    sys.stderr.write(f"{dict(seen)}\n")
    return 1 if seen["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
