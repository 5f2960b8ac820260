"""An installation with a job that asks for consent, and what happens to its letters."""

from datetime import datetime, timedelta
from typing import Any

from shared.db.consent_answers import Question, answer_question
from shared.db.consent_outcomes import carry_out_due
from shared.db.tables import application_statuses as statuses
from shared.db.tables import applications, consent_requests, events
from shared.domain.consent import Answer
from tests.services.setup_files import row, rows
from tests.services.world import SETUP, World

LETTER = "Bleiben {{ links.stay }} oder löschen {{ links.delete }}"
#: The job asks, and waits thirty days; the sample's other job stays as it is.
CONSENT = SETUP.replace(
    "jobs:\n",
    f'  - {{name: Frage, subject: "Dürfen wir?", text: "{LETTER}"}}\njobs:\n'
    "  - {name: Einwilligung, status: An, query: Neue, letter: Frage, dispatch: rolling, time: '08:00',\n"
    "     repeat_guard_days: 365, consent: {answer_days: 30, status: Absage}}\n",
)
JOB = "Einwilligung"
#: Sent on 23 November, so 23 December is the last of thirty days.
LAST_DAY = datetime.fromisoformat("2026-12-23T23:59:59+01:00")
SILENCE = datetime.fromisoformat("2026-12-24T02:30:00+01:00")
PERSON = "A1,,Eins,a1@x.example,Neu,"


def with_setting(value: str) -> str:
    return CONSENT.replace("sync_minutes: 5", f"sync_minutes: 5, reduce_core_data: {value}, core_data_keeps: []")


async def asked(world: World, *applicants: str, setup: str = CONSENT) -> list[int]:
    """Consent letters, sent this morning; returns their orders."""
    await world.begin(*(applicants or (PERSON,)), setup=setup)
    await world.run(JOB)
    orders = await world.turn()
    await world.send(*orders)
    return sorted(orders)


async def answer(world: World, order: int, what: str, after: timedelta = timedelta(hours=1)) -> Question:
    world.clock.advance(after)
    return await answer_question(world.database, order, Answer(what), now=world.clock.now())


async def night(world: World, at: datetime = SILENCE) -> int:
    """The chore at this moment; returns how many questions it closed."""
    world.clock.set(at)
    done = 0
    async for so_far in carry_out_due(world.database, now=at, author="scheduler"):
        done = so_far
    return done


async def question(world: World, order: int) -> dict[str, Any]:
    return await row(world.database, consent_requests, order_id=order)


async def outcome(world: World, order: int) -> tuple[str | None, str | None]:
    found = await question(world, order)
    return found["outcome"], found["reason"]


async def application(world: World, name: str = "A1") -> dict[str, Any]:
    return await row(world.database, applications, external_id=name)


async def acts(world: World, order: int) -> list[tuple[str, str]]:
    """(what, who) in the order's history, as far as it is about consent."""
    found = await rows(world.database, events, noun="order", record_id=order)
    return [(one["action"], one["author"]) for one in found if one["action"].startswith("consent_")]


async def status_of(world: World, name: str = "A1") -> tuple[str | None, bool]:
    """An application's meta status, and whether it is reduced."""
    found = await application(world, name)
    metas = {one["id"]: one["meta"] for one in await rows(world.database, statuses)}
    return metas.get(found["status_id"]), found["reduced_at"] is not None
