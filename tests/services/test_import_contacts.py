"""Imports of contacts against both databases: whose they are, once each, and the last contacts (D20, D23)."""

from collections import Counter

from sqlalchemy import insert, update

from shared.db.engine import Database
from shared.db.tables import contact_entries, persons
from tests.services.import_files import Files, applications_of, bad, counts, day, entries_of, lines

CONTACTS = "external_id,application,person,at,medium,direction,subject"


async def last(database: Database) -> dict[str, tuple[object, object, object]]:
    """Of each application: its own last contact, its last outgoing one, its person's."""
    found = await applications_of(database)
    names = ("last_contact_at", "last_outgoing_at", "person_last_contact_at")
    return {key: (row[names[0]], row[names[1]], row[names[2]]) for key, row in found.items()}


def entry(name: str, owner: str, on: str, medium: str = "mail", direction: str = "outgoing") -> str:
    return f"{name},{owner},{day(on).isoformat()},{medium},{direction},"


async def test_new_entries_raise_last_contacts_and_changed_ones_lower_or_move_them(
    files: Files, any_batch: None
) -> None:
    await files.applications(lines("external_id,duplicate_set", "A1,S1", "A2,S1", "A3,S2"))
    await files.contacts(
        lines(
            CONTACTS,
            entry("K1", "A1,", "10"),
            entry("K2", "A1,", "12", "note", "internal"),
            entry("K3", ",S1", "11", "phone"),
            entry("K4", ",S1", "20", "phone", "incoming"),
            entry("K5", ",S1", "21", "note", "internal"),
            entry("", "A1,", "09"),
        )
    )
    ten, eleven, twelve = day("10"), day("11"), day("12")
    assert await last(files.database) == {
        "A1": (twelve, ten, eleven),
        "A2": (None, None, eleven),
        "A3": (None, None, None),
    }
    changed = [
        entry("K1", "A1,", "05", "mail", "incoming"),
        entry("K2", "A2,", "13"),
        entry("K3", ",S2", "11", "phone"),
    ]
    report = await files.contacts(lines(CONTACTS, *changed, entry("K5", ",S1", "02", "in_person", "internal")))
    assert counts(report) == (4, 0, 4, 0, 0)
    assert await last(files.database) == {
        "A1": (day("09"), day("09"), day("02")),
        "A2": (day("13"), day("13"), day("02")),
        "A3": (None, None, eleven),
    }
    await files.contacts(lines(CONTACTS, entry("K2", ",S2", "13"), entry("K3", "A2,", "01")))
    assert await last(files.database) == {
        "A1": (day("09"), day("09"), day("02")),
        "A2": (day("01"), day("01"), day("02")),
        "A3": (None, None, day("13")),
    }


async def test_an_entry_keeps_what_a_file_without_the_column_does_not_say(files: Files, any_batch: None) -> None:
    await files.applications(lines("external_id", "A1"))
    old = [f"{entry(name, 'A1,', '01')},old,a.weber" for name in ("K1", "K2")]
    await files.contacts(lines(f"{CONTACTS},body,user", *old))
    new = [f"{entry('K1', 'A1,', '02')},", f"{entry('K2', 'A1,', '03')},new"]
    report = await files.contacts(lines(f"{CONTACTS},user", *new))
    assert counts(report) == (2, 0, 2, 0, 0)
    found = {row["identity"]: (row["at"], row["body"], row["author"]) for row in await entries_of(files.database)}
    assert found == {"id:K1": (day("02"), "old", None), "id:K2": (day("03"), "old", "new")}


async def test_contacts_without_an_id_are_appended_once(files: Files, any_batch: None) -> None:
    await files.applications(lines("external_id,duplicate_set", "A1,S1"))
    content = lines(
        CONTACTS, entry("", "A1,", "01"), entry("", "A1,", "01"), entry("", ",S1", "01"), entry("", "A1,", "02")
    )
    assert counts(await files.contacts(content)) == (4, 3, 0, 1, 0)
    assert counts(await files.contacts(content)) == (4, 0, 0, 4, 0)
    found = [(row["application"], row["person"], row["at"]) for row in await entries_of(files.database)]
    assert Counter(found) == Counter([("A1", None, day("01")), (None, "S1", day("01")), ("A1", None, day("02"))])


async def test_contacts_of_nobody_are_refused_by_name(files: Files, any_batch: None) -> None:
    await files.applications(lines("external_id,duplicate_set", "A1,S1"))
    report = await files.contacts(
        lines(
            CONTACTS,
            entry("K1", "A9,", "01"),
            entry("K2", ",S9", "01"),
            entry("K1", "A1,", "01"),
            entry("K3", "A1,S1", "01"),
        )
    )
    assert bad(report) == [(2, "application", "A9"), (3, "person", "S9"), (4, "external_id", "K1"), (5, "person", "S1")]
    assert await entries_of(files.database) == []


async def test_what_counts_for_a_person_goes_with_an_application_that_moves(files: Files, any_batch: None) -> None:
    await files.applications(lines("external_id,duplicate_set", "A1,S1", "A2,S1", "A3,S2"))
    await files.contacts(lines(CONTACTS, entry("K1", ",S1", "05"), entry("K2", ",S2", "03"), entry("K3", "A1,", "20")))
    a1 = (await applications_of(files.database))["A1"]["id"]
    letter = {"identity": "order:1", "application_id": a1, "at": day("10"), "counts_for_person": True}
    async with files.database.begin() as connection:
        # A letter of a contact job, as the mailer documents it.
        await connection.execute(
            insert(contact_entries).values(**letter, medium="form_letter_mail", direction="outgoing")
        )
        s1 = persons.c.duplicate_set == "S1"
        await connection.execute(update(persons).where(s1).values(last_contact_at=day("10")))
    await files.applications(lines("external_id,duplicate_set", "A1,S2"))
    theirs = {name: row[2] for name, row in (await last(files.database)).items()}
    assert theirs == {"A1": day("10"), "A2": day("05"), "A3": day("10")}
    await files.applications(lines("external_id,duplicate_set", "A1,", "A3,S3"))
    theirs = {name: row[2] for name, row in (await last(files.database)).items()}
    assert theirs == {"A1": day("10"), "A2": day("05"), "A3": None}
