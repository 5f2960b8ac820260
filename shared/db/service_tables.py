"""What the services keep about themselves: signs of life, daily chores, queue depths, rate limits."""

from sqlalchemy import Column, Date, ForeignKey, Integer, Table

from shared.db.column_types import Identifier, Instant, PlainText
from shared.db.table_parts import metadata

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
