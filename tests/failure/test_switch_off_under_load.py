"""Aus while three mailers send as fast as they can: their locks on the job must not keep the switch out."""

import time

from tests.smtp_server import ScriptedSmtpServer
from tests.stacks import Stack

JOB = "Prozesshänger"
ORDERS = 4000
CONNECTIONS = 3 * 10


def test_d4_aus_reaches_three_busy_mailers_at_once_on_rabbitmq_only(
    distributed_stack: Stack, smtp: ScriptedSmtpServer
) -> None:
    stack = distributed_stack
    stack.load_many(ORDERS)
    stack.start("scheduler", "evaluator", *["mailer"] * 3)
    assert stack.answer("job", "run", JOB, "--on", "2026-11-23")["orders"] == ORDERS
    stack.wait_for(lambda: len(smtp.accepted) > 300, 60, "the first letters")
    began = time.monotonic()
    stack.cli("job", "set", JOB, "status=Aus")
    took, sent_by_then = time.monotonic() - began, len(smtp.accepted)
    assert took < 4  # most of it is the command's own start
    stack.wait_for(lambda: set(stack.states()) <= {"sent", "planned"}, 60, "putting back what was queued")
    # Only what had its T2 before the commit may still have been on the wire.
    assert len(smtp.accepted) <= sent_by_then + CONNECTIONS < ORDERS
    assert stack.states()["sent"] == len(smtp.accepted)
    stack.cli("job", "set", JOB, "status=An")
    stack.wait_for(lambda: stack.states() == {"sent": ORDERS}, 120, "sending the rest")
    assert len(smtp.accepted) == ORDERS
    assert max(smtp.orders().values()) == 1
