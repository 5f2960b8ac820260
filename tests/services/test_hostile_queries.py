"""What an operator writes into a query is a value, never a piece of SQL (S16)."""

import json

from shared.db.query_answers import answer_query, count_query
from shared.db.tables import applications, persons
from tests.hostile_people import NAMES
from tests.services.import_files import Files
from tests.services.setup_files import apply
from tests.services.world import DAY, World

#: Ways out of a string, wildcards of LIKE, escapes, functions that read files or wait.
VALUES = (
    *(name for name in NAMES if name.isprintable() and name.strip()),
    "' OR '1'='1",
    "x' UNION SELECT password_hash FROM users --",
    "x'; DROP TABLE applications; --",
    "') OR 1=1 --",
    "%",
    "_",
    "\\",
    "\\'",
    "$1",
    ":name",
    "%(name)s",
    "?",
    "{}",
    "pg_read_file('/etc/passwd')",
    "load_extension('x')",
    "'||(SELECT version())||'",
    "x' AND pg_sleep(10) --",
)


def field_of(number: int) -> str:
    """A custom field whose name is an attack."""
    return f"custom.{number} {VALUES[number]}"[:100].strip()


async def test_s16_a_filters_words_are_compared_and_never_run(world: World) -> None:
    await world.begin()
    rows = [
        {
            "external_id": f"P{n}",
            "status": "Neu",
            "vacancy": value,
            "custom.Notiz": value,
            field_of(n): "x",
        }
        for n, value in enumerate(VALUES)
    ]
    content = "".join(json.dumps(one) + "\n" for one in rows)
    report = await Files(world.database, world.folder).applications(content, name="a.jsonl")
    assert not report.bad_rows, report.bad_rows
    before = [await world.count(table) for table in (applications, persons)]
    queries = [
        {"name": f"Q{n} {kind}", "filters": [filters]}
        for n, value in enumerate(VALUES)
        for kind, filters in (
            ("in", {"field": "vacancy", "in": [value]}),
            ("equals", {"field": "custom.Notiz", "equals": value}),
            ("contains", {"field": "custom.Notiz", "contains": value}),
            ("name", {"field": field_of(n), "equals": "x"}),
        )
    ]
    await apply(world.database, json.dumps({"queries": queries}, ensure_ascii=False))
    for query in queries:
        number, kind = query["name"][1:].split(" ")  # type: ignore[attr-defined]
        async with world.database.read() as connection:
            answer = await answer_query(connection, str(query["name"]), DAY, DAY)
            assert (await count_query(connection, str(query["name"]), DAY, DAY))["matched"] == answer["matched"]
        found = {one["application"] for one in answer["recipients"]}
        assert f"P{number}" in found, query
        # A wildcard is a character: only texts that have it are found.
        value = VALUES[int(number)].strip().casefold()
        if kind == "contains":
            assert {f"P{n}" for n, other in enumerate(VALUES) if value in other.casefold()} >= found, query
        else:
            assert len(found) < 3, query
    assert before == [await world.count(table) for table in (applications, persons)]
