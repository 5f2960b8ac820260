"""What proves the history: the seals of its rows, and the rows that wait for theirs (decision 42)."""

from sqlalchemy import Column, Table

from shared.db.column_types import Identifier, Instant, PlainText
from shared.db.table_parts import metadata

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
