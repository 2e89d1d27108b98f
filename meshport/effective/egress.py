"""What each workload may reach outside the cluster: the default that holds for it, and the destinations that are open beside."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from meshport.ir.base import Fact, Ref
from meshport.ir.exposure import EgressDefault, Outside, OutsidePort
from meshport.ir.model import IR
from meshport.ir.routing import Beyond
from meshport.ir.world import Workload
from meshport.values.cidrs import parse_network
from meshport.values.hosts import host_matches
from meshport.values.problems import ValueProblem

BY_NAME = ("http", "grpc", "tls")


@dataclass(frozen=True, slots=True)
class Leaving:
    """One workload, or a namespace without known workloads, and the rules for what leaves it. No rules: everything may."""

    namespace: str
    workload: Workload | None
    rules: tuple[EgressDefault, ...]

    @property
    def subject(self) -> str:
        return f"egress of {self.workload.ref}" if self.workload is not None else f"egress of namespace {self.namespace}"

    @property
    def general(self) -> EgressDefault | None:
        """The rule for everything that no narrower network takes; one that refuses goes before one that does not."""
        whole = [rule for rule in self.rules if not rule.networks]
        return next((rule for rule in whole if rule.refuses.value), whole[0] if whole else None)

    @property
    def refuses(self) -> bool:
        return any(rule.refuses.value for rule in self.rules)


def leaving(ir: IR) -> list[Leaving]:
    """Every workload of the mesh in a namespace that a rule is for, and such namespaces in which no workload is known."""
    acting = [rule for rule in ir.egress_defaults if not rule.silenced]
    names = {rule.namespace for rule in acting if rule.namespace}
    if any(not rule.namespace for rule in acting):
        names |= enrolled(ir)
    found: list[Leaving] = []
    for name in sorted(names):
        own = [rule for rule in acting if rule.namespace == name]
        rules = own or [rule for rule in acting if not rule.namespace]
        known = [workload for workload in ir.world.of_namespace(name) if ir.world.meshed(workload) is not False]
        if not known and not ir.world.of_namespace(name):
            read = [rule for rule in rules if Ref(name, "") not in rule.spares]
            whole = tuple(rule for rule in read if rule.selector.value.everything)
            found += [Leaving(name, None, whole or tuple(read))] if read else []
        for workload in known:
            read = [rule for rule in rules if workload.ref not in rule.spares]
            if not read:
                continue
            mine = [rule for rule in read if rule.selector.value.accepts(workload.labels)]
            narrow = [rule for rule in mine if not rule.selector.value.everything]
            found.append(Leaving(name, workload, tuple(narrow or mine)))
    return found


def enrolled(ir: IR) -> set[str]:
    """The known namespaces that are in the mesh, or have a workload that is."""
    found = {name for name, namespace in ir.world.namespaces.items() if namespace.meshed is not None and namespace.meshed.value}
    return found | {workload.ref.namespace for workload in ir.world.workloads if ir.world.meshed(workload)}


def visible(outside: Outside, host: Fact[str], rule: EgressDefault, namespace: str) -> bool:
    """Whether clients of a namespace know a host: it is shown to them, and their proxies are told about it."""
    if not outside.shown_to(namespace):
        return False
    if rule.visible is None:
        return True
    home = outside.ref.value.namespace
    for fact in rule.visible:
        place, _, pattern = fact.value.rpartition("/")
        if (place in ("*", home) or (place in (".", "") and home == namespace)) and host_matches(pattern, host.value):
            return True
    return False


def beyond(ir: IR, host: str, seen_by: Collection[str] | None) -> Beyond | None:
    """Whose requests come to rules for a host that destinations outside name, and on which ports; None where none names it for HTTP. `seen_by` are the
    namespaces that the rules themselves are shown to, None for all."""
    closed: dict[str, list[EgressDefault]] = {}
    for item in leaving(ir):
        closed.setdefault(item.namespace, []).extend(rule for rule in item.rules if rule.visible is not None)
    clients: set[str] = set()
    ports: set[int] = set()
    for outside in ir.outside:
        named = next((fact for fact in outside.hosts if fact.value.lower() == host.lower()), None)
        spoken = {port.number.value for port in outside.ports if port.protocol.value in ("http", "grpc") and port.number.value}
        if named is None or not spoken:
            continue
        for name in {*enrolled(ir), outside.ref.value.namespace} if outside.seen_by is None else outside.seen_by:
            told = closed.get(name, ())
            if (seen_by is None or name in seen_by) and (not told or any(visible(outside, named, rule, name) for rule in told)):
                clients.add(name)
                ports |= spoken
    return Beyond(tuple(sorted(clients)), tuple(sorted(ports))) if clients else None


def http_ports(ir: IR, host: str, namespace: str) -> set[int]:
    """The ports on which a host outside speaks HTTP, for the clients of a namespace."""
    return {
        port.number.value
        for outside in ir.outside
        if outside.shown_to(namespace)
        if any(fact.value.lower() == host.lower() for fact in outside.hosts)
        for port in outside.ports
        if port.protocol.value in ("http", "grpc")
    }


def judged(ir: IR, host: str, namespace: str, port: int) -> bool:
    """Whether rules for requests to a host outside say what becomes of those of a namespace's clients."""
    return any(
        routes.beyond is not None
        and routes.host.value.lower() == host.lower()
        and namespace in routes.beyond.clients
        and port in routes.beyond.ports
        for routes in ir.routes
    )


def openings(ir: IR, outside: Outside) -> Iterator[tuple[Fact[str] | None, Fact[str] | None, OutsidePort]]:
    """What a destination opens, one by one: (host, None, port) where it is told by name, (host, address, port) where by address, (host or None, None, port)
    where a TCP port is open to any address. What the source mesh does not accept opens nothing."""
    for port in outside.ports:
        if port.protocol.value == "udp" or outside.problem:
            continue
        if port.protocol.value in BY_NAME:
            for host in outside.hosts:
                yield host, None, port
        elif outside.addresses:
            for address in outside.addresses:
                yield (outside.hosts[0] if outside.hosts else None), address, port
        else:
            named: tuple[Fact[str] | None, ...] = outside.hosts or (None,)
            yield from ((name, None, port) for name in named)


def at_some_addresses(ir: IR, outside: Outside) -> bool:
    """Whether a destination that is told by name is open at the addresses of its own network alone, and refused at others of the same clients."""
    if not (outside.addresses and outside.hosts and any(port.protocol.value in BY_NAME for port in outside.ports)):
        return False
    own = {item.value for item in outside.addresses}
    return any(
        rule.refuses.value and {cidr.value for cidr, _ in rule.networks} != own
        for item in leaving(ir)
        if outside.shown_to(item.namespace)
        for rule in item.rules
    )


def key(outside: Outside, host: Fact[str] | None, address: Fact[str] | None, port: OutsidePort) -> str:
    """One opening in words, equal where the same connections may be made."""
    number = port.number.value or "*"
    if address is not None:
        return f"{network(address.value)}:{number}"
    if port.protocol.value not in BY_NAME and passes_any(outside):
        return f"*:{number}"
    where = (
        f" in {', '.join(sorted(item.value for item in outside.addresses))}" if outside.kind.endswith("Route") and outside.addresses else ""
    )
    return f"{host.value.lower() if host is not None else '*'}:{number}{where}"


def spoken(port: OutsidePort) -> str:
    """What a port is taken for where a destination is told by name: tls, http, or tcp."""
    return {"grpc": "http"}.get(port.protocol.value, port.protocol.value)


def network(text: str) -> str:
    """An address or CIDR as a CIDR; as it stands where it is neither."""
    try:
        return str(parse_network(text))
    except ValueProblem:
        return text


def passes_any(outside: Outside) -> bool:
    """Whether a TCP port without an address is open to every address, and not only to those of the host."""
    return not outside.hosts or (not outside.endpoints and (outside.resolution is None or outside.resolution.value == "NONE"))
