"""A letter goes at its slot under a rate limit, not before it and not long after (I16)."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from services.mailer.group_commit import GroupCommit
from shared.clock import Clock
from shared.db.engine import Database
from shared.db.send_slots import take_domain_slots, take_relay_slots
from shared.errors import Conflict, Unavailable
from shared.lifecycle import pause
from shared.retry import retry_conflicts

#: A slot so long ago is gone: every mailer that stood still has such slots, and all would be made up for at once. So in
#: any second no more letters go than there are slots in that second and this time before it.
LATE = timedelta(seconds=0.3)
#: Seconds between two tries to take slots while the database is away, doubling from the first to the longest.
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0
#: Seconds to wait for other late letters, so that they take their slots together.
_LINGER = 0.005


class Pace:
    """When this mailer's letters may go. `relay_rate`, `domain_rate`: letters a second; None: no limit."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        relay: str,
        relay_rate: float | None,
        domain_rate: float | None,
        log: Any,
    ) -> None:
        self._database, self._clock, self._relay, self._log = database, clock, relay, log
        self._relay_rate, self._domain_rate = relay_rate, domain_rate
        #: Slots in the place of late ones: of a domain, or of the relay (None).
        self.fresh: GroupCommit[str | None, tuple[datetime, bool]] = GroupCommit(self._take_fresh, _LINGER)

    @property
    def limits(self) -> bool:
        """Whether there is a rate limit at all."""
        return self._relay_rate is not None or self._domain_rate is not None

    async def take_slots(self, wanted: int, stop: asyncio.Event) -> tuple[datetime | None, int]:
        """How many letters may be claimed now, and the slot of the first one; waits for one at least."""
        if self._relay_rate is None:
            return None, wanted
        while True:
            now = self._clock.now()
            async with self._database.begin() as connection:
                first, taken = await take_relay_slots(connection, self._relay, self._relay_rate, wanted, now)
            if taken or stop.is_set():
                return first, taken
            await pause((first - now).total_seconds(), stop)

    def slot(self, first: datetime | None, number: int) -> datetime | None:
        """The slot of the `number`-th letter of those taken together."""
        rate = self._relay_rate
        return first + timedelta(seconds=number / rate) if first is not None and rate is not None else None

    async def wait(self, relay_slot: datetime | None, domain: str, domain_slot: datetime | None) -> datetime | None:
        """Waits for a letter's slots, and returns until when it may go; None: at any time.

        A slot that has passed meanwhile is replaced by one that all mailers agree on.
        """
        slots = []
        if relay_slot is not None and self._relay_rate is not None:
            slots.append(await self._used(None, relay_slot))
        if domain_slot is not None and self._domain_rate is not None:
            slots.append(await self._used(domain, domain_slot))
        return max(slots) + LATE if slots else None

    async def _used(self, domain: str | None, at: datetime) -> datetime:
        while True:
            if (rest := (at - self._clock.now()).total_seconds()) > 0:
                await asyncio.sleep(rest)
            # Asked again after the wait: this process may have stood still, and then all that waited would go now.
            if self._clock.now() - at <= LATE:
                return at
            at, free = await self.fresh.submit(domain)
            while not free:
                await asyncio.sleep((at - self._clock.now()).total_seconds())
                at, free = await self.fresh.submit(domain)

    async def _take_fresh(self, wanted: Sequence[str | None]) -> list[tuple[datetime, bool]]:
        """For each its new slot and True, or when to ask again and False; waits for a database that is away."""
        wait = _FIRST_WAIT
        while True:
            try:
                return await retry_conflicts(lambda: self._take_together(wanted))
            except (Unavailable, Conflict) as exc:
                self._log.warning("slots_wait", action="slots_wait", letters=len(wanted), reason=str(exc))
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)

    async def _take_together(self, wanted: Sequence[str | None]) -> list[tuple[datetime, bool]]:
        now = self._clock.now()
        domains = [one for one in wanted if one is not None]
        of_relay = len(wanted) - len(domains)
        of_domains, first, taken = [], now, 0
        async with self._database.begin() as connection:
            if domains and self._domain_rate is not None:
                of_domains = await take_domain_slots(connection, domains, self._domain_rate, now)
            if of_relay and self._relay_rate is not None:
                first, taken = await take_relay_slots(connection, self._relay, self._relay_rate, of_relay, now)
        relay_slots = ((self.slot(first, number) or now, number < taken) for number in range(of_relay))
        domain_slots = iter(of_domains)
        return [next(relay_slots) if one is None else next(domain_slots) for one in wanted]
