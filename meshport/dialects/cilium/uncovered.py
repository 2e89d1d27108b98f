"""Pods of a namespace of which the bundle shows some, that no written policy selects: what closes them in the source has to close them here too.

Selectors of written policies are chosen by the labels of pods that are known. Pods that are not need none of these.
"""

from __future__ import annotations

from itertools import islice, product
from typing import Any

from meshport.dialects.cilium.subjects import NAMING, beside
from meshport.dialects.cilium.writing import KIND
from meshport.dialects.output import Output
from meshport.effective.access import Access
from meshport.ir.base import Requirement, Selector

_OTHER = "~"  # the value of a label that nothing names
_MOST = 4096  # kinds of pods that are looked at


class Covered:
    """The pods that the policies written so far select, by namespace."""

    def __init__(self, out: Output, access: Access) -> None:
        self.out, self.access = out, access
        self._seen = 0
        self._found: dict[str, list[Selector]] = {}

    def rest(self, namespace: str, wanted: Selector) -> Selector | None:
        """The selector without the known pods that no policy closes, where it takes pods that none is written for; None where it takes no others."""
        written = self._written(namespace)
        demands = set(wanted.demands())
        if any(demands.issuperset(one.demands()) for one in written):
            return None
        pods = [item.workload for item in self.access.of_namespace(namespace)]
        if not _gap(wanted, written, [item.own_labels for item in pods]):
            return None
        mine = [item for item in pods if wanted.accepts(item.own_labels)]
        found = beside(wanted, [item.pods.selector for item in mine if not any(one.accepts(item.own_labels) for one in written)], [])
        return found if found.accepts(dict(wanted.labels)) else None

    def met(self, namespace: str, wanted: Selector) -> bool:
        """Whether a policy of a namespace may select pods that the selector takes."""
        return any(_agree([*wanted.demands(), *one.demands()]) for one in self._written(namespace))

    def _written(self, namespace: str) -> list[Selector]:
        for (_, kind, ref), obj in islice(self.out.objects.items(), self._seen, None):
            spec = obj.value.get("spec") if kind == KIND else None
            if spec is not None and "enableDefaultDeny" not in spec:
                self._found.setdefault(ref.namespace, []).append(_selector(spec.get("endpointSelector") or {}))
        self._seen = len(self.out.objects)
        return self._found.get(namespace, [])


def _agree(demands: list[Requirement]) -> bool:
    """Whether a pod can meet all demands."""
    for key in {item.key for item in demands}:
        own = [item for item in demands if item.key == key]
        values = [{}, *({key: value} for value in (_OTHER, *(value for item in own for value in item.values)))]
        if not any(all(item.accepts(labels) for item in own) for labels in values):
            return False
    return True


def _gap(wanted: Selector, written: list[Selector], known: list[dict[str, str]]) -> bool:
    """Whether the selector takes pods of other labels than known ones that none of the written policies selects."""
    demands = [*wanted.demands(), *(item for one in written for item in one.demands())]
    values: dict[str, set[str | None]] = {}
    for item in demands:
        values.setdefault(item.key, {None, _OTHER}).update(item.values)
    for key in NAMING:  # by which pods are told from known ones
        if named := {one[key] for one in known if key in one and wanted.accepts(one)}:
            values.setdefault(key, {None, _OTHER}).update(named)
    for item in wanted.demands():  # nothing else is of interest
        values[item.key] = {value for value in values[item.key] if item.accepts({} if value is None else {item.key: value})}
    if not values:
        return True
    keys = sorted(values)
    kinds = product(*(sorted(values[key], key=str) for key in keys))
    for number, kind in enumerate(kinds):
        labels = {key: value for key, value in zip(keys, kind, strict=True) if value is not None}
        if any(all(one.get(key) == labels.get(key) for key in keys) for one in known):
            continue
        if number >= _MOST or not any(one.accepts(labels) for one in written):
            return True
    return False


def _selector(value: dict[str, Any]) -> Selector:
    labels, expressions = value.get("matchLabels") or {}, value.get("matchExpressions") or ()
    return Selector.of(labels, [Requirement(item["key"], item["operator"], tuple(item.get("values") or ())) for item in expressions])
