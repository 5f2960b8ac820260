"""Jobs that compete for the same people, and days on which the services send for them."""

import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import date, timedelta

from tests.services.world import DAY, MORNING, SETUP, World

Found = set[tuple[date, str, str]]


def invented(rng: random.Random) -> Iterator[str]:
    """Rows of COLUMNS: duplicates, missing and invalid addresses, birthdays on the days that are looked at."""
    for number in range(14):
        born = f"19{rng.randint(50, 99)}-11-{rng.randint(22, 30)}"
        email = rng.choice([f"a{number}@x.example"] * 4 + ["", "max@"])
        person, status = rng.choice(["", "", "S1", "S2"]), rng.choice(["Neu", "Pool"])
        yield f"A{number:02},{person},Name{number},{email},{status},{born}"


def a_setup(rng: random.Random, leads: Sequence[int]) -> str:
    """Three jobs that compete for the same people; their lead days are chosen from `leads`."""
    cap = rng.choice([0, 3])
    head = SETUP.partition("jobs:")[0].replace("sync_minutes: 5", f"frequency_cap_days: {cap}")
    head = head.replace(
        "queries:\n", "queries:\n  - {name: Still, filters: [{field: days_since_last_contact, more_than: 1}]}\n"
    )
    # Several days' letters of one moment, under a cap: which of them a person without an address gets is a race.
    working_days = ["as_is"] if cap else ["as_is", "next", "previous"]
    jobs = [
        f"  - {{name: J{number}, status: An, query: {rng.choice(['Neue', 'Geburtstag'])}, "
        f'letter: {"Ende" if number == 2 else "Brief"}, dispatch: rolling, time: "{8 + number:02}:00", '
        f"repeat_guard_days: {rng.choice([0, 2, 5])}, priority: {rng.choice([1, 2, 3])}, "
        f"lead_days: {leads[rng.randrange(len(leads))]}, holidays: DE-HH, working_days: {rng.choice(working_days)}, "
        f'valid_days: 5, sender: "user:a.weber"}}\n'
        for number in range(3)
    ]
    return f"{head}jobs:\n{''.join(jobs)}"


async def nothing(_: int) -> None:
    """No change of data."""


async def live_through(
    world: World, first: date, days: int, change: Callable[[int], Awaitable[None]] = nothing
) -> Found:
    """What the services send on these days, hour by hour; `change` is called early on each."""
    for number in range(days):
        midnight = MORNING - timedelta(hours=7) + timedelta(days=(first - DAY).days + number)
        for hour in (0, 8, 9, 10):
            world.clock.set(midnight + timedelta(hours=hour, seconds=1))
            if hour == 0:
                await world.turn()
                await change(number)
            # Who had a letter of the job on its way gets the next one when that has ended (D13).
            while orders := await world.turn():
                await world.send(*orders)
                world.clock.advance(timedelta(minutes=6))
    rows = await world.rows()
    return {(row["occasion_day"], row["job_name"], row["external_id"]) for row in rows if row["state"] == "sent"}
