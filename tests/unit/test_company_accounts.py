"""What a sign-in with a company account is made of, before anybody is asked (S22)."""

import builtins
import hashlib
from typing import Any

import pytest

from services.console.openid import open_provider
from services.console.openid.attempt import Attempt
from services.console.openid.documents import Documents
from shared.errors import InvalidSettings
from shared.settings import load_settings
from tests.openid_provider import base64_of

GIVEN = {
    "KP_CONSOLE_URL": "https://pflege.firma.example",
    "KP_OIDC_ISSUER": "https://konto.firma.example",
    "KP_OIDC_CLIENT_ID": "kontaktpflege",
    "KP_OIDC_CLIENT_SECRET": "geheim",
}


def test_without_settings_there_is_no_provider() -> None:
    assert open_provider(load_settings({})) is None
    assert open_provider(load_settings({"KP_CONSOLE_URL": "https://pflege.firma.example"})) is None
    assert open_provider(load_settings({**dict.fromkeys(GIVEN, ""), "KP_OIDC_CLIENT_SECRET": ""})) is None


def test_the_registration_is_what_the_settings_say() -> None:
    provider = open_provider(load_settings({**GIVEN, "KP_CONSOLE_URL": "https://firma.example/pflege/"}))
    assert provider is not None
    known = provider.registration
    assert known.answer_url == "https://firma.example/pflege/sign-in/company/answer"
    assert known.is_secure and known.user_claim == "preferred_username" and known.scope == "openid profile"
    assert "geheim" not in repr(known)


@pytest.mark.parametrize("missing", GIVEN)
def test_half_of_the_settings_is_refused_and_the_missing_one_named(missing: str) -> None:
    with pytest.raises(InvalidSettings, match=missing) as refused:
        load_settings({**GIVEN, missing: ""})
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize("name", ["KP_OIDC_ISSUER", "KP_CONSOLE_URL"])
@pytest.mark.parametrize(
    "address",
    [
        "http://konto.firma.example",
        "http://127.evil.example",
        "http://localhost.evil.example",
        "http://10.0.0.1",
        "ftp://konto.firma.example",
        "konto.firma.example",
        "https://",
        "https://u:geheim@konto.firma.example",
        "https://konto.firma.example?x=1",
        "https://konto.firma.example#x",
        "https://[konto",
        "https://konto.firma.example:x",
    ],
)
def test_s22_an_address_where_somebody_may_read_along_is_refused(name: str, address: str) -> None:
    with pytest.raises(InvalidSettings, match=name) as refused:
        load_settings({**GIVEN, name: address})
    assert "geheim" not in str(refused.value)


def test_s22_only_a_provider_of_this_machine_is_asked_without_encryption() -> None:
    local, remote = Documents("http://127.0.0.1:9000"), Documents("https://konto.firma.example")
    assert local.may_ask("http://127.0.0.1:9000/keys") and local.may_ask("https://konto.firma.example/keys")
    assert remote.may_ask("https://schluessel.example/keys")
    for address in ("http://127.0.0.1/keys", "http://konto.firma.example/keys", "file:///etc/passwd", ""):
        assert not remote.may_ask(address), address
    assert not local.may_ask("http://127.0.0.1.evil.example/keys")


def test_a_missing_extra_is_named_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "services.console.openid.provider":
            raise ModuleNotFoundError("No module named 'joserfc'", name="joserfc")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InvalidSettings, match=r"KP_OIDC_ISSUER: .*joserfc.*kontaktpflege\[oidc\]"):
        open_provider(load_settings(GIVEN))
    assert open_provider(load_settings({})) is None


def test_s22_all_of_an_attempt_comes_from_its_browsers_secret() -> None:
    attempt, other = Attempt.begin("/jobs?status=An&q=Grüße"), Attempt.begin("/")
    made = {attempt.secret, attempt.state, attempt.nonce, attempt.verifier, attempt.challenge}
    assert len(made) == 5 and all(len(one) == 43 for one in made)
    assert attempt.challenge == base64_of(hashlib.sha256(attempt.verifier.encode()).digest())
    assert Attempt.unpack(attempt.pack()) == attempt
    assert attempt.is_answered_by(attempt.state) and not attempt.is_answered_by(other.state)
    for foreign in ("", "é", attempt.state[:-1], attempt.secret):
        assert not attempt.is_answered_by(foreign)


@pytest.mark.parametrize("value", ["", ".", "x" * 43 + ".!", "x" * 42 + ".Lw", "x" * 43 + "._w", '"', "ä"])
def test_a_cookie_that_is_none_of_ours_is_no_attempt(value: str) -> None:
    found = Attempt.unpack(value)
    assert found is None or found.to == ""
