"""What becomes of the letters to a human being whose applications have come together (D24, D13)."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import IntEnum
from typing import Any


class Standing(IntEnum):
    """How far a letter has come: of two for one person and day the further stays."""

    #: Sent, handed over, ended or blocked: it stays as it is and counts as the letter of its day.
    FIXED = 0
    #: Handed over once and on its way again: it can be stopped, but may have been accepted.
    RESENDING = 1
    CLAIMED = 2
    QUEUED = 3
    PLANNED = 4
    WITHDRAWN = 5


@dataclass(frozen=True, slots=True)
class PersonsOrder:
    """A write order of a contact job, the person it was made for, and the one its application belongs to by now."""

    id: int
    lineage_id: int
    occasion_day: date
    person_id: int
    present_person_id: int
    application_id: int
    standing: Standing
    #: `queued` or `sending`.
    under_way: bool
    #: Unblocked it is planned again, for the person of its application by then.
    is_blocked: bool
    #: An attempt exists: it goes to no other application (D14).
    tried: bool
    last_outgoing_at: datetime | None
    received_on: date | None
    external_id: str

    @property
    def preference(self) -> tuple[Any, ...]:
        """D23: greater stands for the person before smaller; an unknown moment or day ranks last."""
        outgoing, received = self.last_outgoing_at, self.received_on
        return (outgoing is not None, outgoing or 0, received is not None, received or 0, self.external_id)


@dataclass(slots=True)
class Arrangement:
    """What is to be done so that a person has one letter per lineage and day, and one under way; by order id."""

    withdrawn: set[int] = field(default_factory=set)
    #: Queued or claimed -> planned: it waits until the other letter of person and lineage has ended.
    put_back: set[int] = field(default_factory=set)
    #: These take the present person of their application.
    following: dict[int, int] = field(default_factory=dict)
    #: These go to another application of the person.
    swapped: dict[int, int] = field(default_factory=dict)


def arrange(orders: Iterable[PersonsOrder], people: Collection[int]) -> Arrangement:
    """What becomes of the letters of `people`, to whom applications have come (D24, D13).

    `orders` are those of their applications, and those that were made for them and hold the unique keys. One of a
    person, lineage and day stays: the furthest, then the one whose application D23 prefers.
    """
    given, done = list(orders), Arrangement()
    theirs = [o for o in given if o.present_person_id in people and o.standing != Standing.WITHDRAWN]
    firsts = []
    for group in _grouped(theirs, lambda o: (o.lineage_id, o.present_person_id, o.occasion_day)):
        first, *others = sorted(sorted(group, key=lambda o: o.preference, reverse=True), key=lambda o: o.standing)
        firsts.append(first)
        done.withdrawn.update(o.id for o in others if o.standing != Standing.FIXED)
    _one_under_way(firsts, done)
    planned = [o for o in firsts if o.id not in done.withdrawn and (_is_planned(o) or o.id in done.put_back)]
    _give_keys(planned, given, done)
    _let_others_follow(firsts, given, done)
    return done


def _grouped(orders: Iterable[PersonsOrder], key: Any) -> list[list[PersonsOrder]]:
    groups: dict[Any, list[PersonsOrder]] = defaultdict(list)
    for order in orders:
        groups[key(order)].append(order)
    return list(groups.values())


def _is_planned(order: PersonsOrder) -> bool:
    return order.standing == Standing.PLANNED


def _one_under_way(firsts: Sequence[PersonsOrder], done: Arrangement) -> None:
    """Of several days under way at once the furthest goes on; the others wait, a resend stops (D13, D37)."""
    for group in _grouped((o for o in firsts if o.under_way), lambda o: (o.lineage_id, o.present_person_id)):
        for order in sorted(group, key=lambda o: (o.standing, o.occasion_day, o.id))[1:]:
            if order.standing == Standing.RESENDING:
                done.withdrawn.add(order.id)
            elif order.standing != Standing.FIXED:
                done.put_back.add(order.id)


def _give_keys(planned: Sequence[PersonsOrder], given: Sequence[PersonsOrder], done: Arrangement) -> None:
    """Planned orders get the unique key of the present person: that of a planned order there, if there is one.

    Keys cannot be exchanged between rows. So whoever holds a person's key takes the application over (D14: the same
    order goes to another duplicate), and only where nobody holds it does an order change its person.
    """
    holders = {(o.lineage_id, o.person_id, o.occasion_day): o for o in given}
    free = {o.id: o for o in given if _is_planned(o) and not o.tried and o.present_person_id != o.person_id}
    free |= {o.id: o for o in given if _is_planned(o) and not o.tried and o.id in done.withdrawn}
    homeless = []
    for order in planned:
        holder = holders.get((order.lineage_id, order.present_person_id, order.occasion_day))
        if holder is order:
            continue
        if holder is None:
            homeless.append(order)
        elif holder.id in free:
            done.swapped[holder.id] = order.application_id
            done.withdrawn.discard(holder.id)
            del free[holder.id]
            if order.id not in done.swapped:
                done.withdrawn.add(order.id)
        else:
            # A letter of that day, or its withdrawal by another rule, stands for the person already.
            done.withdrawn.add(order.id)
    for order in homeless:
        _follow(order, free, done)


def _follow(order: PersonsOrder, free: dict[int, PersonsOrder], done: Arrangement) -> None:
    if order.id in done.swapped:
        # Its row was taken for another application: any row of that day that is left will do.
        same_day = (
            o for o in free.values() if (o.lineage_id, o.occasion_day) == (order.lineage_id, order.occasion_day)
        )
        row = next((o for o in same_day if o.id in done.withdrawn), None)
        if row is None:
            return
        done.swapped[row.id] = order.application_id
    else:
        row = order
    free.pop(row.id, None)
    done.withdrawn.discard(row.id)
    done.following[row.id] = order.present_person_id


def _let_others_follow(firsts: Sequence[PersonsOrder], given: Sequence[PersonsOrder], done: Arrangement) -> None:
    """Queued and blocked orders follow where the keys are free; else they keep the person they had, as claimed ones."""
    keys = {(o.lineage_id, o.person_id, o.occasion_day) for o in given}
    busy = {(o.lineage_id, o.person_id) for o in given if o.under_way and o.id not in done.put_back | done.withdrawn}
    for order in firsts:
        stays_queued = order.standing == Standing.QUEUED and order.id not in done.withdrawn | done.put_back
        lineage, person = order.lineage_id, order.present_person_id
        may_follow = order.is_blocked or (stays_queued and (lineage, person) not in busy)
        if may_follow and order.person_id != person and (lineage, person, order.occasion_day) not in keys:
            done.following[order.id] = person
