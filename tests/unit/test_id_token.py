"""Which ID tokens prove who somebody is (S22): one that does, and every way in which another does not."""

import hashlib
import hmac
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from services.console.openid.attempt import NotTrusted
from services.console.openid.id_token import Expected, UnknownKey, name_in, usable_keys, verified_claims
from tests.openid_provider import base64_of, new_key, signed, unsigned

NOW = 1_800_000_000.5
EXPECTED = Expected("https://firma.example", "kontaktpflege", "nonce-of-this-sign-in")
CLAIMS = {
    "iss": "https://firma.example",
    "sub": "4711",
    "aud": "kontaktpflege",
    "iat": int(NOW),
    "exp": int(NOW) + 300,
    "nonce": "nonce-of-this-sign-in",
    "preferred_username": "a.weber",
}
KEY, OTHER = new_key("one"), new_key("two")


def published(*keys: Any) -> list[Any]:
    return usable_keys({"keys": [key.as_dict(private=False) for key in keys]})


def judged(token: str, *keys: Any) -> dict[str, Any]:
    return verified_claims(token, published(*(keys or (KEY,))), EXPECTED, NOW)


def without(*names: str) -> dict[str, Any]:
    return {key: value for key, value in CLAIMS.items() if key not in names}


def test_s22_a_token_in_order_is_taken_with_rsa_and_elliptic_keys() -> None:
    curve = ECKey.generate_key("P-256", {"kid": "curve"})
    assert judged(signed(CLAIMS, KEY), OTHER, KEY)["preferred_username"] == "a.weber"
    assert judged(signed(CLAIMS, curve), KEY, curve)["sub"] == "4711"
    assert judged(signed(CLAIMS, KEY, {"typ": "JWT", "rh": "a header that we do not know"}))["sub"] == "4711"
    several = {**CLAIMS, "aud": ["kontaktpflege", "wiki"], "azp": "kontaktpflege"}
    assert judged(signed(several, KEY))["sub"] == "4711"


def test_s22_a_key_without_a_name_is_the_only_one() -> None:
    token = jwt.encode({"alg": "RS256"}, CLAIMS, KEY)
    assert judged(token, KEY)["sub"] == "4711"
    with pytest.raises(NotTrusted, match="no key is named"):
        judged(token, KEY, OTHER)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"nonce": "of another sign-in"}, "nonce"),
        ({"nonce": ["nonce-of-this-sign-in"]}, "nonce"),
        ({"nonce": ""}, "nonce"),
        ({"iss": "https://firma.example.evil.example"}, "invalid_claim: iss"),
        ({"iss": "https://firma.example/"}, "invalid_claim: iss"),
        ({"iss": ["https://firma.example"]}, "invalid_claim: iss"),
        ({"aud": "wiki"}, "invalid_claim: aud"),
        ({"aud": ["wiki", "mail"]}, "invalid_claim: aud"),
        ({"aud": []}, "invalid_claim: aud"),
        ({"aud": ["kontaktpflege", "wiki"]}, "azp"),
        ({"azp": "wiki"}, "azp"),
        ({"exp": int(NOW) - 61}, "expired_token: exp"),
        ({"exp": "2100-01-01"}, "invalid_claim: exp"),
        ({"exp": float("nan")}, "invalid_claim: exp"),
        ({"iat": int(NOW) + 120}, "invalid_claim: iat"),
        ({"nbf": int(NOW) + 120}, "invalid_claim: nbf"),
        ({"sub": ""}, "invalid_claim: sub"),
    ],
)
def test_s22_a_claim_that_is_not_ours_is_refused(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotTrusted, match=reason):
        judged(signed({**CLAIMS, **changed}, KEY))


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "exp", "iat", "nonce"])
def test_s22_a_claim_that_must_be_there_is_missed(name: str) -> None:
    with pytest.raises(NotTrusted, match=name):
        judged(signed(without(name), KEY))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", ""])
def test_s22_no_signature_is_refused(algorithm: str) -> None:
    head, body = unsigned({"alg": algorithm, "kid": "one"}, CLAIMS)
    for signature in ("", signed(CLAIMS, KEY).rpartition(".")[2]):
        with pytest.raises(NotTrusted, match="algorithm"):
            judged(f"{head}.{body}.{signature}")


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_s22_the_public_key_is_no_secret_to_sign_with(algorithm: str) -> None:
    head, body = unsigned({"alg": algorithm, "kid": "one"}, CLAIMS)
    for secret in (KEY.as_pem(private=False), KEY.as_der(private=False), str(KEY.as_dict(private=False)["n"]).encode()):
        digest = getattr(hashlib, f"sha{algorithm[2:]}")
        signature = base64_of(hmac.new(secret, f"{head}.{body}".encode(), digest).digest())
        with pytest.raises(NotTrusted, match="algorithm"):
            judged(f"{head}.{body}.{signature}")


def test_s22_a_foreign_key_is_refused_by_whatever_name() -> None:
    with pytest.raises(UnknownKey):
        judged(signed(CLAIMS, OTHER), KEY)
    with pytest.raises(NotTrusted, match="bad_signature"):
        judged(signed(CLAIMS, OTHER, {"kid": "one"}), KEY)
    # A key that the token brings along, or says where to fetch, counts for nothing.
    brought = {"jwk": OTHER.as_dict(private=False), "jku": "https://evil.example/keys"}
    for header in ({**brought, "kid": "one"}, {**brought, "kid": "two"}):
        with pytest.raises(NotTrusted):
            judged(signed(CLAIMS, OTHER, header), KEY)


def test_s22_a_changed_token_is_refused() -> None:
    head, body, signature = signed(CLAIMS, KEY).split(".")
    other_body = unsigned({}, {**CLAIMS, "preferred_username": "admin"})[1]
    no_tokens = ("", "a", "a.b", "..", "....", f"{head}.{body}", f"{head}.{body}.", f"{head}..{signature}", "ä.ö.ü")
    for token in (f"{head}.{other_body}.{signature}", f"{head}.{body}.{signature[:-8]}", *no_tokens):
        with pytest.raises(NotTrusted):
            judged(token)
    with pytest.raises(NotTrusted):
        judged(signed(CLAIMS, KEY, {"crit": ["strange"], "strange": "must be understood"}))


def test_s22_keys_for_other_things_sign_nothing() -> None:
    secret = OctKey.generate_key(256, {"kid": "secret"})
    with pytest.warns(UserWarning):
        short = RSAKey.generate_key(1024, {"kid": "short"})
    listed = [
        {**KEY.as_dict(private=False), "use": "enc"},
        secret.as_dict(private=True),
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kty": "AKP", "kid": "of tomorrow"},
        "no key",
        {},
    ]
    assert usable_keys({"keys": listed}) == [] and usable_keys({"keys": "x"}) == [] and usable_keys({}) == []
    with pytest.warns(UserWarning):
        assert published(short) == []
    other_algorithm = {**KEY.as_dict(private=False), "alg": "PS256"}
    with pytest.raises(UnknownKey):
        verified_claims(signed(CLAIMS, KEY), usable_keys({"keys": [other_algorithm]}), EXPECTED, NOW)


def test_s22_a_reason_says_nothing_of_the_token() -> None:
    for token in (signed({**CLAIMS, "aud": "geheim"}, KEY), signed(CLAIMS, KEY, {"kid": "geheim"}), "geheim.geheim."):
        with pytest.raises(NotTrusted) as refused:
            judged(token)
        assert "geheim" not in str(refused.value) and "a.weber" not in str(refused.value)


@pytest.mark.parametrize(
    "name",
    [None, "", 7, ["a.weber"], "x" * 201, "a.weber\n", "a\u200bweber", "a\x00"],
    ids=lambda name: repr(name)[:12],
)
def test_s22_a_claim_without_a_usable_name_is_refused(name: object) -> None:
    with pytest.raises(NotTrusted, match="preferred_username"):
        name_in({"preferred_username": name}, "preferred_username")


def test_s22_an_address_counts_once_it_is_verified() -> None:
    assert name_in({"email": "a@firma.example", "email_verified": True}, "email") == "a@firma.example"
    for verified in (None, False, "true", 1):
        with pytest.raises(NotTrusted, match="not verified"):
            name_in({"email": "a@firma.example", "email_verified": verified}, "email")
