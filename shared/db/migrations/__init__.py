"""Schema versions, shipped with the package (Alembic)."""
