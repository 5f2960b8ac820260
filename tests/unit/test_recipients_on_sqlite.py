"""How SQLite, which has no statistics, searches for who may get a letter: by person, however many a job has."""

from collections.abc import Sequence
from datetime import date
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import create_engine

from shared.db.queries import QueryDay, StoredQuery
from shared.db.recipients import ORDER_IDS, JobRules, LookScope, PlanScope, Scope, recipients
from shared.db.tables import metadata
from shared.domain.filters import parse_filters

RULES = JobRules(1, 1, guard_days=30, cap_days=7)
#: By a filter that has an index, which could be where a search begins.
POOL = StoredQuery(1, "Pool", 1, parse_filters("Pool", [{"field": "status", "in": ["Pool"]}]), {"pool": 1}, {})


def plan(scope: Scope) -> Sequence[str]:
    """The steps by which SQLite answers, the outermost loop first."""
    statement = recipients(POOL, QueryDay(date(2026, 11, 23), ZoneInfo("Europe/Berlin")), scope)
    given = statement.params({ORDER_IDS: [1, 2]}) if isinstance(scope, LookScope) else statement
    with create_engine("sqlite://").connect() as connection:
        metadata.create_all(connection)
        said = str(given.compile(connection, compile_kwargs={"literal_binds": True}))
        # The run's own id stays a parameter.
        steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {said}", (1,) * said.count("?"))
        return [str(step[-1]) for step in steps]


def test_d33_a_last_look_begins_with_its_orders() -> None:
    first, *_ = (step for step in plan(LookScope(RULES)) if step.startswith(("SEARCH", "SCAN")))
    assert first == "SEARCH write_orders USING INTEGER PRIMARY KEY (rowid=?)"


@pytest.mark.parametrize("scope", [LookScope(RULES), PlanScope(RULES, 1)], ids=["look", "plan"])
def test_d13_the_guard_looks_at_the_letters_of_the_person_not_of_the_job(scope: Scope) -> None:
    steps = [step for step in plan(scope) if "guard" in step]
    assert steps == [
        "SEARCH guarded USING INDEX ix_applications__person_id (person_id=?)",
        "SEARCH guarding USING INDEX ix_write_orders__application_id (application_id=?)",
    ]
