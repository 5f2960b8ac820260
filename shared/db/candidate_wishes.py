"""What a candidate's link shows and changes: the wishes of the person that a letter was for."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import partial

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.candidate_requests import Kind, OpenRequests, ask, count_open, take_back
from shared.db.engine import Database
from shared.db.person_commands import (
    Less,
    Whose,
    end_pause,
    opt_in,
    opt_out,
    owner_of,
    pause,
    want_as_usual,
    want_less,
)
from shared.db.suppressions import CANDIDATE, paused_until
from shared.db.system_settings import load_system_settings
from shared.db.tables import persons

_P = persons.c


class Wish(StrEnum):
    """What a candidate can say; each of the first six can be taken back by the one after it."""

    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"
    PAUSE = "pause"
    END_PAUSE = "end_pause"
    NO_BIRTHDAY = "no_birthday"
    BIRTHDAY = "birthday"
    YEARLY = "yearly"
    AS_USUAL = "as_usual"
    DELETE = "delete"
    KEEP = "keep"
    CORRECT = "correct"


#: Wishes for less, with what takes them back and what they are less of.
LESS = ((Wish.NO_BIRTHDAY, Wish.BIRTHDAY, Less.NO_BIRTHDAY), (Wish.YEARLY, Wish.AS_USUAL, Less.YEARLY))


@dataclass(frozen=True, slots=True)
class Wishes:
    """What holds for a person now. No name and no address: whoever has the letter's link sees it."""

    opted_out: bool
    paused_until: date | None
    no_birthday: bool
    yearly: bool
    requests: OpenRequests
    company: str | None


async def load_wishes(connection: AsyncConnection, whose: Whose, now: datetime) -> Wishes | None:
    """None: the order, or the application, is gone."""
    columns = (_P.id, _P.opted_out_at, _P.no_birthday_since, _P.yearly_since)
    person = (await connection.execute(select(*columns).where(_P.id == owner_of(whose)))).mappings().first()
    if person is None:
        return None
    settings = await load_system_settings(connection)
    return Wishes(
        person["opted_out_at"] is not None,
        await paused_until(connection, person["id"], now.astimezone(settings.zone).date()),
        person["no_birthday_since"] is not None,
        person["yearly_since"] is not None,
        await count_open(connection, person["id"]),
        settings.company,
    )


async def say(database: Database, whose: Whose, wish: Wish, words: str | None, *, now: datetime) -> bool:
    """Does what the candidate says, in one transaction; False: it changed nothing, it was said before.

    Raises NotFound where the order or the application is gone, InvalidInput for words that cannot be taken, Refused for
    too many of them.
    """
    return await _ACTS[wish](database, whose, words, now)


Act = Callable[[Database, Whose, str | None, datetime], Awaitable[bool]]


async def _opt_out(database: Database, whose: Whose, _: str | None, now: datetime) -> bool:
    return (await opt_out(database, whose, reason=None, author=CANDIDATE, now=now)).changed


async def _opt_in(database: Database, whose: Whose, _: str | None, now: datetime) -> bool:
    return (await opt_in(database, whose, author=CANDIDATE, now=now)).changed


async def _pause(database: Database, whose: Whose, _: str | None, now: datetime) -> bool:
    return (await pause(database, whose, now=now)).changed


async def _end_pause(database: Database, whose: Whose, _: str | None, now: datetime) -> bool:
    return (await end_pause(database, whose, now=now)).changed


async def _less(less: Less, database: Database, whose: Whose, _: str | None, now: datetime) -> bool:
    return (await want_less(database, whose, less, author=CANDIDATE, now=now)).changed


async def _usual(less: Less, database: Database, whose: Whose, _: str | None, now: datetime) -> bool:
    return (await want_as_usual(database, whose, less, author=CANDIDATE, now=now)).changed


async def _correct(database: Database, whose: Whose, words: str | None, now: datetime) -> bool:
    return await ask(database, whose, Kind.CORRECTION, words, now=now)


async def _delete(database: Database, whose: Whose, _: str | None, now: datetime) -> bool:
    return await ask(database, whose, Kind.DELETION, None, now=now)


async def _keep(database: Database, whose: Whose, _: str | None, now: datetime) -> bool:
    return await take_back(database, whose, Kind.DELETION, now=now)


_ACTS: dict[Wish, Act] = {
    Wish.OPT_OUT: _opt_out,
    Wish.OPT_IN: _opt_in,
    Wish.PAUSE: _pause,
    Wish.END_PAUSE: _end_pause,
    **{wish: partial(_less, less) for wish, _, less in LESS},
    **{back: partial(_usual, less) for _, back, less in LESS},
    Wish.DELETE: _delete,
    Wish.KEEP: _keep,
    Wish.CORRECT: _correct,
}
