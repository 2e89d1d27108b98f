"""Whether access is the same before and after: exactly, where sets of requests can be subtracted from each other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from meshport.compare.access import Canonical, mentioned, speaks_http
from meshport.dialects.base import Options
from meshport.effective import subjects
from meshport.effective.access import Access, Effective, ports_of
from meshport.effective.admitted import allowed, probes, ruled
from meshport.effective.pieces import Piece, Unsayable, subtract
from meshport.effective.seen import local
from meshport.effective.sets import Identities, Methods, label
from meshport.ir.authorization import ACCOUNT_LABEL, Labelled
from meshport.ir.base import Fact
from meshport.ir.model import IR, ByLabel
from meshport.ir.world import World
from meshport.values.identities import EVERYONE, Identity
from meshport.values.language import BARE_PATHS, Language, LanguageTooLarge
from meshport.values.paths import NORMALISED

MOST_PAIRS = 150  # pieces against pieces of one port; beyond it the port is undecided


@dataclass(slots=True)
class Difference:
    """Requests that are newly allowed or newly denied; `request` is one of them."""

    change: str  # allowed or denied
    request: dict[str, Any]
    before: str
    after: str
    causes: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Verification:
    """`verdict`: equivalent, narrowed, widened, changed (both), inconclusive. `classes` counts the sets of requests compared."""

    verdict: str
    classes: int
    differences: list[Difference]


def verify(old: IR, new: IR, options: Options, canon: tuple[Canonical, Canonical] | None = None) -> Verification:
    """Compare access at every known workload and port, for paths as they are after normalising.

    `canon` is both sides as canonical data, where it is known: equal data are equal access, and need no second look.
    """
    before = Access(old, Fact("all-unauthenticated"))
    after = {(item.workload.ref, item.workload.kind): item for item in Access(new, Fact("all-unauthenticated")).workloads}
    differences: list[Difference] = []
    classes = 0
    undecided = bool(before.unselected())  # what selects no known pod cannot be compared
    memo: dict[Any, tuple[list[Piece], list[Piece], int] | None] = {}
    for item in before.workloads:
        other = after.get((item.workload.ref, item.workload.kind))
        if other is None or (item.meshed is False and other.meshed is False):
            continue
        ports = {*ports_of([item], old.world), *mentioned(item), *mentioned(other)}
        for port in [*sorted(ports), None]:
            if canon is not None and _same(canon, subjects.access(item.workload.ref, port)):
                classes += 1
                continue
            https = (speaks_http(item, port, old.world), speaks_http(other, port, new.world))
            key = (item.key, other.key, port, https, tuple(sorted(probe.path for probe in item.workload.probes if probe.port == port)))
            if key not in memo:
                memo[key] = _compare(item, other, port, https, options, old.world)
            found = memo[key]
            if found is None:
                undecided = True
                continue
            widened, narrowed, count = found
            classes += count
            for change, pieces in (("allowed", widened), ("denied", narrowed)):
                if pieces:
                    said = ("denied", "allowed") if change == "allowed" else ("allowed", "denied")
                    differences.append(Difference(change, witness(pieces[0], item, port), *said))
    return Verification(_verdict(differences, undecided), classes, differences)


def _same(canon: tuple[Canonical, Canonical], subject: str) -> bool:
    one, other = canon[0].get(subject), canon[1].get(subject)
    return one is not None and one == other and "undecided" not in one


def _verdict(differences: list[Difference], undecided: bool) -> str:
    kinds = {item.change for item in differences}
    if kinds == {"allowed", "denied"}:
        return "changed"
    if "allowed" in kinds:
        return "widened"
    if undecided:
        return "inconclusive"
    return "narrowed" if kinds else "equivalent"


def _compare(
    item: Effective, other: Effective, port: int | None, https: tuple[bool, bool], options: Options, world: World
) -> tuple[list[Piece], list[Piece], int] | None:
    try:
        way = ByLabel(options.trust_domain, frozenset((None, options.trust_domain)))  # of another domain no peer is known
        rules = [_domestic(piece, way) for piece in ruled(item, port, https[0], options.cluster_networks)]
        one = [*rules, *probes(item.probe_paths(port))]
        two = [_domestic(piece, way) for piece in allowed(other, port, https[1], options.cluster_networks)]
        if len(one) * len(two) > MOST_PAIRS:
            return None
        if item.meshed is False:  # nothing governed it, so that nothing can be newly allowed
            return [], [], len(one) + len(two)
        widened = [piece for piece in subtract(two, [*one, *_probes(item, port)]) if _real(piece, world)]
        # what a mesh itself keeps open for the kubelet is no rule of anybody's; the other has its own way (MP229)
        narrowed = [piece for piece in subtract(rules, two) if _real(piece, world)]
    except (Unsayable, LanguageTooLarge, ValueError):
        return None
    return widened, narrowed, len(one) + len(two)


def _domestic(piece: Piece, way: ByLabel) -> Piece:
    """The piece with peers of any trust domain as those of this one."""
    who = piece.who
    if who.include is None and not who.exclude:
        return piece
    include = None if who.include is None else frozenset(local(item, way) for item in who.include)
    return replace(piece, who=Identities(include, frozenset(local(item, way) for item in who.exclude)).tidy())


def _probes(item: Effective, port: int | None) -> list[Piece]:
    """GET on the exact paths of declared probes: the one thing that may be newly allowed (the kubelet has no identity)."""
    found = probes(probe.path for probe in item.workload.probes if probe.kind == "http" and probe.port == port)
    if any(probe.kind == "grpc" and probe.port == port for probe in item.workload.probes):
        found.append(Piece(methods=Methods(frozenset(("POST",)), False), path=Language.exact("/grpc.health.v1.Health/Check")))
    return found


def _real(piece: Piece, world: World) -> bool:
    """Whether some request that a client can send is in the piece."""
    if piece.who.include is not None and not any(_there(peer, world) for peer in piece.who.include):
        return False
    if piece.path is not None and piece.path.witness(NORMALISED) is None:
        return False
    return not piece.methods.inverted or bool(piece.methods.listed())


def _there(peer: Any, world: World) -> bool:
    """Whether there may be such a caller: of an account that workloads of the bundle run under, no pods with other labels are supposed."""
    if not isinstance(peer, Labelled) or peer.account is None or not peer.namespace:
        return True
    pods = [pod for pod in world.of_namespace(peer.namespace) if pod.account.value == peer.account]
    return not pods or any(peer.selector.accepts({**pod.labels, ACCOUNT_LABEL: pod.account.value}) for pod in pods)


def witness(piece: Piece, item: Effective, port: int | None) -> dict[str, Any]:
    """A request of the piece, in the contract's members."""
    source: dict[str, Any] = {}
    who = piece.who
    if who.include is None:
        source["meshed"] = False
    else:
        first = sorted(who.include, key=label)[0]
        source["meshed"] = True
        if isinstance(first, Identity) and first != EVERYONE:
            source["namespace"] = first.namespace or "any"
            source["service_account"] = first.service_account or "any"
        else:
            source["identity"] = label(first)
    networks = piece.where.networks()
    if networks:
        source["ip"] = networks[0].cidr.split("/")[0]
    request: dict[str, Any] = {
        "source": source,
        "destination": {"namespace": item.workload.ref.namespace, "workload": item.workload.ref.name, "port": port},
        "protocol": "http",
        "method": next(iter(piece.methods.listed()), "GET") if not piece.methods.every else "GET",
        "path": "/" if piece.path is None else piece.path.witness(NORMALISED) or piece.path.witness(BARE_PATHS),
    }
    if piece.host is not None:
        request["host"] = piece.host.witness()
    headers = {name: value.inside.witness() for name, value in piece.headers.by_name if value.inside is not None}
    if headers:
        request["headers"] = headers
    return request


def sentence(request: dict[str, Any]) -> str:
    """A request as a sentence: `GET /x from shop/frontend to shop/users:8080`."""
    source, destination = request.get("source", {}), request.get("destination", {})
    if request.get("protocol", "http") == "tcp" or not request.get("path"):
        what = f"a {request.get('protocol', 'tcp')} connection"
    else:
        what = f"{request.get('method') or 'GET'} {request['path']}"
    if request.get("host"):
        what += f" for {request['host']}"
    headers = request.get("headers") or {}
    if headers:
        what += " with " + ", ".join(f"{name}: {value}" for name, value in sorted(headers.items()))
    who = "anyone"
    if source.get("service_account"):
        who = f"{source.get('namespace', 'any')}/{source['service_account']}"
    elif source.get("identity"):
        who = str(source["identity"])
    elif source.get("meshed") is False:
        who = "outside the mesh"
    if source.get("ip"):
        who += f" ({source['ip']})"
    port = destination.get("port")
    name = destination.get("workload") or destination.get("service") or "any workload"
    return f"{what} from {who} to {destination.get('namespace', 'any')}/{name}:{'any other port' if port is None else port}"
