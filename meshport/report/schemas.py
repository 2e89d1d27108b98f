"""JSON Schemas of what meshport writes (report, plan, IR) and reads (mapping rows)."""

from __future__ import annotations

from typing import Any

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def report() -> dict[str, Any]:
    """The schema of `meshport/report/v1`; the member `audit` is there in the report of an audit."""
    from meshport.report.model import AuditReport

    found = AuditReport.model_json_schema(mode="serialization", by_alias=True)
    found["required"] = [name for name in found["required"] if name != "audit"]
    return {"$schema": _DRAFT, "$id": "https://meshport.dev/schema/report.json", **found}


def plan() -> dict[str, Any]:
    """The schema of `meshport/plan/v1`."""
    from meshport.report.planned import Plan

    return {
        "$schema": _DRAFT,
        "$id": "https://meshport.dev/schema/plan.json",
        **Plan.model_json_schema(mode="serialization", by_alias=True),
    }


def ir() -> dict[str, Any]:
    """The schema of `meshport/ir/v1`: a fact is a value with the places that say so."""
    from dataclasses import fields

    from meshport.ir.model import IR
    from meshport.report.facts import _HIDDEN, SCHEMA

    members: dict[str, Any] = {field.name: {} for field in fields(IR) if field.name not in _HIDDEN}
    for name in members:
        members[name] = {"type": "array", "items": {"type": "object"}}
    members.update(
        mesh={"type": "string"},
        enrols={
            "type": "boolean",
            "description": "Whether pods take part in the mesh one by one; false where it governs the whole cluster.",
        },
        open_probes={"type": "boolean", "description": "Whether declared HTTP probes pass every policy until a route hangs on their port."},
        raw_paths={"type": "boolean", "description": "Whether paths are matched as sent, with dot segments unresolved."},
        world={"type": "object", "description": "Namespaces, workloads, Services: what policies and routes talk about."},
        trust_domain={"$ref": "#/$defs/fact"},
    )
    return {
        "$schema": _DRAFT,
        "$id": "https://meshport.dev/schema/ir.json",
        "title": "meshport IR",
        "type": "object",
        "required": ["schema", "source", "effective", "facts"],
        "additionalProperties": False,
        "properties": {
            "schema": {"const": SCHEMA},
            "source": {
                "type": "object",
                "required": ["mesh", "version"],
                "properties": {"mesh": {"type": "string"}, "version": {"type": "string"}},
            },
            "effective": {
                "type": "object",
                "description": "What the configuration does, by subject, such as `access to shop/users port 8080`.",
                "additionalProperties": {"type": "object"},
            },
            "facts": {"type": "object", "required": sorted(members), "properties": members},
        },
        "$defs": {
            "fact": {
                "type": "object",
                "required": ["value"],
                "additionalProperties": False,
                "properties": {
                    "value": {},
                    "at": {"type": "array", "items": {"type": "string"}, "description": "file:line of what says it."},
                },
            }
        },
    }


def mapping() -> dict[str, Any]:
    """The schema of a file for `--mappings`: features with their cells, in the members of the built-in support rows."""
    from meshport.mapping.table import DIALECTS

    text = {"type": "string"}
    release = {
        "type": ["string", "number"],
        "description": "A release such as '1.27'; since is the first that the cell holds for, until the first that not.",
    }
    members: dict[str, Any] = {
        "support": {"enum": ["native", "approximate", "install", "external", "none", "irrelevant"]},
        "code": {"type": "string", "pattern": r"^MP\d{3}$"},
        "severity": {"enum": ["error", "warning", "info"]},
        "effect": {"enum": ["widens", "narrows", "changes", "none"]},
        "message": {**text, "description": "One sentence; {value}, {path} and {resource} are filled in."},
        "remedy": text,
        "reason": {**text, "description": "Why the feature decides nothing here."},
        "note": text,
        "source": {**text, "description": "The page or file that the cell rests on."},
        "since": release,
        "until": release,
    }
    cell = {"type": "object", "required": ["support"], "additionalProperties": False, "properties": members}
    cells = {"oneOf": [{"$ref": "#/$defs/cell"}, {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/cell"}}]}
    feature = {"type": "object", "additionalProperties": False, "properties": {"title": text, **dict.fromkeys(DIALECTS, cells)}}
    return {
        "$schema": _DRAFT,
        "$id": "https://meshport.dev/schema/mapping.json",
        "title": "meshport mapping rows",
        "type": "object",
        "required": ["features"],
        "properties": {"features": {"type": "object", "additionalProperties": feature}},
        "$defs": {"cell": cell},
    }
