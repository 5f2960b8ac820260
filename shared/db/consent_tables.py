"""Consent letters that were sent, what was answered, and what came of it."""

from sqlalchemy import Boolean, CheckConstraint, Column, Date, ForeignKey, Index, Table

from shared.db.column_types import Identifier, Instant, PlainText
from shared.db.table_parts import metadata, partial_index, ref_column

#: One row for each order of a consent job that was sent, or answered before that was known for certain.
consent_requests = Table(
    "consent_requests",
    metadata,
    Column("order_id", Identifier, ForeignKey("write_orders.id"), primary_key=True),
    ref_column("job_id", "contact_jobs", nullable=True, ondelete="SET NULL"),
    #: The status that silence and "delete me" set, as the job had it when the letter was sent.
    ref_column("status_id", "application_statuses", nullable=True),
    #: When the mail server accepted the letter; NULL: not known. Only then can there be silence.
    Column("asked_at", Instant),
    Column("answer", PlainText),
    Column("answered_at", Instant),
    #: From when on silence, or the deletion asked for, is carried out; NULL: nothing is to be done.
    Column("due_at", Instant),
    #: What was carried out; NULL: nothing yet.
    Column("outcome", PlainText),
    Column("outcome_at", Instant),
    #: Why nothing came of it (outcome 'void').
    Column("reason", PlainText),
    #: What the application had before silence rejected it: a late "stay" gives it back while nothing is erased.
    ref_column("prior_status_id", "application_statuses", nullable=True),
    Column("prior_in_pool", Boolean),
    Column("prior_pool_since", Date),
    CheckConstraint("answer IN ('stay', 'delete')", name="answer"),
    CheckConstraint("outcome IN ('lapsed', 'deleted', 'void')", name="outcome"),
    Index(None, "job_id"),
    partial_index(None, "due_at", where="due_at IS NOT NULL"),
)
