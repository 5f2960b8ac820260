"""Mailers come and go while a long queue is worked off: every letter arrives once (I1, I2, I3).

The figures: pytest tests/acceptance/test_scaling.py -s
"""

import signal
import subprocess
import time
from collections import Counter

from sqlalchemy import Engine, NullPool, create_engine, make_url, text

from tests.mail_server import MailServer
from tests.smtp_scripts import well_behaved
from tests.stacks import Stack

JOB = "Prozesshänger"
ORDERS = 20_000
#: Letters that each of the four has sent before two have to go: more than one batch.
SHARE = 300
QUEUE = "kontaktpflege.orders.ready"
#: Seconds for what is on the wire after SIGTERM; none of it takes longer than a fraction of one.
GRACE = 30
#: Leases and waits are those of an installation, not the short ones of a stack: nothing is repaired by running out.
SHORTENED = (
    "KP_LEASE_SECONDS",
    "KP_REPLY_LEASE_SECONDS",
    "KP_SMTP_FINAL_TIMEOUT_SECONDS",
    "KP_BACKOFF_SECONDS",
    "KP_RING_AGAIN_SECONDS",
)

Process = subprocess.Popen[bytes]


def taking_its_time(address: str, _attempt: int) -> str | None:
    """Waits at RCPT, DATA and the dot: one mailer is not done before three more have come."""
    return "slow:0.005" if address.startswith("t") else None


def depth(stack: Stack) -> int:
    """Doorbells that wait, as operators see it."""
    return next(int(one["messages"]) for one in stack.answer("queues")["queues"] if one["queue"] == QUEUE)


def shares(engine: Engine) -> dict[int, int]:
    """Letters sent, by the process id of the mailer: its name is host:process:number."""
    query = text("SELECT split_part(mailer, ':', 2), count(*) FROM attempts WHERE outcome = 'sent' GROUP BY mailer")
    with engine.connect() as connection:
        return {int(pid): count for pid, count in connection.execute(query)}


def unsettled(engine: Engine, mailers: list[Process]) -> int:
    """Claims of these mailers that nobody has brought to an end."""
    query = text("SELECT count(*) FROM attempts WHERE settled_at IS NULL AND split_part(mailer, ':', 2) = ANY(:pids)")
    with engine.connect() as connection:
        return int(connection.execute(query, {"pids": [str(one.pid) for one in mailers]}).scalar_one())


def start_mailers(stack: Stack, count: int) -> list[Process]:
    before = len(stack.processes)
    stack.start(*["mailer"] * count, KP_SMTP_CONNECTIONS="20", KP_GRACE_SECONDS=str(GRACE))
    return [process for _, process in stack.processes[before:]]


def send_away(leaving: list[Process]) -> float:
    """SIGTERM; seconds until these have ended in good order, no longer than they have."""
    began = time.monotonic()
    for process in leaving:
        process.send_signal(signal.SIGTERM)
    codes = [process.wait(GRACE + 5) for process in leaving]
    assert codes == [0] * len(leaving)
    return time.monotonic() - began


def queue_up(stack: Stack, engine: Engine) -> None:
    """20,000 letters due and rung for before there is a mailer."""
    for name in SHORTENED:
        del stack.environment[name]
    stack.load_many(ORDERS)
    stack.start("scheduler", "evaluator")
    assert stack.answer("job", "run", JOB, "--on", "2026-11-23")["orders"] == ORDERS
    stack.wait_for(lambda: depth(stack) == ORDERS, 60, "a doorbell for every letter")
    with engine.begin() as connection:
        connection.execute(text("ANALYZE"))  # as autovacuum would within minutes, but nobody waits for it here


def test_i1_i2_i3_i19_three_mailers_come_and_two_go_in_mid_run_on_rabbitmq_only(
    distributed_stack: Stack, smtp: MailServer
) -> None:
    stack = distributed_stack
    url = make_url(stack.environment["DATABASE_URL"]).set(drivername="postgresql+psycopg")
    engine = create_engine(url, poolclass=NullPool)
    smtp.oracle.script = taking_its_time
    queue_up(stack, engine)

    began = time.monotonic()
    mailers = start_mailers(stack, 1)
    stack.wait_for(lambda: len(smtp.accepted) >= ORDERS / 20, 60, "the first letters")
    mailers += start_mailers(stack, 3)
    stack.wait_for(lambda: sorted(shares(engine).values())[-4:-3] >= [SHARE], 60, "letters of all four")
    leaving, staying = mailers[:2], mailers[2:]  # the one that has sent most, and a new one
    at_signal, before = stack.states(), shares(engine)
    seconds = send_away(leaving)
    # In mid-run: much is left, and those who leave were at it. Drained: whatever they held has come to an end.
    assert at_signal["queued"] > ORDERS / 4 and len(before) == 4
    assert unsettled(engine, leaving) == 0
    smtp.oracle.script = well_behaved
    stack.wait_for(lambda: stack.states() == {"sent": ORDERS}, 180, "the rest")
    took = time.monotonic() - began
    stack.wait_for(lambda: depth(stack) == 0, 30, "an empty queue")
    assert set(stack.stop().values()) == {0}

    # The mail server's own word: each applicant has one letter, all were answered.
    entries = smtp.oracle.ledger
    assert Counter(one.recipient for one in entries) == Counter(f"t{n}@firma.example" for n in range(ORDERS))
    assert len({one.message_id for one in entries}) == ORDERS
    assert all(one.stored and one.replied for one in entries)
    found = shares(engine)
    assert set(found) == {one.pid for one in mailers} and sum(found.values()) == ORDERS
    assert all(found[one.pid] > before[one.pid] for one in staying)
    print(
        f"\n{ORDERS:,} letters in {took:.1f} s ({ORDERS / took:.0f}/s); each mailer {[found[m.pid] for m in mailers]}; "
        f"at SIGTERM {at_signal}, drained within {seconds:.2f} s"
    )
