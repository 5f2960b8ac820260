"""A restored database sends nothing until an administrator has looked and says so by clicking (decision 22)."""

import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect

from tests.browser.site import Site, barriers

BIRTHDAY = "Geburtstagsgrüße"


def restore_backup(site: Site, backup: Path) -> None:
    """Stops all services, puts an older database in the place of theirs, and starts them again."""
    stack = site.stack
    assert set(stack.stop().values()) == {0}, stack.logs()
    for name in ("k.sqlite3-wal", "k.sqlite3-shm"):
        (stack.folder / name).unlink(missing_ok=True)
    shutil.copy(backup, stack.folder / "k.sqlite3")
    stack.start("all", KP_CONSOLE_PORT=str(urlsplit(site.url).port))
    log = stack.folder / f"all-{len(stack.processes) - 1}.log"
    stack.wait_for(lambda: "console_listens" in log.read_text(), 60, "the console's second start")


def test_c56_after_a_restore_an_administrator_releases_what_waits(
    visit: Callable[..., Page], site: Site, sample_folder: Path
) -> None:
    stack = site.stack
    stack.cli("job", "run", BIRTHDAY, "--yes", "--wait", "120")
    sent = len(site.mail.accepted)
    assert sent > 1
    restore_backup(site, sample_folder / "k.sqlite3")
    # The backup knows of none of them, so the same letters are to go out again.
    stack.cli("job", "run", BIRTHDAY, "--yes")
    stack.wait_for(lambda: stack.answer("hold", "show") is not None, 60, "the hold")

    operator = visit("operate")
    notice = operator.get_by_role("alert").filter(has_text="Es wird nichts versandt.")
    for path in ("/", "/monitor", "/settings"):
        operator.goto(path)
        expect(notice).to_contain_text("ist die Datenbank älter als das, was aus ihr versandt wurde")
        assert barriers(operator) == [], path
    # Who may not release it is told, and offered nothing.
    expect(operator.get_by_role("button", name="Freigeben")).to_have_count(0)

    page = visit("admin")
    page.get_by_role("link", name="Zur Freigabe").click()
    expect(page.get_by_role("heading", name="Schreiben wieder freigeben")).to_be_visible()
    page.get_by_role("button", name="Freigeben").click()
    # The tick is asked for before anything is sent.
    expect(page.locator("input[name=understood]:invalid")).to_have_count(1)
    expect(page.get_by_role("heading", name="Schreiben wieder freigeben")).to_be_visible()
    assert stack.answer("hold", "show") is not None and len(site.mail.accepted) == sent
    page.get_by_label("Ich habe das Protokoll des Mailservers").check()
    page.get_by_role("button", name="Freigeben").click()
    expect(page.get_by_role("status")).to_contain_text("Schreiben warten und gehen jetzt hinaus.")
    expect(page.get_by_role("heading", name="Schreiben wieder freigeben")).to_have_count(0)
    stack.wait_for(lambda: len(site.mail.accepted) == 2 * sent, 60, "the letters that waited")
    page.goto("/")
    expect(page.locator("h1")).to_have_text("Übersicht")
    expect(page.get_by_text("Es wird nichts versandt.")).to_have_count(0)
    page.goto("/settings/history?noun=settings")
    expect(page.locator("tbody tr").first).to_contain_text("freigegeben")
    expect(page.locator("tbody tr").first).to_contain_text("u.admin")
