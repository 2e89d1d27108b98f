"""What the routing tests share: a small world, a conversion, the read-back, and the CRD check."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from meshport.compare.routing import canonical
from meshport.dialects import kubernetes
from meshport.dialects.base import Options
from meshport.dialects.istio import resilience as istio_resilience
from meshport.dialects.istio import routing as istio_routing
from meshport.dialects.linkerd import resilience as linkerd_resilience
from meshport.dialects.linkerd import routing as linkerd_routing
from meshport.dialects.output import Output
from meshport.documents import load_objects, load_text
from meshport.findings import Finding
from meshport.ir.base import Ref
from meshport.ir.model import IR
from meshport.mapping.bound import Bound
from meshport.mapping.table import builtin

NEWEST = {"istio": "1.31", "linkerd": "2.20"}
READS = {"istio": ("istio", "gateway-api"), "linkerd": ("linkerd", "gateway-api", "smi")}
TOOLS = Path(__file__).resolve().parents[3] / "shared" / "tools"


def service(
    name: str, *, labels: str = "", ports: str = "[{name: http, port: 80, targetPort: 8080}]", extra: str = "", notes: str = ""
) -> str:
    """A Service of the namespace `shop`."""
    selector = labels or f"app: {name}"
    return f"""---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop{", annotations: {" + notes + "}" if notes else ""}}}
spec: {{{extra}selector: {{{selector}}}, ports: {ports}}}
"""


@dataclass
class Made:
    """A conversion of routing alone."""

    out: Output
    have: dict[str, dict[str, Any]]
    back: dict[str, dict[str, Any]]

    @property
    def objects(self) -> dict[str, dict[str, Any]]:
        return {f"{obj.kind}/{obj.ref.name}": obj.value for obj in self.out.in_order()}

    @property
    def findings(self) -> list[Finding]:
        return self.out.findings

    @property
    def codes(self) -> list[str]:
        return sorted({finding.code for finding in self.findings})

    def spec(self, name: str) -> Any:
        return self.objects[name]["spec"]

    @property
    def unexplained(self) -> list[tuple[str, tuple[str, ...], Any, Any]]:
        """Differences between what was meant and what was read back that no finding answers for."""
        explained = {pair for finding in self.findings for pair in finding.explains}
        out = []
        for subject in sorted({*self.have, *self.back}):
            before, after = dict(flat(self.have.get(subject, {}))), dict(flat(self.back.get(subject, {})))
            changed = [path for path in sorted({*before, *after}) if before.get(path) != after.get(path)]
            out.extend((subject, path, before.get(path), after.get(path)) for path in changed if (subject, path[0]) not in explained)
        return out

    def left(self, *kinds: str) -> list[str]:
        """Leaves of these kinds' specs that ended nowhere."""
        done = set(self.out.implied) | set(self.out.deciding) | set(self.out.irrelevant) | set(self.out.redundant)
        for obj in self.out.objects.values():
            for src in obj.sources.values():
                done |= src
        for finding in self.findings:
            done |= set(finding.leaves)
        bundle = self.out.bundle
        bound = Bound(bundle, builtin(), READS[self.out.source])
        found = []
        for document in bundle.documents:
            for leaf in bundle.leaves_of(document) if document.kind in kinds else ():
                binding = bound.bindings[leaf]
                if leaf in done or leaf in bound.invalid or binding is None or binding.reason_for(bundle.value(leaf)):
                    continue
                if bundle.path(leaf).startswith("spec"):
                    found.append(f"{document.kind}/{document.name}: {bundle.path(leaf)}")
        return found


def flat(value: dict[str, Any], path: tuple[str, ...] = ()) -> Any:
    for key, below in value.items():
        if isinstance(below, dict):
            yield from flat(below, (*path, key))
        else:
            yield (*path, key), below


def lifted(bundle: Any, mesh: str, options: Options) -> IR:
    bound = Bound(bundle, builtin(), READS[mesh])
    ir = IR(mesh, kubernetes.lift(bound))
    numbers = [number for number, mine in enumerate(bound.mesh) if mine and number not in bound.broken]
    (istio_routing if mesh == "istio" else linkerd_routing).lift(bound, numbers, ir.world, options, ir)
    return ir


def convert(text: str, source: str, target: str, *, check: bool = True, **choices: Any) -> Made:
    """Routing and resilience converted and read back; every manifest is held against the CRDs."""
    release = choices.pop("target_version", NEWEST[target])
    options = Options(source, target, NEWEST[source], release, **choices)
    bundle = load_text(text)
    ir = lifted(bundle, source, options)
    out = Output(bundle, builtin(), target, release, source)
    if target == "linkerd":
        linkerd_routing.lower(ir, out, options)
        linkerd_resilience.lower(ir, out, options)
    else:
        istio_routing.lower(ir, out, options)
        istio_resilience.lower(ir, out, options)
    written = {(obj.value["apiVersion"].rpartition("/")[0], obj.kind, obj.ref) for obj in out.objects.values()}
    stay = []
    for document in bundle.documents:
        if (document.group, document.kind, Ref(document.namespace or "", document.name)) in written:
            continue
        on_service = any(parent.get("kind") == "Service" for parent in document.value.get("spec", {}).get("parentRefs", []))
        if document.group not in ("networking.istio.io", "linkerd.io", "split.smi-spec.io", "policy.linkerd.io") and not on_service:
            stay.append(document.value)
    if check and TOOLS.is_dir():
        sys.path.insert(0, str(TOOLS))
        from crdcheck import Checker

        checker = Checker(istio="1.31")
        assert [problem for obj in out.in_order() for problem in checker.check(obj.value)] == []
    back = lifted(load_objects([*stay, *(obj.value for obj in out.in_order())]), target, Options(target, source, release, NEWEST[source]))
    return Made(out, canonical(ir), canonical(back))


def plain(text: str) -> Any:
    return yaml.safe_load(text)
