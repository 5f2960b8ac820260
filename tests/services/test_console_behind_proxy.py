"""The console behind a proxy: its path before every page, https, and whom it believes about the browser (S19, S20)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from services.console.app import build_console
from services.console.surroundings import Surroundings
from shared.clock import SystemClock
from shared.db.engine import Database
from shared.db.migrate import migrate
from shared.db.user_commands import create_user, set_password
from shared.errors import InvalidSettings
from shared.settings import Settings, load_settings

PASSWORD = "ein langes Passwort"


@asynccontextmanager
async def browser(
    tmp_path: Any, console_url: str | None, base: str, client: str = "127.0.0.1"
) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody with a password before a console that is reached at `console_url`; `base`: as the request comes in."""
    url = f"sqlite:///{tmp_path / 'k.sqlite3'}"
    database, clock = Database(url), SystemClock()
    await migrate(database)
    await create_user(database, "anna", display_name="Anna", email=None, role="admin", author="t", now=clock.now())
    await set_password(database, "anna", PASSWORD, author="t", now=clock.now())
    settings = Settings(kp_console_url=console_url)
    console: Any = ProxyHeadersMiddleware(
        build_console(Surroundings(database, settings, clock)),  # type: ignore[arg-type]
        trusted_hosts=settings.console_proxies(),
    )
    transport = httpx.ASGITransport(console, client=(client, 4711))
    async with httpx.AsyncClient(transport=transport, base_url=base) as one:
        yield one
    await database.close()


@pytest.mark.parametrize("base", ["https://firma.example/pflege", "https://firma.example"])
async def test_a_path_comes_before_every_page_whether_the_proxy_takes_it_off_or_not(tmp_path: Any, base: str) -> None:
    async with browser(tmp_path, "https://firma.example/pflege/", base) as one:
        answer = await one.get("/jobs")
        assert answer.headers["location"] == "/pflege/sign-in?to=/pflege/jobs"
        form = {"name": "anna", "password": PASSWORD, "to": "/pflege/jobs"}
        answer = await one.post("/sign-in", data=form)
        assert answer.headers["location"] == "/pflege/jobs"
        page = await one.get("/jobs")
        assert page.status_code == 200 and 'href="/pflege/workcenter"' in page.text
        assert 'href="/jobs' not in page.text and 'action="/' not in page.text.replace('action="/pflege/', "")
        style = await one.get("/static/app.css")
        assert style.status_code == 200 and style.headers["cache-control"] == "public, max-age=3600"


async def test_s19_by_https_the_session_is_for_this_host_alone(tmp_path: Any) -> None:
    # The proxy says nothing of https; the address that the browser has open does.
    async with browser(tmp_path, "https://firma.example", "http://firma.example") as one:
        answer = await one.post("/sign-in", data={"name": "anna", "password": PASSWORD})
        (session,) = (c for c in answer.headers.get_list("set-cookie") if "kp_session" in c)
        assert session.startswith("__Host-kp_session=")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= {part.strip() for part in session.split(";")}
        assert "Domain" not in session
        cookie = session.partition(";")[0]
        assert (await one.get("/profile", headers={"Cookie": cookie})).status_code == 200
        # The same token under the name that anybody in the network could plant is none.
        planted = cookie.removeprefix("__Host-")
        assert (await one.get("/profile", headers={"Cookie": planted})).status_code == 303


@pytest.mark.parametrize(("client", "is_believed"), [("127.0.0.1", True), ("10.1.2.3", False)])
async def test_s19_only_a_known_proxy_is_believed(tmp_path: Any, client: str, is_believed: bool) -> None:
    async with browser(tmp_path, None, "http://firma.example", client) as one:
        told = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
        answer = await one.post("/sign-in", data={"name": "anna", "password": PASSWORD}, headers=told)
        assert answer.headers["set-cookie"].startswith("__Host-kp_session=") == is_believed


def test_proxies_are_addresses_and_networks() -> None:
    given = load_settings({"KP_CONSOLE_PROXIES": "10.0.0.0/8, 192.0.2.7 ,fd00::/8"})
    assert given.console_proxies() == ["10.0.0.0/8", "192.0.2.7", "fd00::/8"]
    assert load_settings({"KP_CONSOLE_PROXIES": ""}).console_proxies() == []
    for wrong in ("proxy", "10.0.0.1/8", "*"):
        with pytest.raises(InvalidSettings, match=r"KP_CONSOLE_PROXIES: '.*' is no address or network"):
            load_settings({"KP_CONSOLE_PROXIES": wrong})
