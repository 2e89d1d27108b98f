"""Label selectors as Linkerd's policy controller reads them (linkerd2, policy-controller/k8s/api/src/labels.rs).

The API server checks none of this in a custom resource. An expression whose operator and values do not go together matches no pod: `In` and `NotIn` without
`values`, and `Exists` and `DoesNotExist` with them, be the list empty.
"""

from __future__ import annotations

from typing import Any

from meshport.dialects.cursor import Cursor
from meshport.ir.base import Fact, Requirement, Selector

NOTHING = Requirement("", "In")


def label_selector(place: Cursor, *keys: str) -> Fact[Selector]:
    """The selector below; one that matches no pod demands `NOTHING`."""
    read = place.selector(*keys)
    return read.map(lambda own: Selector(own.labels, (*own.expressions, NOTHING))) if matches_nothing(place.at(*keys)) else read


def matches_nothing(place: Cursor) -> tuple[Fact[Any], ...]:
    """The expressions of a selector that no pod can meet."""
    facts = (item.whole() for item in place.each("matchExpressions"))
    return tuple(fact for fact in facts if fact is not None and isinstance(fact.value, dict) and not _met(fact.value))


def _met(expression: dict[str, Any]) -> bool:
    operator, values = expression.get("operator"), expression.get("values")
    if operator in ("In", "NotIn"):
        return isinstance(values, list) and (bool(values) or operator == "NotIn")
    return values is None


def spoken(expressions: tuple[Fact[Any], ...]) -> str:
    """Expressions as a finding names them."""
    return ", ".join(f"{fact.value.get('key')} {fact.value.get('operator')}" for fact in expressions)
