"""Routes as Istio says them: one VirtualService a Service, rules in the order in which they are tried, retries always said.

Istio retries twice where nobody says anything, so each rule that comes from a mesh without that habit says `attempts: 0`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meshport.dialects import naming
from meshport.dialects.gateway_api import gateways
from meshport.dialects.gateway_api.attachable import speaker
from meshport.dialects.gateway_api.durations import milliseconds, one_unit
from meshport.dialects.gateway_api.patterns import full_regex, simplest
from meshport.dialects.gateway_api.ranking import in_order
from meshport.dialects.gateway_api.routes import HIDING
from meshport.dialects.gateway_api.routing import open_order, switched_off
from meshport.dialects.gateway_api.service_ports import speaks_http
from meshport.dialects.gateway_api.service_routes import rankable
from meshport.dialects.gateway_api.writing import hundred, single, warn
from meshport.dialects.istio import inner_hosts
from meshport.dialects.istio.connections import tcp_rules
from meshport.dialects.istio.http_routes import HTTPRoutes
from meshport.dialects.istio.resilience import API, destination_rule, fqdn
from meshport.dialects.istio.retry_conditions import retry_on
from meshport.dialects.istio.subsets import as_subset, subset_of
from meshport.dialects.losses import report
from meshport.effective import egress
from meshport.findings import Affected
from meshport.ir.authorization import Pattern
from meshport.ir.base import Fact, Ref, Src
from meshport.ir.resilience import Retry
from meshport.ir.routing import Backend, Filter, RouteMatch, RouteRule, ServiceRoutes, explains, gather, ports_of, routes_subject

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Obj, Output, Path
    from meshport.ir.model import IR
    from meshport.ir.world import Service

ASPECTS = ("rules", "backends", "filters", "timeout", "retries", "unmatched")


def lower_routes(ir: IR, out: Output, options: Options) -> None:
    """Every set of routes of the mesh as a VirtualService, or as an HTTPRoute where that is asked for and possible."""
    groups: dict[tuple[Ref, str], list[ServiceRoutes]] = {}
    standing: list[Fact[Ref] | None] = []
    connections: list[ServiceRoutes] = []
    outside: dict[tuple[str, str], list[ServiceRoutes]] = {}
    for gateway in ir.gateways:
        gateways.hand_over(gateway, ir, out, options)
    for routes in sorted(ir.routes, key=lambda item: (item.host.value, item.protocol, item.port.value if item.port else 0, item.ref.value)):
        for reason, src in routes.silenced:
            out.ignore(reason, src)
        warn(routes, out)
        if routes.problem:
            out.finding(
                routes.problem, routes.src, document=routes.document, disposition="invalid", subject=routes.subject_name,
                object=f"{routes.kind} {routes.ref.value}",
            )  # fmt: skip
        elif routes.gateways or routes.family == "istio":
            out.imply("stays as it is", routes.src)
        elif options.data_plane == "ambient" and routes.consumer is not None and routes.service is not None:
            out.finding(
                "MP371", routes.src | gather(routes.rules), document=routes.document, disposition="dropped", namespace=routes.consumer.value,
                why="a waypoint follows those beside its Service or itself alone", subject=routes.subject_name,
                object=f"{routes.kind} {routes.ref.value}", explains=explains(ir.world, routes, *ASPECTS),
                affects=(Affected(routes.service.value.namespace, routes.service.value.name),),
            )  # fmt: skip
        elif options.routes == "gateway-api" and routes.kind in ("HTTPRoute", "GRPCRoute") and routes.family in ("cilium", "gateway-api"):
            out.imply("stays as it is: Istio reads it too", routes.src)
            out.staying.update(routes.documents)
            out.finding(
                "MP406", document=routes.document, subject=routes.subject_name, object=f"{routes.kind} {routes.ref.value}",
                explains=explains(ir.world, routes, "retries"),
            )  # fmt: skip
            open_order(routes, ir, out, "Istio" if routes.family == "gateway-api" else "Cilium")
            standing.append(routes.service)
        elif routes.kind in ("TCPRoute", "TLSRoute") and (routes.gateways or routes.family != "linkerd"):
            out.imply("stays as it is: Istio reads it too", routes.src)
            out.staying.update(routes.documents)
        elif routes.kind == "TCPRoute" and routes.service is not None and routes.service.value in ir.world.services:
            connections.append(routes)
        elif routes.protocol in ("tls", "tcp"):
            out.finding(
                "MP306", routes.src | gather(routes.rules), document=routes.document, disposition="dropped", protocol=routes.protocol.upper(),
                outcome="connections go to the Service itself", subject=routes.subject_name, object=f"{routes.kind} {routes.ref.value}",
                affects=(Affected(routes.service.value.namespace, routes.service.value.name),) if routes.service is not None else (),
                explains=explains(ir.world, routes, "rules"),
            )  # fmt: skip
        elif routes.beyond is not None:
            if inner_hosts.ruled(routes.host.value, routes.beyond.clients, ir, options):
                continue  # said where its host is left out
            for client in routes.beyond.clients:
                outside.setdefault((client, routes.host.value.lower()), []).append(routes)
        elif routes.service is None:
            out.finding(
                "MP310", routes.src | gather(routes.rules), document=routes.document, disposition="dropped", host=routes.host.value, subject=routes.subject_name,
                object=f"{routes.kind} {routes.ref.value}", explains=explains(ir.world, routes, *ASPECTS),
            )  # fmt: skip
        elif (service := ir.world.services.get(routes.service.value)) is not None and (service.headless or service.external_name):
            out.finding(
                "MP303", routes.src | gather(routes.rules), document=routes.document, disposition="dropped",
                what="headless" if service.headless else "of type ExternalName",
                subject=routes.subject_name, object=f"{routes.kind} {routes.ref.value}", explains=explains(ir.world, routes, *ASPECTS),
            )  # fmt: skip
        elif service is not None and _never_acted(routes, service):
            speaker(routes, ir, out)("MP305")
        else:
            groups.setdefault((routes.service.value, routes.consumer.value if routes.consumer else ""), []).append(routes)
    for (service_ref, consumer), found in sorted(groups.items()):
        _VirtualService(ir, out, options, service_ref, consumer, found).write()
    for (client, _), found in sorted(outside.items()):
        name = naming.unique(found[0].ref.value.name, lambda wanted: out.taken(API, "VirtualService", Ref(client, wanted)))  # noqa: B023
        _VirtualService(ir, out, options, Ref(client, name), client, found).write()
    for routes in connections:
        tcp_rules(routes, ir, out, options)
    if ir.mesh == "linkerd":
        switched_off(ir, out)
    if ir.mesh != "istio":
        because = [routes.service for found in groups.values() for routes in found] + standing or [
            workload.meshed for workload in ir.world.workloads if workload.meshed is not None
        ] + [namespace.meshed for namespace in ir.world.namespaces.values() if namespace.meshed is not None]
        if because:
            out.install("istiod", "meshConfig.defaultHttpRetryPolicy.attempts", 0, gather(because))


def _never_acted(routes: ServiceRoutes, service: Service) -> bool:
    """Whether Linkerd takes each port that the rules are for as one for bytes, which Istio may not."""
    ports = [port.number for port in service.ports if routes.port is None or port.number == routes.port.value]
    of_requests = routes.family == "linkerd" and routes.kind in ("HTTPRoute", "GRPCRoute")
    return of_requests and bool(ports) and all(map(service.is_opaque, ports))


def slug(text: str) -> str:
    """A rule's name as one that a proxy's log can carry."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:50]


class _VirtualService:
    def __init__(self, ir: IR, out: Output, options: Options, service: Ref, consumer: str, found: list[ServiceRoutes]) -> None:
        self.ir, self.out, self.options, self.service, self.consumer = ir, out, options, service, consumer
        self.outside = found[0].beyond  # the rules are for a host outside; `service` is the name that the object gets
        self.known = ir.world.services.get(service) if self.outside is None else None
        self.host = fqdn(service, options) if self.outside is None else found[0].host.value
        self.shown = f"Service {service}" if self.outside is None else f"host {self.host}"
        self.given = found
        self.found = [copy for routes in found for copy in self._by_ports(routes)]
        self.names: set[str] = set()
        self.reported: set[Src] = set()
        self.affects = (Affected(service.namespace, service.name if self.outside is None else None, None),)
        self.group = f"service {service.name}" if self.outside is None else "egress"

    def explained(self, *aspects: str) -> frozenset[tuple[str, str]]:
        return frozenset(pair for routes in self.found for pair in explains(self.ir.world, routes, *aspects))

    def affected(self, aspects: tuple[str, ...], values: dict[str, Any]) -> frozenset[tuple[str, str]]:
        """What a loss answers for: a rule that loses what sets it apart reads back as part of another one."""
        return self.explained(*(ASPECTS if aspects and "rule" in values else aspects))

    def say(
        self, code: str, *facts: Fact[Any] | Src | None, aspects: tuple[str, ...] = (), disposition: str | None = "dropped", **values: Any
    ) -> None:
        first = self.found[0]
        values = {"subject": self.shown, "object": f"{first.kind} {first.ref.value}", **values}
        self.out.finding(
            code,
            *facts,
            document=first.document,
            disposition=disposition,
            affects=self.affects,
            explains=self.affected(aspects, values),
            **values,
        )

    def lost(self, fact: Fact[Any], *aspects: str, **values: Any) -> None:
        first = self.found[0]
        values = {"subject": self.shown, "object": f"{first.kind} {first.ref.value}", **values}
        report(self.out, fact, "MP320", first.document, self.affects, self.affected(aspects, values), **values)

    def write(self) -> None:
        if self.options.routes == "gateway-api" and self._as_http_routes():
            return
        first = self.found[0]
        namespace = self.consumer or self.service.namespace
        name = naming.name(self.service.name, self.service.namespace) if self.consumer and self.outside is None else self.service.name
        src = gather(*(routes.service for routes in self.found), *(routes.consumer for routes in self.found))
        src |= gather(*(routes.host for routes in self.found)) if self.outside is not None else frozenset()
        rank = 30 if self.outside is None else 52
        obj = self.out.object(API, "VirtualService", Ref(namespace, name), owner=first.document, group=self.group, rank=rank, because=src)
        obj.set(("spec", "hosts", 0), self.host, src)
        if self.consumer:
            obj.set(("spec", "exportTo", 0), ".", src)
        index = 0
        by_port = self._needs_ports()
        forwards = False
        last = (
            [routes for routes in self.found if routes.port is None and any(rule.everything for rule in in_order(routes))]
            if by_port
            else []
        )
        for routes in (
            *(one for one in self.found if one not in last),
            *last,
        ):  # rules for every port that take all of it, after those for one
            if not by_port:
                self.out.imply("the Service has no other port", routes.port)
            for document in routes.documents or (routes.document,):
                obj.add_origin(document)
            obj.note(f"from {routes.kind} {routes.ref.value}")
            if routes.family == "gateway-api":
                open_order(routes, self.ir, self.out, "the translation")
            rules = in_order(routes)
            closed = False
            for rule in rules:
                if closed:
                    self.out.adds_nothing("an earlier rule takes every request", gather(rule) | rule.src, code="MP078")
                    continue
                closed = rule.everything
                index += self._rule(obj, index, rule, routes, by_port)
            if not closed and routes.unmatched == "forward" and not by_port:
                index += self._rule(obj, index, RouteRule("other", (), (), src=src), routes, by_port)
                forwards = True
            elif not closed and by_port and routes.port is not None and routes.unmatched == "refuse" and not last:
                place: Path = ("spec", "http", index)
                obj.set((*place, "name"), self._unique(f"none-{routes.port.value}"), routes.port)
                obj.set((*place, "match"), [{"port": routes.port.value}], routes.port)
                obj.set((*place, "directResponse", "status"), 404, routes.port)
                index += 1
        refused = any(routes.port is None and routes.unmatched == "refuse" for routes in self.found)  # on every port, what no rule takes
        if by_port and not forwards and not refused:
            index += self._rule(obj, index, RouteRule("other", (), (), src=src), replace(first, port=None), False)
        if not index:  # every rule is left out, so that no request meets one; Istio takes no object without a rule
            obj.set(("spec", "http", 0, "name"), "none", src)
            obj.set(("spec", "http", 0, "directResponse", "status"), 404, src)
        self._of_bytes()

    def _of_bytes(self) -> None:
        """Ports that rules are for and that Istio takes for TCP, by their name: no rule for requests acts there."""
        service = self.known
        for port in service.ports if service is not None else ():
            asked = [routes for routes in self.found if routes.port is None or routes.port.value == port.number]
            if asked and port.protocol == "TCP" and not speaks_http(port) and not (service is not None and service.is_opaque(port.number)):
                named = any(routes.port is not None for routes in asked)
                self.out.finding(
                    "MP312", document=asked[0].document, severity="error" if named else "warning",
                    affects=(Affected(self.service.namespace, self.service.name, port.number),),
                    explains=frozenset((routes_subject(routes.subject_name, port.number), "*") for routes in asked),
                    subject=self.shown, port=port.number, name=port.app_protocol or port.name, service=self.service.name,
                    namespace=self.service.namespace, object=f"{asked[0].kind} {asked[0].ref.value}",
                )  # fmt: skip

    def _as_http_routes(self) -> bool:
        """Write HTTPRoutes, where they can say all of it in the order that is meant."""
        service = self.known
        rules = [rule for routes in self.given for rule in routes.rules]
        if (
            service is None
            or any(match.others for rule in rules for match in rule.matches)
            or any(rule.filter("direct-response") for rule in rules)
        ):
            return False
        for routes in self.given:
            listed = in_order(routes)
            if routes.unmatched == "forward":
                listed.append(RouteRule("other", (), ()))
            if not rankable(listed):
                self.say("MP407", disposition=None)
                return False
        for routes in self.given:
            HTTPRoutes(self.ir, self.out, self.options, routes, service).write()
        return True

    def _by_ports(self, routes: ServiceRoutes) -> list[ServiceRoutes]:
        """The rules, once for each port where a backend has other ports than the Service: requests stay on the port they came for.

        Without a port a destination with one port gets the requests for all ports there.
        """
        known = self.known
        ports = [port for port in known.ports if port.protocol == "TCP"] if known is not None else []
        plain = {
            backend.service.value
            for rule in routes.rules
            for backend in rule.backends
            if backend.port is None and backend.service is not None and backend.service.value in self.ir.world.services
        }
        numbers = {port.number for port in ports}
        alike = all(len(there := ports_of(self.ir.world, ref)) != 1 or set(there) == numbers for ref in plain)
        if routes.port is not None or not ports or alike:
            return [routes]
        copies = []
        for port in ports:
            number = Fact(port.number, port.number_src, "routing.parent")
            rules = tuple(
                replace(
                    rule,
                    backends=tuple(backend if backend.port is not None else replace(backend, port=number) for backend in rule.backends),
                )
                for rule in routes.rules
            )
            copies.append(replace(routes, port=number, rules=rules))
        return copies

    def _needs_ports(self) -> bool:
        """Whether the rules have to say which port they are for: Linkerd leaves the other ports of the Service, known or not, alone."""
        ports = {routes.port.value for routes in self.found if routes.port is not None}
        if not ports:
            return False
        known = egress.http_ports(self.ir, self.host, self.consumer) if self.outside is not None else ports_of(self.ir.world, self.service)
        return len(self.found) > 1 or set(known) != ports

    def _of(self, routes: ServiceRoutes) -> Src:
        """The leaves that say what the rules are for."""
        return gather(routes.service if self.outside is None else routes.host)

    # -- one rule

    def _unique(self, wanted: str) -> str:
        found = naming.unique(wanted or "rule", self.names.__contains__, label=False)
        self.names.add(found)
        return found

    def _rule(self, obj: Obj, index: int, rule: RouteRule, routes: ServiceRoutes, by_port: bool) -> int:
        """Writes one rule; gives how many were written."""
        if (parts := _by_element(rule)) is not None:
            count = 0
            for part in parts:
                count += self._rule(obj, index + count, part, routes, by_port)
            return count
        place: Path = ("spec", "http", index)
        shown = rule.name or f"rule {index + 1}"
        matches = []
        for match in rule.matches:
            unsaid = [(name, fact) for name, fact in match.others if name not in ("authority", "withoutHeaders")]
            if unsaid:
                for name, fact in unsaid:
                    if name != HIDING:
                        self.lost(fact, *ASPECTS, what=f"match on {name}", rule=shown)
                self.say("MP319", match.src, aspects=ASPECTS, rule=shown, what=", ".join(name for name, _ in unsaid))
            else:
                matches.append(match)
        if rule.matches and not matches:
            self.say("MP316", rule.src, aspects=ASPECTS, rule=shown)
            return 0
        if (asked := rule.asking) is not None:
            self.say("MP333", asked, aspects=ASPECTS, rule=shown)
            self.out.ignore("its requests are refused", gather(rule) - gather(tuple(matches)))
            refusal = Filter("direct-response", (("status", Fact(403)),))
            rule = RouteRule(rule.name, rule.matches, (), (refusal,), src=rule.src)
        redirect = rule.filter("redirect")
        if redirect is not None and {what for what, _ in redirect.parts} <= {"prefix", "code"} and (lost := self._unsaid_prefix(redirect)):
            # without a new path Istio refuses the redirect, which would lead to itself
            left = "the rule is left out, and its requests go where later rules send them"
            self.say("MP325", lost, rule.src, gather(rule), aspects=ASPECTS, rule=shown, value=lost.value, outcome=left, severity="error")
            return 0
        label = next((fact for name, fact in rule.extras if name == "name"), None)
        whole = [match for match in matches if match.everything]
        obj.set(
            (*place, "name"), self._unique(slug(rule.name)), label, self._of(routes), gather(whole)
        )  # that there is no match is said by nothing else
        port = routes.port if by_port else None
        if whole:
            self.out.ignore(
                "another alternative of the rule takes every request", gather([match for match in matches if not match.everything])
            )
            matches = []
        if matches or port is not None:
            for number, match in enumerate(matches or [RouteMatch()]):
                self._match(obj, (*place, "match", number), match, port)
        self._headers(obj, (*place, "headers"), rule.filters)
        if redirect is not None:
            self._redirect(obj, (*place, "redirect"), redirect, rule, shown)
        answer = rule.filter("direct-response")
        if answer is not None:
            for what, fact in answer.parts:
                obj.set((*place, "directResponse", *what.split(".")), fact.value, fact, self._of(routes))
            sent = [item for item in rule.filters if item.kind in ("mirror", "rewrite")]
            self.out.ignore("the proxy answers by itself", gather(rule.timeout, rule.retry, rule.response_timeout, rule.idle_timeout, sent))
            return 1
        each = _backend_timeout(rule) if rule.retry is None or rule.retry.none else None  # with one try it is one for the request
        if each is not None and (rule.timeout is None or not rule.timeout.value or each.value <= rule.timeout.value):
            obj.set((*place, "timeout"), one_unit(each.value), each)
            self.out.ignore("the timeout of the one try ends the request before it", rule.timeout)
        elif rule.timeout is not None and rule.timeout.value:
            obj.set((*place, "timeout"), one_unit(rule.timeout.value), rule.timeout)
        elif rule.timeout is not None:
            self.out.imply("0 is no timeout, and none is the default", rule.timeout)
        if redirect is None:
            self._retries(obj, (*place, "retries"), rule, routes, shown)
            self._route(obj, (*place, "route"), rule, routes)
        else:
            self.out.ignore("the redirect is the answer, and nothing is tried again", gather(rule.retry))
        self._settings(rule, shown)
        shadows = 0
        for item in rule.filters:
            if item.kind in ("rewrite", "cors", "fault"):
                self._as_read(obj, (*place, "corsPolicy" if item.kind == "cors" else item.kind), item)
            elif item.kind == "mirror" and item.part("host") is not None:
                self._mirror(obj, (*place, "mirrors", shadows), item)
                shadows += 1
            elif item.kind not in ("request-headers", "response-headers", "redirect"):
                for path, fact in item.parts:
                    self.lost(fact, "filters", what=f"{item.kind} {path}", rule=shown)
        for item in (one for backend in rule.backends for one in backend.filters):
            if item.kind not in ("request-headers", "response-headers"):
                for path, fact in item.parts:
                    self.lost(fact, "filters", what=f"{item.kind} {path} of a backend", rule=shown)
        return 1

    def _settings(self, rule: RouteRule, shown: str) -> None:
        """Timeouts that Istio has not; each is named once, however many rules share it."""
        for name, fact in (("response", rule.response_timeout), ("idle", rule.idle_timeout), *rule.extras):
            if fact is not None and name != "name" and fact.src not in self.reported:
                self.reported.add(fact.src)
                value = one_unit(fact.value) if isinstance(fact.value, int) else fact.value
                self.lost(fact, "timeout", "retries", what=f"{name} timeout", rule=shown, value=value)

    def _match(self, obj: Obj, place: Path, match: RouteMatch, port: Fact[int] | None) -> None:
        if match.method is not None:
            obj.set((*place, "method"), self._string(match.method.value), match.method)
        if match.path is not None and not (match.path.value.kind in ("segments", "prefix") and match.path.value.text in ("", "/")):
            obj.set((*place, "uri"), self._uri(match.path.value), match.path)
        elif match.path is not None:
            self.out.imply("a prefix / takes every path", match.path)
        for name, fact in match.others:
            obj.set((*place, name), fact.value, fact)
        for key, values in (("headers", match.headers), ("queryParams", match.query)):
            for name, fact in values:
                obj.set((*place, key, name), self._string(fact.value), fact)
        if port is not None:
            obj.set((*place, "port"), port.value, port)

    def _uri(self, pattern: Pattern) -> dict[str, str]:
        if pattern.kind == "segments":
            return {"regex": full_regex(pattern)}
        return self._string(simplest(pattern))

    def _string(self, pattern: Pattern) -> dict[str, str]:
        if pattern.kind in ("exact", "prefix"):
            return {pattern.kind: pattern.text}
        return {"regex": full_regex(pattern)}

    def _headers(self, obj: Obj, place: Path, filters: tuple[Filter, ...]) -> None:
        for item in filters:
            if item.kind not in ("request-headers", "response-headers"):
                continue
            side = item.kind.partition("-")[0]
            removed = 0
            for what, fact in item.parts:
                action, _, name = what.partition(":")
                if action == "remove":
                    obj.set((*place, side, "remove", removed), name, fact)
                    removed += 1
                else:
                    own = self.found[0].in_envoys_words
                    obj.set((*place, side, action, name), fact.value if own else str(fact.value).replace("%", "%%"), fact)

    def _unsaid_prefix(self, redirect: Filter) -> Fact[Any] | None:
        """The new prefix of a redirect, where the release has no form for it."""
        known = self.out.knows("networking.istio.io", "VirtualService", "spec.http[].redirect.prefixRewrite")
        return None if known else redirect.part("prefix")

    def _redirect(self, obj: Obj, place: Path, item: Filter, rule: RouteRule, shown: str) -> None:
        names = {"path": "uri", "hostname": "authority", "scheme": "scheme", "port": "port", "code": "redirectCode"}
        for what, fact in item.parts:
            if what == "prefix":
                if self._unsaid_prefix(item) is None:
                    obj.set((*place, "prefixRewrite"), fact.value, fact)
                else:
                    self.say("MP325", fact, aspects=("filters",), rule=shown, value=fact.value, outcome="the path stays as it was")
            elif what in names:
                obj.set((*place, names[what]), fact.value, fact, rule.src if not fact.src else None)
        if all(what == "code" for what, _ in item.parts):  # istiod refuses one that says nothing of where to (validateHTTPRedirect)
            obj.set((*place, "derivePort"), "FROM_REQUEST_PORT", gather(item.parts), rule.src)

    def _as_read(self, obj: Obj, place: Path, item: Filter) -> None:
        """A filter whose parts go by the names that a VirtualService has for them."""
        for path, fact in item.parts:
            at: Path = place
            for step in path.split("."):
                name, listed, index = step.partition("[")
                at = (*at, name, int(index.rstrip("]"))) if listed else (*at, name)
            obj.set(at, one_unit(fact.value * 1000) if path == "maxAge" else fact.value, fact)

    def _mirror(self, obj: Obj, place: Path, item: Filter) -> None:
        for name, steps in (
            ("host", ("destination", "host")),
            ("port", ("destination", "port", "number")),
            ("percent", ("percentage", "value")),
        ):
            if (fact := item.part(name)) is not None:
                obj.set((*place, *steps), fact.value, fact)

    def _retries(self, obj: Obj, place: Path, rule: RouteRule, routes: ServiceRoutes, shown: str) -> None:
        retry = rule.retry
        if retry is None or retry.attempts is None or retry.none:
            obj.set((*place, "attempts"), 0, gather(retry.attempts) if retry and retry.attempts else self._of(routes))
            return
        obj.set((*place, "attempts"), retry.attempts.value, retry.attempts)
        words, unknown = retry_on(retry)
        if unknown:
            self.say("MP404", *retry.conditions, aspects=("retries",), disposition="approximated", rule=shown, codes=", ".join(unknown))
        per_try = retry.per_try_timeout or rule.response_timeout or _backend_timeout(rule)
        if per_try is not None:
            obj.set((*place, "perTryTimeout"), one_unit(per_try.value), per_try)
        for name, fact in retry.extras if routes.family != "linkerd" else ():
            if name == "backoff" and self.out.supports("retry.backoff"):
                obj.set((*place, "backoff"), fact.value, fact)
            else:
                self.lost(fact, "retries", what=f"retries.{name}", rule=shown)
        obj.set((*place, "retryOn"), ",".join(words) or "refused-stream", *(retry.conditions or (retry.attempts,)))
        if retry.attempts.feature == "retry.retryable":
            self._budget(retry, shown, routes)

    def _budget(self, retry: Retry, shown: str, routes: ServiceRoutes) -> None:
        """A ServiceProfile retries as long as its budget lasts; Istio needs a number of attempts, and has budgets since 1.27."""
        assert retry.attempts is not None
        if retry.attempts.src not in self.reported:
            self.reported.add(retry.attempts.src)
            self.out.gather(
                (routes.document, retry.attempts.value), "MP403", retry.attempts, document=routes.document, disposition="approximated",
                affects=self.affects, explains=self.affected(("retries",), {"rule": shown}), listed={"rules": (shown,)},
                object=f"{routes.kind} {routes.ref.value}", attempts=retry.attempts.value,
            )  # fmt: skip
        has_budget = self.out.knows("networking.istio.io", "DestinationRule", "spec.trafficPolicy.retryBudget.percent")
        has_interval = self.out.knows("networking.istio.io", "DestinationRule", "spec.trafficPolicy.retryBudget.budgetInterval")
        known = dict(retry.extras)
        if not known and has_budget:
            rule = destination_rule(self.service, self.out, self.options, gather(routes.service), document=routes.document)
            rule.set(("spec", "trafficPolicy", "retryBudget"), {"percent": 20, "minRetryConcurrency": 10}, retry.attempts)
        for name, fact in retry.extras:
            if has_budget and name in ("retryRatio", "minRetriesPerSecond"):
                rule = destination_rule(self.service, self.out, self.options, gather(routes.service), document=routes.document)
                if name == "retryRatio":
                    rule.set(("spec", "trafficPolicy", "retryBudget", "percent"), min(float(fact.value) * 100, 100.0), fact)
                else:
                    rule.set(("spec", "trafficPolicy", "retryBudget", "minRetryConcurrency"), int(fact.value), fact)
            elif name == "ttl" and has_interval:
                rule = destination_rule(self.service, self.out, self.options, gather(routes.service), document=routes.document)
                rule.set(("spec", "trafficPolicy", "retryBudget", "budgetInterval"), one_unit(milliseconds(fact.value)), fact)
            if all(not set(fact.src) <= set(item.leaves) or item.feature != fact.feature for item in self.out.findings):
                row = self.out.table.feature(fact.feature)
                cell = self.out.table.support(fact.feature, "istio", self.options.target_version) if row else None
                if cell is not None and cell.support != "native":
                    self.lost(fact, "retries", what=f"retry budget {name}", rule=shown)

    def _route(self, obj: Obj, place: Path, rule: RouteRule, routes: ServiceRoutes) -> None:
        backends = rule.backends or (Backend(routes.service, Fact(self.host), routes.port),)
        weights: list[int | None] = [None]
        if len(backends) > 1:
            weights = list(hundred([backend.weight.value if backend.weight is not None else 1 for backend in backends]))
        elif backends[0].weight is not None:
            single(routes, backends[0].weight, self.out)
        for number, (backend, weight) in enumerate(zip(backends, weights, strict=True)):
            at: Path = (*place, number)
            host = fqdn(backend.service.value, self.options) if backend.service is not None else backend.host.value
            because = gather(backend.host, backend.service) or self._of(routes)
            narrow = as_subset(self.ir.world, self.service, backend) if self.options.subsets else None
            if narrow is not None:
                name, labels, selected = narrow
                host, because = fqdn(self.service, self.options), because | selected
                subset_of(self.service, name, labels, self.out, self.options, because, document=routes.document)
                obj.set((*at, "destination", "subset"), name, because)
            obj.set((*at, "destination", "host"), host, because)
            port = self._port(backend, routes)
            if port is not None:
                obj.set((*at, "destination", "port", "number"), port, backend.port or because)
            if weight is not None:
                obj.set((*at, "weight"), weight, *(other.weight for other in backends))
            self._headers(obj, (*at, "headers"), backend.filters)
            if backend.refused and backend.service is not None:
                self.say(
                    "MP344", backend.service, disposition=None, namespace=backend.service.value.namespace, name=backend.service.value.name
                )
            elif rule.backends and backend.service is not None and backend.service.value not in self.ir.world.services:
                self._unknown(backend.service, routes)

    def _port(self, backend: Backend, routes: ServiceRoutes) -> int | None:
        """The port of a destination: the one named, or the only one of a known Service; else that of the request."""
        if backend.port is not None:
            return backend.port.value
        known = ports_of(self.ir.world, backend.service.value) if backend.service is not None else ()
        return known[0] if len(known) == 1 else None

    def _unknown(self, service: Fact[Ref], routes: ServiceRoutes) -> None:
        ref = service.value
        if all(item.code != "MP307" or f"{ref.namespace}/{ref.name} " not in item.message + " " for item in self.out.findings):
            self.say("MP307", service, disposition=None, namespace=ref.namespace, name=ref.name)


def _backend_timeout(rule: RouteRule) -> Fact[Any] | None:
    """The timeout of each request to a backend; None where there is none, or it is 0."""
    return next((fact for name, fact in rule.extras if name == "backendRequest" and fact.value), None)


def _by_element(rule: RouteRule) -> tuple[RouteRule, RouteRule] | None:
    """A redirect to another prefix of path elements as two, for the prefix itself and for what is below it: Envoy puts the new one in the place of the
    characters of a prefix, and of the whole path of any other match."""
    redirect = rule.filter("redirect")
    new = redirect.part("prefix") if redirect is not None else None
    if redirect is None or new is None or any(match.path is not None and match.path.value.kind != "segments" for match in rule.matches):
        return None
    pairs = [(match, match.path or Fact(Pattern("segments", "/"))) for match in rule.matches or (RouteMatch(),)]
    alone, below = str(new.value) or "/", str(new.value).rstrip("/") + "/"

    def part(kind: str, slash: str, name: str, value: str) -> RouteRule:
        matches = tuple(
            replace(match, path=path.holding(Pattern(kind, path.value.text.rstrip("/") + slash or "/"))) for match, path in pairs
        )
        said = tuple((name, new.holding(value)) if what == "prefix" else (what, fact) for what, fact in redirect.parts)
        return replace(rule, matches=matches, filters=tuple(replace(one, parts=said) if one is redirect else one for one in rule.filters))

    return part("exact", "", "path", alone), part("prefix", "/", "prefix", below)
