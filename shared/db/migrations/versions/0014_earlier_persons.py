"""Which persons applications had before; what was erased from the history has a row that says so"""

import sqlalchemy as sa
from alembic import op

from shared.db.column_types import Identifier

revision = "0014"
down_revision = "0013"

#: Who has become another's is known of whoever had a letter.
_MOVED = """
INSERT INTO earlier_persons (application_id, person_id)
SELECT DISTINCT o.application_id, o.person_id FROM write_orders o JOIN applications a ON a.id = o.application_id
WHERE o.person_id <> a.person_id"""
#: Until now a reduction told of applications only. The moment is not known any more: it is this one.
_ERASED = """
INSERT INTO events (at, author, action, noun, record_id, record_name)
SELECT {now}, 'system', 'erase', e.noun, e.record_id, MAX(e.record_name)
FROM event_seals s JOIN events e ON e.id = s.event_id
WHERE s.salt IS NULL AND e.record_id IS NOT NULL GROUP BY e.noun, e.record_id"""
_NOW = {
    "postgresql": "now()",
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)",
}


def upgrade() -> None:
    op.create_table(
        "earlier_persons",
        sa.Column("application_id", Identifier, nullable=False),
        sa.Column("person_id", Identifier, nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id"],
            ["applications.id"],
            name=op.f("fk_earlier_persons__application_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["person_id"], ["persons.id"], name=op.f("fk_earlier_persons__person_id")),
        sa.PrimaryKeyConstraint("application_id", "person_id", name=op.f("pk_earlier_persons")),
    )
    op.create_index(op.f("ix_earlier_persons__person_id"), "earlier_persons", ["person_id"])
    op.execute(_MOVED)
    op.execute(_ERASED.format(now=_NOW[op.get_bind().dialect.name]))
