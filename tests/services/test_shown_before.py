"""Who saves a page that is old by now changes nothing: settings and jobs, on both databases (D3, D5)."""

import asyncio
from datetime import datetime
from typing import Any

from shared.db.jobs import set_job
from shared.db.system_settings import load_system_settings, seal_of_settings
from shared.db.tables import contact_jobs
from shared.errors import KontaktpflegeError, Outdated
from shared.setup.records import save_settings
from tests.services.setup_files import NOW, row
from tests.services.world import JOB, World

WHO: dict[str, Any] = {"author": "anna", "now": NOW}


async def _outcomes(*changes: Any) -> list[str]:
    """Both at the same moment; what became of each."""
    answers = await asyncio.gather(*changes, return_exceptions=True)
    assert all(answer is None or not isinstance(answer, BaseException) or isinstance(answer, KontaktpflegeError)
               for answer in answers), answers  # fmt: skip
    return sorted("refused" if isinstance(answer, Outdated) else "saved" for answer in answers)


async def test_of_two_changes_of_the_settings_at_the_same_moment_one_is_refused(world: World) -> None:
    await world.begin()
    for turn in range(10):
        async with world.database.read() as connection:
            seal = seal_of_settings(await load_system_settings(connection))
        both = (
            save_settings(world.database, {"catch_up_hours": 7 + turn}, seal, role="admin", **WHO),
            save_settings(world.database, {"company": f"Firma {turn}"}, seal, role="admin", **WHO),
        )
        assert await _outcomes(*both) == ["refused", "saved"]


async def test_of_two_changes_of_a_job_at_the_same_moment_one_is_refused(world: World) -> None:
    await world.begin()
    now: datetime = world.clock.now()
    for turn in range(10):
        epoch = (await row(world.database, contact_jobs, name=JOB))["epoch"]
        both = (
            set_job(world.database, JOB, {"valid_days": str(6 + turn)}, author="anna", now=now, epoch=epoch),
            set_job(world.database, JOB, {"priority": str(11 + turn)}, author="bert", now=now, epoch=epoch),
        )
        assert await _outcomes(*both) == ["refused", "saved"]
