"""Connections and transactions on both databases; driver errors become ours here."""

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from shared.db.pipeline import is_out_of_step
from shared.errors import Conflict, InvalidSettings, Unavailable
from shared.settings import without_password

#: PostgreSQL: serialization failure, deadlock, lock timeout; statement cancelled (statement_timeout, an operator): the
#: server is there and has rolled back, nothing of the transaction can be committed.
_CONFLICT_STATES = {"40001", "40P01", "55P03", "57014"}
#: PostgreSQL: connection lost, its resources used up (disk, memory, connections), an operator's doing (shutting down,
#: crashed, starting up), an error of its system (I/O).
_AWAY_CLASSES = ("08", "53", "57", "58")
#: PostgreSQL: read-only (a standby, or switched so by an operator).
_READ_ONLY = "25006"
#: A host that vanishes without a word is noticed within half a minute (libpq; seconds, but the last in milliseconds).
_NOTICE_LOSS = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}
#: What the driver would prepare by itself soon had one plan for rare values and common ones; and when it forgets that,
#: it takes what shared.db.pipeline prepared along (DEALLOCATE ALL).
_PREPARES_NOTHING = {"prepare_threshold": None}
#: Errors without a state that are not the statement's.
_OF_THE_CONNECTION = (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)
#: SQLite's words for a file that cannot be read or written just now.
_AWAY_WORDS = ("unable to open", "disk I/O", "disk is full", "readonly database")
#: Seconds to wait for a free connection. SQLite has one that writes: a long import is to be waited for, not reported.
_POOL_TIMEOUT, _WRITER_TIMEOUT = 30.0, 300.0
#: Seconds without use after which a connection is asked whether it is still there.
_UNASKED_SECONDS = 1.0
#: As `plan_once` of shared.db.prepared does it for a transaction.
_PLAN_ONCE = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off"


class Database:
    """One database, with a write side and a read side.

    PostgreSQL: one pool, READ COMMITTED with explicit locks. SQLite: one writing connection (BEGIN IMMEDIATE,
    synchronous=FULL) and several reading ones; fit for up to 100,000 applications. Errors do not
    tell a statement's parameters: they end in logs (I22).
    """

    def __init__(self, url: str, pool_size: int = 10) -> None:
        self.url = _driver_url(url)
        self.address = without_password(url)
        self.dialect = self.url.get_backend_name()
        if self.dialect == "sqlite":
            self._writer = _sqlite_engine(self.url, "BEGIN IMMEDIATE", pool_size=1, pool_timeout=_WRITER_TIMEOUT)
            self._reader = _sqlite_engine(self.url, "BEGIN", pool_size=4, pool_timeout=_POOL_TIMEOUT)
            self._at_once = self._writer
        else:
            self._writer = self._reader = _postgresql_engine(self.url, pool_size)
            self._at_once = _postgresql_engine(self.url, pool_size, isolation_level="AUTOCOMMIT")
            event.listen(self._at_once.sync_engine, "connect", _plan_once)
        #: How often a connection for writing was made: each new one may lead to another server than the last one did.
        self.connections_made = 0
        for engine in {self._writer, self._at_once}:
            event.listen(engine.sync_engine, "connect", self._note_connection)

    @asynccontextmanager
    async def begin(self, *, at_once: bool = False) -> AsyncIterator[AsyncConnection]:
        """A writing transaction: commits at the end of the block, rolls back on any exception.

        Raises Conflict (try the whole block again), Unavailable (nothing can be said about a commit that was
        under way: read again before acting).

        `at_once`: on PostgreSQL the transaction is a block of `together`, whose statements go there in one go with
        BEGIN and COMMIT; what is outside of it commits by itself.
        """
        with self._translated():
            if at_once and self._at_once is not self._writer:
                async with self._at_once.connect() as connection, _given_up_if_broken(connection):
                    yield connection
            else:
                async with self._writer.begin() as connection:
                    yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A reading transaction: one consistent view per statement, never blocks writers."""
        with self._translated():
            async with self._reader.connect() as connection:
                yield connection

    async def check(self) -> None:
        """Raises Unavailable unless the database answers."""
        if self.dialect == "sqlite":
            _begin_file(self.url.database or "")
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Closes every connection."""
        for engine in {self._writer, self._reader, self._at_once}:
            await engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as exc:
            raise self._ours(exc, exc.orig, lost=exc.connection_invalidated) from exc
        except psycopg.Error as exc:
            raise self._ours(exc, exc, lost=False) from exc
        except NoConnectionFree as exc:
            raise Unavailable("database", self.address, "every connection is in use") from exc
        except (ConnectionError, TimeoutError, OSError) as exc:
            raise Unavailable("database", self.address, exc) from exc

    def _ours(self, exc: Exception, said: BaseException | None, *, lost: bool) -> Exception:
        state = getattr(said, "sqlstate", None)
        message = str(said).strip().splitlines()[0] if str(said).strip() else type(said).__name__
        if state in _CONFLICT_STATES or "database is locked" in message or is_out_of_step(said):
            return Conflict(message)
        away = lost or (state or "").startswith((*_AWAY_CLASSES, _READ_ONLY))
        if away or (state is None and isinstance(exc, _OF_THE_CONNECTION) and self._is_away(message)):
            return Unavailable("database", self.address, message)
        return exc

    def _note_connection(self, *_: Any) -> None:
        self.connections_made += 1

    def _is_away(self, message: str) -> bool:
        return self.dialect == "postgresql" or any(words in message for words in _AWAY_WORDS)


def _begin_file(name: str) -> None:
    """A new file belongs to its owner alone: it holds everything about everybody. SQLite's other files follow it."""
    file = Path(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    if name not in ("", ":memory:"):
        # It exists, or cannot be made: then who connects is told.
        with suppress(OSError):
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _driver_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidSettings("setting DATABASE_URL: not an address like postgresql://user@host/name") from None
    name = parsed.drivername.partition("+")[0]
    if name in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if name == "sqlite":
        return parsed.set(drivername="sqlite+aiosqlite")
    raise InvalidSettings(
        f"setting DATABASE_URL: scheme {name!r} is not supported; use postgresql:// or sqlite:///FILE"
    )


@asynccontextmanager
async def _given_up_if_broken(connection: AsyncConnection) -> AsyncIterator[None]:
    """Whatever broke, it must not be in a transaction when it is used again: closing ends that in any state."""
    try:
        yield
    except BaseException:
        await connection.invalidate()
        raise


def _plan_once(connection: Any, _: Any) -> None:
    with closing(connection.cursor()) as cursor:
        cursor.execute(_PLAN_ONCE)


def _postgresql_engine(url: URL, pool_size: int, **options: Any) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=_POOL_TIMEOUT,
        hide_parameters=True,
        connect_args={"connect_timeout": 5, "application_name": "kontaktpflege", **_NOTICE_LOSS, **_PREPARES_NOTHING},
        **options,
    )
    _ping_after_idling(engine)
    return engine


def _ping_after_idling(engine: AsyncEngine) -> None:
    """Replaces connections that were lost while nobody used them; one just used is not asked again for each use."""
    dialect = engine.sync_engine.dialect

    @event.listens_for(engine.sync_engine, "checkin")
    def _note(_: Any, record: Any) -> None:
        record.info["idle_since"] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def _look(connection: Any, record: Any, _: Any) -> None:
        since = record.info.get("idle_since")
        if since is not None and time.monotonic() - since > _UNASKED_SECONDS:
            try:
                dialect.do_ping(connection)
            except dialect.loaded_dbapi.Error as exc:
                # The others were lost with it.
                raise InvalidatePoolError(str(exc)) from exc


def _sqlite_engine(url: URL, begin: str, pool_size: int, pool_timeout: float) -> AsyncEngine:
    engine = create_async_engine(
        url,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_timeout,
        hide_parameters=True,
        connect_args={"timeout": 30},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions on its own
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout=30000")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA temp_store=MEMORY")
        # What is erased (D42) is not to stay readable in the file's free space.
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine
