"""The metric tables (`mappings/metrics/`): what each mesh exports, which metrics mean the same, and which labels.

A metric is looked up by the name that a query has, with the `_bucket`, `_sum` or `_count` of a histogram; a label by its name and by who measures, for Linkerd's
`deployment` is the server on inbound series and the client on outbound ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from meshport._resources import data
from meshport.mapping.table import in_range, load_yaml

MESHES = ("istio", "linkerd", "cilium")
SIDES = ("server", "client")
SUFFIXES = ("_bucket", "_sum", "_count")


@dataclass(frozen=True, slots=True)
class Metric:
    """A row of a mesh's inventory. `type` is counter, gauge or histogram; `unit` ms, s, B or ""; `gone` says why it is exported no more."""

    name: str
    type: str
    unit: str
    labels: frozenset[str]
    buckets: tuple[float, ...] = ()
    requires: str = ""
    gone: str = ""
    since: str | None = None


@dataclass(frozen=True, slots=True)
class Saying:
    """How a mesh says a concept on one side. `pins` are matchers that belong to it; `findings` what has to be said when it is read or written."""

    metric: str
    pins: tuple[tuple[str, str], ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()
    means: str = ""
    unsided: bool = False  # whether its series do not tell who measured
    read: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    requires: str = ""


@dataclass(frozen=True, slots=True)
class Concept:
    """What is measured. `says` is by mesh and side; `none` why a mesh does not; `becomes` the concept that another mesh has for it."""

    name: str
    title: str
    says: Mapping[tuple[str, str], Saying]
    none: Mapping[str, str]
    becomes: str = ""
    read: tuple[str, ...] = ()
    only_written: frozenset[str] = frozenset()  # meshes whose metric means more than this, so that it is not read as this


@dataclass(frozen=True, slots=True)
class Label:
    """What a label says; `names` by mesh and side, `near` the finding where it is not quite the same, `value` how its values are rewritten."""

    name: str
    names: Mapping[tuple[str, str], tuple[str, ...]]
    near: Mapping[tuple[str, str], str]
    also: Mapping[tuple[str, str], tuple[str, ...]]
    workload: Mapping[tuple[str, str], tuple[str, ...]]
    workload_near: Mapping[str, str]
    value: str = ""

    @property
    def of_peer(self) -> bool:
        """Whether it tells one end of the connection, which may be unknown."""
        return self.name.startswith(("source.", "destination.", "service."))

    def of(self, mesh: str, side: str, group_by: str) -> tuple[tuple[str, ...], str] | None:
        """The labels that say it for a mesh and side, and the finding where they are near it; None where there are none. `side` both: those of either."""
        if group_by == "workload" and any(known == mesh for known, _ in self.workload):
            found = self._sided(self.workload, mesh, side)
            return (found, self.workload_near.get(mesh, "")) if found else None
        found = self._sided(self.names, mesh, side)
        return (found, self.near.get((mesh, side), "")) if found else None

    @staticmethod
    def _sided(rows: Mapping[tuple[str, str], tuple[str, ...]], mesh: str, side: str) -> tuple[str, ...]:
        if side != "both":
            return rows.get((mesh, side), ())
        one, other = (rows.get((mesh, name), ()) for name in SIDES)
        return one if one == other else ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is near something that has no counterpart. `metrics` are patterns of names, `matchers` labels with a word in their value; `instead` is by target."""

    metrics: tuple[str, ...]
    matchers: Mapping[str, str]
    why: str
    instead: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Metrics:
    """All tables."""

    inventory: Mapping[str, Mapping[str, Metric]]
    prefixes: Mapping[str, tuple[str, ...]]
    concepts: Mapping[str, Concept]
    labels: Mapping[str, Label]
    requires: Mapping[str, Mapping[str, Mapping[str, Any]]]
    candidates: tuple[Candidate, ...] = ()

    def near_metric(self, name: str) -> Candidate | None:
        """What the tables say of a series that has no counterpart."""
        bare = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        return next(
            (row for row in self.candidates if any(fnmatchcase(one, pattern) for pattern in row.metrics for one in (name, bare))), None
        )

    def near_label(self, label: str, values: Iterable[str]) -> Candidate | None:
        """What the tables say of a label that has no counterpart, by the values that a query compares it with."""
        said = " ".join(values)
        return next((row for row in self.candidates if label in row.matchers and row.matchers[label] in said), None)

    def metric(self, mesh: str, name: str) -> tuple[Metric, str] | None:
        """The metric behind a series' name, and the suffix that the name has more."""
        rows = self.inventory[mesh]
        if name in rows:
            return rows[name], ""
        for suffix in SUFFIXES:
            row = rows.get(name.removesuffix(suffix)) if name.endswith(suffix) else None
            if row is not None and row.type == "histogram":
                return row, suffix
        return None

    def is_of(self, mesh: str, name: str) -> bool:
        """Whether a series is a mesh's own, known or not."""
        return self.metric(mesh, name) is not None or name.startswith(self.prefixes[mesh])

    def has_label(self, mesh: str, name: str) -> bool:
        """Whether some series of a mesh has a label."""
        return any(name in metric.labels for metric in self.inventory[mesh].values())

    def readings(self, mesh: str, name: str) -> list[tuple[Concept, str, Saying]]:
        """The concepts that a metric of a mesh says, with the side that says it (both where it is the same on either), the ones with pins first."""
        found = []
        for concept in self.concepts.values():
            sides = [side for side in SIDES if (said := concept.says.get((mesh, side))) is not None and said.metric == name]
            if mesh in concept.only_written or not sides:
                continue
            apart = len(sides) == 1 or concept.says[mesh, "server"] != concept.says[mesh, "client"]
            found += (
                [(concept, side, concept.says[mesh, side]) for side in sides]
                if apart
                else [(concept, "both", concept.says[mesh, "server"])]
            )
        return sorted(found, key=lambda item: -len(item[2].pins))

    def label(self, mesh: str, side: str, name: str) -> Label | None:
        """What a label says on the series that a side of a mesh measures; None where no row knows it."""
        sides = SIDES if side == "both" else (side,)
        for label in self.labels.values():
            if all(label.names.get((mesh, one), ()) == (name,) or name in label.also.get((mesh, one), ()) for one in sides):
                return label
        return None


@lru_cache(maxsize=1)
def metrics() -> Metrics:
    """The tables that ship with meshport."""
    folder = data("mappings") / "metrics"
    rows = {
        name: load_yaml((folder / f"{name}.yaml").read_text(encoding="utf-8"), f"metrics/{name}.yaml")
        for name in (*MESHES, "concepts", "labels", "candidates")
    }
    inventory, buckets = {}, {}
    for mesh in MESHES:
        row = rows[mesh]
        buckets[mesh] = {name: tuple(map(float, listed)) for name, listed in row["buckets"].items()}
        inventory[mesh] = {name: _metric(name, item, row, buckets[mesh]) for name, item in row["metrics"].items()}
    return Metrics(
        inventory,
        {mesh: tuple(rows[mesh]["prefixes"]) for mesh in MESHES},
        {name: _concept(name, row, inventory, buckets) for name, row in rows["concepts"].items()},
        {name: _label(name, row) for name, row in rows["labels"].items()},
        {mesh: rows[mesh].get("requires") or {} for mesh in MESHES},
        tuple(
            Candidate(
                tuple(row.get("metrics") or ()), row.get("matchers") or {}, row["why"], {mesh: row[mesh] for mesh in MESHES if mesh in row}
            )
            for row in rows["candidates"]["candidates"]
        ),
    )


def _metric(name: str, item: dict[str, Any], row: dict[str, Any], buckets: dict[str, tuple[float, ...]]) -> Metric:
    return Metric(
        name,
        item["type"],
        item.get("unit", ""),
        frozenset(_labels(item["labels"], row["series"])),
        buckets.get(item.get("buckets", ""), ()),
        item.get("requires", ""),
        str(item.get("gone", "")),
        item.get("since"),
    )


def _labels(listed: list[str], sets: dict[str, list[str]]) -> list[str]:
    found: list[str] = []
    for name in listed:
        found += _labels(sets[name], {key: value for key, value in sets.items() if key != name}) if name in sets else [name]
    return found


def _concept(
    name: str, row: dict[str, Any], inventory: dict[str, dict[str, Metric]], buckets: dict[str, dict[str, tuple[float, ...]]]
) -> Concept:
    says: dict[tuple[str, str], Saying] = {}
    none: dict[str, str] = {}
    written: set[str] = set()
    for mesh in MESHES:
        item = row.get(mesh)
        if item is None:
            continue
        if "none" in item:
            none[mesh] = item["none"]
            continue
        if item.get("written"):
            written.add(mesh)
        for side in SIDES:
            own = item.get(side, item if "metric" in item else None)
            if own is None or item.get("only", side) != side:
                continue
            metric = inventory[mesh][own["metric"]]
            says[mesh, side] = Saying(
                own["metric"],
                tuple((own.get("pins") or {}).items()),
                own.get("unit", metric.unit),
                buckets[mesh].get(own.get("buckets", ""), metric.buckets),
                own.get("means", item.get("means", "")),
                bool(item.get("unsided", False)),
                tuple(item.get("from", ())),
                tuple(item.get("to", ())),
                metric.requires,
            )
    return Concept(
        name,
        row["title"],
        says,
        none,
        row.get("becomes", ""),
        tuple(row.get("from", ())),
        frozenset(written),
    )


def _label(name: str, row: dict[str, Any]) -> Label:
    workload = row.get("workload") or {}
    also = row.get("also") or {}
    return Label(
        name,
        _by_side({mesh: row[mesh] for mesh in MESHES if mesh in row}),
        {(mesh, side): near for mesh in MESHES for side, near in _nears(row.get(mesh)).items()},
        _by_side(also),
        _by_side(workload),
        {mesh: item["near"] for mesh, item in workload.items() if isinstance(item, dict) and "near" in item},
        row.get("value", ""),
    )


def _nears(row: Any) -> dict[str, str]:
    """The finding by side; one for all sides, or a mapping."""
    near = row.get("near", {}) if isinstance(row, dict) else {}
    return dict.fromkeys((*SIDES, "both"), near) if isinstance(near, str) else dict(near)


def _by_side(rows: dict[str, Any]) -> dict[tuple[str, str], tuple[str, ...]]:
    found = {}
    for mesh, item in rows.items():
        for side in SIDES:
            listed = item if isinstance(item, list) else item.get(side)
            if listed:
                found[mesh, side] = tuple(listed)
    return found


def in_release(metric: Metric, version: str | None) -> bool:
    """Whether a release exports a metric; None for any."""
    return version is None or in_range(version, metric.since, None)
