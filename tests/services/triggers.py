"""What `metadata.create_all` does not make: the triggers, as the migrations have them. Imported for its effect."""

from collections.abc import Collection
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, Table, event

from shared.db.audit_tables import unsealed_events
from shared.db.service_tables import person_changes
from shared.db.tables import metadata

#: A table that comes with a migration -> what watches it.
_TRIGGERS = {
    person_changes: (
        import_module("shared.db.migrations.versions.0005_changed_people").triggers,
        import_module("shared.db.migrations.versions.0009_wishes_of_candidates").watch_wishes,
    ),
    unsealed_events: (import_module("shared.db.migrations.versions.0011_a_history_that_can_be_proven").triggers,),
}


@event.listens_for(metadata, "after_create")
def _make_triggers(_: Any, connection: Connection, tables: Collection[Table] = (), **__: Any) -> None:
    for table, watches in _TRIGGERS.items():
        if table in tables:
            for watch in watches:
                for statement in watch(connection.dialect.name):
                    connection.exec_driver_sql(statement)
