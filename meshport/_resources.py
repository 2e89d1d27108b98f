"""Where the data that ships with meshport lies: `grammars/` and `mappings/`.

Inside a wheel they are `meshport/_data/<folder>`; in a checkout (also an editable install) they stand beside the package. Both are read through
`importlib.resources`, so a zipped wheel works too: never pass what comes back to `open`, use `.read_text()`.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from meshport.errors import MeshportError


def data(folder: str) -> Traversable:
    """The folder `grammars` or `mappings`, from the wheel or from the checkout. Raises MeshportError where neither has it."""
    packaged = files("meshport") / "_data" / folder
    if packaged.is_dir():
        return packaged
    checkout = Path(__file__).resolve().parent.parent / folder
    if checkout.is_dir():
        return checkout
    raise MeshportError(f"meshport's data folder {folder!r} is missing from this installation; reinstall meshport")
