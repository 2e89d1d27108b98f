"""Networks with exceptions, on top of `ipaddress`. IPv4 and IPv6 never mix: an IPv4-mapped address is an IPv6 one."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

from meshport.values.problems import ValueProblem

Network = IPv4Network | IPv6Network


@lru_cache(maxsize=4096)
def parse_network(text: str) -> Network:
    """An address or a network; bits beyond the prefix are cut, as meshes do. Raises ValueProblem."""
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueProblem(f"{text!r} is not an IP address or CIDR") from None


def normalise(networks: Iterable[Network]) -> tuple[Network, ...]:
    """The fewest networks with the same addresses, IPv4 first, ascending."""
    found = list(networks)
    four = collapse_addresses(network for network in found if isinstance(network, IPv4Network))
    six = collapse_addresses(network for network in found if isinstance(network, IPv6Network))
    return (*four, *six)


def subtract(networks: Iterable[Network], excepted: Iterable[Network]) -> tuple[Network, ...]:
    """The networks without the excepted addresses, normalised."""
    left: list[Network] = list(normalise(networks))
    for hole in normalise(excepted):
        left = [piece for network in left for piece in _without(network, hole)]
    return normalise(left)


def _without(network: Network, hole: Network) -> list[Network]:
    if isinstance(network, IPv4Network) and isinstance(hole, IPv4Network):
        if network.subnet_of(hole):
            return []
        return list(network.address_exclude(hole)) if hole.subnet_of(network) else [network]
    if isinstance(network, IPv6Network) and isinstance(hole, IPv6Network):
        if network.subnet_of(hole):
            return []
        return list(network.address_exclude(hole)) if hole.subnet_of(network) else [network]
    return [network]


def contains(outer: Iterable[Network], inner: Iterable[Network]) -> bool:
    """Whether every address of `inner` is one of `outer`."""
    return not subtract(inner, outer)


def overlaps(one: Iterable[Network], other: Iterable[Network]) -> bool:
    """Whether some address is in both."""
    others = list(other)
    return any(a.version == b.version and a.overlaps(b) for a in one for b in others)
