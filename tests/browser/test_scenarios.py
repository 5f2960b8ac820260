"""From an empty database to a letter in a mailbox, by clicking only (scenarios 1-3 of the source)."""

from email import message_from_bytes, policy
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.site import Site, Visitor

STATUSES = {"Neu online": "neu", "Absage": "Absage", "Eingestellt": "Eingestellt"}
#: A birthday today, somebody silent since March, somebody in the pool for years; and one of each who is left out.
APPLICANTS = """external_id,kind,salutation,first_name,last_name,birth_date,email,status,received_on,in_pool,pool_since
G-1,application,Frau,Gerda,Heute,1980-11-23,gerda@firma.example,Neu online,2026-11-20,false,
G-2,application,Herr,Georg,Absage,1980-11-23,georg@firma.example,Absage,2026-11-20,false,
P-1,application,Frau,Petra,Still,1985-04-01,petra@firma.example,Neu online,2026-03-01,false,
P-2,application,Herr,Paul,Frisch,1985-04-02,paul@firma.example,Neu online,2026-11-20,false,
A-1,pool,Frau,Anna,Lange,1975-02-03,anna@firma.example,Neu online,2022-01-10,true,2022-01-10
A-2,pool,Herr,Arno,Kurz,1975-02-04,arno@firma.example,Neu online,2026-10-10,true,2026-10-10
"""


class Clicking:
    """An administrator who does everything by hand."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def statuses(self) -> None:
        for name, meaning in STATUSES.items():
            self.page.goto("/settings/statuses")
            self.page.fill("#f-name", name)
            self.page.get_by_label("Metastatus").select_option(label=meaning)
            self.page.get_by_role("button", name="Status anlegen").click()
            expect(self.page.get_by_role("status")).to_contain_text(name)

    def applicants(self, file: Path) -> None:
        file.write_text(APPLICANTS, encoding="utf-8")
        self.page.goto("/")
        self.page.get_by_role("link", name="Bewerbungen importieren").click()
        self.page.set_input_files("input[type=file]", file)
        self.page.get_by_role("button", name="Datei prüfen").click()
        expect(self.page.locator("main")).to_contain_text("6 Zeilen gelesen: 6 würden neu angelegt")
        self.page.locator("form[action$='/import/run'] button").click()
        expect(self.page.locator("main")).to_contain_text("6")

    def query(self, name: str, field: str, values: dict[str, str], *, without: tuple[str, ...] = ()) -> None:
        """Has an e-mail address (a new query begins with that), one wanted condition, and stages that are left out."""
        page = self.page
        page.goto("/queries/new")
        page.get_by_label("Name", exact=True).fill(name)
        self._add(field)
        for label, value in values.items():
            page.get_by_label(f"{field}: {label}", exact=True).fill(value)
        if without:
            self._add("Metastatus")
            page.get_by_label("Bedingung: Metastatus").select_option(label="ist keines von")
            for stage in without:
                page.get_by_role("group", name="Metastatus").get_by_label(stage, exact=True).check()
        page.get_by_role("button", name="Speichern").click()
        expect(page.get_by_role("status")).to_contain_text(name)

    def _add(self, field: str) -> None:
        self.page.get_by_label("Weitere Bedingung").select_option(label=field)
        self.page.get_by_role("button", name="Hinzufügen").click()
        expect(self.page.get_by_role("group", name=field)).to_be_visible()

    def letter(self, name: str, subject: str, status: str = "") -> None:
        self.page.goto("/letters/new")
        self.page.get_by_label("Name", exact=True).fill(name)
        self.page.locator("#f-subject").fill(subject)
        self.page.locator("#f-html").fill("<p>{{ salutation_line }},</p><p>wir denken an Sie.</p>")
        if status:
            self.page.locator("select[name=sets_status]").select_option(label=status)
        self.page.get_by_role("button", name="Speichern", exact=True).click()
        expect(self.page.get_by_role("status")).to_contain_text(name)

    def job(self, name: str, query: str, letter: str) -> None:
        """Made, switched to An, sent today."""
        page = self.page
        page.goto("/jobs/new")
        page.fill("input[name=name]", name)
        page.select_option("select[name=query]", query)
        page.select_option("select[name=letter]", letter)
        page.select_option("select[name=sender]", "address")
        page.fill("input[name=sender_address]", "Personal <personal@firma.example>")
        page.get_by_role("button", name="Auftrag anlegen").click()
        expect(page.get_by_role("status")).to_contain_text(f"{name} ist angelegt")
        page.get_by_role("switch").click()
        page.get_by_role("button", name="Ja, auf An schalten").click()
        expect(page.get_by_role("status")).to_contain_text(f"{name} ist An")
        page.goto("/jobs")
        row = page.locator("tbody tr", has_text=name)
        row.get_by_text("Mehr", exact=True).click()
        row.get_by_role("link", name="Jetzt senden", exact=True).click()
        page.get_by_role("button", name="1 Schreiben jetzt senden").click()
        expect(page.get_by_role("status")).to_be_visible()


@pytest.mark.timeout(240)
def test_the_three_scenarios_from_an_empty_database_by_clicking(
    browser: Browser, empty_site: Site, tmp_path: Path
) -> None:
    visitor = Visitor(browser, empty_site, "admin", "de")
    person = Clicking(visitor.page)
    person.statuses()
    person.applicants(tmp_path / "bewerbungen.csv")
    ended = ("Eingestellt", "Absage")
    person.query("Geburtstag", "Geburtstag", {"ab": "0", "bis": "0"}, without=ended)
    person.query("Vergessen", "Letzter Kontakt", {"Tage": "60"}, without=(*ended, "Bewerber-Pool"))
    person.query("Pool", "Verweildauer", {"Monate": "36"})
    person.letter("Geburtstag", "Alles Gute")
    person.letter("Vergessen", "Sie sind nicht vergessen")
    person.letter("Absage", "Unsere endgültige Absage", status="Absage")
    expected: dict[str, str] = {}
    for name, query, letter, recipient, subject in (
        ("Geburtstagsgrüße", "Geburtstag", "Geburtstag", "gerda@firma.example", "Alles Gute"),
        ("Endgültige Absage", "Pool", "Absage", "anna@firma.example", "Unsere endgültige Absage"),
        ("Prozesshänger", "Vergessen", "Vergessen", "petra@firma.example", "Sie sind nicht vergessen"),
    ):
        person.job(name, query, letter)
        expected[recipient] = subject
        arrived(empty_site, expected)
    # A mail arrives before its order is settled.
    empty_site.stack.wait_for(lambda: empty_site.stack.states().get("sent") == 3, 20, "the settlement")
    visitor.page.goto("/workcenter?state=sent")
    expect(visitor.page.locator("tbody tr")).to_have_count(3)
    visitor.leave()


def arrived(site: Site, wanted: dict[str, str]) -> None:
    """Waits for these subjects, by recipient; nothing else may have come."""
    site.stack.wait_for(lambda: len(site.mail.accepted) >= len(wanted), 30, f"the arrival of {wanted}")
    assert _subjects(site) == wanted


def _subjects(site: Site) -> dict[str, str]:
    mails = [message_from_bytes(mail.content, policy=policy.default) for mail in list(site.mail.accepted)]
    return {str(mail["To"].addresses[0].addr_spec): str(mail["Subject"]) for mail in mails}
