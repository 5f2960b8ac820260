"""Requests to the candidates' page, which anybody can send: genuine links, damaged ones, every method, any body."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import httpx
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from sqlalchemy import insert, select

from services.public.app import build_public
from shared.db.candidate_wishes import Wish
from shared.db.engine import Database
from shared.db.tables import consent_requests, write_orders
from shared.domain.consent import CONSENT_LINKS
from shared.public_links import public_links
from shared.settings import load_settings
from tests.fuzz.installation import Installation, prepare
from tests.fuzz.target import Stage, Target
from tests.fuzz.values import damaged, texts

_BASE = "https://firma.example"
_SETTINGS = load_settings({"KP_LINK_KEYS": "0123456789abcdef" * 2, "KP_PUBLIC_URL": f"{_BASE}/k"})
_METHODS = (*("GET", "POST") * 4, "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH")
_TYPES = (
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "text/plain",
    "",
)
_BODIES = (
    b"List-Unsubscribe=One-Click",
    b'--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n',
    b'--x\r\nContent-Disposition: form-data; name="wish"; filename="a"\r\n\r\nopt_out\r\n--x--\r\n',
    b"%ff=%00&wish=%ED%A0%80",
)
#: (method, path, body, its type, language)
Request = tuple[str, str, bytes, str, str]


def _requests(links: list[str]) -> SearchStrategy[list[Request]]:
    words = st.one_of(texts, st.sampled_from([*Wish, "stay", "delete"]))
    names = st.one_of(st.sampled_from(("wish", "words", "answer", "List-Unsubscribe")), texts)
    forms = st.lists(st.tuples(names, words), max_size=12).map(
        lambda pairs: urlencode(pairs, errors="replace").encode()
    )
    bodies = st.one_of(
        forms, forms, damaged(st.one_of(forms, st.sampled_from(_BODIES))), st.just(b"words=" + b"a" * 40_000)
    )
    genuine = st.sampled_from(links)
    paths = st.one_of(
        *[genuine] * 4,
        damaged(genuine.map(str.encode)).map(lambda raw: "/" + quote(raw.removeprefix(b"/"), safe="/")),
        texts.map(lambda text: "/k/p/" + quote(text, safe="")),
        texts.map(lambda text: "/" + quote(text, safe="/")),
    )
    languages = st.sampled_from(("de", "en", "fr;q=0.9", "", "*", "de;q=x,,"))
    one = st.tuples(st.sampled_from(_METHODS), paths, bodies, st.sampled_from(_TYPES), languages)
    return st.lists(one, min_size=1, max_size=6)


@asynccontextmanager
async def _staged(folder: Path) -> AsyncIterator[Stage]:
    installation = await prepare(folder)
    links = await _links(installation)

    async def attempt(case: list[Request]) -> None:
        async with installation.copied() as database:
            transport = httpx.ASGITransport(build_public(database, installation.clock, _SETTINGS))
            async with httpx.AsyncClient(transport=transport, base_url=_BASE) as browser:
                for method, path, body, kind, language in case:
                    headers = {"Content-Type": kind, "Accept-Language": language}
                    # An address that the browser itself will not ask for.
                    with suppress(httpx.InvalidURL):
                        answer = await browser.request(method, f"{_BASE}{path}", content=body, headers=headers)
                        assert answer.status_code < 500, (method, path, answer.status_code)

    yield Stage(_requests(links), attempt)


async def _links(installation: Installation) -> list[str]:
    """The links of all letters, some of which ask for consent."""
    database = Database(f"sqlite:///{installation.folder / 'prepared.sqlite3'}")
    now = installation.clock.now()
    async with database.begin() as connection:
        ids = list((await connection.execute(select(write_orders.c.id).order_by(write_orders.c.id))).scalars())
        asked = [{"order_id": one, "asked_at": now, "due_at": now + timedelta(days=30)} for one in ids[:4]]
        await connection.execute(insert(consent_requests), asked)
    await database.close()
    links = public_links(_SETTINGS)
    assert links is not None
    # One more, of a letter that is not there.
    every = [links.preferences(one) for one in (*ids[:8], ids[-1] + 1)]
    every += [links.consent(one, answer) for one in (*ids[:6], ids[-1] + 1) for answer in sorted(CONSENT_LINKS)]
    return [urlsplit(one).path for one in every]


PUBLIC = Target("public", _staged)
