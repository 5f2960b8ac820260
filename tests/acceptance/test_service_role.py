"""The services as a PostgreSQL role that owns nothing (deploy/postgresql/service-role.sql): all works."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from tests.mail_server import MailServer
from tests.servers.programs import program
from tests.stacks import Stack

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "postgresql" / "service-role.sql"
JOB, LETTERS = "Prozesshänger", 20


@pytest.fixture
def role(servers: Mapping[str, str], postgres_url: str) -> Iterator[str]:
    """A role of this test's own; it goes with all that it was granted."""
    name = sql.Identifier(named := f"kp_service_{os.getpid()}")
    with closing(psycopg.connect(servers["TEST_DATABASE_URL"], autocommit=True)) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(name))
    yield named
    with closing(psycopg.connect(postgres_url, autocommit=True)) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {}").format(name))
        connection.execute(sql.SQL("DROP ROLE {}").format(name))


def grant(url: str, role: str) -> None:
    command = [program("psql"), "-v", "ON_ERROR_STOP=1", "-v", f"role={role}", "-d", url, "-f", str(SCRIPT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_s17_s28_everything_works_and_the_history_can_only_be_added_to(
    postgres_url: str, role: str, smtp: MailServer, tmp_path: Path
) -> None:
    stack = Stack(tmp_path, postgres_url, "memory://", smtp.oracle.url)
    stack.load_many(LETTERS)
    for _ in range(2):
        grant(postgres_url, role)
    url = make_url(postgres_url).set(username=role, password="x").render_as_string(hide_password=False)
    stack.environment["DATABASE_URL"] = url
    try:
        stack.start()
        stack.answer("job", "run", JOB, "--on", "2026-11-23")
        stack.wait_for(lambda: len(smtp.accepted) == LETTERS, 60, "the letters")
        stack.wait_for(lambda: stack.answer("audit", "verify")["unsealed"] == 0, 30, "the seals")
        assert set(stack.stop().values()) == {0}
    finally:
        stack.close()
    assert stack.answer("audit", "verify")["whole"] is True
    found = json.loads(stack.cli("doctor", "--json", check=False).stdout)
    assert [one for one in found if one["check"] == "database and schema" and one["verdict"] != "ok"] == []
    assert "database and schema" in {one["check"] for one in found}
    refused = (
        "UPDATE events SET author = 'x'",
        "DELETE FROM events",
        "TRUNCATE events",
        "UPDATE event_seals SET link = ''",
        "DELETE FROM event_seals",
        "ALTER TABLE events DISABLE TRIGGER USER",
        "DROP TRIGGER events_stay ON events",
        "UPDATE alembic_version SET version_num = '9'",
    )
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        for statement in refused:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        # What it may touch it may only empty: the trigger.
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="never changed"):
            connection.execute("UPDATE events SET new = 'x'")
