"""The judge of a run: every invariant that rows and ledger can show, order by order (reliability brief, A and F.4).

It reads the database and what the mail server wrote down, and believes neither services nor logs.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from shared.db.engine import Database
from shared.db.tables import applications, attempts, contact_entries, dispatch_runs, write_orders
from tests.smtp_ledger import LedgerEntry

#: Where an order may be once nothing moves any more (I1).
ENDS = frozenset({"sent", "no_address", "failed", "unclear", "blocked", "withdrawn"})


@dataclass
class Evidence:
    """What is looked at: the rows, and the ledger by Message-ID."""

    orders: list[Mapping[str, Any]]
    attempts: dict[int, list[Mapping[str, Any]]]
    runs: list[Mapping[str, Any]]
    contacts: Counter[int]
    ledger: dict[str, list[LedgerEntry]]

    def of(self, order: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The attempts of an order, first to last."""
        return self.attempts.get(order["id"], [])

    def about(self, orders: list[Mapping[str, Any]]) -> "Evidence":
        """The same, of these orders only."""
        tried = {order["id"]: self.attempts.get(order["id"], []) for order in orders}
        ids = {attempt["message_id"] for attempts_of in tried.values() for attempt in attempts_of}
        ledger = {one: self.ledger[one] for one in ids & self.ledger.keys()}
        runs = [run for run in self.runs if run["id"] in {order["run_id"] for order in orders}]
        return Evidence(orders, tried, runs, self.contacts, ledger)

    def mails(self, order: Mapping[str, Any]) -> list[LedgerEntry]:
        """What arrived of an order."""
        ids = {attempt["message_id"] for attempt in self.of(order)}
        return [entry for one in ids for entry in self.ledger.get(one, [])]


@dataclass
class Verdict:
    """Violations by invariant, and the figures for the report."""

    violations: list[str] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    duplicated: int = 0
    #: Second letters that a `resend` job sent by itself, as it was told to.
    resent: int = 0
    lost: int = 0
    #: Unclear orders, whose letter arrived, whose letter was refused or thrown away, and whose dot never arrived.
    unclear_arrived: int = 0
    unclear_not_taken: int = 0
    unclear_no_dot: int = 0
    #: Unclear orders that say why.
    unclear_explained: int = 0
    #: Failed because five mailers in a row died with it.
    poison: int = 0
    false_sent: int = 0
    false_failed: int = 0


async def gather(database: Database, ledger: Iterable[LedgerEntry]) -> Evidence:
    """Reads everything."""
    a = attempts.c
    async with database.read() as connection:
        columns = [*write_orders.c, applications.c.external_id]
        source = write_orders.join(applications, applications.c.id == write_orders.c.application_id)
        rows = await connection.execute(select(*columns).select_from(source).order_by(write_orders.c.id))
        orders = [dict(row) for row in rows.mappings()]
        tried: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for row in (await connection.execute(select(attempts).order_by(a.order_id, a.attempt_no))).mappings():
            tried[row["order_id"]].append(dict(row))
        runs = [dict(row) for row in (await connection.execute(select(dispatch_runs))).mappings()]
        c = contact_entries.c
        noted = await connection.execute(select(c.identity).where(c.identity.like("order:%")))
        contacts = Counter(int(identity.removeprefix("order:")) for identity in noted.scalars())
    by_id: dict[str, list[LedgerEntry]] = defaultdict(list)
    for entry in ledger:
        by_id[entry.message_id].append(entry)
    return Evidence(orders, dict(tried), runs, contacts, dict(by_id))


def judge(evidence: Evidence, expected: Mapping[str, bool]) -> Verdict:
    """The verdict. `expected`: whom a letter is due, by external id, and whether there is an address to send it to."""
    verdict = Verdict(states=Counter(order["state"] for order in evidence.orders))
    found = verdict.violations
    _complete(evidence, expected, verdict)
    for order in evidence.orders:
        mails, tried = evidence.mails(order), evidence.of(order)
        taken = [mail for mail in mails if mail.stored]
        name = f"order {order['id']} ({order['state']}, {order['reason']})"
        _sending(order, tried, mails, taken, verdict, name)
        _attempts(order, tried, mails, found, name)
        verdict.poison += is_poison(order, tried)
        if evidence.contacts[order["id"]] != (order["state"] == "sent"):
            found.append(f"D40: {name} has {evidence.contacts[order['id']]} contact entries")
    known = {attempt["message_id"] for tried in evidence.attempts.values() for attempt in tried}
    found += [f"I20: a mail without a claim arrived: {one}" for one in evidence.ledger.keys() - known]
    days = Counter((run["job_id"], run["occasion_day"]) for run in evidence.runs)
    found += [f"I7: {count} runs of job and day {key}" for key, count in days.items() if count > 1]
    return verdict


def _complete(evidence: Evidence, expected: Mapping[str, bool], verdict: Verdict) -> None:
    """I1 and I6: every recipient has one order, and it has ended."""
    per_person = Counter(order["external_id"] for order in evidence.orders)
    verdict.lost = len(expected.keys() - per_person.keys())
    verdict.violations += [f"I1: no order for {one}" for one in sorted(expected.keys() - per_person.keys())[:20]]
    verdict.violations += [f"I6: {count} orders for {one}" for one, count in per_person.items() if count > 1]
    for order in evidence.orders:
        if order["state"] not in ENDS:
            verdict.lost += 1
            verdict.violations.append(f"I1/I18: order {order['id']} is still {order['state']} ({order['reason']})")
        reachable = expected.get(order["external_id"])
        if reachable is False and order["state"] not in ("no_address", "blocked", "withdrawn"):
            verdict.violations.append(f"I10: order {order['id']} has no address and is {order['state']}")
        if reachable and order["state"] == "no_address":
            verdict.violations.append(f"I1: order {order['id']} has an address and ended without")


def _sending(
    order: Mapping[str, Any],
    tried: list[Mapping[str, Any]],
    mails: list[LedgerEntry],
    taken: list[LedgerEntry],
    verdict: Verdict,
    name: str,
) -> None:
    """I2-I5 and what the database believes against what the mail server knows."""
    found, state = verdict.violations, order["state"]
    unclear = sum(_was_unclear(attempt) for attempt in tried)
    if state == "sent" and not taken:
        verdict.false_sent += 1
        found.append(f"I2: {name} never arrived")
    if len(taken) > 1:
        if len(taken) > 1 + unclear:
            verdict.duplicated += len(taken) - 1
            found.append(f"I3: {name} arrived {len(taken)} times, {unclear} of its attempts were unclear")
        else:
            verdict.resent += len(taken) - 1
    # After an unclear attempt the next one's refusal says nothing about it, and the attempts show both (D37).
    if taken and state not in ("sent", "unclear") and not unclear:
        verdict.false_failed += 1
        found.append(f"I4: {name} arrived {len(taken)} times")
    if state == "unclear":
        if taken:
            verdict.unclear_arrived += 1
        elif mails:
            verdict.unclear_not_taken += 1
        else:
            verdict.unclear_no_dot += 1
        if order["reason"]:
            verdict.unclear_explained += 1
        else:
            found.append(f"I4: {name} does not say why it is unclear")
    if state in ("no_address", "blocked", "withdrawn") and mails and not order["handed_over_at"]:
        found.append(f"I8: {name} was handed over all the same")


def _was_unclear(attempt: Mapping[str, Any]) -> bool:
    """Handed over without a known answer, for good or until a late one came."""
    outcome = attempt["outcome"]
    return bool(attempt["handed_over_at"]) and (outcome in ("unclear", None) or outcome.startswith("late:"))


def _attempts(
    order: Mapping[str, Any],
    tried: list[Mapping[str, Any]],
    mails: list[LedgerEntry],
    found: list[str],
    name: str,
) -> None:
    """I11, I12, I14, I15, I17 and I20: what the attempts tell about an order."""
    if len({mail.message_id for mail in mails}) > 1 or len({mail.sha256 for mail in mails}) > 1:
        found.append(f"I12: {name} arrived with different bytes or Message-IDs")
    written = {attempt["body_hash"] for attempt in tried if attempt["body_hash"]}
    if written - {mail.sha256 for mail in mails} and mails:
        found.append(f"I12: {name} arrived with other bytes than its attempts noted")
    if any(mail.recipient != order["email"] for mail in mails):
        found.append(f"I10: {name} went to {[mail.recipient for mail in mails]}")
    if [attempt["attempt_no"] for attempt in tried] != list(range(1, order["attempts"] + 1)):
        found.append(f"I17: {name} counts {order['attempts']} attempts and has {len(tried)}")
    if order["state"] == "sent" and not any(one["outcome"] in ("sent", "late: sent") for one in tried):
        found.append(f"I17: {name} has no attempt that sent it")
    if order["fruitless_claims"] > 5:
        found.append(f"I15: {name} was claimed {order['fruitless_claims']} times without an outcome")
    if mails and not any(attempt["handed_over_at"] for attempt in tried):
        found.append(f"I20: {name} arrived without T2")
    for attempt in tried:
        expires = order["expires_at"]
        if attempt["handed_over_at"] and expires and attempt["handed_over_at"] >= expires:
            found.append(f"I14: {name} was handed over after its validity")
    if order["state"] == "failed" and not is_poison(order, tried) and not any(map(_was_refused, tried)):
        found.append(f"I14: {name} failed without a refusal")


def _was_refused(attempt: Mapping[str, Any]) -> bool:
    return bool(attempt["reply_code"]) and attempt["reply_code"] >= 500


def is_poison(order: Mapping[str, Any], tried: list[Mapping[str, Any]]) -> bool:
    """Given up after five claims whose mailers died or slept (I15): visible, never handed over in any of them."""
    # A mailer that slept beyond its lease tells what came of it afterwards: late, in the place of "lease ran out".
    died = sum(str(one["outcome"]).startswith(("lease ran out", "late: ")) for one in tried)
    return order["state"] == "failed" and str(order["reason"]).startswith("poison") and died >= 5


def leaks(logs: Iterable[Path], canary: str) -> list[str]:
    """I22: logs that name a person."""
    return [
        f"I22: {log.name} names {canary!r}: {line[:200]}"
        for log in logs
        for line in log.read_text(errors="replace").splitlines()
        if canary in line
    ][:10]
