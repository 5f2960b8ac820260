"""Signing in and out, languages, the own password."""

import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
from playwright.sync_api import Browser, Page, expect

from services.console.routing import Page as Address
from tests.browser.site import PASSWORD, Site, Visitor, barriers, sign_in
from tests.browser.test_rights import filled, moments


def test_a_wrong_password_is_told_beside_the_form_and_nobody_gets_in(visit: Callable[..., Page]) -> None:
    page = visit(None)
    page.goto("/profile")
    assert page.url.endswith("/sign-in?to=/profile")
    page.fill("input[name=name]", "u.admin")
    page.fill("input[name=password]", "falsch geraten")
    page.click("form[action$='/sign-in'] button")
    expect(page.get_by_role("alert")).to_have_text("Name und Passwort passen nicht zusammen.")
    assert barriers(page) == []
    page.goto("/")
    assert "/sign-in" in page.url


def test_german_and_english(visit: Callable[..., Page]) -> None:
    page = visit("view", "de")
    expect(page.locator("h1")).to_have_text("Übersicht")
    page.get_by_role("button", name="English").click()
    expect(page.locator("h1")).to_have_text("Overview")
    assert page.locator("html").get_attribute("lang") == "en"
    assert barriers(page) == []


def test_the_language_is_changed_on_the_page_that_a_form_answered_with(visit: Callable[..., Page]) -> None:
    page = visit("operate", "de")
    page.goto("/applications?q=Lidwina")
    page.get_by_role("button", name="English").click()
    expect(page.locator("h1")).to_have_text("Applications")
    # What was searched for is kept.
    expect(page.locator("#a-q")).to_have_value("Lidwina")
    page.locator("tbody a").first.click()
    record = page.url
    page.locator("#f-reason").evaluate("one => one.required = false")
    page.get_by_role("button", name="Block now").click()
    expect(page.locator("#h-reason")).to_have_text("Say why.")
    assert page.url == f"{record}/block"
    page.get_by_role("button", name="Deutsch").click()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.locator("h1")).to_contain_text("Lidwina")
    assert page.url == record


def test_no_way_back_after_a_change_of_language_ends_at_an_address_without_a_page(visit: Callable[..., Page]) -> None:
    page = visit("admin", "de")
    page.goto("/")
    token = page.locator("input[name=csrf]").first.get_attribute("value") or ""
    forms = {filled(address.path) for method, address in moments() if method == "POST"}
    for back in sorted({*forms, "/nowhere", "/nowhere/at/all", "//evil.example", "/static/app.css", ""}):
        form = {"csrf": token, "language": "de", "back": back}
        answer = page.request.post("/language", form=form, max_redirects=0)
        assert answer.status == 303, back
        target = answer.headers["location"]
        assert any(re.fullmatch(_pattern(address), target) for method, address in moments() if method == "GET"), back


def _pattern(address: Address) -> str:
    return re.sub(r"\{\w+(?::int)?\}", r"\\w+", address.path)


def test_s19_a_new_password_ends_the_other_sessions_and_signing_out_this_one(visit: Callable[..., Page]) -> None:
    page, other = visit("operate"), visit("operate")
    page.goto("/profile")
    page.fill("input[name=old]", "nicht meines")
    page.fill("input[name=new]", "ein neues Passwort")
    page.get_by_role("button", name="Speichern").click()
    expect(page.locator("#h-old")).to_have_text("Das ist nicht Ihr jetziges Passwort.")
    for old, new in ((PASSWORD, "ein neues Passwort"), ("ein neues Passwort", PASSWORD)):
        page.goto("/profile")
        expect(page.get_by_role("status")).to_have_count(0)
        page.fill("input[name=old]", old)
        page.fill("input[name=new]", new)
        page.get_by_role("button", name="Speichern").click()
        expect(page.get_by_role("status")).to_contain_text("Ihr Passwort ist geändert")
    assert barriers(page) == []
    other.goto("/profile")
    assert "/sign-in" in other.url
    page.get_by_role("button", name="Abmelden").click()
    page.goto("/")
    assert "/sign-in" in page.url
    sign_in(page, "u.operate")


def test_a_form_without_the_sessions_token_or_from_another_site_changes_nothing(visit: Callable[..., Page]) -> None:
    page = visit("admin")
    for headers in ({}, {"X-CSRF-Token": "falsch"}, {"Origin": "https://evil.example"}):
        answer = page.request.post("/sign-out", headers=headers)
        assert answer.status == 403
    page.goto("/")
    expect(page.locator("h1")).to_have_text("Übersicht")


def test_a_refusal_is_told_in_the_persons_language(visit: Callable[..., Page]) -> None:
    for language, job, order, key in (
        ("de", "Auftrag 99999 gibt es nicht", "Schreibauftrag 99999 gibt es nicht", "zurück zur ersten Seite"),
        ("en", "there is no job 99999", "there is no write order 99999", "go back to the first page"),
    ):
        page = visit("view", language)
        for path, said in (("/jobs/99999", job), ("/orders/99999", order), ("/applications?after=x", key)):
            page.goto(path)
            expect(page.locator("main")).to_contain_text(said)
        assert barriers(page) == []


def test_s21_of_guesses_that_come_at_once_no_more_are_looked_at_than_one_after_another(site: Site) -> None:
    form = {"name": "nobody.here", "password": "wrong and long"}
    with ThreadPoolExecutor(14) as at_once:
        answers = list(at_once.map(lambda _: httpx.post(f"{site.url}/sign-in", data=form, timeout=60), range(14)))
    assert Counter(answer.status_code for answer in answers) == {401: 5, 429: 9}


def test_s19_when_the_session_ends_what_is_being_typed_stays_and_goes_on(browser: Browser, site: Site) -> None:
    visitor = Visitor(browser, site, "edit", "de")
    page = visitor.page
    page.goto("/letters/new")
    page.fill("#f-name", "Halb geschrieben")
    with sqlite3.connect(site.stack.folder / "k.sqlite3", timeout=30) as database:
        database.execute("DELETE FROM console_sessions")
    # What comes by itself every minute.
    poll = "htmx.ajax('GET', '/workcenter/open-count', {target: '#drawer', swap: 'none'})"
    page.evaluate(poll)
    notice = page.locator("#signed-out")
    expect(notice).to_be_visible()
    expect(page.locator("#f-name")).to_have_value("Halb geschrieben")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="melden Sie sich in einem anderen Tab neu an").click()
    again = opened.value
    again.fill("input[name=name]", "u.edit")
    again.fill("input[name=password]", PASSWORD)
    again.click("form[action$='/sign-in'] button")
    again.wait_for_selector("header.kp-top")
    page.evaluate(poll)
    expect(notice).to_be_hidden()
    page.fill("#f-subject", "Guten Tag")
    page.fill("#f-html", "<p>Guten Tag</p>")
    page.get_by_role("button", name="Speichern", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("ist gespeichert")
    # The browser itself notes that somebody had to sign in anew.
    visitor.complaints = [one for one in visitor.complaints if "401" not in one]
    visitor.leave()
