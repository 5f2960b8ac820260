"""What a letter's trace tells: outcome, stage and class of the reply, never the server's words (I22)."""

import asyncio
from collections.abc import Callable, Sequence

from services.mailer.outcome import ConnectFailure, NotHandedOver, Outcome, Refused, Sent, Stage, Unclear
from shared import traces
from shared.bus.interface import Delivery
from shared.db.write_orders.outcomes import Settlement
from shared.traces import NOTHING, Span

_STAGES = frozenset((*Stage, *ConnectFailure))
#: Outcomes that a person should look at.
_ERRORS = ("refused", "unclear")


def begin_letter(order_id: int, doorbells: Sequence[Delivery], claimed_from: int) -> Span:
    """The span of a letter that was just claimed, in its doorbell's trace.

    It begins with the claim of its batch, at `claimed_from` (ns since 1970), which is its first step.
    """
    if not traces.on():
        return NOTHING
    traceparent = next((bell.traceparent for bell in doorbells if bell.traceparent), None)
    letter = traces.begin("deliver", traceparent, start=claimed_from, kind="consumer", order=order_id)
    if not letter.recording:
        return NOTHING
    letter.begin("claim", start=claimed_from).end()
    # Unless its settlement says better.
    letter.note(outcome="given back")
    return letter


def tell_not_claimed(order_id: int, doorbells: Sequence[Delivery], claimed_from: int) -> None:
    """The claim did not take this order: its row says why."""
    letter = begin_letter(order_id, doorbells, claimed_from)
    letter.note(outcome="not claimed")
    letter.end()


def ending(letter: Span, release: Callable[[], None]) -> Callable[[], None]:
    """`release`, which is called once a letter is dealt with, and the end of its span."""
    if not letter.recording:
        return release

    def released() -> None:
        release()
        letter.end()

    return released


def tell_outcome(sending: Span, outcome: Outcome | NotHandedOver) -> None:
    """What came of a try to hand a letter over."""
    if not sending.recording:
        return
    match outcome:
        case Sent(code=code):
            _tell(sending, "sent", code, None)
        case Refused(reason=reason, code=code):
            _tell(sending, "refused", code, reason)
        case Unclear(reason=reason):
            _tell(sending, "unclear", None, reason)
        case NotHandedOver(reason=reason):
            _tell(sending, "not handed over", None, reason)
        case _:
            _tell(sending, "deferred", outcome.code, outcome.reason)


def follow_settlement(letter: Span, settlement: Settlement, settled: "asyncio.Future[bool]") -> None:
    """The settlement as a step of its letter: from when it waits for its group until that is committed."""
    if not letter.recording:
        return
    settling = letter.begin("settle", outcome=settlement.outcome)

    def done(future: "asyncio.Future[bool]") -> None:
        broken = "cancelled" if future.cancelled() else type(exc).__name__ if (exc := future.exception()) else None
        if broken is None:
            _tell(letter, settlement.outcome, settlement.code, settlement.reason)
            # Another claim had taken the order over: the row went another way.
            settling.note(late=None if future.result() else True)
        else:
            settling.fail(broken)
        settling.end()
        if future.cancelled():  # the mailer ends, and nobody tries again
            letter.note(outcome="not settled")
            letter.fail("not settled")
            letter.end()

    settled.add_done_callback(done)


def _tell(span: Span, outcome: str, code: int | None, reason: str | None) -> None:
    stage = (reason or "").partition(":")[0]
    stage = stage if stage in _STAGES else ""
    smtp_class = str(code)[0] if code else None
    span.note(outcome=outcome, stage=stage or None, smtp_class=smtp_class)
    if outcome in _ERRORS:
        span.fail(" ".join(filter(None, (outcome, stage, smtp_class and f"{smtp_class}xx"))))
