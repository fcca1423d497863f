"""Identity message by message: what needs no resolving, what a component says, and what must move."""

from __future__ import annotations

import msgspec
import pytest

from tilltal.core.errors import DataError
from tilltal.core.operational import Observed, Owned
from tilltal.customers.identity.corrections import Corrections
from tilltal.customers.identity.online.resolver import Move, OnlineIdentity, Passage, is_shared, owner_at
from tilltal.customers.identity.rules import NamespaceRule, Rules

ANNA, BERT = ("crm", 1), ("crm", 2)
MAIL, HOME = ("email", 20), ("email", 21)
TABLET, PHONE = ("device", 30), ("device", 31)
PLAIN = NamespaceRule(
    name="crm", is_person=True, is_unique=True, is_lower_case=False, shared_after=None, limit=None
)
RULES = Rules(
    namespaces=(
        PLAIN,
        msgspec.structs.replace(PLAIN, name="email", is_unique=False, shared_after=2),
        msgspec.structs.replace(PLAIN, name="device", is_unique=False, is_person=False),
    )
)
VOUCHING = msgspec.structs.replace(RULES, vouch_us=10)


def seen(at: int, *ids: tuple[str, int]) -> Observed:
    return Observed(f"s:{at}", at, ids)


def profiles(spans: tuple[Owned, ...]) -> list[tuple[int | None, int | None]]:
    return [(span.valid_from, span.profile) for span in spans]


def test_more_of_the_same_person_is_plain() -> None:
    identity = OnlineIdentity(RULES)
    owners = identity.settle([seen(5, ANNA, MAIL, TABLET)]).owners
    span = identity.plain(owners, (MAIL, TABLET), 9)
    assert span is not None
    assert span.profile == 1


@pytest.mark.parametrize(
    ("ids", "at"),
    [
        ((ANNA, PHONE), 9),  # an identifier never seen
        ((ANNA, TABLET), 4),  # older than all that was seen
        ((TABLET,), 4),
        ((ANNA, BERT), 9),  # two people
    ],
)
def test_what_may_change_who_is_who_is_not_plain(ids: tuple[tuple[str, int], ...], at: int) -> None:
    identity = OnlineIdentity(RULES)
    owners = identity.settle([seen(5, ANNA, TABLET), seen(6, BERT)]).owners
    assert identity.plain(owners, ids, at) is None


def test_a_device_of_two_people_is_plain_alone_and_in_no_company() -> None:
    identity = OnlineIdentity(RULES)
    owners = identity.settle([seen(5, ANNA, TABLET), seen(7, BERT, TABLET)]).owners
    assert profiles(owners[30]) == [(5, 1), (7, 2)]
    assert [span and span.profile for at in (6, 7) if (span := identity.plain(owners, (TABLET,), at))] == [
        1,
        2,
    ]
    assert identity.plain(owners, (BERT, TABLET), 9) is None


def test_people_who_share_a_device_stay_plain_among_their_own_identifiers() -> None:
    identity = OnlineIdentity(RULES)
    owners = identity.settle([seen(5, ANNA, MAIL, TABLET), seen(7, BERT, TABLET)]).owners
    assert identity.plain(owners, (ANNA, MAIL), 9) == owners[1][0]


def test_a_shared_value_is_nobodys_and_disturbs_no_one() -> None:
    identity = OnlineIdentity(RULES)
    owners = identity.settle([seen(5, ANNA, MAIL), seen(7, BERT, MAIL)]).owners
    assert is_shared(owners[20])
    assert owner_at(owners[20], 9) is None
    assert identity.plain(owners, (ANNA, MAIL), 9) == owners[1][0]
    assert identity.plain(owners, (MAIL,), 9) == owners[20][0]


def test_a_shared_value_stays_so_without_the_observations_behind_it() -> None:
    identity = OnlineIdentity(RULES)
    owners = identity.settle([seen(5, ANNA, MAIL), seen(7, BERT, MAIL)]).owners
    part = [seen(5, ANNA, MAIL), seen(9, ANNA, MAIL, TABLET)]
    assert identity.settle(part, owners, shared=[20]).owners == {
        1: owners[1],
        20: owners[20],
        30: (Owned(30, 9, None, 1),),
    }


def test_a_login_that_vouches_for_a_while_stretches_its_devices_span() -> None:
    identity = OnlineIdentity(VOUCHING)
    first = seen(100, ANNA, TABLET)
    owners = identity.settle([first]).owners
    assert profiles(owners[30]) == [(100, 1), (111, None)]
    again = seen(130, ANNA, TABLET)
    assert identity.plain(owners, again.ids, again.at) is None
    stretched = identity.stretched(owners, again)
    assert stretched == {30: identity.settle([first, again]).owners[30]}
    assert profiles(stretched[30]) == [(100, 1), (141, None)]  # looking back without bound fills the gap


def test_a_withdrawn_login_vouches_for_nothing() -> None:
    first, again = seen(100, ANNA, TABLET), seen(130, ANNA, TABLET)
    identity = OnlineIdentity(VOUCHING, Corrections(revoked=frozenset({again.id})))
    assert identity.stretched(identity.settle([first]).owners, again) is None


def test_an_identifier_alone_is_a_profile_of_its_own() -> None:
    assert OnlineIdentity(RULES).alone("device", 30, 5) == Owned(30, 5, None, 30)


def test_an_identifier_that_a_decision_names_is_settled() -> None:
    identity = OnlineIdentity(RULES, Corrections(same_as=frozenset({(1, 2)})))
    known = {1: (Owned(1, 5, None, 1),)}
    assert identity.alone("crm", 2, 3) is None
    assert identity.tied([2]) == {1}
    settled = identity.settle([seen(3, BERT)], known)
    assert {one: profiles(spans) for one, spans in settled.owners.items()} == {1: [(5, 2)], 2: [(3, 2)]}
    assert settled.is_known == {2: True}


def test_an_undeclared_namespace_is_refused() -> None:
    with pytest.raises(DataError, match="P350"):
        OnlineIdentity(RULES).alone("fax", 30, 5)


def test_a_component_tells_what_it_refused_and_dropped() -> None:
    settled = OnlineIdentity(RULES).settle(
        [seen(1, ANNA, BERT), seen(5, ANNA, TABLET), seen(7, BERT, TABLET)]
    )
    assert settled.refused == (("s:1", "conflicting_ids:crm"),)
    assert [(one.a, one.b, one.reason, one.first_seen) for one in settled.dropped_links] == [
        (1, 30, "unique_namespace:crm", 5)
    ]
    assert settled.is_known == {1: True, 2: True}


def test_other_corrections_tell_what_to_settle_anew() -> None:
    before = OnlineIdentity(RULES, Corrections(forbid=frozenset({(1, 20)}), revoked=frozenset({"s:1"})))
    after = OnlineIdentity(RULES, Corrections(same_as=frozenset({(1, 2)}), revoked=frozenset({"s:2"})))
    tokens, observations = after.changed_since(before)
    assert tokens == {1, 2, 20}
    assert observations == {"s:1", "s:2"}


def test_a_customer_number_takes_over_what_the_device_held() -> None:
    identity = OnlineIdentity(RULES)
    before = {30: (Owned(30, 5, None, 30),)}
    after = identity.settle([seen(9, ANNA, TABLET)], before).owners
    moves = identity.changes(before, after)
    assert moves.whole == (Move(30, 30, 1),)
    assert moves.passages == ()
    assert moves.gone == {30}
    assert moves.owners == after
    assert moves.profiles == {30, 1}


def test_a_device_that_changes_hands_passes_a_span_only() -> None:
    identity = OnlineIdentity(RULES)
    before = identity.settle([seen(5, ANNA, TABLET)]).owners
    after = identity.settle([seen(5, ANNA, TABLET), seen(7, BERT, TABLET)], before).owners
    moves = identity.changes(before, after)
    assert moves.whole == ()
    assert moves.passages == (Passage(30, 7, None, 1, 2),)
    assert moves.gone == frozenset()


def test_an_older_sighting_moves_nothing() -> None:
    identity = OnlineIdentity(RULES)
    before = {30: (Owned(30, 5, None, 30),)}
    after = identity.settle([seen(3, TABLET)], before).owners
    moves = identity.changes(before, after)
    assert (moves.whole, moves.passages, moves.gone) == ((), (), frozenset())
    assert moves.owners == {30: (Owned(30, 3, None, 30),)}


def test_parts_of_a_device_follow_the_person_they_belong_to() -> None:
    before = {30: (Owned(30, 5, 7, 20), Owned(30, 7, None, 2))}
    after = {30: (Owned(30, 5, 7, 1), Owned(30, 7, 9, 2), Owned(30, 9, None, None))}
    moves = OnlineIdentity(RULES).changes(before, after)
    assert moves.whole == (Move(30, 20, 1),)
    assert moves.passages == (Passage(30, 9, None, 2, None),)
    assert moves.gone == frozenset()


def test_what_joins_a_part_that_is_there_is_made_again() -> None:
    before = {30: (Owned(30, 5, 7, 1), Owned(30, 7, None, 2))}
    after = {30: (Owned(30, 5, None, 2),)}
    moves = OnlineIdentity(RULES).changes(before, after)
    assert moves.whole == ()
    assert moves.passages == (Passage(30, 5, 7, 1, 2),)


def test_logins_that_do_not_vouch_for_each_other_leave_a_gap() -> None:
    rules = msgspec.structs.replace(VOUCHING, lookback_us=0)
    logins = [seen(at, ANNA, TABLET) for at in (100, 105, 109, 130, 160)]
    owners = OnlineIdentity(rules).settle(logins).owners
    assert profiles(owners[30]) == [(100, 1), (120, None), (130, 1), (141, None), (160, 1), (171, None)]
