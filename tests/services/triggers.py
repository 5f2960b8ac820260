"""What `metadata.create_all` does not make: the triggers, as the migrations have them. Imported for its effect."""

from collections.abc import Collection
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, Table, event

from shared.db.service_tables import person_changes
from shared.db.tables import metadata

_FIRST = import_module("shared.db.migrations.versions.0005_changed_people")
_WISHES = import_module("shared.db.migrations.versions.0009_wishes_of_candidates")


@event.listens_for(metadata, "after_create")
def _make_triggers(_: Any, connection: Connection, tables: Collection[Table] = (), **__: Any) -> None:
    if person_changes in tables:
        dialect = connection.dialect.name
        for statement in (*_FIRST.triggers(dialect), *_WISHES.watch_wishes(dialect)):
            connection.exec_driver_sql(statement)
