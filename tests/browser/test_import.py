"""The import in two steps: a check that changes nothing and says what is wrong, then the import."""

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.site import Site, barriers
from tests.browser.test_applications import open_record


def check(page: Page, file: Path, kind: str = "applications") -> None:
    """Has a file checked."""
    page.goto("/import")
    page.select_option("#f-kind", kind)
    page.set_input_files("#f-file", file)
    page.get_by_role("button", name="Datei prüfen").click()
    expect(page.locator("h1")).to_have_text("Prüfung der Datei")


def test_a_file_is_checked_and_then_imported_without_its_bad_row(
    visit: Callable[..., Page], site: Site, tmp_path: Path
) -> None:
    file = tmp_path / "neu.csv"
    file.write_text(
        "external_id,kind,last_name,birth_date\nNEU-77-1,application,Neumann,1990-02-03\nNEU-77-2,application,Schlecht,3.2.1990\n"
    )
    page = visit("edit", "de")
    page.goto("/import")
    assert barriers(page) == []
    page.set_input_files("#f-file", file)
    page.get_by_role("button", name="Datei prüfen").click()
    expect(page.locator("main")).to_contain_text("2 Zeilen gelesen: 1 würden neu angelegt, 0 geändert, 1 sind fehl")
    expect(page.locator("tbody tr")).to_contain_text(["ist kein Datum wie 2026-11-23"])
    assert barriers(page) == []
    bad = page.request.get("/import/bad-rows").text()
    assert "3,birth_date,3.2.1990,ist kein Datum" in bad
    other = visit("view", "de")
    other.goto("/search?q=NEU-77-1")
    expect(other.locator("tbody tr")).to_have_count(0)
    page.get_by_role("button", name="Gute Zeilen importieren").click()
    expect(page.get_by_role("status")).to_have_text("Importiert: 1 neu, 0 geändert, 1 ausgelassen.")
    open_record(page, "NEU-77-1")
    expect(page.locator("h1")).to_contain_text("Neumann")


def test_json_lines_are_imported_as_csv_is(visit: Callable[..., Page], site: Site, tmp_path: Path) -> None:
    rows = [
        {"external_id": "NEU-78-1", "kind": "application", "last_name": "Zeilig", "custom": {"Führerschein": "B"}},
        {"external_id": "NEU-78-2", "last_name": "Ohne Recht", "birth_date": "gestern"},
        {"external_id": "NEU-78-3", "lastname": "Vertippt"},
    ]
    file = tmp_path / "neu.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows) + "{kein JSON\n", encoding="utf-8")
    page = visit("edit", "de")
    check(page, file)
    expect(page.locator("main")).to_contain_text("4 Zeilen gelesen: 1 würden neu angelegt, 0 geändert, 3 sind fehl")
    expect(page.locator("main")).to_contain_text("Das sind alle fehlerhaften Zeilen.")
    expect(page.locator("tbody tr")).to_contain_text(
        ["2birth_dategesternist kein Datum", "3lastnameVertipptunbekannte Spalte; meinten Sie last_name?", "4row"]
    )
    assert barriers(page) == []
    page.get_by_role("button", name="Gute Zeilen importieren").click()
    expect(page.get_by_role("status")).to_have_text("Importiert: 1 neu, 0 geändert, 3 ausgelassen.")
    open_record(page, "NEU-78-1")
    expect(page.locator("h1")).to_contain_text("Zeilig")


def test_contacts_are_imported_and_stand_in_the_timeline(
    visit: Callable[..., Page], site: Site, tmp_path: Path
) -> None:
    file = tmp_path / "kontakte.csv"
    file.write_text(
        "external_id,application,person,at,medium,direction,subject\n"
        "K-79-1,B-7-000005,,2026-11-20T09:15:00+01:00,phone,outgoing,Rückfrage zum Zeugnis\n"
        "K-79-2,B-7-000005,,2026-11-20 09:15,phone,outgoing,ohne Zone\n"
        "K-79-3,,,2026-11-20T09:15:00+01:00,phone,outgoing,ohne Bewerbung\n"
        "K-79-4,GIBT-ES-NICHT,,2026-11-20T09:15:00+01:00,phone,outgoing,fremd\n"
        "K-79-5,B-7-000005,,2026-11-20T09:15:00+01:00,brieftaube,outgoing,Taube\n",
        encoding="utf-8",
    )
    page = visit("edit", "de")
    check(page, file, "contacts")
    expect(page.locator("main")).to_contain_text("5 Zeilen gelesen: 1 würden neu angelegt, 0 geändert, 4 sind fehl")
    expect(page.locator("tbody tr")).to_contain_text(
        [
            "hat keinen Zeitversatz",
            "geben Sie genau eines von application und person an",
            "diese Bewerbung gibt es nicht",
            "muss eines von form_letter_post",
        ]
    )
    assert barriers(page) == []
    page.get_by_role("button", name="Gute Zeilen importieren").click()
    expect(page.get_by_role("status")).to_have_text("Importiert: 1 neu, 0 geändert, 4 ausgelassen.")
    open_record(page, "B-7-000005")
    entry = page.locator(".kp-timeline li", has_text="Rückfrage zum Zeugnis")
    expect(entry).to_contain_text("20.11.2026, 09:15")
    expect(entry).to_contain_text("Telefonat")
    # The same again, as JSON Lines without ids of their own: it is added once.
    again = tmp_path / "kontakte.jsonl"
    entry_again = {"application": "B-7-000005", "at": "2026-11-21T10:00:00+01:00", "medium": "mail"}
    line = json.dumps(entry_again | {"direction": "incoming", "subject": "Danke"})
    again.write_text(f"{line}\n", encoding="utf-8")
    check(page, again, "contacts")
    page.get_by_role("button", name="Gute Zeilen importieren").click()
    expect(page.get_by_role("status")).to_have_text("Importiert: 1 neu, 0 geändert, 0 ausgelassen.")
    check(page, again, "contacts")
    expect(page.locator("main")).to_contain_text("1 Zeilen gelesen: 0 würden neu angelegt, 0 geändert, 0 sind fehl")
    expect(page.locator("main")).to_contain_text("1 sind mit demselben Inhalt schon da")


def test_of_many_bad_rows_it_is_said_how_many_are_shown_and_kept(
    visit: Callable[..., Page], site: Site, tmp_path: Path
) -> None:
    page = visit("edit", "de")
    file = tmp_path / "viele.csv"
    for bad, said, kept in (
        (150, "Gezeigt werden die ersten 100 von 150 fehlerhaften Zeilen; die CSV-Datei hat sie alle.", 150),
        (1200, "Gezeigt werden die ersten 100 von 1.200 fehlerhaften Zeilen; die CSV-Datei hat die ersten 1.000", 1000),
    ):
        rows = "".join(f"VIELE-{number},gestern,n.niemand\n" for number in range(bad))
        file.write_text(f"external_id,birth_date,recruiter\nVIELE-A,1990-01-01,n.niemand\n{rows}", encoding="utf-8")
        check(page, file)
        expect(page.locator("main")).to_contain_text(said)
        expect(page.locator("main")).to_contain_text(re.compile(r"keine Benutzer sind .*: n\.niemand"))
        expect(page.locator("tbody tr")).to_have_count(100)
        told = list(csv.reader(io.StringIO(page.request.get("/import/bad-rows").text().lstrip("\ufeff"))))
        assert len(told) == 1 + kept
        assert told[1] == ["3", "birth_date", "gestern", "ist kein Datum wie 2026-11-23"]
    assert barriers(page) == []


def test_a_file_that_cannot_be_used_is_refused_beside_the_field(
    visit: Callable[..., Page], site: Site, tmp_path: Path
) -> None:
    page = visit("edit", "de")
    for name, content, said in (
        ("leer.csv", b"", "die Datei ist leer"),
        ("semikolon.csv", b"external_id;last_name\nA;B\n", "das Trennzeichen muss ein Komma sein"),
        ("fremd.csv", "external_id,last_name\nA,Müller\n".encode("cp1252"), "ist nicht UTF-8"),
        ("breit.csv", "external_id\nA\n".encode("utf-16"), "die Datei muss in UTF-8 gespeichert sein"),
        ("kopf.csv", b"last_name\nMeier\n", "die nötige Spalte fehlt"),
        ("spalte.csv", b"external_id,lastname\nA,B\n", "unbekannte Spalte; meinten Sie last_name?"),
        ("bild.png", b"png", "Der Dateiname muss auf .csv oder .jsonl enden."),
    ):
        page.goto("/import")
        file = tmp_path / name
        file.write_bytes(content)
        page.set_input_files("#f-file", file)
        page.get_by_role("button", name="Datei prüfen").click()
        expect(page.locator("#h-file")).to_contain_text(said)


def test_a_double_click_imports_once(visit: Callable[..., Page], site: Site, tmp_path: Path) -> None:
    file = tmp_path / "doppelt.csv"
    rows = "".join(f"NEU-90-{number},application,Doppelt,1990-02-03\n" for number in range(3000))
    file.write_text("external_id,kind,last_name,birth_date\n" + rows, encoding="utf-8")
    page = visit("edit", "de")
    check(page, file)
    twice = """async () => {
        const form = document.querySelector("form[action$='/import/run']");
        const send = () => fetch(form.action, {method: "POST", body: new FormData(form)});
        const answers = await Promise.all([send(), send()]);
        return answers.map(one => [one.status, new URL(one.url).pathname]);
    }"""
    answers = sorted(page.evaluate(twice))
    assert answers == [[200, "/applications"], [200, "/import"]]
