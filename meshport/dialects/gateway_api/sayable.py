"""What of a set of rules on a Service a reader of HTTPRoutes can be told: a first-match list of rules, and a finding for each thing that is left out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from meshport.dialects.gateway_api.durations import one_unit
from meshport.dialects.gateway_api.patterns import methods
from meshport.dialects.gateway_api.ranking import contained, deciding, form, in_order
from meshport.dialects.gateway_api.stems import Stems
from meshport.dialects.gateway_api.writing import CODES, single
from meshport.dialects.losses import report
from meshport.findings import Affected, Finding
from meshport.ir.authorization import Pattern
from meshport.ir.base import Fact, Src
from meshport.ir.routing import (
    Backend,
    Filter,
    RouteMatch,
    RouteRule,
    ServiceRoutes,
    explains,
    gather,
    of_mesh,
)
from meshport.values.ports import is_number

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR
    from meshport.ir.world import Service

ASPECTS = ("rules", "backends", "filters", "timeout", "retries", "unmatched")


@dataclass(slots=True)
class SayableRules(ABC):
    """One set of rules on a Service, and what of it those can be told who read the routes.

    What differs between them is a method or a constant of a subclass: the version of the API, which filters there are, where timeouts and retries are said.
    """

    ir: IR
    out: Output
    options: Options
    routes: ServiceRoutes
    service: Service
    told: set[Src] = field(default_factory=set)  # what was said of facts that several rules share
    taken: Stems[RouteMatch] = field(default_factory=Stems)  # what the rules before the one that is looked at match

    linkerd: ClassVar[bool] = False  # whether regular expressions are written with anchors, as Rust wants them
    filters: ClassVar[tuple[str, ...]] = ("request-headers", "response-headers", "redirect")  # kinds that a rule may have
    settings: ClassVar[tuple[str, ...]] = ()  # extras of a rule that are written

    def demands(self, name: str, value: Any) -> bool:
        """Whether the reader of the routes knows a demand that no route of the Gateway API makes."""
        return False

    @property
    def anchored(self) -> bool:
        """Whether regular expressions are written with anchors, for a reader that searches."""
        return self.linkerd

    @property
    def redirects(self) -> tuple[int, ...]:
        """The codes that a redirect may answer with."""
        return CODES

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
        rules = in_order(routes)
        alike = [number for number in routes.documents if self.out.bundle.documents[number].kind == routes.kind]
        if routes.family != "istio" and len(alike) > 1:
            names = (self.out.called(number, "name") for number in alike)
            self.out.decide(
                "of the routes of a Service the first by name gives its name, and goes first where they ask for as much", *names
            )
        if routes.unmatched == "forward" and not any(rule.everything for rule in rules):
            rules.append(RouteRule("other", (), (), src=routes.service.src if routes.service else frozenset()))
        out: list[RouteRule] = []
        earlier: list[RouteMatch] = []
        self.taken = Stems()
        closed = False
        nowhere = all(rule.matches and all(map(self.absent, rule.matches)) for rule in rules)
        for number, rule in enumerate(rules):
            if dead := tuple(match for match in rule.matches if self.absent(match)):
                rule = self._without(rule, dead, alone=nowhere)
                if not rule.matches:
                    continue
            if closed:
                self._unreached(rule, [RouteMatch()], "no request reaches this rule: an earlier one takes every request")
                continue
            kept = self._rule(rule, number)
            closed = rule.everything
            if kept is None:
                continue
            live = [match for match in kept.matches if not any(contained(match, known) for known in self.taken.around(match))]
            if kept.matches and not live:
                self._unreached(
                    replace(rule, matches=kept.matches), earlier, "no request reaches this rule: earlier ones take all of its requests"
                )
                continue
            if len(live) < len(kept.matches):
                dead = tuple(match for match in kept.matches if match not in live)
                self._unreached(RouteRule("", dead, ()), earlier, "no request reaches this match: earlier rules take all of its requests")
            earlier.extend(live)
            for match in live:
                self.taken.add(match, match)
            out.append(replace(kept, matches=tuple(live)))
        return out

    def absent(self, match: RouteMatch) -> bool:
        """Whether a match is for a port that is not there, or for bytes, so that no request is one of it."""
        return False

    def _without(self, rule: RouteRule, dead: tuple[RouteMatch, ...], *, alone: bool) -> RouteRule:
        """A rule without matches for ports that are not there: the port decides, and the rest adds nothing."""
        left = replace(rule, matches=tuple(match for match in rule.matches if match not in dead))
        self.out.decide("the Service has no such port for requests", gather([match.port for match in dead]))
        over = gather(dead) if left.matches else gather(rule) | rule.src
        if not left.matches and alone:
            over |= gather(self.routes.service, self.routes.host)
        self.out.adds_nothing("the Service has no such port for requests", over)
        return left

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
        if len(matches) > 1 and (whole := next((match for match in matches if match.everything), None)) is not None:
            behind = matches[matches.index(whole) + 1 :] if self.routes.selection == "first" else []
            over = [match for match in matches if match is not whole] if rule.filter("rewrite") is None else behind
            self.out.ignore("another alternative of the rule takes every request", gather(over))
            matches = [match for match in matches if match not in over]
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
        for given in rule.filters:
            for path, fact in given.idle:
                (self.out.decide if "percent" in path else self.out.ignore)("it is for 0 % of the requests", fact)
            if not (item := given.acting).parts:
                continue
            if found := self.blocking(item):
                blocking += found
            elif item.kind in self.filters:
                filters.extend(self.filter(item, rule, shown))
            elif item.kind in ("mirror", "cors") and item.parts:  # one thing, however many settings it takes
                first = item.parts[0][1]
                self.lost(Fact(first.value, gather(item), first.feature), "filters", what=item.kind, rule=shown)
            elif item.kind == "fault":
                for fault in faults(item):
                    self.lost(fault, "filters", what=item.kind, rule=shown)
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
        else:  # one answer, whatever it is made of
            said = answer.parts[0][1]
            shortly = f"{said.value}{' with its body' if len(answer.parts) > 1 else ''}"
            found = self.lost(Fact(shortly, gather(answer), said.feature), *ASPECTS, what="direct-response", rule=shown)
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
            if self.demands(key, fact.value):
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
        """What of a filter has no form and keeps its rule from being written: with its old path a request goes astray, with its old host alone it arrives."""
        if item.kind != "rewrite" or all(name == "authority" for name, _ in item.parts):
            return []
        besides = ("authority", "uriRegexRewrite.match")  # what goes with a new path: the host, and the expression that it replaces
        also = [fact for name, fact in item.parts if name in besides]
        return [(item.kind, fact.also(*also)) for name, fact in item.parts if name not in besides]

    def unreachable(self, backend: Backend) -> tuple[str, Fact[Any]] | None:
        """What of a backend no reference can name, in words, with its fact; None where one can."""
        return ("a host outside the cluster", backend.host) if backend.service is None else None

    def adapted(self, rule: RouteRule, shown: str) -> RouteRule:
        """A prefix that is to be replaced is one of path elements; a prefix of characters becomes the nearest of those."""
        swap = next((item for item in rule.filters if item.kind in ("rewrite", "redirect") and item.part("prefix") is not None), None)
        if swap is None:
            return rule
        new = swap.part("prefix")
        assert new is not None
        roots = [match for match in rule.matches or (RouteMatch(),) if match.path is None or match.path.value.text in ("", "/")]
        if roots and not str(new.value).endswith("/") and form(roots[0])[0] == "prefix":
            self.say(
                "MP329", new, aspects=ASPECTS, disposition="approximated", rule=shown, prefix="/", kind=swap.kind
            )  # no slash would follow the new one
        matches = []
        for match in rule.matches:
            if match.path is not None and match.path.value.kind == "prefix" and match.path.value.text.rstrip("/"):
                text = match.path.value.text
                stem = replace(
                    match, path=match.path.holding(Pattern("exact", text.rstrip("/")))
                )  # all that elements take beside what is below a slash
                if not text.endswith("/") or not any(contained(stem, known) for known in self.taken.around(stem)):
                    self.say("MP329", match.path, aspects=ASPECTS, disposition="approximated", rule=shown, prefix=text, kind=swap.kind)
                match = replace(match, path=match.path.holding(Pattern("segments", text.rstrip("/"))))
            matches.append(match)
        filters = rule.filters
        if rule.matches and all(match.path is not None and match.path.value.text.endswith("/") for match in rule.matches):
            # the slash goes from both: some implementations write what follows behind it
            bare = tuple(
                (name, fact.map(lambda text: str(text).rstrip("/") or "/") if name == "prefix" else fact) for name, fact in swap.parts
            )
            filters = tuple(replace(item, parts=bare) if item is swap else item for item in filters)
        return replace(rule, matches=tuple(matches), filters=filters)

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
                or (self.routes.in_envoys_words and "%" in text.replace("%%", "") and not what.startswith("remove"))
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
                escaped = isinstance(fact.value, str) and self.routes.in_envoys_words  # Envoy's own way of writing a percent sign
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


def faults(item: Filter) -> list[Fact[Any]]:
    """The delay and the failure that a filter injects, each one thing with the share of the requests that get it."""
    found: list[Fact[Any]] = []
    for kind in dict.fromkeys(path.partition(".")[0] for path, _ in item.parts):
        parts = [(path, fact) for path, fact in item.parts if path.partition(".")[0] == kind]
        main = next((fact for path, fact in parts if "percent" not in path), parts[0][1])
        share = next((fact.value for path, fact in parts if "percent" in path and fact is not main), None)
        said = f"{main.value} for {share} % of the requests" if share is not None else main.value
        found.append(Fact(said, gather(tuple(fact for _, fact in parts)), main.feature))
    return found
