"""Whom DestinationRules tell to use mutual TLS, where the mesh does not do it by itself (meshConfig.enableAutoMtls: false).

A client goes by the first namespace that has a rule for the host: its own, the Service's, the root namespace; in it by the most specific host. A subset says
instead of the rule, a port instead of both. Without a mode it sends plaintext. https://istio.io/latest/docs/reference/config/networking/destination-rule/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from meshport.dialects.base import Options
from meshport.dialects.cursor import Cursor
from meshport.dialects.istio.resilience import covers, fqdn, full_host
from meshport.ir.base import NOWHERE, Ref, Src, sources
from meshport.ir.world import Workload, World
from meshport.mapping.bound import Bound

EVERY, NONE, SOME = "every", "none", "some"
"""Of the clients of a workload. `some` is also said where it is not known."""
_ANY = ""  # a client's namespace that no rule speaks of
Host = tuple[str, str, list[tuple[int, int]]]
"""A host, the namespace that it is of, and its ports with those of the containers."""
_MODES = {"ISTIO_MUTUAL": EVERY, "MUTUAL": SOME}  # with certificates of its own a client may be anybody


@dataclass(frozen=True, slots=True)
class _Rule:
    home: str
    host: str
    exports: tuple[str, ...]
    chosen: bool  # whether it is for clients of some labels
    spec: Cursor
    src: Src  # of the host, the namespace and the ports
    exporting: Src = NOWHERE
    instead: tuple[Src, str] | None = None  # a mode that another one is asked about, and that one

    @property
    def modes(self) -> list[Src]:
        """The leaves of its modes."""
        return [fact.src for path, fact in self.spec.leaves() if path.endswith("tls.mode")]

    def seen_by(self, namespace: str) -> bool:
        return "*" in self.exports or namespace in self.exports or (namespace == self.home and "." in self.exports)

    def says(self, port: int) -> set[str]:
        """What it tells the clients of a Service port, of the whole Service and of each subset."""
        whole = self._mode(self.spec.at("trafficPolicy"), port, NONE)
        return {whole, *(self._mode(item.at("trafficPolicy"), port, whole) for item in self.spec.each("subsets"))}

    def _mode(self, policy: Cursor, port: int, otherwise: str) -> str:
        for item in policy.each("portLevelSettings"):
            number = item.number_at("port", "number")
            if number is not None and number.value == port:  # what it leaves out is the default again
                return self._of(item) if item.at("tls") else NONE
        return self._of(policy) if policy.at("tls") else otherwise

    def _of(self, policy: Cursor) -> str:
        mode = policy.at("tls", "mode")
        if self.instead is not None and self.instead[0] == mode.src:
            return self.instead[1]
        return _MODES.get(str(mode.value), NONE)


@dataclass(frozen=True, slots=True)
class Clients:
    """Which of the clients of each container port are told, of all other ports, and the leaves that say so: of the rules without which it would be
    otherwise (`src`), and of all that speak of it (`asked`); of these rules the modes, and to whom they are exported, where others would tell somebody
    something else."""

    ports: dict[int, str]
    rest: str
    src: Src
    asked: Src

    def of(self, port: int | None) -> str:
        return self.rest if port is None else self.ports.get(port, self.rest)

    def where(self, one: str, other: str) -> Clients:
        """The same with `other` for `one`."""
        ports = {port: other if said == one else said for port, said in self.ports.items()}
        return replace(self, ports=ports, rest=other if self.rest == one else self.rest)


class Told:
    """The DestinationRules of a bundle, asked for workloads."""

    def __init__(self, bound: Bound, world: World, options: Options) -> None:
        self.bound, self.world, self.options = bound, world, options
        self.rules = list(self._rules())

    @property
    def named(self) -> list[str]:
        """The rules that tell somebody, for messages; where there are none, nobody is told."""
        return sorted({f"DestinationRule {Ref(rule.home, rule.spec.document.name)}" for rule in self.rules if _tells(rule.spec)})

    def hosts(self, workloads: list[Workload]) -> Src:
        """The leaves of the hosts of rules that would tell clients of some of these workloads something else if they were for them."""
        known = [list(self._hosts(workload)) for workload in workloads]
        now = [self._told(hosts, [rule for rule in self.rules if any(covers(rule.host, host) for host, _, _ in hosts)]) for hosts in known]

        def decides(rule: _Rule) -> bool:
            return any(
                self._told(hosts, [replace(one, host=host) if one is rule else one for one in self.rules]) != told
                for hosts, told in zip(known, now, strict=True)
                for host, _, _ in hosts
            )

        return sources(*(rule.spec.at("host").src for rule in self.rules if decides(rule)))

    def _rules(self) -> Iterator[_Rule]:
        for number, document in enumerate(self.bound.bundle.documents):
            if document.kind != "DestinationRule" or not self.bound.mesh[number] or number in self.bound.broken:
                continue
            spec = Cursor.root(self.bound, number).at("spec")
            host = spec.text("host")
            if host is not None:
                home = document.namespace or self.options.default_namespace
                exports = tuple(fact.value for fact in spec.strings("exportTo")) or ("*",)
                ports = (fact for path, fact in spec.leaves() if path.endswith("port.number"))
                src = sources(host, Cursor.root(self.bound, number).at("metadata", "namespace").src, *ports)
                named, chosen = full_host(host.value, home, self.options), bool(spec.at("workloadSelector"))
                yield _Rule(home, named, exports, chosen, spec, src, spec.at("exportTo").src)

    def clients(self, workload: Workload) -> Clients:
        """Which of the clients of a workload are told, by whatever host they reach it. An address is called in plaintext, so that it is none of them
        on ports that no host sends to."""
        hosts = list(self._hosts(workload))
        near = list({id(rule): rule for host, _, _ in hosts for rule in self.rules if covers(rule.host, host)}.values())
        told = self._told(hosts, near)
        needed = [rule for rule in near if self._told(hosts, [other for other in near if other is not rule]) != told]
        deciding = {id(rule): sources(rule.src, *self._deciding(rule, hosts, near, told)) for rule in near}
        src, asked = (sources(*(deciding[id(rule)] for rule in some)) for some in (needed, near))
        return Clients(told, NONE if hosts else SOME, src, asked)  # a Service that the bundle does not have may stand before it

    def _deciding(self, rule: _Rule, hosts: list[Host], near: list[_Rule], told: dict[int, str]) -> Iterator[Src]:
        """The leaves of a rule of which another value would tell some client something else."""

        def otherwise(*others: _Rule) -> bool:
            return any(self._told(hosts, [other if one is rule else one for one in near]) != told for other in others)

        yield from (mode for mode in rule.modes if otherwise(*(replace(rule, instead=(mode, said)) for said in (EVERY, NONE, SOME))))
        elsewhere = {_ANY, rule.home, *(home for _, home, _ in hosts), *(one.home for one in near)}
        if rule.exporting and otherwise(*(replace(rule, exports=(name,)) for name in ("*", ".", *sorted(elsewhere)))):
            yield rule.exporting

    def _told(self, hosts: list[Host], rules: list[_Rule]) -> dict[int, str]:
        """Which of the clients of each container port are told by some rules."""
        found: dict[int, set[str]] = {}
        for host, home, ports in hosts:
            near = [rule for rule in rules if covers(rule.host, host)]
            namespaces = {_ANY, home, *(rule.home for rule in near), *(name for rule in near for name in rule.exports if name not in "*.")}
            for port, target in ports:
                for namespace in namespaces:
                    found.setdefault(target, set()).update(self._says(near, home, namespace, port))
        return {port: next(iter(said)) if len(said) == 1 else SOME for port, said in found.items()}

    def _says(self, near: list[_Rule], home: str, namespace: str, port: int) -> set[str]:
        """What clients of a namespace are told of a port."""
        found: set[str] = set()
        root = self.options.root_namespace
        for place in dict.fromkeys((namespace, home, root)):
            seen = [rule for rule in near if rule.home == place and rule.seen_by(namespace)]
            if place == namespace == root and home != root:  # there its own are those that it keeps to itself
                seen = [rule for rule in seen if rule.exports == (".",)] or (seen if not any(rule.home == home for rule in near) else [])
            if not seen:
                continue
            best = max(_specific(rule.host) for rule in seen)
            closest = [rule for rule in seen if _specific(rule.host) == best]
            speaking = [rule for rule in closest if rule.spec.at("trafficPolicy") or rule.spec.at("subsets")]
            for rule in speaking:
                found |= rule.says(port)
            if any(not rule.chosen for rule in closest):
                return found or {NONE}
        return found | {NONE}

    def _hosts(self, workload: Workload) -> Iterator[Host]:
        """The hosts that stand for a workload's pods, with the namespace of each and its ports with the container's."""
        for service in self.world.services_of(workload):
            pairs = [(port.number, self.world.target_number(workload, port)) for port in service.ports if port.protocol == "TCP"]
            yield fqdn(service.ref, self.options), service.ref.namespace, [(one, other) for one, other in pairs if other is not None]
        for number, document in enumerate(self.bound.bundle.documents):
            if document.kind != "ServiceEntry" or not self.bound.mesh[number] or number in self.bound.broken:
                continue
            spec = Cursor.root(self.bound, number).at("spec")
            home = document.namespace or self.options.default_namespace
            labels = spec.items("workloadSelector", "labels")
            if home == workload.ref.namespace and labels and all(workload.labels.get(key) == item.value for key, item in labels):
                said = [(item.number_at("number"), item.number_at("targetPort")) for item in spec.each("ports")]
                for host in spec.strings("hosts"):
                    yield host.value.lower(), home, [(one.value, (other or one).value) for one, other in said if one is not None]


def _tells(spec: Cursor) -> bool:
    return any(path.endswith("tls.mode") and fact.value in _MODES for path, fact in spec.leaves())


def _specific(host: str) -> tuple[bool, int]:
    return "*" not in host, len(host)
