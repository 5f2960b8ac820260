"""Rows of a contact file as entries."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from shared.importing import cells
from shared.importing.report import RowError
from shared.importing.rows import Row

MEDIA = ("form_letter_post", "form_letter_mail", "mail", "fax", "phone", "letter", "in_person", "note", "portal")
DIRECTIONS = ("outgoing", "incoming", "internal")
#: Columns whose absence leaves the entry's value unchanged.
OPTIONAL = ("subject", "body", "user")
KNOWN = ("external_id", "application", "person", "at", "medium", "direction", *OPTIONAL)
REQUIRED = ("at", "medium", "direction", "application|person")
_ALWAYS_COUNT = ("form_letter_post", "form_letter_mail", "in_person")
_OUTGOING_COUNT = ("mail", "fax", "phone", "letter")
_READERS = {
    "external_id": cells.name,
    "at": cells.instant,
    "medium": cells.word(MEDIA),
    "direction": cells.word(DIRECTIONS),
}


def counts_for_person(medium: str, direction: str) -> bool:
    """Whether an entry of the person without an application is a contact for all its applications (D20)."""
    return medium in _ALWAYS_COUNT or (medium in _OUTGOING_COUNT and direction == "outgoing")


class ContactRow(NamedTuple):
    """One entry; exactly one of `application` and `person` is given."""

    external_id: str | None
    identity: str
    application: str | None
    #: The person's duplicate set.
    person: str | None
    at: datetime
    medium: str
    direction: str
    #: Those of OPTIONAL that the file has.
    texts: dict[str, str | None]


@lru_cache(maxsize=1000)
def _plan(columns: tuple[str, ...]) -> list[tuple[str, cells.Reader]]:
    return [(column, _READERS.get(column, cells.text)) for column in columns]


def parse_contact(row: Row) -> tuple[str | None, ContactRow]:
    """(external id or None, entry); raises RowError with the first cell that is wrong."""
    values: dict[str, Any] = {
        column: read(column, cell) for (column, read), cell in zip(_plan(row.columns), row.cells, strict=True)
    }
    for column in ("at", "medium", "direction"):
        if column not in values:
            raise RowError(column, "", "is missing")
    application, person = values.get("application"), values.get("person")
    if application and person:
        raise RowError("person", person, "give exactly one of application and person")
    if not application and not person:
        raise RowError("application", "", "give exactly one of application and person")
    external_id = values.get("external_id")
    shown = (application, person, values["at"], values["medium"], values["direction"])
    texts = {column: values[column] for column in OPTIONAL if column in values}
    identity = f"id:{external_id}" if external_id else _content_identity([*shown, *map(texts.get, OPTIONAL)])
    return external_id, ContactRow(external_id, identity, *shown, texts)


def _content_identity(content: Sequence[object]) -> str:
    joined = "\x1f".join("" if value is None else str(value) for value in content)
    return "content:" + sha256(joined.encode()).hexdigest()
