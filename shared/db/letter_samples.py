"""Letters tried out on real applications when they are saved, and one application's letter to look at (D43)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import RowMapping, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.job_rows import load_job_row
from shared.db.letter_data import StoredLetter, load_applications, load_letter_version, load_users
from shared.db.queries import QueryDay, conditions, load_query_by_id
from shared.db.system_settings import SystemSettings, load_system_settings
from shared.db.tables import applications, contact_jobs, form_letters, persons
from shared.domain.letter_writing import LetterForms, Occasion, compile_forms, write_letter
from shared.domain.letters import RenderedLetter, Sender, UnrenderableLetter
from shared.domain.placeholders import sample_link
from shared.errors import InvalidInput, NotFound

#: Applications on which a letter is tried out.
SAMPLES = 20
_J, _L = contact_jobs.c, form_letters.c


async def sample_warnings(connection: AsyncConnection, letter_ids: Sequence[int], now: datetime) -> list[str]:
    """Which of these letters could not be written to some of those whom their jobs choose today, and why."""
    found = []
    settings = await load_system_settings(connection)
    for letter_id in dict.fromkeys(letter_ids):
        letter = (await connection.execute(select(_L.name, _L.version).where(_L.id == letter_id))).one()
        stored = await load_letter_version(connection, letter_id, letter.version)
        forms = compile_forms(stored.texts, composed=stored.composed)
        samples = await sample_applications(connection, letter_id, settings, now)
        occasion = await occasion_of(connection, samples, (None,), settings, now, settings.zone)
        failed = [(one["external_id"], why) for one in samples if (why := _failure(forms, one, occasion))]
        if failed:
            examples = "; ".join(f"{name}: {why}" for name, why in failed[:3])
            found.append(
                f"letter {letter.name!r}: {len(failed)} of {len(samples)} sample applications would fail: {examples}"
            )
    return found


async def sample_applications(
    connection: AsyncConnection, letter_id: int, settings: SystemSettings, now: datetime, most: int = SAMPLES
) -> Sequence[Any]:
    """Whom the jobs with this letter choose today, else the newest applications."""
    chosen: list[int] = []
    jobs = select(_J.query_id, _J.time_zone).where(_J.letter_id == letter_id).order_by(_J.id)
    for job in (await connection.execute(jobs)).all():
        zone = ZoneInfo(job.time_zone)
        on = QueryDay(now.astimezone(zone).date(), zone, settings.leap_day_birthday)
        try:
            query = await load_query_by_id(connection, job.query_id)
        except InvalidInput:
            continue
        # Any of a person's applications will do: no ranking, so that the first matches end the search.
        source = applications.join(persons, persons.c.id == applications.c.person_id)
        first = select(applications.c.id).select_from(source).where(*conditions(query, on)).limit(most - len(chosen))
        chosen += (await connection.execute(first)).scalars()
    which = applications.c.id.in_(chosen) if chosen else true()
    return await load_applications(connection, which & applications.c.reduced_at.is_(None), most)


async def occasion_of(
    connection: AsyncConnection,
    samples: Sequence[Any],
    wishes: tuple[str | None, ...],
    settings: SystemSettings,
    now: datetime,
    zone: ZoneInfo,
) -> Occasion:
    """What letters to these applications are written from, besides them: users, sender, company, day."""
    names = {one["recruiter"] for one in samples if one["recruiter"]}
    names |= {wish.removeprefix("user:") for wish in wishes if wish and wish.startswith("user:")}
    users = await load_users(connection, names)
    # Nobody's links: a letter that is tried out belongs to no order.
    return Occasion(wishes, users, settings.sender, settings.company, now.astimezone(zone).date(), sample_link)


def _failure(forms: LetterForms, application: Any, occasion: Occasion) -> str | None:
    try:
        write_letter(forms, application, occasion)
    except UnrenderableLetter as exc:
        return str(exc)
    return None


@dataclass(frozen=True, slots=True)
class Preview:
    """A job's letter to one application as it would be today."""

    job: str
    application: str
    #: The address as mail would be sent to it; None if there is no usable one.
    to: str | None
    stored: StoredLetter
    language: str
    letter: RenderedLetter
    sender: Sender


async def preview_letter(connection: AsyncConnection, job_name: str, application: str | None, now: datetime) -> Preview:
    """`job preview`; without an application for one whom the job chooses. Raises NotFound, UnrenderableLetter."""
    job: Any = await load_job_row(connection, job_name)
    settings = await load_system_settings(connection)
    if application is None:
        found = (await sample_applications(connection, job["letter_id"], settings, now))[:1]
    else:
        found = await load_applications(connection, applications.c.external_id == application.strip())
    if not found:
        raise NotFound("application", application or "to write the letter to")
    stored = await load_letter_version(connection, job["letter_id"], await _version(connection, job))
    forms = compile_forms(stored.texts, composed=stored.composed)
    wishes = (job["sender"], job["sender_fallback"])
    occasion = await occasion_of(connection, found, wishes, settings, now, ZoneInfo(job["time_zone"]))
    letter, sender = write_letter(forms, found[0], occasion)
    return Preview(
        job=job["name"],
        application=found[0]["external_id"],
        to=found[0]["usable_email"],
        stored=stored,
        language=forms.for_language(found[0]["language"]).language,
        letter=letter,
        sender=sender,
    )


async def _version(connection: AsyncConnection, job: RowMapping) -> int:
    statement = select(_L.version).where(_L.id == job["letter_id"])
    return int((await connection.execute(statement)).scalar_one())
