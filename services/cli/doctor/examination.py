"""The table of checks, and how they are asked: the database first, all others side by side."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from services.cli.doctor.broker import broker
from services.cli.doctor.candidates_page import candidates_page
from services.cli.doctor.database import clock, database, hold, jobs, share_of, time_zones
from services.cli.doctor.findings import FAIL, Answer, Finding, Installation, Trouble, findings_of
from services.cli.doctor.mail_server import mail_server
from services.cli.doctor.mailbox import mailbox
from services.cli.doctor.surroundings import company_accounts, settings_agree, state_directory
from shared.db.engine import Database
from shared.errors import InvalidSettings, KontaktpflegeError
from shared.public_links import public_links
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Check:
    """One check; `place` and `fix` are for when what it asks gives no answer."""

    name: str
    ask: Callable[[Installation], Awaitable[Answer]]
    place: str
    fix: str = "correct it"
    #: Nothing is known of it while the database is not right.
    of_database: bool = False
    #: Asks for rows that the candidates' page and the mailbox reader may not read (S17), and need not.
    of_jobs: bool = False
    applies: Callable[[Settings], bool] = lambda _: True


_DATABASE = Check("database and schema", database, "setting DATABASE_URL")
#: In the order in which a newcomer would look.
CHECKS = (
    Check("settings", settings_agree, "environment"),
    _DATABASE,
    Check("clock", clock, "clock", of_database=True),
    Check("time zones", time_zones, "settings", of_database=True, of_jobs=True),
    Check("broker", broker, "setting BROKER_URL"),
    Check("mail server", mail_server, "setting SMTP_URL", of_jobs=True),
    Check(
        "mailbox",
        mailbox,
        "setting KP_IMAP_URL",
        applies=lambda settings: bool(settings.kp_imap_url),
    ),
    Check(
        "candidates' page",
        candidates_page,
        "setting KP_PUBLIC_URL",
        applies=lambda settings: public_links(settings) is not None,
    ),
    Check(
        "company accounts",
        company_accounts,
        "setting KP_OIDC_ISSUER",
        "correct it, or see why the provider does not answer as it should",
        applies=lambda settings: settings.kp_oidc_issuer is not None,
    ),
    Check("hold", hold, "database", of_database=True, of_jobs=True),
    Check("jobs", jobs, "jobs", of_database=True, of_jobs=True),
    Check("state directory", state_directory, "setting KP_STATE_DIR", "name a folder that this user may write"),
)


async def examine(settings: Settings, role: str) -> list[Finding]:
    """Every check, in the table's order; for the service `role`, or for `all`."""
    installation = Installation(settings, Database(settings.effective_database_url()), role)
    try:
        first = await _asked(_DATABASE, installation)
        wrong = next((finding for finding in first if finding.verdict == FAIL), None)
        installation = replace(installation, database_is_right=wrong is None)
        checks = [check for check in CHECKS if check.applies(settings)]
        found = await asyncio.gather(*(_after(first, wrong, check, installation) for check in checks))
    finally:
        await installation.database.close()
    return [finding for findings in found for finding in findings]


async def _after(
    first: list[Finding], wrong: Finding | None, check: Check, installation: Installation
) -> list[Finding]:
    if check is _DATABASE:
        return first
    if check.of_jobs and share_of(installation.role) != "service":
        return findings_of(check.name, f"not asked: nothing of it concerns the {installation.role}")
    if wrong is not None and check.of_database:
        trouble = Trouble("database", f"not known: {wrong.value}", f"see to {_DATABASE.name} first")
        return findings_of(check.name, [trouble])
    return await _asked(check, installation)


async def _asked(check: Check, installation: Installation) -> list[Finding]:
    try:
        answer = await check.ask(installation)
    except (KontaktpflegeError, OSError) as exc:
        answer = [_trouble_of(check, exc)]
    return findings_of(check.name, answer)


def _trouble_of(check: Check, exc: Exception) -> Trouble:
    """Settings say their fix themselves: "setting NAME: value; fix"."""
    place, colon, said = str(exc).partition(": ")
    if isinstance(exc, InvalidSettings) and colon:
        value, _, fix = said.partition("; ")
        return Trouble(place, value, fix or check.fix)
    return Trouble(check.place, str(exc), check.fix)
