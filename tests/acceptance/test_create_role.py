"""The roles in PostgreSQL, as compose.yaml's container makes them: on a real server, with other names."""

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

from shared.db.role_grants import SHARES
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
        for role in (name, *(f"{name}_{share}" for share in SHARES)):
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def is_of_password(verifier: str, password: str) -> bool:
    """Whether PostgreSQL keeps this password (SCRAM-SHA-256, RFC 5803)."""
    found = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([^$]+)\$[^:]+:(.+)", verifier)
    assert found, verifier
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(found[2]), int(found[1]))
    return hmac.digest(salted, b"Server Key", "sha256") == base64.b64decode(found[3])


def test_s12_s17_the_roles_are_made_and_their_passwords_stand_in_no_argument(
    servers: Mapping[str, str], name: str, tmp_path: Path
) -> None:
    arguments = tmp_path / "arguments"
    for share in ("app", *SHARES):
        (tmp_path / f"postgres_{share}_password").write_text(f"{PASSWORD} {share}")
    text = SCRIPT.read_text(encoding="utf-8")
    changes = {
        "/run/secrets/": f"{tmp_path}/",
        "kontaktpflege": name,
        "--username postgres": shlex.join(["--dbname", servers["TEST_DATABASE_URL"]]),
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    # A psql that writes down how it was called.
    (tmp_path / "psql").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{arguments}\nexec {program("psql")} "$@"\n')
    (tmp_path / "psql").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for _ in range(2):  # again it makes what is missing
        done = subprocess.run(["sh", "-c", text], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "ON_ERROR_STOP=1" in arguments.read_text() and "s3cret" not in arguments.read_text()
    with closing(psycopg.connect(servers["TEST_DATABASE_URL"])) as connection:
        asked = "SELECT rolname, rolpassword, rolsuper, rolcreaterole, rolbypassrls FROM pg_authid WHERE rolname ~ %s"
        kept = {row[0]: row[1:] for row in connection.execute(asked, [f"^{name}"])}
        connects = "SELECT has_database_privilege('pg_monitor', %s, 'CONNECT')"
        assert connection.execute(connects, [name]).fetchone() == (False,)
    assert set(kept) == {name, *(f"{name}_{share}" for share in SHARES)}
    assert not any(right for verifier in kept.values() for right in verifier[1:])
    made = "CREATE TABLE made (id int)"
    for share in ("app", *SHARES):
        role, password = name if share == "app" else f"{name}_{share}", f"{PASSWORD} {share}"
        assert is_of_password(kept[role][0], password)
        with closing(psycopg.connect(address_of(servers, role, password, name))) as own:
            if share == "app":
                own.execute(made)
            elif own.info.server_version >= 150_000:  # older ones let everybody make tables
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    own.execute(made)


def address_of(servers: Mapping[str, str], role: str, password: str, database: str) -> str:
    parts = urlsplit(servers["TEST_DATABASE_URL"])
    address = f"{role}:{quote(password, safe='')}@{parts.netloc.rpartition('@')[2]}"
    return urlunsplit(parts._replace(netloc=address, path=f"/{database}"))
