"""Form letters: written with a placeholder, seen as a real applicant gets them, tried out, sent to a tester."""

import re
from collections.abc import Callable
from email import message_from_bytes, policy

from playwright.sync_api import Browser, Page, expect

from tests.browser.site import Site, Visitor, barriers


def test_a_letter_is_written_with_a_placeholder_and_seen_as_a_real_applicant_gets_it(
    visit: Callable[..., Page],
) -> None:
    page = visit("edit")
    page.goto("/letters")
    expect(page.get_by_role("row", name=re.compile("Geburtstag"))).to_contain_text(
        re.compile(r"\d+ von \d+ ohne Anrede")
    )
    assert barriers(page) == []
    page.get_by_role("link", name="Neues Formschreiben").click()
    page.get_by_label("Name", exact=True).fill("Zwischenstand")
    page.get_by_label("Betreff").first.fill("Guten Tag aus dem Personalbüro")
    letter = page.frame_locator("iframe[name=letter-frame]")
    expect(letter.locator("body")).to_contain_text("Mit freundlichen Grüßen")
    page.locator("#f-html").fill('<p style="color: rgb(0, 80, 0)">Hallo </p>')
    page.locator("#f-html").evaluate("area => area.setSelectionRange(38, 38)")
    page.locator("summary", has_text="Platzhalter einfügen").first.click()
    page.locator("[data-into=f-html]", has_text="Vor- und Nachname").click()
    expect(page.locator("#f-html")).to_have_value(re.compile(r"{{ applicant.full_name }}"))
    person = page.locator("#letter-try dd").first
    expect(letter.locator("body")).to_have_text(re.compile(r"^\s*Hallo \w+"))
    # The letter's own styles count in its frame.
    expect(letter.locator("p")).to_have_css("color", "rgb(0, 80, 0)")
    # What was typed last may still be on its way, and with it a fresh frame.
    page.wait_for_timeout(600)
    expect(page.locator(".htmx-request")).to_have_count(0)
    name = letter.locator("p").inner_text().removeprefix("Hallo ").strip()
    expect(person).to_contain_text(name)
    before = person.inner_text()
    page.get_by_role("button", name="Nächste Person").click()
    expect(person).not_to_have_text(before)
    expect(letter.locator("body")).to_have_text(re.compile(r"^\s*Hallo \w+"))
    page.get_by_role("button", name="ohne Anrede").click()
    expect(page.get_by_role("button", name="ohne Anrede")).to_have_attribute("aria-pressed", "true")
    assert barriers(page) == []
    page.get_by_role("button", name="Speichern").click()
    expect(page.get_by_role("status")).to_have_text("Das Formschreiben Zwischenstand ist gespeichert.")
    expect(page.locator("main")).to_contain_text("angelegt: Betreff")


def test_an_error_of_the_letter_stands_beside_its_field_with_its_line_and_the_text_is_kept(
    visit: Callable[..., Page],
) -> None:
    page = visit("edit")
    page.goto("/letters/2")
    wrong = "<p>{{ salutation_line }},</p>\n<p>{{ applicant.frist_name }}</p>"
    page.locator("#f-html").fill(wrong)
    told = "Zeile 2, „applicant.frist_name“: "
    told += "unbekannter Platzhalter applicant.frist_name; meinten Sie applicant.first_name?"
    expect(page.locator("#letter-try")).to_contain_text(told)
    page.get_by_role("button", name="Speichern").click()
    expect(page.locator("#h-html")).to_have_text(told)
    expect(page.locator("#f-html")).to_have_value(wrong)
    assert barriers(page) == []
    # What is unknown for some is said with numbers before anybody misses a letter.
    page.locator("#f-html").fill("<p>{{ applicant.title }}</p>")
    expect(page.locator("#letter-warnings")).to_contain_text(
        re.compile(r"\d+ von \d+ schlagen fehl: Platzhalter applicant.title ist leer")
    )


def test_a_test_mail_arrives_and_a_wrong_address_is_told_beside_it(visit: Callable[..., Page], site: Site) -> None:
    page = visit("operate")
    page.goto("/letters/1")
    expect(page.get_by_role("button", name="Speichern")).to_have_count(0)
    expect(page.locator("#letter-subject")).to_contain_text("Alles Gute")
    page.get_by_label("An die Adresse").fill("niemand@falsch")
    page.get_by_role("button", name="Testmail senden").click()
    expect(page.locator("#letter-test-answer")).to_have_text("ist keine gültige E-Mail-Adresse")
    page.get_by_label("An die Adresse").fill("tester@firma.example")
    page.get_by_role("button", name="Testmail senden").click()
    expect(page.locator("#letter-test-answer")).to_have_text("Die Testmail an tester@firma.example ist unterwegs.")
    tests = [mail for mail in site.mail.accepted if b"tester@firma.example" in mail.content]
    arrived = message_from_bytes(tests[0].content, policy=policy.default)
    assert len(tests) == 1 and arrived["Subject"].startswith("[Test] Alles Gute zum Geburtstag")
    assert arrived["X-Kontaktpflege-Order"] is None
    assert barriers(page) == []


def test_english_a_changed_letter_says_how_many_planned_ones_get_the_new_text(visit: Callable[..., Page]) -> None:
    page = visit("edit", "en")
    page.goto("/letters/2")
    page.locator("#f-subject").fill("Neues zu Ihrer Bewerbung")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#impact")).to_contain_text(re.compile(r"[\d,]+ planned letters get the new text"))
    page.get_by_role("button", name="Save with this effect").click()
    expect(page.get_by_role("status")).to_have_text("The form letter Kontaktpflege is saved.")
    expect(page.locator("main")).to_contain_text("changed: subject")
    expect(page.get_by_role("link", name="Delete …")).to_have_count(0)


def test_s4_the_frame_of_a_letter_runs_no_script_and_only_the_console_may_show_it(visit: Callable[..., Page]) -> None:
    page = visit("edit", width=360)
    page.goto("/letters/new")
    token = page.locator("#letter-form input[name=csrf]").get_attribute("value") or ""
    form = {"csrf": token, "language": "de", "subject": "x", "html": "<script>document.title = 'x'</script><p>da</p>"}
    answer = page.request.post("/letters/preview", form=form)
    policy_given = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy_given and "frame-ancestors 'self'" in policy_given
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert barriers(page) == []


def test_empty_lists_teach_the_next_step(browser: Browser, empty_site: Site) -> None:
    visitor = Visitor(browser, empty_site, "admin", "de")
    page = visitor.page
    for address, step in (("/queries", "Erste Abfrage anlegen"), ("/letters", "Erstes Formschreiben verfassen")):
        page.goto(address)
        assert barriers(page) == []
        page.get_by_role("link", name=step).click()
        expect(page.get_by_role("button", name="Speichern")).to_be_visible()
    expect(page.locator("#letter-try")).to_contain_text("Betreff: darf nicht leer sein")
    page.locator("#f-subject").fill("Guten Tag")
    expect(page.locator("#letter-try")).to_contain_text("Es gibt noch keine Bewerbungen")
    visitor.leave()
