"""Manual orders and scheduled rejections, and the workcenter's list, on both databases (D30, D31)."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from shared.db.manual_orders import TYPES, Wish, create_order
from shared.db.order_commands import block, retry, settle
from shared.db.order_list import OrderFilter, list_orders
from shared.db.tables import application_statuses, applications, contact_entries, events, persons
from shared.errors import InvalidInput, NotFound, Refused
from tests.services.command_line import CommandLine
from tests.services.setup_files import row
from tests.services.world import DAY, JOB, MORNING, SETUP, World

NOON = MORNING + timedelta(hours=5)
STATUSES = SETUP.replace(
    "{name: Absage, meta: rejected}]",
    "{name: Absage, meta: rejected}, {name: Gespräch, meta: interview}, {name: Angebot, meta: offer},"
    " {name: Eingestellt, meta: hired}, {name: In Arbeit, meta: in_process}]",
).replace(
    "jobs:",
    """  - {name: Einladung, subject: "Einladung", text: "Kommen Sie", sets_status: Gespräch}
  - {name: Zwischenbescheid, subject: "Noch etwas Geduld", text: "Bald", sets_status: In Arbeit}
  - {name: Vertrag, subject: "Ihr Vertrag", text: "Willkommen", sets_status: Angebot}
jobs:""",
)
ONE = "A1,,Eins,a1@x.example,Neu,"


async def create(world: World, type_: str, letter: str, at: datetime | None = None) -> int:
    wish = Wish(type_, "A1", letter, at)
    return int((await create_order(world.database, wish, author="anna", now=world.clock.now()))["id"])


async def test_d30_a_manual_order_is_sent_and_is_a_contact_of_its_application_only(world: World) -> None:
    await world.begin("A1,S1,Eins,a1@x.example,Neu,", "A2,S1,Eins,a1@x.example,Neu,", setup=STATUSES)
    await world.change(status="Aus")
    order = await create(world, "invitation", "Einladung")
    assert await world.turn() == [order]
    await world.send(order)
    found = await world.order("A1")
    assert (found["state"], found["type"], found["task"], found["created_by"]) == (
        "sent",
        "manual",
        "invitation",
        "anna",
    )
    assert found["occasion_day"] == DAY
    entry = await row(world.database, contact_entries)
    assert (entry["counts_for_person"], entry["medium"], entry["direction"]) == (False, "form_letter_mail", "outgoing")
    assert (await row(world.database, persons))["last_contact_at"] is None
    status = await row(world.database, application_statuses, name="Gespräch")
    assert (await row(world.database, applications, external_id="A1"))["status_id"] == status["id"]


async def test_d30_a_second_click_makes_no_second_letter(world: World) -> None:
    await world.begin(ONE, setup=STATUSES)
    await world.change(status="Aus")

    async def clicked(at: datetime | None = None) -> int:
        wish = Wish("invitation", "A1", "Einladung", at)
        now = world.clock.now()
        return int((await create_order(world.database, wish, author="anna", now=now, once=True))["id"])

    first = await clicked()
    world.clock.set(MORNING + timedelta(seconds=2))
    assert await clicked() == first
    # What was stopped meanwhile is wanted anew.
    now = world.clock.now()
    await block(world.database, first, scope="letter", reason="zu früh", until=None, author="anna", now=now)
    first = await clicked()
    assert await world.state(first) == "planned"
    # Another moment is another letter, and so is the same wish a while later.
    later = await clicked(NOON)
    assert later != first and await clicked(NOON) == later
    world.clock.set(MORNING + timedelta(minutes=11))
    assert await clicked() not in (first, later)
    # Whoever asks twice on purpose, as the command line may, gets two.
    assert await create(world, "invitation", "Einladung") != await create(world, "invitation", "Einladung")


async def test_d30_an_order_waits_for_its_time(world: World) -> None:
    await world.begin(ONE, setup=STATUSES)
    await world.change(status="Aus")
    order = await create(world, "scheduled_rejection", "Ende", NOON)
    assert await world.turn() == [] and await world.state(order) == "planned"
    world.clock.set(NOON)
    assert await world.turn() == [order]
    await world.send(order)
    assert (await row(world.database, applications))["in_pool"] is False


@pytest.mark.parametrize(("status", "ends"), [("Eingestellt", "withdrawn"), ("Absage", "withdrawn"), ("Pool", "sent")])
async def test_d30_a_scheduled_rejection_spares_who_is_hired_or_rejected_by_now(
    world: World, status: str, ends: str
) -> None:
    await world.begin(ONE, setup=STATUSES)
    await world.change(status="Aus")
    order = await create(world, "scheduled_rejection", "Ende", NOON)
    await world.applicants(ONE.replace("Neu", status))
    world.clock.set(NOON)
    await world.send(*await world.turn())
    assert await world.state(order) == ends


async def test_d30_the_last_look_of_a_manual_order_asks_for_address_and_reduction_only(world: World) -> None:
    await world.begin(ONE, setup=STATUSES)
    await world.change(status="Aus")
    async with world.database.begin() as connection:
        await connection.execute(update(persons).values(opted_out_at=MORNING))
    sent, lost, reduced = [await create(world, "manual", "Brief") for _ in range(3)]
    await world.turn()
    await world.send(sent)  # only contact care is opted out of
    await world.applicants("A1,,Eins,,Neu,")
    await world.claim(lost)
    async with world.database.begin() as connection:
        await connection.execute(update(applications).values(reduced_at=MORNING))
    await world.claim(reduced)
    assert [await world.state(one) for one in (sent, lost, reduced)] == ["sent", "no_address", "withdrawn"]


@pytest.mark.parametrize("end", ["unclear", "failed"])
async def test_d30_d37_another_letter_to_the_same_person_does_not_keep_a_manual_one_from_being_sent_again(
    world: World, end: str
) -> None:
    await world.begin(ONE, setup=STATUSES)
    await world.change(status="Aus")
    sent, waiting, lost = [await create(world, "invitation", "Einladung") for _ in range(3)]
    await world.turn()
    await world.send(sent)
    (held,) = (await world.claim(lost)).orders
    await world.intend(held)
    await world.settle(held, end, reason="answer unknown")
    now = world.clock.now()
    if end == "unclear":
        await settle(world.database, lost, "resend", now=now, author="anna")
    else:
        await retry(world.database, lost, now=now, author="anna")
    assert [await world.state(one) for one in (sent, waiting, lost)] == ["sent", "queued", "queued"]


@pytest.mark.parametrize(
    ("task", "fits"),
    [
        ("invitation", {"Einladung"}),
        ("interim_notice", {"Zwischenbescheid", "Brief"}),
        ("rejection", {"Ende"}),
        ("contract", {"Vertrag"}),
        ("scheduled_rejection", {"Ende"}),
        ("manual", {"Einladung", "Zwischenbescheid", "Brief", "Ende", "Vertrag"}),
    ],
)
async def test_d30_a_task_takes_only_letters_whose_status_has_the_fitting_meta_status(
    world: World, task: str, fits: set[str]
) -> None:
    await world.begin(ONE, setup=STATUSES)
    for letter in ("Einladung", "Zwischenbescheid", "Brief", "Ende", "Vertrag"):
        if letter in fits:
            await create(world, task, letter, NOON)
        else:
            with pytest.raises(InvalidInput, match=sorted(fits)[-1]):
                await create(world, task, letter, NOON)
    assert len(await world.rows()) == len(fits)


@pytest.mark.parametrize(
    ("wish", "error", "message"),
    [
        (Wish("manuel", "A1", "Brief"), InvalidInput, "did you mean 'manual'"),
        (Wish("manual", "A9", "Brief"), NotFound, "application 'A9'"),
        (Wish("manual", "A1", "Breif"), InvalidInput, "did you mean 'Brief'"),
        (Wish("manual", "A1", "Brief", MORNING - timedelta(days=2)), InvalidInput, "lies in the past"),
        (Wish("scheduled_rejection", "A1", "Ende"), InvalidInput, "needs a time to come"),
        (Wish("scheduled_rejection", "A1", "Ende", MORNING), InvalidInput, "needs a time to come"),
    ],
)
async def test_d30_a_wish_that_cannot_be_is_refused_and_nothing_is_made(
    world: World, wish: Wish, error: type[Exception], message: str
) -> None:
    await world.begin(ONE, setup=STATUSES)
    with pytest.raises(error, match=message):
        await create_order(world.database, wish, author="anna", now=world.clock.now())
    assert await world.rows() == []


async def test_d30_nothing_is_written_to_whom_is_reduced_or_closed(world: World) -> None:
    await world.begin(ONE.replace("Neu", "Absage"), setup=STATUSES)
    with pytest.raises(Refused, match="is rejected already"):
        await create(world, "scheduled_rejection", "Ende", NOON)
    async with world.database.begin() as connection:
        await connection.execute(update(applications).values(reduced_at=MORNING))
    with pytest.raises(Refused, match="reduced to core data"):
        await create(world, "manual", "Brief")


async def test_d15_d30_a_local_time_that_the_clock_change_skips_is_the_first_after_it(world: World) -> None:
    await world.begin(ONE, setup=STATUSES)
    await create(world, "manual", "Brief", datetime(2027, 3, 28, 2, 30))
    assert (await world.order("A1"))["planned_for"] == datetime(2027, 3, 28, 1, 0, tzinfo=UTC)


async def test_d30_d31_the_workcenter_lists_every_type_and_each_job_is_one(world: World) -> None:
    await world.begin(ONE, setup=STATUSES)
    await create(world, "rejection", "Ende", NOON)
    await create(world, "scheduled_rejection", "Ende", NOON)
    await world.turn()

    async def found(**which: object) -> list[tuple[str, str | None]]:
        async with world.database.read() as connection:
            orders = await list_orders(connection, OrderFilter(**which))  # type: ignore[arg-type]
        assert all((order["sent_at"], order["subject"]) == (None, None) for order in orders)
        return [(order["type"], order["job"] or order["task"]) for order in orders]

    assert await found(type="manual") == [("manual", "rejection")]
    assert await found(type="scheduled_rejection") == [("scheduled_rejection", None)]
    assert await found(type="gruß") == [("contact_job", JOB)]
    assert len(await found()) == len(await found(state="planned", on=DAY)) == 3
    assert await found(first=DAY + timedelta(days=1)) == await found(recruiter="a.weber") == []
    with pytest.raises(NotFound, match="did you mean 'Gruß'"):
        await found(type="Grus")


async def test_d32_deleting_a_manual_order_withdraws_it(world: World) -> None:
    await world.begin(ONE, setup=STATUSES)
    order = await create(world, "manual", "Brief", NOON)
    deleted = {"scope": "job", "reason": "deleted", "until": None, "now": MORNING, "author": "anna"}
    assert await block(world.database, order, **deleted) == "withdrawn"  # type: ignore[arg-type]
    assert (await row(world.database, events, action="create", noun="order"))["author"] == "anna"


def test_d30_orders_are_made_and_dealt_with_in_bulk_from_the_command_line(cli: CommandLine) -> None:
    for _ in range(3):
        assert cli("order", "create", "manual", "A1", "--letter", "Geburtstag", "--at", "2099-01-01T08:00").code == 0
    assert "give ids, or --all" in cli.says_one_line("order", "delete")
    assert "not both" in cli.says_one_line("order", "delete", "1", "--all", "--state", "planned")
    answer = cli("order", "delete", "--all", "--type", "manual", "--state", "planned")
    assert answer.code == 0 and "withdrawn" in answer.out and "3" in answer.out
    answer = cli("order", "retry", "1", "2", "99")
    assert answer.code == 1 and "order 1 is withdrawn" in answer.err and "there is no order 99" in answer.err
    assert "2026-13-01" in cli.says_one_line(
        "order", "create", "manual", "A1", "--letter", "Ende", "--at", "2026-13-01"
    )
    assert len(TYPES) == 6
