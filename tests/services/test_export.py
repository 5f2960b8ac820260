"""Exported lists, read back by another library: types, traps, and files that import again (D2)."""

import csv
import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from python_calamine import CalamineWorkbook

from shared.errors import InvalidInput
from shared.exporting import LISTS, Wording, export_list, export_source
from tests.services.import_files import Files, lines
from tests.services.world import DAY, JOB, MORNING, World

#: What begins like a formula, what looks like a number, and what XML cannot hold.
TRAPS = ["=1+1", "+49 40 123", "-5", "@SUM(A1)", "00123", "12:30", "https://x.example", "'x", "Zeile\u0007Ende"]


async def begin(world: World, *, letters: bool = True) -> None:
    await world.begin()
    rows = [
        f'{name},{trap},Neu,1990-02-28,2026-01-0{number + 1},true,2026-02-01,"{trap}",0170{number}'
        for number, (name, trap) in enumerate(zip(("00123", *"ABCDEFGH"), TRAPS, strict=True))
    ]
    columns = "external_id,last_name,status,birth_date,received_on,in_pool,pool_since,custom.Notiz,phone"
    assert not (await Files(world.database, world.folder).applications(lines(columns, *rows))).bad_rows
    contact = lines("application,at,medium,direction,subject", "A,2026-07-01T09:30:00+02:00,mail,outgoing,=cmd|x")
    assert not (await Files(world.database, world.folder).contacts(contact)).bad_rows
    await world.applicants("Z1,S9,Muster,z1@x.example,Neu,")
    if letters:
        await world.run()
        await world.turn()
        await world.send((await world.order("Z1"))["id"])


async def exported(world: World, what: str, out: Path) -> int:
    return await export_list(world.database, what, out, world.clock.now())


def sheet(path: Path) -> list[dict[str, Any]]:
    header, *rows = CalamineWorkbook.from_path(str(path)).get_sheet_by_name("list").to_python(skip_empty_area=False)
    return [dict(zip(map(str, header), row, strict=True)) for row in rows]


async def test_d2_every_list_opens_in_excel_with_the_right_types(world: World, tmp_path: Path) -> None:
    await begin(world)
    found = {}
    for what in LISTS:
        count = await exported(world, what, tmp_path / f"{what}.xlsx")
        found[what] = sheet(tmp_path / f"{what}.xlsx")
        assert len(found[what]) == count > 0, what
    people = {row["external_id"]: row for row in found["applications"]}
    first = people["00123"]
    assert (first["birth_date"], first["received_on"]) == (date(1990, 2, 28), date(2026, 1, 1))
    assert (first["in_pool"], first["phone"], first["last_name"]) == (True, "01700", "=1+1")
    (contact,) = [row for row in found["contacts"] if row["application"] == "A"]
    assert (contact["at"], contact["subject"]) == (datetime(2026, 7, 1, 9, 30), "=cmd|x")
    (order,) = [row for row in found["orders"] if row["application"] == "Z1"]
    assert (order["occasion_day"], order["sent_at"]) == (DAY, datetime(2026, 11, 23, 7, 0))
    assert (order["id"], order["attempts"]) == (order["id"] * 1.0, 1.0) and order["time_zone"] == "Europe/Berlin"
    (job,) = found["jobs"]
    assert job["name"] == JOB and isinstance(job["next_dispatch"], datetime) and job["sent"] == 1.0
    assert isinstance(found["runs"][0]["occasion_day"], date) and found["runs"][0]["released_orders"] == 10.0
    assert "password_hash" not in found["users"][0]


async def test_d2_s24_text_stays_text_whatever_it_begins_with(world: World, tmp_path: Path) -> None:
    await begin(world)
    await exported(world, "applications", tmp_path / "a.xlsx")
    names = {row["last_name"] for row in sheet(tmp_path / "a.xlsx")}
    assert {trap.replace("\u0007", "\ufffd") for trap in TRAPS} <= names
    assert {row["custom.Notiz"] for row in sheet(tmp_path / "a.xlsx")} >= {"=1+1", "00123"}


async def test_s24_what_a_wording_makes_of_a_cell_or_a_heading_is_text_too(world: World, tmp_path: Path) -> None:
    await begin(world, letters=False)
    out = tmp_path / "a.xlsx"
    trapped = Wording(
        rows="Liste",
        about="Mehr",
        heading=lambda column: f"=HYPERLINK({column})\u0001",
        told=lambda row: {column: f"=1+1&{value}\u0007" for column, value in row.items()},
    )
    count = await export_source(world.database, LISTS["applications"], out, world.clock.now(), wording=trapped)
    headings, *rows = CalamineWorkbook.from_path(str(out)).get_sheet_by_name("Liste").to_python()
    assert headings[0] == "=HYPERLINK(external_id)\ufffd" and len(rows) == count
    assert all(str(cell).startswith("=1+1&") and str(cell).endswith("\ufffd") for row in rows for cell in row if cell)
    with ZipFile(out) as book:
        xml = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in xml and "<hyperlink" not in xml


async def test_d2_an_empty_list_has_its_header(world: World, tmp_path: Path) -> None:
    await world.begin()
    assert await exported(world, "orders", tmp_path / "o.xlsx") == 0
    names = CalamineWorkbook.from_path(str(tmp_path / "o.xlsx")).get_sheet_by_name("list").to_python()[0]
    assert names[:3] == ["id", "type", "task"]
    await exported(world, "orders", tmp_path / "o.csv")
    assert (tmp_path / "o.csv").read_text().startswith("id,type,task,job,")


async def test_d2_a_full_sheet_is_followed_by_another_one(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(world, letters=False)
    monkeypatch.setattr("shared.exporting.workbook.EXCEL_ROWS", 4)
    count = await exported(world, "applications", tmp_path / "a.xlsx")
    book = CalamineWorkbook.from_path(str(tmp_path / "a.xlsx"))
    sheets = [book.get_sheet_by_name(name).to_python() for name in book.sheet_names if name != "about"]
    assert [len(rows) - 1 for rows in sheets] == [4] * (count // 4) + ([count % 4] if count % 4 else [])
    assert len({str(rows[0]) for rows in sheets}) == 1
    assert len({row[0] for rows in sheets for row in rows[1:]}) == count == 10
    assert book.get_sheet_by_name("about").to_python()[1][0] == f"{count} rows"


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
async def test_exported_applications_and_contacts_import_again_without_a_change(
    world: World, tmp_path: Path, ending: str
) -> None:
    await begin(world, letters=False)
    for what in ("applications", "contacts"):
        await exported(world, what, tmp_path / f"{what}{ending}")
    before = {what: (tmp_path / f"{what}{ending}").read_text() for what in ("applications", "contacts")}
    files = Files(world.database, world.folder)
    for what in ("applications", "contacts"):
        report = await getattr(files, what)(before[what], name=f"{what}{ending}")
        assert not report.bad_rows and not report.inserted, report
        await exported(world, what, tmp_path / f"{what}{ending}")
        assert (tmp_path / f"{what}{ending}").read_text() == before[what]


async def test_d3_the_history_is_a_list_too(world: World, tmp_path: Path) -> None:
    await begin(world)
    await world.change(time="09:30")
    await exported(world, "history", tmp_path / "h.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "h.jsonl").read_text().splitlines()]
    (change,) = [row for row in rows if row["field"] == "time" and row["action"] == "change"]
    assert (change["author"], change["old"], change["new"]) == ("anna", "08:00", "09:30")


async def test_what_cannot_be_exported_is_refused_and_leaves_nothing(world: World, tmp_path: Path) -> None:
    await world.begin()
    for what, out, message in (
        ("nothing", "x.csv", "one of setup, applications"),
        ("orders", "x.doc", "the ending must be one of .csv, .jsonl, .xlsx"),
        ("orders", "no/folder/x.csv", "cannot be written"),
    ):
        with pytest.raises(InvalidInput, match=message):
            await exported(world, what, tmp_path / out)
    assert not list(tmp_path.glob("x.*"))  # noqa: ASYNC240


async def test_a_failure_in_the_middle_leaves_no_file(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(world)

    def broken(rows: int) -> None:
        if rows == 3:
            raise RuntimeError

    for ending in (".csv", ".jsonl", ".xlsx"):
        with pytest.raises(RuntimeError):
            await export_list(world.database, "applications", tmp_path / f"out{ending}", MORNING, broken)
    assert not list(tmp_path.glob("out*"))  # noqa: ASYNC240


async def test_d30_orders_are_exported_as_the_workcenter_lists_them(world: World, tmp_path: Path) -> None:
    await begin(world)
    world.clock.advance(timedelta(days=1))
    await exported(world, "orders", tmp_path / "o.csv")
    rows = list(csv.DictReader((tmp_path / "o.csv").read_text(encoding="utf-8").splitlines()))
    (sent,) = [row for row in rows if row["state"] == "sent"]
    assert (sent["sent_at"], sent["subject"]) == ("2026-11-23T07:00:00+01:00", "Guten Tag")
    assert {row["sent_at"] for row in rows if row["state"] != "sent"} == {""}
