"""How long a session at the console lasts (S19), and that a role that was taken away stays away."""

from datetime import timedelta

import pytest

from shared.db.console_sessions import ConsoleSession, load_session, sign_in
from shared.db.tables import users
from shared.db.user_commands import change_user, set_password
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
