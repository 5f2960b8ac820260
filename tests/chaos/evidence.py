"""What the judge looks at: rows, the mail server's ledger, and the times that the run itself took down."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import select

from shared.db.engine import Database
from shared.db.tables import (
    applications,
    attempts,
    contact_entries,
    contact_jobs,
    dispatch_runs,
    events,
    write_orders,
)
from tests.chaos.acts import EDITION, Act, Delivery
from tests.smtp_ledger import LedgerEntry, TakenMail

_MESSAGE_ID = re.compile(rb"^message-id:\s*(<[^>\r\n]*>)", re.IGNORECASE | re.MULTILINE)


@dataclass
class Evidence:
    """The rows, the ledger by Message-ID, what people did, and when each accepted mail came."""

    #: With the application's external id and the job's policy for unclear letters.
    orders: list[Mapping[str, Any]]
    attempts: dict[int, list[Mapping[str, Any]]]
    runs: list[Mapping[str, Any]]
    contacts: Counter[int]
    ledger: dict[str, list[LedgerEntry]]
    #: Changes of state that are told in `events`, by order, oldest first.
    events: dict[int, list[Mapping[str, Any]]] = field(default_factory=dict)
    acts: Sequence[Act] = ()
    deliveries: Sequence[Delivery] = ()
    #: Processes that died or stood still, by their ids; whether the way to the database was broken at any time.
    fallen: frozenset[int] = frozenset()
    database_was_away: bool = False
    #: Recipients of whom the mail server left when it read their body: their dot may have been under way by then.
    left_at_body: frozenset[str] = frozenset()

    def of(self, order: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The attempts of an order, first to last."""
        return self.attempts.get(order["id"], [])

    def told(self, order: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The events of an order, first to last."""
        return self.events.get(order["id"], [])

    def about(self, orders: list[Mapping[str, Any]]) -> "Evidence":
        """The same, of these orders only."""
        tried = {order["id"]: self.attempts.get(order["id"], []) for order in orders}
        ids = {attempt["message_id"] for attempts_of in tried.values() for attempt in attempts_of}
        ledger = {one: self.ledger[one] for one in ids & self.ledger.keys()}
        runs = [run for run in self.runs if run["id"] in {order["run_id"] for order in orders}]
        deliveries = [one for one in self.deliveries if one.message_id in ids]
        return replace(self, orders=orders, attempts=tried, runs=runs, ledger=ledger, deliveries=deliveries)

    def mails(self, order: Mapping[str, Any]) -> list[LedgerEntry]:
        """What arrived of an order."""
        ids = {attempt["message_id"] for attempt in self.of(order)}
        return [entry for one in ids for entry in self.ledger.get(one, [])]


async def gather(
    database: Database,
    ledger: Iterable[LedgerEntry],
    acts: Sequence[Act] = (),
    deliveries: Sequence[Delivery] = (),
) -> Evidence:
    """Reads everything."""
    a, e = attempts.c, events.c
    async with database.read() as connection:
        columns = [*write_orders.c, applications.c.external_id, contact_jobs.c.on_unclear]
        source = write_orders.join(applications, applications.c.id == write_orders.c.application_id)
        source = source.outerjoin(contact_jobs, contact_jobs.c.id == write_orders.c.job_id)
        rows = await connection.execute(select(*columns).select_from(source).order_by(write_orders.c.id))
        orders: list[Mapping[str, Any]] = [dict(row) for row in rows.mappings()]
        tried: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for row in (await connection.execute(select(attempts).order_by(a.order_id, a.attempt_no))).mappings():
            tried[row["order_id"]].append(dict(row))
        told: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        of_states = select(events).where(e.noun == "order", e.field == "state").order_by(e.id)
        for row in (await connection.execute(of_states)).mappings():
            told[row["record_id"]].append(dict(row))
        runs: list[Mapping[str, Any]] = [dict(r) for r in (await connection.execute(select(dispatch_runs))).mappings()]
        c = contact_entries.c
        noted = await connection.execute(select(c.identity).where(c.identity.like("order:%")))
        contacts = Counter(int(identity.removeprefix("order:")) for identity in noted.scalars())
    by_id: dict[str, list[LedgerEntry]] = defaultdict(list)
    for entry in ledger:
        by_id[entry.message_id].append(entry)
    return Evidence(orders, dict(tried), runs, contacts, dict(by_id), dict(told), acts, deliveries)


def deliveries_of(mails: Iterable[TakenMail], asked: Mapping[str, Sequence[float]]) -> list[Delivery]:
    """Each accepted mail with the last RCPT of its recipient before it; `asked`: their times, by recipient."""
    found = []
    for mail in mails:
        before = [at for at in asked.get(mail.recipient, ()) if at <= mail.at]
        message_id, edition = _MESSAGE_ID.search(mail.content), EDITION.search(mail.content)
        if before and message_id:
            number = int(edition[1]) if edition else None
            found.append(Delivery(message_id[1].decode(), mail.recipient, max(before), mail.at, number))
    return found
