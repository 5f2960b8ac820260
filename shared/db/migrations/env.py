"""Alembic's entry point: runs on the connection that shared.db.migrate hands over."""

from typing import Any, Literal

from alembic import context

from shared.db import column_types
from shared.db.tables import metadata

connection = context.config.attributes["connection"]


def _our_types(kind: str, item: Any, _: Any) -> str | Literal[False]:
    if kind != "type":
        return False
    if isinstance(item, column_types.Instant):
        return "Instant()"
    ours = {id(getattr(column_types, name)): name for name in ("PlainText", "Identifier", "Json")}
    return ours.get(id(item), False)


context.configure(
    connection=connection,
    target_metadata=metadata,
    compare_type=True,
    render_item=_our_types,
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
