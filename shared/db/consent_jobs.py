"""Jobs that ask for consent: their letter, their status, and how their questions stand."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.letter_data import load_letter_version
from shared.db.named_records import id_of
from shared.db.tables import application_statuses, consent_requests, contact_jobs, form_letters
from shared.domain.consent import Answer, Consent
from shared.domain.consent_letters import check_links
from shared.domain.letter_writing import compile_forms
from shared.errors import InvalidInput

_J, _L, _R, _S = contact_jobs.c, form_letters.c, consent_requests.c, application_statuses.c


@dataclass(frozen=True, slots=True)
class Answers:
    """How the questions of a job stand: each asked one is in one of the other numbers."""

    asked: int
    #: Consent renewed; deletion asked for, or carried out.
    stay: int
    delete: int
    #: No answer so far.
    silent: int
    #: No answer in time: rejected.
    lapsed: int
    #: Closed without a consequence: something else happened meanwhile.
    void: int
    #: When the first of the silent ones is rejected, as far as the job is An.
    next_silence: datetime | None


def consent_of(job: Mapping[Any, Any]) -> Consent | None:
    """What a job's row with `consent_status` as a name says of consent."""
    return Consent(job["consent_answer_days"], job["consent_status"]) if job["consent_answer_days"] else None


async def rejecting_status(connection: AsyncConnection, name: str, place: str) -> int:
    """The id of the status; raises InvalidInput unless it rejects: only what is rejected is ever reduced (D42)."""
    place = f"{place}, consent, status"
    status_id = await id_of(connection, application_statuses, "status", name, place)
    meta = (await connection.execute(select(_S.meta).where(_S.id == status_id))).scalar_one()
    if meta != "rejected":
        raise InvalidInput(place, name, f"must have the meta status rejected, not {meta}")
    return status_id


async def check_letters_of_jobs(connection: AsyncConnection, job_ids: Collection[int], place: str = "") -> None:
    """Raises InvalidInput where the letter of one of these jobs does not fit to what the job asks.

    `place`: where the one job stands, in words of the input.
    """
    columns = (_J.name, _J.consent_answer_days, _L.id, _L.version, _L.name.label("letter"))
    jobs = select(*columns).join(form_letters, _L.id == _J.letter_id).where(_J.id.in_(job_ids)).order_by(_J.id)
    for job in (await connection.execute(jobs)).all():
        stored = await load_letter_version(connection, job.id, job.version)
        forms = compile_forms(stored.texts, composed=stored.composed)
        asks = job.consent_answer_days is not None
        check_links(place or f"job {job.name!r}", job.letter, forms, asks_consent=asks)


async def refuse_other_meaning(connection: AsyncConnection, places: Mapping[int, str]) -> None:
    """Raises InvalidInput where one of these statuses rejects no more, and a job or an open question rejects with it.

    `places`: by the status' id, where its new meta status stands.
    """
    statement = select(_S.id, _S.meta).where(_S.id.in_(places), _S.meta != "rejected").order_by(_S.id)
    for status in (await connection.execute(statement)).all():
        jobs = select(_J.name).where(_J.consent_status_id == status.id).order_by(_J.name)
        job = (await connection.execute(jobs.limit(1))).scalar_one_or_none()
        if job is not None:
            fix = (
                f"job {job!r} rejects with it for want of consent; keep rejected, or give the job another status first"
            )
            raise InvalidInput(places[status.id], status.meta, fix)
        # Silence of a job that is gone, or asks no more, is never found; a deletion is carried out all the same.
        due = select(func.count()).outerjoin_from(consent_requests, contact_jobs, _J.id == _R.job_id)
        ends = or_(_R.answer == Answer.DELETE.value, _J.consent_answer_days.is_not(None))
        due = due.where(_R.status_id == status.id, _R.due_at.is_not(None), ends)
        count = (await connection.execute(due)).scalar_one()
        if count:
            fix = f"{count} open consent questions reject with it; keep rejected until they are answered or over"
            raise InvalidInput(places[status.id], status.meta, fix)


async def count_overdue(connection: AsyncConnection, job_id: int, now: datetime) -> int:
    """How many of the job's silent people have had their last day: while it is An, the next night rejects them."""
    silent = (_R.job_id == job_id, _R.answer.is_(None), _R.due_at <= now)
    return int((await connection.execute(select(func.count()).where(*silent))).scalar_one())


async def count_answers(connection: AsyncConnection, job_ids: Collection[int]) -> dict[int, Answers]:
    """How the questions of these jobs stand; jobs that never asked are not among them."""
    columns = (_R.job_id, _R.outcome, _R.answer, func.count().label("number"), func.min(_R.due_at).label("first"))
    rows = await connection.execute(select(*columns).where(_R.job_id.in_(job_ids)).group_by(*columns[:3]))
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        one = found.setdefault(row.job_id, dict.fromkeys(("stay", "delete", "silent", "lapsed", "void"), 0))
        standing = {"deleted": "delete"}.get(row.outcome, row.outcome) or row.answer or "silent"
        one[standing] += row.number
        if standing == "silent":
            one["next_silence"] = row.first
    return {
        job_id: Answers(asked=sum(v for k, v in one.items() if k != "next_silence"), **{"next_silence": None, **one})
        for job_id, one in found.items()
    }
