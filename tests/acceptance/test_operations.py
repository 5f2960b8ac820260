"""What operators do and what befalls services in mid-run: Aus and An, kill -9, a database or broker that comes late."""

import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from tests.mail_server import MailServer
from tests.sizes import size
from tests.stacks import Stack

JOB = "Prozesshänger"
#: Of which some must be left when a command or a signal has come to its end.
MANY = 1000
#: More than ten connections have on the wire by far.
ORDERS = size(400, 1000)


def run_job(stack: Stack, orders: int = ORDERS) -> None:
    assert stack.answer("job", "run", JOB, "--on", "2026-11-23")["orders"] == orders


def test_d4_aus_stops_at_once_and_an_sends_the_rest_once(stack: Stack, smtp: MailServer) -> None:
    smtp.oracle.rate = 150
    stack.load_many(MANY)
    stack.start()
    run_job(stack, MANY)
    stack.wait_for(lambda: len(smtp.accepted) > 150, 60, "the first letters")
    stack.cli("job", "set", JOB, "status=Aus")
    # What had its T2 before the commit is on its way and is still answered; nothing begins after it.
    time.sleep(2)
    stopped = len(smtp.accepted)
    stack.wait_for(lambda: stack.states().get("planned", 0) == MANY - stopped, 60, "putting back what is queued")
    report = stack.answer("queues")
    assert report["waiting_reasons"] == {"job is off": MANY - stopped}
    assert len(smtp.accepted) == stopped < MANY
    smtp.oracle.rate = None
    stack.cli("job", "set", JOB, "status=An")
    stack.wait_for(lambda: stack.states() == {"sent": MANY}, 90, "sending the rest")
    assert len(smtp.accepted) == MANY
    assert max(smtp.orders().values()) == 1


@pytest.mark.parametrize("victim", ["scheduler", "evaluator", "mailer"])
def test_i1_i2_i3_kill_9_of_one_service_on_rabbitmq_only(
    distributed_stack: Stack, smtp: MailServer, victim: str
) -> None:
    kill_in_mid_run(distributed_stack, smtp, victim)


def test_i1_i2_i3_c31_kill_9_of_the_one_process_of_the_embedded_stack(embedded_stack: Stack, smtp: MailServer) -> None:
    kill_in_mid_run(embedded_stack, smtp, "all")


def kill_in_mid_run(stack: Stack, smtp: MailServer, victim: str) -> None:
    """Two kill -9 and restarts while letters go out: nothing lost, nothing doubled, nothing hidden."""
    smtp.oracle.rate = size(100, 200)
    stack.load_many(ORDERS)
    stack.start()
    stack.cli("job", "run", JOB, "--on", "2026-11-23")
    for share in (0.2, 0.5):
        stack.wait_for(lambda share=share: len(smtp.accepted) > share * ORDERS, 60, f"{share:.0%} of the letters")
        stack.kill(victim)
        stack.start(victim)
    stack.wait_for(lambda: _ended(stack), 60, "the end of all letters")
    found = stack.answer("order", "list", "--on", "2026-11-23")
    accepted = smtp.orders()
    assert max(accepted.values()) == 1
    assert all(accepted[order["id"]] for order in found if order["state"] == "sent")
    unclear = [order for order in found if order["state"] == "unclear"]
    # Only what was between T2 and T3 at one of two kills can be unclear: ten connections at the most, each time.
    assert len(unclear) <= 2 * 10
    assert len(accepted) >= ORDERS - len(unclear)
    assert victim in ("mailer", "all") or not unclear


def _ended(stack: Stack) -> bool:
    found = stack.states()
    return found.get("sent", 0) + found.get("unclear", 0) == ORDERS


def test_i19_c8_sigterm_in_mid_run_leaves_nothing_in_doubt(stack: Stack, smtp: MailServer) -> None:
    smtp.oracle.rate = 150
    stack.load_many(MANY)
    stack.start()
    run_job(stack, MANY)
    stack.wait_for(lambda: len(smtp.accepted) > 150, 60, "the first letters")
    assert set(stack.stop().values()) == {0}
    found = stack.states()
    assert set(found) == {"sent", "queued"} and found["sent"] == len(smtp.accepted)
    smtp.oracle.rate = None
    stack.start()
    stack.wait_for(lambda: stack.states() == {"sent": MANY}, 90, "the rest")
    assert len(smtp.accepted) == MANY and max(smtp.orders().values()) == 1


def test_d37_an_unclear_order_is_settled_by_a_person(stack: Stack, smtp: MailServer) -> None:
    smtp.oracle.script = lambda recipient, attempt: (
        "stored_then_close" if recipient in ("t1@firma.example", "t2@firma.example") else ""
    )
    stack.load_many(ORDERS)
    stack.start()
    run_job(stack)
    stack.wait_for(lambda: stack.states() == {"sent": ORDERS - 2, "unclear": 2}, 90, "two unclear letters")
    first, second = stack.answer("order", "list", "--state", "unclear")
    evidence = stack.answer("order", "show", str(first["id"]))["attempt_history"][-1]
    assert evidence["outcome"] == "unclear" and evidence["handed_over_at"] and evidence["bytes"] > 100
    stack.cli("order", "settle", str(first["id"]), "sent")
    stack.cli("order", "settle", str(second["id"]), "failed")
    assert stack.states() == {"sent": ORDERS - 1, "failed": 1}
    settled = stack.answer("order", "show", str(first["id"]))
    assert settled["state"] == "sent" and settled["sent_at"]
    assert stack.cli("order", "settle", str(first["id"]), "resend", check=False).returncode == 1


def test_d32_a_blocked_letter_is_not_sent_and_stays_blocked(stack: Stack, smtp: MailServer) -> None:
    stack.load_many(ORDERS)
    # Before any service runs the orders wait: one is blocked, one deleted in the workcenter, one unblocked again.
    stack.cli("job", "run", JOB, "--on", "2026-11-23")
    orders = stack.answer("order", "list", "--on", "2026-11-23", "--limit", "3")
    blocked, deleted, kept = (str(order["id"]) for order in orders)
    stack.cli("order", "block", blocked, "--reason", "asked us not to")
    stack.cli("order", "delete", deleted)
    stack.cli("order", "block", kept, "--reason", "a mistake", "--scope", "letter")
    stack.start()
    stack.wait_for(lambda: stack.states() == {"sent": ORDERS - 3, "blocked": 3}, 90, "all others")
    reasons = {str(o["id"]): o["reason"] for o in stack.answer("order", "list", "--state", "blocked")}
    assert "asked us not to" in reasons[blocked]
    assert stack.cli("order", "block", str(_sent_id(stack)), "--reason", "x", check=False).returncode == 1
    assert stack.answer("job", "run", JOB, "--on", "2026-11-23")["orders"] == 0
    assert len(smtp.accepted) == ORDERS - 3


def _sent_id(stack: Stack) -> int:
    return int(stack.answer("order", "list", "--state", "sent", "--limit", "1")[0]["id"])


def test_a_mail_server_that_is_away_at_first_and_in_mid_run(stack: Stack, smtp: MailServer) -> None:
    port = smtp.oracle.port
    smtp.__exit__()
    stack.load_many(200)
    stack.start()
    assert stack.answer("job", "run", JOB, "--on", "2026-11-23")["orders"] == 200
    stack.wait_for(lambda: "cannot be reached" in stack.logs(), 30, "a word about the mail server")
    assert set(stack.states()) <= {"queued", "sending"}
    with MailServer(stack.folder / "first.jsonl", port) as first:
        first.oracle.rate = 100
        stack.wait_for(lambda: len(first.accepted) >= 50, 60, "the first letters")
    # What was on the wire at the cut is unclear; everything else waits, and nothing fails.
    stack.wait_for(lambda: not stack.states().get("sending"), 30, "the end of what was on the wire")
    assert set(stack.states()) <= {"queued", "sent", "unclear"}
    with MailServer(stack.folder / "second.jsonl", port) as second:
        stack.wait_for(lambda: set(stack.states()) <= {"sent", "unclear"}, 60, "all others")
    assert stack.states().get("unclear", 0) <= 10
    twice = first.orders() + second.orders()
    assert max(twice.values()) == 1 and len(twice) >= stack.states()["sent"]


def test_a_newcomer_needs_no_migrate_on_the_embedded_stack_only(embedded_stack: Stack, smtp: MailServer) -> None:
    stack = embedded_stack
    assert "run `kontaktpflege migrate`" in stack.cli("queues", check=False).stderr
    stack.start()
    stack.wait_for(lambda: stack.cli("queues", check=False).returncode == 0, 30, "a schema")
    stack.wait_for(lambda: len(stack.answer("queues")["services"]) == 3, 30, "three services alive")


def test_services_wait_for_a_database_that_comes_late_on_rabbitmq_only(
    distributed_stack: Stack, smtp: MailServer
) -> None:
    stack = distributed_stack
    there = make_url(stack.environment["DATABASE_URL"])
    late = there.set(database=f"{there.database}_late")
    stack.environment["DATABASE_URL"] = late.render_as_string(hide_password=False)
    stack.start()
    stack.wait_for(lambda: stack.logs().count("cannot be reached") >= 3, 30, "three services saying that they wait")
    engine = create_engine(there.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {late.database}"))
            stack.cli("migrate")
            stack.wait_for(lambda: len(stack.answer("queues")["services"]) == 3, 30, "three services going on")
            assert set(stack.stop().values()) == {0}
            connection.execute(text(f"DROP DATABASE {late.database}"))
    finally:
        engine.dispose()


def test_services_wait_for_schema_and_broker_on_rabbitmq_only(
    distributed_stack: Stack, smtp: MailServer, tmp_path: Path
) -> None:
    stack = distributed_stack
    stack.start("mailer")
    stack.wait_for(lambda: stack.logs().count("run `kontaktpflege migrate`") > 1, 30, "two words about the schema")
    assert [role for role, _ in stack.running()] == ["mailer"]
    stack.cli("migrate")
    stack.wait_for(lambda: "mailer" in stack.answer("queues")["services"], 30, "the mailer going on")
