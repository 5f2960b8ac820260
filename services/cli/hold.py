"""`hold`: after the restore of an older backup nothing is sent until somebody has looked."""

import typer

from services.cli.context import Desk, at_desk
from services.cli.output import JSON_OPTION, print_json
from shared.db.holds import load_hold, release_hold

app = typer.Typer(
    help="Nothing is sent from a database that is older than what was sent from it, until the hold is released.",
    no_args_is_help=True,
)


@app.command()
def show(as_json: bool = JSON_OPTION) -> None:
    """Whether there is a hold, since when, and why."""

    async def work(desk: Desk) -> None:
        async with desk.database.read() as connection:
            hold = await load_hold(connection)
        if as_json:
            print_json(hold)
        else:
            typer.echo(f"held since {hold['since']}: {hold['reason']}" if hold else "there is no hold")

    at_desk("view", work)


@app.command()
def release() -> None:
    """Let letters go again, after a look at what the mail server has sent since the backup."""

    async def work(desk: Desk) -> None:
        waiting = await release_hold(desk.database, author=desk.actor.name, now=desk.now)
        typer.echo(f"released; {waiting} letters wait and go out now")

    at_desk("admin", work)
