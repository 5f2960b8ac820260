"""Who is signed in at the console"""

import sqlalchemy as sa
from alembic import op

from shared.db.column_types import Identifier, Instant, PlainText

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "console_sessions",
        sa.Column("token_hash", PlainText, nullable=False),
        sa.Column("user_id", Identifier, nullable=False),
        sa.Column("csrf", PlainText, nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_console_sessions__user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_console_sessions")),
    )
    op.create_index(op.f("ix_console_sessions__user_id"), "console_sessions", ["user_id"])
