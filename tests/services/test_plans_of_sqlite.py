"""How SQLite, which has no statistics, searches while a plan is made: its work must not grow with the job's letters."""

from typing import Any

import pytest
from sqlalchemy import event

from tests.services.world import World


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_d24_a_letter_of_that_day_is_looked_for_among_those_of_the_person(world: World) -> None:
    said: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "AS their_letter" in statement:
            said.append((statement, parameters))

    event.listen(world.database._writer.sync_engine, "before_cursor_execute", note)
    await world.queued("A,,Eins,a@x.example,Neu,")
    event.remove(world.database._writer.sync_engine, "before_cursor_execute", note)
    assert said
    async with world.database.begin() as connection:
        for statement, parameters in said:
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps = [step.replace("COVERING ", "") for *_, step in plan if "their_" in step]
            assert steps == [
                "SEARCH their_application USING INDEX ix_applications__person_id (person_id=?)",
                "SEARCH their_letter USING INDEX ix_write_orders__application_id (application_id=?)",
            ], statement
