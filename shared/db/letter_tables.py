"""What letters are made of: layouts, attached files, and the letters with their versions."""

from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, Table, text

from shared.db.column_types import Identifier, Instant, Json, PlainText
from shared.db.table_parts import id_column, metadata, named_columns, ref_column

letter_layouts = Table(
    "letter_layouts",
    metadata,
    id_column(),
    *named_columns(),
    #: Head and foot around a letter's own part, which stands where they say {{ content }}.
    Column("html", PlainText),
    Column("text", PlainText),
)

attachments = Table(
    "attachments",
    metadata,
    id_column(),
    #: How letters refer to it. A stored file never changes, so every attempt of an order has the same bytes (I12).
    *named_columns(),
    Column("file_name", PlainText, nullable=False),
    Column("media_type", PlainText, nullable=False),
    Column("size", Integer, nullable=False),
    Column("sha256", PlainText, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("added_at", Instant, nullable=False),
    Column("added_by", PlainText, nullable=False),
)

form_letters = Table(
    "form_letters",
    metadata,
    id_column(),
    *named_columns(),
    Column("version", Integer, nullable=False, server_default=text("1")),
)

form_letter_versions = Table(
    "form_letter_versions",
    metadata,
    Column("letter_id", Identifier, ForeignKey("form_letters.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("language", PlainText, nullable=False),
    Column("subject", PlainText, nullable=False),
    Column("html", PlainText),
    Column("text", PlainText),
    ref_column("sets_status_id", "application_statuses", nullable=True),
    ref_column("layout_id", "letter_layouts", nullable=True),
    #: The same letter in other languages: [{language, subject, html, text}], as written.
    Column("variants", Json),
    #: Ids of the attachments, in order.
    Column("attachment_ids", Json),
    #: What is sent, made once at saving: [{language, subject, html, text}] in the layout, with styles inlined.
    #: NULL in versions saved by a release that did not make it: composed when loaded.
    Column("composed", Json),
)
