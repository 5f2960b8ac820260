"""What was started, kept in a file, so that a second `up` reuses it and `down` ends it."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".state" / "test-servers"
FILE = FOLDER / "state.json"


class ServersImpossible(Exception):
    """The servers cannot be had on this machine; the text says what to install or set."""


@dataclass
class Started:
    """What `up` started. `users` are the processes that asked for it; 0 stands for the command line."""

    environment: dict[str, str] = field(default_factory=dict)
    #: Process ids with their start times: after a reboot the same id may belong to somebody else.
    processes: list[tuple[int, str]] = field(default_factory=list)
    containers: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    users: list[int] = field(default_factory=list)
    #: Whether the database is safe from a crash, at the price of waiting for the disk.
    durable: bool = True


def say(text: str) -> None:
    """Progress, on stderr: stdout is for the shell that reads the addresses."""
    print(f"test servers: {text}", file=sys.stderr, flush=True)


@contextmanager
def exclusively() -> Iterator[None]:
    """One `up` or `down` at a time, whichever process runs it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def load() -> Started | None:
    """What is on record, alive or not."""
    return Started(**json.loads(FILE.read_text())) if FILE.is_file() else None


def save(started: Started | None) -> None:
    """Puts it on record; None: nothing runs."""
    if started is None:
        FILE.unlink(missing_ok=True)
    else:
        FILE.write_text(json.dumps(asdict(started), indent=2))


def is_alive(pid: int) -> bool:
    """Whether the process runs (a zombie child does not)."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def start_time(pid: int) -> str:
    """When a process started, in the words of `ps`; empty where there is no such process."""
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def end(started: Started, seconds: float = 3.0) -> None:
    """Ends the processes that `up` started, by force when they do not go: their data is thrown away anyway."""
    ours = [pid for pid, since in started.processes if is_alive(pid) and start_time(pid) == since]
    for pid in ours:
        os.kill(pid, signal.SIGTERM)
    with suppress(ServersImpossible):
        wait_until(lambda: not any(map(is_alive, ours)), seconds, "they do not end")
    for pid in ours:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def wait_until(holds: Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Waits for a state with a deadline; raises ServersImpossible with the text `otherwise`."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise ServersImpossible(otherwise)
        time.sleep(0.1)
