"""Every move of a write order between states, written down by the database itself; and those that are documented."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

DOCUMENT = Path(__file__).parents[2] / "docs" / "write-order-states.md"
_COLUMNS = "order_id, old_state, old_phase, new_state, new_phase"
_VALUES = "NEW.id, OLD.state, OLD.phase, NEW.state, NEW.phase"
_MOVED = "OLD.state <> NEW.state OR COALESCE(OLD.phase, '') <> COALESCE(NEW.phase, '')"
_TABLE = f"""CREATE TABLE state_moves (
    position {{serial}}, {_COLUMNS.replace(",", " TEXT,").replace("order_id TEXT", "order_id INTEGER")} TEXT)"""
_INSERT = f"INSERT INTO state_moves ({_COLUMNS}) VALUES ({_VALUES});"
_ON_SQLITE = (
    _TABLE.format(serial="INTEGER PRIMARY KEY"),
    f"CREATE TRIGGER note_move AFTER UPDATE ON write_orders WHEN {_MOVED} BEGIN {_INSERT} END",
)
_ON_POSTGRESQL = (
    _TABLE.format(serial="BIGSERIAL PRIMARY KEY"),
    f"CREATE FUNCTION note_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_INSERT} RETURN NULL; END $$",
    f"CREATE TRIGGER note_move AFTER UPDATE ON write_orders FOR EACH ROW WHEN ({_MOVED}) EXECUTE FUNCTION note_move()",
)


@dataclass(frozen=True)
class Move:
    """One committed change of state or phase."""

    order_id: int
    old: str
    new: str


async def write_down_moves(connection: AsyncConnection) -> None:
    """Makes the database keep every move from now on."""
    for statement in _ON_SQLITE if connection.dialect.name == "sqlite" else _ON_POSTGRESQL:
        await connection.execute(text(statement))


async def take_moves(connection: AsyncConnection) -> list[Move]:
    """The moves since the last call, in order."""
    rows = (await connection.execute(text(f"SELECT {_COLUMNS} FROM state_moves ORDER BY position"))).all()
    await connection.execute(text("DELETE FROM state_moves"))
    return [Move(r.order_id, _named(r.old_state, r.old_phase), _named(r.new_state, r.new_phase)) for r in rows]


def _named(state: str, phase: str | None) -> str:
    return f"{state} / {phase.replace('_', ' ')}" if phase else state


def documented_moves() -> set[tuple[str, str]]:
    """(from, to) of the document's table, and what its text says of a resend that is stopped."""
    found = set(_rows_of_the_table())
    return found | {(state, "unclear") for state in ("queued", "sending / claimed")}


def _rows_of_the_table() -> Iterator[tuple[str, str]]:
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0] not in ("from", "---"):
            yield from ((old, new) for old in _states(cells[0]) for new in _states(cells[1]))


def _states(cell: str) -> list[str]:
    return ["sending / claimed" if name == "claimed" else name for name in cell.split(", ")]
