"""With four eyes on, nothing becomes An and nothing unclear is sent again without a second user (S23)."""

import asyncio
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import update

from services.scheduler.state_metrics import tell_state
from shared.db.approvals import SEALED, list_waiting
from shared.db.audit_tables import approvals
from shared.db.job_list import show_job
from shared.db.jobs import approve_job, copy_job, create_job, delete_job, refuse_job, rehearse_job, set_job
from shared.db.order_commands import decide_resend, retry, settle
from shared.db.tables import contact_jobs, events, write_orders
from shared.errors import KontaktpflegeError, NotFound, Outdated, Refused
from shared.queue_report import report
from shared.settings import load_settings
from tests.services.command_line import CommandLine
from tests.services.setup_files import apply, row, rows
from tests.services.world import EYES, JOB, MORNING, World

A1 = "A1,,Eins,a1@x.example,Neu,"


async def approve(world: World, author: str = "bert", **given: Any) -> Any:
    return await approve_job(world.database, JOB, author=author, now=MORNING, **given)


async def status(world: World, name: str = JOB) -> str:
    return str((await row(world.database, contact_jobs, name=name))["status"])


async def asked(world: World) -> list[tuple[str, str, str | None]]:
    """(state, who asked, who decided) of every approval, oldest first."""
    return [(one["state"], one["asked_by"], one["decided_by"]) for one in await rows(world.database, approvals)]


async def approved(world: World, *applicants: str) -> None:
    """A job that anna has set up and bert has approved."""
    await world.begin(*applicants, setup=EYES)
    await approve(world)
    assert await status(world) == "on"


async def test_s23_a_job_of_a_setup_file_waits_for_a_second_user(world: World) -> None:
    await world.begin(A1, setup=EYES)
    assert await status(world) == "off" and await asked(world) == [("waiting", "anna", None)]
    assert await world.turn() == [] and await world.rows() == []
    # The same file again asks nothing again.
    await apply(world.database, EYES, now=MORNING)
    assert await asked(world) == [("waiting", "anna", None)]
    shown = await show_job(world.database, JOB, MORNING)
    assert (shown["status"], shown["approval"]) == ("Aus", "asked for by anna")
    change = await approve(world)
    assert any("An: next dispatch" in note for note in change.notes)
    assert await status(world) == "on" and await asked(world) == [("approved", "anna", "bert")]
    assert (await show_job(world.database, JOB, MORNING))["approval"] is None
    acts = [(one["action"], one["author"]) for one in await rows(world.database, events, noun="job")]
    assert ("ask_approval", "anna") in acts and ("approve", "bert") in acts
    await world.run()
    assert len(await world.turn()) == 1


async def test_s23_who_asked_or_changed_it_last_cannot_approve(world: World) -> None:
    await world.begin(setup=EYES)
    for author in ("anna", "ANNA ", "os:root"):
        with pytest.raises(Refused):
            await approve(world, author)
    assert await status(world) == "off"
    # bert changes it, clara asks again: neither of them.
    await world.change(status="Aus")
    await set_as(world, "bert", note="x")  # no look at a note is needed
    await set_as(world, "bert", time="09:00")
    await set_as(world, "clara", status="An")
    assert (await asked(world))[-1][:2] == ("waiting", "bert")
    await refuse_job(world.database, JOB, author="bert", now=MORNING)
    await set_as(world, "clara", status="An")
    for author in ("bert", "clara"):
        with pytest.raises(Refused, match="another user has to look"):
            await approve(world, author)
    await approve(world, "anna")
    assert await status(world) == "on"


async def set_as(world: World, author: str, **pairs: str) -> Any:
    return await set_job(world.database, JOB, pairs, author=author, now=MORNING)


#: What changes what a job does -> how.
CHANGES = {
    "the time": {"time": "09:30"},
    "the lead": {"lead_days": "2"},
    "the query": {"query": "Geburtstag"},
    "the letter": {"letter": "Ende"},
    "the sender": {"sender": "recruiter"},
    "the guard": {"repeat_guard_days": "3"},
    "what is done when it is unclear": {"on_unclear": "resend"},
}


@pytest.mark.parametrize("what", CHANGES)
async def test_s23_a_change_makes_the_job_aus_until_it_is_approved_again(world: World, what: str) -> None:
    await approved(world, A1)
    await world.run()
    (order,) = await world.turn()
    change = await world.change(**CHANGES[what])
    assert "with this change the job is Aus until a second user approves it: asked for" in change.notes
    assert await status(world) == "off"
    assert await asked(world) == [("lapsed", "anna", "bert"), ("waiting", "anna", None)]
    # What was on its way is not sent.
    assert (await world.claim(order)).orders == []
    await approve(world)
    assert await status(world) == "on"


async def test_s23_a_query_or_a_letter_under_an_approval_makes_the_job_aus(world: World) -> None:
    await approved(world)
    for number, (old, new) in enumerate((("in: [Neu]", "in: [Pool]"), ('"Guten Tag"', '"Hallo"')), 1):
        changed = EYES.replace(old, new)
        preview = await apply(world.database, changed, now=MORNING, dry_run=True)
        assert any("until a second user approves" in text for _, text in preview.notes)
        assert await status(world) == "on"
        difference = await apply(world.database, changed, now=MORNING)
        assert any("until a second user approves" in text for _, text in difference.notes)
        assert await status(world) == "off" and len(await rows(world.database, approvals)) == number + 1
        await approve(world)
        assert await status(world) == "on"


async def test_s23_a_name_or_a_note_needs_nobody_and_aus_and_an_again_neither(world: World) -> None:
    await approved(world)
    await world.change(note="Hinweis")
    await world.change(status="Aus")
    await world.change(status="An")
    assert await status(world) == "on" and len(await asked(world)) == 1
    assert {"name", "note", "status"} & SEALED == set() and {"query_id", "letter_id", "dispatch_time"} <= SEALED
    assert {"consent_answer_days", "consent_status_id", "time_zone", "sender", "priority"} <= SEALED


async def test_s23_a_change_while_it_is_asked_for_asks_anew(world: World) -> None:
    await world.begin(setup=EYES)
    seal = (await row(world.database, approvals))["seal"]
    await world.change(time="09:30")
    assert [one for one, *_ in await asked(world)] == ["lapsed", "waiting"]
    with pytest.raises(Outdated):
        await approve(world, seal=seal)  # what bert was shown
    # Behind everybody's back.
    async with world.database.begin() as connection:
        await connection.execute(update(contact_jobs).values(dispatch_time="10:00"))
    with pytest.raises(Outdated):
        await approve(world)
    assert await status(world) == "off"


async def test_s23_refused_withdrawn_copied_and_deleted(world: World) -> None:
    await world.begin(setup=EYES)
    await refuse_job(world.database, JOB, author="bert", now=MORNING)
    assert await asked(world) == [("refused", "anna", "bert")] and await status(world) == "off"
    with pytest.raises(Refused, match="no approval is asked for"):
        await approve(world)
    await world.change(status="An")
    await world.change(status="Aus", note="doch nicht")
    await world.change(status="An")
    await copy_job(world.database, JOB, "Kopie", author="anna", now=MORNING)
    assert await status(world, "Kopie") == "off"
    with pytest.raises(Refused, match="no approval is asked for"):
        await approve_job(world.database, "Kopie", author="bert", now=MORNING)
    pairs = {"name": "Neu", "query": "Neue", "letter": "Brief", "dispatch": "rolling", "time": "08:00", "status": "An"}
    change = await create_job(world.database, pairs, author="anna", now=MORNING)
    assert "a second user has to approve: asked for" in change.notes and await status(world, "Neu") == "off"
    await delete_job(world.database, JOB, author="anna", now=MORNING)
    assert [one["state"] for one in await rows(world.database, approvals)] == ["refused", "lapsed", "waiting"]
    with pytest.raises(NotFound):
        await approve(world)


async def test_s23_a_rehearsal_shows_whom_it_would_reach_and_asks_nobody(world: World) -> None:
    await world.begin(A1, setup=EYES)
    await refuse_job(world.database, JOB, author="bert", now=MORNING)
    change = await rehearse_job(world.database, JOB, {"status": "An"}, author="anna", now=MORNING)
    assert [(one.before, one.after) for one in change.impact] == [(0, 1)]
    assert "a second user has to approve: asked for" in change.notes
    assert await status(world) == "off" and [one for one, *_ in await asked(world)] == ["refused"]


async def test_s23_off_it_asks_nobody_and_what_is_an_stays_so_when_it_comes(world: World) -> None:
    await world.begin()
    assert await status(world) == "on" and await asked(world) == []
    await apply(world.database, EYES, now=MORNING)
    assert await status(world) == "on"
    await world.change(time="09:30")
    assert await status(world) == "off"
    off = EYES.replace("four_eyes: yes", "four_eyes: no").replace("08:00", "09:30")
    await apply(world.database, off, now=MORNING)
    assert await status(world) == "on" and [one for one, *_ in await asked(world)] == ["lapsed"]


async def test_s23_several_at_once_approve_and_change(world: World) -> None:
    """Whoever comes first: what is An was approved as it is."""
    await world.begin(setup=EYES)

    async def tries(work: Any) -> bool:
        try:
            await work
        except (Refused, Outdated):
            return False
        return True

    for number in range(6):
        await world.change(time=f"10:{number:02}", status="Aus")
        await world.change(status="An")
        seal = (await rows(world.database, approvals))[-1]["seal"]
        answers = await asyncio.gather(
            tries(approve(world, "bert", seal=seal)),
            tries(approve(world, "clara", seal=seal)),
            tries(set_as(world, "dora", time=f"11:{number:02}")),
            tries(set_as(world, "emil", status="An")),
        )
        assert sum(answers[:2]) <= 1
        job = await row(world.database, contact_jobs)
        living = [one for one in await rows(world.database, approvals) if one["state"] in ("waiting", "approved")]
        assert len(living) == 1
        if job["status"] == "on":
            assert living[0]["state"] == "approved" and job["dispatch_time"].startswith("10:")
        else:
            assert living[0]["state"] == "waiting"


async def unclear(world: World) -> int:
    await approved(world, A1)
    await world.run()
    (order,) = await world.turn()
    (held,) = (await world.claim(order)).orders
    assert await world.intend(held) == {order}
    await world.settle(held, "unclear", reason="no answer")
    return order


async def test_s23_an_unclear_letter_is_sent_again_by_two(world: World) -> None:
    order = await unclear(world)
    who = {"now": MORNING, "author": "anna"}
    for _ in range(2):
        assert await settle(world.database, order, "resend", **who) is False
    assert await world.state(order) == "unclear"
    assert (await asked(world))[1:] == [("waiting", "anna", None)]
    with pytest.raises(Refused, match="whoever asked"):
        await decide_resend(world.database, order, approve=True, **who)
    await decide_resend(world.database, order, approve=False, now=MORNING, author="bert")
    with pytest.raises(Refused, match="no approval is asked for"):
        await decide_resend(world.database, order, approve=True, now=MORNING, author="bert")
    await settle(world.database, order, "resend", **who)
    results = await asyncio.gather(
        *(decide_resend(world.database, order, approve=True, now=MORNING, author=name) for name in ("bert", "clara")),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in results) == ["NoneType", "Refused"]
    assert await world.state(order) == "queued"
    acts = {one["action"]: one["author"] for one in await rows(world.database, events, noun="order")}
    assert acts["ask_approval"] == "anna" and acts["refuse"] == "bert" and acts["approve"] in ("bert", "clara")


async def test_s23_what_waits_for_a_second_user_is_told(world: World) -> None:
    def metric() -> float | None:
        return REGISTRY.get_sample_value("kontaktpflege_approvals")

    async def told() -> list[tuple[str | None, int | None, str]]:
        await tell_state(world.database, world.clock)
        async with world.database.read() as connection:
            found = await list_waiting(connection)
        assert metric() == len(found)
        return [(one["job"], one["order_id"], one["asked_by"]) for one in found]

    order = await unclear(world)
    assert await told() == []
    await settle(world.database, order, "resend", now=MORNING, author="anna")
    assert await told() == [(None, order, "anna")]
    await set_as(world, "clara", time="09:30")
    assert await told() == [(None, order, "anna"), (JOB, None, "clara")]
    answer = await report(world.database, load_settings({}), MORNING)
    assert [(one["job"], one["asked_by"]) for one in answer["approvals"]] == [(None, "anna"), (JOB, "clara")]
    async with world.database.begin() as connection:
        await connection.execute(update(write_orders).values(state="sent"))  # its answer came late
    assert await told() == [(JOB, None, "clara")]
    await refuse_job(world.database, JOB, author="bert", now=MORNING)
    assert await told() == []


async def test_s23_what_was_given_up_while_unclear_is_not_sent_again_by_one(world: World) -> None:
    order = await unclear(world)
    await settle(world.database, order, "failed", now=MORNING, author="anna")
    with pytest.raises(Refused, match="may have arrived"):
        await retry(world.database, order, now=MORNING, author="anna")
    assert await world.state(order) == "failed"


async def test_s23_the_question_lapses_with_another_hand_over_or_decision(world: World) -> None:
    order = await unclear(world)
    await settle(world.database, order, "resend", now=MORNING, author="anna")
    async with world.database.begin() as connection:
        await connection.execute(update(write_orders).values(attempts=write_orders.c.attempts + 1))
    with pytest.raises(Outdated):
        await decide_resend(world.database, order, approve=True, now=MORNING, author="bert")
    assert await settle(world.database, order, "failed", now=MORNING, author="anna") is True
    assert (await asked(world))[-1][0] == "lapsed" and await world.state(order) == "failed"
    with pytest.raises(KontaktpflegeError):
        await decide_resend(world.database, order, approve=True, now=MORNING, author="bert")


def test_s23_on_the_command_line(cli: CommandLine) -> None:
    for name in ("b.kurz", "c.lang"):
        assert cli("user", "create", name, "--display-name", name, "--role", "operate").code == 0
    eyes = cli.file("eyes.yaml", "settings: {four_eyes: yes}\n")
    assert "needs 'admin'" in cli.says_one_line("apply", eyes, KP_USER="a.weber")
    assert cli("apply", eyes).code == 0
    answer = cli("job", "set", "Grüße", "time=09:30", KP_USER="a.weber")
    assert answer.code == 0 and "until a second user approves" in answer.err
    assert (
        "asked for by a.weber" in cli("job", "list").out and "asked for by a.weber" in cli("job", "show", "Grüße").out
    )
    assert "whoever asked cannot approve" in cli.says_one_line("job", "approve", "Grüße", KP_USER="a.weber")
    assert "needs a user of its own" in cli.says_one_line("job", "approve", "Grüße")
    assert cli("job", "refuse", "Grüße", KP_USER="b.kurz").out == "Grüße: refused, the job stays Aus\n"
    assert "asked for" in cli("job", "set", "Grüße", "status=An", KP_USER="b.kurz").err
    answer = cli("job", "approve", "Grüße", KP_USER="c.lang")
    assert answer.out == "Grüße: approved\n" and "next dispatch" in answer.err
    assert "there is no order" in cli.says_one_line("order", "approve", "7", KP_USER="c.lang")
