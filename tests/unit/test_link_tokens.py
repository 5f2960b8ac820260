"""Tokens of links: only what was signed here, for the same purpose, is believed (S25)."""

from base64 import b32decode, b32encode
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import link_tokens
from shared.domain.link_tokens import LONGEST, SUBJECT_BYTES, LinkTokens, Purpose, split_secrets
from shared.errors import InvalidSettings

OLD, NEW = "an older secret of links, at random", "a newer secret of links, at random"
TOKENS = LinkTokens([NEW])
PURPOSE = Purpose.PREFERENCES


class OtherPurpose(StrEnum):
    """What another token is for."""

    OTHER = "other"


OTHER: Any = OtherPurpose.OTHER
SUBJECTS = st.binary(min_size=1, max_size=SUBJECT_BYTES)


@given(SUBJECTS)
def test_s25_a_token_gives_its_subject_back_in_any_case(subject: bytes) -> None:
    token = TOKENS.sign(PURPOSE, subject)
    assert token == TOKENS.sign(PURPOSE, subject) and token.isalnum() and token.islower() and len(token) <= LONGEST
    assert TOKENS.subject_of(PURPOSE, token) == TOKENS.subject_of(PURPOSE, token.upper()) == subject


@given(st.integers(0, 2**63 - 1))
def test_s25_a_token_of_an_id_gives_it_back_and_leaves_room_in_a_local_part(record_id: int) -> None:
    token = TOKENS.sign_id(PURPOSE, record_id)
    assert TOKENS.id_of(PURPOSE, token) == record_id and len(token) == 42


@given(SUBJECTS, SUBJECTS)
def test_s25_a_token_is_none_for_another_purpose_subject_or_house(subject: bytes, other: bytes) -> None:
    token = TOKENS.sign(PURPOSE, subject)
    assert TOKENS.subject_of(OTHER, token) is None
    assert TOKENS.subject_of(PURPOSE, TOKENS.sign(OTHER, subject)) is None
    assert LinkTokens([OLD]).subject_of(PURPOSE, token) is None
    # The signature of one on the subject of another.
    mine, theirs = _raw(token), _raw(TOKENS.sign(PURPOSE, other))
    swapped = _text(mine[:2] + other + mine[-16:])
    assert TOKENS.subject_of(PURPOSE, swapped) == (other if other == subject else None)
    assert TOKENS.subject_of(PURPOSE, _text(theirs)) == other


@given(SUBJECTS, st.data())
def test_s25_a_changed_or_truncated_token_is_refused(subject: bytes, data: st.DataObject) -> None:
    token = TOKENS.sign(PURPOSE, subject)
    cut = data.draw(st.integers(0, len(token) - 1))
    assert TOKENS.subject_of(PURPOSE, token[:cut]) is None and TOKENS.subject_of(PURPOSE, token[cut + 1 :]) is None
    raw = bytearray(_raw(token))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    assert TOKENS.subject_of(PURPOSE, _text(bytes(raw))) is None
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567").filter(lambda one: one != token[place]))
    assert TOKENS.subject_of(PURPOSE, token[:place] + letter + token[place + 1 :]) is None


@given(st.one_of(st.text(), st.text("abcdefghijklmnopqrstuvwxyz234567=", max_size=70)))
def test_s25_what_is_no_token_is_refused_whatever_it_is(text: str) -> None:
    assert TOKENS.subject_of(PURPOSE, text) is None and TOKENS.id_of(PURPOSE, text) is None


def test_s25_a_token_holds_nothing_but_key_subject_and_signature() -> None:
    raw = _raw(TOKENS.sign_id(PURPOSE, 258))
    assert len(raw) == 2 + 8 + 16 and raw[2:10] == bytes(6) + b"\x01\x02" and NEW.encode() not in raw


def test_s25_a_subject_of_another_length_is_no_id() -> None:
    assert TOKENS.id_of(PURPOSE, TOKENS.sign(PURPOSE, b"seven b")) is None
    with pytest.raises(ValueError, match="1 to"):
        TOKENS.sign(PURPOSE, b"")


@given(SUBJECTS)
def test_s25_the_first_secret_signs_and_every_one_is_believed_until_it_is_taken_out(subject: bytes) -> None:
    before, both, after = LinkTokens([OLD]), LinkTokens([NEW, OLD]), LinkTokens([NEW])
    assert both.sign(PURPOSE, subject) == after.sign(PURPOSE, subject) != before.sign(PURPOSE, subject)
    assert both.subject_of(PURPOSE, before.sign(PURPOSE, subject)) == subject
    assert after.subject_of(PURPOSE, before.sign(PURPOSE, subject)) is None


@pytest.mark.parametrize("secrets", [[], [""], ["short"], [NEW, "short"], [NEW, NEW]])
def test_s25_bad_secrets_are_refused_without_being_shown(secrets: list[str]) -> None:
    with pytest.raises(InvalidSettings) as refused:
        LinkTokens(secrets)
    assert not any(secret and secret in str(refused.value) for secret in secrets)


def test_secrets_are_separated_as_people_write_lists() -> None:
    assert split_secrets(" one,two\nthree  four,\n") == ["one", "two", "three", "four"] and not split_secrets(" \n")


def test_s25_signatures_are_compared_in_constant_time_and_once_for_every_token(monkeypatch: pytest.MonkeyPatch) -> None:
    real, compared = link_tokens.hmac.compare_digest, []

    def counting(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(link_tokens.hmac, "compare_digest", counting)
    genuine = TOKENS.sign_id(PURPOSE, 1)
    for token in (genuine, genuine[:-1], "", "ä" * 42, "a" * 42, "=" * 42, "a" * 10_000):
        TOKENS.subject_of(PURPOSE, token)
    assert compared == [(16, 16)] * 7


def _raw(token: str) -> bytes:
    return b32decode(token.upper() + "=" * (-len(token) % 8))


def _text(raw: bytes) -> str:
    return b32encode(raw).rstrip(b"=").lower().decode()
