"""Which persons applications had before."""

from sqlalchemy import Column, ForeignKey, Index, Table

from shared.db.column_types import Identifier
from shared.db.table_parts import metadata

#: An application that became another person's, and the person whose it was: what that one had is erased with it (D42).
earlier_persons = Table(
    "earlier_persons",
    metadata,
    Column("application_id", Identifier, ForeignKey("applications.id", ondelete="CASCADE"), primary_key=True),
    Column("person_id", Identifier, ForeignKey("persons.id"), primary_key=True),
    Index(None, "person_id"),
)
