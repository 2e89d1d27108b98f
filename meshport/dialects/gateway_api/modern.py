"""Objects of the Gateway API on the way to another release of it: the version of each that the release serves."""

from __future__ import annotations

from meshport.dialects.base import Options
from meshport.dialects.cursor import Cursor
from meshport.dialects.output import Output
from meshport.findings import Affected
from meshport.ir.base import Ref
from meshport.mapping.bound import Bound


def lower(out: Output, options: Options) -> None:
    """Write the newest version that the release serves where the one that stands there is older: an older one it may serve no more."""
    bound = Bound(out.bundle, out.table, ("gateway-api",), {options.source: options.source_version})
    for number, document in enumerate(out.bundle.documents):
        kind = bound.table.kind(document.group, document.kind)
        if not bound.mesh[number] or number in bound.broken or number in out.removed or kind is None or kind.dialect != "gateway-api":
            continue
        newest = kind.newest(options.target_version)
        if newest is None or document.version not in kind.versions or kind.versions.index(newest) >= kind.versions.index(document.version):
            continue
        if document.kind == "TLSRoute" and not Cursor.root(bound, number).each("spec", "hostnames"):  # which every later version demands
            ref = Ref(document.namespace or options.default_namespace, document.name)
            affects = (Affected(ref.namespace),)
            out.finding("MP776", document=number, affects=affects, object=f"TLSRoute {ref}", version=document.version, newest=newest)
            continue
        obj = out.change(number, group=document.name, rank=50)
        obj.set(("apiVersion",), f"{document.group}/{newest}", Cursor.root(bound, number).at("apiVersion").src)
