"""The services as PostgreSQL roles that own nothing (`migrate --grant`): all works, nothing else is allowed (S17)."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from shared.db.role_grants import GRANTS, SHARES, Share
from tests.mail_server import MailServer
from tests.stacks import Stack

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


def test_s17_s28_everything_works_and_the_history_can_only_be_added_to(
    postgres_url: str, role: str, smtp: MailServer, tmp_path: Path
) -> None:
    stack = Stack(tmp_path, postgres_url, "memory://", smtp.oracle.url)
    stack.load_many(LETTERS)
    for _ in range(2):
        assert f"role {role} has the rights of service" in stack.cli("migrate", f"--grant=service={role}").stdout
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


#: What nobody may do who hears strangers, whatever the words of the statement.
NEVER: tuple[LiteralString, ...] = (
    "SELECT first_name FROM applications",
    "SELECT last_name FROM applications",
    "SELECT birth_date FROM applications",
    "SELECT * FROM applications",
    "SELECT phone, street, city FROM applications",
    "SELECT email FROM applications",
    "SELECT identity FROM persons",
    "SELECT value FROM custom_fields",
    "SELECT body FROM contact_entries",
    "SELECT subject FROM contact_entries",
    "SELECT subject FROM write_orders",
    "SELECT subject FROM form_letter_versions",
    "SELECT name FROM form_letters",
    "SELECT content FROM attachments",
    "SELECT reply_text FROM attempts",
    "SELECT reason FROM blocks",
    "SELECT old, new FROM events",
    "SELECT password_hash FROM users",
    "SELECT display_name FROM users",
    "SELECT token_hash FROM console_sessions",
    "SELECT key_hash FROM suppressions",
    "DELETE FROM suppressions",
    "SELECT asked_by FROM approvals",
    "UPDATE approvals SET state = 'approved'",
    "UPDATE contact_jobs SET status = 'on'",
    "UPDATE applications SET email = 'x@y.example'",
    "UPDATE write_orders SET email = 'x@y.example'",
    "UPDATE write_orders SET application_id = 1",
    "INSERT INTO write_orders SELECT * FROM write_orders",
    "INSERT INTO applications (external_id) VALUES ('x')",
    "INSERT INTO users (name) VALUES ('x')",
    "UPDATE users SET role = 'admin'",
    "DELETE FROM applications",
    "DELETE FROM persons",
    "DELETE FROM write_orders",
    "DELETE FROM contact_entries",
    "DELETE FROM candidate_requests",
    "DELETE FROM wishes_to_note",
    "DELETE FROM events",
    "UPDATE events SET old = NULL",
    "TRUNCATE events",
    "UPDATE alembic_version SET version_num = '9'",
    "CREATE TABLE mine (id int)",
    "ALTER TABLE system_settings DISABLE ROW LEVEL SECURITY",
    "DROP POLICY everybody ON system_settings",
    "SET ROLE kp_test",
)
#: And what only one of them may not: the page reads no address, the mailbox reader neither wishes nor queries.
NOR: dict[Share, tuple[LiteralString, ...]] = {
    "public": (
        "SELECT usable_email FROM applications",
        "SELECT returned_email FROM applications",
        "SELECT email FROM write_orders",
        "SELECT message_id FROM write_orders",
        "SELECT email FROM users",
        "SELECT identity FROM returned_mails",
        "UPDATE applications SET usable_email = 'x@y.example'",
        "INSERT INTO contact_entries (body) VALUES ('x')",
        "SELECT person_id FROM wishes_to_note",
    ),
    "mailbox": (
        "SELECT opted_out_at FROM persons",
        "UPDATE persons SET opted_out_at = NULL",
        "UPDATE blocks SET lifted_at = now()",
        "SELECT words FROM candidate_requests",
        "SELECT filters FROM application_queries",
        "UPDATE applications SET status_id = 1",
        "UPDATE write_orders SET state = 'withdrawn'",
        "SELECT answer FROM consent_requests",
    ),
}
#: Rows of the settings that each of them sees, of those that there are.
SEEN: dict[Share, set[str]] = {"public": {"time_zone", "company", "instance_id"}, "mailbox": {"sender"}}


@pytest.mark.parametrize("share", ["public", "mailbox"])
def test_s17_who_hears_strangers_may_read_and_change_what_it_needs_and_nothing_else(
    postgres_url: str, role: str, share: Share, smtp: MailServer, tmp_path: Path
) -> None:
    stack = Stack(tmp_path, postgres_url, "memory://", smtp.oracle.url)
    stack.load_many(1)
    stack.cli("person", "opt-out", "T-0000")
    with closing(psycopg.connect(postgres_url, autocommit=True)) as connection:
        connection.execute("INSERT INTO system_settings VALUES ('company', '\"Firma\"') ON CONFLICT DO NOTHING")
        connection.execute("INSERT INTO system_settings VALUES ('time_zone', '\"UTC\"') ON CONFLICT DO NOTHING")
        kept = {name for (name,) in connection.execute("SELECT name FROM system_settings")}
    assert {"suppression_key", "instance_id"} < kept
    # A role that had more before has its share only afterwards.
    for given in ("service", share, share):
        stack.cli("migrate", f"--grant={given}={role}")
    url = make_url(postgres_url).set(username=role, password="x").render_as_string(hide_password=False)
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        for statement in (*NEVER, *NOR[share]):
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedColumn)) as refused:
                connection.execute(statement)
            assert isinstance(refused.value, psycopg.errors.InsufficientPrivilege), statement
        seen = {name for (name,) in connection.execute("SELECT name FROM system_settings")}
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO system_settings VALUES ('sync_minutes', '1')")
        # The page begins the hold, and changes no other row.
        if share == "public":
            assert connection.execute("UPDATE system_settings SET value = '1'").rowcount == 0
            connection.execute("INSERT INTO system_settings VALUES ('hold', '{}')")
            assert connection.execute("UPDATE system_settings SET value = '1'").rowcount == 1
        else:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("UPDATE system_settings SET value = '1'")
    assert seen == SEEN[share] & kept
    # For everybody else nothing has changed.
    stack.cli("migrate", f"--grant=service={role}")
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        assert {name for (name,) in connection.execute("SELECT name FROM system_settings")} - {"hold"} == kept


def test_s17_no_share_but_the_services_reads_a_whole_table_of_people() -> None:
    people = {"applications", "persons", "contact_entries", "write_orders", "users", "candidate_requests", "events"}
    for share in SHARES[1:]:
        whole = {table for table, rights in GRANTS[share].items() if rights.get("SELECT") == "*"}
        assert not whole & people and "DELETE" not in {
            right for table, rights in GRANTS[share].items() if table != "service_instances" for right in rights
        }


def test_s17_a_role_that_is_not_there_or_owns_the_tables_is_refused(postgres_url: str, tmp_path: Path) -> None:
    stack = Stack(tmp_path, postgres_url, "memory://", "smtp://127.0.0.1:1")
    owner = str(make_url(postgres_url).username)
    for given, said in (
        ("public=nobody_of_that_name", "there is no such role"),
        (f"public={owner}", "may do everything anyhow"),
        ("publik=x", "one of service, public, mailbox"),
        ("public", "write SHARE=ROLE"),
    ):
        done = stack.cli("migrate", f"--grant={given}", check=False)
        assert done.returncode == 1 and said in done.stderr
    done = stack.cli("migrate", "--grant=public=x", check=False, DATABASE_URL=f"sqlite:///{tmp_path}/x.sqlite3")
    assert done.returncode == 1 and "only for PostgreSQL" in done.stderr
