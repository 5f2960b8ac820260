"""What is asked of the mail server: greeting, TLS, login, and whether it takes the senders."""

from sqlalchemy import select

from services.cli.doctor.findings import Answer, Installation, Trouble
from services.mailer.outcome import ConnectFailure
from services.mailer.signing import open_signing
from services.mailer.smtp import ConnectFailed, greet
from services.mailer.smtp_address import parse_smtp_url
from shared.db.letter_data import load_users
from shared.db.system_settings import load_system_settings
from shared.db.tables import contact_jobs
from shared.domain.senders import resolve_sender

#: Senders that are asked about, the system's first.
MOST_SENDERS = 20
_FIXES = {
    ConnectFailure.AWAY: "start it, or correct host and port; smtps:// is usual at port 465, smtp+starttls:// at 587",
    ConnectFailure.AUTH: "correct the user in SMTP_URL and SMTP_PASSWORD (or the file that SMTP_PASSWORD_FILE names)",
    ConnectFailure.TLS: (
        "name the host as its certificate does; let SSL_CERT_FILE name your own authority's certificate; "
        "or take the scheme that the server offers at this port"
    ),
}
_J = contact_jobs.c


async def mail_server(installation: Installation) -> Answer:
    """Greeted as the mailer does it; no letter is begun."""
    settings = installation.settings
    password = settings.smtp_password.get_secret_value() if settings.smtp_password else None
    open_signing(settings)
    relay = parse_smtp_url(settings.smtp_url.get_secret_value(), password)
    senders = await _senders(installation) if installation.database_is_right else {}
    if (paths := settings.return_paths()) is not None:
        senders = {paths.of(0): "setting KP_BOUNCE_ADDRESS"} | senders
    try:
        greeting = await greet(relay, [sender for sender in senders if sender.isascii()])
    except ConnectFailed as exc:
        place = "setting SMTP_PASSWORD" if exc.failure is ConnectFailure.AUTH else "setting SMTP_URL"
        return [Trouble(place, str(exc), _FIXES[exc.failure])]
    fix = "let the mail server take it, or give another sender"
    refused = greeting.refused.items()
    found = [Trouble(senders[one], f"{relay.address} refuses {one}: {words}", fix) for one, words in refused]
    return found or greeting.words


async def _senders(installation: Installation) -> dict[str, str]:
    """Senders that do not depend on the applicant, each with its place: the system's, those of jobs that are An."""
    async with installation.database.read() as connection:
        system = (await load_system_settings(connection)).sender
        statement = select(_J.name, _J.sender, _J.sender_fallback).where(_J.status == "on").order_by(_J.name_folded)
        jobs = (await connection.execute(statement)).all()
        wishes = {wish for job in jobs for wish in (job.sender, job.sender_fallback) if wish}
        users = await load_users(connection, {wish.removeprefix("user:") for wish in wishes})
    found = {resolve_sender((), None, users, system).email: "setting sender"}
    for job in jobs:
        sender = resolve_sender((job.sender, job.sender_fallback), None, users, system)
        found.setdefault(sender.email, f"job {job.name!r}, sender")
    return dict(list(found.items())[:MOST_SENDERS])
