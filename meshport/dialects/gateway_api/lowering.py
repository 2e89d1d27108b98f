"""A set of rules written as HTTPRoutes whose parent is a Service, and a Service for each subset that one sends to.

A route is ranked by whoever reads it, so matches are tightened until ranking chooses as the source's order did (`ranking`). What holds for a whole object
(annotations, the number of rules) makes objects of their own, named so that their order by name is the order of the rules.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from meshport.dialects import naming
from meshport.dialects.gateway_api.forwarding import may_refer
from meshport.dialects.gateway_api.ranking import MOST_ADDED, contained, form
from meshport.dialects.gateway_api.sayable import ASPECTS, SayableRules
from meshport.dialects.gateway_api.service_ports import as_written, sends_alike, speaks_http
from meshport.dialects.gateway_api.writing import Target, shares, weighed, write_rule
from meshport.ir.base import Fact, Ref, Src
from meshport.ir.model import ABSENT
from meshport.ir.routing import (
    Backend,
    Filter,
    RouteMatch,
    RouteRule,
    ServiceRoutes,
    acts_on,
    gather,
    met,
    of_mesh,
    routes_subject,
)

if TYPE_CHECKING:
    from meshport.dialects.output import Obj, Output
    from meshport.ir.world import Service, ServicePort

GATEWAY = "gateway.networking.k8s.io"
_OF_CALLERS = ("sourceLabels", "sourceNamespace")  # Istio leaves rules out for clients that none of them is for
MAX_RULES = 16
MAX_MATCHES = 64
MAX_MATCHES_TOGETHER = 128


Entry = tuple[RouteRule, list[Target], list[RouteMatch]]
"""A rule with what it sends to and the matches that it is written with."""


@dataclass(slots=True)
class RouteLowering(SayableRules):
    """One set of rules on its way into HTTPRoutes on a Service.

    What differs between those who read the routes is a method or a constant of a subclass: how the parent is named, and how matches are ranked.
    """

    name: str = ""  # what the objects are called; as the source's object where none is given
    ports: list[int] | None = None  # the ports that speak HTTP; those that Istio would take for HTTP where none are given

    kind: str = "HTTPRoute"  # of the objects

    group: ClassVar[str] = ""  # of the parent reference
    second: ClassVar[str] = "mesh"  # what tells the object from one of the same name that is there already
    grants: ClassVar[bool] = True  # whether a backend in another namespace needs a ReferenceGrant there
    alone: ClassVar[bool] = True  # whether what none of the rules takes is answered 404, for no other routes are asked

    @property
    def api(self) -> str | None:
        """The group and version of the HTTPRoutes; None where the release reads none on a Service."""
        return f"{GATEWAY}/v1"

    @abstractmethod
    def ranked(self, rules: Sequence[RouteRule]) -> list[list[RouteMatch]]:
        """For each rule of a first-match list the matches with which the reader chooses as the list does."""

    @property
    def place(self) -> tuple[str, int]:
        """The group and rank of the objects among all that are written."""
        return f"service {self.service.ref.name}", 30

    def parted(self, entry: Entry) -> list[Entry]:
        """One rule as those that are written for it: where it replaces a prefix, one for each match, as the API server wants it."""
        rule, targets, matches = entry
        swap = next((item for item in rule.filters if item.kind in ("rewrite", "redirect") and item.part("prefix") is not None), None)
        if swap is None:
            return [entry]
        found: list[Entry] = []
        for match in matches:
            kind = form(match)[0]
            if kind == "prefix":
                found.append((rule, targets, [match]))
            elif kind == "exact" or not any(
                form(other)[0] == "prefix" and contained(match, other) for other in matches
            ):  # all of the path is what was matched
                found.append(
                    (replace(rule, filters=tuple(_whole(item) if item is swap else item for item in rule.filters)), targets, [match])
                )
            else:  # a second form of a prefix, for those who put expressions first
                shown = f"rule {rule.name}" if rule.name else "a rule without a name"
                self.say("MP741", rule.src, aspects=ASPECTS, disposition=None, rule=shown, what=swap.kind)
                self.out.decide("another match of the rule takes all of its requests", gather(match))
        return found

    def _closing(self, rule: RouteRule) -> bool:
        """Whether a rule says of all that is left what becomes of it without the rule: it is answered 404."""
        return (
            self.alone
            and [(what, fact.value) for item in rule.filters for what, fact in item.parts if item.kind == "direct-response"]
            == [("status", 404)]
            and all(met(replace(match, port=None)).everything for match in rule.matches)
        )

    def _refused(self, rule: RouteRule, matches: tuple[RouteMatch, ...], answer: Filter, shown: str) -> RouteRule:
        if not self._closing(rule):
            return SayableRules._refused(self, rule, matches, answer, shown)
        self.out.ignore("the proxy answers by itself", gather(rule) - gather(answer, matches))
        return RouteRule(rule.name, matches, (), (answer,), src=rule.src)

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
                why=f"{'is not in the input' if known is None else 'has no selector'}, and its subset {subset} needs a Service of its own",
            )
            return None
        if not backend.labels.labels:
            return ref
        return self._subset_service(known, backend, port)

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

    def absent(self, match: RouteMatch) -> bool:
        known = self.service.port(match.port.value) if match.port is not None else None
        return match.port is not None and bool(self.service.ports) and (known is None or not self.carries(known))

    def _subset_service(self, known: Service, backend: Backend, requested: int) -> Ref:
        """The Service of a subset: one that has its pods and sends what comes for the backend to the same port of them, or else one made for it."""
        assert backend.labels is not None and backend.subset is not None
        selector = {**(known.selector or {}), **dict(backend.labels.labels)}
        first = naming.name(known.ref.name, backend.subset.value)
        ref = Ref(known.ref.namespace, first)
        asked = backend.port.value if backend.port is not None else self.port_at(known.ref, requested)
        for candidate in (first, naming.name(first, "subset"), naming.name(first, "subset", "of", known.ref.name)):
            ref = Ref(known.ref.namespace, candidate)
            there = self.ir.world.services.get(ref)
            made = self.out.objects.get(("", "Service", ref))
            if there is not None and there.selector == selector and there.given == known.given and sends_alike(there, known, asked):
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
        ports = self.own_ports()
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

    def own_ports(self) -> list[int]:
        """The ports that the rules are for, without those that clients treat as bytes."""
        http = self.ports if self.ports is not None else [port.number for port in self.service.ports if self.carries(port)]
        asked = self.routes.port
        return [port for port in ([asked.value] if asked is not None else http) if not self.service.is_opaque(port)]

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
        behind: set[int] = set()  # rules that come after one that takes all that is left
        for number, rule in enumerate(rules):
            matches = [replace(match, port=None) for match in rule.matches if match.port is None or match.port.value == port]
            if rule.matches and not matches:
                continue
            if (answer := rule.filter("direct-response")) is not None and self._closing(rule):
                if chosen:
                    self.out.imply("what no rule of a route takes is answered 404", gather(answer, rule.matches), rule.src)
                    behind = {later for later in range(number + 1, len(rules)) if _for_port(rules[later], port)}
                    break
                SayableRules._refused(self, rule, rule.matches, answer, rule.name or f"number {number + 1}")
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
        if any(len(matches) > MAX_MATCHES for _, _, matches in entries) or any(len(matches) > MOST_ADDED for matches in matches_of):
            self.say("MP322", self.routes.src | gather(self.routes.rules), aspects=ASPECTS)
            return {*kept, *behind}, reached
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
        return {*kept, *behind}, reached

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
        taken = self.out.bundle_object(group, self.kind, ref)
        return (group, self.kind, ref) not in self.out.objects and (taken is None or taken in self.routes.documents)

    def _namespace(self) -> str:
        return self.routes.consumer.value if self.routes.consumer is not None else self.service.ref.namespace

    def _object(self, api: str, name: str, port: int, run: list[Entry]) -> None:
        routes = self.routes
        obj = self.out.object(
            api, self.kind, Ref(self._namespace(), name), owner=routes.document, group=self.place[0], rank=self.place[1],
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
            write_rule(
                obj, index, matches, targets, rule.filters, rule.timeout if self.kind == "HTTPRoute" else None, root, linkerd=self.anchored
            )
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
            if ref.namespace != obj.ref.namespace and not self._may_refer(obj, ref):
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

    def _may_refer(self, route: Obj, ref: Ref) -> bool:
        """Whether a ReferenceGrant of the input lets routes of that namespace send to a Service."""
        return any(may_refer(grant, route.kind, route.ref.namespace, ref.name) for grant in self.ir.world.grants.get(ref.namespace, ()))

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
        asked = [fact for rule in routes.rules for match in rule.matches if (fact := match.port) is not None]
        if asked:  # a rule that is lost as a whole asks for nothing any more
            said = (item for item in self.out.findings if item.disposition == "dropped" and item.document in routes.documents)
            lost = {leaf for item in said for leaf in item.leaves}
            asked = [fact for fact in asked if not fact.src <= lost]
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


def _others_grant(out: Output, route: Obj, namespace: str, name: str) -> bool:
    """Whether a ReferenceGrant of this name is the input's, or one for routes of another namespace."""
    made = out.objects.get((GATEWAY, "ReferenceGrant", Ref(namespace, name)))
    senders = made.value.get("spec", {}).get("from", []) if made is not None else []
    return out.bundle_object(GATEWAY, "ReferenceGrant", Ref(namespace, name)) is not None or any(
        item["namespace"] != route.ref.namespace for item in senders
    )


def _for_port(rule: RouteRule, port: int) -> bool:
    return not rule.matches or any(match.port is None or match.port.value == port for match in rule.matches)


def _numbered(base: str, runs: int) -> list[str]:
    """Names whose order by name is the order of the rules; one object has the plain name."""
    width = len(str(runs))
    return [base] if runs == 1 else [f"{base}-{number:0{width}d}" for number in range(1, runs + 1)]


def _said(routes: ServiceRoutes, rule: RouteRule) -> bool:
    """Whether the source said something about the rule's retries."""
    return any(item.name == rule.name and item.src == rule.src and item.retry is not None for item in routes.rules)


def _whole(item: Filter) -> Filter:
    """A filter that replaces a prefix as one that replaces the whole path."""
    return replace(item, parts=tuple(("path", fact) if name == "prefix" else (name, fact) for name, fact in item.parts))
