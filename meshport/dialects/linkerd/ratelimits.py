"""How Linkerd says rate limits: HTTPLocalRateLimitPolicy on a Server; both directions.

Each pod's proxy counts for itself, in whole requests a second, and holds no more than one second of them; of several policies on one Server the oldest
counts, and a Server of `proxyProtocol: gRPC` is given none. https://linkerd.io/2-edge/reference/rate-limiting/
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from meshport.dialects import naming, protocols, ratelimits
from meshport.dialects.cursor import Cursor
from meshport.dialects.linkerd.labels import matches_nothing
from meshport.dialects.linkerd.transport import OPEN, wanted
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Requirement, Selector, Src, sources
from meshport.ir.model import IR, Loss
from meshport.ir.ratelimit import Bucket, ClientLimit, RateLimit

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Obj, Output
    from meshport.effective.access import Access
    from meshport.ir.world import Workload
    from meshport.mapping.bound import Bound

API = "policy.linkerd.io/v1alpha1"
GROUP = "policy.linkerd.io"
KIND = "HTTPLocalRateLimitPolicy"
SERVER = "policy.linkerd.io/v1beta3"
_SPOKEN = {"http": "HTTP/1", "http2": "HTTP/2", "grpc": "HTTP/2", "": "unknown"}


# -- lift


def lift(bound: Bound, by_kind: dict[tuple[str, str], list[int]], options: Options, ir: IR) -> None:
    """The limits on Servers of the bundle; one that names another target, or one that is taken, limits nothing."""
    servers = {_place(bound, number, options): number for number in by_kind.get((GROUP, "Server"), [])}
    taken: dict[Ref, str] = {}
    numbers = by_kind.get((GROUP, KIND), [])
    for number in sorted(numbers, key=lambda item: _age(bound, item)):
        root = Cursor.root(bound, number)
        spec = root.at("spec")
        here = _place(bound, number, options)
        target = spec.at("targetRef")
        name = target.text("name")
        parts = tuple(fact for _, fact in spec.leaves())
        if name is None:
            continue
        aimed = Ref(here.namespace, name.value)
        server = servers.get(aimed)
        group, kind = (fact.value if (fact := target.text(key)) is not None else "" for key in ("group", "kind"))
        if group.lower() != GROUP or kind != "Server" or server is None:
            told = "" if group.lower() == GROUP else f" of group {group or 'core'}"
            ir.losses.append(Loss("MP654", parts, number, {"target": f"{kind or 'Server'} {aimed}{told}"}))
            continue
        if aimed in taken:
            ir.losses.append(Loss("MP655", parts, number, {"server": str(aimed), "other": taken[aimed]}))
            continue
        taken[aimed] = here.name
        place = Cursor.root(bound, server)
        if place.at("spec", "proxyProtocol").value == "gRPC":
            ir.losses.append(Loss("MP656", parts, number, {"server": str(aimed)}))
            continue
        limit = _limit(root, place, aimed)
        if limit is not None and limit.total is None and limit.each is None and not limit.overrides:
            ir.idle.append(Fact("it names no limit", sources(*parts), "rate-limit.target"))
        elif limit is not None:
            ir.rate_limits.append(limit)


def _place(bound: Bound, number: int, options: Options) -> Ref:
    document = bound.bundle.documents[number]
    return Ref(document.namespace or options.default_namespace, document.name)


def _age(bound: Bound, number: int) -> tuple[str, str]:
    metadata = bound.bundle.documents[number].value.get("metadata") or {}
    return str(metadata.get("creationTimestamp") or "~"), bound.bundle.documents[number].name


def _limit(root: Cursor, server: Cursor, aimed: Ref) -> RateLimit | None:
    spec = root.at("spec")
    place = server.at("spec")
    port = place.at("port")
    number: Fact[int | str] | None = port.fact(int) or port.fact(str)
    if number is None or not place.at("podSelector") or matches_nothing(place.at("podSelector")):
        return None
    selector = place.selector("podSelector")
    total = spec.number_at("total", "requestsPerSecond")
    each = spec.number_at("identity", "requestsPerSecond")
    overrides = []
    for item in spec.each("overrides"):
        rate = item.number_at("requestsPerSecond")
        if rate is None:
            continue
        clients = []
        for client in item.each("clientRefs"):
            account = client.text("name")
            if account is not None:
                home = client.text("namespace")
                ref = Ref(home.value if home is not None else aimed.namespace, account.value)
                clients.append(Fact(ref, client.src, "rate-limit.overrides"))
        overrides.append(ClientLimit(rate, tuple(clients)))
    return RateLimit(
        root.ref(),
        KIND,
        root.number,
        Fact(PodSet(aimed.namespace, selector.value), selector.src, selector.feature),
        number,
        Bucket(total.map(Fraction), total) if total is not None else None,
        each=ClientLimit(each) if each is not None else None,
        overrides=tuple(overrides),
        src=spec.at("targetRef").src,
    )


# -- lower


def lower(ir: IR, out: Output, options: Options, access: Access) -> None:
    """A policy for each Server of a limited port; a port without one gets a Server that admits whom the default admitted."""
    done: dict[Ref, RateLimit] = {}
    for limit in sorted(ir.rate_limits, key=lambda item: (item.ref.value, item.document)):
        _one(limit, ir, out, options, access, done)


def _one(limit: RateLimit, ir: IR, out: Output, options: Options, access: Access, done: dict[Ref, RateLimit]) -> None:
    places = [(workload, port, src) for workload, port, src, found in ratelimits.limits(ir) if found is limit]
    bucket = limit.total
    if not places:
        out.finding(
            "MP657", *_facts(limit), document=limit.document, disposition="dropped", affects=ratelimits.affected(limit, ir),
            explains=ratelimits.explained(limit, ir, "*"), feature="rate-limit.target", subject=limit.subject_name, pods=str(limit.subject.value),
        )  # fmt: skip
        return
    if bucket is None or bucket.rate.value < 1:
        out.finding(
            "MP658", *_facts(limit), document=limit.document, disposition="dropped", affects=ratelimits.affected(limit, ir),
            explains=ratelimits.explained(limit, ir, "*"), feature="rate-limit.total", subject=limit.subject_name,
            rate=ratelimits.spoken(bucket.rate.value) if bucket is not None else "no total",
        )  # fmt: skip
        return
    ratelimits.beside_total(limit, ir, out)
    rate = int(bucket.rate.value)
    if limit.counted != "pod":
        out.finding(
            "MP662", limit.src, document=limit.document, affects=ratelimits.affected(limit, ir),
            explains=ratelimits.explained(limit, ir, "counted"), feature="rate-limit.total", subject=limit.subject_name,
        )  # fmt: skip
    if not ratelimits.whole(bucket):
        aspects = ("rate", "burst") if bucket.rate.value.denominator != 1 else ("burst",)
        out.finding(
            "MP659", bucket.src, document=limit.document, disposition="approximated", affects=ratelimits.affected(limit, ir),
            explains=ratelimits.explained(limit, ir, *aspects), feature="rate-limit.burst", subject=limit.subject_name,
            before=ratelimits.spoken(bucket.rate.value), burst=bucket.burst.value, rate=rate,
        )  # fmt: skip
    for port in sorted({port for _, port, _ in places}):
        mine = [(workload, src) for workload, number, src in places if number == port]
        for server, src in _servers(limit, port, mine, ir, out, options, access):
            _policy(limit, server, rate, src, ir, out, done)


def _facts(limit: RateLimit) -> tuple[Fact[Any] | Src, ...]:
    total = limit.total.src if limit.total is not None else NOWHERE
    return (limit.subject, limit.src | total | sources(limit.port), *limit.extras)


def _servers(
    limit: RateLimit, port: int, places: list[tuple[Workload, Src]], ir: IR, out: Output, options: Options, access: Access
) -> list[tuple[Obj, Src]]:
    """The Servers that stand for the port, made where there is none."""
    found: dict[int, tuple[Obj, Src]] = {}
    bare: list[tuple[Workload, Src]] = []
    for workload, src in places:
        server = _standing(workload, port, out)
        if server is None:
            bare.append((workload, src))
        else:
            _, before = found.get(id(server), (server, NOWHERE))
            found[id(server)] = (server, before | src)
    outside = [item for item in ir.world.of_namespace(places[0][0].ref.namespace) if all(item is not one for one, _ in places)]
    made = list(found.values())
    groups: dict[tuple[str, str], list[tuple[Workload, Src]]] = {}
    for workload, src in bare:
        item = access.of(workload)
        default = wanted(item, options.cluster_networks)[0] if item is not None else OPEN
        groups.setdefault((default, protocols.of_port(workload, port, ir.world)[0]), []).append((workload, src))
    selector = limit.subject.value.selector
    apart = selector.everything or any(selector.accepts(item.labels) for item in outside)
    together = len(groups) == 1 and not found and not apart
    for (default, protocol), members in sorted(groups.items()):
        lots = [members] if together else [[member] for member in members]
        made.extend(_server(limit, port, lot, default, protocol, together, out) for lot in lots)
    for server, _ in made:
        others = [item for item in outside if _selects(server, item)]
        if others:
            out.finding(
                "MP660", limit.subject, document=limit.document, affects=tuple(Affected(item.ref.namespace, item.ref.name, port) for item in others),
                explains=frozenset((ratelimits.subject(item, port), "*") for item in others), feature="rate-limit.target",
                subject=limit.subject_name, server=server.ref.name, workloads=", ".join(str(item.ref) for item in others),
            )  # fmt: skip
    return made


def _standing(workload: Workload, port: int, out: Output) -> Obj | None:
    """The Server of the output that takes the port of a workload."""
    for obj in out.in_order():
        if obj.kind == "Server" and obj.ref.namespace == workload.ref.namespace and _selects(obj, workload):
            said = obj.value["spec"].get("port")
            named = workload.port_named(str(said))
            if said == port or (named is not None and named.number == port):
                return obj
    return None


def _selects(server: Obj, workload: Workload) -> bool:
    selector = server.value["spec"].get("podSelector") or {}
    labels = selector.get("matchLabels") or {}
    expressions = [
        Requirement(item["key"], item["operator"], tuple(item.get("values") or ())) for item in selector.get("matchExpressions") or ()
    ]
    return Selector.of(labels, expressions).accepts(workload.labels)


def _server(
    limit: RateLimit, port: int, lot: list[tuple[Workload, Src]], default: str, protocol: str, together: bool, out: Output
) -> tuple[Obj, Src]:
    """A Server that admits whom the port's default policy admitted."""
    first = lot[0][0]
    selector = limit.subject.value.selector if together else Selector.of(first.labels)
    base = limit.ref.value.name if together else first.ref.name
    spelled = out.free(SERVER, "Server", first.ref.namespace, naming.name(base, str(port)))
    src = sources(limit.subject, *(item for _, item in lot))
    obj = out.object(
        SERVER, "Server", Ref(first.ref.namespace, spelled), owner=limit.document, group=f"server {spelled}", rank=40, because=limit.subject
    )
    obj.set(("spec", "podSelector"), selector.manifest(), limit.subject, src)
    obj.set(("spec", "port"), port, src)
    obj.set(("spec", "proxyProtocol"), _SPOKEN.get(protocol, "unknown"), src)
    obj.set(("spec", "accessPolicy"), default, src)
    return obj, src


def _policy(limit: RateLimit, server: Obj, rate: int, src: Src, ir: IR, out: Output, done: dict[Ref, RateLimit]) -> None:
    if server.ref in done:
        return
    done[server.ref] = limit
    assert limit.total is not None
    ref = Ref(server.ref.namespace, naming.name(server.ref.name))
    obj = out.object(API, KIND, ref, owner=limit.document, group=server.group, rank=46, because=limit.ref)
    because = limit.src | src
    obj.set(("spec", "targetRef"), {"group": "policy.linkerd.io", "kind": "Server", "name": server.ref.name}, limit.subject, because)
    obj.set(("spec", "total", "requestsPerSecond"), rate, limit.total.rate, limit.total.burst if ratelimits.whole(limit.total) else None)
    obj.note(f"from {limit.kind} {limit.ref.value}")
