"""`kontaktpflege doctor`: one line per thing that must be right, each with what to do."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import select

from services.console.openid import open_provider
from services.mailer.smtp import greet, parse_smtp_url
from shared.bus.connect import look
from shared.db.column_types import lease_clock
from shared.db.engine import Database
from shared.db.holds import load_hold
from shared.db.migrate import require_schema
from shared.db.system_settings import load_system_settings
from shared.errors import KontaktpflegeError
from shared.settings import Settings, without_password

Finding = tuple[str, bool, str]
#: A database clock further away than this makes due times and leases disagree visibly.
CLOCK_TOLERANCE_SECONDS = 5.0


async def examine(settings: Settings) -> list[Finding]:
    """Every check, in the order in which a newcomer would look."""
    database = Database(settings.effective_database_url())
    try:
        return [finding async for finding in _findings(settings, database)]
    finally:
        await database.close()


async def _findings(settings: Settings, database: Database) -> AsyncIterator[Finding]:
    yield await _checked("database and schema", lambda: _database(database))
    yield await _checked("clock", lambda: _clock(database))
    yield await _checked("time zones", lambda: _time_zones(database))
    yield await _checked("broker", lambda: _broker(settings))
    yield await _checked("mail server", lambda: _mail_server(settings))
    if settings.kp_oidc_issuer:
        yield await _checked("company accounts", lambda: _company_accounts(settings))
    yield await _checked("hold", lambda: _hold(database))
    yield await _checked("state directory", lambda: _state_directory(settings))


async def _checked(name: str, check: Callable[[], Awaitable[str]]) -> Finding:
    try:
        return name, True, await check()
    except (KontaktpflegeError, ZoneInfoNotFoundError, OSError) as exc:
        return name, False, str(exc)


async def _database(database: Database) -> str:
    await require_schema(database)
    return f"{database.address}, newest schema"


async def _clock(database: Database) -> str:
    async with database.read() as connection:
        theirs = (await connection.execute(select(lease_clock()))).scalar_one()
    apart = abs((datetime.now(UTC) - theirs).total_seconds())
    if apart > CLOCK_TOLERANCE_SECONDS:
        raise KontaktpflegeError(f"{apart:.1f} seconds from the database's clock; synchronise both (NTP)")
    return f"{apart:.1f} seconds from the database's clock"


async def _time_zones(database: Database) -> str:
    async with database.read() as connection:
        name = (await load_system_settings(connection)).time_zone
    offset = datetime.now(ZoneInfo(name)).strftime("%z")
    return f"{name} known, now {offset}"


async def _broker(settings: Settings) -> str:
    url = settings.broker_url.get_secret_value()
    if url.startswith("memory:"):
        return "memory:// (one process, `run all`)"
    depths = await look(url)
    return f"{without_password(url)}, {len(depths)} queues"


async def _mail_server(settings: Settings) -> str:
    password = settings.smtp_password.get_secret_value() if settings.smtp_password else None
    return await greet(parse_smtp_url(settings.smtp_url.get_secret_value(), password))


async def _company_accounts(settings: Settings) -> str:
    provider = open_provider(settings)
    return await provider.look() if provider else "not used"


async def _hold(database: Database) -> str:
    async with database.read() as connection:
        hold = await load_hold(connection)
    if hold:
        raise KontaktpflegeError(f"nothing is sent since {hold['since']}: {hold['reason']}")
    return "none"


async def _state_directory(settings: Settings) -> str:
    folder = settings.kp_state_dir
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise KontaktpflegeError(f"{folder} is not writable: no mail is sent without the journal in it")
    return f"{folder} is writable"
