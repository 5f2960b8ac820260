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
    takes nobody along (I15); who is alone gets the exception.
    """

    def __init__(
        self, commit: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], linger_seconds: float, limit: int = 500
    ) -> None:
        self._commit, self._linger, self._limit = commit, linger_seconds, limit
        self._waiting: list[tuple[Item, asyncio.Future[Answer], Then[Answer] | None]] = []
        self._arrived = asyncio.Event()
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def submit(self, item: Item) -> Answer:
        """Waits until the item's group is committed and returns its answer."""
        return await self.enqueue(item)

    def enqueue(self, item: Item, then: "Then[Answer] | None" = None) -> asyncio.Future[Answer]:
        """The same without waiting. `then` is called at once with the answer or what came instead; it must not raise.

        It costs half of a callback of the future, which would take a turn of the loop.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer, then))
        self._arrived.set()
        self._open += 1
        self._idle.clear()
        return answer

    async def idle(self) -> None:
        """Waits until everything submitted is committed."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commits group after group until cancelled."""
        while True:
            await self._arrived.wait()
            if len(self._waiting) < self._limit:
                await asyncio.sleep(self._linger)
            group, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            if not self._waiting:
                self._arrived.clear()
            await self._commit_group(group)
            self._open -= len(group)
            if not self._open:
                self._idle.set()

    async def _commit_group(self, group: list[tuple[Item, asyncio.Future[Answer], "Then[Answer] | None"]]) -> None:
        try:
            answers = await self._answers([item for item, _, _ in group])
        except asyncio.CancelledError:
            for _, future, _ in group:
                future.cancel()
            raise
        for (_, future, then), answer in zip(group, answers, strict=True):
            if then is not None:
                then(answer)
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
                if then is not None:
                    future.exception()  # it was told
            else:
                future.set_result(answer)

    async def _answers(self, items: Sequence[Item]) -> list[Answer | Exception]:
        try:
            return list(await self._commit(items))
        except Exception as exc:
            if len(items) == 1:
                return [exc]
            return [answer for item in items for answer in await self._answers([item])]
