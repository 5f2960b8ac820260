"""What a filter found in an application, as people read it (D22)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Select, case, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.queries import QueryDay, last_contact_at
from shared.db.tables import application_statuses, applications, custom_fields, persons
from shared.domain.filters import Filter
from shared.domain.mail_addresses import usable_address
from shared.domain.text import fold

_A, _P = applications.c, persons.c


async def load_facts(connection: AsyncConnection, application_id: int) -> dict[str, Any]:
    """Everything of one application that filters and rules look at."""
    row = (await connection.execute(_statement().where(_A.id == application_id))).mappings().one()
    field = custom_fields.c
    custom = await connection.execute(
        select(field.name_folded, field.value).where(field.application_id == application_id)
    )
    return {**row, "custom": {one.name_folded: one.value for one in custom}}


def _statement() -> Select[Any]:
    in_pool_since = _A.in_pool & _A.pool_since.is_not(None)
    columns = (
        *(_A.id, _A.external_id, _A.person_id, _A.kind, _A.email, _A.usable_email, _A.birth_date, _A.received_on),
        *(_A.in_pool, _A.reduced_at, _A.vacancy, _A.department, _A.location, _A.source, _A.language, _A.recruiter),
        *(_P.duplicate_set, _P.opted_out_at),
        application_statuses.c.name.label("status"),
        application_statuses.c.meta.label("meta_status"),
        last_contact_at().label("contact_at"),
        case((in_pool_since, _A.pool_since), else_=_A.received_on).label("dwells_since"),
    )
    source = applications.join(persons, _P.id == _A.person_id)
    return select(*columns).select_from(
        source.outerjoin(application_statuses, application_statuses.c.id == _A.status_id)
    )


def value_of(one: Filter, facts: Mapping[str, Any], on: QueryDay) -> str | None:
    """What the filter looked at; None where nothing is known."""
    if one.field.startswith("custom."):
        found = facts["custom"].get(fold(one.field.removeprefix("custom.")))
    elif one.field == "has_email":
        found = _address(facts)
    elif one.field == "in_pool":
        found = "yes" if facts["in_pool"] else "no"
    elif one.field == "days_since_last_contact":
        found = _last_contact(facts, on)
    else:
        found = facts[{"birthday_in_days": "birth_date", "dwell_months": "dwells_since"}.get(one.field, one.field)]
    return None if found is None else str(found)


def _address(facts: Mapping[str, Any]) -> str | None:
    if facts["email"] and not facts["usable_email"]:
        return f"{facts['email']} ({'letters come back' if usable_address(facts['email']) else 'not valid'})"
    return facts["email"] and str(facts["email"])


def _last_contact(facts: Mapping[str, Any], on: QueryDay) -> str | None:
    at: datetime | None = facts["contact_at"]
    if at is not None:
        return at.astimezone(on.zone).date().isoformat()
    received = facts["received_on"]
    return f"{received} (received; no contact)" if received else None
