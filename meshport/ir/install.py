"""What the installation of a mesh says, where it decides something for the whole cluster.

Settings are Helm values of the chart, whatever wrote them: a file of values, a HelmRelease, an Argo CD Application, an agent's ConfigMap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from meshport.ir.base import Fact


@dataclass(frozen=True, slots=True)
class Setting:
    """A Helm value of `chart` at a dotted `path`."""

    chart: str
    path: str
    value: Fact[Any]
    document: int
    reason: str = ""  # why it decides nothing
    off: bool = False  # whether it switches off what is off by default
    holds: str = ""  # why it is in what was read: a choice by which all the rest was understood
    decides: str = (
        ""  # of a value that only the shell knows: what depends on it: access, encryption, or policies (access, where there are some)
    )
    strictest: str = ""  # the value that it was read as; "" where it was read as if it were not set

    @property
    def name(self) -> str:
        """What it is called where it is set."""
        return self.path.rpartition(" ")[2]
