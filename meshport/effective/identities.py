"""Sets of peers by identity: intersection, difference and emptiness, exactly where it can be told."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from meshport.effective.accounts import Accounts
from meshport.ir.authorization import ACCOUNT_LABEL, Entity, Labelled
from meshport.ir.base import Selector
from meshport.values.identities import EVERYONE, Identity, IdentityGlob, parse_principal

if TYPE_CHECKING:
    from meshport.values.language import Language


FEW = 4
"""Patterns up to which each is asked, instead of looking one up."""
CLUSTER, WORLD, INGRESS = Entity("cluster"), Entity("world"), Entity("ingress")


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


def fits(pattern: Any, identity: Any) -> bool:
    """Whether every identity of the second pattern is one of the first."""
    if isinstance(pattern, Identity) and isinstance(identity, Identity):
        return pattern.covers(identity)
    if isinstance(pattern, Entity):
        return pattern == identity or (pattern == CLUSTER and identity != WORLD)
    if isinstance(identity, Entity):
        return False
    if isinstance(identity, Labelled):
        return _labels_fit(pattern, identity)
    if pattern == EVERYONE:
        return True
    if isinstance(pattern, Labelled):
        return (
            not pattern.plain
            and pattern.selector.everything
            and isinstance(identity, Identity)
            and pattern.namespace in ("", identity.namespace)
        )
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
        return not pods.plain and pattern.service_account in (None, pods.account) and pattern.namespace in (None, pods.namespace)
    if not isinstance(pattern, Labelled) or pattern.namespace not in ("", pods.namespace) or (pattern.plain and not pods.plain):
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


def of_no_domain(identities: Iterable[Any]) -> str:
    """Why nobody in this mesh has these identities."""
    said = [label(item) for item in identities]
    return f"{', '.join(said)} {'belongs' if len(said) == 1 else 'belong'} to no trust domain of this mesh"


def of_gateways(identities: Iterable[Any]) -> str:
    """Identities of gateways as the subject of a sentence, with its verb."""
    said = [label(item) for item in identities]
    return f"the gateway {said[0]} is" if len(said) == 1 else f"the gateways {', '.join(said)} are"


def _meet(one: Any, other: Any) -> Any | None:
    """The pattern of the identities that both take; None where there is none. Raises ValueError where it cannot be told."""
    if fits(one, other):
        return other
    if fits(other, one):
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
        both = Selector.of({**labels, **its}, (*one.selector.expressions, *other.selector.expressions))
        return Labelled(next(iter(homes), ""), both, one.plain or other.plain)
    pods, peer = (one, other) if isinstance(one, Labelled) else (other, one)
    if pods.plain:
        return None
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
        kept = _widest(frozenset(item for item in self.include if not _held(item, self.exclude)))
        out = frozenset(item for item in self.exclude if _touches(item, kept))
        return Identities(kept, _widest(out))

    def meet(self, other: Identities) -> Identities:
        if self.everyone or other.everyone:
            return (other if self.everyone else self).tidy()
        if self.include is None or other.include is None:
            include = self.include if other.include is None else other.include
        else:
            include = _in_both(self.include, other.include)
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
        apart, its = self.exclude - other.exclude, other.include
        named = apart & its if its is not None else apart  # those that plainly touch, before all others are asked
        for item in (*named, *(apart - named)):
            if not _held(item, other.exclude) and (its is None or _touches(item, its)):
                return False
        mine = self.include
        return mine is None or (other.include is not None and all(_held(item, mine) for item in other.include - mine))

    def overlaps(self, other: Identities) -> bool:
        try:
            return not self.meet(other).empty
        except ValueError:
            return True


def _gone(item: Any, exclude: frozenset[Any]) -> bool:
    """Whether nobody of a pattern is left once others are taken out, one by one or together."""
    if _held(item, exclude):
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
    """Those of the patterns that no other one holds."""
    if len(patterns) < 2:
        return patterns
    accounts, others = by_name(patterns)

    def held(item: Any) -> bool:
        if isinstance(item, Identity):
            return accounts.hold_more(item) or any(fits(other, item) and not fits(item, other) for other in others)
        return any(item != other and fits(other, item) and not fits(item, other) for other in patterns)

    return frozenset(item for item in patterns if not held(item))


@lru_cache(maxsize=1024)
def by_name(patterns: frozenset[Any]) -> tuple[Accounts, tuple[Any, ...]]:
    """The accounts and namespaces among patterns, to be looked up, and the other patterns."""
    return Accounts(item for item in patterns if isinstance(item, Identity)), tuple(
        item for item in patterns if not isinstance(item, Identity)
    )


def _held(item: Any, by: frozenset[Any]) -> bool:
    """Whether every identity of a pattern is one of one of these."""
    if len(by) <= FEW or not isinstance(item, Identity):
        return any(fits(pattern, item) for pattern in by)
    accounts, others = by_name(by)
    return accounts.hold(item) or any(fits(pattern, item) for pattern in others)


def _touches(item: Any, patterns: frozenset[Any]) -> bool:
    """Whether a pattern shares an identity with one of these, or may."""
    if len(patterns) <= FEW or not isinstance(item, Identity):
        return any(_touch(item, pattern) for pattern in patterns)
    accounts, others = by_name(patterns)
    return any(True for _ in accounts.touching(item)) or any(_touch(item, pattern) for pattern in others)


def _in_both(mine: frozenset[Any], its: frozenset[Any]) -> frozenset[Any]:
    """What two sets of patterns share, pair by pair. Raises ValueError where it cannot be told."""
    found: set[Any] = set()
    accounts, others = by_name(its) if len(its) > FEW else (None, its)
    for one in mine:
        near = its if accounts is None or not isinstance(one, Identity) else (*accounts.touching(one), *others)
        found.update(both for other in near if (both := _meet(one, other)) is not None)
    return frozenset(found)
