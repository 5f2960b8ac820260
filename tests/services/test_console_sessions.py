"""Who gets in and for how long (S19-S21), that a role that was taken away stays away, and who is locked out."""

import re
import time
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from shared.db.actors import load_actor
from shared.db.console_sessions import ConsoleSession, load_session, sign_in, sign_in_vouched
from shared.db.tables import events, users
from shared.db.user_commands import change_user, create_user, lock_user, set_password
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


async def test_s20_passwords_are_hashed_with_argon2id_and_no_two_alike(world: World) -> None:
    await world.begin()
    stored = []
    for _ in range(2):
        await set_password(world.database, "a.weber", PASSWORD, author="anna", now=MORNING)
        stored.append((await row(world.database, users, name="a.weber"))["password_hash"])
    found = re.fullmatch(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$\S{22,}\$\S{43,}", stored[0])
    # At least what OWASP asks for: 19 MiB twice.
    assert found and int(found[1]) >= 19 * 1024 and int(found[2]) >= 2 and int(found[3]) >= 1
    assert stored[0] != stored[1]


async def test_s21_whether_there_is_such_a_user_cannot_be_told_by_the_time(world: World) -> None:
    await world.begin()
    await set_password(world.database, "a.weber", PASSWORD, author="anna", now=MORNING)
    for name in ("locked", "without"):
        await create_user(world.database, name, display_name="x", email=None, role="view", author="anna", now=MORNING)
    await set_password(world.database, "locked", PASSWORD, author="anna", now=MORNING)
    locked = (await row(world.database, users, name="locked"))["id"]
    await lock_user(world.database, locked, is_locked=True, author="anna", now=MORNING)
    took: dict[str, float] = {}
    for _ in range(4):
        # The processor's time, all threads': hashing is done beside the loop.
        for name in ("a.weber", "nobody", "locked", "without"):
            began = time.process_time()
            assert await sign_in(world.database, name, "wrong, and long enough", MORNING) is None
            took[name] = min(took.get(name, 99.0), time.process_time() - began)
    assert took["a.weber"] > 0.01
    assert all(0.5 < seconds / took["a.weber"] < 2 for seconds in took.values()), took
