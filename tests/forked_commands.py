"""Commands and services without the second of imports that each begins with: forked from a process that has done them.

The first time in a run of the tests each command (its first two words) starts as users start it; other ways through the
same command have everything imported already.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO, Protocol, TextIO

#: Commands that this session has seen start by themselves.
_STARTED: set[tuple[str, ...]] = set()


def run_command(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    stdin: TextIO | None,
    seconds: float,
    folder: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """`kontaktpflege ARGUMENTS` in a process of its own, with this environment and nothing of ours but the folder."""
    if _is_first(arguments):
        return subprocess.run(
            _fresh(arguments),
            env=environment,
            cwd=folder,
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as out,
        tempfile.TemporaryFile("w+", encoding="utf-8") as err,
        open(os.devnull, encoding="utf-8") as nothing,
    ):
        given = [(stdin or nothing).fileno(), out.fileno(), err.fileno()]
        process = ForkedProcess(arguments, environment, given, folder)
        code = process.wait(seconds)
        said = [file.read() for file in (out, err) if file.seek(0) == 0]
    return subprocess.CompletedProcess(arguments, code, *said)


class Process(Protocol):
    """What tests do with a service that runs."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...
    @property
    def returncode(self) -> int | None: ...


def start_service(role: str, environment: Mapping[str, str], log: BinaryIO, *, fresh: bool = False) -> Process:
    """`kontaktpflege run ROLE`, its output into the log. `fresh`: as users start it, whoever started before."""
    arguments = ("run", role)
    if _is_first(arguments) or fresh:
        return subprocess.Popen(_fresh(arguments), env=environment, stdout=log, stderr=log)
    with open(os.devnull, encoding="utf-8") as nothing:
        return ForkedProcess(arguments, environment, [nothing.fileno(), log.fileno(), log.fileno()])


class ForkedProcess:
    """One forked command, as `subprocess.Popen` has them; signals reach it by its descriptor and nobody else."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        given: Sequence[int],
        folder: Path | None = None,
    ) -> None:
        """`given`: descriptors of its input, output and errors. `folder`: it works there, by default where we do."""
        there = str(folder or Path.cwd())
        wanted = json.dumps({"arguments": arguments, "environment": dict(environment), "folder": there})
        self.returncode: int | None = None
        self._arguments = arguments
        self._asking = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._asking.connect(_server())
        socket.send_fds(self._asking, [wanted.encode()], given)
        text, (self._descriptor,), _, _ = socket.recv_fds(self._asking, 16, 1)
        self.pid = int(text)

    def poll(self) -> int | None:
        """The exit code, or minus the signal; None while it runs."""
        if self.returncode is None and select.select([self._asking], [], [], 0)[0]:
            self._ended()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._asking], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(list(self._arguments), timeout or 0)
            self._ended()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self) -> None:
        self.returncode = int(self._asking.recv(16))
        self._asking.close()
        os.close(self._descriptor)


def _is_first(arguments: Sequence[str]) -> bool:
    command = tuple(word for word in arguments if word.isalpha())[:2]
    if command in _STARTED:
        return False
    _STARTED.add(command)
    return True


def _fresh(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "services", *arguments]


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
    import services

    for module in pkgutil.walk_packages(services.__path__, "services."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # a child that looked through it all would copy it
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
        asked.close()
        wanted = json.loads(text)
        for ours, theirs in enumerate(given):
            os.dup2(theirs, ours)
            os.close(theirs)
        os.chdir(wanted["folder"])
        os.environ.clear()
        os.environ.update(wanted["environment"])
        sys.argv = ["kontaktpflege", *wanted["arguments"]]
        _work()
    for ours in given:
        os.close(ours)
    descriptor = os.pidfd_open(child)
    with suppress(BrokenPipeError):
        socket.send_fds(asked, [str(child).encode()], [descriptor])
    _, status = os.waitpid(child, 0)
    asked.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _work() -> None:
    """The command, to the end of its threads and of what it has registered for its end; does not return."""
    from services.cli.app import main

    try:
        main()
        code = 0
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        code = end.code or 0
    # As the interpreter does it. It would take itself apart then, which copies all that is shared with who forked us.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
