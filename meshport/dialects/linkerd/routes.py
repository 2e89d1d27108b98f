"""Routes as Linkerd says them: HTTPRoutes with the annotations that hold for a whole object, ranked by Linkerd's own order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from meshport.dialects import naming, protocols
from meshport.dialects.gateway_api import grpc
from meshport.dialects.gateway_api.durations import in_one_unit, of_a_field, one_unit
from meshport.dialects.gateway_api.lowering import GATEWAY, RouteLowering
from meshport.dialects.gateway_api.ranking import outranks, ranked_for_linkerd
from meshport.dialects.gateway_api.sayable import ASPECTS
from meshport.dialects.gateway_api.writing import Target
from meshport.dialects.linkerd.resilience import GRPC, retry_annotations
from meshport.dialects.output import Obj, Output
from meshport.ir.base import Fact, Ref
from meshport.ir.resilience import ISTIO_CONDITIONS, ISTIO_RETRIES, Retry
from meshport.ir.routing import Backend, Filter, RouteMatch, RouteRule, gather
from meshport.mapping.table import version_key

__all__ = ["ASPECTS", "Lowering", "route_api"]


def route_api(version: str) -> str | None:
    """The HTTPRoute that a release of Linkerd reads on Services; None before 2.13."""
    key = version_key(version)
    if key >= (2, 18):
        return f"{GATEWAY}/v1"
    if key >= (2, 14):
        return f"{GATEWAY}/v1beta1"
    return "policy.linkerd.io/v1beta2" if key >= (2, 13) else None


def _by_try(rule: RouteRule, out: Output) -> RouteRule:
    """The rule whose timeout for what is sent to a backend is that of each try, or, where nothing is tried again, of the request."""
    each, retry, timeout = (
        next((fact for name, fact in rule.extras if name == "backendRequest" and fact.value), None),
        rule.retry,
        rule.timeout,
    )
    if each is None or (retry is not None and retry.per_try_timeout is not None):
        return rule
    rule = replace(rule, extras=tuple((name, fact) for name, fact in rule.extras if name != "backendRequest"))
    if retry is not None and not retry.none and retry.attempts is not None:
        return replace(rule, retry=replace(retry, per_try_timeout=each))
    if timeout is None or not timeout.value or each.value <= timeout.value:
        out.ignore("the timeout of the one try ends the request before it", timeout)
        return replace(rule, timeout=each)
    out.ignore("the timeout of the request ends its one try before it", each)
    return rule


class Lowering(RouteLowering):
    """One set of rules on its way into Linkerd's HTTPRoutes; into GRPCRoutes where retries ask for a gRPC status, which HTTPRoutes have no word for.

    Linkerd uses the routes of one kind on a port, so it is one kind for all rules of a Service.
    """

    __slots__ = ()
    group: ClassVar[str] = "core"
    linkerd: ClassVar[bool] = True
    grants: ClassVar[bool] = False

    @property
    def api(self) -> str | None:
        if self.kind == "GRPCRoute" and version_key(self.options.target_version) < (2, 18):
            return f"{GATEWAY}/v1alpha2"
        return route_api(self.options.target_version)

    def write(self) -> None:
        if version_key(self.options.target_version) >= (2, 16) and self._by_method():
            self.kind = "GRPCRoute"
        super().write()

    def _by_method(self) -> bool:
        """Whether retries ask for a gRPC status, each port is for gRPC and a GRPCRoute can say each rule: Linkerd's has changes of request headers alone."""
        routes = self.routes
        asked = any(fact.value in GRPC for rule in routes.rules if rule.retry is not None for fact in rule.retry.conditions)
        ports = [self.service.port(number) for number in self.own_ports()] if asked else []
        return (
            bool(ports)
            and all(port is not None and protocols.of_service_port(port) == "grpc" for port in ports)
            and all(grpc.method_of(match) is not None for rule in routes.rules for match in rule.matches)
            and all(
                item.kind not in ("redirect", "rewrite", "response-headers", "direct-response")
                for rule in routes.rules
                for item in (*rule.filters, *(item for backend in rule.backends for item in backend.filters))
            )
        )

    def _rule(self, rule: RouteRule, number: int) -> RouteRule | None:
        return super()._rule(_by_try(rule, self.out) if version_key(self.options.target_version) >= (2, 16) else rule, number)

    def ranked(self, rules: Sequence[RouteRule]) -> list[list[RouteMatch]]:
        return ranked_for_linkerd(rules, grpc.outranks if self.kind == "GRPCRoute" else outranks)

    def itself(self, rule: RouteRule) -> tuple[Backend, ...]:
        """Linkerd sends to the Service itself where a rule names no backend."""
        return ()

    def filter(self, item: Filter, rule: RouteRule, shown: str) -> list[Filter]:
        if item.kind == "response-headers" and version_key(self.options.target_version) < (2, 14):
            for what, fact in item.parts:
                self.say("MP320", fact, aspects=("filters",), rule=shown, what=f"the response header change {what}")
            return []
        return [self.portable(item, shown)]

    def refusing(self, rule: RouteRule, port: int) -> list[Target]:
        """A backend that does not exist: without one Linkerd would send the requests to the Service."""
        nowhere = self._nowhere()
        because = gather(rule.matches, self.routes.service)
        return [Target(nowhere, port, None, Backend(None, Fact(nowhere.name, because)), because)]

    @property
    def shown(self) -> str:
        """What the rules are for, as findings name it."""
        return f"Service {self.service.ref}"

    def _nowhere(self) -> Ref:
        """A name that no Service of the input has."""
        ref = self.service.ref
        names = (naming.name(ref.name, "refused"), *(naming.name(ref.name, "refused", str(number)) for number in range(2, 100)))
        return next(Ref(ref.namespace, name) for name in names if Ref(ref.namespace, name) not in self.ir.world.services)

    def times(self, rule: RouteRule, shown: str) -> dict[str, Any]:
        """Timeout and retries, as far as the release has them."""
        timeout, retry = rule.timeout, rule.retry
        if timeout is not None and timeout.value == 0:
            self.out.imply("0 is no timeout, and none is the default", timeout)
            timeout = None
        version = version_key(self.options.target_version)
        if timeout is not None and version < (2, 14):
            self.lost(timeout, "timeout", what="timeout", rule=shown, value=one_unit(timeout.value))
            timeout = None
        if timeout is not None and (most := in_one_unit(timeout.value)) != timeout.value:
            self.say(
                "MP396", timeout, aspects=("timeout",), disposition="approximated", rule=shown, value=of_a_field(timeout.value), written=one_unit(most)
            )  # fmt: skip
            timeout = timeout.holding(most)
        if retry is None:
            if self.options.preserve_default_retries and self.routes.family == "istio" and rule.filter("redirect") is None:
                conditions = tuple(Fact(word) for word in ISTIO_CONDITIONS)
                retry = Retry(Fact(ISTIO_RETRIES, rule.src), None, conditions, default=True)
        elif retry.none:
            self.out.imply("Linkerd retries only where it is told to", gather(retry), retry.src)
            retry = None
        if retry is not None and version < (2, 16):
            told: tuple[Fact[Any] | None, ...] = (
                retry.attempts,
                retry.per_try_timeout,
                *dict.fromkeys(retry.conditions),
                *(fact for _, fact in retry.extras),
            )
            for fact in told:
                if fact is not None and fact.src and not retry.default:
                    value = one_unit(int(fact.value)) if fact is retry.per_try_timeout else fact.value
                    self.lost(fact, "retries", what="retries", rule=shown, value=value)
            retry = None
        if retry is not None:
            for name, fact in retry.extras:
                self.lost(fact, "retries", what=f"retries.{name}", rule=shown)
            _, left = retry_annotations(retry, self.kind)
            if left and not retry.default:
                words = ", ".join(dict.fromkeys(fact.value for fact in left))
                self.say("MP402", *left, aspects=("retries",), disposition="approximated", rule=shown, conditions=words, route=self.kind)
            elif retry.conditions and all(fact.value in ("retriable-status-codes", "refused-stream") for fact in retry.conditions):
                self.out.imply("what Linkerd retries within its limit by itself", *retry.conditions)
            elif not retry.conditions and not retry.default:
                self.say(
                    "MP402", retry.attempts, aspects=("retries",), disposition=None, rule=shown, conditions=", ".join(ISTIO_CONDITIONS),
                    route=self.kind,
                )  # fmt: skip
        return {"timeout": timeout, "retry": retry}

    def silent(self) -> None:
        """What becomes of the retries that Istio makes unasked: said once for a Service."""
        if self.routes.family != "istio":
            return
        code = "MP408" if self.options.preserve_default_retries else "MP401"
        already = [item for item in self.out.findings if item.code == code and item.affects == self.affects]
        if already:
            already[0].explains |= self.explained("retries")
        else:
            self.say(code, aspects=("retries",), disposition=None, service=self.shown)

    def finish(self, obj: Obj, place: tuple[str | int, ...], rule: RouteRule) -> None:
        """Nothing more: what a rule has beside stands in annotations of the object."""

    def annotations(self, rule: RouteRule, reasons: list[RouteRule] | None = None) -> dict[str, tuple[str, tuple[Any, ...]]]:
        """The annotations that a rule needs; compared by value, and with `reasons` because of all rules that share the object."""
        out: dict[str, tuple[str, tuple[Any, ...]]] = {}
        for each in reasons or [rule]:
            found: dict[str, tuple[str, tuple[Any, ...]]] = retry_annotations(each.retry, self.kind)[0] if each.retry is not None else {}
            times = [("response", each.response_timeout), ("idle", each.idle_timeout)]
            if self.kind == "GRPCRoute":  # which has no field for it
                times.append(("request", each.timeout))
            for key, fact in times:
                if fact is not None and fact.value:
                    found[f"timeout.linkerd.io/{key}"] = (one_unit(fact.value), (fact,))
            for key, (value, facts) in found.items():
                out[key] = (value, out[key][1] + facts if key in out else facts)
        return out if reasons else {key: (value, ()) for key, (value, _) in out.items()}
