"""Labels in texts that are no queries: legends, templates of annotations, links, patterns of variables."""

from __future__ import annotations

import re
from collections.abc import Callable

Find = Callable[[str], tuple[str, ...] | None]
"""The labels that stand for one; None where the target has none."""

_LEGEND = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_LABELS = re.compile(r"(\$labels|\.Labels|\$value\.Labels)\.([A-Za-z_][A-Za-z0-9_]*)")
_ACTION = re.compile(r"\{\{-?(?:[^{}\"`]|\"(?:[^\"\\]|\\.)*\"|`[^`]*`)*-?\}\}")
_ALONE = re.compile(r"\{\{(-?\s*)((?:\$labels|\.Labels|\$value\.Labels))\.([A-Za-z_][A-Za-z0-9_]*)(\s*-?)\}\}")
_FIELD = re.compile(r"\$\{__(field|series|data\.fields|value)\.labels\.([A-Za-z_][A-Za-z0-9_]*)((?::[a-z]+)?)\}")
_COLUMN = re.compile(r"(\$\{__data\.fields(?:\.|\[[\"']?))(?!labels\.)([A-Za-z_][A-Za-z0-9_]*)((?:[\"']?\])?(?::[a-z]+)?\})")
_QUOTED_LABEL = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\s*=\s*\\?\")")


class Lost(Exception):
    """A label that nothing stands for."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.label = label


def joined(names: tuple[str, ...], around: Callable[[str], str]) -> str:
    """Several labels as one name: `service.namespace` as hosts are written, `namespace/workload` as workloads are."""
    shown = [around(name) for name in names]
    if len(names) == 2 and "service" not in names[0]:
        return f"{shown[1]}/{shown[0]}"
    return ".".join(shown)


def legend(text: str, find: Find) -> str:
    """A legend of Grafana: `{{label}}`. Raises Lost."""

    def put(found: re.Match[str]) -> str:
        name = found.group(1)
        names = find(name)
        if names is None or not names:
            raise Lost(name)
        if names == (name,):
            return found.group(0)
        return joined(names, lambda one: found.group(0).replace(name, one))

    return _LEGEND.sub(put, text)


def template(text: str, find: Find) -> str:
    """A Go template of Prometheus: `{{ $labels.x }}` alone or in a pipeline. Raises Lost."""

    def names_of(name: str) -> tuple[str, ...]:
        names = find(name)
        if not names:
            raise Lost(name)
        return names

    def action(found: re.Match[str]) -> str:
        whole = found.group(0)
        alone = _ALONE.fullmatch(whole)
        if alone is not None:
            before, holder, name, after = alone.groups()
            names = names_of(name)
            return joined(names, lambda one: "{{" + before + holder + "." + one + after + "}}")

        def inside(part: re.Match[str]) -> str:
            holder, name = part.groups()
            names = names_of(name)
            if len(names) == 1:
                return f"{holder}.{names[0]}"
            form = joined(names, lambda _: "%s")
            order = names if "/" not in form else names[::-1]
            return f'(printf "{form}" {" ".join(f"{holder}.{one}" for one in order)})'

        return _LABELS.sub(inside, whole)

    return _ACTION.sub(action, text)


def link(text: str, find: Find) -> str:
    """`${__field.labels.x}` in a link, or `${__data.fields.x}` for a column of a table: alone as a variable's value, joined elsewhere. Raises Lost."""

    def names_of(found: re.Match[str]) -> tuple[str, ...]:
        names = find(found.group(2))
        if not names:
            raise Lost(found.group(2))
        as_value = re.search(r"var-[A-Za-z0-9_]+=$", found.string[: found.start()]) is not None
        return names[:1] if as_value else names

    def label(found: re.Match[str]) -> str:
        return joined(names_of(found), lambda one: f"${{__{found.group(1)}.labels.{one}{found.group(3)}}}")

    def column(found: re.Match[str]) -> str:
        return joined(names_of(found), lambda one: found.group(1) + one + found.group(3))

    return _COLUMN.sub(column, _FIELD.sub(label, text))


def linked(text: str) -> set[str]:
    """The labels that a link names."""
    return {found.group(2) for pattern in (_FIELD, _COLUMN) for found in pattern.finditer(text)}


def pattern(text: str, labels: dict[str, tuple[str, ...]]) -> str:
    """The pattern by which a variable takes its values from the text of series: the labels in it, or the ends of their names that it goes by. Raises Lost where
    the series have no such label any more."""

    def put(found: re.Match[str]) -> str:
        name = found.group(1)
        after = {names[0] for label, names in labels.items() if names and (label == name or label.endswith(name))}
        if not after:
            if labels:
                raise Lost(name)
            return found.group(0)
        common = next(iter(after)) if len(after) == 1 else _common_end(sorted(after))
        if not common:
            raise Lost(name)
        whole = {label for label in labels if label.endswith(name)} == {name} or name in labels
        return (common if whole or not common.endswith(name) else name) + found.group(2)

    return _QUOTED_LABEL.sub(put, text)


def _common_end(names: list[str]) -> str:
    """The words that several labels end with."""
    parts = [name.split("_")[::-1] for name in names]
    same: list[str] = []
    for words in zip(*parts, strict=False):
        if len(set(words)) > 1:
            break
        same.append(words[0])
    return "_".join(same[::-1])
