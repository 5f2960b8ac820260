"""Mails that come back, and addresses that letters come back from"""

import sqlalchemy as sa
from alembic import op

from shared.db.column_types import Identifier, Instant, PlainText

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("applications", sa.Column("returned_email", PlainText, nullable=True))
    op.add_column("applications", sa.Column("returned_at", Instant(), nullable=True))
    returned = sa.text("returned_at IS NOT NULL")
    op.create_index(
        "ix_applications__returned", "applications", ["id"], postgresql_where=returned, sqlite_where=returned
    )
    op.create_table(
        "returned_mails",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("identity", PlainText, nullable=False),
        sa.Column("order_id", Identifier, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("kind", PlainText, nullable=False),
        sa.Column("status", PlainText, nullable=True),
        sa.Column("effect", PlainText, nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["write_orders.id"], name=op.f("fk_returned_mails__order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_returned_mails")),
        sa.UniqueConstraint("identity", name=op.f("uq_returned_mails__identity")),
    )
    op.create_index(op.f("ix_returned_mails__order_id"), "returned_mails", ["order_id"], unique=False)
