"""What is asked of the provider, and what becomes of a provider that answers otherwise (S22)."""

import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from joserfc.jwk import ECKey
from starlette.responses import JSONResponse, RedirectResponse, Response

from services.console.openid.registration import ANSWER_PATH
from tests.openid_provider import CLIENT_SECRET, OpenIdProvider
from tests.services.command_line import CommandLine
from tests.services.company_accounts.browsers import (
    UNVERIFIED,
    Browsers,
    refused,
)


async def test_s22_new_keys_are_fetched_when_a_token_names_one_and_not_at_every_other(
    browser_of: Browsers, provider: OpenIdProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    await browser_of().sign_in()
    provider.keys = [ECKey.generate_key("P-256", {"kid": "newer"}), *provider.keys]
    # Fetched just now: a token with a made-up key name does not make us ask again.
    await refused(browser := browser_of(), await browser.sign_in(), 401, UNVERIFIED)
    assert provider.asked.count("/keys") == 1
    monkeypatch.setattr("services.console.openid.provider.ASK_AGAIN_SECONDS", 0.0)
    browser = browser_of()
    await browser.sign_in()
    assert await browser.who() == "Person u.edit"
    assert (provider.asked.count("/keys"), provider.asked.count("/.well-known/openid-configuration")) == (2, 1)


async def test_s22_the_secret_goes_into_the_form_where_the_provider_wants_it_there(
    browser_of: Browsers, provider: OpenIdProvider
) -> None:
    provider.discovery = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    browser = browser_of()
    await browser.sign_in()
    assert await browser.who() == "Person u.edit"


async def test_another_claim_may_have_the_name(browser_of: Browsers, provider: OpenIdProvider) -> None:
    provider.user, provider.claims = "somebody", {"email": "u.edit", "email_verified": True}
    browser = browser_of(KP_OIDC_USER_CLAIM="email")
    assert "scope=openid+email" in (await browser.leave()).headers["location"]
    await browser.sign_in()
    assert await browser.who() == "Person u.edit"


@pytest.mark.parametrize(
    ("place", "answer"),
    [
        ("/token", lambda: JSONResponse({"error": "invalid_client"}, 401)),
        ("/token", lambda: RedirectResponse("/keys", 307)),
        ("/token", lambda: Response(b"[]")),
        ("/token", lambda: Response(b"{" + b" " * 300_000)),
        ("/keys", lambda: RedirectResponse("http://127.0.0.1:9/keys")),
        ("/keys", lambda: Response(b'{"keys": []' + b" " * 300_000)),
        ("/.well-known/openid-configuration", lambda: RedirectResponse("/keys")),
        ("/.well-known/openid-configuration", lambda: Response(b"<html>")),
        ("/.well-known/openid-configuration", lambda: Response(status_code=500)),
    ],
)
async def test_s22_a_provider_that_answers_otherwise_is_not_followed(
    browser_of: Browsers, provider: OpenIdProvider, place: str, answer: Callable[[], Response]
) -> None:
    provider.instead[place] = answer
    browser = browser_of()
    left = await browser.leave()
    if left.status_code == 303:
        left = await browser.console.get(await browser.visit_provider(left.headers["location"]))
    await refused(browser, left, 503, "antwortet nicht, wie er soll")
    if place != "/keys":
        assert "/keys" not in provider.asked


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "http://127.0.0.1:1"},
        {"issuer": None},
        {"token_endpoint": "http://konto.firma.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": None},
    ],
)
async def test_s22_a_discovery_document_that_is_not_the_settings_is_refused(
    browser_of: Browsers, provider: OpenIdProvider, changed: dict[str, Any]
) -> None:
    provider.discovery, browser = changed, browser_of("en")
    await refused(browser, await browser.leave(), 503, "does not answer as it should")


async def test_s22_a_provider_that_hangs_is_waited_for_a_bounded_time(
    browser_of: Browsers, provider: OpenIdProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.console.openid.documents.WHOLE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        browser = browser_of(KP_OIDC_ISSUER=f"http://127.0.0.1:{silent.getsockname()[1]}")
        await refused(browser, await browser.leave(), 503, "antwortet nicht, wie er soll")


async def test_s22_a_certificate_is_verified_before_anything_is_asked(
    certificate: ssl.SSLContext, browser_of: Browsers
) -> None:
    with OpenIdProvider("localhost", tls=certificate) as named, OpenIdProvider(tls=certificate) as other:
        browser = browser_of(KP_OIDC_ISSUER=named.issuer)
        await browser.sign_in()
        assert await browser.who() == "Person u.edit"
        # The certificate is localhost's.
        browser = browser_of(KP_OIDC_ISSUER=other.issuer)
        await refused(browser, await browser.leave(), 503, "antwortet nicht, wie er soll")
        assert other.asked == []


def test_doctor_asks_the_provider_and_names_the_address_to_register(
    cli: CommandLine, provider: OpenIdProvider, closed_port: int
) -> None:
    given = provider.settings("http://127.0.0.1:8080")
    line = f"ok    company accounts: {provider.issuer}, 1 keys; it has to know http://127.0.0.1:8080{ANSWER_PATH}"
    assert line in cli("doctor", **given).out
    assert "company accounts" not in cli("doctor").out
    for changed, reason in (
        ({"KP_OIDC_ISSUER": f"http://127.0.0.1:{closed_port}"}, "does not answer"),
        ({"KP_OIDC_ISSUER": f"{provider.issuer}/"}, f"it calls itself '{provider.issuer}', not as KP_OIDC_ISSUER"),
    ):
        answer = cli("doctor", **{**given, **changed})
        (told,) = (line for line in answer.out.splitlines() if "company accounts" in line)
        assert answer.code == 1 and told.startswith("FAIL") and reason in told
        assert CLIENT_SECRET not in answer.out + answer.err
