"""Starting a server program of our own: free ports on loopback, a folder of its own, output into a file."""

import os
import pwd
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from random import SystemRandom

from tests.servers.state import Started, start_time

#: Below those that Linux gives to outgoing connections (ip_local_port_range): these take what was free just now.
_PORTS = range(15_000, 32_000)


def free_port() -> int:
    """A port on loopback that was free a moment ago; hardly ever one that another process has just been given."""
    # Not from a generator that every worker of a run seeds alike.
    for port in SystemRandom().sample(_PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"no free port in 100 of {_PORTS}")


def listens(port: int) -> bool:
    """Whether something accepts connections on that port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def new_folder(started: Started, name: str, owner: str | None = None) -> Path:
    """A folder outside the checkout (another user must be able to reach it), removed by `down`."""
    folder = Path(tempfile.mkdtemp(prefix=f"kp-test-{name}-"))
    started.folders.append(str(folder))
    if owner:
        account = pwd.getpwnam(owner)
        os.chown(folder, account.pw_uid, account.pw_gid)
    return folder


def launch(
    started: Started, command: list[str], log: Path, environment: dict[str, str] | None = None, user: str | None = None
) -> int:
    """Starts a program in a session of its own, so that it outlives this process; returns its pid."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            cwd="/",
            user=user,
            group=pwd.getpwnam(user).pw_gid if user else None,
            extra_groups=[] if user else None,
            start_new_session=True,
        )
    started.processes.append((process.pid, start_time(process.pid)))
    return process.pid


def tail(log: Path) -> str:
    """The end of a server's output, for the message that says why it did not start."""
    return log.read_text(errors="replace")[-1500:] if log.is_file() else ""
