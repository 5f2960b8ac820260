"""How long a session at the console lasts (S19), that a role that was taken away stays away, and who is locked out."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from shared.db.actors import load_actor
from shared.db.console_sessions import ConsoleSession, load_session, sign_in, sign_in_vouched
from shared.db.tables import events, users
from shared.db.user_commands import change_user, lock_user, set_password
from shared.errors import Refused
from tests.services.setup_files import row
from tests.services.world import MORNING, World

PASSWORD = "ein langes Passwort"


async def test_s19_a_session_ends_without_use_and_after_a_working_day_in_any_case(world: World) -> None:
    await world.begin()
    await set_password(world.database, "a.weber", PASSWORD, author="anna", now=MORNING)

    async def at(minutes: float, *, is_use: bool = True) -> ConsoleSession | None:
        return await load_session(world.database, token, MORNING + timedelta(minutes=minutes), is_use=is_use)

    begun = await sign_in(world.database, "a.weber", PASSWORD, MORNING)
    assert begun is not None
    token = begun.token
    # Used now and then it lasts, until the working day is over.
    for minute in range(20, 12 * 60, 20):
        assert await at(minute) is not None, minute
    assert await at(12 * 60 + 1) is None

    begun = await sign_in(world.database, "a.weber", PASSWORD, MORNING)
    assert begun is not None
    token = begun.token
    # A page that comes anew by itself is no use.
    for minute in (10, 20, 29):
        assert await at(minute, is_use=False) is not None
    assert await at(31) is None


async def test_d5_a_page_of_before_gives_no_role_back(world: World) -> None:
    await world.begin()
    before = await row(world.database, users, name="a.weber")
    shown = {name: before[name] for name in ("display_name", "email", "role")}
    user, stamp = before["id"], {"author": "anna", "now": MORNING}
    await change_user(world.database, user, **{**shown, "role": "view"}, **stamp, shown=shown)
    with pytest.raises(Refused, match="somebody else has changed"):
        await change_user(world.database, user, **{**shown, "email": "neu@firma.example"}, **stamp, shown=shown)
    after = await row(world.database, users, name="a.weber")
    assert (after["role"], after["email"]) == ("view", before["email"])


async def test_d5_s19_who_is_locked_is_out_at_once_by_every_way(world: World) -> None:
    await world.begin()
    database, stamp = world.database, {"author": "anna", "now": MORNING}
    await set_password(database, "a.weber", PASSWORD, **stamp)
    user = (await row(database, users, name="a.weber"))["id"]
    open_session = await sign_in(database, "a.weber", PASSWORD, MORNING)
    assert open_session is not None
    await lock_user(database, user, is_locked=True, **stamp)
    assert await load_session(database, open_session.token, MORNING) is None
    assert await sign_in(database, "a.weber", PASSWORD, MORNING) is None
    assert await sign_in_vouched(database, "a.weber", MORNING) is None
    async with database.read() as connection:
        with pytest.raises(Refused, match="is locked"):
            await load_actor(connection, "a.weber", "root")
    with pytest.raises(Refused, match="yourself"):
        await lock_user(database, user, is_locked=True, author="a.weber", now=MORNING)
    # A new password does not let anybody in again; an administrator does.
    await set_password(database, "a.weber", PASSWORD, **stamp)
    assert await sign_in(database, "a.weber", PASSWORD, MORNING) is None
    await lock_user(database, user, is_locked=False, **stamp)
    assert await sign_in(database, "a.weber", PASSWORD, MORNING) is not None
    async with database.read() as connection:
        acts = (await connection.execute(select(events.c.action).where(events.c.noun == "user"))).scalars().all()
    assert list(acts)[-4:] == ["password", "lock", "password", "unlock"]


async def test_d5_the_lock_counts_where_a_session_began_in_the_same_moment(world: World) -> None:
    await world.begin()
    await set_password(world.database, "a.weber", PASSWORD, author="anna", now=MORNING)
    begun = await sign_in(world.database, "a.weber", PASSWORD, MORNING)
    assert begun is not None
    async with world.database.begin() as connection:
        await connection.execute(update(users).where(users.c.name == "a.weber").values(locked_at=MORNING))
    assert await load_session(world.database, begun.token, MORNING) is None
