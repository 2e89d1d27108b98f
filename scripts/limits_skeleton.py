#!/usr/bin/env python3
"""Write ``mappings/limits/<dialect>/<Kind>.yaml`` from the CRDs: what the API server demands of values beside their type.

A limit is written where every release at hand has it, and as loose as the loosest of them has it, so that no object is
called refused that some release takes. Rules that CRDs state as expressions and that are no more than a limit (a port, a duration,
no wildcard) become limits too; the others are code, in ``meshport/mapping/demands.py`` and ``demands_istio.py``.

    scripts/limits_skeleton.py --crds ../shared/crds            # writes the tables
    scripts/limits_skeleton.py --crds ../shared/crds --check    # only says whether they are up to date
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
LIMITS = ROOT / "mappings" / "limits"
ISTIO_RELEASES = [f"1.{minor}" for minor in range(24, 32)]
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_FLOORS = {"minimum": "minimum", "minLength": "min_length", "minItems": "min_items", "minProperties": "min_items"}
_CEILINGS = {"maximum": "maximum", "maxLength": "max_length", "maxItems": "max_items", "maxProperties": "max_items"}
# Objects from before 1.23 have them shorter, clusters keep such objects, and istiod reads `0s` as none.
_ANY_LENGTH = ("spec.http[].timeout", "spec.http[].retries.perTryTimeout")
_EXPRESSIONS: dict[str, dict[str, Any]] = {
    "duration(self) >= duration('1ms')": {"duration": True},
    "0 < self && self <= 65535": {"minimum": 1, "maximum": 65535},
    "self.all(key, 0 < int(key) && int(key) <= 65535)": {"port_keys": True},
    'self.all(key, !key.contains("*"))': {"plain_keys": True},
    "self.all(key, key.size() != 0)": {"plain_keys": True},
    '!self.contains("*")': {"plain": True},
    'self != "*"': {"not": "*"},
    "self.size() == 0": {"max_length": 0},
    "self.all(l1, self.exists_one(l2, l1.number == l2.number))": {"unique_too": ["number"]},
    'self in ["", "HTTP", "HTTPS"]': {"one_of": ["", "HTTP", "HTTPS"]},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crds", type=Path, default=ROOT.parent / "shared" / "crds")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a table would change")
    args = parser.parse_args()
    changed = []
    for dialect, kinds in sources(args.crds).items():
        for (group, kind), schemas in sorted(kinds.items()):
            if not (limits := common(schemas)):
                continue
            file = LIMITS / dialect / f"{kind}.yaml"
            text = yaml.safe_dump({"group": group, "kind": kind, "limits": limits}, sort_keys=True, width=118, default_flow_style=None)
            if not file.exists() or file.read_text(encoding="utf-8") != text:
                changed.append(file)
                if not args.check:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(text, encoding="utf-8")
    for file in changed if args.check else ():
        print(f"{file.relative_to(ROOT)}: differs from the CRDs")
    return 1 if args.check and changed else 0


def sources(crds: Path) -> dict[str, dict[tuple[str, str], list[dict[str, Any]]]]:
    """By dialect and kind, the schema of each served version in each release."""
    gateway = sorted((crds / "gateway-api").rglob("*.yaml")) + sorted((crds / "linkerd").glob("*gateway.networking*.yaml"))
    linkerd = sorted(file for file in (crds / "linkerd").glob("*.yaml") if "gateway.networking" not in file.name)
    return {
        "istio": schemas([crds / "istio" / f"crd-all.release-{release}.yaml" for release in ISTIO_RELEASES]),
        "linkerd": {key: found for key, found in schemas(linkerd).items() if key[0] != "split.smi-spec.io"},
        "gateway-api": schemas(gateway),
    }


def schemas(files: list[Path]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for file in files:
        for document in yaml.load_all(file.read_text(encoding="utf-8"), Loader=_LOADER):
            if isinstance(document, dict) and document.get("kind") == "CustomResourceDefinition":
                spec = document["spec"]
                for version in spec["versions"]:
                    if version.get("served", True):
                        schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
                        found.setdefault((spec["group"], spec["names"]["kind"]), []).append(schema)
    return found


def common(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The limits that all schemas have which have the path, each as loose as the loosest."""
    merged: dict[str, dict[str, Any]] = {}
    for schema in found:
        for path, limits in walk(schema, ""):
            merged[path] = limits if path not in merged else looser(merged[path], limits)
    return {path: limits for path, limits in sorted(merged.items()) if limits}


def looser(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What both demand."""
    out: dict[str, Any] = {}
    for key in one.keys() & other.keys():
        if key == "required":
            out[key] = [name for name in one[key] if name in other[key]]
        elif key in _FLOORS.values():
            out[key] = min(one[key], other[key])
        elif key in _CEILINGS.values():
            out[key] = max(one[key], other[key])
        elif one[key] == other[key]:
            out[key] = one[key]
    return {key: value for key, value in out.items() if value not in ([], None)}


def walk(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each path of a schema with its limits; one without any too, because another release may have some there."""
    if path == "status" or schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    properties = schema.get("properties") or {}
    limits: dict[str, Any] = {}
    for names in (_FLOORS, _CEILINGS):
        limits.update({short: schema[key] for key, short in names.items() if key in schema})
    if "pattern" in schema:
        limits["pattern"] = schema["pattern"]
    required = [name for name in schema.get("required") or () if "default" not in properties.get(name, {})]
    if required:
        limits["required"] = sorted(required)
    keys = schema.get("x-kubernetes-list-map-keys")
    below = (schema.get("items") or {}).get("properties") or {}
    if keys and all("default" not in below.get(key, {}) for key in keys):
        limits["unique"] = sorted(keys)
    for rule in schema.get("x-kubernetes-validations") or ():
        limits.update(_EXPRESSIONS.get(rule["rule"].replace("'*'", '"*"'), {}))
    if path in _ANY_LENGTH:
        limits.pop("duration", None)
    yield path, {key: value for key, value in limits.items() if (key, value) not in (("min_length", 0), ("min_items", 0))}
    for name, sub in properties.items():
        if path or name not in ("apiVersion", "kind", "metadata"):
            yield from walk(sub, f"{path}.{name}" if path else name)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from walk(schema["additionalProperties"], f"{path}.*")
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")


if __name__ == "__main__":
    sys.exit(main())
