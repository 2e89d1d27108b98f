"""Policies of the Gateway API for a backend: TLS towards it (BackendTLSPolicy) and its retry budget and sessions (XBackendTrafficPolicy), both ways.

In the IR they are settings of a Service by the paths of a DestinationRule, as istiod makes one of each (pilot/pkg/config/kube/gateway, backend policies):
SIMPLE, the hostname as SNI and name to check, a ConfigMap as `configmap://namespace/name`, and nothing where the authorities of the system are meant.
https://gateway-api.sigs.k8s.io/api-types/backendtlspolicy/
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api.durations import milliseconds, of_a_field
from meshport.findings import Affected
from meshport.ir.base import Fact, Ref, Src
from meshport.ir.model import IR
from meshport.ir.resilience import ServicePolicy, explains_policy
from meshport.ir.routing import gather
from meshport.mapping.bound import Bound
from meshport.mapping.table import version_key

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output

TLS, TRAFFIC = "BackendTLSPolicy", "XBackendTrafficPolicy"
GROUPS = {TLS: "gateway.networking.k8s.io", TRAFFIC: "gateway.networking.x-k8s.io"}
IGNORED = "istio.io/ignore-policy-attachment"


def lift(bound: Bound, numbers: list[int], options: Options, ir: IR, family: str) -> None:
    """What the policies among the documents say of Services of the cluster; of several for one port the oldest holds, then the first by name."""
    taken: set[tuple[str, Ref, int | None]] = set()
    documents = bound.bundle.documents
    release = options.source_version if options.source == "istio" else options.target_version  # of what is read back
    heeded = version_key(release) >= (1, 28) if family == "istio" else options.source in ("istio", "gateway-api")
    if not heeded:  # istiod reads them behind a flag for alpha features before, and proxies of other meshes do not
        numbers = [number for number in numbers if documents[number].kind != TLS]
    chosen = [number for number in numbers if GROUPS.get(bound.kinds.get(number, documents[number].kind)) == documents[number].group and number not in bound.broken]  # fmt: skip
    for number in sorted(chosen, key=lambda i: (Cursor.root(bound, i).created(), documents[i].namespace or "", documents[i].name)):
        root = Cursor.root(bound, number)
        ir.service_policies.extend(_policies(root, bound.kinds.get(number, documents[number].kind), options, ir, taken, family))


def _policies(
    root: Cursor, kind: str, options: Options, ir: IR, taken: set[tuple[str, Ref, int | None]], family: str
) -> list[ServicePolicy]:
    spec = root.at("spec")
    known = root.ref()
    ref = known if known.value.namespace else known.map(lambda one: Ref(options.default_namespace, one.name))
    extras = _tls(spec.at("validation"), ref.value.namespace) if kind == TLS else _traffic(spec)
    silenced: tuple[tuple[str, Src], ...] = ()
    if family == "istio":
        if root.at("metadata", "annotations").at(IGNORED).value == "true":
            extras, silenced = [], ((f"Istio passes over a policy with {IGNORED}", spec.src),)
        sessions = gather(*(fact for path, fact in extras if path.startswith("sessionPersistence")))
        if sessions:
            extras = [(path, fact) for path, fact in extras if not path.startswith("sessionPersistence")]
            silenced = (("Istio reads no sessionPersistence of an XBackendTrafficPolicy", sessions),)
    found = []
    for target in spec.each("targetRefs"):
        name, section = target.text("name"), target.text("sectionName")
        if name is None or target.at("kind").value != "Service":
            continue
        service = Ref(ref.value.namespace, name.value)
        there = ir.world.services.get(service)
        port: Fact[int] | None = None
        if section is not None:
            number = next((one.number for one in there.ports if one.name == section.value), None) if there is not None else None
            if number is None:
                continue  # a port that the Service does not have
            port = section.holding(number)
        place = (kind, service, port.value if port is not None else None)
        src = target.src - (section.src if section is not None else frozenset())
        if place in taken:
            reason = "an older policy for the same Service holds"
            found.append(_of(ref, kind, service, src, root, options, (), port, ((reason, spec.src),)))
            continue
        taken.add(place)
        found.append(_of(ref, kind, service, src, root, options, tuple(extras), port, silenced))
    return found


def _of(
    ref: Fact[Ref], kind: str, service: Ref, src: Src, root: Cursor, options: Options, extras: tuple[tuple[str, Fact[Any]], ...], port: Fact[int] | None,
    silenced: tuple[tuple[str, Src], ...],
) -> ServicePolicy:  # fmt: skip
    host = f"{service.name}.{service.namespace}.svc.{options.cluster_domain}"
    because = src | root.at("metadata", "namespace").src
    return ServicePolicy(
        ref, kind, Fact(service, because, "destination.host"), Fact(host, because, "destination.host"), None, extras, root.number, port=port,
        silenced=silenced, created=root.created(), src=src,
    )  # fmt: skip


def _tls(place: Cursor, namespace: str) -> list[tuple[str, Fact[Any]]]:
    hostname = place.text("hostname")
    because = hostname.src if hostname is not None else place.src
    found: list[tuple[str, Fact[Any]]] = [("tls.mode", Fact("SIMPLE", because | place.at("wellKnownCACertificates").src, "tls.mode"))]
    if hostname is not None:
        found.append(("tls.sni", hostname))
    listed = [(item, fact) for item in place.each("subjectAltNames") if (fact := item.text("hostname") or item.text("uri")) is not None]
    found += [(f"tls.subjectAltNames[{index}]", fact.also(item.at("type").src)) for index, (item, fact) in enumerate(listed)]
    for item in place.each("caCertificateRefs")[:1]:
        name = item.text("name")
        if name is not None:
            scheme = "configmap" if item.at("kind").value == "ConfigMap" else "invalid"
            found.append(("tls.credentialName", Fact(f"{scheme}://{namespace}/{name.value}", item.src, "tls.ca")))
    return found


def _traffic(spec: Cursor) -> list[tuple[str, Fact[Any]]]:
    """A retry budget in the words of a DestinationRule, where istiod counts a rate of retries as so many at once; sessions under their own path."""
    words = {"budget.percent": "percent", "budget.interval": "budgetInterval", "minRetryRate.count": "minRetryConcurrency"}
    rate = spec.at("retryConstraint", "minRetryRate", "interval")
    found: list[tuple[str, Fact[Any]]] = [
        (f"retryBudget.{words[path]}", fact.also(rate.src) if path.startswith("minRetryRate") else fact)
        for path, fact in spec.leaves("retryConstraint")
        if path in words
    ]
    session = spec.at("sessionPersistence")
    if session:
        kind, name = (session.text(key) for key in ("type", "sessionName"))
        shown = " ".join(fact.value for fact in (kind, name) if fact is not None) or "a session"
        found.append(("sessionPersistence", Fact(shown, session.src, "load-balancing.session")))
    return found


# -- lowering


def standing(ir: IR, out: Output, release: tuple[int, ...]) -> None:
    """The target reads them as they are; a BackendTLSPolicy has had its shape since 1.2."""
    for policy in _ours(ir):
        out.imply("stays as it is", policy.src, gather(policy.extras, policy.host, policy.port))
        if release >= (1, 2) or policy.kind != TLS:
            out.staying.add(policy.document)
        for reason, src in policy.silenced:
            out.ignore(reason, src)


def unread(ir: IR, out: Output, mesh: str, gateways: str) -> None:
    """Say of each policy that the proxies of the mesh do not go by it. `gateways` tells who does at a Gateway."""
    listed: dict[int, list[ServicePolicy]] = {}
    for policy in _ours(ir):
        for reason, src in policy.silenced:
            out.ignore(reason, src)
        if policy.extras:
            listed.setdefault(policy.document, []).append(policy)
    for number, policies in sorted(listed.items()):
        first = policies[0]
        names = ", ".join(sorted({str(policy.service.value) for policy in policies if policy.service is not None}))
        out.finding(
            "MP377" if first.kind == TLS else "MP378", *(policy.src for policy in policies), gather(*(policy.extras for policy in policies)),
            gather(*(policy.host for policy in policies), *(policy.port for policy in policies)), document=number, disposition="dropped",
            affects=tuple(dict.fromkeys(Affected(p.service.value.namespace, p.service.value.name) for p in policies if p.service is not None)),
            explains=frozenset(pair for policy in policies for pair in explains_policy(policy, "*")), object=f"{first.kind} {first.ref.value}",
            mesh=mesh, service=names, gateways=gateways, feature="tls.client-mode" if first.kind == TLS else "retry.budget.ratio",
        )  # fmt: skip


def _unheeded(ir: IR, out: Output, options: Options) -> list[ServicePolicy]:
    """The policies for TLS of a bundle whose own mesh has no reader for them."""
    if ir.mesh in ("istio", "gateway-api"):
        return []
    scratch = IR(ir.mesh, ir.world)
    bound = Bound(out.bundle, out.table, ("gateway-api",), {"gateway-api": out.table.versions("gateway-api")[-1]})
    lift(bound, [number for number, mine in enumerate(bound.mesh) if mine], replace(options, source="gateway-api"), scratch, "gateway-api")
    return [policy for policy in scratch.service_policies if policy.kind == TLS and policy.extras and policy.service is not None]


def beginning(ir: IR, out: Output, options: Options) -> None:
    """Say of policies that the source mesh's proxies do not read that the target's do: clients in the mesh start TLS by them from then on."""
    for policy in _unheeded(ir, out, options):
        assert policy.service is not None
        out.finding(
            "MP347", document=policy.document, affects=(Affected(policy.service.value.namespace, policy.service.value.name),),
            explains=explains_policy(policy, "*"), object=f"{policy.kind} {policy.ref.value}", service=str(policy.service.value), feature="tls.client-mode",
        )  # fmt: skip


def _ours(ir: IR) -> list[ServicePolicy]:
    return [policy for policy in ir.service_policies if policy.kind in GROUPS]


def of_rule(policies: list[ServicePolicy], ir: IR, out: Output, api: str) -> set[str]:
    """TLS that a DestinationRule starts towards a Service, as a BackendTLSPolicy where that says exactly the same; the paths that are written so.

    Exact is SIMPLE with a fixed server name, which is checked too, with names spelled out and the authorities of the system or of a ConfigMap.
    """
    found: list[tuple[ServicePolicy, dict[str, Fact[Any]]]] = []
    for policy in policies:
        tls = {path: fact for path, fact in policy.extras if path.startswith("tls.")}
        if tls and (policy.subset or policy.clients or policy.service is None or not _exact(tls)):
            return set()
        if tls:
            found.append((policy, tls))
    written: set[str] = set()
    for policy, tls in found:
        assert policy.service is not None
        service = ir.world.services.get(policy.service.value)
        port = service.port(policy.port.value) if service is not None and policy.port is not None else None
        if policy.service.value.namespace != policy.ref.value.namespace or (policy.port is not None and (port is None or not port.name)):
            return written
        name = policy.service.value.name + (f"-{port.name}" if port is not None else "")
        ref = Ref(policy.service.value.namespace, out.free(api, TLS, policy.service.value.namespace, name))
        obj = out.object(
            api, TLS, ref, owner=policy.document, group=f"service {policy.service.value.name}", rank=36, because=gather(policy.host)
        )
        target = ("spec", "targetRefs", 0)
        obj.set(target, {"group": "", "kind": "Service", "name": policy.service.value.name}, policy.host)
        if port is not None:
            obj.set((*target, "sectionName"), port.name, policy.port)
        validation = ("spec", "validation")
        obj.set((*validation, "hostname"), tls["tls.sni"].value, tls["tls.sni"])
        authority = tls.get("tls.credentialName")
        if authority is None:
            obj.set((*validation, "wellKnownCACertificates"), "System", tls["tls.mode"])
        else:
            ref_of = {"group": "", "kind": "ConfigMap", "name": str(authority.value).rpartition("/")[2]}
            obj.set((*validation, "caCertificateRefs", 0), ref_of, authority, tls["tls.mode"])
        names = [fact for path, fact in policy.extras if path.startswith("tls.subjectAltNames")]
        for index, fact in enumerate(names):
            entry = {"type": "URI", "uri": fact.value} if "://" in str(fact.value) else {"type": "Hostname", "hostname": fact.value}
            obj.set((*validation, "subjectAltNames", index), entry, fact)
        obj.note(f"TLS of {policy.kind} {policy.ref.value}")
        written |= set(tls)
    return written


def budget(
    service: Ref, said: dict[str, Fact[Any]], ir: IR, out: Output, release: tuple[int, ...], *, owner: int, because: Src
) -> tuple[Fact[Any], ...]:
    """What holds retries of a Service back as an XBackendTrafficPolicy: `percent`, `interval` (milliseconds) and `count`, of retries a second that are
    always allowed. Gives the facts that are written, none where the release has no such policy or the Service has one (GEP-3388)."""
    percent = said.get("percent")
    whole = percent is None or (float(percent.value).is_integer() and 0 <= percent.value <= 100)
    standing = any(
        policy.kind == TRAFFIC and policy.service is not None and policy.service.value == service for policy in ir.service_policies
    )
    if release < (1, 3) or standing or not whole or service not in ir.world.services or not said:
        return ()
    api, constraint = f"{GROUPS[TRAFFIC]}/v1alpha1", ("spec", "retryConstraint")
    ref = Ref(service.namespace, out.free(api, TRAFFIC, service.namespace, service.name))
    obj = out.object(api, TRAFFIC, ref, owner=owner, group=f"service {service.name}", rank=36, because=because)
    obj.set(("spec", "targetRefs", 0), {"group": "", "kind": "Service", "name": service.name}, because)
    if percent is not None:
        obj.set((*constraint, "budget", "percent"), int(percent.value), percent)
    if (interval := said.get("interval")) is not None:
        obj.set((*constraint, "budget", "interval"), of_a_field(interval.value), interval)
    if (count := said.get("count")) is not None and count.value:
        obj.set((*constraint, "minRetryRate"), {"count": int(count.value), "interval": "1s"}, count)
    obj.note("holds retries back, where the implementation reads it")
    return tuple(said.values())


def of_budget(policies: list[ServicePolicy], ir: IR, out: Output, release: tuple[int, ...]) -> set[str]:
    """The retry budget of a DestinationRule as an XBackendTrafficPolicy; the paths that are written so, each named as what it is approximately."""
    words = {"percent": "percent", "minRetryConcurrency": "count", "budgetInterval": "interval"}
    found = {}
    for policy in policies:
        for path, fact in policy.extras:
            name = words.get(path.removeprefix("retryBudget."))
            if path.startswith("retryBudget.") and name is not None and not (policy.subset or policy.port or policy.clients):
                found[name] = fact.map(milliseconds) if name == "interval" else fact
    whole = [policy for policy in policies if any(path.startswith("retryBudget") for path, _ in policy.extras)]
    if len(whole) != 1 or whole[0].service is None or ("interval" in found and not found["interval"].value):
        return set()
    policy = whole[0]
    assert policy.service is not None
    if policy.service.value.namespace != policy.ref.value.namespace or not found.get("count", Fact(1)).value:
        return set()
    written = budget(policy.service.value, found, ir, out, release, owner=policy.document, because=gather(policy.host))
    for fact in written:
        out.lost(
            fact, document=policy.document, affects=(Affected(policy.service.value.namespace, policy.service.value.name),),
            explains=explains_policy(policy, "*"),
        )  # fmt: skip
    return {path for path, _ in policy.extras if path.startswith("retryBudget.")} if written else set()


def _exact(tls: dict[str, Fact[Any]]) -> bool:
    known = {path for path in tls if path in ("tls.mode", "tls.sni", "tls.credentialName") or path.startswith("tls.subjectAltNames")}
    authority = tls.get("tls.credentialName")
    names = [str(fact.value) for path, fact in tls.items() if path.startswith("tls.subjectAltNames")]
    return (
        known == set(tls) and "tls.sni" in tls and tls.get("tls.mode") is not None and tls["tls.mode"].value == "SIMPLE"
        and (authority is None or str(authority.value).startswith("configmap://")) and not any("*" in name for name in names)
    )  # fmt: skip
