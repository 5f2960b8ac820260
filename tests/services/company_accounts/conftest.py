"""A console in this process, a provider on a port, browsers between them."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from services.console.admission import THROTTLE
from services.console.app import build_console
from services.console.openid import open_provider
from services.console.surroundings import Surroundings
from shared.clock import SystemClock
from shared.db.engine import Database
from shared.db.user_commands import create_user, set_password
from shared.settings import load_settings
from tests.openid_provider import OpenIdProvider
from tests.services.company_accounts.browsers import CONSOLE, Browser, Browsers


@pytest.fixture
def provider() -> Iterator[OpenIdProvider]:
    with OpenIdProvider() as found:
        yield found


@pytest.fixture
async def browser_of(database: Database, provider: OpenIdProvider) -> AsyncIterator[Browsers]:
    """Makes browsers, all in front of one console but those for which other settings are given."""
    now = SystemClock().now()
    for name, role in (("u.edit", "edit"), ("u.admin", "admin"), ("Müller", "view")):
        await create_user(database, name, display_name=f"Person {name}", email=None, role=role, author="test", now=now)
    THROTTLE.succeeded(None, "127.0.0.1")
    clients: list[httpx.AsyncClient] = []
    consoles: dict[str, Any] = {}

    def console_of(changed: dict[str, str]) -> Any:
        settings = load_settings({**provider.settings(CONSOLE), **changed})
        return build_console(Surroundings(database, settings, SystemClock(), provider=open_provider(settings)))

    def make(language: str = "de", **changed: str) -> Browser:
        kind = repr(sorted(changed.items()))
        app = consoles[kind] = consoles.get(kind) or console_of(changed)
        headers = {"Accept-Language": language}
        base = changed.get("KP_CONSOLE_URL", CONSOLE)
        clients.append(httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base, headers=headers))
        clients.append(httpx.AsyncClient(timeout=20))
        return Browser(clients[-2], clients[-1])

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
async def password(database: Database, browser_of: Browsers) -> str:
    """That of u.admin; the others have none."""
    await set_password(database, "u.admin", "ein langes Passwort", author="test", now=SystemClock().now())
    return "ein langes Passwort"
