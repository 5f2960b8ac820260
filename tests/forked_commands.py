"""Commands without the second of imports that each begins with: forked from a process that has done them.

The first time in a session each command (its first two words) starts as users start it; other ways through the same
command have everything imported already.
"""

import atexit
import importlib
import json
import os
import pkgutil
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TextIO

#: Commands that this session has seen start by themselves.
_STARTED: set[tuple[str, ...]] = set()


def run_command(
    arguments: Sequence[str], environment: Mapping[str, str], stdin: TextIO | None, seconds: float
) -> subprocess.CompletedProcess[str]:
    """`kontaktpflege ARGUMENTS` in a process of its own, with this environment and nothing of ours."""
    command = tuple(word for word in arguments if word.isalpha())[:2]
    if command not in _STARTED:
        _STARTED.add(command)
        fresh = [sys.executable, "-m", "services", *arguments]
        return subprocess.run(
            fresh, env=environment, stdin=stdin, capture_output=True, text=True, timeout=seconds, check=False
        )
    wanted = json.dumps({"arguments": arguments, "environment": dict(environment), "folder": str(Path.cwd())})
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking,
        tempfile.TemporaryFile("w+", encoding="utf-8") as out,
        tempfile.TemporaryFile("w+", encoding="utf-8") as err,
        open(os.devnull, encoding="utf-8") as nothing,
    ):
        asking.settimeout(seconds)
        asking.connect(_server())
        given = [(stdin or nothing).fileno(), out.fileno(), err.fileno()]
        socket.send_fds(asking, [wanted.encode()], given)
        code = int(asking.recv(16))
        said = [file.read() for file in (out, err) if file.seek(0) == 0]
    return subprocess.CompletedProcess(arguments, code, *said)


@cache
def _server() -> str:
    """Starts the process that is forked from, once; its address."""
    folder = tempfile.mkdtemp(prefix="kp-commands-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    address = str(Path(folder) / "socket")
    command = [sys.executable, "-m", "tests.forked_commands", address]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None and server.stdout is not None
    atexit.register(server.wait)
    atexit.register(server.stdin.close)  # which ends it
    assert server.stdout.readline() == b"ready\n"
    return address


def _serve(address: str) -> None:
    """Answers until whoever started us ends."""
    import services.cli

    for module in pkgutil.iter_modules(services.cli.__path__, "services.cli."):
        importlib.import_module(module.name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while sys.stdin not in (ready := select.select([sys.stdin, listener], [], [])[0]):
            assert ready == [listener]
            asked, _ = listener.accept()
            with asked:
                if os.fork() == 0:
                    listener.close()
                    _answer(asked)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _answer(asked: socket.socket) -> None:
    """One command in a child, and its exit code to whoever asked; does not return."""
    text, given, _, _ = socket.recv_fds(asked, 2**20, 3)
    child = os.fork()
    if child == 0:
        wanted = json.loads(text)
        for ours, theirs in enumerate(given):
            os.dup2(theirs, ours)
            os.close(theirs)
        os.chdir(wanted["folder"])
        os.environ.clear()
        os.environ.update(wanted["environment"])
        sys.argv = ["kontaktpflege", *wanted["arguments"]]
        from services.cli.app import main

        main()
        sys.exit()
    _, status = os.waitpid(child, 0)
    asked.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


if __name__ == "__main__":
    _serve(sys.argv[1])
