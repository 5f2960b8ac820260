"""Structured logs: one event per line with an `action`; ids, never contents or secrets (I22)."""

import atexit
import logging
import queue
import re
import sys
import threading
import time
from collections.abc import MutableMapping
from contextlib import suppress
from typing import IO, Any

import structlog

#: Lines that wait for a reader or a disk at most; what comes beyond is dropped and counted.
MOST_WAITING = 10_000
#: Pieces written at once, and the seconds in which they gather.
MOST_TOGETHER, GATHERING_SECONDS = 1000, 0.02
#: Seconds that a process which ends waits for its last lines to be taken.
LAST_WORDS_SECONDS = 1.0
#: Whose a mail address is. Mail servers name it in their answers, and reasons quote them. Begun at the beginning of a
#: word only: a long one without an address costs no more than its length.
_WORD = r"""[^\s<>()\[\]"',;:/@=*]"""
_LOCAL_PART = re.compile(rf"""(?:"[^"\n]*"|(?<!{_WORD}){_WORD}+)@(?=[\w\[])""")


class PatientStream:
    """Writes in a thread of its own: a full disk or a pipe that nobody reads never holds up a letter (C60)."""

    def __init__(self, target: IO[str]) -> None:
        self._target = target
        self._waiting: queue.Queue[str] = queue.Queue(MOST_WAITING)
        self._idle = threading.Event()
        self._dropped = 0
        threading.Thread(target=self._write_all, name="log", daemon=True).start()
        atexit.register(self._idle.wait, LAST_WORDS_SECONDS)

    def write(self, text: str) -> int:
        """Takes the text; never waits, never fails."""
        self._idle.clear()
        try:
            self._waiting.put_nowait(text)
        except queue.Full:
            self._dropped += 1
        return len(text)

    def flush(self) -> None:
        """Nothing to do: the thread writes as fast as it can."""

    def _write_all(self) -> None:
        while True:
            if self._waiting.empty():
                self._idle.set()
            pieces, told = [self._waiting.get()], self._dropped
            # What came together is written together: a thread that wakes for each line holds up those that send.
            with suppress(queue.Empty):
                while len(pieces) < MOST_TOGETHER:
                    pieces.append(self._waiting.get_nowait())
            text = "".join(pieces)
            try:
                self._target.write(f"\n{told} pieces of the log were dropped\n{text}" if told else text)
                self._target.flush()
                self._dropped -= told
            except (OSError, ValueError):
                self._dropped += len(pieces)
            time.sleep(GATHERING_SECONDS)


def configure_logging(level: str = "info", as_json: bool = False, *, patient: bool = False) -> None:
    """Sends structured logs to stderr, for people or as JSON lines; `patient` ones (services) hold nobody up."""
    stream: Any = PatientStream(sys.stderr) if patient else sys.stderr
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            without_addresses,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(
        level=logging.WARNING, stream=stream, force=patient, format="%(levelname)s %(name)s %(message)s"
    )


def without_addresses(_: Any, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Leaves of mail addresses only their domain (S26); orders are found by their ids, whose rows have it all."""
    for name, value in fields.items():
        if isinstance(value, str) and "@" in value:
            fields[name] = _LOCAL_PART.sub("...@", value)
    return fields


def get_logger(service: str) -> Any:
    """A logger that names its service in every line."""
    return structlog.get_logger().bind(service=service)


def silent_logger() -> Any:
    """A logger for whoever says all in an answer: nothing below critical is logged."""
    return structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
