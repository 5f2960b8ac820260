"""Imports of applications and contacts against both databases (D20, D23, D24, D34, D42)."""

import json
from datetime import date

import pytest
from sqlalchemy import select, update

from shared.db.engine import Database
from shared.db.tables import applications, contact_entries, custom_fields, events, metadata, persons
from shared.errors import Conflict, InvalidInput
from shared.importing.application_writer import ApplicationWriter
from tests.services.import_files import NOW, Files, applications_of, bad, counts, day, entries_of, lines
from tests.services.setup_files import rows

HEADER = "external_id,first_name,last_name,email,status,in_pool,birth_date,duplicate_set"
CONTACTS = "external_id,application,person,at,medium,direction,subject"


async def everything(database: Database) -> list[list[dict[str, object]]]:
    return [await rows(database, table) for table in metadata.sorted_tables]


async def test_a_good_file_is_imported_with_everything_that_follows_from_its_cells(files: Files) -> None:
    report = await files.applications(
        lines(
            f"{HEADER},kind,recruiter,vacancy,custom.Führerschein,received_on,pool_since",
            'A1,Ada,"Lovelace, ""Countess""",ada@ÄPFEL.example,NEU ,true,1992-02-29,S1,'
            "pool,A.Weber, Köln ,B,2026-01-02,2026-02-03",
            "A2,,,,,,,,,,,,,",
        )
    )
    assert (counts(report), report.warnings) == ((2, 2, 0, 0, 0), [])
    found = await applications_of(files.database)
    one, two = found["A1"], found["A2"]
    assert (one["last_name"], one["kind"], one["in_pool"]) == ('Lovelace, "Countess"', "pool", True)
    assert (one["birth_date"], one["birth_month_day"]) == (date(1992, 2, 29), 229)
    assert (one["received_on"], one["pool_since"]) == (date(2026, 1, 2), date(2026, 2, 3))
    assert (one["vacancy"], one["vacancy_folded"], one["recruiter_folded"]) == ("Köln", "köln", "a.weber")
    assert (one["duplicate_set"], one["identity"]) == ("S1", "set:S1")
    assert one["usable_email"] is not None and one["status_id"] is not None
    assert (two["kind"], two["in_pool"], two["identity"]) == ("application", False, "one:A2")
    unknown = ("first_name", "last_name", "email", "usable_email", "status_id", "birth_date", "birth_month_day")
    assert {two[name] for name in (*unknown, "recruiter", "recruiter_folded", "vacancy")} == {None}
    (custom,) = await rows(files.database, custom_fields)
    assert (custom["application_id"], custom["name"], custom["value"]) == (one["id"], "Führerschein", "B")


async def test_the_same_file_again_changes_nothing_but_counts_updates(files: Files, any_batch: None) -> None:
    people = lines(HEADER, "A1,Ada,L,a@b.example,Neu,true,1990-01-01,S1", "A2,Bo,M,,,,,S1", "A3,,,,,,,")
    talks = lines(
        CONTACTS, f"K1,A1,,{day('01').isoformat()},mail,outgoing,x", f",,S1,{day('02').isoformat()},phone,outgoing,"
    )
    own = ("import_id", "import_line")

    async def content() -> list[list[dict[str, object]]]:
        found = [await rows(files.database, table) for table in (persons, applications, custom_fields, contact_entries)]
        return [[{k: v for k, v in row.items() if k not in own} for row in table] for table in found]

    assert counts(await files.applications(people)) == (3, 3, 0, 0, 0)
    assert counts(await files.contacts(talks)) == (2, 2, 0, 0, 0)
    before = await content()
    assert counts(await files.applications(people)) == (3, 0, 3, 0, 0)
    assert counts(await files.contacts(talks)) == (2, 0, 1, 1, 0)
    assert await content() == before


async def test_a_missing_column_leaves_the_field_and_an_empty_cell_makes_it_unknown(files: Files) -> None:
    await files.applications(
        lines(f"{HEADER},custom.X,custom.Y", "A1,Ada,L,a@b.example,Neu,true,1990-01-01,S1,x,y", "A2,Bo,M,,,,,S2,x,y")
    )
    before = await applications_of(files.database)
    assert counts(await files.applications(lines("external_id,last_name,custom.x", "A1,,", "A2,New,z"))) == (
        2,
        0,
        2,
        0,
        0,
    )
    after = await applications_of(files.database)
    for name in ("A1", "A2"):
        assert {key for key in after[name] if after[name][key] != before[name][key]} == {"last_name", "import_id"}
    assert (after["A1"]["last_name"], after["A2"]["last_name"]) == (None, "New")
    custom = {
        (row["application_id"], row["name_folded"]): row["value"] for row in await rows(files.database, custom_fields)
    }
    a1, a2 = after["A1"]["id"], after["A2"]["id"]
    assert custom == {(a1, "y"): "y", (a2, "x"): "z", (a2, "y"): "y"}
    await files.applications(lines(HEADER, "A1,,,,,,,"))
    emptied = (await applications_of(files.database))["A1"]
    assert [emptied[name] for name in ("first_name", "email", "usable_email", "status_id", "birth_month_day")] == [
        None
    ] * 5
    assert (emptied["in_pool"], emptied["identity"]) == (False, "one:A1")


async def test_a_json_line_leaves_what_it_does_not_name_row_by_row(files: Files, any_batch: None) -> None:
    await files.applications(lines("external_id,first_name,last_name,city", "A1,a,b,c", "A2,a,b,c"))
    content = [{"external_id": "A1", "city": None}, {"external_id": "A2", "first_name": "z"}, {"external_id": 3}]
    report = await files.applications(lines(*map(json.dumps, content)), name="a.jsonl")
    assert counts(report) == (3, 1, 2, 0, 0)
    found = await applications_of(files.database)
    names = ("first_name", "last_name", "city")
    assert {key: tuple(row[name] for name in names) for key, row in found.items()} == {
        "A1": ("a", "b", None),
        "A2": ("z", "b", "c"),
        "3": (None, None, None),
    }


async def test_every_bad_row_is_reported_and_every_good_one_imported(files: Files, any_batch: None) -> None:
    report = await files.applications(
        lines(
            HEADER,
            "A1,ok,,,,,,",
            "A2,,,,Neu Online,,,",
            "A3,,,,,ja,,",
            "A4,,,,,,31.02.1990,",
            ",nobody,,,,,,",
            "A6,too,few",
            'A7,"open,,,,,,',
            "A8,ok,,,,,,",
        )
    )
    assert counts(report) == (8, 2, 0, 0, 6)
    assert bad(report) == [
        (3, "status", "Neu Online"),
        (4, "in_pool", "ja"),
        (5, "birth_date", "31.02.1990"),
        (6, "external_id", ""),
        (7, "row", "A6,too,few"),
        (8, "row", 'A7,"open,,,,,,'),
    ]
    assert {row.reason for row in report.bad_rows if row.column == "status"} == {"is no status of the setup"}
    assert set(await applications_of(files.database)) == {"A1", "A8"}


async def test_the_second_row_of_an_id_is_refused_naming_the_first(files: Files, any_batch: None) -> None:
    report = await files.applications(lines("external_id,city", "A1,one", "A2,x", "A1,two", "A3,x", "A1,three"))
    assert counts(report) == (5, 3, 0, 0, 2)
    assert [(row.line, row.value, row.reason.rpartition(" ")[2]) for row in report.bad_rows] == [
        (4, "A1", "2"),
        (6, "A1", "2"),
    ]
    assert (await applications_of(files.database))["A1"]["city"] == "one"
    again = await files.applications(lines("external_id,birth_date", "A2,kaputt", "A2,1990-01-01"))
    assert [(row.line, row.column) for row in again.bad_rows] == [(2, "birth_date"), (3, "external_id")]
    assert again.bad_rows[1].reason.endswith("the first row is in line 2")
    assert (await applications_of(files.database))["A2"]["birth_date"] is None
    talks = lines(CONTACTS, *(f"K1,A1,,{day(d).isoformat()},mail,outgoing,{d}" for d in ("01", "02", "03")))
    report = await files.contacts(talks)
    assert (counts(report), bad(report)) == ((3, 1, 0, 0, 2), [(3, "external_id", "K1"), (4, "external_id", "K1")])
    assert [row["subject"] for row in await entries_of(files.database)] == ["01"]


@pytest.mark.parametrize("last", ["A3,,,,Nope,,,", "A1,again,,,,,,"])
async def test_strict_imports_nothing_if_one_row_is_bad(files: Files, any_batch: None, last: str) -> None:
    await files.applications(lines(HEADER, "A2,before,,,,,,"))
    before = await everything(files.database)
    report = await files.applications(lines(HEADER, "A1,new,,,,,,", "A2,changed,,,,,,", last), strict=True)
    assert counts(report) == (3, 0, 0, 0, 1)
    assert await everything(files.database) == before
    talks = [f",A2,,{day('01').isoformat()},mail,outgoing,", f",A9,,{day('02').isoformat()},mail,outgoing,"]
    report = await files.contacts(lines(CONTACTS, *talks), strict=True)
    assert (counts(report), bad(report)) == ((2, 0, 0, 0, 1), [(3, "application", "A9")])
    assert await everything(files.database) == before
    assert counts(await files.contacts(lines(CONTACTS, talks[0]), strict=True)) == (1, 1, 0, 0, 0)


async def test_a_file_that_cannot_be_used_changes_nothing(files: Files) -> None:
    await files.applications(lines(HEADER, "A1,before,,,,,,"))
    before = await everything(files.database)
    for content in (
        "",
        "external_id;city\nA1;x\n",
        "external_id,citty\nA1,x\n",
        "city\nx\n",
        b"external_id,city\nA1,x\nA2,\xfc\n",
    ):
        for strict in (False, True):
            with pytest.raises(InvalidInput):
                await files.applications(content, strict=strict)
    with pytest.raises(InvalidInput, match="application or person"):
        await files.contacts("at,medium,direction\n")
    assert await everything(files.database) == before


async def test_addresses_that_are_not_valid_and_unknown_recruiters_are_accepted_and_reported(files: Files) -> None:
    content = lines(
        "external_id,email,recruiter", "A1,not an address,ghost", "A2,ok@firma.example,A.WEBER", "A3,,Ghost"
    )
    report = await files.applications(content)
    assert counts(report) == (3, 3, 0, 0, 0)
    found = await applications_of(files.database)
    assert (found["A1"]["email"], found["A1"]["usable_email"]) == ("not an address", None)
    assert found["A2"]["usable_email"] == "ok@firma.example"
    assert report.invalid_addresses == 1
    assert "line 2: 'not an address'" in report.warnings[0]
    assert "ghost" in report.warnings[1]
    await files.applications(lines("external_id,email", "A1,ok@firma.example", "A2,"))
    found = await applications_of(files.database)
    assert [found[name]["usable_email"] for name in ("A1", "A2")] == ["ok@firma.example", None]


async def test_reduced_applications_take_neither_rows_nor_contacts(files: Files, any_batch: None) -> None:
    await files.applications(lines("external_id,city", "A1,x", "A2,x"))
    async with files.database.begin() as connection:
        of_a1 = applications.c.external_id == "A1"
        await connection.execute(update(applications).where(of_a1).values(reduced_at=NOW, city=None))
    report = await files.applications(lines("external_id,city", "A1,y", "A2,y", "A1,z"))
    assert (counts(report), bad(report)) == ((3, 0, 1, 0, 2), [(2, "external_id", "A1"), (4, "external_id", "A1")])
    assert "is reduced" in report.bad_rows[0].reason
    found = await applications_of(files.database)
    assert [found[name]["city"] for name in ("A1", "A2")] == [None, "y"]
    report = await files.contacts(lines(CONTACTS, f"K1,A1,,{day('01').isoformat()},mail,outgoing,"))
    assert (bad(report), await entries_of(files.database)) == ([(2, "application", "A1")], [])


async def test_applications_are_one_person_by_set_else_by_all_keys_else_alone(files: Files, any_batch: None) -> None:
    header = "external_id,salutation,first_name,last_name,birth_date,duplicate_set"
    await files.applications(
        lines(
            header,
            "A1,Frau,Änne,Groß,1990-01-01,",
            "A2,FRAU, änne ,GROSS,1990-01-01,",
            "A3,Frau,Änne,Groß,,",
            "A4,Frau,Änne,Groß,,",
            "A5,Frau,Änne,Groß,1990-01-01,S1",
            "A6,,,,,S1",
        )
    )

    async def people() -> set[frozenset[str]]:
        by_person: dict[int, set[str]] = {}
        for name, row in (await applications_of(files.database)).items():
            by_person.setdefault(row["person_id"], set()).add(name)
        return {frozenset(names) for names in by_person.values()}

    assert await people() == {frozenset(names) for names in (("A1", "A2"), ("A3",), ("A4",), ("A5", "A6"))}
    await files.applications(lines("external_id,birth_date", "A1,1990-01-02", "A3,1990-01-01"))
    await files.applications(lines("external_id,duplicate_set", "A5,", "A4,S1"))
    assert await people() == {frozenset(names) for names in (("A1",), ("A2", "A3", "A5"), ("A4", "A6"))}


async def test_an_import_is_one_event_with_its_author_and_counts(files: Files, any_batch: None) -> None:
    await files.applications(lines("external_id,status", "A1,", "A2,", "A3,Nope"))
    await files.applications("external_id\nA1\n", name="second.csv")
    async with files.database.read() as connection:
        e = events.c
        found = await connection.execute(
            select(e.author, e.noun, e.record_name, e.field, e.new).where(e.action == "import")
        )
        assert [tuple(row) for row in found if row.new != "0"] == [
            ("anna", "application", "a.csv", "added", "2"),
            ("anna", "application", "a.csv", "bad", "1"),
            ("anna", "application", "second.csv", "updated", "1"),
        ]


async def test_a_batch_that_met_another_transaction_is_tried_again_and_counted_once(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, write = [], ApplicationWriter.write

    async def conflicting(self: ApplicationWriter, connection: object, batch: object) -> None:
        await write(self, connection, batch)  # type: ignore[arg-type]
        written.append(batch)
        if len(written) == 1:
            raise Conflict("deadlock detected")

    monkeypatch.setattr(ApplicationWriter, "write", conflicting)
    await files.applications(lines("external_id", "A1"))
    async with files.database.begin() as connection:
        await connection.execute(update(applications).values(reduced_at=NOW))
    written.clear()
    report = await files.applications(lines("external_id,status", "A1,", "A2,", "A3,Nope", "A3,"))
    assert len(written) == 2
    assert counts(report) == (4, 1, 0, 0, 3)
    assert bad(report) == [(2, "external_id", "A1"), (4, "status", "Nope"), (5, "external_id", "A3")]
