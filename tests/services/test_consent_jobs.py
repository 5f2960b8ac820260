"""Jobs that ask for consent: in the setup file, by `job set`, copied, shown; what does not fit is refused."""

from pathlib import Path

import pytest

from services.cli.doctor.database import jobs
from services.cli.doctor.findings import Installation, Trouble
from shared.db.consent_jobs import count_answers
from shared.db.engine import Database
from shared.db.job_list import show_job
from shared.db.jobs import copy_job, rehearse_job
from shared.db.tables import contact_jobs, events
from shared.errors import InvalidInput
from shared.settings import load_settings
from shared.setup.export import export_setup
from tests.services.consent_world import CONSENT, JOB, LETTER, PERSON, SILENCE, answer, asked, night, with_setting
from tests.services.setup_files import NOW, apply, row, rows
from tests.services.world import World

NO_LINKS = CONSENT.replace(LETTER, "Dürfen wir?")
NO_CONSENT = CONSENT.replace(", consent: {answer_days: 30, status: Absage}", "")


async def test_an_exported_consent_job_is_read_back_without_a_difference(database: Database, tmp_path: Path) -> None:
    await apply(database, CONSENT)
    file = tmp_path / "setup.yaml"
    await export_setup(database, file)
    text = file.read_text(encoding="utf-8")
    assert "answer_days: 30" in text
    again = await apply(database, text)
    assert again.records == []


async def test_consent_is_set_shown_and_taken_away(world: World) -> None:
    await world.begin(setup=CONSENT)
    change = await world.change(JOB, consent="answer_days=14 status=absage")
    assert change.changes == [("consent", "answer_days=30 status=Absage", "answer_days=14 status=absage")]
    shown = await show_job(world.database, JOB, NOW)
    assert shown["consent"] == "answer_days=14 status=Absage" and "consent_answers" not in shown
    assert (await world.change(JOB, consent="answer_days=14 status=Absage")).changes == []
    await world.change(JOB, consent="", letter="Brief")
    assert (await show_job(world.database, JOB, NOW))["consent"] is None
    told = [(one["old"], one["new"]) for one in await rows(world.database, events, noun="job", field="consent")]
    assert told[-1] == ("answer_days=14 status=Absage", None)


@pytest.mark.parametrize(
    ("setup", "place", "value", "says"),
    [
        (CONSENT.replace("status: Absage}}", "status: Pool}}"), "consent, status", "Pool", "rejected, not pool"),
        (CONSENT.replace("status: Absage}}", "status: Absge}}"), "consent, status", "Absge", "'Absage'"),
        (NO_LINKS, "letter", "Frage", r"write \{\{ links.stay \}\} into its text \(de\)"),
        (NO_CONSENT, "letter", "Frage", r"take \{\{ links.stay \}\} out, or give the job `consent`"),
    ],
)
async def test_a_file_that_does_not_fit_is_refused_with_place_value_and_fix(
    database: Database, setup: str, place: str, value: str, says: str
) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        await apply(
            database, setup.replace("consent: {answer_days: 30, status: ", "consent: {answer_days: 30, status: ")
        )
    assert refused.value.place.endswith(place) and refused.value.value == value
    assert JOB in refused.value.place
    assert await rows(database, contact_jobs) == []


async def test_job_and_letter_are_changed_together_and_neither_alone(world: World) -> None:
    await world.begin(setup=CONSENT)
    emptied = ("consent: {answer_days: 30, status: Absage}", "consent: null")
    for apart in (NO_LINKS, CONSENT.replace(*emptied)):
        with pytest.raises(InvalidInput, match="links"):
            await apply(world.database, apart)
    with pytest.raises(InvalidInput, match="links"):
        await world.change(JOB, consent="")
    with pytest.raises(InvalidInput, match="links"):
        await world.change("Gruß", letter="Frage")
    with pytest.raises(InvalidInput, match="links"):
        await rehearse_job(world.database, JOB, {"letter": "Brief"}, author="anna", now=NOW)
    await apply(world.database, NO_LINKS.replace(*emptied))
    assert (await row(world.database, contact_jobs, name=JOB))["consent_answer_days"] is None
    await apply(world.database, CONSENT)
    assert (await row(world.database, contact_jobs, name=JOB))["consent_answer_days"] == 30


async def test_a_copy_asks_the_same(world: World) -> None:
    await world.begin(setup=CONSENT)
    await copy_job(world.database, JOB, "Kopie", author="anna", now=NOW)
    original, copy = [await row(world.database, contact_jobs, name=name) for name in (JOB, "Kopie")]
    assert original["consent_answer_days"] == copy["consent_answer_days"] == 30
    assert original["consent_status_id"] == copy["consent_status_id"]


async def test_how_the_questions_of_a_job_stand(world: World) -> None:
    people = [f"A{number},,Name{number},a{number}@x.example,Neu," for number in range(6)]
    orders = await asked(world, *people, setup=with_setting("{after_months: 6}"))
    for order, what in zip(orders, ("stay", "stay", "delete"), strict=False):
        await answer(world, order, what)
    shown = (await show_job(world.database, JOB, world.clock.now()))["consent_answers"]
    assert shown == {"asked": 6, "stay": 2, "delete": 1, "silent": 3, "lapsed": 0, "void": 0,
                     "next_silence": "2026-12-24T00:00:00+01:00"}  # fmt: skip
    await world.applicants(people[5].replace("Neu", "Pool"))
    await night(world, SILENCE)
    (found,) = (await _counted(world)).values()
    assert (found.asked, found.stay, found.delete, found.silent, found.lapsed, found.void) == (6, 2, 1, 0, 2, 1)
    assert found.next_silence is None
    # Who comes back late is no longer among the lapsed.
    await answer(world, orders[3], "stay")
    (found,) = (await _counted(world)).values()
    assert (found.asked, found.stay, found.lapsed) == (6, 3, 1)


async def _counted(world: World) -> dict[int, object]:
    job = await row(world.database, contact_jobs, name=JOB)
    async with world.database.read() as connection:
        return dict(await count_answers(connection, [job["id"]]))


async def test_who_has_an_answer_is_not_asked_again_within_the_guard(world: World) -> None:
    (order,) = await asked(world, PERSON)
    await answer(world, order, "stay")
    world.clock.set(SILENCE)
    await world.run(JOB, SILENCE.date())
    assert await world.turn() == []


async def test_doctor_says_which_job_asks_in_vain_without_links(world: World) -> None:
    await world.begin(setup=CONSENT)
    given = {"KP_PUBLIC_URL": "https://firma.example", "KP_LINK_KEYS": "0123456789abcdef" * 2}
    assert isinstance(await jobs(Installation(load_settings(given), world.database, "all")), str)
    for missing in given:
        settings = load_settings({key: value for key, value in given.items() if key != missing})
        (trouble,) = await jobs(Installation(settings, world.database, "all"))
        assert isinstance(trouble, Trouble) and trouble.grave and "KP_LINK_KEYS" in trouble.fix
        assert trouble.place == f"job {JOB!r}, consent"
        assert isinstance(await jobs(Installation(settings, world.database, "scheduler")), str)


async def test_switched_on_it_says_how_many_are_rejected_at_night(world: World) -> None:
    await asked(world, PERSON, "B1,,Zwei,b1@x.example,Neu,")
    await world.change(JOB, status="Aus")
    world.clock.set(SILENCE)
    change = await rehearse_job(world.database, JOB, {"status": "An"}, author="anna", now=world.clock.now())
    assert "2 people who have not answered in time are rejected in the coming night" in change.notes


async def test_a_guard_that_ends_before_the_answer_is_due_is_warned_of_and_a_pool_query_is_not(world: World) -> None:
    await world.begin(setup=CONSENT.replace("{field: status, in: [Neu]}", "{field: in_pool, is: true}"))
    assert (await world.change(JOB, repeat_guard_days="31")).warnings == []
    (warning,) = (await world.change(JOB, repeat_guard_days="30")).warnings
    assert "a repeat guard of 30 days asks again before the 30 days to answer are over" in warning
    # Without consent the letter should set a status (D41).
    (warning,) = (await world.change(JOB, consent="", letter="Brief")).warnings
    assert "its query asks for the pool, but its letter sets no status" in warning
