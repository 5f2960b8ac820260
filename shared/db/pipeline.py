"""Prepared statements on PostgreSQL's own terms: sent one after the other by libpq, their answers read when wanted.

The driver makes a cursor for each statement, looks at its text again and waits for the socket twice, also in its own
pipelines: 70 microseconds of processor in the place of 20. Adapting values, waiting and errors stay the driver's.
"""

from collections import OrderedDict, deque, namedtuple
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from hashlib import sha256
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

#: Statements that a connection keeps prepared; beyond them that is forgotten which was used least lately.
MOST_PREPARED = 100
_GOOD = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)
#: SQLSTATEs of a prepared statement that the server has not, or has already.
_OTHERWISE_KNOWN = ("26000", "42P05")


def is_out_of_step(error: object) -> bool:
    """Whether the server knows a statement otherwise than its connection believes; the next try prepares it anew."""
    if not isinstance(error, psycopg.Error):
        return False
    # Its tables have changed since it was prepared; the class of errors (0A000) has others, too.
    return error.sqlstate in _OTHERWISE_KNOWN or error.diag.source_function == "RevalidateCachedQuery"


@dataclass
class Statement:
    """A statement's text with `$1`, `$2`, ..., and the names of the values that stand for them."""

    text: str
    names: Sequence[str]

    @cached_property
    def name(self) -> bytes:
        """The same for the same text, whoever prepared it."""
        return f"kp_{sha256(self.text.encode()).hexdigest()[:32]}".encode()


class Sent:
    """A command that was sent. Its answer is there once its pipeline has read it."""

    __slots__ = ("_adapter", "result")

    def __init__(self, adapter: "Adapter") -> None:
        self._adapter = adapter
        self.result: PGresult | None = None

    def rows(self) -> list[Any]:
        """Its rows, with columns by name. Raises psycopg.ProgrammingError if it was not answered with rows."""
        result = self.result
        if result is None or result.status != ExecStatus.TUPLES_OK:
            raise psycopg.ProgrammingError("no rows: the statement has none, or failed")
        names = tuple((result.fname(number) or b"").decode() for number in range(result.nfields))
        self._adapter.set_pgresult(result)
        return self._adapter.load_rows(0, result.ntuples, _row_of(names))


@lru_cache(500)
def _row_of(names: tuple[str, ...]) -> Callable[[Sequence[Any]], Any]:
    kind: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]
    make: Callable[[Sequence[Any]], Any] = kind._make
    return make


class Pipeline:
    """One connection's. Begins the driver's transaction where one is due, as the driver would."""

    def __init__(self, driver: psycopg.AsyncConnection[Any]) -> None:
        self._driver, self._pgconn = driver, driver.pgconn
        self._adapter: Adapter = Transformer.from_context(driver)
        self._prepared: OrderedDict[bytes, None] = OrderedDict()
        #: Commands without an answer, each with what to do if it fails.
        self._unread: deque[tuple[Sent, Callable[[], object] | None]] = deque()
        self._error: psycopg.Error | None = None
        #: False once the server knows a statement otherwise than `_prepared` says.
        self._in_step = True
        self.is_open = False

    @property
    def commits_each(self) -> bool:
        """Whether a statement outside of a transaction's block commits by itself."""
        return self._driver.autocommit

    @asynccontextmanager
    async def opened(self, *, transaction: bool) -> AsyncIterator["Pipeline"]:
        """Within it statements are sent, and no others; at its end all are answered, or the first error is raised.

        `transaction`: on a connection that commits each statement, BEGIN before and COMMIT after them.
        """
        if self.is_open:
            raise RuntimeError("statements that go together cannot begin among others")
        self._pgconn.enter_pipeline_mode()
        self.is_open, self._error = True, None
        transaction = transaction and self._driver.autocommit
        try:
            idle = self._pgconn.transaction_status == TransactionStatus.IDLE
            if transaction or (idle and not self._driver.autocommit):
                self._send_text(self._begin())
            if not self._in_step:
                self._forget_all()
            yield self
            if transaction:
                self._send_text(b"COMMIT")
        except Exception:
            # What went wrong stands; the connection is of use again once it has answered for all that was sent.
            await self._end()
            raise
        else:
            if (broken := await self._end()) is not None:
                raise broken
        finally:
            self.is_open = False

    def send(self, statement: Statement, values: Mapping[str, Any]) -> Sent:
        """Sends a statement, prepared at its first use.

        libpq sends from 8 KB on, as far as the socket takes it; the rest goes with the next reading or the block's end.
        """
        if statement.name in self._prepared:
            self._prepared.move_to_end(statement.name)
        else:
            self._prepare(statement)
        given = [values[name] for name in statement.names]
        as_text = self._adapter.dump_sequence(given, [PyFormat.TEXT] * len(given))
        self._pgconn.send_query_prepared(statement.name, as_text)
        sent = Sent(self._adapter)
        self._unread.append((sent, None))
        return sent

    async def read(self, sent: Sent) -> list[Any]:
        """The rows of a statement, and with it the answers of all before it. Raises the first error among them."""
        if sent.result is None:
            self._pgconn.send_flush_request()
            try:
                await self._driver.wait(self._answers(sent))
            except psycopg.Error as exc:
                raise self._error or exc from exc
        if self._error is not None:
            raise self._error
        return sent.rows()

    def _prepare(self, statement: Statement) -> None:
        self._pgconn.send_prepare(statement.name, statement.text.encode())
        self._unread.append((Sent(self._adapter), partial(self._prepared.pop, statement.name, None)))
        self._prepared[statement.name] = None
        if len(self._prepared) > MOST_PREPARED:
            oldest, _ = self._prepared.popitem(last=False)
            self._send_text(b"DEALLOCATE %b" % oldest, partial(self._prepared.setdefault, oldest))

    def _forget_all(self) -> None:
        self._prepared.clear()
        self._in_step = True
        self._send_text(b"DEALLOCATE ALL", self._get_out_of_step)

    def _get_out_of_step(self) -> None:
        self._in_step = False

    def _begin(self) -> bytes:
        level = self._driver.isolation_level
        return f"BEGIN ISOLATION LEVEL {level.name.replace('_', ' ')}".encode() if level is not None else b"BEGIN"

    def _send_text(self, text: bytes, if_it_fails: Callable[[], object] | None = None) -> None:
        self._pgconn.send_query_params(text, [])
        self._unread.append((Sent(self._adapter), if_it_fails))

    async def _end(self) -> Exception | None:
        """What went wrong first, if anything did. A connection of which nobody knows what it answers next is closed."""
        try:
            self._pgconn.pipeline_sync()
            await self._driver.wait(self._answers(None))
            self._pgconn.exit_pipeline_mode()
        except Exception as exc:
            await self._driver.close()
            return self._error or exc
        if is_out_of_step(self._error):
            self._get_out_of_step()
        return self._error

    def _answers(self, last: Sent | None) -> "PQGen[None]":
        """Up to the one that is wanted; None: to all."""
        yield from send(self._pgconn)
        while last is None or last.result is None:
            results = yield from fetch_many(self._pgconn)
            if results and results[-1].status == ExecStatus.PIPELINE_SYNC and not self._unread:
                return
            # What is committed at the end of a block without a transaction can fail there.
            sent, if_it_fails = self._unread.popleft() if self._unread else (Sent(self._adapter), None)
            if not results or results[-1].status == ExecStatus.PIPELINE_SYNC:
                raise psycopg.OperationalError("the server has answered otherwise than was asked")
            self._take(sent, if_it_fails, results[-1])

    def _take(self, sent: Sent, if_it_fails: Callable[[], object] | None, result: "PGresult") -> None:
        sent.result = result
        if result.status in _GOOD:
            return
        # Nothing that was to be prepared or forgotten behind an error is.
        if if_it_fails is not None:
            if_it_fails()
        if self._error is None:
            self._error = error_from_result(result, self._driver.info.encoding)
