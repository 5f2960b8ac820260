"""The system's settings as rows: what `apply` writes and every service reads afresh."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.prepared import Prepared
from shared.db.tables import system_settings
from shared.domain.seals import seal_of

_ROWS = Prepared(lambda: select(system_settings.c.name, system_settings.c.value))


@dataclass(frozen=True, slots=True)
class SystemSettings:
    """What holds for all jobs. Defaults are those of a new system."""

    time_zone: str = "Europe/Berlin"
    #: 'off', 'at_once' or {'after_months': N} (D42).
    reduce_core_data: str | dict[str, int] = "off"
    core_data_keeps: tuple[str, ...] = ("email", "phone")
    leap_day_birthday: str = "march_1"
    sender: str = "Kontaktpflege <kontaktpflege@localhost.localdomain>"
    company: str | None = None
    catch_up_hours: float = 6
    sync_minutes: float = 5
    frequency_cap_days: int = 0
    duplicate_keys: tuple[str, ...] = ("salutation", "first_name", "last_name", "birth_date")
    #: Whether An, and sending an unclear letter again, need a second user (S23).
    four_eyes: bool = False
    #: Made once per database; part of every Message-ID.
    instance_id: str = ""

    @property
    def zone(self) -> ZoneInfo:
        """The system's time zone."""
        return ZoneInfo(self.time_zone)


async def read_settings_rows(connection: AsyncConnection) -> dict[str, Any]:
    """Every row of the table: settings, and what else is kept there once."""
    return {row.name: row.value for row in await _ROWS.fetch(connection)}


def settings_in(rows: Mapping[str, Any]) -> SystemSettings:
    """The settings that these rows tell; defaults where no row exists."""
    known = {field.name for field in fields(SystemSettings)}
    return SystemSettings(**{name: _hashable(value) for name, value in rows.items() if name in known})


async def load_system_settings(connection: AsyncConnection) -> SystemSettings:
    """The settings in force."""
    return settings_in(await read_settings_rows(connection))


async def lock_system_settings(connection: AsyncConnection) -> None:
    """Nobody else writes settings until the transaction ends, who takes this lock first; the jobs' come before it."""
    identity = select(system_settings.c.name).where(system_settings.c.name == "instance_id")
    await connection.execute(identity.with_for_update(key_share=True))


async def save_system_settings(connection: AsyncConnection, changes: dict[str, Any]) -> None:
    """Writes the given settings; the others stay."""
    if changes:
        await connection.execute(delete(system_settings).where(system_settings.c.name.in_(list(changes))))
        await connection.execute(insert(system_settings), [{"name": n, "value": v} for n, v in changes.items()])


async def ensure_instance_id(connection: AsyncConnection) -> None:
    """Gives a new database its identity."""
    if not (await load_system_settings(connection)).instance_id:
        await save_system_settings(connection, {"instance_id": str(uuid.uuid4())})


def as_plain(settings: SystemSettings) -> dict[str, Any]:
    """The settings as written in a setup file, without what the system made itself."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}
    plain.pop("instance_id")
    return plain


def seal_of_settings(settings: SystemSettings) -> str:
    """Another text as soon as one of them is changed."""
    return seal_of(as_plain(settings))


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
