"""Manifests become text and files: one stream, one file, or a folder that is written whole or not at all.

A folder that meshport wrote holds `.meshport`, which lists its files: a later run replaces them, removes those that it no longer writes,
and leaves alone whatever else stands there. It also says which mesh reads the result, and which documents of meshes stay in the cluster beside it: `verify` and
`diff` take those from OLD.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from meshport.dialects.base import dialect, governs
from meshport.documents import dump, dump_json, edit
from meshport.documents.files import OUTPUT_MARKER as MARKER
from meshport.errors import UsageError
from meshport.mapping.table import dialect_of_group
from meshport.retouch import retouch

if TYPE_CHECKING:
    from meshport.documents import Bundle
    from meshport.pipeline import Manifest, Result

_FILE_SUFFIXES = (".yaml", ".yml", ".json")


# -- text


def stream(manifests: Sequence[Manifest], bundle: Bundle) -> str:
    """The manifests as one YAML stream: a changed copy of an input document keeps its comments and order, the others carry their notes."""
    return "---\n".join(_text(each, bundle) for each in _applied(manifests))


def _applied(manifests: Sequence[Manifest]) -> Sequence[Manifest]:
    """What one stream holds: objects, for `kubectl apply` takes nothing else; files of Prometheus and Grafana where there is nothing else."""
    objects = [each for each in manifests if not each.kind]
    return objects or manifests


def apart(manifests: Sequence[Manifest]) -> list[Manifest]:
    """The files that one stream does not hold, so that a folder is needed."""
    held = {id(each) for each in _applied(manifests)}
    return [each for each in manifests if id(each) not in held]


def listing(manifests: Sequence[Manifest]) -> str:
    """The manifests as one JSON `List`, also where there is one or none."""
    return dump_json([{"apiVersion": "v1", "kind": "List", "items": [each.object for each in _applied(manifests)]}])


def _text(manifest: Manifest, bundle: Bundle) -> str:
    if manifest.text is not None and (manifest.kind or manifest.text.lstrip()[:1] != "{"):
        return manifest.text.replace("\r\n", "\n").strip("\n") + "\n"
    if manifest.source is not None and manifest.source < len(bundle.documents):
        document = bundle.documents[manifest.source]
        text = bundle.text_of(document)
        if text is not None and text.lstrip()[:1] != "{":
            text = text.replace("\r\n", "\n")
            return (retouch(text, document.value, manifest.object) or edit(text, manifest.object)).strip("\n") + "\n"
    return dump([manifest.object], {0: manifest.notes})


def plan(result: Result) -> dict[str, str]:
    """What a folder holds after the conversion: text by path with `/`. Documents that pass through unchanged are not among it."""
    groups: dict[str, list[Manifest]] = {}
    for manifest in result.manifests:
        groups.setdefault(_checked(manifest.file), []).append(manifest)
    files = {name: _whole(groups[name], result.known) or stream(groups[name], result.bundle) for name in sorted(groups)}
    if result.manifests or not result.stopped:
        for chart, values in sorted(result.install["helm_values"].items()):
            files[_free(files, f"install/{chart}.yaml")] = dump([values])
        if result.install["commands"]:
            files[_free(files, "install/commands.sh")] = "\n".join(["#!/bin/sh", "set -eu", *result.install["commands"], ""])
    return files


def _whole(manifests: Sequence[Manifest], bundle: Bundle) -> str | None:
    """A file of the input with the changes in it, where that is all of it and every change was made by characters."""
    documents = [bundle.documents[each.source] for each in manifests if each.source is not None and each.text is not None]
    files = {document.file for document in documents}
    source = next((one for one in bundle.files if one.file in files), None)
    if len(documents) != len(manifests) or len(files) != 1 or source is None or source.text is None or source.documents != len(documents):
        return None
    from meshport.documents.spans import applied

    edits = [
        (*document.text, each.text) for document, each in zip(documents, manifests, strict=True) if document.text and each.text is not None
    ]
    return applied(source.text, edits) if len(edits) == len(documents) else None


def _checked(name: str) -> str:
    """A relative path that stays inside the folder: names come from documents, and a document may be hostile."""
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in name or path.parts[0] == MARKER:
        raise UsageError(f"{name!r} cannot be the name of an output file; mend the metadata, or write one file with -o FILE.yaml")
    return str(path)


def _free(files: Mapping[str, str], name: str) -> str:
    while name in files:
        folder, _, base = name.rpartition("/")
        name = f"{folder}/meshport-{base}"
    return name


# -- one file


def is_file_name(output: str, also: tuple[str, ...] = ()) -> bool:
    """Whether `-o` names a file rather than a folder. `also` are suffixes of files beside those of manifests."""
    return output.lower().endswith((*_FILE_SUFFIXES, *also)) and not Path(output).is_dir()


def file_text(result: Result, output: str) -> str:
    """What `-o FILE` writes: JSON for `.json`, else YAML."""
    if output.lower().endswith(".json"):
        alone = result.manifests[0] if len(result.manifests) == 1 else None
        if alone is not None and alone.kind and alone.text is not None and alone.text.lstrip()[:1] == "{":
            return alone.text
        return listing(result.manifests)
    return stream(result.manifests, result.bundle)


def write_file(output: str, text: str) -> None:
    """Write a file so that it is never seen half-written: where a link leads, and with the rights that it has. Raises UsageError where it cannot be written."""
    try:
        if _of_a_system(Path(output)):
            with Path(output).open("a", encoding="utf-8", newline="") as file:
                file.write(text)
            return
        path = Path(output).resolve()
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_text(text, encoding="utf-8", newline="")
            if path.exists():
                beside.chmod(stat.S_IMODE(path.stat().st_mode))
            beside.replace(path)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{output}: cannot be written ({error.strerror or error}); give another path") from None


def _of_a_system(path: Path) -> bool:
    """Whether a name is of a device, a pipe or an open file (`/dev/null`, `>(...)` of a shell): another file in its place would take it from everybody."""
    return path.exists() and not (path.is_file() and path.absolute().parts[1] not in ("dev", "proc"))


# -- a folder


def written_before(folder: str) -> list[str] | None:
    """The files that the marker lists; None where there is no marker that can be read."""
    try:
        listed = json.loads(Path(folder, MARKER).read_text(encoding="utf-8"))["files"]
        return [_checked(str(name)) for name in listed]
    except (OSError, ValueError, KeyError, TypeError, UsageError):
        return None


def check_folder(folder: str, *, force: bool = False) -> None:
    """Raises UsageError where a folder cannot be written to: it is a file, or holds what meshport did not write."""
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise UsageError(f"{folder}: is a file, not a folder; give another path, or one that ends in .yaml or .json")
    try:
        used = path.is_dir() and any(path.iterdir())
    except OSError as error:
        raise UsageError(f"{folder}: cannot be read ({error.strerror}); give another folder") from None
    if used and not force and written_before(folder) is None:
        raise UsageError(f"{folder}: is not empty and was not written by meshport; give an empty folder, or --force to write into this one")


def write_folder(result: Result, folder: str, *, force: bool = False) -> list[str]:
    """Write the manifests and install values of a result; the relative paths written. After a UsageError nothing has changed."""
    return write_files(plan(result), folder, force=force, said=afterwards(result))


def afterwards(result: Result) -> dict[str, Any]:
    """What the marker says of the cluster afterwards: the mesh that reads it, and the documents of meshes that stay as they are."""
    stays = []
    for value in result.passed_through:
        group = str(value.get("apiVersion")).rpartition("/")[0]
        if dialect_of_group(group) is not None:
            metadata = value.get("metadata")
            if not isinstance(metadata, dict) or not metadata.get("name"):
                continue  # no cluster has it
            where = {"namespace": str(metadata.get("namespace") or ""), "name": str(metadata["name"])}
            stays.append({"group": group, "kind": str(value["kind"]), **where})
    stays.sort(key=lambda item: tuple(item.values()))
    own = governs(dialect(result.options.target)) or not stays  # else the policies stay with the mesh that enforces them
    return {"mesh": result.options.target if own else result.options.source, "stays": stays}


def write_files(files: Mapping[str, str], folder: str, *, force: bool = False, said: Mapping[str, Any] | None = None) -> list[str]:
    """Make a folder hold exactly `files`, beside what is not meshport's: all of it or, where anything goes wrong, none."""
    from meshport import __version__

    check_folder(folder, force=force)
    stale = [name for name in written_before(folder) or () if name not in files]
    marker = json.dumps({"meshport": __version__, **(said or {}), "files": sorted(files)}, indent=2) + "\n"
    path = Path(folder).resolve()
    try:
        stage = _stage(path)
        try:
            _fill(stage / "new", {**files, MARKER: marker})
            if path.is_dir():  # its owner, rights and mount are somebody's choice
                _exchange(stage, path, [*files, MARKER], stale)
            else:
                (stage / "new").replace(path)
        finally:
            _remove(stage)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror or error}); nothing was changed; give another folder") from None
    return sorted(files)


def _stage(path: Path) -> Path:
    """A new folder on the same file system: beside the target, or inside it where it is a file system of its own or only that can be written to."""
    name = f".{path.name or 'out'}.meshport-{secrets.token_hex(4)}"
    parent = path.parent
    if not path.is_dir():
        parent.mkdir(parents=True, exist_ok=True)
    for place in (path,) if path.is_mount() else (parent, path):
        with contextlib.suppress(OSError):
            (place / name).mkdir()
            return place / name
    (parent / name).mkdir()
    return parent / name


def _fill(stage: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        target = stage / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="")


def _exchange(stage: Path, path: Path, names: Sequence[str], stale: Sequence[str]) -> None:
    """Move the new files in and the old ones out, and undo every step if one fails."""
    done: list[tuple[Path, Path]] = []
    made: list[Path] = []

    def move(source: Path, target: Path) -> None:
        missing = target.parent
        fresh = []
        while not missing.exists():
            fresh.append(missing)
            missing = missing.parent
        target.parent.mkdir(parents=True, exist_ok=True)
        made.extend(reversed(fresh))
        source.replace(target)
        done.append((source, target))

    try:
        for name in [*stale, *names]:
            if (path / name).is_file() or (path / name).is_symlink():
                move(path / name, stage / "old" / name)
        for name in names:
            move(stage / "new" / name, path / name)
    except BaseException:
        for source, target in reversed(done):
            source.parent.mkdir(parents=True, exist_ok=True)
            target.replace(source)
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    _prune(path, stale)


def _prune(path: Path, stale: Iterable[str]) -> None:
    """Remove the folders that stale files left empty."""
    for name in stale:
        for parent in PurePosixPath(name).parents:
            if str(parent) == ".":
                break
            with contextlib.suppress(OSError):
                (path / parent).rmdir()


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


# -- what would change


def differences(files: Mapping[str, str], output: str, *, force: bool = False) -> list[tuple[str, str | None, str | None]]:
    """(path, text now, text then) of everything that writing `files` would change; None where there is no such file."""
    check_folder(output, force=force)
    stale = [name for name in written_before(output) or () if name not in files]
    found = []
    for name in sorted({*files, *stale}):
        now, then = read_text(str(Path(output, name))), files.get(name)
        if now != then:
            found.append((name, now, then))
    return found


def read_text(path: str) -> str | None:
    """A file's text exactly as it stands, None where there is none."""
    try:
        return Path(path).read_bytes().decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


def unified(name: str, now: str | None, then: str | None) -> str:
    """One change as a unified diff."""
    from difflib import unified_diff

    lines = unified_diff(
        (now or "").splitlines(),
        (then or "").splitlines(),
        "/dev/null" if now is None else f"a/{name}",
        "/dev/null" if then is None else f"b/{name}",
        lineterm="",
    )
    return "".join(f"{line}\n" for line in lines)


def ledger_text(result: Result) -> str:
    """The ledger as NDJSON, one line a leaf."""
    return "".join(json.dumps(line.as_dict(), ensure_ascii=False, default=str) + "\n" for line in result.ledger)
