"""`python -m tests.servers up [--env FILE]` and `python -m tests.servers down`."""

import argparse
import os
import shlex
import shutil
import sys
from pathlib import Path

from tests.servers import docker, postgresql, rabbitmq
from tests.servers.given import check_given
from tests.servers.state import ServersImpossible, Started, end, exclusively, is_alive, load, save, say, start_time

#: The user that stands for the command line: such servers stay until `down` is asked for.
_COMMAND_LINE = 0
_NAMES = ("TEST_AMQP_URL", "TEST_AMQP_MANAGEMENT_URL", "TEST_AMQP_METRICS_URL", "TEST_DATABASE_URL")


def up(user: int | None = None, *, durable: bool = True) -> None:
    """Has both servers running; raises ServersImpossible with what to do. `user`: this process by default.

    `durable`: the database waits for its disk at each commit, as in production. Tests need no such thing: they pass
    False, which is content with any.
    """
    with exclusively():
        started = load()
        alive = {other for other in (started.users if started else ()) if other == _COMMAND_LINE or is_alive(other)}
        if started is not None and alive and durable and not started.durable:
            raise ServersImpossible("a run of the tests has its servers here, which wait for no disk: let it end first")
        if started is None or not _runs(started) or (durable and not started.durable):
            if started is not None:
                _end(started)
            started = _start(durable)
        started.users = sorted(alive | {os.getpid() if user is None else user})
        save(started)
    for name, value in started.environment.items():
        say(f"{name}={value}")


def down(user: int | None = None) -> None:
    """Gives the servers up; they end with their last user, or at once when the command line asks (user 0)."""
    with exclusively():
        started = load()
        if started is None:
            return
        mine = os.getpid() if user is None else user
        started.users = [u for u in started.users if u != mine and (u == _COMMAND_LINE or is_alive(u))]
        if started.users and mine != _COMMAND_LINE:
            save(started)
        else:
            _end(started)


def environment() -> dict[str, str]:
    """This process's environment with the addresses of the servers that run."""
    started = load()
    return {**os.environ, **(started.environment if started else {})}


def _start(durable: bool) -> Started:
    started = Started(durable=durable)
    given = {name: os.environ[name] for name in _NAMES if os.environ.get(name)}
    check_given(given)
    started.environment.update(given)
    missing = [name for name in ("TEST_AMQP_URL", "TEST_DATABASE_URL") if name not in given]
    source = docker if missing and docker.is_running() else None
    try:
        if "TEST_AMQP_URL" in missing:
            (source.start_rabbitmq if source else rabbitmq.start)(started)
        if "TEST_DATABASE_URL" in missing:
            (source.start_postgresql if source else postgresql.start)(started)
    except BaseException:
        _end(started)
        raise
    return started


def _runs(started: Started) -> bool:
    wanted = {name: value for name in _NAMES if (value := os.environ.get(name))}
    ours = (is_alive(pid) and start_time(pid) == since for pid, since in started.processes)
    alive = all(ours) and all(docker.runs(name) for name in started.containers)
    return alive and all(started.environment.get(name) == value for name, value in wanted.items())


def _end(started: Started) -> None:
    end(started)
    for name in started.containers:
        docker.remove(name)
    for folder in started.folders:
        shutil.rmtree(folder, ignore_errors=True)
    save(None)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    parser.add_argument("command", choices=("up", "down"))
    parser.add_argument("--env", type=Path, metavar="FILE", help="write the export lines here, not to stdout")
    arguments = parser.parse_args()
    try:
        if arguments.command == "down":
            down(_COMMAND_LINE)
            return 0
        up(_COMMAND_LINE)
    except ServersImpossible as exc:
        print(exc, file=sys.stderr)
        return 1
    lines = "".join(f"export {n}={shlex.quote(v)}\n" for n, v in environment().items() if n in _NAMES)
    if arguments.env:
        arguments.env.write_text(lines)
    else:
        print(lines, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
