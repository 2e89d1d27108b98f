"""What counts on the source's proxies and outlives them: commands of containers that end one or ask it, and autoscalers that measure its container.

Istio's agent answers on 15000, 15020 and 15021 of a pod (istio.io, ops/deployment/application-requirements), Linkerd's proxy on 4190 and 4191 (linkerd.io,
tasks/graceful-shutdown). The usual case is a Job that ends its proxy when its work is done.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from meshport.dialects.cursor import Cursor
from meshport.findings import Affected
from meshport.ir.base import Fact, Src, sources
from meshport.mapping.owners import SIDECARS, owner_of

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR
    from meshport.mapping.bound import Bound

_HERE = r"(?:localhost|127\.0\.0\.1|\[::1\])"
_CALLS = {
    "istio": re.compile(_HERE + r":(?:15000|15020|15021)\b[\w/-]*|\bpilot-agent (?:wait|request)\b"),
    "linkerd": re.compile(_HERE + r":(?:4190|4191)\b[\w/-]*|\blinkerd-await\b"),
}
_INSTEAD = {
    "istio": "Istio's proxy ends with POST http://localhost:15020/quitquitquit and is ready when http://localhost:15021/healthz/ready says so; one that is a native sidecar needs neither",
    "linkerd": "Linkerd's proxy ends with POST http://localhost:4191/shutdown and is ready when http://localhost:4191/ready says so; one that is a native sidecar needs neither",
}
_TAKEN_OUT = {
    "istio": "Convert the manifest as it was before istioctl kube-inject, or take out istio-proxy, istio-init, their volumes and the probes that were turned to port 15020.",
    "linkerd": "Convert what `linkerd uninject` makes of the manifest, or take out linkerd-proxy, linkerd-init and their volumes.",
}


def report(bound: Bound, ir: IR, out: Output, options: Options) -> None:
    """MP964 for each workload and autoscaler that names the proxy which leaves, MP966 for each that holds it."""
    proxy = SIDECARS.get(options.source)
    if proxy is None:
        return
    instead = "" if options.data_plane == "ambient" else _INSTEAD.get(options.target, "")
    remedy = f"{instead}." if instead else "Take it out: no proxy runs in the pod any more."
    for workload in ir.world.workloads:
        document = bound.bundle.documents[workload.document]
        if workload.proxy is not None and workload.proxy.value == proxy and owner_of(document) is None:
            out.finding(
                "MP966", workload.proxy, document=workload.document, feature="membership.inject", object=f"{workload.kind} {workload.ref}",
                container=proxy, affects=(Affected(workload.ref.namespace, workload.ref.name),), disposition="manual",
            ).remedy = _TAKEN_OUT[options.source]  # fmt: skip
        if ir.world.meshed(workload):
            spec = Cursor.root(bound, workload.document).at(*workload.template, "spec")
            found = [(call.group(), text.src) for text in _texts(spec, proxy) for call in _CALLS[options.source].finditer(text.value)]
            if found:
                calls = ", ".join(dict.fromkeys(call for call, _ in found))
                _say(out, workload.document, [src for _, src in found], f"calls {calls}", remedy, ir, workload.ref.name)
    for number, document in enumerate(bound.bundle.documents):
        if document.kind in ("HorizontalPodAutoscaler", "VerticalPodAutoscaler"):
            places = [
                *(item.at("containerResource", "container") for item in Cursor.root(bound, number).each("spec", "metrics")),
                *(item.at("containerName") for item in Cursor.root(bound, number).each("spec", "resourcePolicy", "containerPolicies")),
            ]
            named = [place.src for place in places if place.value == proxy]
            if named:
                _say(out, number, named, f"measures the container {proxy}", "Measure another container, or the pods as a whole.", ir, None)


def _say(out: Output, number: int, named: list[Src], what: str, remedy: str, ir: IR, workload: str | None) -> None:
    document = out.bundle.documents[number]
    src = sources(*named)
    ir.world.read |= src
    found = out.finding(
        "MP964", src, document=number, disposition="manual", feature="membership.inject", what=what, object=f"{document.kind} {document.namespace}/{document.name}",
        affects=(Affected(document.namespace or "", workload),),
    )  # fmt: skip
    found.remedy = remedy


def _texts(spec: Cursor, proxy: str) -> Iterator[Fact[Any]]:
    """Every text of the containers of a pod that somebody has written."""
    for container in (*spec.each("containers"), *spec.each("initContainers")):
        if container.at("name").value != proxy:
            for key in ("command", "args", "env", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
                yield from (fact for _, fact in container.leaves(key) if isinstance(fact.value, str))
