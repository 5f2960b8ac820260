"""Users who may not act any more"""

import sqlalchemy as sa
from alembic import op

from shared.db.column_types import Instant

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("users", sa.Column("locked_at", Instant()))
