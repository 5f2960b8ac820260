"""Aus while three mailers send as fast as they can: their locks on the job must not keep the switch out."""

import time
from datetime import datetime

from shared.db.engine import Database
from shared.db.jobs import set_job
from tests.mail_server import MailServer
from tests.stacks import QUIET_MOMENT, Stack

JOB = "Prozesshänger"
ORDERS = 4000
CONNECTIONS = 3 * 10


async def switch_off(stack: Stack) -> float:
    """Seconds that the switch takes. Not by the command: on a busy machine its start takes longer than the switch."""
    database = Database(stack.environment["DATABASE_URL"])
    try:
        await database.check()
        began = time.monotonic()
        await set_job(database, JOB, {"status": "Aus"}, author="test", now=datetime.fromisoformat(QUIET_MOMENT))
        return time.monotonic() - began
    finally:
        await database.close()


async def test_d4_aus_reaches_three_busy_mailers_at_once_on_rabbitmq_only(
    distributed_stack: Stack, smtp: MailServer
) -> None:
    stack = distributed_stack
    stack.load_many(ORDERS)
    stack.start("scheduler", "evaluator", *["mailer"] * 3)
    assert stack.answer("job", "run", JOB, "--on", "2026-11-23")["orders"] == ORDERS
    stack.wait_for(lambda: len(smtp.accepted) > 300, 60, "the first letters")
    took = await switch_off(stack)
    sent_by_then = len(smtp.accepted)
    print(f"the switch took {took:.2f} s")
    assert took < 2
    stack.wait_for(lambda: set(stack.states()) <= {"sent", "planned"}, 60, "putting back what was queued")
    # Only what had its T2 before the commit may still have been on the wire.
    assert len(smtp.accepted) <= sent_by_then + CONNECTIONS < ORDERS
    assert stack.states()["sent"] == len(smtp.accepted)
    stack.cli("job", "set", JOB, "status=An")
    stack.wait_for(lambda: stack.states() == {"sent": ORDERS}, 120, "sending the rest")
    assert len(smtp.accepted) == ORDERS
    assert max(smtp.orders().values()) == 1
