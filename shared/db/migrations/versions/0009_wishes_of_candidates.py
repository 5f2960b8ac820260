"""What candidates want of contact care, what they ask for, and wishes that outlive their records"""

import sqlalchemy as sa
from alembic import op

from shared.db.column_types import Identifier, Instant, PlainText

revision = "0009"
down_revision = "0008"

_SINCE = ("no_birthday_since", "yearly_since")
#: What plans look at of a person: as in step 0005, and the wishes.
_WATCHED = ("last_contact_at", "opted_out_at", *_SINCE)


def upgrade() -> None:
    for name in _SINCE:
        op.add_column("persons", sa.Column(name, Instant()))
        _partial(f"ix_persons__{name.removesuffix('_since')}", "persons", f"{name} IS NOT NULL")
    dialect = op.get_bind().dialect.name
    if dialect == "postgresql":
        # A column that nobody has looked at is taken for filled: plans would begin with everybody, not with the few.
        op.execute("ANALYZE persons")
    for statement in watch_wishes(dialect):
        op.execute(statement)
    op.create_table(
        "candidate_requests",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("application_id", Identifier, nullable=False),
        sa.Column("kind", PlainText, nullable=False),
        sa.Column("words", PlainText),
        sa.Column("made_at", Instant(), nullable=False),
        sa.Column("done_at", Instant()),
        sa.Column("done_by", PlainText),
        sa.CheckConstraint("kind IN ('correction', 'deletion')", name=op.f("ck_candidate_requests__kind")),
        sa.ForeignKeyConstraint(
            ["application_id"],
            ["applications.id"],
            name=op.f("fk_candidate_requests__application_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_candidate_requests")),
    )
    op.create_index(op.f("ix_candidate_requests__application_id"), "candidate_requests", ["application_id"])
    _partial("ix_candidate_requests__open", "candidate_requests", "done_at IS NULL")
    op.create_table(
        "suppressions",
        sa.Column("key_hash", PlainText, nullable=False),
        *(sa.Column(name, Instant()) for name in ("opted_out_at", *_SINCE)),
        sa.Column("paused_until", sa.Date()),
        sa.PrimaryKeyConstraint("key_hash", name=op.f("pk_suppressions")),
    )


def watch_wishes(dialect: str) -> list[str]:
    """The statements after which plans notice these wishes too: the trigger on persons, made anew."""
    if dialect == "postgresql":
        differs = " OR ".join(f"gone.{name} IS DISTINCT FROM come.{name}" for name in _WATCHED)
        return [
            f"""
CREATE OR REPLACE FUNCTION persons_update_changes() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO person_changes (transaction_id, people)
  SELECT pg_current_xact_id()::text::bigint, CASE WHEN count(*) <= 10000 THEN array_agg(who) END
  FROM (SELECT gone.id AS who FROM gone FULL JOIN come ON come.id = gone.id WHERE {differs}) AS changed
  WHERE who IS NOT NULL HAVING count(*) > 0;
  RETURN NULL;
END $$"""
        ]
    differs = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in _WATCHED)
    return [
        "DROP TRIGGER persons_update_changes",
        f"""
CREATE TRIGGER persons_update_changes AFTER UPDATE OF {", ".join(_WATCHED)} ON persons WHEN {differs}
BEGIN INSERT INTO person_changes (people) VALUES (json_array(OLD.id)); END""",
    ]


def _partial(name: str, table: str, condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, ["id"], postgresql_where=where, sqlite_where=where)
