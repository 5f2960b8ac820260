"""Which application of a person is written to, and why it is that one (D23, D24, D25)."""

from shared.db.person_duplicates import Duplicates, duplicates_of
from shared.db.tables import applications
from tests.services.import_files import Files, lines
from tests.services.setup_files import row
from tests.services.world import World

HEADER = "external_id,duplicate_set,salutation,first_name,last_name,birth_date,received_on"


async def found(world: World, application: str) -> Duplicates:
    person = (await row(world.database, applications, external_id=application))["person_id"]
    async with world.database.read() as connection:
        return await duplicates_of(connection, person)


async def imported(world: World, *rows: str) -> None:
    await world.begin()
    report = await Files(world.database, world.folder).applications(lines(HEADER, *rows))
    assert not report.bad_rows


async def contact(world: World, application: str, at: str, direction: str = "outgoing") -> None:
    content = lines("application,at,medium,direction", f"{application},{at},phone,{direction}")
    assert not (await Files(world.database, world.folder).contacts(content)).bad_rows


async def test_d23_of_two_alike_the_greater_number_stands_then_the_receipt_then_the_contact(world: World) -> None:
    await imported(world, "A1,S1,,,Eins,,2026-05-01", "A2,S1,,,Eins,,2026-05-01", "B1,,,,Zwei,,")
    one = await found(world, "A1")
    assert (one.by, one.duplicate_set) == ("set", "S1")
    assert [each["external_id"] for each in one.applications] == ["A2", "A1"]
    assert one.stands and (one.stands["external_id"], one.because) == ("A2", "number")
    await Files(world.database, world.folder).applications(lines("external_id,received_on", "A1,2026-05-02"))
    one = await found(world, "A2")
    assert one.stands and (one.stands["external_id"], one.because) == ("A1", "received")
    await contact(world, "A1", "2026-10-01T10:00:00+02:00", "incoming")
    await contact(world, "A2", "2025-10-01T10:00:00+02:00")
    one = await found(world, "A2")
    assert one.stands and (one.stands["external_id"], one.because) == ("A2", "outgoing")


async def test_d24_who_is_equal_on_the_keys_is_one_person_and_says_so(world: World) -> None:
    same = "Frau,Eva,Eins,1990-01-01"
    await imported(world, f"A1,,{same},2026-05-01", f"A2,,{same},2026-05-02", "B1,,,,Zwei,,")
    one = await found(world, "A1")
    assert (one.by, one.duplicate_set) == ("key", None)
    assert one.keys == ("salutation", "first_name", "last_name", "birth_date")
    alone = await found(world, "B1")
    assert alone.by == "one" and alone.because is None
    assert alone.stands and alone.stands["external_id"] == "B1"
