"""What people did during a run, and what a mail may therefore not be (I8, I9, I10): times of one clock, no believing.

An act that was answered is certain from then on; one whose answer was lost may have happened or not: it explains what
was found, and forbids nothing.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

#: What a run's letter says of its edition: the number of the edit that made it, 0 at first.
EDITION = re.compile(rb"Fassung-(\d+)")
#: Clocks of restarted processes may be wrong by so much (run.SKEWS), and a little.
SKEW = timedelta(seconds=90)


class Kind(StrEnum):
    """What can be done."""

    OFF = "switched to Aus"
    ON = "switched to An"
    BLOCK = "blocked"
    OPT_OUT = "opted out"
    ADDRESS = "changed the address"
    LETTER = "edited the letter"


@dataclass(frozen=True, slots=True)
class Act:
    """`whom`: an external id, a job's name or a letter's. `began`, `done`: time.monotonic(); None: not answered."""

    kind: Kind
    whom: str
    began: float
    done: float | None
    #: The run's clock at the answer.
    at: datetime
    #: The new address; the number of the edit.
    value: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An accepted mail: T2 lies between `asked`, its RCPT, and `taken`, its final dot (time.monotonic())."""

    message_id: str
    recipient: str
    asked: float
    taken: float
    #: What its text says of the letter's edition.
    edition: int | None = None


def too_late(
    order: Mapping[str, Any], tried: Sequence[Mapping[str, Any]], mail: Delivery, acts: Sequence[Act]
) -> Iterator[str]:
    """What was certain before the mail's T2 and forbade it: invariant and reason."""
    for begin, end in off_windows([act for act in acts if act.whom == order["job_name"]]):
        if begin <= mail.asked and mail.taken <= end:
            yield f"I8: its job was Aus for {mail.taken - begin:.2f} s when it was accepted"
    theirs = [act for act in acts if act.whom == order["external_id"]]
    for act in theirs:
        if act.kind in (Kind.BLOCK, Kind.OPT_OUT) and act.done is not None and act.done <= mail.asked:
            yield f"I8: sent though {act.kind} {mail.asked - act.done:.2f} s before it began"
    changes = [act for act in theirs if act.kind is Kind.ADDRESS]
    if changes and mail.recipient not in addresses(changes, mail):
        yield f"I10: went to {mail.recipient}, which was not the person's address any more"
    edits = [act for act in acts if act.kind is Kind.LETTER and act.done is not None and act.done <= mail.asked]
    newest = max(edits, key=lambda act: int(act.value), default=None)
    # The first claim pins the letter (I12): only what was claimed after the edit must be the new one.
    claimed_after = newest is not None and bool(tried) and tried[0]["claimed_at"] > newest.at + SKEW
    if newest and claimed_after and mail.edition is not None and mail.edition < int(newest.value):
        yield f"I9: edition {mail.edition} of the letter, first claimed after edition {newest.value} was saved"


def off_windows(of_job: Sequence[Act]) -> list[tuple[float, float]]:
    """When a job was certainly Aus: from an answered Aus until the first An that can have come after it."""
    found = []
    for off in of_job:
        if off.kind is Kind.OFF and off.done is not None:
            ons = [on.began for on in of_job if on.kind is Kind.ON and (on.done is None or on.done >= off.began)]
            found.append((off.done, min(ons, default=float("inf"))))
    return found


def addresses(changes: Sequence[Act], mail: Delivery) -> set[str]:
    """Every address that may have been the person's at some moment between `asked` and `taken`.

    A first change's `value` is "old new": what was there before is known from it.
    """
    known = [act for act in changes if act.done is not None and act.done <= mail.asked]
    last = max(known, key=lambda act: act.began, default=None)
    start = last.value.split()[1] if last else min(changes, key=lambda act: act.began).value.split()[0]
    others = {act.value.split()[1] for act in changes if act not in known and act.began <= mail.taken}
    return {start} | others
