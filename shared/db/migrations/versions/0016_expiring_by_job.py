"""Orders that may expire, by their job: those of a job that is Aus are passed over unread"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.drop_index("ix_write_orders__expiring", table_name="write_orders")
    where = sa.text("state IN ('planned', 'queued')")
    columns = ["job_id", "expires_at"]
    op.create_index("ix_write_orders__expiring", "write_orders", columns, postgresql_where=where, sqlite_where=where)
