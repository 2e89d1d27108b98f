"""Fields and annotations that a mesh takes and wants nobody to write any more: rows of `mappings/deprecated.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from meshport._resources import data
from meshport.lints.manifests import Manifest, Path, Review
from meshport.mapping.table import dialect_of_group, in_range, load_yaml, split_path

HOLDERS: tuple[Path, ...] = (("metadata",), ("spec", "template", "metadata"), ("spec", "jobTemplate", "spec", "template", "metadata"))


@lru_cache(maxsize=1)
def _rows() -> dict[str, Any]:
    return load_yaml((data("mappings") / "deprecated.yaml").read_text(encoding="utf-8"), "deprecated.yaml")


def review(review: Review) -> None:
    """Each deprecated field and annotation, one finding for each place."""
    releases = review.bound.releases
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for row in _rows()["fields"]:
        by_kind.setdefault(row["kind"], []).append(row)
    for manifest in review.manifests:
        for row in by_kind.get(f"{manifest.document.group}/{manifest.kind}", ()):
            if _holds(row, releases.get(dialect_of_group(manifest.document.group) or "")):
                for path in _places(manifest.document.value, split_path(row["at"]), ()):
                    if not row.get("values") or manifest.get(*path) in row["values"]:
                        name = f"{path[-1]}: {manifest.get(*path)}" if row.get("values") else str(path[-1])
                        gone = f"deprecated since {row['since']}" if row.get("since") else "deprecated"
                        review.say("MP082", manifest, path, what=name, gone=gone, instead=row["instead"])
        _annotations(review, manifest)


def _annotations(review: Review, manifest: Manifest) -> None:
    for holder in HOLDERS:
        for key in manifest.mapping(*holder, "annotations"):
            row = _rows()["annotations"].get(key)
            if row is not None and row["dialect"] == review.options.source and _holds(row, review.options.source_version):
                gone = f"deprecated since {row['since']}" if row.get("since") else "deprecated"
                path = (*holder, "annotations", key)
                review.say("MP082", manifest, path, severity="info", what=f"the annotation {key}", gone=gone, instead=row["instead"])


def _holds(row: dict[str, Any], release: str | None) -> bool:
    return release is None or in_range(release, row.get("since"), row.get("until"))


def _places(value: Any, steps: tuple[str, ...], path: Path) -> Iterator[Path]:
    if not steps:
        if value is not None:
            yield path
    elif steps[0] == "[]":
        for index, below in enumerate(value if isinstance(value, list) else ()):
            yield from _places(below, steps[1:], (*path, index))
    elif isinstance(value, dict) and steps[0] in value:
        yield from _places(value[steps[0]], steps[1:], (*path, steps[0]))
