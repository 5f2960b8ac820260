"""`kontaktpflege mailbox`: mails that come back, handed over by a mail server."""

import asyncio
import sys

import typer

from services.cli.composition import clock_of, open_database
from services.mailbox.delivery import DATA_ERROR, TRY_AGAIN, deliver, receive
from services.mailbox.reading import Reader
from shared.errors import InvalidInput
from shared.logs import get_logger
from shared.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Mails that come back: take one from a mail server's pipe.")


@app.callback()
def group() -> None:
    """Mails that come back: take one from a mail server's pipe."""


@app.command("deliver")
def deliver_one(
    recipient: str | None = typer.Option(None, "--recipient", help="Where it was sent to, as ${recipient} of Postfix."),
) -> None:
    """Read one mail from stdin. Exit codes: 0 taken, 65 no mail, 75 try again later."""
    try:
        raw = receive(sys.stdin.buffer, recipient)
        asyncio.run(_deliver(raw))
    except InvalidInput as exc:
        typer.echo(f"kontaktpflege: {exc}", err=True)
        raise typer.Exit(DATA_ERROR) from None
    except Exception as exc:
        # Whatever it is, the mail is not lost: a mail server keeps it and comes again.
        typer.echo(f"kontaktpflege: {type(exc).__name__}: {exc}", err=True)
        raise typer.Exit(TRY_AGAIN) from None


async def _deliver(raw: bytes) -> None:
    settings = load_settings()
    async with open_database(settings) as database:
        reader = Reader(database, clock_of(settings), settings.return_paths(), get_logger("mailbox"))
        await deliver(reader, raw, settings.kp_state_dir)
