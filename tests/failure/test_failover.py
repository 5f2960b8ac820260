"""The primary dies and a replica takes over while letters go out: one that knew every commit, and one that did not."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.mail_server import MailServer
from tests.servers import postgresql
from tests.servers.postgresql import PostgresCluster
from tests.servers.processes import free_port, new_folder
from tests.servers.programs import program
from tests.servers.state import Started, end, is_alive, wait_until
from tests.stacks import Stack

#: Letters a second that the mail server takes: few, so that some are left however long it takes to stop a server.
JOB, ORDERS, RATE = "Prozesshänger", 60, 6.0


class Pair:
    """A primary and its streaming replica, asynchronous unless told otherwise."""

    def __init__(self) -> None:
        self._started = Started()
        self._primary = postgresql.create(self._started)
        self._pids = {"primary": self._primary.launch(self._started)}
        user = self._primary.user
        folder = new_folder(self._started, "replica", user)
        self._replica = PostgresCluster(folder, free_port(), user)
        copy = [program("pg_basebackup"), "-D", str(folder / "data"), "-d", self._primary.url, "-R", "-c", "fast"]
        subprocess.run(copy, check=True, capture_output=True, user=user, cwd="/", timeout=60)
        self.start_replica()
        with closing(psycopg.connect(self._primary.url, autocommit=True)) as connection:
            connection.execute("CREATE DATABASE kontaktpflege")

    @property
    def url(self) -> str:
        """Both addresses, as docs/deployment.md gives them."""
        hosts = "&".join(f"host=127.0.0.1:{cluster.port}" for cluster in (self._primary, self._replica))
        return f"postgresql://kp_test@/kontaktpflege?{hosts}&target_session_attrs=read-write"

    def be_synchronous(self) -> None:
        """From now on no commit is answered before the replica has it on its disk."""
        with closing(psycopg.connect(self._primary.url, autocommit=True)) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")

            def synchronous() -> bool:
                found = connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall()
                return found == [("sync",)]

            wait_until(synchronous, 30, "the replica is not synchronous")

    def stop_replica(self) -> None:
        """It learns nothing more."""
        os.kill(self._pids["replica"], signal.SIGQUIT)
        wait_until(lambda: not is_alive(self._pids["replica"]), 20, "the replica does not stop")

    def start_replica(self) -> None:
        """Starts it, as a replica."""
        self._pids["replica"] = self._replica.launch(self._started)

    def kill_primary(self) -> None:
        """kill -9 of all its processes."""
        os.killpg(self._pids["primary"], signal.SIGKILL)
        wait_until(lambda: not is_alive(self._pids["primary"]), 10, "the primary does not die")

    def promote(self) -> None:
        """The replica takes writes."""
        with closing(psycopg.connect(self._replica.url, autocommit=True)) as connection:
            assert connection.execute("SELECT pg_promote()").fetchone() == (True,)

    def close(self) -> None:
        """Ends both and removes their data."""
        end(self._started)
        for folder in self._started.folders:
            subprocess.run(["rm", "-rf", folder], check=False)


@pytest.fixture
def pair() -> Iterator[Pair]:
    found = Pair()
    yield found
    found.close()


@pytest.fixture
def sending(pair: Pair, amqp_url: str, smtp: MailServer, tmp_path: Path) -> Iterator[Stack]:
    """A stack on the pair; its letters are due and none has gone out."""
    stack = Stack(tmp_path, pair.url, amqp_url, smtp.oracle.url)
    stack.load_many(ORDERS)
    smtp.oracle.rate = RATE
    yield stack
    stack.close()


def release(stack: Stack) -> None:
    stack.start()
    stack.answer("job", "run", JOB, "--on", "2026-11-23")


async def test_c27_a_synchronous_replica_takes_over_and_no_letter_is_lost_or_sent_twice(
    pair: Pair, sending: Stack, smtp: MailServer
) -> None:
    pair.be_synchronous()
    release(sending)
    sending.wait_for(lambda: len(smtp.accepted) >= ORDERS // 4, 60, "the first letters")
    pair.kill_primary()
    assert len(smtp.accepted) < ORDERS, "nothing was left to go wrong"
    pair.promote()

    def ended() -> bool:
        states = sending.states()
        return sum(states.values()) == ORDERS and set(states) <= {"sent", "unclear"}

    sending.wait_for(ended, 90, "the end of every letter")
    states, mails = sending.states(), smtp.orders()
    assert set(mails.values()) == {1}
    # A letter whose intent was committed while the primary died may be flagged; all others are known.
    assert states.get("unclear", 0) <= 10
    assert len(mails) - states.get("unclear", 0) <= states["sent"] <= len(mails)
    assert sending.answer("hold", "show") is None
    assert set(sending.stop().values()) == {0}, sending.logs()


async def test_c27_a_replica_without_the_last_commits_is_held(pair: Pair, sending: Stack, smtp: MailServer) -> None:
    release(sending)
    sending.wait_for(lambda: len(smtp.accepted) >= ORDERS // 4, 60, "the first letters")
    pair.stop_replica()
    known = len(smtp.accepted)
    sending.wait_for(lambda: len(smtp.accepted) >= known + 10, 60, "letters that the replica does not know")
    pair.kill_primary()
    pair.start_replica()
    pair.promote()
    sending.wait_for(lambda: bool(sending.answer("hold", "show")), 60, "the hold")
    # Longer than every lease and doorbell.
    after = len(smtp.accepted)
    sending.wait_for(lambda: "sending" not in sending.states(), 60, "the leases' end")
    assert after < ORDERS and len(smtp.accepted) == after
    assert set(smtp.orders().values()) == {1}, "a letter went out again"
    assert sending.states().get("queued", 0) > 0
    assert set(sending.stop().values()) == {0}, sending.logs()
