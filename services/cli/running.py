"""`run`, `migrate`, `queues`, `doctor`: the system as its operators meet it."""

import asyncio
import gc
from dataclasses import asdict
from enum import StrEnum
from typing import Any

import typer

from services.cli.composition import everything, run_services
from services.cli.context import Desk, at_desk
from services.cli.doctor.examination import examine
from services.cli.doctor.findings import FAIL
from services.cli.output import JSON_OPTION, print_json, print_table, say
from shared import traces
from shared.db.engine import Database
from shared.db.migrate import migrate as migrate_database
from shared.db.role_grants import SHARES, Share
from shared.errors import InvalidInput
from shared.logs import configure_logging, get_logger
from shared.queue_report import report
from shared.settings import load_settings

#: Objects after which the garbage collector looks at the youngest, and how often at the older ones.
COLLECT_AFTER = (20_000, 20, 20)


class Role(StrEnum):
    """What `run` can start."""

    ALL = "all"
    SCHEDULER = "scheduler"
    EVALUATOR = "evaluator"
    MAILER = "mailer"
    CONSOLE = "console"
    MAILBOX = "mailbox"
    PUBLIC = "public"


def run(role: Role = typer.Argument(help="Which service; `all` runs them in one process.")) -> None:
    """Run services until SIGTERM or Ctrl-C; they wait for a database or broker that is not there yet."""
    settings = load_settings()
    configure_logging(settings.kp_log_level, settings.kp_log_format == "json", patient=True)
    roles = everything(settings) if role is Role.ALL else (role.value,)
    with traces.exported(role.value, get_logger(role.value)):
        # What is loaded by now stays; what is made from now on is mostly gone before anybody looks for cycles in it.
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)
        _with_fast_loop(run_services(settings, roles))


def _with_fast_loop(main: Any) -> None:
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        asyncio.run(main)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)


def migrate(
    grants: list[str] = typer.Option(
        [], "--grant", metavar="SHARE=ROLE", help=f"Give a PostgreSQL role its rights: {', '.join(SHARES)}. Repeatable."
    ),
) -> None:
    """Bring the database to the newest schema; running it twice is harmless."""
    wanted = [_share_and_role(one) for one in grants]

    async def work() -> None:
        database = Database(load_settings().effective_database_url())
        try:
            before, after = await migrate_database(database, wanted)
        finally:
            await database.close()
        for share, role in wanted:
            typer.echo(f"role {role} has the rights of {share}")
        typer.echo(f"schema {after}" + (" (was already there)" if before == after else f" (was {before or 'empty'})"))

    asyncio.run(work())


def _share_and_role(given: str) -> tuple[Share, str]:
    name, _, role = given.partition("=")
    for share in SHARES:
        if share == name and role:
            return share, role
    raise InvalidInput("--grant", given, f"write SHARE=ROLE, with one of {', '.join(SHARES)}")


def queues(as_json: bool = JSON_OPTION) -> None:
    """Depth of every queue, what waits in business terms, and which services are alive."""

    async def work(desk: Desk) -> None:
        found = await report(desk.database, desk.settings, desk.now)
        if as_json:
            print_json(found)
            return
        columns = ("queue", "messages", "consumers", "meaning")
        print_table("Queues", columns, ([queue[c] for c in columns] for queue in found["queues"]))
        print_table("Write orders", ("state", "orders"), found["orders"].items())
        print_table("Services alive", ("service", "instances"), found["services"].items())
        if found["oldest_waiting"]:
            oldest = found["oldest_waiting"]
            typer.echo(f"oldest waiting letter: order {oldest['id']} of {oldest['job']}, since {oldest['since']}")
        if found["hold"]:
            typer.echo(f"NOTHING IS SENT since {found['hold']['since']}: {found['hold']['reason']}")
        for reason, count in found["waiting_reasons"].items():
            typer.echo(f"{count} planned orders wait: {reason}")
        for one in found["approvals"]:
            what = f"that job {one['job']} is An" if one["job_id"] else f"that order {one['order_id']} is sent again"
            typer.echo(f"{one['asked_by']} asks a second user to approve {what}, since {one['asked_at']}")

    at_desk("view", work)


def doctor(
    role: Role = typer.Argument(Role.ALL, help="Which service is to run with these settings."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Check settings, database, broker, mail server, jobs, state directory; change nothing; exit 1 if any fails."""
    findings = asyncio.run(examine(load_settings(), role.value))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            typer.echo(str(finding))
    if failed := {finding.check for finding in findings if finding.verdict == FAIL}:
        say(f"{len(failed)} checks failed")
        raise typer.Exit(1)
