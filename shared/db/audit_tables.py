"""What proves the history: the seals of its rows, and the rows that wait for theirs (decision 42). And approvals."""

from sqlalchemy import CheckConstraint, Column, Table

from shared.db.column_types import Identifier, Instant, PlainText
from shared.db.table_parts import id_column, metadata, partial_index, ref_column

#: The chain: one seal for each row of `events`, in the order of sealing; digests and salts as hex digits. No reference:
#: a seal outlives what it seals.
event_seals = Table(
    "event_seals",
    metadata,
    Column("number", Identifier, primary_key=True, autoincrement=False),
    Column("event_id", Identifier, nullable=False, unique=True),
    #: The key of `words`; NULL once the row's words are erased (D42): they cannot be guessed from their digest.
    Column("salt", PlainText),
    Column("words", PlainText, nullable=False),
    #: Over the seal before, the row and `words` (shared/domain/audit_chain.py).
    Column("link", PlainText, nullable=False),
    Column("sealed_at", Instant, nullable=False),
)

#: Rows of `events` without a seal: written by a trigger with each of them, taken by who seals.
unsealed_events = Table(
    "unsealed_events",
    metadata,
    Column("event_id", Identifier, primary_key=True, autoincrement=False),
)

#: What a second user was asked to look at: a job that is to be An, or an unclear order that is to be sent again (S23).
approvals = Table(
    "approvals",
    metadata,
    id_column(),
    #: One of them; the job's is NULL once it is deleted.
    ref_column("job_id", "contact_jobs", nullable=True, ondelete="SET NULL"),
    ref_column("order_id", "write_orders", nullable=True),
    #: Of what was shown: query, letter and job, or the order's last hand-over. Another one, and it has lapsed.
    Column("seal", PlainText, nullable=False),
    Column("asked_by", PlainText, nullable=False),
    Column("asked_at", Instant, nullable=False),
    #: Who changed job, query or letter last; NULL for orders.
    Column("configured_by", PlainText),
    Column("state", PlainText, nullable=False),
    Column("decided_by", PlainText),
    Column("decided_at", Instant),
    #: When it ended: refused, lapsed, or used (an order).
    Column("ended_at", Instant),
    CheckConstraint("state IN ('waiting', 'approved', 'refused', 'lapsed')", name="state"),
    # One at a time, however many ask at once.
    partial_index("uq_approvals__job", "job_id", where="state IN ('waiting', 'approved')", unique=True),
    partial_index("uq_approvals__order", "order_id", where="state = 'waiting'", unique=True),
)
