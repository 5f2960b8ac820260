"""All failure policy as a table: what each answer, and each silence, means at each stage."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mailer.outcome import (
    SENDER_REFUSALS,
    ConnectFailure,
    Deferred,
    Refused,
    Reply,
    Sent,
    Stage,
    Unclear,
    backoff_seconds,
    judge_connect,
    judge_reply,
    judge_sender_refused,
    judge_trouble,
    one_line,
)

BEFORE_DOT = [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.BODY]


@pytest.mark.parametrize(
    ("stage", "code"), [(Stage.MAIL, 250), (Stage.RCPT, 250), (Stage.RCPT, 251), (Stage.DATA, 354)]
)
def test_the_expected_answer_goes_on(stage: Stage, code: int) -> None:
    assert judge_reply(stage, Reply(code, "ok")) is None


@pytest.mark.parametrize("code", [200, 250, 252, 299])
def test_any_2xx_to_the_dot_is_sent(code: int) -> None:
    assert judge_reply(Stage.DOT, Reply(code, "queued as 7")) == Sent(code, "queued as 7")


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("code", [450, 451, 452])
def test_i14_4xx_is_tried_later(stage: Stage, code: int) -> None:
    assert judge_reply(stage, Reply(code, "later")) == Deferred(f"{stage}: {code} later", code)


@pytest.mark.parametrize("stage", list(Stage))
def test_421_is_the_relays_trouble_and_never_unclear(stage: Stage) -> None:
    assert judge_reply(stage, Reply(421, "bye")) == Deferred(f"{stage}: 421 bye", 421, relay_trouble=True)


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("code", [550, 551, 552, 553, 554])
def test_i14_5xx_is_refused(stage: Stage, code: int) -> None:
    assert judge_reply(stage, Reply(code, "no")) == Refused(f"{stage}: {code} no", code, of_sender=stage is Stage.MAIL)


@pytest.mark.parametrize("stage", BEFORE_DOT)
def test_i5_trouble_before_the_dot_is_never_unclear(stage: Stage) -> None:
    assert judge_trouble(stage, "connection lost") == Deferred(f"{stage}: connection lost")
    assert isinstance(judge_reply(stage, Reply(300, "what?")), Deferred)


def test_data_needs_354() -> None:
    assert isinstance(judge_reply(Stage.DATA, Reply(250, "ok")), Deferred)


@pytest.mark.parametrize("code", [300, 354, 399])
def test_i4_an_unusable_answer_to_the_dot_is_unclear(code: int) -> None:
    assert isinstance(judge_reply(Stage.DOT, Reply(code, "hm")), Unclear)
    assert isinstance(judge_trouble(Stage.DOT, "connection lost"), Unclear)


@pytest.mark.parametrize(
    ("failure", "counts"), [(ConnectFailure.AWAY, True), (ConnectFailure.TLS, False), (ConnectFailure.AUTH, False)]
)
def test_no_connection_is_the_relays_trouble_and_setup_does_not_count(failure: ConnectFailure, counts: bool) -> None:
    found = judge_connect(failure, "no")
    assert found == Deferred(f"{failure}: no", relay_trouble=True, counts=counts)


def test_a_sender_refused_again_and_again_fails_no_more_letters() -> None:
    refused = Refused("MAIL FROM: 553 no", 553, of_sender=True)
    assert judge_sender_refused(refused, SENDER_REFUSALS - 1, SENDER_REFUSALS - 1) == refused
    waits = Deferred(refused.reason, 553, relay_trouble=True, counts=False)
    assert judge_sender_refused(refused, SENDER_REFUSALS, SENDER_REFUSALS) == waits
    assert judge_sender_refused(refused, 1, SENDER_REFUSALS) == waits
    # Others were accepted in between: only this sender is in trouble.
    assert judge_sender_refused(refused, SENDER_REFUSALS, 1) == Deferred(refused.reason, 553, counts=False)


def test_i16_backoff_doubles_from_5_to_67_minutes() -> None:
    class Middle(Random):
        def uniform(self, a: float, b: float) -> float:
            return (a + b) / 2

    minutes = [round(backoff_seconds(attempt, 300, Middle()) / 60) for attempt in range(1, 8)]
    assert minutes == [5, 10, 20, 40, 67, 67, 67]


@given(st.integers(1, 10_000), st.floats(0.01, 1000), st.randoms())
def test_backoff_stays_within_its_jitter(attempt: int, base: float, random: Random) -> None:
    seconds = backoff_seconds(attempt, base, random)
    assert 0.8 * base * 0.999 <= seconds <= 1.2 * base * (40 / 3) * 1.001


@given(st.text(max_size=2000))
def test_a_servers_words_become_one_short_printable_line(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert len(line) <= 300


@given(st.sampled_from(Stage), st.integers(200, 599), st.text(max_size=400))
def test_reasons_are_one_short_line(stage: Stage, code: int, text: str) -> None:
    for found in (judge_reply(stage, Reply(code, text)), judge_trouble(stage, text)):
        if isinstance(found, Deferred | Refused | Unclear):
            assert found.reason.isprintable()
            assert len(found.reason) <= 300
