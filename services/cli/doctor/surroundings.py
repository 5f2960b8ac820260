"""What needs no server: settings that contradict each other, files that others can read, the state directory."""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryFile

from services.cli.composition import clock_of
from services.cli.doctor.findings import Answer, Installation, Trouble
from services.console.openid import open_provider
from shared.errors import InvalidSettings
from shared.public_links import public_links
from shared.settings import BARE, Settings, given_values, secret_names

#: Where container engines mount secrets: readable by everybody, for there is nobody else.
_MOUNTED_SECRETS = Path("/run/secrets")
#: How alike a name must be to be taken for a misspelt one.
_ALIKE = 0.85
_EVERY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104 - compared, not listened on


async def settings_agree(installation: Installation) -> Answer:
    """Settings that are valid each by itself."""
    settings, given = installation.settings, given_values()
    troubles = [*_misspelt(given), *_open_secrets(given), *_contradictions(installation)]
    if installation.runs("mailer") and public_links(settings) is None:
        troubles.append(_about_links(settings))
    if settings.kp_clock_start is not None:
        troubles.append(_about_clock(settings, settings.kp_clock_start.isoformat()))
    return troubles or "agree with each other"


def _about_links(settings: Settings) -> Trouble:
    name = "KP_LINK_KEYS" if settings.kp_public_url else "KP_PUBLIC_URL"
    value = "not given: letters have no List-Unsubscribe, and candidates no page"
    return Trouble(f"setting {name}", value, "give it, and run `run public`", grave=False)


def _about_clock(settings: Settings, start: str) -> Trouble:
    place, fix = "setting KP_CLOCK_START", "take it away before going live"
    try:
        clock_of(settings)
    except InvalidSettings as exc:
        return Trouble(place, f"{start}: {str(exc).removeprefix(f'{place}: ')}", fix)
    return Trouble(place, f"{start}: services run by a rehearsal's clock", fix, grave=False)


def _misspelt(given: dict[str, str]) -> Iterator[Trouble]:
    """Names with KP_ are refused at start; these are anybody's."""
    unset = [name for name in sorted(BARE) if name not in given and f"{name}_FILE" not in given]
    for name in sorted(given):
        for near in get_close_matches(name.removesuffix("_FILE"), unset, 1, _ALIKE):
            value = f"is read by nobody, and {near} is not given: its default holds"
            yield Trouble(f"environment, {name}", value, f"if {near} is meant, rename it", grave=False)


def _open_secrets(given: dict[str, str]) -> Iterator[Trouble]:
    for name in sorted(f"{name}_FILE" for name in secret_names()):
        path = Path(given.get(name, ""))
        if name in given and _others_can_read(path.absolute()):
            value = f"{path} can be read by every user of this machine"
            yield Trouble(f"setting {name}", value, f"chmod o-r {path}, or keep its folder closed", grave=False)


def _others_can_read(path: Path) -> bool:
    if _MOUNTED_SECRETS in path.parents or not path.is_file():
        return False
    return bool(path.stat().st_mode & 0o004) and all(folder.stat().st_mode & 0o001 for folder in path.parents)


def _contradictions(installation: Installation) -> Iterator[Trouble]:
    settings, broker = installation.settings, installation.settings.broker_url.get_secret_value()
    if broker.startswith("memory:") and installation.role not in ("all", "console", "mailbox", "public"):
        fix = f"give amqp://... to run the {installation.role} alone, or use `run all`"
        yield Trouble("setting BROKER_URL", "memory:// lives in one process", fix)
    if not broker.startswith("memory:") and installation.database.dialect == "sqlite":
        value = f"{installation.database.address} with RabbitMQ: services on other machines do not see it"
        fix = "give postgresql://... to all services, or use memory:// and `run all`"
        yield Trouble("setting DATABASE_URL", value, fix, grave=False)
    if installation.role == "public" and settings.kp_public_port is None:
        yield Trouble("setting KP_PUBLIC_PORT", "not given: the candidates' page does not start", "give it")
    pages = {
        "console": ("the console's", settings.kp_console_host, settings.kp_console_port, "KP_CONSOLE_PORT"),
        "public": ("the candidates' page's", settings.kp_public_host, settings.kp_public_port, "KP_PUBLIC_PORT"),
    }
    for role, (whose, host, port, name) in pages.items():
        if installation.runs(role) and port and settings.kp_health_port == port and _same_place(settings, host):
            value = f"{settings.kp_health_port} is {whose} port too"
            yield Trouble("setting KP_HEALTH_PORT", value, f"give another one here or in {name}")


def _same_place(settings: Settings, host: str) -> bool:
    hosts = {host, settings.kp_health_host}
    return len(hosts) == 1 or bool(hosts & _EVERY_ADDRESS)


async def company_accounts(installation: Installation) -> Answer:
    """The OpenID provider, where one is set."""
    provider = open_provider(installation.settings)
    return await provider.look() if provider else "not used"


async def state_directory(installation: Installation) -> Answer:
    """Whether the journal, what candidates said, and SQLite's file where there is one, can be written there."""
    folder = installation.settings.kp_state_dir
    if not installation.runs("mailer", "public") and installation.settings.database_url.get_secret_value():
        return f"{folder} is not used by the {installation.role}"
    needs = {
        "mailer": "no mail is sent without the journal in it",
        "public": "what candidates say is written nowhere for a database that is restored",
    }
    why = [need for role, need in needs.items() if installation.runs(role)] or ["the database is in it"]
    fix = f"name a folder that this user may write: {'; '.join(why)}"
    nearest = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    try:
        # Nothing of it is left: it never gets a name where the system can do without.
        with TemporaryFile(dir=nearest):
            pass
    except OSError as exc:
        return [Trouble("setting KP_STATE_DIR", f"{folder} is not writable ({nearest}: {exc.strerror})", fix)]
    return f"{folder} is writable" if nearest == folder else f"{folder} can be made"
