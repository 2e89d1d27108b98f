"""Network policies for pods that no other mesh takes in, those of the cluster's own components: nothing takes the place of what Cilium says of them.

What they receive has passed no proxy of the mesh on their side and reaches them as it was sent, so that Cilium goes on seeing HTTP and the caller's port.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from typing import Any

from meshport.dialects.cilium.peers import NAMESPACE
from meshport.dialects.cilium.specs import specs
from meshport.dialects.cursor import Cursor
from meshport.dialects.output import Output, Path
from meshport.findings import Affected
from meshport.ir.base import Fact, PodSet, Ref, Src
from meshport.ir.model import IR
from meshport.mapping.bound import Bound

STAYS = "stays with Cilium, for pods that no mesh takes in"


@dataclass(slots=True)
class Sides:
    """Of a set of rules: whether it selects pods that the mesh takes in, which of those that it selects are left out, and their namespaces."""

    inside: bool = False
    everywhere: bool = False  # whatever their namespace, and so those of the cluster's own too, shown or not
    left: dict[Ref, None] = field(default_factory=dict)
    spaces: set[str] = field(default_factory=set)

    @property
    def outside(self) -> bool:
        """Whether it selects pods outside the mesh alone."""
        return bool(self.spaces) and not self.inside

    def beyond(self, apart: Collection[str]) -> set[str]:
        """The namespaces whose pods it selects beside those that the mesh takes in. Of those of the cluster's own it is known; that it selects pods there may
        not be."""
        return self.spaces | (set(apart) if self.everywhere else set()) if self.inside else set()


def sides(bound: Bound, ir: IR, documents: Collection[int]) -> dict[int, dict[Path, Sides]]:
    """By document and set of rules, which pods it selects."""
    found: dict[int, dict[Path, Sides]] = {}
    subjects: dict[int, list[Fact[PodSet]]] = {}
    for number, subject in _subjects(ir):
        subjects.setdefault(number, []).append(subject)
    for number in documents:
        for base, spec in specs(Cursor.root(bound, number)):
            one = found.setdefault(number, {}).setdefault(base, Sides())
            for subject in subjects.get(number, ()):
                if subject.src & spec.src:
                    pods = [workload for workload in ir.world.selected(subject.value) if not workload.host_network]
                    left = [workload.ref for workload in pods if ir.world.meshed(workload) is False]
                    home = subject.value.namespace
                    alone = not pods and home in ir.world.apart
                    one.everywhere |= not home
                    one.inside |= len(left) < len(pods) or not (pods or alone)
                    one.left.update(dict.fromkeys(left))
                    one.spaces |= {ref.namespace for ref in left} | ({home} if alone else set())
    return found


def _subjects(ir: IR) -> list[tuple[int, Fact[PodSet]]]:
    return [(item.document, item.subject) for item in ir.policies] + [(item.document, item.subject) for item in ir.egress]


def apart(bound: Bound, ir: IR, out: Output) -> IR:
    """Where another mesh takes the place of network policies: those for pods alone that it does not take in stay in force; what is left for it to say. One
    that selects others too has to go, and is named."""
    stays = set()
    for number, parts in sorted(sides(bound, ir, sorted({number for number, _ in _subjects(ir)})).items()):
        document = bound.bundle.documents[number]
        spaces = sorted({name for one in parts.values() for name in one.spaces})
        left = list(dict.fromkeys(ref for one in parts.values() for ref in one.left))
        values: dict[str, Any] = {
            "policy": f"{document.kind} {Ref(document.namespace or '', document.name)}", "feature": "authorization.rule",
            "workloads": ", ".join(map(str, left)) or f"those of {', '.join(spaces)}",
            "affects": tuple(Affected(ref.namespace, ref.name) for ref in left) or tuple(map(Affected, spaces)),
        }  # fmt: skip
        if all(one.outside for one in parts.values()):
            stays.add(number)
            out.staying.add(number)
            out.imply(STAYS, frozenset(range(document.first, document.first + document.count)))
            found = out.finding("MP272", document=number, severity="info", effect="none", outcome="it stays with Cilium for them", **values)
            found.remedy = "Nothing, as long as Cilium is the network. Under another one write the policy in its words before Cilium goes."
        elif spaces:
            out.finding("MP272", document=number, outcome="nothing guards them once it is deleted", **values)
    whole = {part.name: getattr(ir, part.name) for part in fields(IR)}
    rest: dict[str, Any] = {
        name: [one for one in part if getattr(one, "document", None) not in stays] for name, part in whole.items() if isinstance(part, list)
    }
    return replace(ir, **rest) if stays else ir


def parted(out: Output, number: int, base: Path, spec: Cursor, spaces: Collection[str], src: Src) -> None:
    """Write the rules as they are once more, for the pods of these namespaces alone, and take those out of what the changed copy selects."""
    document = out.bundle.documents[number]
    own = spec.at("endpointSelector").value if isinstance(spec.at("endpointSelector").value, dict) else {}
    chosen = {"key": f"k8s:{NAMESPACE}", "operator": "In", "values": sorted(spaces)}
    listed = list(own.get("matchExpressions") or ())
    out.change(number).set(
        (*base, "endpointSelector", "matchExpressions"), [*listed, {**chosen, "operator": "NotIn"}], spec.at("endpointSelector").src | src
    )
    name = out.free(document.api_version, document.kind, "", f"{document.name}-outside")
    copied = out.object(
        document.api_version, document.kind, Ref("", name), owner=number, group=f"policy {document.name}", rank=45, because=src
    )
    copied.note("for pods that no mesh takes in, as it was")
    for key, value in spec.value.items():
        copied.set(("spec", key), copy.deepcopy(value), spec.at(key).src | src)
    copied.set(
        ("spec", "endpointSelector"), {**copy.deepcopy(own), "matchExpressions": [*listed, chosen]}, spec.at("endpointSelector").src | src
    )
