"""The judge of chaos runs judged: sound evidence passes, and each falsified one gets the violation it deserves."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from shared.db.engine import Database
from shared.db.tables import events
from tests.chaos import leaks
from tests.chaos.acts import Act, Delivery, Kind
from tests.chaos.checker import Verdict, judge
from tests.chaos.evidence import Evidence, deliveries_of
from tests.chaos.progress import stalls, until_next
from tests.smtp_ledger import LedgerEntry, TakenMail

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
ID, MAIL = "<order-1@firma.example>", "kanarienvogel0-0@firma.example"
Falsify = Callable[[Evidence], object]


def minutes(number: float) -> datetime:
    return NOW + timedelta(minutes=number)


def attempt(number: int = 1, **values: Any) -> dict[str, Any]:
    """One that sent its letter at once; the second half an hour after the first."""
    claimed = minutes(30 * (number - 1))
    common = {"order_id": 1, "attempt_no": number, "message_id": ID, "body_hash": "h", "claimed_at": claimed}
    return common | {"handed_over_at": claimed, "outcome": "sent", "reply_code": 250, "mailer": "box:77", **values}


def entry(**values: Any) -> LedgerEntry:
    common = {"message_id": ID, "recipient": MAIL, "sha256": "h", "code": 250, "stored": True, "replied": True}
    return LedgerEntry(**(common | values))


def event(action: str, old: str, new: str, at: float = 0, author: str = "sweep") -> dict[str, Any]:
    return {"record_id": 1, "action": action, "old": old, "new": new, "at": minutes(at), "author": author}


def act(kind: Kind, whom: str = "0-0", began: float = 50.0, **values: Any) -> Act:
    return Act(**({"kind": kind, "whom": whom, "began": began, "done": began + 1, "at": minutes(-5)} | values))


def acted(*acts: Act) -> Falsify:
    return lambda evidence: setattr(evidence, "acts", list(acts))


def sound() -> Evidence:
    """One letter, sent at its first attempt; announced at 100 s and accepted at 101 s of the run."""
    order = {"id": 1, "external_id": "0-0", "run_id": 1, "job_name": "Los 0000", "on_unclear": "ask", "email": MAIL}
    order |= {"state": "sent", "reason": None, "attempts": 1, "fruitless_claims": 0, "handed_over_at": NOW}
    order |= {"expires_at": NOW + timedelta(days=5)}
    runs = [{"id": 1, "job_id": 1, "occasion_day": NOW.date()}]
    delivery = Delivery(ID, MAIL, 100.0, 101.0, 0)
    return Evidence([order], {1: [attempt()]}, runs, Counter({1: 1}), {ID: [entry()]}, {}, [], [delivery])


def verdict_of(falsify: Falsify, *, reachable: bool = True) -> Verdict:
    evidence = sound()
    falsify(evidence)
    return judge(evidence, {"0-0": reachable})


def order(evidence: Evidence, **values: Any) -> None:
    evidence.orders[0] = {**evidence.orders[0], **values}
    evidence.contacts[1] = int(evidence.orders[0]["state"] == "sent")


def tried(evidence: Evidence, *attempts: dict[str, Any]) -> None:
    evidence.attempts[1] = list(attempts)
    order(evidence, attempts=len(attempts))


def unsent(evidence: Evidence, state: str, *attempts: dict[str, Any], reason: str | None = None) -> None:
    """An order that ended in another way, of which nothing arrived."""
    tried(evidence, *attempts)
    order(evidence, state=state, reason=reason, handed_over_at=None)
    evidence.ledger, evidence.deliveries = {}, []


def twice(evidence: Evidence, *told: dict[str, Any], on_unclear: str = "ask") -> None:
    """A second letter after an unclear first one."""
    tried(evidence, attempt(outcome="unclear", reply_code=None), attempt(2))
    order(evidence, on_unclear=on_unclear)
    evidence.ledger[ID] = [entry(replied=False), entry()]
    evidence.events[1] = list(told)


def lost(evidence: Evidence) -> None:
    evidence.orders, evidence.attempts, evidence.ledger, evidence.deliveries = [], {}, {}, []


def arrived_twice(evidence: Evidence) -> None:
    evidence.ledger[ID] *= 2


def moved(evidence: Evidence, **values: Any) -> None:
    """The person's address had become another one before the mail."""
    evidence.acts = [act(Kind.ADDRESS, value=f"{MAIL} neu@firma.example", **values)]


def unclear(evidence: Evidence, **values: Any) -> None:
    tried(evidence, attempt(outcome="unclear", reply_code=None))
    order(evidence, **({"state": "unclear", "reason": "answer unknown"} | values))


def no_dot(evidence: Evidence, *fallen: int, away: bool = False) -> None:
    """Unclear, and nothing arrived."""
    unclear(evidence)
    evidence.ledger, evidence.deliveries = {}, []
    evidence.fallen, evidence.database_was_away = frozenset(fallen), away


def left_at(evidence: Evidence, *recipients: str) -> None:
    """The mail server ended things on reading these recipients' bodies."""
    evidence.left_at_body = frozenset(recipients)


def deferred_silence(evidence: Evidence) -> None:
    """A dot without an answer that was taken for a deferral; the letter was sent once more, and only then taken."""
    tried(evidence, attempt(outcome="deferred", reply_code=None), attempt(2))
    evidence.ledger[ID] = [entry(code=None, stored=False, replied=False), entry()]


RESEND = event("resend", "unclear", "queued", 20)
FALSIFIED: dict[str, tuple[str, Falsify]] = {
    "lost": ("I1: no order for 0-0", lost),
    "stuck": ("I1/I18", lambda e: unsent(e, "queued", attempt(outcome="lease ran out", handed_over_at=None))),
    "withdrawn by nobody": ("I1: nobody did", lambda e: unsent(e, "withdrawn")),
    "blocked by nobody": ("I1: nobody did", lambda e: unsent(e, "blocked")),
    "without an address that is there": ("I1: order 1 has an address", lambda e: unsent(e, "no_address")),
    "sent without a mail": ("I2", lambda e: e.ledger.clear()),
    "sent, refused by the server": ("I2", lambda e: e.ledger.update({ID: [entry(code=554, stored=False)]})),
    "twice": ("I3", arrived_twice),
    "twice after unclear, released by nobody": ("I3", twice),
    "twice after unclear, by a resend against the job": ("I3", lambda e: twice(e, RESEND)),
    "twice after unclear, by the job, untold": ("I3", lambda e: twice(e, on_unclear="resend")),
    "failed though accepted": ("I4", lambda e: order(e, state="failed")),
    "failed though an unanswered attempt was accepted": (
        "I4: .* arrived 1 times",
        lambda e: (
            twice(e, RESEND, on_unclear="resend"),
            tried(e, attempt(outcome="unclear", reply_code=None), attempt(2, outcome="refused", reply_code=553)),
            order(e, state="failed", reason="553 no"),
            e.ledger.update({ID: [entry(replied=False)]}),
        ),
    ),
    "silence taken for a deferral": ("I4: .* 1 dots without an answer, 0 unclear", deferred_silence),
    "unclear before the dot, its mailer alive": ("I5: 1 letters", no_dot),
    "unclear before the dot, another mailer dead": ("I5: 1 letters", lambda e: no_dot(e, 78)),
    "its server left at another's body": ("I5: 1 letters", lambda e: (no_dot(e), left_at(e, "a@firma.example"))),
    "every letter unclear, the database away once": ("I5: 1 letters", lambda e: no_dot(e, away=True)),
    "unclear without a reason": ("I4", lambda e: unclear(e, reason=None)),
    "attempt without an outcome": (
        "I4: .* attempt 1 has no outcome",
        lambda e: tried(e, attempt(outcome=None, handed_over_at=None), attempt(2)),
    ),
    "two orders": ("I6", lambda e: e.orders.append({**e.orders[0], "id": 2, "state": "planned"})),
    "two runs": ("I7", lambda e: e.runs.append({**e.runs[0], "id": 2})),
    "blocked, and handed over": ("I8", lambda e: order(e, state="blocked", handed_over_at=None)),
    "during Aus": (
        "I8: its job was Aus",
        acted(act(Kind.OFF, "Los 0000"), act(Kind.ON, "Los 0000", 102)),
    ),
    "after a block": ("I8: sent though blocked", acted(act(Kind.BLOCK))),
    "after an opt-out": ("I8: sent though opted out", acted(act(Kind.OPT_OUT))),
    "an old edition": ("I9", acted(act(Kind.LETTER, "Brief", value="1"))),
    "to somebody else": ("I10", lambda e: e.ledger.update({ID: [entry(recipient="x@firma.example")]})),
    "to an old address": ("I10: went to", moved),
    "another Message-ID": (
        "I12",
        lambda e: tried(e, attempt(outcome="deferred", message_id="<2@x>", handed_over_at=None), attempt(2)),
    ),
    "other bytes": ("I12", lambda e: e.ledger.update({ID: [entry(sha256="x")]})),
    "the hash is gone": ("I12", lambda e: tried(e, attempt(body_hash=None))),
    "other bytes on the second attempt": (
        "I12",
        lambda e: (twice(e, RESEND, on_unclear="resend"), e.ledger[ID].append(entry(sha256="x", stored=False))),
    ),
    "failed without a refusal": (
        "I14",
        lambda e: unsent(e, "failed", attempt(outcome="deferred", reply_code=451, handed_over_at=None)),
    ),
    "after its validity": ("I14", lambda e: order(e, expires_at=NOW)),
    "claimed for ever": ("I15", lambda e: order(e, fruitless_claims=6)),
    "an attempt that is missing": ("I17", lambda e: order(e, attempts=2)),
    "sent by no attempt": ("I17", lambda e: tried(e, attempt(outcome="deferred"))),
    "withdrawn without an event": (
        "I17: .* no event",
        lambda e: (unsent(e, "withdrawn"), setattr(e, "acts", [act(Kind.OPT_OUT)])),
    ),
    "the last event says otherwise": (
        "I17: .* says withdrawn",
        lambda e: (unclear(e), e.events.update({1: [event("last_look", "queued", "withdrawn", 40)]})),
    ),
    "unclear again without an event": (
        "I17: .* says queued",
        lambda e: (unclear(e, on_unclear="resend"), e.events.update({1: [RESEND]})),
    ),
    "two events of one resend": ("I17: .* 2 resends", lambda e: twice(e, RESEND, RESEND, on_unclear="resend")),
    "arrived without T2": ("I20", lambda e: tried(e, attempt(handed_over_at=None))),
    "arrived without a claim": ("I20", lambda e: e.ledger.update({"<other@x>": [entry(message_id="<other@x>")]})),
    "without a contact entry": ("D40", lambda e: e.contacts.clear()),
}


@pytest.mark.parametrize("name", FALSIFIED)
def test_i1_i2_i3_i4_i5_i6_i7_i8_i9_i10_i12_i14_i15_i17_i20_falsified_evidence_is_named(name: str) -> None:
    named, falsify = FALSIFIED[name]
    found = verdict_of(falsify).violations
    assert any(re.search(named, said) for said in found), found


def test_i10_a_letter_to_whom_has_no_address_is_named() -> None:
    assert [said[:3] for said in verdict_of(lambda e: None, reachable=False).violations] == ["I10"]


def withdrawn(evidence: Evidence) -> None:
    unsent(evidence, "withdrawn")
    evidence.acts = [act(Kind.OPT_OUT, done=None)]
    evidence.events[1] = [event("withdraw", "planned", "withdrawn")]


def blocked(evidence: Evidence) -> None:
    unsent(evidence, "blocked")
    evidence.acts = [act(Kind.BLOCK)]
    evidence.events[1] = [event("block", "queued", "blocked")]


def blocked_later(evidence: Evidence) -> None:
    """Deferred at the dot, which is a definite no, and blocked before the next attempt."""
    blocked(evidence)
    tried(evidence, attempt(outcome="deferred", reply_code=452))
    evidence.ledger = {ID: [entry(code=452, stored=False)]}


def moved_between(evidence: Evidence) -> None:
    """Unclear at the old address, sent again to the new one, where the letter has another To."""
    twice(evidence, RESEND, on_unclear="resend")
    evidence.attempts[1][1]["body_hash"] = "new"
    evidence.ledger[ID][1] = entry(recipient="neu@firma.example", sha256="new")
    evidence.deliveries = [Delivery(ID, MAIL, 100, 101, 0), Delivery(ID, "neu@firma.example", 120, 121, 0)]
    order(evidence, email="neu@firma.example")
    moved(evidence, began=110.0)


SOUND: dict[str, Falsify] = {
    "sent": lambda e: None,
    "sent again by the job": lambda e: twice(e, RESEND, on_unclear="resend"),
    "sent again by a person": lambda e: twice(e, event("settle_resend", "unclear", "queued", 20, "anna")),
    "nobody there, who opted out": lambda e: (lost(e), acted(act(Kind.OPT_OUT))(e)),
    "withdrawn by an opt-out that was perhaps not answered": withdrawn,
    "blocked": blocked,
    "blocked after a deferral": blocked_later,
    "unclear": unclear,
    "unclear before the dot, its mailer dead": lambda e: no_dot(e, 77),
    "its server left at the body, the dot perhaps under way": lambda e: (no_dot(e), left_at(e, MAIL)),
    "given up by a person": lambda e: (
        unclear(e, state="failed", reason="settled as failed by anna"),
        tried(e, attempt(outcome="unclear", reply_code=None), attempt(2, outcome="refused", reply_code=553)),
        e.events.update({1: [RESEND, event("settle", "unclear", "failed", 40, "anna")]}),
        order(e, on_unclear="resend"),
    ),
    "the T2 came before Aus": acted(act(Kind.OFF, "Los 0000", 99.5), act(Kind.ON, "Los 0000", 105)),
    "An came before the dot": acted(act(Kind.OFF, "Los 0000"), act(Kind.ON, "Los 0000", 100.5)),
    "another job was Aus": acted(act(Kind.OFF, "Los 0001")),
    "the block was not answered": acted(act(Kind.BLOCK, done=None)),
    "the block came too late": acted(act(Kind.BLOCK, began=99.5)),
    "the address changed meanwhile": lambda e: moved(e, began=99.5),
    "the new address may not be there": lambda e: moved(e, done=None),
    "the address changed before a resend": moved_between,
    "claimed before the letter was edited": acted(act(Kind.LETTER, "Brief", value="1", at=minutes(1))),
}


@pytest.mark.parametrize("name", SOUND)
def test_i3_i8_i10_sound_evidence_passes(name: str) -> None:
    verdict = verdict_of(SOUND[name])
    assert verdict.violations == []
    assert verdict.lost == verdict.duplicated == verdict.false_sent == verdict.false_failed == 0


def test_i1_i2_i3_i4_the_figures_count_what_is_wrong() -> None:
    figures = {
        "lost": (lost, lambda e: unsent(e, "withdrawn")),
        "duplicated": (arrived_twice, twice),
        "false_sent": (lambda e: e.ledger.clear(),),
        "false_failed": (lambda e: order(e, state="failed"),),
    }
    for figure, falsified in figures.items():
        for falsify in falsified:
            assert getattr(verdict_of(falsify), figure) >= 1, figure


def test_i18_waits_are_counted_without_excused_time_and_until_the_end() -> None:
    arrivals, windows = [10.0, 50.0], [(12.0, 20.0), (15.0, 22.0)]
    assert until_next([5.0], arrivals, windows, 60.0) == [5.0]
    # Not dropped for the fault that overlaps it: 28 s after that one's end, and 1 s before its begin.
    assert until_next([11.0], arrivals, windows, 60.0) == [29.0]
    # No letter any more, though something was due for 30 s.
    assert until_next([51.0], arrivals, [(81.0, 90.0)], 90.0) == [30.0]
    assert until_next([51.0], arrivals, [(51.2, 90.0)], 90.0) == []
    assert stalls([29.9], [59.9]) == []
    assert [said[:4] for said in stalls([30.1], [60.1])] == ["I18:", "I18:"]


def test_i22_a_name_in_a_log_a_broker_file_or_a_command_line_is_found(tmp_path: Path) -> None:
    clean, named = tmp_path / "mailer.log", tmp_path / "0001.wal"
    clean.write_text('{"order": 17, "state": "sent"}\n')
    named.write_bytes(b"\x00\x01" + b'{"to": "Frau wendehals0-1"}' + b"\xff")
    assert leaks.in_files([clean, tmp_path / "gone.log"]) == []
    assert [said[:4] for said in leaks.in_files([clean, named])] == ["I22:"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child = subprocess.Popen([sys.executable, "-c", "input(0)", MAIL], **pipes)
    try:
        assert child.stdout is not None and child.stdout.read(1) == b"0"
        assert leaks.in_command_lines([os.getpid()]) == []
        assert len(leaks.in_command_lines([child.pid])) == 1
    finally:
        child.communicate(b"\n")


async def test_i22_a_name_in_the_history_is_found_where_none_belongs(database: Database) -> None:
    def told(noun: str, **values: str) -> dict[str, Any]:
        texts = dict.fromkeys(("record_name", "field", "old", "new", "reason"))
        return {"at": NOW, "author": "anna", "action": "x", "noun": noun, **texts, **values}

    async def write(*rows: dict[str, Any]) -> None:
        async with database.begin() as connection:
            await connection.execute(insert(events), list(rows))

    await write(told("person", reason="Wendehals0-0 asked"), told("order", new="sent", reason=f"no address: {MAIL}"))
    assert await leaks.in_rows(database) == []
    await write(told("order", reason="Frau Wendehals0-0"), told("job", new=MAIL), told("run", record_name=MAIL))
    assert len(await leaks.in_rows(database)) == 3


def test_i8_a_delivery_is_an_accepted_mail_with_the_last_rcpt_before_it() -> None:
    content = f"Subject: x\r\nMessage-ID: {ID}\r\n\r\nGuten Tag Fassung-12\r\n".encode()
    mails = [TakenMail("s@x", MAIL, content, 7.0), TakenMail("s@x", "unknown@x", content, 7.0)]
    assert deliveries_of(mails, {MAIL: [1.0, 6.0, 8.0]}) == [Delivery(ID, MAIL, 6.0, 7.0, 12)]
