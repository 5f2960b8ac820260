"""What is asked of the database: reach, schema and role; its clock; time zones, the hold and jobs in its rows."""

from collections.abc import Iterator
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from sqlalchemy import select

from services.cli.doctor.findings import Answer, Installation, Trouble
from shared.db.column_types import lease_clock
from shared.db.engine import Database
from shared.db.holds import load_hold
from shared.db.letter_data import load_letter_version
from shared.db.migrate import SchemaOutdated, SchemaTooNew, require_schema
from shared.db.queries import load_query_by_id
from shared.db.role_grants import SHARES, Share
from shared.db.role_rights import RoleRights, load_role_rights
from shared.db.system_settings import load_system_settings
from shared.db.tables import contact_jobs, form_letters
from shared.domain.letter_writing import compile_forms
from shared.errors import InvalidInput, Unavailable
from shared.public_links import public_links

#: A database clock further away than this makes due times and leases disagree visibly.
CLOCK_TOLERANCE_SECONDS = 5.0
_PLACE = "setting DATABASE_URL"
#: Those that have a role of their own, as people call them.
_WHO = {"public": "candidates' page", "mailbox": "mailbox reader"}
#: What the database says when it does not let us in, and what to do.
_REFUSALS = (
    ("pg_hba.conf", "let the server's pg_hba.conf admit this user from here"),
    ("password", "correct user and password, percent-encoded where they have special characters"),
    ("permission denied", "GRANT CONNECT ON DATABASE ... to this user, or name another one"),
    ("role ", "correct the user, or create it as deploy/postgresql/create-role.sh does"),
    ("database ", "correct the name, or create it as deploy/postgresql/create-role.sh does"),
)
_J = contact_jobs.c


async def database(installation: Installation) -> Answer:
    """Reached, with a role that may do what is needed and no more, and with this release's schema."""
    found = installation.database
    if _is_file_to_be_made(found):
        return [Trouble("schema", f"database {found.address} is not there yet", "run `kontaktpflege migrate`")]
    try:
        async with found.read() as connection:
            rights = await load_role_rights(connection, share_of(installation.role))
        troubles = list(_about_role(rights, installation.role)) if rights else []
        if not any(trouble.grave for trouble in troubles):
            await require_schema(found)
    except Unavailable as exc:
        return [Trouble(_PLACE, str(exc), _fix_of(str(exc)))]
    except (SchemaOutdated, SchemaTooNew) as exc:
        value, _, fix = str(exc).rpartition(": ")
        return [Trouble("schema", value, fix)]
    return troubles or f"{found.address}, newest schema"


def _is_file_to_be_made(found: Database) -> bool:
    # SQLite makes a file of whatever is asked.
    return found.dialect == "sqlite" and not Path(found.url.database or "").exists()


def _fix_of(said: str) -> str:
    _, refused, words = said.rpartition("FATAL:")
    if not refused:
        return "start the database, or correct the address"
    return next((fix for word, fix in _REFUSALS if word in words), "see to what it says")


def share_of(role: str) -> Share:
    """Whose rights in the database a service is to have."""
    return next((share for share in SHARES if share == role), "service")


def _about_role(rights: RoleRights, service: str) -> Iterator[Trouble]:
    place, name = f"database role {rights.role}", rights.role
    if rights.read_only:
        fix = "name the primary in DATABASE_URL, or set default_transaction_read_only = off"
        yield Trouble(_PLACE, "the database may only be read (a standby?)", fix)
    share, granting = share_of(service), "`kontaktpflege migrate --grant {}={}` by the tables' owner"
    for right, tables in rights.lacking.items():
        fix = f"{granting.format(share, name)}, or make it their owner"
        yield Trouble(place, f"lacks {right} on {_some(tables)}", fix)
    if share == "service" and not rights.temporary:
        fix = f"GRANT TEMPORARY ON DATABASE {rights.database} TO {name}"
        yield Trouble(place, "may not make temporary tables, which every plan needs", fix)
    if rights.superuser:
        fix = "use a role that owns its database and nothing else, as deploy/postgresql/create-role.sh makes it"
        yield Trouble(place, "is a superuser", fix, grave=False)
    elif share != "service" and rights.beyond:
        more = ", ".join(f"{right} on {_some(tables)}" for right, tables in rights.beyond.items())
        fix = f"give it a role of its own: {granting.format(share, 'NAME')}"
        yield Trouble(place, f"may do more than the {_WHO[share]} needs: {more}", fix, grave=False)


def _some(tables: list[str]) -> str:
    return ", ".join(tables[:3]) + (f" and {len(tables) - 3} more" if len(tables) > 3 else "")


async def clock(installation: Installation) -> Answer:
    """This machine's clock beside the database's, which counts for leases."""
    async with installation.database.read() as connection:
        theirs = (await connection.execute(select(lease_clock()))).scalar_one()
    apart = (datetime.now(UTC) - theirs).total_seconds()
    said = f"{abs(apart):.1f} seconds from the database's clock"
    if abs(apart) <= CLOCK_TOLERANCE_SECONDS:
        return said
    return [Trouble("clock", f"{said}, {'ahead' if apart > 0 else 'behind'}", "synchronise both machines (NTP)")]


async def time_zones(installation: Installation) -> Answer:
    """The system's time zone and those of the jobs that are An."""
    async with installation.database.read() as connection:
        name = (await load_system_settings(connection)).time_zone
        jobs_of = select(_J.name, _J.time_zone).where(_J.status == "on").order_by(_J.name_folded)
        used = [("setting time_zone", name)]
        used += [(f"job {job!r}, time_zone", zone) for job, zone in await connection.execute(jobs_of)]
    troubles = [Trouble(place, repr(zone), _nearest_zone(zone)) for place, zone in used if not _is_known(zone)]
    return troubles or f"{name} known, now {datetime.now(ZoneInfo(name)):%z}"


def _is_known(zone: str) -> bool:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _nearest_zone(zone: str) -> str:
    near = get_close_matches(zone, available_timezones(), 1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"give a name of the time zone database{hint}, or bring this machine's up to date (package tzdata)"


async def hold(installation: Installation) -> Answer:
    """Whether a restored database holds everything back."""
    async with installation.database.read() as connection:
        found = await load_hold(connection)
    if not found:
        return "none"
    value, _, fix = f"nothing is sent since {found['since']}: {found['reason']}".partition("; ")
    return [Trouble("database", value, fix or "`kontaktpflege hold release`")]


async def jobs(installation: Installation) -> Answer:
    """Whether the query and the letter of every job that is An can be used, and the links in it signed."""
    columns = (_J.name, _J.query_id, _J.letter_id, form_letters.c.version, _J.consent_answer_days)
    signs = public_links(installation.settings) is not None or not installation.runs("mailer")
    statement = select(*columns).join(form_letters, form_letters.c.id == _J.letter_id).where(_J.status == "on")
    troubles = []
    async with installation.database.read() as connection:
        rows = (await connection.execute(statement.order_by(_J.name_folded))).all()
        for row in rows:
            try:
                await load_query_by_id(connection, row.query_id)
                stored = await load_letter_version(connection, row.letter_id, row.version)
                compile_forms(stored.texts, composed=stored.composed)
            except InvalidInput as exc:
                troubles.append(Trouble(f"job {row.name!r}, {exc.place}", repr(exc.value), exc.fix))
            if row.consent_answer_days and not signs:
                fix = "give KP_PUBLIC_URL and KP_LINK_KEYS, and run `run public`"
                troubles.append(Trouble(f"job {row.name!r}, consent", "its letters fail without links", fix))
    return troubles or f"{len(rows)} are An, with queries and letters that can be used"
