"""Accounts that are looked up by what they name are those that asking one after the other finds."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from meshport.effective.accounts import Accounts, wider
from meshport.effective.identities import Identities
from meshport.values.identities import Identity, IdentityGlob

IDENTITIES = st.builds(Identity, *(st.sampled_from([None, "a", "b", "c"]) for _ in range(3)))


def _touch(one: Identity, other: Identity) -> bool:
    pairs = zip(
        (one.trust_domain, one.namespace, one.service_account), (other.trust_domain, other.namespace, other.service_account), strict=True
    )
    return all(mine is None or its is None or mine == its for mine, its in pairs)


@given(st.lists(IDENTITIES, max_size=12), IDENTITIES)
def test_what_is_looked_up_is_what_asking_each_finds(members: list[Identity], item: Identity) -> None:
    accounts = Accounts(members)
    assert accounts.hold(item) is any(one.covers(item) for one in members)
    assert accounts.hold_more(item) is any(one != item and one.covers(item) for one in members)
    assert set(accounts.touching(item)) == {one for one in members if _touch(one, item)}
    assert {one for one in members if one in set(wider(item))} == {one for one in members if one.covers(item)}


SETS = st.builds(
    Identities,
    st.none() | st.frozensets(IDENTITIES, max_size=9),
    st.frozensets(IDENTITIES, max_size=9),
)
EVERY = [Identity(*parts) for parts in product("abc", repeat=3)]


def _in(item: Identity, who: Identities) -> bool:
    return (who.include is None or any(one.covers(item) for one in who.include)) and not any(one.covers(item) for one in who.exclude)


@given(SETS, SETS)
def test_sets_of_many_identities_hold_whom_their_members_say(one: Identities, other: Identities) -> None:
    both, left = one.meet(other), one.minus(other)
    for item in EVERY:
        assert _in(item, one.tidy()) is _in(item, one)
        assert _in(item, both) is (_in(item, one) and _in(item, other))
        assert any(_in(item, piece) for piece in left) is (_in(item, one) and not _in(item, other))
        assert not one.covers(other) or not _in(item, other) or _in(item, one)


def test_patterns_beside_accounts_are_asked_one_by_one() -> None:
    shops = frozenset(Identity("cluster.local", f"shop{number}", "web") for number in range(8))
    known = Identities(shops | {IdentityGlob("cluster.local/ns/ops/sa/admin*")})
    assert known.covers(Identities(frozenset({Identity("cluster.local", "shop3", "web"), Identity("cluster.local", "ops", "admin1")})))
    assert not known.covers(Identities(frozenset({Identity("cluster.local", "ops", "web")})))
