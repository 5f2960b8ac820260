"""An unclear order on the command line: the list, the evidence, the three decisions and what refuses them (D37)."""

import asyncio
import json
from pathlib import Path

from structlog.testing import capture_logs

from shared.db.engine import Database
from shared.db.write_orders.intents import Intent, intend
from tests.services.command_line import CommandLine
from tests.services.world import World

APPLICANTS = [f"A{n},,Eins{n},a{n}@x.example,Neu," for n in range(4)]
HASH = "c0ffee" * 10 + "c0de"


async def three_unclear_and_one_queued(cli: CommandLine, folder: Path) -> list[int]:
    database = Database(f"sqlite:///{cli.database}")
    world = World(database, folder)
    orders = await world.queued(*APPLICANTS)
    for held in (await world.claim(*orders[:3])).orders:
        async with database.begin() as connection:
            await intend(connection, [Intent(held.id, held.token, held.job_id, 2345, HASH)], 60, world.clock.now())
        evidence = {"relay": "mail.example:25", "bytes": 2345, "body_hash": HASH}
        await world.settle(held, "unclear", reason="answer unknown: timeout", **evidence)
    await database.close()
    return orders


def prepare(cli: CommandLine, folder: Path) -> list[int]:
    assert cli("migrate").code == 0
    with capture_logs():
        return asyncio.run(three_unclear_and_one_queued(cli, folder))


def test_d37_i17_an_unclear_order_from_the_list_to_the_decision(empty: CommandLine, tmp_path: Path) -> None:
    cli = empty
    first, second, third, waiting = prepare(cli, tmp_path)
    listed = json.loads(cli("order", "list", "--state", "unclear", "--json").out)
    assert [one["id"] for one in listed] == [first, second, third]
    assert {one["reason"] for one in listed} == {"answer unknown: timeout"}
    shown = cli("order", "show", str(first)).out
    (attempt,) = json.loads(cli("order", "show", str(first), "--json").out)["attempt_history"]
    # Each in one piece, to be looked for in the mail server's log.
    for evidence in ("mail.example:25", attempt["message_id"], "2345", HASH, "2026-11-23 06:00 UTC"):
        assert evidence in shown
    ends = {first: ("sent", "sent"), second: ("failed", "failed"), third: ("resend", "queued")}
    for order, (decision, state) in ends.items():
        answer = cli("order", "settle", str(order), decision)
        assert answer.code == 0 and answer.out.startswith(f"order {order}: "), answer
        found = json.loads(cli("order", "show", str(order), "--json").out)
        (event,) = found["events"]
        assert (found["state"], event["old"], event["new"]) == (state, "unclear", state)
        assert event["author"].startswith("os:")
        message = cli.says_one_line("order", "settle", str(order), "sent")
        assert f"order {order} is {state}, not unclear" in message
    assert f"order {waiting} is queued, not unclear" in cli.says_one_line("order", "settle", str(waiting), "failed")


def test_d37_wrong_decisions_are_refused_in_one_line(empty: CommandLine, tmp_path: Path) -> None:
    cli = empty
    order = str(prepare(cli, tmp_path)[0])
    assert "there is no order 999" in cli.says_one_line("order", "settle", "999", "sent")
    assert "'lost': one of sent, resend, failed" in cli.says_one_line("order", "settle", order, "lost")
    assert "Missing argument" in cli.refuses("order", "settle", order, code=2)
    assert "`order settle` decides on it" in cli.says_one_line("order", "retry", order)
