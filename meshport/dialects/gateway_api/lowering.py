"""A set of rules on its way into HTTPRoutes whose parent is a Service, and a Service for each subset that one sends to.

A route is ranked by whoever reads it, so matches are tightened until ranking chooses as the source's order did (`ranking`). What holds for a whole object
(annotations, the number of rules) makes objects of their own, named so that their order by name is the order of the rules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from meshport.dialects import naming
from meshport.dialects.gateway_api.durations import one_unit
from meshport.dialects.gateway_api.patterns import methods
from meshport.dialects.gateway_api.ranking import contained, deciding, in_order
from meshport.dialects.gateway_api.routes import may_refer
from meshport.dialects.gateway_api.service_ports import as_written, speaks_http
from meshport.dialects.gateway_api.writing import CODES, Target, shares, single, weighed, write_rule
from meshport.dialects.losses import report
from meshport.findings import Affected, Finding
from meshport.ir.authorization import Pattern
from meshport.ir.base import Fact, Ref, Src
from meshport.ir.routing import (
    Backend,
    Filter,
    RouteMatch,
    RouteRule,
    ServiceRoutes,
    acts_on,
    explains,
    gather,
    met,
    of_mesh,
    routes_subject,
)
from meshport.mapping.bound import MESH_NAMES
from meshport.values.ports import is_number

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Obj, Output
    from meshport.ir.model import ABSENT, IR
    from meshport.ir.world import Service, ServicePort

GATEWAY = "gateway.networking.k8s.io"
DORMANT = "MP379"
"""The problem of routes in the mesh that no proxy of the source follows."""
ASPECTS = ("rules", "backends", "filters", "timeout", "retries", "unmatched")
_OF_CALLERS = ("sourceLabels", "sourceNamespace")  # Istio leaves rules out for clients that none of them is for
MAX_RULES = 16
MAX_MATCHES = 64
MAX_MATCHES_TOGETHER = 128


Entry = tuple[RouteRule, list[Target], list[RouteMatch]]
"""A rule with what it sends to and the matches that it is written with."""


@dataclass(slots=True)
class RouteLowering(ABC):
    """One set of rules on its way into HTTPRoutes on a Service.

    What differs between those who read the routes is a method or a constant of a subclass: the version of the API, how the parent is named,
    which filters there are, where timeouts and retries are said, and how matches are ranked.
    """

    ir: IR
    out: Output
    options: Options
    routes: ServiceRoutes
    service: Service
    name: str = ""  # what the objects are called; as the source's object where none is given
    ports: list[int] | None = None  # the ports that speak HTTP; those that Istio would take for HTTP where none are given
    told: set[Src] = field(default_factory=set)  # what was said of facts that several rules share

    group: ClassVar[str] = ""  # of the parent reference
    linkerd: ClassVar[bool] = False  # whether regular expressions are written with anchors, as Rust wants them
    filters: ClassVar[tuple[str, ...]] = ("request-headers", "response-headers", "redirect")  # kinds that a rule may have
    second: ClassVar[str] = "mesh"  # what tells the object from one of the same name that is there already
    settings: ClassVar[tuple[str, ...]] = ()  # extras of a rule that are written
    grants: ClassVar[bool] = True  # whether a backend in another namespace needs a ReferenceGrant there

    @property
    def api(self) -> str | None:
        """The group and version of the HTTPRoutes; None where the release reads none on a Service."""
        return f"{GATEWAY}/v1"

    @property
    def anchored(self) -> bool:
        """Whether regular expressions are written with anchors, for a reader that searches."""
        return self.linkerd

    @property
    def redirects(self) -> tuple[int, ...]:
        """The codes that a redirect may answer with."""
        return CODES

    @abstractmethod
    def ranked(self, rules: Sequence[RouteRule]) -> list[list[RouteMatch]]:
        """For each rule of a first-match list the matches with which the reader chooses as the list does."""

    @property
    def place(self) -> tuple[str, int]:
        """The group and rank of the objects among all that are written."""
        return f"service {self.service.ref.name}", 30

    @property
    def affects(self) -> tuple[Affected, ...]:
        port = self.routes.port.value if self.routes.port else None
        return (Affected(self.service.ref.namespace, self.service.ref.name, port),)

    def explained(self, *aspects: str) -> frozenset[tuple[str, str]]:
        return explains(self.ir.world, self.routes, *aspects)

    def affected(self, aspects: tuple[str, ...], values: dict[str, Any]) -> frozenset[tuple[str, str]]:
        """What a loss answers for: a rule that loses what sets it apart reads back as part of another one."""
        return self.explained(*(ASPECTS if aspects and "rule" in values else aspects))

    def say(
        self, code: str, *facts: Fact[Any] | Src | None, aspects: tuple[str, ...], disposition: str | None = "dropped", **values: Any
    ) -> None:
        values = {"subject": self.routes.subject_name, "object": f"{self.routes.kind} {self.routes.ref.value}", **values}
        self.out.finding(
            code,
            *facts,
            document=self.routes.document,
            disposition=disposition,
            affects=self.affects,
            explains=self.affected(aspects, values),
            **values,
        )

    def lost(self, fact: Fact[Any], *aspects: str, **values: Any) -> Finding | None:
        values = {"subject": self.routes.subject_name, "object": f"{self.routes.kind} {self.routes.ref.value}", **values}
        return report(self.out, fact, "MP320", self.routes.document, self.affects, self.affected(aspects, values), **values)

    # -- rules

    def rules(self) -> list[RouteRule]:
        """The rules as a first-match list, without what Linkerd cannot say; what is left out is reported."""
        routes = self.routes
        rules = list(routes.rules) if routes.selection == "first" else in_order(routes.rules, routes.family)
        if routes.family != "istio" and len(routes.documents) > 1:
            names = (self.out.bundle.documents[number].leaves["metadata"]["name"] for number in routes.documents)
            self.out.decide(
                "of the routes of a Service the first by name gives its name, and goes first where they ask for as much", frozenset(names)
            )
        if routes.unmatched == "forward" and not any(rule.everything for rule in rules):
            rules.append(RouteRule("other", (), (), src=routes.service.src if routes.service else frozenset()))
        out: list[RouteRule] = []
        earlier: list[RouteMatch] = []
        closed = False
        for number, rule in enumerate(rules):
            if closed:
                self._unreached(rule, [RouteMatch()], "no request reaches this rule: an earlier one takes every request")
                continue
            kept = self._rule(rule, number)
            closed = rule.everything
            if kept is None:
                continue
            live = [match for match in kept.matches if not any(contained(match, known) for known in earlier)]
            if kept.matches and not live:
                self._unreached(
                    replace(rule, matches=kept.matches), earlier, "no request reaches this rule: earlier ones take all of its requests"
                )
                continue
            if len(live) < len(kept.matches):
                dead = tuple(match for match in kept.matches if match not in live)
                self._unreached(RouteRule("", dead, ()), earlier, "no request reaches this match: earlier rules take all of its requests")
            earlier.extend(live)
            out.append(replace(kept, matches=tuple(live)))
        return out

    def _unreached(self, rule: RouteRule, earlier: list[RouteMatch], why: str) -> None:
        """A rule, or a match, that earlier ones leave nothing. Of a VirtualService, where a lint says so, what it matches counts, and not what it does."""
        if self.out.bundle.documents[self.routes.document].kind != "VirtualService":
            self.out.adds_nothing(why, gather(rule) | rule.src, code="MP078")
            return
        ranked = self.routes.selection != "first"
        told = frozenset(leaf for match in rule.matches for leaf in deciding(match, earlier, ranked=ranked))
        self.out.decide(f"{why}, as long as it asks for this", told)
        self.out.ignore(why, (gather(rule) | rule.src) - told)

    def _rule(self, rule: RouteRule, number: int) -> RouteRule | None:
        shown = rule.name or f"number {number + 1}"
        matches: list[RouteMatch] = []
        for match in rule.matches:
            matches.extend(self._match(match, shown))
        if (
            len(matches) > 1
            and rule.filter("rewrite") is None
            and (whole := next((match for match in matches if match.everything), None)) is not None
        ):
            self.out.ignore(
                "another alternative of the rule takes every request", gather([match for match in matches if match is not whole])
            )
            matches = [whole]
        if rule.matches and not any(of_mesh(match) for match in rule.matches):
            self.out.findings[-1].leaves = tuple(sorted({*self.out.findings[-1].leaves, *rule.src, *gather(rule)}))
            return None
        if rule.matches and not matches:
            self.say("MP316", rule.src, gather(rule), aspects=ASPECTS, rule=shown)
            return None
        if (asked := rule.asking) is not None:
            return self._unasked(rule, tuple(matches), asked, shown)
        blocking = [(kind, fact) for kind, fact in rule.extras if kind == "delegate"]
        answer = rule.filter("direct-response")
        if answer is not None:
            return self._refused(rule, tuple(matches), answer, shown)
        filters: list[Filter] = []
        for item in rule.filters:
            if found := self.blocking(item):
                blocking += found
            elif item.kind in self.filters:
                filters.extend(self.filter(item, rule, shown))
            elif item.kind in ("mirror", "cors") and item.parts:  # one thing, however many settings it takes
                first = item.parts[0][1]
                self.lost(Fact(first.value, gather(item), first.feature), "filters", what=item.kind, rule=shown)
            else:
                for path, fact in item.parts:
                    self.lost(fact, "filters", what=f"{item.kind} {path}".strip(), rule=shown)
        blocking += [what for backend in rule.backends if (what := self.unreachable(backend)) is not None]
        if blocking:
            said = [self.lost(fact, *ASPECTS, what=kind, rule=shown) for kind, fact in blocking]
            error = next((item for item in said if item is not None and item.severity == "error"), None)
            if error is not None:
                error.leaves = tuple(sorted({*error.leaves, *rule.src, *gather(rule)}))
            else:
                kinds = ", ".join(dict.fromkeys(kind for kind, _ in blocking))
                self.say("MP317", rule.src, gather(rule), aspects=ASPECTS, rule=shown, what=kinds)
            return None
        extras = []
        for name, fact in rule.extras:
            if name == "name":
                for number in self.routes.documents if len(self.routes.documents) > 1 else ():
                    self.out.decide("of several routes of a Service the first by name goes before", fact.src & self.out.called(number))
                self.out.ignore("names the route in metrics; no request is treated differently", fact)
            elif name in self.settings:
                extras.append((name, fact))
            else:
                self.lost(fact, "timeout", what=name, rule=shown, value=one_unit(fact.value) if isinstance(fact.value, int) else fact.value)
        backends = tuple(replace(backend, filters=self._on_the_way(backend, rule, shown)) for backend in rule.backends)
        if len(backends) == 1 and backends[0].weight is not None:
            single(self.routes, backends[0].weight, self.out)
            backends = (replace(backends[0], weight=None),)
        times = self.times(rule, shown)
        kept = replace(rule, matches=tuple(matches), filters=tuple(filters), backends=backends, extras=tuple(extras), **times)
        return self.adapted(kept, shown)

    def _on_the_way(self, backend: Backend, rule: RouteRule, shown: str) -> tuple[Filter, ...]:
        """What is done with requests on the way to one of several destinations, as far as the reader has it."""
        kept: list[Filter] = []
        for item in backend.filters:
            if item.kind in self.filters and item.kind not in ("redirect", "cors"):
                kept.extend(self.filter(item, rule, shown))
                continue
            for path, fact in item.parts:
                self.lost(fact, "filters", what=f"{item.kind} {path} of a backend", rule=shown)
        return tuple(kept)

    def _refused(self, rule: RouteRule, matches: tuple[RouteMatch, ...], answer: Filter, shown: str) -> RouteRule:
        """A rule that answers by itself: its requests are refused, so that no later rule forwards them. Refused they are with 500, which may be what it said."""
        alike = [fact.value for _, fact in answer.parts] == [500]
        if alike:
            self.out.imply("what goes to no backend that is there is answered 500", gather(answer))
            self.out.indifferent |= self.explained(*ASPECTS)
        for _, fact in answer.parts if not alike else ():
            found = self.lost(fact, *ASPECTS, what="direct-response", rule=shown)
            if found is not None:
                found.disposition = "dropped"  # whatever it says, the requests are refused
        self.out.ignore("the proxy answers by itself", gather(rule) - gather(answer, matches))
        return RouteRule(rule.name, matches, (), (answer,), src=rule.src)

    def _unasked(self, rule: RouteRule, matches: tuple[RouteMatch, ...], asked: Fact[Any], shown: str) -> RouteRule | None:
        """A rule whose authorizer nobody asks any more: its requests are refused, for none of them was let through unasked."""
        if self.out.table.support(asked.feature, self.options.target, self.options.target_version).support == "native":
            self.say("MP333", asked, aspects=ASPECTS, rule=shown)
        else:
            self.lost(asked, *ASPECTS, what="ExternalAuth", rule=shown)
        self.out.ignore("its requests are refused", gather(rule) - gather(matches))
        return RouteRule(rule.name, matches, (), (Filter("direct-response", (("status", Fact(403)),)),), src=rule.src)

    def _match(self, match: RouteMatch, shown: str) -> list[RouteMatch]:
        """The match in words that a route has, with one entry a method; [] where it asks for something that no route can ask."""
        unsaid: list[str] = []
        error: Finding | None = None
        path = str(match.path.value) if match.path is not None else "every path"
        for key, fact in match.others:
            if key == "gateways" and "mesh" in (fact.value or ()):
                self.out.ignore("the match holds in the mesh, which is where the route is", fact)
                continue
            unsaid.append(key)
            if key != "authority":
                found = self.lost(fact, *ASPECTS, what=f"match on {key}", rule=shown, path=path)
                error = found if found is not None and found.severity == "error" else error
        for name, fact in match.headers:
            if name.startswith((":", "@")):
                self.say("MP318", fact, aspects=ASPECTS, rule=shown, header=name)
                error = self.out.findings[-1]
                unsaid.append(name)
        if unsaid == ["gateways"]:
            self.out.findings[-1].leaves = tuple(sorted({*self.out.findings[-1].leaves, *match.src}))
            return []
        if unsaid:
            if error is not None:
                error.leaves = tuple(sorted({*error.leaves, *match.src}))
            else:
                self.say("MP319", match.src, aspects=ASPECTS, rule=shown, what=", ".join(unsaid))
            return []
        if match.method is None:
            return [match]
        listed = methods(match.method.value)
        if listed is None:
            self.say("MP321", match.src, aspects=ASPECTS, rule=shown, method=str(match.method.value))
            return []
        return [replace(match, method=match.method.holding(Pattern("exact", word))) for word in listed]

    def blocking(self, item: Filter) -> list[tuple[str, Fact[Any]]]:
        """What of a filter has no form and keeps its rule from being written."""
        if item.kind != "rewrite":
            return []
        search = item.part("uriRegexRewrite.match")  # without its replacement it is nothing
        return [(item.kind, fact.also(search)) for name, fact in item.parts if name != "uriRegexRewrite.match"]

    def unreachable(self, backend: Backend) -> tuple[str, Fact[Any]] | None:
        """What of a backend no reference can name, in words, with its fact; None where one can."""
        return ("external host", backend.host) if backend.service is None else None

    def adapted(self, rule: RouteRule, shown: str) -> RouteRule:
        """The rule with its matches as its filters need them."""
        return rule

    def parted(self, entry: Entry) -> list[Entry]:
        """One rule as those that are written for it."""
        return [entry]

    def filter(self, item: Filter, rule: RouteRule, shown: str) -> list[Filter]:
        """A filter as the reader of the routes has it; [] where it is left out, with its finding."""
        return [self.portable(item, shown)]

    def portable(self, item: Filter, shown: str) -> Filter:
        """Header changes and redirects without what a proxy would only understand from its own mesh."""
        parts: list[tuple[str, Fact[Any]]] = []
        for what, fact in item.parts:
            name = what.partition(":")[2]
            text = str(fact.value)
            if item.kind != "redirect" and (
                name in ("host", ":authority")
                or (self.routes.family == "istio" and "%" in text.replace("%%", "") and not what.startswith("remove"))
            ):
                self.say("MP309", fact, aspects=("filters",), rule=shown, header=name, value=text)
            elif item.kind == "redirect" and what == "code" and fact.value not in self.redirects:
                near = 301 if fact.value == 308 else 302
                self.say("MP308", fact, aspects=("filters",), disposition="approximated", rule=shown, answer=fact.value, near=near)
                parts.append((what, fact.holding(near)))
            elif item.kind == "redirect" and what == "hostname" and ":" in text:
                host, _, port = text.partition(":")
                parts.append((what, fact.holding(host)))
                if is_number(port) and item.part("port") is None:
                    parts.append(("port", fact.holding(int(port))))
            elif item.kind == "redirect" and what not in ("scheme", "hostname", "path", "prefix", "port", "code"):
                if fact.value not in ({}, None):
                    self.lost(fact, "filters", what=f"redirect {what}", rule=shown)
            else:
                escaped = isinstance(fact.value, str) and self.routes.family == "istio"  # Envoy's own way of writing a percent sign
                parts.append((what, fact.map(lambda value: value.replace("%%", "%")) if escaped else fact))
        return Filter(item.kind, tuple(parts))

    @abstractmethod
    def times(self, rule: RouteRule, shown: str) -> dict[str, Any]:
        """`timeout` and `retry` of the rule as far as the reader of the routes has them."""

    def annotations(self, rule: RouteRule, reasons: list[RouteRule] | None = None) -> dict[str, tuple[str, tuple[Any, ...]]]:
        """The annotations that a rule needs; compared by value, and with `reasons` because of all rules that share the object."""
        return {}

    @abstractmethod
    def silent(self) -> None:
        """Say what becomes of what the source does unasked, for rules that say nothing of retries."""

    # -- backends

    def target(self, backend: Backend, port: int, rule: RouteRule) -> Ref | None:
        """The Service that a backend is: its own, or the one made for its subset. None where it cannot be made."""
        assert backend.service is not None
        ref = backend.service.value
        known = self.ir.world.services.get(ref)
        if backend.refused:
            self.once("MP344", backend.service, name=ref.name, namespace=ref.namespace)
            return ref
        if backend.subset is None:
            if known is None:
                self.once("MP307", backend.service, namespace=ref.namespace, name=ref.name)
            return ref
        subset = backend.subset.value
        if backend.labels is None:
            self.once("MP304", backend.subset, backend.service, subset=subset, host=backend.host.value)
            return Ref(ref.namespace, naming.unique(f"{ref.name}-{subset}", lambda name: self._is_service(Ref(ref.namespace, name))))
        if known is None or known.selector is None:
            self.once(
                "MP301",
                backend.subset,
                backend.labels.src,
                rule.src,
                namespace=ref.namespace,
                name=ref.name,
                why=f"its subset {subset} needs a Service of its own",
            )
            return None
        if not backend.labels.labels:
            return ref
        return self._subset_service(known, backend)

    def _is_service(self, ref: Ref) -> bool:
        """Whether a name is that of a Service: requests sent there would not fail."""
        return ref in self.ir.world.services or ("", "Service", ref) in self.out.objects

    def once(self, code: str, *facts: Fact[Any] | Src, **values: Any) -> None:
        """A finding that is said once, however many ports and rules ask."""
        aspects = () if code in ("MP307", "MP344") else ASPECTS
        before = len(self.out.findings)
        self.say(code, *facts, aspects=aspects, disposition=None if code in ("MP307", "MP344") else "dropped", **values)
        added = self.out.findings[before]
        for known in self.out.findings[:before]:
            if (known.code, known.message, known.document) == (added.code, added.message, added.document):
                known.leaves = tuple(sorted({*known.leaves, *added.leaves}))
                known.explains |= added.explains
                del self.out.findings[before]
                return

    def _subset_service(self, known: Service, backend: Backend) -> Ref:
        assert backend.labels is not None and backend.subset is not None
        selector = {**(known.selector or {}), **dict(backend.labels.labels)}
        first = naming.name(known.ref.name, backend.subset.value)
        ref = Ref(known.ref.namespace, first)
        for candidate in (first, naming.name(first, "subset"), naming.name(first, "subset", "of", known.ref.name)):
            ref = Ref(known.ref.namespace, candidate)
            there = self.ir.world.services.get(ref)
            made = self.out.objects.get(("", "Service", ref))
            if there is not None and there.selector == selector and there.given == known.given:
                return ref
            if there is None and (made is None or made.value.get("spec", {}).get("selector") == selector):
                break
        because = (backend.subset, backend.labels.src)
        obj = self.out.object(
            "v1", "Service", ref, owner=self.routes.document, group=f"service {known.ref.name}", rank=21, because=gather(*because)
        )
        if "spec" not in obj.value:
            for key in sorted(selector):
                obj.set(("spec", "selector", key), selector[key], *because, known.src)
            for number, port in enumerate(known.ports):
                obj.set(("spec", "ports", number), as_written(port, known_words=self.linkerd), port.src)
            for key, fact in known.endpoints:
                obj.set(("spec", key), fact.value, fact)
            obj.note(f"subset {backend.subset.value} of Service {known.ref}")
        return ref

    def write(self) -> None:
        """Write the routes, or say why there are none."""
        api = self.api
        if api is None:
            self.say("MP302", self.routes.src | gather(self.routes.rules), aspects=ASPECTS, version=self.options.target_version)
            return
        asked = self.routes.port
        if asked is not None and self.service.ports and self.service.port(asked.value) is None:
            what = f"port {asked.value} of Service {self.service.ref}"
            self.say("MP014", self.routes.src | gather(self.routes.rules), aspects=ASPECTS, disposition="invalid", what=what, lack=ABSENT)
            return
        rules = self.rules()
        http = self.ports if self.ports is not None else [port.number for port in self.service.ports if self.carries(port)]
        ports = [port for port in ([asked.value] if asked is not None else http) if not self.service.is_opaque(port)]
        self._bytes_of_a_split([port.number for port in self.service.ports if port.protocol == "TCP" and port.number not in ports])
        if not ports:
            self.say("MP305", self.routes.src | gather(self.routes.rules), aspects=ASPECTS)
            return
        before = len(self.out.objects)
        chosen, ranked = set[int](), set[int]()
        for port in ports:
            here, reached = self._port(api, rules, port, len(ports) > 1)
            chosen |= here
            ranked |= reached
        for number in sorted(chosen - ranked):
            self.out.adds_nothing("on each port an earlier rule takes every request", gather(rules[number]), code="MP078")
        if len(self.out.objects) == before:
            self._unwritten()
        if any(not _said(self.routes, rule) and not rule.answers for rule in rules):
            self.silent()

    def carries(self, port: ServicePort) -> bool:
        """Whether the source mesh follows the rules on a port: Istio where it takes it for HTTP, who looks at what passes on each."""
        return speaks_http(port) or (port.protocol == "TCP" and self.routes.family not in ("istio", "smi"))

    def _bytes_of_a_split(self, others: list[int]) -> None:
        """A TrafficSplit is for connections as well as for requests; a route for requests is not."""
        if self.routes.family == "smi" and self.routes.port is None and others and self.options.target in ("linkerd", "gateway-api"):
            self.say("MP343", aspects=(), disposition=None, ports=", ".join(str(port) for port in others))
            self.out.findings[-1].explains = frozenset((routes_subject(self.routes.subject_name, port), "*") for port in others)

    def _unwritten(self) -> None:
        """Where none of the rules could be written, what they are for is lost with them: the finding of the last one names it."""
        for finding in reversed(self.out.findings):
            if finding.document == self.routes.document and finding.disposition == "dropped":
                finding.leaves = tuple(sorted({*finding.leaves, *gather(self.routes.service, self.routes.host, self.routes.port)}))
                return

    def _port(self, api: str, rules: list[RouteRule], port: int, several: bool) -> tuple[set[int], set[int]]:
        """Write the rules of one port. The numbers of the rules that are for it, and of those that requests come to."""
        chosen: list[tuple[RouteRule, list[Target]]] = []
        kept: list[int] = []
        for number, rule in enumerate(rules):
            matches = [replace(match, port=None) for match in rule.matches if match.port is None or match.port.value == port]
            if rule.matches and not matches:
                continue
            targets = self._targets(rule, port)
            if targets is not None:
                chosen.append((replace(rule, matches=tuple(matches)), targets))
                kept.append(number)
        if not chosen and self._closes(port):
            closed = RouteRule("refused", (), (), (Filter("direct-response", (("status", Fact(404)),)),), src=self.routes.src)
            self._object(api, self._name(several, port, 1), port, [(closed, self.refusing(closed, port), [])])
            return set(), set()
        matches_of = self.ranked([rule for rule, _ in chosen])
        reached = {number for number, matches in zip(kept, matches_of, strict=True) if matches}
        entries = [
            part
            for (rule, targets), matches in zip(chosen, matches_of, strict=True)
            if matches
            for part in self.parted((rule, targets, matches))
        ]
        if any(len(matches) > MAX_MATCHES for _, _, matches in entries):
            self.say("MP322", self.routes.src | gather(self.routes.rules), aspects=ASPECTS)
            return set(kept), reached
        runs: list[list[Entry]] = []
        for entry in entries:
            alike = bool(runs) and self.annotations(runs[-1][-1][0]) == self.annotations(entry[0]) and len(runs[-1]) < MAX_RULES
            if alike and sum(len(matches) for _, _, matches in (*runs[-1], entry)) <= MAX_MATCHES_TOGETHER:
                runs[-1].append(entry)
            else:
                runs.append([entry])
        base = self._name(several, port, len(runs))
        for name, run in zip(_numbered(base, len(runs)), runs, strict=True):
            self._object(api, name, port, run)
        return set(kept), reached

    def _closes(self, port: int) -> bool:
        """Whether what no rule took on a port was answered 404, and now that none of its rules could be written would reach the Service. With a finding."""
        routes = self.routes
        matches = [[one for one in rule.matches or (RouteMatch(),) if one.port is None or one.port.value == port] for rule in routes.rules]
        whole = any(of_mesh(one) and met(replace(one, port=None)).everything for listed in matches for one in listed)
        told = [one for listed in matches for one in listed if not any(name in _OF_CALLERS for name, _ in one.others)]
        if routes.unmatched != "refuse" or not port or whole or not told or not acts_on(routes, port):
            return False
        closing = self.options.on_loss != "looser"
        self.once("MP331" if closing else "MP332", port=port)
        return closing

    def _targets(self, rule: RouteRule, port: int) -> list[Target] | None:
        if rule.filter("direct-response") is not None:
            return self.refusing(rule, port)
        backends = rule.backends or self.itself(rule)
        ports: list[int | None] = []  # a subset has those of its Service
        refs: list[Ref] = []
        for backend in backends:
            if backend.port is not None:
                ports.append(backend.port.value)
            else:
                ports.append(self.port_at(backend.service.value, port) if backend.service is not None else port)
        if None in ports:
            return None
        for backend in backends:
            ref = self.target(backend, port, rule)
            if ref is None:
                return None
            refs.append(ref)
        weights: list[int | None] = [None]
        if len(backends) > 1:
            weights = list(shares([backend.weight.value if backend.weight is not None else 0 for backend in backends]))
            backends = weighed(self.routes, backends, self.out)
        return [
            Target(
                ref,
                number,
                weight,
                backend,
                gather(backend.host, backend.subset, backend.labels, self.routes.host),
                self.referred(backend),
            )
            for ref, number, backend, weight in zip(refs, ports, backends, weights, strict=False)
        ]

    def referred(self, backend: Backend) -> tuple[str, str] | None:
        """Group and kind of what a backend is, where it is no Service."""
        return None

    def port_at(self, ref: Ref, port: int) -> int | None:
        """The port of a backend that names none: that of the request."""
        return port

    def refusing(self, rule: RouteRule, port: int) -> list[Target]:
        """Where the requests of a rule go that answers by itself: without a backend they are refused."""
        return []

    def itself(self, rule: RouteRule) -> tuple[Backend, ...]:
        """The backends of a rule that names none, whose requests go to the Service itself."""
        return () if rule.answers or self.routes.service is None else (Backend(self.routes.service, self.routes.host),)

    def _name(self, several: bool, port: int, runs: int) -> str:
        """A name for the objects of these rules that nothing else has: that of the source object, wherever it will do."""
        fallback = self.service.ref.name if self.routes.kind == "ServiceProfile" else self.routes.ref.value.name
        own = self.name or fallback
        own = own if self.routes.hosts == 1 else f"{own}-{self.service.ref.name}"
        own += f"-{port}" if several else ""
        own = own if len(own) <= 250 else naming.name(own)
        for candidate in (
            own,
            f"{own}-{self.second}",
            naming.name(own, "of", self.routes.ref.value.namespace),
            naming.name(own, "to", self.service.ref.name),
        ):
            if all(self._free(name) for name in _numbered(candidate, runs)):
                return candidate
        return naming.name(own, str(self.routes.document))

    def _free(self, name: str) -> bool:
        ref = Ref(self._namespace(), name)
        group = (self.api or GATEWAY).partition("/")[0]
        taken = self.out.bundle_object(group, "HTTPRoute", ref)
        return (group, "HTTPRoute", ref) not in self.out.objects and (taken is None or taken in self.routes.documents)

    def _namespace(self) -> str:
        return self.routes.consumer.value if self.routes.consumer is not None else self.service.ref.namespace

    def _object(self, api: str, name: str, port: int, run: list[Entry]) -> None:
        routes = self.routes
        obj = self.out.object(
            api, "HTTPRoute", Ref(self._namespace(), name), owner=routes.document, group=self.place[0], rank=self.place[1],
            because=gather(routes.ref, routes.consumer),
        )  # fmt: skip
        for document in routes.documents:
            obj.add_origin(document)
        self.parents(obj, port)
        for key, (value, facts) in self.annotations(run[0][0], reasons=[rule for rule, _, _ in run]).items():
            obj.set(("metadata", "annotations", key), value, *facts)
        for index, (rule, targets, matches) in enumerate(run):
            if not targets:
                self.out.imply("a prefix / takes every path", gather([match for match in matches if match.everything]))
            root = rule.src if len(routes.rules) == 1 and not rule.matches and not targets else gather(routes.service)
            write_rule(obj, index, matches, targets, rule.filters, rule.timeout, root, linkerd=self.anchored)
            self.finish(obj, ("spec", "rules", index), rule)
            if self.grants:
                self.granted(obj, rule, targets)
        obj.note(f"from {routes.kind} {routes.ref.value}")
        for number in routes.documents:
            other = self.out.bundle.documents[number]
            if other.kind == "TrafficSplit" and routes.kind != other.kind:
                obj.note(f"with the weights of TrafficSplit {Ref(other.namespace or '', other.name)}")

    def granted(self, obj: Obj, rule: RouteRule, targets: list[Target]) -> None:
        """What lets the route send to Services of other namespaces: without it their share of the requests is answered 500."""
        wanted = [(target.ref, target.because | gather(target.backend.host)) for target in targets if not target.backend.refused]
        for item in rule.filters:
            host = item.part("host") if item.kind == "mirror" else None
            if host is not None and isinstance(host.value, Ref):
                wanted.append((host.value, host.src))
        for ref, because in wanted:
            if ref.namespace != obj.ref.namespace and not _may_refer(self.out, obj, ref):
                place = Ref(ref.namespace, naming.unique(obj.ref.name, partial(_others_grant, self.out, obj, ref.namespace)))
                grant = self.out.object(
                    f"{GATEWAY}/v1beta1", "ReferenceGrant", place, owner=self.routes.document, group=f"service {ref.name}", rank=29,
                    because=because,
                )  # fmt: skip
                said = grant.value.setdefault("spec", {})
                senders = said.get("from", [])
                if all(entry["kind"] != obj.kind for entry in senders):
                    grant.set(("spec", "from", len(senders)), {"group": GATEWAY, "kind": obj.kind, "namespace": obj.ref.namespace}, because)
                listed = [entry.get("name") for entry in said.get("to", [])]
                if ref.name not in listed:
                    grant.set(("spec", "to", len(listed)), {"group": "", "kind": "Service", "name": ref.name}, because)

    def parents(self, obj: Obj, port: int) -> None:
        """Name the Service as what the route is for."""
        routes = self.routes
        because = (routes.service, routes.host)
        parent = ("spec", "parentRefs", 0)
        obj.set((*parent, "group"), self.group, *because)
        obj.set((*parent, "kind"), "Service", *because)
        obj.set((*parent, "name"), self.service.ref.name, *because)
        if self._namespace() != self.service.ref.namespace:
            obj.set((*parent, "namespace"), self.service.ref.namespace, *because)
        known = self.service.port(port)
        asked = [match.port for rule in routes.rules for match in rule.matches if match.port is not None]
        if self.names_port(port):
            obj.set((*parent, "port"), port, *because, routes.port, known.number_src if known else None, *asked)
        else:
            self.out.imply("the Service has no other port that the route could be for", routes.port, *asked)

    def names_port(self, port: int) -> bool:
        """Whether the parent is named with its port."""
        return True

    @abstractmethod
    def finish(self, obj: Obj, place: tuple[str | int, ...], rule: RouteRule) -> None:
        """Write what a rule has beside matches, filters, backends and the timeout of the request."""


def attachable(routes: ServiceRoutes, seen: dict[tuple[Ref, str], ServiceRoutes], ir: IR, say: Callable[..., None]) -> Service | None:
    """The Service that the rules can be attached to; None where there is none, after `say(code, ...)` has said why."""
    consumer = routes.consumer.value if routes.consumer is not None else ""
    if routes.service is None:
        no_service(routes, say)
    elif routes.kind == "VirtualService" and routes.protocol == "http" and (routes.service.value, consumer) in seen:
        say("MP311", because=routes.ref, other=str(seen[routes.service.value, consumer].ref.value))  # whose name or age goes before
    elif (service := ir.world.services.get(routes.service.value)) is None:
        ref = routes.service.value
        say("MP301", namespace=ref.namespace, name=ref.name, why="its ports and selector are unknown")
    elif service.headless or service.external_name:
        say("MP303", what="headless" if service.headless else "of type ExternalName")
    else:
        if routes.protocol not in ("tls", "tcp"):
            seen[routes.service.value, consumer] = routes
        return service
    return None


def no_service(routes: ServiceRoutes, say: Callable[..., None]) -> None:
    """Say that rules for a host that is no Service are left out; of one outside that the mesh knows, what ends with them."""
    through = [gateway.value for gateway in routes.gateways if gateway.value != "mesh"]
    if through and any(one.host.value.lower() == routes.host.value.lower() for rule in routes.rules for one in rule.backends):
        say("MP390", host=routes.host.value, gateways=", ".join(through))  # a way in would send to Services alone
        return
    if routes.beyond is None:
        say("MP310", host=routes.host.value or "(a delegate without hosts)")
        return
    own = routes.host.value.lower()
    rules = routes.rules
    elsewhere = any(one.service is not None or one.host.value.lower() != own or one.subset for rule in rules for one in rule.backends)
    gone = {
        "the choice by path, headers or method": any(not rule.everything for rule in rules),
        "the way to other destinations": elsewhere,
        "retries": any(rule.retry is not None and not rule.retry.none for rule in rules),
        "timeouts": any(rule.timeout or rule.response_timeout or rule.idle_timeout for rule in rules),
        **{f"what they do on the way ({kind})": True for kind in sorted({item.kind for rule in rules for item in rule.filters})},
    }
    listed = [what for what, there in gone.items() if there]
    if routes.family == "linkerd" and listed == [next(iter(gone))]:
        return  # the way out that asks for more than a host is named where the others are opened
    bare = not listed
    listed = listed or ["nothing but Istio's own retries"]
    graver = elsewhere or any(rule.answers or rule.filter("rewrite") or not rule.everything for rule in rules)
    say("MP392", host=routes.host.value, what=", ".join(listed), severity="error" if graver else "info" if bare else "warning")


def dormant(item: ServiceRoutes, ir: IR, out: Output) -> None:
    """Take a route away that no proxy of the source followed: the target's would."""
    every = [routes for routes in ir.routes if {item.document, *item.documents} & {routes.document, *routes.documents}]
    if item.problem == DORMANT and all(routes.problem == DORMANT for routes in every):
        for number in item.documents or (item.document,):
            out.remove(number, "no proxy followed it; it would act once one does")


def speaker(routes: ServiceRoutes, ir: IR, out: Output) -> Callable[..., None]:
    """What says a finding about a whole set of rules: `say(code, disposition, **values)`."""
    shown: dict[str, Any] = {"subject": routes.subject_name, "object": f"{routes.kind} {routes.ref.value}"}
    place = routes.service.value if routes.service is not None else None
    affects = (Affected(place.namespace, place.name, routes.port.value if routes.port else None),) if place is not None else ()
    every = explains(ir.world, routes, *ASPECTS)

    def say(code: str, disposition: str | None = "dropped", because: Fact[Any] | None = None, **values: Any) -> None:
        out.finding(
            code,
            routes.src | gather(routes.rules),
            because,
            document=routes.document,
            disposition=disposition,
            affects=affects,
            explains=every,
            **{**shown, "mesh": MESH_NAMES.get(out.target, out.target), **values},
        )

    return say


def of_the_mesh(routes: ServiceRoutes, out: Output) -> None:
    """Account for the name of the mesh among gateways, and for who sees the rules."""
    place = routes.service.value if routes.service is not None else None
    affects = (Affected(place.namespace, place.name, None),) if place is not None else ()
    for gateway in routes.gateways:
        if gateway.value == "mesh" and len(routes.gateways) > 1:
            out.imply("clients in the mesh follow it, as they follow every route on a Service", gateway)
        elif gateway.value == "mesh":
            out.ignore("mesh is what a VirtualService is bound to when it names no gateway", gateway)
    for fact in routes.exports if routes.consumer is None else ():
        if fact.value == "*":
            out.ignore("visible everywhere is the default", fact)
        else:
            report(
                out, fact, "MP323", routes.document, affects, frozenset(),
                subject=routes.subject_name, object=f"{routes.kind} {routes.ref.value}",
            )  # fmt: skip


def _others_grant(out: Output, route: Obj, namespace: str, name: str) -> bool:
    """Whether a ReferenceGrant of this name is the input's, or one for routes of another namespace."""
    made = out.objects.get((GATEWAY, "ReferenceGrant", Ref(namespace, name)))
    senders = made.value.get("spec", {}).get("from", []) if made is not None else []
    return out.bundle_object(GATEWAY, "ReferenceGrant", Ref(namespace, name)) is not None or any(
        item["namespace"] != route.ref.namespace for item in senders
    )


def _may_refer(out: Output, route: Obj, ref: Ref) -> bool:
    """Whether a ReferenceGrant of the input lets routes of that namespace send to a Service."""
    return any(
        may_refer(document.value.get("spec") or {}, route.kind, route.ref.namespace, ref.name)
        for document in out.bundle.documents
        if document.kind == "ReferenceGrant" and document.namespace == ref.namespace
    )


def _numbered(base: str, runs: int) -> list[str]:
    """Names whose order by name is the order of the rules; one object has the plain name."""
    width = len(str(runs))
    return [base] if runs == 1 else [f"{base}-{number:0{width}d}" for number in range(1, runs + 1)]


def _said(routes: ServiceRoutes, rule: RouteRule) -> bool:
    """Whether the source said something about the rule's retries."""
    return any(item.name == rule.name and item.src == rule.src and item.retry is not None for item in routes.rules)
