"""Findings that a team has decided about: `--ignore`, `--waivers`, `--baseline`. They stay in the report and do not count."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshport.errors import InputError, UsageError
from meshport.findings import Finding

if TYPE_CHECKING:
    from meshport.documents import Bundle, Document
    from meshport.mapping.table import Table

_CODE = re.compile(r"MP\d{3}")
_REQUIRED = ("code", "owner", "reason", "expires")

WAIVERS_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://meshport.dev/schema/waivers.json",
    "title": "meshport waivers",
    "description": "Findings that do not count until a day, with the person who answers for that.",
    "type": "array",
    "items": {
        "type": "object",
        "required": list(_REQUIRED),
        "additionalProperties": False,
        "properties": {
            "code": {"type": "string", "pattern": f"^{_CODE.pattern}$", "description": "The finding's code."},
            "resource": {
                "type": "string",
                "description": "KIND/NAMESPACE/NAME, or KIND/NAME for cluster-scoped objects; absent: every resource.",
            },
            "owner": {"type": "string", "minLength": 1, "description": "Who answers for it."},
            "reason": {"type": "string", "minLength": 1, "description": "Why the finding is acceptable."},
            "expires": {"type": "string", "format": "date", "description": "The last day on which the waiver counts, YYYY-MM-DD."},
        },
    },
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A code, and the resource that it is about; no resource means all."""

    by: str  # ignore or waiver
    code: str
    resource: str | None = None
    owner: str | None = None
    reason: str | None = None
    expires: date | None = None
    file: str | None = None
    line: int | None = None

    def fits(self, finding: Finding, subject: dict[str, Any] | None) -> bool:
        return finding.code == self.code and (self.resource is None or (subject is not None and self.resource in names(subject)))


def document_of(finding: Finding, bundle: Bundle) -> Document | None:
    """The input document that a finding is about: the one named, else the owner of its first leaf."""
    if finding.document is not None:
        return bundle.documents[finding.document]
    return bundle.owner(finding.leaves[0]) if finding.leaves else None


def subject_of(finding: Finding, bundle: Bundle) -> dict[str, Any] | None:
    """The resource that a finding is about, as the report names it; None where it is about no single one."""
    document = document_of(finding, bundle)
    if document is None:
        return None
    return {"apiVersion": document.api_version, "kind": document.kind, "namespace": document.named_namespace, "name": document.name}


def names(subject: dict[str, Any]) -> set[str]:
    """How a person may write a resource."""
    if subject["namespace"] is None:
        return {f"{subject['kind']}/{subject['name']}", f"{subject['kind']}//{subject['name']}"}
    return {f"{subject['kind']}/{subject['namespace']}/{subject['name']}"}


def ignores(values: Iterable[str], table: Table) -> list[Rule]:
    """The rules of `--ignore CODE[:KIND/NS/NAME]`. Raises UsageError for a code that does not exist."""
    rules = []
    for value in values:
        code, _, resource = value.partition(":")
        _known(code.upper(), table, f"--ignore {value}")
        if code.upper() not in table.codes():
            raise UsageError(f"--ignore {value}: no finding has this code; `meshport explain` lists them")
        if resource and resource.count("/") not in (1, 2):
            raise UsageError(f"--ignore {value}: write it as CODE:KIND/NAMESPACE/NAME")
        rules.append(Rule("ignore", code.upper(), resource or None))
    return rules


def waivers(path: str, table: Table) -> list[Rule]:
    """The rules of a waivers file. Raises InputError with the line of the entry that cannot be used."""
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'}); --waivers wants a YAML file"
        ) from None
    try:
        rows = yaml.safe_load(text)
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = {"line": mark.line + 1, "column": mark.column + 1} if mark else {}
        raise InputError(
            f"not YAML: {getattr(error, 'problem', None) or 'cannot be read'}; see `meshport schema waivers`", file=path, **place
        ) from None
    if rows is None:
        return []
    if not isinstance(rows, list) or tree is None:
        raise InputError("a list of waivers is expected; see `meshport schema waivers`", file=path, line=1)
    return [_waiver(row, path, node.start_mark.line + 1, table) for row, node in zip(rows, tree.value, strict=True)]


def _waiver(row: Any, path: str, line: int, table: Table) -> Rule:
    def refuse(what: str) -> InputError:
        return InputError(f"{what}; see `meshport schema waivers`", file=path, line=line)

    if not isinstance(row, dict):
        raise refuse("a waiver is a mapping with code, owner, reason and expires")
    missing = [key for key in _REQUIRED if not row.get(key)]
    if missing:
        raise refuse(f"the waiver has no {missing[0]}")
    unknown = sorted(set(map(str, row)) - {*_REQUIRED, "resource"})
    if unknown:
        raise refuse(f"a waiver has no member {unknown[0]!r}")
    try:
        expires = row["expires"] if isinstance(row["expires"], date) else date.fromisoformat(str(row["expires"]))
    except ValueError:
        raise refuse(f"expires: {row['expires']!r} is not a day such as 2026-12-31") from None
    code = str(row["code"])
    try:
        _known(code, table, "the waiver")
    except UsageError as error:
        raise refuse(str(error)) from None
    resource = str(row["resource"]) if row.get("resource") else None
    return Rule("waiver", code, resource, str(row["owner"]), str(row["reason"]), date(expires.year, expires.month, expires.day), path, line)


def _known(code: str, table: Table, what: str) -> None:
    if code not in table.codes() and not _CODE.fullmatch(code):
        raise UsageError(f"{what}: {code!r} is no finding code; `meshport explain` lists them")


Mark = tuple[str, tuple[str, ...], tuple[str, ...]]


def baseline(path: str) -> set[Mark]:
    """The findings of a former report: code, resource, paths of the leaves. Raises UsageError where the file is no report."""
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
        rows = report["findings"]
        return {_mark(row["code"], row["resource"], [leaf["path"] for leaf in row["leaves"]]) for row in rows}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); --baseline wants a report written with --report FILE.json") from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{path}: is no meshport report; --baseline wants a file written with --report FILE.json") from None


def _mark(code: str, subject: dict[str, Any] | None, paths: Sequence[str]) -> Mark:
    parts = tuple(str(subject[key]) for key in ("apiVersion", "kind", "namespace", "name")) if subject else ()
    return code, parts, tuple(sorted(paths))


def suppress(
    findings: list[Finding],
    bundle: Bundle,
    table: Table,
    rules: Sequence[Rule],
    known: set[Mark] | None = None,
    *,
    today: date | None = None,
) -> None:
    """Mark the findings that do not count, in place; an expired waiver does nothing and is itself a finding, appended at the end."""
    day = today or date.today()
    live = [rule for rule in rules if rule.expires is None or rule.expires >= day]
    for finding in findings:
        subject = subject_of(finding, bundle)
        rule = next((rule for rule in live if rule.fits(finding, subject)), None)
        if rule is not None:
            expires = rule.expires.isoformat() if rule.expires else None
            finding.suppressed = {"by": rule.by, "owner": rule.owner, "reason": rule.reason, "expires": expires}
        elif known and _mark(finding.code, subject, [bundle.path(leaf) for leaf in finding.leaves]) in known:
            finding.suppressed = {"by": "baseline", "owner": None, "reason": "stands in the baseline", "expires": None}
    findings.extend(_expired(rule, table) for rule in rules if rule not in live)


def _expired(rule: Rule, table: Table) -> Finding:
    row = table.codes()["MP041"]
    about = f" for {rule.resource}" if rule.resource else ""
    text = row.message.format(code=rule.code, about=about, expires=rule.expires, owner=rule.owner)
    return Finding("MP041", row.severity, text, row.remedy, pattern="input", feature="input", file=rule.file, line=rule.line)
