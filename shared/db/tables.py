"""Every table of the domain. One noun per record (docs/glossary.md); unique keys make doubled work harmless."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    Table,
    UniqueConstraint,
    text,
)

import shared.db.audit_tables
import shared.db.person_tables
import shared.db.service_tables  # noqa: F401 - with them the metadata is the whole schema
from shared.db.candidate_tables import candidate_requests, suppressions, wishes_to_note
from shared.db.column_types import Identifier, Instant, Json, PlainText
from shared.db.consent_tables import consent_requests
from shared.db.letter_tables import attachments, form_letter_versions, form_letters, letter_layouts
from shared.db.table_parts import beginnings_index, id_column, metadata, named_columns, partial_index, ref_column

__all__ = [
    "attachments",
    "candidate_requests",
    "consent_requests",
    "form_letter_versions",
    "form_letters",
    "letter_layouts",
    "metadata",
    "suppressions",
    "wishes_to_note",
]

system_settings = Table(
    "system_settings",
    metadata,
    Column("name", PlainText, primary_key=True),
    Column("value", Json, nullable=False),
)

users = Table(
    "users",
    metadata,
    id_column(),
    *named_columns(),
    Column("display_name", PlainText, nullable=False),
    Column("email", PlainText),
    Column("role", PlainText, nullable=False),
    Column("password_hash", PlainText),
    Column("locked_at", Instant),
    CheckConstraint("role IN ('view', 'operate', 'edit', 'admin')", name="role"),
)

application_statuses = Table(
    "application_statuses",
    metadata,
    id_column(),
    *named_columns(),
    Column("meta", PlainText, nullable=False),
    CheckConstraint("meta IN ('new', 'in_process', 'interview', 'offer', 'pool', 'hired', 'rejected')", name="meta"),
)

persons = Table(
    "persons",
    metadata,
    id_column(),
    #: 'set:ID' from the import, 'key:...' equal on the configured keys, or 'one:EXTERNAL_ID' (D24).
    Column("identity", PlainText, nullable=False, unique=True),
    Column("duplicate_set", PlainText, unique=True),
    #: Latest contact that counts for all applications of the person (D20).
    Column("last_contact_at", Instant),
    Column("opted_out_at", Instant),
    Column("opted_out_by", PlainText),
    #: Since when the person wants no birthday letters, and at most one letter a year; NULL: as usual.
    Column("no_birthday_since", Instant),
    Column("yearly_since", Instant),
    partial_index("ix_persons__opted_out", "id", where="opted_out_at IS NOT NULL"),
    partial_index("ix_persons__no_birthday", "id", where="no_birthday_since IS NOT NULL"),
    partial_index("ix_persons__yearly", "id", where="yearly_since IS NOT NULL"),
)

#: Columns of an application that filters compare as text; each has a folded copy (trimmed, NFC, case-folded).
FOLDED = ("language", "vacancy", "department", "location", "source", "recruiter")

applications = Table(
    "applications",
    metadata,
    id_column(),
    Column("external_id", PlainText, nullable=False, unique=True),
    ref_column("person_id", "persons"),
    Column("kind", PlainText, nullable=False),
    Column("salutation", PlainText),
    Column("title", PlainText),
    Column("first_name", PlainText),
    Column("last_name", PlainText),
    Column("birth_date", Date),
    #: Month * 100 + day, so that birthdays are found by index across the year's end.
    Column("birth_month_day", Integer),
    Column("email", PlainText),
    #: The address as mail is sent to it; NULL where `email` is missing or not valid (D34).
    Column("usable_email", PlainText),
    #: The usable address that is none any more, because letters to it came back, and since when.
    Column("returned_email", PlainText),
    Column("returned_at", Instant),
    *[Column(name, PlainText) for name in ("phone", "street", "postal_code", "city", "country", *FOLDED)],
    #: Written in Python; rules compare only these.
    *[Column(f"{name}_folded", PlainText) for name in FOLDED],
    ref_column("status_id", "application_statuses", nullable=True),
    Column("received_on", Date),
    Column("in_pool", Boolean, nullable=False, server_default=text("false")),
    Column("pool_since", Date),
    #: Latest contact entry of the application itself, any medium (D20), and the latest outgoing one (D23).
    Column("last_contact_at", Instant),
    Column("last_outgoing_at", Instant),
    #: When a letter of this system set the rejected status that it has (D42): what may be reduced later.
    Column("rejected_by_letter_at", Instant),
    Column("reduced_at", Instant),
    #: Which import wrote the row last, and in which line: finds a second row of the same id in one file.
    Column("import_id", PlainText),
    Column("import_line", Integer),
    CheckConstraint("kind IN ('application', 'pool', 'other')", name="kind"),
    # A letter changes none of these columns unless it sets a status, so it touches none of the indexes.
    Index(None, "person_id"),
    # Enough to count birthdays without reading an application.
    partial_index("ix_applications__birthdays", "birth_month_day", "person_id", where="reduced_at IS NULL"),
    Index(None, "status_id"),
    partial_index(None, "rejected_by_letter_at", where="rejected_by_letter_at IS NOT NULL AND reduced_at IS NULL"),
    partial_index("ix_applications__returned", "id", where="returned_at IS NOT NULL"),
)

beginnings_index(applications.c.recruiter_folded)
for _name in ("last_name", "first_name", "email"):
    beginnings_index(applications.c[_name], folded=True)

custom_fields = Table(
    "custom_fields",
    metadata,
    Column("application_id", Identifier, ForeignKey("applications.id", ondelete="CASCADE"), primary_key=True),
    Column("name_folded", PlainText, primary_key=True),
    Column("name", PlainText, nullable=False),
    Column("value", PlainText, nullable=False),
    Column("value_folded", PlainText, nullable=False),
)

contact_entries = Table(
    "contact_entries",
    metadata,
    id_column(),
    #: The given id ('id:...'), the hash of the content ('content:...') or 'order:ID': appended once.
    Column("identity", PlainText, nullable=False, unique=True),
    ref_column("application_id", "applications", nullable=True),
    ref_column("person_id", "persons", nullable=True),
    Column("at", Instant, nullable=False),
    Column("medium", PlainText, nullable=False),
    Column("direction", PlainText, nullable=False),
    Column("subject", PlainText),
    Column("body", PlainText),
    Column("author", PlainText),
    #: Whether the entry is a contact for all applications of the person (D20).
    Column("counts_for_person", Boolean, nullable=False, server_default=text("false")),
    Column("import_id", PlainText),
    Column("import_line", Integer),
    CheckConstraint("(application_id IS NULL) <> (person_id IS NULL)", name="one_owner"),
    Index(None, "application_id"),
    Index(None, "person_id"),
)

application_queries = Table(
    "application_queries",
    metadata,
    id_column(),
    *named_columns(),
    Column("filters", Json, nullable=False),
    Column("version", Integer, nullable=False, server_default=text("1")),
)

lineages = Table("lineages", metadata, id_column(), Column("created_at", Instant, nullable=False))

contact_jobs = Table(
    "contact_jobs",
    metadata,
    id_column(),
    *named_columns(),
    ref_column("lineage_id", "lineages"),
    Column("status", PlainText, nullable=False),
    Column("on_since", Instant),
    Column("off_since", Instant),
    ref_column("query_id", "application_queries"),
    ref_column("letter_id", "form_letters"),
    Column("note", PlainText),
    Column("dispatch_mode", PlainText, nullable=False),
    Column("cycle_months", Integer),
    Column("anchor_on", Date),
    Column("dispatch_time", PlainText, nullable=False),
    Column("time_zone", PlainText, nullable=False),
    Column("lead_days", Integer, nullable=False),
    Column("sender", PlainText, nullable=False),
    Column("sender_fallback", PlainText),
    Column("repeat_guard_days", Integer, nullable=False),
    Column("valid_days", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("on_unclear", PlainText, nullable=False),
    Column("working_days", PlainText, nullable=False),
    Column("holidays", PlainText),
    #: Rises with every change of the job, its query or its letter: T2 sends only what was claimed under it (I9).
    Column("epoch", Integer, nullable=False, server_default=text("1")),
    #: Every occasion before this day has its run; the tick goes on from here.
    Column("next_occasion_day", Date),
    Column("copied_from", PlainText),
    #: Of a job that asks for consent: days to answer, and the status that silence and "delete me" set.
    Column("consent_answer_days", Integer),
    ref_column("consent_status_id", "application_statuses", nullable=True),
    CheckConstraint("status IN ('on', 'off')", name="status"),
    CheckConstraint("dispatch_mode IN ('rolling', 'cyclic')", name="dispatch_mode"),
    CheckConstraint("on_unclear IN ('ask', 'resend')", name="on_unclear"),
)

dispatch_runs = Table(
    "dispatch_runs",
    metadata,
    id_column(),
    ref_column("job_id", "contact_jobs", nullable=True, ondelete="SET NULL"),
    ref_column("lineage_id", "lineages"),
    Column("job_name", PlainText, nullable=False),
    Column("occasion_day", Date, nullable=False),
    Column("plan_from", Instant, nullable=False),
    Column("send_at", Instant, nullable=False),
    #: 'open' until its send moment is dealt with, then 'dispatched' or 'skipped'.
    Column("state", PlainText, nullable=False),
    #: When the next synchronisation is wanted (NULL: none) and when its doorbell was last rung.
    Column("due_at", Instant),
    Column("rung_at", Instant),
    Column("unheld", Boolean, nullable=False, server_default=text("false")),
    Column("released_at", Instant),
    Column("synced_at", Instant),
    Column("synced_epoch", Integer),
    #: What the plan was made from (plan_basis.py); NULL: the next synchronisation looks at everybody.
    Column("basis", Json),
    Column("recipients", Integer),
    Column("released_orders", Integer, nullable=False, server_default=text("0")),
    #: Why it was skipped, is held, or could not be evaluated.
    Column("reason", PlainText),
    UniqueConstraint("job_id", "occasion_day"),
    CheckConstraint("state IN ('open', 'dispatched', 'skipped')", name="state"),
    partial_index(None, "due_at", where="due_at IS NOT NULL"),
    Index(None, "lineage_id"),
)

blocks = Table(
    "blocks",
    metadata,
    id_column(),
    ref_column("person_id", "persons"),
    #: NULL: every job (scope 'all').
    ref_column("lineage_id", "lineages", nullable=True),
    Column("scope", PlainText, nullable=False),
    Column("until", Date),
    Column("reason", PlainText, nullable=False),
    Column("author", PlainText, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("lifted_at", Instant),
    Column("lifted_by", PlainText),
    CheckConstraint("scope IN ('letter', 'job', 'all')", name="scope"),
    Index(None, "person_id"),
)

#: States in which an order ends, or waits for a person, without having been sent for certain.
UNSENT = ("failed", "unclear", "no_address", "blocked", "withdrawn")
_UNDER_WAY = "type = 'contact_job' AND state IN ('queued', 'sending')"

write_orders = Table(
    "write_orders",
    metadata,
    id_column(),
    Column("type", PlainText, nullable=False),
    #: Of a manual order: invitation, interim_notice, rejection or contract; NULL for none of these (D30).
    Column("task", PlainText),
    #: Who made it by hand; NULL for orders that a job made.
    Column("created_by", PlainText),
    ref_column("run_id", "dispatch_runs", nullable=True),
    ref_column("job_id", "contact_jobs", nullable=True, ondelete="SET NULL"),
    Column("job_name", PlainText),
    ref_column("lineage_id", "lineages", nullable=True),
    ref_column("person_id", "persons"),
    ref_column("application_id", "applications"),
    ref_column("letter_id", "form_letters"),
    Column("occasion_day", Date, nullable=False),
    Column("state", PlainText, nullable=False),
    Column("reason", PlainText),
    #: Which rule withdrew it: 'sync' (returns when it matches again) or another (stays).
    Column("withdrawn_by", PlainText),
    ref_column("block_id", "blocks", nullable=True),
    Column("time_zone", PlainText, nullable=False),
    Column("planned_for", Instant, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("queued_at", Instant),
    #: Not claimed before, withdrawn after (D19). Of an order whose mailer was lost: when it was found to be unclear.
    Column("not_before", Instant),
    Column("expires_at", Instant),
    #: When a doorbell is wanted (NULL: rung), and when it was last rung.
    Column("ring_at", Instant),
    Column("rung_at", Instant),
    #: The claim: 'claimed' before T2, 'handed_over' after it.
    Column("phase", PlainText),
    Column("lease_token", Identifier),
    Column("lease_until", Instant),
    #: Last T2 whose answer is not known to be negative: an order with one is never planned or withdrawn (D37).
    Column("handed_over_at", Instant),
    #: The job's epoch at the claim; NULL: something changed since, claim again.
    Column("claimed_epoch", Integer),
    Column("claimed_status_id", Identifier),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    #: Claims without any outcome so far: a poison order ends after five.
    Column("fruitless_claims", Integer, nullable=False, server_default=text("0")),
    #: Pinned at the first claim, so that every attempt has the same bytes (I12).
    Column("letter_version", Integer),
    Column("mail_date", Instant),
    Column("email", PlainText),
    Column("message_id", PlainText),
    Column("sent_at", Instant),
    Column("subject", PlainText),
    UniqueConstraint("lineage_id", "person_id", "occasion_day"),
    partial_index("uq_write_orders__under_way", "lineage_id", "person_id", where=_UNDER_WAY, unique=True),
    partial_index(None, "ring_at", where="ring_at IS NOT NULL"),
    # Not by lease or hand-over: the intent (T2) changes both, and is to touch no index.
    partial_index("ix_write_orders__sending", "id", where="state = 'sending'"),
    partial_index("ix_write_orders__unclear", "expires_at", where="state = 'unclear'"),
    partial_index("ix_write_orders__queued", "rung_at", where="state = 'queued'"),
    partial_index("ix_write_orders__planned", "planned_for", where="state = 'planned'"),
    # What the sweep asks of each job that is An every second, however many orders there are.
    partial_index("ix_write_orders__expiring", "job_id", "expires_at", where="state IN ('planned', 'queued')"),
    # For the lists of what people look for; a letter on its usual way is in none of these.
    partial_index("ix_write_orders__unsent", "state", "id", where=f"state IN {UNSENT}"),
    partial_index("ix_write_orders__by_hand", "type", "id", "occasion_day", where="type <> 'contact_job'"),
    Index(None, "application_id"),
    Index(None, "run_id", "state"),
    CheckConstraint("type IN ('manual', 'scheduled_rejection', 'contact_job')", name="type"),
    CheckConstraint(
        "state IN ('planned', 'queued', 'sending', 'sent', 'no_address', 'failed', 'unclear', 'blocked', 'withdrawn')",
        name="state",
    ),
)

attempts = Table(
    "attempts",
    metadata,
    Column("order_id", Identifier, ForeignKey("write_orders.id"), primary_key=True),
    Column("attempt_no", Integer, primary_key=True),
    Column("lease_token", Identifier, nullable=False, unique=True),
    Column("mailer", PlainText, nullable=False),
    #: The same on every attempt of an order (I12).
    Column("message_id", PlainText),
    Column("claimed_at", Instant, nullable=False),
    Column("handed_over_at", Instant),
    Column("settled_at", Instant),
    Column("relay", PlainText),
    Column("body_hash", PlainText),
    Column("bytes", Integer),
    Column("outcome", PlainText),
    Column("reply_code", Integer),
    Column("reply_text", PlainText),
)

#: Mails that came back and belong to a letter, each once.
returned_mails = Table(
    "returned_mails",
    metadata,
    id_column(),
    #: The mail's fingerprint: a copy of it, or the same mail read again, changes nothing.
    Column("identity", PlainText, nullable=False, unique=True),
    ref_column("order_id", "write_orders"),
    Column("at", Instant, nullable=False),
    Column("kind", PlainText, nullable=False),
    #: As in RFC 3463, where it says so.
    Column("status", PlainText),
    #: What it led to: 'recorded', 'given_up', ...
    Column("effect", PlainText, nullable=False),
    Index(None, "order_id"),
)

events = Table(
    "events",
    metadata,
    id_column(),
    Column("at", Instant, nullable=False),
    Column("author", PlainText, nullable=False),
    Column("action", PlainText, nullable=False),
    #: The record: 'job', 'query', 'letter', 'order', 'person', 'application', 'run', 'user', 'status', 'settings'.
    Column("noun", PlainText, nullable=False),
    Column("record_id", Identifier),
    Column("record_name", PlainText),
    Column("field", PlainText),
    Column("old", PlainText),
    Column("new", PlainText),
    Column("reason", PlainText),
    Index(None, "noun", "record_id"),
)
