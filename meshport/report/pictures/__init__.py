"""The pictures of an audit as SVG markup: who may call whom before and after, readiness by namespace, patterns by support.

Each function takes the audit and gives one `<figure>`, complete without scripts. Text is text, everything from the input is escaped, nothing carries an id
(so that pictures never collide with what they are embedded in), and equal audits give equal bytes. `STYLE` is the style sheet that a page includes once: it takes
the page's variables (`--ink`, `--ok`, `--warn`, `--bad`, ...) where it has them, and has values for light, dark and print where it has not.
"""

from __future__ import annotations

from meshport.report.pictures.bars import patterns_by_support, readiness_by_namespace
from meshport.report.pictures.graph import service_graph
from meshport.report.pictures.style import STYLE

__all__ = ["STYLE", "patterns_by_support", "readiness_by_namespace", "service_graph"]
