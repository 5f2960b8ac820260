"""`doctor` follows a letter's link as its recipient would: by https, to our page, under the same secrets (S25)."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import Route

from services.cli.doctor.candidates_page import candidates_page
from services.cli.doctor.findings import Installation, Trouble
from services.public.app import build_public
from shared.db.engine import Database
from shared.settings import Settings, load_settings
from tests.page_server import answering
from tests.services.test_public_page import everything
from tests.services.world import World

ONE = "A1,,Eins,a1@x.example,Neu,"
KEYS = "a-secret-of-links-for-tests-of-the-doctor"


def settings(port: int, keys: str = KEYS) -> Settings:
    return load_settings({"KP_LINK_KEYS": keys, "KP_PUBLIC_URL": f"https://localhost:{port}/pflege"})


async def asked(world: World, port: int, role: str = "all") -> Any:
    return await candidates_page(Installation(settings(port), world.database, role))


async def trouble(world: World, port: int) -> Trouble:
    (one,) = await asked(world, port)
    # Letters go out all the same.
    assert isinstance(one, Trouble) and not one.grave
    return one


def page(world: World, keys: str = KEYS) -> Any:
    """The page in a process of its own: connections belong to their loop."""
    url = world.database.url.render_as_string(hide_password=False)
    plain = url.replace("+psycopg", "").replace("+aiosqlite", "")
    return build_public(Database(plain), world.clock, settings(1, keys))


@pytest.mark.usefixtures("certificate")
async def test_s25_a_page_that_believes_our_links_is_there_and_looking_changes_nothing(
    world: World, tmp_path: Path
) -> None:
    await world.begin(ONE)
    with answering(page(world), tmp_path) as port:
        assert "no letter to try a link of yet" in await asked(world, port)
        await world.queued(ONE)
        before = await everything(world)
        assert (await asked(world, port)).endswith("answers by a letter's link")
        assert await everything(world) == before
        assert "writes no links" in await asked(world, port, "scheduler")


@pytest.mark.usefixtures("certificate")
async def test_s25_a_page_with_other_secrets_is_told(world: World, tmp_path: Path) -> None:
    await world.queued(ONE)
    with answering(page(world, KEYS[::-1]), tmp_path) as port:
        found = await trouble(world, port)
    assert found.place == "setting KP_LINK_KEYS" and "believes none of our links" in found.value


def elsewhere(_: Any) -> RedirectResponse:
    return RedirectResponse("https://www.firma.example/", 302)


def somebody(_: Any) -> PlainTextResponse:
    return PlainTextResponse("Welcome")


@pytest.mark.usefixtures("certificate")
@pytest.mark.parametrize(
    ("handler", "said"),
    [(elsewhere, "leads elsewhere (302 to https://www.firma.example/)"), (somebody, "somebody else (200)")],
)
async def test_s25_what_is_no_page_of_ours_is_told(
    world: World, tmp_path: Path, handler: Callable[..., Any], said: str
) -> None:
    await world.queued(ONE)
    with answering(Starlette(routes=[Route("/{rest:path}", handler)]), tmp_path) as port:
        found = await trouble(world, port)
    assert found.place == "setting KP_PUBLIC_URL" and said in found.value


async def test_s25_a_page_that_is_away_is_told(world: World, closed_port: int) -> None:
    await world.begin(ONE)
    found = await trouble(world, closed_port)
    assert "cannot be reached from here" in found.value and "refused" in found.value and "run public" in found.fix


async def test_s25_a_certificate_that_nobody_vouches_for_is_told(
    world: World, tmp_path: Path, certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert certificate
    monkeypatch.delenv("SSL_CERT_FILE")
    await world.begin(ONE)
    with answering(page(world), tmp_path) as port:
        assert "CERTIFICATE_VERIFY_FAILED" in (await trouble(world, port)).value
