"""Rules for a Service as HTTPRoutes that every implementation of the Gateway API may read: GAMMA, with the Service as parent.

A field of the experimental channel is written where the rows say so, with the finding that names the channel.
https://gateway-api.sigs.k8s.io/mesh/service-facets/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from meshport.dialects.gateway_api.backends import budget
from meshport.dialects.gateway_api.durations import milliseconds, of_a_field, one_unit
from meshport.dialects.gateway_api.lowering import MAX_MATCHES, Entry, RouteLowering
from meshport.dialects.gateway_api.patterns import origin_of, simplest
from meshport.dialects.gateway_api.ranking import form, ranked_by_specificity
from meshport.dialects.gateway_api.sayable import ASPECTS
from meshport.dialects.gateway_api.writing import CODES
from meshport.dialects.output import Obj, Output
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Fact, Ref
from meshport.ir.resilience import ISTIO_RETRIES, Retry
from meshport.ir.routing import Backend, Filter, RouteMatch, RouteRule, ServiceRoutes, gather
from meshport.mapping.table import version_key
from meshport.values.ports import is_number

CORS_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*")
"""The methods that a CORS filter may name: https://gateway-api.sigs.k8s.io/reference/spec/#httpmethodwithwildcard."""
_SERVER_ERRORS = (500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511)
_WORDS = {"5xx": _SERVER_ERRORS, "gateway-error": (502, 503, 504), "retriable-4xx": (409,)}


class Lowering(RouteLowering):
    """One set of rules on its way into HTTPRoutes of the Gateway API itself."""

    __slots__ = ()
    filters: ClassVar[tuple[str, ...]] = ("request-headers", "response-headers", "redirect", "rewrite", "mirror", "cors")
    settings: ClassVar[tuple[str, ...]] = ("backendRequest",)

    @property
    def release(self) -> tuple[int, ...]:
        """The release of the Gateway API that is written for."""
        return version_key(self.options.target_version)

    @property
    def followers(self) -> str:
        """The namespaces whose clients alone follow the rules, where routes of the target could not keep to that; "" where they may be written."""
        return ""

    @property
    def anchored(self) -> bool:
        """Routes of Linkerd's in the API alone are still read by Linkerd, which searches; for the others anchors change nothing."""
        return self.options.source == "linkerd" and self.options.target == "gateway-api"

    @property
    def redirects(self) -> tuple[int, ...]:
        return (*CODES, 303, 307, 308) if self.release >= (1, 5) else CODES

    def names_port(self, port: int) -> bool:
        """Where the source names it, or the Service has other ports: not every implementation takes the field."""
        return self.routes.port is not None or len([item for item in self.service.ports if item.protocol == "TCP"]) != 1

    # -- order

    def ranked(self, rules: Sequence[RouteRule]) -> list[list[RouteMatch]]:
        matches, unkept = ranked_by_specificity(rules)
        if unkept:
            return self.unordered(rules, unkept)
        shown = [
            rule.name or f"number {number + 1}" for number, rule in enumerate(rules) if any(form(m)[0] == "regex" for m in matches[number])
        ]
        if shown:
            self.say("MP328", aspects=(), disposition=None, rules=", ".join(dict.fromkeys(shown)))
        return matches

    def unordered(self, rules: Sequence[RouteRule], unkept: list[tuple[int, int]]) -> list[list[RouteMatch]]:
        """Say which rules would change places, and write none."""
        names = [rule.name or f"number {number + 1}" for number, rule in enumerate(rules)]
        pairs = ", ".join(f"{names[later]} before {names[earlier]}" for earlier, later in unkept)
        self.say("MP327", self.routes.src | gather(self.routes.rules), aspects=ASPECTS, pairs=pairs)
        return [[] for _ in rules]

    def parted(self, entry: Entry) -> list[Entry]:
        """The rules of an entry, each in parts where it has more matches than a release admits."""
        most = 8 if self.release < (1, 2) else MAX_MATCHES
        return [
            (rule, targets, matches[at : at + most])
            for rule, targets, matches in super().parted(entry)
            for at in range(0, max(len(matches), 1), most)
        ]

    def _match(self, match: RouteMatch, shown: str) -> list[RouteMatch]:
        if match.path is not None:
            match = replace(match, path=match.path.map(simplest))
        return super()._match(match, shown)

    # -- filters

    def blocking(self, item: Filter) -> list[tuple[str, Fact[Any]]]:
        """A rewrite by regular expression has no form, and without it the backend gets paths that it does not know."""
        if item.kind != "rewrite":
            return []
        gone = [fact for name, fact in item.parts if name not in ("uri", "authority")]
        new = item.part("uriRegexRewrite.rewrite")
        return (
            [("rewrite by regular expression", new.also(*gone))]
            if new is not None
            else [("rewrite by regular expression", one) for one in gone]
        )

    def filter(self, item: Filter, rule: RouteRule, shown: str) -> list[Filter]:
        if item.kind == "rewrite":
            return self._rewrite(item, rule, shown)
        if item.kind == "mirror":
            return self._mirror(item, rule, shown)
        if item.kind == "cors":
            return self._cors(item, shown)
        return [self.portable(item, shown)]

    def _rewrite(self, item: Filter, rule: RouteRule, shown: str) -> list[Filter]:
        parts: list[tuple[str, Fact[Any]]] = []
        host, path = item.part("authority"), item.part("uri")
        if host is not None:
            parts.append(("hostname", host.map(lambda text: str(text).partition(":")[0])))
            if ":" in str(host.value):
                self.say("MP320", host, aspects=("filters",), disposition="approximated", rule=shown, what="the port of the new authority")
        if path is not None:
            prefixes = not rule.matches or any(
                match.path is None or match.path.value.kind in ("prefix", "segments") for match in rule.matches
            )
            parts.append(("prefix" if prefixes else "path", path))
        return [Filter("rewrite", tuple(parts))]

    def _mirror(self, item: Filter, rule: RouteRule, shown: str) -> list[Filter]:
        host, port, share, subset = (item.part(name) for name in ("host", "port", "percent", "subset"))
        rest = [(name, fact) for name, fact in item.parts if name not in ("host", "port", "percent", "subset", "labels")]
        suffix = f".svc.{self.options.cluster_domain}"
        names = str(host.value).removesuffix(suffix).split(".") if host is not None else []
        ref = Ref(names[1], names[0]) if str(host.value if host else "").endswith(suffix) and len(names) == 2 else None
        if ref is not None and host is not None and subset is not None:
            labels = item.part("labels")
            ref = self.target(
                Backend(host.holding(ref), host, port, subset, labels.value if labels is not None else None),
                port.value if port else 0,
                rule,
            )
            if ref is None:
                return []
            host = host.also(subset, labels)
        if host is None or rest or ref is None:
            for name, fact in item.parts:
                self.lost(fact, "filters", what=f"mirror {name}", rule=shown)
                if not self.out.findings or not set(fact.src) <= set(self.out.findings[-1].leaves):
                    self.say("MP320", fact, aspects=("filters",), rule=shown, what=f"the mirror {name} {fact.value}")
            return []
        original = Ref(names[1], names[0])
        number = port or self._only_port(original)
        if number is None:
            self.once("MP301", host, gather(item), namespace=ref.namespace, name=ref.name, why=self._portless(ref, "mirror"))
            return []
        parts: list[tuple[str, Fact[Any]]] = [("host", host.holding(ref)), ("port", number)]
        if share is not None and float(share.value) != 100:
            if not self._read("mirror.percentage"):
                self.lost(share.holding(f"{share.value:g}%"), "filters", what="the share of the mirror", rule=shown)
                self.out.findings[-1].leaves = tuple(sorted({*self.out.findings[-1].leaves, *gather(item)}))
                return []
            if self.release < (1, 3):  # where an implementation reads it from the experimental channel
                self._experimental(share, "percent")
            parts.append(("percent", share))
        elif share is not None:
            self.out.imply("every request is copied unless a share is said", share)
        return [Filter("mirror", tuple(parts))]

    def _cors(self, item: Filter, shown: str) -> list[Filter]:
        """The answer to CORS requests, with the origins that are named exactly."""
        cell = self.out.table.support("routing.cors", self.out.target, self.out.target_version)
        whole = Fact(", ".join(str(fact.value) for _, fact in item.parts[:1]), gather(item), "routing.cors")
        found = self.out.from_cell(cell, whole, document=self.routes.document, affects=self.affects, explains=self.explained(*ASPECTS))
        if cell.support == "none":
            return []
        parts = []
        for path, fact in item.parts:
            stem, _, form_of = path.partition(".")
            name = stem.partition("[")[0]
            origin = origin_of(str(fact.value)) if name == "allowOrigins" and form_of == "regex" else None
            if origin is not None:
                parts.append((stem, fact.holding(origin)))
                continue
            known = name in ("allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders", "maxAge", "allowCredentials")
            if not known or (name == "allowOrigins" and form_of != "exact") or (name == "allowMethods" and fact.value not in CORS_METHODS):
                self.say("MP320", fact, aspects=("filters",), rule=shown, what=f"the CORS setting {path} {fact.value}")
            elif name == "maxAge" and (not isinstance(fact.value, int) or fact.value < 1):
                self.out.imply("the default of a few seconds holds", fact)
            else:
                parts.append((stem, fact))
        if found is not None and not parts:
            return []
        return [Filter("cors", tuple(parts))] if parts else []

    def _only_port(self, ref: Ref) -> Fact[int] | None:
        known = self.ir.world.services.get(ref)
        ports = [item for item in known.ports if item.protocol == "TCP"] if known is not None else []
        return Fact(ports[0].number, ports[0].number_src, "routing.destination-port") if len(ports) == 1 else None

    def _portless(self, ref: Ref, what: str) -> str:
        """Why a destination without a port has none: `_only_port` found none."""
        known = self.ir.world.services.get(ref)
        if known is None:
            return f"is not in the input, and the {what} names no port"
        ports = [str(item.number) for item in known.ports if item.protocol == "TCP"]
        return f"has {'the ports ' + ', '.join(ports) if ports else 'no TCP port'}, and the {what} names none"

    # -- timeouts and retries

    def times(self, rule: RouteRule, shown: str) -> dict[str, Any]:
        timeout = rule.timeout
        if timeout is not None and timeout.value == 0:
            self.out.imply("0 is no timeout, and none is the default", timeout)
            timeout = None
        if timeout is not None and self.release < (1, 2):
            self._early(timeout, shown)
        for name, fact in (("response", rule.response_timeout), ("idle", rule.idle_timeout)):
            if fact is not None and fact.value and fact.src not in self.told:
                self.told.add(fact.src)
                self.lost(fact, "timeout", what=f"{name} timeout", rule=shown, value=one_unit(fact.value))
        return {"timeout": timeout, "retry": self._retry(rule, shown), "response_timeout": None, "idle_timeout": None}

    def _early(self, timeout: Fact[int], shown: str) -> None:
        """Before 1.2 `timeouts` are in the experimental channel, which an implementation may read all the same."""
        if not self._read(timeout.feature):
            self.lost(timeout, "timeout", what="timeout", rule=shown, value=one_unit(timeout.value))
        else:
            self._experimental(timeout, "timeouts")

    def _read(self, feature: str) -> bool:
        return self.out.table.support(feature, self.options.target, self.options.target_version).support == "native"

    def _experimental(self, fact: Fact[Any], field: str) -> None:
        """Say once that a field is in the experimental channel at this release, while the table has the channel that it is in since."""
        if fact.src not in self.told:
            self.told.add(fact.src)
            self.out.finding(
                "MP023", fact, document=self.routes.document, disposition="approximated", affects=self.affects, feature=fact.feature,
                object=f"{self.routes.kind} {self.routes.ref.value}", field=field,
            )  # fmt: skip

    def _retry(self, rule: RouteRule, shown: str) -> Retry | None:
        retry = rule.retry
        if retry is None:
            kept = self.preserves and self.release >= (1, 2) and not rule.answers
            return Retry(Fact(ISTIO_RETRIES, rule.src), None, default=True) if kept else None
        if retry.none or retry.attempts is None:
            self.out.imply("a route retries nothing unless it says so", gather(retry), retry.src)
            return None
        attempts = retry.attempts
        self._budget(retry)
        for name, fact in retry.extras:
            if fact.src not in self.told:
                self.told.add(fact.src)
                self.lost(fact, "retries", what=f"retries.{name}", rule=shown)
        everything = Fact(
            attempts.value, gather(attempts, retry.conditions, retry.src) - gather(retry.extras, retry.per_try_timeout), "retry.attempts"
        )
        if everything.src not in self.told or not everything.src:
            self.told.add(everything.src)
            self.lost(everything, "retries", what="retries", rule=shown)
            if self.release >= (1, 2):
                self._conditions(retry, shown)
        if self.release < (1, 2):
            if (each := retry.per_try_timeout) is not None:
                self.lost(each, "retries", "timeout", what="the timeout of a try", rule=shown, value=one_unit(each.value))
            return None
        if retry.per_try_timeout is not None and retry.per_try_timeout.value and retry.per_try_timeout.src not in self.told:
            self.told.add(retry.per_try_timeout.src)
            each = retry.per_try_timeout
            self.lost(each, "retries", "timeout", what="the timeout of a try", rule=shown, value=one_unit(each.value))
        return retry

    def _conditions(self, retry: Retry, shown: str) -> None:
        """Say what of the conditions the list of codes does not hold; Envoy counts a connection that fails or breaks among the answers 5xx."""
        words = [fact for fact in retry.conditions if not _meant(fact.value) and fact.value != "retriable-status-codes"]
        if self.routes.family in ("istio", "cilium"):
            words += [fact for fact in retry.conditions if fact.value in ("5xx", "gateway-error")]
        meant = {code for fact in retry.conditions for code in _meant(fact.value)}
        gone = meant - {code for fact in retry.conditions for code in status_codes(fact.value)}
        if self.options.target == "cilium" and version_key(self.options.target_version) >= (
            1,
            20,
        ):  # cilium/cilium#46433: any retry is one on these
            words = [fact for fact in words if not _meant(fact.value) and fact.value not in ("connect-failure", "refused-stream", "reset")]
        named = list(dict.fromkeys(word.value if not _meant(word.value) else f"a failed connection ({word.value})" for word in words))
        parts = [f"answers {ranges(gone)} are not retried"] if gone else []
        parts += [f"on {', '.join(named)} the implementation decides"] if named else []
        if parts:
            short = [fact for fact in retry.conditions if gone & {*_meant(fact.value)}]
            self.lost(Fact("; ".join(parts), gather(words, short), "retry.transport-conditions"), "retries", rule=shown)

    def _budget(self, retry: Retry) -> None:
        """The budget of a ServiceProfile, which is one of its Service; what is written is named as approximated beside."""
        words = {"retryRatio": "percent", "minRetriesPerSecond": "count", "ttl": "interval"}
        forms: dict[str, Callable[[Any], Any]] = {
            "percent": lambda ratio: round(float(ratio) * 100, 6),
            "interval": milliseconds,
            "count": int,
        }
        said = {words[name]: fact.map(forms[words[name]]) for name, fact in retry.extras if name in words and fact.src not in self.told}
        if self.options.target == "gateway-api" and said and self.service.ref.namespace == self.routes.ref.value.namespace:
            because = gather(self.routes.service, self.routes.host)
            budget(self.service.ref, said, self.ir, self.out, self.release, owner=self.routes.document, because=because)

    @property
    def preserves(self) -> bool:
        """Whether the retries that Istio makes unasked are written out."""
        return self.options.preserve_default_retries and self.routes.family == "istio"

    def finish(self, obj: Obj, place: tuple[str | int, ...], rule: RouteRule) -> None:
        backend = next((fact for name, fact in rule.extras if name == "backendRequest"), None)
        retry = rule.retry
        if backend is None and retry is not None and retry.per_try_timeout is not None and retry.per_try_timeout.value:
            backend = retry.per_try_timeout
        if backend is not None and backend.value:
            most = rule.timeout.value if rule.timeout is not None and rule.timeout.value else backend.value
            obj.set((*place, "timeouts", "backendRequest"), of_a_field(min(most, backend.value)), backend)
        if retry is None or retry.attempts is None:
            return
        codes = sorted({code for fact in retry.conditions for code in status_codes(fact.value)})
        because = tuple(fact for fact in retry.conditions if status_codes(fact.value)) or (retry.attempts,)
        for number, code in enumerate(codes):
            obj.set((*place, "retry", "codes", number), code, *because)
        obj.set((*place, "retry", "attempts"), retry.attempts.value, retry.attempts, retry.src - gather(retry.extras))
        for name, fact in retry.extras:
            if name == "backoff":
                obj.set((*place, "retry", "backoff"), of_a_field(milliseconds(fact.value)), fact)

    def silent(self) -> None:
        if self.preserves and self.release >= (1, 2):
            already = [item for item in self.out.findings if item.code == "MP341" and item.affects == self.affects]
            if already:
                already[0].explains |= self.explained("retries")
            else:
                self.say("MP341", aspects=("retries",), disposition=None, attempts=ISTIO_RETRIES)
            return
        default_retries(self.routes, self.out, self.affects, self.explained("retries"))


def default_retries(routes: ServiceRoutes, out: Output, affects: tuple[Affected, ...], explained: frozenset[tuple[str, str]]) -> None:
    """Istio's own two retries, which a route does not speak of: by the row of the table, once for a Service."""
    if routes.family != "istio":
        return
    already = [item for item in out.findings if item.feature == "retry.default-policy" and item.affects == affects]
    if already:
        already[0].explains |= explained
        return
    cell = out.table.support("retry.default-policy", out.target, out.target_version)
    fact = Fact("attempts: 2", NOWHERE, "retry.default-policy")
    found = out.from_cell(cell, fact, document=routes.document, affects=affects, explains=explained)
    if found is not None:
        found.disposition = None


def rankable(rules: Sequence[RouteRule]) -> bool:
    """Whether the rules of a first-match list keep their order as a route of the Gateway API."""
    return not ranked_by_specificity(rules)[1]


def _meant(condition: str) -> range | tuple[int, ...]:
    """Every status code that a retry condition stands for; () for those that are about connections."""
    if condition in _WORDS:
        return range(500, 600) if condition == "5xx" else _WORDS[condition]
    low, dash, high = condition.partition("-")
    if not is_number(low) or (dash and not is_number(high)):
        return ()
    return range(int(low), int(high or low) + 1)


def ranges(codes: Iterable[int]) -> str:
    """Status codes as a reader writes them: `509, 512-599`."""
    runs: list[list[int]] = []
    for code in sorted(codes):
        if runs and runs[-1][1] == code - 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def status_codes(condition: str) -> tuple[int, ...]:
    """The status codes that are written for a retry condition: of a class or a range those that are assigned; () for those about connections."""
    if condition in _WORDS:
        return _WORDS[condition]
    codes = _meant(condition)
    return tuple(code for code in codes if 400 <= code <= 599 and (len(codes) == 1 or code in _SERVER_ERRORS or code < 430))
