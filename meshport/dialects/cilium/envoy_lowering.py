"""Rules for a Service as the route table of a CiliumEnvoyConfig, for what an HTTPRoute of Cilium cannot be told: which port of a Service it is for.

Envoy takes the first route that matches, as Istio does, whose words these are too: order, retries, rewrites and answers stand as they are meant.
https://docs.cilium.io/en/stable/network/servicemesh/l7-traffic-management/,
https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, ClassVar

from meshport.dialects.cilium import envoy, envoy_actions, envoy_config, envoy_cors, envoy_faults, envoy_matches
from meshport.dialects.cilium.envoy_actions import ANSWERS, HEADERS, SHARES
from meshport.dialects.cilium.routes import Lowering, fitting
from meshport.dialects.gateway_api.durations import milliseconds
from meshport.dialects.gateway_api.lowering import MAX_MATCHES, Entry
from meshport.dialects.gateway_api.patterns import origin_of
from meshport.dialects.gateway_api.ranking import in_order, ranked_by_specificity
from meshport.dialects.gateway_api.sayable import ASPECTS, SayableRules, faults
from meshport.dialects.gateway_api.service_routes import status_codes
from meshport.dialects.gateway_api.writing import Target, shares
from meshport.dialects.output import Obj, Path
from meshport.ir.base import Fact, Ref, Src
from meshport.ir.resilience import CONNECTION_ERRORS, ISTIO_CONDITIONS, ISTIO_RETRIES, Retry
from meshport.ir.routing import Filter, RouteMatch, RouteRule, ServiceRoutes, gather, met, of_mesh, routes_subject
from meshport.mapping.table import version_key

SINCE = (1, 16)
"""The release from which an entry of `services` names its ports."""
MOST_DEMANDS = 16
"""How many headers a match of an HTTPRoute asks for, and how many query parameters (gateway-api.sigs.k8s.io/reference/spec, HTTPRouteMatch)."""
_UNASKED = {"istio": ISTIO_CONDITIONS, "linkerd": ("refused-stream",)}
"""What is retried where a rule names no condition; elsewhere it is a connection that fails."""


class Chosen(Lowering):
    """Rules as HTTPRoutes, or as an Envoy route table where those would be for every port, or where the user asks for it (`--routes native`)."""

    __slots__ = ()

    def write(self) -> None:
        native = self.options.routes == "native"
        why = "" if native else self._beyond()
        late = version_key(self.options.target_version) >= SINCE
        if not (native or why) or not late or self.followers or not _sayable(self.routes) or not self.own_ports():
            super().write()
            return
        lowering = EnvoyLowering(self.ir, self.out, self.options, self.routes, self.service)
        there = envoy_config.standing(self.service, self.out)
        held = lowering.shown(envoy_config.taken(there)) if there is not None else self._held()
        if held:
            lowering.say("MP368", *lowering.everything, aspects=ASPECTS, ports=lowering.shown(self.own_ports()), held=held)
            return
        if why:
            self.say("MP363", aspects=(), disposition=None, why=why)
        lowering.write()

    def own_ports(self) -> list[int]:
        """Those that a rule is for; all where none of them is there."""
        named = {match.port.value for rule in self.routes.rules for match in rule.matches if match.port is not None}
        there = super().own_ports()
        return there if self.for_every_port or named.isdisjoint(there) else [port for port in there if port in named]

    @property
    def for_every_port(self) -> bool:
        """Whether some rule is for whatever port requests have."""
        listed = [match.port for rule in self.routes.rules for match in rule.matches]
        return not listed or None in listed or any(not rule.matches for rule in self.routes.rules) or self.routes.unmatched == "forward"

    def _held(self) -> str:
        """The ports with rules in a route, where these are what annotations of the Service say for the others; "" where there are none."""
        if self.routes.kind != "Service":
            return ""
        rivals = [
            one for one in self.ir.routes if one.kind != "Service" and one.service is not None and one.service.value == self.service.ref
        ]
        return EnvoyLowering.shown({one.port.value for one in rivals if one.port is not None and one.mesh and not one.problem})

    def _beyond(self) -> str:
        """What of the rules an HTTPRoute does not hold, in words; "" where it holds them."""
        tcp = [str(port.number) for port in self.service.ports if port.protocol == "TCP"]
        own = self.own_ports()
        if (len(own) > 1 and not self.alike) or len(own) < len(super().own_ports()) or (self.routes.port is not None and len(tcp) > 1):
            return f"holds for every port of the Service ({', '.join(tcp)})"
        if ranked_by_specificity(in_order(self.routes), "cilium")[1]:
            return "asks the more specific of two rules first, and not the one that stands first"
        if any(_answers(rule) or (_absent(rule) and not self._closing(rule)) for rule in self.routes.rules) or all(
            map(_absent, self.routes.rules)
        ):
            return "gives no answers by itself"
        if any(item.part("uriRegexRewrite.match") is not None for rule in self.routes.rules for item in rule.filters):
            return "rewrites no path by a regular expression"
        if any(
            len(match.headers) > MOST_DEMANDS or len(match.query) > MOST_DEMANDS for rule in self.routes.rules for match in rule.matches
        ):
            return f"asks for {MOST_DEMANDS} headers and query parameters at most"
        if any(self._demands(match) for rule in self.routes.rules for match in rule.matches if of_mesh(match)):
            return "asks for no host, and for no header that is not there"
        if any(_failure(rule, item) is not None for rule in self.routes.rules for item in rule.filters if item.kind == "fault"):
            return "lets no share of the requests fail"
        if any(self._answers_origins(item) for rule in self.routes.rules for item in rule.filters if item.kind == "cors"):
            return "knows origins of CORS requests by their names alone, and forwards what others ask"
        return ""

    def _answers_origins(self, item: Filter) -> bool:
        """Whether CORS requests are answered as a route table says, and no route of the Gateway API does."""
        said = [(path, fact.value) for path, fact in item.parts if envoy_cors.sayable(path, fact.value)]
        beyond = any(path.endswith(".prefix") or (path.endswith(".regex") and origin_of(value) is None) for path, value in said)
        unmatched = any(path == envoy_cors.UNMATCHED for path, _ in said)
        return version_key(self.options.target_version) >= envoy_cors.SINCE and (beyond or unmatched)

    @staticmethod
    def _demands(match: RouteMatch) -> bool:
        """Whether a match makes a demand that a route table alone knows, and none that nobody knows."""
        asked = met(match).others
        return bool(asked) and all(envoy_matches.sayable(name, fact.value) for name, fact in asked)


def _answers(rule: RouteRule) -> bool:
    """Whether a rule has an answer that a route does not give without one."""
    answer = rule.filter("direct-response")
    return answer is not None and [(name, fact.value) for name, fact in answer.parts] not in ([("status", 404)], [("status", 500)])


def _absent(rule: RouteRule) -> bool:
    """Whether a rule answers 404, which a route of the Gateway API does where no rule of it matches."""
    answer = rule.filter("direct-response")
    return answer is not None and [(name, fact.value) for name, fact in answer.parts] == [("status", 404)]


def _sayable(routes: ServiceRoutes) -> bool:
    """Whether an Envoy route table holds all that the rules do, as far as a route of Cilium would."""
    return all(_rule_sayable(rule) for rule in routes.rules)


def _rule_sayable(rule: RouteRule) -> bool:
    kinds = {item.kind for item in rule.filters if item.acting.parts}
    extras = {name for name, _ in rule.extras} - {"name"}
    retried = rule.retry is not None and rule.retry.attempts is not None and not rule.retry.none
    return (
        kinds <= {*EnvoyLowering.filters, "direct-response"}
        and extras <= ({"backendRequest"} if retried else set())
        and rule.asking is None
        and all(backend.service is not None for backend in rule.backends)
        and all(item.kind in HEADERS for backend in rule.backends for item in backend.filters)
        and all(_swappable(rule, item) for item in rule.filters if item.kind in ("rewrite", "redirect"))
        and all(name.startswith(("set:", "add:", "remove:")) for item in rule.filters if item.kind in HEADERS for name, _ in item.parts)
        and all(name in ("status", "body.string") for item in rule.filters if item.kind == "direct-response" for name, _ in item.parts)
    )


def _failure(rule: RouteRule, item: Filter) -> Filter | None:
    """The failure that a rule injects, where a route table says it."""
    found = envoy_faults.failure(item)
    share = found.part(envoy_faults.SHARE) if found is not None else None
    return found if share is not None and envoy_faults.fraction(share.value, _drawn(rule)) is not None else None


def _drawn(rule: RouteRule) -> list[int]:
    """How many values each choice has that Envoy makes of the requests of a rule: where one goes, and whether it is copied."""
    weights = (
        shares([backend.weight.value if backend.weight is not None else 0 for backend in rule.backends]) if len(rule.backends) > 1 else ()
    )
    copied = [fraction for item in rule.filters if item.kind == "mirror" and (fraction := item.part("percent")) is not None]
    return [*([sum(weights)] if sum(weights) else []), *(SHARES[_share(one.value)[1]] for one in copied if one.value != 100)]


def _share(percent: float) -> tuple[int, str]:
    """A share in percent as so many of so many, in the roundest numbers."""
    part = Fraction(str(percent)) / 100
    word, whole = next(((word, whole) for word, whole in SHARES.items() if (part * whole).denominator == 1), ("MILLION", SHARES["MILLION"]))
    return round(part * whole), word


def _swappable(rule: RouteRule, item: Filter) -> bool:
    """Whether Envoy replaces what is to be replaced: it knows no prefix of path elements that goes without leaving a slash."""
    known = ("uri", "prefix", "path", "authority", "hostname", "scheme", "port", "code", "uriRegexRewrite.match", "uriRegexRewrite.rewrite")
    new = item.part("prefix") or item.part("uri")
    by_elements = any(match.path is not None and match.path.value.kind == "segments" for match in rule.matches)
    rooted = new is not None and str(new.value).endswith("/") and str(new.value) != "/"
    bare = item.kind == "redirect" and new is not None and str(new.value).endswith("/")
    return all(name in known for name, _ in item.parts) and not (by_elements and (rooted or bare))


class EnvoyLowering(Chosen):
    """One set of rules on its way into a CiliumEnvoyConfig: a listener, a route table and the clusters that it sends to."""

    __slots__ = ("asked", "others", "stands_for")
    asked: list[Fact[int]]  # the ports that rules name, where it decides something
    stands_for: list[int]  # the ports whose requests are led to the table
    others: list[int]  # those that the rules are for and the table is not
    filters: ClassVar[tuple[str, ...]] = ("request-headers", "response-headers", "redirect", "rewrite", "mirror", "fault", "cors")
    grants: ClassVar[bool] = False
    alone: ClassVar[bool] = True

    @property
    def api(self) -> str | None:
        return envoy_config.API

    @property
    def redirects(self) -> tuple[int, ...]:
        return tuple(ANSWERS.values())

    @property
    def everything(self) -> tuple[Src, Src]:
        return self.routes.src, gather(self.routes.rules)

    @staticmethod
    def shown(ports: Collection[int]) -> str:
        return ", ".join(str(port) for port in sorted(ports))

    def write(self) -> None:
        before, ports = len(self.out.objects), self.own_ports()
        self.stands_for = ports if self.alike else ports[:1]
        self.others = [port for port in ports if port not in self.stands_for]
        self.ports = ports[:1]
        self.asked = []
        super(Lowering, self).write()
        if len(self.out.objects) > before:
            envoy_config.installed(self.out, self.routes.service, self.routes.host)

    # -- what is said

    def _match(self, match: RouteMatch, shown: str) -> list[RouteMatch]:
        return [one for found in SayableRules._match(self, match, shown) for one in fitting(self, found, shown)]

    def _closing(self, rule: RouteRule) -> bool:
        """No answer goes without saying."""
        return False

    def demands(self, name: str, value: Any) -> bool:
        return envoy_matches.sayable(name, value)

    def blocking(self, item: Filter) -> list[tuple[str, Fact[Any]]]:
        return []

    def adapted(self, rule: RouteRule, shown: str) -> RouteRule:
        return rule

    def filter(self, item: Filter, rule: RouteRule, shown: str) -> list[Filter]:
        if item.kind == "rewrite":
            return [item]
        if item.kind == "fault":
            failing = _failure(rule, item)
            for lost in faults(item if failing is None else envoy_faults.rest(item)):
                self.lost(lost, "filters", what=item.kind, rule=shown)
            return [failing] if failing is not None else []
        if item.kind == "cors":
            return self._cors(item, shown)
        if item.kind == "mirror":
            share = item.part("percent")
            copies = self._mirror(replace(item, parts=tuple(part for part in item.parts if part[0] != "percent")), rule, shown)
            if share is not None and not copies:
                self.out.findings[-1].leaves = tuple(sorted({*self.out.findings[-1].leaves, *share.src}))
            elif share is not None and float(share.value) == 100:
                self.out.imply("every request is copied unless a share is said", share)
                share = None
            return [replace(copy, parts=(*copy.parts, *((("percent", share),) if share is not None else ()))) for copy in copies]
        return [self.portable(item, shown)]

    def _cors(self, item: Filter, shown: str) -> list[Filter]:
        """The answer to CORS requests as it is said, where Cilium's Envoy has the filter for it."""
        if version_key(self.options.target_version) < envoy_cors.SINCE:
            return super()._cors(item, shown)
        kept = []
        for path, fact in item.parts:
            if envoy_cors.sayable(path, fact.value):
                kept.append((path, fact))
            elif (path, fact.value) == (envoy_cors.UNMATCHED, "UNSPECIFIED"):
                self.out.imply("what becomes of such preflights unasked", fact)
            else:
                self.say("MP320", fact, aspects=("filters",), rule=shown, what=f"the CORS setting {path} {fact.value}")
        return [Filter("cors", tuple(kept))] if kept else []

    def _only_port(self, ref: Ref) -> Fact[int] | None:
        """Of a Service with several ports it is that of the request, which 0 stands for."""
        known = self.ir.world.services.get(ref)
        return super()._only_port(ref) or (Fact(0) if known is not None and known.ports else None)

    def portable(self, item: Filter, shown: str) -> Filter:
        """A percent sign is Envoy's own way of asking for a value, which Istio leaves as it is and others do not mean."""
        if item.kind == "redirect":
            return super().portable(item, shown)
        hosts = tuple(part for part in item.parts if part[0].partition(":")[2] in ("host", ":authority"))
        if hosts:
            super().portable(replace(item, parts=hosts), shown)
        return replace(item, parts=tuple((name, self._spelled(name, fact)) for name, fact in item.parts if (name, fact) not in hosts))

    def _spelled(self, name: str, fact: Fact[Any]) -> Fact[Any]:
        own = self.routes.in_envoys_words or name.startswith("remove:")
        return fact if own else fact.map(lambda text: str(text).replace("%", "%%"))

    def ranked(self, rules: Sequence[RouteRule]) -> list[list[RouteMatch]]:
        """As they stand."""
        return [list(rule.matches) or [RouteMatch()] for rule in rules]

    def parted(self, entry: Entry) -> list[Entry]:
        rule, targets, matches = entry
        return [(rule, targets, matches[at : at + MAX_MATCHES]) for at in range(0, len(matches), MAX_MATCHES)]

    def _refused(self, rule: RouteRule, matches: tuple[RouteMatch, ...], answer: Filter, shown: str) -> RouteRule:
        """The answer is written as it is, with what is done to its headers."""
        headers = [one for item in rule.filters if item.kind == "response-headers" for one in self.filter(item, rule, shown)]
        self.out.ignore("the proxy answers by itself", gather(rule) - gather(answer, matches, headers))
        return RouteRule(rule.name, matches, (), (answer, *headers), src=rule.src)

    def times(self, rule: RouteRule, shown: str) -> dict[str, Any]:
        if not rule.answers:
            return super().times(rule, shown)
        self.out.ignore(
            "the proxy answers by itself", gather(rule.timeout, rule.retry, rule.response_timeout, rule.idle_timeout, rule.extras)
        )
        return {"timeout": None, "retry": None, "response_timeout": None, "idle_timeout": None}

    def _retry(self, rule: RouteRule, shown: str) -> Retry | None:
        retry = rule.retry
        if retry is None:
            return Retry(Fact(ISTIO_RETRIES, rule.src), None, default=True) if self.preserves and not rule.answers else None
        if retry.none or retry.attempts is None:
            self.out.imply("a route retries nothing unless it says so", gather(retry), retry.src)
            return None
        for name, fact in retry.extras:
            if name != "backoff" and fact.src not in self.told:
                self.told.add(fact.src)
                self.lost(fact, "retries", what=f"retries.{name}", rule=shown)
        return retry

    def _port(self, api: str, rules: list[RouteRule], port: int, several: bool) -> tuple[set[int], set[int]]:
        """The rules of the one port that the table is for; what they say of others is left out."""
        if self.others:
            apart = [[match for match in rule.matches if match.port is not None and match.port.value != port] for rule in rules]
            whole = [len(gone) == len(rule.matches) > 0 for rule, gone in zip(rules, apart, strict=True)]
            gone = gather(apart).union(*(gather(rule) | rule.src for rule, all_ in zip(rules, whole, strict=True) if all_))
            self.say("MP368", gone, aspects=(), disposition="dropped" if gone else None, ports=self.shown(self.others), held=str(port))
            self.out.findings[-1].explains = frozenset((routes_subject(self.routes.subject_name, number), "*") for number in self.others)
        kept = rules if self.for_every_port else self.routes.rules  # else all together say which ports there are rules for
        self.asked = [match.port for rule in kept for match in rule.matches if match.port is not None]
        return super()._port(api, rules, port, several)

    # -- what is written

    def _object(self, api: str, name: str, port: int, run: list[Entry]) -> None:
        obj = self._config()
        table = self._table(obj)
        clusters: dict[tuple[Ref, int], Src] = {}
        for rule, targets, matches in run:
            for match in matches:
                if (failing := rule.filter("fault")) is not None:
                    place = (*table, len(obj.at(table) or ()))
                    envoy_matches.write_match(obj, (*place, "match"), match, gather(match, self.routes.service))
                    envoy_faults.write(obj, place, failing, _drawn(rule))
                self._route(obj, (*table, len(obj.at(table) or ())), rule, targets, match, port)
            for ref, number, src in self._sent(rule, targets, port):
                clusters[ref, number] = clusters.get((ref, number), frozenset()) | src
        for (ref, number), src in clusters.items():
            self._cluster(obj, ref, number, src)

    def _config(self) -> Obj:
        """The CiliumEnvoyConfig of the Service."""
        if (made := envoy_config.standing(self.service, self.out)) is not None:
            return made
        because = gather(self.routes.service, self.routes.host)
        obj = envoy_config.made(
            self.service, self.out, owner=self.routes.document, rank=self.place[1], because=because, named=self.routes.ref.src
        )
        for document in self.routes.documents:
            obj.add_origin(document)
        obj.note(f"from {self.routes.kind} {self.routes.ref.value}")
        return obj

    def _table(self, obj: Obj) -> Path:
        """Where the routes stand; made with the listener where it is not there yet."""
        label, routes = self.service.ref.name, ("spec", "resources", 1, "virtual_hosts", 0, "routes")
        if obj.at(routes) is None:
            numbers = [known.number_src for known in self.service.ports if known.number in self.stands_for]
            because = (self.routes.service, self.routes.host, self.routes.port, *numbers, *self.asked)
            obj.set(("spec", "services", 0), {"name": label, "namespace": self.service.ref.namespace, "ports": self.stands_for}, *because)
            obj.set(("spec", "resources", 0), envoy.listener(label, "http"), *because)
            obj.set(("spec", "resources", 1), envoy.table(label, []), *because)
        return routes

    def _sent(self, rule: RouteRule, targets: list[Target], port: int) -> list[tuple[Ref, int, Src]]:
        """The Service ports that a rule for requests to `port` sends to, copies too."""
        found = [(target.ref, target.port or port, target.because | gather(target.backend.host, target.backend.port)) for target in targets]
        for item in rule.filters:
            host, named = item.part("host"), item.part("port")
            if item.kind == "mirror" and host is not None and named is not None:
                found.append((host.value, named.value or port, host.src | named.src))
        return found

    def _cluster(self, obj: Obj, ref: Ref, port: int, src: Src) -> None:
        name = self._cluster_of(ref, port)
        resources = obj.at(("spec", "resources"))
        if any(item["@type"].endswith("Cluster") and item["name"] == name for item in resources):
            return
        obj.set(("spec", "resources", len(resources)), envoy.cluster(name, f"{ref}:{port}"), src)
        envoy_config.endpoints(obj, ref, port, src)

    def _route(self, obj: Obj, path: Path, rule: RouteRule, targets: list[Target], match: RouteMatch, port: int) -> None:
        root = gather(match) | (gather(self.routes.service) if targets else gather(rule.filters) or rule.src)
        envoy_matches.write_match(obj, (*path, "match"), match, root)
        for item in rule.filters:
            if item.kind in HEADERS:
                envoy_actions.write_headers(obj, path, item)
            elif item.kind == "cors":
                envoy_cors.write(obj, path, item)
                envoy_cors.switched_on(obj, ("spec", "resources", 0, *envoy.PROXY, "http_filters"), item)
        redirect, answer = rule.filter("redirect"), rule.filter("direct-response")
        if redirect is not None:
            envoy_actions.write_redirect(obj, (*path, "redirect"), redirect, match)
        elif answer is not None or not any(target.weight is None or target.weight for target in targets):
            status = (answer.part("status") if answer is not None else None) or Fact(500, gather(rule))
            obj.set((*path, "direct_response", "status"), status.value, status, root)
            if answer is not None and (body := answer.part("body.string")) is not None:
                obj.set((*path, "direct_response", "body", "inline_string"), body.value, body)
        else:
            self._action(obj, (*path, "route"), rule, targets, match, port)

    def _action(self, obj: Obj, path: Path, rule: RouteRule, targets: list[Target], match: RouteMatch, port: int) -> None:
        for number, target in enumerate(targets):
            name, because = self._cluster_of(target.ref, target.port or port), (target.backend.host, target.because, target.backend.port)
            if len(targets) == 1 and not target.backend.filters:
                obj.set((*path, "cluster"), name, *because)
                continue
            place = (*path, "weighted_clusters", "clusters", number)
            obj.set((*place, "name"), name, *because)
            weights = [other.backend.weight for other in targets] if len(targets) > 1 else because
            obj.set((*place, "weight"), 1 if len(targets) == 1 else target.weight or 0, *weights)
            for item in target.backend.filters:
                envoy_actions.write_headers(obj, place, item)
        timeout = rule.timeout
        obj.set(
            (*path, "timeout"),
            envoy.seconds(timeout.value if timeout is not None else 0),
            timeout or gather(match, self.routes.service) or rule.src,
        )
        for item in rule.filters:
            if item.kind == "rewrite":
                envoy_actions.write_rewrite(obj, path, item, match)
        copies = [item for item in rule.filters if item.kind == "mirror"]
        for number, item in enumerate(copies):
            self._write_copy(obj, (*path, "request_mirror_policies", number), item, port)
        if rule.retry is not None and rule.retry.attempts is not None:
            self._write_retry(obj, (*path, "retry_policy"), rule, rule.retry)

    def _write_retry(self, obj: Obj, path: Path, rule: RouteRule, retry: Retry) -> None:
        """Tries after the first; a status code stands in a list of its own."""
        assert retry.attempts is not None
        named = [fact for fact in retry.conditions if fact.value != "retriable-status-codes"]
        coded = [fact for fact in named if fact.value.replace("-", "").isdigit()]
        words: list[Fact[str]] = [fact for fact in named if fact not in coded]
        if not named:
            words = [retry.attempts.holding(word) for word in _UNASKED.get(self.routes.family, CONNECTION_ERRORS)]
        codes = sorted({code for fact in coded for code in status_codes(fact.value)})
        listed = list(dict.fromkeys([*(fact.value for fact in words), *(["retriable-status-codes"] if codes else [])]))
        obj.set((*path, "retry_on"), ",".join(listed), *words, *coded, retry.attempts)
        for number, code in enumerate(codes):
            obj.set((*path, "retriable_status_codes", number), code, *coded)
        obj.set((*path, "num_retries"), retry.attempts.value, retry.attempts, retry.src - gather(retry.extras))
        each = retry.per_try_timeout or next((fact for name, fact in rule.extras if name == "backendRequest"), None)
        if each is not None and each.value:
            obj.set((*path, "per_try_timeout"), envoy.seconds(each.value), each)
        for name, fact in retry.extras:
            if name == "backoff":
                obj.set((*path, "retry_back_off", "base_interval"), envoy.seconds(milliseconds(fact.value)), fact)

    def _write_copy(self, obj: Obj, path: Path, item: Filter, port: int) -> None:
        host, named, share = item.part("host"), item.part("port"), item.part("percent")
        assert host is not None and named is not None
        obj.set((*path, "cluster"), self._cluster_of(host.value, named.value or port), host, named)
        if share is not None:
            over, word = _share(share.value)
            obj.set((*path, "runtime_fraction", "default_value"), {"numerator": over, "denominator": word}, share)

    def _cluster_of(self, ref: Ref, port: int) -> str:
        """The name of a cluster. One with a slash is the same in every object; Linkerd's breaker of a Service is not for what the rules of another one
        send there, so that those have a cluster of their own, whose name the agent begins with that of the object."""
        theirs = self.out.source == "linkerd" and ref != self.service.ref
        apart = theirs and any(one.service is not None and one.service.value == ref and one.breaker for one in self.ir.service_policies)
        return f"{ref.namespace}:{ref.name}:{port}" if apart else f"{ref}:{port}"
