"""A PostgreSQL cluster of our own."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.servers.processes import free_port, launch, new_folder, tail
from tests.servers.programs import program
from tests.servers.state import ServersImpossible, Started, is_alive, say, wait_until

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
}
#: Nobody kills the server that tests share, and its data ends with it: it waits for no disk.
FLEETING = {"fsync": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class PostgresCluster:
    """A cluster with its folder and port; it can be launched again after it was stopped or killed."""

    folder: Path
    port: int
    user: str | None
    #: What was committed is there after a crash, as in production: the failure tests kill servers.
    durable: bool = True

    @property
    def url(self) -> str:
        """Its address, as superuser."""
        return f"postgresql://kp_test@127.0.0.1:{self.port}/postgres"

    def launch(self, started: Started) -> int:
        """Starts it and waits until it answers; its process id. Raises ServersImpossible with its own words."""
        log = self.folder / "log"
        settings = {**_SETTINGS, **({} if self.durable else FLEETING), "port": str(self.port)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        command = [program("postgres"), "-D", str(self.folder / "data"), *options]
        pid = launch(started, command, log, user=self.user)
        check = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        wait_until(
            lambda: not is_alive(pid) or subprocess.run(check, check=False).returncode == 0,
            30,
            f"PostgreSQL does not answer:\n{tail(log)}",
        )
        if not is_alive(pid):
            raise ServersImpossible(f"PostgreSQL ended at its start:\n{tail(log)}")
        return pid


def create(started: Started, *, durable: bool = True) -> PostgresCluster:
    """A new, empty cluster, not yet launched; raises ServersImpossible with initdb's words."""
    program("postgres")
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    folder = new_folder(started, "postgresql", user)
    data = str(folder / "data")
    created = subprocess.run(
        [program("initdb"), "-D", data, "-U", "kp_test", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        capture_output=True,
        text=True,
        check=False,
        user=user,
        cwd="/",
    )
    if created.returncode != 0:
        raise ServersImpossible(f"initdb failed: {created.stderr}")
    return PostgresCluster(folder, free_port(), user, durable)


def start(started: Started) -> None:
    """Creates and starts it; raises ServersImpossible with the server's own words."""
    program("postgres")
    say("starting PostgreSQL")
    cluster = create(started, durable=started.durable)
    cluster.launch(started)
    started.environment["TEST_DATABASE_URL"] = cluster.url
