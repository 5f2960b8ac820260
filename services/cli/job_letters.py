"""`job preview` and `job test`: a job's letter to look at, on the screen or in a tester's mailbox."""

from zoneinfo import ZoneInfo

import typer

from services.cli.context import Desk, at_desk
from services.cli.output import JSON_OPTION, print_fields, print_json
from services.mailer.trial_mail import send_trial_mail
from shared.db.letter_samples import Preview, preview_letter
from shared.db.letter_trials import TrialMail, record_test_mail
from shared.logs import silent_logger

NAME = typer.Argument(help="Name of the job.")


def preview(
    name: str = NAME,
    application: str = typer.Argument(help="External id of the application."),
    as_json: bool = JSON_OPTION,
) -> None:
    """The letter of a job to one application, as it would be today. Nothing is sent."""

    async def work(desk: Desk) -> None:
        async with desk.database.read() as connection:
            found = await preview_letter(connection, name, application, desk.now)
        document = _document(found)
        if as_json:
            print_json(document)
            return
        body = document.pop("text")
        document.pop("html")
        print_fields(f"Letter of {found.job} to {found.application}", document)
        typer.echo(body)

    at_desk("view", work)


def _document(found: Preview) -> dict[str, object]:
    sender = found.sender
    return {
        "job": found.job,
        "letter": found.stored.name,
        "application": found.application,
        "language": found.language,
        "from": f"{sender.display_name} <{sender.email}>" if sender.display_name else sender.email,
        "to": found.to,
        "subject": found.letter.subject,
        "html": found.letter.html,
        "text": found.letter.text,
        "attachments": [one.file_name for one in found.stored.attachments],
    }


def send_test(
    name: str = NAME,
    to: str = typer.Option(..., "--to", help="Address of the tester."),
    application: str | None = typer.Option(None, "--as", help="As this application would get it; else one it chooses."),
) -> None:
    """Send a job's letter to a tester, marked as a test: no order, no status, no contact entry."""

    async def work(desk: Desk) -> None:
        async with desk.database.read() as connection:
            found = await preview_letter(connection, name, application, desk.now)
        mail = TrialMail(found.letter, found.sender, to, found.stored.attachments)
        now = desk.now.astimezone(ZoneInfo("UTC"))
        # The answer says it all: no line of a log beside it.
        answer = await send_trial_mail(mail, desk.settings, now, silent_logger())
        stored, author = found.stored.name, desk.actor.name
        await record_test_mail(desk.database, stored, found.application, to, author=author, now=now)
        typer.echo(f"{name}: test letter as {found.application} sent to {to}: {answer}")

    at_desk("operate", work)
