"""Settings that contradict each other are refused at the start."""

import pytest

from shared.errors import InvalidSettings
from shared.settings import load_settings


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
