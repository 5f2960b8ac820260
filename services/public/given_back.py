"""Says again what candidates said, to a database that does not know it any more."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from services.public.said_file import Said
from shared.db.candidate_requests import Kind
from shared.db.candidate_wishes import Wish, say
from shared.db.consent_answers import answer_question
from shared.db.engine import Database
from shared.db.person_commands import OfOrder, Whose, owner_of
from shared.db.tables import applications, candidate_requests, persons, write_orders
from shared.domain.consent import Answer
from shared.errors import InvalidInput, NotFound, Refused

_A, _O, _P, _R = applications.c, write_orders.c, persons.c, candidate_requests.c
#: What is written down of an answer to a consent letter.
CONSENT = {answer: f"consent_{answer}" for answer in Answer}
_ANSWERS = {what: answer for answer, what in CONSENT.items()}
#: What is taken back, and since when it holds.
_TAKES_BACK = {
    Wish.OPT_IN: _P.opted_out_at,
    Wish.BIRTHDAY: _P.no_birthday_since,
    Wish.AS_USUAL: _P.yearly_since,
}
#: Applications looked for by one statement.
_AT_ONCE = 500


@dataclass(slots=True)
class Given:
    """What became of it; orders by id."""

    changed: list[int] = field(default_factory=list)
    #: Letters that the database does not know: what was wished holds for their person all the same.
    unknown_letters: list[int] = field(default_factory=list)
    #: Nobody is known who said so, yet or any more.
    nobody: list[Said] = field(default_factory=list)
    #: Corrections that the database has forgotten: their words are in no journal.
    words_lost: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    @property
    def is_any(self) -> bool:
        """Whether the database had forgotten anything."""
        return any((self.changed, self.unknown_letters, self.nobody, self.words_lost))

    def counts(self) -> dict[str, object]:
        """For the log: how many, and the letters that a person should look at."""
        return {
            "changed": len(self.changed),
            "unknown_letters": self.unknown_letters,
            "nobody": [one.order_id for one in self.nobody],
            "words_lost": self.words_lost,
            "refused": self.refused,
        }


async def give_back(database: Database, said: Sequence[Said], forgotten: Callable[[], Awaitable[None]]) -> Given:
    """Says it again, in its order, each at the time at which it was said. Twice is as once.

    `forgotten` is called once, as soon as the database is found to have forgotten anything. Raises Conflict and
    Unavailable; then it is to be done again, from the beginning.
    """
    given, is_told = Given(), False
    for one in said:
        await _give_back(database, one, said, given)
        if given.is_any and not is_told:
            is_told = True
            await forgotten()
    return given


async def somebody_known(database: Database, said: Sequence[Said]) -> list[Said]:
    """What was said for applications that the database knows."""
    names, known = sorted({one.application for one in said}), set[str]()
    for start in range(0, len(names), _AT_ONCE):
        some = select(_A.external_id).where(_A.external_id.in_(names[start : start + _AT_ONCE]))
        async with database.read() as connection:
            known |= set((await connection.execute(some)).scalars())
    return [one for one in said if one.application in known]


async def _give_back(database: Database, one: Said, all_said: Sequence[Said], given: Given) -> None:
    whose: Whose | None = await _order_of(database, one)
    if whose is None:
        given.unknown_letters.append(one.order_id)
        whose = await _application_of(database, one)
    if whose is None:
        given.nobody.append(one)
        return
    if one.what == Wish.CORRECT.value:
        if not await _is_asked(database, one):
            given.words_lost.append(one.order_id)
        return
    try:
        if await _say(database, whose, one, all_said):
            given.changed.append(one.order_id)
    except (InvalidInput, NotFound, Refused):
        given.refused.append(one.order_id)


async def _say(database: Database, whose: Whose, one: Said, all_said: Sequence[Said]) -> bool:
    """Whether anything changed."""
    answer = _ANSWERS.get(one.what)
    if answer is not None and isinstance(whose, OfOrder):
        return (await answer_question(database, whose.id, answer, now=one.at)).changed
    if answer is Answer.STAY or (answer is Answer.DELETE and _stays_after_all(one, all_said)):
        return False  # without the letter nobody can be silent
    # Without the letter there is no question that could be answered: a recruiter looks at it.
    wish = Wish.DELETE if answer is Answer.DELETE else Wish(one.what)
    if await _is_said_since(database, whose, wish, one):
        return False
    return await say(database, whose, wish, None, now=one.at)


async def _is_said_since(database: Database, whose: Whose, wish: Wish, one: Said) -> bool:
    """Whether what is to be taken back was wished afterwards: on another machine, or by somebody known earlier."""
    if (since := _TAKES_BACK.get(wish)) is None:
        return False
    async with database.read() as connection:
        moment = (await connection.execute(select(since).where(_P.id == owner_of(whose)))).scalar()
    return moment is not None and moment > one.at


async def _is_asked(database: Database, one: Said) -> bool:
    """Whether the correction that was asked for at that moment is there, done or not."""
    same = (_A.external_id == one.application, _R.kind == Kind.CORRECTION.value, _R.made_at == one.at)
    statement = select(_R.id).join(applications, _A.id == _R.application_id).where(*same)
    async with database.read() as connection:
        return (await connection.execute(statement)).first() is not None


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


async def _application_of(database: Database, one: Said) -> str | None:
    """Its letter is not known: the application that it was for, if that is."""
    same = select(_A.external_id).where(_A.external_id == one.application)
    async with database.read() as connection:
        found: str | None = (await connection.execute(same)).scalar()
    return found
