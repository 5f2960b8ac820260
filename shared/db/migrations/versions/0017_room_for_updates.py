"""Half of a page of orders stays free: an order's hand-over finds room beside its claim, and touches no index"""

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        # A claim takes all orders of a page at once, and its versions of them fill the room that new pages leave.
        op.execute("ALTER TABLE write_orders SET (fillfactor = 50)")
