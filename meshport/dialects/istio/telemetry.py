"""How Istio says access logs: Telemetry; both directions.

One without a selector is for its namespace, in the root namespace for the mesh; the provider `envoy` is built in and writes to the proxy's standard output.
https://istio.io/latest/docs/tasks/observability/logs/telemetry-api/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshport.dialects import naming
from meshport.dialects.cursor import Cursor
from meshport.dialects.istio.resilience import own_ref
from meshport.effective.telemetry import logging
from meshport.findings import Affected
from meshport.ir.base import Fact, PodSet, Ref, Selector
from meshport.ir.telemetry import AccessLog

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR
    from meshport.mapping.bound import Bound

API = "telemetry.istio.io/v1"
ENCODING = {"json": "JSON", "apache": "TEXT"}


def lift(bound: Bound, by_kind: dict[tuple[str, str], list[int]], options: Options, ir: IR) -> None:
    """The access logs that Telemetries switch on or off."""
    for number in by_kind.get(("telemetry.istio.io", "Telemetry"), []):
        root = Cursor.root(bound, number)
        spec = root.at("spec")
        entries = spec.each("accessLogging")
        if not entries or spec.at("targetRef") or spec.at("targetRefs"):
            continue
        ref = own_ref(root, options).value
        labels = {key: str(item.value) for key, item in spec.items("selector", "matchLabels")}
        level = "workload" if labels else "mesh" if ref.namespace == options.root_namespace else "namespace"
        pods = PodSet("" if level == "mesh" else ref.namespace, Selector.of(labels))
        off = [fact for item in entries if (fact := item.get("disabled", bool)) is not None]
        switched = next((fact for fact in off if fact.value), None)
        beside = [fact for item in entries for key in ("providers", "match", "filter") for _, fact in item.leaves(key)]
        empty = [item.src for item in entries if not item.items()]  # `accessLogging: [{}]` switches it on
        on = Fact(switched is None, root.at("kind").src.union(*empty, *(fact.src for fact in off)), "access-log.disabled")
        subject = Fact(pods, spec.at("selector").src | root.at("metadata", "namespace").src, "telemetry.subject")
        ir.access_logs.append(AccessLog(subject, on, level, number, None, tuple(beside)))


def lower(ir: IR, out: Output, options: Options) -> None:
    """A Telemetry for the mesh, for each namespace and for each pod that says otherwise."""
    foreign = [item for item in ir.access_logs if item.form is not None]
    for item in foreign:
        namespace = options.root_namespace if item.level == "mesh" else item.subject.value.namespace
        if item.level == "workload":
            mine = [workload for workload, found in logging(ir) if found is item]
            base = mine[0].ref.name if mine else ""
            if item.on.value and not mine:
                out.ignore("no pod that it stands for has a proxy", item.on, item.form, item.subject)
                continue
        else:
            base = ""
        ref = Ref(namespace, out.free(API, "Telemetry", namespace, naming.name("access-log", base)))
        obj = out.object(API, "Telemetry", ref, owner=item.document, group="telemetry", rank=60, because=item.subject.src or item.on.src)
        if item.level == "workload":
            obj.set(("spec", "selector", "matchLabels"), dict(item.subject.value.selector.labels), item.subject)
        entry = {"providers": [{"name": "envoy"}]} if item.on.value else {"disabled": True}
        obj.set(("spec", "accessLogging", 0), entry, item.on)
        form = item.form
        if form is None:
            continue
        encoding = ENCODING.get(form.value, "TEXT")
        said = out.installs.get(("istiod", "meshConfig.accessLogEncoding"))
        if said is None or said.value == encoding:
            out.install("istiod", "meshConfig.accessLogEncoding", encoding, form)
        affects = (Affected(item.subject.value.namespace or None),)
        out.lost(form, document=item.document, affects=affects)
