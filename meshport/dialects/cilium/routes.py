"""Routes as Cilium reads them: GAMMA routes on a Service, without the port of the parent, for clients of every namespace.

https://docs.cilium.io/en/stable/network/servicemesh/gateway-api/gamma/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from meshport.dialects.cilium.envoy_matches import demanded
from meshport.dialects.cilium.saying import MOST_PATHS, fits
from meshport.dialects.gateway_api.ingress import IngressLowering
from meshport.dialects.gateway_api.lowering import GATEWAY, RouteLowering
from meshport.dialects.gateway_api.patterns import full_regex
from meshport.dialects.gateway_api.ranking import form, ranked_by_specificity
from meshport.dialects.gateway_api.sayable import ASPECTS
from meshport.dialects.gateway_api.service_routes import Lowering as ServiceLowering
from meshport.ir.authorization import Pattern
from meshport.ir.routing import RouteMatch, RouteRule, gather, routes_subject
from meshport.mapping.table import version_key
from meshport.values import programs
from meshport.values.language import PATHS, Language, LanguageTooLarge
from meshport.values.problems import ValueProblem
from meshport.values.programs import LARGEST

_RELEASES = {(1, 15): (1, 0), (1, 16): (1, 1), (1, 17): (1, 2), (1, 18): (1, 3), (1, 19): (1, 4), (1, 20): (1, 6)}
"""The Gateway API that each release of Cilium is conformant with (kubernetes-sigs/gateway-api, conformance/reports)."""
GAMMA = (1, 16)


def gateway_release(version: str) -> tuple[int, ...]:
    """The release of the Gateway API that a release of Cilium reads."""
    wanted = version_key(version)
    return max((known for release, known in _RELEASES.items() if release <= wanted), default=(0, 7))


def _untaken(text: str) -> str:
    """Why a route has no such expression in Cilium; the empty text where it may. A word boundary costs one instruction and is kept."""
    try:
        size = programs.size(programs.with_boundaries(text))
    except (LanguageTooLarge, ValueProblem) as error:
        return (
            f"has an expression whose size is not known ({error}), and Cilium's Envoy refuses one of more than {LARGEST} RE2 instructions"
        )
    return f"needs an expression of more than {LARGEST} RE2 instructions, which Cilium's Envoy refuses" if size > LARGEST else ""


def fitting(lowering: RouteLowering, match: RouteMatch, shown: str) -> list[RouteMatch]:
    """The match with expressions that Envoy takes, its path in parts where one would be too large; [] where that does not do, and it is said."""
    where = [("header " + name, fact) for name, fact, _ in demanded(match)] + [("query " + name, fact) for name, fact in match.query]
    for what, fact in where:
        if fact.value.kind not in ("exact", "any") and (why := _untaken(full_regex(fact.value))):
            lowering.say("MP123", match.src, fact, aspects=ASPECTS, rule=shown, what=what, why=why)
            return []
    if match.path is None or form(match)[0] != "regex" or not (why := _untaken(full_regex(match.path.value))):
        return [match]
    try:
        parts = Language.regex(full_regex(match.path.value)).to_regexes(fits, MOST_PATHS, PATHS)
    except (LanguageTooLarge, ValueProblem):
        parts = None
    if parts is None:
        lowering.say("MP123", match.src, match.path, aspects=ASPECTS, rule=shown, what="path", why=why)
        return []
    return [replace(match, path=match.path.holding(Pattern("regex", text))) for text in parts]


class Lowering(ServiceLowering):
    """One set of rules on its way into routes that Cilium follows between workloads."""

    __slots__ = ()

    def _match(self, match: RouteMatch, shown: str) -> list[RouteMatch]:
        return [one for found in super()._match(match, shown) for one in fitting(self, found, shown)]

    @property
    def release(self) -> tuple[int, ...]:
        return gateway_release(self.options.target_version)

    @property
    def api(self) -> str | None:
        return f"{GATEWAY}/v1" if version_key(self.options.target_version) >= GAMMA else None

    def ranked(self, rules: Sequence[RouteRule]) -> list[list[RouteMatch]]:
        matches, unkept = ranked_by_specificity(rules, "cilium")
        return self.unordered(rules, unkept) if unkept else matches

    @property
    def followers(self) -> str:
        """All of them but where the bundle shows no other client."""
        if self.routes.consumer is not None:
            return self.routes.consumer.value
        home = self.routes.ref.value.namespace
        told = {home if fact.value == "." else fact.value for fact in self.routes.exports}
        if not told or "*" in told:
            return ""
        clients = {workload.ref.namespace for workload in self.ir.world.workloads if self.ir.world.meshed(workload)}
        return ", ".join(sorted(told)) if clients - told else ""

    def names_port(self, port: int) -> bool:
        """Cilium reports a parent with a port as not supported since 1.17."""
        return False

    @property
    def alike(self) -> bool:
        """Whether requests for every port meet the same: the rules name no port of the request, and the port of each destination."""
        rules = self.routes.rules
        named = all(backend.port is not None for rule in rules for backend in rule.backends) and all(
            item.part("port") is not None for rule in rules for item in rule.filters if item.kind == "mirror"
        )
        whole = self.routes.unmatched == "refuse" or any(rule.everything for rule in rules)
        asked = any(match.port is not None for rule in rules for match in rule.matches)
        return named and whole and not asked and all(rule.backends or rule.answers for rule in rules)

    def write(self) -> None:
        """Write the routes where Cilium follows them as they are meant, or say why not."""
        src = self.routes.src | gather(self.routes.rules)
        if self.api is None:
            self.say("MP370", src, aspects=ASPECTS, version=self.options.target_version, kind="HTTPRoute", since=".".join(map(str, GAMMA)))
            return
        if self.followers:
            why = "Cilium would make every client of the Service follow them"
            self.say("MP371", src, gather(self.routes.exports), aspects=ASPECTS, namespace=self.followers, why=why)
            return
        tcp = [port for port in self.service.ports if port.protocol == "TCP"]
        http = [port for port in tcp if self.carries(port) and not self.service.is_opaque(port.number)]  # as the source has it
        asked = self.routes.port
        if asked is None and len(http) > 1 and self.alike:
            self.ports = [http[0].number]
        elif len(http) > 1 or (asked is not None and len(tcp) > 1):
            self.say("MP372", src, aspects=ASPECTS, ports=", ".join(str(port.number) for port in tcp))
            return
        if len(tcp) > len(http):
            others = [port.number for port in tcp if port not in http]
            self.say("MP373", aspects=(), disposition=None, ports=", ".join(str(port) for port in others))
            self.out.findings[-1].explains = frozenset((routes_subject(self.routes.subject_name, port), "*") for port in others)
        super().write()


class Ingress(IngressLowering):
    """Rules for requests from outside, on Gateways that Cilium serves."""

    __slots__ = ()
    second: ClassVar[str] = "ingress"

    def _match(self, match: RouteMatch, shown: str) -> list[RouteMatch]:
        return [one for found in super()._match(match, shown) for one in fitting(self, found, shown)]

    @property
    def release(self) -> tuple[int, ...]:
        return gateway_release(self.options.target_version)

    def ranked(self, rules: Sequence[RouteRule]) -> list[list[RouteMatch]]:
        matches, unkept = ranked_by_specificity(rules, "cilium")
        return self.unordered(rules, unkept) if unkept else matches


__all__ = ["Ingress", "Lowering", "gateway_release"]
