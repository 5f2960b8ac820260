"""A day of letters, simulated second by second with what each part was measured to take: `python -m bench.load`.

The constants are its inputs: all were measured but RUNG, an estimate. First come, first served, and no part stands in
another's way but by its limit. docs/load.md says what follows from it.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

HOUR = 3600
#: Letters a second of one mailer with connections enough, and seconds of PostgreSQL's processor for one letter.
ONE_MAILER, POSTGRES_CPU = 2221, 218e-6
#: Seconds between two letters of a connection beyond the mail server's answer: four mailers with ten connections each
#: sent 620 letters a second at replies after 50 ms.
BETWEEN_LETTERS = 4 * 10 / 620 - 0.05
#: Seconds for each order of a release: everybody is looked at once more.
RELEASED = 12e-6
#: Doorbells a second that the bus alone published, and seconds in which 2,000 of a million were chosen (at load 9).
PUBLISHED, CHOSEN, RING_BATCH = 21_154, 0.204, 2000
#: Doorbells a second, an estimate: choose, publish, mark in turn; marking is taken to last as long as choosing.
RUNG = RING_BATCH / (CHOSEN + RING_BATCH / PUBLISHED + CHOSEN)


@dataclass(frozen=True, slots=True)
class Site:
    """What there is to send with."""

    mailers: int
    #: Of each mailer (KP_SMTP_CONNECTIONS), and how long the mail server takes to accept a letter.
    connections: int = 10
    answer_seconds: float = 0.05
    #: Processors that PostgreSQL has for letters.
    postgres_cores: float = 2
    #: Letters a second that the mail server takes from all (KP_RELAY_RATE).
    relay_rate: float = math.inf

    def limits(self) -> dict[str, float]:
        """Letters a second that each part takes."""
        return {
            "connections": self.mailers * self.connections / (self.answer_seconds + BETWEEN_LETTERS),
            "mailers' processors": self.mailers * ONE_MAILER,
            "PostgreSQL's processors": self.postgres_cores / POSTGRES_CPU,
            "mail server": self.relay_rate,
        }


@dataclass(frozen=True, slots=True)
class Release:
    """Letters that are due at a second of the day."""

    second: int
    letters: float


@dataclass(frozen=True, slots=True)
class Outage:
    """From one second to another this share of the rate is left."""

    begins: int
    ends: int
    left: float = 0.0


@dataclass(slots=True)
class Day:
    """What came of it."""

    sent: float = 0.0
    #: Letters that waited together.
    most_waiting: float = 0.0
    last_second: int = 0
    #: Letters by seconds from their send moment to their acceptance.
    waits: dict[int, float] = field(default_factory=dict)

    def waited(self, share: float) -> int:
        """Seconds within which this share of the letters went out."""
        found = 0.0
        for seconds, letters in sorted(self.waits.items()):
            found += letters
            if found >= share * self.sent:
                return seconds
        return max(self.waits, default=0)


@dataclass(slots=True)
class _Some:
    """Letters with one send moment; `fresh`: not tried yet."""

    due: int
    letters: float
    fresh: bool = True


def simulate(
    site: Site,
    releases: Sequence[Release],
    *,
    deferred: float = 0.0,
    again_after: int = 600,
    outages: Sequence[Outage] = (),
) -> Day:
    """Until all are out. This share is put off once, for so many seconds, as by greylisting; 0 mailers send nothing."""
    day, rate = Day(), min(site.limits().values())
    if rate <= 0:
        return day
    coming = deque(sorted(releases, key=lambda one: one.second + one.letters * RELEASED))
    unrung: deque[_Some] = deque()
    waiting: deque[_Some] = deque()
    put_off: deque[tuple[int, _Some]] = deque()
    total, second = 0.0, -1
    while coming or unrung or waiting or put_off:
        second += 1
        while coming and coming[0].second + coming[0].letters * RELEASED <= second:
            unrung.append(_Some(coming[0].second, coming[0].letters))
            total += coming.popleft().letters
        waiting.extend(_take(unrung, RUNG))
        while put_off and put_off[0][0] <= second:
            waiting.append(put_off[0][1])
            total += put_off.popleft()[1].letters
        day.most_waiting = max(day.most_waiting, total)
        left = min((one.left for one in outages if one.begins <= second < one.ends), default=1.0)
        for some in list(_take(waiting, rate * left)):
            total -= some.letters
            later = some.letters * deferred if some.fresh else 0.0
            if later:
                put_off.append((second + again_after, _Some(some.due, later, fresh=False)))
            day.sent += some.letters - later
            day.waits[second - some.due] = day.waits.get(second - some.due, 0.0) + some.letters - later
            day.last_second = second
    return day


def _take(queue: deque[_Some], letters: float) -> Iterator[_Some]:
    """So many from its head, which leave it."""
    while queue and letters > 1e-6:
        first = queue[0]
        if first.letters <= letters:
            letters -= first.letters
            yield queue.popleft()
        else:
            first.letters -= letters
            yield _Some(first.due, letters, first.fresh)
            return


#: Ten million letters: most at eight, others at nine and at two in the afternoon.
LETTERS = 10_000_000
USUAL = tuple(Release(hour * HOUR, share * LETTERS) for hour, share in ((8, 0.6), (9, 0.25), (14, 0.15)))
AT_EIGHT = (Release(8 * HOUR, LETTERS),)
#: PostgreSQL's replica takes over at half past eight, and half of the mailers are away for ten minutes at nine.
BAD_MORNING = (
    Outage(8 * HOUR + 1800, 8 * HOUR + 1860),
    Outage(9 * HOUR, 9 * HOUR + 600, 0.5),
)


def table() -> list[str]:
    """The days of docs/load.md, as rows of Markdown."""
    days = [
        (f"{site.mailers} mailers{extra}", what, site, simulate(site, releases, deferred=deferred, outages=outages))
        for site, extra in (
            (Site(4), ""),
            (Site(8), ""),
            (Site(16), ""),
            (Site(16, relay_rate=1000), ", a mail server that takes 1,000/s"),
        )
        for what, releases, deferred, outages in (
            ("60 % at eight", USUAL, 0.0, ()),
            ("all at eight", AT_EIGHT, 0.0, ()),
            ("60 % at eight, a bad morning", USUAL, 0.2, BAD_MORNING),
        )
    ]
    rows = ["| with | letters due | a second | what limits | most waiting | half within | 99 % within | last one out |"]
    rows.append("|" + "---|" * 8)
    for name, what, site, day in days:
        limit = min(site.limits(), key=lambda part: site.limits()[part])
        figures = f"{min(site.limits().values()):,.0f} | {limit} | {day.most_waiting / 1e6:.1f} million"
        waits = " | ".join(_duration(seconds) for seconds in (day.waited(0.5), day.waited(0.99)))
        rows.append(f"| {name} | {what} | {figures} | {waits} | {_moment(day.last_second)} |")
    return rows


def _duration(seconds: int) -> str:
    return f"{seconds // HOUR} h {seconds % HOUR // 60:02} min"


def _moment(second: int) -> str:
    day, rest = divmod(second, 24 * HOUR)
    return f"{rest // HOUR:02}:{rest % HOUR // 60:02}" + (" the next day" if day else "")


if __name__ == "__main__":
    print("\n".join(table()))
