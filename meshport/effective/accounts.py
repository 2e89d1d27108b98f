"""Many service accounts, namespaces and trust domains, looked up by what they name instead of one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from meshport.values.identities import Identity

_Parts = tuple[str | None, str | None, str | None]
_Shape = tuple[bool, bool, bool]


class Accounts:
    """Identities, each with some of its parts given. Whether one of them holds another is asked of the few ways to leave parts of that one open."""

    def __init__(self, members: Iterable[Identity]) -> None:
        self._members: dict[_Parts, Identity] = {_parts(one): one for one in members}
        self._shapes = frozenset(map(_shape, self._members))
        self._shared: dict[tuple[_Shape, _Shape], dict[_Parts, list[Identity]]] = {}

    def hold(self, item: Identity) -> bool:
        """Whether every caller of an identity is one of a member's."""
        return any(parts in self._members for parts in self._wider(_parts(item)))

    def hold_more(self, item: Identity) -> bool:
        """The same of a member that is not the identity itself."""
        own = _parts(item)
        return any(parts in self._members for parts in self._wider(own) if parts != own)

    def touching(self, item: Identity) -> Iterable[Identity]:
        """The members that share a caller with an identity: those that say nothing else of what both give."""
        own = _parts(item)
        given = _shape(own)
        for shape in self._shapes:
            both = (shape[0] and given[0], shape[1] and given[1], shape[2] and given[2])
            if (shape, both) not in self._shared:
                alike: dict[_Parts, list[Identity]] = {}
                for parts, one in self._members.items():
                    if _shape(parts) == shape:
                        alike.setdefault(_open(parts, both), []).append(one)
                self._shared[shape, both] = alike
            yield from self._shared[shape, both].get(_open(own, both), ())

    def _wider(self, own: _Parts) -> Iterable[_Parts]:
        """What is given of an identity, and what is left of that in each shape that members have."""
        given = _shape(own)
        for shape in self._shapes:
            if all(its or not asked for its, asked in zip(given, shape, strict=True)):
                yield _open(own, shape)


def wider(item: Identity) -> Iterable[Identity]:
    """The identity, and those that hold all of its callers and more: with some of what is given left open."""
    return (Identity(*parts) for parts in product(*([part, None] if part is not None else [None] for part in _parts(item))))


def _parts(item: Identity) -> _Parts:
    return (item.trust_domain, item.namespace, item.service_account)


def _shape(parts: _Parts) -> _Shape:
    return (parts[0] is not None, parts[1] is not None, parts[2] is not None)


def _open(parts: _Parts, shape: _Shape) -> _Parts:
    return (parts[0] if shape[0] else None, parts[1] if shape[1] else None, parts[2] if shape[2] else None)
