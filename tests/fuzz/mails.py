"""Mails that come back, which anybody can send: those of the corpus, damaged, and about letters that there are."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hypothesis import strategies as st
from structlog import get_logger

from services.mailbox.reading import Reader, read_mail
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
    about = st.builds(
        lambda name, order: returned_mail(name, bounce=_PATHS.of(order)), st.sampled_from(NAMES), st.integers(1, 9)
    )

    async def attempt(case: list[bytes]) -> None:
        async with installation.copied() as database:
            reader = Reader(database, installation.clock, _PATHS, get_logger())
            for mail in case:
                await read_mail(reader, mail)

    yield Stage(st.lists(damaged(about), min_size=1, max_size=4), attempt)


MAILS = Target("mails", _staged)
