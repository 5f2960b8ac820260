"""`make test`: brings up real servers, runs the whole suite, takes the servers down, whatever happened."""

import signal
import subprocess
import sys

from tests.servers.__main__ import down, environment, up


def main() -> int:
    # An end from outside takes the servers along too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    up()
    try:
        command = [sys.executable, "-m", "pytest", "-q", *sys.argv[1:]]
        return subprocess.run(command, check=False, env=environment()).returncode
    finally:
        down()


if __name__ == "__main__":
    sys.exit(main())
