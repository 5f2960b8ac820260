"""A letter tried out while it is being written: as a real applicant gets it, and for whom it would fail (D43)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.history import record_changes
from shared.db.letter_data import Attachment, load_applications, load_letter_version
from shared.db.letter_samples import occasion_of, sample_applications
from shared.db.named_records import find_named
from shared.db.system_settings import load_system_settings
from shared.db.tables import applications, contact_jobs, form_letters
from shared.db.transactions import in_transaction
from shared.domain.letter_writing import LetterForms, Occasion, compile_forms, write_letter
from shared.domain.letters import RenderedLetter, Sender, UnrenderableLetter
from shared.domain.salutation import is_addressed
from shared.errors import NotFound

_A, _J = applications.c, contact_jobs.c
#: Applications on which a draft is tried out.
TRIED = 200
#: Applicants that letters are often wrong for: what to look for by kind.
SPECIAL: Mapping[str, ColumnElement[bool]] = {
    "title": func.coalesce(_A.title, "") != "",
    "no_title": func.coalesce(_A.title, "") == "",
    "unaddressed": func.coalesce(_A.salutation, "") == "",
    "de": or_(_A.language_folded.is_(None), _A.language_folded.startswith("de")),
    "en": _A.language_folded.startswith("en"),
}


@dataclass(frozen=True, slots=True)
class TrialMail:
    """A letter to a tester: what is sent to whom."""

    letter: RenderedLetter
    sender: Sender
    to: str
    attachments: Sequence[Attachment]


@dataclass(frozen=True, slots=True)
class Wanted:
    """As whom a draft is to be seen: an application, a step from it (-1, 1), or a special kind of applicant."""

    application_id: int = 0
    step: int = 0
    special: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """A draft as one applicant would get it; `failure` says why it cannot be written."""

    application: Mapping[str, Any]
    language: str
    letter: RenderedLetter | None
    sender: Sender | None
    failure: str | None


@dataclass(frozen=True, slots=True)
class SampleCheck:
    """Whom a letter fails for, among those whom its jobs choose today (else the newest applications)."""

    tried: int
    #: (reason, how many), the most frequent first.
    failures: list[tuple[str, int]]
    #: Whose salutation is neutral, because form of address or last name is unknown.
    unaddressed: int


async def sample_ids(connection: AsyncConnection, letter_id: int, now: datetime, most: int = TRIED) -> list[int]:
    """Whom the jobs with this letter choose today, else the newest applications: for whom it is tried out."""
    settings = await load_system_settings(connection)
    return [one["id"] for one in await sample_applications(connection, letter_id, settings, now, most)]


async def write_draft(
    connection: AsyncConnection,
    letter_id: int,
    forms: LetterForms,
    samples: Sequence[int],
    wanted: Wanted,
    now: datetime,
) -> Written | None:
    """The draft as the wanted applicant gets it, else the first sample; None where there are no applications."""
    which = _which(samples, wanted)
    found = [] if which is None else await load_applications(connection, which & _A.reduced_at.is_(None), 1)
    if not found:
        return None
    application = found[0]
    occasion = await _occasion(connection, letter_id, found, now)
    language = forms.for_language(application["language"]).language
    try:
        letter, sender = write_letter(forms, application, occasion)
    except UnrenderableLetter as exc:
        return Written(application, language, None, None, str(exc))
    return Written(application, language, letter, sender, None)


async def check_draft(
    connection: AsyncConnection, letter_id: int, forms: LetterForms, samples: Sequence[int], now: datetime
) -> SampleCheck:
    """Writes the draft to the sample applicants and counts what goes wrong."""
    found = await load_applications(connection, _A.id.in_(samples) & _A.reduced_at.is_(None), TRIED)
    occasion = await _occasion(connection, letter_id, found, now)
    failures: Counter[str] = Counter()
    for one in found:
        try:
            write_letter(forms, one, occasion)
        except UnrenderableLetter as exc:
            failures[str(exc)] += 1
    unaddressed = sum(not is_addressed(one["salutation"], one["last_name"]) for one in found)
    return SampleCheck(len(found), failures.most_common(), unaddressed)


async def write_stored(connection: AsyncConnection, letter: str, application_id: int, now: datetime) -> Written | None:
    """A stored letter as one applicant would get it now; None where there is no such letter or application."""
    found = await find_named(connection, form_letters, letter)
    if found is None:
        return None
    stored = await load_letter_version(connection, found["id"], found["version"])
    forms = compile_forms(stored.texts, composed=stored.composed)
    return await write_draft(connection, found["id"], forms, [application_id], Wanted(application_id), now)


async def check_stored(connection: AsyncConnection, letter_id: int, now: datetime, most: int) -> SampleCheck:
    """The same for a letter as it is stored; raises NotFound."""
    version = select(form_letters.c.version).where(form_letters.c.id == letter_id)
    number = (await connection.execute(version)).scalar_one_or_none()
    if number is None:
        raise NotFound("letter", letter_id)
    stored = await load_letter_version(connection, letter_id, number)
    forms = compile_forms(stored.texts, composed=stored.composed)
    return await check_draft(connection, letter_id, forms, await sample_ids(connection, letter_id, now, most), now)


async def record_test_mail(
    database: Database, letter: str, application: str, to: str, *, author: str, now: datetime
) -> None:
    """Who sent which letter as a test, with whose data, to which domain: those data left the house by it (D3).

    Not the address itself: it is a person's, and the history is kept longer than what is known of people.
    """
    changes = [("application", None, application), ("to", None, f"...@{to.rpartition('@')[2]}")]

    async def work(connection: AsyncConnection) -> None:
        stored = await find_named(connection, form_letters, letter)
        letter_id = stored["id"] if stored else None
        await record_changes(connection, "letter", letter_id, letter, "test_mail", changes, author=author, now=now)

    await in_transaction(database, work)


def _which(samples: Sequence[int], wanted: Wanted) -> ColumnElement[bool] | None:
    if wanted.special in SPECIAL:
        return SPECIAL[wanted.special]
    if wanted.application_id and not wanted.step:
        return _A.id == wanted.application_id
    if not samples:
        return None
    at = samples.index(wanted.application_id) + wanted.step if wanted.application_id in samples else 0
    return _A.id == samples[at % len(samples)]


async def _occasion(connection: AsyncConnection, letter_id: int, samples: Sequence[Any], now: datetime) -> Occasion:
    """As the first job that sends the letter would send it; without one in the system's name."""
    settings = await load_system_settings(connection)
    statement = select(_J.sender, _J.sender_fallback, _J.time_zone).where(_J.letter_id == letter_id).order_by(_J.id)
    job = (await connection.execute(statement.limit(1))).first()
    wishes = (job.sender, job.sender_fallback) if job else (None,)
    zone = ZoneInfo(job.time_zone) if job else settings.zone
    return await occasion_of(connection, samples, wishes, settings, now, zone)
