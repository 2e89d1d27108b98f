"""Sets of addresses: networks with exceptions, intersected, taken out of each other and told empty."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

from meshport.ir.authorization import Network
from meshport.values.problems import LanguageTooLarge

if TYPE_CHECKING:
    pass


FEW_EXCEPTING = 4
"""Networks with exceptions that are taken out of a set of addresses one by one, so that each part is plain."""


MOST_NETWORKS = 96
"""Parts that a set of addresses may be cut into."""


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
                    out = {*one.excluded, *two.excluded}
                    found.append(Network(inner, tuple(sorted(cidr for cidr in out if not disjoint(cidr, inner)))))
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
