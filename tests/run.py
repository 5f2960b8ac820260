"""`make test`: brings up real servers, runs the whole suite, takes the servers down, whatever happened.

Two workers share the servers: most tests wait for something, and each has a database and a vhost of its own. Those that
break things on purpose are one group, so that only one of them has its processes running at a time.
"""

import signal
import subprocess
import sys

from tests.servers.__main__ import down, environment, up

WORKERS = ("--numprocesses=2", "--dist=loadscope")


def main() -> int:
    # An end from outside takes the servers along too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    up(durable=False)
    try:
        command = [sys.executable, "-m", "pytest", "-q", *WORKERS, *sys.argv[1:]]
        return subprocess.run(command, check=False, env=environment()).returncode
    finally:
        down()


if __name__ == "__main__":
    sys.exit(main())
