"""Where the server programs are on this machine; installs Debian's packages where they are missing and we may."""

import os
import shutil
import subprocess
from glob import glob
from pathlib import Path

from tests.servers.state import ServersImpossible, say

#: Folders outside PATH that hold the programs: Debian's packages and Homebrew on both kinds of Mac.
_FOLDERS = (
    "/usr/lib/rabbitmq/bin",
    "/usr/lib/postgresql/*/bin",
    "/opt/homebrew/opt/*/sbin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/*/sbin",
    "/usr/local/opt/postgresql*/bin",
)
#: Programs whose package has another name. The name service comes with RabbitMQ's Erlang.
_PACKAGES = {
    "dovecot": "dovecot-imapd",
    "epmd": "rabbitmq-server",
    "initdb": "postgresql",
    "postgres": "postgresql",
    "promtool": "prometheus",
    "rabbitmqctl": "rabbitmq-server",
    "smtp-sink": "postfix",
    "smtp-source": "postfix",
}
_HOW = """\
Real servers are needed and none can be had here. Do one of these:
  - set TEST_AMQP_URL and TEST_DATABASE_URL to servers for tests (databases and vhosts are made there);
  - start Docker;
  - Debian or Ubuntu: sudo apt-get install rabbitmq-server postgresql
  - macOS: brew install rabbitmq postgresql@16"""


def program(name: str) -> str:
    """The path of a server program, installed if need be; raises ServersImpossible saying what to do."""
    path = _find(name)
    if path is None:
        install(name, _PACKAGES.get(name, name))
        path = _find(name)
    if path is None:
        raise ServersImpossible(f"{name} was not found.\n{_HOW}")
    return path


def _find(name: str) -> str | None:
    # Debian's wrapper in PATH changes to another user and reads the machine's own node's settings: look here first.
    for pattern in _FOLDERS:
        for folder in sorted(glob(pattern), key=_version, reverse=True):
            if os.access(Path(folder) / name, os.X_OK):
                return str(Path(folder) / name)
    return shutil.which(name)


def _version(folder: str) -> int:
    digits = "".join(letter for letter in folder if letter.isdigit())
    return int(digits or 0)


def install(name: str, package: str) -> None:
    """Installs Debian's package for something; raises ServersImpossible where that cannot be."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise ServersImpossible(f"{name} is not installed, and only root on Debian can have it installed.\n{_HOW}")
    say(f"installing Debian's package {package}")
    command = [apt, "install", "-y", "--no-install-recommends", package]
    if _run(command) != 0:
        _run([apt, "update"])
        if _run(command) != 0:
            raise ServersImpossible(f"apt-get install {package} failed (see above).\n{_HOW}")


def _run(command: list[str]) -> int:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        say(f"{' '.join(command)}: {finished.stderr.strip()[-800:]}")
    return finished.returncode
