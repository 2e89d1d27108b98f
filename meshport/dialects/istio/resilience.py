"""How Istio says resilience: DestinationRule traffic policies, VirtualService retries; both directions.

DestinationRules are looked up, not merged: the namespace first (the route's, the Service's, the root's), then the most specific host;
inside one rule a
subset's block replaces the whole block above it. https://istio.io/latest/docs/reference/config/networking/destination-rule/
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api import backends
from meshport.dialects.gateway_api.durations import milliseconds, one_unit
from meshport.findings import Affected
from meshport.ir.base import ANYWHERE, NOWHERE, Fact, Ref, Src, sources
from meshport.ir.resilience import CONSISTENT_HASH, Breaker, Retry, ServicePolicy, explains_breaker, explains_policy
from meshport.ir.routing import Subset, gather
from meshport.mapping.table import version_key

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Obj, Output
    from meshport.ir.model import IR
    from meshport.mapping.bound import Bound

API = "networking.istio.io/v1"
BASE_EJECTION = 30_000
CONSECUTIVE = 5
LONGEST_EJECTION = 300_000  # Envoy's max_ejection_time, which Istio leaves as it is; never below the base


def own_ref(root: Cursor, options: Options) -> Fact[Ref]:
    """The object's name, in the default namespace where it names none."""
    fact = root.ref()
    return fact if fact.value.namespace else fact.map(lambda ref: Ref(options.default_namespace, ref.name))


def resolve(host: str, namespace: str, options: Options) -> Ref | None:
    """The Service that a host means, None for any other host: a name without a dot is one of `namespace`, a dotted one is taken as it
    stands."""
    name = host.lower()
    if "*" in name or ":" in name:
        return None
    if "." not in name:
        return Ref(namespace, name)
    suffix = ".svc." + options.cluster_domain
    labels = name.removesuffix(suffix).split(".")
    return Ref(labels[1], labels[0]) if name.endswith(suffix) and len(labels) == 2 and all(labels) else None


def fqdn(ref: Ref, options: Options) -> str:
    return f"{ref.name}.{ref.namespace}.svc.{options.cluster_domain}"


def full_host(host: str, namespace: str, options: Options) -> str:
    """A host as the registry knows it."""
    service = resolve(host, namespace, options)
    return fqdn(service, options) if service else host.lower()


class Subsets:
    """The subsets that DestinationRules define, by the host they are for."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._rules: dict[str, list[tuple[str, Fact[Ref], dict[str, Subset]]]] = {}  # namespace: (host pattern, rule, subsets)
        self._exact: dict[str, set[str]] = {}  # host: the namespaces with rules for it
        self._wide: dict[str, set[str]] = {}  # the same of hosts with a wildcard

    def add(self, namespace: str, host: str, rule: Fact[Ref], subsets: dict[str, Subset]) -> None:
        self._rules.setdefault(namespace, []).append((host, rule, subsets))
        (self._wide if "*" in host else self._exact).setdefault(host, set()).add(namespace)

    def homes(self, host: str) -> set[str]:
        """The namespaces with rules for a host."""
        wide = (homes for pattern, homes in self._wide.items() if covers(pattern, host))
        return self._exact.get(host, set()).union(*wide)

    def find(self, host: str, subset: str, namespaces: tuple[str, ...]) -> Subset | None:
        """The subset as a client sees it: the first namespace with a rule for the host decides, and in it the most specific host."""
        for namespace in namespaces:
            matching = [entry for entry in self._rules.get(namespace, ()) if covers(entry[0], host)]
            if not matching:
                continue
            best = max(len(entry[0]) + (1000 if "*" not in entry[0] else 0) for entry in matching)
            closest = sorted(
                (entry for entry in matching if len(entry[0]) + (1000 if "*" not in entry[0] else 0) == best),
                key=lambda entry: entry[1].value,
            )
            saying = [(rule, known[subset]) for _, rule, known in closest if subset in known]
            if len(saying) < 2:
                return saying[0][1] if saying else None
            return replace(saying[0][1], src=sources(saying[0][1].src, *(rule for rule, _ in saying)))  # the names of the rules decide
        return None


def covers(pattern: str, host: str) -> bool:
    """Whether a host of a DestinationRule stands for this host."""
    return pattern == host or pattern == "*" or (pattern.startswith("*") and host.endswith(pattern[1:]))


def lift_rules(bound: Bound, numbers: list[int], options: Options, ir: IR, ambient: frozenset[str] = frozenset()) -> Subsets:
    """DestinationRules as service policies, and the subsets that they define; `ambient` are the namespaces that are in the mesh without sidecars."""
    known = Subsets(options)
    homes: list[tuple[str, Src]] = []
    for number in numbers:
        root = Cursor.root(bound, number)
        ref = own_ref(root, options)
        host = root.text("spec", "host")
        if host is None:
            continue
        namespace = ref.value.namespace
        full = full_host(host.value, namespace, options)
        service = resolve(host.value, namespace, options)
        fronted = service is not None and service.namespace in ambient  # by waypoints, which read the rules of their own namespace alone
        if "." not in host.value or fronted:
            host = host.also(root.at("metadata", "namespace").src)  # a short name is one of the rule's namespace
        subsets: dict[str, Subset] = {}
        placed = root.at("kind").src | root.at("metadata", "namespace").src
        base = ServicePolicy(
            ref,
            "DestinationRule",
            host.holding(service) if service else None,
            host.holding(full),
            None,
            (),
            number,
            exports=root.strings("spec", "exportTo"),
            created=root.created(),
        )
        ir.service_policies.extend(_policies(base, root.at("spec", "trafficPolicy")))
        for item in root.each("spec", "subsets"):
            name = item.text("name")
            if name is None:
                continue
            labels = tuple(
                sorted((key, str(value.value)) for key, value in item.items("labels") if not isinstance(value.value, dict | list))
            )
            subsets.setdefault(name.value, Subset(name.value, labels, name.src | item.at("labels").src | host.src | placed))
            subset = replace(base, subset=name.value, src=name.src | item.at("labels").src)
            ir.service_policies.extend([subset] if not item.at("trafficPolicy") else _policies(subset, item.at("trafficPolicy")))
        known.add(namespace, full, ref, subsets)
        alone = (
            "." in host.value and service is not None and not fronted and not subsets and all(fact.value == "*" for fact in base.exports)
        )
        homes.append((full, root.at("metadata", "namespace").src if alone else NOWHERE))
    for full, home in homes:
        if home and sum(covers(pattern, full) for pattern, _ in homes) == 1:  # the only one, by which every client goes
            ir.idle.append(Fact(ANYWHERE, home, "identity.namespace"))
    return known


def _policies(base: ServicePolicy, place: Cursor) -> list[ServicePolicy]:
    """What a traffic policy says, and what its port-level entries say: those replace the blocks above for their port."""
    if not place:
        return [replace(base, src=gather(base.host))] if not base.subset else []
    found = [_policy(base, place)]
    for item in place.each("portLevelSettings"):
        number = item.number_at("port", "number")
        if number is not None:
            found.append(_policy(replace(base, port=number), item))
    return found


_TODAY = {f"{CONSISTENT_HASH}minimumRingSize": f"{CONSISTENT_HASH}ringHash.minimumRingSize"}
"""Names that settings had once, and have today."""


def _policy(base: ServicePolicy, place: Cursor) -> ServicePolicy:
    extras: list[tuple[str, Fact[Any]]] = []
    for key in place.keys():  # noqa: SIM118  a Cursor is no mapping
        if key not in ("outlierDetection", "portLevelSettings", "port"):
            said = ((f"{key}.{path}" if path else key, fact) for path, fact in place.leaves(key))
            extras.extend((_TODAY.get(path, path), fact) for path, fact in said)
    return replace(base, breaker=_breaker(place.at("outlierDetection")), extras=tuple(extras), src=base.src | gather(base.host) | place.src)


def _breaker(place: Cursor) -> Breaker | None:
    if not place:
        return None
    block = place.src if place.value == {} else NOWHERE
    consecutive = place.number_at("consecutive5xxErrors") or Fact(CONSECUTIVE, block, "breaker.consecutive-errors")
    penalty = place.get("baseEjectionTime", milliseconds) or Fact(BASE_EJECTION, block, "breaker.base-ejection")
    extras = tuple((path, fact) for path, fact in place.leaves() if path not in ("consecutive5xxErrors", "baseEjectionTime", ""))
    return Breaker(consecutive, penalty, None, extras, place.src)


def retry_of(place: Cursor) -> Retry | None:
    """A `retries` block; `{}` and one without attempts retry nothing."""
    if not place:
        return None
    attempts = place.number_at("attempts") or Fact(0, place.src, "retry.attempts")
    listed = place.text("retryOn")
    conditions = tuple(Fact(word.strip(), listed.src, listed.feature) for word in listed.value.split(",") if word.strip()) if listed else ()
    extras = tuple((key, fact) for key in ("backoff", "retryRemoteLocalities", "retryIgnorePreviousHosts") for _, fact in place.leaves(key))
    return Retry(attempts, place.get("perTryTimeout", milliseconds), conditions, extras, src=place.src)


# -- lowering


def lower(ir: IR, out: Output, options: Options) -> None:
    """Breakers and the rest of service policies as DestinationRules."""
    _of_backends(ir, out)
    if version_key(options.target_version) >= (1, 28):
        backends.beginning(ir, out, options)
    for policy in sorted(
        ir.service_policies, key=lambda item: (item.host.value, item.subset, item.port.value if item.port else 0, item.ref.value)
    ):
        for reason, src in policy.silenced:
            out.ignore(reason, src)
        if policy.kind == "DestinationRule":
            continue
        if policy.kind in backends.GROUPS:
            _of_backend(policy, out, options)
            continue
        affects = (Affected(policy.service.value.namespace, policy.service.value.name, None),) if policy.service else ()
        if ir.mesh == "cilium":
            _traffic_policy(policy, out, options)
            continue
        for feature, fact in policy.extras:
            if out.lost(fact, document=policy.document, affects=affects, explains=explains_policy(policy, feature)) is None:
                out.finding(
                    "MP540", fact, document=policy.document, disposition="dropped", affects=affects,
                    explains=explains_policy(policy, feature), setting=feature, value=fact.value, subject=policy.subject_name,
                )  # fmt: skip
        if policy.breaker is not None and policy.service is not None:
            _outlier_detection(policy, policy.breaker, ir, out, options)


def _of_backend(policy: ServicePolicy, out: Output, options: Options) -> None:
    """A BackendTLSPolicy stays where the release reads it (1.28); before, and for a retry budget, which Istio reads in alpha alone, it is a DestinationRule."""
    release = version_key(options.target_version)
    if policy.kind == backends.TLS and release >= (1, 28):
        out.imply("stays as it is: Istio reads it too", policy.src, gather(policy.extras, policy.host, policy.port))
        out.staying.add(policy.document)
        return
    assert policy.service is not None
    affects = (Affected(policy.service.value.namespace, policy.service.value.name),)
    place: tuple[str | int, ...] = ("spec", "trafficPolicy")
    authority = next((fact for path, fact in policy.extras if path == "tls.credentialName"), None)
    if authority is not None and release < (1, 26):
        out.finding(
            "MP377", policy.src, gather(policy.extras, policy.host, policy.port), document=policy.document, disposition="dropped", affects=affects,
            explains=explains_policy(policy, "*"), object=f"{policy.kind} {policy.ref.value}", mesh="Istio before 1.26", service=str(policy.service.value),
            gateways="nor do its Gateways", feature="tls.client-mode",
        )  # fmt: skip
        return
    known = {"retryBudget": (1, 27), "retryBudget.budgetInterval": (1, 31), "tls": (1, 0)}
    for path, fact in policy.extras:
        steps = path.replace("[", ".").replace("]", "").split(".")
        since = known.get(path) or known.get(steps[0])
        approximate = path == "retryBudget.minRetryConcurrency"
        if since is None or release < since or approximate:
            out.lost(fact, document=policy.document, affects=affects, explains=explains_policy(policy, path), value=fact.value)
        if since is not None and release >= since:
            obj = destination_rule(policy.service.value, out, options, policy.service, document=policy.document)
            obj.note(f"from {policy.kind} {policy.ref.value}")
            at = place
            if policy.port is not None:
                listed = obj.value.get("spec", {}).get("trafficPolicy", {}).get("portLevelSettings", [])
                index = next((number for number, one in enumerate(listed) if one["port"]["number"] == policy.port.value), len(listed))
                at = (*place, "portLevelSettings", index)
                obj.set((*at, "port", "number"), policy.port.value, policy.port)
            obj.set((*at, *(int(step) if step.isdigit() else step for step in steps)), fact.value, fact)


def _breakers(ir: IR) -> dict[Ref, tuple[int, int]]:
    """The breakers of Services, where the source has one for all that is sent by way of a Service, by that Service."""
    return {
        policy.service.value: (policy.breaker.consecutive.value, policy.breaker.penalty.value)
        for policy in ir.service_policies
        if policy.kind == "Service" and policy.service is not None and policy.breaker is not None and policy.breaker.consecutive.value
    }


def _of_backends(ir: IR, out: Output) -> None:
    """Say where a rule sends to a Service with another breaker than the one that clients call: Istio goes by that of the former."""
    known = _breakers(ir)
    for routes in ir.routes:
        if not known or routes.service is None or not routes.mesh or routes.problem:
            continue
        own = routes.service.value
        for ref in sorted({backend.service.value for rule in routes.rules for backend in rule.backends if backend.service is not None}):
            if ref != own and ref in known and known[ref] != known.get(own):
                out.finding(
                    "MP597", document=routes.document, affects=(Affected(own.namespace, own.name),), feature="breaker.consecutive-errors",
                    subject=routes.subject_name, backend=f"Service {ref}", object=f"{routes.kind} {routes.ref.value}",
                    instead="which is another" if own in known else "which had none",
                )  # fmt: skip


def destination_rule(service: Ref, out: Output, options: Options, *because: Fact[Any] | Src, document: int | None) -> Obj:
    """The DestinationRule of a Service, made where there is none yet."""
    obj = out.object(API, "DestinationRule", service, owner=document, group=f"service {service.name}", rank=35, because=gather(*because))
    obj.set(("spec", "host"), fqdn(service, options), *because)
    return obj


def _traffic_policy(policy: ServicePolicy, out: Output, options: Options) -> None:
    """What another Envoy was told of a Service, in Istio's fields: the IR holds limits under Istio's paths of them."""
    assert policy.service is not None
    service = policy.service
    obj = destination_rule(service.value, out, options, service, document=policy.document)
    obj.note(f"from {policy.kind} {policy.ref.value}")
    place: tuple[str | int, ...] = ("spec", "trafficPolicy")
    if policy.port is not None:
        listed = obj.value.get("spec", {}).get("trafficPolicy", {}).get("portLevelSettings", [])
        place = (*place, "portLevelSettings", len(listed))
        obj.set((*place, "port", "number"), policy.port.value, policy.port)
    for path, fact in policy.extras:
        obj.set((*place, *path.split(".")), fact.value, fact)
    breaker = policy.breaker
    if breaker is None:
        return
    if breaker.ejects:  # ejection alone makes Istio prefer near endpoints, which a cluster of Envoy does not
        obj.set((*place, "loadBalancer", "localityLbSetting", "enabled"), False, breaker.consecutive)
    detection = (*place, "outlierDetection")
    obj.set((*detection, "consecutive5xxErrors"), breaker.consecutive.value, breaker.consecutive)
    for name, fact in breaker.extras:
        if name == "interval":
            obj.set((*detection, name), fact.value, fact)
    obj.set((*detection, "baseEjectionTime"), one_unit(max(breaker.penalty.value, 1)), breaker.penalty)
    for name, fact in breaker.extras:
        if name != "interval":
            obj.set((*detection, name), fact.value, fact)
    if breaker.max_penalty is not None:
        out.finding(
            "MP502", breaker.max_penalty, document=policy.document, disposition="dropped", explains=explains_breaker(policy, "max_penalty"),
            affects=(Affected(service.value.namespace, service.value.name, None),), subject=policy.subject_name,
            value=one_unit(breaker.max_penalty.value),
        )  # fmt: skip


def _outlier_detection(policy: ServicePolicy, breaker: Breaker, ir: IR, out: Output, options: Options) -> None:
    """Ejection as Linkerd means it: every endpoint may go, checked each second, and locality preference stays off.

    Linkerd's breaker of a Service also governs the backends that its routes send to, so each of them gets the rule.
    """
    assert policy.service is not None
    mode = breaker.extra("breaker.mode") or breaker.consecutive
    affects = (Affected(policy.service.value.namespace, policy.service.value.name, None),)
    if breaker.consecutive.value == 0:
        out.imply(
            "no failures in a row eject an endpoint; Istio ejects none without outlierDetection", breaker.consecutive, breaker.penalty, mode
        )
    else:
        targets = {policy.service.value}
        for routes in ir.routes:
            if routes.service is not None and routes.service.value == policy.service.value and not routes.problem:
                targets |= {backend.service.value for rule in routes.rules for backend in rule.backends if backend.service is not None}
        targets -= _breakers(ir).keys() - {policy.service.value}
        for target in sorted(targets):
            obj = destination_rule(target, out, options, policy.service, mode, document=policy.document)
            policy_path = ("spec", "trafficPolicy")
            obj.set((*policy_path, "loadBalancer", "localityLbSetting", "enabled"), False, mode)
            detection = (*policy_path, "outlierDetection")
            obj.set((*detection, "consecutive5xxErrors"), breaker.consecutive.value, breaker.consecutive, mode)
            obj.set((*detection, "interval"), "1s", mode)
            obj.set((*detection, "baseEjectionTime"), one_unit(max(breaker.penalty.value, 1)), breaker.penalty, mode)
            obj.set((*detection, "maxEjectionPercent"), 100, mode)
            obj.note(f"failure accrual of Service {policy.service.value}")
            if target != policy.service.value:
                aspects = ("consecutive", "penalty", "max_penalty", "interval", "max_ejection_percent")
                out.finding(
                    "MP506",
                    document=policy.document,
                    affects=(Affected(target.namespace, target.name, None),),
                    explains=frozenset((f"breaker of Service {target}", aspect) for aspect in aspects),
                    subject=policy.subject_name,
                    backend=str(target),
                )
    if breaker.max_penalty is not None:
        fact = breaker.max_penalty if breaker.max_penalty.src else Fact(breaker.max_penalty.value, mode.src, "breaker.max-ejection")
        explained = explains_breaker(policy, "max_penalty")
        shown = one_unit(breaker.max_penalty.value)
        found = None
        if breaker.max_penalty.value == max(LONGEST_EJECTION, breaker.penalty.value):
            out.imply("Envoy's own longest ejection", breaker.max_penalty)
        elif breaker.max_penalty.src:
            found = out.lost(fact, document=policy.document, affects=affects, explains=explained, value=shown)
        if found is None and breaker.consecutive.value and breaker.max_penalty.value != max(LONGEST_EJECTION, breaker.penalty.value):
            out.finding(
                "MP502", fact, document=policy.document, disposition="approximated" if breaker.max_penalty.src else None,
                affects=affects, explains=explained, subject=policy.subject_name, value=shown,
            )  # fmt: skip
    for name, fact in breaker.extras:
        if name == "breaker.mode":
            if not breaker.consecutive.value:
                continue
            out.imply("outlierDetection counts failures in a row", fact)
            if str(fact.value) == "unified":  # counts the share of successes too
                rate = Fact(fact.value, fact.src, "breaker.success-rate")
                out.lost(rate, document=policy.document, affects=affects, explains=explains_breaker(policy, name))
            continue
        explained = explains_breaker(policy, name)
        if out.lost(fact, document=policy.document, affects=affects, explains=explained) is None:
            out.finding(
                "MP540", fact, document=policy.document, disposition="dropped", affects=affects, explains=explained,
                setting=name, value=fact.value, subject=policy.subject_name,
            )  # fmt: skip
