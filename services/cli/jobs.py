"""`kontaktpflege job`: contact-care jobs and their dispatches."""

import asyncio
import sys
import time
from datetime import date
from typing import Any

import typer

from services.cli.context import ON_OPTION, Desk, at_desk, parse_day
from services.cli.job_letters import preview, send_test
from services.cli.output import JSON_OPTION, print_fields, print_impact, print_json, print_table, say
from shared.db.dispatch import StepResult, preview_bound, run_now
from shared.db.job_list import list_jobs, show_job
from shared.db.jobs import approve_job, copy_job, create_job, delete_job, refuse_job, rehearse_job, set_job
from shared.db.order_list import count_orders_of_run
from shared.db.planner_statistics import renew_after_release
from shared.db.run_commands import job_runs, release_held
from shared.db.service_instances import live_services
from shared.domain.job_fields import JOB_FIELDS
from shared.errors import InvalidInput, Refused
from shared.lifecycle import HEARTBEAT_SECONDS
from shared.retry import retry_conflicts

app = typer.Typer(no_args_is_help=True, help="Contact-care jobs: show, change, run, pause (status=Aus).")
app.command("preview")(preview)
app.command("test")(send_test)
NAME = typer.Argument(help="Name of the job.")
#: States that no service changes any more without a person.
FINAL = ("sent", "no_address", "failed", "unclear", "blocked", "withdrawn")


@app.command("list")
def list_all(as_json: bool = JSON_OPTION) -> None:
    """Every job: status, query, letter, next dispatch."""

    async def work(desk: Desk) -> None:
        found = await list_jobs(desk.database, desk.now)
        if as_json:
            print_json(found)
        else:
            columns = tuple(found[0]) if found else ("name",)
            print_table(f"{len(found)} jobs", columns, (job.values() for job in found))

    at_desk("view", work)


@app.command("show")
def show(name: str = NAME, as_json: bool = JSON_OPTION) -> None:
    """One job with all fields, its runs and the history of its changes."""

    async def work(desk: Desk) -> None:
        found = await show_job(desk.database, name, desk.now)
        if as_json:
            print_json(found)
            return
        lists = {key: value for key, value in found.items() if isinstance(value, list)}
        print_fields(found["name"], {key: value for key, value in found.items() if key not in lists})
        for title, rows in lists.items():
            if rows:
                print_table(title, tuple(rows[0]), (row.values() for row in rows))

    at_desk("view", work)


@app.command("create")
def create(
    name: str = NAME,
    fields: list[str] = typer.Argument(help="key=value pairs; query, letter, dispatch and time are required."),
) -> None:
    """Create a job, e.g. query='Geburtstag heute' letter=Geburtstag dispatch=rolling time=08:00. It starts Aus."""
    pairs = dict(_pair(text) for text in fields)
    if "=" in name and name.partition("=")[0] in JOB_FIELDS:
        raise InvalidInput("job create", name, "give the name first: job create NAME key=value ...")

    async def work(desk: Desk) -> None:
        change = await create_job(desk.database, {"name": name, **pairs}, author=desk.actor.name, now=desk.now)
        typer.echo(f"{name}: created")
        for line in [*change.notes, *change.warnings]:
            say(line)

    at_desk("edit", work)


@app.command("set")
def set_fields(
    name: str = NAME,
    changes: list[str] = typer.Argument(
        help="key=value pairs, as in a setup file: status=Aus, time=09:30, lead_days=2."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show what the next dispatch would become, change nothing."),
) -> None:
    """Change a job. `status=Aus` stops it at once; `status=An` goes on with its next send moment."""
    pairs = dict(_pair(text) for text in changes)

    async def work(desk: Desk) -> None:
        save = rehearse_job if dry_run else set_job
        change = await save(desk.database, name, pairs, author=desk.actor.name, now=desk.now)
        for field, old, new in change.changes:
            typer.echo(f"{name}: {field}: {old} -> {new}")
        if not change.changes:
            typer.echo(f"{name}: nothing to change")
        print_impact(change.impact)
        for line in [*change.notes, *change.warnings]:
            say(line)

    at_desk("operate" if set(pairs) == {"status"} else "edit", work)


@app.command("copy")
def copy(
    name: str = NAME,
    new: str = typer.Argument(help="Name of the copy."),
    fresh: bool = typer.Option(False, "--fresh", help="A lineage of its own: the repeat guard begins anew."),
) -> None:
    """Copy a job. The copy is Aus, has no orders, and whom the original wrote to counts for it too."""

    async def work(desk: Desk) -> None:
        await copy_job(desk.database, name, new, author=desk.actor.name, now=desk.now, fresh=fresh)
        typer.echo(f"{new}: copied from {name}, status Aus")

    at_desk("edit", work)


@app.command("delete")
def delete(name: str = NAME) -> None:
    """Delete a job for good: its open orders are withdrawn, sent ones stay as documentation."""

    async def work(desk: Desk) -> None:
        withdrawn = await delete_job(desk.database, name, author=desk.actor.name, now=desk.now)
        typer.echo(f"{name}: deleted, {withdrawn} open orders withdrawn")

    at_desk("edit", work)


@app.command("runs")
def runs(name: str = NAME, as_json: bool = JSON_OPTION) -> None:
    """Past, planned and skipped dispatches with their counts."""

    async def work(desk: Desk) -> None:
        found = await job_runs(desk.database, name)
        if as_json:
            print_json(found)
        else:
            print_table(f"Dispatches of {name}", tuple(found[0]) if found else ("run",), (r.values() for r in found))

    at_desk("view", work)


@app.command("release")
def release(name: str = NAME) -> None:
    """Let a held dispatch go."""

    async def work(desk: Desk) -> None:
        released = await release_held(desk.database, name, author=desk.actor.name, now=desk.now)
        typer.echo(f"{name}: {released} held dispatches let go")

    at_desk("operate", work)


@app.command("approve")
def approve(
    name: str = NAME,
    seal: str | None = typer.Option(
        None, "--seal", help="As `job show` told it: only what was looked at then, whatever bears the name now."
    ),
) -> None:
    """With four eyes: yes, the job may be An as it is now. By another user than who asked or changed it last."""

    async def work(desk: Desk) -> None:
        change = await approve_job(desk.database, name, author=desk.actor.name, now=desk.now, seal=seal)
        typer.echo(f"{name}: approved")
        for line in change.notes:
            say(line)

    at_desk("operate", work)


@app.command("refuse")
def refuse(name: str = NAME) -> None:
    """With four eyes: no, the job stays Aus."""

    async def work(desk: Desk) -> None:
        await refuse_job(desk.database, name, author=desk.actor.name, now=desk.now)
        typer.echo(f"{name}: refused, the job stays Aus")

    at_desk("operate", work)


@app.command("run")
def run(
    name: str = NAME,
    on: str | None = ON_OPTION,
    wait: float | None = typer.Option(None, "--wait", metavar="SECONDS", min=0, help="Wait for final states."),
    yes: bool = typer.Option(False, "--yes", help="Do not ask, even if the dispatch is unusually large."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Release the job's letters of one day now. Who has an order of that day already gets none."""
    day = parse_day(on)

    async def work(desk: Desk) -> None:
        if sys.stdin.isatty() and not yes:
            await _ask(desk, name, day)
        result, occasion = await _run(desk, name, day)
        document = {
            "run": result.run_id,
            "on": occasion.isoformat(),
            "orders": result.released,
            "recipients_without_address": result.without_address,
            "held": result.held is not None,
        }
        if result.waiting:
            say(f"{result.waiting} orders stay planned until another letter of the same job to the person has ended")
        missing = await _missing_services(desk)
        if missing:
            say(f"nothing will move: no live {', '.join(missing)} (start with `kontaktpflege run`)")
        final = await _wait(desk, result.run_id, wait) if wait is not None else None
        _print_run(name, document, final, as_json)
        if final is not None and any(state not in FINAL for state in final):
            say(f"not everything has ended after {wait} seconds")
            raise typer.Exit(1)

    at_desk("operate", work)


async def _run(desk: Desk, name: str, day: date | None) -> tuple[StepResult, date]:
    async def once() -> tuple[StepResult, date]:
        async with desk.database.begin() as connection:
            return await run_now(connection, name, day, desk.now, desk.actor.name)

    result, occasion = await retry_conflicts(once)
    await renew_after_release(desk.database, result.released)
    return result, occasion


async def _ask(desk: Desk, name: str, day: date | None) -> None:
    async with desk.database.begin() as connection:
        question = await preview_bound(connection, name, day, desk.now)
    if question and not typer.confirm(f"{question}. Send?"):
        raise Refused("not released; nothing was changed")


async def _missing_services(desk: Desk) -> list[str]:
    async with desk.database.read() as connection:
        live = await live_services(connection, 3 * HEARTBEAT_SECONDS)
    return [service for service in ("scheduler", "evaluator", "mailer") if not live.get(service)]


async def _wait(desk: Desk, run_id: int, seconds: float) -> dict[str, int]:
    deadline = time.monotonic() + seconds
    while True:
        async with desk.database.read() as connection:
            counts = await count_orders_of_run(connection, run_id)
        if all(state in FINAL for state in counts) or time.monotonic() >= deadline:
            return counts
        await asyncio.sleep(0.3)


def _print_run(name: str, document: dict[str, Any], final: dict[str, int] | None, as_json: bool) -> None:
    if as_json:
        print_json(document | ({"states": final} if final is not None else {}))
        return
    typer.echo(
        f"{name} on {document['on']}: {document['orders']} orders released, "
        f"{document['recipients_without_address']} of them without an address"
    )
    if final:
        print_table("Orders", ("state", "orders"), sorted(final.items()))


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise InvalidInput("job set", text, "give key=value, as in status=Aus")
    return key.strip(), value.strip()
