"""Wishes are noted for each person who shares an address; how far the database knows what candidates said"""

import sqlalchemy as sa
from alembic import op

from shared.db.column_types import Identifier, Instant, PlainText

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("suppressions", sa.Column("known_by", PlainText))
    op.add_column("suppressions", sa.Column("holder_hash", PlainText))
    op.add_column("suppressions", sa.Column("person_id", Identifier))
    for column in ("known_by", "holder_hash"):
        op.create_index(op.f(f"ix_suppressions__{column}"), "suppressions", [column])
    op.create_table(
        "said_journals",
        sa.Column("journal", PlainText, nullable=False),
        sa.Column("number", Identifier, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("journal", name=op.f("pk_said_journals")),
    )
