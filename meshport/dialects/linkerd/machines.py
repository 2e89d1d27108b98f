"""How Linkerd says machines: ExternalWorkload; both directions.

Its labels are those of the object itself, its address is an IP, and an identity is required, which SPIRE or another issuer gives the proxy there.
https://linkerd.io/2-edge/reference/external-workload/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshport.dialects.cursor import Cursor
from meshport.findings import Affected
from meshport.ir.base import Fact, Ref, sources
from meshport.ir.exposure import Machine
from meshport.ir.model import IR
from meshport.values.cidrs import parse_network
from meshport.values.identities import Identity, parse_linkerd
from meshport.values.problems import ValueProblem

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.mapping.bound import Bound

API = "workload.linkerd.io/v1beta1"


# -- lift


def lift(bound: Bound, by_kind: dict[tuple[str, str], list[int]], options: Options, ir: IR) -> None:
    """The machines of a bundle. An identity that is a service account's is one; any other is known to Linkerd alone."""
    for number in by_kind.get(("workload.linkerd.io", "ExternalWorkload"), []):
        root = Cursor.root(bound, number)
        spec = root.at("spec")
        tls = spec.at("meshTLS") if spec.at("meshTLS") else spec.at("meshTls")
        fact = root.ref()
        ref = fact if fact.value.namespace else fact.map(lambda item: Ref(options.default_namespace, item.name))
        addresses = [found for item in spec.each("workloadIPs") if (found := item.text("ip")) is not None]
        account = _account(tls.text("identity"), ref.value.namespace)
        rest: list[Fact[Any]] = [*addresses[1:], *(known for key in ("identity", "serverName") if (known := tls.text(key)) is not None)]
        ports = []
        for item in spec.each("ports"):
            port, name, protocol = item.number_at("port"), item.text("name"), item.text("protocol")
            if port is not None and (protocol is None or protocol.value == "TCP"):
                ports.append((name.value if name is not None else f"port-{port.value}", port.also(name, protocol)))
            elif port is not None:
                rest.append(Fact(f"{port.value}/UDP", item.src, "external-workload.ports"))
        labels = tuple((name, found) for name, place in root.items("metadata", "labels") if (found := place.fact(str)) is not None)
        ir.machines.append(
            Machine(
                ref,
                "ExternalWorkload",
                number,
                addresses[0] if addresses else None,
                tuple(known for _, known in spec.leaves()),
                tuple(ports),
                labels,
                account,
                tuple(item for item in rest if account is None or item.src != account.src),
            )
        )


def _account(identity: Fact[str] | None, namespace: str) -> Fact[str] | None:
    """The service account of the machine's namespace that an identity is of."""
    if identity is None:
        return None
    try:
        known = parse_linkerd(identity.value)
    except (ValueProblem, ValueError):
        return None
    if isinstance(known, Identity) and known.namespace == namespace and known.service_account:
        return identity.holding(known.service_account)
    return None


# -- lower


def lower(ir: IR, out: Output, options: Options) -> list[Machine]:
    """The machines that became ExternalWorkloads: those with an IP and an account."""
    written = []
    for machine in ir.machines:
        if machine.address is None or machine.account is None or machine.kind == "ExternalWorkload" or not _is_ip(machine.address.value):
            continue
        ref = machine.ref.value
        obj = out.object(API, "ExternalWorkload", ref, owner=machine.document, group="machines", rank=30, because=machine.ref)
        for name, label in machine.labels:
            obj.set(("metadata", "labels", name), label.value, label)
        identity = (
            f"{machine.account.value}.{ref.namespace}.serviceaccount.identity.{options.control_plane_namespace}.{options.trust_domain}"
        )
        obj.set(("spec", "meshTLS", "identity"), identity, machine.account)
        obj.set(("spec", "meshTLS", "serverName"), identity, machine.account)
        obj.set(("spec", "workloadIPs", 0, "ip"), machine.address.value, machine.address)
        for position, (name, port) in enumerate(machine.ports):
            obj.set(("spec", "ports", position, "name"), name, port)
            obj.set(("spec", "ports", position, "port"), port.value, port)
        affects = (Affected(ref.namespace, ref.name),)
        for fact in machine.rest:
            out.lost(fact, document=machine.document, affects=affects)
        out.finding(
            "MP762", sources(machine.address), document=machine.document, affects=affects, feature="external-workload.address",
            object=f"{machine.kind} {ref}", address=machine.address.value,
            steps=f"Have SPIRE give it the identity {identity}, run Linkerd's proxy on it, and set the condition Ready of the ExternalWorkload",
        )  # fmt: skip
        written.append(machine)
    return written


def _is_ip(text: str) -> bool:
    try:
        network = parse_network(text)
    except (ValueProblem, ValueError):
        return False
    return "/" not in text and network.num_addresses == 1
