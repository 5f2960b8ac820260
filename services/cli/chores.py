"""`duplicates` and `reduce`: the scheduler's nightly chores, now and by hand (D24, D42)."""

from dataclasses import asdict
from typing import Any

import typer

from services.cli.context import Desk, at_desk
from services.cli.output import JSON_OPTION, print_json, print_table
from shared.db.duplicates import NAMED, PassReport, assign_persons
from shared.db.reduction import DueReduction, due_reductions, reduce_due
from shared.db.system_settings import SystemSettings, load_system_settings

DRY_RUN = typer.Option(False, "--dry-run", help="Say what would happen and change nothing.")


def duplicates(dry_run: bool = DRY_RUN, as_json: bool = JSON_OPTION) -> None:
    """Assign every application to its person by the duplicate keys in force; the scheduler does it every night."""

    async def work(desk: Desk) -> None:
        report = PassReport()
        async for so_far in assign_persons(desk.database, now=desk.now, author=desk.actor.name, dry_run=dry_run):
            report = so_far
        if as_json:
            print_json({"dry_run": dry_run, **asdict(report)})
            return
        typer.echo(_moves(report, dry_run))

    at_desk("view" if dry_run else "admin", work)


def _moves(report: PassReport, dry_run: bool) -> str:
    verb = "would move to another person" if dry_run else "moved to another person"
    noun = "application" if report.moved == 1 else "applications"
    if not report.moved:
        return f"0 of {report.checked} applications {verb}"
    named = ", ".join(report.applications)
    more = f" and {report.moved - NAMED} more" if report.moved > NAMED else ""
    return f"{report.moved} {noun} {verb}: {named}{more}"


def reduce(dry_run: bool = DRY_RUN, as_json: bool = JSON_OPTION) -> None:
    """Erase for good everything but core data of the applications that are due by the setting reduce_core_data."""

    async def work(desk: Desk) -> None:
        async with desk.database.read() as connection:
            settings = await load_system_settings(connection)
            due = await due_reductions(connection, desk.now)
        reduced = 0
        if not dry_run:
            async for so_far in reduce_due(desk.database, now=desk.now, author=desk.actor.name):
                reduced = so_far
        if as_json:
            print_json(_document(settings, due, dry_run, reduced))
        else:
            _show(settings, due, dry_run, reduced)

    at_desk("view" if dry_run else "admin", work)


def _document(settings: SystemSettings, due: list[DueReduction], dry_run: bool, reduced: int) -> dict[str, Any]:
    rows = [{**asdict(one), "due_since": one.due_since.isoformat(), "fields": list(one.fields)} for one in due]
    return {"reduce_core_data": settings.reduce_core_data, "dry_run": dry_run, "reduced": reduced, "applications": rows}


def _show(settings: SystemSettings, due: list[DueReduction], dry_run: bool, reduced: int) -> None:
    if settings.reduce_core_data == "off":
        typer.echo("the setting reduce_core_data is off: nothing is reduced")
        return
    if not dry_run:
        typer.echo(f"{reduced} application{'' if reduced == 1 else 's'} reduced to core data")
        return
    columns = ("application", "due since", "fields", "custom fields", "contact contents", "orders")
    rows = ((one.application, one.due_since, ", ".join(one.fields), *_numbers(one)) for one in due)
    if due:
        print_table("Would be reduced to core data", columns, rows)
    typer.echo(f"{len(due)} application{'' if len(due) == 1 else 's'} would be reduced to core data")


def _numbers(one: DueReduction) -> tuple[int, int, int]:
    return one.custom_fields, one.contact_contents, one.orders
