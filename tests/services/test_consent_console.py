"""The console on consent: the form of a job, its answers, the timeline - in German, without code names."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx

from services.console.app import build_console
from services.console.surroundings import Surroundings
from shared.db.tables import contact_jobs
from shared.db.user_commands import create_user, set_password
from shared.settings import Settings
from tests.services.consent_world import CONSENT, JOB, PERSON, SILENCE, answer, application, asked, night, with_setting
from tests.services.setup_files import row
from tests.services.world import World

PASSWORD = "ein langes Passwort"


@asynccontextmanager
async def console(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who may do everything, signed in."""
    now = world.clock.now()
    await create_user(world.database, "chef", display_name="Chef", email=None, role="admin", author="t", now=now)
    await set_password(world.database, "chef", PASSWORD, author="t", now=now)
    app = build_console(Surroundings(world.database, Settings(), world.clock))
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", follow_redirects=True) as one:
        one.headers["Accept-Language"] = "de"
        await sign_in(one)
        yield one


async def sign_in(one: httpx.AsyncClient) -> None:
    await one.post("/sign-in", data={"name": "chef", "password": PASSWORD})


def fields_of(page: str) -> dict[str, str]:
    """What the form of a job holds."""
    form = page[page.index('name="epoch"') - 200 :]
    found = dict(re.findall(r'<input [^>]*name="(\w+)"[^>]* value="([^"]*)"', form))
    for name, select in re.findall(r'<select [^>]*name="(\w+)".*?>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)" selected', select)
        found[name] = chosen[1] if chosen else ""
    return found


async def test_the_form_of_a_job_gives_and_takes_consent(world: World) -> None:
    await world.begin(setup=CONSENT)
    job = (await row(world.database, contact_jobs, name=JOB))["id"]
    async with console(world) as one:
        page = (await one.get(f"/jobs/{job}")).text
        assert "Einwilligung" in page and "fragt nach Einwilligung, 30 Tage" in page
        assert "<dt>gefragt</dt>" not in page
        fields = fields_of(page)
        assert (fields["consent_days"], fields["consent_status"]) == ("30", "Absage")
        # Statuses that do not reject are not offered.
        assert '<option value="Absage" selected' in page and '<option value="Pool"' not in page

        refused = await one.post(f"/jobs/{job}", data=fields | {"consent_days": "3", "step": "save"})
        assert refused.status_code == 422 and "7 bis 365" in refused.text and 'value="3"' in refused.text
        nameless = await one.post(f"/jobs/{job}", data=fields | {"consent_status": "", "step": "save"})
        assert nameless.status_code == 422 and "Tage für die Antwort und einen Absagestatus" in nameless.text
        without = await one.post(f"/jobs/{job}", data=fields | {"consent_days": "", "step": "save"})
        assert without.status_code == 422 and "Der Auftrag fragt nicht nach Einwilligung" in without.text
        lacking = await one.post(f"/jobs/{job}", data=fields | {"letter": "Brief", "step": "save"})
        assert lacking.status_code == 422 and "Diesem Schreiben fehlt links.stay" in lacking.text

        asks = await one.post(f"/jobs/{job}", data=fields | {"consent_days": "14", "step": "check"})
        assert "14 Tage für die Antwort, dann: Absage" in asks.text
        saved = await one.post(f"/jobs/{job}", data=fields | {"consent_days": "14", "step": "save"})
        assert saved.status_code == 200 and fields_of(saved.text)["consent_days"] == "14"
        assert "14 Tage für die Antwort, dann: Absage" in (await one.get(f"/jobs/{job}/history")).text


async def test_the_job_file_counts_answers_and_the_timeline_tells_them(world: World) -> None:
    people = (PERSON, "B1,,Zwei,b1@x.example,Neu,", "C1,,Drei,c1@x.example,Neu,")
    first, second, _ = await asked(world, *people, setup=with_setting("{after_months: 6}"))
    await answer(world, first, "stay")
    await answer(world, second, "delete")
    job = (await row(world.database, contact_jobs, name=JOB))["id"]
    async with console(world) as one:
        page = (await one.get(f"/jobs/{job}")).text
        counts = dict(re.findall(r"<dt>([^<]+)</dt><dd>(\d+)</dd>", page))
        assert counts == {
            "gefragt": "3",
            "möchten bleiben": "1",
            "möchten gelöscht werden": "1",
            "bisher keine Antwort": "1",
            "ohne Antwort abgesagt": "0",
            "erledigt, weil anderes geschah": "0",
        }
        assert "24.12.2026" in page
        await world.change(JOB, status="Aus")
        assert "nicht, solange der Auftrag aus ist" in (await one.get(f"/jobs/{job}")).text
        world.clock.set(SILENCE)
        await sign_in(one)
        asked_on = (await one.get(f"/jobs/{job}/on")).text
        assert "denen in der kommenden Nacht abgesagt wird: 1" in asked_on
        await world.change(JOB, status="An")
        await night(world, SILENCE + timedelta(hours=1))
        await sign_in(one)
        for name, told in (
            ("A1", "möchte im Bewerber-Pool bleiben"),
            ("B1", "auf Wunsch der Person abgesagt und gelöscht"),
            ("C1", "abgesagt: keine Antwort in der Frist"),
        ):
            record = (await one.get(f"/applications/{(await application(world, name))['id']}")).text
            assert told in record and "consent_" not in record
