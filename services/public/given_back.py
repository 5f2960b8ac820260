"""Says again what candidates said, to a database that does not know it any more."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from services.public.said_file import Said
from shared.db.candidate_wishes import Wish, load_wishes, say
from shared.db.consent_answers import answer_question, load_question
from shared.db.engine import Database
from shared.db.person_commands import OfOrder, Whose
from shared.db.suppression_keys import load_keys
from shared.db.tables import applications, persons, write_orders
from shared.domain.consent import Answer
from shared.errors import InvalidInput, NotFound, Refused

_A, _P, _O = applications.c, persons.c, write_orders.c
#: What is written down of an answer to a consent letter.
CONSENT = {answer: f"consent_{answer}" for answer in Answer}
_ANSWERS = {what: answer for answer, what in CONSENT.items()}
#: Persons whose hash is made at a time.
_BATCH = 5000


@dataclass(slots=True)
class Given:
    """What became of it; orders by id."""

    changed: list[int] = field(default_factory=list)
    #: Letters that the database does not know: what was wished holds for their person all the same.
    unknown_letters: list[int] = field(default_factory=list)
    #: Nobody is known any more who said so.
    nobody: list[int] = field(default_factory=list)
    #: Corrections: their words are in no journal.
    words_lost: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    @property
    def is_any(self) -> bool:
        """Whether the database had forgotten anything."""
        return any((self.changed, self.unknown_letters, self.nobody))

    def counts(self) -> dict[str, object]:
        """For the log: how many, and the letters that a person should look at."""
        return {
            "changed": len(self.changed),
            "unknown_letters": self.unknown_letters,
            "nobody": self.nobody,
            "words_lost": self.words_lost,
            "refused": self.refused,
        }


async def give_back(database: Database, said: Sequence[Said]) -> Given:
    """Says it again, in its order, each at the time at which it was said. Twice is as once.

    Raises Conflict and Unavailable; then it is to be done again, from the beginning.
    """
    given, people = Given(), _People(database)
    for one in said:
        if one.what == Wish.CORRECT.value:
            given.words_lost.append(one.order_id)
            continue
        whose: Whose | None = await _order_of(database, one)
        if whose is None:
            given.unknown_letters.append(one.order_id)
            whose = await people.application_of(one.who)
        if whose is None:
            given.nobody.append(one.order_id)
            continue
        try:
            if await _say(database, whose, one, said):
                given.changed.append(one.order_id)
        except (InvalidInput, NotFound, Refused):
            given.refused.append(one.order_id)
    return given


async def _say(database: Database, whose: Whose, one: Said, all_said: Sequence[Said]) -> bool:
    """Whether anything changed."""
    answer = _ANSWERS.get(one.what)
    if answer is not None and isinstance(whose, OfOrder):
        async with database.read() as connection:
            before = await load_question(connection, whose.id)
        return await answer_question(database, whose.id, answer, now=one.at) != before
    if answer is Answer.STAY or (answer is Answer.DELETE and _stays_after_all(one, all_said)):
        return False  # without the letter nobody can be silent
    # Without the letter there is no question that could be answered: a recruiter looks at it.
    wish = Wish.DELETE if answer is Answer.DELETE else Wish(one.what)
    async with database.read() as connection:
        had = await load_wishes(connection, whose, one.at)
    await say(database, whose, wish, None, now=one.at)
    async with database.read() as connection:
        return await load_wishes(connection, whose, one.at) != had


def _stays_after_all(one: Said, all_said: Sequence[Said]) -> bool:
    return any(
        other.what == CONSENT[Answer.STAY] and other.at > one.at and other.order_id == one.order_id
        for other in all_said
    )


async def _order_of(database: Database, one: Said) -> OfOrder | None:
    """The letter, if its number is not another one's by now: numbers begin again after a restore."""
    same = select(_O.id).where(_O.id == one.order_id, _O.created_at == one.made_at)
    async with database.read() as connection:
        return OfOrder(one.order_id) if (await connection.execute(same)).first() else None


class _People:
    """Persons by the hash of their identity; made only if a letter is not known."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_hash: dict[str, int] | None = None

    async def application_of(self, who: str) -> str | None:
        """The external id of one of the person's applications."""
        if self._by_hash is None:
            self._by_hash = await self._all()
        theirs = select(_A.external_id).where(_A.person_id == self._by_hash.get(who)).order_by(_A.id.desc()).limit(1)
        async with self._database.read() as connection:
            found: str | None = (await connection.execute(theirs)).scalar()
        return found

    async def _all(self) -> dict[str, int]:
        found: dict[str, int] = {}
        async with self._database.begin() as connection:
            keys = await load_keys(connection)
        last = 0
        while True:
            some = select(_P.id, _P.identity).where(_P.id > last).order_by(_P.id).limit(_BATCH)
            async with self._database.read() as connection:
                rows = (await connection.execute(some)).all()
            if not rows:
                return found
            found |= {keys.of_identity(row.identity): row.id for row in rows}
            last = rows[-1].id
            await asyncio.sleep(0)
