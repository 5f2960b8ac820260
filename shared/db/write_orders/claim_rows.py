"""What T1 reads of the orders that it may claim."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select

from shared.db.letter_data import APPLICATION_COLUMNS
from shared.db.tables import application_statuses, applications, attempts, form_letters, persons, write_orders

_O, _A = write_orders.c, applications.c
_ORDER_COLUMNS = (
    *("id", "type", "run_id", "job_id", "job_name", "lineage_id", "application_id", "letter_id", "occasion_day"),
    *("time_zone", "expires_at", "attempts", "fruitless_claims", "mail_date", "handed_over_at"),
    "lease_token",
)


#: What stands before the application's columns, by position.
_ORDER_NAMES = (
    *_ORDER_COLUMNS,
    *("person_id", "present_person_id", "opted_out_at", "deferrals", "letter_version", "application_meta"),
)
_APPLICATION_NAMES = (*APPLICATION_COLUMNS, "status")


def order_rows(which: ColumnElement[bool]) -> Select[Any]:
    """These orders with application, person, letter and status, locked by ascending id: see `as_claimable`."""
    a = attempts.c
    # What was given back, lost or put off says nothing about the order.
    deferred = select(func.count()).where(a.order_id == _O.id, a.outcome == "deferred").scalar_subquery()
    columns = [
        *(_O[name].label(name) for name in _ORDER_COLUMNS),
        *(_O.person_id.label("person_id"), _A.person_id.label("present_person_id")),
        persons.c.opted_out_at.label("opted_out_at"),
        case((_O.attempts == 0, 0), else_=deferred).label("deferrals"),
        func.coalesce(_O.letter_version, form_letters.c.version).label("letter_version"),
        application_statuses.c.meta.label("application_meta"),
        *(_A[name].label(f"their_{name}") for name in APPLICATION_COLUMNS),
        application_statuses.c.name.label("their_status"),
    ]
    source = (
        write_orders.join(applications, _A.id == _O.application_id)
        .join(persons, persons.c.id == _A.person_id)
        .join(form_letters, form_letters.c.id == _O.letter_id)
        .outerjoin(application_statuses, application_statuses.c.id == _A.status_id)
    )
    return select(*columns).select_from(source).where(which).order_by(_O.id).with_for_update(of=write_orders)


def as_claimable(rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Each order by column, with its `application` as a mapping of its own, which letters are written from."""
    theirs = len(_ORDER_NAMES)
    claimable = []
    for row in rows:
        # zip ends with the order's names, before the application's columns.
        order: dict[str, Any] = dict(zip(_ORDER_NAMES, row, strict=False))
        order["application"] = dict(zip(_APPLICATION_NAMES, row[theirs:], strict=True))
        claimable.append(order)
    return claimable
