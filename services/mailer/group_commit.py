"""Many senders, one transaction: what waits at the same point is committed together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")
#: Is told an answer, or the exception in its place.
Then = Callable[[Answer | Exception], None]


class GroupCommit(Generic[Item, Answer]):
    """Collects items for a few milliseconds and hands them to `commit` in one list.

    `commit` answers in the same order. When it raises, each of the group is committed alone, so that who is at fault
    takes nobody along (I15); who is alone gets the exception. `coming`: how many are on their way here; where nobody
    is, the group is complete and nothing is waited for. `before`: waits for what must have happened before these items
    are committed; more may come meanwhile. `urgent`: an item that waits for no others.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        linger_seconds: float,
        limit: int = 500,
        coming: Callable[[], int] | None = None,
        before: Callable[[Sequence[Item]], Awaitable[None]] | None = None,
        urgent: Callable[[Item], bool] | None = None,
    ) -> None:
        self._commit, self._linger, self._limit, self._coming = commit, linger_seconds, limit, coming
        self._before, self._urgent = before, urgent
        #: Whether an urgent item waits.
        self._hurry = False
        self._waiting: list[tuple[Item, Then[Answer] | asyncio.Future[Answer]]] = []
        self._arrived, self._lingered = asyncio.Event(), asyncio.Event()
        self._submitted = self._committed = 0
        #: Those who wait until so many are committed.
        self._watchers: list[tuple[int, asyncio.Future[None]]] = []
        #: Whether a group is being committed; `on_begin` is called when that begins.
        self.under_way = False
        self.on_begin: Callable[[], None] | None = None

    async def submit(self, item: Item) -> Answer:
        """Waits until the item's group is committed and returns its answer."""
        return await self.enqueue(item)

    def enqueue(self, item: Item) -> asyncio.Future[Answer]:
        """The same without waiting."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._add(item, answer)
        return answer

    def hand_over(self, item: Item, then: "Then[Answer]") -> int:
        """The same for a fraction of a future's cost: `then` is called with the answer or what came instead.

        It is not called when the mailer ends before. Returns the item's number, for `flushed`.
        """
        self._add(item, then)
        return self._submitted

    def _add(self, item: Item, then: "Then[Answer] | asyncio.Future[Answer]") -> None:
        self._waiting.append((item, then))
        self._submitted += 1
        if self._urgent is not None and self._urgent(item):
            self._hurry = True
        self._arrived.set()
        self.look_again()

    def look_again(self) -> None:
        """Somebody who was coming will not come."""
        if self._is_complete():
            self._lingered.set()

    async def flushed(self, number: int) -> None:
        """Waits until the item of this number is committed, and with it all before it."""
        if self._committed < number:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watchers.append((number, done))
            await done

    async def idle(self) -> None:
        """Waits until everything submitted is committed, what is submitted meanwhile too."""
        while self._committed < self._submitted:
            await self.flushed(self._submitted)

    async def run(self) -> None:
        """Commits group after group until cancelled."""
        while True:
            await self._arrived.wait()
            if self._before is not None:
                await self._before([item for item, _ in self._waiting])
            if not self._is_complete():
                await self._wait_for_more()
            group, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            if not self._waiting:
                self._arrived.clear()
                self._hurry = False
            self.under_way = True
            if self.on_begin is not None:
                self.on_begin()
            try:
                await self._commit_group(group)
            finally:
                self.under_way = False
            self._committed += len(group)
            if self._watchers:
                self._tell_watchers()

    def _tell_watchers(self) -> None:
        told = [done for count, done in self._watchers if count <= self._committed]
        self._watchers = [one for one in self._watchers if one[0] > self._committed]
        for done in told:
            if not done.done():
                done.set_result(None)

    def _is_complete(self) -> bool:
        nobody_comes = self._coming is not None and self._coming() == 0
        return self._hurry or nobody_comes or len(self._waiting) >= self._limit

    async def _wait_for_more(self) -> None:
        self._lingered.clear()
        timer = asyncio.get_running_loop().call_later(self._linger, self._lingered.set)
        try:
            await self._lingered.wait()
        finally:
            timer.cancel()

    async def _commit_group(self, group: "list[tuple[Item, Then[Answer] | asyncio.Future[Answer]]]") -> None:
        try:
            if self._before is not None:
                await self._before([item for item, _ in group])
            # Whoever gave up meanwhile wants nothing committed.
            group = [(item, then) for item, then in group if not (isinstance(then, asyncio.Future) and then.done())]
            answers = await self._answers([item for item, _ in group]) if group else []
        except asyncio.CancelledError:
            for _, then in group:
                if isinstance(then, asyncio.Future):
                    then.cancel()
            raise
        for (_, then), answer in zip(group, answers, strict=True):
            if not isinstance(then, asyncio.Future):
                self._tell(then, answer)
            elif then.done():
                continue
            elif isinstance(answer, Exception):
                then.set_exception(answer)
            else:
                then.set_result(answer)

    def _tell(self, then: "Then[Answer]", answer: Answer | Exception) -> None:
        try:
            then(answer)
        except Exception as exc:
            # As for a callback of a future: the others go on.
            told = {"message": "a callback of a group broke", "exception": exc}
            asyncio.get_running_loop().call_exception_handler(told)

    async def _answers(self, items: Sequence[Item]) -> list[Answer | Exception]:
        try:
            return list(await self._commit(items))
        except Exception as exc:
            if len(items) == 1:
                return [exc]
            return [answer for item in items for answer in await self._answers([item])]
