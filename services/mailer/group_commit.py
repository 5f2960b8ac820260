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
    is, the group is complete and nothing is waited for.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        linger_seconds: float,
        limit: int = 500,
        coming: Callable[[], int] | None = None,
    ) -> None:
        self._commit, self._linger, self._limit, self._coming = commit, linger_seconds, limit, coming
        self._waiting: list[tuple[Item, asyncio.Future[Answer], Then[Answer] | None]] = []
        self._arrived, self._lingered = asyncio.Event(), asyncio.Event()
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def submit(self, item: Item) -> Answer:
        """Waits until the item's group is committed and returns its answer."""
        return await self.enqueue(item)

    def enqueue(self, item: Item, then: "Then[Answer] | None" = None) -> asyncio.Future[Answer]:
        """The same without waiting. `then` is called at once with the answer or what came instead.

        It costs half of a callback of the future, which would take a turn of the loop.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer, then))
        self._arrived.set()
        self.look_again()
        self._open += 1
        self._idle.clear()
        return answer

    def look_again(self) -> None:
        """Somebody who was coming will not come."""
        if self._is_complete():
            self._lingered.set()

    async def idle(self) -> None:
        """Waits until everything submitted is committed."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commits group after group until cancelled."""
        while True:
            await self._arrived.wait()
            if not self._is_complete():
                await self._wait_for_more()
            group, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            if not self._waiting:
                self._arrived.clear()
            await self._commit_group(group)
            self._open -= len(group)
            if not self._open:
                self._idle.set()

    def _is_complete(self) -> bool:
        return len(self._waiting) >= self._limit or (self._coming is not None and self._coming() == 0)

    async def _wait_for_more(self) -> None:
        self._lingered.clear()
        timer = asyncio.get_running_loop().call_later(self._linger, self._lingered.set)
        try:
            await self._lingered.wait()
        finally:
            timer.cancel()

    async def _commit_group(self, group: list[tuple[Item, asyncio.Future[Answer], "Then[Answer] | None"]]) -> None:
        try:
            answers = await self._answers([item for item, _, _ in group])
        except asyncio.CancelledError:
            for _, future, _ in group:
                future.cancel()
            raise
        for (_, future, then), answer in zip(group, answers, strict=True):
            if then is not None:
                self._tell(then, answer)
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
                if then is not None:
                    future.exception()  # it was told
            else:
                future.set_result(answer)

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
