"""Which files below a folder are read, and as what."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from meshport.documents.built import patches
from meshport.documents.model import Written
from meshport.documents.segments import plain
from meshport.errors import InputError

OUTPUT_MARKER = ".meshport"
"""A folder below the one given that holds this file is an output of meshport, and no input."""
SUFFIXES = (".yaml", ".yml", ".json")
SCRIPT = ".sh"
KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml")


def marked(folder: Path) -> Written | None:
    """What the marker of an output folder says; None where there is none, or one that says nothing of this."""
    try:
        said = json.loads((folder / OUTPUT_MARKER).read_text(encoding="utf-8"))
        stays = [(str(item["group"]), str(item["kind"]), str(item["namespace"]), str(item["name"])) for item in said["stays"]]
        return Written(str(said["mesh"]), frozenset(stays))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def files_below(folder: Path, closed: list[OSError]) -> Iterator[Path]:
    """The files below a folder; the folders that cannot be listed go to `closed`."""
    for root, folders, names in os.walk(folder, onerror=closed.append):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not _is_file(Path(root, name, OUTPUT_MARKER)))
        for name in sorted(names):
            if not name.startswith(".") and name.lower().endswith((*SUFFIXES, SCRIPT)):
                file = Path(root, name)
                if _is_file(file, unseen=True) or file.is_symlink():
                    yield file


def _is_file(path: Path, *, unseen: bool = False) -> bool:
    """Whether a file stands there; `unseen` is what is answered where nobody may look."""
    try:
        return path.is_file()
    except OSError:
        return unseen


def patching(inputs: Sequence[str]) -> dict[str, str]:
    """The files (real paths) by which kustomizations among the inputs patch objects, each with such a kustomization. They look like objects, and hold what
    differs alone."""
    found: dict[str, str] = {}
    objects: set[str] = set()
    for name in inputs:
        file = Path(name)
        if file.name not in KUSTOMIZATIONS:
            continue
        try:
            patched, listed = patches(plain(file.read_text(encoding="utf-8-sig")))
        except (OSError, ValueError, InputError):
            continue  # reading it says why
        objects.update(os.path.realpath(file.parent / one) for one in listed)
        for one in patched:
            found.setdefault(os.path.realpath(file.parent / one), name)
    return {path: name for path, name in found.items() if path not in objects}
