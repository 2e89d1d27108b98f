"""The report as JSON: the same report gives the same bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshport.report.forms import Material
    from meshport.report.model import Report


def render(report: Report) -> str:
    """The report, indented by two, its members in the order of the model."""
    return json.dumps(report.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def write(material: Material) -> str:
    """The text of a `.json` file."""
    return render(material.report)
