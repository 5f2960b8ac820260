"""A sender that the mail server refuses, beside others that it takes (C36)."""

import asyncio
from pathlib import Path

from services.mailer.outcome import SENDER_REFUSALS, Deferred, Refused, Sent
from services.mailer.relay_pause import MOST_SENDERS
from shared.domain.link_tokens import LinkTokens
from shared.domain.return_paths import ReturnPaths
from tests.services.smtp_sending import FROM, MAIL, TO, conversation, granted
from tests.smtp_scripts import always, well_behaved


async def test_c36_a_sender_refused_while_another_works_holds_up_its_own_letters_only(tmp_path: Path) -> None:
    def refuses_one(address: str, _: int) -> str | None:
        return "reject_mail_from_5xx" if address == "wrong@x.example" else None

    async with conversation(tmp_path, refuses_one, pool={"first_pause": 60.0}) as (oracle, pool):
        refused, sent = [], []
        for number in range(40):
            refused.append(await pool.send("wrong@x.example", f"a{number}@b.example", MAIL, granted))
            if number % 4 == 3:
                sent.append(await pool.send(FROM, f"a{number}@b.example", MAIL, granted))
        assert [type(one) for one in refused] == [Refused] * (SENDER_REFUSALS - 1) + [Deferred] * 36
        assert all(type(one) is Sent for one in sent)
        waiting = [one for one in refused if isinstance(one, Deferred)]
        assert not any(one.relay_trouble or one.counts for one in waiting)
        assert all((one.not_before_seconds or 0) > 55 for one in waiting)
        assert oracle.verbs.count("MAIL") == SENDER_REFUSALS + len(sent)  # while it waits it is not tried


async def test_c36_refused_senders_are_tried_again_and_remembered_up_to_a_bound(tmp_path: Path) -> None:
    async with conversation(tmp_path, always("reject_mail_from_5xx")) as (oracle, pool):
        for number in range(MOST_SENDERS + 10):
            pool._refusals.count(f"{number}@x.example")
        assert len(pool._refusals._senders) == MOST_SENDERS
        pool._refusals.accepted(FROM)  # another one works
        for _ in range(SENDER_REFUSALS - 1):
            assert isinstance(await pool.send("wrong@x.example", TO, MAIL, granted), Refused)
        pool._refusals.accepted(FROM)
        found = await pool.send("wrong@x.example", TO, MAIL, granted)
        assert isinstance(found, Deferred) and not found.relay_trouble
        assert pool.refuses_senders
        await asyncio.sleep(0.01)
        assert pool.refuses_senders  # its letters come again
        oracle.script = well_behaved
        assert isinstance(await pool.send("wrong@x.example", TO, MAIL, granted), Sent)
        assert not pool.refuses_senders


async def test_c36_return_paths_of_single_letters_are_one_sender(tmp_path: Path) -> None:
    paths = ReturnPaths("bounce@x.example", LinkTokens(["a secret of return paths for tests only"]))
    async with conversation(tmp_path, always("reject_mail_from_5xx"), pool={"first_pause": 60.0}) as (oracle, pool):
        found = [await pool.send(paths.of(number), TO, MAIL, granted) for number in range(SENDER_REFUSALS + 5)]
        assert all(type(one) is Refused for one in found[: SENDER_REFUSALS - 1])
        assert all(type(one) is Deferred for one in found[SENDER_REFUSALS - 1 :])
        # The relay is known to refuse them all: no letter fails for it, and it is not tried in vain.
        assert oracle.verbs.count("MAIL") == SENDER_REFUSALS
