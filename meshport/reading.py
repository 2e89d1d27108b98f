"""Findings about the input as text, and about the bundle as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath, PurePosixPath
from typing import TYPE_CHECKING

from meshport.documents.built import built_by_tool
from meshport.findings import Finding
from meshport.mapping.bound import CORE_KINDS
from meshport.mapping.homes import OF_THE_CLUSTER

if TYPE_CHECKING:
    from meshport.documents import Bundle
    from meshport.mapping.bound import Bound

_SEVERITY = {
    "MP002": "info",
    "MP388": "warning",
    "MP978": "warning",
    "MP980": "warning",
}  # files beside manifests (values, kustomizations) are no mistake


def reading_findings(bundle: Bundle, bound: Bound) -> list[Finding]:
    """What is wrong with the text, and which documents name no namespace."""
    numbers = {(document.file, document.index): number for number, document in enumerate(bundle.documents)}
    found = []
    files = _files(bundle, bound)
    places = {str(place) for file in files for place in (PurePath(file), *PurePath(file).parents)} if bundle.problems else set()
    for problem in bundle.problems:
        if problem.about and places.isdisjoint(str(PurePath(one)) for one in problem.about):
            continue  # it changes nothing that is read
        number = numbers.get((problem.file, problem.document if problem.document is not None else -1))
        found.append(
            Finding(
                problem.code,
                _SEVERITY.get(problem.code, "error"),
                problem.message,
                problem.remedy,
                "none",
                "invalid" if problem.leaves else None,
                "input",
                "input",
                leaves=tuple(sorted(problem.leaves)) if problem.code != "MP004" else (),
                document=number,
                file=problem.file,
                file_document=problem.document,
                line=problem.line,
                column=problem.column,
                path=problem.path,
            )
        )
    found.extend(_built(bundle, files))
    homeless = [
        number
        for number, document in enumerate(bundle.documents)
        if bound.mesh[number] and number not in bound.broken and document.named_namespace is None and document.kind not in OF_THE_CLUSTER
    ]
    if homeless:
        first = bundle.documents[homeless[0]]
        row = bound.table.codes()["MP017"]
        others = len(homeless) - 1
        whose = f"{first.kind} {first.name}" + (f" and {others} other document{'s' if others > 1 else ''}" if others else "")
        text = f"{whose} name{'' if others else 's'} no namespace; read as in the default namespace"
        found.append(Finding("MP017", "info", text, row.remedy, "none", None, "input", "input", document=homeless[0]))
    return found


def _files(bundle: Bundle, bound: Bound) -> set[str]:
    """The files that hold something that is read: objects of a mesh, and what every mesh acts on."""
    return {
        document.file
        for number, document in enumerate(bundle.documents)
        if document.file and (bound.mesh[number] or (document.group, document.kind) in CORE_KINDS)
    }


def _built(bundle: Bundle, files: set[str]) -> Iterator[Finding]:
    """What Flux and Argo CD are told to change in files that were read, before a cluster gets them."""
    for number, document in enumerate(bundle.documents):
        told = built_by_tool(document.group, document.kind, document.value)
        if told is None:
            continue
        path, said, folder, command = told
        inside = PurePosixPath(folder).parts
        if any(_within(PurePosixPath(file).parent.parts, inside) for file in files if file != document.file):
            message = (
                f"{document.kind} {document.name} changes what lies in {folder} ({', '.join(said)}), and the files were read as they stand"
            )
            remedy = f"give what it builds and leave the folder out: {command} | meshport COMMAND - ..."
            yield Finding("MP006", "error", message, remedy, "none", None, "input", "input", document=number, path=f"{path}.{said[0]}")


def _within(folder: tuple[str, ...], inside: tuple[str, ...]) -> bool:
    """Whether the last parts of some folder on the way to `folder` are those of `inside`."""
    return any(folder[start : start + len(inside)] == inside for start in range(len(folder) - len(inside) + 1))
