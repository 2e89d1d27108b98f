"""The report as SARIF 2.1.0 (docs.oasis-open.org/sarif/sarif/v2.1.0), which code hosts show at the line of the field.

A finding's fingerprint is made of its code, its resource and the paths of its leaves, not of lines, so that a host knows it again after other lines have moved.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from meshport.report.words import justification

if TYPE_CHECKING:
    from meshport.report.forms import Material
    from meshport.report.model import ReportFinding

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {"error": "error", "warning": "warning", "info": "note"}


def write(material: Material) -> str:
    """The text of a `.sarif` file."""
    report = material.report
    codes = list(dict.fromkeys(finding.code for finding in report.findings))
    rules = [_rule(code) for code in sorted(codes)]
    index = {rule["id"]: number for number, rule in enumerate(rules)}
    seen: dict[str, int] = {}
    run = {
        "tool": {
            "driver": {
                "name": "meshport",
                "version": report.meshport_version,
                "informationUri": "https://meshport.dev",
                "rules": rules,
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, index[finding.code], seen) for finding in report.findings],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _rule(code: str) -> dict[str, Any]:
    from meshport.mapping.table import builtin

    page = builtin().codes()[code]
    help_text = "\n\n".join(
        part
        for part in (page.meaning, f"Cause: {page.cause}" if page.cause else "", f"Remedy: {page.remedy}" if page.remedy else "")
        if part
    )
    return {
        "id": code,
        "name": "".join(word.capitalize() for word in "".join(char if char.isalnum() else " " for char in page.title).split()),
        "shortDescription": {"text": page.title},
        "fullDescription": {"text": page.meaning or page.title},
        "help": {"text": help_text or page.title, "markdown": help_text or page.title},
        "helpUri": f"https://meshport.dev/findings/{code}",
        "defaultConfiguration": {"level": _LEVELS.get(page.severity, "note")},
    }


def _result(finding: ReportFinding, rule: int, seen: dict[str, int]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.message} {finding.remedy}".strip()},
        "partialFingerprints": {"meshport/v1": _fingerprint(finding, seen)},
        "properties": {
            "effect": finding.effect,
            "pattern": finding.pattern,
            "feature": finding.feature,
            "disposition": finding.disposition,
        },
    }
    where = finding.location
    if where is not None and where["file"] is not None:
        place: dict[str, Any] = {"artifactLocation": {"uri": _uri(where["file"])}}
        if where["line"]:
            place["region"] = {"startLine": where["line"], **({"startColumn": where["column"]} if where["column"] else {})}
        found["locations"] = [{"physicalLocation": place}]
        if finding.resource is not None:
            name = finding.resource
            full = "/".join(part for part in (name.kind, name.namespace, name.name) if part)
            found["locations"][0]["logicalLocations"] = [
                {"fullyQualifiedName": f"{full}#{where['path']}" if where["path"] else full, "kind": "resource"}
            ]
    if finding.suppressed is not None:
        why = justification(finding.suppressed)
        found["suppressions"] = [{"kind": "external", "status": "accepted", "justification": why}]
    return found


def _fingerprint(finding: ReportFinding, seen: dict[str, int]) -> str:
    subject = finding.resource
    parts = [finding.code, *((subject.api_version, subject.kind, subject.namespace or "", subject.name) if subject is not None else ())]
    parts += sorted(leaf["path"] for leaf in finding.leaves)
    if not finding.leaves:
        parts.append(finding.message)
    mark = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    seen[mark] = seen.get(mark, 0) + 1
    return mark if seen[mark] == 1 else f"{mark}:{seen[mark]}"


def _uri(file: str) -> str:
    """A file as a relative URI; an absolute path as it is."""
    path = PurePath(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix(), safe="/")
