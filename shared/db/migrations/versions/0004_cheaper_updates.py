"""Orders under way and their attempts: updates that touch no index"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

#: Percent of a page that inserts fill on PostgreSQL; the rest is for new versions of its rows (HOT updates).
_FILL = {"attempts": 50, "write_orders": 80, "applications": 90, "persons": 90}


def upgrade() -> None:
    for old, state, column in (("lease_until", "sending", "id"), ("unclear", "unclear", "expires_at")):
        op.drop_index(f"ix_write_orders__{old}", table_name="write_orders")
        where = sa.text(f"state = '{state}'")
        op.create_index(
            f"ix_write_orders__{state}", "write_orders", [column], postgresql_where=where, sqlite_where=where
        )
    if op.get_bind().dialect.name == "postgresql":
        for table, percent in _FILL.items():
            op.execute(f"ALTER TABLE {table} SET (fillfactor = {percent})")
