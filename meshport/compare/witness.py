"""One request out of a set of requests: real callers of the bundle where the set has them, and callers made up where it has not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_network
from itertools import chain
from typing import Any

from meshport.compare.matching import named
from meshport.compare.request import Caller
from meshport.effective.identities import CLUSTER, WORLD, Identities, by_name, example
from meshport.effective.networks import Networks
from meshport.effective.pieces import Piece
from meshport.ir.authorization import ACCOUNT_LABEL, REMOTE_IP, Entity, Labelled, Network
from meshport.ir.base import Ref
from meshport.ir.world import Workload, World
from meshport.values.identities import Identity, IdentityGlob
from meshport.values.language import BARE_PATHS, PATHS, Language
from meshport.values.paths import NORMALISED

ROOTED = NORMALISED & Language.prefix("/")
"""Paths as they are after normalising; `*`, which only OPTIONS may ask for, is left out."""
MOST = 24
"""Requests that are tried out of one set before it is called undecided."""
_OUTSIDE = "203.0.113.7"  # documentation's own block (RFC 5737): nobody's cluster
_INSIDE = "10.9.8.7"
_NAMELESS = Language.prefix(".")
"""Hosts that are a domain without a name in it: nobody sends `.example.com`, though `*.example.com` takes it."""
_USUAL = ("GET", "POST", "PUT", "PATCH", "DELETE")


def requests(
    piece: Piece,
    workload: Ref,
    port: int | None,
    world: World,
    trust_domain: str,
    *,
    http: bool = True,
    of_pods: tuple[str, ...] = (),
    issuer: str = "x",
) -> Iterator[dict[str, Any] | None]:
    """Requests of a piece, in the contract's members, the plainest first. `port` None is a port that nothing names; `of_pods` are the networks that pods have
    their addresses in, where that counts: None stands for a pod with another address, which there is not. `issuer` made the tokens of which no other is asked."""
    base: dict[str, Any] = {
        "source": {},
        "destination": {"namespace": workload.namespace, "workload": workload.name, "port": port},
        "protocol": "http" if http else "tcp",
    }
    if http:
        base.update(http_members(piece))
    sni = _literal(piece, "connection.sni")
    if sni is not None:
        base["sni"] = sni
    claims = _claims(piece, issuer)
    if claims:
        base["claims"] = claims
    if http and (hop := _hop(piece)) is not None:
        base["forwarded_for"] = hop
    addresses = list(_addresses(piece.where))
    inside = list(_addresses(piece.where.meet(Networks(tuple(map(Network, of_pods)))))) if of_pods and addresses != [None] else addresses
    count = 0
    for source in _sources(piece.who, workload, world, trust_domain, bool(of_pods)):
        possible = inside if "namespace" in source else addresses
        if not possible:
            yield None
        for address in possible:
            found = {**source}
            if address is not None:
                found["ip"] = address
            yield {**base, "source": found}
            count += 1
            if count >= MOST:
                return


def http_members(piece: Piece) -> dict[str, Any]:
    """Method, path, host and headers of a request of the piece."""
    listed = (*_USUAL, *piece.methods.listed(), "PROPFIND")
    found: dict[str, Any] = {"method": next((name for name in listed if piece.methods.accepts(name)), "OTHER")}
    path = "/" if piece.path is None else piece.path.witness(ROOTED) or piece.path.witness(BARE_PATHS) or "/"
    query = [(name, _value(value.inside)) for name, value in piece.query.by_name if value.inside is not None]
    found["path"] = path + ("?" + "&".join(f"{name}={text}" for name, text in query) if query else "")
    if piece.host is not None:
        found["host"] = _value(piece.host - _NAMELESS) or _value(piece.host) or "a"
    headers = {
        name: _value(value.inside - value.outside if value.outside is not None else value.inside)
        for name, value in piece.headers.by_name
        if value.inside is not None
    }
    headers.pop(":path", None)
    found["path"] = targets(piece) or found["path"]
    if headers:
        found["headers"] = headers
    return found


def targets(piece: Piece) -> str | None:
    """A path with its query that the piece asks for by the pseudo-header `:path` and whose path is one of its paths; the empty text where there is none, None
    where nothing is asked of the two together."""
    asked = next((value for name, value in piece.headers.by_name if name == ":path"), None)
    if asked is None:
        return None
    texts = ((asked.inside or Language.any()) - (asked.outside or Language.none())) & PATHS
    plain = texts & (ROOTED & BARE_PATHS) if piece.path is None else texts & piece.path & BARE_PATHS
    if found := plain.witness():
        return found
    spelt = piece.path.to_regex() if piece.path is not None else r"/[^?]*"
    if spelt is None:
        return texts.witness()
    asking = [texts & Language.regex(rf"(?s)(?:{spelt})\?{query}") for query in (r"\w+=\w+", ".+", "")]
    return next((found for found in (one.witness() for one in asking) if found), "")


def _value(language: Language) -> str:
    """A text of a language; one that is not empty where there is one, since an empty value is easily taken for none."""
    return (language - Language.exact("")).witness() or language.witness() or ""


def _literal(piece: Piece, attribute: str) -> str | None:
    return next((text for name, text, wanted in sorted(piece.literals) if name == attribute and wanted and "*" not in text), None)


def _hop(piece: Piece) -> str | None:
    """The address that a proxy in front has to name, where the set asks where a request came from before it; None where it does not, or none will do."""
    asked = [(text, wanted) for name, text, wanted in piece.literals if name == REMOTE_IP]
    if not asked:
        return None
    where = Networks()
    with suppress(ValueError):  # a text that is no network takes no address
        for text, wanted in asked:
            listed = tuple(map(Network, text.split(" or ")))
            where = where.meet(Networks(listed) if wanted else Networks(None, tuple(one.cidr for one in listed)))
        return next((address or _OUTSIDE for address in _addresses(where)), None)
    return None


def _claims(piece: Piece, issuer: str) -> dict[str, Any]:
    """Claims of a token that the set asks for (requestPrincipals, request.auth.*): the first text of each, with a letter for what a star leaves open. A token
    has an issuer and a subject, whatever is asked."""
    found: dict[str, Any] = {}
    asked = False
    for attribute, text, wanted in sorted(piece.literals):
        if not wanted or not attribute.startswith("request.token:"):
            continue
        what, value = attribute.removeprefix("request.token:"), text.partition(" or ")[0].replace("*", "x")
        if what == "principal":
            maker, slash, subject = value.rpartition("/")
            if text != "*":
                found["iss"], found["sub"] = (maker, subject or "x") if slash else (value, "x")
            asked = True
            continue
        path = {"audiences": ["aud"], "presenter": ["azp"]}.get(what)
        if path is None and what.startswith("claims["):
            path = what[len("claims[") : -1].split("][")
        holder: dict[str, Any] = found
        for step in (path or ())[:-1]:
            holder = holder.setdefault(step, {})
        if path:
            holder[path[-1]] = value
            asked = True
    return {"iss": issuer, "sub": "x", **found} if asked else {}


# -- callers


def _sources(who: Identities, workload: Ref, world: World, trust_domain: str, by_label: bool) -> Iterator[dict[str, Any]]:
    """Callers of a set of identities: without one where the set has such, the accounts of the bundle, then accounts made up."""
    seen: list[dict[str, Any]] = []
    for source in _candidates(who, workload, world, trust_domain, by_label):
        if source not in seen:
            seen.append(source)
            yield source


def _candidates(who: Identities, workload: Ref, world: World, trust_domain: str, by_label: bool) -> Iterator[dict[str, Any]]:
    for item in sorted(who.include or (), key=str):
        if isinstance(item, Labelled):
            yield from _labelled(item, who, world)
        elif isinstance(item, Entity) and item == WORLD:
            yield {"meshed": False, "ip": _OUTSIDE}
        elif isinstance(item, Entity) and item != CLUSTER:
            yield {"meshed": False, "labels": {f"reserved:{item.name}": ""}}  # as Cilium labels them
    if who.include is None or CLUSTER in who.include:
        accounts = world.running()
        for account in accounts[:4] if CLUSTER in (who.include or ()) else ():
            yield {"namespace": account.namespace, "service_account": account.name, "meshed": False}
        yield {"meshed": False, "ip": _INSIDE if CLUSTER in (who.include or ()) else _OUTSIDE}
        yield {
            "namespace": "elsewhere",
            "service_account": "default",
            "meshed": False,
            "ip": _INSIDE,
        }  # a pod of the cluster that is in no mesh
        for name in ("remote-node", "kube-apiserver", "ingress") if by_label else ():  # the local host passes every policy
            yield {"meshed": False, "labels": {f"reserved:{name}": ""}}
    known = {account: world.under(account) for account in _running(who, world)}
    named = {account: [pod for pod in pods if world.meshed(pod) is not False] for account, pods in known.items()}
    shown = (account for account in known if named[account])
    others = (account for account in known if not named[account])  # only pods outside the mesh run under them: it would take another
    running = ((Identity(trust_domain, account.namespace, account.name), account) for account in shown)
    supposed = ((Identity(trust_domain, account.namespace, account.name), None) for account in others)
    made_up = ((one, None) for one in _made_up(who, workload, trust_domain))
    for item, home in chain(running, made_up, supposed):
        if not _member(item, who):
            continue
        source = {"namespace": item.namespace, "service_account": item.service_account, "meshed": True, **_foreign(item, trust_domain)}
        pods = [pod for pod in named[home] if not pod.host_network] if home is not None and by_label else []
        for pod in pods:
            yield {**source, "workload": pod.ref.name, "labels": dict(pod.labels)}
        if not pods:
            yield source
    for item in sorted(who.include or (), key=str):
        if isinstance(item, IdentityGlob):
            yield {"identity": example(item, who.exclude) or item.text, "meshed": True}


def _running(who: Identities, world: World) -> list[Ref]:
    """The accounts of the bundle that may be of a set: where it names service accounts alone, no other is looked at."""
    if who.include is None or not all(isinstance(item, Identity) and item.exact for item in who.include):
        return world.running()
    named = {Ref(item.namespace or "", item.service_account or "") for item in who.include}
    return sorted(account for account in named if world.runs(account))


def _made_up(who: Identities, workload: Ref, trust_domain: str) -> Iterator[Identity]:
    """Accounts that nobody has: those that are named in full, and one more in each namespace and domain that is named."""
    spaces = {item.namespace for item in (*(who.include or ()), *who.exclude) if isinstance(item, Identity) and item.namespace}
    domains = {item.trust_domain for item in (*(who.include or ()), *who.exclude) if isinstance(item, Identity) and item.trust_domain}
    names = {item.service_account for item in (*(who.include or ()), *who.exclude) if isinstance(item, Identity) and item.service_account}
    for domain in [trust_domain, *sorted(domains - {trust_domain}), "elsewhere.example"]:
        for namespace in [workload.namespace, *sorted(spaces - {workload.namespace}), "elsewhere"]:
            for name in [*sorted(names), "stranger"]:
                yield Identity(domain, namespace, name)


def _member(item: Identity, who: Identities) -> bool:
    text = item.istio()
    caller = Caller(item.namespace, item.service_account, {}, None, text, None, True)

    def among(peers: frozenset[Any]) -> bool:
        accounts, others = by_name(peers)
        account = caller.identity
        if account is None:
            return any(named(peer, caller) for peer in peers if isinstance(peer, Identity | IdentityGlob))
        return text is not None and (
            accounts.hold(account) or any(named(peer, caller) for peer in others if isinstance(peer, IdentityGlob))
        )

    return (who.include is None or among(who.include)) and not among(who.exclude)


def _foreign(item: Identity, trust_domain: str) -> dict[str, Any]:
    return {"identity": item.istio()} if item.trust_domain != trust_domain else {}


def _labelled(item: Labelled, who: Identities, world: World) -> Iterator[dict[str, Any]]:
    """Pods that a label selector takes: of the bundle, or one with just the labels that it asks for."""
    others = [peer for peer in who.exclude if isinstance(peer, Labelled)]
    account = item.account
    for workload in world.workloads:
        seen = {**workload.labels, ACCOUNT_LABEL: workload.account.value}
        if workload.host_network:
            continue  # the network knows its node
        if _selects(item, workload, seen) and not any(_selects(peer, workload, seen) for peer in others):
            yield {
                "namespace": workload.ref.namespace,
                "service_account": workload.account.value,
                "workload": workload.ref.name,
                "labels": dict(workload.labels),
                "meshed": world.meshed(workload) is not False,
            }
    made = {key: value for key, value in item.selector.labels if not key.startswith("io.cilium.")}
    made |= {
        need.key: need.values[0] if need.operator == "In" else "x"
        for need in item.selector.expressions
        if need.operator in ("In", "Exists")
    }
    yield {"namespace": item.namespace or "elsewhere", "service_account": account or "default", "labels": made, "meshed": False}


def _selects(peer: Labelled, workload: Workload, labels: dict[str, str]) -> bool:
    return peer.namespace in ("", workload.ref.namespace) and peer.selector.accepts(labels)


# -- addresses


def _addresses(where: Networks) -> Iterator[str | None]:
    """Addresses of a set; None where every address will do."""
    networks = where.networks()
    if networks is None:
        yield None
        return
    for network in networks:
        whole = ip_network(network.cidr, strict=False)
        out = [ip_network(cidr, strict=False) for cidr in network.excluded]
        tries = [
            whole.network_address + 1 if whole.num_addresses > 2 else whole.network_address,
            whole.network_address,
            whole.broadcast_address,
        ]
        edges = [
            edge
            for cidr in out
            if cidr.version == whole.version
            for edge in (int(cidr.broadcast_address) + 1, int(cidr.network_address) - 1)
        ]
        first, last = whole.network_address, whole.broadcast_address
        tries += [type(first)(edge) for edge in edges if int(first) <= edge <= int(last)]
        for address in tries:
            if not any(address in cidr for cidr in out if cidr.version == address.version):
                yield str(address)
                break
