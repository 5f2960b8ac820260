"""The database: the truth about jobs, people and letters. PostgreSQL or SQLite, by SQLAlchemy Core."""
