"""Mails that come back, which anybody can send: those of the corpus, damaged, and about letters that there are."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path

from hypothesis import strategies as st
from sqlalchemy import select
from structlog import get_logger

from services.mailbox.reading import Reader, read_mail
from services.mailer.letters import Letters
from shared.db.engine import Database
from shared.db.system_settings import load_system_settings
from shared.db.tables import attempts, write_orders
from shared.domain.link_tokens import LinkTokens
from shared.domain.return_paths import ReturnPaths
from tests.fuzz.installation import prepare
from tests.fuzz.target import Stage, Target
from tests.fuzz.values import damaged
from tests.returned_mails import NAMES, returned_mail

_PATHS = ReturnPaths("bounce@mail.firma.example", LinkTokens(["0123456789abcdef" * 2]))


@asynccontextmanager
async def _staged(folder: Path) -> AsyncIterator[Stage]:
    installation = await prepare(folder)
    async with installation.copied() as database:
        letters = await _letters(database)
    names, orders = st.sampled_from(NAMES), st.sampled_from(sorted(letters))
    ways = st.sampled_from((_PATHS.of, lambda _: "bounce@mail.firma.example"))

    def mail(name: str, order: int, way: Callable[[int], str], address: str | None = None) -> bytes:
        letter, email = letters[order]
        return returned_mail(name, letter=letter, bounce=way(order), address=address or email)

    one = damaged(st.builds(mail, names, orders, ways)).map(lambda raw: [raw])
    # The same mail by its own id and author, about two letters.
    pair = st.builds(
        lambda name, first, second, way: [mail(name, first, way), mail(name, second, way, letters[first][1])],
        *(names, orders, orders, ways),
    )
    cases = st.lists(st.one_of(one, one, pair), min_size=1, max_size=4).map(lambda lists: list(chain(*lists)))

    async def attempt(case: list[bytes]) -> None:
        async with installation.copied() as database:
            reader = Reader(database, installation.clock, _PATHS, get_logger())
            for mail in case:
                await read_mail(reader, mail)

    yield Stage(cases, attempt)


async def _letters(database: Database) -> dict[int, tuple[str, str]]:
    """Message-ID and address of the orders whose letters were handed over."""
    async with database.read() as connection:
        message_id = Letters(None).message_ids(await load_system_settings(connection))
        handed_over = select(attempts.c.order_id, attempts.c.message_id, write_orders.c.email).join(write_orders)
        rows = (await connection.execute(handed_over.where(attempts.c.handed_over_at.is_not(None)))).all()
    assert len(rows) > 1 and all(row.message_id == message_id(row.order_id) for row in rows)
    return {row.order_id: (row.message_id, row.email) for row in rows}


MAILS = Target("mails", _staged)
