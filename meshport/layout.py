"""Where an output stands: in the file of its owner (mirror), or by kind, by namespace, or all in one."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from meshport.errors import UsageError

if TYPE_CHECKING:
    from meshport.dialects.output import Obj, Output
    from meshport.documents import Bundle

LAYOUTS = ("mirror", "kind", "namespace", "single")


class Layout:
    """File names, relative to the output folder, with `/` between folders."""

    def __init__(self, bundle: Bundle, out: Output, layout: str) -> None:
        if layout not in LAYOUTS:
            raise UsageError(f"--layout {layout}: one of {', '.join(LAYOUTS)}")
        self._bundle = bundle
        self._layout = layout
        self._roots = sorted(bundle.roots, key=len, reverse=True)
        self._mirrored: dict[str, str] = {}
        taken: set[str] = set()
        for source in sorted({document.file for document in bundle.documents if document.file}):
            wanted = self._relative(source)
            unique, number = wanted, 2
            while unique in taken:
                path = PurePosixPath(wanted)
                unique, number = str(path.with_name(f"{path.stem}-{number}{path.suffix}")), number + 1
            taken.add(unique)
            self._mirrored[source] = unique

    def _relative(self, file: str) -> str:
        for root in self._roots:
            if file.startswith(root):
                return file[len(root) :].replace(os.sep, "/")
        return Path(file).name

    def file(self, obj: Obj) -> str:
        kind, ref = obj.kind, obj.ref
        if obj.file_of[0]:
            return self._own(obj)
        if self._layout == "single":
            return "manifests.yaml"
        if self._layout == "kind":
            return f"{kind.lower()}.yaml"
        if self._layout == "namespace":
            return f"{ref.namespace or 'cluster'}.yaml" if kind != "Namespace" else f"{ref.name}.yaml"
        owner = self._bundle.documents[obj.origins[0]] if obj.origins else None
        if owner is not None and owner.commanded:
            return "install/commands.sh"
        if owner is not None and owner.file and owner.file != "<stdin>" and not owner.chart:
            mirrored = self._mirrored[owner.file]
            if obj.text is not None and mirrored.endswith(".json"):
                return mirrored
            return mirrored if mirrored.endswith((".yaml", ".yml")) else str(PurePosixPath(mirrored).with_suffix(".yaml"))
        return f"{ref.namespace or (ref.name if kind == 'Namespace' else 'cluster')}/{kind.lower()}-{ref.name}.yaml"

    def _own(self, obj: Obj) -> str:
        """The file of what is no object but a file itself, whatever the layout."""
        document = self._bundle.documents[obj.origins[0]]
        if document.file and document.file in self._mirrored and document.file != "<stdin>":
            return self._mirrored[document.file]
        suffix = "json" if obj.text is not None and obj.text.lstrip()[:1] == "{" else "yaml"
        return f"{obj.kind.lower()}-{document.index}.{suffix}"
