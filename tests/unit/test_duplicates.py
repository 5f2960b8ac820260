"""Who is one human being, and what becomes of their letters (D24): pure rules."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.duplicate_orders import PersonsOrder, Standing, arrange
from shared.domain.duplicates import identity_of

KEYS = ("salutation", "first_name", "last_name", "birth_date")
DAY = date(2026, 11, 23)
PERSON = {"salutation": "Frau", "first_name": "Eva", "last_name": "Groß", "birth_date": date(1990, 2, 28)}


def order(number: int, person: int, present: int, standing: Standing = Standing.PLANNED, **given_: Any) -> PersonsOrder:
    values: dict[str, Any] = {
        "lineage_id": 1,
        "occasion_day": DAY,
        "application_id": 10 * number,
        "tried": False,
        "is_blocked": False,
    }
    values |= {"under_way": standing in (Standing.QUEUED, Standing.CLAIMED, Standing.RESENDING)}
    values |= {"last_outgoing_at": None, "received_on": None, "external_id": f"A{number}", **given_}
    return PersonsOrder(number, person_id=person, present_person_id=present, standing=standing, **values)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"first_name": " EVA "}, True),
        ({"last_name": "GROSS"}, True),
        ({"last_name": None}, False),
        ({"birth_date": None}, False),
        ({"birth_date": date(1990, 3, 1)}, False),
        ({"salutation": "Herr"}, False),
        ({"email": "other@x.example"}, True),
    ],
)
def test_d24_all_keys_known_and_folded_alike_are_one_person(change: dict[str, Any], same: bool) -> None:
    first = identity_of("A1", None, PERSON, KEYS)
    second = identity_of("A2", None, {**PERSON, **change}, KEYS)
    assert (first == second) is same
    assert second.startswith("key:") is (None not in change.values())


def test_d24_a_given_set_goes_before_keys_and_e_mail_may_be_a_key() -> None:
    assert identity_of("A1", "S1", PERSON, KEYS) == "set:S1"
    assert identity_of("A1", None, PERSON, ()) == "one:A1"
    mailed = [identity_of("A1", None, {**PERSON, "email": e}, ("email",)) for e in ("Eva@X.example", " eva@x.EXAMPLE")]
    assert mailed[0] == mailed[1]


def test_d24_of_two_planned_the_one_that_d23_prefers_goes_on() -> None:
    late = datetime(2026, 11, 1, tzinfo=UTC)
    comes, was_there = order(1, 1, 2, last_outgoing_at=late), order(2, 2, 2)
    done = arrange([comes, was_there], {2})
    # The key cannot be exchanged: the order that was there takes the application over.
    assert (done.withdrawn, done.swapped, done.following) == ({1}, {2: 10}, {})
    done = arrange([replace(comes, last_outgoing_at=None), replace(was_there, received_on=DAY)], {2})
    assert (done.withdrawn, done.swapped, done.following) == ({1}, {}, {})


def test_d24_a_planned_order_follows_where_nobody_holds_the_key() -> None:
    assert arrange([order(1, 1, 3), order(2, 2, 3, received_on=DAY)], {3}).following == {2: 3}


@pytest.mark.parametrize("standing", [Standing.FIXED, Standing.RESENDING, Standing.CLAIMED, Standing.QUEUED])
def test_d24_the_further_letter_stays(standing: Standing) -> None:
    done = arrange([order(1, 1, 2, standing), order(2, 2, 2, received_on=DAY)], {2})
    assert (done.withdrawn, done.swapped) == ({2}, {})


def test_d24_a_blocked_order_follows_where_the_key_is_free() -> None:
    blocked = order(1, 1, 2, Standing.FIXED, is_blocked=True)
    assert arrange([blocked], {2}).following == {1: 2}
    done = arrange([blocked, order(2, 2, 2)], {2})
    assert (done.following, done.withdrawn) == ({}, {2})


def test_d24_a_letter_that_another_rule_withdrew_stands_for_the_person() -> None:
    done = arrange([order(1, 1, 2), order(2, 2, 2, Standing.WITHDRAWN)], {2})
    assert (done.withdrawn, done.following) == ({1}, {})


def test_d13_of_two_days_under_way_the_second_waits() -> None:
    tomorrow = date(2026, 11, 24)
    done = arrange([order(1, 1, 2, Standing.QUEUED, occasion_day=tomorrow), order(2, 2, 2, Standing.QUEUED)], {2})
    assert (done.put_back, done.withdrawn, done.following) == ({1}, set(), {1: 2})
    stopped = arrange([order(1, 1, 2, Standing.RESENDING), order(2, 2, 2, Standing.FIXED, under_way=True)], {2})
    assert stopped.withdrawn == {1}


def test_d24_applications_that_change_places_keep_a_letter_each() -> None:
    done = arrange([order(1, 1, 2), order(2, 2, 1)], {1, 2})
    assert (done.withdrawn, done.swapped, done.following) == (set(), {1: 20, 2: 10}, {})


STANDINGS = st.just(Standing.PLANNED) | st.sampled_from(list(Standing))
ORDERS = st.lists(st.tuples(st.integers(1, 4), STANDINGS, st.integers(1, 2), st.booleans()), max_size=8).flatmap(
    lambda kinds: st.permutations([1, 2, 3, 4]).map(lambda present: (kinds, present))
)


@settings(max_examples=300, deadline=None)
@given(ORDERS, st.lists(st.integers(1, 3), min_size=8, max_size=8))
def test_d24_whatever_moves_keys_stay_whole_and_nobody_has_two(drawn: Any, presents: list[int]) -> None:
    orders: dict[tuple[int, date], PersonsOrder] = {}
    under_way = set()
    for number, ((person, standing, day, tried), present) in enumerate(zip(drawn[0], presents, strict=False), 1):
        found = order(number, person, present, standing, occasion_day=date(2026, 11, day), tried=tried)
        if (person, found.occasion_day) in orders or (found.under_way and person in under_way):
            continue
        under_way |= {person} if found.under_way else set()
        orders[person, found.occasion_day] = found
    people = {o.present_person_id for o in orders.values()}
    done = arrange(orders.values(), people)
    after = [after_it(o, done, {o.application_id: o for o in orders.values()}) for o in orders.values()]
    assert len({(o.person_id, o.occasion_day) for o in after}) == len(after)
    live = [o for o in after if o.standing != Standing.WITHDRAWN]
    days: dict[tuple[int, date], list[PersonsOrder]] = {}
    for one in live:
        days.setdefault((one.present_person_id, one.occasion_day), []).append(one)
    for same in days.values():
        assert all(o.standing == Standing.FIXED for o in same) or len(same) == 1
    planned = [o for o in live if o.standing == Standing.PLANNED]
    assert all(o.person_id == o.present_person_id for o in planned)
    fresh = [(o.present_person_id, o.occasion_day) for o in orders.values() if o.standing != Standing.WITHDRAWN]
    if all(o.standing == Standing.PLANNED and not o.tried for o in orders.values()):
        assert set(fresh) == set(days)  # nobody loses a letter for no reason
    by_person = [o.person_id for o in live if o.under_way]
    assert len(by_person) == len(set(by_person))


def after_it(one: PersonsOrder, done: Any, by_application: dict[int, PersonsOrder]) -> PersonsOrder:
    """The order after the statements that follow from the arrangement."""
    if one.id in done.withdrawn:
        return replace(one, standing=Standing.WITHDRAWN, under_way=False)
    if one.id in done.put_back:
        one = replace(one, standing=Standing.PLANNED, under_way=False)
    application = by_application[done.swapped.get(one.id, one.application_id)]
    person = done.following.get(one.id, one.person_id)
    return replace(one, person_id=person, present_person_id=application.present_person_id)
