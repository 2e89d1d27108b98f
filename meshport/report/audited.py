"""The `audit` member of the report, as models: what three people ask of a migration before they decide.

The platform lead asks how much work it is (`inventory`, `patterns`, `effort`), the auditor what changes in security (`encryption`, `access`, `exceptions`), and
both what the answers are about (`provenance`). Everything is computed where the report is made; the forms only render it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

State = Literal["enforced", "opportunistic", "off", "out of mesh", "unknown"]
"""How traffic into a workload is encrypted and who shows a certificate: `enforced` where every caller that is let in shows one, `opportunistic` where callers
that have one use it and others are let in as well (or where only the path between nodes is encrypted), `off` where nothing is encrypted although the workload
is in the mesh, `out of mesh`, and `unknown` where the bundle does not say whether the workload is in the mesh."""
Outcome = Literal["same", "narrowed", "widened", "changed", "undecided"]
Share = Literal["all", "some", "none", "undecided"]
OUTSIDE, ANY_IDENTITY = "outside the mesh", "any mesh identity"
"""The callers of edges that the bundle does not show: without a certificate of the mesh, and with one."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Provenance(_Model):
    """What the report was made from. `inputs` is the SHA-256 over the files' own hashes in their order, `table` that over the rows of the mapping table;
    `date` is the day of SOURCE_DATE_EPOCH where that is set, so that equal input gives equal bytes."""

    meshport_version: str
    inputs: str
    table: str
    date: str | None


class KindCount(_Model):
    """Objects of one kind. `dialect` is `kubernetes` for what is of no mesh."""

    dialect: str
    kind: str
    api_versions: list[str]
    objects: int
    namespaces: int


class Effort(_Model):
    """Resources by who has to look at them; they sum to the resources of the mesh that were read."""

    automatic: int
    review: int
    manual: int


class FeatureUse(_Model):
    """A feature that the bundle uses, and what the target makes of it: `support` as in the mapping table, `became` its leaves by disposition, `says` the
    row's own words where something of it is not carried."""

    feature: str
    title: str
    support: str
    leaves: int
    became: dict[str, int]
    says: str


class PatternUse(_Model):
    """A pattern that the bundle uses; `before` and `after` are what source and target write it with."""

    pattern: str
    title: str
    before: str
    after: str
    resources: int
    effort: Effort
    readiness: float
    features: list[FeatureUse]


class NamespaceReadiness(_Model):
    """One namespace's share of the work; `blockers` are indices of error findings that are not suppressed."""

    namespace: str
    resources: int
    effort: Effort
    readiness: float
    blockers: list[int]


class Spot(_Model):
    """A place in the source (`side` before) or in an output (after)."""

    side: Literal["before", "after"]
    file: str | None
    line: int | None
    path: str


class Protection(_Model):
    """The state of one workload on one side, and why."""

    state: State
    reason: str
    spots: list[Spot]


class WorkloadProtection(_Model):
    """One workload before and after. `ports` are those that differ from the rest of the workload, by number, with their own state before and after."""

    namespace: str
    workload: str
    kind: str
    before: Protection
    after: Protection
    outcome: Literal["same", "stronger", "weaker", "undecided"]
    ports: dict[str, tuple[Protection, Protection]]


class Encryption(_Model):
    """mTLS coverage: counts by state, and each workload."""

    before: dict[State, int]
    after: dict[State, int]
    weaker: int
    workloads: list[WorkloadProtection]


class Door(_Model):
    """A container port of a workload; `port` null means every port that nothing names."""

    namespace: str
    workload: str
    port: int | None


class AccessRow(_Model):
    """Ports with equal access before and equal access after. `before` and `after` say who may send what: peer, then method, then paths; null where it cannot
    be said in sets. `reason` says why a row is undecided; `gained` and `lost` are requests as sentences; `findings` answer for the difference."""

    doors: list[Door]
    before: dict[str, dict[str, str]] | None
    after: dict[str, dict[str, str]] | None
    outcome: Outcome
    reason: str
    gained: list[str]
    lost: list[str]
    findings: list[int]


class Posture(_Model):
    """What a namespace's workloads admit on ports that no policy names: nobody, identities, everybody, some or mixed."""

    namespace: str
    before: str
    after: str


class Edge(_Model):
    """Who may call whom: a caller (`namespace/workload`, `outside the mesh` or `any mesh identity`) and a workload behind a declared port. `before` and `after`
    say whether all, some or none of its requests are let in; where all that differs is a GET of a declared probe, nothing does. `encrypted_before` and
    `encrypted_after` say whether the connection is encrypted by the mesh."""

    source: str
    destination: str
    port: int
    before: Share
    after: Share
    outcome: Outcome
    encrypted_before: bool | None
    encrypted_after: bool | None


class Stranger(_Model):
    """A workload that is not in the source mesh, and how many ports of meshed workloads take any of its requests; `lost` are those that take none after."""

    workload: str
    before: int
    after: int
    lost: list[Door]


class AccessMatrix(_Model):
    """Access before and after. The counts are of ports (a workload's port is one): `widened` and `undecided` first, for they decide whether the auditor
    signs. `edges` leave out pairs that may not call on either side; `strangers` are the workloads that call from outside the source mesh."""

    widened: int
    undecided: int
    narrowed: int
    changed: int
    same: int
    postures: list[Posture]
    rows: list[AccessRow]
    edges: list[Edge]
    strangers: list[Stranger] = []
    left_out: int


class Exemption(_Model):
    """A waiver: a finding that somebody has accepted until a day. `state` is active, expired (an error finding) or unused."""

    code: str
    resource: str | None
    owner: str
    reason: str
    expires: str
    state: Literal["active", "expired", "unused"]
    file: str | None
    line: int | None
    findings: list[int]


class AssetFate(_Model):
    """What becomes of something that asks a mesh's metrics: rules, a dashboard, a gate, an objective, a trigger. Of its `expressions` those of the source mesh
    are `translated` or `refused`; the others stay as they are (`unchanged`). `findings` are indices."""

    file: str | None
    kind: str
    namespace: str | None
    name: str
    expressions: int
    translated: int
    refused: int
    unchanged: int
    findings: list[int]


class Audit(_Model):
    """What an audit says beside the findings."""

    provenance: Provenance
    inventory: list[KindCount]
    patterns: list[PatternUse]
    namespaces: list[NamespaceReadiness]
    effort: Effort
    formulas: dict[str, str]
    encryption: Encryption
    access: AccessMatrix
    exceptions: list[Exemption]
    assets: list[AssetFate] = Field(default_factory=list)
