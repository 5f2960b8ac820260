"""Signing in with a company account: who comes in, with which rights, and what stays of it (D5, S22)."""

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import structlog
from pydantic import SecretStr

from services.console.app import build_console
from services.console.surroundings import Surroundings
from shared.clock import SystemClock
from shared.db.engine import Database
from shared.settings import Settings
from tests.openid_provider import OpenIdProvider
from tests.services.company_accounts.browsers import (
    CONSOLE,
    Browser,
    Browsers,
    refused,
    sessions,
)


async def test_d5_a_user_comes_in_with_the_role_of_the_table(
    browser_of: Browsers, database: Database, provider: OpenIdProvider
) -> None:
    browser = browser_of()
    assert "Mit Firmenkonto anmelden" in (await browser.console.get("/sign-in?to=/jobs")).text
    answer = await browser.sign_in("/jobs")
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs")
    assert await browser.who() == "Person u.edit"
    assert (await browser.console.get("/settings/users/new")).status_code == 403  # edit is not admin
    assert "Firmenkonto" in (await browser.console.get("/profile")).text  # no password to change
    assert await sessions(database) == 1
    # Other claims of the token are of no effect: rights come from the table.
    provider.claims = {"role": "admin", "groups": ["admin"], "roles": ["admin"]}
    again = browser_of()
    await again.sign_in()
    assert (await again.console.get("/settings/users/new")).status_code == 403


async def test_s22_what_goes_through_the_browser_is_no_secret_and_fits_once(browser_of: Browsers) -> None:
    browser = browser_of()
    left = await browser.leave()
    asked = parse_qs(urlsplit(left.headers["location"]).query)
    cookie = left.headers["set-cookie"]
    assert {"response_type", "client_id", "redirect_uri", "scope", "state", "nonce"} < set(asked)
    assert asked["code_challenge_method"] == ["S256"] and asked["scope"] == ["openid profile"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Max-Age=600" in cookie
    secret = browser.console.cookies["kp_company"]
    assert secret.partition(".")[0] not in left.headers["location"]
    answer = await browser.console.get(await browser.visit_provider(left.headers["location"]))
    assert answer.status_code == 303 and "kp_company" not in browser.console.cookies


@pytest.mark.parametrize("name", ["U.EDIT", "u.edit"])
async def test_s22_case_is_no_difference(browser_of: Browsers, provider: OpenIdProvider, name: str) -> None:
    provider.user, browser = name, browser_of()
    await browser.sign_in()
    assert await browser.who() == "Person u.edit"


async def test_s22_an_unknown_user_is_told_so_in_both_languages(browser_of: Browsers, provider: OpenIdProvider) -> None:
    provider.user = "<b>u.nobody"
    for language, text in (("de", "Es gibt hier keinen Benutzer"), ("en", "There is no user")):
        browser = browser_of(language)
        answer = await browser.sign_in()
        await refused(browser, answer, 403, f"{text} &lt;b&gt;u.nobody")


async def test_a_refusal_of_the_provider_is_told(browser_of: Browsers) -> None:
    browser = browser_of("en")
    state = parse_qs(urlsplit((await browser.leave()).headers["location"]).query)["state"][0]
    answer = await browser.console.get(
        "/sign-in/company/answer", params={"error": "access_denied", "error_description": "<geheim>", "state": state}
    )
    await refused(browser, answer, 401, "was cancelled")
    assert "geheim" not in answer.text


async def test_s19_signing_in_makes_a_new_session_and_ends_the_old_one(
    browser_of: Browsers, database: Database, password: str
) -> None:
    browser = browser_of()
    await browser.console.post("/sign-in", data={"name": "u.admin", "password": password})
    assert await browser.who() == "Person u.admin"
    old = browser.console.cookies["kp_session"]
    await browser.sign_in()
    assert browser.console.cookies["kp_session"] != old and await browser.who() == "Person u.edit"
    assert await sessions(database) == 1
    # A session that somebody planted is none: it is not taken over.
    planted = browser_of()
    planted.console.cookies.set("kp_session", "planted")
    await planted.sign_in()
    assert planted.console.cookies.get("kp_session", domain="127.0.0.1.local") != "planted"


async def test_s22_over_https_the_cookies_are_for_this_host_alone(
    browser_of: Browsers, database: Database, provider: OpenIdProvider
) -> None:
    browser = browser_of(KP_CONSOLE_URL="https://pflege.firma.example")
    left = await browser.leave()
    cookie = left.headers["set-cookie"]
    assert cookie.startswith("__Host-kp_company=") and "Secure" in cookie and "Path=/" in cookie
    assert "redirect_uri=https%3A%2F%2Fpflege.firma.example%2Fsign-in%2Fcompany%2Fanswer" in left.headers["location"]
    answer = await browser.console.get(await browser.visit_provider(left.headers["location"]))
    session = next(one for one in answer.headers.get_list("set-cookie") if one.startswith("__Host-kp_session="))
    assert "Secure" in session and "HttpOnly" in session
    elsewhere = Browser(httpx.AsyncClient(transport=browser.console._transport, base_url=CONSOLE), browser.company)
    page = await elsewhere.console.get("/sign-in/company")
    assert page.status_code == 400 and "https://pflege.firma.example" in page.text


async def test_signing_in_is_noted_with_the_user_and_the_way(
    browser_of: Browsers, provider: OpenIdProvider, password: str
) -> None:
    with structlog.testing.capture_logs() as noted:
        browser = browser_of()
        await browser.sign_in()
        await browser_of().console.post("/sign-in", data={"name": "u.admin", "password": password})
    entered = [(line["way"], line["user_id"]) for line in noted if line["action"] == "signed_in"]
    assert [way for way, _ in entered] == ["company account", "password"] and entered[0][1] != entered[1][1]
    assert browser.console.cookies["kp_session"] not in repr(noted)


async def test_without_a_provider_there_is_no_button_and_no_such_page(database: Database) -> None:
    settings = Settings(database_url=SecretStr("sqlite://"))
    app = build_console(Surroundings(database, settings, SystemClock()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=CONSOLE) as client:
        assert "Firmenkonto" not in (await client.get("/sign-in")).text
        for path in ("/sign-in/company", "/sign-in/company/answer?code=x&state=x"):
            assert (await client.get(path)).status_code == 404
