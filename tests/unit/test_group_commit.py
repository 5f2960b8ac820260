"""Groups: whom they wait for, and how long."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.mailer.group_commit import GroupCommit

LONG = 60.0


@asynccontextmanager
async def collecting(**given: Any) -> AsyncIterator[tuple[GroupCommit[int, int], list[list[int]]]]:
    """A group commit at work, and the groups that it made."""
    groups: list[list[int]] = []

    async def commit(items: Sequence[int]) -> list[int]:
        groups.append(list(items))
        return [10 * item for item in items]

    group = GroupCommit(commit, **given)
    running = asyncio.create_task(group.run())
    try:
        async with asyncio.timeout(5):
            yield group, groups
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def without_two(items: Sequence[int]) -> list[int]:
    """A commit that one item breaks."""
    if 2 in items:
        raise ValueError(2)
    return list(items)


async def test_a_group_for_which_nobody_is_coming_is_not_waited_for() -> None:
    async with collecting(linger_seconds=LONG, coming=lambda: 0) as (group, groups):
        assert await group.submit(1) == 10
    assert groups == [[1]]


async def test_a_group_waits_for_those_who_are_coming_and_no_longer() -> None:
    coming = {2, 3}
    async with collecting(linger_seconds=LONG, coming=lambda: len(coming)) as (group, groups):
        answers = [group.enqueue(1)]
        for number in (2, 3):
            await asyncio.sleep(0.02)
            assert groups == []
            coming.discard(number)
            answers.append(group.enqueue(number))
        assert await asyncio.gather(*answers) == [10, 20, 30]
    assert groups == [[1, 2, 3]]


async def test_a_group_does_not_wait_for_who_will_not_come_after_all() -> None:
    coming = {2}
    async with collecting(linger_seconds=LONG, coming=lambda: len(coming)) as (group, groups):
        answer = group.enqueue(1)
        await asyncio.sleep(0.02)
        coming.clear()
        group.look_again()
        assert await answer == 10
    assert groups == [[1]]


async def test_a_group_waits_its_time_at_most_for_who_never_comes() -> None:
    async with collecting(linger_seconds=0.05, coming=lambda: 1) as (group, groups):
        assert list(await asyncio.gather(group.submit(1), group.submit(2))) == [10, 20]
        assert await group.submit(3) == 30
    assert groups == [[1, 2], [3]]


@pytest.mark.parametrize("linger", [0, LONG])
async def test_a_full_group_waits_for_nobody(linger: float) -> None:
    async with collecting(linger_seconds=linger, limit=2, coming=lambda: 9) as (group, groups):
        assert await asyncio.gather(*map(group.submit, range(4))) == [0, 10, 20, 30]
    assert groups == [[0, 1], [2, 3]]


async def test_who_is_told_at_once_is_told_the_exception_too() -> None:
    told: list[Any] = []
    group = GroupCommit(without_two, 0.01)
    running = asyncio.create_task(group.run())
    for number in (1, 2):
        group.hand_over(number, told.append)
    async with asyncio.timeout(5):
        await group.idle()
    running.cancel()
    # The one at fault takes nobody along (I15).
    assert told[0] == 1 and isinstance(told[1], ValueError)


async def test_what_must_have_happened_before_is_waited_for_and_meanwhile_others_join_the_group() -> None:
    recorded = {1: asyncio.Event(), 2: asyncio.Event()}

    async def before(items: Sequence[int]) -> None:
        await recorded[max(items)].wait()

    async with collecting(linger_seconds=LONG, coming=lambda: 0, before=before) as (group, groups):
        answers = [group.enqueue(1)]
        await asyncio.sleep(0.02)
        answers.append(group.enqueue(2))
        recorded[1].set()
        await asyncio.sleep(0.02)
        # For whoever joined it may be something else.
        assert groups == [] and group.under_way
        recorded[2].set()
        assert await asyncio.gather(*answers) == [10, 20]
    assert groups == [[1, 2]]


async def test_i5_nothing_is_committed_for_whoever_gave_up_before() -> None:
    recorded = asyncio.Event()

    async def before(_: Sequence[int]) -> None:
        await recorded.wait()

    async with collecting(linger_seconds=0, before=before) as (group, groups):
        answers = [group.enqueue(number) for number in (1, 2)]
        answers[0].cancel()
        recorded.set()
        assert await answers[1] == 20
        alone = group.enqueue(3)
        recorded.clear()
        await asyncio.sleep(0.02)
        alone.cancel()
        recorded.set()
        await group.idle()
        assert await group.submit(4) == 40
    assert groups == [[2], [4]]


async def test_whoever_waits_is_told_when_the_mailer_ends_before_its_group_is_committed() -> None:
    async def before(_: Sequence[int]) -> None:
        if group.under_way:
            await asyncio.Event().wait()

    async with collecting(linger_seconds=0, before=before) as (group, groups):
        answer = group.enqueue(1)
        await asyncio.sleep(0.02)
    assert answer.cancelled() and groups == []


async def test_an_item_is_flushed_with_all_before_it_and_needs_none_after_it() -> None:
    went_on = asyncio.Event()

    async def commit(items: Sequence[int]) -> list[int]:
        if 3 in items:
            await went_on.wait()
        return list(items)

    group = GroupCommit(commit, 0, limit=2)
    running = asyncio.create_task(group.run())
    numbers = [group.hand_over(item, lambda _: None) for item in (1, 2, 3)]
    async with asyncio.timeout(5):
        await group.flushed(numbers[1])
        last = asyncio.create_task(group.flushed(numbers[2]))
        await asyncio.sleep(0.02)
        assert not last.done()
        # One who waits no longer is not told.
        gone = asyncio.create_task(group.flushed(numbers[2]))
        await asyncio.sleep(0)
        gone.cancel()
        went_on.set()
        await last
        await group.flushed(numbers[0])
    running.cancel()


async def test_a_group_that_is_committed_one_by_one_counts_as_often_as_it_has_items() -> None:
    group = GroupCommit(without_two, 0)
    running = asyncio.create_task(group.run())
    numbers = [group.hand_over(item, lambda _: None) for item in (1, 2, 3)]
    async with asyncio.timeout(5):
        await group.flushed(numbers[-1])
        later = group.hand_over(4, lambda _: None)
        assert later == numbers[-1] + 1
        await group.flushed(later)
    running.cancel()


async def test_while_a_group_is_committed_it_is_under_way_and_that_is_told() -> None:
    seen: list[bool] = []

    async def commit(items: Sequence[int]) -> list[int]:
        seen.append(group.under_way)
        return list(items)

    group = GroupCommit(commit, 0)
    group.on_begin = lambda: seen.append(group.under_way)
    running = asyncio.create_task(group.run())
    async with asyncio.timeout(5):
        await group.submit(1)
        await asyncio.sleep(0)
    assert seen == [True, True] and not group.under_way
    running.cancel()


async def test_an_urgent_item_waits_for_nobody_and_takes_along_what_waits() -> None:
    async with collecting(linger_seconds=LONG, urgent=lambda item: item == 3) as (group, groups):
        answers = [group.enqueue(1), group.enqueue(2)]
        await asyncio.sleep(0.02)
        assert groups == []
        answers.append(group.enqueue(3))
        assert await asyncio.gather(*answers) == [10, 20, 30]
        # The next ones wait as before.
        group.enqueue(4)
        await asyncio.sleep(0.02)
        assert groups == [[1, 2, 3]]
        # It is as urgent where nobody waits for others yet.
        assert await group.submit(3) == 30
    assert groups == [[1, 2, 3], [4, 3]]
