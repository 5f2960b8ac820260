"""Settings that contradict each other are refused at the start; which addresses are this machine's."""

import pytest

from shared.errors import InvalidSettings
from shared.settings import is_loopback, load_settings


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
