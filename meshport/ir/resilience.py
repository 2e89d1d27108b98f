"""Retries, circuit breaking, connection limits and load balancing of a Service. Durations are whole milliseconds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from meshport.ir.base import LAST, NOWHERE, Fact, Ref, Src, sources

ISTIO_RETRIES = 2
"""Tries after the first that Istio makes where nobody says anything."""
ISTIO_CONDITIONS = ("connect-failure", "refused-stream", "unavailable", "cancelled")
"""What Istio retries on where nobody says anything (since 1.24)."""

CONNECTION_ERRORS = ("connect-failure", "refused-stream")
"""What a route of the Gateway API is retried on that names no status code, in Istio's words."""

CONSISTENT_HASH = "loadBalancer.consistentHash."
"""The beginning of the settings by which requests that belong together reach one endpoint."""

LEAST_REQUEST = ("UNSPECIFIED", "LEAST_REQUEST", "LEAST_CONN")
"""The names under which Istio is asked for the choice of an endpoint that it makes where nobody says anything."""


@dataclass(frozen=True, slots=True)
class Retry:
    """`attempts` are tries after the first; 0 is none.

    `conditions` are the field's words: 5xx, gateway-error, reset, connect-failure, 503, unavailable...
    """

    attempts: Fact[int] | None = None
    per_try_timeout: Fact[int] | None = None
    conditions: tuple[Fact[str], ...] = ()
    extras: tuple[tuple[str, Fact[Any]], ...] = ()  # by feature: backoff, budget...
    default: bool = False  # the mesh's own default policy
    src: Src = NOWHERE

    @property
    def none(self) -> bool:
        """Whether this says that nothing is retried."""
        return self.attempts is not None and self.attempts.value == 0


@dataclass(frozen=True, slots=True)
class Breaker:
    """Ejection of an endpoint.

    `consecutive` failures in a row eject it for `penalty`, at most `max_penalty`; the rest by feature in `extras`.
    """

    consecutive: Fact[int]
    penalty: Fact[int]
    max_penalty: Fact[int] | None = None
    extras: tuple[tuple[str, Fact[Any]], ...] = ()
    src: Src = field(default=NOWHERE, compare=False)

    def extra(self, feature: str) -> Fact[Any] | None:
        return next((fact for name, fact in self.extras if name == feature), None)

    @property
    def ejects(self) -> bool:
        """Whether something in a row ejects an endpoint: failures of any kind, those of gateways alone, or, counted apart, connections that fail (5 of them unless told)."""
        gateway, apart, local = map(
            self.extra, ("consecutiveGatewayErrors", "splitExternalLocalOriginErrors", "consecutiveLocalOriginFailures")
        )
        connections = apart is not None and apart.value is True and (local is None or bool(local.value))
        return bool(self.consecutive.value) or (gateway is not None and bool(gateway.value)) or connections


@dataclass(frozen=True, slots=True)
class ServicePolicy:
    """What clients of a Service do beside routing. `extras` are settings by feature: connection limits, load balancing, TLS towards it."""

    ref: Fact[Ref]  # the object
    kind: str
    service: Fact[Ref] | None
    host: Fact[str]
    breaker: Breaker | None
    extras: tuple[tuple[str, Fact[Any]], ...]
    document: int
    subset: str = ""
    port: Fact[int] | None = None
    exports: tuple[Fact[str], ...] = ()
    silenced: tuple[tuple[str, Src], ...] = ()  # leaves that the source mesh does not act on, with the reason
    covers: tuple[Ref, ...] = ()  # the known Services that a host with a wildcard stands for
    clients: str = ""  # the namespace of the clients that alone go by it, "" for all
    beside: bool = False  # whether the other clients go by another one, or by none
    created: str = LAST
    src: Src = NOWHERE

    @property
    def subject_name(self) -> str:
        name = f"Service {self.service.value}" if self.service is not None else f"host {self.host.value}"
        name += f" subset {self.subset}" if self.subset else ""
        return name + (f" port {self.port.value}" if self.port else "") + self.for_whom

    @property
    def for_whom(self) -> str:
        return f" for clients of {self.clients}" if self.beside else ""


def each_service(policy: ServicePolicy) -> tuple[ServicePolicy, ...]:
    """The policy, or where its host is a wildcard one for each known Service that it covers."""
    return tuple(replace(policy, service=policy.host.holding(ref), covers=()) for ref in policy.covers) or (policy,)


def breaker_subjects(policy: ServicePolicy) -> tuple[str, ...]:
    """What differences in circuit breaking are about: one subject for each Service that the policy is for."""
    return tuple(f"breaker of {one.subject_name}" for one in each_service(policy))


def policy_subjects(policy: ServicePolicy) -> tuple[str, ...]:
    """What differences in limits, load balancing or TLS towards a Service are about."""
    return tuple(f"policy of {one.subject_name}" for one in each_service(policy))


def single_ports(policies: Iterable[ServicePolicy], whole: ServicePolicy, covered: Ref | None = None) -> dict[int, ServicePolicy]:
    """By port, the policies that stand in for one of a whole Service: what they leave out is the mesh's default again, and not what `whole` says.

    For a host with a wildcard, `covered` is the one of its Services that is asked about.
    """
    ref = whole.service.value if whole.service is not None else covered
    if whole.port is not None or whole.subset or ref is None:
        return {}
    return {
        policy.port.value: policy
        for policy in policies
        if policy.port is not None
        and (policy.service.value == ref if policy.service is not None else ref in policy.covers)
        and (policy.subset, policy.clients) == ("", whole.clients)
    }


def same_on_each_port(policies: Iterable[ServicePolicy], policy: ServicePolicy, ref: Ref, ports: Collection[int]) -> bool:
    """Whether the breaker of a policy for one port of the Service `ref` is that of all its `ports`, so that it is one of the whole Service."""
    rest = [one for one in policies if one.service is not None and one.service.value == ref and not one.subset]
    alike = [one for one in rest if one.clients == policy.clients]
    whole = next((one.breaker for one in alike if one.port is None), None)
    single = {one.port.value: one.breaker for one in alike if one.port is not None}
    return bool(ports) and not policy.subset and all(single.get(port, whole) == policy.breaker for port in ports)


def joined(policies: Sequence[ServicePolicy]) -> ServicePolicy:
    """Policies for single ports that all say the same, as one for the whole Service that is known from the leaves of each."""
    first = policies[0]
    breakers = [one.breaker for one in policies if one.breaker is not None]
    breaker = first.breaker and Breaker(
        first.breaker.consecutive.also(*(one.consecutive for one in breakers)),
        first.breaker.penalty.also(*(one.penalty for one in breakers)),
        first.breaker.max_penalty and first.breaker.max_penalty.also(*(one.max_penalty for one in breakers)),
        _each(*(one.extras for one in breakers)),
        sources(*(one.src for one in breakers)),
    )
    host = first.host.also(*(one.host for one in policies), *(one.port for one in policies))
    return replace(
        first,
        port=None,
        service=first.service and first.service.also(*(one.service for one in policies)),
        host=host,
        breaker=breaker,
        extras=_each(*(one.extras for one in policies)),
        src=sources(*(one.src for one in policies)),
    )


def _each(*lists: tuple[tuple[str, Fact[Any]], ...]) -> tuple[tuple[str, Fact[Any]], ...]:
    """Settings that are the same in each list, known from all."""
    return tuple((same[0][0], same[0][1].also(*(fact for _, fact in same))) for same in zip(*lists, strict=True))


def explains_breaker(policy: ServicePolicy, *aspects: str) -> frozenset[tuple[str, str]]:
    """The differences in circuit breaking that a finding about a policy answers for."""
    return frozenset((subject, aspect) for subject in breaker_subjects(policy) for aspect in aspects)


def explains_policy(policy: ServicePolicy, *aspects: str) -> frozenset[tuple[str, str]]:
    """The other differences that a finding about a policy answers for."""
    return frozenset((subject, aspect) for subject in policy_subjects(policy) for aspect in aspects)
