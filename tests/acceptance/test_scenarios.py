"""The three scenarios of the source, end to end, over both stacks (D40-D42, I1-I3, I6)."""

import json
from pathlib import Path

from tests.mail_server import MailServer
from tests.stacks import EXPECTED, SCENARIOS, Stack

DATA = Path(__file__).parent.parent / "data"


def expected_addresses(stack: Stack, query: str) -> set[str]:
    """Recipients with a valid address, by the independently computed answers of the sample."""
    answers = json.loads((DATA / "expected_recipients.json").read_text(encoding="utf-8"))
    return {r["application"] for r in answers[query]["2026-11-23"]["recipients"]}


def run_scenarios(stack: Stack, smtp: MailServer) -> None:
    sent = 0
    for name in SCENARIOS:
        answer = stack.answer("job", "run", name, "--on", "2026-11-23", "--wait", "120")
        assert set(answer["states"]) <= {"sent", "no_address"}, stack.logs()
        sent += EXPECTED[name]
        assert len(smtp.accepted) == sent
    assert max(smtp.orders().values()) == 1


def check_effects(stack: Stack, smtp: MailServer) -> None:
    orders = [order for order in stack.answer("order", "list", "--on", "2026-11-23") if order["state"] != "withdrawn"]
    by_job = {name: [o for o in orders if o["job"] == name] for name in SCENARIOS}
    assert {name: sum(o["state"] == "sent" for o in found) for name, found in by_job.items()} == EXPECTED
    assert sum(o["state"] == "no_address" for o in orders) == 9
    assert {o["application"] for o in by_job["Prozesshänger"]} == expected_addresses(stack, "Kontakt fehlend")
    assert {o["application"] for o in by_job["Endgültige Absage Pool"]} == expected_addresses(
        stack, "Pool länger als 36 Monate"
    )
    # An application that was rejected and reduced afterwards keeps no subject with its data in it (D42).
    reduced = {o["application"] for o in by_job["Endgültige Absage Pool"] if o["state"] == "sent"}
    sent = [o for o in orders if o["state"] == "sent"]
    assert all(o["sent_at"] and (o["subject"] or o["application"] in reduced) for o in sent)
    assert all(o["sent_at"] is None and o["reason"] for o in orders if o["state"] == "no_address")
    check_applications(stack, by_job)


def check_applications(stack: Stack, by_job: dict[str, list[dict[str, str]]]) -> None:
    """D40-D42: status and pool after the final rejection, contact entries, core data."""
    out = stack.folder / "applications.jsonl"
    stack.cli("export", "applications", "--out", str(out))
    applications = {a["external_id"]: a for a in map(json.loads, out.read_text(encoding="utf-8").splitlines())}
    for order in by_job["Endgültige Absage Pool"]:
        application = applications[order["application"]]
        rejected = order["state"] == "sent"
        assert (application["status"] == "Absage") == rejected
        assert application["in_pool"] == (not rejected)
        assert (application["department"] is None or not rejected) and application["last_name"]
    out = stack.folder / "contacts.jsonl"
    stack.cli("export", "contacts", "--out", str(out))
    contacts = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    written = {c["application"] for c in contacts if c["at"] >= "2026-11-23T12" and c["medium"] == "form_letter_mail"}
    assert {o["application"] for found in by_job.values() for o in found if o["state"] == "sent"} <= written


def test_i1_i6_i22_scenarios_arrive_once_and_a_second_run_sends_nothing(stack: Stack, smtp: MailServer) -> None:
    stack.load_sample()
    stack.start()
    run_scenarios(stack, smtp)
    check_effects(stack, smtp)
    for name in SCENARIOS:
        assert stack.answer("job", "run", name, "--on", "2026-11-23", "--wait", "60")["orders"] == 0
    assert len(smtp.accepted) == sum(EXPECTED.values())
    assert set(stack.stop().values()) == {0}
    # I22: ids, never whom or what.
    logs = "".join(path.read_text() for path in stack.folder.glob("*.log"))
    assert '"action": "settled"' in logs
    assert not any(mail.recipient in logs for mail in smtp.accepted) and "Bewerb" not in logs


def test_two_schedulers_two_evaluators_three_mailers_on_rabbitmq_only(
    distributed_stack: Stack, smtp: MailServer
) -> None:
    stack = distributed_stack
    stack.load_sample()
    stack.start(*["scheduler"] * 2, *["evaluator"] * 2, *["mailer"] * 3)
    run_scenarios(stack, smtp)
    check_effects(stack, smtp)
    assert set(stack.stop().values()) == {0}


def test_query_list_answers_the_expected_recipients(stack: Stack) -> None:
    stack.load_sample()
    expected = json.loads((DATA / "expected_recipients.json").read_text(encoding="utf-8"))
    compared = 0
    for query, days in expected.items():
        for day, wanted in days.items():
            answer = stack.answer("query", "list", query, "--on", day)
            found = [{k: r[k] for k in ("application", "email", "duplicates_collapsed")} for r in answer["recipients"]]
            assert {"matched": answer["matched"], "recipients": found} == wanted, (query, day)
            compared += 1
    assert compared == 15
