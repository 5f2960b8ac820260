"""Prepared statements on PostgreSQL's own terms: sent one after the other by libpq, their answers read when wanted.

The driver makes a cursor for each statement, looks at its text again and waits for the socket twice, also in its own
pipelines: 70 microseconds of processor in the place of 10. Adapting values, waiting and errors stay the driver's.
"""

from collections import deque, namedtuple
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many, send
from psycopg.pq import ExecStatus, TransactionStatus

if TYPE_CHECKING:
    from psycopg.abc import PQGen
    from psycopg.abc import Transformer as Adapter
    from psycopg.pq.abc import PGresult

_NUMBERS = count(1)
_FAILED = (ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED)


@dataclass(slots=True)
class Statement:
    """A statement's text with `$1`, `$2`, ..., and the names of the values that stand for them."""

    text: str
    names: Sequence[str]
    name: bytes = field(default_factory=lambda: b"kp_%d" % next(_NUMBERS))
    #: Makes a row of its columns' values: known from the first answer on.
    row: Callable[[Sequence[Any]], Any] | None = None


class Sent:
    """A command that was sent. Its answer is there once its pipeline has read it."""

    __slots__ = ("_adapter", "_statement", "result")

    def __init__(self, statement: Statement | None, adapter: "Adapter") -> None:
        self._statement, self._adapter = statement, adapter
        self.result: PGresult | None = None

    def rows(self) -> list[Any]:
        """Its rows, with columns by name."""
        result, statement = self.result, self._statement
        assert result is not None and statement is not None  # noqa: S101 - it was read
        if statement.row is None:
            names = [(result.fname(number) or b"").decode() for number in range(result.nfields)]
            kind: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]
            statement.row = kind._make
        self._adapter.set_pgresult(result)
        return self._adapter.load_rows(0, result.ntuples, statement.row)


class Pipeline:
    """One connection's. Begins the driver's transaction where one is due, as the driver would."""

    def __init__(self, driver: psycopg.AsyncConnection[Any]) -> None:
        self._driver, self._pgconn = driver, driver.pgconn
        self._adapter: Adapter = Transformer.from_context(driver)
        self._prepared: set[bytes] = set()
        #: Commands without an answer, each with the name of the statement that it prepares.
        self._unread: deque[tuple[Sent, bytes]] = deque()
        self._error: psycopg.Error | None = None
        self.is_open = False

    @property
    def commits_each(self) -> bool:
        """Whether a statement outside of a transaction's block commits by itself."""
        return self._driver.autocommit

    @asynccontextmanager
    async def opened(self, *, transaction: bool) -> AsyncIterator["Pipeline"]:
        """Within it statements are sent; at its end all are answered, or the first error is raised.

        `transaction`: on a connection that commits each statement, BEGIN before and COMMIT after them.
        """
        self._pgconn.enter_pipeline_mode()
        self._unread.clear()
        self.is_open, self._error = True, None
        transaction = transaction and self._driver.autocommit
        try:
            idle = self._pgconn.transaction_status == TransactionStatus.IDLE
            if transaction or (idle and not self._driver.autocommit):
                self._send_text(self._begin())
            yield self
            if transaction:
                self._send_text(b"COMMIT")
        except Exception:
            # What went wrong stands; the connection is of use again if it answers for all that was sent.
            with suppress(psycopg.Error):
                await self._end()
            raise
        else:
            await self._end()
            if self._error is not None:
                raise self._error
        finally:
            self.is_open = False

    def send(self, statement: Statement, values: Mapping[str, Any]) -> Sent:
        """Sends a statement, prepared at its first use; what the socket does not take waits for the next reading."""
        if statement.name not in self._prepared:
            self._prepared.add(statement.name)
            self._pgconn.send_prepare(statement.name, statement.text.encode())
            self._unread.append((Sent(None, self._adapter), statement.name))
        given = [values[name] for name in statement.names]
        as_text = self._adapter.dump_sequence(given, [PyFormat.TEXT] * len(given))
        self._pgconn.send_query_prepared(statement.name, as_text)
        self._pgconn.flush()
        sent = Sent(statement, self._adapter)
        self._unread.append((sent, b""))
        return sent

    async def read(self, sent: Sent) -> list[Any]:
        """The rows of a statement, and with it the answers of all before it. Raises the first error among them."""
        if sent.result is None:
            self._pgconn.send_flush_request()
            await self._driver.wait(self._answers(sent))
            if self._error is not None:
                raise self._error
        return sent.rows()

    def _begin(self) -> bytes:
        level = self._driver.isolation_level
        return f"BEGIN ISOLATION LEVEL {level.name.replace('_', ' ')}".encode() if level is not None else b"BEGIN"

    def _send_text(self, text: bytes) -> None:
        self._pgconn.send_query_params(text, [])
        self._unread.append((Sent(None, self._adapter), b""))

    async def _end(self) -> None:
        self._pgconn.pipeline_sync()
        last = Sent(None, self._adapter)
        self._unread.append((last, b""))
        await self._driver.wait(self._answers(last))
        self._pgconn.exit_pipeline_mode()

    def _answers(self, last: Sent) -> "PQGen[None]":
        yield from send(self._pgconn)
        while self._unread and last.result is None:
            results = yield from fetch_many(self._pgconn)
            self._take(*self._unread.popleft(), results[-1])

    def _take(self, sent: Sent, prepares: bytes, result: "PGresult") -> None:
        sent.result = result
        if result.status not in _FAILED:
            return
        # Nothing that was to be prepared behind an error is.
        self._prepared.discard(prepares)
        if self._error is None:
            self._error = error_from_result(result, self._driver.info.encoding)
