"""The candidates' page in German and English, and what recruiters see of it in the console."""

import re
from collections.abc import Callable, Iterator
from email import message_from_bytes
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import running_site
from tests.browser.site import Site, Visitor, barriers
from tests.servers.processes import free_port

SECRET = "0123456789abcdef" * 2
JOB, DAY = "Geburtstagsgrüße", "2026-11-23"


@pytest.fixture(scope="module")
def public_url() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def site(sample_folder: Path, tmp_path_factory: pytest.TempPathFactory, public_url: str) -> Iterator[Site]:
    """With the candidates' page beside the console, and the birthday letters sent."""
    given = {"KP_LINK_KEYS": SECRET, "KP_PUBLIC_URL": public_url, "KP_PUBLIC_PORT": public_url.rpartition(":")[2]}
    for found in running_site(sample_folder, tmp_path_factory.mktemp("public"), lambda _: given):
        found.stack.answer("job", "run", JOB, "--on", DAY, "--wait", "60")
        yield found


@pytest.fixture
def come(browser: Browser, site: Site, public_url: str) -> Iterator[Callable[..., Page]]:
    """`come("de")`: a candidate with a browser in that language, who is signed in nowhere."""
    visitors: list[Visitor] = []

    def coming(language: str, width: int = 1280) -> Page:
        visitors.append(Visitor(browser, site, None, language, width, beside=public_url))
        return visitors[-1].page

    yield coming
    for visitor in visitors:
        visitor.leave()


def letters(site: Site) -> dict[str, str]:
    """Links of the letters sent, by application."""
    sent = {str(one["id"]): one["application"] for one in site.stack.answer("order", "list", "--job", JOB)}
    mails = [message_from_bytes(one.content) for one in site.mail.accepted]
    return {sent[mail["X-Kontaktpflege-Order"]]: mail["List-Unsubscribe"][1:-1] for mail in mails}


def open_record(page: Page, external_id: str) -> None:
    page.goto("/")
    page.fill("[data-search]", external_id)
    page.press("[data-search]", "Enter")
    page.wait_for_url(re.compile(r"/applications/\d+$"))


WORDS = {
    "de": {
        "title": "Post von uns",
        "acts": [
            ("Abmelden", "Wieder teilnehmen", "Sie erhalten keine Schreiben der Kontaktpflege mehr."),
            ("Sechs Monate pausieren", "Pause beenden", "Die Pause hat begonnen."),
            ("Keine Geburtstagsschreiben", "Wieder Geburtstagsschreiben", "künftig keine Geburtstagsschreiben"),
            ("Höchstens eines im Jahr", "So oft wie üblich", "künftig höchstens ein Schreiben im Jahr"),
            ("Löschung verlangen", "Doch nicht löschen", "Ihr Löschungsverlangen liegt uns vor"),
        ],
        "send": "Absenden",
        "thanks": "Vielen Dank.",
        "invalid": "Dieser Link ist nicht gültig.",
        "other": "English",
    },
    "en": {
        "title": "Letters from us",
        "acts": [
            ("Unsubscribe", "Take part again", "You will get no more contact-care letters"),
            ("Pause for six months", "End the pause", "The pause has begun."),
            ("No birthday letters", "Birthday letters again", "You will get no birthday letters."),
            ("At most one a year", "As often as usual", "You will get at most one letter a year."),
            ("Request deletion", "Take the request back", "We have your request for deletion"),
        ],
        "send": "Send",
        "thanks": "Thank you.",
        "invalid": "This link is not valid.",
        "other": "Deutsch",
    },
}


@pytest.mark.parametrize(("language", "width"), [("de", 1280), ("en", 360)])
def test_s25_every_wish_is_said_shown_and_taken_back(
    come: Callable[..., Page], site: Site, language: str, width: int
) -> None:
    words = WORDS[language]
    page = come(language, width)
    page.goto(sorted(letters(site).values())[0 if language == "de" else 1])
    expect(page.locator("h1")).to_contain_text(str(words["title"]))
    expect(page.locator("html")).to_have_attribute("lang", language)
    assert barriers(page) == []
    for act, back, said in words["acts"]:
        page.get_by_role("button", name=act, exact=True).click()
        expect(page.get_by_role("status")).to_contain_text(said)
        expect(page.get_by_role("button", name=act, exact=True)).to_have_count(0)
        assert barriers(page) == []
        page.get_by_role("button", name=back, exact=True).click()
        expect(page.get_by_role("button", name=act, exact=True)).to_have_count(1)
    page.fill("textarea", "Nachname: Müller")
    page.get_by_role("button", name=str(words["send"]), exact=True).click()
    expect(page.get_by_role("status")).to_contain_text(str(words["thanks"]))
    assert barriers(page) == []
    page.emulate_media(color_scheme="dark")
    assert barriers(page) == []
    # Nothing has to be scrolled to the side.
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_role("link", name=str(words["other"])).click()
    expect(page.locator("html")).to_have_attribute("lang", "en" if language == "de" else "de")
    assert page.context.cookies() == []


@pytest.mark.parametrize("language", ["de", "en"])
def test_s25_what_is_no_link_is_refused_in_the_persons_language(
    come: Callable[..., Page], site: Site, language: str
) -> None:
    page = come(language)
    answer = page.goto(next(iter(letters(site).values()))[:-1])
    assert answer is not None and answer.status == 403
    expect(page.get_by_role("alert")).to_contain_text(str(WORDS[language]["invalid"]))
    assert barriers(page) == []


def test_recruiters_see_what_a_candidate_wants_and_say_what_is_done(
    come: Callable[..., Page], visit: Callable[..., Page], site: Site
) -> None:
    application, link = sorted(letters(site).items())[2]
    candidate = come("de")
    candidate.goto(link)
    for name in ("Sechs Monate pausieren", "Keine Geburtstagsschreiben", "Löschung verlangen"):
        candidate.get_by_role("button", name=name, exact=True).click()
    page = visit("operate", "de")
    open_record(page, application)
    warnings = page.locator(".alert-warning")
    for said in ("möchte eine Pause bis 23.05.2027", "keine Geburtstagsschreiben", "Löschung der Daten"):
        expect(warnings.filter(has_text=said)).to_have_count(1)
    expect(page.locator(".kp-timeline")).to_contain_text("bittet um Löschung der Daten")
    expect(page.locator(".kp-timeline")).to_contain_text("Bewerber/in")
    assert barriers(page) == []
    page.get_by_role("button", name="Wieder Geburtstagsschreiben").click()
    expect(page.get_by_role("status")).to_have_text("Der Wunsch ist zurückgenommen.")
    page.get_by_role("button", name="Höchstens ein Schreiben im Jahr").click()
    expect(page.get_by_role("status")).to_contain_text("Der Wunsch ist vermerkt.")
    shown = site.stack.answer("person", "show", application)
    assert shown["no_birthday_since"] is None and shown["yearly_since"] and shown["paused_until"] == "2027-05-23"
    page.goto("/")
    page.get_by_role("link", name="Anliegen von Bewerbern").click()
    row = page.locator("tbody tr").filter(has_text="Löschung der Daten")
    expect(row).to_have_count(1)
    assert barriers(page) == []
    row.get_by_role("button", name="Erledigt").click()
    expect(page.get_by_role("status")).to_have_text("Das Anliegen ist erledigt.")
    expect(page.locator("tbody tr").filter(has_text="Löschung der Daten")).to_have_count(0)
    open_record(page, application)
    expect(page.locator(".kp-timeline")).to_contain_text("Bitte um Löschung erledigt")
    only_looking = visit("view", "en")
    only_looking.goto("/requests")
    expect(only_looking.get_by_role("button", name="Done")).to_have_count(0)
