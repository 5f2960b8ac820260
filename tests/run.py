"""`make test`: brings up real servers, runs the whole suite, takes the servers down, whatever happened.

Two workers share the servers: most tests wait for something, and each has a database and a vhost of its own. Those that
break things on purpose are one group, so that only one of them has its processes running at a time.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.servers.__main__ import down, environment, up
from tests.servers.state import is_alive

WORKERS = ("--numprocesses=2", "--dist=loadscope")
#: Linux's folder in memory, and the bytes that must be free in it and of all memory: a run holds up to 1.3 GB there.
_MEMORY, _ROOM = Path("/dev/shm"), 4 * 2**30
_PREFIX = "kp-tests-"


def main() -> int:
    # An end from outside takes the servers along too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with _files_in_memory() as told:
        up(durable=False)
        try:
            command = [sys.executable, "-m", "pytest", "-q", *WORKERS, *sys.argv[1:]]
            return subprocess.run(command, check=False, env={**environment(), **told}).returncode
        finally:
            down()


@contextmanager
def _files_in_memory() -> Iterator[Mapping[str, str]]:
    """What has the tests keep their files in memory: nothing where there is little room, or a TMPDIR is asked for.

    Making and removing files is a tenth of a run on a disk.
    """
    if "TMPDIR" in os.environ or not _has_room():
        yield {}
        return
    _clear_up()
    # The servers' folders as well; who uses the servers last removes them.
    tempfile.tempdir = str(_MEMORY)
    folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")
    try:
        # A database server of a test has a user of its own, who passes through.
        os.chmod(folder, 0o711)
        yield {"TMPDIR": folder}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _clear_up() -> None:
    """Removes what killed runs have left."""
    for left in _MEMORY.glob(f"{_PREFIX}*"):
        if (made := re.match(rf"{_PREFIX}(\d+)-", left.name)) and not is_alive(int(made[1])):
            shutil.rmtree(left, ignore_errors=True)


def _has_room() -> bool:
    if not _MEMORY.is_dir() or os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC:
        return False
    free = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return free is not None and min(shutil.disk_usage(_MEMORY).free, int(free[1]) * 1024) >= _ROOM


if __name__ == "__main__":
    sys.exit(main())
