"""`make test`: brings up real servers, runs the whole suite, takes the servers down, whatever happened.

Two workers share the servers: most tests wait for something, and each has a database and a vhost of its own. Those that
break things on purpose are one group, so that only one of them has its processes running at a time.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.__main__ import down, environment, up

WORKERS = ("--numprocesses=2", "--dist=loadscope")
#: Linux's folder in memory, and the bytes that must be free there: a tenth of a run is making and removing files.
_MEMORY, _ROOM = Path("/dev/shm"), 6 * 2**30


def main() -> int:
    # An end from outside takes the servers along too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with _temporary_files():
        up(durable=False)
        try:
            command = [sys.executable, "-m", "pytest", "-q", *WORKERS, *sys.argv[1:]]
            return subprocess.run(command, check=False, env=environment()).returncode
        finally:
            down()


@contextmanager
def _temporary_files() -> Iterator[None]:
    """Files of servers and tests are in memory, and end with the run, unless there is little room or a TMPDIR."""
    if "TMPDIR" in os.environ or not _has_room():
        yield
        return
    folder = tempfile.mkdtemp(prefix="kp-tests-", dir=_MEMORY)
    try:
        # A database server has a user of its own, who passes through.
        os.chmod(folder, 0o711)
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _has_room() -> bool:
    if not _MEMORY.is_dir() or os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC:
        return False
    return shutil.disk_usage(_MEMORY).free >= _ROOM


if __name__ == "__main__":
    sys.exit(main())
