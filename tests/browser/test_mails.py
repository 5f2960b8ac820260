"""The demo's caught mails: a list, one mail, and its formatted part shut in."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from services.cli.mail_catcher import CaughtMail
from services.console.app import build_console
from services.console.surroundings import Surroundings
from shared.clock import ShiftedClock
from shared.db.engine import Database
from shared.db.migrate import migrate
from shared.db.user_commands import create_user, set_password
from shared.settings import Settings
from tests.browser.site import PASSWORD

NOW = datetime(2026, 11, 23, 13, tzinfo=UTC)


def caught() -> CaughtMail:
    message = EmailMessage()
    message["Subject"], message["To"], message["From"] = "Alles Gute", "a@b.example", "hr@firma.example"
    message.set_content("Liebe Frau Müller")
    message.add_alternative("<p>Liebe Frau Müller<script>alert(1)</script></p>", subtype="html")
    return CaughtMail("hr@firma.example", "a@b.example", "Alles Gute", "<1@x>", "1", message.as_bytes())


def client(folder: Path, mails: list[CaughtMail] | None) -> Iterator[TestClient]:
    url = f"sqlite:///{folder / 'k.sqlite3'}"

    async def prepare() -> None:
        database = Database(url)
        await migrate(database)
        await create_user(database, "v", display_name="V", email=None, role="view", author="test", now=NOW)
        await set_password(database, "v", PASSWORD, author="test", now=NOW)
        await database.close()

    asyncio.run(prepare())
    settings = Settings(database_url=SecretStr(url))
    console = build_console(Surroundings(Database(url), settings, ShiftedClock(NOW), mails))
    with TestClient(console, base_url="http://localhost") as found:
        assert (
            found.post("/sign-in", data={"name": "v", "password": PASSWORD}, follow_redirects=False).status_code == 303
        )
        yield found


@pytest.fixture
def with_catcher(tmp_path: Path) -> Iterator[TestClient]:
    yield from client(tmp_path, [caught()])


@pytest.fixture
def without_catcher(tmp_path: Path) -> Iterator[TestClient]:
    yield from client(tmp_path, None)


def test_s4_a_mail_is_read_and_its_formatted_part_can_do_nothing(with_catcher: TestClient) -> None:
    assert "Alles Gute" in with_catcher.get("/mails").text
    page = with_catcher.get("/mails/0").text
    assert "Liebe Frau Müller" in page and "<iframe" in page and "sandbox" in page and "alert(1)" not in page
    part = with_catcher.get("/mails/0/html")
    policy = part.headers["content-security-policy"]
    assert "alert(1)" in part.text and "default-src 'none'" in policy and "sandbox;" in policy
    assert "script-src" not in policy and "allow-scripts" not in policy
    assert with_catcher.get("/mails/1").status_code == 404


def test_without_a_catcher_there_is_no_such_page(without_catcher: TestClient) -> None:
    assert without_catcher.get("/mails").status_code == 404
    assert 'href="/mails"' not in without_catcher.get("/").text
