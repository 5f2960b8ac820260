"""Every list goes to Excel and to paper: the same rows, all that its filter finds, in the words of its reader (D2)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from python_calamine import CalamineWorkbook

from tests.browser.conftest import running_site
from tests.browser.site import Site, Visitor, barriers

#: More than a page of each kind of record that people make.
MANY = 60
CODE_NAMES = {"planned", "queued", "sent", "contact_job", "rolling", "in_process", "view", "create", "true", "True"}


@dataclass(frozen=True)
class Listed:
    """A list, with a filter where it has one."""

    address: str
    title: str
    headings: str
    least: int
    pages: bool = True
    rows: str = "main tbody tr"
    #: Where people expect sentences and words: a column, and a value that stands there at least once.
    column: str = ""
    says: str = ""


APPLICATION = (
    "Bewerbernummer|Dubletten-Set|Art|Anrede|Titel|Vorname|Nachname|Geburtsdatum|E-Mail|Telefon|Straße|Postleitzahl|"
    "Ort|Land|Sprache|Stelle|Abteilung|Standort|Quelle|Sachbearbeiter|Status|Eingegangen|Bewerber-Pool|Im Pool seit"
)
ORDER = (
    "Nummer|Name|Art|Aufgabe|Auftrag|Bewerbernummer|Schreiben vom|Zustand|Geplant für|Gesendet am|Zeitzone|Betreff|"
    "E-Mail|Grund|Versuche"
)
JOB = (
    "Name|Status|Freigabe|Abfrage|Formschreiben|Versand|Versandzeit|Nächster Versand|Letzter Versand|geplant|wartet|"
    "gesendet|keine Adresse|fehlgeschlagen|ungeklärt|blockiert"
)
LETTER = "Name|Sprachen|Betreff|Status nach Versand|Layout|Anhänge|Version|Aufträge"
EVENT = "Wann|Wer|Was|Datensatz|Name|Feld|Vorher|Nachher|Grund"
LISTS = (
    Listed("/jobs", "Aufträge", JOB, 3, pages=False, column="Versand", says="täglich (fließend)"),
    Listed("/applications?q=ann example", "Bewerbungen", APPLICATION, 51, column="Art", says="Bewerbung"),
    Listed("/workcenter?state=planned&type=job-2", "Schreibaufträge", ORDER, 51, column="Zustand", says="geplant"),
    Listed("/jobs/2/dispatch?q=er", "Schreibaufträge", ORDER, 51, column="Art", says="Kontaktpflege-Auftrag"),
    Listed("/jobs/2/history", "Verlauf", EVENT, 1, pages=False, rows="main section:last-of-type tbody tr"),
    Listed("/queries", "Abfragen", "Name|Wählt aus, wer|Version", MANY,
           column="Wählt aus, wer", says="hat eine E-Mail-Adresse"),
    Listed("/letters", "Formschreiben", LETTER, MANY),
    Listed("/settings/users", "Benutzer", "Benutzername|Name in Schreiben|E-Mail-Adresse|Recht|Passwort", 4,
           pages=False, column="Recht", says="darf ansehen"),
    Listed("/settings/statuses", "Status", "Status|Metastatus", MANY,
           pages=False, column="Metastatus", says="Interview"),
    Listed("/settings/history?noun=status", "Verlauf", EVENT, MANY, column="Datensatz", says="Status"),
)  # fmt: skip


@pytest.fixture(scope="module")
def full_site(sample_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The sample with more than a page of everything."""
    setup = ["statuses:", *(f"  - {{name: Status {n:02}, meta: interview}}" for n in range(MANY))]
    setup += [
        "queries:",
        *(f"  - {{name: Abfrage {n:02}, filters: [{{field: has_email, is: true}}]}}" for n in range(MANY)),
    ]
    setup += ["letters:", *(f"  - {{name: Brief {n:02}, subject: Tag, text: Guten Tag}}" for n in range(MANY))]
    for site in running_site(sample_folder, tmp_path_factory.mktemp("lists")):
        file = site.stack.folder / "many.yaml"
        file.write_text("\n".join(setup), encoding="utf-8")
        site.stack.cli("apply", str(file))
        yield site


@pytest.fixture
def reader(browser: Browser, full_site: Site) -> Iterator[Callable[[str], Page]]:
    """A page of somebody who may only look, in a language."""
    visitors: list[Visitor] = []

    def come(language: str) -> Page:
        visitors.append(Visitor(browser, full_site, "view", language))
        return visitors[-1].page

    yield come
    for visitor in visitors:
        visitor.leave()


def _book(page: Page) -> CalamineWorkbook:
    address = page.get_by_role("link", name="Excel").get_attribute("href") or ""
    answer = page.request.get(address, headers={"Accept-Language": page.evaluate("navigator.language")})
    assert answer.ok and answer.body()[:2] == b"PK"
    return CalamineWorkbook.from_filelike(BytesIO(answer.body()))


@pytest.mark.parametrize("listed", LISTS, ids=lambda one: one.address)
def test_d2_a_list_in_excel_and_on_paper_is_all_that_its_filter_finds(
    reader: Callable[[str], Page], listed: Listed
) -> None:
    page = reader("de")
    page.goto(listed.address)
    book = _book(page)
    assert book.sheet_names == [listed.title, "Bemerkungen"]
    headings, *rows = book.get_sheet_by_index(0).to_python()
    # Custom fields of the sample follow behind the columns that every installation has.
    own = listed.headings.split("|")
    assert headings[: len(own)] == own
    assert len(rows) >= listed.least
    assert CODE_NAMES & {str(value) for row in rows for value in row} == set()
    if listed.column:
        assert listed.says in {str(row[own.index(listed.column)]) for row in rows}
    page.get_by_role("link", name="Drucken").click()
    expect(page.locator("main [data-print]")).to_be_visible()
    expect(page.locator(listed.rows)).to_have_count(len(rows))
    expect(page.locator("main .kp-pager")).to_have_count(0)
    expect(page.locator("main :is(input, select, textarea):visible")).to_have_count(0)
    assert barriers(page) == []
    page.evaluate("window.print = () => { document.title = 'printed'; }")
    page.locator("main [data-print]").click()
    expect(page).to_have_title("printed")
    page.get_by_role("link", name="Zurück").click()
    expect(page.get_by_role("link", name="Drucken")).to_be_visible()
    assert "print" not in page.url
    for asked in listed.address.partition("?")[2].split("&"):
        assert asked.replace(" ", "%20") in page.url


@pytest.mark.parametrize("listed", [one for one in LISTS if one.pages], ids=lambda one: one.address)
def test_a_long_list_pages_under_its_filter(reader: Callable[[str], Page], listed: Listed) -> None:
    page = reader("de")
    page.goto(listed.address)
    expect(page.locator(listed.rows)).to_have_count(50)
    first = page.locator(listed.rows).first.inner_text()
    page.locator("main a[rel=next]").first.click()
    expect(page.locator(listed.rows).first).not_to_have_text(first, use_inner_text=True)
    expect(page.get_by_role("link", name="Erste Seite")).to_be_visible()


def test_an_english_reader_gets_english_words(reader: Callable[[str], Page]) -> None:
    page = reader("en")
    for address, title, headings in (
        (
            "/jobs",
            "Jobs",
            ["Name", "Status", "Approval", "Query", "Form letter", "Dispatch", "Dispatch time", "Next dispatch"],
        ),
        ("/workcenter", "Write orders", ["Number", "Name", "Type", "Task", "Job", "External number", "Letter of"]),
        ("/queries", "Queries", ["Name", "Chooses whoever", "Version"]),
        ("/settings/history", "History", ["When", "Who", "What", "Record", "Name", "Field", "Before", "After"]),
    ):
        page.goto(address)
        book = _book(page)
        assert book.sheet_names == [title, "Remarks"]
        assert book.get_sheet_by_index(0).to_python()[0][: len(headings)] == headings


def test_the_people_of_orders_have_names(reader: Callable[[str], Page]) -> None:
    page = reader("de")
    page.goto("/workcenter?state=planned&type=job-2")
    _, *rows = _book(page).get_sheet_by_index(0).to_python()
    named = {str(int(row[0])): row[1] for row in rows}
    shown = page.locator("main tbody tr").first.locator("td a")
    assert named[shown.nth(0).inner_text()] == shown.nth(1).inner_text()
