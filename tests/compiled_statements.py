"""SQL compiled once for all databases of a run: each test has engines of its own, and would compile everything anew."""

from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.util import LRUCache


class _OfAllEngines(LRUCache[Any, Any]):
    """By the kind of dialect, where SQLAlchemy's keys have an engine's own object of it."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_of_any_engine(key), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        super().__setitem__(_of_any_engine(key), compiled)


def _of_any_engine(key: Any) -> Any:
    dialect, *statement = key
    return (type(dialect), *statement)


_COMPILED = _OfAllEngines(1000)


def share() -> None:
    """For every engine of this process, from now on."""
    event.listen(Engine, "engine_connect", _share)


def _share(connection: Connection) -> None:
    connection.execution_options(compiled_cache=_COMPILED)
