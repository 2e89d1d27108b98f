"""Reading and writing manifests: plain objects with a number, a file, a line and a column for each leaf. Knows nothing of meshes.

Importing this package loads neither PyYAML nor ruamel.yaml; the first read or edit does.
"""

from __future__ import annotations

from meshport.documents.edit import edit
from meshport.documents.model import Bundle, Document, Part, Problem, SourceFile, format_path
from meshport.documents.objects import load_objects
from meshport.documents.read import load, load_stream, load_text
from meshport.documents.scalars import needs_quotes, resolve
from meshport.documents.write import dump, dump_json

__all__ = [
    "Bundle",
    "Document",
    "Part",
    "Problem",
    "SourceFile",
    "dump",
    "dump_json",
    "edit",
    "format_path",
    "load",
    "load_objects",
    "load_stream",
    "load_text",
    "needs_quotes",
    "resolve",
]
