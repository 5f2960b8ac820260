"""Layouts, attachments and languages of letters; tasks of manual orders; daily chores; reduction after a delay"""

import sqlalchemy as sa
from alembic import op

from shared.db.column_types import Identifier, Instant, Json, PlainText

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _letters()
    with op.batch_alter_table("write_orders") as table:
        table.add_column(sa.Column("task", PlainText, nullable=True))
        table.add_column(sa.Column("created_by", PlainText, nullable=True))
    with op.batch_alter_table("applications") as table:
        table.add_column(sa.Column("rejected_by_letter_at", Instant(), nullable=True))
    open_rejections = sa.text("rejected_by_letter_at IS NOT NULL AND reduced_at IS NULL")
    op.create_index(
        op.f("ix_applications__rejected_by_letter_at"),
        "applications",
        ["rejected_by_letter_at"],
        unique=False,
        postgresql_where=open_rejections,
        sqlite_where=open_rejections,
    )
    op.create_table(
        "daily_chores",
        sa.Column("name", PlainText, nullable=False),
        sa.Column("done_on", sa.Date(), nullable=False),
        sa.Column("done_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_daily_chores")),
    )


def _letters() -> None:
    op.create_table(
        "letter_layouts",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("name", PlainText, nullable=False),
        sa.Column("name_folded", PlainText, nullable=False),
        sa.Column("html", PlainText, nullable=True),
        sa.Column("text", PlainText, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_letter_layouts")),
        sa.UniqueConstraint("name_folded", name=op.f("uq_letter_layouts__name_folded")),
    )
    op.create_table(
        "attachments",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("name", PlainText, nullable=False),
        sa.Column("name_folded", PlainText, nullable=False),
        sa.Column("file_name", PlainText, nullable=False),
        sa.Column("media_type", PlainText, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("sha256", PlainText, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("added_at", Instant(), nullable=False),
        sa.Column("added_by", PlainText, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attachments")),
        sa.UniqueConstraint("name_folded", name=op.f("uq_attachments__name_folded")),
    )
    with op.batch_alter_table("form_letter_versions") as table:
        table.add_column(sa.Column("layout_id", Identifier, nullable=True))
        table.add_column(sa.Column("variants", Json, nullable=True))
        table.add_column(sa.Column("attachment_ids", Json, nullable=True))
        table.add_column(sa.Column("composed", Json, nullable=True))
        table.create_foreign_key(op.f("fk_form_letter_versions__layout_id"), "letter_layouts", ["layout_id"], ["id"])
