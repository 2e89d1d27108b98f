"""Versions of APIs that a newer one has taken the place of."""

from __future__ import annotations

from meshport.lints.manifests import Review
from meshport.mapping.releases import served


def review(review: Review) -> None:
    """Objects at a version that is served still, though a newer one is."""
    table, releases = review.bound.table, review.bound.releases
    for manifest in review.manifests:
        document = manifest.document
        kind = table.kind(document.group, manifest.kind) if review.bound.mesh[manifest.number] else None
        if kind is None or kind.dialect == "smi":  # SMI is no longer developed: no version of it is the better one
            continue
        known = served(kind, releases.get(kind.dialect))
        if document.version in known and document.version != known[0]:
            review.say("MP043", manifest, ("apiVersion",), version=document.api_version, newer=f"{document.group}/{known[0]}")
