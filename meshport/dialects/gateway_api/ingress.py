"""Rules for requests from outside: HTTPRoutes whose parents are Gateways, with the hosts that they are for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from meshport.dialects.gateway_api.attachment import served_in
from meshport.dialects.gateway_api.gateways import Entry, Section
from meshport.dialects.gateway_api.sayable import ASPECTS
from meshport.dialects.gateway_api.service_routes import Lowering
from meshport.dialects.output import Obj
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Fact, Ref
from meshport.ir.routing import RouteMatch, RouteRule, ServiceRoutes, comes_by, gateway_of, gather, met
from meshport.ir.world import Service

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR

Entries = dict[Ref, Entry]


class IngressLowering(Lowering):
    """One set of rules on its way into the HTTPRoutes of Gateways. `service` only lends its name and namespace: those of the source object."""

    __slots__ = ("asked", "entries", "hosts", "on")
    entries: Entries
    hosts: tuple[Fact[str], ...]
    on: tuple[int, ...]  # the ports of the listeners that the rules being written are for; () for all
    asked: tuple[Fact[int], ...]  # the ports that rules ask for, where the listeners they hang on say them
    second: ClassVar[str] = "ingress"
    alone: ClassVar[bool] = False  # a host of a Gateway may have more routes

    @classmethod
    def of(cls, listed: list[ServiceRoutes], entries: Entries, ir: IR, out: Output, options: Options) -> IngressLowering:
        """The rules of one object, which are the same for each of its hosts."""
        listed = sorted(listed, key=lambda item: min(item.host.src, default=0))
        first = replace(listed[0], hosts=1)
        stub = Service(first.ref.value, None, [], False, "", {}, {}, first.document)
        made = cls(ir, out, options, first, stub)
        made.entries, made.hosts, made.on, made.asked = entries, tuple(item.host for item in listed), (), ()
        return made

    @property
    def gateways(self) -> list[tuple[Ref, Fact[str]]]:
        """The Gateways that the rules are bound to and can hang on, with why."""
        return [(ref, fact) for ref, fact in self.bound if ref not in self.entries or self.entries[ref].serves(self.routes.protocol)]

    @property
    def bound(self) -> list[tuple[Ref, Fact[str]]]:
        """All Gateways that the rules are bound to, with why."""
        home = self.routes.ref.value.namespace
        return [(gateway_of(fact.value, home), fact) for fact in self.routes.gateways if fact.value != "mesh"]

    @property
    def affects(self) -> tuple[Affected, ...]:
        return tuple(Affected(ref.namespace, ref.name, None) for ref, _ in self.bound)

    def hangs(self) -> bool:
        """Whether a Gateway is left for the rules; says which are not."""
        left, kept = [item for item in self.bound if item not in self.gateways], bool(self.gateways)
        alone = not kept and all(fact.value != "mesh" for fact in self.routes.gateways)
        for ref, fact in left:
            whole = (self.routes.src, gather(self.routes.rules, self.hosts, self.routes.service)) if alone else ()
            self.say("MP397", fact, *whole, aspects=ASPECTS, gateway=str(ref))
        return kept

    def write(self) -> None:
        if not self.hangs():
            return
        mine = {f"{ref.namespace}/{ref.name}" for ref, _ in self.gateways}
        kept = []
        for rule in self.routes.rules:
            matches = tuple(self._at_gateway(match) for match in rule.matches if comes_by(match, mine, self.routes.ref.value.namespace))
            if matches or not rule.matches:
                kept.append(replace(rule, matches=matches))
        self.routes = replace(self.routes, rules=tuple(self._by_port(kept)))
        told = {self.routes.ref.value.namespace if fact.value == "." else fact.value for fact in self.routes.exports}
        pods = {one.ref.value: served_in(one, self.ir.world) for one in self.ir.gateways}
        if "*" in told or all((pods.get(ref) or {ref.namespace}) <= told for ref, _ in self.gateways):
            self.out.decide("the Gateways that the route names read it", *self.routes.exports)
        rules, before = self.rules(), len(self.out.objects)
        if rules and self.api is not None:
            self._by_listener(self.api, rules)
        for ref, fact in self.gateways if len(self.out.objects) > before else ():
            if ref not in self.entries:
                self.say("MP707", fact, aspects=(), disposition=None, gateway=str(ref), name=ref.name, namespace=ref.namespace)
        if not rules:
            self.out.names("says at which gateways rules would hold that are none there", *(fact for _, fact in self.gateways))
        if any(rule.retry is None and not rule.answers for rule in rules):
            self.silent()

    def listeners(self, *protocols: str) -> list[Section]:
        """What was written of the Gateways that takes requests, or connections of one of the protocols; [] where one of the Gateways is not known."""
        known = [self.entries[ref] for ref, _ in self.gateways if ref in self.entries]
        if len(known) < len(self.gateways) or not all(entry.sections for entry in known):
            return []
        return [item for entry in known for item in entry.sections if item.protocol in protocols and not item.redirects]

    def _by_port(self, rules: list[RouteRule]) -> list[RouteRule]:
        """The rules without the port that they ask for, where it is that of every listener."""
        facts = tuple(fact for rule in rules for match in rule.matches for fact in [match.port] if fact is not None)
        asked, there = {fact.value for fact in facts}, {item.port for item in self.listeners("HTTP", "HTTPS")}
        if len(there) > 1:
            self.asked = tuple(fact for fact in facts if fact.value in there)
        if not asked or len(there) != 1 or asked != there:
            return rules
        self.out.imply("every listener of the gateways has this port", *facts)
        return [replace(rule, matches=tuple(replace(match, port=None) for match in rule.matches)) for rule in rules]

    def _by_listener(self, api: str, rules: list[RouteRule]) -> None:
        """Write the rules for the listeners that they are for: as one route, or as one for the listeners of each port that has rules of its own."""
        if not self.asked:
            self._port(api, rules, 0, False)
            return
        alike: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        for port in sorted({item.port for item in self.listeners("HTTP", "HTTPS")}):
            held = tuple(
                tuple(
                    place for place, match in enumerate(rule.matches or (RouteMatch(),)) if match.port is None or match.port.value == port
                )
                for rule in rules
            )
            if any(held):
                alike.setdefault(held, []).append(port)
        chosen, reached = set[int](), set[int]()
        for ports in alike.values():
            self.on = tuple(ports)
            here, there = self._port(api, rules, ports[0], len(alike) > 1)
            chosen |= here
            reached |= there
        for number in sorted(chosen - reached):
            self.out.adds_nothing("on each port an earlier rule takes every request", gather(rules[number]), code="MP078")

    def _closes(self, port: int) -> bool:
        """A Gateway answers what no rule takes as it did: with 404."""
        return False

    def _at_gateway(self, match: RouteMatch) -> RouteMatch:
        for name, fact in match.others:
            if name == "gateways":
                self.out.imply("the route hangs on these gateways", fact)
        return met(match)

    def _match(self, match: RouteMatch, shown: str) -> list[RouteMatch]:
        if match.port is not None and match.port not in self.asked:
            self.say("MP319", match.src, aspects=ASPECTS, rule=shown, what=f"port {match.port.value} of the gateway")
            return []
        return super()._match(match, shown)

    def port_at(self, ref: Ref, port: int) -> int | None:
        """The only port of the Service, since a Gateway's port is none of it."""
        found = self._only_port(ref)
        if found is None:
            sent = [
                rule for rule in self.routes.rules if any(one.service is not None and one.service.value == ref for one in rule.backends)
            ]
            self.once(
                "MP301", self.routes.src, gather(sent), namespace=ref.namespace, name=ref.name, why=self._portless(ref, "destination")
            )
        return found.value if found is not None else None

    def parents(self, obj: Obj, port: int) -> None:
        place = 0
        for ref, fact in self.gateways:
            written = self.entries[ref].ref if ref in self.entries else ref
            for section in self._sections(ref):
                parent = ("spec", "parentRefs", place)
                obj.set((*parent, "name"), written.name, fact)
                if ref.namespace != obj.ref.namespace:
                    obj.set((*parent, "namespace"), ref.namespace, fact)
                if section:
                    obj.set((*parent, "sectionName"), section, fact, *self.asked)
                place += 1
        number = 0
        for host in self.hosts:
            if host.value != "*":
                obj.set(("spec", "hostnames", number), host.value, host)
                number += 1
            else:
                self.out.imply("without hostnames a route is for every host", host)

    def _sections(self, ref: Ref) -> list[str]:
        """The listeners by name where the route is not for all: one only redirects, or has another port than the rules ask for; "" is the whole Gateway."""
        entry = self.entries.get(ref)
        ports = self.on
        if entry is None or not (ports or any(item.redirects for item in entry.sections)):
            return [""]
        hosts = [fact.value for fact in self.hosts]
        meant = [item for item in entry.sections if not item.redirects and (item.port in ports or not ports)]
        found = [item.name for item in meant if any(_meets(item.hostname, host) for host in hosts)] or [item.name for item in meant]
        return found or ([] if ports else [""])


def _meets(listener: str, host: str) -> bool:
    """Whether a listener may take requests for a host of a route."""
    if "*" in (listener, host) or not listener or listener == host:
        return True
    if listener.startswith("*.") and host.endswith(listener[1:]):
        return True
    return host.startswith("*.") and listener.endswith(host[1:])


__all__ = ["NOWHERE", "IngressLowering", "RouteRule", "gather"]
