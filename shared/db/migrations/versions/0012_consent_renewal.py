"""Jobs that ask for consent, and what was answered"""

import sqlalchemy as sa
from alembic import op

from shared.db.column_types import Identifier, Instant, PlainText

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("contact_jobs", sa.Column("consent_answer_days", sa.Integer()))
    # In one statement: SQLite adds no constraint later, and a table made anew would lose what refers to it.
    kind = "BIGINT" if op.get_bind().dialect.name == "postgresql" else "INTEGER"
    op.execute(
        f"ALTER TABLE contact_jobs ADD COLUMN consent_status_id {kind}"
        " CONSTRAINT fk_contact_jobs__consent_status_id REFERENCES application_statuses (id)"
    )
    op.create_table(
        "consent_requests",
        sa.Column("order_id", Identifier, nullable=False),
        sa.Column("job_id", Identifier),
        sa.Column("status_id", Identifier),
        sa.Column("asked_at", Instant()),
        sa.Column("answer", PlainText),
        sa.Column("answered_at", Instant()),
        sa.Column("due_at", Instant()),
        sa.Column("outcome", PlainText),
        sa.Column("outcome_at", Instant()),
        sa.Column("reason", PlainText),
        sa.Column("prior_status_id", Identifier),
        sa.Column("prior_in_pool", sa.Boolean()),
        sa.Column("prior_pool_since", sa.Date()),
        sa.CheckConstraint("answer IN ('stay', 'delete')", name=op.f("ck_consent_requests__answer")),
        sa.CheckConstraint("outcome IN ('lapsed', 'deleted', 'void')", name=op.f("ck_consent_requests__outcome")),
        sa.ForeignKeyConstraint(["order_id"], ["write_orders.id"], name=op.f("fk_consent_requests__order_id")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["contact_jobs.id"], name=op.f("fk_consent_requests__job_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["status_id"], ["application_statuses.id"], name=op.f("fk_consent_requests__status_id")
        ),
        sa.ForeignKeyConstraint(
            ["prior_status_id"], ["application_statuses.id"], name=op.f("fk_consent_requests__prior_status_id")
        ),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_consent_requests")),
    )
    op.create_index(op.f("ix_consent_requests__job_id"), "consent_requests", ["job_id"])
    due = sa.text("due_at IS NOT NULL")
    op.create_index(
        op.f("ix_consent_requests__due_at"), "consent_requests", ["due_at"], postgresql_where=due, sqlite_where=due
    )
