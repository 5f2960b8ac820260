"""Signing in and out, languages, the own password."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.site import PASSWORD, barriers, sign_in


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


def test_a_new_password_ends_the_other_sessions_and_signing_out_this_one(visit: Callable[..., Page]) -> None:
    page, other = visit("operate"), visit("operate")
    page.goto("/profile")
    page.fill("input[name=old]", "nicht meines")
    page.fill("input[name=new]", "ein neues Passwort")
    page.get_by_role("button", name="Speichern").click()
    expect(page.locator("#h-old")).to_have_text("Das ist nicht Ihr jetziges Passwort.")
    for old, new in ((PASSWORD, "ein neues Passwort"), ("ein neues Passwort", PASSWORD)):
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
