"""Flatten CustomResourceDefinitions into the paths that a manifest may use.

Shared by ``bindings_skeleton.py`` and ``check_tables.py``. A path is written as in
``mappings/bindings``: ``[]`` stands for every item of a list, ``.*`` for every key of a map.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

# A CRD field whose rules mention one of these is a duration, whatever its schema type says.
_DURATION = re.compile(r"valid duration|duration\(self\)|\{1,5\}\(h\|m\|s\|ms\)")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Leaf:
    """One path of a kind: what may stand there."""

    type: str = "string"
    values: tuple[str, ...] = ()
    versions: set[str] = field(default_factory=set)


@dataclass
class Kind:
    """One kind: its served versions (newest first, as the CRD lists them) and its leaves."""

    group: str
    kind: str
    plural: str
    scope: str = "Namespaced"
    versions: list[str] = field(default_factory=list)
    leaves: dict[str, Leaf] = field(default_factory=dict)
    history: dict[Any, dict[str, str]] = field(default_factory=dict)  # filled by bindings_skeleton


def load_crds(paths: list[Path]) -> dict[tuple[str, str], Kind]:
    """The kinds that the CRD files define, keyed by (group, kind); several files of one kind unite."""
    kinds: dict[tuple[str, str], Kind] = {}
    for path in paths:
        for doc in yaml.load_all(path.read_text(encoding="utf-8"), Loader=_LOADER):
            if not isinstance(doc, dict) or doc.get("kind") != "CustomResourceDefinition":
                continue
            spec = doc["spec"]
            key = (spec["group"], spec["names"]["kind"])
            kind = kinds.setdefault(key, Kind(*key, plural=spec["names"]["plural"], scope=spec["scope"]))
            for version in spec["versions"]:
                if not version.get("served", True):
                    continue
                if version["name"] not in kind.versions:
                    kind.versions.append(version["name"])
                _add(kind, version["name"], (version.get("schema") or {}).get("openAPIV3Schema") or {})
    for kind in kinds.values():
        kind.versions.sort(key=_version_rank)
    return kinds


def load_schemas(paths: list[Path], group: str, names: dict[str, str]) -> dict[tuple[str, str], Kind]:
    """The kinds of JSON schema files called ``<kind>_<version>.json``, as `load_crds` has them; `names` gives a kind its capitals.

    A schema names neither plural nor scope.
    """
    kinds: dict[tuple[str, str], Kind] = {}
    for path in paths:
        low, _, version = path.stem.partition("_")
        key = (group, names.get(low, low))
        kind = kinds.setdefault(key, Kind(*key, plural=""))
        if version not in kind.versions:
            kind.versions.append(version)
        _add(kind, version, json.loads(path.read_text(encoding="utf-8")))
    for kind in kinds.values():
        kind.versions.sort(key=_version_rank)
    return kinds


def _add(kind: Kind, version: str, schema: dict[str, Any]) -> None:
    """Take what one version of a kind has into its leaves."""
    for name, sub in (schema.get("properties") or {}).items():
        if name in ("apiVersion", "kind", "metadata"):
            continue
        for where, leaf in _walk(name, sub):
            known = kind.leaves.setdefault(where, leaf)
            known.versions.add(version)
            if known.type in ("string", "integer") and leaf.type != "object":  # later releases know better
                known.type = leaf.type
            if leaf.values:
                known.values = tuple(dict.fromkeys(known.values + leaf.values))


def _version_rank(name: str) -> tuple[int, int, int]:
    """Newest preferred first: v1, v1beta2, v1beta1, v1alpha1."""
    found = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", name)
    if not found:
        return (9, 9, 0)
    major, stage, minor = found.groups()
    return ({None: 0, "beta": 1, "alpha": 2}[stage], -int(major), -int(minor or 0))


def _walk(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, Leaf]]:
    schema = _merged(schema)
    if path == "status":
        yield path, Leaf("object")
        return
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    if properties:
        for name in properties:
            yield from _walk(f"{path}.{name}", properties[name])
    elif schema.get("type") == "array" and schema.get("maxItems") == 0:
        return  # a removed list that may only stand there empty
    elif schema.get("type") == "array":
        yield from _walk(f"{path}[]", schema.get("items") or {})
    elif isinstance(extra, dict):
        yield from _walk(f"{path}.*", extra)
    else:
        yield path, Leaf(_type(schema), _values(schema))


def _merged(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with the enum of its allOf members (kubebuilder writes two enums that way)."""
    if "enum" in schema or "allOf" not in schema:
        return schema
    enums = [set(map(str, part["enum"])) for part in schema["allOf"] if "enum" in part]
    if not enums:
        return schema
    first = next(part["enum"] for part in schema["allOf"] if "enum" in part)
    return {**schema, "enum": [v for v in first if all(str(v) in e for e in enums)]}


def _type(schema: dict[str, Any]) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "int-or-string"
    if _DURATION.search(str(schema.get("x-kubernetes-validations", "")) + str(schema.get("pattern", ""))):
        return "duration"
    kind = schema.get("type", "object")
    return kind if kind in ("string", "integer", "number", "boolean") else "object"


def _values(schema: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(v) for v in schema.get("enum", ()))
