"""`kontaktpflege demo`: sample data, the three scenarios, every service in one process, a built-in mail catcher."""

import asyncio
import secrets
import shutil
import socket
import time
from datetime import UTC, date, datetime
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import typer
from pydantic import SecretStr

from services.cli.composition import ROLES, run_services
from services.cli.mail_catcher import MailCatcher
from services.cli.output import print_table
from shared.clock import ShiftedClock
from shared.db.actors import ROLES as RIGHTS
from shared.db.dispatch import run_now
from shared.db.engine import Database
from shared.db.migrate import migrate
from shared.db.order_list import OrderFilter, count_by_state, list_orders
from shared.db.user_commands import create_user, set_password
from shared.errors import KontaktpflegeError
from shared.importing import import_applications, import_contacts
from shared.logs import configure_logging
from shared.settings import Settings
from shared.setup import apply_setup, read_setup

#: The three scenarios, in the order in which the demo runs them.
SCENARIOS = ("Prozesshänger", "Geburtstagsgrüße", "Endgültige Absage Pool")
SAMPLE_DAY = date(2026, 11, 23)
#: After the last send time of the sample day: no scheduled dispatch interferes.
SAMPLE_MOMENT = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)
DEADLINE_SECONDS = 240.0
#: Where the console answers, or on the next port that is free.
FIRST_PORT, LAST_PORT = 8080, 8099
#: A person for each right, lowest first.
DEMO_PEOPLE = ("demo.view", "demo.operate", "demo.edit", "demo")


def demo(
    once: bool = typer.Option(False, "--once", help="Run the three jobs for the sample's day, print, and end."),
    state: Path = typer.Option(Path(".state/demo"), "--state", help="Folder for the demo's database; emptied first."),
) -> None:
    """Show the product: the sample data, the three scenarios, real mail to a built-in catcher."""
    configure_logging("error" if once else "warning")
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    if not asyncio.run(_demo(state.resolve(), once)):
        raise typer.Exit(1)


async def _demo(state: Path, once: bool) -> bool:
    async with MailCatcher() as catcher:
        settings = Settings(
            database_url=SecretStr(f"sqlite:///{state / 'kontaktpflege.sqlite3'}"),
            smtp_url=SecretStr(catcher.url),
            kp_state_dir=state,
            kp_tick_seconds=0.2,
            kp_clock_start=SAMPLE_MOMENT,
            kp_console_port=0 if once else _free_port(),
        )
        clock = ShiftedClock(SAMPLE_MOMENT)
        database = Database(settings.effective_database_url())
        try:
            await _load_sample(database, clock)
            password = None if once else await _add_people(database, clock)
            stop = asyncio.Event()
            services = asyncio.create_task(
                run_services(settings, ROLES if once else (*ROLES, "console"), clock, stop, mails=catcher.messages)
            )
            try:
                good = await _run_scenarios(database, clock, catcher, services)
                if password is not None:
                    _say_where(settings, password)
                    _say_what_next(settings, catcher)
                    await services
                return good
            finally:
                stop.set()
                await asyncio.gather(services, return_exceptions=True)
        finally:
            await database.close()


def _free_port() -> int:
    for port in range(FIRST_PORT, LAST_PORT + 1):
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def _add_people(database: Database, clock: ShiftedClock) -> str:
    """A person of each right, all with one password, which lives as long as the demo."""
    password = f"demo-{secrets.token_hex(5)}"
    for right, name in zip(RIGHTS, DEMO_PEOPLE, strict=True):
        shown = f"Demo ({right})"
        await create_user(database, name, display_name=shown, email=None, role=right, author="demo", now=clock.now())
        await set_password(database, name, password, author="demo", now=clock.now())
    return password


async def _load_sample(database: Database, clock: ShiftedClock) -> None:
    await migrate(database)
    with as_file(files("services.cli") / "sample") as sample:
        typer.echo("loading the sample: setup, applications, contacts ...")
        setup = read_setup(sample / "setup.yaml")
        await apply_setup(database, setup, author="demo", role="admin", now=clock.now())
        for importer, name in ((import_applications, "applications.csv"), (import_contacts, "contacts.csv")):
            report = await importer(database, sample / name, author="demo", now=clock.now())
            typer.echo(f"  {name}: {report.summary()}")


async def _run_scenarios(
    database: Database, clock: ShiftedClock, catcher: MailCatcher, services: "asyncio.Task[None]"
) -> bool:
    totals = []
    for name in SCENARIOS:
        async with database.begin() as connection:
            result, _ = await run_now(connection, name, SAMPLE_DAY, clock.now(), "demo")
        await _until_quiet(database, services)
        async with database.read() as connection:
            orders = await list_orders(connection, OrderFilter(run_id=result.run_id))
        _print_letters(name, orders)
        totals.append((name, *_summary(orders)))
    print_table(f"Letters of {SAMPLE_DAY}", ("job", "orders", "sent", "no address", "anything else"), totals)
    sent = sum(row[2] for row in totals)
    typer.echo(f"{len(catcher.messages)} mails arrived at the mail catcher for {sent} letters sent")
    return all(row[4] == 0 for row in totals) and len(catcher.messages) == sent > 0


async def _until_quiet(database: Database, services: "asyncio.Task[None]") -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if services.done():
            await services  # raises what ended them
        async with database.read() as connection:
            counts = await count_by_state(connection)
        if not counts["queued"] and not counts["sending"]:
            return
        await asyncio.sleep(0.1)
    raise KontaktpflegeError(f"the letters were not sent within {DEADLINE_SECONDS} seconds")


def _print_letters(name: str, orders: list[dict[str, Any]]) -> None:
    rows = [
        (o["application"], o["email"], o["subject"] if o["state"] == "sent" else f"{o['state']}: {o['reason']}")
        for o in orders
    ]
    print_table(f"{name}: {len(orders)} letters", ("application", "to", "subject, or why not sent"), rows)


def _summary(orders: list[dict[str, Any]]) -> tuple[int, int, int, int]:
    sent = sum(order["state"] == "sent" for order in orders)
    unaddressed = sum(order["state"] == "no_address" for order in orders)
    return len(orders), sent, unaddressed, len(orders) - sent - unaddressed


def _say_where(settings: Settings, password: str) -> None:
    others = ", ".join(f"{name} ({right})" for right, name in zip(RIGHTS, DEMO_PEOPLE, strict=True))
    typer.echo(
        f"\nThe console: http://127.0.0.1:{settings.kp_console_port}  user demo, password {password}\n"
        f"The same password has each right: {others}. The mails that went out stand under /mails."
    )


def _say_what_next(settings: Settings, catcher: MailCatcher) -> None:
    typer.echo(
        "\nThe services go on; Ctrl-C ends them. In a second terminal:\n\n"
        f"  export DATABASE_URL={settings.effective_database_url()} SMTP_URL={catcher.url}\n"
        "  .venv/bin/kontaktpflege job list\n"
        "  .venv/bin/kontaktpflege order list --on 2026-11-23 --state no_address\n"
        "  .venv/bin/kontaktpflege queues\n"
    )
