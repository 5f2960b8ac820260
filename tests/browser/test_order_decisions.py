"""What only a person decides, by clicking: a letter by hand, another try, an unclear letter, a dispatch that waits."""

import re
import sqlite3
from collections.abc import Callable
from email import message_from_bytes, policy
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.site import Site, barriers
from tests.browser.unclear import leave_unclear

STUCK = "Prozesshänger"


def _order(site: Site, order_id: str) -> dict[str, Any]:
    found: dict[str, Any] = site.stack.answer("order", "show", order_id)
    return found


def _number(page: Page) -> str:
    """The order whose page is open."""
    expect(page).to_have_url(re.compile(r"/orders/\d+$"))
    return page.url.rpartition("/")[2]


def _wait_for_state(site: Site, order_id: str, state: str) -> None:
    site.stack.wait_for(lambda: _order(site, order_id)["state"] == state, 60, f"order {order_id} being {state}")


def _arrived(site: Site, order_id: str) -> list[bytes]:
    mark = f"X-Kontaktpflege-Order: {order_id}\r\n".encode()
    return [mail.content for mail in site.mail.accepted if mark in mail.content]


def _planned(site: Site) -> int | None:
    """An application for which a letter of the job for pending cases is planned."""
    with _database(site) as database:
        sql = "SELECT application_id FROM write_orders WHERE state = 'planned' AND job_name = ? ORDER BY id LIMIT 1"
        found = database.execute(sql, (STUCK,)).fetchone()
    return None if found is None else int(found[0])


def _database(site: Site) -> sqlite3.Connection:
    return sqlite3.connect(site.stack.folder / "k.sqlite3", timeout=30)


def test_d30_a_letter_by_hand_goes_out_and_is_found_by_its_kind(visit: Callable[..., Page], site: Site) -> None:
    page = visit("operate")
    site.stack.wait_for(lambda: _planned(site) is not None, 60, "a plan")
    # Somebody who can be written to, and still waits for an answer.
    application = _planned(site)
    page.goto(f"/applications/{application}")
    choice = page.locator("#f-letter")
    kinds = choice.locator("optgroup").evaluate_all("all => all.map(one => one.label)")
    assert "Absage" in kinds
    choice.select_option(choice.locator("optgroup[label='Absage'] option").first.get_attribute("value"))
    page.get_by_role("button", name="Schreiben ansehen …").click()
    # Nothing is sent unseen.
    expect(page.get_by_role("button", name="Ja, jetzt senden")).to_be_visible()
    subject = page.locator("main dd").nth(2).inner_text()
    assert subject and barriers(page) == []
    page.get_by_role("button", name="Anderes wählen").click()
    page.get_by_role("button", name="Schreiben ansehen …").click()
    page.get_by_role("button", name="Ja, jetzt senden").click()
    expect(page.get_by_role("status")).to_have_text("Das Schreiben ist geplant.")
    number = _number(page)
    _wait_for_state(site, number, "sent")
    (mail,) = _arrived(site, number)
    assert str(message_from_bytes(mail, policy=policy.default)["Subject"]) == subject
    page.goto("/workcenter")
    page.select_option("#f-type", label="Absage")
    page.get_by_role("button", name="Filtern").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody")).to_contain_text(number)
    page.select_option("#f-type", label="Einladung")
    page.get_by_role("button", name="Filtern").click()
    expect(page.get_by_role("heading", name="Nichts gefunden")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(0)
    assert barriers(page) == []


def test_d37_an_unclear_letter_is_sent_again_or_given_up(visit: Callable[..., Page], site: Site) -> None:
    again, never = map(str, leave_unclear(site, 2))
    page = visit("operate")
    page.goto(f"/orders/{again}")
    # All that the mail server's operators need to find it.
    for evidence in ("<order-test@firma.example>", "mx.firma.example:25", "1.000"):
        expect(page.locator("main")).to_contain_text(evidence)
    page.get_by_role("button", name="Noch einmal senden").click()
    expect(page.get_by_role("status")).to_have_text("Das Schreiben ist entschieden.")
    _wait_for_state(site, again, "sent")
    page.goto(f"/orders/{never}")
    page.get_by_role("button", name="Es wurde nicht gesendet").click()
    expect(page.get_by_role("status")).to_have_text("Das Schreiben ist entschieden.")
    assert _order(site, never)["state"] == "failed"
    (mail,) = _arrived(site, again) + _arrived(site, never)
    assert b"Message-ID: <order-test@firma.example>" in mail
    # What was given up can be tried after all.
    page.get_by_role("button", name="Erneut versuchen").click()
    expect(page.get_by_role("status")).to_have_text("Das Schreiben wartet wieder auf den Versand.")
    _wait_for_state(site, never, "sent")
    assert barriers(page) == []


def test_d36_a_dispatch_that_waits_goes_when_somebody_says_so(visit: Callable[..., Page], site: Site) -> None:
    page = visit("operate")
    with _database(site) as database:
        # As the scheduler leaves a dispatch at its moment that is far larger than the ones before.
        (job,) = database.execute("SELECT id FROM contact_jobs WHERE name = ?", (STUCK,)).fetchone()
        sql = "SELECT id, synced_at FROM dispatch_runs WHERE job_id = ? AND state = 'open' ORDER BY send_at LIMIT 1"
        run, now = database.execute(sql, (job,)).fetchone()
        planned = "FROM write_orders WHERE run_id = ? AND state = 'planned'"
        (count,) = database.execute(f"SELECT count(*) {planned}", (run,)).fetchone()
        sql = "UPDATE dispatch_runs SET send_at = ?, due_at = NULL, reason = ? WHERE id = ?"
        database.execute(sql, (now, f"held: {count} > 1", run))
        database.execute("UPDATE write_orders SET planned_for = ? WHERE run_id = ?", (now, run))
    assert count > 0
    page.goto("/")
    page.locator("main").get_by_role("link", name=re.compile(rf"{count} angehalten")).click()
    page.get_by_role("link", name=STUCK, exact=True).click()
    notice = page.get_by_role("alert").filter(has_text="wartet auf Sie")
    expect(notice).to_be_visible()
    assert barriers(page) == []
    notice.get_by_role("button").click()
    expect(page.get_by_role("status")).to_be_visible()
    released = f"SELECT count(*) FROM write_orders WHERE run_id = {run} AND state = 'sent'"

    def sent() -> int:
        with _database(site) as database:
            return int(database.execute(released).fetchone()[0])

    site.stack.wait_for(lambda: sent() > 0, 60, "the letters that waited")
    page.reload()
    expect(notice).to_have_count(0)
