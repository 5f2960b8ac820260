"""What candidates ask of the recruiters, wishes that outlive the record of whoever had them."""

from sqlalchemy import CheckConstraint, Column, Date, Index, Table

from shared.db.column_types import Identifier, Instant, PlainText
from shared.db.table_parts import id_column, metadata, partial_index, ref_column

#: A candidate asks for something that a recruiter has to do; open until somebody says it is done.
candidate_requests = Table(
    "candidate_requests",
    metadata,
    id_column(),
    ref_column("application_id", "applications", ondelete="CASCADE"),
    Column("kind", PlainText, nullable=False),
    #: The candidate's own words; NULL: none, or erased.
    Column("words", PlainText),
    Column("made_at", Instant, nullable=False),
    Column("done_at", Instant),
    #: The user who did it, or the candidate who took it back.
    Column("done_by", PlainText),
    CheckConstraint("kind IN ('correction', 'deletion')", name="kind"),
    Index(None, "application_id"),
    partial_index("ix_candidate_requests__open", "id", where="done_at IS NULL"),
)

#: What somebody with this address, or this identity, does not want (S29). It refers to no record: it holds when the
#: records are gone and come again. Who shares an address has a row each.
suppressions = Table(
    "suppressions",
    metadata,
    #: HMAC-SHA256 by the database's own secret, of the two below; in notes of an earlier release `known_by` itself.
    Column("key_hash", PlainText, primary_key=True),
    #: The same of an address or a person's identity, and of the identity of whoever said so; NULL: of that release.
    Column("known_by", PlainText),
    Column("holder_hash", PlainText),
    #: Whose record it was last; no reference, the record may be gone.
    Column("person_id", Identifier),
    Column("opted_out_at", Instant),
    Column("no_birthday_since", Instant),
    Column("yearly_since", Instant),
    Column("paused_until", Date),
    Index(None, "known_by"),
    Index(None, "holder_hash"),
)

#: How far the database knows what each machine has written down of what candidates said.
said_journals = Table(
    "said_journals",
    metadata,
    #: The name that the machine's file gave itself.
    Column("journal", PlainText, primary_key=True),
    Column("number", Identifier, nullable=False),
    Column("at", Instant, nullable=False),
)

#: Wishes that the candidates' page took: it may read no address (S17), so a scheduler notes them among the above within
#: seconds, and whoever changes what the person is known by does it first.
wishes_to_note = Table(
    "wishes_to_note",
    metadata,
    id_column(),
    ref_column("person_id", "persons", ondelete="CASCADE"),
    #: The wish that the person takes back; NULL: what the person does not want by now is to be noted.
    Column("taken_back", PlainText),
    # Whoever takes the page over may write here, and everybody's wishes are noted from here.
    CheckConstraint(
        "taken_back IN ('opted_out_at', 'no_birthday_since', 'yearly_since', 'paused_until')", name="taken_back"
    ),
)
