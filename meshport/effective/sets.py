"""Sets along one dimension of a request: identities, networks, methods, header values. Each is closed under what its users need of intersection and
difference; a set that would have to be a union comes back as several."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any

from meshport.ir.authorization import ACCOUNT_LABEL, Entity, Labelled, Network
from meshport.ir.base import Selector
from meshport.values.identities import EVERYONE, Identity, IdentityGlob, parse_principal
from meshport.values.language import TEXT
from meshport.values.problems import LanguageTooLarge

if TYPE_CHECKING:
    from meshport.values.language import Language

CLUSTER, WORLD, INGRESS = Entity("cluster"), Entity("world"), Entity("ingress")
FEW_EXCEPTING = 4
"""Networks with exceptions that are taken out of a set of addresses one by one, so that each part is plain."""
MOST_NETWORKS = 96
"""Parts that a set of addresses may be cut into."""
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")


# -- identities


@dataclass(frozen=True, slots=True)
class Overlap(IdentityGlob):
    """What several patterns over names share, where no pattern says it: `cluster.local/ns/shop/*` and `*/sa/web*`."""

    parts: frozenset[Identity | IdentityGlob]

    def language(self) -> Language:
        from functools import reduce

        return reduce(lambda one, other: one & other, [found for part in sorted(self.parts, key=label) if (found := certificates(part))])


def _overlap(one: Identity | IdentityGlob, other: Identity | IdentityGlob) -> Overlap:
    parts = frozenset(part for item in (one, other) for part in (item.parts if isinstance(item, Overlap) else (item,)))
    return Overlap(f"({' and '.join(sorted(map(label, parts)))})", parts)


def _fits(pattern: Any, identity: Any) -> bool:
    """Whether every identity of the second pattern is one of the first."""
    if isinstance(pattern, Entity):
        return pattern == identity or (pattern == CLUSTER and identity != WORLD)
    if isinstance(identity, Entity):
        return False
    if pattern == EVERYONE:
        return True
    if isinstance(identity, Labelled):
        return _labels_fit(pattern, identity)
    if isinstance(pattern, Labelled):
        return pattern.selector.everything and isinstance(identity, Identity) and pattern.namespace in ("", identity.namespace)
    if isinstance(pattern, Identity) and isinstance(identity, Identity):
        return pattern.covers(identity)
    if isinstance(pattern, IdentityGlob) and isinstance(identity, Identity) and identity.exact:
        return glob_accepts(pattern, identity)
    if pattern == identity:
        return True
    return isinstance(pattern, IdentityGlob | Identity) and isinstance(identity, IdentityGlob | Identity) and _among(pattern, identity)


@lru_cache(maxsize=8192)
def _among(pattern: Any, identity: Any) -> bool:
    """Whether every certificate that the second takes is one of the first's, by their texts."""
    one, other = certificates(pattern), certificates(identity)
    return one is not None and other is not None and other.issubset(one)


@lru_cache(maxsize=8192)
def certificates(peer: Any) -> Language | None:
    """The names of certificates that a pattern takes, as Istio compares them; None where it is no pattern over names. A star is any text, line breaks too, as
    in prefixes: or a prefix would be more than the same as an expression."""
    from meshport.values.language import Language

    if isinstance(peer, Identity):
        text = peer.istio()
        if text is None:
            return Language.regex(
                f"(?s){re.escape(peer.trust_domain) if peer.trust_domain else '.*'}/ns/{re.escape(peer.namespace or '')}/.*"
            )
        return IdentityGlob(text).language()
    if not isinstance(peer, IdentityGlob):
        return None
    text = peer.text
    if text.startswith("*/ns/") and text.endswith("/*") and text.count("/") == 3:
        inner = ".*".join(map(re.escape, text[len("*/ns/") : -len("/*")].split("*")))
        return Language.regex(f"(?s).*/ns/{inner}/.*")
    if text.endswith("/ns/*"):
        inner = ".*".join(map(re.escape, text.removesuffix("/ns/*").split("*")))
        return Language.regex(f"(?s){inner}/ns/.*")
    return peer.language()


def _labels_fit(pattern: Any, pods: Labelled) -> bool:
    """Whether a peer holds all pods of a label selector, as far as the selectors alone tell."""
    if isinstance(pattern, Identity):
        return pattern.service_account in (None, pods.account) and pattern.namespace in (None, pods.namespace)
    if not isinstance(pattern, Labelled) or pattern.namespace not in ("", pods.namespace):
        return False
    mine, its = pattern.selector, pods.selector
    return set(mine.labels) <= set(its.labels) and set(mine.expressions) <= set(its.expressions)


def glob_accepts(glob: IdentityGlob, identity: Identity) -> bool:
    """Whether a pattern takes an exact identity. In a namespace pattern (`*/ns/team-*/*`) a star stands for any text, as in Istio's sidecars."""
    text = glob.text
    if text.startswith("*/ns/") and text.endswith("/*") and text.count("/") == 3:
        return fnmatchcase(identity.namespace or "", text[len("*/ns/") : -len("/*")])
    return glob.language().accepts(identity.istio() or "")


def label(identity: Any) -> str:
    """A peer as people write it."""
    if identity == EVERYONE:
        return "any mesh identity"
    if isinstance(identity, Identity):
        return identity.istio() or f"{identity.trust_domain or '*'}/ns/{identity.namespace or '*'}/sa/{identity.service_account or '*'}"
    return str(getattr(identity, "text", identity))


def _meet(one: Any, other: Any) -> Any | None:
    """The pattern of the identities that both take; None where there is none. Raises ValueError where it cannot be told."""
    if _fits(one, other):
        return other
    if _fits(other, one):
        return one
    if isinstance(one, Entity) or isinstance(other, Entity):
        return None
    if isinstance(one, Labelled) or isinstance(other, Labelled):
        return _meet_labels(one, other)
    if isinstance(one, Identity) and isinstance(other, Identity):
        parts = []
        for mine, its in (
            (one.trust_domain, other.trust_domain),
            (one.namespace, other.namespace),
            (one.service_account, other.service_account),
        ):
            if mine is not None and its is not None and mine != its:
                return None
            parts.append(mine if mine is not None else its)
        return Identity(*parts)
    globs = [item for item in (one, other) if isinstance(item, IdentityGlob)]
    exact = [item for item in (one, other) if isinstance(item, Identity) and item.exact]
    if globs and exact:
        return None  # it did not fit above
    if globs and _apart(one, other):
        return None
    if (only := _shared(one, other)) is not None:
        return only
    if isinstance(one, Identity | IdentityGlob) and isinstance(other, Identity | IdentityGlob):
        return _overlap(one, other)
    raise ValueError("the overlap of two identity patterns cannot be told")


@lru_cache(maxsize=1)
def _accounts() -> Language:
    """The names that certificates of service accounts have."""
    from meshport.values.language import Language

    return Language.regex("[^/]+/ns/[^/]+/sa/[^/]+")


@lru_cache(maxsize=8192)
def _both(one: Any, other: Any) -> Language | None:
    """The certificates of service accounts that two patterns share; None where one is no pattern over names."""
    mine, its = certificates(one), certificates(other)
    return mine & its & _accounts() if mine is not None and its is not None else None


def _apart(one: Any, other: Any) -> bool:
    """Whether no certificate is of both."""
    found = _both(one, other)
    return found is not None and found.is_empty()


@lru_cache(maxsize=8192)
def _shared(one: Any, other: Any) -> Any | None:
    """The one service account that two patterns share, such as that of `cluster.local/ns/shop/*` and `*/sa/web`; None where they share more."""
    found = _both(one, other)
    text = found.witness() if found is not None else None
    if found is None or text is None:
        return None
    from meshport.values.language import Language

    return parse_principal(text) if (found - Language.exact(text)).is_empty() else None


def _meet_labels(one: Any, other: Any) -> Any | None:
    """The pods that a label selector and another peer share. Raises ValueError where it takes more than the selectors to tell."""
    homes = {home for item in (one, other) if (home := getattr(item, "namespace", None))}
    if len(homes) > 1:
        return None
    if isinstance(one, Labelled) and isinstance(other, Labelled):
        labels, its = dict(one.selector.labels), dict(other.selector.labels)
        if any(labels.get(key, value) != value for key, value in its.items()):
            return None
        return Labelled(next(iter(homes), ""), Selector.of({**labels, **its}, (*one.selector.expressions, *other.selector.expressions)))
    pods, peer = (one, other) if isinstance(one, Labelled) else (other, one)
    if isinstance(peer, Identity) and peer.service_account is not None:
        named = {ACCOUNT_LABEL: peer.service_account}
        if pods.account not in (None, peer.service_account) or not all(
            item.accepts(named) for item in pods.selector.expressions if item.key == ACCOUNT_LABEL
        ):
            return None
        labels = {**dict(pods.selector.labels), ACCOUNT_LABEL: peer.service_account}
        return Labelled(next(iter(homes), ""), Selector.of(labels, pods.selector.expressions))
    if isinstance(peer, Identity):
        return Labelled(next(iter(homes), ""), pods.selector)
    raise ValueError("which service accounts the pods with these labels run under cannot be told")


@dataclass(frozen=True, slots=True)
class Identities:
    """Peers by identity. `include` None: every peer, also one without identity; `exclude` takes identities out again."""

    include: frozenset[Any] | None = None
    exclude: frozenset[Any] = frozenset()

    @property
    def everyone(self) -> bool:
        return self.include is None and not self.exclude

    @property
    def empty(self) -> bool:
        if self.include is None:
            return WORLD in self.exclude and CLUSTER in self.exclude  # everybody is in the cluster or outside
        return all(_gone(item, self.exclude) for item in self.include)

    def tidy(self) -> Identities:
        """Without members that the exclusions take out whole, and without exclusions that take nothing out."""
        if len(self.exclude) < 2 and (self.include is None or (not self.exclude and len(self.include) < 2)):
            return self
        if self.include is None:
            return Identities(None, _widest(self.exclude))
        kept = frozenset(item for item in self.include if not any(_fits(out, item) for out in self.exclude))
        kept = _widest(kept)
        out = frozenset(item for item in self.exclude if any(_touch(item, member) for member in kept))
        return Identities(kept, _widest(out))

    def meet(self, other: Identities) -> Identities:
        if self.everyone or other.everyone:
            return (other if self.everyone else self).tidy()
        if self.include is None or other.include is None:
            include = self.include if other.include is None else other.include
        else:
            include = frozenset(found for one in self.include for two in other.include if (found := _meet(one, two)) is not None)
        return Identities(include, self.exclude | other.exclude).tidy()

    def minus(self, other: Identities) -> list[Identities]:
        """What is left, in pieces."""
        out = []
        if other.include is not None:
            out.append(Identities(self.include, self.exclude | other.include).tidy())
        if other.exclude:
            out.append(self.meet(Identities(other.exclude)))
        return [piece for piece in out if not piece.empty]

    def covers(self, other: Identities) -> bool:
        """Whether every peer of the other is one of these, as far as can be told (False where it cannot)."""
        if self == other:
            return True
        if self.exclude and not all(any(_fits(known, item) for known in other.exclude) for item in self.exclude):
            touched = other.include is None or any(_touch(item, member) for item in self.exclude for member in other.include)
            if touched:
                return False
        if self.include is None:
            return True
        return other.include is not None and all(any(_fits(pattern, item) for pattern in self.include) for item in other.include)

    def overlaps(self, other: Identities) -> bool:
        try:
            return not self.meet(other).empty
        except ValueError:
            return True


def _gone(item: Any, exclude: frozenset[Any]) -> bool:
    """Whether nobody of a pattern is left once others are taken out, one by one or together."""
    if any(_fits(out, item) for out in exclude):
        return True
    if (
        len(exclude) < 2
        or not any(isinstance(one, IdentityGlob) for one in (item, *exclude))
        or not isinstance(item, Identity | IdentityGlob)
    ):
        return False
    return _gone_together(item, frozenset(out for out in exclude if isinstance(out, Identity | IdentityGlob)))


@lru_cache(maxsize=8192)
def _gone_together(item: Any, exclude: frozenset[Any]) -> bool:
    left = _left(item, exclude)
    return left is not None and (left & _accounts()).is_empty()


def _left(item: Any, exclude: frozenset[Any]) -> Language | None:
    left = certificates(item)
    for taken in filter(None, map(certificates, sorted(exclude, key=label))):
        left = left - taken if left is not None else None
    return left


def example(item: Identity | IdentityGlob, exclude: frozenset[Any]) -> str | None:
    """The name of a certificate that a pattern takes and the exclusions leave: of a service account where there is one."""
    left = _left(item, exclude)
    return (left & _accounts()).witness() or left.witness() if left is not None else None


def _touch(one: Any, other: Any) -> bool:
    try:
        return _meet(one, other) is not None
    except ValueError:
        return True


def _widest(patterns: frozenset[Any]) -> frozenset[Any]:
    if len(patterns) < 2:
        return patterns
    wide = [item for item in patterns if not _one(item)]  # no service account is another one
    return frozenset(
        item
        for item in patterns
        if not any(item != other and _fits(other, item) and not _fits(item, other) for other in (wide if _one(item) else patterns))
    )


def _one(item: Any) -> bool:
    """Whether one service account is meant."""
    return isinstance(item, Identity) and item.exact


# -- networks


@lru_cache(maxsize=65536)
def _network(cidr: str) -> IPv4Network | IPv6Network:
    return ip_network(cidr, strict=False)


@lru_cache(maxsize=8192)
def covers(outer: str, inner: str) -> bool:
    """Whether a CIDR holds all addresses of another."""
    one, two = _network(outer), _network(inner)
    if isinstance(one, IPv4Network):
        return isinstance(two, IPv4Network) and two.subnet_of(one)
    return isinstance(two, IPv6Network) and two.subnet_of(one)


@lru_cache(maxsize=8192)
def disjoint(one: str, other: str) -> bool:
    return not _network(one).overlaps(_network(other))


class Cidrs:
    """CIDRs by address: two of them are apart, or one is inside the other."""

    def __init__(self, cidrs: Iterable[str]) -> None:
        self._exact: dict[tuple[int, int], dict[int, list[str]]] = {}  # version and length of the prefix → prefix
        starts: dict[int, list[tuple[int, str]]] = {}
        for cidr in cidrs:
            network = _network(cidr)
            first = int(network.network_address)
            self._exact.setdefault((network.version, network.prefixlen), {}).setdefault(
                first >> (network.max_prefixlen - network.prefixlen), []
            ).append(cidr)
            starts.setdefault(network.version, []).append((first, cidr))
        self._starts = {version: sorted(found) for version, found in starts.items()}

    def holding(self, cidr: str) -> list[str]:
        """Those that hold all addresses of a CIDR."""
        network = _network(cidr)
        first, width = int(network.network_address), network.max_prefixlen
        return [
            found
            for (version, length), prefixes in self._exact.items()
            if version == network.version and length <= network.prefixlen
            for found in prefixes.get(first >> (width - length), ())
        ]

    def touching(self, cidr: str) -> list[str]:
        """Those that share an address with a CIDR."""
        network = _network(cidr)
        starts = self._starts.get(network.version, [])
        low = bisect_left(starts, (int(network.network_address), ""))
        high = bisect_left(starts, (int(network.broadcast_address) + 1, ""))
        return [*{**dict.fromkeys(self.holding(cidr)), **dict.fromkeys(found for _, found in starts[low:high])}]


@lru_cache(maxsize=512)
def _cidrs(cidrs: tuple[str, ...]) -> Cidrs:
    return Cidrs(cidrs)


def normal_cidr(text: str) -> str:
    """A CIDR or an address as a CIDR. Raises ValueError for anything else."""
    return str(_network(text))


def _full(cidr: str, taken: Iterable[str]) -> bool:
    """Whether CIDRs, none of which holds it alone, hold every address of a CIDR together."""
    whole = _network(cidr)
    inside = {one for one in map(_network, taken) if one.version == whole.version and one.prefixlen > whole.prefixlen}
    if sum(one.num_addresses for one in inside) < whole.num_addresses:
        return False
    reached = int(whole.network_address)
    for one in sorted(inside, key=lambda item: (int(item.network_address), item.prefixlen)):
        if int(one.network_address) > reached:
            return False
        reached = max(reached, int(one.broadcast_address) + 1)
    return reached > int(whole.broadcast_address)


def _apart_from_each_other(networks: list[Network]) -> bool:
    """Whether no two share an address, and each has its exceptions inside."""
    near = Cidrs(network.cidr for network in networks)
    return all(
        len(near.touching(network.cidr)) == 1 and all(covers(network.cidr, out) for out in network.excluded) for network in networks
    ) and (len({network.cidr for network in networks}) == len(networks))


def _by_cidr(networks: Iterable[Network]) -> dict[str, list[Network]]:
    found: dict[str, list[Network]] = {}
    for network in networks:
        found.setdefault(network.cidr, []).append(network)
    return found


_EVERY = (Network("0.0.0.0/0"), Network("::/0"))


@dataclass(frozen=True, slots=True)
class Networks:
    """Addresses. `include` None: every address; `exclude` are CIDRs taken out."""

    include: tuple[Network, ...] | None = None
    exclude: tuple[str, ...] = ()

    @property
    def everywhere(self) -> bool:
        return self.include is None and not self.exclude

    @property
    def empty(self) -> bool:
        return not self.everywhere and not any(self._left(network) for network in (_EVERY if self.include is None else self.include))

    def _left(self, network: Network) -> bool:
        """Whether an address of a network is left, though several CIDRs may take it out together."""
        near = _cidrs(self.exclude)
        if near.holding(network.cidr) or any(covers(out, network.cidr) for out in network.excluded):
            return False
        return not _full(network.cidr, (*near.touching(network.cidr), *network.excluded))

    def meet(self, other: Networks) -> Networks:
        if other.everywhere and not self.exclude:
            return self
        if self.everywhere and not other.exclude:
            return other
        exclude = tuple(sorted(set(self.exclude) | set(other.exclude)))
        if self.include is None or other.include is None:
            include = self.include if other.include is None else other.include
        else:
            found = []
            others = _by_cidr(other.include)
            near = _cidrs(tuple(others))
            for one in self.include:
                for two in (item for cidr in near.touching(one.cidr) for item in others[cidr]):
                    inner = two.cidr if covers(one.cidr, two.cidr) else one.cidr
                    found.append(Network(inner, tuple(sorted({*one.excluded, *two.excluded}))))
            include = tuple(sorted(set(found), key=str))
        return Networks(include, exclude)

    def minus(self, other: Networks) -> list[Networks]:
        out: list[Networks] = []
        if other.include is not None:
            plain = {network.cidr for network in other.include if not network.excluded}
            left = [Networks(self.include, tuple(sorted({*self.exclude, *plain})))]
            excepting = [network for network in other.include if network.excluded]
            if len(excepting) > FEW_EXCEPTING and _apart_from_each_other(excepting):
                inside = Networks(tuple(Network(cidr) for cidr in sorted({out for network in excepting for out in network.excluded})))
                beyond = tuple(sorted({*left[0].exclude, *(network.cidr for network in excepting)}))
                left, excepting = [Networks(self.include, beyond), left[0].meet(inside)], []
            for network in excepting:
                outside = [Networks(piece.include, tuple(sorted({*piece.exclude, network.cidr}))) for piece in left]
                spared = [piece.meet(Networks(tuple(Network(cidr) for cidr in network.excluded))) for piece in left if network.excluded]
                left = [piece for piece in outside + spared if not piece.empty]
                if len(left) > MOST_NETWORKS:
                    raise LanguageTooLarge("the networks are cut into too many parts")
            out.extend(left)
        if other.exclude:
            out.append(self.meet(Networks(tuple(Network(cidr) for cidr in other.exclude))))
        return [piece for piece in out if not piece.empty]

    def covers(self, other: Networks) -> bool:
        if self.everywhere:
            return True
        if self.include is None:
            if other.include is None:
                return set(self.exclude) <= set(other.exclude)
            return all(
                _cidrs(other.exclude).holding(item) or not _cidrs(tuple(net.cidr for net in other.include)).touching(item)
                for item in self.exclude
            )
        if other.include is None:
            return False
        mine = _by_cidr(self.include)
        near, out, theirs = _cidrs(tuple(mine)), _cidrs(self.exclude), frozenset(other.exclude)
        return all(
            any(
                all(
                    cidr in theirs or cidr in item.excluded
                    for cidr in (*out.touching(item.cidr), *_cidrs(net.excluded).touching(item.cidr))
                )
                for found in near.holding(item.cidr)
                for net in mine[found]
            )
            for item in other.include
        )

    def networks(self) -> tuple[Network, ...] | None:
        """The addresses as networks with exceptions; None where every address is meant."""
        if self.everywhere:
            return None
        base = self.include if self.include is not None else _EVERY
        out = []
        near = _cidrs(self.exclude)
        for network in base:
            taken = {*network.excluded, *near.touching(network.cidr)}
            if any(covers(cidr, network.cidr) for cidr in taken):
                continue
            out.append(Network(network.cidr, tuple(sorted(taken))))
        return tuple(sorted(out, key=str))


# -- methods


@dataclass(frozen=True, slots=True)
class Methods:
    """HTTP methods: exactly `names`, or with `inverted` every other one."""

    names: frozenset[str] = frozenset()
    inverted: bool = True

    @property
    def every(self) -> bool:
        return self.inverted and not self.names

    @property
    def empty(self) -> bool:
        return not self.inverted and not self.names

    def complement(self) -> Methods:
        return Methods(self.names, not self.inverted)

    def meet(self, other: Methods) -> Methods:
        if self.every or other.every:
            return other if self.every else self
        if self.inverted and other.inverted:
            return Methods(self.names | other.names, True)
        if self.inverted:
            return Methods(other.names - self.names, False)
        if other.inverted:
            return Methods(self.names - other.names, False)
        return Methods(self.names & other.names, False)

    def covers(self, other: Methods) -> bool:
        return self == other or other.meet(self.complement()).empty

    def accepts(self, method: str) -> bool:
        return (method in self.names) != self.inverted

    def listed(self) -> list[str]:
        """The methods by name; of an inverted set those that HTTP defines."""
        return sorted(name for name in METHODS if name not in self.names) if self.inverted else sorted(self.names)

    def __str__(self) -> str:
        if self.every:
            return "any method"
        return ("any method but " if self.inverted else "") + ",".join(sorted(self.names))


# -- values of a header or a query parameter


@dataclass(frozen=True, slots=True)
class Value:
    """A demand on a header: present with a value in `inside` (None: no demand), and not present with one in `outside`."""

    inside: Language | None = None
    outside: Language | None = None

    @property
    def empty(self) -> bool:
        if self.inside is None:
            return False
        return (self.inside - self.outside).is_empty() if self.outside is not None else self.inside.is_empty()

    def meet(self, other: Value) -> Value:
        inside = self.inside if other.inside is None else other.inside if self.inside is None else self.inside & other.inside
        outside = self.outside if other.outside is None else other.outside if self.outside is None else self.outside | other.outside
        return Value.of(inside, outside)

    @staticmethod
    def of(inside: Language | None, outside: Language | None) -> Value:
        """The demand in its shortest form: of a header that has to be there, one value is left out like any other."""
        return Value(inside - outside, None) if inside is not None and outside is not None else Value(inside, outside)

    def minus(self, other: Value) -> list[Value]:
        out = []
        if other.inside is not None:
            out.append(self.meet(Value(None, other.inside)))
        if other.outside is not None:
            out.append(self.meet(Value(other.outside, None)))
        return [piece for piece in out if not piece.empty]

    def covers(self, other: Value) -> bool:
        return not other.minus(self)

    def key(self) -> str:
        parts = []
        if self.inside is not None:
            parts.append("is " + self.inside.key(TEXT))
        if self.outside is not None:
            parts.append("is not " + self.outside.key(TEXT))
        return " and ".join(parts)


@dataclass(frozen=True, slots=True)
class Values:
    """Demands by name."""

    by_name: tuple[tuple[str, Value], ...] = field(default=())

    def get(self, name: str) -> Value:
        return dict(self.by_name).get(name, Value())

    def put(self, name: str, value: Value) -> Values:
        return Values(tuple(sorted({**dict(self.by_name), name: value}.items(), key=lambda item: item[0])))

    @property
    def empty(self) -> bool:
        return any(value.empty for _, value in self.by_name)

    def meet(self, other: Values) -> Values:
        if not self.by_name or not other.by_name:
            return self if self.by_name else other
        found = self
        for name, value in other.by_name:
            found = found.put(name, found.get(name).meet(value))
        return found

    def minus(self, other: Values) -> list[Values]:
        return [self.put(name, left) for name, value in other.by_name for left in self.get(name).minus(value)]

    def covers(self, other: Values) -> bool:
        return all(value.covers(other.get(name)) for name, value in self.by_name)

    def key(self) -> str:
        return "; ".join(f"{name} {value.key()}" for name, value in self.by_name)
