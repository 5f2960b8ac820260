"""The hold: a database that is older than what was sent from it sends nothing until a person has looked (C56, C27).

Each mailer machine remembers, outside the database, the token of the last letter that it handed over. A database that
does not know that token is a restored copy of an earlier day: who got a letter since would get it again. A machine that
answers candidates remembers what they said, and holds likewise.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import Identifier
from shared.db.engine import Database
from shared.db.history import record_changes
from shared.db.prepared import Prepared
from shared.db.system_settings import lock_system_settings, read_settings_rows
from shared.db.tables import attempts, system_settings
from shared.db.write_orders.upkeep import want_ringing
from shared.errors import Refused

_S, _T = system_settings.c, attempts.c
_HOLD, _RELEASED = "hold", "hold_released"
_KNOWN = Prepared(
    lambda: select(_T.lease_token).where(
        _T.lease_token == bindparam("mark", type_=Identifier), _T.handed_over_at.is_not(None)
    )
)
#: Since when a hold is whose row does not say it.
_UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)
REASON = (
    "the database is older than what was sent from it (a restored backup?); compare the mail server's log with "
    "`kontaktpflege order list`, then `kontaktpflege hold release`"
)


async def hold_in_force(
    connection: AsyncConnection, mark: int | None, now: datetime, rows: Mapping[str, Any] | None = None
) -> str | None:
    """Why nothing may be sent, or None. `mark`: the token of the last letter this machine handed over, if it knows one.

    Begins the hold if the database does not know that hand-over, and no person has released that very mark. `rows`: the
    table of settings, where it was read in this transaction already.
    """
    kept = await read_settings_rows(connection) if rows is None else rows
    # Not the claim alone: a replica may have taken over with the claim and without what was sent after it.
    if mark is not None and _is_new(mark, kept) and not await _KNOWN.fetch(connection, mark=mark):
        # Since the settings were read another mailer may have begun the hold, and a person released it.
        await lock_system_settings(connection)
        kept = await read_settings_rows(connection)
        if _is_new(mark, kept):
            since = _told(kept[_HOLD])["since"] if _HOLD in kept else now.isoformat()
            hold = {"since": since, "reason": REASON, "marks": [*_marks(kept.get(_HOLD)), mark]}
            await _keep(connection, _HOLD, hold)
            return REASON
    return str(_told(kept[_HOLD])["reason"]) if _HOLD in kept else None


def _is_new(mark: int, kept: Mapping[str, Any]) -> bool:
    return mark not in _marks(kept.get(_HOLD)) and mark not in _marks(kept.get(_RELEASED))


async def begin_hold(connection: AsyncConnection, forgotten_at: datetime, now: datetime) -> bool:
    """Begins the hold for whoever remembers otherwise what this database forgot; `forgotten_at`: of the last of it.

    False: there is one, or a person has released one since then, which only a database can know that was restored
    before that.
    """
    rows = select(_S.name, _S.value).where(_S.name.in_((_HOLD, _RELEASED)))
    kept: dict[str, Any] = {row.name: row.value for row in await connection.execute(rows)}
    released = (kept.get(_RELEASED) or {}).get("at")
    if _HOLD in kept or (released and datetime.fromisoformat(released) >= forgotten_at):
        return False
    await _keep(connection, _HOLD, {"since": now.isoformat(), "reason": REASON, "marks": []})
    return True


async def load_hold(connection: AsyncConnection) -> dict[str, Any] | None:
    """The hold in force: since when and why."""
    found = (await connection.execute(select(_S.value).where(_S.name == _HOLD))).first()
    return _told(found.value) if found else None


async def release_hold(database: Database, *, author: str, now: datetime) -> int:
    """Lets letters go again; returns how many wait. Raises Refused if there is no hold."""
    async with database.begin() as connection:
        await lock_system_settings(connection)
        rows = select(_S.name, _S.value).where(_S.name.in_((_HOLD, _RELEASED))).with_for_update()
        kept: dict[str, Any] = {row.name: row.value for row in await connection.execute(rows)}
        if _HOLD not in kept:
            raise Refused("there is no hold")
        marks = {*_marks(kept.get(_RELEASED)), *_marks(kept[_HOLD])}
        await _keep(connection, _RELEASED, {"marks": sorted(marks), "at": now.isoformat()})
        await connection.execute(delete(system_settings).where(_S.name == _HOLD))
        await record_changes(connection, "settings", None, "hold", "release", [], author=author, now=now)
        return await want_ringing(connection, now)


def _told(kept: Any) -> dict[str, Any]:
    """Since when and why, whatever the row has: whoever takes the candidates' page over may write it (S17)."""
    said = kept if isinstance(kept, dict) else {}
    try:
        since = datetime.fromisoformat(said["since"])
    except (KeyError, TypeError, ValueError):
        since = _UNKNOWN
    # Days at the ends of the calendar have no local time everywhere.
    since = since if 1970 < since.year < 9000 else _UNKNOWN
    return {"since": since.isoformat(), "reason": str(said.get("reason") or REASON)}


def _marks(kept: Any) -> list[int]:
    marks = kept.get("marks") if isinstance(kept, dict) else None
    return [mark for mark in marks if isinstance(mark, int)] if isinstance(marks, list) else []


async def _keep(connection: AsyncConnection, name: str, value: dict[str, Any]) -> None:
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    row = dialect.insert(system_settings).values(name=name, value=value)
    # Several mailers may find out at the same moment.
    changed = row.on_conflict_do_update(index_elements=["name"], set_={"value": row.excluded.value})
    await connection.execute(changed)
