"""Wishes that come back with an import: of whoever is known again by an address or an identity (S29)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.suppression_keys import load_keys
from shared.db.suppressions import (
    CANDIDATE,
    PAUSE_MONTHS,
    PAUSED,
    SINCE,
    are_any,
    note_wishes,
    noted_under,
    pause_ended_at,
    paused_until,
    stricter,
)
from shared.db.system_settings import load_system_settings
from shared.db.tables import applications, events, persons
from shared.db.write_orders.interventions import block_person, withdraw_open_letters_of_person
from shared.db.write_orders.wishes import withdraw_birthday_letters, withdraw_letters_beyond_one_a_year
from shared.domain.schedule import add_months

_A, _P, _E = applications.c, persons.c, events.c
#: Why somebody new has a wish.
KEPT = "as the person wished before"
#: By the event with which a person takes a wish back.
_TAKEN_BACK = {"opt_in": "opted_out_at", "birthday": "no_birthday_since", "not_yearly": "yearly_since"}


async def keep_wishes(connection: AsyncConnection, which: ColumnElement[bool], now: datetime, author: str) -> None:
    """Which applications are new, or have another address or person: what was wished before holds for their people.

    At once, as if they said it now: letters before T2 are withdrawn, claimed ones too (D33).
    """
    if not await are_any(connection):
        return
    keys = await load_keys(connection)
    people: dict[str, set[int]] = {}
    known = select(_P.id, _P.identity, _A.usable_email, _A.returned_email).where(_P.id == _A.person_id, which)
    for row in await connection.execute(known):
        addresses = {keys.of_address(one) for one in (row.usable_email, row.returned_email) if one}
        for key in {keys.of_identity(row.identity), *addresses}:
            people.setdefault(key, set()).add(row.id)
    kept: dict[int, dict[str, Any]] = {}
    for key, noted in (await noted_under(connection, people)).items():
        for person_id in people[key]:
            kept[person_id] = stricter(kept.get(person_id, {}), noted)
    for person_id, wishes in sorted(kept.items()):
        await _keep(connection, person_id, wishes, now, author)
    # And under what they have become known by now.
    await note_wishes(connection, {person_id for some in people.values() for person_id in some})


async def _keep(
    connection: AsyncConnection, person_id: int, wishes: Mapping[str, Any], now: datetime, author: str
) -> None:
    """Gives a person wishes that it does not have yet, unless it has taken such a wish back since."""
    present = (await connection.execute(select(persons).where(_P.id == person_id).with_for_update())).mappings().one()
    decided = await _taken_back(connection, person_id)
    for name, action in SINCE.items():
        since = wishes[name]
        if since is None or present[name] is not None or (name in decided and decided[name] >= since):
            continue
        values = {name: since} | ({"opted_out_by": author} if name == "opted_out_at" else {})
        await connection.execute(update(persons).where(_P.id == person_id).values(values))
        await _withdraw(connection, person_id, name, now, author)
        event = {"at": now, "author": author, "action": action, "noun": "person", "record_id": person_id}
        await connection.execute(insert(events).values(event | {"reason": KEPT}))
    zone = (await load_system_settings(connection)).zone
    until, today = wishes["paused_until"], now.astimezone(zone).date()
    if until is None or until < today or await paused_until(connection, person_id, today) is not None:
        return
    # A note does not tell when the pause was said: so long before its end.
    ended_at = await pause_ended_at(connection, person_id)
    if ended_at is not None and add_months(ended_at.astimezone(zone).date(), PAUSE_MONTHS) >= until:
        return
    await block_person(connection, person_id, None, reason=PAUSED, until=until, now=now, author=CANDIDATE)


async def _withdraw(connection: AsyncConnection, person_id: int, name: str, now: datetime, author: str) -> None:
    if name == "opted_out_at":
        await withdraw_open_letters_of_person(
            connection, person_id, withdrawn_by="opted_out", reason="opted out", now=now, author=author
        )
    else:
        withdraw = withdraw_birthday_letters if name == "no_birthday_since" else withdraw_letters_beyond_one_a_year
        await withdraw(connection, person_id, now=now, author=author)


async def _taken_back(connection: AsyncConnection, person_id: int) -> dict[str, datetime]:
    """When a person last said that it does not wish it any more: who shares its address says so for nobody else."""
    mine = (_E.noun == "person", _E.record_id == person_id, _E.action.in_(_TAKEN_BACK))
    found = await connection.execute(select(_E.action, func.max(_E.at).label("at")).where(*mine).group_by(_E.action))
    return {_TAKEN_BACK[row.action]: row.at for row in found}
