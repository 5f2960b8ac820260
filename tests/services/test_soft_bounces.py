"""Letters that come back for reasons that may pass: three in a row of one address, and it is given up (S32)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.db.returned_mails import Effect, take_in
from shared.domain.returned_mail import understand
from tests.returned_mails import returned_mail
from tests.services.test_returned_mails import ADDRESS, PATHS, application, next_letters, sent, take
from tests.services.world import World


async def soft_letters(
    world: World, count: int, days: int, name: str = "soft.qmail-too-long-in-queue", spelled: Sequence[str] = (ADDRESS,)
) -> list[Effect]:
    """So many letters, so many days apart, each of which comes back softly; the address is `spelled` in turn."""
    effects = []
    order_id = await sent(world, f"A1,S,Eins,{spelled[0]},Neu,")
    await world.change(repeat_guard_days="0")
    for number in range(count):
        if number:
            world.clock.advance(timedelta(days=days))
            await world.applicants(f"A1,S,Eins,{spelled[number % len(spelled)]},Neu,")
            (order_id,) = await next_letters(world)
            await world.send(order_id)
        row = next(row for row in await world.rows() if row["id"] == order_id)
        ways = {"letter": row["message_id"], "bounce": PATHS.of(order_id)}
        mail = replace(understand(returned_mail(name, **ways)), fingerprint=f"mail {order_id}")
        effects.append((await take_in(world.database, mail, PATHS, world.clock.now())).effect)
    return effects


async def test_three_soft_bounces_in_a_row_give_the_address_up(world: World) -> None:
    assert await soft_letters(world, 3, days=30) == [Effect.RECORDED, Effect.RECORDED, Effect.GIVEN_UP]


@pytest.mark.parametrize(
    "spelled",
    [
        ("Max@x.example", "max@X.example", "MAX@x.example"),
        ("a1@büro.example", "a1@xn--bro-hoa.example", "A1@BÜRO.example"),
    ],
    ids=["case", "domain"],
)
async def test_soft_bounces_are_of_one_address_however_it_is_spelled(world: World, spelled: Sequence[str]) -> None:
    expected = [Effect.RECORDED, Effect.RECORDED, Effect.GIVEN_UP]
    assert await soft_letters(world, 3, days=30, spelled=spelled) == expected
    # Nor is the address another one by an import that spells it as before.
    await world.applicants(f"A1,S,Eins,{spelled[0]},Neu,")
    assert (await application(world.database, "A1"))["usable_email"] is None


async def test_soft_bounces_of_another_address_do_not_count(world: World) -> None:
    spelled = ("a1@x.example", "a2@x.example")
    assert await soft_letters(world, 4, days=30, spelled=spelled) == [Effect.RECORDED] * 4


@pytest.mark.parametrize(
    ("days", "name"),
    [(3, "soft.qmail-too-long-in-queue"), (100, "soft.qmail-too-long-in-queue"), (30, "refused.gmx-reputation")],
)
async def test_what_may_pass_or_is_not_the_addresss_fault_does_not(world: World, days: int, name: str) -> None:
    assert await soft_letters(world, 3, days, name) == [Effect.RECORDED] * 3


async def test_an_answer_between_them_shows_that_the_address_works(world: World) -> None:
    await soft_letters(world, 2, days=30)
    first = (await world.rows())[0]
    await take(world, "reply.thunderbird-german", first["id"])
    world.clock.advance(timedelta(days=30))
    (third,) = await next_letters(world)
    await world.send(third)
    assert (await take(world, "soft.web-de-postfach-voll", third)).effect is Effect.RECORDED
