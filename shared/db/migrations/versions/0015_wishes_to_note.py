"""Wishes that wait for who may read addresses: the candidates' page may not"""

import sqlalchemy as sa
from alembic import op

from shared.db.column_types import Identifier, PlainText

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "wishes_to_note",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("person_id", Identifier, nullable=False),
        sa.Column("taken_back", PlainText, nullable=True),
        sa.ForeignKeyConstraint(
            ["person_id"], ["persons.id"], name=op.f("fk_wishes_to_note__person_id"), ondelete="CASCADE"
        ),
        sa.CheckConstraint(
            "taken_back IN ('opted_out_at', 'no_birthday_since', 'yearly_since', 'paused_until')",
            name=op.f("ck_wishes_to_note__taken_back"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wishes_to_note")),
    )
