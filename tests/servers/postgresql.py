"""A PostgreSQL cluster of our own."""

import os
import subprocess

from tests.servers.processes import free_port, launch, new_folder, tail
from tests.servers.programs import program
from tests.servers.state import ServersImpossible, Started, is_alive, say, wait_until

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    # The failure tests kill servers: what was committed must be there afterwards, as in production.
    "fsync": "on",
}


def start(started: Started) -> None:
    """Creates and starts it; raises ServersImpossible with the server's own words."""
    server = program("postgres")
    say("starting PostgreSQL")
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    folder, port = new_folder(started, "postgresql", user), free_port()
    data, log = folder / "data", folder / "log"
    created = subprocess.run(
        [program("initdb"), "-D", str(data), "-U", "kp_test", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        capture_output=True,
        text=True,
        check=False,
        user=user,
        cwd="/",
    )
    if created.returncode != 0:
        raise ServersImpossible(f"initdb failed: {created.stderr}")
    options = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": str(port)}.items()]
    pid = launch(started, [server, "-D", str(data), *options], log, user=user)
    check = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    wait_until(
        lambda: not is_alive(pid) or subprocess.run(check, check=False).returncode == 0,
        30,
        f"PostgreSQL does not answer:\n{tail(log)}",
    )
    if not is_alive(pid):
        raise ServersImpossible(f"PostgreSQL ended at its start:\n{tail(log)}")
    started.environment["TEST_DATABASE_URL"] = f"postgresql://kp_test@127.0.0.1:{port}/postgres"
