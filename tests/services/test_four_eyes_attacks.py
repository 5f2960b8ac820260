"""Who may change jobs, or send, tries to do alone what four eyes should look at; one test for each way (S23)."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from shared.db.approvals import seal_of_job
from shared.db.job_list import show_job
from shared.db.jobs import approve_job, refuse_job, set_job
from shared.db.manual_orders import Wish, create_order
from shared.db.order_commands import decide_resend, retry, settle
from shared.db.tables import applications, attempts, contact_jobs, form_letters, users, write_orders
from shared.errors import NotFound, Outdated, Refused
from shared.setup import apply_setup, export_setup, read_setup
from tests.services.setup_files import apply, read, row, rows
from tests.services.test_four_eyes import A1, approve, approved, asked, set_as, status, unclear
from tests.services.world import EYES, JOB, MORNING, World

META = "{name: Pool, meta: pool}"
#: What depends on what statuses mean -> where it is written, and a status that then decides.
DECIDED = {
    "whom the query finds": ("[{field: status, in: [Neu]}]", "[{field: meta_status, in: [new, pool]}]"),
    "whom it leaves out": ("[{field: status, in: [Neu]}]", "[{field: meta_status, not_in: [pool]}]"),
    "what the letter sets": ('text: "Guten Tag {{', 'sets_status: Pool, text: "Guten Tag {{'),
}


@pytest.mark.parametrize("what", DECIDED)
async def test_s23_a_status_that_means_something_else_makes_the_job_aus(world: World, what: str) -> None:
    setup = EYES.replace(*DECIDED[what])
    assert setup != EYES
    await world.begin(A1, setup=setup)
    await approve(world)
    await world.run()
    (order,) = await world.turn()
    (held,) = (await world.claim(order)).orders
    changed = f"statuses: [{META.replace('pool}', 'rejected}')}]"
    preview = await apply(world.database, changed, now=MORNING, dry_run=True)
    assert any("until a second user approves" in text for _, text in preview.notes)
    assert await status(world) == "on"
    await apply(world.database, changed, now=MORNING)
    assert await status(world) == "off" and [one for one, *_ in await asked(world)] == ["lapsed", "waiting"]
    # What was on its way is looked at again.
    assert await world.intend(held) == set()
    await approve(world)
    assert await status(world) == "on"


@pytest.mark.parametrize("what", DECIDED)
async def test_s23_a_new_status_that_nobody_has_lapses_no_approval(world: World, what: str) -> None:
    await world.begin(setup=EYES.replace(*DECIDED[what]))
    new = "statuses: [{name: Mehr, meta: pool}, {name: Fort, meta: hired}]"
    await apply(world.database, new, now=MORNING)
    assert await asked(world) == [("waiting", "anna", None)]
    await approve(world)
    await apply(world.database, new.replace("Mehr", "Noch mehr").replace("Fort", "Ganz fort"), now=MORNING)
    await world.change(status="Aus")
    await world.change(status="An")
    assert await status(world) == "on" and await asked(world) == [("approved", "anna", "bert")]
    # From then on they decide as all others do.
    decides = what != "what the letter sets"
    await apply(world.database, "statuses: [{name: Mehr, meta: hired}]", now=MORNING)
    assert await status(world) == ("off" if decides else "on")


async def seal_now(world: World) -> str:
    async with world.database.read() as connection:
        return await seal_of_job(connection, (await connection.execute(select(contact_jobs.c.id))).scalar_one())


async def test_s23_a_status_that_decides_nothing_for_a_job_leaves_it_an(world: World) -> None:
    await approved(world)
    await apply(world.database, f"statuses: [{META.replace('pool}', 'rejected}')}]", now=MORNING)
    assert await status(world) == "on" and len(await asked(world)) == 1


async def test_s23_what_was_shown_before_a_status_meant_something_else_is_not_approved(world: World) -> None:
    await world.begin(setup=EYES.replace(*DECIDED["whom the query finds"]))
    seal = await seal_now(world)
    await apply(world.database, f"statuses: [{META.replace('pool}', 'interview}')}]", now=MORNING)
    with pytest.raises(Outdated):
        await approve(world, seal=seal)
    assert [one for one, *_ in await asked(world)] == ["lapsed", "waiting"]


async def test_s23_a_letter_that_no_job_uses_any_more_reaches_nobody_who_was_planned_with_it(world: World) -> None:
    """The other letter of the job is approved; what is then written into the old one nobody looks at."""
    lead = EYES.replace("valid_days: 2", "valid_days: 2, lead_days: 2")
    await world.begin(A1, setup=lead)
    await approve(world)
    await world.turn()
    assert set((await world.orders()).values()) == {"planned"}
    await set_as(world, "anna", letter="Ende")
    await approve(world)
    await apply(
        world.database,
        lead.replace('"Guten Tag {{', '"Böses {{').replace("Brief, dispatch", "Ende, dispatch"),
        now=MORNING,
    )
    assert await status(world) == "on"
    letter = await row(world.database, form_letters, name="Ende")
    assert {one["letter_id"] for one in await world.rows()} == {letter["id"]}
    await world.run()
    (order,) = await world.turn()
    (held,) = (await world.claim(order)).orders
    assert (held.letter_id, held.letter_version) == (letter["id"], 1)


async def test_s23_a_letter_tried_again_is_the_one_that_was_approved(world: World) -> None:
    await approved(world, "A1,,Eins,,Neu,")
    await world.run()
    (order,) = await world.turn()
    assert (await world.claim(order)).others
    assert await world.state(order) == "no_address"
    await set_as(world, "anna", letter="Ende")
    await approve(world)
    async with world.database.begin() as connection:
        await connection.execute(update(applications).values(email="a1@x.example", usable_email="a1@x.example"))
    await retry(world.database, order, now=MORNING, author="anna")
    (held,) = (await world.claim(order)).orders
    assert held.letter_id == (await row(world.database, form_letters, name="Ende"))["id"]


async def test_s23_another_name_makes_no_second_user(world: World) -> None:
    await world.begin(setup=EYES)
    renamed = "{name: berta, was: anna, display_name: anna, role: operate}"
    await apply(world.database, f"users: [{renamed}]", now=MORNING)
    with pytest.raises(Refused, match="whoever asked"):
        await approve(world, "berta")
    # Who made the last change is known by the history.
    await refuse_job(world.database, JOB, author="bert", now=MORNING)
    await set_as(world, "clara", status="An")
    with pytest.raises(Refused, match="whoever made the last change"):
        await approve(world, "berta")
    assert await status(world) == "off"
    await approve(world, "bert")


async def test_s23_who_lost_the_right_or_is_locked_approves_nothing(world: World) -> None:
    await world.begin(setup=EYES)
    for values, message in (
        ({"role": "view"}, "this needs 'operate'"),
        ({"role": "edit", "locked_at": MORNING}, "locked"),
    ):
        async with world.database.begin() as connection:
            await connection.execute(update(users).where(users.c.name == "bert").values(values))
        with pytest.raises(Refused, match=message):
            await approve(world)
    with pytest.raises(NotFound):
        await approve(world, "nobody")
    assert await asked(world) == [("waiting", "anna", None)]


async def test_s23_a_note_does_not_hide_who_changed_the_job(world: World) -> None:
    await approved(world)
    await set_as(world, "bert", time="09:00", status="Aus")
    await refuse_job(world.database, JOB, author="anna", now=MORNING)
    later = MORNING + timedelta(hours=1)
    for pairs in ({"note": "x"}, {"status": "An"}):
        await set_job(world.database, JOB, pairs, author="clara", now=later)
    with pytest.raises(Refused, match="whoever made the last change"):
        await approve(world)


async def test_s23_who_changed_the_layout_changed_the_letter(world: World) -> None:
    layout = 'layouts: [{name: Rahmen, text: "{{ content }}\\n-- \\nFirma"}]\nletters:\n'
    setup = EYES.replace("letters:\n", layout).replace("{name: Brief,", "{name: Brief, layout: Rahmen,")
    await world.begin(setup=setup)
    await approve(world, "clara")
    other = read('layouts: [{name: Rahmen, text: "{{ content }} Bande"}]')
    await apply_setup(world.database, other, author="bert", role="edit", now=MORNING)
    assert (await asked(world))[-1][:2] == ("waiting", "bert")
    await refuse_job(world.database, JOB, author="anna", now=MORNING)
    await set_job(world.database, JOB, {"status": "An"}, author="clara", now=MORNING + timedelta(hours=1))
    with pytest.raises(Refused, match="whoever made the last change"):
        await approve(world, "bert")
    await approve(world, "anna")


async def test_s23_who_changes_a_letter_does_not_ask_for_what_another_did_to_the_job(world: World) -> None:
    """One changes a query and waits until somebody changes the letter: that would be their question, to approve."""
    await approved(world)
    await set_as(world, "clara", query="Geburtstag")
    await apply(world.database, "letters: [{name: Brief, subject: Hallo, text: Hallo}]", now=MORNING)
    assert (await asked(world))[-1][:2] == ("waiting", "clara")
    with pytest.raises(Refused, match="whoever asked"):
        await approve(world, "clara")
    with pytest.raises(Refused, match="whoever made the last change"):
        await approve(world, "anna")
    await approve(world, "bert")
    assert await status(world) == "on"


async def test_s23_who_approves_changed_nothing_since_it_was_asked(world: World) -> None:
    """Of several who correct the letter meanwhile each has a part in what is asked, not the last one only."""
    await approved(world)
    await set_as(world, "clara", query="Geburtstag")
    for hours, author in ((1, "anna"), (2, "bert")):
        letter = f"letters: [{{name: Brief, subject: Hallo, text: Von {author}}}]"
        now = MORNING + timedelta(hours=hours)
        await apply_setup(world.database, read(letter), author=author, role="edit", now=now)
    for author in ("anna", "bert", "clara"):
        with pytest.raises(Refused, match="another user has to look"):
            await approve(world, author)
    await approve(world, "a.weber")
    assert await status(world) == "on"


async def test_s23_who_renames_a_sender_does_not_ask_for_what_another_did_to_the_job(world: World) -> None:
    await approved(world)
    await set_as(world, "clara", query="Geburtstag")
    await apply(world.database, "users: [{name: w, was: a.weber, display_name: A, role: edit}]", now=MORNING)
    assert (await row(world.database, contact_jobs))["sender"] == "user:w"
    with pytest.raises(Refused, match="whoever asked"):
        await approve(world, "clara")
    await approve(world, "bert")


async def test_s23_a_job_that_took_the_name_of_what_was_looked_at_is_not_approved(world: World) -> None:
    other = "  - {name: Anderer, status: An, query: Geburtstag, letter: Ende, dispatch: rolling, time: '08:00'}\n"
    await world.begin(setup=EYES + other)
    seal = (await show_job(world.database, JOB, MORNING))["approval_seal"]
    for name, new in ((JOB, "Beiseite"), ("Anderer", JOB)):
        await set_job(world.database, name, {"name": new}, author="clara", now=MORNING)
    with pytest.raises(Outdated):
        await approve(world, seal=seal)
    assert await status(world) == "off"


async def test_s23_what_says_nothing_of_what_was_shown_approves_nothing(world: World) -> None:
    await world.begin(setup=EYES)
    with pytest.raises(Outdated):
        await approve(world, seal="")


async def test_s23_nothing_comes_back_approved_from_a_file(world: World) -> None:
    await approved(world)
    file = world.folder / "export.yaml"
    await export_setup(world.database, file)
    await set_as(world, "anna", time="09:30")
    assert await status(world) == "off"
    assert read_setup(file).settings["four_eyes"] is True
    await apply(world.database, file.read_text(encoding="utf-8"), now=MORNING)
    # As it was approved once; but what was approved has lapsed.
    assert await status(world) == "off" and [one for one, *_ in await asked(world)][-1] == "waiting"
    await apply(world.database, file.read_text(encoding="utf-8").replace(f"name: {JOB}", "name: Zweiter"), now=MORNING)
    assert await status(world, "Zweiter") == "off"


@pytest.mark.parametrize("decided", [None, "failed"], ids=["unclear", "given up"])
async def test_s23_an_unclear_letter_is_not_sent_again_by_a_new_order(world: World, decided: str | None) -> None:
    order = await unclear(world)
    if decided:
        await settle(world.database, order, decided, now=MORNING, author="anna")
    wish: dict[str, Any] = {"author": "anna", "now": MORNING + timedelta(hours=1)}
    with pytest.raises(Refused, match="may have arrived"):
        await create_order(world.database, Wish("manual", "A1", "Brief"), **wish)
    assert len(await world.rows()) == 1
    # Another letter is none of that, nor the same one a month later.
    await create_order(world.database, Wish("manual", "A1", "Ende"), **wish)
    await create_order(world.database, Wish("manual", "A1", "Brief"), author="anna", now=MORNING + timedelta(days=31))
    assert len(await world.rows()) == 3


async def test_s23_what_is_asked_about_an_order_and_its_job_are_two_questions(world: World) -> None:
    """Two who may send: one asks, another one approves; the job has been changed meanwhile, and nobody looked."""
    order = await unclear(world)
    await settle(world.database, order, "resend", now=MORNING, author="anna")
    await set_as(world, "anna", time="09:30")
    await decide_resend(world.database, order, approve=True, now=MORNING, author="bert")
    world.clock.advance(timedelta(minutes=15))
    assert (await world.claim(order)).orders == []
    assert await world.state(order) == "unclear"
    assert len(await rows(world.database, attempts)) == 1
    assert (await show_job(world.database, JOB, MORNING))["approval"] == "asked for by anna"


async def test_s23_a_run_by_hand_is_refused_while_a_second_user_is_waited_for(world: World) -> None:
    await world.begin(A1, setup=EYES)
    with pytest.raises(Refused, match="is Aus"):
        await world.run()
    with pytest.raises(Refused, match="whoever asked"):
        await approve_job(world.database, JOB, author="Anna", now=MORNING)
    await set_job(world.database, JOB, {"status": "An"}, author="anna", now=MORNING)
    assert await status(world) == "off" and await world.count(write_orders) == 0
