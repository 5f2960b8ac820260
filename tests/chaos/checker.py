"""The judge of a run: every invariant that rows and ledger can show, order by order (reliability brief, A and F.4).

It reads the database and what the mail server wrote down, and believes neither services nor logs.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.acts import SKEW, Kind, too_late
from tests.chaos.evidence import Evidence
from tests.smtp_ledger import LedgerEntry

#: Where an order may be once nothing moves any more (I1).
ENDS = frozenset({"sent", "no_address", "failed", "unclear", "blocked", "withdrawn"})
#: Where T2's own answer was lost the order is unclear though its mailer lived: at most this share of the unclear (G6).
_FOR_NOTHING = 0.1
#: Ends that an event tells of, always.
_TOLD = ("no_address", "blocked", "withdrawn")


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
    #: Of those whose dot never arrived: the ones whose mailer neither died nor stood still, nor met a server that left.
    unclear_for_nothing: int = 0
    #: Mails whose dot arrived and whose answer nobody can have heard, and those of which an attempt says so.
    ambiguous: int = 0
    ambiguous_flagged: int = 0
    #: Failed because five mailers in a row died with it.
    poison: int = 0
    #: Letters of which at least one attempt came to the hand-over: those that could be lost or doubled by it.
    handed_over: int = 0
    false_sent: int = 0
    false_failed: int = 0


def judge(evidence: Evidence, expected: Mapping[str, bool]) -> Verdict:
    """The verdict. `expected`: whom a letter is due, by external id, and whether there is an address to send it to."""
    verdict = Verdict(states=Counter(order["state"] for order in evidence.orders))
    found = verdict.violations
    _complete(evidence, expected, verdict)
    for order in evidence.orders:
        mails, tried = evidence.mails(order), evidence.of(order)
        taken = [mail for mail in mails if mail.stored]
        name = f"order {order['id']} ({order['state']}, {order['reason']})"
        _sending(order, evidence.told(order), mails, taken, verdict, name)
        _twice(order, evidence, taken, verdict, name)
        _attempts(order, tried, mails, found, name)
        _same_letter(order, tried, mails, _moved(evidence, order), found, name)
        _history(order, tried, evidence.told(order), found, name)
        _ambiguity(order, tried, mails, evidence, verdict, name)
        verdict.handed_over += any(attempt["handed_over_at"] for attempt in tried)
        verdict.poison += is_poison(order, tried)
        if evidence.contacts[order["id"]] != (order["state"] == "sent"):
            found.append(f"D40: {name} has {evidence.contacts[order['id']]} contact entries")
    if verdict.unclear_for_nothing > (_FOR_NOTHING * verdict.states["unclear"] if evidence.database_was_away else 0):
        found.append(f"I5: {verdict.unclear_for_nothing} letters are unclear whose dot never arrived and mailer lived")
    known = {attempt["message_id"] for tried in evidence.attempts.values() for attempt in tried}
    found += [f"I20: a mail without a claim arrived: {one}" for one in evidence.ledger.keys() - known]
    found += _against_people(evidence)
    days = Counter((run["job_id"], run["occasion_day"]) for run in evidence.runs)
    found += [f"I7: {count} runs of job and day {key}" for key, count in days.items() if count > 1]
    return verdict


def _complete(evidence: Evidence, expected: Mapping[str, bool], verdict: Verdict) -> None:
    """I1 and I6: every recipient has one order, and it has ended, as what people did allows."""
    per_person = Counter(order["external_id"] for order in evidence.orders)
    blocked = {act.whom for act in evidence.acts if act.kind is Kind.BLOCK}
    stopped = blocked | {act.whom for act in evidence.acts if act.kind is Kind.OPT_OUT}
    missing = sorted(expected.keys() - per_person.keys() - stopped)
    verdict.lost += len(missing)
    verdict.violations += [f"I1: no order for {one}" for one in missing[:20]]
    verdict.violations += [f"I6: {count} orders for {one}" for one, count in per_person.items() if count > 1]
    for order in evidence.orders:
        whom, state = order["external_id"], order["state"]
        explained = {"blocked": whom in blocked, "withdrawn": whom in stopped}.get(state, state in ENDS)
        reachable = expected.get(whom)
        if state not in ENDS:
            verdict.violations.append(f"I1/I18: order {order['id']} is still {state} ({order['reason']})")
        elif not explained:
            verdict.violations.append(f"I1: nobody did what ended order {order['id']} as {state} ({order['reason']})")
        elif reachable and state == "no_address":
            verdict.violations.append(f"I1: order {order['id']} has an address and ended without")
        verdict.lost += not explained or bool(reachable and state == "no_address")
        if reachable is False and state not in ("no_address", "blocked", "withdrawn"):
            verdict.violations.append(f"I10: order {order['id']} has no address and is {state}")


def _sending(
    order: Mapping[str, Any],
    told: list[Mapping[str, Any]],
    mails: list[LedgerEntry],
    taken: list[LedgerEntry],
    verdict: Verdict,
    name: str,
) -> None:
    """I2-I4 and what the database believes against what the mail server knows."""
    found, state = verdict.violations, order["state"]
    if state == "sent" and not taken:
        verdict.false_sent += 1
        found.append(f"I2: {name} never arrived")
    given_up = any(event["action"] == "settle" and event["new"] == "failed" for event in told)
    if taken and state not in ("sent", "unclear") and not given_up:
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
    if state in _TOLD and taken:
        found.append(f"I8: {name} was sent all the same")


def _ambiguity(
    order: Mapping[str, Any],
    tried: list[Mapping[str, Any]],
    mails: list[LedgerEntry],
    evidence: Evidence,
    verdict: Verdict,
    name: str,
) -> None:
    """I4 and I5: unclear is what nobody can know, all of that, and nothing else."""
    unanswered = sum(not mail.replied for mail in mails)
    unclear = [attempt for attempt in tried if _was_unclear(attempt)]
    verdict.ambiguous += unanswered
    verdict.ambiguous_flagged += min(unanswered, len(unclear))
    if unanswered > len(unclear):
        verdict.violations.append(f"I4: {name}: {unanswered} dots without an answer, {len(unclear)} unclear attempts")
    if order["state"] == "unclear" and not mails and unclear:
        pid = int(unclear[-1]["mailer"].split(":")[1])
        verdict.unclear_for_nothing += pid not in evidence.fallen and order["email"] not in evidence.left_at_body


def _twice(order: Mapping[str, Any], evidence: Evidence, taken: list[LedgerEntry], verdict: Verdict, name: str) -> None:
    """I3: again only after an unclear attempt, and only if the job's policy or a person's decision released it."""
    tried, told = evidence.of(order), evidence.told(order)
    unclear = sum(_was_unclear(attempt) for attempt in tried)
    again = sum(_was_unclear(attempt) for attempt in tried[:-1])
    by_job = sum(event["action"] == "resend" for event in told)
    by_people = sum(event["action"] == "settle_resend" for event in told)
    released = by_people + (by_job if order["on_unclear"] == "resend" else 0)
    if len(taken) > 1 + min(unclear, released):
        verdict.duplicated += len(taken) - 1
        verdict.violations.append(
            f"I3: {name} arrived {len(taken)} times: {unclear} of its attempts were unclear, {released} released"
        )
    else:
        verdict.resent += max(0, len(taken) - 1)
    if again > released:
        verdict.violations.append(f"I3: {name} was claimed again after {again} unclear attempts, {released} released")
    if by_job > unclear:
        verdict.violations.append(f"I17: {name} tells of {by_job} resends after {unclear} unclear attempts")


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
    """I4, I14, I15, I17 and I20: what the attempts tell about an order."""
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
        if attempt["outcome"] is None and not attempt["handed_over_at"]:
            found.append(f"I4: {name}: attempt {attempt['attempt_no']} has no outcome")
    if order["state"] == "failed" and not is_poison(order, tried) and not any(map(_was_refused, tried)):
        found.append(f"I14: {name} failed without a refusal")


def _moved(evidence: Evidence, order: Mapping[str, Any]) -> bool:
    """Whether the person changed the address during the run."""
    return any(act.kind is Kind.ADDRESS and act.whom == order["external_id"] for act in evidence.acts)


def _same_letter(
    order: Mapping[str, Any],
    tried: list[Mapping[str, Any]],
    mails: list[LedgerEntry],
    moved: bool,
    found: list[str],
    name: str,
) -> None:
    """I10 and I12: where it went and what it was. A person's new address is another recipient, hence other bytes."""
    hashes = {mail.sha256 for mail in mails}
    if len({attempt["message_id"] for attempt in tried}) > 1 or (len(hashes) > 1 and not moved):
        found.append(f"I12: {name} has different bytes or Message-IDs")
    written = {attempt["body_hash"] for attempt in tried if attempt["body_hash"]}
    if any(attempt["handed_over_at"] and not attempt["body_hash"] for attempt in tried):
        found.append(f"I12: {name} was handed over and has no hash of it")
    if mails and written and (hashes - written or (written - hashes and not moved)):
        found.append(f"I12: {name} arrived with other bytes than its attempts noted")
    if any(mail.recipient != order["email"] for mail in mails) and not (moved and len(tried) > 1):
        found.append(f"I10: {name} went to {[mail.recipient for mail in mails]}, its row says {order['email']}")


def _history(
    order: Mapping[str, Any],
    tried: list[Mapping[str, Any]],
    told: list[Mapping[str, Any]],
    found: list[str],
    name: str,
) -> None:
    """I17: events and attempts, followed to their end, lead to the state (the machine's own steps are its attempts)."""
    state, last = order["state"], told[-1] if told else None
    if last is not None and last["new"] == state:
        return
    if state in _TOLD:
        found.append(f"I17: {name}: no event tells of it")
    elif last is not None and last["new"] in (*_TOLD, "failed"):
        found.append(f"I17: {name}: the last event says {last['new']}")
    elif (
        state == "unclear"
        and last is not None
        and not any(_was_unclear(one) and one["handed_over_at"] > last["at"] - 2 * SKEW for one in tried)
    ):
        found.append(f"I17: {name}: the last event says {last['new']} ({last['action']}), and no attempt since")


def _against_people(evidence: Evidence) -> list[str]:
    """I8, I9 and I10 against the clock: mails whose T2 lay after what people had been told is done."""
    owners = {attempt["message_id"]: order for order in evidence.orders for attempt in evidence.of(order)}
    found = []
    for mail in evidence.deliveries:
        if (order := owners.get(mail.message_id)) is not None:
            told = too_late(order, evidence.of(order), mail, evidence.acts)
            found += [f"{said} (order {order['id']}, {order['state']})" for said in told]
    return found


def _was_refused(attempt: Mapping[str, Any]) -> bool:
    return bool(attempt["reply_code"]) and attempt["reply_code"] >= 500


def is_poison(order: Mapping[str, Any], tried: list[Mapping[str, Any]]) -> bool:
    """Given up after five claims whose mailers died or slept (I15): visible, never handed over in any of them."""
    # A mailer that slept beyond its lease tells what came of it afterwards: late, in the place of "lease ran out".
    died = sum(str(one["outcome"]).startswith(("lease ran out", "late: ")) for one in tried)
    return order["state"] == "failed" and str(order["reason"]).startswith("poison") and died >= 5
