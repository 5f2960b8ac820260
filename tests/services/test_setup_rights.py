"""Of a setup file only an administrator changes settings, statuses and users, as in the console (D5, S23)."""

import pytest

from shared.db.engine import Database
from shared.db.tables import contact_jobs, form_letters, users
from shared.errors import InvalidInput
from tests.services.setup_files import SETUP, apply, row
from tests.services.test_apply import everything

NEEDS = "needs 'admin', and user 'anna' has the right 'edit'"
AS_IT_IS = "or let an administrator apply the file"
#: What is written instead of what -> where, what, and what to do instead.
CHANGES = {
    "a setting": (("catch_up_hours: 6", "catch_up_hours: 7"), "line 2, settings, catch_up_hours: 7", "as it is (6)"),
    "a new setting": (
        ("catch_up_hours: 6", "catch_up_hours: 6, four_eyes: yes"),
        "settings, four_eyes: True",
        "(False)",
    ),
    "what a status means": (
        ("{name: Neu, meta: new}", "{name: Neu, meta: hired}"),
        "line 4, statuses, 'Neu', meta: 'hired'",
        "as it is (new)",
    ),
    "what a status is called": (("{name: Neu,", "{name: Neuer, was: Neu,"), "'Neuer', name: 'Neuer'", "as it is (Neu)"),
    "how a status is written": (("{name: Neu,", "{name: NEU,"), "'NEU', name: 'NEU'", "as it is (Neu)"),
    "a new status": (("statuses:\n", "statuses:\n  - {name: Da, meta: hired}\n"), "'Da', name: 'Da'", "leave it out"),
    "a right": (("role: edit", "role: admin"), "users, 'a.weber', role: 'admin'", "as it is (edit)"),
    "an address": (("a.weber@firma", "a.weber@boese"), "email: 'a.weber@boese.example'", "(a.weber@firma.example)"),
    "a new user": (
        ("users:\n", "users:\n  - {name: eve, display_name: Eve, role: admin}\n"),
        "users, 'eve', name: 'eve'",
        "leave it out",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("dry_run", [True, False], ids=["rehearsed", "applied"])
async def test_s23_a_file_that_changes_more_than_one_may_is_refused_as_a_whole(
    database: Database, what: str, dry_run: bool
) -> None:
    (old, new), place, instead = CHANGES[what]
    await apply(database, SETUP)
    before = await everything(database)
    # With something that the role may change.
    file = SETUP.replace(old, new).replace("Alles Gute", "Alles Liebe")
    assert old in SETUP
    with pytest.raises(InvalidInput) as refused:
        await apply(database, file, role="edit", dry_run=dry_run)
    said = str(refused.value)
    assert place in said and NEEDS in said and instead in said and AS_IT_IS in said, said
    assert await everything(database) == before
    await apply(database, file, dry_run=dry_run)


async def test_s23_what_a_file_only_repeats_asks_for_no_right(database: Database) -> None:
    await apply(database, SETUP)
    file = SETUP.replace("Alles Gute", "Alles Liebe").replace("08:00", "09:30").replace("[Absage]", "[Absage, Neu]")
    difference = await apply(database, file, role="edit")
    assert {kind for kind, *_ in difference.records} == {"query", "letter", "job"}
    assert (await row(database, contact_jobs))["dispatch_time"] == "09:30"
    assert (await row(database, form_letters, name="Geburtstag"))["version"] == 2


async def test_s23_nobody_takes_another_right_by_a_file(database: Database) -> None:
    await apply(database, SETUP)
    with pytest.raises(InvalidInput, match="needs 'admin'"):
        await apply(database, SETUP.replace("role: edit", "role: admin"), role="edit")
    assert (await row(database, users))["role"] == "edit"
