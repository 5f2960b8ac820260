"""The run's own broker and database, to be killed, restarted and wiped."""

import os
import re
import shutil
import signal
import subprocess
from contextlib import closing, suppress

import psycopg

from shared.bus.topology import ROUTES
from tests.servers import postgresql, rabbitmq
from tests.servers.fresh import manage
from tests.servers.programs import program
from tests.servers.state import ServersImpossible, Started, end, is_alive, wait_until

_ACCOUNT = ("guest", "guest")


class Broker:
    """A RabbitMQ node of the run."""

    def __init__(self) -> None:
        self._started = Started()
        self._node = rabbitmq.create(self._started)
        self._pid = self._node.launch(self._started)
        self.url = self._node.url
        self.management_url = self._node.management_url
        self.folder = self._node.folder
        #: What its own programs need to find it.
        self.environment = self._node.environment

    def kill(self) -> None:
        """kill -9 of the node; its name service stays."""
        _kill(self._pid)

    def start(self) -> None:
        """Starts it again."""
        self._pid = self._node.launch(self._started)

    def stop(self) -> None:
        """An orderly stop."""
        os.killpg(self._pid, signal.SIGTERM)
        wait_until(lambda: not is_alive(self._pid), 40, "RabbitMQ does not stop")

    def wipe(self) -> None:
        """kill -9, and all its data is gone: queues, messages, policies."""
        self.kill()
        shutil.rmtree(self._node.folder / "data")

    def delete_queue(self, name: str) -> None:
        """Somebody deletes a queue with everything in it, as soon as there is one and its management answers."""
        with suppress(ServersImpossible):
            wait_until(lambda: self._is_deleted(name), 20, f"{name} cannot be deleted")

    def _is_deleted(self, name: str) -> bool:
        # A broker that has just come back answers at its management port later than at its own.
        try:
            self.manage("DELETE", f"queues/%2F/{name}")
        except OSError:
            return False
        return True

    def limit_queues(self, length: int | None) -> None:
        """Queues refuse messages beyond a length; None: no more limit."""
        if length is None:
            self.manage("DELETE", "policies/%2F/full")
            return
        limit = {"max-length": length, "overflow": "reject-publish"}
        names = "|".join(re.escape(route.queue) for route in ROUTES)
        policy = {"pattern": f"^({names})$", "definition": limit, "apply-to": "queues"}
        self.manage("PUT", "policies/%2F/full", policy)

    def memory_alarm(self, *, raised: bool) -> None:
        """The broker holds every publisher back, or no longer."""
        self._control("set_vm_memory_high_watermark", "0.00001" if raised else "0.6")

    def end_dead_letter_workers(self) -> None:
        """What deleting a queue just when it got a leader does to the node: nobody confirms dead letters any more."""
        self._control("eval", "supervisor:terminate_child(rabbit_sup, rabbit_fifo_dlx_sup).")

    def _control(self, *arguments: str) -> None:
        command = [program("rabbitmqctl"), "-q", *arguments]
        environment = {**os.environ, **self._node.environment}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            raise ServersImpossible(f"rabbitmqctl: {done.stderr}{done.stdout}")

    def manage(self, method: str, path: str, body: object = None) -> bytes:
        """One request to its management interface; raises OSError."""
        return manage(method, self._node.management_url, path, _ACCOUNT, body)

    def close(self) -> None:
        """Ends it and removes its data."""
        _close(self._started)


class DatabaseServer:
    """A PostgreSQL cluster of the run."""

    def __init__(self) -> None:
        self._started = Started()
        self._cluster = postgresql.create(self._started)
        self._pid = self._cluster.launch(self._started)
        self.url = self._cluster.url

    def crash(self) -> None:
        """An immediate shutdown, every connection lost; recovery runs at the start."""
        os.kill(self._pid, signal.SIGQUIT)
        wait_until(lambda: not is_alive(self._pid), 20, "PostgreSQL does not stop")

    def start(self) -> None:
        """Starts it again."""
        self._pid = self._cluster.launch(self._started)

    def read_only(self, on: bool) -> None:
        """Every session may read only, as on a standby; or may write again."""
        with closing(psycopg.connect(self.url, autocommit=True)) as connection:
            connection.execute("SET default_transaction_read_only = off")
            if on:
                connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            else:
                connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
            connection.execute("SELECT pg_reload_conf()")

    def close(self) -> None:
        """Ends it and removes its data."""
        _close(self._started)


def _kill(pid: int) -> None:
    os.killpg(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), 10, f"{pid} does not die")


def _close(started: Started) -> None:
    end(started)
    for folder in started.folders:
        shutil.rmtree(folder, ignore_errors=True)
