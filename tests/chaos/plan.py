"""From one number to the whole schedule of a run: the same seed gives the same faults at the same times."""

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from random import Random


class Fault(StrEnum):
    """What can happen to a run."""

    KILL = "kill -9 of a process"
    STOP = "SIGSTOP of a mailer beyond its lease, then SIGCONT"
    BROKER_KILL = "kill -9 of the broker"
    BROKER_RESTART = "restart of the broker"
    BROKER_WIPE = "broker killed and its data deleted"
    QUEUE_DELETED = "queue deleted"
    QUEUE_FULL = "queue full, publishes refused"
    MEMORY_ALARM = "memory alarm of the broker"
    DATABASE_CRASH = "crash of the database"
    CUT = "connections to broker and database cut"
    FREEZE = "connections to broker and database half-open"
    COMMIT_CUT = "connections cut during COMMIT"
    FAR_AWAY = "broker and database a fifth of a second away"
    READ_ONLY = "database read-only for a while"
    FILES = "file descriptors of a process exhausted"
    DISK = "disk full for every service"
    MAIL_SERVER_AWAY = "mail server away"
    REPEATED = "doorbells doubled and shuffled"
    POISON = "unreadable, unknown and huge messages"
    AUS_AN = "job switched to Aus and to An again"
    RELEASED_TWICE = "two releases of one job at once"
    PEOPLE = "people blocked, opted out, moved; letter edited"


@dataclass(frozen=True, slots=True)
class Event:
    """A fault at `at` seconds after the first dispatch; `choice` picks its victim."""

    at: float
    fault: Fault
    choice: int


#: How often each fault happens in a run of 100 kills, besides the kills; fewer kills, fewer of them, but each once.
USUAL = {
    Fault.STOP: 4,
    Fault.BROKER_KILL: 3,
    Fault.BROKER_RESTART: 1,
    Fault.BROKER_WIPE: 1,
    Fault.QUEUE_DELETED: 2,
    Fault.QUEUE_FULL: 1,
    Fault.MEMORY_ALARM: 1,
    Fault.DATABASE_CRASH: 4,
    Fault.CUT: 8,
    Fault.FREEZE: 3,
    Fault.COMMIT_CUT: 4,
    Fault.FAR_AWAY: 1,
    Fault.READ_ONLY: 2,
    Fault.FILES: 2,
    Fault.DISK: 2,
    Fault.MAIL_SERVER_AWAY: 2,
    Fault.REPEATED: 6,
    Fault.POISON: 4,
    Fault.AUS_AN: 6,
    Fault.RELEASED_TWICE: 3,
    Fault.PEOPLE: 6,
}
#: What the run with every fault of the gates adds (G10, G11).
FULL = {Fault.BROKER_KILL: 10, Fault.BROKER_RESTART: 5, Fault.BROKER_WIPE: 2, Fault.DATABASE_CRASH: 20}
#: What can happen to one process without broker.
EMBEDDED = frozenset(
    {Fault.STOP, Fault.FILES, Fault.DISK, Fault.MAIL_SERVER_AWAY, Fault.AUS_AN, Fault.RELEASED_TWICE, Fault.PEOPLE}
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: its seed, its size and its events by time."""

    seed: int
    kills: int
    seconds: float
    events: tuple[Event, ...] = field(default=())

    def as_json(self) -> str:
        """For the log of the run."""
        return json.dumps(asdict(self), indent=1)


def make_plan(seed: int, kills: int, seconds: float, *, embedded: bool = False, full: bool = False) -> Plan:
    """The schedule of a seed: half of the kills at random times (the others are crash points), the rest in between.

    Faults of the broker and the database are spread evenly, so that one has passed before the next begins.
    """
    rng = Random(seed)
    counts = {fault: max(1, round(number * kills / 100)) for fault, number in USUAL.items()}
    if full:
        counts |= {fault: max(counts[fault], number) for fault, number in FULL.items()}
    if embedded:
        counts = {fault: number for fault, number in counts.items() if fault in EMBEDDED}
    random_kills = (kills + 1) // 2
    events = [
        Event(seconds * (n + rng.random()) / random_kills, Fault.KILL, rng.randrange(10**6))
        for n in range(random_kills)
    ]
    others = [fault for fault, number in counts.items() for _ in range(number)]
    rng.shuffle(others)
    events += [
        Event(seconds * (n + 0.1 + 0.5 * rng.random()) / len(others), fault, rng.randrange(10**6))
        for n, fault in enumerate(others)
    ]
    return Plan(seed, kills, seconds, tuple(sorted(events, key=lambda event: event.at)))
