"""Which picture of the service graph can be read: cards and arrows where they are few, a table of callers and ports, or of namespaces."""

from __future__ import annotations

from markupsafe import Markup

from meshport.report.audited import Audit
from meshport.report.pictures import diagram, matrix, namespaces

MOST_WORKLOADS = 40
MOST_PORTS = 120
"""Beyond these the table of callers and ports is too large to be read."""


def service_graph(audit: Audit) -> Markup:
    """Who may call whom, before and after, encrypted or not. Every edge of the access matrix is drawn, or counted in the cell of its two namespaces."""
    if diagram.fits(audit):
        return diagram.draw(audit)
    ports = {(edge.destination, edge.port) for edge in audit.access.edges}
    if len(audit.encryption.workloads) <= MOST_WORKLOADS and len(ports) <= MOST_PORTS:
        return matrix.draw(audit)
    return namespaces.draw(audit)
