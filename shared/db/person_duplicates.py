"""The applications of one person beside each other: why they are one, and which of them is written to (D23, D24)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.recipients import by_preference
from shared.db.system_settings import load_system_settings
from shared.db.tables import application_statuses, applications, persons

_A, _P, _S = applications.c, persons.c, application_statuses.c


@dataclass(frozen=True, slots=True)
class Duplicates:
    """A person's applications, in the order in which they stand for the person."""

    #: `set`: the import says so; `key`: equal on `keys`; `one`: there is one only, or no reason any more.
    by: Literal["set", "key", "one"]
    duplicate_set: str | None
    keys: tuple[str, ...]
    applications: tuple[Mapping[str, Any], ...]
    #: The application that is written to, of those that match a query; None: all are reduced to core data.
    stands: Mapping[str, Any] | None
    #: What puts it before the next one; None: there is no other.
    because: Literal["outgoing", "received", "number"] | None


async def duplicates_of(connection: AsyncConnection, person_id: int) -> Duplicates:
    """What is known of a person that exists."""
    columns = (
        *(_A.id, _A.external_id, _A.kind, _A.salutation, _A.title, _A.first_name, _A.last_name, _A.birth_date),
        *(_A.email, _A.vacancy, _A.received_on, _A.last_outgoing_at, _A.reduced_at, _S.name.label("status")),
    )
    theirs = (
        select(*columns)
        .outerjoin_from(applications, application_statuses, _S.id == _A.status_id)
        .where(_A.person_id == person_id)
        .order_by(*by_preference())
    )
    rows = (await connection.execute(theirs)).mappings()
    found = tuple({str(key): value for key, value in row.items()} for row in rows)
    person = (await connection.execute(select(_P.identity, _P.duplicate_set).where(_P.id == person_id))).one()
    keys = (await load_system_settings(connection)).duplicate_keys
    # D25: what is reduced is never selected.
    candidates = [one for one in found if one["reduced_at"] is None]
    return Duplicates(
        by=_BY[person.identity.partition(":")[0]],
        duplicate_set=person.duplicate_set,
        keys=keys,
        applications=found,
        stands=candidates[0] if candidates else None,
        because=_difference(candidates[0], candidates[1]) if len(candidates) > 1 else None,
    )


_BY: dict[str, Literal["set", "key", "one"]] = {"set": "set", "key": "key", "one": "one"}


def _difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> Literal["outgoing", "received", "number"]:
    if first["last_outgoing_at"] != second["last_outgoing_at"]:
        return "outgoing"
    return "received" if first["received_on"] != second["received_on"] else "number"
