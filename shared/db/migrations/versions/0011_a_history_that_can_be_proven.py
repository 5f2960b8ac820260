"""A history that can be proven: rows are added only, and sealed; approvals by a second user"""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

from shared.db.column_types import Identifier, Instant, PlainText

revision = "0011"
down_revision = "0010"

_EVENT = ("id", "at", "author", "action", "noun", "record_id", "record_name", "field")
_WORDS = ("old", "new", "reason")
#: Table -> columns that stay as they are, and columns that may be emptied (D42).
_ADDED_ONLY = {
    "events": (_EVENT, _WORDS),
    "event_seals": (("number", "event_id", "words", "link", "sealed_at"), ("salt",)),
}
_REFUSAL = "history is added to, never changed"


def upgrade() -> None:
    op.create_table(
        "event_seals",
        sa.Column("number", Identifier, autoincrement=False, nullable=False),
        sa.Column("event_id", Identifier, nullable=False),
        sa.Column("salt", PlainText, nullable=True),
        sa.Column("words", PlainText, nullable=False),
        sa.Column("link", PlainText, nullable=False),
        sa.Column("sealed_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_event_seals")),
        sa.UniqueConstraint("event_id", name=op.f("uq_event_seals__event_id")),
    )
    op.create_table(
        "unsealed_events",
        sa.Column("event_id", Identifier, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_unsealed_events")),
    )
    _make_approvals()
    for statement in triggers(op.get_bind().dialect.name):
        op.execute(statement)
    # What there is already is sealed from now on: of what was done to it before nobody can tell.
    op.execute("INSERT INTO unsealed_events (event_id) SELECT id FROM events")


def _make_approvals() -> None:
    op.create_table(
        "approvals",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("job_id", Identifier, nullable=True),
        sa.Column("order_id", Identifier, nullable=True),
        sa.Column("seal", PlainText, nullable=False),
        sa.Column("asked_by", PlainText, nullable=False),
        sa.Column("asked_at", Instant(), nullable=False),
        sa.Column("configured_by", PlainText, nullable=True),
        sa.Column("state", PlainText, nullable=False),
        sa.Column("decided_by", PlainText, nullable=True),
        sa.Column("decided_at", Instant(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'approved', 'refused', 'lapsed')", name=op.f("ck_approvals__state")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["contact_jobs.id"], name=op.f("fk_approvals__job_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["order_id"], ["write_orders.id"], name=op.f("fk_approvals__order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals")),
    )
    for key, living in (("job", "state IN ('waiting', 'approved')"), ("order", "state = 'waiting'")):
        where = sa.text(living)
        name, column = f"uq_approvals__{key}", f"{key}_id"
        op.create_index(name, "approvals", [column], unique=True, postgresql_where=where, sqlite_where=where)


def triggers(dialect: str) -> Iterator[str]:
    """The statements that make the triggers, on tables that have none of them."""
    return _on_postgresql() if dialect == "postgresql" else _on_sqlite()


def _on_postgresql() -> Iterator[str]:
    yield """
CREATE FUNCTION events_to_seal() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO unsealed_events (event_id) SELECT id FROM come;
  RETURN NULL;
END $$"""
    yield """
CREATE TRIGGER events_to_seal AFTER INSERT ON events REFERENCING NEW TABLE AS come
FOR EACH STATEMENT EXECUTE FUNCTION events_to_seal()"""
    yield f"""
CREATE FUNCTION refuse_other_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '{_REFUSAL}' USING ERRCODE = 'integrity_constraint_violation';
END $$"""
    for table in _ADDED_ONLY:
        refuse = "FOR EACH ROW {} EXECUTE FUNCTION refuse_other_history()"
        when = f"WHEN ({_rewritten(table, 'IS DISTINCT FROM')})"
        yield f"CREATE TRIGGER {table}_stay BEFORE UPDATE ON {table} {refuse.format(when)}"
        yield f"CREATE TRIGGER {table}_are_kept BEFORE DELETE ON {table} {refuse.format('')}"


def _on_sqlite() -> Iterator[str]:
    yield """
CREATE TRIGGER events_to_seal AFTER INSERT ON events
BEGIN INSERT INTO unsealed_events (event_id) VALUES (NEW.id); END"""
    for table in _ADDED_ONLY:
        refuse = f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
        yield f"CREATE TRIGGER {table}_stay BEFORE UPDATE ON {table} WHEN {_rewritten(table, 'IS NOT')} {refuse}"
        yield f"CREATE TRIGGER {table}_are_kept BEFORE DELETE ON {table} {refuse}"


def _rewritten(table: str, differs: str) -> str:
    """Whether an UPDATE does more than empty what may be emptied."""
    stay, emptied = _ADDED_ONLY[table]
    changed = [f"OLD.{name} {differs} NEW.{name}" for name in stay]
    changed += [f"(NEW.{name} IS NOT NULL AND OLD.{name} {differs} NEW.{name})" for name in emptied]
    return " OR ".join(changed)
