"""A browser between console and provider, and what a refusal looks like in it."""

from collections.abc import Callable
from dataclasses import dataclass

import httpx
from sqlalchemy import func, select

from shared.db.engine import Database
from shared.db.service_tables import console_sessions

CONSOLE = "http://127.0.0.1:8080"
UNVERIFIED = "ließ sich nicht prüfen"
NOT_BEGUN_HERE = "nicht in diesem Browser begonnen"


@dataclass
class Browser:
    """One browser: the console in this process, the provider over the wire."""

    console: httpx.AsyncClient
    company: httpx.AsyncClient

    async def leave(self, to: str = "") -> httpx.Response:
        """The button: the answer that sends the browser to the provider."""
        return await self.console.get("/sign-in/company", params={"to": to} if to else {})

    async def visit_provider(self, address: str) -> str:
        """What the provider, asked at an address, sends the browser back to."""
        answer = await self.company.get(address)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def sign_in(self, to: str = "") -> httpx.Response:
        """The whole way; the console's answer to the provider's."""
        left = await self.leave(to)
        assert left.status_code == 303, left.text
        return await self.console.get(await self.visit_provider(left.headers["location"]))

    async def who(self) -> str:
        """Whose session the browser has; empty: nobody's."""
        page = await self.console.get("/profile")
        return page.text.split('href="/profile">')[1].split("<")[0] if page.status_code == 200 else ""


#: Makes a browser: `browser_of("en", KP_CONSOLE_URL=...)` is in front of a console with other settings.
Browsers = Callable[..., Browser]


async def sessions(database: Database) -> int:
    async with database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(console_sessions))).scalar_one())


async def refused(browser: Browser, answer: httpx.Response, status: int, text: str) -> None:
    """A page that says why, and nobody signed in."""
    assert answer.status_code == status, answer.text
    assert text in answer.text and 'role="alert"' in answer.text and 'name="password"' in answer.text, answer.text
    assert "kp_session" not in answer.headers.get("set-cookie", "")
    assert await browser.who() == ""
