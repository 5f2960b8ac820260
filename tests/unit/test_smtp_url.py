"""SMTP_URL: what it says, and what is refused before anything is sent (S10)."""

import pytest

from services.mailer.smtp_address import parse_smtp_url
from shared.errors import InvalidSettings


@pytest.mark.parametrize(
    ("url", "address", "tls"),
    [
        ("smtp://mail.example", "mail.example:25", "none"),
        ("smtps://mail.example", "mail.example:465", "implicit"),
        ("smtp+starttls://u:p%40ss@mail.example", "mail.example:587", "starttls"),
        ("smtp://[::1]:2525", "[::1]:2525", "none"),
    ],
)
def test_an_address_names_host_port_and_tls(url: str, address: str, tls: str) -> None:
    relay = parse_smtp_url(url)
    assert (relay.address, relay.tls) == (address, tls)


def test_a_password_is_decoded_and_never_shown() -> None:
    relay = parse_smtp_url("smtp+starttls://u:p%40ss@mail.example")
    assert (relay.user, relay.password) == ("u", "p@ss")
    assert "p@ss" not in repr(relay)
    assert parse_smtp_url("smtps://u:old@mail.example", "from a file").password == "from a file"


def test_s10_no_password_in_clear_to_another_host() -> None:
    with pytest.raises(InvalidSettings, match="never sent in clear"):
        parse_smtp_url("smtp://user:secret@mail.example")


@pytest.mark.parametrize("url", ["ftp://x", "smtp://", "smtp://h:99999", "mail.example:25", "smtp://h/path"])
def test_an_unusable_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidSettings, match="SMTP_URL"):
        parse_smtp_url(url)
