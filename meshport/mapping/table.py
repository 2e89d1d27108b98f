"""The mapping table: what each path of a resource means, and what each feature is in each dialect at each version.

Rows are data (`mappings/`): `bindings/<dialect>/<Kind>.yaml` give a path its feature, type and values, or say why it is irrelevant;
`support/<pattern>.yaml` say what a feature is in a dialect since when, with the code, message and remedy of its loss; `codes*.yaml` explain the codes.
Files are read when they are first needed. No transformation is written in YAML.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from meshport._resources import data
from meshport.errors import MeshportError, UsageError

MESHES = ("istio", "linkerd", "cilium")
DIALECTS = ("istio", "linkerd", "cilium", "gateway-api", "smi")
TARGETS = ("istio", "linkerd", "cilium", "gateway-api")

_GROUPS = {
    "linkerd.io": "linkerd",
    "policy.linkerd.io": "linkerd",
    "workload.linkerd.io": "linkerd",
    "multicluster.linkerd.io": "linkerd",
    "gateway.networking.k8s.io": "gateway-api",
    "gateway.networking.x-k8s.io": "gateway-api",
    "cilium.io": "cilium",
}


def dialect_of_group(group: str) -> str | None:
    """The dialect that an API group belongs to; None for a group of no mesh."""
    if group in _GROUPS:
        return _GROUPS[group]
    if (
        group.endswith(".istio.io") and group != "install.istio.io"
    ):  # an IstioOperator is a setting of the installation, see dialects/installation
        return "istio"
    if group.endswith(".smi-spec.io"):
        return "smi"
    return None


@lru_cache(maxsize=1024)
def version_key(version: str) -> tuple[int, ...]:
    """A release such as `1.27` or `2.20` as a key that sorts. Raises UsageError for anything else."""
    try:
        return tuple(int(part) for part in version.lstrip("v").split(".")[:3])
    except ValueError:
        raise UsageError(f"not a release: {version!r}; write it like 1.27") from None


def in_range(version: str, since: str | None, until: str | None) -> bool:
    """Whether a release lies in [since, until)."""
    key = version_key(version)
    return (since is None or key >= version_key(since)) and (until is None or key < version_key(until))


@dataclass(frozen=True, slots=True)
class Binding:
    """What one path means. Exactly one of `feature` and `irrelevant` is set; both where only some values are irrelevant."""

    feature: str = ""
    type: str = ""
    values: tuple[str, ...] = ()
    irrelevant: str = ""
    irrelevant_values: tuple[tuple[str, str], ...] = ()
    by_value: tuple[tuple[str, str], ...] = ()  # a value that is another feature
    inbound: str = ""  # the feature where the route's parent is a Server
    since: str | None = None
    until: str | None = None
    versions: tuple[str, ...] = ()  # the apiVersions that have the field, newest first; () where all do
    values_since: tuple[tuple[str, str], ...] = ()  # values that came later, and the release
    channel: str = ""
    on: tuple[str, ...] = ()  # of a label or annotation, the kinds that it is read on; pod is a pod or a pod template
    decides: str = ""  # what depends on a setting, so that a value which nobody knows is an error: access, encryption, or policies
    strictest: str = ""  # the value by which least is let in

    def feature_of(self, value: Any) -> str:
        """The feature that this value is."""
        if not self.by_value:
            return self.feature
        text = _plain(value)
        return next((feature for listed, feature in self.by_value if listed == text), self.feature)

    def reason_for(self, value: Any) -> str:
        """Why this value decides nothing; "" where it does."""
        if self.irrelevant:
            return self.irrelevant
        text = _plain(value)
        return next((reason for listed, reason in self.irrelevant_values if listed == text), "")


@dataclass(slots=True)
class Node:
    """A step of the paths that a kind knows."""

    children: dict[str, Node] = field(default_factory=dict)
    star: Node | None = None
    item: Node | None = None
    binding: Binding | None = None

    def child(self, key: str) -> Node | None:
        return self.children.get(key) or self.star

    def first_binding(self) -> Binding | None:
        """The binding here, or of the first leaf below: what an empty container stands for."""
        if self.binding is not None:
            return self.binding
        for node in (*self.children.values(), self.star, self.item):
            if node is not None and (found := node.first_binding()) is not None:
                return found
        return None


@dataclass(frozen=True, slots=True)
class Exclusive:
    """At most one of these members may stand in the mappings `at`; `needed`: exactly one, or since the release that it names. With `filled`, an empty list or
    mapping does not count."""

    at: tuple[str, ...]
    members: tuple[str, ...]
    needed: bool | str = False
    filled: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """The rows of one kind. `passes` says why a kind of the mesh's group is no part of the mesh: its objects stay as they are."""

    dialect: str
    group: str
    name: str
    versions: tuple[str, ...]  # newest first
    root: Node
    passes: str = ""
    spans: tuple[tuple[str | None, str | None], ...] = ()  # since and until of each version
    exclusive: tuple[Exclusive, ...] = ()

    def newest(self, release: str) -> str | None:
        """The newest version that a release of the mesh serves; None where it serves none."""
        served = zip(self.versions, self.spans, strict=False)
        return next((name for name, (since, until) in served if in_range(release, since, until)), None)


@dataclass(frozen=True, slots=True)
class Cell:
    """What a feature is in one dialect over a range of releases."""

    support: str
    source: str = ""
    code: str = ""
    severity: str = "info"
    effect: str = "none"
    message: str = ""
    remedy: str = ""
    reason: str = ""
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True)
class Feature:
    name: str
    pattern: str
    title: str
    cells: dict[str, tuple[Cell, ...]]


@dataclass(frozen=True, slots=True)
class Pattern:
    name: str
    title: str
    summary: dict[str, str]
    features: tuple[Feature, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """A finding's page: what it means, where it comes from, what to do.

    `verdict` is what an error or warning that access is changed does to the verdict of a conversion whose comparison shows no such change: "" leaves it open,
    `aside` does not, for what is told is no request of a caller, `open` leaves it open whatever its severity, and where its effect is that access changes, and
    `unread` leaves it open whatever its effect: what a document says is not known.
    """

    name: str
    title: str
    severity: str
    meaning: str
    cause: str
    remedy: str
    example: str
    effect: str = "none"
    message: str = ""
    verdict: str = ""


UNKNOWN_CELL = Cell("none")


class Table:
    """The built-in rows, and a user's own over them (`--mappings`)."""

    def __init__(self, extra: str | None = None) -> None:
        self._kinds: dict[tuple[str, str], Kind | None] = {}
        self._extra = _read_text(extra, "--mappings") if extra else {}
        self._patterns: tuple[Pattern, ...] | None = None
        self._features: dict[str, Feature] = {}
        self._codes: dict[str, Code] | None = None
        self._metadata: Node | None = None
        self._keys: dict[str, dict[str, dict[str, Binding]]] | None = None
        self._versions: dict[str, tuple[str, ...]] | None = None
        self._gateways: dict[str, dict[str, str]] = {}
        self._charts: dict[str, Node] = {}

    @property
    def own_rows(self) -> Any:
        """What the user's file has under `features`."""
        return self._extra.get("features")

    # -- bindings

    def kind(self, group: str, name: str) -> Kind | None:
        """The rows of a kind; None where the group is of no mesh or knows no such kind."""
        key = (group, name)
        if key not in self._kinds:
            self._kinds[key] = self._load_kind(group, name)
        return self._kinds[key]

    def _load_kind(self, group: str, name: str) -> Kind | None:
        dialect = dialect_of_group(group)
        if dialect is None or not name.isalnum():
            return None
        folder = data("mappings") / "bindings" / dialect
        if not folder.is_dir():
            return None
        for entry in folder.iterdir():
            stem = entry.name.removesuffix(".yaml")
            if stem == name or stem.startswith(name + "."):
                rows = load_yaml(entry.read_text(encoding="utf-8"), entry.name)
                if rows["group"] == group:
                    versions = rows.get("versions") or {}
                    spans = tuple((_release(span, "since"), _release(span, "until")) for span in versions.values())
                    return Kind(
                        dialect, group, name, tuple(versions), _tree(rows["fields"]), rows.get("passes", ""), spans, _exclusive(rows)
                    )
        return None

    def chart(self, name: str) -> Node:
        """The rows of a chart's values; an empty node where there are none."""
        if name not in self._charts:
            entry = data("mappings") / "bindings" / "install" / f"{name}.yaml"
            self._charts[name] = _tree(load_yaml(entry.read_text(encoding="utf-8"), entry.name)["fields"]) if entry.is_file() else Node()
        return self._charts[name]

    def kinds_of(self, group: str) -> list[str]:
        """The kinds that a group knows, for a "did you mean"."""
        dialect = dialect_of_group(group)
        folder = data("mappings") / "bindings" / (dialect or "-")
        if not folder.is_dir():
            return []
        names = {entry.name.split(".")[0] for entry in folder.iterdir() if entry.name.endswith(".yaml")}
        return sorted(name for name in names if (found := self.kind(group, name)) and found.name == name)

    def elsewhere(self, group: str, name: str) -> str | None:
        """The apiVersion of a kind in another group of the same dialect, for a "did you mean"."""
        folder = data("mappings") / "bindings" / (dialect_of_group(group) or "-")
        for entry in sorted(folder.iterdir(), key=lambda item: item.name) if folder.is_dir() else ():
            if entry.name.removesuffix(".yaml") == name or entry.name.startswith(name + "."):
                rows = load_yaml(entry.read_text(encoding="utf-8"), entry.name)
                if rows["group"] != group and rows.get("versions"):
                    return f"{rows['group']}/{next(iter(rows['versions']))}"
        return None

    @property
    def metadata(self) -> Node:
        """The rows that hold for every object."""
        if self._metadata is None:
            rows = _load("bindings/core/metadata.yaml")
            self._metadata = _tree(rows["fields"])
        return self._metadata

    def key_bindings(self, what: str, key: str) -> dict[str, Binding]:
        """By dialect, what a label or annotation means; `what` is `labels` or `annotations`."""
        if self._keys is None:
            self._keys = {"labels": {}, "annotations": {}}
            rows = _load("bindings/core/annotations.yaml")
            for kind, entries in self._keys.items():
                for name, row in (rows.get(kind) or {}).items():
                    for one in row if isinstance(row, list) else [row]:
                        entries.setdefault(name, {})[one["dialect"]] = _binding(one)
        return self._keys[what].get(key, {})

    # -- support

    def patterns(self) -> tuple[Pattern, ...]:
        if self._patterns is None:
            folder = data("mappings") / "support"
            files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".yaml")), key=lambda item: item.name)
            found = [self._pattern(load_yaml(entry.read_text(encoding="utf-8"), entry.name)) for entry in files]
            self._patterns = tuple(found)
            self._features = {feature.name: feature for pattern in found for feature in pattern.features}
        return self._patterns

    def _pattern(self, rows: dict[str, Any]) -> Pattern:
        name = rows["pattern"]
        own = (self._extra.get("features") or {}) if isinstance(self._extra, dict) else {}
        features = []
        for feature, row in (rows.get("features") or {}).items():
            merged = {**row, **own.get(feature, {})}
            cells = {dialect: _cells(merged[dialect]) for dialect in DIALECTS if dialect in merged}
            features.append(Feature(feature, name, merged.get("title", feature), cells))
        return Pattern(name, rows.get("title", name), dict(rows.get("summary") or {}), tuple(features))

    def feature(self, name: str) -> Feature | None:
        self.patterns()
        return self._features.get(name)

    def support(self, feature: str, dialect: str, version: str) -> Cell:
        """What a feature is in a dialect at a release. A feature without a row is `none`: silence never means support."""
        row = self.feature(feature)
        for cell in row.cells.get(dialect, ()) if row else ():
            if in_range(version, cell.since, cell.until):
                return cell
        return UNKNOWN_CELL

    # -- codes and versions

    def codes(self) -> dict[str, Code]:
        if self._codes is None:
            self._codes = {}
            for entry in data("mappings").iterdir():
                if entry.name.startswith("codes") and entry.name.endswith(".yaml"):
                    for name, row in load_yaml(entry.read_text(encoding="utf-8"), entry.name).items():
                        fields = {key: str(row.get(key, "") or "").strip() for key in Code.__dataclass_fields__ if key != "name"}
                        fields["effect"] = fields["effect"] or "none"
                        self._codes[name] = Code(name, **fields)
            self._codes = dict(sorted(self._codes.items()))
        return self._codes

    def versions(self, dialect: str) -> tuple[str, ...]:
        """The releases that the table knows, oldest first."""
        if self._versions is None:
            rows = _load("versions.yaml")
            self._gateways = rows.pop("gateway-api-of")
            self._versions = {name: tuple(str(item) for item in listed) for name, listed in rows.items()}
        return self._versions.get(dialect, ())

    def gateway_release(self, mesh: str, version: str) -> str | None:
        """The release of Gateway API that a release of a mesh is made for; None where the mesh reads no routes of it."""
        self.versions(mesh)
        known = self._gateways.get(mesh, {})
        fitting = [release for release in known if in_range(version, release, None)]
        return str(known[max(fitting, key=version_key)]) if fitting else None


def _load(path: str) -> dict[str, Any]:
    entry = data("mappings")
    for part in path.split("/"):
        entry = entry / part
    return load_yaml(entry.read_text(encoding="utf-8"), path)


def _read_text(path: str, option: str) -> dict[str, Any]:
    from pathlib import Path

    try:
        return load_yaml(Path(path).read_text(encoding="utf-8"), path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); {option} wants a YAML file of feature rows") from None


def load_yaml(text: str, name: str) -> dict[str, Any]:
    """The mapping that a file of the table holds. Raises MeshportError where it holds none."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        rows = yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise MeshportError(f"{name}: not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(rows, dict):
        raise MeshportError(f"{name}: a mapping is expected")
    return rows


def _exclusive(rows: dict[str, Any]) -> tuple[Exclusive, ...]:
    return tuple(
        Exclusive(split_path(at) if at else (), tuple(rule["members"]), rule.get("needed", False), rule.get("filled", False))
        for rule in rows.get("exclusive") or ()
        for at in rule["at"]
    )


def _binding(row: dict[str, Any]) -> Binding:
    return Binding(
        feature=row.get("feature", ""),
        type=row.get("type", ""),
        values=tuple(_plain(value) for value in row.get("values") or ()),
        irrelevant=row.get("irrelevant", ""),
        irrelevant_values=tuple((_plain(value), reason) for value, reason in (row.get("irrelevant_values") or {}).items()),
        by_value=tuple((_plain(value), feature) for value, feature in (row.get("by_value") or {}).items()),
        inbound=row.get("inbound", ""),
        since=_release(row, "since"),
        until=_release(row, "until"),
        versions=tuple(row.get("versions") or ()),
        values_since=tuple((_plain(value), str(since)) for value, since in (row.get("values_since") or {}).items()),
        channel=row.get("channel", ""),
        on=tuple(row.get("on") or ()),
        decides=row.get("decides", ""),
        strictest=_plain(row["strictest"]) if "strictest" in row else "",
    )


def _release(row: dict[str, Any] | None, member: str) -> str | None:
    return str(row[member]) if row and member in row else None


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@lru_cache(maxsize=4096)
def split_path(path: str) -> tuple[str, ...]:
    """`spec.rules[].when[].values[]` in steps; `[]` is an item, `*` any key."""
    steps: list[str] = []
    for part in path.split("."):
        name = part
        items = 0
        while name.endswith("[]"):
            name = name[:-2]
            items += 1
        if name:
            steps.append(name)
        steps.extend(["[]"] * items)
    return tuple(steps)


def _tree(fields: dict[str, Any]) -> Node:
    root = Node()
    for path, row in fields.items():
        node = root
        for step in split_path(path):
            if step == "[]":
                node.item = node.item or Node()
                node = node.item
            elif step == "*":
                node.star = node.star or Node()
                node = node.star
            else:
                node = node.children.setdefault(step, Node())
        node.binding = _binding(row)
    return root


def _cells(row: Any) -> tuple[Cell, ...]:
    cells = []
    for one in row if isinstance(row, list) else [row]:
        known = {key: one[key] for key in Cell.__dataclass_fields__ if key in one and one[key] is not None}
        for key in ("since", "until"):
            if key in known:
                known[key] = str(known[key])
        cells.append(Cell(**known))
    return tuple(cells)


@lru_cache(maxsize=4)
def builtin() -> Table:
    """The table as shipped, shared by all conversions: it is only ever filled from its own files."""
    return Table()


def iterate_features(table: Table) -> Iterator[Feature]:
    for pattern in table.patterns():
        yield from pattern.features
