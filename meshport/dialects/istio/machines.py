"""How Istio says machines: WorkloadEntry, and WorkloadGroup for those that register themselves; both directions.

A Service whose selector takes the labels of an entry sends to its address, beside the pods. The account is the identity that the machine's proxy shows.
https://istio.io/latest/docs/reference/config/networking/workload-entry/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshport.dialects.cursor import Cursor
from meshport.dialects.istio.resilience import API, own_ref
from meshport.findings import Affected
from meshport.ir.exposure import Machine

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR
    from meshport.mapping.bound import Bound


def lift(bound: Bound, by_kind: dict[tuple[str, str], list[int]], options: Options, ir: IR) -> None:
    """Machines with an address, and the patterns for those to come."""
    for number in by_kind.get(("networking.istio.io", "WorkloadEntry"), []):
        root = Cursor.root(bound, number)
        spec = root.at("spec")
        read = {"address", "serviceAccount"}
        ir.machines.append(
            Machine(
                own_ref(root, options),
                "WorkloadEntry",
                number,
                spec.text("address"),
                tuple(fact for _, fact in spec.leaves()),
                tuple((name, fact) for name, place in spec.items("ports") if (fact := place.fact(int)) is not None),
                tuple((name, label) for name, place in spec.items("labels") if (label := place.fact(str)) is not None),
                spec.text("serviceAccount"),
                tuple(fact for path, fact in spec.leaves() if path not in read and path.partition(".")[0] not in ("ports", "labels")),
            )
        )
    for number in by_kind.get(("networking.istio.io", "WorkloadGroup"), []):
        root = Cursor.root(bound, number)
        ir.machines.append(Machine(own_ref(root, options), "WorkloadGroup", number, None, tuple(fact for _, fact in root.leaves("spec"))))


def lower(ir: IR, out: Output) -> list[Machine]:
    """The machines that became WorkloadEntries."""
    written = []
    for machine in ir.machines:
        if machine.address is None or machine.kind == "WorkloadEntry":
            continue
        obj = out.object(API, "WorkloadEntry", machine.ref.value, owner=machine.document, group="machines", rank=30, because=machine.ref)
        obj.set(("spec", "address"), machine.address.value, machine.address)
        for name, label in machine.labels:
            obj.set(("spec", "labels", name), label.value, label)
        for name, port in machine.ports:
            obj.set(("spec", "ports", name), port.value, port)
        if machine.account is not None:
            obj.set(("spec", "serviceAccount"), machine.account.value, machine.account)
        affects = (Affected(machine.ref.value.namespace, machine.ref.value.name),)
        named = f"{machine.kind} {machine.ref.value}"
        for fact in machine.rest:
            code = {"external-workload.identity": "MP764", "external-workload.address": "MP765", "external-workload.ports": "MP765"}.get(
                fact.feature
            )
            if code is None:
                out.lost(fact, document=machine.document, affects=affects)
            else:
                out.finding(code, fact, document=machine.document, disposition="dropped", affects=affects, object=named, value=fact.value)
        out.finding(
            "MP762", machine.address, document=machine.document, affects=affects, feature="external-workload.address",
            object=named, address=machine.address.value,
            steps="Make its files with istioctl x workload entry configure, and install Istio's sidecar on it",
        )  # fmt: skip
        written.append(machine)
    return written
