"""Files of values that a script hands to an installer (`helm -f`, `linkerd install --values`, `istioctl install -f`): which of the inputs they are."""

from __future__ import annotations

import os
import posixpath
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meshport.documents.scripts import values_files

ADD_IT = "add the file to the input, for settings of the installation decide what the rest means; or take the option out of the script"
_FOLDER = re.compile(r"^(?:\$\{[^}]*\}|\$\([^)]*\)|\$[A-Za-z_][A-Za-z0-9_]*|`[^`]*`)/")  # a folder that only the shell knows


@dataclass(frozen=True, slots=True)
class Handed:
    """A file that a command names. `file` is the input that it is, None where it is none of them."""

    chart: str
    name: str
    file: str | None
    line: int
    column: int

    def missing(self, script: str) -> str:
        """What a user reads where the file was not given."""
        return f"{posixpath.basename(script)} hands {self.name} to {self.chart}, and no input is that file: what it sets is unknown"


def handed_over(scripts: Sequence[str], inputs: Sequence[str]) -> dict[str, list[Handed]]:
    """The files that each script names, in its order. A script that cannot be read names none; reading it says why."""
    found: dict[str, list[Handed]] = {}
    for script in scripts:
        try:
            text = Path(script).read_text(encoding="utf-8-sig")
        except (OSError, ValueError):
            continue
        starts = [0]
        for row in text.split("\n"):
            starts.append(starts[-1] + len(row) + 1)
        for chart, name, place in values_files(text):
            line = bisect_right(starts, place)
            found.setdefault(script, []).append(Handed(chart, name, _input(name, script, inputs), line, place - starts[line - 1] + 1))
    return found


def _input(name: str, script: str, inputs: Sequence[str]) -> str | None:
    """The input that stands where the script says, or else the only one that ends so: a script is also run from a folder above its own."""
    path = posixpath.normpath(_FOLDER.sub("", name))
    beside = os.path.normpath(Path(script).parent / path)
    exact = [one for one in inputs if os.path.normpath(one) == beside]
    tail = "/" + path.lstrip("./")
    ends = [one for one in inputs if ("/" + one.replace(os.sep, "/")).endswith(tail)]
    return exact[0] if exact else ends[0] if len(ends) == 1 else None
