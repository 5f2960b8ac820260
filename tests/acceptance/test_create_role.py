"""The application's role in PostgreSQL, as compose.yaml's container makes it: on a real server, with other names."""

import base64
import hashlib
import hmac
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from tests.servers.programs import program

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "postgresql" / "create-role.sh"
PASSWORD = "it's :'s3cret' \\ $HOME"


@pytest.fixture
def name(servers: Mapping[str, str]) -> Iterator[str]:
    """A name for role and database that nobody else uses; both are taken away at the end."""
    name = f"kp_role_{os.getpid()}"
    yield name
    with closing(psycopg.connect(servers["TEST_DATABASE_URL"], autocommit=True)) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def is_of_password(verifier: str, password: str) -> bool:
    """Whether PostgreSQL keeps this password (SCRAM-SHA-256, RFC 5803)."""
    found = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([^$]+)\$[^:]+:(.+)", verifier)
    assert found, verifier
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(found[2]), int(found[1]))
    return hmac.digest(salted, b"Server Key", "sha256") == base64.b64decode(found[3])


def test_s12_the_role_is_made_and_its_password_stands_in_no_argument(
    servers: Mapping[str, str], name: str, tmp_path: Path
) -> None:
    secret, arguments = tmp_path / "postgres_app_password", tmp_path / "arguments"
    secret.write_text(PASSWORD)
    text = SCRIPT.read_text(encoding="utf-8")
    changes = {
        "/run/secrets/postgres_app_password": str(secret),
        "ROLE kontaktpflege": f"ROLE {name}",
        "DATABASE kontaktpflege": f"DATABASE {name}",
        "OWNER kontaktpflege": f"OWNER {name}",
        "--username postgres": shlex.join(["--dbname", servers["TEST_DATABASE_URL"]]),
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    # A psql that writes down how it was called.
    (tmp_path / "psql").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{arguments}\nexec {program("psql")} "$@"\n')
    (tmp_path / "psql").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", text], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ON_ERROR_STOP=1" in arguments.read_text() and "s3cret" not in arguments.read_text()
    with closing(psycopg.connect(servers["TEST_DATABASE_URL"])) as connection:
        kept = connection.execute("SELECT rolpassword, rolsuper FROM pg_authid WHERE rolname = %s", [name]).fetchone()
    assert kept and is_of_password(kept[0], PASSWORD) and kept[1] is False
    parts = urlsplit(servers["TEST_DATABASE_URL"])
    address = f"{name}:{quote(PASSWORD, safe='')}@{parts.netloc.rpartition('@')[2]}"
    with closing(psycopg.connect(urlunsplit(parts._replace(netloc=address, path=f"/{name}")))) as own:
        own.execute("CREATE TABLE made (id int)")
