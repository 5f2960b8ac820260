"""Signing in with a company account in Chromium: over another site and back, under the page's own policy (S22)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import running_site
from tests.browser.site import Site, Visitor, barriers, sign_in
from tests.openid_provider import OpenIdProvider


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenIdProvider]:
    # By another name than the console: for a browser that is another site, which decides about cookies.
    with OpenIdProvider("localhost", user=None) as found:
        yield found


@pytest.fixture(scope="module")
def company_site(
    empty_folder: Path, provider: OpenIdProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A console that knows the provider, with a user who has no password."""
    for site in running_site(empty_folder, tmp_path_factory.mktemp("company"), provider.settings):
        site.stack.cli("user", "create", "f.firma", "--display-name", "Frau Firma", "--role", "edit")
        yield site


@pytest.fixture
def come(browser: Browser, company_site: Site, provider: OpenIdProvider) -> Iterator[Callable[..., Page]]:
    """A page of somebody who has not signed in; what the browser complains about fails the test."""
    visitors: list[Visitor] = []

    def visit(language: str = "de") -> Page:
        visitors.append(Visitor(browser, company_site, None, language, beside=provider.issuer))
        return visitors[-1].page

    yield visit
    for visitor in visitors:
        visitor.leave()


def at_the_company(page: Page, name: str) -> None:
    """Signs in at the provider's page."""
    expect(page).to_have_title("Firma")
    page.fill("input[name=user]", name)
    page.get_by_role("button", name="Weiter").click()


def test_s22_a_company_account_opens_the_console_where_one_wanted_to_go(come: Callable[..., Page]) -> None:
    page = come()
    page.goto("/jobs")
    assert barriers(page) == []
    page.get_by_role("link", name="Mit Firmenkonto anmelden").click()
    at_the_company(page, "f.firma")
    page.wait_for_selector("header.kp-top")
    assert page.url.endswith("/jobs")
    expect(page.locator("header.kp-top")).to_contain_text("Frau Firma")
    session = next(one for one in page.context.cookies() if one["name"] == "kp_session")
    assert session["httpOnly"] and session["sameSite"] == "Lax"
    assert "kp_company" not in {one["name"] for one in page.context.cookies()}
    # Forms of the new session are taken; there is no password to change.
    page.get_by_role("link", name="Frau Firma").click()
    expect(page.get_by_text("hier gibt es dafür kein Passwort")).to_be_visible()
    assert barriers(page) == []
    page.get_by_role("button", name="Abmelden").click()
    page.goto("/jobs")
    assert "/sign-in" in page.url


def test_s22_somebody_unknown_is_told_so_and_may_try_again(come: Callable[..., Page]) -> None:
    page = come("en")
    page.goto("/")
    page.get_by_role("link", name="Sign in with your company account").click()
    at_the_company(page, "x.fremd")
    expect(page.get_by_role("alert")).to_have_text("There is no user x.fremd here. An administrator can create one.")
    assert barriers(page) == []
    page.get_by_role("link", name="Sign in with your company account").click()
    at_the_company(page, "f.firma")
    expect(page.locator("h1")).to_have_text("Overview")


def test_s22_an_answer_to_another_browser_signs_nobody_in(company_site: Site, come: Callable[..., Page]) -> None:
    # The attacker keeps the answer to its own sign-in, and makes somebody else open it.
    with httpx.Client(base_url=company_site.url) as attacker:
        asked = attacker.get("/sign-in/company").headers["location"]
        answer = attacker.post(asked, data={"user": "f.firma"}).headers["location"]
    victim = come()
    victim.goto(answer)
    expect(victim.get_by_role("alert")).to_contain_text("nicht in diesem Browser begonnen")
    victim.goto("/jobs")
    assert "/sign-in" in victim.url


def test_passwords_keep_working_beside_it(come: Callable[..., Page]) -> None:
    page = come()
    sign_in(page, "u.admin")
    page.goto("/settings/users")
    expect(page.get_by_role("row", name="f.firma")).to_contain_text("keines: nur mit Firmenkonto")
