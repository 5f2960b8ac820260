"""Rate limits that all mailers share"""

import sqlalchemy as sa
from alembic import op

from shared.db.column_types import Instant, PlainText

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "send_slots",
        sa.Column("scope", PlainText, nullable=False),
        sa.Column("next_at", Instant(), nullable=False),
        sa.Column("queue_end", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_send_slots")),
    )
