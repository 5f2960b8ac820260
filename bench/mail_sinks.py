"""What letters are sent to: Postfix's smtp-sink for speed, and a sink of our own that answers late for latency."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.servers.processes import free_port, listens
from tests.servers.programs import program
from tests.servers.state import wait_until

#: Bytes of the headers that smtp-source writes before the `-l` bytes of a mail.
_SOURCE_HEADERS = 125


@contextmanager
def smtp_sink() -> Iterator[int]:
    """Postfix's sink on a port of loopback."""
    port = free_port()
    with _running([program("smtp-sink"), "-u", "nobody", f"127.0.0.1:{port}", "1000"], port):
        yield port


@contextmanager
def late_sink(seconds: float) -> Iterator[int]:
    """A server that answers each final dot after `seconds`, everything else at once."""
    port = free_port()
    with _running([sys.executable, "-m", "bench.late_sink", str(port), str(seconds)], port):
        yield port


@contextmanager
def _running(command: Sequence[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(port), 10, f"{command[0]} does not listen")
        yield
    finally:
        process.terminate()
        process.wait(10)


def smtp_source(port: int, letters: int, sessions: int, size: int) -> float:
    """Seconds that Postfix's generator needs for so many mails over `sessions` connections, each used again (-d).

    `size`: bytes of a mail, headers included.
    """
    body = str(size - _SOURCE_HEADERS)
    command = [program("smtp-source"), "-d", "-s", str(sessions), "-m", str(letters), "-l", body]
    began = time.perf_counter()
    subprocess.run([*command, "-f", "hr@firma.example", "-t", "a@b.example", f"127.0.0.1:{port}"], check=True)
    return time.perf_counter() - began
