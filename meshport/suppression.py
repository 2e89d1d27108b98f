"""Findings that a team has decided about: `--ignore`, `--waivers`, `--baseline`. They stay in the report and do not count."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshport.errors import InputError, UsageError
from meshport.findings import Finding

if TYPE_CHECKING:
    from meshport.documents import Bundle, Document
    from meshport.mapping.table import Table

_CODE = re.compile(r"MP\d{3}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_LINE = re.compile(r"line \d+")
_NOTHING = ("", "~", "null", "Null", "NULL")
_RESOURCE = re.compile(r"[^/]+/([^/]*/)?[^/]+")
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
                "pattern": "^[^/]+/([^/]*/)?[^/]+$",
                "description": "KIND/NAMESPACE/NAME, or KIND/NAME for cluster-scoped objects; * in a part stands for anything; absent: every resource.",
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

    def fits(self, finding: Finding, document: Document | None) -> bool:
        if finding.code != self.code:
            return False
        return self.resource is None or (document is not None and _is_named(document, self.resource.split("/")))

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: the waiver of " if self.by == "waiver" else "--ignore "
        return f"{place}{self.code}{(' for ' if self.by == 'waiver' else ':') + self.resource if self.resource else ''}"


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


def _is_named(document: Document, parts: Sequence[str]) -> bool:
    """Whether a resource as a person wrote it is a document; one that names no namespace is found under none and under the one that it is read in."""
    kind, name, asked = parts[0].lower(), parts[-1], parts[1] if len(parts) == 3 else ""
    return (
        fnmatchcase(document.kind.lower(), kind)
        and fnmatchcase(document.name, name)
        and any(fnmatchcase(home, asked) for home in {document.named_namespace or "", document.namespace or ""})
    )


def ignores(values: Iterable[str], table: Table) -> list[Rule]:
    """The rules of `--ignore CODE[:KIND/NS/NAME]`. Raises UsageError for a code that does not exist."""
    rules = []
    for value in values:
        code, _, resource = value.partition(":")
        _known(code.upper(), table, f"--ignore {value}")
        if code.upper() not in table.codes():
            raise UsageError(f"--ignore {value}: no finding has this code; `meshport explain` lists them")
        if ":" in value and not _RESOURCE.fullmatch(resource):
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
        rows = yaml.load(text, Loader=yaml.BaseLoader)  # every scalar as it is written
        tree = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = {"line": mark.line + 1, "column": mark.column + 1} if mark else {}
        raise InputError(
            f"not YAML: {getattr(error, 'problem', None) or 'cannot be read'}; see `meshport schema waivers`", file=path, **place
        ) from None
    if tree is None:
        return []
    if not isinstance(rows, list):
        raise InputError("a list of waivers is expected; see `meshport schema waivers`", file=path, line=1)
    return [_waiver(row, path, node.start_mark.line + 1, table) for row, node in zip(rows, tree.value, strict=True)]


def _waiver(row: Any, path: str, line: int, table: Table) -> Rule:
    def refuse(what: str) -> InputError:
        return InputError(f"{what}; see `meshport schema waivers`", file=path, line=line)

    if not isinstance(row, dict):
        raise refuse("a waiver is a mapping with code, owner, reason and expires")
    unknown = sorted(set(map(str, row)) - {*_REQUIRED, "resource"})
    if unknown:
        close = get_close_matches(unknown[0], [*_REQUIRED, "resource"], 1)
        raise refuse(f"a waiver has no member '{unknown[0]}'" + (f"; did you mean {close[0]}?" if close else ""))
    for key in (*_REQUIRED, "resource"):
        said = row.get(key, "" if key in _REQUIRED else None)
        if said in _NOTHING:
            raise refuse(f"the waiver has no {key}")
        if said is not None and not isinstance(said, str):
            raise refuse(f"{key}: one text is expected")
    if not _DAY.fullmatch(row["expires"]):
        raise refuse(f"expires: '{row['expires']}' is not a day such as 2026-12-31")
    try:
        expires = date.fromisoformat(row["expires"])
    except ValueError:
        raise refuse(f"expires: there is no day {row['expires']}") from None
    try:
        _known(row["code"], table, "code")
    except UsageError as error:
        raise refuse(str(error)) from None
    resource = row.get("resource")
    if resource is not None and not _RESOURCE.fullmatch(resource):
        raise refuse(f"resource: '{resource}' is not KIND/NAMESPACE/NAME")
    return Rule("waiver", row["code"], resource, row["owner"], row["reason"], expires, path, line)


def _known(code: str, table: Table, what: str) -> None:
    if code not in table.codes() and not _CODE.fullmatch(code):
        raise UsageError(f"{what}: '{code}' is no finding code; `meshport explain` lists them")


Mark = tuple[str, tuple[str, ...], tuple[str, ...]]
Place = tuple[str | None, str | None, int | None]


def baseline(path: str) -> dict[Mark, set[Place]]:
    """The findings of a former report: code, resource and paths of the leaves (the text, where there are none), and the destinations concerned. Raises
    UsageError where the file is no report."""
    found: dict[Mark, set[Place]] = {}
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
        for row in report["findings"]:
            mark = _mark(row["code"], row["resource"], [leaf["path"] for leaf in row["leaves"]], row["message"], row["location"])
            found.setdefault(mark, set()).update((one["namespace"], one["workload"], one["port"]) for one in row["affects"])
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); --baseline wants a report written with --report FILE.json") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UsageError(f"{path}: is no meshport report; --baseline wants a file written with --report FILE.json") from None
    return found


def _mark(code: str, subject: Mapping[str, Any] | None, paths: Sequence[str], message: str, place: Mapping[str, Any] | None) -> Mark:
    """What makes a finding the same in another run: lines may have moved, and documents may stand in other files."""
    if subject is None and not paths:
        return code, ((place or {}).get("file") or "",), (_LINE.sub("line", message),)
    parts = tuple(str(subject[key]) for key in ("apiVersion", "kind", "namespace", "name")) if subject else ()
    return code, parts, tuple(sorted(paths))


def _stood(finding: Finding, subject: dict[str, Any] | None, bundle: Bundle, known: Mapping[Mark, set[Place]]) -> bool:
    """Whether a finding stands in a baseline, with all the destinations that it concerns now."""
    paths = [bundle.path(leaf) for leaf in finding.leaves]
    places = known.get(_mark(finding.code, subject, paths, finding.message, {"file": finding.file}))
    return places is not None and {(one.namespace, one.workload, one.port) for one in finding.affects} <= places


def suppress(
    findings: list[Finding],
    bundle: Bundle,
    table: Table,
    rules: Sequence[Rule],
    known: Mapping[Mark, set[Place]] | None = None,
    *,
    today: date | None = None,
) -> list[Rule]:
    """Mark the findings that do not count, in place; an expired waiver does nothing and is itself a finding, appended at the end. The rules that meet no
    finding come back."""
    day = today or date.today()
    live = [rule for rule in rules if rule.expires is None or rule.expires >= day]
    met: set[int] = set()
    for finding in findings:
        document = document_of(finding, bundle)
        fitting = [number for number, rule in enumerate(live) if rule.fits(finding, document)]
        met.update(fitting)
        if fitting:
            rule = live[fitting[0]]
            expires = rule.expires.isoformat() if rule.expires else None
            finding.suppressed = {"by": rule.by, "owner": rule.owner, "reason": rule.reason, "expires": expires}
        elif known and _stood(finding, subject_of(finding, bundle), bundle, known):
            finding.suppressed = {"by": "baseline", "owner": None, "reason": "stands in the baseline", "expires": None}
    findings.extend(_expired(rule, table) for rule in rules if rule not in live)
    return [rule for number, rule in enumerate(live) if number not in met]


def _expired(rule: Rule, table: Table) -> Finding:
    row = table.codes()["MP041"]
    about = f" for {rule.resource}" if rule.resource else ""
    text = row.message.format(code=rule.code, about=about, expires=rule.expires, owner=rule.owner)
    return Finding("MP041", row.severity, text, row.remedy, pattern="input", feature="input", file=rule.file, line=rule.line)
