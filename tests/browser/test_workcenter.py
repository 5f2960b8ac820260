"""The workcenter: every letter of every type, blocked there, settled there."""

import re
from collections.abc import Callable
from io import BytesIO

import pytest
from playwright.sync_api import Page, expect
from python_calamine import CalamineWorkbook

from tests.browser.site import Site, barriers
from tests.browser.unclear import leave_unclear


def _state(site: Site, order_id: str) -> str:
    found = [one for one in site.stack.answer("order", "list") if str(one["id"]) == order_id]
    return str(found[0]["state"])


def test_d32_a_letter_blocked_in_the_workcenter_is_blocked_in_the_job_file_and_back(
    visit: Callable[..., Page], site: Site
) -> None:
    page = visit("operate")
    page.goto("/workcenter?state=planned")
    assert barriers(page) == []
    page.get_by_role("button", name="Angekreuzte blockieren").click()
    expect(page.locator("#h-reason")).to_be_visible()
    # Plans may have grown since the page before.
    row = page.locator("tbody tr").first
    number, person = row.locator("a").nth(0).inner_text(), row.locator("a").nth(1).inner_text()
    row.get_by_role("checkbox").check()
    page.fill("#f-reason", "ruft an")
    page.get_by_role("button", name="Angekreuzte blockieren").click()
    expect(page.get_by_role("status")).to_contain_text("blockiert: 1")
    assert _state(site, number) == "blocked"
    expect(page.locator("tbody").get_by_role("link", name=number, exact=True)).to_have_count(0)
    page.goto(f"/orders/{number}")
    expect(page.locator("main")).to_contain_text("ruft an")
    page.locator("main").get_by_role("link", name="Prozesshänger").or_(
        page.locator("main").get_by_role("link", name="Geburtstagsgrüße")
    ).or_(page.locator("main").get_by_role("link", name="Endgültige Absage Pool")).click()
    page.locator(".nav-tabs").get_by_role("link", name="Versand").click()
    page.fill("#f-q", person.split()[-1])
    page.get_by_role("button", name="Filtern").click()
    expect(page.locator("tr.is-blocked")).to_contain_text(person)
    page.goto(f"/orders/{number}")
    page.get_by_role("button", name="Blockade aufheben").click()
    expect(page.get_by_role("status")).to_contain_text("wieder geplant")
    assert _state(site, number) == "planned"
    assert barriers(page) == []


@pytest.mark.parametrize("address", ["/workcenter?state=planned", "/jobs/2/dispatch"])
def test_d32_a_block_with_a_day_for_one_job_is_refused_beside_the_field(
    visit: Callable[..., Page], site: Site, address: str
) -> None:
    page = visit("operate")
    page.goto(address)
    page.locator("tbody tr").first.get_by_role("checkbox").check()
    page.fill("[name=reason]", "ruft an")
    page.fill("[name=until]", "2026-12-24")
    page.get_by_role("button", name="Angekreuzte blockieren").click()
    # Without a word the block would have lasted for ever.
    expect(page.locator("#h-until")).to_have_text("Ein Tag kann nur bei allen Aufträgen angegeben werden.")
    expect(page.locator("[name=reason]")).to_have_value("ruft an")
    expect(page.locator("tbody tr").first.get_by_role("checkbox")).to_be_checked()
    page.select_option("[name=scope]", "all")
    page.fill("[name=until]", "2026-11-01")
    page.get_by_role("button", name="Angekreuzte blockieren").click()
    expect(page.locator("#h-until")).to_have_text("Dieser Tag ist vorbei.")
    assert site.stack.answer("order", "list", "--state", "blocked") == []


def test_d37_an_unclear_letter_is_settled_with_its_evidence(visit: Callable[..., Page], site: Site) -> None:
    (order,) = leave_unclear(site, 1)
    page = visit("operate")
    page.goto("/workcenter?state=open")
    expect(page.locator(".kp-side .kp-count")).to_have_text("1")
    page.get_by_role("link", name=str(order), exact=True).click()
    drawer = page.locator("#drawer")
    expect(drawer).to_contain_text("<order-test@firma.example>")
    expect(drawer).to_contain_text("wer es schon hat, bekommt es zweimal")
    assert barriers(page) == []
    drawer.get_by_role("button", name="Es wurde gesendet").click()
    expect(page.get_by_role("status")).to_have_text("Das Schreiben ist entschieden.")
    assert _state(site, str(order)) == "sent"


def test_filters_paper_and_workbook_have_the_whole_result(visit: Callable[..., Page], site: Site) -> None:
    page = visit("view", "en")
    page.goto("/workcenter")
    assert page.locator("input[type=checkbox]").count() == 0
    page.select_option("#f-type", label="Prozesshänger")
    page.get_by_role("button", name="Filter").click()
    orders = site.stack.answer("order", "list", "--job", "Prozesshänger")
    expect(page.locator("h2")).to_have_text(re.compile(rf"Letters \({len(orders):,}\)"))
    first = page.locator("tbody tr a").first.inner_text()
    page.get_by_role("link", name="Next page").click()
    expect(page.locator("tbody tr a").first).not_to_have_text(first)
    assert int(page.locator("tbody tr a").first.inner_text()) < int(first)
    page.get_by_role("link", name="First page").click()
    address = page.get_by_role("link", name="Excel").get_attribute("href") or ""
    sheet = CalamineWorkbook.from_filelike(BytesIO(page.request.get(address).body())).get_sheet_by_index(0)
    assert len(sheet.to_python()) == 1 + len(orders) > 500
    page.get_by_role("link", name="Print").click()
    expect(page.locator("tbody tr")).to_have_count(len(orders))
    page.goto("/workcenter?day=gestern")
    expect(page.locator("#h-day")).to_have_text("is no day")
    assert barriers(page) == []
