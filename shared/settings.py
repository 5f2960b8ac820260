"""Settings from the environment (and `.env` in development), validated at start with 'did you mean'."""

import os
import re
from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from shared.domain.link_tokens import LinkTokens, split_secrets
from shared.domain.return_paths import ReturnPaths
from shared.errors import InvalidSettings


def _state_dir() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "kontaktpflege"


class Settings(BaseModel):
    """Everything that is decided outside the code. Durations in seconds unless the name says otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    database_url: SecretStr = SecretStr("")
    broker_url: SecretStr = SecretStr("memory://")
    smtp_url: SecretStr = SecretStr("smtp://127.0.0.1:25")
    smtp_password: SecretStr | None = None
    kp_state_dir: Path = Field(default_factory=_state_dir)
    kp_user: str | None = None
    kp_log_level: Literal["debug", "info", "warning", "error"] = "info"
    kp_log_format: Literal["text", "json"] = "text"
    #: Domain of Message-IDs; default: the domain of the system's sender.
    kp_mail_domain: str | None = None
    kp_tick_seconds: float = Field(default=1.0, gt=0, le=1.0)
    kp_lease_seconds: float = Field(default=300.0, ge=1)
    #: How long a handed-over letter may wait for the server's answer before a lost mailer is presumed.
    kp_reply_lease_seconds: float = Field(default=900.0, ge=1)
    kp_smtp_connections: int = Field(default=10, ge=1, le=200)
    kp_smtp_timeout_seconds: float = Field(default=60.0, gt=0)
    kp_smtp_final_timeout_seconds: float = Field(default=600.0, gt=0)
    #: Letters a second that all mailers together may hand over, and to one recipient domain; None: no limit.
    kp_relay_rate: float | None = Field(default=None, gt=0)
    kp_domain_rate: float | None = Field(default=None, gt=0)
    #: None: `claim_batch` goes by the connections.
    kp_claim_batch: int | None = Field(default=None, ge=1, le=2000)
    kp_backoff_seconds: float = Field(default=300.0, gt=0)
    kp_ring_again_seconds: float = Field(default=120.0, gt=0)
    kp_grace_seconds: float = Field(default=60.0, gt=0)
    #: Where the console answers. Port 0: `run all` runs without it, `run console` takes any free port.
    kp_console_host: str = "127.0.0.1"
    kp_console_port: int = Field(default=8080, ge=0, le=65535)
    #: Where people reach the console, if that is not where it answers: a proxy's https, its path before every page;
    #: needed for signing in with company accounts.
    kp_console_url: str | None = None
    #: Whose word about the browser's address and https is taken: addresses and networks, separated by commas.
    kp_console_proxies: str = "127.0.0.1, ::1"
    #: Where a platform asks this process how it is (/livez, /readyz, /metrics); no port: nowhere; 0: any free one.
    kp_health_host: str = "127.0.0.1"
    kp_health_port: int | None = Field(default=None, ge=0, le=65535)
    #: Signing in with company accounts (OpenID Connect): the provider, what it knows us by, its claim with the name.
    kp_oidc_issuer: str | None = None
    kp_oidc_client_id: str | None = None
    kp_oidc_client_secret: SecretStr | None = None
    kp_oidc_user_claim: str = Field(default="preferred_username", min_length=1)
    #: The candidates' page: where it answers, and where candidates reach it, as letters say (RFC 8058: https).
    kp_public_host: str = "127.0.0.1"
    kp_public_port: int | None = Field(default=None, ge=0, le=65535)
    kp_public_url: str | None = None
    kp_public_proxies: str = "127.0.0.1, ::1"
    #: How long this machine keeps what candidates said, for a database restored from a backup.
    kp_said_days: int = Field(default=35, ge=1, le=400)
    #: Secrets of signed links, the one that signs first; all are believed.
    kp_link_keys: SecretStr | None = None
    #: Where letters return to that cannot be delivered, each to an address of its own; None: to their sender.
    kp_bounce_address: str | None = None
    #: The mailbox that is read for them: imaps://USER@HOST/FOLDER, how often it is looked at, and what is asked once.
    kp_imap_url: SecretStr | None = None
    kp_imap_password: SecretStr | None = None
    kp_imap_poll_seconds: float = Field(default=60.0, gt=0)
    kp_imap_timeout_seconds: float = Field(default=60.0, gt=0)
    #: Signing letters (DKIM): for which domain, by which of its keys, and the file with the private half (PEM, RSA).
    kp_dkim_domain: str | None = None
    kp_dkim_selector: str | None = None
    kp_dkim_key_file: Path | None = None
    #: For rehearsals and tests: the clock starts here and runs on. Refused unless the mail server is on loopback.
    kp_clock_start: datetime | None = None

    @property
    def claim_batch(self) -> int:
        """Orders claimed in one transaction: more where more go out at a time, as each claim has its fixed cost."""
        return self.kp_claim_batch or min(400, max(200, 8 * self.kp_smtp_connections))

    def effective_database_url(self) -> str:
        """The database's address; SQLite in the state directory where none is given."""
        return self.database_url.get_secret_value() or f"sqlite:///{self.kp_state_dir / 'kontaktpflege.sqlite3'}"

    def console_proxies(self) -> list[str]:
        """The proxies that the console trusts, one by one."""
        return _listed(self.kp_console_proxies)

    def public_proxies(self) -> list[str]:
        """The proxies that the candidates' page trusts, one by one."""
        return _listed(self.kp_public_proxies)

    def link_tokens(self) -> LinkTokens | None:
        """What signs links and reads them; None without secrets. Raises InvalidSettings."""
        secrets = split_secrets(self.kp_link_keys.get_secret_value()) if self.kp_link_keys else []
        return LinkTokens(secrets) if secrets else None

    def return_paths(self) -> ReturnPaths | None:
        """The envelope senders of letters; None without an address for bounces. Raises InvalidSettings."""
        if not self.kp_bounce_address:
            return None
        if (tokens := self.link_tokens()) is None:
            raise InvalidSettings(
                "setting KP_LINK_KEYS: is needed too for KP_BOUNCE_ADDRESS, whose addresses are signed"
            )
        return ReturnPaths(self.kp_bounce_address, tokens)


def _listed(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


#: What stands between the user and the last @ of an address: a password that is not percent-encoded holds anything.
_PASSWORD = re.compile(r"(://[^:/@?#]*:).*?(?=@[^@]*(?:,[\w.+-]+://|$))", re.DOTALL)
#: Passwords may stand behind the address too (libpq's `password`, `sslpassword`).
_SECRET_ASKED = re.compile(r"([?&][\w%-]*(?:password|secret)[\w%-]*=)[^&]*", re.IGNORECASE)
#: Names of the contract without the KP_ prefix.
BARE = frozenset({"DATABASE_URL", "BROKER_URL", "SMTP_URL", "SMTP_PASSWORD"})


def secret_names() -> list[str]:
    """The settings whose value nobody else may see, by name."""
    secret = (SecretStr, SecretStr | None)
    return [name.upper() for name, field in Settings.model_fields.items() if field.annotation in secret]


def load_settings(environ: Mapping[str, str] | None = None, dotenv: Path | None = None) -> Settings:
    """Reads and validates the settings; raises InvalidSettings naming the setting and the nearest valid name."""
    merged = given_values(environ, dotenv)
    known = {name.upper() for name in Settings.model_fields}
    values: dict[str, str] = {}
    for name, value in merged.items():
        plain = name.removesuffix("_FILE") if name.endswith("_FILE") and name not in known else name
        if plain in known and (plain in BARE or plain.startswith("KP_")):
            if plain == name or plain not in merged:
                values[plain.lower()] = value if plain == name else _read(name, value)
        elif name.startswith("KP_"):
            nearest = get_close_matches(name, known, 1)
            raise InvalidSettings(f"unknown setting {name}" + (f"; did you mean {nearest[0]}?" if nearest else ""))
    try:
        settings = Settings.model_validate(values)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        raise InvalidSettings(f"setting {str(first['loc'][0]).upper()}: {first['msg']}") from None
    _check_waiting(settings)
    _check_company_accounts(settings)
    _check_proxies(settings)
    settings.return_paths()
    _check_public(settings)
    return settings


def given_values(environ: Mapping[str, str] | None = None, dotenv: Path | None = None) -> dict[str, str]:
    """Everything that the environment and `.env` hold, ours or not."""
    return {**_dotenv(dotenv), **(os.environ if environ is None else environ)}


def _check_waiting(settings: Settings) -> None:
    """A lease that ends while its mailer still waits for the answer would make every slow letter unclear (I5)."""
    lease, wait = settings.kp_reply_lease_seconds, settings.kp_smtp_final_timeout_seconds
    if lease < wait:
        raise InvalidSettings(
            f"setting KP_REPLY_LEASE_SECONDS ({lease:g}) is shorter than KP_SMTP_FINAL_TIMEOUT_SECONDS ({wait:g}): "
            "raise the first or lower the second"
        )


def _check_company_accounts(settings: Settings) -> None:
    """Half of it would be a button that never works; and a secret goes to nobody in clear (S22)."""
    secret = settings.kp_oidc_client_secret
    given = {
        "KP_OIDC_ISSUER": settings.kp_oidc_issuer,
        "KP_OIDC_CLIENT_ID": settings.kp_oidc_client_id,
        "KP_OIDC_CLIENT_SECRET": secret.get_secret_value() if secret else None,
    }
    needed = {**given, "KP_CONSOLE_URL": settings.kp_console_url}
    if any(given.values()) and not all(needed.values()):
        missing = next(name for name, value in needed.items() if not value)
        raise InvalidSettings(f"setting {missing}: is needed too for signing in with company accounts")
    for name in ("KP_OIDC_ISSUER", "KP_CONSOLE_URL"):
        if (url := needed[name]) and not _is_private_address(url):
            raise InvalidSettings(f"setting {name}: must be https://HOST, or http:// on this machine's loopback")


def _check_proxies(settings: Settings) -> None:
    given = {"KP_CONSOLE_PROXIES": settings.console_proxies(), "KP_PUBLIC_PROXIES": settings.public_proxies()}
    for name, one in ((name, one) for name, proxies in given.items() for one in proxies):
        try:
            ip_network(one)
        except ValueError:
            raise InvalidSettings(
                f"setting {name}: {one!r} is no address or network; write for example 10.0.0.0/8"
            ) from None


def _check_public(settings: Settings) -> None:
    """A page that believes no link answers nobody; and a link is a key, which goes over no open line (S25)."""
    if settings.link_tokens() is None and settings.kp_public_port is not None:
        raise InvalidSettings("setting KP_LINK_KEYS: is needed too for the candidates' page")
    if settings.kp_public_url and not _is_private_address(settings.kp_public_url):
        raise InvalidSettings("setting KP_PUBLIC_URL: must be https://HOST, or http:// on this machine's loopback")


def _is_private_address(url: str) -> bool:
    """Whether nobody between here and there reads along, and the address is nothing but one."""
    try:
        parts = urlsplit(url)
        known = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(url))
    return safe and known and "@" not in parts.netloc and not (parts.query or parts.fragment)


def without_password(url: str) -> str:
    """An address, or several separated by commas, as it may be shown: user names kept, passwords replaced."""
    return _SECRET_ASKED.sub(r"\1***", _PASSWORD.sub(r"\1***", url))


def _dotenv(path: Path | None) -> dict[str, str]:
    file = path or Path(".env")
    return {k: v for k, v in dotenv_values(file).items() if v is not None} if file.is_file() else {}


def _read(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise InvalidSettings(f"setting {name}: {path}: {exc.strerror}") from None


def is_loopback(url: str) -> bool:
    """Whether an address names this machine's loopback interface."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
