"""Queries: built by clicking, counted while one types, explained for a person, saved with their effect."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.site import Site, barriers


def _count(page: Page) -> int:
    text = page.locator("#query-count").inner_text()
    return int(re.sub(r"\D", "", text))


def test_a_query_is_built_by_clicking_with_a_live_count_and_saved(visit: Callable[..., Page]) -> None:
    page = visit("edit")
    page.goto("/queries")
    expect(page.get_by_role("row", name=re.compile("Geburtstag heute"))).to_contain_text("hat am Versandtag Geburtstag")
    assert barriers(page) == []
    page.get_by_role("link", name="Neue Abfrage").click()
    expect(page.locator("#query-count")).to_be_visible()
    everybody = _count(page)
    shown = page.locator("#query-count").inner_text()
    page.get_by_label("Weitere Bedingung").select_option(label="Letzter Kontakt")
    page.get_by_role("button", name="Hinzufügen").click()
    expect(page.locator("#query-count")).not_to_have_text(shown)
    some, shown = _count(page), page.locator("#query-count").inner_text()
    page.get_by_label("Letzter Kontakt: Tage").fill("400")
    expect(page.locator("#query-count")).not_to_have_text(shown)
    assert 0 < _count(page) < some < everybody
    assert barriers(page) == []
    page.get_by_label("Letzter Kontakt: Tage").fill("")
    page.get_by_label("Name", exact=True).fill("Lange still")
    page.get_by_role("button", name="Speichern").click()
    expect(page.locator("#e-2")).to_have_text("bitte eine ganze Zahl eingeben")
    expect(page.get_by_label("Name", exact=True)).to_have_value("Lange still")
    page.get_by_label("Letzter Kontakt: Tage").fill("400")
    page.get_by_role("button", name="Speichern").click()
    expect(page.get_by_role("status")).to_have_text("Die Abfrage Lange still ist gespeichert.")
    page.goto("/queries")
    row = page.get_by_role("row", name=re.compile("Lange still"))
    expect(row).to_contain_text("hat eine E-Mail-Adresse · letzter Kontakt vor mehr als 400 Tagen")


def test_why_and_why_not_with_the_first_day_on_which_the_person_matches(visit: Callable[..., Page]) -> None:
    page = visit("view")
    page.goto("/queries")
    page.get_by_role("link", name="Kontakt fehlend").click()
    expect(page.locator("main form input[name=name]")).to_have_count(0)
    first = page.locator("#query-answer tbody tr").first
    name = first.get_by_role("link").inner_text()
    page.get_by_label("Name oder Bewerbungsnummer").fill(name)
    page.get_by_role("button", name="Erklären").click()
    offered = page.locator("#why-answer button")
    expect(page.locator("#why-answer p").first).to_be_visible()
    if offered.count():
        offered.first.click()
    expect(page.locator("#why-answer")).to_contain_text("letzter Kontakt vor mehr als 60 Tagen")
    expect(page.locator("#why-answer")).to_contain_text("Prozesshänger")
    expect(page.locator("#why-answer .kp-yes, #why-answer .kp-no")).to_have_count(3)
    assert barriers(page) == []
    page.goto("/queries/1")
    page.get_by_label("Name oder Bewerbungsnummer").fill(name)
    page.get_by_role("button", name="Erklären").click()
    expect(page.locator("#why-answer p").first).to_be_visible()
    if offered.count():
        offered.first.click()
    expect(page.locator("#why-answer .kp-no").first).to_be_visible()
    expect(page.locator("#why-answer")).to_contain_text(
        re.compile(r"Erster Tag, an dem die Person passt: \d\d\.\d\d\.\d{4}|400 Tagen")
    )
    page.get_by_label("Name oder Bewerbungsnummer").fill("Niemand-dieses-Namens")
    page.get_by_role("button", name="Erklären").click()
    expect(page.locator("#why-answer")).to_have_text("Zu diesem Namen oder dieser Nummer wurde niemand gefunden.")


def test_a_change_that_concerns_a_job_is_shown_in_people_before_it_is_saved(visit: Callable[..., Page]) -> None:
    page = visit("edit")
    page.goto("/queries/3")
    page.get_by_label("Letzter Kontakt: Tage").fill("200")
    page.get_by_role("button", name="Speichern", exact=True).click()
    expect(page.locator("#impact")).to_contain_text(re.compile(r"Prozesshänger.*\+0 / −[1-9]"))
    expect(page.locator("#impact")).to_contain_text("nicht mehr dabei:")
    assert barriers(page) == []
    # What is typed after the effect was shown is shown anew, not saved.
    page.get_by_label("Letzter Kontakt: Tage").fill("300")
    page.get_by_role("button", name="Mit dieser Wirkung speichern").click()
    expect(page.locator("#impact")).to_be_visible()
    page.get_by_role("button", name="Mit dieser Wirkung speichern").click()
    expect(page.get_by_role("status")).to_contain_text("ist gespeichert")
    expect(page.get_by_text("letzter Kontakt vor mehr als 300 Tagen")).to_be_visible()


def test_two_who_edit_at_once_do_not_overwrite_each_other(visit: Callable[..., Page]) -> None:
    page, other = visit("edit"), visit("admin")
    for one in (page, other):
        one.goto("/queries/5")
    for one, name in ((page, "IT ohne Hamburg"), (other, "IT anderswo")):
        one.get_by_label("Standort: ein Wert je Zeile").fill(name)
        one.get_by_role("button", name="Speichern", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("ist gespeichert")
    expect(other.locator("main")).to_contain_text("Inzwischen hat jemand anderes das geändert.")
    # What was typed is still there, and can be saved knowingly.
    expect(other.get_by_label("Standort: ein Wert je Zeile")).to_have_value("IT anderswo")
    assert barriers(other) == []
    other.get_by_role("button", name="Speichern", exact=True).click()
    expect(other.get_by_role("status")).to_contain_text("ist gespeichert")
    page.goto("/queries/5")
    expect(page.get_by_label("Standort: ein Wert je Zeile")).to_have_value("IT anderswo")


def test_english_deleting_asks_for_the_name_and_a_query_in_use_stays(visit: Callable[..., Page], site: Site) -> None:
    page = visit("edit", "en")
    page.goto("/queries/1")
    expect(page.get_by_role("heading", name="Who matches")).to_be_visible()
    expect(page.get_by_role("link", name="Delete …")).to_have_count(0)
    page.goto("/queries/1/delete")
    page.get_by_label("Type its name to delete it").fill("Geburtstag heute")
    page.get_by_role("button", name="Delete for good").click()
    expect(page.locator("main")).to_contain_text("a job still uses it")
    page.goto("/queries/2")
    page.get_by_role("link", name="Delete …").click()
    page.get_by_label("Type its name to delete it").fill("something else")
    page.get_by_role("button", name="Delete for good").click()
    expect(page.locator("#h-name")).to_have_text("This is not the name; nothing was deleted.")
    assert barriers(page) == []
    page.get_by_label("Type its name to delete it").fill("Geburtstag in 0 bis 7 Tagen")
    page.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_role("status")).to_contain_text("is deleted")
    answer = page.request.get("/queries/excel")
    assert answer.status == 200 and answer.body()[:2] == b"PK"


def test_who_may_only_look_changes_nothing(visit: Callable[..., Page]) -> None:
    page = visit("view", width=360)
    page.goto("/queries/1")
    expect(page.get_by_role("button", name="Speichern")).to_have_count(0)
    token = page.locator("#query-form input[name=csrf]").get_attribute("value") or ""
    answer = page.request.post("/queries/1", form={"csrf": token, "name": "x"})
    assert answer.status == 403
    assert barriers(page) == []
