"""Everything that must let nobody in, over a real provider (S22)."""

import hashlib
import hmac
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import structlog
from sqlalchemy import delete, func, select, update

from shared.clock import SystemClock
from shared.db.engine import Database
from shared.db.tables import users
from shared.db.user_commands import create_user
from shared.domain.text import fold
from tests.openid_provider import OpenIdProvider, base64_of, new_key, signed, unsigned
from tests.services.company_accounts.browsers import NOT_BEGUN_HERE, UNVERIFIED, Browsers, refused, sessions

FOREIGN_KEY, UNKNOWN_KEY = new_key("first"), new_key("second")
OTHER_SITES = (
    "https://evil.example/",
    "//evil.example",
    "/\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "\\\\evil.example",
    "javascript:alert(1)",
    "evil",
)


async def test_s22_a_name_that_is_no_users_lets_nobody_in(
    browser_of: Browsers, database: Database, provider: OpenIdProvider
) -> None:
    """Nor does one that folds to a user's, but is another's at the provider."""
    now = SystemClock().now()
    await create_user(database, "k.strauss", display_name="K", email=None, role="admin", author="test", now=now)
    alike = ["k.strauß", "k.ſtrauss", "\u212a.strauss", "k.ﬆrauss", " k.strauss ", "Mu\u0308ller", "MÜLLER"]
    assert {fold(name) for name in alike} == {"k.strauss", "müller"}
    for name in (*alike, "u.nobody", "u.edıt", "ｕ.edit", "u.admin\u00ad"):
        provider.user, browser = name, browser_of()
        answer = await browser.sign_in()
        assert answer.status_code in (401, 403) and "kp_session" not in answer.headers.get("set-cookie", ""), name
        assert await browser.who() == "" and await sessions(database) == 0, name
    async with database.read() as connection:
        count = (await connection.execute(select(func.count()).select_from(users))).scalar_one()
    assert count == 4  # nobody is created
    for name, person in (("Müller", "Person Müller"), ("K.Strauss", "K")):
        provider.user, browser = name, browser_of()
        await browser.sign_in()
        assert await browser.who() == person


async def test_s22_a_user_who_is_removed_meanwhile_is_not_let_in_nor_stays(
    browser_of: Browsers, database: Database
) -> None:
    browser, late = browser_of(), browser_of()
    await browser.sign_in()
    left = await late.leave()
    async with database.begin() as connection:
        await connection.execute(update(users).where(users.c.name == "u.edit").values(name="x", name_folded="x"))
    answer = await late.console.get(await late.visit_provider(left.headers["location"]))
    await refused(late, answer, 403, "u.edit")
    assert await browser.who() == "Person u.edit"
    async with database.begin() as connection:
        await connection.execute(delete(users).where(users.c.name == "x"))
    assert await browser.who() == ""


@pytest.mark.parametrize("changed", [{"nonce": "x" * 43}, {"nonce": None}, {"iss": "https://evil.example"}])
async def test_s22_a_token_of_another_sign_in_or_issuer_is_refused(
    browser_of: Browsers, provider: OpenIdProvider, changed: dict[str, Any]
) -> None:
    provider.claims, browser = changed, browser_of()
    await refused(browser, await browser.sign_in(), 401, UNVERIFIED)


@pytest.mark.parametrize("changed", [{"aud": "wiki"}, {"exp": 1_600_000_000}, {"preferred_username": None}])
async def test_s22_a_token_for_another_or_of_yesterday_is_refused(
    browser_of: Browsers, provider: OpenIdProvider, changed: dict[str, Any]
) -> None:
    provider.claims, browser = changed, browser_of("en")
    await refused(browser, await browser.sign_in(), 401, "could not be verified")


def forged(kind: str, claims: dict[str, Any], provider: OpenIdProvider) -> str:
    if kind == "foreign key":
        return signed(claims, FOREIGN_KEY)
    if kind == "unknown key":
        return signed(claims, UNKNOWN_KEY)
    head, body = unsigned({"alg": kind, "kid": "first"}, claims)
    if kind == "none":
        return f"{head}.{body}."
    public = provider.keys[0].as_pem(private=False)
    return f"{head}.{body}.{base64_of(hmac.new(public, f'{head}.{body}'.encode(), hashlib.sha256).digest())}"


@pytest.mark.parametrize("kind", ["none", "HS256", "foreign key", "unknown key"])
async def test_s22_a_forged_token_is_refused(browser_of: Browsers, provider: OpenIdProvider, kind: str) -> None:
    provider.token_of = lambda claims: forged(kind, claims, provider)
    browser = browser_of()
    await refused(browser, await browser.sign_in(), 401, UNVERIFIED)


async def test_s22_the_answer_to_another_browser_is_refused_and_ends_nothing(browser_of: Browsers) -> None:
    attacker, victim = browser_of(), browser_of()
    planted = await attacker.visit_provider((await attacker.leave()).headers["location"])
    # Without a sign-in of its own, and in the middle of one.
    await refused(victim, await victim.console.get(planted), 400, NOT_BEGUN_HERE)
    left = await victim.leave()
    await refused(victim, await victim.console.get(planted), 400, NOT_BEGUN_HERE)
    answer = await victim.console.get(await victim.visit_provider(left.headers["location"]))
    assert answer.status_code == 303 and await victim.who() == "Person u.edit"


async def test_s22_a_stolen_code_is_of_no_use_in_another_browser(browser_of: Browsers) -> None:
    """Put into the thief's own answer: the state fits, the proof key does not."""
    victim, thief = browser_of(), browser_of()
    stolen = parse_qs(urlsplit(await victim.visit_provider((await victim.leave()).headers["location"])).query)
    own = parse_qs(urlsplit((await thief.leave()).headers["location"]).query)
    given = {"code": stolen["code"][0], "state": own["state"][0], "iss": stolen["iss"][0]}
    answer = await thief.console.get("/sign-in/company/answer", params=given)
    await refused(thief, answer, 401, UNVERIFIED)


async def test_s22_an_answer_counts_once(browser_of: Browsers, database: Database) -> None:
    browser = browser_of()
    back = await browser.visit_provider((await browser.leave()).headers["location"])
    cookie = browser.console.cookies["kp_company"]
    assert (await browser.console.get(back)).status_code == 303
    browser.console.cookies.clear()
    await refused(browser, await browser.console.get(back), 400, NOT_BEGUN_HERE)
    # Even for somebody who has kept the cookie: the provider has taken the code back.
    browser.console.cookies.set("kp_company", cookie)
    await refused(browser, await browser.console.get(back), 401, UNVERIFIED)
    assert await sessions(database) == 1


async def test_s22_an_answer_that_names_another_issuer_or_none_is_refused(browser_of: Browsers) -> None:
    for named in ("&iss=https%3A%2F%2Fevil.example", ""):
        browser = browser_of()
        back = await browser.visit_provider((await browser.leave()).headers["location"])
        answer = await browser.console.get(back.partition("&iss=")[0] + named)
        await refused(browser, answer, 401, UNVERIFIED)


async def test_s22_no_other_site_is_opened_afterwards(browser_of: Browsers, password: str) -> None:
    for to in OTHER_SITES:
        answer = await browser_of().sign_in(to)
        assert (answer.status_code, answer.headers["location"]) == (303, "/"), to
        form = {"name": "u.admin", "password": password, "to": to}
        assert (await browser_of().console.post("/sign-in", data=form)).headers["location"] == "/", to


async def test_s21_failures_are_counted_and_noted_without_what_was_sent(
    browser_of: Browsers, provider: OpenIdProvider, password: str
) -> None:
    provider.user, browser = "u.nobody", browser_of()
    with structlog.testing.capture_logs() as noted:
        for _ in range(50):
            left = await browser.leave()
            cookie = browser.console.cookies["kp_company"]
            back = await browser.visit_provider(left.headers["location"])
            assert (await browser.console.get(back)).status_code == 403
    assert [line["reason"] for line in noted if line["action"] == "sign_in_refused"] == ["no such user"] * 50
    sent = [cookie, "u.nobody", *(parse_qs(urlsplit(back).query)[name][0] for name in ("code", "state"))]
    assert [one for one in sent if one in repr(noted)] == []
    for answer in (await browser.leave(), await browser.console.get("/sign-in/company/answer")):
        assert answer.status_code == 429 and "Versuche" in answer.text
    # People with passwords behind the same address are slowed down too: it is one throttle.
    page = await browser.console.post("/sign-in", data={"name": "u.admin", "password": password})
    assert page.status_code == 429


async def test_s21_another_site_that_sends_browsers_here_keeps_nobody_out(browser_of: Browsers) -> None:
    browser = browser_of()
    for _ in range(60):
        answer = await browser.console.get("/sign-in/company/answer", params={"code": "x", "state": "x"})
        assert answer.status_code == 400
    assert (await browser.sign_in()).status_code == 303
