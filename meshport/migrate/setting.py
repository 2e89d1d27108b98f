"""What the phases of a plan go by."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshport.ir.world import Workload
from meshport.migrate.order import Call
from meshport.report.audited import AccessRow


@dataclass(slots=True)
class Setting:
    """`calm`: one mesh governs all the time; `ambient_within`: from Istio's sidecars to its ambient data plane; `commands` mark a namespace that the input
    does not show, `install_commands` are the rest of what the conversion gives as commands. `wrong` are the calls that no order serves, `excepted` those of them that an exception lets through."""

    strategy: str
    calm: bool
    ambient_within: bool
    ambient: bool
    movers: list[Workload]
    namespaces: list[str]
    calls: list[Call]
    commands: dict[str, list[str]]
    install_commands: list[str]
    rows: list[AccessRow] = field(default_factory=list)
    wrong: list[Call] = field(default_factory=list)
    excepted: list[Call] = field(default_factory=list)
