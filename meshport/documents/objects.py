"""Plain objects become a Bundle, as they come from another program."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, cast

from meshport.documents.build import MAX_DEPTH
from meshport.documents.forms import NO_MANIFEST, chart_of, form_of, is_list, items_of, not_an_object
from meshport.documents.model import Bundle, Document, Problem
from meshport.errors import InputError


def load_objects(objects: Sequence[Mapping[str, Any]], charts: Mapping[int, str] | None = None) -> Bundle:
    """A bundle of plain objects, which are neither copied nor changed. There are no files and no places; `index` is the position in the
    list. `charts` says of some by their position that they are values of a chart, which else has to be plain from their keys.

    Raises InputError for an object nested deeper than the limit (or holding itself).
    """
    documents: list[Document] = []
    problems: list[Problem] = []
    leaf = 0

    def number(value: Any, depth: int) -> Any:
        nonlocal leaf
        if depth > MAX_DEPTH:
            raise InputError(f"object {index} is nested deeper than {MAX_DEPTH} levels; flatten it", file=None)
        if value and (type(value) is dict or isinstance(value, Mapping)):  # the type first: asking for a Mapping is slow
            return {key: number(child, depth + 1) for key, child in value.items()}
        if value and isinstance(value, (list, tuple)):
            return [number(child, depth + 1) for child in value]
        leaf += 1
        return leaf - 1

    for index, each in enumerate(objects):
        listed = is_list(each)
        chart = (charts or {}).get(index, "")
        for item, value in enumerate(items_of(each, None, 0)) if listed else [(None, (each, None))]:
            given = value[0]
            wrong = None if chart else not_an_object(given)
            if wrong:
                problems.append(Problem("MP002", wrong, NO_MANIFEST, None, index))
                continue
            first = leaf
            documents.append(
                Document(
                    None,
                    index,
                    item,
                    cast(dict[str, Any], given),
                    number(given, 1),
                    0,
                    None,
                    first,
                    leaf - first,
                    chart or chart_of(given),
                    form="" if chart else form_of(given),
                )
            )
    return Bundle(documents, problems, [], array("I", bytes(4 * leaf)), array("I", bytes(4 * leaf)))
