"""Four eyes, by two people: one changes and asks, another one looks and approves (S23)."""

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.site import Site, barriers
from tests.browser.unclear import leave_unclear

JOB = "Prozesshänger"


def job(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = site.stack.answer("job", "show", JOB)
    return found


def open_job(page: Page) -> None:
    page.goto("/jobs")
    page.get_by_role("link", name=JOB, exact=True).click()
    expect(page).to_have_url(re.compile(r"/jobs/\d+$"))


def test_s23_two_people_switch_a_job_on(visit: Callable[..., Page], site: Site) -> None:
    admin = visit("admin")
    admin.goto("/settings")
    admin.select_option("#f-four_eyes", "yes")
    admin.click("text=Prüfen und speichern")
    expect(admin.get_by_role("row", name=re.compile("Freigabe durch eine zweite Person"))).to_contain_text("nein")
    admin.click("text=Ja, speichern")
    expect(admin.locator("#f-four_eyes")).to_have_value("yes")
    # Of what is An nothing changes, until somebody changes it.
    assert job(site)["status"] == "An"
    first = visit("edit")
    open_job(first)
    first.fill("#f-time", "10:15")
    first.click("text=Prüfen und speichern")
    expect(first.locator("main")).to_contain_text("bis eine zweite Person ihn freigibt")
    first.get_by_role("button", name="Speichern").or_(first.locator("button[value=save]")).first.click()
    asked = first.get_by_role("alert").filter(has_text="u.edit bittet darum")
    expect(asked).to_be_visible()
    expect(asked.get_by_role("button", name="Freigeben")).to_have_count(0)
    expect(first.locator("main [role=switch]").first).to_have_attribute("aria-checked", "false")
    assert (job(site)["status"], job(site)["approval"]) == ("Aus", "asked for by u.edit")
    assert barriers(first) == []
    # It is among what needs a person, wherever they begin.
    first.goto("/")
    expect(first.locator(".kp-head")).to_contain_text(re.compile(r"\b[1-9]\d* offen"))
    waiting = first.locator("section", has=first.get_by_role("heading", name="Braucht einen Menschen"))
    expect(waiting).to_contain_text("u.edit bittet seit")
    assert barriers(first) == []
    waiting.get_by_role("link", name=f"Freigabe: {JOB} soll eingeschaltet werden").click()
    expect(first).to_have_url(re.compile(r"/jobs/\d+$"))
    # Who may only look sees it, and can do nothing about it.
    guest = visit("view")
    open_job(guest)
    expect(guest.get_by_role("alert").filter(has_text="u.edit bittet darum").get_by_role("button")).to_have_count(0)
    second = visit("operate")
    second.goto("/jobs")
    second.get_by_role("alert").filter(has_text="u.edit bittet darum").get_by_role("link").click()
    # Meanwhile the job changes: what was looked at is not what would go out.
    first.fill("#f-time", "10:20")
    first.click("text=Prüfen und speichern")
    first.locator("button[value=save]").click()
    expect(first.locator("#f-time")).to_have_value("10:20")
    second.get_by_role("button", name="Freigeben").click()
    expect(second.locator("main, header, body").first).to_contain_text("geändert")
    assert job(site)["status"] == "Aus"
    second.get_by_role("button", name="Freigeben").click()
    expect(second.locator("main [role=switch]").first).to_have_attribute("aria-checked", "true")
    assert (job(site)["status"], job(site)["approval"]) == ("An", None)
    second.get_by_role("link", name="Verlauf").click()
    rows = second.locator("main tbody").last
    for said in ("Freigabe angefordert", "freigegeben"):
        expect(rows).to_contain_text(said)


def test_s23_a_refused_job_stays_off_and_asks_again(visit: Callable[..., Page], site: Site) -> None:
    first, second = visit("edit"), visit("operate")
    open_job(first)
    first.fill("#f-time", "10:30")
    first.click("text=Prüfen und speichern")
    first.locator("button[value=save]").click()
    open_job(second)
    second.get_by_role("button", name="Ablehnen").click()
    expect(second.get_by_role("alert").filter(has_text="bittet darum")).to_have_count(0)
    assert (job(site)["status"], job(site)["approval"]) == ("Aus", None)
    open_job(first)
    first.locator("main [role=switch]").first.click()
    first.get_by_role("button", name="Freigabe anfordern").click()
    expect(first.get_by_role("alert").filter(has_text="u.edit bittet darum")).to_be_visible()
    open_job(second)
    second.get_by_role("button", name="Freigeben").click()
    expect(second.locator("main [role=switch]").first).to_have_attribute("aria-checked", "true")


def test_s23_two_people_send_an_unclear_letter_again(visit: Callable[..., Page], site: Site) -> None:
    # As of a job that is planned with lead days in the sample.
    site.stack.wait_for(lambda: bool(site.stack.answer("order", "list", "--state", "planned")), 60, "planned letters")
    (order,) = leave_unclear(site, 1)
    first, second = visit("operate"), visit("edit")
    first.goto(f"/orders/{order}")
    first.click("button[value=resend]")
    asked = first.get_by_role("alert").filter(has_text="u.operate bittet darum")
    expect(asked.get_by_role("button")).to_have_text(["Ablehnen"])
    assert site.stack.answer("order", "show", str(order))["state"] == "unclear"
    assert [one["order_id"] for one in site.stack.answer("queues")["approvals"]] == [order]
    first.goto("/")
    first.get_by_role("link", name=f"Freigabe: Schreiben {order} soll erneut gesendet werden").click()
    expect(first).to_have_url(re.compile(f"/orders/{order}$"))
    second.goto(f"/orders/{order}")
    assert barriers(second) == []
    second.get_by_role("button", name="Freigeben: erneut senden").click()
    expect(second.get_by_role("alert").filter(has_text="bittet darum")).to_have_count(0)
    found = site.stack.answer("order", "show", str(order))
    assert found["state"] in ("queued", "sending", "sent")
    acts = {one["action"]: one["author"] for one in found["events"]}
    assert (acts["ask_approval"], acts["approve"]) == ("u.operate", "u.edit")
