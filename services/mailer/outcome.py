"""All failure policy: what a mail server's answer, or the lack of one, means for an order (I4, I5, I14).

Before the final dot is written nothing can have been accepted: whatever goes wrong there is tried again. After it only
an answer counts, and no answer means `Unclear`, never a second try by itself.
"""

from dataclasses import dataclass
from enum import StrEnum
from random import Random

from shared.records import record

#: Back-off after the first deferral, as a multiple of the configured base, doubling up to this many bases.
LONGEST_BACKOFF = 40 / 3  # 5 minutes -> 67 minutes
JITTER = 0.2
#: From so many 5xx to MAIL FROM in a row on, it is the setup that is wrong, not the letter.
SENDER_REFUSALS = 5
_LONGEST_REASON = 300


class Stage(StrEnum):
    """Where in the conversation something happened."""

    MAIL = "MAIL FROM"
    RCPT = "RCPT TO"
    DATA = "DATA"
    BODY = "body"
    DOT = "end of data"


class ConnectFailure(StrEnum):
    """Why there is no connection to send over."""

    #: Refused, unknown host, silence, or a greeting that is none.
    AWAY = "connect"
    #: STARTTLS not offered or refused, certificate not valid.
    TLS = "TLS"
    #: User or password not accepted, or AUTH not offered.
    AUTH = "AUTH"


@record
class Sent:
    """The server accepted the letter: any 2xx to the final dot."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not accepted, for now. `relay_trouble`: the server itself is the problem, so others should wait too."""

    reason: str
    code: int | None = None
    relay_trouble: bool = False
    #: False where only an operator can help (TLS, AUTH): such a try says nothing about the order.
    counts: bool = True
    #: Seconds until the next try; None: the order's own back-off.
    not_before_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Not accepted, for good. `of_sender`: it was the sender the server refused, which other letters share."""

    reason: str
    code: int | None = None
    of_sender: bool = False


@dataclass(frozen=True, slots=True)
class Unclear:
    """Handed over, answer unknown: a person decides, or the job's `on_unclear` (D37)."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotHandedOver:
    """T2 was not granted: the claim is lost, or something changed since. Nothing was sent, nothing failed."""

    reason: str


Outcome = Sent | Deferred | Refused | Unclear


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply of the server."""

    code: int
    text: str


def judge_reply(stage: Stage, reply: Reply) -> Outcome | None:
    """What a reply at a stage means; None: go on."""
    if stage is Stage.DATA and reply.code == 354:
        return None
    if stage is not Stage.DATA and 200 <= reply.code < 300:
        return Sent(reply.code, one_line(reply.text)) if stage is Stage.DOT else None
    said = one_line(f"{stage}: {reply.code} {reply.text}")
    if reply.code == 421:  # the server closes: its own trouble, and an explicit no
        return Deferred(said, 421, relay_trouble=True)
    if 400 <= reply.code < 500:
        return Deferred(said, reply.code)
    if 500 <= reply.code < 600:
        return Refused(said, reply.code, of_sender=stage is Stage.MAIL)
    return judge_trouble(stage, f"unusable reply {reply.code} {reply.text}")


def judge_trouble(stage: Stage, what: str) -> Outcome:
    """What a lost connection, a timeout, a cancellation or an unusable reply at a stage means."""
    if stage is Stage.DOT:
        return Unclear(one_line(f"handed over to the mail server, answer unknown: {what}"))
    return Deferred(one_line(f"{stage}: {what}"))


def judge_connect(failure: ConnectFailure, what: str) -> Deferred:
    """What a failed connect, TLS or AUTH means: nobody can send, and no letter is to blame."""
    return Deferred(one_line(f"{failure}: {what}"), relay_trouble=True, counts=failure is ConnectFailure.AWAY)


def judge_sender_refused(refused: Refused, of_this_sender: int, of_any_sender: int) -> Outcome:
    """Refused so often in a row, it is the setup that is wrong: the letters wait for an operator.

    Those of this sender only, unless nothing of another one was accepted in between: then the relay is in trouble.
    """
    times_in_a_row = max(of_this_sender, of_any_sender)
    if times_in_a_row < SENDER_REFUSALS:
        return refused
    return Deferred(refused.reason, refused.code, relay_trouble=of_any_sender >= SENDER_REFUSALS, counts=False)


def backoff_seconds(attempt: int, base: float, random: Random) -> float:
    """Seconds until the next try after the `attempt`-th: 5, 10, 20, 40, 67 minutes for the default base, +-20 %."""
    factor = min(2.0 ** min(attempt - 1, 10), LONGEST_BACKOFF)
    return base * factor * random.uniform(1 - JITTER, 1 + JITTER)


def one_line(text: str) -> str:
    """A server's words as one short line of printable characters."""
    # A hostile server may send much; what is cut here could not be shown anyway.
    start = text[: 4 * _LONGEST_REASON]
    if start.isprintable():
        return " ".join(start.split())[:_LONGEST_REASON]
    return " ".join("".join(char if char.isprintable() else " " for char in start).split())[:_LONGEST_REASON]
