"""The JSON report, `meshport/report/v1`, as models: every member is always there, also where it is empty.

`Report.model_dump(mode="json")` is the report; `Report.model_json_schema(mode="serialization")` its schema. Names are public surface.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from meshport.report.audited import Audit

SCHEMA: Literal["meshport/report/v1"] = "meshport/report/v1"

Severity = Literal["error", "warning", "info"]
Effect = Literal["widens", "narrows", "changes", "none"]
Disposition = Literal["translated", "approximated", "installed", "manual", "dropped", "invalid", "irrelevant", "passed_through"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_by_name=True, serialize_by_alias=True)


# -- a request: only the members that matter are there


@with_config(ConfigDict(extra="forbid"))
class RequestSource(TypedDict, total=False):
    """Who sends a request."""

    namespace: str
    service_account: str
    identity: str
    workload: str
    labels: dict[str, str]
    ip: str
    meshed: bool


@with_config(ConfigDict(extra="forbid"))
class RequestDestination(TypedDict, total=False):
    """Where a request goes; `port` null means every port that is not named otherwise."""

    namespace: str
    service: str
    workload: str
    labels: dict[str, str]
    ip: str
    port: int | None


@with_config(ConfigDict(extra="forbid"))
class Request(TypedDict, total=False):
    """One request."""

    source: RequestSource
    destination: RequestDestination
    protocol: str
    method: str
    host: str | None
    path: str | None
    headers: dict[str, str | None]
    sni: str
    forwarded_for: str
    claims: dict[str, Any]


# -- places


class Place(TypedDict):
    """A leaf of the input. `document` counts from 0 in its file; `item` is there for items of a List, where `path` starts at the item."""

    file: str | None
    document: int
    path: str
    item: NotRequired[int]


class Location(TypedDict):
    """Where a finding points to. Lines and columns count from 1, of the value; null where no place is known."""

    file: str | None
    document: int | None
    line: int | None
    column: int | None
    path: str | None
    item: NotRequired[int]


class Origin(TypedDict):
    """An input document that an output comes from."""

    file: str | None
    document: int
    line: int | None


# -- the parts


class Source(_Model):
    """The mesh that was read."""

    mesh: str
    version: str


class Target(_Model):
    """The mesh that was written for."""

    mesh: str
    version: str
    data_plane: str | None
    routes: str | None


class InputFile(_Model):
    """A file that was read."""

    file: str
    sha256: str
    documents: int


class Inputs(_Model):
    """What was read; `files` is empty where the documents came as objects."""

    files: list[InputFile]
    documents: int
    by_kind: dict[str, int]


class Resource(_Model):
    """An object by its name; `namespace` is null for cluster-scoped ones and for documents that name none."""

    api_version: str = Field(alias="apiVersion")
    kind: str
    namespace: str | None
    name: str


class Written(Resource):
    """An object that was written, and the file it belongs in."""

    file: str
    origins: list[Origin]


class Gone(Resource):
    """A source object to delete: last, after sign-off."""

    reason: str


class Install(_Model):
    """Settings of the mesh's installation: Helm values by chart, and commands for what no manifest of the bundle carries."""

    helm_values: dict[str, dict[str, Any]]
    commands: list[str]


class Affects(_Model):
    """A destination that a finding concerns; null in `workload` or `port` means all."""

    namespace: str | None
    workload: str | None
    port: int | None


class Suppressed(_Model):
    """Why a finding does not count: `by` is ignore, waiver or baseline."""

    by: Literal["ignore", "waiver", "baseline"]
    owner: str | None
    reason: str | None
    expires: str | None


class ReportFinding(_Model):
    """Something that a person has to know."""

    code: str
    severity: Severity
    effect: Effect
    affects: list[Affects]
    disposition: Disposition | None
    pattern: str
    feature: str
    message: str
    remedy: str
    docs: str
    resource: Resource | None
    location: Location | None
    leaves: list[Place]
    witness: Request | None
    suppressed: Suppressed | None


class LedgerCounts(_Model):
    """Counted leaves by disposition; the members after `leaves` sum to it."""

    leaves: int
    translated: int
    approximated: int
    installed: int
    manual: int
    dropped: int
    invalid: int
    irrelevant: int
    passed_through: int
    unaccounted: int


class Difference(_Model):
    """A semantic difference between source and result; `findings` are indices into the report's findings."""

    change: Literal["added", "removed", "changed"]
    subject: str
    path: str
    before: Any
    after: Any
    findings: list[int]


class Cause(TypedDict, total=False):
    """A place that a difference comes from, in the configuration before or after."""

    side: Literal["before", "after"]
    file: str | None
    line: int | None
    path: str | None


class AccessDifference(_Model):
    """Requests that are newly `allowed` or `denied`, or `routed` otherwise, or workloads whose `transport` changes; `request` is one of them."""

    change: str
    request: Request
    before: str
    after: str
    causes: list[Cause]


class Verdict(_Model):
    """The behavioural check; `classes` counts the sets of requests that were compared, `undecided` says what could not be."""

    verdict: Literal["equivalent", "narrowed", "widened", "changed", "inconclusive"]
    classes: int
    differences: list[AccessDifference]
    undecided: list[str]


class Tally(_Model):
    """Resources by what became of them: `dropped` lost something, `approximated` is merely not exact, `translated` is all the rest."""

    resources: int
    translated: int
    approximated: int
    dropped: int


class Readiness(_Model):
    """How much of the bundle the conversion carries.

    `score` is (translated + installed + irrelevant + passed_through) / leaves, of the ledger, from 0 to 1 with four decimals, and 1 where
    no leaf is counted. `blockers` are the indices of the error findings that are not suppressed.
    """

    score: float
    by_pattern: dict[str, Tally]
    by_namespace: dict[str, Tally]
    blockers: list[int]


class Report(_Model):
    """Everything that one run came to. `target`, `ledger` and `readiness` are null where nothing was converted (lint)."""

    schema_: Literal["meshport/report/v1"] = Field(default=SCHEMA, alias="schema")
    meshport_version: str
    options: dict[str, Any]
    source: Source
    target: Target | None
    inputs: Inputs
    outputs: list[Written]
    removals: list[Gone]
    install: Install
    findings: list[ReportFinding]
    ledger: LedgerCounts | None
    diff: list[Difference]
    verification: Verdict | None
    readiness: Readiness | None


class AuditReport(Report):
    """A report with its audit: what `meshport audit` says, and what the forms for people render."""

    audit: Audit
