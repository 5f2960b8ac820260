"""Return paths: what was made here is read again, in any case, and nothing else is (S32)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mailer.compose import message_ids
from shared.domain.link_tokens import LinkTokens, Purpose
from shared.domain.return_paths import ReturnPaths, common_sender
from shared.errors import InvalidSettings
from shared.settings import load_settings

TOKENS = LinkTokens(["a secret of return paths for tests only"])
PATHS = ReturnPaths("bounce@mail.firma.example", TOKENS)


@given(st.integers(0, 2**63 - 1), st.data())
def test_s32_an_address_gives_its_order_back_however_it_is_written(order_id: int, data: st.DataObject) -> None:
    address = PATHS.of(order_id)
    local = address.rpartition("@")[0]
    assert len(local) <= 64 and address == address.lower() and address.isascii()
    cases = data.draw(st.lists(st.booleans(), min_size=len(address), max_size=len(address)))
    mixed = "".join(one.upper() if upper else one for one, upper in zip(address, cases, strict=True))
    assert PATHS.order_of(mixed) == order_id
    cut = data.draw(st.integers(1, len(local) - 1))
    assert PATHS.order_of(f"{local[:-cut]}@mail.firma.example") is None
    assert PATHS.order_of(f"{local[cut:]}@mail.firma.example") is None


@given(st.text(max_size=80))
def test_s32_nothing_else_is_an_address_of_ours(text: str) -> None:
    for address in (text, f"bounce+{text}@mail.firma.example", f"bounce+{text}"):
        assert PATHS.order_of(address) is None


def test_s32_a_token_for_something_else_is_no_return_path() -> None:
    link = TOKENS.sign_id(Purpose.PREFERENCES, 17)
    assert PATHS.order_of(f"bounce+{link}@mail.firma.example") is None
    assert common_sender(PATHS.of(1)) == common_sender(PATHS.of(2)) == "bounce@mail.firma.example"


@pytest.mark.parametrize("base", ["bounce", "a+b@x.example", "b" * 22 + "@x.example", "ü@x.example", "@x.example", ""])
def test_an_address_for_bounces_that_cannot_be_one_is_refused(base: str) -> None:
    with pytest.raises(InvalidSettings, match="KP_BOUNCE_ADDRESS"):
        ReturnPaths(base, TOKENS)


def test_an_address_for_bounces_in_an_international_domain() -> None:
    assert ReturnPaths("bounce@müller.example", TOKENS).of(1).endswith("@xn--mller-kva.example")


def test_settings_need_a_secret_with_it() -> None:
    with pytest.raises(InvalidSettings, match="KP_LINK_KEYS: is needed"):
        load_settings({"KP_BOUNCE_ADDRESS": "bounce@mail.firma.example"})
    given_values = {"KP_BOUNCE_ADDRESS": "bounce@mail.firma.example", "KP_LINK_KEYS": "0123456789abcdef" * 2}
    assert load_settings(given_values).return_paths() is not None
    assert load_settings({}).return_paths() is None


def test_a_message_id_names_its_order() -> None:
    from uuid import UUID

    first = message_ids(UUID(int=1), "firma.example")(17)
    assert first.startswith("<order-17.") and first != message_ids(UUID(int=2), "firma.example")(17)
