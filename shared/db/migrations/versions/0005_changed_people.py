"""A log of changed people, written by triggers; birthdays counted from indexes"""

from collections.abc import Iterator, Sequence

import sqlalchemy as sa
from alembic import op

from shared.db.column_types import Identifier, IdList, Json

revision = "0005"
down_revision = "0004"

#: More people than this in one statement are logged as "everybody": to look at each would take longer than at all.
_MANY = 10_000

#: What the recipients statement looks at, by table. The mailer changes the first ones: compared first.
_APPLICATION = (
    *("last_contact_at", "last_outgoing_at", "person_id", "status_id", "in_pool", "pool_since", "reduced_at", "email"),
    *("usable_email", "kind", "birth_month_day", "received_on", "external_id", "language_folded", "vacancy_folded"),
    *("department_folded", "location_folded", "source_folded", "recruiter_folded"),
)
_PERSON = ("last_contact_at", "opted_out_at")
_FIELD = ("application_id", "name_folded", "value_folded")
_BLOCK = ("person_id", "lineage_id", "scope", "until", "lifted_at")
#: And what planning looks at besides. `attempts` changes with the state, or means nothing.
_ORDER = (
    *("state", "person_id", "application_id", "lineage_id", "run_id", "job_id", "type", "occasion_day", "block_id"),
    *("withdrawn_by", "email"),
)
#: Table -> (key, whose row it is, columns). `{row}` is the old or the new row.
_WATCHED = {
    "applications": ("id", "{row}.person_id", _APPLICATION),
    "persons": ("id", "{row}.id", _PERSON),
    "custom_fields": (
        "application_id, name_folded",
        "(SELECT a.person_id FROM applications a WHERE a.id = {row}.application_id)",
        _FIELD,
    ),
    "blocks": ("id", "{row}.person_id", _BLOCK),
}


def upgrade() -> None:
    op.create_table(
        "person_changes",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("transaction_id", sa.BigInteger(), nullable=True),
        sa.Column("people", IdList(), nullable=True),
        sa.Column("forgotten_to", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person_changes")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_person_changes__transaction_id"), "person_changes", ["transaction_id"], unique=False)
    op.add_column("dispatch_runs", sa.Column("basis", Json, nullable=True))
    for statement in triggers(op.get_bind().dialect.name):
        op.execute(statement)
    op.drop_index("ix_applications__birth_month_day", table_name="applications")
    present, silent = sa.text("reduced_at IS NULL"), sa.text("opted_out_at IS NOT NULL")
    op.create_index(
        "ix_applications__birthdays",
        "applications",
        ["birth_month_day", "person_id"],
        postgresql_where=present,
        sqlite_where=present,
    )
    op.create_index("ix_persons__opted_out", "persons", ["id"], postgresql_where=silent, sqlite_where=silent)


def triggers(dialect: str) -> Iterator[str]:
    """The statements that make the triggers, on tables that have none of them."""
    return _on_postgresql() if dialect == "postgresql" else _on_sqlite()


def _on_postgresql() -> Iterator[str]:
    for table, (key, whose, columns) in _WATCHED.items():
        old, new = whose.format(row="gone"), whose.format(row="come")
        differs = " OR ".join(f"gone.{name} IS DISTINCT FROM come.{name}" for name in columns)
        # FULL JOIN: never a nested loop, whatever size the first statement had for which it was planned.
        same = " AND ".join(f"come.{name} = gone.{name}" for name in key.split(", "))
        changed = f"FROM gone FULL JOIN come ON {same} WHERE {differs}"
        both = f"SELECT {old} AS who {changed} UNION ALL SELECT {new} {changed}"
        if table == "persons":
            both = f"SELECT {old} AS who {changed}"
        elif table == "applications":  # in one pass: a mailer waits for it
            both = f"SELECT unnest(ARRAY[{old}, nullif({new}, {old})]) AS who {changed}"
        yield from _statement_trigger(table, "update", "OLD TABLE AS gone NEW TABLE AS come", both)
        if table != "persons":  # without applications nobody asks for a person
            yield from _statement_trigger(table, "insert", "NEW TABLE AS come", f"SELECT {new} AS who FROM come")
            yield from _statement_trigger(table, "delete", "OLD TABLE AS gone", f"SELECT {old} AS who FROM gone")
    of_jobs = "SELECT come.person_id AS who FROM come WHERE come.type = 'contact_job'"
    yield from _statement_trigger("write_orders", "insert", "NEW TABLE AS come", of_jobs)
    yield from _statement_trigger("write_orders", "delete", "OLD TABLE AS gone", of_jobs.replace("come", "gone"))
    yield """
CREATE FUNCTION write_orders_changed() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO person_changes (transaction_id, people)
  SELECT pg_current_xact_id()::text::bigint, array_agg(DISTINCT who) FROM (
    SELECT unnest(ARRAY[OLD.person_id, NEW.person_id]) AS who
    UNION ALL SELECT person_id FROM applications WHERE id IN (OLD.application_id, NEW.application_id)) AS both_of_them;
  RETURN NULL;
END $$"""
    # A row at a time, with a condition: what a mailer does to an order concerns nobody's plan, and costs nothing here.
    yield f"""
CREATE TRIGGER write_orders_changed AFTER UPDATE OF {", ".join(_ORDER)} ON write_orders
FOR EACH ROW WHEN ({_order_differs("IS DISTINCT FROM")}) EXECUTE FUNCTION write_orders_changed()"""


def _statement_trigger(table: str, event: str, tables: str, who: str) -> Iterator[str]:
    """A trigger that logs the people of a whole statement as one row."""
    name = f"{table}_{event}"
    yield f"""
CREATE FUNCTION {name}_changes() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO person_changes (transaction_id, people)
  SELECT pg_current_xact_id()::text::bigint, CASE WHEN count(*) <= {_MANY} THEN array_agg(who) END
  FROM ({who}) AS changed WHERE who IS NOT NULL HAVING count(*) > 0;
  RETURN NULL;
END $$"""
    yield f"""
CREATE TRIGGER {name}_changes AFTER {event.upper()} ON {table} REFERENCING {tables}
FOR EACH STATEMENT EXECUTE FUNCTION {name}_changes()"""


def _order_differs(differs: str) -> str:
    def seen(row: str, name: str) -> str:
        if name == "state":  # guard and cap make no difference between these
            under_way = f"{row}.state IN ('sending', 'sent', 'unclear')"
            return f"CASE WHEN {under_way} THEN 'queued' ELSE {row}.state END"
        if name == "email":  # looked at in one state only
            return f"CASE WHEN {row}.state = 'no_address' THEN {row}.email END"
        return f"{row}.{name}"

    changed = " OR ".join(f"{seen('OLD', name)} {differs} {seen('NEW', name)}" for name in _ORDER)
    # `release` logs the whole run at once.
    released = "OLD.state = 'planned' AND NEW.state = 'queued'"
    return f"'contact_job' IN (OLD.type, NEW.type) AND NOT ({released}) AND ({changed})"


def _on_sqlite() -> Iterator[str]:
    """Rows one at a time: SQLite knows no others."""
    for table, (_, whose, columns) in _WATCHED.items():
        old, new = whose.format(row="OLD"), whose.format(row="NEW")
        differs = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in columns)
        yield _row_trigger(table, "update", f"UPDATE OF {', '.join(columns)}", differs, (old, new))
        if table != "persons":
            yield _row_trigger(table, "insert", "INSERT", "true", (new,))
            yield _row_trigger(table, "delete", "DELETE", "true", (old,))
    theirs = "(SELECT person_id FROM applications WHERE id = {}.application_id)"
    people = ("OLD.person_id", "NEW.person_id", theirs.format("OLD"), theirs.format("NEW"))
    yield _row_trigger("write_orders", "update", f"UPDATE OF {', '.join(_ORDER)}", _order_differs("IS NOT"), people)
    yield _row_trigger("write_orders", "insert", "INSERT", "NEW.type = 'contact_job'", ("NEW.person_id",))
    yield _row_trigger("write_orders", "delete", "DELETE", "OLD.type = 'contact_job'", ("OLD.person_id",))


def _row_trigger(table: str, event: str, on: str, when: str, people: Sequence[str]) -> str:
    return f"""
CREATE TRIGGER {table}_{event}_changes AFTER {on} ON {table} WHEN {when}
BEGIN INSERT INTO person_changes (people) VALUES (json_array({", ".join(dict.fromkeys(people))})); END"""
