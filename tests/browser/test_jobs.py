"""Jobs: the list, the job file with its tabs, and what one does to a job."""

import json
import re
import time
from collections.abc import Callable
from io import BytesIO

from playwright.sync_api import Browser, Page, expect
from python_calamine import CalamineWorkbook

from tests.browser.site import Site, Visitor, barriers

BIRTHDAY, STUCK = "Geburtstagsgrüße", "Prozesshänger"


def _open(page: Page, job: str, tab: str = "") -> None:
    page.goto("/jobs")
    page.get_by_role("link", name=job, exact=True).click()
    if tab:
        page.locator(".nav-tabs").get_by_role("link", name=tab).click()
    # What a test reads at once is read of the page that comes, not of the one that goes.
    expect(page.locator(".nav-tabs .active")).to_contain_text(tab)


def _choose(page: Page, job: str, action: str) -> None:
    page.goto("/jobs")
    row = page.locator("tbody tr", has_text=job)
    row.get_by_text("Mehr", exact=True).click()
    row.get_by_role("link", name=action, exact=True).click()


def _sheet(page: Page, address: str) -> list[list[object]]:
    answer = page.request.get(address)
    assert answer.ok
    return CalamineWorkbook.from_filelike(BytesIO(answer.body())).get_sheet_by_index(0).to_python()


def test_a_job_is_made_changed_and_switched_on_by_clicking(visit: Callable[..., Page], site: Site) -> None:
    page = visit("edit")
    page.goto("/jobs")
    page.get_by_role("link", name="Neuer Auftrag").click()
    page.fill("input[name=name]", "Herbstgruß")
    page.fill("input[name=lead_days]", "99")
    page.get_by_role("button", name="Auftrag anlegen").click()
    expect(page.locator("#h-query")).to_have_text("fehlt")
    expect(page.locator("#h-lead_days")).to_have_text("muss eine Zahl von 0 bis 60 sein")
    expect(page.locator("input[name=name]")).to_have_value("Herbstgruß")
    assert barriers(page) == []
    page.fill("input[name=lead_days]", "2")
    page.select_option("select[name=query]", "Geburtstag heute")
    page.select_option("select[name=letter]", "Kontaktpflege")
    page.get_by_role("button", name="Auftrag anlegen").click()
    expect(page.get_by_role("status")).to_contain_text("Herbstgruß ist angelegt. Der Auftrag ist Aus")
    page.fill("input[name=time]", "09:45")
    page.select_option("select[name=sender]", "address")
    page.fill("input[name=sender_address]", "Personal <personal@firma.example>")
    page.get_by_role("button", name="Prüfen und speichern").click()
    expect(page.locator("tbody")).to_contain_text("Personal <personal@firma.example>")
    expect(page.locator("tbody tr")).to_contain_text(["Versandzeit08:0009:45"])
    page.get_by_role("button", name="Ja, speichern").click()
    expect(page.get_by_role("status")).to_contain_text("Gespeichert")
    page.get_by_role("switch").click()
    expect(page.locator(".kp-figure")).to_have_text(re.compile(r"^\+[1-9]\d* / −0$"))
    assert site.stack.answer("job", "show", "Herbstgruß")["status"] == "Aus"
    assert barriers(page) == []
    page.get_by_role("button", name="Ja, auf An schalten").click()
    expect(page.get_by_role("status")).to_contain_text("Herbstgruß ist An")
    page.locator(".nav-tabs").get_by_role("link", name="Verlauf").click()
    expect(page.locator("table").last).to_contain_text("u.edit")
    expect(page.locator("table").last).to_contain_text("09:45")
    assert barriers(page) == []
    _open(page, "Herbstgruß")
    page.select_option("select[name=mode]", "cyclic")
    page.fill("input[name=every_months]", "12")
    page.fill("input[name=anchor]", "2027-12-25")
    page.select_option("select[name=working_days]", "next")
    page.select_option("select[name=holidays]", "DE")
    page.get_by_role("button", name="Prüfen und speichern").click()
    page.get_by_role("button", name="Ja, speichern").click()
    christmas = page.locator("tbody tr", has_text="25.12.2027")
    expect(christmas).to_contain_text("Feiertag: Erster Weihnachtstag")
    expect(christmas).to_contain_text("wegen des Feiertags auf einen Arbeitstag verschoben")


def test_saving_a_job_that_is_on_first_shows_who_joins_and_who_falls_out(visit: Callable[..., Page]) -> None:
    page = visit("edit")
    _open(page, BIRTHDAY)
    page.select_option("select[name=query]", "Kontakt fehlend")
    page.get_by_role("button", name="Prüfen und speichern").click()
    expect(page.locator(".kp-figure")).to_have_text(re.compile(r"^\+\d{3} / −\d+$"))
    expect(page.get_by_text("neu dabei:")).to_be_visible()
    assert barriers(page) == []
    page.get_by_role("button", name="Zurück zum Formular").click()
    expect(page.locator("select[name=query]")).to_have_value("Kontakt fehlend")
    _open(page, BIRTHDAY)
    expect(page.locator("select[name=query]")).to_have_value("Geburtstag heute")
    page.get_by_role("button", name="Wer bekäme es?").click()
    expect(page.locator("#drawer")).to_contain_text("Die Abfrage Geburtstag heute wählt")
    page.get_by_role("button", name="Was käme an?").click()
    expect(page.locator("#drawer")).to_contain_text("Alles Gute zum Geburtstag")
    letter = page.locator("#drawer").frame_locator("iframe")
    expect(letter.locator("body")).to_contain_text("Mit freundlichen Grüßen")
    assert barriers(page) == []
    # The drawer has the focus, and gives it back.
    expect(page.locator("#drawer")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_empty()
    expect(page.get_by_role("button", name="Was käme an?")).to_be_focused()


def test_the_dispatch_tab_says_why_this_person_and_works_by_keyboard(visit: Callable[..., Page]) -> None:
    page = visit("operate")
    _open(page, STUCK, "Versand")
    first = page.locator("tbody tr").first
    name = first.locator("a").first.inner_text()
    first.get_by_role("button", name="Warum?").click()
    drawer = page.locator("#drawer")
    expect(drawer).to_contain_text("Warum diese Person")
    expect(drawer).to_contain_text(name)
    expect(drawer).to_contain_text("letzter Kontakt vor mehr als 60 Tagen")
    expect(drawer.locator(".kp-yes").first).to_be_visible()
    assert drawer.locator(".kp-no").count() == 0
    assert barriers(page) == []
    page.keyboard.press("Escape")
    expect(drawer).to_be_empty()
    page.keyboard.press("j")
    expect(first).to_be_focused()
    page.keyboard.press("x")
    expect(first.get_by_role("checkbox")).to_be_checked()
    # Enter on a button is the button's, not the row's.
    page.keyboard.press("b")
    expect(page.locator("[data-block]")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#h-reason")).to_be_visible()
    page.locator("tbody tr").first.get_by_role("checkbox").click()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/applications/\d+$"))


def test_saving_a_job_first_shows_what_becomes_of_its_planned_letters(visit: Callable[..., Page], site: Site) -> None:
    page = visit("edit")
    planned = len(site.stack.answer("order", "list", "--job", STUCK, "--state", "planned"))
    assert planned > 100
    count = f"{planned:,}".replace(",", ".")
    _open(page, STUCK)
    told = page.locator("main")
    for field, value, said in (
        (
            "time",
            "17:45",
            re.compile(r"\d+ geplante Schreiben vom .* gehen am .*, 17:45 hinaus, nicht am .*, \d\d:\d\d\."),
        ),
        ("repeat_guard_days", "61", f"Die Pläne mit ihren {count} Schreiben werden sofort neu abgeglichen"),
        ("valid_days", "4", f"{count} geplante Schreiben dürfen so lange warten"),
        ("note", "geprüft", f"Die {count} geplanten Schreiben bleiben, wie sie sind."),
    ):
        page.fill(f"[name={field}]", value)
        page.get_by_role("button", name="Prüfen und speichern").click()
        expect(told).to_contain_text("Schon geplante Schreiben")
        expect(told).to_contain_text(said)
        assert barriers(page) == []
        page.goto("/jobs")
        _open(page, STUCK)
    # Another rhythm: today is no day of dispatch any more.
    page.select_option("select[name=mode]", "cyclic")
    page.fill("[name=every_months]", "3")
    page.fill("[name=anchor]", "2027-01-31")
    page.get_by_role("button", name="Prüfen und speichern").click()
    expect(told).to_contain_text(re.compile(r"geplante Schreiben vom .* werden zurückgezogen"))
    assert len(site.stack.answer("order", "list", "--job", STUCK, "--state", "planned")) == planned


def test_a_planned_letter_is_blocked_in_the_job_file_and_planned_again(visit: Callable[..., Page], site: Site) -> None:
    page = visit("operate")
    _open(page, STUCK, "Versand")
    first = page.locator("tbody tr").first
    name = first.locator("a").inner_text()
    first.get_by_role("checkbox").check()
    page.get_by_role("button", name="Angekreuzte blockieren").click()
    expect(page.locator("#h-reason")).to_contain_text("Sagen Sie warum")
    expect(page.locator("tbody tr").first.get_by_role("checkbox")).to_be_checked()
    page.fill("input[name=reason]", "ruft selbst an")
    page.get_by_role("button", name="Angekreuzte blockieren").click()
    expect(page.get_by_role("status")).to_have_text("Blockiert: 1 von 1.")
    blocked = page.locator("tr.is-blocked")
    expect(blocked).to_contain_text(name)
    expect(blocked).to_contain_text("blockiert von u.operate")
    expect(blocked).to_contain_text("ruft selbst an")
    assert len(site.stack.answer("order", "list", "--state", "blocked")) == 1
    assert barriers(page) == []
    blocked.get_by_role("button", name="Blockade aufheben").click()
    expect(page.get_by_role("status")).to_contain_text("wieder geplant")
    assert site.stack.answer("order", "list", "--state", "blocked") == []
    page.fill("#f-q", name.split()[-1])
    page.get_by_role("button", name="Filtern").click()
    expect(page.locator("tbody tr").first).to_contain_text(name.split()[-1])
    # Whom one looked for is still there after a refusal, and after the block.
    found = page.locator("tbody tr").count()
    page.locator("tbody tr").first.get_by_role("checkbox").check()
    page.get_by_role("button", name="Angekreuzte blockieren").click()
    expect(page.locator("#h-reason")).to_be_visible()
    expect(page.locator("#f-q")).to_have_value(name.split()[-1])
    expect(page.locator("tbody tr").first.get_by_role("checkbox")).to_be_checked()
    page.fill("input[name=reason]", "ruft selbst an")
    page.get_by_role("button", name="Angekreuzte blockieren").click()
    expect(page.get_by_role("status")).to_have_text("Blockiert: 1 von 1.")
    expect(page.locator("#f-q")).to_have_value(name.split()[-1])
    expect(page.locator("tbody tr")).to_have_count(found)
    page.locator("tr.is-blocked").get_by_role("button", name="Blockade aufheben").click()
    expect(page.locator("#f-q")).to_have_value(name.split()[-1])
    page.goto(page.url.partition("?")[0])
    page.get_by_role("link", name="Nächste Seite").click()
    expect(page.get_by_role("link", name="Erste Seite")).to_be_visible()
    # Nor is the page lost on which one was.
    page.locator("tbody tr").first.get_by_role("checkbox").check()
    page.fill("input[name=reason]", "ruft selbst an")
    page.get_by_role("button", name="Angekreuzte blockieren").click()
    expect(page.get_by_role("status")).to_have_text("Blockiert: 1 von 1.")
    expect(page.get_by_role("link", name="Erste Seite")).to_be_visible()
    page.locator("tr.is-blocked").first.get_by_role("button", name="Blockade aufheben").click()
    expect(page.get_by_role("status")).to_contain_text("wieder geplant")


def test_a_confirmation_holds_for_what_was_shown_only(visit: Callable[..., Page], site: Site) -> None:
    page = visit("operate")
    _choose(page, STUCK, "Jetzt senden")
    shown = page.locator(".kp-figure").inner_text()
    asked = page.url
    # Another job by the time of the click: nothing is sent, the page comes anew and then holds.
    site.stack.cli("job", "set", STUCK, "note=inzwischen geändert")
    page.get_by_role("button", name=re.compile("jetzt senden")).click()
    expect(page.get_by_role("alert")).to_contain_text("Das hat sich geändert, seit es gezeigt wurde")
    expect(page.locator(".kp-figure")).to_have_text(shown)
    assert barriers(page) == []
    # A form that says nothing of what was seen approves nothing.
    headers = json.loads(page.locator("body").get_attribute("hx-headers") or "{}")
    answer = page.request.post(asked.partition("?")[0], headers=headers)
    assert answer.status == 409
    assert "jetzt senden" in answer.text()
    assert len(site.mail.accepted) == 0
    assert site.stack.states().get("sent", 0) == site.stack.states().get("queued", 0) == 0


def test_an_asks_again_when_the_job_has_changed(visit: Callable[..., Page], site: Site) -> None:
    page = visit("operate")
    page.goto("/jobs")
    page.get_by_role("switch", name=BIRTHDAY).click()
    expect(page.get_by_role("button", name="Rückgängig")).to_be_visible()
    undo = page.url
    site.stack.cli("job", "set", BIRTHDAY, "note=inzwischen geändert")
    # The way back was for that click: now it leads to what An would mean.
    page.get_by_role("button", name="Rückgängig").click()
    expect(page.get_by_role("alert")).to_contain_text("Das hat sich geändert, seit es gezeigt wurde")
    assert site.stack.answer("job", "show", BIRTHDAY)["status"] == "Aus"
    page.goto(undo)
    expect(page.get_by_role("switch", name=BIRTHDAY)).to_be_visible()
    expect(page.get_by_role("button", name="Rückgängig")).to_have_count(0)
    page.goto(re.sub(r"&seen=.*", "", undo))
    expect(page.get_by_role("button", name="Rückgängig")).to_have_count(0)
    page.get_by_role("switch", name=BIRTHDAY).click()
    page.get_by_role("button", name="Ja, auf An schalten").click()
    expect(page.get_by_role("switch", name=BIRTHDAY)).to_have_attribute("aria-checked", "true")


def test_off_in_mid_dispatch_sends_nothing_more(visit: Callable[..., Page], site: Site) -> None:
    page = visit("operate")
    site.mail.oracle.rate = 25.0
    _choose(page, STUCK, "Jetzt senden")
    count = int(page.locator(".kp-figure").inner_text().split()[0].replace(".", ""))
    assert count > 500
    page.get_by_role("button", name=f"{count} Schreiben jetzt senden").click()
    expect(page.get_by_role("status")).to_contain_text(f"unterwegs: {count};")
    site.stack.wait_for(lambda: len(site.mail.accepted) > 5, 20, "the first mails")
    page.get_by_role("switch").click()
    expect(page.get_by_role("status")).to_contain_text("ist Aus: Es wird nichts mehr gesendet")
    # What stood behind its final dot already ends; nothing follows it.
    time.sleep(2)
    sent = len(site.mail.accepted)
    site.mail.oracle.rate = None
    time.sleep(2)
    assert len(site.mail.accepted) == sent < count
    states = site.stack.states()
    assert sum(states.get(state, 0) for state in ("planned", "queued", "sending", "sent")) >= count
    _open(page, STUCK, "Versand")
    expect(page.locator("section table tbody tr").first).to_contain_text("gesendet")
    assert barriers(page) == []


def test_off_has_a_way_back(visit: Callable[..., Page], site: Site) -> None:
    page = visit("operate")
    page.goto("/jobs")
    page.get_by_role("switch", name=BIRTHDAY).click()
    expect(page.get_by_role("switch", name=BIRTHDAY)).to_have_attribute("aria-checked", "false")
    assert barriers(page) == []
    page.get_by_role("button", name="Rückgängig").click()
    expect(page.get_by_role("switch", name=BIRTHDAY)).to_have_attribute("aria-checked", "true")
    assert site.stack.answer("job", "show", BIRTHDAY)["status"] == "An"


def test_a_job_is_copied_and_deleted_once_its_name_is_typed(visit: Callable[..., Page], site: Site) -> None:
    page = visit("edit")
    _choose(page, BIRTHDAY, "Kopieren")
    page.fill("input[name=name]", BIRTHDAY)
    page.get_by_role("button", name="Kopieren").click()
    expect(page.locator("#h-name")).to_contain_text("besteht schon")
    page.fill("input[name=name]", "Kopie zum Löschen")
    assert barriers(page) == []
    page.get_by_role("button", name="Kopieren").click()
    expect(page.locator("h1")).to_have_text("Kopie zum Löschen")
    expect(page.get_by_role("switch")).to_have_attribute("aria-checked", "false")
    _choose(page, "Kopie zum Löschen", "Löschen")
    page.fill("input[name=name]", "Kopie")
    page.get_by_role("button", name="Löschen").click()
    expect(page.locator("#h-name")).to_have_text("Das ist nicht der Name des Auftrags.")
    page.fill("input[name=name]", "Kopie zum Löschen")
    assert barriers(page) == []
    page.get_by_role("button", name="Löschen").click()
    expect(page.get_by_role("status")).to_contain_text("ist gelöscht; offene Schreiben zurückgezogen: 0")
    expect(page.locator("table")).not_to_contain_text("Kopie zum Löschen")


def test_lists_as_workbooks_and_on_paper_have_every_row(visit: Callable[..., Page], site: Site) -> None:
    page = visit("view")
    page.goto("/jobs")
    jobs = page.locator("tbody a.fw-bold").all_inner_texts()
    assert [row[0] for row in _sheet(page, "/jobs/excel")] == ["Name", *jobs]
    assert len(jobs) >= 3
    assert sorted({str(row[4]) for row in _sheet(page, "/jobs/1/history/excel")[1:]}) == ["Geburtstagsgrüße"]
    _open(page, STUCK, "Versand")
    orders = site.stack.answer("order", "list", "--job", STUCK)
    address = page.get_by_role("link", name="Excel").get_attribute("href")
    assert address
    assert len(_sheet(page, address)) == 1 + len(orders) > 500
    page.get_by_role("link", name="Drucken").click()
    expect(page.locator("tbody tr")).to_have_count(len(orders))
    page.emulate_media(media="print")
    expect(page.locator(".kp-side")).to_be_hidden()
    expect(page.locator("tbody tr").first).to_be_visible()


def test_a_simulation_shows_the_days_to_come(visit: Callable[..., Page]) -> None:
    page = visit("view")
    _open(page, BIRTHDAY, "Simulation")
    expect(page.get_by_role("heading", name=re.compile(r"^\d+ Schreiben vom 23\.11\.2026"))).to_be_visible(
        timeout=20_000
    )
    assert page.locator("svg.kp-chart rect").count() == 90
    assert barriers(page) == []


def test_who_may_only_look_finds_nothing_to_press_in_english_on_a_phone(visit: Callable[..., Page]) -> None:
    page = visit("view", "en", 360)
    page.goto("/jobs")
    expect(page.locator("h1")).to_have_text("Jobs")
    for tab in ("Configuration", "Dispatch", "Simulation", "History"):
        assert barriers(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        _open(page, BIRTHDAY, tab)
        assert page.get_by_role("switch").count() == page.get_by_role("button", name="Check and save").count() == 0
    headers = json.loads(page.locator("body").get_attribute("hx-headers") or "{}")
    assert headers["X-CSRF-Token"]
    answer = page.request.post("/jobs/1/off", headers=headers)
    assert answer.status == 403


def test_without_any_job_the_list_teaches_the_first_step(browser: Browser, empty_site: Site) -> None:
    visitor = Visitor(browser, empty_site, "admin", "de")
    page = visitor.page
    page.goto("/jobs")
    page.get_by_role("link", name="Ersten Auftrag anlegen").click()
    expect(page.get_by_role("alert")).to_contain_text("Ein Auftrag braucht eine Abfrage und ein Formschreiben")
    visitor.leave()
