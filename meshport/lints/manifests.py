"""Reading manifests as they stand there: a reviewer looks at what is written, also where the mesh takes no notice of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshport.findings import Finding
from meshport.ir.base import Ref
from meshport.mapping.paths import leaves_below

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.documents import Document
    from meshport.ir.model import IR
    from meshport.mapping.bound import Bound

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """One document of the bundle. `kind` is the one meant, where the case of the kind was wrong."""

    number: int
    document: Document
    kind: str

    @property
    def ref(self) -> Ref:
        return Ref(self.document.namespace or "", self.document.name)

    @property
    def namespace(self) -> str:
        return self.document.namespace or ""

    def __str__(self) -> str:
        return f"{self.kind} {self.ref}"

    def get(self, *path: str | int) -> Any:
        """What stands at a path; None where nothing does, or where the documents' shape is another."""
        value: Any = self.document.value
        for step in path:
            if not _has(value, step):
                return None
            value = value[step]
        return value

    def mapping(self, *path: str | int) -> dict[str, Any]:
        found = self.get(*path)
        return found if isinstance(found, dict) else {}

    def each(self, *path: str | int) -> list[tuple[Path, Any]]:
        """The items of a list with their paths; [] where there is none."""
        found = self.get(*path)
        return [((*path, index), item) for index, item in enumerate(found)] if isinstance(found, list) else []

    def leaves(self, *path: str | int) -> tuple[int, ...]:
        """The leaf ids at and below a path; those of the whole object's name where the path does not exist."""
        shadow: Any = self.document.leaves
        for step in path:
            if not _has(shadow, step):
                return self.leaves("metadata", "name") if path != ("metadata", "name") else ()
            shadow = shadow[step]
        return tuple(leaf for leaf, _ in leaves_below(shadow, ()))


def _has(holder: Any, step: str | int) -> bool:
    if isinstance(holder, list):
        return isinstance(step, int) and step < len(holder)
    return isinstance(holder, dict) and step in holder


class Review:
    """The bundle under review, and what is said of it."""

    def __init__(self, bound: Bound, options: Options, ir: IR) -> None:
        self.bound = bound
        self.options = options
        self.ir = ir
        self.findings: list[Finding] = []
        self.manifests = [
            Manifest(number, document, bound.kinds.get(number, document.kind)) for number, document in enumerate(bound.bundle.documents)
        ]
        self._of_kind: dict[str, list[Manifest]] = {}
        for manifest in self.manifests:
            self._of_kind.setdefault(manifest.kind, []).append(manifest)

    def of(self, *kinds: str, group: str | None = None) -> Iterator[Manifest]:
        """The manifests of these kinds; `group` is how the API group ends."""
        listed = [manifest for kind in dict.fromkeys(kinds) for manifest in self._of_kind.get(kind, ())]
        for manifest in sorted(listed, key=lambda item: item.number) if len(kinds) > 1 else listed:
            if group is None or manifest.document.group.endswith(group):
                yield manifest

    def standing(self, *kinds: str, group: str | None = None) -> Iterator[Manifest]:
        """Those of `of` that are in force beside each other: of several documents for one object the last."""
        last = {(str(manifest), manifest.document.group): manifest.number for manifest in self.of(*kinds, group=group)}
        return (one for one in self.of(*kinds, group=group) if last[str(one), one.document.group] == one.number)

    def say(self, code: str, manifest: Manifest, *paths: Path, severity: str | None = None, **values: Any) -> None:
        """A finding of the codes table about what stands at these paths."""
        row = self.bound.table.codes()[code]
        leaves = tuple(sorted({leaf for path in paths for leaf in manifest.leaves(*path)}))
        known = next((name for leaf in leaves if (name := self.bound.feature(leaf))), "")
        feature = self.bound.table.feature(known) if known else None
        filled = {"object": str(manifest), "mesh": self.options.source, **values}
        self.findings.append(
            Finding(
                code,
                severity or row.severity,
                row.message.format(**filled),
                row.remedy.format(**filled),
                "none",
                None,
                feature.pattern if feature else "input",
                feature.name if feature else "input",
                leaves=leaves,
                document=manifest.number,
            )
        )


def labels_of(manifest: Manifest) -> dict[str, str]:
    """The labels of an object's metadata."""
    return {str(key): str(value) for key, value in manifest.mapping("metadata", "labels").items()}


def names(items: list[str], limit: int = 4) -> str:
    """A list as a sentence has it: the first few, and how many more."""
    listed = list(dict.fromkeys(items))
    return ", ".join(listed[:limit]) + (f" and {len(listed) - limit} more" if len(listed) > limit else "")
