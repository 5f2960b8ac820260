"""What the services keep about themselves: signs of life, daily chores, queue depths, rate limits, whom to look at."""

from sqlalchemy import BigInteger, Column, Date, ForeignKey, Index, Integer, Table

from shared.db.column_types import Identifier, IdList, Instant, PlainText
from shared.db.table_parts import id_column, metadata

service_instances = Table(
    "service_instances",
    metadata,
    Column("service", PlainText, primary_key=True),
    Column("instance", PlainText, primary_key=True),
    Column("started_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
)

#: What the scheduler does once a day, with the day (in the system's time zone) on which it was last done.
daily_chores = Table(
    "daily_chores",
    metadata,
    Column("name", PlainText, primary_key=True),
    Column("done_on", Date, nullable=False),
    Column("done_at", Instant, nullable=False),
)

queue_depths = Table(
    "queue_depths",
    metadata,
    Column("queue", PlainText, primary_key=True),
    Column("messages", Integer, nullable=False),
    Column("consumers", Integer, nullable=False),
    Column("measured_at", Instant, nullable=False),
)

#: Rate limits: the next free slot of a relay or a recipient domain, and until when those who wait are spread (I16).
send_slots = Table(
    "send_slots",
    metadata,
    Column("scope", PlainText, primary_key=True),
    Column("next_at", Instant, nullable=False),
    Column("queue_end", Instant, nullable=False),
)

#: Who is signed in at the console. The token itself is known to the browser only.
console_sessions = Table(
    "console_sessions",
    metadata,
    Column("token_hash", PlainText, primary_key=True),
    Column("user_id", Identifier, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("csrf", PlainText, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
)

#: People about whom something changed that plans look at: a row for each statement that did it (SQLite: for each row),
#: written by the triggers of migration 0005. Read and pruned by person_changes.py alone.
person_changes = Table(
    "person_changes",
    metadata,
    id_column(),
    #: PostgreSQL: the transaction that did it. SQLite has one writer, so there the id says it all.
    Column("transaction_id", BigInteger),
    #: NULL: everybody, unless `forgotten_to` is set.
    Column("people", IdList),
    #: Changes before this position are no longer on record.
    Column("forgotten_to", BigInteger),
    Index(None, "transaction_id"),
    sqlite_autoincrement=True,
)
