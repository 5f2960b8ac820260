"""How long a session at the console lasts (S19)."""

from datetime import timedelta

from shared.db.console_sessions import ConsoleSession, load_session, sign_in
from shared.db.user_commands import set_password
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
