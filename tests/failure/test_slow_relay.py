"""A long queue before one slow mailer: depth tells the truth, claims do not expire, Aus is instant, memory is flat.

The long run: SLOW_RELAY_ORDERS=200000 SLOW_RELAY_SECONDS=600 pytest tests/failure/test_slow_relay.py -s
"""

import os
import time
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, make_url, text

from tests.mail_server import MailServer
from tests.sizes import size
from tests.stacks import Stack

ORDERS = int(os.environ.get("SLOW_RELAY_ORDERS", size(2000, 3000)))
SECONDS = float(os.environ.get("SLOW_RELAY_SECONDS", size(12, 20)))
#: Mails per second that the relay takes.
RATE = 20.0


def rows(stack: Stack, statement: str) -> Any:
    engine = create_engine(make_url(stack.environment["DATABASE_URL"]).set(drivername="postgresql+psycopg"))
    try:
        with engine.connect() as connection:
            return connection.execute(text(statement)).scalar_one()
    finally:
        engine.dispose()


def memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def test_a_long_queue_before_a_slow_relay_on_rabbitmq_only(distributed_stack: Stack, smtp: MailServer) -> None:
    stack = distributed_stack
    stack.fresh = True  # their memory is measured
    smtp.oracle.rate = RATE
    stack.load_many(ORDERS)
    stack.start()
    assert stack.answer("job", "run", "Prozesshänger", "--on", "2026-11-23")["orders"] == ORDERS
    stack.wait_for(lambda: len(smtp.accepted) > 20, 60, "the first letters")
    began, first_memory, samples = time.monotonic(), {}, []
    while time.monotonic() - began < SECONDS:
        depth = next(
            queue["messages"]
            for queue in stack.answer("queues")["queues"]
            if queue["queue"] == "kontaktpflege.orders.ready"
        )
        queued = rows(stack, "SELECT count(*) FROM write_orders WHERE state IN ('queued', 'sending')")
        memory = {role: memory_mb(process.pid) for role, process in stack.running()}
        # Only after the doorbells are rung is memory in its steady state.
        if time.monotonic() - began > SECONDS / 4:
            first_memory = first_memory or memory
        samples.append((depth, queued))
        # The depth was read before the rows, and rows only leave: it may not exceed them by more than what left since.
        assert depth <= queued + RATE * 5, samples[-1]
        time.sleep(min(2.0, SECONDS / 10))
    assert rows(stack, "SELECT count(*) FROM attempts WHERE outcome = 'lease ran out'") == 0
    growth = {role: memory[role] / first_memory[role] for role in memory}
    assert all(factor < 1.3 for factor in growth.values()), (first_memory, memory)
    sent_per_second = len(smtp.accepted) / (time.monotonic() - began)
    print(f"{ORDERS} orders, {sent_per_second:.1f}/s, depths {samples[0]}..{samples[-1]}, memory {memory}, {growth}")
    stack.cli("job", "set", "Prozesshänger", "status=Aus")
    committed = time.monotonic()
    # Handed over before the commit: at most one letter a connection, paced by the relay.
    stack.wait_for(lambda: _still(smtp), 30, "silence")
    last = smtp.accepted[-1].at - committed
    print(f"last letter {last:.2f} s after Aus")
    assert last < 2
    assert smtp.orders().most_common(1)[0][1] == 1


def _still(smtp: MailServer) -> bool:
    before = len(smtp.accepted)
    time.sleep(3)
    return len(smtp.accepted) == before
