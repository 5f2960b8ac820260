"""Settings that contradict each other are refused at the start; which addresses are this machine's."""

import pytest

from shared.errors import InvalidSettings
from shared.settings import is_loopback, load_settings, without_password


@pytest.mark.parametrize(
    "given",
    [{"KP_REPLY_LEASE_SECONDS": "599"}, {"KP_SMTP_FINAL_TIMEOUT_SECONDS": "901"}],
)
def test_i5_a_reply_lease_that_ends_before_the_wait_for_the_answer_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(InvalidSettings) as refused:
        load_settings(given)
    said = str(refused.value)
    assert "KP_REPLY_LEASE_SECONDS" in said and "KP_SMTP_FINAL_TIMEOUT_SECONDS" in said and "raise the first" in said


def test_i5_a_reply_lease_as_long_as_the_wait_is_taken() -> None:
    settings = load_settings({"KP_REPLY_LEASE_SECONDS": "600"})
    assert settings.kp_reply_lease_seconds == settings.kp_smtp_final_timeout_seconds


def test_s10_a_loopback_address_is_a_number_or_localhost() -> None:
    for url in ("http://127.0.0.1", "smtp://127.1.2.3:25", "http://[::1]:8080", "smtp://localhost"):
        assert is_loopback(url), url
    for url in ("smtp://127.evil.example", "smtp://localhost.example", "smtp://10.0.0.1", "smtp://", "127.0.0.1"):
        assert not is_loopback(url), url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:geheim@h:5432/d", "postgresql://u:***@h:5432/d"),
        ("postgresql://u:ge/h#e?i@m@h/d", "postgresql://u:***@h/d"),
        (
            "postgresql://u@h/d?sslpassword=geheim&x=1&password=geheim",
            "postgresql://u@h/d?sslpassword=***&x=1&password=***",
        ),
        (
            "amqp://a%40b:geheim@one,amqps://u:geheim@[::1]:5671/%2F",
            "amqp://a%40b:***@one,amqps://u:***@[::1]:5671/%2F",
        ),
        ("amqp://u:geheim@one:5672,two:5672/v", "amqp://u:***@one:5672,two:5672/v"),
        ("smtp://u@h:25", "smtp://u@h:25"),
        ("sqlite:////a/b", "sqlite:////a/b"),
    ],
)
def test_i22_an_address_is_shown_without_any_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
