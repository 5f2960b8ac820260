"""What Prometheus is told: `kontaktpflege_...`, base units, few values to a label, never a name, an address or an id.

Each process tells of what it does itself; what the rows say is told by the schedulers, all the same figures, so a
dashboard takes the largest of them and not the sum.
"""

import platform
from importlib.metadata import version
from time import perf_counter

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_MANY = (1, 3, 10, 30, 100, 300, 1000)

BUILD = Gauge("kontaktpflege_build_info", "Release and Python of this process; always 1", ["version", "python"])
READY = Gauge("kontaktpflege_ready", "Whether this process takes work: 1, or 0 while it starts, waits or drains")

#: `outcome`: sent, deferred, put_off, refused, unclear; `smtp_class`: 2, 4, 5, or none where there was no answer.
MAILS = Counter("kontaktpflege_mails", "Attempts to send a letter, by what came of them", ["outcome", "smtp_class"])
#: `reason` is the state that the last look gave the order: planned, withdrawn, no_address, failed, held.
NOT_CLAIMED = Counter("kontaktpflege_not_claimed", "Orders that a mailer did not take, by their new state", ["reason"])
SEND_SECONDS = Histogram(
    "kontaktpflege_send_seconds", "From the claim's turn to the mail server's answer, of one letter", buckets=_SECONDS
)
#: `step`: claim (T1), intent (T2), settlement (T3).
COMMIT_SECONDS = Histogram("kontaktpflege_commit_seconds", "A mailer's transactions", ["step"], buckets=_SECONDS)
COMMIT_ORDERS = Histogram("kontaktpflege_commit_orders", "Orders that share a transaction", ["step"], buckets=_MANY)
SMTP_CONNECTIONS = Gauge("kontaktpflege_smtp_connections", "Open connections to the relay")
#: `stage`: connect, TLS, AUTH, and so on, as the reason of the outcome begins; `sender`: the sender was refused.
RELAY_FAILURES = Counter("kontaktpflege_relay_failures", "Times the relay could not be used, by stage", ["stage"])
#: Of the same stages, from the first failure until a letter gets an answer for good, or nothing was tried again here
#: within five minutes after the pause. Pauses in between double.
RELAY_AWAY = Gauge("kontaktpflege_relay_away", "Above 0 while the relay cannot be used, by stage", ["stage"])
#: `role` is mailer: a gauge without a label would be told, as 0, by processes that have no journal.
JOURNAL_WRITABLE = Gauge(
    "kontaktpflege_journal_writable", "Whether the mailer's journal can be written: else it waits", ["role"]
)

EVALUATION_SECONDS = Histogram("kontaktpflege_evaluation_seconds", "Evaluations of a dispatch", buckets=_SECONDS)
RELEASED = Counter("kontaktpflege_released_orders", "Write orders that evaluators released")
EVALUATIONS_BROKEN = Counter("kontaktpflege_evaluations_broken", "Evaluations that ended with an error")

#: `kind`: hard, soft, refused, delayed, delivered, auto_reply, reply, or unknown: for people to see.
RETURNED_MAILS = Counter("kontaktpflege_returned_mails", "Mails that came back and were read, by kind", ["kind"])
#: Of others than the mailbox reader 0.
MAILBOX_READ = Gauge(
    "kontaktpflege_mailbox_read_timestamp_seconds", "When the mailbox was last read, or its reader began"
)

TICK = Gauge("kontaktpflege_last_tick_timestamp_seconds", "When the scheduler last looked for what is due")
LAG = Gauge("kontaktpflege_scheduler_lag_seconds", "How long the dispatch that is due longest has been due")
#: `repair`: returned, unclear, expired, released, resent.
REPAIRS = Counter("kontaktpflege_sweep_repairs", "Orders that the sweep moved", ["repair"])
#: `result`: rung, refused.
DOORBELLS = Counter("kontaktpflege_doorbells", "Messages about orders, by whether the broker took them", ["result"])
DEAD_LETTERS = Counter("kontaktpflege_dead_letters", "Messages that nobody could read", ["queue"])

#: `state`: planned, due (of these, their moment has come), queued, retrying (of these), sending, unclear, failed,
#: blocked, held (planned, of a dispatch that waits for a person). Each is counted up to 10,000.
ORDERS = Gauge("kontaktpflege_orders", "Write orders by state, ended ones only if a person sees to them", ["state"])
#: `state`: queued, of which those put off to a later try are left out.
OLDEST_AGE = Gauge("kontaktpflege_order_oldest_age_seconds", "How long the oldest order has been waiting", ["state"])
#: `queue`: each of shared/bus/topology.py and its dead letters; not there while the broker cannot be asked.
QUEUE_MESSAGES = Gauge("kontaktpflege_queue_messages", "Messages that wait, as `kontaktpflege queues` tells", ["queue"])
SEALED = Gauge("kontaktpflege_history_sealed", "Rows of the history that are sealed: the number of its head")
UNSEALED = Gauge("kontaktpflege_history_unsealed", "Rows of the history that wait for their seal")
SENT_TODAY = Gauge(
    "kontaktpflege_sent_today", "Letters sent since midnight, in the system's time zone; stops at 50,000"
)
HELD = Gauge("kontaktpflege_held", "1 while nothing is sent because the database is older than what was sent from it")
APPROVALS = Gauge("kontaktpflege_approvals", "Approvals that a second user is asked for; stops at 100")
BLOCKED = Gauge("kontaktpflege_blocks", "Blocks in force of persons; blocked orders are kontaktpflege_orders")
SERVICES = Gauge("kontaktpflege_services", "Processes seen alive, by role", ["role"])
JOBS = Gauge("kontaktpflege_jobs", "Contact-care jobs, by status", ["status"])


def begin_counting() -> None:
    """A mailer's counters begin at 0: what appears as 1 has not increased for Prometheus."""
    for outcome, smtp_class in (("sent", "2"), ("deferred", "4"), ("refused", "5"), ("unclear", "none")):
        MAILS.labels(outcome, smtp_class)
    for reason in ("planned", "withdrawn", "no_address", "failed", "held"):
        NOT_CLAIMED.labels(reason)
    for stage in ("connect", "TLS", "AUTH", "sender"):
        RELAY_FAILURES.labels(stage)


def describe_build() -> None:
    """Sets the release of this process."""
    BUILD.labels(version("kontaktpflege"), platform.python_version()).set(1)


class timed:
    """The seconds that the block takes, however it ends."""

    __slots__ = ("_began", "_histogram")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram

    def __enter__(self) -> None:
        self._began = perf_counter()

    def __exit__(self, *_: object) -> None:
        self._histogram.observe(perf_counter() - self._began)
