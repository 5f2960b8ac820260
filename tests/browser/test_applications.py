"""Applications, their record, the import in two steps, the search."""

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from playwright.sync_api import Page, expect
from python_calamine import CalamineWorkbook

from tests.browser.site import Site, barriers

ID = "B-7-000002"


def open_record(page: Page, external_id: str = ID) -> None:
    """Finds an application by its number and opens its record."""
    page.goto("/")
    page.fill("[data-search]", external_id)
    page.press("[data-search]", "Enter")
    page.wait_for_url(re.compile(r"/applications/\d+$"))


def _sheet(page: Page, address: str) -> list[list[object]]:
    answer = page.request.get(address)
    assert answer.ok
    return CalamineWorkbook.from_filelike(BytesIO(answer.body())).get_sheet_by_index(0).to_python()


def _shown_count(page: Page) -> int:
    found = re.search(r"Bewerbungen: ([\d.]+)", page.locator("main").inner_text())
    assert found
    return int(found[1].replace(".", ""))


def _applications(site: Site) -> int:
    """How many there are."""
    file = site.stack.folder / "all.jsonl"
    site.stack.cli("export", "applications", "--out", str(file))
    return len(file.read_text(encoding="utf-8").splitlines())


def test_the_list_pages_finds_a_name_and_goes_to_excel_whole(visit: Callable[..., Page], site: Site) -> None:
    page = visit("view", "de")
    page.goto("/applications")
    expect(page.locator("h1")).to_have_text("Bewerbungen")
    first = page.locator("tbody tr").first.inner_text()
    page.get_by_role("link", name="Nächste Seite").click()
    expect(page.locator("tbody tr").first).not_to_have_text(first)
    assert barriers(page) == []
    page.fill("#a-q", "Lidwina Kruschwitz")
    page.get_by_role("button", name="Suchen").or_(page.get_by_role("button", name="Suche")).click()
    expect(page.locator("tbody tr").first).to_contain_text("Lidwina Kruschwitz")
    answer = page.request.get("/applications/excel")
    assert answer.status == 200 and len(answer.body()) > 10_000
    expect(page.get_by_role("link", name="Importieren")).to_have_count(0)
    assert page.request.get("/import").status == 403


def test_a_search_goes_to_excel_and_paper_whole_and_nothing_else_does(visit: Callable[..., Page], site: Site) -> None:
    page = visit("view", "de")
    page.goto("/applications")
    # More than a page of them.
    page.fill("#a-q", "ann example")
    page.press("#a-q", "Enter")
    expect(page.get_by_role("link", name="Alle anzeigen")).to_be_visible()
    found = _shown_count(page)
    assert 50 < found < _applications(site)
    expect(page.locator("tbody tr")).to_have_count(50)
    sheet = _sheet(page, page.get_by_role("link", name="Excel (Suchergebnis)").get_attribute("href") or "")
    assert len(sheet) == 1 + found
    email = sheet[0].index("E-Mail")
    assert all("ann" in " ".join(map(str, row)).lower() and "example" in str(row[email]) for row in sheet[1:])
    page.get_by_role("link", name="Drucken").click()
    expect(page.locator("tbody tr")).to_have_count(found)
    expect(page.locator("tbody tr").last).to_contain_text("example")
    assert barriers(page) == []
    page.get_by_role("link", name="Zurück").click()
    expect(page.locator("#a-q")).to_have_value("ann example")
    # Without a search all of them.
    page.goto("/applications?print=1")
    expect(page.locator("tbody tr")).to_have_count(_applications(site))
    page.goto("/applications?print=1&q=nobody-is-called-this")
    expect(page.locator("main")).to_contain_text("Hier ist keine Bewerbung")


def test_a_person_is_opted_out_blocked_and_let_in_again(visit: Callable[..., Page], site: Site) -> None:
    page = visit("operate", "de")
    open_record(page)
    assert barriers(page) == []
    page.get_by_role("button", name="Von der Kontaktpflege abmelden").click()
    expect(page.get_by_role("status")).to_contain_text("Von der Kontaktpflege abgemeldet")
    assert site.stack.answer("person", "show", ID)["opted_out_at"]
    page.get_by_role("button", name="Wieder teilnehmen lassen").click()
    assert site.stack.answer("person", "show", ID)["opted_out_at"] is None
    page.fill("#f-reason", "im Gespräch")
    page.get_by_role("button", name="Blockieren", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Die Person ist blockiert")
    assert [one["reason"] for one in site.stack.answer("person", "show", ID)["blocks"]] == ["im Gespräch"]
    page.get_by_role("button", name="Blockade aufheben").click()
    assert site.stack.answer("person", "show", ID)["blocks"] == []


def test_d23_d24_duplicates_say_why_they_are_one_person_and_which_is_written_to(
    visit: Callable[..., Page], site: Site
) -> None:
    page = visit("view", "de")
    open_record(page, "B-7-000055")
    part = page.locator("#duplicates")
    same = "Diese 2 Bewerbungen gelten als eine Person, weil all das übereinstimmt: Anrede, Vorname, Nachname, Geburtsd"
    expect(part).to_contain_text(same)
    expect(part).to_contain_text("wird nur eine angeschrieben: B-7-00005")
    expect(part.locator("tbody tr")).to_have_count(2)
    expect(part.get_by_text("wird angeschrieben", exact=True)).to_have_count(1)
    expect(part.locator("tr.table-active")).to_contain_text("B-7-000055")
    assert barriers(page) == []
    part.get_by_role("link", name="B-7-000056").click()
    expect(part.locator("tr.table-active")).to_contain_text("B-7-000056")
    expect(part.get_by_role("link", name="B-7-000055")).to_be_visible()
    open_record(page, "B-7-000013")
    expect(part).to_contain_text("weil der Import ihnen dasselbe Dubletten-Set gibt: D-7-11.")
    phone = visit("view", "en", 360)
    open_record(phone, "B-7-000013")
    expect(phone.locator("#duplicates")).to_contain_text("because the import gives them the same duplicate set: D-7-11")
    assert barriers(phone) == []


def test_the_timeline_tells_blocks_opt_outs_and_statuses_with_their_authors(
    visit: Callable[..., Page], site: Site, tmp_path: Path
) -> None:
    page = visit("edit", "de")
    open_record(page, "B-7-000004")
    page.fill("#f-reason", "im Gespräch")
    page.get_by_role("button", name="Blockieren", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Die Person ist blockiert")
    page.get_by_role("button", name="Blockade aufheben").click()
    expect(page.get_by_role("status")).to_have_text("Aufgehobene Blockaden: 1.")
    page.get_by_role("button", name="Von der Kontaktpflege abmelden").click()
    page.get_by_role("button", name="Wieder teilnehmen lassen").click()
    expect(page.get_by_role("status")).to_contain_text("nimmt wieder an der Kontaktpflege teil")
    file = tmp_path / "status.csv"
    file.write_text("external_id,status\nB-7-000004,Interview vereinbart\n", encoding="utf-8")
    site.stack.cli("--as", "u.edit", "import", "applications", str(file))
    page.reload()
    told = page.locator(".kp-timeline li")
    for said in (
        r"Status.*: .+ → Interview vereinbart\s+· u\.edit",
        r"Nimmt wieder an der Kontaktpflege teil\s+· u\.edit",
        r"Von der Kontaktpflege abgemeldet\s+· u\.edit",
        r"Blockade aufgehoben\s+alle Aufträge\s+· u\.edit",
        r"Blockade\s+alle Aufträge: im Gespräch\s+· u\.edit",
    ):
        expect(told.filter(has_text=re.compile(said))).to_have_count(1)
    # By local time: the sample's day is in November, an hour ahead of UTC.
    expect(told.filter(has_text="Blockade aufgehoben").locator("time")).to_have_text(
        re.compile(r"^\d\d\.11\.2026, \d\d:\d\d$")
    )
    assert barriers(page) == []


def test_d32_a_block_reaches_as_far_as_was_said_and_no_further(visit: Callable[..., Page], site: Site) -> None:
    page = visit("operate", "de")
    open_record(page, "B-7-000003")
    page.fill("#f-reason", "im Gespräch")
    page.select_option("#f-job", label="Prozesshänger")
    page.fill("#f-until", "2026-12-24")
    page.get_by_role("button", name="Blockieren", exact=True).click()
    expect(page.locator("#h-until")).to_have_text("Ein Tag kann nur bei allen Aufträgen angegeben werden.")
    expect(page.locator("#f-reason")).to_have_value("im Gespräch")
    page.fill("#f-until", "")
    page.get_by_role("button", name="Blockieren", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Die Person ist blockiert")
    (one,) = site.stack.answer("person", "show", "B-7-000003")["blocks"]
    assert (one["scope"], one["jobs"], one["until"]) == ("job", ["Prozesshänger"], None)
    # A job that somebody has deleted meanwhile never becomes all jobs.
    token = page.locator("input[name=csrf]").first.get_attribute("value") or ""
    for act in ("block", "unblock"):
        form = {"csrf": token, "job": "4711", "reason": "x"}
        answer = page.request.post(f"{page.url.removesuffix('/block')}/{act}", form=form)
        assert answer.status == 404
    assert len(site.stack.answer("person", "show", "B-7-000003")["blocks"]) == 1
    page.get_by_role("button", name="Blockade aufheben").click()
    assert site.stack.answer("person", "show", "B-7-000003")["blocks"] == []


def test_a_scheduled_rejection_needs_a_time_to_come(visit: Callable[..., Page], site: Site) -> None:
    page = visit("operate", "de")
    open_record(page)
    offered = page.locator("#f-letter option[value^='scheduled_rejection|']")
    assert offered.count() > 0
    page.select_option("#f-letter", offered.first.get_attribute("value"))
    page.get_by_role("button", name="Schreiben ansehen …").click()
    expect(page.locator("#h-at")).to_have_text("eine Absage Termin braucht einen künftigen Zeitpunkt")


def test_in_english(visit: Callable[..., Page]) -> None:
    page = visit("operate", "en", 360)
    open_record(page)
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    assert barriers(page) == []
