"""Values that the API server and the webhooks take and that the mesh then passes over without a word: they are read as if they were not there.

Of a ServiceProfile Linkerd's proxy leaves out the conditions and response classes that it cannot build (linkerd2-proxy, linkerd/service-profiles/src/proto.rs).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from meshport.mapping.shapes import Path, at


@dataclass(frozen=True, slots=True)
class PassedOver:
    """The path of a value, why it does nothing, and what to write."""

    path: Path
    why: str
    remedy: str
    severity: str


def passed_over(value: dict[str, Any], group: str, kind: str) -> Iterator[PassedOver]:
    """What the mesh passes over in an object of this kind."""
    if (group, kind) == ("linkerd.io", "ServiceProfile"):
        for path, route in at(value, "spec", "routes", "[]"):
            for place, condition in at(route, "condition"):
                for inner, one in _conditions(condition, (*path, *place)):
                    yield from _expression(one.get("pathRegex"), (*inner, "pathRegex"))
            for place, condition in at(route, "responseClasses", "[]", "condition"):
                for inner, one in _conditions(condition, (*path, *place)):
                    yield from _statuses(one.get("status"), (*inner, "status"))


def _conditions(condition: Any, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The condition and those within it."""
    if isinstance(condition, dict):
        yield path, condition
        for steps in (("all", "[]"), ("any", "[]"), ("not",)):
            for place, inner in at(condition, *steps):
                yield from _conditions(inner, (*path, *place))


def _expression(text: Any, path: Path) -> Iterator[PassedOver]:
    from meshport.values.regex import refused

    if isinstance(text, str) and (found := refused(text.strip(), "rust")) is not None:
        why = f"{text!r} is no regular expression, and the proxy leaves the condition out without a word ({found})"
        yield PassedOver(path, why, "Write an expression of RE2.", "error")


def _statuses(status: Any, path: Path) -> Iterator[PassedOver]:
    """The control plane sends 0 for the end that is not there, which is no status: the proxy leaves the class out."""
    if not isinstance(status, dict):
        return
    low, high = status.get("min"), status.get("max")
    if (low is None) != (high is None):
        lacks, has = ("min", high) if low is None else ("max", low)
        why = f"a range of statuses without {lacks} is dropped, and its class with it"
        yield PassedOver(path, why, f"Write both ends: min: {has}, max: {has} for one status.", "warning")
