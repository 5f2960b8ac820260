"""Indexes for the lists of the console"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_UNSENT = "state IN ('failed', 'unclear', 'no_address', 'blocked', 'withdrawn')"
_BY_HAND = "type <> 'contact_job'"


def upgrade() -> None:
    _partial("ix_write_orders__unsent", ["state", "id"], _UNSENT)
    _partial("ix_write_orders__by_hand", ["type", "id", "occasion_day"], _BY_HAND)
    recruiter = sa.text("substr(recruiter_folded, 1, 60)")
    op.create_index("ix_applications__recruiter_folded", "applications", [recruiter])
    # As text: so PostgreSQL is told that only beginnings are looked for, whatever its collation.
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    how = " text_pattern_ops" if on_postgresql else ""
    for column in ("last_name", "first_name", "email"):
        op.create_index(f"ix_applications__{column}", "applications", [sa.text(f"lower(substr({column}, 1, 60)){how}")])
    if on_postgresql:
        # How often each beginning occurs is known of an index only once it was looked at.
        op.execute("ANALYZE applications")


def _partial(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "write_orders", columns, postgresql_where=where, sqlite_where=where)
