"""The composition root: the one place where settings become a database, a bus and services."""

import asyncio
import os
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from services.evaluator.evaluate import run_evaluator
from services.mailbox.imap import ImapPlace, imap_place
from services.mailbox.service import run_mailbox
from services.mailer.again import WritingAgain
from services.mailer.service import run_mailer
from services.mailer.trial_mail import send_trial_mail
from services.scheduler.service import run_scheduler
from shared.bus.connect import open_bus
from shared.bus.interface import Bus
from shared.clock import Clock, ShiftedClock, SystemClock
from shared.db.engine import Database
from shared.db.letter_trials import TrialMail
from shared.db.migrate import SchemaOutdated, migrate, require_schema
from shared.db.service_instances import beat, forget
from shared.errors import InvalidSettings, KontaktpflegeError, Unavailable
from shared.lifecycle import HEARTBEAT_SECONDS, every, run_together, stop_on_signals, unless_stopped
from shared.logs import get_logger
from shared.readiness import Readiness
from shared.retry import wait_until_available
from shared.settings import Settings, is_loopback

if TYPE_CHECKING:
    from services.console.openid.provider import Provider
    from services.console.surroundings import CaughtMail

ROLES = ("scheduler", "evaluator", "mailer")
#: What the demo runs in one process.
ALL = (*ROLES, "console")
Part = Callable[[asyncio.Event], Awaitable[None]]


def clock_of(settings: Settings) -> Clock:
    """The clock of this process. A shifted one is for rehearsals: never with a mail server elsewhere (S34)."""
    if settings.kp_clock_start is None:
        return SystemClock()
    if not is_loopback(settings.smtp_url.get_secret_value()):
        raise InvalidSettings("setting KP_CLOCK_START: refused, because SMTP_URL is not on this machine's loopback")
    if settings.kp_clock_start.tzinfo is None:
        raise InvalidSettings("setting KP_CLOCK_START: give an offset, as in 2026-11-23T06:00:00+01:00")
    return ShiftedClock(settings.kp_clock_start)


def everything(settings: Settings) -> tuple[str, ...]:
    """What `run all` runs in one process: the console unless it has no port, the others where they are set up."""
    wanted = {
        "console": bool(settings.kp_console_port),
        "public": settings.kp_public_port is not None,
        "mailbox": bool(settings.kp_imap_url),
    }
    return (*ROLES, *(role for role, is_wanted in wanted.items() if is_wanted))


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database of a command, with its schema checked."""
    database = Database(settings.effective_database_url())
    try:
        await require_schema(database)
        yield database
    finally:
        await database.close()


async def run_services(
    settings: Settings,
    roles: Sequence[str],
    clock: Clock | None = None,
    stop: asyncio.Event | None = None,
    mails: "Sequence[CaughtMail] | None" = None,
) -> None:
    """Runs one service, or all in this process, until SIGTERM, SIGINT or `stop`. Waits for database and broker.

    `mails`: what a mail catcher keeps, for the console to show.
    """
    scheme = settings.broker_url.get_secret_value().partition(":")[0]
    on_bus = [role for role in roles if role in ROLES]
    if scheme == "memory" and on_bus and set(on_bus) != set(ROLES):
        raise InvalidSettings(
            "setting BROKER_URL: memory:// lives in one process; use `run all`, or give amqp://... to run "
            f"{' and '.join(roles)} alone"
        )
    log = get_logger("all" if len(roles) > 1 else roles[0])
    database = Database(settings.effective_database_url(), pool_size=12)
    stop = stop or asyncio.Event()
    clock = clock or clock_of(settings)
    provider = _provider(settings) if "console" in roles else None
    # Refused before anything begins.
    place = imap_place(settings) if "mailbox" in roles else None
    readiness = Readiness(database, stop)
    with stop_on_signals(stop):
        drained = asyncio.Event()
        probing = asyncio.create_task(_probes(readiness, settings, log, drained))
        try:
            waiting = _wait_for_schema(database, embedded=scheme == "memory" and bool(on_bus), log=log)
            if await unless_stopped(waiting, stop):
                pages: dict[str, Part] = {
                    "console": partial(_console, database, clock, settings, mails, provider),
                    "public": partial(_public, database, clock, settings),
                }
                others = [part for role, part in pages.items() if role in roles]
                if place is not None:
                    others.append(partial(_mailbox, database, clock, settings, place))
                if on_bus:
                    await _run_on_bus(settings, on_bus, others, readiness, clock, log)
                else:
                    readiness.started.set()
                    log.info("started", action="started", roles=list(roles))
                    await run_together(others, stop)
        finally:
            # Answered to the end: until then a platform is told that this process drains.
            drained.set()
            await asyncio.gather(probing, return_exceptions=True)
            await database.close()
    log.info("ended", action="ended")


async def _probes(readiness: Readiness, settings: Settings, log: Any, drained: asyncio.Event) -> None:
    if settings.kp_health_port is not None:
        from shared.probes import answer_probes  # noqa: PLC0415 - only where somebody asks

        try:
            await answer_probes(readiness, settings, log, drained)
        except Exception:
            # Letters go out whether somebody asks or not, but nobody is to wonder why no answer comes.
            log.exception("health_broken", action="health_broken")


def _provider(settings: Settings) -> "Provider | None":
    from services.console.openid import open_provider  # noqa: PLC0415 - as below

    return open_provider(settings)


async def _console(
    database: Database,
    clock: Clock,
    settings: Settings,
    mails: Any,
    provider: "Provider | None",
    stop: asyncio.Event,
) -> None:
    # Imported here: only who answers requests needs what they need.
    from services.console.service import run_console  # noqa: PLC0415
    from services.console.surroundings import Surroundings  # noqa: PLC0415

    log = get_logger("console")

    async def send_trial(mail: TrialMail) -> str:
        return await send_trial_mail(mail, settings, clock.now(), log)

    again = partial(WritingAgain, settings)
    surroundings = Surroundings(database, settings, clock, mails, send_trial, provider, again)
    await _alive("console", database, partial(run_console, surroundings, log), log, stop)


async def _mailbox(database: Database, clock: Clock, settings: Settings, place: ImapPlace, stop: asyncio.Event) -> None:
    log = get_logger("mailbox")
    await _alive("mailbox", database, partial(run_mailbox, database, clock, settings, place, log), log, stop)


async def _public(database: Database, clock: Clock, settings: Settings, stop: asyncio.Event) -> None:
    from services.public.service import run_public  # noqa: PLC0415 - as above

    log = get_logger("public")
    await _alive("public", database, partial(run_public, database, clock, settings, log), log, stop)


async def _run_on_bus(
    settings: Settings,
    roles: Sequence[str],
    others: Sequence[Part],
    readiness: Readiness,
    clock: Clock,
    log: Any,
) -> None:
    database, stop = readiness.database, readiness.stop
    bus = open_bus(settings.broker_url.get_secret_value(), log)
    readiness.broker = lambda: bus.ready
    try:
        if await unless_stopped(bus.open(), stop):
            readiness.started.set()
            log.info("started", action="started", roles=list(roles))
            parts = [_part(role, database, bus, clock, settings) for role in roles]
            await run_together([*parts, *others], stop)
    finally:
        await bus.close()


async def _wait_for_schema(database: Database, embedded: bool, log: Any) -> None:
    async def ready() -> None:
        if embedded and database.dialect == "sqlite":
            await migrate(database)  # one process, one file: nobody else could do it
        await require_schema(database)

    # `migrate` may be on its way just now; a newer release's schema is not waited for.
    await wait_until_available(ready, log, "database", longest_pause=5.0, also=(SchemaOutdated,))


def _part(role: str, database: Database, bus: Bus, clock: Clock, settings: Settings) -> Part:
    log = get_logger(role)
    main: Part = {
        "scheduler": lambda stop: run_scheduler(database, bus, clock, settings, log, stop),
        "evaluator": lambda stop: run_evaluator(database, bus, clock, log, stop),
        "mailer": lambda stop: run_mailer(database, bus, clock, settings, log, stop),
    }[role]
    return partial(_alive, role, database, main, log)


async def _alive(role: str, database: Database, main: Part, log: Any, stop: asyncio.Event) -> None:
    instance = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"

    async def say() -> None:
        async with database.begin() as connection:
            await beat(connection, role, instance)

    async with asyncio.TaskGroup() as group:
        ended = asyncio.Event()
        group.create_task(every(HEARTBEAT_SECONDS, say, ended, log))
        try:
            await main(stop)
        finally:
            ended.set()
    try:
        async with database.begin() as connection:
            await forget(connection, role, instance)
    except (Unavailable, KontaktpflegeError) as exc:
        log.warning("not_signed_off", action="not_signed_off", reason=str(exc))
