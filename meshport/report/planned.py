"""The cutover plan as a model: steps in their order, each with what to type, what to look at, how to go back, and what is weaker meanwhile.

Computed by `meshport.migrate.plan`; the forms only render it. The JSON schema is `meshport schema plan`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Phase = Literal["prepare", "install", "overlap", "move", "enforce", "strict", "sign-off", "clean-up"]
Weakness = Literal["plaintext accepted", "plaintext sent", "rules not enforced", "exception", "refused"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Command(_Model):
    """A line to type in the plan's folder; `note` says what it is for. An empty `run` is something to do by hand, which the note says."""

    run: str
    note: str = ""


class Check(_Model):
    """What has to be true before the next step. `kind` is shell for a command to type, query for one to ask Prometheus; `expect` says what has to come back."""

    kind: Literal["shell", "query"]
    run: str
    expect: str


class PlannedManifest(_Model):
    """An object that a step applies or deletes, in a file of the plan's folder. `interim` forms are replaced or taken away by a later step."""

    file: str
    change: Literal["create", "change", "delete"]
    interim: bool
    object: dict[str, Any]


class WeakEdge(_Model):
    """A caller (`namespace/workload`, or a kind of stranger) and a workload's port; `port` null means every port."""

    source: str
    destination: str
    port: int | None


class Window(_Model):
    """What is weaker from this step until after step `until`, on which edges. `until` null: it ends with the step itself."""

    what: Weakness
    why: str
    until: int | None
    edges: list[WeakEdge]


class Half(_Model):
    """The workloads that one mesh governs in an intermediate state, compared with the source: `verdict` speaks of requests into them. `differences` are requests
    as sentences (the first few of `count`), `undecided` what could not be compared."""

    mesh: str
    workloads: int
    verdict: Literal["equivalent", "narrowed", "widened", "changed", "inconclusive"]
    count: int
    differences: list[str]
    undecided: list[str]


class StateCheck(_Model):
    """The cluster after the step, verified offline against the source, each half as its mesh reads it. Empty `halves`: not computed, and `says` tells why.

    A caller of the other mesh shows no identity, so that rules that name it refuse it: those edges stand in the windows, and the halves do not repeat them.
    """

    halves: list[Half]
    says: str


class Step(_Model):
    """One step of the runbook. `first` has to hold before anything is typed. `manifests` are what it applies or deletes, `previous` the same objects as they stand before it: what the way back applies."""

    number: int
    slug: str
    folder: str
    phase: Phase
    title: str
    why: str
    namespaces: list[str]
    workloads: list[str]
    first: list[Check]
    commands: list[Command]
    manifests: list[PlannedManifest]
    values: dict[str, dict[str, Any]]
    checks: list[Check]
    back: list[Command]
    previous: list[PlannedManifest]
    windows: list[Window]
    state: StateCheck | None


class Decision(_Model):
    """A finding that somebody has to decide about before the first step."""

    code: str
    severity: str
    message: str
    remedy: str


class PlannedMesh(_Model):
    mesh: str
    version: str
    data_plane: str | None = None


class Plan(_Model):
    """A migration as a runbook: ordered, reversible steps. `order` says why they come in this order."""

    schema_: Literal["meshport/plan/v1"] = Field(default="meshport/plan/v1", alias="schema")
    meshport_version: str
    source: PlannedMesh
    target: PlannedMesh
    strategy: Literal["namespace", "service", "cluster"]
    order: list[str]
    decisions: list[Decision]
    findings: int
    widened: int
    undecided: int
    steps: list[Step]
    stopped: bool

    def markdown(self) -> str:
        """The whole runbook as one Markdown document."""
        from meshport.report.runbook import document

        return document(self)

    def files(self) -> dict[str, str]:
        """What a folder holds: `plan.md`, `plan.json`, a folder for each step and `rollback/`; text by path."""
        from meshport.report.runbook import files

        return files(self)

    def write(self, folder: str, *, force: bool = False) -> list[str]:
        """Write the plan into a folder, whole or not at all; the paths written. Raises UsageError where the folder cannot be used."""
        from meshport.writing import write_files

        return write_files(self.files(), folder, force=force)
